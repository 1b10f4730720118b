/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox: see sandbox.h. */
#include "base/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- the user ------------------------------------------------------------------------------------------- */

/* One file, not through a link; only what root owns: others' files stay theirs. */
static void give(int directory, const char *name, const struct passwd *to)
{
	struct stat status;
	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) || status.st_uid != 0 ||
	    (!S_ISREG(status.st_mode) && !S_ISSOCK(status.st_mode)) || status.st_nlink != 1)
		return;
	/* A group that somebody chose stays: that of the admin socket. */
	gid_t group = status.st_gid ? status.st_gid : to->pw_gid;
	if (fchownat(directory, name, to->pw_uid, group, AT_SYMLINK_NOFOLLOW))
		return; /* found out by whoever writes to it */
}

/* Is it one of the names that `pattern` means: the name itself, or what begins with it before a "*"? */
static bool is_meant(const char *name, const char *pattern)
{
	size_t len = strlen(pattern);
	if (len && pattern[len - 1] == '*')
		return strncmp(name, pattern, len - 1) == 0;
	return strcmp(name, pattern) == 0;
}

/* The files that a path means; and the directory, when it holds nothing else and so is nobody else's. */
static void give_path(const char *path, const struct passwd *to)
{
	char folder[PATH_MAX], last[PATH_MAX];
	struct stat status;
	bool ours = true;
	if (!path[0] || strlen(path) >= sizeof(folder))
		return;
	strcpy(folder, path);
	strcpy(last, path);
	const char *where = dirname(folder), *pattern = basename(last);
	DIR *directory = opendir(where);
	if (!directory)
		return;
	struct dirent *entry;
	while ((entry = readdir(directory))) {
		if (is_meant(entry->d_name, pattern))
			give(dirfd(directory), entry->d_name, to);
		else if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			ours = false;
	}
	if (ours && fstat(dirfd(directory), &status) == 0 && status.st_uid == 0 &&
	    !(status.st_mode & (S_ISVTX | S_IWOTH)) && fchown(dirfd(directory), to->pw_uid, to->pw_gid))
		ours = false; /* found out by whoever writes there */
	closedir(directory);
}

/* The capabilities of this thread; it had all of them and asked to keep them over the change of user. */
static int keep_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};
	static const unsigned kept[] = {CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON};
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		data[kept[i] / 32].effective |= 1u << kept[i] % 32;
		data[kept[i] / 32].permitted |= 1u << kept[i] % 32;
	}
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

int sandbox_become(const char *user, const char *const *paths, bool keep_network, struct buf *why)
{
	errno = 0;
	const struct passwd *to = getpwnam(user);
	int err = 0;
	if (!to) {
		buf_printf(why, "user \"%s\": %s; create it with: adduser --system --group %s", user,
			   errno ? strerror(errno) : "there is no such user", user);
		return errno ? -errno : -ENOENT;
	}
	if (getuid() == to->pw_uid && geteuid() == to->pw_uid)
		return 0;
	if (geteuid() != 0) {
		buf_printf(
			why,
			"user \"%s\": only root can become another user; leave \"user\" out or start as root",
			user);
		return -EPERM;
	}
	for (; *paths; paths++)
		give_path(*paths, to);
	if (keep_network && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		err = -errno;
	if (!err && (initgroups(to->pw_name, to->pw_gid) || setresgid(to->pw_gid, to->pw_gid, to->pw_gid) ||
		     setresuid(to->pw_uid, to->pw_uid, to->pw_uid)))
		err = -errno;
	if (!err && keep_network)
		err = keep_capabilities();
	/* Believed only when tried. */
	if (!err && setresuid(0, 0, 0) == 0)
		err = -EACCES;
	if (err)
		buf_printf(why, "user \"%s\": %s", user, strerror(-err));
	return err;
}

/* --- system calls --------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

/* What is refused, and what it would be good for. */
static const unsigned refused[] = {
	/* other processes */
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_kcmp,
	SYS_pidfd_getfd,
	SYS_process_madvise,
	/* the file tree, namespaces, another root */
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_chroot,
	SYS_setns,
	SYS_unshare,
	SYS_move_mount,
	SYS_open_tree,
	SYS_fsopen,
	SYS_fsconfig,
	SYS_fsmount,
	SYS_fspick,
	SYS_mount_setattr,
	SYS_open_by_handle_at,
	SYS_name_to_handle_at,
	SYS_quotactl,
	SYS_swapon,
	SYS_swapoff,
	SYS_fanotify_init,
	/* the kernel */
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_kexec_load,
	SYS_kexec_file_load,
	SYS_reboot,
	SYS_acct,
	SYS_syslog,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_lookup_dcookie,
	SYS_vhangup,
	SYS_sethostname,
	SYS_setdomainname,
	SYS_personality,
#ifdef SYS_iopl
	SYS_iopl,
	SYS_ioperm,
	SYS_modify_ldt,
#endif
	/* keys and clocks */
	SYS_keyctl,
	SYS_add_key,
	SYS_request_key,
	SYS_settimeofday,
	SYS_clock_settime,
	SYS_adjtimex,
	SYS_clock_adjtime,
	/* another user; not refused to root, see sandbox_filter(). The last ones. */
	SYS_setuid,
	SYS_setgid,
	SYS_setreuid,
	SYS_setregid,
	SYS_setresuid,
	SYS_setresgid,
	SYS_setfsuid,
	SYS_setfsgid,
	SYS_setgroups,
	SYS_capset,
};
#define REFUSED		(sizeof(refused) / sizeof(refused[0]))
#define OF_ANOTHER_USER 10

int sandbox_filter(struct buf *why)
{
#ifdef FILTER_ARCH
	/* Another architecture's numbers (32-bit calls) mean other calls: all refused. */
	struct sock_filter program[REFUSED + 8];
	/* Root starts services as another user (deploy.user), and gains nothing by becoming one itself. */
	size_t count = geteuid() == 0 ? REFUSED - OF_ANOTHER_USER : REFUSED;
	unsigned short n = 0;
	program[n++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0);
	program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	program[n++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < count; i++)
		program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i],
							    (unsigned char)(count - i), 0);
#ifdef __x86_64__
	/* The x32 calls have numbers of their own. */
	program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
#else
	program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffffffff, 0, 1);
#endif
	program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog filter = {n, program};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0)
		return 0;
	int err = -errno;
	buf_printf(why, "seccomp: %s; if this system has none, set \"seccomp\": false", strerror(-err));
	return err;
#else
	buf_append_str(why, "seccomp: not known for this processor; set \"seccomp\": false");
	return -ENOTSUP;
#endif
}

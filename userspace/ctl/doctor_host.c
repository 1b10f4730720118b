/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_host: the machine and the process: kernel, limits, rights, clock, files. */
#include "ctl/doctor.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define KERNEL_NEEDED	 601 /* 6.1: IORING_SETUP_DEFER_TASKRUN */
#define KERNEL_FAST_PATH 609 /* 6.9: bpf_sk_assign_tcp_reqsk */
#define FILES_PER_CLIENT 2   /* the client and its upstream */
#define GROUPS_MAX	 64

void check_kernel(struct doctor *doctor)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2) {
		finding(doctor, VERDICT_SKIPPED, "kernel", NULL, "cannot tell the kernel's version");
		return;
	}
	unsigned version = major * 100 + (minor > 99 ? 99 : minor);
	if (version < KERNEL_NEEDED)
		finding(doctor, VERDICT_FAIL, "kernel", "boot Linux 6.1 or later",
			"Linux %s is older than the 6.1 that the daemon's io_uring mode needs", name.release);
	else if (version < KERNEL_FAST_PATH)
		finding(doctor, VERDICT_WARN, "kernel", "boot Linux 6.9 or later for the fast path",
			"Linux %s serves through the daemon alone; the fast path needs 6.9", name.release);
	else
		finding(doctor, VERDICT_OK, "kernel", NULL, "Linux %s", name.release);
}

void check_io_uring(struct doctor *doctor)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
	char disabled[8] = "";
	long fd = syscall(SYS_io_uring_setup, 4, &params);

	if (fd >= 0) {
		close((int)fd);
		finding(doctor, VERDICT_OK, "io_uring", NULL,
			"allowed, with single issuer and deferred work");
		return;
	}
	int error = errno;
	FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "r");
	if (file) {
		if (!fgets(disabled, sizeof(disabled), file))
			disabled[0] = '\0';
		fclose(file);
	}
	if (disabled[0] == '1' || disabled[0] == '2')
		finding(doctor, VERDICT_FAIL, "io_uring", "sysctl -w kernel.io_uring_disabled=0",
			"switched off: kernel.io_uring_disabled is %c", disabled[0]);
	else if (error == EINVAL)
		finding(doctor, VERDICT_FAIL, "io_uring", "boot Linux 6.1 or later",
			"the kernel does not know single issuer and deferred work");
	else if (error == EPERM || error == ENOSYS)
		finding(doctor, VERDICT_FAIL, "io_uring",
			"allow io_uring_setup, io_uring_enter and io_uring_register in the container's "
			"seccomp profile",
			"refused: %s", strerror(error));
	else
		finding(doctor, VERDICT_FAIL, "io_uring", "raise the memory lock limit (ulimit -l)",
			"a ring cannot be made: %s", strerror(error));
}

/* The limit `name` of process `pid` as /proc shows it; RLIM_INFINITY for "unlimited". False: not readable. */
static bool process_limit(long pid, const char *name, rlim_t *limit)
{
	char path[64], line[256];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%ld/limits", pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, strlen(name)) != 0)
			continue;
		const char *value = line + strlen(name);
		value += strspn(value, " ");
		*limit = *value == 'u' ? RLIM_INFINITY : (rlim_t)strtoull(value, NULL, 10);
		found = true;
	}
	fclose(file);
	return found;
}

void check_limits(struct doctor *doctor)
{
	const char *whose;
	long pid = doctor_process(doctor, &whose);
	rlim_t files = 0, locked = 0;
	uint64_t clients = doctor->config ? doctor->config->limits.connections : 0;

	if (!process_limit(pid, "Max open files", &files) ||
	    !process_limit(pid, "Max locked memory", &locked)) {
		finding(doctor, VERDICT_SKIPPED, "limits", NULL, "cannot read the limits of %s", whose);
		return;
	}
	if (files != RLIM_INFINITY && files < 1024)
		finding(doctor, VERDICT_FAIL, "open files", "ulimit -n 65536, or LimitNOFILE= of the service",
			"%s may open %llu files, a gateway needs 1024 or more", whose,
			(unsigned long long)files);
	else if (files != RLIM_INFINITY && clients && files / FILES_PER_CLIENT < clients)
		finding(doctor, VERDICT_WARN, "open files", "ulimit -n, or LimitNOFILE= of the service",
			"%s may open %llu files: enough for about %llu clients, limits.connections is %llu",
			whose, (unsigned long long)files, (unsigned long long)files / FILES_PER_CLIENT,
			(unsigned long long)clients);
	else
		finding(doctor, VERDICT_OK, "open files", NULL, "%s may open %llu files", whose,
			(unsigned long long)files);
	if (locked != RLIM_INFINITY && locked < (1u << 20))
		finding(doctor, VERDICT_WARN, "memory lock",
			"ulimit -l unlimited, or LimitMEMLOCK= of the service",
			"%s may lock %llu KiB; rings and maps on older kernels count against it", whose,
			(unsigned long long)locked / 1024);
	else
		finding(doctor, VERDICT_OK, "memory lock", NULL, "enough for %s", whose);
}

/* X(bit, name, what it is for) */
#define CAPABILITIES_OF_FAST_PATH(X)                                                                         \
	X(CAP_NET_ADMIN, "CAP_NET_ADMIN", "attaching programs to interfaces")                                \
	X(CAP_BPF, "CAP_BPF", "loading programs and maps")                                                   \
	X(CAP_PERFMON, "CAP_PERFMON", "programs that the verifier lets read pointers")

static bool effective_capabilities(long pid, uint64_t *capabilities)
{
	char path[64], line[256];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	FILE *file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		if (strncmp(line, "CapEff:", 7) == 0) {
			*capabilities = strtoull(line + 7, NULL, 16);
			found = true;
		}
	if (file)
		fclose(file);
	return found;
}

void check_capabilities(struct doctor *doctor)
{
	const char *whose;
	long pid = doctor_process(doctor, &whose);
	uint64_t has = 0;
	size_t missing = 0;

	if (!effective_capabilities(pid, &has)) {
		finding(doctor, VERDICT_SKIPPED, "capabilities", NULL, "cannot read those of %s", whose);
		return;
	}
	bool all = has & (UINT64_C(1) << CAP_SYS_ADMIN);
	for (size_t i = 0; doctor->config && !doctor->pid && i < doctor->config->listen_count; i++) {
		const struct config_listen *listen = &doctor->config->listen[i];
		if (listen->unix_path || listen->port >= 1024 || has & (UINT64_C(1) << CAP_NET_BIND_SERVICE))
			continue;
		missing++;
		finding(doctor, VERDICT_FAIL, "capabilities", "run as root, or grant CAP_NET_BIND_SERVICE",
			"%s has no CAP_NET_BIND_SERVICE, which port %u needs", whose, listen->port);
	}
	/* A daemon that runs has attached already, and may have let go of what it needs no more. */
	if (doctor_wants_fast_path(doctor) && !doctor->pid) {
#define X(bit, name, use)                                                                                    \
	if (!(has & (UINT64_C(1) << (bit))) && !(all && (bit) != CAP_NET_ADMIN)) {                           \
		missing++;                                                                                   \
		finding(doctor, VERDICT_FAIL, "capabilities",                                                \
			"run as root, or grant " name " (AmbientCapabilities= of the service)",              \
			"%s has no " name ": needed for " use, whose);                                       \
	}
		CAPABILITIES_OF_FAST_PATH(X)
#undef X
	}
	if (!missing)
		finding(doctor, VERDICT_OK, "capabilities", NULL, "%s has what the configuration needs",
			whose);
}

/* Decisions, tokens and logs of several machines are compared by their times. */
void check_clock(struct doctor *doctor)
{
	struct timex state = {0};
	int rc = adjtimex(&state);

	if (rc < 0)
		finding(doctor, VERDICT_SKIPPED, "clock", NULL, "cannot be asked: %s", strerror(errno));
	else if (time(NULL) < 1704067200) /* 2024: no machine that runs this is older */
		finding(doctor, VERDICT_FAIL, "clock", "set it: timedatectl set-ntp true",
			"it stands before 2024: times in the log and the ledger are wrong");
	else if (rc == TIME_ERROR || state.status & STA_UNSYNC)
		finding(doctor, VERDICT_WARN, "clock", "timedatectl set-ntp true, or another time service",
			"not kept by a time service; times of several gateways may not agree");
	else
		finding(doctor, VERDICT_OK, "clock", NULL, "kept by a time service, to %ld us",
			state.maxerror);
}

/* Who the daemon is, as far as files are concerned. */
struct person {
	const char *name;
	uid_t uid;
	gid_t groups[GROUPS_MAX];
	int group_count;
};

static bool person_of(const struct doctor *doctor, struct person *person)
{
	const char *name = doctor->config ? doctor->config->user : NULL;
	struct passwd *entry = name ? getpwnam(name) : getpwuid(geteuid());

	*person = (struct person){
		.name = name ? name : "the daemon's user", .uid = geteuid(), .group_count = GROUPS_MAX};
	if (!entry && name)
		return false;
	if (!entry) {
		person->groups[0] = getegid();
		person->group_count = 1;
		return true;
	}
	person->uid = entry->pw_uid;
	if (getgrouplist(entry->pw_name, entry->pw_gid, person->groups, &person->group_count) < 0)
		person->group_count = GROUPS_MAX;
	return true;
}

/* `wanted` as in access(): R_OK, W_OK, X_OK. */
static bool may(const struct person *person, const struct stat *file, int wanted)
{
	int shift = 0;
	if (person->uid == 0)
		return true;
	if (file->st_uid == person->uid)
		shift = 6;
	for (int i = 0; i < person->group_count && !shift; i++)
		shift = file->st_gid == person->groups[i] ? 3 : 0;
	return ((int)(file->st_mode >> shift) & wanted) == wanted;
}

/* The folder of a file has to be there and to let the daemon in. */
static size_t check_folder(struct doctor *doctor, const struct person *person, const char *path,
			   const char *key)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	char fix[300];
	struct stat file;
	size_t bad = 1;

	snprintf(fix, sizeof(fix), "install -d -o %s -m 750 %s", person->uid ? person->name : "root",
		 folder ? folder : "");
	if (!folder || stat(folder, &file) < 0)
		finding(doctor, VERDICT_FAIL, "permissions", fix, "%s is %s: the folder is not there (%s)",
			key, path, strerror(errno));
	else if (!may(person, &file, W_OK | X_OK))
		finding(doctor, VERDICT_FAIL, "permissions", fix,
			"%s is %s: %s may not write to its folder (mode %o)", key, path, person->name,
			(unsigned)(file.st_mode & 07777));
	else
		bad = 0;
	free(folder);
	return bad;
}

/* What holds secrets or decides who runs what must not be everybody's. */
static size_t check_secret(struct doctor *doctor, const char *path, const char *key, mode_t forbidden,
			   const char *fix)
{
	struct stat file;
	if (!path)
		return 0;
	if (stat(path, &file) < 0) {
		finding(doctor, VERDICT_FAIL, "permissions", "write it, or correct its name",
			"%s: cannot read %s: %s", key, path, strerror(errno));
		return 1;
	}
	if (!(file.st_mode & forbidden))
		return 0;
	char command[300];
	snprintf(command, sizeof(command), "%s %s", fix, path);
	finding(doctor, VERDICT_FAIL, "permissions", command, "%s: %s has mode %o: %s", key, path,
		(unsigned)(file.st_mode & 07777),
		forbidden & 07 & ~02u ? "others may read the tokens"
				      : "others may change what the gateway does");
	return 1;
}

void check_permissions(struct doctor *doctor)
{
	const struct config *config = doctor->config;
	struct person person;
	size_t bad = 0;

	if (!config) {
		finding(doctor, VERDICT_SKIPPED, "permissions", NULL,
			"no valid configuration that names the files");
		return;
	}
	if (!person_of(doctor, &person)) {
		finding(doctor, VERDICT_FAIL, "permissions", "useradd --system, or correct \"user\"",
			"there is no user %s on this machine", config->user);
		return;
	}
	if (config->state.kind == STORE_FILE)
		bad += check_folder(doctor, &person, config->state.path, "state.path");
	if (config->admin.socket && !doctor->status)
		bad += check_folder(doctor, &person, config->admin.socket, "admin.socket");
	bad += check_secret(doctor, config->admin.token_file, "admin.token_file", S_IRWXO, "chmod o=");
	bad += check_secret(doctor, config->file, "configuration", S_IWOTH, "chmod o-w");
	if (!bad)
		finding(doctor, VERDICT_OK, "permissions", NULL,
			"state, socket and files are as they should be");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox, tried from inside: each case is a child process, because there is no way back out.
 *
 * A child's exit status is the number of the line that failed, 0 when all was as it should be.
 */
#include "base/sandbox.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			return __LINE__;                                                                     \
	} while (0)

/* Runs `body` in a child; the line it failed at, 0 for none. The leak check would want to trace: no exit().
 */
static int in_child(int (*body)(void))
{
	int status = 0, ends[2], line = -1;
	if (pipe(ends))
		return -1;
	pid_t child = fork();
	if (child == 0) {
		line = body();
		if (write(ends[1], &line, sizeof(line)) != sizeof(line))
			_exit(1);
		_exit(0);
	}
	close(ends[1]);
	if (read(ends[0], &line, sizeof(line)) != sizeof(line))
		line = -2;
	close(ends[0]);
	waitpid(child, &status, 0);
	return line;
}

static int refuses(long result)
{
	return result == -1 && errno == EPERM;
}

static int what_is_refused(void)
{
	struct buf why = {0};
	MUST(sandbox_filter(&why) == 0);
	MUST(refuses(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
	MUST(refuses(syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL)));
	MUST(refuses(unshare(CLONE_NEWUSER)));
	MUST(refuses(chroot("/")));
	MUST(refuses(syscall(SYS_init_module, NULL, 0, "")));
	MUST(refuses(syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0)));
	MUST(refuses(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)));
	MUST(refuses(syscall(SYS_keyctl, 0, 0)));
	/* Root may start others' services; the numbers of another architecture. */
	MUST(geteuid() != 0 || syscall(SYS_setresuid, getuid(), getuid(), getuid()) == 0);
#ifdef __x86_64__
	MUST(refuses(syscall(0x40000000 | SYS_getpid)));
#endif
	/* Twice is no harm, and the filter cannot be taken off. */
	MUST(sandbox_filter(&why) == 0);
	MUST(refuses(unshare(CLONE_NEWNS)));
	return 0;
}

/* Who is not root stays who he is: these are the last rows of the table. */
static int another_user_is_refused(void)
{
	struct buf why = {0};
	MUST(geteuid() != 0 || syscall(SYS_setresuid, 65534, 65534, 65534) == 0);
	MUST(sandbox_filter(&why) == 0);
	MUST(refuses(syscall(SYS_setuid, getuid())));
	MUST(refuses(syscall(SYS_setresuid, getuid(), getuid(), getuid())));
	MUST(refuses(syscall(SYS_capset, NULL, NULL)));
	MUST(refuses(unshare(CLONE_NEWNS)));
	return 0;
}

TEST(refused_calls_say_eperm)
{
	CHECK_INT(in_child(what_is_refused), 0);
	CHECK_INT(in_child(another_user_is_refused), 0);
}

static int what_is_needed(void)
{
	struct buf why = {0};
	MUST(sandbox_filter(&why) == 0);
	int fd = open("/proc/self/status", O_RDONLY);
	MUST(fd >= 0);
	char text[8192];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	MUST(n > 0);
	text[n] = 0;
	MUST(strstr(text, "Seccomp:\t2") && strstr(text, "NoNewPrivs:\t1"));
	MUST(socket(AF_INET, SOCK_STREAM, 0) >= 0);
	MUST(syscall(SYS_io_uring_setup, 8, (char[256]){0}) >= 0);
	pid_t child = fork();
	if (child == 0) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	int status;
	MUST(waitpid(child, &status, 0) == child && status == 0);
	return 0;
}

TEST(everything_else_goes_on)
{
	CHECK_INT(in_child(what_is_needed), 0);
}

static int ends[2];
static void *other_thread(void *result)
{
	char byte;
	/* Until the main thread has put the filter up. */
	*(int *)result = read(ends[0], &byte, 1) == 1 && refuses(chroot("/"));
	return NULL;
}

static int threads_that_ran_before(void)
{
	struct buf why = {0};
	pthread_t thread;
	int refused = 0;
	MUST(pipe(ends) == 0 && pthread_create(&thread, NULL, other_thread, &refused) == 0);
	MUST(sandbox_filter(&why) == 0);
	MUST(write(ends[1], "", 1) == 1 && pthread_join(thread, NULL) == 0);
	MUST(refused);
	return 0;
}

TEST(all_threads_are_in_it)
{
	CHECK_INT(in_child(threads_that_ran_before), 0);
}

/* --- another user -----------------------------------------------------------------------------------------
 */

static char folder[] = "/tmp/phx-sandbox-XXXXXX";

static int owner(const char *name)
{
	char path[256];
	struct stat status;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return lstat(path, &status) ? -1 : (int)status.st_uid;
}

static void touch(const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	close(open(path, O_CREAT | O_WRONLY, 0600));
}

static int become_nobody(void)
{
	struct buf why = {0};
	char state[256], admin[256];
	int nobody = (int)getpwnam("nobody")->pw_uid;
	snprintf(state, sizeof(state), "%s/own/state*", folder);
	snprintf(admin, sizeof(admin), "%s/admin.sock", folder);
	const char *const paths[] = {state, admin, "", NULL};
	MUST(sandbox_become("nobody", paths, false, &why) == 0);
	MUST((int)getuid() == nobody && (int)geteuid() == nobody);
	MUST(setuid(0) != 0);
	/* What is ours, the directory that holds nothing else, and nothing besides. */
	MUST(owner("own") == nobody && owner("own/state.json") == nobody &&
	     owner("own/state.audit.jsonl") == nobody);
	MUST(owner(".") == 0 && owner("admin.sock") == nobody && owner("other") == 0 &&
	     owner("own/state.link") == 0);
	/* Again is no harm. */
	MUST(sandbox_become("nobody", paths, false, &why) == 0);
	MUST(sandbox_become("root", paths, false, &why) == -EPERM && strstr(buf_cstr(&why), "only root"));
	return 0;
}

TEST(another_user)
{
	if (geteuid() != 0) {
		printf("# only root can become another user: not tried\n");
		return;
	}
	char path[256];
	CHECK(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/own", folder);
	CHECK_INT(mkdir(path, 0700), 0);
	touch("own/state.json");
	touch("own/state.audit.jsonl");
	touch("admin.sock");
	touch("other");
	snprintf(path, sizeof(path), "%s/own/state.link", folder);
	CHECK_INT(symlink("../other", path), 0);
	CHECK_INT(chmod(folder, 0755), 0);
	CHECK_INT(in_child(become_nobody), 0);
	snprintf(path, sizeof(path), "rm -r %s", folder);
	CHECK_INT(system(path), 0);
}

static int unknown_user(void)
{
	struct buf why = {0};
	const char *const none[] = {NULL};
	MUST(sandbox_become("no-such-user", none, false, &why) == -ENOENT);
	MUST(strstr(buf_cstr(&why), "adduser"));
	return 0;
}

TEST(a_user_that_is_not_there)
{
	CHECK_INT(in_child(unknown_user), 0);
}

UNIT_MAIN

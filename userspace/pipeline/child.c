/* SPDX-License-Identifier: Apache-2.0 */
/* child: see child.h. Between fork and exec only async-signal-safe calls are made. */
#include "pipeline/child.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSTEM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

extern char **environ;

/* --- vectors --- */

void strings_add(struct strings *strings, const char *text)
{
	if (strings->failed)
		return;
	if (strings->count + 2 > strings->cap) {
		size_t cap = strings->cap ? strings->cap * 2 : 16;
		char **items = realloc(strings->items, cap * sizeof(*items));
		if (!items) {
			strings->failed = true;
			return;
		}
		strings->items = items;
		strings->cap = cap;
	}
	char *copy = strdup(text);
	strings->failed = !copy;
	if (copy)
		strings->items[strings->count++] = copy;
	strings->items[strings->count] = NULL;
}

void strings_printf(struct strings *strings, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (text)
		strings_add(strings, text);
	else
		strings->failed = true;
	free(text);
}

void strings_free(struct strings *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		free(strings->items[i]);
	free(strings->items);
	memset(strings, 0, sizeof(*strings));
}

/* --- starting --- */

/* argv[0] as a path, looked for in PATH; relative to `directory` when it has a slash. */
static int find_program(const char *name, const char *directory, char *out, size_t size)
{
	if (strchr(name, '/')) {
		snprintf(out, size, "%s", name);
		char full[8192];
		if (name[0] == '/' || !directory)
			snprintf(full, sizeof(full), "%s", name);
		else
			snprintf(full, sizeof(full), "%s/%s", directory, name);
		return access(full, X_OK) ? -errno : 0;
	}
	struct slice rest = slice_str(child_search_path(NULL)), dir;
	while (slice_split(&rest, ':', &dir)) {
		if (dir.len == 0 || dir.ptr[0] != '/')
			continue;
		int n = snprintf(out, size, "%.*s/%s", SLICE_ARG(dir), name);
		if (n > 0 && (size_t)n < size && access(out, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

const char *child_search_path(const char *user)
{
	const char *path = user && geteuid() == 0 ? NULL : getenv("PATH");
	return path && *path ? path : SYSTEM_PATH;
}

bool child_program_exists(const char *name)
{
	char path[4096];
	return find_program(name, NULL, path, sizeof(path)) == 0;
}

struct launch {
	const struct child *child;
	char *const *argv;
	const char *program;
	int out_fd, error_fd, pid_fd;
	bool lasting;
};

static int write_number(int fd, long number)
{
	char text[24];
	size_t at = sizeof(text);
	text[--at] = '\n';
	do
		text[--at] = (char)('0' + number % 10);
	while (number /= 10);
	return write(fd, text + at, sizeof(text) - at) < 0 ? -errno : 0;
}

/* In the new process. Never returns. */
__attribute__((noreturn)) static void become(const struct launch *launch)
{
	const struct child *child = launch->child;
	sigset_t none;
	sigemptyset(&none);
	for (int number = 1; number < 32; number++)
		signal(number, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (!launch->lasting)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, child->user != NULL, 0, 0, 0);
	int null = open("/dev/null", O_RDONLY);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(launch->out_fd, STDOUT_FILENO);
	dup2(launch->out_fd, STDERR_FILENO);
	/* Without its number it could not be found again: then it does not begin. */
	int err = launch->pid_fd >= 0 ? write_number(launch->pid_fd, getpid()) : 0;
	struct rlimit no_core = {0, 0};
	setrlimit(RLIMIT_CORE, &no_core);
	if (child->memory_mb) {
		struct rlimit limit = {(rlim_t)child->memory_mb << 20, (rlim_t)child->memory_mb << 20};
		setrlimit(RLIMIT_DATA, &limit);
	}
	if (!err && (child->directory == NULL || chdir(child->directory) == 0))
		execve(launch->program, launch->argv, child->environment ? child->environment : environ);
	err = err ? err : errno; /* negative: of the number's file */
	ssize_t n = write(launch->error_fd, &err, sizeof(err));
	(void)n;
	_exit(127);
}

/* Starts the program with `out_fd` as its output; every other descriptor of ours is close-on-exec. */
static int launch(const struct child *child, int out_fd, int pid_fd, bool lasting, pid_t *out,
		  struct buf *why)
{
	struct strings argv = {0};
	char program[4096], memory[4096];
	int error_pipe[2];
	struct passwd account, *found = NULL;
	if (child->user && getpwnam_r(child->user, &account, memory, sizeof(memory), &found) == 0 && !found) {
		buf_printf(why, "deploy.user: there is no user %s", child->user);
		return -ENOENT;
	}
	if (child->user && (!found || (geteuid() != 0 && found->pw_uid != geteuid()))) {
		buf_printf(
			why,
			"deploy.user: only root can start a service as %s; start the daemon as root without "
			"\"user\", or leave deploy.user out",
			child->user);
		return -EPERM;
	}
	if (child->user && geteuid() == 0) {
		/* util-linux, essential in Debian: no second implementation of dropping every privilege. */
		static const char *const drop[] = {"setpriv", "--init-groups", "--inh-caps=-all",
						   "--no-new-privs"};
		for (size_t i = 0; i < sizeof(drop) / sizeof(drop[0]); i++)
			strings_add(&argv, drop[i]);
		strings_printf(&argv, "--reuid=%u", account.pw_uid);
		strings_printf(&argv, "--regid=%u", account.pw_gid);
		strings_add(&argv, "--");
	}
	for (char *const *a = child->argv; *a; a++)
		strings_add(&argv, *a);
	int err = argv.failed ? -ENOMEM
			      : find_program(argv.items[0], child->directory, program, sizeof(program));
	if (!err && pipe2(error_pipe, O_CLOEXEC))
		err = -errno;
	if (err) {
		buf_printf(why, "%s cannot be started: %s", argv.failed ? "a program" : argv.items[0],
			   err == -ENOENT ? "there is no such program here" : strerror(-err));
		strings_free(&argv);
		return err;
	}
	struct launch launch = {child, argv.items, program, out_fd, error_pipe[1], pid_fd, lasting};
	pid_t pid = fork();
	if (pid == 0)
		become(&launch);
	err = pid < 0 ? -errno : 0;
	close(error_pipe[1]);
	int error = 0;
	if (!err && read(error_pipe[0], &error, sizeof(error)) == (ssize_t)sizeof(error)) {
		waitpid(pid, NULL, 0);
		err = error < 0 ? error : -error;
	}
	close(error_pipe[0]);
	if (err && error < 0)
		buf_printf(why, "%s cannot be started: %s cannot be written: %s", child->argv[0],
			   child->pid_path,
			   err == -ENOSPC ? "the disk is full (No space left on device)" : strerror(-err));
	else if (err)
		buf_printf(why, "%s cannot be started in %s: %s", argv.items[0],
			   child->directory ? child->directory : ".", strerror(-err));
	else
		*out = pid;
	strings_free(&argv);
	return err;
}

int child_launch(const struct child *child, pid_t *pid, struct buf *why)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
	int log_fd = open(child->log_path, flags | O_APPEND, 0640);
	int pid_fd = log_fd < 0 ? -1 : open(child->pid_path, flags | O_TRUNC, 0640);
	int err = 0;
	if (pid_fd < 0) {
		err = -errno;
		buf_printf(why, "%s cannot be written: %s", log_fd < 0 ? child->log_path : child->pid_path,
			   strerror(-err));
	} else {
		err = launch(child, log_fd, pid_fd, true, pid, why);
	}
	if (log_fd >= 0)
		close(log_fd);
	if (pid_fd >= 0)
		close(pid_fd);
	return err;
}

/* --- following --- */

/* Its output by lines: to the job's log, and the last few for a message. */
struct follower {
	struct job *job;
	const struct child *child;
	char line[JOB_LINE_BYTES];
	size_t len;
	char last[CHILD_LAST_LINES][JOB_LINE_BYTES];
	unsigned count;
};

static void end_line(struct follower *f)
{
	f->line[f->len] = '\0';
	f->len = 0;
	if (f->line[0] == '\0')
		return;
	memcpy(f->last[f->count++ % CHILD_LAST_LINES], f->line, JOB_LINE_BYTES);
	if (!f->child->quiet)
		job_say(f->job, "%s", f->line);
}

static void take_output(struct follower *f, const char *data, size_t len)
{
	if (f->child->kept)
		buf_append(f->child->kept, data, len);
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n' || data[i] == '\r')
			end_line(f);
		else if (f->len < sizeof(f->line) - 1)
			f->line[f->len++] = data[i] == '\0' ? ' ' : data[i];
	}
}

static void tell_failure(const struct follower *f, int status, struct buf *why)
{
	if (WIFSIGNALED(status))
		buf_printf(why, "%s was ended by signal %d (%s)", f->child->argv[0], WTERMSIG(status),
			   strsignal(WTERMSIG(status)));
	else
		buf_printf(why, "%s ended with status %d", f->child->argv[0], WEXITSTATUS(status));
	unsigned from = f->count > CHILD_LAST_LINES ? f->count - CHILD_LAST_LINES : 0;
	for (unsigned i = from; i < f->count; i++)
		buf_printf(why, "%s%s", i == from ? "; its last lines: " : " | ",
			   f->last[i % CHILD_LAST_LINES]);
}

static void ask_to_end(const struct child *child, pid_t pid, uint64_t now_ns, uint64_t *asked_ns)
{
	if (*asked_ns == 0) {
		kill(-pid, SIGTERM);
		*asked_ns = now_ns;
	} else if (now_ns - *asked_ns >= (child->grace_ms ? child->grace_ms : CHILD_GRACE_MS) * NS_PER_MS) {
		kill(-pid, SIGKILL);
	}
}

/* Reads until the program has ended. Returns its wait status; *stop is why it was asked to, 0 when it was
 * not. */
static int follow(struct follower *f, pid_t pid, int fd, int *stop)
{
	uint64_t asked_ns = 0;
	int status = 0;
	bool open = true;
	for (;;) {
		struct pollfd fds[2] = {{open ? fd : -1, POLLIN, 0},
					{asked_ns ? -1 : job_wake_fd(f->job), POLLIN, 0}};
		poll(fds, 2, asked_ns ? 50 : job_wait_ms(f->job, 50));
		char data[8192];
		ssize_t n;
		while (open && (n = read(fd, data, sizeof(data))) != 0) {
			if (n < 0)
				break;
			take_output(f, data, (size_t)n);
		}
		if (open && n == 0)
			open = false;
		/* While it is a zombie its process group's number is still its own: what it left behind goes
		 * too. */
		siginfo_t info = {.si_pid = 0};
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid) {
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		int check = job_check(f->job);
		if (check || asked_ns) {
			*stop = *stop ? *stop : check;
			ask_to_end(f->child, pid, clock_now_ns(), &asked_ns);
		}
	}
	/* What it left in the pipe. */
	char data[8192];
	ssize_t n;
	while ((n = read(fd, data, sizeof(data))) > 0)
		take_output(f, data, (size_t)n);
	end_line(f);
	return status;
}

int child_run(struct job *job, const struct child *child, int *status, struct buf *why)
{
	int out[2], err = job_check(job);
	pid_t pid;
	if (err)
		return err;
	if (pipe2(out, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	fcntl(out[1], F_SETFL, 0); /* the program's end blocks as programs expect */
	err = launch(child, out[1], -1, false, &pid, why);
	close(out[1]);
	if (err) {
		close(out[0]);
		return err;
	}
	struct follower *f = calloc(1, sizeof(*f));
	if (!f) {
		kill(-pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(out[0]);
		return -ENOMEM;
	}
	f->job = job;
	f->child = child;
	int stop = 0, ended = follow(f, pid, out[0], &stop);
	close(out[0]);
	if (status)
		*status = WIFSIGNALED(ended) ? 128 + WTERMSIG(ended) : WEXITSTATUS(ended);
	if (stop) {
		err = stop;
		buf_printf(why, "%s was ended: %s", child->argv[0],
			   stop == -ETIMEDOUT ? "the stage's time is over" : "the migration was stopped");
	} else if (ended) {
		err = -ECHILD;
		tell_failure(f, ended, why);
	}
	free(f);
	return err;
}

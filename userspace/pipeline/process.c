/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: the deployer of plain processes: the embedded default, without Docker.
 *
 * A service is one process in a session of its own. It outlives the daemon, as a container would; who it is
 * stands in its pid file and in its own environment (PHOENIX_RELEASE=WORK:N), so a pid that the kernel gave
 * to somebody else in the meantime is never taken for it.
 */
#include "pipeline/deploy.h"

#include "base/clock.h"
#include "pipeline/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_MS	      5000
#define TAIL_BYTES    2048
#define LOG_BYTES_MAX (8u << 20)
#define EXEC_MS	      50

static void file_of(const struct deployment *d, unsigned number, bool trial, const char *end, char *out,
		    size_t size)
{
	if (trial)
		snprintf(out, size, "%s/trial.%s", d->work, end);
	else
		snprintf(out, size, "%s/service-%u.%s", d->work, number, end);
}

static void mark_of(const struct deployment *d, unsigned number, bool trial, char *out, size_t size)
{
	snprintf(out, size, "PHOENIX_RELEASE=%s:%u%s", d->work, number, trial ? ":trial" : "");
}

static ssize_t read_file(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, out, size - 1);
	close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n;
}

/* The environment that a process was given; nothing when it is gone or a zombie. */
static void read_environment(pid_t pid, struct buf *text)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	while (fd >= 0 && buf_reserve(text, 8192) && (n = read(fd, text->data + text->len, 8192)) > 0)
		text->len += (size_t)n;
	if (fd >= 0)
		close(fd);
}

/* Does the process carry the mark in its environment? */
static bool is_marked(pid_t pid, const char *mark)
{
	struct buf text = {.max = 1u << 20};
	read_environment(pid, &text);
	/* In the middle of exec a process has none yet, though its parent was told already. */
	for (unsigned i = 0; i < EXEC_MS && text.len == 0 && kill(pid, 0) == 0; i++) {
		poll(NULL, 0, 1);
		read_environment(pid, &text);
	}
	bool found = false;
	size_t len = strlen(mark);
	for (size_t at = 0; at < text.len && !found; at += strnlen(text.data + at, text.len - at) + 1)
		found = text.len - at > len && memcmp(text.data + at, mark, len + 1) == 0;
	buf_fini(&text);
	return found;
}

/* The running process of the release; 0 when there is none. Its end, when it was our child, goes to *ended.
 */
static pid_t find_process(const struct deployment *d, unsigned number, bool trial, int *ended)
{
	char path[4200], text[32], mark[4200];
	file_of(d, number, trial, "pid", path, sizeof(path));
	if (read_file(path, text, sizeof(text)) <= 0)
		return 0;
	pid_t pid = (pid_t)atol(text);
	int status;
	if (pid <= 1)
		return 0;
	/* Reaps it when it is a child of this daemon (and has no effect when it is not). */
	if (waitpid(pid, &status, WNOHANG) == pid) {
		*ended = status;
		snprintf(text, sizeof(text), "-1 %d\n", status);
		int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0) {
			ssize_t n = write(fd, text, strlen(text));
			(void)n;
			close(fd);
		}
		return 0;
	}
	mark_of(d, number, trial, mark, sizeof(mark));
	return is_marked(pid, mark) ? pid : 0;
}

static void last_end(const struct deployment *d, unsigned number, bool trial, int *ended)
{
	char path[4200], text[32];
	file_of(d, number, trial, "pid", path, sizeof(path));
	if (read_file(path, text, sizeof(text)) > 3 && strncmp(text, "-1 ", 3) == 0)
		*ended = atoi(text + 3);
}

static int process_check(struct deployment *d, struct job *job, struct buf *why)
{
	return 0;
}

static int process_build(struct deployment *d, struct job *job, struct buf *why)
{
	json_t *release = release_read(d, true);
	int err = release ? release_build(d, job, release, why) : -ENOENT;
	json_decref(release);
	return err;
}

/* Unless the spec gives its own: which of two equal names counts would be up to the program. */
static void add_default(struct strings *environment, const json_t *given, const char *name, const char *value)
{
	if (!json_object_get(given, name))
		strings_printf(environment, "%s=%s", name, value);
}

static int launch(struct deployment *d, const json_t *release, bool trial, uint16_t port, struct buf *why)
{
	struct strings argv = {0}, environment = {0};
	unsigned number = release_number(release);
	char pid_path[4200], log_path[4200], mark[4200];
	file_of(d, number, trial, "pid", pid_path, sizeof(pid_path));
	file_of(d, number, trial, "log", log_path, sizeof(log_path));
	mark_of(d, number, trial, mark, sizeof(mark));
	unlink(log_path);
	char *folder = release_path(d, trial);
	json_t *item;
	size_t i;
	const char *name;
	json_array_foreach(json_object_get(release, "command"), i, item)
		strings_add(&argv, json_string_value(item));
	const json_t *given = json_object_get(release, "environment");
	const char *user = json_string_value(json_object_get(release, "user"));
	add_default(&environment, given, "PATH", child_search_path(user));
	add_default(&environment, given, "HOME", folder ? folder : "/");
	add_default(&environment, given, "HOST", "127.0.0.1");
	add_default(&environment, given, "LANG", "C.UTF-8");
	add_default(&environment, given, "PYTHONUNBUFFERED", "1");
	strings_printf(&environment, "PORT=%u", port);
	strings_add(&environment, mark);
	json_object_foreach((json_t *)given, name, item)
		strings_printf(&environment, "%s=%s", name, json_string_value(item));
	pid_t pid;
	int err = argv.failed || environment.failed || !folder ? -ENOMEM : argv.count == 0 ? -EINVAL : 0;
	struct child child = {
		.argv = argv.items,
		.environment = environment.items,
		.directory = folder,
		.user = user,
		.memory_mb = (uint32_t)json_integer_value(json_object_get(release, "memory_mb")),
		.log_path = log_path,
		.pid_path = pid_path,
	};
	if (!err)
		err = child_launch(&child, &pid, why);
	free(folder);
	strings_free(&argv);
	strings_free(&environment);
	return err;
}

/* SIGTERM to its session, SIGKILL when that is not enough. */
static void end_process(const struct deployment *d, unsigned number, bool trial)
{
	int ended;
	pid_t pid = find_process(d, number, trial, &ended);
	if (!pid)
		return;
	kill(-pid, SIGTERM);
	kill(pid, SIGTERM);
	uint64_t until_ns = clock_now_ns() + STOP_MS * NS_PER_MS;
	while (find_process(d, number, trial, &ended) == pid) {
		if (clock_now_ns() >= until_ns) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
		}
		poll(NULL, 0, 20);
	}
}

static int process_trial_start(struct deployment *d, struct job *job, uint16_t port, struct buf *why)
{
	json_t *release = release_read(d, true);
	int err = release ? 0 : -ENOENT;
	end_process(d, d->number, true);
	if (!err && probe_port_is_taken(port)) {
		buf_printf(why,
			   "port %u of 127.0.0.1 is already taken by another program; end it or choose "
			   "another service.port",
			   port);
		err = -EADDRINUSE;
	}
	if (!err)
		err = launch(d, release, true, port, why);
	json_decref(release);
	return err;
}

static void process_trial_stop(struct deployment *d, struct job *job)
{
	end_process(d, d->number, true);
}

/* The former one of this migration ends first: it has the port. */
static int process_start(struct deployment *d, struct job *job, const json_t *release, struct buf *why)
{
	unsigned number = release_number(release);
	uint16_t port = (uint16_t)json_integer_value(json_object_get(release, "port"));
	int ended, err = 0;
	if (find_process(d, number, false, &ended))
		return 0;
	end_process(d, d->number, true);
	if (d->former && d->former != number)
		end_process(d, d->former, false);
	if (d->number != number)
		end_process(d, d->number, false);
	if (probe_port_is_taken(port)) {
		buf_printf(why,
			   "port %u of 127.0.0.1 is already taken by another program; end it or choose "
			   "another service.port",
			   port);
		err = -EADDRINUSE;
	}
	return err ? err : launch(d, release, false, port, why);
}

static int process_stop(struct deployment *d, struct job *job, const json_t *release, struct buf *why)
{
	end_process(d, release_number(release), false);
	return 0;
}

/* Its output is a file, so that it outlives the daemon; one that grows too large is emptied. */
static void bound_log(const struct deployment *d, unsigned number)
{
	char path[4200];
	struct stat info;
	file_of(d, number, false, "log", path, sizeof(path));
	if (lstat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > LOG_BYTES_MAX &&
	    truncate(path, 0)) {
		/* It is tried again the next time. */
	}
}

static void process_state(struct deployment *d, struct job *job, const json_t *release, bool trial,
			  struct service_state *out)
{
	unsigned number = release_number(release);
	int ended = -1;
	*out = (struct service_state){.running = find_process(d, number, trial, &ended) != 0};
	bound_log(d, number);
	if (out->running)
		return;
	if (ended == -1)
		last_end(d, number, trial, &ended);
	if (ended == -1)
		snprintf(out->text, sizeof(out->text), "is not running");
	else if (WIFSIGNALED(ended))
		snprintf(out->text, sizeof(out->text), "was killed by signal %d (%s)", WTERMSIG(ended),
			 strsignal(WTERMSIG(ended)));
	else
		snprintf(out->text, sizeof(out->text), "ended by itself with status %d", WEXITSTATUS(ended));
}

static void process_tail(struct deployment *d, struct job *job, const json_t *release, bool trial)
{
	char path[4200], text[TAIL_BYTES + 1];
	file_of(d, release_number(release), trial, "log", path, sizeof(path));
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	off_t size = lseek(fd, 0, SEEK_END);
	lseek(fd, size > TAIL_BYTES ? size - TAIL_BYTES : 0, SEEK_SET);
	ssize_t n = read(fd, text, TAIL_BYTES);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	struct slice rest = slice_of(text, n > 0 ? (size_t)n : 0), line;
	while (rest.len && slice_split(&rest, '\n', &line)) {
		if (line.len)
			job_say(job, "service: %.*s", line.len > 300 ? 300 : (int)line.len, line.ptr);
	}
}

const struct deployer process_deployer = {
	.word = "process",
	.check = process_check,
	.build = process_build,
	.trial_start = process_trial_start,
	.trial_stop = process_trial_stop,
	.start = process_start,
	.stop = process_stop,
	.state = process_state,
	.tail = process_tail,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access_log: see access_log.h.
 *
 * A ring has one writer (its worker) and one reader (the thread here): two counters of bytes, no lock. The
 * thread is never woken: it looks again after LOOK_BUSY_MS or LOOK_IDLE_MS. What goes wrong is said once
 * when it begins and once when it is over.
 */
#include "gateway/access_log.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOOK_BUSY_MS   5
#define LOOK_IDLE_MS   50
#define RETRY_MS       1000 /* to open again what could not be opened */
#define CLOSE_MS       1000
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

struct access_ring {
	_Atomic uint64_t put, taken; /* bytes, in all */
	_Atomic uint64_t lines[2], dropped;
	char *bytes;
};

enum target { TARGET_FILE, TARGET_STDERR, TARGET_JOURNAL };

struct access_log {
	const struct access_log_config *config;
	struct access_ring *rings;
	unsigned ring_count;
	pthread_t thread;
	bool started;
	atomic_bool stopping, reopen;
	_Atomic uint64_t written_bytes, dropped_io;

	/* the thread's own */
	enum target target;
	int fd; /* -1: to be opened again */
	uint64_t file_bytes, retry_ns, lost_since;
	bool in_line; /* the last write ended within a line */
	bool failing;
};

/* --- a worker's side ------------------------------------------------------------------------------------ */

struct access_ring *access_log_ring(struct access_log *log, unsigned worker)
{
	return log ? &log->rings[worker] : NULL;
}

const struct access_log_config *access_log_config(const struct access_log *log)
{
	return log->config;
}

static void count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

void access_ring_put(struct access_ring *ring, const char *line, size_t len, unsigned path)
{
	uint64_t put = atomic_load_explicit(&ring->put, memory_order_relaxed);
	uint64_t taken = atomic_load_explicit(&ring->taken, memory_order_acquire);
	if (len > ACCESS_RING_BYTES - (put - taken)) {
		count(&ring->dropped);
		return;
	}
	size_t at = put % ACCESS_RING_BYTES, first = ACCESS_RING_BYTES - at;
	if (first > len)
		first = len;
	memcpy(ring->bytes + at, line, first);
	memcpy(ring->bytes, line + first, len - first);
	atomic_store_explicit(&ring->put, put + len, memory_order_release);
	count(&ring->lines[path]);
}

/* --- where lines go ------------------------------------------------------------------------------------- */

static uint64_t count_lines(const char *bytes, size_t len)
{
	uint64_t lines = 0;
	const char *end = bytes + len;
	while (bytes < end && (bytes = memchr(bytes, '\n', (size_t)(end - bytes)))) {
		lines++;
		bytes++;
	}
	return lines;
}

/* These lines are lost; said when it begins. */
static void lose(struct access_log *log, uint64_t lines, int err)
{
	atomic_fetch_add(&log->dropped_io, lines);
	if (!log->failing)
		log_error("access", "%s: %s; lines are dropped and counted until that is over",
			  log->config->path, strerror(err));
	if (!log->failing)
		log->lost_since = atomic_load(&log->dropped_io) - lines;
	log->failing = true;
}

static void works_again(struct access_log *log)
{
	if (!log->failing)
		return;
	log->failing = false;
	log_warn("access", "%s: is written again; %llu lines were dropped", log->config->path,
		 (unsigned long long)(atomic_load(&log->dropped_io) - log->lost_since));
}

static int open_journal(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd < 0 ? -errno : fd;
}

static int open_file(const char *path, uint64_t *bytes)
{
	struct stat status;
	/* A pipe is opened for both so that it opens without a reader; without one it fills up, and that is
	 * told. */
	bool pipe = stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
	int fd = open(path, (pipe ? O_RDWR | O_NONBLOCK : O_WRONLY | O_CREAT) | O_APPEND | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	*bytes = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
	return fd;
}

/* The target's descriptor, or -errno. */
static int open_target(struct access_log *log)
{
	switch (log->target) {
	case TARGET_STDERR:
		return STDERR_FILENO;
	case TARGET_JOURNAL:
		return open_journal();
	case TARGET_FILE:
		break;
	}
	return open_file(log->config->path, &log->file_bytes);
}

static void close_target(struct access_log *log)
{
	if (log->fd >= 0 && log->target != TARGET_STDERR)
		close(log->fd);
	log->fd = -1;
}

/* The old file stays in use when there is no new one. */
static void open_again(struct access_log *log)
{
	int fd = open_target(log);
	if (fd < 0) {
		log_error("access", "%s cannot be opened again: %s%s", log->config->path, strerror(-fd),
			  log->fd >= 0 ? "; the former file is still written" : "");
		log->retry_ns = clock_now_ns() + RETRY_MS * NS_PER_MS;
		return;
	}
	close_target(log);
	log->fd = fd;
	log->in_line = false;
}

/* The file would become longer than it may: it becomes FILE.1, in the place of the one before. False: it
 * cannot be moved, and stays as long as it is. */
static bool make_room(struct access_log *log, size_t len)
{
	uint64_t max = log->config->max_bytes;
	if (log->target != TARGET_FILE || !max || log->file_bytes + len <= max)
		return true;
	char older[4100];
	snprintf(older, sizeof(older), "%s.1", log->config->path);
	if (rename(log->config->path, older) && errno != ENOENT)
		return false;
	open_again(log);
	return log->file_bytes + len <= max;
}

/* Bytes of whole lines to a file or pipe. */
static void write_bytes(struct access_log *log, const char *bytes, size_t len)
{
	if (!make_room(log, len)) {
		lose(log, count_lines(bytes, len), EFBIG);
		return;
	}
	/* What was cut is ended first, so that the next line is whole. */
	if (log->in_line && write(log->fd, "\n", 1) == 1)
		log->in_line = false;
	size_t done = 0;
	while (done < len) {
		ssize_t n = write(log->fd, bytes + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int err = errno;
			log->in_line |= done > 0 && bytes[done - 1] != '\n';
			lose(log, count_lines(bytes + done, len - done), err);
			break;
		}
		done += (size_t)n;
	}
	log->file_bytes += done;
	atomic_fetch_add(&log->written_bytes, done);
	if (done == len)
		works_again(log);
}

/* A line is a datagram: systemd's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). */
static void write_journal(struct access_log *log, const char *bytes, size_t len)
{
	static const char head[] = "SYSLOG_IDENTIFIER=phoenix-access\nPRIORITY=6\nMESSAGE=";
	while (len) {
		const char *end = memchr(bytes, '\n', len);
		size_t line = end ? (size_t)(end - bytes) + 1 : len;
		struct iovec pieces[2] = {{(char *)(uintptr_t)head, sizeof(head) - 1},
					  {(char *)(uintptr_t)bytes, line}};
		struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
		if (sendmsg(log->fd, &message, MSG_NOSIGNAL) < 0) {
			lose(log, count_lines(bytes, len), errno);
			close_target(log);
			log->retry_ns = clock_now_ns() + RETRY_MS * NS_PER_MS;
			return;
		}
		atomic_fetch_add(&log->written_bytes, line);
		bytes += line;
		len -= line;
	}
	works_again(log);
}

static void write_out(struct access_log *log, const char *bytes, size_t len)
{
	if (log->fd < 0 && clock_now_ns() >= log->retry_ns) {
		int fd = open_target(log);
		log->fd = fd < 0 ? -1 : fd;
		log->retry_ns = clock_now_ns() + RETRY_MS * NS_PER_MS;
	}
	if (log->fd < 0)
		lose(log, count_lines(bytes, len), ENOTCONN);
	else if (log->target == TARGET_JOURNAL)
		write_journal(log, bytes, len);
	else
		write_bytes(log, bytes, len);
}

/* --- the thread ----------------------------------------------------------------------------------------- */

/* Empties a ring; `scratch` has room for all of it, since what wraps around must be in one piece. */
static size_t drain(struct access_log *log, struct access_ring *ring, char *scratch)
{
	uint64_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
	uint64_t put = atomic_load_explicit(&ring->put, memory_order_acquire);
	size_t len = put - taken, at = taken % ACCESS_RING_BYTES;
	if (!len)
		return 0;
	size_t first = ACCESS_RING_BYTES - at < len ? ACCESS_RING_BYTES - at : len;
	const char *bytes = ring->bytes + at;
	if (first < len) {
		memcpy(scratch, ring->bytes + at, first);
		memcpy(scratch + first, ring->bytes, len - first);
		bytes = scratch;
	}
	write_out(log, bytes, len);
	atomic_store_explicit(&ring->taken, put, memory_order_release);
	return len;
}

static size_t drain_all(struct access_log *log, char *scratch)
{
	size_t bytes = 0;
	if (atomic_exchange(&log->reopen, false))
		open_again(log);
	for (unsigned i = 0; i < log->ring_count; i++)
		bytes += drain(log, &log->rings[i], scratch);
	return bytes;
}

static void *thread_main(void *argument)
{
	struct access_log *log = argument;
	char *scratch = malloc(ACCESS_RING_BYTES);
	while (scratch && !atomic_load(&log->stopping)) {
		unsigned ms = drain_all(log, scratch) ? LOOK_BUSY_MS : LOOK_IDLE_MS;
		usleep(ms * 1000);
	}
	if (scratch)
		drain_all(log, scratch);
	free(scratch);
	return NULL;
}

/* --- life ----------------------------------------------------------------------------------------------- */

static enum target target_of(const char *path)
{
	return strcmp(path, "stderr") == 0    ? TARGET_STDERR
	       : strcmp(path, "journal") == 0 ? TARGET_JOURNAL
					      : TARGET_FILE;
}

int access_log_open(const struct access_log_config *config, unsigned workers, struct access_log **out,
		    struct buf *why)
{
	*out = NULL;
	if (!config->path)
		return 0;
	struct access_log *log = calloc(1, sizeof(*log));
	int err = -ENOMEM;
	if (!log)
		return err;
	log->config = config;
	log->target = target_of(config->path);
	log->fd = -1;
	log->rings = calloc(workers, sizeof(*log->rings));
	for (; log->rings && log->ring_count < workers; log->ring_count++) {
		log->rings[log->ring_count].bytes = malloc(ACCESS_RING_BYTES);
		if (!log->rings[log->ring_count].bytes)
			break;
	}
	if (log->rings && log->ring_count == workers) {
		err = log->fd = open_target(log);
		if (err < 0)
			buf_printf(why, "access_log.path %s: %s", config->path, strerror(-err));
		else
			err = -pthread_create(&log->thread, NULL, thread_main, log);
	}
	log->started = !err;
	if (err) {
		access_log_close(log);
		return err;
	}
	*out = log;
	return 0;
}

void access_log_close(struct access_log *log)
{
	if (!log)
		return;
	atomic_store(&log->stopping, true);
	if (log->started)
		pthread_join(log->thread, NULL);
	close_target(log);
	for (unsigned i = 0; i < log->ring_count; i++)
		free(log->rings[i].bytes);
	free(log->rings);
	free(log);
}

void access_log_reopen(struct access_log *log)
{
	if (log)
		atomic_store(&log->reopen, true);
}

void access_log_stats(struct access_log *log, struct access_log_stats *out)
{
	*out = (struct access_log_stats){0};
	for (unsigned i = 0; log && i < log->ring_count; i++) {
		out->lines[0] += atomic_load_explicit(&log->rings[i].lines[0], memory_order_relaxed);
		out->lines[1] += atomic_load_explicit(&log->rings[i].lines[1], memory_order_relaxed);
		out->dropped_full += atomic_load_explicit(&log->rings[i].dropped, memory_order_relaxed);
	}
	out->dropped_io = log ? atomic_load(&log->dropped_io) : 0;
	out->bytes = log ? atomic_load(&log->written_bytes) : 0;
}

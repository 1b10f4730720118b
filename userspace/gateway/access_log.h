/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access_log: a line for each request, written where no request waits for it.
 *
 * Each worker puts whole lines into a ring of its own; one thread takes them out of all rings and writes them
 * to a file, a pipe, stderr or the journal. A ring that is full, a disk that is, or a pipe that nobody reads
 * costs lines, which are counted, and never a request. access.c makes the lines.
 */
#ifndef PHOENIX_GATEWAY_ACCESS_LOG_H
#define PHOENIX_GATEWAY_ACCESS_LOG_H

#include "base/buf.h"
#include "config.h"

#include <stdint.h>

#define ACCESS_RING_BYTES (1u << 20) /* of one worker; a power of two */
#define ACCESS_LINE_MAX	  12288

struct access_log;
/* One worker's end. */
struct access_ring;

/* What became of the lines. All only grow. */
struct access_log_stats {
	uint64_t lines[2];     /* put into rings, by path: [0] the daemon's requests, [1] the NIC path's */
	uint64_t dropped_full; /* the ring had no room */
	uint64_t dropped_io;   /* the file took no more, the pipe had no reader */
	uint64_t bytes;	       /* written */
};

/* Opens the target and starts the thread; *out is NULL when the configuration has no access log. 0 or -errno
 * with `why`. `config` is borrowed for good. */
int access_log_open(const struct access_log_config *config, unsigned workers, struct access_log **out,
		    struct buf *why);
/* Writes what is left, at most for a second, and ends. NULL-safe. */
void access_log_close(struct access_log *log);
/* A log rotation has moved the file away: the next line goes into a new one. Any thread; NULL-safe. */
void access_log_reopen(struct access_log *log);
void access_log_stats(struct access_log *log, struct access_log_stats *out);
const struct access_log_config *access_log_config(const struct access_log *log);

struct access_ring *access_log_ring(struct access_log *log, unsigned worker);
/* A whole line with its newline, of the daemon's (0) or the NIC path (1). Only the ring's worker. */
void access_ring_put(struct access_ring *ring, const char *line, size_t len, unsigned path);

#endif

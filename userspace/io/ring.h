/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring: one io_uring a thread, its operations, its receive buffers and its timers.
 *
 * An operation is a `struct ring_op` embedded in its owner; a completion calls its `done`. From submit to
 * the last completion the operation belongs to the kernel: owners count what is in flight and release their
 * memory when it is zero. `done` is never called from inside a submitting function.
 *
 * Receives take their buffer when data arrives, not when they are armed, so an idle connection costs no
 * buffer. The buffers are handed to the kernel from a last-in-first-out stock, few at a time: what paid most
 * in measurements was that the same warm megabyte is used over and over. A buffer has exactly one owner from
 * the completion until ring_buffer_put(); there are no reference counts to get wrong. When the stock is
 * empty and may not grow, the receive waits its turn (it is counted in `starved`) and nothing is lost.
 *
 * This folder alone sees liburing.
 */
#ifndef PHOENIX_IO_RING_H
#define PHOENIX_IO_RING_H

#include "base/list.h"
#include "io/timer.h"

#include <liburing.h>
#include <stdint.h>
#include <sys/socket.h>

#define RING_BUFFER_BYTES	16384
#define RING_LARGE_BUFFER_BYTES 131072

struct ring_op {
	/* res: as the system call's, -errno on failure. flags: IORING_CQE_F_*. */
	void (*done)(struct ring_op *op, int res, uint32_t flags);
};

/* A receive buffer in somebody's hands. data[0..len) is what arrived. */
struct ring_buffer {
	char *data; /* NULL = none */
	uint32_t len;
	uint32_t cap;
	uint16_t id; /* of a pool buffer */
	bool large;
};

struct ring_options {
	uint32_t entries;	    /* submission queue; completions get four times as many */
	uint32_t buffers_max;	    /* receive buffers in all; the stock grows on demand */
	uint32_t large_buffers_max; /* RING_LARGE_BUFFER_BYTES each */
};

struct ring_stats {
	uint64_t starved;   /* receives that had to wait for a buffer */
	uint64_t overflows; /* completion queue overflowed (kernel kept them: nothing lost) */
	uint64_t submit_errors;
};

struct ring {
	struct io_uring uring;
	struct timer_wheel timers;
	uint64_t now_ns; /* CLOCK_MONOTONIC at the start of this turn */
	struct ring_stats stats;

	struct io_uring_buf_ring *offered; /* the buffers the kernel may take */
	uint32_t offered_count;
	char **buffers;	 /* by id */
	uint16_t *stock; /* free ids, last in first out */
	uint32_t stock_count;
	uint32_t buffer_count; /* allocated */
	uint32_t buffers_max;
	char **large_stock;
	uint32_t large_stock_count;
	uint32_t large_count;
	uint32_t large_max;
	struct list starving; /* struct ring_recv that wait for a buffer */
};

/* A receive whose buffer comes from the ring. */
struct ring_recv {
	struct ring_op op;
	struct ring *ring;
	struct list starving;
	int fd;
	bool cancelled; /* ends with its next completion, whatever that says */
	/* res > 0: `buffer` holds res bytes and now belongs to the callee. 0: end of stream. < 0: -errno. */
	void (*received)(struct ring_recv *recv, int res, struct ring_buffer buffer);
};

/* Must be called by the thread that will use the ring. -errno as io_uring_setup(2), -ENOMEM. */
int ring_init(struct ring *ring, const struct ring_options *options);
/* No operation may be in flight. NULL-safe for a zeroed ring. */
void ring_fini(struct ring *ring);
/*
 * One turn: submits what was prepared, waits for a completion or the next timer (at most wait_ns), calls
 * every `done` that is due, then timers. Returns 0 or -errno (never -EINTR, -ETIME).
 */
int ring_turn(struct ring *ring, uint64_t wait_ns);

void ring_recv_init(struct ring_recv *recv, struct ring *ring,
		    void (*received)(struct ring_recv *recv, int res, struct ring_buffer buffer));
/* Arms one receive. Not armed already. `later`: nothing is there yet for sure, so the kernel need not look
 * before it waits (IORING_RECVSEND_POLL_FIRST). */
void ring_recv_start(struct ring_recv *recv, int fd, bool later);
/* Gives a buffer back. Resets *buffer; harmless for an empty one. */
void ring_buffer_put(struct ring *ring, struct ring_buffer *buffer);
/* A large buffer, the one used last first; .data is NULL when there is none left. */
struct ring_buffer ring_large_buffer_get(struct ring *ring);

void ring_accept_start(struct ring *ring, struct ring_op *op, int listen_fd); /* multishot */
/* Until bytes, an end or an error can be received; res is poll(2)'s revents. */
void ring_poll(struct ring *ring, struct ring_op *op, int fd);
/* Sends what the socket takes, perhaps not all; the bytes stay untouched until `done`. `more`: something
 * follows at once (MSG_MORE). */
void ring_send(struct ring *ring, struct ring_op *op, int fd, const void *data, size_t len, bool more);
void ring_sendmsg(struct ring *ring, struct ring_op *op, int fd, const struct msghdr *message, bool more);
void ring_connect(struct ring *ring, struct ring_op *op, int fd, const struct sockaddr *address,
		  socklen_t address_len);
void ring_read(struct ring *ring, struct ring_op *op, int fd, void *data, size_t len);
/* Asks the kernel to end `op`; its own completion still comes (-ECANCELED, or what it had reached). */
void ring_cancel(struct ring *ring, struct ring_op *op);
/* The same for a receive that was started. True when it ended at once, because it waited for a buffer in the
 * ring's own queue: then `received` is not called. */
bool ring_recv_cancel(struct ring_recv *recv);

#endif

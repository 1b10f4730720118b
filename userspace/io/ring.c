/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring: see ring.h.
 *
 * The hard part is the buffers. The kernel sees a ring of at most OFFERED_MAX of them; the rest lie in a
 * stock. A completion that took a buffer lowers offered_count; before every wait the ring is topped up from
 * the stock's warm end. A receive that met an empty ring (-ENOBUFS) is put in a queue and armed again after
 * the next top-up. liburing 2.3 (Debian 12) lacks some newer constants; they are defined here.
 */
#include "io/ring.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

#define OFFERED_MAX  64u /* power of two; 1 MiB of warm buffers */
#define SLAB_BUFFERS 32u /* buffers allocated at a time */
#define BUFFER_GROUP 0
/* From one buffer to the next. Not a power of two: buffers that begin at the same place of their page would
 * all compete for the same few lines of the cache, and most messages are no longer than a few lines. */
#define BUFFER_STRIDE (RING_BUFFER_BYTES + 9 * 64u)

static int offered_setup(struct ring *ring)
{
	void *memory = mmap(NULL, OFFERED_MAX * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
			    MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	struct io_uring_buf_reg reg = {
		.ring_addr = (uint64_t)(uintptr_t)memory,
		.ring_entries = OFFERED_MAX,
		.bgid = BUFFER_GROUP,
	};
	int err = io_uring_register_buf_ring(&ring->uring, &reg, 0);
	if (err) {
		munmap(memory, OFFERED_MAX * sizeof(struct io_uring_buf));
		return err;
	}
	ring->offered = memory;
	io_uring_buf_ring_init(ring->offered);
	return 0;
}

/* Allocates one slab more. False at the limit or out of memory. */
static bool stock_grow(struct ring *ring)
{
	if (ring->buffer_count + SLAB_BUFFERS > ring->buffers_max)
		return false;
	char *slab = mmap(NULL, (size_t)SLAB_BUFFERS * BUFFER_STRIDE, PROT_READ | PROT_WRITE,
			  MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (slab == MAP_FAILED)
		return false;
	for (uint32_t i = 0; i < SLAB_BUFFERS; i++) {
		ring->buffers[ring->buffer_count] = slab + (size_t)i * BUFFER_STRIDE;
		ring->stock[ring->stock_count++] = (uint16_t)ring->buffer_count++;
	}
	return true;
}

/* Tops up what the kernel may take, then lets the starving try again. */
static void offer_buffers(struct ring *ring)
{
	uint32_t added = 0;
	while (ring->offered_count + added < OFFERED_MAX) {
		if (ring->stock_count == 0 && !stock_grow(ring))
			break;
		uint16_t id = ring->stock[--ring->stock_count];
		io_uring_buf_ring_add(ring->offered, ring->buffers[id], RING_BUFFER_BYTES, id,
				      io_uring_buf_ring_mask(OFFERED_MAX), (int)added);
		added++;
	}
	if (added) {
		io_uring_buf_ring_advance(ring->offered, (int)added);
		ring->offered_count += added;
	}
	for (uint32_t i = ring->offered_count; i > 0 && !list_empty(&ring->starving); i--) {
		struct ring_recv *recv = container_of(list_pop(&ring->starving), struct ring_recv, starving);
		ring_recv_start(recv, recv->fd, false);
	}
}

int ring_init(struct ring *ring, const struct ring_options *options)
{
	memset(ring, 0, sizeof(*ring));
	ring->uring.ring_fd = -1;
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
			 IORING_SETUP_SUBMIT_ALL,
		.cq_entries = options->entries * 4,
	};
	int err = io_uring_queue_init_params(options->entries, &ring->uring, &params);
	if (err)
		return err;
	list_init(&ring->starving);
	ring->now_ns = clock_now_ns();
	timer_wheel_init(&ring->timers, ring->now_ns);
	ring->buffers_max = options->buffers_max < OFFERED_MAX ? OFFERED_MAX : options->buffers_max;
	if (ring->buffers_max > UINT16_MAX)
		ring->buffers_max = UINT16_MAX;
	ring->large_max = options->large_buffers_max;
	ring->buffers = calloc(ring->buffers_max, sizeof(*ring->buffers));
	ring->stock = calloc(ring->buffers_max, sizeof(*ring->stock));
	ring->large_stock = calloc(ring->large_max ? ring->large_max : 1, sizeof(*ring->large_stock));
	err = -ENOMEM;
	if (!ring->buffers || !ring->stock || !ring->large_stock)
		goto fail;
	err = offered_setup(ring);
	if (err)
		goto fail;
	io_uring_register_ring_fd(&ring->uring);
	offer_buffers(ring);
	return 0;
fail:
	ring_fini(ring);
	return err;
}

void ring_fini(struct ring *ring)
{
	if (!ring || !ring->uring.sq.khead)
		return;
	io_uring_queue_exit(&ring->uring);
	if (ring->offered)
		munmap(ring->offered, OFFERED_MAX * sizeof(struct io_uring_buf));
	for (uint32_t i = 0; i < ring->buffer_count; i += SLAB_BUFFERS)
		munmap(ring->buffers[i], (size_t)SLAB_BUFFERS * BUFFER_STRIDE);
	for (uint32_t i = 0; i < ring->large_stock_count; i++)
		free(ring->large_stock[i]);
	free(ring->buffers);
	free(ring->stock);
	free(ring->large_stock);
	memset(ring, 0, sizeof(*ring));
}

/* A free submission entry; a full queue is emptied into the kernel first. */
static struct io_uring_sqe *take_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe;
	while (!(sqe = io_uring_get_sqe(&ring->uring))) {
		if (io_uring_submit(&ring->uring) < 0)
			ring->stats.submit_errors++;
	}
	return sqe;
}

static void on_recv(struct ring_op *op, int res, uint32_t flags)
{
	struct ring_recv *recv = container_of(op, struct ring_recv, op);
	struct ring *ring = recv->ring;
	struct ring_buffer buffer = {0};
	if (flags & IORING_CQE_F_BUFFER) {
		uint16_t id = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
		ring->offered_count--;
		if (res > 0) {
			buffer = (struct ring_buffer){ring->buffers[id], (uint32_t)res, RING_BUFFER_BYTES, id,
						      false};
		} else {
			ring->stock[ring->stock_count++] = id;
		}
	}
	if (res == -ENOBUFS && !recv->cancelled) {
		ring->stats.starved++;
		list_push_back(&ring->starving, &recv->starving);
		return;
	}
	recv->received(recv, res, buffer);
}

void ring_recv_init(struct ring_recv *recv, struct ring *ring,
		    void (*received)(struct ring_recv *recv, int res, struct ring_buffer buffer))
{
	recv->op.done = on_recv;
	recv->ring = ring;
	recv->fd = -1;
	recv->received = received;
	list_init(&recv->starving);
}

void ring_recv_start(struct ring_recv *recv, int fd, bool later)
{
	recv->fd = fd;
	struct io_uring_sqe *sqe = take_sqe(recv->ring);
	io_uring_prep_recv(sqe, fd, NULL, RING_BUFFER_BYTES, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	if (later)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	sqe->buf_group = BUFFER_GROUP;
	io_uring_sqe_set_data(sqe, &recv->op);
}

bool ring_recv_cancel(struct ring_recv *recv)
{
	if (!list_empty(&recv->starving)) {
		list_remove(&recv->starving);
		return true;
	}
	recv->cancelled = true;
	ring_cancel(recv->ring, &recv->op);
	return false;
}

void ring_buffer_put(struct ring *ring, struct ring_buffer *buffer)
{
	if (!buffer->data)
		return;
	if (buffer->large)
		ring->large_stock[ring->large_stock_count++] = buffer->data;
	else
		ring->stock[ring->stock_count++] = buffer->id;
	*buffer = (struct ring_buffer){0};
}

struct ring_buffer ring_large_buffer_get(struct ring *ring)
{
	char *data = NULL;
	if (ring->large_stock_count) {
		data = ring->large_stock[--ring->large_stock_count];
	} else if (ring->large_count < ring->large_max) {
		data = aligned_alloc(4096, RING_LARGE_BUFFER_BYTES);
		if (data)
			ring->large_count++;
	}
	return (struct ring_buffer){data, 0, data ? RING_LARGE_BUFFER_BYTES : 0, 0, true};
}

void ring_accept_start(struct ring *ring, struct ring_op *op, int listen_fd)
{
	struct io_uring_sqe *sqe = take_sqe(ring);
	io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC);
	io_uring_sqe_set_data(sqe, op);
}

void ring_poll(struct ring *ring, struct ring_op *op, int fd)
{
	struct io_uring_sqe *sqe = take_sqe(ring);
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	io_uring_sqe_set_data(sqe, op);
}

void ring_send(struct ring *ring, struct ring_op *op, int fd, const void *data, size_t len, bool more)
{
	struct io_uring_sqe *sqe = take_sqe(ring);
	io_uring_prep_send(sqe, fd, data, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	io_uring_sqe_set_data(sqe, op);
}

void ring_sendmsg(struct ring *ring, struct ring_op *op, int fd, const struct msghdr *message, bool more)
{
	struct io_uring_sqe *sqe = take_sqe(ring);
	io_uring_prep_sendmsg(sqe, fd, message, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	io_uring_sqe_set_data(sqe, op);
}

void ring_connect(struct ring *ring, struct ring_op *op, int fd, const struct sockaddr *address,
		  socklen_t address_len)
{
	struct io_uring_sqe *sqe = take_sqe(ring);
	io_uring_prep_connect(sqe, fd, address, address_len);
	io_uring_sqe_set_data(sqe, op);
}

void ring_read(struct ring *ring, struct ring_op *op, int fd, void *data, size_t len)
{
	struct io_uring_sqe *sqe = take_sqe(ring);
	io_uring_prep_read(sqe, fd, data, (unsigned)len, 0);
	io_uring_sqe_set_data(sqe, op);
}

void ring_cancel(struct ring *ring, struct ring_op *op)
{
	struct io_uring_sqe *sqe = take_sqe(ring);
	io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
	io_uring_sqe_set_data(sqe, NULL);
}

int ring_turn(struct ring *ring, uint64_t wait_ns)
{
	offer_buffers(ring);
	uint64_t next_ns = timer_wheel_next_ns(&ring->timers);
	uint64_t now_ns = clock_now_ns();
	uint64_t until_timer_ns = next_ns > now_ns ? next_ns - now_ns : 0;
	if (until_timer_ns < wait_ns)
		wait_ns = until_timer_ns;
	struct __kernel_timespec timeout = {
		.tv_sec = (long long)(wait_ns / NS_PER_SEC),
		.tv_nsec = (long long)(wait_ns % NS_PER_SEC),
	};
	struct io_uring_cqe *cqe;
	int res = io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, &timeout, NULL);
	if (res < 0 && res != -ETIME && res != -EINTR && res != -EAGAIN && res != -EBUSY) {
		ring->stats.submit_errors++;
		return res;
	}
	ring->now_ns = clock_now_ns();
	unsigned head, seen = 0;
	io_uring_for_each_cqe(&ring->uring, head, cqe)
	{
		struct ring_op *op = io_uring_cqe_get_data(cqe);
		seen++;
		if (op)
			op->done(op, cqe->res, cqe->flags);
	}
	io_uring_cq_advance(&ring->uring, seen);
	timer_wheel_run(&ring->timers, ring->now_ns);
	return 0;
}

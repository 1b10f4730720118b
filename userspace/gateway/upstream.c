/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upstream: connections to upstreams, and the pools in which idle ones wait for the next request.
 *
 * A pool belongs to one worker and one endpoint, and shadows have pools of their own, so that the primary
 * never waits for them. The most recently used connection is taken first. An idle connection keeps a receive
 * armed: the moment the upstream closes it, or says something nobody asked for, it is thrown away.
 *
 * The hard part is connecting: an endpoint may have several addresses, each attempt is a socket of its own,
 * and the next one can only begin when the last one's operations are out of the kernel.
 */
#include "gateway/worker.h"

#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

static const struct stream_events upstream_events;

static void count_connection(struct upstream *upstream, int delta)
{
	if (upstream->pool->shadow)
		return;
	atomic_fetch_add(&upstream->pool->endpoint->connections, (unsigned)delta);
	STAT_ADD(upstream->worker->stats.upstream_active, (uint64_t)(int64_t)delta);
}

static void set_idle(struct upstream *upstream, bool idle)
{
	if (upstream->idle == idle)
		return;
	upstream->idle = idle;
	if (upstream->pool->shadow)
		return;
	atomic_fetch_add(&upstream->pool->endpoint->idle, idle ? 1u : -1u);
	STAT_ADD(upstream->worker->stats.upstream_idle, (uint64_t)(idle ? 1 : -1));
}

static void upstream_close(struct upstream *upstream, bool reset)
{
	timer_cancel(&upstream->worker->ring.timers, &upstream->timer);
	list_remove(&upstream->link);
	set_idle(upstream, false);
	upstream->user = NULL;
	stream_close(&upstream->stream, reset);
}

static struct upstream_pool *pool_get(struct worker *worker, struct endpoint *endpoint, bool shadow)
{
	if (endpoint->index >= worker->pool_count[shadow]) {
		uint32_t count = (endpoint->index + 64) & ~63u;
		struct upstream_pool **pools = realloc(worker->pools[shadow], count * sizeof(*pools));
		if (!pools)
			return NULL;
		memset(pools + worker->pool_count[shadow], 0,
		       (count - worker->pool_count[shadow]) * sizeof(*pools));
		worker->pools[shadow] = pools;
		worker->pool_count[shadow] = count;
	}
	struct upstream_pool **pool = &worker->pools[shadow][endpoint->index];
	if (!*pool) {
		*pool = calloc(1, sizeof(**pool));
		if (!*pool)
			return NULL;
		(*pool)->endpoint = endpoint;
		(*pool)->shadow = shadow;
		list_init(&(*pool)->idle);
	}
	return *pool;
}

/* A socket to the next address. 0, or -errno when there is none left (the last attempt's error). */
static int connect_next(struct upstream *upstream)
{
	struct endpoint_address address;
	while (endpoint_address(upstream->pool->endpoint, upstream->start, upstream->attempt, &address)) {
		upstream->attempt++;
		int fd = socket(address.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0) {
			upstream->connect_error = -errno;
			continue;
		}
		int one = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		struct ring *ring = &upstream->worker->ring;
		stream_init(&upstream->stream, ring, &upstream_events, fd);
		upstream->connecting = true;
		memcpy(&upstream->address, &address.address, address.len);
		stream_connect(&upstream->stream, (struct sockaddr *)&upstream->address, address.len);
		timer_set(&ring->timers, &upstream->timer,
			  ring->now_ns + upstream->worker->limits->connect_timeout_ms * NS_PER_MS);
		STAT_ADD(upstream->worker->stats.upstream_connects, 1);
		return 0;
	}
	return upstream->connect_error ? upstream->connect_error : -EHOSTUNREACH;
}

static void on_timer(struct timer *timer)
{
	struct upstream *upstream = container_of(timer, struct upstream, timer);
	if (upstream->connecting) {
		upstream->connect_error = -ETIMEDOUT;
		upstream->retry_address = true;
		stream_close(&upstream->stream, true);
	} else if (upstream->idle) {
		upstream_close(upstream, false);
	}
}

static void on_connected(struct stream *stream, int err)
{
	struct upstream *upstream = container_of(stream, struct upstream, stream);
	timer_cancel(&upstream->worker->ring.timers, &upstream->timer);
	if (err) {
		upstream->connect_error = err;
		upstream->retry_address = true;
		stream_close(&upstream->stream, true);
		return;
	}
	upstream->connecting = false;
	endpoint_report(upstream->pool->endpoint, 0);
	upstream->user->connected(upstream->user, 0);
}

static void on_data(struct stream *stream, struct ring_buffer buffer)
{
	struct upstream *upstream = container_of(stream, struct upstream, stream);
	if (upstream->user) {
		upstream->user->data(upstream->user, buffer);
		return;
	}
	ring_buffer_put(&upstream->worker->ring, &buffer);
	upstream_close(upstream, true);
}

static void on_end(struct stream *stream, int err)
{
	struct upstream *upstream = container_of(stream, struct upstream, stream);
	if (upstream->user)
		upstream->user->end(upstream->user, err);
	else
		upstream_close(upstream, false);
}

static void on_sent(struct stream *stream, int err)
{
	struct upstream *upstream = container_of(stream, struct upstream, stream);
	if (upstream->user)
		upstream->user->sent(upstream->user, err);
}

static void on_closed(struct stream *stream)
{
	struct upstream *upstream = container_of(stream, struct upstream, stream);
	if (upstream->retry_address) {
		upstream->retry_address = false;
		upstream->connecting = false;
		if (upstream->user && connect_next(upstream) == 0)
			return;
		struct upstream_user *user = upstream->user;
		if (user) {
			STAT_ADD(upstream->worker->stats.upstream_connect_failures, 1);
			endpoint_report(upstream->pool->endpoint, upstream->connect_error);
			user->upstream = NULL;
			user->connected(user, upstream->connect_error);
		}
	}
	timer_cancel(&upstream->worker->ring.timers, &upstream->timer);
	worker_block_put(upstream->worker, &upstream->held_block);
	worker_block_put(upstream->worker, &upstream->held_tail);
	ring_buffer_put(&upstream->worker->ring, &upstream->held_input);
	free(upstream->held_memory);
	count_connection(upstream, -1);
	upstream->worker->upstream_count--;
	free(upstream);
}

static const struct stream_events upstream_events = {
	.data = on_data,
	.end = on_end,
	.sent = on_sent,
	.connected = on_connected,
	.closed = on_closed,
};

/* The upstream may have closed while the news of it still waits in the completion queue. */
static bool is_open(const struct upstream *upstream)
{
	char byte;
	return recv(upstream->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* The most recently used idle connection that will do, or NULL. */
static struct upstream *take_idle(struct upstream_pool *pool, enum upstream_reuse reuse)
{
	struct list *link;
	while (reuse != UPSTREAM_FRESH && (link = list_pop(&pool->idle))) {
		struct upstream *upstream = container_of(link, struct upstream, link);
		if (!upstream->stream.ended && upstream->version == atomic_load(&pool->endpoint->version) &&
		    (reuse == UPSTREAM_REUSE || is_open(upstream)))
			return upstream;
		upstream_close(upstream, false);
	}
	return NULL;
}

enum upstream_acquired upstream_acquire(struct worker *worker, struct endpoint *endpoint, bool shadow,
					enum upstream_reuse reuse, struct upstream_user *user)
{
	struct upstream_pool *pool = pool_get(worker, endpoint, shadow);
	if (!pool)
		return UPSTREAM_NO_MEMORY;
	struct upstream *upstream = take_idle(pool, reuse);
	if (upstream) {
		set_idle(upstream, false);
		timer_cancel(&worker->ring.timers, &upstream->timer);
		upstream->user = user;
		user->upstream = upstream;
		STAT_ADD(worker->stats.upstream_reused, 1);
		return UPSTREAM_READY;
	}
	if (!shadow && atomic_load(&endpoint->connections) >= worker->limits->upstream_connections)
		return UPSTREAM_FULL;
	upstream = calloc(1, sizeof(*upstream));
	if (!upstream)
		return UPSTREAM_NO_MEMORY;
	upstream->worker = worker;
	upstream->pool = pool;
	upstream->start = atomic_fetch_add(&endpoint->turn, 1);
	upstream->version = atomic_load(&endpoint->version);
	list_init(&upstream->link);
	timer_init(&upstream->timer, on_timer);
	int err = connect_next(upstream);
	if (err) {
		free(upstream);
		return err == -EHOSTUNREACH ? UPSTREAM_NO_ADDRESS : UPSTREAM_NO_MEMORY;
	}
	worker->upstream_count++;
	count_connection(upstream, 1);
	upstream->user = user;
	user->upstream = upstream;
	return UPSTREAM_PENDING;
}

void upstream_read(struct upstream *upstream)
{
	if (upstream->pool->long_answers)
		stream_read_large(&upstream->stream, UINT64_MAX);
	else
		stream_read_later(&upstream->stream);
}

void upstream_release(struct upstream_user *user, bool reusable)
{
	struct upstream *upstream = user->upstream;
	if (!upstream)
		return;
	user->upstream = NULL;
	upstream->user = NULL;
	upstream->requests++;
	struct worker *worker = upstream->worker;
	if (!reusable || upstream->connecting || upstream->stream.ended || upstream->stream.sending ||
	    worker->draining) {
		if (!upstream->stream.closing)
			upstream_close(upstream, false);
		return;
	}
	set_idle(upstream, true);
	list_push_front(&upstream->pool->idle, &upstream->link);
	timer_set(&worker->ring.timers, &upstream->timer, worker->ring.now_ns + UPSTREAM_IDLE_MS * NS_PER_MS);
	upstream_read(upstream);
}

void upstream_pools_close(struct worker *worker)
{
	for (unsigned shadow = 0; shadow < 2; shadow++) {
		for (uint32_t i = 0; i < worker->pool_count[shadow]; i++) {
			struct upstream_pool *pool = worker->pools[shadow][i];
			while (pool && !list_empty(&pool->idle))
				upstream_close(container_of(pool->idle.next, struct upstream, link), false);
		}
	}
}

void upstream_pools_free(struct worker *worker)
{
	for (unsigned shadow = 0; shadow < 2; shadow++) {
		for (uint32_t i = 0; i < worker->pool_count[shadow]; i++)
			free(worker->pools[shadow][i]);
		free(worker->pools[shadow]);
	}
}

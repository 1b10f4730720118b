/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: the thread, its listeners, its inbox and its stocks of memory. See worker.h.
 *
 * Every worker listens on every address with SO_REUSEPORT, so the kernel spreads connections and no worker
 * ever hands one to another. Leaving happens in three steps that control asks for: drain (accept no more,
 * close what is idle), cut (close everything), and the loop ends when nothing is left.
 */
#include "gateway/transaction.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define FREE_BLOCKS_MAX 256
#define ACCEPT_RETRY_MS 100
#define ACCEPT_TOLD_MS	10000
#define WORKER_WAIT_NS	NS_PER_SEC /* a turn with nothing to do: gateway_stalled_ns() counts on it */

/* --- stocks ------------------------------------------------------------------------------------------- */

struct block *worker_block_get(struct worker *worker)
{
	struct block *block = worker->free_blocks;
	if (block) {
		worker->free_blocks = block->next;
		worker->free_block_count--;
		return block;
	}
	if (worker->blocks_max && worker->block_count >= worker->blocks_max)
		return NULL;
	block = malloc(sizeof(*block) + worker->block_bytes);
	worker->block_count += block != NULL;
	return block;
}

void worker_block_put(struct worker *worker, struct block **block)
{
	if (!*block)
		return;
	if (worker->free_block_count < FREE_BLOCKS_MAX) {
		(*block)->next = worker->free_blocks;
		worker->free_blocks = *block;
		worker->free_block_count++;
	} else {
		free(*block);
		worker->block_count--;
	}
	*block = NULL;
}

/* xoroshiro128+ (Blackman, Vigna 2018), seeded from the kernel: ids must be unique, not secret. */
static uint64_t random_next(struct worker *worker)
{
	uint64_t a = worker->random[0], b = worker->random[1], sum = a + b;
	b ^= a;
	worker->random[0] = (a << 24 | a >> 40) ^ b ^ (b << 16);
	worker->random[1] = b << 37 | b >> 27;
	return sum;
}

void worker_random_id(struct worker *worker, char out[33])
{
	static const char digits[] = "0123456789abcdef";
	for (unsigned half = 0; half < 2; half++) {
		uint64_t bits = random_next(worker);
		for (unsigned i = 0; i < 16; i++, bits >>= 4)
			out[half * 16 + i] = digits[bits & 15];
	}
	out[32] = 0;
}

struct gateway_route_stats *worker_route_stats(struct worker *worker, uint32_t slot)
{
	struct gateway_route_stats *stats =
		atomic_load_explicit(&worker->route_stats[slot], memory_order_relaxed);
	if (!stats) {
		stats = calloc(1, sizeof(*stats));
		if (stats)
			atomic_store_explicit(&worker->route_stats[slot], stats, memory_order_release);
	}
	return stats;
}

/* --- accept ------------------------------------------------------------------------------------------- */

static void accept_start(struct listener *listener)
{
	listener->armed = true;
	ring_accept_start(&listener->worker->ring, &listener->accept, listener->fd);
}

void worker_accept(struct worker *worker)
{
	for (unsigned i = 0; i < worker->listener_count && !worker->draining; i++) {
		if (!worker->listeners[i].armed)
			accept_start(&worker->listeners[i]);
	}
}

static void on_accept_timer(struct timer *timer)
{
	worker_accept(container_of(timer, struct worker, accept_timer));
}

static void on_accept(struct ring_op *op, int res, uint32_t flags)
{
	struct listener *listener = container_of(op, struct listener, accept);
	struct worker *worker = listener->worker;
	if (res >= 0)
		downstream_accept(listener, res);
	if (flags & IORING_CQE_F_MORE)
		return;
	listener->armed = false;
	if (worker->draining)
		return;
	if (res < 0 && res != -ECANCELED && res != -ECONNABORTED) {
		/* Trying at once would spin, and say so each time. */
		if (worker->ring.now_ns - worker->accept_told_ns > ACCEPT_TOLD_MS * NS_PER_MS ||
		    !worker->accept_told_ns) {
			worker->accept_told_ns = worker->ring.now_ns;
			log_warn("gateway",
				 "accept: %s; new connections wait; raise the limit of open files "
				 "(LimitNOFILE) "
				 "or lower limits.connections",
				 strerror(-res));
		}
		timer_set(&worker->ring.timers, &worker->accept_timer,
			  worker->ring.now_ns + ACCEPT_RETRY_MS * NS_PER_MS);
		return;
	}
	accept_start(listener);
}

/* --- inbox -------------------------------------------------------------------------------------------- */

static void inbox_arm(struct worker *worker)
{
	ring_read(&worker->ring, &worker->inbox_read, worker->inbox_fd, &worker->inbox_count,
		  sizeof(worker->inbox_count));
}

static void on_inbox(struct ring_op *op, int res, uint32_t flags)
{
	struct worker *worker = container_of(op, struct worker, inbox_read);
	pthread_mutex_lock(&worker->inbox_mutex);
	struct worker_message *message = worker->inbox;
	worker->inbox = NULL;
	pthread_mutex_unlock(&worker->inbox_mutex);
	while (message) {
		struct worker_message *next = message->next;
		bool posted = message->cancel != NULL;
		message->run(worker, message);
		if (posted) {
			message = next;
			continue;
		}
		pthread_mutex_lock(&worker->inbox_mutex);
		message->done = true;
		pthread_cond_broadcast(&worker->inbox_done);
		pthread_mutex_unlock(&worker->inbox_mutex);
		message = next;
	}
	inbox_arm(worker);
}

int worker_call(struct worker *worker, struct worker_message *message)
{
	uint64_t one = 1;
	pthread_mutex_lock(&worker->inbox_mutex);
	message->next = worker->inbox;
	worker->inbox = message;
	if (write(worker->inbox_fd, &one, sizeof(one)) < 0)
		log_error("gateway", "cannot wake worker %u: %s", worker->index, strerror(errno));
	while (!message->done && !worker->left)
		pthread_cond_wait(&worker->inbox_done, &worker->inbox_mutex);
	pthread_mutex_unlock(&worker->inbox_mutex);
	return message->result;
}

void worker_post(struct worker *worker, struct worker_message *message)
{
	uint64_t one = 1;
	pthread_mutex_lock(&worker->inbox_mutex);
	bool left = worker->left;
	if (!left) {
		message->next = worker->inbox;
		worker->inbox = message;
		if (write(worker->inbox_fd, &one, sizeof(one)) < 0)
			log_error("gateway", "cannot wake worker %u: %s", worker->index, strerror(errno));
	}
	pthread_mutex_unlock(&worker->inbox_mutex);
	if (left)
		message->cancel(message);
}

/* Nobody will run these any more. Under inbox_mutex; those who wait see `left`. */
static void inbox_cancel(struct worker *worker)
{
	struct worker_message *message = worker->inbox;
	worker->inbox = NULL;
	while (message) {
		struct worker_message *next = message->next;
		if (message->cancel)
			message->cancel(message);
		message = next;
	}
}

/* --- life --------------------------------------------------------------------------------------------- */

int worker_init(struct worker *worker, struct gateway *gateway, unsigned index)
{
	memset(worker, 0, sizeof(*worker));
	worker->gateway = gateway;
	worker->index = index;
	worker->limits = &gateway->limits;
	worker->policy = gateway->policy;
	/* Two heads' worth of what may go into one block: a head, what Phoenix adds, and the body's first
	 * piece with its framing. */
	worker->block_bytes = gateway->limits.head_bytes + 8192 + RING_BUFFER_BYTES;
	list_init(&worker->downstreams);
	list_init(&worker->shadows);
	pthread_mutex_init(&worker->inbox_mutex, NULL);
	pthread_cond_init(&worker->inbox_done, NULL);
	worker->inbox_read.done = on_inbox;
	worker->inbox_fd = eventfd(0, EFD_CLOEXEC);
	worker->route_stats = calloc(PHX_ROUTE_SLOTS, sizeof(*worker->route_stats));
	if (worker->inbox_fd < 0 || !worker->route_stats)
		return -ENOMEM;
	if (getrandom(worker->random, sizeof(worker->random), 0) != sizeof(worker->random))
		return -EIO;
	return 0;
}

void worker_fini(struct worker *worker)
{
	for (unsigned i = 0; i < worker->listener_count; i++)
		close(worker->listeners[i].fd);
	if (worker->inbox_fd >= 0)
		close(worker->inbox_fd);
	for (uint32_t i = 0; worker->route_stats && i < PHX_ROUTE_SLOTS; i++)
		free(worker->route_stats[i]);
	free(worker->route_stats);
}

static void free_stocks(struct worker *worker)
{
	upstream_pools_free(worker);
	while (worker->free_blocks) {
		struct block *block = worker->free_blocks;
		worker->free_blocks = block->next;
		free(block);
	}
	while (worker->free_transactions) {
		struct transaction *t = worker->free_transactions;
		worker->free_transactions = t->next_free;
		free(t);
	}
	snapshot_use_retire(worker->routes);
	worker->routes = NULL;
}

/* An accept that was cancelled may still have brought a connection: it is waited for. */
static bool is_empty(const struct worker *worker)
{
	for (unsigned i = 0; i < worker->listener_count; i++) {
		if (worker->listeners[i].armed)
			return false;
	}
	return worker->downstream_count == 0 && worker->upstream_count == 0 && worker->shadow_count == 0;
}

static uint32_t at_least(uint64_t n, uint32_t least)
{
	return n < least ? least : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* This worker's part of limits.memory_bytes: a half for receive buffers (small and large), a quarter each for
 * heads and for connections. The floors keep a limit that is far too small from stopping everything. */
static void share_memory(struct worker *worker, struct ring_options *options)
{
	uint64_t share = worker->limits->memory_bytes / worker->gateway->worker_count;
	if (!worker->limits->memory_bytes)
		return;
	uint32_t buffers = at_least(share * 3 / 8 / RING_BUFFER_BYTES, 16);
	uint32_t large = at_least(share / 8 / RING_LARGE_BUFFER_BYTES, 1);
	options->buffers_max = buffers < options->buffers_max ? buffers : options->buffers_max;
	options->large_buffers_max = large < options->large_buffers_max ? large : options->large_buffers_max;
	worker->blocks_max = at_least(share / 4 / worker->block_bytes, 8);
	worker->downstreams_max =
		at_least(share / 4 / (sizeof(struct downstream) + sizeof(struct transaction)), 8);
}

void *worker_main(void *argument)
{
	struct worker *worker = argument;
	struct ring_options options = {
		.entries = 4096,
		/* A connection holds at most one for each direction, and rarely both. */
		.buffers_max = worker->limits->connections + 1024,
		.large_buffers_max = 256,
	};
	char name[16];
	snprintf(name, sizeof(name), "phx-worker-%u", worker->index % 1000);
	pthread_setname_np(pthread_self(), name);
	share_memory(worker, &options);
	int err = ring_init(&worker->ring, &options);
	worker->start_result = err;
	sem_post(&worker->gateway->started);
	if (err)
		return NULL;
	inbox_arm(worker);
	timer_init(&worker->accept_timer, on_accept_timer);
	for (unsigned i = 0; i < worker->listener_count; i++) {
		worker->listeners[i].worker = worker;
		worker->listeners[i].accept.done = on_accept;
	}
	while (!(worker->draining && is_empty(worker))) {
		err = ring_turn(&worker->ring, WORKER_WAIT_NS);
		__atomic_store_n(&worker->turned_ns, worker->ring.now_ns, __ATOMIC_RELAXED);
		if (err) {
			log_error("gateway", "worker %u: io_uring: %s", worker->index, strerror(-err));
			usleep(10000);
		}
		if (worker->cutting) {
			downstream_drain(worker, true);
			shadow_cut_all(worker);
		}
		if (worker->draining)
			upstream_pools_close(worker);
		__atomic_store_n(&worker->stats.buffers_starved, worker->ring.stats.starved,
				 __ATOMIC_RELAXED);
	}
	pthread_mutex_lock(&worker->inbox_mutex);
	worker->left = true;
	inbox_cancel(worker);
	pthread_cond_broadcast(&worker->inbox_done);
	pthread_mutex_unlock(&worker->inbox_mutex);
	ring_fini(&worker->ring);
	free_stocks(worker);
	return NULL;
}

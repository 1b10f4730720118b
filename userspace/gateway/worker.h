/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: one thread, one ring, and everything that its connections need. Seen by gateway/ only.
 *
 * Nothing here is shared between workers but what says so: struct policy (read), endpoints (atomics), the
 * snapshot (immutable) and the counters (written here, read by control). Messages to a worker go through its
 * inbox.
 *
 *   downstream.c   a client's connection: heads in, answers of our own out
 *   transaction.h  one request's life between a client and an upstream
 *   upstream.c     connections to upstreams and their pools
 *   shadow.c       the same request to the other side, for comparison
 */
#ifndef PHOENIX_GATEWAY_WORKER_H
#define PHOENIX_GATEWAY_WORKER_H

#include "gateway/endpoint.h"
#include "gateway/gateway.h"
#include "gateway/snapshot.h"
#include "http/body.h"
#include "http/parse.h"
#include "io/stream.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define GATEWAY_ADDRESSES_MAX  16
#define GATEWAY_LISTENERS_MAX  64 /* of one worker */
#define GATEWAY_WORKERS_MAX    256
#define SHADOWS_PER_WORKER     256
#define UPSTREAM_IDLE_MS       30000
#define GATEWAY_ADDRESS_COUNTS 65536
#define LINGER_MS	       2000
#define LINGER_BYTES_MAX       (1u << 20)

/* A memory block for a head being gathered or written. Its size is worker->block_bytes. */
struct block {
	struct block *next;
	char bytes[];
};

struct listener {
	struct ring_op accept;
	struct worker *worker;
	int fd;
	unsigned address; /* index into gateway->listen_text */
	bool armed;
};

/* What a worker is asked to do, carried out between two turns. The caller waits for `done`, or, with
 * worker_post(), does not: then `run` or `cancel` frees the message. */
struct worker_message {
	struct worker_message *next;
	void (*run)(struct worker *worker, struct worker_message *message);
	void (*cancel)(struct worker_message *message); /* posted: the worker has left */
	struct snapshot *snapshot;
	bool handed_over;
	int result;
	bool done;
};

struct access_ring;
struct access_log;

struct worker {
	struct gateway *gateway;
	unsigned index;
	pthread_t thread;
	struct ring ring;
	struct listener listeners[GATEWAY_LISTENERS_MAX];
	struct timer accept_timer; /* accepting failed: again a little later */
	uint64_t accept_told_ns;   /* when that was last said */
	unsigned listener_count;
	const struct limits_config *limits;
	struct policy *policy;
	struct snapshot_use *routes;	 /* NULL before the first publication */
	struct upstream_pool **pools[2]; /* [0] live, [1] shadow; by endpoint index */
	uint32_t pool_count[2];
	struct list downstreams;
	uint32_t downstream_count;
	uint32_t shadow_count;
	uint32_t upstream_count; /* every struct upstream alive, closing ones included */
	struct list shadows;
	struct block *free_blocks;
	uint32_t free_block_count;
	uint32_t block_count, blocks_max; /* in use and in stock; 0 = any number */
	uint32_t downstreams_max;	  /* by limits.memory_bytes; 0 = any number */
	size_t block_bytes;
	struct transaction *free_transactions;
	uint32_t free_transaction_count;
	uint64_t random[2];
	struct health_checks *health_checks; /* worker 0's: health.c */
	struct access_ring *access;	     /* NULL: no access log */
	bool draining;
	bool handed_over; /* while draining: another process accepts on our sockets */
	bool cutting;
	bool left;	    /* the loop has ended; under inbox_mutex */
	uint64_t turned_ns; /* when the loop last came round; atomic, 0 before the first time */
	int start_result;

	int inbox_fd;
	uint64_t inbox_count;
	struct ring_op inbox_read;
	pthread_mutex_t inbox_mutex;
	pthread_cond_t inbox_done;
	struct worker_message *inbox;

	struct gateway_stats stats;			  /* written here with relaxed stores */
	struct gateway_route_stats *_Atomic *route_stats; /* by slot; made when a slot first serves */
};

struct gateway {
	struct policy *policy;
	struct exchange_sink *sink;
	struct exchange_budget budget;
	struct limits_config limits;
	struct access_log_config access_config;
	struct access_log *access_log; /* NULL: none */
	struct endpoints *endpoints;
	struct health *health;
	struct worker *workers;
	unsigned worker_count;
	atomic_uint connections; /* client connections, all workers */
	atomic_uint listener_connections[GATEWAY_ADDRESSES_MAX];
	atomic_uint captured; /* exchanges of the NIC path, dealt out to the workers in turn */
	/* Client connections by address: a counter each for the addresses that share a hash. NULL without
	 * limits.connections_per_address. */
	atomic_uint *address_counts;
	char *listen_text[GATEWAY_ADDRESSES_MAX];
	size_t listen_count;
	bool handed_over;      /* another process has the sockets */
	sem_t started;	       /* posted by each worker when its ring is up, or is not */
	pthread_mutex_t mutex; /* snapshot */
	struct snapshot *snapshot;
};

/* One counter, one writer, many readers. */
#define STAT_ADD(counter, n)                                                                                 \
	__atomic_store_n(&(counter), __atomic_load_n(&(counter), __ATOMIC_RELAXED) + (n), __ATOMIC_RELAXED)

/* Opens or inherits the listening sockets of all workers (listen.c): all or none. 0 or -errno with `why`. */
int gateway_listen(struct gateway *gateway, const struct gateway_options *options, struct buf *why);

int worker_init(struct worker *worker, struct gateway *gateway, unsigned index);
void worker_fini(struct worker *worker);
void *worker_main(void *argument);
/* Accepts on every listener from now on, unless the worker drains. */
void worker_accept(struct worker *worker);
/* Runs message->run on the worker's thread and waits for it; its result, or 0 when the worker has left. */
int worker_call(struct worker *worker, struct worker_message *message);
/* Leaves a message that has a `cancel`, and does not wait. */
void worker_post(struct worker *worker, struct worker_message *message);

struct block *worker_block_get(struct worker *worker);		    /* NULL when out of memory */
void worker_block_put(struct worker *worker, struct block **block); /* NULL-safe, resets */
/* 128 bits as 32 hexadecimal digits and a NUL. */
void worker_random_id(struct worker *worker, char out[33]);
/* NULL when out of memory. */
struct gateway_route_stats *worker_route_stats(struct worker *worker, uint32_t slot);
void stats_latency(struct gateway_side_stats *side, uint64_t latency_ns);

/* --- upstream.c ------------------------------------------------------------------------------------- */

struct upstream;

/* Who uses an upstream connection. No callback comes from inside upstream_acquire/send/release. */
struct upstream_user {
	void (*connected)(struct upstream_user *user, int err);
	void (*data)(struct upstream_user *user, struct ring_buffer buffer);
	void (*end)(struct upstream_user *user, int err);
	void (*sent)(struct upstream_user *user, int err);
	struct upstream *upstream;
};

struct upstream_pool {
	struct endpoint *endpoint;
	struct list idle; /* most recently used first */
	bool shadow;
	bool long_answers; /* the last one did not fit a small buffer: the next is read into a large one */
};

struct upstream {
	struct stream stream;
	struct worker *worker;
	struct upstream_pool *pool;
	struct upstream_user *user; /* NULL: idle or closing */
	struct list link;
	struct timer timer;	 /* connecting: give up; idle: close */
	uint32_t start, attempt; /* which of the addresses */
	uint32_t requests;
	uint32_t version; /* of the endpoint's addresses when it was connected */
	bool idle;
	bool connecting;
	bool retry_address; /* the stream is being closed to try the next address */
	int connect_error;
	/* What is being sent from, kept here when its owner has gone before the kernel was done with it. */
	struct block *held_block, *held_tail;
	struct ring_buffer held_input;
	void *held_memory;		 /* from malloc */
	char chunk[24];			 /* "size CR LF" of the piece being sent */
	struct sockaddr_storage address; /* being connected to: the kernel reads it at submission */
};

enum upstream_acquired {
	UPSTREAM_READY,	  /* user->upstream is connected: send at once */
	UPSTREAM_PENDING, /* `connected` will come */
	UPSTREAM_FULL,	  /* limits.upstream_connections are in use */
	UPSTREAM_NO_ADDRESS,
	UPSTREAM_NO_MEMORY,
};
enum upstream_reuse {
	UPSTREAM_REUSE,		/* an idle connection will do; the request can be sent again if it is dead */
	UPSTREAM_REUSE_CHECKED, /* only one that the system says is open at this moment */
	UPSTREAM_FRESH,		/* a new connection */
};
enum upstream_acquired upstream_acquire(struct worker *worker, struct endpoint *endpoint, bool shadow,
					enum upstream_reuse reuse, struct upstream_user *user);
/* Back to the pool, or closed. The user gets no more callbacks. NULL-safe for user->upstream. */
void upstream_release(struct upstream_user *user, bool reusable);
static inline bool upstream_reused(const struct upstream *upstream)
{
	return upstream->requests > 0;
}
/* Asks for an answer's first bytes; harmless when that was done. */
void upstream_read(struct upstream *upstream);
/* Closes the idle ones. */
void upstream_pools_close(struct worker *worker);
void upstream_pools_free(struct worker *worker);

/* --- downstream.c ----------------------------------------------------------------------------------- */

enum downstream_state {
	DOWNSTREAM_IDLE,   /* between requests */
	DOWNSTREAM_HEAD,   /* part of a head is here */
	DOWNSTREAM_BUSY,   /* a transaction runs */
	DOWNSTREAM_ANSWER, /* an answer of our own is being sent */
	DOWNSTREAM_LINGER, /* said the last word; reading away what still comes */
	DOWNSTREAM_CLOSING,
};

struct transaction;

struct downstream {
	struct stream stream;
	struct worker *worker;
	struct list link;
	struct timer timer;
	struct transaction *transaction;
	struct ring_buffer input; /* bytes not yet consumed: input.data[input_off..len) */
	uint32_t input_off;
	uint32_t requests;
	uint32_t linger_bytes;
	uint16_t pipelined; /* requests taken from input one behind the other */
	uint8_t listener;   /* index into gateway->listener_connections */
	uint8_t state;	    /* enum downstream_state */
	bool peer_ended;
	bool close_after;
	uint8_t ip_len;
	uint8_t address_len;
	bool counted;	     /* in gateway->address_counts */
	uint8_t address[16]; /* of the client, 4 or 16 bytes, for keyed splits */
	char ip[46];
};

void downstream_accept(struct listener *listener, int fd);
/* The transaction is over; keep: the connection may serve another request. */
void downstream_done(struct downstream *down, bool keep);
/* An answer of our own. Ends the transaction's part; closes afterwards unless the request was read whole. */
void downstream_answer(struct downstream *down, int status, enum gateway_error error, const char *detail,
		       bool close);
/* reset: the peer must not take what it has for the whole. */
void downstream_close(struct downstream *down, bool reset);
void downstream_drain(struct worker *worker, bool cut);

/* --- sample.c, shadow.c ----------------------------------------------------------------------------- */

/* Decides whether this request is compared, and begins to record it. May leave t->sample NULL. */
void sample_begin(struct transaction *t, struct slice target);
void sample_request_body(struct transaction *t, const char *data, size_t len);
void sample_response_head(struct transaction *t, const char *bytes);
void sample_response_body(struct transaction *t, const char *data, size_t len);
/* Modern should have answered this request and did not: evidence, whether it was sampled or not. */
void sample_modern_failed(struct transaction *t);
/* The exchange is over: on to the shadow, or to the sink with its outcome. */
void sample_finish(struct transaction *t);

/* Asks the other side; takes ownership. `use` keeps the route alive. */
void shadow_start(struct worker *worker, struct snapshot_use *use, const struct snapshot_route *route,
		  struct exchange *exchange);
/* An exchange of the NIC path, see gateway_captured(). */
void shadow_captured(struct worker *worker, struct exchange *exchange);
void shadow_cut_all(struct worker *worker);

#endif

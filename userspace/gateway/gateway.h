/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway: the daemon path as its owner sees it: workers that accept, route, split, forward and sample.
 *
 * Control builds an immutable *snapshot* of the routes and publishes it; every worker takes it over between
 * two requests and a request in flight keeps the one it began with. Weights are not in it: they are in
 * struct policy and act at once. Numbers come back as counters that each worker alone writes and anybody
 * may read.
 */
#ifndef PHOENIX_GATEWAY_H
#define PHOENIX_GATEWAY_H

#include "base/policy.h"
#include "config.h"
#include "http/exchange.h"

#include <stdint.h>

/* Why a request got an answer from Phoenix itself, or none: X(NAME, word, http status, help). */
#define GATEWAY_ERRORS(X)                                                                                    \
	X(NONE, "none", 0, "the upstream's own answer was forwarded")                                        \
	X(BAD_REQUEST, "bad_request", 400, "the request is not valid HTTP")                                  \
	X(HEADER_TIMEOUT, "header_timeout", 408, "the request head did not arrive in time")                  \
	X(BODY_TIMEOUT, "body_timeout", 408, "the request body stopped arriving")                            \
	X(BODY_SLOW, "body_slow", 408, "the request body arrives more slowly than limits.min_rate_bytes")    \
	X(BODY_TOO_LARGE, "body_too_large", 413, "the request body is over limits.body_bytes")               \
	X(NO_ROUTE, "no_route", 404, "no route matches method, host and path")                               \
	X(UPSTREAM_CONNECT, "upstream_connect", 502, "the upstream could not be connected to")               \
	X(UPSTREAM_CLOSED, "upstream_closed", 502, "the upstream closed before it answered")                 \
	X(UPSTREAM_INVALID, "upstream_invalid", 502, "the upstream's answer is not valid HTTP")              \
	X(UPSTREAM_RESOLVE, "upstream_resolve", 502, "the upstream's name does not resolve")                 \
	X(UPSTREAM_TIMEOUT, "upstream_timeout", 504, "the upstream did not answer in time")                  \
	X(UPSTREAM_CONNECT_TIMEOUT, "upstream_connect_timeout", 504,                                         \
	  "the upstream did not accept a connection within limits.connect_timeout_ms")                       \
	X(UPSTREAM_FIRST_BYTE, "upstream_first_byte", 504,                                                   \
	  "the upstream sent nothing within limits.first_byte_timeout_ms")                                   \
	X(UPSTREAM_CUT, "upstream_cut", 0, "the upstream's answer broke off; so did what the client got")    \
	X(POOL_EMPTY, "pool_empty", 503, "limits.upstream_connections are all in use")                       \
	X(MEMORY, "memory", 503, "no memory for another request")                                            \
	X(OVERLOAD, "overload", 503, "limits.connections are all in use")                                    \
	X(DRAINING, "draining", 503, "this gateway is shutting down")                                        \
	X(CLIENT_GONE, "client_gone", 0, "the client closed before the answer was complete")                 \
	X(CLIENT_STALLED, "client_stalled", 0, "the client stopped reading its answer")                      \
	X(CLIENT_SLOW, "client_slow", 0,                                                                     \
	  "the client read its answer more slowly than limits.min_rate_bytes")                               \
	X(ADDRESS_LIMIT, "address_limit", 503, "limits.connections_per_address are in use by this address")  \
	X(LISTENER_LIMIT, "listener_limit", 503,                                                             \
	  "limits.connections_per_listener are in use at this address")                                      \
	X(MEMORY_LIMIT, "memory_limit", 503, "limits.memory_bytes has no room for another connection")       \
	X(PIPELINE_LIMIT, "pipeline_limit", 429,                                                             \
	  "more than limits.pipeline requests came in one go, before the answers to the first")              \
	X(LINE_TOO_LONG, "line_too_long", 414, "the request line is longer than limits.head_bytes")          \
	X(HEAD_TOO_LARGE, "head_too_large", 431, "the request head is longer than limits.head_bytes")        \
	X(TOO_MANY_FIELDS, "too_many_fields", 431, "more header fields than limits.fields allows")

enum gateway_error {
#define X(name, word, status, help) GATEWAY_ERROR_##name,
	GATEWAY_ERRORS(X)
#undef X
		GATEWAY_ERROR_COUNT,
};
const char *gateway_error_word(enum gateway_error error);
const char *gateway_error_help(enum gateway_error error);
/* Of the answer that Phoenix gives then; 0 = none. */
int gateway_error_status(enum gateway_error error);

/* Latency histogram: log-linear, 4 buckets an octave from 64 us; bucket i ends at
 * gateway_latency_bound_ns(i); the last is open. */
#define GATEWAY_LATENCY_BUCKETS 80
uint64_t gateway_latency_bound_ns(unsigned bucket);

/* One side of one route. All counters only grow. */
struct gateway_side_stats {
	uint64_t requests;  /* asked of this side (live traffic, synthetic included); a failover of both */
	uint64_t synthetic; /* of these, marked X-Phoenix-Synthetic */
	/* Whole answers to marked requests, by first digit; [0] = none, or one that was cut. */
	uint64_t synthetic_status[6];
	uint64_t status[6]; /* by first digit; [0] = no answer was forwarded */
	uint64_t latency_ns_sum;
	uint64_t latency[GATEWAY_LATENCY_BUCKETS];
	uint64_t request_bytes, response_bytes; /* bodies */
	uint64_t retries;
	uint64_t ejections; /* times this side was taken out by its live requests */
	uint64_t checks[2]; /* active checks: [0] failed, [1] good */
};

struct gateway_route_stats {
	struct gateway_side_stats side[2];	  /* enum phx_side */
	uint64_t errors[GATEWAY_ERROR_COUNT];	  /* answered by Phoenix itself */
	uint64_t sampled;			  /* exchanges begun for comparison */
	uint64_t failovers;			  /* requests for modern that legacy served instead */
	uint64_t outcome[EXCHANGE_OUTCOME_COUNT]; /* how the gateway's part of them ended */
	uint64_t step_requests[2];		  /* by side, since phx_policy.step changed to `step` */
	uint32_t step;
};

struct gateway_stats {
	uint64_t connections_accepted, connections_active, connections_refused;
	uint64_t requests;
	uint64_t synthetic_refused; /* marked requests that no route has counted: 404, 413, no memory */
	uint64_t errors[GATEWAY_ERROR_COUNT]; /* of requests with and without a route */
	uint64_t upstream_connects, upstream_connect_failures, upstream_reused;
	uint64_t upstream_active, upstream_idle;
	uint64_t shadow_active;
	uint64_t buffers_starved;
	uint32_t workers;
};

struct gateway;
struct access_log_stats;

/* A route as the snapshot holds it. `config` is borrowed and must live as long as the snapshot. */
struct gateway_route {
	const struct route_config *config;
	uint32_t slot;
	uint32_t generation;
};

struct gateway_options {
	const struct config *config; /* listen, workers, limits; borrowed during the call */
	struct policy *policy;	     /* borrowed, outlives the gateway */
	struct exchange_sink *sink;  /* borrowed, outlives the gateway */
	/* The next listening socket of another process that is to be used here, -1 = no more; it is the
	 * gateway's then. NULL: there is none. */
	int (*inherit)(void *context);
	void *inherit_context;
};

/*
 * Opens the listeners (all of them or none) and starts the workers, which accept connections when a snapshot
 * is published. `why` gets one line on failure. 0 or -errno.
 */
int gateway_start(const struct gateway_options *options, struct gateway **out, struct buf *why);
/* Stops accepting, lets requests in flight end for at most drain_ms, then cuts, joins and frees. handed_over:
 * another process accepts on the same sockets; idle connections may have one more answer each. */
void gateway_stop(struct gateway *gateway, uint32_t drain_ms, bool handed_over);
/* The index-th listening socket of all workers, borrowed; -1 behind the last. */
int gateway_listener(const struct gateway *gateway, size_t index);

/*
 * Publishes a new set of routes. `release(owner)` is called once, by any thread, when no worker and no
 * request uses these routes any more (free the configs there). 0, or -EINVAL/-ENOMEM with `why` filled and
 * nothing changed (release is then not called). Returns when every worker has taken it over.
 */
int gateway_publish(struct gateway *gateway, const struct gateway_route *routes, size_t count,
		    void (*release)(void *owner), void *owner, struct buf *why);

/*
 * An exchange that the NIC path served and captured. With the outcome COMPARABLE it goes to the shadow as one
 * of the gateway's own would, with any other to the sink as it is. Takes the exchange; any thread, until
 * gateway_stop().
 */
void gateway_captured(struct gateway *gateway, struct exchange *exchange);
/* What captured exchanges are charged to. */
struct exchange_budget *gateway_budget(struct gateway *gateway);

/* The access log's file is opened anew (a log rotation has moved it away); and what became of its lines. */
void gateway_reopen_log(struct gateway *gateway);
void gateway_access_stats(struct gateway *gateway, struct access_log_stats *out);

/* Sums over workers. `out` is filled with zeros for a slot that never served. */
void gateway_route_stats(struct gateway *gateway, uint32_t slot, struct gateway_route_stats *out);
void gateway_stats(struct gateway *gateway, struct gateway_stats *out);
/*
 * How long ago the worker that is furthest behind has turned, and which one that is. A worker with nothing to
 * do turns once a second; the callbacks between two turns never wait. 0 before all have begun.
 */
uint64_t gateway_stalled_ns(const struct gateway *gateway, uint64_t now_ns, unsigned *worker);
/* Which route a request would take and to which side a next one would go: for `trace`. NULL = 404. */
const char *gateway_trace(struct gateway *gateway, struct slice method, struct slice host, struct slice path);
/* The addresses actually bound ("127.0.0.1:8080"), for port 0. */
const char *gateway_listen_text(struct gateway *gateway, size_t index);
/* How each upstream is: calls `visit` for each host:port in use. */
struct gateway_upstream_info {
	const char *host;
	uint16_t port;
	bool down;
	const char *last_error; /* "" when none */
	uint32_t addresses;
	uint32_t active, idle;
};
void gateway_upstreams(struct gateway *gateway,
		       void (*visit)(void *context, const struct gateway_upstream_info *), void *context);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint: a host:port that requests are sent to: its addresses, how it is, and how many connections it has.
 *
 * Endpoints are shared by all workers and live as long as the gateway. A resolver thread looks names up
 * (getaddrinfo blocks) when they appear, every ENDPOINT_RESOLVE_MS, and soon after a connection failed; a
 * failed lookup keeps the last good addresses. Addresses are read under a mutex, but only when a new
 * connection is made.
 */
#ifndef PHOENIX_GATEWAY_ENDPOINT_H
#define PHOENIX_GATEWAY_ENDPOINT_H

#include "base/buf.h"
#include "gateway/gateway.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define ENDPOINT_ADDRESSES_MAX 8
#define ENDPOINT_RESOLVE_MS    10000
#define ENDPOINTS_MAX	       32768

struct endpoint_address {
	struct sockaddr_storage address;
	socklen_t len;
};

struct endpoint {
	uint32_t index;
	char *host;
	uint16_t port;
	bool literal;		 /* an IP address: never looked up again */
	atomic_uint connections; /* live ones, all workers, shadows not counted */
	atomic_uint idle;	 /* of these, in pools */
	atomic_bool down;	 /* the last connection attempt failed on every address */
	atomic_bool resolve_soon;
	atomic_uint turn; /* next address to begin with */
	atomic_uint
		version; /* of the set of addresses: idle connections of an older one are not used again */
	pthread_mutex_t mutex; /* the fields below */
	struct endpoint_address addresses[ENDPOINT_ADDRESSES_MAX];
	uint32_t address_count;
	bool looked_up; /* at least once, with whatever result */
	char last_error[128];
};

/* "host:port" with its NUL; names have at most 253 bytes. */
#define ENDPOINT_AUTHORITY_MAX 300

struct endpoints;

/* Starts the resolver thread. 0 or -errno. */
int endpoints_create(struct endpoints **out);
void endpoints_destroy(struct endpoints *endpoints);
/* The endpoint of that name, made if it is new; NULL when out of memory or over ENDPOINTS_MAX. */
struct endpoint *endpoints_get(struct endpoints *endpoints, const char *host, uint16_t port);
/* Waits until every endpoint was looked up once, at most timeout_ms. */
void endpoints_wait(struct endpoints *endpoints, uint32_t timeout_ms);
void endpoints_visit(struct endpoints *endpoints,
		     void (*visit)(void *context, const struct gateway_upstream_info *), void *context);

/* Copies the n-th address counted from a turning start; false when there are not so many. */
bool endpoint_address(struct endpoint *endpoint, uint32_t start, uint32_t n, struct endpoint_address *out);
/* host:port as Host has it; returns its length. */
size_t endpoint_authority(const struct endpoint *endpoint, char out[ENDPOINT_AUTHORITY_MAX]);
/* The result of a connection attempt over all addresses. */
void endpoint_report(struct endpoint *endpoint, int err);

#endif

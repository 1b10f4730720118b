/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint: see endpoint.h. The list only grows, so a pointer handed out stays good until the end. */
#include "gateway/endpoint.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

struct endpoints {
	pthread_mutex_t mutex; /* list, count, stop */
	pthread_cond_t wake;   /* the resolver: something to do */
	pthread_cond_t done;   /* waiters: a lookup ended */
	pthread_t thread;
	struct endpoint **list;
	size_t count, cap;
	bool stop;
};

static bool set_literal(struct endpoint *endpoint)
{
	struct endpoint_address *address = &endpoint->addresses[0];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->address;
	if (inet_pton(AF_INET, endpoint->host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(endpoint->port);
		address->len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, endpoint->host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(endpoint->port);
		address->len = sizeof(*v6);
	} else {
		return false;
	}
	endpoint->address_count = 1;
	endpoint->looked_up = true;
	endpoint->literal = true;
	return true;
}

static bool has_address(const struct endpoint *endpoint, const struct addrinfo *a)
{
	for (uint32_t i = 0; i < endpoint->address_count; i++) {
		if (endpoint->addresses[i].len == a->ai_addrlen &&
		    memcmp(&endpoint->addresses[i].address, a->ai_addr, a->ai_addrlen) == 0)
			return true;
	}
	return false;
}

/* Takes the addresses over when they are others than before, in whatever order. Under endpoint->mutex. */
static void set_addresses(struct endpoint *endpoint, const struct addrinfo *found)
{
	uint32_t n = 0;
	bool same = true;
	for (const struct addrinfo *a = found; a && n < ENDPOINT_ADDRESSES_MAX; a = a->ai_next) {
		if (a->ai_addrlen <= sizeof(endpoint->addresses[0].address)) {
			same &= has_address(endpoint, a);
			n++;
		}
	}
	if (same && n == endpoint->address_count)
		return;
	n = 0;
	for (const struct addrinfo *a = found; a && n < ENDPOINT_ADDRESSES_MAX; a = a->ai_next) {
		if (a->ai_addrlen > sizeof(endpoint->addresses[n].address))
			continue;
		memcpy(&endpoint->addresses[n].address, a->ai_addr, a->ai_addrlen);
		endpoint->addresses[n++].len = a->ai_addrlen;
	}
	endpoint->address_count = n;
	atomic_fetch_add(&endpoint->version, 1);
}

/* Blocks for as long as the system's resolver does. */
static void look_up(struct endpoint *endpoint)
{
	char port[8];
	snprintf(port, sizeof(port), "%u", endpoint->port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
	int err = getaddrinfo(endpoint->host, port, &hints, &found);
	pthread_mutex_lock(&endpoint->mutex);
	bool first = !endpoint->looked_up;
	endpoint->looked_up = true;
	if (err) {
		snprintf(endpoint->last_error, sizeof(endpoint->last_error), "name lookup failed: %s",
			 gai_strerror(err));
	} else {
		set_addresses(endpoint, found);
		endpoint->last_error[0] = 0;
	}
	pthread_mutex_unlock(&endpoint->mutex);
	if (err && first)
		log_warn("resolver", "%s does not resolve: %s; trying again every %d s", endpoint->host,
			 gai_strerror(err), ENDPOINT_RESOLVE_MS / 1000);
	freeaddrinfo(found);
}

static void *resolver_main(void *argument)
{
	struct endpoints *endpoints = argument;
	uint64_t next_round_ns = clock_now_ns() + ENDPOINT_RESOLVE_MS * NS_PER_MS;
	pthread_mutex_lock(&endpoints->mutex);
	while (!endpoints->stop) {
		bool round = clock_now_ns() >= next_round_ns;
		if (round)
			next_round_ns = clock_now_ns() + ENDPOINT_RESOLVE_MS * NS_PER_MS;
		for (size_t i = 0; i < endpoints->count && !endpoints->stop; i++) {
			struct endpoint *endpoint = endpoints->list[i];
			if (endpoint->literal)
				continue;
			bool soon = atomic_exchange(&endpoint->resolve_soon, false);
			if (!round && !soon)
				continue;
			pthread_mutex_unlock(&endpoints->mutex);
			look_up(endpoint);
			pthread_mutex_lock(&endpoints->mutex);
			pthread_cond_broadcast(&endpoints->done);
		}
		/* Failed connections ask for a lookup without waking anybody: a second is soon enough. */
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		if (!endpoints->stop)
			pthread_cond_timedwait(&endpoints->wake, &endpoints->mutex, &until);
	}
	pthread_mutex_unlock(&endpoints->mutex);
	return NULL;
}

int endpoints_create(struct endpoints **out)
{
	struct endpoints *endpoints = calloc(1, sizeof(*endpoints));
	if (!endpoints)
		return -ENOMEM;
	pthread_mutex_init(&endpoints->mutex, NULL);
	pthread_cond_init(&endpoints->wake, NULL);
	pthread_cond_init(&endpoints->done, NULL);
	int err = pthread_create(&endpoints->thread, NULL, resolver_main, endpoints);
	if (err) {
		free(endpoints);
		return -err;
	}
	*out = endpoints;
	return 0;
}

void endpoints_destroy(struct endpoints *endpoints)
{
	if (!endpoints)
		return;
	pthread_mutex_lock(&endpoints->mutex);
	endpoints->stop = true;
	pthread_cond_signal(&endpoints->wake);
	pthread_mutex_unlock(&endpoints->mutex);
	pthread_join(endpoints->thread, NULL);
	for (size_t i = 0; i < endpoints->count; i++) {
		free(endpoints->list[i]->host);
		free(endpoints->list[i]);
	}
	free(endpoints->list);
	free(endpoints);
}

static struct endpoint *endpoint_create(const char *host, uint16_t port, uint32_t index)
{
	struct endpoint *endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return NULL;
	endpoint->host = strdup(host);
	if (!endpoint->host) {
		free(endpoint);
		return NULL;
	}
	endpoint->port = port;
	endpoint->index = index;
	pthread_mutex_init(&endpoint->mutex, NULL);
	if (!set_literal(endpoint))
		atomic_store(&endpoint->resolve_soon, true);
	return endpoint;
}

struct endpoint *endpoints_get(struct endpoints *endpoints, const char *host, uint16_t port)
{
	struct endpoint *endpoint = NULL;
	pthread_mutex_lock(&endpoints->mutex);
	for (size_t i = 0; i < endpoints->count; i++) {
		if (endpoints->list[i]->port == port && strcmp(endpoints->list[i]->host, host) == 0) {
			endpoint = endpoints->list[i];
			goto out;
		}
	}
	if (endpoints->count == ENDPOINTS_MAX)
		goto out;
	if (endpoints->count == endpoints->cap) {
		size_t cap = endpoints->cap ? endpoints->cap * 2 : 64;
		struct endpoint **list = realloc(endpoints->list, cap * sizeof(*list));
		if (!list)
			goto out;
		endpoints->list = list;
		endpoints->cap = cap;
	}
	endpoint = endpoint_create(host, port, (uint32_t)endpoints->count);
	if (endpoint) {
		endpoints->list[endpoints->count++] = endpoint;
		pthread_cond_signal(&endpoints->wake);
	}
out:
	pthread_mutex_unlock(&endpoints->mutex);
	return endpoint;
}

/* Under endpoints->mutex. */
static bool all_looked_up(struct endpoints *endpoints)
{
	for (size_t i = 0; i < endpoints->count; i++) {
		struct endpoint *endpoint = endpoints->list[i];
		pthread_mutex_lock(&endpoint->mutex);
		bool looked_up = endpoint->looked_up;
		pthread_mutex_unlock(&endpoint->mutex);
		if (!looked_up)
			return false;
	}
	return true;
}

void endpoints_wait(struct endpoints *endpoints, uint32_t timeout_ms)
{
	uint64_t until_ns = clock_wall_ns() + timeout_ms * NS_PER_MS;
	struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_SEC),
				 .tv_nsec = (long)(until_ns % NS_PER_SEC)};
	pthread_mutex_lock(&endpoints->mutex);
	while (!all_looked_up(endpoints)) {
		if (pthread_cond_timedwait(&endpoints->done, &endpoints->mutex, &until) == ETIMEDOUT)
			break;
	}
	pthread_mutex_unlock(&endpoints->mutex);
}

void endpoints_visit(struct endpoints *endpoints,
		     void (*visit)(void *context, const struct gateway_upstream_info *), void *context)
{
	pthread_mutex_lock(&endpoints->mutex);
	for (size_t i = 0; i < endpoints->count; i++) {
		struct endpoint *endpoint = endpoints->list[i];
		char last_error[sizeof(endpoint->last_error)];
		pthread_mutex_lock(&endpoint->mutex);
		memcpy(last_error, endpoint->last_error, sizeof(last_error));
		uint32_t addresses = endpoint->address_count;
		pthread_mutex_unlock(&endpoint->mutex);
		uint32_t idle = atomic_load(&endpoint->idle), all = atomic_load(&endpoint->connections);
		struct gateway_upstream_info info = {
			.host = endpoint->host,
			.port = endpoint->port,
			.down = atomic_load(&endpoint->down),
			.last_error = last_error,
			.addresses = addresses,
			.active = all > idle ? all - idle : 0,
			.idle = idle,
		};
		visit(context, &info);
	}
	pthread_mutex_unlock(&endpoints->mutex);
}

bool endpoint_address(struct endpoint *endpoint, uint32_t start, uint32_t n, struct endpoint_address *out)
{
	pthread_mutex_lock(&endpoint->mutex);
	bool found = n < endpoint->address_count;
	if (found)
		*out = endpoint->addresses[(start + n) % endpoint->address_count];
	pthread_mutex_unlock(&endpoint->mutex);
	return found;
}

size_t endpoint_authority(const struct endpoint *endpoint, char out[ENDPOINT_AUTHORITY_MAX])
{
	int n = snprintf(out, ENDPOINT_AUTHORITY_MAX, strchr(endpoint->host, ':') ? "[%s]:%u" : "%s:%u",
			 endpoint->host, endpoint->port);
	return n < ENDPOINT_AUTHORITY_MAX ? (size_t)n : ENDPOINT_AUTHORITY_MAX - 1;
}

void endpoint_report(struct endpoint *endpoint, int err)
{
	bool was_down = atomic_exchange(&endpoint->down, err != 0);
	if (!err) {
		if (was_down)
			log_info("gateway", "upstream %s:%u answers again", endpoint->host, endpoint->port);
		return;
	}
	pthread_mutex_lock(&endpoint->mutex);
	snprintf(endpoint->last_error, sizeof(endpoint->last_error), "connect: %s", strerror(-err));
	pthread_mutex_unlock(&endpoint->mutex);
	atomic_store(&endpoint->resolve_soon, true);
	if (!was_down)
		log_warn("gateway", "upstream %s:%u does not accept connections: %s", endpoint->host,
			 endpoint->port, strerror(-err));
}

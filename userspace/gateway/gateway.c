/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway: the daemon path as a whole: workers started and stopped, routes published. Listening: listen.c.
 */
#include "gateway/gateway.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/access_log.h"
#include "gateway/health.h"
#include "gateway/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define RESOLVE_WAIT_MS 2000

/* --- life ----------------------------------------------------------------------------------------------- */

static void gateway_free(struct gateway *gateway)
{
	if (!gateway)
		return;
	for (unsigned w = 0; gateway->workers && w < gateway->worker_count; w++)
		worker_fini(&gateway->workers[w]);
	for (size_t i = 0; i < gateway->listen_count; i++) {
		if (gateway->listen_text[i] && !gateway->handed_over &&
		    strncmp(gateway->listen_text[i], "unix:", 5) == 0)
			unlink(gateway->listen_text[i] + 5);
		free(gateway->listen_text[i]);
	}
	access_log_close(gateway->access_log);
	snapshot_put(gateway->snapshot);
	endpoints_destroy(gateway->endpoints);
	if (gateway->health)
		health_fini(gateway->health);
	free(gateway->health);
	free(gateway->workers);
	free(gateway->address_counts);
	free(gateway->access_config.path);
	free(gateway);
}

/* Each connection needs a descriptor, and so does each upstream's. */
static void raise_open_files(const struct limits_config *limits)
{
	struct rlimit limit;
	rlim_t want = (rlim_t)limits->connections * 2 + 1024;
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= want)
		return;
	rlim_t had = limit.rlim_cur;
	limit.rlim_cur = want;
	if (limit.rlim_max < want)
		limit.rlim_max = want;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	log_warn("gateway",
		 "open files: limit is %llu (was %llu), limits.connections = %u may need %llu; set "
		 "LimitNOFILE",
		 (unsigned long long)limit.rlim_cur, (unsigned long long)had, limits->connections,
		 (unsigned long long)want);
}

/* On failure the workers that run are still there, and worker_count says how many. */
static int start_workers(struct gateway *gateway, struct buf *why)
{
	unsigned started = 0;
	int failed = 0;
	sem_init(&gateway->started, 0, 0);
	while (started < gateway->worker_count && !failed) {
		struct worker *worker = &gateway->workers[started];
		failed = pthread_create(&worker->thread, NULL, worker_main, worker);
		started += !failed;
	}
	for (unsigned w = 0; w < started; w++) {
		while (sem_wait(&gateway->started))
			; /* a signal */
	}
	if (failed) {
		buf_printf(why, "cannot start worker %u of %u: %s", started + 1, gateway->worker_count,
			   strerror(failed));
		for (unsigned w = started; w < gateway->worker_count; w++)
			worker_fini(&gateway->workers[w]);
		gateway->worker_count = started;
		return -failed;
	}
	for (unsigned w = 0; w < gateway->worker_count; w++) {
		int err = gateway->workers[w].start_result;
		if (err) {
			buf_printf(why,
				   "io_uring: %s; Phoenix needs Linux 6.1 or newer and "
				   "kernel.io_uring_disabled = 0 (sysctl)",
				   strerror(-err));
			return err;
		}
	}
	return 0;
}

int gateway_start(const struct gateway_options *options, struct gateway **out, struct buf *why)
{
	const struct config *config = options->config;
	int err = -ENOMEM;
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	if (!gateway)
		return err;
	gateway->policy = options->policy;
	gateway->sink = options->sink;
	gateway->limits = config->limits;
	gateway->access_config = config->access_log;
	if (config->access_log.path)
		gateway->access_config.path = strdup(config->access_log.path);
	gateway->budget.max_bytes = config->limits.sample_memory_bytes;
	pthread_mutex_init(&gateway->mutex, NULL);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned count = config->workers ? config->workers : cores > 0 ? (unsigned)cores : 1;
	count = count < GATEWAY_WORKERS_MAX ? count : GATEWAY_WORKERS_MAX;
	raise_open_files(&gateway->limits);
	gateway->workers = calloc(count, sizeof(*gateway->workers));
	gateway->health = calloc(1, sizeof(*gateway->health));
	if (!gateway->workers || !gateway->health || health_init(gateway->health))
		goto fail;
	if (gateway->limits.connections_per_address) {
		gateway->address_counts = calloc(GATEWAY_ADDRESS_COUNTS, sizeof(*gateway->address_counts));
		if (!gateway->address_counts)
			goto fail;
	}
	for (; gateway->worker_count < count; gateway->worker_count++) {
		err = worker_init(&gateway->workers[gateway->worker_count], gateway, gateway->worker_count);
		if (err) {
			worker_fini(&gateway->workers[gateway->worker_count]);
			buf_printf(why, "cannot prepare a worker: %s", strerror(-err));
			goto fail;
		}
	}
	err = endpoints_create(&gateway->endpoints);
	if (!err)
		err = access_log_open(&gateway->access_config, count, &gateway->access_log, why);
	if (err)
		goto fail;
	for (unsigned w = 0; w < count; w++)
		gateway->workers[w].access = access_log_ring(gateway->access_log, w);
	err = gateway_listen(gateway, options, why);
	if (err)
		goto fail;
	err = start_workers(gateway, why);
	if (err) {
		gateway_stop(gateway, 0, false);
		return err;
	}
	*out = gateway;
	return 0;
fail:
	gateway_free(gateway);
	return err;
}

static void on_drain(struct worker *worker, struct worker_message *message)
{
	worker->draining = true;
	worker->handed_over = message->handed_over;
	health_stop(worker);
	for (unsigned i = 0; i < worker->listener_count; i++) {
		if (worker->listeners[i].armed)
			ring_cancel(&worker->ring, &worker->listeners[i].accept);
		/* Without this the port would go on taking connections nobody accepts. */
		if (!worker->handed_over)
			shutdown(worker->listeners[i].fd, SHUT_RD);
	}
	downstream_drain(worker, false);
}

static void on_cut(struct worker *worker, struct worker_message *message)
{
	worker->cutting = true;
}

/* Every worker has ended by itself: nothing is left to it, no connection that it was about to accept either.
 */
static bool all_gone(struct gateway *gateway)
{
	for (unsigned w = 0; w < gateway->worker_count; w++) {
		struct worker *worker = &gateway->workers[w];
		pthread_mutex_lock(&worker->inbox_mutex);
		bool left = worker->left || worker->start_result;
		pthread_mutex_unlock(&worker->inbox_mutex);
		if (!left)
			return false;
	}
	return true;
}

void gateway_stop(struct gateway *gateway, uint32_t drain_ms, bool handed_over)
{
	if (!gateway)
		return;
	for (unsigned w = 0; w < gateway->worker_count; w++) {
		struct worker_message message = {.run = on_drain, .handed_over = handed_over};
		if (!gateway->workers[w].start_result)
			worker_call(&gateway->workers[w], &message);
	}
	gateway->handed_over = handed_over;
	uint64_t until_ns = clock_now_ns() + drain_ms * NS_PER_MS;
	while (!all_gone(gateway) && clock_now_ns() < until_ns)
		usleep(5000);
	for (unsigned w = 0; w < gateway->worker_count; w++) {
		struct worker_message message = {.run = on_cut};
		if (!gateway->workers[w].start_result)
			worker_call(&gateway->workers[w], &message);
	}
	for (unsigned w = 0; w < gateway->worker_count; w++)
		pthread_join(gateway->workers[w].thread, NULL);
	gateway_free(gateway);
}

/* --- routes --------------------------------------------------------------------------------------------- */

static int compile_route(struct gateway *gateway, const struct gateway_route *route,
			 struct snapshot_route *out)
{
	const struct route_config *config = route->config;
	*out = (struct snapshot_route){
		.config = config,
		.slot = route->slot,
		.generation = route->generation,
		.safe_only = !config->mirror.unsafe_methods,
		.endpoint = {endpoints_get(gateway->endpoints, config->legacy.host, config->legacy.port),
			     endpoints_get(gateway->endpoints, config->modern.host, config->modern.port)},
		.base_path = {slice_str(config->legacy.base_path), slice_str(config->modern.base_path)},
	};
	return out->endpoint[0] && out->endpoint[1] && route->slot < PHX_ROUTE_SLOTS ? 0 : -ENOMEM;
}

static int snapshot_build(struct gateway *gateway, const struct gateway_route *routes, size_t count,
			  struct snapshot **out)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
	struct router_pattern *patterns = calloc(count + 1, sizeof(*patterns));
	int err = -ENOMEM;
	if (!snapshot || !patterns)
		goto fail;
	atomic_init(&snapshot->references, 1);
	snapshot->count = count;
	snapshot->routes = calloc(count + 1, sizeof(*snapshot->routes));
	snapshot->by_slot = calloc(PHX_ROUTE_SLOTS, sizeof(*snapshot->by_slot));
	if (!snapshot->routes || !snapshot->by_slot)
		goto fail;
	for (size_t i = 0; i < count; i++) {
		err = compile_route(gateway, &routes[i], &snapshot->routes[i]);
		if (err)
			goto fail;
		snapshot->by_slot[routes[i].slot] = (uint32_t)i + 1;
		patterns[i] = (struct router_pattern){
			.host = routes[i].config->host,
			.path = routes[i].config->path,
			.method_mask = routes[i].config->method_mask,
		};
	}
	err = router_create(patterns, count, &snapshot->router);
	if (err)
		goto fail;
	free(patterns);
	*out = snapshot;
	return 0;
fail:
	free(patterns);
	snapshot_put(snapshot);
	return err;
}

static void on_publish(struct worker *worker, struct worker_message *message)
{
	struct snapshot_use *use = snapshot_use_create(message->snapshot);
	if (!use) {
		message->result = -ENOMEM;
		return;
	}
	struct snapshot_use *old = worker->routes;
	worker->routes = use;
	/* Not before: a daemon that starts under load would answer its first clients with 404. */
	if (!old)
		worker_accept(worker);
	if (worker->index == 0)
		health_follow(worker);
	snapshot_use_retire(old);
}

int gateway_publish(struct gateway *gateway, const struct gateway_route *routes, size_t count,
		    void (*release)(void *owner), void *owner, struct buf *why)
{
	struct snapshot *snapshot;
	int err = snapshot_build(gateway, routes, count, &snapshot);
	if (err) {
		buf_printf(why, "cannot compile %zu routes: %s", count, strerror(-err));
		return err;
	}
	endpoints_wait(gateway->endpoints, RESOLVE_WAIT_MS);
	snapshot->release = release;
	snapshot->owner = owner;
	for (unsigned w = 0; w < gateway->worker_count; w++) {
		struct worker_message message = {.run = on_publish, .snapshot = snapshot};
		/* A worker takes 24 bytes to follow; when even they are not there, trying again is all there
		 * is. */
		while (worker_call(&gateway->workers[w], &message)) {
			message = (struct worker_message){.run = on_publish, .snapshot = snapshot};
			usleep(10000);
		}
	}
	pthread_mutex_lock(&gateway->mutex);
	struct snapshot *old = gateway->snapshot;
	gateway->snapshot = snapshot;
	pthread_mutex_unlock(&gateway->mutex);
	snapshot_put(old);
	return 0;
}

void gateway_reopen_log(struct gateway *gateway)
{
	access_log_reopen(gateway->access_log);
}

void gateway_access_stats(struct gateway *gateway, struct access_log_stats *out)
{
	access_log_stats(gateway->access_log, out);
}

/* --- exchanges of the NIC path ---------------------------------------------------------------------------
 */

struct captured_message {
	struct worker_message message;
	struct exchange *exchange;
};

static void run_captured(struct worker *worker, struct worker_message *message)
{
	struct captured_message *captured = container_of(message, struct captured_message, message);
	shadow_captured(worker, captured->exchange);
	free(captured);
}

static void cancel_captured(struct worker_message *message)
{
	struct captured_message *captured = container_of(message, struct captured_message, message);
	exchange_destroy(captured->exchange);
	free(captured);
}

void gateway_captured(struct gateway *gateway, struct exchange *exchange)
{
	struct captured_message *captured = calloc(1, sizeof(*captured));
	if (!captured) {
		exchange_destroy(exchange);
		return;
	}
	captured->message.run = run_captured;
	captured->message.cancel = cancel_captured;
	captured->exchange = exchange;
	unsigned turn = atomic_fetch_add(&gateway->captured, 1);
	worker_post(&gateway->workers[turn % gateway->worker_count], &captured->message);
}

struct exchange_budget *gateway_budget(struct gateway *gateway)
{
	return &gateway->budget;
}

const char *gateway_trace(struct gateway *gateway, struct slice method, struct slice host, struct slice path)
{
	struct phx_head scan;
	phx_head_init(&scan, 0);
	for (size_t i = 0; i < method.len; i++)
		phx_gather(&scan, (uint8_t)method.ptr[i]);
	const char *id = NULL;
	pthread_mutex_lock(&gateway->mutex);
	if (gateway->snapshot && path.len) {
		uint32_t index = router_match(gateway->snapshot->router, phx_head_method(&scan), host, path);
		if (index != ROUTER_NONE)
			id = gateway->snapshot->routes[index].config->id;
	}
	pthread_mutex_unlock(&gateway->mutex);
	return id;
}

const char *gateway_listen_text(struct gateway *gateway, size_t index)
{
	return index < gateway->listen_count ? gateway->listen_text[index] : NULL;
}

void gateway_upstreams(struct gateway *gateway,
		       void (*visit)(void *context, const struct gateway_upstream_info *), void *context)
{
	endpoints_visit(gateway->endpoints, visit, context);
}

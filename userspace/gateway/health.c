/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health: see health.h.
 *
 * A check is an upstream connection of its own, always a new one, as shadows have them: it shows that the
 * service accepts, and takes nothing from live requests. Its result is the status line; the rest is not read.
 *
 * What is known about a side outlives the set of routes: a reload neither forgets that a side is down nor
 * puts its next check off. The checks themselves belong to one set of routes and are all made anew with the
 * next.
 */
#include "gateway/health.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/siphash.h"

#include <errno.h>
#include <stdlib.h>

#define TICK_MS	       100
#define CHECKS_AT_ONCE 256
#define CHECK_BUSY_MS  20

static const char *const side_words[] = {[PHX_LEGACY] = "legacy", [PHX_MODERN] = "modern"};

struct check {
	struct upstream_user up;
	struct timer timer; /* the next one is due, or this one is late */
	struct worker *worker;
	const struct snapshot_route *route;
	struct health_side *health;
	enum phx_side side;
	bool running;
	struct phx_head head;
	struct buf request;
};

struct health_checks {
	struct timer tick;
	struct worker *worker;
	struct check *checks;
	size_t count, running;
};

int health_init(struct health *health)
{
	health->slots = calloc(PHX_ROUTE_SLOTS, sizeof(*health->slots));
	return health->slots ? 0 : -ENOMEM;
}

void health_fini(struct health *health)
{
	free(health->slots);
	health->slots = NULL;
}

/* --- the verdict ---------------------------------------------------------------------------------------- */

/* Writes the bit; true when that changed it. */
static bool set_down(struct policy *policy, uint32_t slot, enum phx_side side, bool down)
{
	uint32_t bit = side == PHX_MODERN ? PHX_ROUTE_MODERN_DOWN : PHX_ROUTE_LEGACY_DOWN;
	uint32_t *flags = &policy->slots[slot].flags;
	uint32_t before = down ? __atomic_fetch_or(flags, bit, __ATOMIC_RELAXED)
			       : __atomic_fetch_and(flags, ~bit, __ATOMIC_RELAXED);
	return !(before & bit) == down;
}

void health_failed(struct worker *worker, const struct snapshot_route *route, enum phx_side side)
{
	const struct health_config *config = &route->config->health;
	struct health_side *health = &worker->gateway->health->slots[route->slot][side];
	uint32_t failures = atomic_fetch_add(&health->failures, 1) + 1;
	uint64_t none = 0, until_ns = worker->ring.now_ns + config->eject_ms * NS_PER_MS;
	if (!config->eject_after || failures < config->eject_after ||
	    !atomic_compare_exchange_strong(&health->ejected_until_ns, &none, until_ns))
		return;
	atomic_fetch_add(&worker->gateway->health->ejected, 1);
	set_down(worker->policy, route->slot, side, true);
	struct gateway_route_stats *stats = worker_route_stats(worker, route->slot);
	if (stats)
		STAT_ADD(stats->side[side].ejections, 1);
	log_warn("health", "route %s: %s (%s:%u) did not answer %u requests in a row: down for %u ms",
		 route->config->id, side_words[side], route->endpoint[side]->host,
		 route->endpoint[side]->port, failures, config->eject_ms);
}

/* The time is over: the next request may try, and when it fails as well that is enough. */
static void readmit(struct worker *worker, const struct snapshot_route *route, enum phx_side side)
{
	struct health_side *health = &worker->gateway->health->slots[route->slot][side];
	uint32_t after = route->config->health.eject_after;
	atomic_store(&health->failures, after ? after - 1 : 0);
	atomic_store(&health->ejected_until_ns, 0);
	if (!atomic_load(&health->checks_fail) && set_down(worker->policy, route->slot, side, false))
		log_info("health", "route %s: %s may be asked again", route->config->id, side_words[side]);
}

static void on_tick(struct timer *timer)
{
	struct health_checks *checks = container_of(timer, struct health_checks, tick);
	struct worker *worker = checks->worker;
	struct health *health = worker->gateway->health;
	const struct snapshot *snapshot = worker->routes->snapshot;
	uint64_t now_ns = worker->ring.now_ns;
	timer_set(&worker->ring.timers, timer, now_ns + TICK_MS * NS_PER_MS);
	if (!atomic_exchange(&health->ejected, 0))
		return;
	for (size_t i = 0; i < 2 * snapshot->count; i++) {
		const struct snapshot_route *route = &snapshot->routes[i / 2];
		uint64_t until_ns = atomic_load(&health->slots[route->slot][i % 2].ejected_until_ns);
		if (until_ns && until_ns <= now_ns)
			readmit(worker, route, i % 2);
		else if (until_ns)
			atomic_fetch_add(&health->ejected, 1);
	}
}

/* --- checks --------------------------------------------------------------------------------------------- */

/* Ends a check that runs. The kernel may still read the request while the connection is being closed. */
static void end_check(struct check *check)
{
	struct upstream *upstream = check->up.upstream;
	bool sending = upstream && upstream->stream.sending;
	upstream_release(&check->up, false);
	if (sending)
		upstream->held_memory = check->request.data;
	else
		buf_fini(&check->request);
	check->request = (struct buf){0};
	check->running = false;
	check->worker->health_checks->running--;
}

static void finish(struct check *check, bool good, const char *what)
{
	struct worker *worker = check->worker;
	const struct snapshot_route *route = check->route;
	const struct health_config *config = &route->config->health;
	struct health_side *health = check->health;
	end_check(check);
	timer_set(&worker->ring.timers, &check->timer, health->next_ns);
	struct gateway_route_stats *stats = worker_route_stats(worker, route->slot);
	if (stats)
		STAT_ADD(stats->side[check->side].checks[good], 1);
	health->good = good ? health->good + 1 : 0;
	health->bad = good ? 0 : health->bad + 1;
	bool failing = atomic_load(&health->checks_fail);
	if (!failing && health->bad >= config->fall) {
		atomic_store(&health->checks_fail, true);
		set_down(worker->policy, route->slot, check->side, true);
		log_warn("health", "route %s: %s (%s:%u) failed %u checks in a row, the last: %s",
			 route->config->id, side_words[check->side], route->endpoint[check->side]->host,
			 route->endpoint[check->side]->port, health->bad, what);
	} else if (failing && health->good >= config->rise) {
		atomic_store(&health->checks_fail, false);
		if (!atomic_load(&health->ejected_until_ns))
			set_down(worker->policy, route->slot, check->side, false);
		log_info("health", "route %s: %s passed %u checks in a row", route->config->id,
			 side_words[check->side], health->good);
	}
}

static void on_connected(struct upstream_user *user, int err)
{
	struct check *check = container_of(user, struct check, up);
	if (err) {
		finish(check, false, strerror(-err));
		return;
	}
	struct iovec piece = {check->request.data, check->request.len};
	stream_send(&user->upstream->stream, &piece, 1);
	stream_read(&user->upstream->stream);
}

static void on_data(struct upstream_user *user, struct ring_buffer buffer)
{
	struct check *check = container_of(user, struct check, up);
	int result = PHX_HEAD_MORE;
	for (uint32_t i = 0; i < buffer.len && result != PHX_HEAD_REFUSED; i++) {
		result = phx_head_step(&check->head, (uint8_t)buffer.data[i]);
		if (result != PHX_HEAD_DONE)
			continue;
		if (check->head.status >= 200)
			break;
		phx_head_init(&check->head, PHX_HEAD_RESPONSE);
	}
	ring_buffer_put(&check->worker->ring, &buffer);
	if (result == PHX_HEAD_DONE && check->head.status >= 200) {
		char what[32];
		snprintf(what, sizeof(what), "status %u", check->head.status);
		finish(check, check->head.status < 400, what);
	} else if (result == PHX_HEAD_REFUSED || check->head.pos > check->worker->limits->head_bytes) {
		finish(check, false, "the answer is not valid HTTP");
	} else {
		stream_read(&user->upstream->stream);
	}
}

static void on_end(struct upstream_user *user, int err)
{
	finish(container_of(user, struct check, up), false, "closed before it answered");
}

static void on_sent(struct upstream_user *user, int err)
{
	/* A failed send shows as the connection's end. */
}

static bool write_request(struct check *check)
{
	const struct snapshot_route *route = check->route;
	char authority[ENDPOINT_AUTHORITY_MAX];
	endpoint_authority(route->endpoint[check->side], authority);
	buf_printf(
		&check->request,
		"GET %.*s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: phoenix-health\r\nConnection: close\r\n\r\n",
		SLICE_ARG(route->base_path[check->side]), route->config->health.path,
		route->config->host ? route->config->host : authority);
	return !check->request.failed;
}

static void begin(struct check *check)
{
	struct worker *worker = check->worker;
	const struct health_config *config = &check->route->config->health;
	uint64_t now_ns = worker->ring.now_ns;
	if (worker->health_checks->running == CHECKS_AT_ONCE) {
		timer_set(&worker->ring.timers, &check->timer, now_ns + CHECK_BUSY_MS * NS_PER_MS);
		return;
	}
	check->health->next_ns = now_ns + config->interval_ms * NS_PER_MS;
	check->up = (struct upstream_user){on_connected, on_data, on_end, on_sent, NULL};
	check->running = true;
	worker->health_checks->running++;
	phx_head_init(&check->head, PHX_HEAD_RESPONSE);
	timer_set(&worker->ring.timers, &check->timer, now_ns + config->timeout_ms * NS_PER_MS);
	enum upstream_acquired acquired = UPSTREAM_NO_MEMORY;
	if (write_request(check))
		acquired = upstream_acquire(worker, check->route->endpoint[check->side], true, UPSTREAM_FRESH,
					    &check->up);
	if (acquired == UPSTREAM_NO_ADDRESS) {
		finish(check, false, "its name does not resolve");
	} else if (acquired != UPSTREAM_PENDING) {
		/* Nothing was learnt: that is the gateway's trouble. */
		end_check(check);
		timer_set(&worker->ring.timers, &check->timer, check->health->next_ns);
	}
}

static void on_timer(struct timer *timer)
{
	struct check *check = container_of(timer, struct check, timer);
	if (check->running)
		finish(check, false, "no answer in time");
	else
		begin(check);
}

/* --- which routes --------------------------------------------------------------------------------------- */

/* A slot that has another endpoint or is checked otherwise than before begins with a clean record. The bit is
 * written in any case: the slot's flags may be another route's. */
static void adopt(struct worker *worker, const struct snapshot_route *route, enum phx_side side)
{
	struct health_side *health = &worker->gateway->health->slots[route->slot][side];
	const char *path = route->config->health.path ? route->config->health.path : "";
	uint64_t identity = siphash24(worker->policy->key, path, strlen(path)) + route->endpoint[side]->index;
	if (health->identity != identity || !*path) {
		atomic_store(&health->checks_fail, false);
		health->good = health->bad = 0;
	}
	if (health->identity != identity) {
		atomic_store(&health->failures, 0);
		atomic_store(&health->ejected_until_ns, 0);
		health->identity = identity;
		health->next_ns = 0;
	}
	set_down(worker->policy, route->slot, side,
		 atomic_load(&health->checks_fail) || atomic_load(&health->ejected_until_ns));
}

static void add_checks(struct worker *worker, struct health_checks *checks,
		       const struct snapshot_route *route)
{
	for (enum phx_side side = PHX_LEGACY; side <= PHX_MODERN; side++) {
		adopt(worker, route, side);
		if (!route->config->health.path)
			continue;
		struct check *check = &checks->checks[checks->count++];
		check->worker = worker;
		check->route = route;
		check->side = side;
		check->health = &worker->gateway->health->slots[route->slot][side];
		timer_init(&check->timer, on_timer);
		timer_set(&worker->ring.timers, &check->timer,
			  check->health->next_ns ? check->health->next_ns : worker->ring.now_ns);
	}
}

void health_follow(struct worker *worker)
{
	const struct snapshot *snapshot = worker->routes->snapshot;
	size_t wanted = 0;
	health_stop(worker);
	for (size_t i = 0; i < snapshot->count; i++)
		wanted += snapshot->routes[i].config->health.path ? 2 : 0;
	struct health_checks *checks = calloc(1, sizeof(*checks));
	if (checks)
		checks->checks = calloc(wanted + 1, sizeof(*checks->checks));
	if (!checks || !checks->checks) {
		free(checks);
		log_warn("health", "no memory for checks: services are not checked until the next reload");
		return;
	}
	checks->worker = worker;
	worker->health_checks = checks;
	for (size_t i = 0; i < snapshot->count; i++)
		add_checks(worker, checks, &snapshot->routes[i]);
	timer_init(&checks->tick, on_tick);
	timer_set(&worker->ring.timers, &checks->tick, worker->ring.now_ns + TICK_MS * NS_PER_MS);
}

void health_stop(struct worker *worker)
{
	struct health_checks *checks = worker->health_checks;
	if (!checks)
		return;
	timer_cancel(&worker->ring.timers, &checks->tick);
	for (size_t i = 0; i < checks->count; i++) {
		timer_cancel(&worker->ring.timers, &checks->checks[i].timer);
		if (checks->checks[i].running)
			end_check(&checks->checks[i]);
	}
	free(checks->checks);
	free(checks);
	worker->health_checks = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fleet: see fleet.h: the thread and its life, and control's side. What is said to Redis: fleet_turn.c. */
#include "store/fleet_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

#define BEATS_IN_LEASE 8
#define BEAT_MIN_MS    50
#define BEAT_MAX_MS    250
#define RETRY_MS       200

static uint64_t beat_ms(const struct fleet_link *link)
{
	uint64_t ms = link->lease_ms / BEATS_IN_LEASE;
	return ms < BEAT_MIN_MS ? BEAT_MIN_MS : ms > BEAT_MAX_MS ? BEAT_MAX_MS : ms;
}

/* --- the thread ----------------------------------------------------------------------------------------- */

static void not_reachable(struct fleet_link *link, const struct buf *why)
{
	pthread_mutex_lock(&link->mutex);
	bool was = link->lease.reachable || !link->lease.error[0];
	link->lease.reachable = false;
	snprintf(link->lease.error, sizeof(link->lease.error), "%s",
		 why->len ? buf_cstr((struct buf *)why) : "?");
	/* The lease goes on until its end: that is what it is for. */
	pthread_mutex_unlock(&link->mutex);
	if (was)
		log_warn("fleet", "Redis does not answer: %s", link->lease.error);
	if (link->redis)
		redisFree(link->redis);
	link->redis = NULL;
}

static bool turn(struct fleet_link *link, struct buf *why)
{
	uint64_t deadline_ns = clock_now_ns() + link->timeout_ms * NS_PER_MS;
	if (!link->redis && redis_connect(link->target, true, deadline_ns, &link->redis, why))
		return false;
	return fleet_turn(link, why);
}

static void *run(void *argument)
{
	struct fleet_link *link = argument;
	struct buf why = {0};
	pthread_mutex_lock(&link->mutex);
	while (!link->stop) {
		pthread_mutex_unlock(&link->mutex);
		buf_reset(&why);
		bool fine = turn(link, &why);
		if (!fine)
			not_reachable(link, &why);
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		uint64_t wait_ns = (fine ? beat_ms(link) : RETRY_MS) * NS_PER_MS + (uint64_t)until.tv_nsec;
		until.tv_sec += (time_t)(wait_ns / NS_PER_SEC);
		until.tv_nsec = (long)(wait_ns % NS_PER_SEC);
		pthread_mutex_lock(&link->mutex);
		if (!link->stop)
			pthread_cond_timedwait(&link->wake, &link->mutex, &until);
	}
	link->want = false;
	pthread_mutex_unlock(&link->mutex);
	/* The last beat gives the lease up: the next one need not wait for its end. */
	if (link->redis && link->leads)
		fleet_beat(link, &why);
	buf_fini(&why);
	return NULL;
}

static int link_init(struct fleet_link *link)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&link->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&link->mutex, NULL);
	link->pending = json_object();
	link->peers = calloc(FLEET_MEMBERS_MAX, sizeof(*link->peers));
	link->queue.max = FLEET_QUEUE_BYTES_MAX + (1u << 20);
	return link->pending && link->peers ? 0 : -ENOMEM;
}

static void link_free(struct fleet_link *link)
{
	if (link->redis)
		redisFree(link->redis);
	json_decref(link->pending);
	buf_fini(&link->queue);
	buf_fini(&link->taken);
	free(link->peers);
	pthread_mutex_destroy(&link->mutex);
	pthread_cond_destroy(&link->wake);
	free(link);
}

int fleet_link_open(const struct fleet_link_options *options, struct fleet_link **out, struct buf *why)
{
	struct fleet_link *link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	const struct redis_store *redis = redis_of(options->store);
	link->target = &redis->target;
	link->lease_ms = options->lease_ms;
	link->timeout_ms = redis->config.timeout_ms;
	snprintf(link->prefix, sizeof(link->prefix), "%s", redis->config.prefix);
	link->want = true;
	snprintf(link->instance, sizeof(link->instance), "%s", options->instance);
	snprintf(link->about, sizeof(link->about), "%s", options->about);
	int err = link_init(link);
	if (!err && !fleet_is_member_name(slice_str(link->instance))) {
		buf_printf(why, "\"%s\" cannot be a member's name", link->instance);
		err = -EINVAL;
	}
	if (!err)
		err = -pthread_create(&link->thread, NULL, run, link);
	if (err) {
		link_free(link);
		return err;
	}
	pthread_setname_np(link->thread, "phx-fleet");
	*out = link;
	return 0;
}

void fleet_link_close(struct fleet_link *link)
{
	if (!link)
		return;
	pthread_mutex_lock(&link->mutex);
	link->stop = true;
	pthread_cond_broadcast(&link->wake);
	pthread_mutex_unlock(&link->mutex);
	pthread_join(link->thread, NULL);
	link_free(link);
}

/* --- control's side ------------------------------------------------------------------------------------- */

void fleet_link_lease(struct fleet_link *link, struct fleet_lease *out)
{
	pthread_mutex_lock(&link->mutex);
	*out = link->lease;
	pthread_mutex_unlock(&link->mutex);
}

void fleet_link_want(struct fleet_link *link, bool want)
{
	pthread_mutex_lock(&link->mutex);
	if (link->want != want)
		pthread_cond_broadcast(&link->wake);
	link->want = want;
	pthread_mutex_unlock(&link->mutex);
}

int fleet_link_publish(struct fleet_link *link, struct slice route, struct slice text)
{
	if (text.len > FLEET_REPORT_BYTES_MAX)
		return -EINVAL;
	pthread_mutex_lock(&link->mutex);
	int err = json_object_setn_new(link->pending, route.ptr, route.len, json_stringn(text.ptr, text.len));
	pthread_mutex_unlock(&link->mutex);
	return err ? -ENOMEM : 0;
}

bool fleet_link_again(struct fleet_link *link)
{
	pthread_mutex_lock(&link->mutex);
	bool again = link->again;
	link->again = false;
	pthread_mutex_unlock(&link->mutex);
	if (again)
		link->taken_at = link->taken.len;
	return again;
}

/* What the thread has gathered meanwhile, when everything before it was handed out. */
static void refill(struct fleet_link *link)
{
	if (link->taken_at < link->taken.len)
		return;
	buf_fini(&link->taken);
	link->taken_at = 0;
	pthread_mutex_lock(&link->mutex);
	/* With `again` still to be told, what is queued comes after it: it waits. */
	if (!link->again) {
		link->taken = link->queue;
		link->queue = (struct buf){.max = FLEET_QUEUE_BYTES_MAX + (1u << 20)};
	}
	pthread_mutex_unlock(&link->mutex);
}

size_t fleet_link_take(struct fleet_link *link,
		       void (*on_report)(void *context, struct slice member, struct slice route,
					 struct slice text),
		       void *context)
{
	refill(link);
	if (link->taken.len == 0)
		return 0;
	struct slice rest = slice_of(link->taken.data + link->taken_at, link->taken.len - link->taken_at);
	struct slice line, member, route;
	size_t count = 0;
	while (rest.len && count < FLEET_TAKE_MAX && slice_split(&rest, '\n', &line)) {
		count++;
		if (slice_split(&line, '\t', &member) && slice_split(&line, '\t', &route))
			on_report(context, member, route, line);
	}
	link->taken_at = link->taken.len - rest.len;
	return count;
}

json_t *fleet_link_members(struct fleet_link *link)
{
	json_t *list = json_array();
	pthread_mutex_lock(&link->mutex);
	uint64_t since_ms = link->answered_ns ? (clock_now_ns() - link->answered_ns) / NS_PER_MS : 0;
	for (size_t i = 0; i < link->peer_count; i++) {
		const struct fleet_peer *peer = &link->peers[i];
		uint64_t age_ms =
			since_ms + (link->now_ms > peer->seen_ms ? link->now_ms - peer->seen_ms : 0);
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "id", peer->name, "about",
						      peer->about, "age_ms", (json_int_t)age_ms, "reports",
						      (json_int_t)peer->number));
	}
	pthread_mutex_unlock(&link->mutex);
	return list;
}

uint64_t fleet_link_commands(const struct fleet_link *link)
{
	return link->commands;
}

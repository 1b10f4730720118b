/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts: see facts.h.
 *
 * The way in is a stack (Treiber 1986) that the comparer empties at one stroke and turns round: pushing is
 * one compare-and-swap, and nothing is ever popped singly, so there is no ABA. Only the push that finds the
 * stack empty wakes the comparer.
 *
 * The hard part is that the ground may shift while an exchange is compared: the route is looked up again,
 * with generation and step, before anything is counted, and once more before an example is kept. The step is
 * not told to this file, it is read from the policy itself: there is no moment at which the two disagree.
 */
#include "control/facts_internal.h"

#include "base/list.h"
#include "base/log.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

const char *facts_reason_word(unsigned reason)
{
	switch (reason) {
	case FACTS_UNKNOWN_ENCODING:
		return compare_reason_word(COMPARE_REASON_UNKNOWN_ENCODING);
	case FACTS_TOO_COMPLEX:
		return compare_reason_word(COMPARE_REASON_TOO_COMPLEX);
	case FACTS_BOTH_FAILED:
		return "both_failed";
	default:
		return exchange_outcome_word((enum exchange_outcome)reason);
	}
}

static void submit(struct exchange_sink *sink, struct exchange *exchange)
{
	struct facts *facts = container_of(sink, struct facts, sink);
	/* Counted before it is asked whether the end has come: facts_stop() relies on this order. */
	bool full = atomic_fetch_add(&facts->queued, 1) >= FACTS_QUEUE_MAX;
	if (full || atomic_load(&facts->stopping)) {
		if (full && exchange->slot < PHX_ROUTE_SLOTS)
			atomic_fetch_add(&facts->queue_full[exchange->slot], 1);
		exchange_destroy(exchange);
		atomic_fetch_sub(&facts->queued, 1);
		return;
	}
	struct exchange *top = atomic_load(&facts->stack);
	do {
		exchange->next = top;
	} while (!atomic_compare_exchange_weak(&facts->stack, &top, exchange));
	if (!top)
		sem_post(&facts->wake);
}

/* --- under the lock ------------------------------------------------------------------------------------ */

/* The step moved on: the evidence begins anew. */
static void begin_step(struct facts *facts, uint32_t slot, struct facts_route *route, uint32_t step)
{
	memset(&route->view.now, 0, sizeof(route->view.now));
	route->view.step = step;
	shape_table_reset(&route->shapes);
	split_keys_reset(&route->keys);
	memset(&route->before, 0, sizeof(route->before));
	route->queue_full_before = atomic_load(&facts->queue_full[slot]);
}

static void begin_build(struct facts_route *route)
{
	route->view.build_samples = route->view.build_mismatches = 0;
	route->view.build_synthetic = route->view.build_synthetic_mismatches = 0;
	route->view.watch = 0;
}

/* The slot's route if this is still its generation; its step brought up to date. */
static struct facts_route *find(struct facts *facts, uint32_t slot)
{
	struct facts_route *route = slot < PHX_ROUTE_SLOTS ? facts->routes[slot] : NULL;
	if (route) {
		uint32_t step = policy_step(facts->policy, slot);
		if (route->view.step != step)
			begin_step(facts, slot, route, step);
	}
	return route;
}

struct facts_route *facts_find_current(struct facts *facts, const struct exchange *exchange)
{
	struct facts_route *route = find(facts, exchange->slot);
	if (!route || route->generation != exchange->generation)
		return NULL;
	if (route->view.step != exchange->step) {
		route->view.stale++;
		return NULL;
	}
	return route;
}

void facts_mark_dirty(struct facts *facts, struct facts_route *route, uint32_t slot)
{
	if (!route->dirty) {
		route->dirty = true;
		facts->dirty[facts->dirty_count++] = slot;
	}
}

/* --- the comparer's thread ------------------------------------------------------------------------------ */

static void *run(void *argument)
{
	struct facts *facts = argument;
	struct comparer comparer;
	if (!comparer_init(&comparer, facts))
		log_error("facts",
			  "no memory to compare with: every sample will be shed; restart with more memory");
	while (!atomic_load(&facts->stopping)) {
		struct exchange *newest = atomic_exchange(&facts->stack, NULL), *oldest = NULL;
		if (!newest) {
			while (sem_wait(&facts->wake) && errno == EINTR)
				;
			continue;
		}
		while (newest) {
			struct exchange *next = newest->next;
			newest->next = oldest;
			oldest = newest;
			newest = next;
		}
		while (oldest) {
			struct exchange *next = oldest->next;
			if (comparer.scratch && !atomic_load(&facts->stopping))
				comparer_take_in(&comparer, oldest);
			exchange_destroy(oldest);
			atomic_fetch_sub(&facts->queued, 1);
			oldest = next;
		}
	}
	comparer_fini(&comparer);
	return NULL;
}

/* --- the control thread ----------------------------------------------------------------------------------
 */

int facts_create(const struct policy *policy, struct facts **out)
{
	struct facts *facts = calloc(1, sizeof(*facts));
	if (!facts)
		return -ENOMEM;
	facts->sink.submit = submit;
	facts->policy = policy;
	facts->queue_full = calloc(PHX_ROUTE_SLOTS, sizeof(*facts->queue_full));
	facts->routes = calloc(PHX_ROUTE_SLOTS, sizeof(*facts->routes));
	facts->dirty = calloc(PHX_ROUTE_SLOTS, sizeof(*facts->dirty));
	int err = -ENOMEM;
	if (!facts->queue_full || !facts->routes || !facts->dirty)
		goto fail;
	err = -EIO;
	if (getrandom(facts->shape_key, sizeof(facts->shape_key), 0) != sizeof(facts->shape_key))
		goto fail;
	pthread_mutex_init(&facts->lock, NULL);
	sem_init(&facts->wake, 0, 0);
	err = -pthread_create(&facts->thread, NULL, run, facts);
	if (err)
		goto fail;
	pthread_setname_np(facts->thread, "phx-compare");
	*out = facts;
	return 0;
fail:
	free(facts->queue_full);
	free(facts->routes);
	free(facts->dirty);
	free(facts);
	return err;
}

void facts_stop(struct facts *facts)
{
	if (!facts || atomic_load(&facts->stopping))
		return;
	atomic_store(&facts->stopping, true);
	sem_post(&facts->wake);
	pthread_join(facts->thread, NULL);
	/* Who was on its way in is counted already; whoever comes from now on is turned away. */
	while (atomic_load(&facts->queued)) {
		struct exchange *exchange = atomic_exchange(&facts->stack, NULL);
		while (exchange) {
			struct exchange *next = exchange->next;
			exchange_destroy(exchange);
			atomic_fetch_sub(&facts->queued, 1);
			exchange = next;
		}
		sched_yield();
	}
}

void facts_destroy(struct facts *facts)
{
	if (!facts)
		return;
	facts_stop(facts);
	for (uint32_t slot = 0; slot < PHX_ROUTE_SLOTS; slot++)
		facts_unmount(facts, slot);
	pthread_mutex_destroy(&facts->lock);
	sem_destroy(&facts->wake);
	free(facts->queue_full);
	free(facts->routes);
	free(facts->dirty);
	free(facts);
}

struct exchange_sink *facts_sink(struct facts *facts)
{
	return &facts->sink;
}

int facts_mount(struct facts *facts, uint32_t slot, uint32_t generation, struct definition *definition,
		bool new_build)
{
	int err = 0;
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = facts->routes[slot];
	if (!route) {
		route = calloc(1, sizeof(*route));
		if (!route) {
			err = -ENOMEM;
			goto out;
		}
		route->queue_full_at_mount = atomic_load(&facts->queue_full[slot]);
		facts->routes[slot] = route;
	} else if (route->definition != definition) {
		/* What is to be redacted may have changed. */
		sample_set_fini(&route->samples, &facts->sample_bytes);
	}
	if (new_build) {
		facts->example_bytes -= difference_set_bytes(&route->differences);
		difference_set_fini(&route->differences);
		noise_fini(&route->noise);
	}
	begin_build(route);
	struct definition *old = route->definition;
	const struct route_config *config = definition->config;
	route->definition = definition_get(definition);
	route->generation = generation;
	route->likelihood =
		likelihood_make(config->arbiter.promote_above_bp, config->arbiter.rollback_below_bp);
	begin_step(facts, slot, route, policy_step(facts->policy, slot));
	difference_set_ignore(&route->differences, config->compare.ignore.items,
			      config->compare.ignore.count);
	noise_ignore(&route->noise, config->compare.ignore.items, config->compare.ignore.count);
	facts->noise_news = true;
	definition_put(old);
out:
	pthread_mutex_unlock(&facts->lock);
	return err;
}

void facts_unmount(struct facts *facts, uint32_t slot)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = facts->routes[slot];
	facts->routes[slot] = NULL;
	if (route) {
		for (size_t i = 0; route->dirty && i < facts->dirty_count; i++) {
			if (facts->dirty[i] == slot) {
				facts->dirty[i] = facts->dirty[--facts->dirty_count];
				break;
			}
		}
		facts->example_bytes -= difference_set_bytes(&route->differences);
		difference_set_fini(&route->differences);
		shape_table_fini(&route->shapes);
		split_keys_fini(&route->keys);
		noise_fini(&route->noise);
		sample_set_fini(&route->samples, &facts->sample_bytes);
		definition_put(route->definition);
		free(route);
	}
	pthread_mutex_unlock(&facts->lock);
}

bool facts_read(struct facts *facts, uint32_t slot, struct facts_view *out)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find(facts, slot);
	if (route) {
		uint64_t full = atomic_load(&facts->queue_full[slot]);
		*out = route->view;
		/* Samples that found no room in the table are of further shapes, at least one. */
		out->shapes = route->shapes.count + (route->shapes.lost > 0);
		out->top_shape = route->before.top_shape + route->shapes.top;
		memcpy(out->keys, route->keys.served, sizeof(out->keys));
		/* Which shapes and keys they were is forgotten: they may be the same ones again. */
		if (route->before.shapes > out->shapes)
			out->shapes = route->before.shapes;
		if (route->before.keys[0] + route->before.keys[1] > out->keys[0] + out->keys[1])
			memcpy(out->keys, route->before.keys, sizeof(out->keys));
		out->control_samples = route->noise.samples;
		out->control_differing = route->noise.differing;
		out->proposals = route->noise.proposals;
		out->now.not_comparable[EXCHANGE_QUEUE_FULL] += full - route->queue_full_before;
		out->total.not_comparable[EXCHANGE_QUEUE_FULL] += full - route->queue_full_at_mount;
	} else {
		memset(out, 0, sizeof(*out));
	}
	pthread_mutex_unlock(&facts->lock);
	return route != NULL;
}

void facts_new_build(struct facts *facts, uint32_t slot)
{
	pthread_mutex_lock(&facts->lock);
	if (facts->routes[slot])
		begin_build(facts->routes[slot]);
	pthread_mutex_unlock(&facts->lock);
}

static void add_counts(struct facts_counts *to, const struct facts_counts *from)
{
	to->samples += from->samples;
	to->mismatches += from->mismatches;
	to->synthetic += from->synthetic;
	to->synthetic_mismatches += from->synthetic_mismatches;
	to->errors += from->errors;
	for (unsigned i = 0; i < FACTS_REASON_COUNT; i++)
		to->not_comparable[i] += from->not_comparable[i];
}

void facts_restore(struct facts *facts, uint32_t slot, const struct facts_view *seen)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find(facts, slot);
	if (route) {
		struct facts_view *view = &route->view;
		add_counts(&view->now, &seen->now);
		view->build_samples += seen->build_samples;
		view->build_mismatches += seen->build_mismatches;
		view->build_synthetic += seen->build_synthetic;
		view->build_synthetic_mismatches += seen->build_synthetic_mismatches;
		view->watch = view->watch > seen->watch ? view->watch : seen->watch;
		route->before.shapes = seen->shapes;
		route->before.top_shape = seen->top_shape;
		memcpy(route->before.keys, seen->keys, sizeof(route->before.keys));
	}
	pthread_mutex_unlock(&facts->lock);
}

void facts_watch_reset(struct facts *facts, uint32_t slot)
{
	pthread_mutex_lock(&facts->lock);
	if (facts->routes[slot])
		facts->routes[slot]->view.watch = 0;
	pthread_mutex_unlock(&facts->lock);
}

size_t facts_take_dirty(struct facts *facts, uint32_t *slots, size_t max)
{
	size_t count = 0;
	pthread_mutex_lock(&facts->lock);
	while (count < max && facts->dirty_count) {
		uint32_t slot = facts->dirty[--facts->dirty_count];
		if (facts->routes[slot]) {
			facts->routes[slot]->dirty = false;
			slots[count++] = slot;
		}
	}
	pthread_mutex_unlock(&facts->lock);
	return count;
}

json_t *facts_differences(struct facts *facts, uint32_t slot)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = facts->routes[slot];
	json_t *json = route ? difference_set_to_json(&route->differences) : NULL;
	pthread_mutex_unlock(&facts->lock);
	return json;
}

json_t *facts_samples(struct facts *facts, uint32_t slot)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = facts->routes[slot];
	json_t *json = route ? sample_set_to_json(&route->samples) : NULL;
	pthread_mutex_unlock(&facts->lock);
	return json;
}

json_t *facts_top(struct facts *facts, uint32_t slot, unsigned max)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find(facts, slot);
	json_t *json = route ? difference_set_top(&route->differences, route->view.step, max) : json_array();
	pthread_mutex_unlock(&facts->lock);
	return json;
}

json_t *facts_ignore_preview(struct facts *facts, uint32_t slot, char *const *pointers, size_t count,
			     const char **why)
{
	*why = "there is no such route";
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = facts->routes[slot];
	json_t *json = route ? difference_set_preview(&route->differences, pointers, count, why) : NULL;
	pthread_mutex_unlock(&facts->lock);
	return json;
}

json_t *facts_shapes(struct facts *facts, uint32_t slot)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find(facts, slot);
	json_t *json = route ? shape_table_to_json(&route->shapes) : NULL;
	pthread_mutex_unlock(&facts->lock);
	return json;
}

json_t *facts_noise(struct facts *facts, uint32_t slot, bool places)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find(facts, slot);
	json_t *json = route ? noise_to_json(&route->noise, places) : NULL;
	pthread_mutex_unlock(&facts->lock);
	return json;
}

bool facts_noise_news(struct facts *facts)
{
	pthread_mutex_lock(&facts->lock);
	bool news = facts->noise_news;
	facts->noise_news = false;
	pthread_mutex_unlock(&facts->lock);
	return news;
}

json_t *facts_noise_to_apply(struct facts *facts, uint32_t slot)
{
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find(facts, slot);
	bool apply =
		route && route->noise.applicable && route->definition->config->compare.noise == NOISE_APPLY;
	json_t *json = apply ? noise_proposals(&route->noise, true) : NULL;
	pthread_mutex_unlock(&facts->lock);
	return json;
}

void facts_settle(struct facts *facts)
{
	while (atomic_load(&facts->queued))
		usleep(200);
}

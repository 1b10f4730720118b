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
#include "control/facts.h"

#include "base/list.h"
#include "base/log.h"
#include "control/diversity.h"
#include "control/example.h"
#include "control/noise.h"
#include "control/samples.h"
#include "judge/shape.h"
#include "judge/statistics.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

struct facts_route {
	uint32_t generation;
	struct definition *definition;
	struct likelihood likelihood;
	struct facts_view view;
	uint64_t queue_full_before; /* of the slot's counter, when the step began */
	uint64_t queue_full_at_mount;
	bool dirty;
	struct difference_set differences;
	struct shape_table shapes; /* of this step */
	struct split_keys keys;	   /* of this step */
	struct noise noise;
	struct sample_set samples;
};

struct facts {
	struct exchange_sink sink;
	const struct policy *policy;
	struct exchange *_Atomic stack;
	_Atomic uint32_t queued;
	_Atomic uint64_t *queue_full; /* by slot */
	_Atomic bool stopping;
	sem_t wake;
	pthread_t thread;
	uint8_t shape_key[SIPHASH_KEY_SIZE];

	pthread_mutex_t lock; /* of everything below, between the comparer and the control thread */
	struct facts_route **routes;
	uint32_t *dirty;
	size_t dirty_count;
	uint64_t example_bytes, sample_bytes;
	bool noise_news; /* what some route proposes changed */
};

const char *facts_reason_word(unsigned reason)
{
	switch (reason) {
	case FACTS_UNKNOWN_ENCODING:
		return compare_reason_word(COMPARE_REASON_UNKNOWN_ENCODING);
	case FACTS_TOO_COMPLEX:
		return compare_reason_word(COMPARE_REASON_TOO_COMPLEX);
	default:
		return exchange_outcome_word((enum exchange_outcome)reason);
	}
}

static unsigned reason_of(enum compare_reason reason)
{
	switch (reason) {
	case COMPARE_REASON_UNKNOWN_ENCODING:
		return FACTS_UNKNOWN_ENCODING;
	case COMPARE_REASON_TOO_COMPLEX:
		return FACTS_TOO_COMPLEX;
	case COMPARE_REASON_OVER_CAP:
		return EXCHANGE_BODY_OVER_CAP;
	default:
		return EXCHANGE_MEMORY;
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

static struct facts_route *find_current(struct facts *facts, const struct exchange *exchange)
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

static void mark_dirty(struct facts *facts, struct facts_route *route, uint32_t slot)
{
	if (!route->dirty) {
		route->dirty = true;
		facts->dirty[facts->dirty_count++] = slot;
	}
}

static void count_sample(struct facts_route *route, const struct exchange *exchange, bool mismatch)
{
	bool synthetic = exchange->synthetic;
	struct facts_counts *both[] = {&route->view.now, &route->view.total};
	for (unsigned i = 0; i < 2; i++) {
		both[i]->samples++;
		both[i]->mismatches += mismatch;
		both[i]->synthetic += synthetic;
		both[i]->synthetic_mismatches += synthetic && mismatch;
	}
	route->view.build_samples++;
	route->view.build_mismatches += mismatch;
	route->view.build_synthetic += synthetic;
	route->view.build_synthetic_mismatches += synthetic && mismatch;
	route->view.watch = cusum_step(route->view.watch, route->likelihood, mismatch);
}

static void count_not_comparable(struct facts_route *route, unsigned reason)
{
	route->view.now.not_comparable[reason]++;
	route->view.total.not_comparable[reason]++;
}

/* --- the comparer --------------------------------------------------------------------------------------- */

struct comparer {
	struct facts *facts;
	struct compare_scratch *scratch;
	struct json_tokens tokens; /* for shapes */
	struct compare_result result;
	struct compare_result control; /* legacy against legacy */
};

static struct compare_message message_of(const struct exchange *exchange,
					 const struct exchange_message *message)
{
	return (struct compare_message){
		.status = message->status,
		.fields = message->fields,
		.field_count = message->field_count,
		.body = buf_slice(&message->body),
		.is_head = exchange->method == PHX_METHOD_HEAD,
	};
}

/* What is to be counted about one exchange. */
struct finding {
	bool comparable, mismatch;
	unsigned reason;   /* when not comparable */
	const char *whole; /* the exchange as a whole differs: kind of the one difference */
};

/* A shadow that failed where the served side was fine is a mismatch, and so is modern failing live. */
static struct finding judge(struct comparer *comparer, struct exchange *exchange,
			    struct definition *definition)
{
	enum exchange_outcome outcome = exchange->outcome;
	compare_result_init(&comparer->result);
	if (exchange_outcome_is_mismatch(outcome))
		return (struct finding){true, true, 0, exchange_outcome_word(outcome)};
	if (outcome != EXCHANGE_COMPARABLE)
		return (struct finding){false, false, outcome, NULL};
	struct compare_message legacy = message_of(exchange, exchange_response(exchange, PHX_LEGACY));
	struct compare_message modern = message_of(exchange, exchange_response(exchange, PHX_MODERN));
	compare_messages(definition->plan, comparer->scratch, &legacy, &modern, &comparer->result);
	if (comparer->result.verdict == COMPARE_NOT_COMPARABLE)
		return (struct finding){false, false, reason_of(comparer->result.reason), NULL};
	return (struct finding){true, comparer->result.verdict == COMPARE_MISMATCH, 0, NULL};
}

/* Which of the kept differences should become an example, and which of them the smallest one: bits. */
struct wanted {
	uint32_t shown, smallest;
};

static void want(struct wanted *wanted, uint32_t i, const struct difference_group *group,
		 const struct exchange *exchange)
{
	if (difference_group_wants(group, exchange->wall_ns))
		wanted->shown |= 1u << i;
	if (difference_group_wants_smallest(group, example_size(exchange)))
		wanted->smallest |= 1u << i;
}

static void count_differences(struct comparer *comparer, struct facts_route *route, struct exchange *exchange,
			      const struct finding *finding, struct wanted *wanted)
{
	struct difference_set *set = &route->differences;
	struct compare_result *result = &comparer->result;
	uint64_t bits[DIFFERENCE_GROUPS_MAX / 64] = {0};
	uint32_t counted = 0;
	if (finding->whole) {
		int group = difference_set_count(set, SLICE("response"), finding->whole, false,
						 exchange->step, exchange->wall_ns);
		if (group >= 0) {
			bits[group / 64] |= UINT64_C(1) << (group % 64);
			want(wanted, 0, set->groups[group], exchange);
		} else {
			set->signatures_lost++;
			return;
		}
		difference_set_sign(set, bits);
		return;
	}
	for (uint32_t i = 0; i < result->kept; i++) {
		const struct compare_difference *d = &result->differences[i];
		int group = difference_set_count(set, d->general, compare_kind_word(d->kind), d->ignored,
						 exchange->step, exchange->wall_ns);
		if (group < 0)
			continue;
		want(wanted, i, set->groups[group], exchange);
		if (!d->ignored) {
			bits[group / 64] |= UINT64_C(1) << (group % 64);
			counted++;
		}
	}
	/* A mismatch of which only a part is known must not be taken for one that can be silenced. */
	if (finding->mismatch && counted == result->different)
		difference_set_sign(set, bits);
	else if (finding->mismatch)
		set->signatures_lost++;
}

/* Makes the example outside the lock; the group may be gone when it is done. */
static void keep_example(struct comparer *comparer, struct exchange *exchange, struct definition *definition,
			 const struct compare_difference *d, const char *kind, enum example_purpose purpose)
{
	struct facts *facts = comparer->facts;
	size_t bytes = 0;
	json_t *example = example_make(definition->plan, comparer->scratch, exchange, d, purpose, &bytes);
	if (!example)
		return;
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find_current(facts, exchange);
	struct difference_group *group =
		route ? difference_set_find(&route->differences, d->general, kind) : NULL;
	if (group && facts->example_bytes + bytes <= FACTS_EXAMPLE_BYTES_MAX) {
		int64_t grown = purpose == EXAMPLE_CASE
					? difference_group_keep_smallest(group, example, bytes,
									 example_size(exchange))
					: difference_group_keep(group, example, bytes, exchange->wall_ns);
		facts->example_bytes += (uint64_t)grown;
		example = NULL;
	}
	pthread_mutex_unlock(&facts->lock);
	json_decref(example);
}

static void keep_examples(struct comparer *comparer, struct exchange *exchange, struct definition *definition,
			  const struct finding *finding, const struct wanted *wanted)
{
	struct compare_difference whole = {
		.pointer = SLICE("response"),
		.general = SLICE("response"),
		.legacy = example_side_word(exchange, PHX_LEGACY),
		.modern = example_side_word(exchange, PHX_MODERN),
	};
	for (uint32_t i = 0; i < COMPARE_DIFFERENCES_MAX; i++) {
		const struct compare_difference *d =
			finding->whole ? &whole : &comparer->result.differences[i];
		const char *kind = finding->whole ? finding->whole : compare_kind_word(d->kind);
		if (wanted->shown >> i & 1)
			keep_example(comparer, exchange, definition, d, kind, EXAMPLE_SHOWN);
		if (wanted->smallest >> i & 1)
			keep_example(comparer, exchange, definition, d, kind, EXAMPLE_CASE);
	}
}

/* Legacy's two answers, when it was asked twice. */
static void judge_control(struct comparer *comparer, struct exchange *exchange, struct definition *definition)
{
	struct compare_message first = message_of(exchange, exchange_response(exchange, PHX_LEGACY));
	struct compare_message second = message_of(exchange, &exchange->control);
	compare_messages(definition->plan, comparer->scratch, &first, &second, &comparer->control);
}

/* What is known about an exchange when it is counted. */
struct taken {
	struct finding finding;
	uint64_t shape;
	struct buf shape_name; /* empty when the shape is known already */
	bool control;
};

/* Under the lock. */
static void count_all(struct comparer *comparer, struct facts_route *route, struct exchange *exchange,
		      struct taken *taken, struct wanted *wanted)
{
	const struct finding *finding = &taken->finding;
	if (taken->control)
		comparer->facts->noise_news |=
			noise_count(&route->noise, &comparer->control, exchange->step, exchange->wall_ns);
	if (!finding->comparable) {
		count_not_comparable(route, finding->reason);
		return;
	}
	count_sample(route, exchange, finding->mismatch);
	shape_table_count(&route->shapes, taken->shape, buf_cstr(&taken->shape_name), finding->mismatch);
	split_keys_count(&route->keys, exchange->split_hash, exchange->side);
	count_differences(comparer, route, exchange, finding, wanted);
}

static void keep_sample(struct comparer *comparer, struct exchange *exchange, struct definition *definition,
			int place)
{
	struct facts *facts = comparer->facts;
	size_t bytes = 0;
	json_t *sample = example_make_request(definition->plan, comparer->scratch, exchange, &bytes);
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find_current(facts, exchange);
	if (route && sample) {
		sample_set_keep(&route->samples, place, sample, bytes, &facts->sample_bytes);
		sample = NULL;
	}
	pthread_mutex_unlock(&facts->lock);
	json_decref(sample);
}

static void take_in(struct comparer *comparer, struct exchange *exchange)
{
	struct facts *facts = comparer->facts;
	struct definition *definition = NULL;
	struct shape_input input = {
		.method = buf_slice(&exchange->method_name),
		.target = buf_slice(&exchange->target),
		.body = buf_slice(&exchange->request.body),
		.status = exchange->served.status,
	};
	struct taken taken = {.shape = shape_hash(&input, facts->shape_key, &comparer->tokens)};
	bool known = true;
	pthread_mutex_lock(&facts->lock);
	struct facts_route *route = find_current(facts, exchange);
	if (route) {
		definition = definition_get(route->definition);
		known = shape_table_knows(&route->shapes, taken.shape);
	}
	pthread_mutex_unlock(&facts->lock);
	if (!definition)
		return;
	if (!known)
		shape_describe(&input, &comparer->tokens, &taken.shape_name);
	taken.finding = judge(comparer, exchange, definition);
	taken.control = taken.finding.comparable && exchange->control.status > 0;
	if (taken.control)
		judge_control(comparer, exchange, definition);

	struct wanted wanted = {0};
	int place = -1;
	pthread_mutex_lock(&facts->lock);
	route = find_current(facts, exchange);
	if (route) {
		count_all(comparer, route, exchange, &taken, &wanted);
		if (taken.finding.comparable)
			place = sample_set_place(&route->samples, exchange);
		mark_dirty(facts, route, exchange->slot);
	}
	pthread_mutex_unlock(&facts->lock);
	if (wanted.shown | wanted.smallest)
		keep_examples(comparer, exchange, definition, &taken.finding, &wanted);
	if (place >= 0)
		keep_sample(comparer, exchange, definition, place);
	buf_fini(&taken.shape_name);
	compare_result_fini(&comparer->result);
	compare_result_fini(&comparer->control);
	definition_put(definition);
}

static void *run(void *argument)
{
	struct facts *facts = argument;
	struct comparer comparer = {.facts = facts, .scratch = compare_scratch_create()};
	if (!comparer.scratch)
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
				take_in(&comparer, oldest);
			exchange_destroy(oldest);
			atomic_fetch_sub(&facts->queued, 1);
			oldest = next;
		}
	}
	compare_scratch_destroy(comparer.scratch);
	json_tokens_fini(&comparer.tokens);
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
		out->top_shape = route->shapes.top;
		memcpy(out->keys, route->keys.served, sizeof(out->keys));
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * comparer: what becomes of one exchange (facts_internal.h): it is compared with nothing held, then counted
 * under the lock of the facts, and what it shows is kept: an example of a difference, a sample of the
 * traffic.
 *
 * Between these the ground may shift (facts.c): so the route is looked up again before anything is written.
 */
#include "control/facts_internal.h"

#include "control/example.h"
#include "judge/shape.h"

bool comparer_init(struct comparer *comparer, struct facts *facts)
{
	*comparer = (struct comparer){.facts = facts, .scratch = compare_scratch_create()};
	return comparer->scratch != NULL;
}

void comparer_fini(struct comparer *comparer)
{
	compare_scratch_destroy(comparer->scratch);
	json_tokens_fini(&comparer->tokens);
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

static void count_sample(struct facts_route *route, const struct exchange *exchange, bool mismatch)
{
	bool synthetic = exchange->synthetic;
	/* Equal answers have one status. */
	bool error = mismatch || exchange->served.status >= 400;
	struct facts_counts *both[] = {&route->view.now, &route->view.total};
	for (unsigned i = 0; i < 2; i++) {
		both[i]->samples++;
		both[i]->mismatches += mismatch;
		both[i]->synthetic += synthetic;
		both[i]->synthetic_mismatches += synthetic && mismatch;
		both[i]->errors += error;
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

/* --- judging ------------------------------------------------------------------------------------------- */

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

/*
 * A shadow that failed where the served side was fine is a mismatch, and so is modern failing live. Where
 * both fail nobody has shown what is right: such a sample is neither a match nor a mismatch.
 */
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
	if (legacy.status >= 500 && modern.status >= 500)
		return (struct finding){false, false, FACTS_BOTH_FAILED, NULL};
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
	struct facts_route *route = facts_find_current(facts, exchange);
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
	struct facts_route *route = facts_find_current(facts, exchange);
	if (route && sample) {
		sample_set_keep(&route->samples, place, sample, bytes, &facts->sample_bytes);
		sample = NULL;
	}
	pthread_mutex_unlock(&facts->lock);
	json_decref(sample);
}

void comparer_take_in(struct comparer *comparer, struct exchange *exchange)
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
	struct facts_route *route = facts_find_current(facts, exchange);
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
	route = facts_find_current(facts, exchange);
	if (route) {
		count_all(comparer, route, exchange, &taken, &wanted);
		if (taken.finding.comparable)
			place = sample_set_place(&route->samples, exchange);
		facts_mark_dirty(facts, route, exchange->slot);
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

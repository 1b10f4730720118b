/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare_json: the walk through two JSON documents side by side.
 *
 * Subtrees with the same bytes are equal and are not entered. Everything else is compared by meaning, and the
 * walk knows three things about where it stands: the path (for reports), the nodes of the pointer tree that
 * match it, and the rules inherited from above. It recurses at most as deep as the tokenizer let pass.
 *
 * A difference under an `ignore` rule is reported as ignored. Under a `redact` rule there is one report for
 * the redacted place as a whole, since even the names below it may be secrets.
 *
 * The work is counted in steps and bounded by the size of the documents: whatever hostile bodies come, the
 * walk ends soon, with "too complex" instead of a verdict.
 */
#include "judge/compare_internal.h"

#include <stdio.h>

#define WORK_PER_TOKEN 16
#define WORK_BASE      (1u << 20)

static void push_name(struct walk *w, const struct side *side, uint32_t name)
{
	const struct json_token *t = token_at(side, name);
	w->path[w->depth++] = (struct step){.name = json_token_text(side->text, t), .escaped = t->escaped};
}

static void push_index(struct walk *w, uint32_t index)
{
	w->path[w->depth++] = (struct step){.index = index, .element = true};
}

static void walk_object(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules)
{
	struct compare_scratch *scratch = w->scratch;
	size_t base = scratch->pair_count;
	if (!match_members(w, a, b)) {
		scratch->pair_count = base;
		return;
	}
	uint32_t members = token_at(w->legacy, a)->count;
	uint32_t name = a + 1;
	for (uint32_t i = 0; i < members && !walk_stopped(w); i++) {
		/* Read anew each time: the walk below may move the stack. */
		uint32_t other = scratch->pairs[base + i];
		struct pointer_state state = enter_member(w->plan, scratch, w->legacy, at, name);
		push_name(w, w->legacy, name);
		if (other == NO_TOKEN)
			report_json(w, COMPARE_KIND_MISSING, name + 1, NO_TOKEN, state, rules | state.flags);
		else
			walk_value(w, name + 1, other + 1, state, rules);
		w->depth--;
		pointer_leave(&scratch->pointers, state);
		name = token_at(w->legacy, name + 1)->next;
	}
	for (size_t i = base + members; i < scratch->pair_count && !walk_stopped(w); i++) {
		uint32_t added = scratch->pairs[i];
		struct pointer_state state = enter_member(w->plan, scratch, w->modern, at, added);
		push_name(w, w->modern, added);
		report_json(w, COMPARE_KIND_ADDED, NO_TOKEN, added + 1, state, rules | state.flags);
		w->depth--;
		pointer_leave(&scratch->pointers, state);
	}
	scratch->pair_count = base;
}

/* Are the elements from..to all under an ignore rule? */
static bool elements_ignored(struct walk *w, struct pointer_state at, uint32_t from, uint32_t to)
{
	bool all = at.count != 0;
	for (uint32_t i = from; i < to && all; i++) {
		struct pointer_state state = pointer_element(w->plan->pointers, &w->scratch->pointers, at, i);
		all = state.flags & RULE_IGNORE;
		pointer_leave(&w->scratch->pointers, state);
	}
	return all;
}

static void report_length(struct walk *w, uint32_t legacy, uint32_t modern, struct pointer_state at,
			  uint32_t rules)
{
	char texts[2][32];
	uint32_t shorter = legacy < modern ? legacy : modern, longer = legacy < modern ? modern : legacy;
	if (elements_ignored(w, at, shorter, longer))
		rules |= RULE_IGNORE;
	snprintf(texts[0], sizeof(texts[0]), "%u element%s", legacy, legacy == 1 ? "" : "s");
	snprintf(texts[1], sizeof(texts[1]), "%u element%s", modern, modern == 1 ? "" : "s");
	report_json_text(w, COMPARE_KIND_LENGTH, rules, slice_str(texts[0]), slice_str(texts[1]));
}

static void walk_array(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules)
{
	struct pointer_stack *stack = &w->scratch->pointers;
	uint32_t legacy = token_at(w->legacy, a)->count, modern = token_at(w->modern, b)->count;
	uint32_t common = legacy < modern ? legacy : modern;
	struct report_mark mark = report_mark(w->result);

	if (legacy != modern)
		report_length(w, legacy, modern, at, rules);
	uint32_t x = a + 1, y = b + 1;
	for (uint32_t i = 0; i < common && !walk_stopped(w); i++) {
		struct pointer_state state = pointer_element(w->plan->pointers, stack, at, i);
		push_index(w, i);
		walk_value(w, x, y, state, rules);
		w->depth--;
		pointer_leave(stack, state);
		x = token_at(w->legacy, x)->next;
		y = token_at(w->modern, y)->next;
	}
	/* Many differences that are really one: the same elements in another order. A kindness to the reader,
	 * which must not use up the work that a verdict may need. */
	if (w->quiet || legacy != modern || legacy < 2 || walk_stopped(w) || w->work > w->work_max / 2)
		return;
	/* What an inner rule ignored must not come back as a difference in order. */
	uint32_t found = rules & RULE_IGNORE ? w->result->ignored - mark.ignored
					     : w->result->different - mark.different;
	if (found < 2)
		return;
	if (same_elements(w, a, b, at)) {
		report_take_back(w->result, mark);
		report_json(w, COMPARE_KIND_ORDER, a, b, at, rules);
	}
}

static void walk_inside(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules)
{
	if (token_at(w->legacy, a)->type == JSON_TOKEN_OBJECT)
		walk_object(w, a, b, at, rules);
	else if (at.flags & RULE_UNORDERED)
		walk_unordered(w, a, b, at, rules);
	else
		walk_array(w, a, b, at, rules);
}

/* A redacted container: whether it differs, in one report. */
static void walk_redacted(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules)
{
	struct report_mark mark = report_mark(w->result);
	bool quiet = w->quiet;
	w->quiet = true;
	walk_inside(w, a, b, at, rules);
	w->quiet = quiet;
	bool different = w->result->different > mark.different, ignored = w->result->ignored > mark.ignored;
	report_take_back(w->result, mark);
	if (different || ignored)
		report_json(w, COMPARE_KIND_VALUE, a, b, at, different ? rules : rules | RULE_IGNORE);
}

static void walk_container(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules)
{
	struct report_mark mark = report_mark(w->result);
	uint32_t depth = w->depth, pointers = w->scratch->pointers.len;

	if (rules & RULE_REDACT)
		walk_redacted(w, a, b, at, rules);
	else
		walk_inside(w, a, b, at, rules);

	/* A name used twice below an ignored place is no reason to distrust the whole body. */
	if (w->duplicate && (rules & RULE_IGNORE)) {
		w->duplicate = false;
		w->depth = depth;
		w->scratch->pointers.len = pointers;
		report_take_back(w->result, mark);
		report_json(w, COMPARE_KIND_VALUE, a, b, at, rules);
	}
}

static bool numbers_equal(const struct walk *w, struct slice a, struct slice b)
{
	if (number_tolerance_is_zero(&w->plan->tolerance))
		return number_equal(a, b);
	return number_within(a, b, &w->plan->tolerance);
}

void walk_value(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules)
{
	const struct json_token *ta = token_at(w->legacy, a), *tb = token_at(w->modern, b);
	if (!walk_work(w, 1))
		return;
	/* Rules hold for the whole subtree, but "unordered" is about this one array. */
	rules |= at.flags & (RULE_IGNORE | RULE_REDACT);
	struct slice text_a = json_token_text(w->legacy->text, ta),
		     text_b = json_token_text(w->modern->text, tb);
	if (ta->type == tb->type && slice_equal(text_a, text_b))
		return;
	bool boolean = (ta->type == JSON_TOKEN_TRUE || ta->type == JSON_TOKEN_FALSE) &&
		       (tb->type == JSON_TOKEN_TRUE || tb->type == JSON_TOKEN_FALSE);
	if (ta->type != tb->type && !boolean) {
		report_json(w, COMPARE_KIND_TYPE, a, b, at, rules);
		return;
	}
	switch ((enum json_token_type)ta->type) {
	case JSON_TOKEN_ARRAY:
	case JSON_TOKEN_OBJECT:
		walk_container(w, a, b, at, rules);
		return;
	case JSON_TOKEN_NUMBER:
		if (numbers_equal(w, text_a, text_b))
			return;
		break;
	case JSON_TOKEN_STRING:
		if (json_string_equal(text_a, ta->escaped, text_b, tb->escaped))
			return;
		break;
	case JSON_TOKEN_NULL:
	case JSON_TOKEN_TRUE:
	case JSON_TOKEN_FALSE:
		break;
	}
	report_json(w, COMPARE_KIND_VALUE, a, b, at, rules);
}

bool walk_differs(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules)
{
	struct report_mark mark = report_mark(w->result);
	bool quiet = w->quiet, first = w->first, satisfied = w->satisfied;
	w->quiet = w->first = true;
	w->satisfied = false;
	walk_value(w, a, b, at, rules & ~(uint32_t)RULE_IGNORE);
	w->quiet = quiet;
	w->first = first;
	w->satisfied = satisfied;
	bool differs = w->result->different > mark.different;
	report_take_back(w->result, mark);
	return differs;
}

bool walk_documents(struct walk *w)
{
	struct report_mark mark = report_mark(w->result);
	w->work_max =
		WORK_BASE + WORK_PER_TOKEN * ((uint64_t)w->legacy->tokens.count + w->modern->tokens.count);
	w->scratch->pair_count = 0;
	w->scratch->element_count = 0;
	w->scratch->pointers.failed = false;
	struct pointer_state root = pointer_begin(w->plan->pointers, &w->scratch->pointers);
	walk_value(w, 0, 0, root, 0);
	if (w->scratch->pointers.failed || w->scratch->name.failed)
		walk_fail(w, COMPARE_REASON_NO_MEMORY);
	if (w->duplicate)
		report_take_back(w->result, mark);
	return !w->duplicate;
}

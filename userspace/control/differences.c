/* SPDX-License-Identifier: Apache-2.0 */
/*
 * differences: see differences.h.
 *
 * Whether a rule covers a group is asked with the group's generalised place: its "*" stands for every index,
 * so only a rule's own "*" may match it. A rule for one index alone therefore never counts as covering.
 */
#include "control/differences.h"

#include "base/clock.h"
#include "base/siphash.h"
#include "control/value.h"
#include "judge/pointer.h"

#include <stdlib.h>

/* Only to make the search short; who fills the table with collisions still pays 256 comparisons at most. */
static const uint8_t group_key[SIPHASH_KEY_SIZE] = "phoenix-groups";

void difference_set_fini(struct difference_set *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		struct difference_group *group = set->groups[i];
		for (unsigned e = 0; e < group->examples; e++)
			json_decref(group->example[e]);
		json_decref(group->smallest);
		free(group->pointer);
		free(group);
	}
	free(set->signatures);
	memset(set, 0, sizeof(*set));
}

static struct difference_group *group_create(struct slice pointer, const char *kind, uint64_t hash)
{
	struct difference_group *group = calloc(1, sizeof(*group));
	if (!group)
		return NULL;
	group->pointer = strndup(pointer.len ? pointer.ptr : "", pointer.len);
	if (!group->pointer) {
		free(group);
		return NULL;
	}
	group->kind = kind;
	group->hash = hash;
	return group;
}

/* The index, or `count` when there is none. */
static unsigned find_group(const struct difference_set *set, struct slice pointer, const char *kind,
			   uint64_t hash)
{
	unsigned i = 0;
	for (; i < set->count; i++) {
		const struct difference_group *g = set->groups[i];
		if (g->hash == hash && strcmp(g->kind, kind) == 0 &&
		    slice_equal(slice_str(g->pointer), pointer))
			break;
	}
	return i;
}

struct difference_group *difference_set_find(const struct difference_set *set, struct slice pointer,
					     const char *kind)
{
	unsigned i = find_group(set, pointer, kind, siphash24(group_key, pointer.ptr, pointer.len));
	return i < set->count ? set->groups[i] : NULL;
}

int difference_set_count(struct difference_set *set, struct slice pointer, const char *kind, bool ignored,
			 uint32_t step, uint64_t wall_ns)
{
	uint64_t hash = siphash24(group_key, pointer.ptr, pointer.len);
	unsigned i = find_group(set, pointer, kind, hash);
	struct difference_group *group = i < set->count ? set->groups[i] : NULL;
	if (!group) {
		if (set->count < DIFFERENCE_GROUPS_MAX)
			group = group_create(pointer, kind, hash);
		if (!group) {
			set->groups_lost++;
			return -1;
		}
		group->first_wall_ns = wall_ns;
		set->groups[set->count++] = group;
	}
	group->ignored = ignored;
	group->count++;
	if (group->step != step) {
		group->step = step;
		group->step_count = 0;
	}
	group->step_count++;
	group->last_wall_ns = wall_ns;
	return (int)i;
}

bool difference_group_wants(const struct difference_group *group, uint64_t wall_ns)
{
	return group->examples < DIFFERENCE_EXAMPLES_MAX || wall_ns > group->example_wall_ns + NS_PER_SEC;
}

int64_t difference_group_keep(struct difference_group *group, json_t *example, size_t bytes, uint64_t wall_ns)
{
	int64_t grown = (int64_t)bytes;
	unsigned at = group->examples;
	if (at == DIFFERENCE_EXAMPLES_MAX) {
		at--;
		grown -= (int64_t)group->example_bytes[at];
		json_decref(group->example[at]);
	} else {
		group->examples++;
	}
	group->example[at] = example;
	group->example_bytes[at] = bytes;
	group->example_wall_ns = wall_ns;
	return grown;
}

bool difference_group_wants_smallest(const struct difference_group *group, size_t size)
{
	return !group->smallest || size < group->smallest_size;
}

int64_t difference_group_keep_smallest(struct difference_group *group, json_t *example, size_t bytes,
				       size_t size)
{
	int64_t grown = (int64_t)bytes - (int64_t)group->smallest_bytes;
	json_decref(group->smallest);
	group->smallest = example;
	group->smallest_bytes = bytes;
	group->smallest_size = size;
	return grown;
}

size_t difference_set_bytes(const struct difference_set *set)
{
	size_t bytes = 0;
	for (unsigned i = 0; i < set->count; i++) {
		for (unsigned e = 0; e < set->groups[i]->examples; e++)
			bytes += set->groups[i]->example_bytes[e];
		bytes += set->groups[i]->smallest_bytes;
	}
	return bytes;
}

void difference_set_sign(struct difference_set *set, const uint64_t bits[DIFFERENCE_GROUPS_MAX / 64])
{
	for (unsigned i = 0; i < set->signature_count; i++) {
		if (memcmp(set->signatures[i].bits, bits, sizeof(set->signatures[i].bits)) == 0) {
			set->signatures[i].count++;
			return;
		}
	}
	if (!set->signatures)
		set->signatures = calloc(DIFFERENCE_SIGNATURES_MAX, sizeof(*set->signatures));
	if (!set->signatures || set->signature_count == DIFFERENCE_SIGNATURES_MAX) {
		set->signatures_lost++;
		return;
	}
	struct difference_signature *signature = &set->signatures[set->signature_count++];
	memcpy(signature->bits, bits, sizeof(signature->bits));
	signature->count = 1;
}

static int by_count(const void *a, const void *b)
{
	const struct difference_group *x = *(struct difference_group *const *)a;
	const struct difference_group *y = *(struct difference_group *const *)b;
	return x->count < y->count ? 1 : x->count > y->count ? -1 : strcmp(x->pointer, y->pointer);
}

static json_t *group_to_json(const struct difference_group *group)
{
	struct buf key = {0};
	buf_printf(&key, "%s %s", group->kind, group->pointer);
	json_t *examples = json_array();
	for (unsigned i = 0; examples && i < group->examples; i++)
		json_array_append(examples, group->example[i]);
	json_t *json =
		json_pack("{s:o, s:o, s:s, s:I, s:o, s:o, s:b, s:o, s:o}", "key", json_text(buf_slice(&key)),
			  "pointer", json_text(slice_str(group->pointer)), "kind", group->kind, "count",
			  (json_int_t)group->count, "first_at", json_time(group->first_wall_ns), "last_at",
			  json_time(group->last_wall_ns), "ignored", group->ignored, "examples", examples,
			  "smallest", group->smallest ? json_incref(group->smallest) : json_null());
	buf_fini(&key);
	return json;
}

json_t *difference_set_to_json(const struct difference_set *set)
{
	struct difference_group *sorted[DIFFERENCE_GROUPS_MAX];
	memcpy(sorted, set->groups, set->count * sizeof(*sorted));
	qsort(sorted, set->count, sizeof(*sorted), by_count);
	json_t *list = json_array();
	for (unsigned i = 0; list && i < set->count; i++)
		json_array_append_new(list, group_to_json(sorted[i]));
	return list;
}

json_t *difference_set_top(const struct difference_set *set, uint32_t step, unsigned max)
{
	json_t *list = json_array();
	bool taken[DIFFERENCE_GROUPS_MAX] = {false};
	while (list && json_array_size(list) < max) {
		int best = -1;
		for (unsigned i = 0; i < set->count; i++) {
			const struct difference_group *g = set->groups[i];
			if (!taken[i] && !g->ignored && g->step == step &&
			    (best < 0 || g->step_count > set->groups[best]->step_count))
				best = (int)i;
		}
		if (best < 0)
			break;
		taken[best] = true;
		const struct difference_group *g = set->groups[best];
		json_array_append_new(list, json_pack("{s:o, s:s, s:I}", "pointer",
						      json_text(slice_str(g->pointer)), "kind", g->kind,
						      "count", (json_int_t)g->step_count));
	}
	return list;
}

/* Does a rule of the set lie at the place or above it? */
static bool is_covered(const struct pointer_set *rules, struct pointer_stack *stack, const char *place)
{
	if (*place && *place != '/')
		return false; /* "status", "header:…": no place in a document */
	struct pointer_state state = pointer_begin(rules, stack);
	bool covered = state.flags != 0;
	struct buf name = {0};
	while (!covered && *place == '/') {
		place++;
		size_t len = strcspn(place, "/");
		if (len == 1 && *place == '*') {
			state = pointer_element(rules, stack, state, UINT32_MAX);
		} else {
			buf_reset(&name);
			for (size_t i = 0; i < len; i++) {
				bool escape = place[i] == '~' && i + 1 < len;
				buf_append_char(&name, !escape ? place[i] : place[++i] == '1' ? '/' : '~');
			}
			state = pointer_member(rules, stack, state, buf_slice(&name));
		}
		covered = state.flags != 0;
		place += len;
	}
	buf_fini(&name);
	return covered && !stack->failed;
}

static struct pointer_set *rules_of(char *const *pointers, size_t count, bool skip_wrong, const char **why)
{
	struct pointer_set *rules = pointer_set_create();
	if (!rules) {
		*why = "out of memory";
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		if (pointer_set_add(rules, slice_str(pointers[i]), 1, why) && !skip_wrong) {
			pointer_set_destroy(rules);
			return NULL;
		}
	}
	return rules;
}

json_t *difference_set_preview(const struct difference_set *set, char *const *pointers, size_t count,
			       const char **why)
{
	struct pointer_set *rules = rules_of(pointers, count, false, why);
	if (!rules)
		return NULL;
	struct pointer_stack stack = {0};
	uint64_t silent[DIFFERENCE_GROUPS_MAX / 64] = {0};
	json_int_t groups = 0, mismatches = 0, still = (json_int_t)set->signatures_lost;
	for (unsigned i = 0; i < set->count; i++) {
		if (!is_covered(rules, &stack, set->groups[i]->pointer))
			continue;
		silent[i / 64] |= UINT64_C(1) << (i % 64);
		groups += !set->groups[i]->ignored;
	}
	for (unsigned i = 0; i < set->signature_count; i++) {
		bool loud = false;
		for (unsigned w = 0; w < DIFFERENCE_GROUPS_MAX / 64; w++)
			loud |= (set->signatures[i].bits[w] & ~silent[w]) != 0;
		if (loud)
			still += (json_int_t)set->signatures[i].count;
		else
			mismatches += (json_int_t)set->signatures[i].count;
	}
	pointer_stack_fini(&stack);
	pointer_set_destroy(rules);
	return json_pack("{s:I, s:I, s:I}", "groups_silenced", groups, "mismatches_silenced", mismatches,
			 "still_mismatching", still);
}

void difference_set_ignore(struct difference_set *set, char *const *pointers, size_t count)
{
	const char *why;
	struct pointer_set *rules = rules_of(pointers, count, true, &why);
	if (!rules)
		return;
	struct pointer_stack stack = {0};
	for (unsigned i = 0; i < set->count; i++)
		set->groups[i]->ignored = is_covered(rules, &stack, set->groups[i]->pointer);
	pointer_stack_fini(&stack);
	pointer_set_destroy(rules);
}

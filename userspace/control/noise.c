/* SPDX-License-Identifier: Apache-2.0 */
/* noise: see noise.h. */
#include "control/noise.h"

#include "control/value.h"

#include <stdlib.h>

void noise_fini(struct noise *noise)
{
	difference_set_fini(&noise->places);
	*noise = (struct noise){0};
}

/* Can an ignore rule name it? "status" and "header:…" are no places in a document, and "" is all of it. */
static bool is_proposed(const struct difference_group *group, uint64_t hits)
{
	return !group->ignored && group->pointer[0] == '/' && group->count >= hits;
}

static bool look_for_proposals(struct noise *noise)
{
	unsigned proposals_before = noise->proposals;
	bool applicable_before = noise->applicable;
	noise->proposals = 0;
	noise->applicable = false;
	for (unsigned i = 0; i < noise->places.count; i++) {
		noise->proposals += is_proposed(noise->places.groups[i], NOISE_HITS_PROPOSE);
		noise->applicable |= noise->samples >= NOISE_SAMPLES_APPLY &&
				     is_proposed(noise->places.groups[i], NOISE_HITS_APPLY);
	}
	return noise->proposals != proposals_before || noise->applicable != applicable_before;
}

bool noise_count(struct noise *noise, const struct compare_result *result, uint32_t step, uint64_t wall_ns)
{
	if (result->verdict == COMPARE_NOT_COMPARABLE)
		return false;
	noise->samples++;
	noise->differing += result->different > 0;
	for (uint32_t i = 0; i < result->kept; i++) {
		const struct compare_difference *d = &result->differences[i];
		bool seen = false; /* one array with a hundred random ids is one answer that differs */
		for (uint32_t j = 0; j < i; j++)
			seen |= result->differences[j].kind == d->kind &&
				slice_equal(result->differences[j].general, d->general);
		if (!seen)
			difference_set_count(&noise->places, d->general, compare_kind_word(d->kind),
					     d->ignored, step, wall_ns);
	}
	return look_for_proposals(noise);
}

void noise_ignore(struct noise *noise, char *const *pointers, size_t count)
{
	difference_set_ignore(&noise->places, pointers, count);
	look_for_proposals(noise);
}

json_t *noise_proposals(const struct noise *noise, bool apply)
{
	uint64_t hits = apply ? NOISE_HITS_APPLY : NOISE_HITS_PROPOSE;
	json_t *list = json_array();
	for (unsigned i = 0; list && i < noise->places.count; i++) {
		const struct difference_group *group = noise->places.groups[i];
		bool there = false;
		for (unsigned j = 0; j < i; j++)
			there |= is_proposed(noise->places.groups[j], hits) &&
				 strcmp(noise->places.groups[j]->pointer, group->pointer) == 0;
		if (!there && is_proposed(group, hits))
			json_array_append_new(list, json_text(slice_str(group->pointer)));
	}
	return list;
}

static json_t *places_to_json(const struct noise *noise)
{
	json_t *list = json_array();
	for (unsigned i = 0; list && i < noise->places.count; i++) {
		const struct difference_group *group = noise->places.groups[i];
		json_array_append_new(list,
				      json_pack("{s:o, s:s, s:I, s:b, s:b}", "pointer",
						json_text(slice_str(group->pointer)), "kind", group->kind,
						"count", (json_int_t)group->count, "ignored", group->ignored,
						"proposed", is_proposed(group, NOISE_HITS_PROPOSE)));
	}
	return list;
}

json_t *noise_to_json(const struct noise *noise, bool places)
{
	json_t *json = json_pack("{s:I, s:I, s:o, s:o}", "samples", (json_int_t)noise->samples, "differing",
				 (json_int_t)noise->differing, "ratio",
				 noise->samples ? json_real((double)noise->differing / (double)noise->samples)
						: json_null(),
				 "proposed", noise_proposals(noise, false));
	if (json && places)
		json_object_set_new(json, "places", places_to_json(noise));
	return json;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * noise: where legacy disagrees with itself.
 *
 * A small share of the samples (mirror.control) is asked of legacy a second time. A place that differs
 * between the two answers differs whatever modern does: a clock, a random id, an order nobody promised. Such
 * places are proposed for the ignore list; whether they are put on it without a person is the route's policy
 * (compare.noise). Nothing is masked in secret: a difference counts until its place is on the list.
 *
 * Under the lock of facts.c.
 */
#ifndef PHOENIX_CONTROL_NOISE_H
#define PHOENIX_CONTROL_NOISE_H

#include "control/differences.h"
#include "judge/compare.h"

#define NOISE_HITS_PROPOSE  2 /* one difference may be a write that came between the two answers */
#define NOISE_HITS_APPLY    3
#define NOISE_SAMPLES_APPLY 20

struct noise {
	uint64_t samples;   /* exchanges that legacy answered twice */
	uint64_t differing; /* of these: with a difference that is not ignored */
	struct difference_set places;
	unsigned proposals; /* places that are proposed now */
	bool applicable;    /* compare.noise: apply has something to do */
};

void noise_fini(struct noise *noise);
/* Takes in the comparison of legacy's two answers. True when what is proposed changed by it. */
bool noise_count(struct noise *noise, const struct compare_result *result, uint32_t step, uint64_t wall_ns);
/* The ignore list changed. */
void noise_ignore(struct noise *noise, char *const *pointers, size_t count);
/* Places seen often enough, not ignored yet, and such that an ignore rule can name them. With `apply` those
 * that may be ignored without asking. An array of pointers, new reference. */
json_t *noise_proposals(const struct noise *noise, bool apply);
/* {"samples", "differing", "ratio", "proposed": […], "places": [{"pointer", "kind", "count", "ignored",
 * "proposed"}]}; `places` only when asked for. */
json_t *noise_to_json(const struct noise *noise, bool places);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * differences: what differed on a route, grouped by place and kind, with a few redacted examples of each, and
 * the smallest one whole.
 *
 * Bounded: so many groups, examples of each, and bytes of examples in all routes together; what does not fit
 * is counted. For "what would ignoring these pointers change?" each mismatch is also remembered as the set
 * of groups it touched (a signature), because a mismatch is only silenced when all its differences are.
 */
#ifndef PHOENIX_CONTROL_DIFFERENCES_H
#define PHOENIX_CONTROL_DIFFERENCES_H

#include "base/slice.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define DIFFERENCE_GROUPS_MAX	  256
#define DIFFERENCE_EXAMPLES_MAX	  5
#define DIFFERENCE_SIGNATURES_MAX 256

struct difference_group {
	uint64_t hash;
	char *pointer;	  /* generalised: "*" for array indices */
	const char *kind; /* a static word */
	bool ignored;
	uint64_t count;
	uint64_t step_count; /* in step `step` */
	uint32_t step;
	uint64_t first_wall_ns, last_wall_ns;
	unsigned examples;
	json_t *example[DIFFERENCE_EXAMPLES_MAX]; /* immutable objects */
	size_t example_bytes[DIFFERENCE_EXAMPLES_MAX];
	uint64_t example_wall_ns; /* when the newest was taken */
	json_t *smallest;	  /* the smallest exchange that showed it, whole: a test case; or NULL */
	size_t smallest_bytes;	  /* of the object */
	size_t smallest_size;	  /* example_size() of its exchange */
};

struct difference_signature {
	uint64_t bits[DIFFERENCE_GROUPS_MAX / 64];
	uint64_t count;
};

struct difference_set {
	struct difference_group *groups[DIFFERENCE_GROUPS_MAX];
	unsigned count;
	struct difference_signature *signatures;
	unsigned signature_count;
	uint64_t groups_lost;	  /* differences that found no group */
	uint64_t signatures_lost; /* mismatches that found no signature */
};

void difference_set_fini(struct difference_set *set);
/* Counts one difference. Returns the group's index, or -1 when there is no room. */
int difference_set_count(struct difference_set *set, struct slice pointer, const char *kind, bool ignored,
			 uint32_t step, uint64_t wall_ns);
/* NULL when there is none. */
struct difference_group *difference_set_find(const struct difference_set *set, struct slice pointer,
					     const char *kind);
/* Should the group get an example of what happens now? The first few, then the newest once a second. */
bool difference_group_wants(const struct difference_group *group, uint64_t wall_ns);
/* Takes the reference. Returns by how many bytes the examples grew (negative when they shrank). */
int64_t difference_group_keep(struct difference_group *group, json_t *example, size_t bytes,
			      uint64_t wall_ns);
/* Is an exchange of this size smaller than the smallest one so far? */
bool difference_group_wants_smallest(const struct difference_group *group, size_t size);
/* Takes the reference; the one before goes. Returns as difference_group_keep(). */
int64_t difference_group_keep_smallest(struct difference_group *group, json_t *example, size_t bytes,
				       size_t size);
/* Bytes of all examples. */
size_t difference_set_bytes(const struct difference_set *set);
/* Records which groups a mismatch touched. */
void difference_set_sign(struct difference_set *set, const uint64_t bits[DIFFERENCE_GROUPS_MAX / 64]);

/* "key", "pointer", "kind", "count", … of each group, the most frequent first, as GET …/diffs has it. */
json_t *difference_set_to_json(const struct difference_set *set);
/* The most frequent ones of this step that count, for the ledger: [{"pointer", "kind", "count"}]. */
json_t *difference_set_top(const struct difference_set *set, uint32_t step, unsigned max);
/* What ignoring these pointers would change: {"groups_silenced", "mismatches_silenced",
 * "still_mismatching"}. NULL with *why when a pointer is wrong. */
json_t *difference_set_preview(const struct difference_set *set, char *const *pointers, size_t count,
			       const char **why);
/* Marks the groups that these pointers cover as ignored, the others as not. Wrong pointers are skipped. */
void difference_set_ignore(struct difference_set *set, char *const *pointers, size_t count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diversity: how varied the samples of a step are: their request shapes, and the keys of a keyed split.
 *
 * Both are bounded tables that begin anew with each step. What finds no room is counted: it can only make the
 * samples look less varied than they are. Under the lock of facts.c.
 */
#ifndef PHOENIX_CONTROL_DIVERSITY_H
#define PHOENIX_CONTROL_DIVERSITY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SHAPES_MAX     64
#define SPLIT_KEYS_MAX 512

struct shape_count {
	uint64_t hash, samples, mismatches;
	char *name;
};

struct shape_table {
	struct shape_count *items; /* SHAPES_MAX of them; NULL until the first */
	unsigned count;
	uint64_t top;  /* samples of the most frequent shape */
	uint64_t lost; /* samples of shapes that found no room */
};

void shape_table_fini(struct shape_table *table);
void shape_table_reset(struct shape_table *table);
/* Is there an entry for this shape? Otherwise shape_table_count() wants its name. */
bool shape_table_knows(const struct shape_table *table, uint64_t hash);
/* Counts a sample; `name` (copied) is only looked at when the shape is new. */
void shape_table_count(struct shape_table *table, uint64_t hash, const char *name, bool mismatch);
/* [{"shape", "samples", "mismatches"}], the most frequent first; a new reference. */
json_t *shape_table_to_json(const struct shape_table *table);

/* Distinct keys of a keyed split, by the side that served them: one heavy user is one key. */
struct split_keys {
	uint64_t *items; /* open addressing; NULL until the first */
	uint64_t served[2];
};

void split_keys_fini(struct split_keys *keys);
void split_keys_reset(struct split_keys *keys);
/* The first SPLIT_KEYS_MAX keys are counted, the rest is left out: the first ones are a fair sample. */
void split_keys_count(struct split_keys *keys, uint64_t hash, unsigned side);

#endif

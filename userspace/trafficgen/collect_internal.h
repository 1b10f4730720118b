/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect_internal: a kind of requests, as collect.c finds it, collect_merge.c makes one of several, and
 * collect_plan.c writes it into the plan.
 */
#ifndef PHOENIX_TRAFFICGEN_COLLECT_INTERNAL_H
#define PHOENIX_TRAFFICGEN_COLLECT_INTERNAL_H

#include "trafficgen/collect.h"

#include "base/siphash.h"

#define SEGMENTS_MAX 64
#define COLUMNS_MAX  64
#define KINDS_ROOM   (COLLECT_KINDS_MAX * 2) /* merged kinds come on top */
#define PLACE	     '\1' /* stands for a value in a path; cannot be in a target that plan_takes() let pass */

struct row {
	char *values; /* columns one after another, each with its NUL */
	size_t bytes;
};

struct kind {
	char *key;
	size_t key_len;
	char *method, *path, *query; /* path: with PLACE; query: "a&b", "" when there is none */
	json_t *headers;
	char *body; /* NULL = none */
	size_t body_len;
	bool body_is_json;
	uint64_t count;		   /* records */
	uint16_t status[600 / 10]; /* bit map: 10 a word */
	struct row rows[COLLECT_ROWS_MAX];
	unsigned row_count;
	uint64_t rows_seen;
	bool merged;
};

struct collection {
	struct plan *plan;
	struct kind **kinds;
	size_t count;
	uint32_t *slots; /* index + 1 */
	size_t bytes;
	uint64_t first_ms, last_ms, timed;
	uint8_t hash_key[SIPHASH_KEY_SIZE];
};

/* The slot that holds the key, or the empty one where it would be. */
uint32_t *collection_find_slot(struct collection *c, struct slice key);
/* A copy that counts against the collection's budget; NULL when that or memory is used up. */
char *collection_keep(struct collection *c, struct slice text);
/* One row of values, if the reservoir takes it. 0 or -ENOMEM. */
int kind_keep_row(struct collection *c, struct kind *kind, struct slice values);
/* NULL-safe. */
void kind_destroy(struct kind *kind);
/* Makes one kind of those that differ in one word only, where there are many. *merged: was anything done? */
int collection_merge_round(struct collection *c, bool *merged);

/* One request of the scenario, and its variable. 0 or -ENOMEM. */
int kind_add(struct plan *plan, const struct kind *kind);

#endif

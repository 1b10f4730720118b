/* SPDX-License-Identifier: Apache-2.0 */
/* collect_internal: a kind of requests, as collect.c finds it and collect_plan.c writes it into the plan. */
#ifndef PHOENIX_TRAFFICGEN_COLLECT_INTERNAL_H
#define PHOENIX_TRAFFICGEN_COLLECT_INTERNAL_H

#include "trafficgen/collect.h"

#define SEGMENTS_MAX 64
#define COLUMNS_MAX  64
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

/* One request of the scenario, and its variable. 0 or -ENOMEM. */
int kind_add(struct plan *plan, const struct kind *kind);

#endif

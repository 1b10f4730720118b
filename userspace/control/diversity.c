/* SPDX-License-Identifier: Apache-2.0 */
/* diversity: see diversity.h. */
#include "control/diversity.h"

#include "control/value.h"

#include <stdlib.h>

#define KEY_SLOTS (2 * SPLIT_KEYS_MAX) /* a power of two, at most half full */

void shape_table_reset(struct shape_table *table)
{
	for (unsigned i = 0; i < table->count; i++)
		free(table->items[i].name);
	table->count = 0;
	table->top = table->lost = 0;
}

void shape_table_fini(struct shape_table *table)
{
	shape_table_reset(table);
	free(table->items);
	table->items = NULL;
}

static struct shape_count *find(const struct shape_table *table, uint64_t hash)
{
	for (unsigned i = 0; i < table->count; i++) {
		if (table->items[i].hash == hash)
			return &table->items[i];
	}
	return NULL;
}

bool shape_table_knows(const struct shape_table *table, uint64_t hash)
{
	return find(table, hash) != NULL;
}

void shape_table_count(struct shape_table *table, uint64_t hash, const char *name, bool mismatch)
{
	struct shape_count *shape = find(table, hash);
	if (!shape && !table->items)
		table->items = calloc(SHAPES_MAX, sizeof(*table->items));
	if (!shape && table->items && table->count < SHAPES_MAX) {
		shape = &table->items[table->count++];
		*shape = (struct shape_count){.hash = hash, .name = strdup(name)};
	}
	if (!shape) {
		table->lost++;
		return;
	}
	shape->samples++;
	shape->mismatches += mismatch;
	if (shape->samples > table->top)
		table->top = shape->samples;
}

static int by_samples(const void *a, const void *b)
{
	const struct shape_count *x = a, *y = b;
	return x->samples < y->samples ? 1 : x->samples > y->samples ? -1 : x->hash < y->hash ? -1 : 1;
}

json_t *shape_table_to_json(const struct shape_table *table)
{
	struct shape_count sorted[SHAPES_MAX];
	json_t *list = json_array();
	if (table->count) {
		memcpy(sorted, table->items, table->count * sizeof(*sorted));
		qsort(sorted, table->count, sizeof(*sorted), by_samples);
	}
	for (unsigned i = 0; list && i < table->count; i++)
		json_array_append_new(list,
				      json_pack("{s:o, s:I, s:I}", "shape",
						json_text(slice_str(sorted[i].name ? sorted[i].name : "")),
						"samples", (json_int_t)sorted[i].samples, "mismatches",
						(json_int_t)sorted[i].mismatches));
	return list;
}

void split_keys_reset(struct split_keys *keys)
{
	if (keys->served[0] + keys->served[1])
		memset(keys->items, 0, KEY_SLOTS * sizeof(*keys->items));
	keys->served[0] = keys->served[1] = 0;
}

void split_keys_fini(struct split_keys *keys)
{
	free(keys->items);
	*keys = (struct split_keys){0};
}

void split_keys_count(struct split_keys *keys, uint64_t hash, unsigned side)
{
	if (hash == 0)
		return; /* not a keyed request */
	if (!keys->items)
		keys->items = calloc(KEY_SLOTS, sizeof(*keys->items));
	if (!keys->items || keys->served[0] + keys->served[1] >= SPLIT_KEYS_MAX)
		return;
	/* The high bits decide the side; the low ones are free. */
	for (size_t i = hash % KEY_SLOTS;; i = (i + 1) % KEY_SLOTS) {
		if (keys->items[i] == hash)
			return;
		if (keys->items[i] == 0) {
			keys->items[i] = hash;
			keys->served[side != 0]++;
			return;
		}
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal: the last N things of a kind, as JSON objects: events, audit entries, a route's decisions.
 *
 * One thread. The oldest goes when the newest comes.
 */
#ifndef PHOENIX_CONTROL_JOURNAL_H
#define PHOENIX_CONTROL_JOURNAL_H

#include <jansson.h>
#include <stddef.h>

struct journal {
	json_t **items; /* a ring; NULL until the first entry */
	size_t max, count, first;
};

void journal_init(struct journal *journal, size_t max);
void journal_fini(struct journal *journal);
/* Takes the reference, also on failure (then the entry is lost; NULL is ignored). */
void journal_add(struct journal *journal, json_t *item);
/* index 0 is the oldest; borrowed. */
json_t *journal_at(const struct journal *journal, size_t index);
/* The newest `limit` entries (0 = all), oldest first, as a new array; NULL when out of memory. */
json_t *journal_list(const struct journal *journal, size_t limit);

#endif

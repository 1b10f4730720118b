/* SPDX-License-Identifier: Apache-2.0 */
/* journal: see journal.h. */
#include "control/journal.h"

#include <stdlib.h>

void journal_init(struct journal *journal, size_t max)
{
	*journal = (struct journal){.max = max};
}

void journal_fini(struct journal *journal)
{
	for (size_t i = 0; i < journal->count; i++)
		json_decref(journal_at(journal, i));
	free(journal->items);
	*journal = (struct journal){.max = journal->max};
}

json_t *journal_at(const struct journal *journal, size_t index)
{
	return journal->items[(journal->first + index) % journal->max];
}

void journal_add(struct journal *journal, json_t *item)
{
	if (!item)
		return;
	if (!journal->items)
		journal->items = calloc(journal->max, sizeof(*journal->items));
	if (!journal->items) {
		json_decref(item);
		return;
	}
	if (journal->count == journal->max) {
		json_decref(journal->items[journal->first]);
		journal->first = (journal->first + 1) % journal->max;
		journal->count--;
	}
	journal->items[(journal->first + journal->count) % journal->max] = item;
	journal->count++;
}

json_t *journal_list(const struct journal *journal, size_t limit)
{
	json_t *list = json_array();
	size_t from = limit && limit < journal->count ? journal->count - limit : 0;
	for (size_t i = from; list && i < journal->count; i++)
		json_array_append(list, journal_at(journal, i));
	return list;
}

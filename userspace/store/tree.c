/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree: records as one JSON object, and what "all or none" means there. See backend.h.
 *
 * A write looks at every record first; only when all have the epochs that were expected is a new tree made.
 * It is a copy of the two upper levels: the records themselves are shared with the old tree, which stays
 * whole until the new one is safe on the disk.
 */
#include "store/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *store_section_word(enum store_section section)
{
	static const char *const words[] = {
#define X(name, word, help) [STORE_##name] = word,
		STORE_SECTIONS(X)
#undef X
	};
	return section < STORE_SECTION_COUNT ? words[section] : "?";
}

/* --- records ---------------------------------------------------------------------------------------------
 */

int store_records_add(struct store_records *records, enum store_section section, const char *id,
		      json_t *value, uint64_t epoch)
{
	if (records->count == records->max) {
		size_t max = records->max ? 2 * records->max : 64;
		struct store_record *items = realloc(records->items, max * sizeof(*items));
		if (!items) {
			json_decref(value);
			return -ENOMEM;
		}
		records->items = items;
		records->max = max;
	}
	struct store_record *record = &records->items[records->count++];
	*record = (struct store_record){.section = section, .value = value, .epoch = epoch};
	strncpy(record->id, id, STORE_ID_MAX);
	return 0;
}

void store_records_fini(struct store_records *records)
{
	for (size_t i = 0; i < records->count; i++)
		json_decref(records->items[i].value);
	free(records->items);
	*records = (struct store_records){0};
}

void store_writes_fini(struct store_write *writes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		json_decref(writes[i].there);
		writes[i].there = NULL;
	}
}

void stale_complain(const struct store_write *writes, size_t count, struct buf *why)
{
	for (size_t i = 0; i < count; i++) {
		if (!writes[i].stale)
			continue;
		buf_printf(why,
			   "%s/%s was changed meanwhile: epoch %" PRIu64 " was expected, %" PRIu64
			   " is there",
			   store_section_word(writes[i].section), writes[i].id, writes[i].expected,
			   writes[i].epoch);
		return;
	}
}

/* --- the tree --------------------------------------------------------------------------------------------
 */

json_t *tree_create(void)
{
	return json_pack("{s:i, s:{}}", "fence", 0, "records");
}

static uint64_t number_of(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));
	return value > 0 ? (uint64_t)value : 0;
}

static int load_section(const json_t *list, enum store_section section, struct store_records *out,
			struct buf *why)
{
	const char *id;
	json_t *entry;
	json_object_foreach((json_t *)list, id, entry)
	{
		json_t *record = json_object_get(entry, "record");
		if (!json_is_object(record) || number_of(entry, "epoch") == 0 || strlen(id) > STORE_ID_MAX) {
			buf_printf(why, "is damaged: %s/%.64s is no record", store_section_word(section), id);
			return -EBADMSG;
		}
		if (store_records_add(out, section, id, json_incref(record), number_of(entry, "epoch")))
			return -ENOMEM;
	}
	return 0;
}

int tree_load(const json_t *tree, struct store_records *out, struct buf *why)
{
	const json_t *records = json_object_get(tree, "records");
	struct store_records found = {0};
	int err = 0;
	if (!json_is_object(records)) {
		buf_append_str(why, "is damaged: it has no \"records\"");
		return -EBADMSG;
	}
	for (unsigned s = 0; !err && s < STORE_SECTION_COUNT; s++)
		err = load_section(json_object_get(records, store_section_word((enum store_section)s)),
				   (enum store_section)s, &found, why);
	if (err)
		store_records_fini(&found);
	else
		*out = found;
	return err;
}

/* Marks the writes whose record is not as expected. */
static bool find_stale(const json_t *records, struct store_write *writes, size_t count)
{
	bool stale = false;
	for (size_t i = 0; i < count; i++) {
		struct store_write *write = &writes[i];
		const json_t *entry = json_object_get(
			json_object_get(records, store_section_word(write->section)), write->id);
		uint64_t epoch = number_of(entry, "epoch");
		if (epoch == write->expected)
			continue;
		write->stale = stale = true;
		write->epoch = epoch;
		write->there = json_incref(json_object_get(entry, "record"));
	}
	return stale;
}

/* A section of the new tree, copied from the old one when it is first needed. */
static json_t *own_section(json_t *records, const json_t *old, enum store_section section)
{
	const char *word = store_section_word(section);
	json_t *before = json_object_get(old, word), *now = json_object_get(records, word);
	if (now && now != before)
		return now;
	now = before ? json_copy(before) : json_object();
	return now && json_object_set_new(records, word, now) == 0 ? now : NULL;
}

static int put(json_t *records, const json_t *old, const struct store_write *write, uint64_t epoch)
{
	json_t *section = own_section(records, old, write->section);
	if (!section)
		return -ENOMEM;
	if (!write->value) {
		json_object_del(section, write->id);
		return 0;
	}
	json_t *entry =
		json_pack("{s:I, s:o}", "epoch", (json_int_t)epoch, "record", json_deep_copy(write->value));
	return entry && json_object_set_new(section, write->id, entry) == 0 ? 0 : -ENOMEM;
}

int tree_write(const json_t *tree, struct store_write *writes, size_t count, uint64_t fence, uint64_t epoch,
	       json_t **out, struct buf *why)
{
	const json_t *old = json_object_get(tree, "records");
	uint64_t seen = number_of(tree, "fence");
	if (fence && fence < seen) {
		buf_printf(why,
			   "refused: this gateway's lease (fence %" PRIu64
			   ") is over, another gateway leads (fence %" PRIu64 ")",
			   fence, seen);
		return -ENOLCK;
	}
	if (find_stale(old, writes, count)) {
		stale_complain(writes, count, why);
		return -ESTALE;
	}
	json_t *records = json_copy((json_t *)old);
	int err = records ? 0 : -ENOMEM;
	for (size_t i = 0; !err && i < count; i++)
		err = put(records, old, &writes[i], epoch);
	json_t *next = err ? NULL : json_copy((json_t *)tree);
	if (!next || json_object_set(next, "records", records) ||
	    (fence > seen && json_object_set_new(next, "fence", json_integer((json_int_t)fence))))
		err = -ENOMEM;
	json_decref(records);
	if (err) {
		json_decref(next);
		buf_append_str(why, "out of memory");
		return err;
	}
	for (size_t i = 0; i < count; i++)
		writes[i].epoch = writes[i].value ? epoch : 0;
	*out = next;
	return 0;
}

void tree_set(json_t *tree, enum store_section section, const char *id, const json_t *value, uint64_t epoch)
{
	json_t *records = json_object_get(tree, "records");
	const char *word = store_section_word(section);
	if (!json_object_get(records, word))
		json_object_set_new(records, word, json_object());
	json_t *list = json_object_get(records, word);
	if (value)
		json_object_set_new(
			list, id,
			json_pack("{s:I, s:o}", "epoch", (json_int_t)epoch, "record", json_deep_copy(value)));
	else
		json_object_del(list, id);
}

/* --- format 1 --------------------------------------------------------------------------------------------
 */

/* A copy of the object's part `key` (or of the whole, when NULL) as a record of the section. */
static bool upgrade(json_t *records, enum store_section section, const char *id, json_t *value)
{
	json_t *list = own_section(records, NULL, section);
	if (!json_is_object(value))
		return true;
	return list &&
	       json_object_set_new(list, id, json_pack("{s:i, s:O}", "epoch", 1, "record", value)) == 0;
}

json_t *tree_from_format_1(const json_t *state)
{
	json_t *tree = tree_create(), *records = json_object_get(tree, "records"), *record;
	const char *id;
	bool fine = records && upgrade(records, STORE_SPLIT, "split", json_object_get(state, "split"));
	json_object_foreach(json_object_get(state, "routes"), id, record)
	{
		fine = fine && strlen(id) <= STORE_ID_MAX &&
		       upgrade(records, STORE_ROUTES, id, json_object_get(record, "migration")) &&
		       upgrade(records, STORE_DEFINITIONS, id, json_object_get(record, "override"));
	}
	if (fine)
		return tree;
	json_decref(tree);
	return NULL;
}

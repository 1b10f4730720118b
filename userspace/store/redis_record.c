/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_record: records as keys and hash fields (redis.h), made to be read and written by people.
 *
 *	phoenix:split          the key of the keyed split
 *	phoenix:weight:ID      where the migration of a route stands: weight_bp, step, started, changed, …
 *	phoenix:route:ID       a route's definition: config (JSON as in the configuration), file, by, …
 *	phoenix:migration:ID   how a run of the pipeline stands, and which gateway runs it
 *
 * A field is a member of the record. Its text is JSON, but a string stands there without quotes as long as it
 * does not look like JSON: `HSET phoenix:weight:users weight_bp 3000` is all it takes. "version" is the
 *epoch. A definition may also be a plain string: `SET phoenix:route:users '{"path": …}'`.
 */
#include "base/siphash.h"
#include "store/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES)

static const char *const words[STORE_SECTION_COUNT] = {
	[STORE_SPLIT] = "split",
	[STORE_ROUTES] = "weight:",
	[STORE_DEFINITIONS] = "route:",
	[STORE_MIGRATIONS] = "migration:",
};

void redis_key(const char *prefix, enum store_section section, const char *id, struct buf *out)
{
	buf_append_str(out, prefix);
	buf_append_str(out, words[section]);
	if (section != STORE_SPLIT)
		buf_append_str(out, id);
}

static bool is_id(struct slice id)
{
	for (size_t i = 0; i < id.len; i++) {
		char c = id.ptr[i];
		if (!(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && c != '.' &&
		    c != '_' && c != '-')
			return false;
	}
	return id.len >= 1 && id.len <= STORE_ID_MAX;
}

bool redis_key_parse(struct slice key, enum store_section *section, char *id, bool *bad_id)
{
	*bad_id = false;
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++) {
		struct slice word = slice_str(words[s]);
		if (s == STORE_SPLIT ? !slice_equal(key, word) : !slice_starts(key, word))
			continue;
		struct slice rest =
			s == STORE_SPLIT ? word : slice_of(key.ptr + word.len, key.len - word.len);
		*section = (enum store_section)s;
		*bad_id = !is_id(rest);
		snprintf(id, STORE_ID_MAX + 1, "%.*s", SLICE_ARG(rest));
		return !*bad_id;
	}
	return false;
}

/* --- to fields -------------------------------------------------------------------------------------------
 */

static bool is_reserved(const char *field)
{
	return strcmp(field, "version") == 0 || strcmp(field, "deleted") == 0;
}

/* A string that would be read as something else keeps its quotes. */
static bool looks_like_json(const json_t *string)
{
	json_t *value = json_loadb(json_string_value(string), json_string_length(string), FIELD_FLAGS, NULL);
	json_decref(value);
	return value != NULL;
}

size_t redis_fields_add(struct redis_words *out, const json_t *record)
{
	size_t count = 0;
	const char *field;
	json_t *value;
	json_object_foreach((json_t *)record, field, value)
	{
		if (is_reserved(field))
			continue;
		redis_words_str(out, field);
		count++;
		if (json_is_string(value) && !looks_like_json(value)) {
			redis_words_add(out, json_string_value(value), json_string_length(value));
			continue;
		}
		char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
		if (text)
			redis_words_str(out, text);
		else
			out->failed = true;
		free(text);
	}
	return count;
}

/* --- from fields -----------------------------------------------------------------------------------------
 */

void redis_item_fini(struct redis_item *item)
{
	json_decref(item->value);
	item->value = NULL;
}

static void refuse(struct redis_item *item, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct redis_item *item, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(item->complaint, sizeof(item->complaint), format, args);
	va_end(args);
	json_decref(item->value);
	item->value = NULL;
	item->kind = ITEM_BAD;
}

/* Texts are mixed in one by one, with their lengths. */
static uint64_t mix(uint64_t digest, const redisReply *text)
{
	uint8_t key[SIPHASH_KEY_SIZE] = "redis-seen";
	memcpy(key + 8, &digest, sizeof(digest));
	return siphash24(key, text->str, text->len) + text->len + 1;
}

static bool read_version(const redisReply *text, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(text->str, &end, 10);
	return text->len > 0 && text->len < 20 && *end == '\0' && !errno && text->str[0] >= '0' &&
	       text->str[0] <= '9';
}

void redis_item_from_hash(redisReply *const *flat, size_t count, struct redis_item *item)
{
	bool deleted = false;
	item->kind = ITEM_RECORD;
	item->value = json_object();
	for (size_t i = 0; i + 1 < count; i += 2) {
		const redisReply *field = flat[i], *text = flat[i + 1];
		if (field->type != REDIS_REPLY_STRING || text->type != REDIS_REPLY_STRING) {
			refuse(item, "cannot be read: an answer of another kind");
			return;
		}
		/* Fields come in any order: the sum does not depend on it. */
		item->digest += mix(mix(1, field), text);
		if (strcmp(field->str, "version") == 0) {
			if (!read_version(text, &item->epoch)) {
				refuse(item, "has a version that is no number: \"%.40s\"", text->str);
				return;
			}
			continue;
		}
		if (strcmp(field->str, "deleted") == 0) {
			deleted = true;
			continue;
		}
		json_t *value = json_loadb(text->str, text->len, FIELD_FLAGS, NULL);
		if (!value)
			value = json_stringn(text->str, text->len);
		if (!value || json_object_set_new(item->value, field->str, value)) {
			refuse(item, "has a field \"%.40s\" that is no UTF-8 text", field->str);
			return;
		}
	}
	if (deleted) {
		json_decref(item->value);
		item->value = NULL;
		item->kind = ITEM_DELETED;
	}
}

/* A definition that somebody wrote with SET. */
static void from_string(const redisReply *text, struct redis_item *item)
{
	json_error_t error;
	item->digest = mix(2, text);
	if (item->section != STORE_DEFINITIONS) {
		refuse(item, "is a string; it must be a hash: DEL it, then use HSET");
		return;
	}
	json_t *config = json_loadb(text->str, text->len, JSON_REJECT_DUPLICATES, &error);
	if (!config) {
		refuse(item, "is no JSON: line %d, column %d: %.100s", error.line, error.column, error.text);
		return;
	}
	item->kind = ITEM_RECORD;
	item->value = json_pack("{s:o, s:s, s:s}", "config", config, "by", "redis (SET)", "text", text->str);
}

void redis_item_read(const redisReply *reply, struct redis_item *item)
{
	item->kind = ITEM_NONE;
	item->value = NULL;
	item->epoch = item->digest = 0;
	item->complaint[0] = '\0';
	const redisReply *first =
		reply->type == REDIS_REPLY_ARRAY && reply->elements ? reply->element[0] : NULL;
	const char *kind = first && first->str ? first->str : "?";
	const redisReply *second = reply->elements > 1 ? reply->element[1] : NULL;
	if (strcmp(kind, "none") == 0)
		return;
	if (strcmp(kind, "hash") == 0 && second && second->type == REDIS_REPLY_ARRAY)
		redis_item_from_hash(second->element, second->elements, item);
	else if (strcmp(kind, "string") == 0 && second && second->type == REDIS_REPLY_STRING)
		from_string(second, item);
	else if (strcmp(kind, "type") == 0 && second && second->str)
		refuse(item, "is a %s; it must be a hash: DEL it", second->str);
	else if (strcmp(kind, "large") == 0)
		refuse(item, "is larger than %u bytes", STORE_RECORD_BYTES_MAX);
	else if (strcmp(kind, "fields") == 0)
		refuse(item, "has more than 128 fields");
	else
		refuse(item, "cannot be read: an answer of another kind");
	/* What is bad for the same reason is not told again and again. */
	if (item->kind == ITEM_BAD && !item->digest) {
		uint8_t key[SIPHASH_KEY_SIZE] = "redis-bad";
		item->digest = siphash24(key, item->complaint, strlen(item->complaint));
	}
}

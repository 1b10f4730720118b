/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect_merge: places that take many words. /users/ada, /users/bob, … are one kind, though no word looks
 * like an id: kinds that differ in one segment of their path only become one, where there are
 * COLLECT_WORDS_MIN.
 */
#include "trafficgen/collect_internal.h"

#include <errno.h>
#include <stdlib.h>

#define MERGE_SEGMENTS 8 /* only the first ones of a path can become places by their many words */

/* Segment number `at` of a path ("/a/b": 0 is "a"); *column gets how many PLACEs come before it. */
static struct slice segment_at(const char *path, unsigned at, unsigned *column)
{
	struct slice rest = slice_str(path + 1), item;
	*column = 0;
	for (unsigned i = 0; slice_split(&rest, '/', &item); i++) {
		if (i == at)
			return item;
		*column += item.len == 1 && item.ptr[0] == PLACE;
	}
	return (struct slice){0};
}

/* The kind's key with that segment a PLACE; false when it is one already, or there is none. */
static bool wider_key(const struct kind *kind, unsigned at, struct buf *key)
{
	unsigned column;
	struct slice segment = segment_at(kind->path, at, &column);
	if (!segment.len || (segment.len == 1 && segment.ptr[0] == PLACE))
		return false;
	size_t before = strlen(kind->method) + 1 + (size_t)(segment.ptr - kind->path);
	buf_reset(key);
	buf_append(key, kind->key, before);
	buf_append_char(key, PLACE);
	buf_append(key, kind->key + before + segment.len, kind->key_len - before - segment.len);
	return !key->failed;
}

struct candidate {
	uint64_t hash;
	uint32_t kind;
	uint16_t segment;
	uint32_t group_size;
};

static int by_hash(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->kind < y->kind ? -1 : x->kind > y->kind;
}

/* The largest group first. */
static int by_group(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->group_size != y->group_size)
		return x->group_size < y->group_size ? 1 : -1;
	return by_hash(a, b);
}

/* A row of `from` with the word of the segment put in at its column. */
static int take_row(struct collection *c, struct kind *to, const struct row *row, unsigned column,
		    struct slice word)
{
	struct buf values = {0};
	const char *p = row->values, *end = row->values + row->bytes;
	for (unsigned i = 0; i < column && p < end; i++)
		p += strlen(p) + 1;
	buf_append(&values, row->values, (size_t)(p - row->values));
	buf_append_slice(&values, word);
	buf_append_char(&values, '\0');
	buf_append(&values, p, (size_t)(end - p));
	int err = values.failed ? -ENOMEM : kind_keep_row(c, to, buf_slice(&values));
	buf_fini(&values);
	return err;
}

/* `from` goes into `to`, whose segment is a PLACE. */
static int absorb(struct collection *c, struct kind *to, struct kind *from, unsigned segment)
{
	unsigned column;
	struct slice word = segment_at(from->path, segment, &column);
	int err = 0;
	for (unsigned i = 0; i < from->row_count && !err; i++)
		err = take_row(c, to, &from->rows[i], column, word);
	to->count += from->count;
	for (size_t i = 0; i < sizeof(to->status) / sizeof(to->status[0]); i++)
		to->status[i] |= from->status[i];
	from->merged = true;
	return err;
}

/* A new kind like `first`, but with a PLACE for that segment. NULL when out of memory. */
static struct kind *widen(struct collection *c, const struct kind *first, unsigned at, struct slice key)
{
	unsigned column;
	struct slice segment = segment_at(first->path, at, &column);
	struct buf path = {0};
	struct kind *to = calloc(1, sizeof(*to));
	if (!to)
		return NULL;
	buf_append(&path, first->path, (size_t)(segment.ptr - first->path));
	buf_append_char(&path, PLACE);
	buf_append_str(&path, segment.ptr + segment.len);
	to->key = collection_keep(c, key);
	to->key_len = key.len;
	to->method = collection_keep(c, slice_str(first->method));
	to->path = collection_keep(c, slice_str(buf_cstr(&path)));
	to->query = collection_keep(c, slice_str(first->query));
	to->headers = json_incref(first->headers);
	to->body = first->body ? collection_keep(c, slice_of(first->body, first->body_len)) : NULL;
	to->body_len = first->body_len;
	to->body_is_json = first->body_is_json;
	buf_fini(&path);
	if (to->key && to->method && to->path && to->query && (to->body || !first->body))
		return to;
	kind_destroy(to);
	return NULL;
}

/* Kinds that differ in one segment only: `list` of them into one, the one there is already or a new one. */
static int merge(struct collection *c, const struct candidate *list, size_t count)
{
	struct buf key = {0};
	struct kind *to = NULL;
	int err = wider_key(c->kinds[list[0].kind], list[0].segment, &key) ? 0 : -ENOMEM;
	uint32_t *slot = err ? NULL : collection_find_slot(c, buf_slice(&key));
	if (slot && *slot && !c->kinds[*slot - 1]->merged)
		to = c->kinds[*slot - 1];
	if (!err && !to) {
		to = widen(c, c->kinds[list[0].kind], list[0].segment, buf_slice(&key));
		if (to)
			c->kinds[c->count++] = to;
	}
	if (!to)
		err = -ENOMEM;
	for (size_t i = 0; i < count && !err; i++)
		err = absorb(c, to, c->kinds[list[i].kind], list[i].segment);
	buf_fini(&key);
	return err;
}

/* Every segment of every kind that could become a place, those that could become the same one together. */
static size_t find_candidates(struct collection *c, struct candidate *list)
{
	static const uint8_t fixed_key[SIPHASH_KEY_SIZE] =
		"phoenix-merging"; /* the order must not be random */
	struct buf key = {0};
	size_t count = 0;
	for (size_t i = 0; i < c->count; i++) {
		for (unsigned s = 0; s < MERGE_SEGMENTS && !c->kinds[i]->merged; s++) {
			if (wider_key(c->kinds[i], s, &key))
				list[count++] =
					(struct candidate){.hash = siphash24(fixed_key, key.data, key.len),
							   .kind = (uint32_t)i,
							   .segment = (uint16_t)s};
		}
	}
	buf_fini(&key);
	if (count)
		qsort(list, count, sizeof(*list), by_hash);
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i; end < count && list[end].hash == list[i].hash; end++)
			;
		for (size_t k = i; k < end; k++)
			list[k].group_size = (uint32_t)(end - i);
	}
	if (count)
		qsort(list, count, sizeof(*list), by_group);
	return count;
}

/* Do two candidates become the same kind? Equal hashes alone do not say so. */
static bool become_equal(const struct collection *c, const struct candidate *a, const struct candidate *b)
{
	struct buf x = {0}, y = {0};
	bool equal = a->segment == b->segment && wider_key(c->kinds[a->kind], a->segment, &x) &&
		     wider_key(c->kinds[b->kind], b->segment, &y) &&
		     slice_equal(buf_slice(&x), buf_slice(&y));
	buf_fini(&x);
	buf_fini(&y);
	return equal;
}

/* One round. *merged tells whether anything was done. */
int collection_merge_round(struct collection *c, bool *merged)
{
	struct candidate *list = calloc(c->count * MERGE_SEGMENTS + 1, sizeof(*list));
	int err = list ? 0 : -ENOMEM;
	size_t count = list ? find_candidates(c, list) : 0;
	*merged = false;
	for (size_t i = 0, end; i < count && !err; i = end) {
		size_t usable = 0;
		for (end = i; end < count && list[end].hash == list[i].hash; end++) {
			if (!c->kinds[list[end].kind]->merged &&
			    (!usable || become_equal(c, &list[i], &list[end])))
				list[i + usable++] = list[end];
		}
		if (usable >= COLLECT_WORDS_MIN && c->count < KINDS_ROOM) {
			err = merge(c, &list[i], usable);
			*merged = true;
		}
	}
	free(list);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect: see collect.h.
 *
 * A kind is found by its key: method, path with "\1" for each place that holds an id, the query's names, and
 * the body. Everything that is kept is counted against one budget; which rows are kept (reservoir sampling,
 * Vitter's algorithm R) depends on nothing but the input, so the same log gives the same scenario.
 */
#include "trafficgen/collect_internal.h"

#include "base/siphash.h"

#include <phoenix/split.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define MERGES_MAX 4
#define SLOTS	   65536u /* of the hash table; more than twice COLLECT_KINDS_MAX */

/* --- what an id looks like -------------------------------------------------------------------------------
 */

static bool all_of(struct slice text, const char *set)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!strchr(set, text.ptr[i]))
			return false;
	}
	return text.len > 0;
}

static bool has_digit(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] >= '0' && text.ptr[i] <= '9')
			return true;
	}
	return false;
}

static bool is_uuid(struct slice text)
{
	if (text.len != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? text.ptr[i] != '-' : !strchr("0123456789abcdefABCDEF", text.ptr[i]))
			return false;
	}
	return true;
}

static bool is_id(struct slice text)
{
	if (all_of(text, "0123456789") || is_uuid(text))
		return true;
	if (text.len >= 8 && all_of(text, "0123456789abcdefABCDEF") && has_digit(text))
		return true;
	return text.len >= 20 && has_digit(text) &&
	       all_of(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-");
}

bool collect_drops_field(struct slice name)
{
	static const char *const dropped[] = {"authorization",
					      "proxy-authorization",
					      "cookie",
					      "x-api-key",
					      "host",
					      "content-length",
					      "transfer-encoding",
					      "connection",
					      "keep-alive",
					      "proxy-connection",
					      "te",
					      "trailer",
					      "upgrade",
					      "expect",
					      "http2-settings",
					      "x-forwarded-for",
					      "x-forwarded-proto",
					      "x-forwarded-host",
					      "x-request-id",
					      "x-phoenix-synthetic",
					      "x-phoenix-shadow",
					      "forwarded",
					      "via",
					      "date",
					      "origin",
					      "referer",
					      "user-agent",
					      "accept-encoding",
					      "if-none-match",
					      "if-modified-since",
					      "x-csrf-token",
					      "dnt",
					      "pragma",
					      "cache-control",
					      "priority",
					      "upgrade-insecure-requests"};
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
		if (slice_equal_nocase(name, slice_str(dropped[i])))
			return true;
	}
	return name.len == 0 || name.ptr[0] == ':' || (name.len > 4 && strncasecmp(name.ptr, "sec-", 4) == 0);
}

/* --- kinds -----------------------------------------------------------------------------------------------
 */

void kind_destroy(struct kind *kind)
{
	if (!kind)
		return;
	for (unsigned i = 0; i < kind->row_count; i++)
		free(kind->rows[i].values);
	json_decref(kind->headers);
	free(kind->key);
	free(kind->method);
	free(kind->path);
	free(kind->query);
	free(kind->body);
	free(kind);
}

static void collection_destroy(struct collection *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		kind_destroy(c->kinds[i]);
	free(c->kinds);
	free(c->slots);
	free(c);
}

struct collection *collection_create(struct plan *plan)
{
	struct collection *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->plan = plan;
	c->kinds = calloc(KINDS_ROOM, sizeof(struct kind *));
	c->slots = calloc(SLOTS, sizeof(*c->slots));
	/* Only against a log made to collide; without entropy it is merely slower then. */
	if (getrandom(c->hash_key, sizeof(c->hash_key), GRND_NONBLOCK) < 0)
		memcpy(c->hash_key, "phoenix-traffic", 16);
	if (!c->kinds || !c->slots) {
		collection_destroy(c);
		return NULL;
	}
	return c;
}

/* The slot that holds the key, or the empty one where it would be. */
uint32_t *collection_find_slot(struct collection *c, struct slice key)
{
	uint32_t at = (uint32_t)siphash24(c->hash_key, key.ptr, key.len) % SLOTS;
	for (;; at = (at + 1) % SLOTS) {
		uint32_t *slot = &c->slots[at];
		if (!*slot)
			return slot;
		const struct kind *kind = c->kinds[*slot - 1];
		if (slice_equal(slice_of(kind->key, kind->key_len), key))
			return slot;
	}
}

char *collection_keep(struct collection *c, struct slice text)
{
	char *copy = malloc(text.len + 1);
	if (!copy) {
		c->plan->failed = true;
		return NULL;
	}
	if (text.len)
		memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	c->bytes += text.len + 1;
	return copy;
}

/* Path and query taken apart: the parts of the key, and the values of this request. */
struct shape {
	struct buf path, query, values;
};

static void shape_fini(struct shape *shape)
{
	buf_fini(&shape->path);
	buf_fini(&shape->query);
	buf_fini(&shape->values);
}

static void add_value(struct shape *shape, struct slice value)
{
	buf_append_slice(&shape->values, value);
	buf_append_char(&shape->values, '\0');
}

/* False when there are more places than a request can have. */
static bool shape_of(struct slice target, struct shape *shape)
{
	const char *mark = memchr(target.ptr, '?', target.len);
	struct slice path = slice_of(target.ptr, mark ? (size_t)(mark - target.ptr) : target.len);
	struct slice query = mark ? slice_of(mark + 1, target.len - path.len - 1) : (struct slice){0}, item;
	struct slice rest = slice_of(path.ptr + 1, path.len - 1);
	unsigned segments = 0, columns = 0;
	while (slice_split(&rest, '/', &item)) {
		buf_append_char(&shape->path, '/');
		bool id = is_id(item);
		if (++segments > SEGMENTS_MAX || (columns += id) > COLUMNS_MAX)
			return false;
		if (id)
			buf_append_char(&shape->path, PLACE);
		else
			buf_append_slice(&shape->path, item);
		if (id)
			add_value(shape, item);
	}
	for (bool first = true; slice_split(&query, '&', &item); first = false) {
		const char *equals = item.len ? memchr(item.ptr, '=', item.len) : NULL;
		size_t name = equals ? (size_t)(equals - item.ptr) : item.len;
		if (!first)
			buf_append_char(&shape->query, '&');
		buf_append(&shape->query, item.ptr, name);
		if (!equals)
			continue;
		if (++columns > COLUMNS_MAX)
			return false;
		buf_append_char(&shape->query, '=');
		add_value(shape, slice_of(equals + 1, item.len - name - 1));
	}
	return true;
}

static json_t *kept_headers(const struct record *record)
{
	json_t *headers = json_object();
	for (size_t i = 0; i < record->field_count && json_object_size(headers) < PLAN_FIELDS_MAX; i++) {
		const struct header_field *field = &record->fields[i];
		struct buf name = {0}, value = {0};
		buf_append_slice(&name, field->name);
		plan_escape(&value, field->value);
		if (!collect_drops_field(field->name) && plan_field_is_plain(field->name, field->value))
			json_object_set_new(headers, buf_cstr(&name), json_string(buf_cstr(&value)));
		buf_fini(&name);
		buf_fini(&value);
	}
	return headers;
}

static struct kind *kind_create(struct collection *c, const struct record *record, const struct shape *shape,
				struct slice key)
{
	struct kind *kind = calloc(1, sizeof(*kind));
	if (!kind)
		return NULL;
	kind->key = collection_keep(c, key);
	kind->key_len = key.len;
	kind->method = collection_keep(c, record->method);
	kind->path = collection_keep(c, buf_slice(&shape->path));
	kind->query = collection_keep(c, buf_slice(&shape->query));
	kind->headers = kept_headers(record);
	kind->body = record->body.ptr ? collection_keep(c, record->body) : NULL;
	kind->body_len = record->body.len;
	kind->body_is_json = record->body_is_json;
	c->bytes += sizeof(*kind);
	if (kind->key && kind->method && kind->path && kind->query && kind->headers &&
	    (kind->body || !record->body.ptr))
		return kind;
	kind_destroy(kind);
	return NULL;
}

/* Algorithm R: after n rows each was kept with the same chance. The first is always kept. */
int kind_keep_row(struct collection *c, struct kind *kind, struct slice values)
{
	uint64_t n = kind->rows_seen++;
	size_t at = kind->row_count;
	bool full = kind->row_count == COLLECT_ROWS_MAX || (n && c->bytes > COLLECT_BYTES_MAX);
	if (full)
		at = (size_t)(phx_mix64(n) % (n + 1));
	if (full && at >= kind->row_count)
		return 0;
	char *copy = collection_keep(c, values);
	if (!copy)
		return -ENOMEM;
	if (at >= kind->row_count) {
		at = kind->row_count++;
	} else {
		c->bytes -= kind->rows[at].bytes + 1;
		free(kind->rows[at].values);
	}
	kind->rows[at] = (struct row){copy, values.len};
	return 0;
}

static void note_status(struct kind *kind, int status)
{
	kind->count++;
	if (status >= 200 && status < 600)
		kind->status[status / 10] |= (uint16_t)(1u << (status % 10));
}

static void note_time(struct collection *c, uint64_t wall_ms)
{
	if (!wall_ms)
		return;
	if (!c->timed || wall_ms < c->first_ms)
		c->first_ms = wall_ms;
	if (wall_ms > c->last_ms)
		c->last_ms = wall_ms;
	c->timed++;
}

static int add_shaped(struct collection *c, const struct record *record, const struct shape *shape)
{
	struct buf key = {0};
	buf_append_slice(&key, record->method);
	buf_append_char(&key, ' ');
	buf_append_slice(&key, buf_slice(&shape->path));
	buf_append_char(&key, '?');
	buf_append_slice(&key, buf_slice(&shape->query));
	buf_append_char(&key, record->body.ptr ? ' ' : '\0');
	buf_append_slice(&key, record->body);
	int err = key.failed || shape->values.failed ? -ENOMEM : 0;
	uint32_t *slot = err ? NULL : collection_find_slot(c, buf_slice(&key));
	if (slot && !*slot) {
		if (c->count == COLLECT_KINDS_MAX || c->bytes > COLLECT_BYTES_MAX) {
			plan_omit(c->plan, PLAN_OMIT_MEMORY, 1, record->where);
			slot = NULL;
		} else {
			struct kind *kind = kind_create(c, record, shape, buf_slice(&key));
			if (kind) {
				c->kinds[c->count++] = kind;
				*slot = (uint32_t)c->count;
			}
			err = kind ? 0 : -ENOMEM;
		}
	}
	if (slot && !err) {
		note_status(c->kinds[*slot - 1], record->status);
		note_time(c, record->wall_ms);
		err = kind_keep_row(c, c->kinds[*slot - 1], buf_slice(&shape->values));
	}
	buf_fini(&key);
	return err;
}

int collection_add(struct collection *c, const struct record *record)
{
	struct shape shape = {0};
	int err = 0;
	if (!plan_takes(c->plan, record->method, record->target, record->where))
		return 0;
	if (record->status >= 500) /* nobody can say that this is what should come back */
		plan_omit(c->plan, PLAN_OMIT_FAILED, 1, record->where);
	else if (record->body.ptr && record->body.len > PLAN_BODY_BYTES_MAX)
		plan_omit(c->plan, PLAN_OMIT_BIG, 1, record->where);
	else if (record->body.ptr && !plan_text_is_unicode(record->body))
		plan_omit(c->plan, PLAN_OMIT_BINARY, 1, record->where);
	else if (!shape_of(record->target, &shape))
		plan_omit(c->plan, PLAN_OMIT_BIG, 1, record->where);
	else
		err = add_shaped(c, record, &shape);
	shape_fini(&shape);
	return err;
}

/* --- the end ---------------------------------------------------------------------------------------------
 */

static int by_count(const void *a, const void *b)
{
	const struct kind *x = *(struct kind *const *)a, *y = *(struct kind *const *)b;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	size_t len = x->key_len < y->key_len ? x->key_len : y->key_len;
	int order = memcmp(x->key, y->key, len);
	return order ? order : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

int collection_finish(struct collection *c)
{
	struct plan *plan = c->plan;
	bool merged = true;
	int err = 0;
	for (unsigned i = 0; i < MERGES_MAX && merged && !err; i++)
		err = collection_merge_round(c, &merged);
	qsort(c->kinds, c->count, sizeof(struct kind *), by_count);
	for (size_t i = 0; i < c->count && !err; i++) {
		if (!c->kinds[i]->merged)
			err = kind_add(plan, c->kinds[i]);
	}
	if (c->timed > 1 && c->last_ms > c->first_ms)
		plan->recorded_rate = (double)c->timed * 1000 / (double)(c->last_ms - c->first_ms + 1);
	collection_destroy(c);
	return err;
}

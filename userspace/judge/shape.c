/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shape: see shape.h.
 *
 * The structure of a body is hashed bottom up without sorting: an object is the sum of its members' hashes,
 * so their order does not matter; an array is the least and the greatest of its elements' hashes, so neither
 * their order nor their number does. (Arrays that differ only in what lies between the two look the same:
 * fine for counting kinds of requests.)
 */
#include "judge/shape.h"

#include <errno.h>
#include <stdlib.h>

static const struct json_limits limits = {.depth = 32, .tokens = 4096};

enum { KIND_NONE = 1, KIND_BYTES, KIND_LARGE };

static uint64_t mix(const uint8_t *key, uint64_t a, uint64_t b)
{
	uint64_t pair[2] = {a, b};
	return siphash24(key, pair, sizeof(pair));
}

/* Of the subtree at `index`; the depth is bounded by the tokenizer. */
static uint64_t hash_tree(const uint8_t *key, struct slice text, const struct json_tokens *tokens,
			  uint32_t index)
{
	const struct json_token *t = &tokens->items[index];
	uint64_t sum = 0, least = UINT64_MAX, greatest = 0;
	/* true and false are one type. */
	uint64_t type = t->type == JSON_TOKEN_FALSE ? JSON_TOKEN_TRUE : t->type;
	uint32_t child = index + 1;
	if (t->type != JSON_TOKEN_OBJECT && t->type != JSON_TOKEN_ARRAY)
		return mix(key, type, 0);
	for (uint32_t i = 0; i < t->count; i++) {
		uint64_t name = 0;
		if (t->type == JSON_TOKEN_OBJECT) {
			struct slice raw = json_token_text(text, &tokens->items[child]);
			name = siphash24(key, raw.ptr, raw.len);
			child++;
		}
		uint64_t h = mix(key, name, hash_tree(key, text, tokens, child));
		sum += h;
		least = h < least ? h : least;
		greatest = h > greatest ? h : greatest;
		child = tokens->items[child].next;
	}
	if (t->type == JSON_TOKEN_OBJECT)
		return mix(key, type, sum);
	return mix(key, type, t->count ? mix(key, least, greatest) : 0);
}

/* 0 when the body is JSON (then the tokens are filled), otherwise what it is. */
static unsigned read_body(struct slice body, struct json_tokens *tokens)
{
	if (body.len == 0)
		return KIND_NONE;
	if (body.len > SHAPE_BODY_BYTES_MAX)
		return KIND_LARGE;
	int err = json_tokenize(body, &limits, tokens, NULL);
	return err == 0 ? 0 : err == -E2BIG ? KIND_LARGE : KIND_BYTES;
}

static int by_bytes(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;
	size_t len = x->len < y->len ? x->len : y->len;
	int order = len ? memcmp(x->ptr, y->ptr, len) : 0;
	return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

static size_t sort_unique(struct slice *items, size_t count)
{
	size_t kept = 0;
	qsort(items, count, sizeof(*items), by_bytes);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || !slice_equal(items[kept - 1], items[i]))
			items[kept++] = items[i];
	}
	return kept;
}

/* The distinct names of the query, sorted. */
static size_t query_names(struct slice target, struct slice names[SHAPE_QUERY_MAX])
{
	const char *mark = target.len ? memchr(target.ptr, '?', target.len) : NULL;
	size_t count = 0;
	if (!mark)
		return 0;
	struct slice rest = slice_of(mark + 1, target.len - (size_t)(mark + 1 - target.ptr)), pair;
	while (count < SHAPE_QUERY_MAX && slice_split(&rest, '&', &pair)) {
		const char *equals = pair.len ? memchr(pair.ptr, '=', pair.len) : NULL;
		struct slice name = equals ? slice_of(pair.ptr, (size_t)(equals - pair.ptr)) : pair;
		if (name.len)
			names[count++] = name;
	}
	return sort_unique(names, count);
}

uint64_t shape_hash(const struct shape_input *input, const uint8_t key[SIPHASH_KEY_SIZE],
		    struct json_tokens *scratch)
{
	struct slice names[SHAPE_QUERY_MAX];
	size_t count = query_names(input->target, names);
	uint64_t hash = siphash24(key, input->method.ptr, input->method.len);
	for (size_t i = 0; i < count; i++)
		hash = mix(key, hash, siphash24(key, names[i].ptr, names[i].len));
	unsigned kind = read_body(input->body, scratch);
	hash = mix(key, hash, kind ? kind : hash_tree(key, input->body, scratch, 0));
	hash = mix(key, hash, (uint64_t)(input->status / 100));
	return hash ? hash : 1;
}

static void describe_names(struct buf *out, const struct slice *names, size_t count, const char *separator)
{
	for (size_t i = 0; i < count; i++) {
		if (out->len + names[i].len > SHAPE_NAME_BYTES_MAX - 24) {
			buf_append_str(out, i ? separator : "");
			buf_append_str(out, "...");
			return;
		}
		buf_append_str(out, i ? separator : "");
		buf_append_slice(out, names[i]);
	}
}

static void describe_body(const struct shape_input *input, struct json_tokens *scratch, struct buf *out)
{
	unsigned kind = read_body(input->body, scratch);
	const struct json_token *root = kind ? NULL : &scratch->items[0];
	if (kind == KIND_NONE)
		return;
	if (!root || root->type != JSON_TOKEN_OBJECT) {
		buf_printf(out, " %s",
			   root			? json_type_word(root->type)
			   : kind == KIND_LARGE ? "large body"
						: "body");
		return;
	}
	struct slice names[SHAPE_QUERY_MAX];
	size_t count = 0;
	for (uint32_t i = 0, child = 1; i < root->count && count < SHAPE_QUERY_MAX; i++) {
		names[count++] = json_token_text(input->body, &scratch->items[child]);
		child = scratch->items[child + 1].next;
	}
	buf_append_str(out, " {");
	describe_names(out, names, sort_unique(names, count), ", ");
	buf_append_char(out, '}');
}

void shape_describe(const struct shape_input *input, struct json_tokens *scratch, struct buf *out)
{
	struct slice names[SHAPE_QUERY_MAX];
	struct buf text = {0};
	size_t count = query_names(input->target, names);
	buf_append(&text, input->method.ptr, input->method.len < 32 ? input->method.len : 32);
	if (count) {
		buf_append_str(&text, " ?");
		describe_names(&text, names, count, "&");
	}
	describe_body(input, scratch, &text);
	if (input->status >= 100 && input->status <= 999)
		buf_printf(&text, " %dxx", input->status / 100);
	buf_append(out, text.data, text.len < SHAPE_NAME_BYTES_MAX ? text.len : SHAPE_NAME_BYTES_MAX);
	buf_fini(&text);
}

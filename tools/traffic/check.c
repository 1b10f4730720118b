/* SPDX-License-Identifier: Apache-2.0 */
/* check: see check.h. */
#include "check.h"

#include "judge/number.h"
#include "judge/pointer.h"

#include <errno.h>
#include <stdlib.h>

#define SHOWN_BYTES_MAX 80u

static int read_status_item(struct checks *checks, const json_t *item, struct buf *why)
{
	const char *word = json_string_value(item);
	json_int_t status = json_integer_value(item);
	if (word && strlen(word) == 3 && word[0] >= '2' && word[0] <= '5' && strcmp(word + 1, "xx") == 0) {
		for (int i = 0; i < 100; i++)
			checks->status[(word[0] - '0') * 100 + i] = true;
		return 0;
	}
	if (json_is_integer(item) && status >= 200 && status < CHECK_STATUS_MAX) {
		checks->status[status] = true;
		return 0;
	}
	buf_append_str(
		why,
		"expect: a status is a number from 200 to 599, or \"2xx\" to \"5xx\", or a list of them");
	return -EINVAL;
}

static int read_status(struct checks *checks, const json_t *status, struct buf *why)
{
	size_t i;
	json_t *item;
	if (!status) {
		memset(checks->status, true, 400);
		return 0;
	}
	if (!json_is_array(status) || json_array_size(status) == 0)
		return read_status_item(checks, status, why);
	json_array_foreach(status, i, item)
	{
		int err = read_status_item(checks, item, why);
		if (err)
			return err;
	}
	return 0;
}

static int bad_group(const char *name, const char *wants, struct buf *why)
{
	buf_printf(why, "expect: %s must be an object of 1 to %d %s", name, CHECK_ITEMS_MAX, wants);
	return -EINVAL;
}

static int read_headers(struct checks *checks, json_t *object, struct buf *why)
{
	const char *name;
	json_t *value;
	size_t count = json_object_size(object);
	if (!count || count > CHECK_ITEMS_MAX)
		return bad_group("headers", "field names and values", why);
	checks->headers = calloc(count, sizeof(*checks->headers));
	if (!checks->headers)
		return -ENOMEM;
	json_object_foreach(object, name, value)
	{
		if (!json_is_string(value))
			return bad_group("headers", "field names and values (strings)", why);
		checks->headers[checks->header_count++] =
			(struct check_header){.name = name, .value = json_string_value(value)};
	}
	return 0;
}

static int read_places(struct checks *checks, json_t *object, struct buf *why)
{
	const char *pointer, *reason = "";
	json_t *value;
	size_t count = json_object_size(object);
	if (!count || count > CHECK_ITEMS_MAX)
		return bad_group("json", "pointers and values", why);
	checks->places = calloc(count, sizeof(*checks->places));
	if (!checks->places)
		return -ENOMEM;
	json_object_foreach(object, pointer, value)
	{
		if (pointer_check(slice_str(pointer), &reason)) {
			buf_printf(why, "expect: json: \"%s\" is no pointer: it %s", pointer, reason);
			return -EINVAL;
		}
		if (json_is_object(value) || json_is_array(value)) {
			buf_printf(why,
				   "expect: json: \"%s\" must be a string, a number, true, false or null",
				   pointer);
			return -EINVAL;
		}
		char *want = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
		if (!want)
			return -ENOMEM;
		checks->places[checks->place_count++] = (struct check_place){pointer, want};
	}
	return 0;
}

int check_read(struct checks *checks, json_t *expect, struct buf *why)
{
	const char *key;
	json_t *value;
	if (!json_is_object(expect))
		return read_status(checks, expect, why);
	int err = read_status(checks, json_object_get(expect, "status"), why);
	json_object_foreach(expect, key, value)
	{
		if (err)
			return err;
		if (strcmp(key, "headers") == 0) {
			err = read_headers(checks, value, why);
		} else if (strcmp(key, "json") == 0) {
			err = read_places(checks, value, why);
		} else if (strcmp(key, "status") != 0) {
			buf_printf(why, "expect: there is no key \"%s\" here, only status, headers and json",
				   key);
			err = -EINVAL;
		}
	}
	return err;
}

void check_fini(struct checks *checks)
{
	for (size_t i = 0; i < checks->place_count; i++)
		free(checks->places[i].want);
	free(checks->places);
	free(checks->headers);
	*checks = (struct checks){0};
}

/* Control bytes come from a server: they must not reach a terminal. */
static void show(struct buf *why, struct slice text)
{
	buf_append_json(why, text.len > SHOWN_BYTES_MAX ? slice_of(text.ptr, SHOWN_BYTES_MAX) : text);
}

static bool header_right(const struct check_header *check, const struct http_head *head, const char *bytes,
			 struct buf *why)
{
	const struct http_field *field = http_head_find_name(head, bytes, slice_str(check->name));
	struct slice want = slice_str(check->value), got = field ? http_field_value(field, bytes) : SLICE("");
	bool prefix = want.len && want.ptr[want.len - 1] == '*', right = false;
	if (prefix)
		right = field && slice_starts(got, slice_of(want.ptr, want.len - 1));
	else
		right = field && slice_equal(got, want);
	if (right)
		return true;
	buf_printf(why, "header %s: wanted ", check->name);
	show(why, want);
	buf_append_str(why, field ? ", got " : ", got none");
	if (field)
		show(why, got);
	return false;
}

/* One step of a pointer, its ~1 and ~0 undone. */
static struct slice unescape(struct slice step, char *room)
{
	size_t len = 0;
	for (size_t i = 0; i < step.len; i++) {
		bool escaped = step.ptr[i] == '~';
		i += escaped;
		room[len++] = !escaped ? step.ptr[i] : step.ptr[i] == '1' ? '/' : '~';
	}
	return slice_of(room, len);
}

/* The child of token `at` that the step names; 0 (the document, nobody's child) when there is none. */
static uint32_t child(struct slice text, const struct json_tokens *tokens, uint32_t at, struct slice step)
{
	const struct json_token *parent = &tokens->items[at];
	uint32_t i = at + 1, index = 0;
	if (parent->type == JSON_TOKEN_ARRAY) {
		char want[16];
		for (uint32_t n = 0; n < parent->count; n++, i = tokens->items[i].next) {
			snprintf(want, sizeof(want), "%u", index++);
			if (slice_equal(step, slice_str(want)))
				return i;
		}
	} else if (parent->type == JSON_TOKEN_OBJECT) {
		struct buf name = {0};
		for (uint32_t n = 0; n < parent->count; n++, i = tokens->items[i + 1].next) {
			buf_reset(&name);
			json_string_decode(json_token_text(text, &tokens->items[i]), &name);
			if (slice_equal(buf_slice(&name), step)) {
				buf_fini(&name);
				return i + 1;
			}
		}
		buf_fini(&name);
	}
	return 0;
}

static bool find_place(struct slice text, const struct json_tokens *tokens, const char *pointer, uint32_t *at)
{
	struct slice rest = slice_str(pointer);
	char room[POINTER_TEXT_MAX];
	*at = 0;
	while (rest.len) {
		rest = slice_of(rest.ptr + 1, rest.len - 1);
		const char *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
		struct slice step = slice_of(rest.ptr, slash ? (size_t)(slash - rest.ptr) : rest.len);
		rest = slice_of(rest.ptr + step.len, rest.len - step.len);
		*at = child(text, tokens, *at, unescape(step, room));
		if (!*at)
			return false;
	}
	return true;
}

static bool value_equal(struct slice want, struct slice text, const struct json_token *token)
{
	struct slice got = json_token_text(text, token);
	switch (token->type) {
	case JSON_TOKEN_STRING:
		return want.ptr[0] == '"' &&
		       json_string_equal(slice_of(want.ptr + 1, want.len - 2), true, got, token->escaped);
	case JSON_TOKEN_NUMBER:
		return want.ptr[0] != '"' &&
		       (want.ptr[0] == '-' || (want.ptr[0] >= '0' && want.ptr[0] <= '9')) &&
		       number_equal(want, got);
	case JSON_TOKEN_OBJECT:
	case JSON_TOKEN_ARRAY:
		return false;
	default:
		return slice_equal(want, got);
	}
}

static bool place_right(const struct check_place *check, struct slice body, const struct json_tokens *tokens,
			struct buf *why)
{
	uint32_t at;
	bool there = find_place(body, tokens, check->pointer, &at);
	if (there && value_equal(slice_str(check->want), body, &tokens->items[at]))
		return true;
	buf_printf(why, "json %s: wanted %s, got ", check->pointer, check->want);
	if (there)
		show(why, json_token_text(body, &tokens->items[at]));
	else
		buf_append_str(why, "nothing");
	return false;
}

bool check_answer(const struct checks *checks, const struct http_head *head, const char *head_bytes,
		  struct slice body, bool cut, struct json_tokens *tokens, struct buf *why)
{
	static const struct json_limits limits = {.tokens = 1000000};
	unsigned status = head->scan.status;
	if (status >= CHECK_STATUS_MAX || !checks->status[status]) {
		buf_printf(why, "status %u was not expected", status);
		return false;
	}
	for (size_t i = 0; i < checks->header_count; i++) {
		if (!header_right(&checks->headers[i], head, head_bytes, why))
			return false;
	}
	if (!checks->place_count)
		return true;
	struct json_error error = {0};
	if (cut) {
		buf_printf(why, "json: the body is over the limit of %u bytes", CHECK_BODY_BYTES_MAX);
		return false;
	}
	if (json_tokenize(body, &limits, tokens, &error)) {
		buf_printf(why, "json: the body is no JSON: %s at byte %zu", error.reason, error.offset);
		return false;
	}
	for (size_t i = 0; i < checks->place_count; i++) {
		if (!place_right(&checks->places[i], body, tokens, why))
			return false;
	}
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON tokenizer: its tokens form a tree that lies in the text; strings and numbers are compared as their
 * values are; and jansson, which reads the same grammar but loses digits, agrees about what is JSON.
 */
#include "fuzz.h"

#include "judge/json.h"
#include "judge/number.h"

#include <errno.h>
#include <jansson.h>

/* Is what jansson refuses one of the things that RFC 8259 allows and jansson cannot keep? */
static bool is_jansson_limit(const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_numeric_overflow: /* 20 digits, 1e400 */
	case json_error_null_character:	  /* \u0000 in a string */
	case json_error_null_byte_in_key:
	case json_error_stack_overflow:
	case json_error_out_of_memory:
		return true;
	case json_error_invalid_syntax: /* a lone surrogate is reported as syntax */
		return strstr(error->text, "nicode") != NULL;
	default:
		return false;
	}
}

static void compare_with_jansson(struct slice text, int result, const struct json_error *error)
{
	json_error_t other;
	/* jansson takes a NUL behind the value for the end of the text. */
	if (text.len && memchr(text.ptr, 0, text.len))
		return;
	json_t *json = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &other);
	if (json)
		FUZZ_CHECK(result == 0 || error->limit);
	else
		FUZZ_CHECK(result != 0 || is_jansson_limit(&other));
	json_decref(json);
}

static void check_string(struct slice text, const struct json_token *token, const struct json_token *last)
{
	struct slice raw = json_token_text(text, token);
	struct buf own = {0}, other = {0};
	json_string_decode(raw, &own);
	FUZZ_CHECK(!own.failed && own.len <= raw.len);
	FUZZ_CHECK(token->escaped || slice_equal(buf_slice(&own), raw));
	FUZZ_CHECK(json_string_equal(raw, token->escaped, raw, token->escaped));
	if (last) {
		struct slice last_raw = json_token_text(text, last);
		json_string_decode(last_raw, &other);
		bool equal = slice_equal(buf_slice(&own), buf_slice(&other));
		FUZZ_CHECK(json_string_equal(raw, token->escaped, last_raw, last->escaped) == equal);
		FUZZ_CHECK(json_string_equal(last_raw, last->escaped, raw, token->escaped) == equal);
	}
	buf_fini(&own);
	buf_fini(&other);
}

static void check_number(struct slice text, const struct json_token *token, const struct json_token *last)
{
	static struct number_tolerance tolerance;
	struct slice a = json_token_text(text, token);
	if (!tolerance.len)
		number_tolerance_set(&tolerance, 0.01);
	char *normal = malloc(a.len + 24);
	size_t len = number_normal(a, normal);
	FUZZ_CHECK(len && len <= a.len + 24);
	FUZZ_CHECK(number_equal(a, a) && number_order(a, a) == 0 && number_within(a, a, &tolerance));
	if (last) {
		struct slice b = json_token_text(text, last);
		char *last_normal = malloc(b.len + 24);
		size_t last_len = number_normal(b, last_normal);
		bool equal = len == last_len && memcmp(normal, last_normal, len) == 0;
		FUZZ_CHECK(number_equal(a, b) == equal && number_equal(b, a) == equal);
		FUZZ_CHECK((number_order(a, b) == 0) == equal && number_order(a, b) == -number_order(b, a));
		FUZZ_CHECK(number_within(a, b, &tolerance) == number_within(b, a, &tolerance));
		FUZZ_CHECK(!equal || number_within(a, b, &tolerance));
		free(last_normal);
	}
	free(normal);
}

/* Children lie one after the other behind their container, as many as it says. */
static void check_container(const struct json_tokens *tokens, uint32_t at)
{
	const struct json_token *token = &tokens->items[at];
	uint32_t count = 0, child = at + 1, end = token->start;
	while (child < token->next) {
		const struct json_token *c = &tokens->items[child];
		FUZZ_CHECK(c->next > child && c->next <= token->next);
		FUZZ_CHECK(c->start >= end && c->end <= token->end);
		end = c->end;
		if (token->type == JSON_TOKEN_OBJECT && count % 2 == 0)
			FUZZ_CHECK(c->type == JSON_TOKEN_STRING);
		child = c->next;
		count++;
	}
	FUZZ_CHECK(child == token->next);
	FUZZ_CHECK(token->count == (token->type == JSON_TOKEN_OBJECT ? count / 2 : count));
	FUZZ_CHECK(token->type == JSON_TOKEN_ARRAY || count % 2 == 0);
}

FUZZ_TARGET(json)
{
	char *bytes = fuzz_copy(data, size);
	struct slice text = slice_of(bytes, size);
	struct json_tokens tokens = {0};
	struct json_error error = {0};
	const struct json_token *string = NULL, *number = NULL;
	int result = json_tokenize(text, NULL, &tokens, &error);
	if (result) {
		unsigned line, column;
		json_locate(text, error.offset, &line, &column);
		FUZZ_CHECK(error.reason && error.offset <= size && line && column && tokens.count == 0);
		FUZZ_CHECK(result == (error.limit ? -E2BIG : -EINVAL));
	}
	for (uint32_t i = 0; !result && i < tokens.count; i++) {
		const struct json_token *token = &tokens.items[i];
		FUZZ_CHECK(token->start <= token->end && token->end <= size);
		FUZZ_CHECK(token->next > i && token->next <= tokens.count);
		if (token->type >= JSON_TOKEN_ARRAY) {
			check_container(&tokens, i);
			continue;
		}
		FUZZ_CHECK(token->next == i + 1 && token->count == 0);
		if (token->type == JSON_TOKEN_STRING) {
			check_string(text, token, string);
			string = token;
		} else if (token->type == JSON_TOKEN_NUMBER) {
			check_number(text, token, number);
			number = token;
		}
	}
	FUZZ_CHECK(result || tokens.items[0].next == tokens.count);
	compare_with_jansson(text, result, &error);
	json_tokens_fini(&tokens);
	free(bytes);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Corners of http/ that the tests of the single modules leave out: names that are nearly known ones, limits,
 * kinds of bodies, what happens when a budget is used up. */
#include "http/body.h"
#include "http/exchange.h"
#include "http/router.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>

static enum http_parse_result parse(struct http_head *head, const char *text, uint32_t flags)
{
	http_head_init(head, flags, HTTP_FIELDS_MAX);
	return http_head_parse(head, text, strlen(text));
}

/* Every known word with one letter changed at a time, with one more and one less, is not that word: it is
 * compared as three 64-bit words and a length. */
TEST(methods_nearly_known)
{
	static const char *const names[] = {
#define X(name) #name,
		PHX_METHODS(X)
#undef X
	};
	static struct http_head head;
	char word[32], text[64];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);
		if (strcmp(names[i], "OTHER") == 0)
			continue;
		snprintf(text, sizeof(text), "%s / HTTP/1.0\r\n\r\n", names[i]);
		CHECK_INT(parse(&head, text, 0), HTTP_PARSE_DONE);
		CHECK(head.scan.method != PHX_METHOD_OTHER);
		for (size_t at = 0; at <= len + 1; at++) {
			memcpy(word, names[i], len + 1);
			if (at < len)
				word[at] ^= 0x20;
			else if (at == len)
				memcpy(word + len, "aaaaaaaaaaaaaaaa", 17);
			else
				word[len - 1] = 0;
			snprintf(text, sizeof(text), "%s / HTTP/1.0\r\n\r\n", word);
			CHECK_INT(parse(&head, text, 0), HTTP_PARSE_DONE);
			CHECK_MSG(head.scan.method == PHX_METHOD_OTHER, "%s", word);
		}
	}
}

TEST(fields_nearly_known)
{
	static const char *const names[] = {
#define X(name, text) text,
		PHX_FIELDS(X)
#undef X
	};
	static struct http_head head;
	char word[64], text[128];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);
		for (size_t at = 0; at <= len + 1; at++) {
			memcpy(word, names[i], len + 1);
			if (at < len)
				word[at] = word[at] == 'x' ? 'q' : 'x';
			else if (at == len)
				memcpy(word + len, "-aaaaaaaaaaaaaaaaaaaaaaaa", 26);
			else
				word[len - 1] = 0;
			snprintf(text, sizeof(text), "%s: 1\r\n\r\n", word);
			CHECK_INT(parse(&head, text, PHX_HEAD_TRAILER), HTTP_PARSE_DONE);
			CHECK_MSG(head.fields[0].id == PHX_FIELD_OTHER, "%s", word);
		}
	}
}

/* Tokens of Connection, Transfer-Encoding and Expect that begin, go on or end like the known ones. */
TEST(tokens_nearly_known)
{
	static const struct {
		const char *field;
		int result; /* of the head */
		uint32_t flags;
	} rows[] = {
		{"Connection: close", HTTP_PARSE_DONE, PHX_HEAD_CLOSE},
		{"Connection: clos3", HTTP_PARSE_DONE, PHX_HEAD_NOMINATES},
		{"Connection: closed", HTTP_PARSE_DONE, PHX_HEAD_NOMINATES},
		{"Connection: keep-alive", HTTP_PARSE_DONE, PHX_HEAD_KEEP_ALIVE},
		{"Connection: k3ep-alive", HTTP_PARSE_DONE, PHX_HEAD_NOMINATES},
		{"Connection: keep-aliv3", HTTP_PARSE_DONE, PHX_HEAD_NOMINATES},
		{"Connection: upgrade", HTTP_PARSE_DONE, PHX_HEAD_UPGRADE},
		{"Connection: upgrad3", HTTP_PARSE_DONE, PHX_HEAD_NOMINATES},
		{"Connection: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", HTTP_PARSE_DONE, PHX_HEAD_NOMINATES},
		{"Transfer-Encoding: chunk3d", HTTP_PARSE_REFUSED, 0},
		{"Transfer-Encoding: chunke", HTTP_PARSE_REFUSED, 0},
		{"Transfer-Encoding: chunkedd", HTTP_PARSE_REFUSED, 0},
		{"Expect: 100-continue", HTTP_PARSE_DONE, PHX_HEAD_CONTINUE},
		{"Expect: 101-continue", HTTP_PARSE_REFUSED, 0},
		{"Expect: 100-continu3", HTTP_PARSE_REFUSED, 0},
		{"Expect: 100-continuee", HTTP_PARSE_REFUSED, 0},
	};
	static struct http_head head;
	char text[128];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", rows[i].field);
		CHECK_MSG((int)parse(&head, text, 0) == rows[i].result, "%s", rows[i].field);
		if (rows[i].result == HTTP_PARSE_DONE)
			CHECK_MSG(head.scan.flags == (rows[i].flags | PHX_HEAD_HAS_HOST), "%s",
				  rows[i].field);
	}
}

TEST(a_name_longer_than_its_length_can_say)
{
	static struct http_head head;
	size_t len = 70000;
	char *text = malloc(len + 16);
	CHECK(text != NULL);
	memset(text, 'a', len);
	memcpy(text + len, ": b\r\n\r\n", 7);
	http_head_init(&head, PHX_HEAD_TRAILER, HTTP_FIELDS_MAX);
	CHECK_INT(http_head_parse(&head, text, len + 7), HTTP_PARSE_TOO_MANY);
	CHECK_INT(http_refusal_status(&head, HTTP_PARSE_TOO_MANY), 431);
	free(text);
}

TEST(reasons)
{
	CHECK_STR(http_reason(200), "OK");
	CHECK_STR(http_reason(508), "Loop Detected");
	CHECK_STR(http_reason(299), "Unknown");
}

/* --- bodies --------------------------------------------------------------------------------------------- */

TEST(kinds_of_bodies)
{
	char bytes[] = "abcdef";
	struct http_body body;
	size_t consumed = 9, produced = 9;
	http_body_init(&body, HTTP_BODY_LENGTH, 0);
	CHECK_INT(body.kind, HTTP_BODY_NONE);
	CHECK_INT(http_body_read(&body, bytes, 6, &consumed, &produced), HTTP_BODY_END);
	CHECK_INT(consumed + produced, 0);
	CHECK(http_body_ends_at_eof(&body));
	http_body_init(&body, HTTP_BODY_CLOSE, 0);
	CHECK_INT(http_body_read(&body, bytes, 6, &consumed, &produced), HTTP_BODY_MORE);
	CHECK_INT(consumed, 6);
	CHECK_INT(produced, 6);
	CHECK(!http_body_complete(&body));
	CHECK(http_body_ends_at_eof(&body));
	http_body_init(&body, HTTP_BODY_LENGTH, 4);
	CHECK(!http_body_ends_at_eof(&body));
	CHECK_INT(http_body_read(&body, bytes, 6, &consumed, &produced), HTTP_BODY_END);
	CHECK_INT(consumed, 4);
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	CHECK_INT(http_body_read(&body, bytes, 0, &consumed, &produced), HTTP_BODY_MORE);
	http_body_fini(&body);
}

TEST(trailers_that_say_too_much)
{
	static const char *const names[] = {"Authorization",
					    "set-cookie",
					    "Forwarded",
					    "Content-Type",
					    "content-encoding",
					    "Content-Range",
					    "cache-control",
					    "Host",
					    "x-forwarded-for",
					    "Trailer",
					    "TE",
					    "X-Request-Id"};
	char text[128];
	struct http_body body;
	size_t consumed, produced;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int len = snprintf(text, sizeof(text), "0\r\nX-Sum: 1\r\n%s: h\r\n\r\n", names[i]);
		http_body_init(&body, HTTP_BODY_CHUNKED, 0);
		CHECK_MSG(http_body_read(&body, text, (size_t)len, &consumed, &produced) == HTTP_BODY_REFUSED,
			  "%s", names[i]);
		http_body_fini(&body);
	}
}

/* --- exchanges ------------------------------------------------------------------------------------------ */

TEST(exchanges_within_a_budget)
{
	struct exchange_budget budget = {.max_bytes = sizeof(struct exchange) - 1};
	CHECK(exchange_create(&budget, 10) == NULL);
	CHECK_INT(budget.used_bytes, 0);
	exchange_destroy(NULL);
	/* At every budget: what was stored before it ran out is still there. */
	for (uint64_t extra = 0; extra < 4000; extra += 40) {
		budget.max_bytes = sizeof(struct exchange) + extra;
		struct exchange *exchange = exchange_create(&budget, 10);
		CHECK(exchange != NULL);
		if (!exchange)
			return;
		struct exchange_message *message = &exchange->served;
		char value[40];
		size_t stored = 0;
		do
			snprintf(value, sizeof(value), "value number %zu", stored);
		while (stored < 100 &&
		       exchange_add_field(exchange, message, SLICE("name"), slice_str(value)) && ++stored);
		CHECK_INT(message->field_count, stored);
		CHECK(stored == 100 || exchange->outcome == EXCHANGE_MEMORY);
		for (size_t i = 0; i < message->field_count; i++) {
			snprintf(value, sizeof(value), "value number %zu", i);
			CHECK(slice_equal(message->fields[i].name, SLICE("name")));
			CHECK(slice_equal(message->fields[i].value, slice_str(value)));
		}
		CHECK(budget.used_bytes <= budget.max_bytes);
		exchange_destroy(exchange);
		CHECK_INT(budget.used_bytes, 0);
	}
}

TEST(a_message_is_forgotten)
{
	struct exchange_budget budget = {.max_bytes = 1 << 20};
	struct exchange *exchange = exchange_create(&budget, 3);
	CHECK(exchange != NULL);
	if (!exchange)
		return;
	exchange->shadow.status = 200;
	CHECK(exchange_add_field(exchange, &exchange->shadow, SLICE("a"), SLICE("b")));
	CHECK(exchange_add_body(exchange, &exchange->shadow, SLICE("abc")));
	CHECK(!exchange_add_body(exchange, &exchange->shadow, SLICE("d")));
	CHECK_INT(exchange->outcome, EXCHANGE_BODY_OVER_CAP);
	CHECK(slice_equal(exchange_field(&exchange->shadow, SLICE("A")), SLICE("b")));
	exchange_message_reset(&exchange->shadow);
	CHECK_INT(exchange->shadow.status + (int)exchange->shadow.field_count, 0);
	CHECK(exchange_field(&exchange->shadow, SLICE("a")).ptr == NULL);
	CHECK(exchange_add_body(exchange, &exchange->shadow, SLICE("xyz")));
	exchange_destroy(exchange);
	CHECK_STR(exchange_outcome_word(EXCHANGE_STREAM), "stream");
	CHECK_STR(exchange_outcome_word(EXCHANGE_OUTCOME_COUNT), "unknown");
}

/* --- routes --------------------------------------------------------------------------------------------- */

static int create(const char *host, const char *path)
{
	struct router_pattern pattern = {host, path, UINT32_MAX};
	struct router *router = NULL;
	int err = router_create(&pattern, 1, &router);
	router_destroy(router);
	return err;
}

TEST(patterns_over_the_limits)
{
	char path[2 * PHX_SEGMENTS_MAX + 8] = "", host[ROUTER_HOST_BYTES_MAX + 2];
	for (unsigned i = 0; i < PHX_SEGMENTS_MAX; i++)
		memcpy(path + 2 * i, "/a", 3);
	CHECK_INT(create(NULL, path), 0);
	memcpy(path + 2 * PHX_SEGMENTS_MAX, "/*", 3);
	CHECK_INT(create(NULL, path), 0);
	memcpy(path + 2 * PHX_SEGMENTS_MAX, "/a", 3);
	CHECK_INT(create(NULL, path), -EINVAL);
	CHECK_INT(create(NULL, "a"), -EINVAL);
	memset(host, 'h', sizeof(host));
	host[ROUTER_HOST_BYTES_MAX] = 0;
	CHECK_INT(create(host, "/"), 0);
	host[ROUTER_HOST_BYTES_MAX] = 'h';
	host[ROUTER_HOST_BYTES_MAX + 1] = 0;
	CHECK_INT(create(host, "/"), -EINVAL);
	router_destroy(NULL);
}

TEST(odd_hosts_and_paths)
{
	static const struct router_pattern patterns[] = {
		{"h", "/a", UINT32_MAX},
		{"[::1]", "/a", UINT32_MAX},
		{NULL, "/{", UINT32_MAX},
		{NULL, "/{}", UINT32_MAX},
		{NULL, "/{ab", UINT32_MAX},
		{NULL, "/x/{p}", UINT32_MAX},
		{NULL, "/same/{a}", 1u << PHX_METHOD_GET},
		{NULL, "/same/{b}", 1u << PHX_METHOD_GET},
	};
	char long_host[ROUTER_HOST_BYTES_MAX + 20];
	struct router *router;
	memset(long_host, 'h', sizeof(long_host));
	CHECK_INT(router_create(patterns, sizeof(patterns) / sizeof(patterns[0]), &router), 0);
	struct slice any = SLICE("other"), over = slice_of(long_host, sizeof(long_host));
	CHECK_INT(router_match(router, PHX_METHOD_GET, SLICE("H:80"), SLICE("/a")), 0);
	CHECK_INT(router_match(router, PHX_METHOD_GET, SLICE("[::1]"), SLICE("/a")), 1);
	CHECK_INT(router_match(router, PHX_METHOD_GET, SLICE("[::1]:80"), SLICE("/a")), 1);
	CHECK_INT(router_match(router, PHX_METHOD_GET, SLICE("[::1"), SLICE("/a")), ROUTER_NONE);
	CHECK_INT(router_match(router, PHX_METHOD_GET, over, SLICE("/a")), ROUTER_NONE);
	CHECK_INT(router_match(router, PHX_METHOD_GET, any, SLICE("")), ROUTER_NONE);
	CHECK_INT(router_match(router, PHX_METHOD_GET, any, SLICE("/{")), 2);
	CHECK_INT(router_match(router, PHX_METHOD_GET, any, SLICE("/{}")), 3);
	CHECK_INT(router_match(router, PHX_METHOD_GET, any, SLICE("/{ab")), 4);
	CHECK_INT(router_match(router, PHX_METHOD_GET, any, SLICE("/x/")), ROUTER_NONE);
	/* Of two that are alike the first one counts, in either order of sorting. */
	CHECK_INT(router_match(router, PHX_METHOD_GET, any, SLICE("/same/1")), 6);
	CHECK_INT(router_match(router, PHX_METHOD_POST, any, SLICE("/same/1")), ROUTER_NONE);
	router_destroy(router);
}

UNIT_MAIN

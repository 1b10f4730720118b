/* SPDX-License-Identifier: Apache-2.0 */
/* Where bodies end, and the chunked decoder in every cut. */
#include "guard.h"
#include "http/body.h"
#include "unit.h"

/* Feeds `bytes` in pieces of `step`; gathers the content. Returns the last result; *used counts what was
 * consumed. */
static enum http_body_result feed(struct http_body *body, const char *bytes, size_t len, size_t step,
				  char *content, size_t *content_len, size_t *used)
{
	enum http_body_result result = HTTP_BODY_MORE;
	*content_len = *used = 0;
	for (size_t at = 0; at < len && result == HTTP_BODY_MORE; at += step) {
		size_t n = len - at < step ? len - at : step, consumed, produced;
		char *piece = guard_copy(bytes + at, n);
		result = http_body_read(body, piece, n, &consumed, &produced);
		memcpy(content + *content_len, piece, produced);
		*content_len += produced;
		*used += consumed;
		guard_free(piece, n);
		if (result == HTTP_BODY_MORE)
			CHECK_INT(consumed, n);
	}
	return result;
}

static const struct {
	const char *name, *bytes, *content;
	enum http_body_result result;
} cases[] = {
	{"empty", "0\r\n\r\n", "", HTTP_BODY_END},
	{"one", "3\r\nabc\r\n0\r\n\r\n", "abc", HTTP_BODY_END},
	{"several", "1\r\na\r\n2\r\nbc\r\n00\r\n\r\n", "abc", HTTP_BODY_END},
	{"hexadecimal", "00a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789",
	 HTTP_BODY_END},
	{"extension", "1;a=b;c=\"d;\\\"e\"\r\nx\r\n0;f\r\n\r\n", "x", HTTP_BODY_END},
	{"space before the extension", "1 ; a = b\r\nx\r\n0\r\n\r\n", "x", HTTP_BODY_END},
	{"trailer", "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", "x", HTTP_BODY_END},
	{"data that looks like an end", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", HTTP_BODY_END},
	{"no size", "\r\nx", "", HTTP_BODY_REFUSED},
	{"no digit", "g\r\n", "", HTTP_BODY_REFUSED},
	{"minus", "-1\r\n", "", HTTP_BODY_REFUSED},
	{"plus", "+1\r\n", "", HTTP_BODY_REFUSED},
	{"0x", "0x1\r\nx\r\n", "", HTTP_BODY_REFUSED},
	{"space first", " 1\r\nx\r\n", "", HTTP_BODY_REFUSED},
	{"space after", "1 \r\nx\r\n", "", HTTP_BODY_REFUSED},
	{"16 digits", "0000000000000001\r\nx\r\n", "", HTTP_BODY_REFUSED},
	{"overflow", "ffffffffffffffff1\r\n", "", HTTP_BODY_REFUSED},
	{"bare LF after the size", "1\nx\r\n0\r\n\r\n", "", HTTP_BODY_REFUSED},
	{"CR without LF after the size", "1\rx", "", HTTP_BODY_REFUSED},
	{"data too long", "1\r\nxy\r\n", "x", HTTP_BODY_REFUSED},
	{"LF after data", "1\r\nx\n", "x", HTTP_BODY_REFUSED},
	{"CR X after data", "1\r\nx\rX", "x", HTTP_BODY_REFUSED},
	{"extension without a name", "1;\r\nx", "", HTTP_BODY_REFUSED},
	{"extension with an empty value", "1;a=\r\nx", "", HTTP_BODY_REFUSED},
	{"extension with a value and no name", "1;=b\r\nx", "", HTTP_BODY_REFUSED},
	{"extension of two words", "1;a b\r\nx", "", HTTP_BODY_REFUSED},
	{"extension with two values", "1;a=b=c\r\nx", "", HTTP_BODY_REFUSED},
	{"extension with text behind a quote", "1;a=\"b\"c\r\nx", "", HTTP_BODY_REFUSED},
	{"extension with a quote behind text", "1;a=b\"c\"\r\nx", "", HTTP_BODY_REFUSED},
	{"extension with a quoted name", "1;\"a\"\r\nx", "", HTTP_BODY_REFUSED},
	{"extension with white space at the end", "1;a \r\nx", "", HTTP_BODY_REFUSED},
	{"extensions apart", "1 ;\ta\t=\t\"b\" ; c ;d\r\nx\r\n0\r\n\r\n", "x", HTTP_BODY_END},
	{"extension with a control byte", "1;a=\x01\r\n", "", HTTP_BODY_REFUSED},
	{"extension with LF", "1;a\nx", "", HTTP_BODY_REFUSED},
	{"quoted extension with CR", "1;a=\"\r\"\r\n", "", HTTP_BODY_REFUSED},
	{"trailer with Content-Length", "0\r\nContent-Length: 1\r\n\r\n", "", HTTP_BODY_REFUSED},
	{"trailer with Transfer-Encoding", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "", HTTP_BODY_REFUSED},
	{"trailer with Host", "0\r\nHost: a\r\n\r\n", "", HTTP_BODY_REFUSED},
	{"trailer with space before the colon", "0\r\nA : b\r\n\r\n", "", HTTP_BODY_REFUSED},
	{"trailer folded", "0\r\nA: b\r\n c\r\n\r\n", "", HTTP_BODY_REFUSED},
	{"trailer with bare LF", "0\r\nA: b\n\r\n", "", HTTP_BODY_REFUSED},
	{"cut in size", "1", "", HTTP_BODY_MORE},
	{"cut in data", "2\r\nx", "x", HTTP_BODY_MORE},
	{"cut before the last CR LF", "1\r\nx\r\n0\r\n", "x", HTTP_BODY_MORE},
	{"cut in a trailer", "0\r\nA: b\r\n", "", HTTP_BODY_MORE},
};

TEST(chunks_are_decoded_or_refused_in_every_cut)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].bytes);
		for (size_t step = 1; step <= len; step++) {
			struct http_body body;
			char content[100];
			size_t content_len, used;
			http_body_init(&body, HTTP_BODY_CHUNKED, 0);
			enum http_body_result result =
				feed(&body, cases[i].bytes, len, step, content, &content_len, &used);
			CHECK_MSG(result == cases[i].result, "%s in pieces of %zu: %d", cases[i].name, step,
				  result);
			CHECK_MSG(slice_equal(slice_of(content, content_len), slice_str(cases[i].content)),
				  "%s in pieces of %zu: \"%.*s\"", cases[i].name, step, (int)content_len,
				  content);
			if (result == HTTP_BODY_END)
				CHECK_MSG(used == len, "%s: used %zu of %zu", cases[i].name, used, len);
			if (result == HTTP_BODY_REFUSED)
				CHECK(body.why != NULL);
			CHECK_INT(http_body_complete(&body), result == HTTP_BODY_END);
			http_body_fini(&body);
		}
	}
}

TEST(what_follows_a_body_is_not_touched)
{
	struct http_body body;
	char bytes[] = "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
	size_t consumed, produced;
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	CHECK_INT(http_body_read(&body, bytes, sizeof(bytes) - 1, &consumed, &produced), HTTP_BODY_END);
	CHECK_INT(consumed, 11);
	CHECK_INT(produced, 1);
	CHECK(memcmp(bytes + 11, "GET ", 4) == 0);
	char rest[] = "abcdef";
	http_body_init(&body, HTTP_BODY_LENGTH, 4);
	CHECK_INT(http_body_read(&body, rest, 6, &consumed, &produced), HTTP_BODY_END);
	CHECK_INT(consumed, 4);
}

TEST(trailers_are_kept)
{
	struct http_body body;
	char bytes[] = "0\r\nX-Sum: 12\r\nX-B:y\r\n\r\n";
	size_t consumed, produced;
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	CHECK_INT(http_body_read(&body, bytes, sizeof(bytes) - 1, &consumed, &produced), HTTP_BODY_END);
	CHECK_INT(body.trailer->head.field_count, 2);
	CHECK(slice_equal(http_field_value(&body.trailer->head.fields[0], body.trailer->bytes), SLICE("12")));
	http_body_fini(&body);
}

TEST(trailers_and_chunk_lines_have_a_limit)
{
	struct http_body body;
	size_t consumed, produced;
	char *bytes = malloc(10000);
	memset(bytes, 'a', 10000);
	memcpy(bytes, "0\r\nX: ", 6);
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	CHECK_INT(http_body_read(&body, bytes, 10000, &consumed, &produced), HTTP_BODY_REFUSED);
	http_body_fini(&body);
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	unsigned lines = 0;
	enum http_body_result result = HTTP_BODY_MORE;
	while (result == HTTP_BODY_MORE && lines++ < 1000) {
		int n = snprintf(bytes, 10000, "1;%0200d\r\nx\r\n", 0);
		result = http_body_read(&body, bytes, (size_t)n, &consumed, &produced);
	}
	CHECK_INT(result, HTTP_BODY_REFUSED);
	CHECK(lines > 50 && lines < 150);
	memset(bytes, 'a', 10000);
	memcpy(bytes, "1;", 2);
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	CHECK_INT(http_body_read(&body, bytes, 10000, &consumed, &produced), HTTP_BODY_REFUSED);
	CHECK(consumed <= HTTP_CHUNK_LINE_MAX + 1);
	free(bytes);
}

TEST(the_end_of_a_connection_ends_only_what_it_may)
{
	struct http_body body;
	http_body_init(&body, HTTP_BODY_CLOSE, 0);
	CHECK(http_body_ends_at_eof(&body) && !http_body_complete(&body));
	http_body_init(&body, HTTP_BODY_LENGTH, 1);
	CHECK(!http_body_ends_at_eof(&body));
	http_body_init(&body, HTTP_BODY_LENGTH, 0);
	CHECK(http_body_complete(&body));
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	CHECK(!http_body_ends_at_eof(&body));
}

/* RFC 9112 6.3, as far as it concerns responses. */
TEST(responses_know_their_framing)
{
	static const struct {
		const char *head;
		bool head_request;
		enum http_body_kind kind;
	} framings[] = {
		{"HTTP/1.1 200 OK\r\n\r\n", false, HTTP_BODY_CLOSE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_LENGTH},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, HTTP_BODY_NONE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, HTTP_BODY_NONE},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, HTTP_BODY_CHUNKED},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, HTTP_BODY_NONE},
		{"HTTP/1.1 204 No\r\n\r\n", false, HTTP_BODY_NONE},
		{"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_NONE},
		{"HTTP/1.1 100 Go\r\n\r\n", false, HTTP_BODY_NONE},
		{"HTTP/1.0 404 No\r\n\r\n", false, HTTP_BODY_CLOSE},
	};
	for (size_t i = 0; i < sizeof(framings) / sizeof(framings[0]); i++) {
		struct http_head head;
		struct http_body body;
		http_head_init(&head, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
		CHECK_INT(http_head_parse(&head, framings[i].head, strlen(framings[i].head)),
			  HTTP_PARSE_DONE);
		http_body_of_response(&body, &head, framings[i].head_request);
		CHECK_MSG(body.kind == framings[i].kind, "%s: %d", framings[i].head, body.kind);
	}
}

UNIT_MAIN

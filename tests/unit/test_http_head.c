/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head scanner: what it takes, what it refuses and why, the same for every way a head can be cut into
 * pieces, and never a byte read behind the end.
 */
#include "guard.h"
#include "http/parse.h"
#include "unit.h"

struct head_case {
	const char *name;
	const char *bytes;
	int error; /* enum phx_head_error; 0 = valid */
};

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST

static const struct head_case requests[] = {
	{"plain", GET "\r\n", 0},
	{"no fields in 1.0", "GET / HTTP/1.0\r\n\r\n", 0},
	{"blank line first", "\r\n" GET "\r\n", 0},
	{"two blank lines first", "\r\n\r\n" GET "\r\n", PHX_HEAD_ERROR_METHOD},
	{"blank LF first", "\n" GET "\r\n", PHX_HEAD_ERROR_METHOD},
	{"method with odd token bytes", "!#$%&'*+-.^_`|~ / HTTP/1.1\r\n" HOST "\r\n", 0},
	{"method with a slash", "GE/T / HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_METHOD},
	{"space first", " GET / HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_METHOD},
	{"two spaces before the target", "GET  / HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_TARGET},
	{"two spaces after the target", "GET /  HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_VERSION},
	{"tab for a space", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_METHOD},
	{"no target", "GET HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_VERSION},
	{"HTTP/0.9", "GET /\r\n", PHX_HEAD_ERROR_VERSION},
	{"target with a control byte", "GET /\x01 HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_TARGET},
	{"target with DEL", "GET /\x7f HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_TARGET},
	{"target with a high byte", "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_TARGET},
	{"target with a fragment", "GET /#x HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_TARGET},
	{"target with a backslash", "GET /a\\b HTTP/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_TARGET},
	{"target as browsers send it", "GET /a?b={c|d}^[e]` HTTP/1.1\r\n" HOST "\r\n", 0},
	{"lower-case version", "GET / http/1.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_VERSION},
	{"HTTP/1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", PHX_HEAD_ERROR_VERSION_UNSUPPORTED},
	{"HTTP/2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", PHX_HEAD_ERROR_VERSION_UNSUPPORTED},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", PHX_HEAD_ERROR_VERSION_UNSUPPORTED},
	{"HTTP/11.1", "GET / HTTP/11.1\r\n" HOST "\r\n", PHX_HEAD_ERROR_VERSION},
	{"HTTP/1.10", "GET / HTTP/1.10\r\n" HOST "\r\n", PHX_HEAD_ERROR_LINE_END},
	{"space after the version", "GET / HTTP/1.1 \r\n" HOST "\r\n", PHX_HEAD_ERROR_LINE_END},
	{"bare LF after the request line", "GET / HTTP/1.1\n" HOST "\r\n", PHX_HEAD_ERROR_LINE_END},
	{"CR without LF", "GET / HTTP/1.1\rX" HOST "\r\n", PHX_HEAD_ERROR_LINE_END},
	{"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", PHX_HEAD_ERROR_LINE_END},
	{"bare LF as the end", "GET / HTTP/1.1\r\n" HOST "\n", PHX_HEAD_ERROR_LINE_END},
	{"CR CR LF", GET "\r\r\n", PHX_HEAD_ERROR_LINE_END},
	{"folded", GET "A: b\r\n c\r\n\r\n", PHX_HEAD_ERROR_FOLDED},
	{"folded with a tab", GET "A: b\r\n\tc\r\n\r\n", PHX_HEAD_ERROR_FOLDED},
	{"space before the first field", "GET / HTTP/1.1\r\n " HOST "\r\n", PHX_HEAD_ERROR_FOLDED},
	{"space before the colon", GET "A : b\r\n\r\n", PHX_HEAD_ERROR_FIELD_NAME},
	{"empty name", GET ": b\r\n\r\n", PHX_HEAD_ERROR_FIELD_NAME},
	{"no colon", GET "Ab\r\n\r\n", PHX_HEAD_ERROR_FIELD_NAME},
	{"name with a bracket", GET "A[b]: c\r\n\r\n", PHX_HEAD_ERROR_FIELD_NAME},
	{"name with a high byte", GET "A\xe4: c\r\n\r\n", PHX_HEAD_ERROR_FIELD_NAME},
	{"value empty", GET "A:\r\nB: \r\n\r\n", 0},
	{"value with high bytes and tab", GET "A: \xe4\tb\r\n\r\n", 0},
	{"value with CR inside", GET "A: b\rc\r\n\r\n", PHX_HEAD_ERROR_LINE_END},
	{"value with a control byte", GET "A: b\x02\r\n\r\n", PHX_HEAD_ERROR_FIELD_VALUE},
	{"value with DEL", GET "A: b\x7f\r\n\r\n", PHX_HEAD_ERROR_FIELD_VALUE},
	{"no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", PHX_HEAD_ERROR_HOST_MISSING},
	{"Host twice", GET HOST "\r\n", PHX_HEAD_ERROR_HOST_TWICE},
	{"Host twice in 1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", PHX_HEAD_ERROR_HOST_TWICE},
	{"Host empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host list", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host with port and spaces", "GET / HTTP/1.1\r\nHost: \t a.b:80 \t\r\n\r\n", 0},
	{"Host with a letter in the port", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host with an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 0},
	{"Host v6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0},
	{"Host v6 open", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host v6 empty", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host with a coded byte", "GET / HTTP/1.1\r\nHost: a%2db\r\n\r\n", 0},
	{"Host with a cut code", "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host with a bad code", "GET / HTTP/1.1\r\nHost: a%2x\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"Host with a cut code before the port", "GET / HTTP/1.1\r\nHost: a%2:80\r\n\r\n",
	 PHX_HEAD_ERROR_HOST},
	{"Host v6 and junk", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", PHX_HEAD_ERROR_HOST},
	{"length", GET "Content-Length: 12\r\n\r\n", 0},
	{"length with spaces around", GET "Content-Length: \t 12 \r\n\r\n", 0},
	{"length of 18 digits", GET "Content-Length: 999999999999999999\r\n\r\n", 0},
	{"length of 19 digits", GET "Content-Length: 1000000000000000000\r\n\r\n", PHX_HEAD_ERROR_LENGTH},
	{"length empty", GET "Content-Length:\r\n\r\n", PHX_HEAD_ERROR_LENGTH},
	{"length with plus", GET "Content-Length: +1\r\n\r\n", PHX_HEAD_ERROR_LENGTH},
	{"length with minus", GET "Content-Length: -1\r\n\r\n", PHX_HEAD_ERROR_LENGTH},
	{"length in hexadecimal", GET "Content-Length: 0x1\r\n\r\n", PHX_HEAD_ERROR_LENGTH},
	{"length with a space inside", GET "Content-Length: 1 1\r\n\r\n", PHX_HEAD_ERROR_LENGTH},
	{"length list", GET "Content-Length: 1, 1\r\n\r\n", PHX_HEAD_ERROR_LENGTH},
	{"length twice, equal", GET "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
	 PHX_HEAD_ERROR_LENGTH_TWICE},
	{"chunked", GET "Transfer-Encoding: chunked\r\n\r\n", 0},
	{"chunked in capitals", GET "TRANSFER-ENCODING: ChUnKeD\r\n\r\n", 0},
	{"chunked with empty elements", GET "Transfer-Encoding: , chunked ,\r\n\r\n", 0},
	{"chunked twice", GET "Transfer-Encoding: chunked, chunked\r\n\r\n", PHX_HEAD_ERROR_CODING_TWICE},
	{"chunked in two fields", GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	 PHX_HEAD_ERROR_CODING_TWICE},
	{"chunked then gzip", GET "Transfer-Encoding: chunked, gzip\r\n\r\n", PHX_HEAD_ERROR_CODING_TWICE},
	{"gzip then chunked", GET "Transfer-Encoding: gzip, chunked\r\n\r\n", PHX_HEAD_ERROR_CODING},
	{"identity", GET "Transfer-Encoding: identity\r\n\r\n", PHX_HEAD_ERROR_CODING},
	{"xchunked", GET "Transfer-Encoding: xchunked\r\n\r\n", PHX_HEAD_ERROR_CODING},
	{"chun ked", GET "Transfer-Encoding: chun ked\r\n\r\n", PHX_HEAD_ERROR_CODING},
	{"quoted chunked", GET "Transfer-Encoding: \"chunked\"\r\n\r\n", PHX_HEAD_ERROR_CODING},
	{"coding empty", GET "Transfer-Encoding:\r\n\r\n", PHX_HEAD_ERROR_CODING},
	{"vertical tab before chunked",
	 GET "Transfer-Encoding: \x0b"
	     "chunked\r\n\r\n",
	 PHX_HEAD_ERROR_FIELD_VALUE},
	{"length and coding", GET "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	 PHX_HEAD_ERROR_LENGTH_AND_CODING},
	{"coding and length", GET "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
	 PHX_HEAD_ERROR_LENGTH_AND_CODING},
	{"coding in 1.0", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
	 PHX_HEAD_ERROR_CODING_IN_1_0},
	{"connection list", GET "Connection: , close ,x-a\r\n\r\n", 0},
	{"connection with junk", GET "Connection: a b\r\n\r\n", PHX_HEAD_ERROR_CONNECTION},
	{"connection with a quote", GET "Connection: \"close\"\r\n\r\n", PHX_HEAD_ERROR_CONNECTION},
	{"expect", GET "Expect: 100-Continue\r\n\r\n", 0},
	{"expect other", GET "Expect: 200-ok\r\n\r\n", PHX_HEAD_ERROR_EXPECT},
};

static const struct head_case responses[] = {
	{"plain", "HTTP/1.1 200 OK\r\n\r\n", 0},
	{"1.0", "HTTP/1.0 200 OK\r\n\r\n", 0},
	{"no reason", "HTTP/1.1 200 \r\n\r\n", 0},
	{"no space either", "HTTP/1.1 200\r\n\r\n", 0},
	{"reason with high bytes", "HTTP/1.1 200 \xe4h\r\n\r\n", 0},
	{"reason with a control byte", "HTTP/1.1 200 O\x01K\r\n\r\n", PHX_HEAD_ERROR_REASON},
	{"two digits", "HTTP/1.1 20 OK\r\n\r\n", PHX_HEAD_ERROR_STATUS},
	{"four digits", "HTTP/1.1 2000 OK\r\n\r\n", PHX_HEAD_ERROR_STATUS},
	{"five digits", "HTTP/1.1 20000 OK\r\n\r\n", PHX_HEAD_ERROR_STATUS},
	{"099", "HTTP/1.1 099 OK\r\n\r\n", PHX_HEAD_ERROR_STATUS},
	{"600", "HTTP/1.1 600 OK\r\n\r\n", PHX_HEAD_ERROR_STATUS},
	{"sign", "HTTP/1.1 -20 OK\r\n\r\n", PHX_HEAD_ERROR_STATUS},
	{"two spaces", "HTTP/1.1  200 OK\r\n\r\n", PHX_HEAD_ERROR_STATUS},
	{"blank line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", PHX_HEAD_ERROR_VERSION},
	{"ICY", "ICY 200 OK\r\n\r\n", PHX_HEAD_ERROR_VERSION},
	{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", PHX_HEAD_ERROR_VERSION_UNSUPPORTED},
	{"bare LF", "HTTP/1.1 200 OK\n\n", PHX_HEAD_ERROR_REASON},
	{"no Host needed", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n", 0},
	{"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	 PHX_HEAD_ERROR_LENGTH_AND_CODING},
};

/* Parses in pieces of `step` bytes, the bytes ending at an unreadable page. Returns the error, 0 for DONE,
 * -1 for MORE. */
static int parse(const char *bytes, size_t len, uint32_t flags, size_t step, struct http_head *head)
{
	http_head_init(head, flags, HTTP_FIELDS_MAX);
	enum http_parse_result result = HTTP_PARSE_MORE;
	for (size_t have = step < len ? step : len; result == HTTP_PARSE_MORE;
	     have = have + step < len ? have + step : len) {
		char *copy = guard_copy(bytes, have);
		result = http_head_parse(head, copy, have);
		guard_free(copy, have);
		if (have == len)
			break;
	}
	return result == HTTP_PARSE_MORE ? -1 : result == HTTP_PARSE_DONE ? 0 : head->scan.error;
}

static void check_table(const struct head_case *cases, size_t count, uint32_t flags)
{
	struct http_head head;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(cases[i].bytes);
		for (size_t step = 1; step <= len; step = step < 20 ? step + 1 : step * 2) {
			int error = parse(cases[i].bytes, len, flags, step, &head);
			CHECK_MSG(error == cases[i].error, "%s: error %d, not %d, in pieces of %zu",
				  cases[i].name, error, cases[i].error, step);
		}
		if (!cases[i].error)
			CHECK_MSG(head.scan.pos == len, "%s: ends at %u of %zu", cases[i].name, head.scan.pos,
				  len);
	}
}

TEST(requests_are_taken_or_refused_by_the_book)
{
	check_table(requests, sizeof(requests) / sizeof(requests[0]), 0);
}

TEST(responses_are_taken_or_refused_by_the_book)
{
	check_table(responses, sizeof(responses) / sizeof(responses[0]), PHX_HEAD_RESPONSE);
}

TEST(a_nul_byte_is_refused_anywhere)
{
	static const char valid[] =
		"GET /abcdefgh HTTP/1.1\r\nHost: abcdefgh\r\nX-Long-Name: abcdefghijklmnop\r\n\r\n";
	struct http_head head;
	for (size_t i = 0; i < sizeof(valid) - 1; i++) {
		char bytes[sizeof(valid)];
		memcpy(bytes, valid, sizeof(valid));
		bytes[i] = 0;
		CHECK_MSG(parse(bytes, sizeof(valid) - 1, 0, 100, &head) > 0, "NUL at %zu", i);
	}
}

TEST(byte_classes_are_those_of_the_grammar)
{
	for (int c = 0; c < 256; c++) {
		bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool tchar = alnum || (c && strchr("!#$%&'*+-.^_`|~", c));
		bool uri = c > 0x20 && c < 0x7f && !strchr("\"#<>\\", c);
		bool text = c == 9 || (c >= 0x20 && c < 0x7f) || c >= 0x80;
		bool host = alnum || (c && strchr("-._~%!$&'()*+;=", c));
		CHECK_MSG(phx_byte_is(PHX_TCHAR, (uint8_t)c) == tchar, "tchar %d", c);
		CHECK_MSG(phx_byte_is(PHX_URI, (uint8_t)c) == uri, "uri %d", c);
		CHECK_MSG(phx_byte_is(PHX_TEXT, (uint8_t)c) == text, "text %d", c);
		CHECK_MSG(phx_byte_is(PHX_HOSTCH, (uint8_t)c) == host, "host %d", c);
	}
}

TEST(skipping_ahead_sees_every_byte)
{
	/* One bad byte at each place of a long value and a long path, where the parser goes by eight. */
	static const unsigned char bad[] = {0x00, 0x01, 0x1f, 0x7f, '\n'};
	struct http_head head;
	for (size_t at = 0; at < 40; at++) {
		for (size_t b = 0; b < sizeof(bad); b++) {
			char value[41], bytes[200];
			memset(value, 'v', 40);
			value[40] = 0;
			int n = snprintf(bytes, sizeof(bytes), GET "X: %s\r\n\r\n", value);
			bytes[strlen(GET) + 3 + at] = (char)bad[b];
			CHECK_MSG(parse(bytes, (size_t)n, 0, 500, &head) > 0, "value byte %d at %zu", bad[b],
				  at);
			n = snprintf(bytes, sizeof(bytes), "GET /%s HTTP/1.1\r\n" HOST "\r\n", value);
			bytes[5 + at] = (char)bad[b];
			CHECK_MSG(parse(bytes, (size_t)n, 0, 500, &head) > 0, "target byte %d at %zu", bad[b],
				  at);
		}
	}
}

TEST(values_are_trimmed_and_found)
{
	static const char bytes[] =
		GET "A:  b c \t \r\nX-Empty: \t\r\nx-long:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  \r\n\r\n";
	struct http_head head;
	CHECK_INT(parse(bytes, sizeof(bytes) - 1, 0, 7, &head), 0);
	const struct http_field *field = http_head_find_name(&head, bytes, SLICE("a"));
	CHECK(field && slice_equal(http_field_value(field, bytes), SLICE("b c")));
	field = http_head_find_name(&head, bytes, SLICE("X-EMPTY"));
	CHECK(field && field->value_len == 0);
	field = http_head_find_name(&head, bytes, SLICE("X-Long"));
	CHECK(field && field->value_len == 32);
	CHECK_INT(head.field_count, 4);
}

TEST(connection_names_fields_that_stay_here)
{
	static const char bytes[] =
		GET "X-One: 1\r\nConnection: close, x-one , X-TWO\r\nx-two: 2\r\nX-Three: 3\r\n\r\n";
	struct http_head head;
	CHECK_INT(parse(bytes, sizeof(bytes) - 1, 0, 500, &head), 0);
	CHECK(head.scan.flags & PHX_HEAD_CLOSE);
	CHECK(http_head_find_name(&head, bytes, SLICE("x-one"))->nominated);
	CHECK(http_head_find_name(&head, bytes, SLICE("x-two"))->nominated);
	CHECK(!http_head_find_name(&head, bytes, SLICE("x-three"))->nominated);
}

TEST(too_many_fields_are_refused)
{
	char bytes[4096] = GET;
	for (int i = 0; i < 20; i++)
		strcat(bytes, "A: b\r\n");
	strcat(bytes, "\r\n");
	struct http_head head;
	http_head_init(&head, 0, 20);
	CHECK_INT(http_head_parse(&head, bytes, strlen(bytes)), HTTP_PARSE_TOO_MANY);
	CHECK_INT(http_refusal_status(&head, HTTP_PARSE_TOO_MANY), 431);
	http_head_init(&head, 0, 21);
	CHECK_INT(http_head_parse(&head, bytes, strlen(bytes)), HTTP_PARSE_DONE);
}

TEST(methods_are_recognised)
{
	static const char *const names[] = {
#define X(name) #name,
		PHX_METHODS(X)
#undef X
	};
	struct http_head head;
	char bytes[100];
	for (int i = 0; i < PHX_METHOD_OTHER; i++) {
		int n = snprintf(bytes, sizeof(bytes), "%s / HTTP/1.1\r\n" HOST "\r\n", names[i]);
		CHECK_INT(parse(bytes, (size_t)n, 0, 500, &head), 0);
		CHECK_INT(head.scan.method, i);
	}
	static const char *const others[] = {"get", "GETT", "GE", "MKCALENDAR",
					     "A-TOKEN-OF-MORE-THAN-24-BYTES"};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		int n = snprintf(bytes, sizeof(bytes), "%s / HTTP/1.1\r\n" HOST "\r\n", others[i]);
		CHECK_INT(parse(bytes, (size_t)n, 0, 500, &head), 0);
		CHECK_INT(head.scan.method, PHX_METHOD_OTHER);
	}
}

TEST(targets_come_in_four_forms)
{
	static const struct {
		const char *line, *authority, *path, *path_query;
		bool valid;
	} cases[] = {
		{"GET /a?b=/c HTTP/1.1", "", "/a", "/a?b=/c", true},
		{"GET / HTTP/1.1", "", "/", "/", true},
		{"GET http://h:1/a?b HTTP/1.1", "h:1", "/a", "/a?b", true},
		{"GET HTTP://H HTTP/1.1", "H", "/", "/", true},
		{"OPTIONS http://h HTTP/1.1", "h", "*", "*", true},
		{"OPTIONS * HTTP/1.1", "", "*", "*", true},
		{"GET * HTTP/1.1", "", "", "", false},
		{"GET http:///a HTTP/1.1", "", "", "", false},
		{"GET http://u@h/a HTTP/1.1", "", "", "", false},
		{"GET http://h?x HTTP/1.1", "h", "/", "?x", true},
		{"GET ftp://h/a HTTP/1.1", "", "", "", false},
		{"GET https://h/a HTTP/1.1", "", "", "", false},
		{"GET a/b HTTP/1.1", "", "", "", false},
		{"GET ?a HTTP/1.1", "", "", "", false},
		{"CONNECT h:1 HTTP/1.1", "", "", "", false},
		{"GET h:1 HTTP/1.1", "", "", "", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char bytes[200];
		int n = snprintf(bytes, sizeof(bytes), "%s\r\n" HOST "\r\n", cases[i].line);
		struct http_head head;
		struct http_target target;
		CHECK_INT(parse(bytes, (size_t)n, 0, 500, &head), 0);
		int error = http_target_parse(&head, bytes, &target);
		CHECK_MSG((error == 0) == cases[i].valid, "%s", cases[i].line);
		if (error)
			continue;
		CHECK_MSG(slice_equal(target.authority, slice_str(cases[i].authority)), "%s", cases[i].line);
		CHECK_MSG(slice_equal(target.path, slice_str(cases[i].path)), "%s", cases[i].line);
		CHECK_MSG(slice_equal(target.path_query, slice_str(cases[i].path_query)), "%s",
			  cases[i].line);
	}
}

/* Every mutation of one byte parses to the same verdict whole and byte by byte. */
TEST(pieces_never_change_the_verdict)
{
	static const char valid[] =
		"POST /a/b?c=d HTTP/1.1\r\nHost: h:80\r\nContent-Length: 10\r\nConnection: close\r\n"
		"X-Some-Field: some value of some length\r\n\r\n";
	struct http_head whole, pieces;
	for (size_t i = 0; i < sizeof(valid) - 1; i++) {
		for (int c = 0; c < 256; c += 3) {
			char bytes[sizeof(valid)];
			memcpy(bytes, valid, sizeof(valid));
			bytes[i] = (char)c;
			int a = parse(bytes, sizeof(valid) - 1, 0, 1000, &whole);
			http_head_init(&pieces, 0, HTTP_FIELDS_MAX);
			enum http_parse_result result = HTTP_PARSE_MORE;
			for (size_t n = 1; n < sizeof(valid) && result == HTTP_PARSE_MORE; n++)
				result = http_head_parse(&pieces, bytes, n);
			int b = result == HTTP_PARSE_MORE   ? -1
				: result == HTTP_PARSE_DONE ? 0
							    : pieces.scan.error;
			CHECK_MSG(a == b && whole.scan.pos == pieces.scan.pos, "byte %d at %zu: %d and %d", c,
				  i, a, b);
		}
	}
}

UNIT_MAIN

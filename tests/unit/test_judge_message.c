/* SPDX-License-Identifier: Apache-2.0 */
/* The comparer on whole messages: status, header fields, which bodies are JSON, bytes, content codings. */
#include "test_judge_compare.h"

#include <zlib.h>

/* A message from "Name: value\n…" and a body. */
struct message {
	struct header_field fields[8];
	struct compare_message m;
};

static void message_make(struct message *message, int status, const char *head, struct slice body)
{
	struct slice rest = slice_str(head), line;
	memset(message, 0, sizeof(*message));
	while (rest.len && slice_split(&rest, '\n', &line)) {
		const char *colon = memchr(line.ptr, ':', line.len);
		size_t name = (size_t)(colon - line.ptr);
		message->fields[message->m.field_count++] = (struct header_field){
			slice_of(line.ptr, name), slice_of(colon + 1, line.len - name - 1)};
	}
	message->m.status = status;
	message->m.fields = message->fields;
	message->m.body = body;
}

TEST(status_and_headers)
{
	static const struct {
		const char *name;
		int legacy_status, modern_status;
		const char *legacy, *modern, *headers, *differences;
	} rows[] = {
		{"same", 200, 200, "A: 1", "A: 1", "a", ""},
		{"status", 200, 500, "", "", NULL, "status status"},
		{"status near", 200, 201, "", "", NULL, "status status"},
		{"value", 200, 200, "A: 1", "A: 2", "a", "header header:a"},
		{"not listed", 200, 200, "A: 1", "A: 2", "b", ""},
		{"listed in capitals", 200, 200, "a: 1", "a: 2", "A", "header header:a"},
		{"field names", 200, 200, "X-Thing: 1", "x-thing: 1", "x-thing", ""},
		{"space around", 200, 200, "A:1", "A: \t1 ", "a", ""},
		{"missing", 200, 200, "A: 1", "", "a", "missing header:a"},
		{"added", 200, 200, "", "A: 1", "a", "added header:a"},
		{"neither", 200, 200, "", "", "a", ""},
		{"empty and missing", 200, 200, "A:", "", "a", "missing header:a"},
		{"value case", 200, 200, "A: x", "A: X", "a", "header header:a"},
		{"several", 200, 200, "A: 1\nB: 1", "A: 2\nB: 2", "a,b", "header header:a; header header:b"},
		{"lines joined", 200, 200, "A: 1\nA: 2", "A: 1, 2", "a", ""},
		{"lines in order", 200, 200, "A: 1\nA: 2", "A: 2\nA: 1", "a", "header header:a"},
		{"status and header", 200, 404, "A: 1", "A: 2", "a", "status status; header header:a"},
		{"type", 200, 200, "Content-Type: text/html", "Content-Type: text/plain", "content-type",
		 "header header:content-type"},
		{"charset case and space", 200, 200, "Content-Type: application/json; charset=utf-8",
		 "Content-Type: Application/JSON;charset=UTF-8", "content-type", ""},
		{"charset quoted", 200, 200, "Content-Type: text/html; charset=\"utf-8\"",
		 "Content-Type: text/html; Charset=utf-8", "content-type", ""},
		{"charset missing", 200, 200, "Content-Type: text/html; charset=utf-8",
		 "Content-Type: text/html", "content-type", "header header:content-type"},
		{"charset other", 200, 200, "Content-Type: text/html; charset=utf-8",
		 "Content-Type: text/html; charset=latin1", "content-type", "header header:content-type"},
		{"parameter order", 200, 200, "Content-Type: a/b; x=1; y=2", "Content-Type: a/b; y=2; x=1",
		 "content-type", ""},
		{"parameter case counts", 200, 200, "Content-Type: a/b; boundary=X",
		 "Content-Type: a/b; boundary=x", "content-type", "header header:content-type"},
		{"parameter twice", 200, 200, "Content-Type: a/b; x=1; x=1", "Content-Type: a/b; x=1; x=2",
		 "content-type", "header header:content-type"},
		{"semicolon in quotes", 200, 200, "Content-Type: a/b; x=\"1;2\"",
		 "Content-Type: a/b;x=\"1;2\"", "content-type", ""},
		{"semicolon at the end", 200, 200, "Content-Type: a/b;", "Content-Type: a/b", "content-type",
		 ""},
		{"odd, equal", 200, 200, "Content-Type: ;;;x", "Content-Type: ;;;x", "content-type", ""},
		{"odd, other", 200, 200, "Content-Type: ;;;x", "Content-Type: ;;;y", "content-type",
		 "header header:content-type"},
	};
	struct compare_result result = {0};
	struct buf list = {0};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct compare_plan *plan = plan_of(&(struct rules){.headers = rows[i].headers});
		struct message a, b;
		message_make(&a, rows[i].legacy_status, rows[i].legacy, SLICE("x"));
		message_make(&b, rows[i].modern_status, rows[i].modern, SLICE("x"));
		compare_messages(plan, scratch, &a.m, &b.m, &result);
		list_differences(&result, false, &list);
		CHECK_MSG(strcmp(buf_cstr(&list), rows[i].differences) == 0, "\"%s\": %s", rows[i].name,
			  buf_cstr(&list));
		CHECK_MSG(result.verdict == (rows[i].differences[0] ? COMPARE_MISMATCH : COMPARE_MATCH),
			  "\"%s\"", rows[i].name);
		compare_plan_destroy(plan);
	}
	buf_fini(&list);
	compare_result_fini(&result);
}

TEST(which_bodies_are_json)
{
	static const struct {
		const char *name, *legacy_type, *modern_type;
		const char *legacy, *modern;
		bool equal;
	} rows[] = {
		{"json", "application/json", "application/json", "[1]", "[1.0]", true},
		{"json with charset", "application/json; charset=utf-8", "application/json", "[1]", "[1.0]",
		 true},
		{"capitals", "Application/JSON", "application/json", "[1]", "[1.0]", true},
		{"+json", "application/problem+json", "application/json", "[1]", "[1.0]", true},
		{"text/json", "text/json", "text/json", "[1]", "[1.0]", true},
		{"text", "text/plain", "text/plain", "[1]", "[1.0]", false},
		{"one is text", "application/json", "text/plain", "[1]", "[1.0]", false},
		{"jsonp", "application/jsonp", "application/jsonp", "[1]", "[1.0]", false},
		{"+json alone", "+json", "+json", "[1]", "[1.0]", false},
		{"none, array", NULL, NULL, "[1]", "[1.0]", true},
		{"none, object", NULL, NULL, " {}", "\n{ }", true},
		{"none, number", NULL, NULL, "1", "1.0", false},
		{"none, string", NULL, NULL, "\"a\"", "\"\\u0061\"", false},
		{"none and json", NULL, "application/json", "[1]", "[1.0]", true},
		{"json, number", "application/json", "application/json", "1", "1.0", true},
	};
	struct compare_plan *plan = plan_of(&(struct rules){0});
	struct compare_result result = {0};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct header_field fields[2] = {{SLICE("content-type"), {0}}, {SLICE("content-type"), {0}}};
		fields[0].value = slice_str(rows[i].legacy_type);
		fields[1].value = slice_str(rows[i].modern_type);
		struct compare_message a = {200, fields, rows[i].legacy_type ? 1 : 0,
					    slice_str(rows[i].legacy), false};
		struct compare_message b = {200, fields + 1, rows[i].modern_type ? 1 : 0,
					    slice_str(rows[i].modern), false};
		compare_messages(plan, scratch, &a, &b, &result);
		CHECK_MSG(result.verdict == (rows[i].equal ? COMPARE_MATCH : COMPARE_MISMATCH), "\"%s\"",
			  rows[i].name);
		/* The body of an answer to HEAD is nobody's business. */
		a.is_head = true;
		compare_messages(plan, scratch, &a, &b, &result);
		CHECK_INT(result.verdict, COMPARE_MATCH);
	}
	compare_result_fini(&result);
	compare_plan_destroy(plan);
}

TEST(bytes)
{
	static const struct {
		struct slice legacy, modern;
		const char *values;
	} rows[] = {
		{SLICE("hello"), SLICE("hallo"), "byte 1 of 5: hello|byte 1 of 5: hallo"},
		{SLICE("hello"), SLICE("hello!"), "ends after 5 bytes|byte 5 of 6: hello!"},
		{SLICE(""), SLICE("x"), "empty|byte 0 of 1: x"},
		{SLICE("a\0b"), SLICE("a\1b"), "byte 1 of 3: a\\x00b|byte 1 of 3: a\\x01b"},
		{SLICE("01234567890123456789012345X"), SLICE("01234567890123456789012345Y"),
		 "byte 26 of 27: 0123456789012345X|byte 26 of 27: 0123456789012345Y"},
		{SLICE("\xff\xfe"), SLICE("\xff\xfd"), "byte 1 of 2: \\xFF\\xFE|byte 1 of 2: \\xFF\\xFD"},
	};
	struct compare_plan *plan = plan_of(&(struct rules){0});
	struct compare_plan *secret = plan_of(&(struct rules){.redact = "/password"});
	struct compare_result result = {0};
	struct buf out = {0};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct compare_message a = {200, NULL, 0, guard_copy(&guard_a, rows[i].legacy), false};
		struct compare_message b = {200, NULL, 0, guard_copy(&guard_b, rows[i].modern), false};
		compare_messages(plan, scratch, &a, &b, &result);
		CHECK_INT(result.kept, 1);
		CHECK_INT(result.differences[0].kind, COMPARE_KIND_BYTES);
		CHECK_STR(values_of(&result, &out), rows[i].values);
		/* Nobody knows where the secret is in a body that is not JSON: nothing is shown. */
		compare_messages(secret, scratch, &a, &b, &result);
		if (rows[i].legacy.len)
			CHECK_MSG(slice_starts(result.differences[0].legacy, SLICE("redacted:")), "%s",
				  values_of(&result, &out));
	}
	buf_fini(&out);
	compare_result_fini(&result);
	compare_plan_destroy(plan);
	compare_plan_destroy(secret);
}

/* Packs with zlib; bits: 31 gzip, 15 zlib, -15 raw. */
static struct slice pack(struct slice body, int bits, int level, char *out, size_t room)
{
	z_stream z = {0};
	deflateInit2(&z, level, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY);
	z.next_in = (Bytef *)(uintptr_t)body.ptr;
	z.avail_in = (uInt)body.len;
	z.next_out = (Bytef *)out;
	z.avail_out = (uInt)room;
	CHECK_INT(deflate(&z, Z_FINISH), Z_STREAM_END);
	size_t len = z.total_out;
	deflateEnd(&z);
	return slice_of(out, len);
}

static const char *compare_coded(const struct compare_plan *plan, const char *legacy_coding,
				 struct slice legacy, const char *modern_coding, struct slice modern)
{
	static struct buf out;
	struct header_field a[2] = {{SLICE("content-type"), SLICE("application/json")},
				    {SLICE("Content-Encoding"), slice_str(legacy_coding)}};
	struct header_field b[2] = {a[0], {SLICE("content-encoding"), slice_str(modern_coding)}};
	struct compare_message ma = {200, a, legacy_coding ? 2 : 1, guard_copy(&guard_a, legacy), false};
	struct compare_message mb = {200, b, modern_coding ? 2 : 1, guard_copy(&guard_b, modern), false};
	struct compare_result result = {0};
	compare_messages(plan, scratch, &ma, &mb, &result);
	buf_reset(&out);
	buf_append_str(&out, compare_verdict_word(result.verdict));
	if (result.verdict == COMPARE_NOT_COMPARABLE)
		buf_printf(&out, " %s", compare_reason_word(result.reason));
	for (uint32_t i = 0; i < result.kept; i++)
		buf_printf(&out, " %s %s", compare_kind_word(result.differences[i].kind),
			   result.differences[i].pointer.ptr);
	compare_result_fini(&result);
	return buf_cstr(&out);
}

TEST(codings)
{
	struct compare_plan *plan = plan_of(&(struct rules){0});
	char memory[6][512], *bomb = malloc(1 << 16), *zeros = calloc(1, 1 << 20);
	struct slice json = SLICE("{\"a\":1,\"b\":[1,2,3,4,5,6,7,8,9,10,11,12]}");
	struct slice same = SLICE("{ \"b\":[1,2,3,4,5,6,7,8,9,10,11,12.0],\"a\":1}");
	struct slice other = SLICE("{\"a\":2,\"b\":[1,2,3,4,5,6,7,8,9,10,11,12]}");
	struct slice gzip = pack(json, 31, 9, memory[0], 512), gzip_same = pack(same, 31, 1, memory[1], 512);
	struct slice zlib = pack(json, 15, 9, memory[2], 512), raw = pack(json, -15, 9, memory[3], 512);
	struct slice gzip_other = pack(other, 31, 9, memory[4], 512);
	struct slice cut = slice_of(gzip.ptr, gzip.len - 3);

	CHECK_STR(compare_coded(plan, "gzip", gzip, "gzip", gzip), "match");
	CHECK_STR(compare_coded(plan, "gzip", gzip, "gzip", gzip_same), "match");
	CHECK_STR(compare_coded(plan, "gzip", gzip, NULL, same), "match");
	CHECK_STR(compare_coded(plan, NULL, json, "x-gzip", gzip), "match");
	CHECK_STR(compare_coded(plan, "identity", json, "GZIP", gzip), "match");
	CHECK_STR(compare_coded(plan, "deflate", zlib, "gzip", gzip), "match");
	CHECK_STR(compare_coded(plan, "deflate", raw, "deflate", zlib), "match");
	CHECK_STR(compare_coded(plan, "gzip", gzip, "gzip", gzip_other), "mismatch value /a");
	/* Damage */
	CHECK_STR(compare_coded(plan, "gzip", gzip, "gzip", cut), "mismatch encoding body");
	CHECK_STR(compare_coded(plan, "gzip", json, NULL, json), "mismatch encoding body");
	CHECK_STR(compare_coded(plan, "gzip", cut, "gzip", cut), "match");
	CHECK_STR(compare_coded(plan, "gzip", cut, "gzip", json), "mismatch bytes body");
	CHECK_STR(compare_coded(plan, "deflate", SLICE("\xff"), NULL, json), "mismatch encoding body");
	memcpy(memory[5], gzip.ptr, gzip.len);
	memory[5][gzip.len] = 'x';
	CHECK_STR(compare_coded(plan, "gzip", slice_of(memory[5], gzip.len + 1), "gzip", gzip),
		  "mismatch encoding body");
	memory[5][gzip.len / 2] ^= 0x55;
	CHECK_STR(compare_coded(plan, "gzip", slice_of(memory[5], gzip.len), "gzip", gzip),
		  "mismatch encoding body");
	/* Two members are one body. */
	size_t half = pack(slice_of(json.ptr, 10), 31, 9, memory[5], 256).len;
	size_t rest = pack(slice_of(json.ptr + 10, json.len - 10), 31, 9, memory[5] + half, 256).len;
	CHECK_STR(compare_coded(plan, "gzip", slice_of(memory[5], half + rest), NULL, json), "match");
	/* Empty bodies */
	CHECK_STR(compare_coded(plan, "gzip", SLICE(""), NULL, SLICE("")), "match");
	CHECK_STR(compare_coded(plan, "br", SLICE(""), NULL, SLICE("")), "match");
	CHECK_STR(compare_coded(plan, "gzip", pack(SLICE(""), 31, 9, memory[5], 512), NULL, SLICE("")),
		  "match");
	/* Not known here */
	CHECK_STR(compare_coded(plan, "br", SLICE("xyz"), "br", SLICE("xyz")), "match");
	CHECK_STR(compare_coded(plan, "br", SLICE("xyz"), "BR", SLICE("xya")), "mismatch bytes body");
	CHECK_STR(compare_coded(plan, "br", SLICE("xyz"), NULL, json), "not_comparable unknown_encoding");
	CHECK_STR(compare_coded(plan, "br", SLICE("xyz"), "zstd", SLICE("xyz")),
		  "not_comparable unknown_encoding");
	CHECK_STR(compare_coded(plan, "gzip, gzip", gzip, NULL, json), "not_comparable unknown_encoding");
	/* Exactly the cap, one byte over it, and a bomb */
	struct slice full = pack(slice_of(zeros, 1 << 20), 31, 9, bomb, 1 << 16);
	CHECK_STR(compare_coded(plan, "gzip", full, NULL, SLICE("x")), "mismatch bytes body");
	char *over = calloc(1, (1 << 20) + 1);
	full = pack(slice_of(over, (1 << 20) + 1), 31, 9, bomb, 1 << 16);
	CHECK_STR(compare_coded(plan, "gzip", full, NULL, SLICE("x")), "not_comparable body_over_cap");
	CHECK_STR(compare_coded(plan, "gzip", full, "gzip", gzip), "not_comparable body_over_cap");
	free(over);
	free(zeros);
	free(bomb);

	/* A status that differs is a mismatch, whatever the bodies are. */
	struct header_field br = {SLICE("content-encoding"), SLICE("br")};
	struct compare_message a = {200, &br, 1, SLICE("x"), false}, b = {500, NULL, 0, SLICE("y"), false};
	struct compare_result result = {0};
	compare_messages(plan, scratch, &a, &b, &result);
	CHECK_INT(result.verdict, COMPARE_MISMATCH);
	CHECK_INT(result.reason, COMPARE_REASON_NONE);

	/* For what is stored */
	struct header_field coding = {SLICE("content-encoding"), SLICE("gzip")};
	struct compare_message m = {200, &coding, 1, gzip, false};
	struct buf out = {0};
	CHECK(slice_equal(compare_decode_body(plan, scratch, &m, &out), json));
	m.body = cut;
	CHECK(slice_equal(compare_decode_body(plan, scratch, &m, &out), cut));
	buf_fini(&out);
	compare_result_fini(&result);
	compare_plan_destroy(plan);
}

TEST(plans)
{
	char *bad[] = {"/ok", "meta/x"}, *many[COMPARE_HEADERS_MAX + 1];
	struct compare_options options = {.ignore = {bad, 2}};
	struct buf why = {0};
	CHECK(!compare_plan_create(&options, &why));
	CHECK_STR(buf_cstr(&why), "compare.ignore[1] \"meta/x\": a JSON pointer starts with \"/\" (or is "
				  "empty for the whole document)");
	for (size_t i = 0; i <= COMPARE_HEADERS_MAX; i++)
		many[i] = "x";
	options = (struct compare_options){.headers = {many, COMPARE_HEADERS_MAX + 1}};
	buf_reset(&why);
	CHECK(!compare_plan_create(&options, &why));
	CHECK_STR(buf_cstr(&why), "compare.headers has 65 names; at most 64 are possible");
	buf_fini(&why);
	compare_plan_destroy(NULL);
	compare_scratch_destroy(NULL);
	compare_result_fini(NULL);
	CHECK_STR(compare_reason_help(COMPARE_REASON_OVER_CAP), "decoded body over the cap");
	CHECK_STR(compare_kind_word((enum compare_kind)99), "?");
}

UNIT_MAIN

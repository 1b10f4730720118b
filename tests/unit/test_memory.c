/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http and judge without memory: one allocation after another fails, and each time the answer is the one that
 * the header promises, nothing is leaked (the sanitizer looks at the end) and nothing that was there is lost.
 */
#include "failing_malloc.h"
#include "unit.h"

#include "http/body.h"
#include "http/exchange.h"
#include "http/router.h"
#include "judge/compare.h"
#include "judge/inflate.h"
#include "judge/json.h"
#include "judge/pointer.h"
#include "judge/redact.h"

#include <errno.h>
#include <stdio.h>
#include <zlib.h>

#define TRIES_MAX 2000

#define LONG_BYTES 100000

static char zipped[2][LONG_BYTES]; /* {"a":1}, and an array longer than what is decoded at a time */
static size_t zipped_len[2];
static char plain[LONG_BYTES];

static void zip(unsigned which, size_t len)
{
	z_stream z = {.next_in = (Bytef *)plain,
		      .avail_in = (uInt)len,
		      .next_out = (Bytef *)zipped[which],
		      .avail_out = LONG_BYTES};
	CHECK_INT(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	CHECK_INT(deflate(&z, Z_FINISH), Z_STREAM_END);
	zipped_len[which] = z.total_out;
	deflateEnd(&z);
}

static void zip_both(void)
{
	memcpy(plain, "{\"a\":1}", 7);
	zip(0, 7);
	memset(plain, ' ', LONG_BYTES);
	plain[0] = '[';
	plain[LONG_BYTES - 1] = ']';
	zip(1, LONG_BYTES);
}

TEST(router)
{
	static const struct router_pattern patterns[] = {
		{NULL, "/a", UINT32_MAX}, {"h", "/b/{x}", UINT32_MAX}, {NULL, "/*", 1}};
	unsigned long n = 1;
	for (; n < TRIES_MAX; n++) {
		struct router *router = NULL;
		failing_start(n);
		int err = router_create(patterns, 3, &router);
		bool failed = failing_stop();
		CHECK_INT(err, failed ? -ENOMEM : 0);
		CHECK((router == NULL) == failed);
		router_destroy(router);
		if (!failed)
			break;
	}
	CHECK(n > 5);
}

TEST(trailer)
{
	char bytes[] = "0\r\nA: b\r\n\r\n";
	struct http_body body;
	size_t consumed, produced;
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	failing_start(1);
	CHECK_INT(http_body_read(&body, bytes, sizeof(bytes) - 1, &consumed, &produced), HTTP_BODY_REFUSED);
	CHECK(failing_stop());
	CHECK_STR(body.why, "no memory for a trailer section");
	http_body_fini(&body);
}

TEST(exchange)
{
	unsigned long n = 1;
	for (; n < TRIES_MAX; n++) {
		struct exchange_budget budget = {.max_bytes = 1 << 20};
		unsigned fields = 0;
		bool good = true;
		failing_start(n);
		struct exchange *exchange = exchange_create(&budget, 1000);
		for (; exchange && good && fields < 40; fields++)
			good = exchange_add_field(exchange, &exchange->request, SLICE("name"),
						  SLICE("value"));
		good = good && exchange && exchange_add_body(exchange, &exchange->request, SLICE("body"));
		bool failed = failing_stop();
		CHECK(good == !failed);
		if (exchange && !good)
			CHECK_INT(exchange->outcome, EXCHANGE_MEMORY);
		for (size_t i = 0; exchange && i < exchange->request.field_count; i++)
			CHECK(slice_equal(exchange->request.fields[i].value, SLICE("value")));
		exchange_destroy(exchange);
		CHECK_INT(budget.used_bytes, 0);
		if (!failed)
			break;
	}
	CHECK(n > 5);
}

TEST(pointers)
{
	unsigned long n = 1;
	for (; n < TRIES_MAX; n++) {
		const char *why = NULL;
		char text[32];
		failing_start(n);
		struct pointer_set *set = pointer_set_create();
		int err = set ? 0 : -ENOMEM;
		for (unsigned i = 0; !err && i < 12; i++) {
			snprintf(text, sizeof(text), "/%u/*/x", i);
			err = pointer_set_add(set, slice_str(text), 1, &why);
		}
		bool failed = failing_stop();
		CHECK_INT(err, failed ? -ENOMEM : 0);
		if (err && set)
			CHECK_STR(why, "out of memory");
		pointer_set_destroy(set);
		if (!failed)
			break;
	}
	CHECK(n > 10);
}

/* The array of tokens grows at a value, at a name, at a container. */
static void tokenize_all(const char *first, const char *item, const char *last)
{
	unsigned long n = 1;
	struct buf text = {0};
	buf_append_str(&text, first);
	for (unsigned i = 0; i < 3000; i++)
		buf_append_str(&text, item);
	buf_append_str(&text, last);
	for (; n < TRIES_MAX; n++) {
		struct json_tokens tokens = {0};
		struct json_error error = {0};
		failing_start(n);
		int err = json_tokenize(buf_slice(&text), NULL, &tokens, &error);
		bool failed = failing_stop();
		CHECK_INT(err, failed ? -ENOMEM : 0);
		if (failed)
			CHECK(error.limit && tokens.count == 0);
		json_tokens_fini(&tokens);
		if (!failed)
			break;
	}
	CHECK(n > 2);
	buf_fini(&text);
}

TEST(tokens)
{
	tokenize_all("[0", ",1", "]");
	tokenize_all("[0", ",true", "]");
	tokenize_all("[0", ",[]", "]");
	tokenize_all("[", "[1,\"a\"],", "0]");
	tokenize_all("{\"a\":0", ",\"b\":1", "}");
	tokenize_all("{\"a\":[]", ",\"b\":{}", "}");
	tokenize_all("[{\"a\":[]}", ",{\"b\":{}}", "]");
	tokenize_all("[0,{\"a\":[]}", ",{\"b\":{}}", "]");
}

static void decode_all(struct slice zipped_body, struct slice content)
{
	struct compare_options options = {.key = "0123456789abcde"};
	struct header_field coding = {SLICE("Content-Encoding"), SLICE("gzip")};
	struct compare_message message = {200, &coding, 1, zipped_body, false};
	struct buf why = {0};
	struct compare_plan *plan = compare_plan_create(&options, &why);
	CHECK(plan != NULL);
	unsigned long n = 1;
	for (; plan && n < TRIES_MAX; n++) {
		struct compare_scratch *scratch = compare_scratch_create();
		struct buf out = {0};
		failing_start(n);
		struct slice body = compare_decode_body(plan, scratch, &message, &out);
		bool failed = failing_stop();
		CHECK(slice_equal(body, failed ? zipped_body : content));
		compare_scratch_destroy(scratch);
		buf_fini(&out);
		if (!failed)
			break;
	}
	CHECK(n > 2);
	compare_plan_destroy(plan);
}

TEST(decoding_a_body)
{
	zip_both();
	decode_all(slice_of(zipped[0], zipped_len[0]), SLICE("{\"a\":1}"));
	decode_all(slice_of(zipped[1], zipped_len[1]), slice_of(plain, LONG_BYTES));
}

/* --- a whole comparison --------------------------------------------------------------------------------- */

static const char *const bodies[][2] = {
	{"{\"a\":[{\"i\":1,\"t\":\"\\u0061\"},{\"i\":2},{\"i\":3}],\"s\":\"x\",\"\\u0062\":1}",
	 "{\"b\":2,\"s\":\"y\",\"a\":[{\"i\":3.0},{\"i\":2},{\"i\":9,\"t\":\"b\"}]}"},
	{"{\"a\":[1,2,3,4.5,[1],{\"x\":[1,2]}]}", "{\"a\":[4.4,3,2,1,{\"x\":[2,1]},[1]]}"},
	{"text one", "text two"},
	{"{\"s\":{},\"n\":12345678901234567890123456789012345678901234567890}", "{\"s\":[],\"n\":1}"},
	/* more members than are looked for one by one */
	{"{\"a1\":1,\"a2\":1,\"a3\":1,\"a4\":1,\"a5\":1,\"a6\":1,\"a7\":1,\"a8\":1,\"a9\":1,\"b1\":1,\"b2\":"
	 "1,"
	 "\"b3\":1,\"b4\":1,\"b5\":1,\"b6\":1,\"b7\":1,\"b8\":1,\"b9\":1}",
	 "{\"b9\":1,\"b8\":1,\"b7\":1,\"b6\":1,\"b5\":1,\"b4\":1,\"b3\":1,\"b2\":1,\"b1\":1,\"a9\":1,\"a8\":"
	 "1,"
	 "\"a7\":1,\"a6\":1,\"a5\":1,\"a4\":1,\"a3\":1,\"a2\":1,\"a1\":2}"},
};

static enum compare_verdict compare_once(const char *legacy, const char *modern, int zips, double tolerance,
					 struct compare_result *result, bool *made)
{
	char *ignore[] = {(char[]){"/z/*"}}, *unordered[] = {(char[]){"/a"}},
	     *redact[] = {(char[]){"/s"}, (char[]){"/n"}};
	char *headers[] = {(char[]){"x-a"}, (char[]){"set-cookie"}};
	struct compare_options options = {
		.ignore = {ignore, 1},
		.unordered = {unordered, 1},
		.redact = {redact, 2},
		.headers = {headers, zips ? 0u : 2u}, /* with none the coding is the first field read */
		.float_tolerance = tolerance,
		.key = "0123456789abcde",
	};
	struct header_field fields[2][3] = {
		{{SLICE("X-A"), SLICE("1")},
		 {SLICE("Set-Cookie"), SLICE("s=1")},
		 {SLICE("Content-Encoding"), SLICE("gzip")}},
		{{SLICE("X-A"), SLICE("1")},
		 {SLICE("Set-Cookie"), SLICE("s=1")},
		 {SLICE("Content-Encoding"), SLICE("gzip")}},
	};
	struct buf why = {0}, shown = {0}, decoded = {0};
	struct compare_plan *plan = compare_plan_create(&options, &why);
	struct compare_scratch *scratch = compare_scratch_create();
	enum compare_verdict verdict = COMPARE_NOT_COMPARABLE;
	*made = plan && scratch;
	if (*made) {
		struct compare_message a = {200, fields[0], 2u + (zips > 0), slice_str(legacy), false};
		struct compare_message b = {200, fields[1], 2u + (zips > 1), slice_str(modern), false};
		if (zips > 0)
			a.body = slice_of(zipped[0], zipped_len[0]);
		if (zips > 1)
			b.body = slice_of(zipped[1], zipped_len[1]);
		compare_messages(plan, scratch, &a, &b, result);
		verdict = result->verdict;
		struct slice body = compare_decode_body(plan, scratch, &a, &decoded);
		redact_body(plan, scratch, body, 500, &shown);
	}
	compare_plan_destroy(plan);
	compare_scratch_destroy(scratch);
	buf_fini(&why);
	buf_fini(&shown);
	buf_fini(&decoded);
	return verdict;
}

static void compare_all(const char *legacy, const char *modern, int zips, double tolerance)
{
	struct compare_result result = {0};
	bool made;
	enum compare_verdict want = compare_once(legacy, modern, zips, tolerance, &result, &made);
	CHECK(made && want != COMPARE_NOT_COMPARABLE);
	compare_result_fini(&result);
	unsigned long n = 1;
	for (; n < TRIES_MAX; n++) {
		compare_result_init(&result);
		failing_start(n);
		enum compare_verdict got = compare_once(legacy, modern, zips, tolerance, &result, &made);
		bool failed = failing_stop();
		/* Want of memory may leave a verdict out; it never turns it into the other one. */
		CHECK_MSG(got == want || (got == COMPARE_NOT_COMPARABLE && failed), "%s: allocation %lu: %s",
			  legacy, n, compare_verdict_word(got));
		if (made && got == COMPARE_NOT_COMPARABLE)
			CHECK_INT(result.reason, COMPARE_REASON_NO_MEMORY);
		compare_result_fini(&result);
		if (!failed)
			break;
	}
	CHECK_MSG(n > 10 && n < TRIES_MAX, "%lu", n);
}

TEST(comparing)
{
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		compare_all(bodies[i][0], bodies[i][1], 0, 0);
		compare_all(bodies[i][0], bodies[i][1], 0, 0.25);
		compare_all(bodies[i][0], bodies[i][0], 0, 0);
	}
	zip_both();
	compare_all("", "{\"a\":1.0}", 1, 0);
	compare_all("", "{\"a\":2}", 1, 0);
	compare_all("", "", 2, 0);
}

UNIT_MAIN

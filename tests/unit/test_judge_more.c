/* SPDX-License-Identifier: Apache-2.0 */
/* Corners of the judge that the tests of the single modules leave out. */
#include "judge/arbiter.h"
#include "judge/inflate.h"
#include "judge/json.h"
#include "judge/number.h"
#include "judge/pointer.h"
#include "judge/redact.h"

#include "test_judge_compare.h"

#include <errno.h>
#include <zlib.h>

TEST(words_of_nothing)
{
	CHECK_STR(compare_verdict_word((enum compare_verdict)99), "?");
	CHECK_STR(compare_reason_word((enum compare_reason)99), "?");
	CHECK_STR(compare_reason_help((enum compare_reason)99), "?");
	CHECK_STR(compare_kind_word((enum compare_kind)99), "?");
	CHECK_STR(arbiter_reason_word((enum arbiter_reason)99), "?");
	CHECK_STR(json_type_word(99), "?");
}

/* --- comparing ------------------------------------------------------------------------------------------ */

struct reply {
	const char *type, *coding, *body;
	size_t len; /* of the body; 0 = up to its NUL */
	bool is_head;
};

static struct compare_result result;

static enum compare_verdict compare_replies(const struct rules *rules, const struct reply *a,
					    const struct reply *b)
{
	struct compare_plan *plan = plan_of(rules);
	const struct reply *replies[2] = {a, b};
	struct header_field fields[2][2];
	struct compare_message messages[2];
	for (unsigned i = 0; i < 2; i++) {
		const struct reply *r = replies[i];
		messages[i] =
			(struct compare_message){.status = 200, .fields = fields[i], .is_head = r->is_head};
		messages[i].body = slice_of(r->body, r->len ? r->len : strlen(r->body));
		if (r->type)
			fields[i][messages[i].field_count++] =
				(struct header_field){SLICE("Content-Type"), slice_str(r->type)};
		if (r->coding)
			fields[i][messages[i].field_count++] =
				(struct header_field){SLICE("Content-Encoding"), slice_str(r->coding)};
	}
	compare_messages(plan, scratch, &messages[0], &messages[1], &result);
	compare_plan_destroy(plan);
	return result.verdict;
}

TEST(media_types)
{
	static const struct rules rules = {.headers = "content-type"};
	static const struct {
		const char *a, *b;
		bool equal;
	} rows[] = {
		{"text/plain;charset=utf-8", "text/plain; charset=\"UTF-8\"", true},
		{"text/plain;a=1;b=2", "text/plain;b=2;a=1", true},
		{"text/plain;a=1;b=2", "text/plain;b=2", false},
		{"text/plain;a=1", "text/plain;a=2", false},
		{"text/plain;;", "text/plain", true},
		{"text/plain;a=\"b;c\"", "Text/Plain; a=\"b;c\"", true},
		{"text/plain;a=\"b\\\";c\"", "Text/Plain; a=\"b\\\";c\"", true},
		{"text/plain;a=\"b\\\"\"", "Text/Plain; a=b\"", false},
		{"text/plain;a=\"b\\", "Text/Plain; a=\"b\\", true},
		{"text/plain;a=\"", "Text/Plain; a=\"", true},
		{"text/plain;a=b\"", "Text/Plain; a=b\"", true},
		{"text/plain;a=\"b", "Text/Plain; a=\"b", true},
		{"text/plain;a", "Text/plain;a", false},
		{"", "text/plain", false},
		{";a=b", "; a=b", false},
		{"t/p;a=1;b=1;c=1;d=1;e=1;f=1;g=1;h=1;i=1;j=1;k=1;l=1;m=1;n=1;o=1;p=1;q=1",
		 "T/p;a=1;b=1;c=1;d=1;e=1;f=1;g=1;h=1;i=1;j=1;k=1;l=1;m=1;n=1;o=1;p=1;q=1", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reply a = {.type = rows[i].a, .body = "x"}, b = {.type = rows[i].b, .body = "x"};
		CHECK_MSG((compare_replies(&rules, &a, &b) == COMPARE_MATCH) == rows[i].equal, "%s, %s",
			  rows[i].a, rows[i].b);
		CHECK_MSG((compare_replies(&rules, &b, &a) == COMPARE_MATCH) == rows[i].equal, "%s, %s",
			  rows[i].b, rows[i].a);
	}
	compare_result_fini(&result);
}

TEST(a_field_without_a_value)
{
	struct compare_plan *plan = plan_of(&(struct rules){0});
	struct header_field empty = {{"content-type", 12}, {NULL, 0}};
	struct compare_message a = {200, &empty, 1, SLICE("{\"a\":1}"), false};
	struct compare_message b = {200, &empty, 1, SLICE("{\"a\":1.0}"), false};
	compare_messages(plan, scratch, &a, &b, &result);
	CHECK_INT(result.verdict, COMPARE_MATCH); /* no type, and it begins with a brace */
	compare_plan_destroy(plan);
	compare_result_fini(&result);
}

TEST(bodies)
{
	static const struct rules plain = {0}, redact = {.redact = "/a"};
	static char long_a[200], long_b[200], deep[300], umlauts_a[100], umlauts_b[100], broken_a[60],
		broken_b[60];
	memset(long_a, 'x', sizeof(long_a) - 1);
	memcpy(long_b, long_a, sizeof(long_b));
	long_b[150] = 'y';
	memset(deep, '[', sizeof(deep) - 1);
	for (size_t i = 0; i + 3 < sizeof(umlauts_a); i += 3) {
		memcpy(umlauts_a + i, "\xe2\x82\xac", 3);
		memcpy(umlauts_b + i, "\xe2\x82\xac", 3);
	}
	umlauts_b[90] = '!';
	memset(broken_a, 0x80, sizeof(broken_a) - 1);
	memcpy(broken_b, broken_a, sizeof(broken_b));
	broken_b[40] = 'x';
	const struct {
		const char *name;
		const struct rules *rules;
		struct reply a, b;
		enum compare_verdict verdict;
	} rows[] = {
		{"a late difference", &plain, {.body = long_a}, {.body = long_b}, COMPARE_MISMATCH},
		{"inside wide characters",
		 &plain,
		 {.body = umlauts_a},
		 {.body = umlauts_b},
		 COMPARE_MISMATCH},
		{"inside what is no character",
		 &plain,
		 {.body = broken_a},
		 {.body = broken_b},
		 COMPARE_MISMATCH},
		{"one deep", &plain, {.body = deep}, {.body = "[1]"}, COMPARE_NOT_COMPARABLE},
		{"the other deep", &plain, {.body = "[1]"}, {.body = deep}, COMPARE_NOT_COMPARABLE},
		{"a NUL is no space",
		 &plain,
		 {.body = "\0{}", .len = 3},
		 {.body = "\0{ }", .len = 4},
		 COMPARE_MISMATCH},
		{"only spaces", &plain, {.body = "  "}, {.body = "   "}, COMPARE_MISMATCH},
		{"one is an answer to HEAD",
		 &plain,
		 {.body = "a", .is_head = true},
		 {.body = "b"},
		 COMPARE_MATCH},
		{"the other is", &plain, {.body = "a"}, {.body = "b", .is_head = true}, COMPARE_MATCH},
		{"neither decodes, but the bytes are the same",
		 &plain,
		 {.body = "a", .coding = "gzip"},
		 {.body = "a", .coding = "deflate"},
		 COMPARE_MATCH},
		{"neither decodes",
		 &plain,
		 {.body = "a", .coding = "gzip"},
		 {.body = "b", .coding = "deflate"},
		 COMPARE_MISMATCH},
		{"a secret in a text", &redact, {.body = "a"}, {.body = "b"}, COMPARE_MISMATCH},
		{"the same under two codings, one unknown",
		 &plain,
		 {.body = "a", .coding = "br"},
		 {.body = "a"},
		 COMPARE_NOT_COMPARABLE},
		{"empty under two codings",
		 &plain,
		 {.body = "", .coding = "br"},
		 {.body = "", .coding = "zstd"},
		 COMPARE_MATCH},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum compare_verdict verdict = compare_replies(rows[i].rules, &rows[i].a, &rows[i].b);
		CHECK_MSG(verdict == rows[i].verdict, "%s: %s", rows[i].name, compare_verdict_word(verdict));
	}
	compare_result_fini(&result);
}

TEST(bodies_over_the_cap)
{
	static char zeros[2 << 20], zipped[1 << 16];
	uLongf len = sizeof(zipped);
	CHECK_INT(compress2((Bytef *)zipped, &len, (const Bytef *)zeros, sizeof(zeros), 9), Z_OK);
	const struct rules plain = {0};
	struct reply small = {.body = "x"}, large = {.body = zipped, .len = len, .coding = "deflate"};
	CHECK_INT(compare_replies(&plain, &small, &large), COMPARE_NOT_COMPARABLE);
	CHECK_INT(result.reason, COMPARE_REASON_OVER_CAP);
	CHECK_INT(compare_replies(&plain, &large, &small), COMPARE_NOT_COMPARABLE);
	CHECK_INT(result.reason, COMPARE_REASON_OVER_CAP);
	compare_result_fini(&result);
}

/* A walk keeps a place for each rule that may still match, at each level: many rules, deep down. */
TEST(many_rules_deep_down)
{
	char pointer[300];
	const char *why = NULL;
	struct pointer_set *set = pointer_set_create();
	struct pointer_stack stack = {0};
	for (unsigned kind = 0; kind < 3; kind++) {
		for (unsigned i = 0; i < 100; i++)
			memcpy(pointer + 2 * i, kind == 0 || (kind == 1 && i < 50) ? "/a" : "/*", 2);
		CHECK_INT(pointer_set_add(set, slice_of(pointer, 200), 1u << kind, &why), 0);
	}
	struct pointer_state states[101] = {pointer_begin(set, &stack)};
	for (unsigned i = 0; i < 100; i++)
		states[i + 1] = pointer_member(set, &stack, states[i], SLICE("a"));
	CHECK_INT(states[99].flags, 0);
	CHECK_INT(states[100].flags, 7);
	for (unsigned i = 100; i > 0; i--)
		pointer_leave(&stack, states[i]);
	CHECK(!stack.failed);
	pointer_stack_fini(&stack);
	pointer_stack_fini(NULL);
	pointer_set_destroy(set);
}

TEST(a_header_name_longer_than_a_place)
{
	char name[COMPARE_POINTER_MAX + 100];
	struct buf why = {0};
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	char *names[] = {name};
	struct compare_options options = {.headers = {names, 1}};
	struct compare_plan *plan = compare_plan_create(&options, &why);
	struct header_field field = {slice_str(name), SLICE("1")};
	struct compare_message a = {200, &field, 1, SLICE(""), false}, b = {200, NULL, 0, SLICE(""), false};
	compare_messages(plan, scratch, &a, &b, &result);
	CHECK_INT(result.verdict, COMPARE_MISMATCH);
	CHECK(result.differences[0].pointer.len <= COMPARE_POINTER_MAX);
	compare_plan_destroy(plan);
	compare_result_fini(&result);
	buf_fini(&why);
}

TEST(a_place_longer_than_is_kept)
{
	struct buf bodies[2] = {{0}};
	char name[201];
	memset(name, 'n', 200);
	name[200] = 0;
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned depth = 0; depth < 5; depth++)
			buf_printf(&bodies[i], "{\"%s\":", name);
		buf_printf(&bodies[i], "%u}}}}}", i);
	}
	struct reply a = {.body = buf_cstr(&bodies[0])}, b = {.body = buf_cstr(&bodies[1])};
	CHECK_INT(compare_replies(&(struct rules){0}, &a, &b), COMPARE_MISMATCH);
	CHECK_INT(result.kept, 1);
	CHECK(result.differences[0].pointer.len <= COMPARE_POINTER_MAX);
	CHECK(result.differences[0].pointer.len > COMPARE_POINTER_MAX - 10);
	CHECK(slice_equal(result.differences[0].legacy, SLICE("0")));
	buf_fini(&bodies[0]);
	buf_fini(&bodies[1]);
	compare_result_fini(&result);
}

TEST(a_body_that_does_not_decode_is_shown_as_it_is)
{
	struct compare_plan *plan = plan_of(&(struct rules){0});
	struct compare_scratch *fresh = compare_scratch_create();
	struct header_field coding = {SLICE("content-encoding"), SLICE("gzip")};
	struct compare_message m = {200, &coding, 1, SLICE("no gzip"), false};
	struct buf out = {0};
	CHECK(slice_equal(compare_decode_body(plan, fresh, &m, &out), SLICE("no gzip")));
	compare_scratch_destroy(fresh);
	compare_plan_destroy(plan);
	buf_fini(&out);
}

/* --- content codings ------------------------------------------------------------------------------------ */

TEST(odd_codings)
{
	/* "a" as raw deflate, stored; and in zlib's wrapping */
	static const char raw[] = {1, 1, 0, (char)0xfe, (char)0xff, 'a'};
	static const char zlib[] = {0x78, 1, 1, 1, 0, (char)0xfe, (char)0xff, 'a', 0, 0x62, 0, 0x62, '!'};
	struct inflater *inflater = inflater_create();
	struct buf out = {0};
	CHECK_INT(inflater_decode(inflater, CODING_IDENTITY, SLICE("a"), 0, &out), -EBADMSG);
	CHECK_INT(inflater_decode(inflater, CODING_DEFLATE, slice_of(raw, sizeof(raw)), 0, &out), 0);
	CHECK_STR(buf_cstr(&out), "a");
	CHECK_INT(inflater_decode(inflater, CODING_DEFLATE, slice_of(zlib, sizeof(zlib) - 1), 1, &out), 0);
	CHECK_STR(buf_cstr(&out), "a");
	CHECK_INT(inflater_decode(inflater, CODING_DEFLATE, slice_of(zlib, sizeof(zlib)), 0, &out), -EBADMSG);
	CHECK_INT(inflater_decode(inflater, CODING_DEFLATE, slice_of(zlib, sizeof(zlib) - 3), 0, &out),
		  -EBADMSG);
	/* Nearly a zlib header: the window too large, no multiple of 31, one byte only. */
	CHECK_INT(inflater_decode(inflater, CODING_DEFLATE, SLICE("\x88\x1c\xff"), 0, &out), -EBADMSG);
	CHECK_INT(inflater_decode(inflater, CODING_DEFLATE, SLICE("\x78\x02\xff"), 0, &out), -EBADMSG);
	CHECK_INT(inflater_decode(inflater, CODING_DEFLATE, SLICE("\x78"), 0, &out), -EBADMSG);
	inflater_destroy(inflater);
	inflater_destroy(NULL);
	buf_fini(&out);
}

/* --- JSON and numbers ----------------------------------------------------------------------------------- */

TEST(tokenizer_limits)
{
	struct json_tokens tokens = {0};
	struct json_limits limits = {.tokens = UINT32_MAX};
	struct json_error error;
	unsigned line, column;
	CHECK_INT(json_tokenize(SLICE("[1]"), &limits, &tokens, &error), 0);
	CHECK_INT(tokens.count, 2);
	/* Never read: the length alone is refused. */
	CHECK_INT(json_tokenize(slice_of("[1]", (size_t)JSON_TEXT_MAX + 1), NULL, &tokens, &error), -E2BIG);
	json_locate(SLICE("a\nb"), 100, &line, &column);
	CHECK_INT(line, 2);
	CHECK_INT(column, 2);
	json_tokens_fini(&tokens);
	json_tokens_fini(NULL);
}

TEST(halves_of_surrogates)
{
	static const struct {
		const char *raw, *decoded;
		bool whole;
	} rows[] = {
		{"\\ud83d\\ude00", "\xf0\x9f\x98\x80", true},
		{"\\ud83d\\u0061",
		 "\xed\xa0\xbd"
		 "a",
		 false},
		{"\\ud83d\\n", "\xed\xa0\xbd\n", false},
		{"\\ud83d\\nabcde", "\xed\xa0\xbd\nabcde", false},
		{"\\ud83dabcdefg",
		 "\xed\xa0\xbd"
		 "abcdefg",
		 false},
		{"\\ud83d\\ud83d\\ude00", "\xed\xa0\xbd\xf0\x9f\x98\x80", false},
		{"\\ude00\\ud83d", "\xed\xb8\x80\xed\xa0\xbd", false},
	};
	struct buf out = {0};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		CHECK_MSG(json_string_decode(slice_str(rows[i].raw), &out) == rows[i].whole, "%s",
			  rows[i].raw);
		CHECK_STR(buf_cstr(&out), rows[i].decoded);
	}
	buf_fini(&out);
}

TEST(exponents_of_eighteen_digits)
{
	static const struct {
		const char *a, *b;
	} equal[] = {
		{"10e999999999999999999", "1e1000000000000000000"},
		{"12345e999999999999999999", "1.2345e1000000000000000003"},
		{"0.1e100000000000000000", "1e99999999999999999"},
		{"0.001e1000000000000000000", "1e999999999999999997"},
		{"10e-1000000000000000000", "1e-999999999999999999"},
		{"0.1e-999999999999999999", "1e-1000000000000000000"},
	};
	char a[64], b[64];
	for (size_t i = 0; i < sizeof(equal) / sizeof(equal[0]); i++) {
		struct slice x = slice_str(equal[i].a), y = slice_str(equal[i].b);
		CHECK_MSG(number_equal(x, y) && number_order(x, y) == 0, "%s, %s", equal[i].a, equal[i].b);
		a[number_normal(x, a)] = b[number_normal(y, b)] = 0;
		CHECK_STR(a, b);
	}
}

TEST(tolerances)
{
	struct number_tolerance tolerance;
	static const double values[] = {0.1, 0.30000000000000004, 5e-324, 1.7976931348623157e308, 1.0 / 3};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		number_tolerance_set(&tolerance, values[i]);
		CHECK(strtod(tolerance.text, NULL) == values[i]);
	}
	number_tolerance_set(&tolerance, -1);
	CHECK(number_tolerance_is_zero(&tolerance));
}

/* --- arbiter -------------------------------------------------------------------------------------------- */

TEST(chances_that_make_no_sense_are_the_usual_ones)
{
	struct arbiter_facts facts = {.flags = ARBITER_ENABLED | ARBITER_STARTED | ARBITER_WEIGHT_SET |
					       ARBITER_WEIGHT_SEEN,
				      .step_age_ms = 1000000};
	static const double odd[] = {0, -1, 1, 2};
	struct arbiter_policy usual = arbiter_policy_default(), policy = usual;
	usual.rule = policy.rule = ARBITER_RULE_BOUNDED;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		policy.alpha = policy.beta = odd[i];
		for (facts.samples = 0; facts.samples < 400; facts.samples += 7) {
			for (facts.mismatches = 0; facts.mismatches < 8 && facts.mismatches <= facts.samples;
			     facts.mismatches++) {
				facts.build_samples = facts.samples;
				facts.build_mismatches = facts.mismatches;
				struct arbiter_decision a = arbiter_decide(&usual, &facts),
							b = arbiter_decide(&policy, &facts);
				CHECK(a.action == b.action && a.reason == b.reason);
			}
		}
	}
	/* No watch: nothing is a regression. */
	facts.flags |= ARBITER_COMPLETE;
	facts.watch = 1e9;
	CHECK_INT(arbiter_decide(&usual, &facts).reason, ARBITER_REASON_REGRESSION);
	usual.watch_alarm = 0;
	CHECK_INT(arbiter_decide(&usual, &facts).reason, ARBITER_REASON_WATCHING);
}

/* A percentage has as many decimals as it takes to stand on the right side of its limit. */
TEST(shares_next_to_their_limit)
{
	static const struct {
		uint64_t samples, mismatches;
		const char *share;
	} rows[] = {
		{1000000, 9999, "99.0001%"},
		{1000000, 9000, "99.1%"},
		{1000000, 50001, "94.9999%"},
		{1000000, 60000, "94.0%"},
		{UINT64_C(100000000000), 999999999, "99.000000%"},
	};
	struct arbiter_policy policy = arbiter_policy_default();
	struct buf out = {0};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arbiter_facts facts = {.flags = ARBITER_ENABLED | ARBITER_STARTED |
						       ARBITER_WEIGHT_SET | ARBITER_WEIGHT_SEEN,
					      .step_age_ms = 1000000,
					      .samples = rows[i].samples,
					      .mismatches = rows[i].mismatches};
		struct arbiter_decision decision = arbiter_decide(&policy, &facts);
		CHECK_INT(decision.action, rows[i].share[1] == '4' ? ARBITER_ROLLBACK : ARBITER_PROMOTE);
		buf_reset(&out);
		arbiter_explain(&policy, &facts, &decision, &out);
		CHECK_MSG(strstr(buf_cstr(&out), rows[i].share), "%s, not %s", buf_cstr(&out), rows[i].share);
	}
	buf_fini(&out);
}

UNIT_MAIN

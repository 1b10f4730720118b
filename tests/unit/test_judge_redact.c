/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction: what is shown of secrets (nothing but whether they are equal), and SipHash itself. */
#include "judge/compare.h"
#include "judge/redact.h"

#include "test_judge_support.h"
#include "unit.h"

static const uint8_t key[SIPHASH_KEY_SIZE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* The vectors of the paper's appendix and of its reference tables: key 00..0f, message 00 01 02 … */
TEST(siphash_vectors)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} vectors[] = {
		{0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
		{2, UINT64_C(0x0d6c8009d9a94f5a)},  {3, UINT64_C(0x85676696d7fb7e2d)},
		{7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
		{15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)},
	};
	uint8_t message[64];
	for (unsigned i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		CHECK_MSG(siphash24(key, message, vectors[i].len) == vectors[i].hash, "length %zu: %016llx",
			  vectors[i].len, (unsigned long long)siphash24(key, message, vectors[i].len));
	CHECK(siphash24(key, NULL, 0) == vectors[0].hash);
}

TEST(headers)
{
	static const struct {
		const char *name;
		bool secret;
	} names[] = {
		{"Authorization", true},
		{"AUTHORIZATION", true},
		{"proxy-authorization", true},
		{"Cookie", true},
		{"Set-Cookie", true},
		{"X-Api-Key", true},
		{"X-Api-Keys", false},
		{"Content-Type", false},
		{"Cookies", false},
		{"", false},
	};
	struct buf out = {0};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		buf_reset(&out);
		redact_header_value(slice_str(names[i].name), SLICE("hunter2"), key, &out);
		CHECK_MSG(redact_is_secret_header(slice_str(names[i].name)) == names[i].secret, "%s",
			  names[i].name);
		CHECK_MSG((strstr(buf_cstr(&out), "hunter2") == NULL) == names[i].secret, "%s",
			  names[i].name);
		if (names[i].secret)
			CHECK_INT(out.len, strlen("redacted:") + 8);
	}
	buf_fini(&out);
}

static struct compare_plan *plan_with(char **pointers, size_t count)
{
	struct compare_options options = {.redact = {pointers, count}};
	struct buf why = {0};
	memcpy(options.key, key, sizeof(key));
	return compare_plan_create(&options, &why);
}

/* Replaces the hashes by #1, #2, … in order of first appearance, so that rows can be written down. */
static void number_hashes(const char *text, char *out)
{
	char seen[16][9];
	unsigned count = 0;
	for (const char *p = text; *p;) {
		if (strncmp(p, "redacted:", 9) != 0) {
			*out++ = *p++;
			continue;
		}
		unsigned i = 0;
		while (i < count && memcmp(seen[i], p + 9, 8) != 0)
			i++;
		if (i == count)
			memcpy(seen[count++], p + 9, 8);
		out += sprintf(out, "#%u", i + 1);
		p += 17;
	}
	*out = 0;
}

TEST(bodies)
{
	static const struct {
		const char *pointers[2], *body;
		size_t max_bytes;
		const char *want;
	} rows[] = {
		{{0}, "{\"a\": 1}", 100, "{\"a\": 1}"},
		{{0}, "", 100, ""},
		{{0}, "hello", 5, "hello"},
		{{0}, "hello", 4, "h\xe2\x80\xa6"},
		{{0}, "\xc3\xa4\xc3\xa4\xc3\xa4", 6, "\xc3\xa4\xc3\xa4\xc3\xa4"},
		{{0}, "\xc3\xa4\xc3\xa4\xc3\xa4", 5, "\xc3\xa4\xe2\x80\xa6"},
		{{0}, "a\x01\xff\n\tb", 100, "a\\x01\\xFF\n\tb"},
		{{0}, "hello", 2, ""},
		{{"/p"}, "{\"p\":\"x\", \"q\" : 1}", 100, "{\"p\":\"#1\", \"q\" : 1}"},
		{{"/p"}, "{\"q\":\"x\"}", 100, "{\"q\":\"x\"}"},
		{{"/p"}, "{\"p\":{\"deep\":[1,2]},\"q\":1}", 100, "{\"p\":\"#1\",\"q\":1}"},
		{{"/*/p"},
		 "[{\"p\":\"x\"},{\"p\":\"y\"},{\"p\":\"x\"}]",
		 100,
		 "[{\"p\":\"#1\"},{\"p\":\"#2\"},{\"p\":\"#1\"}]"},
		{{"/a/b/c", "/d"},
		 "{\"d\":1,\"a\":{\"b\":{\"c\":1.0,\"x\":2}}}",
		 100,
		 "{\"d\":\"#1\",\"a\":{\"b\":{\"c\":\"#1\",\"x\":2}}}"},
		{{"/*"}, "[\"a\",\"\\u0061\",\"b\"]", 100, "[\"#1\",\"#1\",\"#2\"]"},
		{{"/p"}, "{\"\\u0070\":\"x\"}", 100, "{\"\\u0070\":\"#1\"}"},
		{{"/p"}, "{\"p\":\"x\",\"p\":\"y\"}", 100, "{\"p\":\"#1\",\"p\":\"#2\"}"},
		{{""}, "{\"p\":1}", 100, "#1"},
		{{"/p"}, "p=x&q=y", 100, "#1"},
		{{"/p"}, "{\"p\":\"x\"", 100, "#1"},
		{{"/p"}, "{\"q\":\"aaaaaaaaaaaaaaaaaaaa\",\"p\":\"secret\"}", 12, "{\"q\":\"aaa\xe2\x80\xa6"},
	};
	struct guard g = guard_make(4096);
	struct compare_scratch *scratch = compare_scratch_create();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *pointers[2] = {(char *)(uintptr_t)rows[i].pointers[0],
				     (char *)(uintptr_t)rows[i].pointers[1]};
		struct compare_plan *plan = plan_with(pointers, pointers[1] ? 2 : pointers[0] ? 1 : 0);
		struct buf out = {0};
		char numbered[512];
		redact_body(plan, scratch, guard_copy(&g, slice_str(rows[i].body)), rows[i].max_bytes, &out);
		number_hashes(buf_cstr(&out), numbered);
		CHECK_STR(numbered, rows[i].want);
		CHECK_MSG(out.len <= rows[i].max_bytes || pointers[0], "row %zu: %zu bytes", i, out.len);
		buf_fini(&out);
		compare_plan_destroy(plan);
	}
	compare_scratch_destroy(scratch);
	guard_free(&g);
}

/* Wherever the body is cut, no part of the secret gets out. */
TEST(no_cut_shows_a_secret)
{
	char *pointers[] = {"/items/*/password"};
	struct compare_plan *plan = plan_with(pointers, 1);
	struct compare_scratch *scratch = compare_scratch_create();
	struct slice body = SLICE(
		"{\"items\":[{\"user\":\"anna\",\"password\":\"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\",\"z\":1},"
		"{\"password\":[\"XXXX\",{\"XX\":\"X\"}],\"user\":\"bert\"}]}");
	struct buf out = {0};
	for (size_t max_bytes = 0; max_bytes < 200; max_bytes++) {
		buf_reset(&out);
		redact_body(plan, scratch, body, max_bytes, &out);
		CHECK_MSG(!strchr(buf_cstr(&out), 'X') && out.len <= max_bytes, "at %zu: %s", max_bytes,
			  buf_cstr(&out));
	}
	CHECK(strstr(buf_cstr(&out), "bert") != NULL);
	buf_fini(&out);
	compare_scratch_destroy(scratch);
	compare_plan_destroy(plan);
}

/* Differences: no secret in a value, in a pointer, or in the excerpt of a parent that is missing. */
TEST(no_difference_shows_a_secret)
{
	static const struct {
		const char *legacy, *modern, *pointer;
	} rows[] = {
		{"{\"s\":\"SECRET\"}", "{\"s\":\"SECRE\"}", "/s"},
		{"{\"s\":\"SECRET\"}", "{\"s\":1}", "/s"},
		{"{\"s\":\"SECRET\"}", "{}", "/s"},
		{"{}", "{\"s\":{\"SECRET\":1}}", "/s"},
		{"{\"s\":{\"SECRET\":1}}", "{\"s\":{\"SECRET\":2}}", "/s"},
		{"{\"s\":{\"SECRET\":1}}", "{\"s\":{}}", "/s"},
		{"{\"s\":[\"SECRET\"]}", "{\"s\":[]}", "/s"},
		{"{\"deep\":{\"s\":\"SECRET\",\"x\":1}}", "{}", "/deep"},
		{"{}", "{\"deep\":{\"x\":[{\"y\":1}],\"s\":[\"SECRET\"]}}", "/deep"},
		{"{\"deep\":{\"s\":\"SECRET\"}}", "{\"deep\":[1]}", "/deep"},
		{"{\"s\":\"SECRET\"", "{\"s\":\"x\"}", "body"},
		{"{\"s\":\"SECRET\",\"s\":1}", "{\"s\":\"x\"}", "body"},
		{"[{\"deep\":{\"s\":\"SECRET\"}},1]", "[1,{\"deep\":{\"s\":\"SECRET\"}}]", ""},
	};
	char *pointers[] = {"/s", "/deep/s", "/*/deep/s"};
	struct compare_plan *plan = plan_with(pointers, 3);
	struct compare_scratch *scratch = compare_scratch_create();
	struct compare_result result = {0};
	struct header_field type = {SLICE("content-type"), SLICE("application/json")};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct compare_message a = {200, &type, 1, slice_str(rows[i].legacy), false};
		struct compare_message b = {200, &type, 1, slice_str(rows[i].modern), false};
		compare_messages(plan, scratch, &a, &b, &result);
		CHECK_INT(result.verdict, COMPARE_MISMATCH);
		CHECK_STR(result.differences[0].pointer.ptr, rows[i].pointer);
		CHECK_MSG(!memmem(result.text.data, result.text.len, "SECRET", 6), "row %zu", i);
	}
	/* Equality stays visible. */
	struct compare_message a = {200, &type, 1, SLICE("{\"deep\":{\"s\":\"x\"}}"), false};
	struct compare_message b = {200, &type, 1, SLICE("{\"deep\":[\"\\u0078\"],\"s\":\"\\u0078\"}"),
				    false};
	compare_messages(plan, scratch, &a, &b, &result);
	struct buf hash = {0};
	redact_value(SLICE("x"), compare_plan_key(plan), &hash);
	CHECK_INT(result.kept, 2);
	CHECK(memmem(result.differences[0].legacy.ptr, result.differences[0].legacy.len, hash.data,
		     hash.len));
	CHECK(slice_equal(result.differences[1].modern, buf_slice(&hash)));
	buf_fini(&hash);
	compare_result_fini(&result);
	compare_scratch_destroy(scratch);
	compare_plan_destroy(plan);

	char *names[] = {"authorization"};
	struct compare_options options = {.headers = {names, 1}};
	struct buf why = {0};
	plan = compare_plan_create(&options, &why);
	scratch = compare_scratch_create();
	struct header_field token_a = {SLICE("Authorization"), SLICE("Bearer SECRET")};
	struct header_field token_b = {SLICE("Authorization"), SLICE("Bearer SECRET2")};
	a = (struct compare_message){200, &token_a, 1, SLICE(""), false};
	b = (struct compare_message){200, &token_b, 1, SLICE(""), false};
	compare_messages(plan, scratch, &a, &b, &result);
	CHECK_INT(result.verdict, COMPARE_MISMATCH);
	CHECK(!memmem(result.text.data, result.text.len, "SECRET", 6));
	compare_result_fini(&result);
	compare_scratch_destroy(scratch);
	compare_plan_destroy(plan);
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes: which requests are of one kind, which are not, and what they are called. */
#include "judge/shape.h"

#include "unit.h"

#include <stdlib.h>

static const uint8_t key[SIPHASH_KEY_SIZE] = "a test's own key";
static struct json_tokens scratch;

static struct shape_input input_of(const char *method, const char *target, const char *body, int status)
{
	return (struct shape_input){slice_str(method), slice_str(target), slice_str(body), status};
}

static uint64_t hash_of(const char *method, const char *target, const char *body, int status)
{
	struct shape_input input = input_of(method, target, body, status);
	return shape_hash(&input, key, &scratch);
}

TEST(equal_shapes)
{
	static const struct {
		const char *target_a, *body_a, *target_b, *body_b;
		int status_a, status_b;
	} rows[] = {
		{"/x/1", "", "/x/2", "", 200, 204},
		{"/x?a=1&b=2", "", "/x?b=&a=99", "", 200, 200},
		{"/x?a=1&a=2", "", "/x?a=3", "", 200, 200},
		{"/x?", "", "/x", "", 200, 200},
		{"/x", "{\"a\":1,\"b\":\"x\"}", "/x", "{ \"b\" : \"yy\", \"a\" : 2e9 }", 200, 200},
		{"/x", "{\"a\":true}", "/x", "{\"a\":false}", 200, 200},
		{"/x", "{\"a\":[1,2,3]}", "/x", "{\"a\":[7]}", 200, 200},
		{"/x", "[{\"a\":1},{\"b\":1}]", "/x", "[{\"b\":2},{\"a\":1},{\"b\":3}]", 200, 200},
		{"/x", "not json", "/x", "{\"broken\":", 200, 200},
		{"/x", "{}", "/x", "{}", 404, 499},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_MSG(hash_of("POST", rows[i].target_a, rows[i].body_a, rows[i].status_a) ==
				  hash_of("POST", rows[i].target_b, rows[i].body_b, rows[i].status_b),
			  "row %zu", i);
}

TEST(different_shapes)
{
	/* Each differs from every other. */
	static const struct {
		const char *method, *target, *body;
		int status;
	} rows[] = {
		{"GET", "/x", "", 200},
		{"HEAD", "/x", "", 200},
		{"GET", "/x?a=1", "", 200},
		{"GET", "/x?b=1", "", 200},
		{"GET", "/x?a=1&b=1", "", 200},
		{"GET", "/x", "", 404},
		{"GET", "/x", "", 500},
		{"GET", "/x", "", 0},
		{"POST", "/x", "", 200},
		{"POST", "/x", "text", 200},
		{"POST", "/x", "{}", 200},
		{"POST", "/x", "[]", 200},
		{"POST", "/x", "1", 200},
		{"POST", "/x", "{\"a\":1}", 200},
		{"POST", "/x", "{\"a\":\"1\"}", 200},
		{"POST", "/x", "{\"a\":null}", 200},
		{"POST", "/x", "{\"a\":{}}", 200},
		{"POST", "/x", "{\"b\":1}", 200},
		{"POST", "/x", "{\"a\":1,\"b\":1}", 200},
		{"POST", "/x", "{\"a\":{\"b\":1}}", 200},
		{"POST", "/x", "{\"b\":{\"a\":1}}", 200},
		{"POST", "/x", "{\"a\":[]}", 200},
		{"POST", "/x", "{\"a\":[1]}", 200},
		{"POST", "/x", "{\"a\":[1,\"1\"]}", 200},
	};
	enum { COUNT = sizeof(rows) / sizeof(rows[0]) };
	uint64_t hashes[COUNT];
	for (size_t i = 0; i < COUNT; i++) {
		hashes[i] = hash_of(rows[i].method, rows[i].target, rows[i].body, rows[i].status);
		CHECK(hashes[i] != 0);
		for (size_t j = 0; j < i; j++)
			CHECK_MSG(hashes[i] != hashes[j], "rows %zu and %zu", j, i);
	}
}

TEST(names)
{
	static const struct {
		const char *method, *target, *body;
		int status;
		const char *name;
	} rows[] = {
		{"GET", "/x", "", 200, "GET 2xx"},
		{"GET", "/x?limit=1&offset=2&limit=3", "", 301, "GET ?limit&offset 3xx"},
		{"POST", "/x?dry_run", "{\"to\":\"b\",\"amount\":1,\"from\":\"a\"}", 200,
		 "POST ?dry_run {amount, from, to} 2xx"},
		{"POST", "/x", "[1]", 200, "POST array 2xx"},
		{"POST", "/x", "a=b", 404, "POST body 4xx"},
		{"PUT", "/x", "\"s\"", 0, "PUT string"},
		{"POST", "/x", "{}", 500, "POST {} 5xx"},
		{"POST", "/x", "{\"a\":2,\"\":1}", 200, "POST {, a} 2xx"},
		{"GET", "", "", 200, "GET 2xx"},
		{"GET", "/x", "", 1000, "GET"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct shape_input input =
			input_of(rows[i].method, rows[i].target, rows[i].body, rows[i].status);
		struct buf out = {0};
		shape_describe(&input, &scratch, &out);
		CHECK_STR(buf_cstr(&out), rows[i].name);
		buf_fini(&out);
	}
}

TEST(long_and_many_names_are_cut)
{
	char target[300] = "/x?";
	memset(target + 3, 'n', sizeof(target) - 4);
	struct buf out = {0};
	struct shape_input input = input_of("GET", target, "", 200);
	shape_describe(&input, &scratch, &out);
	CHECK_STR(buf_cstr(&out), "GET ?... 2xx");
	buf_reset(&out);
	struct buf body = {0};
	for (unsigned i = 0; i < 3 * SHAPE_QUERY_MAX; i++)
		buf_printf(&body, "%c\"m%03u\":1", i ? ',' : '{', i);
	buf_append_char(&body, '}');
	input = input_of("POST", "/x", buf_cstr(&body), 200);
	shape_describe(&input, &scratch, &out);
	CHECK(out.len <= SHAPE_NAME_BYTES_MAX);
	CHECK(strstr(buf_cstr(&out), "m000") && !strstr(buf_cstr(&out), "m099"));
	buf_fini(&body);
	buf_fini(&out);
}

/* Whatever comes: bounded time, bounded names. */
TEST(hostile_requests)
{
	size_t size = SHAPE_BODY_BYTES_MAX + 100;
	char *text = malloc(size + 1);
	memset(text, '[', size);
	text[size] = '\0';
	struct buf out = {0};
	struct shape_input large = input_of("POST", "/x", text, 200);
	CHECK(shape_hash(&large, key, &scratch) == hash_of("POST", "/x", text, 200));
	shape_describe(&large, &scratch, &out);
	CHECK_STR(buf_cstr(&out), "POST large body 2xx");
	text[1000] = '\0'; /* too deep */
	buf_reset(&out);
	struct shape_input deep = input_of("POST", "/x", text, 200);
	shape_describe(&deep, &scratch, &out);
	CHECK_STR(buf_cstr(&out), "POST large body 2xx");
	strcpy(text, "/x?");
	for (unsigned i = 0; i < 1000; i++)
		sprintf(text + strlen(text), "name-%u&", i);
	buf_reset(&out);
	struct shape_input query = input_of("GET", text, "", 200);
	CHECK(shape_hash(&query, key, &scratch) != 0);
	shape_describe(&query, &scratch, &out);
	CHECK(out.len <= SHAPE_NAME_BYTES_MAX && strstr(buf_cstr(&out), "..."));
	buf_fini(&out);
	free(text);
	json_tokens_fini(&scratch);
}

UNIT_MAIN

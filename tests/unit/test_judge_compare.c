/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The comparer on JSON bodies: meaning, rules, places, values. A row says what the two sides sent and
 * the whole list of differences, written as "kind place" with ~ before an ignored one.
 */
#include "test_judge_compare.h"

static void compare_json_texts(const struct compare_plan *plan, struct slice a, struct slice b,
			       struct compare_result *result)
{
	struct header_field json = {SLICE("Content-Type"), SLICE("application/json")};
	struct compare_message legacy = {200, &json, 1, guard_copy(&guard_a, a), false};
	struct compare_message modern = {200, &json, 1, guard_copy(&guard_b, b), false};
	compare_messages(plan, scratch, &legacy, &modern, result);
}

struct json_case {
	const char *name, *legacy, *modern, *differences;
	struct rules rules;
};

static const struct json_case cases[] = {
	{"same", "{\"a\":1}", "{\"a\":1}", "", {0}},
	{"space", "{\"a\":1}", " { \"a\" :\n1 } ", "", {0}},
	{"member order", "{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "", {0}},
	{"member order, nested",
	 "{\"x\":{\"a\":1,\"b\":[{\"c\":1,\"d\":2}]}}",
	 "{\"x\":{\"b\":[{\"d\":2,\"c\":1}],\"a\":1}}",
	 "",
	 {0}},
	{"member order, nine",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}",
	 "{\"i\":9,\"h\":8,\"g\":7,\"f\":6,\"e\":5,\"d\":4,\"c\":3,\"b\":2,\"a\":1}",
	 "",
	 {0}},
	{"number notation", "[1,100,0.5,0]", "[1.0,1e2,5e-1,-0]", "", {0}},
	{"string escapes", "[\"\\u0061\\/\"]", "[\"a/\"]", "", {0}},
	{"escaped name", "{\"\\u0061\":1}", "{\"a\":1}", "", {0}},
	{"escaped name among nine",
	 "{\"\\u0061\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}",
	 "{\"i\":9,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"a\":1}",
	 "",
	 {0}},
	{"empty objects", "{}", "{ }", "", {0}},
	{"empty arrays", "[]", "[ ]", "", {0}},
	{"scalars", "1", "1.0", "", {0}},
	{"scalar differs", "1", "2", "value ", {0}},
	{"null", "null ", "null", "", {0}},
	{"value", "{\"a\":1}", "{\"a\":2}", "value /a", {0}},
	{"value deep", "{\"a\":[{\"b\":{\"c\":1}}]}", "{\"a\":[{\"b\":{\"c\":2}}]}", "value /a/0/b/c", {0}},
	{"string", "{\"a\":\"x\"}", "{\"a\":\"y\"}", "value /a", {0}},
	{"string case", "{\"a\":\"x\"}", "{\"a\":\"X\"}", "value /a", {0}},
	{"string space", "{\"a\":\"x\"}", "{\"a\":\"x \"}", "value /a", {0}},
	{"true and false", "{\"a\":true}", "{\"a\":false}", "value /a", {0}},
	{"null and false", "{\"a\":null}", "{\"a\":false}", "type /a", {0}},
	{"null and missing", "{\"a\":null}", "{}", "missing /a", {0}},
	{"number and string", "{\"a\":1}", "{\"a\":\"1\"}", "type /a", {0}},
	{"zero and false", "{\"a\":0}", "{\"a\":false}", "type /a", {0}},
	{"object and array", "{\"a\":{}}", "{\"a\":[]}", "type /a", {0}},
	{"root type", "{}", "[]", "type ", {0}},
	{"empty string and null", "{\"a\":\"\"}", "{\"a\":null}", "type /a", {0}},
	{"long integers", "{\"id\":12345678901234567890}", "{\"id\":12345678901234567891}", "value /id", {0}},
	{"beyond doubles", "[9007199254740992]", "[9007199254740993]", "value /0", {0}},
	{"1e400", "[1e400]", "[1e401]", "value /0", {0}},
	{"escaped NUL", "[\"a\\u0000b\"]", "[\"a\\u0000c\"]", "value /0", {0}},
	{"lone surrogates", "[\"\\ud800\"]", "[\"\\ud801\"]", "value /0", {0}},
	{"lone surrogates equal", "[\"\\ud800\"]", "[\"\\uD800\"]", "", {0}},
	{"missing", "{\"a\":1,\"b\":2}", "{\"a\":1}", "missing /b", {0}},
	{"added", "{\"a\":1}", "{\"a\":1,\"b\":2}", "added /b", {0}},
	{"renamed", "{\"a\":1}", "{\"b\":1}", "missing /a; added /b", {0}},
	{"missing of nine",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}",
	 "{\"i\":9,\"h\":8,\"g\":7,\"f\":6,\"e\":5,\"d\":4,\"c\":3,\"b\":2,\"x\":1}",
	 "missing /a; added /x",
	 {0}},
	{"several",
	 "{\"a\":1,\"b\":2,\"c\":3}",
	 "{\"a\":2,\"c\":4,\"d\":5}",
	 "value /a; missing /b; value /c; added /d",
	 {0}},
	{"names with / and ~",
	 "{\"a/b\":1,\"c~d\":1}",
	 "{\"a/b\":2,\"c~d\":2}",
	 "value /a~1b; value /c~0d",
	 {0}},
	{"empty name", "{\"\":1}", "{\"\":2}", "value /", {0}},
	{"name with a digit", "{\"0\":1}", "{\"0\":2}", "value /0", {0}},
	{"array value", "[1,2,3]", "[1,5,3]", "value /1", {0}},
	{"array shorter", "[1,2,3]", "[1,2]", "length ", {0}},
	{"array longer", "{\"a\":[]}", "{\"a\":[1]}", "length /a", {0}},
	{"array length and value", "[1,2,3]", "[9,2]", "length ; value /0", {0}},
	{"array order", "{\"l\":[1,2,3]}", "{\"l\":[3,1,2]}", "order /l", {0}},
	{"array order of objects",
	 "[{\"a\":1,\"b\":2},{\"a\":3}]",
	 "[{\"a\":3.0},{\"b\":2,\"a\":1}]",
	 "order ",
	 {0}},
	{"array not only order", "[1,2,3]", "[3,1,9]", "value /0; value /1; value /2", {0}},
	{"array order, inner arrays differ",
	 "[[1,2],[3]]",
	 "[[3],[2,1]]",
	 "length /0; value /0/0; length /1; value /1/0",
	 {0}},
	{"array of alike arrays, not only order",
	 "[[1,2],[3,4]]",
	 "[[4,3],[1,2]]",
	 "value /0/0; value /0/1; value /1/0; value /1/1",
	 {0}},
	{"array same sum, not the same", "[1,1,2]", "[1,2,2]", "value /1", {0}},
	{"array order of copies", "[1,1,2]", "[1,2,1]", "order ", {0}},

	/* ignore */
	{"ignored", "{\"a\":1,\"t\":1}", "{\"a\":1,\"t\":2}", "~value /t", {.ignore = "/t"}},
	{"ignored and not",
	 "{\"a\":1,\"t\":1}",
	 "{\"a\":2,\"t\":2}",
	 "value /a; ~value /t",
	 {.ignore = "/t"}},
	{"ignored missing", "{\"t\":1}", "{}", "~missing /t", {.ignore = "/t"}},
	{"ignored added", "{}", "{\"t\":1}", "~added /t", {.ignore = "/t"}},
	{"ignored type", "{\"t\":1}", "{\"t\":[]}", "~type /t", {.ignore = "/t"}},
	{"ignored subtree",
	 "{\"m\":{\"t\":1,\"u\":2}}",
	 "{\"m\":{\"t\":2,\"u\":3}}",
	 "~value /m/t; ~value /m/u",
	 {.ignore = "/m"}},
	{"ignored, not the sibling",
	 "{\"m\":{\"t\":1,\"u\":2}}",
	 "{\"m\":{\"t\":2,\"u\":3}}",
	 "~value /m/t; value /m/u",
	 {.ignore = "/m/t"}},
	{"ignored everywhere", "{\"a\":1}", "[]", "~type ", {.ignore = ""}},
	{"ignored star",
	 "{\"l\":[{\"id\":1,\"v\":1},{\"id\":2,\"v\":1}]}",
	 "{\"l\":[{\"id\":3,\"v\":1},{\"id\":4,\"v\":2}]}",
	 "~value /l/0/id; ~value /l/1/id; value /l/1/v",
	 {.ignore = "/l/*/id"}},
	{"ignored star member",
	 "{\"a\":{\"x\":1},\"b\":{\"x\":1}}",
	 "{\"a\":{\"x\":2},\"b\":{\"x\":2}}",
	 "~value /a/x; ~value /b/x",
	 {.ignore = "/*/x"}},
	{"ignored index", "[1,2]", "[3,4]", "~value /0; value /1", {.ignore = "/0"}},
	{"ignored index as a name", "{\"0\":1}", "{\"0\":2}", "~value /0", {.ignore = "/0"}},
	{"ignored length", "[1]", "[1,2]", "~length ", {.ignore = "/1"}},
	{"ignored elements and length", "[1]", "[2,3]", "~length ; ~value /0", {.ignore = "/*"}},
	{"length not ignored", "[1]", "[1,2,3]", "length ", {.ignore = "/1"}},
	{"ignored escaped name", "{\"\\u0074\":1}", "{\"t\":2}", "~value /t", {.ignore = "/t"}},
	{"ignored name with /", "{\"a/b\":1}", "{\"a/b\":2}", "~value /a~1b", {.ignore = "/a~1b"}},
	{"two rules",
	 "{\"a\":1,\"b\":1,\"c\":1}",
	 "{\"a\":2,\"b\":2,\"c\":2}",
	 "~value /a; value /b; ~value /c",
	 {.ignore = "/a,/c"}},
	{"ignored order", "{\"l\":[1,2]}", "{\"l\":[2,1]}", "~order /l", {.ignore = "/l"}},
	{"ignored elements in another order", "[1,2]", "[2,1]", "~value /0; ~value /1", {.ignore = "/*"}},
	{"order with ignored places",
	 "[{\"id\":7,\"v\":1},{\"id\":8,\"v\":2}]",
	 "[{\"id\":9,\"v\":2},{\"id\":6,\"v\":1}]",
	 "order ",
	 {.ignore = "/*/id"}},

	/* tolerance */
	{"tolerance", "{\"p\":1.00}", "{\"p\":1.01}", "", {.tolerance = 0.01}},
	{"tolerance passed", "{\"p\":1.00}", "{\"p\":1.011}", "value /p", {.tolerance = 0.01}},
	{"tolerance exact", "{\"p\":1.00}", "{\"p\":1.01}", "value /p", {0}},
	{"tolerance and strings", "{\"p\":\"1.00\"}", "{\"p\":\"1.01\"}", "value /p", {.tolerance = 0.01}},
	{"tolerance and big",
	 "[12345678901234567890]",
	 "[12345678901234567891]",
	 "value /0",
	 {.tolerance = 0.5}},
	{"tolerance and sign", "[-0.004]", "[0.004]", "", {.tolerance = 0.01}},
	{"tolerance and order", "[1,2]", "[2,1]", "order ", {.tolerance = 0.5}},
	{"tolerance, not order", "[1,2]", "[3,4]", "value /0; value /1", {.tolerance = 0.5}},

	/* unordered */
	{"unordered", "[1,2,3]", "[3,1,2]", "", {.unordered = ""}},
	{"unordered nested", "{\"l\":[1,2,3]}", "{\"l\":[3,1,2]}", "", {.unordered = "/l"}},
	{"unordered objects",
	 "{\"l\":[{\"a\":1,\"b\":2},{\"a\":3}]}",
	 "{\"l\":[{\"a\":3.0},{\"b\":2,\"a\":1}]}",
	 "",
	 {.unordered = "/l"}},
	{"unordered copies", "[1,1,2]", "[1,2,1]", "", {.unordered = ""}},
	{"unordered counts matter", "[1,1,2]", "[1,2,2]", "value /1", {.unordered = ""}},
	{"unordered missing", "[1,2,3]", "[3,1]", "missing /1", {.unordered = ""}},
	{"unordered added", "[1,2]", "[2,3,1]", "added /1", {.unordered = ""}},
	{"unordered part differs",
	 "[{\"id\":1,\"v\":1},{\"id\":2,\"v\":2}]",
	 "[{\"id\":2,\"v\":9},{\"id\":1,\"v\":1}]",
	 "value /1/v",
	 {.unordered = ""}},
	{"unordered is about this array",
	 "{\"l\":[[1,2],[3,4]]}",
	 "{\"l\":[[4,3],[1,2]]}",
	 "order /l/1",
	 {.unordered = "/l"}},
	{"unordered in unordered",
	 "{\"l\":[[1,2],[3,4]]}",
	 "{\"l\":[[4,3],[2,1]]}",
	 "",
	 {.unordered = "/l,/l/*"}},
	{"unordered, escapes", "[\"\\u0061\",\"b\"]", "[\"b\",\"a\"]", "", {.unordered = ""}},
	{"unordered with ignored places",
	 "[{\"id\":7,\"v\":1},{\"id\":8,\"v\":2}]",
	 "[{\"id\":9,\"v\":2},{\"id\":6,\"v\":1}]",
	 "",
	 {.ignore = "/*/id", .unordered = ""}},
	{"unordered, ignored member only here",
	 "[{\"id\":7,\"v\":1},{\"v\":2}]",
	 "[{\"v\":2,\"id\":1},{\"v\":1}]",
	 "",
	 {.ignore = "/*/id", .unordered = ""}},
	{"unordered and tolerance",
	 "[1.0,2.0,3.0]",
	 "[3.01,0.99,2.0]",
	 "",
	 {.unordered = "", .tolerance = 0.01}},
	{"unordered chain within tolerance", "[0,1,2,3]", "[1,2,3,4]", "", {.unordered = "", .tolerance = 1}},
	{"unordered chain the other way", "[4,3,2,1]", "[3,2,1,0]", "", {.unordered = "", .tolerance = 1}},
	{"unordered beyond tolerance", "[1,5]", "[5.2,1.6]", "value /0", {.unordered = "", .tolerance = 0.5}},
	{"unordered objects and tolerance",
	 "[{\"p\":1.0},{\"p\":9.0}]",
	 "[{\"p\":9.01},{\"p\":1.01}]",
	 "",
	 {.unordered = "", .tolerance = 0.01}},
	{"unordered mixed", "[1,\"1\",true,null,[],{}]", "[{},[],null,true,\"1\",1]", "", {.unordered = ""}},
	{"unordered type", "[1,\"x\"]", "[\"x\",\"1\"]", "type /0", {.unordered = ""}},
	{"unordered on an object", "{\"a\":1}", "{\"a\":2}", "value /a", {.unordered = ""}},
	{"unordered and ignored",
	 "{\"l\":[1,2]}",
	 "{\"l\":[3,2]}",
	 "~value /l/0",
	 {.unordered = "/l", .ignore = "/l"}},
	{"unordered empty", "{\"l\":[]}", "{\"l\":[1]}", "added /l/0", {.unordered = "/l"}},

	/* a name twice: bytes */
	{"name twice", "{\"a\":1,\"a\":1}", "{\"a\":1}", "bytes body", {0}},
	{"name twice, modern", "{\"a\":1}", "{\"a\":1,\"a\":1}", "bytes body", {0}},
	{"name twice on both", "{\"a\":1,\"a\":2}", "{\"a\":1, \"a\":2}", "bytes body", {0}},
	{"name twice, same bytes", "{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}", "", {0}},
	{"name twice by an escape", "{\"a\":1,\"\\u0061\":1}", "{\"a\":1,\"b\":1}", "bytes body", {0}},
	{"name twice, missing on the other side", "{\"x\":1,\"x\":1}", "{\"y\":1}", "bytes body", {0}},
	{"name twice after differences",
	 "{\"a\":1,\"b\":{\"c\":1,\"c\":1}}",
	 "{\"a\":2,\"b\":{\"c\":1}}",
	 "bytes body",
	 {0}},
	{"name twice of ten",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"a\":1}",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":1}",
	 "bytes body",
	 {0}},
	{"name twice of ten, modern",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":1}",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"i\":1}",
	 "bytes body",
	 {0}},
	{"name twice of ten, both, same order",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"a\":1}",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9, \"a\":1}",
	 "bytes body",
	 {0}},
	{"name twice of ten, legacy only, no partner",
	 "{\"z\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"z\":1}",
	 "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":1}",
	 "bytes body",
	 {0}},
	{"name twice in an ignored place",
	 "{\"m\":{\"c\":1,\"c\":1},\"z\":1}",
	 "{\"m\":{\"c\":1},\"z\":2}",
	 "~value /m; value /z",
	 {.ignore = "/m"}},

	/* not JSON after all */
	{"trailing comma", "{\"a\":1,}", "{\"a\":1}", "bytes body", {0}},
	{"two documents", "{} {}", "{}  {}", "bytes body", {0}},
	{"only modern is JSON", "<html>", "{}", "bytes body", {0}},
	{"empty and not", "", "{}", "bytes body", {0}},
	{"empty both", "", "", "", {0}},
	{"bad UTF-8", "[\"\xff\"]", "[ \"\xff\"]", "bytes body", {0}},

	/* redact: the place is reported, and nothing below it */
	{"redacted", "{\"s\":{\"k\":1}}", "{\"s\":{\"k\":2}}", "value /s", {.redact = "/s"}},
	{"redacted equal", "{\"s\":{\"k\":1}}", "{\"s\":{\"k\":1.0}}", "", {.redact = "/s"}},
	{"redacted and ignored inside",
	 "{\"s\":{\"k\":1}}",
	 "{\"s\":{\"k\":2}}",
	 "~value /s",
	 {.redact = "/s", .ignore = "/s/k"}},
	{"redacted array, unordered",
	 "{\"s\":[1,2]}",
	 "{\"s\":[2,1]}",
	 "",
	 {.redact = "/s", .unordered = "/s"}},
	{"redacted array", "{\"s\":[1,2]}", "{\"s\":[2,1]}", "value /s", {.redact = "/s"}},
};

TEST(json_pairs)
{
	struct compare_result result = {0};
	struct buf list = {0};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct json_case *c = &cases[i];
		struct compare_plan *plan = plan_of(&c->rules);
		compare_json_texts(plan, slice_str(c->legacy), slice_str(c->modern), &result);
		list_differences(&result, false, &list);
		CHECK_MSG(strcmp(buf_cstr(&list), c->differences) == 0, "\"%s\": %s", c->name,
			  buf_cstr(&list));
		bool counts = false;
		for (uint32_t k = 0; k < result.kept; k++)
			counts |= !result.differences[k].ignored;
		CHECK_MSG(result.verdict == (counts ? COMPARE_MISMATCH : COMPARE_MATCH), "\"%s\": %s",
			  c->name, compare_verdict_word(result.verdict));
		CHECK_MSG(result.different + result.ignored == result.kept, "\"%s\"", c->name);

		/* The other way round the verdict is the same. */
		uint32_t different = result.different;
		compare_json_texts(plan, slice_str(c->modern), slice_str(c->legacy), &result);
		CHECK_MSG(!result.different == !different, "\"%s\" the other way round", c->name);
		compare_plan_destroy(plan);
	}
	CHECK(sizeof(cases) / sizeof(cases[0]) >= 80);
	buf_fini(&list);
	compare_result_fini(&result);
}

TEST(general_pointers)
{
	struct compare_plan *plan = plan_of(&(struct rules){0});
	struct compare_result result = {0};
	struct buf list = {0};
	compare_json_texts(plan, SLICE("{\"items\":[{\"p\":1},{\"p\":1}],\"7\":1,\"x/y\":[[1]]}"),
			   SLICE("{\"items\":[{\"p\":2},{\"p\":3}],\"7\":2,\"x/y\":[[2]]}"), &result);
	list_differences(&result, false, &list);
	CHECK_STR(buf_cstr(&list), "value /items/0/p; value /items/1/p; value /7; value /x~1y/0/0");
	list_differences(&result, true, &list);
	CHECK_STR(buf_cstr(&list), "value /items/*/p; value /items/*/p; value /7; value /x~1y/*/*");
	buf_fini(&list);
	compare_result_fini(&result);
	compare_plan_destroy(plan);
}

TEST(values)
{
	static const struct {
		const char *legacy, *modern, *values;
	} rows[] = {
		{"{\"a\":1}", "{\"a\":\"x\\n\"}", "1|\"x\\n\""},
		{"{\"a\":[1, 2]}", "{\"a\":{}}", "[1, 2]|{}"},
		{"{\"a\":null}", "{}", "null|"},
		{"{}", "{\"a\":true}", "|true"},
		{"[1,2]", "[1]", "2 elements|1 element"},
		{"[1,2]", "[2,1]", "[1,2]|[2,1]"},
		{"{\"a\":\"\xc3\xa4\"}", "{\"a\":\"\x7f\"}", "\"\xc3\xa4\"|\"\\x7F\""},
	};
	struct compare_plan *plan = plan_of(&(struct rules){0});
	struct compare_result result = {0};
	struct buf out = {0};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		compare_json_texts(plan, slice_str(rows[i].legacy), slice_str(rows[i].modern), &result);
		CHECK_INT(result.kept, 1);
		CHECK_STR(values_of(&result, &out), rows[i].values);
	}
	/* Long values are cut on a character's boundary. */
	char text[1200] = "[\"";
	for (unsigned i = 0; i < 500; i++)
		memcpy(text + 2 + 2 * i, "\xc3\xa4", 2);
	memcpy(text + 1002, "\"]", 3);
	compare_json_texts(plan, slice_str(text), SLICE("[1]"), &result);
	CHECK(result.differences[0].legacy.len <= COMPARE_VALUE_MAX);
	CHECK(result.differences[0].legacy.len > COMPARE_VALUE_MAX - 4);
	CHECK(slice_starts(result.differences[0].legacy, SLICE("\"\xc3\xa4\xc3\xa4")));
	CHECK_STR(result.differences[0].legacy.ptr + result.differences[0].legacy.len - 3, "\xe2\x80\xa6");
	buf_fini(&out);
	compare_result_fini(&result);
	compare_plan_destroy(plan);
}

/* All are counted, the first are kept, and ignored ones never crowd out the others. */
TEST(many_differences)
{
	struct compare_plan *plan = plan_of(&(struct rules){.ignore = "/*/t"});
	struct compare_result result = {0};
	struct buf a = {0}, b = {0};
	for (unsigned i = 0; i < 200; i++) {
		buf_printf(&a, "%s{\"t\":1,\"v\":%d}", i ? "," : "[", i < 100 ? 0 : 1);
		buf_printf(&b, "%s{\"t\":2,\"v\":%d}", i ? "," : "[", i < 100 ? 0 : 2);
	}
	buf_append_char(&a, ']');
	buf_append_char(&b, ']');
	compare_json_texts(plan, buf_slice(&a), buf_slice(&b), &result);
	CHECK_INT(result.verdict, COMPARE_MISMATCH);
	CHECK_INT(result.different, 100);
	CHECK_INT(result.ignored, 200);
	CHECK_INT(result.kept, COMPARE_DIFFERENCES_MAX);
	unsigned counting = 0;
	for (uint32_t i = 0; i < result.kept; i++)
		counting += !result.differences[i].ignored;
	CHECK_INT(counting, COMPARE_DIFFERENCES_MAX / 2);
	/* Long names fill the result's memory to the last byte and not beyond. */
	buf_reset(&a);
	buf_reset(&b);
	for (unsigned i = 0; i < 40; i++) {
		buf_printf(&a, "%s\"%u%0700d\":\"%0600d\"", i ? "," : "{", i, 0, 0);
		buf_printf(&b, "%s\"%u%0700d\":\"%0600d\"", i ? "," : "{", i, 0, 1);
	}
	buf_append_char(&a, '}');
	buf_append_char(&b, '}');
	compare_json_texts(plan, buf_slice(&a), buf_slice(&b), &result);
	CHECK_INT(result.different, 40);
	CHECK_INT(result.kept, 32);
	for (uint32_t i = 0; i < result.kept; i++) {
		const struct compare_difference *d = &result.differences[i];
		CHECK_INT(d->pointer.len, COMPARE_POINTER_MAX);
		CHECK_INT(d->modern.len, COMPARE_VALUE_MAX);
		CHECK_INT(d->modern.ptr[d->modern.len], 0);
	}
	buf_fini(&a);
	buf_fini(&b);
	compare_result_fini(&result);
	compare_plan_destroy(plan);
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizer: what is JSON and what is not, where an error is, the shape of the tokens, strings. */
#include "judge/json.h"

#include "test_judge_support.h"
#include "unit.h"

#include <errno.h>

struct text_case {
	const char *name;
	struct slice text;
};

#define T(name, text)                                                                                        \
	{                                                                                                    \
		name,                                                                                        \
		{                                                                                            \
			text, sizeof(text) - 1                                                               \
		}                                                                                            \
	}

static const struct text_case good[] = {
	T("null", "null"),
	T("true", "true"),
	T("false", "false"),
	T("zero", "0"),
	T("minus zero", "-0"),
	T("minus zero point zero", "-0.0"),
	T("one", "1"),
	T("negative", "-17"),
	T("fraction", "0.5"),
	T("many zeros", "1.000000000000000000000000000000"),
	T("exponent", "1e5"),
	T("exponent capital", "1E5"),
	T("exponent plus", "1e+5"),
	T("exponent minus", "1e-5"),
	T("exponent zeros", "1e00005"),
	T("zero exponent", "0e0"),
	T("zero exponent plus", "0E+1"),
	T("huge exponent", "1e400"),
	T("absurd exponent", "1e99999999999999999999999999"),
	T("twenty digits", "12345678901234567890"),
	T("forty digits", "1234567890123456789012345678901234567890"),
	T("tiny", "1e-99999"),
	T("fraction and exponent", "123.456e-78"),
	T("empty string", "\"\""),
	T("string", "\"hello\""),
	T("string of 7", "\"1234567\""),
	T("string of 8", "\"12345678\""),
	T("string of 9", "\"123456789\""),
	T("string of 16", "\"1234567890123456\""),
	T("escaped quote", "\"\\\"\""),
	T("all escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
	T("unicode escape", "\"\\u0061\""),
	T("unicode escape, both cases", "\"\\uaBcD\""),
	T("escaped NUL", "\"\\u0000\""),
	T("surrogate pair", "\"\\ud83d\\ude00\""),
	T("lone high surrogate", "\"\\ud800\""),
	T("lone low surrogate", "\"\\udc00\""),
	T("surrogates the wrong way", "\"\\udc00\\ud800\""),
	T("two high surrogates", "\"\\ud800\\ud800\\udc00\""),
	T("escaped noncharacter", "\"\\uffff\""),
	T("two bytes", "\"\xc2\x80\""),
	T("last of two bytes", "\"\xdf\xbf\""),
	T("three bytes", "\"\xe0\xa0\x80\""),
	T("before surrogates", "\"\xed\x9f\xbf\""),
	T("after surrogates", "\"\xee\x80\x80\""),
	T("noncharacter", "\"\xef\xbf\xbf\""),
	T("byte order mark in a string", "\"\xef\xbb\xbf\""),
	T("four bytes", "\"\xf0\x90\x80\x80\""),
	T("last code point", "\"\xf4\x8f\xbf\xbf\""),
	T("mixed scripts", "\"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z\""),
	T("DEL", "\"\x7f\""),
	T("line separator", "\"\xe2\x80\xa8\""),
	T("slash", "\"/\""),
	T("not an escape outside", "\"[{]}:,\""),
	T("empty array", "[]"),
	T("empty array with space", "[ \t\r\n ]"),
	T("array of one", "[1]"),
	T("array of many", "[1,\"a\",null,true,false,[],{}]"),
	T("array, spaces", " [ 1 , 2 ] "),
	T("nested arrays", "[[[[[[]]]]]]"),
	T("arrays side by side", "[[],[],[[]]]"),
	T("empty object", "{}"),
	T("empty object with space", "{ }"),
	T("object", "{\"a\":1}"),
	T("object of many", "{\"a\":1,\"b\":\"x\",\"c\":[],\"d\":{}}"),
	T("object, spaces", "\n{\t\"a\" : 1 , \"b\"\r:\n2 }\n"),
	T("empty name", "{\"\":0}"),
	T("escaped name", "{\"\\u0061\":0}"),
	T("name twice", "{\"a\":1,\"a\":2}"),
	T("nested objects", "{\"a\":{\"b\":{\"c\":{}}}}"),
	T("space before", "   1"),
	T("space behind", "1   "),
	T("newline behind", "[]\n"),
	T("number in array before bracket", "[-1]"),
	T("number before comma", "[1.5e3,2]"),
	T("long string",
	  "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""),
	T("escape at a word's end", "\"1234567\\n\""),
	T("quote at a word's start", "\"12345678\""),
	T("high byte at a word's end", "\"1234567\xc3\xa4\""),
};

static const struct text_case bad[] = {
	T("nothing", ""),
	T("only space", " \n\t\r"),
	T("byte order mark", "\xef\xbb\xbf{}"),
	T("half a byte order mark", "\xef\xbb"),
	T("UTF-16", "\xff\xfe[\0]\0"),
	T("NUL", "\0"),
	T("NUL behind", "1\0"),
	T("form feed", "\f1"),
	T("vertical tab", "[\v1]"),
	T("no-break space", "[\xc2\xa0]"),
	T("word", "nope"),
	T("nul", "nul"),
	T("nulll", "nulll"),
	T("True", "True"),
	T("TRUE", "TRUE"),
	T("tru", "[tru]"),
	T("fals", "fals"),
	T("falsy", "falsy"),
	T("undefined", "undefined"),
	T("NaN", "NaN"),
	T("minus NaN", "-NaN"),
	T("Infinity", "Infinity"),
	T("minus Infinity", "-Infinity"),
	T("plus", "+1"),
	T("plus alone", "+"),
	T("minus alone", "-"),
	T("minus and space", "- 1"),
	T("two minus", "--1"),
	T("minus letter", "-a"),
	T("leading zero", "01"),
	T("leading zeros", "00"),
	T("negative leading zero", "-01"),
	T("leading zero in array", "[012]"),
	T("point first", ".5"),
	T("minus point", "-.5"),
	T("point last", "1."),
	T("point last in array", "[1.]"),
	T("zero point", "0."),
	T("two points", "1.2.3"),
	T("point exponent", "1.e5"),
	T("exponent empty", "1e"),
	T("exponent plus empty", "1e+"),
	T("exponent minus empty", "1e-"),
	T("exponent fraction", "1e5.5"),
	T("exponent twice", "1e5e5"),
	T("zero exponent empty", "0e"),
	T("hexadecimal", "0x1F"),
	T("hexadecimal digits", "1F"),
	T("octal", "0o7"),
	T("underscore", "1_000"),
	T("comma decimal", "1,5"),
	T("full-width digit", "\xef\xbc\x91"),
	T("space in number", "1 2"),
	T("number letter", "1a"),
	T("quote only", "\""),
	T("string without end", "\"abc"),
	T("string without end, 8", "\"1234567"),
	T("string without end, 9", "\"12345678"),
	T("single quotes", "'a'"),
	T("no quotes", "abc"),
	T("escape at the end", "\"\\"),
	T("escaped end", "\"\\\""),
	T("escape unknown", "\"\\x41\""),
	T("escape a", "\"\\a\""),
	T("escape zero", "\"\\0\""),
	T("escape quote", "\"\\'\""),
	T("escape high byte", "\"\\\xc3\xa4\""),
	T("escape newline", "\"\\\n\""),
	T("escape NUL", "\"\\\0\""),
	T("escape capital U", "\"\\U0061\""),
	T("u empty", "\"\\u\""),
	T("u one", "\"\\u1\""),
	T("u two", "\"\\u12\""),
	T("u three", "\"\\u123\""),
	T("u not hexadecimal", "\"\\u00g0\""),
	T("u minus", "\"\\u-123\""),
	T("u at the end", "\"\\u123"),
	T("pair cut", "\"\\ud83d\\ude0\""),
	T("pair without u", "\"\\ud83d\\\""),
	T("newline in string", "\"a\nb\""),
	T("tab in string", "\"a\tb\""),
	T("NUL in string", "\"a\0b\""),
	T("unit separator in string", "\"1234567\x1f\""),
	T("continuation alone", "\"\x80\""),
	T("continuation bf", "\"\xbf\""),
	T("overlong slash, 2", "\"\xc0\xaf\""),
	T("overlong c1", "\"\xc1\xbf\""),
	T("overlong slash, 3", "\"\xe0\x80\xaf\""),
	T("overlong 3, last", "\"\xe0\x9f\xbf\""),
	T("overlong slash, 4", "\"\xf0\x80\x80\xaf\""),
	T("overlong 4, last", "\"\xf0\x8f\xbf\xbf\""),
	T("surrogate in UTF-8", "\"\xed\xa0\x80\""),
	T("last surrogate in UTF-8", "\"\xed\xbf\xbf\""),
	T("beyond Unicode", "\"\xf4\x90\x80\x80\""),
	T("f5", "\"\xf5\x80\x80\x80\""),
	T("fe", "\"\xfe\""),
	T("ff", "\"\xff\""),
	T("two bytes cut", "\"\xc3\""),
	T("two bytes cut by the end", "\"\xc3"),
	T("three bytes cut", "\"\xe2\x82\""),
	T("three bytes cut by the end", "\"\xe2\x82"),
	T("four bytes cut", "\"\xf0\x9f\x98\""),
	T("four bytes cut by the end", "\"\xf0\x9f\x98"),
	T("Latin-1", "\"\xe4\""),
	T("UTF-8 outside", "\xc3\xa4"),
	T("array open", "["),
	T("array open after value", "[1"),
	T("array open after comma", "[1,"),
	T("array closed twice", "[1]]"),
	T("array closed by brace", "[1}"),
	T("array comma first", "[,1]"),
	T("array comma only", "[,]"),
	T("array comma last", "[1,]"),
	T("array two commas", "[1,,2]"),
	T("array no comma", "[1 2]"),
	T("array no comma, strings", "[\"a\" \"b\"]"),
	T("array colon", "[1:2]"),
	T("array semicolon", "[1;2]"),
	T("array inside open", "[[]"),
	T("bracket closing", "]"),
	T("brace closing", "}"),
	T("object open", "{"),
	T("object open after name", "{\"a\""),
	T("object open after colon", "{\"a\":"),
	T("object open after value", "{\"a\":1"),
	T("object open after comma", "{\"a\":1,"),
	T("object closed twice", "{}}"),
	T("object closed by bracket", "{\"a\":1]"),
	T("object without value", "{\"a\"}"),
	T("object without value, colon", "{\"a\":}"),
	T("object without colon", "{\"a\" 1}"),
	T("object two colons", "{\"a\"::1}"),
	T("object equals", "{\"a\"=1}"),
	T("object comma for colon", "{\"a\",1}"),
	T("object comma first", "{,\"a\":1}"),
	T("object comma last", "{\"a\":1,}"),
	T("object two commas", "{\"a\":1,,\"b\":2}"),
	T("object no comma", "{\"a\":1 \"b\":2}"),
	T("object value twice", "{\"a\":1 2}"),
	T("object name without quotes", "{a:1}"),
	T("object name single quotes", "{'a':1}"),
	T("object name number", "{1:1}"),
	T("object name null", "{null:1}"),
	T("object name array", "{[]:1}"),
	T("object name object", "{{}:1}"),
	T("object name cut", "{\"a"),
	T("object as list", "{1,2}"),
	T("two values", "1 1"),
	T("two arrays", "[][]"),
	T("two objects", "{}{}"),
	T("value and comma", "1,"),
	T("value and garbage", "[]x"),
	T("line comment", "[1] // one"),
	T("block comment", "/* one */ 1"),
	T("hash comment", "# one\n1"),
	T("comment inside", "[1/**/]"),
	T("newline delimited", "{}\n{}"),
	T("callback", "f({})"),
	T("angle bracket", "<html>"),
	T("star", "*"),
	T("backslash outside", "[\\n]"),
	T("escape outside", "\\u0031"),
};

TEST(grammar)
{
	struct guard g = guard_make(4096);
	struct json_tokens tokens = {0};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct json_error error = {0, "", false};
		int got = json_tokenize(guard_copy(&g, good[i].text), NULL, &tokens, &error);
		CHECK_MSG(got == 0, "good \"%s\": %s at %zu", good[i].name, error.reason, error.offset);
		CHECK_MSG(tokens.count && tokens.items[0].next == tokens.count, "good \"%s\": not one value",
			  good[i].name);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct json_error error = {SIZE_MAX, NULL, true};
		int got = json_tokenize(guard_copy(&g, bad[i].text), NULL, &tokens, &error);
		CHECK_MSG(got == -EINVAL, "bad \"%s\" is taken", bad[i].name);
		CHECK_MSG(error.offset <= bad[i].text.len, "bad \"%s\": offset %zu", bad[i].name,
			  error.offset);
		CHECK_MSG(error.reason && !error.limit && tokens.count == 0, "bad \"%s\"", bad[i].name);
	}
	CHECK(sizeof(good) / sizeof(good[0]) + sizeof(bad) / sizeof(bad[0]) >= 150);
	json_tokens_fini(&tokens);
	guard_free(&g);
}

/* Every good text cut anywhere either is still good (a shorter number, trailing space) or is refused. */
TEST(cut_texts_do_not_overread)
{
	struct guard g = guard_make(4096);
	struct json_tokens tokens = {0};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		for (size_t len = 0; len < good[i].text.len; len++) {
			struct slice cut = guard_copy(&g, slice_of(good[i].text.ptr, len));
			int got = json_tokenize(cut, NULL, &tokens, NULL);
			char first = good[i].text.ptr[0];
			if (first == '"' || first == '[' || first == '{')
				CHECK_MSG(got == -EINVAL || good[i].text.ptr[good[i].text.len - 1] == '\n' ||
						  good[i].text.ptr[good[i].text.len - 1] == ' ',
					  "\"%s\" cut to %zu", good[i].name, len);
			else
				CHECK(got == 0 || got == -EINVAL);
		}
	}
	json_tokens_fini(&tokens);
	guard_free(&g);
}

/* A slow and obvious UTF-8 check against the tokenizer, for all sequences of three bytes and some of four. */
static bool utf8_obvious(const unsigned char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		unsigned need = s[i] < 0x80		? 0
				: (s[i] & 0xe0) == 0xc0 ? 1
				: (s[i] & 0xf0) == 0xe0 ? 2
				: (s[i] & 0xf8) == 0xf0 ? 3
							: 9;
		uint32_t c = s[i] & (need == 0 ? 0x7f : need == 1 ? 0x1f : need == 2 ? 0x0f : 0x07);
		if (need == 9 || i + need >= n + (need == 0))
			return false;
		for (unsigned k = 1; k <= need; k++) {
			if ((s[i + k] & 0xc0) != 0x80)
				return false;
			c = c << 6 | (s[i + k] & 0x3f);
		}
		if ((need == 1 && c < 0x80) || (need == 2 && c < 0x800) || (need == 3 && c < 0x10000) ||
		    c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
		i += need + 1;
	}
	return true;
}

TEST(utf8_exhaustive)
{
	struct json_tokens tokens = {0};
	unsigned long wrong = 0;
	for (uint32_t x = 0; x < 1u << 24; x += x % 7 + 1) {
		unsigned char text[7] = {
			'"', 0, (unsigned char)(x >> 16), (unsigned char)(x >> 8), (unsigned char)x, '"', 0};
		text[1] = (x & 1) ? 0xf0 : 'a';
		bool plain = true;
		for (int i = 1; i < 5; i++)
			plain &= text[i] >= 0x20 && text[i] != '"' && text[i] != '\\';
		if (!plain)
			continue;
		bool ok = json_tokenize(slice_of((char *)text, 6), NULL, &tokens, NULL) == 0;
		wrong += ok != utf8_obvious(text + 1, 4);
	}
	CHECK_INT(wrong, 0);
	json_tokens_fini(&tokens);
}

TEST(error_places)
{
	static const struct {
		const char *text;
		size_t offset;
		unsigned line, column;
		const char *reason;
	} cases[] = {
		{"{\"a\" 1}", 5, 1, 6, "expected ':' after a member name"},
		{"{\n  \"a\": 1,\n}", 12, 3, 1, "no comma is allowed before }"},
		{"[1,\n 02]", 5, 2, 2, "a number must not start with 0"},
		{"[1 2]", 3, 1, 4, "expected ',' or ']'"},
		{"{\"a\":1 \"b\"}", 7, 1, 8, "expected ',' or '}'"},
		{"", 0, 1, 1, "expected a value, found nothing"},
		{"[\n", 2, 2, 1, "the text ends before a value"},
		{"\"a\tb\"", 2, 1, 3, "control character in a string; write it as an escape"},
		{"\"a\\qb\"", 2, 1, 3, "unknown escape in a string"},
		{"\"abc", 4, 1, 5, "the text ends inside a string"},
		{"\"\\u12x4\"", 5, 1, 6, "\\u needs four hexadecimal digits"},
		{"\"abcdefgh\xff\"", 9, 1, 10, "not well-formed UTF-8"},
		{"\xef\xbb\xbf{}", 0, 1, 1, "byte order mark"},
		{"{} x", 3, 1, 4, "more text after the value"},
		{"{x:1}", 1, 1, 2, "expected a member name in quotes"},
		{"[1.x]", 3, 1, 4, "expected a digit after the decimal point"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_tokens tokens = {0};
		struct json_error error = {0};
		unsigned line, column;
		struct slice text = slice_str(cases[i].text);
		CHECK_INT(json_tokenize(text, NULL, &tokens, &error), -EINVAL);
		json_locate(text, error.offset, &line, &column);
		CHECK_INT(error.offset, cases[i].offset);
		CHECK_INT(line, cases[i].line);
		CHECK_INT(column, cases[i].column);
		CHECK_STR(error.reason, cases[i].reason);
		json_tokens_fini(&tokens);
	}
}

TEST(token_shape)
{
	struct slice text = SLICE(" {\"a\":[1,{\"b\":null},\"x\\n\"],\"c\":{}, \"d\":true}");
	static const struct {
		enum json_token_type type;
		const char *text;
		unsigned next, count, escaped;
	} want[] = {
		{JSON_TOKEN_OBJECT, "{\"a\":[1,{\"b\":null},\"x\\n\"],\"c\":{}, \"d\":true}", 12, 3, 0},
		{JSON_TOKEN_STRING, "a", 2, 0, 0},
		{JSON_TOKEN_ARRAY, "[1,{\"b\":null},\"x\\n\"]", 8, 3, 0},
		{JSON_TOKEN_NUMBER, "1", 4, 0, 0},
		{JSON_TOKEN_OBJECT, "{\"b\":null}", 7, 1, 0},
		{JSON_TOKEN_STRING, "b", 6, 0, 0},
		{JSON_TOKEN_NULL, "null", 7, 0, 0},
		{JSON_TOKEN_STRING, "x\\n", 8, 0, 1},
		{JSON_TOKEN_STRING, "c", 9, 0, 0},
		{JSON_TOKEN_OBJECT, "{}", 10, 0, 0},
		{JSON_TOKEN_STRING, "d", 11, 0, 0},
		{JSON_TOKEN_TRUE, "true", 12, 0, 0},
	};
	struct json_tokens tokens = {0};
	CHECK_INT(json_tokenize(text, NULL, &tokens, NULL), 0);
	CHECK_INT(tokens.count, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < tokens.count && i < sizeof(want) / sizeof(want[0]); i++) {
		const struct json_token *t = &tokens.items[i];
		CHECK_MSG(t->type == want[i].type && t->next == want[i].next && t->count == want[i].count &&
				  t->escaped == want[i].escaped,
			  "token %zu: type %u next %u count %u escaped %u", i, t->type, t->next, t->count,
			  t->escaped);
		CHECK_MSG(slice_equal(json_token_text(text, t), slice_str(want[i].text)), "token %zu: %.*s",
			  i, SLICE_ARG(json_token_text(text, t)));
	}
	CHECK_STR(json_type_word(JSON_TOKEN_OBJECT), "object");
	json_tokens_fini(&tokens);
}

TEST(limits)
{
	struct json_tokens tokens = {0};
	struct json_error error;
	char text[2048];
	for (size_t depth = 127; depth <= 129; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		int got = json_tokenize(slice_of(text, 2 * depth), NULL, &tokens, &error);
		CHECK_INT(got, depth <= JSON_DEPTH_DEFAULT ? 0 : -E2BIG);
	}
	CHECK(error.limit);
	CHECK_INT(error.offset, 128);
	CHECK_STR(error.reason, "nested too deeply");
	/* A hundred thousand open brackets are refused at once, without a stack to overflow. */
	char *open = malloc(100000);
	memset(open, '[', 100000);
	CHECK_INT(json_tokenize(slice_of(open, 100000), NULL, &tokens, &error), -E2BIG);
	struct json_limits deep = {.depth = 200000};
	CHECK_INT(json_tokenize(slice_of(open, 100000), &deep, &tokens, &error), -EINVAL);
	free(open);

	struct json_limits few = {.tokens = 4};
	CHECK_INT(json_tokenize(SLICE("[1,2,3]"), &few, &tokens, &error), 0);
	CHECK_INT(json_tokenize(SLICE("[1,2,3,4]"), &few, &tokens, &error), -E2BIG);
	CHECK_STR(error.reason, "too many values");
	struct json_tokens fresh = {0};
	CHECK_INT(json_tokenize(SLICE("[1,2,3,4]"), &few, &fresh, &error), -E2BIG);
	json_tokens_fini(&fresh);
	json_tokens_fini(&tokens);
	json_tokens_fini(NULL);
}

TEST(strings_decode)
{
	static const struct {
		struct slice raw, want;
		bool unicode;
	} cases[] = {
		{{"", 0}, {"", 0}, true},
		{{"abc", 3}, {"abc", 3}, true},
		{{"\\u0061b", 7}, {"ab", 2}, true},
		{{"\\\"\\\\\\/\\b\\f\\n\\r\\t", 16}, {"\"\\/\b\f\n\r\t", 8}, true},
		{{"x\\u0000y", 8}, {"x\0y", 3}, true},
		{{"\\u00e4", 6}, {"\xc3\xa4", 2}, true},
		{{"\\u20AC", 6}, {"\xe2\x82\xac", 3}, true},
		{{"\\ud83d\\ude00", 12}, {"\xf0\x9f\x98\x80", 4}, true},
		{{"\\uD800\\uDC00", 12}, {"\xf0\x90\x80\x80", 4}, true},
		{{"\\udbff\\udfff", 12}, {"\xf4\x8f\xbf\xbf", 4}, true},
		{{"\\ud800", 6}, {"\xed\xa0\x80", 3}, false},
		{{"\\udc00\\ud800", 12}, {"\xed\xb0\x80\xed\xa0\x80", 6}, false},
		{{"\\ud800x", 7}, {"\xed\xa0\x80x", 4}, false},
		{{"\\ud800\\n", 8}, {"\xed\xa0\x80\n", 4}, false},
		{{"\\ud800\\ud800\\udc00", 18}, {"\xed\xa0\x80\xf0\x90\x80\x80", 7}, false},
		{{"\\ud800\\u0061", 12},
		 {"\xed\xa0\x80"
		  "a",
		  4},
		 false},
	};
	struct guard g = guard_make(4096);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};
		bool unicode = json_string_decode(guard_copy(&g, cases[i].raw), &out);
		CHECK_MSG(unicode == cases[i].unicode, "row %zu", i);
		CHECK_MSG(slice_equal(buf_slice(&out), cases[i].want), "row %zu: %.*s", i,
			  SLICE_ARG(buf_slice(&out)));
		buf_fini(&out);
	}
	guard_free(&g);
}

TEST(strings_equal)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
		{"", "", true},
		{"a", "a", true},
		{"a", "b", false},
		{"a", "aa", false},
		{"\\u0061", "a", true},
		{"\\u0061", "\\u0061", true},
		{"a\\u0062c", "abc", true},
		{"a\\u0062", "abc", false},
		{"abc", "ab\\u0063\\u0063", false},
		{"\\/", "/", true},
		{"\\n", "\\u000a", true},
		{"\\n", "\\u000A", true},
		{"\\n", "n", false},
		{"\\u0000", "", false},
		{"\\u0000", "\\u0000", true},
		{"\\u00e4", "\xc3\xa4", true},
		{"\\u00e4", "\xc3\xa5", false},
		{"\\ud83d\\ude00", "\xf0\x9f\x98\x80", true},
		{"\\ud83d\\ude00", "\\uD83D\\uDE00", true},
		{"\\ud83d\\ude00", "\\ud83d\\ude01", false},
		{"\\ud800", "\\uD800", true},
		{"\\ud800", "\\ud801", false},
		{"\\ud800", "\xef\xbf\xbd", false},
		{"\\udc00\\ud800", "\\ud800\\udc00", false},
		{"\\\\u0061", "a", false},
		{"\\\\u0061", "\\u005cu0061", true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice a = slice_str(cases[i].a), b = slice_str(cases[i].b);
		bool ea = strchr(cases[i].a, '\\'), eb = strchr(cases[i].b, '\\');
		CHECK_MSG(json_string_equal(a, ea, b, eb) == cases[i].equal, "%s and %s", cases[i].a,
			  cases[i].b);
		CHECK_MSG(json_string_equal(b, eb, a, ea) == cases[i].equal, "%s and %s", cases[i].b,
			  cases[i].a);
	}
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/* JSON pointers with wildcards: what is one, what it matches, sets of many. */
#include "judge/pointer.h"

#include "test_judge_support.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>

TEST(check)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"", true},	     {"/", true},     {"/a", true},	  {"/a/b", true}, {"/a//b", true},
		{"/*", true},	     {"/*/id", true}, {"/items/*", true}, {"/~0", true},  {"/~1", true},
		{"/a~1b", true},     {"/~01", true},  {"/0", true},	  {"/-", true},	  {"/ ", true},
		{"/\xc3\xa4", true}, {"/a*", true},   {"//", true},	  {"/%20", true}, {"/\"", true},
		{"a", false},	     {"a/b", false},  {"$", false},	  {"$.a", false}, {"#/a", false},
		{"*", false},	     {" /a", false},  {"/~", false},	  {"/~2", false}, {"/a~", false},
		{"/a~/b", false},    {"/a~x", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = NULL;
		int got = pointer_check(slice_str(cases[i].text), &why);
		CHECK_MSG(got == (cases[i].good ? 0 : -EINVAL), "\"%s\": %s", cases[i].text, why ? why : "");
		CHECK_MSG(cases[i].good == (why == NULL), "\"%s\"", cases[i].text);
	}
	const char *why = NULL;
	char longest[POINTER_TEXT_MAX + 1];
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	CHECK_INT(pointer_check(slice_of(longest, POINTER_TEXT_MAX), &why), 0);
	CHECK_INT(pointer_check(slice_of(longest, POINTER_TEXT_MAX + 1), &why), -EINVAL);
	CHECK_STR(why, "a JSON pointer may have at most 4096 bytes");
	memset(longest, '/', sizeof(longest));
	CHECK_INT(pointer_check(slice_of(longest, 128), &why), 0);
	CHECK_INT(pointer_check(slice_of(longest, 129), &why), -EINVAL);
	CHECK_INT(pointer_check(SLICE("/a\0b"), &why), -EINVAL);
}

/* Walks a path whose steps are separated by spaces: ".name" a member, "#3" an element. Returns the flags at
 * its end. */
static uint32_t flags_at(const struct pointer_set *set, const char *path)
{
	struct pointer_stack stack = {0};
	struct pointer_state states[64];
	struct slice rest = slice_str(path), step;
	unsigned depth = 0;
	states[0] = pointer_begin(set, &stack);
	while (rest.len && slice_split(&rest, ' ', &step)) {
		struct pointer_state at = states[depth++];
		if (step.ptr[0] == '#')
			states[depth] = pointer_element(set, &stack, at, (uint32_t)atoi(step.ptr + 1));
		else
			states[depth] = pointer_member(set, &stack, at, slice_of(step.ptr + 1, step.len - 1));
	}
	uint32_t flags = states[depth].flags;
	/* Leaving gives back exactly what entering took. */
	for (unsigned i = depth; i > 0; i--) {
		pointer_leave(&stack, states[i]);
		uint32_t len = states[i].count ? states[i].first : stack.len;
		CHECK_INT(stack.len, len);
	}
	CHECK(!stack.failed);
	pointer_stack_fini(&stack);
	return flags;
}

TEST(matching)
{
	static const struct {
		const char *pointer, *path;
		bool match;
	} cases[] = {
		{"", "", true},
		{"", ".a", false},
		{"/a", ".a", true},
		{"/a", ".b", false},
		{"/a", ".aa", false},
		{"/a", "", false},
		{"/a", ".a .b", false},
		{"/a/b", ".a .b", true},
		{"/a/b", ".a", false},
		{"/a/b", ".b .a", false},
		{"/", ".", true},
		{"/", ".a", false},
		{"/a/", ".a .", true},
		{"//a", ". .a", true},
		{"/0", "#0", true},
		{"/0", ".0", true},
		{"/00", "#0", false},
		{"/00", ".00", true},
		{"/10", "#10", true},
		{"/10", "#1", false},
		{"/4294967295", "#0", false},
		{"/-", "#0", false},
		{"/-", ".-", true},
		{"/a/2/c", ".a #2 .c", true},
		{"/a/2/c", ".a #3 .c", false},
		{"/*", "#0", true},
		{"/*", "#123456789", true},
		{"/*", ".anything", true},
		{"/*", ".*", true},
		{"/*", "", false},
		{"/*", "#0 #0", false},
		{"/*/id", "#5 .id", true},
		{"/*/id", ".x .id", true},
		{"/*/id", "#5 .name", false},
		{"/items/*/id", ".items #7 .id", true},
		{"/items/*/id", ".items .id", false},
		{"/items/*/id", ".items #7 .x .id", false},
		{"/*/*", "#1 .b", true},
		{"/*/*/*", "#1 .b #3", true},
		{"/*/*/*", "#1 .b", false},
		{"/a*", ".a*", true},
		{"/a*", ".ab", false},
		{"/~1", "./", true},
		{"/~0", ".~", true},
		{"/~01", ".~1", true},
		{"/~01", "./", false},
		{"/a~1b/c", ".a/b .c", true},
		{"/m~0n", ".m~n", true},
		{"/\xc3\xa4", ".\xc3\xa4", true},
		{"/A", ".a", false},
		{"/%61", ".a", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pointer_set *set = pointer_set_create();
		const char *why = NULL;
		CHECK_INT(pointer_set_add(set, slice_str(cases[i].pointer), 4, &why), 0);
		CHECK_MSG(flags_at(set, cases[i].path) == (cases[i].match ? 4 : 0), "\"%s\" at \"%s\"",
			  cases[i].pointer, cases[i].path);
		pointer_set_destroy(set);
	}
}

TEST(sets)
{
	struct pointer_set *set = pointer_set_create();
	const char *why = NULL;
	CHECK_INT(pointer_set_add(set, SLICE("/a/*/c"), 1, &why), 0);
	CHECK_INT(pointer_set_add(set, SLICE("/a/b/c"), 2, &why), 0);
	CHECK_INT(pointer_set_add(set, SLICE("/*/b/c"), 4, &why), 0);
	CHECK_INT(pointer_set_add(set, SLICE("/*/*/*"), 8, &why), 0);
	CHECK_INT(pointer_set_add(set, SLICE("/a/b/c"), 16, &why), 0);
	CHECK_INT(pointer_set_add(set, SLICE(""), 32, &why), 0);
	CHECK_INT(pointer_set_flags(set), 63);
	CHECK_INT(flags_at(set, ".a .b .c"), 1 | 2 | 4 | 8 | 16);
	CHECK_INT(flags_at(set, ".a .x .c"), 1 | 8);
	CHECK_INT(flags_at(set, ".x .b .c"), 4 | 8);
	CHECK_INT(flags_at(set, ".x .y .z"), 8);
	CHECK_INT(flags_at(set, ".a .b"), 0);
	CHECK_INT(flags_at(set, ""), 32);
	CHECK_INT(pointer_set_add(set, SLICE("a"), 1, &why), -EINVAL);
	pointer_set_destroy(set);
	pointer_set_destroy(NULL);
}

/* All that fit, and one more. Then each is found again: the children are sorted whatever the order. */
TEST(many)
{
	struct pointer_set *set = pointer_set_create();
	const char *why = NULL;
	char text[64];
	for (unsigned i = 0; i < POINTER_COUNT_MAX; i++) {
		unsigned k = (i * 2654435761u) % POINTER_COUNT_MAX;
		snprintf(text, sizeof(text), "/m%u/x", k);
		if (pointer_set_add(set, slice_str(text), 1, &why) != 0)
			CHECK_MSG(false, "%s: %s", text, why);
	}
	CHECK_INT(pointer_set_add(set, SLICE("/more"), 1, &why), -E2BIG);
	unsigned found = 0;
	for (unsigned i = 0; i < POINTER_COUNT_MAX; i += 97) {
		snprintf(text, sizeof(text), ".m%u .x", i);
		found += flags_at(set, text);
	}
	CHECK_INT(found, (POINTER_COUNT_MAX + 96) / 97);
	CHECK_INT(flags_at(set, ".m4096 .x"), 0);
	pointer_set_destroy(set);
}

TEST(append)
{
	struct buf out = {0};
	pointer_append_member(&out, SLICE("a/b~c"));
	pointer_append_member(&out, SLICE(""));
	pointer_append_member(&out, SLICE("*"));
	CHECK_STR(buf_cstr(&out), "/a~1b~0c//*");
	buf_fini(&out);
}

UNIT_MAIN

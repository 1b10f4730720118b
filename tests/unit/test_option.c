/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of command lines, with a table of its own. */
#include "option.h"
#include "unit.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static const struct option_row rows_of_ours[] = {
	{"follow", 'f', NULL, "go on"}, {"watch", 'w', NULL, "keep looking"},
	{"limit", 'n', "N", "at most"}, {"wait-for", 0, "complete|rolled-back", "until"},
	{"one", '1', NULL, "once"},
};

/* Reads a line of words and gives it back as it was understood: "watch;limit=5;(word)". */
static const char *understood(const char *text, struct buf *out)
{
	static char keep[256];
	char *argv[16] = {"program"};
	int argc = 1;
	struct buf why = {0};
	const char *value;
	size_t index;

	snprintf(keep, sizeof(keep), "%s", text);
	for (char *word = strtok(keep, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	struct option_reader reader = {rows_of_ours, ROWS(rows_of_ours), argc, argv, 1, false, NULL};
	buf_reset(out);
	for (enum option_result got; (got = option_next(&reader, &index, &value, &why)) != OPTION_NONE;) {
		if (got == OPTION_WRONG)
			buf_printf(out, "!%s", buf_cstr(&why));
		else if (got == OPTION_WORD)
			buf_printf(out, "(%s)", value);
		else
			buf_printf(out, "%s%s%s;", rows_of_ours[index].word, *value ? "=" : "", value);
		if (got == OPTION_WRONG)
			break;
	}
	buf_fini(&why);
	return buf_cstr(out);
}

TEST(lines)
{
	static const struct {
		const char *typed, *read;
	} rows[] = {
		{"", ""},
		{"a -f b", "(a)follow;(b)"},
		{"-fw", "follow;watch;"},
		{"-fwn5 x", "follow;watch;limit=5;(x)"},
		{"-n 5", "limit=5;"},
		{"--limit=5 --limit 6", "limit=5;limit=6;"},
		{"-- -f --limit", "(-f)(--limit)"},
		{"-0.5 - -1", "(-0.5)(-)one;"},
		{"--wait-for rolled_back", "wait-for=rolled_back;"},
		{"--folow", "!unknown option \"--folow\"; did you mean \"--follow\"?"},
		{"--folow=x", "!unknown option \"--folow\"; did you mean \"--follow\"?"},
		{"-fx", "follow;!unknown option \"-fx\""},
		{"--watch=1", "!option --watch takes no value"},
		{"--limit", "!option --limit needs a value: --limit N"},
		{"--wait-for complet",
		 "!--wait-for \"complet\": one of complete, rolled-back; did you mean \"complete\"?"},
		{"--wait-for=", "!--wait-for \"\": one of complete, rolled-back"},
	};
	struct buf out = {0};
	for (size_t i = 0; i < ROWS(rows); i++)
		CHECK_STR(understood(rows[i].typed, &out), rows[i].read);
	CHECK(!strchr(understood("--\x1b[31m", &out), '\x1b'));
	buf_fini(&out);
}

TEST(text_is_broken_at_the_width)
{
	struct buf out = {0};
	option_wrap(&out, "one two\nthree\n\nfour", 0, 2, 9);
	CHECK_STR(buf_cstr(&out), "one two\n  three\n\n  four\n");
	buf_reset(&out);
	option_wrap(&out, "a-word-that-is-wider x", 0, 2, 12);
	CHECK_STR(buf_cstr(&out), "a-word-that-is-wider\n  x\n");
	buf_reset(&out);
	option_wrap(&out, "x a-word-that-is-wider x", 0, 2, 12);
	CHECK_STR(buf_cstr(&out), "x\n  a-word-tha\n  t-is-wider\n  x\n");
	buf_reset(&out);
	option_wrap(&out, "\xc3\xbc\xc3\xbc \xc3\xbc\xc3\xbc", 0, 0, 5);
	CHECK_STR(buf_cstr(&out), "\xc3\xbc\xc3\xbc \xc3\xbc\xc3\xbc\n");
	buf_reset(&out);
	option_wrap(&out, "", 0, 0, 5);
	CHECK_STR(buf_cstr(&out), "\n");
	buf_reset(&out);
	option_help_row(&out, "--left", "right", 12, 40);
	CHECK_STR(buf_cstr(&out), "  --left    right\n");
	buf_reset(&out);
	option_help_row(&out, "--left-left-left", "right", 12, 40);
	CHECK_STR(buf_cstr(&out), "  --left-left-left\n            right\n");
	buf_fini(&out);
}

UNIT_MAIN

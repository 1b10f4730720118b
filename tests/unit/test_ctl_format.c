/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, bars and tables of phoenixctl; and that nothing from the traffic can steer a terminal. */
#include "ctl/format.h"
#include "unit.h"

#include <math.h>

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

TEST(percent_never_rounds_to_the_ends)
{
	static const struct {
		double ratio;
		const char *text;
	} rows[] = {
		{0, "0%"},	     {1, "100%"},	  {0.3, "30%"},	       {0.2998, "29.98%"},
		{0.29, "29%"},	     {0.57, "57%"},	  {0.931, "93.1%"},    {0.9901, "99.01%"},
		{0.99999, "99.99%"}, {0.00001, "<0.01%"}, {0.000099, "0.01%"}, {1.5, "150%"},
		{-0.25, "-25%"},     {NAN, "-"},	  {INFINITY, "-"},
	};
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out = {0};
		format_percent(&out, rows[i].ratio);
		CHECK_STR(buf_cstr(&out), rows[i].text);
		buf_fini(&out);
	}
}

TEST(counts_latencies_spans)
{
	struct buf out = {0};
	format_count(&out, 0);
	format_count(&out, 999);
	buf_append_char(&out, ' ');
	format_count(&out, 1000);
	buf_append_char(&out, ' ');
	format_count(&out, 18446744073709551615u);
	CHECK_STR(buf_cstr(&out), "0999 1,000 18,446,744,073,709,551,615");
	buf_reset(&out);
	static const double latencies[] = {0.8, 12.34, 345.6, 1500, NAN};
	for (size_t i = 0; i < ROWS(latencies); i++) {
		format_latency(&out, latencies[i]);
		buf_append_char(&out, '|');
	}
	CHECK_STR(buf_cstr(&out), "0.80 ms|12.3 ms|346 ms|1.50 s|-|");
	buf_reset(&out);
	static const uint64_t spans[] = {450, 2200, 59999, 185000, 7800000, 273600000};
	for (size_t i = 0; i < ROWS(spans); i++) {
		format_span(&out, spans[i]);
		buf_append_char(&out, '|');
	}
	CHECK_STR(buf_cstr(&out), "450 ms|2.2 s|59.9 s|3m 5s|2h 10m|3d 4h|");
	buf_fini(&out);
}

TEST(bar_shows_a_little_and_a_rest)
{
	static const struct {
		double ratio;
		const char *text;
	} rows[] = {{0, ".........."}, {0.001, "#........."}, {0.3, "###......."}, {0.999, "#########."},
		    {1, "##########"}, {7, "##########"},     {NAN, ".........."}, {-1, ".........."}};
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out = {0};
		format_bar(&out, rows[i].ratio, 10, false);
		CHECK_STR(buf_cstr(&out), rows[i].text);
		buf_fini(&out);
	}
	struct buf out = {0};
	format_bar(&out, 0.5, 2, true);
	CHECK_STR(buf_cstr(&out), "█░");
	buf_fini(&out);
}

TEST(clean_takes_the_terminal_away)
{
	static const struct {
		const char *dirty, *clean;
	} rows[] = {
		{"plain é 漢 🐦", "plain é 漢 🐦"},
		{"\033[2J\033]0;title\007", "?[2J?]0;title?"},
		{"a\r\nb\tc\177", "a??b?c?"},
		{"\302\23331m", "?31m"},	     /* C1 CSI as UTF-8 */
		{"\23331m", "?31m"},		     /* and as a bare byte */
		{"\300\257 \355\240\200", "?? ???"}, /* overlong, surrogate */
		{"abc\342\200\256def", "abc?def"},   /* right-to-left override */
		{"cut \342\202", "cut ??"},
		{"", ""},
	};
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out = {0};
		format_clean(&out, rows[i].dirty);
		CHECK_STR(buf_cstr(&out), rows[i].clean);
		buf_fini(&out);
	}
}

static void fill(struct table *table)
{
	table_column(table, "NAME", false);
	table_column(table, "COUNT", true);
	table_column(table, "WORDS", false);
	table_cell(table, TINT_BOLD, "é");
	table_cell(table, TINT_NONE, "%d", 7);
	table_cell(table, TINT_NONE, "hello world");
	table_cell(table, TINT_NONE, "longer");
	table_cell(table, TINT_RED, "%d", 123456);
	table_cell(table, TINT_NONE, "%s", "");
}

TEST(table_aligns_and_leaves_no_trailing_space)
{
	struct table table = {0};
	struct style pipe = {0};
	struct buf out = {0};
	fill(&table);
	table_render(&table, &pipe, &out);
	CHECK_STR(buf_cstr(&out), "NAME     COUNT  WORDS\n"
				  "é            7  hello world\n"
				  "longer  123456\n");
	CHECK_INT(table_width(&table), 27);
	buf_fini(&out);
	table_fini(&table);
}

TEST(table_is_cut_at_the_width_and_coloured)
{
	struct table table = {0};
	struct style terminal = {.terminal = true, .width = 22};
	struct buf out = {0};
	fill(&table);
	table_render(&table, &terminal, &out);
	CHECK_STR(buf_cstr(&out), "NAME     COUNT  WORDS\n"
				  "é            7  hel...\n"
				  "longer  123456\n");
	buf_reset(&out);
	terminal.unicode = true;
	table_render(&table, &terminal, &out);
	CHECK_STR(buf_cstr(&out), "NAME     COUNT  WORDS\n"
				  "é            7  hello…\n"
				  "longer  123456\n");
	buf_reset(&out);
	table.spill = 1; /* there is more room below */
	terminal.width = 20;
	table_render(&table, &terminal, &out);
	CHECK_STR(buf_cstr(&out), "NAME     COUNT\n"
				  "é            7\n"
				  "    words hello\n"
				  "    world\n"
				  "longer  123456\n");
	buf_reset(&out);
	terminal.width = 60; /* and none is needed */
	table_render(&table, &terminal, &out);
	CHECK_STR(buf_cstr(&out), "NAME     COUNT  WORDS\n"
				  "é            7  hello world\n"
				  "longer  123456\n");
	buf_reset(&out);
	terminal.width = 22;
	terminal.colour = true;
	table_render(&table, &terminal, &out);
	CHECK(strstr(buf_cstr(&out), "\033[1;31m123456\033[0m"));
	for (char *line = out.data, *end; (end = strchr(line, '\n')); line = end + 1)
		CHECK_MSG(format_columns(line, (size_t)(end - line)) <= 22, "%.*s", (int)(end - line), line);
	buf_fini(&out);
	table_fini(&table);
}

TEST(a_table_fits_whatever_the_window)
{
	for (size_t width = 30; width < 120; width++) {
		struct style terminal = {.terminal = true, .width = width, .unicode = width % 2};
		struct table table = {.spill = width % 3};
		struct buf out = {0};
		for (size_t c = 0; c < 4; c++)
			table_column(&table, "TITLE", c % 2);
		for (size_t c = 0; c < 8; c++)
			table_cell(&table, TINT_NONE, "%.*s", (int)(c * 9),
				   "wörds of different lengths and "
				   "http://a.very.long.example/path/without/spaces");
		table_render(&table, &terminal, &out);
		const char *line = buf_cstr(&out);
		for (const char *end; (end = strchr(line, '\n')); line = end + 1)
			CHECK_MSG(format_columns(line, (size_t)(end - line)) <= width, "%zu: %.*s", width,
				  (int)(end - line), line);
		buf_fini(&out);
		table_fini(&table);
	}
}

TEST(json_stays_json_and_harmless)
{
	struct buf out = {0};
	format_json(&out, "{\"a\": \"\xc2\x9b\x7f\xe2\x80\xaeü\\u001b\"}\n");
	CHECK_STR(buf_cstr(&out), "{\"a\": \"\\u009b\\u007f\\u202eü\\u001b\"}\n");
	buf_reset(&out);
	format_clean_lines(&out, "a\nb\033[31m\r\xc2\x9b");
	CHECK_STR(buf_cstr(&out), "a\nb?[31m??");
	buf_fini(&out);
}

TEST(text_for_a_terminal_that_shows_ascii_only)
{
	struct buf out = {0};
	buf_append_str(&out, "\033[1mé → ░█… “x” µs\xff\n");
	format_ascii(&out);
	CHECK_STR(buf_cstr(&out), "\033[1m? > .#. \"x\" us?\n");
	buf_fini(&out);
}

TEST(table_cells_are_cleaned)
{
	struct table table = {0};
	struct style pipe = {0};
	struct buf out = {0};
	table_column(&table, "A", false);
	table_cell(&table, TINT_NONE, "%s", "x\ny\033[1m");
	table_render(&table, &pipe, &out);
	CHECK_STR(buf_cstr(&out), "A\nx?y?[1m\n");
	buf_fini(&out);
	table_fini(&table);
}

UNIT_MAIN

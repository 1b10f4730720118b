/* SPDX-License-Identifier: Apache-2.0 */
/* config_report: see config_report.h. */
#include "config_report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define QUOTE_BYTES_MAX 64
#define SUGGEST_LEN_MAX 32

static void add(struct report *report, struct mark at, bool warning, const char *format, va_list args)
{
	size_t *kept = warning ? &report->warnings : &report->errors;
	if (++*kept > REPORT_KEPT_MAX)
		return;
	if (report->count == report->cap) {
		size_t cap = report->cap ? report->cap * 2 : 16;
		struct report_line *lines = realloc(report->lines, cap * sizeof(*lines));
		if (!lines) {
			report->no_memory = true;
			return;
		}
		report->lines = lines;
		report->cap = cap;
	}
	char *message;
	if (vasprintf(&message, format, args) < 0) {
		report->no_memory = true;
		return;
	}
	report->lines[report->count] = (struct report_line){
		.at = at, .order = report->count, .warning = warning, .message = message};
	report->count++;
}

void report_error(struct report *report, struct mark at, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	add(report, at, false, format, args);
	va_end(args);
}

void report_warning(struct report *report, struct mark at, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	add(report, at, true, format, args);
	va_end(args);
}

static int by_position(const void *left, const void *right)
{
	const struct report_line *a = left, *b = right;
	if (a->at.line != b->at.line)
		return a->at.line < b->at.line ? -1 : 1;
	if (a->at.col != b->at.col)
		return a->at.col < b->at.col ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static void print_lines(const struct report *report, struct buf *out)
{
	size_t printed[2] = {0, 0};
	for (size_t i = 0; i < report->count; i++) {
		const struct report_line *line = &report->lines[i];
		if (printed[line->warning]++ >= REPORT_LINES_MAX)
			continue;
		/* A file that could not be read at all has no position. */
		if (line->at.line)
			buf_printf(out, "%s:%u:%u: %s: %s\n", report->file, line->at.line, line->at.col,
				   line->warning ? "warning" : "error", line->message);
		else
			buf_printf(out, "%s: %s: %s\n", report->file, line->warning ? "warning" : "error",
				   line->message);
	}
	if (report->errors > REPORT_LINES_MAX)
		buf_printf(out, "%s: error: and %zu more errors\n", report->file,
			   report->errors - REPORT_LINES_MAX);
	if (report->warnings > REPORT_LINES_MAX)
		buf_printf(out, "%s: warning: and %zu more warnings\n", report->file,
			   report->warnings - REPORT_LINES_MAX);
}

int report_finish(struct report *report, struct buf *out)
{
	if (report->no_memory) {
		buf_printf(out, "%s: error: out of memory\n", report->file);
	} else if (report->count) {
		qsort(report->lines, report->count, sizeof(*report->lines), by_position);
		print_lines(report, out);
	}
	for (size_t i = 0; i < report->count; i++)
		free(report->lines[i].message);
	free(report->lines);
	report->lines = NULL;
	report->count = report->cap = 0;
	if (report->no_memory)
		return -ENOMEM;
	return report->errors ? -EINVAL : 0;
}

struct quoted quote(struct slice s)
{
	struct quoted q;
	bool cut = s.len > QUOTE_BYTES_MAX;
	if (cut) {
		s.len = QUOTE_BYTES_MAX;
		/* Not in the middle of a character. */
		while (s.len && ((unsigned char)s.ptr[s.len] & 0xc0) == 0x80)
			s.len--;
	}
	struct buf b = {0};
	buf_append_json(&b, s);
	snprintf(q.text, sizeof(q.text), "%s%s", b.failed ? "\"?\"" : buf_cstr(&b), cut ? "..." : "");
	buf_fini(&b);
	return q;
}

/* Optimal string alignment distance, ASCII case ignored. Both at most SUGGEST_LEN_MAX long. */
static unsigned distance(struct slice a, struct slice b)
{
	unsigned rows[3][SUGGEST_LEN_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];
	for (size_t j = 0; j <= b.len; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b.len; j++) {
			char x = a.ptr[i - 1] | 0x20, y = b.ptr[j - 1] | 0x20;
			unsigned best = last[j - 1] + (x != y);
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && x == (b.ptr[j - 2] | 0x20) && (a.ptr[i - 2] | 0x20) == y &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		unsigned *spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[b.len];
}

const char *report_suggest(struct slice typed, const char *const *words)
{
	const char *best = NULL;
	unsigned best_distance = 0;
	if (typed.len == 0 || typed.len > SUGGEST_LEN_MAX)
		return NULL;
	for (; *words; words++) {
		struct slice word = slice_str(*words);
		if (word.len > SUGGEST_LEN_MAX)
			continue;
		unsigned d = distance(typed, word);
		size_t longer = typed.len > word.len ? typed.len : word.len;
		if (d * 3 > longer + 1 || (best && d >= best_distance))
			continue;
		best = *words;
		best_distance = d;
	}
	return best;
}

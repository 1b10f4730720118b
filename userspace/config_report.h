/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_report: collects what is wrong with a file and says it in the order of the file.
 *
 * Checks run in the order that suits them; people read from top to bottom. So errors are kept and sorted by
 * position at the end. Whatever comes from the file is quoted and cut before it is printed: a message is one
 * line, and a file cannot write escape sequences to a terminal.
 */
#ifndef PHOENIX_CONFIG_REPORT_H
#define PHOENIX_CONFIG_REPORT_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

#define REPORT_LINES_MAX 100   /* of each kind are printed */
#define REPORT_KEPT_MAX	 10000 /* of each kind are kept for sorting; more are only counted */

/* Counted from 1; columns are characters (code points), as editors show them. */
struct mark {
	unsigned line, col;
};

struct report_line {
	struct mark at;
	size_t order;
	bool warning;
	char *message;
};

struct report {
	const char *file; /* borrowed */
	struct report_line *lines;
	size_t count, cap;
	size_t errors, warnings;
	bool no_memory; /* something could not be allocated: the result is unusable */
};

void report_error(struct report *report, struct mark at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void report_warning(struct report *report, struct mark at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * Appends the lines to `out`, errors and warnings mixed in file order, and frees everything. Returns 0 when
 * there was no error, -EINVAL when there was one, -ENOMEM when memory ran out on the way.
 */
int report_finish(struct report *report, struct buf *out);

/* A text of the file, ready to print: in double quotes, escaped as JSON does, cut after 64 bytes. */
struct quoted {
	char text[512];
};
struct quoted quote(struct slice s);

/*
 * The word a person may have meant by `typed`: the nearest by optimal string alignment distance (edits and
 * swaps of neighbours), at most a third of its length away; NULL when none is near. `words` ends with NULL.
 */
const char *report_suggest(struct slice typed, const char *const *words);

#endif

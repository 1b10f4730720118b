/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format: numbers, bars and tables as people read them on a terminal or in a pipe.
 *
 * Whatever comes from the daemon (and so from the traffic) is cleaned before it is printed: a response body
 * must not be able to move the cursor or recolour a terminal. Unknown is "-", never 0.
 */
#ifndef PHOENIX_CTL_FORMAT_H
#define PHOENIX_CTL_FORMAT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the reader of a stream can show. */
struct style {
	bool terminal; /* somebody looks at it: bars and redrawing make sense */
	bool redraws;  /* it can go back and write over what is there */
	bool colour;
	bool unicode; /* the locale is UTF-8 */
	size_t width; /* columns; 0 = do not cut (a pipe) */
	size_t height;
};

enum tint { TINT_NONE, TINT_BOLD, TINT_DIM, TINT_GREEN, TINT_YELLOW, TINT_RED, TINT_CYAN };

/* Looks at the descriptor and at NO_COLOR, TERM, COLUMNS and the locale's variables. */
struct style style_of(FILE *stream);
/* The colour that a state of a route has everywhere ("rolled_back" is red). */
enum tint tint_of_state(const char *state);
void tint_begin(struct buf *out, bool colour, enum tint tint);
void tint_end(struct buf *out, bool colour, enum tint tint);
/* printf in a tint; the text is not cleaned. */
void tint_printf(struct buf *out, bool colour, enum tint tint, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Appends `text` with control characters, C1 controls and bytes that are not UTF-8 replaced by "?". */
void format_clean(struct buf *out, const char *text);
/* The same for text of several lines: line feeds stay. */
void format_clean_lines(struct buf *out, const char *text);
/* JSON text as it is, but with what format_clean() replaces written as \\uXXXX: the same JSON, harmless to
 * look at. */
void format_json(struct buf *out, const char *text);
/* Text for a terminal that shows ASCII only: every other character becomes one that is near, else "?". */
void format_ascii(struct buf *text);
/* Columns that UTF-8 text takes, one a code point; colour sequences take none. */
size_t format_columns(const char *text, size_t len);

/*
 * A ratio in per cent with at most two decimals: 0.3 -> "30%", 0.29981 -> "29.98%". A ratio below 1 never
 * reads "100%" and one above 0 never "0%" (99.99%, <0.01%). NaN is "-".
 */
void format_percent(struct buf *out, double ratio);
/* 1234567 -> "1,234,567" */
void format_count(struct buf *out, uint64_t count);
/* Milliseconds of a latency: 0.8 -> "0.80 ms", 12.34 -> "12.3 ms", 1500 -> "1.50 s"; NaN -> "-". */
void format_latency(struct buf *out, double latency_ms);
/* A span: 450 -> "450 ms", 2200 -> "2.2 s", 185000 -> "3m 5s", "2h 10m", "3d 4h". */
void format_span(struct buf *out, uint64_t span_ms);
/* `columns` cells, `ratio` of them filled; a ratio above 0 fills at least one, below 1 leaves one. */
void format_bar(struct buf *out, double ratio, size_t columns, bool unicode);

#define TABLE_COLUMNS_MAX 16

struct table_cell {
	char *text;
	enum tint tint;
};

/*
 * Cells are added row by row; the last column is never padded. Zero-initialised is empty and valid. Where a
 * table is wider than the terminal, columns from `spill` on go below their row, each on lines of its own;
 * what is too wide even then is cut, the widest first.
 */
struct table {
	struct {
		const char *title; /* borrowed */
		bool right;
	} column[TABLE_COLUMNS_MAX];
	size_t columns;
	size_t spill; /* the first column that may go below; 0 = none */
	struct table_cell *cells;
	size_t count, cap;
	bool failed; /* out of memory: the table is incomplete */
};

void table_column(struct table *table, const char *title, bool right);
/* The text is cleaned. */
void table_cell(struct table *table, enum tint tint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Columns that the widest line takes. */
size_t table_width(const struct table *table);
/* Title row and rows, made to fit style->width columns (0 = as wide as they are). */
void table_render(const struct table *table, const struct style *style, struct buf *out);
void table_fini(struct table *table);

#endif

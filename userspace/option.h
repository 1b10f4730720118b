/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option: a command line read by a table, the same way in every program of the house.
 *
 * The table is the one source of what is read, of `--help`, of the manual pages and of the completion.
 * Options may stand anywhere; "--" ends them. What is wrong is told with the nearest right word: an unknown
 * option, a value where none belongs, a value that is none of the words there are.
 */
#ifndef PHOENIX_OPTION_H
#define PHOENIX_OPTION_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct option_row {
	const char *word;  /* "output": --output */
	char letter;	   /* 'o': -o; 0 = none */
	const char *value; /* what its value is called ("FILE"), or the words it can be ("table|json"); NULL:
			      none */
	const char *help;
};

struct option_reader {
	const struct option_row *rows;
	size_t count;
	int argc;
	char **argv;
	int at;		     /* the next word to look at; begin with 1 */
	bool only_words;     /* after "--" */
	const char *cluster; /* what is left of "-fw" after -f */
};

enum option_result {
	OPTION_NONE,  /* the line is read to its end */
	OPTION_GIVEN, /* *index is the row; *value its value, "" for an option without one */
	OPTION_WORD,  /* *value is a word that is no option */
	OPTION_WRONG, /* a sentence is in `why` */
};

/* The next thing on the line. What *value points to is borrowed from argv. */
enum option_result option_next(struct option_reader *reader, size_t *index, const char **value,
			       struct buf *why);

/*
 * Whether `typed` is one of `words`, which are separated by "|" ('_' counts as '-'). If not, appends to `why`
 * ': one of a, b, c' and the nearest one.
 */
bool option_check_words(const char *typed, const char *words, struct buf *why);

/* Appends '; did you mean "PREFIXword"?' when one of `words` (which end with NULL) is near. True when it did.
 */
bool option_suggest(const char *typed, const char *const *words, const char *prefix, struct buf *why);

/*
 * Appends `text` broken at spaces so that no line is wider than `width` columns; the first line begins at
 * column `at`, the others are indented by `indent`. A word wider than a line is cut. A single line feed in
 * the text is a space, two begin a new paragraph. Ends with a line feed.
 */
void option_wrap(struct buf *out, const char *text, size_t at, size_t indent, size_t width);
/* A row of --help: `left`, then `help` from column `column` on, below it when there is no room beside it. */
void option_help_row(struct buf *out, const char *left, const char *help, size_t column, size_t width);
/* "-o, --output table|json" */
void option_help_left(struct buf *out, const struct option_row *row);

#endif

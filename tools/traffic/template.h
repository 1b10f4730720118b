/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template: text with places to fill in, cut into pieces once; sending a request is then a handful of
 * appends.
 *
 * ${NAME} is a value of that variable, ${NAME.COLUMN} one column of its row, ${seq} the request's number from
 * 1,
 * ${uuid} a new UUID; $${ is a plain "${". In a JSON body the whole string "${NAME:number}" becomes the bare
 * value. What is drawn for request k comes from mixing the seed, k and the variable's number: two runs with
 * one seed send the same bytes, a variable has one value in the whole of a request, and nothing has to be
 * remembered.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_TEMPLATE_H
#define PHOENIX_TOOLS_TRAFFIC_TEMPLATE_H

#include "base/buf.h"

#include <jansson.h>

/* `columns` texts a row, rows one after another; or, without texts, the whole numbers first, first + 1, … */
struct variable {
	const char *name;     /* borrowed */
	size_t count;	      /* rows */
	char **values;	      /* count * column_count, row by row; NULL = numbers */
	const char **columns; /* names, borrowed; NULL for a variable of one nameless column */
	size_t column_count;
	json_int_t first;
};

enum piece_kind { PIECE_TEXT, PIECE_SEQ, PIECE_UUID, PIECE_VARIABLE };

struct piece {
	enum piece_kind kind;
	char *text;
	size_t len;
	size_t variable, column; /* indexes */
};

/* Zero-initialised is empty and valid. */
struct text_template {
	struct piece *pieces;
	size_t count;
};

/* Appends `text`. 0, -ENOMEM, or -EINVAL with a sentence in `why`. */
int template_add(struct text_template *t, struct slice text, bool is_json, const struct variable *variables,
		 size_t variable_count, struct buf *why);
void template_fini(struct text_template *t);
/* Appends the text for request k to `out`. */
void template_fill(const struct text_template *t, const struct variable *variables, uint64_t seed, uint64_t k,
		   struct buf *out);

#endif

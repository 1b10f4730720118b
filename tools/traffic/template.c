/* SPDX-License-Identifier: Apache-2.0 */
/* template: see template.h. */
#include "template.h"

#include <phoenix/split.h>

#include <errno.h>
#include <stdlib.h>

static int add_piece(struct text_template *t, struct piece piece)
{
	struct piece *pieces = realloc(t->pieces, (t->count + 1) * sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	t->pieces = pieces;
	t->pieces[t->count++] = piece;
	return 0;
}

static int add_text(struct text_template *t, struct slice text)
{
	if (text.len == 0)
		return 0;
	struct piece piece = {.kind = PIECE_TEXT, .text = strndup(text.ptr, text.len), .len = text.len};
	int err = piece.text ? add_piece(t, piece) : -ENOMEM;
	if (err)
		free(piece.text);
	return err;
}

static bool find_column(const struct variable *v, struct slice column, size_t *index)
{
	*index = 0;
	if (!v->columns)
		return column.ptr == NULL;
	while (*index < v->column_count && !slice_equal(slice_str(v->columns[*index]), column))
		(*index)++;
	return column.ptr && *index < v->column_count;
}

/* The inside of ${...}. */
static int add_place(struct text_template *t, struct slice name, const struct variable *variables,
		     size_t count, struct buf *why)
{
	struct piece piece = {.kind = PIECE_VARIABLE};
	struct slice base = name, column = {0};
	const char *dot = name.len ? memchr(name.ptr, '.', name.len) : NULL;
	if (dot) {
		base.len = (size_t)(dot - name.ptr);
		column = slice_of(dot + 1, name.len - base.len - 1);
	}
	if (slice_equal(name, SLICE("seq")))
		piece.kind = PIECE_SEQ;
	else if (slice_equal(name, SLICE("uuid")))
		piece.kind = PIECE_UUID;
	if (piece.kind != PIECE_VARIABLE)
		return add_piece(t, piece);
	while (piece.variable < count && !slice_equal(slice_str(variables[piece.variable].name), base))
		piece.variable++;
	if (piece.variable == count)
		buf_printf(why,
			   "\"${%.*s}\" is used, but variables has no \"%.*s\" (write $${ for a plain ${)",
			   SLICE_ARG(name), SLICE_ARG(base));
	else if (find_column(&variables[piece.variable], column, &piece.column))
		return add_piece(t, piece);
	else if (column.ptr)
		buf_printf(why, "\"${%.*s}\" is used, but the variable \"%.*s\" has no column \"%.*s\"",
			   SLICE_ARG(name), SLICE_ARG(base), SLICE_ARG(column));
	else
		buf_printf(why, "\"${%.*s}\" is used, but that variable has columns: write ${%.*s.%s}",
			   SLICE_ARG(name), SLICE_ARG(base), variables[piece.variable].columns[0]);
	return -EINVAL;
}

/* ("${name:number}"), quotes included, becomes the bare value: takes the quotes off what is around it. */
static int take_number(struct slice *name, struct slice *before, struct slice *after, bool is_json,
		       struct buf *why)
{
	static const struct slice suffix = SLICE(":number");
	if (name->len <= suffix.len ||
	    !slice_equal(slice_of(name->ptr + name->len - suffix.len, suffix.len), suffix))
		return 0;
	name->len -= suffix.len;
	if (!is_json || !before->len || before->ptr[before->len - 1] != '"' || !after->len ||
	    after->ptr[0] != '"') {
		buf_printf(why, "\"${%.*s:number}\" must be a whole string of a JSON body", SLICE_ARG(*name));
		return -EINVAL;
	}
	before->len--;
	after->ptr++, after->len--;
	return 0;
}

int template_add(struct text_template *t, struct slice text, bool is_json, const struct variable *variables,
		 size_t variable_count, struct buf *why)
{
	for (;;) {
		const char *open = text.len ? memmem(text.ptr, text.len, "${", 2) : NULL;
		size_t before_len = open ? (size_t)(open - text.ptr) : 0;
		if (open && before_len &&
		    open[-1] == '$') { /* $${: the text up to here, the "${", no place */
			int err = add_text(t, slice_of(text.ptr, before_len - 1));
			if (!err)
				err = add_text(t, SLICE("${"));
			if (err)
				return err;
			text = slice_of(open + 2, text.len - before_len - 2);
			continue;
		}
		const char *close = open ? memchr(open, '}', text.len - before_len) : NULL;
		if (!close)
			return add_text(t, text);
		struct slice before = slice_of(text.ptr, before_len);
		struct slice name = slice_of(open + 2, (size_t)(close - open) - 2);
		text = slice_of(close + 1, text.len - (size_t)(close + 1 - text.ptr));
		int err = take_number(&name, &before, &text, is_json, why);
		if (!err)
			err = add_text(t, before);
		if (!err)
			err = add_place(t, name, variables, variable_count, why);
		if (err)
			return err;
	}
}

void template_fini(struct text_template *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->pieces[i].text);
	free(t->pieces);
	*t = (struct text_template){0};
}

/* Version 4 (RFC 9562 5.4) in form; reproducible from the seed. */
static void fill_uuid(uint64_t own, struct buf *out)
{
	uint64_t a = phx_mix64(own ^ 1), b = phx_mix64(own ^ 2);
	buf_printf(out, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
		   (unsigned)(a & 0xfff), (unsigned)(b >> 48 & 0x3fff) | 0x8000u,
		   (unsigned long long)(b & 0xffffffffffffu));
}

void template_fill(const struct text_template *t, const struct variable *variables, uint64_t seed, uint64_t k,
		   struct buf *out)
{
	uint64_t own = phx_mix64(seed ^ phx_mix64(k));
	for (size_t i = 0; i < t->count; i++) {
		const struct piece *piece = &t->pieces[i];
		if (piece->kind == PIECE_TEXT) {
			buf_append(out, piece->text, piece->len);
		} else if (piece->kind == PIECE_SEQ) {
			buf_printf(out, "%llu", (unsigned long long)k + 1);
		} else if (piece->kind == PIECE_UUID) {
			fill_uuid(own, out);
		} else {
			const struct variable *v = &variables[piece->variable];
			uint64_t row = phx_mix64(own ^ (piece->variable + 16)) % v->count;
			if (v->values)
				buf_append_str(out, v->values[row * v->column_count + piece->column]);
			else
				buf_printf(out, "%lld", (long long)(v->first + (json_int_t)row));
		}
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* table: rows and columns that fit the room there is; see format.h. */
#include "ctl/format.h"

#include "option.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>

void table_column(struct table *table, const char *title, bool right)
{
	if (table->columns == TABLE_COLUMNS_MAX) {
		table->failed = true;
		return;
	}
	table->column[table->columns].title = title;
	table->column[table->columns++].right = right;
}

void table_cell(struct table *table, enum tint tint, const char *format, ...)
{
	char *text = NULL;
	struct buf clean = {0};
	va_list args;

	va_start(args, format);
	int len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		text = NULL;
	if (table->count == table->cap) {
		size_t cap = table->cap ? table->cap * 2 : 64;
		struct table_cell *cells = realloc(table->cells, cap * sizeof(*cells));
		if (!cells)
			goto fail;
		table->cells = cells;
		table->cap = cap;
	}
	if (!text)
		goto fail;
	format_clean(&clean, text);
	buf_cstr(&clean);
	if (clean.failed)
		goto fail;
	table->cells[table->count++] = (struct table_cell){clean.data ? clean.data : strdup(""), tint};
	free(text);
	return;
fail:
	table->failed = true;
	buf_fini(&clean);
	free(text);
}

static size_t cell_columns(const struct table_cell *cell)
{
	return cell->text ? format_columns(cell->text, strlen(cell->text)) : 0;
}

static size_t column_width(const struct table *table, size_t column)
{
	size_t width = strlen(table->column[column].title);
	for (size_t i = column; i < table->count; i += table->columns) {
		size_t columns = cell_columns(&table->cells[i]);
		width = columns > width ? columns : width;
	}
	return width;
}

size_t table_width(const struct table *table)
{
	size_t width = 0;
	for (size_t c = 0; c < table->columns; c++)
		width += column_width(table, c) + (c > 0 ? 2 : 0);
	return width;
}

#define CELL_COLUMNS_MIN 6
#define BELOW_INDENT	 4

/* How a table is laid out in the room there is. */
struct layout {
	size_t widths[TABLE_COLUMNS_MAX];
	size_t beside; /* columns in the row; the others are below it */
	const struct style *style;
};

static size_t row_width(const struct layout *layout)
{
	size_t width = 0;
	for (size_t c = 0; c < layout->beside; c++)
		width += layout->widths[c] + (c > 0 ? 2 : 0);
	return width;
}

static struct layout lay_out(const struct table *table, const struct style *style)
{
	struct layout layout = {.beside = table->columns, .style = style};

	for (size_t c = 0; c < table->columns; c++)
		layout.widths[c] = column_width(table, c);
	while (style->width && table->spill && layout.beside > table->spill &&
	       row_width(&layout) > style->width)
		layout.beside--;
	while (style->width && row_width(&layout) > style->width) {
		size_t widest = 0;
		for (size_t c = 1; c < layout.beside; c++)
			if (layout.widths[c] > layout.widths[widest])
				widest = c;
		if (layout.widths[widest] <= CELL_COLUMNS_MIN)
			break; /* nobody reads a table on so narrow a terminal */
		layout.widths[widest]--;
	}
	return layout;
}

/* A cell's text, or its beginning and a mark that it goes on. Returns its columns. */
static size_t append_cell(const char *text, size_t width, bool unicode, struct buf *out)
{
	size_t len = strlen(text), columns = format_columns(text, len);
	if (columns <= width) {
		buf_append(out, text, len);
		return columns;
	}
	const char *mark = unicode ? "…" : "...";
	size_t room = width - (unicode ? 1 : 3), shown = 0, bytes = 0;
	while (bytes < len && (shown < room || ((unsigned char)text[bytes] & 0xc0) == 0x80))
		shown += ((unsigned char)text[bytes++] & 0xc0) != 0x80;
	buf_append(out, text, bytes);
	buf_append_str(out, mark);
	return width;
}

static void render_row(const struct table *table, const struct table_cell *cells, const struct layout *layout,
		       struct buf *out)
{
	for (size_t c = 0; c < layout->beside; c++) {
		const char *text = cells[c].text ? cells[c].text : "";
		size_t columns = format_columns(text, strlen(text));
		size_t left = table->column[c].right && layout->widths[c] > columns
				      ? layout->widths[c] - columns
				      : 0;
		buf_printf(out, "%*s", (int)((c > 0 ? 2 : 0) + left), "");
		tint_begin(out, layout->style->colour && *text, cells[c].tint);
		columns = append_cell(text, layout->widths[c], layout->style->unicode, out);
		tint_end(out, layout->style->colour && *text, cells[c].tint);
		if (c + 1 < layout->beside)
			buf_printf(out, "%*s", (int)(layout->widths[c] - columns - left), "");
	}
	while (out->len && out->data[out->len - 1] == ' ')
		out->len--;
	buf_append_char(out, '\n');
}

/* "    by arbiter; reason: 100.0% > 99% (32 of 32)": the cells that found no room beside. */
static void render_below(const struct table *table, const struct table_cell *cells,
			 const struct layout *layout, struct buf *out)
{
	struct buf text = {0};
	for (size_t c = layout->beside; c < table->columns; c++) {
		const char *title = table->column[c].title;
		if (!cells[c].text || !*cells[c].text || strcmp(cells[c].text, "-") == 0)
			continue;
		buf_append_str(&text, text.len ? "; " : "");
		for (const char *p = title; *p; p++)
			buf_append_char(&text, (char)tolower((unsigned char)*p));
		buf_printf(&text, "%s%s", *title ? " " : "", cells[c].text);
	}
	if (text.len) {
		buf_printf(out, "%*s", BELOW_INDENT, "");
		option_wrap(out, buf_cstr(&text), BELOW_INDENT, BELOW_INDENT, layout->style->width);
	}
	buf_fini(&text);
}

void table_render(const struct table *table, const struct style *style, struct buf *out)
{
	struct layout layout = lay_out(table, style);
	struct table_cell titles[TABLE_COLUMNS_MAX];

	for (size_t c = 0; c < table->columns; c++)
		titles[c] = (struct table_cell){(char *)table->column[c].title, TINT_DIM};
	render_row(table, titles, &layout, out);
	for (size_t i = 0; i + table->columns <= table->count && table->columns; i += table->columns) {
		render_row(table, table->cells + i, &layout, out);
		render_below(table, table->cells + i, &layout, out);
	}
	if (table->failed)
		out->failed = true;
}

void table_fini(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i].text);
	free(table->cells);
	memset(table, 0, sizeof(*table));
}

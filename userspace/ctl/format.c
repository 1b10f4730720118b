/* SPDX-License-Identifier: Apache-2.0 */
/* format: see format.h. Everything appends to a buf; a frame is written to the terminal in one piece. */
#include "ctl/format.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *const tint_codes[] = {
	[TINT_NONE] = "",	   [TINT_BOLD] = "\033[1m",    [TINT_DIM] = "\033[2m",
	[TINT_GREEN] = "\033[32m", [TINT_YELLOW] = "\033[33m", [TINT_RED] = "\033[1;31m",
	[TINT_CYAN] = "\033[36m",
};

static bool locale_is_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);
		if (value && *value) /* the first one that is set decides (POSIX) */
			return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
	}
	return false;
}

struct style style_of(FILE *stream)
{
	struct style style = {.terminal = isatty(fileno(stream)), .unicode = locale_is_utf8()};
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (!style.terminal)
		return style;
	style.colour = !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
	struct winsize size = {0};
	if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0) {
		style.width = size.ws_col;
		style.height = size.ws_row;
	}
	const char *columns = getenv("COLUMNS");
	if (style.width == 0)
		style.width = columns && atoi(columns) > 0 ? (size_t)atoi(columns) : 80;
	if (style.height == 0)
		style.height = 24;
	return style;
}

enum tint tint_of_state(const char *state)
{
	static const struct {
		const char *state;
		enum tint tint;
	} states[] = {
		{"idle", TINT_NONE},	   {"deploying", TINT_CYAN}, {"mirroring", TINT_CYAN},
		{"migrating", TINT_CYAN},  {"holding", TINT_YELLOW}, {"paused", TINT_YELLOW},
		{"rolled_back", TINT_RED}, {"complete", TINT_GREEN},
	};
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(states[i].state, state) == 0)
			return states[i].tint;
	return TINT_NONE;
}

void tint_begin(struct buf *out, bool colour, enum tint tint)
{
	if (colour && tint != TINT_NONE)
		buf_append_str(out, tint_codes[tint]);
}

void tint_end(struct buf *out, bool colour, enum tint tint)
{
	if (colour && tint != TINT_NONE)
		buf_append_str(out, "\033[0m");
}

void tint_printf(struct buf *out, bool colour, enum tint tint, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tint_begin(out, colour, tint);
	buf_append_str(out, text);
	tint_end(out, colour, tint);
}

/* Length of the well-formed UTF-8 character at `p` (RFC 3629 section 4); 0 when there is none. */
static size_t utf8_length(const unsigned char *p)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : 0;
	if (p[0] >= 0xf0 && p[0] < 0xf5)
		len = 4;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80) /* also stops at the NUL */
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return len;
}

/* Characters that reorder or hide the text around them: what is read must be what is there. */
static bool is_deceptive(const unsigned char *p, size_t len)
{
	return len == 3 && p[0] == 0xe2 &&
	       ((p[1] == 0x80 && (p[2] >= 0xa8 && p[2] <= 0xae)) ||
		(p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
}

void format_clean(struct buf *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	while (*p) {
		size_t len = utf8_length(p);
		bool control = p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
		if (len == 0 || control || is_deceptive(p, len)) {
			buf_append_char(out, '?');
			p += len ? len : 1;
			continue;
		}
		buf_append(out, p, len);
		p += len;
	}
}

size_t format_columns(const char *text, size_t len)
{
	size_t columns = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\033') {
			while (i < len && text[i] != 'm')
				i++;
			continue;
		}
		columns += ((unsigned char)text[i] & 0xc0) != 0x80;
	}
	return columns;
}

void format_percent(struct buf *out, double ratio)
{
	if (!isfinite(ratio)) {
		buf_append_char(out, '-');
		return;
	}
	long long bp = llround(ratio * 10000);
	if (bp == 0 && ratio > 1e-12) {
		buf_append_str(out, "<0.01%");
		return;
	}
	if (bp == 10000 && ratio < 1 - 1e-12)
		bp = 9999;
	const char *sign = bp < 0 ? "-" : "";
	bp = bp < 0 ? -bp : bp;
	if (bp % 100 == 0)
		buf_printf(out, "%s%lld%%", sign, bp / 100);
	else if (bp % 10 == 0)
		buf_printf(out, "%s%lld.%lld%%", sign, bp / 100, bp % 100 / 10);
	else
		buf_printf(out, "%s%lld.%02lld%%", sign, bp / 100, bp % 100);
}

void format_count(struct buf *out, uint64_t count)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, count);
	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			buf_append_char(out, ',');
		buf_append_char(out, digits[i]);
	}
}

void format_latency(struct buf *out, double latency_ms)
{
	if (!isfinite(latency_ms))
		buf_append_char(out, '-');
	else if (latency_ms >= 1000)
		buf_printf(out, "%.2f s", latency_ms / 1000);
	else
		buf_printf(out, "%.*f ms", latency_ms >= 100 ? 0 : latency_ms >= 10 ? 1 : 2, latency_ms);
}

void format_span(struct buf *out, uint64_t span_ms)
{
	uint64_t seconds = span_ms / 1000;
	if (span_ms < 1000)
		buf_printf(out, "%" PRIu64 " ms", span_ms);
	else if (seconds < 60)
		buf_printf(out, "%" PRIu64 ".%" PRIu64 " s", seconds, span_ms % 1000 / 100);
	else if (seconds < 3600)
		buf_printf(out, "%" PRIu64 "m %" PRIu64 "s", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		buf_printf(out, "%" PRIu64 "h %" PRIu64 "m", seconds / 3600, seconds % 3600 / 60);
	else
		buf_printf(out, "%" PRIu64 "d %" PRIu64 "h", seconds / 86400, seconds % 86400 / 3600);
}

void format_bar(struct buf *out, double ratio, size_t columns, bool unicode)
{
	size_t full = 0;
	if (isfinite(ratio) && ratio > 0) {
		full = ratio >= 1 ? columns : (size_t)(ratio * (double)columns + 0.5);
		if (full == 0)
			full = 1;
		if (full == columns && ratio < 1)
			full = columns - 1;
	}
	for (size_t i = 0; i < columns; i++)
		buf_append_str(out, i < full ? (unicode ? "█" : "#") : (unicode ? "░" : "."));
}

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

/* One row into `out`, cut after `limit` columns (0 = never). */
static void render_row(const struct table *table, const struct table_cell *cells, const size_t *widths,
		       const struct style *style, struct buf *out)
{
	size_t used = 0;
	for (size_t c = 0; c < table->columns; c++) {
		const char *text = cells[c].text ? cells[c].text : "";
		size_t columns = format_columns(text, strlen(text));
		size_t gap = c > 0 ? 2 : 0;
		size_t left = table->column[c].right ? widths[c] - columns : 0;
		size_t right = table->column[c].right || c + 1 == table->columns ? 0 : widths[c] - columns;
		if (style->width && used + gap + left >= style->width)
			break;
		used += gap + left;
		buf_printf(out, "%*s", (int)(gap + left), "");
		tint_begin(out, style->colour, cells[c].tint);
		size_t room = style->width ? style->width - used : columns;
		size_t bytes = 0, shown = 0;
		while (text[bytes] && (shown < room || ((unsigned char)text[bytes] & 0xc0) == 0x80))
			shown += ((unsigned char)text[bytes++] & 0xc0) != 0x80;
		buf_append(out, text, bytes);
		tint_end(out, style->colour, cells[c].tint);
		used += shown;
		if (style->width && used + right >= style->width)
			break;
		used += right;
		buf_printf(out, "%*s", (int)right, "");
	}
	while (out->len && out->data[out->len - 1] == ' ')
		out->len--;
	buf_append_char(out, '\n');
}

void table_render(const struct table *table, const struct style *style, struct buf *out)
{
	size_t widths[TABLE_COLUMNS_MAX];
	struct table_cell titles[TABLE_COLUMNS_MAX];

	for (size_t c = 0; c < table->columns; c++) {
		widths[c] = column_width(table, c);
		titles[c] = (struct table_cell){(char *)table->column[c].title, TINT_DIM};
	}
	render_row(table, titles, widths, style, out);
	for (size_t i = 0; i + table->columns <= table->count && table->columns; i += table->columns)
		render_row(table, table->cells + i, widths, style, out);
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

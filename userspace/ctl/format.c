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
	style.redraws = term && *term && strcmp(term, "dumb") != 0;
	style.colour = style.redraws && !(no_color && *no_color);
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

/* Length of the character at `p`, and whether it must not reach a terminal. */
static size_t next_character(const unsigned char *p, bool *bad)
{
	size_t len = utf8_length(p);
	bool control = p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
	*bad = len == 0 || control || is_deceptive(p, len);
	return len ? len : 1;
}

static void clean(struct buf *out, const char *text, bool lines)
{
	const unsigned char *p = (const unsigned char *)text;
	while (*p) {
		bool bad;
		size_t len = next_character(p, &bad);
		if (bad && !(lines && *p == '\n'))
			buf_append_char(out, '?');
		else
			buf_append(out, p, len);
		p += len;
	}
}

void format_clean(struct buf *out, const char *text)
{
	clean(out, text, false);
}

void format_clean_lines(struct buf *out, const char *text)
{
	clean(out, text, true);
}

static unsigned code_point(const unsigned char *p, size_t len)
{
	unsigned code = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++)
		code = code << 6 | (p[i] & 0x3f);
	return code;
}

void format_json(struct buf *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	while (*p) {
		bool bad;
		size_t len = next_character(p, &bad);
		if (bad && *p != '\n')
			buf_printf(out, "\\u%04x", code_point(p, len)); /* none of them is beyond U+FFFF */
		else
			buf_append(out, p, len);
		p += len;
	}
}

void format_ascii(struct buf *text)
{
	static const struct {
		unsigned code;
		char near;
	} nearby[] = {
		{0xa0, ' '},   {0xb5, 'u'},    {0xb7, '.'},    {0xd7, 'x'},   {0x2013, '-'},
		{0x2014, '-'}, {0x2018, '\''}, {0x2019, '\''}, {0x201c, '"'}, {0x201d, '"'},
		{0x2026, '.'}, {0x2192, '>'},  {0x2588, '#'},  {0x2591, '.'},
	};
	size_t to = 0;
	buf_cstr(text);
	for (size_t at = 0; at < text->len;) {
		const unsigned char *p = (const unsigned char *)text->data + at;
		size_t len = *p < 0x80 ? 1 : utf8_length(p);
		char shown = *p < 0x80 ? (char)*p : '?';
		for (size_t i = 0; len > 1 && i < sizeof(nearby) / sizeof(nearby[0]); i++)
			if (nearby[i].code == code_point(p, len))
				shown = nearby[i].near;
		text->data[to++] = shown;
		at += len ? len : 1;
	}
	text->len = to;
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

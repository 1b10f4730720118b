/* SPDX-License-Identifier: Apache-2.0 */
/* roff: see roff.h. */
#include "roff.h"

#include <ctype.h>
#include <stdio.h>

#define LINE_BYTES 72

/* One character: what roff would read as an escape or could not read at all is spelled out. */
static size_t append_character(struct buf *out, const char *text)
{
	unsigned char first = (unsigned char)text[0];
	unsigned code = first;
	size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

	if (first == '\\') {
		buf_append_str(out, "\\e");
	} else if (first == '-') {
		buf_append_str(out, "\\-");
	} else if (len == 1) {
		buf_append_char(out, text[0]);
	} else {
		code = first & (0xffu >> (len + 1));
		for (size_t i = 1; i < len; i++)
			code = code << 6 | ((unsigned char)text[i] & 0x3f);
		buf_printf(out, "\\[u%04X]", code);
	}
	return len;
}

static void append_font(struct buf *out, char font, const char *text)
{
	buf_printf(out, "\\f%c", font);
	for (const char *p = text; *p;) {
		bool bar = *p == '|';
		p += append_character(out, p);
		if (bar)
			buf_append_str(out, "\\:"); /* a line may break here */
	}
	buf_append_str(out, "\\fR");
}

/* "works." before "Then"; not "e.g. this" or "a.yml or". */
static bool ends_sentence(const char *word, size_t len)
{
	const char *next = word + len;
	while (len && strchr(")\"", word[len - 1]))
		len--;
	next += strspn(next, " \n\"(");
	return len > 1 && strchr(".?!", word[len - 1]) && word[len - 2] != '.' &&
	       (!*next || isupper((unsigned char)*next));
}

static void append_text(struct buf *out, const char *text, const char *paragraph)
{
	size_t column = 0;

	while (*text) {
		if (text[0] == '\n' && text[1] == '\n') {
			buf_printf(out, "%s%s\n", column ? "\n" : "", paragraph);
			column = 0;
			text += 2;
			continue;
		}
		if (*text == ' ' || *text == '\n') {
			text++;
			continue;
		}
		size_t len = strcspn(text, " \n"), before = out->len;
		if (column && column + 1 + len > LINE_BYTES) {
			buf_append_char(out, '\n');
			column = 0;
		}
		if (column)
			buf_append_char(out, ' ');
		else if (*text == '.' || *text == '\'')
			buf_append_str(out, "\\&");
		for (size_t i = 0; i < len;)
			i += append_character(out, text + i);
		column += out->len - before + 1;
		if (ends_sentence(text, len)) {
			buf_append_char(out, '\n');
			column = 0;
		}
		text += len;
	}
	if (column)
		buf_append_char(out, '\n');
}

void roff_text(struct buf *out, const char *text)
{
	append_text(out, text, ".PP");
}

void roff_item_line(struct buf *out, const char *text)
{
	buf_append_str(out, ".br\n");
	append_text(out, text, ".IP");
}

void roff_item_text(struct buf *out, const char *text)
{
	append_text(out, text, ".IP");
}

void roff_begin(struct buf *out, const char *name, int section, const char *what)
{
	buf_append_str(
		out, ".\\\" Made from the tables of the programs by tools/manual.c; not to be edited.\n.TH ");
	for (const char *p = name; *p; p++)
		buf_append_char(out, (char)toupper((unsigned char)*p));
	buf_printf(out, " %d " MANUAL_DATE " \"Phoenix " PHOENIX_VERSION "\" Phoenix\n.nh\n.ad l\n.SH NAME\n",
		   section);
	for (const char *p = name; *p;)
		p += append_character(out, p);
	buf_printf(out, " \\- %s\n", what);
}

void roff_section(struct buf *out, const char *title)
{
	buf_printf(out, ".SH %s\n", title);
}

void roff_subsection(struct buf *out, const char *title)
{
	buf_printf(out, ".SS %s\n", title);
}

void roff_item(struct buf *out, const char *bold, const char *slanted, const char *help)
{
	buf_append_str(out, ".TP\n");
	append_font(out, 'B', bold);
	if (slanted && *slanted) {
		buf_append_char(out, ' ');
		append_font(out, 'I', slanted);
	}
	buf_append_char(out, '\n');
	roff_item_text(out, help);
}

void roff_status(struct buf *out, int status, const char *meaning)
{
	char number[8];
	snprintf(number, sizeof(number), "%d", status);
	roff_item(out, number, NULL, meaning);
}

void roff_option(struct buf *out, const struct option_row *row)
{
	char word[64], letter[4];

	snprintf(word, sizeof(word), "--%s", row->word);
	snprintf(letter, sizeof(letter), "-%c", row->letter);
	buf_append_str(out, ".TP\n");
	if (row->letter) {
		append_font(out, 'B', letter);
		buf_append_str(out, ", ");
	}
	append_font(out, 'B', word);
	if (row->value) {
		buf_append_char(out, ' ');
		append_font(out, 'I', row->value);
	}
	buf_append_char(out, '\n');
	roff_item_text(out, row->help);
}

/* A paragraph or a line begins by itself below the title of a section. */
static bool is_below_title(struct buf *out)
{
	const char *text = buf_cstr(out), *line = out->len > 1 ? memrchr(text, '\n', out->len - 1) : NULL;
	return line && strncmp(line + 1, ".SH", 3) == 0;
}

void roff_synopsis(struct buf *out, const char *name, const char *words)
{
	if (!is_below_title(out))
		buf_append_str(out, ".br\n");
	append_font(out, 'B', name);
	for (struct slice rest = slice_str(words), item; slice_split(&rest, ' ', &item);) {
		char word[64];
		snprintf(word, sizeof(word), "%.*s", SLICE_ARG(item));
		buf_append_char(out, ' ');
		append_font(out, islower((unsigned char)word[0]) ? 'B' : 'I', word);
	}
	buf_append_char(out, '\n');
}

void roff_literal(struct buf *out, const char *text)
{
	buf_append_str(out, is_below_title(out) ? ".RS 4\n.EX\n" : ".PP\n.RS 4\n.EX\n");
	for (bool begin = true; *text;) {
		if (begin && (*text == '.' || *text == '\''))
			buf_append_str(out, "\\&");
		begin = *text == '\n';
		text += append_character(out, text);
	}
	buf_append_str(out, ".EE\n.RE\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* option: see option.h. */
#include "option.h"

#include "config_report.h"

#include <stdio.h>

#define WORDS_MAX   64
#define WORD_BYTES  32
#define HELP_INDENT 2

bool option_suggest(const char *typed, const char *const *words, const char *prefix, struct buf *why)
{
	const char *word = report_suggest(slice_str(typed), words);
	if (word)
		buf_printf(why, "; did you mean \"%s%s\"?", prefix, word);
	return word != NULL;
}

static bool same_word(struct slice word, const char *typed)
{
	size_t i = 0;
	for (; i < word.len && typed[i]; i++)
		if (word.ptr[i] != (typed[i] == '_' ? '-' : typed[i]))
			return false;
	return i == word.len && !typed[i];
}

bool option_check_words(const char *typed, const char *words, struct buf *why)
{
	char keep[WORDS_MAX][WORD_BYTES];
	const char *list[WORDS_MAX + 1];
	size_t count = 0;

	for (struct slice rest = slice_str(words), item; slice_split(&rest, '|', &item);) {
		if (same_word(item, typed))
			return true;
		if (count == WORDS_MAX)
			continue;
		snprintf(keep[count], sizeof(keep[0]), "%.*s", SLICE_ARG(item));
		list[count] = keep[count];
		count++;
	}
	list[count] = NULL;
	for (size_t i = 0; i < count; i++)
		buf_printf(why, "%s%s", i == 0 ? ": one of " : ", ", list[i]);
	option_suggest(typed, list, "", why);
	return false;
}

static enum option_result unknown_option(const struct option_reader *reader, const char *typed, size_t len,
					 struct buf *why)
{
	const char *words[WORDS_MAX + 1];
	size_t count = reader->count < WORDS_MAX ? reader->count : WORDS_MAX;
	char name[64];

	for (size_t i = 0; i < count; i++)
		words[i] = reader->rows[i].word;
	words[count] = NULL;
	buf_printf(why, "unknown option %s", quote(slice_of(typed, len)).text);
	while (len && *typed == '-')
		typed++, len--;
	snprintf(name, sizeof(name), "%.*s", (int)len, typed);
	if (len > 1 && len < sizeof(name))
		option_suggest(name, words, "--", why);
	return OPTION_WRONG;
}

/* "--name", "--name=value", "-n", "-nvalue", or one letter of several in "-fw". */
static enum option_result read_option(struct option_reader *reader, const char *typed, size_t *index,
				      const char **value, struct buf *why)
{
	bool is_long = !reader->cluster && typed[1] == '-';
	const char *name = reader->cluster ? reader->cluster : typed + 1 + is_long;
	size_t len = is_long ? strcspn(name, "=") : 1, at;
	const char *given = is_long ? (name[len] ? name + len + 1 : NULL) : (name[1] ? name + 1 : NULL);

	reader->cluster = NULL;
	for (at = 0; at < reader->count; at++)
		if (is_long ? strlen(reader->rows[at].word) == len &&
				      strncmp(reader->rows[at].word, name, len) == 0
			    : reader->rows[at].letter && reader->rows[at].letter == name[0])
			break;
	if (at == reader->count)
		return unknown_option(reader, typed, is_long ? len + 2 : strlen(typed), why);
	const struct option_row *row = &reader->rows[at];
	if (!row->value && given && is_long) {
		buf_printf(why, "option --%s takes no value", row->word);
		return OPTION_WRONG;
	}
	if (!row->value)
		reader->cluster = given;
	if (row->value && !given) {
		if (reader->at >= reader->argc) {
			buf_printf(why, "option --%s needs a value: --%s %s", row->word, row->word,
				   row->value);
			return OPTION_WRONG;
		}
		given = reader->argv[reader->at++];
	}
	if (row->value && strchr(row->value, '|')) {
		struct buf list = {0};
		bool known = option_check_words(given, row->value, &list);
		if (!known)
			buf_printf(why, "--%s %s%s", row->word, quote(slice_str(given)).text,
				   buf_cstr(&list));
		buf_fini(&list);
		if (!known)
			return OPTION_WRONG;
	}
	*index = at;
	*value = row->value ? given : "";
	return OPTION_GIVEN;
}

/* "-0.1" is a (wrong) number for the command to complain about, not an option. */
static bool looks_like_option(const char *text)
{
	return text[0] == '-' && text[1] && !(text[1] >= '0' && text[1] <= '9') && text[1] != '.';
}

/* A digit after the dash is a letter when the table has it. */
static bool is_letter(const struct option_reader *reader, const char *text)
{
	for (size_t i = 0; i < reader->count; i++)
		if (reader->rows[i].letter && text[0] == '-' && text[1] == reader->rows[i].letter)
			return true;
	return false;
}

enum option_result option_next(struct option_reader *reader, size_t *index, const char **value,
			       struct buf *why)
{
	if (reader->cluster)
		return read_option(reader, reader->argv[reader->at - 1], index, value, why);
	if (reader->at >= reader->argc)
		return OPTION_NONE;
	const char *typed = reader->argv[reader->at++];
	if (!reader->only_words && strcmp(typed, "--") == 0) {
		reader->only_words = true;
		return option_next(reader, index, value, why);
	}
	if (!reader->only_words && (looks_like_option(typed) || is_letter(reader, typed)))
		return read_option(reader, typed, index, value, why);
	*value = typed;
	return OPTION_WORD;
}

/* Columns of UTF-8 text, one a character. */
static size_t columns_of(const char *text, size_t len)
{
	size_t columns = 0;
	for (size_t i = 0; i < len; i++)
		columns += ((unsigned char)text[i] & 0xc0) != 0x80;
	return columns;
}

/* Bytes of the first `columns` characters of a word. */
static size_t bytes_of(const char *word, size_t len, size_t columns)
{
	size_t at = 0;
	while (at < len && (columns || ((unsigned char)word[at] & 0xc0) == 0x80))
		columns -= ((unsigned char)word[at++] & 0xc0) != 0x80;
	return at;
}

void option_wrap(struct buf *out, const char *text, size_t at, size_t indent, size_t width)
{
	size_t room = width > indent + 8 ? width - indent : 8;
	bool begin = true;

	while (*text) {
		if (text[0] == '\n' && text[1] == '\n') {
			buf_printf(out, "\n\n%*s", (int)indent, "");
			at = indent;
			begin = true;
			text += 2;
			continue;
		}
		if (*text == ' ' || *text == '\n') {
			text++;
			continue;
		}
		size_t len = strcspn(text, " \n"), columns = columns_of(text, len);
		if (!begin && at + 1 + columns > width) {
			buf_printf(out, "\n%*s", (int)indent, "");
			at = indent;
			begin = true;
		}
		if (columns > room && at == indent) { /* wider than a whole line */
			len = bytes_of(text, len, room);
			columns = room;
		}
		buf_append_str(out, begin ? "" : " ");
		buf_append(out, text, len);
		at += columns + !begin;
		begin = false;
		text += len;
		if (*text && *text != ' ' && *text != '\n') {
			buf_printf(out, "\n%*s", (int)indent, "");
			at = indent;
			begin = true;
		}
	}
	buf_append_char(out, '\n');
}

void option_help_row(struct buf *out, const char *left, const char *help, size_t column, size_t width)
{
	size_t columns = columns_of(left, strlen(left));
	if (column > width / 3)
		column = width / 3;
	buf_printf(out, "%*s%s", HELP_INDENT, "", left);
	if (columns + HELP_INDENT + 2 > column)
		buf_printf(out, "\n%*s", (int)column, "");
	else
		buf_printf(out, "%*s", (int)(column - HELP_INDENT - columns), "");
	option_wrap(out, help, column, column, width);
}

void option_help_left(struct buf *out, const struct option_row *row)
{
	if (row->letter)
		buf_printf(out, "-%c, ", row->letter);
	else
		buf_append_str(out, "    ");
	buf_printf(out, "--%s%s%s", row->word, row->value ? " " : "", row->value ? row->value : "");
}

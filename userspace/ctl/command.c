/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command: see command.h. Reading a command line has two passes: first options and words are told apart
 * with the table of all options (so they may stand anywhere), then the words select the command and what
 * was given is held against what it takes.
 */
#include "ctl/command.h"
#include "config_report.h"

#include <stdio.h>

#define WORDS_MAX     128 /* distinct words for suggestions */
#define HELP_COLUMN   30
#define COMMAND_WORDS 2 /* at most, in a command's name */

const struct option_row ctl_options[OPTION_COUNT] = {
#define X(name, word, letter, value, help) {word, letter, value, help},
	CTL_OPTIONS(X)
#undef X
};

/* Number of words in `text`, which separates them by single spaces. */
static size_t word_count(const char *text)
{
	size_t count = *text != '\0';
	for (; *text; text++)
		count += *text == ' ';
	return count;
}

static bool words_match(const char *name, const char *const *words, size_t count)
{
	struct slice rest = slice_str(name), item;
	size_t i = 0;
	for (; slice_split(&rest, ' ', &item); i++)
		if (i >= count || !slice_equal(item, slice_str(words[i])))
			return false;
	return true;
}

const struct ctl_command *ctl_command_find(const char *const *words, size_t count, size_t *used)
{
	for (const struct ctl_command *command = ctl_commands; command->words; command++)
		if (words_match(command->words, words, count)) {
			*used = word_count(command->words);
			return command;
		}
	return NULL;
}

bool ctl_command_is_hidden(const struct ctl_command *command)
{
	return command->words[0] == '_';
}

/* Word number `at` of each command (of those that begin with `first`, if given), without repetitions. */
static size_t distinct_words(const char *first, size_t at, char words[WORDS_MAX][32])
{
	size_t count = 0;
	for (const struct ctl_command *command = ctl_commands; command->words; command++) {
		struct slice rest = slice_str(command->words), item = {0};
		bool there = !ctl_command_is_hidden(command) && slice_split(&rest, ' ', &item) &&
			     (!first || slice_equal(item, slice_str(first)));
		for (size_t i = 0; i < at && there; i++)
			there = slice_split(&rest, ' ', &item);
		for (size_t i = 0; i < count && there; i++)
			there = !slice_equal(item, slice_str(words[i]));
		if (there && count < WORDS_MAX)
			snprintf(words[count++], sizeof(words[0]), "%.*s", SLICE_ARG(item));
	}
	return count;
}

int ctl_unknown_command(const char *const *words, size_t count, struct buf *why)
{
	char known[WORDS_MAX][32];
	const char *list[WORDS_MAX + 1];

	size_t seconds = distinct_words(words[0], 1, known);
	if (seconds == 0) {
		size_t firsts = distinct_words(NULL, 0, known);
		for (size_t i = 0; i <= firsts; i++)
			list[i] = i < firsts ? known[i] : NULL;
		buf_printf(why, "unknown command %s", quote(slice_str(words[0])).text);
		option_suggest(words[0], list, "", why);
		return CTL_USAGE;
	}
	for (size_t i = 0; i <= seconds; i++)
		list[i] = i < seconds ? known[i] : NULL;
	if (count > 1) {
		buf_printf(why, "unknown command %s after \"%s\"", quote(slice_str(words[1])).text, words[0]);
		if (option_suggest(words[1], list, "", why))
			return CTL_USAGE;
	} else {
		buf_printf(why, "\"%s\" needs a second word", words[0]);
	}
	for (size_t i = 0; i < seconds; i++)
		buf_printf(why, "%s%s", i == 0 ? ": one of " : ", ", known[i]);
	return CTL_USAGE;
}

/* How many arguments a spec such as "ROUTE [POINTER]..." takes. */
static void argument_limits(const char *spec, size_t *min, size_t *max)
{
	struct slice rest = slice_str(spec), item;
	*min = *max = 0;
	while (*spec && slice_split(&rest, ' ', &item)) {
		*min += item.ptr[0] != '[';
		*max = item.ptr[item.len - 1] == '.' ? CTL_ARGUMENTS_MAX : *max + 1;
	}
}

static int check_line(struct ctl_line *line, struct buf *why)
{
	const struct ctl_command *command = line->command;
	size_t min, max;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (line->options[i] && !((command->options | OPTIONS_ALWAYS) & (UINT64_C(1) << i))) {
			buf_printf(why, "\"%s\" does not take the option --%s", command->words,
				   ctl_options[i].word);
			return CTL_USAGE;
		}
	if (line->options[OPTION_HELP])
		return CTL_DONE;
	argument_limits(command->arguments, &min, &max);
	if (line->argument_count < min) {
		struct slice rest = slice_str(command->arguments), item = {0};
		for (size_t i = 0; i <= line->argument_count; i++)
			slice_split(&rest, ' ', &item);
		buf_printf(why, "%.*s is missing: phoenixctl %s %s", SLICE_ARG(item), command->words,
			   command->arguments);
		return CTL_USAGE;
	}
	char seconds[WORDS_MAX][32];
	if (line->argument_count > max && !strchr(command->words, ' ') &&
	    distinct_words(command->words, 1, seconds)) {
		/* "decisions relpay FILE": a command of two words was more likely meant. */
		const char *words[] = {command->words, line->arguments[0]};
		return ctl_unknown_command(words, 2, why);
	}
	if (line->argument_count > max) {
		buf_printf(why, "%s is one argument too many: phoenixctl %s%s%s",
			   quote(slice_str(line->arguments[max])).text, command->words,
			   *command->arguments ? " " : "", command->arguments);
		return CTL_USAGE;
	}
	return CTL_DONE;
}

int ctl_line_parse(int argc, char **argv, struct ctl_line *line, struct buf *why)
{
	struct option_reader reader = {ctl_options, OPTION_COUNT, argc, argv, 1, false, NULL};
	const char *words[CTL_ARGUMENTS_MAX + COMMAND_WORDS], *value;
	size_t count = 0, used = 0, at;

	memset(line, 0, sizeof(*line));
	for (enum option_result got; (got = option_next(&reader, &at, &value, why)) != OPTION_NONE;) {
		if (got == OPTION_WRONG)
			return CTL_USAGE;
		if (got == OPTION_WORD && count == CTL_ARGUMENTS_MAX) {
			buf_printf(why, "more than %d arguments", CTL_ARGUMENTS_MAX);
			return CTL_USAGE;
		}
		if (got == OPTION_WORD) {
			words[count++] = value;
		} else if (line->options[at] && strcmp(line->options[at], value) != 0) {
			buf_printf(why, "option --%s is given twice", ctl_options[at].word);
			return CTL_USAGE;
		} else {
			line->options[at] = value;
		}
	}
	if (count == 0) {
		if (line->options[OPTION_HELP])
			return CTL_DONE;
		buf_append_str(why, "no command");
		return CTL_USAGE;
	}
	line->command = ctl_command_find(words, count, &used);
	if (!line->command) {
		char known[WORDS_MAX][32];
		if (count == 1 && line->options[OPTION_HELP] && distinct_words(words[0], 1, known)) {
			line->arguments[line->argument_count++] = words[0]; /* "route --help" */
			return CTL_DONE;
		}
		return ctl_unknown_command(words, count, why);
	}
	for (size_t i = used; i < count; i++)
		line->arguments[line->argument_count++] = words[i];
	return check_line(line, why);
}

static void help_command_row(const struct ctl_command *command, size_t width, struct buf *out)
{
	struct buf left = {0};
	buf_printf(&left, "%s%s%s", command->words, *command->arguments ? " " : "", command->arguments);
	option_help_row(out, buf_cstr(&left), command->help, HELP_COLUMN, width);
	buf_fini(&left);
}

static void help_options(uint64_t which, size_t width, struct buf *out)
{
	struct buf left = {0};
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (!(which & (UINT64_C(1) << i)))
			continue;
		buf_reset(&left);
		option_help_left(&left, &ctl_options[i]);
		option_help_row(out, buf_cstr(&left), ctl_options[i].help, HELP_COLUMN, width);
	}
	buf_fini(&left);
}

void ctl_help(size_t width, struct buf *out)
{
	struct buf left = {0};

	buf_append_str(out, "phoenixctl: look at and steer a Phoenix gateway\n\n"
			    "usage: phoenixctl COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n");
	for (const struct ctl_command *command = ctl_commands; command->words; command++)
		if (!ctl_command_is_hidden(command))
			help_command_row(command, width, out);
	buf_append_str(out, "\noptions of every command that talks to the daemon:\n");
	help_options(OPTIONS_DAEMON | OPTIONS_ALWAYS | OPTION_BIT(OUTPUT), width, out);
	buf_append_str(out, "\nexit status:\n");
#define X(name, value, help)                                                                                 \
	if ((value) < 128) {                                                                                 \
		buf_reset(&left);                                                                            \
		buf_printf(&left, "%3d", value);                                                             \
		option_help_row(out, buf_cstr(&left), help, 7, width);                                       \
	}
	CTL_EXITS(X)
#undef X
	buf_append_str(out, "\nenvironment:\n");
#define X(name, help) option_help_row(out, name, help, HELP_COLUMN, width);
	CTL_ENVIRONMENT(X)
#undef X
	buf_append_char(out, '\n');
	option_wrap(out,
		    "\"phoenixctl help COMMAND\" says more about one. Data goes to stdout, talk to stderr; "
		    "colour "
		    "only on a terminal and never with NO_COLOR.",
		    0, 0, width);
	buf_fini(&left);
}

void ctl_help_command(const struct ctl_command *command, size_t width, struct buf *out)
{
	buf_printf(out, "usage: phoenixctl %s%s%s%s\n\n", command->words, *command->arguments ? " " : "",
		   command->arguments, " [OPTIONS]");
	option_wrap(out, command->help, 0, 0, width);
	if (command->more) {
		buf_append_char(out, '\n');
		option_wrap(out, command->more, 0, 0, width);
	}
	buf_append_str(out, "\noptions:\n");
	help_options(command->options | OPTIONS_ALWAYS, width, out);
}

void ctl_help_group(const char *word, size_t width, struct buf *out)
{
	buf_printf(out, "usage: phoenixctl %s COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n", word);
	for (const struct ctl_command *command = ctl_commands; command->words; command++) {
		size_t len = strlen(word);
		if (strncmp(command->words, word, len) == 0 && command->words[len] == ' ')
			help_command_row(command, width, out);
	}
}

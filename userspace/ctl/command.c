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
#define HELP_INDENT   2
#define HELP_COLUMN   44
#define COMMAND_WORDS 2 /* at most, in a command's name */

struct option {
	const char *word;
	char letter;
	const char *value;
	const char *help;
};

static const struct option options[OPTION_COUNT] = {
#define X(name, word, letter, value, help) {word, letter, value, help},
	CTL_OPTIONS(X)
#undef X
};

static const char *quoted_word(const char *word, struct quoted *keep)
{
	*keep = quote(slice_str(word));
	return keep->text;
}

/* Appends '; did you mean "prefix+word"?' when one of the words is near. */
static void suggest(const char *typed, const char *const *words, const char *prefix, struct buf *why)
{
	const char *word = report_suggest(slice_str(typed), words);
	if (word)
		buf_printf(why, "; did you mean \"%s%s\"?", prefix, word);
}

static int unknown_option(const char *typed, size_t len, struct buf *why)
{
	const char *words[OPTION_COUNT + 1];
	char name[64];
	struct quoted keep;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		words[i] = options[i].word;
	words[OPTION_COUNT] = NULL;
	snprintf(name, sizeof(name), "%.*s", (int)len, typed);
	buf_printf(why, "unknown option %s", quoted_word(name, &keep));
	while (len && *typed == '-')
		typed++, len--;
	snprintf(name, sizeof(name), "%.*s", (int)len, typed);
	if (len > 1)
		suggest(name, words, "--", why);
	return CTL_USAGE;
}

/* Stores the option at argv[*i], which begins with "-"; takes its value from there or from the next word. */
static int take_option(int argc, char **argv, int *i, struct ctl_line *line, struct buf *why)
{
	const char *typed = argv[*i];
	bool is_long = typed[1] == '-';
	const char *name = typed + 1 + is_long;
	size_t len = is_long ? strcspn(name, "=") : 1;
	const char *value = is_long ? (name[len] ? name + len + 1 : NULL) : (name[1] ? name + 1 : NULL);
	size_t at;

	for (at = 0; at < OPTION_COUNT; at++)
		if (is_long ? strlen(options[at].word) == len && strncmp(options[at].word, name, len) == 0
			    : options[at].letter && options[at].letter == name[0])
			break;
	if (at == OPTION_COUNT)
		return unknown_option(typed, is_long ? len + 2 : strlen(typed), why);
	if (!options[at].value && value) {
		buf_printf(why, "option --%s takes no value", options[at].word);
		return CTL_USAGE;
	}
	if (options[at].value && !value) {
		if (*i + 1 >= argc) {
			buf_printf(why, "option --%s needs a value: --%s %s", options[at].word,
				   options[at].word, options[at].value);
			return CTL_USAGE;
		}
		value = argv[++*i];
	}
	if (line->options[at] && options[at].value && strcmp(line->options[at], value) != 0) {
		buf_printf(why, "option --%s is given twice", options[at].word);
		return CTL_USAGE;
	}
	line->options[at] = value ? value : "";
	return CTL_DONE;
}

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

/* Word number `at` of each command (of those that begin with `first`, if given), without repetitions. */
static size_t distinct_words(const char *first, size_t at, char words[WORDS_MAX][32])
{
	size_t count = 0;
	for (const struct ctl_command *command = ctl_commands; command->words; command++) {
		struct slice rest = slice_str(command->words), item = {0};
		bool there =
			slice_split(&rest, ' ', &item) && (!first || slice_equal(item, slice_str(first)));
		for (size_t i = 0; i < at && there; i++)
			there = slice_split(&rest, ' ', &item);
		for (size_t i = 0; i < count && there; i++)
			there = !slice_equal(item, slice_str(words[i]));
		if (there && count < WORDS_MAX)
			snprintf(words[count++], sizeof(words[0]), "%.*s", SLICE_ARG(item));
	}
	return count;
}

static int unknown_command(const char *const *words, size_t count, struct buf *why)
{
	char known[WORDS_MAX][32];
	const char *list[WORDS_MAX + 1];
	struct quoted keep;

	size_t seconds = distinct_words(words[0], 1, known);
	if (seconds == 0) {
		size_t firsts = distinct_words(NULL, 0, known);
		for (size_t i = 0; i <= firsts; i++)
			list[i] = i < firsts ? known[i] : NULL;
		buf_printf(why, "unknown command %s", quoted_word(words[0], &keep));
		suggest(words[0], list, "", why);
		return CTL_USAGE;
	}
	for (size_t i = 0; i <= seconds; i++)
		list[i] = i < seconds ? known[i] : NULL;
	if (count > 1) {
		buf_printf(why, "unknown command %s after \"%s\"", quoted_word(words[1], &keep), words[0]);
		if (report_suggest(slice_str(words[1]), list)) {
			suggest(words[1], list, "", why);
			return CTL_USAGE;
		}
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
	struct quoted keep;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (line->options[i] && !((command->options | OPTIONS_ALWAYS) & (UINT64_C(1) << i))) {
			buf_printf(why, "\"%s\" does not take the option --%s", command->words,
				   options[i].word);
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
	if (line->argument_count > max) {
		buf_printf(why, "%s is one argument too many: phoenixctl %s%s%s",
			   quoted_word(line->arguments[max], &keep), command->words,
			   *command->arguments ? " " : "", command->arguments);
		return CTL_USAGE;
	}
	return CTL_DONE;
}

/* "-0.1" is a (wrong) number for the command to complain about, not an option. */
static bool looks_like_option(const char *text)
{
	return text[0] == '-' && text[1] && !(text[1] >= '0' && text[1] <= '9') && text[1] != '.';
}

int ctl_line_parse(int argc, char **argv, struct ctl_line *line, struct buf *why)
{
	const char *words[CTL_ARGUMENTS_MAX + COMMAND_WORDS];
	size_t count = 0, used = 0;
	bool only_words = false;

	memset(line, 0, sizeof(*line));
	for (int i = 1; i < argc; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0) {
			only_words = true;
		} else if (!only_words && looks_like_option(argv[i])) {
			int status = take_option(argc, argv, &i, line, why);
			if (status)
				return status;
		} else if (count == CTL_ARGUMENTS_MAX) {
			buf_printf(why, "more than %d arguments", CTL_ARGUMENTS_MAX);
			return CTL_USAGE;
		} else {
			words[count++] = argv[i];
		}
	}
	const char *output = line->options[OPTION_OUTPUT];
	if (output && strcmp(output, "table") != 0 && strcmp(output, "json") != 0) {
		struct quoted keep;
		buf_printf(why, "-o %s: the formats are table and json", quoted_word(output, &keep));
		return CTL_USAGE;
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
		return unknown_command(words, count, why);
	}
	for (size_t i = used; i < count; i++)
		line->arguments[line->argument_count++] = words[i];
	return check_line(line, why);
}

static void help_row(struct buf *out, const char *left, size_t left_len, const char *help)
{
	size_t columns = format_columns(left, left_len);
	buf_printf(out, "%*s%.*s", HELP_INDENT, "", (int)left_len, left);
	if (columns + HELP_INDENT + 2 > HELP_COLUMN)
		buf_printf(out, "\n%*s%s\n", HELP_COLUMN, "", help);
	else
		buf_printf(out, "%*s%s\n", (int)(HELP_COLUMN - HELP_INDENT - columns), "", help);
}

static void help_command_row(const struct ctl_command *command, struct buf *out)
{
	char left[160];
	int len = snprintf(left, sizeof(left), "%s%s%s", command->words, *command->arguments ? " " : "",
			   command->arguments);
	help_row(out, left, (size_t)len, command->help);
}

static void help_options(uint64_t which, struct buf *out)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char left[96], letter[8] = "    ";
		if (!(which & (UINT64_C(1) << i)))
			continue;
		if (options[i].letter)
			snprintf(letter, sizeof(letter), "-%c, ", options[i].letter);
		int len = snprintf(left, sizeof(left), "%s--%s%s%s", letter, options[i].word,
				   options[i].value ? " " : "", options[i].value ? options[i].value : "");
		help_row(out, left, (size_t)len, options[i].help);
	}
}

void ctl_help(struct buf *out)
{
	buf_append_str(out, "phoenixctl: look at and steer a Phoenix gateway\n\n"
			    "usage: phoenixctl COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n");
	for (const struct ctl_command *command = ctl_commands; command->words; command++)
		help_command_row(command, out);
	buf_append_str(out, "\noptions of every command that talks to the daemon:\n");
	help_options(OPTIONS_DAEMON | OPTIONS_ALWAYS | OPTION_BIT(OUTPUT), out);
	buf_append_str(out, "\nexit status:\n");
#define X(name, value, help)                                                                                 \
	if ((value) < 128)                                                                                   \
		buf_printf(out, "  %3d  %s\n", (value), help);
	CTL_EXITS(X)
#undef X
	buf_append_str(out, "\n\"phoenixctl help COMMAND\" says more about one. Data goes to stdout, talk to "
			    "stderr; colour only on\na terminal and never with NO_COLOR.\n");
}

void ctl_help_command(const struct ctl_command *command, struct buf *out)
{
	buf_printf(out, "usage: phoenixctl %s%s%s%s\n\n%s\n", command->words, *command->arguments ? " " : "",
		   command->arguments, " [OPTIONS]", command->help);
	if (command->more)
		buf_printf(out, "\n%s\n", command->more);
	buf_append_str(out, "\noptions:\n");
	help_options(command->options | OPTIONS_ALWAYS, out);
}

void ctl_help_group(const char *word, struct buf *out)
{
	buf_printf(out, "usage: phoenixctl %s COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n", word);
	for (const struct ctl_command *command = ctl_commands; command->words; command++) {
		size_t len = strlen(word);
		if (strncmp(command->words, word, len) == 0 && command->words[len] == ' ')
			help_command_row(command, out);
	}
}

static void completion_case(const struct ctl_command *command, struct buf *out)
{
	buf_printf(out, "\t\"%s\")\n\t\toptions=\"", command->words);
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if ((command->options | OPTIONS_ALWAYS) & (UINT64_C(1) << i))
			buf_printf(out, "--%s ", options[i].word);
	buf_append_str(out, "\"\n");
	if (strstr(command->arguments, "ROUTE"))
		buf_append_str(out, "\t\targuments=routes\n");
	else if (strstr(command->arguments, "FILE"))
		buf_append_str(out, "\t\targuments=files\n");
	buf_append_str(out, "\t\t;;\n");
}

void ctl_completion_bash(struct buf *out)
{
	char firsts[WORDS_MAX][32], seconds[WORDS_MAX][32];
	size_t count = distinct_words(NULL, 0, firsts);

	buf_append_str(out,
		       "# bash completion of phoenixctl; use: source <(phoenixctl completion bash)\n"
		       "_phoenixctl() {\n"
		       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		       "\tlocal first=${COMP_WORDS[1]} second=${COMP_WORDS[2]} options= arguments= at=2\n"
		       "\tlocal command=$first\n\tCOMPREPLY=()\n"
		       "\tcase $prev in\n"
		       "\t--output|-o) COMPREPLY=($(compgen -W \"table json\" -- \"$cur\")); return ;;\n"
		       "\t--wait-for) COMPREPLY=($(compgen -W \"complete paused holding rolled-back "
		       "migrating mirroring idle\" -- \"$cur\")); return ;;\n"
		       "\t--token-file) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
		       "\tesac\n"
		       "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n\t\tCOMPREPLY=($(compgen -W \"");
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%s ", firsts[i]);
	buf_append_str(out, "\" -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase $first in\n");
	for (size_t i = 0; i < count; i++) {
		size_t more = distinct_words(firsts[i], 1, seconds);
		if (!more)
			continue;
		buf_printf(out,
			   "\t%s)\n\t\tcommand=\"$first $second\" at=3\n"
			   "\t\tif [ \"$COMP_CWORD\" -eq 2 ]; then\n\t\t\tCOMPREPLY=($(compgen -W \"",
			   firsts[i]);
		for (size_t k = 0; k < more; k++)
			buf_printf(out, "%s ", seconds[k]);
		buf_append_str(out, "\" -- \"$cur\"))\n\t\t\treturn\n\t\tfi\n\t\t;;\n");
	}
	buf_append_str(out, "\tesac\n\tcase $command in\n");
	for (const struct ctl_command *command = ctl_commands; command->words; command++)
		completion_case(command, out);
	buf_append_str(
		out, "\tesac\n"
		     "\tcase $cur in -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")); return ;; esac\n"
		     "\tcase $arguments in\n"
		     "\troutes)\n"
		     "\t\t[ \"$COMP_CWORD\" -eq \"$at\" ] || return\n"
		     "\t\tCOMPREPLY=($(compgen -W \"$(phoenixctl route ls 2>/dev/null | "
		     "awk 'NR > 1 { print $1 }')\" -- \"$cur\"))\n"
		     "\t\t;;\n"
		     "\tfiles) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
		     "\tesac\n}\n"
		     "complete -F _phoenixctl phoenixctl\n");
}

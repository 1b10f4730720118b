/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of phoenixctl: what the two tables make of it. */
#include "ctl/command.h"
#include "unit.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define WORDS_MAX   12

/* Splits `text` at spaces into argv and reads it. The words live in `keep` until the next call. */
static int parse(const char *text, struct ctl_line *line, struct buf *why)
{
	static char keep[256];
	char *argv[WORDS_MAX + 1] = {"phoenixctl"};
	int argc = 1;
	snprintf(keep, sizeof(keep), "%s", text);
	for (char *word = strtok(keep, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	buf_reset(why);
	return ctl_line_parse(argc, argv, line, why);
}

TEST(good_lines)
{
	static const struct {
		const char *text, *words;
		size_t arguments;
		const char *first;
	} rows[] = {
		{"status", "status", 0, NULL},
		{"status users --watch", "status", 1, "users"},
		{"--admin http://a:1 status users", "status", 1, "users"},
		{"weight set users 0.35", "weight set", 2, "users"},
		{"weight --reason=why set users -0.1", "weight set", 2, "users"},
		{"diff ignore users /a /b /c --dry-run", "diff ignore", 4, "users"},
		{"events -f -ojson", "events", 0, NULL},
		{"pause -- --help", "pause", 1, "--help"},
		{"completion bash", "completion bash", 0, NULL},
		{"status a b c --help", "status", 3, "a"},
	};
	struct ctl_line line;
	struct buf why = {0};
	for (size_t i = 0; i < ROWS(rows); i++) {
		int status = parse(rows[i].text, &line, &why);
		CHECK_MSG(status == CTL_DONE, "%s: %d, %s", rows[i].text, status, buf_cstr(&why));
		if (status)
			continue;
		CHECK_STR(line.command->words, rows[i].words);
		CHECK_INT(line.argument_count, rows[i].arguments);
		if (rows[i].first)
			CHECK_STR(line.arguments[0], rows[i].first);
	}
	CHECK_INT(parse("status --wait-for complete --timeout=30m -o json", &line, &why), CTL_DONE);
	CHECK_STR(line.options[OPTION_WAIT_FOR], "complete");
	CHECK_STR(line.options[OPTION_TIMEOUT], "30m");
	CHECK_STR(line.options[OPTION_OUTPUT], "json");
	CHECK(!line.options[OPTION_WATCH]);
	CHECK_INT(parse("--help", &line, &why), CTL_DONE);
	CHECK(!line.command && line.options[OPTION_HELP]);
	CHECK_INT(parse("route -h", &line, &why), CTL_DONE);
	CHECK(!line.command && line.argument_count == 1);
	buf_fini(&why);
}

TEST(bad_lines_say_what_was_meant)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"", "no command"},
		{"stauts", "unknown command \"stauts\"; did you mean \"status\"?"},
		{"route", "\"route\" needs a second word: one of ls, add, rm"},
		{"route addd", "did you mean \"add\"?"},
		{"diff zzzzzzz", "one of ls, show, ignore"},
		{"status --wathc", "did you mean \"--watch\"?"},
		{"status -x", "unknown option \"-x\""},
		{"status --watch=yes", "takes no value"},
		{"status --wait-for", "needs a value"},
		{"status --timeout 1s --timeout 2s", "given twice"},
		{"status -o xml", "--output \"xml\": one of table, json"},
		{"status -o jsno", "did you mean \"json\"?"},
		{"status --wait-for compelte", "did you mean \"complete\"?"},
		{"traffic run f --with k7", "one of phoenix-traffic, k6; did you mean \"k6\"?"},
		{"pause", "ROUTE is missing: phoenixctl pause ROUTE"},
		{"weight set users", "WEIGHT is missing"},
		{"weight get a b", "\"b\" is one argument too many"},
		{"config schema x", "\"x\" is one argument too many: phoenixctl config schema"},
		{"config check f --admin x", "does not take the option --admin"},
		{"pause users --watch", "does not take the option --watch"},
	};
	struct ctl_line line;
	struct buf why = {0};
	for (size_t i = 0; i < ROWS(rows); i++) {
		CHECK_MSG(parse(rows[i].text, &line, &why) == CTL_USAGE, "%s", rows[i].text);
		CHECK_MSG(strstr(buf_cstr(&why), rows[i].says), "%s: \"%s\" does not say \"%s\"",
			  rows[i].text, buf_cstr(&why), rows[i].says);
	}
	char *argv[200] = {"phoenixctl", "diff", "ignore"};
	for (size_t i = 3; i < 200; i++)
		argv[i] = "/a";
	buf_reset(&why);
	CHECK_INT(ctl_line_parse(200, argv, &line, &why), CTL_USAGE);
	CHECK(strstr(buf_cstr(&why), "more than"));
	buf_fini(&why);
}

TEST(every_command_is_in_the_help)
{
	static const size_t widths[] = {60, 80, 100};
	struct buf help = {0};
	ctl_help(80, &help);
	for (const struct ctl_command *command = ctl_commands; command->words; command++) {
		char pattern[64];
		CHECK(command->run != NULL);
		snprintf(pattern, sizeof(pattern), "  %s", command->words);
		CHECK_MSG(!strstr(buf_cstr(&help), pattern) == ctl_command_is_hidden(command), "%s in --help",
			  command->words);
		for (size_t i = 0; i < ROWS(widths); i++) {
			struct buf own = {0};
			ctl_help_command(command, widths[i], &own);
			for (const char *line = buf_cstr(&own), *end; (end = strchr(line, '\n'));
			     line = end + 1)
				CHECK_MSG((size_t)(end - line) <= widths[i] ||
						  strstr(line, "usage:") == line ||
						  (memchr(line, '|', (size_t)(end - line)) && i < 2),
					  "too wide: %.*s", (int)(end - line), line);
			CHECK(own.len && own.data[own.len - 1] == '\n');
			buf_fini(&own);
		}
	}
#define X(name, value, text)                                                                                 \
	if ((value) < 128)                                                                                   \
		CHECK_MSG(strstr(buf_cstr(&help), text), "exit status %d is not in --help", (value));
	CTL_EXITS(X)
#undef X
	for (char *line = help.data, *end; (end = strchr(line, '\n')); line = end + 1)
		CHECK_MSG(end - line <= 80, "too wide: %.*s", (int)(end - line), line);
	buf_fini(&help);
}

/* The word with two letters in its middle changed places; false when that changes nothing or it is too short.
 */
static bool slip(const char *word, size_t len, char out[64])
{
	size_t i = len / 2;
	if (len < 4 || len > 60 || word[i] == word[i - 1])
		return false;
	snprintf(out, 64, "%.*s", (int)len, word);
	out[i] = word[i - 1];
	out[i - 1] = word[i];
	return true;
}

static void misspelt(const char *text, const char *right, size_t len)
{
	struct ctl_line line;
	struct buf why = {0};
	char says[96];
	int status = parse(text, &line, &why);
	snprintf(says, sizeof(says), "did you mean \"%.*s\"?", (int)len, right);
	CHECK_MSG(status == CTL_USAGE && strstr(buf_cstr(&why), says), "phoenixctl %s: %d, %s", text, status,
		  buf_cstr(&why));
	buf_fini(&why);
}

TEST(every_word_that_can_be_typed_is_proposed_for_a_slip)
{
	size_t count = 0;
	for (const struct ctl_command *command = ctl_commands; command->words; command++) {
		char text[256], wrong[64];
		const char *space = strchr(command->words, ' ');
		size_t first = space ? (size_t)(space - command->words) : strlen(command->words);
		if (ctl_command_is_hidden(command))
			continue;
		if (slip(command->words, first, wrong)) {
			snprintf(text, sizeof(text), "%s%s", wrong, command->words + first);
			misspelt(text, command->words, first);
			count++;
		}
		if (space && slip(space + 1, strlen(space + 1), wrong)) {
			snprintf(text, sizeof(text), "%.*s %s x", (int)first, command->words, wrong);
			misspelt(text, space + 1, strlen(space + 1));
			count++;
		}
		for (size_t i = 0; i < OPTION_COUNT; i++) {
			const struct option_row *row = &ctl_options[i];
			char right[64];
			if (!((command->options | OPTIONS_ALWAYS) & (UINT64_C(1) << i)))
				continue;
			snprintf(right, sizeof(right), "--%s", row->word);
			if (slip(row->word, strlen(row->word), wrong)) {
				snprintf(text, sizeof(text), "%s --%s", command->words, wrong);
				misspelt(text, right, strlen(right));
				count++;
			}
			struct slice rest =
				slice_str(row->value && strchr(row->value, '|') ? row->value : NULL);
			for (struct slice word; slice_split(&rest, '|', &word); count++) {
				if (!slip(word.ptr, word.len, wrong))
					continue;
				snprintf(text, sizeof(text), "%s --%s %s", command->words, row->word, wrong);
				misspelt(text, word.ptr, word.len);
			}
		}
	}
	CHECK_MSG(count > 200, "%zu", count);
}

/* What is offered for the last word, as "a b c". */
static const char *completed(const char *text, struct buf *out)
{
	static const char *words[WORDS_MAX];
	static char keep[256];
	struct ctl ctl = {0};
	struct buf lines = {0};
	size_t count = 0;

	snprintf(keep, sizeof(keep), "%s", text);
	for (char *rest = keep, *word; (word = strsep(&rest, " "));)
		words[count++] = word;
	ctl_complete(&ctl, words, count, &lines);
	client_close(ctl.client);
	buf_reset(out);
	for (struct slice rest = buf_slice(&lines), item; slice_split(&rest, '\n', &item);) {
		const char *tab = item.len ? memchr(item.ptr, '\t', item.len) : NULL;
		if (item.len)
			buf_printf(out, "%s%.*s", out->len ? " " : "",
				   (int)(tab ? tab - item.ptr : (long)item.len), item.ptr);
	}
	buf_fini(&lines);
	return buf_cstr(out);
}

TEST(what_a_word_can_become)
{
	static const struct {
		const char *typed, *offered;
	} rows[] = {
		{"sta", "status start"},
		{"route ", "ls add rm"},
		{"route x", ""},
		{"-o json rout", "route"},
		{"config s", "show schema"},
		{"config check ", ":files"},
		{"config check a ", ""},
		{"config show -o ", "table json"},
		{"config show --output=j", "--output=json"},
		{"status --wait-for r", "rolled-back"},
		{"status --wa", "--watch --wait-for"},
		{"status --watch --wa", "--wait-for"},
		{"pause --wa", ""},
		{"--adm", "--admin"},
		{"maps ", ":dirs"},
		{"trace GE", "GET"},
		{"help rou", "route"},
		{"help route ", "ls add rm"},
		{"traffic generate --from h", "har"},
		{"completion ", "bash zsh fish"},
		{"__c", ""},
		{"explode ", ""},
		{"status --explode ", ""},
	};
	struct buf out = {0};
	for (size_t i = 0; i < ROWS(rows); i++)
		CHECK_MSG(strcmp(completed(rows[i].typed, &out), rows[i].offered) == 0,
			  "%s: \"%s\", not \"%s\"", rows[i].typed, buf_cstr(&out), rows[i].offered);
	/* Every command is reached word by word, every option of it is offered. */
	for (const struct ctl_command *command = ctl_commands; command->words; command++) {
		char typed[128];
		if (ctl_command_is_hidden(command))
			continue;
		completed(command->words, &out);
		const char *last = strrchr(command->words, ' ');
		CHECK_MSG(strstr(buf_cstr(&out), last ? last + 1 : command->words), "%s", command->words);
		snprintf(typed, sizeof(typed), "%s --", command->words);
		completed(typed, &out);
		for (size_t i = 0; i < OPTION_COUNT; i++) {
			char option[64];
			snprintf(option, sizeof(option), "--%s", ctl_options[i].word);
			if (command->options & (UINT64_C(1) << i))
				CHECK_MSG(strstr(buf_cstr(&out), option), "%s %s", command->words, option);
		}
	}
	buf_fini(&out);
}

UNIT_MAIN

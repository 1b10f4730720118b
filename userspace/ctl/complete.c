/* SPDX-License-Identifier: Apache-2.0 */
/*
 * complete: what the word under the cursor can become.
 *
 * The shells ask this program (`phoenixctl __complete -- WORD...`, the last word being the one to complete),
 * so that the tables that read a command line also complete it, and ids come from the daemon that the line
 * names. The scripts only carry words. Whatever goes wrong is silence: a completion must not disturb who
 * types, so the daemon has half a second, and an id that a shell could misread is left out.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/talk.h"
#include "config_value.h"

#include <ctype.h>
#include <stdlib.h>

#define ASK_TIMEOUT_MS 500u

struct completion {
	struct ctl *ctl;
	struct ctl_line line; /* what was typed before the cursor */
	const char *words[CTL_ARGUMENTS_MAX];
	size_t count;
	const char *current; /* what is to be completed */
	const char *prefix;  /* "--option=" before it, "" = none; not NUL-terminated */
	size_t prefix_len;
	struct buf *out;
};

/* Nothing in it that a shell would expand, split or quote. */
static bool is_plain(const char *word)
{
	return *word &&
	       !word[strspn(word,
			    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/*~:@%+,=")];
}

static void offer(struct completion *c, const char *word, const char *help)
{
	if (strncmp(word, c->current, strlen(c->current)) != 0 || !is_plain(word))
		return;
	buf_append(c->out, c->prefix, c->prefix_len);
	buf_append_str(c->out, word);
	if (help && *help) {
		buf_append_char(c->out, '\t');
		format_clean(c->out, help);
	}
	buf_append_char(c->out, '\n');
}

static void offer_words(struct completion *c, const char *words)
{
	for (struct slice rest = slice_str(words), item; slice_split(&rest, '|', &item);) {
		char word[64];
		snprintf(word, sizeof(word), "%.*s", SLICE_ARG(item));
		offer(c, word, NULL);
	}
}

/* The daemon's answer, or NULL. New reference. */
static json_t *ask(struct completion *c, const char *path)
{
	struct answer answer;
	json_t *json = NULL;

	if (!c->ctl->client && talk_connect(c->ctl, &c->line) != CTL_DONE)
		return NULL;
	if (client_call(c->ctl->client, "GET", path, NULL, NULL, ASK_TIMEOUT_MS, &answer) == CTL_DONE)
		json = json_incref(answer.json);
	answer_fini(&answer);
	return json;
}

/* `name` of each element of the list `list` at `path`, with its `help`. */
static void offer_list(struct completion *c, const char *path, const char *list, const char *name,
		       const char *help)
{
	json_t *answer = ask(c, path), *item;
	size_t i;
	json_array_foreach(field(answer, list), i, item)
	{
		const char *id = json_is_string(item) ? json_string_value(item) : field_text(item, name, "");
		if (id[0] != '-') /* it would be taken for an option */
			offer(c, id, field_text(item, help, ""));
	}
	json_decref(answer);
}

/* What differs on the route that was typed before. */
static void offer_pointers(struct completion *c)
{
	char *path =
		c->count ? client_path("/admin/routes/%s/diffs", c->words[c->count > 2 ? 2 : c->count - 1])
			 : NULL;
	if (path)
		offer_list(c, path, "groups", "pointer", "kind");
	free(path);
}

static void offer_methods(struct completion *c)
{
	for (const char *const *word = config_method_words; *word; word++)
		offer(c, *word, NULL);
}

/* Whether the first `len` bytes of the command's words are `words` of its own: "route" of "route ls". */
static bool begins_with(const struct ctl_command *command, const char *words, size_t len)
{
	return strncmp(command->words, words, len) == 0 &&
	       (command->words[len] == ' ' || !command->words[len]);
}

/* The words that can follow `words` in a command's name, each once. */
static void offer_commands(struct completion *c, const char *const *words, size_t count)
{
	for (const struct ctl_command *command = ctl_commands; command->words; command++) {
		struct slice rest = slice_str(command->words), item = {0};
		bool there = !ctl_command_is_hidden(command);
		for (size_t i = 0; i < count && there; i++)
			there = slice_split(&rest, ' ', &item) && slice_equal(item, slice_str(words[i]));
		if (!there || !slice_split(&rest, ' ', &item))
			continue;
		size_t len = (size_t)(item.ptr + item.len - command->words);
		const char *help = NULL;
		for (const struct ctl_command *other = ctl_commands; other->words && there; other++) {
			there = other >= command || !begins_with(other, command->words, len);
			if (strlen(other->words) == len && begins_with(other, command->words, len))
				help = other->help;
		}
		char word[32];
		snprintf(word, sizeof(word), "%.*s", SLICE_ARG(item));
		if (there)
			offer(c, word, help);
	}
}

/* What a word of the tables stands for: an argument of a command ("ROUTE") or the value of an option. */
static void offer_kind(struct completion *c, const char *kind)
{
	if (strchr(kind, '|') && islower((unsigned char)kind[0]))
		offer_words(c, kind);
	if (strstr(kind, "ROUTE"))
		offer_list(c, "/admin/routes", "routes", "id", "headline");
	if (strstr(kind, "FILE"))
		buf_append_str(c->out, ":files\n");
	if (strstr(kind, "PIN_DIR"))
		buf_append_str(c->out, ":dirs\n");
	if (strstr(kind, "INTERFACE"))
		offer_list(c, "/admin/datapath", "xdp.interfaces", "name", "mode");
	if (strcmp(kind, "MIGRATION") == 0)
		offer_list(c, "/admin/migrations", "migrations", "id", "headline");
	if (strcmp(kind, "POINTER") == 0 || strcmp(kind, "GROUP") == 0)
		offer_pointers(c);
	if (strcmp(kind, "METHOD") == 0)
		offer_methods(c);
	if (strcmp(kind, "COMMAND") == 0)
		offer_commands(c, c->words + 1, c->count - 1);
}

/* The argument that comes after `given` of them, without its brackets. */
static void offer_argument(struct completion *c, const struct ctl_command *command, size_t given)
{
	struct slice rest = slice_str(command->arguments), item = {0};
	char kind[32];
	size_t at = 0;

	do {
		if (!slice_split(&rest, ' ', &item) || item.len == 0)
			return;
	} while (at++ < given && item.ptr[item.len - 1] != '.');
	if (at <= given && item.ptr[item.len - 1] != '.')
		return;
	struct slice name = item;
	while (name.len && strchr("[", name.ptr[0]))
		name.ptr++, name.len--;
	while (name.len && strchr("].", name.ptr[name.len - 1]))
		name.len--;
	snprintf(kind, sizeof(kind), "%.*s", SLICE_ARG(name));
	offer_kind(c, kind);
}

static void offer_options(struct completion *c, const struct ctl_command *command)
{
	uint64_t which = command ? command->options | OPTIONS_ALWAYS
				 : OPTIONS_DAEMON | OPTIONS_ALWAYS | OPTION_BIT(OUTPUT);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char word[48];
		snprintf(word, sizeof(word), "--%s", ctl_options[i].word);
		if ((which & (UINT64_C(1) << i)) && !c->line.options[i])
			offer(c, word, ctl_options[i].help);
	}
}

/* The row whose value the word under the cursor is: of "--option VALUE" or "--option=VALUE". NULL: none. */
static const struct option_row *option_at_cursor(struct completion *c, const char *before)
{
	const char *equal = strchr(c->current, '=');
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &ctl_options[i];
		size_t len = strlen(row->word);
		if (!row->value)
			continue;
		if (before &&
		    (before[0] == '-' && before[1] == '-'
			     ? strcmp(before + 2, row->word) == 0
			     : before[0] == '-' && row->letter && before[1] == row->letter && !before[2]))
			return row;
		if (equal && strncmp(c->current, "--", 2) == 0 && (size_t)(equal - c->current) == len + 2 &&
		    strncmp(c->current + 2, row->word, len) == 0) {
			c->prefix = c->current;
			c->prefix_len = len + 3;
			c->current = equal + 1;
			return row;
		}
	}
	return NULL;
}

/* Options and words before the cursor; what is wrong with them is not said here. */
static void read_before(struct completion *c, const char *const *words, size_t count)
{
	char *argv[CTL_ARGUMENTS_MAX + 1] = {"phoenixctl"};
	struct buf why = {0};
	const char *value;
	size_t at;

	for (size_t i = 0; i < count; i++)
		argv[i + 1] = (char *)words[i];
	struct option_reader reader = {ctl_options, OPTION_COUNT, (int)count + 1, argv, 1, false, NULL};
	for (enum option_result got; (got = option_next(&reader, &at, &value, &why)) != OPTION_NONE;) {
		if (got == OPTION_WORD)
			c->words[c->count++] = value;
		else if (got == OPTION_GIVEN)
			c->line.options[at] = value;
		else
			buf_reset(&why);
	}
	buf_fini(&why);
}

void ctl_complete(struct ctl *ctl, const char *const *words, size_t count, struct buf *out)
{
	struct completion c = {
		.ctl = ctl, .current = count ? words[count - 1] : "", .prefix = "", .out = out};
	size_t used = 0;

	if (count == 0 || count > CTL_ARGUMENTS_MAX)
		return;
	const struct option_row *row = option_at_cursor(&c, count > 1 ? words[count - 2] : NULL);
	read_before(&c, words, count - 1 - (row && !c.prefix_len));
	if (row) {
		offer_kind(&c, row->value);
		return;
	}
	const struct ctl_command *command = ctl_command_find(c.words, c.count, &used);
	if (c.current[0] == '-') {
		offer_options(&c, command);
		return;
	}
	offer_commands(&c, c.words, c.count);
	if (command)
		offer_argument(&c, command, c.count - used);
}

int run_complete(struct ctl *ctl, const struct ctl_line *line)
{
	struct buf out = {0};
	ctl_complete(ctl, line->arguments, line->argument_count, &out);
	talk_write(ctl, &out);
	return CTL_DONE;
}

static const char bash_script[] =
	"# bash completion of phoenixctl; use: source <(phoenixctl completion bash)\n"
	"_phoenixctl() {\n"
	"\tlocal line word i cur cut= words=() ask=${COMP_WORDS[0]}\n"
	"\tCOMPREPLY=()\n"
	"\t# bash takes words apart at = and : -- put them together again, and give only the last piece "
	"back.\n"
	"\tfor ((i = 1; i <= COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif ((i > 1)) && [[ $word == [=:]* || ${COMP_WORDS[i-1]} == [=:] ]]; then\n"
	"\t\t\twords[${#words[@]}-1]+=$word\n"
	"\t\telse\n"
	"\t\t\twords+=(\"$word\")\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tcur=${words[${#words[@]}-1]}\n"
	"\t[[ $cur == \"${COMP_WORDS[COMP_CWORD]}\" ]] || cut=${cur%\"${cur##*[=:]}\"}\n"
	"\ttype -P \"$ask\" >/dev/null || ask=phoenixctl\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t:files | :dirs)\n"
	"\t\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\t\twhile IFS= read -r word; do\n"
	"\t\t\t\tCOMPREPLY+=(\"$word\")\n"
	"\t\t\tdone < <(compgen \"-${line:1:1}\" -- \"${cur#\"$cut\"}\")\n"
	"\t\t\t;;\n"
	"\t\t*)\n"
	"\t\t\tline=${line%%$'\\t'*}\n"
	"\t\t\tCOMPREPLY+=(\"${line#\"$cut\"}\")\n"
	"\t\t\t;;\n"
	"\t\tesac\n"
	"\tdone < <(\"$ask\" __complete -- \"${words[@]}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _phoenixctl phoenixctl\n";

static const char zsh_script[] =
	"#compdef phoenixctl\n"
	"# zsh completion of phoenixctl; use: source <(phoenixctl completion zsh)\n"
	"_phoenixctl() {\n"
	"\tlocal line\n"
	"\tlocal -a found\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t:files) _files ;;\n"
	"\t\t:dirs) _files -/ ;;\n"
	"\t\t*$'\\t'*) found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"\t\t*) found+=(\"${line//:/\\\\:}\") ;;\n"
	"\t\tesac\n"
	"\tdone < <(\"${words[1]}\" __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
	"\tif (( $#found )); then _describe -V phoenixctl found; fi\n"
	"}\n"
	"if [[ $funcstack[1] == _phoenixctl ]]; then\n"
	"\t_phoenixctl \"$@\"\n"
	"else\n"
	"\tcompdef _phoenixctl phoenixctl\n"
	"fi\n";

static const char fish_script[] =
	"# fish completion of phoenixctl; use: phoenixctl completion fish | source\n"
	"function __phoenixctl_complete\n"
	"\tset -l words (commandline -opc) (commandline -ct)\n"
	"\tfor line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)\n"
	"\t\tswitch $line\n"
	"\t\t\tcase :files\n"
	"\t\t\t\t__fish_complete_path (commandline -ct)\n"
	"\t\t\tcase :dirs\n"
	"\t\t\t\t__fish_complete_directories (commandline -ct)\n"
	"\t\t\tcase '*'\n"
	"\t\t\t\techo $line\n"
	"\t\tend\n"
	"\tend\n"
	"end\n"
	"complete -c phoenixctl -f -a '(__phoenixctl_complete)'\n";

int run_completion(struct ctl *ctl, const struct ctl_line *line)
{
	struct buf out = {0};
	bool zsh = strstr(line->command->words, "zsh"), fish = strstr(line->command->words, "fish");
	buf_append_str(&out, zsh ? zsh_script : fish ? fish_script : bash_script);
	return talk_write(ctl, &out);
}

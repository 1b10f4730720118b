/* SPDX-License-Identifier: Apache-2.0 */
/* evidence: on what a route is judged: the ledger of decisions, and the differences that were found. */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/parse.h"
#include "ctl/talk.h"
#include "config_report.h"

#include <stdlib.h>

#define EXAMPLES_SHOWN	3
#define BODY_COLUMNS	400
#define IGNORE_ATTEMPTS 4

/* The value of -n, or `otherwise`. CTL_DONE or CTL_USAGE. */
static int read_limit(const struct ctl *ctl, const struct ctl_line *line, uint64_t otherwise, uint64_t *limit)
{
	struct buf why = {0};
	*limit = otherwise;
	if (!line->options[OPTION_LIMIT])
		return CTL_DONE;
	if (parse_count("--limit", line->options[OPTION_LIMIT], 1, 100000, limit, &why) == 0)
		return CTL_DONE;
	talk_error(ctl, "%s", buf_cstr(&why));
	buf_fini(&why);
	return CTL_USAGE;
}

/* Two decimals, or a dash for what is unknown. */
static void figure_cell(struct table *table, double figure, const char *unit)
{
	if (isfinite(figure))
		table_cell(table, TINT_NONE, "%.2f%s", figure, unit);
	else
		table_cell(table, TINT_NONE, "-");
}

static void decision_row(struct table *table, const json_t *decision, size_t index)
{
	const char *action = field_text(decision, "action", "?");
	enum tint tint = strcmp(action, "rollback") == 0   ? TINT_RED
			 : strcmp(action, "promote") == 0  ? TINT_GREEN
			 : strcmp(action, "complete") == 0 ? TINT_GREEN
							   : TINT_NONE;
	struct buf weight = {0};

	format_percent(&weight, field_number(decision, "weight_old"));
	buf_append_str(&weight, " -> ");
	format_percent(&weight, field_number(decision, "weight_new"));
	table_cell(table, TINT_DIM, "%s", field_text(decision, "at", "?"));
	table_cell(table, tint, "%s", action);
	table_cell(table, TINT_NONE, "%s", buf_cstr(&weight));
	table_cell(table, TINT_NONE, "%llu", (unsigned long long)field_count(decision, "n"));
	table_cell(table, TINT_NONE, "%llu", (unsigned long long)field_count(decision, "mismatches"));
	figure_cell(table, field_number(decision, "wilson_lower") * 100, "%");
	figure_cell(table, field_number(decision, "llr"), "");
	table_cell(table, TINT_NONE, "%s", field_text(decision, "by", "?"));
	table_cell(table, TINT_DIM, "%s", field_text(decision, "on", "-"));
	table_cell(table, TINT_NONE, "%s", field_text(decision, "reason", ""));
	buf_fini(&weight);
}

int run_decisions(struct ctl *ctl, const struct ctl_line *line)
{
	static const struct listing listing = {"decisions",
					       {{"AT", false},
						{"ACTION", false},
						{"WEIGHT", false},
						{"SAMPLES", true},
						{"MISMATCHES", true},
						{"AT LEAST", true},
						{"LIKELIHOOD", true},
						{"BY", false},
						{"ON", false},
						{"REASON", false}},
					       10,
					       4,
					       decision_row,
					       "nothing was decided yet"};
	json_t *answer = NULL;
	uint64_t limit;
	char format[64];

	int status = read_limit(ctl, line, 50, &limit);
	if (status)
		return status;
	snprintf(format, sizeof(format), "/admin/routes/%%s/decisions?limit=%llu", (unsigned long long)limit);
	status = talk_route(ctl, "decisions of", "GET", format, line->arguments[0], NULL, &answer);
	if (status == CTL_DONE)
		status = talk_list(ctl, &listing, answer);
	json_decref(answer);
	return status;
}

static void place_row(struct table *table, const json_t *place, size_t index)
{
	bool ignored = field_true(place, "ignored");
	table_cell(table, TINT_NONE, "%llu", (unsigned long long)field_count(place, "count"));
	table_cell(table, TINT_NONE, "%s", field_text(place, "kind", "?"));
	table_cell(table, ignored ? TINT_DIM : TINT_BOLD, "%s", field_text(place, "pointer", "-"));
	table_cell(table, ignored ? TINT_DIM : TINT_YELLOW, "%s",
		   ignored			   ? "ignored"
		   : field_true(place, "proposed") ? "proposed to ignore"
						   : "");
}

/* Where legacy disagrees with itself: what differs there says nothing about modern. */
static void append_noise(const struct ctl *ctl, const char *route, const json_t *noise, struct buf *out)
{
	static const struct listing listing = {
		"", {{"COUNT", true}, {"KIND", false}, {"POINTER", false}, {"", false}}, 4, 0, place_row, ""};

	if (json_array_size(field(noise, "places")) == 0)
		return;
	buf_printf(out, "%slegacy against itself: %llu of %llu answers differ\n", out->len ? "\n" : "",
		   (unsigned long long)field_count(noise, "differing"),
		   (unsigned long long)field_count(noise, "samples"));
	talk_table(ctl, &listing, field(noise, "places"), out);
	if (json_array_size(field(noise, "proposed")))
		talk_note(ctl, "\"phoenixctl diff ignore %s --proposed\" ignores what is proposed", route);
}

static void group_row(struct table *table, const json_t *group, size_t index)
{
	bool ignored = field_true(group, "ignored");
	enum tint tint = ignored ? TINT_DIM : TINT_NONE;
	table_cell(table, tint, "%zu", index + 1);
	table_cell(table, tint, "%llu", (unsigned long long)field_count(group, "count"));
	table_cell(table, tint, "%s", field_text(group, "kind", "?"));
	table_cell(table, ignored ? TINT_DIM : TINT_BOLD, "%s", field_text(group, "pointer", "-"));
	table_cell(table, tint, "%s", field_text(group, "last_at", "-"));
	table_cell(table, tint, "%s", ignored ? "ignored" : "");
}

int run_diff_ls(struct ctl *ctl, const struct ctl_line *line)
{
	static const struct listing listing = {"groups",
					       {{"GROUP", true},
						{"COUNT", true},
						{"KIND", false},
						{"POINTER", false},
						{"LAST SEEN", false},
						{"", false}},
					       6,
					       0,
					       group_row,
					       ""};
	json_t *answer = NULL;
	struct buf out = {0};

	int status = talk_route(ctl, "differences of", "GET", "/admin/routes/%s/diffs", line->arguments[0],
				NULL, &answer);
	if (status)
		return status;
	if (ctl->json) {
		status = talk_json(ctl, answer);
	} else {
		if (json_array_size(field(answer, "groups")))
			talk_table(ctl, &listing, field(answer, "groups"), &out);
		else
			talk_note(ctl, "no differences in %llu samples",
				  (unsigned long long)field_count(answer, "samples"));
		append_noise(ctl, line->arguments[0], field(answer, "noise"), &out);
		status = talk_write(ctl, &out);
	}
	json_decref(answer);
	return status;
}

static void example_row(struct buf *out, const struct ctl *ctl, const char *name, enum tint tint,
			const char *text)
{
	struct buf flat = {0}, clean = {0};
	size_t bytes = 0, columns = 0;

	for (const char *p = text; *p; p++) /* an indented body is shown on one line */
		if (!strchr(" \t\r\n", *p))
			buf_append_char(&flat, *p);
		else if (flat.len && flat.data[flat.len - 1] != ' ')
			buf_append_char(&flat, ' ');
	format_clean(&clean, buf_cstr(&flat));
	buf_fini(&flat);
	buf_cstr(&clean);
	for (; bytes < clean.len &&
	       (columns < BODY_COLUMNS || ((unsigned char)clean.data[bytes] & 0xc0) == 0x80);
	     bytes++)
		columns += ((unsigned char)clean.data[bytes] & 0xc0) != 0x80;
	tint_printf(out, ctl->out.colour, TINT_DIM, "    %-9s", name);
	tint_begin(out, ctl->out.colour, tint);
	buf_append(out, clean.data, bytes);
	tint_end(out, ctl->out.colour, tint);
	buf_append_str(out, bytes < clean.len ? " ...\n" : "\n");
	buf_fini(&clean);
}

static void screen_example(const struct ctl *ctl, const json_t *example, struct buf *out)
{
	struct buf text = {0};

	buf_append_str(out, "  ");
	format_clean(out, field_text(example, "at", "?"));
	buf_append_char(out, ' ');
	format_clean(out, field_text(example, "method", "?"));
	buf_append_char(out, ' ');
	format_clean(out, field_text(example, "target", "?"));
	buf_append_str(out, ", request ");
	format_clean(out, field_text(example, "request_id", "?"));
	buf_append_str(out, ", served by ");
	format_clean(out, field_text(example, "side", "?"));
	buf_append_char(out, '\n');
	if (field_text(example, "pointer", NULL))
		example_row(out, ctl, "at", TINT_NONE, field_text(example, "pointer", ""));
	buf_printf(&text, "%llu  %s", (unsigned long long)field_count(example, "legacy_status"),
		   field_text(example, "legacy", "-"));
	example_row(out, ctl, "legacy", TINT_GREEN, buf_cstr(&text));
	buf_reset(&text);
	buf_printf(&text, "%llu  %s", (unsigned long long)field_count(example, "modern_status"),
		   field_text(example, "modern", "-"));
	example_row(out, ctl, "modern", TINT_RED, buf_cstr(&text));
	if (*field_text(example, "request", ""))
		example_row(out, ctl, "request", TINT_NONE, field_text(example, "request", ""));
	if (*field_text(example, "legacy_body", ""))
		example_row(out, ctl, "legacy <", TINT_NONE, field_text(example, "legacy_body", ""));
	if (*field_text(example, "modern_body", ""))
		example_row(out, ctl, "modern <", TINT_NONE, field_text(example, "modern_body", ""));
	buf_fini(&text);
}

/* Whether `wanted` (a number of `diff ls`, a pointer or a key; NULL = all) means this group. */
static bool group_wanted(const json_t *group, size_t index, const char *wanted)
{
	char number[24];
	snprintf(number, sizeof(number), "%zu", index + 1);
	return !wanted || strcmp(wanted, number) == 0 ||
	       strcmp(wanted, field_text(group, "pointer", "")) == 0 ||
	       strcmp(wanted, field_text(group, "key", "")) == 0;
}

int run_diff_show(struct ctl *ctl, const struct ctl_line *line)
{
	const char *wanted = line->argument_count > 1 ? line->arguments[1] : NULL;
	json_t *answer = NULL, *group, *chosen = json_array();
	struct buf out = {0};
	uint64_t limit;
	size_t i;

	int status = read_limit(ctl, line, EXAMPLES_SHOWN, &limit);
	if (status == CTL_DONE)
		status = talk_route(ctl, "differences of", "GET", "/admin/routes/%s/diffs",
				    line->arguments[0], NULL, &answer);
	if (status)
		goto out;
	json_array_foreach(field(answer, "groups"), i, group)
	{
		json_t *examples = field(group, "examples");
		if (!group_wanted(group, i, wanted))
			continue;
		json_array_append(chosen, group);
		buf_printf(&out, "%s%zu  ", out.len ? "\n" : "", i + 1);
		tint_begin(&out, ctl->out.colour, TINT_BOLD);
		format_clean(&out, field_text(group, "key", "?"));
		tint_end(&out, ctl->out.colour, TINT_BOLD);
		buf_printf(&out, ", %llu times%s\n", (unsigned long long)field_count(group, "count"),
			   field_true(group, "ignored") ? ", ignored" : "");
		for (size_t k = 0; k < json_array_size(examples) && k < limit; k++)
			screen_example(ctl, json_array_get(examples, k), &out);
	}
	if (wanted && json_array_size(chosen) == 0) {
		talk_error(ctl, "there is no group %s; \"phoenixctl diff ls %s\" lists them",
			   quote(slice_str(wanted)).text, line->arguments[0]);
		status = CTL_USAGE;
	} else if (ctl->json) {
		json_object_set(answer, "groups", chosen);
		status = talk_json(ctl, answer);
	} else {
		status = talk_write(ctl, &out);
	}
out:
	buf_fini(&out);
	json_decref(chosen);
	json_decref(answer);
	return status;
}

/* The list with the pointers of the command line added or taken off. New reference. */
static json_t *edited_list(const json_t *before, const json_t *proposed, const struct ctl_line *line)
{
	bool remove = line->options[OPTION_REMOVE] != NULL;
	json_t *after = json_array(), *item;
	size_t i;

	json_array_foreach(before, i, item)
	{
		bool named = false;
		for (size_t k = 1; k < line->argument_count; k++)
			named = named || strcmp(line->arguments[k], json_string_value(item) ?: "") == 0;
		if (!named || !remove)
			json_array_append(after, item);
	}
	for (size_t k = 1; k < line->argument_count && !remove; k++) {
		bool there = false;
		json_array_foreach(after, i, item) there =
			there || strcmp(line->arguments[k], json_string_value(item) ?: "") == 0;
		if (!there)
			json_array_append_new(after, json_string(line->arguments[k]));
	}
	if (line->options[OPTION_PROPOSED] && !remove)
		json_array_extend(after, (json_t *)proposed); /* none of them is on the list yet */
	return after;
}

static int print_ignores(const struct ctl *ctl, const json_t *list, const json_t *answer)
{
	struct buf out = {0};
	json_t *item;
	size_t i;

	if (ctl->json)
		return talk_json(ctl, answer);
	json_array_foreach(list, i, item)
	{
		format_clean(&out, json_string_value(item) ?: "?");
		buf_append_char(&out, '\n');
	}
	if (field(answer, "would_change"))
		talk_note(ctl, "%s %llu groups with %llu mismatches; %llu still differ",
			  field_true(answer, "dry_run") ? "dry run, nothing changed: this would silence"
							: "from now on this silences",
			  (unsigned long long)field_count(answer, "would_change.groups_silenced"),
			  (unsigned long long)field_count(answer, "would_change.mismatches_silenced"),
			  (unsigned long long)field_count(answer, "would_change.still_mismatching"));
	if (i == 0)
		talk_note(ctl, "nothing is ignored");
	return talk_write(ctl, &out);
}

/* One read-edit-write of the list; the etag makes sure that nobody else's edit in between is lost. */
static int ignore_once(struct ctl *ctl, const struct ctl_line *line, const char *read, const char *write,
		       struct answer *answer)
{
	int status = client_call(ctl->client, "GET", read, NULL, NULL, TALK_TIMEOUT_MS, answer);
	if (status)
		return status;
	json_t *before = field(answer->json, "config.compare.ignore");
	if (!before)
		before = field(answer->json, "consistency.ignored_pointers");
	if (line->argument_count == 1 && !line->options[OPTION_PROPOSED])
		return print_ignores(ctl, before, before);

	char etag[sizeof(answer->etag)];
	const char *member = field_text(answer->json, "etag", "");
	/* The member is shown without or with its quotes; the header is exact. */
	snprintf(etag, sizeof(etag), "%s", *answer->etag ? answer->etag : *member == '"' ? member : "");
	json_t *body = talk_reason(line);
	json_object_set_new(body, "ignore",
			    edited_list(before, field(answer->json, "consistency.noise.proposed"), line));
	answer_fini(answer);
	status = client_call(ctl->client, "PUT", write, body, etag, TALK_TIMEOUT_MS, answer);
	json_decref(body);
	return status ? status : print_ignores(ctl, field(answer->json, "ignore"), answer->json);
}

int run_diff_ignore(struct ctl *ctl, const struct ctl_line *line)
{
	struct answer answer = {0};
	struct buf why = {0};
	int status = CTL_CONFLICT;

	for (size_t i = 1; i < line->argument_count; i++)
		if (parse_pointer(line->arguments[i], &why) < 0) {
			talk_error(ctl, "%s", buf_cstr(&why));
			buf_fini(&why);
			return CTL_USAGE;
		}
	char *read = client_path("/admin/routes/%s", line->arguments[0]);
	char *write = client_path(line->options[OPTION_DRY_RUN] ? "/admin/routes/%s/ignore?dry_run=true"
								: "/admin/routes/%s/ignore",
				  line->arguments[0]);
	for (int i = 0; i < IGNORE_ATTEMPTS && read && write; i++) {
		answer_fini(&answer);
		status = ignore_once(ctl, line, read, write, &answer);
		if (answer.status != 412) /* somebody was faster: read again */
			break;
	}
	if (status && answer.message.len)
		talk_error(ctl, "ignore list of %s: %s", line->arguments[0], buf_cstr(&answer.message));
	if (answer.status == 404)
		status = talk_unknown_id(ctl, "/admin/routes/", line->arguments[0]);
	answer_fini(&answer);
	free(read);
	free(write);
	return status;
}

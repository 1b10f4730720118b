/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate: hands a spec to the daemon's pipeline and follows it to its end.
 *
 * The spec is checked here, with the daemon's own code, so that mistakes have a line and a column. Following
 * is polling: the log's lines have numbers, so nothing is printed twice and a restart of the daemon loses
 * nothing.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/parse.h"
#include "ctl/progress.h"
#include "ctl/talk.h"
#include "base/clock.h"
#include "pipeline/spec.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#define SPEC_TEXT_BYTES_MAX (16u << 20)
#define LOOK_INTERVAL_MS    250
#define LOOK_TIMEOUT_MS	    5000

/* The folder that the spec lies in. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return realpath(".", NULL);
	char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	char *real = folder ? realpath(folder, NULL) : NULL;
	free(folder);
	return real;
}

static int load_spec(struct ctl *ctl, const char *path, struct spec **spec)
{
	struct buf text = {0}, lines = {0};
	int err = talk_read_text(path, SPEC_TEXT_BYTES_MAX, &text);
	if (err) {
		talk_unreadable(ctl, path, err, SPEC_TEXT_BYTES_MAX);
	} else {
		char *base = folder_of(path);
		err = spec_parse(strcmp(path, "-") ? path : "stdin", buf_slice(&text), base ? base : "/",
				 spec, &lines);
		talk_lines(ctl, &lines);
		free(base);
	}
	buf_fini(&text);
	buf_fini(&lines);
	return err ? CTL_BAD_CONFIG : CTL_DONE;
}

struct following {
	struct ctl *ctl;
	const char *id;
	uint64_t since, deadline_ns;
	char last[512]; /* the headline that was printed last */
	bool away;
	struct progress progress;
};

/* To stdout, which is what one looks at; with -o json stdout is for the end's JSON. */
static int print(struct following *f, struct buf *out)
{
	if (out->len)
		progress_hide(&f->progress);
	if (!f->ctl->json)
		return talk_write(f->ctl, out);
	talk_lines(f->ctl, out);
	buf_fini(out);
	return CTL_DONE;
}

static void padded(struct buf *out, const char *text, size_t columns)
{
	size_t before = out->len;
	format_clean(out, text);
	size_t used = format_columns(out->data + before, out->len - before);
	buf_printf(out, "%*s", (int)(used < columns ? columns - used : 0), "");
}

static int print_news(struct following *f, const json_t *answer)
{
	struct buf out = {0};
	char now[512];
	json_t *line;
	size_t i;
	json_array_foreach(field(answer, "log"), i, line)
	{
		tint_begin(&out, f->ctl->out.colour, TINT_DIM);
		padded(&out, field_text(line, "stage", "?"), sizeof("rolled_back"));
		tint_end(&out, f->ctl->out.colour, TINT_DIM);
		format_clean(&out, field_text(line, "text", ""));
		buf_append_char(&out, '\n');
		f->since = field_count(line, "number");
	}
	const char *headline = field_text(answer, "headline", "?"), *state = field_text(answer, "state", "");
	snprintf(now, sizeof(now), "%s", headline);
	if (strcmp(now, f->last) != 0) {
		snprintf(f->last, sizeof(f->last), "%s", now);
		tint_begin(&out, f->ctl->out.colour, tint_of_state(state));
		format_clean(&out, f->id);
		buf_append_str(&out, ": ");
		format_clean(&out, headline);
		tint_end(&out, f->ctl->out.colour, tint_of_state(state));
		const char *detail = field_text(answer, "detail", "");
		if (*detail && strcmp(state, "deploying") != 0) {
			buf_append_str(&out, ": ");
			format_clean(&out, detail);
		}
		buf_append_char(&out, '\n');
	}
	return print(f, &out);
}

/* The stages that are done, and of "migrate" the share of traffic that was shifted. */
static double done_ratio(struct following *f, const json_t *answer)
{
	double done = 0;
	json_t *stage, *stages = field(answer, "stages");
	size_t i;
	json_array_foreach(stages, i, stage)
	{
		bool running = strcmp(field_text(stage, "status", ""), "running") == 0;
		done += strcmp(field_text(stage, "status", ""), "done") == 0;
		if (running && strcmp(field_text(stage, "stage", ""), "migrate") == 0) {
			char *path = client_path("/admin/routes/%s/weight", f->id);
			struct answer weight = {0};
			if (path && client_call(f->ctl->client, "GET", path, NULL, NULL, LOOK_TIMEOUT_MS,
						&weight) == CTL_DONE)
				done += field_number(weight.json, "set") > 0
						? field_number(weight.json, "set")
						: 0;
			answer_fini(&weight);
			free(path);
		}
	}
	return i ? done / (double)i : 0;
}

static void show_progress(struct following *f, const json_t *answer)
{
	struct buf text = {0};
	if (!f->ctl->err.redraws)
		return;
	buf_printf(&text, "%s: %s", f->id, field_text(answer, "headline", "?"));
	if (*field_text(answer, "detail", ""))
		buf_printf(&text, ": %s", field_text(answer, "detail", ""));
	progress_show(&f->progress, done_ratio(f, answer), buf_cstr(&text));
	buf_fini(&text);
}

static int conclude(struct following *f, const json_t *answer)
{
	bool lost = strcmp(field_text(answer, "stage", ""), "rolled_back") == 0;
	json_t *first = json_array_get(field(answer, "cases"), 0);
	if (lost && first && !f->ctl->json) {
		struct buf out = {0};
		buf_append_str(&out, "smallest failing example, for \"verify\" of the next spec: ");
		format_clean(&out, field_text(first, "file", "?"));
		buf_append_char(&out, '\n');
		talk_write(f->ctl, &out);
	}
	if (f->ctl->json)
		talk_json(f->ctl, answer);
	return lost ? CTL_ROLLED_BACK : CTL_DONE;
}

/* -1: go on. */
static int look(struct following *f)
{
	struct ctl *ctl = f->ctl;
	char *base = client_path("/admin/migrations/%s", f->id), path[300];
	struct answer answer;
	snprintf(path, sizeof(path), "%s?since=%llu", base ? base : "", (unsigned long long)f->since);
	free(base);
	int status = client_call(ctl->client, "GET", path, NULL, NULL, LOOK_TIMEOUT_MS, &answer), result = -1;
	if (status == CTL_DONE) {
		bool over = field_true(answer.json, "over");
		if (f->away)
			talk_note(ctl, "daemon reachable again");
		f->away = false;
		result = print_news(f, answer.json);
		if (result == CTL_DONE && !over)
			show_progress(f, answer.json);
		else
			progress_hide(&f->progress);
		result = result != CTL_DONE ? result : over ? conclude(f, answer.json) : -1;
	} else if (status == CTL_UNREACHABLE || answer.status >= 500) {
		progress_hide(&f->progress);
		if (!f->away)
			talk_note(ctl, "daemon not reachable, retrying");
		f->away = true;
	} else if (!*ctl->interrupted) {
		talk_error(ctl, "migration %s: %s", f->id, buf_cstr(&answer.message));
		result = status;
	}
	answer_fini(&answer);
	return result;
}

static int follow(struct following *f)
{
	for (;;) {
		int status = look(f);
		if (status >= 0)
			return status;
		if (*f->ctl->interrupted || (f->deadline_ns && clock_now_ns() >= f->deadline_ns))
			progress_hide(&f->progress);
		if (*f->ctl->interrupted) {
			talk_note(f->ctl, "the migration goes on; \"phoenixctl migration show %s\" shows it",
				  f->id);
			return CTL_INTERRUPTED;
		}
		if (f->deadline_ns && clock_now_ns() >= f->deadline_ns) {
			talk_error(f->ctl, "the time is over and the migration is not (%s)", f->last);
			return CTL_TIMED_OUT;
		}
		poll(NULL, 0, LOOK_INTERVAL_MS);
	}
}

int run_migrate(struct ctl *ctl, const struct ctl_line *line)
{
	struct spec *spec = NULL;
	struct following f = {.ctl = ctl};
	json_t *answer = NULL;
	struct buf why = {0};
	uint64_t timeout_ms = 0;
	bool deploy = strcmp(line->command->words, "deploy") == 0;

	if (line->options[OPTION_TIMEOUT] &&
	    parse_duration(line->options[OPTION_TIMEOUT], &timeout_ms, &why) < 0) {
		talk_error(ctl, "--timeout: %s", buf_cstr(&why));
		buf_fini(&why);
		return CTL_USAGE;
	}
	int status = load_spec(ctl, line->arguments[0], &spec);
	if (status)
		return status;
	status = talk_request(ctl, line->command->words, "POST",
			      deploy ? "/admin/migrations?until=healthy" : "/admin/migrations",
			      spec->document, &answer);
	if (timeout_ms)
		f.deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	f.id = spec->id;
	if (status == CTL_DONE && line->options[OPTION_DETACH] && ctl->json) {
		status = talk_json(ctl, answer);
	} else if (status == CTL_DONE && line->options[OPTION_DETACH]) {
		struct buf out = {0};
		buf_printf(&out, "%s: begun\n", spec->id);
		status = talk_write(ctl, &out);
	} else if (status == CTL_DONE) {
		status = follow(&f);
	}
	json_decref(answer);
	spec_destroy(spec);
	return status;
}

/* --- what there is --- */

static void migration_row(struct table *table, const json_t *item, size_t index)
{
	const char *state = field_text(item, "state", "?");
	table_cell(table, TINT_BOLD, "%s", field_text(item, "id", "?"));
	table_cell(table, tint_of_state(state), "%s", field_text(item, "headline", "?"));
	table_cell(table, TINT_NONE, "%s", field_text(item, "stage", "?"));
	table_cell(table, TINT_NONE, "%llu", (unsigned long long)field_count(item, "attempt"));
	table_cell(table, TINT_NONE, "%s", field_text(item, "kind", "-"));
	table_cell(table, TINT_NONE, "%s", field_text(item, "detail", ""));
}

int run_migration_ls(struct ctl *ctl, const struct ctl_line *line)
{
	static const struct listing listing = {
		"migrations",
		{{"MIGRATION", false},
		 {"STATE", false},
		 {"STAGE", false},
		 {"ATTEMPT", true},
		 {"KIND", false},
		 {"DETAIL", false}},
		6,
		3,
		migration_row,
		"no migration was begun; \"phoenixctl migrate FILE\" begins one"};
	json_t *answer = NULL;
	int status = talk_request(ctl, "list the migrations", "GET", "/admin/migrations", NULL, &answer);
	if (status == CTL_DONE)
		status = talk_list(ctl, &listing, answer);
	json_decref(answer);
	return status;
}

/* Orders it by the route's verb. *answer is replaced by the route. */
static int begin_anew(const struct ctl *ctl, const char *id, const json_t *body, json_t **answer)
{
	char *path = client_path("/admin/routes/%s/retry", id);
	struct answer got = {0};
	int status =
		path ? client_call(ctl->client, "POST", path, body, NULL, TALK_TIMEOUT_MS, &got) : CTL_FAILED;

	if (status && got.status == 404) { /* the migration is known, its route is not */
		talk_error(ctl,
			   "retry %s: it ended before its route was there; \"phoenixctl migrate FILE\" with "
			   "the same "
			   "id begins anew",
			   id);
		status = CTL_CONFLICT;
	} else if (status) {
		talk_error(ctl, "retry %s: %s", id, buf_cstr(&got.message));
	} else {
		json_decref(*answer);
		*answer = json_incref(got.json);
	}
	answer_fini(&got);
	free(path);
	return status;
}

/* Begins a migration that was rolled back anew, at its first stage. */
int run_migration_retry(struct ctl *ctl, const struct ctl_line *line)
{
	struct following f = {.ctl = ctl, .id = line->arguments[0]};
	json_t *body = talk_reason(line), *answer = NULL;
	struct buf out = {0};
	int status = talk_route(ctl, "migration", "GET", "/admin/migrations/%s", f.id, NULL, &answer);

	if (status == CTL_DONE) {
		json_t *log = field(answer, "log"); /* what was said before is not said again */
		f.since = field_count(
			json_array_get(log, json_array_size(log) ? json_array_size(log) - 1 : 0), "number");
		status = begin_anew(ctl, f.id, body, &answer);
	}
	if (status == CTL_DONE && line->options[OPTION_DETACH] && ctl->json) {
		status = talk_json(ctl, answer);
	} else if (status == CTL_DONE && line->options[OPTION_DETACH]) {
		format_clean(&out, f.id);
		buf_append_str(&out, ": begun anew\n");
		status = talk_write(ctl, &out);
	} else if (status == CTL_DONE) {
		status = follow(&f);
	}
	json_decref(body);
	json_decref(answer);
	return status;
}

int run_migration_show(struct ctl *ctl, const struct ctl_line *line)
{
	json_t *answer = NULL, *item;
	struct buf out = {0};
	size_t i;
	if (line->options[OPTION_FOLLOW]) {
		struct following f = {.ctl = ctl, .id = line->arguments[0]};
		int known = talk_route(ctl, "migration", "GET", "/admin/migrations/%s", f.id, NULL, NULL);
		return known ? known : follow(&f);
	}
	int status = talk_route(ctl, "migration", "GET", "/admin/migrations/%s", line->arguments[0], NULL,
				&answer);
	if (status)
		return status;
	if (ctl->json) {
		status = talk_json(ctl, answer);
		json_decref(answer);
		return status;
	}
	format_clean(&out, field_text(answer, "headline", "?"));
	buf_append_str(&out, "\n");
	format_clean(&out, field_text(answer, "detail", ""));
	buf_append_str(&out, "\n\n");
	json_array_foreach(field(answer, "stages"), i, item)
	{
		padded(&out, field_text(item, "stage", "?"), 10);
		padded(&out, field_text(item, "status", "?"), 8);
		if (field(item, "took_ms")) {
			buf_append_char(&out, ' ');
			format_span(&out, field_count(item, "took_ms"));
		}
		buf_append_char(&out, '\n');
	}
	buf_append_char(&out, '\n');
	json_array_foreach(field(answer, "log"), i, item)
	{
		padded(&out, field_text(item, "stage", "?"), 10);
		format_clean(&out, field_text(item, "text", ""));
		buf_append_char(&out, '\n');
	}
	json_array_foreach(field(answer, "cases"), i, item)
	{
		buf_append_str(&out, "failing example: ");
		format_clean(&out, field_text(item, "file", "?"));
		buf_append_char(&out, '\n');
	}
	json_decref(answer);
	return talk_write(ctl, &out);
}

int run_migration_rm(struct ctl *ctl, const struct ctl_line *line)
{
	json_t *body = talk_reason(line), *answer = NULL;
	struct buf out = {0};
	int status = talk_route(ctl, "remove the migration", "DELETE", "/admin/migrations/%s",
				line->arguments[0], body, &answer);
	if (status == CTL_DONE && ctl->json) {
		status = talk_json(ctl, answer);
	} else if (status == CTL_DONE) {
		format_clean(&out, line->arguments[0]);
		buf_append_str(&out, field(answer, "id") ? ": is being undone\n" : ": removed\n");
		status = talk_write(ctl, &out);
	}
	json_decref(body);
	json_decref(answer);
	return status;
}

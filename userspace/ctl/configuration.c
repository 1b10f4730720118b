/* SPDX-License-Identifier: Apache-2.0 */
/*
 * configuration: check a file without a daemon, show what a daemon runs with, and what would change.
 *
 * The checker is the daemon's own (config.h), linked in: what passes here passes there.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/talk.h"
#include "config.h"

#include <errno.h>
#include <stdlib.h>

/* Loads a file; its errors and warnings go to `lines`, one way or the other. A misspelt name gets its hint.
 */
static int load(const char *path, struct config **config, struct buf *lines)
{
	int rc = config_load(path, config, lines);
	if (rc < 0 && lines->len == 0)
		buf_printf(lines, "%s: error: %s\n", path, strerror(-rc));
	if (rc == -ENOENT && !lines->failed) {
		lines->len--; /* before the end of the line */
		talk_nearest_file(path, lines);
		buf_append_char(lines, '\n');
	}
	return rc;
}

static json_t *lines_to_json(const struct buf *lines)
{
	json_t *list = json_array();
	struct slice rest = buf_slice(lines), item;
	while (slice_split(&rest, '\n', &item))
		if (item.len)
			json_array_append_new(list, json_stringn(item.ptr, item.len));
	return list;
}

int run_config_check(struct ctl *ctl, const struct ctl_line *line)
{
	const char *path = line->arguments[0];
	struct config *config = NULL;
	struct buf lines = {0}, out = {0};
	int rc = load(path, &config, &lines);
	size_t routes = config ? config->route_count : 0;

	if (ctl->json) {
		json_t *json = json_pack("{s:s, s:b, s:i, s:o}", "file", path, "valid", rc == 0, "routes",
					 (int)routes, "messages", lines_to_json(&lines));
		talk_json(ctl, json);
		json_decref(json);
	} else {
		talk_lines(ctl, &lines);
		if (rc == 0)
			buf_printf(&out, "%s: ok, %zu route%s\n", path, routes, routes == 1 ? "" : "s");
		talk_write(ctl, &out);
	}
	config_destroy(config);
	buf_fini(&lines);
	return rc == 0 ? CTL_DONE : CTL_BAD_CONFIG;
}

int run_config_schema(struct ctl *ctl, const struct ctl_line *line)
{
	json_t *schema = config_schema();
	int status = schema ? talk_json(ctl, schema) : CTL_FAILED;
	json_decref(schema);
	return status;
}

int run_config_show(struct ctl *ctl, const struct ctl_line *line)
{
	json_t *answer = NULL;
	int status = talk_request(ctl, "configuration", "GET", "/admin/config", NULL, &answer);
	if (status == CTL_DONE)
		status = talk_json(ctl, answer);
	json_decref(answer);
	return status;
}

/* One difference as {"at", "running", "file"}; a missing side is left out. */
static void differ(json_t *list, const char *at, json_t *running, json_t *file)
{
	json_t *item = json_pack("{s:s}", "at", at);
	if (running)
		json_object_set(item, "running", running);
	if (file)
		json_object_set(item, "file", file);
	json_array_append_new(list, item);
}

/* Elements that have an "id" are matched by it, so that a moved route is no difference. */
static json_t *find_by_id(const json_t *list, const char *id)
{
	json_t *item;
	size_t i;
	json_array_foreach(list, i, item) if (strcmp(field_text(item, "id", ""), id) == 0) return item;
	return NULL;
}

static void compare(json_t *list, const char *at, json_t *running, json_t *file);

static void compare_member(json_t *list, const char *at, const char *name, json_t *running, json_t *file)
{
	struct buf path = {0};
	buf_printf(&path, "%s%s%s", at, *at ? "." : "", name);
	compare(list, buf_cstr(&path), running, file);
	buf_fini(&path);
}

static bool has_ids(const json_t *list)
{
	return json_array_size(list) && field_text(json_array_get(list, 0), "id", NULL);
}

static void compare(json_t *list, const char *at, json_t *running, json_t *file)
{
	json_t *item;
	const char *name;
	size_t i;

	if (json_is_object(running) && json_is_object(file)) {
		json_object_foreach(running, name, item)
			compare_member(list, at, name, item, json_object_get(file, name));
		json_object_foreach(file, name, item)
		{
			if (!json_object_get(running, name))
				compare_member(list, at, name, NULL, item);
		}
	} else if (json_is_array(running) && json_is_array(file) && (has_ids(running) || has_ids(file))) {
		json_array_foreach(running, i, item)
		{
			name = field_text(item, "id", "?");
			compare_member(list, at, name, item, find_by_id(file, name));
		}
		json_array_foreach(file, i, item)
		{
			name = field_text(item, "id", "?");
			if (!find_by_id(running, name))
				compare_member(list, at, name, NULL, item);
		}
	} else if (json_is_number(running) && json_is_number(file)) {
		if (json_number_value(running) != json_number_value(file)) /* 1 and 1.0 are the same */
			differ(list, at, running, file);
	} else if (!running || !file || !json_equal(running, file)) {
		differ(list, at, running, file);
	}
}

/* Weights set at run time are not the file's business, but whoever compares wants to know. */
static void note_drift(struct ctl *ctl)
{
	struct answer answer;
	json_t *route;
	size_t i;

	if (client_call(ctl->client, "GET", "/admin/routes", NULL, NULL, TALK_TIMEOUT_MS, &answer) ==
	    CTL_DONE)
		json_array_foreach(field(answer.json, "routes"), i, route)
		{
			struct buf text = {0};
			if (!field_true(route, "weight.drift"))
				continue;
			buf_append_str(&text, "route ");
			format_clean(&text, field_text(route, "id", "?"));
			buf_append_str(&text, ": the weight set at run time is ");
			format_percent(&text, field_number(route, "weight.wanted"));
			buf_append_str(&text, ", the file says ");
			format_percent(&text, field_number(route, "weight.file"));
			talk_note(ctl, "%s", buf_cstr(&text));
			buf_fini(&text);
		}
	answer_fini(&answer);
}

static void difference_row(struct table *table, const json_t *item, size_t index)
{
	static const char *const sides[] = {"running", "file"};
	table_cell(table, TINT_BOLD, "%s", field_text(item, "at", "?"));
	for (size_t s = 0; s < 2; s++) {
		json_t *value = json_object_get(item, sides[s]);
		char *text =
			value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))
			      : NULL;
		table_cell(table, s ? TINT_GREEN : TINT_RED, "%s", text ? text : "-");
		free(text);
	}
}

int run_config_diff(struct ctl *ctl, const struct ctl_line *line)
{
	static const struct listing listing = {"",
					       {{"AT", false}, {"RUNNING", false}, {"FILE", false}},
					       3,
					       1,
					       difference_row,
					       "the file says what the daemon runs with"};
	json_t *answer = NULL, *file_json = NULL, *list = json_array();
	struct config *config = NULL;
	struct buf lines = {0};
	int status = talk_request(ctl, "configuration", "GET", "/admin/config", NULL, &answer);
	if (status)
		goto out;
	json_t *running = json_is_object(field(answer, "config")) ? field(answer, "config") : answer;
	const char *path = line->argument_count ? line->arguments[0] : field_text(answer, "file", NULL);
	if (!path) {
		talk_error(ctl, "the daemon has no file; name one: phoenixctl config diff FILE");
		status = CTL_FAILED;
		goto out;
	}
	int rc = load(path, &config, &lines);
	talk_lines(ctl, &lines);
	if (rc < 0) {
		status = CTL_BAD_CONFIG;
		goto out;
	}
	file_json = config_to_json(config);
	config_json_mask(file_json);	  /* as the daemon shows its own */
	json_object_del(running, "file"); /* where it came from is no part of it */
	json_object_del(file_json, "file");
	compare(list, "", running, file_json);
	status = talk_list(ctl, &listing, list);
	if (status == CTL_DONE)
		note_drift(ctl);
out:
	json_decref(answer);
	json_decref(file_json);
	json_decref(list);
	config_destroy(config);
	buf_fini(&lines);
	return status;
}

/* "routes_added: a, b", a line each; members without elements are silent. */
static void list_row(const json_t *answer, const char *name, struct buf *out)
{
	json_t *list = field(answer, name), *item;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	buf_printf(out, "%s: ", name);
	json_array_foreach(list, i, item)
	{
		char *text = json_is_string(item) ? NULL : json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY);
		buf_append_str(out, i ? ", " : "");
		format_clean(out, text ? text : json_string_value(item) ?: "?");
		free(text);
	}
	buf_append_char(out, '\n');
}

int run_config_reload(struct ctl *ctl, const struct ctl_line *line)
{
	static const char *const lists[] = {"changed", "routes_added", "routes_removed", "weights_from_file",
					    "warnings"};
	json_t *body = talk_reason(line);
	struct buf out = {0};
	struct answer answer;
	int status = client_call(ctl->client, "POST", "/admin/config/reload", body, NULL, TALK_TIMEOUT_MS,
				 &answer);

	if (status) {
		talk_error(ctl, "reload: %s", buf_cstr(&answer.message));
		if (answer.status == 422) {
			talk_note(ctl, "nothing changed; the old configuration runs on");
			status = CTL_BAD_CONFIG;
		}
	} else if (ctl->json) {
		status = talk_json(ctl, answer.json);
	} else {
		for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
			list_row(answer.json, lists[i], &out);
		if (out.len == 0)
			buf_append_str(&out, "reloaded; nothing changed\n");
		status = talk_write(ctl, &out);
	}
	answer_fini(&answer);
	json_decref(body);
	return status;
}

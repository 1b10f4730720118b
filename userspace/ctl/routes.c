/* SPDX-License-Identifier: Apache-2.0 */
/* routes: commands about a route: list, add, remove, its weight, the verbs, and where a request would go. */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/parse.h"
#include "ctl/talk.h"
#include "ctl/screen.h"
#include "config.h"
#include "config_report.h"
#include "config_value.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

#define ROUTE_BYTES_MAX (1u << 20)

static void join(const json_t *list, struct buf *out)
{
	json_t *item;
	size_t i;
	json_array_foreach(list, i, item) buf_printf(out, "%s%s", i ? "," : "",
						     json_string_value(item) ? json_string_value(item) : "?");
}

static void route_row(struct table *table, const json_t *route, size_t index)
{
	const char *state = field_text(route, "state", "?");
	struct buf methods = {0}, weight = {0};
	join(field(route, "methods"), &methods);
	format_percent(&weight, field_number(route, "weight.set"));
	table_cell(table, TINT_BOLD, "%s", field_text(route, "id", "?"));
	table_cell(table, TINT_NONE, "%s", buf_cstr(&methods));
	table_cell(table, TINT_NONE, "%s", field_text(route, "path", "?"));
	table_cell(table, tint_of_state(state), "%s", state);
	table_cell(table, TINT_NONE, "%s", buf_cstr(&weight));
	table_cell(table, TINT_NONE, "%s", field_text(route, "source", "?"));
	table_cell(table, TINT_NONE, "%s", field_text(route, "host", "*"));
	table_cell(table, TINT_NONE, "%s", field_text(route, "legacy_url", "?"));
	table_cell(table, TINT_NONE, "%s", field_text(route, "modern_url", "?"));
	buf_fini(&methods);
	buf_fini(&weight);
}

int run_route_ls(struct ctl *ctl, const struct ctl_line *line)
{
	static const struct listing listing = {"routes",
					       {{"ROUTE", false},
						{"METHODS", false},
						{"PATH", false},
						{"STATE", false},
						{"WEIGHT", true},
						{"SOURCE", false},
						{"HOST", false},
						{"LEGACY", false},
						{"MODERN", false}},
					       9,
					       5,
					       route_row,
					       "there is no route; \"phoenixctl route add\" makes one"};
	json_t *answer = NULL;
	int status = talk_request(ctl, "list the routes", "GET", "/admin/routes", NULL, &answer);
	if (status == CTL_DONE)
		status = talk_list(ctl, &listing, answer);
	json_decref(answer);
	return status;
}

/* The route that --id, --path, … describe, as the text of a file would. CTL_DONE or CTL_USAGE. */
static int text_from_options(const struct ctl *ctl, const struct ctl_line *line, struct buf *text)
{
	static const struct {
		enum ctl_option option;
		const char *key, *word;
		bool needed;
	} keys[] = {
		{OPTION_ID, "id", "--id", true},
		{OPTION_PATH, "path", "--path", true},
		{OPTION_LEGACY_URL, "legacy_url", "--legacy-url", true},
		{OPTION_MODERN_URL, "modern_url", "--modern-url", true},
	};
	json_t *route = json_object();
	int status = CTL_USAGE;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = line->options[keys[i].option];
		if (!value) {
			talk_error(
				ctl,
				"%s is missing: give a FILE, or --id, --path, --legacy-url and --modern-url",
				keys[i].word);
			goto out;
		}
		json_object_set_new(route, keys[i].key, json_string(value));
	}
	struct slice rest = slice_str(line->options[OPTION_METHOD] ?: "*"), item;
	json_t *methods = json_array();
	while (slice_split(&rest, ',', &item))
		json_array_append_new(methods, json_stringn(item.ptr, item.len));
	bool any = json_array_size(methods) == 1; /* "*" stands alone, not in a list */
	json_object_set(route, "method", any ? json_array_get(methods, 0) : methods);
	json_decref(methods);
	if (line->options[OPTION_WEIGHT]) {
		uint32_t weight_bp = 0;
		struct buf why = {0};
		if (parse_weight(line->options[OPTION_WEIGHT], &weight_bp, &why) < 0) {
			talk_error(ctl, "%s", buf_cstr(&why));
			buf_fini(&why);
			goto out;
		}
		json_object_set_new(route, "weight", json_real(weight_bp / 10000.0));
	}
	char *dump = json_dumps(route, JSON_COMPACT | JSON_REAL_PRECISION(6));
	if (dump)
		buf_append_str(text, dump);
	free(dump);
	status = dump ? CTL_DONE : CTL_FAILED;
out:
	json_decref(route);
	return status;
}

int run_route_add(struct ctl *ctl, const struct ctl_line *line)
{
	const char *file = line->argument_count ? line->arguments[0] : NULL;
	struct buf text = {0}, errors = {0};
	struct route_config *route = NULL;
	json_t *body = NULL, *answer = NULL;
	int status = CTL_DONE;

	if (file) {
		for (int option = OPTION_ID; option <= OPTION_WEIGHT; option++)
			if (line->options[option]) {
				talk_error(ctl, "give a FILE or options that describe the route, not both");
				return CTL_USAGE;
			}
		int rc = talk_read_text(file, ROUTE_BYTES_MAX, &text);
		if (rc < 0) {
			talk_unreadable(ctl, file, rc, ROUTE_BYTES_MAX);
			status = CTL_BAD_CONFIG;
		}
	} else {
		status = text_from_options(ctl, line, &text);
	}
	if (status)
		goto out;
	const char *name = !file ? "route" : strcmp(file, "-") == 0 ? "stdin" : file;
	if (route_config_parse(name, buf_slice(&text), &route, &errors) < 0)
		status = CTL_BAD_CONFIG;
	talk_lines(ctl, &errors);
	if (status)
		goto out;
	/* What was written goes to the daemon, not our idea of it with every default filled in; YAML has to.
	 */
	body = json_loadb(text.data, text.len, 0, NULL);
	if (!body)
		body = route_config_to_json(route);
	status = talk_request(ctl, "add the route", "POST", "/admin/routes", body, &answer);
	if (status == CTL_DONE && ctl->json) {
		talk_json(ctl, answer);
	} else if (status == CTL_DONE) {
		buf_reset(&text);
		format_clean(&text, field_text(answer, "id", route->id));
		buf_append_str(&text, ": added\n");
		status = talk_write(ctl, &text);
	}
out:
	json_decref(body);
	json_decref(answer);
	route_config_destroy(route);
	buf_fini(&text);
	buf_fini(&errors);
	return status;
}

int run_route_rm(struct ctl *ctl, const struct ctl_line *line)
{
	json_t *body = talk_reason(line), *answer = NULL;
	struct buf out = {0};
	int status = talk_route(ctl, "remove the route", "DELETE", "/admin/routes/%s", line->arguments[0],
				body, &answer);
	if (status == CTL_DONE && ctl->json) {
		status = talk_json(ctl, answer);
	} else if (status == CTL_DONE) {
		format_clean(&out, line->arguments[0]);
		buf_append_str(&out, ": removed\n");
		status = talk_write(ctl, &out);
	}
	json_decref(body);
	json_decref(answer);
	return status;
}

static void weight_row(struct table *table, const json_t *answer, size_t index)
{
	static const char *const names[] = {"wanted", "set", "seen"};
	table_cell(table, TINT_BOLD, "%s", field_text(answer, "id", "?"));
	for (size_t i = 0; i < 3; i++) {
		struct buf number = {0};
		format_percent(&number, field_number(answer, names[i]));
		table_cell(table, TINT_NONE, "%s", buf_cstr(&number));
		buf_fini(&number);
	}
	table_cell(table, TINT_NONE, "%llu", (unsigned long long)field_count(answer, "epoch"));
}

static int print_weight(const struct ctl *ctl, const json_t *answer)
{
	static const struct listing listing = {
		"",
		{{"ROUTE", false}, {"WANTED", true}, {"SET", true}, {"SEEN", true}, {"EPOCH", true}},
		5,
		0,
		weight_row,
		""};
	struct buf out = {0};

	if (ctl->json)
		return talk_json(ctl, answer);
	json_t *one = json_pack("[O]", answer);
	talk_table(ctl, &listing, one, &out);
	json_decref(one);
	return talk_write(ctl, &out);
}

int run_weight_get(struct ctl *ctl, const struct ctl_line *line)
{
	json_t *answer = NULL;
	int status = talk_route(ctl, "weight of", "GET", "/admin/routes/%s/weight", line->arguments[0], NULL,
				&answer);
	if (status == CTL_DONE)
		status = print_weight(ctl, answer);
	json_decref(answer);
	return status;
}

int run_weight_set(struct ctl *ctl, const struct ctl_line *line)
{
	json_t *body, *answer = NULL;
	uint32_t weight_bp = 0;
	struct buf why = {0};

	if (parse_weight(line->arguments[1], &weight_bp, &why) < 0) {
		talk_error(ctl, "%s", buf_cstr(&why));
		buf_fini(&why);
		return CTL_USAGE;
	}
	body = talk_reason(line);
	json_object_set_new(body, "weight", json_real(weight_bp / 10000.0));
	int status = talk_route(ctl, "set the weight of", "POST", "/admin/routes/%s/weight",
				line->arguments[0], body, &answer);
	if (status == CTL_DONE)
		status = print_weight(ctl, answer);
	json_decref(body);
	json_decref(answer);
	return status;
}

/* start, pause, resume, promote, rollback, retry: the name of the command is the name in the API. */
int run_verb(struct ctl *ctl, const struct ctl_line *line)
{
	char format[64];
	json_t *body = talk_reason(line), *answer = NULL;
	struct buf out = {0};

	snprintf(format, sizeof(format), "/admin/routes/%%s/%s", line->command->words);
	int status = talk_route(ctl, line->command->words, "POST", format, line->arguments[0], body, &answer);
	if (status == CTL_DONE && ctl->json) {
		status = talk_json(ctl, answer);
	} else if (status == CTL_DONE) {
		screen_line(answer, &out);
		buf_append_char(&out, '\n');
		status = talk_write(ctl, &out);
	}
	json_decref(body);
	json_decref(answer);
	return status;
}

static void trace_row(struct buf *out, const struct ctl *ctl, const char *name, const char *text)
{
	tint_printf(out, ctl->out.colour, TINT_DIM, "%-8s", name);
	format_clean(out, text);
	buf_append_char(out, '\n');
}

/* A method that nobody knows may be one; one that is nearly known is a slip. CTL_DONE or CTL_USAGE. */
static int check_traced(const struct ctl *ctl, const char *method, const char *url)
{
	struct buf hint = {0};
	bool known = false;

	for (const char *const *word = config_method_words; *word; word++)
		known = known || strcmp(*word, method) == 0;
	if (!known && option_suggest(method, config_method_words, "", &hint)) {
		talk_error(ctl, "unknown method %s%s", quote(slice_str(method)).text, buf_cstr(&hint));
		buf_fini(&hint);
		return CTL_USAGE;
	}
	if (url[0] == '/' || strncasecmp(url, "http://", 7) == 0)
		return CTL_DONE;
	talk_error(ctl, "URL %s is neither a path (/users/7) nor http://host/path",
		   quote(slice_str(url)).text);
	return CTL_USAGE;
}

int run_trace(struct ctl *ctl, const struct ctl_line *line)
{
	if (check_traced(ctl, line->arguments[0], line->arguments[1]))
		return CTL_USAGE;
	char *method = curl_easy_escape(NULL, line->arguments[0], (int)strlen(line->arguments[0]));
	char *url = curl_easy_escape(NULL, line->arguments[1], (int)strlen(line->arguments[1]));
	struct buf path = {0}, out = {0};
	json_t *answer = NULL;
	int status = CTL_FAILED;

	if (method && url)
		buf_printf(&path, "/admin/trace?method=%s&url=%s", method, url);
	if (path.len)
		status = talk_request(ctl, "trace", "GET", buf_cstr(&path), NULL, &answer);
	if (status == CTL_DONE && ctl->json) {
		status = talk_json(ctl, answer);
	} else if (status == CTL_DONE) {
		const char *route = field_text(answer, "route", NULL);
		trace_row(&out, ctl, "route", route ? route : "none: the gateway answers 404 itself");
		if (route) {
			trace_row(&out, ctl, "next", field_text(answer, "side_next", "?"));
			trace_row(&out, ctl, "path", field_text(answer, "path", "?"));
			trace_row(&out, ctl, "legacy", field_text(answer, "url_legacy", "?"));
			trace_row(&out, ctl, "modern", field_text(answer, "url_modern", "?"));
		}
		if (field(answer, "xdp.reason")) {
			struct buf said = {0};
			bool serves = strcmp(field_text(answer, "path", ""), "xdp") == 0;
			buf_printf(&said, "%s", serves ? "the fast path serves it" : "left to the daemon: ");
			if (!serves)
				buf_append_str(&said, field_text(answer, "xdp.help", "?"));
			trace_row(&out, ctl, "xdp", buf_cstr(&said));
			buf_fini(&said);
		}
		if (*field_text(answer, "why", ""))
			trace_row(&out, ctl, "why", field_text(answer, "why", ""));
		status = talk_write(ctl, &out);
	}
	curl_free(method);
	curl_free(url);
	buf_fini(&path);
	json_decref(answer);
	return status;
}

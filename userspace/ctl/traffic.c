/* SPDX-License-Identifier: Apache-2.0 */
/*
 * traffic: scenarios for the traffic client, made from what there is, and run.
 *
 * Generating is trafficgen/; here are files, the daemon's answers and the words about them. Running is the
 * job of phoenix-traffic, which this program becomes; with --with k6 it is k6's, whose count is then held
 * against the gateway's here.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/parse.h"
#include "ctl/talk.h"
#include "config_report.h"
#include "config_value.h"
#include "http/router.h"
#include "trafficgen/k6.h"
#include "trafficgen/plan.h"
#include "trafficgen/sources.h"

#include <errno.h>
#include <stdlib.h>

#define COMMENT_DEFAULT "made by phoenixctl traffic generate; edit it as you like"

/* X(NAME, word, what FILE is) */
#define TRAFFIC_SOURCES(X)                                                                                   \
	X(ROUTE, "route", NULL)                                                                              \
	X(SAMPLES, "samples", NULL)                                                                          \
	X(LOG, "access-log", "an access log")                                                                \
	X(OPENAPI, "openapi", "an OpenAPI 3 document")                                                       \
	X(HAR, "har", "a HAR file")                                                                          \
	X(SCENARIO, "scenario", "a scenario")

enum traffic_source {
#define X(name, word, file) SOURCE_##name,
	TRAFFIC_SOURCES(X)
#undef X
		SOURCE_COUNT,
};

static const struct {
	const char *word, *file;
} sources[] = {
#define X(name, word, file) {word, file},
	TRAFFIC_SOURCES(X)
#undef X
};

struct generation {
	struct ctl *ctl;
	const struct ctl_line *line;
	enum traffic_source source;
	const char *file, *route_id, *out;
	bool k6;
	json_t *route; /* GET /admin/routes/{id} */
	struct router *router;
	struct plan plan;
	json_t *document; /* the scenario */
	struct buf k6_notes;
};

/* --- the command line ------------------------------------------------------------------------------------
 */

static int usage_error(const struct ctl *ctl, struct buf *why)
{
	talk_error(ctl, "%s", buf_cstr(why));
	buf_fini(why);
	return CTL_USAGE;
}

static int read_source(struct generation *g)
{
	const char *from = g->line->options[OPTION_FROM];
	struct buf why = {0};
	for (g->source = 0; from && g->source < SOURCE_COUNT; g->source++) {
		if (strcmp(sources[g->source].word, from) == 0)
			return CTL_DONE;
	}
	buf_append_str(&why, "--from must be one of");
	for (unsigned i = 0; i < SOURCE_COUNT; i++)
		buf_printf(&why, "%s %s", i ? "," : "", sources[i].word);
	return usage_error(g->ctl, &why);
}

static int read_numbers(const struct ctl *ctl, const struct ctl_line *line, struct plan_options *options)
{
	struct buf why = {0};
	uint64_t limit = 0, ms = 0;
	const char *rate = line->options[OPTION_RATE];
	if (line->options[OPTION_LIMIT] &&
	    parse_count("--limit", line->options[OPTION_LIMIT], 1, PLAN_REQUESTS_MAX, &limit, &why))
		return usage_error(ctl, &why);
	if (line->options[OPTION_DURATION] && parse_duration(line->options[OPTION_DURATION], &ms, &why))
		return usage_error(ctl, &why);
	if (rate) {
		char *end;
		options->rate = strtod(rate, &end);
		if (end == rate || *end || !(options->rate > 0) || options->rate > PLAN_RATE_MAX) {
			buf_printf(&why, "--rate %s is not a number above 0, at most %d",
				   quote(slice_str(rate)).text, PLAN_RATE_MAX);
			return usage_error(ctl, &why);
		}
	}
	options->requests_max = limit;
	options->duration_s = (double)ms / 1000;
	return CTL_DONE;
}

static int read_line(struct generation *g, struct plan_options *options)
{
	const struct ctl_line *line = g->line;
	struct buf why = {0};
	int status = read_source(g);
	if (status)
		return status;
	g->file = line->argument_count ? line->arguments[0] : NULL;
	g->route_id = line->options[OPTION_ROUTE];
	g->out = line->options[OPTION_OUT];
	g->k6 = line->options[OPTION_EXPORT] != NULL;
	struct buf list = {0};
	if (g->k6 && !option_check_words(line->options[OPTION_EXPORT], "k6", &list))
		buf_printf(&why, "--export %s%s", quote(slice_str(line->options[OPTION_EXPORT])).text,
			   buf_cstr(&list));
	else if (sources[g->source].file && !g->file)
		buf_printf(&why, "--from %s needs FILE, %s (- is stdin)", sources[g->source].word,
			   sources[g->source].file);
	else if (!sources[g->source].file && (g->file || !g->route_id))
		buf_printf(&why, "--from %s needs --route ID, and no FILE", sources[g->source].word);
	buf_fini(&list);
	if (why.len)
		return usage_error(g->ctl, &why);
	options->unsafe = line->options[OPTION_UNSAFE] != NULL;
	options->host = line->options[OPTION_HOST];
	return read_numbers(g->ctl, line, options);
}

/* --- the daemon's part -----------------------------------------------------------------------------------
 */

static bool route_matches(const void *context, struct slice method, struct slice target)
{
	const struct router *router = context;
	uint32_t bit = 0;
	const char *mark = memchr(target.ptr, '?', target.len);
	if (mark)
		target.len = (size_t)(mark - target.ptr);
	if (method_parse(method, &bit) || !bit)
		return false;
	return router_match(router, (enum phx_method)__builtin_ctz(bit), SLICE(""), target) != ROUTER_NONE;
}

/* The route's own method and path as a table of one. */
static int build_router(struct generation *g, struct plan_options *options)
{
	json_t *methods = field(g->route, "methods"), *word;
	struct router_pattern pattern = {.path = field_text(g->route, "path", "/")};
	size_t i;
	json_array_foreach(methods, i, word)
	{
		uint32_t bit = 0;
		const char *text = json_string_value(word) ?: "";
		if (strcmp(text, "*") == 0)
			pattern.method_mask = UINT32_MAX;
		else if (method_parse(slice_str(text), &bit) == 0)
			pattern.method_mask |= bit;
	}
	if (router_create(&pattern, 1, &g->router)) {
		talk_error(g->ctl, "the daemon's description of route %s is not understood", g->route_id);
		return CTL_FAILED;
	}
	options->matches = route_matches;
	options->context = g->router;
	return CTL_DONE;
}

static int from_daemon(struct generation *g, struct buf *errors, int *err)
{
	json_t *answer = NULL;
	if (g->source == SOURCE_ROUTE) {
		*err = plan_from_route(&g->plan, field(g->route, "config"), errors);
		return CTL_DONE;
	}
	int status = talk_route(g->ctl, "samples of", "GET", "/admin/routes/%s/samples", g->route_id, NULL,
				&answer);
	if (status == CTL_DONE)
		*err = plan_from_samples(&g->plan, answer, errors);
	json_decref(answer);
	return status;
}

/* --- files -----------------------------------------------------------------------------------------------
 */

/* Line by line: a log may be larger than the memory. */
static int read_log(struct generation *g, struct buf *errors)
{
	FILE *file = strcmp(g->file, "-") == 0 ? stdin : fopen(g->file, "re");
	struct log_source *source = file ? log_source_create(&g->plan, g->file) : NULL;
	char *line = NULL;
	size_t size = 0;
	int err = !file ? -errno : source ? 0 : -ENOMEM;
	for (ssize_t n; !err && (n = getline(&line, &size, file)) >= 0;)
		err = log_source_line(source, slice_of(line, (size_t)n));
	free(line);
	if (source) {
		int finished = log_source_finish(source, errors);
		err = err ? err : finished;
	}
	if (file && file != stdin)
		fclose(file);
	return err;
}

static int read_whole(struct generation *g, struct buf *errors)
{
	struct buf text = {0};
	int err = talk_read_text(g->file, SOURCE_FILE_BYTES_MAX, &text);
	if (err) {
		;
	} else if (g->source == SOURCE_OPENAPI) {
		err = plan_from_openapi(&g->plan, g->file, buf_slice(&text), errors);
	} else if (g->source == SOURCE_HAR) {
		err = plan_from_har(&g->plan, g->file, buf_slice(&text), errors);
	} else {
		json_error_t error;
		g->document =
			json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &error);
		if (!g->document) {
			buf_printf(errors, "%s:%d:%d: error: %s\n", g->file, error.line, error.column,
				   error.text);
			err = -EINVAL;
		}
	}
	buf_fini(&text);
	return err;
}

static int read_source_file(struct generation *g, struct buf *errors, int *err)
{
	*err = g->source == SOURCE_LOG ? read_log(g, errors) : read_whole(g, errors);
	if (*err == 0 || *err == -EINVAL || *err == -ENOMEM)
		return CTL_DONE; /* what it says was read, for better or worse */
	return talk_unreadable(g->ctl, g->file, *err, SOURCE_FILE_BYTES_MAX);
}

/* A route for one host is only found by requests that name it. */
static void add_host(struct generation *g)
{
	const char *host = field_text(g->route, "host", NULL);
	json_t *request;
	size_t i;
	json_array_foreach(host ? json_object_get(g->document, "requests") : NULL, i, request)
	{
		json_t *headers = json_object_get(request, "headers");
		if (!headers && json_object_set_new(request, "headers", json_object()) == 0)
			headers = json_object_get(request, "headers");
		if (headers && !json_object_get(headers, "Host"))
			json_object_set_new(headers, "Host", json_string(host));
	}
}

/* The scenario, or why there is none. */
static int make_document(struct generation *g)
{
	struct buf errors = {0}, name = {0};
	int err = 0, status;
	if (sources[g->source].file)
		status = read_source_file(g, &errors, &err);
	else
		status = from_daemon(g, &errors, &err);
	talk_lines(g->ctl, &errors);
	buf_fini(&errors);
	if (status || err) {
		if (err == -ENOMEM)
			talk_error(g->ctl, "out of memory");
		return status ? status : err == -ENOMEM ? CTL_FAILED : CTL_BAD_CONFIG;
	}
	if (g->source == SOURCE_SCENARIO)
		return CTL_DONE;
	const char *base = g->file ? strrchr(g->file, '/') : NULL;
	buf_printf(&name, "%s %s", sources[g->source].word,
		   base	     ? base + 1
		   : g->file ? g->file
			     : g->route_id);
	g->document =
		plan_document(&g->plan, plan_text_is_unicode(buf_slice(&name)) ? buf_cstr(&name) : "traffic",
			      COMMENT_DEFAULT);
	buf_fini(&name);
	add_host(g);
	return CTL_DONE;
}

/* --- out -------------------------------------------------------------------------------------------------
 */

static json_t *summary_json(const struct generation *g)
{
	const struct plan *plan = &g->plan;
	json_t *left_out = json_object(), *notes = json_array();
	struct buf text = {0};
	struct slice rest, item;
	for (unsigned i = 0; i < PLAN_OMISSION_COUNT; i++) {
		if (plan->omitted[i])
			json_object_set_new(left_out, plan_omission_word((enum plan_omission)i),
					    json_integer((json_int_t)plan->omitted[i]));
	}
	plan_report(plan, &text);
	rest = buf_slice(&text);
	while (slice_split(&rest, '\n', &item)) {
		if (item.len)
			json_array_append_new(notes, json_stringn(item.ptr, item.len));
	}
	buf_fini(&text);
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "file", g->out ? g->out : "-", "from",
			 sources[g->source].word, "requests",
			 (json_int_t)json_array_size(json_object_get(g->document, "requests")), "variables",
			 (json_int_t)json_object_size(json_object_get(g->document, "variables")), "taken",
			 (json_int_t)plan->taken, "left_out", left_out, "notes", notes);
}

/* What was noted on the way, for people. */
static void say_notes(struct generation *g)
{
	struct buf text = {0}, clean = {0};
	struct slice rest, item;
	plan_report(&g->plan, &text);
	buf_append_slice(&text, buf_slice(&g->k6_notes));
	rest = buf_slice(&text);
	while (slice_split(&rest, '\n', &item)) {
		struct buf line = {0};
		buf_append_slice(&line, item);
		buf_reset(&clean);
		format_clean(&clean, buf_cstr(&line));
		if (item.len)
			talk_note(g->ctl, "%s", buf_cstr(&clean));
		buf_fini(&line);
	}
	buf_fini(&text);
	buf_fini(&clean);
}

static int write_file(struct generation *g, struct buf *text)
{
	FILE *file = fopen(g->out, "w");
	bool good = file && fwrite(text->data, 1, text->len, file) == text->len;
	if (file && fclose(file) != 0)
		good = false;
	buf_fini(text);
	if (!good) {
		talk_error(g->ctl, "cannot write %s: %s", quote(slice_str(g->out)).text, strerror(errno));
		return CTL_FAILED;
	}
	talk_note(g->ctl, "%s: %zu kinds of requests%s", g->out,
		  json_array_size(json_object_get(g->document, "requests")), g->k6 ? ", as a k6 script" : "");
	if (!g->ctl->json)
		return CTL_DONE;
	json_t *summary = summary_json(g);
	int status = talk_json(g->ctl, summary);
	json_decref(summary);
	return status;
}

static int write_document(struct generation *g)
{
	struct buf text = {0};
	bool good = g->document != NULL;
	if (good && g->k6)
		good = k6_write(g->document, &text, &g->k6_notes);
	else if (good)
		plan_write_document(g->document, &text);
	say_notes(g);
	if (!good || text.failed) {
		buf_fini(&text);
		talk_error(g->ctl, g->plan.failed
					   ? "out of memory"
					   : "there is nothing to send: no request was left (see above)");
		return CTL_FAILED;
	}
	return g->out && strcmp(g->out, "-") != 0 ? write_file(g, &text) : talk_write(g->ctl, &text);
}

int run_traffic_generate(struct ctl *ctl, const struct ctl_line *line)
{
	struct generation g = {.ctl = ctl, .line = line};
	struct plan_options options = {0};
	int status = read_line(&g, &options);
	if (status)
		return status;
	if (g.route_id)
		status = talk_route(ctl, "route", "GET", "/admin/routes/%s", g.route_id, NULL, &g.route);
	if (status == CTL_DONE && g.route)
		status = build_router(&g, &options);
	if (status == CTL_DONE) {
		plan_init(&g.plan, &options);
		status = make_document(&g);
		if (status == CTL_DONE)
			status = write_document(&g);
		plan_fini(&g.plan);
	}
	json_decref(g.document);
	json_decref(g.route);
	router_destroy(g.router);
	buf_fini(&g.k6_notes);
	return status;
}

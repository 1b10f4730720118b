/* SPDX-License-Identifier: Apache-2.0 */
/* k6: see k6.h. The part of the script that is the same for every scenario stands here as it is. */
#include "trafficgen/k6.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define VUS_DEFAULT 16

static const char head[] =
	"// A traffic scenario as a k6 script, made by: phoenixctl traffic generate --export k6\n"
	"// Run it:  k6 run -e TARGET=http://127.0.0.1:8080 FILE.js\n"
	"import http from 'k6/http';\n"
	"import { check } from 'k6';\n"
	"import exec from 'k6/execution';\n"
	"\n"
	"const target = (__ENV.TARGET || 'http://127.0.0.1:8080').replace(/\\/+$/, '');\n";

static const char tail[] =
	"\n"
	"const totalWeight = requests.reduce((sum, r) => sum + (r.weight || 1), 0);\n"
	"\n"
	"function pickRequest() {\n"
	"  let at = Math.random() * totalWeight;\n"
	"  for (const r of requests) {\n"
	"    at -= r.weight || 1;\n"
	"    if (at < 0) return r;\n"
	"  }\n"
	"  return requests[requests.length - 1];\n"
	"}\n"
	"\n"
	"function uuid() {\n"
	"  return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, () => Math.floor(Math.random() * "
	"16).toString(16));\n"
	"}\n"
	"\n"
	"// One draw for each variable and request: the same value wherever it stands.\n"
	"function draw() {\n"
	"  const drawn = { seq: exec.scenario.iterationInTest + 1, uuid: uuid() };\n"
	"  for (const [name, values] of Object.entries(variables)) {\n"
	"    drawn[name] = Array.isArray(values)\n"
	"      ? values[Math.floor(Math.random() * values.length)]\n"
	"      : values.from + Math.floor(Math.random() * (values.to - values.from + 1));\n"
	"  }\n"
	"  return drawn;\n"
	"}\n"
	"\n"
	"function valueOf(place, drawn) {\n"
	"  const dot = place.indexOf('.');\n"
	"  return String(dot < 0 ? drawn[place] : drawn[place.slice(0, dot)][place.slice(dot + 1)]);\n"
	"}\n"
	"\n"
	"// ${name} and ${name.column} are filled in, $${ is a plain ${.\n"
	"function fill(text, drawn) {\n"
	"  return text.replace(/\\$\\$\\{|\\$\\{([^}]*)\\}/g, (all, place) => (all === '$${' ? '${' : "
	"valueOf(place, drawn)));\n"
	"}\n"
	"\n"
	"function bodyOf(r, drawn) {\n"
	"  if (r.body === undefined) return null;\n"
	"  if (typeof r.body === 'string') return fill(r.body, drawn);\n"
	"  const text = JSON.stringify(r.body).replace(/\"\\$\\{([^}:]*):number\\}\"/g, (all, place) => "
	"valueOf(place, drawn));\n"
	"  return fill(text, drawn);\n"
	"}\n"
	"\n"
	"function headersOf(r, drawn) {\n"
	"  const headers = { 'X-Phoenix-Synthetic': '1' };\n"
	"  if (r.body !== undefined) headers['Content-Type'] = typeof r.body === 'string' ? 'text/plain' : "
	"'application/json';\n"
	"  for (const [name, value] of Object.entries(r.headers || {})) {\n"
	"    const same = Object.keys(headers).find((n) => n.toLowerCase() === name.toLowerCase());\n"
	"    if (same) delete headers[same];\n"
	"    headers[name] = fill(value, drawn);\n"
	"  }\n"
	"  return headers;\n"
	"}\n"
	"\n"
	"function statusIsRight(status, expected) {\n"
	"  if (expected === undefined) return status > 0 && status < 400;\n"
	"  return [].concat(expected).some((e) => (typeof e === 'string' ? `${status}`[0] === e[0] : status "
	"=== e));\n"
	"}\n"
	"\n"
	"function at(value, pointer) {\n"
	"  const steps = pointer === '' ? [] : pointer.slice(1).split('/');\n"
	"  return steps.reduce((v, s) => (v === undefined || v === null ? undefined : v[s.replace(/~1/g, "
	"'/').replace(/~0/g, '~')]), value);\n"
	"}\n"
	"\n"
	"function isRight(answer, expect) {\n"
	"  const wanted = expect !== null && typeof expect === 'object' && !Array.isArray(expect) ? expect : "
	"{ status: expect };\n"
	"  if (!statusIsRight(answer.status, wanted.status)) return false;\n"
	"  for (const [name, value] of Object.entries(wanted.headers || {})) {\n"
	"    const found = Object.keys(answer.headers).find((n) => n.toLowerCase() === name.toLowerCase());\n"
	"    const got = found ? answer.headers[found] : '';\n"
	"    if (value.endsWith('*') ? !got.startsWith(value.slice(0, -1)) : got !== value) return false;\n"
	"  }\n"
	"  if (!wanted.json) return true;\n"
	"  let body;\n"
	"  try {\n"
	"    body = answer.json();\n"
	"  } catch (e) {\n"
	"    return false;\n"
	"  }\n"
	"  return Object.entries(wanted.json).every(([pointer, value]) => at(body, pointer) === value);\n"
	"}\n"
	"\n"
	"export default function () {\n"
	"  const r = pickRequest();\n"
	"  const drawn = draw();\n"
	"  const method = r.method || 'GET';\n"
	"  const answer = http.request(method, target + fill(r.path, drawn), bodyOf(r, drawn), {\n"
	"    headers: headersOf(r, drawn),\n"
	"    redirects: 0,\n"
	"    responseCallback: http.expectedStatuses({ min: 100, max: 599 }),\n"
	"    tags: { name: r.name || `${method} ${r.path}` },\n"
	"  });\n"
	"  check(answer, { 'answered as expected': (a) => isRight(a, r.expect) });\n"
	"}\n";

static void append_data(struct buf *out, const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_INDENT(2) |
					       JSON_REAL_PRECISION(15));
	if (text)
		buf_append_str(out, text);
	else
		out->failed = true;
	free(text);
}

/* --- load ------------------------------------------------------------------------------------------------
 */

/* k6 takes whole rates only: a broken one is said a minute. */
static void set_rate(json_t *options, const char *key, double rate)
{
	bool whole = rate == floor(rate);
	json_object_set_new(options, key, json_integer((json_int_t)llround(whole ? rate : rate * 60)));
	json_object_set_new(options, "timeUnit", json_string(whole ? "1s" : "1m"));
}

static double rate_at(const json_t *stage, const char *key)
{
	json_t *rate = json_object_get(stage, "rate");
	return json_number_value(rate ? rate : json_object_get(stage, key));
}

/* A stage begins where the one before it ended, or a stage of no time takes it there. */
static void set_stages(json_t *options, const json_t *stages)
{
	json_t *list = json_array(), *stage;
	double last = rate_at(json_array_get(stages, 0), "from");
	size_t i;
	bool whole = true;
	json_array_foreach(stages, i, stage)
	{
		whole = whole && rate_at(stage, "from") == floor(rate_at(stage, "from")) &&
			rate_at(stage, "to") == floor(rate_at(stage, "to"));
	}
	double unit = whole ? 1 : 60;
	json_object_set_new(options, "executor", json_string("ramping-arrival-rate"));
	json_object_set_new(options, "startRate", json_integer((json_int_t)llround(last * unit)));
	json_object_set_new(options, "timeUnit", json_string(whole ? "1s" : "1m"));
	json_array_foreach(stages, i, stage)
	{
		double from = rate_at(stage, "from"), to = rate_at(stage, "to");
		if (from != last)
			json_array_append_new(list,
					      json_pack("{s:I, s:s}", "target",
							(json_int_t)llround(from * unit), "duration", "0s"));
		json_array_append_new(list, json_pack("{s:I, s:O}", "target", (json_int_t)llround(to * unit),
						      "duration", json_object_get(stage, "duration")));
		last = to;
	}
	json_object_set_new(options, "stages", list);
}

static json_t *scenario_options(const json_t *load)
{
	json_t *options = json_object(), *stages = json_object_get(load, "stages");
	json_t *duration = json_object_get(load, "duration"), *rate = json_object_get(load, "rate");
	const char *mode = json_string_value(json_object_get(load, "mode"));
	json_int_t vus = json_integer_value(json_object_get(load, "connections"));
	if (vus < 1)
		vus = VUS_DEFAULT;
	if (mode && strcmp(mode, "closed") == 0) {
		json_object_set_new(options, "executor", json_string("constant-vus"));
		json_object_set_new(options, "vus", json_integer(vus));
	} else {
		json_object_set_new(options, "preAllocatedVUs", json_integer(vus));
		json_object_set_new(options, "maxVUs", json_integer(vus));
		if (json_array_size(stages)) {
			set_stages(options, stages);
		} else {
			json_object_set_new(options, "executor", json_string("constant-arrival-rate"));
			set_rate(options, "rate", rate ? json_number_value(rate) : 200);
		}
	}
	if (!json_array_size(stages) && duration)
		json_object_set(options, "duration", duration);
	else if (!json_array_size(stages))
		json_object_set_new(options, "duration", json_string("30s"));
	return options;
}

/* --- thresholds ------------------------------------------------------------------------------------------
 */

static void add_threshold(json_t *thresholds, const char *metric, json_t *text)
{
	json_t *list = json_object_get(thresholds, metric);
	if (!list && json_object_set_new(thresholds, metric, json_array()) == 0)
		list = json_object_get(thresholds, metric);
	json_array_append_new(list, text);
}

static double time_ms(const char *limit)
{
	char *unit;
	double value = strtod(limit, &unit);
	return strncmp(unit, "ms", 2) == 0   ? value
	       : strncmp(unit, "us", 2) == 0 ? value / 1000
					     : value * 1000;
}

/* "p99<200ms" in k6's words; false when k6 has none. */
static bool translate(json_t *thresholds, const char *text)
{
	static const char *const times[][2] = {{"min", "min"}, {"mean", "avg"}, {"max", "max"}};
	size_t metric = strcspn(text, "<> ");
	const char *op = text + metric + strspn(text + metric, " ");
	size_t op_len = strspn(op, "<>=");
	const char *limit = op + op_len + strspn(op + op_len, " ");
	if (text[0] == 'p' && metric > 1) {
		add_threshold(thresholds, "http_req_duration",
			      json_sprintf("p(%.*s)%.*s%.9g", (int)metric - 1, text + 1, (int)op_len, op,
					   time_ms(limit)));
		return true;
	}
	for (size_t i = 0; i < 3; i++) {
		if (strlen(times[i][0]) == metric && strncmp(text, times[i][0], metric) == 0) {
			add_threshold(
				thresholds, "http_req_duration",
				json_sprintf("%s%.*s%.9g", times[i][1], (int)op_len, op, time_ms(limit)));
			return true;
		}
	}
	if (metric == 4 && strncmp(text, "rate", 4) == 0) {
		add_threshold(thresholds, "http_reqs",
			      json_sprintf("rate%.*s%.9g", (int)op_len, op, strtod(limit, NULL)));
		return true;
	}
	if (metric == 6 && strncmp(text, "failed", 6) == 0) { /* its complement is the share of good checks */
		double share = strtod(limit, NULL) / (strchr(limit, '%') ? 100 : 1);
		add_threshold(thresholds, "checks",
			      json_sprintf("rate%c%s%.9g", op[0] == '<' ? '>' : '<', op_len > 1 ? "=" : "",
					   1 - share));
		return true;
	}
	return false;
}

static json_t *all_options(const json_t *scenario, struct buf *notes)
{
	const json_t *load = json_object_get(scenario, "load");
	json_t *thresholds = json_object(), *item;
	size_t i;
	json_array_foreach(json_object_get(scenario, "thresholds"), i, item)
	{
		const char *text = json_string_value(item);
		if (text && !translate(thresholds, text))
			buf_printf(notes, "threshold %s has no counterpart in k6 and is left out\n", text);
	}
	json_t *options = json_pack("{s:{s:o}, s:o}", "scenarios", "traffic", scenario_options(load),
				    "thresholds", thresholds);
	if (options && json_is_false(json_object_get(load, "keep_alive")))
		json_object_set_new(options, "noConnectionReuse", json_true());
	return options;
}

bool k6_write(const json_t *scenario, struct buf *out, struct buf *notes)
{
	json_t *requests = json_object_get(scenario, "requests"),
	       *variables = json_object_get(scenario, "variables");
	json_t *name = json_object_get(scenario, "name");
	if (!json_array_size(requests)) {
		buf_append_str(notes, "a scenario is an object with a list \"requests\"\n");
		return false;
	}
	json_t *none = json_object(), *options = all_options(scenario, notes);
	buf_append_str(out, head);
	buf_append_str(out, "\nexport const scenarioName = ");
	append_data(out, name ? name : none);
	buf_append_str(out, ";\n\nexport const options = ");
	append_data(out, options);
	buf_append_str(out, ";\n\nconst variables = ");
	append_data(out, variables ? variables : none);
	buf_append_str(out, ";\n\nconst requests = ");
	append_data(out, requests);
	buf_append_str(out, ";\n");
	buf_append_str(out, tail);
	json_decref(none);
	json_decref(options);
	return !out->failed;
}

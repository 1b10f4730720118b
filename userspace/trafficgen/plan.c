/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: see plan.h.
 *
 * A JSON body stands in the scenario as JSON only if it comes out again byte for byte (but for white space):
 * numbers that would not (twenty digits, 1.0e2) and doubled names make it a string instead, and what is sent
 * stays exact.
 */
#include "trafficgen/plan.h"

#include "judge/json.h"

#include <phoenix/head.h>
#include <phoenix/route.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RATE_DEFAULT	   20
#define DURATION_DEFAULT_S 30
#define LINE_COLUMNS	   100

static const struct {
	const char *word, *help;
} omissions[] = {
#define X(name, word, help) {word, help},
	PLAN_OMISSIONS(X)
#undef X
};

const char *plan_omission_word(enum plan_omission omission)
{
	return omissions[omission].word;
}

void plan_init(struct plan *plan, const struct plan_options *options)
{
	*plan = (struct plan){.options = *options, .variables = json_object(), .requests = json_array()};
	if (!plan->options.requests_max)
		plan->options.requests_max = PLAN_REQUESTS_DEFAULT;
	plan->failed = !plan->variables || !plan->requests;
}

void plan_fini(struct plan *plan)
{
	json_decref(plan->variables);
	json_decref(plan->requests);
	buf_fini(&plan->notes);
}

void plan_note(struct plan *plan, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	buf_printf(&plan->notes, "%s\n", text);
}

void plan_omit(struct plan *plan, enum plan_omission why, uint64_t count, const char *where)
{
	if (!plan->omitted[why] && count && where)
		snprintf(plan->omitted_first[why], sizeof(plan->omitted_first[why]), "%s", where);
	plan->omitted[why] += count;
}

/* --- text ------------------------------------------------------------------------------------------------
 */

void plan_escape(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '$' && i + 1 < text.len && text.ptr[i + 1] == '{')
			buf_append_char(out, '$');
		buf_append_char(out, text.ptr[i]);
	}
}

bool plan_text_is_unicode(struct slice text)
{
	json_t *string = memchr(text.ptr ? text.ptr : "", 0, text.len)
				 ? NULL
				 : json_stringn(text.ptr ? text.ptr : "", text.len);
	bool good = string != NULL;
	json_decref(string);
	return good;
}

void plan_identifier(struct buf *out, struct slice text)
{
	size_t start = out->len;
	for (size_t i = 0; i < text.len && out->len - start < 40; i++) {
		char c = text.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (letter)
			buf_append_char(out, c);
		else if (out->len > start && out->data[out->len - 1] != '_')
			buf_append_char(out, '_');
	}
	while (out->len > start && out->data[out->len - 1] == '_')
		out->len--;
	if (out->len == start)
		buf_append_str(out, "value");
}

uint64_t plan_time(const char *text)
{
	struct tm tm = {0};
	double seconds;
	char zone[8] = "";
	if (!text || strlen(text) > 40 ||
	    sscanf(text, "%4d-%2d-%2dT%2d:%2d:%lf%7s", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
		   &tm.tm_min, &seconds, zone) < 6)
		return 0;
	int hours = 0, minutes = 0;
	if (zone[0] == '+' || zone[0] == '-')
		sscanf(zone + 1, "%2d:%2d", &hours, &minutes);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	int64_t at = (int64_t)timegm(&tm) - (zone[0] == '-' ? -1 : 1) * (hours * 60 + minutes) * 60;
	return at > 0 && seconds >= 0 && seconds < 61 ? (uint64_t)at * 1000 + (uint64_t)(seconds * 1000) : 0;
}

/* A path and query that our own parser and every other reads alike: visible ASCII without the odd ones. */
static bool target_is_plain(struct slice target)
{
	if (!target.len || target.ptr[0] != '/')
		return false;
	for (size_t i = 0; i < target.len; i++) {
		if (target.ptr[i] <= ' ' || target.ptr[i] >= 0x7f || strchr("\"\\#<>", target.ptr[i]))
			return false;
	}
	return true;
}

static bool method_is_plain(struct slice method)
{
	for (size_t i = 0; i < method.len; i++) {
		if (!phx_byte_is(PHX_TCHAR, (__u8)method.ptr[i]))
			return false;
	}
	return method.len && method.len < 32 && !slice_equal(method, SLICE("CONNECT")) &&
	       !slice_equal(method, SLICE("TRACE"));
}

bool plan_field_is_plain(struct slice name, struct slice value)
{
	for (size_t i = 0; i < name.len; i++) {
		if (!phx_byte_is(PHX_TCHAR, (__u8)name.ptr[i]))
			return false;
	}
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return name.len > 0 && value.len <= PLAN_TARGET_BYTES_MAX && plan_text_is_unicode(value);
}

static bool method_is_safe(struct slice method)
{
	return slice_equal(method, SLICE("GET")) || slice_equal(method, SLICE("HEAD")) ||
	       slice_equal(method, SLICE("OPTIONS"));
}

bool plan_takes(struct plan *plan, struct slice method, struct slice target, const char *where)
{
	enum plan_omission why;
	if (!method_is_plain(method))
		why = PLAN_OMIT_METHOD;
	else if (target.len > PLAN_TARGET_BYTES_MAX)
		why = PLAN_OMIT_BIG;
	else if (!target_is_plain(target))
		why = PLAN_OMIT_TARGET;
	else if (plan->options.matches && !plan->options.matches(plan->options.context, method, target))
		why = PLAN_OMIT_ROUTE;
	else if (!plan->options.unsafe && !method_is_safe(method))
		why = PLAN_OMIT_UNSAFE;
	else
		return true;
	plan_omit(plan, why, 1, where);
	return false;
}

/* --- requests --------------------------------------------------------------------------------------------
 */

const char *plan_variable(struct plan *plan, const char *name, json_t *values)
{
	char unique[80];
	snprintf(unique, sizeof(unique), "%s", name);
	for (unsigned i = 2; json_object_get(plan->variables, unique); i++)
		snprintf(unique, sizeof(unique), "%.60s_%u", name, i);
	if (!values || json_object_set_new(plan->variables, unique, values)) {
		plan->failed = true;
		return "failed";
	}
	return json_object_iter_key(json_object_iter_at(plan->variables, unique));
}

/* Without the white space between its tokens; the text is JSON. */
static void minify(struct buf *out, struct slice text)
{
	bool in_string = false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (in_string || !memchr(" \t\r\n", c, 4))
			buf_append_char(out, c);
		if (in_string && c == '\\' && i + 1 < text.len)
			buf_append_char(out, text.ptr[++i]);
		else if (c == '"')
			in_string = !in_string;
	}
}

static json_t *body_value(struct slice body, bool is_json)
{
	struct json_tokens tokens = {0};
	struct buf small = {0};
	json_t *value = NULL;
	if (is_json && json_tokenize(body, NULL, &tokens, NULL) == 0 &&
	    tokens.items[0].type != JSON_TOKEN_STRING) {
		minify(&small, body);
		value = json_loadb(body.ptr, body.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
		char *again =
			value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY)
			      : NULL;
		if (!again || !slice_equal(slice_str(again), buf_slice(&small))) {
			json_decref(value);
			value = NULL;
		}
		free(again);
	}
	json_tokens_fini(&tokens);
	buf_fini(&small);
	return value ? value : json_stringn(body.ptr, body.len);
}

bool plan_add(struct plan *plan, struct plan_request *request)
{
	json_t *json = json_object();
	if (json_array_size(plan->requests) >= plan->options.requests_max) {
		plan_omit(plan, PLAN_OMIT_RARE, 1, request->name);
		json_decref(request->headers);
		json_decref(request->expect);
		json_decref(json);
		return false;
	}
	if (request->name)
		json_object_set_new(json, "name", json_string(request->name));
	json_object_set_new(json, "method", json_string(request->method));
	json_object_set_new(json, "path", json_string(request->path));
	if (request->headers && json_object_size(request->headers))
		json_object_set(json, "headers", request->headers);
	json_decref(request->headers);
	if (request->body.ptr) {
		json_t *body = body_value(request->body, request->body_is_json);
		/* A string is text/plain by default. */
		if (request->body_is_json && json_is_string(body)) {
			json_t *headers = json_object_get(json, "headers");
			if (!headers && json_object_set_new(json, "headers", json_object()) == 0)
				headers = json_object_get(json, "headers");
			if (!json_object_get(headers, "Content-Type"))
				json_object_set_new(headers, "Content-Type", json_string("application/json"));
		}
		json_object_set_new(json, "body", body);
	}
	if (request->weight != 1)
		json_object_set_new(json, "weight",
				    request->weight == floor(request->weight)
					    ? json_integer((json_int_t)request->weight)
					    : json_real(request->weight));
	if (request->expect)
		json_object_set_new(json, "expect", request->expect);
	if (!json_object_get(json, "path") || json_array_append_new(plan->requests, json)) {
		plan->failed = true;
		return false;
	}
	return true;
}

/* --- out -------------------------------------------------------------------------------------------------
 */

/* Three digits say enough of a rate. */
static double rounded_rate(double rate)
{
	if (rate < 1)
		return 1;
	if (rate > PLAN_RATE_MAX)
		return PLAN_RATE_MAX;
	double unit = pow(10, floor(log10(rate)) - 2);
	return unit >= 1 ? round(rate / unit) * unit : round(rate * 100) / 100;
}

static json_t *number(double value)
{
	return value == floor(value) ? json_integer((json_int_t)value) : json_real(value);
}

json_t *plan_document(struct plan *plan, const char *name, const char *comment)
{
	char duration[32];
	double rate = plan->options.rate;
	if (plan->failed || json_array_size(plan->requests) == 0)
		return NULL;
	if (rate <= 0)
		rate = plan->recorded_rate > 0 ? rounded_rate(plan->recorded_rate) : RATE_DEFAULT;
	snprintf(duration, sizeof(duration), "%.6gs",
		 plan->options.duration_s > 0 ? plan->options.duration_s : (double)DURATION_DEFAULT_S);
	json_t *json = json_pack("{s:s, s:s, s:{s:o, s:s}}", "name", name, "comment", comment, "load", "rate",
				 number(rate), "duration", duration);
	if (json && json_object_size(plan->variables))
		json_object_set(json, "variables", plan->variables);
	if (json) {
		json_object_set(json, "requests", plan->requests);
		json_object_set_new(json, "thresholds", json_pack("[s]", "failed<1%"));
	}
	return json;
}

static void append_json(struct buf *out, const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	if (text)
		buf_append_str(out, text);
	else
		out->failed = true;
	free(text);
}

/* An object a member a line. */
static void append_members(struct buf *out, const json_t *object, const char *indent)
{
	const char *key;
	json_t *value;
	bool first = true;
	buf_append_char(out, '{');
	json_object_foreach((json_t *)object, key, value)
	{
		buf_printf(out, "%s\n%s  ", first ? "" : ",", indent);
		buf_append_json(out, slice_str(key));
		buf_append_str(out, ": ");
		append_json(out, value);
		first = false;
	}
	buf_printf(out, "%s%s}", first ? "" : "\n", first ? "" : indent);
}

static void append_request(struct buf *out, const json_t *request)
{
	size_t start = out->len;
	append_json(out, request);
	if (out->len - start <= LINE_COLUMNS || !json_is_object(request))
		return;
	out->len = start;
	append_members(out, request, "    ");
}

void plan_write_document(const json_t *scenario, struct buf *out)
{
	const char *key;
	json_t *value, *item;
	size_t i;
	bool first = true;
	buf_append_str(out, "{");
	json_object_foreach((json_t *)scenario, key, value)
	{
		buf_append_str(out, first ? "\n  " : ",\n  ");
		buf_append_json(out, slice_str(key));
		buf_append_str(out, ": ");
		first = false;
		if (strcmp(key, "variables") == 0 && json_is_object(value)) {
			append_members(out, value, "  ");
		} else if (strcmp(key, "requests") == 0 && json_is_array(value)) {
			buf_append_char(out, '[');
			json_array_foreach(value, i, item)
			{
				buf_append_str(out, i ? ",\n    " : "\n    ");
				append_request(out, item);
			}
			buf_append_str(out, "\n  ]");
		} else {
			append_json(out, value);
		}
	}
	buf_append_str(out, "\n}\n");
}

bool plan_write(struct plan *plan, const char *name, const char *comment, struct buf *out)
{
	json_t *document = plan_document(plan, name, comment);
	if (!document)
		return false;
	plan_write_document(document, out);
	json_decref(document);
	return !out->failed;
}

void plan_report(const struct plan *plan, struct buf *out)
{
	for (unsigned i = 0; i < PLAN_OMISSION_COUNT; i++) {
		if (!plan->omitted[i])
			continue;
		buf_printf(out, "left out: %llu %s", (unsigned long long)plan->omitted[i], omissions[i].help);
		if (plan->omitted_first[i][0])
			buf_printf(out, "; the first: %s", plan->omitted_first[i]);
		buf_append_char(out, '\n');
	}
	buf_append_slice(out, buf_slice(&plan->notes));
}

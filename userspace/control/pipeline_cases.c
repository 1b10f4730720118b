/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_cases: requests as cases and cases as requests.
 *
 * After a rollback each kind of difference leaves its smallest failing example as a file that the next spec
 * can name in "verify": that is how the code is repaired and how one knows that it was. Before it, the cases
 * of a spec (and its route's path) are what phoenix-traffic sends when nothing else was given.
 */
#include "control/pipeline_internal.h"

#include "control/facts.h"
#include "control/value.h"
#include "pipeline/files.h"

#include <stdlib.h>
#include <unistd.h>

#define CASES_MAX 32

/* --- failing examples ----------------------------------------------------------------------------------- */

/* Was it cut or redacted when it was stored? Then it is not what was sent. */
static bool is_whole(const char *text)
{
	size_t len = strlen(text);
	return !strstr(text, "redacted:") && (len < 3 || strcmp(text + len - 3, "\xe2\x80\xa6") != 0);
}

static size_t example_bytes(const json_t *example)
{
	return strlen(json_get_str(example, "target")) + strlen(json_get_str(example, "request")) +
	       strlen(json_get_str(example, "legacy_body")) + strlen(json_get_str(example, "modern_body"));
}

static bool can_be_sent(const json_t *example)
{
	return is_whole(json_get_str(example, "request")) && json_get_str(example, "target")[0] == '/' &&
	       strlen(json_get_str(example, "target")) < 1024;
}

/* The smallest example of the group that can be sent again; NULL when there is none. Borrowed. The one that
 * was kept as the smallest has the largest room; when it was redacted, one of those for people may do. */
static const json_t *smallest_of(const json_t *group)
{
	const json_t *best = json_object_get(group, "smallest");
	json_t *example;
	size_t i;
	if (can_be_sent(best))
		return best;
	best = NULL;
	json_array_foreach(json_object_get(group, "examples"), i, example)
	{
		if (can_be_sent(example) && (!best || example_bytes(example) < example_bytes(best)))
			best = example;
	}
	return best;
}

/* Would a number change on its way through jansson: an exponent, or more digits than a double has? */
static bool has_odd_number(const char *text)
{
	size_t digits = 0;
	for (const char *c = text; *c; c++) {
		bool digit = *c >= '0' && *c <= '9';
		if (digits && (*c == 'e' || *c == 'E'))
			return true;
		if (digit && ++digits > 15)
			return true;
		if (!digit && *c != '.')
			digits = 0;
	}
	return false;
}

/* A body as a case has it: parsed when it is an object or a list, otherwise its text. */
static json_t *body_value(const char *text)
{
	json_t *json = has_odd_number(text) ? NULL : json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	return json ? json : json_text(slice_str(text));
}

static json_t *case_of(const json_t *group, const json_t *example)
{
	static const char *const sent[] = {"accept", "content-type", "accept-language"};
	const char *body = json_get_str(example, "request"), *answer = json_get_str(example, "legacy_body");
	json_t *headers = json_object(), *request;
	for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		const char *value = json_get_str(json_object_get(example, "request_headers"), sent[i]);
		if (value[0] && is_whole(value))
			json_object_set_new(headers, sent[i], json_text(slice_str(value)));
	}
	request = json_pack("{s:s, s:s, s:o}", "method", json_get_str(example, "method"), "path",
			    json_get_str(example, "target"), "headers", headers);
	if (body[0])
		json_object_set_new(request, "body", body_value(body));
	json_t *json =
		json_pack("{s:{s:s, s:s, s:o, s:o}, s:o}", "why", "pointer", json_get_str(group, "pointer"),
			  "kind", json_get_str(group, "kind"), "legacy",
			  json_incref(json_object_get(example, "legacy") ?: json_null()), "modern",
			  json_incref(json_object_get(example, "modern") ?: json_null()), "request", request);
	json_int_t status = json_integer_value(json_object_get(example, "legacy_status"));
	/* Without an answer that is whole, legacy is asked again when the case is replayed. */
	if (json && status && is_whole(answer)) {
		json_t *response = json_pack("{s:I}", "status", status);
		if (answer[0])
			json_object_set_new(response, "body", body_value(answer));
		json_object_set_new(json, "response", response);
	}
	return json;
}

struct sized_case {
	json_t *json;
	size_t bytes;
};

static int by_bytes(const void *a, const void *b)
{
	const struct sized_case *x = a, *y = b;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static size_t find_cases(const struct rollout *r, struct sized_case *out)
{
	struct route *route = rollout_route(r);
	json_t *groups = route ? facts_differences(r->pipeline->control->facts, route->slot) : NULL, *group;
	size_t count = 0, i;
	json_array_foreach(groups, i, group)
	{
		const json_t *example = json_get_bool(group, "ignored") ? NULL : smallest_of(group);
		if (!example || count == CASES_MAX)
			continue;
		out[count].json = case_of(group, example);
		out[count].bytes = example_bytes(example);
		count += out[count].json != NULL;
	}
	json_decref(groups);
	qsort(out, count, sizeof(*out), by_bytes);
	return count;
}

void cases_write(struct rollout *r)
{
	struct sized_case cases[CASES_MAX];
	struct buf why = {0};
	size_t count = find_cases(r, cases);
	int work = count ? files_open_folder(r->work, false, &why) : -1;
	json_decref(r->cases);
	r->cases = json_array();
	for (size_t i = 0; i < count; i++) {
		char name[64];
		snprintf(name, sizeof(name), "cases/%u-%zu.json", r->number, i + 1);
		char *text = json_dumps(cases[i].json, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
		if (work >= 0 && text && files_write(work, name, slice_str(text), 0644, &why) == 0) {
			json_t *path = json_sprintf("%s/%s", r->work, name);
			json_t *entry = json_pack("{s:o, s:O}", "file", path, "case", cases[i].json);
			json_array_append_new(r->cases, entry);
			if (i == 0)
				rollout_say(
					r,
					"the smallest failing example: %s %s differs at %s (%s), case %s/%s",
					json_get_str(json_object_get(cases[i].json, "request"), "method"),
					json_get_str(json_object_get(cases[i].json, "request"), "path"),
					json_get_str(json_object_get(cases[i].json, "why"), "pointer"),
					json_get_str(json_object_get(cases[i].json, "why"), "kind"), r->work,
					name);
		} else if (why.len) {
			rollout_say(r, "a failing example cannot be kept: %s", buf_cstr(&why));
		}
		free(text);
		json_decref(cases[i].json);
	}
	if (work >= 0)
		close(work);
	buf_fini(&why);
}

/* --- traffic made of the spec --------------------------------------------------------------------------- */

/* "${" would be a place to fill in. */
static bool is_plain(const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	bool plain = text && !strstr(text, "${");
	free(text);
	return plain;
}

json_t *scenario_of(const struct spec *spec)
{
	json_t *requests = json_array(), *item;
	size_t i;
	json_array_foreach(spec->verify, i, item)
	{
		const json_t *request = json_object_get(item, "request");
		if (!json_is_object(request) || !is_plain(request))
			continue;
		json_t *copy = json_deep_copy(request);
		if (!json_object_get(copy, "method"))
			json_object_set_new(copy, "method", json_string("GET"));
		json_array_append_new(requests, copy);
	}
	/* A path without places is a request by itself. */
	const struct route_config *route = spec->route;
	bool get = route->method_mask == ~0u;
	for (i = 0; i < route->methods.count; i++)
		get |= strcmp(route->methods.items[i], "GET") == 0;
	if (json_array_size(requests) == 0 && get && !strpbrk(route->path, "{*$"))
		json_array_append_new(requests,
				      json_pack("{s:s, s:s}", "method", "GET", "path", route->path));
	if (json_array_size(requests) == 0) {
		json_decref(requests);
		return NULL;
	}
	return json_pack("{s:s, s:o}", "name", spec->id, "requests", requests);
}

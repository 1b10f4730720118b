/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: the contract replay (probe.h). Known requests are asked of the new service, and what it answers is
 * compared by the route's own rules with what is expected of it.
 */
#include "pipeline/probe_internal.h"

#include "judge/compare.h"
#include "pipeline/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define CASE_BYTES_MAX (1u << 20)
#define FAILURES_SHOWN 3

/* A case by its name: a file of the source, or one that Phoenix wrote below WORK. */
static json_t *load_case(struct deployment *d, bool next, const char *name, struct buf *why)
{
	struct buf text = {0}, reason = {0};
	json_error_t error;
	size_t len = strlen(d->work);
	int err = -ENOENT;
	const char *path = name;
	if (name[0] == '/') {
		path = strncmp(name, d->work, len) == 0 && name[len] == '/' ? name + len + 1 : NULL;
		if (!path)
			buf_printf(&reason, "is outside of %s, where Phoenix writes cases", d->work);
	} else {
		err = release_read_file(d, next, path, CASE_BYTES_MAX, &text, &reason);
	}
	if (err == -ENOENT && path) {
		buf_reset(&text);
		buf_reset(&reason);
		int work = files_open_folder(d->work, false, &reason);
		err = work < 0 ? work : files_read(work, path, CASE_BYTES_MAX, &text, &reason);
		if (work >= 0)
			close(work);
	}
	json_t *json =
		err ? NULL : json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &error);
	if (!err && !json)
		buf_printf(&reason, "line %d: %s", error.line, error.text);
	if (json && !json_is_object(json_object_get(json, "request"))) {
		buf_append_str(&reason, "has no \"request\"");
		json_decref(json);
		json = NULL;
	}
	if (!json)
		buf_printf(why, "the case %s: %s", name, buf_cstr(&reason));
	buf_fini(&text);
	buf_fini(&reason);
	return json;
}

/* What a case compares by: the route's rules; headers are those that the case gives, if it gives an answer.
 */
static struct compare_plan *plan_of(const struct spec *spec, const json_t *response, struct buf *why)
{
	const struct compare_config *config = &spec->route->compare;
	const json_t *headers = json_object_get(response, "headers");
	char *names[FIELDS_MAX];
	size_t count = 0;
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)headers, name, value)
	{
		if (count < FIELDS_MAX)
			names[count++] = (char *)name;
	}
	struct compare_options options = {
		.ignore = {config->ignore.items, config->ignore.count},
		.headers = {config->headers.items, config->headers.count},
		.unordered = {config->unordered.items, config->unordered.count},
		.redact = {config->redact.items, config->redact.count},
		.float_tolerance = config->float_tolerance,
	};
	if (response)
		options.headers = (struct compare_strings){names, count};
	if (getrandom(options.key, sizeof(options.key), 0) != sizeof(options.key))
		return NULL;
	return compare_plan_create(&options, why);
}

/* The answer that a case gives, as a message. What it does not say is taken from what came: that is equal. */
static void expected_message(const json_t *response, const struct answer *got, struct header_field *fields,
			     char **text, struct compare_message *out)
{
	const json_t *status = json_object_get(response, "status"), *body = json_object_get(response, "body");
	const char *name;
	json_t *value;
	bool has_type = false;
	*out = (struct compare_message){.status = json_is_integer(status) ? (int)json_integer_value(status)
									  : got->status,
					.fields = fields,
					.body = buf_slice(&got->body)};
	json_object_foreach(json_object_get(response, "headers"), name, value)
	{
		if (out->field_count < FIELDS_MAX - 1)
			fields[out->field_count++] = (struct header_field){
				slice_str(name),
				slice_str(json_string_value(value) ? json_string_value(value) : "")};
		has_type |= strcasecmp(name, "content-type") == 0;
	}
	for (size_t i = 0; i < got->field_count && !has_type; i++) {
		if (slice_equal_nocase(got->fields[i].name, SLICE("content-type"))) {
			fields[out->field_count++] = got->fields[i];
			has_type = true;
		}
	}
	if (json_is_string(body))
		out->body = slice_of(json_string_value(body), json_string_length(body));
	else if (body && (*text = json_dumps(body, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17))))
		out->body = slice_str(*text);
}

static struct compare_message message_of(const struct answer *answer)
{
	return (struct compare_message){
		.status = answer->status,
		.fields = answer->fields,
		.field_count = answer->field_count,
		.body = buf_slice(&answer->body),
	};
}

static void tell_difference(const struct compare_result *result, const struct compare_message *expected,
			    const struct compare_message *got, struct buf *why)
{
	for (uint32_t i = 0; i < result->kept; i++) {
		const struct compare_difference *difference = &result->differences[i];
		if (difference->ignored)
			continue;
		buf_printf(why, "%.*s (%s): expected %.*s, got %.*s",
			   difference->pointer.len ? (int)difference->pointer.len : 4,
			   difference->pointer.len ? difference->pointer.ptr : "body",
			   compare_kind_word(difference->kind), SLICE_ARG(difference->legacy),
			   SLICE_ARG(difference->modern));
		return;
	}
	buf_printf(why, "the answers cannot be compared: %s (status %d and %d)",
		   compare_reason_help(result->reason), expected->status, got->status);
}

static bool is_safe(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

struct replay {
	struct deployment *d;
	struct job *job;
	struct compare_scratch *scratch;
	uint16_t port;
};

/* Compares; true when equal. */
static bool judge(struct replay *replay, const json_t *response, const struct answer *legacy,
		  const struct answer *modern, bool is_head, struct buf *why)
{
	struct compare_plan *plan = plan_of(replay->d->spec, response, why);
	struct compare_result *result = calloc(1, sizeof(*result));
	struct header_field fields[FIELDS_MAX];
	char *text = NULL;
	bool equal = false;
	if (plan && result) {
		struct compare_message got = message_of(modern), expected;
		if (response)
			expected_message(response, modern, fields, &text, &expected);
		else
			expected = message_of(legacy);
		got.is_head = expected.is_head = is_head;
		compare_messages(plan, replay->scratch, &expected, &got, result);
		equal = result->verdict == COMPARE_MATCH;
		if (!equal)
			tell_difference(result, &expected, &got, why);
	}
	if (result)
		compare_result_fini(result);
	free(result);
	free(text);
	compare_plan_destroy(plan);
	return equal;
}

/* One case: 0 equal, -EPROTO different, or why it could not be asked. */
static int replay_case(struct replay *replay, const json_t *item, struct buf *why)
{
	const json_t *request = json_object_get(item, "request"),
		     *response = json_object_get(item, "response");
	const json_t *body = json_object_get(request, "body");
	const char *method = json_string_value(json_object_get(request, "method"));
	const char *path = json_string_value(json_object_get(request, "path"));
	const struct config_url *legacy_url = &replay->d->spec->route->legacy,
				*modern_url = &replay->d->spec->route->modern;
	struct answer modern = {0}, legacy = {0};
	struct buf url = {0};
	char *text = json_is_string(body) || !body ? NULL : json_dumps(body, JSON_ENCODE_ANY | JSON_COMPACT);
	if (!path || path[0] != '/') {
		buf_append_str(why, "its request has no path");
		free(text);
		return -EPROTO;
	}
	buf_printf(why, "%s %s: ", method ? method : "GET", path);
	buf_printf(&url, "http://127.0.0.1:%u%s%s", replay->port,
		   modern_url->base_path ? modern_url->base_path : "", path);
	struct question question = {
		.method = method ? method : "GET",
		.url = buf_cstr(&url),
		.headers = json_object_get(request, "headers"),
		.body = text ? slice_str(text) : slice_of(json_string_value(body), json_string_length(body)),
		.has_body = body != NULL,
		.json = text != NULL,
		.timeout_ms = PROBE_TIMEOUT_MS,
	};
	int err = probe_ask(replay->job, &question, &modern, why);
	if (!err && !json_is_object(response)) {
		if (!is_safe(question.method)) {
			buf_append_str(
				why, "a case without a response is asked of legacy, and needs a safe method");
			err = -EPROTO;
		} else {
			buf_reset(&url);
			bool v6 = strchr(legacy_url->host, ':') != NULL;
			buf_printf(&url, "http://%s%s%s:%u%s%s", v6 ? "[" : "", legacy_url->host,
				   v6 ? "]" : "", legacy_url->port,
				   legacy_url->base_path ? legacy_url->base_path : "", path);
			question.url = buf_cstr(&url);
			buf_append_str(why, "(legacy) ");
			err = probe_ask(replay->job, &question, &legacy, why);
		}
		response = NULL;
	}
	if (!err && !judge(replay, response, &legacy, &modern, strcmp(question.method, "HEAD") == 0, why))
		err = -EPROTO;
	probe_answer_fini(&modern);
	probe_answer_fini(&legacy);
	buf_fini(&url);
	free(text);
	return err;
}

int probe_cases(struct deployment *d, struct job *job, bool next, uint16_t port, struct buf *why)
{
	const json_t *list = d->spec->verify;
	size_t count = json_array_size(list), failed = 0, i;
	json_t *item;
	struct replay replay = {d, job, compare_scratch_create(), port};
	int err = replay.scratch ? 0 : -ENOMEM;
	json_array_foreach((json_t *)list, i, item)
	{
		struct buf reason = {.max = 2048};
		json_t *loaded = json_is_string(item) ? load_case(d, next, json_string_value(item), &reason)
						      : json_incref(item);
		if (err) {
			json_decref(loaded);
			break;
		}
		int got = loaded ? replay_case(&replay, loaded, &reason) : -EPROTO;
		json_decref(loaded);
		if (got == -ECANCELED || got == -ETIMEDOUT) {
			err = got;
		} else if (got) {
			job_say(job, "case %zu of %zu failed: %s", i + 1, count, buf_cstr(&reason));
			if (failed++ < FAILURES_SHOWN)
				buf_printf(why, "%scase %zu of %zu: %s", failed > 1 ? "; " : "", i + 1, count,
					   buf_cstr(&reason));
		}
		buf_fini(&reason);
	}
	compare_scratch_destroy(replay.scratch);
	if (err)
		return err;
	if (failed) {
		buf_printf(why, " (%zu of %zu cases failed)", failed, count);
		return -EPROTO;
	}
	if (count)
		job_say(job, "%zu of %zu cases answered equally", count, count);
	return 0;
}

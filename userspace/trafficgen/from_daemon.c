/* SPDX-License-Identifier: Apache-2.0 */
/* from_daemon: what the daemon itself knows: a route's definition, and samples of its requests (sources.h).
 */
#include "trafficgen/collect.h"
#include "trafficgen/sources.h"

#include <errno.h>
#include <stdlib.h>

#define PARAMETER_MAX 100 /* numbers for each parameter: 1..100 */

/* --- samples ---------------------------------------------------------------------------------------------
 */

static struct slice text_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return json_is_string(value) ? slice_of(json_string_value(value), json_string_length(value))
				     : (struct slice){0};
}

static bool contains(struct slice text, const char *word)
{
	return text.len && memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

static size_t fields_of(const json_t *sample, struct header_field *fields)
{
	const char *name;
	json_t *value;
	size_t count = 0;
	json_object_foreach(json_object_get(sample, "request_headers"), name, value)
	{
		if (count < PLAN_FIELDS_MAX && json_is_string(value) &&
		    !contains(slice_str(json_string_value(value)), "redacted:"))
			fields[count++] =
				(struct header_field){slice_str(name), slice_str(json_string_value(value))};
	}
	return count;
}

static int status_of(const json_t *sample)
{
	static const char *const keys[] = {"status", "legacy_status", "modern_status"};
	for (size_t i = 0; i < 3; i++) {
		json_int_t status = json_integer_value(json_object_get(sample, keys[i]));
		if (status >= 100 && status <= 599)
			return (int)status;
	}
	return 0;
}

static int take_sample(struct plan *plan, struct collection *collection, const json_t *sample, size_t index)
{
	struct header_field fields[PLAN_FIELDS_MAX];
	char where[80];
	struct record record = {.method = text_of(sample, "method"),
				.target = text_of(sample, "target"),
				.fields = fields,
				.field_count = fields_of(sample, fields),
				.body = text_of(sample, "request"),
				.status = status_of(sample),
				.wall_ms = plan_time(json_string_value(json_object_get(sample, "at"))),
				.where = where};
	const char *type = json_string_value(
		json_object_get(json_object_get(sample, "request_headers"), "content-type"));
	snprintf(where, sizeof(where), "sample %zu", index + 1);
	record.body_is_json = type && strcasestr(type, "json");
	if (!record.body.len)
		record.body = (struct slice){0};
	if (json_is_true(json_object_get(sample, "synthetic"))) {
		plan_omit(plan, PLAN_OMIT_OURS, 1, where);
	} else if (contains(record.target, "redacted:") || contains(record.body, "redacted:")) {
		plan_omit(plan, PLAN_OMIT_REDACTED, 1, where);
	} else if (json_is_false(json_object_get(sample, "complete"))) {
		plan_omit(plan, PLAN_OMIT_CUT, 1, where);
	} else {
		return collection_add(collection, &record);
	}
	return 0;
}

int plan_from_samples(struct plan *plan, const json_t *answer, struct buf *errors)
{
	json_t *samples = json_object_get(answer, "samples"), *groups = json_object_get(answer, "groups"),
	       *item, *group;
	struct collection *collection = collection_create(plan);
	size_t i, g, seen = 0;
	int err = collection ? 0 : -ENOMEM;
	json_array_foreach(samples, i, item)
	{
		err = err ? err : take_sample(plan, collection, item, seen++);
	}
	json_array_foreach(groups, g, group)
	{
		json_array_foreach(json_object_get(group, "examples"), i, item)
		{
			err = err ? err : take_sample(plan, collection, item, seen++);
		}
	}
	if (collection) {
		int finished = collection_finish(collection);
		err = err ? err : finished;
	}
	/* The samples are a choice of what was seen in their time. */
	double of = json_number_value(json_object_get(answer, "seen"));
	if (json_array_size(samples) && of > (double)json_array_size(samples))
		plan->recorded_rate *= of / (double)json_array_size(samples);
	if (!err && !seen) {
		buf_append_str(errors,
			       "the daemon has no samples of this route: let some traffic pass first "
			       "(mirror.sample must "
			       "be above 0, and mirror.unsafe_methods set for methods that change data)\n");
		err = -EINVAL;
	}
	return err;
}

/* --- route -----------------------------------------------------------------------------------------------
 */

/* /users/{id}/orders -> /users/${id}/orders; a "*" at the end becomes nothing. */
static void write_path(struct plan *plan, struct slice pattern, struct buf *out)
{
	struct slice rest = slice_of(pattern.ptr + 1, pattern.len - 1), item;
	while (slice_split(&rest, '/', &item)) {
		buf_append_char(out, '/');
		if (item.len > 2 && item.ptr[0] == '{' && item.ptr[item.len - 1] == '}') {
			struct buf name = {0};
			plan_identifier(&name, slice_of(item.ptr + 1, item.len - 2));
			json_t *range = json_pack("{s:i, s:i}", "from", 1, "to", PARAMETER_MAX);
			buf_printf(out, "${%s}", plan_variable(plan, buf_cstr(&name), range));
			buf_fini(&name);
		} else if (slice_equal(item, SLICE("*"))) {
			plan_note(plan,
				  "the route takes everything below %.*s: edit the path of the scenario",
				  (int)(item.ptr - pattern.ptr), pattern.ptr);
		} else {
			plan_escape(out, item);
		}
	}
}

static int add_method(struct plan *plan, const char *method, struct slice pattern, struct slice host)
{
	struct buf path = {0}, name = {0};
	buf_printf(&name, "%s %.*s", method, SLICE_ARG(pattern));
	int err = 0;
	if (plan_takes(plan, slice_str(method), pattern, buf_cstr(&name))) {
		write_path(plan, pattern, &path);
		bool has_body = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
				strcmp(method, "PATCH") == 0;
		struct plan_request request = {
			.name = buf_cstr(&name),
			.method = method,
			.path = buf_cstr(&path),
			.headers = host.len ? json_pack("{s:s%}", "Host", host.ptr, host.len) : NULL,
			.body = has_body ? SLICE("{}") : (struct slice){0},
			.body_is_json = true,
			.weight = 1};
		if (has_body)
			plan_note(plan, "%s: the body is empty: edit it in the scenario", buf_cstr(&name));
		if (plan_add(plan, &request))
			plan->taken++;
		err = plan->failed || path.failed ? -ENOMEM : 0;
	}
	buf_fini(&path);
	buf_fini(&name);
	return err;
}

int plan_from_route(struct plan *plan, const json_t *config, struct buf *errors)
{
	json_t *methods = json_object_get(config, "method"), *item;
	struct slice pattern = text_of(config, "path"), host = text_of(config, "host");
	size_t i;
	int err = 0;
	if (!pattern.len || pattern.ptr[0] != '/') {
		buf_append_str(errors, "the route has no path\n");
		return -EINVAL;
	}
	const char *one = json_string_value(methods);
	if (one)
		return add_method(plan, strcmp(one, "*") == 0 ? "GET" : one, pattern, host);
	json_array_foreach(methods, i, item)
	{
		const char *word = json_string_value(item);
		if (!err && word)
			err = add_method(plan, strcmp(word, "*") == 0 ? "GET" : word, pattern, host);
	}
	return err;
}

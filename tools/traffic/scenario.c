/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario: see scenario.h. The file is read once, with every mistake that could show later; what is left for
 * each request is to pick one by weight and to fill in its templates.
 */
#include "scenario_internal.h"

#include "config_report.h"
#include "config_value.h"

#include <phoenix/head.h>
#include <phoenix/split.h>

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

int scenario_error(const struct scenario *s, const char *format, ...)
{
	va_list args;
	fprintf(stderr, "%s: error: ", s->file);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -EINVAL;
}

/* -EINVAL with the sentence in `why`, which is freed; other errors go through. */
int scenario_explain(const struct scenario *s, const char *where, int err, struct buf *why)
{
	if (err == -EINVAL)
		scenario_error(s, "%s: %s", where, buf_cstr(why));
	buf_fini(why);
	return err;
}

/* The keys of an object must be among `allowed` (a list with a NULL at its end). */
int scenario_check_keys(const struct scenario *s, const json_t *object, const char *where,
			const char *const *allowed)
{
	const char *key;
	json_t *value;
	if (!json_is_object(object))
		return scenario_error(s, "%s must be an object", where);
	json_object_foreach((json_t *)object, key, value)
	{
		size_t i = 0;
		while (allowed[i] && strcmp(allowed[i], key) != 0)
			i++;
		if (allowed[i])
			continue;
		const char *near = report_suggest(slice_str(key), allowed);
		return scenario_error(s, "%s: there is no key %s here%s%s%s", where,
				      quote(slice_str(key)).text, near ? "; did you mean \"" : "",
				      near ? near : "", near ? "\"?" : "");
	}
	return 0;
}

void scenario_fini(struct scenario *s)
{
	for (size_t i = 0; i < s->variable_count; i++) {
		struct variable *v = &s->variables[i];
		for (size_t j = 0; v->values && j < v->count * v->column_count; j++)
			free(v->values[j]);
		free(v->values);
		free(v->columns);
	}
	free(s->variables);
	for (size_t i = 0; i < s->request_count; i++) {
		template_fini(&s->requests[i].head);
		template_fini(&s->requests[i].body);
		check_fini(&s->requests[i].checks);
		free((char *)s->requests[i].name);
	}
	free(s->requests);
	json_decref(s->document);
}

/* --- requests --------------------------------------------------------------------------------------------
 */

/* "Name: value" among the options' headers that has this name. */
static bool is_overridden(const struct scenario_options *options, const char *name)
{
	for (size_t i = 0; i < options->header_count; i++) {
		size_t len = strcspn(options->headers[i], ":");
		if (slice_equal_nocase(slice_of(options->headers[i], len), slice_str(name)))
			return true;
	}
	return false;
}

static void write_other_fields(struct buf *head, const struct scenario_options *options, bool has_host,
			       bool has_agent)
{
	const struct config_url *target = options->target;
	for (size_t i = 0; i < options->header_count; i++)
		buf_printf(head, "%s\r\n", options->headers[i]);
	if (!has_host && !is_overridden(options, "host"))
		buf_printf(head, strchr(target->host, ':') ? "Host: [%s]:%u\r\n" : "Host: %s:%u\r\n",
			   target->host, target->port);
	if (!has_agent && !is_overridden(options, "user-agent"))
		buf_append_str(head, "User-Agent: phoenix-traffic/" PHOENIX_VERSION "\r\n");
	if (options->synthetic)
		buf_append_str(head, "X-Phoenix-Synthetic: 1\r\n");
}

static int write_fields(struct scenario *s, struct buf *head, const char *where, json_t *fields,
			const struct scenario_options *options, const char *body_type)
{
	static const char *const ours[] = {"content-length",  "transfer-encoding", "connection",
					   "expect",	      "upgrade",	   "x-phoenix-synthetic",
					   "x-phoenix-shadow"};
	const char *name;
	json_t *value;
	bool has_host = false, has_type = is_overridden(options, "content-type"), has_agent = false;
	if (fields && (!json_is_object(fields) || json_object_size(fields) > SCENARIO_FIELDS_MAX))
		return scenario_error(s, "%s: headers must be an object of at most %d strings", where,
				      SCENARIO_FIELDS_MAX);
	json_object_foreach(fields, name, value)
	{
		const char *text = json_string_value(value);
		if (!is_token(slice_str(name)) || !text || strpbrk(text, "\r\n"))
			return scenario_error(s, "%s: headers: %s is no field name with a string of one line",
					      where, quote(slice_str(name)).text);
		for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
			if (strcasecmp(name, ours[i]) == 0)
				return scenario_error(
					s, "%s: headers: %s is the client's own business, leave it out",
					where, name);
		}
		has_host |= !strcasecmp(name, "host");
		has_type |= !strcasecmp(name, "content-type");
		has_agent |= !strcasecmp(name, "user-agent");
		if (!is_overridden(options, name))
			buf_printf(head, "%s: %s\r\n", name, text);
	}
	write_other_fields(head, options, has_host, has_agent);
	if (body_type && !has_type)
		buf_printf(head, "Content-Type: %s\r\n", body_type);
	return 0;
}

static int read_body(struct scenario *s, struct scenario_request *r, const char *where, const json_t *body)
{
	struct buf why = {0};
	char *text = json_is_string(body)
			     ? strdup(json_string_value(body))
			     : json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY);
	int err = text ? template_add(&r->body, slice_str(text), !json_is_string(body), s->variables,
				      s->variable_count, &why)
		       : -ENOMEM;
	free(text);
	return scenario_explain(s, where, err, &why);
}

/* Method, path, name, weight: what is checked before anything is made of it. */
static int read_basics(struct scenario *s, size_t index, json_t *object, const char *where)
{
	static const char *const keys[] = {"name", "method", "path",   "headers",
					   "body", "weight", "expect", NULL};
	struct scenario_request *r = &s->requests[index];
	int err = scenario_check_keys(s, object, where, keys);
	if (err)
		return err;
	json_t *method = json_object_get(object, "method"), *weight = json_object_get(object, "weight");
	json_t *name = json_object_get(object, "name");
	const char *path = json_string_value(json_object_get(object, "path"));
	const char *word = method ? json_string_value(method) : "GET";
	double share = weight ? json_number_value(weight) : 1;
	if (!word || !is_token(slice_str(word)) || strcmp(word, "CONNECT") == 0)
		return scenario_error(s, "%s: method must be a string such as \"GET\"", where);
	if (!path || path[0] != '/' || !scenario_value_is_plain(path))
		return scenario_error(s, "%s: path must be a string that begins with \"/\", without spaces",
				      where);
	if (name && !json_is_string(name))
		return scenario_error(s, "%s: name must be a string", where);
	if ((weight && !json_is_number(weight)) || !(share > 0) || share > 1e9)
		return scenario_error(s, "%s: weight must be a number above 0", where);
	r->weight_end = (index ? r[-1].weight_end : 0) + share;
	r->is_head = strcmp(word, "HEAD") == 0;
	struct buf title = {0};
	if (name)
		buf_append_str(&title, json_string_value(name));
	else
		buf_printf(&title, "%s %s", word, path);
	r->name = strdup(buf_cstr(&title));
	buf_fini(&title);
	return r->name ? 0 : -ENOMEM;
}

static int read_request(struct scenario *s, json_t *object, const struct scenario_options *options)
{
	size_t index = s->request_count++;
	struct scenario_request *r = &s->requests[index];
	struct buf head = {0}, why = {0};
	char where[32];
	snprintf(where, sizeof(where), "requests[%zu]", index);
	int err = read_basics(s, index, object, where);
	if (!err)
		err = scenario_explain(s, where,
				       check_read(&r->checks, json_object_get(object, "expect"), &why), &why);
	if (err)
		return err;
	json_t *body = json_object_get(object, "body"), *method = json_object_get(object, "method");
	const char *body_type = !body ? NULL : json_is_string(body) ? "text/plain" : "application/json";
	r->has_body = body != NULL;
	buf_printf(&head, "%s %s%s HTTP/1.1\r\n", method ? json_string_value(method) : "GET",
		   options->target->base_path, json_string_value(json_object_get(object, "path")));
	err = write_fields(s, &head, where, json_object_get(object, "headers"), options, body_type);
	if (!err)
		err = head.failed ? -ENOMEM
				  : template_add(&r->head, buf_slice(&head), false, s->variables,
						 s->variable_count, &why);
	buf_fini(&head);
	err = scenario_explain(s, where, err, &why);
	return err || !body ? err : read_body(s, r, where, body);
}

static int read_document(struct scenario *s, const struct scenario_options *options)
{
	static const char *const keys[] = {"name",     "comment",    "load", "variables",
					   "requests", "thresholds", NULL};
	json_t *requests = json_object_get(s->document, "requests"), *item;
	json_t *name = json_object_get(s->document, "name"),
	       *comment = json_object_get(s->document, "comment");
	size_t i;
	int err = scenario_check_keys(s, s->document, "scenario", keys);
	if (err)
		return err;
	if ((name && !json_is_string(name)) || (comment && !json_is_string(comment)))
		return scenario_error(s, "name and comment must be strings");
	if (!json_array_size(requests) || json_array_size(requests) > SCENARIO_REQUESTS_MAX)
		return scenario_error(s, "requests must be a list of 1 to %d requests",
				      SCENARIO_REQUESTS_MAX);
	s->name = name ? json_string_value(name) : s->file;
	s->requests = calloc(json_array_size(requests), sizeof(*s->requests));
	if (!s->requests)
		return -ENOMEM;
	err = scenario_read_variables(s, json_object_get(s->document, "variables"));
	if (!err)
		err = scenario_read_load(s, json_object_get(s->document, "load"));
	if (!err)
		err = scenario_read_thresholds(s, json_object_get(s->document, "thresholds"));
	json_array_foreach(requests, i, item)
	{
		if (err)
			return err;
		err = read_request(s, item, options);
	}
	return err;
}

int scenario_read(struct scenario *s, const char *file, const struct scenario_options *options)
{
	json_error_t error;
	struct stat status;
	memset(s, 0, sizeof(*s));
	s->file = file;
	if (stat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > SCENARIO_FILE_BYTES_MAX)
		return scenario_error(s, "the file has %lld bytes, the limit is %u",
				      (long long)status.st_size, SCENARIO_FILE_BYTES_MAX);
	s->document = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
	if (!s->document && error.line > 0) {
		fprintf(stderr, "%s:%d:%d: error: %s\n", file, error.line, error.column, error.text);
		return -EINVAL;
	}
	if (!s->document)
		return scenario_error(s, "%s", error.text);
	if (!json_is_object(s->document))
		return scenario_error(s, "a scenario is an object: {\"requests\": [...]}");
	int err = read_document(s, options);
	if (err == -ENOMEM)
		scenario_error(s, "out of memory");
	return err;
}

int scenario_close_connections(struct scenario *s)
{
	for (size_t i = 0; i < s->request_count; i++) {
		int err = template_add(&s->requests[i].head, SLICE("Connection: close\r\n"), false, NULL, 0,
				       NULL);
		if (err)
			return err;
	}
	return 0;
}

const struct scenario_request *scenario_compose(const struct scenario *s, uint64_t seed, uint64_t k,
						struct buf *body, struct buf *out)
{
	double total = s->requests[s->request_count - 1].weight_end;
	double at = (double)(phx_mix64(~seed ^ phx_mix64(k)) >> 11) / (double)(UINT64_C(1) << 53) * total;
	size_t low = 0, high = s->request_count - 1;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (at < s->requests[middle].weight_end)
			high = middle;
		else
			low = middle + 1;
	}
	const struct scenario_request *r = &s->requests[low];
	buf_reset(body);
	buf_reset(out);
	template_fill(&r->body, s->variables, seed, k, body);
	template_fill(&r->head, s->variables, seed, k, out);
	if (r->has_body)
		buf_printf(out, "Content-Length: %zu\r\n", body->len);
	buf_append_str(out, "\r\n");
	buf_append_slice(out, buf_slice(body));
	out->failed |= body->failed;
	return r;
}

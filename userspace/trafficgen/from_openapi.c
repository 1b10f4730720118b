/* SPDX-License-Identifier: Apache-2.0 */
/*
 * from_openapi: OpenAPI 3 documents (sources.h).
 *
 * Each operation becomes one request: its required parameters and those with an example, its body, and the
 * answers that the document lists as good. Where the document shows values they are used; where it does not
 * they are made up from the schema, and then a listed 404 is a good answer too: nobody knows whether item 1
 * exists.
 */
#include "trafficgen/collect.h"
#include "trafficgen/document.h"
#include "trafficgen/schema.h"
#include "trafficgen/sources.h"

#include <errno.h>
#include <stdlib.h>

static const char *const methods[] = {"get", "head", "options", "post", "put", "patch", "delete", NULL};

struct openapi {
	struct plan *plan;
	struct document document;
	char base_path[512];
	bool noted_security;
};

/* One operation on its way into the plan. */
struct operation {
	struct openapi *api;
	struct node *node, *item; /* the operation and its path item */
	const char *method;	  /* upper case */
	struct slice path;	  /* as the document has it */
	char where[80];
	struct buf name, target, query;
	json_t *headers;
	bool made_up;
};

/* --- parameters ------------------------------------------------------------------------------------------
 */

static void percent_encode(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			     (c && strchr("-._~,:@!*()", c));
		buf_printf(out, plain ? "%c" : "%%%02X", c);
	}
}

/* A list of scalars (percent-encoded where it goes into the target) as a variable: appends its place. */
static void append_variable(struct operation *op, struct buf *out, const char *name, json_t *values,
			    bool in_target)
{
	struct buf identifier = {0};
	plan_identifier(&identifier, slice_str(name));
	for (size_t i = 0; in_target && i < json_array_size(values); i++) {
		struct buf encoded = {0};
		percent_encode(&encoded, slice_str(json_string_value(json_array_get(values, i))));
		json_array_set_new(values, i, json_string(buf_cstr(&encoded)));
		buf_fini(&encoded);
	}
	buf_printf(out, "${%s}", plan_variable(op->api->plan, buf_cstr(&identifier), values));
	buf_fini(&identifier);
}

/* The scalar in a JSON text: a string without its quotes; of an array its first element. In the text "${" is
 * escaped; in a target it is percent-encoded instead. */
static void append_scalar(struct buf *out, const char *json_text, bool in_target)
{
	json_t *value = json_loads(json_text, JSON_DECODE_ANY, NULL), *first = value;
	if (json_is_array(value))
		first = json_array_get(value, 0);
	const char *string = json_string_value(first);
	char *text = string || !first
			     ? NULL
			     : json_dumps(first, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
	struct slice scalar = slice_str(string ? string : text ? text : "");
	const char *escaped;
	if (!in_target || slice_equal(scalar, SLICE("${uuid}"))) {
		buf_append_slice(out, scalar);
		scalar.len = 0;
	}
	while (scalar.len && (escaped = memmem(scalar.ptr, scalar.len, "$${", 3))) {
		size_t before = (size_t)(escaped - scalar.ptr);
		percent_encode(out, slice_of(scalar.ptr, before));
		percent_encode(out, SLICE("${"));
		scalar = slice_of(escaped + 3, scalar.len - before - 3);
	}
	percent_encode(out, scalar);
	free(text);
	json_decref(value);
}

/* The "examples" of a parameter or a media type: {name: {"value": …}}. Its first, or NULL. */
static struct node *named_example(struct document *document, const struct node *holder)
{
	struct node *examples = document_get(holder, "examples", NODE_MAP);
	struct node *example = examples ? schema_resolve(document, examples->first) : NULL;
	return node_find(example, "value");
}

/* May every value stand in a variable (which takes what needs no escaping anywhere)? */
static bool all_plain(const json_t *values)
{
	json_t *item;
	size_t i;
	json_array_foreach(values, i, item)
	{
		for (const char *p = json_string_value(item); *p; p++) {
			if (*p <= ' ' || *p >= 0x7f || *p == '"' || *p == '\\')
				return false;
		}
	}
	return true;
}

/* Appends the parameter's value, or a place with all its values. */
static int append_parameter(struct operation *op, struct node *parameter, const char *name, struct buf *out,
			    bool in_target)
{
	struct document *document = &op->api->document;
	struct node *schema = node_find(parameter, "schema"), *example = node_find(parameter, "example");
	struct buf text = {.max = PLAN_TARGET_BYTES_MAX};
	int err = 0;
	if (!example)
		example = named_example(document, parameter);
	json_t *choices = !example && schema ? schema_choices(document, schema, &op->made_up) : NULL;
	if (choices && (in_target || all_plain(choices))) {
		append_variable(op, out, name, choices, in_target);
		return 0;
	}
	json_decref(choices);
	if (example) {
		struct buf plain = {.max = PLAN_TARGET_BYTES_MAX};
		document_json(example, &plain);
		plan_escape(&text, buf_slice(&plain));
		text.failed |= plain.failed;
		buf_fini(&plain);
	} else if (schema)
		err = schema_value(document, schema, &text, &op->made_up);
	else
		buf_append_str(&text, "\"example\"");
	if (!err)
		append_scalar(out, buf_cstr(&text), in_target);
	buf_fini(&text);
	return err;
}

static bool is_wanted(const struct node *parameter)
{
	const struct node *required = document_get(parameter, "required", NODE_BOOL);
	return (required && required->truth) || node_find(parameter, "example") ||
	       node_find(parameter, "examples");
}

/* A parameter of that place and name, of the operation or of its path item. NULL when there is none. */
static struct node *find_parameter(struct operation *op, const char *place, struct slice name)
{
	struct node *holders[] = {op->node, op->item};
	for (size_t i = 0; i < 2; i++) {
		struct node *list = document_get(holders[i], "parameters", NODE_LIST);
		for (struct node *item = list ? list->first : NULL; item; item = item->next) {
			struct node *parameter = schema_resolve(&op->api->document, item);
			const struct node *its_name = document_get(parameter, "name", NODE_STRING);
			const char *in = document_text(parameter, "in");
			if (its_name && in && strcmp(in, place) == 0 && slice_equal(its_name->text, name))
				return parameter;
		}
	}
	return NULL;
}

/* The path with its {parameters} filled in. */
static int write_path(struct operation *op)
{
	const char *p = op->path.ptr, *end = p + op->path.len;
	buf_append_str(&op->target, op->api->base_path);
	while (p < end) {
		const char *close = *p == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
		if (!close) {
			plan_escape(&op->target, slice_of(p, 1));
			p++;
			continue;
		}
		char name[128];
		snprintf(name, sizeof(name), "%.*s", (int)(close - p - 1), p + 1);
		struct node *parameter = find_parameter(op, "path", slice_str(name));
		if (!parameter) {
			report_error(&op->api->document.report, op->item->key_at,
				     "the path parameter %s of %s is not described in \"parameters\"",
				     quote(slice_str(name)).text, quote(op->path).text);
			return -EINVAL;
		}
		int err = append_parameter(op, parameter, name, &op->target, true);
		if (err)
			return err;
		p = close + 1;
	}
	return 0;
}

static int write_parameter(struct operation *op, struct node *parameter)
{
	const struct node *name = document_get(parameter, "name", NODE_STRING);
	const char *in = document_text(parameter, "in");
	struct buf value = {0};
	int err = 0;
	if (!name || !in || !is_wanted(parameter))
		return 0;
	if (strcmp(in, "query") == 0) {
		buf_append_char(&op->query, op->query.len ? '&' : '?');
		percent_encode(&op->query, name->text);
		buf_append_char(&op->query, '=');
		err = append_parameter(op, parameter, name->text.ptr, &op->query, true);
	} else if (strcmp(in, "header") == 0 && !collect_drops_field(name->text)) {
		err = append_parameter(op, parameter, name->text.ptr, &value, false);
		if (!err && plan_field_is_plain(name->text, buf_slice(&value)))
			json_object_set_new(op->headers, name->text.ptr, json_string(buf_cstr(&value)));
	}
	buf_fini(&value);
	return err;
}

/* Query and header parameters of the path item, then of the operation (which wins over the item's). */
static int write_parameters(struct operation *op)
{
	struct node *holders[] = {op->item, op->node};
	int err = 0;
	for (size_t i = 0; i < 2; i++) {
		struct node *list = document_get(holders[i], "parameters", NODE_LIST);
		for (struct node *item = list ? list->first : NULL; item && !err; item = item->next) {
			struct node *parameter = schema_resolve(&op->api->document, item);
			if (!parameter)
				return -EINVAL;
			const struct node *name = document_get(parameter, "name", NODE_STRING);
			const char *in = document_text(parameter, "in");
			if (i == 0 && name && in && find_parameter(op, in, name->text) != parameter)
				continue;
			err = write_parameter(op, parameter);
		}
	}
	return err;
}

/* --- body and answers ------------------------------------------------------------------------------------
 */

static struct node *json_media(struct node *content)
{
	struct node *first = content ? content->first : NULL;
	for (struct node *media = first; media; media = media->next) {
		if (memmem(media->key.ptr, media->key.len, "json", 4))
			return media;
	}
	return NULL;
}

/* False when there is a body that cannot be made; *err is set when the document is wrong. */
static bool write_body(struct operation *op, struct buf *body, bool *has_body, int *err)
{
	struct document *document = &op->api->document;
	struct node *request = node_find(op->node, "requestBody");
	if (!request)
		return true;
	request = schema_resolve(document, request);
	*err = request ? 0 : -EINVAL;
	struct node *content = document_get(request, "content", NODE_MAP);
	if (*err || !content || !content->first)
		return true;
	const struct node *required = document_get(request, "required", NODE_BOOL);
	struct node *media = json_media(content);
	if (!media) /* a form, a file: it can be left out only when it may be */
		return !(required && required->truth);
	struct node *example = node_find(media, "example");
	if (!example)
		example = named_example(document, media);
	struct buf text = {.max = PLAN_BODY_BYTES_MAX};
	if (example) {
		document_json(example, &text);
		plan_escape(body, buf_slice(&text));
	} else if (node_find(media, "schema")) {
		text.failed = false;
		body->max = PLAN_BODY_BYTES_MAX;
		*err = schema_value(document, node_find(media, "schema"), body, &op->made_up);
	} else {
		buf_append_str(body, "{}");
	}
	if (text.failed) {
		report_error(&document->report, media->at, "the example is over the limit of %u bytes",
			     PLAN_BODY_BYTES_MAX);
		*err = -EINVAL;
	}
	buf_fini(&text);
	*has_body = true;
	if (!slice_equal(media->key, SLICE("application/json"))) {
		char type[128];
		snprintf(type, sizeof(type), "%.*s", SLICE_ARG(media->key));
		if (!strchr(type, '*') && plan_field_is_plain(SLICE("Content-Type"), slice_str(type)))
			json_object_set_new(op->headers, "Content-Type", json_string(type));
	}
	return true;
}

static json_t *expected(const struct operation *op)
{
	const struct node *responses = document_get(op->node, "responses", NODE_MAP);
	json_t *list = json_array();
	bool has_path_parameter = memchr(op->path.ptr, '{', op->path.len) != NULL;
	for (const struct node *response = responses ? responses->first : NULL; response;
	     response = response->next) {
		const char *code = response->key.ptr;
		if (response->key.len != 3 || (code[0] != '2' && code[0] != '3' && strcmp(code, "404") != 0))
			continue;
		if (code[0] == '4' && !(op->made_up && has_path_parameter))
			continue;
		if (strcasecmp(code + 1, "xx") == 0)
			json_array_append_new(list, json_sprintf("%cxx", code[0]));
		else if (strspn(code, "0123456789") == 3)
			json_array_append_new(list, json_integer(atoi(code)));
	}
	json_t *only = json_array_size(list) == 1 ? json_incref(json_array_get(list, 0)) : NULL;
	if (only || json_array_size(list) == 0) {
		json_decref(list);
		return only;
	}
	return list;
}

/* --- operations ------------------------------------------------------------------------------------------
 */

static void note_security(struct operation *op)
{
	struct openapi *api = op->api;
	const struct node *security = node_find(op->node, "security");
	if (!security)
		security = node_find(api->document.tree.root, "security");
	if (!security || security->kind != NODE_LIST || !security->first || api->noted_security)
		return;
	api->noted_security = true;
	plan_note(api->plan, "%s asks for credentials: give them with --header when the scenario is run",
		  op->where);
}

static int add_operation(struct operation *op)
{
	struct plan *plan = op->api->plan;
	struct buf body = {0};
	bool has_body = false;
	const struct node *id = document_get(op->node, "operationId", NODE_STRING);
	int err = write_path(op);
	if (!err)
		err = write_parameters(op);
	bool possible = err || write_body(op, &body, &has_body, &err);
	if (err)
		goto out;
	if (!possible) {
		plan_omit(plan, PLAN_OMIT_BINARY, 1, op->where);
		goto out;
	}
	buf_append_slice(&op->target, buf_slice(&op->query));
	if (op->target.failed || body.failed) {
		err = -ENOMEM;
		goto out;
	}
	buf_printf(&op->name, "%s%s%s %.*s", id ? id->text.ptr : "", id ? ": " : "", op->method,
		   SLICE_ARG(op->path));
	if (op->name.len > 200)
		op->name.len = 200;
	note_security(op);
	struct plan_request request = {
		.name = plan_text_is_unicode(buf_slice(&op->name)) ? buf_cstr(&op->name) : NULL,
		.method = op->method,
		.path = buf_cstr(&op->target),
		.headers = json_incref(op->headers),
		.body = has_body ? slice_of(buf_cstr(&body), body.len) : (struct slice){0},
		.body_is_json = true,
		.weight = 1,
		.expect = expected(op),
	};
	if (plan_add(plan, &request))
		plan->taken++;
	err = plan->failed ? -ENOMEM : 0;
out:
	buf_fini(&body);
	return err;
}

/* A path of the document with its parameters as a plain word: what a route would see of it. */
static void sample_path(const struct openapi *api, struct slice path, struct buf *out)
{
	const char *p = path.ptr, *end = p + path.len;
	buf_append_str(out, api->base_path);
	for (; p < end; p++) {
		const char *close = *p == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
		buf_append_char(out, close ? '1' : *p);
		p = close ? close : p;
	}
}

static int read_operation(struct openapi *api, struct node *item, struct slice path, const char *method)
{
	char upper[16];
	struct operation op = {.api = api, .item = item, .path = path, .method = upper};
	struct buf sample = {0};
	size_t i = 0;
	op.node = schema_resolve(&api->document, document_get(item, method, NODE_MAP));
	if (!op.node)
		return 0;
	for (; method[i]; i++)
		upper[i] = (char)(method[i] - 32);
	upper[i] = '\0';
	snprintf(op.where, sizeof(op.where), "%s %.*s", upper, (int)(path.len < 60 ? path.len : 60),
		 path.ptr);
	sample_path(api, path, &sample);
	int err = 0;
	if (plan_takes(api->plan, slice_str(upper), slice_of(buf_cstr(&sample), sample.len), op.where)) {
		op.headers = json_object();
		err = op.headers ? add_operation(&op) : -ENOMEM;
		json_decref(op.headers);
	}
	buf_fini(&sample);
	buf_fini(&op.name);
	buf_fini(&op.target);
	buf_fini(&op.query);
	return err;
}

/* The path of the first server: https://host/v1/ -> /v1; what cannot be told is nothing. */
static void read_base_path(struct openapi *api)
{
	const struct node *servers = document_get(api->document.tree.root, "servers", NODE_LIST);
	const char *url = document_text(servers ? servers->first : NULL, "url");
	const char *scheme = url ? strstr(url, "://") : NULL;
	const char *path = scheme ? strchr(scheme + 3, '/') : url && url[0] == '/' ? url : NULL;
	size_t len = path ? strcspn(path, "?#{") : 0;
	while (len && path[len - 1] == '/')
		len--;
	if (!len)
		return;
	if (len >= sizeof(api->base_path) || path[len] == '{' || strpbrk(path, " \"\\<>")) {
		plan_note(api->plan,
			  "the path of the document's first server cannot be used: paths begin at /");
		return;
	}
	snprintf(api->base_path, sizeof(api->base_path), "%.*s", (int)len, path);
	plan_note(api->plan, "base path: %s (of the document's first server)", api->base_path);
}

static int read_paths(struct openapi *api)
{
	struct node *root = api->document.tree.root, *version = node_find(root, "openapi");
	struct node *paths = node_find(root, "paths");
	int err = 0;
	if (!version || version->kind == NODE_LIST || version->kind == NODE_MAP ||
	    !slice_starts(version->text, SLICE("3."))) {
		const struct node *swagger = node_find(root, "swagger");
		report_error(&api->document.report,
			     version   ? version->at
			     : swagger ? swagger->at
				       : root->at,
			     swagger ? "this is Swagger 2; convert it to OpenAPI 3 first"
				     : "this is no OpenAPI 3 document: \"openapi\" must be \"3.…\"");
		return -EINVAL;
	}
	if (!paths || paths->kind != NODE_MAP || !paths->first) {
		report_error(&api->document.report, paths ? paths->at : root->at,
			     "\"paths\" is missing, empty, or no object");
		return -EINVAL;
	}
	read_base_path(api);
	for (struct node *entry = paths->first; entry && !err; entry = entry->next) {
		struct node *item = schema_resolve(&api->document, entry);
		if (!item || item->kind != NODE_MAP || !entry->key.len || entry->key.ptr[0] != '/') {
			if (entry->key.len > 2 && entry->key.ptr[0] == 'x' && entry->key.ptr[1] == '-')
				continue;
			report_error(&api->document.report, entry->key_at,
				     "paths: %s must begin with \"/\" and be an object",
				     quote(entry->key).text);
			return -EINVAL;
		}
		for (size_t i = 0; methods[i] && !err; i++)
			err = read_operation(api, item, entry->key, methods[i]);
	}
	return err;
}

int plan_from_openapi(struct plan *plan, const char *file, struct slice text, struct buf *errors)
{
	struct openapi api = {.plan = plan};
	int err = document_open(&api.document, file, text);
	if (!err)
		err = read_paths(&api);
	int reported = document_close(&api.document, errors);
	return err ? err : reported;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema: see schema.h. In order of trust: const, example, examples, default, enum, and then the type with
 * its limits. Of oneOf and anyOf the first is taken, allOf is put together member by member.
 */
#include "trafficgen/schema.h"

#include "trafficgen/plan.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define REFERENCES_MAX	32
#define VALUE_BYTES_MAX PLAN_BODY_BYTES_MAX
#define RANGE_MAX	100 /* whole numbers of a range without an upper limit */

struct maker {
	struct document *document;
	struct buf *out;
	unsigned depth;
	size_t steps;
	bool made_up;
	bool recursed;				     /* a schema was met within itself */
	const struct node *within[SCHEMA_DEPTH_MAX]; /* the schemas on the way down */
};

struct node *schema_resolve(struct document *document, struct node *node)
{
	for (unsigned i = 0; node && i < REFERENCES_MAX; i++) {
		const struct node *ref = document_get(node, "$ref", NODE_STRING);
		if (!ref)
			return node;
		struct node *to = NULL;
		if (ref->text.len && ref->text.ptr[0] == '#')
			to = document_find(document->tree.root,
					   slice_of(ref->text.ptr + 1, ref->text.len - 1));
		if (!to) {
			report_error(&document->report, ref->at, "$ref %s %s", quote(ref->text).text,
				     ref->text.len && ref->text.ptr[0] == '#'
					     ? "leads nowhere in this document"
					     : "leads out of this document; bundle it into one file first");
			return NULL;
		}
		node = to;
	}
	if (node)
		report_error(&document->report, node->at, "more than %d references one after another",
			     REFERENCES_MAX);
	return NULL;
}

/* A value of the document, as it is. */
static int copy_value(struct maker *m, const struct node *value)
{
	struct buf text = {.max = VALUE_BYTES_MAX};
	document_json(value, &text);
	plan_escape(m->out, buf_slice(&text));
	bool failed = text.failed || m->out->failed;
	buf_fini(&text);
	return failed ? -E2BIG : 0;
}

/* What the document itself gives as a value, or NULL. */
static const struct node *given_value(const struct node *schema)
{
	static const char *const keys[] = {"const", "example", "default"};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct node *value = node_find(schema, keys[i]);
		if (value)
			return value;
	}
	const struct node *list = document_get(schema, "examples", NODE_LIST);
	if (!list || !list->first)
		list = document_get(schema, "enum", NODE_LIST);
	return list ? list->first : NULL;
}

static const char *type_of(const struct node *schema)
{
	const struct node *type = node_find(schema, "type");
	if (type && type->kind == NODE_LIST) { /* 3.1: ["string", "null"] */
		for (const struct node *item = type->first; item; item = item->next) {
			if (item->kind == NODE_STRING && !slice_equal(item->text, SLICE("null")))
				return item->text.ptr;
		}
	}
	if (type && type->kind == NODE_STRING)
		return type->text.ptr;
	if (node_find(schema, "properties"))
		return "object";
	return node_find(schema, "items") ? "array" : "string";
}

/* NAN when it is not there. */
static double number_of(const struct node *schema, const char *key)
{
	const struct node *value = document_get(schema, key, NODE_NUMBER);
	return value ? strtod(value->text.ptr, NULL) : (double)NAN;
}

static int make(struct maker *m, struct node *schema);

static bool is_required(const struct node *schema, struct slice name)
{
	const struct node *list = document_get(schema, "required", NODE_LIST);
	for (const struct node *item = list ? list->first : NULL; item; item = item->next) {
		if (item->kind == NODE_STRING && slice_equal(item->text, name))
			return true;
	}
	return false;
}

/* Members of one schema and of its allOf; `first` tells whether a comma is due. */
static int make_members(struct maker *m, struct node *schema, bool *first)
{
	struct node *properties = document_get(schema, "properties", NODE_MAP);
	struct node *all = document_get(schema, "allOf", NODE_LIST);
	int err = 0;
	for (struct node *part = all ? all->first : NULL; part && !err; part = part->next) {
		struct node *to = schema_resolve(m->document, part);
		if (!to)
			return -EINVAL;
		if (++m->steps > SCHEMA_STEPS_MAX || m->depth >= SCHEMA_DEPTH_MAX)
			return 0;
		m->within[m->depth++] = to;
		err = make_members(m, to, first);
		m->depth--;
	}
	for (struct node *property = properties ? properties->first : NULL; property && !err;
	     property = property->next) {
		struct node *to = schema_resolve(m->document, property);
		if (!to)
			return -EINVAL;
		const struct node *read_only = document_get(to, "readOnly", NODE_BOOL);
		bool needed = is_required(schema, property->key);
		if ((read_only && read_only->truth) || (m->depth >= SCHEMA_DEPTH_MAX / 2 && !needed))
			continue;
		size_t start = m->out->len;
		bool outer = m->recursed, was_first = *first;
		m->recursed = false;
		if (!*first)
			buf_append_char(m->out, ',');
		*first = false;
		struct buf name = {0};
		buf_append_json(&name, property->key);
		plan_escape(m->out, buf_slice(&name));
		buf_fini(&name);
		buf_append_char(m->out, ':');
		err = make(m, to);
		if (m->recursed && !needed) { /* a tree of which one level is enough */
			m->out->len = start;
			*first = was_first;
			m->recursed = false;
		}
		m->recursed |= outer;
	}
	return err;
}

static int make_object(struct maker *m, struct node *schema)
{
	bool first = true;
	buf_append_char(m->out, '{');
	int err = make_members(m, schema, &first);
	buf_append_char(m->out, '}');
	return err;
}

static int make_array(struct maker *m, struct node *schema)
{
	double least = number_of(schema, "minItems");
	struct node *items = node_find(schema, "items");
	unsigned count = least > 1 ? least < 16 ? (unsigned)least : 16 : 1;
	int err = 0;
	if (m->depth >= SCHEMA_DEPTH_MAX / 2 && !(least > 0))
		count = 0;
	buf_append_char(m->out, '[');
	for (unsigned i = 0; i < count && items && items->kind == NODE_MAP && !err; i++) {
		if (i)
			buf_append_char(m->out, ',');
		err = make(m, items);
	}
	buf_append_char(m->out, ']');
	return err;
}

static void make_string(struct maker *m, const struct node *schema)
{
	static const struct {
		const char *format, *value;
	} formats[] = {
		{"uuid", "${uuid}"},
		{"date", "2026-01-31"},
		{"date-time", "2026-01-31T12:00:00Z"},
		{"time", "12:00:00Z"},
		{"email", "user@example.com"},
		{"uri", "https://example.com/"},
		{"url", "https://example.com/"},
		{"hostname", "example.com"},
		{"ipv4", "192.0.2.1"},
		{"ipv6", "2001:db8::1"},
		{"byte", "ZXhhbXBsZQ=="},
		{"duration", "P1D"},
	};
	const char *format = document_text(schema, "format"), *value = "example";
	double least = number_of(schema, "minLength"), most = number_of(schema, "maxLength");
	for (size_t i = 0; format && i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(format, formats[i].format) == 0) {
			buf_printf(m->out, "\"%s\"", formats[i].value);
			return;
		}
	}
	size_t len = strlen(value);
	buf_append_char(m->out, '"');
	buf_append(m->out, value, most < (double)len ? most > 0 ? (size_t)most : 0 : len);
	for (; (double)len < least && len < 4096; len++)
		buf_append_char(m->out, 'x');
	buf_append_char(m->out, '"');
}

static void make_number(struct maker *m, const struct node *schema, bool whole)
{
	double least = number_of(schema, "minimum"), most = number_of(schema, "maximum");
	double above = number_of(schema, "exclusiveMinimum"), step = number_of(schema, "multipleOf");
	double value = isfinite(least) ? least : isfinite(above) ? above + 1 : 1;
	if (!isfinite(least) && isfinite(most) && most < value)
		value = most;
	if (isfinite(step) && step > 0)
		value = ceil(value / step) * step;
	if (!isfinite(value) || fabs(value) > 1e15)
		value = 1;
	buf_printf(m->out, whole || value == floor(value) ? "%.0f" : "%.15g", whole ? ceil(value) : value);
}

static int make(struct maker *m, struct node *schema)
{
	static const char *const choices[] = {"oneOf", "anyOf"};
	schema = schema_resolve(m->document, schema);
	if (!schema)
		return -EINVAL;
	if (++m->steps > SCHEMA_STEPS_MAX || m->out->failed || m->depth >= SCHEMA_DEPTH_MAX) {
		buf_append_str(m->out, "null");
		m->made_up = true;
		return m->out->failed ? -E2BIG : 0;
	}
	const struct node *given = given_value(schema);
	if (given)
		return copy_value(m, given);
	for (unsigned i = 0; i < m->depth; i++) {
		if (m->within[i] == schema) {
			m->recursed = true;
			buf_append_str(m->out, "null");
			return 0;
		}
	}
	m->within[m->depth++] = schema;
	int err = 0;
	const char *type = type_of(schema);
	for (size_t i = 0; i < 2; i++) {
		struct node *list = document_get(schema, choices[i], NODE_LIST);
		if (list && list->first && !node_find(schema, "properties")) {
			err = make(m, list->first);
			m->depth--;
			return err;
		}
	}
	struct node *all = document_get(schema, "allOf", NODE_LIST);
	if (all && all->count == 1 && !node_find(schema, "properties"))
		err = make(m, all->first);
	else if (all || strcmp(type, "object") == 0)
		err = make_object(m, schema);
	else if (strcmp(type, "array") == 0)
		err = make_array(m, schema);
	else if (strcmp(type, "boolean") == 0)
		buf_append_str(m->out, "true");
	else if (strcmp(type, "null") == 0)
		buf_append_str(m->out, "null");
	else if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0)
		make_number(m, schema, type[0] == 'i');
	else
		make_string(m, schema);
	m->made_up |= strcmp(type, "object") != 0 && strcmp(type, "array") != 0;
	m->depth--;
	return err;
}

int schema_value(struct document *document, struct node *schema, struct buf *out, bool *made_up)
{
	struct maker m = {.document = document, .out = out};
	int err = make(&m, schema);
	*made_up |= m.made_up;
	if (err != -E2BIG && !out->failed)
		return err;
	report_error(&document->report, schema->at, "a value for this schema is over the limit of %u bytes",
		     out->max ? (unsigned)out->max : VALUE_BYTES_MAX);
	return -EINVAL;
}

json_t *schema_choices(struct document *document, struct node *schema, bool *made_up)
{
	schema = schema_resolve(document, schema);
	if (!schema || node_find(schema, "const") || node_find(schema, "example"))
		return NULL;
	struct node *list = document_get(schema, "examples", NODE_LIST);
	if (!list || !list->first)
		list = document_get(schema, "enum", NODE_LIST);
	if (list && list->count > 1 && list->count <= 1000) {
		json_t *values = json_array();
		for (const struct node *item = list->first; item; item = item->next) {
			if (item->kind == NODE_STRING || item->kind == NODE_NUMBER)
				json_array_append_new(values, json_string(item->text.ptr));
		}
		if (json_array_size(values) > 1)
			return values;
		json_decref(values);
	}
	if (node_find(schema, "default") || list || strcmp(type_of(schema), "integer") != 0)
		return NULL;
	double least = number_of(schema, "minimum"), most = number_of(schema, "maximum");
	double from = isfinite(least) ? ceil(least) : 1,
	       to = isfinite(most) ? floor(most) : from + RANGE_MAX - 1;
	if (!(fabs(from) < 1e15 && fabs(to) < 1e15) || to < from)
		return NULL;
	if (to - from >= 1000)
		to = from + 999;
	*made_up = true;
	return json_pack("{s:I, s:I}", "from", (json_int_t)from, "to", (json_int_t)to);
}

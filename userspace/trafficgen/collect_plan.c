/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect_plan: a kind of requests becomes one request of the scenario: values that vary become a variable,
 * those that do not stay text.
 */
#include "trafficgen/collect_internal.h"

#include <errno.h>
#include <stdlib.h>

/* What the places of a kind are called: by the segment before them, or by the query's name. */
struct columns {
	char names[COLUMNS_MAX + SEGMENTS_MAX][48];
	bool varies[COLUMNS_MAX + SEGMENTS_MAX];
	size_t count;
};

static const char *value_at(const struct row *row, size_t column)
{
	const char *p = row->values;
	while (column--)
		p += strlen(p) + 1;
	return p;
}

static bool is_taken(const struct columns *columns, const char *name)
{
	for (size_t i = 0; i < columns->count; i++) {
		if (strcmp(columns->names[i], name) == 0)
			return true;
	}
	return false;
}

static void name_column(struct columns *columns, struct slice near, bool is_segment)
{
	struct buf name = {0};
	plan_identifier(&name, near);
	/* accounts -> account_id, addresses -> address_id */
	if (is_segment && near.len) {
		if (name.len > 4 && memcmp(name.data + name.len - 4, "sses", 4) == 0)
			name.len -= 2;
		else if (name.len > 2 && name.data[name.len - 1] == 's' &&
			 !strchr("sui", name.data[name.len - 2]))
			name.len--;
		buf_append_str(&name, "_id");
	}
	char *unique = columns->names[columns->count];
	snprintf(unique, sizeof(columns->names[0]), "%.40s", buf_cstr(&name));
	for (unsigned i = 2; is_taken(columns, unique); i++)
		snprintf(unique, sizeof(columns->names[0]), "%.40s_%u", buf_cstr(&name), i);
	columns->varies[columns->count++] = false;
	buf_fini(&name);
}

static void find_columns(const struct kind *kind, struct columns *columns)
{
	struct slice rest = slice_str(kind->path + 1), item, last = {0};
	columns->count = 0;
	while (slice_split(&rest, '/', &item)) {
		if (item.len == 1 && item.ptr[0] == PLACE)
			name_column(columns, last, true);
		else
			last = item;
	}
	rest = *kind->query ? slice_str(kind->query) : (struct slice){0};
	while (slice_split(&rest, '&', &item)) {
		if (item.len && item.ptr[item.len - 1] == '=')
			name_column(columns, slice_of(item.ptr, item.len - 1), false);
	}
	for (size_t i = 0; i < columns->count; i++) {
		for (unsigned r = 1; r < kind->row_count; r++)
			columns->varies[i] |=
				strcmp(value_at(&kind->rows[r], i), value_at(&kind->rows[0], i)) != 0;
	}
}

/* Makes the variable; its places are "${name}" or "${name.column}". */
static const char *make_variable(struct plan *plan, const struct kind *kind, const struct columns *columns,
				 size_t varying, size_t only)
{
	json_t *rows = json_array();
	for (unsigned r = 0; r < kind->row_count; r++) {
		json_t *row = varying == 1 ? json_string(value_at(&kind->rows[r], only)) : json_object();
		for (size_t i = 0; i < columns->count && varying > 1; i++) {
			if (columns->varies[i])
				json_object_set_new(row, columns->names[i],
						    json_string(value_at(&kind->rows[r], i)));
		}
		json_array_append_new(rows, row);
	}
	if (varying == 1)
		return plan_variable(plan, columns->names[only], rows);
	struct buf name = {0};
	plan_identifier(&name, slice_str(kind->path));
	const char *given = plan_variable(plan, buf_cstr(&name), rows);
	buf_fini(&name);
	return given;
}

static void append_place(struct buf *out, const struct kind *kind, const struct columns *columns,
			 size_t column, const char *variable, size_t varying)
{
	if (!columns->varies[column])
		plan_escape(out, slice_str(value_at(&kind->rows[0], column)));
	else if (varying == 1)
		buf_printf(out, "${%s}", variable);
	else
		buf_printf(out, "${%s.%s}", variable, columns->names[column]);
}

/* The target with its places, and the name, in which they are {account_id}. */
static void write_target(const struct kind *kind, const struct columns *columns, const char *variable,
			 size_t varying, struct buf *path, struct buf *name)
{
	size_t column = 0;
	buf_printf(name, "%s ", kind->method);
	for (const char *p = kind->path; *p; p++) {
		if (*p == PLACE) {
			buf_printf(name, "{%s}", columns->names[column]);
			append_place(path, kind, columns, column++, variable, varying);
		} else {
			buf_append_char(name, *p);
			plan_escape(path, slice_of(p, 1));
			if (p[0] == '$' && p[1] == '{')
				buf_append_char(path, '$');
		}
	}
	struct slice rest = *kind->query ? slice_str(kind->query) : (struct slice){0}, item;
	for (char mark = '?'; slice_split(&rest, '&', &item); mark = '&') {
		buf_append_char(path, mark);
		plan_escape(path, item);
		if (item.len && item.ptr[item.len - 1] == '=')
			append_place(path, kind, columns, column++, variable, varying);
	}
}

static json_t *expected(const struct kind *kind)
{
	json_t *list = json_array();
	for (int status = 200; status < 500; status++) {
		if (kind->status[status / 10] & 1u << (status % 10))
			json_array_append_new(list, json_integer(status));
	}
	json_t *only = json_array_size(list) == 1 ? json_incref(json_array_get(list, 0)) : NULL;
	if (only || json_array_size(list) == 0) {
		json_decref(list);
		return only;
	}
	return list;
}

int kind_add(struct plan *plan, const struct kind *kind)
{
	struct columns columns;
	struct buf path = {0}, name = {0}, body = {0};
	size_t varying = 0, only = 0;
	if (json_array_size(plan->requests) >= plan->options.requests_max) {
		plan_omit(plan, PLAN_OMIT_RARE, kind->count, NULL);
		return 0;
	}
	find_columns(kind, &columns);
	for (size_t i = 0; i < columns.count; i++) {
		varying += columns.varies[i];
		only = columns.varies[i] ? i : only;
	}
	const char *variable = varying ? make_variable(plan, kind, &columns, varying, only) : NULL;
	write_target(kind, &columns, variable, varying, &path, &name);
	plan_escape(&body, slice_of(kind->body ? kind->body : "", kind->body ? kind->body_len : 0));
	struct plan_request request = {
		.name = buf_cstr(&name),
		.method = kind->method,
		.path = buf_cstr(&path),
		.headers = json_incref(kind->headers),
		.body = kind->body ? slice_of(buf_cstr(&body), body.len) : (struct slice){0},
		.body_is_json = kind->body_is_json,
		.weight = (double)kind->count,
		.expect = expected(kind),
	};
	bool failed = path.failed || name.failed || body.failed;
	if (!failed && plan_add(plan, &request))
		plan->taken += kind->count;
	buf_fini(&path);
	buf_fini(&name);
	buf_fini(&body);
	return failed || plan->failed ? -ENOMEM : 0;
}

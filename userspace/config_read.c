/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_read: nodes -> fields, by the table. See config_schema.h.
 *
 * Each value is checked by the row of its key: type, range, form. A complaint names the value's path, what
 * stands there and what may stand there. A bad value leaves its field zero and the reading goes on, so one
 * run finds everything.
 */
#include "config_schema.h"
#include "config_value.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void append_where(struct path_text *path, const struct where *where)
{
	if (!where || !where->up)
		return;
	append_where(path, where->up);
	size_t len = strlen(path->text), room = sizeof(path->text) - len;
	if (!where->key)
		snprintf(path->text + len, room, "[%zu]", where->index);
	else
		snprintf(path->text + len, room, "%s%s", len ? "." : "", where->key);
}

struct path_text where_text(const struct where *where)
{
	struct path_text path = {""};
	append_where(&path, where);
	return path;
}

/* --- what may stand there --- */

static void append_words(struct buf *out, const char *const *words)
{
	buf_append_str(out, "one of ");
	for (size_t i = 0; words[i]; i++)
		buf_printf(out, "%s\"%s\"", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
}

static void append_wanted(struct buf *out, const struct key_spec *spec)
{
	switch (spec->type) {
	case KEY_BOOL:
		buf_append_str(out, "true or false");
		break;
	case KEY_U32:
	case KEY_U64:
		buf_printf(out, "a whole number from %llu to %llu", (unsigned long long)spec->min,
			   (unsigned long long)spec->max);
		break;
	case KEY_FRACTION:
		buf_printf(out, "a number from %.10g to %.10g", (double)spec->min / CONFIG_WEIGHT_ONE,
			   (double)spec->max / CONFIG_WEIGHT_ONE);
		break;
	case KEY_REAL:
		buf_printf(out, "a number from %llu to %llu", (unsigned long long)spec->min,
			   (unsigned long long)spec->max);
		break;
	case KEY_STRING:
		buf_append_str(out, "a string");
		break;
	case KEY_WORD:
		append_words(out, spec->words);
		break;
	case KEY_STRINGS:
		buf_append_str(out, "a list of strings");
		break;
	case KEY_URL:
		buf_append_str(out, "a string such as \"http://127.0.0.1:9001\"");
		break;
	case KEY_LISTEN:
		buf_append_str(out, "a string such as \"127.0.0.1:9900\"");
		break;
	case KEY_LISTENS:
		buf_append_str(out, "a list of addresses such as \"127.0.0.1:8080\"");
		break;
	case KEY_METHODS:
		buf_append_str(out, "a method, a list of methods or \"*\"");
		break;
	case KEY_SPLIT:
		buf_append_str(out, "\"request\", \"client_ip\", \"header:NAME\" or \"cookie:NAME\"");
		break;
	case KEY_ROUTES:
		buf_append_str(out, "a list of routes");
		break;
	case KEY_JSON:
		buf_append_str(out, "a value");
		break;
	case KEY_SECTION:
		buf_append_str(out, "an object");
		break;
	}
	if (spec->nullable)
		buf_append_str(out, ", or null");
}

/* A value in JSON's place for a boolean that YAML 1.1 would have read as one. */
static bool is_yaml_boolean(struct slice text)
{
	static const char *const words[] = {"yes", "no", "on", "off", "y", "n", "true", "false", NULL};
	for (size_t i = 0; words[i]; i++) {
		if (slice_equal_nocase(text, slice_str(words[i])))
			return true;
	}
	return false;
}

static bool is_numeric(const struct key_spec *spec)
{
	return spec->type == KEY_U32 || spec->type == KEY_U64 || spec->type == KEY_FRACTION ||
	       spec->type == KEY_REAL;
}

/* What a person probably meant by a value of the wrong type; "" when nobody knows. */
static const char *type_hint(const struct key_spec *spec, const struct node *node)
{
	bool text = spec->type == KEY_STRING || spec->type == KEY_STRINGS;
	if (spec->type == KEY_BOOL && node->kind == NODE_STRING && is_yaml_boolean(node->text))
		return "; write true or false, without quotes";
	if (is_numeric(spec) && node->kind == NODE_STRING && text_is_number(node->text))
		return "; write it without quotes";
	/* 0x10, 010, 1_000, .5 and 50%: numbers to some, not to JSON. */
	if (is_numeric(spec) && node->kind == NODE_STRING && node->text.len &&
	    strchr("0123456789.+-", node->text.ptr[0]))
		return "; write plain decimal digits, as in 10 or 0.5";
	if (node->kind == NODE_NULL && spec->fallback)
		return "; leave the key out for its default";
	if ((node->kind == NODE_NUMBER || node->kind == NODE_BOOL) && text)
		return "; put it in quotes if it is meant";
	return "";
}

static void report_type(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			const struct where *where)
{
	struct buf wanted = {0};
	append_wanted(&wanted, spec);
	report_error(reader->report, node->at, "%s is %s, must be %s%s", where_text(where).text,
		     node_kind_name(node->kind), buf_cstr(&wanted), type_hint(spec, node));
	buf_fini(&wanted);
}

static void report_range(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			 const struct where *where)
{
	struct buf wanted = {0};
	uint64_t percent = 0;
	append_wanted(&wanted, spec);
	if (spec->type == KEY_FRACTION && whole_number_parse(node->text, 100, &percent) == 0 && percent > 1)
		buf_printf(&wanted, "; for %u %% write %.10g", (unsigned)percent, (double)percent / 100);
	report_error(reader->report, node->at, "%s is %.*s, must be %s", where_text(where).text,
		     node->text.len > 40 ? 40 : (int)node->text.len, node->text.ptr, buf_cstr(&wanted));
	buf_fini(&wanted);
}

/* `why` goes on from the value: 'routes[0].path "users" must start with "/"'. */
static void report_form(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			const struct where *where, struct buf *why)
{
	/* Neither does a password in a URL belong into a log. */
	if (spec->secret || (spec->type == KEY_URL && memchr(node->text.ptr, '@', node->text.len)))
		report_error(reader->report, node->at, "%s %s", where_text(where).text, buf_cstr(why));
	else
		report_error(reader->report, node->at, "%s %s %s", where_text(where).text,
			     quote(node->text).text, buf_cstr(why));
}

/* A parser's answer that is not success, told. */
static void report_failure(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			   const struct where *where, int err, struct buf *why)
{
	if (err == -ENOMEM)
		reader->report->no_memory = true;
	else
		report_form(reader, spec, node, where, why);
}

static bool want_kind(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
		      const struct where *where, enum node_kind kind)
{
	if (node->kind == kind)
		return true;
	report_type(reader, spec, node, where);
	return false;
}

/* --- one value --- */

static void read_whole_number(struct config_reader *reader, const struct key_spec *spec,
			      const struct node *node, const struct where *where, void *field)
{
	uint64_t value;
	if (!want_kind(reader, spec, node, where, NODE_NUMBER))
		return;
	if (whole_number_parse(node->text, spec->max, &value) || value < spec->min) {
		report_range(reader, spec, node, where);
		return;
	}
	if (spec->type == KEY_U64)
		*(uint64_t *)field = value;
	else
		*(uint32_t *)field = (uint32_t)value;
}

static void read_fraction(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			  const struct where *where, uint32_t *field)
{
	uint32_t bp = 0;
	if (!want_kind(reader, spec, node, where, NODE_NUMBER))
		return;
	enum fraction_error err = fraction_parse(node->text, &bp);
	if (err == FRACTION_DECIMALS)
		report_error(reader->report, node->at,
			     "%s is %.*s, which has more than 4 decimals; the smallest "
			     "step is 0.0001",
			     where_text(where).text, node->text.len > 40 ? 40 : (int)node->text.len,
			     node->text.ptr);
	else if (err == FRACTION_RANGE || bp < spec->min || bp > spec->max)
		report_range(reader, spec, node, where);
	else
		*field = bp;
}

static void read_real(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
		      const struct where *where, double *field)
{
	if (!want_kind(reader, spec, node, where, NODE_NUMBER))
		return;
	/* Node texts end with a NUL; 1e400 becomes infinity and fails the range. */
	double value = strtod(node->text.ptr, NULL);
	if (node->text.ptr[0] == '-' || !(value <= (double)spec->max))
		report_range(reader, spec, node, where);
	else
		*field = value;
}

static char *copy_string(struct config_reader *reader, const struct key_spec *spec, struct slice text)
{
	char *copy = strndup(text.ptr, text.len);
	if (!copy)
		reader->report->no_memory = true;
	for (char *c = copy; c && spec->lower && *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c;
	return copy;
}

/* A checked copy of a string node's text; NULL after a complaint. */
static char *read_text(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
		       const struct where *where)
{
	struct buf why = {0};
	char *copy = NULL;
	if (!spec->check || spec->check(node->text, &why))
		copy = copy_string(reader, spec, node->text);
	else
		report_form(reader, spec, node, where, &why);
	buf_fini(&why);
	return copy;
}

static void read_word(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
		      const struct where *where, unsigned *field)
{
	if (!want_kind(reader, spec, node, where, NODE_STRING))
		return;
	for (unsigned i = 0; spec->words[i]; i++) {
		if (slice_equal(node->text, slice_str(spec->words[i]))) {
			*field = i;
			return;
		}
	}
	struct buf why = {0};
	const char *near = report_suggest(node->text, spec->words);
	buf_append_str(&why, "must be ");
	append_words(&why, spec->words);
	if (near)
		buf_printf(&why, "; did you mean \"%s\"?", near);
	report_form(reader, spec, node, where, &why);
	buf_fini(&why);
}

static bool want_count(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
		       const struct where *where)
{
	if (node->count >= spec->min && node->count <= spec->max)
		return true;
	if (node->count == 0)
		report_error(reader->report, node->at, "%s is empty, at least one is needed",
			     where_text(where).text);
	else
		report_error(reader->report, node->at, "%s has %zu items, at most %llu are possible",
			     where_text(where).text, node->count, (unsigned long long)spec->max);
	return false;
}

static void report_item_type(struct config_reader *reader, const struct key_spec *spec,
			     const struct node *node, const struct where *where)
{
	report_error(reader->report, node->at, "%s is %s, must be %s", where_text(where).text,
		     node_kind_name(node->kind), spec->form ? spec->form : "a string");
}

static void read_strings(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			 const struct where *where, struct string_list *field)
{
	if (!want_kind(reader, spec, node, where, NODE_LIST) || !want_count(reader, spec, node, where))
		return;
	if (node->count == 0)
		return;
	field->items = calloc(node->count, sizeof(char *));
	if (!field->items) {
		reader->report->no_memory = true;
		return;
	}
	size_t index = 0;
	for (const struct node *item = node->first; item; item = item->next, index++) {
		struct where here = {.up = where, .index = index};
		if (item->kind != NODE_STRING) {
			report_item_type(reader, spec, item, &here);
			continue;
		}
		char *text = read_text(reader, spec, item, &here);
		if (text)
			field->items[field->count++] = text;
	}
}

static void read_url(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
		     const struct where *where, struct config_url *field)
{
	struct buf why = {0};
	if (!want_kind(reader, spec, node, where, NODE_STRING))
		return;
	int err = config_url_parse(node->text, field, &why);
	if (err)
		report_failure(reader, spec, node, where, err, &why);
	buf_fini(&why);
}

static void read_listen(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			const struct where *where, struct config_listen *field)
{
	struct buf why = {0};
	int err = config_listen_parse(node->text, field, &why);
	if (err)
		report_failure(reader, spec, node, where, err, &why);
	buf_fini(&why);
}

/* Bad items leave a zeroed place, so that listen[i] stays the file's i-th. */
static void read_listens(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			 const struct where *where, struct config *config)
{
	if (!want_kind(reader, spec, node, where, NODE_LIST) || !want_count(reader, spec, node, where))
		return;
	config->listen = calloc(node->count, sizeof(*config->listen));
	if (!config->listen) {
		reader->report->no_memory = true;
		return;
	}
	for (const struct node *item = node->first; item; item = item->next) {
		struct where here = {.up = where, .index = config->listen_count};
		struct config_listen *listen = &config->listen[config->listen_count++];
		if (item->kind == NODE_STRING)
			read_listen(reader, spec, item, &here, listen);
		else
			report_error(reader->report, item->at,
				     "%s is %s, must be a string such as \"127.0.0.1:8080\"",
				     where_text(&here).text, node_kind_name(item->kind));
	}
}

/* One method's name into the route; `single` when it is the whole value. */
static void read_method(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			const struct where *where, bool single, struct route_config *route)
{
	struct buf why = {0};
	uint32_t bit = 0;
	if (node->kind != NODE_STRING) {
		report_error(reader->report, node->at, "%s is %s, must be a method such as \"GET\"",
			     where_text(where).text, node_kind_name(node->kind));
		return;
	}
	if (slice_equal(node->text, SLICE("*"))) {
		bit = ~0u;
		if (!single)
			buf_append_str(&why, "stands for all methods and must stand alone");
	} else if (slice_equal_nocase(node->text, SLICE("CONNECT"))) {
		buf_append_str(&why, "cannot be routed: it asks for a tunnel, not for a resource");
	} else if (method_parse(node->text, &bit)) {
		const char *near = report_suggest(node->text, config_method_words);
		buf_append_str(&why,
			       near ? "is no known method" : "is no known method; \"*\" routes any method");
		if (near)
			buf_printf(&why, "; did you mean \"%s\"?", near);
	} else if (route->method_mask & bit) {
		buf_append_str(&why, "is listed twice");
	}
	if (why.len) {
		report_form(reader, spec, node, where, &why);
	} else {
		char *copy = copy_string(reader, spec, node->text);
		if (copy)
			route->methods.items[route->methods.count++] = copy;
		route->method_mask |= bit;
	}
	buf_fini(&why);
}

static void read_methods(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			 const struct where *where, struct route_config *route)
{
	bool list = node->kind == NODE_LIST;
	if (!list && node->kind != NODE_STRING) {
		report_type(reader, spec, node, where);
		return;
	}
	if (list && (node->count == 0 || node->count > 64)) {
		report_error(reader->report, node->at, "%s has %zu items, must have 1 to 64",
			     where_text(where).text, node->count);
		return;
	}
	route->methods.items = calloc(list ? node->count : 1, sizeof(char *));
	if (!route->methods.items) {
		reader->report->no_memory = true;
		return;
	}
	if (!list) {
		read_method(reader, spec, node, where, true, route);
		return;
	}
	size_t index = 0;
	for (const struct node *item = node->first; item; item = item->next, index++) {
		struct where here = {.up = where, .index = index};
		read_method(reader, spec, item, &here, node->count == 1, route);
	}
}

static void read_split(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
		       const struct where *where, struct route_config *route)
{
	struct buf why = {0};
	if (!want_kind(reader, spec, node, where, NODE_STRING))
		return;
	int err = split_by_parse(node->text, &route->split_by, &route->split_name, &why);
	if (err)
		report_failure(reader, spec, node, where, err, &why);
	buf_fini(&why);
}

static void read_routes(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
			const struct where *where, struct config *config)
{
	if (!want_kind(reader, spec, node, where, NODE_LIST) || !want_count(reader, spec, node, where))
		return;
	if (node->count == 0)
		return;
	config->routes = calloc(node->count, sizeof(*config->routes));
	if (!config->routes) {
		reader->report->no_memory = true;
		return;
	}
	for (const struct node *item = node->first; item; item = item->next) {
		struct where here = {.up = where, .index = config->route_count};
		struct route_config *route = calloc(1, sizeof(*route));
		if (!route) {
			reader->report->no_memory = true;
			return;
		}
		config->routes[config->route_count++] = route;
		route->line = item->at.line;
		route->col = item->at.col;
		if (item->kind == NODE_MAP)
			section_read(reader, spec->section, item, reader->route_defaults, &here, route);
		else
			report_error(reader->report, item->at, "%s is %s, must be an object",
				     where_text(&here).text, node_kind_name(item->kind));
		route_settle(route);
	}
}

void route_settle(struct route_config *route)
{
	struct arbiter_config *arbiter = &route->arbiter;
	/* 20: the smallest number at which one mismatch cannot roll back. The bounded rule has an early way
	 * out and can wait for 100, at which a 99 % consistent step is rolled back once in 650. */
	if (!arbiter->rollback_min_samples)
		arbiter->rollback_min_samples = arbiter->policy == POLICY_BOUNDED ? 100 : 20;
}

json_t *node_to_json(const struct node *node)
{
	json_t *json = NULL;
	switch (node->kind) {
	case NODE_NULL:
		return json_null();
	case NODE_BOOL:
		return json_boolean(node->truth);
	case NODE_STRING:
		return json_stringn(node->text.ptr, node->text.len);
	case NODE_NUMBER: {
		/* As the text has it where jansson can hold it; what it cannot (1e400, 20 digits) as a real.
		 */
		json = json_loadb(node->text.ptr, node->text.len, JSON_DECODE_ANY, NULL);
		return json ? json : json_real(strtod(node->text.ptr, NULL));
	}
	case NODE_LIST:
		json = json_array();
		break;
	case NODE_MAP:
		json = json_object();
		break;
	}
	for (const struct node *item = node->first; json && item; item = item->next) {
		json_t *value = node_to_json(item);
		int failed = node->kind == NODE_LIST
				     ? json_array_append_new(json, value)
				     : json_object_setn_new(json, item->key.ptr, item->key.len, value);
		if (failed) {
			json_decref(json);
			return NULL;
		}
	}
	return json;
}

static void read_value(struct config_reader *reader, const struct key_spec *spec, const struct node *node,
		       const struct where *where, void *base)
{
	void *field = (char *)base + spec->offset;
	if (node->kind == NODE_NULL && spec->nullable)
		return;
	switch (spec->type) {
	case KEY_BOOL:
		if (want_kind(reader, spec, node, where, NODE_BOOL))
			*(bool *)field = node->truth;
		break;
	case KEY_U32:
	case KEY_U64:
		read_whole_number(reader, spec, node, where, field);
		break;
	case KEY_FRACTION:
		read_fraction(reader, spec, node, where, field);
		break;
	case KEY_REAL:
		read_real(reader, spec, node, where, field);
		break;
	case KEY_STRING:
		if (want_kind(reader, spec, node, where, NODE_STRING))
			*(char **)field = read_text(reader, spec, node, where);
		break;
	case KEY_WORD:
		read_word(reader, spec, node, where, field);
		break;
	case KEY_STRINGS:
		read_strings(reader, spec, node, where, field);
		break;
	case KEY_URL:
		read_url(reader, spec, node, where, field);
		break;
	case KEY_LISTEN:
		if (want_kind(reader, spec, node, where, NODE_STRING))
			read_listen(reader, spec, node, where, field);
		break;
	case KEY_LISTENS:
		read_listens(reader, spec, node, where, base);
		break;
	case KEY_METHODS:
		read_methods(reader, spec, node, where, base);
		break;
	case KEY_SPLIT:
		read_split(reader, spec, node, where, base);
		break;
	case KEY_ROUTES:
		read_routes(reader, spec, node, where, base);
		break;
	case KEY_JSON:
		*(json_t **)field = node_to_json(node);
		reader->report->no_memory |= !*(json_t **)field;
		break;
	case KEY_SECTION:
		break;
	}
}

/* --- a section --- */

static void report_unknown(struct config_reader *reader, const struct section_spec *section,
			   const struct node *node, const struct where *where)
{
	const char *words[SECTION_KEYS_MAX + 1];
	size_t count = 0;
	for (const struct key_spec *spec = section->keys; spec->key && count < SECTION_KEYS_MAX; spec++)
		words[count++] = spec->key;
	words[count] = NULL;
	const char *near = report_suggest(node->key, words);
	struct buf message = {0};
	buf_printf(&message, "unknown key %s", quote(node->key).text);
	if (where->up)
		buf_printf(&message, " in %s", where_text(where).text);
	if (near)
		buf_printf(&message, "; did you mean \"%s\"?", near);
	report_error(reader->report, node->key_at, "%s", buf_cstr(&message));
	buf_fini(&message);
}

/* Sorts the members of `map` to the rows of the table; unknown and duplicate ones are reported. */
static void match_keys(struct config_reader *reader, const struct section_spec *section,
		       const struct node *map, const struct where *where, const struct node **found)
{
	for (const struct node *node = map->first; node; node = node->next) {
		size_t i = 0;
		while (section->keys[i].key && !slice_equal(node->key, slice_str(section->keys[i].key)))
			i++;
		if (!section->keys[i].key) {
			report_unknown(reader, section, node, where);
		} else if (found[i]) {
			struct where here = {.up = where, .key = section->keys[i].key};
			report_error(reader->report, node->key_at, "duplicate key %s, first given on line %u",
				     quote(slice_str(where_text(&here).text)).text, found[i]->key_at.line);
		} else {
			found[i] = node;
		}
	}
}

void section_read(struct config_reader *reader, const struct section_spec *section, const struct node *map,
		  const struct node *defaults, const struct where *where, void *base)
{
	const struct node *found[SECTION_KEYS_MAX] = {NULL};
	if (map)
		match_keys(reader, section, map, where, found);
	for (size_t i = 0; section->keys[i].key; i++) {
		const struct key_spec *spec = &section->keys[i];
		struct where here = {.up = where, .key = spec->key};
		const struct node *fallback = node_find(defaults, spec->key);
		const struct node *node = found[i];
		if (spec->type == KEY_SECTION) {
			if (node && node->kind != NODE_MAP)
				report_type(reader, spec, node, &here);
			else
				section_read(reader, spec->section, node, fallback, &here, base);
		} else if (node || fallback) {
			read_value(reader, spec, node ? node : fallback, &here, base);
		} else {
			report_error(reader->report, map->at, "%s%s\"%s\" is missing",
				     where->up ? where_text(where).text : "", where->up ? ": " : "",
				     spec->key);
		}
	}
}

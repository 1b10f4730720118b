/* SPDX-License-Identifier: Apache-2.0 */
/* config_fields: freeing, copying and printing the fields of a section, by the table. See config_schema.h. */
#include "config_schema.h"
#include "config_value.h"

#include <stdlib.h>

static void strings_fini(struct string_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct string_list){0};
}

static void string_fini(char **string)
{
	free(*string);
	*string = NULL;
}

static void listens_fini(struct config *config)
{
	for (size_t i = 0; i < config->listen_count; i++)
		config_listen_fini(&config->listen[i]);
	free(config->listen);
	config->listen = NULL;
	config->listen_count = 0;
}

static void routes_fini(struct config *config)
{
	for (size_t i = 0; i < config->route_count; i++)
		route_config_destroy(config->routes[i]);
	free(config->routes);
	config->routes = NULL;
	config->route_count = 0;
}

void section_fini(const struct section_spec *section, void *base)
{
	for (const struct key_spec *spec = section->keys; spec->key; spec++) {
		void *field = (char *)base + spec->offset;
		switch (spec->type) {
		case KEY_STRING:
			string_fini(field);
			break;
		case KEY_STRINGS:
			strings_fini(field);
			break;
		case KEY_URL:
			config_url_fini(field);
			break;
		case KEY_LISTEN:
			config_listen_fini(field);
			break;
		case KEY_LISTENS:
			listens_fini(base);
			break;
		case KEY_METHODS:
			strings_fini(&((struct route_config *)base)->methods);
			break;
		case KEY_SPLIT:
			string_fini(&((struct route_config *)base)->split_name);
			break;
		case KEY_ROUTES:
			routes_fini(base);
			break;
		case KEY_JSON:
			json_decref(*(json_t **)field);
			*(json_t **)field = NULL;
			break;
		case KEY_SECTION:
			section_fini(spec->section, base);
			break;
		case KEY_BOOL:
		case KEY_U32:
		case KEY_U64:
		case KEY_FRACTION:
		case KEY_REAL:
		case KEY_WORD:
			break;
		}
	}
}

/* --- copying: only what a route has; a configuration is never copied --- */

static bool string_copy(const char *from, char **to)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

static bool strings_copy(const struct string_list *from, struct string_list *to)
{
	*to = (struct string_list){0};
	if (from->count == 0)
		return true;
	to->items = calloc(from->count, sizeof(char *));
	if (!to->items)
		return false;
	for (; to->count < from->count; to->count++) {
		to->items[to->count] = strdup(from->items[to->count]);
		if (!to->items[to->count])
			return false;
	}
	return true;
}

static bool url_copy(const struct config_url *from, struct config_url *to)
{
	*to = (struct config_url){.port = from->port};
	return string_copy(from->text, &to->text) && string_copy(from->host, &to->host) &&
	       string_copy(from->base_path, &to->base_path);
}

static bool value_copy(const struct key_spec *spec, const void *from_base, void *to_base)
{
	const void *from = (const char *)from_base + spec->offset;
	void *to = (char *)to_base + spec->offset;
	const struct route_config *from_route = from_base;
	struct route_config *to_route = to_base;
	switch (spec->type) {
	case KEY_BOOL:
		*(bool *)to = *(const bool *)from;
		return true;
	case KEY_U32:
	case KEY_FRACTION:
	case KEY_WORD:
		*(uint32_t *)to = *(const uint32_t *)from;
		return true;
	case KEY_U64:
		*(uint64_t *)to = *(const uint64_t *)from;
		return true;
	case KEY_REAL:
		*(double *)to = *(const double *)from;
		return true;
	case KEY_STRING:
		return string_copy(*(char *const *)from, to);
	case KEY_STRINGS:
		return strings_copy(from, to);
	case KEY_URL:
		return url_copy(from, to);
	case KEY_METHODS:
		to_route->method_mask = from_route->method_mask;
		return strings_copy(&from_route->methods, &to_route->methods);
	case KEY_SPLIT:
		to_route->split_by = from_route->split_by;
		return string_copy(from_route->split_name, &to_route->split_name);
	case KEY_SECTION:
		return section_copy(spec->section, from_base, to_base);
	case KEY_JSON:
	case KEY_LISTEN:
	case KEY_LISTENS:
	case KEY_ROUTES:
		break;
	}
	return false;
}

_Static_assert(sizeof(enum split_by) == sizeof(uint32_t), "a KEY_WORD field is as wide as a uint32_t");

bool section_copy(const struct section_spec *section, const void *from, void *to)
{
	for (const struct key_spec *spec = section->keys; spec->key; spec++) {
		if (!value_copy(spec, from, to))
			return false;
	}
	return true;
}

/* --- printing --- */

static json_t *string_dump(const char *string)
{
	return string ? json_string(string) : json_null();
}

static json_t *strings_dump(const struct string_list *list)
{
	json_t *array = json_array();
	for (size_t i = 0; array && i < list->count; i++) {
		if (json_array_append_new(array, json_string(list->items[i]))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *methods_dump(const struct string_list *methods)
{
	return methods->count == 1 ? json_string(methods->items[0]) : strings_dump(methods);
}

static json_t *listens_dump(const struct config *config)
{
	json_t *array = json_array();
	for (size_t i = 0; array && i < config->listen_count; i++) {
		if (json_array_append_new(array, json_string(config->listen[i].text))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *routes_dump(const struct section_spec *section, const struct config *config)
{
	json_t *array = json_array();
	for (size_t i = 0; array && i < config->route_count; i++) {
		if (json_array_append_new(array, section_dump(section, config->routes[i]))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *split_dump(const struct route_config *route)
{
	switch (route->split_by) {
	case SPLIT_BY_REQUEST:
		return json_string("request");
	case SPLIT_BY_CLIENT_IP:
		return json_string("client_ip");
	case SPLIT_BY_HEADER:
		return json_sprintf("header:%s", route->split_name);
	case SPLIT_BY_COOKIE:
		return json_sprintf("cookie:%s", route->split_name);
	}
	return NULL;
}

static json_t *value_dump(const struct key_spec *spec, const void *base)
{
	const void *field = (const char *)base + spec->offset;
	switch (spec->type) {
	case KEY_BOOL:
		return json_boolean(*(const bool *)field);
	case KEY_U32:
		return json_integer(*(const uint32_t *)field);
	case KEY_U64:
		return json_integer((json_int_t) * (const uint64_t *)field);
	case KEY_FRACTION:
		return json_real((double)*(const uint32_t *)field / CONFIG_WEIGHT_ONE);
	case KEY_REAL:
		return json_real(*(const double *)field);
	case KEY_STRING:
		return string_dump(*(char *const *)field);
	case KEY_WORD:
		return json_string(spec->words[*(const unsigned *)field]);
	case KEY_STRINGS:
		return strings_dump(field);
	case KEY_URL:
		return string_dump(((const struct config_url *)field)->text);
	case KEY_LISTEN:
		return string_dump(((const struct config_listen *)field)->text);
	case KEY_LISTENS:
		return listens_dump(base);
	case KEY_METHODS:
		return methods_dump(&((const struct route_config *)base)->methods);
	case KEY_SPLIT:
		return split_dump(base);
	case KEY_ROUTES:
		return routes_dump(spec->section, base);
	case KEY_JSON:
		return *(json_t *const *)field ? json_incref(*(json_t *const *)field) : json_null();
	case KEY_SECTION:
		return section_dump(spec->section, base);
	}
	return NULL;
}

json_t *section_dump(const struct section_spec *section, const void *base)
{
	json_t *object = json_object();
	for (const struct key_spec *spec = section->keys; object && spec->key; spec++) {
		/* A NULL value fails too, so nothing is left out silently. */
		if (json_object_set_new(object, spec->key, value_dump(spec, base))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

/* --- as a text to take a fingerprint of ------------------------------------------------------------------
 */

/* With its length, so that no text can look like another one and what follows it. */
static void text_of_string(const char *string, struct buf *out)
{
	size_t len = string ? strlen(string) : 0;
	buf_append(out, &len, sizeof(len));
	buf_append(out, string, len);
	buf_append_char(out, string ? 's' : 'n');
}

static void text_of_strings(const struct string_list *list, struct buf *out)
{
	buf_append(out, &list->count, sizeof(list->count));
	for (size_t i = 0; i < list->count; i++)
		text_of_string(list->items[i], out);
}

/* Numbers as they lie in memory: the text never leaves machines of one kind. */
static void text_of_value(const struct key_spec *spec, const void *base, struct buf *out)
{
	const void *field = (const char *)base + spec->offset;
	const struct route_config *route = base;
	char *json;
	switch (spec->type) {
	case KEY_BOOL:
		buf_append(out, field, sizeof(bool));
		return;
	case KEY_U32:
	case KEY_FRACTION:
	case KEY_WORD:
		buf_append(out, field, sizeof(uint32_t));
		return;
	case KEY_U64:
	case KEY_REAL:
		buf_append(out, field, sizeof(uint64_t));
		return;
	case KEY_STRING:
		text_of_string(*(char *const *)field, out);
		return;
	case KEY_STRINGS:
		text_of_strings(field, out);
		return;
	case KEY_METHODS:
		text_of_strings(&route->methods, out);
		return;
	case KEY_URL:
		text_of_string(((const struct config_url *)field)->text, out);
		return;
	case KEY_SPLIT:
		buf_append(out, &route->split_by, sizeof(route->split_by));
		text_of_string(route->split_name, out);
		return;
	case KEY_SECTION:
		section_text(spec->section, base, NULL, out);
		return;
	case KEY_JSON:
		json = *(json_t *const *)field
			       ? json_dumps(*(json_t *const *)field, JSON_COMPACT | JSON_SORT_KEYS)
			       : NULL;
		text_of_string(json, out);
		free(json);
		return;
	case KEY_LISTEN:
	case KEY_LISTENS:
	case KEY_ROUTES:
		return; /* in no section that has a fingerprint */
	}
}

void section_text(const struct section_spec *section, const void *base, const char *skip, struct buf *out)
{
	for (const struct key_spec *spec = section->keys; spec->key; spec++) {
		if (skip && strcmp(spec->key, skip) == 0)
			continue;
		buf_append_str(out, spec->key);
		buf_append_char(out, '=');
		text_of_value(spec, base, out);
	}
}

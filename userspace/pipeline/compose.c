/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compose: one service of a docker-compose.yml changes, everything else stays byte for byte.
 *
 * The YAML reader tells on which lines the service stands; those lines are exchanged. So comments, order and
 * style of what others wrote survive, and a file that is not understood is refused, never rewritten.
 */
#include "pipeline/deploy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define COMPOSE_BYTES_MAX (1u << 20)

/* Lines counted from 0; `end` is the line after the last. */
struct place {
	bool has_services; /* a block mapping, or nothing yet */
	bool services_empty;
	bool flow;
	size_t services_line, services_end, column;
	bool found;
	size_t begin, end;
};

/* Reads events; notes the mapping "services" and the entry `service` in it. -EINVAL with `why`. */
static int find_place(struct slice text, const char *service, struct place *place, struct buf *why)
{
	yaml_parser_t parser;
	yaml_event_t event;
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)(text.len ? text.ptr : ""), text.len);
	int depth = 0, err = 0;
	bool is_key = false, in_services = false, services_next = false, open = false, end = false;
	while (!end && !err) {
		if (!yaml_parser_parse(&parser, &event)) {
			buf_printf(why, "it is no YAML: line %zu: %s", parser.problem_mark.line + 1,
				   parser.problem ? parser.problem : "?");
			err = -EINVAL;
			break;
		}
		size_t line = event.start_mark.line;
		bool opens =
			event.type == YAML_MAPPING_START_EVENT || event.type == YAML_SEQUENCE_START_EVENT;
		bool closes = event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
		bool value = opens || event.type == YAML_SCALAR_EVENT || event.type == YAML_ALIAS_EVENT;
		if (value && services_next) {
			services_next = false;
			place->has_services = true;
			in_services = event.type == YAML_MAPPING_START_EVENT;
			place->services_empty = !in_services;
			place->flow =
				in_services && event.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
			if (!in_services &&
			    !(event.type == YAML_SCALAR_EVENT && event.data.scalar.length == 0)) {
				buf_append_str(why, "its \"services\" is no mapping");
				err = -EINVAL;
			}
		} else if (value && depth == 1 && is_key) {
			services_next = event.type == YAML_SCALAR_EVENT &&
					strcmp((char *)event.data.scalar.value, "services") == 0;
			if (services_next)
				place->services_line = line;
		} else if (value && depth == 2 && in_services && is_key) {
			if (open)
				place->end = line;
			open = event.type == YAML_SCALAR_EVENT &&
			       strcmp((char *)event.data.scalar.value, service) == 0;
			place->column = event.start_mark.column;
			if (open) {
				place->found = true;
				place->begin = line;
			}
		} else if (closes && depth == 2 && in_services) {
			place->services_end = line;
			if (open)
				place->end = line;
			in_services = open = false;
		}
		/* Of a mapping at depth 1 or 2, keys and values take turns. */
		if (opens) {
			depth++;
			is_key = depth <= 2 && event.type == YAML_MAPPING_START_EVENT;
		} else if (closes) {
			depth--;
			is_key = depth == 1 || (depth == 2 && in_services);
		} else if (value && depth <= 2) {
			is_key = !is_key;
		}
		end = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return err;
}

/* Where line number `line` begins; the text's length when there are fewer. */
static size_t line_at(struct slice text, size_t line)
{
	size_t at = 0;
	while (line-- && at < text.len) {
		const char *end = memchr(text.ptr + at, '\n', text.len - at);
		at = end ? (size_t)(end - text.ptr) + 1 : text.len;
	}
	return at;
}

/* Blank lines and comments before `end` belong to what follows. */
static size_t without_trailing(struct slice text, size_t begin, size_t end)
{
	while (end > begin) {
		size_t start = end - 1;
		while (start > begin && text.ptr[start - 1] != '\n')
			start--;
		size_t first = start;
		while (first < end && strchr(" \t\r\n", text.ptr[first]))
			first++;
		if (start == begin || (first < end && text.ptr[first] != '#'))
			break;
		end = start;
	}
	return end;
}

/* The block's lines with its indentation of two made that of the file's own services. */
static void append_block(struct buf *out, const char *block, size_t column)
{
	struct slice rest = slice_str(block);
	while (rest.len) {
		const char *end = memchr(rest.ptr, '\n', rest.len);
		size_t len = end ? (size_t)(end - rest.ptr) + 1 : rest.len;
		size_t skip = len > 2 && rest.ptr[0] == ' ' && rest.ptr[1] == ' ' ? 2 : 0;
		for (size_t i = 0; skip && i < column; i++)
			buf_append_char(out, ' ');
		buf_append(out, rest.ptr + skip, len - skip);
		rest = slice_of(rest.ptr + len, rest.len - len);
	}
}

static void append_lines(struct buf *out, struct slice lines)
{
	buf_append_slice(out, lines);
	if (lines.len && lines.ptr[lines.len - 1] != '\n')
		buf_append_char(out, '\n');
}

int compose_splice(struct slice text, const char *service, const char *block, struct buf *out, char **former,
		   struct buf *why)
{
	struct place place = {.column = 2};
	if (text.len > COMPOSE_BYTES_MAX) {
		buf_printf(why, "it is %zu bytes long, at most %u are possible", text.len, COMPOSE_BYTES_MAX);
		return -EINVAL;
	}
	int err = find_place(text, service, &place, why);
	if (err)
		return err;
	if (place.flow) {
		buf_append_str(why, "its services are written in braces; write each on lines of its own");
		return -EINVAL;
	}
	char *lines = NULL;
	size_t begin, end;
	if (place.found) {
		begin = line_at(text, place.begin);
		end = without_trailing(text, begin, line_at(text, place.end));
		/* As compose_splice takes it again: with an indentation of two. */
		struct buf copy = {0};
		struct slice rest = slice_of(text.ptr + begin, end - begin);
		while (rest.len) {
			const char *stop = memchr(rest.ptr, '\n', rest.len);
			size_t len = stop ? (size_t)(stop - rest.ptr) + 1 : rest.len, spaces = 0;
			while (spaces < place.column && spaces < len && rest.ptr[spaces] == ' ')
				spaces++;
			if (spaces == place.column)
				buf_append_str(&copy, "  ");
			else
				spaces = 0;
			buf_append(&copy, rest.ptr + spaces, len - spaces);
			rest = slice_of(rest.ptr + len, rest.len - len);
		}
		lines = strdup(buf_cstr(&copy));
		buf_fini(&copy);
		if (!lines)
			return -ENOMEM;
	} else if (place.has_services && !place.services_empty) {
		begin = end = without_trailing(text, line_at(text, place.services_line),
					       line_at(text, place.services_end));
	} else if (place.has_services) {
		begin = end = line_at(text, place.services_line + 1);
	} else {
		begin = end = text.len;
	}
	append_lines(out, slice_of(text.ptr ? text.ptr : "", begin));
	if (block && !place.has_services)
		buf_append_str(out, "services:\n");
	if (block)
		append_block(out, block, place.column);
	if (end < text.len)
		buf_append(out, text.ptr + end, text.len - end);
	if (out->failed) {
		free(lines);
		return -ENOMEM;
	}
	*former = lines;
	return 0;
}

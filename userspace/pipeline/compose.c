/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compose: one service of a docker-compose.yml changes, everything else stays byte for byte.
 *
 * The YAML reader tells on which lines the service stands; those lines are exchanged. So comments, order and
 * style of what others wrote survive. Then both texts are read again and must say the same but for the
 * service: a file that is not understood is refused, never rewritten.
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

/* Does every line end with LF or CR LF? YAML knows other ends, and then its line numbers are not ours. */
static bool has_plain_lines(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		const unsigned char *c = (const unsigned char *)text.ptr + i;
		size_t left = text.len - i;
		if (*c == 0 || (*c == '\r' && (left < 2 || c[1] != '\n')) ||
		    (*c == 0xc2 && left > 1 && c[1] == 0x85) ||
		    (*c == 0xe2 && left > 2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9)))
			return false;
	}
	return true;
}

/* Reads events; notes the mapping "services" and the entry `service` in it. -EINVAL with `why`. */
static int find_place(struct slice text, const char *service, struct place *place, struct buf *why)
{
	yaml_parser_t parser;
	yaml_event_t event;
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)(text.len ? text.ptr : ""), text.len);
	int depth = 0, err = 0;
	/* Keys and values take turns: is a key next in the file's mapping (1), in the one below it (2)? */
	bool turn[3] = {false}, in_services = false, services_next = false, open = false, end = false;
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
		bool is_key = depth <= 2 && turn[depth];
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
		if (value && depth <= 2)
			turn[depth] = !is_key;
		depth += opens - closes;
		if (opens && depth <= 2)
			turn[depth] = event.type == YAML_MAPPING_START_EVENT;
		end = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return err;
}

/* --- what it says, whatever it looks like --------------------------------------------------------------- */

#define NODES_MAX 1000000 /* that are compared: aliases of aliases are many */

/* Loads the one document. False when it is none, several, or its root is no mapping (*root NULL: it is
 * empty). */
static bool load(struct slice text, yaml_document_t *document, yaml_node_t **root)
{
	yaml_parser_t parser;
	yaml_document_t next;
	if (!yaml_parser_initialize(&parser))
		return false;
	yaml_parser_set_input_string(&parser, (const unsigned char *)(text.len ? text.ptr : ""), text.len);
	bool good = yaml_parser_load(&parser, document);
	if (good) {
		*root = yaml_document_get_root_node(document);
		bool empty = *root && (*root)->type == YAML_SCALAR_NODE && (*root)->data.scalar.length == 0;
		if (empty)
			*root = NULL;
		good = !*root || (*root)->type == YAML_MAPPING_NODE;
		if (good && yaml_parser_load(&parser, &next)) {
			good = !yaml_document_get_root_node(&next);
			yaml_document_delete(&next);
		} else {
			good = false;
		}
		if (!good)
			yaml_document_delete(document);
	}
	yaml_parser_delete(&parser);
	return good;
}

static bool is_named(yaml_document_t *document, int node, const char *name)
{
	const yaml_node_t *key = yaml_document_get_node(document, node);
	return key && key->type == YAML_SCALAR_NODE && strcmp((char *)key->data.scalar.value, name) == 0;
}

/* The value of a key, NULL when it is not there or `mapping` is none; *times: how often it is. */
static yaml_node_t *member(yaml_document_t *document, const yaml_node_t *mapping, const char *name,
			   unsigned *times)
{
	yaml_node_t *value = NULL;
	*times = 0;
	if (!mapping || mapping->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < mapping->data.mapping.pairs.top;
	     p++) {
		if (is_named(document, p->key, name)) {
			value = yaml_document_get_node(document, p->value);
			++*times;
		}
	}
	return value;
}

struct comparison {
	yaml_document_t *a, *b;
	size_t left; /* of NODES_MAX */
	int depth;
};

static bool same_node(struct comparison *c, const yaml_node_t *a, const yaml_node_t *b);

/* The same pairs in the same order, but for those of `skip` (NULL: none). NULL stands for an empty mapping.
 */
static bool same_pairs(struct comparison *c, const yaml_node_t *a, const yaml_node_t *b, const char *skip)
{
	yaml_node_pair_t *x = a ? a->data.mapping.pairs.start : NULL,
			 *x_end = a ? a->data.mapping.pairs.top : NULL;
	yaml_node_pair_t *y = b ? b->data.mapping.pairs.start : NULL,
			 *y_end = b ? b->data.mapping.pairs.top : NULL;
	for (;; x++, y++) {
		while (skip && x < x_end && is_named(c->a, x->key, skip))
			x++;
		while (skip && y < y_end && is_named(c->b, y->key, skip))
			y++;
		if (x == x_end || y == y_end)
			return x == x_end && y == y_end;
		if (!same_node(c, yaml_document_get_node(c->a, x->key),
			       yaml_document_get_node(c->b, y->key)) ||
		    !same_node(c, yaml_document_get_node(c->a, x->value),
			       yaml_document_get_node(c->b, y->value)))
			return false;
	}
}

static bool same_items(struct comparison *c, const yaml_node_t *a, const yaml_node_t *b)
{
	yaml_node_item_t *x = a->data.sequence.items.start, *y = b->data.sequence.items.start;
	if (a->data.sequence.items.top - x != b->data.sequence.items.top - y)
		return false;
	for (; x < a->data.sequence.items.top; x++, y++) {
		if (!same_node(c, yaml_document_get_node(c->a, *x), yaml_document_get_node(c->b, *y)))
			return false;
	}
	return true;
}

static bool same_node(struct comparison *c, const yaml_node_t *a, const yaml_node_t *b)
{
	if (c->left == 0 || c->depth > 100 || !a || !b || a->type != b->type ||
	    strcmp((char *)a->tag, (char *)b->tag) != 0)
		return false;
	c->left--;
	c->depth++;
	bool same = false;
	if (a->type == YAML_SCALAR_NODE)
		same = a->data.scalar.length == b->data.scalar.length &&
		       (a->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) ==
			       (b->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) &&
		       memcmp(a->data.scalar.value, b->data.scalar.value, a->data.scalar.length) == 0;
	else if (a->type == YAML_MAPPING_NODE)
		same = same_pairs(c, a, b, NULL);
	else if (a->type == YAML_SEQUENCE_NODE)
		same = same_items(c, a, b);
	c->depth--;
	return same;
}

/* Are both files the same but for the service, which is in `after` once, or (`gone`) not at all? */
static bool only_service_differs(struct slice before, struct slice after, const char *service, bool gone)
{
	yaml_document_t a, b;
	yaml_node_t *root_a, *root_b;
	if (!load(before, &a, &root_a))
		return false;
	if (!load(after, &b, &root_b)) {
		yaml_document_delete(&a);
		return false;
	}
	struct comparison c = {.a = &a, .b = &b, .left = NODES_MAX};
	unsigned lists_a, lists_b, times_a, times_b;
	yaml_node_t *services_a = member(&a, root_a, "services", &lists_a),
		    *services_b = member(&b, root_b, "services", &lists_b);
	/* "services:" with nothing in it is an empty scalar. */
	if (services_a && services_a->type != YAML_MAPPING_NODE)
		services_a = NULL;
	if (services_b && services_b->type != YAML_MAPPING_NODE)
		services_b = NULL;
	member(&a, services_a, service, &times_a);
	member(&b, services_b, service, &times_b);
	bool good = lists_a <= 1 && lists_b <= 1 && times_a <= 1 && times_b == (gone ? 0 : 1) &&
		    same_pairs(&c, root_a, root_b, "services") &&
		    same_pairs(&c, services_a, services_b, service);
	yaml_document_delete(&a);
	yaml_document_delete(&b);
	return good;
}

/* --- the lines ------------------------------------------------------------------------------------------ */

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
	if (!has_plain_lines(text)) {
		buf_append_str(why,
			       "it has line ends that are neither LF nor CR LF; save it as plain UTF-8 text");
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
	struct slice before = slice_of(text.ptr ? text.ptr : "", begin);
	if (block || place.found)
		append_lines(out, before);
	else
		buf_append_slice(out, before);
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
	/* Lines were moved: what they mean now is asked of the reader once more, before anybody uses them. */
	if (!only_service_differs(text, buf_slice(out), service, !block)) {
		free(lines);
		buf_printf(why,
			   "it is written in a way in which the service \"%s\" cannot be changed without "
			   "touching "
			   "others; give each service lines of its own below \"services:\", without anchors "
			   "that "
			   "others use",
			   service);
		return -EINVAL;
	}
	*former = lines;
	return 0;
}

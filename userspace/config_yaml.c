/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_yaml: YAML text -> tree, by libyaml's event parser.
 *
 * The part of YAML that says the same as JSON, and no more: one document, maps, lists and scalars. Anchors,
 * aliases and tags are refused, so nothing can expand and nothing has a hidden type. A plain scalar is null,
 * a boolean or a number only in JSON's own spelling (and "~" or nothing for null); everything else is a
 * string, and where a boolean is wanted, `yes` is answered with "write true or false".
 */
#include "config_tree.h"

#include <errno.h>
#include <yaml.h>

static struct mark mark_of(yaml_mark_t mark)
{
	return (struct mark){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

static int refuse(struct tree *tree, struct mark at, const char *what)
{
	report_error(tree->report, at, "%s", what);
	return -EINVAL;
}

static enum node_kind plain_kind(struct slice text)
{
	if (text.len == 0 || slice_equal(text, SLICE("~")) || slice_equal(text, SLICE("null")))
		return NODE_NULL;
	if (slice_equal(text, SLICE("true")) || slice_equal(text, SLICE("false")))
		return NODE_BOOL;
	return text_is_number(text) ? NODE_NUMBER : NODE_STRING;
}

static int read_scalar(struct tree *tree, const yaml_event_t *event, struct mark at)
{
	struct slice text = slice_of((const char *)event->data.scalar.value, event->data.scalar.length);
	if (tree_wants_key(tree))
		return tree_key(tree, at, text);
	bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	return tree_scalar(tree, at, plain ? plain_kind(text) : NODE_STRING, text);
}

/* An anchor or a tag on a node: refused. */
static int check_properties(struct tree *tree, struct mark at, const yaml_char_t *anchor,
			    const yaml_char_t *tag)
{
	if (anchor)
		return refuse(tree, at,
			      "anchors (\"&name\") and aliases (\"*name\") are not supported; write the "
			      "value out");
	if (tag)
		return refuse(tree, at,
			      "tags (\"!name\") are not supported; values have the type that their key "
			      "asks for");
	return 0;
}

static int read_open(struct tree *tree, struct mark at, enum node_kind kind)
{
	if (tree_wants_key(tree))
		return refuse(tree, at,
			      "a key must be a word, not a list or a map; a text that begins with \"{\" or "
			      "\"[\" needs quotes");
	return tree_open(tree, at, kind);
}

/* One event; *done at the end of the stream. */
static int read_event(struct tree *tree, const yaml_event_t *event, bool *done)
{
	struct mark at = mark_of(event->start_mark);
	int err = 0;
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (tree->root)
			return refuse(tree, at, "a second document begins here; the file must hold one");
		if (event->data.document_start.tag_directives.start !=
		    event->data.document_start.tag_directives.end)
			return refuse(tree, at, "%TAG directives are not supported");
		return 0;
	case YAML_ALIAS_EVENT:
		return check_properties(tree, at, event->data.alias.anchor, NULL);
	case YAML_SCALAR_EVENT:
		err = check_properties(tree, at, event->data.scalar.anchor, event->data.scalar.tag);
		return err ? err : read_scalar(tree, event, at);
	case YAML_SEQUENCE_START_EVENT:
		err = check_properties(tree, at, event->data.sequence_start.anchor,
				       event->data.sequence_start.tag);
		return err ? err : read_open(tree, at, NODE_LIST);
	case YAML_MAPPING_START_EVENT:
		err = check_properties(tree, at, event->data.mapping_start.anchor,
				       event->data.mapping_start.tag);
		return err ? err : read_open(tree, at, NODE_MAP);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		tree_close(tree);
		return 0;
	case YAML_STREAM_END_EVENT:
		*done = true;
		return 0;
	default:
		return 0;
	}
}

/* A byte offset as a position: what libyaml's reader knows about bytes that are no text. */
static struct mark locate(struct slice text, size_t offset)
{
	struct mark at = {1, 1};
	for (size_t i = 0; i < offset && i < text.len; i++) {
		if (text.ptr[i] == '\n')
			at = (struct mark){at.line + 1, 1};
		else if (((unsigned char)text.ptr[i] & 0xc0) != 0x80)
			at.col++;
	}
	return at;
}

static int report_syntax(struct tree *tree, const yaml_parser_t *parser, struct slice text)
{
	const char *problem = parser->problem ? parser->problem : "syntax error";
	if (parser->error == YAML_MEMORY_ERROR) {
		tree->report->no_memory = true;
		return -ENOMEM;
	}
	if (parser->error == YAML_READER_ERROR)
		report_error(tree->report, locate(text, parser->problem_offset), "not YAML: %s", problem);
	else if (parser->context)
		report_error(tree->report, mark_of(parser->problem_mark),
			     "not YAML: %s (%s that begins on line %zu)", problem, parser->context,
			     parser->context_mark.line + 1);
	else
		report_error(tree->report, mark_of(parser->problem_mark), "not YAML: %s", problem);
	return -EINVAL;
}

int config_yaml_read(struct tree *tree, struct slice text)
{
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser)) {
		tree->report->no_memory = true;
		return -ENOMEM;
	}
	/* Without this a byte order mark could turn the file into UTF-16, and columns into guesses. */
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	if (slice_starts(text, SLICE("\xef\xbb\xbf")))
		text = slice_of(text.ptr + 3, text.len - 3);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
	int err = 0;
	for (bool done = false; !done && !err;) {
		yaml_event_t event;
		if (!yaml_parser_parse(&parser, &event)) {
			err = report_syntax(tree, &parser, text);
			break;
		}
		err = read_event(tree, &event, &done);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return err;
}

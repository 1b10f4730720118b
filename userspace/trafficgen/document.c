/* SPDX-License-Identifier: Apache-2.0 */
/* document: see document.h. */
#include "trafficgen/document.h"

#include "trafficgen/sources.h"

#include <errno.h>

#define STEP_BYTES_MAX 1024

static bool is_yaml(const char *file, struct slice text)
{
	size_t len = strlen(file);
	if ((len > 5 && strcasecmp(file + len - 5, ".yaml") == 0) ||
	    (len > 4 && strcasecmp(file + len - 4, ".yml") == 0))
		return true;
	if ((len > 5 && strcasecmp(file + len - 5, ".json") == 0) ||
	    (len > 4 && strcasecmp(file + len - 4, ".har") == 0))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (!memchr(" \t\r\n\xef\xbb\xbf", text.ptr[i], 7))
			return text.ptr[i] != '{';
	}
	return false;
}

int document_open(struct document *document, const char *file, struct slice text)
{
	*document = (struct document){.report = {.file = file}};
	tree_init(&document->tree, &document->report);
	document->tree.depth_max = SOURCE_DEPTH_MAX;
	if (text.len > SOURCE_FILE_BYTES_MAX) {
		report_error(&document->report, (struct mark){1, 1},
			     "the file has %zu bytes, the limit is %u", text.len, SOURCE_FILE_BYTES_MAX);
		return -EINVAL;
	}
	int err = is_yaml(file, text) ? config_yaml_read(&document->tree, text)
				      : config_json_read(&document->tree, text);
	if (!err && (!document->tree.root || document->tree.root->kind != NODE_MAP)) {
		report_error(&document->report, (struct mark){1, 1}, "the document must be an object");
		err = -EINVAL;
	}
	return err;
}

int document_close(struct document *document, struct buf *errors)
{
	tree_fini(&document->tree);
	return report_finish(&document->report, errors);
}

struct node *document_get(const struct node *map, const char *key, enum node_kind kind)
{
	struct node *node = node_find(map, key);
	return node && node->kind == kind ? node : NULL;
}

const char *document_text(const struct node *map, const char *key)
{
	struct node *node = document_get(map, key, NODE_STRING);
	return node ? node->text.ptr : NULL;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* One step of the pointer with %XX, ~1 and ~0 undone; false when it is too long. */
static bool decode_step(struct slice step, char *out, size_t *len)
{
	*len = 0;
	for (size_t i = 0; i < step.len; i++) {
		char c = step.ptr[i];
		if (*len == STEP_BYTES_MAX)
			return false;
		if (c == '%' && i + 2 < step.len && hex(step.ptr[i + 1]) >= 0 && hex(step.ptr[i + 2]) >= 0) {
			c = (char)(hex(step.ptr[i + 1]) << 4 | hex(step.ptr[i + 2]));
			i += 2;
		}
		if (c == '~' && i + 1 < step.len && (step.ptr[i + 1] == '0' || step.ptr[i + 1] == '1'))
			c = step.ptr[++i] == '1' ? '/' : '~';
		out[(*len)++] = c;
	}
	return true;
}

struct node *document_find(const struct node *root, struct slice pointer)
{
	char step[STEP_BYTES_MAX];
	size_t len;
	struct slice item, rest = slice_of(pointer.ptr + 1, pointer.len ? pointer.len - 1 : 0);
	struct node *at = (struct node *)root;
	if (!pointer.len)
		return at;
	while (at && slice_split(&rest, '/', &item)) {
		struct node *child = at->first;
		size_t index = 0;
		char number[24];
		if (!decode_step(item, step, &len))
			return NULL;
		for (; child; child = child->next, index++) {
			snprintf(number, sizeof(number), "%zu", index);
			struct slice name = at->kind == NODE_MAP ? child->key : slice_str(number);
			if (slice_equal(name, slice_of(step, len)))
				break;
		}
		at = child;
	}
	return at;
}

void document_json(const struct node *node, struct buf *out)
{
	const struct node *child;
	bool is_map = node->kind == NODE_MAP;
	switch (node->kind) {
	case NODE_NULL:
		buf_append_str(out, "null");
		break;
	case NODE_BOOL:
		buf_append_str(out, node->truth ? "true" : "false");
		break;
	case NODE_NUMBER:
		buf_append_slice(out, node->text);
		break;
	case NODE_STRING:
		buf_append_json(out, node->text);
		break;
	case NODE_LIST:
	case NODE_MAP:
		buf_append_char(out, is_map ? '{' : '[');
		for (child = node->first; child; child = child->next) {
			if (is_map) {
				buf_append_json(out, child->key);
				buf_append_char(out, ':');
			}
			document_json(child, out);
			if (child->next)
				buf_append_char(out, ',');
		}
		buf_append_char(out, is_map ? '}' : ']');
		break;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* config_tree: see config_tree.h. */
#include "config_tree.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#define CHUNK_BYTES (64u << 10)

struct tree_chunk {
	struct tree_chunk *next;
	size_t used, size;
	_Alignas(max_align_t) char bytes[];
};

void tree_init(struct tree *tree, struct report *report)
{
	*tree = (struct tree){.report = report, .depth_max = TREE_DEPTH_MAX};
}

void tree_fini(struct tree *tree)
{
	while (tree->chunks) {
		struct tree_chunk *next = tree->chunks->next;
		free(tree->chunks);
		tree->chunks = next;
	}
	tree->root = NULL;
}

static void *allocate(struct tree *tree, size_t size)
{
	size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	struct tree_chunk *chunk = tree->chunks;
	if (!chunk || chunk->size - chunk->used < size) {
		size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
		chunk = malloc(sizeof(*chunk) + room);
		if (!chunk) {
			tree->report->no_memory = true;
			return NULL;
		}
		*chunk = (struct tree_chunk){.next = tree->chunks, .size = room};
		tree->chunks = chunk;
	}
	void *p = chunk->bytes + chunk->used;
	chunk->used += size;
	return p;
}

static int copy_text(struct tree *tree, struct mark at, struct slice text, struct slice *out)
{
	if (text.len && memchr(text.ptr, 0, text.len)) {
		report_error(tree->report, at, "the text %s contains a NUL character", quote(text).text);
		return -EINVAL;
	}
	char *copy = allocate(tree, text.len + 1);
	if (!copy)
		return -ENOMEM;
	if (text.len)
		memcpy(copy, text.ptr, text.len);
	copy[text.len] = 0;
	*out = slice_of(copy, text.len);
	return 0;
}

/* A new node, linked into the innermost open one; its key, if it has one, is used up. */
static int add_node(struct tree *tree, struct mark at, enum node_kind kind, struct node **out)
{
	if (++tree->nodes > TREE_NODES_MAX) {
		report_error(tree->report, at,
			     "the file holds more than %d values; split the work over "
			     "several gateways",
			     TREE_NODES_MAX);
		return -EINVAL;
	}
	struct node *node = allocate(tree, sizeof(*node));
	if (!node)
		return -ENOMEM;
	*node = (struct node){.kind = kind, .at = at};
	if (tree->has_key) {
		node->key = tree->key;
		node->key_at = tree->key_at;
		tree->has_key = false;
	}
	if (tree->depth) {
		struct node *parent = tree->open[tree->depth - 1];
		if (parent->last)
			parent->last->next = node;
		else
			parent->first = node;
		parent->last = node;
		parent->count++;
	} else {
		tree->root = node;
	}
	*out = node;
	return 0;
}

int tree_key(struct tree *tree, struct mark at, struct slice text)
{
	int err = copy_text(tree, at, text, &tree->key);
	if (err)
		return err;
	tree->key_at = at;
	tree->has_key = true;
	return 0;
}

int tree_scalar(struct tree *tree, struct mark at, enum node_kind kind, struct slice text)
{
	struct node *node;
	int err = add_node(tree, at, kind, &node);
	if (err)
		return err;
	node->truth = kind == NODE_BOOL && slice_equal(text, SLICE("true"));
	return copy_text(tree, at, text, &node->text);
}

int tree_open(struct tree *tree, struct mark at, enum node_kind kind)
{
	if (tree->depth == tree->depth_max) {
		report_error(tree->report, at, "nested deeper than %u levels", tree->depth_max);
		return -EINVAL;
	}
	struct node *node;
	int err = add_node(tree, at, kind, &node);
	if (err)
		return err;
	tree->open[tree->depth++] = node;
	return 0;
}

void tree_close(struct tree *tree)
{
	tree->depth--;
}

bool tree_wants_key(const struct tree *tree)
{
	return tree->depth && tree->open[tree->depth - 1]->kind == NODE_MAP && !tree->has_key;
}

struct node *node_find(const struct node *map, const char *key)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (struct node *node = map->first; node; node = node->next) {
		if (slice_equal(node->key, slice_str(key)))
			return node;
	}
	return NULL;
}

const char *node_kind_name(enum node_kind kind)
{
	static const char *const names[] = {
		[NODE_NULL] = "null",	    [NODE_BOOL] = "a boolean", [NODE_NUMBER] = "a number",
		[NODE_STRING] = "a string", [NODE_LIST] = "a list",    [NODE_MAP] = "an object",
	};
	return names[kind];
}

static size_t digits(struct slice text, size_t at)
{
	size_t n = 0;
	while (at + n < text.len && text.ptr[at + n] >= '0' && text.ptr[at + n] <= '9')
		n++;
	return n;
}

bool text_is_number(struct slice text)
{
	size_t i = text.len && text.ptr[0] == '-';
	size_t n = digits(text, i);
	if (n == 0 || (n > 1 && text.ptr[i] == '0'))
		return false;
	i += n;
	if (i < text.len && text.ptr[i] == '.') {
		n = digits(text, i + 1);
		if (n == 0)
			return false;
		i += n + 1;
	}
	if (i < text.len && (text.ptr[i] | 0x20) == 'e') {
		i++;
		if (i < text.len && (text.ptr[i] == '+' || text.ptr[i] == '-'))
			i++;
		n = digits(text, i);
		if (n == 0)
			return false;
		i += n;
	}
	return i == text.len;
}

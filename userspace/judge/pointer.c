/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pointer: see pointer.h.
 *
 * The pointers of a set share their beginnings in a tree: a node is a place, its children are the segments
 * that some pointer goes on with, sorted so that a lookup is a binary search, and at most one "*" child.
 * A path can match several nodes at once (by name and by star), but each node only once, so a level of a walk
 * costs at most as many lookups as there are pointers, and nothing when none of them matches so far.
 */
#include "judge/pointer.h"

#include <errno.h>
#include <stdlib.h>

#define NO_NODE 0 /* the root is nobody's child */

struct child {
	char *name; /* decoded; owned */
	size_t len;
	uint32_t node;
};

struct node {
	uint32_t flags;
	uint32_t star;		/* NO_NODE when there is none */
	struct child *children; /* sorted by length, then by bytes */
	uint32_t child_count;
};

struct pointer_set {
	struct node *nodes; /* nodes[0] is the document */
	uint32_t count, cap;
	uint32_t pointers;
	uint32_t flags;
};

int pointer_check(struct slice text, const char **why)
{
	size_t segments = 0;
	if (text.len == 0)
		return 0;
	if (text.ptr[0] != '/') {
		*why = "a JSON pointer starts with \"/\" (or is empty for the whole document)";
		return -EINVAL;
	}
	if (text.len > POINTER_TEXT_MAX) {
		*why = "a JSON pointer may have at most 4096 bytes";
		return -EINVAL;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '/')
			segments++;
		else if (text.ptr[i] == 0) {
			*why = "a JSON pointer must not contain a NUL";
			return -EINVAL;
		} else if (text.ptr[i] == '~' &&
			   (i + 1 >= text.len || (text.ptr[i + 1] != '0' && text.ptr[i + 1] != '1'))) {
			*why = "in a JSON pointer \"~\" is written \"~0\" and \"/\" in a name is written "
			       "\"~1\"";
			return -EINVAL;
		}
	}
	if (segments > POINTER_SEGMENTS_MAX) {
		*why = "a JSON pointer may have at most 128 segments";
		return -EINVAL;
	}
	return 0;
}

struct pointer_set *pointer_set_create(void)
{
	struct pointer_set *set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	set->cap = 8;
	set->nodes = calloc(set->cap, sizeof(*set->nodes));
	if (!set->nodes) {
		free(set);
		return NULL;
	}
	set->count = 1;
	return set;
}

void pointer_set_destroy(struct pointer_set *set)
{
	if (!set)
		return;
	for (uint32_t i = 0; i < set->count; i++) {
		for (uint32_t j = 0; j < set->nodes[i].child_count; j++)
			free(set->nodes[i].children[j].name);
		free(set->nodes[i].children);
	}
	free(set->nodes);
	free(set);
}

uint32_t pointer_set_flags(const struct pointer_set *set)
{
	return set->flags;
}

static int child_order(const struct child *c, struct slice name)
{
	if (c->len != name.len)
		return c->len < name.len ? -1 : 1;
	return name.len ? memcmp(c->name, name.ptr, name.len) : 0;
}

/* The position of the first child that is not before `name`. */
static uint32_t child_position(const struct node *node, struct slice name)
{
	uint32_t low = 0, high = node->child_count;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (child_order(&node->children[mid], name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static uint32_t node_child(const struct node *node, struct slice name)
{
	uint32_t at = child_position(node, name);
	if (at == node->child_count || child_order(&node->children[at], name) != 0)
		return NO_NODE;
	return node->children[at].node;
}

/* A new empty node; NO_NODE when out of memory. */
static uint32_t node_new(struct pointer_set *set)
{
	if (set->count == set->cap) {
		struct node *nodes = realloc(set->nodes, 2 * (size_t)set->cap * sizeof(*nodes));
		if (!nodes)
			return NO_NODE;
		set->nodes = nodes;
		set->cap *= 2;
	}
	set->nodes[set->count] = (struct node){0};
	return set->count++;
}

/* The child of node `at` for a decoded segment, made when there is none; NO_NODE when out of memory. */
static uint32_t node_descend(struct pointer_set *set, uint32_t at, struct slice name)
{
	if (slice_equal(name, SLICE("*"))) {
		if (set->nodes[at].star == NO_NODE) {
			uint32_t star = node_new(set);
			set->nodes[at].star = star;
		}
		return set->nodes[at].star;
	}
	uint32_t found = node_child(&set->nodes[at], name);
	if (found != NO_NODE)
		return found;

	uint32_t made = node_new(set);
	if (made == NO_NODE)
		return NO_NODE;
	struct node *node = &set->nodes[at];
	struct child *children = realloc(node->children, (node->child_count + 1) * sizeof(*children));
	if (!children)
		return NO_NODE;
	node->children = children;
	char *copy = malloc(name.len + 1);
	if (!copy)
		return NO_NODE;
	memcpy(copy, name.ptr, name.len);
	copy[name.len] = 0;
	uint32_t position = child_position(node, name);
	memmove(children + position + 1, children + position,
		(node->child_count - position) * sizeof(*children));
	children[position] = (struct child){copy, name.len, made};
	node->child_count++;
	return made;
}

/* Decodes ~0 and ~1 into `out`, which has room for the segment's text. */
static struct slice segment_decode(const char *p, const char *end, char *out)
{
	size_t len = 0;
	for (; p < end; p++) {
		if (*p == '~')
			out[len++] = *++p == '0' ? '~' : '/';
		else
			out[len++] = *p;
	}
	return slice_of(out, len);
}

int pointer_set_add(struct pointer_set *set, struct slice text, uint32_t flags, const char **why)
{
	char segment[POINTER_TEXT_MAX];
	int error = pointer_check(text, why);
	if (error)
		return error;
	if (set->pointers >= POINTER_COUNT_MAX) {
		*why = "more than 4096 JSON pointers";
		return -E2BIG;
	}
	uint32_t at = 0;
	for (size_t i = 0; i < text.len;) {
		const char *start = text.ptr + i + 1;
		const char *end = memchr(start, '/', text.len - i - 1);
		if (!end)
			end = text.ptr + text.len;
		at = node_descend(set, at, segment_decode(start, end, segment));
		if (at == NO_NODE) {
			*why = "out of memory";
			return -ENOMEM;
		}
		i = (size_t)(end - text.ptr);
	}
	set->nodes[at].flags |= flags;
	set->flags |= flags;
	set->pointers++;
	return 0;
}

void pointer_stack_fini(struct pointer_stack *stack)
{
	if (!stack)
		return;
	free(stack->nodes);
	*stack = (struct pointer_stack){0};
}

static void stack_push(struct pointer_stack *stack, uint32_t node)
{
	if (stack->len == stack->cap) {
		uint32_t cap = stack->cap ? stack->cap * 2 : 64;
		uint32_t *nodes = realloc(stack->nodes, cap * sizeof(*nodes));
		if (!nodes) {
			stack->failed = true;
			return;
		}
		stack->nodes = nodes;
		stack->cap = cap;
	}
	stack->nodes[stack->len++] = node;
}

/* Enters a node: its flags hold here, and it stays in the walk only when it leads further. */
static inline void state_enter(const struct pointer_set *set, struct pointer_stack *stack,
			       struct pointer_state *state, uint32_t index)
{
	const struct node *node = &set->nodes[index];
	state->flags |= node->flags;
	if (node->child_count || node->star != NO_NODE)
		stack_push(stack, index);
}

struct pointer_state pointer_begin(const struct pointer_set *set, struct pointer_stack *stack)
{
	struct pointer_state state = {0};
	stack->len = 0;
	state_enter(set, stack, &state, 0);
	state.count = stack->len;
	return state;
}

struct pointer_state pointer_member(const struct pointer_set *set, struct pointer_stack *stack,
				    struct pointer_state at, struct slice key)
{
	struct pointer_state state = {.first = stack->len};
	for (uint32_t i = 0; i < at.count; i++) {
		const struct node *node = &set->nodes[stack->nodes[at.first + i]];
		uint32_t found = node->child_count ? node_child(node, key) : NO_NODE;
		if (found != NO_NODE)
			state_enter(set, stack, &state, found);
		if (node->star != NO_NODE)
			state_enter(set, stack, &state, node->star);
	}
	state.count = stack->len - state.first;
	return state;
}

struct pointer_state pointer_element(const struct pointer_set *set, struct pointer_stack *stack,
				     struct pointer_state at, uint32_t index)
{
	char digits[10];
	size_t from = sizeof(digits);
	if (at.count == 0)
		return (struct pointer_state){0};
	do {
		digits[--from] = (char)('0' + index % 10);
		index /= 10;
	} while (index);
	return pointer_member(set, stack, at, slice_of(digits + from, sizeof(digits) - from));
}

void pointer_append_member(struct buf *out, struct slice name)
{
	buf_append_char(out, '/');
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '~')
			buf_append(out, "~0", 2);
		else if (name.ptr[i] == '/')
			buf_append(out, "~1", 2);
		else
			buf_append_char(out, name.ptr[i]);
	}
}

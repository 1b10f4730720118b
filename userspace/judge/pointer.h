/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pointer: places in a JSON document, as RFC 6901 pointers with "*" for any array element or any member.
 *
 * "" is the whole document, "/a/b" a member, "/items/0" an element (or a member called "0"),
 * "/items/<any>/id" with a star for <any> the id of every item. "~1" stands for "/" and "~0" for "~" in a
 * member's name; a segment is a wildcard only when it is exactly "*". A rule at a place holds for the whole
 * subtree there: whoever walks keeps the flags it met on the way down.
 *
 * A list of pointers is compiled into a tree of segments; a walk keeps, for each level, the nodes of the
 * tree that its path matches. Where nothing can match any more the set is empty and costs nothing.
 */
#ifndef PHOENIX_JUDGE_POINTER_H
#define PHOENIX_JUDGE_POINTER_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POINTER_TEXT_MAX     4096 /* bytes of one pointer */
#define POINTER_SEGMENTS_MAX 128
#define POINTER_COUNT_MAX    4096 /* pointers in one set */

/* Is it a pointer? 0, or -EINVAL and *why is a static text ("must start with \"/\" or be empty"). */
int pointer_check(struct slice text, const char **why);

/* A compiled list. Immutable once filled; then shared by threads. */
struct pointer_set;

struct pointer_set *pointer_set_create(void); /* NULL when out of memory */
void pointer_set_destroy(struct pointer_set *set);
/* Adds a pointer that gives its place `flags` (not 0; those of equal pointers are joined). 0, -EINVAL with
 * *why, -E2BIG (too many) with *why, -ENOMEM with *why. */
int pointer_set_add(struct pointer_set *set, struct slice text, uint32_t flags, const char **why);
/* All flags of all pointers in the set. */
uint32_t pointer_set_flags(const struct pointer_set *set);

/* Memory of the walks of one thread. Zero-initialised is empty and valid. */
struct pointer_stack {
	uint32_t *nodes;
	uint32_t len, cap;
	bool failed; /* out of memory: what was matched since is not to be trusted */
};

/* Where a walk stands: the nodes its path matches, and the flags of exactly this place. */
struct pointer_state {
	uint32_t first, count;
	uint32_t flags;
};

void pointer_stack_fini(struct pointer_stack *stack);
/* The document itself. Empties the stack. */
struct pointer_state pointer_begin(const struct pointer_set *set, struct pointer_stack *stack);
/* One level down. The key is a member's decoded name. Undo with pointer_leave(the state returned). */
struct pointer_state pointer_member(const struct pointer_set *set, struct pointer_stack *stack,
				    struct pointer_state at, struct slice key);
struct pointer_state pointer_element(const struct pointer_set *set, struct pointer_stack *stack,
				     struct pointer_state at, uint32_t index);
static inline void pointer_leave(struct pointer_stack *stack, struct pointer_state state)
{
	if (state.count)
		stack->len = state.first;
}

/* Appends "/" and the name with "~" and "/" escaped. */
void pointer_append_member(struct buf *out, struct slice name);

#endif

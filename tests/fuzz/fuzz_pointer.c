/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON pointers: a list of them (a line each), RS, a document. What the compiled set says about every place
 * of the document is what one finds by splitting each pointer and comparing segment by segment.
 */
#include "fuzz.h"

#include "judge/json.h"
#include "judge/pointer.h"

#define POINTERS_MAX 30
#define DEPTH_MAX    32

struct walk {
	struct slice text;
	const struct json_token *tokens;
	struct slice pointers[POINTERS_MAX]; /* pointer i gives flag 1 << i */
	unsigned count;
	struct pointer_set *set;
	struct pointer_stack stack;
	struct buf path[DEPTH_MAX]; /* decoded names, of elements their index in decimal */
	unsigned depth;
};

/* One segment of a pointer against one name (RFC 6901 3, 4; "*" is ours). */
static bool segment_matches(struct slice segment, struct slice name)
{
	size_t at = 0;
	if (slice_equal(segment, SLICE("*")))
		return true;
	for (size_t i = 0; i < segment.len; i++, at++) {
		char c = segment.ptr[i];
		if (c == '~')
			c = segment.ptr[++i] == '0' ? '~' : '/';
		if (at == name.len || name.ptr[at] != c)
			return false;
	}
	return at == name.len;
}

static bool pointer_matches(struct slice pointer, const struct walk *walk)
{
	const char *p = pointer.ptr, *end = p + pointer.len;
	for (unsigned depth = 0; depth < walk->depth; depth++) {
		if (p == end)
			return false;
		const char *next = ++p;
		while (next < end && *next != '/')
			next++;
		if (!segment_matches(slice_of(p, (size_t)(next - p)), buf_slice(&walk->path[depth])))
			return false;
		p = next;
	}
	return p == end;
}

static void visit(struct walk *walk, uint32_t at, struct pointer_state state)
{
	const struct json_token *token = &walk->tokens[at];
	uint32_t flags = 0, length = walk->stack.len;
	for (unsigned i = 0; i < walk->count; i++)
		flags |= pointer_matches(walk->pointers[i], walk) ? UINT32_C(1) << i : 0;
	FUZZ_CHECK(state.flags == flags);
	if (token->type < JSON_TOKEN_ARRAY || walk->depth == DEPTH_MAX)
		return;
	struct buf *name = &walk->path[walk->depth++];
	uint32_t child = at + 1, index = 0;
	while (child < token->next) {
		struct pointer_state below;
		buf_reset(name);
		if (token->type == JSON_TOKEN_OBJECT) {
			json_string_decode(json_token_text(walk->text, &walk->tokens[child++]), name);
			below = pointer_member(walk->set, &walk->stack, state, buf_slice(name));
		} else {
			buf_printf(name, "%u", index);
			below = pointer_element(walk->set, &walk->stack, state, index++);
		}
		visit(walk, child, below);
		pointer_leave(&walk->stack, below);
		FUZZ_CHECK(walk->stack.len == length);
		child = walk->tokens[child].next;
	}
	walk->depth--;
}

FUZZ_TARGET(pointer)
{
	char *bytes = fuzz_copy(data, size);
	struct slice rest = slice_of(bytes, size), list = fuzz_part(&rest), document = fuzz_part(&rest);
	struct walk walk = {.text = document, .set = pointer_set_create()};
	struct json_tokens tokens = {0};
	while (list.len && walk.count < POINTERS_MAX) {
		const char *end = memchr(list.ptr, '\n', list.len), *why = NULL;
		struct slice pointer = slice_of(list.ptr, end ? (size_t)(end - list.ptr) : list.len);
		size_t used = pointer.len + (end != NULL);
		list = slice_of(list.ptr + used, list.len - used);
		int err = pointer_check(pointer, &why);
		FUZZ_CHECK((err != 0) == (why != NULL));
		int added = pointer_set_add(walk.set, pointer, UINT32_C(1) << walk.count, &why);
		FUZZ_CHECK(added == err);
		if (!err)
			walk.pointers[walk.count++] = pointer;
	}
	if (json_tokenize(document, NULL, &tokens, NULL) == 0) {
		walk.tokens = tokens.items;
		visit(&walk, 0, pointer_begin(walk.set, &walk.stack));
		FUZZ_CHECK(!walk.stack.failed);
	}
	for (unsigned i = 0; i < DEPTH_MAX; i++)
		buf_fini(&walk.path[i]);
	json_tokens_fini(&tokens);
	pointer_stack_fini(&walk.stack);
	pointer_set_destroy(walk.set);
	free(bytes);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_json: JSON text -> tree. The tokenizer is the comparer's (judge/json.h): strict and with offsets;
 * here offsets become lines and columns, and tokens become nodes.
 *
 * Tokens are in file order, so the position is carried along and every byte is looked at once. A container
 * is closed when the walk reaches the token after its subtree.
 */
#include "config_tree.h"

#include "judge/json.h"

#include <errno.h>

/* Where offset `offset` is; moves forward only. */
struct position {
	struct slice text;
	size_t offset;
	struct mark at;
};

static struct mark locate(struct position *position, size_t offset)
{
	for (; position->offset < offset && position->offset < position->text.len; position->offset++) {
		unsigned char c = (unsigned char)position->text.ptr[position->offset];
		if (c == '\n') {
			position->at.line++;
			position->at.col = 1;
		} else if ((c & 0xc0) != 0x80) {
			position->at.col++;
		}
	}
	return position->at;
}

struct json_reader {
	struct tree *tree;
	struct position position;
	struct json_tokens tokens;
	struct buf decoded;
	uint32_t ends[TREE_DEPTH_CEILING]; /* index of the token after each open container */
};

/* A string's content; false when it is not Unicode text or memory ran out (reported). */
static bool string_text(struct json_reader *reader, const struct json_token *token, struct mark at,
			struct slice *out)
{
	struct slice raw = json_token_text(reader->position.text, token);
	*out = raw;
	if (!token->escaped)
		return true;
	buf_reset(&reader->decoded);
	bool unicode = json_string_decode(raw, &reader->decoded);
	*out = buf_slice(&reader->decoded);
	if (reader->decoded.failed)
		reader->tree->report->no_memory = true;
	else if (!unicode)
		report_error(reader->tree->report, at,
			     "half of a surrogate pair in %s: \"\\ud800\" to \"\\udfff\" "
			     "come in pairs",
			     quote(raw).text);
	return unicode && !reader->decoded.failed;
}

static int read_token(struct json_reader *reader, const struct json_token *token)
{
	struct tree *tree = reader->tree;
	/* A string's token begins after its quote; people point at the quote. */
	struct mark at = locate(&reader->position, token->start - (token->type == JSON_TOKEN_STRING));
	struct slice text = json_token_text(reader->position.text, token);
	switch ((enum json_token_type)token->type) {
	case JSON_TOKEN_NULL:
		return tree_scalar(tree, at, NODE_NULL, text);
	case JSON_TOKEN_FALSE:
	case JSON_TOKEN_TRUE:
		return tree_scalar(tree, at, NODE_BOOL, text);
	case JSON_TOKEN_NUMBER:
		return tree_scalar(tree, at, NODE_NUMBER, text);
	case JSON_TOKEN_STRING:
		if (!string_text(reader, token, at, &text))
			return tree->report->no_memory ? -ENOMEM : -EINVAL;
		return tree_wants_key(tree) ? tree_key(tree, at, text)
					    : tree_scalar(tree, at, NODE_STRING, text);
	case JSON_TOKEN_ARRAY:
	case JSON_TOKEN_OBJECT:
		break;
	}
	int err = tree_open(tree, at, token->type == JSON_TOKEN_ARRAY ? NODE_LIST : NODE_MAP);
	if (!err)
		reader->ends[tree->depth - 1] = token->next;
	return err;
}

static int report_syntax(struct json_reader *reader, int err, const struct json_error *error)
{
	struct report *report = reader->tree->report;
	if (err == -ENOMEM) {
		report->no_memory = true;
		return err;
	}
	struct mark at = locate(&reader->position, error->offset);
	if (error->limit)
		report_error(report, at, "%s (at most %u levels and %d values are possible)", error->reason,
			     reader->tree->depth_max, TREE_NODES_MAX);
	else
		report_error(report, at, "not JSON: %s", error->reason);
	return -EINVAL;
}

int config_json_read(struct tree *tree, struct slice text)
{
	const struct json_limits limits = {.depth = tree->depth_max, .tokens = 2 * TREE_NODES_MAX};
	/* RFC 8259 8.1 lets a parser ignore a byte order mark; editors on some systems write one. */
	if (slice_starts(text, SLICE("\xef\xbb\xbf")))
		text = slice_of(text.ptr + 3, text.len - 3);
	struct json_reader reader = {.tree = tree, .position = {.text = text, .at = {1, 1}}};
	struct json_error error = {0};
	int err = json_tokenize(text, &limits, &reader.tokens, &error);
	if (err)
		err = report_syntax(&reader, err, &error);
	for (uint32_t i = 0; !err && i < reader.tokens.count; i++) {
		while (tree->depth && reader.ends[tree->depth - 1] <= i)
			tree_close(tree);
		err = read_token(&reader, &reader.tokens.items[i]);
	}
	while (tree->depth)
		tree_close(tree);
	json_tokens_fini(&reader.tokens);
	buf_fini(&reader.decoded);
	return err;
}

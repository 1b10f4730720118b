/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json: a strict and lossless tokenizer for RFC 8259 text.
 *
 * Bytes become a flat array of tokens that point back into the text: nothing is converted, so a 20-digit
 * integer, 1e400 or "\u0000" are all kept as they were written. Containers know how many children they have
 * and where the token after their subtree is, so a subtree is skipped in one step.
 *
 * Strict: no comments, no trailing commas, no byte order mark, no control characters in strings, UTF-8 must
 * be well-formed (RFC 3629), exactly one value. What the grammar allows is accepted: a lone surrogate
 * written as an escape ("\ud800") is a token like any other; decoding keeps it apart from every other string
 * (see json_string_decode). Duplicate keys are the reader's business: the tokenizer lets them pass.
 *
 * The names keep clear of jansson's, since the configuration reader sees both.
 */
#ifndef PHOENIX_JUDGE_JSON_H
#define PHOENIX_JUDGE_JSON_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_DEFAULT 128
#define JSON_TOKENS_MAX	   ((1u << 27) - 1) /* ceiling of json_limits.tokens */
#define JSON_TEXT_MAX	   UINT32_MAX	    /* bytes of text */

/* X(NAME, "what people call it") */
#define JSON_TOKEN_TYPES(X)                                                                                  \
	X(NULL, "null")                                                                                      \
	X(FALSE, "false")                                                                                    \
	X(TRUE, "true")                                                                                      \
	X(NUMBER, "number")                                                                                  \
	X(STRING, "string")                                                                                  \
	X(ARRAY, "array")                                                                                    \
	X(OBJECT, "object")

enum json_token_type {
#define X(name, word) JSON_TOKEN_##name,
	JSON_TOKEN_TYPES(X)
#undef X
};

/*
 * One value or one member name. Tokens are in document order; the tokens of an object are name, value,
 * name, value, …; those of a value follow it directly.
 */
struct json_token {
	uint32_t start; /* offset of the first byte; a string's is the one after its quote */
	uint32_t end;	/* offset after the last byte; a string's is that of its closing quote */
	uint32_t next;	/* index of the token after this subtree */
	uint32_t type : 3;
	uint32_t escaped : 1; /* a string that holds at least one backslash */
	uint32_t count : 28;  /* elements of an array, members (pairs) of an object; 0 for the others */
};

struct json_limits {
	uint32_t depth;	 /* containers within each other; 0 = JSON_DEPTH_DEFAULT */
	uint32_t tokens; /* 0 = JSON_TOKENS_MAX */
};

struct json_error {
	size_t offset;	    /* of the first byte that is wrong; the text's length when it ended too early */
	const char *reason; /* static text, "expected ':' after a member name" */
	bool limit;	    /* the text may be JSON, but a limit (depth, tokens, bytes, memory) was reached */
};

/* The array of tokens, kept and reused from text to text. Zero-initialised is empty and valid. */
struct json_tokens {
	struct json_token *items; /* items[0] is the document */
	uint32_t count;
	uint32_t cap;
};

/*
 * Replaces the content of *tokens by the tokens of `text`. Returns 0, or -EINVAL (not JSON), -E2BIG (a limit)
 * or -ENOMEM, then *error says where and why (error may be NULL) and tokens->count is 0. The tokens refer to
 * the text by offset; the text must outlive their use. limits may be NULL.
 */
int json_tokenize(struct slice text, const struct json_limits *limits, struct json_tokens *tokens,
		  struct json_error *error);
/* Frees the memory, leaves it empty and usable. NULL-safe. */
void json_tokens_fini(struct json_tokens *tokens);

/* The bytes of a token as they stand in the text, a string without its quotes. */
static inline struct slice json_token_text(struct slice text, const struct json_token *token)
{
	return slice_of(text.ptr + token->start, token->end - token->start);
}

/* "object", "number", …; true and false are "boolean". */
const char *json_type_word(unsigned type);

/* Turns a byte offset into line and column, both from 1; a column is a byte, a line ends at LF. */
void json_locate(struct slice text, size_t offset, unsigned *line, unsigned *column);

/*
 * Appends the decoded content of a string token's text (RFC 8259 7) as UTF-8. A lone surrogate has no UTF-8;
 * it is appended as the three bytes of the generalised form (ED A0..BF xx), which no well-formed string
 * contains, so different strings stay different. Returns false when there was one: a reader that needs
 * Unicode text (configuration) refuses then.
 */
bool json_string_decode(struct slice raw, struct buf *out);

/* Do two strings mean the same ("\u0061" and "a")? Takes raw text as validated by json_tokenize; allocates
 * nothing. */
bool json_string_equal(struct slice a, bool a_escaped, struct slice b, bool b_escaped);

#endif

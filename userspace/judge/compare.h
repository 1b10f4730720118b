/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare: do two responses mean the same?
 *
 * Status, the listed header fields, then the body: JSON by meaning (member order, number notation and string
 * escapes do not matter), everything else by its bytes. The result is a verdict and a list of differences,
 * each with its place, redacted values, and whether a rule ignored it. Ignored differences never decide.
 *
 * Pure: no I/O and no clock. The plan is immutable and shared by threads; the scratch is one thread's memory.
 *
 * Which bodies are JSON: on both sides the content-type is application/json, text/json or any +json, or there
 * is none and the body starts with { or [; and both parse (RFC 8259); and no object that has to be looked
 * into names a member twice (then two readers could read two things, and the bytes are compared instead).
 * Bodies with the same bytes and the same coding are equal whatever they are.
 *
 * Content codings: gzip and deflate are undone first. A body that does not decode is different from one that
 * does (kind "encoding"); if neither does, their bytes are compared. Any other coding: bytes when both sides
 * have the same one, otherwise not comparable.
 */
#ifndef PHOENIX_JUDGE_COMPARE_H
#define PHOENIX_JUDGE_COMPARE_H

#include "base/buf.h"
#include "base/siphash.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMPARE_DIFFERENCES_MAX 32  /* kept of one pair; all are counted */
#define COMPARE_VALUE_MAX	256 /* bytes kept of a differing value */
#define COMPARE_POINTER_MAX	512 /* bytes kept of a place */
#define COMPARE_HEADERS_MAX	64

/* X(NAME, "word", "help") */
#define COMPARE_VERDICTS(X)                                                                                  \
	X(MATCH, "match", "nothing differs but what is ignored")                                             \
	X(MISMATCH, "mismatch", "at least one difference that is not ignored")                               \
	X(NOT_COMPARABLE, "not_comparable", "no verdict could be given")

enum compare_verdict {
#define X(name, word, help) COMPARE_##name,
	COMPARE_VERDICTS(X)
#undef X
};

/* Why there is no verdict: X(NAME, "word", "help") */
#define COMPARE_REASONS(X)                                                                                   \
	X(NONE, "none", "there is a verdict")                                                                \
	X(OVER_CAP, "body_over_cap", "decoded body over the cap")                                            \
	X(UNKNOWN_ENCODING, "unknown_encoding", "the content codings differ and one is not known")           \
	X(TOO_COMPLEX, "too_complex", "the bodies are nested too deeply or too costly to compare")           \
	X(NO_MEMORY, "no_memory", "out of memory")

enum compare_reason {
#define X(name, word, help) COMPARE_REASON_##name,
	COMPARE_REASONS(X)
#undef X
};

/* What a difference is: X(NAME, "word", "help") */
#define COMPARE_KINDS(X)                                                                                     \
	X(STATUS, "status", "the status codes differ")                                                       \
	X(HEADER, "header", "a listed header field has another value")                                       \
	X(MISSING, "missing", "legacy has it, modern does not")                                              \
	X(ADDED, "added", "modern has it, legacy does not")                                                  \
	X(TYPE, "type", "values of different JSON types")                                                    \
	X(VALUE, "value", "values of the same type differ")                                                  \
	X(LENGTH, "length", "arrays of different length")                                                    \
	X(ORDER, "order", "an array has the same elements in another order")                                 \
	X(BYTES, "bytes", "bodies compared as bytes differ")                                                 \
	X(ENCODING, "encoding", "only one of the bodies can be decoded")

enum compare_kind {
#define X(name, word, help) COMPARE_KIND_##name,
	COMPARE_KINDS(X)
#undef X
		COMPARE_KIND_COUNT
};

const char *compare_verdict_word(enum compare_verdict verdict);
const char *compare_reason_word(enum compare_reason reason);
const char *compare_reason_help(enum compare_reason reason);
const char *compare_kind_word(enum compare_kind kind);

/* Borrowed strings; `char **` fits. */
struct compare_strings {
	char *const *items;
	size_t count;
};

struct compare_options {
	struct compare_strings ignore;	  /* pointers: differences there do not count */
	struct compare_strings headers;	  /* field names compared besides status and body */
	struct compare_strings unordered; /* pointers of arrays compared as multisets */
	struct compare_strings redact;	  /* pointers whose values are never shown */
	double float_tolerance;		  /* |a - b| <= this is equal; 0 = exact */
	size_t decoded_bytes_max;	  /* of a gzip or deflate body; 0 = 16 MiB */
	uint8_t key[SIPHASH_KEY_SIZE];	  /* random; of the redaction and of the hash tables */
};

struct compare_plan;
/* Everything is copied. On failure NULL, and a sentence is appended to `why` (which names the pointer). */
struct compare_plan *compare_plan_create(const struct compare_options *options, struct buf *why);
void compare_plan_destroy(struct compare_plan *plan);
/* The plan's key, for redact_header_value and redact_value. */
const uint8_t *compare_plan_key(const struct compare_plan *plan);

struct compare_scratch;
struct compare_scratch *compare_scratch_create(void); /* NULL when out of memory */
void compare_scratch_destroy(struct compare_scratch *scratch);

/* One response, all borrowed. */
struct compare_message {
	int status;
	const struct header_field *fields;
	size_t field_count;
	struct slice body;
	bool is_head; /* answer to a HEAD request: bodies are not looked at */
};

/* All text is UTF-8 and NUL-terminated behind its end; it lives in the result. */
struct compare_difference {
	/* Where: "/items/3/price", "" for the whole JSON document, or "status", "body", "header:NAME" (lower
	 * case). A JSON pointer is empty or starts with "/", the others never do. */
	struct slice pointer;
	struct slice general; /* the same with "*" for array indices: the key to group by */
	enum compare_kind kind;
	bool ignored;	     /* by a rule: shown, but does not count */
	struct slice legacy; /* redacted, at most COMPARE_VALUE_MAX bytes; empty when there is none */
	struct slice modern;
};

struct compare_result {
	enum compare_verdict verdict;
	enum compare_reason reason; /* when NOT_COMPARABLE */
	uint32_t different;	    /* differences that count, also those not kept */
	uint32_t ignored;	    /* ignored differences, also those not kept */
	uint32_t kept;		    /* in `differences`: counting and ignored ones, in document order */
	struct compare_difference differences[COMPARE_DIFFERENCES_MAX];
	struct buf text; /* the differences' memory */
};

/* Zero-initialised is a valid result too. */
static inline void compare_result_init(struct compare_result *result)
{
	memset(result, 0, sizeof(*result));
}
/* NULL-safe; the result can be used again. */
void compare_result_fini(struct compare_result *result);

/*
 * Compares. `result` is overwritten (its memory is reused). A status or header that differs is a mismatch
 * even when the bodies cannot be compared. Never fails: no memory is NOT_COMPARABLE.
 */
void compare_messages(const struct compare_plan *plan, struct compare_scratch *scratch,
		      const struct compare_message *legacy, const struct compare_message *modern,
		      struct compare_result *result);

/*
 * The body without its content coding, for redact_body. Borrowed from the message (no known coding, or it
 * does not decode) or from `out`.
 */
struct slice compare_decode_body(const struct compare_plan *plan, struct compare_scratch *scratch,
				 const struct compare_message *message, struct buf *out);

/* All values of a field joined by ", " in order (RFC 9110 5.2); false when there is none. Appends to `out`.
 */
bool compare_join_header(const struct compare_message *message, struct slice name, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare_internal: what the files of the comparer share and nobody else sees.
 *
 *	compare.c          plan, status, header fields, codings, bytes
 *	compare_json.c     the walk through two documents
 *	compare_match.c    which member belongs to which, multisets
 *	compare_report.c   the list of differences
 *	redact.c           how a value is shown
 */
#ifndef PHOENIX_JUDGE_COMPARE_INTERNAL_H
#define PHOENIX_JUDGE_COMPARE_INTERNAL_H

#include "judge/compare.h"
#include "judge/inflate.h"
#include "judge/json.h"
#include "judge/number.h"
#include "judge/pointer.h"

#define NO_TOKEN UINT32_MAX

enum compare_rule { RULE_IGNORE = 1, RULE_UNORDERED = 2, RULE_REDACT = 4 };

struct compare_plan {
	struct pointer_set *pointers; /* flags are enum compare_rule */
	struct slice *headers;	      /* lower case, owned */
	size_t header_count;
	struct number_tolerance tolerance;
	size_t decoded_bytes_max;
	uint8_t key[SIPHASH_KEY_SIZE];
	uint64_t seed[2]; /* of hash_bytes */
};

/* One of the two bodies. */
struct side {
	struct slice text; /* decoded */
	struct json_tokens tokens;
	struct buf decoded; /* memory of `text` when a coding was undone */
};

/* A slot of the table of member names. */
struct slot {
	uint32_t generation; /* in use when it is the scratch's */
	uint32_t hash;
	uint32_t token;	  /* of the name */
	uint32_t matched; /* both sides have it */
	const struct side *side;
};

/* An element of an array that is compared as a multiset. */
struct element {
	uint64_t hash;
	uint32_t token; /* NO_TOKEN once it is matched */
	uint32_t index;
};

struct compare_scratch {
	struct side legacy, modern;
	struct json_tokens shown; /* of redact_body */
	struct pointer_stack pointers;
	struct inflater *inflater;
	struct slot *slots;
	uint32_t slot_cap; /* a power of two */
	uint32_t generation;
	uint32_t *pairs; /* a stack: each object on the path has its part */
	size_t pair_count, pair_cap;
	struct element *elements; /* likewise for arrays */
	size_t element_count, element_cap;
	struct buf name;  /* a decoded string */
	struct buf where; /* a pointer being built */
	struct buf value; /* a value being shown */
	struct buf header_legacy, header_modern;
};

/* A step of the path to where the walk is. */
struct step {
	struct slice name; /* raw text of a member's name */
	uint32_t index;
	bool escaped;
	bool element; /* `index` counts, not `name` */
};

/* One comparison of two documents. */
struct walk {
	const struct compare_plan *plan;
	struct compare_scratch *scratch;
	struct compare_result *result;
	const struct side *legacy, *modern;
	struct step path[JSON_DEPTH_DEFAULT + 1];
	uint32_t depth;
	uint64_t work, work_max; /* steps done and allowed */
	bool quiet;		 /* count differences, keep none */
	bool first;		 /* one that counts is enough: then `satisfied` is set */
	bool satisfied;
	bool duplicate;		     /* an object names a member twice: stop */
	enum compare_reason failure; /* stop, unless NONE */
};

static inline bool walk_stopped(const struct walk *w)
{
	return w->duplicate || w->satisfied || w->failure != COMPARE_REASON_NONE;
}

/* Counts `steps`; false when the walk has to stop. */
static inline bool walk_work(struct walk *w, uint64_t steps)
{
	w->work += steps;
	if (__builtin_expect(w->work > w->work_max, 0) && w->failure == COMPARE_REASON_NONE)
		w->failure = COMPARE_REASON_TOO_COMPLEX;
	return !walk_stopped(w);
}

static inline void walk_fail(struct walk *w, enum compare_reason reason)
{
	if (w->failure == COMPARE_REASON_NONE)
		w->failure = reason;
}

static inline const struct json_token *token_at(const struct side *side, uint32_t index)
{
	return &side->tokens.items[index];
}

/* The text of a value with its quotes. */
static inline struct slice token_span(const struct side *side, uint32_t index)
{
	const struct json_token *t = token_at(side, index);
	uint32_t quote = t->type == JSON_TOKEN_STRING;
	return slice_of(side->text.ptr + t->start - quote, t->end - t->start + 2 * quote);
}

/* A string's content; decoded into the scratch's `name` when it has escapes. */
static inline struct slice token_string(struct compare_scratch *scratch, const struct side *side,
					uint32_t index)
{
	const struct json_token *t = token_at(side, index);
	struct slice raw = json_token_text(side->text, t);
	if (__builtin_expect(!t->escaped, 1))
		return raw;
	buf_reset(&scratch->name);
	json_string_decode(raw, &scratch->name);
	return buf_slice(&scratch->name);
}

/* The rules at a member: its name is only decoded when a pointer could match. */
static inline struct pointer_state enter_member(const struct compare_plan *plan,
						struct compare_scratch *scratch, const struct side *side,
						struct pointer_state at, uint32_t name)
{
	if (__builtin_expect(at.count == 0, 1))
		return (struct pointer_state){0};
	return pointer_member(plan->pointers, &scratch->pointers, at, token_string(scratch, side, name));
}

/* compare_json.c: compares the documents of both sides and reports into the result. Returns false when an
 * object names a member twice; then nothing was reported. */
bool walk_documents(struct walk *w);
/* The two values, differences being reported. `rules` are those of the ancestors. */
void walk_value(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules);
/* Do they differ at a place that is not ignored? Nothing is reported. */
bool walk_differs(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules);

/*
 * compare_match.c: which members belong together. Pushes onto the scratch's `pairs`, for each member of
 * legacy in order, the modern *name* token or NO_TOKEN; then those of modern that legacy has not. False when
 * the walk stops (a name twice, memory).
 */
bool match_members(struct walk *w, uint32_t a, uint32_t b);
/* Compares two arrays as multisets and reports. */
void walk_unordered(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules);
/* Have two arrays the same elements, in whatever order? (By hash.) */
bool same_elements(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at);

/* compare_report.c. Where a report stood, to take back what came after. */
struct report_mark {
	uint32_t different, ignored, kept;
	size_t text_len;
};
struct report_mark report_mark(const struct compare_result *result);
void report_take_back(struct compare_result *result, struct report_mark mark);
/* A difference at the walk's place; a or b may be NO_TOKEN. */
void report_json(struct walk *w, enum compare_kind kind, uint32_t a, uint32_t b, struct pointer_state at,
		 uint32_t rules);
/* The same with given texts. */
void report_json_text(struct walk *w, enum compare_kind kind, uint32_t rules, struct slice legacy,
		      struct slice modern);
/* A difference elsewhere; `where` is "status", "body" or "header:…". */
void report_text(struct compare_result *result, enum compare_kind kind, struct slice where,
		 struct slice legacy, struct slice modern);

/* redact.c: appends a JSON value as it may be shown, at most max_bytes. */
void redact_json(const struct compare_plan *plan, struct compare_scratch *scratch, const struct side *side,
		 uint32_t token, struct pointer_state at, uint32_t rules, size_t max_bytes, struct buf *out);
/* Appends at most max_bytes of text: well-formed UTF-8, other bytes as \xNN, "…" when it was cut. */
void append_shown(struct buf *out, struct slice text, size_t max_bytes);

#endif

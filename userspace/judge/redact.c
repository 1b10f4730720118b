/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redact: see redact.h.
 *
 * JSON keeps its text; only the spans of redacted values are exchanged, so what is shown is what was sent.
 * The hash is taken of the meaning (a decoded string, a number's normal form), so "a" and "\u0061" look
 * equal.
 */
#include "judge/redact.h"

#include "judge/compare_internal.h"
#include "judge/utf8.h"

#include <stdio.h>

#define ELLIPSIS       "\xe2\x80\xa6"
#define ELLIPSIS_BYTES 3

bool redact_is_secret_header(struct slice name)
{
	static const struct slice secrets[] = {
		{"authorization", 13}, {"proxy-authorization", 19}, {"cookie", 6}, {"set-cookie", 10},
		{"x-api-key", 9},
	};
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		if (slice_equal_nocase(name, secrets[i]))
			return true;
	}
	return false;
}

void redact_value(struct slice value, const uint8_t key[SIPHASH_KEY_SIZE], struct buf *out)
{
	buf_printf(out, "redacted:%08x", (unsigned)(siphash24(key, value.ptr, value.len) >> 32));
}

void redact_header_value(struct slice name, struct slice value, const uint8_t key[SIPHASH_KEY_SIZE],
			 struct buf *out)
{
	if (redact_is_secret_header(name))
		redact_value(value, key, out);
	else
		buf_append_slice(out, value);
}

void append_shown(struct buf *out, struct slice text, size_t max_bytes)
{
	const uint8_t *p = (const uint8_t *)text.ptr, *end = p;
	size_t start = out->len, cut = out->len; /* where an ellipsis would still fit behind */
	if (text.len)
		end = p + text.len;
	while (p < end && !out->failed) {
		char escaped[5];
		const char *bytes = (const char *)p;
		size_t used = *p < 0x80 ? 1 : utf8_sequence(p, end), len = used;
		bool control = (*p < 0x20 && *p != '\t' && *p != '\n' && *p != '\r') || *p == 0x7f;
		if (used == 0 || control) {
			used = 1;
			len = 4;
			snprintf(escaped, sizeof(escaped), "\\x%02X", *p);
			bytes = escaped;
		}
		if (out->len - start + len > max_bytes) {
			out->len = cut;
			if (max_bytes >= ELLIPSIS_BYTES)
				buf_append(out, ELLIPSIS, ELLIPSIS_BYTES);
			return;
		}
		buf_append(out, bytes, len);
		p += used;
		if (out->len - start + ELLIPSIS_BYTES <= max_bytes)
			cut = out->len;
	}
}

/* "redacted:…" of a JSON value's meaning. */
static void redact_token(const struct compare_plan *plan, struct compare_scratch *scratch,
			 const struct side *side, uint32_t token, struct buf *out)
{
	const struct json_token *t = token_at(side, token);
	struct slice text = json_token_text(side->text, t);
	if (t->type == JSON_TOKEN_STRING) {
		text = token_string(scratch, side, token);
	} else if (t->type == JSON_TOKEN_NUMBER) {
		struct buf *normal = &scratch->name;
		buf_reset(normal);
		if (buf_reserve(normal, text.len + 24))
			text = slice_of(normal->data, number_normal(text, normal->data));
	}
	redact_value(text, plan->key, out);
}

/* Copies a document's text, with some values exchanged. */
struct shower {
	const struct compare_plan *plan;
	struct compare_scratch *scratch;
	const struct side *side;
	size_t cursor; /* in the text: what was copied so far */
	size_t max_bytes;
	struct buf *out;
};

static bool shower_full(const struct shower *s)
{
	return s->out->len > s->max_bytes;
}

/* Copies up to an offset; no more than it takes to see that the limit is passed. */
static void shower_copy(struct shower *s, size_t to)
{
	size_t len = to - s->cursor;
	if (shower_full(s))
		return;
	if (len > s->max_bytes + 8)
		len = s->max_bytes + 8;
	buf_append(s->out, s->side->text.ptr + s->cursor, len);
	s->cursor = to;
}

static void shower_value(struct shower *s, uint32_t token, struct pointer_state at)
{
	const struct json_token *t = token_at(s->side, token);
	if (at.flags & RULE_REDACT) {
		struct slice span = token_span(s->side, token);
		size_t start = (size_t)(span.ptr - s->side->text.ptr);
		shower_copy(s, start);
		buf_append_char(s->out, '"');
		redact_token(s->plan, s->scratch, s->side, token, s->out);
		buf_append_char(s->out, '"');
		s->cursor = start + span.len;
		return;
	}
	if (at.count == 0 || (t->type != JSON_TOKEN_ARRAY && t->type != JSON_TOKEN_OBJECT))
		return;
	uint32_t child = token + 1;
	for (uint32_t i = 0; i < t->count && !shower_full(s); i++) {
		struct pointer_state state;
		if (t->type == JSON_TOKEN_OBJECT)
			state = enter_member(s->plan, s->scratch, s->side, at, child++);
		else
			state = pointer_element(s->plan->pointers, &s->scratch->pointers, at, i);
		shower_value(s, child, state);
		pointer_leave(&s->scratch->pointers, state);
		child = token_at(s->side, child)->next;
	}
}

void redact_json(const struct compare_plan *plan, struct compare_scratch *scratch, const struct side *side,
		 uint32_t token, struct pointer_state at, uint32_t rules, size_t max_bytes, struct buf *out)
{
	struct slice span = token_span(side, token);
	if (rules & RULE_REDACT) {
		redact_token(plan, scratch, side, token, out);
		return;
	}
	if (at.count == 0 || !(pointer_set_flags(plan->pointers) & RULE_REDACT)) {
		append_shown(out, span, max_bytes);
		return;
	}
	struct shower s = {plan,      scratch,	      side, (size_t)(span.ptr - side->text.ptr),
			   max_bytes, &scratch->where};
	buf_reset(s.out);
	shower_value(&s, token, at);
	shower_copy(&s, (size_t)(span.ptr - side->text.ptr) + span.len);
	append_shown(out, buf_slice(s.out), max_bytes);
}

void redact_body(const struct compare_plan *plan, struct compare_scratch *scratch, struct slice body,
		 size_t max_bytes, struct buf *out)
{
	if (body.len == 0)
		return;
	if (!(pointer_set_flags(plan->pointers) & RULE_REDACT)) {
		append_shown(out, body, max_bytes);
		return;
	}
	struct side side = {.text = body, .tokens = scratch->shown};
	int error = json_tokenize(body, NULL, &side.tokens, NULL);
	scratch->shown = side.tokens;
	scratch->pointers.failed = false;
	struct pointer_state root = pointer_begin(plan->pointers, &scratch->pointers);
	if (error) {
		redact_value(body, plan->key, out);
		return;
	}
	size_t start = out->len;
	redact_json(plan, scratch, &side, 0, root, root.flags & RULE_REDACT, max_bytes, out);
	/* Matches were lost: better nothing than a secret. */
	if (scratch->pointers.failed || scratch->where.failed || scratch->name.failed) {
		out->len = start;
		redact_value(body, plan->key, out);
	}
}

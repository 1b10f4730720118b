/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare_report: the list of differences, in the result's own memory.
 *
 * All differences are counted; the first ones are kept. Ignored ones may take half of the places at most, so
 * that noise never hides what matters. The memory for all that can be kept is taken at the first difference,
 * so texts never move and a hostile body cannot make the list large.
 */
#include "judge/compare_internal.h"

#define IGNORED_KEPT_MAX (COMPARE_DIFFERENCES_MAX / 2)
/* report_json keeps two empty texts besides. */
#define DIFFERENCE_TEXT_MAX (2 * (COMPARE_POINTER_MAX + 1) + 2 * (COMPARE_VALUE_MAX + 1) + 2)

struct report_mark report_mark(const struct compare_result *result)
{
	return (struct report_mark){result->different, result->ignored, result->kept, result->text.len};
}

void report_take_back(struct compare_result *result, struct report_mark mark)
{
	result->different = mark.different;
	result->ignored = mark.ignored;
	result->kept = mark.kept;
	result->text.len = mark.text_len;
}

static uint32_t ignored_kept(const struct compare_result *result)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < result->kept; i++)
		count += result->differences[i].ignored;
	return count;
}

/* Counts a difference; the place to keep it in, or NULL. */
static struct compare_difference *report_new(struct compare_result *result, enum compare_kind kind,
					     bool ignored)
{
	if (ignored)
		result->ignored++;
	else
		result->different++;
	if (result->kept == COMPARE_DIFFERENCES_MAX)
		return NULL;
	if (ignored &&
	    (result->ignored > COMPARE_DIFFERENCES_MAX || ignored_kept(result) == IGNORED_KEPT_MAX))
		return NULL;
	if (result->text.cap == 0 &&
	    !buf_reserve(&result->text, COMPARE_DIFFERENCES_MAX * DIFFERENCE_TEXT_MAX)) {
		buf_reset(&result->text);
		return NULL;
	}
	struct compare_difference *d = &result->differences[result->kept++];
	*d = (struct compare_difference){.kind = kind, .ignored = ignored};
	return d;
}

/* Copies into the result's memory with a NUL behind. */
static struct slice keep_text(struct compare_result *result, struct slice text, size_t max_bytes)
{
	size_t start = result->text.len;
	append_shown(&result->text, text, max_bytes);
	size_t len = result->text.len - start;
	buf_append_char(&result->text, 0);
	return slice_of(result->text.data + start, len);
}

/* The walk's place as a pointer; `general` writes "*" for indices. */
static struct slice path_text(struct walk *w, bool general)
{
	struct buf *where = &w->scratch->where, *name = &w->scratch->name;
	buf_reset(where);
	/* A little more than is kept, so that the cut is seen. */
	for (uint32_t i = 0; i < w->depth && where->len <= COMPARE_POINTER_MAX; i++) {
		const struct step *s = &w->path[i];
		if (s->element && general) {
			buf_append_str(where, "/*");
		} else if (s->element) {
			buf_printf(where, "/%u", s->index);
		} else if (s->escaped) {
			buf_reset(name);
			json_string_decode(s->name, name);
			pointer_append_member(where, buf_slice(name));
		} else {
			pointer_append_member(where, s->name);
		}
	}
	return buf_slice(where);
}

void report_json_text(struct walk *w, enum compare_kind kind, uint32_t rules, struct slice legacy,
		      struct slice modern)
{
	struct compare_result *result = w->result;
	if (w->quiet) {
		if (rules & RULE_IGNORE) {
			result->ignored++;
		} else {
			result->different++;
			w->satisfied = w->first;
		}
		return;
	}
	struct compare_difference *d = report_new(result, kind, rules & RULE_IGNORE);
	if (!d)
		return;
	d->pointer = keep_text(result, path_text(w, false), COMPARE_POINTER_MAX);
	d->general = keep_text(result, path_text(w, true), COMPARE_POINTER_MAX);
	d->legacy = keep_text(result, legacy, COMPARE_VALUE_MAX);
	d->modern = keep_text(result, modern, COMPARE_VALUE_MAX);
}

static struct slice keep_value(struct walk *w, const struct side *side, uint32_t token,
			       struct pointer_state at, uint32_t rules)
{
	struct buf *value = &w->scratch->value;
	buf_reset(value);
	if (token != NO_TOKEN)
		redact_json(w->plan, w->scratch, side, token, at, rules, COMPARE_VALUE_MAX, value);
	return keep_text(w->result, buf_slice(value), COMPARE_VALUE_MAX);
}

void report_json(struct walk *w, enum compare_kind kind, uint32_t a, uint32_t b, struct pointer_state at,
		 uint32_t rules)
{
	struct slice none = {"", 0};
	struct compare_result *result = w->result;
	uint32_t kept = result->kept;
	report_json_text(w, kind, rules, none, none);
	if (result->kept == kept)
		return;
	struct compare_difference *d = &result->differences[kept];
	d->legacy = keep_value(w, w->legacy, a, at, rules);
	d->modern = keep_value(w, w->modern, b, at, rules);
}

void report_text(struct compare_result *result, enum compare_kind kind, struct slice where,
		 struct slice legacy, struct slice modern)
{
	struct compare_difference *d = report_new(result, kind, false);
	if (!d)
		return;
	d->pointer = keep_text(result, where, COMPARE_POINTER_MAX);
	d->general = d->pointer;
	d->legacy = keep_text(result, legacy, COMPARE_VALUE_MAX);
	d->modern = keep_text(result, modern, COMPARE_VALUE_MAX);
}

void compare_result_fini(struct compare_result *result)
{
	if (!result)
		return;
	buf_fini(&result->text);
	memset(result, 0, sizeof(*result));
}

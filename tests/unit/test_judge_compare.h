/* SPDX-License-Identifier: Apache-2.0 */
/* What the comparer's tests share: plans from text, lists of differences as text, memory that ends hard. */
#ifndef PHOENIX_TESTS_JUDGE_COMPARE_H
#define PHOENIX_TESTS_JUDGE_COMPARE_H

#include "judge/compare.h"

#include "test_judge_support.h"
#include "unit.h"

static struct guard guard_a, guard_b;
static struct compare_scratch *scratch;

/* Cuts "a,b" into a list of strings; the memory is the caller's. */
static inline struct compare_strings split(const char *text, char *memory, char **items)
{
	struct compare_strings list = {items, 0};
	if (!text)
		return list;
	strcpy(memory, text);
	for (char *p = memory;;) {
		items[list.count++] = p;
		p = strchr(p, ',');
		if (!p)
			return list;
		*p++ = 0;
	}
}

struct rules {
	const char *ignore, *unordered, *headers, *redact; /* separated by commas */
	double tolerance;
};

static inline struct compare_plan *plan_of(const struct rules *rules)
{
	char memory[4][512], *items[4][32];
	struct compare_options options = {
		.ignore = split(rules->ignore, memory[0], items[0]),
		.unordered = split(rules->unordered, memory[1], items[1]),
		.headers = split(rules->headers, memory[2], items[2]),
		.redact = split(rules->redact, memory[3], items[3]),
		.float_tolerance = rules->tolerance,
		.decoded_bytes_max = 1 << 20,
		.key = "0123456789abcdef",
	};
	struct buf why = {0};
	struct compare_plan *plan = compare_plan_create(&options, &why);
	CHECK_MSG(plan, "%s", buf_cstr(&why));
	buf_fini(&why);
	return plan;
}

static inline void list_differences(const struct compare_result *result, bool general, struct buf *out)
{
	buf_reset(out);
	for (uint32_t i = 0; i < result->kept; i++) {
		const struct compare_difference *d = &result->differences[i];
		if (i)
			buf_append_str(out, "; ");
		if (d->ignored)
			buf_append_char(out, '~');
		buf_printf(out, "%s ", compare_kind_word(d->kind));
		buf_append_slice(out, general ? d->general : d->pointer);
	}
}

/* The texts of the first difference as "legacy|modern". */
static inline const char *values_of(const struct compare_result *result, struct buf *out)
{
	buf_reset(out);
	buf_append_slice(out, result->differences[0].legacy);
	buf_append_char(out, '|');
	buf_append_slice(out, result->differences[0].modern);
	return buf_cstr(out);
}

__attribute__((constructor)) static void prepare(void)
{
	guard_a = guard_make(1 << 21);
	guard_b = guard_make(1 << 21);
	scratch = compare_scratch_create();
}

__attribute__((destructor)) static void tidy(void)
{
	guard_free(&guard_a);
	guard_free(&guard_b);
	compare_scratch_destroy(scratch);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The comparer. Parts, divided by RS: legacy's body, modern's body, then the lists "ignore", "unordered",
 * "redact" (pointers, a line each), the tolerance, and the content codings of legacy and modern.
 *
 * A body equals itself; the verdict is the same the other way round, and with a scratch that has seen other
 * documents; whatever is shown is well-formed UTF-8 within its limits.
 */
#include "fuzz.h"

#include "judge/compare.h"
#include "judge/redact.h"
#include "judge/utf8.h"

#define LINES_MAX 16

struct lines {
	char *items[LINES_MAX];
	size_t count;
};

static void lines_split(struct lines *lines, struct slice text)
{
	*lines = (struct lines){0};
	while (text.len && lines->count < LINES_MAX) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len, used = len + (end != NULL);
		lines->items[lines->count++] = strndup(text.ptr, len);
		text = slice_of(text.ptr + used, text.len - used);
	}
}

static void lines_fini(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		free(lines->items[i]);
}

static bool is_utf8(struct slice s)
{
	const uint8_t *p = (const uint8_t *)s.ptr, *end = s.len ? p + s.len : p;
	while (p < end) {
		unsigned n = *p < 0x80 ? 1 : utf8_sequence(p, end);
		if (!n)
			return false;
		p += n;
	}
	return true;
}

static void check_result(const struct compare_result *result)
{
	FUZZ_CHECK(result->kept <= COMPARE_DIFFERENCES_MAX && !result->text.failed);
	FUZZ_CHECK(result->kept <= result->different + result->ignored);
	FUZZ_CHECK((result->verdict == COMPARE_NOT_COMPARABLE) == (result->reason != COMPARE_REASON_NONE));
	FUZZ_CHECK(result->verdict != COMPARE_MATCH || result->different == 0);
	FUZZ_CHECK(result->verdict != COMPARE_MISMATCH || result->different > 0);
	FUZZ_CHECK(result->reason != COMPARE_REASON_NO_MEMORY);
	for (uint32_t i = 0; i < result->kept; i++) {
		const struct compare_difference *d = &result->differences[i];
		FUZZ_CHECK(d->pointer.len <= COMPARE_POINTER_MAX && d->general.len <= COMPARE_POINTER_MAX);
		FUZZ_CHECK(d->legacy.len <= COMPARE_VALUE_MAX && d->modern.len <= COMPARE_VALUE_MAX);
		FUZZ_CHECK(is_utf8(d->pointer) && is_utf8(d->general) && is_utf8(d->legacy) &&
			   is_utf8(d->modern));
	}
}

static void check_pair(const struct compare_plan *plan, struct compare_scratch *used,
		       const struct compare_message *a, const struct compare_message *b)
{
	struct compare_scratch *fresh = compare_scratch_create();
	struct compare_result one = {0}, other = {0};
	compare_messages(plan, used, a, b, &one);
	check_result(&one);
	compare_messages(plan, fresh, b, a, &other);
	check_result(&other);
	FUZZ_CHECK(one.verdict == other.verdict && one.reason == other.reason);
	compare_messages(plan, fresh, a, a, &other);
	check_result(&other);
	/* The same bytes under the same coding are equal, whatever they are. */
	FUZZ_CHECK(other.verdict == COMPARE_MATCH && other.kept == 0);
	compare_messages(plan, used, b, b, &other);
	FUZZ_CHECK(other.verdict == COMPARE_MATCH);
	compare_messages(plan, used, a, b, &other);
	FUZZ_CHECK(one.verdict == other.verdict && one.different == other.different &&
		   one.ignored == other.ignored && one.kept == other.kept);
	compare_result_fini(&one);
	compare_result_fini(&other);
	compare_scratch_destroy(fresh);
}

static void check_redaction(const struct compare_plan *plan, struct compare_scratch *scratch,
			    const struct compare_message *message, uint64_t *random)
{
	struct buf decoded = {0}, shown = {0};
	size_t max_bytes = 32 + (size_t)(fuzz_random(random) % 512);
	struct slice body = compare_decode_body(plan, scratch, message, &decoded);
	redact_body(plan, scratch, body, max_bytes, &shown);
	FUZZ_CHECK(shown.len <= max_bytes && is_utf8(buf_slice(&shown)));
	buf_fini(&decoded);
	buf_fini(&shown);
}

FUZZ_TARGET(compare)
{
	uint64_t random = fuzz_seed(data, size);
	char *bytes = fuzz_copy(data, size), *bodies[2];
	struct slice rest = slice_of(bytes, size), parts[2], lists[3];
	struct lines lines[3];
	static const struct header_field json_type = {{"Content-Type", 12}, {"application/json", 16}};
	for (unsigned i = 0; i < 2; i++)
		parts[i] = fuzz_part(&rest);
	for (unsigned i = 0; i < 3; i++) {
		lists[i] = fuzz_part(&rest);
		lines_split(&lines[i], lists[i]);
	}
	struct slice tolerance = fuzz_part(&rest);
	char number[16] = "";
	memcpy(number, tolerance.ptr, tolerance.len < 15 ? tolerance.len : 15);
	char *header[] = {(char[]){"content-type"}};
	struct compare_options options = {
		.ignore = {lines[0].items, lines[0].count},
		.unordered = {lines[1].items, lines[1].count},
		.redact = {lines[2].items, lines[2].count},
		.headers = {header, 1},
		.float_tolerance = strtod(number, NULL),
		.decoded_bytes_max = 1 << 16,
		.key = "0123456789abcde",
	};
	struct buf why = {0};
	struct compare_plan *plan = compare_plan_create(&options, &why);
	FUZZ_CHECK(plan ? why.len == 0 : why.len > 0);
	for (unsigned i = 0; plan && i < 2; i++)
		bodies[i] = fuzz_copy(parts[i].ptr, parts[i].len);
	if (plan) {
		struct slice coding[2] = {fuzz_part(&rest), fuzz_part(&rest)};
		struct header_field fields[2][2] = {{json_type, {SLICE("Content-Encoding"), coding[0]}},
						    {json_type, {SLICE("Content-Encoding"), coding[1]}}};
		/* Sometimes nobody says that it is JSON. */
		unsigned first = fuzz_random(&random) % 4 == 0;
		struct compare_message a = {200, fields[0] + first, 1, slice_of(bodies[0], parts[0].len),
					    false};
		struct compare_message b = {200, fields[1] + first, 1, slice_of(bodies[1], parts[1].len),
					    false};
		a.field_count += !first && coding[0].len;
		b.field_count += !first && coding[1].len;
		struct compare_scratch *scratch = compare_scratch_create();
		check_pair(plan, scratch, &a, &b);
		check_redaction(plan, scratch, &a, &random);
		check_redaction(plan, scratch, &b, &random);
		compare_scratch_destroy(scratch);
		free(bodies[0]);
		free(bodies[1]);
	}
	compare_plan_destroy(plan);
	buf_fini(&why);
	for (unsigned i = 0; i < 3; i++)
		lines_fini(&lines[i]);
	free(bytes);
}

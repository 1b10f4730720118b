/* SPDX-License-Identifier: Apache-2.0 */
/* schedule: see schedule.h. */
#include "schedule.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* What is less than this of a request is an error of the arithmetic, not a request. */
#define SLACK 1e-6

static double area(const struct stage *stage)
{
	return (stage->from + stage->to) / 2 * stage->duration_s;
}

bool schedule_add(struct schedule *s, double from, double to, double duration_s)
{
	if (s->count == SCHEDULE_STAGES_MAX || !(from >= 0) || !(to >= 0) || from > SCHEDULE_RATE_MAX ||
	    to > SCHEDULE_RATE_MAX || !(duration_s >= 0.001) || duration_s > SCHEDULE_TIME_MAX_S)
		return false;
	struct stage *stage = &s->stages[s->count];
	*stage = (struct stage){.from = from, .to = to, .duration_s = duration_s};
	if (s->count) {
		stage->before = stage[-1].before + area(&stage[-1]);
		stage->before_s = stage[-1].before_s + stage[-1].duration_s;
	}
	s->count++;
	return true;
}

bool duration_parse(struct slice text, double *seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {{"", 1}, {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}};
	char copy[32], *end;
	if (text.len == 0 || text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (copy[0] < '0' || copy[0] > '9')
		return false;
	double number = strtod(copy, &end);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		double total = number * units[i].seconds;
		if (strcmp(end, units[i].unit) == 0 && total >= 0.001 && total <= SCHEDULE_TIME_MAX_S) {
			*seconds = total;
			return true;
		}
	}
	return false;
}

static bool rate_parse(struct slice text, double *rate)
{
	char copy[32], *end;
	if (text.len == 0 || text.len >= sizeof(copy) || text.ptr[0] < '0' || text.ptr[0] > '9')
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*rate = strtod(copy, &end);
	return !*end && *rate >= 0 && *rate <= SCHEDULE_RATE_MAX;
}

int schedule_parse(struct schedule *s, const char *text, struct buf *why)
{
	struct slice rest = slice_str(text), item;
	while (slice_split(&rest, ',', &item)) {
		struct slice parts = item, rates = {0}, time = {0}, first = {0}, second = {0};
		double from, to, seconds;
		slice_split(&parts, ':', &rates);
		bool good = slice_split(&parts, ':', &time) && duration_parse(time, &seconds);
		good = good && slice_split(&rates, '-', &first) && rate_parse(first, &from);
		to = from = good ? from : 0;
		if (good && slice_split(&rates, '-', &second))
			good = rate_parse(second, &to) && !rates.ptr;
		if (!good || parts.ptr || !schedule_add(s, from, to, seconds)) {
			buf_printf(
				why,
				"stage \"%.*s\" is not understood: write RATE:TIME or FROM-TO:TIME (50:30s, "
				"10-200:1m), rates up to %.0f, at most %d stages",
				SLICE_ARG(item), SCHEDULE_RATE_MAX, SCHEDULE_STAGES_MAX);
			return -EINVAL;
		}
	}
	if (schedule_total(s) == 0) {
		buf_append_str(why, "the stages are so short or slow that no request is ever due");
		return -EINVAL;
	}
	return 0;
}

uint64_t schedule_total(const struct schedule *s)
{
	if (!s->count)
		return 0;
	const struct stage *last = &s->stages[s->count - 1];
	return (uint64_t)ceil(last->before + area(last) - SLACK);
}

double schedule_duration_s(const struct schedule *s)
{
	return s->count ? s->stages[s->count - 1].before_s + s->stages[s->count - 1].duration_s : 0;
}

/* In a stage that goes from a to b in d seconds, t seconds in, a·t + (b-a)·t²/(2d) requests were due. */
uint64_t schedule_due_ns(const struct schedule *s, uint64_t k)
{
	size_t low = 0, high = s->count - 1;
	while (low < high) { /* the first stage whose end reaches k */
		size_t middle = (low + high) / 2;
		if (s->stages[middle + 1].before > (double)k)
			high = middle;
		else
			low = middle + 1;
	}
	const struct stage *stage = &s->stages[low];
	double n = (double)k - stage->before, slope = (stage->to - stage->from) / stage->duration_s;
	double root = stage->from * stage->from + 2 * slope * n;
	double sum = stage->from + sqrt(root > 0 ? root : 0); /* this form loses no digits for small slopes */
	double t = n <= 0 ? 0 : sum > 0 ? 2 * n / sum : stage->duration_s;
	if (t > stage->duration_s)
		t = stage->duration_s;
	return (uint64_t)((stage->before_s + t) * (double)NS_PER_SEC);
}

uint64_t schedule_due_count(const struct schedule *s, uint64_t ns)
{
	/* Asked of due_ns() itself, so that the two can never disagree by a rounding. */
	uint64_t low = 0, high = schedule_total(s);
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (schedule_due_ns(s, middle) > ns)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

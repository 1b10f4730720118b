/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of phoenix-traffic that only compute: histogram, schedule, thresholds, checks. */
#include "unit.h"

#include "base/clock.h"
#include "traffic/check.h"
#include "traffic/histogram.h"
#include "traffic/schedule.h"
#include "traffic/threshold.h"

#include <phoenix/split.h>

#include <errno.h>
#include <math.h>

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Against the exact percentiles of the same values, over eight decades. */
TEST(histogram_is_exact_to_a_part_in_256)
{
	enum { COUNT = 20000 };
	static uint64_t values[COUNT];
	static const double shares[] = {0.0001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
	struct histogram *h = calloc(1, sizeof(*h));
	double sum = 0;
	CHECK_INT(histogram_percentile_ns(h, 0.5), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t r = phx_mix64(i);
		values[i] = (r >> 8) >> (20 + r % 30);
		sum += (double)values[i];
		histogram_add(h, values[i]);
	}
	qsort(values, COUNT, sizeof(values[0]), by_value);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		double rank = ceil(shares[i] * COUNT);
		uint64_t want = values[(size_t)rank - 1], got = histogram_percentile_ns(h, shares[i]);
		CHECK_MSG(got >= want && got <= want + want / 256 + HISTOGRAM_UNIT_NS,
			  "share %g: %llu, not %llu", shares[i], (unsigned long long)got,
			  (unsigned long long)want);
	}
	CHECK(h->min_ns == values[0] && h->max_ns == values[COUNT - 1] && h->count == COUNT);
	CHECK(fabs(histogram_mean_ns(h) - sum / COUNT) < 1);
	histogram_add(h, UINT64_MAX / 2); /* beyond the last octave: counted, and the greatest is exact */
	CHECK(histogram_percentile_ns(h, 1) == UINT64_MAX / 2);
	free(h);
}

TEST(schedule_of_one_rate)
{
	struct schedule s = {0};
	CHECK(schedule_add(&s, 200, 200, 10));
	CHECK_INT(schedule_total(&s), 2000);
	CHECK_INT(schedule_due_ns(&s, 0), 0);
	CHECK_INT(schedule_due_ns(&s, 1999), 9995 * NS_PER_MS);
	CHECK_INT(schedule_due_count(&s, 0), 1);
	CHECK_INT(schedule_due_count(&s, 5 * NS_PER_MS - 1), 1);
	CHECK_INT(schedule_due_count(&s, 5 * NS_PER_MS), 2);
	CHECK_INT(schedule_due_count(&s, 60 * NS_PER_SEC), 2000);
}

/* Whatever the stages: moments never fall, none is after the end, and counting is the inverse of being due.
 */
TEST(schedules_are_monotone)
{
	for (uint64_t seed = 1; seed < 60; seed++) {
		struct schedule s = {0};
		uint64_t state = phx_mix64(seed), last = 0;
		for (unsigned i = 0; i < 1 + state % 6; i++) {
			uint64_t r = phx_mix64(seed * 100 + i);
			CHECK(schedule_add(&s, (double)(r % 500), (double)(r >> 20) / 1e11,
					   0.05 + (double)(r >> 40 & 0xff) / 100));
		}
		uint64_t total = schedule_total(&s), end = (uint64_t)(schedule_duration_s(&s) * 1e9);
		bool fine = true, inverse = true;
		for (uint64_t k = 0; k < total; k++) {
			uint64_t due = schedule_due_ns(&s, k);
			fine = fine && due >= last && due <= end;
			if (k % 7 == 0) {
				uint64_t count = schedule_due_count(&s, due);
				inverse = inverse && count > k &&
					  (count == total || schedule_due_ns(&s, count) > due);
			}
			last = due;
		}
		CHECK_MSG(fine && inverse && schedule_due_count(&s, UINT64_MAX) == total, "seed %llu",
			  (unsigned long long)seed);
	}
}

/* In a ramp from 0 to r, request k is due at sqrt(2 k d / r). */
TEST(schedule_of_a_ramp)
{
	struct schedule s = {0};
	CHECK(schedule_add(&s, 0, 100, 10) && schedule_add(&s, 100, 50, 2));
	CHECK_INT(schedule_total(&s), 650);
	for (uint64_t k = 0; k < 500; k += 49)
		CHECK(fabs((double)schedule_due_ns(&s, k) / 1e9 - sqrt(2.0 * (double)k * 10 / 100)) < 1e-6);
	CHECK(fabs((double)schedule_due_ns(&s, 500) / 1e9 - 10) < 1e-6);
}

TEST(stages_as_text)
{
	static const struct {
		const char *text;
		long long total; /* < 0: refused */
	} rows[] = {
		{"50:30s", 1500}, {"10-20:1m,5:500ms", 903},
		{"0-10:2s", 10},  {"1:1", 1},
		{"", -1},	  {"50", -1},
		{"50:", -1},	  {":3s", -1},
		{"a:3s", -1},	  {"1-2-3:1s", -1},
		{"1:1s:1s", -1},  {"-1:1s", -1},
		{"1:0s", -1},	  {"1e9:1s", -1},
		{"0:9s", -1},	  {"1:1s,", -1},
		{"nan:1s", -1},	  {"1:1d", -1},
		{"1:200h", -1},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct schedule s = {0};
		struct buf why = {0};
		int err = schedule_parse(&s, rows[i].text, &why);
		CHECK_MSG(err == (rows[i].total < 0 ? -EINVAL : 0) && (why.len > 0) == (err != 0), "%s",
			  rows[i].text);
		if (!err)
			CHECK_INT(schedule_total(&s), rows[i].total);
		buf_fini(&why);
	}
}

TEST(thresholds)
{
	static const struct {
		const char *text;
		double limit; /* NAN: refused */
		double kept, crossed;
	} rows[] = {
		{"p99<200ms", 200, 199.9, 200},
		{"p99.9 <= 1.5s", 1500, 1500, 1501},
		{"p50<500us", 0.5, 0.4, 0.6},
		{"failed<1%", 0.01, 0.009, 0.01},
		{"failed<0.01", 0.01, 0, 1},
		{"unsent<=0", 0, 0, 0.001},
		{"rate>=95/s", 95, 95, 94},
		{"rate>95", 95, 96, 95},
		{"max<2s", 2000, 1, 2001},
		{"p99", NAN, 0, 0},
		{"p99<", NAN, 0, 0},
		{"p99<200", NAN, 0, 0},
		{"p0<1ms", NAN, 0, 0},
		{"p101<1ms", NAN, 0, 0},
		{"px<1ms", NAN, 0, 0},
		{"failed<2", NAN, 0, 0},
		{"failed<1ms", NAN, 0, 0},
		{"fail<1%", NAN, 0, 0},
		{"p99=1ms", NAN, 0, 0},
		{"<1ms", NAN, 0, 0},
		{"p99<1e3ms", NAN, 0, 0},
		{"p99<0x10ms", NAN, 0, 0},
		{"", NAN, 0, 0},
		{"rate>-1", NAN, 0, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct threshold t;
		struct buf why = {0};
		int err = threshold_parse(slice_str(rows[i].text), &t, &why);
		CHECK_MSG(err == (isnan(rows[i].limit) ? -EINVAL : 0), "%s", rows[i].text);
		if (!err) {
			CHECK_MSG(fabs(t.limit - rows[i].limit) < 1e-9, "%s: %g", rows[i].text, t.limit);
			t.value = rows[i].kept;
			CHECK_MSG(threshold_kept(&t), "%s with %g", rows[i].text, t.value);
			t.value = rows[i].crossed;
			CHECK_MSG(!threshold_kept(&t), "%s with %g", rows[i].text, t.value);
			t.value = NAN; /* nothing measured keeps nothing */
			CHECK(!threshold_kept(&t));
		}
		buf_fini(&why);
	}
}

static bool right(const char *expect, const char *head_text, const char *body, struct buf *why)
{
	json_t *json = json_loads(expect, JSON_DECODE_ANY, NULL);
	struct checks checks = {0};
	struct json_tokens tokens = {0};
	struct http_head head;
	CHECK_MSG(json && check_read(&checks, json, why) == 0, "%s: %s", expect, buf_cstr(why));
	http_head_init(&head, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
	CHECK(http_head_parse(&head, head_text, strlen(head_text)) == HTTP_PARSE_DONE);
	bool good = check_answer(&checks, &head, head_text, slice_str(body), false, &tokens, why);
	json_tokens_fini(&tokens);
	check_fini(&checks);
	json_decref(json);
	return good;
}

TEST(answers_are_checked)
{
	static const char head[] =
		"HTTP/1.1 201 Created\r\nContent-Type: application/json; charset=utf-8\r\nX-A: b\r\n\r\n";
	static const char body[] =
		"{\"id\":7.0,\"big\":12345678901234567890,\"s\":\"\\u00e9\",\"a/b\":{\"~\":[true,null]}}";
	static const struct {
		const char *expect;
		bool good;
	} rows[] = {
		{"201", true},
		{"[200, 201]", true},
		{"\"2xx\"", true},
		{"{\"headers\": {\"x-a\": \"b\"}}", true},
		{"{\"headers\": {\"content-type\": \"application/json*\"}}", true},
		{"{\"json\": {\"/id\": 7}}", true},
		{"{\"status\": 201, \"json\": {\"/s\": \"é\", \"/a~1b/~0/0\": true, \"/a~1b/~0/1\": null}}",
		 true},
		{"200", false},
		{"[200, \"3xx\"]", false},
		{"{\"status\": 200}", false},
		{"{\"headers\": {\"x-a\": \"c\"}}", false},
		{"{\"headers\": {\"x-b\": \"*\"}}", false},
		{"{\"headers\": {\"content-type\": \"application/json\"}}", false},
		{"{\"json\": {\"/id\": 8}}", false},
		{"{\"json\": {\"/id\": \"7\"}}", false},
		{"{\"json\": {\"/s\": \"e\"}}", false},
		{"{\"json\": {\"/a~1b\": true}}", false},
		{"{\"json\": {\"/a~1b/~0/2\": null}}", false},
		{"{\"json\": {\"/none\": null}}", false},
		{"{\"json\": {\"\": 1}}", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf why = {0};
		CHECK_MSG(right(rows[i].expect, head, body, &why) == rows[i].good, "%s: %s", rows[i].expect,
			  buf_cstr(&why));
		CHECK_MSG((why.len > 0) != rows[i].good, "%s", rows[i].expect);
		buf_fini(&why);
	}
	struct buf why = {0};
	CHECK(!right("{\"json\": {\"/id\": 7}}", head, "no \033[31mJSON", &why));
	CHECK(strstr(buf_cstr(&why), "no JSON") && !strchr(buf_cstr(&why), '\033'));
	buf_fini(&why);
}

UNIT_MAIN

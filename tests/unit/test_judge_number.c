/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as text: equality by value, tolerance, order, normal form; against exact arithmetic on a grid. */
#include "judge/number.h"

#include "test_judge_support.h"
#include "unit.h"

#include <stdio.h>

static bool equal(const char *a, const char *b)
{
	return number_equal(slice_str(a), slice_str(b));
}

TEST(equality)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
		{"1", "1", true},
		{"1", "2", false},
		{"1", "1.0", true},
		{"1", "1e0", true},
		{"1", "10e-1", true},
		{"1", "0.1e1", true},
		{"1", "0.001e3", true},
		{"1", "-1", false},
		{"100", "1e2", true},
		{"100", "1E+2", true},
		{"100", "1e+02", true},
		{"100", "1e3", false},
		{"100", "10", false},
		{"0", "-0", true},
		{"0", "0.000", true},
		{"0", "-0.0e7", true},
		{"0", "0e999999999999999999999", true},
		{"0", "1e-999999999999999999999", false},
		{"12345678901234567890", "12345678901234567890", true},
		{"12345678901234567890", "12345678901234567891", false},
		{"12345678901234567890", "1.234567890123456789e19", true},
		{"9007199254740992", "9007199254740993", false},
		{"1e400", "1e400", true},
		{"1e400", "1e401", false},
		{"1e400", "10e399", true},
		{"1e400", "-1e400", false},
		{"1e-400", "0", false},
		{"0.1", "0.10000000000000000555", false},
		{"0.1", "1e-1", true},
		{"123.456", "123456e-3", true},
		{"123.456", "1234.56e-1", true},
		{"123.456", "123.4560", true},
		{"123.456", "123.4561", false},
		{"0.00012", "12e-5", true},
		{"0.00012", "1.2e-4", true},
		{"10.01", "1.001e1", true},
		{"10.01", "1.01e1", false},
		{"1000000", "1e6", true},
		{"1000001", "1e6", false},
		{"1e99999999999999999999", "1e99999999999999999999", true},
		{"1e99999999999999999999", "1e99999999999999999998", false},
		{"1e99999999999999999999", "10e99999999999999999998", true},
		{"1e99999999999999999999", "0.1e100000000000000000000", true},
		{"1e-99999999999999999999", "10e-100000000000000000000", true},
		{"1e-99999999999999999999", "1e99999999999999999999", false},
		{"1e00000000000000000000000000000000000002", "100", true},
		{"1e9223372036854775807", "1e9223372036854775808", false},
		{"10e9223372036854775807", "1e9223372036854775808", true},
		{"1e-9223372036854775808", "0.1e-9223372036854775807", true},
		{"1e5", "1e-5", false},
		{"5e1", "50e0", true},
		{"-5e1", "-500e-1", true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_MSG(equal(cases[i].a, cases[i].b) == cases[i].equal, "%s and %s", cases[i].a,
			  cases[i].b);
		CHECK_MSG(equal(cases[i].b, cases[i].a) == cases[i].equal, "%s and %s", cases[i].b,
			  cases[i].a);
		/* The normal form tells the same. */
		char na[128], nb[128];
		size_t la = number_normal(slice_str(cases[i].a), na),
		       lb = number_normal(slice_str(cases[i].b), nb);
		CHECK_MSG(slice_equal(slice_of(na, la), slice_of(nb, lb)) == cases[i].equal,
			  "%s: %.*s, %s: %.*s", cases[i].a, (int)la, na, cases[i].b, (int)lb, nb);
	}
}

TEST(long_numbers)
{
	struct guard g = guard_make(400000), h = guard_make(400000);
	char *text = malloc(400000);
	/* 1 followed by n zeros, against 1eN; then with the last digit changed. */
	text[0] = '1';
	memset(text + 1, '0', 300000);
	struct slice a = guard_copy(&g, slice_of(text, 300001));
	CHECK(number_equal(a, guard_copy(&h, SLICE("1e300000"))));
	CHECK(!number_equal(a, guard_copy(&h, SLICE("1e300001"))));
	text[300000] = '1';
	a = guard_copy(&g, slice_of(text, 300001));
	CHECK(!number_equal(a, guard_copy(&h, SLICE("1e300000"))));
	CHECK(number_equal(a, guard_copy(&h, slice_of(text, 300001))));
	/* 0.000…1 against 1e-N. */
	memset(text, '0', 300000);
	text[1] = '.';
	text[300000] = '1';
	a = guard_copy(&g, slice_of(text, 300001));
	CHECK(number_equal(a, guard_copy(&h, SLICE("1e-299999"))));
	CHECK(!number_equal(a, guard_copy(&h, SLICE("1e-299998"))));
	/* An exponent of 300,000 digits. */
	memcpy(text, "1e", 2);
	memset(text + 2, '9', 300000);
	a = guard_copy(&g, slice_of(text, 300002));
	text[300001] = '8';
	CHECK(!number_equal(a, slice_of(text, 300002)));
	memcpy(text, "10e", 3);
	memset(text + 3, '9', 300000);
	text[300002] = '8';
	CHECK(number_equal(a, slice_of(text, 300003)));
	free(text);
	guard_free(&g);
	guard_free(&h);
}

static bool within(const char *a, const char *b, double tolerance)
{
	struct number_tolerance t;
	number_tolerance_set(&t, tolerance);
	return number_within(slice_str(a), slice_str(b), &t);
}

TEST(tolerance)
{
	static const struct {
		const char *a, *b;
		double tolerance;
		bool within;
	} cases[] = {
		{"1", "1", 0, true},
		{"1", "1.0", 0, true},
		{"1", "1.0000001", 0, false},
		{"1.00", "1.01", 0.01, true},
		{"1.00", "0.99", 0.01, true},
		{"1.00", "1.0100000000000000000000001", 0.01, false},
		{"1.00", "1.0099999999999999999999999", 0.01, true},
		{"0.1", "0.3", 0.2, true},
		{"0.1", "0.30000000000000004", 0.2, false},
		{"-0.05", "0.05", 0.1, true},
		{"-0.05", "0.051", 0.1, false},
		{"-1", "1", 1, false},
		{"-1", "1", 2, true},
		{"0", "1e-9", 1e-9, true},
		{"0", "1.1e-9", 1e-9, false},
		{"0", "-1e-9", 1e-9, true},
		{"0", "1e-99999999999999999999", 1e-9, true},
		{"1e-99999999999999999999", "1e-99999999999999999998", 1e-300, true},
		{"12345678901234567890", "12345678901234567891", 0.5, false},
		{"12345678901234567890", "12345678901234567891", 1, true},
		{"1e400", "1e400", 0.5, true},
		{"1e400", "10e399", 0.5, true},
		{"1e400", "1.0000001e400", 1e300, false},
		{"1e400", "0", 1e308, false},
		{"1e99999999999999999999", "1e99999999999999999998", 1e308, false},
		{"1e99999999999999999999", "1e-99999999999999999999", 1e308, false},
		{"1e99999999999999999999", "10e99999999999999999998", 0.1, true},
		{"100", "101", 1, true},
		{"99.999", "101", 1, false},
		{"999", "1000", 1, true},
		{"1000", "999.5", 0.5, true},
		{"1000", "999.49", 0.5, false},
		{"10", "9.99", 0.01, true},
		{"10", "9.98", 0.01, false},
		{"5", "5.000000000000000000000000000000001", 1e-30, true},
		{"5", "5.000000000000000000000000000000001", 1e-34, false},
		{"1", "3", -1, false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_MSG(within(cases[i].a, cases[i].b, cases[i].tolerance) == cases[i].within,
			  "%s and %s by %g", cases[i].a, cases[i].b, cases[i].tolerance);
		CHECK_MSG(within(cases[i].b, cases[i].a, cases[i].tolerance) == cases[i].within,
			  "%s and %s by %g", cases[i].b, cases[i].a, cases[i].tolerance);
	}
	struct number_tolerance t;
	number_tolerance_set(&t, 0.01);
	t.text[t.len] = 0;
	CHECK_STR(t.text, "0.01");
	number_tolerance_set(&t, 0);
	CHECK(number_tolerance_is_zero(&t));
	number_tolerance_set(&t, __builtin_nan(""));
	CHECK(number_tolerance_is_zero(&t));
	number_tolerance_set(&t, __builtin_inf());
	CHECK(number_tolerance_is_zero(&t));
}

/* Writes v / 1000 in one of several notations. */
static void write_thousandths(char *out, long v, unsigned notation)
{
	const char *sign = v < 0 ? "-" : "";
	long u = labs(v);
	switch (notation % 5) {
	case 0:
		sprintf(out, "%s%ld.%03ld", sign, u / 1000, u % 1000);
		break;
	case 1:
		sprintf(out, "%s%lde-3", sign, u);
		break;
	case 2:
		sprintf(out, "%s0.%05lde2", sign, u);
		break;
	case 3:
		sprintf(out, "%s%ld.%ld00E-2", sign, u / 10, u % 10);
		break;
	default:
		sprintf(out, "%s%ld0000e-00007", sign, u);
	}
}

TEST(against_integers)
{
	static const double tolerances[] = {0.001, 0.01, 0.5, 1, 7.25, 99.999};
	uint64_t seed = 42;
	unsigned long wrong = 0;
	for (unsigned i = 0; i < 200000; i++) {
		/* Many near misses: b is near a most of the time. */
		long a = (long)random_below(&seed, 199999) - 99999;
		long b = i % 3 ? a + (long)random_below(&seed, 21) - 10
			       : (long)random_below(&seed, 199999) - 99999;
		if (b > 99999 || b < -99999)
			b = a;
		char ta[32], tb[32], na[64], nb[64];
		write_thousandths(ta, a, random_below(&seed, 5));
		write_thousandths(tb, b, random_below(&seed, 5));
		struct slice sa = slice_str(ta), sb = slice_str(tb);
		double tolerance = tolerances[random_below(&seed, 6)];
		long limit = (long)(tolerance * 1000 + 0.5);
		size_t la = number_normal(sa, na), lb = number_normal(sb, nb);
		wrong += number_equal(sa, sb) != (a == b);
		wrong += slice_equal(slice_of(na, la), slice_of(nb, lb)) != (a == b);
		wrong += number_order(sa, sb) != (a > b) - (a < b);
		wrong += within(ta, tb, tolerance) != (labs(a - b) <= limit);
	}
	CHECK_INT(wrong, 0);
}

TEST(order)
{
	static const char *const sorted[] = {
		"-1e99999999999999999999",
		"-1e400",
		"-1000.001",
		"-1000",
		"-999",
		"-1",
		"-0.1",
		"-1e-400",
		"-1e-99999999999999999999",
		"0",
		"1e-99999999999999999999",
		"1e-400",
		"0.001",
		"0.01",
		"0.1",
		"0.11",
		"1",
		"1.0000000000000000000001",
		"9",
		"10",
		"99",
		"100",
		"12345678901234567890",
		"12345678901234567891",
		"1e400",
		"1e401",
		"1e99999999999999999998",
		"1e99999999999999999999",
	};
	size_t count = sizeof(sorted) / sizeof(sorted[0]);
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < count; j++)
			CHECK_MSG(number_order(slice_str(sorted[i]), slice_str(sorted[j])) ==
					  (i > j) - (i < j),
				  "%s and %s", sorted[i], sorted[j]);
	}
}

UNIT_MAIN

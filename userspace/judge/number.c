/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number: see number.h.
 *
 * A number is taken as sign, significant digits (a run of text that may contain the decimal point) and the
 * power of ten of its first digit. The exponent's text can be as long as the body, so exponents are never
 * made into integers: what is needed is only ever the *difference* of two of them, and that is summed up
 * digit by digit from the left and given up ("far") once it is too large to come back.
 *
 * The same trick decides |a - b| <= t: the sign of a - b - t is found by adding up the three digits of each
 * decimal place from the left, r = 10 r + (da - db - dt). The places to come can change r by less than 3
 * units, so as soon as |r| > 3 its sign stands.
 */
#include "judge/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Larger than any difference that texts of 4 GiB can make up for. */
#define FAR INT64_C(1000000000000000)

struct decimal {
	bool negative;
	const char *digits; /* first significant digit; NULL for zero */
	const char *end;    /* behind the last digit that is not zero */
	int64_t place;	    /* power of ten of the first digit, without the exponent */
	bool exponent_negative;
	struct slice exponent; /* its digits, without leading zeros */
};

static struct decimal decimal_parse(struct slice text)
{
	struct decimal d = {0};
	const char *p = text.ptr, *end = p + text.len;
	if (p < end && *p == '-') {
		d.negative = true;
		p++;
	}
	const char *point = NULL;
	for (; p < end && *p != 'e' && *p != 'E'; p++) {
		if (*p == '.')
			point = p;
		else if (*p != '0') {
			if (!d.digits)
				d.digits = p;
			d.end = p + 1;
		}
	}
	if (!d.digits) {
		d.negative = false;
		return d;
	}
	if (!point)
		point = p;
	/* Places count from the point: the digit before it is 0, the one behind it -1. */
	d.place = d.digits < point ? point - d.digits - 1 : point - d.digits;
	if (p < end)
		p++;
	if (p < end && (*p == '+' || *p == '-'))
		d.exponent_negative = *p++ == '-';
	while (p < end && *p == '0')
		p++;
	d.exponent = slice_of(p, (size_t)(end - p));
	return d;
}

/* The exponents' difference a - b, or FAR / -FAR when it is at least that large. */
static int64_t exponent_difference(const struct decimal *a, const struct decimal *b)
{
	size_t la = a->exponent.len, lb = b->exponent.len, len = la > lb ? la : lb;
	int sa = a->exponent_negative ? -1 : 1, sb = b->exponent_negative ? -1 : 1;
	int64_t r = 0;
	for (size_t i = len; i > 0; i--) {
		int da = i <= la ? a->exponent.ptr[la - i] - '0' : 0;
		int db = i <= lb ? b->exponent.ptr[lb - i] - '0' : 0;
		r = r * 10 + sa * da - sb * db;
		if (r >= FAR || r <= -FAR)
			return r > 0 ? FAR : -FAR;
	}
	return r;
}

/* How many places the first digit of a stands above that of b; at most FAR in size. */
static int64_t place_difference(const struct decimal *a, const struct decimal *b)
{
	int64_t r = exponent_difference(a, b);
	if (r == FAR || r == -FAR)
		return r;
	r += a->place - b->place;
	return r > FAR ? FAR : r < -FAR ? -FAR : r;
}

static inline const char *next_digit(const char *p, const char *end)
{
	p++;
	return p < end && *p == '.' ? p + 1 : p;
}

static bool digits_equal(const struct decimal *a, const struct decimal *b)
{
	const char *p = a->digits, *q = b->digits;
	while (p < a->end && q < b->end) {
		if (*p != *q)
			return false;
		p = next_digit(p, a->end);
		q = next_digit(q, b->end);
	}
	return p >= a->end && q >= b->end;
}

static bool decimal_equal(const struct decimal *a, const struct decimal *b)
{
	if (!a->digits || !b->digits)
		return !a->digits && !b->digits;
	return a->negative == b->negative && place_difference(a, b) == 0 && digits_equal(a, b);
}

bool number_equal(struct slice a, struct slice b)
{
	if (slice_equal(a, b))
		return true;
	struct decimal da = decimal_parse(a), db = decimal_parse(b);
	return decimal_equal(&da, &db);
}

/* One summand of a sum of decimals: its digits from the left, each with the place it stands at. */
struct term {
	const char *p, *end;
	int64_t place; /* relative to a common anchor */
	int sign;
};

/* The sign of the sum of three terms. */
static int sum_sign(struct term terms[3])
{
	int64_t place = INT64_MIN;
	int r = 0;
	for (;;) {
		int64_t next = INT64_MIN;
		for (unsigned i = 0; i < 3; i++) {
			if (terms[i].p < terms[i].end && terms[i].place > next)
				next = terms[i].place;
		}
		/* Nothing left, or a gap after which nothing can turn the sign: r is an integer number of
		 * units, and less than three units of the place before the gap are to come. */
		if (next == INT64_MIN)
			break;
		if (r) {
			if (place - next > 1)
				break;
			r *= 10;
		}
		for (unsigned i = 0; i < 3; i++) {
			struct term *t = &terms[i];
			if (t->p < t->end && t->place == next) {
				r += t->sign * (*t->p - '0');
				t->p = next_digit(t->p, t->end);
				t->place--;
			}
		}
		if (r > 3 || r < -3)
			break;
		place = next;
	}
	return (r > 0) - (r < 0);
}

static struct term term_make(const struct decimal *d, const struct decimal *anchor, int sign)
{
	if (!d->digits)
		return (struct term){.sign = sign};
	return (struct term){d->digits, d->end, place_difference(d, anchor), d->negative ? -sign : sign};
}

bool number_within(struct slice a, struct slice b, const struct number_tolerance *tolerance)
{
	if (slice_equal(a, b))
		return true;
	struct decimal da = decimal_parse(a), db = decimal_parse(b);
	if (decimal_equal(&da, &db))
		return true;
	struct decimal dt = decimal_parse(slice_of(tolerance->text, tolerance->len));
	if (!dt.digits)
		return false;
	/* Anchored at the tolerance, whose exponent is small. A number that is far above it cannot be near
	 * a different one; numbers far below it only ever break ties, and there is no tie between them. */
	struct term ta = term_make(&da, &dt, 1), tb = term_make(&db, &dt, -1), tt = term_make(&dt, &dt, -1);
	if ((da.digits && ta.place == FAR) || (db.digits && tb.place == FAR))
		return false;
	struct term above[3] = {ta, tb, tt};
	if (sum_sign(above) > 0)
		return false;
	ta.sign = -ta.sign;
	tb.sign = -tb.sign;
	struct term below[3] = {ta, tb, tt};
	return sum_sign(below) <= 0;
}

int number_order(struct slice a, struct slice b)
{
	struct decimal da = decimal_parse(a), db = decimal_parse(b);
	if (decimal_equal(&da, &db))
		return 0;
	if (!da.digits || !db.digits || da.negative != db.negative) {
		int sa = da.digits ? (da.negative ? -1 : 1) : 0, sb = db.digits ? (db.negative ? -1 : 1) : 0;
		return sa < sb ? -1 : 1;
	}
	int64_t place = place_difference(&da, &db);
	int sign = da.negative ? -1 : 1;
	if (place)
		return place > 0 ? sign : -sign;
	struct term terms[3] = {term_make(&da, &da, 1), term_make(&db, &da, -1), {.sign = 1}};
	return sum_sign(terms);
}

/* Appends `value` + the signed decimal text (its digits in `exponent`) to `out`; both may be large. */
static size_t exponent_write(const struct decimal *d, int64_t value, char *out)
{
	size_t len = d->exponent.len;
	int sign = d->exponent_negative ? -1 : 1;
	if (len <= 17) {
		int64_t e = 0;
		for (size_t i = 0; i < len; i++)
			e = e * 10 + (d->exponent.ptr[i] - '0');
		return (size_t)sprintf(out, "%lld", (long long)(sign * e + value));
	}
	/* |exponent| >= 10^17 dwarfs `value`: add it into the digits, from the right, with a carry that
	 * cannot run out on the left by more than one digit. */
	int64_t carry = sign * value;
	char *digits = out + 2; /* room for a sign and one more digit */
	for (size_t i = len; i > 0; i--) {
		int64_t sum = carry + (d->exponent.ptr[i - 1] - '0');
		int64_t digit = (sum % 10 + 10) % 10;
		digits[i - 1] = (char)('0' + digit);
		carry = (sum - digit) / 10;
	}
	size_t at = 0, from = 0;
	while (from + 1 < len && digits[from] == '0' && carry == 0)
		from++;
	if (sign < 0)
		out[at++] = '-';
	if (carry)
		out[at++] = (char)('0' + carry);
	memmove(out + at, digits + from, len - from);
	return at + len - from;
}

size_t number_normal(struct slice a, char *out)
{
	struct decimal d = decimal_parse(a);
	if (!d.digits) {
		out[0] = '0';
		return 1;
	}
	size_t at = 0;
	if (d.negative)
		out[at++] = '-';
	int64_t count = 0;
	for (const char *p = d.digits; p < d.end; p = next_digit(p, d.end), count++)
		out[at++] = *p;
	out[at++] = 'e';
	return at + exponent_write(&d, d.place - count + 1, out + at);
}

void number_tolerance_set(struct number_tolerance *tolerance, double value)
{
	if (!(value > 0) || !isfinite(value))
		value = 0;
	for (int precision = 1; precision <= 17; precision++) {
		tolerance->len =
			(uint8_t)snprintf(tolerance->text, sizeof(tolerance->text), "%.*g", precision, value);
		if (strtod(tolerance->text, NULL) == value)
			break;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number: decimal numbers as text, compared by value without losing a digit.
 *
 * All functions take the text of a JSON number (RFC 8259 6) as json_tokenize let it pass. Time is linear in
 * the length of the texts however large the exponents are; nothing is allocated.
 */
#ifndef PHOENIX_JUDGE_NUMBER_H
#define PHOENIX_JUDGE_NUMBER_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is it the same number? 1.0 == 1 == 1e0 == 10e-1, -0 == 0, 1e400 != 1e401. */
bool number_equal(struct slice a, struct slice b);

#define NUMBER_TOLERANCE_SIZE 32

/*
 * An absolute tolerance as the decimal number the user wrote: 0.01 means one hundredth and not the binary
 * number nearest to it. Made once by number_tolerance_set.
 */
struct number_tolerance {
	char text[NUMBER_TOLERANCE_SIZE]; /* a JSON number; "0" for none */
	uint8_t len;
};

/* From a finite double >= 0 (anything else counts as 0): the shortest decimal that reads back as it. */
void number_tolerance_set(struct number_tolerance *tolerance, double value);
static inline bool number_tolerance_is_zero(const struct number_tolerance *tolerance)
{
	return tolerance->len == 1 && tolerance->text[0] == '0';
}

/* |a - b| <= tolerance, exactly. */
bool number_within(struct slice a, struct slice b, const struct number_tolerance *tolerance);
/* The sign of a - b: -1, 0 or 1. */
int number_order(struct slice a, struct slice b);

/*
 * The normal form, equal for equal numbers and different for different ones: appends to `out` (room for
 * a.len + 24 bytes needed) and returns its length: sign, significant digits without zeros at either end,
 * 'e', the exponent of the last digit. For hashing.
 */
size_t number_normal(struct slice a, char *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * example: one differing exchange as people will look at it: cut to size, and redacted *before* it is stored.
 * The object is immutable once made.
 */
#ifndef PHOENIX_CONTROL_EXAMPLE_H
#define PHOENIX_CONTROL_EXAMPLE_H

#include "http/exchange.h"
#include "judge/compare.h"

#include <jansson.h>

#define EXAMPLE_BODY_BYTES_MAX	  2048
#define EXAMPLE_REQUEST_BYTES_MAX 1024
#define EXAMPLE_CASE_BYTES_MAX	  16384 /* of each body of a test case */
#define EXAMPLE_FIELDS_MAX	  40

enum example_purpose {
	EXAMPLE_SHOWN, /* for people: bodies cut short */
	EXAMPLE_CASE,  /* for a test that asks it again: whole bodies, the responses' fields too */
};

/*
 * *bytes: about how much memory it takes. NULL when out of memory. Runs on the comparer's thread.
 * The member "complete" is true when nothing was cut, redacted or escaped: only then it can be asked again
 * exactly.
 */
json_t *example_make(const struct compare_plan *plan, struct compare_scratch *scratch,
		     struct exchange *exchange, const struct compare_difference *difference,
		     enum example_purpose purpose, size_t *bytes);
/* Only the request and the status it was answered with. "complete" leaves the fields aside. */
json_t *example_make_request(const struct compare_plan *plan, struct compare_scratch *scratch,
			     struct exchange *exchange, size_t *bytes);
/* Bytes of request and responses on the wire, fields left out: which of two cases is the smaller one. */
size_t example_size(const struct exchange *exchange);
/* "answered 200" or why there is no answer, for differences of the whole exchange. Borrowed. */
struct slice example_side_word(struct exchange *exchange, enum phx_side side);

#endif

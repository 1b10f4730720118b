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
#define EXAMPLE_FIELDS_MAX	  40

/* *bytes: about how much memory it takes. NULL when out of memory. Runs on the comparer's thread. */
json_t *example_make(const struct compare_plan *plan, struct compare_scratch *scratch,
		     struct exchange *exchange, const struct compare_difference *difference, size_t *bytes);
/* "answered 200" or why there is no answer, for differences of the whole exchange. Borrowed. */
struct slice example_side_word(struct exchange *exchange, enum phx_side side);

#endif

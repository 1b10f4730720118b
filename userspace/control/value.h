/* SPDX-License-Identifier: Apache-2.0 */
/* value: how figures look in JSON (REST, events, ledger, state): one place for each kind. */
#ifndef PHOENIX_CONTROL_VALUE_H
#define PHOENIX_CONTROL_VALUE_H

#include "base/buf.h"
#include "base/clock.h"

#include <jansson.h>

/* All return new references, NULL when out of memory. */

/* Bytes of any kind as a JSON string: what is not UTF-8 becomes U+FFFD. NULL pointers become null. */
json_t *json_text(struct slice text);
json_t *json_text_or_null(const char *text); /* NULL and "" are null */
/* RFC 3339; 0 is null. */
json_t *json_time(uint64_t wall_ns);
/* Basis points as a fraction. */
json_t *json_ratio(uint32_t bp);
/* Milliseconds with three decimals. */
json_t *json_ms(double ms);
/* The text for the wire: six significant decimals are enough for every figure here. */
#define JSON_WIRE (JSON_COMPACT | JSON_REAL_PRECISION(12))

/* Reading back: 0 / "" / false when missing or of another type. */
uint64_t json_get_u64(const json_t *object, const char *key);
bool json_get_bool(const json_t *object, const char *key);
const char *json_get_str(const json_t *object, const char *key);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redact: secrets out of what is stored and shown, equality kept.
 *
 * A secret value becomes "redacted:" and eight hex digits of a keyed hash: two equal secrets look equal, and
 * who does not have the key learns nothing else. The key is drawn once by whoever creates the plan.
 */
#ifndef PHOENIX_JUDGE_REDACT_H
#define PHOENIX_JUDGE_REDACT_H

#include "base/buf.h"
#include "base/slice.h"
#include "base/siphash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct compare_plan;
struct compare_scratch;

/* Authorization, Proxy-Authorization, Cookie, Set-Cookie, X-Api-Key. */
bool redact_is_secret_header(struct slice name);

/* Appends "redacted:xxxxxxxx". */
void redact_value(struct slice value, const uint8_t key[SIPHASH_KEY_SIZE], struct buf *out);

/* Appends the value as it may be stored: redacted when the name is a secret one, otherwise as it is. */
void redact_header_value(struct slice name, struct slice value, const uint8_t key[SIPHASH_KEY_SIZE],
			 struct buf *out);

/*
 * Appends a message body as it may be stored and shown, at most `max_bytes` bytes of well-formed UTF-8; "…"
 * at the end (counted) tells that it was cut. JSON keeps its text with the places under the plan's `redact`
 * pointers replaced; other text is kept; other bytes are escaped as \xNN. When the plan has `redact`
 * pointers and the body is not JSON nothing of it can be shown: then it is "redacted:xxxxxxxx" as a whole.
 * The body is not decoded: hand over the decoded one (compare_decode_body).
 */
void redact_body(const struct compare_plan *plan, struct compare_scratch *scratch, struct slice body,
		 size_t max_bytes, struct buf *out);

#endif

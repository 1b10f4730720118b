/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shape: what kind of request was this? Ten thousand equal health checks are one piece of evidence, not ten
 * thousand.
 *
 * The shape of an exchange is its method, the names in its query, the structure of its JSON body (names and
 * types, whatever the values, the order and the length of arrays) and the class of the answer's status. The
 * path's template is the route's own, so evidence of one route never needs it. Pure.
 */
#ifndef PHOENIX_JUDGE_SHAPE_H
#define PHOENIX_JUDGE_SHAPE_H

#include "base/buf.h"
#include "base/siphash.h"
#include "judge/json.h"

#define SHAPE_BODY_BYTES_MAX 65536 /* larger bodies are all of one structure */
#define SHAPE_QUERY_MAX	     32	   /* names looked at in a query */
#define SHAPE_NAME_BYTES_MAX 160

struct shape_input {
	struct slice method; /* "GET" */
	struct slice target; /* origin-form; what stands behind "?" counts */
	struct slice body;   /* of the request, as it came: under a content coding it is just bytes */
	int status;	     /* of the answer; 0 = none */
};

/* Never 0. Equal shapes have equal hashes under one key; `scratch` is the caller's memory, reused. */
uint64_t shape_hash(const struct shape_input *input, const uint8_t key[SIPHASH_KEY_SIZE],
		    struct json_tokens *scratch);
/* Appends what people read, at most SHAPE_NAME_BYTES_MAX bytes: "POST ?dry_run {amount, from, to} 2xx". */
void shape_describe(const struct shape_input *input, struct json_tokens *scratch, struct buf *out);

#endif

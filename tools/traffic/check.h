/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check: what an answer must look like: its status, header fields, and places in its JSON body.
 *
 *   "expect": 201 | "2xx" | [200, 404] |
 *             {"status": any of these, "headers": {"content-type": "application/json*"}, "json": {"/id": 7}}
 *
 * Without "expect" (or "status") any status under 400 is right. A header's value ends with "*" for "begins
 * with". "json" holds RFC 6901 pointers and the scalar that must be there; numbers are compared by value,
 * without loss.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_CHECK_H
#define PHOENIX_TOOLS_TRAFFIC_CHECK_H

#include "base/buf.h"
#include "http/parse.h"
#include "judge/json.h"

#include <jansson.h>

#define CHECK_STATUS_MAX     600
#define CHECK_BODY_BYTES_MAX (1u << 20) /* a longer body fails its JSON checks */
#define CHECK_ITEMS_MAX	     64		/* header checks, JSON checks, each */

struct check_header {
	const char *name, *value; /* borrowed from the document */
};
struct check_place {
	const char *pointer; /* borrowed */
	char *want;	     /* JSON text */
};

/* Zero-initialised is valid, expects no status at all and is for check_read(). */
struct checks {
	bool status[CHECK_STATUS_MAX];
	struct check_header *headers;
	size_t header_count;
	struct check_place *places;
	size_t place_count;
};

/* `expect` is borrowed for as long as the checks live; NULL = the default. 0, -ENOMEM, or -EINVAL with `why`.
 */
int check_read(struct checks *checks, json_t *expect, struct buf *why);
void check_fini(struct checks *checks);
/*
 * Is the answer right? If not, `why` gets what was wanted and what came, in one line. `tokens` is scratch;
 * `body` is only looked at for JSON checks: the content, decoded from chunks, whole unless `cut`.
 */
bool check_answer(const struct checks *checks, const struct http_head *head, const char *head_bytes,
		  struct slice body, bool cut, struct json_tokens *tokens, struct buf *why);

#endif

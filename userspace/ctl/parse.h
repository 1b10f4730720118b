/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse: the values that people type on a command line, read strictly.
 *
 * Every function leaves its output untouched on failure and writes into `why` one sentence with the value
 * as typed, the limit, and what would have been right. Nothing here talks to anybody.
 */
#ifndef PHOENIX_CTL_PARSE_H
#define PHOENIX_CTL_PARSE_H

#include "base/buf.h"

#include <stdint.h>

#define PARSE_DURATION_MAX_MS (UINT64_C(366) * 24 * 3600 * 1000)
#define PARSE_SOCKET_MAX      107 /* bytes of a path in struct sockaddr_un */

/*
 * A weight: a fraction ("0.35", "1") or a percentage ("35%", "0.5%"), exact to one basis point, to basis
 * points 0..10000. No floating point on the way: 0.35 is 3500 and never 3499. 0 or -EINVAL.
 */
int parse_weight(const char *text, uint32_t *weight_bp, struct buf *why);

/*
 * A duration: a number with a unit of ms, s, m, h or d, several of them in falling order ("1h30m"); a bare
 * number is seconds. At most PARSE_DURATION_MAX_MS. 0 or -EINVAL.
 */
int parse_duration(const char *text, uint64_t *duration_ms, struct buf *why);

/* A decimal count from min to max; `name` is what the message calls it. 0 or -EINVAL. */
int parse_count(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *count,
		struct buf *why);

/* Where the daemon's REST interface is. */
struct admin_address {
	char base_url[300];			/* "http://host:port", without a slash at the end */
	char socket_path[PARSE_SOCKET_MAX + 1]; /* "" for TCP */
};

/*
 * "unix:/path", "/path", "http://host[:port]", "https://…" or "host:port". Over a Unix socket the base URL
 * is "http://localhost". 0 or -EINVAL.
 */
int parse_admin_address(const char *text, struct admin_address *address, struct buf *why);

/* A bearer token: visible ASCII, 1 to 4096 bytes, white space around it dropped. 0 or -EINVAL. */
int parse_token(struct slice text, struct buf *token, struct buf *why);

/* An RFC 6901 pointer: "" or "/…" with "~" only as "~0" or "~1". 0 or -EINVAL. */
int parse_pointer(const char *text, struct buf *why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* access: one request as a line of the access log (access_log.h), a JSON object without a newline in it. */
#ifndef PHOENIX_GATEWAY_ACCESS_H
#define PHOENIX_GATEWAY_ACCESS_H

#include "gateway/access_log.h"
#include "gateway/worker.h"

#define ACCESS_TARGET_MAX 8192

/* What a line tells. NULL slices and 0 times are left out or null. */
struct access_entry {
	uint64_t wall_ns; /* when the request began */
	struct slice method, target;
	unsigned status; /* 0: the client was given none */
	const char *route;
	enum phx_side side; /* with a route */
	unsigned path;	    /* 0 the daemon's, 1 the NIC path's */
	uint64_t request_bytes, response_bytes;
	uint64_t first_byte_ns, duration_ns;
	const uint8_t *address; /* of the client, wire order */
	unsigned address_len;
	const char *request_id;
	const char *error; /* word of enum gateway_error; NULL = none */
	bool synthetic, shadow;
};

/* Writes the line with its newline into out[ACCESS_LINE_MAX]; returns its length. Pure. */
size_t access_line(const struct access_log_config *config, const struct access_entry *entry, char *out);

struct transaction;
/* The target, kept until the request is over. Only with an access log. */
void access_note(struct transaction *t, struct slice target);
/* The request is over, and this was said to the client (0: nothing). */
void access_transaction(struct transaction *t, unsigned status);
/* One that the NIC path served and sampled. */
void access_captured(struct worker *worker, const char *route, const struct exchange *exchange);

#endif

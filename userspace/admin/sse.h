/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse: event streams (WHATWG HTML 9.2): each event with its id, what was missed since Last-Event-ID first,
 * the whole status once a second for the page, a heartbeat for what lies between.
 *
 * A client that does not read is dropped when its queue is full: it comes back with its last id.
 */
#ifndef PHOENIX_ADMIN_SSE_H
#define PHOENIX_ADMIN_SSE_H

#include "admin/api.h"

#define SSE_QUEUE_MAX	    256
#define SSE_QUEUE_BYTES_MAX (4u << 20)
#define SSE_BEAT_MS	    5000
#define SSE_STATUS_MS	    1000
#define SSE_STATUS_SLOW_MS  5000 /* with more routes than SSE_ROUTES_MANY */
#define SSE_ROUTES_MANY	    500

/* Takes the connection over; it was just answered with `response` (whose head it sends). */
void sse_start(struct connection *connection, const struct response *response);
/* The connection's last send is done. */
void sse_sent(struct connection *connection);
/* The connection closes. NULL-safe for connections without a stream. */
void sse_stop(struct connection *connection);
/* Once a second or so. */
void sse_beat(struct admin *admin);

#endif

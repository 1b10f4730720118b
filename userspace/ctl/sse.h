/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse: server-sent events out of the bytes of a stream (HTML living standard, 9.2.6), cut anywhere.
 *
 * Lines end with LF or CR LF (a lone CR is not taken as an end: the daemon does not send it). "id", "event"
 * and "data" are known, other fields and comments are skipped. An event larger than SSE_EVENT_BYTES_MAX is
 * dropped whole, and the ones after it are read as usual.
 */
#ifndef PHOENIX_CTL_SSE_H
#define PHOENIX_CTL_SSE_H

#include "base/buf.h"

#define SSE_EVENT_BYTES_MAX (32u << 20)
#define SSE_ID_BYTES_MAX    63

struct sse_event {
	const char *type; /* "message" when the stream does not say; borrowed during the call */
	const char *data; /* NUL-terminated; lines joined by LF */
};

struct sse {
	struct buf line, data;
	char type[64];
	char last_id[SSE_ID_BYTES_MAX + 1]; /* of the last event that had one: survives a reconnect */
	bool has_data;
	bool oversized; /* the event or line in progress is over the limit */
};

void sse_init(struct sse *sse);
/* Forgets a half-read event, keeps last_id: call it before each new connection. */
void sse_restart(struct sse *sse);
void sse_fini(struct sse *sse);
/* Calls on_event for each complete event; stops and returns false as soon as that returns false. */
bool sse_feed(struct sse *sse, const char *data, size_t len,
	      bool (*on_event)(void *user, const struct sse_event *event), void *user);

#endif

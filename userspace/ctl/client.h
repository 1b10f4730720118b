/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: the daemon's REST interface from outside, over TCP or its Unix socket.
 *
 * A call gives an exit status of phoenixctl and either the parsed JSON or a message for people: transport
 * errors, refusals and application/problem+json (RFC 9457) all become sentences here and nowhere else.
 * One request at a time; the connection is kept between calls. Proxies of the environment are not used:
 * the admin interface is on this machine or on a network of its own.
 */
#ifndef PHOENIX_CTL_CLIENT_H
#define PHOENIX_CTL_CLIENT_H

#include "base/buf.h"
#include "ctl/exits.h"

#include <jansson.h>
#include <signal.h>

#define CLIENT_ANSWER_BYTES_MAX (64u << 20)

struct client;

struct answer {
	long status;	    /* of HTTP; 0 when there was no answer */
	json_t *json;	    /* of a 2xx and of a problem; NULL when the body was empty or not JSON */
	struct buf message; /* one sentence, then a line for each of the problem's "errors" */
	char etag[128];	    /* "" when there was none */
};

/*
 * `address` as in parse_admin_address(); `token` may be NULL; *interrupted becomes non-zero in a signal
 * handler and ends a call early. Returns CTL_DONE, or CTL_USAGE or CTL_FAILED with the reason in `why`.
 */
int client_open(const char *address, const char *token, const volatile sig_atomic_t *interrupted,
		struct client **out, struct buf *why);
void client_close(struct client *client);

/*
 * Sends `method path` with `body` (borrowed, NULL = none) and `etag` as If-Match (NULL = none) and waits at
 * most timeout_ms. Returns CTL_DONE for a 2xx. `answer` is always filled and released by answer_fini().
 */
int client_call(struct client *client, const char *method, const char *path, const json_t *body,
		const char *etag, unsigned timeout_ms, struct answer *answer);
void answer_fini(struct answer *answer);

/*
 * Opens the event stream after event `last_id` (NULL = from now on) and gives its bytes to `on_bytes` until
 * that returns false (CTL_DONE) or the stream ends or is silent for 20 s (the status that says why, with
 * the message in `why`).
 */
int client_stream(struct client *client, const char *path, const char *last_id,
		  bool (*on_bytes)(void *user, const char *data, size_t len), void *user, struct buf *why);

/* `format` with `segment` percent-encoded in place of its one %s. Owned by the caller; NULL = out of memory.
 */
char *client_path(const char *format, const char *segment);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward: a head that was parsed, written anew for the next hop.
 *
 * Nothing is passed on that was not understood: the first line and the framing fields are written from the
 * parsed form, hop-by-hop fields and those named by Connection are left out (RFC 9110 7.6.1), all others go
 * on byte for byte in their order. Pure: bytes in, bytes out.
 */
#ifndef PHOENIX_GATEWAY_FORWARD_H
#define PHOENIX_GATEWAY_FORWARD_H

#include "http/body.h"
#include "http/parse.h"

/* What Phoenix adds may take so much besides the head itself. */
#define FORWARD_EXTRA_BYTES 4096

struct forward_request {
	const struct http_head *head;
	const char *bytes; /* the head's bytes */
	const struct http_target *target;
	struct slice base_path;
	struct slice client_ip;
	struct slice authority; /* of the upstream: Host for an HTTP/1.0 client that sent none */
	char request_id[33];	/* made anew; used when the client sent none that can be kept */
	bool upgrade;		/* pass Connection: Upgrade on */
};

/*
 * Writes the head for the upstream to out[0..cap). Returns its length, or 0 when it does not fit.
 * Field values of what a client may forge (X-Forwarded-Proto, -Host) are written by Phoenix alone;
 * X-Forwarded-For is the client's list with the client's address behind it. *request_id becomes the value
 * that was sent on (it points into `out` or `bytes`).
 */
size_t forward_request_write(const struct forward_request *request, char *out, size_t cap,
			     struct slice *request_id);

/* Does the request ask for an upgrade that may be passed on? HTTP/2 is not spoken here, so nobody is asked
 * for "h2c" (RFC 9113 3.1); other protocols of the same list remain. */
bool forward_upgrades(const struct http_head *head, const char *bytes);

struct forward_response {
	const struct http_head *head;
	const char *bytes;
	enum http_body_kind kind; /* how the body goes to the client */
	uint64_t length;	  /* for HTTP_BODY_LENGTH */
	bool announce_length;	  /* write Content-Length: length though no body follows (HEAD, 304, empty) */
	bool close;		  /* this connection ends after the response */
	bool keep_alive_1_0;	  /* tell an HTTP/1.0 client that it stays open */
	bool upgrade;		  /* a 101, or a 426 that names what to upgrade to */
};
size_t forward_response_write(const struct forward_response *response, char *out, size_t cap);

/* Writes the fields of a trailer section that may go on, then the empty line. 0 when it does not fit. */
size_t forward_trailer_write(const struct http_trailer *trailer, char *out, size_t cap);

#endif

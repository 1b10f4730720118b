/* SPDX-License-Identifier: Apache-2.0 */
/*
 * body: where a message's content ends, and its chunked coding taken off (RFC 9112 6, 7).
 *
 * The decoder works in place on whatever piece arrived: the content bytes are moved together at the front of
 * the piece, so that one receive becomes one send whatever the sender's chunks were. Chunk extensions are
 * checked and dropped; a trailer section is kept, up to a limit, and checked by the same scanner as heads.
 */
#ifndef PHOENIX_HTTP_BODY_H
#define PHOENIX_HTTP_BODY_H

#include "base/slice.h"
#include "http/parse.h"

#define HTTP_TRAILER_BYTES_MAX	4096
#define HTTP_TRAILER_FIELDS_MAX 64
#define HTTP_CHUNK_EXCESS_MAX	16384 /* framing beyond what the content justifies: a flood of extensions */
#define HTTP_CHUNK_LINE_MAX	1024  /* size, extensions and CR LF of one chunk */

enum http_body_kind {
	HTTP_BODY_NONE,
	HTTP_BODY_LENGTH,
	HTTP_BODY_CHUNKED,
	HTTP_BODY_CLOSE, /* responses: until the connection ends */
};

enum http_body_result {
	HTTP_BODY_MORE,
	HTTP_BODY_END,	   /* the message is over; bytes that were not consumed belong to the next */
	HTTP_BODY_REFUSED, /* the framing is broken: `why` says how */
};

struct http_trailer {
	struct http_head head;
	size_t len;
	char bytes[HTTP_TRAILER_BYTES_MAX];
};

struct http_body {
	enum http_body_kind kind;
	uint64_t remaining;   /* LENGTH: bytes to come; CHUNKED: bytes to come of this chunk */
	uint64_t total_bytes; /* content so far */
	const char *why;      /* after REFUSED */
	bool no_memory;	      /* after REFUSED: not the peer's fault */
	uint32_t line_bytes;
	uint32_t excess_bytes; /* of chunk lines over the content they carried */
	uint8_t state;
	uint8_t digits;
	struct http_trailer *trailer; /* made when a trailer field appears; freed by http_body_fini */
};

/* For LENGTH give the length; a zero length is NONE. */
void http_body_init(struct http_body *body, enum http_body_kind kind, uint64_t length);
void http_body_fini(struct http_body *body);
/*
 * Takes data[0..len): the first *consumed bytes belonged to this message, and its content among them now
 * lies at data[0..*produced). May be called with len 0.
 */
enum http_body_result http_body_read(struct http_body *body, char *data, size_t len, size_t *consumed,
				     size_t *produced);
/* The connection ended: was that the message's end? */
bool http_body_ends_at_eof(const struct http_body *body);
/* Is the message over with what was read? */
bool http_body_complete(const struct http_body *body);

/* How a request's / a response's body is framed (RFC 9112 6.3). `head_request`: the request was HEAD. */
void http_body_of_request(struct http_body *body, const struct http_head *head);
void http_body_of_response(struct http_body *body, const struct http_head *head, bool head_request);

#endif

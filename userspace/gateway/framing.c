/* SPDX-License-Identifier: Apache-2.0 */
/* framing: how a piece of body is wrapped for the wire (RFC 9112 7.1). See transaction.h. */
#include "gateway/forward.h"
#include "gateway/transaction.h"

#define TAIL_PLAIN	"0\r\n\r\n"
#define TAIL_AFTER_DATA "\r\n0\r\n\r\n"

/*
 * Wraps a piece for the wire into pieces[0..4). `end`: the message is over with it. Returns the count; 0 when
 * there is nothing to send. Sets *bad when a trailer found no memory.
 */
unsigned body_frame(struct transaction *t, char chunk[24], struct block **tail_block,
		    enum http_body_kind kind, const struct http_body *body, char *data, size_t len, bool end,
		    struct iovec *pieces, bool *bad)
{
	unsigned n = 0;
	if (kind != HTTP_BODY_CHUNKED) {
		if (len)
			pieces[n++] = (struct iovec){data, len};
		return n;
	}
	if (len) {
		int digits = snprintf(chunk, 24, "%zx\r\n", len);
		pieces[n++] = (struct iovec){chunk, (size_t)digits};
		pieces[n++] = (struct iovec){data, len};
	}
	if (end && body->trailer && body->trailer->head.field_count) {
		struct block *block = *tail_block = worker_block_get(t->worker);
		if (!block) {
			*bad = true;
			return 0;
		}
		char *out = block->bytes;
		size_t at = len ? 5 : 3;
		memcpy(out, len ? "\r\n0\r\n" : "0\r\n", at);
		size_t size = forward_trailer_write(body->trailer, out + at, t->worker->block_bytes - at);
		*bad = size == 0;
		pieces[n++] = (struct iovec){out, at + size};
	} else if (end) {
		const char *tail = len ? TAIL_AFTER_DATA : TAIL_PLAIN;
		pieces[n++] = (struct iovec){(char *)(uintptr_t)tail, strlen(tail)};
	} else if (len) {
		pieces[n++] = (struct iovec){(char *)(uintptr_t) "\r\n", 2};
	}
	return n;
}

/* Appends the pieces to a block; the caller knows that they fit. */
size_t body_pieces_copy(char *out, const struct iovec *pieces, unsigned count)
{
	size_t at = 0;
	for (unsigned i = 0; i < count; i++) {
		memcpy(out + at, pieces[i].iov_base, pieces[i].iov_len);
		at += pieces[i].iov_len;
	}
	return at;
}

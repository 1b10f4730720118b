/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inflate: see inflate.h.
 *
 * The output grows in steps and never past the cap plus one byte, so a bomb costs the cap and no more.
 * "deflate" means zlib wrapped (RFC 9110 8.4.1.2), but some servers send the raw form: when the first two
 * bytes are no zlib header, raw it is.
 */
#include "judge/inflate.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#define OUTPUT_STEP_BYTES 65536

struct inflater {
	z_stream stream;
};

enum content_coding coding_parse(struct slice value)
{
	value = slice_trim(value);
	if (value.len == 0 || slice_equal_nocase(value, SLICE("identity")))
		return CODING_IDENTITY;
	if (slice_equal_nocase(value, SLICE("gzip")) || slice_equal_nocase(value, SLICE("x-gzip")))
		return CODING_GZIP;
	if (slice_equal_nocase(value, SLICE("deflate")))
		return CODING_DEFLATE;
	return CODING_UNKNOWN;
}

struct inflater *inflater_create(void)
{
	struct inflater *inflater = calloc(1, sizeof(*inflater));
	if (!inflater)
		return NULL;
	if (inflateInit2(&inflater->stream, 15 + 16) != Z_OK) {
		free(inflater);
		return NULL;
	}
	return inflater;
}

void inflater_destroy(struct inflater *inflater)
{
	if (!inflater)
		return;
	inflateEnd(&inflater->stream);
	free(inflater);
}

/* zlib's name for the format: window bits, + 16 for gzip, negative for raw. */
static int window_bits(enum content_coding coding, struct slice body)
{
	if (coding == CODING_GZIP)
		return 15 + 16;
	const unsigned char *p = (const unsigned char *)body.ptr;
	bool zlib = body.len >= 2 && (p[0] & 0x0f) == 8 && (p[0] >> 4) <= 7 && (p[0] << 8 | p[1]) % 31 == 0;
	return zlib ? 15 : -15;
}

/* Runs one stream (gzip member) to its end. 0, -EFBIG, -EBADMSG or -ENOMEM. */
static int inflate_stream(z_stream *z, size_t max_bytes, const char *body_end, struct buf *out)
{
	for (;;) {
		/* One byte more than the cap tells "exactly the cap" from "over it". */
		size_t room = OUTPUT_STEP_BYTES;
		if (max_bytes && max_bytes - out->len < room)
			room = max_bytes - out->len + 1;
		if (!buf_reserve(out, room))
			return -ENOMEM;
		size_t left = (size_t)(body_end - (const char *)z->next_in);
		z->avail_in = left > UINT_MAX ? UINT_MAX : (uInt)left;
		z->next_out = (Bytef *)out->data + out->len;
		z->avail_out = (uInt)room;
		int status = inflate(z, Z_NO_FLUSH);
		out->len += room - z->avail_out;
		if (max_bytes && out->len > max_bytes)
			return -EFBIG;
		if (status == Z_STREAM_END)
			return 0;
		if (status == Z_MEM_ERROR)
			return -ENOMEM;
		if (status != Z_OK)
			return -EBADMSG; /* Z_BUF_ERROR: no input left, so the body is cut */
	}
}

int inflater_decode(struct inflater *inflater, enum content_coding coding, struct slice body,
		    size_t max_bytes, struct buf *out)
{
	z_stream *z = &inflater->stream;
	buf_reset(out);
	if (body.len == 0)
		return 0;
	if (coding != CODING_GZIP && coding != CODING_DEFLATE)
		return -EBADMSG;
	const char *end = body.ptr + body.len;
	z->next_in = (Bytef *)(uintptr_t)body.ptr;
	do {
		if (inflateReset2(z, window_bits(coding, body)) != Z_OK)
			return -ENOMEM;
		int error = inflate_stream(z, max_bytes, end, out);
		if (error)
			return error;
	} while (coding == CODING_GZIP && (const char *)z->next_in < end);
	return (const char *)z->next_in == end ? 0 : -EBADMSG;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inflate: content codings (RFC 9110 8.4) undone for comparison, with a cap on what comes out.
 *
 * gzip (x-gzip; several members in a row are one body, RFC 1952 2.2) and deflate (zlib wrapped as RFC 9110
 * 8.4.1.2 says, or raw as some servers send it). Everything else is left alone.
 */
#ifndef PHOENIX_JUDGE_INFLATE_H
#define PHOENIX_JUDGE_INFLATE_H

#include "base/buf.h"
#include "base/slice.h"

#include <stddef.h>

enum content_coding {
	CODING_IDENTITY, /* none, or "identity" */
	CODING_GZIP,
	CODING_DEFLATE,
	CODING_UNKNOWN, /* br, zstd, or more than one */
};

/* The value of Content-Encoding (empty when there is none). */
enum content_coding coding_parse(struct slice value);

/* zlib's memory, kept for reuse by one thread. */
struct inflater;
struct inflater *inflater_create(void); /* NULL when out of memory */
void inflater_destroy(struct inflater *inflater);

/*
 * Decodes `body` into `out` (reset first). 0; -EFBIG when more than `max_bytes` would come out (0 = no
 * cap); -EBADMSG when it is not what the coding says, is cut or has something behind it; -ENOMEM. An empty
 * body decodes to an empty body.
 */
int inflater_decode(struct inflater *inflater, enum content_coding coding, struct slice body,
		    size_t max_bytes, struct buf *out);

#endif

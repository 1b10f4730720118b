/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf: a growable byte buffer with a ceiling and a sticky error.
 *
 * Appending never needs a check of its own: the first failure (out of memory, over the ceiling) makes the
 * buffer `failed`, later appends do nothing, and the user asks once at the end. Zero-initialised is empty
 * and valid.
 */
#ifndef PHOENIX_BASE_BUF_H
#define PHOENIX_BASE_BUF_H

#include "base/slice.h"

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max;  /* bytes it may grow to; 0 = no ceiling */
	bool failed; /* an append did not fit or memory ran out: the content is incomplete */
};

/* Frees the memory and leaves the buffer empty and usable; `max` stays. NULL-safe. */
void buf_fini(struct buf *b);
/* Forgets the content, keeps the memory, clears `failed`. */
void buf_reset(struct buf *b);
/* Makes room for `extra` more bytes; false when that failed (and the buffer is `failed`). */
bool buf_reserve(struct buf *b, size_t extra);
void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_str(struct buf *b, const char *str);
void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends `s` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD (RFC 8259 7). */
void buf_append_json(struct buf *b, struct slice s);
/* The content, NUL-terminated (the NUL is not counted in len); "" when empty or failed before any byte. */
const char *buf_cstr(struct buf *b);
static inline struct slice buf_slice(const struct buf *b)
{
	return slice_of(b->data, b->len);
}

#endif

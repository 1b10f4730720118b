/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * chunk: where a chunked body ends (RFC 9112 7.1), one byte a step and whole chunks at once.
 *
 * The NIC path sends bodies on as they are and only has to know their end, so extensions and trailer fields
 * are checked for bytes that have no place there and not understood. The daemon, which takes the coding off,
 * has a decoder of its own (userspace/http/body.c).
 */
#ifndef PHOENIX_CHUNK_H
#define PHOENIX_CHUNK_H

#include <phoenix/head.h>

enum phx_chunk_state {
	PHX_CHUNK_SIZE_FIRST = 0, /* a digit must come */
	PHX_CHUNK_SIZE,
	PHX_CHUNK_EXTENSION,
	PHX_CHUNK_SIZE_LF,
	PHX_CHUNK_DATA, /* `left` bytes to come: whoever drives the scanner skips them */
	PHX_CHUNK_DATA_CR,
	PHX_CHUNK_DATA_LF,
	PHX_CHUNK_TRAILER_START,
	PHX_CHUNK_TRAILER,
	PHX_CHUNK_TRAILER_LF,
	PHX_CHUNK_END_LF,
	PHX_CHUNK_DONE,
	PHX_CHUNK_REFUSED,
};

#define PHX_CHUNK_SIZE_MAX (1ULL << 40)

/* The next state. Not for PHX_CHUNK_DATA and what comes behind the end. */
static inline __u32 phx_chunk_byte(__u32 state, __u64 *left, __u8 c)
{
	__u8 digit;
	switch (state) {
	case PHX_CHUNK_SIZE_FIRST:
		*left = 0;
		if (!phx_is_hex(c))
			return PHX_CHUNK_REFUSED;
		/* fall through */
	case PHX_CHUNK_SIZE:
		if (phx_is_hex(c)) {
			digit = c <= '9' ? c - '0' : phx_lower(c) - 'a' + 10;
			*left = *left << 4 | digit;
			return *left < PHX_CHUNK_SIZE_MAX ? PHX_CHUNK_SIZE : PHX_CHUNK_REFUSED;
		}
		return c == '\r' ? PHX_CHUNK_SIZE_LF : c == ';' ? PHX_CHUNK_EXTENSION : PHX_CHUNK_REFUSED;
	case PHX_CHUNK_EXTENSION:
		if (c == '\r')
			return PHX_CHUNK_SIZE_LF;
		return phx_byte_is(PHX_TEXT, c) ? PHX_CHUNK_EXTENSION : PHX_CHUNK_REFUSED;
	case PHX_CHUNK_SIZE_LF:
		if (c != '\n')
			return PHX_CHUNK_REFUSED;
		return *left ? PHX_CHUNK_DATA : PHX_CHUNK_TRAILER_START;
	case PHX_CHUNK_DATA_CR:
		return c == '\r' ? PHX_CHUNK_DATA_LF : PHX_CHUNK_REFUSED;
	case PHX_CHUNK_DATA_LF:
		return c == '\n' ? PHX_CHUNK_SIZE_FIRST : PHX_CHUNK_REFUSED;
	case PHX_CHUNK_TRAILER_START:
		if (c == '\r')
			return PHX_CHUNK_END_LF;
		return phx_byte_is(PHX_TCHAR, c) ? PHX_CHUNK_TRAILER : PHX_CHUNK_REFUSED;
	case PHX_CHUNK_TRAILER:
		if (c == '\r')
			return PHX_CHUNK_TRAILER_LF;
		return phx_byte_is(PHX_TEXT, c) ? PHX_CHUNK_TRAILER : PHX_CHUNK_REFUSED;
	case PHX_CHUNK_TRAILER_LF:
		return c == '\n' ? PHX_CHUNK_TRAILER_START : PHX_CHUNK_REFUSED;
	case PHX_CHUNK_END_LF:
		return c == '\n' ? PHX_CHUNK_DONE : PHX_CHUNK_REFUSED;
	default:
		return PHX_CHUNK_REFUSED;
	}
}

#endif

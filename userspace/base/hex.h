/* SPDX-License-Identifier: Apache-2.0 */
/* hex: hexadecimal digits, as chunk sizes, percent encoding, JSON escapes and digests have them. */
#ifndef PHOENIX_BASE_HEX_H
#define PHOENIX_BASE_HEX_H

/* The value of a digit in either case (0..15), -1 for anything else. */
static inline int hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif

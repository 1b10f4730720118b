/* SPDX-License-Identifier: Apache-2.0 */
/* utf8: which bytes are well-formed UTF-8. */
#ifndef PHOENIX_JUDGE_UTF8_H
#define PHOENIX_JUDGE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the well-formed UTF-8 sequence at p, whose first byte is >= 0x80; 0 when there is none
 * (RFC 3629 4). */
static inline unsigned utf8_sequence(const uint8_t *p, const uint8_t *end)
{
	size_t n = (size_t)(end - p);
	if (p[0] < 0xc2 || p[0] > 0xf4 || n < 2 || (p[1] & 0xc0) != 0x80)
		return 0;
	if (p[0] < 0xe0)
		return 2;
	if (n < 3 || (p[2] & 0xc0) != 0x80)
		return 0;
	if (p[0] < 0xf0)
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
	if (n < 4 || (p[3] & 0xc0) != 0x80)
		return 0;
	return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
}

#endif

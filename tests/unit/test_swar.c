/* SPDX-License-Identifier: Apache-2.0 */
/* swar: each mask against a look at the bytes one by one. */
#include "unit.h"

#include <phoenix/swar.h>

#include <stdint.h>
#include <string.h>

static uint64_t word_of(const unsigned char bytes[8])
{
	uint64_t word = 0;
	for (unsigned i = 0; i < 8; i++)
		word |= (uint64_t)bytes[i] << (8 * i);
	return word;
}

TEST(before_first_counts_bytes)
{
	CHECK_INT(phx_before_first(0), 8);
	for (unsigned k = 0; k < 8; k++) {
		CHECK_INT(phx_before_first(UINT64_C(0x80) << (8 * k)), k);
		CHECK_INT(phx_before_first(PHX_HIGHS & (~UINT64_C(0) << (8 * k))), k);
	}
}

TEST(masks_find_the_first_byte)
{
	unsigned char bytes[8];
	for (unsigned at = 0; at < 8; at++) {
		for (unsigned c = 0; c < 256; c++) {
			memset(bytes, 'm', 8);
			bytes[at] = (unsigned char)c;
			uint64_t word = word_of(bytes);
			CHECK_INT(phx_before_first(phx_outside(word, ' ')), c < ' ' || c > '~' ? at : 8);
			CHECK_INT(phx_before_first(phx_outside(word, '!')), c < '!' || c > '~' ? at : 8);
			CHECK_INT(phx_before_first(phx_equal_to(word, '?')), c == '?' ? at : 8);
		}
	}
}

TEST(lower_all_is_ascii_only)
{
	unsigned char bytes[8], lower[8];
	for (unsigned c = 0; c < 256; c++) {
		for (unsigned i = 0; i < 8; i++) {
			bytes[i] = (unsigned char)(c + i * 37);
			lower[i] = bytes[i] >= 'A' && bytes[i] <= 'Z' ? bytes[i] | 0x20 : bytes[i];
		}
		CHECK(phx_lower_all(word_of(bytes)) == word_of(lower));
	}
}

UNIT_MAIN

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * swar: looking at eight bytes of a message at once (SIMD within a register; Hacker's Delight 6-1), for both
 * paths. Words are little-endian: the first byte is the lowest.
 *
 * In the masks the high bit of a byte is set where it is so; exact for the lowest such byte, and a higher one
 * may be set for no reason, which only costs a step.
 */
#ifndef PHOENIX_SWAR_H
#define PHOENIX_SWAR_H

#include <linux/types.h>

#define PHX_ONES  0x0101010101010101ULL
#define PHX_HIGHS 0x8080808080808080ULL

/* Bytes that are not in least..0x7e. */
static inline __u64 phx_outside(__u64 word, __u8 least)
{
	__u64 below = (word - PHX_ONES * least) & ~word;
	__u64 del = word ^ (PHX_ONES * 0x7f);
	__u64 is_del = (del - PHX_ONES) & ~del;
	return (below | is_del | word) & PHX_HIGHS;
}

/* Bytes that are c. */
static inline __u64 phx_equal_to(__u64 word, __u8 c)
{
	__u64 x = word ^ (PHX_ONES * c);
	return (x - PHX_ONES) & ~x & PHX_HIGHS;
}

/* ASCII capitals to small letters in all eight bytes; others stay. */
static inline __u64 phx_lower_all(__u64 word)
{
	__u64 low = word & ~PHX_HIGHS;
	__u64 from_a = low + PHX_ONES * (0x80 - 'A'), behind_z = low + PHX_ONES * (0x7f - 'Z');
	return word | ((from_a ^ behind_z) & ~word & PHX_HIGHS) >> 2;
}

/* How many of the eight bytes come before the first marked one. */
static inline __u32 phx_before_first(__u64 mask)
{
	/* The lowest mark moved to its byte's lowest bit, less one: ones in all bytes before it, which the
	 * multiplication adds up. BPF has no instruction that counts zeros. */
	__u64 below = ((mask & -mask) >> 7) - 1;
	if (!mask)
		return 8;
	return (__u32)(((below & PHX_ONES) * PHX_ONES) >> 56);
}

#endif

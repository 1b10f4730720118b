/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sip: SipHash-2-4 (Aumasson, Bernstein 2012) over 64-bit words, inline: for the keyed splits of both paths,
 * and for the cookies and ports of the NIC path.
 *
 * A message of n bytes is its whole little-endian words, then phx_sip_end() with the bytes left over and n.
 */
#ifndef PHOENIX_SIP_H
#define PHOENIX_SIP_H

#include <linux/types.h>

struct phx_sip {
	__u64 v[4];
};

static inline __u64 phx_rotate(__u64 x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline __attribute__((always_inline)) void phx_sip_round(struct phx_sip *sip)
{
	__u64 *v = sip->v;
	v[0] += v[1];
	v[1] = phx_rotate(v[1], 13) ^ v[0];
	v[0] = phx_rotate(v[0], 32);
	v[2] += v[3];
	v[3] = phx_rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = phx_rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = phx_rotate(v[1], 17) ^ v[2];
	v[2] = phx_rotate(v[2], 32);
}

static inline void phx_sip_begin(struct phx_sip *sip, __u64 k0, __u64 k1)
{
	sip->v[0] = k0 ^ 0x736f6d6570736575ULL;
	sip->v[1] = k1 ^ 0x646f72616e646f6dULL;
	sip->v[2] = k0 ^ 0x6c7967656e657261ULL;
	sip->v[3] = k1 ^ 0x7465646279746573ULL;
}

static inline __attribute__((always_inline)) void phx_sip_word(struct phx_sip *sip, __u64 word)
{
	sip->v[3] ^= word;
	phx_sip_round(sip);
	phx_sip_round(sip);
	sip->v[0] ^= word;
}

/* rest: the last len % 8 bytes, the first of them lowest. */
static inline __u64 phx_sip_end(struct phx_sip *sip, __u64 rest, __u64 len)
{
	phx_sip_word(sip, (len & 0xff) << 56 | rest);
	sip->v[2] ^= 0xff;
	phx_sip_round(sip);
	phx_sip_round(sip);
	phx_sip_round(sip);
	phx_sip_round(sip);
	return sip->v[0] ^ sip->v[1] ^ sip->v[2] ^ sip->v[3];
}

#endif

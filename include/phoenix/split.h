/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * split: which side serves this request. Inline code that the BPF programs and the daemon both compile.
 *
 * By request: jittered (stratified) sampling. The requests of a route are numbered n = 0, 1, 2, … and cut
 * into strata that hold exactly one request of the rarer side each; a hash of the stratum's number picks
 * which. So any W consecutive requests at weight w hold W·w ± 1 for modern when W·w is whole (and less than
 * ± 2 always), whatever the offset, and a client that repeats a pattern does not always hit the same side
 * with the same request, as it would with a plain Bresenham sequence. (A golden-ratio sequence was tried
 * first: its windows of 100 are off by 2 in 1.3 % of the cases.)
 *
 * By key (client address, header, cookie): a keyed hash of the key, spread over 0..9999, against the
 * weight. Raising the weight only ever moves keys from legacy to modern, so nobody flips back.
 */
#ifndef PHOENIX_SPLIT_H
#define PHOENIX_SPLIT_H

#include <phoenix/abi.h>

/* Finaliser of splitmix64 (Steele, Lea, Flood 2014): every output bit depends on every input bit. */
static inline __u64 phx_mix64(__u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* Is request number n one of the share_bp/10000 chosen ones? share_bp in 1..5000. */
static inline int phx_split_chosen(__u64 n, __u32 share_bp, __u64 seed)
{
	/* Stratum k holds the n with floor(n·share/10000) == k. n is reduced first: whole periods of 10000
	 * hold whole strata, and the products stay far from overflow. */
	__u64 period = n / PHX_WEIGHT_ONE;
	__u64 i = n % PHX_WEIGHT_ONE;
	__u64 k = i * share_bp / PHX_WEIGHT_ONE;
	__u64 start = (k * PHX_WEIGHT_ONE + share_bp - 1) / share_bp;
	__u64 end = ((k + 1) * PHX_WEIGHT_ONE + share_bp - 1) / share_bp;
	__u64 pick = phx_mix64(seed ^ (period * PHX_WEIGHT_ONE + k)) % (end - start);
	return i - start == pick;
}

/* The share of request number n of a sequence; 0 and 10000 are absolute. Returns 1 for "chosen". */
static inline int phx_split_by_request(__u64 n, __u32 share_bp, __u64 seed)
{
	if (share_bp == 0)
		return 0;
	if (share_bp >= PHX_WEIGHT_ONE)
		return 1;
	if (share_bp <= PHX_WEIGHT_ONE / 2)
		return phx_split_chosen(n, share_bp, seed);
	return !phx_split_chosen(n, PHX_WEIGHT_ONE - share_bp, seed);
}

/* hash: a keyed 64-bit hash of the key (SipHash: its high bits are as good as its low ones). */
static inline int phx_split_by_key(__u64 hash, __u32 share_bp)
{
	return ((hash >> 32) * PHX_WEIGHT_ONE >> 32) < share_bp;
}

#endif

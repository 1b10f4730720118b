/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter: who offered a wrong token too often has to wait, by address (an IPv6 network of 64 bits is one).
 *
 * Each address has a bucket of LIMITER_BURST failures that fills up again by one every LIMITER_REFILL_MS. The
 * table is bounded and keyed: a stranger can push out entries of a few others, never make it grow. Pure:
 * `now` and the key are arguments.
 */
#ifndef PHOENIX_ADMIN_LIMITER_H
#define PHOENIX_ADMIN_LIMITER_H

#include "base/siphash.h"

#include <stdint.h>

#define LIMITER_SETS	  256
#define LIMITER_WAYS	  4
#define LIMITER_BURST	  10
#define LIMITER_REFILL_MS 6000

struct limiter_entry {
	uint8_t network[8]; /* IPv4 as ::ffff:a.b.c.d's last eight bytes; IPv6: the first eight */
	uint64_t full_ns;   /* when the bucket is full again; 0 = free */
};

struct limiter {
	uint8_t key[SIPHASH_KEY_SIZE];
	struct limiter_entry entries[LIMITER_SETS][LIMITER_WAYS];
};

/* The peer's address as a key of the table, from 4 or 16 bytes in wire order. */
void limiter_network(const uint8_t *address, unsigned len, uint8_t network[8]);
/* Milliseconds until another attempt is allowed; 0: now. */
uint32_t limiter_wait_ms(const struct limiter *limiter, const uint8_t network[8], uint64_t now_ns);
/* One more failure. */
void limiter_fail(struct limiter *limiter, const uint8_t network[8], uint64_t now_ns);

#endif

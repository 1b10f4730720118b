/* SPDX-License-Identifier: Apache-2.0 */
/* siphash: SipHash-2-4 (Aumasson, Bernstein 2012), a keyed 64-bit hash that hostile input cannot steer. */
#ifndef PHOENIX_BASE_SIPHASH_H
#define PHOENIX_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_SIZE 16

/* The hash as a number, the same on every machine; `data` may be NULL when len is 0. */
uint64_t siphash24(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* sha256: SHA-256 (FIPS 180-4) of a text that is in memory: tokens are kept and compared as such. */
#ifndef PHOENIX_BASE_SHA256_H
#define PHOENIX_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

/* `data` may be NULL when len is 0. What was computed on the way is wiped. */
void sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES]);

#endif

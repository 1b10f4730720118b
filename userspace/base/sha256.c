/* SPDX-License-Identifier: Apache-2.0 */
/* sha256: see sha256.h. The names a to h, K and W are those of FIPS 180-4, sections 4.2.2 and 6.2. */
#include "base/sha256.h"

#include <string.h>

#define BLOCK_BYTES 64

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static void take_block(uint32_t H[8], const uint8_t *block)
{
	uint32_t W[64], v[8];
	for (unsigned t = 0; t < 16; t++)
		W[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
		       (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
	for (unsigned t = 16; t < 64; t++) {
		uint32_t x = W[t - 15], y = W[t - 2];
		W[t] = W[t - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + W[t - 7] +
		       (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
	}
	memcpy(v, H, sizeof(v));
	for (unsigned t = 0; t < 64; t++) {
		uint32_t a = v[0], b = v[1], c = v[2], e = v[4], f = v[5], g = v[6];
		uint32_t t1 = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
			      K[t] + W[t];
		uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
		memmove(&v[1], &v[0], 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (unsigned i = 0; i < 8; i++)
		H[i] += v[i];
	explicit_bzero(W, sizeof(W));
	explicit_bzero(v, sizeof(v));
}

void sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES])
{
	uint32_t H[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	const uint8_t *bytes = data;
	size_t left = len;
	for (; left >= BLOCK_BYTES; left -= BLOCK_BYTES, bytes += BLOCK_BYTES)
		take_block(H, bytes);
	uint8_t last[2 * BLOCK_BYTES] = {0};
	if (left)
		memcpy(last, bytes, left);
	last[left] = 0x80;
	size_t end = left < BLOCK_BYTES - 8 ? BLOCK_BYTES : sizeof(last);
	for (unsigned i = 0; i < 8; i++)
		last[end - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
	for (size_t at = 0; at < end; at += BLOCK_BYTES)
		take_block(H, last + at);
	for (unsigned i = 0; i < SHA256_BYTES; i++)
		out[i] = (uint8_t)(H[i / 4] >> (24 - 8 * (i % 4)));
	explicit_bzero(last, sizeof(last));
	explicit_bzero(H, sizeof(H));
}

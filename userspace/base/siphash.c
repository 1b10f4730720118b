/* SPDX-License-Identifier: Apache-2.0 */
/* siphash: see siphash.h; the rounds are in phoenix/sip.h. The paper's test vectors are in the unit test. */
#include "base/siphash.h"

#include <phoenix/sip.h>

#include <string.h>

static inline uint64_t load_le64(const uint8_t *p)
{
	uint64_t x;
	memcpy(&x, p, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	return x;
}

uint64_t siphash24(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t k0 = load_le64(key), k1 = load_le64(key + 8);
	struct phx_sip sip;
	size_t left = len;

	phx_sip_begin(&sip, k0, k1);
	for (; left >= 8; left -= 8, p += 8)
		phx_sip_word(&sip, load_le64(p));
	uint64_t rest = 0;
	for (size_t i = 0; i < left; i++)
		rest |= (uint64_t)p[i] << (8 * i);
	return phx_sip_end(&sip, rest, len);
}

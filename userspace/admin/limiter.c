/* SPDX-License-Identifier: Apache-2.0 */
/* limiter: see limiter.h. A bucket is one number: the moment at which it will be full (a "virtual schedule").
 */
#include "admin/limiter.h"

#include "base/clock.h"

#include <stdbool.h>
#include <string.h>

#define REFILL_NS (LIMITER_REFILL_MS * NS_PER_MS)

void limiter_network(const uint8_t *address, unsigned len, uint8_t network[8])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	if (len == 16 && memcmp(address, mapped, sizeof(mapped)) == 0) {
		address += 12;
		len = 4;
	}
	memset(network, 0, 8);
	if (len == 4) {
		network[2] = network[3] = 0xff;
		memcpy(network + 4, address, 4);
	} else if (len == 16) {
		memcpy(network, address, 8);
	}
}

static size_t set_of(const struct limiter *limiter, const uint8_t network[8])
{
	return siphash24(limiter->key, network, 8) % LIMITER_SETS;
}

uint32_t limiter_wait_ms(const struct limiter *limiter, const uint8_t network[8], uint64_t now_ns)
{
	const struct limiter_entry *set = limiter->entries[set_of(limiter, network)];
	/* A bucket with room for one more failure is full at this moment, at the latest. */
	uint64_t latest_ns = now_ns + (LIMITER_BURST - 1) * REFILL_NS;
	for (unsigned i = 0; i < LIMITER_WAYS; i++) {
		if (set[i].full_ns > latest_ns && memcmp(set[i].network, network, 8) == 0)
			return (uint32_t)((set[i].full_ns - latest_ns + NS_PER_MS - 1) / NS_PER_MS);
	}
	return 0;
}

void limiter_fail(struct limiter *limiter, const uint8_t network[8], uint64_t now_ns)
{
	struct limiter_entry *set = limiter->entries[set_of(limiter, network)], *entry = &set[0];
	bool known = false;
	for (unsigned i = 0; i < LIMITER_WAYS && !known; i++) {
		known = set[i].full_ns > now_ns && memcmp(set[i].network, network, 8) == 0;
		/* When all are taken, the one that is closest to being forgiven goes. */
		if (known || set[i].full_ns < entry->full_ns)
			entry = &set[i];
	}
	memcpy(entry->network, network, 8);
	entry->full_ns = (known ? entry->full_ns : now_ns) + REFILL_NS;
}

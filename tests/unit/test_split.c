/* SPDX-License-Identifier: Apache-2.0 */
/* The split: exact shares in every window, no pattern to hit, keys that never flip back. */
#include "unit.h"

#include <phoenix/split.h>

#include <stdint.h>

TEST(every_window_of_a_hundred_is_within_one)
{
	enum { LENGTH = 30000, WINDOW = 100 };
	static unsigned char chosen[LENGTH];
	for (uint32_t weight = 0; weight <= 10000; weight += 100) {
		for (int i = 0; i < LENGTH; i++)
			chosen[i] =
				(unsigned char)phx_split_by_request((uint64_t)i + 7, weight, 12345 + weight);
		long count = 0, worst = 0, want = (long)weight * WINDOW / 10000;
		for (int i = 0; i < LENGTH; i++) {
			count += chosen[i];
			if (i >= WINDOW)
				count -= chosen[i - WINDOW];
			if (i >= WINDOW - 1 && labs(count - want) > worst)
				worst = labs(count - want);
		}
		CHECK_MSG(worst <= 1, "weight %u: a window is off by %ld", weight, worst);
	}
}

TEST(odd_weights_are_within_two_in_any_window)
{
	static const uint32_t weights[] = {1, 3, 37, 333, 1234, 3333, 4999, 5001, 6667, 9876, 9999};
	for (size_t w = 0; w < sizeof(weights) / sizeof(weights[0]); w++) {
		for (uint64_t start = 0; start < 40000; start += 777) {
			long count = 0;
			for (uint64_t n = start; n < start + 1000; n++)
				count += phx_split_by_request(n, weights[w], 99);
			double off = (double)count - 1000.0 * weights[w] / 10000;
			CHECK_MSG(off > -2 && off < 2, "weight %u from %llu: off by %.2f", weights[w],
				  (unsigned long long)start, off);
		}
	}
}

TEST(zero_and_one_are_absolute)
{
	for (uint64_t n = 0; n < 100000; n++) {
		if (phx_split_by_request(n * 977, 0, n) || !phx_split_by_request(n * 977, 10000, n)) {
			CHECK(0);
			return;
		}
	}
	CHECK(!phx_split_by_key(0, 0) && !phx_split_by_key(UINT64_MAX, 0));
	CHECK(phx_split_by_key(0, 10000) && phx_split_by_key(UINT64_MAX, 10000));
}

/* A client that sends A B A B … must not find all its A on one side. */
TEST(a_repeating_client_is_still_split)
{
	for (int period = 2; period <= 10; period++) {
		for (int phase = 0; phase < period; phase++) {
			int modern = 0;
			for (int i = 0; i < 1000; i++)
				modern += phx_split_by_request((uint64_t)(i * period + phase), 5000, 4242);
			CHECK_MSG(modern > 400 && modern < 600, "period %d phase %d: %d of 1000", period,
				  phase, modern);
		}
	}
}

TEST(the_sequence_goes_on_at_the_end_of_its_numbers)
{
	long count = 0;
	for (uint64_t n = UINT64_MAX - 9999; n != 9999; n++)
		count += phx_split_by_request(n, 3000, 1);
	CHECK(count > 5990 && count < 6010);
}

TEST(raising_the_weight_moves_keys_one_way)
{
	int at_30 = 0, at_50 = 0;
	for (uint64_t user = 0; user < 20000; user++) {
		uint64_t hash = phx_mix64(user);
		int before = phx_split_by_key(hash, 3000), after = phx_split_by_key(hash, 5000);
		at_30 += before;
		at_50 += after;
		if (before && !after) {
			CHECK(0);
			return;
		}
	}
	CHECK(at_30 > 5700 && at_30 < 6300);
	CHECK(at_50 > 9700 && at_50 < 10300);
}

UNIT_MAIN

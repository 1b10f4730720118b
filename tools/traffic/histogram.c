/* SPDX-License-Identifier: Apache-2.0 */
/* histogram: see histogram.h. The first two octaves of units lie in one linear run of buckets. */
#include "histogram.h"

#include <math.h>

static unsigned bucket_of(uint64_t ns)
{
	uint64_t unit = ns / HISTOGRAM_UNIT_NS;
	if (unit < HISTOGRAM_SUB)
		return (unsigned)unit;
	unsigned shift = 63 - (unsigned)__builtin_clzll(unit) - 8; /* HISTOGRAM_SUB is 2^8 */
	uint64_t bucket = (uint64_t)(shift + 1) * HISTOGRAM_SUB + (unit >> shift) - HISTOGRAM_SUB;
	return bucket < HISTOGRAM_BUCKETS ? (unsigned)bucket : HISTOGRAM_BUCKETS - 1;
}

/* The greatest value of a bucket. */
static uint64_t end_of(unsigned bucket)
{
	if (bucket < HISTOGRAM_SUB)
		return (uint64_t)(bucket + 1) * HISTOGRAM_UNIT_NS - 1;
	unsigned shift = bucket / HISTOGRAM_SUB - 1;
	uint64_t unit = (uint64_t)(HISTOGRAM_SUB + bucket % HISTOGRAM_SUB + 1) << shift;
	return unit * HISTOGRAM_UNIT_NS - 1;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	if (h->count == 0 || ns < h->min_ns)
		h->min_ns = ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
	h->count++;
	h->sum_ns += ns;
	h->buckets[bucket_of(ns)]++;
}

uint64_t histogram_percentile_ns(const struct histogram *h, double share)
{
	double rank = ceil(share * (double)h->count);
	uint64_t wanted = rank < 1 ? 1 : (uint64_t)rank, seen = 0;
	if (h->count == 0)
		return 0;
	if (wanted > h->count)
		wanted = h->count;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= wanted) {
			uint64_t ns = i == HISTOGRAM_BUCKETS - 1 ? h->max_ns : end_of(i);
			return ns < h->min_ns ? h->min_ns : ns > h->max_ns ? h->max_ns : ns;
		}
	}
	return h->max_ns;
}

double histogram_mean_ns(const struct histogram *h)
{
	return h->count ? (double)h->sum_ns / (double)h->count : 0;
}

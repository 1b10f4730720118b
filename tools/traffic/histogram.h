/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram: latencies by the million in fixed memory, read back as percentiles.
 *
 * Log-linear like HdrHistogram: HISTOGRAM_SUB buckets an octave, so a percentile is exact to 1 part in
 * HISTOGRAM_SUB (0.4 %) from 65 us up, and to HISTOGRAM_UNIT_NS below. Count, sum, least and greatest are
 * exact.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_HISTOGRAM_H
#define PHOENIX_TOOLS_TRAFFIC_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_UNIT_NS 256u
#define HISTOGRAM_SUB	  256u
#define HISTOGRAM_OCTAVES 28u /* the last ends at 2.4 hours; anything above is counted there */
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB * HISTOGRAM_OCTAVES)

/* Zero-initialised is empty and valid. */
struct histogram {
	uint64_t count, sum_ns, min_ns, max_ns;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t ns);
/*
 * The smallest latency that at least `share` (0..1) of the values do not exceed, within the precision above
 * and never outside least and greatest; 0 when empty.
 */
uint64_t histogram_percentile_ns(const struct histogram *h, double share);
/* 0 when empty. */
double histogram_mean_ns(const struct histogram *h);

#endif

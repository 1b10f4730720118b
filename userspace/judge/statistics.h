/* SPDX-License-Identifier: Apache-2.0 */
/*
 * statistics: how sure are we? Likelihood ratio, Wilson bound, CUSUM, and a check of the split.
 *
 * Floating point: these figures bound and explain. The literal decision never uses them (see arbiter.h).
 */
#ifndef PHOENIX_JUDGE_STATISTICS_H
#define PHOENIX_JUDGE_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

/* One-sided normal quantiles. */
#define STATISTICS_Z_95 1.6448536269514722
#define STATISTICS_Z_99 2.3263478740408408

/* What one sample adds to ln(P(sample | good) / P(sample | bad)) (Wald 1945). */
struct likelihood {
	double match;	 /* ln(good / bad) */
	double mismatch; /* ln((1 - good) / (1 - bad)) */
};

/* For consistencies in basis points, .99 and .95: +0.041243 and -1.609438. Both are kept within
 * [0.5, 9999.5] basis points, so the figures are finite. */
struct likelihood likelihood_make(uint32_t good_bp, uint32_t bad_bp);
/* The log likelihood ratio of n samples with k mismatches (k <= n). */
double likelihood_ratio(struct likelihood l, uint64_t n, uint64_t k);

/* Lower end of Wilson's one-sided interval for the share of matches (Wilson 1927); 0 when n is 0. */
double wilson_lower(uint64_t n, uint64_t k, double z);

/*
 * Page's CUSUM (1954) over the same likelihoods, against getting worse:
 * S = max(0, S - what the sample adds). Alarm when it reaches h; start again at 0.
 */
double cusum_step(double s, struct likelihood l, bool mismatch);

/* Chi-square with one degree of freedom of the served counts against the weight; 0 when nothing was served,
 * infinite when a side got requests at an absolute weight of 0 or 10000. 10.83 is exceeded by chance once in
 * a thousand looks. */
double split_chi_square(uint64_t legacy, uint64_t modern, uint32_t weight_bp);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* statistics: see statistics.h. Formulas with their sources; nothing here has a state of its own. */
#include "judge/statistics.h"

#include <math.h>

#define ONE_BP 10000.0

static double share_of_bp(uint32_t bp)
{
	double share = bp;
	if (share < 0.5)
		share = 0.5;
	if (share > ONE_BP - 0.5)
		share = ONE_BP - 0.5;
	return share / ONE_BP;
}

struct likelihood likelihood_make(uint32_t good_bp, uint32_t bad_bp)
{
	double good = share_of_bp(good_bp), bad = share_of_bp(bad_bp);
	return (struct likelihood){log(good / bad), log((1 - good) / (1 - bad))};
}

double likelihood_ratio(struct likelihood l, uint64_t n, uint64_t k)
{
	return l.match * (double)(n - k) + l.mismatch * (double)k;
}

double wilson_lower(uint64_t n, uint64_t k, double z)
{
	if (n == 0)
		return 0;
	double count = (double)n, p = (double)(n - k) / count, zz = z * z;
	double center = p + zz / (2 * count);
	double spread = z * sqrt(p * (1 - p) / count + zz / (4 * count * count));
	double lower = (center - spread) / (1 + zz / count);
	return lower > 0 ? lower : 0;
}

double cusum_step(double s, struct likelihood l, bool mismatch)
{
	s -= mismatch ? l.mismatch : l.match;
	return s > 0 ? s : 0;
}

double split_chi_square(uint64_t legacy, uint64_t modern, uint32_t weight_bp)
{
	double n = (double)legacy + (double)modern, w = weight_bp / ONE_BP;
	double expected_modern = n * w, expected_legacy = n - expected_modern;
	if (weight_bp == 0)
		return modern ? INFINITY : 0;
	if (weight_bp >= ONE_BP)
		return legacy ? INFINITY : 0;
	if (n == 0)
		return 0;
	double d = (double)modern - expected_modern;
	return d * d / expected_modern + d * d / expected_legacy;
}

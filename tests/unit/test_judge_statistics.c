/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics, and what the arbiter's rules do in the long run: exact dynamic programming over all possible
 * courses of a step, looking after every sample, with the arbiter's own decisions. The expected figures were
 * computed independently of this code.
 */
#include "judge/arbiter.h"
#include "judge/statistics.h"

#include "test_judge_support.h"
#include "unit.h"

#include <math.h>

#define READY (ARBITER_ENABLED | ARBITER_STARTED | ARBITER_WEIGHT_SET | ARBITER_WEIGHT_SEEN)

static bool near(double got, double want, double slack)
{
	return fabs(got - want) <= slack;
}

#define CHECK_NEAR(got, want, slack)                                                                         \
	do {                                                                                                 \
		double near_got = (got), near_want = (want);                                                 \
		CHECK_MSG(near(near_got, near_want, slack), "%s is %.6f, not %.6f", #got, near_got,          \
			  near_want);                                                                        \
	} while (0)

TEST(likelihoods)
{
	struct likelihood l = likelihood_make(9900, 9500);
	CHECK_NEAR(l.match, 0.041243, 5e-7);
	CHECK_NEAR(l.mismatch, -1.609438, 5e-7);
	CHECK_NEAR(likelihood_ratio(l, 112, 0), 4.61922, 1e-4);
	CHECK(likelihood_ratio(l, 111, 0) < log(100) && likelihood_ratio(l, 112, 0) >= log(100));
	CHECK(-likelihood_ratio(l, 4, 4) < log(1000) && -likelihood_ratio(l, 5, 5) >= log(1000));
	/* Thresholds of nothing and of all give finite figures. */
	l = likelihood_make(10000, 0);
	CHECK(isfinite(l.match) && isfinite(l.mismatch) && l.match > 0 && l.mismatch < 0);
}

/* Samples that a Wilson bound needs, with 0, 1 and 2 mismatches. */
TEST(wilson_samples)
{
	static const struct {
		double bound, z;
		unsigned n[3];
	} cases[] = {
		{0.98, STATISTICS_Z_95, {133, 222, 300}},
		{0.99, STATISTICS_Z_95, {268, 446, 602}},
		{0.99, STATISTICS_Z_99, {536, 722, 891}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned k = 0; k < 3; k++) {
			unsigned n = cases[i].n[k];
			CHECK_MSG(wilson_lower(n, k, cases[i].z) >= cases[i].bound, "bound %g, k %u",
				  cases[i].bound, k);
			CHECK_MSG(wilson_lower(n - 1, k, cases[i].z) < cases[i].bound, "bound %g, k %u",
				  cases[i].bound, k);
		}
	}
	CHECK_NEAR(wilson_lower(0, 0, 1.6), 0, 0);
	CHECK_NEAR(wilson_lower(10, 10, STATISTICS_Z_95), 0, 1e-9);
	CHECK(wilson_lower(1000000, 0, STATISTICS_Z_95) < 1);
}

TEST(chi_square)
{
	CHECK_NEAR(split_chi_square(70, 30, 3000), 0, 1e-9);
	CHECK_NEAR(split_chi_square(60, 40, 3000), 100.0 / 30 + 100.0 / 70, 1e-9);
	CHECK_NEAR(split_chi_square(0, 0, 3000), 0, 0);
	CHECK_NEAR(split_chi_square(100, 0, 0), 0, 0);
	CHECK(isinf(split_chi_square(100, 1, 0)));
	CHECK_NEAR(split_chi_square(0, 100, 10000), 0, 0);
	CHECK(isinf(split_chi_square(1, 100, 10000)));
}

/* ---- what a rule does in the long run ---- */

/* For each n up to n_max and k up to k_max what the rule decides there; looked up once, used for every p. */
struct grid {
	unsigned n_max, k_max;
	unsigned char *actions;
};

static struct grid grid_make(const struct arbiter_policy *policy, unsigned n_max)
{
	/* With more mismatches than this every rule here has rolled back before. */
	struct grid g = {n_max, n_max / 20 + 110, NULL};
	g.actions = malloc((size_t)(n_max + 1) * (g.k_max + 1));
	for (unsigned n = 0; n <= n_max; n++) {
		for (unsigned k = 0; k <= g.k_max && k <= n; k++) {
			struct arbiter_facts facts = {.flags = READY,
						      .samples = n,
						      .mismatches = k,
						      .build_samples = n,
						      .build_mismatches = k};
			g.actions[(size_t)n * (g.k_max + 1) + k] =
				(unsigned char)arbiter_decide(policy, &facts).action;
		}
	}
	return g;
}

struct outcome {
	double promote, rollback, hold, samples;
};

static struct outcome run_step(const struct grid *g, double p)
{
	struct outcome o = {0};
	double *now = calloc(g->k_max + 2, sizeof(*now));
	now[0] = 1;
	for (unsigned n = 1; n <= g->n_max; n++) {
		const unsigned char *actions = g->actions + (size_t)n * (g->k_max + 1);
		double alive = 0;
		for (unsigned k = (n < g->k_max ? n : g->k_max) + 1; k-- > 0;) {
			double x = now[k] * p + (k ? now[k - 1] * (1 - p) : 0);
			now[k] = x;
			if (x == 0)
				continue;
			if (actions[k] == ARBITER_HOLD) {
				alive += x;
				continue;
			}
			*(actions[k] == ARBITER_PROMOTE ? &o.promote : &o.rollback) += x;
			o.samples += x * n;
			now[k] = 0;
		}
		o.hold = alive;
	}
	o.samples += o.hold * g->n_max;
	free(now);
	return o;
}

/* Half a unit of the last digit that the expected figures are given with. */
#define HALF(digits) (0.5 * pow(10, -(digits)) + 1e-9)

TEST(literal_in_the_long_run)
{
	static const struct {
		double p, promote, rollback, rollback_bare, ten, ten_bare;
	} cases[] = {
		{.95, .036, .915, .951, 0, 0},		{.97, .204, .214, .586, 0, 0},
		{.98, .460, .042, .388, .0004, .0001},	{.985, .682, .011, .289, .022, .003},
		{.99, .957, .0015, .192, .643, .092},	{.995, 1.000, .0000, .095, 1.00, .367},
		{.999, 1.000, .0000, .019, 1.00, .825},
	};
	struct arbiter_policy policy = arbiter_policy_default();
	policy.rollback_min_samples = 101;
	struct grid floor = grid_make(&policy, 5000);
	policy.rollback_min_samples = 1;
	struct grid bare = grid_make(&policy, 5000);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct outcome a = run_step(&floor, cases[i].p), b = run_step(&bare, cases[i].p);
		CHECK_NEAR(a.promote, cases[i].promote, HALF(3));
		CHECK_NEAR(a.rollback, cases[i].rollback, HALF(3));
		CHECK_NEAR(b.rollback, cases[i].rollback_bare, HALF(3));
		CHECK_NEAR(pow(a.promote, 10), cases[i].ten, HALF(3));
		CHECK_NEAR(pow(b.promote, 10), cases[i].ten_bare, HALF(3));
		CHECK_NEAR(a.promote + a.rollback + a.hold, 1, 1e-9);
	}
	free(floor.actions);
	free(bare.actions);
}

/* What README tells about the defaults. */
TEST(literal_by_default)
{
	static const struct {
		double p, promote, rollback;
	} cases[] = {
		{.95, .036, .937}, {.97, .201, .454},  {.98, .449, .229},
		{.99, .906, .065}, {.995, .983, .017}, {.999, .999, .001},
	};
	struct arbiter_policy policy = arbiter_policy_default();
	struct grid g = grid_make(&policy, 5000);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct outcome o = run_step(&g, cases[i].p);
		CHECK_NEAR(o.promote, cases[i].promote, HALF(3));
		CHECK_NEAR(o.rollback, cases[i].rollback, HALF(3));
	}
	CHECK_NEAR(pow(run_step(&g, .99).promote, 10), .37, HALF(2));
	CHECK_NEAR(pow(run_step(&g, .995).promote, 10), .84, HALF(2));
	free(g.actions);
}

TEST(false_rollback_by_floor)
{
	static const struct {
		unsigned floor;
		double at_99, at_995, at_999;
		int digits[3];
	} cases[] = {
		{1, .192, .095, .019, {3, 3, 3}}, {20, .065, .017, .0007, {3, 3, 4}},
		{40, .024, .0035, 0, {3, 4, 4}},  {75, .009, .0007, 0, {3, 4, 4}},
		{101, .0015, 0, 0, {4, 4, 4}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arbiter_policy policy = arbiter_policy_default();
		policy.rollback_min_samples = cases[i].floor;
		struct grid g = grid_make(&policy, 5000);
		CHECK_NEAR(run_step(&g, .99).rollback, cases[i].at_99, HALF(cases[i].digits[0]));
		CHECK_NEAR(run_step(&g, .995).rollback, cases[i].at_995, HALF(cases[i].digits[1]));
		CHECK_NEAR(run_step(&g, .999).rollback, cases[i].at_999, HALF(cases[i].digits[2]));
		free(g.actions);
	}
}

TEST(bounded_in_the_long_run)
{
	static const struct {
		double p, promote, rollback, hold, samples, promote_slack, ten, ten_slack;
	} cases[] = {
		{0, 0, 1, 0, 5, 1e-9, 0, 1e-9},
		{.8, 0, 1, 0, 26, 1e-4, 0, 1e-9},
		{.9, .00001, .99999, 0, 60, 1e-5, 0, 1e-9},
		{.95, .0066, .950, .043, 724, 5e-5, 0, 1e-9},
		{.97, .094, .216, .690, 5562, 5e-4, 0, 1e-9},
		{.98, .327, .043, .630, 5107, 5e-4, .0000, 5.1e-5},
		{.99, .954, .0015, .044, 764, 5e-4, .63, 5.1e-3},
		{.995, 1.000, .00004, 0, 155, 5e-4, .9996, 5.1e-5},
		{1, 1, 0, 0, 112, 1e-9, 1, 1e-9},
	};
	struct arbiter_policy policy = arbiter_policy_default();
	policy.rule = ARBITER_RULE_BOUNDED;
	policy.rollback_min_samples = 100;
	policy.half_gate_bp = policy.full_gate_bp = 0;
	struct grid g = grid_make(&policy, 8000);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct outcome o = run_step(&g, cases[i].p);
		CHECK_NEAR(o.promote, cases[i].promote, cases[i].promote_slack);
		CHECK_NEAR(o.rollback, cases[i].rollback, HALF(3));
		CHECK_NEAR(o.hold, cases[i].hold, HALF(3));
		CHECK_NEAR(o.samples, cases[i].samples, 0.5 + 1e-6);
		CHECK_NEAR(pow(o.promote, 10), cases[i].ten, cases[i].ten_slack);
	}
	/* However often the loop looks, an endpoint at the lower threshold passes with at most alpha. */
	CHECK(run_step(&g, .95).promote <= 0.01);
	free(g.actions);
}

/* 101 clean samples prove p >= 97.1 % and no more: the exact one-sided bound at 95 % is .05^(1/101). Samples
 * for the exact (Clopper-Pearson) bounds with no mismatch; Wilson's are in wilson_samples. */
TEST(clean_runs)
{
	CHECK_NEAR(pow(.05, 1.0 / 101), .971, HALF(3));
	CHECK_NEAR(ceil(log(.05) / log(.98)), 149, 1e-9);
	CHECK_NEAR(ceil(log(.05) / log(.99)), 299, 1e-9);
	CHECK_NEAR(ceil(log(.01) / log(.99)), 459, 1e-9);
	/* Wilson's lies above the exact one for clean runs, so a gate of .99 is no promise of .99 to the
	 * digit. */
	CHECK(wilson_lower(268, 0, STATISTICS_Z_95) >= .99 && pow(.05, 1.0 / 268) < .99);
}

/* One look at n = 101: promote iff k <= 1, rollback iff k >= 6. */
TEST(one_look)
{
	static const double p[] = {.95, .97, .98, .99, .995}, want[] = {.036, .19, .40, .73, .91};
	static const double slack[] = {5e-4, 5e-3, 5e-3, 5e-3, 5e-3};
	for (size_t i = 0; i < 5; i++) {
		double all = pow(p[i], 101), one = 101 * pow(p[i], 100) * (1 - p[i]);
		CHECK_NEAR(all + one, want[i], slack[i]);
	}
	struct arbiter_policy policy = arbiter_policy_default();
	for (uint64_t k = 0; k <= 101; k++) {
		struct arbiter_facts facts = {.flags = READY, .samples = 101, .mismatches = k};
		enum arbiter_action want_action = k <= 1   ? ARBITER_PROMOTE
						  : k >= 6 ? ARBITER_ROLLBACK
							   : ARBITER_HOLD;
		CHECK_INT(arbiter_decide(&policy, &facts).action, want_action);
	}
}

/* Samples until CUSUM reaches h, on average over many runs from 0. */
static double cusum_run(double p, double h, unsigned runs, uint64_t seed)
{
	struct likelihood l = likelihood_make(9900, 9500);
	double total = 0;
	for (unsigned i = 0; i < runs; i++) {
		double s = 0;
		while (s < h) {
			bool mismatch = (double)(random_next(&seed) >> 11) * 0x1p-53 >= p;
			s = cusum_step(s, l, mismatch);
			total++;
		}
	}
	return total / runs;
}

TEST(cusum)
{
	static const struct {
		double h, quiet, at_9, at_5;
		unsigned at_0, quiet_runs;
	} cases[] = {
		{4.6, 7300, 40, 6, 3, 2000},
		{6.5, 46000, 56, 10, 5, 300},
		{8, 180000, 68, 12, 5, 60},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_INT(cusum_run(0, cases[i].h, 1, 7), cases[i].at_0);
		CHECK_NEAR(cusum_run(.5, cases[i].h, 20000, 8), cases[i].at_5, 0.75);
		CHECK_NEAR(cusum_run(.9, cases[i].h, 20000, 9), cases[i].at_9, 1.5);
		/* The mean of r runs that are nearly exponential has a standard error of 1/sqrt(r). */
		CHECK_NEAR(cusum_run(.99, cases[i].h, cases[i].quiet_runs, 10), cases[i].quiet,
			   cases[i].quiet * (0.05 + 3 / sqrt(cases[i].quiet_runs)));
	}
	struct likelihood l = likelihood_make(9900, 9500);
	CHECK_NEAR(cusum_step(0, l, false), 0, 0);
	CHECK_NEAR(cusum_step(0, l, true), 1.609438, 5e-7);
	CHECK_NEAR(cusum_step(1, l, false), 0.958757, 5e-7);
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/* The arbiter: boundaries in integers, the order of the questions, the sentences. */
#include "judge/arbiter.h"

#include "unit.h"

#include <stdint.h>

#define SPLIT_WRONG (1u << 31) /* of these tests only: counts that contradict the weight */
#define READY	    (ARBITER_ENABLED | ARBITER_STARTED | ARBITER_WEIGHT_SET | ARBITER_WEIGHT_SEEN)

static struct arbiter_facts facts_of(uint64_t n, uint64_t k, uint32_t weight_bp, uint32_t flags)
{
	return (struct arbiter_facts){.flags = flags,
				      .weight_bp = weight_bp,
				      .samples = n,
				      .mismatches = k,
				      .build_samples = n,
				      .build_mismatches = k};
}

/* One letter for the action, to keep tables readable. */
static char act(const struct arbiter_policy *policy, uint64_t n, uint64_t k)
{
	struct arbiter_facts facts = facts_of(n, k, 3000, READY);
	return "HPRF"[arbiter_decide(policy, &facts).action];
}

TEST(literal_boundaries)
{
	struct arbiter_policy policy = arbiter_policy_default();
	static const struct {
		uint64_t n, k;
		char action;
	} cases[] = {
		{0, 0, 'H'},
		{1, 0, 'H'},
		{1, 1, 'H'},
		{5, 5, 'H'},
		{19, 19, 'H'},
		{19, 1, 'H'},
		{20, 0, 'H'},
		{20, 1, 'H'}, /* 95.0 % exactly is not below */
		{20, 2, 'R'},
		{20, 20, 'R'},
		{21, 1, 'H'},
		{21, 2, 'R'},
		{39, 2, 'R'},
		{40, 2, 'H'},
		{40, 3, 'R'},
		{99, 0, 'H'},
		{99, 4, 'H'},
		{99, 5, 'R'},
		{100, 0, 'H'}, /* more than 100 are needed */
		{100, 1, 'H'},
		{100, 5, 'H'},
		{100, 6, 'R'},
		{101, 0, 'P'},
		{101, 1, 'P'},
		{101, 2, 'H'},
		{101, 5, 'H'},
		{101, 6, 'R'},
		{102, 1, 'P'},
		{102, 2, 'H'},
		{102, 5, 'H'},
		{102, 6, 'R'},
		{199, 1, 'P'},
		{199, 2, 'H'},
		{200, 1, 'P'},
		{200, 2, 'H'}, /* 99 % exactly is not above */
		{201, 2, 'P'},
		{200, 10, 'H'},
		{200, 11, 'R'},
		{1000, 10, 'H'},
		{1000, 9, 'P'},
		{1001, 10, 'P'},
		{10000, 100, 'H'},
		{10000, 99, 'P'},
		{10000, 500, 'H'},
		{10000, 501, 'R'},
		{UINT64_MAX, 0, 'P'},
		{UINT64_MAX, UINT64_MAX, 'R'},
		{UINT64_MAX, UINT64_MAX / 100, 'P'}, /* (2^64 - 1) / 100 rounded down is less than 1 % */
		{UINT64_MAX, UINT64_MAX / 100 + 1, 'H'},
		{UINT64_MAX, UINT64_MAX / 20, 'H'}, /* divisible by 5, not by 20: rounded down */
		{UINT64_MAX, UINT64_MAX / 20 + 1, 'R'},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char got = act(&policy, cases[i].n, cases[i].k);
		CHECK_MSG(got == cases[i].action, "%llu samples, %llu mismatches: %c, not %c",
			  (unsigned long long)cases[i].n, (unsigned long long)cases[i].k, got,
			  cases[i].action);
	}
}

/* The rule as the contract writes it, on every n and k of a range. */
TEST(literal_is_the_contract)
{
	struct arbiter_policy policy = arbiter_policy_default();
	unsigned long wrong = 0;
	for (uint64_t n = 0; n <= 1500; n++) {
		for (uint64_t k = 0; k <= n; k++) {
			char want = 'H';
			if (100 * (n - k) < 95 * n && n >= 20)
				want = 'R';
			else if (n > 100 && 100 * (n - k) > 99 * n)
				want = 'P';
			wrong += act(&policy, n, k) != want;
		}
	}
	CHECK_INT(wrong, 0);
}

TEST(thresholds_in_basis_points)
{
	struct arbiter_policy policy = arbiter_policy_default();
	policy.promote_above_bp = 9995;
	policy.rollback_below_bp = 9990;
	policy.min_samples = 10;
	policy.rollback_min_samples = 1;
	CHECK_INT(act(&policy, 11, 0), 'P');
	CHECK_INT(act(&policy, 10, 0), 'H');
	CHECK_INT(act(&policy, 2000, 1), 'H');
	CHECK_INT(act(&policy, 2001, 1), 'P');
	CHECK_INT(act(&policy, 1000, 1), 'H');
	CHECK_INT(act(&policy, 999, 1), 'R');
	policy.promote_above_bp = 10000; /* nothing is above 100 % */
	CHECK_INT(act(&policy, 100000, 0), 'H');
	policy.promote_above_bp = 0;
	policy.rollback_below_bp = 0; /* nothing is below 0 % */
	CHECK_INT(act(&policy, 11, 11), 'H');
	CHECK_INT(act(&policy, 11, 10), 'P');
	CHECK(arbiter_is_above(3, 1, 6666));
	CHECK(!arbiter_is_above(3, 1, 6667));
	CHECK(arbiter_is_below(3, 1, 6667));
	CHECK(!arbiter_is_below(0, 0, 9500));
	CHECK(!arbiter_is_above(0, 0, 9900));
}

TEST(weights)
{
	struct arbiter_policy policy = arbiter_policy_default();
	static const struct {
		uint32_t step_bp, from, to;
	} cases[] = {
		{1000, 0, 1000},     {1000, 1000, 2000},     {1000, 9000, 10000}, {1000, 9500, 10000},
		{1000, 9999, 10000}, {2500, 0, 2500},	     {10000, 0, 10000},	  {10000, 5000, 10000},
		{1, 0, 1},	     {UINT32_MAX, 1, 10000}, {3000, 9000, 10000}, {333, 9666, 9999},
		{333, 9999, 10000},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		policy.step_bp = cases[i].step_bp;
		struct arbiter_facts facts = facts_of(101, 0, cases[i].from, READY);
		struct arbiter_decision d = arbiter_decide(&policy, &facts);
		CHECK_INT(d.action, ARBITER_PROMOTE);
		CHECK_INT(d.new_weight_bp, cases[i].to);
	}
}

/* Ten clean steps from nothing to complete, as the daemon would drive it. */
TEST(whole_migration)
{
	struct arbiter_policy policy = arbiter_policy_default();
	struct arbiter_facts facts = facts_of(101, 1, 0, READY);
	unsigned promotions = 0;
	struct arbiter_decision d;
	while ((d = arbiter_decide(&policy, &facts)).action == ARBITER_PROMOTE && promotions < 20) {
		promotions++;
		CHECK_INT(d.new_weight_bp, promotions * 1000);
		facts.weight_bp = d.new_weight_bp;
		facts.flags |= ARBITER_PROMOTED;
	}
	CHECK_INT(promotions, 10);
	CHECK_INT(d.action, ARBITER_FINISH);
	CHECK_INT(d.reason, ARBITER_REASON_REACHED);
	CHECK_INT(d.new_weight_bp, 10000);
}

TEST(order_of_questions)
{
	static const struct {
		const char *name;
		uint32_t flags;
		uint64_t n, k;
		uint32_t weight_bp;
		uint32_t age_ms;
		double watch;
		enum arbiter_action action;
		enum arbiter_reason reason;
	} cases[] = {
		{"off", READY & ~ARBITER_ENABLED, 101, 0, 0, 9, 0, ARBITER_HOLD, ARBITER_REASON_DISABLED},
		{"off beats bad", READY & ~ARBITER_ENABLED, 101, 50, 0, 9, 0, ARBITER_HOLD,
		 ARBITER_REASON_DISABLED},
		{"not started", READY & ~ARBITER_STARTED, 101, 0, 0, 9, 0, ARBITER_HOLD,
		 ARBITER_REASON_NOT_STARTED},
		{"paused", READY | ARBITER_PAUSED, 101, 0, 0, 9, 0, ARBITER_HOLD, ARBITER_REASON_PAUSED},
		{"latched", READY | ARBITER_ROLLED_BACK, 101, 0, 0, 9, 0, ARBITER_HOLD,
		 ARBITER_REASON_LATCHED},
		{"latched and paused", READY | ARBITER_ROLLED_BACK | ARBITER_PAUSED, 101, 0, 0, 9, 0,
		 ARBITER_HOLD, ARBITER_REASON_LATCHED},
		{"no traffic", READY, 0, 0, 5000, 9, 0, ARBITER_HOLD, ARBITER_REASON_FEW_SAMPLES},
		{"few", READY, 100, 0, 5000, 9, 0, ARBITER_HOLD, ARBITER_REASON_FEW_SAMPLES},
		{"floor", READY, 19, 19, 5000, 9, 0, ARBITER_HOLD, ARBITER_REASON_FLOOR},
		{"bad", READY, 101, 7, 5000, 9, 0, ARBITER_ROLLBACK, ARBITER_REASON_INCONSISTENT},
		{"bad while mirroring", READY, 101, 7, 0, 9, 0, ARBITER_ROLLBACK,
		 ARBITER_REASON_INCONSISTENT},
		{"bad at full weight", READY, 101, 7, 10000, 9, 0, ARBITER_ROLLBACK,
		 ARBITER_REASON_INCONSISTENT},
		{"bad, young step", READY, 101, 7, 5000, 0, 0, ARBITER_ROLLBACK, ARBITER_REASON_INCONSISTENT},
		{"bad, weight not set", ARBITER_ENABLED | ARBITER_STARTED, 101, 7, 5000, 9, 0,
		 ARBITER_ROLLBACK, ARBITER_REASON_INCONSISTENT},
		{"bad, split wrong", READY | SPLIT_WRONG, 101, 7, 5000, 9, 0, ARBITER_ROLLBACK,
		 ARBITER_REASON_INCONSISTENT},
		{"between", READY, 101, 2, 5000, 9, 0, ARBITER_HOLD, ARBITER_REASON_NOT_CONSISTENT_ENOUGH},
		{"young step", READY, 101, 0, 5000, 4, 0, ARBITER_HOLD, ARBITER_REASON_STEP_AGE},
		{"old enough step", READY, 101, 0, 5000, 5, 0, ARBITER_PROMOTE, ARBITER_REASON_CONSISTENT},
		{"weight not set", ARBITER_ENABLED | ARBITER_STARTED, 101, 0, 5000, 9, 0, ARBITER_HOLD,
		 ARBITER_REASON_NOT_SET},
		{"split wrong", READY | SPLIT_WRONG, 101, 0, 5000, 9, 0, ARBITER_HOLD,
		 ARBITER_REASON_SPLIT_WRONG},
		{"not seen does not matter on the way", READY & ~ARBITER_WEIGHT_SEEN, 101, 0, 5000, 9, 0,
		 ARBITER_PROMOTE, ARBITER_REASON_CONSISTENT},
		{"full, promoted, seen", READY | ARBITER_PROMOTED, 0, 0, 10000, 0, 0, ARBITER_FINISH,
		 ARBITER_REASON_REACHED},
		{"full, promoted, not seen", (READY | ARBITER_PROMOTED) & ~ARBITER_WEIGHT_SEEN, 500, 0, 10000,
		 9, 0, ARBITER_HOLD, ARBITER_REASON_NOT_SEEN},
		{"full, promoted, not set",
		 ARBITER_ENABLED | ARBITER_STARTED | ARBITER_PROMOTED | ARBITER_WEIGHT_SEEN, 0, 0, 10000, 9,
		 0, ARBITER_HOLD, ARBITER_REASON_NOT_SET},
		{"full by hand, no evidence", READY, 0, 0, 10000, 9, 0, ARBITER_HOLD,
		 ARBITER_REASON_FEW_SAMPLES},
		{"full by hand, evidence", READY, 101, 0, 10000, 9, 0, ARBITER_FINISH,
		 ARBITER_REASON_REACHED},
		{"complete", READY | ARBITER_COMPLETE, 101, 50, 10000, 9, 7.99, ARBITER_HOLD,
		 ARBITER_REASON_WATCHING},
		{"complete, alarm", READY | ARBITER_COMPLETE, 101, 0, 10000, 9, 8.0, ARBITER_ROLLBACK,
		 ARBITER_REASON_REGRESSION},
	};
	struct arbiter_policy policy = arbiter_policy_default();
	policy.min_step_ms = 5;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arbiter_facts facts =
			facts_of(cases[i].n, cases[i].k, cases[i].weight_bp, cases[i].flags);
		facts.step_age_ms = cases[i].age_ms;
		facts.watch = cases[i].watch;
		facts.split_legacy = cases[i].flags & SPLIT_WRONG ? 900 : 505;
		facts.split_modern = cases[i].flags & SPLIT_WRONG ? 100 : 495;
		struct arbiter_decision d = arbiter_decide(&policy, &facts);
		CHECK_MSG(d.action == cases[i].action && d.reason == cases[i].reason, "%s: %s, %s",
			  cases[i].name, arbiter_action_word(d.action), arbiter_reason_word(d.reason));
		if (d.action == ARBITER_ROLLBACK)
			CHECK_INT(d.new_weight_bp, 0);
		if (d.action == ARBITER_HOLD || d.action == ARBITER_FINISH)
			CHECK_INT(d.new_weight_bp, cases[i].weight_bp);
	}
}

TEST(bounded)
{
	struct arbiter_policy policy = arbiter_policy_default();
	policy.rule = ARBITER_RULE_BOUNDED;
	policy.rollback_min_samples = 100;
	policy.half_gate_bp = policy.full_gate_bp = 0;
	CHECK_INT(act(&policy, 111, 0), 'H');
	CHECK_INT(act(&policy, 112, 0), 'P'); /* a clean run promotes at 112 */
	CHECK_INT(act(&policy, 150, 1), 'H');
	CHECK_INT(act(&policy, 151, 1), 'H'); /* one mismatch costs 39.02 matches and its own place */
	CHECK_INT(act(&policy, 152, 1), 'P');
	CHECK_INT(act(&policy, 4, 4), 'H');
	CHECK_INT(act(&policy, 5, 5), 'R'); /* five straight mismatches are enough */
	CHECK_INT(act(&policy, 99, 5), 'H');
	CHECK_INT(act(&policy, 100, 6), 'R');
	/* It only ever delays: wherever it acts, the literal thresholds are crossed. */
	struct arbiter_policy literal = arbiter_policy_default();
	literal.rollback_min_samples = 0;
	unsigned long wrong = 0;
	for (uint64_t n = 0; n <= 1000; n++) {
		for (uint64_t k = 0; k <= n && k < 120; k++) {
			char got = act(&policy, n, k), plain = act(&literal, n, k);
			wrong += got != 'H' && got != plain;
		}
	}
	CHECK_INT(wrong, 0);
}

/* When the served counts may say something, and what. */
TEST(split_check)
{
	static const struct {
		uint32_t weight_bp, min;
		uint64_t legacy, modern;
		double alarm;
		char action;
	} rows[] = {
		{3000, 200, 700, 300, 25, 'P'},
		{3000, 200, 900, 100, 25, 'H'},
		{3000, 200, 199, 0, 25, 'P'}, /* too few to tell */
		{3000, 200, 200, 0, 25, 'H'},
		{3000, 50, 60, 0, 25, 'H'},
		{3000, 50, 49, 0, 25, 'P'},
		{3000, 0, 0, 0, 25, 'P'},     /* nothing counted yet */
		{100, 200, 400, 99, 25, 'P'}, /* fewer than five expected */
		{100, 200, 400, 100, 25, 'H'},
		{9900, 200, 99, 400, 25, 'P'},
		{9900, 200, 100, 400, 25, 'H'},
		{3000, 200, 900, 100, 0, 'P'}, /* off */
		{3000, 200, 900, 100, 500, 'P'},
		{0, 200, 100, 900, 25, 'P'}, /* absolute: other checks see to it */
		{5000, 200, 550, 450, 25, 'P'},
		{5000, 200, 579, 421, 25, 'P'},
		{5000, 200, 580, 420, 25, 'H'}, /* 25.6 */
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arbiter_policy policy = arbiter_policy_default();
		policy.split_min = rows[i].min;
		policy.split_alarm = rows[i].alarm;
		struct arbiter_facts facts = facts_of(101, 0, rows[i].weight_bp, READY);
		facts.split_legacy = rows[i].legacy;
		facts.split_modern = rows[i].modern;
		struct arbiter_decision d = arbiter_decide(&policy, &facts);
		CHECK_MSG("HPRF"[d.action] == rows[i].action, "row %zu: %s, %s, chi-square %.1f", i,
			  arbiter_action_word(d.action), arbiter_reason_word(d.reason), d.split);
	}
}

TEST(bounded_gates)
{
	struct arbiter_policy policy = arbiter_policy_default();
	policy.rule = ARBITER_RULE_BOUNDED;
	static const struct {
		uint32_t weight_bp;
		uint64_t build_samples;
		enum arbiter_reason reason;
	} cases[] = {
		{0, 112, ARBITER_REASON_CONSISTENT},	 {4000, 112, ARBITER_REASON_CONSISTENT}, /* to 50 % */
		{5000, 132, ARBITER_REASON_LOWER_BOUND}, {5000, 133, ARBITER_REASON_CONSISTENT},
		{8000, 133, ARBITER_REASON_CONSISTENT},	 {9000, 267, ARBITER_REASON_LOWER_BOUND},
		{9000, 268, ARBITER_REASON_CONSISTENT},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arbiter_facts facts = facts_of(112, 0, cases[i].weight_bp, READY);
		facts.build_samples = cases[i].build_samples;
		CHECK_INT(arbiter_decide(&policy, &facts).reason, cases[i].reason);
		/* The literal rule knows no gates. */
		policy.rule = ARBITER_RULE_LITERAL;
		CHECK_INT(arbiter_decide(&policy, &facts).reason, ARBITER_REASON_CONSISTENT);
		policy.rule = ARBITER_RULE_BOUNDED;
	}
}

TEST(sentences)
{
	static const struct {
		enum arbiter_rule rule;
		uint32_t promote_bp, rollback_bp;
		uint64_t n, k;
		uint32_t weight_bp, flags;
		const char *sentence;
	} cases[] = {
		{0, 9900, 9500, 101, 7, 3000, READY, "consistency 93.1% < 95% (94 of 101)"},
		{0, 9900, 9500, 12, 0, 3000, READY, "12 of 100 samples seen"},
		{0, 9900, 9500, 0, 0, 0, READY, "0 of 100 samples seen"},
		{0, 9900, 9500, 100, 0, 0, READY, "100 of 100 samples seen, one more is needed"},
		{0, 9900, 9500, 110, 3, 3000, READY, "consistency 97.3% is not > 99% (107 of 110)"},
		{0, 9900, 9500, 101, 0, 3000, READY, "consistency 100.0% > 99% (101 of 101)"},
		{0, 9900, 9500, 101, 1, 3000, READY, "consistency 99.01% > 99% (100 of 101)"},
		{0, 9900, 9500, 200, 2, 3000, READY, "consistency 99.0% is not > 99% (198 of 200)"},
		{0, 9900, 9500, 1999, 100, 3000, READY, "consistency 94.997% < 95% (1899 of 1999)"},
		{0, 9900, 9500, 19, 2, 3000, READY,
		 "consistency 89.5% < 95% (17 of 19), but only 19 of the 20 samples a rollback needs were "
		 "seen"},
		{0, 9950, 9500, 101, 1, 3000, READY, "consistency 99.0% is not > 99.5% (100 of 101)"},
		{0, 9955, 9500, 101, 1, 3000, READY, "consistency 99.0% is not > 99.55% (100 of 101)"},
		{0, 9900, 9500, 50, 50, 3000, READY, "consistency 0.0% < 95% (0 of 50)"},
		{1, 9900, 9500, 101, 0, 3000, READY,
		 "consistency 100.0% > 99% (101 of 101), but the likelihood ratio 4.17 has not reached 4.61"},
		{1, 9900, 9500, 112, 0, 6000, READY,
		 "lower bound 97.64% of this build < 98% (112 of 112 samples)"},
		{0, 9900, 9500, 1, 0, 3000, 0, "the arbiter is off for this route"},
		{0, 9900, 9500, 1, 0, 3000, ARBITER_ENABLED, "not started"},
		{0, 9900, 9500, 1, 0, 3000, READY | ARBITER_PAUSED, "paused"},
		{0, 9900, 9500, 1, 0, 0, READY | ARBITER_ROLLED_BACK, "rolled back, waits for a retry"},
		{0, 9900, 9500, 101, 0, 3000, ARBITER_ENABLED | ARBITER_STARTED,
		 "a weight of 30% is wanted, but was not read back from the data path"},
		{0, 9900, 9500, 101, 0, 3550, READY | SPLIT_WRONG,
		 "the served counts contradict the weight of 35.5%: modern has 100 of 1000 requests "
		 "(chi-square 284.0 > 25)"},
		{0, 9900, 9500, 101, 0, 10000, READY & ~ARBITER_WEIGHT_SEEN,
		 "100% is set, but not seen yet in the counted requests"},
		{0, 9900, 9500, 101, 0, 10000, READY, "100% is wanted, set and seen"},
		{0, 9900, 9500, 101, 0, 10000, READY | ARBITER_COMPLETE, "complete, watched: 0.00 of 8.00"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arbiter_policy policy = arbiter_policy_default();
		policy.rule = cases[i].rule;
		policy.promote_above_bp = cases[i].promote_bp;
		policy.rollback_below_bp = cases[i].rollback_bp;
		struct arbiter_facts facts =
			facts_of(cases[i].n, cases[i].k, cases[i].weight_bp, cases[i].flags);
		if (cases[i].flags & SPLIT_WRONG) {
			facts.split_legacy = 900;
			facts.split_modern = 100;
		}
		struct arbiter_decision d = arbiter_decide(&policy, &facts);
		struct buf out = {0};
		arbiter_explain(&policy, &facts, &d, &out);
		CHECK_STR(buf_cstr(&out), cases[i].sentence);
		buf_fini(&out);
	}
	struct arbiter_policy policy = arbiter_policy_default();
	policy.min_step_ms = 5000;
	struct arbiter_facts facts = facts_of(101, 0, 1000, READY);
	facts.step_age_ms = 1200;
	struct arbiter_decision d = arbiter_decide(&policy, &facts);
	struct buf out = {0};
	arbiter_explain(&policy, &facts, &d, &out);
	CHECK_STR(buf_cstr(&out), "1200 of 5000 ms of this step have passed");
	buf_fini(&out);
}

/* Whatever the counts, the percentage in the sentence stands on the right side of its limit. */
TEST(sentences_never_contradict_themselves)
{
	struct arbiter_policy policy = arbiter_policy_default();
	unsigned long wrong = 0, seen = 0;
	for (uint64_t n = 20; n < 3000; n += 7) {
		for (uint64_t k = 0; k < n / 15 + 2 && k <= n; k++) {
			struct arbiter_facts facts = facts_of(n, k, 3000, READY);
			struct arbiter_decision d = arbiter_decide(&policy, &facts);
			struct buf out = {0};
			double percent;
			arbiter_explain(&policy, &facts, &d, &out);
			if (sscanf(buf_cstr(&out), "consistency %lf%%", &percent) == 1) {
				seen++;
				wrong += d.reason == ARBITER_REASON_INCONSISTENT && !(percent < 95);
				wrong += d.reason == ARBITER_REASON_CONSISTENT && !(percent > 99);
				wrong += d.reason == ARBITER_REASON_NOT_CONSISTENT_ENOUGH && percent > 99;
			}
			buf_fini(&out);
		}
	}
	CHECK(seen > 10000);
	CHECK_INT(wrong, 0);
}

TEST(figures)
{
	struct arbiter_policy policy = arbiter_policy_default();
	struct arbiter_facts facts = facts_of(101, 7, 3000, READY);
	struct arbiter_decision d = arbiter_decide(&policy, &facts);
	CHECK_INT(d.consistency_bp, 9306);
	facts = facts_of(0, 0, 3000, READY);
	d = arbiter_decide(&policy, &facts);
	CHECK_INT(d.consistency_bp, 10000);
	CHECK(d.lower_bound < 1e-12 && d.llr < 1e-12);
	CHECK_STR(arbiter_action_word(ARBITER_FINISH), "finish");
	CHECK_STR(arbiter_action_word((enum arbiter_action)99), "?");
	CHECK_STR(arbiter_reason_word(ARBITER_REASON_INCONSISTENT), "inconsistent");
}

UNIT_MAIN

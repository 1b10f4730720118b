/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arbiter: see arbiter.h.
 *
 * arbiter_decide reads like the contract: the states in which nothing is decided, then rollback, then what
 * promotion waits for, in the order in which a person would want to hear it. The hard part is the sentence:
 * "consistency 95.0% < 95%" would be nonsense, so a percentage gets as many decimals as it needs to stand on
 * the right side of its limit.
 */
#include "judge/arbiter.h"

#include "judge/statistics.h"

#include <inttypes.h>
#include <math.h>

__extension__ typedef unsigned __int128 wide;

#define ONE ARBITER_WEIGHT_ONE

struct arbiter_policy arbiter_policy_default(void)
{
	return (struct arbiter_policy){
		.rule = ARBITER_RULE_LITERAL,
		.promote_above_bp = 9900,
		.rollback_below_bp = 9500,
		.min_samples = 100,
		.rollback_min_samples = 20,
		.step_bp = 1000,
		.synthetic_max_bp = ONE,
		.min_shapes = 1,
		.max_shape_bp = ONE,
		.min_success = 1,
		.split_min = 200,
		.split_alarm = 25,
		.alpha = 0.01,
		.beta = 0.001,
		.half_gate_bp = 9800,
		.full_gate_bp = 9900,
		.watch_alarm = 8,
	};
}

bool arbiter_is_above(uint64_t n, uint64_t k, uint32_t threshold_bp)
{
	return (wide)ONE * (n - k) > (wide)threshold_bp * n;
}

bool arbiter_is_below(uint64_t n, uint64_t k, uint32_t threshold_bp)
{
	return (wide)ONE * (n - k) < (wide)threshold_bp * n;
}

static uint32_t next_weight(const struct arbiter_policy *policy, uint32_t weight_bp)
{
	if (weight_bp >= ONE || policy->step_bp >= ONE - weight_bp)
		return ONE;
	return weight_bp + policy->step_bp;
}

/* ln(1/p); a chance that makes no sense means the default. */
static double bound_of(double p, double otherwise)
{
	return -log(p > 0 && p < 1 ? p : otherwise);
}

/* The Wilson bound that a weight needs, in basis points; 0 = none. */
static uint32_t gate_of(const struct arbiter_policy *policy, uint32_t weight_bp)
{
	if (policy->rule != ARBITER_RULE_BOUNDED || weight_bp <= ONE / 2)
		return 0;
	return weight_bp >= ONE ? policy->full_gate_bp : policy->half_gate_bp;
}

double arbiter_likelihood_bound(const struct arbiter_policy *policy)
{
	return bound_of(policy->alpha, 0.01);
}

/* Chi-square of the served counts; 0 while no verdict is possible: too few, or at a weight that is absolute.
 * The usual condition of the test: at least five expected on each side. */
static double split_of(const struct arbiter_policy *policy, const struct arbiter_facts *facts)
{
	uint64_t n = facts->split_legacy + facts->split_modern, w = facts->weight_bp;
	if (w == 0 || w >= ONE || n < policy->split_min || n == 0 || (wide)n * w < 5 * ONE ||
	    (wide)n * (ONE - w) < 5 * ONE)
		return 0;
	return split_chi_square(facts->split_legacy, facts->split_modern, facts->weight_bp);
}

static void decide(struct arbiter_decision *d, enum arbiter_action action, enum arbiter_reason reason)
{
	d->action = action;
	d->reason = reason;
}

/* The rollback rule; true when it has spoken (rolled back, or holds because of the floor). */
static bool decide_rollback(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
			    struct arbiter_decision *d)
{
	if (!arbiter_is_below(facts->samples, facts->mismatches, policy->rollback_below_bp))
		return false;
	bool enough = facts->samples >= policy->rollback_min_samples ||
		      (policy->rule == ARBITER_RULE_BOUNDED && -d->llr >= bound_of(policy->beta, 0.001));
	if (!enough) {
		decide(d, ARBITER_HOLD, ARBITER_REASON_FLOOR);
		return true;
	}
	decide(d, ARBITER_ROLLBACK, ARBITER_REASON_INCONSISTENT);
	d->new_weight_bp = 0;
	return true;
}

/* The rule on some samples: those of the step, and of the build for the gates. True when it would promote;
 * otherwise *reason says what is missing. */
static bool samples_promote(const struct arbiter_policy *policy, uint64_t n, uint64_t k,
			    double build_lower_bound, uint32_t gate_bp, enum arbiter_reason *reason)
{
	if (n <= policy->min_samples) {
		*reason = ARBITER_REASON_FEW_SAMPLES;
		return false;
	}
	if (!arbiter_is_above(n, k, policy->promote_above_bp)) {
		*reason = ARBITER_REASON_NOT_CONSISTENT_ENOUGH;
		return false;
	}
	struct likelihood l = likelihood_make(policy->promote_above_bp, policy->rollback_below_bp);
	if (policy->rule == ARBITER_RULE_BOUNDED &&
	    likelihood_ratio(l, n, k) < bound_of(policy->alpha, 0.01)) {
		*reason = ARBITER_REASON_LIKELIHOOD;
		return false;
	}
	if (gate_bp && build_lower_bound * ONE < gate_bp) {
		*reason = ARBITER_REASON_LOWER_BOUND;
		return false;
	}
	return true;
}

/* The same without what synthetic requests brought. */
static bool real_samples_promote(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
				 uint32_t gate_bp)
{
	enum arbiter_reason reason;
	double lower =
		wilson_lower(facts->build_samples - facts->build_synthetic,
			     facts->build_mismatches - facts->build_synthetic_mismatches, STATISTICS_Z_95);
	return samples_promote(policy, facts->samples - facts->synthetic,
			       facts->mismatches - facts->synthetic_mismatches, lower, gate_bp, &reason);
}

/* What the policy asks of the samples besides their number and consistency; CONSISTENT when they have it. */
static enum arbiter_reason missing_besides(const struct arbiter_policy *policy,
					   const struct arbiter_facts *facts, uint32_t target_bp,
					   uint32_t gate_bp)
{
	if (target_bp > policy->synthetic_max_bp && !real_samples_promote(policy, facts, gate_bp))
		return ARBITER_REASON_SYNTHETIC;
	if (policy->min_shapes > 1 && facts->shapes < policy->min_shapes)
		return ARBITER_REASON_FEW_SHAPES;
	if (policy->max_shape_bp < ONE &&
	    (wide)ONE * facts->top_shape > (wide)policy->max_shape_bp * facts->samples)
		return ARBITER_REASON_SHAPE_SHARE;
	if (facts->samples - facts->errors < policy->min_success)
		return ARBITER_REASON_NO_SUCCESS;
	return ARBITER_REASON_CONSISTENT;
}

/* Is the evidence of this step enough to go on? Sets the reason when not. */
static bool evidence_promotes(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
			      uint32_t target_bp, struct arbiter_decision *d)
{
	enum arbiter_reason reason;
	if (samples_promote(policy, facts->samples, facts->mismatches, d->build_lower_bound, d->gate_bp,
			    &reason)) {
		reason = missing_besides(policy, facts, target_bp, d->gate_bp);
		if (reason == ARBITER_REASON_CONSISTENT)
			return true;
	}
	decide(d, ARBITER_HOLD, reason);
	return false;
}

static void decide_promotion(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
			     struct arbiter_decision *d)
{
	uint32_t target_bp = next_weight(policy, facts->weight_bp);
	bool at_top = facts->weight_bp >= ONE;
	if (!(at_top && (facts->flags & ARBITER_PROMOTED)) && !evidence_promotes(policy, facts, target_bp, d))
		return;
	if (!at_top && facts->step_age_ms < policy->min_step_ms)
		decide(d, ARBITER_HOLD, ARBITER_REASON_STEP_AGE);
	else if (!(facts->flags & ARBITER_WEIGHT_SET))
		decide(d, ARBITER_HOLD, ARBITER_REASON_NOT_SET);
	else if (policy->split_alarm > 0 && d->split > policy->split_alarm)
		decide(d, ARBITER_HOLD, ARBITER_REASON_SPLIT_WRONG);
	else if (at_top && !(facts->flags & ARBITER_WEIGHT_SEEN))
		decide(d, ARBITER_HOLD, ARBITER_REASON_NOT_SEEN);
	else if (at_top)
		decide(d, ARBITER_FINISH, ARBITER_REASON_REACHED);
	else {
		decide(d, ARBITER_PROMOTE, ARBITER_REASON_CONSISTENT);
		d->new_weight_bp = target_bp;
	}
}

struct arbiter_decision arbiter_decide(const struct arbiter_policy *policy, const struct arbiter_facts *facts)
{
	uint64_t n = facts->samples, k = facts->mismatches;
	struct likelihood l = likelihood_make(policy->promote_above_bp, policy->rollback_below_bp);
	struct arbiter_decision d = {
		.new_weight_bp = facts->weight_bp,
		.consistency_bp = n ? (uint32_t)((wide)ONE * (n - k) / n) : ONE,
		.llr = likelihood_ratio(l, n, k),
		.lower_bound = wilson_lower(n, k, STATISTICS_Z_95),
		.build_lower_bound =
			wilson_lower(facts->build_samples, facts->build_mismatches, STATISTICS_Z_95),
		.split = split_of(policy, facts),
		.gate_bp = gate_of(policy, next_weight(policy, facts->weight_bp)),
	};
	if (facts->flags & ARBITER_ROLLED_BACK)
		decide(&d, ARBITER_HOLD, ARBITER_REASON_LATCHED);
	else if (!(facts->flags & ARBITER_ENABLED))
		decide(&d, ARBITER_HOLD, ARBITER_REASON_DISABLED);
	else if (!(facts->flags & ARBITER_STARTED))
		decide(&d, ARBITER_HOLD, ARBITER_REASON_NOT_STARTED);
	else if (facts->flags & ARBITER_PAUSED)
		decide(&d, ARBITER_HOLD, ARBITER_REASON_PAUSED);
	else if (facts->flags & ARBITER_COMPLETE) {
		if (policy->watch_alarm > 0 && facts->watch >= policy->watch_alarm) {
			decide(&d, ARBITER_ROLLBACK, ARBITER_REASON_REGRESSION);
			d.new_weight_bp = 0;
		} else {
			decide(&d, ARBITER_HOLD, ARBITER_REASON_WATCHING);
		}
	} else if (!decide_rollback(policy, facts, &d))
		decide_promotion(policy, facts, &d);
	return d;
}

/* A threshold as people write it: "99%", "99.5%", "99.55%". */
static void append_threshold(struct buf *out, uint32_t bp)
{
	if (bp % 100 == 0)
		buf_printf(out, "%" PRIu32 "%%", bp / 100);
	else if (bp % 10 == 0)
		buf_printf(out, "%" PRIu32 ".%" PRIu32 "%%", bp / 100, bp % 100 / 10);
	else
		buf_printf(out, "%" PRIu32 ".%02" PRIu32 "%%", bp / 100, bp % 100);
}

/* (n - k) / n in per cent, rounded to the fewest decimals (one to six) that keep its relation to limit_bp. */
static void append_percent(struct buf *out, uint64_t n, uint64_t k, uint32_t limit_bp)
{
	wide scale = 10, value = 0;
	unsigned decimals = 1;
	bool below = arbiter_is_below(n, k, limit_bp), above = arbiter_is_above(n, k, limit_bp);
	for (;; decimals++, scale *= 10) {
		value = ((wide)200 * scale * (n - k) + n) / ((wide)2 * n);
		wide limit = (wide)limit_bp * scale; /* in the same unit times 100 */
		if (decimals == 6 || ((value * 100 < limit) == below && (value * 100 > limit) == above))
			break;
	}
	buf_printf(out, "%" PRIu64 ".%0*" PRIu64 "%%", (uint64_t)(value / scale), (int)decimals,
		   (uint64_t)(value % scale));
}

/* "consistency 93.1% < 95% (94 of 101)" */
static void append_consistency(struct buf *out, const struct arbiter_facts *facts, const char *relation,
			       uint32_t limit_bp)
{
	buf_append_str(out, "consistency ");
	append_percent(out, facts->samples, facts->mismatches, limit_bp);
	buf_printf(out, " %s ", relation);
	append_threshold(out, limit_bp);
	buf_printf(out, " (%" PRIu64 " of %" PRIu64 ")", facts->samples - facts->mismatches, facts->samples);
}

static void append_few_samples(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
			       struct buf *out)
{
	buf_printf(out, "%" PRIu64 " of %" PRIu32 " samples seen", facts->samples, policy->min_samples);
	if (facts->samples == policy->min_samples)
		buf_append_str(out, ", one more is needed");
}

/* Reasons that are about the samples. */
static void explain_evidence(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
			     const struct arbiter_decision *decision, struct buf *out)
{
	switch (decision->reason) {
	case ARBITER_REASON_INCONSISTENT:
		append_consistency(out, facts, "<", policy->rollback_below_bp);
		break;
	case ARBITER_REASON_FLOOR:
		append_consistency(out, facts, "<", policy->rollback_below_bp);
		buf_printf(out,
			   ", but only %" PRIu64 " of the %" PRIu32 " samples a rollback needs were seen",
			   facts->samples, policy->rollback_min_samples);
		break;
	case ARBITER_REASON_NOT_CONSISTENT_ENOUGH:
		append_consistency(out, facts, "is not >", policy->promote_above_bp);
		break;
	case ARBITER_REASON_LIKELIHOOD:
		append_consistency(out, facts, ">", policy->promote_above_bp);
		buf_printf(out, ", but the likelihood ratio %.2f has not reached %.2f", decision->llr,
			   bound_of(policy->alpha, 0.01));
		break;
	case ARBITER_REASON_LOWER_BOUND:
		buf_printf(out, "lower bound %.2f%% of this build < ", decision->build_lower_bound * 100);
		append_threshold(out, decision->gate_bp);
		buf_printf(out, " (%" PRIu64 " of %" PRIu64 " samples)",
			   facts->build_samples - facts->build_mismatches, facts->build_samples);
		break;
	case ARBITER_REASON_SYNTHETIC:
		buf_append_str(out, "a weight above ");
		append_threshold(out, policy->synthetic_max_bp);
		buf_printf(out,
			   " needs enough evidence from real traffic: %" PRIu64 " of %" PRIu64
			   " samples are real, %" PRIu64 " of these mismatch",
			   facts->samples - facts->synthetic, facts->samples,
			   facts->mismatches - facts->synthetic_mismatches);
		break;
	case ARBITER_REASON_FEW_SHAPES:
		buf_printf(out, "%" PRIu64 " of %" PRIu32 " distinct request shapes seen", facts->shapes,
			   policy->min_shapes);
		break;
	case ARBITER_REASON_SHAPE_SHARE:
		buf_printf(out, "one request shape has %" PRIu64 " of %" PRIu64 " samples, more than ",
			   facts->top_shape, facts->samples);
		append_threshold(out, policy->max_shape_bp);
		break;
	case ARBITER_REASON_NO_SUCCESS:
		buf_printf(out,
			   "%" PRIu64 " of %" PRIu32 " successful samples seen: %" PRIu64 " of %" PRIu64
			   " were answered with an error (status 400 and above)",
			   facts->samples - facts->errors, policy->min_success, facts->errors,
			   facts->samples);
		break;
	case ARBITER_REASON_CONSISTENT:
		append_consistency(out, facts, ">", policy->promote_above_bp);
		break;
	default:
		append_few_samples(policy, facts, out);
	}
}

void arbiter_explain(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
		     const struct arbiter_decision *decision, struct buf *out)
{
	switch (decision->reason) {
	case ARBITER_REASON_DISABLED:
		buf_append_str(out, "the arbiter is off for this route");
		break;
	case ARBITER_REASON_NOT_STARTED:
		buf_append_str(out, "not started");
		break;
	case ARBITER_REASON_PAUSED:
		buf_append_str(out, "paused");
		break;
	case ARBITER_REASON_LATCHED:
		buf_append_str(out, "rolled back, waits for a retry");
		break;
	case ARBITER_REASON_WATCHING:
		buf_printf(out, "complete, watched: %.2f of %.2f", facts->watch, policy->watch_alarm);
		break;
	case ARBITER_REASON_REGRESSION:
		buf_printf(out, "regression after completion: %.2f >= %.2f", facts->watch,
			   policy->watch_alarm);
		break;
	case ARBITER_REASON_STEP_AGE:
		buf_printf(out, "%" PRIu64 " of %" PRIu32 " ms of this step have passed", facts->step_age_ms,
			   policy->min_step_ms);
		break;
	case ARBITER_REASON_NOT_SET:
		buf_printf(out, "a weight of %.4g%% is wanted, but was not read back from the data path",
			   facts->weight_bp / 100.0);
		break;
	case ARBITER_REASON_SPLIT_WRONG:
		buf_printf(out,
			   "the served counts contradict the weight of %.4g%%: modern has %" PRIu64
			   " of %" PRIu64 " %s (chi-square %.1f > %.4g)",
			   facts->weight_bp / 100.0, facts->split_modern,
			   facts->split_legacy + facts->split_modern,
			   policy->split_by_key ? "keys" : "requests", decision->split, policy->split_alarm);
		break;
	case ARBITER_REASON_NOT_SEEN:
		buf_append_str(out, "100% is set, but not seen yet in the counted requests");
		break;
	case ARBITER_REASON_REACHED:
		buf_append_str(out, "100% is wanted, set and seen");
		break;
	default:
		explain_evidence(policy, facts, decision, out);
	}
}

const char *arbiter_action_word(enum arbiter_action action)
{
	static const char *const words[] = {"hold", "promote", "rollback", "finish"};
	return (unsigned)action < 4 ? words[action] : "?";
}

const char *arbiter_reason_word(enum arbiter_reason reason)
{
	static const char *const words[] = {
#define X(name, word, help) word,
		ARBITER_REASONS(X)
#undef X
	};
	return (unsigned)reason < ARBITER_REASON_COUNT ? words[reason] : "?";
}

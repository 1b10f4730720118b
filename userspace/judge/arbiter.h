/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arbiter: from facts to a decision, as a pure function. No clock, no state, no I/O: the same facts give the
 * same decision, today and when the ledger is replayed.
 *
 * literal, over the n comparable samples of this step, k of them mismatches:
 *	rollback  iff  consistency < rollback_below  and  n >= rollback_min_samples
 *	promote   iff  n > min_samples  and  consistency > promote_above       weight + step, at most 10000
 *	hold      otherwise, with the reason
 * in integers: (n - k) * 10000 against threshold_bp * n, in 128 bits. No floating point decides here.
 *
 * bounded: promotes only where literal does, and only when the log likelihood ratio of promote_above against
 * rollback_below has reached ln(1/alpha); a weight above 50 % and one of 100 % also need a Wilson lower bound
 * over all samples of this build. Rolls back only where literal's threshold is crossed, and then either at
 * the floor or as soon as -LLR reaches ln(1/beta): five straight mismatches are enough.
 *
 * Both rules may be told to ask for more before a promotion, and never for less: evidence from real traffic
 * for a high weight (synthetic_max_bp), several request shapes, no shape with nearly all samples. The
 * defaults ask for one thing only: a sample that is a success (min_success). Endpoints whose every answer is
 *the same 404 agree perfectly, and nothing of them was seen to work. Served counts that contradict the weight
 * (chi-square) freeze promotion under both rules.
 *
 * The order of the questions: is a rollback latched, is it off or paused; then rollback, which waits for
 * nothing else; then everything that promotion has to wait for.
 *
 * Complete: a weight of 10000 reached by a promotion (or confirmed by samples that would promote, when a
 * person set it) and seen in the counted requests. Then only the CUSUM watch can roll back.
 */
#ifndef PHOENIX_JUDGE_ARBITER_H
#define PHOENIX_JUDGE_ARBITER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define ARBITER_WEIGHT_ONE 10000

enum arbiter_rule { ARBITER_RULE_LITERAL, ARBITER_RULE_BOUNDED };

struct arbiter_policy {
	enum arbiter_rule rule;
	uint32_t promote_above_bp;     /* strictly above */
	uint32_t rollback_below_bp;    /* strictly below */
	uint32_t min_samples;	       /* strictly more than this many */
	uint32_t rollback_min_samples; /* at least this many */
	uint32_t step_bp;
	uint32_t min_step_ms; /* a step lasts at least this long */
	/* Asked for by promotion besides; both rules. */
	uint32_t synthetic_max_bp; /* a higher weight needs the evidence from real traffic alone */
	uint32_t min_shapes;	   /* distinct request shapes in this step; 0 and 1 = no demand */
	uint32_t max_shape_bp;	   /* share of this step's samples that one shape may have; 10000 = all */
	uint32_t min_success;	   /* samples of this step that are no errors; 0 = no demand */
	uint32_t split_min;	   /* requests (or keys) before the split is judged at all */
	uint32_t split_by_key;	   /* the split's counts are of distinct keys, not of requests */
	double split_alarm;	   /* chi-square of the split above which promotion freezes; 0 = never */
	/* bounded only */
	double alpha;	       /* chance to pass a step at rollback_below; 0.01 */
	double beta;	       /* chance of an early rollback at promote_above; 0.001 */
	uint32_t half_gate_bp; /* Wilson bound (95 %) needed for a weight above 50 %; 9800, 0 = no gate */
	uint32_t full_gate_bp; /* the same for 100 %; 9900, 0 = no gate */
	double watch_alarm; /* CUSUM height that rolls back after completion; 8, 0 = no watch; both rules */
};

/* The contract's defaults: literal, 9900, 9500, 100, 20, 1000, and the figures above. */
struct arbiter_policy arbiter_policy_default(void);

/* Facts that are either so or not: X(NAME, bit, "help") */
#define ARBITER_FLAGS(X)                                                                                     \
	X(ENABLED, 0, "the arbiter may decide for this route")                                               \
	X(STARTED, 1, "the migration was started")                                                           \
	X(PAUSED, 2, "somebody paused it")                                                                   \
	X(ROLLED_BACK, 3, "a rollback is latched")                                                           \
	X(COMPLETE, 4, "the migration was complete before")                                                  \
	X(WEIGHT_SET, 5, "the wanted weight was read back from the data path")                               \
	X(WEIGHT_SEEN, 6, "the counted requests of this step agree with the weight")                         \
	X(PROMOTED, 7, "the weight was reached by a promotion")

enum arbiter_flag {
#define X(name, bit, help) ARBITER_##name = 1 << (bit),
	ARBITER_FLAGS(X)
#undef X
};

struct arbiter_facts {
	uint32_t flags;		/* enum arbiter_flag */
	uint32_t weight_bp;	/* wanted now */
	uint64_t samples;	/* comparable ones of this step: n */
	uint64_t mismatches;	/* of these: k <= n */
	uint64_t errors;	/* of these: mismatches, and what both sides answered with the same error */
	uint64_t build_samples; /* since this build was deployed; for the Wilson gates */
	uint64_t build_mismatches;
	/* What synthetic requests have in the four figures above. */
	uint64_t synthetic, synthetic_mismatches;
	uint64_t build_synthetic, build_synthetic_mismatches;
	uint64_t shapes;		     /* distinct request shapes among this step's samples */
	uint64_t top_shape;		     /* samples of the most frequent one */
	uint64_t split_legacy, split_modern; /* served in this step: requests, or keys (split_by_key) */
	uint64_t step_age_ms;
	double watch; /* CUSUM since completion */
};

enum arbiter_action {
	ARBITER_HOLD,
	ARBITER_PROMOTE,
	ARBITER_ROLLBACK,
	ARBITER_FINISH, /* the migration is complete now */
};

/* Why: X(NAME, "word", "help"); the sentence is made by arbiter_explain. */
#define ARBITER_REASONS(X)                                                                                   \
	X(DISABLED, "disabled", "the arbiter is off for this route")                                         \
	X(NOT_STARTED, "not_started", "the migration was not started")                                       \
	X(PAUSED, "paused", "somebody paused it")                                                            \
	X(LATCHED, "latched", "rolled back, waits for a retry")                                              \
	X(WATCHING, "watching", "complete, watched for regressions")                                         \
	X(REGRESSION, "regression", "mismatches piled up after completion")                                  \
	X(INCONSISTENT, "inconsistent", "consistency below the rollback threshold")                          \
	X(FEW_SAMPLES, "few_samples", "not enough comparable samples yet")                                   \
	X(FLOOR, "floor", "consistency is below the rollback threshold, but on too few samples")             \
	X(NOT_CONSISTENT_ENOUGH, "not_consistent_enough", "consistency between the two thresholds")          \
	X(LIKELIHOOD, "likelihood", "the likelihood ratio has not reached its bound")                        \
	X(LOWER_BOUND, "lower_bound", "the Wilson lower bound does not allow this weight yet")               \
	X(SYNTHETIC, "synthetic", "the weight needs evidence from real traffic")                             \
	X(FEW_SHAPES, "few_shapes", "not enough distinct request shapes yet")                                \
	X(SHAPE_SHARE, "shape_share", "one request shape has too large a share of the samples")              \
	X(NO_SUCCESS, "no_success", "both sides answer with errors only")                                    \
	X(STEP_AGE, "step_age", "the step has not lasted long enough")                                       \
	X(NOT_SET, "not_set", "the wanted weight was not read back from the data path")                      \
	X(SPLIT_WRONG, "split_wrong", "the served counts contradict the weight")                             \
	X(NOT_SEEN, "not_seen", "100 % is set, but not seen yet")                                            \
	X(CONSISTENT, "consistent", "consistency above the promotion threshold")                             \
	X(REACHED, "reached", "100 % is wanted, set and seen")

enum arbiter_reason {
#define X(name, word, help) ARBITER_REASON_##name,
	ARBITER_REASONS(X)
#undef X
		ARBITER_REASON_COUNT
};

struct arbiter_decision {
	enum arbiter_action action;
	enum arbiter_reason reason;
	uint32_t new_weight_bp;	  /* equals the old one for hold and finish */
	uint32_t consistency_bp;  /* rounded down; 10000 when there is no sample */
	double llr;		  /* of this step */
	double lower_bound;	  /* Wilson, one-sided 95 %, of this step */
	double build_lower_bound; /* the same over all samples of the build */
	double split;		  /* chi-square of the served counts; 0 while they are too few to tell */
	uint32_t gate_bp;	  /* build_lower_bound that the next weight needs; 0 = none */
};

struct arbiter_decision arbiter_decide(const struct arbiter_policy *policy,
				       const struct arbiter_facts *facts);

/*
 * Appends the reason as one sentence without a full stop: "consistency 93.1% < 95% (94 of 101)", "12 of 100
 * samples seen". A percentage has as many decimals as it takes not to contradict the sentence.
 */
void arbiter_explain(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
		     const struct arbiter_decision *decision, struct buf *out);

/* Integer tests, exported for the tests and the page: (n - k) / n against a threshold in basis points. */
bool arbiter_is_above(uint64_t n, uint64_t k, uint32_t threshold_bp);
bool arbiter_is_below(uint64_t n, uint64_t k, uint32_t threshold_bp);

/* ln(1/alpha): the likelihood ratio that the bounded rule promotes at. */
double arbiter_likelihood_bound(const struct arbiter_policy *policy);

const char *arbiter_action_word(enum arbiter_action action);
const char *arbiter_reason_word(enum arbiter_reason reason);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger: a decision with all it was made from, so that it can be understood, and made again offline.
 *
 * A record holds the arbiter's facts and policy whole: arbiter_decide() of them is the decision (see
 * judge/record.h, which makes it again).
 */
#ifndef PHOENIX_CONTROL_LEDGER_H
#define PHOENIX_CONTROL_LEDGER_H

#include "control/facts.h"
#include "judge/arbiter.h"

struct ledger_entry {
	const char *action; /* "promote", "rollback", "complete", "hold", "manual", "pause", … */
	const char *id;	    /* no other decision of any gateway has it; NULL or "": it has none */
	const char *on;	    /* which gateway decided; may be NULL */
	const char *route, *by, *reason;
	uint32_t weight_old_bp, weight_new_bp, epoch, step;
	uint64_t wall_ns;
	const struct facts_counts *counts; /* of the step that was judged */
	const struct arbiter_policy *policy;
	const struct arbiter_facts *facts;
	const struct arbiter_decision *decision; /* NULL when a person decided */
	json_t *top;				 /* differing pointers; taken */
};

/* A new reference; NULL when out of memory. */
json_t *ledger_record(const struct ledger_entry *entry);
/* {"body_over_cap": 2, …}: only what is not zero. */
json_t *not_comparable_json(const uint64_t counts[FACTS_REASON_COUNT]);

#endif

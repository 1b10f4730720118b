/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record: a decision of the arbiter with everything it was made from, as JSON, and the same decision made
 * again from it.
 *
 * The ledger's records carry it as the member "evidence". Because arbiter_decide() is pure, a record that was
 * not tampered with gives the same decision on any machine at any time; record_replay() says where one does
 * not. Pure: reads and makes values, does no I/O.
 */
#ifndef PHOENIX_JUDGE_RECORD_H
#define PHOENIX_JUDGE_RECORD_H

#include "judge/arbiter.h"

#include <jansson.h>

/* {"decision", "reason", "rule", "new_weight_bp", "facts": {…}, "policy": {…}}; NULL when out of memory. */
json_t *record_evidence(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
			const struct arbiter_decision *decision);
/* Reads facts and policy back. False when a member is missing, of another type, or contradicts another
 * (more mismatches than samples): such facts no arbiter ever saw. */
bool record_read(const json_t *evidence, struct arbiter_policy *policy, struct arbiter_facts *facts);

enum record_result {
	RECORD_SAME,	/* decided again, and the same */
	RECORD_PERSON,	/* a person decided: nothing to decide again */
	RECORD_DIFFERS, /* `why` says in what */
};

/*
 * Decides again from a whole ledger record and compares everything that record says about the decision:
 * action, reason and its sentence, both weights, counts, likelihood ratio and lower bound.
 */
enum record_result record_replay(const json_t *record, struct buf *why);

#endif

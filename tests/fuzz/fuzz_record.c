/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger record from who knows where, decided again: the answer is one of three and says why, and facts and
 * policy that were read give a record that is decided again to the same.
 */
#include "fuzz.h"

#include "judge/record.h"

static json_t *record_of(const struct arbiter_policy *policy, const struct arbiter_facts *facts)
{
	struct arbiter_decision d = arbiter_decide(policy, facts);
	struct buf reason = {0};
	arbiter_explain(policy, facts, &d, &reason);
	FUZZ_CHECK(!reason.failed && d.action <= ARBITER_FINISH && d.reason < ARBITER_REASON_COUNT);
	FUZZ_CHECK(d.action != ARBITER_ROLLBACK || d.new_weight_bp == 0);
	FUZZ_CHECK(d.new_weight_bp <= ARBITER_WEIGHT_ONE || d.new_weight_bp == facts->weight_bp);
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:f, s:f, s:I, s:I, s:f, s:f, s:o}", "by", "arbiter", "action",
			  d.action == ARBITER_FINISH ? "complete" : arbiter_action_word(d.action), "reason",
			  buf_cstr(&reason), "weight_old", facts->weight_bp / 10000.0, "weight_new",
			  d.new_weight_bp / 10000.0, "n", (json_int_t)facts->samples, "mismatches",
			  (json_int_t)facts->mismatches, "llr", d.llr, "wilson_lower", d.lower_bound,
			  "evidence", record_evidence(policy, facts, &d));
	buf_fini(&reason);
	return json;
}

FUZZ_TARGET(record)
{
	json_t *record = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	struct buf why = {0};
	if (!record)
		return;
	enum record_result result = record_replay(record, &why);
	FUZZ_CHECK(result == RECORD_SAME || result == RECORD_PERSON || result == RECORD_DIFFERS);
	FUZZ_CHECK((result == RECORD_DIFFERS) == (why.len > 0));
	struct arbiter_policy policy;
	struct arbiter_facts facts;
	if (record_read(json_object_get(record, "evidence"), &policy, &facts)) {
		FUZZ_CHECK(facts.mismatches <= facts.samples);
		json_t *made = record_of(&policy, &facts);
		if (made) { /* a number that JSON cannot say makes none */
			buf_reset(&why);
			FUZZ_CHECK(record_replay(made, &why) == RECORD_SAME);
		}
		json_decref(made);
	}
	json_decref(record);
	buf_fini(&why);
}

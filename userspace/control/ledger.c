/* SPDX-License-Identifier: Apache-2.0 */
/* ledger: see ledger.h. */
#include "control/ledger.h"

#include "control/value.h"
#include "judge/record.h"

json_t *not_comparable_json(const uint64_t counts[FACTS_REASON_COUNT])
{
	json_t *json = json_object();
	for (unsigned i = 0; json && i < FACTS_REASON_COUNT; i++) {
		if (counts[i])
			json_object_set_new(json, facts_reason_word(i), json_integer((json_int_t)counts[i]));
	}
	return json;
}

json_t *ledger_record(const struct ledger_entry *e)
{
	json_t *json = json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:I, s:I}", "at", json_time(e->wall_ns),
				 "route", json_text(slice_str(e->route)), "action", e->action, "by",
				 json_text(slice_str(e->by)), "reason", json_text(slice_str(e->reason)),
				 "weight_old", json_ratio(e->weight_old_bp), "weight_new",
				 json_ratio(e->weight_new_bp), "epoch", (json_int_t)e->epoch, "step",
				 (json_int_t)e->step);
	json_t *top = e->top ? e->top : json_array();
	json_t *figures = json_pack(
		"{s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:s, s:o, s:o, s:o, s:I, s:o}", "n",
		(json_int_t)e->counts->samples, "mismatches", (json_int_t)e->counts->mismatches, "synthetic",
		(json_int_t)e->counts->synthetic, "not_comparable",
		not_comparable_json(e->counts->not_comparable), "promote_above",
		json_ratio(e->policy->promote_above_bp), "rollback_below",
		json_ratio(e->policy->rollback_below_bp), "min_samples", (json_int_t)e->policy->min_samples,
		"policy", e->policy->rule == ARBITER_RULE_BOUNDED ? "bounded" : "literal", "llr",
		e->decision ? json_real(e->decision->llr) : json_null(), "wilson_lower",
		e->decision ? json_real(e->decision->lower_bound) : json_null(), "build_wilson_lower",
		e->decision ? json_real(e->decision->build_lower_bound) : json_null(), "shapes",
		(json_int_t)e->facts->shapes, "top_pointers", top);
	json_t *evidence = e->decision ? record_evidence(e->policy, e->facts, e->decision) : json_object();
	if (!json || !figures || !evidence) {
		json_decref(json);
		json_decref(figures);
		json_decref(evidence);
		return NULL;
	}
	json_object_update(json, figures);
	json_decref(figures);
	json_object_set_new(json, "evidence", evidence);
	if (e->on)
		json_object_set_new(json, "on", json_text(slice_str(e->on)));
	if (e->id && e->id[0])
		json_object_set_new(json, "id", json_text(slice_str(e->id)));
	return json;
}

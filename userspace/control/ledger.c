/* SPDX-License-Identifier: Apache-2.0 */
/* ledger: see ledger.h. Facts and policy are written by tables, so that writing and reading cannot differ. */
#include "control/ledger.h"

#include "control/value.h"

#include <stddef.h>

enum kind { U32, U64, REAL };

struct member {
	const char *name;
	size_t offset;
	enum kind kind;
};

static const struct member policy_members[] = {
	{"promote_above_bp", offsetof(struct arbiter_policy, promote_above_bp), U32},
	{"rollback_below_bp", offsetof(struct arbiter_policy, rollback_below_bp), U32},
	{"min_samples", offsetof(struct arbiter_policy, min_samples), U32},
	{"rollback_min_samples", offsetof(struct arbiter_policy, rollback_min_samples), U32},
	{"step_bp", offsetof(struct arbiter_policy, step_bp), U32},
	{"min_step_ms", offsetof(struct arbiter_policy, min_step_ms), U32},
	{"alpha", offsetof(struct arbiter_policy, alpha), REAL},
	{"beta", offsetof(struct arbiter_policy, beta), REAL},
	{"half_gate_bp", offsetof(struct arbiter_policy, half_gate_bp), U32},
	{"full_gate_bp", offsetof(struct arbiter_policy, full_gate_bp), U32},
	{"watch_alarm", offsetof(struct arbiter_policy, watch_alarm), REAL},
	{0},
};

static const struct member facts_members[] = {
	{"flags", offsetof(struct arbiter_facts, flags), U32},
	{"weight_bp", offsetof(struct arbiter_facts, weight_bp), U32},
	{"samples", offsetof(struct arbiter_facts, samples), U64},
	{"mismatches", offsetof(struct arbiter_facts, mismatches), U64},
	{"build_samples", offsetof(struct arbiter_facts, build_samples), U64},
	{"build_mismatches", offsetof(struct arbiter_facts, build_mismatches), U64},
	{"step_age_ms", offsetof(struct arbiter_facts, step_age_ms), U64},
	{"watch", offsetof(struct arbiter_facts, watch), REAL},
	{0},
};

static json_t *members_write(const struct member *members, const void *from)
{
	json_t *json = json_object();
	for (const struct member *m = members; json && m->name; m++) {
		const char *at = (const char *)from + m->offset;
		json_t *value =
			m->kind == U32	 ? json_integer((json_int_t) * (const uint32_t *)(const void *)at)
			: m->kind == U64 ? json_integer((json_int_t) * (const uint64_t *)(const void *)at)
					 : json_real(*(const double *)(const void *)at);
		json_object_set_new(json, m->name, value);
	}
	return json;
}

static bool members_read(const struct member *members, const json_t *json, void *to)
{
	for (const struct member *m = members; m->name; m++) {
		const json_t *value = json_object_get(json, m->name);
		if (!json_is_number(value))
			return false;
		char *at = (char *)to + m->offset;
		if (m->kind == U32)
			*(uint32_t *)(void *)at = (uint32_t)json_integer_value(value);
		else if (m->kind == U64)
			*(uint64_t *)(void *)at = (uint64_t)json_integer_value(value);
		else
			*(double *)(void *)at = json_number_value(value);
	}
	return true;
}

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
		"{s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:s, s:o, s:o, s:o}", "n",
		(json_int_t)e->counts->samples, "mismatches", (json_int_t)e->counts->mismatches, "synthetic",
		(json_int_t)e->counts->synthetic, "not_comparable",
		not_comparable_json(e->counts->not_comparable), "promote_above",
		json_ratio(e->policy->promote_above_bp), "rollback_below",
		json_ratio(e->policy->rollback_below_bp), "min_samples", (json_int_t)e->policy->min_samples,
		"policy", e->policy->rule == ARBITER_RULE_BOUNDED ? "bounded" : "literal", "llr",
		e->decision ? json_real(e->decision->llr) : json_null(), "wilson_lower",
		e->decision ? json_real(e->decision->lower_bound) : json_null(), "top_pointers", top);
	json_t *evidence = json_object();
	if (!json || !figures || !evidence) {
		json_decref(json);
		json_decref(figures);
		json_decref(evidence);
		return NULL;
	}
	json_object_update(json, figures);
	json_decref(figures);
	if (e->decision) {
		json_object_set_new(evidence, "reason",
				    json_string(arbiter_reason_word(e->decision->reason)));
		json_object_set_new(evidence, "facts", members_write(facts_members, e->facts));
		json_object_set_new(evidence, "policy", members_write(policy_members, e->policy));
	}
	json_object_set_new(json, "evidence", evidence);
	return json;
}

bool ledger_replay(const json_t *record, struct arbiter_decision *out)
{
	const json_t *evidence = json_object_get(record, "evidence");
	struct arbiter_policy policy = {0};
	struct arbiter_facts facts = {0};
	if (!members_read(policy_members, json_object_get(evidence, "policy"), &policy) ||
	    !members_read(facts_members, json_object_get(evidence, "facts"), &facts))
		return false;
	policy.rule = strcmp(json_get_str(record, "policy"), "bounded") == 0 ? ARBITER_RULE_BOUNDED
									     : ARBITER_RULE_LITERAL;
	*out = arbiter_decide(&policy, &facts);
	return true;
}

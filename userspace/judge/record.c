/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record: see record.h. Facts and policy are written and read by the same tables, so the two cannot differ.
 *
 * Numbers are compared as they were written: JSON keeps twelve significant digits, which is more than the
 * weights, counts and settings have; the computed figures are compared with a tolerance.
 */
#include "judge/record.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

enum kind { U32, U64, REAL };

struct member {
	const char *name;
	size_t offset;
	enum kind kind;
	bool later; /* not in records of the first versions: 0 then, which asks for nothing */
};

#define POLICY(kind, name)                                                                                   \
	{                                                                                                    \
#name, offsetof(struct arbiter_policy, name), kind, false                                    \
	}
#define FACT(kind, name)                                                                                     \
	{                                                                                                    \
#name, offsetof(struct arbiter_facts, name), kind, false                                     \
	}

static const struct member policy_members[] = {
	POLICY(U32, promote_above_bp),
	POLICY(U32, rollback_below_bp),
	POLICY(U32, min_samples),
	POLICY(U32, rollback_min_samples),
	POLICY(U32, step_bp),
	POLICY(U32, min_step_ms),
	POLICY(U32, synthetic_max_bp),
	POLICY(U32, min_shapes),
	POLICY(U32, max_shape_bp),
	POLICY(U32, split_min),
	POLICY(U32, split_by_key),
	POLICY(REAL, split_alarm),
	POLICY(REAL, alpha),
	POLICY(REAL, beta),
	POLICY(U32, half_gate_bp),
	POLICY(U32, full_gate_bp),
	POLICY(REAL, watch_alarm),
	{"min_success", offsetof(struct arbiter_policy, min_success), U32, true},
	{0},
};

static const struct member facts_members[] = {
	FACT(U32, flags),
	FACT(U32, weight_bp),
	FACT(U64, samples),
	FACT(U64, mismatches),
	FACT(U64, build_samples),
	FACT(U64, build_mismatches),
	FACT(U64, synthetic),
	FACT(U64, synthetic_mismatches),
	FACT(U64, build_synthetic),
	FACT(U64, build_synthetic_mismatches),
	FACT(U64, shapes),
	FACT(U64, top_shape),
	FACT(U64, split_legacy),
	FACT(U64, split_modern),
	FACT(U64, step_age_ms),
	FACT(REAL, watch),
	{"errors", offsetof(struct arbiter_facts, errors), U64, true},
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

static bool member_read(const struct member *m, const json_t *value, char *at)
{
	if (m->kind == REAL) {
		*(double *)(void *)at = json_number_value(value);
		return json_is_number(value);
	}
	json_int_t number = json_integer_value(value);
	if (!json_is_integer(value) || number < 0 || (m->kind == U32 && number > UINT32_MAX))
		return false;
	if (m->kind == U32)
		*(uint32_t *)(void *)at = (uint32_t)number;
	else
		*(uint64_t *)(void *)at = (uint64_t)number;
	return true;
}

static bool members_read(const struct member *members, const json_t *json, void *to)
{
	for (const struct member *m = members; m->name; m++) {
		const json_t *value = json_object_get(json, m->name);
		if (!(m->later && !value) && !member_read(m, value, (char *)to + m->offset))
			return false;
	}
	return true;
}

json_t *record_evidence(const struct arbiter_policy *policy, const struct arbiter_facts *facts,
			const struct arbiter_decision *decision)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:I}", "decision", arbiter_action_word(decision->action),
				 "reason", arbiter_reason_word(decision->reason), "rule",
				 policy->rule == ARBITER_RULE_BOUNDED ? "bounded" : "literal",
				 "new_weight_bp", (json_int_t)decision->new_weight_bp);
	if (json && (json_object_set_new(json, "facts", members_write(facts_members, facts)) ||
		     json_object_set_new(json, "policy", members_write(policy_members, policy)))) {
		json_decref(json);
		return NULL;
	}
	return json;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

/* Could an arbiter have seen this? Its arithmetic relies on it. */
static bool facts_are_possible(const struct arbiter_facts *f)
{
	return f->mismatches <= f->samples && f->errors <= f->samples &&
	       f->build_mismatches <= f->build_samples && f->synthetic <= f->samples &&
	       f->build_synthetic <= f->build_samples && f->synthetic_mismatches <= f->mismatches &&
	       f->build_synthetic_mismatches <= f->build_mismatches &&
	       f->mismatches - f->synthetic_mismatches <= f->samples - f->synthetic &&
	       f->build_mismatches - f->build_synthetic_mismatches <= f->build_samples - f->build_synthetic &&
	       f->weight_bp <= ARBITER_WEIGHT_ONE;
}

bool record_read(const json_t *evidence, struct arbiter_policy *policy, struct arbiter_facts *facts)
{
	*policy = (struct arbiter_policy){0};
	*facts = (struct arbiter_facts){0};
	const char *rule = text_of(evidence, "rule");
	bool bounded = strcmp(rule, "bounded") == 0;
	policy->rule = bounded ? ARBITER_RULE_BOUNDED : ARBITER_RULE_LITERAL;
	return (bounded || strcmp(rule, "literal") == 0) &&
	       members_read(policy_members, json_object_get(evidence, "policy"), policy) &&
	       members_read(facts_members, json_object_get(evidence, "facts"), facts) &&
	       facts_are_possible(facts);
}

static bool same_text(const char *what, const char *recorded, const char *again, struct buf *why)
{
	if (strcmp(recorded, again) == 0)
		return true;
	buf_printf(why, "%s: the record has \"%s\", its evidence gives \"%s\"", what, recorded, again);
	return false;
}

/* `recorded` may be missing or null where the figure is unknown: then it says nothing. */
static bool same_figure(const char *what, const json_t *recorded, double again, struct buf *why)
{
	if (!recorded || json_is_null(recorded))
		return true;
	double value = json_number_value(recorded);
	if (json_is_number(recorded) && fabs(value - again) <= 1e-6 * (1 + fabs(again)))
		return true;
	buf_printf(why, "%s: the record has %.10g, its evidence gives %.10g", what, value, again);
	return false;
}

/* What the ledger calls what came of a decision. A rollback may be a pause (on_failure); a weight of 100 %
 * set by hand is complete once seen, though the arbiter holds. */
static bool action_fits(const char *action, const struct arbiter_facts *facts,
			const struct arbiter_decision *d)
{
	if (strcmp(action, "pause") == 0)
		return d->action == ARBITER_ROLLBACK;
	if (strcmp(action, "complete") == 0)
		return d->action == ARBITER_FINISH ||
		       (d->action == ARBITER_HOLD && facts->weight_bp == ARBITER_WEIGHT_ONE);
	return strcmp(action, arbiter_action_word(d->action)) == 0;
}

static bool same_sentence(const json_t *record, const struct arbiter_policy *policy,
			  const struct arbiter_facts *facts, const struct arbiter_decision *d,
			  struct buf *why)
{
	const char *recorded = text_of(record, "reason");
	struct buf again = {0};
	arbiter_explain(policy, facts, d, &again);
	/* What was said may have words around it: "no new samples: 12 of 100 samples seen". */
	bool same = strstr(recorded, buf_cstr(&again)) != NULL ||
		    (d->action == ARBITER_HOLD && strcmp(text_of(record, "action"), "complete") == 0);
	if (!same)
		same_text("reason", recorded, buf_cstr(&again), why);
	buf_fini(&again);
	return same;
}

enum record_result record_replay(const json_t *record, struct buf *why)
{
	const json_t *evidence = json_object_get(record, "evidence");
	const char *action = text_of(record, "action"), *by = text_of(record, "by");
	struct arbiter_policy policy;
	struct arbiter_facts facts;
	if (!*action || !*by) {
		buf_append_str(why, "it is no record of a decision");
		return RECORD_DIFFERS;
	}
	if (strcmp(by, "arbiter") != 0)
		return RECORD_PERSON;
	if (!record_read(evidence, &policy, &facts)) {
		buf_append_str(why, "its evidence is not complete");
		return RECORD_DIFFERS;
	}
	struct arbiter_decision d = arbiter_decide(&policy, &facts);
	bool moved = d.action == ARBITER_PROMOTE || strcmp(action, "rollback") == 0;
	double weight_new = (moved ? d.new_weight_bp : facts.weight_bp) / (double)ARBITER_WEIGHT_ONE;
	if (!action_fits(action, &facts, &d)) {
		same_text("action", action, arbiter_action_word(d.action), why);
		return RECORD_DIFFERS;
	}
	bool same =
		same_text("decision", text_of(evidence, "decision"), arbiter_action_word(d.action), why) &&
		same_text("kind of reason", text_of(evidence, "reason"), arbiter_reason_word(d.reason),
			  why) &&
		same_figure("new weight in basis points", json_object_get(evidence, "new_weight_bp"),
			    d.new_weight_bp, why) &&
		same_figure("n", json_object_get(record, "n"), (double)facts.samples, why) &&
		same_figure("mismatches", json_object_get(record, "mismatches"), (double)facts.mismatches,
			    why) &&
		same_figure("weight_old", json_object_get(record, "weight_old"),
			    facts.weight_bp / (double)ARBITER_WEIGHT_ONE, why) &&
		same_figure("weight_new", json_object_get(record, "weight_new"), weight_new, why) &&
		same_figure("llr", json_object_get(record, "llr"), d.llr, why) &&
		same_figure("wilson_lower", json_object_get(record, "wilson_lower"), d.lower_bound, why) &&
		same_sentence(record, &policy, &facts, &d, why);
	return same ? RECORD_SAME : RECORD_DIFFERS;
}

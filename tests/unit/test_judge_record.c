/* SPDX-License-Identifier: Apache-2.0 */
/* Records: what was decided is decided again from its JSON, and whatever was changed in it is found. */
#include "judge/record.h"

#include "test_judge_support.h"
#include "unit.h"

#include <stdlib.h>

#define READY (ARBITER_ENABLED | ARBITER_STARTED | ARBITER_WEIGHT_SET | ARBITER_WEIGHT_SEEN)

/* As the ledger writes it: through text with twelve digits. */
static json_t *through_text(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(json);
	json = json_loads(text, 0, NULL);
	free(text);
	return json;
}

static json_t *record_of(const struct arbiter_policy *policy, const struct arbiter_facts *facts)
{
	struct arbiter_decision d = arbiter_decide(policy, facts);
	struct buf reason = {0};
	arbiter_explain(policy, facts, &d, &reason);
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:f, s:f, s:I, s:I, s:f, s:f, s:o}", "by", "arbiter", "action",
			  d.action == ARBITER_FINISH ? "complete" : arbiter_action_word(d.action), "reason",
			  buf_cstr(&reason), "weight_old", facts->weight_bp / 10000.0, "weight_new",
			  d.new_weight_bp / 10000.0, "n", (json_int_t)facts->samples, "mismatches",
			  (json_int_t)facts->mismatches, "llr", d.llr, "wilson_lower", d.lower_bound,
			  "evidence", record_evidence(policy, facts, &d));
	buf_fini(&reason);
	return through_text(json);
}

/* Anything an arbiter may be asked; small numbers are as likely as large ones. */
static uint64_t some(uint64_t *seed, uint64_t max)
{
	uint64_t bits = random_next(seed) % 33;
	return (random_next(seed) >> (64 - 1 - bits)) % (max + 1);
}

static void random_question(uint64_t *seed, struct arbiter_policy *p, struct arbiter_facts *f)
{
	*p = arbiter_policy_default();
	p->rule = random_next(seed) % 2 ? ARBITER_RULE_BOUNDED : ARBITER_RULE_LITERAL;
	p->min_samples = (uint32_t)some(seed, 300);
	p->rollback_min_samples = 1 + (uint32_t)some(seed, 200);
	p->step_bp = 1 + (uint32_t)some(seed, 9999);
	p->min_step_ms = (uint32_t)some(seed, 5000);
	p->synthetic_max_bp = (uint32_t)some(seed, 10000);
	p->min_shapes = (uint32_t)some(seed, 5);
	p->max_shape_bp = 1 + (uint32_t)some(seed, 9999);
	p->min_success = (uint32_t)some(seed, 5);
	p->watch_alarm = (double)some(seed, 10);
	p->split_by_key = random_next(seed) % 2;
	memset(f, 0, sizeof(*f));
	f->flags = (uint32_t)(random_next(seed) % 4 ? READY : random_next(seed) % 256);
	f->weight_bp = (uint32_t)(random_next(seed) % 11) * 1000;
	f->samples = some(seed, 100000);
	f->mismatches = random_next(seed) % 2 ? some(seed, f->samples) : some(seed, f->samples / 50);
	f->build_samples = f->samples + some(seed, 100000);
	f->build_mismatches = f->mismatches + some(seed, (f->build_samples - f->samples) / 20);
	f->synthetic = f->mismatches ? 0 : some(seed, f->samples);
	f->build_synthetic = f->synthetic;
	f->shapes = some(seed, 6);
	f->top_shape = some(seed, f->samples);
	f->errors = f->mismatches + some(seed, f->samples - f->mismatches);
	f->split_legacy = some(seed, 1000);
	f->split_modern = some(seed, 1000);
	f->step_age_ms = some(seed, 10000);
	f->watch = (double)some(seed, 20000000) / 1e6;
}

TEST(every_record_is_decided_again)
{
	uint64_t seed = 4;
	unsigned reasons[ARBITER_REASON_COUNT] = {0}, failures = 0;
	for (unsigned i = 0; i < 6000; i++) {
		struct arbiter_policy policy;
		struct arbiter_facts facts;
		random_question(&seed, &policy, &facts);
		struct arbiter_decision d = arbiter_decide(&policy, &facts);
		reasons[d.reason]++;
		json_t *record = record_of(&policy, &facts);
		struct buf why = {0};
		if (record_replay(record, &why) != RECORD_SAME && failures++ < 5)
			CHECK_MSG(false, "question %u, %s: %s", i, arbiter_reason_word(d.reason),
				  buf_cstr(&why));
		buf_fini(&why);
		json_decref(record);
	}
	CHECK_INT(failures, 0);
	for (unsigned i = 0; i < ARBITER_REASON_COUNT; i++)
		CHECK_MSG(reasons[i] > 0, "%s never happened", arbiter_reason_word((enum arbiter_reason)i));
}

static json_t *promotion(void)
{
	struct arbiter_policy policy = arbiter_policy_default();
	struct arbiter_facts facts = {.flags = READY,
				      .weight_bp = 3000,
				      .samples = 101,
				      .mismatches = 1,
				      .build_samples = 400,
				      .build_mismatches = 1};
	return record_of(&policy, &facts);
}

static json_t *within(json_t *record, const char *section)
{
	json_t *evidence = json_object_get(record, "evidence");
	return !section				  ? record
	       : strcmp(section, "evidence") == 0 ? evidence
						  : json_object_get(evidence, section);
}

TEST(tampering_is_found)
{
	static const struct {
		const char *section, *member, *value, *why;
	} rows[] = {
		{NULL, "action", "\"rollback\"", "action"},
		{NULL, "action", "\"hold\"", "action"},
		{NULL, "reason", "\"consistency 100.0% > 99% (101 of 101)\"", "reason"},
		{NULL, "n", "102", "n"},
		{NULL, "mismatches", "0", "mismatches"},
		{NULL, "weight_new", "0.5", "weight_new"},
		{NULL, "weight_old", "0.2", "weight_old"},
		{NULL, "llr", "9.5", "llr"},
		{NULL, "wilson_lower", "0.99", "wilson_lower"},
		{"evidence", "reason", "\"inconsistent\"", "kind of reason"},
		{"evidence", "new_weight_bp", "5000", "new weight"},
		{"evidence", "rule", "\"bounded\"", "action"},
		{"evidence", "rule", "\"lenient\"", "not complete"},
		{"facts", "samples", "100", "action"},
		{"facts", "mismatches", "2", "action"},
		{"facts", "mismatches", "102", "not complete"},
		{"facts", "samples", "-1", "not complete"},
		{"facts", "samples", "\"101\"", "not complete"},
		{"facts", "synthetic", "200", "not complete"},
		{"facts", "synthetic", "101", "not complete"}, /* then its mismatch is a synthetic one */
		{"facts", "synthetic_mismatches", "2", "not complete"},
		{"facts", "build_mismatches", "401", "not complete"},
		{"facts", "build_synthetic", "401", "not complete"},
		{"facts", "build_synthetic", "400", "not complete"},
		{"facts", "build_synthetic_mismatches", "2", "not complete"},
		{"facts", "weight_bp", "10001", "not complete"},
		{"policy", "alpha", "\"0.01\"", "not complete"},
		{NULL, "llr", "\"9.5\"", "llr"},
		{NULL, "wilson_lower", "\"high\"", "wilson_lower"},
		{NULL, "wilson_lower", "0.1", "wilson_lower"},
		{NULL, "n", "\"101\"", "n"},
		{"facts", "watch", "\"0\"", "not complete"},
		{"facts", "watch", NULL, "not complete"},
		{"facts", "samples", NULL, "not complete"},
		{"facts", "weight_bp", NULL, "not complete"},
		{NULL, "llr", "0", "llr"},
		{NULL, "wilson_lower", "1", "wilson_lower"},
		{"facts", "weight_bp", "99999999999", "not complete"},
		{"policy", "min_samples", "-1", "not complete"},
		{"policy", "min_samples", "\"100\"", "not complete"},
		{"facts", "flags", "0", "action"},
		{"policy", "promote_above_bp", "9950", "action"},
		{"policy", "step_bp", "2000", "new weight"},
		{"policy", "min_samples", "101", "action"},
		{"policy", "min_samples", "99999999999", "not complete"},
		{"policy", "alpha", NULL, "not complete"},
		{NULL, "evidence", "{}", "not complete"},
		{NULL, "by", "\"\"", "no record"},
		{NULL, "action", NULL, "no record"},
		{NULL, "evidence", NULL, "not complete"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *record = promotion();
		json_t *object = within(record, rows[i].section);
		if (rows[i].value)
			json_object_set_new(object, rows[i].member,
					    json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
		else
			json_object_del(object, rows[i].member);
		struct buf why = {0};
		CHECK_MSG(record_replay(record, &why) == RECORD_DIFFERS, "row %zu", i);
		CHECK_MSG(strstr(buf_cstr(&why), rows[i].why), "row %zu: %s", i, buf_cstr(&why));
		buf_fini(&why);
		json_decref(record);
	}
	json_t *record = promotion();
	struct buf why = {0};
	CHECK_INT(record_replay(record, &why), RECORD_SAME);
	json_object_set_new(record, "by", json_string("uid 0"));
	CHECK_INT(record_replay(record, &why), RECORD_PERSON);
	buf_fini(&why);
	json_decref(record);
}

TEST(unknown_figures_say_nothing)
{
	json_t *record = promotion();
	json_object_del(record, "llr");
	json_object_set_new(record, "wilson_lower", json_null());
	struct buf why = {0};
	CHECK_INT(record_replay(record, &why), RECORD_SAME);
	json_object_set_new(record, "llr", json_null());
	json_object_set_new(within(record, "facts"), "watch", json_integer(0));
	json_object_del(record, "wilson_lower");
	json_object_del(record, "n");
	CHECK_INT(record_replay(record, &why), RECORD_SAME);
	buf_fini(&why);
	json_decref(record);
}

/* The ledger has words of its own for what came of some decisions. */
TEST(the_ledgers_words)
{
	struct arbiter_policy policy = arbiter_policy_default();
	struct arbiter_facts bad = {.flags = READY,
				    .weight_bp = 3000,
				    .samples = 40,
				    .mismatches = 20,
				    .build_samples = 40,
				    .build_mismatches = 20};
	json_t *record = record_of(&policy, &bad);
	struct buf why = {0};
	CHECK_INT(record_replay(record, &why), RECORD_SAME);
	/* on_failure: pause keeps the weight. */
	json_object_set_new(record, "action", json_string("pause"));
	json_object_set_new(record, "weight_new", json_real(0.3));
	CHECK_MSG(record_replay(record, &why) == RECORD_SAME, "%s", buf_cstr(&why));
	json_decref(record);
	record = promotion();
	json_object_set_new(record, "action", json_string("pause"));
	CHECK_INT(record_replay(record, &why), RECORD_DIFFERS);
	json_decref(record);
	struct arbiter_facts few = {.flags = READY, .weight_bp = 3000, .samples = 3, .build_samples = 3};
	record = record_of(&policy, &few);
	CHECK_INT(record_replay(record, &why), RECORD_SAME);
	json_object_set_new(record, "reason", json_string("because"));
	CHECK_INT(record_replay(record, &why), RECORD_DIFFERS);
	json_object_set_new(record, "action", json_string("complete"));
	CHECK_INT(record_replay(record, &why), RECORD_DIFFERS);
	json_decref(record);
	/* A weight of 100 % set by hand: the arbiter holds, and the migration is complete. */
	struct arbiter_facts whole = {.flags = READY, .weight_bp = 10000, .samples = 3, .build_samples = 3};
	struct arbiter_decision d = arbiter_decide(&policy, &whole);
	record = record_of(&policy, &whole);
	json_object_set_new(record, "action", json_string("complete"));
	json_object_set_new(record, "reason", json_string("seen at 100%"));
	buf_reset(&why);
	if (d.action == ARBITER_HOLD)
		CHECK_MSG(record_replay(record, &why) == RECORD_SAME, "%s", buf_cstr(&why));
	CHECK(d.action == ARBITER_HOLD || d.action == ARBITER_FINISH);
	json_decref(record);
	record = promotion();
	json_object_set_new(record, "action", json_string("complete"));
	CHECK_INT(record_replay(record, &why), RECORD_DIFFERS);
	json_decref(record);
	buf_fini(&why);
}

UNIT_MAIN

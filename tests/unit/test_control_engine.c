/* SPDX-License-Identifier: Apache-2.0 */
/* Whole migrations in fake time: the steps, the stops, the words, the ledger. */
#include "test_control_support.h"

#include "control/ledger.h"
#include "judge/record.h"

#define ROUTE(more)                                                                                          \
	"{\"state\":{\"store\":\"memory\"},\"routes\":[{\"id\":\"a\",\"path\":\"/a\"," FAKE_URLS more "}]}"
#define ARBITER(more) ",\"arbiter\":{\"interval_ms\":1000" more "}"

static struct fake fake;

static uint32_t weight(void)
{
	return policy_weight_bp(&fake.control->policy, fake_route(&fake, "a")->slot);
}

static uint64_t samples(void)
{
	struct facts_view view;
	facts_read(fake.control->facts, fake_route(&fake, "a")->slot, &view);
	return view.now.samples;
}

static const char *detail(void)
{
	static struct buf out;
	buf_reset(&out);
	engine_detail(&fake.control->engine, fake_route(&fake, "a"), &out);
	return buf_cstr(&out);
}

TEST(clean_run_to_completion)
{
	fake_start(&fake, ROUTE(ARBITER("")));
	struct route *route = fake_route(&fake, "a");
	CHECK_STR(fake_headline(&fake, "a"), "Mirroring: 0% Traffic Shifted");
	for (uint32_t step = 1; step <= 10; step++) {
		fake_samples(&fake, route, 100, 0);
		fake_tick(&fake, 1000);
		CHECK_INT(weight(), (step - 1) * 1000);
		CHECK(strstr(detail(), "100 of 100 samples seen"));
		fake_samples(&fake, route, 1, 0);
		fake_tick(&fake, 1000);
		CHECK_INT(weight(), step * 1000);
		CHECK_INT(samples(), 0);
		const json_t *record = fake_decision(&fake, "a");
		CHECK_STR(json_get_str(record, "action"), "promote");
		CHECK_STR(json_get_str(record, "reason"), "consistency 100.0% > 99% (101 of 101)");
		CHECK_INT(json_get_u64(record, "n"), 101);
		struct buf why = {0};
		CHECK_MSG(record_replay(record, &why) == RECORD_SAME, "%s", buf_cstr(&why));
		buf_fini(&why);
	}
	CHECK_STR(fake_headline(&fake, "a"), "Migration in Progress: 100% Traffic Shifted");
	/* 100 % is set; complete only when it was seen: legacy still gets some. */
	fake_served(&fake, route, 3, 5);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "migrating");
	fake_served(&fake, route, 0, 5);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_headline(&fake, "a"), "Migration Complete");
	CHECK_STR(json_get_str(fake_decision(&fake, "a"), "action"), "complete");
	CHECK(fake_event(&fake, "Migration Complete"));
	CHECK(fake_event(&fake,
			 "0% -> 10%: Migration in Progress: 10% Traffic Shifted: consistency 100.0% > 99%"));
	fake_stop(&fake);
}

TEST(rollback_is_latched_and_verified)
{
	fake_start(&fake, ROUTE(ARBITER(",\"min_samples\":50") ",\"weight\":0.3"));
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 94, 7);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Rollback triggered");
	CHECK_STR(detail(), "consistency 93.1% < 95% (94 of 101)");
	CHECK(fake_event(&fake, "Rollback triggered: consistency 93.1% < 95% (94 of 101)"));
	const json_t *record = fake_decision(&fake, "a");
	CHECK_STR(json_get_str(record, "action"), "rollback");
	CHECK_INT(json_get_u64(record, "mismatches"), 7);
	CHECK_INT(json_array_size(json_object_get(record, "top_pointers")), 1);
	CHECK(json_real_value(json_object_get(record, "weight_old")) == 0.3);
	/* A request still went to modern in the first window: not verified, and said so. */
	CHECK(!route->migration.rollback_verified);
	fake_served(&fake, route, 10, 1);
	fake_tick(&fake, 1000);
	CHECK(!route->migration.rollback_verified);
	CHECK(fake_event(&fake, "rollback not verified"));
	fake_served(&fake, route, 10, 0);
	fake_tick(&fake, 1000);
	CHECK(route->migration.rollback_verified);
	CHECK(fake_event(&fake, "rollback verified"));
	/* However good it is from now on: latched. */
	fake_samples(&fake, route, 500, 0);
	fake_tick(&fake, 5000);
	CHECK_INT(weight(), 0);
	CHECK_STR(fake_state(&fake, "a"), "rolled_back");
	CHECK_INT(fake_weight(&fake, "a", 1000), -EPERM);
	CHECK_INT(fake_weight(&fake, "a", 0), 0);
	CHECK_STR(fake_state(&fake, "a"), "rolled_back");
	CHECK_INT(fake_verb(&fake, "a", VERB_RETRY), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Mirroring: 0% Traffic Shifted");
	CHECK_INT(samples(), 0);
	fake_samples(&fake, route, 60, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 1000);
	fake_stop(&fake);
}

TEST(floor_of_the_rollback)
{
	fake_start(&fake, ROUTE(ARBITER("")));
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 0, 19);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "mirroring");
	fake_samples(&fake, route, 0, 1);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "rolled_back");
	fake_stop(&fake);
}

TEST(between_the_thresholds_holds)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":0.3"));
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 99, 2);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	CHECK_STR(fake_headline(&fake, "a"), "Holding at 30%: consistency 98.0% is not > 99% (99 of 101)");
	CHECK(fake_event(&fake, "Holding at 30%: consistency 98.0%"));
	size_t records = route->ledger.count, events = fake.control->events.journal.count;
	/* The same hold again and again is recorded once. */
	for (unsigned i = 0; i < 5; i++) {
		fake_samples(&fake, route, 1, 0);
		fake_tick(&fake, 1000);
	}
	CHECK_INT(route->ledger.count, records);
	CHECK_INT(fake.control->events.journal.count, events);
	fake_stop(&fake);
}

TEST(no_traffic_holds)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":0.3"));
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 12, 0);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_headline(&fake, "a"), "Migration in Progress: 30% Traffic Shifted");
	CHECK_STR(detail(), "next step to 40%: 12 of 100 samples seen");
	for (unsigned i = 0; i < 6; i++)
		fake_tick(&fake, 1000);
	CHECK_STR(fake_headline(&fake, "a"), "Holding at 30%: no new samples: 12 of 100 samples seen");
	CHECK_INT(weight(), 3000);
	for (unsigned i = 0; i < 600; i++)
		fake_tick(&fake, 60000);
	CHECK_INT(weight(), 3000);
	/* And goes on where it stood. */
	fake_samples(&fake, route, 1, 0);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "migrating");
	fake_samples(&fake, route, 88, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 4000);
	fake_stop(&fake);
}

TEST(quiet_routes_are_not_looked_at)
{
	fake_start(&fake, ROUTE(ARBITER("")));
	struct route *route = fake_route(&fake, "a");
	fake_tick(&fake, 2000);
	CHECK(list_empty(&fake.control->engine.active));
	CHECK_INT(route->ledger.count, 0);
	fake_samples(&fake, route, 1, 0);
	fake_tick(&fake, 1);
	CHECK(fake_decision(&fake, "a") != NULL || !list_empty(&fake.control->engine.active));
	fake_stop(&fake);
}

TEST(step_lasts_its_time)
{
	fake_start(&fake, ROUTE(ARBITER(",\"min_step_ms\":10000") ",\"weight\":0.1"));
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 200, 0);
	fake_tick(&fake, 9000);
	CHECK_INT(weight(), 1000);
	CHECK(strstr(detail(), "of 10000 ms of this step have passed"));
	fake_tick(&fake, 1100);
	CHECK_INT(weight(), 2000);
	fake_stop(&fake);
}

TEST(on_failure_pause)
{
	fake_start(&fake, ROUTE(ARBITER(",\"on_failure\":\"pause\"") ",\"weight\":0.3"));
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 0, 25);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	CHECK_STR(fake_headline(&fake, "a"), "Paused at 30% by arbiter");
	CHECK_STR(detail(), "consistency 0.0% < 95% (0 of 25)");
	CHECK_INT(fake_verb(&fake, "a", VERB_RESUME), 0);
	/* The old evidence must not pause it again at once. */
	CHECK_INT(samples(), 0);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "migrating");
	fake_stop(&fake);
}

TEST(pause_and_resume)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":0.3"));
	struct route *route = fake_route(&fake, "a");
	CHECK_INT(fake_verb(&fake, "a", VERB_PAUSE), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Paused at 30% by uid 0");
	fake_samples(&fake, route, 300, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	/* Bad evidence while paused: a person has the word. */
	fake_samples(&fake, route, 0, 300);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	CHECK_INT(fake_verb(&fake, "a", VERB_RESUME), 0);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "rolled_back");
	fake_stop(&fake);
}

TEST(regression_after_completion)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":1"));
	struct route *route = fake_route(&fake, "a");
	CHECK_STR(fake_headline(&fake, "a"), "Migration Complete");
	fake_samples(&fake, route, 10000, 0);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_headline(&fake, "a"), "Migration Complete");
	/* Ten thousand good ones must not hide an outage. */
	fake_samples(&fake, route, 0, 5);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_headline(&fake, "a"), "Rollback triggered");
	CHECK_INT(weight(), 0);
	CHECK_INT(route->rollbacks_regression, 1);
	fake_stop(&fake);
}

TEST(rollback_works_after_completion)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":1"));
	CHECK_INT(fake_verb(&fake, "a", VERB_ROLLBACK), 0);
	CHECK_INT(weight(), 0);
	CHECK_STR(detail(), "by uid 0: a test");
	/* Twice is no error, and no second record. */
	size_t records = fake_route(&fake, "a")->ledger.count;
	CHECK_INT(fake_verb(&fake, "a", VERB_ROLLBACK), 0);
	CHECK_INT(fake_route(&fake, "a")->ledger.count, records);
	fake_stop(&fake);
}

TEST(by_hand_without_an_arbiter)
{
	fake_start(&fake, ROUTE(",\"arbiter\":{\"enabled\":false}"));
	struct route *route = fake_route(&fake, "a");
	CHECK_STR(fake_headline(&fake, "a"), "Not Started: 100% on Legacy");
	CHECK_INT(fake_verb(&fake, "a", VERB_START), -EPERM);
	CHECK_INT(fake_weight(&fake, "a", 3000), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Holding at 30%: set by hand");
	fake_samples(&fake, route, 0, 500);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	CHECK_INT(fake_weight(&fake, "a", 10000), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Holding at 100%: set by hand");
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "holding");
	fake_served(&fake, route, 0, 4);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_headline(&fake, "a"), "Migration Complete");
	CHECK_INT(fake_weight(&fake, "a", 5000), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Holding at 50%: set by hand");
	fake_stop(&fake);
}

TEST(by_hand_under_an_arbiter_goes_on)
{
	fake_start(&fake, ROUTE(ARBITER("")));
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 90, 0);
	CHECK_INT(fake_weight(&fake, "a", 4500), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Migration in Progress: 45% Traffic Shifted");
	CHECK_INT(samples(), 0);
	CHECK_STR(json_get_str(fake_decision(&fake, "a"), "action"), "manual");
	CHECK_STR(json_get_str(fake_decision(&fake, "a"), "by"), "uid 0");
	fake_samples(&fake, route, 101, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 5500);
	CHECK_INT(fake_verb(&fake, "a", VERB_PROMOTE), 0);
	CHECK_INT(weight(), 6500);
	CHECK_INT(fake_weight(&fake, "a", 9500), 0);
	CHECK_INT(fake_verb(&fake, "a", VERB_PROMOTE), 0);
	CHECK_INT(weight(), 10000);
	CHECK_INT(fake_verb(&fake, "a", VERB_PROMOTE), -EPERM);
	fake_stop(&fake);
}

TEST(foreign_hand_on_the_policy)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":0.3"));
	struct route *route = fake_route(&fake, "a");
	fake.control->policy.slots[route->slot].weight_bp = 9000;
	CHECK_STR(fake_headline(&fake, "a"), "Holding at 30%: the data path has 90%");
	fake_samples(&fake, route, 200, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(route->migration.weight_bp, 3000);
	CHECK_INT(fake_verb(&fake, "a", VERB_ROLLBACK), 0);
	CHECK_INT(weight(), 0);
	fake_stop(&fake);
}

TEST(wrong_split_freezes)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":0.3"));
	struct route *route = fake_route(&fake, "a");
	fake_served(&fake, route, 900, 100);
	fake_samples(&fake, route, 200, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	CHECK_STR(fake_headline(&fake, "a"),
		  "Holding at 30%: the served counts contradict the weight of 30%: modern has 100 of 1000 "
		  "requests (chi-square 190.5 > 25)");
	fake_served(&fake, route, 0, 285);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 4000);
	fake_stop(&fake);
}

/* Brings the route into a state, by the shortest way. */
static void reach(enum migration_state state)
{
	switch (state) {
	case MIGRATION_IDLE:
		fake_start(&fake, ROUTE(ARBITER("") ",\"mirror\":{\"sample\":0}"));
		break;
	case MIGRATION_MIRRORING:
		fake_start(&fake, ROUTE(ARBITER("")));
		break;
	case MIGRATION_COMPLETE:
		fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":1"));
		break;
	default:
		fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":0.3"));
		if (state == MIGRATION_HOLDING) {
			fake_samples(&fake, fake_route(&fake, "a"), 99, 2);
			fake_tick(&fake, 1000);
		} else if (state == MIGRATION_PAUSED) {
			fake_verb(&fake, "a", VERB_PAUSE);
		} else if (state == MIGRATION_ROLLED_BACK) {
			fake_verb(&fake, "a", VERB_ROLLBACK);
		}
	}
}

TEST(every_verb_in_every_state)
{
	static const struct {
		enum migration_state from;
		const char *after[VERB_COUNT]; /* NULL: refused, nothing changes */
	} rows[] = {
		/*                       start        pause   resume       promote      rollback       retry
		 */
		{MIGRATION_IDLE, {"mirroring", NULL, NULL, NULL, "rolled_back", NULL}},
		{MIGRATION_MIRRORING, {NULL, "paused", NULL, "migrating", "rolled_back", NULL}},
		{MIGRATION_MIGRATING, {NULL, "paused", NULL, "migrating", "rolled_back", NULL}},
		{MIGRATION_HOLDING, {NULL, "paused", NULL, "migrating", "rolled_back", NULL}},
		{MIGRATION_PAUSED, {NULL, NULL, "migrating", NULL, "rolled_back", NULL}},
		{MIGRATION_ROLLED_BACK, {NULL, NULL, NULL, NULL, "rolled_back", "mirroring"}},
		{MIGRATION_COMPLETE, {NULL, NULL, NULL, NULL, "rolled_back", NULL}},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned verb = 0; verb < VERB_COUNT; verb++) {
			reach(rows[i].from);
			const char *before = migration_state_word(rows[i].from), *after = rows[i].after[verb];
			CHECK_STR(fake_state(&fake, "a"), before);
			uint64_t revision = fake_route(&fake, "a")->revision;
			json_t *verbs = view_verbs(fake.control, fake_route(&fake, "a"));
			bool listed = false;
			for (size_t v = 0; v < json_array_size(verbs); v++)
				listed |= strcmp(json_string_value(json_array_get(verbs, v)),
						 verb_word((enum verb)verb)) == 0;
			json_decref(verbs);
			int err = fake_verb(&fake, "a", (enum verb)verb);
			CHECK_MSG(err == (after ? 0 : -EPERM), "%s in %s: %d", verb_word((enum verb)verb),
				  before, err);
			CHECK_MSG(listed == (after != NULL), "%s in %s is %slisted",
				  verb_word((enum verb)verb), before, listed ? "" : "not ");
			CHECK_STR(fake_state(&fake, "a"), after ? after : before);
			if (!after)
				CHECK(fake_route(&fake, "a")->revision == revision);
			fake_stop(&fake);
		}
	}
}

TEST(metrics_and_views_hold_together)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":0.3"));
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 30, 1);
	fake_served(&fake, route, 70, 30);
	struct buf text = {0};
	metrics_text(fake.control, &text);
	static const char *const lines[] = {
		"phoenix_weight_wanted_ratio{route=\"a\"} 0.3\n",
		"phoenix_weight_set_ratio{route=\"a\"} 0.3\n",
		"phoenix_compare_total{route=\"a\",result=\"match\"} 30\n",
		"phoenix_compare_total{route=\"a\",result=\"mismatch\"} 1\n",
		"phoenix_migration_state{route=\"a\",state=\"migrating\"} 1\n",
		"phoenix_migration_state{route=\"a\",state=\"idle\"} 0\n",
		"phoenix_config_last_reload_successful 1\n",
		"phoenix_consistency_lower_bound_ratio{route=\"a\"} 0.86",
		"# TYPE phoenix_request_duration_seconds histogram\n",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		CHECK_MSG(strstr(buf_cstr(&text), lines[i]), "%s", lines[i]);
	buf_fini(&text);
	json_t *json = view_route(fake.control, route, true);
	CHECK(json_real_value(json_object_get(json_object_get(json, "weight"), "seen")) == 0.3);
	CHECK_INT(json_get_u64(json_object_get(json, "consistency"), "mismatches"), 1);
	CHECK_STR(json_get_str(json, "state"), "migrating");
	json_decref(json);
	view_status(fake.control, 0, &text);
	json = json_loads(buf_cstr(&text), 0, NULL);
	buf_fini(&text);
	CHECK_STR(json_get_str(json, "headline"), "Migration in Progress: 30% Traffic Shifted");
	CHECK_INT(json_array_size(json_object_get(json, "routes")), 1);
	json_decref(json);
	fake_stop(&fake);
}

/* What a follower that has the look `since` is told: how many routes, and the number of this look. */
static size_t told(uint64_t since, bool *partial, uint64_t *cursor)
{
	struct buf text = {0};
	*cursor = view_status(fake.control, since, &text);
	json_t *json = json_loads(buf_cstr(&text), 0, NULL);
	size_t count = json_array_size(json_object_get(json, "routes"));
	*partial = json_get_bool(json, "partial");
	CHECK_INT(json_get_u64(json, "cursor"), *cursor);
	json_decref(json);
	buf_fini(&text);
	return count;
}

TEST(many_routes_are_told_by_what_changed)
{
	struct buf config = {0}, why = {0};
	const char *comma = "";
	buf_append_str(&config, "{\"state\":{\"store\":\"memory\"},\"routes\":[");
	for (unsigned i = 0; i < 300; i++, comma = ",")
		buf_printf(&config, "%s{\"id\":\"r%u\",\"path\":\"/r%u\"," FAKE_URLS "}", comma, i, i);
	buf_append_str(&config, "]}");
	fake_start(&fake, buf_cstr(&config));
	bool partial;
	uint64_t first, cursor, next;
	CHECK_INT(told(0, &partial, &first), 300);
	CHECK(!partial);
	CHECK_INT(told(first, &partial, &cursor), 0);
	CHECK(partial && cursor > first);
	/* Whoever looked before the change is told of it, however many looks there were since. */
	fake_weight(&fake, "r7", 1000);
	CHECK_INT(told(cursor, &partial, &next), 1);
	CHECK_INT(told(first, &partial, &cursor), 1);
	CHECK_INT(told(next, &partial, &cursor), 0);
	fake_samples(&fake, fake_route(&fake, "r8"), 3, 0);
	CHECK_INT(told(cursor, &partial, &next), 1);
	/* One is gone: everything, to everybody who does not know yet. */
	CHECK_INT(control_route_delete(fake.control, fake_route(&fake, "r9"), "a test", &why), 0);
	CHECK_INT(told(next, &partial, &cursor), 299);
	CHECK(!partial);
	CHECK_INT(told(first, &partial, &next), 299);
	CHECK_INT(told(next, &partial, &cursor), 0);
	/* Numbers of another life, or of nowhere. */
	CHECK_INT(told(1, &partial, &next), 299);
	CHECK_INT(told(UINT64_MAX, &partial, &next), 299);
	buf_fini(&config);
	buf_fini(&why);
	fake_stop(&fake);
}

UNIT_MAIN

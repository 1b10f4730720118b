/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence that can be trusted, from exchanges to holding or moving: synthetic samples, request shapes, the
 * split's counts, the watch after completion, and noise learnt from legacy against legacy.
 */
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

static struct facts_view view(void)
{
	struct facts_view v;
	facts_settle(fake.control->facts);
	facts_read(fake.control->facts, fake_route(&fake, "a")->slot, &v);
	return v;
}

static bool holds_because(const char *text)
{
	struct buf out = {0};
	engine_detail(&fake.control->engine, fake_route(&fake, "a"), &out);
	bool found = strstr(buf_cstr(&out), text) != NULL;
	if (!found)
		fprintf(stderr, "it says: %s\n", buf_cstr(&out));
	buf_fini(&out);
	return found;
}

static struct exchange *sample(bool good)
{
	return fake_exchange(&fake, fake_route(&fake, "a"), PHX_LEGACY, "{\"v\":1}",
			     good ? "{\"v\":1}" : "{\"v\":2}");
}

static void submit_synthetic(unsigned good, unsigned bad)
{
	for (unsigned i = 0; i < good + bad; i++) {
		struct exchange *e = sample(i < good);
		e->synthetic = true;
		fake_submit(&fake, e);
		if (i % 1000 == 999)
			facts_settle(fake.control->facts);
	}
	facts_settle(fake.control->facts);
}

static void submit_target(const char *target, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct exchange *e = sample(true);
		buf_reset(&e->target);
		buf_append_str(&e->target, target);
		fake_submit(&fake, e);
		if (i % 1000 == 999)
			facts_settle(fake.control->facts);
	}
	facts_settle(fake.control->facts);
}

TEST(synthetic_samples_unlock_only_so_much)
{
	fake_start(&fake, ROUTE(ARBITER(",\"synthetic_max_weight\":0.2")));
	submit_synthetic(101, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 1000);
	submit_synthetic(101, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 2000);
	CHECK_INT(view().build_synthetic, 202);
	submit_synthetic(5000, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 2000);
	CHECK_STR(fake_state(&fake, "a"), "holding");
	CHECK(holds_because(
		"a weight above 20% needs enough evidence from real traffic: 0 of 5000 samples are "
		"real, 0 of these mismatch"));
	/* A hundred are too few, whatever the others say. */
	fake_samples(&fake, fake_route(&fake, "a"), 100, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 2000);
	fake_samples(&fake, fake_route(&fake, "a"), 1, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	/* Synthetic matches do not dilute real mismatches: 99 of 101 real ones is not > 99 %. */
	submit_synthetic(5000, 0);
	fake_samples(&fake, fake_route(&fake, "a"), 99, 2);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	CHECK_INT(view().now.synthetic_mismatches, 0);
	/* Nor do synthetic mismatches count against the real ones more than in the whole. */
	submit_synthetic(0, 3);
	CHECK_INT(view().now.synthetic_mismatches, 3);
	CHECK_INT(view().now.mismatches, 5);
	fake_samples(&fake, fake_route(&fake, "a"), 200, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 4000);
	fake_stop(&fake);
}

TEST(one_shape_alone)
{
	/* By default an endpoint with a single kind of request migrates like any other. */
	fake_start(&fake, ROUTE(ARBITER("")));
	submit_target("/a", 101);
	CHECK_INT(view().shapes, 1);
	CHECK_INT(view().top_shape, 101);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 1000);
	CHECK_INT(view().shapes, 0);
	fake_stop(&fake);
	/* Ten thousand equal health checks do not, where the policy asks for more. */
	fake_start(&fake, ROUTE(ARBITER(",\"min_shapes\":3,\"max_shape_share\":0.8")));
	submit_target("/a/health", 3000);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 0);
	CHECK(holds_because("1 of 3 distinct request shapes seen"));
	submit_target("/a?page=2", 40);
	submit_target("/a?page=3", 40);
	submit_target("/a?sort=up", 40);
	CHECK_INT(view().shapes, 3);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 0);
	CHECK(holds_because("one request shape has 3000 of 3120 samples, more than 80%"));
	json_t *shapes = facts_shapes(fake.control->facts, fake_route(&fake, "a")->slot);
	CHECK_INT(json_array_size(shapes), 3);
	CHECK_STR(json_get_str(json_array_get(shapes, 0), "shape"), "GET 2xx");
	CHECK_INT(json_get_u64(json_array_get(shapes, 0), "samples"), 3000);
	CHECK_STR(json_get_str(json_array_get(shapes, 1), "shape"), "GET ?page 2xx");
	json_decref(shapes);
	submit_target("/a?page=2", 630); /* 3000 of 3750 is not more than 80 % */
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 1000);
	fake_stop(&fake);
}

TEST(shapes_are_bounded)
{
	fake_start(&fake, ROUTE(ARBITER("")));
	char target[64];
	for (unsigned i = 0; i < 200; i++) {
		snprintf(target, sizeof(target), "/a?name%u=1", i);
		submit_target(target, 1);
	}
	struct facts_view v = view();
	CHECK(v.shapes >= 64 && v.shapes <= 65);
	CHECK_INT(v.now.samples, 200);
	CHECK_INT(v.top_shape, 1);
	json_t *shapes = facts_shapes(fake.control->facts, fake_route(&fake, "a")->slot);
	CHECK_INT(json_array_size(shapes), 64);
	json_decref(shapes);
	fake_stop(&fake);
}

/* Keys as the gateway hashes them: the upper half decides the side. */
static void submit_keys(unsigned count, unsigned first, uint32_t modern_bp)
{
	for (unsigned i = 0; i < count; i++) {
		struct exchange *e = sample(true);
		e->split_hash = phx_mix64(first + i);
		if (phx_split_by_key(e->split_hash, modern_bp)) {
			e->side = PHX_MODERN;
			struct exchange_message served = e->served;
			e->served = e->shadow;
			e->shadow = served;
		}
		fake_submit(&fake, e);
	}
	facts_settle(fake.control->facts);
}

TEST(keyed_split_is_judged_by_keys)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"weight\":0.3,\"split\":{\"by\":\"header:X-User\"}"));
	/* One heavy user has nine requests of ten: the counts of requests say nothing about the weight. */
	fake_served(&fake, fake_route(&fake, "a"), 100, 900);
	submit_keys(120, 1, 3000);
	for (unsigned i = 0; i < 900; i++)
		submit_keys(1, 7, 3000);
	struct facts_view v = view();
	CHECK_INT(v.keys[0] + v.keys[1], 120);
	CHECK(v.keys[1] > 20 && v.keys[1] < 55);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 4000);
	/* The wrong keys, however: everybody goes to legacy. */
	submit_keys(200, 1000, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 4000);
	CHECK(holds_because("the served counts contradict the weight of 40%: modern has 0 of 200 keys"));
	/* The next step counts anew; what finds no room is left out. */
	CHECK_INT(fake_weight(&fake, "a", 5000), 0);
	CHECK_INT(view().keys[0], 0);
	submit_keys(2000, 5000, 5000);
	v = view();
	CHECK_INT(v.keys[0] + v.keys[1], 512);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 6000);
	fake_stop(&fake);
}

TEST(watch_after_completion)
{
	static const struct {
		const char *arbiter;
		unsigned bad;	   /* mismatches that must not alarm yet */
		const char *state; /* after one more */
	} rows[] = {
		{"", 4, "rolled_back"},
		{",\"watch_alarm\":4.6", 2, "rolled_back"},
		{",\"watch_alarm\":6.5", 4, "rolled_back"},
		{",\"watch_alarm\":0", 500, "complete"},
		{",\"on_failure\":\"pause\"", 4, "paused"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf text = {0};
		buf_printf(&text, ROUTE(ARBITER("%s") ",\"weight\":1"), rows[i].arbiter);
		fake_start(&fake, buf_cstr(&text));
		buf_fini(&text);
		struct route *route = fake_route(&fake, "a");
		fake_samples(&fake, route, 10000, rows[i].bad);
		fake_tick(&fake, 1000);
		CHECK_STR(fake_state(&fake, "a"), "complete");
		fake_samples(&fake, route, 0, 1);
		fake_tick(&fake, 1000);
		CHECK_MSG(strcmp(fake_state(&fake, "a"), rows[i].state) == 0, "row %zu: %s", i,
			  fake_state(&fake, "a"));
		if (strcmp(rows[i].state, "paused") == 0) {
			CHECK_INT(weight(), 10000);
			CHECK(fake_event(&fake, "regression after completion"));
			/* A person goes on: the old alarm must not stop it again at once. */
			CHECK_INT(fake_verb(&fake, "a", VERB_RESUME), 0);
			fake_samples(&fake, route, 10, 0);
			fake_tick(&fake, 1000);
			CHECK_STR(fake_state(&fake, "a"), "complete");
		}
		fake_stop(&fake);
	}
}

TEST(bounded_waits_for_the_ladder)
{
	fake_start(&fake, ROUTE(ARBITER(",\"policy\":\"bounded\"")));
	struct route *route = fake_route(&fake, "a");
	/* 112 clean samples a step: at 50 % the build has 560, far more than any rung needs. */
	for (uint32_t step = 1; step <= 10; step++) {
		fake_samples(&fake, route, 111, 0);
		fake_tick(&fake, 1000);
		CHECK_INT(weight(), (step - 1) * 1000);
		fake_samples(&fake, route, 1, 0);
		fake_tick(&fake, 1000);
		CHECK_INT(weight(), step * 1000);
	}
	fake_stop(&fake);
	/* Whoever comes in at 50 % without a past has to bring 133 for the next step and 268 for the last. */
	fake_start(&fake, ROUTE(ARBITER(",\"policy\":\"bounded\"") ",\"weight\":0.5"));
	route = fake_route(&fake, "a");
	fake_samples(&fake, route, 132, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 5000);
	CHECK(holds_because("of this build < 98% (132 of 132 samples)"));
	fake_samples(&fake, route, 1, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 6000);
	fake_stop(&fake);
	fake_start(&fake, ROUTE(ARBITER(",\"policy\":\"bounded\"") ",\"weight\":0.9"));
	route = fake_route(&fake, "a");
	fake_samples(&fake, route, 267, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 9000);
	fake_samples(&fake, route, 1, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 10000);
	fake_stop(&fake);
	/* Ninety mismatches of the former code do not stand in the way of the mended one. */
	fake_start(&fake, ROUTE(ARBITER(",\"policy\":\"bounded\"") ",\"weight\":0.9"));
	route = fake_route(&fake, "a");
	fake_samples(&fake, route, 10, 90);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "rolled_back");
	CHECK_INT(view().build_mismatches, 90);
	CHECK_INT(fake_verb(&fake, "a", VERB_RETRY), 0);
	CHECK_INT(view().build_samples, 0);
	CHECK_INT(fake_weight(&fake, "a", 9000), 0);
	fake_samples(&fake, route, 268, 0);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 10000);
	fake_stop(&fake);
	/* Five straight mismatches are enough to go back; literal waits for twenty. */
	fake_start(&fake, ROUTE(ARBITER(",\"policy\":\"bounded\"") ",\"weight\":0.3"));
	fake_samples(&fake, fake_route(&fake, "a"), 0, 4);
	fake_tick(&fake, 1000);
	CHECK_INT(weight(), 3000);
	fake_samples(&fake, fake_route(&fake, "a"), 0, 1);
	fake_tick(&fake, 1000);
	CHECK_STR(fake_state(&fake, "a"), "rolled_back");
	fake_stop(&fake);
}

/* --- noise ---------------------------------------------------------------------------------------------- */

/* An exchange that legacy answered twice. */
static void submit_twice(const char *legacy, const char *again, const char *modern)
{
	struct exchange *e = fake_exchange(&fake, fake_route(&fake, "a"), PHX_LEGACY, legacy, modern);
	e->control.status = 200;
	exchange_add_field(e, &e->control, SLICE("Content-Type"), SLICE("application/json"));
	exchange_add_body(e, &e->control, slice_str(again));
	fake_submit(&fake, e);
	facts_settle(fake.control->facts);
}

static json_t *noise_now(void)
{
	facts_settle(fake.control->facts);
	return facts_noise(fake.control->facts, fake_route(&fake, "a")->slot, true);
}

TEST(noise_is_proposed_and_nothing_more)
{
	fake_start(&fake, ROUTE(ARBITER("")));
	submit_twice("{\"v\":1,\"at\":1}", "{\"v\":1,\"at\":2}", "{\"v\":1,\"at\":3}");
	json_t *noise = noise_now();
	CHECK_INT(json_get_u64(noise, "samples"), 1);
	CHECK_INT(json_get_u64(noise, "differing"), 1);
	CHECK_INT(json_array_size(json_object_get(noise, "proposed")), 0); /* once may be chance */
	json_decref(noise);
	/* An array of ids: one answer that differs, not three places. */
	submit_twice("{\"v\":1,\"at\":1,\"l\":[{\"id\":1},{\"id\":2}]}",
		     "{\"v\":1,\"at\":2,\"l\":[{\"id\":3},{\"id\":4}]}",
		     "{\"v\":2,\"at\":3,\"l\":[{\"id\":1},{\"id\":2}]}");
	noise = noise_now();
	json_t *proposed = json_object_get(noise, "proposed");
	CHECK_INT(json_array_size(proposed), 1);
	CHECK_STR(json_string_value(json_array_get(proposed, 0)), "/at");
	json_t *place = json_array_get(json_object_get(noise, "places"), 1);
	CHECK_STR(json_get_str(place, "pointer"), "/l/*/id");
	CHECK_INT(json_get_u64(place, "count"), 1);
	CHECK(!json_get_bool(place, "proposed"));
	json_decref(noise);
	/* All of them are still mismatches: proposing masks nothing. */
	CHECK_INT(view().now.mismatches, 2);
	CHECK_INT(view().now.samples, 2);
	for (unsigned i = 0; i < 100; i++)
		submit_twice("{\"at\":1}", "{\"at\":2}", "{\"at\":1}");
	control_noise(fake.control);
	CHECK_INT(route_config_of(fake_route(&fake, "a"))->compare.ignore.count, 0);
	CHECK(fake_event(&fake, "legacy disagrees with itself (102 of 102 answers) at /at"));
	/* What differs as a whole can be seen, but is nothing that a rule could ignore. */
	submit_twice("1", "2", "1");
	submit_twice("1", "2", "1");
	noise = noise_now();
	CHECK_INT(json_array_size(json_object_get(noise, "proposed")), 1);
	json_decref(noise);
	fake_stop(&fake);
}

TEST(noise_is_ignored_where_the_policy_says_so)
{
	fake_start(&fake, ROUTE(ARBITER("") ",\"compare\":{\"noise\":\"apply\",\"ignore\":[\"/old\"]}"));
	for (unsigned i = 0; i < 19; i++)
		submit_twice("{\"at\":1,\"old\":1}", "{\"at\":2,\"old\":2}", "{\"at\":1,\"old\":1}");
	control_noise(fake.control);
	CHECK_INT(route_config_of(fake_route(&fake, "a"))->compare.ignore.count, 1); /* too few answers */
	submit_twice("{\"at\":1}", "{\"at\":2}", "{\"at\":3}");
	CHECK_INT(view().now.samples, 20);
	control_noise(fake.control);
	const struct route_config *config = route_config_of(fake_route(&fake, "a"));
	CHECK_INT(config->compare.ignore.count, 2);
	CHECK_STR(config->compare.ignore.items[1], "/at");
	CHECK(fake_event(&fake, "ignored from now on"));
	/* The rule has changed, so the evidence begins anew; and now it does not count any more. */
	CHECK_INT(view().now.samples, 0);
	submit_twice("{\"at\":1}", "{\"at\":2}", "{\"at\":3}");
	CHECK_INT(view().now.mismatches, 0);
	json_t *noise = noise_now();
	CHECK_INT(json_array_size(json_object_get(noise, "proposed")), 0);
	json_t *places = json_object_get(noise, "places");
	for (size_t i = 0; i < json_array_size(places); i++)
		CHECK(json_get_bool(json_array_get(places, i), "ignored"));
	json_decref(noise);
	/* Ignored differences stay visible. */
	json_t *groups = facts_differences(fake.control->facts, fake_route(&fake, "a")->slot);
	CHECK_INT(json_array_size(groups), 1);
	CHECK(json_get_bool(json_array_get(groups, 0), "ignored"));
	json_decref(groups);
	control_noise(fake.control);
	CHECK_INT(route_config_of(fake_route(&fake, "a"))->compare.ignore.count, 2);
	fake_stop(&fake);
}

TEST(figures_are_shown_under_both_policies)
{
	static const char *const policies[] = {"literal", "bounded"};
	for (unsigned i = 0; i < 2; i++) {
		struct buf text = {0};
		buf_printf(&text, ROUTE(ARBITER(",\"policy\":\"%s\"") ",\"weight\":0.5"), policies[i]);
		fake_start(&fake, buf_cstr(&text));
		buf_fini(&text);
		struct route *route = fake_route(&fake, "a");
		fake_served(&fake, route, 300, 300);
		fake_samples(&fake, route, 99, 1);
		fake_tick(&fake, 1000);
		json_t *json = view_route(fake.control, route, false);
		json_t *c = json_object_get(json, "consistency"), *build = json_object_get(c, "build");
		double llr = 99 * 0.041243 - 1.609438;
		double got = json_real_value(json_object_get(c, "llr"));
		CHECK_MSG(got > llr - 1e-3 && got < llr + 1e-3, "%f", got);
		got = json_real_value(json_object_get(c, "llr_bound"));
		CHECK_MSG(got > 4.60516 && got < 4.60518, "%f", got);
		got = json_real_value(json_object_get(c, "wilson_lower"));
		CHECK_MSG(got > 0.95 && got < 0.97, "%f", got);
		CHECK_INT(json_get_u64(build, "samples"), 100);
		CHECK(i == 0 ? json_is_null(json_object_get(build, "needs"))
			     : json_real_value(json_object_get(build, "needs")) == 0.98);
		CHECK_INT(json_get_u64(json_object_get(c, "split"), "modern"), 300);
		CHECK_INT(json_get_u64(json_object_get(c, "shapes"), "distinct"), 1);
		CHECK(json_real_value(json_object_get(json_object_get(c, "watch"), "alarm")) == 8);
		json_decref(json);
		const json_t *record = fake_decision(&fake, "a");
		CHECK(json_is_real(json_object_get(record, "llr")));
		CHECK(json_is_real(json_object_get(record, "wilson_lower")));
		CHECK(json_is_real(json_object_get(record, "build_wilson_lower")));
		struct buf why = {0};
		CHECK_MSG(record_replay(record, &why) == RECORD_SAME, "%s", buf_cstr(&why));
		buf_fini(&why);
		fake_stop(&fake);
	}
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/* From exchanges to evidence: what counts, what does not, what is kept, and what of it is redacted. */
#include "test_control_support.h"

#include "control/differences.h"
#include "control/example.h"

static const char one_route[] =
	"{\"state\":{\"store\":\"memory\"},\"routes\":[{\"id\":\"a\",\"path\":\"/a\"," FAKE_URLS
	",\"compare\":{\"ignore\":[\"/noise\"]}}]}";

static struct facts_view view_of(struct fake *fake, const char *id)
{
	struct facts_view view;
	facts_settle(fake->control->facts);
	facts_read(fake->control->facts, fake_route(fake, id)->slot, &view);
	return view;
}

TEST(samples_are_counted)
{
	static struct fake fake;
	fake_start(&fake, one_route);
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 7, 2);
	struct facts_view view = view_of(&fake, "a");
	CHECK_INT(view.now.samples, 9);
	CHECK_INT(view.now.mismatches, 2);
	CHECK_INT(view.total.samples, 9);
	CHECK_INT(view.build_samples, 9);
	CHECK(view.watch > 0);
	facts_watch_reset(fake.control->facts, route->slot);
	CHECK(view_of(&fake, "a").watch == 0);
	/* What an ignored pointer hides is no mismatch. */
	fake_submit(&fake, fake_exchange(&fake, route, PHX_MODERN, "{\"noise\":1}", "{\"noise\":2}"));
	view = view_of(&fake, "a");
	CHECK_INT(view.now.mismatches, 2);
	uint32_t slots[4];
	CHECK_INT(facts_take_dirty(fake.control->facts, slots, 4), 1);
	CHECK_INT(slots[0], route->slot);
	CHECK_INT(facts_take_dirty(fake.control->facts, slots, 4), 0);
	fake_stop(&fake);
}

TEST(outcomes_are_kept_apart)
{
	static struct fake fake;
	fake_start(&fake, one_route);
	struct route *route = fake_route(&fake, "a");
	uint64_t comparable = 0, mismatches = 0;
	for (unsigned outcome = 0; outcome < EXCHANGE_OUTCOME_COUNT; outcome++) {
		struct exchange *e = fake_exchange(&fake, route, PHX_LEGACY, "{}", "{}");
		e->outcome = (enum exchange_outcome)outcome;
		e->synthetic = outcome == EXCHANGE_COMPARABLE;
		fake_submit(&fake, e);
		bool mismatch = exchange_outcome_is_mismatch((enum exchange_outcome)outcome);
		comparable += mismatch || outcome == EXCHANGE_COMPARABLE;
		mismatches += mismatch;
	}
	struct facts_view view = view_of(&fake, "a");
	CHECK_INT(view.now.samples, comparable);
	CHECK_INT(view.now.mismatches, mismatches);
	CHECK_INT(view.now.synthetic, 1);
	CHECK(mismatches >= 3);
	for (unsigned outcome = 0; outcome < EXCHANGE_OUTCOME_COUNT; outcome++) {
		bool counts = outcome == EXCHANGE_COMPARABLE ||
			      exchange_outcome_is_mismatch((enum exchange_outcome)outcome);
		CHECK_MSG(view.now.not_comparable[outcome] == !counts, "%s",
			  exchange_outcome_word((enum exchange_outcome)outcome));
	}
	fake_stop(&fake);
}

TEST(old_evidence_decides_nothing)
{
	static struct fake fake;
	fake_start(&fake, one_route);
	struct route *route = fake_route(&fake, "a");
	fake_samples(&fake, route, 3, 0);
	struct exchange *late = fake_exchange(&fake, route, PHX_LEGACY, "1", "2");
	struct exchange *foreign = fake_exchange(&fake, route, PHX_LEGACY, "1", "2");
	foreign->generation++;
	struct exchange *nowhere = fake_exchange(&fake, route, PHX_LEGACY, "1", "2");
	nowhere->slot = PHX_ROUTE_SLOTS + 5;
	CHECK_INT(fake_weight(&fake, "a", 1000), 0);
	fake_submit(&fake, late);
	fake_submit(&fake, foreign);
	fake_submit(&fake, nowhere);
	struct facts_view view = view_of(&fake, "a");
	CHECK_INT(view.now.samples, 0);
	CHECK_INT(view.stale, 1);
	CHECK_INT(view.total.samples, 3);
	CHECK_INT(view.build_samples, 3);
	fake_samples(&fake, route, 1, 0);
	CHECK_INT(view_of(&fake, "a").now.samples, 1);
	fake_stop(&fake);
}

TEST(full_queue_sheds_samples)
{
	static struct fake fake;
	fake_start(&fake, one_route);
	fake.budget.max_bytes = 1u << 30;
	struct route *route = fake_route(&fake, "a");
	/* More at once than the queue holds; the comparer takes some meanwhile: the sum must be right. */
	enum { COUNT = 3 * FACTS_QUEUE_MAX };
	static struct exchange *all[COUNT];
	for (unsigned i = 0; i < COUNT; i++)
		all[i] = fake_exchange(&fake, route, PHX_LEGACY, "{\"v\":[1,2,3]}", "{\"v\":[1,2,3]}");
	for (unsigned i = 0; i < COUNT; i++)
		fake_submit(&fake, all[i]);
	struct facts_view view = view_of(&fake, "a");
	uint64_t shed = view.now.not_comparable[EXCHANGE_QUEUE_FULL];
	CHECK_INT(view.now.samples + shed, COUNT);
	CHECK_MSG(shed > 0, "the queue was never full");
	CHECK_INT(fake.budget.used_bytes, 0);
	fake_stop(&fake);
}

TEST(differences_are_grouped_and_redacted)
{
	static struct fake fake;
	fake_start(&fake,
		   "{\"state\":{\"store\":\"memory\"},\"routes\":[{\"id\":\"a\",\"path\":\"/a\"," FAKE_URLS
		   ",\"compare\":{\"redact\":[\"/card\"]}}]}");
	struct route *route = fake_route(&fake, "a");
	for (unsigned i = 0; i < 8; i++)
		fake_submit(&fake,
			    fake_exchange(
				    &fake, route, PHX_LEGACY,
				    "{\"data\":[{\"fee\":1},{\"fee\":2}],\"card\":\"4111-secret\"}",
				    i % 2 ? "{\"data\":[{\"fee\":1},{\"fee\":3}],\"card\":\"4111-secret\"}"
					  : "{\"data\":[{\"fee\":9},{\"fee\":2}],\"card\":\"5500-secret\"}"));
	facts_settle(fake.control->facts);
	json_t *list = facts_differences(fake.control->facts, route->slot);
	CHECK_INT(json_array_size(list), 2);
	json_t *fee = json_array_get(list, 0);
	CHECK_STR(json_get_str(fee, "pointer"), "/data/*/fee");
	CHECK_STR(json_get_str(fee, "kind"), "value");
	CHECK_STR(json_get_str(fee, "key"), "value /data/*/fee");
	CHECK_INT(json_get_u64(fee, "count"), 8);
	CHECK_INT(json_array_size(json_object_get(fee, "examples")), DIFFERENCE_EXAMPLES_MAX);
	json_t *example = json_array_get(json_object_get(fee, "examples"), 0);
	CHECK_STR(json_get_str(example, "pointer"), "/data/0/fee");
	CHECK_STR(json_get_str(example, "legacy"), "1");
	CHECK_STR(json_get_str(example, "modern"), "9");
	CHECK_STR(json_get_str(example, "method"), "GET");
	CHECK_STR(json_get_str(example, "side"), "legacy");
	CHECK_INT(json_get_u64(example, "legacy_status"), 200);
	char *text = json_dumps(list, 0);
	CHECK(!strstr(text, "very-secret"));
	CHECK(!strstr(text, "4111-secret"));
	CHECK(!strstr(text, "5500-secret"));
	CHECK(strstr(text, "redacted:"));
	free(text);
	json_decref(list);

	/* What would ignoring change? Half of the mismatches have the card as well. */
	const char *why = NULL;
	char *fees[] = {"/data/*/fee"}, *both[] = {"/data", "/card"}, *one[] = {"/data/0/fee"},
	     *bad[] = {"x"};
	json_t *preview = facts_ignore_preview(fake.control->facts, route->slot, fees, 1, &why);
	CHECK_INT(json_get_u64(preview, "groups_silenced"), 1);
	CHECK_INT(json_get_u64(preview, "mismatches_silenced"), 4);
	CHECK_INT(json_get_u64(preview, "still_mismatching"), 4);
	json_decref(preview);
	preview = facts_ignore_preview(fake.control->facts, route->slot, both, 2, &why);
	CHECK_INT(json_get_u64(preview, "mismatches_silenced"), 8);
	CHECK_INT(json_get_u64(preview, "still_mismatching"), 0);
	json_decref(preview);
	preview = facts_ignore_preview(fake.control->facts, route->slot, one, 1, &why);
	CHECK_INT(json_get_u64(preview, "mismatches_silenced"), 0);
	json_decref(preview);
	CHECK(facts_ignore_preview(fake.control->facts, route->slot, bad, 1, &why) == NULL);
	CHECK(why != NULL);

	json_t *top = facts_top(fake.control->facts, route->slot, 1);
	CHECK_INT(json_array_size(top), 1);
	CHECK_STR(json_get_str(json_array_get(top, 0), "pointer"), "/data/*/fee");
	json_decref(top);
	fake_stop(&fake);
}

static json_t *smallest_of(struct fake *fake, const char *id, size_t group)
{
	facts_settle(fake->control->facts);
	json_t *list = facts_differences(fake->control->facts, fake_route(fake, id)->slot);
	json_t *smallest = json_incref(json_object_get(json_array_get(list, group), "smallest"));
	json_decref(list);
	return smallest;
}

TEST(the_smallest_failing_pair_is_kept_whole)
{
	static struct fake fake;
	fake_start(&fake,
		   "{\"state\":{\"store\":\"memory\"},\"routes\":[{\"id\":\"a\",\"path\":\"/a\"," FAKE_URLS
		   ",\"compare\":{\"redact\":[\"/card\"]}}]}");
	struct route *route = fake_route(&fake, "a");
	char legacy[6000], modern[6000];
	/* A large one first, then smaller ones, then larger ones again. */
	static const unsigned pads[] = {5000, 3000, 40, 90, 4000};
	for (size_t i = 0; i < sizeof(pads) / sizeof(pads[0]); i++) {
		snprintf(legacy, sizeof(legacy), "{\"v\":1,\"pad\":\"%0*d\"}", (int)pads[i], 0);
		snprintf(modern, sizeof(modern), "{\"v\":2,\"pad\":\"%0*d\"}", (int)pads[i], 0);
		struct exchange *e = fake_exchange(&fake, route, PHX_LEGACY, legacy, modern);
		e->request.field_count = 0; /* no secret in this one */
		fake_submit(&fake, e);
		json_t *smallest = smallest_of(&fake, "a", 0);
		unsigned least = pads[i];
		for (size_t j = 0; j < i; j++)
			least = pads[j] < least ? pads[j] : least;
		snprintf(legacy, sizeof(legacy), "{\"v\":1,\"pad\":\"%0*d\"}", (int)least, 0);
		CHECK_STR(json_get_str(smallest, "legacy_body"), legacy);
		CHECK(json_get_bool(smallest, "complete"));
		CHECK_STR(json_get_str(json_object_get(smallest, "legacy_headers"), "content-type"),
			  "application/json");
		json_decref(smallest);
	}
	/* Smaller, but with a secret in its request: it cannot be asked again, and says so. */
	fake_submit(&fake, fake_exchange(&fake, route, PHX_LEGACY, "{\"v\":1}", "{\"v\":2}"));
	json_t *smallest = smallest_of(&fake, "a", 0);
	CHECK_STR(json_get_str(smallest, "modern_body"), "{\"v\":2}");
	CHECK(!json_get_bool(smallest, "complete"));
	json_decref(smallest);
	/* A body beyond the limit is cut, and one with a redacted place is not what was sent. */
	char *large = malloc(2 * EXAMPLE_CASE_BYTES_MAX);
	snprintf(large, 2 * EXAMPLE_CASE_BYTES_MAX, "{\"w\":\"%0*d\"}", EXAMPLE_CASE_BYTES_MAX, 0);
	struct exchange *e = fake_exchange(&fake, route, PHX_LEGACY, large, "{\"w\":2}");
	e->request.field_count = 0;
	fake_submit(&fake, e);
	free(large);
	smallest = smallest_of(&fake, "a", 1);
	CHECK(!json_get_bool(smallest, "complete"));
	CHECK(strlen(json_get_str(smallest, "legacy_body")) <= EXAMPLE_CASE_BYTES_MAX);
	json_decref(smallest);
	e = fake_exchange(&fake, route, PHX_LEGACY, "{\"u\":1,\"card\":\"4111\"}",
			  "{\"u\":2,\"card\":\"4111\"}");
	e->request.field_count = 0;
	fake_submit(&fake, e);
	smallest = smallest_of(&fake, "a", 2);
	CHECK(smallest && !json_get_bool(smallest, "complete"));
	CHECK(!strstr(json_get_str(smallest, "legacy_body"), "4111"));
	json_decref(smallest);
	facts_unmount(fake.control->facts, route->slot);
	fake_stop(&fake);
}

TEST(after_the_end_everything_is_turned_away)
{
	static struct fake fake;
	fake_start(&fake, one_route);
	struct route *route = fake_route(&fake, "a");
	for (unsigned i = 0; i < 100; i++)
		fake_submit(&fake, fake_exchange(&fake, route, PHX_LEGACY, "{\"v\":1}", "{\"v\":1}"));
	facts_stop(fake.control->facts);
	CHECK_INT(fake.budget.used_bytes, 0);
	fake_submit(&fake, fake_exchange(&fake, route, PHX_LEGACY, "1", "1"));
	CHECK_INT(fake.budget.used_bytes, 0);
	facts_stop(fake.control->facts);
	fake_stop(&fake);
}

TEST(groups_are_bounded)
{
	struct difference_set set = {0};
	char pointer[32];
	for (unsigned i = 0; i < DIFFERENCE_GROUPS_MAX + 10; i++) {
		snprintf(pointer, sizeof(pointer), "/m%u", i);
		int group = difference_set_count(&set, slice_str(pointer), "value", false, 1, 1);
		CHECK_INT(group, i < DIFFERENCE_GROUPS_MAX ? (int)i : -1);
	}
	CHECK_INT(set.groups_lost, 10);
	CHECK_INT(difference_set_count(&set, SLICE("/m7"), "value", false, 2, 5), 7);
	CHECK_INT(set.groups[7]->count, 2);
	CHECK_INT(set.groups[7]->step_count, 1);
	for (unsigned i = 0; i < DIFFERENCE_SIGNATURES_MAX + 3; i++) {
		uint64_t bits[DIFFERENCE_GROUPS_MAX / 64] = {i + 1};
		difference_set_sign(&set, bits);
	}
	CHECK_INT(set.signature_count, DIFFERENCE_SIGNATURES_MAX);
	CHECK_INT(set.signatures_lost, 3);
	difference_set_fini(&set);
	CHECK_INT(set.count, 0);
}

TEST(ignored_groups_follow_the_rules)
{
	struct difference_set set = {0};
	difference_set_count(&set, SLICE("/a~1b/c"), "value", false, 1, 1);
	difference_set_count(&set, SLICE("status"), "status", false, 1, 1);
	difference_set_count(&set, SLICE("/items/*/id"), "value", false, 1, 1);
	difference_set_count(&set, SLICE(""), "type", false, 1, 1);
	char *rules[] = {"/a~1b", "/items/*", "not a pointer"};
	difference_set_ignore(&set, rules, 3);
	CHECK(set.groups[0]->ignored);
	CHECK(!set.groups[1]->ignored);
	CHECK(set.groups[2]->ignored);
	CHECK(!set.groups[3]->ignored);
	char *all[] = {""};
	difference_set_ignore(&set, all, 1);
	CHECK(set.groups[3]->ignored);
	CHECK(!set.groups[1]->ignored);
	difference_set_fini(&set);
}

UNIT_MAIN

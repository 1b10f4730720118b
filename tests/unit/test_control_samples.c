/* SPDX-License-Identifier: Apache-2.0 */
/* The real requests that are kept to make traffic from: a fair choice, bounded, redacted, none of them made
 * ones. */
#include "test_control_support.h"

#include "control/samples.h"

static struct exchange *plain(bool synthetic)
{
	static struct exchange exchange;
	exchange.synthetic = synthetic;
	return &exchange;
}

/* After n requests each was kept with about the same chance; later ones replace earlier ones for ever. */
TEST(the_choice_is_fair_and_goes_on)
{
	enum { COUNT = 20000 };
	struct sample_set set = {0};
	static unsigned holds[SAMPLES_MAX];
	unsigned early = 0, late = 0;
	CHECK_INT(sample_set_place(&set, plain(true)), -1);
	CHECK_INT(set.seen, 0);
	for (unsigned i = 0; i < COUNT; i++) {
		int place = sample_set_place(&set, plain(false));
		CHECK(place >= -1 && place < SAMPLES_MAX && (i >= SAMPLES_MAX || place == (int)i));
		if (place >= 0)
			holds[place] = i;
	}
	for (unsigned i = 0; i < SAMPLES_MAX; i++) {
		early += holds[i] < COUNT / 2;
		late += holds[i] >= COUNT - COUNT / 4;
	}
	CHECK_MSG(late > 16 && early < 32, "%u of the last quarter, %u of the first half", late, early);
}

TEST(memory_is_bounded)
{
	struct sample_set set = {0};
	uint64_t total = SAMPLES_BYTES_MAX - 1000;
	sample_set_keep(&set, 0, json_integer(1), 600, &total);
	sample_set_keep(&set, 1, json_integer(2), 600, &total); /* no room: dropped */
	CHECK_INT(set.count, 1);
	CHECK_INT(total, SAMPLES_BYTES_MAX - 400);
	sample_set_keep(&set, 0, json_integer(3), 1000, &total); /* in place of the first */
	CHECK_INT(total, SAMPLES_BYTES_MAX);
	json_t *json = sample_set_to_json(&set);
	CHECK_INT(json_integer_value(json_array_get(json_object_get(json, "samples"), 0)), 3);
	json_decref(json);
	sample_set_fini(&set, &total);
	CHECK_INT(total, SAMPLES_BYTES_MAX - 1000);
}

/* Through the comparer: what the daemon gives out, and what is forgotten when redaction may have changed. */
TEST(kept_of_a_route)
{
	static struct fake fake;
	fake_start(&fake,
		   "{\"state\":{\"store\":\"memory\"},\"routes\":[{\"id\":\"a\",\"path\":\"/a\"," FAKE_URLS
		   ",\"compare\":{\"redact\":[\"/pin\"]}}]}");
	struct route *route = fake_route(&fake, "a");
	for (unsigned i = 0; i < 3; i++) {
		struct exchange *e = fake_exchange(&fake, route, PHX_LEGACY, "{}", "{}");
		e->synthetic = i == 2;
		buf_append_str(&e->request.body, "{\"pin\":\"secret\",\"n\":1}");
		fake_submit(&fake, e);
	}
	facts_settle(fake.control->facts);
	json_t *json = facts_samples(fake.control->facts, route->slot);
	json_t *first = json_array_get(json_object_get(json, "samples"), 0);
	CHECK_INT(json_integer_value(json_object_get(json, "seen")), 2);
	CHECK_INT(json_array_size(json_object_get(json, "samples")), 2);
	const char *body = json_string_value(json_object_get(first, "request"));
	CHECK_MSG(body && !strstr(body, "secret") && strstr(body, "redacted:"), "%s", body);
	CHECK(json_is_false(json_object_get(first, "complete")));
	json_decref(json);
	fake_stop(&fake);
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of acting and storing: less for modern acts although the disk is dead, more is refused. And what
 * a restart finds.
 */
#include "test_control_support.h"

#include "base/log.h"

static const char one_route[] =
	"{\"state\":{\"store\":\"memory\"},\"routes\":[{\"id\":\"a\",\"path\":\"/a\"," FAKE_URLS
	",\"weight\":0.3,\"arbiter\":{\"enabled\":false}}]}";

/* The store's own operations, and the one that fails in their place. */
static struct store_ops failing_ops;
static const struct store_ops *real_ops;
static unsigned refused;
static uint32_t weight_when_saving;
static struct fake fake;

static int failing_write(struct store *store, struct store_write *writes, size_t count, uint64_t fence,
			 uint64_t *epoch, struct buf *why)
{
	refused++;
	weight_when_saving = policy_weight_bp(&fake.control->policy, fake_route(&fake, "a")->slot);
	buf_append_str(why, "the disk is dead");
	return -EIO;
}

static int watching_write(struct store *store, struct store_write *writes, size_t count, uint64_t fence,
			  uint64_t *epoch, struct buf *why)
{
	weight_when_saving = policy_weight_bp(&fake.control->policy, fake_route(&fake, "a")->slot);
	return real_ops->write(store, writes, count, fence, epoch, why);
}

static void use_write(int (*write)(struct store *, struct store_write *, size_t, uint64_t, uint64_t *,
				   struct buf *))
{
	struct store *store = fake.control->store;
	if (store->ops != &failing_ops)
		real_ops = store->ops;
	failing_ops = *real_ops;
	failing_ops.write = write;
	store->ops = &failing_ops;
}

static uint32_t set_bp(void)
{
	return policy_weight_bp(&fake.control->policy, fake_route(&fake, "a")->slot);
}

TEST(more_is_stored_first)
{
	fake_start(&fake, one_route);
	use_write(watching_write);
	CHECK_INT(set_bp(), 3000);
	CHECK_INT(fake_weight(&fake, "a", 5000), 0);
	CHECK_INT(weight_when_saving, 3000);
	CHECK_INT(set_bp(), 5000);
	fake_stop(&fake);
}

TEST(less_acts_first)
{
	fake_start(&fake, one_route);
	use_write(watching_write);
	CHECK_INT(fake_weight(&fake, "a", 1000), 0);
	CHECK_INT(weight_when_saving, 1000);
	CHECK_INT(set_bp(), 1000);
	fake_stop(&fake);
}

TEST(dead_disk_refuses_more)
{
	fake_start(&fake, one_route);
	use_write(failing_write);
	refused = 0;
	struct route *route = fake_route(&fake, "a");
	struct migration before = route->migration;
	uint32_t step = policy_step(&fake.control->policy, route->slot);
	struct buf why = {0};
	CHECK_INT(engine_set_weight(&fake.control->engine, route, 3001, "uid 0", "", fake.now, &why), -EIO);
	CHECK(strstr(buf_cstr(&why), "the disk is dead"));
	buf_fini(&why);
	CHECK_INT(refused, 1);
	CHECK_INT(set_bp(), 3000);
	CHECK_INT(policy_step(&fake.control->policy, route->slot), step);
	CHECK(memcmp(&before, &route->migration, sizeof(before)) == 0);
	CHECK(!fake.control->state.ok);
	CHECK(!fake.control->state.unsaved);
	/* Nothing of it may be stored later on, with something else. */
	CHECK(state_migration(&fake.control->state, "a") == NULL);
	fake_stop(&fake);
}

TEST(dead_disk_does_not_stop_a_rollback)
{
	fake_start(&fake, one_route);
	use_write(failing_write);
	CHECK_INT(fake_verb(&fake, "a", VERB_ROLLBACK), 0);
	CHECK_INT(set_bp(), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Rollback triggered");
	CHECK(fake_event(&fake, "is not stored"));
	CHECK(fake.control->state.unsaved);
	/* The disk comes back: what acts is stored without anybody asking. */
	fake.control->store->ops = real_ops;
	state_retry(&fake.control->state);
	CHECK(!fake.control->state.unsaved);
	CHECK(fake.control->state.ok);
	struct store_records records = {0};
	struct buf why = {0};
	CHECK_INT(store_load(fake.control->store, &records, &why), 0);
	bool found = false;
	for (size_t i = 0; i < records.count; i++)
		found |= records.items[i].section == STORE_ROUTES && strcmp(records.items[i].id, "a") == 0 &&
			 json_get_bool(records.items[i].value, "rolled_back");
	CHECK(found);
	store_records_fini(&records);
	buf_fini(&why);
	fake_stop(&fake);
}

TEST(zero_and_one_are_absolute)
{
	fake_start(&fake, one_route);
	CHECK_INT(fake_weight(&fake, "a", 10000), 0);
	CHECK_INT(set_bp(), 10000);
	CHECK_INT(fake_weight(&fake, "a", 0), 0);
	CHECK_INT(set_bp(), 0);
	struct route *route = fake_route(&fake, "a");
	CHECK_INT(route->migration.epoch, 3);
	CHECK_INT(fake.control->policy.slots[route->slot].epoch, 3);
	/* The same again: an order, but no new step. */
	uint32_t step = route->migration.step;
	CHECK_INT(fake_weight(&fake, "a", 0), 0);
	CHECK_INT(route->migration.epoch, 4);
	CHECK_INT(route->migration.step, step);
	fake_stop(&fake);
}

/* --- what a restart finds --------------------------------------------------------------------------------
 */

static char directory[] = "/tmp/phx-traffic-XXXXXX";

static const char *file_config(const char *weight, const char *modern)
{
	static char text[1024];
	snprintf(text, sizeof(text),
		 "{\"state\":{\"store\":\"file\",\"path\":\"%s/state.json\"},\"routes\":[{\"id\":\"a\","
		 "\"path\":\"/a\",\"legacy_url\":\"http://127.0.0.1:1\",\"modern_url\":\"%s\",\"weight\":%s,"
		 "\"arbiter\":{\"enabled\":false}}]}",
		 directory, modern, weight);
	return text;
}

#define MODERN "http://127.0.0.1:2"

TEST(run_time_weight_survives_a_restart)
{
	if (!mkdtemp(directory))
		exit(1);
	fake_start(&fake, file_config("0.3", MODERN));
	uint8_t key[16];
	memcpy(key, fake.control->policy.key, sizeof(key));
	uint64_t seed = fake.control->policy.seed;
	CHECK_INT(fake_weight(&fake, "a", 4500), 0);
	fake_stop(&fake);

	fake_start(&fake, file_config("0.3", MODERN));
	CHECK_INT(set_bp(), 4500);
	CHECK_INT(fake_route(&fake, "a")->migration.epoch, 2);
	CHECK(memcmp(key, fake.control->policy.key, sizeof(key)) == 0);
	CHECK(seed == fake.control->policy.seed);
	json_t *weight = view_weight(fake.control, fake_route(&fake, "a"));
	CHECK(json_get_bool(weight, "drift"));
	CHECK(json_real_value(json_object_get(weight, "file")) == 0.3);
	CHECK(json_real_value(json_object_get(weight, "set")) == 0.45);
	json_decref(weight);
	fake_stop(&fake);
}

TEST(changed_file_value_wins)
{
	fake_start(&fake, file_config("0.2", MODERN));
	CHECK_INT(set_bp(), 2000);
	CHECK(fake_event(&fake, "the file's own value changed"));
	fake_stop(&fake);
	/* And going back to the old value does not dig out the old weight. */
	fake_start(&fake, file_config("0.3", MODERN));
	CHECK_INT(set_bp(), 3000);
	fake_stop(&fake);
}

TEST(rollback_survives_a_restart)
{
	fake_start(&fake, file_config("0.3", MODERN));
	CHECK_INT(fake_verb(&fake, "a", VERB_ROLLBACK), 0);
	fake_stop(&fake);
	fake_start(&fake, file_config("0.3", MODERN));
	CHECK_INT(set_bp(), 0);
	CHECK_STR(fake_headline(&fake, "a"), "Rollback triggered");
	CHECK_STR(fake_route(&fake, "a")->migration.rollback_reason, "by uid 0: a test");
	CHECK_STR(json_get_str(fake_decision(&fake, "a"), "action"), "rollback");
	CHECK_INT(fake_weight(&fake, "a", 100), -EPERM);
	CHECK_INT(fake_verb(&fake, "a", VERB_RETRY), 0);
	CHECK_INT(fake_weight(&fake, "a", 100), 0);
	fake_stop(&fake);
	char path[64];
	static const char *const names[] = {"state.json", "state.json.lock", "state.lock",
					    "state.decisions.jsonl", "state.audit.jsonl"};
	for (unsigned i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

UNIT_MAIN

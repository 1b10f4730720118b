/* SPDX-License-Identifier: Apache-2.0 */
/* The set of routes: from file and REST, over reloads and restarts; everything or nothing. */
#include "test_control_support.h"

#include <sys/stat.h>

static struct fake fake;
static char directory[64];

static void begin(void)
{
	snprintf(directory, sizeof(directory), "/tmp/phx-routes-XXXXXX");
	if (!mkdtemp(directory))
		exit(1);
}

static void end(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	CHECK_INT(system(command), 0);
}

/* A file with these routes (JSON objects without the braces' common part). */
static const char *file_text(const char *routes)
{
	static char text[4096];
	snprintf(text, sizeof(text),
		 "{\"state\":{\"store\":\"file\",\"path\":\"%s/state.json\"},\"routes\":[%s]}", directory,
		 routes);
	return text;
}

#define R(id, more)                                                                                          \
	"{\"id\":\"" id "\",\"path\":\"/" id "\",\"legacy_url\":\"http://127.0.0.1:1\","                     \
	"\"modern_url\":\"http://127.0.0.1:2\"" more "}"

/* Writes the file and reloads it; 0 and *report, or the error. */
static int reload(const char *routes, json_t **report)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/c.json", directory);
	FILE *file = fopen(path, "w");
	if (!file)
		exit(1);
	fputs(file_text(routes), file);
	fclose(file);
	free(fake.control->config_path);
	fake.control->config_path = strdup(path);
	struct buf why = {0};
	*report = NULL;
	int err = control_reload(fake.control, "uid 0", report, &why);
	CHECK((err != 0) == (why.len > 0));
	buf_fini(&why);
	return err;
}

static size_t listed(const json_t *report, const char *key)
{
	return json_array_size(json_object_get(report, key));
}

static uint32_t weight(const char *id)
{
	return policy_weight_bp(&fake.control->policy, fake_route(&fake, id)->slot);
}

static int put(const char *text, bool replace)
{
	struct route_config *config;
	struct route *route;
	struct buf why = {0};
	if (route_config_parse("test", slice_str(text), &config, &why))
		exit(1);
	int err = control_route_put(fake.control, config, replace, "uid 0", &route, &why);
	if (err)
		route_config_destroy(config);
	buf_fini(&why);
	return err;
}

TEST(reload_changes_what_changed)
{
	begin();
	fake_start(&fake, file_text(R("a", ",\"weight\":0.1") "," R("b", "") "," R("c", "")));
	uint32_t slot_a = fake_route(&fake, "a")->slot, slot_b = fake_route(&fake, "b")->slot;
	uint32_t slot_c = fake_route(&fake, "c")->slot;
	uint32_t generation_a = fake_route(&fake, "a")->generation,
		 generation_b = fake_route(&fake, "b")->generation;
	CHECK_INT(fake_weight(&fake, "b", 7000), 0);
	json_t *report;
	CHECK_INT(
		reload(R("a", ",\"weight\":0.2") "," R("b", ",\"mirror\":{\"timeout_ms\":99}") "," R("d", ""),
		       &report),
		0);
	CHECK_INT(listed(report, "routes_added"), 1);
	CHECK_INT(listed(report, "routes_removed"), 1);
	CHECK_INT(listed(report, "changed"), 1);
	CHECK_INT(listed(report, "weights_from_file"), 1);
	json_decref(report);
	CHECK_INT(fake.published, 3);
	CHECK(fake_route(&fake, "c") == NULL);
	CHECK_INT(fake.control->policy.slots[slot_c].flags, 0);
	CHECK_INT(fake_route(&fake, "a")->slot, slot_a);
	CHECK_INT(fake_route(&fake, "b")->slot, slot_b);
	/* Only a weight changed: the same generation; b is defined anew. */
	CHECK_INT(fake_route(&fake, "a")->generation, generation_a);
	CHECK_INT(fake_route(&fake, "b")->generation, generation_b + 1);
	CHECK_INT(weight("a"), 2000);
	CHECK_INT(weight("b"), 7000);
	CHECK_INT(reload(R("a", ",\"weight\":0.2"), &report), 0);
	CHECK_INT(listed(report, "changed"), 0);
	CHECK_INT(listed(report, "weights_from_file"), 0);
	json_decref(report);
	fake_stop(&fake);
	end();
}

TEST(bad_file_changes_nothing)
{
	begin();
	fake_start(&fake, file_text(R("a", "")));
	CHECK_INT(fake_weight(&fake, "a", 3000), 0);
	json_t *report;
	CHECK_INT(reload(R("a", ",\"wieght\":1"), &report), -EINVAL);
	CHECK(report == NULL);
	CHECK(!fake.control->reload_ok);
	CHECK(strstr(fake.control->reload_error, "did you mean \"weight\"?"));
	CHECK_INT(weight("a"), 3000);
	CHECK_INT(fake.published, 1);
	CHECK_INT(reload(R("a", "") "," R("b", ""), &report), 0);
	CHECK(fake.control->reload_ok);
	CHECK(fake.control->reload_error == NULL);
	json_decref(report);
	fake_stop(&fake);
	end();
}

TEST(refused_publication_changes_nothing)
{
	begin();
	fake_start(&fake, file_text(R("a", "")));
	fake.publish_error = -ENOMEM;
	json_t *report;
	uint32_t generation = fake_route(&fake, "a")->generation;
	CHECK_INT(reload(R("a", ",\"mirror\":{\"sample\":0.5}") "," R("b", ""), &report), -ENOMEM);
	CHECK(fake_route(&fake, "b") == NULL);
	CHECK_INT(fake_route(&fake, "a")->generation, generation);
	CHECK_INT(fake.control->registry.count, 1);
	CHECK_INT(put(R("x", ""), false), -ENOMEM);
	CHECK(fake_route(&fake, "x") == NULL);
	CHECK(state_definition(&fake.control->state, "x") == NULL);
	CHECK_INT(put(R("a", ",\"host\":\"h\""), true), -ENOMEM);
	CHECK(state_definition(&fake.control->state, "a") == NULL);
	fake.publish_error = 0;
	CHECK_INT(put(R("x", ""), false), 0);
	fake_stop(&fake);
	end();
}

TEST(rest_routes_survive)
{
	begin();
	fake_start(&fake, file_text(R("a", "")));
	CHECK_INT(put(R("x", ",\"weight\":0.2"), false), 0);
	CHECK_INT(put(R("x", ""), false), -EEXIST);
	CHECK_INT(weight("x"), 2000);
	CHECK_INT(fake_weight(&fake, "x", 2500), 0);
	json_t *report;
	CHECK_INT(reload(R("a", "") "," R("b", ""), &report), 0);
	json_decref(report);
	CHECK_INT(weight("x"), 2500);
	fake_stop(&fake);

	fake_start(&fake, file_text(R("a", "")));
	CHECK(fake_route(&fake, "x") != NULL);
	CHECK_INT(weight("x"), 2500);
	CHECK(fake_route(&fake, "x")->definition->from_api);
	/* Replaced with another weight: that is an order; with the same one it is not. */
	CHECK_INT(put(R("x", ",\"weight\":0.2,\"host\":\"h\""), true), 0);
	CHECK_INT(weight("x"), 2500);
	CHECK_INT(put(R("x", ",\"weight\":0.9,\"host\":\"h\""), true), 0);
	CHECK_INT(weight("x"), 9000);
	fake_stop(&fake);

	fake_start(&fake, file_text(R("a", "")));
	CHECK_INT(weight("x"), 9000);
	struct buf why = {0};
	CHECK_INT(control_route_delete(fake.control, fake_route(&fake, "x"), "uid 0", &why), 0);
	buf_fini(&why);
	CHECK(fake_route(&fake, "x") == NULL);
	fake_stop(&fake);
	fake_start(&fake, file_text(R("a", "")));
	CHECK(fake_route(&fake, "x") == NULL);
	fake_stop(&fake);
	end();
}

TEST(file_routes_replaced_by_rest)
{
	begin();
	fake_start(&fake, file_text(R("a", "")));
	CHECK_INT(put(R("a", ",\"host\":\"api.example\""), true), 0);
	CHECK_STR(route_config_of(fake_route(&fake, "a"))->host, "api.example");
	json_t *report;
	/* The file says what it always said: the override stays. */
	CHECK_INT(reload(R("a", ""), &report), 0);
	json_decref(report);
	CHECK_STR(route_config_of(fake_route(&fake, "a"))->host, "api.example");
	fake_stop(&fake);
	fake_start(&fake, file_text(R("a", "")));
	CHECK_STR(route_config_of(fake_route(&fake, "a"))->host, "api.example");
	/* It says something else: the file wins, and says so. */
	CHECK_INT(reload(R("a", ",\"host\":\"other.example\""), &report), 0);
	json_decref(report);
	CHECK_STR(route_config_of(fake_route(&fake, "a"))->host, "other.example");
	CHECK(fake_event(&fake, "it replaces the one made by REST"));
	fake_stop(&fake);
	end();
}

TEST(file_routes_deleted_by_rest)
{
	begin();
	fake_start(&fake, file_text(R("a", "") "," R("b", "")));
	struct buf why = {0};
	CHECK_INT(control_route_delete(fake.control, fake_route(&fake, "a"), "uid 0", &why), 0);
	buf_fini(&why);
	json_t *report;
	CHECK_INT(reload(R("a", "") "," R("b", ""), &report), 0);
	json_decref(report);
	CHECK(fake_route(&fake, "a") == NULL);
	fake_stop(&fake);
	fake_start(&fake, file_text(R("a", "") "," R("b", "")));
	CHECK(fake_route(&fake, "a") == NULL);
	CHECK_INT(reload(R("a", ",\"host\":\"h\"") "," R("b", ""), &report), 0);
	json_decref(report);
	CHECK(fake_route(&fake, "a") != NULL);
	fake_stop(&fake);
	end();
}

TEST(new_build_starts_afresh)
{
	begin();
	fake_start(&fake, file_text(R("a", ",\"weight\":1")));
	fake_samples(&fake, fake_route(&fake, "a"), 5, 1);
	CHECK_STR(fake_headline(&fake, "a"), "Migration Complete");
	json_t *report;
	CHECK_INT(reload("{\"id\":\"a\",\"path\":\"/a\",\"legacy_url\":\"http://127.0.0.1:1\","
			 "\"modern_url\":\"http://127.0.0.1:3\",\"weight\":1}",
			 &report),
		  0);
	json_decref(report);
	struct facts_view view;
	facts_read(fake.control->facts, fake_route(&fake, "a")->slot, &view);
	CHECK_INT(view.now.samples, 0);
	CHECK_INT(view.build_samples, 0);
	CHECK_STR(fake_headline(&fake, "a"), "Migration in Progress: 100% Traffic Shifted");
	json_t *groups = facts_differences(fake.control->facts, fake_route(&fake, "a")->slot);
	CHECK_INT(json_array_size(groups), 0);
	json_decref(groups);
	fake_stop(&fake);
	end();
}

TEST(ten_thousand_routes)
{
	begin();
	struct buf text = {0};
	buf_append_str(&text, "{\"state\":{\"store\":\"memory\"},\"routes\":[");
	for (unsigned i = 0; i < 10000; i++)
		buf_printf(&text,
			   "%s{\"id\":\"r%u\",\"path\":\"/r%u\",\"legacy_url\":\"http://127.0.0.1:1\","
			   "\"modern_url\":\"http://127.0.0.1:2\"}",
			   i ? "," : "", i, i);
	buf_append_str(&text, "]}");
	fake_start(&fake, buf_cstr(&text));
	buf_fini(&text);
	CHECK_INT(fake.published, 10000);
	fake_tick(&fake, 2000);
	CHECK(list_empty(&fake.control->engine.active));
	struct moment before = moment_now();
	for (unsigned i = 0; i < 1000; i++)
		fake_tick(&fake, 20);
	CHECK_MSG(moment_now().ns - before.ns < 500 * NS_PER_MS, "a thousand quiet ticks took %llu us",
		  (unsigned long long)(moment_now().ns - before.ns) / 1000);
	CHECK_INT(put(R("more", ""), false), 0);
	CHECK_INT(fake.published, 10001);
	fake_stop(&fake);
	end();
}

UNIT_MAIN

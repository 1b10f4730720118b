/* SPDX-License-Identifier: Apache-2.0 */
/* config, the good ones: values, defaults, both notations alike, and the way out to JSON and back. */
#include "unit.h"

#include "base/clock.h"
#include "config.h"
#include "config_value.h"

#include <phoenix/abi.h>

#include <math.h>

/* A configuration that must be fine, without a warning. */
static struct config *good(const char *name, const char *text)
{
	struct config *config = NULL;
	struct buf errors = {0};
	CHECK_MSG(config_parse(name, slice_str(text), &config, &errors) == 0, "%s", buf_cstr(&errors));
	CHECK_STR(buf_cstr(&errors), "");
	buf_fini(&errors);
	return config;
}

static struct config *good_file(const char *path)
{
	struct config *config = NULL;
	struct buf errors = {0};
	CHECK_MSG(config_load(path, &config, &errors) == 0, "%s", buf_cstr(&errors));
	CHECK_STR(buf_cstr(&errors), "");
	buf_fini(&errors);
	if (!config)
		exit(2);
	return config;
}

TEST(defaults)
{
	struct config *c = config_default();
	CHECK_INT(c->listen_count, 1);
	CHECK_STR(c->listen[0].host, "127.0.0.1");
	CHECK_INT(c->listen[0].port, 8080);
	CHECK_STR(c->admin.listen.text, "127.0.0.1:9900");
	CHECK_INT(c->admin.listen.port, 9900);
	CHECK_STR(c->admin.socket, "/run/phoenix/admin.sock");
	CHECK(c->admin.token_file == NULL);
	CHECK_INT(c->admin.allowed_hosts.count, 0);
	CHECK_INT(c->state.kind, STORE_FILE);
	CHECK_STR(c->state.path, "/var/lib/phoenix/state.json");
	CHECK(c->state.url == NULL);
	CHECK_INT(c->xdp.mode, XDP_MODE_AUTO);
	CHECK_INT(c->xdp.interfaces.count, 0);
	CHECK_INT(c->workers, 0);
	CHECK_INT(c->limits.head_bytes, 16384);
	CHECK_INT(c->limits.fields, 128);
	CHECK_INT(c->limits.body_bytes, 0);
	CHECK_INT(c->limits.header_timeout_ms, 10000);
	CHECK_INT(c->limits.idle_timeout_ms, 60000);
	CHECK_INT(c->limits.upstream_timeout_ms, 30000);
	CHECK_INT(c->limits.connect_timeout_ms, 3000);
	CHECK_INT(c->limits.first_byte_timeout_ms, 0);
	CHECK_INT(c->limits.drain_ms, 5000);
	CHECK_INT(c->limits.connections_per_listener, 0);
	CHECK_INT(c->limits.pipeline, 128);
	CHECK_INT(c->limits.memory_bytes, 0);
	CHECK_INT(c->limits.upgrade_drain_ms, 60000);
	CHECK(c->user == NULL);
	CHECK(c->seccomp);
	CHECK_INT(c->limits.connections, 20000);
	CHECK_INT(c->limits.upstream_connections, 4096);
	CHECK_INT(c->limits.sample_memory_bytes, 67108864);
	CHECK_INT(c->route_count, 0);
	config_destroy(c);
	config_destroy(NULL);
}

TEST(route_defaults)
{
	struct config *c = good("c.json", "{\"routes\":[\n {\"id\":\"a\",\"path\":\"/a\",\"legacy_url\":"
					  "\"http://l\",\"modern_url\":\"http://m\"}]}");
	const struct route_config *r = c->routes[0];
	CHECK_STR(r->id, "a");
	CHECK_INT(r->methods.count, 1);
	CHECK_STR(r->methods.items[0], "*");
	CHECK_INT(r->method_mask, ~0u);
	CHECK(r->host == NULL);
	CHECK_STR(r->legacy.host, "l");
	CHECK_INT(r->legacy.port, 80);
	CHECK_STR(r->legacy.base_path, "");
	CHECK_INT(r->weight_bp, 0);
	CHECK_INT(r->split_by, SPLIT_BY_REQUEST);
	CHECK(r->split_name == NULL);
	CHECK_INT(r->mirror.sample_bp, 10000);
	CHECK(!r->mirror.unsafe_methods);
	CHECK_INT(r->mirror.max_body_bytes, 1048576);
	CHECK_INT(r->mirror.timeout_ms, 2000);
	CHECK_INT(r->compare.ignore.count, 0);
	CHECK_INT(r->compare.headers.count, 1);
	CHECK_STR(r->compare.headers.items[0], "content-type");
	CHECK(r->compare.float_tolerance == 0);
	CHECK(r->arbiter.enabled);
	CHECK_INT(r->arbiter.policy, POLICY_LITERAL);
	CHECK_INT(r->arbiter.promote_above_bp, 9900);
	CHECK_INT(r->arbiter.rollback_below_bp, 9500);
	CHECK_INT(r->arbiter.min_samples, 100);
	CHECK_INT(r->arbiter.rollback_min_samples, 20);
	CHECK_INT(r->arbiter.step_bp, 1000);
	CHECK_INT(r->arbiter.interval_ms, 1000);
	CHECK_INT(r->arbiter.min_step_ms, 0);
	CHECK_INT(r->arbiter.synthetic_max_bp, 10000);
	CHECK_INT(r->arbiter.min_shapes, 1);
	CHECK_INT(r->arbiter.max_shape_bp, 10000);
	CHECK_INT(r->arbiter.min_success, 1);
	CHECK(r->arbiter.watch_alarm == 8);
	CHECK_INT(r->mirror.control_bp, 200);
	CHECK_INT(r->compare.noise, NOISE_PROPOSE);
	CHECK_INT(r->arbiter.on_failure, ON_FAILURE_ROLLBACK);
	CHECK_INT(r->arbiter.notify.count, 0);
	CHECK(r->health.path == NULL);
	CHECK_INT(r->health.interval_ms, 2000);
	CHECK_INT(r->health.timeout_ms, 1000);
	CHECK_INT(r->health.fall, 3);
	CHECK_INT(r->health.rise, 2);
	CHECK_INT(r->health.eject_after, 5);
	CHECK_INT(r->health.eject_ms, 10000);
	CHECK(r->health.failover);
	CHECK_INT(r->line, 2);
	CHECK_INT(r->col, 2);
	config_destroy(c);
}

TEST(every_key_is_read)
{
	struct config *c = good_file("tests/config/good/full.json");
	CHECK_INT(c->listen_count, 3);
	CHECK_STR(c->listen[1].host, "::1");
	CHECK_INT(c->listen[1].port, 8080);
	CHECK_STR(c->listen[2].unix_path, "/run/phoenix/http.sock");
	CHECK(c->listen[2].host == NULL);
	CHECK_STR(c->admin.listen.host, "192.0.2.1");
	CHECK(c->admin.socket == NULL);
	CHECK_STR(c->admin.token_file, "/etc/phoenix/tokens");
	CHECK_INT(c->admin.allowed_hosts.count, 2);
	CHECK_STR(c->admin.allowed_hosts.items[0], "phoenix.example");
	CHECK_INT(c->state.kind, STORE_REDIS);
	CHECK_STR(c->state.url, "redis://127.0.0.1:6379/0");
	CHECK_INT(c->xdp.mode, XDP_MODE_NATIVE);
	CHECK_INT(c->xdp.interfaces.count, 2);
	CHECK_INT(c->workers, 4);
	CHECK_INT(c->limits.body_bytes, 104857600);
	CHECK_INT(c->limits.sample_memory_bytes, 1048576);
	CHECK_INT(c->route_count, 2);
	const struct route_config *r = c->routes[0];
	CHECK_INT(r->method_mask, PHX_METHOD_BIT(PHX_METHOD_GET) | PHX_METHOD_BIT(PHX_METHOD_PUT));
	CHECK_STR(r->host, "api.example");
	CHECK_STR(r->modern.host, "2001:db8::1");
	CHECK_INT(r->modern.port, 9002);
	CHECK_STR(r->modern.base_path, "/v2");
	CHECK_INT(c->limits.first_byte_timeout_ms, 9000);
	CHECK_INT(c->limits.drain_ms, 100);
	CHECK_INT(c->limits.connections_per_listener, 500);
	CHECK_INT(c->limits.pipeline, 16);
	CHECK_INT(c->limits.memory_bytes, 268435456);
	CHECK_INT(c->limits.upgrade_drain_ms, 200);
	CHECK_STR(c->user, "phoenix");
	CHECK(!c->seccomp);
	CHECK_STR(r->health.path, "/healthz?deep=1");
	CHECK_INT(r->health.interval_ms, 1000);
	CHECK_INT(r->health.timeout_ms, 200);
	CHECK_INT(r->health.fall, 4);
	CHECK_INT(r->health.rise, 1);
	CHECK_INT(r->health.eject_after, 0);
	CHECK_INT(r->health.eject_ms, 5000);
	CHECK(!r->health.failover);
	CHECK_STR(r->modern.text, "http://[2001:db8::1]:9002/v2/");
	CHECK_INT(r->weight_bp, 3500);
	CHECK_INT(r->split_by, SPLIT_BY_HEADER);
	CHECK_STR(r->split_name, "X-User");
	CHECK_INT(r->mirror.sample_bp, 500);
	CHECK_STR(r->compare.ignore.items[1], "/items/*/id");
	CHECK_STR(r->compare.headers.items[1], "etag");
	CHECK(r->compare.float_tolerance == 0.001);
	CHECK_STR(r->compare.redact.items[0], "/iban");
	CHECK(!r->arbiter.enabled);
	CHECK_INT(r->arbiter.policy, POLICY_BOUNDED);
	CHECK_INT(r->arbiter.promote_above_bp, 9950);
	CHECK_INT(r->mirror.control_bp, 1000);
	CHECK_INT(r->compare.noise, NOISE_APPLY);
	CHECK_INT(r->arbiter.synthetic_max_bp, 5000);
	CHECK_INT(r->arbiter.min_shapes, 3);
	CHECK_INT(r->arbiter.max_shape_bp, 8000);
	CHECK_INT(r->arbiter.min_success, 2);
	CHECK(r->arbiter.watch_alarm == 6.5);
	CHECK_INT(r->arbiter.on_failure, ON_FAILURE_PAUSE);
	CHECK_STR(r->arbiter.notify.items[0], "https://hooks.example/a?b=c");
	CHECK_STR(c->routes[1]->modern.base_path, "");
	config_destroy(c);
}

/* The floor of the rollback that is left out is the policy's own; one that is given stands. */
TEST(rollback_floor_follows_the_policy)
{
	static const struct {
		const char *arbiter;
		uint32_t floor;
	} rows[] = {
		{"{}", 20},
		{"{\"policy\":\"literal\"}", 20},
		{"{\"policy\":\"bounded\"}", 100},
		{"{\"policy\":\"bounded\",\"rollback_min_samples\":null}", 100},
		{"{\"policy\":\"bounded\",\"rollback_min_samples\":20}", 20},
		{"{\"rollback_min_samples\":7}", 7},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf text = {0}, errors = {0};
		struct route_config *route = NULL;
		buf_printf(&text,
			   "{\"id\":\"a\",\"path\":\"/a\",\"legacy_url\":\"http://l\",\"modern_url\":\"http:/"
			   "/m\","
			   "\"arbiter\":%s}",
			   rows[i].arbiter);
		CHECK_INT(route_config_parse("r", buf_slice(&text), &route, &errors), 0);
		CHECK_INT(route ? route->arbiter.rollback_min_samples : 0, rows[i].floor);
		route_config_destroy(route);
		buf_reset(&text);
		buf_printf(&text,
			   "{\"routes\":[{\"id\":\"a\",\"path\":\"/a\",\"legacy_url\":\"http://l\","
			   "\"modern_url\":\"http://m\",\"arbiter\":%s}]}",
			   rows[i].arbiter);
		struct config *c = good("c.json", buf_cstr(&text));
		CHECK_INT(c->routes[0]->arbiter.rollback_min_samples, rows[i].floor);
		config_destroy(c);
		buf_fini(&text);
		buf_fini(&errors);
	}
}

/* The effective values as text. */
static char *dump(const struct config *config)
{
	json_t *json = config_to_json(config);
	char *text = json_dumps(json, JSON_INDENT(1));
	json_decref(json);
	if (!text)
		exit(2);
	return text;
}

static void check_equal(const char *left, const char *right)
{
	struct config *a = good_file(left), *b = good_file(right);
	char *a_text = dump(a), *b_text = dump(b);
	CHECK_STR(a_text, b_text);
	free(a_text);
	free(b_text);
	config_destroy(a);
	config_destroy(b);
}

TEST(notations_are_equal)
{
	check_equal("tests/config/good/full.json", "tests/config/good/full.yaml");
}

/* What is printed is a configuration again, even with the digits that jansson gives a double. */
static void check_round_trip(const char *path)
{
	struct config *first = good_file(path);
	char *text = dump(first);
	struct config *second = good("again.json", text);
	char *again = dump(second);
	CHECK_STR(again, text);
	free(text);
	free(again);
	config_destroy(first);
	config_destroy(second);
}

TEST(round_trip)
{
	check_round_trip("tests/config/good/full.json");
	check_round_trip("tests/config/good/empty.json");
	check_round_trip("tools/config/full.yaml");
}

TEST(every_weight_comes_back)
{
	for (uint32_t bp = 0; bp <= CONFIG_WEIGHT_ONE; bp++) {
		char text[64];
		uint32_t got = 99999;
		snprintf(text, sizeof(text), "%.17g", (double)bp / CONFIG_WEIGHT_ONE);
		CHECK_MSG(fraction_parse(slice_str(text), &got) == FRACTION_OK && got == bp, "%s", text);
		snprintf(text, sizeof(text), "%u.%04u", bp / 10000, bp % 10000);
		got = 99999;
		CHECK_MSG(fraction_parse(slice_str(text), &got) == FRACTION_OK && got == bp, "%s", text);
		snprintf(text, sizeof(text), "%ue-4", bp);
		got = 99999;
		CHECK_MSG(fraction_parse(slice_str(text), &got) == FRACTION_OK && got == bp, "%s", text);
	}
}

TEST(fractions)
{
	static const struct {
		const char *text;
		enum fraction_error error;
		uint32_t bp;
	} rows[] = {
		{"0", FRACTION_OK, 0},
		{"0.0", FRACTION_OK, 0},
		{"0e99", FRACTION_OK, 0},
		{"1", FRACTION_OK, 10000},
		{"1.0", FRACTION_OK, 10000},
		{"1.00000000000000000000000000000000", FRACTION_OK, 10000},
		{"1e0", FRACTION_OK, 10000},
		{"10e-1", FRACTION_OK, 10000},
		{"0.1e1", FRACTION_OK, 10000},
		{"0.01E+2", FRACTION_OK, 10000},
		{"1000000000000000000000e-21", FRACTION_OK, 10000},
		{"0.1", FRACTION_OK, 1000},
		{"0.10000", FRACTION_OK, 1000},
		{"1e-4", FRACTION_OK, 1},
		{"0.0001", FRACTION_OK, 1},
		{"0.00010", FRACTION_OK, 1},
		{"0.9999", FRACTION_OK, 9999},
		{"3e-1", FRACTION_OK, 3000},
		{"0.10000000000000001", FRACTION_OK, 1000},
		{"0.29999999999999999", FRACTION_OK, 3000},
		{"0.99990000000000001", FRACTION_OK, 9999},
		{"0.12345", FRACTION_DECIMALS, 0},
		{"0.00001", FRACTION_DECIMALS, 0},
		{"0.99999", FRACTION_DECIMALS, 0},
		{"0.10001", FRACTION_DECIMALS, 0},
		{"0.1000000001", FRACTION_DECIMALS, 0},
		{"0.1000000000000001", FRACTION_DECIMALS, 0},
		{"1e-5", FRACTION_DECIMALS, 0},
		{"1e-400", FRACTION_DECIMALS, 0},
		{"1.00001", FRACTION_RANGE, 0},
		{"1.0001", FRACTION_RANGE, 0},
		{"1.1", FRACTION_RANGE, 0},
		{"2", FRACTION_RANGE, 0},
		{"10", FRACTION_RANGE, 0},
		{"100", FRACTION_RANGE, 0},
		{"1e1", FRACTION_RANGE, 0},
		{"1e400", FRACTION_RANGE, 0},
		{"12e-1", FRACTION_RANGE, 0},
		{"-1", FRACTION_RANGE, 0},
		{"-0.5", FRACTION_RANGE, 0},
		{"-0", FRACTION_RANGE, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t bp = 0;
		enum fraction_error error = fraction_parse(slice_str(rows[i].text), &bp);
		CHECK_MSG(error == rows[i].error && bp == rows[i].bp, "%s is %d, %u", rows[i].text, error,
			  bp);
	}
}

TEST(urls)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		const char *base_path;
	} rows[] = {
		{"http://h", "h", 80, ""},
		{"http://h/", "h", 80, ""},
		{"HTTP://H.Example:81", "h.example", 81, ""},
		{"http://h/a", "h", 80, "/a"},
		{"http://h/a/b/", "h", 80, "/a/b"},
		{"http://h:65535/%41~;x=1", "h", 65535, "/%41~;x=1"},
		{"http://127.0.0.1:1", "127.0.0.1", 1, ""},
		{"http://[::1]", "::1", 80, ""},
		{"http://[2001:DB8::1]:8080/x", "2001:db8::1", 8080, "/x"},
		{"http://my_service:8080", "my_service", 8080, ""},
		{"http://1a.2b", "1a.2b", 80, ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_url url = {0};
		struct buf why = {0};
		CHECK_MSG(config_url_parse(slice_str(rows[i].text), &url, &why) == 0, "%s %s", rows[i].text,
			  buf_cstr(&why));
		CHECK_STR(url.text, rows[i].text);
		CHECK_STR(url.host, rows[i].host);
		CHECK_INT(url.port, rows[i].port);
		CHECK_STR(url.base_path, rows[i].base_path);
		config_url_fini(&url);
		buf_fini(&why);
	}
}

TEST(paths_that_are_fine)
{
	static const char *const rows[] = {
		"/",	   "/a",	 "/a/",	     "/*",
		"/a/*",	   "/{id}",	 "/{id}/",   "/a.b",
		"/a/...",  "/{a}/{b}/*", "/a/{x}/",  "/~u/$;=",
		"/%20/@:", "/a/.b",	 "/{a_b-1}", "/-._~!$&'()+,;=:@",
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf why = {0};
		CHECK_MSG(path_pattern_check(slice_str(rows[i]), &why), "%s %s", rows[i], buf_cstr(&why));
		buf_fini(&why);
	}
}

/* What the notations leave open and these texts settle. */
TEST(texts_that_are_fine)
{
	config_destroy(good("c.yml", "{}\n"));
	config_destroy(good("c.YAML", "---\nworkers: 1\n...\n"));
	config_destroy(good("c.yaml", "%YAML 1.1\n---\n{workers: 1, \"routes\": []}\n"));
	config_destroy(good("c.yaml", "\xef\xbb\xbf# comment\nworkers: 1"));
	config_destroy(good("c.json", "\xef\xbb\xbf \n{\"workers\": 1}\r\n"));
	config_destroy(good("no-ending", "{\"\\u0077orkers\": 1}"));
	struct config *c = good("c.yaml", "routes:\n- {id: 'on', path: \"/\\x41\", legacy_url: http://l, "
					  "modern_url: http://m, host: no}\n");
	CHECK_STR(c->routes[0]->id, "on");
	CHECK_STR(c->routes[0]->path, "/A");
	CHECK_STR(c->routes[0]->host, "no");
	config_destroy(c);
}

/* Pairs of routes that look alike and are told apart by the router. */
TEST(routes_that_do_not_compete)
{
	static const char *const pairs[][2] = {
		{"\"path\":\"/a\",\"method\":\"GET\"", "\"path\":\"/a\",\"method\":\"*\""},
		{"\"path\":\"/a\",\"method\":\"GET\"", "\"path\":\"/a\",\"method\":[\"POST\",\"PUT\"]"},
		{"\"path\":\"/a\",\"host\":\"h\"", "\"path\":\"/a\""},
		{"\"path\":\"/a\",\"host\":\"h\"", "\"path\":\"/a\",\"host\":\"g\""},
		{"\"path\":\"/a\"", "\"path\":\"/a/\""},
		{"\"path\":\"/a\"", "\"path\":\"/A\""},
		{"\"path\":\"/{x}\"", "\"path\":\"/*\""},
		{"\"path\":\"/{x}\"", "\"path\":\"/x\""},
		{"\"path\":\"/{x}/a\"", "\"path\":\"/{x}/b\""},
		{"\"path\":\"/{x}/a\"", "\"path\":\"/{x}\""},
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text),
			 "{\"routes\":[{\"id\":\"a\",\"legacy_url\":\"http://l\",\"modern_url\":\"http://"
			 "m\",%s},"
			 "{\"id\":\"b\",\"legacy_url\":\"http://l\",\"modern_url\":\"http://m\",%s}]}",
			 pairs[i][0], pairs[i][1]);
		struct config *c = good("c.json", text);
		if (!c)
			continue;
		CHECK(!route_config_conflicts(c->routes[0], c->routes[1]));
		CHECK(route_config_conflicts(c->routes[0], c->routes[0]));
		config_destroy(c);
	}
}

TEST(own_addresses)
{
	struct config *c =
		good("c.json", "{\"listen\":[\"0.0.0.0:80\",\"[::1]:81\",\"192.0.2.1:82\",\"unix:/x\"]}");
	static const struct {
		const char *url;
		bool own;
	} rows[] = {
		{"http://127.0.0.1", true},
		{"http://localhost", true},
		{"http://127.1.2.3:80/x", true},
		{"http://0.0.0.0", true},
		{"http://[::1]", true},
		{"http://192.0.2.9", false},
		{"http://h", false},
		{"http://127.0.0.1:81", false},
		{"http://[::1]:81", true},
		{"http://localhost:81", true},
		{"http://192.0.2.1:82", true},
		{"http://localhost:82", false},
		{"http://[::ffff:192.0.2.1]:82", true},
		{"http://127.0.0.1:83", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_url url = {0};
		struct buf why = {0};
		CHECK_INT(config_url_parse(slice_str(rows[i].url), &url, &why), 0);
		CHECK_MSG(config_is_own_address(c, &url) == rows[i].own, "%s", rows[i].url);
		config_url_fini(&url);
	}
	config_destroy(c);
}

TEST(one_route)
{
	struct route_config *route = NULL, *copy;
	struct config *c = good_file("tests/config/good/full.json");
	struct buf errors = {0};
	json_t *json = route_config_to_json(c->routes[0]), *other;
	char *text = json_dumps(json, 0);
	CHECK_MSG(route_config_parse("request", slice_str(text), &route, &errors) == 0, "%s",
		  buf_cstr(&errors));
	CHECK_INT(route->line, 0);
	copy = route_config_copy(route);
	config_destroy(c);
	route_config_destroy(route);
	/* The copy owns all it has. */
	other = route_config_to_json(copy);
	CHECK(json_equal(json, other));
	CHECK_INT(copy->method_mask, PHX_METHOD_BIT(PHX_METHOD_GET) | PHX_METHOD_BIT(PHX_METHOD_PUT));
	CHECK_INT(copy->legacy.port, 80);
	CHECK_STR(copy->split_name, "X-User");
	route_config_destroy(copy);
	route_config_destroy(NULL);
	json_decref(json);
	json_decref(other);
	free(text);
	buf_fini(&errors);
}

/* Ten thousand routes with all their keys. How long it took is for people to read: machines are busy. */
TEST(ten_thousand_routes)
{
	struct config *c = good_file("tests/config/good/full.json");
	json_t *json = config_to_json(c), *list = json_array();
	for (int i = 0; i < 10000; i++) {
		json_t *route = json_deep_copy(json_array_get(json_object_get(json, "routes"), 0));
		json_object_set_new(route, "id", json_sprintf("route-%d", i));
		json_object_set_new(route, "path", json_sprintf("/api/v%d/{id}/%d", i % 100, i));
		json_array_append_new(list, route);
	}
	json_object_set_new(json, "routes", list);
	char *text = json_dumps(json, JSON_INDENT(2));
	config_destroy(c);
	uint64_t began = clock_now_ns();
	c = good("many.json", text);
	uint64_t took_ms = (clock_now_ns() - began) / NS_PER_MS;
	CHECK_INT(c ? c->route_count : 0, 10000);
	printf("# ten_thousand_routes: %zu bytes in %llu ms\n", strlen(text), (unsigned long long)took_ms);
	config_destroy(c);
	json_decref(json);
	free(text);
}

/* Does the schema's description of an object know exactly the keys that the values have? */
static void check_schema(const json_t *schema, const json_t *values, const char *at)
{
	const char *key;
	const json_t *value, *properties = json_object_get(schema, "properties");
	CHECK_MSG(json_object_size(properties) == json_object_size(values), "%s", at);
	json_object_foreach((json_t *)values, key, value)
	{
		const json_t *property = json_object_get(properties, key);
		CHECK_MSG(property != NULL, "%s.%s", at, key);
		CHECK_MSG(json_is_string(json_object_get(property, "description")) || json_is_object(value),
			  "%s.%s", at, key);
		if (json_is_object(value))
			check_schema(property, value, key);
		else if (strcmp(key, "routes") == 0)
			check_schema(json_object_get(property, "items"), json_array_get(value, 0),
				     "routes[0]");
	}
}

TEST(schema)
{
	struct config *c = good_file("tests/config/good/full.json");
	json_t *schema = config_schema(), *values = config_to_json(c);
	CHECK_STR(json_string_value(json_object_get(schema, "$schema")),
		  "https://json-schema.org/draft/2020-12/schema");
	check_schema(schema, values, "");
	json_t *route = json_object_get(
		json_object_get(json_object_get(json_object_get(schema, "properties"), "routes"), "items"),
		"required");
	CHECK_INT(json_array_size(route), 4);
	json_decref(schema);
	json_decref(values);
	config_destroy(c);
}

UNIT_MAIN

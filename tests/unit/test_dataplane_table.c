/* SPDX-License-Identifier: Apache-2.0 */
/* Routes -> the routing table of the NIC path: the table must find what the daemon's router finds. */
#include "unit.h"

#include "dataplane/plane.h"
#include "http/router.h"

#include <errno.h>

static struct route_config *route(const char *json)
{
	struct route_config *config = NULL;
	struct buf errors = {0};
	if (route_config_parse("test", slice_str(json), &config, &errors)) {
		fprintf(stderr, "%s: %s\n", json, buf_cstr(&errors));
		exit(1);
	}
	buf_fini(&errors);
	return config;
}

#define URLS "\"legacy_url\": \"http://192.0.2.1:80\", \"modern_url\": \"http://192.0.2.2:8080\""

static uint32_t port_as_index(void *context, const char *host, uint16_t port)
{
	++*(unsigned *)context;
	return port;
}

struct tables {
	struct route_config *configs[80];
	struct dataplane_route routes[80];
	struct router_pattern patterns[80];
	size_t count;
	struct plane_table table;
	unsigned asked;
	struct buf why;
};

static void add(struct tables *t, const char *json)
{
	struct route_config *config = t->configs[t->count] = route(json);
	t->routes[t->count] =
		(struct dataplane_route){config, (uint32_t)t->count + 100, (uint32_t)t->count + 7};
	t->patterns[t->count++] = (struct router_pattern){config->host, config->path, config->method_mask};
}

static int build(struct tables *t)
{
	return plane_table_build(&t->table, 5, t->routes, t->count, port_as_index, &t->asked, &t->why);
}

static void done(struct tables *t)
{
	plane_table_fini(&t->table);
	buf_fini(&t->why);
	for (size_t i = 0; i < t->count; i++)
		route_config_destroy(t->configs[i]);
}

static const struct phx_entry *find(const struct plane_table *table, uint64_t key, uint32_t nth)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->keys[i].key == key && table->keys[i].nth == nth)
			return &table->entries[i];
	}
	return NULL;
}

/* The lookup as bpf/steer.h does it, over the same inline functions: slot, or PHX_SLOT_NONE. */
static uint32_t lookup(const struct plane_table *table, enum phx_method method, const char *host,
		       const char *path)
{
	struct phx_path read;
	uint64_t host_hash = PHX_SEGMENT_SEED;
	phx_path_init(&read);
	for (const char *c = path + 1; *c; c++)
		phx_path_byte(&read, (uint8_t)*c);
	phx_path_segment(&read);
	for (const char *c = host; *c; c++)
		host_hash = phx_segment_byte(host_hash, (uint8_t)*c);
	uint32_t bit = method == PHX_METHOD_OTHER ? 1u << 31 : PHX_METHOD_BIT(method);
	for (uint32_t s = 0; s < table->shapes.count; s++) {
		const struct phx_shape *shape = &table->shapes.shape[s];
		if (!phx_shape_fits(shape, read.segments) || (shape->hosted && !*host))
			continue;
		const struct phx_entry *entry;
		uint64_t key = phx_shape_key(shape, s, host_hash, read.hashes);
		for (uint32_t nth = 0; (entry = find(table, key, nth)); nth++) {
			struct phx_compare compare = {0};
			if (entry->shape != s || !(entry->method_mask & bit))
				continue;
			if (entry->daemon)
				return entry->slot;
			if (entry->host_len && (strlen(host) != entry->host_len ||
						memcmp(entry->host, host, entry->host_len) != 0))
				continue;
			for (const char *c = path + 1; *c && compare.state < PHX_COMPARE_REST; c++)
				phx_compare_byte(&compare, entry->pattern[compare.at], (uint8_t)*c);
			if (phx_compare_end(&compare, entry->pattern[compare.at]))
				return entry->slot;
		}
	}
	return PHX_SLOT_NONE;
}

TEST(finds_what_the_router_finds)
{
	static const char *const patterns[] = {
		"/api/users", "/api/*", "/users/{id}", "/users/{id}/orders", "/users/me",
		"/",	      "/*",	"/a/{b}/c/*",  "/a/x/c/*",	     "/users/{id}/{what}",
	};
	static const char *const paths[] = {
		"/api/users",	   "/api/users/", "/api/x/y",	    "/api",	 "/users/7",   "/users/me",
		"/users/7/orders", "/users/me/x", "/users//orders", "/",	 "/a/b/c/d/e", "/a/x/c/d",
		"/a/x/c",	   "/a/x/c/",	  "/nothing",	    "/users/7/", "//",	       "/a/b/c",
		"/users/7/x/y"};
	struct tables t = {.count = 0};
	char json[400];
	struct router *router;
	for (unsigned i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		snprintf(json, sizeof(json), "{\"id\": \"r%u\", \"path\": \"%s\", " URLS "}", i, patterns[i]);
		add(&t, json);
		snprintf(json, sizeof(json),
			 "{\"id\": \"p%u\", \"path\": \"%s\", \"method\": \"POST\", " URLS "}", i,
			 patterns[i]);
		add(&t, json);
		snprintf(json, sizeof(json),
			 "{\"id\": \"h%u\", \"path\": \"%s\", \"host\": \"h.test\", " URLS "}", i,
			 patterns[i]);
		add(&t, json);
	}
	CHECK_INT(build(&t), 0);
	CHECK_INT(router_create(t.patterns, t.count, &router), 0);
	static const enum phx_method methods[] = {PHX_METHOD_GET, PHX_METHOD_POST, PHX_METHOD_OTHER};
	static const char *const hosts[] = {"", "h.test", "other.test"};
	for (unsigned m = 0; m < 3; m++) {
		for (unsigned h = 0; h < 3; h++) {
			for (unsigned p = 0; p < sizeof(paths) / sizeof(paths[0]); p++) {
				uint32_t want = router_match(router, methods[m], slice_str(hosts[h]),
							     slice_str(paths[p]));
				uint32_t got = lookup(&t.table, methods[m], hosts[h], paths[p]);
				CHECK_MSG(got == (want == ROUTER_NONE ? PHX_SLOT_NONE : want + 100),
					  "method %u host \"%s\" path %s: slot %u, route %u", m, hosts[h],
					  paths[p], got, want);
			}
		}
	}
	router_destroy(router);
	done(&t);
}

TEST(entries_say_where_to)
{
	struct tables t = {.count = 0};
	add(&t, "{\"id\": \"a\", \"path\": \"/a/{x}/*\", \"method\": [\"GET\", \"PUT\"], " URLS "}");
	CHECK_INT(build(&t), 0);
	CHECK_INT(t.table.shapes.table, 5);
	CHECK_INT(t.table.shapes.count, 1);
	CHECK_INT(t.table.shapes.hosted, 0);
	CHECK_INT(t.table.count, 1);
	CHECK_INT(t.table.keys[0].table, 5);
	const struct phx_entry *entry = &t.table.entries[0];
	CHECK_INT(entry->slot, 100);
	CHECK_INT(entry->generation, 7);
	CHECK_INT(entry->daemon, 0);
	CHECK_INT(entry->upstream[PHX_LEGACY], 80);
	CHECK_INT(entry->upstream[PHX_MODERN], 8080);
	CHECK_INT(entry->method_mask, PHX_METHOD_BIT(PHX_METHOD_GET) | PHX_METHOD_BIT(PHX_METHOD_PUT));
	CHECK_STR((const char *)entry->pattern, "a/\x01/\x02");
	CHECK_INT(t.asked, 2);
	done(&t);
}

/* What is the daemon's is in the table all the same: a request for it must not find a less specific route. */
TEST(daemons_routes_stay_in_their_place)
{
	char longest[400], json[900], host[80] = "";
	struct tables t = {.count = 0};
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[PHX_PATTERN_BYTES] = 0; /* PHX_PATTERN_BYTES - 1 behind the "/": fits with its zero */
	for (unsigned i = 0; i < 66; i++)
		host[i] = i % 20 == 19 ? '.' : 'h';
	add(&t, "{\"id\": \"rest\", \"path\": \"/*\", " URLS "}");
	add(&t, "{\"id\": \"base\", \"path\": \"/base\", \"legacy_url\": \"http://192.0.2.1/x\", "
		"\"modern_url\": \"http://192.0.2.2\"}");
	add(&t, "{\"id\": \"off\", \"path\": \"/off\", \"xdp\": false, " URLS "}");
	snprintf(json, sizeof(json), "{\"id\": \"fits\", \"path\": \"%s\", " URLS "}", longest);
	add(&t, json);
	snprintf(json, sizeof(json), "{\"id\": \"long\", \"path\": \"%sa\", " URLS "}", longest);
	add(&t, json);
	snprintf(json, sizeof(json), "{\"id\": \"host\", \"path\": \"/*\", \"host\": \"%s\", " URLS "}",
		 host);
	add(&t, json);
	CHECK_INT(build(&t), 0);
	static const struct {
		const char *id;
		uint32_t daemon;
	} want[] = {{"rest", 0}, {"base", 1}, {"off", 1}, {"fits", 0}, {"long", 1}, {"host", 1}};
	for (size_t i = 0; i < t.table.count; i++) {
		const struct phx_entry *entry = &t.table.entries[i];
		CHECK_MSG(entry->daemon == want[entry->slot - 100].daemon, "%s", want[entry->slot - 100].id);
		CHECK((entry->upstream[0] == PHX_NO_UPSTREAM) == (entry->daemon == 1));
	}
	CHECK_INT(lookup(&t.table, PHX_METHOD_GET, "", "/base"), 101);
	CHECK_INT(lookup(&t.table, PHX_METHOD_GET, "", "/off"), 102);
	CHECK_INT(lookup(&t.table, PHX_METHOD_GET, "", longest), 103);
	CHECK_INT(lookup(&t.table, PHX_METHOD_GET, host, "/x"), 105);
	CHECK_INT(lookup(&t.table, PHX_METHOD_GET, "", "/x"), 100);
	done(&t);
}

TEST(too_many_shapes)
{
	struct tables t = {.count = 0};
	char path[600] = "", json[900];
	for (unsigned i = 0; i <= PHX_SHAPES; i++) {
		/* A literal, then i parameters: each path has another shape; the deepest ends in the rest. */
		if (i < PHX_SHAPES)
			snprintf(json, sizeof(json), "{\"id\": \"r%u\", \"path\": \"/x%s\", " URLS "}", i,
				 path);
		else
			snprintf(json, sizeof(json), "{\"id\": \"r%u\", \"path\": \"/x/*\", " URLS "}", i);
		add(&t, json);
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "/{a%u}", i);
	}
	CHECK_INT(build(&t), -E2BIG);
	CHECK(strstr(buf_cstr(&t.why), "65 different shapes") != NULL);
	t.count--;
	buf_reset(&t.why);
	CHECK_INT(build(&t), 0);
	CHECK_INT(t.table.shapes.count, PHX_SHAPES);
	t.count++;
	done(&t);
}

TEST(too_long_a_chain)
{
	static const char *const methods[] = {"GET",   "HEAD",	  "POST",  "PUT",  "DELETE",
					      "PATCH", "OPTIONS", "TRACE", "QUERY"};
	struct tables t = {.count = 0};
	char json[400];
	for (unsigned i = 0; i <= PHX_CHAIN; i++) {
		snprintf(json, sizeof(json),
			 "{\"id\": \"r%u\", \"path\": \"/x\", \"method\": \"%s\", " URLS "}", i, methods[i]);
		add(&t, json);
	}
	CHECK_INT(build(&t), -E2BIG);
	CHECK(strstr(buf_cstr(&t.why), "more than 8 routes") != NULL);
	t.count--;
	buf_reset(&t.why);
	CHECK_INT(build(&t), 0);
	CHECK_INT(lookup(&t.table, PHX_METHOD_TRACE, "", "/x"), 107);
	t.count++;
	done(&t);
}

UNIT_MAIN

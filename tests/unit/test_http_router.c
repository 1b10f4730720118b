/* SPDX-License-Identifier: Apache-2.0 */
/* Which route is the most specific, and that ten thousand of them are found at once. */
#include "http/router.h"
#include "unit.h"

#define ANY	UINT32_MAX
#define M(name) PHX_METHOD_BIT(PHX_METHOD_##name)

static const struct router_pattern table[] = {
	/* 0 */ {NULL, "/*", ANY},
	/* 1 */ {NULL, "/api/*", ANY},
	/* 2 */ {NULL, "/api/users", M(GET) | M(POST)},
	/* 3 */ {NULL, "/api/users", ANY},
	/* 4 */ {NULL, "/api/users/{id}", ANY},
	/* 5 */ {NULL, "/api/users/{id}/orders", ANY},
	/* 6 */ {NULL, "/api/users/me", ANY},
	/* 7 */ {NULL, "/api/{kind}/me", ANY},
	/* 8 */ {"shop.example", "/api/*", ANY},
	/* 9 */ {"shop.example", "/api/users", M(PUT)},
	/* 10 */ {NULL, "/", M(GET)},
	/* 11 */ {NULL, "/api/users/", M(GET)},
	/* 12 */ {NULL, "/api/users/{id}/*", M(DELETE)},
};

TEST(the_most_specific_route_wins)
{
	static const struct {
		enum phx_method method;
		const char *host, *path;
		int route;
	} cases[] = {
		{PHX_METHOD_GET, "a", "/", 10},
		{PHX_METHOD_POST, "a", "/", 0},
		{PHX_METHOD_GET, "a", "/x", 0},
		{PHX_METHOD_GET, "a", "/api", 0},
		{PHX_METHOD_GET, "a", "/api/", 1},
		{PHX_METHOD_GET, "a", "/api/x/y/z", 1},
		{PHX_METHOD_GET, "a", "/api/users", 2},
		{PHX_METHOD_DELETE, "a", "/api/users", 3},
		{PHX_METHOD_OTHER, "a", "/api/users", 3},
		{PHX_METHOD_GET, "a", "/api/users/", 11},
		{PHX_METHOD_POST, "a", "/api/users/", 1},
		{PHX_METHOD_GET, "a", "/api/users/7", 4},
		{PHX_METHOD_GET, "a", "/api/users/me", 6},
		{PHX_METHOD_GET, "a", "/api/groups/me", 7},
		{PHX_METHOD_GET, "a", "/api/users/7/orders", 5},
		{PHX_METHOD_GET, "a", "/api/users/7/other", 1},
		{PHX_METHOD_DELETE, "a", "/api/users/7/other", 12},
		{PHX_METHOD_GET, "a", "/api//orders", 1},
		{PHX_METHOD_GET, "a", "//", 0},
		{PHX_METHOD_GET, "a", "/API/users", 0},
		{PHX_METHOD_GET, "a", "/api/%75sers", 1},
		{PHX_METHOD_GET, "shop.example", "/api/users/me", 8},
		{PHX_METHOD_PUT, "Shop.Example:8080", "/api/users", 9},
		{PHX_METHOD_GET, "shop.example:8080", "/api/users", 8},
		{PHX_METHOD_GET, "shop.example", "/other", 0},
		{PHX_METHOD_GET, "[::1]:80", "/api/users", 2},
		{PHX_METHOD_GET, "", "/api/users", 2},
	};
	struct router *router;
	CHECK_INT(router_create(table, sizeof(table) / sizeof(table[0]), &router), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t route = router_match(router, cases[i].method, slice_str(cases[i].host),
					      slice_str(cases[i].path));
		CHECK_MSG((int)route == cases[i].route, "%s%s: route %d, not %d", cases[i].host,
			  cases[i].path, (int)route, cases[i].route);
	}
	router_destroy(router);
}

TEST(an_empty_table_matches_nothing)
{
	struct router *router;
	CHECK_INT(router_create(NULL, 0, &router), 0);
	CHECK_INT(router_match(router, PHX_METHOD_GET, SLICE("a"), SLICE("/")), ROUTER_NONE);
	router_destroy(router);
}

TEST(ten_thousand_routes_are_all_found)
{
	enum { COUNT = 10000 };
	static char paths[COUNT][48];
	static struct router_pattern patterns[COUNT];
	for (int i = 0; i < COUNT; i++) {
		snprintf(paths[i], sizeof(paths[i]),
			 i % 3 == 0   ? "/s%d/items"
			 : i % 3 == 1 ? "/s%d/{id}"
				      : "/s%d/*",
			 i);
		patterns[i] = (struct router_pattern){NULL, paths[i], ANY};
	}
	struct router *router;
	CHECK_INT(router_create(patterns, COUNT, &router), 0);
	for (int i = 0; i < COUNT; i++) {
		char path[48];
		snprintf(path, sizeof(path),
			 i % 3 == 0   ? "/s%d/items"
			 : i % 3 == 1 ? "/s%d/42"
				      : "/s%d/a/b/c",
			 i);
		CHECK_INT(router_match(router, PHX_METHOD_GET, SLICE("a"), slice_str(path)), i);
	}
	CHECK_INT(router_match(router, PHX_METHOD_GET, SLICE("a"), SLICE("/s10000/items")), ROUTER_NONE);
	router_destroy(router);
}

TEST(long_paths_end_in_the_rest)
{
	struct router *router;
	CHECK_INT(router_create(table, sizeof(table) / sizeof(table[0]), &router), 0);
	char path[1000] = "/api";
	for (int i = 0; i < 200; i++)
		strcat(path, "/x");
	CHECK_INT(router_match(router, PHX_METHOD_GET, SLICE("a"), slice_str(path)), 1);
	router_destroy(router);
}

/* The steps that the BPF programs take too, one by one. */
static bool compares(const char *pattern, const char *path)
{
	struct phx_compare compare = {0};
	for (const char *c = path; *c; c++)
		phx_compare_byte(&compare, (__u8)pattern[compare.at], (__u8)*c);
	return phx_compare_end(&compare, (__u8)pattern[compare.at]);
}

TEST(patterns_are_compared_byte_by_byte)
{
	CHECK(compares("api/users", "api/users"));
	CHECK(!compares("api/users", "api/user"));
	CHECK(!compares("api/users", "api/usersx"));
	CHECK(!compares("api/users", "apx/users"));
	CHECK(!compares("", "a"));
	CHECK(compares("", ""));
	CHECK(compares("users/\1/orders", "users/7/orders"));
	CHECK(!compares("users/\1/orders", "users//orders"));
	CHECK(!compares("users/\1/orders", "users/7"));
	CHECK(compares("users/\1", "users/7"));
	CHECK(!compares("users/\1", "users/"));
	CHECK(!compares("users/\1", "users/7/"));
	CHECK(compares("api/\2", "api/"));
	CHECK(compares("api/\2", "api/x/y/z"));
	CHECK(!compares("api/\2", "api"));
	CHECK(compares("\1/\2", "a/b/c"));
}

UNIT_MAIN

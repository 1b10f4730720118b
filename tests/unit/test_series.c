/* SPDX-License-Identifier: Apache-2.0 */
/* Rates and points of a route's series, from counters that only grow. */
#include "unit.h"

#include "base/clock.h"
#include "control/series.h"

static struct gateway_route_stats counted(uint64_t legacy, uint64_t modern, uint64_t failed)
{
	struct gateway_route_stats stats;
	memset(&stats, 0, sizeof(stats));
	stats.side[PHX_LEGACY].requests = legacy;
	stats.side[PHX_MODERN].requests = modern;
	stats.side[PHX_MODERN].status[5] = failed;
	stats.side[PHX_LEGACY].latency[3] = legacy;
	return stats;
}

static void add(struct series *series, uint64_t second, struct gateway_route_stats stats)
{
	series_add(series, &stats, second * NS_PER_SEC, second * NS_PER_SEC, 3000, 10, 1);
}

static double number(const json_t *points, size_t at, const char *key)
{
	const json_t *value = json_object_get(json_array_get(points, at), key);
	return json_is_number(value) ? json_number_value(value) : -1;
}

TEST(the_first_reading_counts_from_nothing)
{
	struct series *series = series_create(true);
	add(series, 100, counted(40, 10, 2));
	add(series, 101, counted(40, 30, 2));
	json_t *points = series_to_json(series, 0);
	CHECK_INT(json_array_size(points), 2);
	CHECK_INT(number(points, 0, "legacy_rps"), 40);
	CHECK_INT(number(points, 0, "modern_rps"), 10);
	CHECK_INT(number(points, 0, "errors"), 2);
	CHECK_INT(number(points, 1, "legacy_rps"), 0);
	CHECK_INT(number(points, 1, "modern_rps"), 20);
	CHECK_INT(number(points, 1, "errors"), 0);
	CHECK(json_is_null(json_object_get(json_array_get(points, 1), "legacy_p99_ms")));
	json_decref(points);
	series_destroy(series);
}

TEST(what_an_earlier_daemon_served_came_at_no_rate)
{
	struct series *series = series_create(true);
	struct gateway_route_stats adopted = counted(5000000, 1000000, 77);
	series_begin(series, &adopted, 100 * NS_PER_SEC);
	CHECK(series_recent(series, PHX_LEGACY).rps == 0);
	CHECK(series_recent(series, PHX_LEGACY).p99_ms < 0);
	add(series, 102, counted(5000040, 1000002, 78));
	json_t *points = series_to_json(series, 0);
	CHECK_INT(json_array_size(points), 1);
	CHECK_INT(number(points, 0, "legacy_rps"), 20);
	CHECK_INT(number(points, 0, "modern_rps"), 1);
	CHECK_INT(number(points, 0, "errors"), 1);
	CHECK_INT(series_recent(series, PHX_LEGACY).rps, 20);
	json_decref(points);
	series_destroy(series);
}

/* A day: 600 points hold all of it, the last two minutes second by second, and nothing that went wrong is
 * lost. */
TEST(older_points_are_further_apart)
{
	struct series *series = series_create(true);
	const uint64_t day = 86400, outage = day - 7200;
	for (uint64_t second = 1; second <= day; second++)
		add(series, 1000 + second, counted(second * 10, 0, second / 100 + (second >= outage) * 500));
	json_t *points = series_to_json(series, 0), *point;
	CHECK_INT(json_array_size(points), SERIES_POINTS);
	double errors = 0, worst = 0;
	size_t i;
	json_array_foreach(points, i, point)
	{
		errors += number(points, i, "errors");
		worst = number(points, i, "errors") > worst ? number(points, i, "errors") : worst;
		CHECK(number(points, i, "legacy_rps") > 9.9 && number(points, i, "legacy_rps") < 10.1);
	}
	CHECK_INT(errors, day / 100 + 500);
	CHECK_MSG(worst >= 500, "the outage of two hours ago is still one point: %g", worst);
	char first[CLOCK_RFC3339_SIZE], fine[CLOCK_RFC3339_SIZE];
	clock_rfc3339((1000 + day - 119) * NS_PER_SEC, fine);
	CHECK_STR(json_string_value(json_object_get(json_array_get(points, SERIES_POINTS - 120), "t")), fine);
	/* A tenth of them is older than six hours. */
	clock_rfc3339((1000 + day - 6 * 3600) * NS_PER_SEC, first);
	const char *tenth =
		json_string_value(json_object_get(json_array_get(points, SERIES_POINTS / 10), "t"));
	CHECK_MSG(strcmp(tenth, first) < 0, "%s", tenth);
	json_decref(points);
	points = series_to_json(series, 5);
	CHECK_INT(json_array_size(points), 5);
	clock_rfc3339((1000 + day) * NS_PER_SEC, fine);
	CHECK_STR(json_string_value(json_object_get(json_array_get(points, 4), "t")), fine);
	json_decref(points);
	series_destroy(series);
}

TEST(recent_is_of_the_last_ten_to_twenty_seconds)
{
	struct series *series = series_create(false);
	for (uint64_t second = 0; second <= 60; second++)
		add(series, 100 + second, counted(second < 30 ? second * 100 : 3000, 0, 0));
	CHECK(series_recent(series, PHX_LEGACY).rps == 0);
	add(series, 161, counted(3500, 0, 0));
	double rps = series_recent(series, PHX_LEGACY).rps;
	CHECK_MSG(rps >= 25 && rps <= 50, "500 requests in 10 to 20 s are %g a second", rps);
	json_t *points = series_to_json(series, 0);
	CHECK_INT(json_array_size(points), 0);
	json_decref(points);
	series_destroy(series);
}

/* A clock that is set back makes every point look young: then the oldest give way, and none is lost count of.
 */
TEST(a_clock_set_back_does_no_harm)
{
	struct series *series = series_create(true);
	for (uint64_t second = 1; second <= 2 * SERIES_POINTS; second++) {
		struct gateway_route_stats stats = counted(second * 10, 0, second);
		series_add(series, &stats, second * NS_PER_SEC, (5000 - second) * NS_PER_SEC, 3000, 10, 1);
	}
	json_t *points = series_to_json(series, 0);
	double errors = 0;
	for (size_t i = 0; i < json_array_size(points); i++)
		errors += number(points, i, "errors");
	CHECK_INT(json_array_size(points), SERIES_POINTS);
	CHECK_INT(errors, 2 * SERIES_POINTS);
	json_decref(points);
	series_destroy(series);
}

UNIT_MAIN

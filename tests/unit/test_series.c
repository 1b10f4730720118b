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

TEST(the_oldest_points_go)
{
	struct series *series = series_create(true);
	for (uint64_t second = 1; second <= SERIES_POINTS + 5; second++)
		add(series, second, counted(second * second, 0, 0));
	json_t *points = series_to_json(series, 0);
	CHECK_INT(json_array_size(points), SERIES_POINTS);
	/* The point of second n counts n^2 - (n - 1)^2. */
	CHECK_INT(number(points, 0, "legacy_rps"), 2 * 6 - 1);
	CHECK_INT(number(points, SERIES_POINTS - 1, "legacy_rps"), 2 * (SERIES_POINTS + 5) - 1);
	json_decref(points);
	series_destroy(series);
}

UNIT_MAIN

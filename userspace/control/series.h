/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series: a route's history as points, and latencies over the last while.
 *
 * Made only for routes that have traffic. The gateway's counters only grow; this file keeps earlier readings
 * and takes differences. The last two minutes have a point a second; what is older is thinned out, the more
 * the older it is, so that the same 600 points that are two minutes and a bit in full hold hours: at an age
 * of one hour a point stands for about a minute. A thinned point keeps the sum of errors and the worst
 * latency.
 */
#ifndef PHOENIX_CONTROL_SERIES_H
#define PHOENIX_CONTROL_SERIES_H

#include "gateway/gateway.h"

#include <jansson.h>
#include <stdbool.h>

#define SERIES_POINTS	   600
#define SERIES_INTERVAL_MS 1000
#define SERIES_ROUTES_MAX  1024 /* so many routes keep points */

struct series_point {
	uint64_t wall_ns;
	uint32_t weight_bp;
	uint32_t covers;	      /* readings that it stands for */
	uint64_t samples, mismatches; /* of the step then */
	double p99_ms[2];	      /* by side; negative = no request */
	double rps[2];
	uint64_t errors; /* in this time: answers by Phoenix itself, and 5xx of either side */
};

/* What the page shows of a side: over the last ten to twenty seconds. */
struct series_recent {
	double p50_ms, p99_ms; /* negative = no request */
	double rps;
};

struct series;

/* `points` false: only the recent figures are kept. NULL when out of memory. */
struct series *series_create(bool points);
void series_destroy(struct series *series);
/* What was counted until now is not of this series: a daemon before this one has served it. First of all
 * calls. */
void series_begin(struct series *series, const struct gateway_route_stats *stats, uint64_t now_ns);
/*
 * Takes a reading; `stats` are the counters now, of this route. The first one counts from nothing, as of one
 * interval ago, when the series was not begun with other counters.
 */
void series_add(struct series *series, const struct gateway_route_stats *stats, uint64_t now_ns,
		uint64_t wall_ns, uint32_t weight_bp, uint64_t samples, uint64_t mismatches);
struct series_recent series_recent(const struct series *series, enum phx_side side);
/* How many requests the recent figures were made from. */
uint64_t series_recent_requests(const struct series *series);
/* The newest `limit` points (0 = all), oldest first, as GET …/series has them. */
json_t *series_to_json(const struct series *series, size_t limit);

/* Failed requests of a side: no answer, or a 5xx. */
uint64_t side_errors(const struct gateway_side_stats *side);
/* The latency that a share (0..1) of the counted requests stayed below, in ms; negative when none. */
double latency_quantile_ms(const uint64_t latency[GATEWAY_LATENCY_BUCKETS], double share);

#endif

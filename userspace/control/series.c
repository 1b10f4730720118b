/* SPDX-License-Identifier: Apache-2.0 */
/* series: see series.h. Two older readings, taken in turns every ten seconds, are what "recent" counts from.
 */
#include "control/series.h"

#include "base/clock.h"
#include "control/value.h"

#include <stdlib.h>

#define RECENT_NS (10 * NS_PER_SEC)
#define FINE_NS	  (120 * NS_PER_SEC) /* younger points are never thinned out */

struct reading {
	uint64_t at_ns;
	uint64_t requests[2];
	uint64_t latency[2][GATEWAY_LATENCY_BUCKETS];
	uint64_t errors;
};

struct series {
	struct series_point *points; /* NULL: not kept; the oldest first */
	size_t count;
	struct reading last, recent, older;
};

struct series *series_create(bool points)
{
	struct series *series = calloc(1, sizeof(*series));
	if (series && points)
		series->points = calloc(SERIES_POINTS, sizeof(*series->points));
	return series;
}

void series_destroy(struct series *series)
{
	if (series)
		free(series->points);
	free(series);
}

uint64_t side_errors(const struct gateway_side_stats *side)
{
	return side->status[0] + side->status[5];
}

double latency_quantile_ms(const uint64_t latency[GATEWAY_LATENCY_BUCKETS], double share)
{
	uint64_t total = 0, below = 0;
	for (unsigned i = 0; i < GATEWAY_LATENCY_BUCKETS; i++)
		total += latency[i];
	if (!total)
		return -1;
	for (unsigned i = 0; i < GATEWAY_LATENCY_BUCKETS; i++) {
		uint64_t next = below + latency[i];
		if (latency[i] && (double)next >= share * (double)total) {
			/* Evenly spread within the bucket; the open last one has no end to spread to. */
			double from = i ? (double)gateway_latency_bound_ns(i - 1) : 0;
			double to =
				i + 1 < GATEWAY_LATENCY_BUCKETS ? (double)gateway_latency_bound_ns(i) : from;
			double part = (share * (double)total - (double)below) / (double)latency[i];
			return (from + (to - from) * (part < 0 ? 0 : part)) / 1e6;
		}
		below = next;
	}
	return -1;
}

static void take(struct reading *reading, const struct gateway_route_stats *stats, uint64_t now_ns)
{
	reading->at_ns = now_ns;
	reading->errors = 0;
	for (unsigned side = 0; side < 2; side++) {
		reading->requests[side] = stats->side[side].requests;
		reading->errors += side_errors(&stats->side[side]);
		memcpy(reading->latency[side], stats->side[side].latency, sizeof(reading->latency[side]));
	}
}

static double quantile_between(const struct reading *from, const struct reading *to, unsigned side,
			       double share)
{
	uint64_t latency[GATEWAY_LATENCY_BUCKETS];
	for (unsigned i = 0; i < GATEWAY_LATENCY_BUCKETS; i++)
		latency[i] = to->latency[side][i] - from->latency[side][i];
	return latency_quantile_ms(latency, share);
}

static double rate_between(const struct reading *from, const struct reading *to, unsigned side)
{
	if (to->at_ns <= from->at_ns)
		return 0;
	return (double)(to->requests[side] - from->requests[side]) * 1e9 / (double)(to->at_ns - from->at_ns);
}

void series_begin(struct series *series, const struct gateway_route_stats *stats, uint64_t now_ns)
{
	take(&series->last, stats, now_ns);
	series->recent = series->older = series->last;
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

/* Takes an older point into the next one. */
static void merge(const struct series_point *older, struct series_point *point)
{
	double a = older->covers, b = point->covers;
	for (unsigned side = 0; side < 2; side++) {
		point->rps[side] = (older->rps[side] * a + point->rps[side] * b) / (a + b);
		point->p99_ms[side] = larger(older->p99_ms[side], point->p99_ms[side]);
	}
	point->errors += older->errors;
	point->covers += older->covers;
}

/* Makes room for one: of two neighbours that are close for their age the older goes into the younger. */
static void thin(struct series *series, uint64_t now_ns)
{
	struct series_point *p = series->points;
	size_t best = 0;
	double best_closeness = 1e300;
	for (size_t i = 0; i + 1 < series->count && p[i].wall_ns + FINE_NS < now_ns; i++) {
		uint64_t from_ns =
			i ? p[i - 1].wall_ns : p[i].wall_ns - p[i].covers * SERIES_INTERVAL_MS * NS_PER_MS;
		double closeness = (double)(p[i + 1].wall_ns - from_ns) / (double)(now_ns - p[i].wall_ns);
		if (closeness < best_closeness) {
			best_closeness = closeness;
			best = i;
		}
	}
	merge(&p[best], &p[best + 1]);
	memmove(&p[best], &p[best + 1], (--series->count - best) * sizeof(*p));
}

void series_add(struct series *series, const struct gateway_route_stats *stats, uint64_t now_ns,
		uint64_t wall_ns, uint32_t weight_bp, uint64_t samples, uint64_t mismatches)
{
	struct reading now;
	take(&now, stats, now_ns);
	if (!series->last.at_ns) {
		/* Made when traffic was first seen. */
		series->last.at_ns = now_ns - SERIES_INTERVAL_MS * NS_PER_MS;
		series->recent.at_ns = series->older.at_ns = series->last.at_ns;
	}
	struct series_point point = {
		.wall_ns = wall_ns,
		.weight_bp = weight_bp,
		.covers = 1,
		.samples = samples,
		.mismatches = mismatches,
		.errors = now.errors - series->last.errors,
	};
	for (unsigned side = 0; side < 2; side++) {
		point.rps[side] = rate_between(&series->last, &now, side);
		point.p99_ms[side] = quantile_between(&series->last, &now, side, 0.99);
	}
	series->last = now;
	if (now_ns >= series->recent.at_ns + RECENT_NS) {
		series->older = series->recent;
		series->recent = now;
	}
	if (!series->points)
		return;
	if (series->count == SERIES_POINTS)
		thin(series, wall_ns);
	series->points[series->count++] = point;
}

struct series_recent series_recent(const struct series *series, enum phx_side side)
{
	if (!series)
		return (struct series_recent){-1, -1, 0};
	return (struct series_recent){
		.p50_ms = quantile_between(&series->older, &series->last, side, 0.5),
		.p99_ms = quantile_between(&series->older, &series->last, side, 0.99),
		.rps = rate_between(&series->older, &series->last, side),
	};
}

uint64_t series_recent_requests(const struct series *series)
{
	uint64_t requests = 0;
	for (unsigned side = 0; series && side < 2; side++)
		requests += series->last.requests[side] - series->older.requests[side];
	return requests;
}

static json_t *ms_or_null(double ms)
{
	return ms < 0 ? json_null() : json_ms(ms);
}

json_t *series_to_json(const struct series *series, size_t limit)
{
	json_t *list = json_array();
	size_t skip = series && limit && limit < series->count ? series->count - limit : 0;
	for (size_t i = skip; list && series && i < series->count; i++) {
		const struct series_point *p = &series->points[i];
		json_t *consistency =
			p->samples ? json_real((double)(p->samples - p->mismatches) / (double)p->samples)
				   : json_null();
		json_array_append_new(
			list,
			json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:I}", "t", json_time(p->wall_ns),
				  "weight", json_ratio(p->weight_bp), "consistency", consistency, "samples",
				  (json_int_t)p->samples, "legacy_p99_ms", ms_or_null(p->p99_ms[PHX_LEGACY]),
				  "modern_p99_ms", ms_or_null(p->p99_ms[PHX_MODERN]), "legacy_rps",
				  json_ms(p->rps[PHX_LEGACY]), "modern_rps", json_ms(p->rps[PHX_MODERN]),
				  "errors", (json_int_t)p->errors));
	}
	return list;
}

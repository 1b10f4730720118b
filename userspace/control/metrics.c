/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: the families about routes, see metrics.h. */
#include "control/metrics.h"

#include "base/clock.h"
#include "control/datapath.h"
#include "control/view.h"
#include "judge/statistics.h"

#define ROUTES_BETWEEN_LOOKS 8 /* at the clock */
#define LABELS_BYTES	     128
#define BUCKETS_BETWEEN	     4 /* one bucket an octave is shown: 64 us to 32 s */

static const char *const sides[] = {"legacy", "modern"};
static const char *const codes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

/* A route's counters, read once. */
struct reading {
	struct route *route;
	const struct route_config *config;
	struct gateway_route_stats path[2]; /* [0] the daemon's, [1] the NIC path's */
	struct facts_view facts;
	char labels[LABELS_BYTES]; /* route="id" */
};
static const char *const paths[] = {"daemon", "xdp"};

/* The ends of the shown buckets as label values, once. */
static const char *bucket_label(unsigned bucket)
{
	static char labels[GATEWAY_LATENCY_BUCKETS][32];
	if (!labels[bucket][0])
		snprintf(labels[bucket], sizeof(labels[bucket]), "le=\"%.9g\"",
			 (double)gateway_latency_bound_ns(bucket) / 1e9);
	return labels[bucket];
}

static void durations(struct exposition *e, const struct gateway_side_stats *side, const char *labels)
{
	uint64_t below = 0;
	for (unsigned b = 0; b + 1 < GATEWAY_LATENCY_BUCKETS; b++) {
		below += side->latency[b];
		if (b % BUCKETS_BETWEEN == BUCKETS_BETWEEN - 1)
			expose_part(e, METRIC_DURATION, "_bucket", labels, bucket_label(b), below);
	}
	below += side->latency[GATEWAY_LATENCY_BUCKETS - 1];
	expose_part(e, METRIC_DURATION, "_bucket", labels, "le=\"+Inf\"", below);
	expose_part_real(e, METRIC_DURATION, "_sum", labels, (double)side->latency_ns_sum / 1e9);
	expose_part(e, METRIC_DURATION, "_count", labels, "", below);
}

/* What one side served on one path. */
static void traffic(struct exposition *e, const struct gateway_side_stats *side, bool daemon,
		    const char *labels)
{
	uint64_t answered = 0;
	for (unsigned c = 0; c < 6; c++) {
		char code[16];
		snprintf(code, sizeof(code), "code=\"%s\"", codes[c]);
		answered += side->status[c];
		if (side->status[c] || (c == 2 && daemon))
			expose(e, METRIC_REQUESTS, labels, code, side->status[c]);
		if (side->synthetic_status[c])
			expose(e, METRIC_SYNTHETIC, labels, code, side->synthetic_status[c]);
	}
	if (!answered)
		return;
	durations(e, side, labels);
	expose(e, METRIC_REQUEST_BYTES, labels, "", side->request_bytes);
	expose(e, METRIC_RESPONSE_BYTES, labels, "", side->response_bytes);
}

static void health(struct exposition *e, const struct reading *r, unsigned side, bool up, const char *labels)
{
	const struct gateway_side_stats *stats = &r->path[0].side[side];
	expose(e, METRIC_UPSTREAM_UP, labels, "", up);
	expose(e, METRIC_EJECTIONS, labels, "", stats->ejections);
	expose(e, METRIC_RETRIES, labels, "", stats->retries);
	if (r->config->health.path) {
		expose(e, METRIC_CHECKS, labels, "result=\"good\"", stats->checks[1]);
		expose(e, METRIC_CHECKS, labels, "result=\"failed\"", stats->checks[0]);
	}
}

static void both_sides(struct control *control, struct exposition *e, const struct reading *r)
{
	uint32_t flags = __atomic_load_n(&control->policy.slots[r->route->slot].flags, __ATOMIC_RELAXED);
	const uint32_t down[] = {PHX_ROUTE_LEGACY_DOWN, PHX_ROUTE_MODERN_DOWN};
	for (unsigned side = 0; side < 2; side++) {
		char labels[2 * LABELS_BYTES];
		snprintf(labels, sizeof(labels), "%s,backend=\"%s\"", r->labels, sides[side]);
		health(e, r, side, !(flags & down[side]), labels);
		size_t len = strlen(labels);
		for (unsigned path = 0; path < 2; path++) {
			snprintf(labels + len, sizeof(labels) - len, ",path=\"%s\"", paths[path]);
			traffic(e, &r->path[path].side[side], path == 0, labels);
		}
	}
}

static void evidence(struct exposition *e, const struct reading *r)
{
	const struct facts_counts *total = &r->facts.total, *now = &r->facts.now;
	uint64_t other = 0;
	for (unsigned i = 0; i < FACTS_REASON_COUNT; i++)
		other += total->not_comparable[i];
	expose(e, METRIC_COMPARE, r->labels, "result=\"match\"", total->samples - total->mismatches);
	expose(e, METRIC_COMPARE, r->labels, "result=\"mismatch\"", total->mismatches);
	expose(e, METRIC_COMPARE, r->labels, "result=\"not_comparable\"", other);
	expose(e, METRIC_STEP_SAMPLES, r->labels, "", now->samples);
	if (now->samples) {
		expose_real(e, METRIC_CONSISTENCY, r->labels, "",
			    (double)(now->samples - now->mismatches) / (double)now->samples);
		expose_real(e, METRIC_LOWER_BOUND, r->labels, "",
			    wilson_lower(now->samples, now->mismatches, STATISTICS_Z_95));
	}
	uint64_t twice = r->facts.control_samples, differing = r->facts.control_differing;
	if (twice) {
		expose(e, METRIC_CONTROL_ANSWERS, r->labels, "result=\"same\"", twice - differing);
		expose(e, METRIC_CONTROL_ANSWERS, r->labels, "result=\"different\"", differing);
	}
}

static void migration(struct control *control, struct exposition *e, const struct reading *r)
{
	const struct route *route = r->route;
	expose_real(e, METRIC_WEIGHT_WANTED, r->labels, "", route->migration.weight_bp / 10000.0);
	expose_real(e, METRIC_WEIGHT_SET, r->labels, "",
		    traffic_set_bp(&control->engine.traffic, route) / 10000.0);
	enum migration_state state = engine_state(&control->engine, route);
	for (unsigned s = 0; s < MIGRATION_STATE_COUNT; s++) {
		char label[40];
		snprintf(label, sizeof(label), "state=\"%s\"", migration_state_word((enum migration_state)s));
		expose(e, METRIC_STATE, r->labels, label, s == state);
	}
	expose(e, METRIC_ROLLBACKS, r->labels, "reason=\"inconsistent\"", route->rollbacks_arbiter);
	expose(e, METRIC_ROLLBACKS, r->labels, "reason=\"regression\"", route->rollbacks_regression);
	expose(e, METRIC_ROLLBACKS, r->labels, "reason=\"manual\"", route->rollbacks_manual);
}

static void add_sums(uint64_t outcomes[EXCHANGE_OUTCOME_COUNT], uint64_t not_comparable[FACTS_REASON_COUNT],
		     const struct gateway_route_stats *stats, const struct facts_view *facts)
{
	for (unsigned o = 0; o < EXCHANGE_OUTCOME_COUNT; o++)
		outcomes[o] += stats->outcome[o];
	for (unsigned i = 0; i < FACTS_REASON_COUNT; i++)
		not_comparable[i] += facts->total.not_comparable[i];
}

static void look_at(struct control *control, struct metrics_job *job, struct route *route)
{
	struct reading r = {.route = route, .config = route_config_of(route)};
	data_path_split_stats(control, route->slot, &r.path[0], &r.path[1]);
	facts_read(control->facts, route->slot, &r.facts);
	snprintf(r.labels, sizeof(r.labels), "route=\"%s\"", r.config->id);
	struct exposition *e = &job->exposition;
	both_sides(control, e, &r);
	expose(e, METRIC_FAILOVERS, r.labels, "", r.path[0].failovers);
	evidence(e, &r);
	migration(control, e, &r);
	add_sums(job->outcomes, job->not_comparable, &r.path[0], &r.facts);
}

void metrics_retire(struct control *control, const struct route *route)
{
	struct gateway_route_stats stats;
	struct facts_view facts;
	control->path.route_stats(control->path.context, route->slot, &stats);
	facts_read(control->facts, route->slot, &facts);
	add_sums(control->retired.outcomes, control->retired.not_comparable, &stats, &facts);
}

static void sums(struct control *control, struct metrics_job *job)
{
	char label[64];
	for (unsigned o = 0; o < EXCHANGE_OUTCOME_COUNT; o++) {
		snprintf(label, sizeof(label), "result=\"%s\"",
			 exchange_outcome_word((enum exchange_outcome)o));
		expose(&job->exposition, METRIC_SHADOW, label, "",
		       job->outcomes[o] + control->retired.outcomes[o]);
	}
	for (unsigned r = 0; r < FACTS_REASON_COUNT; r++) {
		if (r == EXCHANGE_COMPARABLE ||
		    (r < EXCHANGE_OUTCOME_COUNT && exchange_outcome_is_mismatch((enum exchange_outcome)r)))
			continue;
		snprintf(label, sizeof(label), "reason=\"%s\"", facts_reason_word(r));
		expose(&job->exposition, METRIC_NOT_COMPARABLE, label, "",
		       job->not_comparable[r] + control->retired.not_comparable[r]);
	}
}

bool metrics_step(struct control *control, struct metrics_job *job, uint64_t until_ns)
{
	unsigned looked_at = 0;
	for (; job->slot < PHX_ROUTE_SLOTS; job->slot++) {
		struct route *route = control->registry.by_slot[job->slot];
		if (!route)
			continue;
		if (looked_at++ % ROUTES_BETWEEN_LOOKS == ROUTES_BETWEEN_LOOKS - 1 &&
		    clock_now_ns() >= until_ns)
			return false;
		look_at(control, job, route);
	}
	if (job->slot == PHX_ROUTE_SLOTS) {
		job->slot++;
		sums(control, job);
		metrics_process(control, &job->exposition);
	}
	while (exposition_join(&job->exposition)) {
		if (clock_now_ns() >= until_ns)
			return false;
	}
	return true;
}

void metrics_fini(struct metrics_job *job)
{
	exposition_fini(&job->exposition);
	*job = (struct metrics_job){0};
}

void metrics_text(struct control *control, struct buf *out)
{
	struct metrics_job job = {0};
	metrics_step(control, &job, UINT64_MAX);
	*out = job.exposition.text;
	job.exposition.text = (struct buf){0};
	metrics_fini(&job);
}

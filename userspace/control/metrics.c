/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: GET /metrics, Prometheus text format 0.0.4 (view.h).
 *
 * Labels come from the configuration and from fixed lists only, never from requests: the number of series is
 * bounded by the number of routes. Live traffic and shadow traffic are families of their own.
 */
#include "control/datapath.h"
#include "control/series.h"
#include "control/view.h"

#include "judge/statistics.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *const sides[] = {"legacy", "modern"};

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP phoenix_%s %s\n# TYPE phoenix_%s %s\n", name, help, name, type);
}

/* The counters of every route, read once: families have to come one after another. */
struct reading {
	struct route *route;
	struct gateway_route_stats stats; /* both paths */
	struct gateway_route_stats fast;  /* the NIC path's part */
	struct facts_view facts;
};

static void request_line(struct buf *out, const struct route *route, unsigned side, const char *path,
			 const char *code, uint64_t count)
{
	buf_printf(out,
		   "phoenix_requests_total{route=\"%s\",backend=\"%s\",path=\"%s\",code=\"%s\"} %" PRIu64
		   "\n",
		   route_config_of(route)->id, sides[side], path, code, count);
}

static void requests(struct buf *out, const struct reading *readings, size_t count)
{
	static const char *const codes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
	family(out, "requests_total", "counter",
	       "Live requests by the side that served them and the answer's class.");
	for (size_t i = 0; i < count; i++) {
		for (unsigned side = 0; side < 2; side++) {
			const uint64_t *all = readings[i].stats.side[side].status;
			const uint64_t *fast = readings[i].fast.side[side].status;
			for (unsigned c = 0; c < 6; c++) {
				if (all[c] || c == 2)
					request_line(out, readings[i].route, side, "daemon", codes[c],
						     all[c] - fast[c]);
				if (fast[c])
					request_line(out, readings[i].route, side, "xdp", codes[c], fast[c]);
			}
		}
	}
}

static void synthetic(struct buf *out, const struct reading *readings, size_t count)
{
	static const char *const codes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
	family(out, "synthetic_requests_total", "counter",
	       "Of phoenix_requests_total: marked X-Phoenix-Synthetic, by the class of the whole answer.");
	for (size_t i = 0; i < count; i++) {
		for (unsigned side = 0; side < 2; side++) {
			const uint64_t *status = readings[i].stats.side[side].synthetic_status;
			for (unsigned c = 0; c < 6; c++) {
				if (status[c])
					buf_printf(out,
						   "phoenix_synthetic_requests_total{route=\"%s\",backend=\"%"
						   "s\","
						   "code=\"%s\"} %" PRIu64 "\n",
						   route_config_of(readings[i].route)->id, sides[side],
						   codes[c], status[c]);
			}
		}
	}
}

/* One bucket an octave: 64 us to 32 s. */
static void durations(struct buf *out, const struct reading *readings, size_t count)
{
	family(out, "request_duration_seconds", "histogram",
	       "First byte of the request to last byte of the response.");
	for (size_t i = 0; i < count; i++) {
		const char *id = route_config_of(readings[i].route)->id;
		for (unsigned side = 0; side < 2; side++) {
			const struct gateway_side_stats *s = &readings[i].stats.side[side];
			uint64_t below = 0;
			for (unsigned b = 0; b + 1 < GATEWAY_LATENCY_BUCKETS; b++) {
				below += s->latency[b];
				if (b % 4 == 3)
					buf_printf(out,
						   "phoenix_request_duration_seconds_bucket{route=\"%s\","
						   "backend=\"%s\",le=\"%.9g\"} %" PRIu64 "\n",
						   id, sides[side], (double)gateway_latency_bound_ns(b) / 1e9,
						   below);
			}
			below += s->latency[GATEWAY_LATENCY_BUCKETS - 1];
			buf_printf(
				out,
				"phoenix_request_duration_seconds_bucket{route=\"%s\",backend=\"%s\",le=\"+"
				"Inf\"} "
				"%" PRIu64 "\n"
				"phoenix_request_duration_seconds_sum{route=\"%s\",backend=\"%s\"} %.9g\n"
				"phoenix_request_duration_seconds_count{route=\"%s\",backend=\"%s\"} %" PRIu64
				"\n",
				id, sides[side], below, id, sides[side], (double)s->latency_ns_sum / 1e9, id,
				sides[side], below);
		}
	}
}

static void health(struct buf *out, struct control *control, const struct reading *readings, size_t count)
{
	family(out, "upstream_up", "gauge",
	       "0 while a route's service is down: ejected or failing its checks.");
	for (size_t i = 0; i < count; i++) {
		uint32_t flags = __atomic_load_n(&control->policy.slots[readings[i].route->slot].flags,
						 __ATOMIC_RELAXED);
		const char *id = route_config_of(readings[i].route)->id;
		buf_printf(out,
			   "phoenix_upstream_up{route=\"%s\",backend=\"legacy\"} %d\n"
			   "phoenix_upstream_up{route=\"%s\",backend=\"modern\"} %d\n",
			   id, !(flags & PHX_ROUTE_LEGACY_DOWN), id, !(flags & PHX_ROUTE_MODERN_DOWN));
	}
	family(out, "upstream_ejections_total", "counter",
	       "Times that a service was taken out after health.eject_after unanswered requests.");
	for (size_t i = 0; i < 2 * count; i++)
		buf_printf(out, "phoenix_upstream_ejections_total{route=\"%s\",backend=\"%s\"} %" PRIu64 "\n",
			   route_config_of(readings[i / 2].route)->id, sides[i % 2],
			   readings[i / 2].stats.side[i % 2].ejections);
	family(out, "health_checks_total", "counter", "Active checks by result.");
	for (size_t i = 0; i < 2 * count; i++) {
		const struct gateway_side_stats *side = &readings[i / 2].stats.side[i % 2];
		if (!route_config_of(readings[i / 2].route)->health.path)
			continue;
		buf_printf(
			out,
			"phoenix_health_checks_total{route=\"%s\",backend=\"%s\",result=\"good\"} %" PRIu64
			"\n"
			"phoenix_health_checks_total{route=\"%s\",backend=\"%s\",result=\"failed\"} %" PRIu64
			"\n",
			route_config_of(readings[i / 2].route)->id, sides[i % 2], side->checks[1],
			route_config_of(readings[i / 2].route)->id, sides[i % 2], side->checks[0]);
	}
	family(out, "failovers_total", "counter", "Requests for modern that legacy served instead.");
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "phoenix_failovers_total{route=\"%s\"} %" PRIu64 "\n",
			   route_config_of(readings[i].route)->id, readings[i].stats.failovers);
}

static void comparison(struct buf *out, const struct reading *readings, size_t count)
{
	uint64_t outcomes[EXCHANGE_OUTCOME_COUNT] = {0};
	for (size_t i = 0; i < count; i++) {
		for (unsigned o = 0; o < EXCHANGE_OUTCOME_COUNT; o++)
			outcomes[o] += readings[i].stats.outcome[o];
	}
	family(out, "shadow_requests_total", "counter", "Sampled exchanges by how they ended.");
	for (unsigned o = 0; o < EXCHANGE_OUTCOME_COUNT; o++)
		buf_printf(out, "phoenix_shadow_requests_total{result=\"%s\"} %" PRIu64 "\n",
			   exchange_outcome_word((enum exchange_outcome)o), outcomes[o]);
	family(out, "compare_total", "counter", "Comparisons by result.");
	for (size_t i = 0; i < count; i++) {
		const struct facts_counts *total = &readings[i].facts.total;
		const char *id = route_config_of(readings[i].route)->id;
		uint64_t other = 0;
		for (unsigned r = 0; r < FACTS_REASON_COUNT; r++)
			other += total->not_comparable[r];
		buf_printf(out,
			   "phoenix_compare_total{route=\"%s\",result=\"match\"} %" PRIu64 "\n"
			   "phoenix_compare_total{route=\"%s\",result=\"mismatch\"} %" PRIu64 "\n"
			   "phoenix_compare_total{route=\"%s\",result=\"not_comparable\"} %" PRIu64 "\n",
			   id, total->samples - total->mismatches, id, total->mismatches, id, other);
	}
	family(out, "not_comparable_total", "counter", "Samples without a verdict, by reason.");
	for (unsigned r = 0; r < FACTS_REASON_COUNT; r++) {
		uint64_t sum = 0;
		if (r == EXCHANGE_COMPARABLE ||
		    (r < EXCHANGE_OUTCOME_COUNT && exchange_outcome_is_mismatch((enum exchange_outcome)r)))
			continue;
		for (size_t i = 0; i < count; i++)
			sum += readings[i].facts.total.not_comparable[r];
		buf_printf(out, "phoenix_not_comparable_total{reason=\"%s\"} %" PRIu64 "\n",
			   facts_reason_word(r), sum);
	}
}

/* How sure the consistency of the present step is, and what legacy says to itself. */
static void certainty(struct buf *out, const struct reading *readings, size_t count)
{
	family(out, "consistency_lower_bound_ratio", "gauge",
	       "Wilson lower bound of the present step, one-sided 95 %; missing without a sample.");
	for (size_t i = 0; i < count; i++) {
		const struct facts_counts *now = &readings[i].facts.now;
		if (now->samples)
			buf_printf(out, "phoenix_consistency_lower_bound_ratio{route=\"%s\"} %.6f\n",
				   route_config_of(readings[i].route)->id,
				   wilson_lower(now->samples, now->mismatches, STATISTICS_Z_95));
	}
	family(out, "control_answers_total", "counter",
	       "Exchanges that legacy answered twice, by whether it agreed with itself.");
	for (size_t i = 0; i < count; i++) {
		const struct facts_view *view = &readings[i].facts;
		const char *id = route_config_of(readings[i].route)->id;
		if (!view->control_samples)
			continue;
		buf_printf(out,
			   "phoenix_control_answers_total{route=\"%s\",result=\"same\"} %" PRIu64 "\n"
			   "phoenix_control_answers_total{route=\"%s\",result=\"different\"} %" PRIu64 "\n",
			   id, view->control_samples - view->control_differing, id, view->control_differing);
	}
}

static void migrations(struct buf *out, struct control *control, const struct reading *readings, size_t count)
{
	family(out, "weight_wanted_ratio", "gauge", "Share of requests that modern should serve.");
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "phoenix_weight_wanted_ratio{route=\"%s\"} %g\n",
			   route_config_of(readings[i].route)->id,
			   readings[i].route->migration.weight_bp / 10000.0);
	family(out, "weight_set_ratio", "gauge", "The share that the data path has, read back.");
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "phoenix_weight_set_ratio{route=\"%s\"} %g\n",
			   route_config_of(readings[i].route)->id,
			   traffic_set_bp(&control->engine.traffic, readings[i].route) / 10000.0);
	family(out, "migration_state", "gauge", "1 for the state that the migration is in.");
	for (size_t i = 0; i < count; i++) {
		enum migration_state state = engine_state(&control->engine, readings[i].route);
		for (unsigned s = 0; s < MIGRATION_STATE_COUNT; s++)
			buf_printf(out, "phoenix_migration_state{route=\"%s\",state=\"%s\"} %d\n",
				   route_config_of(readings[i].route)->id,
				   migration_state_word((enum migration_state)s), s == state);
	}
	family(out, "rollbacks_total", "counter", "Rollbacks by what caused them.");
	for (size_t i = 0; i < count; i++) {
		const struct route *route = readings[i].route;
		const char *id = route_config_of(route)->id;
		buf_printf(out,
			   "phoenix_rollbacks_total{route=\"%s\",reason=\"inconsistent\"} %" PRIu64 "\n"
			   "phoenix_rollbacks_total{route=\"%s\",reason=\"regression\"} %" PRIu64 "\n"
			   "phoenix_rollbacks_total{route=\"%s\",reason=\"manual\"} %" PRIu64 "\n",
			   id, route->rollbacks_arbiter, id, route->rollbacks_regression, id,
			   route->rollbacks_manual);
	}
}

static void gauge(struct buf *out, const char *name, const char *help, double value)
{
	family(out, name, "gauge", help);
	buf_printf(out, "phoenix_%s %.12g\n", name, value);
}

static void counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
	family(out, name, "counter", help);
	buf_printf(out, "phoenix_%s %" PRIu64 "\n", name, value);
}

static bool is_upstream_kind(unsigned error)
{
	return error >= GATEWAY_ERROR_UPSTREAM_CONNECT && error <= GATEWAY_ERROR_POOL_EMPTY;
}

static void gateway(struct buf *out, struct control *control)
{
	struct gateway_stats stats = {0};
	if (control->gateway)
		gateway_stats(control->gateway, &stats);
	family(out, "upstream_errors_total", "counter", "Requests that an upstream failed, by kind.");
	for (unsigned e = 0; e < GATEWAY_ERROR_COUNT; e++) {
		if (is_upstream_kind(e))
			buf_printf(out, "phoenix_upstream_errors_total{kind=\"%s\"} %" PRIu64 "\n",
				   gateway_error_word((enum gateway_error)e), stats.errors[e]);
	}
	family(out, "refused_requests_total", "counter",
	       "Requests that the gateway did not pass on, by kind.");
	for (unsigned e = 1; e < GATEWAY_ERROR_COUNT; e++) {
		if (!is_upstream_kind(e))
			buf_printf(out, "phoenix_refused_requests_total{kind=\"%s\"} %" PRIu64 "\n",
				   gateway_error_word((enum gateway_error)e), stats.errors[e]);
	}
	counter(out, "connections_accepted_total", "Client connections accepted.",
		stats.connections_accepted);
	counter(out, "connections_refused_total", "Client connections over limits.connections.",
		stats.connections_refused);
	gauge(out, "connections_active", "Client connections open.", (double)stats.connections_active);
	counter(out, "upstream_connects_total", "Connections opened to upstreams.", stats.upstream_connects);
	counter(out, "upstream_reused_total",
		"Requests sent over an upstream connection that was open already.", stats.upstream_reused);
	gauge(out, "shadow_requests_active", "Shadow requests under way.", (double)stats.shadow_active);
	counter(out, "buffers_starved_total", "Receives that had to wait for a buffer.",
		stats.buffers_starved);
}

static void process(struct buf *out, struct control *control)
{
	struct notify_stats hooks;
	notify_stats(control->notify, &hooks);
	family(out, "webhooks_total", "counter", "Webhook messages by result.");
	buf_printf(out,
		   "phoenix_webhooks_total{result=\"sent\"} %" PRIu64 "\n"
		   "phoenix_webhooks_total{result=\"failed\"} %" PRIu64 "\n"
		   "phoenix_webhooks_total{result=\"dropped\"} %" PRIu64 "\n",
		   hooks.sent, hooks.failed, hooks.dropped);
	counter(out, "alerts_total", "Events of level alert.", control->events.alerts);
	gauge(out, "store_ok", "1 when the state was stored the last time it had to be.", control->state.ok);
	gauge(out, "config_last_reload_successful",
	      "1 when the configuration file could be read the last time.", control->reload_ok);
	gauge(out, "config_last_reload_timestamp_seconds", "When the configuration in effect was loaded.",
	      (double)control->loaded_wall_ns / 1e9);
	gauge(out, "start_time_seconds", "When this process started.",
	      (double)control->started.wall_ns / 1e9);
	family(out, "build_info", "gauge", "1; the version is in the label.");
	buf_printf(out, "phoenix_build_info{version=\"%s\"} 1\n", PHOENIX_VERSION);
}

void metrics_text(struct control *control, struct buf *out)
{
	size_t count = 0;
	struct reading *readings = calloc(control->registry.count + 1, sizeof(*readings));
	if (!readings) {
		out->failed = true;
		return;
	}
	registry_each(&control->registry, route)
	{
		struct reading *reading = &readings[count++];
		reading->route = route;
		data_path_fast_stats(control, route->slot,
				     &reading->fast); /* first: it must not be the larger */
		control->path.route_stats(control->path.context, route->slot, &reading->stats);
		facts_read(control->facts, route->slot, &reading->facts);
	}
	requests(out, readings, count);
	synthetic(out, readings, count);
	durations(out, readings, count);
	health(out, control, readings, count);
	comparison(out, readings, count);
	certainty(out, readings, count);
	migrations(out, control, readings, count);
	gateway(out, control);
	data_path_metrics(control, out);
	process(out, control);
	free(readings);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view: see view.h.
 *
 * Three numbers, never one: wanted is the policy's, set is read back from the data path, seen is counted from
 * requests of this step. What is unknown is null, never 0.
 */
#include "control/view.h"

#include "control/datapath.h"
#include "control/engine_internal.h"
#include "control/killswitch.h"
#include "control/ledger.h"
#include "control/pipeline.h"
#include "control/series.h"
#include "control/value.h"

#include <inttypes.h>
#include <stdlib.h>

#define VIEW_MANY    200
#define VIEW_KEPT_NS (10 * NS_PER_SEC)

static json_t *text_of(struct buf *text)
{
	json_t *json = json_text(slice_of(buf_cstr(text), text->len));
	buf_fini(text);
	return json;
}

void view_etag(const struct route *route, char out[ETAG_SIZE])
{
	snprintf(out, ETAG_SIZE, "\"%" PRIx32 "-%" PRIx64 "\"", route->generation, route->revision);
}

json_t *view_verbs(struct control *control, struct route *route)
{
	json_t *list = json_array();
	for (unsigned verb = 0; list && verb < VERB_COUNT; verb++) {
		if (engine_allows(&control->engine, route, (enum verb)verb))
			json_array_append_new(list, json_string(verb_word((enum verb)verb)));
	}
	return list;
}

static json_t *strings_json(const struct string_list *strings)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < strings->count; i++)
		json_array_append_new(list, json_text(slice_str(strings->items[i])));
	return list;
}

static json_t *weight_json(struct control *control, struct route *route,
			   const struct gateway_route_stats *stats)
{
	const struct migration *m = &route->migration;
	uint64_t legacy = stats->step_requests[PHX_LEGACY], modern = stats->step_requests[PHX_MODERN];
	bool counted = legacy + modern > 0 && stats->step == m->step;
	return json_pack("{s:o, s:o, s:o, s:I, s:o, s:b, s:I, s:o, s:o, s:o}", "wanted",
			 json_ratio(m->weight_bp), "set",
			 json_ratio(traffic_set_bp(&control->engine.traffic, route)), "seen",
			 counted ? json_real((double)modern / (double)(legacy + modern)) : json_null(),
			 "seen_requests", counted ? (json_int_t)(legacy + modern) : 0, "file",
			 route->in_file ? json_ratio(route->file_weight_bp) : json_null(), "drift",
			 route->in_file && route->file_weight_bp != m->weight_bp, "epoch",
			 (json_int_t)m->epoch, "changed_at", json_time(m->changed_wall_ns), "changed_by",
			 json_text_or_null(m->changed_by), "reason", json_text_or_null(m->changed_reason));
}

json_t *view_weight(struct control *control, struct route *route)
{
	struct gateway_route_stats stats;
	control->path.route_stats(control->path.context, route->slot, &stats);
	json_t *json = weight_json(control, route, &stats);
	if (json)
		json_object_set_new(json, "id", json_text(slice_str(route_config_of(route)->id)));
	return json;
}

static void add(json_t *json, const char *key, json_t *value)
{
	json_object_set_new(json, key, value);
}

/* How sure that is: shown under both policies, though only bounded acts on it. What is unknown is null. */
static void add_figures(struct control *control, struct route *route, const struct facts_view *view,
			json_t *json)
{
	struct evidence evidence;
	engine_assess(&control->engine, route, moment_now(), &evidence);
	const struct arbiter_decision *d = &evidence.decision;
	const struct arbiter_facts *f = &evidence.facts;
	add(json, "successes", json_integer((json_int_t)(f->samples - f->errors)));
	add(json, "min_success", json_integer((json_int_t)evidence.policy.min_success));
	add(json, "llr", f->samples ? json_real(d->llr) : json_null());
	add(json, "llr_bound", json_real(arbiter_likelihood_bound(&evidence.policy)));
	add(json, "wilson_lower", f->samples ? json_real(d->lower_bound) : json_null());
	add(json, "build",
	    json_pack("{s:I, s:I, s:I, s:o, s:o}", "samples", (json_int_t)f->build_samples, "mismatches",
		      (json_int_t)f->build_mismatches, "synthetic", (json_int_t)f->build_synthetic,
		      "wilson_lower", f->build_samples ? json_real(d->build_lower_bound) : json_null(),
		      "needs", d->gate_bp ? json_ratio(d->gate_bp) : json_null()));
	add(json, "watch",
	    json_pack("{s:o, s:o, s:b}", "cusum", json_real(f->watch), "alarm",
		      json_real(evidence.policy.watch_alarm), "on", route->migration.complete));
	add(json, "split",
	    json_pack("{s:s, s:I, s:I, s:o, s:o}", "of", evidence.policy.split_by_key ? "keys" : "requests",
		      "legacy", (json_int_t)f->split_legacy, "modern", (json_int_t)f->split_modern,
		      "chi_square", json_real(d->split), "alarm", json_real(evidence.policy.split_alarm)));
	add(json, "shapes",
	    json_pack("{s:I, s:o, s:I, s:o}", "distinct", (json_int_t)f->shapes, "top_share",
		      f->samples ? json_real((double)f->top_shape / (double)f->samples) : json_null(), "min",
		      (json_int_t)evidence.policy.min_shapes, "max_share",
		      json_ratio(evidence.policy.max_shape_bp)));
	json_t *noise = facts_noise(control->facts, route->slot, false);
	add(json, "noise", noise ? noise : json_null());
}

static json_t *consistency_json(struct control *control, struct route *route,
				const struct gateway_route_stats *stats)
{
	const struct route_config *config = route_config_of(route);
	struct facts_view view;
	engine_read_facts(&control->engine, route, &view);
	/* Samples for which the gateway had no memory never became exchanges: only its counter has them. */
	uint64_t no_memory = stats->outcome[EXCHANGE_MEMORY] - route->watch.memory_before;
	if (no_memory > view.now.not_comparable[EXCHANGE_MEMORY])
		view.now.not_comparable[EXCHANGE_MEMORY] = no_memory;
	uint64_t n = view.now.samples, k = view.now.mismatches;
	json_t *json = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:I}", "ratio",
				 n ? json_real((double)(n - k) / (double)n) : json_null(), "samples",
				 (json_int_t)n, "matches", (json_int_t)(n - k), "mismatches", (json_int_t)k,
				 "synthetic", (json_int_t)view.now.synthetic, "stale", (json_int_t)view.stale,
				 "not_comparable", not_comparable_json(view.now.not_comparable),
				 "ignored_pointers", strings_json(&config->compare.ignore), "limit_promote",
				 json_ratio(config->arbiter.promote_above_bp), "limit_rollback",
				 json_ratio(config->arbiter.rollback_below_bp), "min_samples",
				 (json_int_t)config->arbiter.min_samples, "rollback_min_samples",
				 (json_int_t)config->arbiter.rollback_min_samples);
	if (json)
		add_figures(control, route, &view, json);
	return json;
}

static json_t *side_json(struct control *control, struct route *route,
			 const struct gateway_route_stats *stats, enum phx_side side)
{
	const struct gateway_side_stats *s = &stats->side[side];
	uint64_t errors = side_errors(s);
	struct series_recent recent = series_recent(route->series, side);
	uint32_t flags = __atomic_load_n(&control->policy.slots[route->slot].flags, __ATOMIC_RELAXED);
	bool down = flags & (side == PHX_MODERN ? PHX_ROUTE_MODERN_DOWN : PHX_ROUTE_LEGACY_DOWN);
	return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:b, s:I, s:{s:I, s:I}}", "requests",
			 (json_int_t)s->requests, "errors", (json_int_t)errors, "error_rate",
			 s->requests ? json_real((double)errors / (double)s->requests) : json_null(),
			 "p50_ms", recent.p50_ms < 0 ? json_null() : json_ms(recent.p50_ms), "p99_ms",
			 recent.p99_ms < 0 ? json_null() : json_ms(recent.p99_ms), "rps", json_ms(recent.rps),
			 "down", down, "ejections", (json_int_t)s->ejections, "checks", "good",
			 (json_int_t)s->checks[1], "failed", (json_int_t)s->checks[0]);
}

static json_t *next_step_json(struct control *control, struct route *route)
{
	const struct migration *m = &route->migration;
	enum migration_state state = engine_state(&control->engine, route);
	if (!m->started ||
	    (state != MIGRATION_MIRRORING && state != MIGRATION_MIGRATING && state != MIGRATION_HOLDING))
		return json_null();
	uint32_t step_bp = route_config_of(route)->arbiter.step_bp, left_bp = PHX_WEIGHT_ONE - m->weight_bp;
	uint32_t next_bp = m->weight_bp + (step_bp < left_bp ? step_bp : left_bp);
	uint64_t age_ms = (clock_now_ns() - route->watch.step_since_ns) / NS_PER_MS;
	uint32_t min_ms = route_config_of(route)->arbiter.min_step_ms;
	json_t *in_ms = min_ms > age_ms ? json_integer((json_int_t)(min_ms - age_ms)) : json_null();
	const char *waits = route->watch.reason[0] ? route->watch.reason : "waiting for samples";
	return json_pack("{s:o, s:o, s:o}", "weight", json_ratio(next_bp), "waits_for",
			 json_text(slice_str(waits)), "in_ms", in_ms);
}

static json_t *paused_json(const struct migration *m)
{
	if (!m->paused)
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "by", json_text(slice_str(m->pause_by)), "reason",
			 json_text_or_null(m->pause_reason), "since", json_time(m->pause_wall_ns));
}

static json_t *rollback_json(const struct migration *m)
{
	if (!m->rollback_wall_ns)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:b}", "reason", json_text(slice_str(m->rollback_reason)), "at",
			 json_time(m->rollback_wall_ns), "from", json_ratio(m->rollback_from_bp), "verified",
			 m->rollback_verified);
}

static json_t *badges_json(struct control *control, const struct route *route)
{
	uint32_t flags = __atomic_load_n(&control->policy.slots[route->slot].flags, __ATOMIC_RELAXED);
	const struct route_config *config = route_config_of(route);
	json_t *list = json_array();
	if (flags & PHX_ROUTE_LEGACY_DOWN)
		json_array_append_new(list, json_string("legacy down"));
	if (flags & PHX_ROUTE_MODERN_DOWN)
		json_array_append_new(list, json_string("modern down"));
	if (config->mirror.unsafe_methods && config->mirror.sample_bp)
		json_array_append_new(list, json_string("unsafe methods mirrored"));
	if (!config->mirror.sample_bp)
		json_array_append_new(list, json_string("not sampled"));
	if (!config->arbiter.enabled)
		json_array_append_new(list, json_string("arbiter off"));
	if (route->definition->from_api && route->in_file)
		json_array_append_new(list, json_string("differs from the file"));
	return list;
}

/* Marked requests and the whole answers to them by class: what a traffic client holds its own count against.
 */
static json_t *synthetic_json(const struct gateway_route_stats *stats)
{
	static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
	const struct gateway_side_stats *legacy = &stats->side[PHX_LEGACY],
					*modern = &stats->side[PHX_MODERN];
	json_t *answers = json_object();
	for (unsigned c = 0; answers && c < 6; c++)
		json_object_set_new(answers, classes[c],
				    json_integer((json_int_t)(legacy->synthetic_status[c] +
							      modern->synthetic_status[c])));
	return json_pack("{s:I, s:o}", "requests", (json_int_t)(legacy->synthetic + modern->synthetic),
			 "answers", answers);
}

/* As the file would have it, without secrets. */
static json_t *shown_config(const struct route_config *config)
{
	json_t *json = route_config_to_json(config);
	route_json_mask(json);
	return json;
}

json_t *view_route(struct control *control, struct route *route, bool with_config)
{
	const struct route_config *config = route_config_of(route);
	const struct migration *m = &route->migration;
	struct gateway_route_stats stats;
	control->path.route_stats(control->path.context, route->slot, &stats);
	char etag[ETAG_SIZE];
	view_etag(route, etag);
	json_t *json = json_object();
	if (!json)
		return NULL;
	struct buf headline = {0}, detail = {0};
	engine_headline(&control->engine, route, &headline);
	engine_detail(&control->engine, route, &detail);
	add(json, "id", json_text(slice_str(config->id)));
	add(json, "methods", strings_json(&config->methods));
	add(json, "path", json_text(slice_str(config->path)));
	add(json, "host", json_text_or_null(config->host));
	add(json, "legacy_url", json_text(slice_str(config->legacy.text)));
	add(json, "modern_url", json_text(slice_str(config->modern.text)));
	add(json, "source", json_string(route->definition->from_api ? "api" : "file"));
	add(json, "state", json_string(migration_state_word(engine_state(&control->engine, route))));
	add(json, "headline", text_of(&headline));
	add(json, "detail", text_of(&detail));
	add(json, "next_step", next_step_json(control, route));
	add(json, "weight", weight_json(control, route, &stats));
	add(json, "consistency", consistency_json(control, route, &stats));
	add(json, "step",
	    json_pack("{s:I, s:o, s:I}", "number", (json_int_t)m->step, "since", json_time(m->step_wall_ns),
		      "age_ms", (json_int_t)((clock_now_ns() - route->watch.step_since_ns) / NS_PER_MS)));
	add(json, "sides",
	    json_pack("{s:o, s:o}", "legacy", side_json(control, route, &stats, PHX_LEGACY), "modern",
		      side_json(control, route, &stats, PHX_MODERN)));
	add(json, "failovers", json_integer((json_int_t)stats.failovers));
	add(json, "synthetic", synthetic_json(&stats));
	add(json, "arbiter",
	    json_pack("{s:b, s:s}", "enabled", config->arbiter.enabled, "policy",
		      config->arbiter.policy == POLICY_BOUNDED ? "bounded" : "literal"));
	add(json, "paused", paused_json(m));
	add(json, "rollback", rollback_json(m));
	add(json, "verbs", view_verbs(control, route));
	add(json, "badges", badges_json(control, route));
	add(json, "etag", json_string(etag));
	if (with_config)
		add(json, "config", shown_config(config));
	return json;
}

static int append_text(const char *text, size_t len, void *out)
{
	buf_append(out, text, len);
	return 0;
}

/* A number that changes when anything that view_route() shows does, but for ages. */
static uint64_t route_key(struct control *control, struct route *route)
{
	static const uint8_t hash_key[SIPHASH_KEY_SIZE] = "phoenix-view";
	struct {
		struct gateway_route_stats stats;
		struct facts_view facts;
		uint64_t revision, set_bp, flags, verify, recent;
		char reason[REASON_SIZE];
	} all;
	memset(&all, 0, sizeof(all));
	control->path.route_stats(control->path.context, route->slot, &all.stats);
	engine_read_facts(&control->engine, route, &all.facts);
	all.revision = route->revision;
	all.set_bp = traffic_set_bp(&control->engine.traffic, route);
	all.flags = __atomic_load_n(&control->policy.slots[route->slot].flags, __ATOMIC_RELAXED);
	all.verify = (uint64_t)route->watch.verify << 1 | route->watch.holding;
	all.recent = series_recent_requests(route->series);
	memcpy(all.reason, route->watch.reason, sizeof(all.reason));
	return siphash24(hash_key, &all, sizeof(all));
}

/*
 * Route by route: ten thousand at once as JSON values would be a million small pieces of memory. With many
 * routes the text of those where nothing happened is kept for a while, and who had it before can do without.
 */
static void append_route(struct control *control, struct route *route, bool keep, uint64_t since,
			 struct buf *out)
{
	uint64_t now_ns = clock_now_ns(), key = keep ? route_key(control, route) : 0;
	struct route_text *text = &route->text;
	if (!text->text.len || text->key != key)
		text->changed = control->looks.last;
	else if (since && text->changed <= since)
		return;
	if (out->data[out->len - 1] == '}')
		buf_append_char(out, ',');
	if (keep && text->text.len && text->key == key && now_ns - text->made_ns < VIEW_KEPT_NS) {
		buf_append_slice(out, buf_slice(&text->text));
		return;
	}
	size_t begin = out->len;
	json_t *json = view_route(control, route, false);
	if (!json || json_dump_callback(json, append_text, out, JSON_WIRE))
		out->failed = true;
	json_decref(json);
	if (!keep || out->failed)
		return;
	buf_reset(&text->text);
	buf_append(&text->text, out->data + begin, out->len - begin);
	if (text->text.failed)
		buf_fini(&text->text);
	text->key = key;
	text->made_ns = now_ns;
}

/* The number of this look; *since becomes 0 when everything has to be told. */
static uint64_t look(struct control *control, uint64_t *since)
{
	struct looks *looks = &control->looks;
	if (!looks->last)
		looks->last = looks->whole = control->started.wall_ns / 1000;
	looks->last++;
	if (looks->removals != control->registry.removals) {
		looks->removals = control->registry.removals;
		looks->whole = looks->last;
	}
	if (control->registry.count <= VIEW_MANY || *since <= looks->whole || *since >= looks->last)
		*since = 0;
	return looks->last;
}

static void append_routes(struct control *control, uint64_t since, struct buf *out)
{
	bool keep = control->registry.count > VIEW_MANY;
	buf_append_str(out, "\"routes\":[");
	registry_each(&control->registry, route)
	{
		if (!out->failed)
			append_route(control, route, keep, since, out);
	}
	buf_append_char(out, ']');
}

void view_routes(struct control *control, struct buf *out)
{
	uint64_t since = 0;
	look(control, &since);
	buf_append_char(out, '{');
	append_routes(control, since, out);
	buf_append_char(out, '}');
}

void control_headline(const struct control *control, struct buf *out)
{
	const struct route *speaker = NULL;
	unsigned best = 0;
	if (policy_is_killed(&control->policy)) {
		buf_append_str(out, "Kill Switch: 100% on Legacy");
		return;
	}
	registry_each(&control->registry, route)
	{
		unsigned rank = migration_state_rank(engine_state(&control->engine, route));
		if (rank > best) {
			best = rank;
			speaker = route;
		}
	}
	if (speaker)
		engine_headline(&control->engine, speaker, out);
	else
		buf_append_str(out, "No Routes");
}

static json_t *totals_json(struct control *control, uint64_t side_errors_total)
{
	struct gateway_stats stats = {0};
	data_path_stats(control, &stats);
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "requests", (json_int_t)stats.requests,
			 "synthetic_refused", (json_int_t)stats.synthetic_refused, "errors",
			 (json_int_t)side_errors_total, "connections_active",
			 (json_int_t)stats.connections_active, "rps", json_ms(control->rps));
}

/* All of the status but the routes. */
static json_t *status_json(struct control *control)
{
	struct moment now = moment_now();
	struct gateway_stats stats = {0};
	if (control->gateway)
		gateway_stats(control->gateway, &stats);
	json_t *listen = json_array();
	const char *text;
	for (size_t i = 0; control->gateway && (text = gateway_listen_text(control->gateway, i)); i++)
		json_array_append_new(listen, json_string(text));
	uint64_t errors = 0;
	for (unsigned i = 1; i < GATEWAY_ERROR_COUNT; i++)
		errors += stats.errors[i];
	json_t *json = json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:o}", "version", PHOENIX_VERSION,
				 "instance", control->instance, "started_at",
				 json_time(control->started.wall_ns), "now", json_time(now.wall_ns),
				 "uptime_ms", (json_int_t)((now.ns - control->started.ns) / NS_PER_MS),
				 "workers", (json_int_t)stats.workers, "listen", listen);
	if (!json)
		return NULL;
	add(json, "config",
	    json_pack("{s:o, s:o, s:b, s:o}", "file", json_text(slice_str(control->config_path)), "loaded_at",
		      json_time(control->loaded_wall_ns), "last_reload_successful", control->reload_ok,
		      "last_reload_error", json_text_or_null(control->reload_error)));
	add(json, "store", share_view(control));
	add(json, "path", json_string(data_path_word(control)));
	add(json, "kill_switch", kill_switch_json(control));
	add(json, "fleet", fleet_json(control));
	struct buf headline = {0};
	control_headline(control, &headline);
	add(json, "headline", text_of(&headline));
	add(json, "totals", totals_json(control, errors));
	add(json, "migrations", pipeline_view_brief(control->pipeline));
	return json;
}

uint64_t view_status(struct control *control, uint64_t since, struct buf *out)
{
	uint64_t number = look(control, &since);
	json_t *json = status_json(control);
	if (json) {
		add(json, "cursor", json_integer((json_int_t)number));
		add(json, "partial", json_boolean(since != 0));
	}
	if (!json || json_dump_callback(json, append_text, out, JSON_WIRE) || out->len == 0)
		out->failed = true;
	json_decref(json);
	if (out->failed)
		return number;
	out->data[out->len - 1] = ','; /* in the place of the closing brace */
	append_routes(control, since, out);
	buf_append_char(out, '}');
	return number;
}

json_t *view_differences(struct control *control, struct route *route)
{
	struct facts_view view;
	facts_read(control->facts, route->slot, &view);
	return json_pack("{s:o, s:I, s:I, s:o, s:o, s:o}", "id",
			 json_text(slice_str(route_config_of(route)->id)), "samples",
			 (json_int_t)view.build_samples, "mismatches", (json_int_t)view.build_mismatches,
			 "groups", facts_differences(control->facts, route->slot), "noise",
			 facts_noise(control->facts, route->slot, true), "shapes",
			 facts_shapes(control->facts, route->slot));
}

json_t *view_samples(struct control *control, struct route *route)
{
	return facts_samples(control->facts, route->slot);
}

json_t *view_decisions(struct control *control, struct route *route, size_t limit)
{
	return json_pack("{s:o, s:o}", "id", json_text(slice_str(route_config_of(route)->id)), "decisions",
			 journal_list(&route->ledger, limit));
}

json_t *view_series(struct control *control, struct route *route, size_t limit)
{
	return json_pack("{s:o, s:I, s:o}", "id", json_text(slice_str(route_config_of(route)->id)),
			 "interval_ms", (json_int_t)SERIES_INTERVAL_MS, "points",
			 series_to_json(route->series, limit));
}

json_t *view_events(struct control *control, uint64_t since, size_t limit)
{
	return json_pack("{s:o}", "events", events_since(&control->events, since, limit));
}

static void add_upstream(void *context, const struct gateway_upstream_info *info)
{
	json_array_append_new(context,
			      json_pack("{s:o, s:i, s:b, s:o, s:I, s:I, s:I}", "host",
					json_text(slice_str(info->host)), "port", (int)info->port, "down",
					info->down, "last_error", json_text_or_null(info->last_error),
					"active", (json_int_t)info->active, "idle", (json_int_t)info->idle,
					"addresses", (json_int_t)info->addresses));
}

json_t *view_data_path(struct control *control)
{
	json_t *upstreams = json_array();
	struct gateway_stats stats = {0};
	if (control->gateway) {
		gateway_upstreams(control->gateway, add_upstream, upstreams);
		gateway_stats(control->gateway, &stats);
	}
	json_t *connections = json_pack("{s:I, s:I, s:I}", "active", (json_int_t)stats.connections_active,
					"accepted", (json_int_t)stats.connections_accepted, "refused",
					(json_int_t)stats.connections_refused);
	json_t *upstream =
		json_pack("{s:I, s:I, s:I, s:I, s:I}", "connects", (json_int_t)stats.upstream_connects,
			  "connect_failures", (json_int_t)stats.upstream_connect_failures, "reused",
			  (json_int_t)stats.upstream_reused, "active", (json_int_t)stats.upstream_active,
			  "idle", (json_int_t)stats.upstream_idle);
	return json_pack("{s:s, s:o, s:o, s:o, s:I, s:o, s:o, s:I, s:I}", "path", data_path_word(control),
			 "xdp", data_path_json(control), "routes", data_path_routes_json(control),
			 "upstreams", upstreams, "workers", (json_int_t)stats.workers, "connections",
			 connections, "upstream_connections", upstream, "shadow_active",
			 (json_int_t)stats.shadow_active, "buffers_starved",
			 (json_int_t)stats.buffers_starved);
}

json_t *view_config(struct control *control)
{
	json_t *json = config_to_json(control->config);
	json_t *routes = json_array();
	registry_each(&control->registry, route)
		json_array_append_new(routes, shown_config(route_config_of(route)));
	if (!json)
		return NULL;
	config_json_mask(json);
	add(json, "routes", routes);
	add(json, "file", json_text(slice_str(control->config_path)));
	return json;
}

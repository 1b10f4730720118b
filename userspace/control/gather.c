/* SPDX-License-Identifier: Apache-2.0 */
/* gather: what a decision is made from: migration, evidence (ours and, for who leads, the others'), requests
 * served. */
#include "base/clock.h"
#include "base/log.h"
#include "control/engine_internal.h"
#include "control/tally.h"

#include <errno.h>
#include <math.h>

/* Do the counted requests since the last look agree with the weight? Looked at in differences, because a
 * request that was under way when the weight changed may be counted late. */
static bool look_at_served(struct route *route, const struct gateway_route_stats *stats)
{
	struct route_watch *watch = &route->watch;
	if (stats->step != route->migration.step)
		return false;
	uint64_t legacy = stats->step_requests[PHX_LEGACY] - watch->served[PHX_LEGACY];
	uint64_t modern = stats->step_requests[PHX_MODERN] - watch->served[PHX_MODERN];
	memcpy(watch->served, stats->step_requests, sizeof(watch->served));
	if (route->migration.weight_bp < PHX_WEIGHT_ONE)
		watch->seen |= legacy + modern > 0;
	else if (legacy)
		watch->seen = false;
	else if (modern)
		watch->seen = true;
	return watch->seen;
}

/* What the split of this step is judged by: requests, which the by-request split deals out evenly, or
 * distinct keys, because one heavy user of a keyed split may rightly have nine requests of ten. */
static void gather_split(const struct route *route, struct evidence *evidence)
{
	const struct gateway_route_stats *stats = &evidence->stats;
	struct arbiter_facts *facts = &evidence->facts;
	if (route_config_of(route)->split_by != SPLIT_BY_REQUEST) {
		facts->split_legacy = evidence->view.keys[PHX_LEGACY];
		facts->split_modern = evidence->view.keys[PHX_MODERN];
	} else if (stats->step == route->migration.step) {
		facts->split_legacy = stats->step_requests[PHX_LEGACY];
		facts->split_modern = stats->step_requests[PHX_MODERN];
	}
}

static void read_others(struct engine *engine, const struct route *route, struct tally_counts *out)
{
	if (engine->others)
		engine->others(engine->others_context, route, out);
	else
		memset(out, 0, sizeof(*out));
}

void engine_read_facts(struct engine *engine, const struct route *route, struct facts_view *out)
{
	struct tally_counts others;
	facts_read(engine->facts, route->slot, out);
	read_others(engine, route, &others);
	tally_add_to_view(out, &others);
}

static void gather(struct engine *engine, const struct route *route, struct moment now, bool seen,
		   struct evidence *out)
{
	const struct route_config *config = route_config_of(route);
	const struct migration *m = &route->migration;
	engine_read_facts(engine, route, &out->view);
	out->policy = engine_policy(config);
	out->facts = (struct arbiter_facts){
		.flags = (config->arbiter.enabled ? ARBITER_ENABLED : 0) |
			 (m->started ? ARBITER_STARTED : 0) | (m->paused ? ARBITER_PAUSED : 0) |
			 (m->latched ? ARBITER_ROLLED_BACK : 0) | (m->complete ? ARBITER_COMPLETE : 0) |
			 (m->promoted ? ARBITER_PROMOTED : 0) |
			 (traffic_set_bp(&engine->traffic, route) == m->weight_bp ? ARBITER_WEIGHT_SET : 0) |
			 (seen ? ARBITER_WEIGHT_SEEN : 0),
		.weight_bp = m->weight_bp,
		.samples = out->view.now.samples,
		.mismatches = out->view.now.mismatches,
		.build_samples = out->view.build_samples,
		.build_mismatches = out->view.build_mismatches,
		.errors = out->view.now.errors,
		.synthetic = out->view.now.synthetic,
		.synthetic_mismatches = out->view.now.synthetic_mismatches,
		.build_synthetic = out->view.build_synthetic,
		.build_synthetic_mismatches = out->view.build_synthetic_mismatches,
		.shapes = out->view.shapes,
		.top_shape = out->view.top_shape,
		.step_age_ms = (now.ns - route->watch.step_since_ns) / NS_PER_MS,
		/* As exact as the ledger can write it, so that a replay sees the same number. */
		.watch = round(out->view.watch * 1e6) / 1e6,
	};
	gather_split(route, out);
}

static void read_stats(struct engine *engine, const struct route *route, struct evidence *out)
{
	memset(out, 0, sizeof(*out));
	if (!route->migration.weight_bp && !route->watch.verify)
		return;
	struct tally_counts others;
	struct gateway_route_stats *stats = &out->stats;
	engine->route_stats(engine->context, route->slot, stats);
	read_others(engine, route, &others);
	if (others.legacy_requests + others.modern_requests == 0)
		return;
	if (stats->step != route->migration.step) {
		/* Nobody was served here since the step began. */
		stats->step = route->migration.step;
		memset(stats->step_requests, 0, sizeof(stats->step_requests));
	}
	stats->step_requests[PHX_LEGACY] += others.legacy_requests;
	stats->step_requests[PHX_MODERN] += others.modern_requests;
}

void engine_gather(struct engine *engine, struct route *route, struct moment now, struct evidence *out)
{
	read_stats(engine, route, out);
	gather(engine, route, now, look_at_served(route, &out->stats), out);
}

void engine_assess(struct engine *engine, const struct route *route, struct moment now, struct evidence *out)
{
	read_stats(engine, route, out);
	gather(engine, route, now, route->watch.seen, out);
	out->decision = arbiter_decide(&out->policy, &out->facts);
	out->decided = true;
}

/* --- a new build ---------------------------------------------------------------------------------------- */

void engine_new_build(struct engine *engine, struct route *route, struct moment now)
{
	struct migration next = route->migration;
	struct buf why = {0};
	bool unsaved;
	facts_new_build(engine->facts, route->slot);
	next.build_wall_ns = now.wall_ns;
	int err = traffic_change(&engine->traffic, route, &next, ORDER_PERSON, &unsaved, &why);
	if (err == -ESTALE)
		engine_follow(engine, route, now);
	else if (err || unsaved)
		log_warn("engine", "%s: the others do not know yet that other code answers: %s",
			 route_config_of(route)->id, buf_cstr(&why));
	buf_fini(&why);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * standing: how a migration stands, and how it becomes another one (engine.h, engine_internal.h). Nothing
 * here decides or acts: migrations are values, and what people read is computed from them.
 */
#include "control/engine.h"
#include "control/engine_internal.h"

#define SPLIT_KEYS_MIN 50 /* distinct keys before a keyed split is judged */

struct arbiter_policy engine_policy(const struct route_config *config)
{
	const struct arbiter_config *arbiter = &config->arbiter;
	struct arbiter_policy policy = arbiter_policy_default();
	policy.rule = arbiter->policy == POLICY_BOUNDED ? ARBITER_RULE_BOUNDED : ARBITER_RULE_LITERAL;
	policy.promote_above_bp = arbiter->promote_above_bp;
	policy.rollback_below_bp = arbiter->rollback_below_bp;
	policy.min_samples = arbiter->min_samples;
	policy.rollback_min_samples = arbiter->rollback_min_samples;
	policy.step_bp = arbiter->step_bp;
	policy.min_step_ms = arbiter->min_step_ms;
	policy.synthetic_max_bp = arbiter->synthetic_max_bp;
	policy.min_shapes = arbiter->min_shapes;
	policy.max_shape_bp = arbiter->max_shape_bp;
	policy.min_success = arbiter->min_success;
	policy.watch_alarm = arbiter->watch_alarm;
	policy.split_by_key = config->split_by != SPLIT_BY_REQUEST;
	if (policy.split_by_key)
		policy.split_min = SPLIT_KEYS_MIN;
	return policy;
}

/* --- migrations as values ------------------------------------------------------------------------------- */

void migration_next_step(struct migration *migration, struct moment now)
{
	migration->step++;
	migration->step_wall_ns = now.wall_ns;
}

void migration_set_weight(struct migration *migration, uint32_t weight_bp, struct moment now)
{
	migration->weight_bp = weight_bp;
	migration->epoch++;
	migration->promoted = false;
	if (weight_bp != PHX_WEIGHT_ONE)
		migration->complete = false;
	migration_next_step(migration, now);
}

void migration_latch(struct migration *migration, const char *reason, struct moment now)
{
	migration->rollback_from_bp = migration->weight_bp;
	migration_set_weight(migration, 0, now);
	migration->latched = true;
	migration->paused = false;
	migration->complete = false;
	migration->rollback_verified = false;
	migration->rollback_wall_ns = now.wall_ns;
	text_copy(migration->rollback_reason, sizeof(migration->rollback_reason), slice_str(reason));
}

bool starts_by_itself(const struct route_config *config)
{
	return config->arbiter.enabled && config->mirror.sample_bp > 0;
}

void migration_begin(struct migration *migration, const struct route_config *config, struct moment now)
{
	*migration = (struct migration){
		.weight_bp = config->weight_bp,
		.epoch = migration->epoch + 1,
		.step = migration->step + 1,
		.started = starts_by_itself(config),
		.complete = config->weight_bp == PHX_WEIGHT_ONE,
		.step_wall_ns = now.wall_ns,
		.changed_wall_ns = now.wall_ns,
	};
	text_copy(migration->changed_by, WHO_SIZE, SLICE("configuration"));
}

const char *why_no_samples(const struct route_config *config)
{
	if (!config->mirror.sample_bp)
		return "mirror.sample is 0";
	if (!config->mirror.unsafe_methods && !(config->method_mask & PHX_METHODS_SAFE))
		return "its methods are unsafe and mirror.unsafe_methods is false";
	return NULL;
}

/* --- how it stands -------------------------------------------------------------------------------------- */

struct migration_view engine_view(const struct engine *engine, const struct route *route)
{
	struct migration_view view = {
		.set_bp = traffic_set_bp(&engine->traffic, route),
		.killed = policy_is_killed(engine->traffic.policy),
		.holding = route->watch.holding,
		.reason = route->watch.reason[0] ? route->watch.reason : NULL,
		.deploying = route->deploying,
	};
	/* No promotion can happen, whatever the samples say. */
	if (engine->trouble && engine->trouble[0]) {
		view.holding = true;
		view.reason = engine->trouble;
	}
	return view;
}

enum migration_state engine_state(const struct engine *engine, const struct route *route)
{
	struct migration_view view = engine_view(engine, route);
	return migration_state(&route->migration, &view);
}

void engine_headline(const struct engine *engine, const struct route *route, struct buf *out)
{
	struct migration_view view = engine_view(engine, route);
	migration_headline(&route->migration, &view, out);
}

void engine_detail(const struct engine *engine, const struct route *route, struct buf *out)
{
	const struct migration *m = &route->migration;
	struct migration_view view = engine_view(engine, route);
	const char *reason = view.reason ? view.reason : "waiting for samples";
	switch (engine_state(engine, route)) {
	case MIGRATION_MIRRORING:
	case MIGRATION_MIGRATING:
		if (m->weight_bp < PHX_WEIGHT_ONE) {
			uint32_t step_bp = route_config_of(route)->arbiter.step_bp;
			uint32_t left_bp = PHX_WEIGHT_ONE - m->weight_bp;
			buf_append_str(out, "next step to ");
			append_percent(out, m->weight_bp + (step_bp < left_bp ? step_bp : left_bp));
			buf_append_str(out, ": ");
		}
		buf_append_str(out, reason);
		if (why_no_samples(route_config_of(route)))
			buf_printf(out, "; none can come: %s", why_no_samples(route_config_of(route)));
		break;
	case MIGRATION_HOLDING:
		buf_append_str(out, m->started ? reason : m->changed_reason);
		break;
	case MIGRATION_PAUSED:
		buf_append_str(out, m->pause_reason);
		break;
	case MIGRATION_ROLLED_BACK:
		buf_append_str(out, m->rollback_reason);
		break;
	default:
		break;
	}
}

bool engine_allows(const struct engine *engine, const struct route *route, enum verb verb)
{
	if (!machine_allows(engine_state(engine, route), verb))
		return false;
	if (verb == VERB_START)
		return route_config_of(route)->arbiter.enabled;
	if (verb == VERB_PROMOTE)
		return route->migration.weight_bp < PHX_WEIGHT_ONE;
	return true;
}

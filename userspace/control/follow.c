/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follow: what another gateway decided about a route acts here as well (engine.h: engine_follow).
 *
 * The record in the store is the truth; it comes here by state_take() or because a write of ours was too
 * late. What was ordered here while the store could not be reached may be older than that: then it is over,
 * and that is said. A rollback is the exception: caution that the other one did not know of is ordered again.
 */
#include "base/log.h"
#include "control/engine_internal.h"
#include "control/value.h"

/* The record as a migration; false when there is nothing to follow. */
static bool read_record(struct engine *engine, struct route *route, struct moment now, struct migration *next)
{
	const struct route_config *config = route_config_of(route);
	const json_t *record = state_migration(engine->state, config->id);
	struct buf why = {0};
	bool fine = true;
	if (!record) {
		/* Its route was made anew. */
		*next = route->migration;
		migration_begin(next, config, now);
	} else {
		fine = state_read_migration(record, 0, true, next, &why);
	}
	if (!fine)
		events_emit(engine->events, EVENT_ALERT, "config", config->id, NULL,
			    "the weight in the store was refused, %u of 10000 stays: %s",
			    route->migration.weight_bp, why.len ? buf_cstr(&why) : "it is no record");
	buf_fini(&why);
	return fine;
}

static void tell(struct engine *engine, struct route *route, uint32_t old_bp, bool was_latched)
{
	const char *id = route_config_of(route)->id;
	const struct migration *m = &route->migration;
	struct buf message = {0};
	bool rollback = m->latched && !was_latched;
	if (rollback)
		buf_append_str(&message, "Rollback triggered, ");
	append_percent(&message, old_bp);
	buf_append_str(&message, " -> ");
	append_percent(&message, m->weight_bp);
	buf_append_char(&message, ' ');
	state_describe(state_migration(engine->state, id), &message);
	json_t *data = json_pack("{s:o, s:o, s:I, s:o, s:o}", "weight_old", json_ratio(old_bp), "weight_new",
				 json_ratio(m->weight_bp), "epoch", (json_int_t)m->epoch, "by",
				 json_text(slice_str(m->changed_by)), "reason",
				 json_text(slice_str(m->changed_reason)));
	events_emit(engine->events, rollback ? EVENT_ALERT : EVENT_INFO, rollback ? "rollback" : "weight", id,
		    data, "%s", buf_cstr(&message));
	buf_fini(&message);
}

/* What was done here and could not be stored in time. */
static void reconcile(struct engine *engine, struct route *route, const json_t *ours, struct moment now)
{
	const char *id = route_config_of(route)->id;
	struct buf text = {0};
	const json_t *changed = json_object_get(ours, "changed");
	state_describe(ours, &text);
	if (json_get_bool(ours, "rolled_back") && !route->migration.latched) {
		struct buf why = {0}, reason = {0};
		buf_printf(&reason, "%s; it could not be stored then",
			   json_get_str(json_object_get(ours, "rollback"), "reason"));
		int err = engine_verb(engine, route, VERB_ROLLBACK, json_get_str(changed, "by"),
				      buf_cstr(&reason), now, &why);
		if (err)
			log_error("engine", "%s: the rollback was not repeated: %s", id, buf_cstr(&why));
		buf_fini(&reason);
		buf_fini(&why);
	} else {
		events_emit(
			engine->events, EVENT_WARN, "weight", id, NULL,
			"superseded: what was changed here %s could not be stored, and the others went on",
			buf_cstr(&text));
	}
	buf_fini(&text);
}

void engine_follow(struct engine *engine, struct route *route, struct moment now)
{
	struct state_section *section = &engine->state->sections[STORE_ROUTES];
	const char *id = route_config_of(route)->id;
	json_t *ours = json_incref(json_object_get(section->news, id));
	json_object_del(section->news, id);
	struct migration next, old = route->migration;
	if (read_record(engine, route, now, &next)) {
		traffic_follow(&engine->traffic, route, &next);
		if (next.step != old.step)
			engine_begin_step(engine, route, now);
		if (next.build_wall_ns != old.build_wall_ns)
			facts_new_build(engine->facts, route->slot);
		if (next.complete && !old.complete)
			facts_watch_reset(engine->facts, route->slot);
		if (next.rollback_verified)
			route->watch.verify = false;
		if (next.weight_bp != old.weight_bp || next.latched != old.latched)
			tell(engine, route, old.weight_bp, old.latched);
		engine_activate(engine, route, now.ns);
	}
	if (json_is_object(ours))
		reconcile(engine, route, ours, now);
	json_decref(ours);
}

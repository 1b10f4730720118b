/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes: from one set of routes to another, wholly or not at all (control.h).
 *
 * The wanted set is a list of targets. New routes get their slot, weight and evidence before the snapshot
 * with them is published; changed and removed ones follow it. Until the publication succeeds, everything can
 * be undone; after it nothing can fail.
 *
 * The file owns structure, the run time owns weights. What REST defined over the file's head (an override:
 * another definition, or a deletion) holds until the file's own definition changes; the same goes for the
 * weight.
 */
#include "base/log.h"
#include "control/control.h"
#include "control/metrics.h"
#include "control/value.h"

#include <errno.h>
#include <stdlib.h>

struct route_target {
	struct definition *definition; /* one reference */
	bool in_file;
	uint32_t file_weight_bp;
	char file_print[PRINT_SIZE];
	struct route *route; /* existing or new */
	bool is_new, changed;
};

struct plan {
	struct route_target *targets;
	size_t count, max;
};

static void plan_fini(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		definition_put(plan->targets[i].definition);
	free(plan->targets);
	*plan = (struct plan){0};
}

static int plan_init(struct plan *plan, size_t max)
{
	*plan = (struct plan){.max = max};
	plan->targets = calloc(max + 1, sizeof(*plan->targets));
	return plan->targets ? 0 : -ENOMEM;
}

static struct route_target *plan_add(struct plan *plan, struct definition *definition)
{
	struct route_target *target = &plan->targets[plan->count++];
	*target = (struct route_target){.definition = definition};
	return target;
}

static int report_init(struct route_report *report)
{
	report->changed = json_array();
	report->added = json_array();
	report->removed = json_array();
	report->weights_from_file = json_array();
	report->warnings = json_array();
	return report->warnings ? 0 : -ENOMEM;
}

void route_report_fini(struct route_report *report)
{
	json_decref(report->changed);
	json_decref(report->added);
	json_decref(report->removed);
	json_decref(report->weights_from_file);
	json_decref(report->warnings);
	*report = (struct route_report){0};
}

static void note(json_t *list, const char *text)
{
	json_array_append_new(list, json_text(slice_str(text)));
}

/* --- putting a plan into practice ----------------------------------------------------------------------- */

static bool same_build(const struct route_config *a, const struct route_config *b)
{
	return strcmp(a->legacy.text, b->legacy.text) == 0 && strcmp(a->modern.text, b->modern.text) == 0;
}

static void target_take_file(struct route *route, const struct route_target *target)
{
	route->in_file = target->in_file;
	route->file_weight_bp = target->file_weight_bp;
	memcpy(route->file_print, target->file_print, sizeof(route->file_print));
}

/* The file's own weight is another than when the run time's was stored: the file wins. */
static void forget_stored_weight(struct control *control, const struct route *route,
				 struct route_report *report)
{
	const char *id = route_config_of(route)->id;
	const json_t *record = state_migration(&control->state, id);
	uint32_t stored_bp = (uint32_t)json_get_u64(record, "weight_bp");
	events_emit(&control->events, EVENT_WARN, "config", id,
		    json_pack("{s:o, s:o}", "weight_old", json_ratio(stored_bp), "weight_new",
			      json_ratio(route->migration.weight_bp)),
		    "weight %g -> %g: the file's own value changed from %g to %g since it was stored",
		    stored_bp / 10000.0, route->migration.weight_bp / 10000.0,
		    state_file_weight(record) / 10000.0, route->file_weight_bp / 10000.0);
	note(report->weights_from_file, id);
	state_put(&control->state, STORE_ROUTES, id, NULL);
	control->state.unsaved = true;
}

static int mount_new(struct control *control, struct route_target *target, struct route_report *report,
		     struct moment now)
{
	struct route *route;
	int err = registry_add(&control->registry, target->definition, &route);
	if (err)
		return err;
	target->route = route;
	target->is_new = true;
	target_take_file(route, target);
	const char *id = route_config_of(route)->id;
	const json_t *record = state_migration(&control->state, id);
	struct buf why = {0};
	/* Where several gateways share a store, one that starts does not move the others' weight. */
	if (!state_read_migration(record, route->file_weight_bp, control->state.shared, &route->migration,
				  &why)) {
		migration_begin(&route->migration, route_config_of(route), now);
		if (why.len)
			events_emit(&control->events, EVENT_ALERT, "config", id, NULL,
				    "the stored weight cannot be used, the configuration's acts: %s",
				    buf_cstr(&why));
		else if (record)
			forget_stored_weight(control, route, report);
	}
	buf_fini(&why);
	route->revision = now.wall_ns / NS_PER_MS;
	if (route->new_in_slot && control->path.route_reset)
		control->path.route_reset(control->path.context, route->slot);
	traffic_mount(&control->engine.traffic, route);
	return facts_mount(control->facts, route->slot, route->generation, target->definition, true);
}

static void unmount(struct control *control, struct route *route)
{
	uint32_t slot = route->slot;
	metrics_retire(control, route);
	if (route->series && control->series_count)
		control->series_count--;
	traffic_unmount(&control->engine.traffic, slot);
	facts_unmount(control->facts, slot);
	registry_remove(&control->registry, route);
}

/* Existing and changed: the new definition acts already, its evidence begins here. */
static void redefine(struct control *control, struct route_target *target, struct moment now)
{
	struct route *route = target->route;
	bool build = same_build(route_config_of(route), target->definition->config);
	registry_redefine(&control->registry, route, target->definition);
	route->migration.step++;
	route->migration.step_wall_ns = now.wall_ns;
	if (!build) {
		/* Another service behind it: complete must be shown again, with samples. */
		route->migration.complete = false;
		route->migration.promoted = false;
	}
	traffic_mount(&control->engine.traffic, route);
	if (facts_mount(control->facts, route->slot, route->generation, target->definition, !build))
		log_error("control", "%s: no memory for evidence: nothing will be compared",
			  route_config_of(route)->id);
}

/* The file's own weight changed: it wins over what the run time had set. */
static void weight_from_file(struct control *control, struct route *route, uint32_t old_file_bp,
			     struct route_report *report, struct moment now)
{
	struct buf why = {0};
	struct migration next = route->migration;
	migration_begin(&next, route_config_of(route), now);
	next.weight_bp = route->file_weight_bp;
	next.complete = route->file_weight_bp == PHX_WEIGHT_ONE;
	uint32_t old_bp = route->migration.weight_bp;
	bool unsaved;
	const char *id = route_config_of(route)->id;
	if (traffic_change(&control->engine.traffic, route, &next, ORDER_PERSON, &unsaved, &why)) {
		note(report->warnings, buf_cstr(&why));
		events_emit(&control->events, EVENT_ALERT, "config", id, NULL,
			    "the file's weight could not be taken over: %s", buf_cstr(&why));
	} else {
		note(report->weights_from_file, id);
		events_emit(&control->events, EVENT_INFO, "config", id,
			    json_pack("{s:o, s:o}", "weight_old", json_ratio(old_bp), "weight_new",
				      json_ratio(next.weight_bp)),
			    "weight %g -> %g: the file's own value changed from %g to %g", old_bp / 10000.0,
			    next.weight_bp / 10000.0, old_file_bp / 10000.0, route->file_weight_bp / 10000.0);
	}
	buf_fini(&why);
}

/* Another gateway has taken this weight over from its file already; what came after it counts. */
static bool is_known_weight(struct control *control, const struct route *route)
{
	const json_t *record = state_migration(&control->state, route_config_of(route)->id);
	return control->state.shared && record && state_file_weight(record) == route->file_weight_bp;
}

static void commit(struct control *control, struct plan *plan, struct route_report *report, struct moment now)
{
	registry_each(&control->registry, route) route->target = NULL;
	for (size_t i = 0; i < plan->count; i++)
		plan->targets[i].route->target = &plan->targets[i];

	struct list *link = control->registry.routes.next;
	while (link != &control->registry.routes) {
		struct route *route = container_of(link, struct route, link);
		link = link->next;
		struct route_target *target = route->target;
		if (!target) {
			note(report->removed, route_config_of(route)->id);
			unmount(control, route);
			continue;
		}
		route->target = NULL;
		if (target->is_new) {
			note(report->added, route_config_of(route)->id);
			engine_adopt(&control->engine, route, now);
			continue;
		}
		uint32_t old_file_bp = route->file_weight_bp;
		if (target->changed) {
			note(report->changed, target->definition->config->id);
			redefine(control, target, now);
		}
		if (!target->changed &&
		    route_config_of(route)->weight_bp != target->definition->config->weight_bp) {
			/* All but the weight is as it was: no new generation, the evidence stays. */
			struct definition *old = route->definition;
			route->definition = definition_get(target->definition);
			definition_put(old);
		}
		target_take_file(route, target);
		if (old_file_bp != route->file_weight_bp && !is_known_weight(control, route))
			weight_from_file(control, route, old_file_bp, report, now);
		if (target->changed || old_file_bp != route->file_weight_bp)
			engine_adopt(&control->engine, route, now);
	}
}

static int practise(struct control *control, struct plan *plan, struct route_report *report, struct buf *why)
{
	struct moment now = moment_now();
	int err = -ENOMEM;
	struct snapshot_owner *owner = snapshot_owner_create(plan->count);
	if (!owner)
		goto fail;
	for (size_t i = 0; i < plan->count; i++) {
		struct route_target *target = &plan->targets[i];
		target->route = registry_find(&control->registry, slice_str(target->definition->config->id));
		if (!target->route) {
			err = mount_new(control, target, report, now);
			if (err)
				goto fail;
		} else {
			const struct definition *old = target->route->definition;
			target->changed = strcmp(old->print, target->definition->print) != 0 ||
					  old->from_api != target->definition->from_api;
		}
		struct route *route = target->route;
		struct definition *definition =
			target->changed || target->is_new ? target->definition : route->definition;
		uint32_t generation =
			target->changed ? control->registry.generations[route->slot] + 1 : route->generation;
		snapshot_owner_add(owner, definition, route->slot, generation);
	}
	err = control->path.publish(control->path.context, owner->routes, owner->count,
				    snapshot_owner_release, owner, why);
	if (err)
		goto fail;
	control->published = true;
	commit(control, plan, report, now);
	return 0;
fail:
	snapshot_owner_release(owner);
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->targets[i].is_new)
			unmount(control, plan->targets[i].route);
	}
	if (why->len == 0)
		buf_printf(why, "the routes could not be published: %s", strerror(-err));
	return err;
}

/* --- file and state --------------------------------------------------------------------------------------
 */

/* What REST made of a route; an override whose file entry changed since is dropped here. */
enum override_kind { OVERRIDE_NONE, OVERRIDE_OUTDATED, OVERRIDE_DELETED, OVERRIDE_CONFIG };

/*
 * The override was made over another text of the file than it has now. Alone, the file is younger. Where
 * several gateways share a store each has a file of its own, perhaps still the old one: only one whose file
 * has changed under its eyes says something new.
 */
static bool is_outdated(struct control *control, const char *id, const char *stored, const char *file_print)
{
	if (strcmp(stored, file_print) == 0)
		return false;
	const struct route *route = registry_find(&control->registry, slice_str(id));
	return !control->state.shared ||
	       (route && route->in_file && *file_print && strcmp(route->file_print, file_print) != 0);
}

static enum override_kind override_of(struct control *control, const char *id, const char *file_print,
				      struct route_config **config)
{
	const json_t *override = state_definition(&control->state, id);
	if (!json_is_object(override))
		return OVERRIDE_NONE;
	if (is_outdated(control, id, json_get_str(override, "file"), file_print)) {
		events_emit(
			&control->events, EVENT_WARN, "config", id, NULL,
			"the file's own definition of this route changed: it replaces the one made by REST");
		if (!control->state.shared)
			state_put(&control->state, STORE_DEFINITIONS, id, NULL);
		control->state.unsaved = true;
		return OVERRIDE_OUTDATED;
	}
	const json_t *json = json_object_get(override, "config");
	if (json_is_null(json))
		return OVERRIDE_DELETED;
	char *text = json_dumps(json, JSON_WIRE);
	struct buf errors = {0};
	int err = text ? route_config_parse("state", slice_str(text), config, &errors) : -ENOMEM;
	if (err)
		events_emit(&control->events, EVENT_ALERT, "config", id, NULL,
			    "the stored definition of this route cannot be used: %s", buf_cstr(&errors));
	free(text);
	buf_fini(&errors);
	return err ? OVERRIDE_NONE : OVERRIDE_CONFIG;
}

static int plan_take(struct control *control, struct plan *plan, struct route_config *config, bool from_api,
		     struct route_target **out, struct buf *why)
{
	struct definition *definition;
	int err = definition_create(config, from_api, control->redact_key, &definition, why);
	if (err) {
		route_config_destroy(config);
		return err;
	}
	*out = plan_add(plan, definition);
	return 0;
}

/* A route of the file, or what REST put in its place. */
static int plan_file_route(struct control *control, struct plan *plan, struct route_config *config,
			   struct buf *why)
{
	char print[PRINT_SIZE];
	route_config_print(config, print);
	uint32_t weight_bp = config->weight_bp;
	struct route_config *other = NULL;
	enum override_kind kind = override_of(control, config->id, print, &other);
	if (kind == OVERRIDE_DELETED) {
		route_config_destroy(config);
		return 0;
	}
	if (kind == OVERRIDE_CONFIG) {
		route_config_destroy(config);
		config = other;
	}
	/* Every gateway gets it, those with the old file as well. */
	if (kind == OVERRIDE_OUTDATED && control->state.shared &&
	    state_override(&control->state, config->id, config, print, "configuration")) {
		route_config_destroy(config);
		return -ENOMEM;
	}
	struct route_target *target;
	int err = plan_take(control, plan, config, kind == OVERRIDE_CONFIG, &target, why);
	if (err)
		return err;
	target->in_file = true;
	target->file_weight_bp = weight_bp;
	memcpy(target->file_print, print, sizeof(print));
	return 0;
}

/* Routes that only REST knows. A record of a route that the file no longer has is forgotten. */
static int plan_api_routes(struct control *control, struct plan *plan, struct buf *why)
{
	/* Which ids the plan has: marked in a JSON object, for the plan may hold thousands. */
	json_t *known = json_object();
	for (size_t i = 0; known && i < plan->count; i++)
		json_object_set_new(known, plan->targets[i].definition->config->id, json_true());
	const char *id;
	json_t *record;
	void *next;
	int err = known ? 0 : -ENOMEM;
	json_object_foreach_safe(state_records(&control->state, STORE_DEFINITIONS), next, id, record)
	{
		if (err || json_object_get(known, id))
			continue;
		if (json_is_null(json_object_get(record, "config")))
			continue; /* a deletion, seen when the file's route was planned */
		struct route_config *config = NULL;
		if (override_of(control, id, "", &config) != OVERRIDE_CONFIG)
			continue;
		struct route_target *target;
		uint32_t weight_bp = config->weight_bp;
		err = plan_take(control, plan, config, true, &target, why);
		if (!err)
			target->file_weight_bp = weight_bp;
	}
	json_decref(known);
	return err;
}

int routes_load(struct control *control, struct config *file, struct route_report *report, struct buf *why)
{
	struct plan plan;
	int err = report_init(report);
	if (!err)
		err = plan_init(&plan, file->route_count + json_object_size(state_records(
								   &control->state, STORE_DEFINITIONS)));
	if (err) {
		route_report_fini(report);
		return err;
	}
	for (size_t i = 0; !err && i < file->route_count; i++) {
		/* A copy: on failure the file's configuration stays whole. */
		struct route_config *config = route_config_copy(file->routes[i]);
		err = config ? plan_file_route(control, &plan, config, why) : -ENOMEM;
	}
	if (!err)
		err = plan_api_routes(control, &plan, why);
	if (!err)
		err = practise(control, &plan, report, why);
	plan_fini(&plan);
	if (err) {
		route_report_fini(report);
		return err;
	}
	/* They live in the registry now; the file's configuration keeps the rest. */
	for (size_t i = 0; i < file->route_count; i++)
		route_config_destroy(file->routes[i]);
	file->route_count = 0;
	state_retry(&control->state);
	return 0;
}

/* --- REST ------------------------------------------------------------------------------------------------
 */

static void plan_add_present(struct plan *plan, const struct route *route)
{
	struct route_target *target = plan_add(plan, definition_get(route->definition));
	target->in_file = route->in_file;
	target->file_weight_bp = route->file_weight_bp;
	memcpy(target->file_print, route->file_print, sizeof(target->file_print));
}

/* All routes as they are, but `skip`. */
static int plan_present(struct control *control, struct plan *plan, const struct route *skip)
{
	int err = plan_init(plan, control->registry.count + 1);
	if (err)
		return err;
	registry_each(&control->registry, route)
	{
		if (route == skip)
			continue;
		plan_add_present(plan, route);
	}
	return 0;
}

/* The file's fingerprint that the override has to remember: of the route, or of one that REST had deleted. */
static const char *print_below(const struct route *old, const json_t *definition)
{
	if (old)
		return old->in_file ? old->file_print : "";
	return json_get_str(definition, "file");
}

/* The stored record, the snapshot, the registry: all or none. On failure the configuration is the caller's.
 */
static int put_in_place(struct control *control, struct definition *definition, struct route *old,
			const char *who, struct buf *why)
{
	const struct route_config *config = definition->config;
	char id[80];
	text_copy(id, sizeof(id), slice_str(config->id));
	struct plan plan;
	struct route_report report = {0};
	struct state_undo undo;
	state_remember(&control->state, id, &undo);
	char print[PRINT_SIZE];
	text_copy(print, sizeof(print), slice_str(print_below(old, undo.value[STORE_DEFINITIONS])));
	int err = plan_present(control, &plan, old);
	if (err)
		goto out;
	struct route_target *target = plan_add(&plan, definition_get(definition));
	target->in_file = print[0] != '\0';
	target->file_weight_bp = old ? old->file_weight_bp : config->weight_bp;
	memcpy(target->file_print, print, sizeof(print));
	if (!old)
		state_forget(&control->state,
			     id); /* what a route of this name had before is not its weight */
	err = state_override(&control->state, id, config, print, who);
	if (!err)
		err = state_save(&control->state, why);
	if (!err)
		err = report_init(&report);
	if (!err)
		err = practise(control, &plan, &report, why);
	if (err)
		state_restore(&control->state, id, &undo);
	plan_fini(&plan);
	route_report_fini(&report);
out:
	state_undo_fini(&undo);
	return err;
}

/* A weight that the new definition names otherwise than the old one is an order; otherwise what acts stays.
 */
static int weight_after_put(struct control *control, struct route *route, uint32_t defined_bp,
			    const char *who, struct buf *why)
{
	uint32_t wanted_bp = route_config_of(route)->weight_bp;
	if (wanted_bp == defined_bp)
		return 0;
	if (!route->in_file)
		route->file_weight_bp = wanted_bp;
	if (wanted_bp != route->migration.weight_bp)
		return engine_set_weight(&control->engine, route, wanted_bp, who, "the route was replaced",
					 moment_now(), why);
	state_save_migration(&control->state, route, &route->migration, 0, KEEP_ALWAYS, why);
	return 0;
}

int control_route_put(struct control *control, struct route_config *config, bool replace, const char *who,
		      struct route **out, struct buf *why)
{
	struct route *old = registry_find(&control->registry, slice_str(config->id));
	if (old && !replace) {
		buf_printf(why, "a route \"%s\" exists already; change it with PUT /admin/routes/%s",
			   config->id, config->id);
		return -EEXIST;
	}
	uint32_t defined_bp = old ? route_config_of(old)->weight_bp : config->weight_bp;
	char id[80];
	text_copy(id, sizeof(id), slice_str(config->id));
	struct definition *definition;
	int err = definition_create(config, true, control->redact_key, &definition, why);
	if (err)
		return err;
	err = put_in_place(control, definition, old, who, why);
	if (err) {
		definition->config = NULL; /* it stays the caller's */
		definition_put(definition);
		return err;
	}
	definition_put(definition); /* and the configuration with it, when nothing had changed */
	struct route *route = registry_find(&control->registry, slice_str(id));
	events_emit(&control->events, EVENT_INFO, "config", id, NULL, "route %s by %s",
		    old ? "replaced" : "created", who);
	err = weight_after_put(control, route, defined_bp, who, why);
	if (err) {
		events_emit(&control->events, EVENT_WARN, "config", id, NULL,
			    "the route was replaced, its weight was not set: %s", buf_cstr(why));
		buf_reset(why);
	}
	*out = route;
	return 0;
}

int control_route_delete(struct control *control, struct route *route, const char *who, struct buf *why)
{
	struct plan plan;
	struct route_report report = {0};
	char id[80];
	text_copy(id, sizeof(id), slice_str(route_config_of(route)->id));
	struct state_undo undo;
	state_remember(&control->state, id, &undo);
	int err = plan_present(control, &plan, route);
	if (err)
		goto out;
	bool in_file = route->in_file;
	state_forget(&control->state, id);
	if (in_file)
		err = state_override(&control->state, id, NULL, route->file_print, who);
	if (!err)
		err = state_save(&control->state, why);
	if (!err)
		err = report_init(&report);
	if (!err)
		err = practise(control, &plan, &report, why);
	if (err) {
		state_restore(&control->state, id, &undo);
	} else {
		events_emit(&control->events, EVENT_WARN, "config", id, NULL, "route deleted by %s%s", who,
			    in_file ? "; the file still has it, it comes back when its entry there changes"
				    : "");
	}
	plan_fini(&plan);
	route_report_fini(&report);
out:
	state_undo_fini(&undo);
	return err;
}

/* --- the store -------------------------------------------------------------------------------------------
 */

/* One route as the store has it. */
static int plan_stored(struct control *control, struct plan *plan, const char *id, struct buf *why)
{
	const json_t *record = state_definition(&control->state, id);
	const struct route *route = registry_find(&control->registry, slice_str(id));
	if (!record || json_is_null(json_object_get(record, "config")))
		return 0;
	struct route_config *config = share_definition(control, id, record, why);
	if (!config)
		return -EINVAL;
	uint32_t weight_bp = config->weight_bp;
	struct route_target *target;
	int err = plan_take(control, plan, config, true, &target, why);
	if (err)
		return err;
	target->in_file = route && route->in_file;
	target->file_weight_bp = route ? route->file_weight_bp : weight_bp;
	if (target->in_file)
		memcpy(target->file_print, route->file_print, sizeof(target->file_print));
	return 0;
}

/* All routes but those of `ids`, and these as the store has them. */
static int follow_routes(struct control *control, json_t *ids, struct buf *why)
{
	struct plan plan;
	struct route_report report = {0};
	const char *id;
	json_t *flag;
	int err = plan_init(&plan, control->registry.count + json_object_size(ids));
	registry_each(&control->registry, route)
	{
		if (!err && !json_object_get(ids, route_config_of(route)->id))
			plan_add_present(&plan, route);
	}
	json_object_foreach(ids, id, flag)
	{
		if (!err)
			err = plan_stored(control, &plan, id, why);
	}
	if (!err)
		err = report_init(&report);
	if (!err)
		err = practise(control, &plan, &report, why);
	plan_fini(&plan);
	route_report_fini(&report);
	return err;
}

static void tell_followed(struct control *control, const char *id)
{
	struct buf text = {0};
	const json_t *record = state_definition(&control->state, id);
	state_describe(record, &text);
	events_emit(&control->events, EVENT_INFO, "config", id, NULL, "route %s %s",
		    record && !json_is_null(json_object_get(record, "config")) ? "defined" : "deleted",
		    buf_cstr(&text));
	buf_fini(&text);
}

void control_routes_follow(struct control *control, json_t *ids)
{
	struct buf why = {0};
	const char *id;
	json_t *flag;
	bool together = follow_routes(control, ids, &why) == 0;
	/* One that is wrong must not keep the others back. */
	json_object_foreach(ids, id, flag)
	{
		json_t *only = json_pack("{s:b}", id, 1);
		buf_reset(&why);
		if (together || follow_routes(control, only, &why) == 0)
			tell_followed(control, id);
		else
			events_emit(&control->events, EVENT_ALERT, "config", id, NULL,
				    "its definition in the store was refused, the last good stays: %s",
				    buf_cstr(&why));
		json_decref(only);
	}
	buf_fini(&why);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_share: what gateways that share a store know of each other's migrations.
 *
 * All that a rollout needs to go on lies in the folder of the gateway that runs it, and only there: its
 * stages are about that machine. The store gets a record of how it stands, for the others to show and to
 * begin nothing that would get in its way:
 *
 *	migrations/ID  {"gateway", "created_ns", "stage", "stage_ns", "updated_ns", "match", "last_line",
 *			"view": as GET /admin/migrations has it}
 *
 * With every tick the record is compared with the rollout and written when it says something else, so it
 * comes back whatever the store has lost, and a gateway that was started again has its name in it. A run is
 * known by when it was begun. A record of a later run means that somebody removed this one's while its
 * gateway was away and began it anew elsewhere: what was deployed here is taken down, the route is not ours
 * any more. With the stores "file" and "memory" nothing of this happens.
 */
#include "control/pipeline_internal.h"

#include "control/value.h"

#include <errno.h>
#include <inttypes.h>

static struct state *state_of(const struct pipeline *pipeline)
{
	return &pipeline->control->state;
}

static json_t *record_of(const struct rollout *r)
{
	return state_record(state_of(r->pipeline), STORE_MIGRATIONS, r->id);
}

static uint64_t created_of(const json_t *record)
{
	return json_get_u64(record, "created_ns");
}

/* One that no rollout of this gateway stands for; NULL: none. */
static json_t *foreign_record(struct pipeline *pipeline, const char *id)
{
	if (!pipeline || !state_of(pipeline)->shared || rollout_find(pipeline, id))
		return NULL;
	return state_record(state_of(pipeline), STORE_MIGRATIONS, id);
}

/* A word that is no stage (of a newer version) is one that is under way. */
static enum stage stage_of(const json_t *record)
{
	enum stage stage;
	return stage_parse(json_get_str(record, "stage"), &stage) ? STAGE_VERIFY : stage;
}

static bool is_over(enum stage stage)
{
	return stage == STAGE_COMPLETE || stage == STAGE_DEPLOYED || stage == STAGE_ROLLED_BACK;
}

const char *pipeline_gateway(const struct pipeline *pipeline)
{
	return state_of(pipeline)->shared ? pipeline->control->fleet.member : NULL;
}

/* --- writing ---------------------------------------------------------------------------------------------
 */

static json_t *make_record(const struct rollout *r)
{
	const struct route_config *route = r->spec->route;
	const struct log_line *last =
		r->count ? &r->lines[(r->first + r->count - 1) % PIPELINE_LINES_MAX] : NULL;
	json_t *view = pipeline_view_rollout(r);
	if (view) /* paths on this machine, any number of them */
		json_object_set_new(view, "cases", json_null());
	return json_pack("{s:s, s:I, s:s, s:I, s:I, s:{s:I, s:s, s:s}, s:o, s:o}", "gateway",
			 r->pipeline->control->fleet.member, "created_ns", (json_int_t)r->created_wall_ns,
			 "stage", stage_word(r->stage), "stage_ns", (json_int_t)r->stage_wall_ns,
			 "updated_ns", (json_int_t)clock_wall_ns(), "match", "methods",
			 (json_int_t)route->method_mask, "host", route->host ? route->host : "", "path",
			 route->path, "last_line", json_text_or_null(last ? last->text : NULL), "view", view);
}

/* What cannot be stored now is stored later (state_retry); a loser of a race looks again with the next tick.
 */
static void store(struct state *state)
{
	struct buf why = {0};
	if (state_save(state, &why))
		state->unsaved = true;
	buf_fini(&why);
}

static bool says_it(const json_t *record, const struct rollout *r)
{
	return created_of(record) == r->created_wall_ns &&
	       json_get_u64(record, "stage_ns") == r->stage_wall_ns &&
	       strcmp(json_get_str(record, "stage"), stage_word(r->stage)) == 0 &&
	       strcmp(json_get_str(record, "gateway"), r->pipeline->control->fleet.member) == 0;
}

bool rollout_is_superseded(const struct rollout *r)
{
	return state_of(r->pipeline)->shared && created_of(record_of(r)) > r->created_wall_ns;
}

static void give_way(struct rollout *r, struct moment now)
{
	char reason[REASON_SIZE];
	snprintf(reason, sizeof(reason),
		 "gateway %.80s began it anew while this one was away; what was deployed here goes",
		 json_get_str(record_of(r), "gateway"));
	if (!r->forget)
		events_emit(&r->pipeline->control->events, EVENT_WARN, "migration", r->id, NULL, "%s: %s",
			    r->id, reason);
	r->forget = true;
	if (r->stage != STAGE_ROLLED_BACK)
		rollout_fail(r, reason, now);
}

void pipeline_share(struct pipeline *pipeline, struct moment now)
{
	struct state *state = state_of(pipeline);
	bool changed = false;
	if (!state->shared)
		return;
	for (struct list *link = pipeline->rollouts.next; link != &pipeline->rollouts; link = link->next) {
		struct rollout *r = container_of(link, struct rollout, link);
		const json_t *record = record_of(r);
		if (rollout_is_superseded(r)) {
			give_way(r, now);
		} else if (!says_it(record, r)) {
			json_t *next = make_record(r);
			if (next && state_put(state, STORE_MIGRATIONS, r->id, next) == 0)
				changed = true;
		}
	}
	if (changed)
		store(state);
}

int rollout_claim(struct rollout *r, struct buf *why)
{
	struct state *state = state_of(r->pipeline);
	if (!state->shared)
		return 0;
	if (created_of(record_of(r)) >= r->created_wall_ns) /* clocks differ */
		r->created_wall_ns = created_of(record_of(r)) + 1;
	struct state_undo undo;
	state_remember(state, r->id, &undo);
	json_t *next = make_record(r);
	int err = next ? state_put(state, STORE_MIGRATIONS, r->id, next) : -ENOMEM;
	if (!err)
		err = state_save(state, why);
	/* Not this one was stale, but another one that waited: now it does not any more. */
	for (int i = 0; i < 3 && err == -ESTALE && created_of(record_of(r)) == r->created_wall_ns; i++) {
		buf_reset(why);
		err = state_save(state, why);
	}
	if (err == -ESTALE) {
		buf_reset(why);
		buf_printf(why, "gateway %.80s was faster with the migration %s",
			   json_get_str(record_of(r), "gateway"), r->id);
		err = -EBUSY;
	} else if (err) {
		state_restore(state, r->id, &undo);
	}
	state_undo_fini(&undo);
	return err;
}

void rollout_disclaim(struct rollout *r)
{
	struct state *state = state_of(r->pipeline);
	if (!state->shared || created_of(record_of(r)) != r->created_wall_ns)
		return;
	state_put(state, STORE_MIGRATIONS, r->id, NULL);
	store(state);
}

/* --- the gateways of the others --------------------------------------------------------------------------
 */

struct standing {
	bool gone;
	uint64_t since_wall_ns; /* heard of last; 0 = unknown */
	char about[120];	/* "VERSION ADDRESS"; "" = unknown */
};

/* Whether the gateway is there; members NULL: nobody can tell, so it is not said to be gone. */
static struct standing standing_of(const struct control *control, const json_t *members, const char *gateway)
{
	struct standing out = {0};
	const struct fleet *fleet = &control->fleet;
	bool self = strcmp(gateway, fleet->member) == 0, self_listed = false, listed = false;
	const json_t *member;
	size_t i;
	json_array_foreach((json_t *)members, i, member)
	{
		const char *id = json_get_str(member, "id");
		self_listed |= strcmp(id, fleet->member) == 0;
		if (strcmp(id, gateway) != 0)
			continue;
		uint64_t age_ms = json_get_u64(member, "age_ms");
		listed = true;
		out.gone = age_ms >= 2 * (uint64_t)control->config->state.lease_ms;
		out.since_wall_ns = clock_wall_ns() - age_ms * NS_PER_MS;
		text_copy(out.about, sizeof(out.about), slice_str(json_get_str(member, "about")));
	}
	/* Who does not even know of himself has not asked yet. */
	if (!listed)
		out.gone = self_listed;
	out.gone &= !self && fleet->lease.reachable && fleet->role != FLEET_CUT;
	return out;
}

static json_t *members_of(const struct control *control)
{
	return control->fleet.link ? fleet_link_members(control->fleet.link) : NULL;
}

static void say_gone(const char *gateway, const struct standing *standing, struct buf *out)
{
	buf_printf(out, "its gateway %.80s is not heard of", gateway);
	if (standing->since_wall_ns) {
		char at[CLOCK_RFC3339_SIZE];
		clock_rfc3339(standing->since_wall_ns, at);
		buf_printf(out, " since %s", at);
	}
}

/* --- what people order -----------------------------------------------------------------------------------
 */

/* The other run in the way: whose it is, how it stands, what to do. */
static void say_in_the_way(const struct control *control, const char *id, const json_t *record,
			   struct buf *why)
{
	const char *gateway = json_get_str(record, "gateway");
	json_t *members = members_of(control);
	struct standing standing = standing_of(control, members, gateway);
	buf_printf(why, "the migration %s is run by gateway %.80s (%s)", id, gateway,
		   stage_word(stage_of(record)));
	if (standing.gone) {
		buf_append_str(why, "; ");
		say_gone(gateway, &standing, why);
		buf_printf(why, ": start it again, or forget this migration: phoenixctl migration rm %s", id);
	} else {
		buf_printf(why, "; ask that one%s%s%s", standing.about[0] ? " (phoenix " : "", standing.about,
			   standing.about[0] ? ")" : "");
	}
	json_decref(members);
}

/* Does it compete for the requests of the route? */
static bool competes(const json_t *record, const struct route_config *route)
{
	const json_t *match = json_object_get(record, "match");
	const char *host = json_get_str(match, "host"), *path = json_get_str(match, "path");
	for (const char *c = path; *c; c++) { /* as every route's; but anybody may have written this */
		if (*c == '{' && !strchr(c, '}'))
			return false;
	}
	struct route_config theirs = {.method_mask = (uint32_t)json_get_u64(match, "methods"),
				      .host = host[0] ? (char *)host : NULL,
				      .path = (char *)path};
	return route_config_conflicts(&theirs, route);
}

int pipeline_may_claim(struct pipeline *pipeline, const struct spec *spec, struct buf *why)
{
	struct state *state = state_of(pipeline);
	struct store_health health;
	const char *id;
	json_t *record;
	if (!state->shared)
		return 0;
	store_health(state->store, &health);
	if (!health.reachable) {
		buf_printf(why,
			   "the state store is not reachable (%s), so another gateway may run the same; try "
			   "again when it is",
			   health.sentence);
		return -EAGAIN;
	}
	json_object_foreach(state_records(state, STORE_MIGRATIONS), id, record)
	{
		enum stage stage = stage_of(record);
		bool same = strcmp(id, spec->id) == 0;
		if (rollout_find(pipeline, id) || stage == STAGE_ROLLED_BACK)
			continue;
		if (!same && (is_over(stage) || !competes(record, spec->route)))
			continue;
		if (!same)
			buf_append_str(why, "it is about the same requests: ");
		say_in_the_way(pipeline->control, id, record, why);
		return same ? -EBUSY : -EEXIST;
	}
	return 0;
}

int pipeline_retry_foreign(struct pipeline *pipeline, const char *id, struct buf *why)
{
	const json_t *record = foreign_record(pipeline, id);
	enum stage stage = stage_of(record);
	if (!record || (stage != STAGE_UNDO && stage != STAGE_ROLLED_BACK))
		return -ENOENT;
	say_in_the_way(pipeline->control, id, record, why);
	return -EBUSY;
}

int pipeline_delete_foreign(struct pipeline *pipeline, const char *id, const char *who, struct buf *why)
{
	json_t *record = foreign_record(pipeline, id);
	if (!record)
		return -ENOENT;
	struct control *control = pipeline->control;
	char gateway[FLEET_NAME_SIZE];
	text_copy(gateway, sizeof(gateway), slice_str(json_get_str(record, "gateway")));
	json_t *members = members_of(control);
	struct standing standing = standing_of(control, members, gateway);
	json_decref(members);
	if (!standing.gone) {
		say_in_the_way(control, id, record, why);
		return -EBUSY;
	}
	struct state_undo undo;
	state_remember(&control->state, id, &undo);
	int err = state_put(&control->state, STORE_MIGRATIONS, id, NULL);
	if (!err)
		err = state_save(&control->state, why);
	if (err)
		state_restore(&control->state, id, &undo);
	else
		events_emit(&control->events, EVENT_WARN, "migration", id, NULL,
			    "the migration %s of gateway %s, which is not heard of, was forgotten by %s; "
			    "what it deployed stays on its machine",
			    id, gateway, who);
	state_undo_fini(&undo);
	return err;
}

/* --- how they are shown ----------------------------------------------------------------------------------
 */

/* The route is the same on all gateways: how it stands is said here, and by whom it goes on. */
static void show_standing(struct control *control, const char *id, const json_t *record,
			  const json_t *members, json_t *view)
{
	struct buf headline = {0}, detail = {0};
	enum stage stage = stage_of(record);
	const char *gateway = json_get_str(record, "gateway"), *leader = control->fleet.lease.leader;
	struct standing standing = standing_of(control, members, gateway);
	struct route *route = registry_find(&control->registry, slice_str(id));
	bool of_route = route && (stage == STAGE_MIRROR || stage == STAGE_MIGRATE || stage == STAGE_COMPLETE);
	if (of_route) {
		engine_headline(&control->engine, route, &headline);
		engine_detail(&control->engine, route, &detail);
		json_object_set_new(view, "headline", json_text(buf_slice(&headline)));
		json_object_set_new(view, "state",
				    json_string(migration_state_word(engine_state(&control->engine, route))));
	} else if (!is_over(stage) && stage != STAGE_UNDO) {
		buf_printf(&detail, "on gateway %.80s", gateway);
	} else {
		buf_append_str(&detail, json_get_str(view, "detail"));
	}
	if (standing.gone && stage != STAGE_ROLLED_BACK) {
		if (detail.len)
			buf_append_str(&detail, "; ");
		say_gone(gateway, &standing, &detail);
		if (of_route && leader[0])
			buf_printf(&detail, "; the route goes on under gateway %s", leader);
		buf_printf(&detail,
			   "; what that gateway does and has deployed waits until it is back; to forget it "
			   "here: phoenixctl migration rm %s",
			   id);
	}
	json_object_set_new(view, "detail", json_text(buf_slice(&detail)));
	json_object_set_new(view, "gateway", json_text(slice_str(gateway)));
	json_object_set_new(view, "gateway_gone", json_boolean(standing.gone));
	buf_fini(&headline);
	buf_fini(&detail);
}

/* NULL for a record that is none. */
static json_t *foreign_view(struct control *control, const char *id, const json_t *record,
			    const json_t *members)
{
	const json_t *stored = json_object_get(record, "view");
	json_t *view = json_is_object(stored) ? json_deep_copy(stored) : NULL;
	if (!view)
		return NULL;
	json_object_set_new(view, "id", json_string(id));
	json_object_set_new(view, "route", json_string(id));
	show_standing(control, id, record, members, view);
	return view;
}

json_t *pipeline_view_foreign(struct pipeline *pipeline, const char *id, uint64_t since)
{
	const json_t *record = foreign_record(pipeline, id);
	if (!record)
		return NULL;
	json_t *members = members_of(pipeline->control);
	json_t *view = foreign_view(pipeline->control, id, record, members);
	json_t *log = json_array();
	if (since < 1) {
		char text[160];
		snprintf(text, sizeof(text), "gateway %.80s runs it and has its log",
			 json_get_str(record, "gateway"));
		json_array_append_new(log, json_pack("{s:i, s:o, s:s, s:o}", "number", 1, "at",
						     json_time(json_get_u64(record, "updated_ns")), "stage",
						     stage_word(stage_of(record)), "text",
						     json_text(slice_str(text))));
	}
	if (view)
		json_object_set(view, "log", log);
	json_decref(log);
	json_decref(members);
	return view;
}

static json_t *foreign_brief(const json_t *record, const json_t *view)
{
	static const char *const same[] = {"id",	"route",   "attempt",	  "state",	"stage",
					   "headline",	"detail",  "over",	  "created_at", "by",
					   "failed_in", "gateway", "gateway_gone"};
	json_t *brief = json_object();
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		json_object_set(brief, same[i], json_object_get(view, same[i]));
	json_object_set(brief, "since", json_object_get(view, "stage_since"));
	json_object_set(brief, "error", json_object_get(view, "reason"));
	json_object_set_new(brief, "log_number", json_integer(1));
	json_object_set(brief, "last_line", json_object_get(record, "last_line"));
	return brief;
}

void pipeline_view_foreigners(struct pipeline *pipeline, bool briefly, json_t *list)
{
	const char *id;
	json_t *record;
	size_t over = 0, shown = 0;
	if (!pipeline || !state_of(pipeline)->shared)
		return;
	json_t *members = members_of(pipeline->control);
	json_object_foreach(state_records(state_of(pipeline), STORE_MIGRATIONS), id, record)
	{
		if (rollout_find(pipeline, id) || shown == PIPELINE_FOREIGN_MAX ||
		    (briefly && is_over(stage_of(record)) && over++ >= PIPELINE_BRIEF_OVER_MAX))
			continue;
		json_t *view = foreign_view(pipeline->control, id, record, members);
		if (!view)
			continue;
		shown++;
		json_array_append_new(list, briefly ? foreign_brief(record, view) : json_incref(view));
		json_decref(view);
	}
	json_decref(members);
}

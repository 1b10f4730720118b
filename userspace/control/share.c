/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share: see share.h.
 *
 * A record has changed when its epoch is higher than the one known here: then it is taken over. With the same
 * epoch but another content, or with none, a person wrote it: that is an order like one by REST, is checked
 * like one, and becomes a record with an epoch of its own. With a lower epoch, or none at all, the store has
 * lost it (restarted empty, failed over to a replica that lagged, evicted): what is known here is written
 * back. So nothing that anybody does to Redis takes a route away; only a deletion does, which is a record,
 * too.
 */
#include "control/share.h"

#include "base/log.h"
#include "control/control.h"
#include "control/exposition.h"
#include "control/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define BY_HAND "redis (by hand)"

static uint64_t epoch_of(struct control *control, enum store_section section, const char *id)
{
	return json_get_u64(control->state.sections[section].epochs, id);
}

/* "phoenix:weight:users was refused, the last good stays: …". */
static void refuse(struct control *control, enum store_section section, const char *id, const char *text)
{
	struct buf place = {0};
	store_place(control->store, section, id, &place);
	control->share.refused++;
	events_emit(&control->events, EVENT_ALERT, "config", section == STORE_SPLIT ? NULL : id, NULL,
		    "%s in the store was refused, the last good stays: %s", buf_cstr(&place), text);
	buf_fini(&place);
}

/* --- lost in the store -----------------------------------------------------------------------------------
 */

static void write_back(struct control *control, enum store_section section, const char *id)
{
	const json_t *record = state_record(&control->state, section, id);
	uint64_t epoch = epoch_of(control, section, id);
	if (!record || !epoch || json_object_get(control->state.sections[section].dirty, id))
		return;
	store_restore(control->store, section, id, record, epoch);
}

/* What was really missing: most of what is offered is there, or is on its way. */
static void tell_written_back(struct control *control)
{
	struct store_health health;
	store_health(control->store, &health);
	uint64_t count = health.lost - control->share.lost_told;
	control->share.lost_told = health.lost;
	if (count)
		events_emit(
			&control->events, EVENT_ALERT, "state", NULL,
			json_pack("{s:I}", "records", (json_int_t)count),
			"the state store had lost %" PRIu64
			" records that are known here (restarted empty, failed over, evicted or deleted by "
			"hand); they were written back. To delete a route: phoenixctl route rm ID",
			count);
}

static void write_back_unmentioned(struct control *control)
{
	const char *id;
	json_t *record;
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++) {
		json_t *seen =
			json_object_get(control->share.mentioned, store_section_word((enum store_section)s));
		json_object_foreach(state_records(&control->state, (enum store_section)s), id, record)
		{
			if (!json_object_get(seen, id))
				write_back(control, (enum store_section)s, id);
		}
	}
}

static void mention(struct control *control, const struct store_change *change)
{
	if (!control->share.mentioned)
		return;
	const char *word = store_section_word(change->section);
	if (!json_object_get(control->share.mentioned, word))
		json_object_set_new(control->share.mentioned, word, json_object());
	json_object_set_new(json_object_get(control->share.mentioned, word), change->id, json_true());
}

/* --- by hand ---------------------------------------------------------------------------------------------
 */

/* The store shall have again what acts here. */
static void insist(struct control *control, enum store_section section, const char *id, uint64_t epoch)
{
	struct state_section *s = &control->state.sections[section];
	if (!state_record(&control->state, section, id))
		return;
	json_object_set_new(s->epochs, id, json_integer((json_int_t)epoch));
	json_object_set_new(s->dirty, id, json_true());
	control->state.unsaved = true;
}

/* Who writes next has to name the epoch that is there. */
static void set_epoch(struct control *control, enum store_section section, const char *id, uint64_t epoch)
{
	json_t *epochs = control->state.sections[section].epochs;
	if (epoch)
		json_object_set_new(epochs, id, json_integer((json_int_t)epoch));
	else
		json_object_del(epochs, id);
}

static void weight_by_hand(struct control *control, const struct store_change *change)
{
	struct route *route = registry_find(&control->registry, slice_str(change->id));
	struct migration wanted;
	struct buf why = {0};
	if (!route || !state_read_migration(change->value, 0, true, &wanted, &why)) {
		refuse(control, STORE_ROUTES, change->id, route ? buf_cstr(&why) : "there is no such route");
		buf_fini(&why);
		return;
	}
	uint32_t weight_bp = (uint32_t)json_get_u64(change->value, "weight_bp");
	set_epoch(control, STORE_ROUTES, change->id, change->epoch);
	int err = weight_bp == route->migration.weight_bp
			  ? -EINVAL
			  : engine_set_weight(&control->engine, route, weight_bp, BY_HAND,
					      "weight_bp was changed in the store", moment_now(), &why);
	if (err == -EINVAL)
		buf_append_str(&why, "only weight_bp may be changed by hand");
	if (err && err != -ESTALE) {
		refuse(control, STORE_ROUTES, change->id, buf_cstr(&why));
		insist(control, STORE_ROUTES, change->id, change->epoch);
	}
	buf_fini(&why);
}

/* The definition that a record holds, its id filled in; NULL with every error in `why`. */
struct route_config *share_definition(struct control *control, const char *id, const json_t *record,
				      struct buf *why)
{
	json_t *config = json_object_get(record, "config"), *with_id = NULL;
	struct buf place = {0};
	struct route_config *out = NULL;
	char *text = NULL;
	if (json_is_object(config) && !json_object_get(config, "id")) {
		with_id = json_copy(config);
		json_object_set_new(with_id, "id", json_string(id));
		config = with_id;
	}
	store_place(control->store, STORE_DEFINITIONS, id, &place);
	if (json_is_string(config))
		text = strdup(json_string_value(config));
	else if (config)
		text = json_dumps(config, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	if (!text)
		buf_append_str(why, "it has no \"config\"");
	else if (route_config_parse(buf_cstr(&place), slice_str(text), &out, why))
		out = NULL;
	else if (strcmp(out->id, id) != 0) {
		buf_printf(why, "its id \"%s\" is not the one of the key", out->id);
		route_config_destroy(out);
		out = NULL;
	}
	buf_fini(&place);
	json_decref(with_id);
	free(text);
	return out;
}

static void definition_by_hand(struct control *control, const struct store_change *change)
{
	const char *id = change->id;
	struct buf why = {0};
	bool deleted = json_is_null(json_object_get(change->value, "config"));
	struct route *route = registry_find(&control->registry, slice_str(id));
	const json_t *before = state_definition(&control->state, id);
	struct route_config *config = deleted ? NULL : share_definition(control, id, change->value, &why);
	if (!config && !deleted) {
		refuse(control, STORE_DEFINITIONS, id, buf_cstr(&why));
		buf_fini(&why);
		return;
	}
	char print[PRINT_SIZE];
	text_copy(print, sizeof(print),
		  slice_str(route && route->in_file ? route->file_print : json_get_str(before, "file")));
	set_epoch(control, STORE_DEFINITIONS, id, change->epoch);
	struct route *now_there;
	int err = 0;
	if (!deleted)
		err = control_route_put(control, config, true, BY_HAND, &now_there, &why);
	else if (route)
		err = control_route_delete(control, route, BY_HAND, &why);
	if (err && config)
		route_config_destroy(config);
	if (err && err != -ESTALE) {
		refuse(control, STORE_DEFINITIONS, id, buf_cstr(&why));
		/* Nothing of ours would say that the next read has something new. */
		set_epoch(control, STORE_DEFINITIONS, id, change->epoch);
	}
	buf_fini(&why);
}

static void by_hand(struct control *control, const struct store_change *change)
{
	switch (change->section) {
	case STORE_ROUTES:
		weight_by_hand(control, change);
		break;
	case STORE_DEFINITIONS:
		definition_by_hand(control, change);
		break;
	default:
		refuse(control, change->section, change->id, "it is not to be changed by hand");
		insist(control, change->section, change->id, change->epoch);
	}
}

/* --- changes ---------------------------------------------------------------------------------------------
 */

static void follow(struct control *control, enum store_section section, const char *id)
{
	struct route *route;
	switch (section) {
	case STORE_ROUTES:
		route = registry_find(&control->registry, slice_str(id));
		if (route)
			engine_follow(&control->engine, route, moment_now());
		break;
	case STORE_DEFINITIONS:
		json_object_set_new(control->share.redefined, id, json_true());
		json_object_del(control->state.sections[section].news, id);
		break;
	case STORE_SPLIT:
		json_object_del(control->state.sections[section].news, id);
		if (state_split(&control->state, &control->policy) > 0)
			events_emit(&control->events, EVENT_WARN, "state", NULL, NULL,
				    "another gateway brought another key for keyed splits; users may have "
				    "changed sides");
		break;
	default:
		break;
	}
}

static void changed(struct control *control, const struct store_change *change)
{
	enum store_section section = change->section;
	uint64_t known = epoch_of(control, section, change->id);
	const json_t *ours = state_record(&control->state, section, change->id);
	bool dirty = json_object_get(control->state.sections[section].dirty, change->id) != NULL;
	if (change->epoch > known) {
		if (state_take(&control->state, section, change->id, json_incref(change->value),
			       change->epoch))
			follow(control, section, change->id);
	} else if (change->value && (change->epoch == known || change->epoch == 0)) {
		if (!dirty && !(ours && json_equal(ours, change->value)))
			by_hand(control, change);
	} else if (change->epoch < known) {
		write_back(control, section, change->id);
	}
}

static void gone(struct control *control, const struct store_change *change)
{
	write_back(control, change->section, change->id);
}

static void up(struct control *control, const struct store_change *change)
{
	if (control->share.mentioned)
		write_back_unmentioned(control);
	json_decref(control->share.mentioned);
	control->share.mentioned = NULL;
	if (control->share.trouble[0])
		events_emit(&control->events, EVENT_INFO, "state", NULL, NULL,
			    "the state store is reachable again: %s", change->text);
	control->share.trouble[0] = '\0';
	control->state.ok = true;
	control->state.error[0] = '\0';
	state_retry(&control->state);
}

static void down(struct control *control, const struct store_change *change)
{
	if (!control->share.trouble[0])
		events_emit(&control->events, EVENT_ALERT, "alert", NULL, NULL,
			    "state store unreachable: %s; weights stay as they are and promotions hold, "
			    "rollbacks and weights set by hand act here and are stored afterwards",
			    change->text);
	text_copy(control->share.trouble, sizeof(control->share.trouble),
		  slice_str("state store unreachable"));
}

static void take_one(struct control *control, const struct store_change *change)
{
	switch (change->news) {
	case STORE_SYNC:
		json_decref(control->share.mentioned);
		control->share.mentioned = json_object();
		break;
	case STORE_CHANGED:
		mention(control, change);
		changed(control, change);
		break;
	case STORE_GONE:
		gone(control, change);
		break;
	case STORE_REFUSED: {
		struct buf text = {0};
		mention(control, change);
		buf_printf(&text, "it %s", change->text);
		refuse(control, change->section, change->id, buf_cstr(&text));
		buf_fini(&text);
		break;
	}
	case STORE_DECIDED:
		break; /* told to its route when all routes are known: take_decisions() */
	case STORE_NO_DECISION:
		control->share.refused++;
		events_emit(&control->events, EVENT_WARN, "config", NULL, NULL,
			    "an entry of the decisions in the store was refused: %s", change->text);
		break;
	case STORE_UP:
		up(control, change);
		break;
	case STORE_DOWN:
		down(control, change);
		break;
	}
}

/* Losers of a race for a record: it is news that came by another way. */
static void take_news(struct control *control)
{
	const char *id;
	json_t *ours;
	void *next;
	char copy[STORE_ID_MAX + 1];
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++) {
		json_object_foreach_safe(control->state.sections[s].news, next, id, ours)
		{
			text_copy(copy, sizeof(copy), slice_str(id));
			follow(control, (enum store_section)s, copy);
			json_object_del(control->state.sections[s].news, copy);
		}
	}
}

static void take_definitions(struct control *control)
{
	if (json_object_size(control->share.redefined) == 0)
		return;
	json_t *ids = control->share.redefined;
	control->share.redefined = json_object();
	control_routes_follow(control, ids);
	json_decref(ids);
}

static void take_decisions(struct control *control, const struct store_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		json_t *record = changes->items[i].value;
		if (changes->items[i].news != STORE_DECIDED)
			continue;
		struct route *route =
			registry_find(&control->registry, slice_str(json_get_str(record, "route")));
		if (route)
			journal_add(&route->ledger, json_incref(record));
	}
}

void share_take(struct control *control)
{
	struct store_changes changes;
	if (!control->state.shared || handover_is_frozen(&control->handover))
		return;
	store_changes(control->store, &changes);
	for (size_t i = 0; i < changes.count; i++)
		take_one(control, &changes.items[i]);
	take_news(control);
	take_definitions(control);
	take_decisions(control, &changes);
	store_changes_fini(&changes);
	tell_written_back(control);
}

static void on_changes(struct ring_op *op, int res, uint32_t flags)
{
	struct share *share = container_of(op, struct share, op);
	share->waiting = false;
	if (share->control->stopping)
		return;
	share_take(share->control);
	share->waiting = true;
	ring_poll(&share->control->ring, op, store_changes_fd(share->control->store));
}

void share_start(struct control *control)
{
	struct share *share = &control->share;
	if (store_changes_fd(control->store) < 0)
		return;
	share->control = control;
	share->op.done = on_changes;
	share->waiting = true;
	ring_poll(&control->ring, &share->op, store_changes_fd(control->store));
}

void share_stop(struct control *control)
{
	struct share *share = &control->share;
	if (share->waiting)
		ring_cancel(&control->ring, &share->op);
	while (share->waiting && ring_turn(&control->ring, NS_PER_MS) == 0)
		;
	json_decref(share->mentioned);
	share->mentioned = NULL;
}

void share_tick(struct control *control)
{
	store_tick(control->store);
}

/* --- shown -----------------------------------------------------------------------------------------------
 */

json_t *share_view(struct control *control)
{
	static const char *const kinds[] = {"file", "memory", "redis"};
	struct store_health health;
	store_health(control->store, &health);
	bool ok = control->state.ok && health.reachable;
	const char *error = !health.reachable ? health.sentence : control->state.error;
	json_t *json =
		json_pack("{s:s, s:b, s:o, s:b}", "kind", kinds[control->config->state.kind], "ok", ok,
			  "error", json_text_or_null(ok ? "" : error), "unsaved", control->state.unsaved);
	if (!json || !health.shared)
		return json;
	json_object_set_new(json, "reachable", json_boolean(health.reachable));
	json_object_set_new(json, "address", json_text_or_null(health.address));
	json_object_set_new(json, "since", json_time(health.since_wall_ns));
	json_object_set_new(json, "reconnects", json_integer((json_int_t)health.reconnects));
	json_object_set_new(json, "conflicts", json_integer((json_int_t)health.conflicts));
	json_object_set_new(json, "refused_records", json_integer((json_int_t)control->share.refused));
	json_object_set_new(json, "decisions_dropped", json_integer((json_int_t)health.decisions_dropped));
	json_object_set_new(json, "last_write_ms",
			    health.requests ? json_ms((double)health.last_ns / 1e6) : json_null());
	return json;
}

void share_metrics(struct control *control, struct exposition *e)
{
	struct store_health health;
	store_health(control->store, &health);
	if (!health.shared)
		return;
	expose(e, METRIC_REDIS_UP, "", "", health.reachable);
	expose(e, METRIC_REDIS_CONNECTS, "", "", health.reconnects);
	expose(e, METRIC_REDIS_FAILURES, "", "", health.failures);
	expose(e, METRIC_STORE_CONFLICTS, "", "", health.conflicts);
	expose(e, METRIC_STORE_REFUSED, "", "", control->share.refused);
	expose(e, METRIC_STORE_RESTORED, "", "", health.lost);
	expose(e, METRIC_STORE_DECISIONS_LOST, "", "", health.decisions_dropped);
	expose(e, METRIC_STORE_UNSAVED, "", "", control->state.unsaved);
	expose(e, METRIC_STORE_WRITES, "", "", health.requests);
	expose_real(e, METRIC_STORE_WRITE_TIME, "", "", (double)health.latency_ns / 1e9);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state: see state.h. The state is
 *	{"split": {"key": "hex", "seed": "hex"}, "routes": {ID: {"migration": {…}, "override": {…}}}}
 * and lives in memory as this same JSON, so that saving one route is: replace its record, save the whole.
 */
#include "control/state.h"

#include "base/log.h"
#include "control/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *routes_of(const struct state *state)
{
	return json_object_get(state->root, "routes");
}

static bool hex_read(const char *text, uint8_t *out, size_t size)
{
	if (strlen(text) != 2 * size || strspn(text, "0123456789abcdef") != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		unsigned value;
		sscanf(text + 2 * i, "%2x", &value);
		out[i] = (uint8_t)value;
	}
	return true;
}

static json_t *hex_write(const uint8_t *bytes, size_t size)
{
	char text[65] = "";
	for (size_t i = 0; i < size && i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

static int split_restore(struct state *state, struct policy *policy)
{
	json_t *split = json_object_get(state->root, "split");
	uint8_t key[sizeof(policy->key)], seed[sizeof(policy->seed)];
	if (split && hex_read(json_get_str(split, "key"), key, sizeof(key)) &&
	    hex_read(json_get_str(split, "seed"), seed, sizeof(seed))) {
		memcpy(policy->key, key, sizeof(key));
		memcpy(&policy->seed, seed, sizeof(seed));
		return 0;
	}
	memcpy(seed, &policy->seed, sizeof(seed));
	return json_object_set_new(state->root, "split",
				   json_pack("{s:o, s:o}", "key", hex_write(policy->key, sizeof(policy->key)),
					     "seed", hex_write(seed, sizeof(seed))))
		       ? -ENOMEM
		       : 1;
}

int state_init(struct state *state, struct store *store, struct policy *policy, struct buf *why)
{
	memset(state, 0, sizeof(*state));
	int err = store_load(store, &state->root, why);
	if (err)
		return err;
	state->store = store;
	state->ok = true;
	if (!json_is_object(routes_of(state)) && json_object_set_new(state->root, "routes", json_object()))
		err = -ENOMEM;
	if (!err)
		err = split_restore(state, policy);
	if (err == 1)
		err = state_save(state, why);
	if (err)
		state_fini(state);
	return err;
}

void state_fini(struct state *state)
{
	json_decref(state->root);
	memset(state, 0, sizeof(*state));
}

json_t *state_records(const struct state *state)
{
	return routes_of(state);
}

json_t *state_record(const struct state *state, const char *id)
{
	return json_object_get(routes_of(state), id);
}

void state_forget(struct state *state, const char *id)
{
	json_object_del(routes_of(state), id);
}

static json_t *record_get(struct state *state, const char *id)
{
	json_t *record = state_record(state, id);
	if (!json_is_object(record)) {
		json_object_set_new(routes_of(state), id, json_object());
		record = state_record(state, id);
	}
	return record;
}

int state_override(struct state *state, const char *id, const struct route_config *config,
		   const char *file_print)
{
	json_t *text = config ? route_config_to_json(config) : json_null();
	json_t *override = json_pack("{s:o, s:s}", "config", text, "file", file_print);
	json_t *record = record_get(state, id);
	if (!override || !record || json_object_set_new(record, "override", override))
		return -ENOMEM;
	return 0;
}

void state_drop_override(struct state *state, const char *id)
{
	json_t *record = state_record(state, id);
	json_object_del(record, "override");
}

static json_t *migration_write(const struct migration *m, uint32_t file_weight_bp)
{
	json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:b}", "weight_bp",
				 (json_int_t)m->weight_bp, "file_weight_bp", (json_int_t)file_weight_bp,
				 "epoch", (json_int_t)m->epoch, "step", (json_int_t)m->step, "started",
				 m->started, "paused", m->paused, "rolled_back", m->latched, "complete",
				 m->complete, "promoted", m->promoted);
	if (!json)
		return NULL;
	json_object_set_new(json, "changed",
			    json_pack("{s:I, s:o, s:o}", "at_ns", (json_int_t)m->changed_wall_ns, "by",
				      json_text(slice_str(m->changed_by)), "reason",
				      json_text(slice_str(m->changed_reason))));
	json_object_set_new(json, "step_at_ns", json_integer((json_int_t)m->step_wall_ns));
	if (m->paused)
		json_object_set_new(json, "pause",
				    json_pack("{s:I, s:o, s:o, s:b}", "at_ns", (json_int_t)m->pause_wall_ns,
					      "by", json_text(slice_str(m->pause_by)), "reason",
					      json_text(slice_str(m->pause_reason)), "of_arbiter",
					      m->pause_of_arbiter));
	if (m->rollback_wall_ns)
		json_object_set_new(
			json, "rollback",
			json_pack("{s:I, s:o, s:I, s:b}", "at_ns", (json_int_t)m->rollback_wall_ns, "reason",
				  json_text(slice_str(m->rollback_reason)), "from_bp",
				  (json_int_t)m->rollback_from_bp, "verified", m->rollback_verified));
	return json;
}

static void text_read(char *to, size_t size, const json_t *object, const char *key)
{
	text_copy(to, size, slice_str(json_get_str(object, key)));
}

uint32_t state_file_weight(const json_t *record)
{
	return (uint32_t)json_get_u64(json_object_get(record, "migration"), "file_weight_bp");
}

bool state_read_migration(const json_t *record, uint32_t file_weight_bp, struct migration *out)
{
	const json_t *json = json_object_get(record, "migration");
	uint64_t weight_bp = json_get_u64(json, "weight_bp");
	if (!json_is_object(json) || weight_bp > PHX_WEIGHT_ONE ||
	    state_file_weight(record) != file_weight_bp)
		return false;
	struct migration m = {
		.weight_bp = (uint32_t)weight_bp,
		.epoch = (uint32_t)json_get_u64(json, "epoch"),
		.step = (uint32_t)json_get_u64(json, "step"),
		.started = json_get_bool(json, "started"),
		.paused = json_get_bool(json, "paused"),
		.latched = json_get_bool(json, "rolled_back"),
		.complete = json_get_bool(json, "complete") && weight_bp == PHX_WEIGHT_ONE,
		.promoted = json_get_bool(json, "promoted"),
		.step_wall_ns = json_get_u64(json, "step_at_ns"),
	};
	if (m.latched)
		m.weight_bp = 0;
	const json_t *changed = json_object_get(json, "changed");
	m.changed_wall_ns = json_get_u64(changed, "at_ns");
	text_read(m.changed_by, sizeof(m.changed_by), changed, "by");
	text_read(m.changed_reason, sizeof(m.changed_reason), changed, "reason");
	const json_t *pause = json_object_get(json, "pause");
	m.pause_wall_ns = json_get_u64(pause, "at_ns");
	m.pause_of_arbiter = json_get_bool(pause, "of_arbiter");
	text_read(m.pause_by, sizeof(m.pause_by), pause, "by");
	text_read(m.pause_reason, sizeof(m.pause_reason), pause, "reason");
	const json_t *rollback = json_object_get(json, "rollback");
	m.rollback_wall_ns = json_get_u64(rollback, "at_ns");
	m.rollback_from_bp = (uint32_t)json_get_u64(rollback, "from_bp");
	m.rollback_verified = json_get_bool(rollback, "verified");
	text_read(m.rollback_reason, sizeof(m.rollback_reason), rollback, "reason");
	*out = m;
	return true;
}

int state_save(struct state *state, struct buf *why)
{
	struct buf sentence = {.max = 4096};
	int err = store_save(state->store, state->root, &sentence);
	if (err) {
		if (sentence.len == 0)
			buf_printf(&sentence, "the state could not be stored: %s", strerror(-err));
		if (state->ok)
			log_error("state", "%s", buf_cstr(&sentence));
		text_copy(state->error, sizeof(state->error), slice_str(buf_cstr(&sentence)));
		buf_append_str(why, state->error);
	} else {
		if (!state->ok)
			log_info("state", "the state can be stored again");
		state->error[0] = '\0';
		state->unsaved = false;
	}
	state->ok = err == 0;
	buf_fini(&sentence);
	return err;
}

int state_save_migration(struct state *state, const struct route *route, const struct migration *migration,
			 bool keep, struct buf *why)
{
	const char *id = route_config_of(route)->id;
	bool is_new = !state_record(state, id);
	json_t *record = record_get(state, id);
	json_t *old = json_incref(json_object_get(record, "migration"));
	json_t *next = migration_write(migration, route->file_weight_bp);
	if (!record || !next || json_object_set_new(record, "migration", next)) {
		json_decref(old);
		buf_append_str(why, "out of memory");
		return -ENOMEM;
	}
	int err = state_save(state, why);
	if (err && keep) {
		state->unsaved = true;
	} else if (err) {
		if (old)
			json_object_set(record, "migration", old);
		else
			json_object_del(record, "migration");
		if (is_new)
			state_forget(state, id);
	}
	json_decref(old);
	return err;
}

void state_retry(struct state *state)
{
	if (!state->unsaved)
		return;
	struct buf why = {0};
	state_save(state, &why);
	buf_fini(&why);
}

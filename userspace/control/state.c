/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state: see state.h. The records:
 *
 *	split/split     {"key": "hex", "seed": "hex"}
 *	routes/ID       a migration: weight_bp, epoch, step, …, "changed": {"at_ns", "by", "reason", "on"}
 *	definitions/ID  {"config": {…} or null (deleted), "file": print of what the file had, "by", "at_ns",
 *"on"}
 */
#include "control/state.h"

#include "base/log.h"
#include "control/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- the copy --------------------------------------------------------------------------------------------
 */

json_t *state_records(const struct state *state, enum store_section section)
{
	return state->sections[section].records;
}

json_t *state_record(const struct state *state, enum store_section section, const char *id)
{
	return json_object_get(state->sections[section].records, id);
}

static uint64_t epoch_of(const struct state *state, enum store_section section, const char *id)
{
	return json_get_u64(state->sections[section].epochs, id);
}

static int set_epoch(struct state_section *section, const char *id, uint64_t epoch)
{
	if (epoch)
		return json_object_set_new(section->epochs, id, json_integer((json_int_t)epoch)) ? -ENOMEM
												 : 0;
	json_object_del(section->epochs, id);
	return 0;
}

static int set_record(struct state_section *section, const char *id, json_t *value)
{
	if (value)
		return json_object_set_new(section->records, id, value) ? -ENOMEM : 0;
	json_object_del(section->records, id);
	return 0;
}

int state_put(struct state *state, enum store_section section, const char *id, json_t *value)
{
	struct state_section *s = &state->sections[section];
	bool gone = !value && !epoch_of(state, section, id);
	if (set_record(s, id, value))
		return -ENOMEM;
	if (!gone)
		return json_object_set_new(s->dirty, id, json_true()) ? -ENOMEM : 0;
	/* It never was in the store. */
	json_object_del(s->dirty, id);
	return 0;
}

void state_forget(struct state *state, const char *id)
{
	if (state_migration(state, id))
		state_put(state, STORE_ROUTES, id, NULL);
	if (state_definition(state, id))
		state_put(state, STORE_DEFINITIONS, id, NULL);
}

void state_remember(const struct state *state, const char *id, struct state_undo *out)
{
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++) {
		out->value[s] = json_incref(state_record(state, (enum store_section)s, id));
		out->epoch[s] = epoch_of(state, (enum store_section)s, id);
		out->dirty[s] = json_object_get(state->sections[s].dirty, id) != NULL;
	}
}

void state_restore(struct state *state, const char *id, const struct state_undo *undo)
{
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++) {
		struct state_section *section = &state->sections[s];
		/* Somebody else changed it meanwhile: that is the truth now. */
		if (json_object_get(section->news, id))
			continue;
		bool stored = epoch_of(state, (enum store_section)s, id) != undo->epoch[s];
		set_record(section, id, json_incref(undo->value[s]));
		if (stored || undo->dirty[s])
			json_object_set_new(section->dirty, id, json_true());
		else
			json_object_del(section->dirty, id);
		state->unsaved |= stored;
	}
}

void state_undo_fini(struct state_undo *undo)
{
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++)
		json_decref(undo->value[s]);
	*undo = (struct state_undo){0};
}

bool state_take(struct state *state, enum store_section section, const char *id, json_t *value,
		uint64_t epoch)
{
	struct state_section *s = &state->sections[section];
	if (epoch <= epoch_of(state, section, id)) {
		json_decref(value);
		return false;
	}
	json_t *ours = json_object_get(s->dirty, id) ? state_record(state, section, id) : NULL;
	json_object_set(s->news, id, ours ? ours : json_null());
	json_object_del(s->dirty, id);
	set_record(s, id, value);
	set_epoch(s, id, value ? epoch : 0);
	return true;
}

/* --- loading ---------------------------------------------------------------------------------------------
 */

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

int state_split(const struct state *state, struct policy *policy)
{
	json_t *split = state_record(state, STORE_SPLIT, "split");
	uint8_t key[sizeof(policy->key)], seed[sizeof(policy->seed)];
	if (!hex_read(json_get_str(split, "key"), key, sizeof(key)) ||
	    !hex_read(json_get_str(split, "seed"), seed, sizeof(seed)))
		return -EINVAL;
	if (memcmp(policy->key, key, sizeof(key)) == 0 && memcmp(&policy->seed, seed, sizeof(seed)) == 0)
		return 0;
	memcpy(policy->key, key, sizeof(key));
	memcpy(&policy->seed, seed, sizeof(seed));
	return 1;
}

/* The stored split, or this one is stored. When another gateway was faster it is its. */
static int split_restore(struct state *state, struct policy *policy, struct buf *why)
{
	uint8_t seed[sizeof(policy->seed)];
	if (state_split(state, policy) >= 0)
		return 0;
	memcpy(seed, &policy->seed, sizeof(seed));
	int err = state_put(state, STORE_SPLIT, "split",
			    json_pack("{s:o, s:o}", "key", hex_write(policy->key, sizeof(policy->key)),
				      "seed", hex_write(seed, sizeof(seed))));
	if (!err)
		err = state_save(state, why);
	if (err == -ESTALE && state_split(state, policy) >= 0) {
		json_object_clear(state->sections[STORE_SPLIT].news);
		buf_reset(why);
		return 0;
	}
	return err;
}

int state_init(struct state *state, struct store *store, const char *instance, bool shared,
	       struct policy *policy, struct buf *why)
{
	struct store_records records = {0};
	int err = store_load(store, &records, why);
	if (err)
		return err;
	*state = (struct state){.store = store, .instance = instance, .shared = shared, .ok = true};
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++) {
		struct state_section *section = &state->sections[s];
		section->records = json_object();
		section->epochs = json_object();
		section->dirty = json_object();
		section->news = json_object();
		if (!section->records || !section->epochs || !section->dirty || !section->news)
			err = -ENOMEM;
	}
	for (size_t i = 0; !err && i < records.count; i++) {
		struct store_record *record = &records.items[i];
		err = set_record(&state->sections[record->section], record->id, json_incref(record->value));
		if (!err)
			err = set_epoch(&state->sections[record->section], record->id, record->epoch);
	}
	store_records_fini(&records);
	if (!err)
		err = split_restore(state, policy, why);
	if (err)
		state_fini(state);
	return err;
}

void state_fini(struct state *state)
{
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++) {
		json_decref(state->sections[s].records);
		json_decref(state->sections[s].epochs);
		json_decref(state->sections[s].dirty);
		json_decref(state->sections[s].news);
	}
	memset(state, 0, sizeof(*state));
}

/* --- definitions -----------------------------------------------------------------------------------------
 */

int state_override(struct state *state, const char *id, const struct route_config *config,
		   const char *file_print, const char *who)
{
	json_t *value = json_pack("{s:o, s:s, s:o, s:I, s:o}", "config",
				  config ? route_config_to_json(config) : json_null(), "file", file_print,
				  "by", json_text(slice_str(who)), "at_ns", (json_int_t)clock_wall_ns(), "on",
				  json_text(slice_str(state->instance)));
	return value ? state_put(state, STORE_DEFINITIONS, id, value) : -ENOMEM;
}

/* --- migrations ------------------------------------------------------------------------------------------
 */

static json_t *migration_write(const struct state *state, const struct migration *m, uint32_t file_weight_bp)
{
	json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:b}", "weight_bp",
				 (json_int_t)m->weight_bp, "file_weight_bp", (json_int_t)file_weight_bp,
				 "epoch", (json_int_t)m->epoch, "step", (json_int_t)m->step, "started",
				 m->started, "paused", m->paused, "rolled_back", m->latched, "complete",
				 m->complete, "promoted", m->promoted);
	if (!json)
		return NULL;
	json_object_set_new(json, "changed",
			    json_pack("{s:I, s:o, s:o, s:o}", "at_ns", (json_int_t)m->changed_wall_ns, "by",
				      json_text(slice_str(m->changed_by)), "reason",
				      json_text(slice_str(m->changed_reason)), "on",
				      json_text(slice_str(state->instance))));
	json_object_set_new(json, "step_at_ns", json_integer((json_int_t)m->step_wall_ns));
	json_object_set_new(json, "build_at_ns", json_integer((json_int_t)m->build_wall_ns));
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
	return (uint32_t)json_get_u64(record, "file_weight_bp");
}

/* The weight, which a person may have written. */
static bool weight_read(const json_t *record, uint32_t *out, struct buf *why)
{
	const json_t *value = json_object_get(record, "weight_bp");
	json_int_t number = json_integer_value(value);
	if (json_is_integer(value) && number >= 0 && number <= PHX_WEIGHT_ONE) {
		*out = (uint32_t)number;
		return true;
	}
	if (why) {
		char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
		buf_printf(why, "weight_bp %s%.64s is no whole number of basis points from 0 to %d",
			   value ? "" : "is missing; it", text ? text : "", PHX_WEIGHT_ONE);
		free(text);
	}
	return false;
}

bool state_read_migration(const json_t *json, uint32_t file_weight_bp, bool any_file, struct migration *out,
			  struct buf *why)
{
	uint32_t weight_bp;
	if (!json_is_object(json) || !weight_read(json, &weight_bp, why) ||
	    (!any_file && state_file_weight(json) != file_weight_bp))
		return false;
	struct migration m = {
		.weight_bp = weight_bp,
		.epoch = (uint32_t)json_get_u64(json, "epoch"),
		.step = (uint32_t)json_get_u64(json, "step"),
		.started = json_get_bool(json, "started"),
		.paused = json_get_bool(json, "paused"),
		.latched = json_get_bool(json, "rolled_back"),
		.complete = json_get_bool(json, "complete") && weight_bp == PHX_WEIGHT_ONE,
		.promoted = json_get_bool(json, "promoted"),
		.step_wall_ns = json_get_u64(json, "step_at_ns"),
		.build_wall_ns = json_get_u64(json, "build_at_ns"),
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

void state_describe(const json_t *record, struct buf *out)
{
	/* A migration has it in a part of its own, a definition at the top. */
	const json_t *changed = json_object_get(record, "changed");
	const json_t *from = changed ? changed : record;
	char at[CLOCK_RFC3339_SIZE];
	clock_rfc3339(json_get_u64(from, "at_ns"), at);
	if (!record) {
		buf_append_str(out, "by somebody who deleted it");
		return;
	}
	buf_printf(out, "by %s on gateway %s at %s", json_get_str(from, "by"), json_get_str(from, "on"), at);
	if (!changed)
		return;
	buf_append_str(out, json_get_bool(record, "rolled_back") ? ": rolled back, weight " : ": weight ");
	append_percent(out, (uint32_t)json_get_u64(record, "weight_bp"));
	if (json_get_str(changed, "reason")[0])
		buf_printf(out, " (%s)", json_get_str(changed, "reason"));
}

/* --- saving ----------------------------------------------------------------------------------------------
 */

static size_t count_dirty(const struct state *state)
{
	size_t count = 0;
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++)
		count += json_object_size(state->sections[s].dirty);
	return count;
}

static size_t list_dirty(const struct state *state, struct store_write *writes)
{
	size_t count = 0;
	const char *id;
	json_t *flag;
	for (unsigned s = 0; s < STORE_SECTION_COUNT; s++) {
		enum store_section section = (enum store_section)s;
		json_object_foreach(state->sections[s].dirty, id, flag) writes[count++] =
			(struct store_write){.section = section,
					     .id = id,
					     .value = state_record(state, section, id),
					     .expected = epoch_of(state, section, id)};
	}
	return count;
}

static void log_result(struct state *state, int err, struct buf *sentence)
{
	/* To come too late is no failure of the store. */
	if (err == -ESTALE || err == -ENOLCK)
		return;
	if (err) {
		if (sentence->len == 0)
			buf_printf(sentence, "the state could not be stored: %s", strerror(-err));
		if (state->ok)
			log_error("state", "%s", buf_cstr(sentence));
		text_copy(state->error, sizeof(state->error), slice_str(buf_cstr(sentence)));
	} else {
		if (!state->ok)
			log_info("state", "the state can be stored again");
		state->error[0] = '\0';
	}
	state->ok = err == 0;
}

/* The ids in `writes` are keys of the lists that this changes: they are copied first. */
static void take_results(struct state *state, struct store_write *writes, size_t count, int err, bool retry,
			 struct buf *why)
{
	char id[STORE_ID_MAX + 1];
	for (size_t i = 0; i < count; i++) {
		struct store_write *write = &writes[i];
		struct state_section *section = &state->sections[write->section];
		snprintf(id, sizeof(id), "%s", write->id);
		if (err == 0) {
			set_epoch(section, id, write->epoch);
			json_object_del(section->dirty, id);
		} else if (write->stale) {
			if (why->len == 0) {
				buf_append_str(why, "changed meanwhile ");
				state_describe(write->there, why);
			}
			json_t *ours = state_record(state, write->section, id);
			json_object_set(section->news, id, retry && ours ? ours : json_null());
			json_object_del(section->dirty, id);
			set_record(section, id, json_incref(write->there));
			set_epoch(section, id, write->there ? write->epoch : 0);
		}
	}
}

static int save(struct state *state, uint64_t fence, bool retry, struct buf *why)
{
	size_t count = count_dirty(state);
	if (count == 0) {
		state->unsaved = false;
		return 0;
	}
	struct store_write *writes = calloc(count, sizeof(*writes));
	struct buf sentence = {.max = 4096};
	int err = writes ? 0 : -ENOMEM;
	if (!err) {
		count = list_dirty(state, writes);
		err = store_write(state->store, writes, count, fence, &sentence);
	}
	log_result(state, err, &sentence);
	if (err == -ESTALE)
		buf_reset(&sentence);
	if (writes)
		take_results(state, writes, count, err, retry, &sentence);
	if (err)
		buf_append_slice(why, buf_slice(&sentence));
	else
		state->unsaved = false;
	if (writes)
		store_writes_fini(writes, count);
	free(writes);
	buf_fini(&sentence);
	return err;
}

int state_save(struct state *state, struct buf *why)
{
	return save(state, 0, false, why);
}

int state_save_migration(struct state *state, const struct route *route, const struct migration *migration,
			 uint64_t fence, enum state_keep keep, struct buf *why)
{
	const char *id = route_config_of(route)->id;
	struct state_undo undo;
	state_remember(state, id, &undo);
	json_t *next = migration_write(state, migration, route->file_weight_bp);
	int err = next ? state_put(state, STORE_ROUTES, id, next) : -ENOMEM;
	if (err) {
		buf_append_str(why, "out of memory");
		goto done;
	}
	err = save(state, fence, false, why);
	/* Not this one was stale, but another one that waited: now it does not any more. */
	for (int i = 0; i < 3 && err == -ESTALE && json_object_get(state->sections[STORE_ROUTES].dirty, id);
	     i++) {
		buf_reset(why);
		err = save(state, fence, false, why);
	}
	if (err == -ESTALE)
		goto done;
	if (err && err != -ENOLCK && (keep == KEEP_ALWAYS || (keep == KEEP_UNREACHABLE && err == -ENOTCONN)))
		state->unsaved = true;
	else if (err)
		state_restore(state, id, &undo);
done:
	state_undo_fini(&undo);
	return err;
}

void state_retry(struct state *state)
{
	struct buf why = {0};
	for (int i = 0; i < 3 && state->unsaved && save(state, 0, true, &why) == -ESTALE; i++)
		;
	buf_fini(&why);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_record: what is written down of a rollout (its spec, and where it stands), and how a new daemon
 * reads it. Each file is whole or the old one; what cannot be read is told and left alone.
 */
#include "control/pipeline_internal.h"

#include "base/log.h"
#include "control/value.h"
#include "pipeline/files.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define ROLLOUT_FILE   "rollout.json"
#define SPEC_FILE      "spec.json"
#define FILE_BYTES_MAX (64u << 20)

static json_t *rollout_json(const struct rollout *r)
{
	json_t *took = json_object();
	for (unsigned i = 0; i < STAGE_COUNT; i++) {
		if (r->stage_took_ms[i])
			json_object_set_new(took, stage_word((enum stage)i),
					    json_integer((json_int_t)r->stage_took_ms[i]));
	}
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:i, s:i, s:b, s:b, s:b, s:b, s:s, s:o, s:o, s:I, s:I, s:I, s:o}", "id",
		r->id, "stage", stage_word(r->stage), "failed_in", stage_word(r->failed_in), "number",
		(int)r->number, "former", (int)r->former, "former_ran", r->former_ran, "deploy_only",
		r->deploy_only, "route_made", r->route_made, "forget", r->forget, "kind", r->kind, "by",
		json_text(slice_str(r->by)), "reason", json_text(slice_str(r->reason)), "created_ns",
		(json_int_t)r->created_wall_ns, "stage_ns", (json_int_t)r->stage_wall_ns, "ended_ns",
		(json_int_t)r->ended_wall_ns, "took_ms", took);
	if (json && r->former_route)
		json_object_set(json, "former_route", r->former_route);
	if (json && r->cases)
		json_object_set(json, "cases", r->cases);
	return json;
}

static int write_json(const char *folder, const char *name, json_t *json, struct buf *why)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
	int fd = text ? files_open_folder(folder, true, why) : -ENOMEM;
	int err = fd < 0 ? fd : files_replace(fd, name, slice_str(text), why);
	if (fd >= 0)
		close(fd);
	free(text);
	json_decref(json);
	return err;
}

int rollout_save(struct rollout *r, struct buf *why)
{
	return write_json(r->work, ROLLOUT_FILE, rollout_json(r), why);
}

int rollout_save_spec(struct rollout *r, struct buf *why)
{
	return write_json(r->work, SPEC_FILE, json_incref(r->spec->document), why);
}

static void read_record(struct rollout *r, const json_t *json)
{
	if (stage_parse(json_get_str(json, "stage"), &r->stage))
		r->stage = STAGE_UNDO;
	if (stage_parse(json_get_str(json, "failed_in"), &r->failed_in))
		r->failed_in = STAGE_VERIFY;
	r->number = (unsigned)json_get_u64(json, "number");
	r->former = (unsigned)json_get_u64(json, "former");
	r->former_ran = json_get_bool(json, "former_ran");
	r->deploy_only = json_get_bool(json, "deploy_only");
	r->route_made = json_get_bool(json, "route_made");
	r->forget = json_get_bool(json, "forget");
	text_copy(r->kind, sizeof(r->kind), slice_str(json_get_str(json, "kind")));
	text_copy(r->by, sizeof(r->by), slice_str(json_get_str(json, "by")));
	text_copy(r->reason, sizeof(r->reason), slice_str(json_get_str(json, "reason")));
	r->created_wall_ns = json_get_u64(json, "created_ns");
	r->stage_wall_ns = json_get_u64(json, "stage_ns");
	r->ended_wall_ns = json_get_u64(json, "ended_ns");
	for (unsigned i = 0; i < STAGE_COUNT; i++)
		r->stage_took_ms[i] =
			json_get_u64(json_object_get(json, "took_ms"), stage_word((enum stage)i));
	const json_t *route = json_object_get(json, "former_route");
	r->former_route = json_is_object(route) ? json_incref((json_t *)route) : NULL;
	const json_t *cases = json_object_get(json, "cases");
	r->cases = json_is_array(cases) ? json_incref((json_t *)cases) : NULL;
}

/* One folder of the pipeline; what cannot be read is told and left alone. */
void rollout_read(struct pipeline *pipeline, const char *id)
{
	struct rollout *r = rollout_create(pipeline, id);
	struct buf text = {0}, why = {0}, record = {0};
	int fd = r ? files_open_folder(r->work, false, &why) : -ENOMEM;
	int err = fd < 0 ? fd : files_read(fd, ROLLOUT_FILE, FILE_BYTES_MAX, &record, &why);
	if (err == -ENOENT) {
		/* No rollout's folder ("deploy"), or one that was just being made. */
	} else if (!err) {
		err = files_read(fd, SPEC_FILE, FILE_BYTES_MAX, &text, &why);
		if (!err)
			err = spec_parse(SPEC_FILE, buf_slice(&text), NULL, &r->spec, &why);
		json_t *json = err ? NULL : json_loadb(record.data, record.len, 0, NULL);
		if (json && strcmp(r->spec->id, id) == 0) {
			read_record(r, json);
			r->resumed = true;
			pipeline_add(pipeline, r);
			r = NULL;
		} else if (!err) {
			buf_append_str(&why, "its record is damaged");
			err = -EBADMSG;
		}
		json_decref(json);
		if (err)
			log_error("pipeline", "the migration in %s/%s cannot be taken up: %s",
				  pipeline->directory, id, buf_cstr(&why));
	}
	if (fd >= 0)
		close(fd);
	if (r)
		rollout_destroy(r);
	buf_fini(&record);
	buf_fini(&text);
	buf_fini(&why);
}

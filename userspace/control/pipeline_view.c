/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline_view: a rollout as GET /admin/migrations has it. Reading changes nothing. */
#include "control/pipeline_internal.h"

#include "control/value.h"

#include <inttypes.h>

static const enum stage shown[] = {STAGE_VERIFY, STAGE_DEPLOY,	STAGE_HEALTHY,
				   STAGE_MIRROR, STAGE_MIGRATE, STAGE_COMPLETE};

static const char *status_of(const struct rollout *r, enum stage stage)
{
	bool over = r->stage == STAGE_UNDO || r->stage == STAGE_ROLLED_BACK;
	enum stage at = over ? r->failed_in : r->stage == STAGE_DEPLOYED ? STAGE_MIRROR : r->stage;
	if (stage < at || (stage == STAGE_COMPLETE && r->stage == STAGE_COMPLETE))
		return "done";
	if (stage > at || r->stage == STAGE_DEPLOYED)
		return "waiting";
	return over ? "failed" : "running";
}

static json_t *stages_json(const struct rollout *r)
{
	json_t *list = json_array();
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		uint64_t took_ms = r->stage_took_ms[shown[i]];
		uint32_t deadline_ms = stage_deadline_ms(r, shown[i]);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:o, s:o}", "stage", stage_word(shown[i]), "status",
				  status_of(r, shown[i]), "took_ms",
				  took_ms ? json_integer((json_int_t)took_ms) : json_null(), "deadline_ms",
				  deadline_ms ? json_integer((json_int_t)deadline_ms) : json_null()));
	}
	return list;
}

static json_t *log_json(const struct rollout *r, uint64_t since)
{
	json_t *list = json_array();
	for (size_t i = 0; i < r->count; i++) {
		const struct log_line *line = &r->lines[(r->first + i) % PIPELINE_LINES_MAX];
		if (line->number > since)
			json_array_append_new(list, json_pack("{s:I, s:o, s:s, s:o}", "number",
							      (json_int_t)line->number, "at",
							      json_time(line->wall_ns), "stage",
							      stage_word(line->stage), "text",
							      json_text(slice_str(line->text))));
	}
	return list;
}

/* The words of the contract: of the route once it is in charge, before and after that of the stage. */
static const char *stand(const struct rollout *r, struct buf *headline, struct buf *detail)
{
	struct engine *engine = &r->pipeline->control->engine;
	struct route *route = rollout_route(r);
	switch (r->stage) {
	case STAGE_VERIFY:
	case STAGE_DEPLOY:
	case STAGE_HEALTHY: {
		uint32_t limit_ms = r->stage == STAGE_HEALTHY ? r->spec->deadline.healthy_ms
							      : stage_deadline_ms(r, r->stage);
		uint64_t passed_ms = (clock_now_ns() - r->stage_ns) / NS_PER_MS;
		buf_printf(headline, "Deploying Modern: %s", stage_step(r->stage));
		buf_printf(detail, "%" PRIu64 " s left",
			   limit_ms > passed_ms ? (limit_ms - passed_ms) / 1000 : 0);
		return migration_state_word(MIGRATION_DEPLOYING);
	}
	case STAGE_MIRROR:
	case STAGE_MIGRATE:
	case STAGE_COMPLETE:
		if (route) {
			engine_headline(engine, route, headline);
			engine_detail(engine, route, detail);
			return migration_state_word(engine_state(engine, route));
		}
		break;
	case STAGE_DEPLOYED:
		buf_append_str(headline, "Not Started: 100% on Legacy");
		buf_append_str(detail, "the service is deployed and healthy");
		return migration_state_word(MIGRATION_IDLE);
	case STAGE_UNDO:
	case STAGE_ROLLED_BACK:
	case STAGE_COUNT:
		break;
	}
	buf_append_str(headline, "Rollback triggered");
	buf_printf(detail, "%s: %s", stage_word(r->failed_in), r->reason);
	return migration_state_word(MIGRATION_ROLLED_BACK);
}

static json_t *view(const struct rollout *r, bool with_log, uint64_t since)
{
	struct buf headline = {0}, detail = {0};
	const char *state = stand(r, &headline, &detail);
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:o, s:o, s:s, s:b, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s:s, s:o}",
		"id", r->id, "route", r->id, "state", state, "headline", json_text(buf_slice(&headline)),
		"detail", json_text(buf_slice(&detail)), "stage", stage_word(r->stage), "over",
		!rollout_is_active(r), "failed_in",
		r->stage == STAGE_UNDO || r->stage == STAGE_ROLLED_BACK
			? json_string(stage_word(r->failed_in))
			: json_null(),
		"reason", json_text_or_null(r->reason), "attempt", (int)r->number, "kind",
		json_text_or_null(r->kind), "by", json_text(slice_str(r->by)), "created_at",
		json_time(r->created_wall_ns), "stage_since", json_time(r->stage_wall_ns), "ended_at",
		json_time(r->ended_wall_ns), "port", (int)r->spec->service.port, "directory", r->work,
		"stages", stages_json(r));
	if (json)
		json_object_set(json, "cases", r->cases ? r->cases : json_null());
	if (json)
		json_object_set_new(json, "gateway", json_text_or_null(pipeline_gateway(r->pipeline)));
	if (json && with_log)
		json_object_set_new(json, "log", log_json(r, since));
	buf_fini(&headline);
	buf_fini(&detail);
	return json;
}

json_t *pipeline_view(struct pipeline *pipeline, const char *id, uint64_t since)
{
	struct rollout *r = rollout_find(pipeline, id);
	return r ? view(r, true, since) : pipeline_view_foreign(pipeline, id, since);
}

json_t *pipeline_view_rollout(const struct rollout *r)
{
	return view(r, false, 0);
}

/* For the first page: what it needs to say how each one stands, and whether there are lines to fetch. */
static json_t *brief(const struct rollout *r)
{
	struct buf headline = {0}, detail = {0};
	const char *state = stand(r, &headline, &detail);
	const struct log_line *last =
		r->count ? &r->lines[(r->first + r->count - 1) % PIPELINE_LINES_MAX] : NULL;
	bool failed = r->stage == STAGE_UNDO || r->stage == STAGE_ROLLED_BACK;
	json_t *json = json_pack(
		"{s:s, s:s, s:i, s:s, s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "id", r->id,
		"route", r->id, "attempt", (int)r->number, "state", state, "stage", stage_word(r->stage),
		"headline", json_text(buf_slice(&headline)), "detail", json_text(buf_slice(&detail)), "over",
		!rollout_is_active(r), "since", json_time(r->stage_wall_ns), "created_at",
		json_time(r->created_wall_ns), "by", json_text(slice_str(r->by)), "failed_in",
		failed ? json_string(stage_word(r->failed_in)) : json_null(), "error",
		json_text_or_null(r->reason), "log_number", (json_int_t)r->next_line, "last_line",
		json_text_or_null(last ? last->text : NULL));
	if (json)
		json_object_set_new(json, "gateway", json_text_or_null(pipeline_gateway(r->pipeline)));
	buf_fini(&headline);
	buf_fini(&detail);
	return json;
}

json_t *pipeline_view_brief(struct pipeline *pipeline)
{
	json_t *list = json_array();
	size_t over = 0, room = PIPELINE_BRIEF_OVER_MAX;
	if (!pipeline)
		return list;
	for (struct list *link = pipeline->rollouts.next; link != &pipeline->rollouts; link = link->next)
		over += !rollout_is_active(container_of(link, struct rollout, link));
	for (struct list *link = pipeline->rollouts.next; link != &pipeline->rollouts; link = link->next) {
		struct rollout *r = container_of(link, struct rollout, link);
		if (rollout_is_active(r) || over-- <= room)
			json_array_append_new(list, brief(r));
	}
	pipeline_view_foreigners(pipeline, true, list);
	return list;
}

json_t *pipeline_view_all(struct pipeline *pipeline)
{
	json_t *list = json_array();
	for (struct list *link = pipeline ? pipeline->rollouts.next : NULL;
	     link && link != &pipeline->rollouts; link = link->next)
		json_array_append_new(list, view(container_of(link, struct rollout, link), false, 0));
	pipeline_view_foreigners(pipeline, false, list);
	return json_pack("{s:o}", "migrations", list);
}

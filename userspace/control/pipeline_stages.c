/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_stages: the table of stages (pipeline.h), and how a rollout goes from one to the next.
 *
 * A stage is entered (its job starts, or the route is put in order), looked at with every tick, and left to
 * the next one or to `undo`. What is written down comes before what is done, so after a kill the stage is
 * entered again; every enter and every job finds what an interrupted one left and goes on from there.
 */
#include "control/pipeline_internal.h"

#include "control/value.h"

#include <errno.h>
#include <stdlib.h>

#define EVENT_LINES 20 /* of the log, with the event of a stage */

enum verdict { STAY, NEXT, FAILED };

struct stage_row {
	int (*job)(struct job *job, void *context, struct buf *why);	     /* what blocks; NULL: nothing */
	int (*enter)(struct rollout *r, struct moment now, struct buf *why); /* NULL: nothing */
	enum verdict (*look)(struct rollout *r, struct moment now,
			     struct buf *why); /* without a job; NULL: stays */
	size_t deadline;		       /* offset in struct spec; 0 = none */
	enum stage next;
};

static int enter_mirror(struct rollout *r, struct moment now, struct buf *why);
static int enter_migrate(struct rollout *r, struct moment now, struct buf *why);
static int enter_complete(struct rollout *r, struct moment now, struct buf *why);
static enum verdict look_mirror(struct rollout *r, struct moment now, struct buf *why);
static enum verdict look_migrate(struct rollout *r, struct moment now, struct buf *why);

#define DEADLINE(name) offsetof(struct spec, deadline.name)
#define ROW(name)      [STAGE_##name]
static const struct stage_row rows[STAGE_COUNT] = {
	/*               job          enter           look          deadline              next */
	ROW(VERIFY) = {job_verify, NULL, NULL, DEADLINE(verify_ms), STAGE_DEPLOY},
	ROW(DEPLOY) = {job_deploy, NULL, NULL, DEADLINE(deploy_ms), STAGE_HEALTHY},
	ROW(HEALTHY) = {job_healthy, NULL, NULL, 0, STAGE_MIRROR},
	ROW(MIRROR) = {NULL, enter_mirror, look_mirror, DEADLINE(mirror_ms), STAGE_MIGRATE},
	ROW(MIGRATE) = {NULL, enter_migrate, look_migrate, DEADLINE(migrate_ms), STAGE_COMPLETE},
	ROW(COMPLETE) = {NULL, enter_complete, NULL, 0, STAGE_COMPLETE},
	ROW(DEPLOYED) = {NULL, enter_complete, NULL, 0, STAGE_DEPLOYED},
	ROW(UNDO) = {job_undo, NULL, NULL, 0, STAGE_ROLLED_BACK},
	ROW(ROLLED_BACK) = {NULL, NULL, NULL, 0, STAGE_ROLLED_BACK},
};

static const struct {
	const char *word, *step;
} words[] = {
#define X(name, word, step, help) {word, step},
	STAGES(X)
#undef X
};

const char *stage_word(enum stage stage)
{
	return words[stage].word;
}

const char *stage_step(enum stage stage)
{
	return words[stage].step;
}

int stage_parse(const char *word, enum stage *stage)
{
	for (unsigned i = 0; i < STAGE_COUNT; i++) {
		if (strcmp(words[i].word, word) == 0) {
			*stage = (enum stage)i;
			return 0;
		}
	}
	return -ENOENT;
}

uint32_t stage_deadline_ms(const struct rollout *r, enum stage stage)
{
	size_t offset = rows[stage].deadline;
	return offset ? *(const uint32_t *)(const void *)((const char *)r->spec + offset) : 0;
}

/* --- what is said --- */

static json_t *last_lines(const struct rollout *r, enum stage stage)
{
	json_t *list = json_array();
	size_t from = r->count > EVENT_LINES ? r->count - EVENT_LINES : 0;
	for (size_t i = from; i < r->count; i++) {
		const struct log_line *line = &r->lines[(r->first + i) % PIPELINE_LINES_MAX];
		if (line->stage == stage)
			json_array_append_new(list, json_text(slice_str(line->text)));
	}
	return list;
}

/* status: "started", "done", "failed". */
static void tell(struct rollout *r, enum event_level level, enum stage stage, const char *status,
		 const char *text)
{
	json_t *data = json_pack("{s:s, s:i, s:s, s:s, s:I, s:o}", "migration", r->id, "attempt",
				 (int)r->number, "stage", stage_word(stage), "status", status, "took_ms",
				 (json_int_t)r->stage_took_ms[stage], "log", last_lines(r, stage));
	events_emit(&r->pipeline->control->events, level, "migration", r->id, data, "%s", text);
}

/* The route's headline while its service is being deployed. */
void stage_show_step(struct rollout *r)
{
	struct route *route = rollout_route(r);
	bool deploying = r->stage == STAGE_VERIFY || r->stage == STAGE_DEPLOY || r->stage == STAGE_HEALTHY;
	if (!route || (!deploying && route->deploying != r->step))
		return;
	text_copy(r->step, sizeof(r->step), slice_str(stage_step(r->stage)));
	const char *step = deploying ? r->step : NULL;
	if (route->deploying != step) {
		route->deploying = step;
		route->revision++;
	}
}

void rollout_put_down(struct rollout *r)
{
	struct buf why = {0};
	if (rollout_save(r, &why))
		events_emit(&r->pipeline->control->events, EVENT_ALERT, "alert", r->id, NULL,
			    "where the migration stands cannot be written down: %s; it goes on, but a "
			    "restart would go back to "
			    "the stage before",
			    buf_cstr(&why));
	buf_fini(&why);
}

/* --- entering --- */

/* The jobs' own view of it; made anew for each stage, while no job runs. */
int rollout_prepare(struct rollout *r, struct deployment *d)
{
	char *base = NULL;
	deployment_fini(d);
	if (!r->spec->deploy.directory && asprintf(&base, "%s/deploy", r->pipeline->directory) < 0)
		return -ENOMEM;
	int err = deployment_init(d, r->spec, r->spec->deploy.directory ? r->spec->deploy.directory : base,
				  r->work, r->number);
	free(base);
	if (!err) {
		d->former = r->former;
		d->former_ran = r->former_ran;
		d->deployer = r->kind[0] ? deployer_find(r->kind) : NULL;
	}
	return err;
}

/* What the job found out becomes the rollout's own; called while no job runs. */
void rollout_learn(struct rollout *r)
{
	r->former = r->deployment.former;
	r->former_ran = r->deployment.former_ran;
	if (r->deployment.deployer)
		text_copy(r->kind, sizeof(r->kind), slice_str(r->deployment.deployer->word));
}

/* The gateway as the traffic client reaches it. */
static void find_gateway(struct rollout *r)
{
	const struct config *config = r->pipeline->control->config;
	r->gateway_url[0] = r->admin[0] = r->token_file[0] = '\0';
	for (size_t i = 0; i < config->listen_count && !r->gateway_url[0]; i++) {
		const struct config_listen *listen = &config->listen[i];
		if (!listen->host)
			continue;
		bool any = strcmp(listen->host, "0.0.0.0") == 0, any6 = strcmp(listen->host, "::") == 0;
		bool v6 = strchr(listen->host, ':') != NULL;
		snprintf(r->gateway_url, sizeof(r->gateway_url), "http://%s%s%s:%u", v6 ? "[" : "",
			 any	? "127.0.0.1"
			 : any6 ? "::1"
				: listen->host,
			 v6 ? "]" : "", listen->port);
	}
	if (config->admin.socket)
		snprintf(r->admin, sizeof(r->admin), "unix:%s", config->admin.socket);
	else if (config->admin.listen.host)
		snprintf(r->admin, sizeof(r->admin), "http://%s", config->admin.listen.text);
	if (config->admin.token_file)
		snprintf(r->token_file, sizeof(r->token_file), "%s", config->admin.token_file);
}

void stage_enter(struct rollout *r, enum stage stage, struct moment now)
{
	const struct stage_row *row = &rows[stage];
	bool again = r->resumed && !r->stage_ns;
	r->stage = stage;
	r->stage_ns = now.ns;
	if (!again)
		r->stage_wall_ns = now.wall_ns;
	if (stage == STAGE_ROLLED_BACK || stage == STAGE_COMPLETE || stage == STAGE_DEPLOYED)
		r->ended_wall_ns = again ? r->ended_wall_ns : now.wall_ns;
	rollout_put_down(r);
	stage_show_step(r);
	if (row->job || stage == STAGE_MIRROR || stage == STAGE_MIGRATE) {
		char text[128];
		snprintf(text, sizeof(text), "%s: %s", stage_word(stage), stage_step(stage));
		tell(r, EVENT_INFO, stage, "started", text);
	}
	struct buf why = {0};
	if (!r->traffic && !r->watch)
		find_gateway(r);
	int err = row->job || row->enter ? rollout_prepare(r, &r->deployment) : 0;
	if (!err && row->job)
		err = job_start(row->job, r, stage_deadline_ms(r, stage), &r->job);
	if (!err && row->enter)
		err = row->enter(r, now, &why);
	if (err) {
		if (!why.len)
			buf_printf(&why, "%s cannot begin: %s", stage_word(stage), strerror(-err));
		rollout_fail(r, buf_cstr(&why), now);
	}
	buf_fini(&why);
	r->resumed = again && (stage == STAGE_MIRROR || stage == STAGE_MIGRATE || stage == STAGE_COMPLETE);
}

/* The watch and the traffic go on from one stage to the next. */
static int start_companions(struct rollout *r, bool traffic)
{
	int err = 0;
	if (!r->watch && !r->traffic)
		err = rollout_prepare(r, &r->watched);
	atomic_store(&r->may_start, r->resumed);
	if (!err && !r->watch)
		err = job_start(job_watch, r, 0, &r->watch);
	if (!err && traffic && !r->traffic && !r->traffic_over) {
		atomic_store(&r->traffic_finish, false);
		err = job_start(job_traffic, r, 0, &r->traffic);
	}
	return err;
}

/* Registers the route, or puts the spec's in the place of the present one. */
static int register_route(struct rollout *r, struct moment now, struct buf *why)
{
	struct control *control = r->pipeline->control;
	struct route *route = rollout_route(r);
	char wanted[PRINT_SIZE];
	route_config_print(r->spec->route, wanted);
	bool same = route && strcmp(route->definition->print, wanted) == 0;
	if (!r->route_made && !r->former_route) {
		r->route_made = !route;
		r->former_route = route ? route_config_to_json(route_config_of(route)) : NULL;
		rollout_put_down(r);
	}
	int err = 0;
	if (!same) {
		struct route_config *config = route_config_copy(r->spec->route);
		err = config ? control_route_put(control, config, true, "the pipeline", &route, why)
			     : -ENOMEM;
		if (err && config)
			route_config_destroy(config);
	}
	if (err)
		return err;
	route = rollout_route(r);
	route->deploying = NULL;
	/* The same addresses may have other code behind them now. */
	if (!r->resumed)
		engine_new_build(&control->engine, route, now);
	if (route->migration.latched)
		err = engine_verb(&control->engine, route, VERB_RETRY, "the pipeline", "a new release", now,
				  why);
	else if (!same || route->migration.weight_bp == 0)
		engine_adopt(&control->engine, route, now);
	return err;
}

static int enter_mirror(struct rollout *r, struct moment now, struct buf *why)
{
	/* After a restart the route is what state says; one that was rolled back meanwhile is looked at. */
	struct route *route = rollout_route(r);
	bool known = r->resumed && route && route->migration.latched;
	int err = known ? 0 : register_route(r, now, why);
	return err ? err : start_companions(r, true);
}

static int enter_migrate(struct rollout *r, struct moment now, struct buf *why)
{
	return start_companions(r, true);
}

static int enter_complete(struct rollout *r, struct moment now, struct buf *why)
{
	atomic_store(&r->supervise, true);
	return start_companions(r, false);
}

/* --- leaving --- */

/* The route's own end: its state tells. */
static bool route_is_lost(const struct rollout *r, const struct route *route, struct buf *why)
{
	if (!route) {
		buf_append_str(why, "the route was deleted");
		return true;
	}
	if (route->migration.latched) {
		buf_append_str(why, route->migration.rollback_reason);
		return true;
	}
	return false;
}

static enum verdict look_mirror(struct rollout *r, struct moment now, struct buf *why)
{
	struct route *route = rollout_route(r);
	if (route_is_lost(r, route, why))
		return FAILED;
	return route->migration.weight_bp || route->migration.complete ? NEXT : STAY;
}

/* Complete only when the traffic client's last round was counted too. */
static enum verdict look_migrate(struct rollout *r, struct moment now, struct buf *why)
{
	struct route *route = rollout_route(r);
	if (route_is_lost(r, route, why))
		return FAILED;
	if (engine_state(&r->pipeline->control->engine, route) != MIGRATION_COMPLETE)
		return STAY;
	atomic_store(&r->traffic_finish, true);
	return r->traffic ? STAY : NEXT;
}

static void leave(struct rollout *r, struct moment now)
{
	r->stage_took_ms[r->stage] = (now.ns - r->stage_ns) / NS_PER_MS + 1;
	char text[160];
	snprintf(text, sizeof(text), "%s: done after %llu ms", stage_word(r->stage),
		 (unsigned long long)r->stage_took_ms[r->stage]);
	if (r->stage != STAGE_UNDO)
		tell(r, EVENT_INFO, r->stage, "done", text);
}

void stage_go_on(struct rollout *r, struct moment now)
{
	enum stage next = rows[r->stage].next;
	if (r->stage == STAGE_HEALTHY && r->deploy_only)
		next = STAGE_DEPLOYED;
	leave(r, now);
	stage_enter(r, next, now);
	if (next == STAGE_COMPLETE) {
		rollout_say(r, "Migration Complete");
		tell(r, EVENT_INFO, STAGE_COMPLETE, "done", "Migration Complete");
	} else if (next == STAGE_DEPLOYED) {
		rollout_say(r, "deployed");
		tell(r, EVENT_INFO, STAGE_DEPLOYED, "done", "deployed and healthy; no route was changed");
	} else if (next == STAGE_ROLLED_BACK) {
		char text[1200];
		if (r->deployment.note[0]) {
			size_t len = strlen(r->reason);
			snprintf(r->reason + len, sizeof(r->reason) - len, "; %s", r->deployment.note);
			rollout_put_down(r);
		}
		snprintf(text, sizeof(text), "Rollback triggered: %s: %s", stage_word(r->failed_in),
			 r->reason);
		rollout_say(r, "%s", text);
		tell(r, EVENT_ALERT, r->failed_in, "failed", text);
	}
}

/* Takes a finished job's result: 1 while it runs (or there is none), else its result. */
int rollout_collect(struct rollout *r, struct job **job, struct buf *why)
{
	char line[JOB_LINE_BYTES];
	if (!*job || !job_is_done(*job))
		return 1;
	while (job_take_line(*job, line))
		rollout_say(r, "%s", line);
	int err = job_finish(*job, why);
	*job = NULL;
	return err;
}

/* The jobs beside the stage: their end is the stage's, when it is bad. True when it was. */
static bool look_at_companions(struct rollout *r, struct moment now)
{
	struct buf why = {0};
	int result = rollout_collect(r, &r->traffic, &why);
	bool failed = result < 0 && result != -ECANCELED;
	if (result <= 0)
		r->traffic_over = true;
	if (!failed) {
		buf_reset(&why);
		result = rollout_collect(r, &r->watch, &why);
		failed = result < 0 && result != -ECANCELED && r->stage != STAGE_COMPLETE &&
			 r->stage != STAGE_DEPLOYED;
	}
	if (failed)
		rollout_fail(r, why.len ? buf_cstr(&why) : strerror(-result), now);
	buf_fini(&why);
	return failed;
}

void stage_look(struct rollout *r, struct moment now)
{
	const struct stage_row *row = &rows[r->stage];
	struct buf why = {0};
	enum verdict verdict = STAY;
	if (r->stage == STAGE_UNDO) {
		undo_look(r, now);
		return;
	}
	if (row->job) {
		int result = rollout_collect(r, &r->job, &why);
		if (result <= 0)
			rollout_learn(r);
		verdict = result > 0 ? STAY : result == 0 ? NEXT : FAILED;
		if (result == -ETIMEDOUT && !why.len)
			buf_printf(&why, "its time of %u ms is over", stage_deadline_ms(r, r->stage));
		else if (verdict == FAILED && !why.len)
			buf_append_str(&why, strerror(-result));
	} else {
		/* Before the route's own end: the service that died is the cause of what was seen. */
		if (look_at_companions(r, now))
			return;
		if (row->look)
			verdict = row->look(r, now, &why);
		uint32_t deadline_ms = stage_deadline_ms(r, r->stage);
		if (verdict == STAY && deadline_ms && now.ns - r->stage_ns > deadline_ms * NS_PER_MS) {
			struct route *route = rollout_route(r);
			struct buf detail = {0};
			if (route) {
				engine_headline(&r->pipeline->control->engine, route, &detail);
				buf_append_str(&detail, "; ");
				engine_detail(&r->pipeline->control->engine, route, &detail);
			}
			buf_printf(&why, "its time of %u ms is over: %s", deadline_ms, buf_cstr(&detail));
			buf_fini(&detail);
			verdict = FAILED;
		}
	}
	if (verdict == NEXT)
		stage_go_on(r, now);
	else if (verdict == FAILED)
		rollout_fail(r, buf_cstr(&why), now);
	buf_fini(&why);
}

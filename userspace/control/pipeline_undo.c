/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_undo: how a rollout goes back (pipeline.h): first the route, at once; then, when its jobs have
 * ended, the service, by a job of its own that is tried again.
 */
#include "control/pipeline_internal.h"

#include "control/value.h"

#include <stdlib.h>

#define UNDO_TRIES_MAX 5
#define UNDO_PAUSE_MS  3000

/* The route back to legacy; that it is latched keeps the new service from users until a retry. */
static void roll_back_route(struct rollout *r, struct moment now)
{
	struct control *control = r->pipeline->control;
	struct route *route = rollout_route(r);
	if (!route)
		return;
	if (route->deploying == r->step)
		route->deploying = NULL;
	bool ours = r->failed_in == STAGE_MIRROR || r->failed_in == STAGE_MIGRATE ||
		    r->failed_in == STAGE_COMPLETE;
	if (!ours || rollout_is_superseded(r))
		return;
	struct buf why = {0};
	if (!route->migration.latched &&
	    engine_verb(&control->engine, route, VERB_ROLLBACK, "the pipeline", r->reason, now, &why))
		events_emit(&control->events, EVENT_ALERT, "alert", r->id, NULL,
			    "the route is not rolled back: %s", buf_cstr(&why));
	buf_reset(&why);
	if (r->forget) { /* the world as it was before the first attempt */
		struct route_config *config = NULL;
		struct buf lines = {0};
		char *text = r->former_route ? json_dumps(r->former_route, JSON_REAL_PRECISION(17)) : NULL;
		int err = 0;
		if (r->route_made)
			err = control_route_delete(control, route, "the pipeline", &why);
		else if (text &&
			 (err = route_config_parse("former", slice_str(text), &config, &lines)) == 0 &&
			 (err = control_route_put(control, config, true, "the pipeline", &route, &why)))
			route_config_destroy(config);
		if (err)
			events_emit(&control->events, EVENT_ALERT, "alert", r->id, NULL,
				    "the route as it was cannot be put back: %s",
				    why.len ? buf_cstr(&why) : buf_cstr(&lines));
		buf_fini(&lines);
		free(text);
	}
	buf_fini(&why);
}

void rollout_fail(struct rollout *r, const char *reason, struct moment now)
{
	if (r->stage == STAGE_UNDO)
		return;
	r->failed_in = r->stage;
	text_copy(r->reason, sizeof(r->reason), slice_str(reason));
	rollout_say(r, "failed: %s", reason);
	r->stage_took_ms[r->stage] = (now.ns - r->stage_ns) / NS_PER_MS + 1;
	if (r->failed_in == STAGE_MIRROR || r->failed_in == STAGE_MIGRATE)
		cases_write(r);
	roll_back_route(r, now);
	job_cancel(r->job);
	job_cancel(r->watch);
	job_cancel(r->traffic);
	atomic_store(&r->supervise, false);
	r->undo_tries = 0;
	r->stage = STAGE_UNDO; /* its job begins when the others have ended */
	r->stage_ns = now.ns;
	r->stage_wall_ns = now.wall_ns;
	r->undo_again_ns = now.ns;
	rollout_put_down(r);
	stage_show_step(r);
}

/* Undo waits for the others, and is tried again: Docker may be restarting. */
void undo_look(struct rollout *r, struct moment now)
{
	struct buf why = {0};
	bool had_job = r->job != NULL;
	int result = rollout_collect(r, &r->job, &why);
	if (result < 1 && had_job && r->undo_tries) {
		if (result && r->undo_tries < UNDO_TRIES_MAX) {
			rollout_say(r, "undoing failed, it is tried again: %s", buf_cstr(&why));
			r->undo_again_ns = now.ns + UNDO_PAUSE_MS * NS_PER_MS;
		} else {
			if (result) {
				events_emit(&r->pipeline->control->events, EVENT_ALERT, "alert", r->id, NULL,
					    "not all could be put back after %d tries: %s; legacy answers "
					    "all requests, see %s/log.txt",
					    UNDO_TRIES_MAX, buf_cstr(&why), r->work);
				rollout_say(r, "not all could be put back: %s", buf_cstr(&why));
			}
			stage_go_on(r, now);
		}
	}
	buf_reset(&why);
	rollout_collect(r, &r->watch, &why);
	rollout_collect(r, &r->traffic, &why);
	bool free_now = !r->job && !r->watch && !r->traffic;
	if (r->stage == STAGE_UNDO && free_now && now.ns >= r->undo_again_ns) {
		if (!r->undo_tries && r->deployment.spec)
			rollout_learn(r); /* what an interrupted verify had found out */
		r->undo_tries++;
		int err = rollout_prepare(r, &r->deployment);
		if (!err)
			err = job_start(job_undo, r, 0, &r->job);
		if (err) {
			r->undo_again_ns = now.ns + UNDO_PAUSE_MS * NS_PER_MS;
			if (r->undo_tries >= UNDO_TRIES_MAX)
				stage_go_on(r, now);
		}
	}
	buf_fini(&why);
}

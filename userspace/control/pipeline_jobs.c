/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_jobs: what a stage does that blocks. Runs on the jobs' threads: of the rollout only what is
 * constant while a job runs is read, and only its deployment is written. Each one can be done again after a
 * kill.
 */
#include "control/pipeline_internal.h"

#include "pipeline/probe.h"

#include <errno.h>
#include <stdlib.h>

#define WATCH_MS	   500
#define WATCH_AGAIN_MS_MAX 30000

static void service_state(struct deployment *d, struct job *job, const json_t *release,
			  struct service_state *out)
{
	const struct deployer *deployer =
		deployer_find(json_string_value(json_object_get(release, "kind")) ?: "");
	*out = (struct service_state){.unknown = true};
	if (deployer)
		deployer->state(d, job, release, false, out);
}

static int take_out(struct deployment *d, struct job *job, struct buf *why);

/* --- verify --- */

/* Is the release in place running, and on this port? */
static void look_at_former(struct deployment *d, struct job *job, uint16_t port, bool *has_port)
{
	json_t *former = d->former ? release_read(d, false) : NULL;
	struct service_state state = {.running = false};
	*has_port = false;
	if (former) {
		service_state(d, job, former, &state);
		*has_port = state.running && json_integer_value(json_object_get(former, "port")) == port;
		job_say(job, "release %u is in place and %s", d->former,
			state.running ? "runs" : "does not run");
	}
	d->former_ran = state.running;
	json_decref(former);
}

static int try_release(struct deployment *d, struct job *job, bool former_has_port, struct buf *why)
{
	uint16_t port = (uint16_t)d->spec->service.port, trial = probe_free_port(), found = 0;
	if (!trial)
		return -EADDRNOTAVAIL;
	json_t *release = release_read(d, true);
	int err = release ? d->deployer->trial_start(d, job, trial, why) : -ENOENT;
	/* One that ignores $PORT and listens where it will be deployed is found there, if that is free. */
	if (!err)
		err = probe_health(d, job, release, true, trial, former_has_port ? 0 : port, &found, why);
	if (!err)
		err = probe_cases(d, job, true, found, why);
	if (err == -EPROTO) {
		struct buf text = {0};
		buf_printf(&text, "the contract replay failed: %s", buf_cstr(why));
		buf_reset(why);
		buf_append_slice(why, buf_slice(&text));
		buf_fini(&text);
	}
	d->deployer->trial_stop(d, job);
	json_decref(release);
	return err;
}

int job_verify(struct job *job, void *context, struct buf *why)
{
	struct rollout *r = context;
	struct deployment *d = &r->deployment;
	uint16_t port = (uint16_t)r->spec->service.port;
	bool former_has_port = false;
	int err = deployment_choose(d, job, why);
	if (err)
		return err;
	job_say(job, "deployed by %s, in %s", d->deployer->word, d->directory);
	/* Of an attempt that was interrupted. */
	d->deployer->trial_stop(d, job);
	err = take_out(d, job, why);
	d->note[0] = '\0';
	if (!err)
		err = release_prepare(d, job, why);
	if (!err) {
		look_at_former(d, job, port, &former_has_port);
		if (!former_has_port && probe_port_is_taken(port)) {
			buf_printf(why,
				   "port %u of 127.0.0.1 is already taken by another program; end it or "
				   "choose another "
				   "service.port",
				   port);
			err = -EADDRINUSE;
		}
	}
	if (!err)
		err = d->deployer->build(d, job, why);
	if (!err)
		err = try_release(d, job, former_has_port, why);
	if (!err)
		err = traffic_prepare(r, job, why);
	return err;
}

/* --- deploy, healthy --- */

/* A former release of another kind gives way first. */
static void stop_other_kind(struct deployment *d, struct job *job)
{
	json_t *former = d->former_ran ? release_read(d, true) : NULL;
	const struct deployer *other =
		deployer_find(json_string_value(json_object_get(former, "kind")) ?: "");
	struct buf why = {0};
	if (other && other != d->deployer && release_number(former) == d->former &&
	    other->stop(d, job, former, &why))
		job_say(job, "release %u: %s", d->former, buf_cstr(&why));
	buf_fini(&why);
	json_decref(former);
}

int job_deploy(struct job *job, void *context, struct buf *why)
{
	struct rollout *r = context;
	struct deployment *d = &r->deployment;
	if (!d->deployer)
		return -EINVAL;
	int err = release_place(d, why);
	json_t *release = err ? NULL : release_read(d, false);
	if (!err && release_number(release) != d->number) {
		buf_printf(why, "%s/%s does not hold release %u", d->directory, d->name, d->number);
		err = -ENOENT;
	}
	if (!err) {
		stop_other_kind(d, job);
		job_say(job, "release %u is in place%s", d->number,
			d->former ? ", the former one is kept" : "");
		err = d->deployer->start(d, job, release, why);
	}
	json_decref(release);
	return err;
}

int job_healthy(struct job *job, void *context, struct buf *why)
{
	struct rollout *r = context;
	struct deployment *d = &r->deployment;
	json_t *release = release_read(d, false);
	uint16_t found;
	int err = release && d->deployer ? probe_health(d, job, release, false,
							(uint16_t)r->spec->service.port, 0, &found, why)
					 : -ENOENT;
	json_decref(release);
	return err;
}

/* --- undo --- */

static int put_former_back(struct deployment *d, struct job *job, struct buf *why)
{
	json_t *former = release_read(d, false);
	const struct deployer *deployer =
		deployer_find(json_string_value(json_object_get(former, "kind")) ?: "");
	int err = 0;
	if (deployer && d->former && release_number(former) == d->former && d->former_ran) {
		err = deployer->start(d, job, former, why);
		if (!err)
			job_say(job, "release %u runs again", d->former);
	}
	json_decref(former);
	return err;
}

/* Ends the release in place, if it is this one, and takes it out of its place. */
static int take_out(struct deployment *d, struct job *job, struct buf *why)
{
	json_t *release = release_read(d, false);
	int err = 0;
	if (release_number(release) == d->number) {
		struct service_state state;
		d->deployer->state(d, job, release, false, &state);
		if (!state.running || state.restarts) {
			job_say(job, "the service %s", state.text);
			if (!state.unknown)
				snprintf(d->note, sizeof(d->note), "the service %s", state.text);
			d->deployer->tail(d, job, release, false);
		}
		err = d->deployer->stop(d, job, release, why);
		if (!err)
			err = release_displace(d, why);
		if (!err)
			job_say(job, "release %u was taken out of place", d->number);
	}
	json_decref(release);
	return err;
}

int job_undo(struct job *job, void *context, struct buf *why)
{
	struct rollout *r = context;
	struct deployment *d = &r->deployment;
	struct buf none = {0};
	/* A verify that was killed has not told what it chose. */
	int unknown = d->deployer ? 0 : deployment_choose(d, job, &none);
	buf_fini(&none);
	if (unknown) /* nor got any further */
		return 0;
	d->deployer->trial_stop(d, job);
	int err = take_out(d, job, why);
	if (!err) { /* first the room that it took: the former one needs some when the disk is full */
		release_discard(d);
		err = put_former_back(d, job, why);
	}
	return err;
}

/* --- beside mirror, migrate and complete --- */

/* Starts it again; the pauses grow. */
static int start_again(struct rollout *r, struct job *job, const json_t *release, unsigned *pause_ms)
{
	struct buf why = {0};
	struct deployment *d = &r->watched;
	job_say(job, "the service is started again");
	int err = d->deployer->start(d, job, release, &why);
	if (err)
		job_say(job, "it cannot be started: %s", buf_cstr(&why));
	buf_fini(&why);
	int check = job_sleep(job, (int)*pause_ms);
	*pause_ms = *pause_ms * 2 > WATCH_AGAIN_MS_MAX ? WATCH_AGAIN_MS_MAX : *pause_ms * 2;
	return check;
}

int job_watch(struct job *job, void *context, struct buf *why)
{
	struct rollout *r = context;
	struct deployment *d = &r->watched;
	json_t *release = release_read(d, false);
	unsigned pause_ms = 1000;
	bool first = true, silent = false;
	int err = release && d->deployer ? 0 : -ENOENT;
	if (err)
		buf_printf(why, "the release in %s/%s is gone", d->directory, d->name);
	while (!err) {
		struct service_state state;
		bool supervise = atomic_load(&r->supervise);
		d->deployer->state(d, job, release, false, &state);
		err = job_check(job);
		if (err)
			break;
		if (state.unknown && !silent)
			job_say(job, "the service %s; it is waited for", state.text);
		silent = state.unknown;
		bool ended = !state.running && !state.unknown;
		if (ended && (supervise || (first && atomic_load(&r->may_start)))) {
			/* After a restart of the machine it is nobody's fault; when complete, users need it.
			 */
			job_say(job, "the service %s", state.text);
			err = start_again(r, job, release, &pause_ms);
		} else if (!supervise && (ended || state.restarts)) {
			buf_printf(why, "the service %s", state.text);
			d->deployer->tail(d, job, release, false);
			err = -ECHILD;
		} else {
			err = job_sleep(job, WATCH_MS);
		}
		first = false;
	}
	json_decref(release);
	return err;
}

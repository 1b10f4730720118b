/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_jobs: what a stage does that blocks. Runs on the jobs' threads: of the rollout only what is
 * constant while a job runs is read, and only its deployment is written. Each one can be done again after a
 * kill.
 */
#include "control/pipeline_internal.h"

#include "pipeline/files.h"
#include "pipeline/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define WATCH_MS	   500
#define WATCH_AGAIN_MS_MAX 30000
#define SCENARIO_FILE	   "scenario.json"
#define REPORT_FILE	   "traffic.json"
#define REPORT_BYTES_MAX   (4u << 20)

/* Only one client at a time may send marked requests, or the counts could not be held against each other. */
static pthread_mutex_t traffic_lock = PTHREAD_MUTEX_INITIALIZER;

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

/* A program of ours: beside this one (built or installed), or wherever PATH has it. */
static void find_beside(const char *name, char *out, size_t size)
{
	char self[900];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	static const char *const places[] = {"", "/../bin"};
	for (size_t i = 0; slash && i < 2; i++) {
		*slash = '\0';
		snprintf(out, size, "%s%s/%s", self, places[i], name);
		if (access(out, X_OK) == 0)
			return;
	}
	snprintf(out, size, "%s", name);
}

/* phoenixctl traffic generate ARGUMENT…, in the source's folder: OpenAPI, HAR, an access log, … */
static int generate(struct rollout *r, struct job *job, struct buf *why)
{
	struct strings argv = {0};
	char program[1024];
	char *folder = release_path(&r->deployment, true);
	json_t *item;
	size_t i;
	find_beside("phoenixctl", program, sizeof(program));
	strings_add(&argv, program);
	strings_add(&argv, "traffic");
	strings_add(&argv, "generate");
	json_array_foreach(r->spec->traffic.generate, i, item)
		strings_add(&argv, json_string_value(item) ?: "");
	if (r->admin[0]) /* samples and routes are asked of this daemon */
		strings_printf(&argv, "--admin=%s", r->admin);
	strings_printf(&argv, "--out=%s/" SCENARIO_FILE, r->work);
	int err =
		argv.failed || !folder
			? -ENOMEM
			: child_run(job, &(struct child){.argv = argv.items, .directory = folder}, NULL, why);
	free(folder);
	strings_free(&argv);
	return err;
}

/* The scenario into WORK/scenario.json; without one, nothing is sent. */
static int write_scenario(struct rollout *r, struct job *job, struct buf *why)
{
	struct deployment *d = &r->deployment;
	const struct spec *spec = r->spec;
	struct buf text = {0};
	int work = files_open_folder(r->work, false, why);
	if (work < 0)
		return work;
	int err = 0;
	files_remove(work, SCENARIO_FILE);
	if (spec->traffic.rate == 0) {
		job_say(job, "traffic.rate is 0: Phoenix sends no requests of its own");
	} else if (json_is_string(spec->traffic.scenario)) {
		err = release_read_file(d, true, json_string_value(spec->traffic.scenario), CHILD_KEPT_BYTES,
					&text, why);
	} else if (spec->traffic.generate) {
		err = generate(r, job, why);
	} else {
		json_t *scenario =
			spec->traffic.scenario ? json_incref(spec->traffic.scenario) : scenario_of(spec);
		char *dump = scenario ? json_dumps(scenario, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
		if (dump)
			buf_append_str(&text, dump);
		else
			job_say(job, "there is nothing to make requests of (no cases, no plain path): users' "
				     "own traffic is "
				     "waited for; or give traffic.scenario");
		free(dump);
		json_decref(scenario);
	}
	if (!err && text.len)
		err = files_replace(work, SCENARIO_FILE, buf_slice(&text), why);
	close(work);
	buf_fini(&text);
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
		err = write_scenario(r, job, why);
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
	if (!d->deployer) /* verify had not got so far */
		return 0;
	d->deployer->trial_stop(d, job);
	int err = take_out(d, job, why);
	if (!err)
		err = put_former_back(d, job, why);
	if (!err)
		release_discard(d);
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

/* What the client's report says, in a line; why it is a failure, if it is one. */
static int judge_round(struct rollout *r, struct job *job, int status, struct buf *said, struct buf *why)
{
	struct buf text = {0}, reason = {0};
	int work = files_open_folder(r->work, false, &reason);
	json_t *report = NULL;
	if (work >= 0 && files_read(work, REPORT_FILE, REPORT_BYTES_MAX, &text, &reason) == 0)
		report = json_loadb(text.data, text.len, 0, NULL);
	if (work >= 0)
		close(work);
	long long sent = (long long)json_integer_value(json_object_get(report, "sent"));
	long long answered = (long long)json_integer_value(json_object_get(report, "answered"));
	job_say(job, "traffic: %lld sent, %lld answered", sent, answered);
	if (status) {
		buf_printf(why, "the traffic client ended with status %d%s after %lld requests: %s", status,
			   status == 20	 ? " (a threshold was crossed)"
			   : status == 3 ? " (the scenario is wrong)"
					 : "",
			   sent, buf_cstr(said));
	} else if (sent == 0) {
		buf_append_str(why, "the traffic client sent nothing");
		status = 1;
	}
	json_decref(report);
	buf_fini(&text);
	buf_fini(&reason);
	return status ? -EPROTO : 0;
}

static int traffic_round(struct rollout *r, struct job *job, struct buf *why)
{
	struct strings argv = {0};
	struct buf said = {.max = 65536};
	int status = 0;
	char program[1024];
	find_beside("phoenix-traffic", program, sizeof(program));
	strings_add(&argv, program);
	strings_add(&argv, "run");
	strings_printf(&argv, "%s/" SCENARIO_FILE, r->work);
	strings_printf(&argv, "--url=%s", r->gateway_url);
	strings_printf(&argv, "--rate=%u", r->spec->traffic.rate);
	strings_printf(&argv, "--duration=%ums", r->spec->traffic.round_ms);
	strings_printf(&argv, "--connections=%u", r->spec->traffic.connections);
	strings_printf(&argv, "--out=%s/" REPORT_FILE, r->work);
	strings_add(&argv, "--progress=0");
	if (r->admin[0])
		strings_printf(&argv, "--reconcile=%s", r->admin);
	if (r->token_file[0] && strncmp(r->admin, "unix:", 5) != 0)
		strings_printf(&argv, "--token-file=%s", r->token_file);
	struct buf reason = {0};
	int err = argv.failed ? -ENOMEM
			      : child_run(job,
					  &(struct child){.argv = argv.items,
							  .quiet = true,
							  .kept = &said,
							  .grace_ms = 300},
					  &status, &reason);
	if (err == 0 || err == -ECHILD)
		err = judge_round(r, job, status, err ? &reason : &said, why);
	else
		buf_append_slice(why, buf_slice(&reason));
	buf_fini(&reason);
	buf_fini(&said);
	strings_free(&argv);
	return err;
}

int job_traffic(struct job *job, void *context, struct buf *why)
{
	struct rollout *r = context;
	char path[4200];
	int err = 0;
	snprintf(path, sizeof(path), "%s/" SCENARIO_FILE, r->work);
	if (access(path, R_OK))
		return 0;
	if (!r->gateway_url[0]) {
		job_say(job, "the gateway listens on no TCP address: Phoenix sends no requests of its own");
		return 0;
	}
	for (uint32_t round = 0; !err && !atomic_load(&r->traffic_finish); round++) {
		if (r->spec->traffic.rounds && round >= r->spec->traffic.rounds) {
			job_say(job, "traffic: %u rounds are over; users' own requests are waited for",
				round);
			break;
		}
		while (!err && pthread_mutex_trylock(&traffic_lock))
			err = job_sleep(job, 50);
		if (err)
			break;
		err = traffic_round(r, job, why);
		pthread_mutex_unlock(&traffic_lock);
	}
	return err;
}

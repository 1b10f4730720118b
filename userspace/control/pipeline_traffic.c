/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_traffic: the requests that a rollout makes itself. Verify writes down what is sent; beside mirror
 * and migrate a client sends it in rounds, and each round's count must be the gateway's. Runs on the jobs'
 * threads (pipeline_jobs.c).
 */
#include "control/pipeline_internal.h"

#include "pipeline/files.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define SCENARIO_FILE	 "scenario.json"
#define REPORT_FILE	 "traffic.json"
#define REPORT_BYTES_MAX (4u << 20)

/* Only one client at a time may send marked requests, or the counts could not be held against each other. */
static pthread_mutex_t traffic_lock = PTHREAD_MUTEX_INITIALIZER;

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

/* That the client is there is found out before anything is deployed, not when it is to send. */
static int check_runner(const struct spec *spec, struct job *job, struct buf *why)
{
	char *argv[] = {"k6", "version", NULL};
	struct buf reason = {0};
	if (spec->traffic.runner != TRAFFIC_K6 || spec->traffic.rate == 0)
		return 0;
	int err = child_run(job, &(struct child){.argv = argv}, NULL, &reason);
	if (err == -ENOENT)
		buf_append_str(
			why,
			"traffic.runner is \"k6\", and k6 is not installed (https://k6.io); install it, or "
			"leave traffic.runner out: phoenix-traffic sends the same scenario");
	else if (err)
		buf_append_slice(why, buf_slice(&reason));
	buf_fini(&reason);
	return err;
}

/* The scenario into WORK/scenario.json; without one, nothing is sent. */
int traffic_prepare(struct rollout *r, struct job *job, struct buf *why)
{
	struct deployment *d = &r->deployment;
	const struct spec *spec = r->spec;
	struct buf text = {0};
	int work = files_open_folder(r->work, false, why);
	if (work < 0)
		return work;
	int err = check_runner(spec, job, why);
	files_remove(work, SCENARIO_FILE);
	if (err) {
		close(work);
		return err;
	}
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

/*
 * What the client's report says, in a line; why it is a failure, if it is one. phoenix-traffic reports who
 * answered what, k6 (by way of phoenixctl) only how many it sent and how many the gateway counted.
 */
static int judge_round(struct rollout *r, struct job *job, int status, struct buf *said, struct buf *why)
{
	struct buf text = {0}, reason = {0};
	int work = files_open_folder(r->work, false, &reason);
	json_t *report = NULL;
	bool k6 = r->spec->traffic.runner == TRAFFIC_K6;
	if (work >= 0 && files_read(work, REPORT_FILE, REPORT_BYTES_MAX, &text, &reason) == 0)
		report = json_loadb(text.data, text.len, 0, NULL);
	if (work >= 0)
		close(work);
	long long sent = (long long)json_integer_value(json_object_get(report, "sent"));
	long long other = (long long)json_integer_value(json_object_get(report, k6 ? "counted" : "answered"));
	job_say(job,
		k6 ? "traffic: k6 sent %lld, the gateway counted %lld" : "traffic: %lld sent, %lld answered",
		sent, other);
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

/* The command of one round; both clients take the same options. */
static void round_command(const struct rollout *r, struct strings *argv)
{
	char program[1024];
	bool k6 = r->spec->traffic.runner == TRAFFIC_K6;
	find_beside(k6 ? "phoenixctl" : "phoenix-traffic", program, sizeof(program));
	strings_add(argv, program);
	if (k6)
		strings_add(argv, "traffic");
	strings_add(argv, "run");
	strings_printf(argv, "%s/" SCENARIO_FILE, r->work);
	strings_add(argv, k6 ? "--with=k6" : "--progress=0");
	strings_printf(argv, "--url=%s", r->gateway_url);
	strings_printf(argv, "--rate=%u", r->spec->traffic.rate);
	strings_printf(argv, "--duration=%ums", r->spec->traffic.round_ms);
	strings_printf(argv, "--connections=%u", r->spec->traffic.connections);
	strings_printf(argv, "--out=%s/" REPORT_FILE, r->work);
	if (r->admin[0])
		strings_printf(argv, "%s=%s", k6 ? "--admin" : "--reconcile", r->admin);
	if (r->token_file[0] && strncmp(r->admin, "unix:", 5) != 0)
		strings_printf(argv, "--token-file=%s", r->token_file);
}

static int traffic_round(struct rollout *r, struct job *job, struct buf *why)
{
	struct strings argv = {0};
	struct buf said = {.max = 65536}, reason = {0};
	int status = 0;
	char report[4200];
	snprintf(report, sizeof(report), "%s/" REPORT_FILE, r->work);
	unlink(report); /* of the round before: this one's or none */
	round_command(r, &argv);
	int err = argv.failed ? -ENOMEM
			      : child_run(job,
					  &(struct child){.argv = argv.items,
							  .quiet = true,
							  .kept = &said,
							  .grace_ms = 1000},
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

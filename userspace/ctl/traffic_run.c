/* SPDX-License-Identifier: Apache-2.0 */
/*
 * traffic_run: a scenario sent through the gateway.
 *
 * That is the job of phoenix-traffic, which this program becomes. With --with k6 it is k6's (if it is
 * installed): the scenario is written as a script, and k6's own count of requests is held against what the
 * gateway counted of marked ones, all routes together.
 */
#include "base/clock.h"
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/parse.h"
#include "ctl/talk.h"
#include "config_report.h"
#include "trafficgen/k6.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX	  40
#define K6_THRESHOLD_EXIT 99 /* of k6, when a threshold was crossed */
#define SETTLE_NS	  (5 * NS_PER_SEC)
#define POLL_US		  50000

extern char **environ;

/* The first address the gateway listens on, as a URL; what listens everywhere is asked here. */
static int gateway_url(struct ctl *ctl, const struct ctl_line *line, struct buf *url)
{
	json_t *status = NULL, *item;
	size_t i;
	if (line->options[OPTION_URL]) {
		buf_append_str(url, line->options[OPTION_URL]);
		return CTL_DONE;
	}
	int rc = talk_request(ctl, "traffic run", "GET", "/admin/status", NULL, &status);
	if (rc)
		return rc;
	json_array_foreach(field(status, "listen"), i, item)
	{
		const char *text = json_string_value(item) ?: "";
		const char *port = strrchr(text, ':');
		if (url->len || !port || strncmp(text, "unix:", 5) == 0)
			continue;
		struct slice host = slice_of(text, (size_t)(port - text));
		if (slice_equal(host, SLICE("0.0.0.0")))
			host = SLICE("127.0.0.1");
		else if (slice_equal(host, SLICE("[::]")))
			host = SLICE("[::1]");
		buf_printf(url, "http://%.*s%s", SLICE_ARG(host), port);
	}
	json_decref(status);
	if (url->len)
		return CTL_DONE;
	talk_error(ctl, "traffic run: the gateway listens on no TCP address; give --url");
	return CTL_FAILED;
}

struct command {
	const char *words[ARGUMENTS_MAX];
	size_t count;
};

static void add_word(struct command *command, const char *word)
{
	if (command->count + 1 < ARGUMENTS_MAX)
		command->words[command->count++] = word;
}

static void add_option(struct command *command, const struct ctl_line *line, enum ctl_option option,
		       const char *word)
{
	const char *value = line->options[option];
	if (!value)
		return;
	add_word(command, word);
	if (*value)
		add_word(command, value);
}

/* A program of ours: beside this one, else where the shell would find it. Returns only when it cannot be run.
 */
static int become(const struct ctl *ctl, struct command *command)
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);
	char *slash = len > 0 ? memrchr(path, '/', (size_t)len) : NULL;
	if (slash) {
		snprintf(slash + 1, 64, "%s", command->words[0]);
		execv(path, (char *const *)command->words);
	}
	execvp(command->words[0], (char *const *)command->words);
	talk_error(ctl, "cannot run %s: %s; it is installed beside phoenixctl", command->words[0],
		   strerror(errno));
	return CTL_FAILED;
}

static int run_phoenix(struct ctl *ctl, const struct ctl_line *line, struct buf *url)
{
	struct command command = {{"phoenix-traffic", "run", line->arguments[0], "--url", buf_cstr(url)}, 5};
	add_word(&command, "--reconcile");
	add_word(&command, ctl->admin);
	add_option(&command, line, OPTION_TOKEN_FILE, "--token-file");
	add_option(&command, line, OPTION_RATE, "--rate");
	add_option(&command, line, OPTION_DURATION, "--duration");
	add_option(&command, line, OPTION_REQUESTS, "--requests");
	add_option(&command, line, OPTION_CONNECTIONS, "--connections");
	add_option(&command, line, OPTION_OUT, "--out");
	add_option(&command, line, OPTION_OUTPUT, "-o");
	return become(ctl, &command);
}

/* --- k6 --------------------------------------------------------------------------------------------------
 */

struct k6_run {
	struct ctl *ctl;
	const struct ctl_line *line;
	char folder[64], script[96], summary[96];
	uint64_t sent, counted_before, counted;
};

/* What the command line says in place of the scenario's own load. */
static int override_load(struct ctl *ctl, const struct ctl_line *line, json_t *scenario)
{
	const char *rate = line->options[OPTION_RATE], *connections = line->options[OPTION_CONNECTIONS];
	struct buf why = {0};
	uint64_t count = 0, ms = 0;
	json_t *load = json_object_get(scenario, "load");
	if (!load && json_object_set_new(scenario, "load", json_object()) == 0)
		load = json_object_get(scenario, "load");
	if (rate && (!(atof(rate) > 0) || atof(rate) > 1e6))
		buf_printf(&why, "--rate %s is not a number above 0, at most 1000000",
			   quote(slice_str(rate)).text);
	else if (connections)
		parse_count("--connections", connections, 1, 32768, &count, &why);
	if (!why.len && line->options[OPTION_DURATION])
		parse_duration(line->options[OPTION_DURATION], &ms, &why);
	if (!why.len && line->options[OPTION_REQUESTS])
		buf_append_str(&why, "--requests is not for --with k6: give --rate and --duration");
	if (why.len) {
		talk_error(ctl, "%s", buf_cstr(&why));
		buf_fini(&why);
		return CTL_USAGE;
	}
	if (rate)
		json_object_del(load, "stages");
	if (rate)
		json_object_set_new(load, "rate", json_real(atof(rate)));
	if (count)
		json_object_set_new(load, "connections", json_integer((json_int_t)count));
	if (ms)
		json_object_set_new(load, "duration", json_sprintf("%llums", (unsigned long long)ms));
	return CTL_DONE;
}

static int write_script(struct k6_run *run)
{
	const char *file = run->line->arguments[0];
	struct ctl *ctl = run->ctl;
	json_error_t error;
	struct buf text = {0}, notes = {0};
	json_t *scenario = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
	if (!scenario) {
		talk_error(ctl, "%s:%d:%d: error: %s", file, error.line, error.column, error.text);
		return CTL_BAD_CONFIG;
	}
	int status = override_load(ctl, run->line, scenario);
	bool good = status == CTL_DONE && k6_write(scenario, &text, &notes);
	if (notes.len)
		talk_note(ctl, "%s: %.*s", file, (int)notes.len - 1, buf_cstr(&notes));
	FILE *out = good ? fopen(run->script, "w") : NULL;
	if (out) {
		good = fwrite(text.data, 1, text.len, out) == text.len;
		good = fclose(out) == 0 && good;
	}
	if (status == CTL_DONE && (!good || !out)) {
		talk_error(ctl, "cannot make a k6 script of %s", file);
		status = CTL_FAILED;
	}
	json_decref(scenario);
	buf_fini(&text);
	buf_fini(&notes);
	return status;
}

/* Marked requests that the gateway counted, wherever they went. */
static int read_counted(struct k6_run *run, uint64_t *counted)
{
	json_t *status = NULL, *route;
	size_t i;
	int rc = talk_request(run->ctl, "traffic run", "GET", "/admin/status", NULL, &status);
	*counted = field_count(status, "totals.synthetic_refused");
	json_array_foreach(field(status, "routes"), i, route) *counted +=
		field_count(route, "synthetic.requests");
	json_decref(status);
	return rc;
}

static volatile sig_atomic_t told_to_end;

static void on_end(int number)
{
	told_to_end = number;
}

/* Runs k6 to its end; its talk and its report go to stderr when stdout is for our JSON. */
static int run_script(struct k6_run *run, struct buf *url)
{
	struct buf target = {0}, summary = {0};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status = 0;
	buf_printf(&target, "TARGET=%s", buf_cstr(url));
	buf_printf(&summary, "--summary-export=%s", run->summary);
	/* Its progress is for people: megabytes of it in a log help nobody. */
	const char *words[] = {"k6",
			       "run",
			       "--no-usage-report",
			       buf_cstr(&summary),
			       "-e",
			       buf_cstr(&target),
			       run->script,
			       isatty(STDERR_FILENO) ? NULL : "--quiet",
			       NULL};
	posix_spawn_file_actions_init(&actions);
	if (run->ctl->json)
		posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	int err = posix_spawnp(&pid, "k6", &actions, NULL, (char *const *)words, environ);
	posix_spawn_file_actions_destroy(&actions);
	/* k6 ends by them, with its report; then it is our turn. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, on_end);
	while (!err && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	buf_fini(&target);
	buf_fini(&summary);
	if (err) {
		talk_error(run->ctl,
			   err == ENOENT ? "k6 is not installed (https://k6.io); without --with k6 the same "
					   "scenario runs with phoenix-traffic"
					 : "cannot run k6");
		return CTL_FAILED;
	}
	if (told_to_end) {
		talk_error(run->ctl, "ended by signal %d: nothing was compared", (int)told_to_end);
		return CTL_FAILED;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return CTL_DONE;
	if (WIFEXITED(status) && WEXITSTATUS(status) == K6_THRESHOLD_EXIT)
		return CTL_THRESHOLD;
	talk_error(run->ctl, "k6 failed with status %d",
		   WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	return CTL_FAILED;
}

/* k6's count against the gateway's, once its counters have settled. */
static int compare_counts(struct k6_run *run)
{
	json_t *summary = json_load_file(run->summary, 0, NULL);
	uint64_t deadline_ns = clock_now_ns() + SETTLE_NS;
	run->sent = field_count(summary, "metrics.http_reqs.count");
	json_decref(summary);
	if (run->sent == 0) {
		talk_error(run->ctl, "k6 sent not one request: the run shows nothing");
		return CTL_FAILED;
	}
	for (;;) {
		int status = read_counted(run, &run->counted);
		if (status)
			return status;
		run->counted -= run->counted_before;
		if (run->counted == run->sent)
			return CTL_DONE;
		if (clock_now_ns() > deadline_ns)
			break;
		usleep(POLL_US);
	}
	talk_error(run->ctl,
		   "k6 and the gateway do not agree: k6 sent %llu requests, the gateway counted %llu marked "
		   "ones",
		   (unsigned long long)run->sent, (unsigned long long)run->counted);
	return CTL_FAILED;
}

/* To stdout with -o json, and to the file of --out. */
static void report_counts(const struct k6_run *run, int compared, int status)
{
	const char *out = run->line->options[OPTION_OUT];
	json_t *json = json_pack("{s:s, s:I, s:I, s:b, s:b}", "client", "k6", "sent", (json_int_t)run->sent,
				 "counted", (json_int_t)run->counted, "equal", compared == CTL_DONE,
				 "crossed", status == CTL_THRESHOLD);
	if (run->ctl->json)
		talk_json(run->ctl, json);
	if (out && (!json || json_dump_file(json, out, JSON_COMPACT)))
		talk_error(run->ctl, "cannot write %s: %s", out, strerror(errno));
	json_decref(json);
}

static int run_k6(struct ctl *ctl, const struct ctl_line *line, struct buf *url)
{
	struct k6_run run = {.ctl = ctl, .line = line, .folder = "/tmp/phoenix-k6-XXXXXX"};
	if (!mkdtemp(run.folder)) {
		talk_error(ctl, "no temporary folder: %s", strerror(errno));
		return CTL_FAILED;
	}
	snprintf(run.script, sizeof(run.script), "%s/script.js", run.folder);
	snprintf(run.summary, sizeof(run.summary), "%s/summary.json", run.folder);
	int status = write_script(&run);
	if (status == CTL_DONE)
		status = read_counted(&run, &run.counted_before);
	if (status == CTL_DONE) {
		status = run_script(&run, url);
		if (status == CTL_DONE || status == CTL_THRESHOLD) {
			int compared = compare_counts(&run);
			status = compared ? compared : status;
			report_counts(&run, compared, status);
			if (!ctl->json && !compared)
				talk_note(ctl, "the gateway counted the same: %llu requests",
					  (unsigned long long)run.sent);
		}
	}
	unlink(run.script);
	unlink(run.summary);
	rmdir(run.folder);
	return status;
}

int run_traffic_run(struct ctl *ctl, const struct ctl_line *line)
{
	const char *with = line->options[OPTION_WITH];
	struct buf url = {0};
	if (with && strcmp(with, "k6") != 0 && strcmp(with, "phoenix-traffic") != 0) {
		talk_error(ctl, "--with must be phoenix-traffic or k6");
		return CTL_USAGE;
	}
	int status = gateway_url(ctl, line, &url);
	if (status == CTL_DONE)
		status = with && strcmp(with, "k6") == 0 ? run_k6(ctl, line, &url)
							 : run_phoenix(ctl, line, &url);
	buf_fini(&url);
	return status;
}

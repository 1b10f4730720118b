/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: see doctor.h. The frame, and what concerns the daemon and its file. */
#include "ctl/doctor.h"

#include "ctl/handlers.h"

#include <errno.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/phoenix/phoenix.json"
#define FINDING_COLUMN 21

static const char *const verdict_words[] = {"ok", "warn", "FAIL", "skipped"};
static const enum tint verdict_tints[] = {TINT_GREEN, TINT_YELLOW, TINT_RED, TINT_DIM};

void finding(struct doctor *doctor, enum verdict verdict, const char *check, const char *fix,
	     const char *format, ...)
{
	char text[600];
	struct buf clean = {0};
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	format_clean(&clean, text);
	json_array_append_new(doctor->findings,
			      json_pack("{s:s, s:s, s:s, s:s?}", "check", check, "verdict",
					verdict == VERDICT_FAIL ? "fail" : verdict_words[verdict], "finding",
					buf_cstr(&clean), "fix", fix));
	doctor->failures += verdict == VERDICT_FAIL;
	if (!doctor->ctl->json) {
		struct buf out = {0};
		struct ctl *ctl = doctor->ctl;
		tint_printf(&out, ctl->out.colour, verdict_tints[verdict], "%-8s", verdict_words[verdict]);
		size_t width = ctl->out.width ? ctl->out.width : SIZE_MAX;
		buf_printf(&out, "%-12s ", check);
		option_wrap(&out, buf_cstr(&clean), FINDING_COLUMN, FINDING_COLUMN, width);
		if (fix) {
			buf_printf(&out, "%*sfix: ", FINDING_COLUMN, "");
			option_wrap(&out, fix, FINDING_COLUMN + 5, FINDING_COLUMN + 5, width);
		}
		talk_write(ctl, &out);
	}
	buf_fini(&clean);
}

/* The daemon's process when its instance name ends in ":PID" and that is a phoenixd on this machine. */
static long daemon_pid(const json_t *status)
{
	char path[64], comm[32] = "";
	const char *colon = strrchr(field_text(status, "instance", ""), ':');
	long pid = colon ? strtol(colon + 1, NULL, 10) : 0;

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	FILE *file = pid > 0 ? fopen(path, "r") : NULL;
	if (!file)
		return 0;
	bool ours = fgets(comm, sizeof(comm), file) && strncmp(comm, "phoenixd", 8) == 0;
	fclose(file);
	return ours ? pid : 0;
}

void check_daemon(struct doctor *doctor)
{
	struct answer answer;
	int got = client_call(doctor->ctl->client, "GET", "/admin/status", NULL, NULL, CHECK_TIMEOUT_MS,
			      &answer);

	if (got == CTL_DONE) {
		const char *version = field_text(answer.json, "version", "?");
		doctor->status = json_incref(answer.json);
		doctor->pid = daemon_pid(doctor->status);
		if (strcmp(version, PHOENIX_VERSION) == 0)
			finding(doctor, VERDICT_OK, "daemon", NULL, "phoenixd %s answers: %s", version,
				field_text(answer.json, "headline", "?"));
		else
			finding(doctor, VERDICT_WARN, "daemon", "install the same version of both",
				"phoenixd is %s, phoenixctl is %s", version, PHOENIX_VERSION);
	} else {
		const char *fix =
			got == CTL_NOT_PERMITTED
				? "run as root, or give --token-file FILE for a TCP admin address"
				: "start it (phoenixd --config FILE), or name its address with --admin";
		finding(doctor, VERDICT_FAIL, "daemon", fix, "%s", buf_cstr(&answer.message));
	}
	answer_fini(&answer);
}

void check_config(struct doctor *doctor)
{
	const char *path = doctor->file;
	struct buf lines = {0};

	if (!path)
		path = field_text(doctor->status, "config.file", DEFAULT_CONFIG);
	int rc = config_load(path, &doctor->config, &lines);
	size_t count = 0;
	for (size_t i = 0; i < lines.len; i++)
		count += lines.data[i] == '\n';
	if (rc == -ENOENT || rc == -EACCES)
		finding(doctor, doctor->file || !doctor->status ? VERDICT_FAIL : VERDICT_SKIPPED, "config",
			"name the file: phoenixctl doctor FILE", "cannot read %s: %s", path, strerror(-rc));
	else if (rc < 0)
		finding(doctor, VERDICT_FAIL, "config", "phoenixctl config check FILE says each error",
			"%s is not valid: %zu message%s, the first: %.*s", path, count, count == 1 ? "" : "s",
			lines.len ? (int)strcspn(buf_cstr(&lines), "\n") : 0, buf_cstr(&lines));
	else if (count)
		finding(doctor, VERDICT_WARN, "config", "phoenixctl config check FILE says each warning",
			"%s is valid with %zu warning%s", path, count, count == 1 ? "" : "s");
	else
		finding(doctor, VERDICT_OK, "config", NULL, "%s is valid, %zu routes", path,
			doctor->config->route_count);
	if (json_is_false(field(doctor->status, "config.last_reload_successful")))
		finding(doctor, VERDICT_FAIL, "reload", "mend the file, then: phoenixctl config reload",
			"the last reload failed and the old configuration runs on: %s",
			field_text(doctor->status, "config.last_reload_error", "see the log"));
	buf_fini(&lines);
}

void check_store(struct doctor *doctor)
{
	if (!doctor->status)
		finding(doctor, VERDICT_SKIPPED, "store", NULL, "only the daemon can tell");
	else if (json_is_false(field(doctor->status, "store.ok")))
		finding(doctor, VERDICT_FAIL, "store",
			"see \"state\" in the configuration: is the path writable?",
			"the %s store does not work: %s", field_text(doctor->status, "store.kind", "?"),
			field_text(doctor->status, "store.error", "see the log"));
	else
		finding(doctor, VERDICT_OK, "store", NULL, "%s",
			field_text(doctor->status, "store.kind", "?"));
}

long doctor_process(const struct doctor *doctor, const char **whose)
{
	*whose = doctor->pid ? "the daemon" : "this shell";
	return doctor->pid ? doctor->pid : (long)getpid();
}

bool doctor_wants_fast_path(const struct doctor *doctor)
{
	return doctor->config && doctor->config->xdp.mode != XDP_MODE_OFF &&
	       doctor->config->xdp.interfaces.count;
}

static void (*const checks[])(struct doctor *) = {
#define X(function) function,
	DOCTOR_CHECKS(X)
#undef X
};

int run_doctor(struct ctl *ctl, const struct ctl_line *line)
{
	struct doctor doctor = {.ctl = ctl, .file = line->argument_count ? line->arguments[0] : NULL};
	int status = CTL_DONE;

	doctor.findings = json_array();
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](&doctor);
	if (ctl->json)
		status = talk_json(ctl, doctor.findings);
	else if (doctor.failures)
		talk_note(ctl, "%zu check%s failed", doctor.failures, doctor.failures == 1 ? "" : "s");
	if (doctor.failures)
		status = CTL_FAILED;
	json_decref(doctor.findings);
	json_decref(doctor.status);
	config_destroy(doctor.config);
	return status;
}

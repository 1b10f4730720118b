/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docker: the deployer with docker-compose: Debian's docker-compose 1.29 or the plugin `docker compose`,
 * whichever is there (the plugin first), through what both understand.
 *
 * The trial has a compose file of its own in the release's folder and a project of its own, so the container
 * in place never hears of it. In place, one service of DIRECTORY/docker-compose.yml is ours; the lines that
 * it replaced are kept in WORK until the release is final, for putting the former container back.
 */
#include "pipeline/deploy.h"
#include "pipeline/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIAL_FILE	  ".phoenix-trial.yml"
#define COMPOSE_BYTES_MAX (1u << 20)
#define ID_BYTES	  80

static const char *text_of(const json_t *release, const char *key)
{
	const char *text = json_string_value(json_object_get(release, key));
	return text ? text : "";
}

/* Quiet, output into `out`. */
static int ask(struct job *job, char *const *argv, struct buf *out, struct buf *why)
{
	out->max = CHILD_KEPT_BYTES;
	return child_run(job, &(struct child){.argv = argv, .quiet = true, .kept = out}, NULL, why);
}

/* The words that call compose; none when there is none. docker-compose is not asked: it takes a second to
 * start. */
static void compose_words(struct deployment *d, struct job *job, struct strings *argv)
{
	char *plugin[] = {"docker", "compose", "version", NULL};
	struct buf out = {0}, why = {0};
	if (d->compose == COMPOSE_UNKNOWN && ask(job, plugin, &out, &why) == 0)
		d->compose = COMPOSE_PLUGIN;
	if (d->compose == COMPOSE_UNKNOWN && child_program_exists("docker-compose"))
		d->compose = COMPOSE_STANDALONE;
	if (d->compose == COMPOSE_PLUGIN) {
		strings_add(argv, "docker");
		strings_add(argv, "compose");
	} else if (d->compose == COMPOSE_STANDALONE) {
		strings_add(argv, "docker-compose");
	}
	buf_fini(&out);
	buf_fini(&why);
}

static int docker_check(struct deployment *d, struct job *job, struct buf *why)
{
	char *version[] = {"docker", "version", "--format", "{{.Server.Version}}", NULL};
	struct buf out = {0}, reason = {0};
	int err = ask(job, version, &out, &reason);
	if (err == -ENOENT)
		buf_append_str(why, "docker is not installed (apt-get install docker.io docker-compose)");
	else if (err == -ECHILD)
		buf_append_str(why, "no Docker daemon answers (docker version); start it, or deploy with "
				    "\"kind\": \"process\"");
	else if (err)
		buf_append_slice(why, buf_slice(&reason));
	if (!err) {
		struct strings words = {0};
		compose_words(d, job, &words);
		if (words.count == 0) {
			buf_append_str(why, "neither \"docker compose\" nor docker-compose is installed "
					    "(apt-get install docker-compose)");
			err = -ENOENT;
		}
		strings_free(&words);
	}
	buf_fini(&out);
	buf_fini(&reason);
	return err;
}

/* --- the service as compose has it --- */

/* A JSON value is YAML too; "$" is doubled, or compose would fill in variables. */
static void append_value(struct buf *out, const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	for (const char *c = text ? text : "null"; *c; c++) {
		if (*c == '$')
			buf_append_char(out, '$');
		buf_append_char(out, *c);
	}
	free(text);
}

/* The lines of the service, indented by two. `context`: the folder of the code, relative to the file. */
static void append_service(struct buf *out, const json_t *release, const char *context, unsigned port,
			   bool trial)
{
	json_t *environment = json_deep_copy(json_object_get(release, "environment"));
	char text[16];
	snprintf(text, sizeof(text), "%u", port);
	json_object_set_new(environment, "PORT", json_string(text));
	bool bridge = strcmp(text_of(release, "network"), "bridge") == 0;
	if (!json_object_get(environment,
			     "HOST")) /* a published port comes in by the bridge, not by loopback */
		json_object_set_new(environment, "HOST", json_string(bridge ? "0.0.0.0" : "127.0.0.1"));
	buf_printf(out, "  %s:\n    # Written by Phoenix (release %u): changes to this service are lost.\n",
		   text_of(release, "service"), release_number(release));
	buf_printf(out, "    image: \"%s\"\n    build:\n      context: \"%s\"\n", text_of(release, "image"),
		   context);
	if (bridge)
		buf_printf(out, "    ports:\n      - \"127.0.0.1:%u:%u\"\n", port, port);
	else
		buf_append_str(out, "    network_mode: host\n");
	buf_append_str(out, "    environment: ");
	append_value(out, environment);
	if (json_is_array(json_object_get(release, "run")) &&
	    json_array_size(json_object_get(release, "run"))) {
		buf_append_str(out, "\n    command: ");
		append_value(out, json_object_get(release, "run"));
	}
	/* Process 1 gets no signal that it does not handle: a plain program would never hear SIGTERM, and be
	 * killed when the grace is over. An image of the source's own may bring a process 1 of its own. */
	if (json_is_true(json_object_get(release, "init")))
		buf_append_str(out, "\n    init: true");
	json_int_t memory_mb = json_integer_value(json_object_get(release, "memory_mb"));
	if (memory_mb)
		buf_printf(out, "\n    mem_limit: %lldm", (long long)memory_mb);
	buf_printf(out, "\n    restart: %s\n    stop_grace_period: %s\n", trial ? "\"no\"" : "unless-stopped",
		   trial ? "1s" : "5s");
	buf_printf(out, "    labels:\n      phoenix.migration: \"%s\"\n      phoenix.release: \"%u\"\n",
		   text_of(release, "id"), release_number(release));
	json_decref(environment);
}

static void project_of(const json_t *release, bool trial, char *out, size_t size)
{
	snprintf(out, size, "%s%s", text_of(release, "project"), trial ? "-trial" : "");
}

/* Its container, running or not; "" when there is none. -errno when no Docker answers. */
static int container_of_release(struct job *job, const json_t *release, bool trial, char out[ID_BYTES])
{
	char project[96], by_project[160], by_service[160];
	project_of(release, trial, project, sizeof(project));
	snprintf(by_project, sizeof(by_project), "label=com.docker.compose.project=%s", project);
	snprintf(by_service, sizeof(by_service), "label=com.docker.compose.service=%s",
		 text_of(release, "service"));
	char *argv[] = {"docker", "ps", "-a", "-q", "--filter", by_project, "--filter", by_service, NULL};
	struct buf text = {0}, why = {0};
	int err = ask(job, argv, &text, &why);
	struct slice rest = buf_slice(&text), line = {0};
	if (!err && text.len)
		slice_split(&rest, '\n', &line);
	snprintf(out, ID_BYTES, "%.*s", line.len > 70 ? 70 : (int)line.len, line.ptr ? line.ptr : "");
	buf_fini(&text);
	buf_fini(&why);
	return err;
}

/* compose -f FILE --project-directory … -p PROJECT ARGUMENT…; output goes live to the log. */
static int compose(struct deployment *d, struct job *job, const json_t *release, const char *folder,
		   const char *file, bool trial, const char *const *arguments, struct buf *why)
{
	struct strings argv = {0};
	char project[96];
	project_of(release, trial, project, sizeof(project));
	compose_words(d, job, &argv);
	if (argv.count == 0) {
		int err = job_check(job);
		buf_append_str(why, "neither \"docker compose\" nor docker-compose can be run");
		strings_free(&argv);
		return err ? err : -ENOENT;
	}
	strings_add(&argv, "-p");
	strings_add(&argv, project);
	strings_add(&argv, "-f");
	strings_printf(&argv, "%s/%s", folder, file);
	for (; *arguments; arguments++)
		strings_add(&argv, *arguments);
	int err = argv.failed ? -ENOMEM
			      : child_run(job, &(struct child){.argv = argv.items, .directory = folder}, NULL,
					  why);
	strings_free(&argv);
	return err;
}

static int docker_build(struct deployment *d, struct job *job, struct buf *why)
{
	json_t *release = release_read(d, true);
	char *folder = release_path(d, true);
	struct buf text = {0};
	int err = release && folder ? release_build(d, job, release, why) : -ENOENT;
	int fd = err ? -1 : files_open_folder(folder, false, why);
	if (!err && fd < 0)
		err = fd;
	if (!err) {
		buf_append_str(&text, "services:\n");
		append_service(&text, release, ".",
			       (unsigned)json_integer_value(json_object_get(release, "port")), true);
		err = files_replace(fd, TRIAL_FILE, buf_slice(&text), why);
	}
	if (!err) {
		const char *const arguments[] = {"build", text_of(release, "service"), NULL};
		job_say(job, "docker build of %s", text_of(release, "image"));
		err = compose(d, job, release, folder, TRIAL_FILE, true, arguments, why);
		if (err == -ECHILD) {
			struct buf sentence = {0};
			buf_printf(&sentence, "the image cannot be built: %s", buf_cstr(why));
			buf_reset(why);
			buf_append_slice(why, buf_slice(&sentence));
			buf_fini(&sentence);
		}
	}
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	free(folder);
	json_decref(release);
	return err;
}

/* Without compose, which takes a second to start: a trial is one container, and one network when it is
 * bridged. */
static void docker_trial_stop(struct deployment *d, struct job *job)
{
	/* Also when the job was told to stop: what was started must end. So it is not asked. */
	json_t *release = release_read(d, true);
	struct buf out = {0}, why = {0};
	char id[ID_BYTES], network[120], project[96];
	if (release && container_of_release(NULL, release, true, id) == 0 && id[0]) {
		char *rm[] = {"docker", "rm", "-f", "-v", id, NULL};
		ask(NULL, rm, &out, &why);
		project_of(release, true, project, sizeof(project));
		snprintf(network, sizeof(network), "%s_default", project);
		char *network_rm[] = {"docker", "network", "rm", network, NULL};
		if (strcmp(text_of(release, "network"), "bridge") == 0)
			ask(NULL, network_rm, &out, &why);
	}
	buf_fini(&out);
	buf_fini(&why);
	json_decref(release);
}

static int docker_trial_start(struct deployment *d, struct job *job, uint16_t port, struct buf *why)
{
	json_t *release = release_read(d, true);
	char *folder = release_path(d, true);
	struct buf text = {0};
	docker_trial_stop(d, job);
	int fd = release && folder ? files_open_folder(folder, false, why) : -ENOENT;
	int err = fd < 0 ? fd : 0;
	if (!err) {
		buf_append_str(&text, "services:\n");
		append_service(&text, release, ".", port, true);
		err = files_replace(fd, TRIAL_FILE, buf_slice(&text), why);
	}
	if (!err) {
		const char *const arguments[] = {"up", "-d", "--no-build", text_of(release, "service"), NULL};
		err = compose(d, job, release, folder, TRIAL_FILE, true, arguments, why);
	}
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	free(folder);
	json_decref(release);
	return err;
}

/* --- docker-compose.yml --- */

static const char *compose_file(const struct deployment *d)
{
	static const char *const names[] = {"docker-compose.yml", "docker-compose.yaml", "compose.yaml",
					    "compose.yml"};
	char path[4300];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", d->directory, names[i]);
		if (access(path, F_OK) == 0)
			return names[i];
	}
	return names[0];
}

static void former_path(const struct deployment *d, char *out, size_t size)
{
	snprintf(out, size, "compose-%u.former", d->number);
}

/* Did Phoenix write these lines? */
static bool is_ours(const char *lines)
{
	return strstr(lines, "phoenix.migration:") != NULL;
}

/* Keeps the lines that were there before this release, once. An empty file: there were none. */
static int keep_former(const struct deployment *d, const char *lines, struct buf *why)
{
	char name[64];
	former_path(d, name, sizeof(name));
	int work = files_open_folder(d->work, false, why);
	if (work < 0)
		return work;
	int err = faccessat(work, name, F_OK, 0) == 0
			  ? 0
			  : files_replace(work, name, slice_str(lines ? lines : ""), why);
	close(work);
	return err;
}

/* Puts `block` (NULL: nothing) in the place of the service. */
static int write_compose(struct deployment *d, const json_t *release, const char *block, bool keep,
			 struct buf *why)
{
	const char *name = compose_file(d), *service = text_of(release, "service");
	struct buf text = {0}, out = {0}, reason = {0};
	char *former = NULL;
	int directory = files_open_folder(d->directory, false, why);
	if (directory < 0)
		return directory;
	int err = files_read(directory, name, COMPOSE_BYTES_MAX, &text, &reason);
	bool is_new = err == -ENOENT;
	if (is_new)
		err = 0;
	if (!err)
		err = compose_splice(buf_slice(&text), service, block, &out, &former, &reason);
	if (!err && keep && former && !is_ours(former) &&
	    !json_is_true(json_object_get(release, "service_named"))) {
		buf_printf(&reason,
			   "it has a service \"%s\" that Phoenix did not write; to replace it, name it in "
			   "deploy.service, otherwise choose another id",
			   service);
		err = -EEXIST;
	}
	if (!err && keep)
		err = keep_former(d, former, &reason);
	if (!err && !block && slice_equal(slice_trim(buf_slice(&out)), SLICE("services:\n")))
		unlinkat(directory, name, 0); /* nothing else is in it */
	else if (!err && !slice_equal(buf_slice(&out), buf_slice(&text)))
		err = files_replace(directory, name, buf_slice(&out), &reason);
	if (err)
		buf_printf(why, "%s/%s: %s", d->directory, name,
			   reason.len ? buf_cstr(&reason) : strerror(-err));
	close(directory);
	free(former);
	buf_fini(&text);
	buf_fini(&out);
	buf_fini(&reason);
	return err;
}

static int compose_up(struct deployment *d, struct job *job, const json_t *release, struct buf *why)
{
	const char *const arguments[] = {"up", "-d", "--no-deps", text_of(release, "service"), NULL};
	return compose(d, job, release, d->directory, compose_file(d), false, arguments, why);
}

static int docker_start(struct deployment *d, struct job *job, const json_t *release, struct buf *why)
{
	struct buf block = {0};
	char context[96];
	snprintf(context, sizeof(context), "./%s", d->name);
	append_service(&block, release, context,
		       (unsigned)json_integer_value(json_object_get(release, "port")), false);
	/* The former one's lines are written by docker_stop of the new one. */
	bool is_new = release_number(release) == d->number;
	int err = write_compose(d, release, buf_cstr(&block), is_new, why);
	if (!err)
		err = compose_up(d, job, release, why);
	buf_fini(&block);
	return err;
}

/*
 * Ends the service's container, if there is one. By docker itself: it needs no compose file, which an earlier
 * try may have put back already, and starts in a hundredth of the time.
 */
static int remove_container(struct job *job, const json_t *release, struct buf *why)
{
	char id[ID_BYTES];
	struct buf out = {0};
	int err = container_of_release(job, release, false, id);
	if (err) {
		buf_printf(why, "the container of %s cannot be ended: no Docker daemon answers",
			   text_of(release, "service"));
		return err;
	}
	char *stop[] = {"docker", "stop", "-t", "5", id, NULL}, *rm[] = {"docker", "rm", "-f", id, NULL};
	if (id[0])
		err = ask(job, stop, &out, why);
	if (id[0] && !err)
		err = ask(job, rm, &out, why);
	buf_fini(&out);
	return err;
}

/* Ends this release's container, then puts the lines back that were there before it: each can be done again.
 */
static int docker_stop(struct deployment *d, struct job *job, const json_t *release, struct buf *why)
{
	struct buf lines = {0}, nothing = {0};
	char name[64];
	if (release_number(release) != d->number) /* a former release that gives way to a process */
		return remove_container(job, release, why);
	former_path(d, name, sizeof(name));
	int work = files_open_folder(d->work, false, why);
	if (work < 0)
		return work;
	/* Without the note nothing of this release was written: then nothing is to be taken back. */
	int err = files_read(work, name, COMPOSE_BYTES_MAX, &lines, &nothing);
	if (err == 0) {
		bool foreign = lines.len && !is_ours(buf_cstr(&lines));
		err = remove_container(job, release, why);
		if (!err)
			err = write_compose(d, release, lines.len ? buf_cstr(&lines) : NULL, false, why);
		if (!err && foreign) /* somebody else's container had its place: it comes back */
			err = compose_up(d, job, release, why);
		if (!err)
			unlinkat(work, name, 0);
	} else if (err == -ENOENT) {
		err = 0;
	}
	close(work);
	buf_fini(&lines);
	buf_fini(&nothing);
	return err;
}

/* --- how it is --- */

static void docker_state(struct deployment *d, struct job *job, const json_t *release, bool trial,
			 struct service_state *out)
{
	char id[ID_BYTES], status[32] = "";
	int code = 0;
	*out = (struct service_state){.running = false};
	if (container_of_release(job, release, trial, id)) {
		out->unknown = true;
		snprintf(out->text, sizeof(out->text), "cannot be asked about: no Docker daemon answers");
		return;
	}
	if (!id[0]) {
		snprintf(out->text, sizeof(out->text), "has no container");
		return;
	}
	char *argv[] = {"docker", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}",
			id,	  NULL};
	struct buf text = {0}, why = {0};
	if (ask(job, argv, &text, &why)) {
		out->unknown = true;
		snprintf(out->text, sizeof(out->text), "cannot be asked about: docker inspect failed");
	} else {
		sscanf(buf_cstr(&text), "%31s %d %u", status, &code, &out->restarts);
		out->running = strcmp(status, "running") == 0;
		if (out->restarts)
			snprintf(out->text, sizeof(out->text),
				 "ended by itself %u time(s) and was started again by Docker", out->restarts);
		else
			snprintf(out->text, sizeof(out->text), "is %s, exit status %d", status, code);
	}
	buf_fini(&text);
	buf_fini(&why);
}

static void docker_tail(struct deployment *d, struct job *job, const json_t *release, bool trial)
{
	char id[ID_BYTES];
	if (container_of_release(job, release, trial, id) || !id[0])
		return;
	char *argv[] = {"docker", "logs", "--tail", "20", id, NULL};
	struct buf text = {0}, why = {0};
	if (ask(job, argv, &text, &why) == 0) {
		struct slice rest = buf_slice(&text), line;
		while (rest.len && slice_split(&rest, '\n', &line)) {
			if (line.len)
				job_say(job, "service: %.*s", line.len > 300 ? 300 : (int)line.len, line.ptr);
		}
	}
	buf_fini(&text);
	buf_fini(&why);
}

const struct deployer docker_deployer = {
	.word = "docker",
	.check = docker_check,
	.build = docker_build,
	.trial_start = docker_trial_start,
	.trial_stop = docker_trial_stop,
	.start = docker_start,
	.stop = docker_stop,
	.state = docker_state,
	.tail = docker_tail,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline: the rollouts there are, and what is written down of them (pipeline.h). */
#include "control/pipeline_internal.h"

#include "base/log.h"
#include "control/value.h"
#include "pipeline/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_BYTES_MAX (1u << 20)

/* --- one rollout --- */

struct rollout *rollout_find(struct pipeline *pipeline, const char *id)
{
	if (!pipeline)
		return NULL;
	for (struct list *link = pipeline->rollouts.next; link != &pipeline->rollouts; link = link->next) {
		struct rollout *r = container_of(link, struct rollout, link);
		if (strcmp(r->id, id) == 0)
			return r;
	}
	return NULL;
}

bool rollout_is_active(const struct rollout *r)
{
	return r->stage != STAGE_COMPLETE && r->stage != STAGE_DEPLOYED && r->stage != STAGE_ROLLED_BACK;
}

struct route *rollout_route(const struct rollout *r)
{
	return registry_find(&r->pipeline->control->registry, slice_str(r->id));
}

static void append_log_file(const struct rollout *r, const struct log_line *line)
{
	char path[4200], at[CLOCK_RFC3339_SIZE];
	struct stat info;
	snprintf(path, sizeof(path), "%s/log.txt", r->work);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return;
	clock_rfc3339(line->wall_ns, at);
	if (fstat(fd, &info) == 0 && info.st_size < LOG_BYTES_MAX)
		dprintf(fd, "%s %s: %s\n", at, stage_word(line->stage), line->text);
	close(fd);
}

void rollout_say(struct rollout *r, const char *format, ...)
{
	if (!r->lines)
		r->lines = calloc(PIPELINE_LINES_MAX, sizeof(*r->lines));
	if (!r->lines)
		return;
	if (r->count == PIPELINE_LINES_MAX) {
		r->first = (r->first + 1) % PIPELINE_LINES_MAX;
		r->count--;
	}
	struct log_line *line = &r->lines[(r->first + r->count++) % PIPELINE_LINES_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(line->text, sizeof(line->text), format, args);
	va_end(args);
	line->number = ++r->next_line;
	line->wall_ns = clock_wall_ns();
	line->stage = r->stage;
	append_log_file(r, line);
}

static void rollout_end_jobs(struct rollout *r)
{
	struct job **jobs[] = {&r->job, &r->traffic, &r->watch};
	struct buf why = {0};
	for (size_t i = 0; i < 3; i++)
		job_cancel(*jobs[i]);
	for (size_t i = 0; i < 3; i++) {
		job_finish(*jobs[i], &why);
		*jobs[i] = NULL;
	}
	buf_fini(&why);
}

void rollout_destroy(struct rollout *r)
{
	rollout_end_jobs(r);
	deployment_fini(&r->deployment);
	deployment_fini(&r->watched);
	struct route *route = r->pipeline ? rollout_route(r) : NULL;
	if (route && route->deploying == r->step)
		route->deploying = NULL;
	json_decref(r->former_route);
	json_decref(r->cases);
	spec_destroy(r->spec);
	free(r->lines);
	free(r->work);
	free(r);
}

struct rollout *rollout_create(struct pipeline *pipeline, const char *id)
{
	struct rollout *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->pipeline = pipeline;
	text_copy(r->id, sizeof(r->id), slice_str(id));
	if (asprintf(&r->work, "%s/%s", pipeline->directory, r->id) < 0) {
		free(r);
		return NULL;
	}
	return r;
}

void pipeline_add(struct pipeline *pipeline, struct rollout *r)
{
	list_push_back(&pipeline->rollouts, &r->link);
	pipeline->count++;
}

static void pipeline_forget(struct pipeline *pipeline, struct rollout *r)
{
	struct buf why = {0};
	char id[80];
	text_copy(id, sizeof(id), slice_str(r->id));
	list_remove(&r->link);
	pipeline->count--;
	rollout_disclaim(r);
	rollout_destroy(r);
	int fd = files_open_folder(pipeline->directory, false, &why);
	if (fd >= 0) {
		files_remove(fd, id);
		close(fd);
	}
	buf_fini(&why);
}

/* --- the folder --- */

static char *choose_directory(const struct config *config)
{
	char *path = NULL;
	if (config->pipeline.directory)
		return strdup(config->pipeline.directory);
	const char *state = config->state.path ? config->state.path : "/var/lib/phoenix/state.json";
	const char *slash = strrchr(state, '/');
	char *absolute = NULL;
	if (state[0] != '/') { /* relative to where the daemon was started */
		char *here = getcwd(NULL, 0);
		int n = here ? asprintf(&absolute, "%s/%.*s", here, slash ? (int)(slash - state) : 1,
					slash ? state : ".")
			     : -1;
		free(here);
		if (n < 0)
			return NULL;
	}
	int n = absolute ? asprintf(&path, "%s/pipeline", absolute)
			 : asprintf(&path, "%.*s/pipeline", (int)(slash - state), state);
	free(absolute);
	return n < 0 ? NULL : path;
}

/* The folder becomes this daemon's; false when another one still works in it. */
static bool lock_directory(struct pipeline *pipeline)
{
	int fd = open(pipeline->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return false;
	}
	pipeline->lock_fd = fd;
	return true;
}

/* Reads what a former daemon wrote down, once the folder is free. No folder: nothing was ever deployed, and
 * none is made before something is. */
static void take_up(struct pipeline *pipeline)
{
	bool exists = access(pipeline->directory, F_OK) == 0;
	if (exists && !lock_directory(pipeline))
		return;
	pipeline->loaded = true;
	DIR *names = exists ? opendir(pipeline->directory) : NULL;
	struct dirent *entry;
	while (names && (entry = readdir(names)) && pipeline->count < PIPELINE_ROLLOUTS_MAX) {
		if (entry->d_name[0] != '.' && strlen(entry->d_name) <= 64)
			rollout_read(pipeline, entry->d_name);
	}
	if (names)
		closedir(names);
}

/* Told to stop, not waited for. True when all jobs have ended. */
static bool stop_jobs(struct pipeline *pipeline)
{
	bool done = true;
	for (struct list *link = pipeline->rollouts.next; link != &pipeline->rollouts; link = link->next) {
		struct rollout *r = container_of(link, struct rollout, link);
		struct job *jobs[] = {r->job, r->traffic, r->watch};
		for (size_t i = 0; i < 3; i++) {
			job_cancel(jobs[i]);
			done &= !jobs[i] || job_is_done(jobs[i]);
		}
	}
	return done;
}

/* What is written down stays as it is: the next owner goes on from there. */
static void let_go_of_all(struct pipeline *pipeline)
{
	struct list *link;
	while ((link = list_pop(&pipeline->rollouts)))
		rollout_destroy(container_of(link, struct rollout, link));
	pipeline->count = 0;
	pipeline->loaded = false;
	if (pipeline->lock_fd >= 0)
		close(pipeline->lock_fd);
	pipeline->lock_fd = -1;
}

int pipeline_create(struct control *control, struct pipeline **out, struct buf *why)
{
	struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
	if (!pipeline)
		return -ENOMEM;
	list_init(&pipeline->rollouts);
	pipeline->control = control;
	pipeline->directory = choose_directory(control->config);
	if (!pipeline->directory) {
		free(pipeline);
		return -ENOMEM;
	}
	pipeline->lock_fd = -1;
	take_up(pipeline);
	*out = pipeline;
	return 0;
}

void pipeline_destroy(struct pipeline *pipeline)
{
	if (!pipeline)
		return;
	stop_jobs(pipeline); /* all are told first, then waited for */
	let_go_of_all(pipeline);
	free(pipeline->directory);
	free(pipeline);
}

/* --- the ticking --- */

static void take_lines(struct rollout *r, struct job *job)
{
	char line[JOB_LINE_BYTES];
	for (unsigned i = 0; job && i < 64 && job_take_line(job, line); i++)
		rollout_say(r, "%s", line);
}

void pipeline_tick(struct pipeline *pipeline, struct moment now, bool let_go)
{
	if (let_go) {
		if (pipeline->loaded && stop_jobs(pipeline))
			let_go_of_all(pipeline);
		return;
	}
	if (!pipeline->loaded)
		take_up(pipeline);
	pipeline_share(pipeline, now);
	struct list *link = pipeline->rollouts.next;
	while (link != &pipeline->rollouts) {
		struct rollout *r = container_of(link, struct rollout, link);
		link = link->next;
		take_lines(r, r->job);
		take_lines(r, r->watch);
		take_lines(r, r->traffic);
		if (r->resumed && !r->stage_ns) {
			rollout_say(r, "the daemon was started again: going on with %s",
				    stage_word(r->stage));
			stage_enter(r, r->stage, now);
		}
		stage_look(r, now);
		if (r->stage == STAGE_ROLLED_BACK && r->forget)
			pipeline_forget(pipeline, r);
	}
}

/* --- what people order --- */

static uint32_t route_weight_bp(const struct route *route)
{
	return route ? route->migration.weight_bp : 0;
}

/* Everything that speaks against beginning now. */
static int may_begin(struct pipeline *pipeline, const struct spec *spec, struct buf *why)
{
	struct control *control = pipeline->control;
	struct rollout *old = rollout_find(pipeline, spec->id);
	struct route *own = registry_find(&control->registry, slice_str(spec->id));
	if (old && rollout_is_active(old)) {
		buf_printf(why, "the migration %s is under way (%s); wait for its end, or DELETE it", old->id,
			   stage_word(old->stage));
		return -EBUSY;
	}
	int err = pipeline_may_claim(pipeline, spec, why);
	if (err)
		return err;
	if (route_weight_bp(own)) {
		buf_printf(why, "the route %s sends ", spec->id);
		append_percent(why, route_weight_bp(own));
		buf_append_str(why, " of its requests to the present modern service; roll it back first");
		return -EBUSY;
	}
	size_t active = 0;
	for (struct list *link = pipeline->rollouts.next; link != &pipeline->rollouts; link = link->next) {
		struct rollout *other = container_of(link, struct rollout, link);
		active += rollout_is_active(other);
		if (other != old && other->stage != STAGE_ROLLED_BACK &&
		    other->spec->service.port == spec->service.port) {
			buf_printf(why, "service.port %u is the port of the migration %s; choose another",
				   spec->service.port, other->id);
			return -EEXIST;
		}
	}
	if (active >= PIPELINE_ACTIVE_MAX || (!old && pipeline->count >= PIPELINE_ROLLOUTS_MAX)) {
		buf_printf(why, "%zu migrations are under way and %zu known, at most %d and %d are possible",
			   active, pipeline->count, PIPELINE_ACTIVE_MAX, PIPELINE_ROLLOUTS_MAX);
		return -ENOSPC;
	}
	registry_each(&control->registry, route)
	{
		if (route != own && route_config_conflicts(route_config_of(route), spec->route)) {
			buf_printf(why, "the route %s matches the same requests; give the spec its id",
				   route_config_of(route)->id);
			return -EEXIST;
		}
	}
	const struct config_url *urls[] = {&spec->route->legacy, &spec->route->modern};
	for (size_t i = 0; i < 2; i++) {
		if (config_is_own_address(control->config, urls[i])) {
			buf_printf(why, "%s is this gateway's own address: requests would go round for ever",
				   urls[i]->text);
			return -EEXIST;
		}
	}
	return 0;
}

static int begin(struct pipeline *pipeline, struct rollout *r, bool deploy_only, const char *who,
		 struct buf *why)
{
	struct moment now = moment_now();
	char log_path[4200];
	r->number++;
	r->former = 0;
	r->former_ran = r->forget = r->traffic_over = false;
	atomic_store(&r->supervise, false);
	r->deploy_only = deploy_only;
	r->kind[0] = r->reason[0] = '\0';
	r->ended_wall_ns = 0;
	r->created_wall_ns = now.wall_ns;
	memset(r->stage_took_ms, 0, sizeof(r->stage_took_ms));
	text_copy(r->by, sizeof(r->by), slice_str(who));
	json_decref(r->cases);
	r->cases = NULL;
	snprintf(log_path, sizeof(log_path), "%s/log.txt", r->work);
	r->stage = STAGE_VERIFY;
	r->stage_wall_ns = now.wall_ns;
	int err = rollout_claim(r, why);
	if (err)
		return err;
	err = rollout_save_spec(r, why);
	if (!err)
		err = rollout_save(r, why);
	if (err) {
		rollout_disclaim(r);
		return err;
	}
	unlink(log_path);
	r->first = r->count = 0; /* as log.txt: who follows this attempt is not told of the one before */
	rollout_say(r, "attempt %u, begun by %s", r->number, who);
	stage_enter(r, STAGE_VERIFY, now);
	return 0;
}

int pipeline_submit(struct pipeline *pipeline, struct spec *spec, bool deploy_only, const char *who,
		    struct buf *why)
{
	if (!pipeline)
		return -ENOTSUP;
	if (!pipeline->loaded) {
		buf_printf(why, "another daemon still works in %s; try again", pipeline->directory);
		return -EBUSY;
	}
	int err = may_begin(pipeline, spec, why);
	if (err)
		return err;
	if (pipeline->lock_fd < 0) { /* the first of all */
		int fd = files_open_folder(pipeline->directory, true, why);
		if (fd < 0)
			return fd;
		close(fd);
		if (!lock_directory(pipeline)) {
			buf_printf(why, "another daemon works in %s; give each its own pipeline.directory",
				   pipeline->directory);
			return -EBUSY;
		}
	}
	struct rollout *r = rollout_find(pipeline, spec->id);
	bool is_new = !r;
	if (is_new) {
		r = rollout_create(pipeline, spec->id);
		if (!r)
			return -ENOMEM;
	}
	rollout_end_jobs(r); /* a complete one is still watched */
	enum stage stage = r->stage;
	struct spec *old = r->spec;
	r->spec = spec;
	err = begin(pipeline, r, deploy_only, who, why);
	if (err) {
		r->spec = old;
		r->stage = stage;
		if (is_new)
			rollout_destroy(r);
		return err;
	}
	spec_destroy(old);
	if (is_new)
		pipeline_add(pipeline, r);
	return 0;
}

int pipeline_retry(struct pipeline *pipeline, const char *id, const char *who, struct buf *why)
{
	struct rollout *r = rollout_find(pipeline, id);
	if (!r)
		return pipeline_retry_foreign(pipeline, id, why);
	if (r->stage != STAGE_ROLLED_BACK)
		return -ENOENT;
	int err = may_begin(pipeline, r->spec, why);
	return err ? err : begin(pipeline, r, r->deploy_only, who, why);
}

int pipeline_delete(struct pipeline *pipeline, const char *id, const char *who, struct buf *why)
{
	struct rollout *r = rollout_find(pipeline, id);
	if (!r)
		return pipeline_delete_foreign(pipeline, id, who, why);
	struct route *route = rollout_route(r);
	if (r->stage == STAGE_COMPLETE && route_weight_bp(route)) {
		buf_printf(why, "the service of %s answers users; roll the route back first", id);
		return -EBUSY;
	}
	struct moment now = moment_now();
	char reason[160];
	snprintf(reason, sizeof(reason), "stopped by %s", who);
	r->forget = true;
	if (r->stage == STAGE_ROLLED_BACK) {
		pipeline_forget(pipeline, r);
	} else if (r->stage != STAGE_UNDO) {
		rollout_fail(r, reason, now);
	}
	return 0;
}

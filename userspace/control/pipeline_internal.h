/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline_internal: what the files of the pipeline share (pipeline.h). */
#ifndef PHOENIX_CONTROL_PIPELINE_INTERNAL_H
#define PHOENIX_CONTROL_PIPELINE_INTERNAL_H

#include "control/pipeline.h"
#include "pipeline/deploy.h"
#include "pipeline/job.h"

#include <stdatomic.h>

/* X(NAME, word, step of the headline, help) */
#define STAGES(X)                                                                                            \
	X(VERIFY, "verify", "verifying the code", "files, build, a trial run, the contract replay")          \
	X(DEPLOY, "deploy", "putting the service in place", "the release changes places with the former")    \
	X(HEALTHY, "healthy", "waiting until it is healthy", "the service in place answers")                 \
	X(MIRROR, "mirror", "mirroring", "the route is registered, answers are compared")                    \
	X(MIGRATE, "migrate", "migrating", "the arbiter moves the weight")                                   \
	X(COMPLETE, "complete", "complete", "all requests go to the new service")                            \
	X(DEPLOYED, "deployed", "deployed", "healthy, and nothing more was asked for")                       \
	X(UNDO, "undo", "undoing", "everything is put back")                                                 \
	X(ROLLED_BACK, "rolled_back", "rolled back", "the former state is in place again")

enum stage {
#define X(name, word, step, help) STAGE_##name,
	STAGES(X)
#undef X
		STAGE_COUNT
};

struct log_line {
	uint64_t number;
	uint64_t wall_ns;
	enum stage stage;
	char text[JOB_LINE_BYTES];
};

struct rollout {
	struct list link;
	struct pipeline *pipeline;
	struct spec *spec;
	char id[80];
	char *work; /* DIRECTORY/ID */

	/* What is written down. */
	enum stage stage, failed_in;
	unsigned number; /* of the release: grows with every attempt */
	unsigned former;
	bool former_ran;
	bool deploy_only;
	bool route_made;      /* the route did not exist before */
	bool forget;	      /* undo, then forget it */
	json_t *former_route; /* the definition that was replaced; NULL: none */
	char kind[16];	      /* the deployer's word; "" = not chosen yet */
	char by[WHO_SIZE];
	char reason[REASON_SIZE * 4]; /* of the rollback */
	uint64_t created_wall_ns, stage_wall_ns, ended_wall_ns;
	uint64_t stage_took_ms[STAGE_COUNT];

	/* What is not. */
	bool resumed; /* entered by a restart of the daemon */
	uint64_t stage_ns, undo_again_ns;
	unsigned undo_tries;
	struct deployment deployment; /* used by one job at a time */
	bool has_deployment;
	struct job *job;	     /* the stage's own */
	struct job *watch, *traffic; /* beside mirror, migrate (and complete) */
	_Atomic bool traffic_finish; /* the round under way is the last */
	_Atomic bool may_start;	     /* the watch may start a service that does not run: after a restart */
	_Atomic bool supervise;	     /* complete: a service that ends is started again */
	bool traffic_over;
	struct deployment watched; /* the watch's and the traffic's own */
	char gateway_url[128], admin[160], token_file[256];
	char step[96];		/* the route's headline while it is deployed */
	struct log_line *lines; /* a ring of PIPELINE_LINES_MAX */
	size_t first, count;
	uint64_t next_line;
	json_t *cases; /* paths of the last failing examples, the smallest first */
};

struct pipeline {
	struct control *control;
	char *directory;
	int lock_fd; /* of the directory: one daemon at a time works in it; -1 = not held */
	bool loaded;
	struct list rollouts;
	size_t count;
};

/* --- pipeline.c --- */

struct rollout *rollout_find(struct pipeline *pipeline, const char *id);
bool rollout_is_active(const struct rollout *r); /* neither over nor complete */
struct route *rollout_route(const struct rollout *r);
/* A line for its log. */
void rollout_say(struct rollout *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One that is not known yet; NULL without memory. */
struct rollout *rollout_create(struct pipeline *pipeline, const char *id);
/* Its jobs are ended first. What is written down stays. */
void rollout_destroy(struct rollout *r);
void pipeline_add(struct pipeline *pipeline, struct rollout *r);

/* --- pipeline_record.c --- */

/* Writes down where it stands. What cannot be written is told, and acts all the same. */
int rollout_save(struct rollout *r, struct buf *why);
int rollout_save_spec(struct rollout *r, struct buf *why);
/* One folder of the pipeline becomes a rollout again, if it holds one. */
void rollout_read(struct pipeline *pipeline, const char *id);

/* --- pipeline_share.c: several gateways; without a shared store these do nothing --- */

/* With every tick: the records in the store say how the rollouts stand; gives way to a later run elsewhere.
 */
void pipeline_share(struct pipeline *pipeline, struct moment now);
/* Another gateway has begun it anew since; the route is not ours. */
bool rollout_is_superseded(const struct rollout *r);
/* Whatever of another gateway speaks against beginning: -EBUSY, -EEXIST, -EAGAIN (store not reachable). */
int pipeline_may_claim(struct pipeline *pipeline, const struct spec *spec, struct buf *why);
/* The run that begins becomes the one of its id, on all gateways. -EBUSY: another one was faster; -errno. */
int rollout_claim(struct rollout *r, struct buf *why);
/* Its record goes, if it is of this run. */
void rollout_disclaim(struct rollout *r);
/* As pipeline_retry() and pipeline_delete(), of another gateway's. */
int pipeline_retry_foreign(struct pipeline *pipeline, const char *id, struct buf *why);
int pipeline_delete_foreign(struct pipeline *pipeline, const char *id, const char *who, struct buf *why);
/* This gateway's name among others; NULL: there are none. */
const char *pipeline_gateway(const struct pipeline *pipeline);
json_t *pipeline_view_foreign(struct pipeline *pipeline, const char *id, uint64_t since);
/* Appends them to the list. */
void pipeline_view_foreigners(struct pipeline *pipeline, bool briefly, json_t *list);

/* --- pipeline_view.c --- */

/* Without its log. */
json_t *pipeline_view_rollout(const struct rollout *r);

/* --- pipeline_stages.c --- */

void stage_enter(struct rollout *r, enum stage stage, struct moment now);
void stage_look(struct rollout *r, struct moment now);
/* Leaves this stage for the next one. */
void stage_go_on(struct rollout *r, struct moment now);
/* The headline of its route, while its service is deployed. */
void stage_show_step(struct rollout *r);
/* rollout_save(); that it failed is told. */
void rollout_put_down(struct rollout *r);
/* The jobs' own view of it; made anew for each stage, while no job runs. 0 or -ENOMEM. */
int rollout_prepare(struct rollout *r, struct deployment *d);
/* What the job found out becomes the rollout's own; called while no job runs. */
void rollout_learn(struct rollout *r);
/* Takes a finished job's result: 1 while it runs (or there is none), else its result, with `why`. */
int rollout_collect(struct rollout *r, struct job **job, struct buf *why);
const char *stage_word(enum stage stage);
const char *stage_step(enum stage stage);
int stage_parse(const char *word, enum stage *stage);
uint32_t stage_deadline_ms(const struct rollout *r, enum stage stage); /* 0 = none */

/* --- pipeline_undo.c --- */

/* Leads to undo. */
void rollout_fail(struct rollout *r, const char *reason, struct moment now);
/* The stage `undo`, with every tick. */
void undo_look(struct rollout *r, struct moment now);

/* --- pipeline_jobs.c: what blocks; `context` is the rollout --- */

int job_verify(struct job *job, void *context, struct buf *why);
int job_deploy(struct job *job, void *context, struct buf *why);
int job_healthy(struct job *job, void *context, struct buf *why);
int job_undo(struct job *job, void *context, struct buf *why);
int job_watch(struct job *job, void *context, struct buf *why);

/* --- pipeline_traffic.c --- */

/* Writes the scenario that the traffic client sends, in verify; none when there is nothing to send. */
int traffic_prepare(struct rollout *r, struct job *job, struct buf *why);
/* Sends it in rounds, until it is told to finish. */
int job_traffic(struct job *job, void *context, struct buf *why);

/* --- pipeline_cases.c --- */

/* Writes the smallest failing example of each difference of the route as a case; remembers the paths. */
void cases_write(struct rollout *r);
/* The scenario of phoenix-traffic made of the spec; NULL when there is nothing to send. */
json_t *scenario_of(const struct spec *spec);

#endif

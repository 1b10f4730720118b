/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deploy: a service's code becomes a running service, and its predecessor comes back when that fails.
 *
 *   DIRECTORY/docker-compose.yml   one service of it is ours (docker only)
 *   DIRECTORY/NAME/                the release in place: code, Dockerfile, .phoenix.json (what it is, how it
 * runs) DIRECTORY/.NAME.next/          the release being verified; after the exchange: the former one
 *   WORK/service-N.pid, .log       a process's pid and output; trial.pid, trial.log while it is tried
 *
 * Releases change places by one rename (RENAME_EXCHANGE): at every moment each folder is one whole release,
 * and its .phoenix.json says which, so every step can be done again after a crash. Two deployers know how to
 * run a release: plain processes and docker-compose. All functions but deployment_init/fini run in a job.
 */
#ifndef PHOENIX_PIPELINE_DEPLOY_H
#define PHOENIX_PIPELINE_DEPLOY_H

#include "pipeline/child.h"
#include "pipeline/job.h"
#include "pipeline/spec.h"

#define RELEASE_FILE ".phoenix.json"

/* How a service is. */
struct service_state {
	bool running;
	bool unknown; /* nobody could be asked (no Docker): not the service's fault */
	unsigned restarts;
	char text[160]; /* "ended with status 1", "was killed by signal 9 (Killed)" */
};

struct deployment {
	const struct spec *spec; /* borrowed */
	const struct deployer *deployer;
	enum { COMPOSE_UNKNOWN, COMPOSE_PLUGIN, COMPOSE_STANDALONE } compose; /* which one there is */
	char *directory, *work; /* absolute; work is made by its owner */
	char name[80];		/* the spec's id */
	unsigned number;	/* of this release, from 1 */
	unsigned former;	/* the one in place before; 0 = none */
	bool former_ran;
	char note[200]; /* what undo found: how the service was */
};

struct deployer {
	const char *word;
	/* Is everything there? Says in one sentence what is missing. */
	int (*check)(struct deployment *d, struct job *job, struct buf *why);
	/* Builds the release in .NAME.next. */
	int (*build)(struct deployment *d, struct job *job, struct buf *why);
	/* Runs it from there on a port, beside the one in place; and ends that. */
	int (*trial_start)(struct deployment *d, struct job *job, uint16_t port, struct buf *why);
	void (*trial_stop)(struct deployment *d, struct job *job);
	/* Runs the release in NAME, described by `release`; the former one of it ends. Again is no error. */
	int (*start)(struct deployment *d, struct job *job, const json_t *release, struct buf *why);
	/* Ends it. */
	int (*stop)(struct deployment *d, struct job *job, const json_t *release, struct buf *why);
	void (*state)(struct deployment *d, struct job *job, const json_t *release, bool trial,
		      struct service_state *out);
	/* Its last lines: to the job's log. */
	void (*tail)(struct deployment *d, struct job *job, const json_t *release, bool trial);
};
extern const struct deployer process_deployer, docker_deployer;

/* `kind` AUTO is decided by deployment_choose. 0 or -ENOMEM. */
int deployment_init(struct deployment *d, const struct spec *spec, const char *directory, const char *work,
		    unsigned number);
void deployment_fini(struct deployment *d);
/* Which deployer: as the spec says; auto: docker when it answers, otherwise process. Says which. */
int deployment_choose(struct deployment *d, struct job *job, struct buf *why);
const struct deployer *deployer_find(const char *word); /* NULL when there is none */

/* --- release.c --- */

/* The code into .NAME.next, with Dockerfile and .phoenix.json; finds out about the former. */
int release_prepare(struct deployment *d, struct job *job, struct buf *why);
/* .NAME.next into place; done already is no error. */
int release_place(struct deployment *d, struct buf *why);
/* Takes it out of place again: the former comes back, or nothing is there. Done already is no error. */
int release_displace(struct deployment *d, struct buf *why);
/* Removes what was prepared and is not in place. */
void release_discard(struct deployment *d);
/* The description of the release in place (or of the next); a new reference, NULL when there is none. */
json_t *release_read(const struct deployment *d, bool next);
unsigned release_number(const json_t *release);
/* Absolute path of the folder, owned by the caller. */
char *release_path(const struct deployment *d, bool next);
/* Runs the spec's (or the language's) build program there, if there is one. */
int release_build(struct deployment *d, struct job *job, const json_t *release, struct buf *why);
/* A file of the release in place or next; see files_read(). */
int release_read_file(const struct deployment *d, bool next, const char *path, size_t max, struct buf *out,
		      struct buf *why);

/* --- template.c --- */

/* What a language needs to be built and run. Vectors are the caller's. */
struct recipe {
	enum language language;
	struct strings build, command;
	struct buf dockerfile; /* empty: the source has its own */
	bool from_template;    /* the Dockerfile is ours */
};
/* From the code in `folder`; `why` says what could not be found out. */
int recipe_make(const struct spec *spec, int folder, bool docker, struct recipe *out, struct buf *why);
void recipe_fini(struct recipe *recipe);

/* --- compose.c: docker-compose.yml as text, changed in one place only --- */

/*
 * Puts `block` (whole lines, indented by two; NULL: nothing) in the place of `service` in the text of a
 * compose file, and appends it to its services when it is not there. Everything else stays byte for byte.
 * *former gets the lines that were there (a malloc()ed text, NULL when there were none). 0, -EINVAL with
 * `why`, -ENOMEM.
 */
int compose_splice(struct slice text, const char *service, const char *block, struct buf *out, char **former,
		   struct buf *why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child: programs that the pipeline runs, without a shell: an argument vector, an environment, a folder.
 *
 * child_run() follows a program to its end: each line it prints goes to the job's log as it comes, the last
 * ones are kept for the message about its failure, and it dies with the job (also when the daemon is killed).
 * child_launch() starts a service that is to outlive the daemon: a session of its own, output to a file, its
 * pid in a file that the child itself writes before it becomes the program, so that no kill of the daemon can
 * leave a service that nobody knows.
 */
#ifndef PHOENIX_PIPELINE_CHILD_H
#define PHOENIX_PIPELINE_CHILD_H

#include "base/buf.h"
#include "pipeline/job.h"

#include <sys/types.h>

#define CHILD_KEPT_BYTES (1u << 20) /* of the output that is to be read by us */
#define CHILD_GRACE_MS	 5000
#define CHILD_LAST_LINES 10 /* of a failed program, in the message */

struct child {
	char *const *argv;	  /* argv[0] is looked for in PATH */
	char *const *environment; /* NULL: the daemon's own */
	const char *directory;	  /* NULL: the daemon's */
	const char *user;	  /* NULL: as the daemon */
	uint32_t memory_mb;	  /* limit of its data segment; 0 = none */
	bool quiet;		  /* child_run: its lines are not said */
	uint32_t grace_ms;	  /* child_run: from SIGTERM to SIGKILL; 0: CHILD_GRACE_MS */
	struct buf *kept;	  /* child_run: its stdout goes here too, whole or `failed`; may be NULL */
	const char *log_path, *pid_path; /* child_launch */
};

/*
 * 0 when it ended with status 0; -ECHILD when with another one or by a signal, with a sentence and its last
 * lines in `why`; -ECANCELED; -ETIMEDOUT; -errno when it could not be started. *status, when not NULL, is the
 * exit status, or 128 + signal. When the job is to stop the program gets SIGTERM, and SIGKILL later.
 */
int child_run(struct job *job, const struct child *child, int *status, struct buf *why);
/* Is there a program of this name in PATH? */
bool child_program_exists(const char *name);
/* PATH for what `user` (NULL: the daemon's own) is to run: the daemon's, or for somebody else, whom the
 * folders of the daemon's may not let in, the system's. */
const char *child_search_path(const char *user);
/* Starts it for good. *pid is our child: somebody must wait for it. 0 or -errno with `why`. */
int child_launch(const struct child *child, pid_t *pid, struct buf *why);

/* A NULL-terminated vector that is built piece by piece; `failed` when memory ran out. */
struct strings {
	char **items;
	size_t count, cap;
	bool failed;
};
void strings_add(struct strings *strings, const char *text);
void strings_printf(struct strings *strings, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strings_free(struct strings *strings);

#endif

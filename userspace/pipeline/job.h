/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job: one piece of work that blocks (build, deploy, send traffic), on a thread of its own.
 *
 * The control thread starts it, looks now and then whether it is done, takes the lines it says, and finishes
 * it. A job is told to stop by job_cancel(); everything it waits for also waits for that. Deadlines are the
 * job's own.
 */
#ifndef PHOENIX_PIPELINE_JOB_H
#define PHOENIX_PIPELINE_JOB_H

#include "base/buf.h"

#include <stdint.h>

#define JOB_LINE_BYTES 400
#define JOB_LINES_MAX  512  /* that wait to be taken; then the newest are counted, not kept */
#define JOB_SAID_MAX   5000 /* lines of one job; a service's endless output ends there */

struct job;

/* `run` returns 0 or -errno with a sentence in `why`. 0 or -errno. deadline_ms 0: none. */
int job_start(int (*run)(struct job *job, void *context, struct buf *why), void *context,
	      uint64_t deadline_ms, struct job **out);
void job_cancel(struct job *job);
bool job_is_done(const struct job *job);
/* The oldest line that was said, into out[JOB_LINE_BYTES]; false when there is none. Also after the end. */
bool job_take_line(struct job *job, char *out);
/* Waits for the end (job_cancel() first when that must be soon), frees, returns run's result. NULL: 0. */
int job_finish(struct job *job, struct buf *why);

/* --- from within the job --- */

/* A line for the log; control characters become spaces, what is too long is cut. NULL-safe. */
void job_say(struct job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* 0 to go on; -ECANCELED, or -ETIMEDOUT when the deadline is over. NULL: 0. */
int job_check(const struct job *job);
/* A descriptor that becomes readable when the job is to stop; -1 for NULL. */
int job_wake_fd(const struct job *job);
/* The time until the deadline, at most `most_ms`. */
int job_wait_ms(const struct job *job, int most_ms);
/* Sleeps; returns job_check(). */
int job_sleep(const struct job *job, int ms);

#endif

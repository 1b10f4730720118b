/* SPDX-License-Identifier: Apache-2.0 */
/* job: see job.h. */
#include "pipeline/job.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job {
	pthread_t thread;
	pthread_mutex_t lock;
	_Atomic bool done, cancelled;
	int wake_fd;
	uint64_t deadline_ns; /* 0 = none */
	int (*run)(struct job *job, void *context, struct buf *why);
	void *context;
	int result;
	struct buf why;
	char (*lines)[JOB_LINE_BYTES]; /* a ring */
	unsigned first, count, lost, said;
};

static void *job_main(void *argument)
{
	struct job *job = argument;
	job->result = job->run(job, job->context, &job->why);
	atomic_store_explicit(&job->done, true, memory_order_release);
	return NULL;
}

int job_start(int (*run)(struct job *job, void *context, struct buf *why), void *context,
	      uint64_t deadline_ms, struct job **out)
{
	struct job *job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->why.max = 16384;
	job->run = run;
	job->context = context;
	job->deadline_ns = deadline_ms ? clock_now_ns() + deadline_ms * NS_PER_MS : 0;
	job->lines = calloc(JOB_LINES_MAX, JOB_LINE_BYTES);
	job->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int err = !job->lines ? -ENOMEM : job->wake_fd < 0 ? -errno : 0;
	pthread_mutex_init(&job->lock, NULL);
	if (!err)
		err = -pthread_create(&job->thread, NULL, job_main, job);
	if (err) {
		if (job->wake_fd >= 0)
			close(job->wake_fd);
		pthread_mutex_destroy(&job->lock);
		free(job->lines);
		free(job);
		return err;
	}
	pthread_setname_np(job->thread, "phx-pipeline");
	*out = job;
	return 0;
}

void job_cancel(struct job *job)
{
	if (!job)
		return;
	uint64_t one = 1;
	atomic_store(&job->cancelled, true);
	ssize_t n = write(job->wake_fd, &one, sizeof(one));
	(void)n; /* it is readable already, then */
}

bool job_is_done(const struct job *job)
{
	return atomic_load_explicit(&job->done, memory_order_acquire);
}

bool job_take_line(struct job *job, char *out)
{
	pthread_mutex_lock(&job->lock);
	bool any = job->count > 0;
	if (any) {
		memcpy(out, job->lines[job->first], JOB_LINE_BYTES);
		job->first = (job->first + 1) % JOB_LINES_MAX;
		job->count--;
	} else if (job->lost) {
		snprintf(out, JOB_LINE_BYTES, "(%u lines came too fast and were not kept)", job->lost);
		job->lost = 0;
		any = true;
	}
	pthread_mutex_unlock(&job->lock);
	return any;
}

int job_finish(struct job *job, struct buf *why)
{
	if (!job)
		return 0;
	pthread_join(job->thread, NULL);
	int result = job->result;
	buf_append_slice(why, buf_slice(&job->why));
	buf_fini(&job->why);
	close(job->wake_fd);
	pthread_mutex_destroy(&job->lock);
	free(job->lines);
	free(job);
	return result;
}

void job_say(struct job *job, const char *format, ...)
{
	if (!job)
		return;
	char line[JOB_LINE_BYTES];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	for (char *c = line; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	}
	pthread_mutex_lock(&job->lock);
	if (++job->said > JOB_SAID_MAX) {
		if (job->said == JOB_SAID_MAX + 1)
			snprintf(line, sizeof(line), "(more than %d lines: the rest is not kept)",
				 JOB_SAID_MAX);
		else
			line[0] = '\0';
	}
	if (line[0] && job->count < JOB_LINES_MAX) {
		memcpy(job->lines[(job->first + job->count) % JOB_LINES_MAX], line, sizeof(line));
		job->count++;
	} else if (line[0]) {
		job->lost++;
	}
	pthread_mutex_unlock(&job->lock);
}

int job_check(const struct job *job)
{
	if (!job)
		return 0;
	if (atomic_load(&job->cancelled))
		return -ECANCELED;
	return job->deadline_ns && clock_now_ns() >= job->deadline_ns ? -ETIMEDOUT : 0;
}

int job_wake_fd(const struct job *job)
{
	return job ? job->wake_fd : -1;
}

int job_wait_ms(const struct job *job, int most_ms)
{
	if (!job || !job->deadline_ns)
		return most_ms;
	uint64_t now_ns = clock_now_ns();
	if (now_ns >= job->deadline_ns)
		return 0;
	uint64_t left_ms = (job->deadline_ns - now_ns) / NS_PER_MS + 1;
	return left_ms < (uint64_t)most_ms ? (int)left_ms : most_ms;
}

int job_sleep(const struct job *job, int ms)
{
	struct pollfd wake = {job_wake_fd(job), POLLIN, 0};
	poll(&wake, 1, job_wait_ms(job, ms));
	return job_check(job);
}

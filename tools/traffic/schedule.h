/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule: when each request of an open-loop run is due.
 *
 * A run is a row of stages; within a stage the rate goes in a straight line from one value to another (or
 * stays). Request k is due when the area under the rates has reached k: a pure function of k, so that nothing
 * drifts and a late request never moves the ones behind it.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_SCHEDULE_H
#define PHOENIX_TOOLS_TRAFFIC_SCHEDULE_H

#include "base/buf.h"

#include <stdint.h>

#define SCHEDULE_STAGES_MAX 64
#define SCHEDULE_RATE_MAX   1e6
#define SCHEDULE_TIME_MAX_S (7 * 86400.0)

struct stage {
	double from, to; /* requests a second, 0..SCHEDULE_RATE_MAX */
	double duration_s;
	double before;	 /* requests of the stages before it */
	double before_s; /* their time */
};

/* Zero-initialised has no stages. */
struct schedule {
	struct stage stages[SCHEDULE_STAGES_MAX];
	size_t count;
};

/* False when there are too many stages, or the values are out of their limits. */
bool schedule_add(struct schedule *s, double from, double to, double duration_s);
/* "50:30s" or "10-200:1m", several with commas between. 0, or -EINVAL with a sentence in `why`. */
int schedule_parse(struct schedule *s, const char *text, struct buf *why);
/* A number of requests (rounded up), and the time that all stages take. */
uint64_t schedule_total(const struct schedule *s);
double schedule_duration_s(const struct schedule *s);
/* When request k is due, after the start. k beyond the total: when the last stage ends. */
uint64_t schedule_due_ns(const struct schedule *s, uint64_t k);
/* How many requests were due at `ns` after the start, that moment included. */
uint64_t schedule_due_count(const struct schedule *s, uint64_t ns);

/* "1.5s", "200ms", "5m", "1h", or seconds without a unit; 1 ms to SCHEDULE_TIME_MAX_S. */
bool duration_parse(struct slice text, double *seconds);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report: what a run came to: the thresholds' verdict, a table for people, JSON for programs, a line on the
 * way.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_REPORT_H
#define PHOENIX_TOOLS_TRAFFIC_REPORT_H

#include "load.h"
#include "reconcile.h"

/* What was run, all borrowed. */
struct report_subject {
	const struct scenario *scenario;
	const struct load_options *options;
	const struct load_figures *figures;
	struct threshold *thresholds;
	size_t threshold_count;
	const struct reconcile *reconcile; /* NULL = nobody asked */
	bool synthetic;
	const char *target;
};

/* Fills in the thresholds' values. Returns how many were crossed. */
size_t report_judge(struct report_subject *subject);
void report_table(const struct report_subject *subject, FILE *to);
/* New reference; NULL when out of memory. */
json_t *report_json(const struct report_subject *subject);
/* How far a run is, from 0 to 1. */
double report_done(const struct load_options *options, const struct load_figures *f);
/* Appends "  12 s  600 sent  598 answered (50/s)  0 failed  p99 2.1 ms"; the rate is since the call before.
 */
void report_progress(const struct load_figures *figures, struct buf *out);

#endif

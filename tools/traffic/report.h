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
/* One line about a run that goes on: on a terminal it replaces the last one. */
void report_progress(const struct load_figures *figures, bool terminal, FILE *to);

#endif

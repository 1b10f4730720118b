/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: GET /metrics, made in pieces, so that ten thousand routes never hold up the control thread.
 *
 * Labels come from the configuration and from fixed lists only, never from requests: the number of series is
 * bounded by the number of routes. Live traffic and shadow traffic are families of their own. Every counter
 * is one thing that only grows, never a difference or a sum of what starts anew at different moments: what
 * the two paths count is told apart by the label "path", since the NIC path's counters outlive the daemon.
 * A side of a route that has served nothing has no series of its own but the plain count.
 */
#ifndef PHOENIX_CONTROL_METRICS_H
#define PHOENIX_CONTROL_METRICS_H

#include "control/control.h"
#include "control/exposition.h"

struct metrics_job {
	struct exposition exposition;
	uint32_t slot; /* the next route to be looked at */
	/* Sums over the routes, those that are no more included. */
	uint64_t outcomes[EXCHANGE_OUTCOME_COUNT];
	uint64_t not_comparable[FACTS_REASON_COUNT];
};

/* Works until `until_ns` (monotonic), or to the end; true when it is done and the text is whole. */
bool metrics_step(struct control *control, struct metrics_job *job, uint64_t until_ns);
void metrics_fini(struct metrics_job *job);
/* What is not about routes. metrics_process.c */
void metrics_process(struct control *control, struct exposition *e);
/* A route is about to go: its part of the sums stays. */
void metrics_retire(struct control *control, const struct route *route);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweep: flows that ended without a packet saying so. The programs only act when a packet comes; what should
 * happen when none comes is done here, by looking through the flow table a piece at a time.
 *
 * A flow is changed under its lock word, exactly as a program does it, but with a value of its own: what a
 * daemon that was killed left locked is told from what a program holds for a moment.
 */
#ifndef PHOENIX_DATAPLANE_SWEEP_H
#define PHOENIX_DATAPLANE_SWEEP_H

#include "dataplane/plane.h"

enum sweep_action {
	SWEEP_KEEP,
	SWEEP_CLOSE, /* idle between two requests: a FIN to the client */
	SWEEP_AGAIN, /* the FIN was sent and is not answered: once more */
	SWEEP_ABORT, /* a request is stuck: resets to both sides, and the port is free */
	SWEEP_FREE,  /* nothing more will come: the port is free */
};

struct sweep_limits {
	uint64_t idle_ns;     /* limits.idle_timeout_ms */
	uint64_t upstream_ns; /* limits.upstream_timeout_ms */
	bool closing;	      /* idle flows are closed at once: the fast path goes away */
};

/* Pure. */
enum sweep_action sweep_decide(const struct phx_flow *flow, const struct sweep_limits *limits,
			       uint64_t now_ns);

struct sweep {
	const struct plane_maps *maps;
	struct sweep_limits limits;
	int packets; /* packet_open(); < 0: resets and FINs are not sent */
	uint32_t next;
	uint64_t closed, aborted, freed, skipped;
	/* An exchange was cut; may be NULL. Called with the flow locked: only take notes. */
	void (*aborted_exchange)(void *context, const struct phx_flow *flow);
	void *context;
};
/* Looks at the next `count` flows. */
void sweep_run(struct sweep *sweep, uint32_t count, uint64_t now_ns);
/* Unlocks what a daemon that was killed held. How many there were. */
uint32_t sweep_recover(const struct plane_maps *maps);

#endif

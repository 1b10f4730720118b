/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health: is a side of a route fit to be asked?
 *
 * Two sources say no, each for itself: live requests that a side did not answer, so many in a row (it is
 * ejected for a while, by whichever worker saw the last of them), and active checks, which worker 0 makes.
 * The verdict is one bit of struct phx_policy.flags a side, which both data paths read. What it means is
 * decided where requests are dispatched: while modern is down its requests go to legacy; legacy has nobody to
 * stand in for it, so that its bit only tells.
 */
#ifndef PHOENIX_GATEWAY_HEALTH_H
#define PHOENIX_GATEWAY_HEALTH_H

#include "gateway/worker.h"

/* One side of one slot. */
struct health_side {
	atomic_uint failures;		   /* live requests in a row that were not answered */
	_Atomic uint64_t ejected_until_ns; /* 0 = not ejected */
	atomic_bool checks_fail;
	/* Worker 0's alone. */
	uint64_t identity;  /* whose health this is: endpoint and path of the checks */
	uint64_t next_ns;   /* when the next check is due */
	uint32_t bad, good; /* checks in a row */
};

struct health {
	struct health_side (*slots)[2]; /* PHX_ROUTE_SLOTS, by enum phx_side */
	atomic_uint ejected;		/* sides that are, about: 0 = surely none */
};

/* 0 or -ENOMEM. */
int health_init(struct health *health);
void health_fini(struct health *health);

/* A live request came back whole from that side, or was not answered by it. Any worker. */
static inline void health_answered(struct worker *worker, uint32_t slot, enum phx_side side)
{
	atomic_uint *failures = &worker->gateway->health->slots[slot][side].failures;
	if (atomic_load_explicit(failures, memory_order_relaxed))
		atomic_store_explicit(failures, 0, memory_order_relaxed);
}
void health_failed(struct worker *worker, const struct snapshot_route *route, enum phx_side side);

/* Is the bit set? */
static inline bool health_is_down(const struct policy *policy, uint32_t slot, enum phx_side side)
{
	return __atomic_load_n(&policy->slots[slot].flags, __ATOMIC_RELAXED) &
	       (side == PHX_MODERN ? PHX_ROUTE_MODERN_DOWN : PHX_ROUTE_LEGACY_DOWN);
}

/* Worker 0 has taken over a new set of routes: checks them from now on. */
void health_follow(struct worker *worker);
/* No more checks: worker 0 is about to leave. Idempotent. */
void health_stop(struct worker *worker);

#endif

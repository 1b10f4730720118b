/* SPDX-License-Identifier: Apache-2.0 */
/*
 * traffic: the only writer of the policy. A change of a migration becomes a weight that the data path obeys.
 *
 * Order, with the store as it may be: less for modern acts first and is stored afterwards (safety does not
 * wait for a disk; a failure to store is loud and tried again); more for modern is stored first and refused
 * when that fails, so a restart can never find less caution than there was. Weights of 0 and 10000 are
 * absolute. What was set is read back, never remembered.
 */
#ifndef PHOENIX_CONTROL_TRAFFIC_H
#define PHOENIX_CONTROL_TRAFFIC_H

#include "base/policy.h"
#include "control/state.h"

struct traffic {
	struct policy *policy; /* borrowed */
	struct state *state;   /* borrowed */
};

/* Writes everything the data path has to know about the route into its slot. */
void traffic_mount(struct traffic *traffic, const struct route *route);
void traffic_unmount(struct traffic *traffic, uint32_t slot);
/* Whose word a change is. */
enum traffic_order {
	ORDER_ARBITER, /* needs the lease where several gateways share a store */
	ORDER_PERSON,  /* acts at once even when a shared store cannot be reached, and is stored afterwards */
};
/*
 * Makes `next` the route's migration: sets its weight, step and epoch in the policy and stores it. 0 when it
 * acts; then *unsaved says whether storing it failed (why has the sentence). -errno when it was refused and
 * nothing changed; -ESTALE: another gateway was faster, `why` says who did what, and the route must follow
 * (engine_follow).
 */
int traffic_change(struct traffic *traffic, struct route *route, const struct migration *next,
		   enum traffic_order order, bool *unsaved, struct buf *why);
/* The route's migration is this from now on; somebody else has stored it. */
void traffic_follow(struct traffic *traffic, struct route *route, const struct migration *next);
/* What the data path has now. */
static inline uint32_t traffic_set_bp(const struct traffic *traffic, const struct route *route)
{
	return policy_weight_bp(traffic->policy, route->slot);
}

#endif

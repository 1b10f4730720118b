/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot: one immutable state of the routes, compiled, and who still uses it.
 *
 * A worker takes one reference and counts its own requests without atomics (struct snapshot_use); when the
 * worker has moved on and its last request on the old routes ends, it lets go. The last to let go calls
 * `release`.
 */
#ifndef PHOENIX_GATEWAY_SNAPSHOT_H
#define PHOENIX_GATEWAY_SNAPSHOT_H

#include "gateway/gateway.h"
#include "http/router.h"

#include <stdatomic.h>

struct endpoint;

struct snapshot_route {
	const struct route_config *config;
	uint32_t slot;
	uint32_t generation;
	bool safe_only;		      /* unsafe methods are not sampled */
	struct endpoint *endpoint[2]; /* by enum phx_side */
	struct slice base_path[2];
};

struct snapshot {
	atomic_uint references;
	struct router *router;
	struct snapshot_route *routes;
	size_t count;
	uint32_t *by_slot; /* PHX_ROUTE_SLOTS indices + 1; 0 = none */
	void (*release)(void *owner);
	void *owner;
};

/* A worker's hold on a snapshot. */
struct snapshot_use {
	struct snapshot *snapshot;
	uint32_t requests; /* in flight on it, shadows included */
	bool retired;	   /* the worker has a newer one */
};

/* The route of that slot and generation, or NULL. */
const struct snapshot_route *snapshot_route_of(const struct snapshot *snapshot, uint32_t slot,
					       uint32_t generation);
void snapshot_get(struct snapshot *snapshot);
void snapshot_put(struct snapshot *snapshot); /* NULL-safe */
/* NULL when out of memory. The use holds one reference. */
struct snapshot_use *snapshot_use_create(struct snapshot *snapshot);
static inline void snapshot_use_get(struct snapshot_use *use)
{
	use->requests++;
}
void snapshot_use_put(struct snapshot_use *use);
/* The worker moves on; frees the use now or with its last request. NULL-safe. */
void snapshot_use_retire(struct snapshot_use *use);

#endif

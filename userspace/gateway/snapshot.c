/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot: see snapshot.h. */
#include "gateway/snapshot.h"

#include <stdlib.h>

const struct snapshot_route *snapshot_route_of(const struct snapshot *snapshot, uint32_t slot,
					       uint32_t generation)
{
	uint32_t index = slot < PHX_ROUTE_SLOTS ? snapshot->by_slot[slot] : 0;
	const struct snapshot_route *route = index ? &snapshot->routes[index - 1] : NULL;
	return route && route->generation == generation ? route : NULL;
}

void snapshot_get(struct snapshot *snapshot)
{
	atomic_fetch_add(&snapshot->references, 1);
}

void snapshot_put(struct snapshot *snapshot)
{
	if (!snapshot || atomic_fetch_sub(&snapshot->references, 1) != 1)
		return;
	router_destroy(snapshot->router);
	free(snapshot->routes);
	free(snapshot->by_slot);
	if (snapshot->release)
		snapshot->release(snapshot->owner);
	free(snapshot);
}

struct snapshot_use *snapshot_use_create(struct snapshot *snapshot)
{
	struct snapshot_use *use = calloc(1, sizeof(*use));
	if (!use)
		return NULL;
	use->snapshot = snapshot;
	snapshot_get(snapshot);
	return use;
}

static void free_when_unused(struct snapshot_use *use)
{
	if (!use->retired || use->requests)
		return;
	snapshot_put(use->snapshot);
	free(use);
}

void snapshot_use_put(struct snapshot_use *use)
{
	use->requests--;
	free_when_unused(use);
}

void snapshot_use_retire(struct snapshot_use *use)
{
	if (!use)
		return;
	use->retired = true;
	free_when_unused(use);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share: one state for several gateways (state.store "redis"): what others, or people with redis-cli, change
 * in the store acts here, and what could not be stored is stored as soon as it can be.
 */
#ifndef PHOENIX_CONTROL_SHARE_H
#define PHOENIX_CONTROL_SHARE_H

#include "base/buf.h"
#include "io/ring.h"

#include <jansson.h>

struct control;

struct share {
	struct ring_op op; /* waits for changes */
	struct control *control;
	bool waiting;
	json_t *mentioned;  /* since the store was reached again: records that it has; else NULL */
	json_t *redefined;  /* definitions to be taken over, by id */
	uint64_t lost_told; /* of store_health.lost, how many were told */
	uint64_t refused;   /* records that could not be used, so far */
	char trouble[300];  /* why nothing can be stored; "" when it can */
};

/* The loop is told of changes. */
void share_start(struct control *control);
void share_stop(struct control *control);
/* Takes over all that has changed. */
void share_take(struct control *control);
/* Once a second. */
void share_tick(struct control *control);
/* For the status: what the store is at. A new reference. */
json_t *share_view(struct control *control);
struct exposition;
void share_metrics(struct control *control, struct exposition *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* engine_internal: what engine.c (the arbiter's decisions) and orders.c (people's) share. */
#ifndef PHOENIX_CONTROL_ENGINE_INTERNAL_H
#define PHOENIX_CONTROL_ENGINE_INTERNAL_H

#include "control/engine.h"
#include "control/ledger.h"

/* One change of a migration and what is to be said about it. */
struct move {
	const char *action; /* the ledger's word */
	const char *by, *reason;
	struct migration next;
	enum event_level level;
	const char *event; /* the event's type */
	const char *hook;  /* the webhook's event; NULL = not told */
	enum traffic_order order;
};

/* What a decision is made from. */
struct evidence {
	struct facts_view view;
	struct gateway_route_stats stats;
	struct arbiter_policy policy;
	struct arbiter_facts facts;
	struct arbiter_decision decision;
	bool decided;
};

/* Gathers and decides, and remembers nothing: what the arbiter would say now. */
void engine_assess(struct engine *engine, const struct route *route, struct moment now, struct evidence *out);
void engine_gather(struct engine *engine, struct route *route, struct moment now, struct evidence *out);
/* traffic_change(), then ledger, event, webhook. 0 or -errno (refused, nothing happened but a log line);
 * -ESTALE: the route follows the gateway that was faster. */
int engine_apply(struct engine *engine, struct route *route, const struct move *move,
		 const struct evidence *evidence, struct moment now, struct buf *why);
/* The engine's memory of the step begins anew. */
void engine_begin_step(struct engine *engine, struct route *route, struct moment now);
/* --- standing.c: migrations as values */

/* Does the migration begin without being told to? */
bool starts_by_itself(const struct route_config *config);
/* Why no sample can ever come; NULL when some can. */
const char *why_no_samples(const struct route_config *config);
/* Fresh evidence from here on. */
void migration_next_step(struct migration *migration, struct moment now);
void migration_set_weight(struct migration *migration, uint32_t weight_bp, struct moment now);
void migration_latch(struct migration *migration, const char *reason, struct moment now);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry: the routes there are, by id and by slot, and all that the control thread knows about each.
 *
 * An id keeps its slot as long as its route exists, through every reload: the slot is where its weight lies
 * in the policy. A slot that is used again, or a route that is defined anew, gets another generation, so that
 * evidence on its way is not taken for evidence about something else. Control thread only.
 */
#ifndef PHOENIX_CONTROL_REGISTRY_H
#define PHOENIX_CONTROL_REGISTRY_H

#include "base/list.h"
#include "control/definition.h"
#include "control/journal.h"
#include "control/machine.h"
#include "gateway/gateway.h"
#include "judge/arbiter.h"

#include <phoenix/flow.h>

#define LEDGER_MAX 200

struct series;
struct route_target;

/* What the engine remembers between two looks; nothing of it survives a restart. */
struct route_watch {
	struct list active; /* linked while the engine looks at it every interval */
	uint64_t next_ns;
	uint64_t step_since_ns;
	uint64_t progress_ns; /* when evidence was last seen to grow */
	uint64_t samples;     /* then */
	bool holding;
	enum arbiter_reason reason_kind; /* of the last hold that was recorded */
	bool recorded;
	char reason[REASON_SIZE]; /* what the next step waits for */
	uint64_t served[2];	  /* requests of this step by side, when last looked */
	bool seen;		  /* since then or before: the counts agreed with a weight of 0 or 100 % */
	/* After a rollback: is it true? */
	bool verify;
	bool verify_warned;
	uint64_t verify_ns;
	uint64_t verify_modern;	 /* modern-served requests counted when the window began */
	uint64_t proposals_told; /* places proposed for the ignore list when people were last told */
	bool unpublished;	 /* new evidence that other gateways were not told of */
	uint64_t published;	 /* a sum of what they were told last */
	uint64_t memory_before;	 /* samples that the gateway had no memory for, when the step began */
};

/* The route as JSON, see view.c. */
struct route_text {
	struct buf text;
	uint64_t key, made_ns;
	uint64_t changed; /* the look at all routes that last found another text than the one before */
};

struct route {
	struct list link; /* in the order they came */
	uint32_t slot, generation;
	struct definition *definition;
	bool in_file;		 /* the configuration file has a route of this id */
	bool new_in_slot;	 /* another route, or none, had this slot before */
	uint32_t file_weight_bp; /* its weight there */
	char file_print[PRINT_SIZE];
	struct migration migration;
	const char *deploying; /* the pipeline's step, borrowed; NULL: none is deploying its service */
	uint64_t revision;     /* grows with every change: the ETag */
	struct route_watch watch;
	struct journal ledger;
	struct series *series; /* NULL until there was traffic */
	uint32_t down_told;    /* which sides were down when that was last said: PHX_ROUTE_*_DOWN */
	uint64_t rollbacks_manual, rollbacks_arbiter, rollbacks_regression;
	struct route_text text;
	struct route_target *target; /* scratch while routes are replaced; NULL = it goes */
};

struct registry {
	struct list routes;
	size_t count;
	uint64_t removals; /* so far */
	struct route *by_slot[PHX_ROUTE_SLOTS];
	uint32_t generations[PHX_ROUTE_SLOTS]; /* last one used in each slot */
	struct phx_name *names; /* what each slot is used for, kept over restarts; NULL = nobody keeps it */
	uint32_t *remembered;	/* slots that had a name at the start, by id as in `table`; or NULL */
	uint32_t *table;	/* open addressing: slot + 1; 0 = free */
	uint32_t next_free;	/* where to look for a slot first */
};

int registry_init(struct registry *registry);
/*
 * From now on an id gets the slot that `names` (PHX_ROUTE_SLOTS, borrowed) has for it, and the next
 * generation; what is given out is written there. Before the first registry_add. -ENOMEM.
 */
int registry_remember(struct registry *registry, struct phx_name *names);
void registry_fini(struct registry *registry);
struct route *registry_find(const struct registry *registry, struct slice id);
/* Takes a reference to the definition. -ENOSPC when all slots are used, -EEXIST, -ENOMEM. */
int registry_add(struct registry *registry, struct definition *definition, struct route **out);
/* Frees the route. */
void registry_remove(struct registry *registry, struct route *route);
/* Swaps the definition (same id): next generation. */
void registry_redefine(struct registry *registry, struct route *route, struct definition *definition);

static inline const struct route_config *route_config_of(const struct route *route)
{
	return route->definition->config;
}

#define registry_each(registry, route)                                                                       \
	for (struct route *route = container_of((registry)->routes.next, struct route, link);                \
	     &route->link != &(registry)->routes;                                                            \
	     route = container_of(route->link.next, struct route, link))

/* The routes as the gateway wants them; each definition is a reference, let go by snapshot_owner_release. */
struct snapshot_owner {
	struct gateway_route *routes;
	struct definition **definitions;
	size_t count;
};
struct snapshot_owner *snapshot_owner_create(size_t max); /* empty; NULL when out of memory */
void snapshot_owner_add(struct snapshot_owner *owner, struct definition *definition, uint32_t slot,
			uint32_t generation);
void snapshot_owner_release(void *owner);

#endif

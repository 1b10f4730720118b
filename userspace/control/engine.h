/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine: lets migrations move. Gathers the facts of a route, asks the pure arbiter (judge/arbiter.h), does
 * what it says, writes down why.
 *
 * Routes are looked at every arbiter.interval_ms, but only those where something can have changed: with new
 * evidence, or under way above 0 %. What people order (verbs, weights) goes through here too, so everything
 * that moves a weight leaves the same traces: state, ledger, event, webhook. Control thread only; time is an
 * argument.
 */
#ifndef PHOENIX_CONTROL_ENGINE_H
#define PHOENIX_CONTROL_ENGINE_H

#include "control/events.h"
#include "control/facts.h"
#include "control/notify.h"
#include "control/traffic.h"

#define ENGINE_STALL_MS 5000 /* so long without new evidence, and at least five intervals, is "holding" */

struct moment {
	uint64_t ns;	  /* CLOCK_MONOTONIC */
	uint64_t wall_ns; /* CLOCK_REALTIME */
};
struct moment moment_now(void);

/* Who decides about routes: this gateway, another one, or nobody while they cannot hear each other. */
enum engine_role {
	ENGINE_DECIDES = 0,
	ENGINE_FOLLOWS,
	ENGINE_CUT, /* promotes nothing; rolls back on its own evidence */
};

struct tally_counts;

struct engine {
	enum engine_role role;
	/* What other gateways have seen of the route in this step, to be added; NULL: there are none. */
	void (*others)(void *context, const struct route *route, struct tally_counts *out);
	void *others_context;
	struct registry *registry;
	struct traffic traffic;
	struct state *state;
	struct facts *facts;
	struct events *events;
	struct notify *notify; /* NULL: no webhooks */
	struct store *store;
	const char *trouble; /* why nothing can be stored; "" when it can (share.h) */
	/* Counters of the data path, summed; a function, so that tests can tell it what was seen. */
	void (*route_stats)(void *context, uint32_t slot, struct gateway_route_stats *out);
	void *context;
	const char *instance, *member; /* this gateway, this process of it; "" or NULL: nobody else reads
					* what it decided */
	uint64_t decided;	       /* so far */
	struct list active;
};

void engine_init(struct engine *engine);
/* Looks at every route that is due. */
void engine_tick(struct engine *engine, struct moment now);
/*
 * The route is new here, or was defined anew: decides whether it starts by itself, and begins its step.
 * Called after facts and policy know it.
 */
void engine_adopt(struct engine *engine, struct route *route, struct moment now);
/* How a route's migration begins when nothing is stored about it. */
void migration_begin(struct migration *migration, const struct route_config *config, struct moment now);

/*
 * What a person orders. `who` as in "uid 0", `reason` may be "". 0; -EPERM when the state does not allow it
 * (409: `why` says what would be possible); -ESTALE when another gateway was faster (`why` says who did
 * what); -errno when it could not be stored (nothing changed then). On success `why` may hold a warning: it
 * acts, but could not be stored.
 */
int engine_verb(struct engine *engine, struct route *route, enum verb verb, const char *who,
		const char *reason, struct moment now, struct buf *why);
int engine_set_weight(struct engine *engine, struct route *route, uint32_t weight_bp, const char *who,
		      const char *reason, struct moment now, struct buf *why);

/*
 * Another gateway changed the route's record in the store: it acts here too, and people are told. What could
 * not be stored here before and is superseded is told as well; a rollback that the other one did not know of
 * is ordered again (follow.c).
 */
void engine_follow(struct engine *engine, struct route *route, struct moment now);

/* Looks at the route at due_ns at the latest. */
void engine_activate(struct engine *engine, struct route *route, uint64_t due_ns);
/* The evidence of the route, with what the others have seen when we decide for them. */
void engine_read_facts(struct engine *engine, const struct route *route, struct facts_view *out);

/* Other code may answer from now on, behind the same addresses: evidence about the build begins anew,
 * everywhere. */
void engine_new_build(struct engine *engine, struct route *route, struct moment now);

/* How the route stands, for all who show it. */
struct migration_view engine_view(const struct engine *engine, const struct route *route);
enum migration_state engine_state(const struct engine *engine, const struct route *route);
void engine_headline(const struct engine *engine, const struct route *route, struct buf *out);
/* The sentence beside it: what the next step waits for, or why it stopped. */
void engine_detail(const struct engine *engine, const struct route *route, struct buf *out);
/* May the verb be used now? (State and route: start needs an arbiter.) */
bool engine_allows(const struct engine *engine, const struct route *route, enum verb verb);
struct arbiter_policy engine_policy(const struct route_config *config);

#endif

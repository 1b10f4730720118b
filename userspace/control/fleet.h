/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet: this gateway among others that share its store: who decides, and on what.
 *
 * One of them leads, by a lease (store/fleet.h): its arbiter decides for all, on the sum of what all have
 * seen (tally.h). The others publish what they see and follow what it writes. A gateway that cannot reach
 * Redis is cut off: it goes on with the weights it has, promotes nothing, and rolls back by itself when its
 * own evidence says so. With the stores "file" and "memory" there is no fleet: a gateway decides for itself.
 */
#ifndef PHOENIX_CONTROL_FLEET_H
#define PHOENIX_CONTROL_FLEET_H

#include "control/engine.h"
#include "control/tally.h"
#include "store/fleet.h"

struct control;
struct exposition;

/* X(NAME, word, help) */
#define FLEET_ROLES(X)                                                                                       \
	X(ALONE, "alone", "no other gateway shares the state")                                               \
	X(LEADS, "leads", "decides for all")                                                                 \
	X(FOLLOWS, "follows", "another gateway decides")                                                     \
	X(CUT, "cut_off", "Redis is not reachable: nothing is promoted, a rollback is decided here")

enum fleet_role {
#define X(name, word, help) FLEET_##name,
	FLEET_ROLES(X)
#undef X
		FLEET_ROLE_COUNT,
};

struct fleet {
	struct fleet_link *link; /* NULL: alone */
	struct tally *tally;
	char member[FLEET_NAME_SIZE]; /* this process's name; never used again */
	enum fleet_role role;
	struct fleet_lease lease; /* as of the last tick */
	char leader_told[FLEET_NAME_SIZE];
	uint64_t joined_ns, publish_ns, number, losses;
	uint64_t reports; /* of others, taken */
};

/* Joins, where the store is shared. 0 or -errno with `why`. */
int fleet_join(struct control *control, struct buf *why);
/* Gives the lead up, when it is ours. NULL-safe parts. */
void fleet_leave(struct fleet *fleet);
/* Finds out who decides, publishes and takes in. With every turn of control, before the engine's. */
void fleet_tick(struct control *control, struct moment now);
/* For struct engine: what the others have seen of the route in this step; nothing unless we lead. */
void fleet_others(void *context, const struct route *route, struct tally_counts *out);
const char *fleet_role_word(enum fleet_role role);
/* {"role", "member", "leader", "lease_ms", "lease_left_ms", "redis_up", "members": […]}; a new reference. */
json_t *fleet_json(struct control *control);
void fleet_metrics(struct control *control, struct exposition *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: looking again and again at the state of the routes, until a goal is reached or somebody has seen
 * enough.
 *
 * It polls: one request about every half second over one kept connection, less often where the answer is
 * large. That survives a restart of the daemon by itself and never misses the present state; what happened
 * between two looks is what `events` is for.
 */
#ifndef PHOENIX_CTL_WATCH_H
#define PHOENIX_CTL_WATCH_H

#include "ctl/frame.h"
#include "ctl/talk.h"

#define LOOK_INTERVAL_MS 500u
#define LOOK_TIMEOUT_MS	 5000u

/* X(key, what it does): single keys while a terminal is watched; the footer, --help and the manual have them.
 */
#define WATCH_KEYS(X)                                                                                        \
	X("q", "quit")                                                                                       \
	X("r", "roll the chosen route back, after a question")                                               \
	X("p", "pause the chosen route, or let it go on")                                                    \
	X("up, down", "choose a route (also k and j)")

struct watch {
	struct ctl *ctl;
	const char *route;    /* NULL = all */
	const char *path;     /* of the request */
	bool show;	      /* --watch */
	char goal[32];	      /* state waited for, "" = none */
	uint64_t deadline_ns; /* of CLOCK_MONOTONIC; 0 = none */
	json_t *keys;	      /* route id -> key of the last line printed about it */
	json_t *last;	      /* the last good answer */
	uint64_t last_ns;     /* and when it came */
	struct buf why;	      /* the daemon's refusal, said when the screen is given back */
	bool away;	      /* the daemon does not answer just now */
};

/* To the end: an exit status. What was waited for is printed. */
int watch_run(struct watch *watch);

/* One look. -1: go on; otherwise the exit status to end with. */
int watch_look(struct watch *watch);
/* The routes of an answer, whether it was about one or all. New reference. */
json_t *watch_routes(const struct watch *watch, json_t *answer);
/* The same loop on a terminal. */
int watch_terminal(struct watch *watch);

#endif

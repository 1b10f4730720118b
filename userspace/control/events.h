/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events: what happened, for people and programs: kept (the last EVENTS_MAX), logged, and pushed to whoever
 * listens (SSE).
 *
 * Ids only grow, over restarts too: they begin at the wall clock in microseconds, so a client's
 * Last-Event-ID from before a restart never names an event of after it. They stay below 2^53.
 */
#ifndef PHOENIX_CONTROL_EVENTS_H
#define PHOENIX_CONTROL_EVENTS_H

#include "base/list.h"
#include "control/journal.h"

#include <stdint.h>

#define EVENTS_MAX 1024

enum event_level { EVENT_INFO, EVENT_WARN, EVENT_ALERT };

struct event_listener {
	struct list link;
	void (*on_event)(struct event_listener *listener, const json_t *event);
};

struct events {
	struct journal journal;
	struct list listeners;
	uint64_t next_id;
	uint64_t alerts; /* how many of level alert there were */
};

void events_init(struct events *events, uint64_t wall_ns);
void events_fini(struct events *events);
/*
 * Records, logs and pushes one. type: "weight", "state", "rollback", "alert", "config", …; route and data may
 * be NULL; the reference to data is taken.
 */
void events_emit(struct events *events, enum event_level level, const char *type, const char *route,
		 json_t *data, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* Those with an id above `since`, the newest `limit` of them (0 = all), as a new array. */
json_t *events_since(const struct events *events, uint64_t since, size_t limit);
void events_listen(struct events *events, struct event_listener *listener);

#endif

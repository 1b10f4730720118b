/* SPDX-License-Identifier: Apache-2.0 */
/* events: see events.h. */
#include "control/events.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
	const char *word;
	enum log_level log;
} levels[] = {
	[EVENT_INFO] = {"info", LOG_LEVEL_INFO},
	[EVENT_WARN] = {"warn", LOG_LEVEL_WARN},
	[EVENT_ALERT] = {"alert", LOG_LEVEL_ERROR},
};

void events_init(struct events *events, uint64_t wall_ns)
{
	journal_init(&events->journal, EVENTS_MAX);
	list_init(&events->listeners);
	events->next_id = wall_ns / 1000;
	events->alerts = 0;
}

void events_fini(struct events *events)
{
	journal_fini(&events->journal);
}

void events_emit(struct events *events, enum event_level level, const char *type, const char *route,
		 json_t *data, const char *format, ...)
{
	char message[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (route)
		log_line(levels[level].log, "control", "%s: %s", route, message);
	else
		log_line(levels[level].log, "control", "%s", message);
	if (level == EVENT_ALERT)
		events->alerts++;

	char at[CLOCK_RFC3339_SIZE];
	clock_rfc3339(clock_wall_ns(), at);
	json_t *event =
		json_pack("{s:I, s:s, s:s, s:s?, s:s, s:s+, s:o}", "id", (json_int_t)events->next_id++, "at",
			  at, "type", type, "route", route, "level", levels[level].word, "message", message,
			  "", "data", data ? data : json_object());
	if (!event)
		return;
	struct list *link = events->listeners.next;
	while (link != &events->listeners) {
		struct event_listener *listener = container_of(link, struct event_listener, link);
		/* A listener may unlink itself when it cannot follow. */
		link = link->next;
		listener->on_event(listener, event);
	}
	journal_add(&events->journal, event);
}

json_t *events_since(const struct events *events, uint64_t since, size_t limit)
{
	const struct journal *journal = &events->journal;
	size_t newer = 0;
	while (newer < journal->count) {
		const json_t *event = journal_at(journal, journal->count - 1 - newer);
		if ((uint64_t)json_integer_value(json_object_get(event, "id")) <= since)
			break;
		newer++;
	}
	if (newer == 0)
		return json_array();
	return journal_list(journal, limit && limit < newer ? limit : newer);
}

void events_listen(struct events *events, struct event_listener *listener)
{
	list_push_back(&events->listeners, &listener->link);
}

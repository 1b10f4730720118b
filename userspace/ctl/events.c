/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events: what happened, and with -f what happens.
 *
 * Following is a server-sent event stream that is opened again when it breaks, with the id of the last
 * event seen, so that a restart of the daemon in between loses nothing that the daemon still knows.
 */
#include "ctl/field.h"
#include "ctl/handlers.h"
#include "ctl/parse.h"
#include "ctl/sse.h"
#include "ctl/talk.h"

#include <poll.h>
#include <stdlib.h>

#define EVENTS_SHOWN 100
#define FOLLOW_SHOWN 10
#define RETRY_MS     1000
#define STREAM_PATH  "/admin/events"

struct follow {
	struct ctl *ctl;
	struct sse sse;
	bool away;
	int status; /* CTL_FAILED once stdout is gone */
};

static void screen_event(const struct ctl *ctl, const json_t *event, struct buf *out)
{
	const char *level = field_text(event, "level", "info");
	enum tint tint = strcmp(level, "alert") == 0  ? TINT_RED
			 : strcmp(level, "warn") == 0 ? TINT_YELLOW
						      : TINT_NONE;

	if (ctl->json) {
		talk_json_line(event, out);
		return;
	}
	tint_begin(out, ctl->out.colour, TINT_DIM);
	format_clean(out, field_text(event, "at", "?"));
	tint_end(out, ctl->out.colour, TINT_DIM);
	buf_append_char(out, ' ');
	tint_begin(out, ctl->out.colour, tint);
	format_clean(out, level);
	buf_append_char(out, ' ');
	format_clean(out, field_text(event, "type", "?"));
	if (field_text(event, "route", NULL)) {
		buf_append_char(out, ' ');
		format_clean(out, field_text(event, "route", ""));
	}
	buf_append_str(out, ": ");
	format_clean(out, field_text(event, "message", ""));
	tint_end(out, ctl->out.colour, tint);
	buf_append_char(out, '\n');
}

static bool on_event(void *user, const struct sse_event *event)
{
	struct follow *follow = user;
	struct buf out = {0};

	if (follow->away) {
		talk_note(follow->ctl, "daemon reachable again");
		follow->away = false;
	}
	if (strcmp(event->type, "status") == 0) /* the page's refresh, nothing that happened */
		return true;
	json_t *json = json_loads(event->data, JSON_ALLOW_NUL, NULL);
	if (!json)
		return true;
	screen_event(follow->ctl, json, &out);
	json_decref(json);
	follow->status = talk_write(follow->ctl, &out);
	return follow->status == CTL_DONE;
}

static bool on_bytes(void *user, const char *data, size_t len)
{
	struct follow *follow = user;
	return sse_feed(&follow->sse, data, len, on_event, follow);
}

static int follow_events(struct follow *follow)
{
	struct ctl *ctl = follow->ctl;

	for (;;) {
		struct buf why = {0};
		sse_restart(&follow->sse);
		int status =
			client_stream(ctl->client, STREAM_PATH, follow->sse.last_id, on_bytes, follow, &why);
		if (*ctl->interrupted) {
			buf_fini(&why);
			return CTL_DONE; /* Ctrl-C is how one stops following */
		}
		if (follow->status || status == CTL_DONE) {
			buf_fini(&why);
			return follow->status;
		}
		if (status != CTL_UNREACHABLE) {
			talk_error(ctl, "events: %s", buf_cstr(&why));
			buf_fini(&why);
			return status;
		}
		buf_fini(&why);
		if (!follow->away)
			talk_note(ctl, "daemon not reachable, retrying");
		follow->away = true;
		poll(NULL, 0, RETRY_MS);
	}
}

int run_events(struct ctl *ctl, const struct ctl_line *line)
{
	bool follow_on = line->options[OPTION_FOLLOW] != NULL;
	struct follow follow = {.ctl = ctl};
	struct buf out = {0}, why = {0};
	json_t *answer = NULL, *events, *last;
	uint64_t limit = follow_on ? FOLLOW_SHOWN : EVENTS_SHOWN;
	char path[64];

	if (line->options[OPTION_LIMIT] &&
	    parse_count("--limit", line->options[OPTION_LIMIT], 1, 100000, &limit, &why) < 0) {
		talk_error(ctl, "%s", buf_cstr(&why));
		buf_fini(&why);
		return CTL_USAGE;
	}
	snprintf(path, sizeof(path), "/admin/events?limit=%llu", (unsigned long long)limit);
	int status = talk_request(ctl, "events", "GET", path, NULL, &answer);
	if (status)
		return status;
	if (ctl->json && !follow_on) {
		status = talk_json(ctl, answer);
		json_decref(answer);
		return status;
	}
	events = field(answer, "events");
	size_t count = json_array_size(events);
	for (size_t i = count > limit ? count - limit : 0; i < count; i++)
		screen_event(ctl, json_array_get(events, i), &out);
	status = talk_write(ctl, &out);
	sse_init(&follow.sse);
	last = field(json_array_get(events, count ? count - 1 : 0), "id");
	if (json_is_integer(last))
		snprintf(follow.sse.last_id, sizeof(follow.sse.last_id), "%lld",
			 (long long)json_integer_value(last));
	json_decref(answer);
	if (status == CTL_DONE && follow_on)
		status = follow_events(&follow);
	sse_fini(&follow.sse);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sse: see sse.h. A frame is made once and shared by all who get it. */
#include "admin/sse.h"

#include "control/value.h"
#include "control/view.h"

#include <inttypes.h>
#include <stdlib.h>

struct frame {
	unsigned references;
	size_t len;
	char data[];
};

struct sse {
	struct list link; /* in admin->streams */
	struct connection *connection;
	struct event_listener listener;
	struct frame *queue[SSE_QUEUE_MAX]; /* a ring; the first one is being sent */
	unsigned first, count;
	size_t bytes;	  /* of those that wait behind the first one */
	uint64_t sent_ns; /* when something was last queued */
	uint64_t status_ns;
	bool changes;	 /* wants only the routes that changed */
	uint64_t cursor; /* since this look */
};

static struct frame *frame_create(const struct buf *text)
{
	struct frame *frame = text->failed ? NULL : malloc(sizeof(*frame) + text->len);
	if (!frame)
		return NULL;
	frame->references = 1;
	frame->len = text->len;
	memcpy(frame->data, text->data, text->len);
	return frame;
}

static void frame_put(struct frame *frame)
{
	if (frame && --frame->references == 0)
		free(frame);
}

static void send_next(struct sse *sse)
{
	struct connection *connection = sse->connection;
	if (connection->writing || sse->count == 0)
		return;
	struct frame *frame = sse->queue[sse->first];
	struct iovec piece = {frame->data, frame->len};
	connection->writing = true;
	timer_set(&connection->stream.ring->timers, &connection->timer,
		  clock_now_ns() + ADMIN_SEND_TIMEOUT_MS * NS_PER_MS);
	stream_send(&connection->stream, &piece, 1);
}

/* False when the client could not follow and was dropped. */
static bool queue_frame(struct sse *sse, struct frame *frame)
{
	if (!frame)
		return true;
	bool first = sse->count == 0;
	bool fits = sse->count < SSE_QUEUE_MAX && (first || sse->bytes + frame->len <= SSE_QUEUE_BYTES_MAX);
	if (!fits) {
		connection_close(sse->connection);
		return false;
	}
	frame->references++;
	sse->queue[(sse->first + sse->count++) % SSE_QUEUE_MAX] = frame;
	if (!first)
		sse->bytes += frame->len;
	sse->sent_ns = clock_now_ns();
	send_next(sse);
	return true;
}

static void append_event(struct buf *out, const json_t *event)
{
	char *text = json_dumps(event, JSON_WIRE);
	buf_printf(out, "id: %" PRIu64 "\nevent: %s\ndata: %s\n\n", json_get_u64(event, "id"),
		   json_get_str(event, "type"), text ? text : "{}");
	free(text);
}

static void on_event(struct event_listener *listener, const json_t *event)
{
	struct sse *sse = container_of(listener, struct sse, listener);
	struct buf text = {0};
	append_event(&text, event);
	struct frame *frame = frame_create(&text);
	buf_fini(&text);
	queue_frame(sse, frame);
	frame_put(frame);
}

void sse_start(struct connection *connection, const struct response *response)
{
	struct admin *admin = connection->admin;
	struct sse *sse = calloc(1, sizeof(*sse));
	if (!sse) {
		connection_close(connection);
		return;
	}
	sse->connection = connection;
	sse->listener.on_event = on_event;
	sse->changes = response->changes;
	sse->cursor = response->cursor;
	connection->sse = sse;
	connection->state = CONNECTION_EVENTS;
	list_push_back(&admin->streams, &sse->link);
	events_listen(&admin->control->events, &sse->listener);

	struct buf text = {0};
	response_write_head(response, true, &text);
	buf_append_str(&text, "retry: 2000\n\n");
	json_t *missed = response->since == UINT64_MAX
				 ? json_array()
				 : events_since(&admin->control->events, response->since, 0);
	size_t i;
	json_t *event;
	json_array_foreach(missed, i, event) append_event(&text, event);
	json_decref(missed);
	struct frame *frame = frame_create(&text);
	buf_fini(&text);
	if (!frame)
		connection_close(connection);
	else if (queue_frame(sse, frame))
		stream_read(&connection->stream);
	frame_put(frame);
}

void sse_sent(struct connection *connection)
{
	struct sse *sse = connection->sse;
	struct frame *frame = sse->queue[sse->first];
	sse->first = (sse->first + 1) % SSE_QUEUE_MAX;
	sse->count--;
	if (sse->count)
		sse->bytes -= sse->queue[sse->first]->len;
	frame_put(frame);
	timer_cancel(&connection->stream.ring->timers, &connection->timer);
	send_next(sse);
}

void sse_stop(struct connection *connection)
{
	struct sse *sse = connection->sse;
	if (!sse)
		return;
	/* The first frame may be the kernel's until the stream is closed: it is freed from `closed`. */
	list_remove(&sse->link);
	list_remove(&sse->listener.link);
	if (connection->state == CONNECTION_CLOSING && connection->stream.fd >= 0)
		return;
	for (unsigned i = 0; i < sse->count; i++)
		frame_put(sse->queue[(sse->first + i) % SSE_QUEUE_MAX]);
	free(sse);
	connection->sse = NULL;
}

/* *cursor: the look whose changes are wanted (0 = everything), then the one that was taken. */
static struct frame *status_frame(struct admin *admin, uint64_t *cursor)
{
	struct buf text = {0};
	buf_append_str(&text, "event: status\ndata: ");
	*cursor = view_status(admin->control, *cursor, &text);
	buf_append_str(&text, "\n\n");
	struct frame *frame = frame_create(&text);
	buf_fini(&text);
	return frame;
}

void sse_beat(struct admin *admin)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t status_ns =
		(admin->control->registry.count > SSE_ROUTES_MANY ? SSE_STATUS_SLOW_MS : SSE_STATUS_MS) *
		NS_PER_MS;
	struct frame *status = NULL, *beat = NULL;
	struct list *link = admin->streams.next;
	while (link != &admin->streams) {
		struct sse *sse = container_of(link, struct sse, link);
		link = link->next;
		/* A client that is still busy with older frames does not need a newer status on top. */
		if (sse->count == 0 && now_ns >= sse->status_ns + status_ns) {
			uint64_t cursor = 0;
			struct frame *own = sse->changes ? status_frame(admin, &sse->cursor) : NULL;
			if (!sse->changes && !status)
				status = status_frame(admin, &cursor);
			sse->status_ns = now_ns;
			bool there = queue_frame(sse, sse->changes ? own : status);
			frame_put(own);
			if (!there)
				continue;
		}
		if (now_ns >= sse->sent_ns + SSE_BEAT_MS * NS_PER_MS) {
			if (!beat) {
				struct buf text = {0};
				buf_append_str(&text, ": still here\n\n");
				beat = frame_create(&text);
				buf_fini(&text);
			}
			queue_frame(sse, beat);
		}
	}
	frame_put(status);
	frame_put(beat);
}

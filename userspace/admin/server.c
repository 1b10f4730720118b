/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server: connections of the admin interface (server.h).
 *
 * One request at a time: nothing is read while an answer is being sent, so a client that pipelines fills the
 * socket and not our memory. The hard part is refusing politely: an answer before the request was read whole
 * would be lost to a reset, so what still comes is read away first (up to a limit), or after our half-close.
 */
#include "admin/server.h"

#include "admin/api.h"
#include "admin/sse.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define LINGER_MS	 2000
#define LINGER_BYTES_MAX (1u << 20)

static void process(struct connection *connection);

static void deadline(struct connection *connection, uint64_t ms)
{
	timer_set(&connection->stream.ring->timers, &connection->timer, clock_now_ns() + ms * NS_PER_MS);
}

void connection_close(struct connection *connection)
{
	if (connection->state == CONNECTION_CLOSING)
		return;
	connection->state = CONNECTION_CLOSING;
	timer_cancel(&connection->stream.ring->timers, &connection->timer);
	sse_stop(connection);
	list_remove(&connection->scrape_link);
	stream_close(&connection->stream, false);
}

static void on_closed(struct stream *stream)
{
	struct connection *connection = container_of(stream, struct connection, stream);
	timer_cancel(&stream->ring->timers, &connection->timer);
	sse_stop(connection);
	scrape_stop(connection);
	list_remove(&connection->link);
	connection->admin->connection_count--;
	http_body_fini(&connection->body);
	buf_fini(&connection->in);
	buf_fini(&connection->content);
	buf_fini(&connection->out);
	free(connection->out_body);
	free(connection);
}

void connection_send(struct connection *connection)
{
	if (connection->out.failed) {
		connection_close(connection);
		return;
	}
	const char *content = connection->out_body ? connection->out_body : connection->out_static;
	struct iovec pieces[2] = {
		{connection->out.data, connection->out.len},
		{(char *)(uintptr_t)content, content ? connection->out_body_bytes : 0},
	};
	connection->writing = true;
	deadline(connection, ADMIN_SEND_TIMEOUT_MS);
	stream_send(&connection->stream, pieces, 2);
}

void connection_answer(struct connection *connection, struct response *response)
{
	const struct http_head *head = &connection->head;
	bool is_head = connection->in.data && head->scan.state == PHX_AT_DONE &&
		       slice_equal(http_head_method(head, connection->in.data), SLICE("HEAD"));
	connection->state = CONNECTION_SEND;
	buf_reset(&connection->out);
	response_write_head(response, connection->close_after, &connection->out);
	connection->out_body = response->body;
	connection->out_static = response->body_static;
	connection->out_body_bytes = response->body_bytes;
	if (is_head) {
		free(connection->out_body);
		connection->out_body = NULL;
		connection->out_static = NULL;
	}
	connection_send(connection);
}

/* Refuses what was not read whole: answer, half-close, read away what still comes. */
static void refuse(struct connection *connection, int status, const char *detail)
{
	struct response response = {0};
	connection->close_after = true;
	respond_problem(&response, status, detail, NULL);
	connection_answer(connection, &response);
}

static void request_done(struct connection *connection)
{
	struct response response = {0};
	const struct phx_head *scan = &connection->head.scan;
	connection->close_after =
		(scan->flags & PHX_HEAD_CLOSE) || scan->minor == 0 || connection->admin->closing;
	api_dispatch(connection, &response);
	if (response.stream && scan->method != PHX_METHOD_HEAD)
		sse_start(connection, &response);
	else if (response.scrape)
		scrape_start(&connection->admin->scrape, connection);
	else
		connection_answer(connection, &response);
}

/* Makes ready for the next request; bytes behind this one stay. */
static void next_request(struct connection *connection)
{
	struct buf *in = &connection->in;
	memmove(in->data, in->data + connection->head_bytes, in->len - connection->head_bytes);
	in->len -= connection->head_bytes;
	connection->head_bytes = 0;
	http_head_init(&connection->head, 0, ADMIN_FIELDS_MAX);
	http_body_fini(&connection->body);
	buf_reset(&connection->content);
	connection->discarded_bytes = 0;
	connection->continue_sent = false;
	connection->state = CONNECTION_HEAD;
	deadline(connection, in->len ? ADMIN_HEAD_TIMEOUT_MS : ADMIN_IDLE_TIMEOUT_MS);
	process(connection);
}

/* Returns true when there is more to do at once. */
static bool take_head(struct connection *connection)
{
	struct buf *in = &connection->in;
	if (in->len == 0) {
		stream_read(&connection->stream);
		return false;
	}
	size_t len = in->len < ADMIN_HEAD_BYTES_MAX ? in->len : ADMIN_HEAD_BYTES_MAX;
	enum http_parse_result result = http_head_parse(&connection->head, in->data, len);
	if (result == HTTP_PARSE_MORE && in->len < ADMIN_HEAD_BYTES_MAX) {
		stream_read(&connection->stream);
		return false;
	}
	if (result == HTTP_PARSE_MORE) {
		refuse(connection, 431, "the request head has more than 16384 bytes");
		return false;
	}
	if (result != HTTP_PARSE_DONE) {
		int status = http_refusal_status(&connection->head, result);
		refuse(connection, status, http_refusal_help(&connection->head, result));
		return false;
	}
	connection->head_bytes = connection->head.scan.pos;
	http_body_of_request(&connection->body, &connection->head);
	bool long_body = (connection->head.scan.flags & PHX_HEAD_HAS_LENGTH) &&
			 connection->head.scan.content_length > ADMIN_BODY_BYTES_MAX;
	connection->state = long_body ? CONNECTION_DISCARD : CONNECTION_BODY;
	deadline(connection, ADMIN_BODY_TIMEOUT_MS);
	return true;
}

static void send_continue(struct connection *connection)
{
	connection->continue_sent = true;
	connection->writing = true;
	struct iovec piece = {(char *)(uintptr_t) "HTTP/1.1 100 Continue\r\n\r\n", 25};
	stream_send(&connection->stream, &piece, 1);
}

static void take_body(struct connection *connection)
{
	struct buf *in = &connection->in;
	char *data = in->data + connection->head_bytes;
	size_t len = in->len - connection->head_bytes, consumed = 0, produced = 0;
	enum http_body_result result = http_body_read(&connection->body, data, len, &consumed, &produced);
	if (connection->state == CONNECTION_BODY && connection->content.len + produced > ADMIN_BODY_BYTES_MAX)
		connection->state = CONNECTION_DISCARD;
	if (connection->state == CONNECTION_BODY)
		buf_append(&connection->content, data, produced);
	connection->discarded_bytes += produced;
	memmove(data, data + consumed, len - consumed);
	in->len -= consumed;
	if (result == HTTP_BODY_REFUSED) {
		refuse(connection, 400, connection->body.why);
	} else if (result == HTTP_BODY_END && connection->state == CONNECTION_BODY) {
		if (connection->content.failed)
			refuse(connection, 503, "out of memory");
		else
			request_done(connection);
	} else if (result == HTTP_BODY_END || connection->discarded_bytes > ADMIN_DISCARD_BYTES_MAX) {
		refuse(connection, 413, "the body has more than 1048576 bytes");
	} else if ((connection->head.scan.flags & PHX_HEAD_CONTINUE) && !connection->continue_sent &&
		   len == 0) {
		if (connection->state == CONNECTION_DISCARD)
			refuse(connection, 413, "the body has more than 1048576 bytes");
		else
			send_continue(connection);
	} else {
		stream_read(&connection->stream);
	}
}

static void process(struct connection *connection)
{
	if (connection->state == CONNECTION_HEAD && !take_head(connection))
		return;
	take_body(connection);
}

static void on_data(struct stream *stream, struct ring_buffer buffer)
{
	struct connection *connection = container_of(stream, struct connection, stream);
	switch (connection->state) {
	case CONNECTION_HEAD:
	case CONNECTION_BODY:
	case CONNECTION_DISCARD:
		if (connection->state == CONNECTION_HEAD && connection->in.len == 0)
			deadline(connection, ADMIN_HEAD_TIMEOUT_MS);
		buf_append(&connection->in, buffer.data, buffer.len);
		ring_buffer_put(stream->ring, &buffer);
		if (connection->in.failed)
			connection_close(connection);
		else
			process(connection);
		return;
	case CONNECTION_LINGER:
		connection->discarded_bytes += buffer.len;
		ring_buffer_put(stream->ring, &buffer);
		if (connection->discarded_bytes > LINGER_BYTES_MAX)
			connection_close(connection);
		else
			stream_read(stream);
		return;
	default: /* an event stream: the client has nothing to say */
		ring_buffer_put(stream->ring, &buffer);
		stream_read(stream);
	}
}

static void on_end(struct stream *stream, int err)
{
	connection_close(container_of(stream, struct connection, stream));
}

static void on_sent(struct stream *stream, int err)
{
	struct connection *connection = container_of(stream, struct connection, stream);
	connection->writing = false;
	if (err) {
		connection_close(connection);
		return;
	}
	if (connection->state == CONNECTION_EVENTS) {
		sse_sent(connection);
		return;
	}
	if (connection->state != CONNECTION_SEND) { /* that was "100 Continue" */
		stream_read(stream);
		return;
	}
	free(connection->out_body);
	connection->out_body = NULL;
	connection->out_static = NULL;
	scrape_stop(connection);
	if (!connection->close_after) {
		next_request(connection);
		return;
	}
	connection->state = CONNECTION_LINGER;
	connection->discarded_bytes = 0;
	stream_shutdown(stream);
	deadline(connection, LINGER_MS);
	stream_read(stream);
}

static void on_timeout(struct timer *timer)
{
	struct connection *connection = container_of(timer, struct connection, timer);
	bool half = (connection->state == CONNECTION_HEAD && connection->in.len) ||
		    connection->state == CONNECTION_BODY || connection->state == CONNECTION_DISCARD;
	if (half && !connection->writing && !connection->stream.reading)
		half = false;
	if (half && !connection->writing)
		refuse(connection, 408, "the request did not arrive in time");
	else
		connection_close(connection);
}

static const struct stream_events stream_events = {
	.data = on_data,
	.end = on_end,
	.sent = on_sent,
	.closed = on_closed,
};

static void connection_create(struct admin_listener *listener, int fd)
{
	struct admin *admin = listener->admin;
	struct connection *connection =
		admin->connection_count < ADMIN_CONNECTIONS_MAX ? calloc(1, sizeof(*connection)) : NULL;
	if (!connection) {
		close(fd);
		return;
	}
	connection->admin = admin;
	peer_init(&connection->peer, &admin->auth, fd, listener->unix_socket);
	stream_init(&connection->stream, &admin->control->ring, &stream_events, fd);
	timer_init(&connection->timer, on_timeout);
	http_head_init(&connection->head, 0, ADMIN_FIELDS_MAX);
	list_init(&connection->scrape_link);
	list_push_back(&admin->connections, &connection->link);
	admin->connection_count++;
	deadline(connection, ADMIN_HEAD_TIMEOUT_MS);
	stream_read(&connection->stream);
}

static void on_accept(struct ring_op *op, int res, uint32_t flags)
{
	struct admin_listener *listener = container_of(op, struct admin_listener, accept);
	if (res >= 0 && listener->admin->closing)
		close(res);
	else if (res >= 0)
		connection_create(listener, res);
	if (flags & IORING_CQE_F_MORE)
		return;
	listener->armed = false;
	if (res < 0 && res != -ECANCELED && res != -EMFILE && res != -ENFILE && res != -ECONNABORTED)
		log_error("admin", "accept: %s", strerror(-res));
	/* The descriptor limit is tried again with the next beat. */
	if (!listener->admin->closing && !handover_is_frozen(&listener->admin->control->handover) &&
	    (res >= 0 || res == -ECONNABORTED)) {
		listener->armed = true;
		ring_accept_start(&listener->admin->control->ring, &listener->accept, listener->fd);
	}
}

static void on_beat(struct timer *timer)
{
	struct admin *admin = container_of(timer, struct admin, beat);
	bool frozen = handover_is_frozen(&admin->control->handover);
	for (unsigned i = 0; i < 2; i++) {
		struct admin_listener *listener = &admin->listeners[i];
		/* Who comes now is the next daemon's. */
		if (frozen && listener->armed)
			ring_cancel(&admin->control->ring, &listener->accept);
		if (listener->fd >= 0 && !listener->armed && !admin->closing && !frozen) {
			listener->armed = true;
			ring_accept_start(&admin->control->ring, &listener->accept, listener->fd);
		}
	}
	sse_beat(admin);
	timer_set(&admin->control->ring.timers, timer, clock_now_ns() + SSE_STATUS_MS / 2 * NS_PER_MS);
}

/* --- the token file, read again --------------------------------------------------------------------------
 */

static int on_reload_read(void *context, struct buf *why)
{
	struct admin *admin = context;
	tokens_fini(&admin->tokens_read);
	return auth_read_again(&admin->auth, &admin->tokens_read, why);
}

static void on_reload_take(void *context)
{
	struct admin *admin = context;
	if (!admin->auth.token_path || tokens_equal(&admin->auth.tokens, &admin->tokens_read)) {
		tokens_fini(&admin->tokens_read);
		return;
	}
	tokens_fini(&admin->auth.tokens);
	admin->auth.tokens = admin->tokens_read;
	admin->tokens_read = (struct tokens){0};
	log_info("admin", "%s: %zu tokens are accepted now", admin->auth.token_path,
		 admin->auth.tokens.count);
	/* Every other request is asked anew who it is from; a stream was asked when it began. */
	struct list *link = admin->connections.next;
	while (link != &admin->connections) {
		struct connection *connection = container_of(link, struct connection, link);
		link = link->next;
		if (connection->state == CONNECTION_EVENTS && !connection->peer.unix_socket)
			connection_close(connection);
	}
}

int admin_start(struct control *control, struct inheritance *inheritance, struct admin **out, struct buf *why)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	if (!admin)
		return -ENOMEM;
	admin->control = control;
	list_init(&admin->connections);
	list_init(&admin->streams);
	scrape_init(&admin->scrape, control);
	timer_init(&admin->beat, on_beat);
	for (unsigned i = 0; i < 2; i++) {
		admin->listeners[i].fd = -1;
		admin->listeners[i].admin = admin;
		admin->listeners[i].accept.done = on_accept;
	}
	int err = auth_init(&admin->auth, control->config, why);
	control->reload_hook = (struct reload_hook){admin, on_reload_read, on_reload_take};
	if (!err)
		err = admin_listen(admin, inheritance, why);
	if (err) {
		admin_stop(admin);
		return err;
	}
	for (unsigned i = 0; i < 2; i++)
		control->handover.admin_fds[i] = admin->listeners[i].fd;
	on_beat(&admin->beat);
	*out = admin;
	return 0;
}

static bool is_idle(const struct admin *admin)
{
	return list_empty(&admin->connections) && !admin->listeners[0].armed && !admin->listeners[1].armed;
}

void admin_stop(struct admin *admin)
{
	if (!admin)
		return;
	admin->closing = true;
	struct ring *ring = &admin->control->ring;
	timer_cancel(&ring->timers, &admin->beat);
	for (unsigned i = 0; i < 2; i++) {
		if (admin->listeners[i].armed)
			ring_cancel(ring, &admin->listeners[i].accept);
	}
	struct list *link = admin->connections.next;
	while (link != &admin->connections) {
		struct connection *connection = container_of(link, struct connection, link);
		link = link->next;
		connection_close(connection);
	}
	while (!is_idle(admin) && ring_turn(ring, NS_PER_SEC / 10) == 0)
		;
	for (unsigned i = 0; i < 2; i++) {
		if (admin->listeners[i].fd >= 0)
			close(admin->listeners[i].fd);
	}
	/* After a takeover it is another daemon's. */
	if (admin->socket_path && admin->control->handover.state != HANDOVER_DONE)
		unlink(admin->socket_path);
	free(admin->socket_path);
	admin->control->reload_hook = (struct reload_hook){0};
	scrape_fini(&admin->scrape);
	tokens_fini(&admin->tokens_read);
	auth_fini(&admin->auth);
	free(admin);
}

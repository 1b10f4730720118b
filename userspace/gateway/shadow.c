/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shadow: the same request, asked of the other side, after the client has its answer.
 *
 * It has connections, a deadline and a limit of its own, and it runs when the primary is done, so nothing
 * that happens here can be felt by a client. The other side's answer is recorded in the exchange, which then
 * goes to the sink whatever came of it.
 *
 * A few exchanges take a second round (exchange.control_wanted): legacy is asked once more, so that its two
 * answers show where it disagrees with itself. The sample is complete before that; whatever comes of the
 * second round, its outcome stays.
 */
#include "gateway/access.h"
#include "gateway/transaction.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

struct shadow {
	struct upstream_user up;
	struct worker *worker;
	struct snapshot_use *use;
	const struct snapshot_route *route;
	struct exchange *exchange;
	struct list link;
	struct timer timer;
	struct buf request;
	struct buf head; /* a response head that came in pieces */
	struct http_head response;
	struct http_body body;
	struct exchange_message *into; /* of the exchange: where the answer goes */
	enum phx_side side;	       /* who is asked */
	bool control;		       /* this is the second round */
	uint64_t begun_ns;
	bool head_done;
	bool reusable;
};

static bool ask_again(struct shadow *shadow, bool reusable);

static void finish(struct shadow *shadow, enum exchange_outcome outcome, bool reusable)
{
	struct worker *worker = shadow->worker;
	struct exchange *exchange = shadow->exchange;
	if (!shadow->control) {
		exchange->shadow_ns = worker->ring.now_ns - shadow->begun_ns;
		if (outcome == EXCHANGE_COMPARABLE && exchange->control_wanted && ask_again(shadow, reusable))
			return;
	} else if (outcome != EXCHANGE_COMPARABLE) {
		exchange_message_reset(&exchange->control);
		outcome = EXCHANGE_COMPARABLE;
	}
	timer_cancel(&worker->ring.timers, &shadow->timer);
	list_remove(&shadow->link);
	worker->shadow_count--;
	STAT_ADD(worker->stats.shadow_active, (uint64_t)-1);
	struct upstream *upstream = shadow->up.upstream;
	bool sending = upstream && upstream->stream.sending;
	upstream_release(&shadow->up, reusable && !sending);
	exchange->outcome = outcome;
	struct gateway_route_stats *stats = worker_route_stats(worker, shadow->route->slot);
	if (stats)
		STAT_ADD(stats->outcome[outcome], 1);
	worker->gateway->sink->submit(worker->gateway->sink, exchange);
	snapshot_use_put(shadow->use);
	http_body_fini(&shadow->body);
	buf_fini(&shadow->head);
	/* The kernel may still read the request while its connection is being closed. */
	if (sending)
		upstream->held_memory = shadow->request.data;
	else
		buf_fini(&shadow->request);
	free(shadow);
}

static void on_expired(struct timer *timer)
{
	finish(container_of(timer, struct shadow, timer), EXCHANGE_SHADOW_TIMEOUT, false);
}

/* The request, as the served side got it but for the base path and the mark. */
static bool write_request(struct shadow *shadow)
{
	struct exchange *exchange = shadow->exchange;
	struct buf *out = &shadow->request;
	enum phx_side side = shadow->side;
	buf_append_slice(out, buf_slice(&exchange->method_name));
	buf_append_char(out, ' ');
	struct slice target = buf_slice(&exchange->target), base = shadow->route->base_path[side];
	if (target.len == 1 && target.ptr[0] == '*' && base.len) {
		buf_append_slice(out, base);
	} else {
		if (target.ptr[0] == '/')
			buf_append_slice(out, base);
		buf_append_slice(out, target);
	}
	buf_append_str(out, " HTTP/1.1\r\n");
	for (size_t i = 0; i < exchange->request.field_count; i++) {
		const struct header_field *field = &exchange->request.fields[i];
		buf_append_slice(out, field->name);
		buf_append_str(out, ": ");
		buf_append_slice(out, field->value);
		buf_append_str(out, "\r\n");
	}
	if (exchange->request.body.len || !(PHX_METHODS_SAFE & PHX_METHOD_BIT(exchange->method)))
		buf_printf(out, "Content-Length: %zu\r\n", exchange->request.body.len);
	buf_append_str(out, "X-Phoenix-Shadow: 1\r\n\r\n");
	buf_append_slice(out, buf_slice(&exchange->request.body));
	return !out->failed;
}

static void send_request(struct shadow *shadow)
{
	struct iovec piece = {shadow->request.data, shadow->request.len};
	stream_send(&shadow->up.upstream->stream, &piece, 1);
	stream_read(&shadow->up.upstream->stream);
}

static void on_connected(struct upstream_user *user, int err)
{
	struct shadow *shadow = container_of(user, struct shadow, up);
	if (err)
		finish(shadow, err == -ETIMEDOUT ? EXCHANGE_SHADOW_TIMEOUT : EXCHANGE_SHADOW_REFUSED, false);
	else
		send_request(shadow);
}

static void on_sent(struct upstream_user *user, int err)
{
	/* A failed send shows as the connection's end; an early answer may still be read. */
}

/* A complete head: final, or an interim one that is skipped. False when the shadow is over. */
static bool take_head(struct shadow *shadow, const char *bytes)
{
	const struct phx_head *scan = &shadow->response.scan;
	struct exchange *exchange = shadow->exchange;
	if (scan->status < 200) {
		if (scan->status == 101) {
			finish(shadow, EXCHANGE_STREAM, false);
			return false;
		}
		http_head_init(&shadow->response, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
		return true;
	}
	shadow->into->status = scan->status;
	if (!exchange_add_fields(exchange, shadow->into, &shadow->response, bytes)) {
		finish(shadow, EXCHANGE_MEMORY, false);
		return false;
	}
	http_body_of_response(&shadow->body, &shadow->response, exchange->method == PHX_METHOD_HEAD);
	shadow->reusable = phx_head_persists(scan) && shadow->body.kind != HTTP_BODY_CLOSE;
	shadow->head_done = true;
	return true;
}

/* Parses head bytes; *consumed of them were used. False when the shadow is over. */
static bool read_head(struct shadow *shadow, const char *data, size_t len, size_t *consumed)
{
	size_t before = shadow->head.len;
	buf_append(&shadow->head, data, len);
	enum http_parse_result result =
		shadow->head.failed ? HTTP_PARSE_TOO_MANY
				    : http_head_parse(&shadow->response, shadow->head.data, shadow->head.len);
	if (result == HTTP_PARSE_MORE) {
		*consumed = len;
		return true;
	}
	if (result != HTTP_PARSE_DONE) {
		finish(shadow, EXCHANGE_SHADOW_FAILED, false);
		return false;
	}
	*consumed = shadow->response.scan.pos - before;
	if (!take_head(shadow, shadow->head.data))
		return false;
	buf_reset(&shadow->head);
	return true;
}

static void on_data(struct upstream_user *user, struct ring_buffer buffer)
{
	struct shadow *shadow = container_of(user, struct shadow, up);
	struct worker *worker = shadow->worker;
	size_t at = 0, consumed = 0, produced = 0;
	while (!shadow->head_done && at < buffer.len) {
		if (!read_head(shadow, buffer.data + at, buffer.len - at, &consumed)) {
			ring_buffer_put(&worker->ring, &buffer);
			return;
		}
		at += consumed;
	}
	if (!shadow->head_done) {
		ring_buffer_put(&worker->ring, &buffer);
		stream_read(&user->upstream->stream);
		return;
	}
	enum http_body_result result =
		http_body_read(&shadow->body, buffer.data + at, buffer.len - at, &consumed, &produced);
	bool kept = !produced ||
		    exchange_add_body(shadow->exchange, shadow->into, slice_of(buffer.data + at, produced));
	bool leftover = at + consumed < buffer.len;
	ring_buffer_put(&worker->ring, &buffer);
	if (!kept)
		finish(shadow, shadow->exchange->outcome, false);
	else if (result == HTTP_BODY_REFUSED)
		finish(shadow, EXCHANGE_SHADOW_FAILED, false);
	else if (result == HTTP_BODY_END)
		finish(shadow, EXCHANGE_COMPARABLE, shadow->reusable && !leftover);
	else
		stream_read(&user->upstream->stream);
}

static void on_end(struct upstream_user *user, int err)
{
	struct shadow *shadow = container_of(user, struct shadow, up);
	if (!err && shadow->head_done && http_body_ends_at_eof(&shadow->body)) {
		finish(shadow, EXCHANGE_COMPARABLE, false);
		return;
	}
	/* An idle connection that died in the meantime says nothing about the service: ask again on a new
	 * one, where asking twice does no harm. */
	struct upstream *upstream = user->upstream;
	if (!shadow->head_done && !shadow->head.len && upstream_reused(upstream) &&
	    !upstream->stream.sending) {
		if (!(PHX_METHODS_IDEMPOTENT & PHX_METHOD_BIT(shadow->exchange->method))) {
			finish(shadow, EXCHANGE_LOST, false);
			return;
		}
		upstream_release(user, false);
		enum upstream_acquired acquired = upstream_acquire(
			shadow->worker, shadow->route->endpoint[shadow->side], true, UPSTREAM_FRESH, user);
		if (acquired == UPSTREAM_PENDING)
			return;
		finish(shadow, EXCHANGE_SHADOW_BUSY, false);
		return;
	}
	finish(shadow, EXCHANGE_SHADOW_FAILED, false);
}

/* The second round: legacy once more. False when it cannot be, and then nothing is under way. */
static bool ask_again(struct shadow *shadow, bool reusable)
{
	struct worker *worker = shadow->worker;
	struct upstream *upstream = shadow->up.upstream;
	/* A request that is still being sent holds its memory. */
	if (worker->draining || (upstream && upstream->stream.sending))
		return false;
	upstream_release(&shadow->up, reusable);
	shadow->control = true;
	shadow->into = &shadow->exchange->control;
	shadow->side = PHX_LEGACY;
	shadow->head_done = shadow->reusable = false;
	http_head_init(&shadow->response, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
	http_body_fini(&shadow->body);
	buf_reset(&shadow->head);
	buf_reset(&shadow->request);
	if (!write_request(shadow))
		return false;
	timer_set(&worker->ring.timers, &shadow->timer,
		  worker->ring.now_ns + shadow->route->config->mirror.timeout_ms * NS_PER_MS);
	switch (upstream_acquire(worker, shadow->route->endpoint[PHX_LEGACY], true, UPSTREAM_REUSE_CHECKED,
				 &shadow->up)) {
	case UPSTREAM_READY:
		send_request(shadow);
		return true;
	case UPSTREAM_PENDING:
		return true;
	default:
		return false;
	}
}

/* The exchange never got as far as a connection. */
static void drop(struct worker *worker, const struct snapshot_route *route, struct exchange *exchange,
		 enum exchange_outcome outcome)
{
	struct gateway_route_stats *stats = worker_route_stats(worker, route->slot);
	if (stats)
		STAT_ADD(stats->outcome[outcome], 1);
	exchange->outcome = outcome;
	worker->gateway->sink->submit(worker->gateway->sink, exchange);
}

void shadow_start(struct worker *worker, struct snapshot_use *use, const struct snapshot_route *route,
		  struct exchange *exchange)
{
	struct shadow *shadow = NULL;
	if (worker->shadow_count < SHADOWS_PER_WORKER && !worker->draining)
		shadow = calloc(1, sizeof(*shadow));
	if (!shadow) {
		drop(worker, route, exchange, EXCHANGE_SHADOW_BUSY);
		return;
	}
	shadow->worker = worker;
	shadow->route = route;
	shadow->exchange = exchange;
	shadow->into = &exchange->shadow;
	shadow->side = exchange->side == PHX_LEGACY ? PHX_MODERN : PHX_LEGACY;
	shadow->request.max = exchange->body_max_bytes + worker->block_bytes;
	shadow->head.max = worker->limits->head_bytes + RING_BUFFER_BYTES;
	shadow->begun_ns = worker->ring.now_ns;
	shadow->up = (struct upstream_user){on_connected, on_data, on_end, on_sent, NULL};
	http_head_init(&shadow->response, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
	timer_init(&shadow->timer, on_expired);
	if (!write_request(shadow)) {
		buf_fini(&shadow->request);
		free(shadow);
		drop(worker, route, exchange, EXCHANGE_MEMORY);
		return;
	}
	shadow->use = use;
	snapshot_use_get(use);
	list_push_back(&worker->shadows, &shadow->link);
	worker->shadow_count++;
	STAT_ADD(worker->stats.shadow_active, 1);
	timer_set(&worker->ring.timers, &shadow->timer,
		  worker->ring.now_ns + route->config->mirror.timeout_ms * NS_PER_MS);
	switch (upstream_acquire(worker, route->endpoint[shadow->side], true, UPSTREAM_REUSE_CHECKED,
				 &shadow->up)) {
	case UPSTREAM_READY:
		send_request(shadow);
		break;
	case UPSTREAM_PENDING:
		break;
	case UPSTREAM_NO_ADDRESS:
		finish(shadow, EXCHANGE_SHADOW_REFUSED, false);
		break;
	default:
		finish(shadow, EXCHANGE_SHADOW_BUSY, false);
	}
}

void shadow_captured(struct worker *worker, struct exchange *exchange)
{
	struct snapshot_use *use = worker->routes;
	const struct snapshot_route *route =
		use ? snapshot_route_of(use->snapshot, exchange->slot, exchange->generation) : NULL;
	if (!route) {
		exchange_destroy(exchange); /* the route is another one by now: evidence about nothing */
		return;
	}
	access_captured(worker, route->config->id, exchange);
	if (exchange->outcome != EXCHANGE_COMPARABLE) {
		drop(worker, route, exchange, exchange->outcome);
	} else {
		/* It has no number in a sequence; the time it began at is as good as a die. */
		exchange->control_wanted =
			(PHX_METHODS_SAFE & PHX_METHOD_BIT(exchange->method)) &&
			phx_mix64(exchange->wall_ns) % PHX_WEIGHT_ONE < route->config->mirror.control_bp;
		shadow_start(worker, use, route, exchange);
	}
}

void shadow_cut_all(struct worker *worker)
{
	while (!list_empty(&worker->shadows))
		finish(container_of(worker->shadows.next, struct shadow, link), EXCHANGE_SHADOW_BUSY, false);
}

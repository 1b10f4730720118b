/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request: bytes from the client to the upstream, a piece at a time.
 *
 * The first piece goes behind the head into one block, so that a small request is one send and can be sent
 * again when an idle connection turns out dead. What follows is sent from the buffer it arrived in.
 */
#include "gateway/health.h"
#include "gateway/transaction.h"

#include "base/clock.h"

#include <errno.h>

static void on_upstream_connected(struct upstream_user *user, int err);
static void on_upstream_sent(struct upstream_user *user, int err);

static void send_to_upstream(struct transaction *t, const struct iovec *pieces, unsigned count)
{
	t->request_sending = true;
	stream_send(&t->up.upstream->stream, pieces, count);
	/* The answer may come at any time from now on, even before the request was sent. */
	if (!t->response_input.data)
		upstream_read(t->up.upstream);
	transaction_touch(t);
}

static void send_request_block(struct transaction *t)
{
	struct iovec piece = {t->request_block->bytes, t->request_len};
	t->connected = true;
	send_to_upstream(t, &piece, 1);
}

static void acquire(struct transaction *t, bool fresh)
{
	t->up = (struct upstream_user){
		.connected = on_upstream_connected,
		.data = response_data,
		.end = response_end,
		.sent = on_upstream_sent,
	};
	t->connected = false;
	bool idempotent = PHX_METHODS_IDEMPOTENT & PHX_METHOD_BIT(t->method);
	enum upstream_reuse reuse = fresh	 ? UPSTREAM_FRESH
				    : idempotent ? UPSTREAM_REUSE
						 : UPSTREAM_REUSE_CHECKED;
	switch (upstream_acquire(t->worker, t->route->endpoint[t->side], false, reuse, &t->up)) {
	case UPSTREAM_READY:
		send_request_block(t);
		break;
	case UPSTREAM_PENDING:
		transaction_touch(t);
		break;
	case UPSTREAM_FULL:
		transaction_fail(t, GATEWAY_ERROR_POOL_EMPTY, NULL);
		break;
	case UPSTREAM_NO_ADDRESS:
		if (!request_fail_over(t))
			transaction_fail(t, GATEWAY_ERROR_UPSTREAM_RESOLVE, NULL);
		break;
	case UPSTREAM_NO_MEMORY:
		transaction_fail(t, GATEWAY_ERROR_MEMORY, NULL);
		break;
	}
}

/* Reads on from the client: the body's next piece, or, when the request is over, to notice that it leaves. */
void request_read(struct transaction *t)
{
	struct downstream *down = t->down;
	if (down->input.data)
		return;
	if (t->request_read && !t->persist && !t->tunnel)
		return; /* nothing more is wanted: the response's send will tell if the client is gone */
	if (!t->request_read)
		pace_begin(t, &t->upload);
	if (!t->request_read && t->request_body.kind == HTTP_BODY_LENGTH &&
	    t->request_body.remaining > RING_BUFFER_BYTES)
		stream_read_large(&down->stream, t->request_body.remaining);
	else if (t->request_read)
		stream_read_later(&down->stream);
	else
		stream_read(&down->stream);
}

static void release_input(struct downstream *down)
{
	if (down->input.data && down->input_off == down->input.len) {
		ring_buffer_put(&down->worker->ring, &down->input);
		down->input_off = 0;
	}
}

/* Takes what has arrived of the request and sends it on. */
void request_pump(struct transaction *t)
{
	struct downstream *down = t->down;
	bool first = !t->up.upstream && !t->connected;
	char *data = down->input.data ? down->input.data + down->input_off : NULL;
	size_t len = down->input.len - down->input_off, consumed, produced;
	enum http_body_result result = http_body_read(&t->request_body, data, len, &consumed, &produced);
	if (consumed)
		t->wants_continue = false;
	down->input_off += (uint32_t)consumed;
	if (result == HTTP_BODY_REFUSED) {
		transaction_fail(t,
				 t->request_body.no_memory ? GATEWAY_ERROR_MEMORY : GATEWAY_ERROR_BAD_REQUEST,
				 t->request_body.why);
		return;
	}
	if (t->worker->limits->body_bytes && t->request_body.total_bytes > t->worker->limits->body_bytes) {
		transaction_fail(t, GATEWAY_ERROR_BODY_TOO_LARGE, NULL);
		return;
	}
	if (pace_too_slow(t, &t->upload, consumed)) {
		transaction_fail(t, GATEWAY_ERROR_BODY_SLOW, NULL);
		return;
	}
	sample_request_body(t, data, produced);
	t->request_read = result == HTTP_BODY_END;
	struct iovec pieces[5];
	char first_chunk[24];
	bool bad = false;
	unsigned count = body_frame(t, first ? first_chunk : t->up.upstream->chunk, &t->request_tail,
				    t->request_body.kind, &t->request_body, data, produced, t->request_read,
				    pieces, &bad);
	if (bad) {
		transaction_fail(t, GATEWAY_ERROR_MEMORY, NULL);
		return;
	}
	if (first) {
		/* What came with the head goes behind it into the block, which is made to hold both: one
		 * send, and all of it is still here if it must be sent again. */
		t->request_len += body_pieces_copy(t->request_block->bytes + t->request_len, pieces, count);
		release_input(down);
		acquire(t, false);
		return;
	}
	t->replayable = false;
	if (count)
		send_to_upstream(t, pieces, count);
	else
		release_input(down), request_read(t);
}

/* Takes the request back from a connection that will not answer it. The old one may still read from the
 * block: then the next one gets a copy. False when there is no memory for it. */
static bool take_back(struct transaction *t)
{
	struct upstream *upstream = t->up.upstream;
	if (upstream && t->request_sending) {
		struct block *copy = worker_block_get(t->worker);
		if (!copy)
			return false;
		memcpy(copy->bytes, t->request_block->bytes, t->request_len);
		transaction_release_upstream(t, false);
		t->request_block = copy;
	} else {
		transaction_release_upstream(t, false);
	}
	t->request_sending = false;
	t->request_failed = false;
	return true;
}

/* The whole request is in the block and the server has not seen it, or may see it twice: once more, on a new
 * connection (RFC 9112 9.3.1). */
bool request_retry(struct transaction *t)
{
	struct upstream *upstream = t->up.upstream;
	if (t->retried || !upstream || !upstream_reused(upstream) || t->upstream_heard || !t->replayable ||
	    !t->request_read || !(PHX_METHODS_IDEMPOTENT & PHX_METHOD_BIT(t->method)))
		return false;
	if (!take_back(t))
		return false;
	t->retried = true;
	STAT_ADD(t->stats->side[t->side].retries, 1);
	acquire(t, true);
	return true;
}

/*
 * The request in the block differs between the sides in one place, the base path before the target: all else
 * is the client's or Phoenix's own (may_fail_over() has seen to the exceptions).
 */
bool request_fail_over(struct transaction *t)
{
	bool unseen = !t->connected, twice = PHX_METHODS_SAFE & PHX_METHOD_BIT(t->method);
	struct slice from = t->route->base_path[PHX_MODERN], to = t->route->base_path[PHX_LEGACY];
	size_t len = t->request_len - from.len + to.len;
	if (!t->may_fail_over || t->upstream_heard || !t->replayable || len > t->worker->block_bytes ||
	    !(unseen || (twice && t->request_read)) || !take_back(t))
		return false;
	char *target = memchr(t->request_block->bytes, ' ', t->request_len);
	target++;
	memmove(target + to.len, target + from.len,
		t->request_len - (size_t)(target - t->request_block->bytes) - from.len);
	memcpy(target, to.ptr, to.len);
	t->request_len = len;
	sample_modern_failed(t);
	health_failed(t->worker, t->route, PHX_MODERN);
	STAT_ADD(t->stats->failovers, 1);
	STAT_ADD(t->stats->side[PHX_MODERN].status[0], 1);
	t->side = PHX_LEGACY;
	t->may_fail_over = false;
	t->retried = false;
	transaction_count_side(t);
	acquire(t, false);
	return true;
}

static void on_upstream_connected(struct upstream_user *user, int err)
{
	struct transaction *t = container_of(user, struct transaction, up);
	if (!err) {
		send_request_block(t);
		return;
	}
	t->error = 0;
	enum gateway_error error =
		err == -ETIMEDOUT ? GATEWAY_ERROR_UPSTREAM_CONNECT_TIMEOUT : GATEWAY_ERROR_UPSTREAM_CONNECT;
	if (!request_fail_over(t))
		transaction_fail(t, error, NULL);
}

static void on_upstream_sent(struct upstream_user *user, int err)
{
	struct transaction *t = container_of(user, struct transaction, up);
	t->request_sending = false;
	worker_block_put(t->worker, &t->request_tail);
	if (err) {
		/* The upstream takes no more. It may still have said why: its answer, or its end, decides. */
		t->request_failed = true;
		t->upstream_reusable = false;
		transaction_touch(t);
		return;
	}
	release_input(t->down);
	transaction_touch(t);
	if (t->tunnel && t->tunnel_client_done) {
		stream_shutdown(&t->up.upstream->stream);
		if (t->tunnel_upstream_done && !t->response_sending)
			transaction_finish(t);
	} else if (t->response_read && !t->response_sending) {
		transaction_finish(t);
	} else {
		request_read(t);
	}
}

void transaction_client_data(struct transaction *t)
{
	if (t->tunnel) {
		struct downstream *down = t->down;
		struct iovec piece = {down->input.data + down->input_off, down->input.len - down->input_off};
		down->input_off = down->input.len;
		t->replayable = false;
		t->request_body.total_bytes += piece.iov_len;
		send_to_upstream(t, &piece, 1);
	} else if (!t->request_read && t->connected && !t->request_sending && !t->request_failed) {
		request_pump(t);
	}
	/* Else it is the next request's, or waits until the upstream takes it: kept, and nothing more is
	 * read. */
}

void transaction_client_end(struct transaction *t, int err)
{
	if (err) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_GONE);
	} else if (t->tunnel) {
		t->tunnel_client_done = true;
		if (!t->request_sending)
			stream_shutdown(&t->up.upstream->stream);
		if (t->tunnel_upstream_done && !t->response_sending)
			transaction_finish(t);
	} else if (!t->request_read) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_GONE);
	} else {
		/* A half-closed client still waits for its answer (RFC 9112 9.6). */
		t->persist = false;
	}
}

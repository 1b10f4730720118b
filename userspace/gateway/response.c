/* SPDX-License-Identifier: Apache-2.0 */
/*
 * response: bytes from the upstream to the client, a piece at a time.
 *
 * A head is checked and written anew; interim ones are passed on as they come. From the first byte of a final
 * head on, nothing can be retried or answered by Phoenix itself: what goes wrong then is a visible cut.
 */
#include "gateway/forward.h"
#include "gateway/transaction.h"

#define INTERIMS_MAX   1000
#define COPY_BYTES_MAX 4096 /* a body piece up to this long is copied behind its head: one send */

static void read_upstream(struct transaction *t)
{
	bool was_full = t->response_input.len >= RING_BUFFER_BYTES;
	ring_buffer_put(&t->worker->ring, &t->response_input);
	t->response_off = 0;
	if (t->upstream_ended || !t->up.upstream)
		return;
	/* Long bodies are worth a large buffer: known by their length, or by a full small one. */
	const struct http_body *body = &t->response_body;
	bool known = body->kind == HTTP_BODY_LENGTH;
	if (t->status && (known ? body->remaining > RING_BUFFER_BYTES : was_full))
		stream_read_large(&t->up.upstream->stream, known ? body->remaining : UINT64_MAX);
	else
		stream_read(&t->up.upstream->stream);
}

static void send_to_client(struct transaction *t, const struct iovec *pieces, unsigned count)
{
	t->response_sending = true;
	t->download_mark = t->down->stream.sent_bytes;
	pace_begin(t, &t->download);
	/* Once these are sent, transaction_finish() closes: what could make it wait is over. */
	bool last = t->response_read && !t->persist && t->request_read && !t->request_sending && !t->tunnel;
	(last ? stream_send_last : stream_send)(&t->down->stream, pieces, count);
	transaction_touch(t);
}

/* Is what this final or interim head says about its body something that only one reader could understand? */
static const char *response_contradiction(const struct transaction *t)
{
	const struct phx_head *scan = &t->response.scan;
	bool framed = (scan->flags & PHX_HEAD_CHUNKED) ||
		      ((scan->flags & PHX_HEAD_HAS_LENGTH) && scan->content_length);
	if (scan->status == 101 && !t->wants_upgrade)
		return "the upstream switched protocols without being asked (RFC 9110 15.2.2)";
	if (framed && (scan->status < 200 || scan->status == 204))
		return "the upstream announced a body with a status that has none (RFC 9112 6.3)";
	return NULL;
}

/* An interim response is passed on at once (RFC 9110 15.2); an HTTP/1.0 client must not see one. */
static void send_interim(struct transaction *t, const char *bytes)
{
	if (++t->interims > INTERIMS_MAX) {
		transaction_fail(t, GATEWAY_ERROR_UPSTREAM_INVALID,
				 "the upstream sent more than 1000 interim responses");
		return;
	}
	if (t->minor == 0) {
		http_head_init(&t->response, PHX_HEAD_RESPONSE, (uint16_t)t->worker->limits->fields);
		t->response_head_len = 0;
		response_pump(t);
		return;
	}
	if (t->response.scan.status == 100)
		t->wants_continue = false;
	struct forward_response forward = {.head = &t->response, .bytes = bytes};
	size_t len = forward_response_write(&forward, t->response_block->bytes, t->worker->block_bytes);
	http_head_init(&t->response, PHX_HEAD_RESPONSE, (uint16_t)t->worker->limits->fields);
	t->response_head_len = 0;
	t->response_interim = true;
	struct iovec piece = {t->response_block->bytes, len};
	send_to_client(t, &piece, 1);
}

/* How the body reaches this client (RFC 9112 6.3, 7.1): an HTTP/1.0 client knows no chunks. */
static enum http_body_kind body_for_client(struct transaction *t)
{
	enum http_body_kind kind = t->response_body.kind;
	if (kind != HTTP_BODY_CHUNKED && kind != HTTP_BODY_CLOSE)
		return kind;
	if (t->minor == 1)
		return HTTP_BODY_CHUNKED;
	t->persist = false;
	return HTTP_BODY_CLOSE;
}

/* The final head: decides how the body goes on, and writes it into the block. Returns its length. */
static size_t write_response_head(struct transaction *t, const char *bytes)
{
	const struct phx_head *scan = &t->response.scan;
	t->status = scan->status;
	t->first_byte_ns = t->worker->ring.now_ns;
	t->tunnel = scan->status == 101;
	http_body_of_response(&t->response_body, &t->response, t->head_request);
	t->client_body = body_for_client(t);
	t->upstream_reusable =
		phx_head_persists(scan) && t->response_body.kind != HTTP_BODY_CLOSE && !t->tunnel;
	/* An answer before the request's end: this connection cannot be trusted to be in step afterwards. */
	if (!t->request_read || t->request_failed || t->worker->draining || t->tunnel)
		t->persist = false;
	bool no_body = t->response_body.kind == HTTP_BODY_NONE;
	struct forward_response forward = {
		.head = &t->response,
		.bytes = bytes,
		.kind = t->client_body,
		.length = scan->content_length,
		.announce_length = no_body && (scan->flags & PHX_HEAD_HAS_LENGTH) && scan->status >= 200 &&
				   scan->status != 204,
		.close = !t->persist,
		.keep_alive_1_0 = t->persist && t->minor == 0,
		.upgrade = t->tunnel || scan->status == 426,
	};
	if (no_body && (scan->flags & PHX_HEAD_CHUNKED) && t->minor == 1)
		forward.kind = HTTP_BODY_CHUNKED;
	sample_response_head(t, bytes);
	return forward_response_write(&forward, t->response_block->bytes, t->worker->block_bytes);
}

/* Parses as much of a head as there is. Returns the bytes it lies in when it is complete, else NULL (waiting
 * for more, or failed). */
static const char *response_head(struct transaction *t)
{
	struct worker *worker = t->worker;
	const char *bytes = t->response_input.data + t->response_off;
	size_t len = t->response_input.len - t->response_off, before = t->response_head_len;
	size_t room = worker->limits->head_bytes - before;
	if (before) {
		size_t n = len < room ? len : room;
		memcpy(t->response_head_block->bytes + before, bytes, n);
		t->response_head_len += (uint32_t)n;
		bytes = t->response_head_block->bytes;
		len = t->response_head_len;
	} else if (len > room) {
		len = room;
	}
	enum http_parse_result result = http_head_parse(&t->response, bytes, len);
	if (result == HTTP_PARSE_DONE) {
		t->response_off += (uint32_t)(t->response.scan.pos - before);
		return bytes;
	}
	if (result != HTTP_PARSE_MORE) {
		transaction_fail(t, GATEWAY_ERROR_UPSTREAM_INVALID, http_refusal_help(&t->response, result));
		return NULL;
	}
	if (len == worker->limits->head_bytes) {
		transaction_fail(t, GATEWAY_ERROR_UPSTREAM_INVALID,
				 "the upstream's head is longer than limits.head_bytes");
		return NULL;
	}
	if (!before) {
		if (!t->response_head_block)
			t->response_head_block = worker_block_get(worker);
		if (!t->response_head_block) {
			transaction_fail(t, GATEWAY_ERROR_MEMORY, NULL);
			return NULL;
		}
		memcpy(t->response_head_block->bytes, bytes, len);
		t->response_head_len = (uint32_t)len;
	}
	/* The deadline stays where it is: a head that comes a byte at a time is late all the same. */
	t->response_off = t->response_input.len;
	read_upstream(t);
	return NULL;
}

/* Decodes and frames what is there of the body. False when that failed (and the transaction is over). */
static bool response_piece(struct transaction *t, struct iovec *pieces, unsigned *count)
{
	char *data = t->response_input.data ? t->response_input.data + t->response_off : NULL;
	size_t len = t->response_input.len - t->response_off, consumed, produced;
	enum http_body_result result = http_body_read(&t->response_body, data, len, &consumed, &produced);
	t->response_off += (uint32_t)consumed;
	if (result == HTTP_BODY_REFUSED) {
		transaction_fail(
			t, t->response_body.no_memory ? GATEWAY_ERROR_MEMORY : GATEWAY_ERROR_UPSTREAM_INVALID,
			t->response_body.why);
		return false;
	}
	t->response_read = result == HTTP_BODY_END;
	if (t->upstream_ended && t->response_off == t->response_input.len &&
	    http_body_ends_at_eof(&t->response_body))
		t->response_read = true;
	sample_response_body(t, data, produced);
	bool bad = false;
	*count = 0;
	if (t->response_body.kind != HTTP_BODY_NONE)
		*count = body_frame(t, t->response_chunk, &t->response_tail, t->client_body,
				    &t->response_body, data, produced, t->response_read, pieces, &bad);
	if (bad)
		transaction_fail(t, GATEWAY_ERROR_MEMORY, NULL);
	return !bad;
}

static bool start_response(struct transaction *t)
{
	if (t->response_block)
		return true;
	/* The request's block has done its work once the upstream answers. */
	if (t->request_read && !t->request_sending) {
		t->response_block = t->request_block;
		t->request_block = NULL;
		t->replayable = false;
	} else {
		t->response_block = worker_block_get(t->worker);
	}
	if (!t->response_block)
		transaction_fail(t, GATEWAY_ERROR_MEMORY, NULL);
	return t->response_block != NULL;
}

static void send_final_head(struct transaction *t, const char *bytes)
{
	size_t len = write_response_head(t, bytes);
	if (!len) {
		t->status = 0;
		transaction_fail(t, GATEWAY_ERROR_UPSTREAM_INVALID,
				 "the upstream's head does not fit limits.head_bytes");
		return;
	}
	/* Nothing may be retried or answered by Phoenix itself from here on. */
	t->response_begun = true;
	struct iovec pieces[6] = {{t->response_block->bytes, len}};
	unsigned count = 0;
	if (t->tunnel) {
		count = 0;
	} else if (!response_piece(t, pieces + 1, &count)) {
		return;
	}
	size_t body_bytes = 0;
	for (unsigned i = 1; i <= count; i++)
		body_bytes += pieces[i].iov_len;
	if (count && body_bytes <= COPY_BYTES_MAX) {
		pieces[0].iov_len += body_pieces_copy(t->response_block->bytes + len, pieces + 1, count);
		count = 0;
	}
	send_to_client(t, pieces, count + 1);
}

/* Takes what has arrived from the upstream and sends it on. */
void response_pump(struct transaction *t)
{
	struct iovec pieces[5];
	unsigned count;
	if (t->tunnel) {
		struct iovec piece = {t->response_input.data + t->response_off,
				      t->response_input.len - t->response_off};
		t->response_off = t->response_input.len;
		t->response_body.total_bytes += piece.iov_len;
		send_to_client(t, &piece, 1);
		return;
	}
	if (t->status) {
		if (!response_piece(t, pieces, &count))
			return;
		if (count)
			send_to_client(t, pieces, count);
		else if (t->response_read)
			transaction_finish(t);
		else
			read_upstream(t);
		return;
	}
	if (t->response_off == t->response_input.len) {
		read_upstream(t);
		return;
	}
	const char *bytes = response_head(t);
	if (!bytes || !start_response(t))
		return;
	const char *contradiction = response_contradiction(t);
	if (contradiction)
		transaction_fail(t, GATEWAY_ERROR_UPSTREAM_INVALID, contradiction);
	else if (t->response.scan.status < 200 && t->response.scan.status != 101)
		send_interim(t, bytes);
	else
		send_final_head(t, bytes);
}

void response_data(struct upstream_user *user, struct ring_buffer buffer)
{
	struct transaction *t = container_of(user, struct transaction, up);
	t->response_input = buffer;
	t->response_off = 0;
	if (!t->upstream_heard) {
		t->upstream_heard = true;
		http_head_init(&t->response, PHX_HEAD_RESPONSE, (uint16_t)t->worker->limits->fields);
		if (t->worker->limits->first_byte_timeout_ms)
			transaction_touch(t);
	}
	if (!t->response_sending)
		response_pump(t);
}

/* What the end of the upstream's stream means depends on how far the response was. */
static void upstream_over(struct transaction *t)
{
	if (t->tunnel) {
		t->tunnel_upstream_done = true;
		stream_shutdown(&t->down->stream);
		if (t->tunnel_client_done && !t->request_sending)
			transaction_finish(t);
	} else if (!t->status) {
		transaction_fail(t, GATEWAY_ERROR_UPSTREAM_CLOSED, NULL);
	} else if (http_body_ends_at_eof(&t->response_body)) {
		response_pump(t);
	} else {
		transaction_fail(t, GATEWAY_ERROR_UPSTREAM_CUT, NULL);
	}
}

void response_end(struct upstream_user *user, int err)
{
	struct transaction *t = container_of(user, struct transaction, up);
	t->upstream_ended = true;
	t->upstream_reusable = false;
	if (!t->upstream_heard && (request_retry(t) || request_fail_over(t))) {
		t->upstream_ended = false;
		return;
	}
	/* A reset is never a proper end of a message that ends with the connection. */
	if (err && t->status && t->response_body.kind == HTTP_BODY_CLOSE && !t->tunnel)
		transaction_fail(t, GATEWAY_ERROR_UPSTREAM_CUT, NULL);
	else if (!t->response_sending)
		upstream_over(t);
}

void transaction_client_sent(struct transaction *t, int err)
{
	t->response_sending = false;
	worker_block_put(t->worker, &t->response_tail);
	if (err) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_GONE);
		return;
	}
	if (pace_too_slow(t, &t->download, t->down->stream.sent_bytes - t->download_mark) && !t->tunnel) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_SLOW);
		return;
	}
	transaction_touch(t);
	if (t->response_interim) {
		t->response_interim = false;
		if (t->response_off < t->response_input.len)
			response_pump(t);
		else if (t->upstream_ended)
			upstream_over(t);
		else
			read_upstream(t);
	} else if (t->response_read) {
		/* The answer may have overtaken the news that a short request was sent; a long one that is
		 * still under way is not being taken, and nobody waits for it. */
		bool overtaken = t->request_read && t->request_sending &&
				 t->request_body.total_bytes < RING_BUFFER_BYTES;
		if (!overtaken)
			transaction_finish(t);
	} else if (t->response_off < t->response_input.len) {
		response_pump(t);
	} else if (t->upstream_ended) {
		ring_buffer_put(&t->worker->ring, &t->response_input);
		t->response_off = 0;
		upstream_over(t);
	} else {
		read_upstream(t);
		if (t->tunnel && !t->request_sending) {
			if (t->down->input.data && t->down->input_off < t->down->input.len)
				transaction_client_data(t);
			else
				request_read(t);
		}
	}
}

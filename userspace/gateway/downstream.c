/* SPDX-License-Identifier: Apache-2.0 */
/*
 * downstream: a client's connection. It gathers request heads, lets a transaction run for each, says what
 * Phoenix itself has to say, and closes without cutting off its own last words.
 *
 * Requests of one connection are served one after the other; a pipelined one waits in the input buffer and
 * nothing more is read until its turn comes. An idle connection holds no buffer and no transaction.
 *
 * The hard part is the end: a close() while the client is still sending makes its kernel throw away the
 * answer (RFC 9112 9.6), so after an early answer the connection lingers: half-closed, reading away what
 * comes, for LINGER_MS at most.
 */
#include "gateway/access.h"
#include "gateway/transaction.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/siphash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

static void process_input(struct downstream *down);
static void leave_place(struct worker *worker, unsigned address);

static void set_deadline(struct downstream *down, uint64_t ms)
{
	struct worker *worker = down->worker;
	timer_set(&worker->ring.timers, &down->timer, worker->ring.now_ns + ms * NS_PER_MS);
}

static void drop_input(struct downstream *down)
{
	ring_buffer_put(&down->worker->ring, &down->input);
	down->input_off = 0;
}

static void drop_transaction(struct downstream *down)
{
	if (!down->transaction)
		return;
	transaction_destroy(down->transaction);
	down->transaction = NULL;
}

void downstream_close(struct downstream *down, bool reset)
{
	if (down->state == DOWNSTREAM_CLOSING)
		return;
	down->state = DOWNSTREAM_CLOSING;
	timer_cancel(&down->worker->ring.timers, &down->timer);
	/* What is being sent lies in the transaction's memory: that stays until the last completion. */
	if (!down->stream.sending)
		drop_transaction(down);
	else
		transaction_release_upstream(down->transaction, false);
	stream_close(&down->stream, reset);
}

/* The counter that this client's address shares with those of the same hash. */
static atomic_uint *address_count(const struct downstream *down)
{
	uint64_t hash = siphash24(down->worker->policy->key, down->address, down->address_len);
	return &down->worker->gateway->address_counts[hash % GATEWAY_ADDRESS_COUNTS];
}

static void on_closed(struct stream *stream)
{
	struct downstream *down = container_of(stream, struct downstream, stream);
	struct worker *worker = down->worker;
	drop_transaction(down);
	drop_input(down);
	list_remove(&down->link);
	worker->downstream_count--;
	STAT_ADD(worker->stats.connections_active, (uint64_t)-1);
	leave_place(worker, down->listener);
	if (down->counted)
		atomic_fetch_sub(address_count(down), 1);
	free(down);
}

static void linger(struct downstream *down)
{
	down->state = DOWNSTREAM_LINGER;
	drop_transaction(down);
	drop_input(down);
	if (down->peer_ended) {
		downstream_close(down, false);
		return;
	}
	stream_shutdown(&down->stream);
	set_deadline(down, LINGER_MS);
	stream_read(&down->stream);
}

static void wait_for_request(struct downstream *down)
{
	down->state = DOWNSTREAM_IDLE;
	if (down->input.data && down->input_off < down->input.len) {
		down->pipelined++;
		process_input(down);
		return;
	}
	down->pipelined = 0;
	drop_input(down);
	if (down->peer_ended || (down->worker->draining && !down->worker->handed_over)) {
		downstream_close(down, false);
		return;
	}
	set_deadline(down, down->worker->limits->idle_timeout_ms);
	/* A new connection's first request is often here already; the next ones answer our answer. */
	if (down->requests)
		stream_read_later(&down->stream);
	else
		stream_read(&down->stream);
}

void downstream_done(struct downstream *down, bool keep)
{
	bool whole = down->transaction->request_read;
	down->requests++;
	drop_transaction(down);
	if (keep)
		wait_for_request(down);
	else if (whole && !down->input.data)
		downstream_close(down, false);
	else
		linger(down);
}

/* --- answers of our own ------------------------------------------------------------------------------- */

static const struct {
	const char *word;
	int status;
	const char *help;
} errors[] = {
#define X(name, word, status, help) {word, status, help},
	GATEWAY_ERRORS(X)
#undef X
};

const char *gateway_error_word(enum gateway_error error)
{
	return (unsigned)error < GATEWAY_ERROR_COUNT ? errors[error].word : "unknown";
}

const char *gateway_error_help(enum gateway_error error)
{
	return (unsigned)error < GATEWAY_ERROR_COUNT ? errors[error].help : "";
}

int gateway_error_status(enum gateway_error error)
{
	return (unsigned)error < GATEWAY_ERROR_COUNT ? errors[error].status : 0;
}

/* Head and body of an answer into out; returns its length. All parts are bounded and fit a block. */
static size_t write_answer(const struct transaction *t, int status, enum gateway_error error,
			   const char *detail, bool close, char *out, size_t cap)
{
	struct buf body = {.max = 1024};
	const char *reason = http_reason(status);
	buf_printf(&body,
		   "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"error\":\"%s\",\"detail\":",
		   reason, status, errors[error].word);
	buf_append_json(&body, slice_str(detail ? detail : errors[error].help));
	if (t->route)
		buf_printf(&body, ",\"route\":\"%s\",\"side\":\"%s\"", t->route->config->id,
			   t->side == PHX_MODERN ? "modern" : "legacy");
	if (t->request_id[0]) {
		buf_append_str(&body, ",\"request_id\":");
		buf_append_json(&body, slice_str(t->request_id));
	}
	buf_append_str(&body, "}\n");
	if (body.failed) {
		buf_fini(&body);
		return 0;
	}
	int n = snprintf(out, cap,
			 "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %zu\r\n"
			 "Cache-Control: no-store\r\n%s%s\r\n%s",
			 status, reason, body.len,
			 close		 ? "Connection: close\r\n"
			 : t->minor == 0 ? "Connection: keep-alive\r\n"
					 : "",
			 status == 503 ? "Retry-After: 1\r\n" : "", t->head_request ? "" : buf_cstr(&body));
	buf_fini(&body);
	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

void downstream_answer(struct downstream *down, int status, enum gateway_error error, const char *detail,
		       bool close)
{
	struct transaction *t = down->transaction;
	struct worker *worker = down->worker;
	transaction_release_upstream(t, false);
	if (!status)
		status = errors[error].status;
	down->close_after = close || !t->persist;
	down->state = DOWNSTREAM_ANSWER;
	if (!t->response_block)
		t->response_block = worker_block_get(worker);
	size_t len = 0;
	if (t->response_block)
		len = write_answer(t, status, error, detail, down->close_after, t->response_block->bytes,
				   worker->block_bytes);
	if (!len) {
		downstream_close(down, false);
		return;
	}
	struct iovec piece = {t->response_block->bytes, len};
	(down->close_after ? stream_send_last : stream_send)(&down->stream, &piece, 1);
	set_deadline(down, worker->limits->idle_timeout_ms);
}

/* --- heads in ----------------------------------------------------------------------------------------- */

/* A request whose head, or whose place, is not taken; the connection ends. */
static void refuse_request(struct downstream *down, int status, enum gateway_error error, const char *detail)
{
	struct transaction *t = down->transaction;
	t->persist = false;
	t->error = (uint16_t)error;
	STAT_ADD(down->worker->stats.requests, 1);
	STAT_ADD(down->worker->stats.errors[error], 1);
	access_transaction(t, (unsigned)(status ? status : gateway_error_status(error)));
	downstream_answer(down, status, error, detail, true);
}

static void refuse_head(struct downstream *down, enum http_parse_result result)
{
	const struct http_head *head = &down->transaction->request;
	refuse_request(down, http_refusal_status(head, result),
		       result == HTTP_PARSE_TOO_MANY ? GATEWAY_ERROR_TOO_MANY_FIELDS
						     : GATEWAY_ERROR_BAD_REQUEST,
		       http_refusal_help(head, result));
}

static void refuse_long_head(struct downstream *down)
{
	bool in_line = down->transaction->request.scan.state <= PHX_AT_VERSION;
	char detail[128];
	snprintf(detail, sizeof(detail), "the request %s is longer than limits.head_bytes = %u bytes",
		 in_line ? "line" : "head", down->worker->limits->head_bytes);
	refuse_request(down, 0, in_line ? GATEWAY_ERROR_LINE_TOO_LONG : GATEWAY_ERROR_HEAD_TOO_LARGE, detail);
}

/* The head does not end in this buffer: keep what there is in a block and read on. */
static void keep_partial(struct downstream *down, const char *bytes, size_t len)
{
	struct transaction *t = down->transaction;
	if (!t->head_block) {
		t->head_block = worker_block_get(down->worker);
		if (!t->head_block) {
			downstream_answer(down, 0, GATEWAY_ERROR_MEMORY, NULL, true);
			return;
		}
		memcpy(t->head_block->bytes, bytes, len);
		t->head_block_len = (uint32_t)len;
	}
	drop_input(down);
	if (down->peer_ended) {
		downstream_close(down, false);
		return;
	}
	stream_read(&down->stream);
}

/* Looks at what has arrived; a head that is complete starts a transaction. */
static void process_input(struct downstream *down)
{
	struct worker *worker = down->worker;
	if (!down->transaction) {
		down->transaction = transaction_create(down);
		if (!down->transaction) {
			log_warn("gateway", "no memory for a request: connection closed");
			downstream_close(down, false);
			return;
		}
		down->state = DOWNSTREAM_HEAD;
		set_deadline(down, worker->limits->header_timeout_ms);
		if (down->pipelined >= worker->limits->pipeline) {
			refuse_request(down, 0, GATEWAY_ERROR_PIPELINE_LIMIT, NULL);
			return;
		}
	}
	struct transaction *t = down->transaction;
	const char *bytes = down->input.data + down->input_off;
	size_t len = down->input.len - down->input_off, before = t->head_block_len;
	size_t limit = worker->limits->head_bytes;
	if (before) {
		size_t n = len < limit - before ? len : limit - before;
		memcpy(t->head_block->bytes + before, bytes, n);
		t->head_block_len += (uint32_t)n;
		bytes = t->head_block->bytes;
		len = t->head_block_len;
	} else if (len > limit) {
		len = limit;
	}
	enum http_parse_result result = http_head_parse(&t->request, bytes, len);
	if (result == HTTP_PARSE_DONE) {
		down->input_off += t->request.scan.pos - (uint32_t)before;
		down->state = DOWNSTREAM_BUSY;
		transaction_start(t, bytes);
	} else if (result != HTTP_PARSE_MORE) {
		refuse_head(down, result);
	} else if (len == limit) {
		refuse_long_head(down);
	} else {
		keep_partial(down, bytes, len);
	}
}

/* --- events ------------------------------------------------------------------------------------------- */

static void on_data(struct stream *stream, struct ring_buffer buffer)
{
	struct downstream *down = container_of(stream, struct downstream, stream);
	if (down->state == DOWNSTREAM_LINGER) {
		down->linger_bytes += buffer.len;
		ring_buffer_put(&down->worker->ring, &buffer);
		if (down->linger_bytes > LINGER_BYTES_MAX)
			downstream_close(down, false);
		else
			stream_read(stream);
		return;
	}
	if (down->state == DOWNSTREAM_ANSWER && down->close_after) {
		ring_buffer_put(&down->worker->ring, &buffer);
		return;
	}
	down->input = buffer;
	down->input_off = 0;
	if (down->state == DOWNSTREAM_BUSY)
		transaction_client_data(down->transaction);
	else if (down->state != DOWNSTREAM_ANSWER)
		process_input(down);
}

static void on_end(struct stream *stream, int err)
{
	struct downstream *down = container_of(stream, struct downstream, stream);
	down->peer_ended = true;
	if (down->state == DOWNSTREAM_BUSY)
		transaction_client_end(down->transaction, err);
	else if (down->state == DOWNSTREAM_ANSWER && !err)
		down->close_after = true;
	else
		downstream_close(down, false);
}

static void on_sent(struct stream *stream, int err)
{
	struct downstream *down = container_of(stream, struct downstream, stream);
	if (down->state == DOWNSTREAM_BUSY) {
		transaction_client_sent(down->transaction, err);
	} else if (err) {
		downstream_close(down, false);
	} else if (down->close_after) {
		linger(down);
	} else {
		down->requests++;
		drop_transaction(down);
		wait_for_request(down);
	}
}

static void on_expired(struct timer *timer)
{
	struct downstream *down = container_of(timer, struct downstream, timer);
	switch (down->state) {
	case DOWNSTREAM_HEAD:
		down->transaction->persist = false;
		down->transaction->error = GATEWAY_ERROR_HEADER_TIMEOUT;
		STAT_ADD(down->worker->stats.errors[GATEWAY_ERROR_HEADER_TIMEOUT], 1);
		access_transaction(down->transaction, 408);
		downstream_answer(down, 0, GATEWAY_ERROR_HEADER_TIMEOUT, NULL, true);
		break;
	case DOWNSTREAM_BUSY:
		transaction_expired(down->transaction);
		break;
	case DOWNSTREAM_CLOSING:
		break;
	default:
		downstream_close(down, false);
	}
}

static const struct stream_events downstream_events = {
	.data = on_data,
	.end = on_end,
	.sent = on_sent,
	.closed = on_closed,
};

/* --- coming and going --------------------------------------------------------------------------------- */

static void set_address(struct downstream *down, int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	const char *text = NULL;
	if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;
		if (peer.ss_family == AF_INET) {
			memcpy(down->address, &v4->sin_addr, 4);
			down->address_len = 4;
		} else if (peer.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
			memcpy(down->address, v6->sin6_addr.s6_addr + 12, 4);
			down->address_len = 4;
		} else if (peer.ss_family == AF_INET6) {
			memcpy(down->address, &v6->sin6_addr, 16);
			down->address_len = 16;
		}
		if (down->address_len)
			text = inet_ntop(down->address_len == 4 ? AF_INET : AF_INET6, down->address, down->ip,
					 sizeof(down->ip));
	}
	if (!text)
		strcpy(down->ip, "unknown"); /* RFC 7239 6.2 */
	down->ip_len = (uint8_t)strlen(down->ip);
}

/* Said without a transaction: there may be no memory for one. */
static void refuse_connection(struct worker *worker, int fd, enum gateway_error error)
{
	char body[256], answer[512];
	int len = snprintf(body, sizeof(body),
			   "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
			   "\"error\":\"%s\",\"detail\":\"%s\"}\n",
			   errors[error].word, errors[error].help);
	int all = snprintf(answer, sizeof(answer),
			   "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
			   "Connection: close\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n%s",
			   len, body);
	STAT_ADD(worker->stats.connections_refused, 1);
	STAT_ADD(worker->stats.errors[error], 1);
	if (send(fd, answer, (size_t)all, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("gateway", "a refused connection was not told why");
	shutdown(fd, SHUT_WR);
	close(fd);
}

/* Counts the connection for its address. True when that is one too many: it was told so and is closing. */
static bool over_address_limit(struct downstream *down)
{
	struct worker *worker = down->worker;
	uint32_t limit = worker->limits->connections_per_address;
	if (!limit || !worker->gateway->address_counts || !down->address_len)
		return false;
	down->counted = true;
	if (atomic_fetch_add(address_count(down), 1) < limit)
		return false;
	STAT_ADD(worker->stats.connections_refused, 1);
	STAT_ADD(worker->stats.errors[GATEWAY_ERROR_ADDRESS_LIMIT], 1);
	down->transaction = transaction_create(down);
	if (down->transaction)
		downstream_answer(down, 0, GATEWAY_ERROR_ADDRESS_LIMIT, NULL, true);
	else
		downstream_close(down, false);
	return true;
}

/* Is there a place for one more? Counts it when there is; else the limit that is reached. */
static enum gateway_error take_place(const struct listener *listener)
{
	struct worker *worker = listener->worker;
	struct gateway *gateway = worker->gateway;
	const struct limits_config *limits = worker->limits;
	if (worker->downstreams_max && worker->downstream_count >= worker->downstreams_max)
		return GATEWAY_ERROR_MEMORY_LIMIT;
	if (atomic_fetch_add(&gateway->connections, 1) >= limits->connections) {
		atomic_fetch_sub(&gateway->connections, 1);
		return GATEWAY_ERROR_OVERLOAD;
	}
	atomic_uint *here = &gateway->listener_connections[listener->address];
	if (limits->connections_per_listener &&
	    atomic_fetch_add(here, 1) >= limits->connections_per_listener) {
		atomic_fetch_sub(here, 1);
		atomic_fetch_sub(&gateway->connections, 1);
		return GATEWAY_ERROR_LISTENER_LIMIT;
	}
	return GATEWAY_ERROR_NONE;
}

static void leave_place(struct worker *worker, unsigned address)
{
	atomic_fetch_sub(&worker->gateway->connections, 1);
	if (worker->limits->connections_per_listener)
		atomic_fetch_sub(&worker->gateway->listener_connections[address], 1);
}

void downstream_accept(struct listener *listener, int fd)
{
	struct worker *worker = listener->worker;
	STAT_ADD(worker->stats.connections_accepted, 1);
	enum gateway_error error = take_place(listener);
	if (error) {
		refuse_connection(worker, fd, error);
		return;
	}
	struct downstream *down = calloc(1, sizeof(*down));
	if (!down) {
		leave_place(worker, listener->address);
		refuse_connection(worker, fd, GATEWAY_ERROR_MEMORY);
		return;
	}
	down->listener = (uint8_t)listener->address;
	down->worker = worker;
	timer_init(&down->timer, on_expired);
	stream_init(&down->stream, &worker->ring, &downstream_events, fd);
	set_address(down, fd);
	list_push_back(&worker->downstreams, &down->link);
	worker->downstream_count++;
	STAT_ADD(worker->stats.connections_active, 1);
	if (over_address_limit(down))
		return;
	wait_for_request(down);
}

void downstream_drain(struct worker *worker, bool cut)
{
	struct list *link = worker->downstreams.next;
	while (link != &worker->downstreams) {
		struct downstream *down = container_of(link, struct downstream, link);
		link = link->next;
		if (cut && down->state == DOWNSTREAM_BUSY)
			transaction_abort(down->transaction, GATEWAY_ERROR_DRAINING);
		else if (cut || (down->state == DOWNSTREAM_IDLE && !worker->handed_over))
			downstream_close(down, false);
		else if (down->transaction && !(worker->handed_over && down->transaction->status))
			/* A head that went out already has promised another request. */
			down->transaction->persist = false;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transaction: one request's life between a client and an upstream.
 *
 * Two streams of bytes flow independently, each a loop of "read a piece, send the piece, read the next", so
 * nothing is ever buffered beyond one piece a direction and a slow reader slows its sender down:
 *
 *   request   client data ─▶ decode ─▶ frame ─▶ upstream_send ─▶ (sent) ─▶ read the client again
 *   response  upstream data ─▶ parse head / decode ─▶ frame ─▶ stream_send ─▶ (sent) ─▶ read the upstream
 *
 * The hard part is the ends. The response may be over before the request is; either side may vanish at any
 * step; an upstream connection that was idle may turn out dead. What happened is kept as plain facts (the
 * bits of struct transaction) and each event asks them; there is one place that ends a transaction well
 * (finish) and one that ends it badly (fail).
 */
#include "gateway/worker.h"

#include "base/clock.h"
#include "base/siphash.h"
#include "gateway/forward.h"

#include <errno.h>
#include <stdlib.h>

#define INTERIMS_MAX	  1000
#define COPY_BYTES_MAX	  4096 /* a body piece up to this long is copied behind its head: one send */
#define FREE_TRANSACTIONS 256
#define TAIL_PLAIN	  "0\r\n\r\n"
#define TAIL_AFTER_DATA	  "\r\n0\r\n\r\n"

static void pump_request(struct transaction *t);
static void pump_response(struct transaction *t);
static void fail(struct transaction *t, enum gateway_error error, const char *detail);

/* --- life ------------------------------------------------------------------------------------------- */

struct transaction *transaction_create(struct downstream *down)
{
	struct worker *worker = down->worker;
	struct transaction *t = worker->free_transactions;
	if (t) {
		worker->free_transactions = t->next_free;
		worker->free_transaction_count--;
	} else {
		t = malloc(sizeof(*t));
		if (!t)
			return NULL;
	}
	/* The two heads are large and initialised where they are used. */
	memset(t, 0, offsetof(struct transaction, request));
	memset((char *)t + offsetof(struct transaction, head_block), 0,
	       offsetof(struct transaction, response) - offsetof(struct transaction, head_block));
	memset((char *)t + offsetof(struct transaction, response_head_block), 0,
	       sizeof(*t) - offsetof(struct transaction, response_head_block));
	t->worker = worker;
	t->down = down;
	http_head_init(&t->request, 0, (uint16_t)worker->limits->fields);
	return t;
}

void transaction_release_upstream(struct transaction *t, bool reusable)
{
	struct upstream *upstream = t->up.upstream;
	if (upstream && upstream->stream.sending && t->connected) {
		upstream->held_block = t->request_block;
		upstream->held_tail = t->request_tail;
		upstream->held_input = t->down->input;
		t->request_block = t->request_tail = NULL;
		t->down->input = (struct ring_buffer){0};
		t->down->input_off = 0;
	}
	upstream_release(&t->up, reusable);
}

void transaction_destroy(struct transaction *t)
{
	struct worker *worker = t->worker;
	transaction_release_upstream(t, false);
	exchange_destroy(t->sample);
	ring_buffer_put(&worker->ring, &t->response_input);
	worker_block_put(worker, &t->head_block);
	worker_block_put(worker, &t->request_block);
	worker_block_put(worker, &t->response_head_block);
	worker_block_put(worker, &t->response_block);
	worker_block_put(worker, &t->request_tail);
	worker_block_put(worker, &t->response_tail);
	http_body_fini(&t->request_body);
	http_body_fini(&t->response_body);
	if (t->use)
		snapshot_use_put(t->use);
	if (worker->free_transaction_count < FREE_TRANSACTIONS) {
		t->next_free = worker->free_transactions;
		worker->free_transactions = t;
		worker->free_transaction_count++;
	} else {
		free(t);
	}
}

/* Moves the deadline: whose turn is it? See transaction_expired(). */
static bool waits_for_client(const struct transaction *t)
{
	if (t->tunnel || t->response_sending)
		return true;
	if (t->wants_continue)
		return false;
	return t->connected && !t->request_read && !t->request_sending && !t->request_failed;
}

static void touch(struct transaction *t)
{
	const struct limits_config *limits = t->worker->limits;
	uint64_t ms = waits_for_client(t) ? limits->idle_timeout_ms : limits->upstream_timeout_ms;
	if (!t->connected)
		ms += (uint64_t)limits->connect_timeout_ms * ENDPOINT_ADDRESSES_MAX;
	timer_set(&t->worker->ring.timers, &t->down->timer, t->worker->ring.now_ns + ms * NS_PER_MS);
}

/* --- pace --------------------------------------------------------------------------------------------- */

static void pace_begin(const struct transaction *t, struct pace *pace)
{
	if (!pace->since_ns)
		pace->since_ns = t->worker->ring.now_ns;
}

/*
 * The wait ended, or is looked at, `bytes` further. Returns true when the client was slower than
 * limits.min_rate_bytes over a window of idle_timeout_ms of waiting; time in which an upstream was slow does
 * not count, nor do bytes of an earlier window.
 */
static bool pace_too_slow(const struct transaction *t, struct pace *pace, uint64_t bytes)
{
	const struct limits_config *limits = t->worker->limits;
	if (!pace->since_ns)
		return false;
	pace->waited_ns += t->worker->ring.now_ns - pace->since_ns;
	pace->bytes += bytes;
	pace->since_ns = 0;
	if (pace->waited_ns < limits->idle_timeout_ms * NS_PER_MS)
		return false;
	bool slow = pace->bytes < (uint64_t)limits->min_rate_bytes * (pace->waited_ns / NS_PER_MS) / 1000;
	pace->waited_ns = pace->bytes = 0;
	return slow;
}

static void count_end(struct transaction *t)
{
	if (t->error)
		STAT_ADD(t->worker->stats.errors[t->error], 1);
	if (!t->stats)
		return;
	struct gateway_side_stats *side = &t->stats->side[t->side];
	if (t->error)
		STAT_ADD(t->stats->errors[t->error], 1);
	STAT_ADD(side->status[t->response_begun && t->status >= 100 ? t->status / 100 : 0], 1);
	STAT_ADD(side->request_bytes, t->request_body.total_bytes);
	STAT_ADD(side->response_bytes, t->response_body.total_bytes);
	if (t->response_begun)
		stats_latency(side, t->worker->ring.now_ns - t->begun_ns);
}

/* The response went out whole. */
static void finish(struct transaction *t)
{
	struct downstream *down = t->down;
	bool whole = t->request_read && !t->request_sending && !t->request_failed;
	bool leftover = t->response_off < t->response_input.len;
	transaction_release_upstream(t, t->upstream_reusable && whole && !leftover && !t->upstream_ended);
	count_end(t);
	sample_finish(t);
	downstream_done(down, t->persist && whole);
}

void transaction_abort(struct transaction *t, enum gateway_error error)
{
	t->error = (uint16_t)error;
	count_end(t);
	sample_finish(t);
	/* A message that ends with the connection would look whole after a FIN. */
	downstream_close(t->down, t->response_begun && t->client_body == HTTP_BODY_CLOSE);
}

/* The upstream's part went wrong: an answer of our own while the client has seen nothing, else a visible cut.
 */
static void fail(struct transaction *t, enum gateway_error error, const char *detail)
{
	bool whole = t->request_read && !t->request_sending;
	transaction_release_upstream(t, false);
	if (t->response_begun || t->response_sending) {
		transaction_abort(t,
				  error == GATEWAY_ERROR_CLIENT_STALLED ? error : GATEWAY_ERROR_UPSTREAM_CUT);
		return;
	}
	t->error = (uint16_t)error;
	count_end(t);
	sample_finish(t);
	downstream_answer(t->down, 0, error, detail, !whole);
}

/* --- routing ---------------------------------------------------------------------------------------- */

/* The value of one cookie, over all Cookie fields (RFC 6265 4.2.1). */
static struct slice cookie_value(const struct http_head *head, const char *bytes, struct slice name)
{
	for (uint16_t i = 0; i < head->field_count; i++) {
		if (head->fields[i].id != PHX_FIELD_COOKIE)
			continue;
		struct slice rest = http_field_value(&head->fields[i], bytes), pair;
		while (slice_split(&rest, ';', &pair)) {
			if (pair.len > name.len && pair.ptr[name.len] == '=' && slice_starts(pair, name))
				return slice_of(pair.ptr + name.len + 1, pair.len - name.len - 1);
		}
	}
	return (struct slice){NULL, 0};
}

/* A request without the header or cookie that splits falls back to the client's address: a user without a
 * name yet still stays on one side. */
static struct slice split_key(const struct transaction *t, const char *bytes)
{
	const struct route_config *config = t->route->config;
	struct slice key = {NULL, 0};
	if (config->split_by == SPLIT_BY_HEADER) {
		const struct http_field *field =
			http_head_find_name(&t->request, bytes, slice_str(config->split_name));
		if (field)
			key = http_field_value(field, bytes);
	} else if (config->split_by == SPLIT_BY_COOKIE) {
		key = cookie_value(&t->request, bytes, slice_str(config->split_name));
	}
	return key.len ? key : slice_of((const char *)t->down->address, t->down->address_len);
}

static enum phx_side choose_side(struct transaction *t, const char *bytes)
{
	struct policy *policy = t->worker->policy;
	uint32_t slot = t->route->slot;
	/* The step is read before the weight: evidence may be counted for an older step, never a newer one.
	 */
	t->step = __atomic_load_n(&policy->slots[slot].step, __ATOMIC_ACQUIRE);
	uint32_t weight_bp = policy_weight_bp(policy, slot);
	if (weight_bp == 0)
		return PHX_LEGACY;
	if (weight_bp >= PHX_WEIGHT_ONE)
		return PHX_MODERN;
	if (t->route->config->split_by == SPLIT_BY_REQUEST) {
		uint64_t n = __atomic_fetch_add(&policy->cursors[slot].split_next, 1, __ATOMIC_RELAXED);
		return phx_split_by_request(n, weight_bp, policy->seed ^ slot) ? PHX_MODERN : PHX_LEGACY;
	}
	struct slice key = split_key(t, bytes);
	uint64_t hash = siphash24(policy->key, key.ptr, key.len);
	return phx_split_by_key(hash, weight_bp) ? PHX_MODERN : PHX_LEGACY;
}

/* "." and ".." segments, plain or percent-encoded, could climb out of an upstream's base path. */
static bool has_dot_segment(struct slice path)
{
	struct slice rest = slice_of(path.ptr + 1, path.len - 1), segment;
	while (slice_split(&rest, '/', &segment)) {
		unsigned dots = 0;
		size_t i = 0;
		while (i < segment.len) {
			if (segment.ptr[i] == '.')
				i++;
			else if (segment.len - i >= 3 && strncasecmp(segment.ptr + i, "%2e", 3) == 0)
				i += 3;
			else
				break;
			dots++;
		}
		if (segment.len && i == segment.len && dots <= 2)
			return true;
	}
	return false;
}

static void count_begin(struct transaction *t)
{
	STAT_ADD(t->worker->stats.requests, 1);
	if (!t->stats)
		return;
	if (t->stats->step != t->step) {
		__atomic_store_n(&t->stats->step_requests[0], 0, __ATOMIC_RELAXED);
		__atomic_store_n(&t->stats->step_requests[1], 0, __ATOMIC_RELAXED);
		__atomic_store_n(&t->stats->step, t->step, __ATOMIC_RELEASE);
	}
	STAT_ADD(t->stats->step_requests[t->side], 1);
	STAT_ADD(t->stats->side[t->side].requests, 1);
	if (t->synthetic)
		STAT_ADD(t->stats->side[t->side].synthetic, 1);
}

/* A request that goes nowhere. Whether the connection can go on depends on whether its body is all here. */
static void refuse(struct transaction *t, int status, enum gateway_error error, const char *detail)
{
	struct downstream *down = t->down;
	size_t consumed = 0, produced = 0;
	enum http_body_result result =
		http_body_read(&t->request_body, down->input.data + down->input_off,
			       down->input.len - down->input_off, &consumed, &produced);
	down->input_off += (uint32_t)consumed;
	t->request_read = result == HTTP_BODY_END;
	t->error = (uint16_t)error;
	STAT_ADD(t->worker->stats.requests, 1);
	STAT_ADD(t->worker->stats.errors[error], 1);
	/* A client that speaks wrongly once is not listened to again (RFC 9112 9.6). */
	downstream_answer(down, status, error, detail,
			  !t->request_read || error == GATEWAY_ERROR_BAD_REQUEST);
}

static bool find_route(struct transaction *t, const char *bytes, const struct http_target *target)
{
	struct worker *worker = t->worker;
	if (!worker->routes)
		return false;
	struct slice host = target->authority;
	if (!host.len) {
		const struct http_field *field = http_head_find(&t->request, PHX_FIELD_HOST);
		host = field ? http_field_value(field, bytes) : (struct slice){"", 0};
	}
	struct slice path = target->path.ptr[0] == '*' ? SLICE("/*") : target->path;
	struct snapshot *snapshot = worker->routes->snapshot;
	uint32_t index = router_match(snapshot->router, t->method, host, path);
	if (index == ROUTER_NONE)
		return false;
	t->route = &snapshot->routes[index];
	t->use = worker->routes;
	snapshot_use_get(t->use);
	return true;
}

static bool write_request(struct transaction *t, const char *bytes, const struct http_target *target)
{
	struct endpoint *endpoint = t->route->endpoint[t->side];
	char authority[300];
	int n = snprintf(authority, sizeof(authority), strchr(endpoint->host, ':') ? "[%s]:%u" : "%s:%u",
			 endpoint->host, endpoint->port);
	struct forward_request forward = {
		.head = &t->request,
		.bytes = bytes,
		.target = target,
		.base_path = t->route->base_path[t->side],
		.client_ip = slice_of(t->down->ip, t->down->ip_len),
		.authority = slice_of(authority, (size_t)n),
		.upgrade = t->wants_upgrade,
	};
	worker_random_id(t->worker, forward.request_id);
	struct slice id;
	t->request_len =
		forward_request_write(&forward, t->request_block->bytes, t->worker->block_bytes, &id);
	if (!t->request_len)
		return false;
	memcpy(t->request_id, id.ptr, id.len);
	t->request_id[id.len] = 0;
	return true;
}

/* What the head says, kept where it survives the head's bytes. */
static void take_head(struct transaction *t, const char *bytes)
{
	const struct phx_head *scan = &t->request.scan;
	struct slice method = http_head_method(&t->request, bytes);
	t->begun_ns = t->worker->ring.now_ns;
	t->method = scan->method;
	t->minor = scan->minor;
	t->head_request = scan->method == PHX_METHOD_HEAD;
	t->synthetic = scan->flags & PHX_HEAD_SYNTHETIC;
	t->persist = phx_head_persists(scan) && !t->worker->draining;
	snprintf(t->method_text, sizeof(t->method_text), "%.*s", SLICE_ARG(method));
	http_body_of_request(&t->request_body, &t->request);
	bool has_body = t->request_body.kind != HTTP_BODY_NONE;
	t->wants_continue = (scan->flags & PHX_HEAD_CONTINUE) && scan->minor == 1 && has_body;
	if ((scan->flags & PHX_HEAD_UPGRADE) && (scan->flags & PHX_HEAD_HAS_UPGRADE) && scan->minor == 1 &&
	    !has_body) {
		t->wants_upgrade = forward_upgrades(&t->request, bytes);
	}
}

void transaction_start(struct transaction *t, const char *bytes)
{
	struct worker *worker = t->worker;
	struct http_target target;
	take_head(t, bytes);
	if (t->method == PHX_METHOD_CONNECT) {
		refuse(t, 501, GATEWAY_ERROR_BAD_REQUEST,
		       "CONNECT is not offered: this is a gateway, not a proxy");
		return;
	}
	int error = http_target_parse(&t->request, bytes, &target);
	if (error) {
		t->request.scan.error = (uint8_t)error;
		refuse(t, 400, GATEWAY_ERROR_BAD_REQUEST, http_refusal_help(&t->request, HTTP_PARSE_REFUSED));
		return;
	}
	if (worker->limits->body_bytes && t->request_body.kind == HTTP_BODY_LENGTH &&
	    t->request_body.remaining > worker->limits->body_bytes) {
		refuse(t, 413, GATEWAY_ERROR_BODY_TOO_LARGE, NULL);
		return;
	}
	if (!find_route(t, bytes, &target)) {
		refuse(t, 404, GATEWAY_ERROR_NO_ROUTE, NULL);
		return;
	}
	t->side = choose_side(t, bytes);
	if (t->route->base_path[t->side].len && target.path.ptr[0] == '/' && has_dot_segment(target.path)) {
		refuse(t, 400, GATEWAY_ERROR_BAD_REQUEST,
		       "the path has \".\" or \"..\" segments and the upstream has a base path to climb out "
		       "of");
		return;
	}
	t->stats = worker_route_stats(worker, t->route->slot);
	t->request_block = worker_block_get(worker);
	if (!t->stats || !t->request_block) {
		refuse(t, 503, GATEWAY_ERROR_MEMORY, NULL);
		return;
	}
	if (!write_request(t, bytes, &target)) {
		refuse(t, 431, GATEWAY_ERROR_BAD_REQUEST,
		       "the head and what Phoenix adds do not fit limits.head_bytes");
		return;
	}
	count_begin(t);
	sample_begin(t, target.path_query);
	worker_block_put(worker, &t->head_block);
	t->replayable = true;
	pump_request(t);
}

/* --- framing ---------------------------------------------------------------------------------------- */

/*
 * Wraps a piece for the wire into pieces[0..4). `end`: the message is over with it. Returns the count; 0 when
 * there is nothing to send. Sets *bad when a trailer found no memory.
 */
static unsigned frame(struct transaction *t, char chunk[24], struct block **tail_block,
		      enum http_body_kind kind, const struct http_body *body, char *data, size_t len,
		      bool end, struct iovec *pieces, bool *bad)
{
	unsigned n = 0;
	if (kind != HTTP_BODY_CHUNKED) {
		if (len)
			pieces[n++] = (struct iovec){data, len};
		return n;
	}
	if (len) {
		int digits = snprintf(chunk, 24, "%zx\r\n", len);
		pieces[n++] = (struct iovec){chunk, (size_t)digits};
		pieces[n++] = (struct iovec){data, len};
	}
	if (end && body->trailer && body->trailer->head.field_count) {
		struct block *block = *tail_block = worker_block_get(t->worker);
		if (!block) {
			*bad = true;
			return 0;
		}
		char *out = block->bytes;
		size_t at = len ? 5 : 3;
		memcpy(out, len ? "\r\n0\r\n" : "0\r\n", at);
		size_t size = forward_trailer_write(body->trailer, out + at, t->worker->block_bytes - at);
		*bad = size == 0;
		pieces[n++] = (struct iovec){out, at + size};
	} else if (end) {
		const char *tail = len ? TAIL_AFTER_DATA : TAIL_PLAIN;
		pieces[n++] = (struct iovec){(char *)(uintptr_t)tail, strlen(tail)};
	} else if (len) {
		pieces[n++] = (struct iovec){(char *)(uintptr_t) "\r\n", 2};
	}
	return n;
}

/* Appends the pieces to a block; the caller knows that they fit. */
static size_t pieces_copy(char *out, const struct iovec *pieces, unsigned count)
{
	size_t at = 0;
	for (unsigned i = 0; i < count; i++) {
		memcpy(out + at, pieces[i].iov_base, pieces[i].iov_len);
		at += pieces[i].iov_len;
	}
	return at;
}

/* --- request: client to upstream ------------------------------------------------------------------------ */

static void on_upstream_connected(struct upstream_user *user, int err);
static void on_upstream_data(struct upstream_user *user, struct ring_buffer buffer);
static void on_upstream_end(struct upstream_user *user, int err);
static void on_upstream_sent(struct upstream_user *user, int err);

static void send_to_upstream(struct transaction *t, const struct iovec *pieces, unsigned count)
{
	t->request_sending = true;
	stream_send(&t->up.upstream->stream, pieces, count);
	/* The answer may come at any time from now on, even before the request was sent. */
	if (!t->response_input.data)
		stream_read(&t->up.upstream->stream);
	touch(t);
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
		.data = on_upstream_data,
		.end = on_upstream_end,
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
		touch(t);
		break;
	case UPSTREAM_FULL:
		fail(t, GATEWAY_ERROR_POOL_EMPTY, NULL);
		break;
	case UPSTREAM_NO_ADDRESS:
		fail(t, GATEWAY_ERROR_UPSTREAM_RESOLVE, NULL);
		break;
	case UPSTREAM_NO_MEMORY:
		fail(t, GATEWAY_ERROR_MEMORY, NULL);
		break;
	}
}

/* Reads on from the client: the body's next piece, or, when the request is over, to notice that it leaves. */
static void read_client(struct transaction *t)
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
static void pump_request(struct transaction *t)
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
		fail(t, GATEWAY_ERROR_BAD_REQUEST, t->request_body.why);
		return;
	}
	if (t->worker->limits->body_bytes && t->request_body.total_bytes > t->worker->limits->body_bytes) {
		fail(t, GATEWAY_ERROR_BODY_TOO_LARGE, NULL);
		return;
	}
	if (pace_too_slow(t, &t->upload, consumed)) {
		fail(t, GATEWAY_ERROR_BODY_SLOW, NULL);
		return;
	}
	sample_request_body(t, data, produced);
	t->request_read = result == HTTP_BODY_END;
	struct iovec pieces[5];
	char first_chunk[24];
	bool bad = false;
	unsigned count =
		frame(t, first ? first_chunk : t->up.upstream->chunk, &t->request_tail, t->request_body.kind,
		      &t->request_body, data, produced, t->request_read, pieces, &bad);
	if (bad) {
		fail(t, GATEWAY_ERROR_MEMORY, NULL);
		return;
	}
	if (first) {
		/* What came with the head goes behind it into the block, which is made to hold both: one
		 * send, and all of it is still here if it must be sent again. */
		t->request_len += pieces_copy(t->request_block->bytes + t->request_len, pieces, count);
		release_input(down);
		acquire(t, false);
		return;
	}
	t->replayable = false;
	if (count)
		send_to_upstream(t, pieces, count);
	else
		release_input(down), read_client(t);
}

/* The whole request is in the block and the server has not seen it, or may see it twice: once more, on a new
 * connection (RFC 9112 9.3.1). */
static bool retry(struct transaction *t)
{
	struct upstream *upstream = t->up.upstream;
	if (t->retried || !upstream || !upstream_reused(upstream) || t->upstream_heard || !t->replayable ||
	    !t->request_read || !(PHX_METHODS_IDEMPOTENT & PHX_METHOD_BIT(t->method)))
		return false;
	if (t->request_sending) {
		/* The old connection may still read from the block: the new one gets a copy. */
		struct block *copy = worker_block_get(t->worker);
		if (!copy)
			return false;
		memcpy(copy->bytes, t->request_block->bytes, t->request_len);
		transaction_release_upstream(t, false);
		t->request_block = copy;
	} else {
		transaction_release_upstream(t, false);
	}
	t->retried = true;
	t->request_sending = false;
	t->request_failed = false;
	STAT_ADD(t->stats->side[t->side].retries, 1);
	acquire(t, true);
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
	if (err == -ETIMEDOUT)
		fail(t, GATEWAY_ERROR_UPSTREAM_TIMEOUT, "the upstream did not accept a connection in time");
	else
		fail(t, GATEWAY_ERROR_UPSTREAM_CONNECT, NULL);
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
		touch(t);
		return;
	}
	release_input(t->down);
	touch(t);
	if (t->tunnel && t->tunnel_client_done) {
		stream_shutdown(&t->up.upstream->stream);
		if (t->tunnel_upstream_done && !t->response_sending)
			finish(t);
	} else if (t->response_read && !t->response_sending) {
		finish(t);
	} else {
		read_client(t);
	}
}

void transaction_client_data(struct transaction *t)
{
	if (t->tunnel) {
		struct downstream *down = t->down;
		struct iovec piece = {down->input.data + down->input_off, down->input.len - down->input_off};
		down->input_off = down->input.len;
		t->request_body.total_bytes += piece.iov_len;
		send_to_upstream(t, &piece, 1);
	} else if (!t->request_read && t->connected && !t->request_sending && !t->request_failed) {
		pump_request(t);
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
			finish(t);
	} else if (!t->request_read) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_GONE);
	} else {
		/* A half-closed client still waits for its answer (RFC 9112 9.6). */
		t->persist = false;
	}
}

/* --- response: upstream to client --------------------------------------------------------------------- */

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
	stream_send(&t->down->stream, pieces, count);
	touch(t);
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
		fail(t, GATEWAY_ERROR_UPSTREAM_INVALID, "the upstream sent more than 1000 interim responses");
		return;
	}
	if (t->minor == 0) {
		http_head_init(&t->response, PHX_HEAD_RESPONSE, (uint16_t)t->worker->limits->fields);
		t->response_head_len = 0;
		pump_response(t);
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
		fail(t, GATEWAY_ERROR_UPSTREAM_INVALID, http_refusal_help(&t->response, result));
		return NULL;
	}
	if (len == worker->limits->head_bytes) {
		fail(t, GATEWAY_ERROR_UPSTREAM_INVALID,
		     "the upstream's head is longer than limits.head_bytes");
		return NULL;
	}
	if (!before) {
		if (!t->response_head_block)
			t->response_head_block = worker_block_get(worker);
		if (!t->response_head_block) {
			fail(t, GATEWAY_ERROR_MEMORY, NULL);
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
		fail(t, GATEWAY_ERROR_UPSTREAM_INVALID, t->response_body.why);
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
		*count = frame(t, t->response_chunk, &t->response_tail, t->client_body, &t->response_body,
			       data, produced, t->response_read, pieces, &bad);
	if (bad)
		fail(t, GATEWAY_ERROR_MEMORY, NULL);
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
		fail(t, GATEWAY_ERROR_MEMORY, NULL);
	return t->response_block != NULL;
}

static void send_final_head(struct transaction *t, const char *bytes)
{
	size_t len = write_response_head(t, bytes);
	if (!len) {
		t->status = 0;
		fail(t, GATEWAY_ERROR_UPSTREAM_INVALID, "the upstream's head does not fit limits.head_bytes");
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
		pieces[0].iov_len += pieces_copy(t->response_block->bytes + len, pieces + 1, count);
		count = 0;
	}
	send_to_client(t, pieces, count + 1);
}

/* Takes what has arrived from the upstream and sends it on. */
static void pump_response(struct transaction *t)
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
			finish(t);
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
		fail(t, GATEWAY_ERROR_UPSTREAM_INVALID, contradiction);
	else if (t->response.scan.status < 200 && t->response.scan.status != 101)
		send_interim(t, bytes);
	else
		send_final_head(t, bytes);
}

static void on_upstream_data(struct upstream_user *user, struct ring_buffer buffer)
{
	struct transaction *t = container_of(user, struct transaction, up);
	t->response_input = buffer;
	t->response_off = 0;
	if (!t->upstream_heard) {
		t->upstream_heard = true;
		http_head_init(&t->response, PHX_HEAD_RESPONSE, (uint16_t)t->worker->limits->fields);
	}
	if (!t->response_sending)
		pump_response(t);
}

/* What the end of the upstream's stream means depends on how far the response was. */
static void upstream_over(struct transaction *t)
{
	if (t->tunnel) {
		t->tunnel_upstream_done = true;
		stream_shutdown(&t->down->stream);
		if (t->tunnel_client_done && !t->request_sending)
			finish(t);
	} else if (!t->status) {
		fail(t, GATEWAY_ERROR_UPSTREAM_CLOSED, NULL);
	} else if (http_body_ends_at_eof(&t->response_body)) {
		pump_response(t);
	} else {
		fail(t, GATEWAY_ERROR_UPSTREAM_CUT, NULL);
	}
}

static void on_upstream_end(struct upstream_user *user, int err)
{
	struct transaction *t = container_of(user, struct transaction, up);
	t->upstream_ended = true;
	t->upstream_reusable = false;
	if (!t->upstream_heard && retry(t)) {
		t->upstream_ended = false;
		return;
	}
	/* A reset is never a proper end of a message that ends with the connection. */
	if (err && t->status && t->response_body.kind == HTTP_BODY_CLOSE && !t->tunnel)
		fail(t, GATEWAY_ERROR_UPSTREAM_CUT, NULL);
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
	touch(t);
	if (t->response_interim) {
		t->response_interim = false;
		if (t->response_off < t->response_input.len)
			pump_response(t);
		else if (t->upstream_ended)
			upstream_over(t);
		else
			read_upstream(t);
	} else if (t->response_read) {
		/* The answer may have overtaken the news that the request's last piece was sent. */
		if (!t->request_read || !t->request_sending)
			finish(t);
	} else if (t->response_off < t->response_input.len) {
		pump_response(t);
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
				read_client(t);
		}
	}
}

/* --- time ------------------------------------------------------------------------------------------- */

void transaction_expired(struct transaction *t)
{
	uint64_t taken_bytes = t->down->stream.sent_bytes - t->download_mark;
	if (t->tunnel) {
		transaction_abort(t, GATEWAY_ERROR_NONE);
	} else if (t->response_read && !t->response_sending) {
		finish(t);
	} else if (t->response_sending && !taken_bytes) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_STALLED);
	} else if (t->response_sending && pace_too_slow(t, &t->download, taken_bytes)) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_SLOW);
	} else if (t->response_sending) {
		/* A long piece on a slow line: some of it was taken, so it goes on. */
		t->download_mark += taken_bytes;
		pace_begin(t, &t->download);
		touch(t);
	} else if (waits_for_client(t)) {
		fail(t, GATEWAY_ERROR_BODY_TIMEOUT, NULL);
	} else {
		fail(t, GATEWAY_ERROR_UPSTREAM_TIMEOUT, NULL);
	}
}

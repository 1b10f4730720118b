/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transaction: the beginning and the ends of one request's life. See transaction.h for the whole.
 */
#include "gateway/access.h"
#include "gateway/health.h"
#include "gateway/transaction.h"

#include "base/clock.h"

#include <stdlib.h>

#define FREE_TRANSACTIONS 256

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
	memset(t, 0, offsetof(struct transaction, request));
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
		t->request_block = t->request_tail = NULL;
		/* While all that was sent is in the block, the input holds what comes after the request. */
		if (!t->replayable) {
			upstream->held_input = t->down->input;
			t->down->input = (struct ring_buffer){0};
			t->down->input_off = 0;
		}
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
	free(t->target_long);
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

/* The request is with the upstream, and that has a limit of its own. */
static bool waits_for_answer(const struct transaction *t)
{
	return t->worker->limits->first_byte_timeout_ms && t->connected && !t->upstream_heard &&
	       t->request_read && !t->request_sending;
}

void transaction_touch(struct transaction *t)
{
	const struct limits_config *limits = t->worker->limits;
	uint64_t ms = waits_for_client(t)   ? limits->idle_timeout_ms
		      : waits_for_answer(t) ? limits->first_byte_timeout_ms
					    : limits->upstream_timeout_ms;
	if (!t->connected)
		ms += (uint64_t)limits->connect_timeout_ms * ENDPOINT_ADDRESSES_MAX;
	timer_set(&t->worker->ring.timers, &t->down->timer, t->worker->ring.now_ns + ms * NS_PER_MS);
}

/* --- pace --------------------------------------------------------------------------------------------- */

void pace_begin(const struct transaction *t, struct pace *pace)
{
	if (!pace->since_ns)
		pace->since_ns = t->worker->ring.now_ns;
}

/*
 * The wait ended, or is looked at, `bytes` further. Returns true when the client was slower than
 * limits.min_rate_bytes over a window of idle_timeout_ms of waiting; time in which an upstream was slow does
 * not count, nor do bytes of an earlier window.
 */
bool pace_too_slow(const struct transaction *t, struct pace *pace, uint64_t bytes)
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

bool transaction_error_is_upstreams(unsigned error)
{
	return error >= GATEWAY_ERROR_UPSTREAM_CONNECT && error <= GATEWAY_ERROR_UPSTREAM_CUT;
}

/* `answered`: the status of the answer that the client got whole, 0 = none or a cut one. */
static void count_end(struct transaction *t, unsigned answered)
{
	if (t->error)
		STAT_ADD(t->worker->stats.errors[t->error], 1);
	access_transaction(t, t->response_begun ? t->status : answered);
	if (!t->stats)
		return;
	if (transaction_error_is_upstreams(t->error))
		health_failed(t->worker, t->route, t->side);
	else if (t->status)
		health_answered(t->worker, t->route->slot, t->side);
	struct gateway_side_stats *side = &t->stats->side[t->side];
	if (t->error)
		STAT_ADD(t->stats->errors[t->error], 1);
	STAT_ADD(side->status[t->response_begun && t->status >= 100 ? t->status / 100 : 0], 1);
	if (t->synthetic)
		STAT_ADD(side->synthetic_status[answered / 100], 1);
	STAT_ADD(side->request_bytes, t->request_body.total_bytes);
	STAT_ADD(side->response_bytes, t->response_body.total_bytes);
	if (t->response_begun)
		stats_latency(side, t->worker->ring.now_ns - t->begun_ns);
}

/* The response went out whole. */
void transaction_finish(struct transaction *t)
{
	struct downstream *down = t->down;
	bool whole = t->request_read && !t->request_sending && !t->request_failed;
	bool leftover = t->response_off < t->response_input.len;
	if (t->up.upstream)
		t->up.upstream->pool->long_answers = t->response_body.total_bytes > RING_BUFFER_BYTES;
	transaction_release_upstream(t, t->upstream_reusable && whole && !leftover && !t->upstream_ended);
	count_end(t, t->status);
	sample_finish(t);
	downstream_done(down, t->persist && whole);
}

void transaction_abort(struct transaction *t, enum gateway_error error)
{
	t->error = (uint16_t)error;
	count_end(t, 0);
	sample_finish(t);
	/* A message that ends with the connection would look whole after a FIN. */
	downstream_close(t->down, t->response_begun && t->client_body == HTTP_BODY_CLOSE);
}

/* The upstream's part went wrong: an answer of our own while the client has seen nothing, else a visible cut.
 */
void transaction_fail(struct transaction *t, enum gateway_error error, const char *detail)
{
	bool whole = t->request_read && !t->request_sending;
	transaction_release_upstream(t, false);
	if (t->response_begun || t->response_sending) {
		transaction_abort(t,
				  transaction_error_is_upstreams(error) ? GATEWAY_ERROR_UPSTREAM_CUT : error);
		return;
	}
	t->error = (uint16_t)error;
	count_end(t, (unsigned)gateway_error_status(error));
	sample_finish(t);
	downstream_answer(t->down, 0, error, detail, !whole);
}

void transaction_expired(struct transaction *t)
{
	uint64_t taken_bytes = t->down->stream.sent_bytes - t->download_mark;
	if (t->tunnel) {
		transaction_abort(t, GATEWAY_ERROR_NONE);
	} else if (t->response_read && !t->response_sending) {
		transaction_finish(t);
	} else if (t->response_sending && !taken_bytes) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_STALLED);
	} else if (t->response_sending && pace_too_slow(t, &t->download, taken_bytes)) {
		transaction_abort(t, GATEWAY_ERROR_CLIENT_SLOW);
	} else if (t->response_sending) {
		/* A long piece on a slow line: some of it was taken, so it goes on. */
		t->download_mark += taken_bytes;
		pace_begin(t, &t->download);
		transaction_touch(t);
	} else if (waits_for_client(t)) {
		transaction_fail(t, GATEWAY_ERROR_BODY_TIMEOUT, NULL);
	} else {
		transaction_fail(t,
				 waits_for_answer(t) ? GATEWAY_ERROR_UPSTREAM_FIRST_BYTE
						     : GATEWAY_ERROR_UPSTREAM_TIMEOUT,
				 NULL);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample: which requests are compared, and the recording of what passes by.
 *
 * Recording copies bytes that are being forwarded anyway and never holds anything up. When a limit is hit
 * (body over the cap, memory) the sample is given up and counted under its reason; the request goes on.
 */
#include "gateway/transaction.h"

#include "base/clock.h"

static void count_outcome(struct transaction *t, enum exchange_outcome outcome)
{
	STAT_ADD(t->stats->outcome[outcome], 1);
}

/* Hands the exchange over without asking the other side. */
static void submit(struct transaction *t, enum exchange_outcome outcome)
{
	struct exchange *exchange = t->sample;
	t->sample = NULL;
	exchange->outcome = outcome;
	count_outcome(t, outcome);
	t->worker->gateway->sink->submit(t->worker->gateway->sink, exchange);
}

static struct exchange *exchange_begin(struct transaction *t)
{
	const struct route_config *config = t->route->config;
	struct exchange *exchange =
		exchange_create(&t->worker->gateway->budget, config->mirror.max_body_bytes);
	if (!exchange) {
		count_outcome(t, EXCHANGE_MEMORY);
		return NULL;
	}
	exchange->slot = t->route->slot;
	exchange->generation = t->route->generation;
	exchange->step = t->step;
	exchange->side = t->side;
	exchange->synthetic = t->synthetic;
	exchange->split_hash = t->split_hash;
	exchange->method = t->method;
	exchange->wall_ns = clock_wall_ns();
	memcpy(exchange->request_id, t->request_id, sizeof(exchange->request_id));
	buf_append_str(&exchange->method_name, t->method_text);
	if (exchange->method_name.failed) {
		exchange_destroy(exchange);
		count_outcome(t, EXCHANGE_MEMORY);
		return NULL;
	}
	return exchange;
}

/* The head as it was written for the upstream: what the other side must see too. */
static bool record_request_fields(struct transaction *t)
{
	struct http_head *head = &t->response; /* not in use before the response */
	http_head_init(head, 0, HTTP_FIELDS_MAX);
	if (http_head_parse(head, t->request_block->bytes, t->request_len) != HTTP_PARSE_DONE)
		return false;
	return exchange_add_fields(t->sample, &t->sample->request, head, t->request_block->bytes);
}

void sample_begin(struct transaction *t, struct slice target)
{
	struct policy *policy = t->worker->policy;
	uint32_t slot = t->route->slot;
	const struct route_config *config = t->route->config;
	if (config->mirror.sample_bp == 0 || (t->request.scan.flags & PHX_HEAD_SHADOW) ||
	    policy_is_killed(policy))
		return;
	if (!config->mirror.unsafe_methods && !(PHX_METHODS_SAFE & PHX_METHOD_BIT(t->method)))
		return;
	uint64_t n = __atomic_fetch_add(&policy->cursors[slot].sample_next, 1, __ATOMIC_RELAXED);
	if (!phx_split_by_request(n, config->mirror.sample_bp, ~policy->seed ^ slot))
		return;
	STAT_ADD(t->stats->sampled, 1);
	t->sample = exchange_begin(t);
	if (!t->sample)
		return;
	/* Asking legacy twice must be harmless whatever mirror.unsafe_methods says. */
	t->sample->control_wanted = (PHX_METHODS_SAFE & PHX_METHOD_BIT(t->method)) &&
				    phx_split_by_request(n, config->mirror.control_bp, policy->seed + slot);
	buf_append_slice(&t->sample->target, target);
	if (t->sample->target.failed || !record_request_fields(t))
		submit(t, EXCHANGE_MEMORY);
}

void sample_request_body(struct transaction *t, const char *data, size_t len)
{
	if (t->sample && len && !exchange_add_body(t->sample, &t->sample->request, slice_of(data, len)))
		submit(t, t->sample->outcome);
}

void sample_response_head(struct transaction *t, const char *bytes)
{
	if (!t->sample)
		return;
	t->sample->served.status = t->status;
	if (t->tunnel)
		submit(t, EXCHANGE_STREAM);
	else if (!exchange_add_fields(t->sample, &t->sample->served, &t->response, bytes))
		submit(t, EXCHANGE_MEMORY);
}

void sample_response_body(struct transaction *t, const char *data, size_t len)
{
	if (t->sample && len && !exchange_add_body(t->sample, &t->sample->served, slice_of(data, len)))
		submit(t, t->sample->outcome);
}

/* Without this, a modern side that died at full weight would leave nothing to judge by. */
void sample_modern_failed(struct transaction *t)
{
	if (!t->route->config->mirror.sample_bp)
		return;
	if (!t->sample)
		t->sample = exchange_begin(t);
	if (t->sample)
		submit(t, EXCHANGE_MODERN_FAILED);
}

void sample_finish(struct transaction *t)
{
	if (transaction_error_is_upstreams(t->error) && t->side == PHX_MODERN &&
	    t->route->config->mirror.sample_bp) {
		sample_modern_failed(t);
		return;
	}
	if (!t->sample)
		return;
	if (transaction_error_is_upstreams(t->error)) {
		submit(t, EXCHANGE_SERVED_FAILED);
	} else if (t->error || !t->response_read) {
		submit(t, EXCHANGE_CLIENT_GONE);
	} else {
		struct exchange *exchange = t->sample;
		t->sample = NULL;
		exchange->served_ns = t->worker->ring.now_ns - t->begun_ns;
		shadow_start(t->worker, t->use, t->route, exchange);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch: from a parsed head to a side: is the request one that may go on, which route is it, which side
 * serves it, and what is written to that side. The policy is read here, once, without a lock.
 */
#include "base/siphash.h"
#include "gateway/access.h"
#include "gateway/forward.h"
#include "gateway/health.h"
#include "gateway/transaction.h"

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
	t->split_hash = 0;
	if (weight_bp == 0)
		return PHX_LEGACY;
	if (weight_bp >= PHX_WEIGHT_ONE)
		return PHX_MODERN;
	if (t->route->config->split_by == SPLIT_BY_REQUEST) {
		uint64_t n = __atomic_fetch_add(&policy->cursors[slot].split_next, 1, __ATOMIC_RELAXED);
		return phx_split_by_request(n, weight_bp, policy->seed ^ slot) ? PHX_MODERN : PHX_LEGACY;
	}
	struct slice key = split_key(t, bytes);
	t->split_hash = siphash24(policy->key, key.ptr, key.len);
	return phx_split_by_key(t->split_hash, weight_bp) ? PHX_MODERN : PHX_LEGACY;
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

void transaction_count_side(struct transaction *t)
{
	if (t->stats->step != t->step) {
		__atomic_store_n(&t->stats->step_requests[0], 0, __ATOMIC_RELAXED);
		__atomic_store_n(&t->stats->step_requests[1], 0, __ATOMIC_RELAXED);
		__atomic_store_n(&t->stats->step, t->step, __ATOMIC_RELEASE);
	}
	STAT_ADD(t->stats->step_requests[t->side], 1);
	STAT_ADD(t->stats->side[t->side].requests, 1);
}

/* Can legacy serve this request of modern's instead? Not when what was written for modern cannot be turned
 * into what would have been written for legacy: see request_fail_over(). */
static bool may_fail_over(const struct transaction *t, const struct http_target *target)
{
	if (t->side != PHX_MODERN || !t->route->config->health.failover || target->path.ptr[0] != '/')
		return false;
	if (!target->authority.len && !http_head_find(&t->request, PHX_FIELD_HOST))
		return false;
	return !t->route->base_path[PHX_LEGACY].len || !has_dot_segment(target->path);
}

/* Modern is down: its request is legacy's. Where no copy of it will be sent to modern, as evidence of how
 * modern is now, that it was not there for its own request is evidence enough. */
static void divert(struct transaction *t)
{
	bool mirrored =
		t->route->config->mirror.unsafe_methods || (PHX_METHODS_SAFE & PHX_METHOD_BIT(t->method));
	STAT_ADD(t->stats->failovers, 1);
	if (!mirrored)
		sample_modern_failed(t);
	t->side = PHX_LEGACY;
	t->may_fail_over = false;
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
	if (t->synthetic)
		STAT_ADD(t->worker->stats.synthetic_refused, 1);
	access_transaction(t, (unsigned)(status ? status : gateway_error_status(error)));
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
	char authority[ENDPOINT_AUTHORITY_MAX];
	size_t n = 0;
	/* Only an HTTP/1.0 client may have sent no Host. */
	if (!(t->request.scan.flags & PHX_HEAD_HAS_HOST))
		n = endpoint_authority(t->route->endpoint[t->side], authority);
	struct forward_request forward = {
		.head = &t->request,
		.bytes = bytes,
		.target = target,
		.base_path = t->route->base_path[t->side],
		.client_ip = slice_of(t->down->ip, t->down->ip_len),
		.authority = slice_of(authority, n),
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
	size_t method_len = method.len < sizeof(t->method_text) - 1 ? method.len : sizeof(t->method_text) - 1;
	memcpy(t->method_text, method.ptr, method_len);
	t->method_text[method_len] = 0;
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
	access_note(t, target.path_query);
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
	t->stats = worker_route_stats(worker, t->route->slot);
	if (!t->stats) {
		refuse(t, 503, GATEWAY_ERROR_MEMORY, NULL);
		return;
	}
	t->may_fail_over = may_fail_over(t, &target);
	if (t->may_fail_over && health_is_down(worker->policy, t->route->slot, PHX_MODERN) &&
	    !health_is_down(worker->policy, t->route->slot, PHX_LEGACY))
		divert(t);
	if (t->route->base_path[t->side].len && target.path.ptr[0] == '/' && has_dot_segment(target.path)) {
		refuse(t, 400, GATEWAY_ERROR_BAD_REQUEST,
		       "the path has \".\" or \"..\" segments and the upstream has a base path to climb out "
		       "of");
		return;
	}
	t->request_block = worker_block_get(worker);
	if (!t->request_block) {
		refuse(t, 503, GATEWAY_ERROR_MEMORY, NULL);
		return;
	}
	if (!write_request(t, bytes, &target)) {
		refuse(t, 431, GATEWAY_ERROR_HEAD_TOO_LARGE,
		       "the head and what Phoenix adds do not fit limits.head_bytes");
		return;
	}
	STAT_ADD(worker->stats.requests, 1);
	transaction_count_side(t);
	if (t->synthetic)
		STAT_ADD(t->stats->side[t->side].synthetic, 1);
	sample_begin(t, target.path_query);
	worker_block_put(worker, &t->head_block);
	t->replayable = true;
	request_pump(t);
}

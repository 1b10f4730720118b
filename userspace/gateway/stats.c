/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats: summing up what each worker counted.
 *
 * Workers write with relaxed stores to counters of their own; a sum taken while they go on may be a few
 * requests behind, never wrong by more.
 */
#include "gateway/worker.h"

#define LATENCY_FIRST_NS UINT64_C(65536) /* 64 us */

uint64_t gateway_latency_bound_ns(unsigned bucket)
{
	if (bucket >= GATEWAY_LATENCY_BUCKETS - 1)
		return UINT64_MAX;
	uint64_t octave = LATENCY_FIRST_NS << (bucket / 4);
	return octave + octave / 4 * (bucket % 4 + 1);
}

/* Four buckets an octave: the octave is the highest bit, the quarter the two bits behind it. */
static unsigned latency_bucket(uint64_t ns)
{
	if (ns <= LATENCY_FIRST_NS)
		return 0;
	ns--;
	unsigned high = 63 - (unsigned)__builtin_clzll(ns);
	unsigned bucket = (high - 16) * 4 + (unsigned)(ns >> (high - 2) & 3);
	return bucket < GATEWAY_LATENCY_BUCKETS ? bucket : GATEWAY_LATENCY_BUCKETS - 1;
}

void stats_latency(struct gateway_side_stats *side, uint64_t latency_ns)
{
	STAT_ADD(side->latency_ns_sum, latency_ns);
	STAT_ADD(side->latency[latency_bucket(latency_ns)], 1);
}

/* Adds n counters, all uint64_t, one by one. */
static void add_counters(uint64_t *to, const uint64_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void gateway_route_stats(struct gateway *gateway, uint32_t slot, struct gateway_route_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->step = policy_step(gateway->policy, slot);
	for (unsigned w = 0; w < gateway->worker_count; w++) {
		struct gateway_route_stats *stats =
			atomic_load_explicit(&gateway->workers[w].route_stats[slot], memory_order_acquire);
		if (!stats)
			continue;
		for (unsigned side = 0; side < 2; side++)
			add_counters((uint64_t *)&out->side[side], (const uint64_t *)&stats->side[side],
				     sizeof(out->side[side]) / sizeof(uint64_t));
		add_counters(out->errors, stats->errors, GATEWAY_ERROR_COUNT);
		add_counters(&out->sampled, &stats->sampled, 1);
		add_counters(&out->failovers, &stats->failovers, 1);
		add_counters(out->outcome, stats->outcome, EXCHANGE_OUTCOME_COUNT);
		/* A worker that has not served since the step began still holds the last step's counts. */
		if (__atomic_load_n(&stats->step, __ATOMIC_ACQUIRE) == out->step)
			add_counters(out->step_requests, stats->step_requests, 2);
	}
}

void gateway_stats(struct gateway *gateway, struct gateway_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned w = 0; w < gateway->worker_count; w++)
		add_counters((uint64_t *)out, (const uint64_t *)&gateway->workers[w].stats,
			     offsetof(struct gateway_stats, workers) / sizeof(uint64_t));
	out->workers = gateway->worker_count;
}

uint64_t gateway_stalled_ns(const struct gateway *gateway, uint64_t now_ns, unsigned *worker)
{
	uint64_t worst_ns = 0;
	*worker = 0;
	for (unsigned w = 0; w < gateway->worker_count; w++) {
		uint64_t turned_ns = __atomic_load_n(&gateway->workers[w].turned_ns, __ATOMIC_RELAXED);
		if (turned_ns && now_ns > turned_ns && now_ns - turned_ns > worst_ns) {
			worst_ns = now_ns - turned_ns;
			*worker = w;
		}
	}
	return worst_ns;
}

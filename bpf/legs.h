/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * legs: a flow's life in the tables, its connections to upstreams, and the translation between the two sides.
 *
 * A flow is changed only while its lock is held, for the one packet: the two directions may be on two CPUs.
 * The lock is held over helper calls, which a bpf_spin_lock may not be; nothing can interrupt a program
 * of the network receive path that takes it too, so it is never held for long.
 */
#ifndef PHOENIX_BPF_LEGS_H
#define PHOENIX_BPF_LEGS_H

#include "cookie.h"
#include "frame.h"

#define FIB_NS	   (250 * NS_PER_MS) /* how long a next hop is used unasked */
#define AVOID_NS   NS_PER_S	     /* how long an upstream that refused is the daemon's */
#define HANDED_NS  (5 * NS_PER_MS)   /* how close behind a handed segment others are passed too */
#define NARROW_NS  (600 * NS_PER_S)  /* as long as Linux believes a path MTU */
#define OUR_WINDOW 64240u
#define SPINS	   8192
#define SEQ_AHEAD                                                                                            \
	(1u << 20) /* how far ahead of its request a client may send before it is taken for forged */
#define STREAM_MAX (1u << 30) /* lengths that sequence numbers can be compared over */

/* --- the lock ------------------------------------------------------------------------------------------- */

struct spin {
	struct phx_flow *flow;
	__u32 got;
};

static long spin_step(__u32 i, struct spin *spin)
{
	spin->got = __sync_val_compare_and_swap(&spin->flow->lock, 0, 1) == 0;
	return spin->got;
}

/* 1 when the flow is ours. */
static __always_inline int lock_flow(struct phx_flow *flow)
{
	if (__sync_val_compare_and_swap(&flow->lock, 0, 1) == 0)
		return 1;
	struct spin spin = {flow, 0};
	bpf_loop(SPINS, spin_step, &spin, 0);
	return spin.got;
}

static __always_inline void unlock_flow(struct phx_flow *flow)
{
	__sync_lock_test_and_set(&flow->lock, 0);
}

/* --- statistics ----------------------------------------------------------------------------------------- */

static __always_inline void add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

/* The request under way goes to an upstream now (or, with -1, did not reach it after all). */
static __always_inline void count_request(struct phx_flow *flow, __u64 n)
{
	struct phx_route_stats *stats = get_stats(flow->slot);
	if (!stats)
		return;
	if (n == 1)
		flow->flags |= PHX_FLOW_COUNTED;
	else
		flow->flags &= ~PHX_FLOW_COUNTED;
	if (stats->step != flow->step) {
		stats->step_requests[0] = stats->step_requests[1] = 0;
		stats->step = flow->step;
	}
	add(&stats->step_requests[flow->side & 1], n);
	struct phx_side_stats *side = &stats->side[flow->side & 1];
	add(&side->requests, n);
	if (flow->flags & PHX_FLOW_SYNTHETIC)
		add(&side->synthetic, n);
}

/* As userspace/gateway/stats.c: four buckets an octave from 64 us. */
static __always_inline __u32 latency_bucket(__u64 ns)
{
	if (ns <= 65536)
		return 0;
	ns--;
	__u32 high = 16;
#pragma unroll
	for (__u32 step = 32; step; step >>= 1) {
		if (ns >> high >> step)
			high += step;
	}
	__u32 bucket = (high - 16) * 4 + (__u32)(ns >> (high - 2) & 3);
	return bucket < PHX_LATENCY_BUCKETS ? bucket : PHX_LATENCY_BUCKETS - 1;
}

/* --- records of sampled exchanges ----------------------------------------------------------------------- */

static __always_inline void fill_record(struct work *w, const struct phx_flow *flow, __u32 kind, __u32 offset,
					__u32 len)
{
	struct phx_record *record = &w->record;
	record->kind = kind;
	record->offset = offset;
	record->len = len;
	record->slot = flow->slot;
	record->exchange = flow->exchange;
	record->generation = flow->generation;
	record->step = flow->step;
	record->side = flow->side;
	record->method = flow->method;
	record->begun_ns = flow->begun_ns;
	record->synthetic = (flow->flags & PHX_FLOW_SYNTHETIC) != 0;
	record->client = flow->key.client;
	record->gateway = flow->key.gateway;
	record->client_port = flow->key.client_port;
	record->reserved = 0;
}

/* The loaded payload's first `len` bytes, which lie at `offset` in their message. */
static __always_inline void record_payload(struct work *w, const struct phx_flow *flow, __u32 kind,
					   __u32 offset, __u32 len)
{
	fill_record(w, flow, kind, offset, len);
	__u64 n = len;
	HIDE(n);
	if (n >= PHX_FRAME_BYTES)
		return;
	if (bpf_ringbuf_output(&phx_ring, &w->record, sizeof(w->record) + n, BPF_RB_NO_WAKEUP))
		COUNT(ring_dropped);
}

static __always_inline void record_end(struct work *w, const struct phx_flow *flow, __u32 end)
{
	fill_record(w, flow, PHX_RECORD_END, 0, 0);
	w->record.end = end;
	w->record.served_ns = flow->served_ns;
	w->record.request_len = flow->request_end - flow->request_start;
	w->record.response_len = flow->flags & PHX_FLOW_END_KNOWN ? flow->response_end - flow->response_start
								  : flow->sent - flow->response_start;
	if (bpf_ringbuf_output(&phx_ring, &w->record, sizeof(w->record), BPF_RB_NO_WAKEUP))
		COUNT(ring_dropped);
}

/* The exchange under way is over, one way or another: between requests from now on. */
static __always_inline void finish_exchange(struct work *w, struct phx_flow *flow, __u32 end)
{
	struct phx_route_stats *stats = get_stats(flow->slot);
	if (stats && (flow->flags & PHX_FLOW_COUNTED)) {
		struct phx_side_stats *side = &stats->side[flow->side & 1];
		if (flow->flags & PHX_FLOW_SERVED) {
			__u64 ns = flow->served_ns - flow->begun_ns;
			add(&side->latency_ns_sum, ns);
			add(&side->latency[latency_bucket(ns)], 1);
			add(&side->response_bytes, flow->response_end - flow->response_start);
		}
		if (flow->status == 0) {
			add(&side->status[0], 1);
			if (flow->flags & PHX_FLOW_SYNTHETIC)
				add(&side->synthetic_status[0], 1);
		}
		if (end == PHX_END_UPSTREAM_CUT)
			add(&side->cut, 1);
		if (end == PHX_END_INVALID)
			add(&side->invalid, 1);
	}
	/* A modern side that failed is evidence whether it was to be sampled or not. */
	if ((flow->flags & PHX_FLOW_SAMPLED) ||
	    ((end == PHX_END_UPSTREAM_CUT || end == PHX_END_INVALID) && flow->side == PHX_MODERN))
		record_end(w, flow, end);
	flow->flags &= ~PHX_FLOW_OF_REQUEST;
	flow->request_start = flow->request_end;
}

/* --- a flow in the tables ------------------------------------------------------------------------------- */

/* Takes a free port for the connection whose segment is in w. The flow comes back locked; NULL: none. */
static __always_inline struct phx_flow *open_flow(struct work *w, __u32 *index)
{
	if (bpf_map_pop_elem(&phx_free, index))
		return 0;
	struct phx_flow *flow = get_flow(*index);
	if (!flow)
		return 0;
	if (!lock_flow(flow)) {
		bpf_map_push_elem(&phx_free, index, 0);
		return 0;
	}
	flow->key.client = w->src;
	flow->key.gateway = w->dst;
	flow->key.client_port = w->sport;
	flow->key.gateway_port = w->dport;
	flow->flags = (w->sack ? PHX_FLOW_SACK : 0) | (w->v6 ? PHX_FLOW_V6 : 0);
	flow->active = 0;
	flow->request_start = flow->request_end = w->seq;
	flow->acked = flow->sent = w->ack;
	flow->response_start = flow->response_end = flow->scanned = w->ack;
	flow->mss = w->mss;
	flow->scale = w->scale;
	flow->scaled = w->scaled;
	flow->requests = 0;
	flow->state = PHX_FLOW_OPEN;
	if (bpf_map_update_elem(&phx_ports, &flow->key, index, BPF_NOEXIST)) {
		/* Another CPU was faster with the same segment. */
		flow->state = PHX_FLOW_FREE;
		unlock_flow(flow);
		bpf_map_push_elem(&phx_free, index, 0);
		return 0;
	}
	COUNT(flows_opened);
	return flow;
}

/* The client's connection is over. Legs between requests stay for the next client; others are forgotten, and
 * what their upstreams still send is answered with a reset. */
static __always_inline void close_flow(struct phx_flow *flow, __u32 index, int keep_active)
{
	if (flow->state == PHX_FLOW_FREE)
		return;
	flow->state = PHX_FLOW_FREE;
#pragma unroll
	for (__u32 i = 0; i < PHX_LEGS; i++) {
		if (flow->leg[i].state == PHX_LEG_SYN_SENT || flow->leg[i].small)
			flow->leg[i].state = PHX_LEG_NONE;
	}
	if (!keep_active)
		flow->leg[flow->active & (PHX_LEGS - 1)].state = PHX_LEG_NONE;
	bpf_map_delete_elem(&phx_ports, &flow->key);
	bpf_map_push_elem(&phx_free, &index, 0);
	COUNT(flows_closed);
}

static __always_inline struct phx_leg *active_leg(struct phx_flow *flow)
{
	return &flow->leg[flow->active & (PHX_LEGS - 1)];
}

/* --- the two translations ------------------------------------------------------------------------------- */

static __always_inline __u32 scale_window(__u32 window, __u32 from, __u32 to)
{
	__u64 bytes = ((__u64)window << (from & 15)) >> (to & 15);
	return bytes > 65535 ? 65535 : (__u32)bytes;
}

/* The client's window as the leg must read it. */
static __always_inline __u32 window_up(const struct phx_flow *flow, const struct phx_leg *leg)
{
	return scale_window(flow->window, flow->scale, leg->options & PHX_LEG_SCALED ? PHX_WINDOW_SCALE : 0);
}

static __always_inline __u32 our_window(const struct phx_flow *flow)
{
	return flow->scaled ? OUR_WINDOW >> PHX_WINDOW_SCALE : OUR_WINDOW;
}

static __always_inline void toward_leg(struct work *w, const struct phx_flow *flow, const struct phx_leg *leg,
				       __u32 port)
{
	struct toward *to = &w->to;
	to->src = leg->source;
	to->dst = leg->addr;
	to->sport = port;
	to->dport = leg->port;
	copy_mac(to->dmac, leg->dmac);
	copy_mac(to->smac, leg->smac);
	to->ifindex = leg->ifindex;
	to->vlan = leg->vlan;
	to->seq = w->seq + leg->up_delta;
	to->ack = w->ack - leg->down_delta;
	to->sack_delta = -leg->down_delta;
	to->window = window_up(flow, leg);
	to->flags = w->flags;
	to->cut = 0;
	to->may_fragment = 0;
	to->option_words = 0;
}

static __always_inline void toward_client(struct work *w, const struct phx_flow *flow,
					  const struct phx_leg *leg)
{
	struct toward *to = &w->to;
	to->src = flow->key.gateway;
	to->dst = flow->key.client;
	to->sport = flow->key.gateway_port;
	to->dport = flow->key.client_port;
	copy_mac(to->dmac, flow->dmac);
	copy_mac(to->smac, flow->smac);
	to->ifindex = flow->ifindex;
	to->vlan = flow->vlan;
	to->seq = w->seq + leg->down_delta;
	to->ack = w->ack - leg->up_delta;
	to->sack_delta = -leg->up_delta;
	to->window = scale_window(w->window, leg->options & PHX_LEG_SCALED ? leg->scale : 0,
				  flow->scaled ? PHX_WINDOW_SCALE : 0);
	to->flags = w->flags;
	to->cut = 0;
	to->may_fragment = flow->flags & PHX_FLOW_NARROW;
	to->option_words = 0;
}

/* --- legs ----------------------------------------------------------------------------------------------- */

/* Asks the routing table for the leg's next hop when it was long enough ago. 0 when a frame can be sent. */
static __always_inline int next_hop(struct xdp_md *ctx, struct work *w, struct phx_leg *leg)
{
	if (leg->fib_ns && w->now - leg->fib_ns < FIB_NS)
		return 0;
	struct bpf_fib_lookup *fib = &w->fib;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->l4_protocol = IP_TCP;
	fib->ifindex = w->ingress;
	if (w->v6) {
		fib->family = 10; /* AF_INET6 */
		for (int i = 0; i < 4; i++) {
			fib->ipv6_src[i] = leg->source.word[i];
			fib->ipv6_dst[i] = leg->addr.word[i];
		}
	} else {
		fib->family = 2; /* AF_INET */
		fib->ipv4_src = leg->source.word[3];
		fib->ipv4_dst = leg->addr.word[3];
	}
	if (bpf_fib_lookup(ctx, fib, sizeof(*fib), 0) == BPF_FIB_LKUP_RET_SUCCESS) {
		__u32 ifindex = fib->ifindex;
		struct phx_egress *egress = bpf_map_lookup_elem(&phx_egress, &ifindex);
		if (egress) {
			leg->ifindex = egress->ifindex;
			leg->vlan = egress->vlan;
			copy_mac(leg->dmac, fib->dmac);
			copy_mac(leg->smac, fib->smac);
			leg->fib_ns = w->now;
			return 0;
		}
	}
	/* A way that is known stays in use while its neighbour is being asked for anew. */
	return leg->fib_ns == 0;
}

struct leg_search {
	__u32 best;   /* the leg itself, or the place for it */
	__u32 exists; /* it is there and open */
	__u64 oldest_ns;
};

/* The flow's leg to that upstream, or the place for one: an empty one, or the one longest not used. */
static __always_inline void find_leg(struct phx_flow *flow, __u32 upstream, __u32 generation,
				     struct leg_search *search)
{
	search->best = 0;
	search->exists = 0;
	search->oldest_ns = ~0ULL;
#pragma unroll
	for (__u32 i = 0; i < PHX_LEGS; i++) {
		struct phx_leg *leg = &flow->leg[i];
		if (leg->state != PHX_LEG_NONE && leg->upstream == upstream) {
			if (leg->generation == generation && !search->exists) {
				search->best = i;
				search->exists = 1;
			} else {
				leg->state = PHX_LEG_NONE;
			}
		}
		if (search->exists)
			continue;
		__u64 used_ns = leg->state == PHX_LEG_NONE ? 0 : leg->used_ns;
		if (used_ns < search->oldest_ns) {
			search->oldest_ns = used_ns;
			search->best = i;
		}
	}
}

/* Sets a leg up for its SYN. Its numbers grow with the clock (RFC 6528), so that an upstream's TIME_WAIT
 * takes them. */
static __always_inline void init_leg(struct work *w, const struct phx_config *config, struct phx_flow *flow,
				     struct phx_leg *leg, const struct phx_upstream *upstream, __u32 index)
{
	__u32 mss = w->v6 ? config->mss6 : config->mss4;
	leg->addr = upstream->addr;
	leg->source = upstream->source;
	leg->port = upstream->port;
	leg->upstream = w->upstream;
	leg->generation = upstream->generation;
	leg->small = flow->mss < mss;
	leg->mss = leg->small ? flow->mss : mss;
	leg->options = 0;
	leg->scale = 0;
	leg->syn_tries = 1;
	leg->fib_ns = 0;
	leg->rcv_nxt = 0;
	leg->down_delta = 0;
	__u64 key = config->port_key ^ ((__u64)index << 32 | w->upstream);
	leg->snd_nxt = (__u32)phx_mix64(key) + (__u32)(w->now >> 12) + 1;
	leg->snd_una = leg->snd_nxt - 1;
	leg->up_delta = leg->snd_nxt - w->seq;
	leg->state = PHX_LEG_SYN_SENT;
}

/* Puts the options of a SYN of ours into w->to: MSS, SACK permitted, window scale. */
static __always_inline void syn_options(struct work *w, __u32 mss, __u32 sack, __u32 scaled)
{
	w->to.options[0] = bpf_htonl(0x02040000 | (mss & 0xffff));
	w->to.options[1] = bpf_htonl(sack ? 0x01010402 : 0x01010101);
	w->to.options[2] = bpf_htonl(scaled ? 0x01030300 | PHX_WINDOW_SCALE : 0x01010101);
	w->to.option_words = 3;
}

/* Keeps the request when the segment has all of it, and turns the frame into a SYN to the leg. Returns the
 * XDP action or -1. */
static __always_inline int send_syn(struct xdp_md *ctx, struct work *w, const struct phx_config *config,
				    struct phx_flow *flow, struct phx_leg *leg, __u32 index)
{
	__u32 place = index % PHX_STASHES;
	struct phx_stash *stash = bpf_map_lookup_elem(&phx_stash, &place);
	__u64 len = flow->request_end - flow->request_start;
	HIDE(len);
	if (!stash || len == 0 || len >= PHX_FRAME_BYTES)
		return -1;
	if (len <= w->payload_len) {
		if (bpf_xdp_load_bytes(ctx, w->payload_off, stash->bytes, len))
			return -1;
		stash->owner = index + 1;
		stash->seq = w->seq;
		stash->len = (__u32)len;
	}
	toward_leg(w, flow, leg, config->port_first + index);
	w->to.seq = leg->snd_nxt - 1;
	w->to.ack = 0;
	w->to.flags = TCP_SYN;
	w->to.window = scale_window(flow->window, flow->scale, 0);
	syn_options(w, leg->mss, flow->flags & PHX_FLOW_SACK, 1);
	if (compose(ctx, 0))
		return -1;
	return bpf_redirect(leg->ifindex, 0);
}

#endif

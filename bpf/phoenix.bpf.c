/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * phoenix: the NIC path: HTTP/1.1 requests are steered, split and answered between two network interfaces,
 * and no socket of the gateway is touched. README.md in this folder tells the whole story. In short:
 *
 *   client           this program                                   upstream
 *     SYN ─────────▶ cookie SYN-ACK, no state
 *     ACK ─────────▶ (nothing to do)
 *     request ─────▶ scan, route, draw a side; stash ── SYN ───────▶
 *                    stash ── ACK + request ──────────◀── SYN-ACK ──
 *     ◀────────────── numbers, windows, addresses translated ◀────── response
 *     request ─────▶ scan, route, draw a side: the same leg or another
 *
 * What it does not fully understand it passes on before a byte of it went anywhere, and the daemon takes the
 * connection over at that very segment (hand.h).
 *
 *   work.h     what is known of the packet at hand      legs.h      flows, legs, translation, records
 *   frame.h    bytes to fields and back                 client.h    segments from clients
 *   cookie.h   handshakes without state                 upstream.h  segments from upstreams
 *   scan.h     heads and chunks                         icmp.h      packets too big
 *   steer.h    route and side                           hand.h      over to the daemon
 */
#include "hand.h"
#include "icmp.h"

static __always_inline int pass(__u32 verdict)
{
	count_verdict(verdict);
	return XDP_PASS;
}

SEC("xdp") int phx_xdp(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	struct phx_config *config = get_config();
	if (!w || !config || !parse(ctx))
		return pass(PHX_VERDICT_OTHER);
	if (w->proto != IP_TCP)
		return icmp_message(ctx);
	w->now = bpf_ktime_get_ns();
	__u32 port = w->dport - config->port_first;
	if (port < config->port_count) {
		int action = upstream_segment(ctx, port);
		if (action != THEN_NO_FLOW)
			return action;
	}
	struct phx_flow_key key = {w->src, w->dst, w->sport, w->dport};
	__u32 *index = bpf_map_lookup_elem(&phx_ports, &key);
	if (index) {
		int action = client_segment(ctx, *index);
		if (action != THEN_NO_FLOW)
			return action;
	}
	struct phx_listen_key where = {w->dst, w->dport};
	if (bpf_map_lookup_elem(&phx_listen, &where))
		return client_stranger(ctx);
	return pass(PHX_VERDICT_OTHER);
}

/* 1: the segment may go to the daemon, by its flow or by its cookie. */
static __always_inline int for_daemon(struct work *w, const struct phx_config *config)
{
	struct phx_flow_key key = {w->src, w->dst, w->sport, w->dport};
	__u32 *index = bpf_map_lookup_elem(&phx_ports, &key);
	if (index) {
		struct phx_flow *flow = get_flow(*index);
		return flow && takes_over(w, flow);
	}
	struct phx_listen_key where = {w->dst, w->dport};
	return bpf_map_lookup_elem(&phx_listen, &where) && cookie_check(w, config) == COOKIE_FIRST;
}

SEC("tc") int phx_tc(struct __sk_buff *skb)
{
	struct work *w = get_work(1);
	struct phx_config *config = get_config();
	if (!w || !config || !parse_skb(skb, w) || !(w->flags & TCP_ACK) || (w->flags & TCP_RST))
		return TC_OK;
	w->now = bpf_ktime_get_ns();
	if (w->flags & TCP_SYN) {
		__u32 port = w->dport - config->port_first;
		struct phx_listen_key from = {w->src, w->sport};
		if (port < config->port_count && bpf_map_lookup_elem(&phx_sources, &from))
			return replay(skb, port);
		return TC_OK;
	}
	if ((w->payload_len || (w->flags & TCP_FIN)) && for_daemon(w, config))
		return assign_listener(skb, w);
	return TC_OK;
}

/* Never attached: BPF_PROG_TEST_RUN asks it what would become of a request, and reads phx_traced. */
SEC("xdp") int phx_trace(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	if (!w || !parse(ctx) || w->proto != IP_TCP || load_payload(ctx, w))
		return XDP_PASS;
	w->now = bpf_ktime_get_ns();
	int reason = steer(1);
	__u32 zero = 0;
	struct phx_trace trace = {
		.scanned = w->scan_result,
		.error = w->head.error,
		.reason = reason,
		.slot = w->slot,
		.upstream = PHX_NO_UPSTREAM,
		.head_len = w->head.pos,
		.flags = w->head.flags,
		.method = w->head.method,
		.content_length = w->head.content_length,
	};
	if (w->slot != PHX_SLOT_NONE) {
		trace.generation = w->generation;
		trace.side = w->side;
		trace.upstream = w->upstream;
		draw_sample(w, 1);
		trace.sampled = w->sampled;
		struct phx_policy *policy = bpf_map_lookup_elem(&phx_policy, &w->slot);
		if (policy && !forced_to_legacy(w, get_config()))
			trace.weight_bp = policy->weight_bp;
	}
	bpf_map_update_elem(&phx_traced, &zero, &trace, BPF_ANY);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * icmp: "packet too big" (RFC 1191, 8201): a router complains about a frame of ours.
 *
 * About a frame to an upstream: its client has to send less, so the message is translated as the frame was,
 * the other way round, and sent on. About a frame to a client: it is not told to the upstream, which would
 * apply it to everything that it sends to the gateway, for every client. Instead the flow's IPv4 frames may
 * be fragmented from now on; an IPv6 flow, which cannot be helped that way, is reset; and the client's next
 * requests are the daemon's, whose kernel knows what to do.
 *
 * Only a message that quotes a number in flight is believed (RFC 5927 4.1). All other errors are the
 * kernel's, which has no connection to apply them to.
 */
#ifndef PHOENIX_BPF_ICMP_H
#define PHOENIX_BPF_ICMP_H

#include "upstream.h"

static __always_inline int is_too_big(const struct work *w, const __u8 *icmp)
{
	return w->v6 ? icmp[0] == 2 : icmp[0] == 3 && icmp[1] == 4;
}

/* Puts addresses and ports of what is quoted, and w->to.seq, into the message; sums follow. */
static __always_inline int send_quoted(struct xdp_md *ctx, struct work *w, const struct phx_addr *src,
				       const struct phx_addr *dst, __u32 sport, __u32 dport)
{
	__u8 *ip = header(w, w->l3), *icmp = header(w, w->l4), *quoted = icmp + 8;
	__u8 *tcp = header(w, w->l4 + 8 + (w->v6 ? 40 : 20));
	__u64 old = (__u64)raw32(tcp) + raw32(tcp + 4), sum = (__u16)~raw16(icmp + 2);
	put16(tcp, sport);
	put16(tcp + 2, dport);
	put32(tcp + 4, w->to.seq);
	sum += (__u64)raw32(tcp) + raw32(tcp + 4) + (__u16)~fold(old);
	if (w->v6) {
		struct phx_addr was[2];
		get_addr(quoted + 8, &was[0]);
		get_addr(quoted + 24, &was[1]);
		sum += (__u16)~fold(sum_addr(&was[0]) + sum_addr(&was[1]) + sum_addr(&w->dst));
		sum += sum_addr(src) + sum_addr(dst) + sum_addr(&w->to.dst);
		put_addr(quoted + 8, src);
		put_addr(quoted + 24, dst);
		put_addr(ip + 24, &w->to.dst);
		ip[7] = w->ttl - 1;
	} else {
		/* The quoted header's own sum takes the change up, so ICMP's sum does not see it. */
		__u64 head = (__u16)~raw16(quoted + 10);
		head += (__u16)~fold((__u64)raw32(quoted + 12) + raw32(quoted + 16));
		head += (__u64)src->word[3] + dst->word[3];
		put_raw32(quoted + 12, src->word[3]);
		put_raw32(quoted + 16, dst->word[3]);
		put_raw16(quoted + 10, ~fold(head));
		put_raw32(ip + 16, w->to.dst.word[3]);
		ip[8] = w->ttl - 1;
		put_raw16(ip + 10, 0);
		put_raw16(ip + 10, ~fold(sum16(ip) + raw32(ip + 16)));
	}
	put_raw16(icmp + 2, ~fold(sum));
	if (store_headers(ctx, w, 8 + (w->v6 ? 40 : 20) + 8))
		return -1;
	return bpf_redirect(w->to.ifindex, 0);
}

/* The quoted frame went to a client. */
__noinline int too_big_for_client(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	if (!lock_flow(flow))
		return drop(PHX_VERDICT_BUSY);
	int action = XDP_DROP, verdict = PHX_VERDICT_INVALID;
	struct phx_leg *leg = active_leg(flow);
	if (flow->state == PHX_FLOW_OPEN && !before(w->seq, flow->acked) && !after(w->seq, flow->sent)) {
		__u64 until_ns = bpf_ktime_get_ns() + NARROW_NS;
		bpf_map_update_elem(&phx_narrow, &flow->key.client, &until_ns, BPF_ANY);
		flow->flags |= PHX_FLOW_NARROW;
		verdict = PHX_VERDICT_ICMP;
		if (w->v6) {
			toward_client(w, flow, leg);
			w->to.flags = TCP_RST | TCP_ACK;
			w->to.seq = flow->sent;
			w->to.ack = flow->request_end;
			if (flow->flags & PHX_FLOW_ACTIVE)
				finish_exchange(w, flow, PHX_END_CLIENT_GONE);
			close_flow(flow, index, 0);
			action = compose(ctx, 0) ? -1 : bpf_redirect(w->to.ifindex, 0);
		}
	}
	unlock_flow(flow);
	return done(action, verdict);
}

/* The quoted frame went to an upstream. */
__noinline int too_big_for_upstream(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	if (!lock_flow(flow))
		return drop(PHX_VERDICT_BUSY);
	int action = XDP_DROP, verdict = PHX_VERDICT_INVALID;
	struct phx_leg *leg = active_leg(flow);
	if (flow->state == PHX_FLOW_OPEN && leg->state == PHX_LEG_OPEN && leg->port == w->dport &&
	    !before(w->seq, leg->snd_una) && !after(w->seq, leg->snd_nxt)) {
		toward_client(w, flow, leg);
		w->to.seq = w->seq - leg->up_delta;
		action = send_quoted(ctx, w, &flow->key.client, &flow->key.gateway, flow->key.client_port,
				     flow->key.gateway_port);
		verdict = PHX_VERDICT_ICMP;
	}
	unlock_flow(flow);
	return done(action, verdict);
}

/* An ICMP message to one of our addresses. */
__noinline int icmp_message(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	struct phx_config *config = get_config();
	if (!w || !config)
		return XDP_PASS;
	__u8 *icmp = header(w, w->l4), *quoted = icmp + 8;
	__u32 head = w->v6 ? 40 : 20;
	if (!is_too_big(w, icmp) || w->ttl <= 1 || w->payload_len < 8 + head + 8 ||
	    quoted[0] >> 4 != (w->v6 ? 6 : 4) || quoted[w->v6 ? 6 : 9] != IP_TCP ||
	    (!w->v6 && quoted[0] != 0x45)) {
		count_verdict(PHX_VERDICT_OTHER);
		return XDP_PASS;
	}
	const __u8 *tcp = header(w, w->l4 + 8 + head);
	struct phx_flow_key key = {};
	if (w->v6) {
		get_addr(quoted + 8, &key.gateway);
		get_addr(quoted + 24, &key.client);
	} else {
		map_ip4(&key.gateway, raw32(quoted + 12));
		map_ip4(&key.client, raw32(quoted + 16));
	}
	key.gateway_port = get16(tcp);
	key.client_port = get16(tcp + 2);
	w->seq = get32(tcp + 4);
	w->ack = 0;
	w->flags = 0;
	w->window = 0;
	w->dport = key.client_port;
	__u32 *index = bpf_map_lookup_elem(&phx_ports, &key);
	if (index)
		return too_big_for_client(ctx, *index);
	__u32 port = key.gateway_port - config->port_first;
	struct phx_listen_key upstream = {key.client, key.client_port};
	if (port < config->port_count && bpf_map_lookup_elem(&phx_sources, &upstream))
		return too_big_for_upstream(ctx, port);
	count_verdict(PHX_VERDICT_OTHER);
	return XDP_PASS;
}

#endif

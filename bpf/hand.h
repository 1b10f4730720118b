/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hand: the tc program's part: it hands connections over to the daemon, and finishes what XDP could not.
 *
 * A packet that XDP passed may begin a request of a connection that the kernel has never heard of. The kernel
 * takes it as the end of a cookie handshake: bpf_sk_assign_tcp_reqsk() (Linux 6.9) gives it the listener and
 * what was negotiated, and both initial sequence numbers come from the packet itself, so this works at any
 * request boundary. accept() returns a socket whose first bytes are the request.
 *
 * That a packet may do so is checked again here, from the flow table or by its cookie, and not taken from
 * XDP: so it also works for flows whose XDP program was taken off the device.
 */
#ifndef PHOENIX_BPF_HAND_H
#define PHOENIX_BPF_HAND_H

#include "upstream.h"

#define TC_OK	0 /* TC_ACT_OK */
#define TC_SHOT 2 /* TC_ACT_SHOT */

/* What the kernel wants to know of the handshake it has not seen (include/net/tcp.h). */
struct bpf_tcp_req_attrs {
	__u32 rcv_tsval;
	__u32 rcv_tsecr;
	__u16 mss;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 ecn_ok;
	__u8 wscale_ok;
	__u8 sack_ok;
	__u8 tstamp_ok;
	__u8 usec_ts_ok;
	__u8 reserved[3];
};
struct sock {
	int opaque;
};
extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *sk, struct bpf_tcp_req_attrs *attrs,
				   int attrs__sz) __ksym;

static __always_inline int assign_listener(struct __sk_buff *skb, struct work *w)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_tcp_req_attrs attrs = {};
	struct bpf_sock *found;
	int action = TC_OK;
	fill_tuple(w, &tuple);
	if (w->v6)
		found = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	else
		found = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!found)
		return TC_OK; /* no daemon: the kernel resets the client */
	if (found->state == SOCKET_STATE_LISTEN) {
		struct sock *listener = (struct sock *)bpf_skc_to_tcp_sock(found);
		attrs.mss = w->mss;
		attrs.wscale_ok = w->scaled;
		attrs.snd_wscale = w->scale;
		attrs.rcv_wscale = w->scaled ? PHX_WINDOW_SCALE : 0;
		attrs.sack_ok = w->sack;
		if (!listener || bpf_sk_assign_tcp_reqsk(skb, listener, &attrs, sizeof(attrs)))
			action = TC_SHOT; /* the client will send it again */
	}
	bpf_sk_release(found);
	return action;
}

/* A client's segment on a flow: is this where the daemon takes over? Then what was negotiated is in w. */
static __always_inline int takes_over(struct work *w, struct phx_flow *flow)
{
	int takes = 0;
	if (!lock_flow(flow))
		return 0;
	if (flow->key.client_port == w->sport && same_addr(&flow->key.client, &w->src)) {
		if (flow->state == PHX_FLOW_OPEN) {
			/* XDP would have dealt with it: it is off the device. */
			if ((flow->flags & PHX_FLOW_ACTIVE) && exchange_over(w, flow) &&
			    !(flow->flags & (PHX_FLOW_CLIENT_FIN | PHX_FLOW_FIN_DOWN | PHX_FLOW_CLOSES)))
				finish_exchange(w, flow, PHX_END_WHOLE);
			if (!(flow->flags & PHX_FLOW_ACTIVE) && w->seq == flow->request_start &&
			    w->ack == flow->sent)
				flow->state = PHX_FLOW_HANDED;
		}
		takes = flow->state == PHX_FLOW_HANDED && w->seq == flow->request_start &&
			w->ack == flow->sent;
		w->mss = flow->mss;
		w->scale = flow->scale;
		w->scaled = flow->scaled;
		w->sack = (flow->flags & PHX_FLOW_SACK) != 0;
	}
	unlock_flow(flow);
	return takes;
}

/* The SYN-ACK that XDP left: it becomes the stashed request. */
__noinline int replay(struct __sk_buff *skb, __u32 index)
{
	struct work *w = get_work(1);
	struct phx_flow *flow = get_flow(index);
	if (!w || !flow)
		return TC_OK;
	if (!lock_flow(flow))
		return TC_SHOT;
	struct phx_leg *leg = active_leg(flow);
	__u32 len = 0;
	if ((flow->flags & PHX_FLOW_REPLAY) && leg->state == PHX_LEG_OPEN && w->seq == leg->irs &&
	    leg->port == w->sport && same_addr(&leg->addr, &w->src)) {
		flow->flags &= ~PHX_FLOW_REPLAY;
		len = unstash(w, flow, index);
		turn_around(w);
		w->to.flags = TCP_ACK | TCP_PSH;
		w->to.seq = flow->request_start + leg->up_delta;
		w->to.ack = leg->rcv_nxt;
		w->to.window = window_up(flow, leg);
	}
	unlock_flow(flow);
	__u64 n = len;
	HIDE(n);
	if (n == 0 || n >= PHX_FRAME_BYTES)
		return TC_SHOT;
	__u32 headers = w->l4 - FRAME_AT + 20;
	if (bpf_skb_change_tail(skb, headers + len, 0))
		return TC_SHOT;
	compose_headers(w, sum_payload(1, len), len);
	put_ether(w, FRAME_AT);
	__u64 head = headers;
	HIDE(head);
	if (head == 0 || head > FRAME_BYTES)
		return TC_SHOT;
	if (bpf_skb_store_bytes(skb, 0, w->frame + FRAME_AT, head, 0) ||
	    bpf_skb_store_bytes(skb, headers, w->payload, n, 0))
		return TC_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int parse_skb(struct __sk_buff *skb, struct work *w)
{
	__u64 len = skb->len;
	w->frame_len = (__u32)len;
	if (len > FRAME_BYTES)
		len = FRAME_BYTES;
	HIDE(len);
	if (len < 54 || len > FRAME_BYTES)
		return 0;
	if (bpf_skb_load_bytes(skb, 0, w->frame + FRAME_AT, len))
		return 0;
	w->which = 1;
	return parse_copied(w) && w->proto == IP_TCP;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * client: segments from clients.
 *
 * The heart is when the next request may be steered anew, which is a boundary: the last request's end and its
 * response's end are known, all of the response was sent on, the client has acknowledged all of it, and the
 * upstream has acknowledged every byte of the request. Anything else is not a boundary: then a segment is a
 * piece of the request under way, or it comes before its time and is dropped, which TCP repairs.
 *
 *   no flow        SYN: a cookie · first segment behind a cookie: a flow, or the daemon · else the kernel
 *   open           between requests, or a request under way
 *   handed         the daemon takes the connection with the segment that begins a request (tc, hand.h)
 *   closing        our FIN is out; the client's last ACK frees the port
 */
#ifndef PHOENIX_BPF_CLIENT_H
#define PHOENIX_BPF_CLIENT_H

#include "legs.h"
#include "steer.h"

enum kernel_socket {
	SOCKET_NONE,
	SOCKET_LISTENS,
	SOCKET_OWNS, /* a connection of the kernel's, or what is left of one */
};

/* Stages that end in another one say so instead of calling it: the stack of nested calls has 512 bytes. */
#define THEN_READ_REQUEST  -2
#define THEN_START_REQUEST -3
#define THEN_NO_FLOW	   -4

/* What every stage of a packet's way looks up anew: global functions, which keep the verifier's work small,
 * are not handed pointers. */
#define STAGE(index)                                                                                         \
	struct work *w = get_work(0);                                                                        \
	struct phx_config *config = get_config();                                                            \
	struct phx_flow *flow = get_flow(index);                                                             \
	if (!w || !config || !flow)                                                                          \
	return XDP_DROP

#define SOCKET_STATE_LISTEN 10 /* TCP_LISTEN */

static __always_inline void fill_tuple(const struct work *w, struct bpf_sock_tuple *tuple)
{
	if (w->v6) {
		for (int i = 0; i < 4; i++) {
			tuple->ipv6.saddr[i] = w->src.word[i];
			tuple->ipv6.daddr[i] = w->dst.word[i];
		}
		tuple->ipv6.sport = bpf_htons(w->sport);
		tuple->ipv6.dport = bpf_htons(w->dport);
	} else {
		tuple->ipv4.saddr = w->src.word[3];
		tuple->ipv4.daddr = w->dst.word[3];
		tuple->ipv4.sport = bpf_htons(w->sport);
		tuple->ipv4.dport = bpf_htons(w->dport);
	}
}

/* Whose is this connection? Asked of the kernel each time, so nothing has to be remembered or forgotten. */
static __always_inline int kernel_socket(struct xdp_md *ctx, const struct work *w)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	fill_tuple(w, &tuple);
	if (w->v6)
		sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return SOCKET_NONE;
	int result = sk->state == SOCKET_STATE_LISTEN ? SOCKET_LISTENS : SOCKET_OWNS;
	bpf_sk_release(sk);
	return result;
}

static __always_inline int hand_over(__u32 reason)
{
	count_reason(reason);
	count_verdict(PHX_VERDICT_HAND_OVER);
	return XDP_PASS;
}

static __always_inline int drop(__u32 verdict)
{
	count_verdict(verdict);
	return XDP_DROP;
}

/* What an action of forward() and the like came to. */
static __always_inline int done(int action, __u32 verdict)
{
	count_verdict(action < 0 ? PHX_VERDICT_FAILED : verdict);
	return action < 0 ? XDP_DROP : action;
}

static __always_inline int reply_client(struct xdp_md *ctx, struct work *w, struct phx_flow *flow,
					__u32 flags, __u32 verdict)
{
	/* Only what the upstream has: what was merely sent on may have been lost on the way. */
	__u32 next = flow->request_start;
	if (flow->flags & PHX_FLOW_ACTIVE) {
		__u32 has = active_leg(flow)->snd_una - active_leg(flow)->up_delta;
		if (after(has, next))
			next = has;
	}
	return done(reply(ctx, w, flags, flow->sent, next, our_window(flow)), verdict);
}

/* Remembers how frames get back to the client: as they come. Only for segments that were found acceptable: a
 * forged one must not turn the answers to somebody else. */
static __always_inline void learn_way_back(struct work *w, struct phx_flow *flow)
{
	flow->ifindex = w->ingress;
	flow->vlan = w->vlan;
	copy_mac(flow->dmac, w->frame + FRAME_AT + 6);
	copy_mac(flow->smac, w->frame + FRAME_AT);
	flow->seen_ns = w->now;
}

/* --- a request begins ----------------------------------------------------------------------------------- */

static __always_inline void begin_exchange(struct work *w, struct phx_flow *flow, __u32 index, __u32 leg)
{
	__u64 length = w->head.flags & PHX_HEAD_HAS_LENGTH ? w->head.content_length : 0;
	flow->flags = (flow->flags & ~PHX_FLOW_OF_REQUEST) | PHX_FLOW_ACTIVE |
		      (w->head.method == PHX_METHOD_HEAD ? PHX_FLOW_HEAD_REQUEST : 0) |
		      (w->head.flags & PHX_HEAD_SYNTHETIC ? PHX_FLOW_SYNTHETIC : 0);
	flow->active = leg;
	flow->request_start = w->seq;
	flow->request_end = w->seq + w->head.pos + (__u32)length;
	flow->response_start = flow->response_end = flow->scanned = flow->sent;
	flow->requests++;
	flow->slot = w->slot;
	flow->generation = w->generation;
	flow->step = w->step;
	flow->side = w->side;
	flow->method = w->head.method;
	flow->status = 0;
	flow->begun_ns = w->now;
	flow->exchange = (__u64)index << 48 ^ w->now;
	flow->body = PHX_BODY_HEAD;
	flow->chunk_state = 0;
	flow->chunk_left = 0;
	phx_head_init(&flow->head, PHX_HEAD_RESPONSE);
	struct phx_route_stats *stats = get_stats(w->slot);
	if (stats)
		add(&stats->side[w->side & 1].request_bytes, length);
	draw_sample(w, 0);
	if (w->sampled) {
		flow->flags |= PHX_FLOW_SAMPLED;
		if (stats)
			add(&stats->sampled, 1);
		record_payload(w, flow, PHX_RECORD_REQUEST, 0, w->payload_len);
	}
}

/* The connection is the daemon's from this segment on. */
static __always_inline int give_up(struct work *w, struct phx_flow *flow, __u32 reason)
{
	give_back_draw(w);
	/* The kernel takes its own first number from this segment's ACK: one that was overtaken has an old
	 * one, and the client would take the daemon's first bytes for some that it has. It will send it
	 * again. */
	if (w->ack != flow->sent)
		return drop(PHX_VERDICT_WAIT);
	flow->state = PHX_FLOW_HANDED;
	flow->served_ns = w->now;
	return hand_over(reason);
}

/* Does more of this request follow in other segments, as far as its first one tells? */
static __always_inline int more_follows(const struct work *w, __u32 reason)
{
	const struct phx_head *h = &w->head;
	__u64 length = h->flags & PHX_HEAD_HAS_LENGTH ? h->content_length : 0;
	return reason == PHX_REASON_INCOMPLETE || reason == PHX_REASON_CHUNKED ||
	       w->payload_len < h->pos + length;
}

/* A segment that begins a request, at a boundary of a locked flow; it was steered. */
__noinline int start_request(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	struct phx_upstream *upstream = bpf_map_lookup_elem(&phx_upstreams, &w->upstream);
	if (!upstream)
		return give_up(w, flow, PHX_REASON_ROUTE);
	struct leg_search search;
	find_leg(flow, w->upstream, upstream->generation, &search);
	__u32 at = search.best & (PHX_LEGS - 1);
	struct phx_leg *leg = &flow->leg[at];
	__u64 length = w->head.flags & PHX_HEAD_HAS_LENGTH ? w->head.content_length : 0;
	if (search.exists) {
		if (leg->state != PHX_LEG_OPEN)
			return give_up(w, flow, PHX_REASON_LEG_LOST);
		if (leg->mss > flow->mss)
			return give_up(w, flow, PHX_REASON_MTU);
		if (next_hop(ctx, w, leg))
			return give_up(w, flow, PHX_REASON_NEIGHBOUR);
		leg->up_delta = leg->snd_nxt - w->seq;
		leg->down_delta = flow->sent - leg->rcv_nxt;
		w->ack = flow->sent; /* as the client said before, in a segment that overtook this one */
		leg->used_ns = w->now;
		begin_exchange(w, flow, index, at);
		count_request(flow, 1);
		leg->snd_nxt += w->payload_len;
		toward_leg(w, flow, leg, config->port_first + index);
		return done(forward(ctx), PHX_VERDICT_REQUEST);
	}
	if (w->payload_len < w->head.pos + length)
		return give_up(w, flow, PHX_REASON_BODY_FIRST);
	__u32 mss = w->v6 ? config->mss6 : config->mss4;
	if (upstream->mss && upstream->mss < mss)
		return give_up(w, flow, PHX_REASON_MTU);
	init_leg(w, config, flow, leg, upstream, index);
	if (next_hop(ctx, w, leg)) {
		leg->state = PHX_LEG_NONE;
		return give_up(w, flow, PHX_REASON_NEIGHBOUR);
	}
	leg->used_ns = w->now;
	begin_exchange(w, flow, index, at);
	return done(send_syn(ctx, w, config, flow, leg, index), PHX_VERDICT_REQUEST_SYN);
}

/* A segment with the first byte of a request, at a boundary of a locked flow. */
__noinline int next_request(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	if (load_payload(ctx, w) || !checksum_valid(w))
		return drop(PHX_VERDICT_INVALID);
	w->slot = PHX_SLOT_NONE;
	w->drawn = ~0ULL;
	if (config->mode != PHX_MODE_RUN)
		return give_up(w, flow, PHX_REASON_DRAINING);
	if (flow->flags & PHX_FLOW_PIPELINES)
		return give_up(w, flow, PHX_REASON_PIPELINED);
	if (flow->flags & PHX_FLOW_NARROW)
		return give_up(w, flow, PHX_REASON_MTU);
	if (w->flags & TCP_FIN)
		return give_up(w, flow, PHX_REASON_FIN);
	int reason = steer(0);
	if (reason)
		return give_up(w, flow, reason);
	return THEN_START_REQUEST;
}

/* --- a flow that is open -------------------------------------------------------------------------------- */

/* All of the exchange under way is done, and the client says so. */
static __always_inline int exchange_over(const struct work *w, struct phx_flow *flow)
{
	const struct phx_leg *leg = active_leg(flow);
	if (!(flow->flags & PHX_FLOW_END_KNOWN) || flow->sent != flow->response_end ||
	    w->ack != flow->response_end)
		return 0;
	return leg->state == PHX_LEG_NONE || !before(leg->snd_una, flow->request_end + leg->up_delta);
}

__noinline int client_reset(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	struct phx_leg *leg = active_leg(flow);
	int active = (flow->flags & PHX_FLOW_ACTIVE) != 0;
	__u32 next = active ? leg->snd_nxt - leg->up_delta : flow->request_start;
	/* Only the exact number may reset (RFC 5961 3.2); a client whose request is in the stash counts
	 * further than its leg. */
	if (w->seq != next && w->seq != flow->request_end && w->seq != flow->request_start)
		return drop(PHX_VERDICT_INVALID);
	int forwards = active && leg->state == PHX_LEG_OPEN;
	if (forwards) {
		toward_leg(w, flow, leg, config->port_first + index);
		w->to.seq = leg->snd_nxt;
	}
	if (active)
		finish_exchange(w, flow, PHX_END_CLIENT_GONE);
	close_flow(flow, index, !active);
	return forwards ? done(forward(ctx), PHX_VERDICT_CLIENT_RST) : drop(PHX_VERDICT_CLIENT_RST);
}

/* A client's FIN between two requests: the program closes with it; the legs stay warm. */
__noinline int client_closes(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	flow->state = PHX_FLOW_CLOSING;
	flow->flags |= PHX_FLOW_CLIENT_FIN;
	flow->fin_seq = flow->sent;
	flow->request_start = flow->request_end = w->seq + 1;
	int action = reply(ctx, w, TCP_FIN | TCP_ACK, flow->sent, w->seq + 1, our_window(flow));
	flow->sent++;
	return done(action, PHX_VERDICT_CLIENT_FIN);
}

/* A piece of the request under way; seq is inside of it. */
__noinline int request_piece(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	struct phx_leg *leg = active_leg(flow);
	__u32 end = w->seq + w->payload_len, cut = 0;
	if (leg->state == PHX_LEG_SYN_SENT) {
		if (w->seq != flow->request_start)
			return drop(PHX_VERDICT_WAIT);
		if (leg->syn_tries >= PHX_SYN_TRIES) {
			struct phx_upstream *upstream = bpf_map_lookup_elem(&phx_upstreams, &leg->upstream);
			if (upstream)
				upstream->avoid_until_ns = w->now + AVOID_NS;
			leg->state = PHX_LEG_NONE;
			flow->flags &= ~PHX_FLOW_OF_REQUEST;
			flow->request_end = flow->request_start;
			w->drawn = ~0ULL;
			return give_up(w, flow, PHX_REASON_SYN_TIMEOUT);
		}
		/* The client may send less of it again, or more: whatever it wants to say, the SYN is what is
		 * missing. */
		if (after(end, flow->request_end))
			flow->flags |= PHX_FLOW_PIPELINES;
		leg->syn_tries++;
		next_hop(ctx, w, leg);
		return done(send_syn(ctx, w, config, flow, leg, index), PHX_VERDICT_REQUEST_SYN);
	}
	if (leg->state == PHX_LEG_NONE)
		return drop(PHX_VERDICT_STALE);
	if (after(end, flow->request_end)) {
		cut = end - flow->request_end;
		flow->flags |= PHX_FLOW_PIPELINES;
	}
	if (cut || (flow->flags & PHX_FLOW_SAMPLED)) {
		if (load_payload(ctx, w))
			return drop(PHX_VERDICT_FAILED);
	}
	next_hop(ctx, w, leg);
	toward_leg(w, flow, leg, config->port_first + index);
	w->to.cut = cut;
	if (cut)
		w->to.flags &= ~TCP_FIN;
	__u32 leg_end = w->to.seq + w->payload_len - cut + (w->to.flags & TCP_FIN ? 1 : 0);
	int again = !after(leg_end, leg->snd_nxt);
	if (w->to.flags & TCP_FIN)
		flow->flags |= PHX_FLOW_CLIENT_FIN;
	if (!again)
		leg->snd_nxt = leg_end;
	if (flow->flags & PHX_FLOW_SAMPLED)
		record_payload(w, flow, PHX_RECORD_REQUEST, w->seq - flow->request_start,
			       w->payload_len - cut);
	return done(forward(ctx), cut	  ? PHX_VERDICT_REQUEST_TRIMMED
				  : again ? PHX_VERDICT_REQUEST_AGAIN
					  : PHX_VERDICT_REQUEST_BODY);
}

static __always_inline int client_ack(struct xdp_md *ctx, struct work *w, const struct phx_config *config,
				      struct phx_flow *flow, __u32 index)
{
	struct phx_leg *leg = active_leg(flow);
	__u32 next = flow->flags & PHX_FLOW_ACTIVE ? leg->snd_nxt - leg->up_delta : flow->request_start;
	if (before(w->ack, flow->acked))
		return drop(PHX_VERDICT_STALE);
	if (w->seq == next - 1 && !(flow->flags & PHX_FLOW_ACTIVE))
		return reply_client(ctx, w, flow, TCP_ACK, PHX_VERDICT_ACK_REPLY); /* a keep-alive probe */
	if (leg->state != PHX_LEG_OPEN && leg->state != PHX_LEG_ENDING)
		return drop(PHX_VERDICT_STALE);
	toward_leg(w, flow, leg, config->port_first + index);
	/* A number beyond what the leg was given belongs to data that was dropped here. */
	if (after(w->to.seq, leg->snd_nxt))
		w->to.seq = leg->snd_nxt;
	return done(forward(ctx), PHX_VERDICT_ACK_UP);
}

/* A FIN while a request is under way: the client will send no more, but it may still read. */
__noinline int client_half_closes(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	struct phx_leg *leg = active_leg(flow);
	if (leg->state == PHX_LEG_SYN_SENT)
		return drop(PHX_VERDICT_WAIT);
	if (leg->state == PHX_LEG_NONE)
		return drop(PHX_VERDICT_STALE);
	flow->flags |= PHX_FLOW_CLIENT_FIN;
	toward_leg(w, flow, leg, config->port_first + index);
	/* It may have overtaken the request's last bytes: the upstream will acknowledge it all the same. */
	if (after(w->to.seq + 1, leg->snd_nxt))
		leg->snd_nxt = w->to.seq + 1;
	return done(forward(ctx), PHX_VERDICT_FIN_UP);
}

/* A request behind an answer that ended the connection: a server that is gone resets (RFC 9112 9.6), once the
 * client has all of the answer. */
__noinline int client_too_late(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	if (w->ack != flow->sent)
		return drop(PHX_VERDICT_WAIT);
	finish_exchange(w, flow, flow->flags & PHX_FLOW_SERVED ? PHX_END_WHOLE : PHX_END_UPSTREAM_CUT);
	close_flow(flow, index, 0);
	return done(reply(ctx, w, TCP_RST, w->ack, 0, 0), PHX_VERDICT_RST_REPLY);
}

__noinline int client_open(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	if (after(w->ack, flow->sent) || before(w->ack, flow->sent - STREAM_MAX))
		return drop(PHX_VERDICT_INVALID);
	if (after(w->seq, flow->request_end + SEQ_AHEAD) || before(w->seq, flow->request_start - STREAM_MAX))
		return drop(PHX_VERDICT_INVALID);
	if (!before(w->ack, flow->acked) && !before(w->seq, flow->request_start - 1))
		learn_way_back(w, flow);
	if (after(w->ack, flow->acked))
		flow->acked = w->ack;
	flow->window = w->window;
	int active = (flow->flags & PHX_FLOW_ACTIVE) != 0;
	if (active && exchange_over(w, flow) &&
	    !(flow->flags & (PHX_FLOW_CLIENT_FIN | PHX_FLOW_FIN_DOWN | PHX_FLOW_CLOSES))) {
		finish_exchange(w, flow, PHX_END_WHOLE);
		active = 0;
	}
	if (w->payload_len == 0 && !(w->flags & TCP_FIN))
		return client_ack(ctx, w, config, flow, index);
	if (active && !before(w->seq, flow->request_start) && before(w->seq, flow->request_end))
		return request_piece(ctx, index);
	if (before(w->seq,
		   flow->request_start)) /* it has not seen our ACK, or asks whether we are still here */
		return reply_client(ctx, w, flow, TCP_ACK, PHX_VERDICT_ACK_REPLY);
	if (active) {
		if (w->seq != flow->request_end)
			return drop(PHX_VERDICT_WAIT);
		if (w->payload_len == 0)
			return client_half_closes(ctx, index);
		if (flow->flags & PHX_FLOW_FIN_DOWN)
			return client_too_late(ctx, index);
		if (!(flow->flags & PHX_FLOW_END_KNOWN) || flow->sent != flow->response_end)
			flow->flags |= PHX_FLOW_PIPELINES;
		return drop(PHX_VERDICT_WAIT);
	}
	if (w->seq != flow->request_start)
		return drop(PHX_VERDICT_WAIT);
	if (w->payload_len)
		return THEN_READ_REQUEST;
	return client_closes(ctx, index);
}

/* Our FIN is out, because the client closed or because we answered for the upstream. */
__noinline int client_closing(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	__u32 end = w->seq + w->payload_len + (w->flags & TCP_FIN ? 1 : 0);
	int acked = !before(w->ack, flow->fin_seq + 1);
	int fin_came = flow->flags & PHX_FLOW_CLIENT_FIN || (w->flags & TCP_FIN);
	if ((w->flags & TCP_FIN) && acked) {
		/* Both directions are done. */
		int action = reply(ctx, w, TCP_ACK, flow->fin_seq + 1, end, our_window(flow));
		close_flow(flow, index, 1);
		return done(action, PHX_VERDICT_CLIENT_FIN);
	}
	if (w->flags & TCP_FIN)
		return done(reply(ctx, w, TCP_FIN | TCP_ACK, flow->fin_seq, end, our_window(flow)),
			    PHX_VERDICT_CLIENT_FIN);
	if (acked && end == flow->request_end && fin_came) {
		/* A leg that is of no use to the next client ends now: this ACK becomes its reset. */
		struct phx_leg *leg = active_leg(flow);
		int ends = leg->small && leg->state == PHX_LEG_OPEN;
		if (ends) {
			toward_leg(w, flow, leg, config->port_first + index);
			w->to.flags = TCP_RST | TCP_ACK;
			w->to.seq = leg->snd_nxt;
			w->to.ack = leg->rcv_nxt;
		}
		close_flow(flow, index, 1);
		return ends ? done(forward(ctx), PHX_VERDICT_HANDSHAKE) : drop(PHX_VERDICT_HANDSHAKE);
	}
	return drop(PHX_VERDICT_STALE);
}

/*
 * The daemon's, but the kernel has no socket yet. The segment that begins a request makes one (hand.h). Those
 * right behind it are passed as well: they are in the same batch, and the socket will be there when the
 * kernel gets to them. Without a first segment before them the kernel would answer with a reset: those wait.
 */
static __always_inline int client_handed(struct work *w, struct phx_flow *flow)
{
	if (!w->payload_len && !(w->flags & TCP_FIN))
		return drop(PHX_VERDICT_STALE);
	if (w->seq == flow->request_start && w->ack == flow->sent) {
		flow->served_ns = w->now;
		return hand_over(PHX_REASON_NONE);
	}
	if (!after(w->seq, flow->request_start) || w->now - flow->served_ns > HANDED_NS)
		return drop(PHX_VERDICT_WAIT);
	count_verdict(PHX_VERDICT_KERNEL);
	return XDP_PASS;
}

/* --- no flow yet ---------------------------------------------------------------------------------------- */

__noinline int answer_syn(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	struct phx_config *config = get_config();
	if (!w || !config)
		return XDP_PASS;
	parse_options(w);
	if ((w->payload_len && load_payload(ctx, w)) || !checksum_valid(w)) {
		count_verdict(PHX_VERDICT_BAD_CHECKSUM);
		return XDP_PASS;
	}
	__u32 cookie = cookie_make(w, config);
	turn_around(w);
	syn_options(w, w->v6 ? config->mss6 : config->mss4, w->sack, w->scaled);
	w->to.flags = TCP_SYN | TCP_ACK;
	w->to.ack = w->seq + 1;
	w->to.seq = cookie;
	/* Two segments: Linux sends segments of at most half of the largest window it has seen. */
	w->to.window = 2 * (w->v6 ? config->mss6 : config->mss4);
	int failed = compose(ctx, 0);
	if (failed == 1) {
		/* A SYN with fewer options than the answer, in a frame that cannot grow: then none of them.
		 */
		w->scaled = w->sack = 0;
		w->to.seq = cookie_make(w, config);
		w->to.option_words = 0;
		failed = compose(ctx, 0);
	}
	return done(failed ? -1 : XDP_TX, PHX_VERDICT_SYN_COOKIE);
}

/* The first segment behind a cookie. */
__noinline int first_request(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	struct phx_config *config = get_config();
	if (!w || !config)
		return XDP_PASS;
	if (w->flags & TCP_FIN)
		return hand_over(PHX_REASON_FIN);
	if (load_payload(ctx, w) || !checksum_valid(w))
		return drop(PHX_VERDICT_INVALID);
	int reason = steer(0);
	__u64 *narrow_ns = bpf_map_lookup_elem(&phx_narrow, &w->src);
	if (!reason && narrow_ns && w->now < *narrow_ns)
		reason = PHX_REASON_MTU;
	if (reason && !more_follows(w, reason)) {
		give_back_draw(w);
		return hand_over(reason);
	}
	__u32 index = 0;
	struct phx_flow *flow = open_flow(w, &index);
	if (!flow) {
		give_back_draw(w);
		return hand_over(reason ? reason : PHX_REASON_FULL);
	}
	learn_way_back(w, flow);
	flow->window = w->window;
	/* A flow for the daemon too, until the kernel has its socket: the segments behind this one are close.
	 */
	int action = reason ? give_up(w, flow, reason) : start_request(ctx, index);
	unlock_flow(flow);
	return action;
}

__noinline int client_stranger(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	struct phx_config *config = get_config();
	if (!w || !config)
		return XDP_PASS;
	int socket = kernel_socket(ctx, w);
	if (socket == SOCKET_OWNS || config->mode == PHX_MODE_OFF) {
		count_verdict(PHX_VERDICT_KERNEL);
		return XDP_PASS;
	}
	if (w->flags & TCP_RST)
		return drop(PHX_VERDICT_STALE);
	if (w->flags & TCP_SYN) {
		if (w->flags & TCP_ACK)
			return drop(PHX_VERDICT_INVALID);
		if (config->mode == PHX_MODE_DRAIN) {
			count_verdict(PHX_VERDICT_KERNEL);
			return XDP_PASS;
		}
		return answer_syn(ctx);
	}
	int cookie = w->flags & TCP_ACK ? cookie_check(w, config) : COOKIE_WRONG;
	if (cookie == COOKIE_LATER)
		return drop(w->payload_len || (w->flags & TCP_FIN) ? PHX_VERDICT_WAIT
								   : PHX_VERDICT_HANDSHAKE);
	if (cookie == COOKIE_WRONG) {
		/* A bare ACK needs no answer. */
		if (w->flags == TCP_ACK && !w->payload_len)
			return drop(PHX_VERDICT_STALE);
		/* Nobody's: the kernel answers with a reset. */
		count_verdict(PHX_VERDICT_KERNEL);
		return XDP_PASS;
	}
	if (w->payload_len) {
		if (config->mode == PHX_MODE_DRAIN)
			return hand_over(PHX_REASON_DRAINING);
		return first_request(ctx);
	}
	if (w->flags & TCP_FIN)
		return done(reply(ctx, w, TCP_FIN | TCP_ACK, w->ack, w->seq + 1, 0), PHX_VERDICT_CLIENT_FIN);
	return drop(PHX_VERDICT_HANDSHAKE);
}

/* --- a client that has a flow --- */

/* A segment of a client that has a flow. */
__noinline int client_segment(struct xdp_md *ctx, __u32 index)
{
	struct work *w = get_work(0);
	struct phx_config *config = get_config();
	struct phx_flow *flow = get_flow(index);
	if (!w || !config || !flow)
		return XDP_PASS;
	if (flow->state == PHX_FLOW_HANDED && kernel_socket(ctx, w) == SOCKET_OWNS) {
		/* The daemon has it; the kernel knows it from now on. */
		if (!lock_flow(flow))
			return drop(PHX_VERDICT_BUSY);
		if (flow->state == PHX_FLOW_HANDED && flow->key.client_port == w->sport &&
		    same_addr(&flow->key.client, &w->src))
			close_flow(flow, index, 1);
		unlock_flow(flow);
		count_verdict(PHX_VERDICT_KERNEL);
		return XDP_PASS;
	}
	if (!lock_flow(flow))
		return drop(PHX_VERDICT_BUSY);
	int action;
	if ((w->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && flow->state == PHX_FLOW_CLOSING &&
	    (flow->flags & PHX_FLOW_CLIENT_FIN) && after(w->seq, flow->request_start)) {
		/* Both sides have closed and only the last ACK is missing: the client uses its port again. */
		close_flow(flow, index, 1);
		unlock_flow(flow);
		return THEN_NO_FLOW;
	}
	if (flow->state == PHX_FLOW_FREE || flow->key.client_port != w->sport ||
	    !same_addr(&flow->key.client, &w->src)) {
		action = drop(PHX_VERDICT_WAIT); /* it ended while we looked it up */
	} else if (w->ttl <= 1) {
		action = drop(PHX_VERDICT_TTL);
	} else if (w->flags & TCP_SYN) {
		/* Somebody else's SYN must not end a connection; if the client did forget it, it will say so
		 * with a reset (RFC 5961 4.2). */
		action = w->flags & TCP_ACK ? drop(PHX_VERDICT_INVALID)
					    : reply_client(ctx, w, flow, TCP_ACK, PHX_VERDICT_CHALLENGE);
	} else if (w->flags & TCP_RST) {
		action = client_reset(ctx, index);
	} else if (!(w->flags & TCP_ACK)) {
		action = drop(PHX_VERDICT_INVALID);
	} else {
		flow->seen_ns = w->now;
		if (flow->state == PHX_FLOW_OPEN)
			action = client_open(ctx, index);
		else if (flow->state == PHX_FLOW_CLOSING)
			action = client_closing(ctx, index);
		else
			action = client_handed(w, flow);
	}
	if (action == THEN_READ_REQUEST)
		action = next_request(ctx, index);
	if (action == THEN_START_REQUEST)
		action = start_request(ctx, index);
	unlock_flow(flow);
	return action;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * upstream: segments from upstreams: the SYN-ACK that becomes the stashed request, the response whose end has
 * to be known, and the legs' ends.
 *
 * As long as the response's head or its chunks are being read, its bytes are taken in order only: a segment
 * behind a gap is turned into a duplicate ACK, as a receiver without a reordering queue would answer it, and
 * the upstream sends the missing piece (RFC 5681 3.2). Once the length is known, any order will do.
 *
 * What the scanner refuses is not passed on: before the first byte the client gets a 502, later a reset.
 */
#ifndef PHOENIX_BPF_UPSTREAM_H
#define PHOENIX_BPF_UPSTREAM_H

#include "client.h"

/* --- answers of our own --------------------------------------------------------------------------------- */

/* What the leg may be told that its client has: what was merely sent on may have been lost on the way. */
static __always_inline __u32 taken(const struct phx_flow *flow, const struct phx_leg *leg)
{
	int active = flow->state == PHX_FLOW_OPEN && (flow->flags & PHX_FLOW_ACTIVE) &&
		     leg == &flow->leg[flow->active & (PHX_LEGS - 1)];
	return active ? flow->acked - leg->down_delta : leg->rcv_nxt;
}

/* Answers the upstream with an ACK of what its client has. */
static __always_inline int reply_leg(struct xdp_md *ctx, struct work *w, struct phx_flow *flow,
				     struct phx_leg *leg)
{
	return done(reply(ctx, w, TCP_ACK, leg->snd_nxt, taken(flow, leg), window_up(flow, leg)),
		    PHX_VERDICT_ACK_REPLY);
}

static __always_inline int reset_stranger(struct xdp_md *ctx, struct work *w)
{
	if (w->flags & TCP_RST)
		return drop(PHX_VERDICT_STALE);
	__u32 end = w->seq + w->payload_len + (w->flags & (TCP_FIN | TCP_SYN) ? 1 : 0);
	if (w->flags & TCP_ACK)
		return done(reply(ctx, w, TCP_RST, w->ack, 0, 0), PHX_VERDICT_RST_REPLY);
	return done(reply(ctx, w, TCP_RST | TCP_ACK, 0, end, 0), PHX_VERDICT_RST_REPLY);
}

/* The leg ends with a reset, which answers whatever the upstream sent. */
static __always_inline int reset_leg(struct xdp_md *ctx, struct work *w, struct phx_leg *leg, __u32 verdict)
{
	leg->state = PHX_LEG_NONE;
	return done(reply(ctx, w, TCP_RST | TCP_ACK, leg->snd_nxt,
			  w->seq + w->payload_len + (w->flags & TCP_FIN ? 1 : 0), 0),
		    verdict);
}

/* The request did not reach its upstream: the client will send it again, and the daemon will get it. No
 * segment of it was passed, so there is none that others could follow. */
static __always_inline void leave_to_daemon(struct phx_flow *flow, __u32 reason)
{
	flow->flags &= ~PHX_FLOW_OF_REQUEST;
	flow->request_end = flow->request_start;
	flow->state = PHX_FLOW_HANDED;
	flow->served_ns = 0;
	count_reason(reason);
}

#define GATEWAY_502                                                                                          \
	"HTTP/1.1 502 Bad Gateway\r\n"                                                                       \
	"Content-Type: application/problem+json\r\n"                                                         \
	"Content-Length: 71\r\n"                                                                             \
	"Connection: close\r\n"                                                                              \
	"\r\n"                                                                                               \
	"{\"title\":\"Bad Gateway\",\"status\":502,\"detail\":\"upstream_invalid (xdp)\"}\n"

/* The upstream's response is not HTTP. What the client gets depends on what it has. */
__noinline int refuse_response(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	struct phx_leg *leg = active_leg(flow);
	toward_client(w, flow, leg);
	__u32 ack = flow->request_end;
	leg->state = PHX_LEG_NONE;
	if (flow->flags & PHX_FLOW_ANSWERED) {
		w->to.flags = TCP_RST | TCP_ACK;
		w->to.seq = flow->sent;
		w->to.ack = ack;
		finish_exchange(w, flow, PHX_END_INVALID);
		close_flow(flow, index, 0);
		int action = compose(ctx, 0) ? -1 : bpf_redirect(w->to.ifindex, 0);
		return done(action, PHX_VERDICT_BAD_GATEWAY);
	}
	w->to.flags = TCP_PSH | TCP_ACK | TCP_FIN;
	w->to.seq = flow->sent;
	w->to.ack = ack;
	w->to.window = our_window(flow);
	finish_exchange(w, flow, PHX_END_INVALID);
	flow->state = PHX_FLOW_CLOSING;
	flow->fin_seq = flow->sent + sizeof(GATEWAY_502) - 1;
	flow->sent = flow->fin_seq + 1;
	__builtin_memcpy(w->payload, GATEWAY_502, sizeof(GATEWAY_502) - 1);
	int failed = compose(ctx, sizeof(GATEWAY_502) - 1);
	if (failed == 1) {
		/* No room for words: a reset has to do. */
		w->to.flags = TCP_RST | TCP_ACK;
		close_flow(flow, index, 0);
		failed = compose(ctx, 0);
	}
	return done(failed ? -1 : bpf_redirect(w->to.ifindex, 0), PHX_VERDICT_BAD_GATEWAY);
}

/* --- the response --------------------------------------------------------------------------------------- */

static __always_inline void end_known(struct phx_flow *flow, __u32 end)
{
	flow->response_end = end;
	flow->flags |= PHX_FLOW_END_KNOWN;
}

/* The response's head is complete and ends at `at` (client space): how is its body framed (RFC 9112 6.3)? */
static __always_inline void take_response_head(struct work *w, struct phx_flow *flow,
					       const struct phx_leg *leg, __u32 at)
{
	const struct phx_head *h = &w->head;
	if (h->status < 200 && h->status != 101) {
		phx_head_init(&flow->head, PHX_HEAD_RESPONSE);
		w->head = flow->head;
		return;
	}
	flow->status = h->status;
	struct phx_route_stats *stats = get_stats(flow->slot);
	__u64 class = h->status / 100;
	HIDE(class);
	if (stats && class < 6) {
		add(&stats->side[flow->side & 1].status[class], 1);
		if (flow->flags & PHX_FLOW_SYNTHETIC)
			add(&stats->side[flow->side & 1].synthetic_status[class], 1);
	}
	if (!phx_head_persists(h))
		flow->flags |= PHX_FLOW_CLOSES;
	if (h->flags & PHX_HEAD_NOMINATES) {
		/* Fields that belong to one hop: this answer is out, the next one is the daemon's. */
		struct phx_upstream *upstream = bpf_map_lookup_elem(&phx_upstreams, &leg->upstream);
		if (upstream)
			upstream->flags |= PHX_UPSTREAM_UNFIT;
	}
	if (h->status == 101) {
		flow->body = PHX_BODY_CLOSE;
	} else if ((flow->flags & PHX_FLOW_HEAD_REQUEST) || h->status == 204 || h->status == 304) {
		flow->body = PHX_BODY_LENGTH;
		end_known(flow, at);
	} else if (h->flags & PHX_HEAD_CHUNKED) {
		flow->body = PHX_BODY_CHUNKED;
		flow->chunk_state = PHX_CHUNK_SIZE_FIRST;
	} else if (!(h->flags & PHX_HEAD_HAS_LENGTH)) {
		flow->body = PHX_BODY_CLOSE;
	} else if (h->content_length < STREAM_MAX) {
		flow->body = PHX_BODY_LENGTH;
		end_known(flow, at + (__u32)h->content_length);
	} else {
		flow->body = PHX_BODY_COUNTED;
		flow->chunk_left = h->content_length;
	}
}

/* Goes on reading at flow->scanned. The segment begins at `start` (client space) and lies in w->payload.
 * Returns 1 when it is not HTTP. */
__noinline int read_response(__u32 index, __u32 start)
{
	STAGE(index);
	struct phx_leg *leg = active_leg(flow);
	w->scan_at = flow->scanned - start;
	w->scan_end = w->payload_len;
	if (flow->body == PHX_BODY_HEAD) {
		w->head = flow->head;
		/* Interim responses come first, in any number; more than three in one segment wait for the
		 * next, which no upstream minds. */
		for (int i = 0; i < 4; i++) {
			int result = scan_head();
			if (result == PHX_HEAD_REFUSED)
				return 1;
			if (result != PHX_HEAD_DONE)
				break;
			take_response_head(w, flow, leg, start + w->scan_at);
			if (flow->body != PHX_BODY_HEAD)
				break;
		}
		flow->head = w->head;
	}
	if (flow->body == PHX_BODY_CHUNKED) {
		scan_chunks(index);
		if (flow->chunk_state == PHX_CHUNK_REFUSED)
			return 1;
		if (flow->chunk_state == PHX_CHUNK_DONE)
			end_known(flow, start + w->scan_at);
	} else if (flow->body == PHX_BODY_COUNTED) {
		__u32 n = w->scan_end - w->scan_at;
		flow->chunk_left -= n;
		w->scan_at = w->scan_end;
		if (flow->chunk_left < STREAM_MAX) {
			flow->body = PHX_BODY_LENGTH;
			end_known(flow, start + w->scan_at + (__u32)flow->chunk_left);
		}
	}
	flow->scanned = start + w->scan_at;
	return 0;
}

/* The upstream's FIN, at the end of a segment that ends at `end` (client space) and is for the active leg.
 * Decides whether it goes on to the client; 0: it is left off. */
static __always_inline int fin_goes_on(struct phx_flow *flow, struct phx_leg *leg, __u32 end)
{
	if (flow->body == PHX_BODY_CLOSE) {
		end_known(flow, end);
		return 1;
	}
	if (!(flow->flags & PHX_FLOW_END_KNOWN) || before(end, flow->response_end))
		return 1; /* cut off: the client must see it */
	leg->state = PHX_LEG_ENDING;
	return (flow->flags & (PHX_FLOW_CLOSES | PHX_FLOW_CLIENT_FIN)) != 0;
}

/* Response bytes or a FIN on the active leg of a request under way. */
__noinline int response_segment(struct xdp_md *ctx, __u32 index)
{
	STAGE(index);
	struct phx_leg *leg = active_leg(flow);
	__u32 start = w->seq + leg->down_delta, end = start + w->payload_len, cut = 0;
	__u32 fin = w->flags & TCP_FIN;
	int in_order = flow->body == PHX_BODY_HEAD ||
		       ((flow->body == PHX_BODY_CHUNKED || flow->body == PHX_BODY_COUNTED) &&
			!(flow->flags & PHX_FLOW_END_KNOWN)) ||
		       flow->body == PHX_BODY_CLOSE;
	if (before(start, flow->response_start)) {
		/* Of the response before: it was taken whole. */
		return reply_leg(ctx, w, flow, leg);
	}
	if (in_order && after(start, flow->body == PHX_BODY_CLOSE ? flow->sent : flow->scanned))
		return reply_leg(ctx, w, flow, leg);
	if (fin && !w->payload_len && !(flow->flags & PHX_FLOW_ANSWERED) &&
	    !after(leg->snd_una, flow->request_start + leg->up_delta)) {
		/* Closed before it saw the request: the client sends it again, to the daemon. */
		if (flow->flags & PHX_FLOW_COUNTED)
			count_request(flow, -1);
		leave_to_daemon(flow, PHX_REASON_LEG_LOST);
		return reset_leg(ctx, w, leg, PHX_VERDICT_UPSTREAM_FIN);
	}
	int reads = w->payload_len && in_order && flow->body != PHX_BODY_CLOSE && after(end, flow->scanned);
	if (reads || (w->payload_len && (flow->flags & PHX_FLOW_SAMPLED))) {
		if (load_payload(ctx, w))
			return drop(PHX_VERDICT_FAILED);
	}
	if (reads && read_response(index, start))
		return refuse_response(ctx, index);
	if ((flow->flags & PHX_FLOW_END_KNOWN) && after(end, flow->response_end)) {
		/* More than it announced: the client must not take it for the next response. */
		cut = end - flow->response_end;
		if (cut >= w->payload_len || fin)
			return reset_leg(ctx, w, leg, PHX_VERDICT_RESPONSE_TRIMMED);
		if (load_payload(ctx, w))
			return drop(PHX_VERDICT_FAILED);
		leg->state = PHX_LEG_ENDING;
		end = flow->response_end;
	}
	if (flow->flags & PHX_FLOW_SAMPLED && w->payload_len)
		record_payload(w, flow, PHX_RECORD_RESPONSE, start - flow->response_start,
			       w->payload_len - cut);
	toward_client(w, flow, leg);
	w->to.cut = cut;
	__u32 sent = end;
	if (fin && !fin_goes_on(flow, leg, end)) {
		w->to.flags &= ~TCP_FIN;
		if (!w->payload_len) {
			/* The client may still need a piece of the response again; when it has all, the next
			 * retransmission of this FIN is answered. */
			if (flow->acked != flow->response_end)
				return drop(PHX_VERDICT_WAIT);
			return reset_leg(ctx, w, leg, PHX_VERDICT_UPSTREAM_FIN);
		}
	} else if (fin) {
		flow->flags |= PHX_FLOW_FIN_DOWN;
		sent = end + 1;
	}
	if (after(sent, flow->sent)) {
		flow->sent = sent;
		leg->rcv_nxt = sent - leg->down_delta;
	}
	if (w->payload_len)
		flow->flags |= PHX_FLOW_ANSWERED;
	if ((flow->flags & (PHX_FLOW_END_KNOWN | PHX_FLOW_SERVED)) == PHX_FLOW_END_KNOWN &&
	    !before(flow->sent, flow->response_end)) {
		flow->flags |= PHX_FLOW_SERVED;
		flow->served_ns = w->now;
	}
	return done(forward(ctx), cut	? PHX_VERDICT_RESPONSE_TRIMMED
				  : fin ? PHX_VERDICT_FIN_DOWN
					: PHX_VERDICT_RESPONSE);
}

/* --- resets --------------------------------------------------------------------------------------------- */

__noinline int upstream_reset(struct xdp_md *ctx, __u32 index, __u32 at, int active)
{
	STAGE(index);
	struct phx_leg *leg = &flow->leg[at & (PHX_LEGS - 1)];
	if (leg->state == PHX_LEG_SYN_SENT) {
		if (w->ack != leg->snd_nxt)
			return drop(PHX_VERDICT_INVALID);
		struct phx_upstream *upstream = bpf_map_lookup_elem(&phx_upstreams, &leg->upstream);
		if (upstream)
			upstream->avoid_until_ns = w->now + AVOID_NS;
	} else if (w->seq != leg->rcv_nxt) {
		return drop(PHX_VERDICT_INVALID);
	}
	int unseen =
		leg->state == PHX_LEG_SYN_SENT || (!(flow->flags & PHX_FLOW_ANSWERED) &&
						   !after(leg->snd_una, flow->request_start + leg->up_delta));
	leg->state = PHX_LEG_NONE;
	if (!active)
		return drop(PHX_VERDICT_UPSTREAM_RST);
	if (unseen) {
		/* The client will send its request again, and the daemon will get it. */
		if (flow->flags & PHX_FLOW_COUNTED)
			count_request(flow, -1);
		leave_to_daemon(flow, PHX_REASON_LEG_LOST);
		return drop(PHX_VERDICT_UPSTREAM_RST);
	}
	if ((flow->flags & PHX_FLOW_END_KNOWN) && flow->sent == flow->response_end &&
	    flow->acked == flow->response_end && !(flow->flags & PHX_FLOW_CLIENT_FIN)) {
		leg->snd_una = leg->snd_nxt;
		return drop(PHX_VERDICT_UPSTREAM_RST);
	}
	toward_client(w, flow, leg);
	w->to.seq = flow->sent;
	finish_exchange(w, flow, flow->flags & PHX_FLOW_SERVED ? PHX_END_CLIENT_GONE : PHX_END_UPSTREAM_CUT);
	close_flow(flow, index, 0);
	return done(forward(ctx), PHX_VERDICT_UPSTREAM_RST);
}

/* --- the handshake -------------------------------------------------------------------------------------- */

/* Brings the stashed request to where compose() takes it from. Its length, or 0. */
static __always_inline __u32 unstash(struct work *w, const struct phx_flow *flow, __u32 index)
{
	__u32 place = index % PHX_STASHES;
	struct phx_stash *stash = bpf_map_lookup_elem(&phx_stash, &place);
	if (!stash || stash->owner != index + 1 || stash->seq != flow->request_start)
		return 0;
	__u64 len = stash->len;
	HIDE(len);
	if (len == 0 || len >= PHX_FRAME_BYTES)
		return 0;
	if (bpf_probe_read_kernel(w->payload, len, stash->bytes))
		return 0;
	return (__u32)len;
}

__noinline int upstream_syn_ack(struct xdp_md *ctx, __u32 index, __u32 at, int active)
{
	STAGE(index);
	struct phx_leg *leg = &flow->leg[at & (PHX_LEGS - 1)];
	if (leg->state != PHX_LEG_SYN_SENT) {
		if (w->ack == leg->snd_nxt || w->seq == leg->irs)
			return reply_leg(ctx, w, flow, leg);
		return drop(PHX_VERDICT_INVALID);
	}
	if (!active || w->ack != leg->snd_nxt)
		return reset_stranger(ctx, w);
	parse_options(w);
	w->payload_len = 0;
	struct phx_upstream *upstream = bpf_map_lookup_elem(&phx_upstreams, &leg->upstream);
	__u32 mss = w->v6 ? config->mss6 : config->mss4;
	if (!checksum_valid(w) || w->mss < mss) {
		/* Not one for the fast path: the next try goes to the daemon. */
		if (upstream && w->mss < mss)
			upstream->mss = w->mss;
		else if (upstream)
			upstream->flags |= PHX_UPSTREAM_UNFIT;
		leave_to_daemon(flow, w->mss < mss ? PHX_REASON_MTU : PHX_REASON_CHECKSUM);
		return reset_leg(ctx, w, leg, PHX_VERDICT_UPSTREAM_RST);
	}
	leg->state = PHX_LEG_OPEN;
	leg->irs = w->seq;
	leg->rcv_nxt = w->seq + 1;
	leg->snd_una = w->ack;
	leg->scale = w->scale;
	leg->options = (w->sack ? PHX_LEG_SACK : 0) | (w->scaled ? PHX_LEG_SCALED : 0);
	leg->down_delta = flow->sent - leg->rcv_nxt;
	if (upstream)
		upstream->mss = 0;
	__u32 len = unstash(w, flow, index);
	if (!len)
		return reply_leg(ctx, w, flow, leg);
	leg->snd_nxt = flow->request_start + leg->up_delta + len;
	count_request(flow, 1);
	turn_around(w);
	w->to.flags = TCP_ACK | TCP_PSH;
	w->to.seq = flow->request_start + leg->up_delta;
	w->to.ack = leg->rcv_nxt;
	w->to.window = window_up(flow, leg);
	int failed = compose(ctx, len);
	if (failed == 1) {
		flow->flags |= PHX_FLOW_REPLAY;
		count_verdict(PHX_VERDICT_REPLAY_TC);
		return XDP_PASS;
	}
	return done(failed ? -1 : XDP_TX, PHX_VERDICT_REPLAY);
}

/* --- all segments of a leg ------------------------------------------------------------------------------ */

/* On a leg that has nothing to say at the moment. */
static __always_inline int idle_leg(struct xdp_md *ctx, struct work *w, struct phx_flow *flow,
				    struct phx_leg *leg)
{
	__u32 end = w->seq + w->payload_len;
	if (w->payload_len && !after(end, leg->rcv_nxt)) /* it has not seen our ACK */
		return reply_leg(ctx, w, flow, leg);
	if (w->payload_len || (w->flags & TCP_FIN)) {
		if (after(w->seq, leg->rcv_nxt))
			return drop(PHX_VERDICT_WAIT);
		return reset_leg(ctx, w, leg,
				 w->payload_len ? PHX_VERDICT_RST_REPLY : PHX_VERDICT_UPSTREAM_FIN);
	}
	if (w->seq == leg->rcv_nxt - 1) /* a keep-alive probe */
		return reply_leg(ctx, w, flow, leg);
	return drop(PHX_VERDICT_STALE);
}

static __always_inline int leg_segment(struct xdp_md *ctx, struct work *w, struct phx_flow *flow, __u32 index,
				       __u32 at)
{
	struct phx_leg *leg = &flow->leg[at & (PHX_LEGS - 1)];
	int active = flow->state == PHX_FLOW_OPEN && (flow->flags & PHX_FLOW_ACTIVE) && flow->active == at;
	if (w->flags & TCP_RST)
		return upstream_reset(ctx, index, at, active);
	if (w->flags & TCP_SYN) {
		if (!(w->flags & TCP_ACK))
			return drop(PHX_VERDICT_INVALID);
		return upstream_syn_ack(ctx, index, at, active);
	}
	if (!(w->flags & TCP_ACK))
		return drop(PHX_VERDICT_INVALID);
	if (leg->state ==
	    PHX_LEG_SYN_SENT) /* it still has a connection of before: reset that (RFC 9293 3.10.7.3) */
		return done(reply(ctx, w, TCP_RST, w->ack, 0, 0), PHX_VERDICT_RST_REPLY);
	if (after(w->ack, leg->snd_nxt))
		return drop(PHX_VERDICT_INVALID);
	if (after(w->ack, leg->snd_una))
		leg->snd_una = w->ack;
	if (after(w->seq, leg->rcv_nxt + STREAM_MAX) || before(w->seq, leg->rcv_nxt - STREAM_MAX))
		return drop(PHX_VERDICT_INVALID);
	if (!active)
		return idle_leg(ctx, w, flow, leg);
	leg->used_ns = w->now;
	if (w->payload_len || (w->flags & TCP_FIN))
		return response_segment(ctx, index);
	toward_client(w, flow, leg);
	/* The ACK of a client's FIN, when ours is out too: the end of the connection. */
	if ((flow->flags & PHX_FLOW_CLIENT_FIN) && (flow->flags & PHX_FLOW_FIN_DOWN) &&
	    w->ack == leg->snd_nxt && !before(flow->acked, flow->sent)) {
		finish_exchange(w, flow,
				flow->flags & PHX_FLOW_SERVED ? PHX_END_WHOLE : PHX_END_UPSTREAM_CUT);
		close_flow(flow, index, 0);
	}
	return done(forward(ctx), PHX_VERDICT_ACK_DOWN);
}

static __always_inline int from_upstream(const struct work *w)
{
	struct phx_listen_key from = {w->src, w->sport};
	return bpf_map_lookup_elem(&phx_sources, &from) != 0;
}

/* A segment to one of our ports. The flow's legs are looked at first: nearly always it is one of theirs, and
 * no table has to be asked. */
__noinline int upstream_segment(struct xdp_md *ctx, __u32 index)
{
	struct work *w = get_work(0);
	struct phx_flow *flow = get_flow(index);
	if (!w || !flow)
		return THEN_NO_FLOW;
	if (!lock_flow(flow))
		return drop(PHX_VERDICT_BUSY);
	__u32 at = PHX_LEGS;
#pragma unroll
	for (__u32 i = 0; i < PHX_LEGS; i++) {
		const struct phx_leg *leg = &flow->leg[i];
		if (leg->state != PHX_LEG_NONE && leg->port == w->sport && same_addr(&leg->addr, &w->src) &&
		    same_addr(&leg->source, &w->dst))
			at = i;
	}
	int action;
	if (at == PHX_LEGS) {
		action = from_upstream(w) ? reset_stranger(ctx, w) : THEN_NO_FLOW;
	} else if (w->ttl <= 1) {
		action = drop(PHX_VERDICT_TTL);
	} else {
		flow->seen_ns = w->now;
		action = leg_segment(ctx, w, flow, index, at);
	}
	unlock_flow(flow);
	return action;
}

#endif

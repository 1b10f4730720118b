/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * frame: from bytes to fields and back. parse() reads a frame into struct work; forward() rewrites a frame
 * that carries on (addresses, ports, numbers, windows, SACK; the checksum incrementally, RFC 1624); compose()
 * makes a frame of the program's own out of the one at hand.
 */
#ifndef PHOENIX_BPF_FRAME_H
#define PHOENIX_BPF_FRAME_H

#include "work.h"

/* Keeps clang from reasoning about a length, so that the check behind it is the one that the verifier sees.
 */
#define HIDE(x) asm volatile("" : "+r"(x))

/* --- reading -------------------------------------------------------------------------------------------- */

static __always_inline void map_ip4(struct phx_addr *addr, __be32 ip)
{
	addr->word[0] = addr->word[1] = 0;
	addr->word[2] = bpf_htonl(0xffff);
	addr->word[3] = ip;
}

static __always_inline void get_addr(const __u8 *p, struct phx_addr *addr)
{
	addr->word[0] = raw32(p);
	addr->word[1] = raw32(p + 4);
	addr->word[2] = raw32(p + 8);
	addr->word[3] = raw32(p + 12);
}

static __always_inline void put_addr(__u8 *p, const struct phx_addr *addr)
{
	put_raw32(p, addr->word[0]);
	put_raw32(p + 4, addr->word[1]);
	put_raw32(p + 8, addr->word[2]);
	put_raw32(p + 12, addr->word[3]);
}

/* The headers behind the copied frame. 1: TCP or ICMP, whole and without anything unusual. */
static __always_inline int parse_copied(struct work *w)
{
	const __u8 *ether = w->frame + FRAME_AT, *ip = ether + 14;
	__u32 type = get16(ether + 12), length, head, l3 = FRAME_AT + 14;
	w->vlan = 0;
	if (type == ETHER_VLAN) {
		w->vlan = (get16(ether + 14) & 0xfff) + 1;
		type = get16(ether + 16);
		ip += 4;
		l3 += 4;
	}
	if (type == ETHER_IP4) {
		if (ip[0] != 0x45 || (get16(ip + 6) & 0x3fff))
			return 0;
		length = get16(ip + 2);
		w->v6 = 0;
		w->ttl = ip[8];
		w->proto = ip[9];
		map_ip4(&w->src, raw32(ip + 12));
		map_ip4(&w->dst, raw32(ip + 16));
		head = 20;
	} else if (type == ETHER_IP6) {
		if (ip[0] >> 4 != 6)
			return 0;
		length = get16(ip + 4) + 40;
		w->v6 = 1;
		w->ttl = ip[7];
		w->proto = ip[6];
		get_addr(ip + 8, &w->src);
		get_addr(ip + 24, &w->dst);
		head = 40;
	} else {
		return 0;
	}
	w->l3 = l3;
	w->l4 = l3 + head;
	w->loaded = 0;
	if (length > w->frame_len - (l3 - FRAME_AT) || length < head + 8)
		return 0;
	if (w->proto == IP_ICMP || w->proto == IP_ICMP6) {
		w->payload_len = length - head;
		return 1;
	}
	if (w->proto != IP_TCP || length < head + 20)
		return 0;
	const __u8 *tcp = header(w, w->l4);
	w->tcp_len = tcp[12] >> 4 << 2;
	if (w->tcp_len < 20 || length < head + w->tcp_len)
		return 0;
	w->sport = get16(tcp);
	w->dport = get16(tcp + 2);
	w->seq = get32(tcp + 4);
	w->ack = get32(tcp + 8);
	w->flags = tcp[13];
	w->window = get16(tcp + 14);
	w->payload_off = w->l4 + w->tcp_len - FRAME_AT;
	w->payload_len = length - head - w->tcp_len;
	return w->payload_len < PHX_FRAME_BYTES;
}

/* Reads the frame into work. 1 when it may concern us. */
__noinline int parse(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	if (!w)
		return 0;
	__u64 len = bpf_xdp_get_buff_len(ctx);
	w->frame_len = (__u32)len;
	if (len > FRAME_BYTES)
		len = FRAME_BYTES;
	HIDE(len);
	if (len < 42 || len > FRAME_BYTES)
		return 0;
	if (bpf_xdp_load_bytes(ctx, 0, w->frame + FRAME_AT, len))
		return 0;
	w->ingress = ctx->ingress_ifindex;
	w->which = 0;
	return parse_copied(w);
}

enum option_result {
	OPTION_TAKEN, /* it lies at *option; w->scan_at is behind it */
	OPTION_PAD,
	OPTIONS_OVER, /* or broken */
};

/* The TCP option at w->scan_at (RFC 9293 3.1). */
static __always_inline int take_option(struct work *w, __u8 **option)
{
	__u32 at = w->scan_at;
	if (at >= w->scan_end)
		return OPTIONS_OVER;
	*option = header(w, at);
	__u8 kind = (*option)[0], len = (*option)[1];
	w->scan_at = at + 1;
	if (kind == 1)
		return OPTION_PAD;
	if (kind == 0 || len < 2 || at + len > w->scan_end)
		return OPTIONS_OVER;
	w->scan_at = at + len;
	return OPTION_TAKEN;
}

static long option_step(__u32 i, struct work **argument)
{
	struct work *w = *argument;
	__u8 *option;
	int result = take_option(w, &option);
	if (result != OPTION_TAKEN)
		return result == OPTIONS_OVER;
	__u8 kind = option[0], len = option[1];
	if (kind == 2 && len == 4) {
		w->mss = get16(option + 2);
	} else if (kind == 3 && len == 3) {
		w->scale = option[2] > 14 ? 14 : option[2];
		w->scaled = 1;
	} else if (kind == 4 && len == 2) {
		w->sack = 1;
	}
	return 0;
}

/* Options of a SYN (RFC 9293 3.2, 7323, 2018). Timestamps are not negotiated, so they are not looked at. */
static __always_inline void parse_options(struct work *w)
{
	w->mss = 536;
	w->scale = w->scaled = w->sack = 0;
	w->scan_at = w->l4 + 20;
	w->scan_end = w->l4 + w->tcp_len;
	bpf_loop(40, option_step, &w, 0);
}

/* Copies the payload behind the record. 0, or 1 when that fails. */
static __always_inline int load_payload(struct xdp_md *ctx, struct work *w)
{
	__u64 len = w->payload_len;
	if (w->loaded == len)
		return 0;
	HIDE(len);
	if (len == 0 || len >= PHX_FRAME_BYTES)
		return 1;
	if (bpf_xdp_load_bytes(ctx, w->payload_off, w->payload, len))
		return 1;
	w->loaded = (__u32)len;
	return 0;
}

/* --- checksums (RFC 1071) ------------------------------------------------------------------------------- */

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static __always_inline __u64 sum_addr(const struct phx_addr *addr)
{
	return (__u64)addr->word[0] + addr->word[1] + addr->word[2] + addr->word[3];
}

static __always_inline __u64 sum16(const __u8 *p)
{
	return (__u64)raw32(p) + raw32(p + 4) + raw32(p + 8) + raw32(p + 12);
}

struct summing {
	struct work *w;
	__u64 sum;
	__u32 at;
};

static long sum_step(__u32 i, struct summing *summing)
{
	summing->sum += raw32(header(summing->w, summing->at + 4 * i));
	return 0;
}

/* The TCP header of the copied frame, options included. */
__noinline __u64 sum_tcp(__u32 which, __u32 bytes)
{
	struct work *w = get_work(which);
	if (!w)
		return 0;
	const __u8 *tcp = header(w, w->l4);
	struct summing rest = {w, sum16(tcp) + raw32(tcp + 16), w->l4 + 20};
	if (bytes > 20)
		bpf_loop((bytes - 20) / 4, sum_step, &rest, 0);
	return rest.sum;
}

/* The first `bytes` of the loaded payload. Up to 4 bytes behind them are zeroed. In pieces of 512, which is
 * what the helper of older kernels takes. */
__noinline __u64 sum_payload(__u32 which, __u32 bytes)
{
	struct work *w = get_work(which);
	if (!w || !bytes)
		return 0;
	__u64 sum = 0;
	__u32 at = bytes & BYTES_MASK;
	w->payload[at] = w->payload[at + 1] = w->payload[at + 2] = w->payload[at + 3] = 0;
#pragma unroll
	for (__u32 piece = 0; piece < 4; piece++) {
		__u64 n = bytes > piece * 512 ? bytes - piece * 512 : 0;
		if (n > 512)
			n = 512;
		n = (n + 3) & ~3ULL;
		HIDE(n);
		if (n == 0 || n > 512)
			break;
		sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)(w->payload + piece * 512), n, 0);
	}
	return sum;
}

/* Addresses, protocol and length. The constant of mapped IPv4 addresses is taken off again: ffff twice is
 * zero in this arithmetic. */
static __always_inline __u64 sum_pseudo(const struct phx_addr *src, const struct phx_addr *dst, __u32 len)
{
	return sum_addr(src) + sum_addr(dst) + bpf_htonl(IP_TCP) + bpf_htonl(len);
}

/* Is the checksum of the TCP segment what it must be? Its payload has to be loaded. */
static __always_inline int checksum_valid(struct work *w)
{
	__u64 sum = sum_pseudo(&w->src, &w->dst, w->tcp_len + w->payload_len);
	sum += sum_tcp(w->which, w->tcp_len);
	sum += sum_payload(w->which, w->payload_len);
	return fold(sum) == 0xffff;
}

/* --- writing -------------------------------------------------------------------------------------------- */

static __always_inline void put_ether(struct work *w, __u32 start)
{
	struct toward *to = &w->to;
	__u8 *ether = header(w, start);
	copy_mac(ether, to->dmac);
	copy_mac(ether + 6, to->smac);
	if (to->vlan) {
		put16(ether + 12, ETHER_VLAN);
		put16(ether + 14, to->vlan - 1);
	}
	put16(header(w, w->l3 - 2), w->v6 ? ETHER_IP6 : ETHER_IP4);
}

/* Stores the headers from l3 on, with a link header before them; the packet's room for it is adapted.
 * w->frame_len follows. 0, or 1 when a helper refuses. */
static __always_inline int store_headers(struct xdp_md *ctx, struct work *w, __u32 tcp_len)
{
	__u32 l2 = w->to.vlan ? 18 : 14;
	__u32 start = w->l3 - l2;
	int shift = (int)(w->l3 - FRAME_AT) - (int)l2;
	if (shift) {
		if (bpf_xdp_adjust_head(ctx, shift))
			return 1;
		w->frame_len -= shift;
	}
	put_ether(w, start);
	__u64 n = w->l4 + tcp_len - start;
	HIDE(n);
	if (n == 0 || n > HEADER_MASK)
		return 1;
	return bpf_xdp_store_bytes(ctx, 0, header(w, start), n) != 0;
}

static long sack_step(__u32 i, struct work **argument)
{
	struct work *w = *argument;
	if (w->edges) {
		__u8 *edge = header(w, w->scan_at);
		put32(edge, get32(edge) + w->to.sack_delta);
		w->edges--;
		w->scan_at += 4;
		return 0;
	}
	__u8 *option;
	int result = take_option(w, &option);
	if (result != OPTION_TAKEN)
		return result == OPTIONS_OVER;
	if (option[0] == 5) {
		w->edges = (option[1] - 2) / 4;
		w->scan_at -= option[1] - 2;
	}
	return 0;
}

/* Moves the edges of SACK blocks into the other numbering, wherever the option lies (RFC 2018 3). */
static __always_inline void translate_sack(struct work *w)
{
	w->edges = 0;
	w->scan_at = w->l4 + 20;
	w->scan_end = w->l4 + w->tcp_len;
	bpf_loop(40, sack_step, &w, 0);
}

/* The addresses of the copied frame become w->to's, its hop limit one less. Returns what that adds to the sum
 * of the pseudo header. */
static __always_inline __u64 rewrite_ip(struct work *w)
{
	struct toward *to = &w->to;
	__u8 *ip = header(w, w->l3);
	__u64 sum = (__u16)~fold(sum_addr(&w->src) + sum_addr(&w->dst));
	sum += sum_addr(&to->src) + sum_addr(&to->dst);
	if (w->v6) {
		put_addr(ip + 8, &to->src);
		put_addr(ip + 24, &to->dst);
		ip[7] = w->ttl - 1;
		put16(ip + 4, get16(ip + 4) - to->cut);
	} else {
		put_raw32(ip + 12, to->src.word[3]);
		put_raw32(ip + 16, to->dst.word[3]);
		ip[8] = w->ttl - 1;
		put16(ip + 2, get16(ip + 2) - to->cut);
		if (to->may_fragment) {
			/* An id for the fragments (RFC 6864): who is cut is longer than 256 bytes. */
			put16(ip + 4, to->seq >> 8);
			put16(ip + 6, 0);
		}
		put_raw16(ip + 10, 0);
		put_raw16(ip + 10, ~fold(sum16(ip) + raw32(ip + 16)));
	}
	return sum;
}

/* Rewrites the copied headers as w->to says. 0, or 1 when that cannot be. */
static __always_inline int rewrite(struct work *w)
{
	struct toward *to = &w->to;
	__u8 *tcp = header(w, w->l4);
	__u64 sum = rewrite_ip(w) + (__u16)~raw16(tcp + 16);
	sum += (__u16)~fold(sum16(tcp));
	put16(tcp, to->sport);
	put16(tcp + 2, to->dport);
	put32(tcp + 4, to->seq);
	put32(tcp + 8, to->ack);
	tcp[13] = to->flags;
	put16(tcp + 14, to->window);
	sum += sum16(tcp);
	if (w->tcp_len > 20) {
		sum += (__u16)~fold(sum_tcp(w->which, w->tcp_len));
		translate_sack(w);
		sum += sum_tcp(w->which, w->tcp_len);
	}
	if (to->cut) {
		__u32 left = w->payload_len - to->cut;
		if (left > w->payload_len || w->loaded != w->payload_len)
			return 1;
		put_raw16(tcp + 16, 0);
		sum = sum_pseudo(&to->src, &to->dst, w->tcp_len + left) + sum_tcp(w->which, w->tcp_len) +
		      sum_payload(w->which, left);
	}
	put_raw16(tcp + 16, ~fold(sum));
	return 0;
}

/*
 * Sends the frame on as w->to says, with its payload (less w->to.cut, for which the payload must be loaded).
 * Returns the XDP action, or -1 when it cannot be done.
 */
__noinline int forward(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	if (!w || rewrite(w))
		return -1;
	if (w->to.cut && bpf_xdp_adjust_tail(ctx, -(int)w->to.cut))
		return -1;
	if (store_headers(ctx, w, w->tcp_len))
		return -1;
	return bpf_redirect(w->to.ifindex, 0);
}

/* The headers of a frame of our own, in the copied frame: w->to, with its options and `payload` bytes behind.
 * Returns the length of TCP's header. */
static __always_inline __u32 compose_headers(struct work *w, __u64 payload_sum, __u32 payload)
{
	struct toward *to = &w->to;
	__u32 words = to->option_words > 3 ? 3 : to->option_words;
	__u32 length = 20 + 4 * words;
	__u8 *ip = header(w, w->l3), *tcp = header(w, w->l4);
	if (w->v6) {
		put32(ip, 0x60000000);
		put16(ip + 4, length + payload);
		ip[6] = IP_TCP;
		ip[7] = 64;
		put_addr(ip + 8, &to->src);
		put_addr(ip + 24, &to->dst);
	} else {
		put16(ip, 0x4500);
		put16(ip + 2, 20 + length + payload);
		put32(ip + 4, 0x4000); /* no id, do not fragment */
		put32(ip + 8, 64 << 24 | IP_TCP << 16);
		put_raw32(ip + 12, to->src.word[3]);
		put_raw32(ip + 16, to->dst.word[3]);
		put_raw16(ip + 10, ~fold(sum16(ip) + raw32(ip + 16)));
	}
	put16(tcp, to->sport);
	put16(tcp + 2, to->dport);
	put32(tcp + 4, to->seq);
	put32(tcp + 8, to->ack);
	tcp[12] = length << 2;
	tcp[13] = to->flags;
	put16(tcp + 14, to->window);
	put32(tcp + 16, 0);
	put_raw32(tcp + 20, to->options[0]);
	put_raw32(tcp + 24, to->options[1]);
	put_raw32(tcp + 28, to->options[2]);
	__u64 sum =
		sum_pseudo(&to->src, &to->dst, length + payload) + sum_tcp(w->which, length) + payload_sum;
	put_raw16(tcp + 16, ~fold(sum));
	return length;
}

/*
 * Makes the frame at hand into one of our own: w->to, followed by the first `payload` bytes of w->payload.
 * Returns 0, 1 when the frame cannot grow so far (nothing was changed), -1 when a helper failed.
 */
__noinline int compose(struct xdp_md *ctx, __u32 payload)
{
	struct work *w = get_work(0);
	if (!w)
		return -1;
	if (payload >= PHX_FRAME_BYTES)
		return -1;
	__u32 words = w->to.option_words > 3 ? 3 : w->to.option_words;
	__u32 want = w->l4 - FRAME_AT + 20 + 4 * words + payload;
	if (want != w->frame_len) {
		if (bpf_xdp_adjust_tail(ctx, (int)want - (int)w->frame_len))
			return 1;
		w->frame_len = want;
	}
	__u64 sum = sum_payload(0, payload);
	__u32 tcp = compose_headers(w, sum, payload);
	if (store_headers(ctx, w, tcp))
		return -1;
	if (payload) {
		__u64 n = payload;
		HIDE(n);
		if (n == 0 || n >= PHX_FRAME_BYTES)
			return -1;
		__u32 l2 = w->to.vlan ? 18 : 14;
		if (bpf_xdp_store_bytes(ctx, l2 + w->l4 - w->l3 + tcp, w->payload, n))
			return -1;
	}
	return 0;
}

/* w->to becomes an answer to where the frame came from. Numbers, flags and window are the caller's. */
static __always_inline void turn_around(struct work *w)
{
	struct toward *to = &w->to;
	to->src = w->dst;
	to->dst = w->src;
	to->sport = w->dport;
	to->dport = w->sport;
	copy_mac(to->dmac, w->frame + FRAME_AT + 6);
	copy_mac(to->smac, w->frame + FRAME_AT);
	to->vlan = w->vlan;
	to->option_words = 0;
	to->cut = 0;
	to->may_fragment = 0;
}

/* Answers with a bare segment. Returns the XDP action, or -1. */
static __always_inline int reply(struct xdp_md *ctx, struct work *w, __u32 flags, __u32 seq, __u32 ack,
				 __u32 window)
{
	turn_around(w);
	w->to.flags = flags;
	w->to.seq = seq;
	w->to.ack = ack;
	w->to.window = window;
	return compose(ctx, 0) ? -1 : XDP_TX;
}

#endif

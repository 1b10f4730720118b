/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * frame: from bytes to fields and back. parse() reads a frame into struct work; forward() rewrites a frame
 * that carries on (addresses, ports, numbers, windows, SACK; the checksum incrementally, RFC 1624); compose()
 * makes a frame of the program's own out of the one at hand.
 */
#ifndef PHOENIX_BPF_FRAME_H
#define PHOENIX_BPF_FRAME_H

#include "work.h"

/* Keeps clang from reasoning about a length, so that the check behind it is the one that the verifier sees. */
#define HIDE(x) asm volatile("" : "+r"(x))

/* --- reading -------------------------------------------------------------------------------------------- */

static __always_inline void map_ip4(struct phx_addr *addr, __be32 ip)
{
	addr->word[0] = addr->word[1] = 0;
	addr->word[2] = bpf_htonl(0xffff);
	addr->word[3] = ip;
}

static __always_inline void get_addr(const struct work *w, __u32 at, struct phx_addr *addr)
{
	addr->word[0] = raw32(w, at);
	addr->word[1] = raw32(w, at + 4);
	addr->word[2] = raw32(w, at + 8);
	addr->word[3] = raw32(w, at + 12);
}

/* The headers behind the copied frame. 1: TCP or ICMP, whole and without anything unusual. */
static __always_inline int parse_copied(struct work *w)
{
	__u32 type = get16(w, FRAME_AT + 12), length;
	w->l3 = FRAME_AT + 14;
	w->vlan = 0;
	if (type == ETHER_VLAN) {
		w->vlan = (get16(w, FRAME_AT + 14) & 0xfff) + 1;
		type = get16(w, FRAME_AT + 16);
		w->l3 += 4;
	}
	__u32 rest = w->frame_len - (w->l3 - FRAME_AT);
	if (type == ETHER_IP4) {
		if (get8(w, w->l3) != 0x45 || (get16(w, w->l3 + 6) & 0x3fff))
			return 0;
		length = get16(w, w->l3 + 2);
		w->v6 = 0;
		w->ttl = get8(w, w->l3 + 8);
		w->proto = get8(w, w->l3 + 9);
		map_ip4(&w->src, raw32(w, w->l3 + 12));
		map_ip4(&w->dst, raw32(w, w->l3 + 16));
		w->l4 = w->l3 + 20;
	} else if (type == ETHER_IP6) {
		if (get8(w, w->l3) >> 4 != 6)
			return 0;
		length = get16(w, w->l3 + 4) + 40;
		w->v6 = 1;
		w->ttl = get8(w, w->l3 + 7);
		w->proto = get8(w, w->l3 + 6);
		get_addr(w, w->l3 + 8, &w->src);
		get_addr(w, w->l3 + 24, &w->dst);
		w->l4 = w->l3 + 40;
	} else {
		return 0;
	}
	__u32 head = w->l4 - w->l3;
	if (length > rest || length < head + 8)
		return 0;
	w->loaded = 0;
	w->icmp = 0;
	if (w->proto == IP_ICMP || w->proto == IP_ICMP6) {
		w->payload_len = length - head;
		return 1;
	}
	if (w->proto != IP_TCP || length < head + 20)
		return 0;
	w->tcp_len = get8(w, w->l4 + 12) >> 4 << 2;
	if (w->tcp_len < 20 || length < head + w->tcp_len)
		return 0;
	w->sport = get16(w, w->l4);
	w->dport = get16(w, w->l4 + 2);
	w->seq = get32(w, w->l4 + 4);
	w->ack = get32(w, w->l4 + 8);
	w->flags = get8(w, w->l4 + 13);
	w->window = get16(w, w->l4 + 14);
	w->payload_off = w->l4 + w->tcp_len - FRAME_AT;
	w->payload_len = length - head - w->tcp_len;
	return w->payload_len < PHX_FRAME_BYTES;
}

static __always_inline int parse(struct xdp_md *ctx, struct work *w)
{
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
	return parse_copied(w);
}

/* Options of a SYN (RFC 9293 3.2, 7323, 2018). Timestamps are not negotiated, so they are not looked at. */
static __always_inline void parse_options(struct work *w)
{
	__u32 at = w->l4 + 20, end = w->l4 + w->tcp_len;
	w->mss = 536;
	w->scale = w->scaled = w->sack = 0;
	for (int i = 0; i < 40; i++) {
		if (at >= end)
			break;
		__u8 kind = get8(w, at);
		if (kind == 0)
			break;
		if (kind == 1) {
			at++;
			continue;
		}
		__u8 len = get8(w, at + 1);
		if (len < 2 || at + len > end)
			break;
		if (kind == 2 && len == 4) {
			w->mss = get16(w, at + 2);
		} else if (kind == 3 && len == 3) {
			w->scale = get8(w, at + 2) > 14 ? 14 : get8(w, at + 2);
			w->scaled = 1;
		} else if (kind == 4 && len == 2) {
			w->sack = 1;
		}
		at += len;
	}
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

static __always_inline void replace(__u64 *sum, __u32 old, __u32 new)
{
	*sum += (__u32)~old;
	*sum += new;
}

static __always_inline __u64 sum_addr(const struct phx_addr *addr)
{
	return (__u64)addr->word[0] + addr->word[1] + addr->word[2] + addr->word[3];
}

/* Words of the copied frame; `bytes` a multiple of 4, at most 60. */
static __always_inline __u64 sum_words(const struct work *w, __u32 at, __u32 bytes)
{
	__u64 sum = 0;
	for (__u32 i = 0; i < 60; i += 4) {
		if (i >= bytes)
			break;
		sum += raw32(w, at + i);
	}
	return sum;
}

/* `bytes` of a payload in map memory that has 4 spare bytes behind; they are zeroed. In pieces of 512, which
 * is what the helper of older kernels takes. */
static __always_inline __u64 sum_bytes(__u8 *data, __u32 bytes)
{
	__u64 sum = 0;
	__u32 at = bytes & BYTES_MASK;
	data[at] = data[at + 1] = data[at + 2] = data[at + 3] = 0;
#pragma unroll
	for (__u32 piece = 0; piece < 4; piece++) {
		__u64 n = bytes > piece * 512 ? bytes - piece * 512 : 0;
		if (n > 512)
			n = 512;
		n = (n + 3) & ~3ULL;
		HIDE(n);
		if (n == 0 || n > 512)
			break;
		sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)(data + piece * 512), n, 0);
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
	sum += sum_words(w, w->l4, w->tcp_len);
	if (w->payload_len)
		sum += sum_bytes(w->payload, w->payload_len);
	return fold(sum) == 0xffff;
}

/* --- writing -------------------------------------------------------------------------------------------- */

static __always_inline void put_ether(struct work *w, __u32 l3, __u32 start)
{
	struct toward *to = &w->to;
	copy_mac(&w->frame[start & FRAME_MASK], to->dmac);
	copy_mac(&w->frame[(start + 6) & FRAME_MASK], to->smac);
	if (to->vlan) {
		put16(w, start + 12, ETHER_VLAN);
		put16(w, start + 14, to->vlan - 1);
	}
	put16(w, l3 - 2, w->v6 ? ETHER_IP6 : ETHER_IP4);
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
	put_ether(w, w->l3, start);
	__u64 n = w->l4 + tcp_len - start;
	__u64 from = start;
	HIDE(n);
	HIDE(from);
	if (n == 0 || n > FRAME_BYTES || from > 2 * FRAME_AT)
		return 1;
	return bpf_xdp_store_bytes(ctx, 0, &w->frame[from], n) != 0;
}

static __always_inline void translate_sack(struct work *w, __u64 *sum)
{
	__u32 at = w->l4 + 20, end = w->l4 + w->tcp_len;
	__u64 old = sum_words(w, at, w->tcp_len - 20);
	for (int i = 0; i < 40; i++) {
		if (at >= end)
			break;
		__u8 kind = get8(w, at);
		if (kind == 0)
			break;
		if (kind == 1) {
			at++;
			continue;
		}
		__u8 len = get8(w, at + 1);
		if (len < 2 || at + len > end)
			break;
		if (kind == 5) {
			for (__u32 k = 2; k < 34; k += 4) {
				if (k + 4 > len)
					break;
				put32(w, at + k, get32(w, at + k) + w->to.sack_delta);
			}
		}
		at += len;
	}
	__u64 new = sum_words(w, w->l4 + 20, w->tcp_len - 20);
	*sum += new + (__u16)~fold(old);
}

/*
 * Sends the frame on as w->to says, with its payload (less w->to.cut, for which the payload must be loaded).
 * Returns the XDP action, or -1 when it cannot be done.
 */
__noinline int forward(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	if (!w)
		return -1;
	struct toward *to = &w->to;
	__u64 sum = (__u16)~raw16(w, w->l4 + 16);
	if (w->v6) {
		sum += (__u16)~fold(sum_addr(&w->src) + sum_addr(&w->dst));
		sum += sum_addr(&to->src) + sum_addr(&to->dst);
		for (int i = 0; i < 4; i++) {
			put_raw32(w, w->l3 + 8 + 4 * i, to->src.word[i]);
			put_raw32(w, w->l3 + 24 + 4 * i, to->dst.word[i]);
		}
		put8(w, w->l3 + 7, w->ttl - 1);
	} else {
		replace(&sum, w->src.word[3], to->src.word[3]);
		replace(&sum, w->dst.word[3], to->dst.word[3]);
		put_raw32(w, w->l3 + 12, to->src.word[3]);
		put_raw32(w, w->l3 + 16, to->dst.word[3]);
		put8(w, w->l3 + 8, w->ttl - 1);
		if (to->cut)
			put16(w, w->l3 + 2, get16(w, w->l3 + 2) - to->cut);
		put_raw16(w, w->l3 + 10, 0);
		put_raw16(w, w->l3 + 10, ~fold(sum_words(w, w->l3, 20)));
	}
	__u32 ports = raw32(w, w->l4), seq = raw32(w, w->l4 + 4), ack = raw32(w, w->l4 + 8),
	      rest = raw32(w, w->l4 + 12);
	put16(w, w->l4, to->sport);
	put16(w, w->l4 + 2, to->dport);
	put32(w, w->l4 + 4, to->seq);
	put32(w, w->l4 + 8, to->ack);
	put8(w, w->l4 + 13, to->flags);
	put16(w, w->l4 + 14, to->window);
	replace(&sum, ports, raw32(w, w->l4));
	replace(&sum, seq, raw32(w, w->l4 + 4));
	replace(&sum, ack, raw32(w, w->l4 + 8));
	replace(&sum, rest, raw32(w, w->l4 + 12));
	if (w->tcp_len > 20)
		translate_sack(w, &sum);
	if (to->cut) {
		__u32 left = w->payload_len - to->cut;
		if (left > w->payload_len || w->loaded != w->payload_len)
			return -1;
		if (w->v6)
			put16(w, w->l3 + 4, w->tcp_len + left);
		put_raw16(w, w->l4 + 16, 0);
		sum = sum_pseudo(&to->src, &to->dst, w->tcp_len + left) + sum_words(w, w->l4, w->tcp_len);
		if (left)
			sum += sum_bytes(w->payload, left);
		if (bpf_xdp_adjust_tail(ctx, -(int)to->cut))
			return -1;
	}
	put_raw16(w, w->l4 + 16, ~fold(sum));
	if (store_headers(ctx, w, w->tcp_len))
		return -1;
	return bpf_redirect(to->ifindex, 0);
}

/* The headers of a frame of our own, in the copied frame: w->to, with its options and `payload` bytes behind.
 * Returns the length of TCP's header. */
static __always_inline __u32 compose_headers(struct work *w, __u64 payload_sum, __u32 payload)
{
	struct toward *to = &w->to;
	__u32 words = to->option_words > 3 ? 3 : to->option_words;
	__u32 tcp = 20 + 4 * words;
	if (w->v6) {
		put32(w, w->l3, 0x60000000);
		put16(w, w->l3 + 4, tcp + payload);
		put8(w, w->l3 + 6, IP_TCP);
		put8(w, w->l3 + 7, 64);
		for (int i = 0; i < 4; i++) {
			put_raw32(w, w->l3 + 8 + 4 * i, to->src.word[i]);
			put_raw32(w, w->l3 + 24 + 4 * i, to->dst.word[i]);
		}
	} else {
		put16(w, w->l3, 0x4500);
		put16(w, w->l3 + 2, 20 + tcp + payload);
		put32(w, w->l3 + 4, 0x4000); /* no id, do not fragment */
		put32(w, w->l3 + 8, 64 << 24 | IP_TCP << 16);
		put_raw32(w, w->l3 + 12, to->src.word[3]);
		put_raw32(w, w->l3 + 16, to->dst.word[3]);
		put_raw16(w, w->l3 + 10, ~fold(sum_words(w, w->l3, 20)));
	}
	put16(w, w->l4, to->sport);
	put16(w, w->l4 + 2, to->dport);
	put32(w, w->l4 + 4, to->seq);
	put32(w, w->l4 + 8, to->ack);
	put8(w, w->l4 + 12, tcp << 2);
	put8(w, w->l4 + 13, to->flags);
	put16(w, w->l4 + 14, to->window);
	put32(w, w->l4 + 16, 0);
	for (__u32 i = 0; i < 3; i++) {
		if (i < words)
			put_raw32(w, w->l4 + 20 + 4 * i, to->options[i]);
	}
	__u64 sum = sum_pseudo(&to->src, &to->dst, tcp + payload) + sum_words(w, w->l4, tcp) + payload_sum;
	put_raw16(w, w->l4 + 16, ~fold(sum));
	return tcp;
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
	__u64 sum = payload ? sum_bytes(w->payload, payload) : 0;
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
	copy_mac(to->dmac, &w->frame[FRAME_AT + 6]);
	copy_mac(to->smac, &w->frame[FRAME_AT]);
	to->vlan = w->vlan;
	to->option_words = 0;
	to->cut = 0;
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

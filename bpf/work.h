/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * work: what a program knows about the packet it is looking at. It lies in a per-CPU map value, not on the
 * stack: the verifier then sees memory of unknown content with known bounds, so that a loop over a packet is
 * verified once, not once for each state it could be in.
 *
 * The frame's headers are copied in, changed there, and stored back: two helper calls a packet, and no
 * packet pointer has to survive a function call.
 */
#ifndef PHOENIX_BPF_WORK_H
#define PHOENIX_BPF_WORK_H

#include "maps.h"

#include <phoenix/chunk.h>
#include <phoenix/sip.h>

#include <bpf/bpf_endian.h>

#define ETHER_IP4  0x0800
#define ETHER_IP6  0x86dd
#define ETHER_VLAN 0x8100
#define IP_TCP	   6
#define IP_ICMP	   1
#define IP_ICMP6   58

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

#define FRAME_AT    8u	 /* the frame begins here in work.frame: room for a VLAN tag before it */
#define FRAME_BYTES 144u /* Ethernet 14, VLAN 4, IPv6 40, TCP 60, and what an ICMP error quotes fits too */
#define HEADER_MASK 127u
#define BYTES_MASK  (PHX_FRAME_BYTES - 1)

#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

/* A frame to be sent: where from, where to, saying what. */
struct toward {
	struct phx_addr src, dst;
	__u32 seq, ack;
	__u32 sack_delta; /* added to the edges of SACK blocks */
	__u32 window;	  /* as the field has it */
	__u32 ifindex;
	__u32 vlan; /* tag + 1; 0 = none */
	__u32 flags;
	__u32 cut; /* bytes of payload to leave away at the end */
	__u32 may_fragment;
	__u32 option_words;
	__be32 options[3];
	__u16 sport, dport;
	__u8 dmac[6], smac[6];
};

struct work {
	__u8 frame[HEADER_MASK + 1 + 72];
	struct phx_addr src, dst;
	__u64 now;
	__u32 frame_len;
	__u32 l3, l4;	   /* in `frame` */
	__u32 payload_off; /* in the packet */
	__u32 payload_len;
	__u32 loaded; /* bytes of the payload that are in `payload` */
	__u32 seq, ack, window, flags, tcp_len;
	__u32 vlan; /* tag + 1; 0 = none */
	__u32 ingress;
	__u32 which; /* of the two this is */
	__u16 sport, dport;
	__u8 v6, ttl, proto, zero;
	/* options of a SYN or SYN-ACK */
	__u16 mss;
	__u8 scale, scaled, sack;
	struct toward to;
	struct bpf_fib_lookup fib;
	/* the scanner's */
	struct phx_head head;
	struct phx_path path;
	struct phx_compare compare;
	__u64 host_hash;
	__u32 scan_at, scan_end; /* in `payload` */
	__u32 scan_result;
	__u32 edges; /* of a SACK option, still to be translated */
	__u32 odd;   /* a field that must not go on as it is */
	__u32 host_off, host_len;
	__u32 host_done;
	__u32 found; /* 1: `entry` is the route */
	__u32 slot, generation, step, side, upstream;
	__u32 method_bit;
	__u32 reason;
	__u32 sampled;
	__u32 forced; /* 1: to legacy against its weight */
	__u64 drawn;  /* the number this request drew for its side; ~0 = none */
	struct phx_entry entry;
	struct phx_record record;
	__u8 payload[PHX_FRAME_BYTES +
		     32]; /* right behind the record: together they are one ring-buffer entry */
};

/* [0] is the XDP program's, [1] the tc program's: one may interrupt the other. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct work);
} phx_scratch SEC(".maps");

static __always_inline struct work *get_work(__u32 which)
{
	return bpf_map_lookup_elem(&phx_scratch, &which);
}

static __always_inline struct phx_config *get_config(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&phx_config, &zero);
}

static __always_inline struct phx_flow *get_flow(__u32 index)
{
	return bpf_map_lookup_elem(&phx_flows, &index);
}

static __always_inline struct phx_route_stats *get_stats(__u32 slot)
{
	return bpf_map_lookup_elem(&phx_route_stats, &slot);
}

/* --- counting ------------------------------------------------------------------------------------------- */

static __always_inline void count_verdict(__u32 verdict)
{
	__u32 zero = 0;
	struct phx_counters *counters = bpf_map_lookup_elem(&phx_counters, &zero);
	if (counters && verdict < PHX_VERDICT_COUNT)
		((__u64 *)&counters->verdict)[verdict]++;
}

static __always_inline void count_reason(__u32 reason)
{
	__u32 zero = 0;
	struct phx_counters *counters = bpf_map_lookup_elem(&phx_counters, &zero);
	if (counters && reason < PHX_REASON_COUNT)
		((__u64 *)&counters->reason)[reason]++;
}

#define COUNT(field)                                                                                         \
	do {                                                                                                 \
		__u32 zero_ = 0;                                                                             \
		struct phx_counters *counters_ = bpf_map_lookup_elem(&phx_counters, &zero_);                 \
		if (counters_)                                                                               \
			counters_->field++;                                                                  \
	} while (0)

/* --- sequence numbers (RFC 9293 3.4) ------------------------------------------------------------------- */

static __always_inline int before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline int after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/* --- the copied frame: where a header begins is masked, so no access within 64 bytes of it can leave it ---
 */

static __always_inline __u8 *header(struct work *w, __u32 at)
{
	return w->frame + (at & HEADER_MASK);
}

static __always_inline __u16 raw16(const __u8 *p)
{
	return *(const __u16 *)p;
}

static __always_inline __u32 raw32(const __u8 *p)
{
	return *(const __u32 *)p;
}

static __always_inline __u16 get16(const __u8 *p)
{
	return bpf_ntohs(raw16(p));
}

static __always_inline __u32 get32(const __u8 *p)
{
	return bpf_ntohl(raw32(p));
}

static __always_inline void put_raw16(__u8 *p, __u16 value)
{
	*(__u16 *)p = value;
}

static __always_inline void put_raw32(__u8 *p, __u32 value)
{
	*(__u32 *)p = value;
}

static __always_inline void put16(__u8 *p, __u16 value)
{
	put_raw16(p, bpf_htons(value));
}

static __always_inline void put32(__u8 *p, __u32 value)
{
	put_raw32(p, bpf_htonl(value));
}

static __always_inline void copy_mac(__u8 *to, const __u8 *from)
{
	*(__u32 *)to = *(const __u32 *)from;
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
}

static __always_inline int same_addr(const struct phx_addr *a, const struct phx_addr *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lossy: a bad network for the test lab, on a kernel without netem.
 *
 * The programs sit on an *endpoint* of a link (clsact egress and ingress), never on the gateway, so that the
 * gateway is the thing under test and nothing else. A TCP packet is dropped, sent twice, or held back:
 *
 *      endpoint ──▶ eth0 egress ─┬─▶ link            dropped without a word
 *                                ├─▶ link, link      twice at once: bpf_clone_redirect
 *                                └─▶ hold0 ══ hold1 ─▶ tests/lab/hold (some ms) ─▶ hold1 ══ hold0 ─▶ link
 *
 * A packet that was held has been overtaken by all that came after it; half of the duplicates take that way
 * too, so that a copy of a request turns up when its answer has long been sent. The same in the other
 * direction. `hold0` knows by the source address of the frame which direction it was. The mark says "seen".
 *
 * What happens to packet number n of a direction is a hash of n and the seed: one draw decides, so the shares
 * are exact and exclude each other. Everything can be changed while it runs (map `link`), and what was done
 * is counted (map `done`).
 *
 * With `vlan` set the egress program pushes that tag and the ingress program pops it: a tagged link for
 * kernels without the 8021q module.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PARTS	100000u /* shares are in parts of this */
#define SEEN	0x10557u
#define EGRESS	0
#define INGRESS 1

struct link_settings {
	__u64 seed;
	__u32 drop, duplicate, hold; /* shares */
	__u32 device;		     /* ifindex of the endpoint's eth0 */
	__u32 hold_device;	     /* ifindex of hold0 */
	__u32 vlan;		     /* 0: none */
};

struct link_done {
	__u64 packets, dropped, duplicated, held;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct link_settings);
} link SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct link_done);
} done SEC(".maps");

static __always_inline __u64 mix(__u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* Only TCP suffers: a lost neighbour solicitation would test the kernel, not us. */
static __always_inline int is_tcp(struct __sk_buff *skb)
{
	__u16 type = 0;
	__u8 next = 0;
	__u32 at = 12;
	bpf_skb_load_bytes(skb, at, &type, 2);
	if (type == bpf_htons(0x8100)) {
		at += 4;
		bpf_skb_load_bytes(skb, at, &type, 2);
	}
	if (type == bpf_htons(0x0800))
		bpf_skb_load_bytes(skb, at + 2 + 9, &next, 1);
	else if (type == bpf_htons(0x86dd))
		bpf_skb_load_bytes(skb, at + 2 + 6, &next, 1);
	return next == 6;
}

static __always_inline int impair(struct __sk_buff *skb, __u32 direction)
{
	struct link_settings *set = bpf_map_lookup_elem(&link, &direction);
	struct link_done *count = bpf_map_lookup_elem(&done, &direction);
	__u64 flags = direction == INGRESS ? BPF_F_INGRESS : 0;

	if (!set || !count || skb->mark == SEEN || !is_tcp(skb))
		return TC_ACT_OK;
	__u64 n = __sync_fetch_and_add(&count->packets, 1);
	__u64 random = mix(set->seed ^ mix(n));
	__u32 draw = (random >> 16) % PARTS;

	if (draw < set->drop) {
		__sync_fetch_and_add(&count->dropped, 1);
		return TC_ACT_STOLEN; /* TC_ACT_SHOT would tell the sender, and its TCP would know at once */
	}
	draw -= set->drop;
	if (draw < set->duplicate) {
		__sync_fetch_and_add(&count->duplicated, 1);
		skb->mark = SEEN;
		if (random & 1)
			bpf_clone_redirect(skb, set->device, flags);
		else
			bpf_clone_redirect(skb, set->hold_device, 0);
		return TC_ACT_OK;
	}
	draw -= set->duplicate;
	if (draw < set->hold) {
		__sync_fetch_and_add(&count->held, 1);
		return bpf_redirect(set->hold_device, 0);
	}
	return TC_ACT_OK;
}

SEC("tc")
int lossy_egress(struct __sk_buff *skb)
{
	__u32 key = EGRESS;
	struct link_settings *set = bpf_map_lookup_elem(&link, &key);
	if (set && set->vlan && !skb->vlan_present && skb->mark != SEEN)
		bpf_skb_vlan_push(skb, bpf_htons(0x8100), set->vlan);
	return impair(skb, EGRESS);
}

SEC("tc")
int lossy_ingress(struct __sk_buff *skb)
{
	if (skb->vlan_present)
		bpf_skb_vlan_pop(skb);
	return impair(skb, INGRESS);
}

/* hold0: a packet comes back from being held and goes on where it was going. */
SEC("tc")
int lossy_return(struct __sk_buff *skb)
{
	__u32 key = EGRESS;
	struct link_settings *set = bpf_map_lookup_elem(&link, &key);
	__u8 source[6];

	if (!set || bpf_skb_load_bytes(skb, 6, source, 6))
		return TC_ACT_SHOT;
	skb->mark = SEEN;
	/* lab.py gives every endpoint's eth0 an address that starts with 02:e0; the gateway's start with
	 * 02:9a. */
	return bpf_redirect(set->device, source[1] == 0xe0 ? 0 : BPF_F_INGRESS);
}

/* veth delivers what a peer's XDP program sent (XDP_TX, XDP_REDIRECT) only to a device that has one, too. */
SEC("xdp")
int lab_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";

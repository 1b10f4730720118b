/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "steer.h"
#include "cookie.h"

SEC("xdp") int phx_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc") int phx_tc(struct __sk_buff *skb)
{
	return 0;
}

SEC("xdp") int phx_trace(struct xdp_md *ctx)
{
	struct work *w = get_work(0);
	if (!w || !parse(ctx, w) || load_payload(ctx, w))
		return XDP_PASS;
	w->now = bpf_ktime_get_ns();
	int reason = steer(1);
	__u32 zero = 0;
	struct phx_trace trace = {
		.scanned = w->scan_result,
		.error = w->head.error,
		.reason = reason,
		.slot = w->slot,
		.generation = w->generation,
		.upstream = w->upstream,
		.head_len = w->head.pos,
		.flags = w->head.flags,
		.method = w->head.method,
		.content_length = w->head.content_length,
	};
	if (w->slot != PHX_SLOT_NONE) {
		trace.side = w->side;
		draw_sample(w, 1);
		trace.sampled = w->sampled;
		struct phx_policy *policy = bpf_map_lookup_elem(&phx_policy, &w->slot);
		if (policy)
			trace.weight_bp = policy->weight_bp;
	}
	bpf_map_update_elem(&phx_traced, &zero, &trace, BPF_ANY);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

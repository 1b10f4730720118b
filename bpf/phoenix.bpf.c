/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "maps.h"

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
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pass: takes every frame. A veth device receives what its peer's XDP program sends only if it has a program
 * too. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp") int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

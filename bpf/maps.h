/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * maps: everything that outlives a packet. All but the scratch is pinned by name below the pin directory, so
 * that a new daemon finds what the old one left, and `bpftool map dump pinned …` prints it with names.
 */
#ifndef PHOENIX_BPF_MAPS_H
#define PHOENIX_BPF_MAPS_H

#include <linux/bpf.h>

#include <phoenix/flow.h>

#include <bpf/bpf_helpers.h>

#define PINNED __uint(pinning, LIBBPF_PIN_BY_NAME)

/* --- the policy: written by the daemon, bpftool and the arbiter; read once a request --- */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PHX_ROUTE_SLOTS);
	__type(key, __u32);
	__type(value, struct phx_policy);
	PINNED;
} phx_policy SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PHX_ROUTE_SLOTS);
	__type(key, __u32);
	__type(value, struct phx_cursor);
	PINNED;
} phx_cursors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct phx_config);
	PINNED;
} phx_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct phx_kill);
	PINNED;
} phx_kill SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PHX_ROUTE_SLOTS);
	__type(key, __u32);
	__type(value, struct phx_name);
	PINNED;
} phx_names SEC(".maps");

/* --- the routing table and the neighbourhood: written by the daemon --- */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct phx_interface);
	PINNED;
} phx_interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct phx_shape_table);
	PINNED;
} phx_shapes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * PHX_ROUTE_SLOTS);
	__type(key, struct phx_entry_key);
	__type(value, struct phx_entry);
	PINNED;
} phx_entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 256);
	__type(key, struct phx_listen_key);
	__type(value, __u32); /* 1 */
	PINNED;
} phx_listen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PHX_UPSTREAMS);
	__type(key, __u32);
	__type(value, struct phx_upstream);
	PINNED;
} phx_upstreams SEC(".maps");

/* An upstream's address and port -> 1: only their packets are looked at on the way back. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * PHX_UPSTREAMS);
	__type(key, struct phx_listen_key);
	__type(value, __u32);
	PINNED;
} phx_sources SEC(".maps");

/* Where a frame for this interface leaves: by ifindex as the routing table names it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct phx_egress);
	PINNED;
} phx_egress SEC(".maps");

/* --- flows --- */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* as many as there are gateway ports; set at load */
	__type(key, struct phx_flow_key);
	__type(value, __u32);
	PINNED;
} phx_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u32);
	__type(value, struct phx_flow);
	PINNED;
} phx_flows SEC(".maps");

/* Port indices without a client. A stack, so that the legs of the last one are still warm. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 1); /* set at load */
	__type(value, __u32);
	PINNED;
} phx_free SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PHX_STASHES);
	__type(key, __u32);
	__type(value, struct phx_stash);
	PINNED;
} phx_stash SEC(".maps");

/* Clients whose path takes less than our MTU (bpf/icmp.h) -> until when they are the daemon's. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct phx_addr);
	__type(value, __u64);
	PINNED;
} phx_narrow SEC(".maps");

/* --- what happened --- */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct phx_counters);
	PINNED;
} phx_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PHX_ROUTE_SLOTS);
	__type(key, __u32);
	__type(value, struct phx_route_stats);
	PINNED;
} phx_route_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
	PINNED;
} phx_ring SEC(".maps");

/* What phx_trace found out: one entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct phx_trace);
	PINNED;
} phx_traced SEC(".maps");

#endif

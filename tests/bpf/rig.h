/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig: the NIC path's programs in the kernel, with maps of their own and a network of their own, asked by
 * BPF_PROG_TEST_RUN. For the programs tests/bpf/test_*.c.
 *
 *     clients ── phxc0 ═ phxc1        phxu0 ═ phxu1 ── upstreams
 *            198.18.1.0/24                198.18.2.0/24, neighbours by hand
 *            2001:db8:1::/64              2001:db8:2::/64
 *
 * Nothing is attached and nothing is sent: a packet goes in as bytes, what became of it comes out as bytes.
 */
#ifndef PHOENIX_TESTS_RIG_H
#define PHOENIX_TESTS_RIG_H

#include <phoenix/flow.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RIG_PORT_FIRST	  40000u
#define RIG_PORTS	  16u
#define RIG_UPSTREAMS	  16u
#define RIG_ROUTES_MAX	  64u
#define RIG_LISTEN_PORT	  80u
#define RIG_FRAME_MAX	  4096u
#define RIG_RECORDS_MAX	  256u
#define RIG_RING_BYTES	  65536u
#define RIG_HEAD_MAX	  16384u
#define RIG_FIELDS_MAX	  128u
#define RIG_MSS4	  1460u
#define RIG_MSS6	  1440u
#define RIG_UPSTREAM_MAC  0x10 /* last byte of upstream 0's hardware address, and so on */
#define RIG_CLIENT_MAC	  0x0c
#define RIG_CLIENT_SIDE	  0xc0 /* of the gateway's own devices */
#define RIG_UPSTREAM_SIDE 0xc1

struct rig_record {
	struct phx_record head;
	uint8_t bytes[PHX_FRAME_BYTES];
};

struct rig {
	struct phoenix_bpf *skeleton;
	int xdp, tc, trace, traced_fd, ports_fd, free_fd, entries_fd, shapes_fd, egress_fd, stash_fd,
		counters_fd;
	struct phx_config *config;
	struct phx_kill *kill;
	struct phx_policy *policy;
	struct phx_cursor *cursors;
	struct phx_upstream *upstreams;
	struct phx_flow *flows;
	struct phx_route_stats *stats;
	struct phx_trace *traced;
	uint32_t client_ifindex, upstream_ifindex;
	struct ring_buffer *ring;
	struct rig_record *records;
	unsigned record_count;
	int cpus;
	bool v6;
};

/* A route of the table; indices of upstreams, or PHX_NO_UPSTREAM for a name that has no address. */
struct rig_route {
	const char *methods; /* "GET,POST"; NULL = any */
	const char *host, *path;
	uint32_t legacy, modern;
	uint32_t weight_bp, sample_bp;
	enum phx_split_by split_by;
	uint32_t flags; /* besides ACTIVE */
	bool not_xdp, based;
};

extern struct rig rig;

/* Namespace, devices, programs and maps. NULL, or why this cannot be had here. */
const char *rig_open(void);
void rig_close(void);
/* As after a fresh start: no flows, all ports free, counters as they are, everything RUNs. */
void rig_reset(bool v6);
/* "GET,POST" as bits; all of them for NULL. */
uint32_t rig_method_mask(const char *methods);
/* Compiles the routes by the daemon's own code and puts them in force; slot n is route n. */
void rig_routes(const struct rig_route *routes, size_t count);
/* Which device, and which tag, frames for this interface take. */
void rig_set_egress(uint32_t ifindex, const struct phx_egress *egress);
void rig_put_stash(uint32_t place, const struct phx_stash *stash);
/* Sums over CPUs. */
void rig_counters(struct phx_counters *out);
/* Reads what is in the ring into rig.records. */
void rig_read_ring(void);
/* How many ports are free; puts them back as they were. */
unsigned rig_free_ports(void);
unsigned rig_busy_flows(void);
uint64_t rig_now(void);
/* Runs a program once. Returns its action; *len follows the frame. A negative errno when the kernel refuses.
 */
int rig_run_xdp(int program, uint32_t ifindex, uint8_t frame[RIG_FRAME_MAX], size_t *len);
int rig_run_tc(uint32_t ifindex, uint8_t frame[RIG_FRAME_MAX], size_t *len);

/* Addresses, as the maps have them. */
struct phx_addr rig_client_addr(unsigned n);
struct phx_addr rig_gateway_addr(void);
struct phx_addr rig_source_addr(void);
struct phx_addr rig_upstream_addr(unsigned n);

#endif

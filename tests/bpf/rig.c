/* SPDX-License-Identifier: Apache-2.0 */
/* rig: see rig.h. */
#include "rig.h"

#include "dataplane/plane.h"
#include "phoenix.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CPUS_MAX 1024

struct rig rig;
static char why_not[4096];

uint64_t rig_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- addresses ------------------------------------------------------------------------------------------ */

static struct phx_addr address(uint8_t net, uint8_t host)
{
	struct phx_addr addr = {{0}};
	if (rig.v6) {
		addr.word[0] = htonl(0x20010db8);
		addr.word[1] = htonl((uint32_t)net << 16);
		addr.word[3] = htonl(host);
	} else {
		addr.word[2] = htonl(0xffff);
		addr.word[3] = htonl(0xc6120000u | (uint32_t)net << 8 | host); /* 198.18.net.host */
	}
	return addr;
}

struct phx_addr rig_client_addr(unsigned n)
{
	return address(1, (uint8_t)(100 + n));
}

struct phx_addr rig_gateway_addr(void)
{
	return address(1, 1);
}

struct phx_addr rig_source_addr(void)
{
	return address(2, 1);
}

struct phx_addr rig_upstream_addr(unsigned n)
{
	return address(2, (uint8_t)(10 + n));
}

/* --- the network ---------------------------------------------------------------------------------------- */

static bool shell(const char *command)
{
	int status = system(command);
	if (status)
		snprintf(why_not, sizeof(why_not), "\"%s\" failed with status %d", command, status);
	return status == 0;
}

static bool make_network(void)
{
	char line[256];
	if (unshare(CLONE_NEWNET)) {
		snprintf(why_not, sizeof(why_not), "no network namespace of its own: %s", strerror(errno));
		return false;
	}
	if (!shell("ip link set lo up && ip link add phxc0 address 02:00:00:00:00:c0 type veth peer name "
		   "phxc1 && "
		   "ip link add phxu0 address 02:00:00:00:00:c1 type veth peer name phxu1 && "
		   "ip addr add 198.18.1.1/24 dev phxc0 && ip addr add 198.18.2.1/24 dev phxu0 && "
		   "ip addr add 2001:db8:1::1/64 dev phxc0 nodad && ip addr add 2001:db8:2::1/64 dev phxu0 "
		   "nodad && "
		   "for d in phxc0 phxc1 phxu0 phxu1; do ip link set $d up || exit 1; done && "
		   "echo 1 > /proc/sys/net/ipv4/ip_forward && echo 1 > "
		   "/proc/sys/net/ipv6/conf/all/forwarding"))
		return false;
	/* The last of them has no neighbour entry: nobody knows the way there. */
	for (unsigned n = 0; n < RIG_UPSTREAMS - 1; n++) {
		snprintf(line, sizeof(line),
			 "ip neigh add 198.18.2.%u lladdr 02:00:00:00:00:%02x dev phxu0 nud permanent && "
			 "ip neigh add 2001:db8:2::%x lladdr 02:00:00:00:00:%02x dev phxu0 nud permanent",
			 10 + n, RIG_UPSTREAM_MAC + n, 10 + n, RIG_UPSTREAM_MAC + n);
		if (!shell(line))
			return false;
	}
	rig.client_ifindex = if_nametoindex("phxc0");
	rig.upstream_ifindex = if_nametoindex("phxu0");
	return true;
}

/* --- programs and maps ---------------------------------------------------------------------------------- */

static int on_print(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && !why_not[0])
		vsnprintf(why_not, sizeof(why_not), format, args);
	return 0;
}

static void *map_memory(struct bpf_map *map)
{
	size_t bytes = ((size_t)bpf_map__value_size(map) + 7) / 8 * 8 * bpf_map__max_entries(map);
	void *memory = mmap(NULL, (bytes + 4095) / 4096 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			    bpf_map__fd(map), 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static int on_record(void *context, void *data, size_t size)
{
	if (rig.record_count < RIG_RECORDS_MAX && size <= sizeof(struct rig_record))
		memcpy(&rig.records[rig.record_count++], data, size);
	return 0;
}

static bool load(void)
{
	struct phoenix_bpf *skeleton = rig.skeleton = phoenix_bpf__open();
	if (!skeleton)
		return false;
	struct bpf_map *map;
	bpf_object__for_each_map(map, skeleton->obj) bpf_map__set_pin_path(map, NULL);
	bpf_map__set_max_entries(skeleton->maps.phx_ports, RIG_PORTS);
	bpf_map__set_max_entries(skeleton->maps.phx_flows, RIG_PORTS);
	bpf_map__set_max_entries(skeleton->maps.phx_free, RIG_PORTS);
	bpf_map__set_max_entries(skeleton->maps.phx_ring, RIG_RING_BYTES);
	bpf_map__set_map_flags(skeleton->maps.phx_traced, BPF_F_MMAPABLE);
	if (phoenix_bpf__load(skeleton))
		return false;
	rig.config = map_memory(skeleton->maps.phx_config);
	rig.kill = map_memory(skeleton->maps.phx_kill);
	rig.policy = map_memory(skeleton->maps.phx_policy);
	rig.cursors = map_memory(skeleton->maps.phx_cursors);
	rig.upstreams = map_memory(skeleton->maps.phx_upstreams);
	rig.flows = map_memory(skeleton->maps.phx_flows);
	rig.stats = map_memory(skeleton->maps.phx_route_stats);
	rig.traced = map_memory(skeleton->maps.phx_traced);
	rig.xdp = bpf_program__fd(skeleton->progs.phx_xdp);
	rig.tc = bpf_program__fd(skeleton->progs.phx_tc);
	rig.trace = bpf_program__fd(skeleton->progs.phx_trace);
	rig.ports_fd = bpf_map__fd(skeleton->maps.phx_ports);
	rig.free_fd = bpf_map__fd(skeleton->maps.phx_free);
	rig.entries_fd = bpf_map__fd(skeleton->maps.phx_entries);
	rig.shapes_fd = bpf_map__fd(skeleton->maps.phx_shapes);
	rig.egress_fd = bpf_map__fd(skeleton->maps.phx_egress);
	rig.stash_fd = bpf_map__fd(skeleton->maps.phx_stash);
	rig.counters_fd = bpf_map__fd(skeleton->maps.phx_counters);
	rig.ring = ring_buffer__new(bpf_map__fd(skeleton->maps.phx_ring), on_record, NULL, NULL);
	rig.records = calloc(RIG_RECORDS_MAX, sizeof(*rig.records));
	rig.cpus = libbpf_num_possible_cpus();
	return rig.config && rig.kill && rig.policy && rig.cursors && rig.upstreams && rig.flows &&
	       rig.stats && rig.traced && rig.ring && rig.records;
}

const char *rig_open(void)
{
	if (geteuid() != 0)
		return "needs root";
	libbpf_set_print(on_print);
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	if (make_network() && load())
		return NULL;
	if (!why_not[0])
		snprintf(why_not, sizeof(why_not), "the programs cannot be loaded: %s", strerror(errno));
	return why_not;
}

void rig_close(void)
{
	ring_buffer__free(rig.ring);
	phoenix_bpf__destroy(rig.skeleton);
	free(rig.records);
}

/* --- the tables ----------------------------------------------------------------------------------------- */

static void put_listen(struct bpf_map *map, struct phx_addr addr, uint32_t port)
{
	struct phx_listen_key key = {addr, port};
	__u32 one = 1;
	bpf_map__update_elem(map, &key, sizeof(key), &one, sizeof(one), BPF_ANY);
}

static void put_upstreams(void)
{
	for (unsigned n = 0; n < RIG_UPSTREAMS; n++) {
		rig.upstreams[n] = (struct phx_upstream){
			.addr = rig_upstream_addr(n),
			.source = rig_source_addr(),
			.port = 9000 + n,
			.flags = PHX_UPSTREAM_KNOWN,
			.generation = 1,
		};
		put_listen(rig.skeleton->maps.phx_sources, rig.upstreams[n].addr, 9000 + n);
	}
}

static void empty_narrow(void)
{
	struct phx_addr client;
	int fd = bpf_map__fd(rig.skeleton->maps.phx_narrow);
	while (bpf_map_get_next_key(fd, NULL, &client) == 0)
		bpf_map_delete_elem(fd, &client);
}

static void empty_ports(void)
{
	struct phx_flow_key key;
	while (bpf_map_get_next_key(rig.ports_fd, NULL, &key) == 0)
		bpf_map_delete_elem(rig.ports_fd, &key);
	__u32 index;
	while (bpf_map_lookup_and_delete_elem(rig.free_fd, NULL, &index) == 0)
		;
	for (index = 0; index < RIG_PORTS; index++)
		bpf_map_update_elem(rig.free_fd, NULL, &index, BPF_ANY);
}

void rig_reset(bool v6)
{
	rig.v6 = v6;
	memset(rig.flows, 0, RIG_PORTS * sizeof(*rig.flows));
	memset(rig.stats, 0, 64 * sizeof(*rig.stats));
	memset(rig.cursors, 0, 64 * sizeof(*rig.cursors));
	empty_ports();
	empty_narrow();
	uint32_t table = rig.config->table;
	memset(rig.kill, 0, sizeof(*rig.kill));
	*rig.config = (struct phx_config){
		.abi = PHX_ABI,
		.mode = PHX_MODE_RUN,
		.table = table,
		.port_first = RIG_PORT_FIRST,
		.port_count = RIG_PORTS,
		.mss4 = RIG_MSS4,
		.mss6 = RIG_MSS6,
		.split_seed = 42,
		.split_key = {0x0706050403020100, 0x0f0e0d0c0b0a0908},
		.cookie = {{11, 12}, {13, 14}},
		.port_key = 15,
		.head_max_bytes = RIG_HEAD_MAX,
		.fields_max = RIG_FIELDS_MAX,
	};
	put_listen(rig.skeleton->maps.phx_listen, rig_gateway_addr(), RIG_LISTEN_PORT);
	put_upstreams();
	struct phx_egress egress[2] = {{rig.client_ifindex, 0}, {rig.upstream_ifindex, 0}};
	for (int i = 0; i < 2; i++)
		bpf_map_update_elem(rig.egress_fd, &egress[i].ifindex, &egress[i], BPF_ANY);
	rig_read_ring();
	rig.record_count = 0;
}

void rig_set_egress(uint32_t ifindex, const struct phx_egress *egress)
{
	bpf_map_update_elem(rig.egress_fd, &ifindex, egress, BPF_ANY);
}

void rig_put_stash(uint32_t place, const struct phx_stash *stash)
{
	bpf_map_update_elem(rig.stash_fd, &place, stash, BPF_ANY);
}

uint32_t rig_method_mask(const char *methods)
{
	static const char *const names[] = {
#define X(name) #name,
		PHX_METHODS(X)
#undef X
	};
	char copy[128];
	uint32_t mask = 0;
	if (!methods)
		return UINT32_MAX;
	snprintf(copy, sizeof(copy), "%s", methods);
	for (char *rest, *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
		for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			if (strcmp(names[i], word) == 0)
				mask |= PHX_METHOD_BIT(i);
		}
	}
	return mask;
}

/* The table's upstreams are named by their index: "http://4" is upstream 4. */
static uint32_t index_of(void *context, const char *host, uint16_t port)
{
	return (uint32_t)strtoul(host, NULL, 10);
}

void rig_routes(const struct rig_route *routes, size_t count)
{
	static struct route_config configs[RIG_ROUTES_MAX];
	static struct dataplane_route wanted[RIG_ROUTES_MAX];
	static char hosts[RIG_ROUTES_MAX][2][16];
	struct plane_table table = {0};
	struct buf why = {0};
	memset(configs, 0, sizeof(configs));
	if (count > RIG_ROUTES_MAX)
		abort();
	for (size_t i = 0; i < count; i++) {
		snprintf(hosts[i][0], sizeof(hosts[i][0]), "%u", routes[i].legacy);
		snprintf(hosts[i][1], sizeof(hosts[i][1]), "%u", routes[i].modern);
		configs[i].id = (char *)routes[i].path;
		configs[i].host = (char *)routes[i].host;
		configs[i].path = (char *)routes[i].path;
		configs[i].method_mask = rig_method_mask(routes[i].methods);
		configs[i].xdp = !routes[i].not_xdp;
		configs[i].legacy.host = hosts[i][0];
		configs[i].legacy.base_path = routes[i].based ? "/base" : "";
		configs[i].modern.host = hosts[i][1];
		configs[i].modern.base_path = "";
		wanted[i] = (struct dataplane_route){&configs[i], (uint32_t)i, 1};
		rig.policy[i] = (struct phx_policy){
			.weight_bp = routes[i].weight_bp,
			.sample_bp = routes[i].sample_bp,
			.split_by = routes[i].split_by,
			.flags = PHX_ROUTE_ACTIVE | routes[i].flags,
		};
	}
	uint32_t number = rig.config->table + 1;
	if (plane_table_build(&table, number, wanted, count, index_of, NULL, &why)) {
		fprintf(stderr, "rig: the table cannot be built: %s\n", buf_cstr(&why));
		exit(2);
	}
	__u32 parity = number & 1;
	bpf_map_update_elem(rig.shapes_fd, &parity, &table.shapes, BPF_ANY);
	for (size_t i = 0; i < table.count; i++)
		bpf_map_update_elem(rig.entries_fd, &table.keys[i], &table.entries[i], BPF_ANY);
	rig.config->table = number;
	plane_table_fini(&table);
	buf_fini(&why);
}

/* --- what is seen from outside -------------------------------------------------------------------------- */

void rig_counters(struct phx_counters *out)
{
	static struct phx_counters each[CPUS_MAX];
	__u32 zero = 0;
	memset(out, 0, sizeof(*out));
	if (rig.cpus > CPUS_MAX || bpf_map_lookup_elem(rig.counters_fd, &zero, each))
		return;
	for (int cpu = 0; cpu < rig.cpus; cpu++) {
		for (size_t i = 0; i < sizeof(*out) / sizeof(__u64); i++)
			((__u64 *)out)[i] += ((__u64 *)&each[cpu])[i];
	}
}

void rig_read_ring(void)
{
	ring_buffer__consume(rig.ring);
}

unsigned rig_free_ports(void)
{
	__u32 index, all[RIG_PORTS + 1];
	unsigned count = 0;
	while (count < RIG_PORTS + 1 && bpf_map_lookup_and_delete_elem(rig.free_fd, NULL, &index) == 0)
		all[count++] = index;
	for (unsigned i = count; i > 0; i--)
		bpf_map_update_elem(rig.free_fd, NULL, &all[i - 1], BPF_ANY);
	return count;
}

unsigned rig_busy_flows(void)
{
	unsigned count = 0;
	for (unsigned i = 0; i < RIG_PORTS; i++)
		count += rig.flows[i].state != PHX_FLOW_FREE;
	return count;
}

int rig_run_xdp(int program, uint32_t ifindex, uint8_t frame[RIG_FRAME_MAX], size_t *len)
{
	uint8_t in[RIG_FRAME_MAX];
	struct xdp_md context = {.data_end = (__u32)*len, .ingress_ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in, .data_size_in = (__u32)*len, .data_out = frame,
		    .data_size_out = RIG_FRAME_MAX, .ctx_in = &context, .ctx_size_in = sizeof(context),
		    .repeat = 1);
	memcpy(in, frame, *len);
	if (bpf_prog_test_run_opts(program, &run))
		return -errno;
	*len = run.data_size_out;
	return (int)run.retval;
}

int rig_run_tc(uint32_t ifindex, uint8_t frame[RIG_FRAME_MAX], size_t *len)
{
	uint8_t in[RIG_FRAME_MAX];
	struct __sk_buff context = {.ifindex = ifindex, .ingress_ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in, .data_size_in = (__u32)*len, .data_out = frame,
		    .data_size_out = RIG_FRAME_MAX, .ctx_in = &context, .ctx_size_in = sizeof(context),
		    .repeat = 1);
	memcpy(in, frame, *len);
	if (bpf_prog_test_run_opts(rig.tc, &run))
		return -errno;
	*len = run.data_size_out;
	return (int)run.retval;
}

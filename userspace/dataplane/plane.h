/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plane: what the files of dataplane/ share. Seen by this folder only.
 *
 *   maps.c        the maps, opened by their pins and mapped into memory
 *   load.c        programs and maps into the kernel, or those that are there
 *   attach.c      programs onto devices and off again
 *   table.c       routes -> routing table
 *   neighbours.c  upstreams, devices, next hops: kept in step with the system
 *   listen.c      the addresses that clients connect to
 *   sweep.c       flows that ended without a packet saying so
 *   capture.c     records of sampled exchanges -> struct exchange
 *   numbers.c     counters
 */
#ifndef PHOENIX_DATAPLANE_PLANE_H
#define PHOENIX_DATAPLANE_PLANE_H

#include "dataplane/capture.h"
#include "dataplane/dataplane.h"

#include <pthread.h>
#include <stdatomic.h>

#define PLANE_INTERFACES_MAX 64

/* The maps that are mapped into memory, X(name, type of an entry), and the others, X(name). */
#define PLANE_MAPPED(X)                                                                                      \
	X(config, struct phx_config)                                                                         \
	X(kill, struct phx_kill)                                                                             \
	X(policy, struct phx_policy)                                                                         \
	X(cursors, struct phx_cursor)                                                                        \
	X(names, struct phx_name)                                                                            \
	X(upstreams, struct phx_upstream)                                                                    \
	X(flows, struct phx_flow)                                                                            \
	X(route_stats, struct phx_route_stats)
#define PLANE_OTHERS(X)                                                                                      \
	X(interfaces)                                                                                        \
	X(shapes)                                                                                            \
	X(entries)                                                                                           \
	X(listen)                                                                                            \
	X(sources)                                                                                           \
	X(egress)                                                                                            \
	X(ports)                                                                                             \
	X(free)                                                                                              \
	X(stash)                                                                                             \
	X(counters)                                                                                          \
	X(ring)                                                                                              \
	X(traced)

enum plane_map {
#define X(name, ...) PLANE_MAP_##name,
	PLANE_MAPPED(X) PLANE_OTHERS(X)
#undef X
		PLANE_MAP_COUNT,
};
extern const char *const plane_map_names[PLANE_MAP_COUNT]; /* "phx_config", … */

struct plane_maps {
	int fd[PLANE_MAP_COUNT];
	size_t bytes[PLANE_MAP_COUNT]; /* mapped; 0 = not */
#define X(name, type) type *name;
	PLANE_MAPPED(X)
#undef X
};

/* Opens all maps by their pins and maps those that can be. 0 or -errno with nothing left open. */
int plane_maps_open(const char *pin_dir, struct plane_maps *maps);
/* For a zeroed or opened one. */
void plane_maps_close(struct plane_maps *maps);
/* Of all maps, also those that this version does not know, and the directory when it is empty then. */
void plane_remove_pins(const char *pin_dir);

struct phoenix_bpf; /* the skeleton */

struct plane_load {
	const char *pin_dir;
	uint16_t port_first, port_last;
};
struct plane_programs {
	struct phoenix_bpf *skeleton;
	int xdp, tc, trace; /* descriptors, the skeleton's */
};
/* Mounts a bpf file system where there is none. 0 or -errno with `why`. */
int plane_pin_dir(const char *pin_dir, struct buf *why);
/* Loads programs; pins maps that are not there yet. *adopted: the maps were. */
int plane_load(const struct plane_load *load, struct plane_programs *out, bool *adopted, struct buf *why);
void plane_unload(struct plane_programs *programs);

struct plane_upstreams;

struct plane_settings {
	char *pin_dir;
	enum xdp_mode mode;
	enum xdp_attach attach;
	uint16_t port_first, port_last;
	uint64_t idle_ns, upstream_ns; /* limits.idle_timeout_ms, limits.upstream_timeout_ms */
	uint64_t body_max_bytes;
	uint32_t head_bytes, fields_max;
	uint64_t dead_after_ns;
	enum phx_dead_man dead_then;
	char **names; /* of interfaces */
	size_t name_count;
};

struct dataplane {
	struct plane_settings settings;
	struct plane_maps maps;
	struct plane_programs programs;
	bool adopted;
	struct dataplane_interface interfaces[PLANE_INTERFACES_MAX];
	size_t interface_count;
	char *listen[64];
	size_t listen_count;

	struct plane_upstreams *upstreams;
	struct capture *capture; /* the tick thread's */
	void (*captured)(void *context, struct exchange *exchange);
	void *captured_context;
	struct sweep *sweep;		/* the tick thread's */
	_Atomic uint64_t *sample_bytes; /* mirror.max_body_bytes by slot */
	uint32_t table;			/* number of the last one written */
	bool table_refused;		/* the last publication did not fit */

	int owner_fd;		   /* the pin directory: whoever has it locked does the work of the threads */
	atomic_bool owner;	   /* this process has */
	atomic_bool attached;	   /* to some interface, as the devices said last */
	_Atomic uint64_t alive_ns; /* when control was last seen to turn */

	pthread_t tick_thread, neighbour_thread;
	bool tick_runs, neighbour_runs;
	bool ran;	       /* the daemon came to serve */
	pthread_mutex_t mutex; /* upstreams, listen; between control and the threads */
	pthread_cond_t wake;
	atomic_bool stop;
};

/* --- attach.c --- */

/* Attaches to every interface of the settings, detaches from others that an earlier daemon had. */
int plane_attach(struct dataplane *plane, struct buf *why);
/* What the device says: fills in mode, from the program that is attached there. */
void plane_interface_ask(const struct plane_maps *maps, struct dataplane_interface *interface);
/* The key and value of a device's entry in phx_interfaces; index n of an iteration. -ENOENT at the end. */
int plane_interface_next(const struct plane_maps *maps, const uint32_t *before, uint32_t *ifindex,
			 struct phx_interface *out);
/* Takes programs off one device and undoes what attaching changed. 0, or -errno with `why`. */
int plane_detach_interface(const char *pin_dir, const struct plane_maps *maps, uint32_t ifindex,
			   const struct phx_interface *what, struct buf *why);
/* "/proc/sys/net/ipv4/conf/eth0/forwarding"-like: reads or writes a number; -errno. */
int plane_sysctl_get(const char *path, int *value);
int plane_sysctl_set(const char *path, int value);

/* --- numbers.c --- */

/* Sums over CPUs. */
void plane_counters(const struct plane_maps *maps, struct phx_counters *out);

/* --- table.c --- */

/* An index in phx_upstreams for a host and port; PHX_NO_UPSTREAM when there is none left. */
uint32_t plane_upstream_index(struct plane_upstreams *upstreams, const char *host, uint16_t port);

/* A routing table in memory: what goes into phx_shapes and phx_entries. */
struct plane_table {
	struct phx_shape_table shapes;
	struct phx_entry_key *keys;
	struct phx_entry *entries;
	size_t count;
};
/*
 * Compiles routes. `upstream` says which index a host and port has. 0, -ENOMEM, or -E2BIG with `why` when the
 * fast path cannot have them.
 */
int plane_table_build(struct plane_table *table, uint32_t number, const struct dataplane_route *routes,
		      size_t count, uint32_t (*upstream)(void *context, const char *host, uint16_t port),
		      void *context, struct buf *why);
void plane_table_fini(struct plane_table *table);
/* Deletes what belongs to no table in force. */
void plane_table_prune(const struct dataplane *plane);

/* --- listen.c --- */

/* An IPv4 or IPv6 address as text. */
bool plane_parse_literal(const char *host, struct phx_addr *out);
/* Makes a hash map hold exactly these keys and values. */
void plane_map_sync(int fd, size_t key_size, size_t value_size, const void *keys, const void *values,
		    size_t count);
/* Brings phx_listen up to date. */
void plane_listen_refresh(struct dataplane *plane);

/* --- neighbours.c --- */

int plane_upstreams_create(struct dataplane *plane, struct plane_upstreams **out);
void plane_upstreams_destroy(struct plane_upstreams *upstreams);
/* Which of them the routes in force name; others are forgotten in time. */
void plane_upstreams_begin(struct plane_upstreams *upstreams);
/* Looks everything up once, without names; then again by the thread. */
void plane_neighbours_refresh(struct dataplane *plane);
void *plane_neighbours_main(void *plane);

#endif

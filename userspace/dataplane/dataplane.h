/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dataplane: the NIC path as the rest of the daemon sees it: programs loaded and attached, tables written,
 * numbers read. The only folder that sees libbpf and libxdp.
 *
 * The programs (bpf/) serve by themselves; everything here happens beside the packets. What they work with
 * lies in maps that are pinned in a bpf file system, and outlives this process: a daemon that ends, in
 * whatever way, leaves the fast path running, and the next one adopts programs, maps and flows.
 *
 * The policy is one of these maps: struct policy points into it, so REST, the arbiter and `bpftool map
 * update` write the same word, and both paths read it.
 */
#ifndef PHOENIX_DATAPLANE_H
#define PHOENIX_DATAPLANE_H

#include "base/policy.h"
#include "config.h"
#include "http/exchange.h"

#include <phoenix/flow.h>

struct dataplane;

/* What only start-up can know; borrowed during the call. */
struct dataplane_start {
	const struct policy
		*policy; /* seed and key as they are to be: written to where the programs read them */
	const char *const *listen; /* bound addresses: "192.0.2.1:80", "0.0.0.0:80", "[::]:80" */
	size_t listen_count;
	struct exchange_budget *budget; /* of captured exchanges; borrowed until dataplane_stop() */
	/* Takes a captured exchange (capture.h). Called by a thread of the dataplane. */
	void (*captured)(void *context, struct exchange *exchange);
	void *context;
};

/*
 * Loads the programs and finds or makes the maps. Nothing is attached yet, and what an earlier daemon left
 * goes on. `config` is copied from. On failure `why` has a sentence and nothing changed: -EPERM without the
 * privileges, -EINVAL for ports that overlap, -errno of the kernel.
 */
int dataplane_open(const struct config *config, struct dataplane **out, struct buf *why);
/* The policy in the maps, with seed and key that are kept over restarts. `plane` must outlive it. */
void dataplane_policy(struct dataplane *plane, struct policy *policy);
/* Names of slots, PHX_ROUTE_SLOTS of them: what an earlier daemon used them for. Control writes them. */
struct phx_name *dataplane_names(struct dataplane *plane);
/*
 * Attaches to the interfaces. With xdp.mode "native" or "generic" an interface that does not take it fails
 * with `why`; with "auto" it is logged and the daemon serves that interface's requests alone.
 */
int dataplane_start(struct dataplane *plane, const struct dataplane_start *start, struct buf *why);
/*
 * Starts the threads that look after upstreams, flows and samples: once this process is what it will be
 * (user, capabilities), for they inherit that. Where another daemon still does this work, they wait until it
 * ends.
 */
int dataplane_run(struct dataplane *plane);
/*
 * The thread that decides turns: to be said several times a second. Without it, or without this process, for
 * xdp.dead_man.after_ms, the programs do what xdp.dead_man.then says.
 */
void dataplane_alive(struct dataplane *plane, uint64_t now_ns);
/* No more exchanges come after this. NULL-safe. */
void dataplane_stop(struct dataplane *plane);
/* Lets go; what runs in the kernel goes on. NULL-safe. */
void dataplane_close(struct dataplane *plane);

/* --- table.c --- */

/* A route as the data path is to have it; all borrowed during dataplane_publish(). */
struct dataplane_route {
	const struct route_config *config;
	uint32_t slot;
	uint32_t generation;
};
/*
 * Puts a new routing table in force. Cannot fail: where the fast path cannot have these routes (too many
 * shapes, no room) it gets none, hands every request to the daemon, and `why` says so (logged as well).
 */
void dataplane_publish(struct dataplane *plane, const struct dataplane_route *routes, size_t count);

/* --- numbers.c --- */

/* The counters of a slot. */
const struct phx_route_stats *dataplane_route_stats(struct dataplane *plane, uint32_t slot);
/* Forgets what another route counted in this slot. */
void dataplane_route_reset(struct dataplane *plane, uint32_t slot);
/* Sums over CPUs. */
void dataplane_counters(struct dataplane *plane, struct phx_counters *out);

/*
 * Asks the loaded program what would become of a request with this head, without doing anything. 0 or -errno.
 */
int dataplane_trace(struct dataplane *plane, struct slice head, struct phx_trace *out);
const char *dataplane_reason_help(unsigned reason);

enum dataplane_mode { DATAPLANE_OFF, DATAPLANE_NATIVE, DATAPLANE_GENERIC };
const char *dataplane_mode_word(enum dataplane_mode mode);

struct dataplane_interface {
	char name[16];
	uint32_t ifindex;
	enum dataplane_mode mode; /* as the device says, now */
	bool dispatcher;	  /* by libxdp's dispatcher */
	bool adopted;		  /* was attached by an earlier daemon */
	uint32_t mtu;
	uint32_t program; /* id of what was attached here; 0 = not by this process */
	char error[256];  /* why it is off; "" when it is not */
};
struct dataplane_info {
	const char *pin_dir;
	enum phx_mode mode;
	uint32_t table, boot;
	uint32_t port_first, port_count;
	uint32_t flows; /* with a client */
	uint32_t upstreams, upstreams_known;
	uint64_t captured, lost;	 /* sampled exchanges: whole; with a gap */
	uint64_t closed, aborted, freed; /* by the sweeper: idle clients, stuck requests, ports */
	bool adopted;			 /* the maps were there */
	size_t interface_count;
	const struct dataplane_interface *interfaces;
};
/* Does the fast path take requests: attached, with a table, not switched off or draining? As of a second ago.
 */
bool dataplane_serves(struct dataplane *plane);
/* Asks the devices, and looks through all flows. `info` borrows from `plane` until the next call. */
void dataplane_info(struct dataplane *plane, struct dataplane_info *info);
const char *dataplane_verdict_word(unsigned verdict); /* "syn_cookie" */
const char *dataplane_reason_word(unsigned reason);
uint64_t dataplane_verdict_count(const struct phx_counters *counters, unsigned verdict);
uint64_t dataplane_reason_count(const struct phx_counters *counters, unsigned reason);

#endif

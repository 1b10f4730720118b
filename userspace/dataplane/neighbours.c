/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neighbours: what the programs have to know about the surroundings, kept in step with the system: the
 * upstreams' addresses and the gateway's own towards them, the addresses it listens on, the devices that
 * packets leave by, and the next hops' hardware addresses.
 *
 * Everything is looked at once a second and compared with what the maps have; only differences are written.
 * That is late by a second when something changes, and never wrong for longer, whatever event was missed.
 *
 * An upstream keeps its index as long as a route names it, also over a restart: legs remember it. Its entry
 * changes only while PHX_UPSTREAM_KNOWN is clear, for longer than any program runs.
 */
#include "dataplane/plane.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/siphash.h"
#include "dataplane/netlink.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TICK_NS		NS_PER_SEC
#define RESOLVE_NS	(10 * NS_PER_SEC)
#define CHANGE_US	2000 /* a program runs for microseconds */
#define UNFIT_NS	(60 * NS_PER_SEC)
#define SOURCE_KEEP_NS	(120 * NS_PER_SEC)
#define ADDRESSES_MAX	8
#define LISTEN_KEYS_MAX 256
#define EGRESS_MAX	256
#define MTU_MAX		1500u /* the programs look at no longer frames, see PHX_FRAME_BYTES */
#define HEADERS4	40u
#define HEADERS6	60u

struct plane_upstream {
	char *host; /* NULL: the index is free */
	uint16_t port;
	uint32_t table; /* number of the last routing table that named it */
	bool literal;
	uint64_t resolve_ns; /* when to look the name up */
	uint64_t unfit_ns;   /* when it was last seen fit, or given another chance */
	struct phx_addr addresses[ADDRESSES_MAX];
	uint32_t address_count;
	char told[96]; /* why the daemon has it, as it was logged last */
};

struct source {
	struct phx_listen_key key;
	uint64_t used_ns;
};

struct plane_upstreams {
	struct dataplane *plane;
	struct plane_upstream list[PHX_UPSTREAMS];
	uint32_t table; /* being built or in force */
	int netlink;
	struct source *sources; /* what is in phx_sources */
	size_t source_count, source_cap;
	struct phx_egress egress[EGRESS_MAX];
	uint32_t egress_key[EGRESS_MAX];
	size_t egress_count;
};

/* --- upstreams by name ---------------------------------------------------------------------------------- */

static uint64_t name_hash(const char *host, uint16_t port)
{
	static const uint8_t key[SIPHASH_KEY_SIZE] = "phoenix-upstream";
	char text[300];
	int len = snprintf(text, sizeof(text), "%s %u", host, port);
	return siphash24(key, text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

static void upstream_forget(struct plane_upstream *upstream)
{
	free(upstream->host);
	memset(upstream, 0, sizeof(*upstream));
}

static bool upstream_take(struct plane_upstream *upstream, const char *host, uint16_t port)
{
	char *copy = strdup(host);
	if (!copy)
		return false;
	upstream_forget(upstream);
	upstream->host = copy;
	upstream->port = port;
	upstream->literal = plane_parse_literal(host, &upstream->addresses[0]);
	upstream->address_count = upstream->literal;
	return true;
}

/* Nothing is named by it any more: neither by the table in force nor by the one that is being built. */
static bool is_free(const struct plane_upstreams *upstreams, uint32_t index)
{
	const struct plane_upstream *upstream = &upstreams->list[index];
	return !upstream->host || upstreams->table - upstream->table > 1;
}

uint32_t plane_upstream_index(struct plane_upstreams *upstreams, const char *host, uint16_t port)
{
	struct phx_upstream *entries = upstreams->plane->maps.upstreams;
	uint64_t name = name_hash(host, port);
	uint32_t found = PHX_NO_UPSTREAM, free = PHX_NO_UPSTREAM;
	pthread_mutex_lock(&upstreams->plane->mutex);
	for (uint32_t i = 0; i < PHX_UPSTREAMS && found == PHX_NO_UPSTREAM; i++) {
		const struct plane_upstream *have = &upstreams->list[i];
		if (have->host ? have->port == port && strcmp(have->host, host) == 0
			       : entries[i].name == name)
			found = i;
		/* Rather one that no earlier daemon used. */
		else if (is_free(upstreams, i) &&
			 (free == PHX_NO_UPSTREAM || (entries[free].name && !entries[i].name)))
			free = i;
	}
	if (found == PHX_NO_UPSTREAM)
		found = free;
	if (found != PHX_NO_UPSTREAM) {
		struct plane_upstream *upstream = &upstreams->list[found];
		bool same = upstream->host && upstream->port == port && strcmp(upstream->host, host) == 0;
		if (same || upstream_take(upstream, host, port))
			upstream->table = upstreams->table;
		else
			found = PHX_NO_UPSTREAM;
	}
	pthread_mutex_unlock(&upstreams->plane->mutex);
	return found;
}

void plane_upstreams_begin(struct plane_upstreams *upstreams)
{
	pthread_mutex_lock(&upstreams->plane->mutex);
	upstreams->table++;
	pthread_mutex_unlock(&upstreams->plane->mutex);
}

/* --- their entries in the map --------------------------------------------------------------------------- */

static bool addr_equal(const struct phx_addr *a, const struct phx_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void source_used(struct plane_upstreams *upstreams, const struct phx_addr *addr, uint16_t port,
			uint64_t now_ns)
{
	struct phx_listen_key key = {*addr, port};
	__u32 one = 1;
	for (size_t i = 0; i < upstreams->source_count; i++) {
		if (memcmp(&upstreams->sources[i].key, &key, sizeof(key)) == 0) {
			upstreams->sources[i].used_ns = now_ns;
			return;
		}
	}
	if (upstreams->source_count == upstreams->source_cap) {
		size_t cap = upstreams->source_cap ? 2 * upstreams->source_cap : 64;
		struct source *more = realloc(upstreams->sources, cap * sizeof(*more));
		if (!more)
			return;
		upstreams->sources = more;
		upstreams->source_cap = cap;
	}
	if (bpf_map_update_elem(upstreams->plane->maps.fd[PLANE_MAP_sources], &key, &one, BPF_ANY) == 0)
		upstreams->sources[upstreams->source_count++] = (struct source){key, now_ns};
}

/* Answers of connections that are still under way may come for a while. */
static void sources_age(struct plane_upstreams *upstreams, uint64_t now_ns)
{
	for (size_t i = 0; i < upstreams->source_count;) {
		struct source *source = &upstreams->sources[i];
		if (now_ns - source->used_ns < SOURCE_KEEP_NS) {
			i++;
			continue;
		}
		bpf_map_delete_elem(upstreams->plane->maps.fd[PLANE_MAP_sources], &source->key);
		*source = upstreams->sources[--upstreams->source_count];
	}
}

static void sources_load(struct plane_upstreams *upstreams, uint64_t now_ns)
{
	struct phx_listen_key key, next;
	int fd = upstreams->plane->maps.fd[PLANE_MAP_sources];
	for (int end = bpf_map_get_next_key(fd, NULL, &next); !end;
	     end = bpf_map_get_next_key(fd, &key, &next)) {
		key = next;
		source_used(upstreams, &key.addr, (uint16_t)key.port, now_ns);
	}
}

static void set_flags(struct phx_upstream *entry, uint32_t clear, uint32_t set)
{
	uint32_t *flags = (uint32_t *)&entry->flags;
	__atomic_and_fetch(flags, ~clear, __ATOMIC_RELEASE);
	__atomic_or_fetch(flags, set, __ATOMIC_RELEASE);
}

/* The index has this address from now on, and the gateway calls itself `source` towards it. */
static void entry_set(struct plane_upstreams *upstreams, uint32_t index, const struct phx_addr *addr,
		      const struct phx_addr *source)
{
	struct phx_upstream *entry = &upstreams->plane->maps.upstreams[index];
	const struct plane_upstream *upstream = &upstreams->list[index];
	uint64_t name = name_hash(upstream->host, upstream->port);
	if (addr_equal(&entry->addr, addr) && addr_equal(&entry->source, source) &&
	    entry->port == upstream->port && entry->name == name) {
		if (!(entry->flags & PHX_UPSTREAM_KNOWN))
			set_flags(entry, 0, PHX_UPSTREAM_KNOWN);
		return;
	}
	if (entry->flags & PHX_UPSTREAM_KNOWN) {
		set_flags(entry, PHX_UPSTREAM_KNOWN, 0);
		usleep(CHANGE_US);
	}
	entry->addr = *addr;
	entry->source = *source;
	entry->port = upstream->port;
	entry->name = name;
	entry->mss = 0;
	__atomic_store_n(&entry->avoid_until_ns, 0, __ATOMIC_RELAXED);
	__atomic_add_fetch(&entry->generation, 1, __ATOMIC_RELEASE);
	set_flags(entry, PHX_UPSTREAM_UNFIT, PHX_UPSTREAM_KNOWN);
}

static void entry_clear(struct plane_upstreams *upstreams, uint32_t index, const char *why)
{
	struct plane_upstream *upstream = &upstreams->list[index];
	set_flags(&upstreams->plane->maps.upstreams[index], PHX_UPSTREAM_KNOWN, 0);
	if (strcmp(upstream->told, why) != 0) {
		snprintf(upstream->told, sizeof(upstream->told), "%s", why);
		log_info("dataplane", "upstream %s:%u: %s; the daemon serves it", upstream->host,
			 upstream->port, why);
	}
}

static bool is_egress(const struct plane_upstreams *upstreams, uint32_t ifindex)
{
	for (size_t i = 0; i < upstreams->egress_count; i++) {
		if (upstreams->egress_key[i] == ifindex)
			return true;
	}
	return false;
}

/* The address to use: the present one while the name still has it. */
static const struct phx_addr *choose(const struct plane_upstream *upstream, const struct phx_upstream *entry)
{
	for (uint32_t i = 0; i < upstream->address_count; i++) {
		if (addr_equal(&upstream->addresses[i], &entry->addr))
			return &upstream->addresses[i];
	}
	for (uint32_t i = 0; i < upstream->address_count; i++) {
		if (phx_addr_is_v4(&upstream->addresses[i]))
			return &upstream->addresses[i];
	}
	return upstream->address_count ? &upstream->addresses[0] : NULL;
}

static void upstream_refresh(struct plane_upstreams *upstreams, uint32_t index, uint64_t now_ns)
{
	struct plane_upstream *upstream = &upstreams->list[index];
	struct phx_upstream *entry = &upstreams->plane->maps.upstreams[index];
	const struct phx_addr *addr = choose(upstream, entry);
	struct netlink_route route;
	char why[96];
	if (!addr) {
		set_flags(entry, PHX_UPSTREAM_KNOWN, 0);
		return;
	}
	int err = netlink_route(upstreams->netlink, addr, &route);
	if (err) {
		snprintf(why, sizeof(why), "no route: %s", strerror(-err));
		entry_clear(upstreams, index, why);
		return;
	}
	if (!route.unicast || !is_egress(upstreams, route.ifindex)) {
		char name[IF_NAMESIZE] = "?";
		if_indextoname(route.ifindex, name);
		snprintf(why, sizeof(why),
			 route.unicast ? "reached by %s, which has no fast path" : "is this machine (%s)",
			 name);
		entry_clear(upstreams, index, why);
		return;
	}
	upstream->told[0] = 0;
	if (!(entry->flags & PHX_UPSTREAM_UNFIT)) {
		upstream->unfit_ns = now_ns;
	} else if (now_ns > upstream->unfit_ns + UNFIT_NS) {
		/* Whatever its answers had, they may have it no more. */
		upstream->unfit_ns = now_ns;
		set_flags(entry, PHX_UPSTREAM_UNFIT, 0);
	}
	source_used(upstreams, addr, upstream->port, now_ns);
	entry_set(upstreams, index, addr, &route.source);
	netlink_neighbour_use(upstreams->netlink, route.ifindex, &route.gateway);
}

/* --- names ---------------------------------------------------------------------------------------------- */

static void take_addresses(struct plane_upstream *upstream, const struct addrinfo *found)
{
	uint32_t n = 0;
	for (const struct addrinfo *a = found; a && n < ADDRESSES_MAX; a = a->ai_next) {
		if (a->ai_family == AF_INET)
			upstream->addresses[n++] = phx_addr_v4(
				((const struct sockaddr_in *)(const void *)a->ai_addr)->sin_addr.s_addr);
		else if (a->ai_family == AF_INET6)
			memcpy(&upstream->addresses[n++],
			       &((const struct sockaddr_in6 *)(const void *)a->ai_addr)->sin6_addr, 16);
	}
	upstream->address_count = n;
}

/* Blocks for as long as the system's resolver does; the mutex is held around it, not during it. A name that
 * does not resolve any more keeps its addresses. */
static void resolve(struct plane_upstreams *upstreams, uint32_t index)
{
	struct plane_upstream *upstream = &upstreams->list[index];
	char host[256];
	snprintf(host, sizeof(host), "%s", upstream->host);
	upstream->resolve_ns = clock_now_ns() + RESOLVE_NS;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	pthread_mutex_unlock(&upstreams->plane->mutex);
	int err = getaddrinfo(host, NULL, &hints, &found);
	pthread_mutex_lock(&upstreams->plane->mutex);
	if (!err && upstream->host && strcmp(upstream->host, host) == 0)
		take_addresses(upstream, found);
	if (!err)
		freeaddrinfo(found);
}

/* --- the devices that packets leave by ------------------------------------------------------------------ */

static void egress_add(struct plane_upstreams *upstreams, uint32_t ifindex, uint32_t device, uint32_t vlan)
{
	if (upstreams->egress_count == EGRESS_MAX)
		return;
	upstreams->egress_key[upstreams->egress_count] = ifindex;
	upstreams->egress[upstreams->egress_count++] = (struct phx_egress){device, vlan};
}

/* "eth0.5 | 5 | eth0" a line (802.1Q devices), when the kernel knows VLANs at all. */
static void egress_vlans(struct plane_upstreams *upstreams)
{
	char line[160], name[32], parent[32];
	unsigned id;
	FILE *file = fopen("/proc/net/vlan/config", "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%31[^ |] | %u | %31s", name, &id, parent) != 3)
			continue;
		uint32_t ifindex = if_nametoindex(name), device = if_nametoindex(parent);
		if (ifindex && device && is_egress(upstreams, device))
			egress_add(upstreams, ifindex, device, id + 1);
	}
	fclose(file);
}

static void egress_refresh(struct plane_upstreams *upstreams)
{
	struct dataplane *plane = upstreams->plane;
	uint32_t mtu = MTU_MAX;
	upstreams->egress_count = 0;
	for (size_t i = 0; i < plane->interface_count; i++) {
		struct dataplane_interface interface = plane->interfaces[i];
		if (!interface.ifindex)
			continue;
		plane_interface_ask(&plane->maps, &interface);
		if (interface.mode == DATAPLANE_OFF)
			continue;
		egress_add(upstreams, interface.ifindex, interface.ifindex, 0);
		if (interface.mtu && interface.mtu < mtu)
			mtu = interface.mtu;
	}
	atomic_store(&plane->attached, upstreams->egress_count != 0);
	egress_vlans(upstreams);
	plane_map_sync(plane->maps.fd[PLANE_MAP_egress], sizeof(uint32_t), sizeof(struct phx_egress),
		       upstreams->egress_key, upstreams->egress, upstreams->egress_count);
	__atomic_store_n(&plane->maps.config->mss4, mtu - HEADERS4, __ATOMIC_RELAXED);
	__atomic_store_n(&plane->maps.config->mss6, mtu - HEADERS6, __ATOMIC_RELAXED);
}

/* --- all of it ------------------------------------------------------------------------------------------ */

static void refresh(struct dataplane *plane)
{
	struct plane_upstreams *upstreams = plane->upstreams;
	uint64_t now_ns = clock_now_ns();
	egress_refresh(upstreams);
	plane_listen_refresh(plane);
	for (uint32_t i = 0; i < PHX_UPSTREAMS; i++) {
		if (upstreams->list[i].host && !is_free(upstreams, i))
			upstream_refresh(upstreams, i, now_ns);
	}
	sources_age(upstreams, now_ns);
}

void plane_neighbours_refresh(struct dataplane *plane)
{
	pthread_mutex_lock(&plane->mutex);
	refresh(plane);
	pthread_mutex_unlock(&plane->mutex);
}

void *plane_neighbours_main(void *argument)
{
	struct dataplane *plane = argument;
	struct plane_upstreams *upstreams = plane->upstreams;
	pthread_setname_np(pthread_self(), "phx-neighbours");
	pthread_mutex_lock(&plane->mutex);
	while (!atomic_load(&plane->stop)) {
		for (uint32_t i = 0; i < PHX_UPSTREAMS && !atomic_load(&plane->stop); i++) {
			struct plane_upstream *upstream = &upstreams->list[i];
			if (upstream->host && !upstream->literal && !is_free(upstreams, i) &&
			    clock_now_ns() >= upstream->resolve_ns)
				resolve(upstreams, i);
		}
		if (atomic_load(&plane->owner))
			refresh(plane);
		uint64_t until_ns = clock_wall_ns() + TICK_NS;
		struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_SEC),
					 .tv_nsec = (long)(until_ns % NS_PER_SEC)};
		if (!atomic_load(&plane->stop))
			pthread_cond_timedwait(&plane->wake, &plane->mutex, &until);
	}
	pthread_mutex_unlock(&plane->mutex);
	return NULL;
}

int plane_upstreams_create(struct dataplane *plane, struct plane_upstreams **out)
{
	struct plane_upstreams *upstreams = calloc(1, sizeof(*upstreams));
	if (!upstreams)
		return -ENOMEM;
	upstreams->plane = plane;
	upstreams->netlink = netlink_open();
	if (upstreams->netlink < 0) {
		int err = upstreams->netlink;
		free(upstreams);
		return err;
	}
	sources_load(upstreams, clock_now_ns());
	*out = upstreams;
	return 0;
}

void plane_upstreams_destroy(struct plane_upstreams *upstreams)
{
	if (!upstreams)
		return;
	for (uint32_t i = 0; i < PHX_UPSTREAMS; i++)
		upstream_forget(&upstreams->list[i]);
	close(upstreams->netlink);
	free(upstreams->sources);
	free(upstreams);
}

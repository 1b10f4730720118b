/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: routes -> the routing table of the fast path (include/phoenix/route.h), built by the daemon's own
 * router so that both decide alike.
 *
 * A table has a number. It is written whole beside the one in force, then one store to phx_config.table puts
 * it in force. The old one's entries are deleted after a while in which no packet can still be looking at
 * them: without it, a request could miss a specific route and find a more general one.
 *
 * What the fast path must leave to the daemon is in the table all the same, marked so, for it must not fall
 * through to a less specific route.
 */
#include "dataplane/plane.h"

#include "base/log.h"
#include "http/router.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define GRACE_US 10000 /* a program runs for microseconds */

/* Is there a reason why the daemon must serve this route? */
static bool is_daemons(const struct route_config *config, const struct router_entry *entry)
{
	return !config->xdp || config->legacy.base_path[0] || config->modern.base_path[0] ||
	       entry->pattern.len >= PHX_PATTERN_BYTES || entry->host.len > PHX_HOST_BYTES;
}

static void copy_bytes(__u8 *to, size_t size, struct slice from)
{
	memcpy(to, from.ptr ? from.ptr : "", from.len < size ? from.len : size);
}

static void fill_entry(struct phx_entry *out, const struct router_entry *entry,
		       const struct dataplane_route *route,
		       uint32_t (*upstream)(void *context, const char *host, uint16_t port), void *context)
{
	const struct route_config *config = route->config;
	*out = (struct phx_entry){
		.slot = route->slot,
		.generation = route->generation,
		.method_mask = entry->method_mask,
		.shape = entry->shape,
		.upstream = {PHX_NO_UPSTREAM, PHX_NO_UPSTREAM},
		.daemon = is_daemons(config, entry),
		.host_len = (uint32_t)entry->host.len,
	};
	copy_bytes(out->host, sizeof(out->host), entry->host);
	copy_bytes(out->pattern, sizeof(out->pattern) - 1, entry->pattern);
	if (out->daemon)
		return;
	out->upstream[PHX_LEGACY] = upstream(context, config->legacy.host, config->legacy.port);
	out->upstream[PHX_MODERN] = upstream(context, config->modern.host, config->modern.port);
}

static struct router *make_router(const struct dataplane_route *routes, size_t count, int *err)
{
	struct router *router = NULL;
	struct router_pattern *patterns = calloc(count + 1, sizeof(*patterns));
	*err = -ENOMEM;
	for (size_t i = 0; patterns && i < count; i++)
		patterns[i] = (struct router_pattern){routes[i].config->host, routes[i].config->path,
						      routes[i].config->method_mask};
	if (patterns)
		*err = router_create(patterns, count, &router);
	free(patterns);
	return router;
}

int plane_table_build(struct plane_table *table, uint32_t number, const struct dataplane_route *routes,
		      size_t count, uint32_t (*upstream)(void *context, const char *host, uint16_t port),
		      void *context, struct buf *why)
{
	int err;
	struct router_entry entry;
	struct plane_table new = {.shapes = {.table = number}};
	struct router *router = make_router(routes, count, &err);
	if (!router)
		return err;
	const struct phx_shape *shapes = router_shapes(router, &new.shapes.count);
	err = -E2BIG;
	if (new.shapes.count > PHX_SHAPES) {
		buf_printf(why, "the routes' paths have %u different shapes, the fast path takes %u",
			   new.shapes.count, PHX_SHAPES);
		goto out;
	}
	for (uint32_t i = 0; i < new.shapes.count; i++) {
		new.shapes.shape[i] = shapes[i];
		new.shapes.hosted |= shapes[i].hosted;
	}
	new.keys = calloc(count + 1, sizeof(*new.keys));
	new.entries = calloc(count + 1, sizeof(*new.entries));
	err = -ENOMEM;
	if (!new.keys || !new.entries)
		goto out;
	for (uint32_t i = 0; router_entry(router, i, &entry); i++) {
		if (entry.nth >= PHX_CHAIN) {
			buf_printf(why,
				   "more than %u routes have the path of \"%s\" (%s), the fast path takes %u",
				   PHX_CHAIN, routes[entry.route].config->id,
				   routes[entry.route].config->path, PHX_CHAIN);
			err = -E2BIG;
			goto out;
		}
		new.keys[i] = (struct phx_entry_key){entry.key, number, entry.nth};
		fill_entry(&new.entries[i], &entry, &routes[entry.route], upstream, context);
		new.count++;
	}
	*table = new;
	new = (struct plane_table){0};
	err = 0;
out:
	plane_table_fini(&new);
	router_destroy(router);
	return err;
}

void plane_table_fini(struct plane_table *table)
{
	free(table->keys);
	free(table->entries);
	*table = (struct plane_table){0};
}

/* --- into the maps -------------------------------------------------------------------------------------- */

static uint32_t index_of(void *context, const char *host, uint16_t port)
{
	return plane_upstream_index(context, host, port);
}

/* Deletes the entries of every table but `keep`. A walk over a hash map restarts when its place is deleted,
 * so the keys are gathered first. */
static void delete_entries(const struct dataplane *plane, uint32_t keep)
{
	int fd = plane->maps.fd[PLANE_MAP_entries];
	struct phx_entry_key key, next, *old = NULL;
	size_t count = 0, cap = 0;
	for (int end = bpf_map_get_next_key(fd, NULL, &next); !end;
	     end = bpf_map_get_next_key(fd, &key, &next)) {
		key = next;
		if (key.table == keep)
			continue;
		if (count == cap) {
			struct phx_entry_key *more = realloc(old, (cap = cap ? 2 * cap : 256) * sizeof(*old));
			if (!more)
				break;
			old = more;
		}
		old[count++] = key;
	}
	for (size_t i = 0; i < count; i++)
		bpf_map_delete_elem(fd, &old[i]);
	free(old);
}

static int write_table(struct dataplane *plane, const struct plane_table *table)
{
	__u32 at = table->shapes.table & 1;
	if (bpf_map_update_elem(plane->maps.fd[PLANE_MAP_shapes], &at, &table->shapes, BPF_ANY))
		return -errno;
	for (size_t i = 0; i < table->count; i++) {
		if (bpf_map_update_elem(plane->maps.fd[PLANE_MAP_entries], &table->keys[i],
					&table->entries[i], BPF_ANY))
			return -errno;
	}
	return 0;
}

static void put_in_force(struct dataplane *plane, uint32_t number)
{
	__atomic_store_n(&plane->maps.config->table, number, __ATOMIC_RELEASE);
	usleep(GRACE_US);
	delete_entries(plane, number);
}

/* 0 means "none", so it is passed over. */
static uint32_t number_after(uint32_t number)
{
	return number + 1 ? number + 1 : 1;
}

void dataplane_publish(struct dataplane *plane, const struct dataplane_route *routes, size_t count)
{
	struct plane_table table = {0};
	struct buf why = {0};
	plane->table = number_after(plane->table);
	plane_upstreams_begin(plane->upstreams);
	for (size_t i = 0; i < count; i++)
		atomic_store_explicit(&plane->sample_bytes[routes[i].slot],
				      routes[i].config->mirror.max_body_bytes, memory_order_relaxed);
	int err = plane_table_build(&table, plane->table, routes, count, index_of, plane->upstreams, &why);
	plane_neighbours_refresh(plane);
	if (!err)
		err = write_table(plane, &table);
	put_in_force(plane, err ? 0 : plane->table);
	plane_table_fini(&table);
	plane->table_refused = err != 0;
	if (err)
		log_warn("dataplane", "%s: the daemon alone serves these %zu routes",
			 why.len ? buf_cstr(&why) : strerror(-err), count);
	else
		log_debug("dataplane", "routing table %u: %zu routes", plane->table, count);
	buf_fini(&why);
}

void plane_table_prune(const struct dataplane *plane)
{
	delete_entries(plane, plane->maps.config->table);
}

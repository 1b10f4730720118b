/* SPDX-License-Identifier: Apache-2.0 */
/*
 * router: the table that finds a request's route among ten thousand; the method is in phoenix/route.h.
 *
 * Built once from patterns that were checked by the configuration, immutable afterwards, shared by all
 * workers without a lock. It refers to routes by the index they were given in.
 */
#ifndef PHOENIX_HTTP_ROUTER_H
#define PHOENIX_HTTP_ROUTER_H

#include "base/slice.h"

#include <phoenix/route.h>

#define ROUTER_NONE	      UINT32_MAX
#define ROUTER_HOST_BYTES_MAX 255

struct router_pattern {
	const char *host; /* lower case without port; NULL = any */
	const char *path;
	uint32_t method_mask;
};

struct router;

/* Copies what it needs. 0, -ENOMEM, or -EINVAL for a pattern that breaks the limits. */
int router_create(const struct router_pattern *patterns, size_t count, struct router **out);
void router_destroy(struct router *router);
/*
 * `host` is a Host value, port and letter case as they come; `path` has no query. Returns the index of the
 * most specific route that matches, or ROUTER_NONE. A path with more than PHX_SEGMENTS_MAX segments is
 * matched by its first PHX_SEGMENTS_MAX ones, so only "rest" routes can match it.
 */
uint32_t router_match(const struct router *router, enum phx_method method, struct slice host,
		      struct slice path);

/*
 * What the table is made of, for whoever builds the same one elsewhere (the NIC path). Shapes come from the
 * most to the least specific; the entries of one key are told apart by `nth`, the preferred one is 0.
 */
struct router_entry {
	uint64_t key; /* phx_shape_key() */
	uint32_t nth;
	uint32_t route; /* index of the pattern it was made from */
	uint32_t method_mask;
	uint32_t shape;
	struct slice host;    /* {NULL, 0} = any */
	struct slice pattern; /* as phx_compare_byte() takes it; the zero byte behind it is not counted */
};
const struct phx_shape *router_shapes(const struct router *router, uint32_t *count);
/* False when there are not so many. */
bool router_entry(const struct router *router, uint32_t index, struct router_entry *out);

#endif

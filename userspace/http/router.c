/* SPDX-License-Identifier: Apache-2.0 */
/*
 * router: see router.h. Entries of one shape and key form a chain in one open-addressed table, those that
 * name methods before those that take any; the chain also holds the rare entries whose hash collides, which
 * the byte comparison tells apart.
 */
#include "http/router.h"

#include <phoenix/head.h>

#include <errno.h>
#include <stdlib.h>

struct entry {
	uint64_t key;
	uint32_t route;
	uint32_t method_mask;
	uint32_t shape;
	uint32_t nth;  /* in the chain */
	uint32_t next; /* in the chain, by index + 1; 0 = last */
	char *host;
	uint8_t *pattern; /* phx_compare_byte() */
};

struct router {
	struct phx_shape *shapes; /* most specific first */
	uint32_t shape_count;
	struct entry *entries;
	uint32_t entry_count;
	uint32_t *buckets; /* index + 1 of a chain's first entry */
	uint32_t bucket_mask;
	bool any_hosted;
};

/* One pattern on its way into the table. */
struct draft {
	const struct router_pattern *pattern;
	struct phx_shape shape;
	__u64 hashes[PHX_SEGMENTS_MAX];
	uint32_t index;
};

/* Takes the next segment off `rest` (which begins behind a "/"); false when there is none. */
static bool next_segment(struct slice *rest, struct slice *segment)
{
	if (!rest->ptr)
		return false;
	const char *end = rest->len ? memchr(rest->ptr, '/', rest->len) : NULL;
	if (end) {
		*segment = slice_of(rest->ptr, (size_t)(end - rest->ptr));
		*rest = slice_of(end + 1, rest->len - segment->len - 1);
	} else {
		*segment = *rest;
		*rest = (struct slice){NULL, 0};
	}
	return true;
}

static uint64_t hash_bytes(struct slice s)
{
	uint64_t hash = PHX_SEGMENT_SEED;
	for (size_t i = 0; i < s.len; i++)
		hash = phx_segment_byte(hash, (uint8_t)s.ptr[i]);
	return hash;
}

static bool is_parameter(struct slice segment)
{
	return segment.len > 2 && segment.ptr[0] == '{' && segment.ptr[segment.len - 1] == '}';
}

/* Owned by the caller; NULL when out of memory. The path begins with "/". */
static uint8_t *pattern_compile(const char *path)
{
	struct slice rest = slice_str(path + 1), segment;
	uint8_t *pattern = malloc(rest.len + 2), *at = pattern;
	if (!pattern)
		return NULL;
	while (next_segment(&rest, &segment)) {
		if (!rest.ptr && slice_equal(segment, SLICE("*"))) {
			*at++ = PHX_PATTERN_REST;
			break;
		}
		if (is_parameter(segment)) {
			*at++ = PHX_PATTERN_PARAMETER;
		} else {
			memcpy(at, segment.ptr, segment.len);
			at += segment.len;
		}
		if (rest.ptr)
			*at++ = '/';
	}
	*at = 0;
	return pattern;
}

static int draft_init(struct draft *draft, const struct router_pattern *pattern, uint32_t index)
{
	*draft = (struct draft){.pattern = pattern, .index = index};
	draft->shape.hosted = pattern->host != NULL;
	if (pattern->path[0] != '/' || (pattern->host && strlen(pattern->host) > ROUTER_HOST_BYTES_MAX))
		return -EINVAL;
	struct slice rest = slice_str(pattern->path + 1), segment;
	while (next_segment(&rest, &segment)) {
		if (!rest.ptr && slice_equal(segment, SLICE("*"))) {
			draft->shape.rest = 1;
			break;
		}
		if (draft->shape.segments == PHX_SEGMENTS_MAX)
			return -EINVAL;
		uint32_t i = draft->shape.segments++;
		if (!is_parameter(segment)) {
			draft->shape.literals |= UINT64_C(1) << i;
			draft->hashes[i] = hash_bytes(segment);
		}
	}
	return 0;
}

/* Most specific first: host, then segment by segment literal < parameter < end < rest. */
static int shape_compare(const struct phx_shape *a, const struct phx_shape *b)
{
	if (a->hosted != b->hosted)
		return a->hosted ? -1 : 1;
	uint32_t shared = a->segments < b->segments ? a->segments : b->segments;
	for (uint32_t i = 0; i < shared; i++) {
		int la = (int)(a->literals >> i & 1), lb = (int)(b->literals >> i & 1);
		if (la != lb)
			return la ? -1 : 1;
	}
	if (a->segments != b->segments)
		return a->segments > b->segments ? -1 : 1;
	return (int)a->rest - (int)b->rest;
}

static int draft_compare(const void *left, const void *right)
{
	const struct draft *a = left, *b = right;
	int order = shape_compare(&a->shape, &b->shape);
	if (order)
		return order;
	bool a_any = a->pattern->method_mask == UINT32_MAX, b_any = b->pattern->method_mask == UINT32_MAX;
	if (a_any != b_any)
		return a_any ? 1 : -1;
	return a->index < b->index ? -1 : 1;
}

/* Appends an entry to its chain; entries come in order of preference. */
static void entry_link(struct router *router, struct entry *entry)
{
	uint32_t at = (uint32_t)entry->key & router->bucket_mask;
	while (router->buckets[at] && router->entries[router->buckets[at] - 1].key != entry->key)
		at = (at + 1) & router->bucket_mask;
	uint32_t *link = &router->buckets[at];
	for (; *link; link = &router->entries[*link - 1].next)
		entry->nth++;
	*link = (uint32_t)(entry - router->entries) + 1;
}

int router_create(const struct router_pattern *patterns, size_t count, struct router **out)
{
	int err = -ENOMEM;
	uint32_t buckets = 16;
	while (buckets < count * 2)
		buckets *= 2;
	struct router *router = calloc(1, sizeof(*router));
	struct draft *drafts = calloc(count + 1, sizeof(*drafts));
	if (!router || !drafts)
		goto fail;
	router->shapes = calloc(count + 1, sizeof(*router->shapes));
	router->entries = calloc(count + 1, sizeof(*router->entries));
	router->buckets = calloc(buckets, sizeof(*router->buckets));
	if (!router->shapes || !router->entries || !router->buckets)
		goto fail;
	router->bucket_mask = buckets - 1;
	for (size_t i = 0; i < count; i++) {
		err = draft_init(&drafts[i], &patterns[i], (uint32_t)i);
		if (err)
			goto fail;
	}
	qsort(drafts, count, sizeof(*drafts), draft_compare);
	err = -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct draft *draft = &drafts[i];
		uint32_t last = router->shape_count - 1;
		if (router->shape_count == 0 || shape_compare(&router->shapes[last], &draft->shape) != 0)
			router->shapes[router->shape_count++] = draft->shape;
		uint32_t shape = router->shape_count - 1;
		router->shapes[shape].routes++;
		struct entry *entry = &router->entries[router->entry_count++];
		const char *host = draft->pattern->host;
		*entry = (struct entry){
			.key = phx_shape_key(&draft->shape, shape, host ? hash_bytes(slice_str(host)) : 0,
					     draft->hashes),
			.route = draft->index,
			.method_mask = draft->pattern->method_mask,
			.shape = shape,
			.host = host ? strdup(host) : NULL,
			.pattern = pattern_compile(draft->pattern->path),
		};
		if (!entry->pattern || (host && !entry->host))
			goto fail;
		router->any_hosted |= host != NULL;
		entry_link(router, entry);
	}
	free(drafts);
	*out = router;
	return 0;
fail:
	free(drafts);
	router_destroy(router);
	return err;
}

void router_destroy(struct router *router)
{
	if (!router)
		return;
	for (uint32_t i = 0; i < router->entry_count; i++) {
		free(router->entries[i].host);
		free(router->entries[i].pattern);
	}
	free(router->entries);
	free(router->shapes);
	free(router->buckets);
	free(router);
}

/* Host without port, lower case. */
static struct slice host_normal(struct slice host, char out[ROUTER_HOST_BYTES_MAX + 1])
{
	size_t len = host.len;
	if (len && host.ptr[0] == '[') {
		const char *end = memchr(host.ptr, ']', len);
		if (end)
			len = (size_t)(end - host.ptr) + 1;
	} else {
		const char *colon = len ? memchr(host.ptr, ':', len) : NULL;
		if (colon)
			len = (size_t)(colon - host.ptr);
	}
	if (len > ROUTER_HOST_BYTES_MAX)
		return slice_of(out, 0);
	for (size_t i = 0; i < len; i++)
		out[i] = (char)phx_lower((uint8_t)host.ptr[i]);
	return slice_of(out, len);
}

/* Confirms a candidate byte by byte. `rest` is the path behind its leading "/". */
static bool entry_matches(const struct entry *entry, struct slice host, struct slice rest)
{
	if (entry->host && !slice_equal(slice_str(entry->host), host))
		return false;
	struct phx_compare compare = {0};
	for (size_t i = 0; i < rest.len && compare.state < PHX_COMPARE_REST; i++)
		phx_compare_byte(&compare, entry->pattern[compare.at], (uint8_t)rest.ptr[i]);
	return phx_compare_end(&compare, entry->pattern[compare.at]);
}

uint32_t router_match(const struct router *router, enum phx_method method, struct slice host,
		      struct slice path)
{
	struct phx_path read;
	if (path.len == 0)
		return ROUTER_NONE;
	struct slice rest = slice_of(path.ptr + 1, path.len - 1);
	phx_path_init(&read);
	for (size_t i = 0; i < rest.len; i++)
		phx_path_byte(&read, (uint8_t)rest.ptr[i]);
	phx_path_segment(&read);
	char host_bytes[ROUTER_HOST_BYTES_MAX + 1];
	struct slice host_name = router->any_hosted ? host_normal(host, host_bytes) : SLICE("");
	uint64_t host_hash = host_name.len ? hash_bytes(host_name) : 0;
	/* OTHER has no bit of its own in a list of methods; only "*" has all bits. */
	uint32_t method_bit = method == PHX_METHOD_OTHER ? UINT32_C(1) << 31 : PHX_METHOD_BIT(method);
	for (uint32_t i = 0; i < router->shape_count; i++) {
		const struct phx_shape *shape = &router->shapes[i];
		if (!phx_shape_fits(shape, read.segments) || (shape->hosted && !host_name.len))
			continue;
		uint64_t key = phx_shape_key(shape, i, host_hash, read.hashes);
		uint32_t at = (uint32_t)key & router->bucket_mask;
		while (router->buckets[at] && router->entries[router->buckets[at] - 1].key != key)
			at = (at + 1) & router->bucket_mask;
		for (uint32_t n = router->buckets[at]; n; n = router->entries[n - 1].next) {
			const struct entry *entry = &router->entries[n - 1];
			if (entry->key == key && entry->shape == i && (entry->method_mask & method_bit) &&
			    entry_matches(entry, host_name, rest))
				return entry->route;
		}
	}
	return ROUTER_NONE;
}

const struct phx_shape *router_shapes(const struct router *router, uint32_t *count)
{
	*count = router->shape_count;
	return router->shapes;
}

bool router_entry(const struct router *router, uint32_t index, struct router_entry *out)
{
	if (index >= router->entry_count)
		return false;
	const struct entry *entry = &router->entries[index];
	*out = (struct router_entry){
		.key = entry->key,
		.nth = entry->nth,
		.route = entry->route,
		.method_mask = entry->method_mask,
		.shape = entry->shape,
		.host = slice_str(entry->host),
		.pattern = slice_str((const char *)entry->pattern),
	};
	return true;
}

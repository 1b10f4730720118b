/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * steer: from a request's head to a side and its upstream: may the fast path take it, which route is it, what
 * does the policy say. The same tables, hashes and draws as the daemon's (phoenix/route.h, split.h).
 */
#ifndef PHOENIX_BPF_STEER_H
#define PHOENIX_BPF_STEER_H

#include "scan.h"

/* --- route ---------------------------------------------------------------------------------------------- */

static long path_step(__u32 i, struct work **argument)
{
	struct work *w = *argument;
	__u32 at = w->head.target_off + 1 + i;
	phx_path_byte(&w->path, w->payload[at & BYTES_MASK]);
	return 0;
}

/* Host without port, lower case: hashed as the table's hosts were (userspace/http/router.c). */
static long host_step(__u32 i, struct work **argument)
{
	struct work *w = *argument;
	__u8 c = w->payload[(w->host_off + i) & BYTES_MASK];
	if (i >= w->host_len)
		return 1;
	if (w->host_done == 2 || (c == ':' && w->host_done == 0)) {
		w->host_len = i;
		return 1;
	}
	if (c == '[')
		w->host_done = 1; /* an IPv6 literal: colons belong to it */
	if (c == ']')
		w->host_done = 2;
	w->host_hash = phx_segment_byte(w->host_hash, phx_lower(c));
	return 0;
}

struct confirm {
	struct work *w;
	const struct phx_entry *entry;
};

static long pattern_step(__u32 i, struct confirm *confirm)
{
	struct work *w = confirm->w;
	__u32 at = w->compare.at;
	if (at >= PHX_PATTERN_BYTES)
		return 1;
	phx_compare_byte(&w->compare, confirm->entry->pattern[at],
			 w->payload[(w->head.target_off + 1 + i) & BYTES_MASK]);
	return w->compare.state >= PHX_COMPARE_REST;
}

static long host_same_step(__u32 i, struct confirm *confirm)
{
	struct work *w = confirm->w;
	if (i >= PHX_HOST_BYTES)
		return 1;
	if (phx_lower(w->payload[(w->host_off + i) & BYTES_MASK]) == confirm->entry->host[i])
		return 0;
	w->compare.state = PHX_COMPARE_DIFFERS;
	return 1;
}

/* Byte by byte: hashes only find candidates. */
static __always_inline int entry_matches(struct work *w, const struct phx_entry *entry)
{
	struct confirm confirm = {w, entry};
	w->compare.at = 0;
	w->compare.state = PHX_COMPARE_LITERAL;
	if (entry->host_len) {
		if (entry->host_len != w->host_len)
			return 0;
		bpf_loop(entry->host_len, host_same_step, &confirm, 0);
		if (w->compare.state == PHX_COMPARE_DIFFERS)
			return 0;
	}
	bpf_loop(w->head.path_len - 1, pattern_step, &confirm, 0);
	__u32 at = w->compare.at;
	return at < PHX_PATTERN_BYTES && phx_compare_end(&w->compare, entry->pattern[at]);
}

struct lookup {
	struct work *w;
	struct phx_shape_table *table;
};

struct keying {
	struct work *w;
	__u64 literals;
	__u64 key;
};

static long key_step(__u32 i, struct keying *keying)
{
	if (i >= PHX_SEGMENTS_MAX)
		return 1;
	if (keying->literals >> i & 1)
		keying->key = phx_mix64(keying->key ^ (keying->w->path.hashes[i] + i));
	return 0;
}

/* phx_shape_key(), with its loop in the form that the verifier sees through. */
static __always_inline __u64 shape_key(struct work *w, const struct phx_shape *shape, __u32 number)
{
	struct keying keying = {w, shape->literals,
				phx_mix64(number + 1) ^ (shape->hosted ? w->host_hash : 0)};
	bpf_loop(shape->segments, key_step, &keying, 0);
	return keying.key;
}

static long shape_step(__u32 i, struct lookup *lookup)
{
	struct work *w = lookup->w;
	if (i >= PHX_SHAPES)
		return 1;
	const struct phx_shape *shape = &lookup->table->shape[i];
	if (!phx_shape_fits(shape, w->path.segments) || (shape->hosted && !w->host_len))
		return 0;
	struct phx_entry_key key = {shape_key(w, shape, i), lookup->table->table, 0};
	for (__u32 nth = 0; nth < PHX_CHAIN; nth++) {
		key.nth = nth;
		struct phx_entry *entry = bpf_map_lookup_elem(&phx_entries, &key);
		if (!entry)
			return 0;
		if (entry->shape != i || !(entry->method_mask & w->method_bit))
			continue;
		/* A route of the daemon's may have a pattern that does not fit here: its key is enough. */
		if (!entry->daemon && !entry_matches(w, entry))
			continue;
		w->entry = *entry;
		w->found = 1;
		return 1;
	}
	return 0;
}

/* Finds w->entry for the head in w. Returns w->found. */
__noinline int find_route(void)
{
	struct work *w = get_work(0);
	struct phx_config *config = get_config();
	if (!w || !config)
		return 0;
	w->found = 0;
	__u32 parity = config->table & 1;
	struct phx_shape_table *table = bpf_map_lookup_elem(&phx_shapes, &parity);
	if (!table || table->table != config->table)
		return 0;
	/* As http/router.c: OTHER has no bit in a list of methods; only "*" has all bits. */
	w->method_bit = w->head.method == PHX_METHOD_OTHER ? 1u << 31 : 1u << (w->head.method & 31);
	phx_path_init(&w->path);
	bpf_loop(w->head.path_len - 1, path_step, &w, 0);
	phx_path_segment(&w->path);
	w->host_hash = PHX_SEGMENT_SEED;
	w->host_done = 0;
	if (table->hosted)
		bpf_loop(256, host_step, &w, 0);
	struct lookup lookup = {w, table};
	bpf_loop(table->count, shape_step, &lookup, 0);
	return w->found;
}

/* --- may it, and whereto -------------------------------------------------------------------------------- */

/* Reads the head at w->payload[0..loaded). Returns enum phx_reason; NONE: whole and one for the fast path. */
static __always_inline __u32 read_request(struct work *w, const struct phx_config *config)
{
	phx_head_init(&w->head, 0);
	w->scan_at = 0;
	w->scan_end = w->payload_len;
	w->odd = w->host_len = w->host_off = 0;
	int result = scan_head();
	if (result != PHX_HEAD_DONE)
		return result == PHX_HEAD_REFUSED ? PHX_REASON_REFUSED : PHX_REASON_INCOMPLETE;
	const struct phx_head *h = &w->head;
	if ((config->head_max_bytes && h->pos > config->head_max_bytes) ||
	    (config->fields_max && h->fields > config->fields_max))
		return PHX_REASON_HEAD;
	if (h->minor == 0)
		return PHX_REASON_VERSION;
	if (h->flags & PHX_HEAD_CLOSE)
		return PHX_REASON_CLOSE;
	if (h->flags & PHX_HEAD_CHUNKED)
		return PHX_REASON_CHUNKED;
	if (w->odd || (h->flags & (PHX_HEAD_UPGRADE | PHX_HEAD_NOMINATES | PHX_HEAD_BLANK_FIRST)))
		return PHX_REASON_FIELDS;
	if (h->method == PHX_METHOD_CONNECT || h->path_len == 0 ||
	    w->payload[h->target_off & BYTES_MASK] != '/')
		return PHX_REASON_METHOD;
	__u64 length = h->flags & PHX_HEAD_HAS_LENGTH ? h->content_length : 0;
	if (length > (1 << 30) || (config->body_max_bytes && length > config->body_max_bytes))
		return PHX_REASON_BODY;
	if (w->payload_len > h->pos + length)
		return PHX_REASON_PIPELINED;
	return PHX_REASON_NONE;
}

static __always_inline __u64 hash_client(const struct work *w, const struct phx_config *config)
{
	struct phx_sip sip;
	phx_sip_begin(&sip, config->split_key[0], config->split_key[1]);
	if (!w->v6)
		return phx_sip_end(&sip, w->src.word[3], 4);
	phx_sip_word(&sip, (__u64)w->src.word[1] << 32 | w->src.word[0]);
	phx_sip_word(&sip, (__u64)w->src.word[3] << 32 | w->src.word[2]);
	return phx_sip_end(&sip, 0, 16);
}

static __always_inline int daemon_is_dead(const struct work *w, const struct phx_config *config)
{
	__u64 heartbeat_ns = *(volatile const __u64 *)&config->heartbeat_ns;
	return config->dead_after_ns && (__s64)(w->now - heartbeat_ns) > (__s64)config->dead_after_ns;
}

static __always_inline int kill_switch_is_on(void)
{
	__u32 zero = 0;
	const struct phx_kill *kill_switch = bpf_map_lookup_elem(&phx_kill, &zero);
	return kill_switch && *(volatile const __u32 *)&kill_switch->to_legacy;
}

/* Every request to legacy, whatever the weight is? */
static __always_inline int forced_to_legacy(const struct work *w, const struct phx_config *config)
{
	return kill_switch_is_on() || (config->dead_then == PHX_DEAD_LEGACY && daemon_is_dead(w, config));
}

/* Is there nobody to read samples, or nobody who wants them? */
static __always_inline int nobody_compares(const struct work *w, const struct phx_config *config)
{
	return kill_switch_is_on() || (config->dead_then != PHX_DEAD_CONTINUE && daemon_is_dead(w, config));
}

/* The share of the next draw, without drawing when `peek`. */
static __always_inline __u32 choose_side(struct work *w, const struct phx_config *config,
					 const struct phx_policy *policy, struct phx_cursor *cursor, int peek)
{
	/* The step is read before the weight: evidence may be counted for an older step, never a newer one.
	 */
	w->step = *(volatile const __u32 *)&policy->step;
	__u32 weight_bp = *(volatile const __u32 *)&policy->weight_bp;
	w->drawn = ~0ULL;
	w->forced = 0;
	if (weight_bp == 0)
		return PHX_LEGACY;
	if (forced_to_legacy(w, config)) {
		w->forced = 1;
		return PHX_LEGACY;
	}
	if (weight_bp >= PHX_WEIGHT_ONE)
		return PHX_MODERN;
	if (policy->split_by == PHX_SPLIT_CLIENT_IP)
		return phx_split_by_key(hash_client(w, config), weight_bp) ? PHX_MODERN : PHX_LEGACY;
	__u64 n = peek ? cursor->split_next : __sync_fetch_and_add(&cursor->split_next, 1);
	w->drawn = n;
	return phx_split_by_request(n, weight_bp, config->split_seed ^ w->slot) ? PHX_MODERN : PHX_LEGACY;
}

/* The daemon will draw for this request: what was drawn here goes back, unless somebody drew behind it. */
static __always_inline void give_back_draw(struct work *w)
{
	struct phx_cursor *cursor = bpf_map_lookup_elem(&phx_cursors, &w->slot);
	if (cursor && w->drawn != ~0ULL)
		__sync_val_compare_and_swap(&cursor->split_next, w->drawn + 1, w->drawn);
}

static __always_inline int choose_sample(struct work *w, const struct phx_config *config,
					 const struct phx_policy *policy, struct phx_cursor *cursor, int peek)
{
	if (policy->sample_bp == 0 || nobody_compares(w, config))
		return 0;
	if (!(policy->flags & PHX_ROUTE_MIRROR_UNSAFE) && !(PHX_METHODS_SAFE >> (w->head.method & 31) & 1))
		return 0;
	__u64 n = peek ? cursor->sample_next : __sync_fetch_and_add(&cursor->sample_next, 1);
	return phx_split_by_request(n, policy->sample_bp, ~config->split_seed ^ w->slot);
}

/*
 * Route, step, side and upstream of the request in w. Returns enum phx_reason. With `peek` nothing is drawn.
 */
__noinline int steer(int peek)
{
	struct work *w = get_work(0);
	struct phx_config *config = get_config();
	if (!w || !config)
		return PHX_REASON_NO_TABLE;
	w->slot = PHX_SLOT_NONE;
	w->upstream = PHX_NO_UPSTREAM;
	w->side = PHX_LEGACY;
	w->drawn = ~0ULL;
	__u32 reason = read_request(w, config);
	if (reason)
		return reason;
	if (config->table == 0)
		return PHX_REASON_NO_TABLE;
	if (!find_route())
		return PHX_REASON_NO_ROUTE;
	w->slot = w->entry.slot;
	w->generation = w->entry.generation;
	struct phx_policy *policy = bpf_map_lookup_elem(&phx_policy, &w->slot);
	struct phx_cursor *cursor = bpf_map_lookup_elem(&phx_cursors, &w->slot);
	if (!policy || !cursor || w->entry.daemon || !(policy->flags & PHX_ROUTE_ACTIVE))
		return PHX_REASON_ROUTE;
	if (policy->split_by > PHX_SPLIT_CLIENT_IP)
		return PHX_REASON_SPLIT;
	w->side = choose_side(w, config, policy, cursor, peek);
	if (w->forced && !peek)
		COUNT(forced_legacy);
	w->upstream = w->entry.upstream[w->side & 1];
	if (policy->flags & (w->side ? PHX_ROUTE_MODERN_DOWN : PHX_ROUTE_LEGACY_DOWN))
		return PHX_REASON_DOWN;
	struct phx_upstream *upstream = bpf_map_lookup_elem(&phx_upstreams, &w->upstream);
	if (!upstream || !(upstream->flags & PHX_UPSTREAM_KNOWN))
		return PHX_REASON_ROUTE;
	if (upstream->flags & PHX_UPSTREAM_UNFIT)
		return PHX_REASON_UNFIT;
	if (w->now < upstream->avoid_until_ns)
		return PHX_REASON_DOWN;
	if ((upstream->addr.word[2] == bpf_htonl(0xffff) && upstream->addr.word[0] == 0) == w->v6)
		return PHX_REASON_FAMILY;
	return PHX_REASON_NONE;
}

/* The sampling draw, once the request is surely the fast path's. */
static __always_inline void draw_sample(struct work *w, int peek)
{
	struct phx_config *config = get_config();
	struct phx_policy *policy = bpf_map_lookup_elem(&phx_policy, &w->slot);
	struct phx_cursor *cursor = bpf_map_lookup_elem(&phx_cursors, &w->slot);
	w->sampled = config && policy && cursor && choose_sample(w, config, policy, cursor, peek);
}

#endif

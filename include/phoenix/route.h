/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * route: which route a request belongs to, by tuple space search (Srinivasan, Suri, Varghese 1999).
 *
 * A path pattern is a list of segments: literals, {parameters}, and perhaps "*" for the rest. Patterns that
 * have literals, parameters and rest in the same places have the same *shape*. There are few shapes even
 * with ten thousand routes, so a lookup goes through the shapes from the most to the least specific and does
 * one hash lookup in each, over the literal segments that this shape looks at. No backtracking, no linear
 * search, a bounded loop: what the verifier can prove as well.
 *
 * Order of preference, which README states: a route with a host before one without; then, segment by segment
 * from the left, literal before parameter before rest; then a route that names methods before one with "*".
 * A route whose path fits but whose methods do not is passed over.
 *
 * Paths are compared byte for byte, as they were sent: no decoding, no merging of slashes.
 */
#ifndef PHOENIX_ROUTE_H
#define PHOENIX_ROUTE_H

#include <phoenix/abi.h>
#include <phoenix/split.h>

#define PHX_SEGMENTS_MAX 64u

/* A segment's hash is built a byte at a time while the path is scanned (FNV-1a, finished by a mixer). It
 * only finds candidates: a match is confirmed by comparing bytes. */
#define PHX_SEGMENT_SEED 0xcbf29ce484222325ULL

static inline __u64 phx_segment_byte(__u64 hash, __u8 c)
{
	return (hash ^ c) * 0x100000001b3ULL;
}

/* A shape: bit i of `literals` is set where segment i is a literal. */
struct phx_shape {
	__u64 literals;
	__u32 segments; /* before the rest */
	__u32 rest;	/* 1: ends in "*", which takes one segment or more, the first perhaps empty */
	__u32 hosted;	/* 1: routes of this shape name a host */
	__u32 routes;
};

/* May a path of `segments` segments have this shape? (Empty parameters are refused when bytes are compared.)
 */
static inline int phx_shape_fits(const struct phx_shape *shape, __u32 segments)
{
	return shape->rest ? segments > shape->segments : segments == shape->segments;
}

/* The key of what a shape looks at: its number, the host, and the literal segments in their places. */
static inline __u64 phx_shape_key(const struct phx_shape *shape, __u32 number, __u64 host_hash,
				  const __u64 *segment_hashes)
{
	__u64 key = phx_mix64(number + 1) ^ (shape->hosted ? host_hash : 0);
	for (__u32 i = 0; i < shape->segments && i < PHX_SEGMENTS_MAX; i++) {
		if (shape->literals >> i & 1)
			key = phx_mix64(key ^ (segment_hashes[i] + i));
	}
	return key;
}

/* A request's path, read once from the byte behind its leading "/". */
struct phx_path {
	__u64 hashes[PHX_SEGMENTS_MAX]; /* of the first so many segments */
	__u64 hash;			/* of the segment being read */
	__u32 segments;			/* whole ones */
	__u32 zero;
};

static inline void phx_path_init(struct phx_path *path)
{
	path->hash = PHX_SEGMENT_SEED;
	path->segments = 0;
}

/* A segment is over: at a "/" and at the path's end. */
static inline void phx_path_segment(struct phx_path *path)
{
	if (path->segments < PHX_SEGMENTS_MAX)
		path->hashes[path->segments & (PHX_SEGMENTS_MAX - 1)] = path->hash;
	path->segments++;
	path->hash = PHX_SEGMENT_SEED;
}

static inline void phx_path_byte(struct phx_path *path, __u8 c)
{
	if (c == '/')
		phx_path_segment(path);
	else
		path->hash = phx_segment_byte(path->hash, c);
}

/*
 * A pattern as it is compared: without the leading "/", each parameter as the one byte PHX_PATTERN_PARAMETER,
 * the rest as PHX_PATTERN_REST (neither can be in a path), and a zero byte at the end.
 */
#define PHX_PATTERN_PARAMETER 1
#define PHX_PATTERN_REST      2

enum phx_compare_state {
	PHX_COMPARE_LITERAL = 0,
	PHX_COMPARE_PARAMETER, /* inside one */
	PHX_COMPARE_REST,      /* whatever comes matches */
	PHX_COMPARE_DIFFERS,
};

struct phx_compare {
	__u32 at; /* in the pattern */
	__u32 state;
};

/* The path's next byte, against the pattern's byte at compare->at. */
static inline void phx_compare_byte(struct phx_compare *compare, __u8 pattern, __u8 c)
{
	if (compare->state >= PHX_COMPARE_REST)
		return;
	if (compare->state == PHX_COMPARE_PARAMETER) {
		if (c != '/')
			return;
		compare->state = PHX_COMPARE_LITERAL;
	}
	if (pattern == PHX_PATTERN_REST) {
		compare->state = PHX_COMPARE_REST;
	} else if (pattern == PHX_PATTERN_PARAMETER) {
		compare->state = c == '/' ? PHX_COMPARE_DIFFERS : PHX_COMPARE_PARAMETER;
		compare->at++;
	} else if (pattern == c) {
		compare->at++;
	} else {
		compare->state = PHX_COMPARE_DIFFERS;
	}
}

/* The path is over; `pattern` is the byte at compare->at. */
static inline int phx_compare_end(const struct phx_compare *compare, __u8 pattern)
{
	if (compare->state == PHX_COMPARE_LITERAL)
		return pattern == 0 || pattern == PHX_PATTERN_REST;
	return compare->state == PHX_COMPARE_REST ||
	       (compare->state == PHX_COMPARE_PARAMETER && pattern == 0);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * abi: what kernel and user space share, byte for byte.
 *
 * The policy of a route is one small struct in an array indexed by the route's slot. The array lies either
 * in a BPF map that the daemon has mapped into its memory, or, without privileges, in ordinary memory: the
 * same bytes either way. `bpftool map update`, REST and the arbiter all end in one store to weight_bp, and
 * both paths read it once per request.
 *
 * Lists of outcomes are X-macros X(NAME, "help"): one table gives the enum, the counter and the metric.
 */
#ifndef PHOENIX_ABI_H
#define PHOENIX_ABI_H

#include <linux/types.h>

#define PHX_WEIGHT_ONE	10000u /* basis points in "every request" */
#define PHX_ROUTE_SLOTS 16384u
#define PHX_SLOT_NONE	0xffffffffu

enum phx_side {
	PHX_LEGACY = 0,
	PHX_MODERN = 1,
};

/* Methods that a route can name. The order is the bit in a route's method mask; OTHER is any other token,
 * which only "*" matches. */
#define PHX_METHODS(X)                                                                                       \
	X(GET)                                                                                               \
	X(HEAD)                                                                                              \
	X(POST)                                                                                              \
	X(PUT)                                                                                               \
	X(DELETE)                                                                                            \
	X(PATCH)                                                                                             \
	X(OPTIONS)                                                                                           \
	X(TRACE)                                                                                             \
	X(CONNECT)                                                                                           \
	X(PROPFIND)                                                                                          \
	X(PROPPATCH)                                                                                         \
	X(MKCOL)                                                                                             \
	X(COPY)                                                                                              \
	X(MOVE)                                                                                              \
	X(LOCK)                                                                                              \
	X(UNLOCK)                                                                                            \
	X(REPORT)                                                                                            \
	X(SEARCH)                                                                                            \
	X(PURGE)                                                                                             \
	X(QUERY)

enum phx_method {
#define X(name) PHX_METHOD_##name,
	PHX_METHODS(X)
#undef X
		PHX_METHOD_OTHER,
	PHX_METHOD_COUNT,
};

#define PHX_METHOD_BIT(m) (1u << (m))
/* RFC 9110 9.2.1, RFC 4918, RFC 5323 and the QUERY draft: they ask and do not change. */
#define PHX_METHODS_SAFE                                                                                     \
	(PHX_METHOD_BIT(PHX_METHOD_GET) | PHX_METHOD_BIT(PHX_METHOD_HEAD) |                                  \
	 PHX_METHOD_BIT(PHX_METHOD_OPTIONS) | PHX_METHOD_BIT(PHX_METHOD_TRACE) |                             \
	 PHX_METHOD_BIT(PHX_METHOD_PROPFIND) | PHX_METHOD_BIT(PHX_METHOD_REPORT) |                           \
	 PHX_METHOD_BIT(PHX_METHOD_SEARCH) | PHX_METHOD_BIT(PHX_METHOD_QUERY))
/* RFC 9110 9.2.2: sending twice does what sending once does. */
#define PHX_METHODS_IDEMPOTENT                                                                               \
	(PHX_METHODS_SAFE | PHX_METHOD_BIT(PHX_METHOD_PUT) | PHX_METHOD_BIT(PHX_METHOD_DELETE))

enum phx_split_by {
	PHX_SPLIT_REQUEST = 0,
	PHX_SPLIT_CLIENT_IP,
	PHX_SPLIT_HEADER,
	PHX_SPLIT_COOKIE,
};

enum phx_route_flag {
	PHX_ROUTE_ACTIVE = 1 << 0,	  /* the slot holds a route */
	PHX_ROUTE_MIRROR_UNSAFE = 1 << 1, /* unsafe methods are sampled too */
	PHX_ROUTE_LEGACY_DOWN = 1 << 2,	  /* upstream health, set by the daemon */
	PHX_ROUTE_MODERN_DOWN = 1 << 3,
};

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

/* What decides a request's way. Written by control/traffic alone; read with one relaxed load a field. */
struct phx_policy {
	__u32 weight_bp; /* share of requests for modern; 0 = none, 10000 = all, absolute */
	__u32 sample_bp; /* share of exchanges to compare */
	enum phx_split_by split_by;
	__u32 flags;	    /* enum phx_route_flag */
	__u32 step;	    /* evidence belongs to the step it was taken in; bumped at each change */
	__u32 epoch;	    /* of the weight: how many times it was set */
	__u32 reserved[10]; /* zero; one cache line a route */
};

/* Where the low-discrepancy sequences of a route stand: apart from the policy, because every request
 * writes here and nobody else's cache line should suffer. */
struct phx_cursor {
	__u64 split_next;
	__u64 sample_next;
	__u64 reserved[6];
};

/* The kill switch, one for the whole gateway: both paths send every request to legacy and copy none to
 * modern, whatever the weights say. A map of its own (phx_kill), so that one line of bpftool turns it. */
struct phx_kill {
	__u32 to_legacy; /* 0: off */
	__u32 zero;
};

#pragma GCC diagnostic pop

_Static_assert(sizeof(struct phx_policy) == 64, "one cache line");
_Static_assert(sizeof(struct phx_cursor) == 64, "one cache line");

#endif

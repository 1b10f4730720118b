/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow: what the NIC path (bpf/) and the daemon's dataplane/ share beyond the policy: its configuration, the
 * routing table, upstreams, flows, counters and the records of sampled exchanges.
 *
 * A *flow* is a client's connection that the XDP program serves without a socket. It owns one gateway port,
 * and that port's index is where it lies in the flow table. Towards upstreams it has *legs*: one TCP
 * connection to each upstream it has used, all from that same port, so that a packet that comes back finds
 * its flow by its destination port alone. Legs outlive flows: the next client that gets the port finds them
 * warm.
 *
 * Sequence numbers are kept in two spaces: "client" (as the client's packets carry them) and "leg" (as the
 * upstream's do). A leg's two deltas translate; they are computed anew when the flow switches to it.
 *
 * Addresses are 16 bytes, IPv4 mapped into ::ffff:0:0/96 (RFC 4291 2.5.5.2). Ports and numbers are host order
 * unless the type says __be.
 */
#ifndef PHOENIX_FLOW_H
#define PHOENIX_FLOW_H

#include <phoenix/abi.h>
#include <phoenix/head.h>
#include <phoenix/route.h>

#define PHX_ABI		    2u /* of everything in this file: maps pinned by another one are not adopted */
#define PHX_LEGS	    8u
#define PHX_UPSTREAMS	    4096u
#define PHX_SHAPES	    64u /* path shapes in one routing table; more: the daemon serves all */
#define PHX_CHAIN	    8u	/* entries of one key */
#define PHX_PATTERN_BYTES   160u
#define PHX_HOST_BYTES	    64u
#define PHX_FRAME_BYTES	    2048u /* what the programs can look at of one packet: more than any MTU of 1500 */
#define PHX_STASHES	    4096u
#define PHX_LATENCY_BUCKETS 80u
#define PHX_NO_UPSTREAM	    0xffffffffu
#define PHX_WINDOW_SCALE    7u /* what the gateway says of itself on both sides */
#define PHX_SYN_TRIES	    3u
#define PHX_CLOCK_SHIFT	    35u /* cookie epochs: 2^35 ns, 34 s */
#define PHX_COOKIE_EPOCHS   4u	/* so many of them back are taken: an idle client may wait for 103 s */
#define PHX_KEY_SHIFT	    7u	/* a cookie key reigns for 2^7 epochs, 73 minutes */

/* What became of a packet: X(NAME, "help"). Every packet to a listener or an upstream's answer is counted
 * once. */
#define PHX_VERDICTS(X)                                                                                      \
	X(OTHER, "not for a listener and not from an upstream: passed to the kernel")                        \
	X(SYN_COOKIE, "a SYN answered with a cookie, no state kept")                                         \
	X(HANDSHAKE, "the ACK that ends a cookie handshake")                                                 \
	X(REQUEST, "a request head routed and sent on")                                                      \
	X(REQUEST_SYN, "a request head stashed; a SYN went to the upstream in its place")                    \
	X(REQUEST_BODY, "more of a request's body, sent on")                                                 \
	X(REQUEST_AGAIN, "a retransmitted piece of a request, sent on again")                                \
	X(REQUEST_TRIMMED, "what belongs to the request sent on, the rest cut off")                          \
	X(REPLAY, "the upstream's SYN-ACK turned into the stashed request")                                  \
	X(REPLAY_TC, "the same, left to the tc program because the frame could not grow")                    \
	X(ACK_UP, "a client's ACK sent on")                                                                  \
	X(RESPONSE, "a piece of a response sent on")                                                         \
	X(RESPONSE_TRIMMED, "what belongs to the response sent on, junk behind it cut off")                  \
	X(ACK_DOWN, "an upstream's ACK sent on")                                                             \
	X(ACK_REPLY, "answered with an ACK by the program itself")                                           \
	X(CLIENT_FIN, "a client closed between two requests and was answered")                               \
	X(CLIENT_RST, "a client reset its connection")                                                       \
	X(UPSTREAM_FIN, "an upstream closed an idle leg and was answered")                                   \
	X(UPSTREAM_RST, "an upstream reset a leg")                                                           \
	X(FIN_UP, "a client's FIN sent on")                                                                  \
	X(FIN_DOWN, "an upstream's FIN sent on: it ends the response")                                       \
	X(RST_REPLY, "answered with a reset: the leg or the connection is not known here")                   \
	X(BAD_GATEWAY, "an upstream's broken response answered with 502")                                    \
	X(CHALLENGE, "a SYN on a live flow answered with a challenge ACK (RFC 5961 4)")                      \
	X(ICMP, "a \"packet too big\" about a flow: sent on to its client, or the flow marked as narrow")    \
	X(KERNEL, "passed: the kernel has a socket for it")                                                  \
	X(HAND_OVER, "passed to the daemon: its connection is the kernel's from now on")                     \
	X(WAIT, "dropped: comes before its time, TCP will send it again")                                    \
	X(STALE, "dropped: nothing new in it")                                                               \
	X(INVALID, "dropped: not acceptable on this flow (RFC 9293 3.10.7)")                                 \
	X(BUSY, "dropped: another CPU holds the flow for too long")                                          \
	X(TTL, "dropped: the hop limit is used up")                                                          \
	X(BAD_CHECKSUM, "passed: the checksum is not complete (an offload is on) or wrong")                  \
	X(FAILED, "dropped: a helper of the kernel failed")

/* Why a request or a connection went to the daemon: X(NAME, "help"). */
#define PHX_REASONS(X)                                                                                       \
	X(NONE, "it did not")                                                                                \
	X(NO_TABLE, "no routing table is in force (the daemon is starting, or stopped the fast path)")       \
	X(DRAINING, "the fast path is being drained")                                                        \
	X(INCOMPLETE, "the head does not end in its first segment")                                          \
	X(REFUSED, "the head is not valid HTTP")                                                             \
	X(VERSION, "HTTP/1.0")                                                                               \
	X(CLOSE, "Connection: close")                                                                        \
	X(CHUNKED, "a chunked request body")                                                                 \
	X(FIELDS, "a field that must not go on as it is (Connection, TE, Upgrade, Expect, Forwarded, ...)")  \
	X(METHOD, "CONNECT, or a target in another form than /path")                                         \
	X(PIPELINED, "the next request came before this one's answer")                                       \
	X(NO_ROUTE, "no route matches")                                                                      \
	X(ROUTE, "the route is one for the daemon (a base path, a long pattern, a name without address)")    \
	X(SPLIT, "the route splits by a header or cookie")                                                   \
	X(HEAD, "the head is over a limit")                                                                  \
	X(BODY, "the body is over a limit")                                                                  \
	X(BODY_FIRST, "a body in several segments on a leg that is not open yet")                            \
	X(DOWN, "the upstream is marked down, or refused a connection a moment ago")                         \
	X(FAMILY, "client and upstream speak different versions of IP")                                      \
	X(NEIGHBOUR, "no route or neighbour entry for the upstream yet")                                     \
	X(MTU, "the upstream takes smaller segments than the client was promised")                           \
	X(UNFIT, "the upstream's responses need the daemon (they name hop-by-hop fields)")                   \
	X(FULL, "no free port for another flow")                                                             \
	X(SYN_TIMEOUT, "the upstream did not answer the SYN")                                                \
	X(LEG_LOST, "the upstream closed the leg before it had seen the request")                            \
	X(FIN, "a FIN together with a request")                                                              \
	X(CHECKSUM, "the checksum is not complete or wrong")

#define X(name, help) PHX_VERDICT_##name,
enum phx_verdict { PHX_VERDICTS(X) PHX_VERDICT_COUNT };
#undef X
#define X(name, help) PHX_REASON_##name,
enum phx_reason { PHX_REASONS(X) PHX_REASON_COUNT };
#undef X

enum phx_mode {
	PHX_MODE_OFF = 0, /* everything to the kernel; flows in flight go on */
	PHX_MODE_RUN,
	PHX_MODE_DRAIN, /* no new flows; those there are go to the daemon at their next boundary */
};

/* What the programs do once the daemon has not said for dead_after_ns that it lives. */
enum phx_dead_man {
	PHX_DEAD_CONTINUE = 0, /* nothing changes, samples are still taken for whoever comes next */
	PHX_DEAD_FREEZE,       /* weights stay as they are, nothing is sampled */
	PHX_DEAD_LEGACY,       /* every new request to legacy, nothing is sampled, until the daemon is back */
};

enum phx_flow_state {
	PHX_FLOW_FREE = 0, /* no client; legs may be warm */
	PHX_FLOW_OPEN,
	PHX_FLOW_HANDED,  /* the next packet that has a request's first byte goes to the daemon */
	PHX_FLOW_CLOSING, /* the client's FIN was answered; waits for its last ACK */
};

enum phx_flow_flag {
	PHX_FLOW_ACTIVE = 1 << 0,	/* a request is under way on leg `active` */
	PHX_FLOW_COUNTED = 1 << 1,	/* it is in the statistics */
	PHX_FLOW_END_KNOWN = 1 << 2,	/* response_end is known */
	PHX_FLOW_ANSWERED = 1 << 3,	/* a byte of the response was sent on */
	PHX_FLOW_SERVED = 1 << 4,	/* its last byte was: served_ns is valid */
	PHX_FLOW_CLOSES = 1 << 5,	/* the response says that its connection will close */
	PHX_FLOW_HEAD_REQUEST = 1 << 6, /* HEAD: the response has no body */
	PHX_FLOW_SAMPLED = 1 << 7,
	PHX_FLOW_SYNTHETIC = 1 << 8,
	PHX_FLOW_REPLAY = 1 << 9, /* the stash waits for the tc program */
	/* of the connection, not of the request */
	PHX_FLOW_PIPELINES = 1 << 16,  /* the client sends ahead: to the daemon at the next boundary */
	PHX_FLOW_CLIENT_FIN = 1 << 17, /* the client's FIN was sent on */
	PHX_FLOW_FIN_DOWN = 1 << 18,   /* a FIN was sent to the client */
	PHX_FLOW_SACK = 1 << 19,
	PHX_FLOW_V6 = 1 << 20,
	PHX_FLOW_NARROW = 1 << 21, /* its path takes less than our MTU: fragments, then the daemon */
};
#define PHX_FLOW_OF_REQUEST 0xffffu

enum phx_leg_state {
	PHX_LEG_NONE = 0,
	PHX_LEG_SYN_SENT,
	PHX_LEG_OPEN,
	PHX_LEG_ENDING, /* the upstream sent a FIN that waits: no more requests on it */
};

enum phx_leg_option {
	PHX_LEG_SACK = 1 << 0,
	PHX_LEG_SCALED = 1 << 1, /* windows are scaled in both directions */
};

/* How the body of the response under way is framed. */
enum phx_body {
	PHX_BODY_HEAD = 0, /* the head is still being read */
	PHX_BODY_LENGTH,
	PHX_BODY_CHUNKED,
	PHX_BODY_COUNTED, /* a length of which no end can be given in 32 bits yet */
	PHX_BODY_CLOSE,	  /* until the upstream's FIN */
};

enum phx_upstream_flag {
	PHX_UPSTREAM_KNOWN = 1 << 0, /* the address is known */
	PHX_UPSTREAM_UNFIT = 1 << 1, /* set by the program, cleared by the daemon */
};

enum phx_record_kind {
	PHX_RECORD_REQUEST = 1, /* payload: bytes of the request from `offset` on */
	PHX_RECORD_RESPONSE,
	PHX_RECORD_END, /* no payload: lengths and how it ended */
};

enum phx_end {
	PHX_END_WHOLE = 0,    /* the client acknowledged the whole response */
	PHX_END_CLIENT_GONE,  /* the client reset or left before */
	PHX_END_UPSTREAM_CUT, /* the upstream closed or reset before the response was whole */
	PHX_END_INVALID,      /* the upstream's response was not valid HTTP */
	PHX_END_TIMEOUT,      /* collected by the daemon: nothing moved any more */
};

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

struct phx_addr {
	__be32 word[4];
};

/* phx_config: one entry; written by the daemon, read by every packet. */
struct phx_config {
	__u32 abi;
	enum phx_mode mode;
	__u32 table;	  /* number of the routing table in force; 0 = none */
	__u32 port_first; /* gateway ports: [port_first, port_first + port_count) */
	__u32 port_count;
	__u32 mss4, mss6;   /* what the gateway advertises */
	__u32 boot;	    /* how many daemons have written here */
	__u64 heartbeat_ns; /* CLOCK_MONOTONIC, when the daemon last said that it lives */
	__u64 split_seed;
	__u64 split_key[2];   /* SipHash key of keyed splits */
	__u64 cookie[2][2];   /* two SipHash keys that reign in turn */
	__u64 port_key;	      /* upstream sequence numbers */
	__u64 body_max_bytes; /* limits.body_bytes; 0 = any */
	__u32 head_max_bytes; /* limits.head_bytes; 0 = any */
	__u32 fields_max;     /* limits.fields; 0 = any */
	__u64 dead_after_ns;  /* xdp.dead_man.after_ms; 0 = never */
	enum phx_dead_man dead_then;
	__u32 zero;
	__u64 reserved;
};

/* phx_listen: key and value. A packet to such an address may be for the fast path. */
struct phx_listen_key {
	struct phx_addr addr;
	__u32 port;
};

/* phx_upstreams: by index. */
struct phx_upstream {
	struct phx_addr addr;
	struct phx_addr source; /* the gateway's own address on the way there */
	__u32 port;
	enum phx_upstream_flag flags;
	__u32 generation;     /* grows when addr or source change: legs of an older one are not used again */
	__u32 mss;	      /* smallest one seen in a SYN-ACK; 0 = none yet */
	__u64 avoid_until_ns; /* refused or silent: the daemon's until then */
	__u64 name;	      /* hash of host and port: an index keeps its meaning when the daemon restarts */
	__u64 reserved;
};

/* phx_names: by slot. What a slot was last used for: a new daemon gives a route the slot it had, because the
 * data path runs on while the daemon starts. */
struct phx_name {
	char id[64]; /* of the route, filled up with NUL; empty = the slot is free */
	__u32 generation;
	__u32 zero;
};

/* phx_interfaces: by ifindex. What attaching changed on a device and detaching has to undo. */
struct phx_interface {
	char name[16];
	__u32 forwarding4; /* 1 + what net.ipv4.conf.NAME.forwarding was; 0 = not changed */
	__u32 forwarding6;
	__u32 syncookies; /* 1 + what net.ipv4.tcp_syncookies was; 0 = not changed */
	__u32 clsact;	  /* 1: the qdisc was made by Phoenix */
	__u32 dispatcher; /* 1: attached by libxdp's dispatcher, not by a link of our own */
	__u32 generic;	  /* 1: in generic mode */
	__u32 reserved[2];
};

/* phx_shapes: [table & 1] */
struct phx_shape_table {
	__u32 table;
	__u32 count;
	__u32 hosted; /* some shape looks at the host */
	__u32 zero;
	struct phx_shape shape[PHX_SHAPES]; /* most specific first */
};

/* phx_entries */
struct phx_entry_key {
	__u64 key; /* phx_shape_key() */
	__u32 table;
	__u32 nth; /* candidates of one key, in order of preference: 0, 1, 2, ... */
};

struct phx_entry {
	__u32 slot;
	__u32 generation; /* of the route in the slot */
	__u32 method_mask;
	__u32 shape;
	__u32 upstream[2]; /* by enum phx_side; PHX_NO_UPSTREAM: the daemon's */
	__u32 daemon;	   /* 1: this route is not for the fast path */
	__u32 host_len;
	__u8 host[PHX_HOST_BYTES];
	__u8 pattern[PHX_PATTERN_BYTES]; /* phx_pattern_compile(); ends in 0 */
};

/* phx_ports: the client's side of a flow -> index into phx_flows. */
struct phx_flow_key {
	struct phx_addr client, gateway;
	__u16 client_port, gateway_port;
};

struct phx_leg {
	struct phx_addr addr;
	struct phx_addr source;
	__u32 upstream;
	__u32 generation;
	__u32 snd_nxt;	  /* leg space: what the upstream will get next */
	__u32 snd_una;	  /* leg space: what it has acknowledged */
	__u32 rcv_nxt;	  /* leg space: behind the last byte that was sent on to a client */
	__u32 up_delta;	  /* client's seq + up_delta = leg's seq */
	__u32 down_delta; /* leg's seq + down_delta = client's seq */
	__u16 port;
	__u16 mss;
	__u8 state; /* enum phx_leg_state */
	__u8 scale; /* of the windows that the upstream sends */
	__u8 syn_tries;
	__u8 options; /* enum phx_leg_option */
	__u8 dmac[6], smac[6];
	__u32 ifindex;
	__u32 vlan;  /* tag + 1; 0 = none */
	__u32 irs;   /* leg space: the SYN-ACK's sequence number */
	__u32 small; /* 1: its upstream was told a client's small MSS: not for other clients */
	__u64 used_ns;
	__u64 fib_ns; /* when the next hop was looked up */
};

struct phx_flow {
	__u32 lock;
	enum phx_flow_state state;
	__u32 flags;  /* enum phx_flow_flag */
	__u32 active; /* leg of the request under way, or of the last one */
	struct phx_flow_key key;
	__u32 request_start, request_end; /* client space; between requests both are the next one's start */
	__u32 acked;			  /* client space: highest ACK from the client */
	__u32 sent;			  /* client space: behind the last byte sent to the client */
	__u32 response_start;		  /* client space */
	__u32 response_end;		  /* client space, with PHX_FLOW_END_KNOWN */
	__u32 window;			  /* the client's last window, as it came */
	__u16 mss;			  /* the client's */
	__u8 scale;			  /* the client's; 0 also without the option */
	__u8 scaled;			  /* the client has the option */
	/* How a frame gets to the client: as its last one came. */
	__u32 ifindex;
	__u32 vlan; /* tag + 1; 0 = none */
	__u8 dmac[6], smac[6];
	/* the request under way */
	__u32 requests; /* on this flow, so far */
	__u32 slot, generation, step;
	enum phx_side side;
	__u32 method; /* enum phx_method */
	__u32 status;
	__u32 retries;	/* of what is stashed */
	__u64 exchange; /* number, unique while records of it may be in the ring */
	__u64 begun_ns;
	__u64 served_ns;
	__u64 seen_ns;	    /* any packet, either side */
	enum phx_body body; /* of the response */
	__u32 chunk_state;
	__u64 chunk_left;
	__u32 scanned; /* client space: the scanner has seen everything before this */
	__u32 fin_seq; /* client space: of our FIN, in PHX_FLOW_CLOSING */
	struct phx_head head;
	struct phx_leg leg[PHX_LEGS];
};

/* phx_stash: [port index % PHX_STASHES]; a later flow may overwrite it, which the client's retransmission
 * heals. */
struct phx_stash {
	__u32 owner; /* port index + 1 */
	__u32 seq;   /* client space */
	__u32 len;
	__u32 reserved;
	__u8 bytes[PHX_FRAME_BYTES]; /* the segment's payload */
};

/* phx_route_stats: by slot. Counters only grow and are added to atomically. */
struct phx_side_stats {
	__u64 requests, synthetic;
	__u64 status[6], synthetic_status[6];
	__u64 latency_ns_sum;
	__u64 latency[PHX_LATENCY_BUCKETS];
	__u64 request_bytes, response_bytes;
	__u64 cut;     /* the response broke off, or never began */
	__u64 invalid; /* 502 from the program itself */
};
struct phx_route_stats {
	struct phx_side_stats side[2];
	__u64 sampled;
	__u64 step_requests[2]; /* by side, since the policy's step changed to `step` */
	__u64 step;
};

/* phx_verdicts: one entry a CPU; a dump prints the names. */
struct phx_counters {
#define X(name, help) __u64 name;
	struct {
		PHX_VERDICTS(X)
	} verdict;
	struct {
		PHX_REASONS(X)
	} reason;
#undef X
	__u64 ring_dropped;
	__u64 forced_legacy; /* requests that the kill switch or the dead-man sent to legacy */
	__u64 flows_opened, flows_closed;
};

/* phx_egress: by ifindex as bpf_fib_lookup() names it (a VLAN device has one of its own). */
struct phx_egress {
	__u32 ifindex; /* of the device with the program, to redirect to */
	__u32 vlan;    /* tag + 1; 0 = none */
};

/* phx_traced: what the program phx_trace says of a request, without doing anything. */
struct phx_trace {
	__u32 scanned;		/* enum phx_head_result */
	__u32 error;		/* enum phx_head_error */
	enum phx_reason reason; /* NONE: the fast path would serve it */
	__u32 slot;		/* PHX_SLOT_NONE: no route */
	__u32 generation;
	enum phx_side side; /* of the next request */
	__u32 weight_bp;
	__u32 upstream;
	__u32 sampled; /* the next exchange would be compared */
	__u32 head_len;
	__u32 flags;  /* enum phx_head_flag */
	__u32 method; /* enum phx_method */
	__u64 content_length;
};

/* phx_ring */
struct phx_record {
	enum phx_record_kind kind;
	__u32 offset; /* of the payload in its message */
	__u32 len;    /* of the payload that follows */
	__u32 slot;
	__u64 exchange;
	__u32 generation, step;
	enum phx_side side;
	__u32 method;
	__u64 begun_ns; /* CLOCK_MONOTONIC */
	/* in PHX_RECORD_END */
	__u64 served_ns;
	__u32 request_len, response_len;
	enum phx_end end;
	__u32 synthetic;
	struct phx_addr client;
	struct phx_addr gateway;
	__u32 client_port, reserved;
};

#pragma GCC diagnostic pop

#endif

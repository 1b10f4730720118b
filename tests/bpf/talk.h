/* SPDX-License-Identifier: Apache-2.0 */
/*
 * talk: a client and its upstreams, played by hand. A packet is a struct packet, whose numbers count from
 * what its sender would say next; what must become of it is a struct expect. play() sends one through the
 * program and compares every field of what comes out with what this file, which shares no code with bpf/,
 * says it must be.
 */
#ifndef PHOENIX_TESTS_TALK_H
#define PHOENIX_TESTS_TALK_H

#include "rig.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10

#define NO_SCALE	 -1
#define TALK_OPTIONS_MAX 40

enum peer {
	CLIENT = 0,
	UPSTREAM0, /* UPSTREAM0 + n; in the routes of verdict tests 0 is legacy, 1 modern */
	UPSTREAM1,
	UPSTREAM2,
	UPSTREAM3,
	NOBODY = 99,
};

struct packet {
	enum peer from;
	uint8_t flags; /* 0: ACK */
	int32_t seq;   /* added to the sender's next number */
	int32_t ack;   /* added to what the sender expects next */
	const char *text;
	size_t len;	 /* of text; 0: strlen */
	uint32_t window; /* 0: 1000 */
	const uint8_t *options;
	size_t options_len; /* a multiple of 4 */
	/* out of the ordinary */
	unsigned client;    /* another client's address */
	uint16_t from_port; /* another port than the peer's */
	uint8_t ttl;	    /* 0: 64 */
	bool pad;	    /* to 60 bytes, as a card does with short frames */
	bool wrong_checksum, ip_options, fragment, extension_header, udp, truncated, other_port, no_ack_flag;
	uint32_t data_offset; /* TCP's header length in bytes, when it is a lie */
};

enum sent {
	NOTHING = 0, /* dropped or passed */
	PASSED_ON,   /* the packet itself, translated */
	OWN,	     /* a frame of the program's own */
	OWN_SYN,     /* the same, whose sequence number the program chooses */
};

struct expect {
	int action;
	int verdict; /* enum phx_verdict */
	int reason;  /* enum phx_reason, 0: none was counted */
	enum sent sent;
	enum peer to;
	uint8_t flags;	  /* OWN; PASSED_ON: 0 = as it came */
	int32_t seq, ack; /* OWN: added to what `to` expects next and to its own next; PASSED_ON: to the
			     translated */
	uint32_t cut;	  /* PASSED_ON: bytes of payload less */
	const char *text; /* OWN: payload */
	size_t len;
	uint32_t window; /* OWN; 0: the gateway's or the client's, by `to` */
	bool may_be_cut; /* PASSED_ON, IPv4: routers may fragment it, so it has an id of its own (RFC
			    6864 4.1) */
	bool any_text;	 /* OWN: the payload is looked at by the script */
	bool no_window;	 /* OWN: a reset, window 0 */
	bool no_ack;	 /* OWN: the ACK field is 0 and ACK is not set */
	bool seq_is_ack; /* OWN: a reset whose number is the packet's ACK (RFC 9293 3.10.7.1) */
};

/* One end's view of a connection. */
struct end {
	uint32_t nxt;	  /* what it says next */
	uint32_t rcv;	  /* what it expects next */
	int scale;	  /* that it offers; NO_SCALE */
	uint16_t mss;	  /* 0: no option */
	bool sack, began; /* began: it has seen a SYN or SYN-ACK */
	uint32_t window;  /* the last one it said, unscaled field */
	uint32_t heard_window;
};

struct talk {
	const char *name; /* of the row, for messages */
	const char *text; /* of the row's packet, for scripts */
	bool v6;
	uint32_t vlan; /* of the client's side; tag + 1 */
	uint32_t upstream_vlan;
	struct end client, up[RIG_UPSTREAMS];
	/* client's seq + up_delta = leg's, upstream's seq + down_delta = client's */
	uint32_t up_delta[RIG_UPSTREAMS], down_delta[RIG_UPSTREAMS];
	uint16_t client_port, gateway_port; /* the latter as the upstreams see it */
	uint32_t request_seq;		    /* of the stashed request */
	/* the last frame that came out */
	uint8_t frame[RIG_FRAME_MAX];
	size_t frame_len;
	struct phx_counters before, after;
	bool failed;
};

/* A frame taken apart. */
struct seen {
	uint8_t dmac[6], smac[6];
	uint32_t vlan;
	bool v6;
	struct phx_addr src, dst;
	uint8_t ttl, tos;
	uint16_t id;
	bool may_be_cut; /* IPv4: DF is not set */
	uint16_t sport, dport, window;
	uint32_t seq, ack;
	uint8_t flags;
	uint8_t options[TALK_OPTIONS_MAX];
	size_t options_len;
	const uint8_t *payload;
	size_t payload_len, trailer; /* bytes behind the IP packet */
};

/* Checksums verified from scratch; NULL, or what is wrong. */
const char *talk_read(const uint8_t *frame, size_t len, struct seen *out);
/* A fresh rig and peers at their beginning. */
void talk_begin(struct talk *t, const char *name, bool v6, bool vlan);
/* Builds what the packet says; advances the sender. Returns the frame's length. */
size_t talk_build(struct talk *t, const struct packet *packet, uint8_t frame[RIG_FRAME_MAX]);
void play(struct talk *t, struct packet packet, struct expect expect);
/* Says what is wrong with the row. */
void talk_fail(struct talk *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct phx_flow *talk_flow(struct talk *t);
/* What the client's address and its numbers would be given as a cookie in an epoch. */
uint32_t talk_cookie(const struct talk *t, unsigned client, uint32_t isn, uint64_t epoch, uint8_t offer);
/* Twelve bits say that a number is a cookie of this connection: does it look like one by accident? */
bool talk_cookie_by_chance(unsigned client, uint16_t port, uint32_t cookie);
uint8_t talk_cookie_bits(const struct end *client);

extern unsigned long talk_checks;

#endif

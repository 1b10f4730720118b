/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer: one end of a TCP connection for the model test, after RFC 9293: retransmission with other cuts than
 * before, reassembly in any order, half close, zero time. It has no clock and no network: it is told the
 * tick, takes segments and gives segments.
 */
#ifndef PHOENIX_TESTS_PEER_H
#define PHOENIX_TESTS_PEER_H

#include "talk.h"

#define PEER_BUFFER 200000u
#define PEER_WINDOW 20000u

enum peer_state {
	PEER_CLOSED = 0,
	PEER_SYN_SENT,
	PEER_SYN_RECEIVED,
	PEER_OPEN,
	PEER_RESET, /* the other end reset it */
};

struct peer_tcp {
	enum peer_state state;
	uint32_t iss, irs;
	int scale;	   /* that we offer; NO_SCALE */
	bool scaled, sack; /* both do */
	int other_scale;
	uint16_t mss;	  /* that we offer */
	uint32_t segment; /* that we may send */
	uint8_t *out, *in, *have;
	uint32_t out_len, una, nxt; /* positions in `out`; a FIN lies at out_len */
	uint32_t in_len;	    /* in order */
	bool fin_queued, fin_acked, fin_came;
	uint32_t fin_at; /* position of the other's FIN, UINT32_MAX */
	uint32_t window; /* the other's, in bytes */
	bool ack_due;
	uint64_t timer, rto;
	unsigned tries;
};

/* A segment to be sent. */
struct peer_segment {
	uint8_t flags;
	uint32_t seq, ack;
	uint32_t window; /* the field */
	const uint8_t *bytes;
	uint32_t len;
};

void peer_fini(struct peer_tcp *peer);
/* Buffers are kept; everything else begins anew. */
void peer_connect(struct peer_tcp *peer, uint32_t iss);
void peer_accept(struct peer_tcp *peer, uint32_t iss, const struct seen *syn);
/* A connection of which the handshake was somebody else's: from the first segment (the kernel's part of a
 * hand-over). */
void peer_adopt(struct peer_tcp *peer, const struct seen *first);
bool peer_write(struct peer_tcp *peer, const void *bytes, uint32_t len);
void peer_close(struct peer_tcp *peer);
/* False: not acceptable, which a test of loss and duplicates may see. */
void peer_input(struct peer_tcp *peer, const struct seen *segment);
/* The next segment to be sent at this tick; false: none. `chance` cuts segments. */
bool peer_output(struct peer_tcp *peer, uint64_t tick, uint32_t chance, struct peer_segment *out);
/* Both FINs were sent and acknowledged. */
bool peer_done(const struct peer_tcp *peer);
uint32_t peer_seq(const struct peer_tcp *peer);
uint32_t peer_ack(const struct peer_tcp *peer);

#endif

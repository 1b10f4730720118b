/* SPDX-License-Identifier: Apache-2.0 */
/*
 * states: where a connection can be when a packet comes: each function plays from the beginning to there, and
 * checks every packet on the way. GET to legacy (upstream 0) where nothing else is said.
 */
#ifndef PHOENIX_TESTS_STATES_H
#define PHOENIX_TESTS_STATES_H

#include "talk.h"

#include <linux/bpf.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a.example\r\n\r\n"
#define OK5	  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define OK_HEAD5  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* What rows expect most often. */
#define DROPS(v)                                                                                             \
	{                                                                                                    \
		XDP_DROP, PHX_VERDICT_##v                                                                    \
	}
#define PASSES(v)                                                                                            \
	{                                                                                                    \
		XDP_PASS, PHX_VERDICT_##v                                                                    \
	}
#define HANDS_OVER(r)                                                                                        \
	{                                                                                                    \
		XDP_PASS, PHX_VERDICT_HAND_OVER, PHX_REASON_##r                                              \
	}
#define GOES_TO(who, v, ...)                                                                                 \
	{                                                                                                    \
		.action = XDP_REDIRECT, .verdict = PHX_VERDICT_##v, .sent = PASSED_ON, .to = who,            \
		##__VA_ARGS__                                                                                \
	}
#define ANSWERS(who, v, what, ...)                                                                           \
	{                                                                                                    \
		.action = XDP_TX, .verdict = PHX_VERDICT_##v, .sent = OWN, .to = who, .flags = what,         \
		##__VA_ARGS__                                                                                \
	}
#define NEW_SYN(who)                                                                                         \
	{                                                                                                    \
		.action = XDP_REDIRECT, .verdict = PHX_VERDICT_REQUEST_SYN, .sent = OWN_SYN, .to = who,      \
		.flags = SYN, .no_ack = true                                                                 \
	}

void says(struct talk *t, enum peer who, const char *text, struct expect expect);

void nothing(struct talk *t);
void handshake(struct talk *t); /* SYN, SYN-ACK, ACK */
void request_to(struct talk *t, enum peer upstream,
		const char *request); /* after handshake or between: a SYN goes out */
void accepts(struct talk *t, enum peer upstream,
	     const char *request); /* its SYN-ACK: the request is replayed */
void client_acks(struct talk *t, enum peer upstream);
void upstream_acks(struct talk *t, enum peer upstream);
void syn_sent(struct talk *t);
void request_sent(struct talk *t);
void request_acked(struct talk *t);    /* by the upstream */
void half_answered(struct talk *t);    /* head and "he" */
void answered(struct talk *t);	       /* the client has not acknowledged it */
void answered_unacked(struct talk *t); /* the upstream has acknowledged nothing */
void between(struct talk *t);	       /* all acknowledged, no next request yet */
void two_legs(struct talk *t);	       /* between requests, after one to upstream 0 and one to 1 */
void posting(struct talk *t);	       /* 2nd request of the leg: POST, 5 of its 10 bytes of body sent */
void chunked(struct talk *t);	       /* the head of a chunked response was sent on */
void until_close(struct talk *t);      /* a head without length, and "abc" */
void closing(struct talk *t);	       /* the client's FIN was answered with a FIN */
void handed(struct talk *t);	       /* at a boundary, the daemon's with the next segment */
void half_closed(struct talk *t);      /* the client's FIN behind its request was sent on */

#endif

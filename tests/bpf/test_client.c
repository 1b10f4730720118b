/* SPDX-License-Identifier: Apache-2.0 */
/* Segments from a client that has a flow, in every state of the exchange under way. */
#include "rows.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define REQUEST	     GET("/legacy")
#define LEN	     (int32_t)(sizeof(REQUEST) - 1)
#define RESPONSE_LEN (int32_t)(sizeof(OK5) - 1)
#define BYTES(...)   (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})
#define AGAIN_SYN                                                                                            \
	{                                                                                                    \
		.action = XDP_REDIRECT, .verdict = PHX_VERDICT_REQUEST_SYN, .sent = OWN, .to = UPSTREAM0,    \
		.flags = SYN, .seq = -1, .no_ack = true                                                      \
	}

/* --- the SYN is out --- */

static void tried_three_times(struct talk *t)
{
	syn_sent(t);
	talk_flow(t)->leg[0].syn_tries = PHX_SYN_TRIES;
}

static const struct row syn_is_out[] = {
	{"request-again", syn_sent, {.seq = -LEN, .text = REQUEST}, AGAIN_SYN},
	{"part-of-it-again", syn_sent, {.seq = -LEN, .text = REQUEST, .len = 10}, AGAIN_SYN},
	{"its-end-again", syn_sent, {.seq = -10, .text = &(REQUEST)[LEN - 10]}, DROPS(WAIT)},
	{"request-and-the-next", syn_sent, {.seq = -LEN, .text = REQUEST REQUEST}, AGAIN_SYN},
	{"the-next", syn_sent, {.text = REQUEST}, DROPS(WAIT)},
	{"after-three-tries", tried_three_times, {.seq = -LEN, .text = REQUEST}, HANDS_OVER(SYN_TIMEOUT)},
	{"ack", syn_sent, {.flags = ACK}, DROPS(STALE)},
	{"fin", syn_sent, {.flags = FIN | ACK}, DROPS(WAIT)},
	{"rst", syn_sent, {.flags = RST}, DROPS(CLIENT_RST)},
	{"rst-at-the-request", syn_sent, {.seq = -LEN, .flags = RST}, DROPS(CLIENT_RST)},
	{"rst-elsewhere", syn_sent, {.seq = 1, .flags = RST}, DROPS(INVALID)},
	{"syn", syn_sent, {.flags = SYN}, ANSWERS(CLIENT, CHALLENGE, ACK, .ack = -LEN - 1)},
	{"ack-of-what-was-not-sent", syn_sent, {.ack = 1}, DROPS(INVALID)},
	{"hop-limit-1", syn_sent, {.seq = -LEN, .text = REQUEST, .ttl = 1}, DROPS(TTL)},
};

/* --- the request is on its way, or being answered --- */

static const struct row under_way[] = {
	{"request-again", request_sent, {.seq = -LEN, .text = REQUEST}, GOES_TO(UPSTREAM0, REQUEST_AGAIN)},
	{"part-of-it-again",
	 request_sent,
	 {.seq = -LEN, .text = REQUEST, .len = 10},
	 GOES_TO(UPSTREAM0, REQUEST_AGAIN)},
	{"its-end-again",
	 request_sent,
	 {.seq = -10, .text = &(REQUEST)[LEN - 10]},
	 GOES_TO(UPSTREAM0, REQUEST_AGAIN)},
	{"request-again-while-answered",
	 half_answered,
	 {.seq = -LEN, .text = REQUEST},
	 GOES_TO(UPSTREAM0, REQUEST_AGAIN)},
	{"request-again-when-answered",
	 answered,
	 {.seq = -LEN, .ack = -RESPONSE_LEN, .text = REQUEST},
	 GOES_TO(UPSTREAM0, REQUEST_AGAIN)},
	{"straddles-the-end",
	 request_sent,
	 {.seq = -LEN, .text = REQUEST "GET"},
	 GOES_TO(UPSTREAM0, REQUEST_TRIMMED, .cut = 3)},
	{"straddles-the-end-odd",
	 request_sent,
	 {.seq = -3, .text = "\n\r\nGET /x"},
	 GOES_TO(UPSTREAM0, REQUEST_TRIMMED, .cut = 6)},
	{"straddles-the-end-padded",
	 request_sent,
	 {.seq = -1, .text = "\nab", .pad = true},
	 GOES_TO(UPSTREAM0, REQUEST_TRIMMED, .cut = 2)},
	{"straddles-with-fin",
	 request_sent,
	 {.seq = -LEN, .flags = FIN | PSH | ACK, .text = REQUEST "GET"},
	 GOES_TO(UPSTREAM0, REQUEST_TRIMMED, .cut = 3, .flags = PSH | ACK)},
	{"pipelined", request_sent, {.text = REQUEST}, DROPS(WAIT)},
	{"pipelined-while-answered", half_answered, {.text = REQUEST}, DROPS(WAIT)},
	{"behind-a-gap", request_sent, {.seq = 100, .text = REQUEST}, DROPS(WAIT)},
	{"before-the-request",
	 request_sent,
	 {.seq = -LEN - 9, .text = "whatever"},
	 ANSWERS(CLIENT, ACK_REPLY, ACK, .ack = -LEN)},
	{"before-the-request-when-it-is-there",
	 request_acked,
	 {.seq = -LEN - 9, .text = "whatever"},
	 ANSWERS(CLIENT, ACK_REPLY, ACK)},
	{"next-before-the-ack-of-the-last", answered, {.ack = -1, .text = REQUEST}, DROPS(WAIT)},
	{"next-before-the-upstream-acked", answered_unacked, {.text = REQUEST}, DROPS(WAIT)},
	{"ack", request_sent, {.flags = ACK}, GOES_TO(UPSTREAM0, ACK_UP)},
	{"ack-padded", request_sent, {.flags = ACK, .pad = true}, GOES_TO(UPSTREAM0, ACK_UP)},
	{"ack-of-half-an-answer", half_answered, {.flags = ACK}, GOES_TO(UPSTREAM0, ACK_UP)},
	{"ack-with-a-smaller-window", half_answered, {.flags = ACK, .window = 1}, GOES_TO(UPSTREAM0, ACK_UP)},
	{"ack-with-window-0", half_answered, {.flags = ACK, .window = 65535}, GOES_TO(UPSTREAM0, ACK_UP)},
	{"ack-of-what-was-not-sent", half_answered, {.ack = 1}, DROPS(INVALID)},
	{"ack-of-long-ago", half_answered, {.ack = -0x50000000}, DROPS(INVALID)},
	{"ack-behind-dropped-data", half_answered, {.seq = 50}, GOES_TO(UPSTREAM0, ACK_UP, .seq = -50)},
	{"syn", half_answered, {.flags = SYN}, ANSWERS(CLIENT, CHALLENGE, ACK, .ack = -1)},
	{"syn-from-elsewhere-in-the-window",
	 half_answered,
	 {.flags = SYN, .seq = 100000},
	 ANSWERS(CLIENT, CHALLENGE, ACK)},
	{"syn-ack", half_answered, {.flags = SYN | ACK}, DROPS(INVALID)},
	{"no-ack-flag", half_answered, {.flags = PSH, .text = "x"}, DROPS(INVALID)},
	{"rst", half_answered, {.flags = RST}, GOES_TO(UPSTREAM0, CLIENT_RST)},
	{"rst-ack", half_answered, {.flags = RST | ACK}, GOES_TO(UPSTREAM0, CLIENT_RST)},
	{"rst-one-beyond", half_answered, {.flags = RST, .seq = 1}, DROPS(INVALID)},
	{"rst-one-before", half_answered, {.flags = RST, .seq = -1}, DROPS(INVALID)},
	{"rst-when-answered", answered, {.flags = RST}, GOES_TO(UPSTREAM0, CLIENT_RST)},
	{"hop-limit-1", half_answered, {.flags = ACK, .ttl = 1}, DROPS(TTL)},
	{"hop-limit-2", half_answered, {.flags = ACK, .ttl = 2}, GOES_TO(UPSTREAM0, ACK_UP)},
	{"fin", request_sent, {.flags = FIN | ACK}, GOES_TO(UPSTREAM0, FIN_UP)},
	{"fin-while-answered", half_answered, {.flags = FIN | ACK}, GOES_TO(UPSTREAM0, FIN_UP)},
	{"fin-again", half_closed, {.flags = FIN | ACK, .seq = -1}, GOES_TO(UPSTREAM0, FIN_UP)},
	{"ack-when-half-closed", half_closed, {.flags = ACK}, GOES_TO(UPSTREAM0, ACK_UP)},
	{"data-when-half-closed", half_closed, {.text = REQUEST}, DROPS(WAIT)},
	{"keep-alive-probe", half_answered, {.seq = -1}, GOES_TO(UPSTREAM0, ACK_UP)},
};

/* --- SACK blocks, wherever they lie (RFC 2018 3); their edges are translated, nothing else is --- */

#define SACKED(...) {.options = BYTES(__VA_ARGS__)}, GOES_TO(UPSTREAM0, ACK_UP)

static const struct row sack[] = {
	{"as-Linux", half_answered, SACKED(1, 1, 5, 10, 0x10, 0x20, 0x30, 0x40, 0x10, 0x20, 0x35, 0x00)},
	{"first", half_answered, SACKED(5, 10, 0x10, 0x20, 0x30, 0x40, 0x10, 0x20, 0x35, 0x00, 1, 1)},
	{"at-an-odd-offset", half_answered, SACKED(1, 5, 10, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 0x10, 1)},
	{"three-blocks", half_answered,
	 SACKED(1, 1, 5, 26, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
		23, 24)},
	{"four-blocks", half_answered,
	 SACKED(1, 1, 5, 34, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
		23, 24, 25, 26, 27, 28, 29, 30, 31, 32)},
	{"behind-a-timestamp", half_answered,
	 SACKED(1, 8, 10, 5, 5, 5, 5, 5, 5, 5, 5, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1)},
	{"behind-the-end-of-the-list", half_answered, SACKED(0, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8, 0)},
	{"none", half_answered, SACKED(1, 1, 1, 1)},
	{"length-0", half_answered, SACKED(5, 0, 1, 2, 3, 4, 5, 6)},
	{"longer-than-the-header", half_answered, SACKED(1, 1, 5, 18, 1, 2, 3, 4, 5, 6, 7, 8)},
};

/* --- bodies --- */

static void post_all(struct talk *t)
{
	posting(t);
	says(t, CLIENT, "56789", (struct expect)GOES_TO(UPSTREAM0, REQUEST_BODY));
}

static const struct row bodies[] = {
	{"the-rest", posting, {.text = "56789"}, GOES_TO(UPSTREAM0, REQUEST_BODY)},
	{"a-byte", posting, {.text = "5"}, GOES_TO(UPSTREAM0, REQUEST_BODY)},
	{"behind-a-gap", posting, {.seq = 3, .text = "89"}, GOES_TO(UPSTREAM0, REQUEST_BODY)},
	{"again", posting, {.seq = -5, .text = "01234"}, GOES_TO(UPSTREAM0, REQUEST_AGAIN)},
	{"overlaps", posting, {.seq = -2, .text = "34567"}, GOES_TO(UPSTREAM0, REQUEST_BODY)},
	{"straddles-the-end", posting, {.text = "56789GET"}, GOES_TO(UPSTREAM0, REQUEST_TRIMMED, .cut = 3)},
	{"fin-with-the-rest",
	 posting,
	 {.flags = FIN | ACK, .text = "56789"},
	 GOES_TO(UPSTREAM0, REQUEST_BODY)},
	{"fin-too-early", posting, {.flags = FIN | ACK}, GOES_TO(UPSTREAM0, REQUEST_BODY)},
	{"rst", posting, {.flags = RST}, GOES_TO(UPSTREAM0, CLIENT_RST)},
	{"all-again", post_all, {.seq = -10, .text = "0123456789"}, GOES_TO(UPSTREAM0, REQUEST_AGAIN)},
	{"more-than-all", post_all, {.text = "x"}, DROPS(WAIT)},
};

/* --- between two requests --- */

static void pipelined_before(struct talk *t)
{
	half_answered(t);
	says(t, CLIENT, REQUEST, (struct expect)DROPS(WAIT));
	says(t, UPSTREAM0, "llo", (struct expect)GOES_TO(CLIENT, RESPONSE));
	/* It counts what was dropped here, which the upstream must not believe to be lost. */
	play(t, (struct packet){.flags = ACK}, (struct expect)GOES_TO(UPSTREAM0, ACK_UP, .seq = -LEN));
}

static const struct row idle[] = {
	{"next-request", between, {.text = REQUEST}, GOES_TO(UPSTREAM0, REQUEST)},
	{"next-request-acks-the-answer", answered, {.text = REQUEST}, GOES_TO(UPSTREAM0, REQUEST)},
	{"next-request-elsewhere", between, {.text = GET("/modern")}, NEW_SYN(UPSTREAM1)},
	{"next-request-on-the-other-leg", two_legs, {.text = REQUEST}, GOES_TO(UPSTREAM0, REQUEST)},
	{"next-request-on-the-same-leg", two_legs, {.text = GET("/modern")}, GOES_TO(UPSTREAM1, REQUEST)},
	{"next-request-with-a-body-to-come",
	 between,
	 {.text = "POST /legacy HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"},
	 GOES_TO(UPSTREAM0, REQUEST)},
	{"next-request-with-a-body-to-come-elsewhere",
	 between,
	 {.text = "POST /modern HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"},
	 HANDS_OVER(BODY_FIRST)},
	{"next-request-incomplete", between, {.text = "GET /legacy HT"}, HANDS_OVER(INCOMPLETE)},
	{"next-request-for-nobody", between, {.text = GET("/nowhere")}, HANDS_OVER(NO_ROUTE)},
	{"next-request-not-http", between, {.text = "(hello)"}, HANDS_OVER(REFUSED)},
	{"next-request-with-an-ack-of-before",
	 between,
	 {.ack = -5, .text = REQUEST},
	 GOES_TO(UPSTREAM0, REQUEST, .ack = 5)},
	{"next-request-for-nobody-with-an-ack-of-before",
	 between,
	 {.ack = -5, .text = GET("/nowhere")},
	 DROPS(WAIT)},
	{"next-request-with-fin", between, {.flags = FIN | ACK, .text = REQUEST}, HANDS_OVER(FIN)},
	{"two-requests", between, {.text = REQUEST REQUEST}, HANDS_OVER(PIPELINED)},
	{"after-pipelining", pipelined_before, {.seq = -LEN, .text = REQUEST}, HANDS_OVER(PIPELINED)},
	{"wrong-checksum", between, {.text = REQUEST, .wrong_checksum = true}, DROPS(INVALID)},
	{"behind-a-gap", between, {.seq = 20, .text = REQUEST}, DROPS(WAIT)},
	{"last-request-again", between, {.seq = -LEN, .text = REQUEST}, ANSWERS(CLIENT, ACK_REPLY, ACK)},
	{"keep-alive-probe", between, {.seq = -1}, ANSWERS(CLIENT, ACK_REPLY, ACK)},
	{"keep-alive-probe-with-a-byte", between, {.seq = -1, .text = "x"}, ANSWERS(CLIENT, ACK_REPLY, ACK)},
	{"ack-again", between, {.flags = ACK}, GOES_TO(UPSTREAM0, ACK_UP)},
	{"ack-of-before", between, {.ack = -3}, DROPS(STALE)},
	{"ack-of-what-was-not-sent", between, {.ack = 1}, DROPS(INVALID)},
	{"fin", between, {.flags = FIN | ACK}, ANSWERS(CLIENT, CLIENT_FIN, FIN | ACK)},
	{"fin-acks-the-answer", answered, {.flags = FIN | ACK}, ANSWERS(CLIENT, CLIENT_FIN, FIN | ACK)},
	{"fin-behind-a-gap", between, {.flags = FIN | ACK, .seq = 5}, DROPS(WAIT)},
	{"rst", between, {.flags = RST}, DROPS(CLIENT_RST)},
	{"rst-elsewhere", between, {.flags = RST, .seq = 9}, DROPS(INVALID)},
	{"syn", between, {.flags = SYN}, ANSWERS(CLIENT, CHALLENGE, ACK, .ack = -1)},
};

/* --- the end --- */

static void handed_long_ago(struct talk *t)
{
	handed(t);
	talk_flow(t)->served_ns = 1;
}

static const struct row ends[] = {
	{"closing-last-ack", closing, {.flags = ACK}, DROPS(HANDSHAKE)},
	{"closing-fin-again",
	 closing,
	 {.flags = FIN | ACK, .seq = -1, .ack = -1},
	 ANSWERS(CLIENT, CLIENT_FIN, FIN | ACK, .seq = -1)},
	{"closing-fin-again-with-the-ack",
	 closing,
	 {.flags = FIN | ACK, .seq = -1},
	 ANSWERS(CLIENT, CLIENT_FIN, ACK)},
	{"closing-ack-of-before", closing, {.flags = ACK, .ack = -1}, DROPS(STALE)},
	{"closing-rst", closing, {.flags = RST}, DROPS(CLIENT_RST)},
	{"closing-syn", closing, {.flags = SYN}, ANSWERS(CLIENT, CHALLENGE, ACK, .ack = -1)},
	{"handed-again",
	 handed,
	 {.seq = -(int32_t)(sizeof(GET("/nowhere")) - 1), .text = GET("/nowhere")},
	 PASSES(HAND_OVER)},
	{"handed-ack", handed, {.flags = ACK, .seq = -(int32_t)(sizeof(GET("/nowhere")) - 1)}, DROPS(STALE)},
	{"handed-again-with-an-ack-of-before",
	 handed,
	 {.seq = -(int32_t)(sizeof(GET("/nowhere")) - 1), .ack = -1, .text = GET("/nowhere")},
	 DROPS(WAIT)},
	{"handed-right-behind-it", handed, {.text = "more"}, PASSES(KERNEL)},
	{"handed-long-behind-it", handed_long_ago, {.text = "more"}, DROPS(WAIT)},
	{"handed-before-it", handed, {.seq = -100, .text = "less"}, DROPS(WAIT)},
	{"handed-rst",
	 handed,
	 {.flags = RST, .seq = -(int32_t)(sizeof(GET("/nowhere")) - 1)},
	 DROPS(CLIENT_RST)},
};

/* Everything is given back: ports, and legs that stay warm for the next client. */
static void port_comes_back(struct talk *t)
{
	closing(t);
	play(t, (struct packet){.flags = ACK}, (struct expect)DROPS(HANDSHAKE));
	if (rig_free_ports() != RIG_PORTS || rig_busy_flows())
		talk_fail(t, "%u ports are free, %u flows are busy", rig_free_ports(), rig_busy_flows());
	/* The next client, by chance with the same numbers, finds the leg. */
	struct talk next = *t;
	next.client = (struct end){.nxt = 77, .scale = 2, .mss = 1460};
	next.client_port = 44444;
	handshake(&next);
	says(&next, CLIENT, REQUEST, (struct expect)GOES_TO(UPSTREAM0, REQUEST));
	says(&next, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(&next, UPSTREAM0);
	t->failed |= next.failed;
}

static void rst_frees_the_port(struct talk *t)
{
	half_answered(t);
	play(t, (struct packet){.flags = RST}, (struct expect)GOES_TO(UPSTREAM0, CLIENT_RST));
	if (rig_free_ports() != RIG_PORTS || rig_busy_flows())
		talk_fail(t, "%u ports are free, %u flows are busy", rig_free_ports(), rig_busy_flows());
	/* What the upstream still sends is nobody's. */
	says(t, UPSTREAM0, "llo",
	     (struct expect){XDP_TX, PHX_VERDICT_RST_REPLY, .sent = OWN, .to = UPSTREAM0, .flags = RST,
			     .seq_is_ack = true, .no_ack = true, .no_window = true});
}

/* Client's FIN first, then the answer, then the upstream's FIN. */
static void half_close_to_the_end(struct talk *t)
{
	half_closed(t);
	says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	play(t, (struct packet){.from = UPSTREAM0, .flags = FIN | ACK},
	     (struct expect)GOES_TO(CLIENT, FIN_DOWN));
	client_acks(t, UPSTREAM0);
	upstream_acks(t, UPSTREAM0);
	if (rig_free_ports() != RIG_PORTS || rig_busy_flows())
		talk_fail(t, "%u ports are free, %u flows are busy", rig_free_ports(), rig_busy_flows());
}

/* Nothing follows an answer that said so (RFC 9112 9.6): not to an upstream, not to the daemon. */
static void after_connection_close(struct talk *t)
{
	request_sent(t);
	says(t, UPSTREAM0, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	says(t, CLIENT, REQUEST, (struct expect)DROPS(WAIT));
	play(t, (struct packet){.from = UPSTREAM0, .flags = FIN | ACK},
	     (struct expect)GOES_TO(CLIENT, FIN_DOWN));
	play(t, (struct packet){.seq = -LEN, .ack = -1, .text = REQUEST}, (struct expect)DROPS(WAIT));
	play(t, (struct packet){.seq = -LEN, .text = REQUEST},
	     (struct expect){XDP_TX, PHX_VERDICT_RST_REPLY, .sent = OWN, .to = CLIENT, .flags = RST,
			     .no_ack = true, .no_window = true});
	if (rig_free_ports() != RIG_PORTS || rig_busy_flows())
		talk_fail(t, "%u ports are free, %u flows are busy", rig_free_ports(), rig_busy_flows());
}

/* A FIN that overtook the last bytes of its request: what acknowledges it is as good as ever. */
static void fin_overtakes_the_body(struct talk *t)
{
	posting(t);
	play(t, (struct packet){.flags = FIN | ACK, .seq = 5}, (struct expect)GOES_TO(UPSTREAM0, FIN_UP));
	says(t, CLIENT, "56789", (struct expect)GOES_TO(UPSTREAM0, REQUEST_AGAIN));
	t->client.nxt++;
	t->up[0].rcv++;
	upstream_acks(t, UPSTREAM0);
	says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
}

static void scaled_windows(struct talk *t)
{
	static const int scales[] = {NO_SCALE, 0, 2, 7, 14};
	for (unsigned i = 0; i < 25 && !t->failed; i++) {
		struct talk one;
		talk_begin(&one, t->name, t->v6, t->vlan != 0);
		one.client.scale = scales[i % 5];
		one.up[0].scale = scales[i / 5];
		request_sent(&one);
		play(&one, (struct packet){.from = UPSTREAM0, .text = OK5, .window = 300},
		     (struct expect)GOES_TO(CLIENT, RESPONSE));
		play(&one, (struct packet){.flags = ACK, .window = 512},
		     (struct expect)GOES_TO(UPSTREAM0, ACK_UP));
		play(&one, (struct packet){.text = REQUEST, .window = 65535},
		     (struct expect)GOES_TO(UPSTREAM0, REQUEST));
		t->failed |= one.failed;
	}
}

static void without_sack(struct talk *t)
{
	t->client.sack = false;
	t->client.mss = 1300;
	request_sent(t);
	says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
}

/* The lookups behind XDP_PASS know the socket: the daemon has the connection. Its flow ends. */
#define SCRIPT(name, function)                                                                               \
	{                                                                                                    \
		name, function, .script = true                                                               \
	}

static const struct row lives[] = {
	SCRIPT("port-comes-back-with-a-warm-leg", port_comes_back),
	SCRIPT("rst-frees-the-port", rst_frees_the_port),
	SCRIPT("half-close-to-the-end", half_close_to_the_end),
	SCRIPT("nothing-follows-connection-close", after_connection_close),
	SCRIPT("fin-overtakes-the-body", fin_overtakes_the_body),
	SCRIPT("windows-of-all-scales", scaled_windows),
	SCRIPT("without-sack-small-mss", without_sack),
};

ROWS_MAIN(TABLE(syn_is_out), TABLE(under_way), TABLE(sack), TABLE(bodies), TABLE(idle), TABLE(ends),
	  TABLE(lives))

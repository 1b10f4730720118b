/* SPDX-License-Identifier: Apache-2.0 */
/* Segments from upstreams: handshakes of legs, responses in any framing and any pieces, ends and resets. */
#include "rows.h"

#include "http/body.h"
#include "http/parse.h"

#include <stdio.h>
#include <string.h>

#define REQUEST	   GET("/legacy")
#define LEN	   (int32_t)(sizeof(REQUEST) - 1)
#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})
#define FROM(...)                                                                                            \
	{                                                                                                    \
		.from = UPSTREAM0, ##__VA_ARGS__                                                             \
	}
#define RESETS(v, r, ...)                                                                                    \
	{                                                                                                    \
		.action = XDP_TX, .verdict = PHX_VERDICT_##v, .reason = PHX_REASON_##r, .sent = OWN,         \
		.to = UPSTREAM0, .flags = RST | ACK, .no_window = true, ##__VA_ARGS__                        \
	}
#define RESETS_BY_ACK                                                                                        \
	{                                                                                                    \
		.action = XDP_TX, .verdict = PHX_VERDICT_RST_REPLY, .sent = OWN, .to = UPSTREAM0,            \
		.flags = RST, .seq_is_ack = true, .no_ack = true, .no_window = true                          \
	}
#define SCRIPT(name, function, ...)                                                                          \
	{                                                                                                    \
		name, function, __VA_ARGS__, .script = true                                                  \
	}

/* --- the handshake --- */

static void no_options(struct talk *t)
{
	syn_sent(t);
	t->up[0].scale = NO_SCALE;
	t->up[0].sack = false;
}

static void small_mss(struct talk *t)
{
	syn_sent(t);
	t->up[0].mss = 1000;
}

static void no_mss(struct talk *t)
{
	syn_sent(t);
	t->up[0].mss = 0;
}

static void large_mss(struct talk *t)
{
	syn_sent(t);
	t->up[0].mss = 8960;
}

static void stash_taken(struct talk *t)
{
	struct phx_stash stash = {.owner = 99};
	syn_sent(t);
	rig_put_stash(t->gateway_port - RIG_PORT_FIRST, &stash);
}

#define REPLAYS ANSWERS(UPSTREAM0, REPLAY, PSH | ACK, .text = REQUEST)

static const struct row handshakes[] = {
	{"syn-ack", syn_sent, FROM(.flags = SYN | ACK), REPLAYS},
	{"syn-ack-padded", syn_sent, FROM(.flags = SYN | ACK, .pad = true), REPLAYS},
	{"syn-ack-no-options", no_options, FROM(.flags = SYN | ACK), REPLAYS},
	{"syn-ack-large-mss", large_mss, FROM(.flags = SYN | ACK), REPLAYS},
	{"syn-ack-options-as-Windows", syn_sent,
	 FROM(.flags = SYN | ACK, .options = BYTES(2, 4, 0x05, 0xb4, 1, 3, 3, 9, 1, 1, 4, 2)), REPLAYS},
	{"syn-ack-small-mss", small_mss, FROM(.flags = SYN | ACK), RESETS(UPSTREAM_RST, MTU, .ack = -1)},
	{"syn-ack-without-mss", no_mss, FROM(.flags = SYN | ACK), RESETS(UPSTREAM_RST, MTU, .ack = -1)},
	{"syn-ack-of-another-syn", syn_sent, FROM(.flags = SYN | ACK, .ack = 5), RESETS_BY_ACK},
	{"syn-ack-wrong-checksum", syn_sent, FROM(.flags = SYN | ACK, .wrong_checksum = true),
	 RESETS(UPSTREAM_RST, CHECKSUM, .ack = -1)},
	{"syn-ack-again", request_sent, FROM(.flags = SYN | ACK, .seq = -1, .ack = -LEN),
	 ANSWERS(UPSTREAM0, ACK_REPLY, ACK)},
	{"syn-ack-again-when-answered", between,
	 FROM(.flags = SYN | ACK, .seq = -1 - (int)sizeof(OK5) + 1, .ack = -LEN),
	 ANSWERS(UPSTREAM0, ACK_REPLY, ACK)},
	{"syn-ack-of-nothing", request_sent, FROM(.flags = SYN | ACK, .ack = -7), DROPS(INVALID)},
	{"syn-ack-stash-taken", stash_taken, FROM(.flags = SYN | ACK), ANSWERS(UPSTREAM0, ACK_REPLY, ACK)},
	{"refused",
	 syn_sent,
	 FROM(.flags = RST | ACK),
	 {XDP_DROP, PHX_VERDICT_UPSTREAM_RST, PHX_REASON_LEG_LOST}},
	{"rst-of-another-syn", syn_sent, FROM(.flags = RST | ACK, .ack = 9), DROPS(INVALID)},
	{"challenge-ack-of-an-old-connection", syn_sent, FROM(.flags = ACK, .ack = -1000), RESETS_BY_ACK},
	{"data-of-an-old-connection", syn_sent, FROM(.ack = -1000, .text = "old"), RESETS_BY_ACK},
	{"syn", syn_sent, FROM(.flags = SYN), DROPS(INVALID)},
	{"hop-limit-1", syn_sent, FROM(.flags = SYN | ACK, .ttl = 1), DROPS(TTL)},
	{"of-a-leg-that-is-not-there", nothing, FROM(.flags = SYN | ACK), PASSES(OTHER)},
};

/* --- whatever a response is framed by, in any pieces: its end is known, so the next request may follow ---
 */

static void next(struct talk *t, const char *request)
{
	says(t, CLIENT, request, (struct expect)GOES_TO(UPSTREAM0, REQUEST));
}

static void piece(struct talk *t, const char *text, size_t len)
{
	if (len)
		play(t, (struct packet){.from = UPSTREAM0, .flags = PSH | ACK, .text = text, .len = len},
		     (struct expect)GOES_TO(CLIENT, RESPONSE));
}

/* The row's text is the response to this request: whole, in two pieces at every cut, byte by byte. */
static void in_pieces(struct talk *t, const char *request)
{
	size_t len = strlen(t->text);
	handshake(t);
	request_to(t, UPSTREAM0, request);
	accepts(t, UPSTREAM0, request);
	for (size_t cut = 0; cut <= len && !t->failed; cut++) {
		piece(t, t->text, cut);
		piece(t, t->text + cut, len - cut);
		if (t->failed)
			fprintf(stderr, "%s: cut at %zu\n", t->name, cut);
		client_acks(t, UPSTREAM0);
		next(t, request);
	}
	for (size_t i = 0; i < len && !t->failed; i++)
		piece(t, t->text + i, 1);
	client_acks(t, UPSTREAM0);
	next(t, request);
}

static void to_get(struct talk *t)
{
	in_pieces(t, REQUEST);
}

static void to_head(struct talk *t)
{
	in_pieces(t, "HEAD /legacy HTTP/1.1\r\nHost: a\r\n\r\n");
}

#define OK(fields)	      "HTTP/1.1 200 OK\r\n" fields "\r\n"
#define RESPONSE(name, text_) SCRIPT(name, to_get, {.text = text_})
#define TO_HEAD(name, text_)  SCRIPT(name, to_head, {.text = text_})

static const struct row responses[] = {
	RESPONSE("length", OK("Content-Length: 5\r\n") "hello"),
	RESPONSE("length-0", OK("Content-Length: 0\r\n")),
	RESPONSE("length-with-fields", OK("Server: x\r\nContent-Length:3\r\nX-Long-Field-Name: some value "
					  "that is skipped\r\n") "abc"),
	RESPONSE("body-that-looks-like-a-head", OK("Content-Length: 19\r\n") "HTTP/1.1 200 OK\r\n\r\n"),
	RESPONSE("no-reason-phrase", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx"),
	RESPONSE("204", "HTTP/1.1 204 No Content\r\n\r\n"),
	RESPONSE("304-with-length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
	RESPONSE("304-without-length", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
	RESPONSE("404", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),
	RESPONSE("100-before", "HTTP/1.1 100 Continue\r\n\r\n" OK5),
	RESPONSE("103-before", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK5),
	RESPONSE("two-interim-ones-before", "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\n\r\n" OK5),
	RESPONSE("three-interim-ones-before",
		 "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 100 C\r\n\r\n" OK5),
	TO_HEAD("head-with-length", OK("Content-Length: 500\r\n")),
	TO_HEAD("head-chunked", OK("Transfer-Encoding: chunked\r\n")),
	TO_HEAD("head-without-either", OK("")),
	RESPONSE("chunked-empty", OK("Transfer-Encoding: chunked\r\n") "0\r\n\r\n"),
	RESPONSE("chunked",
		 OK("Transfer-Encoding: chunked\r\n") "5\r\nhello\r\n00a\r\n0123456789\r\n0\r\n\r\n"),
	RESPONSE("chunked-extensions",
		 OK("Transfer-Encoding: chunked\r\n") "2;a;b=c\r\nhi\r\n0;z=\"q\"\r\n\r\n"),
	RESPONSE("chunked-trailers",
		 OK("Transfer-Encoding: chunked\r\nTrailer: A\r\n") "2\r\nhi\r\n0\r\nA: b\r\nB:\r\n\r\n"),
	RESPONSE("chunked-data-that-looks-like-an-end",
		 OK("Transfer-Encoding: chunked\r\n") "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
	RESPONSE("chunked-upper-case", OK("TRANSFER-ENCODING: Chunked\r\n") "B\r\n01234567890\r\n0\r\n\r\n"),
	RESPONSE("chunked-behind-an-interim-one",
		 "HTTP/1.1 100 Continue\r\n\r\n" OK("Transfer-Encoding: chunked\r\n") "1\r\nx\r\n0\r\n\r\n"),
	RESPONSE("http-1.0-keep-alive",
		 "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"),
};

/* --- responses that are not HTTP: 502 before the first byte, a reset afterwards --- */

static void is_502(struct talk *t)
{
	static struct http_head head;
	struct http_body body;
	struct seen out;
	size_t consumed, produced;
	const char *wrong = talk_read(t->frame, t->frame_len, &out);
	http_head_init(&head, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
	if (wrong || http_head_parse(&head, (const char *)out.payload, out.payload_len) != HTTP_PARSE_DONE ||
	    head.scan.status != 502 || !(head.scan.flags & PHX_HEAD_CLOSE)) {
		talk_fail(t, "what the client gets is not a 502: %.*s", (int)out.payload_len,
			  (const char *)out.payload);
		return;
	}
	http_body_of_response(&body, &head, false);
	if (http_body_read(&body, (char *)out.payload + head.scan.pos, out.payload_len - head.scan.pos,
			   &consumed, &produced) != HTTP_BODY_END ||
	    consumed != out.payload_len - head.scan.pos)
		talk_fail(t, "the 502's body is not as long as it says");
}

static void broken_at_once(struct talk *t)
{
	request_acked(t);
	play(t, (struct packet){.from = UPSTREAM0, .flags = PSH | ACK, .text = t->text},
	     (struct expect){.action = XDP_REDIRECT,
			     .verdict = PHX_VERDICT_BAD_GATEWAY,
			     .sent = OWN,
			     .to = CLIENT,
			     .flags = PSH | ACK | FIN,
			     .any_text = true});
	if (t->failed)
		return;
	is_502(t);
	if (rig.stats[ROUTE_LEGACY].side[PHX_LEGACY].invalid != 1)
		talk_fail(t, "counted as invalid %llu times",
			  rig.stats[ROUTE_LEGACY].side[PHX_LEGACY].invalid);
	/* The client has it all and closes too. */
	play(t, (struct packet){.flags = FIN | ACK}, (struct expect)ANSWERS(CLIENT, CLIENT_FIN, ACK));
	if (rig_free_ports() != RIG_PORTS || rig_busy_flows())
		talk_fail(t, "%u ports are free, %u flows are busy", rig_free_ports(), rig_busy_flows());
	/* The upstream is told when it says more. */
	says(t, UPSTREAM0, "more", (struct expect)RESETS_BY_ACK);
}

#define BROKEN(name, text_) SCRIPT(name, broken_at_once, {.text = text_})

static const struct row broken[] = {
	BROKEN("not-http", "SSH-2.0-OpenSSH\r\n"),
	BROKEN("http-2", "HTTP/2.0 200 OK\r\n\r\n"),
	BROKEN("status-of-two-digits", "HTTP/1.1 20 OK\r\n\r\n"),
	BROKEN("status-600", "HTTP/1.1 600 X\r\n\r\n"),
	BROKEN("bare-lf", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
	BROKEN("two-lengths", OK("Content-Length: 1\r\nContent-Length: 1\r\n") "x"),
	BROKEN("negative-length", OK("Content-Length: -1\r\n")),
	BROKEN("length-and-chunked", OK("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
	BROKEN("gzip-coding", OK("Transfer-Encoding: gzip\r\n")),
	BROKEN("folded", OK("A: b\r\n c\r\nContent-Length: 0\r\n")),
	BROKEN("nul", OK("A: b\x01\r\n")),
	BROKEN("space-before-the-colon", OK("Content-Length : 0\r\n")),
};

static void broken_later(struct talk *t)
{
	chunked(t);
	says(t, UPSTREAM0, t->text,
	     (struct expect){.action = XDP_REDIRECT,
			     .verdict = PHX_VERDICT_BAD_GATEWAY,
			     .sent = OWN,
			     .to = CLIENT,
			     .flags = RST | ACK});
	if (rig_free_ports() != RIG_PORTS || rig_busy_flows())
		talk_fail(t, "%u ports are free, %u flows are busy", rig_free_ports(), rig_busy_flows());
}

static const struct row broken_behind_the_head[] = {
	SCRIPT("no-size", broken_later, {.text = "hello"}),
	SCRIPT("size-over-any-limit", broken_later, {.text = "fffffffffffffffff\r\n"}),
	SCRIPT("longer-than-it-says", broken_later, {.text = "1\r\nxx\r\n0\r\n\r\n"}),
	SCRIPT("bare-lf", broken_later, {.text = "1\nx\n0\n\n"}),
	SCRIPT("broken-trailer", broken_later, {.text = "0\r\nA b\nc\r\n\r\n"}),
};

/* --- order --- */

static const struct row order[] = {
	{"ack", request_sent, FROM(.flags = ACK), GOES_TO(CLIENT, ACK_DOWN)},
	{"window-update", half_answered, FROM(.flags = ACK, .window = 77), GOES_TO(CLIENT, ACK_DOWN)},
	{"ack-with-sack", request_sent,
	 FROM(.flags = ACK, .options = BYTES(1, 1, 5, 10, 0, 0, 1, 0, 0, 0, 2, 0)),
	 GOES_TO(CLIENT, ACK_DOWN)},
	{"ack-with-sack-at-an-odd-offset", request_sent,
	 FROM(.flags = ACK, .options = BYTES(1, 5, 10, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xfe, 1)),
	 GOES_TO(CLIENT, ACK_DOWN)},
	{"head-behind-a-gap", request_sent, FROM(.seq = 5, .text = "200 OK"),
	 ANSWERS(UPSTREAM0, ACK_REPLY, ACK)},
	{"body-behind-a-gap", half_answered, FROM(.seq = 1, .text = "lo"), GOES_TO(CLIENT, RESPONSE)},
	{"chunks-behind-a-gap", chunked, FROM(.seq = 3, .text = "x\r\n"),
	 ANSWERS(UPSTREAM0, ACK_REPLY, ACK, .ack = -47)},
	{"until-close-behind-a-gap", until_close, FROM(.seq = 3, .text = "x"),
	 ANSWERS(UPSTREAM0, ACK_REPLY, ACK, .ack = -22)},
	{"head-again", half_answered, FROM(.seq = -(int)sizeof(OK_HEAD5 "he") + 1, .text = OK_HEAD5 "he"),
	 GOES_TO(CLIENT, RESPONSE)},
	{"head-and-more-again", half_answered, FROM(.seq = -(int)sizeof(OK_HEAD5 "he") + 1, .text = OK5),
	 GOES_TO(CLIENT, RESPONSE)},
	{"overlaps-chunks", chunked, FROM(.seq = -2, .text = "\r\n3\r\nabc\r\n"), GOES_TO(CLIENT, RESPONSE)},
	{"all-again", answered, FROM(.seq = -(int)sizeof(OK5) + 1, .text = OK5), GOES_TO(CLIENT, RESPONSE)},
	{"all-again-when-idle", between, FROM(.seq = -(int)sizeof(OK5) + 1, .text = OK5),
	 ANSWERS(UPSTREAM0, ACK_REPLY, ACK)},
	{"junk-behind-the-end", half_answered, FROM(.text = "lloHTTP/1.1"),
	 GOES_TO(CLIENT, RESPONSE_TRIMMED, .cut = 8)},
	{"junk-behind-the-end-odd", half_answered, FROM(.text = "llox"),
	 GOES_TO(CLIENT, RESPONSE_TRIMMED, .cut = 1)},
	{"junk-behind-the-end-padded", half_answered, FROM(.text = "llox", .pad = true),
	 GOES_TO(CLIENT, RESPONSE_TRIMMED, .cut = 1)},
	{"second-response-at-once", request_sent, FROM(.text = OK5 OK5),
	 GOES_TO(CLIENT, RESPONSE_TRIMMED, .cut = sizeof(OK5) - 1)},
	{"junk-alone", answered, FROM(.text = "HTTP/1.1 200 OK\r\n"), RESETS(RESPONSE_TRIMMED, NONE)},
	{"junk-when-idle", between, FROM(.text = "HTTP/1.1 200 OK\r\n"), RESETS(RST_REPLY, NONE)},
	{"behind-a-gap-when-idle", between, FROM(.seq = 5, .text = "x"), DROPS(WAIT)},
	{"keep-alive-probe-when-idle", between, FROM(.seq = -1), ANSWERS(UPSTREAM0, ACK_REPLY, ACK)},
	{"ack-when-idle", between, FROM(.flags = ACK), DROPS(STALE)},
	{"ack-of-what-was-not-sent", half_answered, FROM(.ack = 1), DROPS(INVALID)},
	{"seq-far-off", half_answered, FROM(.seq = 0x50000000, .text = "x"), DROPS(INVALID)},
	{"no-ack-flag", half_answered, FROM(.flags = PSH, .text = "llo"), DROPS(INVALID)},
	{"syn", half_answered, FROM(.flags = SYN), DROPS(INVALID)},
	{"hop-limit-1", half_answered, FROM(.ttl = 1, .text = "llo"), DROPS(TTL)},
	{"of-another-port", half_answered, FROM(.from_port = 9999, .text = "llo"), PASSES(OTHER)},
	{"of-an-upstream-without-leg",
	 half_answered,
	 {.from = UPSTREAM1, .text = "llo"},
	 {.action = XDP_TX,
	  .verdict = PHX_VERDICT_RST_REPLY,
	  .sent = OWN,
	  .to = UPSTREAM1,
	  .flags = RST,
	  .seq_is_ack = true,
	  .no_ack = true,
	  .no_window = true}},
	{"rst-of-an-upstream-without-leg", half_answered, {.from = UPSTREAM1, .flags = RST}, DROPS(STALE)},
};

/* --- FIN and RST --- */

static void says_close(struct talk *t)
{
	request_sent(t);
	says(t, UPSTREAM0, OK("Connection: close\r\nContent-Length: 1\r\n") "x",
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
}

static const struct row ends[] = {
	{"fin-ends-the-body", until_close, FROM(.flags = FIN | ACK), GOES_TO(CLIENT, FIN_DOWN)},
	{"fin-with-the-last-bytes", until_close, FROM(.flags = FIN | ACK, .text = "def"),
	 GOES_TO(CLIENT, FIN_DOWN)},
	{"fin-behind-connection-close", says_close, FROM(.flags = FIN | ACK), GOES_TO(CLIENT, FIN_DOWN)},
	{"fin-cuts-the-body", half_answered, FROM(.flags = FIN | ACK), GOES_TO(CLIENT, FIN_DOWN)},
	{"fin-cuts-chunks", chunked, FROM(.flags = FIN | ACK, .text = "5\r\nab"), GOES_TO(CLIENT, FIN_DOWN)},
	{"fin-behind-a-gap", chunked, FROM(.flags = FIN | ACK, .seq = 9),
	 ANSWERS(UPSTREAM0, ACK_REPLY, ACK, .ack = -47)},
	{"fin-with-a-whole-answer", request_sent, FROM(.flags = FIN | ACK, .text = OK5),
	 GOES_TO(CLIENT, FIN_DOWN, .flags = ACK)},
	{"fin-behind-a-whole-answer", answered, FROM(.flags = FIN | ACK), DROPS(WAIT)},
	{"fin-before-the-request-came", request_sent, FROM(.flags = FIN | ACK, .ack = -LEN),
	 RESETS(UPSTREAM_FIN, LEG_LOST)},
	{"fin-when-idle", between, FROM(.flags = FIN | ACK), RESETS(UPSTREAM_FIN, NONE)},
	{"fin-when-closing", closing, FROM(.flags = FIN | ACK), RESETS(UPSTREAM_FIN, NONE)},
	{"fin-on-the-other-leg", two_legs, FROM(.flags = FIN | ACK), RESETS(UPSTREAM_FIN, NONE)},
	{"fin-when-half-closed", half_closed, FROM(.flags = FIN | ACK, .text = OK5),
	 GOES_TO(CLIENT, FIN_DOWN)},
	{"rst-before-the-request-came",
	 request_sent,
	 FROM(.flags = RST),
	 {XDP_DROP, PHX_VERDICT_UPSTREAM_RST, PHX_REASON_LEG_LOST}},
	{"rst-when-it-had-come", request_acked, FROM(.flags = RST), GOES_TO(CLIENT, UPSTREAM_RST)},
	{"rst-in-the-answer", half_answered, FROM(.flags = RST), GOES_TO(CLIENT, UPSTREAM_RST)},
	{"rst-ack-in-the-answer", half_answered, FROM(.flags = RST | ACK), GOES_TO(CLIENT, UPSTREAM_RST)},
	{"rst-elsewhere", half_answered, FROM(.flags = RST, .seq = 1), DROPS(INVALID)},
	{"rst-when-idle", between, FROM(.flags = RST), DROPS(UPSTREAM_RST)},
	{"rst-on-the-other-leg", two_legs, FROM(.flags = RST), DROPS(UPSTREAM_RST)},
	{"rst-behind-a-whole-unacked-answer", answered, FROM(.flags = RST), GOES_TO(CLIENT, UPSTREAM_RST)},
};

/* A refused request is the client's to send again, and the daemon's to serve. */
static void refused_then_daemon(struct talk *t)
{
	syn_sent(t);
	play(t, (struct packet){.from = UPSTREAM0, .flags = RST | ACK},
	     (struct expect){XDP_DROP, PHX_VERDICT_UPSTREAM_RST, PHX_REASON_LEG_LOST});
	play(t, (struct packet){.seq = -LEN, .text = REQUEST}, (struct expect)PASSES(HAND_OVER));
	if (rig.upstreams[0].avoid_until_ns <= rig_now())
		talk_fail(t, "the upstream is not avoided");
	if (rig.stats[ROUTE_LEGACY].side[PHX_LEGACY].requests != 0)
		talk_fail(t, "it is counted as served");
}

static void lost_leg_then_daemon(struct talk *t)
{
	request_sent(t);
	play(t, (struct packet){.from = UPSTREAM0, .flags = RST},
	     (struct expect){XDP_DROP, PHX_VERDICT_UPSTREAM_RST, PHX_REASON_LEG_LOST});
	play(t, (struct packet){.seq = -LEN, .text = REQUEST}, (struct expect)PASSES(HAND_OVER));
	if (rig.stats[ROUTE_LEGACY].side[PHX_LEGACY].requests != 0)
		talk_fail(t, "it is counted as served");
}

/* A piece of it behind the lost first one, right after an answer: nothing was passed that it could follow. */
static void lost_leg_second_segment(struct talk *t)
{
	between(t);
	says(t, CLIENT, "POST /legacy HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
	     (struct expect)GOES_TO(UPSTREAM0, REQUEST));
	play(t, (struct packet){.from = UPSTREAM0, .flags = RST},
	     (struct expect){XDP_DROP, PHX_VERDICT_UPSTREAM_RST, PHX_REASON_LEG_LOST});
	says(t, CLIENT, "012345678", (struct expect)DROPS(WAIT));
}

/* The leg that ends behind an answer: the next request to it is the daemon's, one elsewhere is not. */
static void after_fin(struct talk *t)
{
	request_sent(t);
	play(t, (struct packet){.from = UPSTREAM0, .flags = FIN | ACK, .text = OK5},
	     (struct expect)GOES_TO(CLIENT, FIN_DOWN, .flags = ACK));
	client_acks(t, UPSTREAM0);
	says(t, CLIENT, REQUEST, (struct expect)HANDS_OVER(LEG_LOST));
}

static void hop_fields(struct talk *t)
{
	request_sent(t);
	says(t, UPSTREAM0, OK("Connection: x\r\nX: y\r\nContent-Length: 1\r\n") "z",
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	says(t, CLIENT, REQUEST, (struct expect)HANDS_OVER(UNFIT));
}

/* The upstream's FIN first, then the client's. */
static void upstream_closes_first(struct talk *t)
{
	until_close(t);
	play(t, (struct packet){.from = UPSTREAM0, .flags = FIN | ACK},
	     (struct expect)GOES_TO(CLIENT, FIN_DOWN));
	client_acks(t, UPSTREAM0);
	play(t, (struct packet){.flags = FIN | ACK}, (struct expect)GOES_TO(UPSTREAM0, FIN_UP));
	upstream_acks(t, UPSTREAM0);
	if (rig_free_ports() != RIG_PORTS || rig_busy_flows())
		talk_fail(t, "%u ports are free, %u flows are busy", rig_free_ports(), rig_busy_flows());
}

static void answer_before_the_body(struct talk *t)
{
	posting(t);
	says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	/* Not a boundary: the rest of the body belongs to the same upstream. */
	says(t, CLIENT, "56789", (struct expect)GOES_TO(UPSTREAM0, REQUEST_BODY));
	says(t, CLIENT, GET("/modern"), (struct expect)DROPS(WAIT));
	upstream_acks(t, UPSTREAM0);
	play(t, (struct packet){.seq = -(int)sizeof(GET("/modern")) + 1, .text = GET("/modern")},
	     (struct expect)NEW_SYN(UPSTREAM1));
}

static void bytes_counted(struct talk *t)
{
	handshake(t);
	request_to(t, UPSTREAM0, REQUEST);
	accepts(t, UPSTREAM0, REQUEST);
	/* More than 2^30 bytes: the end is not known in sequence numbers yet. */
	says(t, UPSTREAM0, "HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\nabc",
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	says(t, CLIENT, REQUEST, (struct expect)DROPS(WAIT));
	if (talk_flow(t)->body != PHX_BODY_COUNTED || talk_flow(t)->chunk_left != 4999999997u)
		talk_fail(t, "body %u, %llu bytes to come", talk_flow(t)->body, talk_flow(t)->chunk_left);
}

static const struct row lives[] = {
	SCRIPT("refused-then-the-daemon", refused_then_daemon, {.from = CLIENT}),
	SCRIPT("lost-leg-then-the-daemon", lost_leg_then_daemon, {.from = CLIENT}),
	SCRIPT("lost-leg-second-segment", lost_leg_second_segment, {.from = CLIENT}),
	SCRIPT("fin-behind-an-answer-then-the-daemon", after_fin, {.from = CLIENT}),
	SCRIPT("hop-by-hop-fields-then-the-daemon", hop_fields, {.from = CLIENT}),
	SCRIPT("upstream-closes-first", upstream_closes_first, {.from = CLIENT}),
	SCRIPT("answer-before-the-body", answer_before_the_body, {.from = CLIENT}),
	SCRIPT("five-gigabytes", bytes_counted, {.from = CLIENT}),
};

ROWS_MAIN(TABLE(handshakes), TABLE(responses), TABLE(broken), TABLE(broken_behind_the_head), TABLE(order),
	  TABLE(ends), TABLE(lives))

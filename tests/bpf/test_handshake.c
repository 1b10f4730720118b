/* SPDX-License-Identifier: Apache-2.0 */
/* Connections before their first request: SYN cookies, and packets that are not ours. */
#include "rows.h"

#include <string.h>

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

/* --- options of a SYN, in any layout (RFC 9293 3.2) --- */

static void no_options(struct talk *t)
{
	t->client.mss = 0;
	t->client.scale = NO_SCALE;
	t->client.sack = false;
}

static void only_mss(struct talk *t)
{
	no_options(t);
	t->client.mss = 1460;
}

static void no_sack(struct talk *t)
{
	t->client.sack = false;
}

static void no_scaling(struct talk *t)
{
	t->client.scale = NO_SCALE;
}

static void scale_0(struct talk *t)
{
	t->client.scale = 0;
}

static void scale_14(struct talk *t)
{
	t->client.scale = 14;
}

static void small_mss(struct talk *t)
{
	t->client.mss = 1219;
}

static void tiny_mss(struct talk *t)
{
	t->client.mss = 500;
}

static void jumbo_mss(struct talk *t)
{
	t->client.mss = 8960;
}

#define SYN_WITH(...)                                                                                        \
	{                                                                                                    \
		.flags = SYN, .options = BYTES(__VA_ARGS__)                                                  \
	}
#define SYN_COOKIE_ANSWER ANSWERS(CLIENT, SYN_COOKIE, SYN | ACK)

static const struct row syn_options[] = {
	{"as-Linux", nothing, SYN_WITH(2, 4, 0x05, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 8),
	 SYN_COOKIE_ANSWER},
	{"as-Windows", nothing, SYN_WITH(2, 4, 0x05, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2), SYN_COOKIE_ANSWER},
	{"as-macOS", nothing,
	 SYN_WITH(2, 4, 0x05, 0xb4, 1, 3, 3, 8, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 4, 2, 0, 0),
	 SYN_COOKIE_ANSWER},
	{"none", no_options, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"mss", only_mss, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"no-sack", no_sack, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"no-scaling", no_scaling, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"scale-0", scale_0, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"scale-14", scale_14, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"scale-over-14", scale_14, SYN_WITH(2, 4, 0x05, 0xb4, 4, 2, 3, 3, 15, 1, 1, 1), SYN_COOKIE_ANSWER},
	{"mss-between-classes", small_mss, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"mss-below-all-classes", tiny_mss, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"jumbo-mss", jumbo_mss, {.flags = SYN}, SYN_COOKIE_ANSWER},
	{"odd-offsets", nothing, SYN_WITH(1, 4, 2, 1, 3, 3, 8, 2, 4, 0x05, 0xb4, 1), SYN_COOKIE_ANSWER},
	{"no-operations-first", nothing, SYN_WITH(1, 1, 1, 1, 1, 2, 4, 0x05, 0xb4, 3, 3, 8, 4, 2, 1, 1),
	 SYN_COOKIE_ANSWER},
	{"forty-bytes", nothing,
	 SYN_WITH(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		  2, 4, 0x05, 0xb4, 3, 3, 8, 4, 2),
	 SYN_COOKIE_ANSWER},
	{"unknown-between", nothing,
	 SYN_WITH(34, 2, 253, 6, 1, 2, 3, 4, 2, 4, 0x05, 0xb4, 4, 2, 3, 3, 8, 1, 1, 1), SYN_COOKIE_ANSWER},
	{"end-before-others", only_mss, SYN_WITH(2, 4, 0x05, 0xb4, 0, 3, 3, 8, 4, 2, 1, 1),
	 SYN_COOKIE_ANSWER},
	{"zero-length-option", only_mss, SYN_WITH(2, 4, 0x05, 0xb4, 5, 0, 3, 3, 8, 4, 2, 1),
	 SYN_COOKIE_ANSWER},
	{"option-past-the-end", only_mss, SYN_WITH(2, 4, 0x05, 0xb4, 253, 9, 4, 2), SYN_COOKIE_ANSWER},
	{"mss-of-wrong-length", no_options, SYN_WITH(2, 3, 5, 1), SYN_COOKIE_ANSWER},
	{"window-scale-of-wrong-length", no_scaling, SYN_WITH(2, 4, 0x05, 0xb4, 4, 2, 3, 4, 8, 8, 1, 1),
	 SYN_COOKIE_ANSWER},
	{"ecn", nothing, {.flags = SYN | 0x40 | 0x80}, SYN_COOKIE_ANSWER},
	{"padded", no_options, {.flags = SYN, .pad = true}, SYN_COOKIE_ANSWER},
	{"with-data", nothing, {.flags = SYN, .text = "GET / HTTP/1.1\r\n"}, SYN_COOKIE_ANSWER},
};

/* --- cookies --- */

#define ANOTHER_PORT 40000

/* The client goes on as if it had got this cookie; it has a port for which nothing wrong below is right by
 * chance. */
static void with_cookie(struct talk *t, unsigned client, uint64_t epochs_ago)
{
	uint32_t cookie;
	bool valid = client == 0 && epochs_ago < PHX_COOKIE_EPOCHS;
	do {
		t->client_port++;
		cookie = talk_cookie(t, client, t->client.nxt, (rig_now() >> PHX_CLOCK_SHIFT) - epochs_ago,
				     talk_cookie_bits(&t->client));
	} while ((!valid && talk_cookie_by_chance(0, t->client_port, cookie)) ||
		 talk_cookie_by_chance(0, t->client_port, cookie + 1) ||
		 talk_cookie_by_chance(2, t->client_port, cookie) ||
		 talk_cookie_by_chance(0, ANOTHER_PORT, cookie));
	t->client.rcv = cookie + 1;
	t->client.nxt++;
}

static void cookie_of_now(struct talk *t)
{
	with_cookie(t, 0, 0);
}

/* The epoch may end between here and the program's look at the clock: an epoch less is as good. */
static void cookie_of_long_ago(struct talk *t)
{
	with_cookie(t, 0, PHX_COOKIE_EPOCHS - 2);
}

static void cookie_too_old(struct talk *t)
{
	with_cookie(t, 0, PHX_COOKIE_EPOCHS);
}

static void cookie_of_the_future(struct talk *t)
{
	with_cookie(t, 0, (uint64_t)-2);
}

static void cookie_of_somebody_else(struct talk *t)
{
	with_cookie(t, 1, 0);
}

static void cookie_for_another_isn(struct talk *t)
{
	with_cookie(t, 0, 0);
	t->client.nxt += 10;
}

/* The key that reigns is replaced: whoever holds a cookie of it must begin anew. */
static void cookie_key_gone(struct talk *t)
{
	do {
		with_cookie(t, 0, 0);
		t->client.nxt--;
		rig.config->cookie[0][0]++;
		rig.config->cookie[1][0]++;
	} while (talk_cookie_by_chance(0, t->client_port, t->client.rcv - 1));
	t->client.nxt++;
}

/* The other key is replaced, as the daemon does: nothing changes. */
static void cookie_other_key_replaced(struct talk *t)
{
	with_cookie(t, 0, 0);
	rig.config->cookie[~(rig_now() >> PHX_CLOCK_SHIFT >> PHX_KEY_SHIFT) & 1][1] ^= 1;
}

static const struct row cookies[] = {
	{"fresh-ack", cookie_of_now, {.flags = ACK}, DROPS(HANDSHAKE)},
	{"fresh-ack-padded", cookie_of_now, {.flags = ACK, .pad = true}, DROPS(HANDSHAKE)},
	{"fresh-request", cookie_of_now, {.text = GET("/legacy")}, NEW_SYN(UPSTREAM0)},
	{"old-request", cookie_of_long_ago, {.text = GET("/legacy")}, NEW_SYN(UPSTREAM0)},
	{"too-old-ack", cookie_too_old, {.flags = ACK}, DROPS(STALE)},
	{"too-old-request", cookie_too_old, {.text = GET("/legacy")}, PASSES(KERNEL)},
	{"of-the-future", cookie_of_the_future, {.text = GET("/legacy")}, PASSES(KERNEL)},
	{"of-somebody-else", cookie_of_somebody_else, {.text = GET("/legacy")}, PASSES(KERNEL)},
	{"behind-a-lost-segment", cookie_for_another_isn, {.text = GET("/legacy")}, DROPS(WAIT)},
	{"ack-behind-a-lost-segment", cookie_for_another_isn, {.flags = ACK}, DROPS(HANDSHAKE)},
	{"fin-behind-a-lost-segment", cookie_for_another_isn, {.flags = FIN | ACK}, DROPS(WAIT)},
	{"ack-one-off", cookie_of_now, {.ack = 1, .text = GET("/legacy")}, PASSES(KERNEL)},
	{"key-gone", cookie_key_gone, {.text = GET("/legacy")}, PASSES(KERNEL)},
	{"other-key-replaced", cookie_other_key_replaced, {.text = GET("/legacy")}, NEW_SYN(UPSTREAM0)},
	{"from-another-port",
	 cookie_of_now,
	 {.from_port = ANOTHER_PORT, .text = GET("/legacy")},
	 PASSES(KERNEL)},
	{"from-another-address", cookie_of_now, {.client = 2, .text = GET("/legacy")}, PASSES(KERNEL)},
	{"fin-instead-of-a-request",
	 cookie_of_now,
	 {.flags = FIN | ACK},
	 {.action = XDP_TX,
	  .verdict = PHX_VERDICT_CLIENT_FIN,
	  .sent = OWN,
	  .to = CLIENT,
	  .flags = FIN | ACK,
	  .no_window = true}},
	{"rst-instead-of-a-request", cookie_of_now, {.flags = RST}, DROPS(STALE)},
	{"rst-ack-instead-of-a-request", cookie_of_now, {.flags = RST | ACK}, DROPS(STALE)},
	{"keep-alive-probe", cookie_of_now, {.seq = -1}, DROPS(HANDSHAKE)},
	{"second-segment-first", cookie_of_now, {.seq = 100, .text = "Host: a\r\n\r\n"}, DROPS(WAIT)},
	{"request-without-ack-flag", cookie_of_now, {.flags = PSH, .text = GET("/legacy")}, PASSES(KERNEL)},
	{"data-with-wrong-checksum",
	 cookie_of_now,
	 {.text = GET("/legacy"), .wrong_checksum = true},
	 DROPS(INVALID)},
};

/* --- packets that are nobody's or not ours --- */

static void no_handshake(struct talk *t)
{
	while (talk_cookie_by_chance(0, t->client_port, t->client.rcv - 1))
		t->client.rcv++;
}

static void mode_off(struct talk *t)
{
	with_cookie(t, 0, 0);
	rig.config->mode = PHX_MODE_OFF;
}

static void mode_drain(struct talk *t)
{
	with_cookie(t, 0, 0);
	rig.config->mode = PHX_MODE_DRAIN;
}

static const struct row strangers[] = {
	{"ack-of-nothing", no_handshake, {.flags = ACK}, DROPS(STALE)},
	{"data-of-nothing", no_handshake, {.text = GET("/legacy")}, PASSES(KERNEL)},
	{"fin-of-nothing", no_handshake, {.flags = FIN | ACK}, PASSES(KERNEL)},
	{"rst-of-nothing", nothing, {.flags = RST}, DROPS(STALE)},
	{"syn-ack-to-a-listener", nothing, {.flags = SYN | ACK}, DROPS(INVALID)},
	{"no-flags-at-all", nothing, {.flags = 0x80}, PASSES(KERNEL)},
	{"syn-rst", nothing, {.flags = SYN | RST}, DROPS(STALE)},
	{"syn-wrong-checksum", nothing, {.flags = SYN, .wrong_checksum = true}, PASSES(BAD_CHECKSUM)},
	{"syn-hop-limit-1", nothing, {.flags = SYN, .ttl = 1}, SYN_COOKIE_ANSWER},
	{"another-port", nothing, {.flags = SYN, .other_port = true}, PASSES(OTHER)},
	{"udp", nothing, {.flags = SYN, .udp = true}, PASSES(OTHER)},
	{"ip-options", nothing, {.flags = SYN, .ip_options = true}, PASSES(OTHER), .only = 4},
	{"fragment", nothing, {.flags = SYN, .fragment = true}, PASSES(OTHER), .only = 4},
	{"extension-header", nothing, {.flags = SYN, .extension_header = true}, PASSES(OTHER), .only = 6},
	{"shorter-than-it-says", nothing, {.flags = SYN, .truncated = true}, PASSES(OTHER)},
	{"data-offset-below-20", nothing, {.flags = SYN, .data_offset = 16}, PASSES(OTHER)},
	{"data-offset-past-the-end", nothing, {.flags = SYN, .data_offset = 60}, PASSES(OTHER)},
	{"off-syn", mode_off, {.flags = SYN}, PASSES(KERNEL)},
	{"off-request", mode_off, {.text = GET("/legacy")}, PASSES(KERNEL)},
	{"drain-syn", mode_drain, {.flags = SYN}, PASSES(KERNEL)},
	{"drain-request", mode_drain, {.text = GET("/legacy")}, HANDS_OVER(DRAINING)},
	{"drain-ack", mode_drain, {.flags = ACK}, DROPS(HANDSHAKE)},
	{"upstream-syn-to-our-port", nothing, {.from = UPSTREAM0, .flags = SYN}, PASSES(OTHER)},
};

ROWS_MAIN(TABLE(syn_options), TABLE(cookies), TABLE(strangers))

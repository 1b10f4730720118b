/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Packet too big" (RFC 1191, RFC 8201) about frames that the programs sent, from a router on either side,
 * and the messages that are the kernel's. The messages are built here, and what comes out is summed from
 * scratch.
 */
#include "rows.h"

#include <stdio.h>
#include <string.h>

#define ROUTER	 7 /* an upstream's or a client's number, for its address and hardware address */
#define MTU	 1300
#define TCP	 6
#define UDP	 17
#define MORE_MAX 64

#define SCRIPT(name, function, ...)                                                                          \
	{                                                                                                    \
		name, function, .script = true, ##__VA_ARGS__                                                \
	}

/* A message. What it quotes is a frame from the gateway to a client or an upstream. */
struct message {
	enum peer about;     /* where the quoted frame went */
	uint32_t seq;	     /* its number, as that peer knows it */
	uint8_t type, code;  /* 0: too big */
	uint8_t ttl;	     /* 0: 64 */
	uint8_t proto;	     /* of the quoted packet; 0: TCP */
	uint16_t other_port; /* bits that the gateway's port has otherwise in it */
	size_t more;	     /* so many bytes more than the eight of TCP are quoted */
	size_t cut;	     /* so many bytes of the frame are missing */
	bool quotes_options; /* its header has IP options, or an extension header */
};

static void put(uint8_t *p, uint32_t value, unsigned bytes)
{
	while (bytes--)
		*p++ = (uint8_t)(value >> 8 * bytes);
}

static uint32_t get(const uint8_t *p, unsigned bytes)
{
	uint32_t value = 0;
	while (bytes--)
		value = value << 8 | *p++;
	return value;
}

/* RFC 1071; 0xffff when the sum is in it. */
static uint32_t sum(const uint8_t *p, size_t len, uint32_t start)
{
	for (size_t i = 0; i < len; i++)
		start += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

static uint32_t icmp_sum(const uint8_t *ip, bool v6, const uint8_t *icmp, size_t len)
{
	if (!v6)
		return sum(icmp, len, 0);
	/* RFC 4443 2.3: with a pseudo header. */
	return sum(icmp, len, sum(ip + 8, 32, (uint32_t)len + 58));
}

/* An IP header for `len` bytes behind it; returns its length. */
static size_t put_header(bool v6, uint8_t *ip, size_t len, uint8_t proto, uint8_t ttl,
			 const struct phx_addr *src, const struct phx_addr *dst)
{
	memset(ip, 0, 40);
	if (v6) {
		ip[0] = 0x60;
		put(ip + 4, (uint32_t)len, 2);
		ip[6] = proto;
		ip[7] = ttl;
		memcpy(ip + 8, src, 16);
		memcpy(ip + 24, dst, 16);
		return 40;
	}
	ip[0] = 0x45;
	put(ip + 2, (uint32_t)len + 20, 2);
	put(ip + 4, 0x4321, 2);
	ip[6] = 0x40;
	ip[8] = ttl;
	ip[9] = proto;
	memcpy(ip + 12, &src->word[3], 4);
	memcpy(ip + 16, &dst->word[3], 4);
	put(ip + 10, 0xffff & ~sum(ip, 20, 0), 2);
	return 20;
}

/* What stands at the beginning of the quoted TCP segment. */
static void put_ports(const struct talk *t, const struct message *m, uint8_t *tcp)
{
	if (m->about == CLIENT) {
		put(tcp, RIG_LISTEN_PORT ^ m->other_port, 2);
		put(tcp + 2, t->client_port, 2);
	} else {
		put(tcp, (uint32_t)t->gateway_port ^ m->other_port, 2);
		put(tcp + 2, 9000 + (uint32_t)(m->about - UPSTREAM0), 2);
	}
	put(tcp + 4, m->seq, 4);
	for (size_t i = 0; i < m->more; i++)
		tcp[8 + i] = (uint8_t)(i * 7 + 1);
}

/* The frame; `icmp_at` is where the message begins. */
static size_t build(const struct talk *t, const struct message *m, uint8_t frame[RIG_FRAME_MAX],
		    size_t *icmp_at)
{
	bool client = m->about == CLIENT;
	unsigned n = client ? 0 : (unsigned)(m->about - UPSTREAM0);
	struct phx_addr gateway = client ? rig_gateway_addr() : rig_source_addr();
	struct phx_addr peer = client ? rig_client_addr(0) : rig_upstream_addr(n);
	struct phx_addr router = client ? rig_client_addr(ROUTER) : rig_upstream_addr(ROUTER);
	uint32_t vlan = client ? t->vlan : t->upstream_vlan;
	uint8_t inner[40 + 8 + 8 + MORE_MAX], link[2][6] = {{2}, {2}};
	size_t quoted = put_header(t->v6, inner, 1400, m->proto ? m->proto : TCP, 60, &gateway, &peer);
	if (m->quotes_options && t->v6)
		inner[6] = 0; /* hop-by-hop options */
	else if (m->quotes_options)
		inner[0] = 0x46;
	put_ports(t, m, inner + quoted);
	size_t inner_len = quoted + 8 + m->more, icmp_len = 8 + inner_len, at = 12;
	link[0][5] = client ? RIG_CLIENT_SIDE : RIG_UPSTREAM_SIDE;
	link[1][5] = client ? RIG_CLIENT_MAC : RIG_UPSTREAM_MAC + ROUTER;
	memcpy(frame, link, 12);
	if (vlan) {
		put(frame + at, 0x81000000u | (vlan - 1), 4);
		at += 4;
	}
	put(frame + at, t->v6 ? 0x86dd : 0x0800, 2);
	uint8_t *ip = frame + at + 2;
	uint8_t *icmp =
		ip + put_header(t->v6, ip, icmp_len, t->v6 ? 58 : 1, m->ttl ? m->ttl : 64, &router, &gateway);
	memset(icmp, 0, 8);
	icmp[0] = m->type ? m->type : t->v6 ? 2 : 3;
	icmp[1] = m->type ? m->code : t->v6 ? 0 : 4;
	put(icmp + (t->v6 ? 4 : 6), MTU, t->v6 ? 4 : 2);
	memcpy(icmp + 8, inner, inner_len);
	put(icmp + 2, 0xffff & ~icmp_sum(ip, t->v6, icmp, icmp_len), 2);
	*icmp_at = (size_t)(icmp - frame);
	return *icmp_at + icmp_len - m->cut;
}

/* Sends it; what came out is in t->frame. */
static void hear(struct talk *t, struct message m, int action, enum phx_verdict verdict)
{
	uint8_t sent[RIG_FRAME_MAX];
	size_t icmp_at, len = build(t, &m, sent, &icmp_at);
	memcpy(t->frame, sent, len);
	t->frame_len = len;
	rig_counters(&t->before);
	int got = rig_run_xdp(rig.xdp, m.about == CLIENT ? rig.client_ifindex : rig.upstream_ifindex,
			      t->frame, &t->frame_len);
	rig_counters(&t->after);
	const uint64_t *before = (const uint64_t *)&t->before.verdict,
		       *after = (const uint64_t *)&t->after.verdict;
	talk_checks += 3;
	if (got != action)
		talk_fail(t, "the action is %d, not %d", got, action);
	for (int i = 0; i < PHX_VERDICT_COUNT; i++) {
		if (after[i] - before[i] != (i == (int)verdict))
			talk_fail(t, "verdict %d moved by %d; %d was expected", i,
				  (int)(after[i] - before[i]), (int)verdict);
	}
	if (got == XDP_PASS && (t->frame_len != len || memcmp(t->frame, sent, len) != 0))
		talk_fail(t, "what is passed to the kernel was changed");
}

static void is(struct talk *t, const char *what, uint64_t got, uint64_t want)
{
	talk_checks++;
	if (got != want)
		talk_fail(t, "%s is 0x%llx, not 0x%llx", what, (unsigned long long)got,
			  (unsigned long long)want);
}

static void is_address(struct talk *t, const char *what, const uint8_t *got, struct phx_addr want)
{
	talk_checks++;
	if (memcmp(got, t->v6 ? (uint8_t *)&want : (uint8_t *)&want.word[3], t->v6 ? 16 : 4) != 0)
		talk_fail(t, "%s is another one", what);
}

/* The message in t->frame went to the client, about the client's own segment with this number. */
static void reached_client(struct talk *t, uint32_t seq, size_t more)
{
	uint8_t *frame = t->frame, macs[2][6] = {{2}, {2}};
	size_t l3 = t->vlan ? 18 : 14, head = t->v6 ? 40 : 20;
	const uint8_t *ip = frame + l3, *icmp = ip + head, *quoted = icmp + 8, *tcp = quoted + head;
	size_t icmp_len = 8 + head + 8 + more;
	is(t, "the frame's length", t->frame_len, l3 + head + icmp_len);
	macs[0][5] = RIG_CLIENT_MAC;
	macs[1][5] = RIG_CLIENT_SIDE;
	is(t, "the hardware addresses", (uint64_t)memcmp(frame, macs, 12), 0);
	if (t->vlan)
		is(t, "the VLAN", get(frame + 14, 2) & 0xfff, t->vlan - 1);
	is(t, "the hop limit", ip[t->v6 ? 7 : 8], 63);
	is_address(t, "the router's address", ip + (t->v6 ? 8 : 12), rig_upstream_addr(ROUTER));
	is_address(t, "the receiver", ip + (t->v6 ? 24 : 16), rig_client_addr(0));
	if (!t->v6) {
		is(t, "the header's sum", sum(ip, 20, 0), 0xffff);
		is(t, "the quoted header's sum", sum(quoted, 20, 0), 0xffff);
	}
	is(t, "the message's sum", icmp_sum(ip, t->v6, icmp, icmp_len), 0xffff);
	is(t, "the type", icmp[0], t->v6 ? 2 : 3);
	is(t, "the MTU", get(icmp + (t->v6 ? 4 : 6), t->v6 ? 4 : 2), MTU);
	is_address(t, "the quoted source", quoted + (t->v6 ? 8 : 12), rig_client_addr(0));
	is_address(t, "the quoted destination", quoted + (t->v6 ? 24 : 16), rig_gateway_addr());
	is(t, "the quoted source port", get(tcp, 2), t->client_port);
	is(t, "the quoted destination port", get(tcp + 2, 2), RIG_LISTEN_PORT);
	is(t, "the quoted number", get(tcp + 4, 4), seq);
	for (size_t i = 0; i < more; i++)
		is(t, "a byte behind the quoted head", tcp[8 + i], (uint8_t)(i * 7 + 1));
}

/* --- about frames to an upstream: the client has to send less --------------------------------------------
 */

/* The body is on its way: what of it went out last begins five bytes before what the upstream expects. */
static struct message too_big_up(struct talk *t, int32_t seq)
{
	return (struct message){.about = UPSTREAM0, .seq = t->up[0].rcv + (uint32_t)seq};
}

static void translated(struct talk *t)
{
	posting(t);
	hear(t, too_big_up(t, -5), XDP_REDIRECT, PHX_VERDICT_ICMP);
	reached_client(t, t->client.nxt - 5, 0);
}

static void translated_with_more(struct talk *t)
{
	posting(t);
	struct message m = too_big_up(t, -5);
	m.more = MORE_MAX;
	hear(t, m, XDP_REDIRECT, PHX_VERDICT_ICMP);
	reached_client(t, t->client.nxt - 5, MORE_MAX);
}

/* The segment comes again, shorter, and all goes on. */
static void client_sends_less(struct talk *t)
{
	posting(t);
	hear(t, too_big_up(t, -5), XDP_REDIRECT, PHX_VERDICT_ICMP);
	play(t, (struct packet){.flags = PSH | ACK, .seq = -5, .text = "012"},
	     (struct expect)GOES_TO(UPSTREAM0, REQUEST_AGAIN));
	says(t, CLIENT, "56789", (struct expect)GOES_TO(UPSTREAM0, REQUEST_BODY));
}

static void up_outside_window(struct talk *t)
{
	posting(t);
	hear(t, too_big_up(t, 1), XDP_DROP, PHX_VERDICT_INVALID);
	upstream_acks(t, UPSTREAM0);
	hear(t, too_big_up(t, -1), XDP_DROP, PHX_VERDICT_INVALID);
}

static void up_of_another_leg(struct talk *t)
{
	two_legs(t);
	struct message m = {.about = UPSTREAM0, .seq = t->up[0].rcv};
	hear(t, m, XDP_DROP, PHX_VERDICT_INVALID);
}

static void up_of_no_flow(struct talk *t)
{
	posting(t);
	struct message m = too_big_up(t, -5);
	m.other_port = 1;
	hear(t, m, XDP_DROP, PHX_VERDICT_INVALID);
	m.other_port = RIG_PORTS;
	hear(t, m, XDP_PASS, PHX_VERDICT_OTHER);
}

static void up_of_a_stranger(struct talk *t)
{
	posting(t);
	struct message m = too_big_up(t, -5);
	m.about = UPSTREAM0 + 12; /* no upstream of ours has a connection there from this port */
	hear(t, m, XDP_DROP, PHX_VERDICT_INVALID);
}

static const struct row upstream_rows[] = {
	SCRIPT("translated", translated),
	SCRIPT("translated-with-more-quoted", translated_with_more),
	SCRIPT("client-sends-less", client_sends_less),
	SCRIPT("outside-window", up_outside_window),
	SCRIPT("other-leg", up_of_another_leg),
	SCRIPT("no-flow", up_of_no_flow),
	SCRIPT("stranger", up_of_a_stranger),
};

/* --- about frames to a client: never told to the upstream ------------------------------------------------
 */

static struct message too_big_down(struct talk *t, int32_t seq)
{
	return (struct message){.about = CLIENT, .seq = t->client.rcv + (uint32_t)seq};
}

/* IPv4: from now on routers may cut the frames, and frames that are long enough for that have their own ids.
 */
static void narrow4(struct talk *t)
{
	static char text[600];
	uint32_t ids[2];
	memset(text, 'x', sizeof(text) - 1);
	until_close(t);
	hear(t, too_big_down(t, -3), XDP_DROP, PHX_VERDICT_ICMP);
	for (int i = 0; i < 2; i++) {
		says(t, UPSTREAM0, text, (struct expect)GOES_TO(CLIENT, RESPONSE, .may_be_cut = true));
		ids[i] = get(t->frame + (t->vlan ? 18 : 14) + 4, 2);
	}
	talk_checks++;
	if (ids[0] == ids[1])
		talk_fail(t, "two frames that may be cut have the same id");
}

/* ... its next request is the daemon's, and so is its next connection. */
static void narrow_next(struct talk *t)
{
	answered(t);
	hear(t, too_big_down(t, -10), XDP_DROP, PHX_VERDICT_ICMP);
	client_acks(t, UPSTREAM0);
	says(t, CLIENT, GET("/legacy"), (struct expect)HANDS_OVER(MTU));
}

static void narrow_new(struct talk *t)
{
	answered(t);
	hear(t, too_big_down(t, -10), XDP_DROP, PHX_VERDICT_ICMP);
	t->client_port++;
	t->client.nxt += 100000;
	handshake(t);
	says(t, CLIENT, GET("/legacy"), (struct expect)HANDS_OVER(MTU));
}

/* IPv6 has no fragments on the way: the client comes again, to the daemon. */
static void reset6(struct talk *t)
{
	half_answered(t);
	hear(t, too_big_down(t, -10), XDP_REDIRECT, PHX_VERDICT_ICMP);
	struct seen out;
	const char *wrong = talk_read(t->frame, t->frame_len, &out);
	talk_checks++;
	if (wrong) {
		talk_fail(t, "%s", wrong);
		return;
	}
	is(t, "the flags", out.flags, RST | ACK);
	is(t, "the reset's number", out.seq, t->client.rcv);
	is(t, "the client's port", out.dport, t->client_port);
	is(t, "the gateway's port", out.sport, RIG_LISTEN_PORT);
}

static void down_outside_window(struct talk *t)
{
	answered(t);
	hear(t, too_big_down(t, 1), XDP_DROP, PHX_VERDICT_INVALID);
	client_acks(t, UPSTREAM0);
	hear(t, too_big_down(t, -1), XDP_DROP, PHX_VERDICT_INVALID);
	says(t, CLIENT, GET("/legacy"), (struct expect)GOES_TO(UPSTREAM0, REQUEST));
}

static void down_of_the_daemon(struct talk *t)
{
	answered(t);
	struct message m = too_big_down(t, -10);
	m.other_port = 1;
	hear(t, m, XDP_PASS, PHX_VERDICT_OTHER);
}

static const struct row client_rows[] = {
	SCRIPT("may-be-cut", narrow4, .only = 4),	  SCRIPT("next-request", narrow_next, .only = 4),
	SCRIPT("next-connection", narrow_new, .only = 4), SCRIPT("reset", reset6, .only = 6),
	SCRIPT("outside-window", down_outside_window),	  SCRIPT("daemons", down_of_the_daemon),
};

/* --- the kernel's -----------------------------------------------------------------------------------------
 */

static void others(struct talk *t)
{
	posting(t);
	/* An echo request, an unreachable host, a time exceeded; in IPv6 the same. */
	static const uint8_t kinds[2][3][2] = {{{8, 0}, {3, 1}, {11, 0}}, {{128, 0}, {1, 3}, {3, 0}}};
	for (unsigned i = 0; i < 3; i++) {
		struct message m = too_big_up(t, -5);
		m.type = kinds[t->v6][i][0];
		m.code = kinds[t->v6][i][1];
		hear(t, m, XDP_PASS, PHX_VERDICT_OTHER);
	}
}

static void last_hop(struct talk *t)
{
	posting(t);
	struct message m = too_big_up(t, -5);
	m.ttl = 1;
	hear(t, m, XDP_PASS, PHX_VERDICT_OTHER);
}

static void quotes_udp(struct talk *t)
{
	posting(t);
	struct message m = too_big_up(t, -5);
	m.proto = UDP;
	hear(t, m, XDP_PASS, PHX_VERDICT_OTHER);
}

static void quotes_options(struct talk *t)
{
	posting(t);
	struct message m = too_big_up(t, -5);
	m.quotes_options = true;
	hear(t, m, XDP_PASS, PHX_VERDICT_OTHER);
}

/* The frame ends before its IP length says so. */
static void cut_short(struct talk *t)
{
	posting(t);
	struct message m = too_big_up(t, -5);
	m.cut = 1;
	hear(t, m, XDP_PASS, PHX_VERDICT_OTHER);
	m.cut = 30;
	hear(t, m, XDP_PASS, PHX_VERDICT_OTHER);
}

static const struct row kernel_rows[] = {
	SCRIPT("other-kinds", others),	  SCRIPT("last-hop", last_hop),
	SCRIPT("quotes-udp", quotes_udp), SCRIPT("quotes-options", quotes_options),
	SCRIPT("cut-short", cut_short),
};

ROWS_MAIN(TABLE(upstream_rows), TABLE(client_rows), TABLE(kernel_rows))

/* SPDX-License-Identifier: Apache-2.0 */
/* talk: see talk.h. Written from RFC 791, 8200, 9293, 2018 and 7323, not from bpf/. */
#include "talk.h"

#include <phoenix/sip.h>

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUR_SCALE      7
#define CLIENT_ISN     0xfffff000u /* so that numbers wrap around in the middle of it all */
#define UPSTREAM_ISN   0x7ffffe00u
#define CLIENT_PORT    33000
#define DEFAULT_WINDOW 1000

unsigned long talk_checks;

void talk_fail(struct talk *t, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fprintf(stderr, "%s: ", t->name);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	t->failed = true;
}

static const char *verdict_name(int verdict)
{
	static const char *const names[] = {
#define X(name, help) #name,
		PHX_VERDICTS(X)
#undef X
	};
	return verdict >= 0 && verdict < PHX_VERDICT_COUNT ? names[verdict] : "none";
}

static const char *reason_name(int reason)
{
	static const char *const names[] = {
#define X(name, help) #name,
		PHX_REASONS(X)
#undef X
	};
	return reason >= 0 && reason < PHX_REASON_COUNT ? names[reason] : "none";
}

/* --- frames --------------------------------------------------------------------------------------------- */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value & 0xffff);
}

/* RFC 1071, byte by byte. */
static uint32_t sum_bytes(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t tcp_sum(const uint8_t *src, const uint8_t *dst, size_t addr_len, const uint8_t *tcp,
			size_t len)
{
	uint8_t tail[8] = {0};
	put32(tail, (uint32_t)len);
	tail[7] = 6;
	uint32_t sum = sum_bytes(src, addr_len, 0);
	sum = sum_bytes(dst, addr_len, sum);
	sum = sum_bytes(tail, 8, sum);
	return sum_bytes(tcp, len, sum);
}

const char *talk_read(const uint8_t *frame, size_t len, struct seen *out)
{
	*out = (struct seen){0};
	size_t at = 14;
	if (len < 54)
		return "shorter than its headers";
	memcpy(out->dmac, frame, 6);
	memcpy(out->smac, frame + 6, 6);
	uint16_t type = get16(frame + 12);
	if (type == 0x8100) {
		out->vlan = (uint32_t)(get16(frame + 14) & 0xfff) + 1;
		type = get16(frame + 16);
		at = 18;
	}
	const uint8_t *ip = frame + at;
	size_t total, head, addr_len;
	if (type == 0x0800) {
		head = (size_t)(ip[0] & 15) * 4;
		total = get16(ip + 2);
		addr_len = 4;
		if (ip[0] != 0x45 || ip[9] != 6)
			return "not a plain IPv4 header with TCP behind";
		if (sum_bytes(ip, head, 0) != 0xffff)
			return "the IP header's checksum is wrong";
		out->ttl = ip[8];
		out->tos = ip[1];
		out->id = get16(ip + 4);
		out->may_be_cut = !(ip[6] & 0x40);
		out->src.word[2] = out->dst.word[2] = htonl(0xffff);
		memcpy(&out->src.word[3], ip + 12, 4);
		memcpy(&out->dst.word[3], ip + 16, 4);
	} else if (type == 0x86dd) {
		head = 40;
		total = 40u + get16(ip + 4);
		addr_len = 16;
		if (ip[0] >> 4 != 6 || ip[6] != 6)
			return "not IPv6 with TCP behind";
		out->v6 = true;
		out->ttl = ip[7];
		out->tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
		memcpy(&out->src, ip + 8, 16);
		memcpy(&out->dst, ip + 24, 16);
	} else {
		return "neither IPv4 nor IPv6";
	}
	if (at + total > len || total < head + 20)
		return "the IP length is not the frame's";
	const uint8_t *tcp = ip + head;
	size_t tcp_len = total - head, data_off = (size_t)(tcp[12] >> 4) * 4;
	if (data_off < 20 || data_off > tcp_len)
		return "the data offset is wrong";
	out->sport = get16(tcp);
	out->dport = get16(tcp + 2);
	out->seq = get32(tcp + 4);
	out->ack = get32(tcp + 8);
	out->flags = tcp[13];
	out->window = get16(tcp + 14);
	out->options_len = data_off - 20;
	memcpy(out->options, tcp + 20, out->options_len);
	out->payload = tcp + data_off;
	out->payload_len = tcp_len - data_off;
	out->trailer = len - at - total;
	if (tcp_sum(ip + (addr_len == 4 ? 12 : 8), ip + (addr_len == 4 ? 16 : 24), addr_len, tcp, tcp_len) !=
	    0xffff)
		return "the TCP checksum is wrong";
	return NULL;
}

/* MSS, SACK permitted, window scale; as an end offers them in its SYN. Returns their length. */
static size_t syn_options(const struct end *end, uint8_t out[TALK_OPTIONS_MAX])
{
	size_t n = 0;
	if (end->mss) {
		out[n++] = 2;
		out[n++] = 4;
		put16(out + n, end->mss);
		n += 2;
	}
	if (end->sack) {
		out[n++] = 4;
		out[n++] = 2;
	}
	if (end->scale != NO_SCALE) {
		out[n++] = 3;
		out[n++] = 3;
		out[n++] = (uint8_t)end->scale;
	}
	while (n % 4)
		out[n++] = 1;
	return n;
}

static void put_mac(uint8_t *p, uint8_t last)
{
	memcpy(p, (uint8_t[]){2, 0, 0, 0, 0, last}, 6);
}

/* Where IP begins. */
static size_t put_link(const struct talk *t, const struct packet *packet, uint8_t *frame)
{
	bool client = packet->from == CLIENT;
	uint32_t vlan = client ? t->vlan : t->upstream_vlan;
	size_t at = 12;
	put_mac(frame, client ? RIG_CLIENT_SIDE : RIG_UPSTREAM_SIDE);
	put_mac(frame + 6, client ? RIG_CLIENT_MAC : (uint8_t)(RIG_UPSTREAM_MAC + packet->from - UPSTREAM0));
	if (vlan) {
		put16(frame + at, 0x8100);
		put16(frame + at + 2, 0x6000 | (vlan - 1)); /* a priority, which is nobody's business */
		at += 4;
	}
	put16(frame + at, t->v6 ? 0x86dd : 0x0800);
	return at + 2;
}

/* The IP header in front of `len` bytes. Returns where TCP begins, relative to `ip`. */
static size_t put_ip(const struct talk *t, const struct packet *packet, uint8_t *ip, size_t len,
		     const struct phx_addr *src, const struct phx_addr *dst)
{
	uint8_t ttl = packet->ttl ? packet->ttl : 64, proto = packet->udp ? 17 : 6;
	if (t->v6) {
		size_t more = packet->extension_header ? 8 : 0;
		memset(ip, 0, 48);
		put32(ip, 0x60012345);
		put16(ip + 4, (uint32_t)(len + more));
		ip[6] = more ? 0 : proto; /* hop-by-hop options */
		ip[7] = ttl;
		memcpy(ip + 8, src, 16);
		memcpy(ip + 24, dst, 16);
		if (more)
			memcpy(ip + 40, (uint8_t[]){proto, 0, 1, 4, 0, 0, 0, 0}, 8);
		return 40 + more;
	}
	size_t head = packet->ip_options ? 24 : 20;
	memset(ip, 0, 24);
	ip[0] = (uint8_t)(0x40 | head / 4);
	ip[1] = 0x28;
	put16(ip + 2, (uint32_t)(head + len));
	put16(ip + 4, 0x1234);
	put16(ip + 6, packet->fragment ? 0x2000 : 0x4000);
	ip[8] = ttl;
	ip[9] = proto;
	memcpy(ip + 12, &src->word[3], 4);
	memcpy(ip + 16, &dst->word[3], 4);
	if (packet->ip_options)
		memcpy(ip + 20, (uint8_t[]){148, 4, 0, 0}, 4); /* router alert */
	put16(ip + 10, 0xffff & ~sum_bytes(ip, head, 0));
	return head;
}

static void advance(struct end *end, uint32_t seq, uint32_t len)
{
	if ((int32_t)(seq - end->nxt) <= 0 && (int32_t)(seq + len - end->nxt) > 0)
		end->nxt = seq + len;
}

size_t talk_build(struct talk *t, const struct packet *packet, uint8_t frame[RIG_FRAME_MAX])
{
	bool client = packet->from == CLIENT;
	unsigned n = client ? 0 : (unsigned)(packet->from - UPSTREAM0);
	struct end *end = client ? &t->client : &t->up[n];
	struct phx_addr src = client ? rig_client_addr(packet->client) : rig_upstream_addr(n);
	struct phx_addr dst = client ? rig_gateway_addr() : rig_source_addr();
	uint8_t flags = packet->flags ? packet->flags : ACK, options[TALK_OPTIONS_MAX];
	size_t options_len = packet->options_len, len = packet->len;
	if (packet->no_ack_flag)
		flags &= (uint8_t)~ACK;
	if (!len && packet->text)
		len = strlen(packet->text);
	if (packet->options)
		memcpy(options, packet->options, options_len);
	else if (flags & SYN)
		options_len = syn_options(end, options);
	size_t ip = put_link(t, packet, frame), tcp_len = 20 + options_len + len;
	uint8_t *tcp = frame + ip + put_ip(t, packet, frame + ip, tcp_len, &src, &dst);
	uint32_t seq = end->nxt + (uint32_t)packet->seq;
	memset(tcp, 0, 20);
	put16(tcp, packet->from_port ? packet->from_port : client ? t->client_port : 9000 + n);
	put16(tcp + 2, client ? RIG_LISTEN_PORT + packet->other_port : t->gateway_port);
	put32(tcp + 4, seq);
	put32(tcp + 8, flags & ACK ? end->rcv + (uint32_t)packet->ack : 0);
	tcp[12] = (uint8_t)((packet->data_offset ? packet->data_offset : 20 + options_len) << 2);
	tcp[13] = flags;
	put16(tcp + 14, packet->window ? packet->window : DEFAULT_WINDOW);
	end->window = packet->window ? packet->window : DEFAULT_WINDOW;
	memcpy(tcp + 20, options, options_len);
	if (len)
		memcpy(tcp + 20 + options_len, packet->text, len);
	const uint8_t *from = t->v6 ? (uint8_t *)&src : (uint8_t *)&src.word[3];
	const uint8_t *to = t->v6 ? (uint8_t *)&dst : (uint8_t *)&dst.word[3];
	put16(tcp + 16, 0xffff & ~tcp_sum(from, to, t->v6 ? 16 : 4, tcp, tcp_len));
	if (packet->wrong_checksum)
		tcp[16] ^= 0x55;
	if (!(flags & RST))
		advance(end, seq, (uint32_t)len + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0));
	size_t total = (size_t)(tcp - frame) + tcp_len;
	if (packet->truncated)
		total -= 4;
	while (packet->pad && total < 60)
		frame[total++] = 0;
	return total;
}

/* --- what must come out --------------------------------------------------------------------------------- */

static uint32_t scaled(uint32_t window, int from, int to)
{
	uint64_t bytes = (uint64_t)window << (from == NO_SCALE ? 0 : from);
	bytes >>= to == NO_SCALE ? 0 : to;
	return bytes > 65535 ? 65535 : (uint32_t)bytes;
}

/* The gateway's scale on a connection: RFC 7323 2.2, only when both sides have the option. */
static int our_scale(const struct end *other)
{
	return other->scale == NO_SCALE ? NO_SCALE : OUR_SCALE;
}

static void same(struct talk *t, const char *what, uint64_t got, uint64_t want)
{
	talk_checks++;
	if (got != want)
		talk_fail(t, "%s is %llu (0x%llx), not %llu (0x%llx)", what, (unsigned long long)got,
			  (unsigned long long)got, (unsigned long long)want, (unsigned long long)want);
}

static void same_bytes(struct talk *t, const char *what, const uint8_t *got, size_t got_len,
		       const uint8_t *want, size_t want_len)
{
	same(t, what, got_len, want_len);
	talk_checks++;
	if (got_len == want_len && want_len && memcmp(got, want, want_len))
		talk_fail(t, "the bytes of %s differ: \"%.*s\"", what, (int)got_len, (const char *)got);
}

static void check_ends(struct talk *t, enum peer to, const struct seen *out)
{
	bool client = to == CLIENT;
	unsigned n = client ? 0 : (unsigned)(to - UPSTREAM0);
	uint8_t dmac[6], smac[6];
	put_mac(dmac, client ? RIG_CLIENT_MAC : (uint8_t)(RIG_UPSTREAM_MAC + n));
	put_mac(smac, client ? RIG_CLIENT_SIDE : RIG_UPSTREAM_SIDE);
	struct phx_addr dst = client ? rig_client_addr(0) : rig_upstream_addr(n);
	struct phx_addr src = client ? rig_gateway_addr() : rig_source_addr();
	same_bytes(t, "the destination MAC", out->dmac, 6, dmac, 6);
	same_bytes(t, "the source MAC", out->smac, 6, smac, 6);
	same(t, "the VLAN tag + 1", out->vlan, client ? t->vlan : t->upstream_vlan);
	same(t, "IPv6", out->v6, t->v6);
	talk_checks += 2;
	if (memcmp(&out->dst, &dst, 16) || memcmp(&out->src, &src, 16))
		talk_fail(t, "the addresses are not from the gateway to peer %d", to);
	same(t, "the source port", out->sport, client ? RIG_LISTEN_PORT : t->gateway_port);
	same(t, "the destination port", out->dport, client ? t->client_port : 9000 + n);
}

/* SACK blocks in the other numbering, everything else as it was (RFC 2018 3). */
static void translate_options(uint8_t *options, size_t len, uint32_t delta)
{
	for (size_t i = 0; i + 1 < len && options[i];) {
		if (options[i] == 1) {
			i++;
			continue;
		}
		if (options[i + 1] < 2 || i + options[i + 1] > len)
			return;
		if (options[i] == 5) {
			for (size_t edge = i + 2; edge + 4 <= i + options[i + 1] && edge + 4 <= len;
			     edge += 4)
				put32(options + edge, get32(options + edge) + delta);
		}
		i += options[i + 1];
	}
}

static void check_passed_on(struct talk *t, const struct packet *packet, const struct expect *expect,
			    struct seen *in, const struct seen *out)
{
	unsigned n = (unsigned)((packet->from == CLIENT ? expect->to : packet->from) - UPSTREAM0);
	struct end *up = &t->up[n];
	uint32_t seq, ack, sack, window;
	if (packet->from == CLIENT) {
		seq = in->seq + t->up_delta[n];
		ack = in->ack - t->down_delta[n];
		sack = -t->down_delta[n];
		window = scaled(in->window, t->client.scale, our_scale(up));
	} else {
		seq = in->seq + t->down_delta[n];
		ack = in->ack - t->up_delta[n];
		sack = -t->up_delta[n];
		window = scaled(in->window, up->scale, our_scale(&t->client));
	}
	translate_options(in->options, in->options_len, sack);
	same(t, "seq", out->seq, seq + (uint32_t)expect->seq);
	if (in->flags & ACK)
		same(t, "ack", out->ack, ack + (uint32_t)expect->ack);
	same(t, "the flags", out->flags, expect->flags ? expect->flags : in->flags);
	same(t, "the window", out->window, window);
	same_bytes(t, "the options", out->options, out->options_len, in->options, in->options_len);
	same_bytes(t, "the payload", out->payload, out->payload_len, in->payload,
		   in->payload_len - expect->cut);
	same(t, "the hop limit", out->ttl, in->ttl - 1u);
	same(t, "the traffic class", out->tos, in->tos);
	same(t, "fragments are allowed", out->may_be_cut, expect->may_be_cut);
	if (!expect->may_be_cut)
		same(t, "the IP id", out->id, in->id);
}

static void check_syn_options(struct talk *t, const struct seen *out, uint16_t mss, bool sack, bool scale)
{
	struct end offer = {.mss = 0},
		   want = {.mss = mss, .sack = sack, .scale = scale ? OUR_SCALE : NO_SCALE};
	offer.scale = NO_SCALE;
	for (size_t i = 0; i < out->options_len && out->options[i];) {
		const uint8_t *option = out->options + i;
		if (option[0] == 1) {
			i++;
			continue;
		}
		if (option[0] == 2 && option[1] == 4)
			offer.mss = get16(option + 2);
		else if (option[0] == 3 && option[1] == 3)
			offer.scale = option[2];
		else if (option[0] == 4 && option[1] == 2)
			offer.sack = true;
		else {
			talk_fail(t, "option %u was not asked for", option[0]);
			return;
		}
		i += option[1];
	}
	same(t, "the MSS option", offer.mss, want.mss);
	same(t, "SACK permitted", offer.sack, want.sack);
	same(t, "the window scale", (uint64_t)offer.scale, (uint64_t)want.scale);
}

uint8_t talk_cookie_bits(const struct end *client)
{
	static const uint16_t classes[] = {536, 1160, 1220, 1300, 1360, 1400, 1440, 1460};
	unsigned class = 7;
	uint16_t mss = client->mss ? client->mss : 536;
	while (class && classes[class] > mss)
		class --;
	unsigned scale = client->scale == NO_SCALE ? 15 : client->scale > 14 ? 14 : (unsigned)client->scale;
	return (uint8_t)(class << 5 | scale << 1 | client->sack);
}

/* The hash of the connection that a cookie is made of (bpf/cookie.h). */
static uint64_t cookie_hash(unsigned client, uint16_t port, uint64_t epoch, uint8_t offer)
{
	struct phx_addr src = rig_client_addr(client), dst = rig_gateway_addr();
	const uint64_t *key = (const uint64_t *)rig.config->cookie[epoch >> PHX_KEY_SHIFT & 1];
	struct phx_sip sip;
	phx_sip_begin(&sip, key[0], key[1]);
	phx_sip_word(&sip, (uint64_t)src.word[0] << 32 | src.word[1]);
	phx_sip_word(&sip, (uint64_t)src.word[2] << 32 | src.word[3]);
	phx_sip_word(&sip, (uint64_t)dst.word[0] << 32 | dst.word[1]);
	phx_sip_word(&sip, (uint64_t)dst.word[2] << 32 | dst.word[3]);
	phx_sip_word(&sip,
		     (uint64_t)port << 48 | (uint64_t)RIG_LISTEN_PORT << 32 | (uint32_t)(epoch << 8) | offer);
	return phx_sip_end(&sip, 0, 40);
}

uint32_t talk_cookie(const struct talk *t, unsigned client, uint32_t isn, uint64_t epoch, uint8_t offer)
{
	uint64_t hash = cookie_hash(client, t->client_port, epoch, offer);
	return (uint32_t)(hash >> 52) << 20 | (uint32_t)(phx_mix64(hash ^ isn) >> 52) << 8 | offer;
}

bool talk_cookie_by_chance(unsigned client, uint16_t port, uint32_t cookie)
{
	uint64_t epoch = (rig_now() >> PHX_CLOCK_SHIFT) + 1; /* one may end meanwhile */
	for (unsigned i = 0; i <= PHX_COOKIE_EPOCHS; i++) {
		if (cookie_hash(client, port, epoch - i, (uint8_t)cookie) >> 52 == cookie >> 20)
			return true;
	}
	return false;
}

static void check_syn_ack(struct talk *t, const struct seen *in, const struct seen *out)
{
	uint32_t mss = t->v6 ? RIG_MSS6 : RIG_MSS4;
	uint64_t epoch = rig_now() >> PHX_CLOCK_SHIFT;
	uint8_t bits = talk_cookie_bits(&t->client);
	check_syn_options(t, out, (uint16_t)mss, t->client.sack, t->client.scale != NO_SCALE);
	same(t, "the SYN-ACK's window", out->window, 2 * mss);
	same(t, "ack", out->ack, in->seq + 1);
	talk_checks++;
	if (out->seq != talk_cookie(t, 0, in->seq, epoch, bits) &&
	    out->seq != talk_cookie(t, 0, in->seq, epoch - 1, bits))
		talk_fail(t, "0x%08x is not the cookie 0x%08x", out->seq,
			  talk_cookie(t, 0, in->seq, epoch, bits));
}

static void check_own(struct talk *t, const struct expect *expect, const struct seen *in,
		      const struct seen *out)
{
	bool client = expect->to == CLIENT;
	unsigned n = client ? 0 : (unsigned)(expect->to - UPSTREAM0);
	struct end *end = client ? &t->client : &t->up[n];
	size_t len = expect->len ? expect->len : expect->text ? strlen(expect->text) : 0;
	same(t, "the flags", out->flags, expect->flags);
	same(t, "the hop limit", out->ttl, 64);
	same(t, "bytes behind the packet", out->trailer, 0);
	if (!expect->any_text)
		same_bytes(t, "the payload", out->payload, out->payload_len, (const uint8_t *)expect->text,
			   len);
	if (expect->flags == (SYN | ACK)) {
		check_syn_ack(t, in, out);
		return;
	}
	if (expect->sent == OWN)
		same(t, "seq", out->seq, expect->seq_is_ack ? in->ack : end->rcv + (uint32_t)expect->seq);
	same(t, "ack", out->ack, expect->no_ack ? 0 : end->nxt + (uint32_t)expect->ack);
	if (expect->flags & SYN) {
		uint16_t most = t->v6 ? RIG_MSS6 : RIG_MSS4;
		uint16_t class = talk_cookie_bits(&t->client) >> 5;
		static const uint16_t classes[] = {536, 1160, 1220, 1300, 1360, 1400, 1440, 1460};
		check_syn_options(t, out, classes[class] < most ? classes[class] : most, t->client.sack,
				  true);
		same(t, "the SYN's window", out->window, scaled(t->client.window, t->client.scale, NO_SCALE));
		return;
	}
	same(t, "the options", out->options_len, 0);
	if ((expect->flags & RST) && !expect->no_window)
		return; /* nobody reads it */
	uint32_t window = expect->no_window ? 0
			  : expect->window  ? expect->window
			  : client	    ? scaled(64240, NO_SCALE, our_scale(&t->client))
					    : scaled(t->client.window, t->client.scale, our_scale(end));
	same(t, "the window", out->window, window);
}

/* --- the play ------------------------------------------------------------------------------------------- */

/* What the packet's receiver knows from now on. */
static void deliver(struct talk *t, enum peer to, const struct seen *out)
{
	struct end *end = to == CLIENT ? &t->client : &t->up[to - UPSTREAM0];
	if (out->flags & SYN) {
		end->rcv = out->seq + 1;
		end->began = true;
		return;
	}
	uint32_t len = (uint32_t)out->payload_len + (out->flags & FIN ? 1 : 0);
	if (!(out->flags & RST) && (int32_t)(out->seq - end->rcv) <= 0 &&
	    (int32_t)(out->seq + len - end->rcv) > 0)
		end->rcv = out->seq + len;
}

static void check_counters(struct talk *t, const struct expect *expect)
{
	uint64_t *b = (uint64_t *)&t->before.verdict, *a = (uint64_t *)&t->after.verdict, moved = 0;
	rig_counters(&t->after);
	for (int i = 0; i < PHX_VERDICT_COUNT; i++) {
		moved += a[i] - b[i];
		if (a[i] != b[i] && i != expect->verdict)
			talk_fail(t, "counted as %s, not as %s", verdict_name(i),
				  verdict_name(expect->verdict));
	}
	same(t, "the number of verdicts", moved, 1);
	b = (uint64_t *)&t->before.reason;
	a = (uint64_t *)&t->after.reason;
	for (int i = 1; i < PHX_REASON_COUNT; i++) {
		talk_checks++;
		if (a[i] - b[i] != (i == expect->reason))
			talk_fail(t, "reason %s moved by %llu, expected was %s", reason_name(i),
				  (unsigned long long)(a[i] - b[i]), reason_name(expect->reason));
	}
}

/* A request begins: from here on the endpoints' numbers stand in this relation. */
static void learn_deltas(struct talk *t, const struct packet *packet, const struct expect *expect,
			 const struct seen *in, const struct seen *out)
{
	unsigned n = (unsigned)((packet->from == CLIENT ? expect->to : packet->from) - UPSTREAM0);
	if (expect->verdict == PHX_VERDICT_REQUEST) {
		t->up_delta[n] = t->up[n].rcv - in->seq;
		t->down_delta[n] = t->client.rcv - t->up[n].nxt;
	} else if (expect->sent == OWN_SYN) {
		t->up_delta[n] = out->seq + 1 - in->seq;
		t->gateway_port = out->sport;
		same(t, "the gateway port is one of its own", out->sport - RIG_PORT_FIRST < RIG_PORTS, 1);
	} else if (expect->verdict == PHX_VERDICT_REPLAY || (in->flags & (SYN | ACK)) == (SYN | ACK)) {
		t->down_delta[n] = t->client.rcv - t->up[n].nxt;
	}
}

void play(struct talk *t, struct packet packet, struct expect expect)
{
	struct seen in, out;
	uint8_t sent[RIG_FRAME_MAX];
	size_t sent_len = talk_build(t, &packet, sent);
	memcpy(t->frame, sent, sent_len);
	t->frame_len = sent_len;
	rig_counters(&t->before);
	int action = rig_run_xdp(rig.xdp, packet.from == CLIENT ? rig.client_ifindex : rig.upstream_ifindex,
				 t->frame, &t->frame_len);
	check_counters(t, &expect);
	same(t, "the action", (uint64_t)action, (uint64_t)expect.action);
	if (action == XDP_PASS)
		same_bytes(t, "what is passed to the kernel", t->frame, t->frame_len, sent, sent_len);
	if (t->failed || expect.sent == NOTHING)
		return;
	const char *wrong = talk_read(sent, sent_len, &in);
	if (!wrong || packet.wrong_checksum)
		wrong = talk_read(t->frame, t->frame_len, &out);
	if (wrong) {
		talk_fail(t, "%s", wrong);
		return;
	}
	if (expect.to != NOBODY)
		learn_deltas(t, &packet, &expect, &in, &out);
	check_ends(t, expect.to, &out);
	if (expect.sent == PASSED_ON)
		check_passed_on(t, &packet, &expect, &in, &out);
	else
		check_own(t, &expect, &in, &out);
	deliver(t, expect.to, &out);
}

void talk_begin(struct talk *t, const char *name, bool v6, bool vlan)
{
	rig_reset(v6);
	*t = (struct talk){.name = name, .v6 = v6, .client_port = CLIENT_PORT};
	if (vlan) {
		struct phx_egress egress = {rig.upstream_ifindex, 8};
		rig_set_egress(rig.upstream_ifindex, &egress);
		t->vlan = 6;
		t->upstream_vlan = 8;
	}
	t->client = (struct end){.nxt = CLIENT_ISN, .scale = 8, .mss = 1460, .sack = true};
	for (unsigned n = 0; n < RIG_UPSTREAMS; n++)
		t->up[n] = (struct end){
			.nxt = UPSTREAM_ISN + n * 0x10000000u, .scale = 9, .mss = 1460, .sack = true};
}

struct phx_flow *talk_flow(struct talk *t)
{
	return &rig.flows[(t->gateway_port - RIG_PORT_FIRST) % RIG_PORTS];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of flows that fell silent, and the segments that tell both sides. */
#include "unit.h"

#include "dataplane/netlink.h"
#include "dataplane/packet.h"
#include "dataplane/sweep.h"

#define SECOND UINT64_C(1000000000)

static const struct sweep_limits limits = {60 * SECOND, 30 * SECOND, false};

TEST(decisions)
{
	static const struct {
		const char *name;
		enum phx_flow_state state;
		uint32_t flags;
		uint32_t retries;
		unsigned quiet_s;
		enum sweep_action want, want_closing;
	} rows[] = {
		{"free", PHX_FLOW_FREE, 0, 0, 9999, SWEEP_KEEP, SWEEP_KEEP},
		{"busy", PHX_FLOW_OPEN, PHX_FLOW_ACTIVE, 0, 30, SWEEP_KEEP, SWEEP_KEEP},
		{"no answer", PHX_FLOW_OPEN, PHX_FLOW_ACTIVE, 0, 31, SWEEP_ABORT, SWEEP_ABORT},
		{"answer pauses", PHX_FLOW_OPEN, PHX_FLOW_ACTIVE | PHX_FLOW_ANSWERED, 0, 60, SWEEP_KEEP,
		 SWEEP_KEEP},
		{"answer stopped", PHX_FLOW_OPEN, PHX_FLOW_ACTIVE | PHX_FLOW_ANSWERED, 0, 61, SWEEP_ABORT,
		 SWEEP_ABORT},
		{"between requests", PHX_FLOW_OPEN, 0, 0, 60, SWEEP_KEEP, SWEEP_CLOSE},
		{"idle too long", PHX_FLOW_OPEN, 0, 0, 61, SWEEP_CLOSE, SWEEP_CLOSE},
		{"just handed over", PHX_FLOW_HANDED, 0, 0, 60, SWEEP_KEEP, SWEEP_KEEP},
		{"handed over", PHX_FLOW_HANDED, 0, 0, 61, SWEEP_FREE, SWEEP_FREE},
		{"closing", PHX_FLOW_CLOSING, 0, 0, 1, SWEEP_KEEP, SWEEP_KEEP},
		{"FIN lost", PHX_FLOW_CLOSING, 0, 0, 2, SWEEP_AGAIN, SWEEP_AGAIN},
		{"acknowledges for ever", PHX_FLOW_CLOSING, 0, 8, 2, SWEEP_FREE, SWEEP_FREE},
		{"closing too long", PHX_FLOW_CLOSING, 0, 0, 11, SWEEP_FREE, SWEEP_FREE},
	};
	struct sweep_limits closing = limits;
	closing.closing = true;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct phx_flow flow = {
			.state = rows[i].state,
			.flags = rows[i].flags,
			.retries = rows[i].retries,
			.seen_ns = 1000 * SECOND,
		};
		uint64_t now_ns = flow.seen_ns + rows[i].quiet_s * SECOND;
		CHECK_MSG(sweep_decide(&flow, &limits, now_ns) == rows[i].want, "%s", rows[i].name);
		CHECK_MSG(sweep_decide(&flow, &closing, now_ns) == rows[i].want_closing, "%s, closing",
			  rows[i].name);
	}
}

/* A packet may be newer than the sweeper's clock. */
TEST(a_packet_in_the_future_is_no_silence)
{
	struct phx_flow flow = {.state = PHX_FLOW_OPEN, .seen_ns = 1000 * SECOND};
	CHECK_INT(sweep_decide(&flow, &limits, 999 * SECOND), SWEEP_KEEP);
}

static uint32_t ones(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static struct packet sample_packet(bool v6, const char *payload)
{
	struct packet packet = {
		.sport = 80,
		.dport = 40000,
		.smac = {2, 0, 0, 0, 0, 1},
		.dmac = {2, 0, 0, 0, 0, 2},
		.seq = 0x01020304,
		.ack = 0x05060708,
		.window = 0x1234,
		.flags = PACKET_FIN | PACKET_ACK,
		.payload = slice_str(payload),
	};
	if (v6) {
		packet.src = (struct phx_addr){{0x000080fd, 0, 0, 1}};
		packet.dst = (struct phx_addr){{0x000080fd, 0, 0, 2}};
	} else {
		packet.src = phx_addr_v4(0x010212c6);
		packet.dst = phx_addr_v4(0x020212c6);
	}
	return packet;
}

TEST(segments_are_well_formed)
{
	static const char *const payloads[] = {"", "x", "even", "GET / HTTP/1.1\r\n\r\n"};
	for (unsigned i = 0; i < 16; i++) {
		uint8_t frame[256];
		bool v6 = i & 1, tagged = i & 2;
		struct packet packet = sample_packet(v6, payloads[i / 4]);
		packet.vlan = tagged ? 6 : 0;
		size_t ip = tagged ? 18 : 14, tcp = ip + (v6 ? 40 : 20), len = tcp + 20 + packet.payload.len;
		CHECK_INT(packet_write(&packet, frame, sizeof(frame)), len);
		CHECK(memcmp(frame, packet.dmac, 6) == 0 && memcmp(frame + 6, packet.smac, 6) == 0);
		if (tagged)
			CHECK(frame[12] == 0x81 && frame[13] == 0 && frame[14] == 0 && frame[15] == 5);
		CHECK_INT(frame[ip - 2] << 8 | frame[ip - 1], v6 ? 0x86dd : 0x0800);
		if (!v6)
			CHECK_INT(ones(frame + ip, 20, 0), 0xffff);
		/* RFC 9293 3.1, RFC 8200 8.1: the sum over the pseudo header and the segment is all ones. */
		uint32_t pseudo = (uint32_t)(len - tcp) + 6;
		pseudo = v6 ? ones(frame + ip + 8, 32, pseudo) : ones(frame + ip + 12, 8, pseudo);
		CHECK_INT(ones(frame + tcp, len - tcp, pseudo), 0xffff);
		CHECK(frame[tcp + 13] == (PACKET_FIN | PACKET_ACK) && frame[tcp + 4] == 1 &&
		      frame[tcp + 11] == 8);
	}
}

TEST(no_room_no_segment)
{
	uint8_t frame[256];
	struct packet packet = sample_packet(false, "payload");
	CHECK_INT(packet_write(&packet, frame, PACKET_HEADERS_MAX + 6), 0);
	CHECK(packet_write(&packet, frame, PACKET_HEADERS_MAX + 7) != 0);
}

UNIT_MAIN

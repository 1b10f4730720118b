/* SPDX-License-Identifier: Apache-2.0 */
/* Records of sampled exchanges in the ring, the tc program's part, and connections that are the kernel's. */
#include "rows.h"

#include <bpf/bpf.h>
#include <netinet/tcp.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST	    GET("/sampled")
#define LEN	    (sizeof(REQUEST) - 1)
#define OK5_LEN	    (sizeof(OK5) - 1)
#define HALF	    20
#define ENOUGH	    (RIG_RING_BYTES / 200)
#define TC_OK	    0
#define TC_SHOT	    2
#define TC_REDIRECT 7

#define SCRIPT(name, function)                                                                               \
	{                                                                                                    \
		name, function, .script = true                                                               \
	}

/* --- records --- */

static void record_is(struct talk *t, unsigned n, enum phx_record_kind kind, uint32_t offset,
		      const char *bytes, uint32_t len)
{
	const struct rig_record *record = &rig.records[n];
	if (n >= rig.record_count) {
		talk_fail(t, "there are %u records, not %u", rig.record_count, n + 1);
		return;
	}
	talk_checks += 4;
	if (record->head.kind != kind || record->head.offset != offset || record->head.len != len)
		talk_fail(t, "record %u is of kind %u, %u bytes at %u; not %u, %u at %u", n,
			  record->head.kind, record->head.len, record->head.offset, kind, len, offset);
	else if (len && memcmp(record->bytes, bytes, len) != 0)
		talk_fail(t, "record %u has other bytes: %.*s", n, (int)len, (const char *)record->bytes);
	if (record->head.exchange != rig.records[0].head.exchange || record->head.slot != ROUTE_SAMPLED ||
	    record->head.generation != 1 || record->head.side != PHX_LEGACY ||
	    record->head.method != PHX_METHOD_GET)
		talk_fail(t, "record %u is not of the same exchange", n);
	struct phx_addr client = rig_client_addr(0);
	if (memcmp(&record->head.client, &client, 16) || record->head.client_port != t->client_port)
		talk_fail(t, "record %u is of another client", n);
}

static void ends(struct talk *t, unsigned n, enum phx_end end, uint32_t request_len, uint32_t response_len)
{
	record_is(t, n, PHX_RECORD_END, 0, NULL, 0);
	const struct phx_record *record = &rig.records[n].head;
	if (record->end != end || record->request_len != request_len || record->response_len != response_len)
		talk_fail(t, "it ends as %u with %u and %u bytes; not %u, %u, %u", record->end,
			  record->request_len, record->response_len, end, request_len, response_len);
}

static void sampled(struct talk *t)
{
	handshake(t);
	request_to(t, UPSTREAM0, REQUEST);
	accepts(t, UPSTREAM0, REQUEST);
}

static void whole_exchange(struct talk *t)
{
	sampled(t);
	play(t, (struct packet){.from = UPSTREAM0, .text = OK5, .len = HALF},
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
	says(t, UPSTREAM0, &(OK5)[HALF], (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	rig_read_ring();
	record_is(t, 0, PHX_RECORD_REQUEST, 0, REQUEST, LEN);
	record_is(t, 1, PHX_RECORD_RESPONSE, 0, OK5, HALF);
	record_is(t, 2, PHX_RECORD_RESPONSE, HALF, &(OK5)[HALF], OK5_LEN - HALF);
	ends(t, 3, PHX_END_WHOLE, LEN, OK5_LEN);
	if (rig.records[3].head.served_ns < rig.records[3].head.begun_ns || rig.record_count != 4)
		talk_fail(t, "%u records, served before it began?", rig.record_count);
	if (rig.stats[ROUTE_SAMPLED].sampled != 1)
		talk_fail(t, "%llu exchanges are counted as sampled", rig.stats[ROUTE_SAMPLED].sampled);
}

static void gap_is_recorded_where_it_lies(struct talk *t)
{
	sampled(t);
	says(t, UPSTREAM0, OK_HEAD5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	play(t, (struct packet){.from = UPSTREAM0, .seq = 2, .text = "llo"},
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
	rig_read_ring();
	record_is(t, 2, PHX_RECORD_RESPONSE, sizeof(OK_HEAD5) + 1, "llo", 3);
}

static void junk_is_not_recorded(struct talk *t)
{
	sampled(t);
	says(t, UPSTREAM0, OK5 "junk", (struct expect)GOES_TO(CLIENT, RESPONSE_TRIMMED, .cut = 4));
	rig_read_ring();
	record_is(t, 1, PHX_RECORD_RESPONSE, 0, OK5, OK5_LEN);
}

static void client_goes(struct talk *t)
{
	sampled(t);
	says(t, UPSTREAM0, OK_HEAD5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	play(t, (struct packet){.flags = RST}, (struct expect)GOES_TO(UPSTREAM0, CLIENT_RST));
	rig_read_ring();
	ends(t, 2, PHX_END_CLIENT_GONE, LEN, sizeof(OK_HEAD5) - 1 + 5);
}

static void upstream_cuts(struct talk *t)
{
	sampled(t);
	says(t, UPSTREAM0, OK_HEAD5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	play(t, (struct packet){.from = UPSTREAM0, .flags = RST},
	     (struct expect)GOES_TO(CLIENT, UPSTREAM_RST));
	rig_read_ring();
	ends(t, 2, PHX_END_UPSTREAM_CUT, LEN, sizeof(OK_HEAD5) - 1 + 5);
}

/* With this heartbeat and this switch: is the exchange recorded? */
static void recorded_when(struct talk *t, enum phx_dead_man then, uint64_t age_ms, uint32_t killed,
			  bool recorded)
{
	handshake(t);
	rig.config->dead_after_ns = 60000 * UINT64_C(1000000);
	rig.config->dead_then = then;
	rig.config->heartbeat_ns = rig_now() - age_ms * 1000000;
	rig.kill->to_legacy = killed;
	request_to(t, UPSTREAM0, REQUEST);
	accepts(t, UPSTREAM0, REQUEST);
	says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	rig_read_ring();
	if ((rig.record_count > 0) != recorded || (rig.stats[ROUTE_SAMPLED].sampled > 0) != recorded)
		talk_fail(t, "%u records, %llu counted as sampled", rig.record_count,
			  (unsigned long long)rig.stats[ROUTE_SAMPLED].sampled);
}

static void dead_freeze(struct talk *t)
{
	recorded_when(t, PHX_DEAD_FREEZE, 61000, 0, false);
}

static void dead_freeze_not_yet(struct talk *t)
{
	recorded_when(t, PHX_DEAD_FREEZE, 30000, 0, true);
}

static void dead_legacy(struct talk *t)
{
	recorded_when(t, PHX_DEAD_LEGACY, 61000, 0, false);
}

static void dead_continue(struct talk *t)
{
	recorded_when(t, PHX_DEAD_CONTINUE, 61000, 0, true);
}

static void kill_switch(struct talk *t)
{
	recorded_when(t, PHX_DEAD_FREEZE, 0, 1, false);
}

static void not_sampled(struct talk *t)
{
	rig.policy[ROUTE_SAMPLED].sample_bp = 0;
	sampled(t);
	says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	rig_read_ring();
	talk_checks++;
	if (rig.record_count)
		talk_fail(t, "there are %u records", rig.record_count);
}

static void unsafe_method(struct talk *t)
{
	between(t);
	says(t, CLIENT, "POST /sampled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	     (struct expect)GOES_TO(UPSTREAM0, REQUEST));
	rig_read_ring();
	talk_checks++;
	if (rig.record_count)
		talk_fail(t, "a POST is recorded where only safe methods are");
	says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM0);
	says(t, CLIENT, "POST /unsafe HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	     (struct expect)GOES_TO(UPSTREAM0, REQUEST));
	rig_read_ring();
	if (rig.record_count != 1)
		talk_fail(t, "a POST is not recorded where all methods are");
}

/* A ring that nobody reads: requests go on, what has no room is counted. */
static void full_ring(struct talk *t)
{
	sampled(t);
	uint64_t before = t->after.ring_dropped;
	for (unsigned i = 0; i < ENOUGH && !t->failed; i++) {
		says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
		client_acks(t, UPSTREAM0);
		says(t, CLIENT, REQUEST, (struct expect)GOES_TO(UPSTREAM0, REQUEST));
	}
	if (t->after.ring_dropped == before)
		talk_fail(t, "nothing was dropped after %u exchanges", ENOUGH);
	while (rig.record_count = 0, rig_read_ring(), rig.record_count)
		;
}

static const struct row records[] = {
	SCRIPT("whole-exchange", whole_exchange),
	SCRIPT("behind-a-gap", gap_is_recorded_where_it_lies),
	SCRIPT("without-junk-behind-the-end", junk_is_not_recorded),
	SCRIPT("client-goes", client_goes),
	SCRIPT("upstream-cuts", upstream_cuts),
	SCRIPT("not-sampled", not_sampled),
	SCRIPT("dead-man-freeze", dead_freeze),
	SCRIPT("dead-man-freeze-not-yet", dead_freeze_not_yet),
	SCRIPT("dead-man-legacy", dead_legacy),
	SCRIPT("dead-man-continue", dead_continue),
	SCRIPT("kill-switch", kill_switch),
	SCRIPT("unsafe-methods", unsafe_method),
	SCRIPT("full-ring", full_ring),
};

/* --- the tc program: what XDP passed --- */

static socklen_t address_of(const struct talk *t, struct sockaddr_storage *out, struct phx_addr addr,
			    uint16_t port)
{
	struct sockaddr_in *four = (struct sockaddr_in *)out;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	memset(out, 0, sizeof(*out));
	if (t->v6) {
		*six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
		memcpy(&six->sin6_addr, &addr, 16);
		return sizeof(*six);
	}
	*four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	memcpy(&four->sin_addr, &addr.word[3], 4);
	return sizeof(*four);
}

static int listener(struct talk *t)
{
	struct sockaddr_storage own;
	int one = 1, fd = socket(t->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = address_of(t, &own, rig_gateway_addr(), RIG_LISTEN_PORT);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&own, len) || listen(fd, 8))
		talk_fail(t, "no listener");
	return fd;
}

/* The tc program's verdict on a client's packet. SHOT: it chose the listener, which a test run cannot give
 * it. */
static void tc_says(struct talk *t, struct packet packet, int want)
{
	uint8_t frame[RIG_FRAME_MAX];
	size_t len = talk_build(t, &packet, frame);
	int got = rig_run_tc(rig.client_ifindex, frame, &len);
	talk_checks++;
	if (got != want)
		talk_fail(t, "the tc program says %d, not %d", got, want);
}

static void handed_over(struct talk *t)
{
	int fd = listener(t);
	handed(t);
	t->client.nxt -= sizeof(GET("/nowhere")) - 1;
	tc_says(t, (struct packet){.flags = ACK}, TC_OK);
	tc_says(t, (struct packet){.text = GET("/nowhere"), .ack = -1}, TC_OK);
	t->client.nxt -= sizeof(GET("/nowhere")) - 1;
	tc_says(t, (struct packet){.text = GET("/nowhere"), .seq = 1}, TC_OK);
	tc_says(t, (struct packet){.text = GET("/nowhere")}, TC_SHOT);
	close(fd);
}

static void first_request_handed_over(struct talk *t)
{
	int fd = listener(t);
	handshake(t);
	says(t, CLIENT, GET("/nowhere"), (struct expect)HANDS_OVER(NO_ROUTE));
	t->client.nxt -= sizeof(GET("/nowhere")) - 1;
	tc_says(t, (struct packet){.text = GET("/nowhere"), .ack = 1}, TC_OK);
	t->client.nxt -= sizeof(GET("/nowhere")) - 1;
	tc_says(t, (struct packet){.text = GET("/nowhere")}, TC_SHOT);
	close(fd);
}

/* XDP was taken off the device: flows go to the daemon at their boundaries, and only there. */
static void without_xdp(struct talk *t)
{
	int fd = listener(t);
	half_answered(t);
	tc_says(t, (struct packet){.text = GET("/legacy")}, TC_OK);
	t->client.nxt -= sizeof(GET("/legacy")) - 1;
	says(t, UPSTREAM0, "llo", (struct expect)GOES_TO(CLIENT, RESPONSE));
	tc_says(t, (struct packet){.text = GET("/legacy")}, TC_SHOT);
	close(fd);
}

/* The long replay: a SYN-ACK that could not grow in XDP becomes the stashed request here. */
static void replay(struct talk *t)
{
	uint8_t frame[RIG_FRAME_MAX];
	struct seen out;
	request_sent(t);
	talk_flow(t)->flags |= PHX_FLOW_REPLAY;
	struct packet again = {
		.from = UPSTREAM0, .flags = SYN | ACK, .seq = -1, .ack = -(int)sizeof(GET("/legacy")) + 1};
	size_t len = talk_build(t, &again, frame);
	int got = rig_run_tc(rig.upstream_ifindex, frame, &len);
	const char *wrong = talk_read(frame, len, &out);
	talk_checks += 3;
	if (got != TC_REDIRECT || wrong)
		talk_fail(t, "the tc program says %d, and the frame: %s", got, wrong ? wrong : "can be read");
	else if (out.payload_len != sizeof(GET("/legacy")) - 1 ||
		 memcmp(out.payload, GET("/legacy"), out.payload_len) ||
		 out.seq + out.payload_len != t->up[0].rcv || out.ack != t->up[0].nxt ||
		 out.flags != (PSH | ACK))
		talk_fail(t, "the request is not replayed as it was: seq %u ack %u", out.seq, out.ack);
}

static const struct row tc[] = {
	SCRIPT("at-a-boundary", handed_over),
	SCRIPT("first-request", first_request_handed_over),
	SCRIPT("without-xdp", without_xdp),
	SCRIPT("long-replay", replay),
};

/* --- what the kernel has is the kernel's --- */

/* A connection of the kernel's for the client's addresses, made without a packet. */
static int kernels_socket(struct talk *t)
{
	struct sockaddr_storage own, other;
	int one = 1, fd = socket(t->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = address_of(t, &own, rig_gateway_addr(), RIG_LISTEN_PORT);
	address_of(t, &other, rig_client_addr(0), t->client_port);
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&own, len) || connect(fd, (struct sockaddr *)&other, len))
		talk_fail(t, "no socket");
	return fd;
}

static void kernel_owns(struct talk *t)
{
	int fd = kernels_socket(t);
	play(t, (struct packet){.flags = SYN}, (struct expect)PASSES(KERNEL));
	play(t, (struct packet){.text = GET("/legacy")}, (struct expect)PASSES(KERNEL));
	play(t, (struct packet){.flags = RST}, (struct expect)PASSES(KERNEL));
	close(fd);
}

/* The daemon took it: its flow ends with the next packet, and the legs stay. */
static void handed_flow_ends(struct talk *t)
{
	handed(t);
	int fd = kernels_socket(t);
	play(t, (struct packet){.flags = ACK}, (struct expect)PASSES(KERNEL));
	if (rig_free_ports() != RIG_PORTS || rig_busy_flows() || talk_flow(t)->leg[0].state != PHX_LEG_OPEN)
		talk_fail(t, "%u ports are free, %u flows are busy, the leg is %u", rig_free_ports(),
			  rig_busy_flows(), talk_flow(t)->leg[0].state);
	play(t, (struct packet){.text = "more"}, (struct expect)PASSES(KERNEL));
	close(fd);
}

static const struct row kernel[] = {
	SCRIPT("owns-the-connection", kernel_owns),
	SCRIPT("has-a-handed-one", handed_flow_ends),
};

ROWS_MAIN(TABLE(records), TABLE(tc), TABLE(kernel))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model: conversations of clients and upstreams through phx_xdp, over a bad network that is played: every
 * frame can be lost, doubled and overtaken, segments are cut anew when they are sent again. All of it follows
 * from a seed.
 *
 *   client n ══ loses, doubles, reorders ══ phx_xdp ══ loses, doubles, reorders ══ upstream 0..3
 *                                             ║ XDP_PASS, and phx_tc says "for the daemon"
 *                                           daemon (a peer too; the kernel has a socket for it, made by
 * TCP_REPAIR)
 *
 * What must hold: each request reaches one server, once, whole and unchanged, and one that its route allows;
 * each client gets that server's answer and nothing else; nobody is reset, nothing hangs; no port and no flow
 * is lost.
 */
#include "model.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <netinet/tcp.h>

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS	   8u
#define SERVERS	   4u
#define IN_FLIGHT  4096u
#define LINGER	   700u
#define HANGS	   60000u
#define TC_ASSIGNS 2 /* TC_ACT_SHOT: phx_tc chose the listener, which BPF_PROG_TEST_RUN cannot give it */
#define FIRST_PORT 20000u

enum hop { TO_GATEWAY_C, TO_GATEWAY_U, TO_CLIENT, TO_UPSTREAM };

struct frame {
	uint64_t due; /* 0: no frame */
	enum hop hop;
	unsigned index, port; /* of the client; of the upstream and its connection */
	size_t len;
	uint8_t bytes[1600];
};

struct server {
	struct peer_tcp tcp;
	struct model_server http;
};

struct client {
	struct peer_tcp tcp;
	struct model_client http;
	uint16_t port;
	uint64_t began, think, ended; /* ticks; ended: 0 while it talks */
	bool finished;
	int socket; /* the kernel's, when the daemon has the connection; -1 */
	struct server daemon;
};

static struct {
	uint64_t tick;
	unsigned begun, wanted, loss, doubled, delay;
	struct frame frames[IN_FLIGHT];
	struct client clients[CLIENTS];
	struct server servers[SERVERS][RIG_PORTS];
	int listener;
	bool v6, traced;
	unsigned long packets, handed;
} world;

static const struct rig_route routes[] = {
	{.path = "/legacy", .legacy = 0, .modern = 1},
	{.path = "/modern", .legacy = 0, .modern = 1, .weight_bp = 10000},
	{.path = "/half", .legacy = 0, .modern = 1, .weight_bp = 5000},
	{.path = "/other", .legacy = 2, .modern = 3, .weight_bp = 3000},
	{.path = "/sampled", .legacy = 2, .modern = 3, .weight_bp = 7000, .sample_bp = 5000},
};

/* --- the network ---------------------------------------------------------------------------------------- */

static void put_frame(enum hop hop, unsigned index, unsigned port, const uint8_t *bytes, size_t len)
{
	unsigned copies = model_random(1000) < world.loss ? 0 : model_random(1000) < world.doubled ? 2 : 1;
	for (unsigned i = 0; i < IN_FLIGHT && copies; i++) {
		struct frame *frame = &world.frames[i];
		if (frame->due)
			continue;
		frame->due = world.tick + 1 + model_random(world.delay);
		frame->hop = hop;
		frame->index = index;
		frame->port = port;
		frame->len = len;
		memcpy(frame->bytes, bytes, len);
		copies--;
	}
}

/* A peer's segment as a frame. The daemon's look like a client's: nobody reads their addresses. */
static size_t make_frame(struct peer_tcp *tcp, const struct peer_segment *segment, enum peer from,
			 unsigned index, uint16_t client_port, uint16_t gateway_port, uint8_t *bytes)
{
	struct talk view = {.v6 = world.v6, .client_port = client_port, .gateway_port = gateway_port};
	struct end *end = from == CLIENT ? &view.client : &view.up[from - UPSTREAM0];
	*end = (struct end){.nxt = segment->seq,
			    .rcv = segment->ack,
			    .scale = tcp->scale,
			    .mss = tcp->mss,
			    .sack = tcp->sack};
	struct packet packet = {.from = from,
				.client = index,
				.flags = segment->flags,
				.window = segment->window,
				.text = (const char *)segment->bytes,
				.len = segment->len};
	if (!segment->len)
		packet.text = NULL;
	return talk_build(&view, &packet, bytes);
}

/* Whole segments mostly, so that heads are not always the daemon's. */
static uint32_t cuts(void)
{
	uint32_t r = model_random(1u << 20);
	return model_random(12) ? r - r % 3 + 1 : r - r % 3;
}

static void send_all(struct peer_tcp *tcp, enum hop hop, enum peer from, unsigned index, uint16_t client_port,
		     uint16_t gateway_port)
{
	struct peer_segment segment;
	uint8_t bytes[RIG_FRAME_MAX];
	for (int i = 0; i < 8 && peer_output(tcp, world.tick, cuts(), &segment); i++) {
		size_t len = make_frame(tcp, &segment, from, index, client_port, gateway_port, bytes);
		put_frame(hop, index, gateway_port, bytes, len);
	}
}

/* --- the gateway ---------------------------------------------------------------------------------------- */

static struct client *client_of(uint16_t port)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (world.clients[i].began && world.clients[i].port == port)
			return &world.clients[i];
	}
	return NULL;
}

static socklen_t socket_address(struct sockaddr_storage *out, struct phx_addr addr, uint16_t port)
{
	struct sockaddr_in *four = (struct sockaddr_in *)out;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	memset(out, 0, sizeof(*out));
	if (world.v6) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		memcpy(&six->sin6_addr, &addr, 16);
		return sizeof(*six);
	}
	four->sin_family = AF_INET;
	four->sin_port = htons(port);
	memcpy(&four->sin_addr, &addr.word[3], 4);
	return sizeof(*four);
}

/* A socket as the hand-over would have made it: established, without a packet. */
static int kernel_socket(const struct seen *first)
{
	struct sockaddr_storage own, other;
	socklen_t len = socket_address(&own, first->dst, first->dport);
	int one = 1, fd = socket(world.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socket_address(&other, first->src, first->sport);
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&own, len) || connect(fd, (struct sockaddr *)&other, len))
		model_fail("no socket for the daemon's connection");
	return fd;
}

static void to_daemon(struct client *client, const struct seen *segment, bool assigned)
{
	struct server *daemon = &client->daemon;
	if (daemon->tcp.state == PEER_CLOSED) {
		if (!assigned) {
			/* A client that waits for nothing but the ACK of its FIN is closed by a reset as
			 * well. */
			if (client->tcp.fin_came)
				client->ended = world.tick;
			else if (!(segment->flags & RST) && !client->ended)
				model_fail(
					"the kernel would reset client %u: flags 0x%x, seq %u behind the SYN",
					client->port, segment->flags, segment->seq - client->tcp.iss);
			return;
		}
		daemon->tcp.scale = client->tcp.scale == NO_SCALE ? NO_SCALE : 7;
		peer_adopt(&daemon->tcp, segment);
		daemon->tcp.other_scale = client->tcp.scale;
		daemon->tcp.scaled = client->tcp.scale != NO_SCALE;
		daemon->tcp.window =
			daemon->tcp.scaled ? (uint32_t)segment->window << client->tcp.scale : segment->window;
		daemon->tcp.segment = 536;
		daemon->http = (struct model_server){.number = MODEL_DAEMON};
		client->socket = kernel_socket(segment);
		world.handed++;
	}
	peer_input(&daemon->tcp, segment);
}

/* What went in and what came out of it; only a person who looks for a failure wants to see that. */
static void trace(const struct frame *in, int action, const struct phx_counters *before, const uint8_t *out,
		  size_t len)
{
	static const char *const verdicts[] = {
#define X(name, help) #name,
		PHX_VERDICTS(X)
#undef X
	};
	struct phx_counters after;
	struct seen a, b;
	talk_read(in->bytes, in->len, &a);
	rig_counters(&after);
	fprintf(stderr, "%6llu %u>%u %02x seq %u ack %u len %zu", (unsigned long long)world.tick, a.sport,
		a.dport, a.flags, a.seq, a.ack, a.payload_len);
	for (unsigned i = 0; i < PHX_VERDICT_COUNT; i++) {
		if (((uint64_t *)&after.verdict)[i] != ((uint64_t *)&before->verdict)[i])
			fprintf(stderr, " %s", verdicts[i]);
	}
	if ((action == XDP_TX || action == XDP_REDIRECT) && !talk_read(out, len, &b))
		fprintf(stderr, " -> %u>%u %02x seq %u ack %u len %zu win %u", b.sport, b.dport, b.flags,
			b.seq, b.ack, b.payload_len, b.window);
	fputc('\n', stderr);
}

static void gateway(struct frame *in)
{
	struct phx_counters before;
	struct seen seen;
	uint8_t bytes[RIG_FRAME_MAX];
	size_t len = in->len;
	bool from_client = in->hop == TO_GATEWAY_C;
	memcpy(bytes, in->bytes, len);
	uint32_t ifindex = from_client ? rig.client_ifindex : rig.upstream_ifindex;
	if (world.traced)
		rig_counters(&before);
	int action = rig_run_xdp(rig.xdp, ifindex, bytes, &len);
	world.packets++;
	if (world.traced)
		trace(in, action, &before, bytes, len);
	if (action == XDP_DROP)
		return;
	const char *wrong = talk_read(bytes, len, &seen);
	if (wrong || (action != XDP_TX && action != XDP_REDIRECT && action != XDP_PASS)) {
		model_fail("action %d: %s", action, wrong ? wrong : "not one to be expected");
		return;
	}
	if (action == XDP_PASS) {
		struct client *client = client_of(seen.sport);
		if (!from_client || !client) {
			model_fail("passed to the kernel, which cannot know it: port %u to %u", seen.sport,
				   seen.dport);
			return;
		}
		size_t tc_len = len;
		int verdict = rig_run_tc(ifindex, bytes, &tc_len);
		talk_read(bytes, len, &seen);
		to_daemon(client, &seen, verdict == TC_ASSIGNS);
	} else if (seen.sport == RIG_LISTEN_PORT) {
		put_frame(TO_CLIENT, 0, seen.dport, bytes, len);
	} else if (seen.dport >= 9000 && seen.dport < 9000 + SERVERS &&
		   seen.sport - RIG_PORT_FIRST < RIG_PORTS) {
		put_frame(TO_UPSTREAM, seen.dport - 9000u, seen.sport, bytes, len);
	} else {
		model_fail("a frame from port %u to port %u, where nobody is", seen.sport, seen.dport);
	}
}

/* --- upstreams ------------------------------------------------------------------------------------------ */

static void answer_by_reset(unsigned index, uint16_t port, const struct seen *segment)
{
	uint8_t bytes[RIG_FRAME_MAX];
	struct peer_tcp none = {0};
	struct peer_segment reset = {.flags = RST, .seq = segment->ack, .window = 1};
	if (segment->flags & RST)
		return;
	size_t len = make_frame(&none, &reset, (enum peer)(UPSTREAM0 + index), index, 0, port, bytes);
	put_frame(TO_GATEWAY_U, index, port, bytes, len);
}

static void upstream(unsigned index, uint16_t port, const struct seen *segment)
{
	struct server *server = &world.servers[index][port - RIG_PORT_FIRST];
	struct peer_tcp *tcp = &server->tcp;
	bool gone = tcp->state == PEER_CLOSED || tcp->state == PEER_RESET || peer_done(tcp);
	if ((segment->flags & (SYN | ACK)) == SYN && (gone || tcp->state == PEER_SYN_RECEIVED)) {
		if (tcp->state == PEER_SYN_RECEIVED && segment->seq == tcp->irs)
			return;
		tcp->scale = index == 3 ? NO_SCALE : (int)index * 3;
		tcp->mss = 1460;
		tcp->sack = index != 2;
		peer_accept(tcp, model_random(1u << 31) * 2, segment);
		server->http = (struct model_server){.number = index};
		return;
	}
	if (gone || (server->http.closed && segment->payload_len &&
		     (int32_t)(segment->seq + segment->payload_len - peer_ack(tcp)) > 0)) {
		answer_by_reset(index, port, segment);
		if (!gone && !(segment->flags & RST))
			tcp->state = PEER_CLOSED;
		return;
	}
	peer_input(tcp, segment);
}

/* --- clients -------------------------------------------------------------------------------------------- */

static void begin_client(struct client *client)
{
	struct peer_tcp *tcp = &client->tcp;
	client->port = (uint16_t)(FIRST_PORT + world.begun);
	client->began = world.tick;
	client->think = world.tick;
	client->ended = 0;
	client->finished = false;
	client->socket = -1;
	tcp->scale = model_random(4) ? (int)model_random(10) : NO_SCALE;
	tcp->mss = 1460;
	tcp->sack = model_random(2);
	peer_connect(tcp, model_random(1u << 31) * 2 + model_random(2));
	model_client_begin(&client->http, world.begun++);
}

/* What the daemon's sweeper does with flows whose client fell silent (userspace/dataplane/sweep.c). */
static void sweep(struct client *client)
{
	struct phx_flow_key key = {rig_client_addr(0), rig_gateway_addr(), client->port, RIG_LISTEN_PORT};
	__u32 index;
	if (bpf_map_lookup_elem(rig.ports_fd, &key, &index))
		return;
	struct phx_flow *flow = &rig.flows[index % RIG_PORTS];
	for (unsigned i = 0; i < PHX_LEGS; i++) {
		if (flow->leg[i].state == PHX_LEG_SYN_SENT ||
		    ((flow->flags & PHX_FLOW_ACTIVE) && i == flow->active))
			flow->leg[i].state = PHX_LEG_NONE;
	}
	flow->state = PHX_FLOW_FREE;
	flow->flags = 0;
	bpf_map_delete_elem(rig.ports_fd, &key);
	bpf_map_update_elem(rig.free_fd, NULL, &index, BPF_ANY);
}

static void end_client(struct client *client)
{
	sweep(client);
	if (client->socket >= 0)
		close(client->socket);
	client->socket = -1;
	client->daemon.tcp.state = PEER_CLOSED;
	client->began = 0;
}

/* An abort: a reset whose number is exact, or silence when it gets lost. */
static void abort_client(struct client *client)
{
	uint8_t bytes[RIG_FRAME_MAX];
	struct peer_segment reset = {.flags = RST, .seq = peer_seq(&client->tcp), .window = 1};
	size_t len = make_frame(&client->tcp, &reset, CLIENT, 0, client->port, 0, bytes);
	put_frame(TO_GATEWAY_C, 0, client->port, bytes, len);
	client->tcp.state = PEER_RESET;
	client->ended = world.tick;
}

static void step_client(struct client *client)
{
	struct model_client *http = &client->http;
	if (!client->began) {
		if (world.begun < world.wanted && model_random(20) == 0)
			begin_client(client);
		return;
	}
	if (client->ended) {
		if (world.tick - client->ended > LINGER) {
			end_client(client);
			return;
		}
	} else if (client->tcp.state == PEER_RESET) {
		if (!http->may_be_reset)
			model_fail("client %u was reset in request %u of %u", client->port, http->at,
				   http->count);
		client->ended = world.tick;
	} else if (client->tcp.state == PEER_OPEN) {
		model_client_step(http, &client->tcp, world.tick);
		if (http->aborts && http->at == http->count - 1 && client->tcp.in_len > http->read_at &&
		    model_random(3) == 0)
			abort_client(client);
		else if (peer_done(&client->tcp))
			client->ended = world.tick;
	}
	if (!client->ended && world.tick - client->began > HANGS) {
		model_fail("client %u hangs in request %u of %u (%s)", client->port, http->at, http->count,
			   client->daemon.tcp.state ? "the daemon's" : "the fast path's");
		client->ended = world.tick;
	}
	send_all(&client->tcp, TO_GATEWAY_C, CLIENT, 0, client->port, 0);
	if (client->daemon.tcp.state != PEER_CLOSED) {
		model_server_step(&client->daemon.http, &client->daemon.tcp);
		struct peer_segment segment;
		uint8_t bytes[RIG_FRAME_MAX];
		while (peer_output(&client->daemon.tcp, world.tick, 1, &segment)) {
			size_t len =
				make_frame(&client->daemon.tcp, &segment, CLIENT, 0, client->port, 0, bytes);
			put_frame(TO_CLIENT, 0, client->port, bytes, len);
		}
	}
}

/* --- the world ------------------------------------------------------------------------------------------ */

static void deliver(struct frame *frame)
{
	struct seen seen;
	struct frame copy = *frame;
	frame->due = 0;
	if (copy.hop == TO_GATEWAY_C || copy.hop == TO_GATEWAY_U) {
		gateway(&copy);
		return;
	}
	if (talk_read(copy.bytes, copy.len, &seen)) {
		model_fail("a frame that cannot be read");
		return;
	}
	if (copy.hop == TO_UPSTREAM) {
		upstream(copy.index, (uint16_t)copy.port, &seen);
		return;
	}
	struct client *client = client_of((uint16_t)copy.port);
	if (client)
		peer_input(&client->tcp, &seen);
}

static bool step(void)
{
	bool busy = false;
	world.tick++;
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		if (world.frames[i].due && world.frames[i].due <= world.tick)
			deliver(&world.frames[i]);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		step_client(&world.clients[i]);
		busy |= world.clients[i].began != 0;
	}
	for (unsigned i = 0; i < SERVERS; i++) {
		for (unsigned port = 0; port < RIG_PORTS; port++) {
			struct server *server = &world.servers[i][port];
			if (server->tcp.state == PEER_CLOSED)
				continue;
			model_server_step(&server->http, &server->tcp);
			send_all(&server->tcp, TO_GATEWAY_U, (enum peer)(UPSTREAM0 + i), i, 0,
				 (uint16_t)(RIG_PORT_FIRST + port));
		}
	}
	if (world.tick % 256 == 0 && rig_free_ports() + rig_busy_flows() != RIG_PORTS)
		model_fail("%u ports are free and %u flows busy, of %u", rig_free_ports(), rig_busy_flows(),
			   RIG_PORTS);
	return busy || world.begun < world.wanted;
}

static void open_listener(void)
{
	struct sockaddr_storage own;
	socklen_t len = socket_address(&own, rig_gateway_addr(), RIG_LISTEN_PORT);
	world.listener = socket(world.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;
	setsockopt(world.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(world.listener, (struct sockaddr *)&own, len) || listen(world.listener, 16))
		model_fail("no listener");
}

static void forget(void)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		peer_fini(&world.clients[i].tcp);
		peer_fini(&world.clients[i].daemon.tcp);
	}
	for (unsigned i = 0; i < SERVERS; i++) {
		for (unsigned port = 0; port < RIG_PORTS; port++)
			peer_fini(&world.servers[i][port].tcp);
	}
	memset(&world, 0, sizeof(world));
}

static const struct world_kind {
	const char *name;
	uint64_t seed;
	unsigned conversations, loss, doubled, delay; /* per mille; ticks */
	bool v6;
} kinds[] = {
	{"calm", 1, 300, 0, 0, 1, false},
	{"reordered", 2, 200, 0, 0, 12, false},
	{"doubled", 3, 200, 0, 100, 5, false},
	{"lossy", 4, 200, 10, 5, 5, false},
	{"bad", 5, 200, 50, 30, 10, false},
	{"worse", 6, 100, 120, 50, 15, false},
	{"bad-over-IPv6", 7, 150, 50, 30, 10, true},
};

/* Plays a world through; says nothing on stdout. `key` is one half of the cookies' secret. */
static bool play_world(const struct world_kind *kind, uint64_t seed, bool traced, uint64_t key)
{
	unsigned long failures = model_failures;
	rig_reset(kind->v6);
	rig.config->cookie[0][0] = rig.config->cookie[1][0] = key;
	rig_routes(routes, sizeof(routes) / sizeof(routes[0]));
	world.v6 = kind->v6;
	world.traced = traced;
	world.wanted = kind->conversations;
	world.loss = kind->loss;
	world.doubled = kind->doubled;
	world.delay = kind->delay;
	model_begin(kind->name, seed);
	open_listener();
	while (step() && model_failures - failures < 3)
		;
	if (model_failures == failures && (rig_free_ports() != RIG_PORTS || rig_busy_flows()))
		model_fail("at the end %u ports are free and %u flows busy", rig_free_ports(),
			   rig_busy_flows());
	bool ok = model_failures == failures;
	fprintf(stderr, "%s: %u conversations, %lu answers, %lu packets, %lu handed over, %llu ticks\n",
		kind->name, world.begun, model_answers, world.packets, world.handed,
		(unsigned long long)world.tick);
	ok &= world.handed < model_answers / 2;
	close(world.listener);
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (world.clients[i].began && world.clients[i].socket >= 0)
			close(world.clients[i].socket);
	}
	forget();
	return ok;
}

/*
 * A number's half of a cookie has twelve bits: of the segments that come behind a lost first one, one in 4096
 * looks like a first one, and the daemon gets a connection that begins in the middle and refuses it. That is
 * no fault of the programs, and which segment it is depends on the clock. So a world that fails is played
 * again with another secret: a real fault fails again.
 */
static bool run(const struct world_kind *kind, uint64_t seed, bool traced)
{
	bool ok = play_world(kind, seed, traced, 101);
	if (!ok) {
		fprintf(stderr, "%s: once more, with another secret for the cookies\n", kind->name);
		ok = play_world(kind, seed, traced, 202);
	}
	printf("%s %s (%lu checks)\n", ok ? "ok" : "FAIL", kind->name, model_answers);
	return ok;
}

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0;
	const char *why = rig_open();
	if (why) {
		printf("skip conversations: %s\n0 passed, 0 failed\n", why);
		return 0;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		/* SEED [WORLD [trace]]: for soaks, and to have a failure again. */
		if (argc > 2 && strcmp(argv[2], kinds[i].name) != 0)
			continue;
		run(&kinds[i], argc > 1 ? strtoull(argv[1], NULL, 10) : kinds[i].seed, argc > 3) ? passed++
												 : failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	rig_close();
	return failed != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's receive buffers: more streams have bytes than there are buffers, and every byte still reaches
 * the stream it was sent to. A reference-count error on just this path once gave two clients each other's
 * answers in an experiment.
 */
#include "base/clock.h"
#include "io/stream.h"
#include "unit.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAMS = 300, ROUNDS = 20 };

struct peer {
	struct stream stream;
	int other; /* the far end */
	unsigned id;
	struct ring_buffer held;
	unsigned received, wrong;
	size_t sent_bytes;
	bool ended, closed;
	int err;
};

static struct ring ring;
static struct peer peers[STREAMS];
static unsigned held_count;

static void on_data(struct stream *stream, struct ring_buffer buffer)
{
	struct peer *peer = container_of(stream, struct peer, stream);
	for (uint32_t i = 0; i + 4 <= buffer.len; i += 4) {
		unsigned id;
		memcpy(&id, buffer.data + i, 4);
		peer->wrong += id != peer->id;
	}
	peer->received += buffer.len;
	peer->held = buffer;
	held_count++;
}

static void on_end(struct stream *stream, int err)
{
	struct peer *peer = container_of(stream, struct peer, stream);
	peer->ended = true;
	peer->err = err;
}

static void on_sent(struct stream *stream, int err)
{
	struct peer *peer = container_of(stream, struct peer, stream);
	peer->err = err;
	peer->sent_bytes = stream->sent_bytes;
}

static void on_closed(struct stream *stream)
{
	container_of(stream, struct peer, stream)->closed = true;
}

static const struct stream_events events = {on_data, on_end, on_sent, NULL, on_closed};

static void open_peers(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		int pair[2];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
			abort();
		memset(&peers[i], 0, sizeof(peers[i]));
		peers[i].id = i + 1000;
		peers[i].other = pair[1];
		stream_init(&peers[i].stream, &ring, &events, pair[0]);
	}
}

static void turn(unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		CHECK_INT(ring_turn(&ring, NS_PER_MS), 0);
}

static void close_peers(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		ring_buffer_put(&ring, &peers[i].held);
		stream_close(&peers[i].stream, false);
	}
	turn(20);
	for (unsigned i = 0; i < count; i++) {
		CHECK(peers[i].closed);
		close(peers[i].other);
	}
}

static void start(uint32_t buffers_max)
{
	struct ring_options options = {.entries = 256, .buffers_max = buffers_max, .large_buffers_max = 2};
	CHECK_INT(ring_init(&ring, &options), 0);
}

/* Every stream gets 64 bytes a round, and the buffers come back a few at a time, those that were taken last
 * first. Returns how many large ones were in use at once. */
static unsigned rounds(void (*read)(struct stream *stream))
{
	unsigned large_at_once = 0;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		held_count = 0;
		for (unsigned i = 0; i < STREAMS; i++) {
			unsigned words[16];
			for (unsigned k = 0; k < 16; k++)
				words[k] = peers[i].id;
			CHECK_INT(write(peers[i].other, words, sizeof(words)), sizeof(words));
			read(&peers[i].stream);
		}
		turn(3);
		unsigned large = 0, guard = 0;
		for (unsigned i = 0; i < STREAMS; i++)
			large += peers[i].held.data && peers[i].held.large;
		large_at_once = large > large_at_once ? large : large_at_once;
		CHECK_INT(held_count, 64 + large); /* the rest starves while these are held */
		while (held_count < STREAMS && guard++ < 1000) {
			for (unsigned i = STREAMS, n = 0; i-- > 0 && n < 7;) {
				if (peers[i].held.data) {
					ring_buffer_put(&ring, &peers[i].held);
					n++;
				}
			}
			turn(1);
		}
		for (unsigned i = 0; i < STREAMS; i++) {
			CHECK_INT(peers[i].received, round * 64);
			ring_buffer_put(&ring, &peers[i].held);
		}
	}
	for (unsigned i = 0; i < STREAMS; i++)
		CHECK_INT(peers[i].wrong, 0);
	return large_at_once;
}

static void check_stocks(void)
{
	CHECK_INT(ring.stock_count + ring.offered_count, ring.buffer_count);
	CHECK_INT(ring.large_stock_count, ring.large_count);
}

TEST(bytes_reach_their_stream_when_buffers_run_out)
{
	start(64);
	open_peers(STREAMS);
	CHECK_INT(rounds(stream_read), 0);
	CHECK(ring.stats.starved > 0);
	close_peers(STREAMS);
	check_stocks();
	ring_fini(&ring);
}

static void read_64(struct stream *stream)
{
	stream_read_large(stream, 64);
}

TEST(large_buffers_are_shared_and_mix_nothing)
{
	start(64);
	open_peers(STREAMS);
	CHECK_INT(rounds(read_64), 2);
	close_peers(STREAMS);
	check_stocks();
	ring_fini(&ring);
}

TEST(a_large_read_that_waits_holds_no_buffer)
{
	start(64);
	open_peers(STREAMS);
	for (unsigned i = 0; i < STREAMS; i++)
		stream_read_large(&peers[i].stream, 1 << 20);
	turn(2);
	CHECK_INT(ring.large_count, 0);
	/* Ends and errors come through it like bytes. */
	shutdown(peers[0].other, SHUT_WR);
	CHECK_INT(write(peers[1].other, &peers[1].id, 4), 4);
	turn(2);
	CHECK(peers[0].ended && peers[0].err == 0);
	CHECK_INT(peers[1].received, 4);
	CHECK_INT(ring.large_count, 1);
	/* Closed while it waits, or with bytes that nobody has taken yet. */
	CHECK_INT(write(peers[2].other, &peers[2].id, 4), 4);
	close_peers(STREAMS);
	CHECK_INT(peers[2].received, 0);
	check_stocks();
	ring_fini(&ring);
}

TEST(closing_gives_every_buffer_back)
{
	start(64);
	open_peers(STREAMS);
	held_count = 0;
	for (unsigned i = 0; i < STREAMS; i++) {
		if (i % 2)
			CHECK_INT(write(peers[i].other, "abcdefgh", 8), 8);
		stream_read(&peers[i].stream);
	}
	turn(2);
	close_peers(STREAMS); /* armed, starving and holding ones alike */
	check_stocks();
	ring_fini(&ring);
}

TEST(large_reads_fall_back_when_there_is_no_large_buffer)
{
	start(64);
	open_peers(4);
	for (unsigned i = 0; i < 4; i++) {
		stream_read_large(&peers[i].stream, 6);
		CHECK_INT(write(peers[i].other, &(unsigned[2]){peers[i].id, peers[i].id}, 8), 8);
	}
	turn(3);
	CHECK_INT(peers[0].received, 6); /* never more than was asked for */
	CHECK_INT(peers[1].received, 6);
	CHECK_INT(peers[2].received, 8); /* the two large ones are taken */
	CHECK(peers[0].held.large && !peers[2].held.large);
	close_peers(4);
	check_stocks();
	ring_fini(&ring);
}

TEST(a_long_send_is_sent_whole_or_fails)
{
	start(64);
	open_peers(2);
	static char bytes[1 << 20];
	memset(bytes, 'x', sizeof(bytes));
	struct iovec pieces[3] = {{bytes, sizeof(bytes) / 2}, {bytes, 0}, {bytes, sizeof(bytes) / 2}};
	stream_send(&peers[0].stream, pieces, 3);
	stream_send(&peers[1].stream, pieces, 3);
	turn(2);
	CHECK_INT(peers[0].sent_bytes, 0);
	static char sink[65536];
	size_t got = 0;
	for (unsigned i = 0; i < 200 && got < sizeof(bytes); i++) {
		ssize_t n = recv(peers[0].other, sink, sizeof(sink), MSG_DONTWAIT);
		got += n > 0 ? (size_t)n : 0;
		turn(1);
	}
	CHECK_INT(got, sizeof(bytes));
	turn(2);
	CHECK_INT(peers[0].sent_bytes, sizeof(bytes));
	CHECK_INT(peers[0].err, 0);
	shutdown(peers[1].other, SHUT_RDWR);
	turn(5);
	CHECK(peers[1].err < 0);
	close_peers(2);
	ring_fini(&ring);
}

/* Two ends of a TCP connection over loopback. */
static void tcp_pair(int pair[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &len))
		abort();
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(pair[0], (struct sockaddr *)&address, len))
		abort();
	pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
}

/* The last bytes are held back for the end to travel with them: both ways of ending let them go. */
TEST(last_bytes_leave_with_the_end)
{
	for (unsigned way = 0; way < 2; way++) {
		int pair[2];
		char got[16];
		struct iovec piece = {(char *)(uintptr_t) "last", 4};
		start(64);
		tcp_pair(pair);
		memset(&peers[0], 0, sizeof(peers[0]));
		peers[0].other = pair[1];
		stream_init(&peers[0].stream, &ring, &events, pair[0]);
		stream_send_last(&peers[0].stream, &piece, 1);
		turn(2);
		CHECK_INT(peers[0].sent_bytes, 4);
		if (way == 0)
			stream_shutdown(&peers[0].stream);
		else
			stream_close(&peers[0].stream, false);
		CHECK_INT(recv(pair[1], got, sizeof(got), MSG_WAITALL), 4);
		CHECK(memcmp(got, "last", 4) == 0);
		close_peers(1);
		ring_fini(&ring);
	}
}

TEST(the_end_is_told_once)
{
	start(64);
	open_peers(1);
	stream_read(&peers[0].stream);
	turn(1);
	CHECK(!peers[0].ended);
	shutdown(peers[0].other, SHUT_WR);
	turn(2);
	CHECK(peers[0].ended && peers[0].err == 0);
	peers[0].ended = false;
	stream_read(&peers[0].stream);
	turn(2);
	CHECK(!peers[0].ended);
	close_peers(1);
	ring_fini(&ring);
}

UNIT_MAIN

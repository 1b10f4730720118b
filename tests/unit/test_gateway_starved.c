/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that is closed in the very turn in which its receive found no buffer.
 *
 * The completion that says so lies behind the one whose handler closes the stream. If the receive then waited
 * for a buffer as if nothing had happened, it would be armed again behind its own cancellation, and the
 * descriptor would stay open for as long as the peer keeps quiet: a client that never sees its connection
 * end, and a daemon that never ends either.
 */
#include "base/clock.h"
#include "io/stream.h"
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

enum { HOLDERS = 64, CLOSING = 100 }; /* as many holders as the ring has buffers */

struct peer {
	struct stream stream;
	int other;
	struct ring_buffer held;
	struct peer *closes; /* when its send is done */
	bool closed, ended;
};

static struct ring ring;
static struct peer holders[HOLDERS], quiet[CLOSING], speaking[CLOSING];
static bool release_when_sent;

static void on_data(struct stream *stream, struct ring_buffer buffer)
{
	container_of(stream, struct peer, stream)->held = buffer;
}

static void on_end(struct stream *stream, int err)
{
	container_of(stream, struct peer, stream)->ended = true;
}

static void release_all(void)
{
	for (unsigned i = 0; i < HOLDERS; i++)
		ring_buffer_put(&ring, &holders[i].held);
}

static void on_sent(struct stream *stream, int err)
{
	if (release_when_sent)
		release_all();
	struct peer *peer = container_of(stream, struct peer, stream);
	if (peer->closes)
		stream_close(&peer->closes->stream, false);
}

static void on_closed(struct stream *stream)
{
	container_of(stream, struct peer, stream)->closed = true;
}

static const struct stream_events events = {on_data, on_end, on_sent, NULL, on_closed};

static void peer_open(struct peer *peer)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	memset(peer, 0, sizeof(*peer));
	peer->other = pair[1];
	stream_init(&peer->stream, &ring, &events, pair[0]);
}

static void turn(unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		CHECK_INT(ring_turn(&ring, NS_PER_MS), 0);
}

/* Takes every buffer of the ring. */
static void hold_all(void)
{
	for (unsigned i = 0; i < HOLDERS; i++) {
		peer_open(&holders[i]);
		stream_read(&holders[i].stream);
		CHECK_INT(write(holders[i].other, "x", 1), 1);
	}
	turn(5);
	CHECK_INT(ring.stock_count + ring.offered_count, 0);
}

static void begin(void)
{
	struct ring_options options = {.entries = 512, .buffers_max = HOLDERS, .large_buffers_max = 1};
	CHECK_INT(ring_init(&ring, &options), 0);
	hold_all();
	for (unsigned i = 0; i < CLOSING; i++) {
		peer_open(&quiet[i]);
		peer_open(&speaking[i]);
		speaking[i].closes = &quiet[i];
		struct iovec piece = {(char *)(uintptr_t) "x", 1};
		stream_send(&speaking[i].stream, &piece, 1);
	}
	/* Submitted together: all sends complete before the first receive says that there is no buffer. */
	for (unsigned i = 0; i < CLOSING; i++)
		stream_read(&quiet[i].stream);
}

static void end(void)
{
	for (unsigned i = 0; i < HOLDERS; i++)
		stream_close(&holders[i].stream, false);
	for (unsigned i = 0; i < CLOSING; i++)
		stream_close(&speaking[i].stream, false);
	turn(10);
	for (unsigned i = 0; i < CLOSING; i++) {
		CHECK(speaking[i].closed);
		close(speaking[i].other);
		close(quiet[i].other);
	}
	for (unsigned i = 0; i < HOLDERS; i++)
		close(holders[i].other);
	CHECK_INT(ring.stock_count + ring.offered_count, ring.buffer_count);
	ring_fini(&ring);
}

TEST(closing_while_no_buffer_is_left_is_closing)
{
	begin();
	turn(10);
	unsigned open = 0;
	for (unsigned i = 0; i < CLOSING; i++)
		open += !quiet[i].closed;
	CHECK_INT(open, 0);
	release_all();
	end();
}

TEST(closing_is_closing_when_buffers_come_back_in_the_same_turn)
{
	release_when_sent = true;
	begin();
	turn(10);
	unsigned open = 0, ended = 0;
	for (unsigned i = 0; i < CLOSING; i++) {
		open += !quiet[i].closed;
		ended += quiet[i].ended;
	}
	CHECK_INT(open, 0);
	CHECK_INT(ended, 0); /* no callback but `closed` after stream_close() */
	end();
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay: the floor of the benchmark. It connects every client to the upstream and copies bytes in both
 * directions over the same rings and streams as phoenixd, and looks at none of them: what a proxy costs
 * before it is one.
 *
 *     relay LISTEN_PORT UPSTREAM_PORT      (both on 127.0.0.1; one thread; ends with SIGTERM)
 */
#include "io/stream.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct pair;

struct end {
	struct stream stream;
	struct pair *pair;
	struct end *other;
	struct ring_buffer piece; /* received here, being sent by the other end */
	bool gone;
};

struct pair {
	struct end client, upstream;
	struct sockaddr_in address; /* read by the kernel while it connects */
};

static struct ring ring;
static struct ring_op accept_op;
static uint16_t upstream_port;

static void close_pair(struct pair *pair)
{
	if (!pair->client.stream.closing)
		stream_close(&pair->client.stream, false);
	if (!pair->upstream.stream.closing)
		stream_close(&pair->upstream.stream, false);
}

static void on_data(struct stream *stream, struct ring_buffer buffer)
{
	struct end *end = container_of(stream, struct end, stream);
	struct iovec piece = {buffer.data, buffer.len};
	end->piece = buffer;
	stream_send(&end->other->stream, &piece, 1);
}

static void on_end(struct stream *stream, int err)
{
	close_pair(container_of(stream, struct end, stream)->pair);
}

/* What this end sent came from the other one, which may read on. */
static void on_sent(struct stream *stream, int err)
{
	struct end *end = container_of(stream, struct end, stream);
	bool large = end->other->piece.len >= RING_BUFFER_BYTES;
	ring_buffer_put(&ring, &end->other->piece);
	if (err)
		close_pair(end->pair);
	else if (large)
		stream_read_large(&end->other->stream, UINT64_MAX);
	else
		stream_read(&end->other->stream);
}

static void on_connected(struct stream *stream, int err)
{
	struct end *end = container_of(stream, struct end, stream);
	if (err) {
		close_pair(end->pair);
		return;
	}
	stream_read(&end->stream);
	stream_read(&end->other->stream);
}

static void on_closed(struct stream *stream)
{
	struct end *end = container_of(stream, struct end, stream);
	end->gone = true;
	if (!end->other->gone)
		return;
	ring_buffer_put(&ring, &end->piece);
	ring_buffer_put(&ring, &end->other->piece);
	free(end->pair);
}

static const struct stream_events events = {on_data, on_end, on_sent, on_connected, on_closed};

static void on_accept(struct ring_op *op, int fd, uint32_t flags)
{
	int up = fd < 0 ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct pair *pair = up < 0 ? NULL : calloc(1, sizeof(*pair));
	if (!pair) {
		fprintf(stderr, "relay: a connection could not be taken\n");
		exit(1);
	}
	setsockopt(up, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	pair->client.pair = pair->upstream.pair = pair;
	pair->client.other = &pair->upstream;
	pair->upstream.other = &pair->client;
	pair->address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(upstream_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	stream_init(&pair->client.stream, &ring, &events, fd);
	stream_init(&pair->upstream.stream, &ring, &events, up);
	stream_connect(&pair->upstream.stream, (struct sockaddr *)&pair->address, sizeof(pair->address));
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "Usage: relay LISTEN_PORT UPSTREAM_PORT\n");
		return 2;
	}
	struct ring_options options = {.entries = 4096, .buffers_max = 8192, .large_buffers_max = 256};
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(argv[1])),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	upstream_port = (uint16_t)atoi(argv[2]);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4096) ||
	    ring_init(&ring, &options)) {
		perror("relay");
		return 1;
	}
	accept_op.done = on_accept;
	ring_accept_start(&ring, &accept_op, fd);
	while (!ring_turn(&ring, UINT64_C(1000000000)))
		;
	return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream: see stream.h.
 *
 * The hard part is closing with operations in flight: each is cancelled, and its completion, whatever it
 * says, only counts down. A buffer that arrives with such a completion goes straight back to the ring.
 */
#include "io/stream.h"

#include <errno.h>
#include <unistd.h>

static void close_when_idle(struct stream *stream)
{
	if (!stream->closing || stream->in_flight)
		return;
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
	stream->events->closed(stream);
}

static void received(struct stream *stream, int res, struct ring_buffer buffer)
{
	stream->in_flight--;
	stream->reading = false;
	if (stream->closing) {
		ring_buffer_put(stream->ring, &buffer);
		close_when_idle(stream);
	} else if (res > 0) {
		stream->received_bytes += (uint64_t)res;
		stream->events->data(stream, buffer);
	} else if (res == -EINTR || res == -EAGAIN) {
		ring_buffer_put(stream->ring, &buffer);
		stream_read(stream);
	} else {
		ring_buffer_put(stream->ring, &buffer);
		stream->ended = true;
		stream->events->end(stream, res);
	}
}

static void on_received(struct ring_recv *recv, int res, struct ring_buffer buffer)
{
	received(container_of(recv, struct stream, recv), res, buffer);
}

/* There is something to read: into the large buffer that was used last. */
static void on_readable(struct ring_op *op, int res, uint32_t flags)
{
	struct stream *stream = container_of(op, struct stream, readable);
	struct ring_buffer buffer = {0};
	stream->polling = false;
	if (!stream->closing && res >= 0)
		buffer = ring_large_buffer_get(stream->ring);
	if (buffer.data) {
		size_t len = stream->read_max < buffer.cap ? stream->read_max : buffer.cap;
		ssize_t n = recv(stream->fd, buffer.data, len, MSG_DONTWAIT);
		res = n < 0 ? -errno : (int)n;
		if (n > 0)
			buffer.len = (uint32_t)n;
	} else if (res >= 0) {
		res = -EAGAIN; /* then with a small one */
	}
	received(stream, res, buffer);
}

static void send_pieces(struct stream *stream)
{
	stream->in_flight++;
	stream->sending = true;
	if (stream->message.msg_iovlen == 1)
		ring_send(stream->ring, &stream->send, stream->fd, stream->message.msg_iov->iov_base,
			  stream->message.msg_iov->iov_len, stream->sending_last);
	else
		ring_sendmsg(stream->ring, &stream->send, stream->fd, &stream->message, stream->sending_last);
}

static void on_sent(struct ring_op *op, int res, uint32_t flags)
{
	struct stream *stream = container_of(op, struct stream, send);
	stream->in_flight--;
	stream->sending = false;
	if (stream->connecting) {
		stream->connecting = false;
		if (!stream->closing) {
			stream->events->connected(stream, res);
			return;
		}
	}
	if (stream->closing) {
		close_when_idle(stream);
		return;
	}
	if (res == -EINTR || res == -EAGAIN)
		res = 0;
	if (res < 0) {
		stream->events->sent(stream, res);
		return;
	}
	stream->sent_bytes += (uint64_t)res;
	/* A short send (the peer reads slowly): go on where it stopped. sent_bytes shows the progress. */
	size_t sent = (size_t)res;
	struct msghdr *message = &stream->message;
	while (message->msg_iovlen && sent >= message->msg_iov->iov_len) {
		sent -= message->msg_iov->iov_len;
		message->msg_iov++;
		message->msg_iovlen--;
	}
	if (message->msg_iovlen == 0) {
		stream->events->sent(stream, 0);
		return;
	}
	message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + sent;
	message->msg_iov->iov_len -= sent;
	send_pieces(stream);
}

void stream_init(struct stream *stream, struct ring *ring, const struct stream_events *events, int fd)
{
	memset(stream, 0, sizeof(*stream));
	stream->ring = ring;
	stream->events = events;
	stream->fd = fd;
	ring_recv_init(&stream->recv, ring, on_received);
	stream->readable.done = on_readable;
	stream->send.done = on_sent;
}

void stream_connect(struct stream *stream, const struct sockaddr *address, socklen_t address_len)
{
	stream->connecting = true;
	stream->sending = true;
	stream->in_flight++;
	ring_connect(stream->ring, &stream->send, stream->fd, address, address_len);
}

static void start_reading(struct stream *stream, bool later)
{
	if (stream->reading || stream->ended || stream->closing)
		return;
	stream->reading = true;
	stream->in_flight++;
	ring_recv_start(&stream->recv, stream->fd, later);
}

void stream_read(struct stream *stream)
{
	start_reading(stream, false);
}

void stream_read_later(struct stream *stream)
{
	start_reading(stream, true);
}

void stream_read_large(struct stream *stream, uint64_t max_bytes)
{
	if (stream->reading || stream->ended || stream->closing)
		return;
	stream->reading = stream->polling = true;
	stream->read_max =
		max_bytes < RING_LARGE_BUFFER_BYTES ? (uint32_t)max_bytes : RING_LARGE_BUFFER_BYTES;
	stream->in_flight++;
	ring_poll(stream->ring, &stream->readable, stream->fd);
}

void stream_send(struct stream *stream, const struct iovec *pieces, unsigned count)
{
	unsigned used = 0;
	for (unsigned i = 0; i < count && used < STREAM_IOV_MAX; i++) {
		if (pieces[i].iov_len)
			stream->iov[used++] = pieces[i];
	}
	memset(&stream->message, 0, sizeof(stream->message));
	stream->message.msg_iov = stream->iov;
	stream->message.msg_iovlen = used;
	send_pieces(stream);
}

void stream_send_last(struct stream *stream, const struct iovec *pieces, unsigned count)
{
	stream->sending_last = true;
	stream_send(stream, pieces, count);
}

void stream_shutdown(struct stream *stream)
{
	if (stream->fd >= 0 && !stream->closing)
		shutdown(stream->fd, SHUT_WR);
}

void stream_close(struct stream *stream, bool reset)
{
	if (stream->closing)
		return;
	stream->closing = true;
	if (reset && stream->fd >= 0) {
		struct linger linger = {.l_onoff = 1, .l_linger = 0};
		setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	if (stream->reading) {
		if (stream->polling)
			ring_cancel(stream->ring, &stream->readable);
		else if (ring_recv_cancel(&stream->recv))
			stream->reading = false, stream->in_flight--;
	}
	if (stream->sending)
		ring_cancel(stream->ring, &stream->send);
	close_when_idle(stream);
}

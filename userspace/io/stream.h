/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream: one connected socket on a ring, read and written a piece at a time.
 *
 * At most one receive and one send are in flight. A stream reads only when its owner asks (stream_read) and
 * the owner asks only when it has room: back-pressure needs nothing else. Every event arrives through the
 * owner's table of callbacks, never from inside a call that the owner made.
 *
 * Long bodies are read in large pieces: the stream waits, without a buffer, until there is something to read,
 * and then receives into the large buffer that was used last.
 *
 * Closing: stream_close() cancels what is in flight and calls `closed` when the last completion has come;
 * until then the stream's memory is the kernel's. After stream_close() no other callback comes.
 */
#ifndef PHOENIX_IO_STREAM_H
#define PHOENIX_IO_STREAM_H

#include "base/slice.h"
#include "io/ring.h"

#include <sys/uio.h>

#define STREAM_IOV_MAX 8

struct stream;

struct stream_events {
	/* Bytes arrived (buffer.len > 0). The buffer now belongs to the callee: ring_buffer_put() it. */
	void (*data)(struct stream *stream, struct ring_buffer buffer);
	/* The peer will send no more (err 0), or reading failed (err = -errno). */
	void (*end)(struct stream *stream, int err);
	/* Everything given to stream_send() has been sent (err 0), or failed (-errno). */
	void (*sent)(struct stream *stream, int err);
	/* stream_connect() is done. */
	void (*connected)(struct stream *stream, int err);
	/* The last word: descriptor closed, nothing in flight, memory is the owner's again. */
	void (*closed)(struct stream *stream);
};

struct stream {
	struct ring *ring;
	const struct stream_events *events;
	int fd;
	uint8_t in_flight;
	bool reading;
	bool sending;
	bool sending_last;
	bool closing;
	bool connecting;
	bool polling; /* the read waits for stream->readable */
	bool ended;   /* `end` was delivered: reading again is useless */
	struct ring_recv recv;
	struct ring_op readable;
	struct ring_op send;
	uint32_t read_max; /* bytes that the read in large pieces may take */
	struct iovec iov[STREAM_IOV_MAX];
	struct msghdr message;
	uint64_t sent_bytes; /* in all */
	uint64_t received_bytes;
};

/* Takes over a connected (or, for stream_connect, a fresh) non-blocking-or-not TCP or Unix socket. */
void stream_init(struct stream *stream, struct ring *ring, const struct stream_events *events, int fd);
void stream_connect(struct stream *stream, const struct sockaddr *address, socklen_t address_len);
/* Asks for the next bytes; harmless when already asked, ended or closing. */
void stream_read(struct stream *stream);
/* The same, when nothing can be there yet: the other side has to hear something first. Only cheaper. */
void stream_read_later(struct stream *stream);
/* The same for long bodies: at most max_bytes, into a large buffer if there is one. */
void stream_read_large(struct stream *stream, uint64_t max_bytes);
/* Sends the pieces in order (count <= STREAM_IOV_MAX, no send in flight). The bytes stay the caller's and
 * untouched until `sent`. */
void stream_send(struct stream *stream, const struct iovec *pieces, unsigned count);
/* The same for the last bytes of a stream that its owner closes or shuts down as soon as they were sent: the
 * end travels with them, one packet less. Nobody may wait for anything in between: they may stay here. */
void stream_send_last(struct stream *stream, const struct iovec *pieces, unsigned count);
/* Half-close: the peer sees the end after what was sent. */
void stream_shutdown(struct stream *stream);
/* See above. Idempotent. `reset`: the peer sees RST instead of FIN, so that a cut message cannot look whole.
 */
void stream_close(struct stream *stream, bool reset);

#endif

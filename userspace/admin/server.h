/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server: the HTTP/1.1 server of the admin interface, on the control thread's ring.
 *
 * A Unix socket and, if configured, one TCP address. Requests are read whole (they are small and limited),
 * answered one after another; an event stream (sse.h) takes its connection over for good. Heads and framing
 * are those of http/: there is one strict HTTP parser in the house.
 */
#ifndef PHOENIX_ADMIN_SERVER_H
#define PHOENIX_ADMIN_SERVER_H

#include "admin/auth.h"
#include "admin/scrape.h"
#include "control/control.h"
#include "http/body.h"
#include "io/stream.h"

#define ADMIN_CONNECTIONS_MAX	256
#define ADMIN_HEAD_BYTES_MAX	16384
#define ADMIN_BODY_BYTES_MAX	(1u << 20)
#define ADMIN_DISCARD_BYTES_MAX (64u << 20) /* of a body over the limit, read away before it is refused */
#define ADMIN_FIELDS_MAX	100
#define ADMIN_HEAD_TIMEOUT_MS	10000
#define ADMIN_BODY_TIMEOUT_MS	30000
#define ADMIN_SEND_TIMEOUT_MS	60000
#define ADMIN_IDLE_TIMEOUT_MS	75000

struct admin;

struct admin_listener {
	struct ring_op accept;
	struct admin *admin;
	int fd; /* -1 = none */
	bool armed, unix_socket;
};

enum connection_state {
	CONNECTION_HEAD,
	CONNECTION_BODY,
	CONNECTION_DISCARD, /* the body is over the limit: read away, then refused */
	CONNECTION_SEND,
	CONNECTION_EVENTS, /* belongs to sse.c */
	CONNECTION_SCRAPE, /* waits for the metrics: scrape.c */
	CONNECTION_LINGER, /* refused and said so; the peer may still be sending */
	CONNECTION_CLOSING,
};

struct sse;

struct connection {
	struct stream stream;
	struct admin *admin;
	struct list link;
	struct timer timer;
	struct peer peer;
	enum connection_state state;
	struct buf in; /* the head, then what came after it */
	struct http_head head;
	struct http_body body;
	uint32_t head_bytes;
	struct buf content; /* of the request, without transfer coding */
	uint64_t discarded_bytes;
	struct buf out;		/* answer's head */
	char *out_body;		/* its content, malloc()ed, or NULL */
	const char *out_static; /* or this */
	size_t out_body_bytes;
	bool close_after, continue_sent, writing;
	struct sse *sse;
	struct list scrape_link;	/* in scrape->waiting */
	struct scrape_text *out_shared; /* what out_static belongs to, or NULL */
};

struct admin {
	struct control *control;
	struct auth auth;
	struct tokens tokens_read;	    /* by a reload that is under way */
	struct admin_listener listeners[2]; /* Unix, TCP */
	char *socket_path;		    /* bound by us: removed at the end */
	struct list connections;
	uint32_t connection_count;
	char listen_text[80];
	struct list streams; /* struct sse */
	struct scrape scrape;
	struct timer beat;
	bool closing;
};

/* Opens what the configuration names, or takes it over (inheritance may be NULL). 0 or -errno with `why`. */
int admin_start(struct control *control, struct inheritance *inheritance, struct admin **out,
		struct buf *why);
/* The sockets: listen.c. */
int admin_listen(struct admin *admin, struct inheritance *inheritance, struct buf *why);
/* Closes everything, turning the ring until it is done. NULL-safe. */
void admin_stop(struct admin *admin);

/*
 * Sends an answer whose head is in connection->out and whose content is out_body or out_static. Afterwards
 * the next request is read, or the connection ends.
 */
void connection_send(struct connection *connection);
void connection_close(struct connection *connection);
struct response;
/* Puts an answer on its way; its body is taken. */
void connection_answer(struct connection *connection, struct response *response);

#endif

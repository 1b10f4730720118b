/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transaction: one request's life between a client and an upstream.
 *
 * Two streams of bytes flow independently, each a loop of "read a piece, send the piece, read the next", so
 * nothing is ever buffered beyond one piece a direction and a slow reader slows its sender down:
 *
 *   request   client data ─▶ decode ─▶ frame ─▶ upstream_send ─▶ (sent) ─▶ read the client again
 *   response  upstream data ─▶ parse head / decode ─▶ frame ─▶ stream_send ─▶ (sent) ─▶ read the upstream
 *
 * The hard part is the ends. The response may be over before the request is; either side may vanish at any
 * step; an upstream connection that was idle may turn out dead. What happened is kept as plain facts (the
 * bits of struct transaction) and each event asks them; there is one place that ends a transaction well
 * (finish) and one that ends it badly (fail).
 *
 * transaction.c holds the beginning and the ends, dispatch.c finds the route and the side, request.c and
 * response.c are the two streams, framing.c wraps what they send.
 */
#ifndef PHOENIX_GATEWAY_TRANSACTION_H
#define PHOENIX_GATEWAY_TRANSACTION_H

#include "gateway/worker.h"

/* How fast a body moves while the client, and nobody else, is waited for. */
struct pace {
	uint64_t since_ns;  /* the wait that is going on; 0 = none */
	uint64_t waited_ns; /* in this window */
	uint64_t bytes;
};

struct transaction {
	struct transaction *next_free;
	struct worker *worker;
	struct downstream *down;
	struct upstream_user up;
	struct snapshot_use *use;
	const struct snapshot_route *route;
	struct gateway_route_stats *stats;
	enum phx_side side;
	uint32_t step;
	uint64_t split_hash; /* of the key that chose the side; 0 = no key did */

	struct block *head_block; /* the request head, when it came in several pieces */
	uint32_t head_block_len;
	struct block *request_block; /* the head as sent on, with the body's first bytes when they fit */
	size_t request_len;
	struct http_body request_body;
	struct block *request_tail; /* a trailer section being sent */

	struct block *response_head_block; /* a response head that came in several pieces */
	uint32_t response_head_len;
	struct block *response_block; /* the head as sent on, or an answer of our own */
	struct http_body response_body;
	enum http_body_kind client_body; /* how the body goes to the client */
	struct block *response_tail;
	char response_chunk[24];
	struct ring_buffer response_input; /* from the upstream: bytes [response_off..len) are not consumed */
	uint32_t response_off;

	struct exchange *sample;
	uint64_t begun_ns;
	uint64_t first_byte_ns; /* of the final response; 0 = none yet */
	char *target_long;	/* for the access log: in one of these two */
	uint16_t target_len;
	struct pace upload, download;
	uint64_t download_mark; /* stream.sent_bytes when download last looked */
	char request_id[64];
	char method_text[32];
	uint8_t method;	 /* enum phx_method */
	uint8_t minor;	 /* the client's HTTP/1.minor */
	uint16_t status; /* of the final response; 0 = none yet */
	uint16_t interims;
	uint16_t error;	       /* enum gateway_error */
	bool head_request : 1; /* HEAD */
	bool synthetic : 1;
	bool wants_upgrade : 1;
	bool wants_continue : 1; /* the client waits for a 100 before it sends its body */
	bool persist : 1;	 /* the client allows another request */
	bool connected : 1;
	bool request_sending : 1; /* bytes to the upstream are under way */
	bool request_read : 1;	  /* the request was read whole */
	bool request_failed : 1;  /* the upstream takes no more of it */
	bool replayable : 1;	  /* all that was sent is in request_block */
	bool retried : 1;
	bool response_begun : 1; /* bytes of a final response were given to the client */
	bool response_sending : 1;
	bool response_read : 1;	   /* the response was read whole */
	bool response_interim : 1; /* what is being sent is a 1xx */
	bool upstream_heard : 1;   /* at least one byte came from the upstream */
	bool upstream_reusable : 1;
	bool upstream_ended : 1;
	bool may_fail_over : 1; /* modern's, and legacy could serve it */
	bool tunnel : 1;
	bool tunnel_client_done : 1, tunnel_upstream_done : 1;

	/* Last: they are large, and initialised where they are used. */
	struct http_head request; /* as parsed; its offsets are into bytes that may be gone */
	struct http_head response;
	char target_short[256];
};

/* Takes over a request whose head was parsed into t->request from `bytes`; the body's first bytes, if any,
 * are in down->input. */
struct transaction *transaction_create(struct downstream *down); /* NULL when out of memory */
void transaction_start(struct transaction *t, const char *bytes);
void transaction_destroy(struct transaction *t);
/* Events of the client's side, while a transaction runs. */
void transaction_client_data(struct transaction *t);
void transaction_client_end(struct transaction *t, int err);
void transaction_client_sent(struct transaction *t, int err);
void transaction_expired(struct transaction *t);
/* Moves the deadline: whose turn is it? */
void transaction_touch(struct transaction *t);
/* The response went out whole: counts, samples, and gives the connection its next request. Ends t. */
void transaction_finish(struct transaction *t);
/* The upstream's part went wrong: an answer of our own while the client has seen nothing, else a visible cut.
 * `detail` may be NULL. Ends t. */
void transaction_fail(struct transaction *t, enum gateway_error error, const char *detail);
/* The client, and nobody else, is waited for from now on. */
void pace_begin(const struct transaction *t, struct pace *pace);
bool pace_too_slow(const struct transaction *t, struct pace *pace, uint64_t bytes);

/* request.c: takes what has arrived of the request and sends it on. */
void request_pump(struct transaction *t);
/* Reads on from the client. */
void request_read(struct transaction *t);
/* Sends the whole request once more on a new connection, where that is safe. False when it is not. */
bool request_retry(struct transaction *t);

/* Modern cannot have seen the request, or it is safe to ask twice: legacy serves it. False when that may not
 * be; then nothing has changed. */
bool request_fail_over(struct transaction *t);

/* response.c: takes what has arrived of the response and sends it on. */
void response_pump(struct transaction *t);
void response_data(struct upstream_user *user, struct ring_buffer buffer);
void response_end(struct upstream_user *user, int err);

/*
 * framing.c: wraps a piece for the wire into pieces[0..4). `end`: the message is over with it. Returns the
 * count; 0 when there is nothing to send. `chunk` and *tail_block must live until it was sent. Sets *bad when
 * a trailer found no memory.
 */
unsigned body_frame(struct transaction *t, char chunk[24], struct block **tail_block,
		    enum http_body_kind kind, const struct http_body *body, char *data, size_t len, bool end,
		    struct iovec *pieces, bool *bad);
/* Copies the pieces one behind the other; the caller knows that they fit. Returns their length. */
size_t body_pieces_copy(char *out, const struct iovec *pieces, unsigned count);

/* Gives the upstream connection back, and with it the memory that it may still be sending from. */
void transaction_release_upstream(struct transaction *t, bool reusable);
/* One more request for t->side. */
void transaction_count_side(struct transaction *t);
/* Is it the upstream that went wrong? What a client does must never count against modern. */
bool transaction_error_is_upstreams(unsigned error);
/* Cuts both sides. */
void transaction_abort(struct transaction *t, enum gateway_error error);

#endif

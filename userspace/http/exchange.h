/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange: the one fact that both paths produce: a request, the response that was served, and, once the
 * other side was asked too, its response.
 *
 * The proxy fills it from its own buffers, the capture (NIC path) from ring-buffer records. Shadow, compare
 * and arbiter see only exchanges. An exchange owns its bytes; they count against a budget shared by all
 * threads (struct exchange_budget), and when that is used up the *sample* is dropped and counted, never the
 * request.
 */
#ifndef PHOENIX_HTTP_EXCHANGE_H
#define PHOENIX_HTTP_EXCHANGE_H

#include "base/buf.h"
#include "base/slice.h"
#include "http/parse.h"

#include <phoenix/abi.h>

#include <stdatomic.h>
#include <stdint.h>

/*
 * How a sampled exchange ended. COMPARABLE goes to the comparer. SHADOW_* and MODERN_FAILED count as
 * mismatches: legacy was fine, or was not asked, and modern was not (or the reverse). All others are "not
 * comparable", counted by reason, never a match.
 */
#define EXCHANGE_OUTCOMES(X)                                                                                 \
	X(COMPARABLE, "comparable", "both sides answered and both answers are whole")                        \
	X(SHADOW_TIMEOUT, "shadow_timeout", "the other side did not answer within mirror.timeout_ms")        \
	X(SHADOW_REFUSED, "shadow_refused", "the other side could not be connected to")                      \
	X(SHADOW_FAILED, "shadow_failed", "the other side closed or answered with broken HTTP")              \
	X(MODERN_FAILED, "modern_failed", "modern served this request and failed to answer it")              \
	X(SERVED_FAILED, "served_failed", "legacy failed, so there is nothing to compare with")              \
	X(BODY_OVER_CAP, "body_over_cap", "a body was longer than mirror.max_body_bytes")                    \
	X(MEMORY, "memory", "limits.sample_memory_bytes was used up")                                        \
	X(QUEUE_FULL, "queue_full", "the comparer was behind and its queue full")                            \
	X(SHADOW_BUSY, "shadow_busy", "too many shadow requests were under way")                             \
	X(CLIENT_GONE, "client_gone", "the client left before the exchange was over")                        \
	X(STREAM, "stream", "an upgraded connection or an endless body")                                     \
	X(LOST, "lost", "a piece of the captured exchange was lost")

enum exchange_outcome {
#define X(name, word, help) EXCHANGE_##name,
	EXCHANGE_OUTCOMES(X)
#undef X
		EXCHANGE_OUTCOME_COUNT,
};
const char *exchange_outcome_word(enum exchange_outcome outcome);
static inline bool exchange_outcome_is_mismatch(enum exchange_outcome outcome)
{
	return outcome >= EXCHANGE_SHADOW_TIMEOUT && outcome <= EXCHANGE_MODERN_FAILED;
}

struct exchange_budget {
	_Atomic uint64_t used_bytes;
	uint64_t max_bytes;
};

/* Fields point into `head`, which holds their bytes back to back. */
struct exchange_message {
	int status; /* responses; 0 = no response */
	struct buf head;
	struct header_field *fields;
	size_t field_count, field_max;
	struct buf body; /* without transfer coding, with content coding */
};

struct exchange {
	struct exchange *next; /* for whoever queues it */
	struct exchange_budget *budget;
	uint64_t charged_bytes;
	uint32_t slot;	     /* route slot: index into struct policy */
	uint32_t generation; /* of the route in that slot, so a reused slot is not mistaken */
	uint32_t step;	     /* phx_policy.step when the request came: the evidence belongs to that step */
	enum phx_side side;  /* who served it */
	enum exchange_outcome outcome;
	bool synthetic;	     /* the request carried X-Phoenix-Synthetic: 1 */
	bool control_wanted; /* legacy shall be asked a second time, to learn where it disagrees with itself
			      */
	enum phx_method method;
	uint64_t split_hash;	 /* of the key of a keyed split; 0 = the side was not chosen by a key */
	uint64_t body_max_bytes; /* per message */
	uint64_t wall_ns;	 /* when it began, CLOCK_REALTIME */
	uint64_t served_ns;	 /* first request byte to last response byte */
	uint64_t shadow_ns;	 /* the same for the other side */
	char request_id[64];
	struct buf method_name; /* "POST" */
	struct buf target;	/* origin-form, as the client sent it, before the base path is joined */
	struct exchange_message request;
	struct exchange_message served;
	struct exchange_message shadow;
	struct exchange_message control; /* legacy's second answer; status 0 = it was not asked, or failed */
};

/* NULL when the budget or memory is used up. */
struct exchange *exchange_create(struct exchange_budget *budget, uint64_t body_max_bytes);
/* NULL-safe; gives the bytes back to the budget. */
void exchange_destroy(struct exchange *exchange);
/* The response of a side, whoever served. */
static inline struct exchange_message *exchange_response(struct exchange *exchange, enum phx_side side)
{
	return exchange->side == side ? &exchange->served : &exchange->shadow;
}
/* Copies a field / body bytes into the message. On a limit the outcome becomes MEMORY or BODY_OVER_CAP and
 * the call returns false; what was stored before stays valid. */
bool exchange_add_field(struct exchange *exchange, struct exchange_message *message, struct slice name,
			struct slice value);
/* The same for the end-to-end fields of a parsed head. */
bool exchange_add_fields(struct exchange *exchange, struct exchange_message *message,
			 const struct http_head *head, const char *bytes);
bool exchange_add_body(struct exchange *exchange, struct exchange_message *message, struct slice bytes);
/* Forgets a message (a retried shadow). */
void exchange_message_reset(struct exchange_message *message);
/* First field of that name (case-insensitive); {NULL, 0} when there is none. */
struct slice exchange_field(const struct exchange_message *message, struct slice name);

/* Where finished exchanges go. `submit` takes ownership, never blocks, and may be called by any thread. */
struct exchange_sink {
	void (*submit)(struct exchange_sink *sink, struct exchange *exchange);
};

#endif

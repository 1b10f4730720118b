/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture: the records of sampled exchanges that the programs put into the ring -> struct exchange.
 *
 * A record is a piece of a request or response as it went by, so pieces come twice (retransmission), out of
 * order, or never (the ring was full). An exchange is handed on when its END record came and not a byte is
 * missing; then both heads are read by the daemon's own parser and the response's transfer coding is taken
 * off. What has a gap, a message that the parser refuses, or no end for too long, is handed on as LOST: it
 * counts, and is never a verdict.
 *
 * Bounded: so many exchanges at once, so many bytes a message, and all bytes count against the budget of
 * sampled exchanges. No thread and no clock of its own; one thread at a time.
 */
#ifndef PHOENIX_DATAPLANE_CAPTURE_H
#define PHOENIX_DATAPLANE_CAPTURE_H

#include "http/exchange.h"

#include <phoenix/flow.h>

#define CAPTURE_OPEN_MAX 4096
#define CAPTURE_AGE_NS	 (UINT64_C(30) * 1000000000) /* without a record */

struct capture;

struct capture_options {
	struct exchange_budget *budget; /* borrowed */
	uint32_t head_bytes;		/* of a head, at most */
	/* mirror.max_body_bytes of the slot's route. */
	uint64_t (*body_max_bytes)(void *context, uint32_t slot);
	/* Takes the exchange. Its outcome is COMPARABLE when both messages are whole. */
	void (*captured)(void *context, struct exchange *exchange);
	void *context;
};

struct capture_stats {
	uint64_t records, whole, lost, failed,
		memory; /* memory: there was none even to say that it was lost */
	uint32_t open;
};

int capture_create(const struct capture_options *options, struct capture **out);
/* What is open is dropped. NULL-safe. */
void capture_destroy(struct capture *capture);
/* bytes[0..len) is a record as it lies in the ring: the struct and its payload. Hostile lengths are refused.
 */
void capture_record(struct capture *capture, const void *bytes, size_t len, uint64_t now_ns);
/* The sweeper cut this exchange: no END record will come. */
void capture_cut(struct capture *capture, const struct phx_record *end, uint64_t now_ns);
/* Gives up what had no record for CAPTURE_AGE_NS. */
void capture_age(struct capture *capture, uint64_t now_ns);
void capture_stats(const struct capture *capture, struct capture_stats *out);

#endif

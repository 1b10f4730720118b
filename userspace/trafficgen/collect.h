/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect: a heap of recorded requests becomes a few kinds of requests with variables.
 *
 * Requests that differ only in numbers, UUIDs, hexadecimal ids or query values are one kind: /accounts/1001
 * and /accounts/1002 are /accounts/${account_id}. A segment that takes many different words otherwise (user
 * names, slugs) becomes a variable too. Of each kind a fair sample of the recorded values is kept, as rows,
 * so that values that belonged together stay together and frequent ones stay frequent. A kind's weight is how
 * often it was seen. Bodies are kept as they are: another body is another kind.
 */
#ifndef PHOENIX_TRAFFICGEN_COLLECT_H
#define PHOENIX_TRAFFICGEN_COLLECT_H

#include "trafficgen/plan.h"

#define COLLECT_KINDS_MAX 20000
#define COLLECT_ROWS_MAX  100	       /* of one kind */
#define COLLECT_BYTES_MAX (128u << 20) /* of all that is kept */
#define COLLECT_WORDS_MIN 8	       /* as many different words in one place make it a variable */

/* A recorded request; all borrowed. */
struct record {
	struct slice method;
	struct slice target; /* path and query */
	const struct header_field *fields;
	size_t field_count;
	struct slice body; /* ptr NULL = none */
	bool body_is_json;
	int status;	   /* 0 = not known */
	uint64_t wall_ms;  /* 0 = not known */
	const char *where; /* "line 12", for messages */
};

struct collection;

/* `plan` is borrowed. NULL when out of memory. */
struct collection *collection_create(struct plan *plan);
/* Takes it in, or counts it as left out. -ENOMEM ends everything. */
int collection_add(struct collection *collection, const struct record *record);
/* Writes the kinds into the plan, the most frequent first, and frees the collection. 0 or -ENOMEM. */
int collection_finish(struct collection *collection);

/* Fields of a recorded request that a client sets by itself, or that must not be sent again: credentials,
 * framing, what the gateway adds. */
bool collect_drops_field(struct slice name);

#endif

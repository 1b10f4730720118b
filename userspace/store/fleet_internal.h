/* SPDX-License-Identifier: Apache-2.0 */
/* fleet_internal: what fleet.c (the thread, and control's side) and fleet_turn.c (what is said to Redis)
 * share. */
#ifndef PHOENIX_STORE_FLEET_INTERNAL_H
#define PHOENIX_STORE_FLEET_INTERNAL_H

#include "store/fleet.h"
#include "store/redis.h"

#define FLEET_QUEUE_BYTES_MAX (256u << 20) /* of reports that control has not taken yet */

struct fleet_peer {
	char name[FLEET_NAME_SIZE];
	char about[200];
	uint64_t number;  /* of publications, as it says */
	uint64_t have;	  /* of these, read; UINT64_MAX = none yet */
	uint64_t seen_ms; /* Redis's clock */
};

struct fleet_link {
	const struct redis_target *target;
	char prefix[80];
	uint32_t lease_ms, timeout_ms;
	char instance[FLEET_NAME_SIZE];
	char about[200];
	pthread_t thread;
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t wake;
	bool stop, want;
	struct fleet_lease lease;
	json_t *pending;	  /* route -> text, not sent yet */
	struct buf queue;	  /* "member\troute\ttext\n", not taken yet */
	bool again;		  /* what was queued is all there is */
	struct fleet_peer *peers; /* written by the thread alone */
	size_t peer_count;
	uint64_t now_ms;      /* Redis's clock at the last beat */
	uint64_t answered_ns; /* ours, then */
	_Atomic uint64_t commands;
	/* control's own */
	struct buf taken; /* of the queue */
	size_t taken_at;
	/* the thread's own */
	struct redisContext *redis;
	uint64_t number;       /* of our publications */
	uint64_t known_fence;  /* the highest seen */
	bool refused;	       /* the last question had an error for an answer */
	bool reads_all, leads; /* everything of the others is to be read; was the holder at the last beat */
	uint64_t prune_ns, beat_ns;
};

/*
 * One turn: beat, publish, read, tidy up, over link->redis. False when the connection is of no use any more
 * or Redis refused; `why` says it.
 */
bool fleet_turn(struct fleet_link *link, struct buf *why);
/* Can this be a member's name? They come from Redis, where anybody may have written. */
bool fleet_is_member_name(struct slice name);
/* The beat alone. */
bool fleet_beat(struct fleet_link *link, struct buf *why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* facts_internal: what the keeper of the evidence (facts.c) and its comparer (comparer.c) share. */
#ifndef PHOENIX_CONTROL_FACTS_INTERNAL_H
#define PHOENIX_CONTROL_FACTS_INTERNAL_H

#include "control/differences.h"
#include "control/diversity.h"
#include "control/facts.h"
#include "control/noise.h"
#include "control/samples.h"
#include "judge/json.h"
#include "judge/statistics.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

struct facts_route {
	uint32_t generation;
	struct definition *definition;
	struct likelihood likelihood;
	struct facts_view view;
	uint64_t queue_full_before; /* of the slot's counter, when the step began */
	uint64_t queue_full_at_mount;
	bool dirty;
	struct difference_set differences;
	struct shape_table shapes; /* of this step */
	struct split_keys keys;	   /* of this step */
	struct {
		uint64_t shapes, top_shape, keys[2];
	} before; /* of this step, seen by an earlier process */
	struct noise noise;
	struct sample_set samples;
};

struct facts {
	struct exchange_sink sink;
	const struct policy *policy;
	struct exchange *_Atomic stack;
	_Atomic uint32_t queued;
	_Atomic uint64_t *queue_full; /* by slot */
	_Atomic bool stopping;
	sem_t wake;
	pthread_t thread;
	uint8_t shape_key[SIPHASH_KEY_SIZE];

	pthread_mutex_t lock; /* of everything below, between the comparer and the control thread */
	struct facts_route **routes;
	uint32_t *dirty;
	size_t dirty_count;
	uint64_t example_bytes, sample_bytes;
	bool noise_news; /* what some route proposes changed */
};

/* The exchange's route, its step brought up to date; NULL when it is another one by now, or its step is over
 * (counted as stale). Both under the lock. */
struct facts_route *facts_find_current(struct facts *facts, const struct exchange *exchange);
void facts_mark_dirty(struct facts *facts, struct facts_route *route, uint32_t slot);

struct comparer {
	struct facts *facts;
	struct compare_scratch *scratch;
	struct json_tokens tokens; /* for shapes */
	struct compare_result result;
	struct compare_result control; /* legacy against legacy */
};

/* False when there is no memory for it: then it must not take anything in. */
bool comparer_init(struct comparer *comparer, struct facts *facts);
void comparer_fini(struct comparer *comparer);
/* Compares and counts; the exchange stays the caller's. */
void comparer_take_in(struct comparer *comparer, struct exchange *exchange);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts: exchanges in, evidence out.
 *
 * Workers hand finished exchanges over through a lock-free stack of bounded length; when it is full the
 * *sample* is shed and counted. One comparer thread takes them off, compares and counts. Evidence belongs to
 * a slot, a generation of its route and a step: what was taken in an older one is counted as stale and
 * decides nothing. The control thread reads sums; the lock between the two is held for counting only, never
 * while comparing, and no worker ever takes it.
 */
#ifndef PHOENIX_CONTROL_FACTS_H
#define PHOENIX_CONTROL_FACTS_H

#include "base/policy.h"
#include "control/definition.h"
#include "http/exchange.h"

#include <jansson.h>

#define FACTS_QUEUE_MAX		4096
#define FACTS_EXAMPLE_BYTES_MAX (32u << 20) /* of all routes */

/* Why a sample was not comparable: the exchange's outcomes, then what only the comparer can find. */
enum facts_reason {
	FACTS_UNKNOWN_ENCODING = EXCHANGE_OUTCOME_COUNT,
	FACTS_TOO_COMPLEX,
	FACTS_BOTH_FAILED, /* a 5xx of both: nobody said what the right answer is */
	FACTS_REASON_COUNT,
};
const char *facts_reason_word(unsigned reason);

struct facts_counts {
	uint64_t samples;    /* comparable ones */
	uint64_t mismatches; /* of these */
	uint64_t synthetic;  /* of these, from marked requests */
	uint64_t synthetic_mismatches;
	uint64_t errors; /* no success: mismatches, and the same 4xx from both */
	uint64_t not_comparable[FACTS_REASON_COUNT];
};

struct facts_view {
	uint32_t step;
	struct facts_counts now;			      /* of this step */
	struct facts_counts total;			      /* since this process took the route */
	uint64_t build_samples, build_mismatches;	      /* since this build (its URLs) was deployed */
	uint64_t build_synthetic, build_synthetic_mismatches; /* what marked requests have in them */
	uint64_t shapes, top_shape; /* of this step: distinct request shapes, samples of the most frequent */
	uint64_t keys[2]; /* of this step: distinct keys of a keyed split, by the side that served them */
	uint64_t control_samples, control_differing; /* legacy asked twice: see noise.h */
	uint64_t proposals;			     /* places proposed for the ignore list */
	uint64_t stale;				     /* dropped: of an older step */
	double watch;				     /* CUSUM, see judge/statistics.h */
};

struct facts;

/* Starts the comparer thread. `policy` is borrowed. 0 or -errno. */
int facts_create(const struct policy *policy, struct facts **out);
/*
 * The end of comparing: drops what is queued and, from now on, whatever is submitted. Exchanges hold a budget
 * that belongs to the data path, so this comes before the data path goes. What was counted can still be read.
 * NULL-safe, idempotent.
 */
void facts_stop(struct facts *facts);
/* Nobody may submit any more. NULL-safe. */
void facts_destroy(struct facts *facts);
/* The sink for the data path; lives as long as the facts. */
struct exchange_sink *facts_sink(struct facts *facts);

/*
 * The slot holds this route from now on; a reference to the definition is taken. Counters of the step and of
 * the build begin anew (what was counted under other rules says nothing under these); `new_build` also
 * forgets differences and noise. 0 or -ENOMEM.
 */
int facts_mount(struct facts *facts, uint32_t slot, uint32_t generation, struct definition *definition,
		bool new_build);
void facts_unmount(struct facts *facts, uint32_t slot);
/* False (and zeros) when the slot holds no route. */
bool facts_read(struct facts *facts, uint32_t slot, struct facts_view *out);
/* Other code may answer from now on, behind the same addresses: the build's counts begin anew. */
void facts_new_build(struct facts *facts, uint32_t slot);
/*
 * Adds what an earlier process had seen of this step and this build: counters and CUSUM; of the variety, what
 * makes the arbiter the more cautious one (see tally.h). Right after facts_mount.
 */
void facts_restore(struct facts *facts, uint32_t slot, const struct facts_view *seen);
/* The CUSUM starts at zero (the migration is complete now). */
void facts_watch_reset(struct facts *facts, uint32_t slot);
/* Slots with new evidence since the last call; at most `max` of them. */
size_t facts_take_dirty(struct facts *facts, uint32_t *slots, size_t max);

/* See differences.h; new references, NULL when there is no route or no memory. */
json_t *facts_differences(struct facts *facts, uint32_t slot);
json_t *facts_samples(struct facts *facts, uint32_t slot); /* see samples.h */
json_t *facts_top(struct facts *facts, uint32_t slot, unsigned max);
json_t *facts_ignore_preview(struct facts *facts, uint32_t slot, char *const *pointers, size_t count,
			     const char **why);

/* How varied this step's samples are, see diversity.h. */
json_t *facts_shapes(struct facts *facts, uint32_t slot);
/* Where legacy disagrees with itself, see noise.h. */
json_t *facts_noise(struct facts *facts, uint32_t slot, bool places);
/* Did what some route proposes change since the last call? */
bool facts_noise_news(struct facts *facts);
/* Pointers to be put on the ignore list by themselves (compare.noise: apply); NULL when there are none. */
json_t *facts_noise_to_apply(struct facts *facts, uint32_t slot);

/* Waits until everything submitted so far was counted (tests, shutdown). */
void facts_settle(struct facts *facts);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine: where a migration stands, what may be done to it, and how that is said.
 *
 * A migration is a handful of facts (weight, started, paused, rolled back, complete); its state is computed
 * from them and never stored, so that it cannot contradict them. Which verb is possible in which state is one
 * table. The words people read are made here and nowhere else: REST, page, log, events, sd_notify and
 * phoenixctl show the same sentence. Pure.
 */
#ifndef PHOENIX_CONTROL_MACHINE_H
#define PHOENIX_CONTROL_MACHINE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define WHO_SIZE    80
#define REASON_SIZE 256

/* X(NAME, word, rank, help); rank: which route speaks for the whole gateway, the highest first. */
#define MIGRATION_STATES(X)                                                                                  \
	X(IDLE, "idle", 2, "not started")                                                                    \
	X(DEPLOYING, "deploying", 6, "the modern service is being deployed")                                 \
	X(MIRRORING, "mirroring", 3, "all requests go to legacy, samples are compared")                      \
	X(MIGRATING, "migrating", 5, "a share goes to modern and grows")                                     \
	X(HOLDING, "holding", 7, "something keeps the weight where it is")                                   \
	X(PAUSED, "paused", 4, "somebody paused it")                                                         \
	X(ROLLED_BACK, "rolled_back", 8, "rolled back to legacy, waits for a retry")                         \
	X(COMPLETE, "complete", 1, "all requests go to modern, and that was seen")

enum migration_state {
#define X(name, word, rank, help) MIGRATION_##name,
	MIGRATION_STATES(X)
#undef X
		MIGRATION_STATE_COUNT,
};

/* X(NAME, word, help) */
#define VERBS(X)                                                                                             \
	X(START, "start", "begin: mirror, compare, then let the arbiter move the weight")                    \
	X(PAUSE, "pause", "keep the weight where it is")                                                     \
	X(RESUME, "resume", "go on after a pause")                                                           \
	X(PROMOTE, "promote", "raise the weight by one step now, whatever the samples say")                  \
	X(ROLLBACK, "rollback", "all requests to legacy, until a retry")                                     \
	X(RETRY, "retry", "begin again after a rollback")

enum verb {
#define X(name, word, help) VERB_##name,
	VERBS(X)
#undef X
		VERB_COUNT,
};

/* What is kept of a migration, in memory and in the store. */
struct migration {
	uint32_t weight_bp; /* wanted */
	uint32_t epoch;	    /* times the weight was set */
	uint32_t step;	    /* evidence belongs to one */
	bool started;
	bool paused;
	bool latched; /* rolled back until a retry */
	bool complete;
	bool promoted; /* the weight was reached by a promotion */
	bool rollback_verified;
	bool pause_of_arbiter; /* paused instead of a rollback (arbiter.on_failure) */
	uint32_t rollback_from_bp;
	uint64_t build_wall_ns; /* when other code came behind the same addresses; 0: it did not */
	uint64_t changed_wall_ns, pause_wall_ns, rollback_wall_ns, step_wall_ns;
	char changed_by[WHO_SIZE], changed_reason[REASON_SIZE];
	char pause_by[WHO_SIZE], pause_reason[REASON_SIZE];
	char rollback_reason[REASON_SIZE];
};

/* What the state also depends on. */
struct migration_view {
	uint32_t set_bp;       /* read back from the data path */
	bool killed;	       /* the kill switch is on */
	bool holding;	       /* the arbiter sees no progress */
	const char *reason;    /* of holding; or what the next step waits for */
	const char *deploying; /* the step of a deployment under way; NULL = none */
};

const char *migration_state_word(enum migration_state state);
const char *migration_state_help(enum migration_state state);
unsigned migration_state_rank(enum migration_state state);
enum migration_state migration_state(const struct migration *migration, const struct migration_view *view);

/* Appends the headline exactly as the contract has it: "Migration in Progress: 30% Traffic Shifted". */
void migration_headline(const struct migration *migration, const struct migration_view *view,
			struct buf *out);

const char *verb_word(enum verb verb);
const char *verb_help(enum verb verb);
/* -ENOENT when there is no such verb. */
int verb_parse(struct slice word, enum verb *verb);
bool machine_allows(enum migration_state state, enum verb verb);

/* Appends "30%", "0.5%", "12.34%": basis points without needless zeros. */
void append_percent(struct buf *out, uint32_t bp);
/* Copies text into a fixed field, cut at a character's end; control characters become spaces. */
void text_copy(char *to, size_t size, struct slice from);

#endif

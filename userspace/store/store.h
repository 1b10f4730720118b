/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: what survives a restart, and what several gateways share. Records in sections, and append-only
 * ledgers.
 *
 * The interface is one, the places are several: `file` (the embedded default: one durable file, one writer,
 * held by a lock), `memory` (nothing survives) and `redis` (several gateways, one truth). A record is a JSON
 * object with a section, an id and an epoch. Epochs come from one counter of the whole store, so a later
 * write has the larger one, whatever it wrote. Who writes names the epoch that the record had when he looked;
 * when it has another one by now he gets that record and -ESTALE, and decides again.
 *
 * All calls belong to the control thread and are bounded: a file by its fsync, Redis by state.timeout_ms, and
 * once Redis is known to be unreachable they fail at once (-ENOTCONN). On failure `why` gets a sentence that
 * says what happened, to which place, and what to do; outputs are untouched (but for -ESTALE) and what was
 * stored before still is.
 */
#ifndef PHOENIX_STORE_STORE_H
#define PHOENIX_STORE_STORE_H

#include "base/buf.h"
#include "config.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_STATE_BYTES_MAX  (256u << 20)
#define STORE_LEDGER_BYTES_MAX (8u << 20) /* then it is rotated; one old one is kept */
#define STORE_RECORD_BYTES_MAX (1u << 20)
#define STORE_LEDGERS_MAX      8
#define STORE_ID_MAX	       64
#define STORE_WRITES_MAX       32768 /* in one store_write() */

/* X(NAME, word, help) */
#define STORE_SECTIONS(X)                                                                                    \
	X(SPLIT, "split", "the key of the keyed split: one record, \"split\"")                               \
	X(ROUTES, "routes", "where the migration of each route stands")                                      \
	X(DEFINITIONS, "definitions", "routes made, replaced or deleted at run time")                        \
	X(MIGRATIONS, "migrations", "which gateway runs which rollout, and how it stands")

enum store_section {
#define X(name, word, help) STORE_##name,
	STORE_SECTIONS(X)
#undef X
		STORE_SECTION_COUNT,
};
const char *store_section_word(enum store_section section);

struct store;

/*
 * Opens the store that `config` names and, where there is a file, takes its lock; the directory is created
 * (0750) when missing. `instance` names this gateway to others. 0, -EBUSY (another process has it; why names
 * its pid) or -errno.
 */
int store_open(const struct state_config *config, const char *instance, struct store **out, struct buf *why);
void store_close(struct store *store);

/*
 * Lets another process have it: the lock is given up, and until store_regain() all writes fail with -EROFS.
 * store_regain() takes the lock again (-EBUSY while the other one lives); what that one wrote is found out by
 * -ESTALE. 0 or -errno with `why`.
 */
void store_yield(struct store *store);
int store_regain(struct store *store, struct buf *why);

/* --- records ---------------------------------------------------------------------------------------------
 */

struct store_record {
	enum store_section section;
	char id[STORE_ID_MAX + 1];
	json_t *value; /* an object, one reference; NULL: it was deleted */
	uint64_t epoch;
};

struct store_records {
	struct store_record *items;
	size_t count, max;
};
/* Takes the value's reference, also on failure. -ENOMEM. */
int store_records_add(struct store_records *records, enum store_section section, const char *id,
		      json_t *value, uint64_t epoch);
void store_records_fini(struct store_records *records);

/*
 * All records there are, none when nothing was stored yet. A state file that is cut, damaged or written by a
 * newer version is refused as a whole: -EBADMSG (-EPROTO for the version).
 */
int store_load(struct store *store, struct store_records *out, struct buf *why);

struct store_write {
	enum store_section section;
	const char *id;	     /* at most STORE_ID_MAX bytes of [A-Za-z0-9._-] */
	const json_t *value; /* an object; NULL: the record goes */
	uint64_t expected;   /* the epoch that the record must have; 0: there must be none */
	/* What became of it. 0: the record's epoch (0 when it was deleted). -ESTALE: the epoch that is there,
	 * and for those whose epoch was not the expected one the record; `there` is a new reference. */
	uint64_t epoch;
	bool stale;
	json_t *there;
};
/*
 * Writes all or none, durable when it returns 0. -ESTALE when a record's epoch was not the expected one.
 * `fence` is that of the lease which allows the write, 0 where none is needed: a fence lower than one that
 * was seen before is refused, -ENOLCK (another gateway leads by now). Allowed only after a successful
 * store_load(), so that a damaged state is never overwritten: -EPERM. -ENOTCONN: unreachable, nothing was
 * written (or, when a connection broke in the middle, the next store_changes() tell).
 */
int store_write(struct store *store, struct store_write *writes, size_t count, uint64_t fence,
		struct buf *why);
/* Drops what store_write() left in `there`. */
void store_writes_fini(struct store_write *writes, size_t count);

/* The highest epoch that was loaded or written here; 0 when nothing was. */
uint64_t store_epoch(const struct store *store);

/* --- several gateways ------------------------------------------------------------------------------------
 */

/*
 * What happened in the store that was not done here. A file and memory never have any.
 *	CHANGED   the record is this now (value NULL: deleted). Its epoch may be that of the record known
 *here, or 0: then it was changed by hand. It may even be older: then the store has lost something. GONE the
 *record is not there any more, though nobody deleted it REFUSED   it cannot be read; text is the rest of a
 *sentence that begins with the place SYNC      the store is reached again: CHANGED follows for every record
 *that it has, then UP UP, DOWN  text says what DECIDED   another gateway decided: value is a record of the
 *ledger "decisions", in this gateway's file by now; never told twice NO_DECISION  an entry there is none;
 *text says which and why
 */
enum store_news {
	STORE_DECIDED,
	STORE_NO_DECISION,
	STORE_CHANGED,
	STORE_GONE,
	STORE_REFUSED,
	STORE_SYNC,
	STORE_UP,
	STORE_DOWN
};
struct store_change {
	enum store_news news;
	enum store_section section;
	char id[STORE_ID_MAX + 1];
	json_t *value; /* one reference */
	uint64_t epoch;
	char *text; /* owned */
};
struct store_changes {
	struct store_change *items;
	size_t count, max;
};
/* Readable when there are changes; -1 when there never are any. */
int store_changes_fd(const struct store *store);
/* Takes all there are (store_changes_fini), and calls back what was waiting for this thread. */
void store_changes(struct store *store, struct store_changes *out);
/* Appends; takes the value's and the text's ownership, also on failure. -ENOMEM. */
int store_changes_add(struct store_changes *changes, struct store_change change);
void store_changes_fini(struct store_changes *changes);
/*
 * The store lost what is known here: writes the record back, some time soon, unless the store has a younger
 * one by then. `value` is not NULL.
 */
void store_restore(struct store *store, enum store_section section, const char *id, const json_t *value,
		   uint64_t epoch);
/* Once a second: what has to be done now and then. */
void store_tick(struct store *store);
/* "phoenix:weight:users", for messages. */
void store_place(const struct store *store, enum store_section section, const char *id, struct buf *out);

struct store_health {
	bool shared;		/* other gateways use it too: what follows means something */
	bool reachable;		/* and takes writes */
	char sentence[256];	/* why not; "" when reachable */
	char address[128];	/* where it is now; "" when unknown */
	uint64_t since_wall_ns; /* reachable or not since then */
	uint64_t reconnects, conflicts, failures, lost;
	uint64_t decisions_dropped; /* that the other gateways were never told */
	uint64_t requests;	    /* writes that were answered */
	uint64_t latency_ns;	    /* sum over these */
	uint64_t last_ns;	    /* of the last one */
	uint64_t worst_ns;
};
void store_health(struct store *store, struct store_health *out);

/* --- ledgers ---------------------------------------------------------------------------------------------
 */

/* Adds a record to the ledger `name` ([a-z_-], at most 32 bytes; "decisions", "audit"). Durable when 0. */
int store_append(struct store *store, const char *name, const json_t *record, struct buf *why);
/*
 * *records is a new array of the last `max` records of the ledger, oldest first. Lines that are no records
 * (the last one was cut by a crash) are left out and counted in *unreadable (may be NULL).
 */
int store_read_tail(struct store *store, const char *name, size_t max, json_t **records, size_t *unreadable,
		    struct buf *why);

#endif

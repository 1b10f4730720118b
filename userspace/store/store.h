/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: what survives a restart. One state (a JSON object that control/ shapes) and append-only ledgers.
 *
 * The interface is one, the places are several: `file` (the embedded default), `memory` (nothing survives)
 * and later an external one shared by several gateways. Each state has an epoch that grows with every save;
 * a save replaces exactly the epoch that this store loaded or saved last, so that a place with several
 * writers can refuse the loser (-ESTALE). A file has one writer, held by a lock.
 *
 * All calls block (file: fsync) and belong to the control thread. On failure `why` gets a sentence that says
 * what happened, to which file, and what to do; outputs are untouched and what was stored before still is.
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

struct store;

/*
 * Opens a store and, for a file, takes its lock; the directory is created (0750) when missing. `path` is the
 * state file; NULL for memory. 0, -EBUSY (another process has it; why names its pid), -ENOTSUP (this kind is
 * not built in) or -errno.
 */
int store_open(enum store_kind kind, const char *path, struct store **out, struct buf *why);
void store_close(struct store *store);

/*
 * Lets another process have it: the lock is given up, and until store_regain() all writes fail with -EROFS.
 * store_regain() takes the lock again (-EBUSY while the other one lives) and may save over what that one
 * stored. 0 or -errno with `why`.
 */
void store_yield(struct store *store);
int store_regain(struct store *store, struct buf *why);

/*
 * *state is a new reference to the stored object, an empty one when nothing was stored yet. A state that is
 * cut, damaged or written by a newer version is refused as a whole: -EBADMSG (-EPROTO for the version).
 */
int store_load(struct store *store, json_t **state, struct buf *why);
/*
 * Stores `state` (an object) in the place of the last one, wholly or not at all, durable when it returns 0.
 * Allowed only after a successful store_load(), so that a damaged state is never overwritten: -EPERM.
 */
int store_save(struct store *store, const json_t *state, struct buf *why);
/* Of the state that was loaded or saved last; 0 when there was none. */
uint64_t store_epoch(const struct store *store);

/* Adds a record to the ledger `name` ([a-z_-], at most 32 bytes; "decisions", "audit"). Durable when 0. */
int store_append(struct store *store, const char *name, const json_t *record, struct buf *why);
/*
 * *records is a new array of the last `max` records of the ledger, oldest first. Lines that are no records
 * (the last one was cut by a crash) are left out and counted in *unreadable (may be NULL).
 */
int store_read_tail(struct store *store, const char *name, size_t max, json_t **records, size_t *unreadable,
		    struct buf *why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend: what a place to store things in implements. Callers see store.h alone.
 *
 * A backend embeds struct store as its first member. store.c has checked arguments (an object, a record
 * within its size, a ledger's name) before it calls; `why` is never NULL.
 */
#ifndef PHOENIX_STORE_BACKEND_H
#define PHOENIX_STORE_BACKEND_H

#include "store/store.h"

#include <stdbool.h>

struct store_ops {
	/* *epoch is that of the state; 0 with an empty object when there is none. */
	int (*load)(struct store *store, json_t **state, uint64_t *epoch, struct buf *why);
	/* Replaces the state of epoch `expected` by one of `expected` + 1; -ESTALE when another is stored. */
	int (*save)(struct store *store, const json_t *state, uint64_t expected, struct buf *why);
	int (*append)(struct store *store, const char *name, const json_t *record, struct buf *why);
	int (*read_tail)(struct store *store, const char *name, size_t max, json_t **records,
			 size_t *unreadable, struct buf *why);
	/* The lock, and descriptors that another writer makes stale; NULL where there is nothing to give up.
	 */
	void (*yield)(struct store *store);
	int (*regain)(struct store *store, struct buf *why);
	void (*close)(struct store *store);
};

struct store {
	const struct store_ops *ops;
	uint64_t epoch;
	bool loaded;
	bool yielded;
};

int store_file_open(const char *path, struct store **out, struct buf *why);
int store_memory_open(struct store **out, struct buf *why);

/*
 * The envelope of a state as text: {"format":1,"epoch":N,"checksum":"…","state":{…}}. The checksum is taken
 * over the epoch and the state in its normal form (compact, sorted keys), so it does not depend on layout.
 */
int state_encode(const json_t *state, uint64_t epoch, struct buf *out);
/* -EBADMSG or -EPROTO with the rest of a sentence in `why` ("is cut or damaged: …"), or -ENOMEM. */
int state_decode(struct slice text, json_t **state, uint64_t *epoch, struct buf *why);

#endif

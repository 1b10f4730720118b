/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend: what a place to store things in implements. Callers see store.h alone.
 *
 * A backend embeds struct store as its first member. store.c has checked arguments (ids, objects, a ledger's
 * name) before it calls; `why` is never NULL.
 */
#ifndef PHOENIX_STORE_BACKEND_H
#define PHOENIX_STORE_BACKEND_H

#include "store/store.h"

#include <stdbool.h>

struct store_ops {
	/* *epoch is the highest epoch in use; 0 and no records when there is nothing. */
	int (*load)(struct store *store, struct store_records *out, uint64_t *epoch, struct buf *why);
	/* As store_write(); *epoch becomes the highest one in use. */
	int (*write)(struct store *store, struct store_write *writes, size_t count, uint64_t fence,
		     uint64_t *epoch, struct buf *why);
	int (*append)(struct store *store, const char *name, const json_t *record, struct buf *why);
	int (*read_tail)(struct store *store, const char *name, size_t max, json_t **records,
			 size_t *unreadable, struct buf *why);
	/* The lock, and descriptors that another writer makes stale; NULL where there is nothing to give up.
	 */
	void (*yield)(struct store *store);
	int (*regain)(struct store *store, struct buf *why);
	void (*close)(struct store *store);
	/* NULL where nobody else writes. */
	int (*changes_fd)(const struct store *store);
	void (*changes)(struct store *store, struct store_changes *out);
	void (*restore)(struct store *store, enum store_section section, const char *id, const json_t *value,
			uint64_t epoch);
	void (*tick)(struct store *store);
	void (*place)(const struct store *store, enum store_section section, const char *id, struct buf *out);
	void (*health)(struct store *store, struct store_health *out);
};

struct store {
	const struct store_ops *ops;
	uint64_t epoch;
	bool loaded;
	bool yielded;
};

int store_file_open(const char *path, struct store **out, struct buf *why);
/* Writes the tree in the place of all that is there, whatever that is. */
int store_file_replace(struct store *store, const json_t *tree, uint64_t epoch, struct buf *why);
/* Several records (an array) with one write. As store_append(). */
int store_file_append_all(struct store *store, const char *name, const json_t *records, struct buf *why);
int store_redis_open(const struct state_config *config, const char *instance, struct store **out,
		     struct buf *why);
int store_memory_open(struct store **out, struct buf *why);

/*
 * tree: all records as one JSON object, {"fence": N, "records": {SECTION: {ID: {"epoch": N, "record":
 * {…}}}}}, for the places that keep them so (file, memory). A tree is never changed: tree_write() makes
 * another one that shares what stayed the same.
 */
json_t *tree_create(void);
/* -EBADMSG with the rest of a sentence when it is none; sections that this version does not know are kept and
 * not told. */
int tree_load(const json_t *tree, struct store_records *out, struct buf *why);
/* As store_write(), with `epoch` for what is written: *out is a new reference when 0. */
int tree_write(const json_t *tree, struct store_write *writes, size_t count, uint64_t fence, uint64_t epoch,
	       json_t **out, struct buf *why);
/* Puts one record into a tree that nobody shares; value NULL: takes it out. */
void tree_set(json_t *tree, enum store_section section, const char *id, const json_t *value, uint64_t epoch);
/* The tree that a state of format 1 becomes: there each route had one record with two parts. */
json_t *tree_from_format_1(const json_t *state);

/* "routes/users: epoch 7 was expected, 9 is there"; what store_write() says with -ESTALE. */
void stale_complain(const struct store_write *writes, size_t count, struct buf *why);

/*
 * The envelope of a tree as text: {"format":2,"epoch":N,"checksum":"…","state":{…}}. The checksum is taken
 * over the epoch and the state in its normal form (compact, sorted keys), so it does not depend on layout.
 */
int state_encode(const json_t *state, uint64_t epoch, struct buf *out);
/* -EBADMSG or -EPROTO with the rest of a sentence in `why` ("is cut or damaged: …"), or -ENOMEM. A state of
 * an older format comes out as a tree. */
int state_decode(struct slice text, json_t **state, uint64_t *epoch, struct buf *why);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state: what the run time owns and a restart must not forget: weights and where migrations stand, routes
 * made by REST, the key of the keyed split (so that users stay on their side).
 *
 * Only what differs from the file is kept: a route that nobody touched has no record. Each record holds the
 * file's own values as they were then; when the file says something else now, the file wins.
 *
 * Here lies a copy of the store's records (store/store.h), each with the epoch it has there. A change is made
 * in the copy first and marked dirty; saving writes all that is dirty at once. What somebody else wrote
 * meanwhile replaces the copy and is listed as news, for those who act on it (share.h).
 */
#ifndef PHOENIX_CONTROL_STATE_H
#define PHOENIX_CONTROL_STATE_H

#include "base/policy.h"
#include "control/registry.h"
#include "store/store.h"

/* The copy of one section; all by id. */
struct state_section {
	json_t *records;
	json_t *epochs; /* as they are stored; none when the store has no such record */
	json_t *dirty;	/* changed here, not stored yet */
	json_t *news;	/* somebody else changed it: null, or what was kept here and is superseded */
};

struct state {
	struct store *store;  /* borrowed */
	const char *instance; /* borrowed; who writes */
	bool shared;	      /* other gateways write here too */
	struct state_section sections[STORE_SECTION_COUNT];
	bool ok;	 /* the last save succeeded */
	bool unsaved;	 /* something acts that is not stored yet */
	uint64_t fence;	 /* of the lease that this gateway's arbiter has; 0 = none */
	char error[512]; /* of the last failure */
};

/*
 * Loads. The policy gets the stored split key and seed; when there are none, its own are stored. -errno with
 * `why` filled.
 */
int state_init(struct state *state, struct store *store, const char *instance, bool shared,
	       struct policy *policy, struct buf *why);
void state_fini(struct state *state);

/* The policy gets the split of the record: 1 when that is another one, 0 when not, -EINVAL when it is none.
 */
int state_split(const struct state *state, struct policy *policy);

/* Borrowed. */
json_t *state_records(const struct state *state, enum store_section section);
json_t *state_record(const struct state *state, enum store_section section, const char *id);
static inline json_t *state_migration(const struct state *state, const char *id)
{
	return state_record(state, STORE_ROUTES, id);
}
static inline json_t *state_definition(const struct state *state, const char *id)
{
	return state_record(state, STORE_DEFINITIONS, id);
}

/* The record is this from now on (one reference, taken); NULL: there is none. Not saved yet; -ENOMEM. */
int state_put(struct state *state, enum store_section section, const char *id, json_t *value);
/* All about the route. Not saved yet. */
void state_forget(struct state *state, const char *id);
/* A route made, replaced or deleted at run time: config NULL = deleted. Not saved yet; -ENOMEM. */
int state_override(struct state *state, const char *id, const struct route_config *config,
		   const char *file_print, const char *who);

/* What the state says about a route, to be put back when a change of it fails. */
struct state_undo {
	json_t *value[STORE_SECTION_COUNT];
	uint64_t epoch[STORE_SECTION_COUNT];
	bool dirty[STORE_SECTION_COUNT];
};
void state_remember(const struct state *state, const char *id, struct state_undo *out);
void state_restore(struct state *state, const char *id, const struct state_undo *undo);
void state_undo_fini(struct state_undo *undo);

/*
 * Stores `migration` as the route's. What is kept although storing it failed is tried again (state_retry);
 * otherwise it is as if nothing had happened. 0 or -errno with `why`; -ESTALE: somebody else was faster,
 * `why` says who did what, and the record here is his; -ENOLCK: another gateway leads. Neither of these two
 * is kept.
 */
enum state_keep { KEEP_NEVER, KEEP_UNREACHABLE /* when the failure was -ENOTCONN */, KEEP_ALWAYS };
int state_save_migration(struct state *state, const struct route *route, const struct migration *migration,
			 uint64_t fence, enum state_keep keep, struct buf *why);
/* Stores all that is dirty. As above. */
int state_save(struct state *state, struct buf *why);
/* Tries again when something is unsaved. */
void state_retry(struct state *state);

/*
 * Somebody else wrote this (one reference, taken; NULL: deleted). False when it is older than what is known
 * here, or the same.
 */
bool state_take(struct state *state, enum store_section section, const char *id, json_t *value,
		uint64_t epoch);

/*
 * Reads the migration of a record. False when there is none or it is not one (`why`, may be NULL, says what
 * is wrong), or when the file's own weight is not the one of then: the file wins, unless `any_file`.
 */
bool state_read_migration(const json_t *record, uint32_t file_weight_bp, bool any_file, struct migration *out,
			  struct buf *why);
/* The weight the file had when the record was written. */
uint32_t state_file_weight(const json_t *record);
/* "by uid 0 on gateway a:17 at 2026-…: weight 30% (reason)": who changed what, from a record. */
void state_describe(const json_t *record, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state: what the run time owns and a restart must not forget: weights and where migrations stand, routes
 * made by REST, the key of the keyed split (so that users stay on their side).
 *
 * Only what differs from the file is kept: a route that nobody touched has no record. Each record holds the
 * file's own values as they were then; when the file says something else now, the file wins.
 */
#ifndef PHOENIX_CONTROL_STATE_H
#define PHOENIX_CONTROL_STATE_H

#include "base/policy.h"
#include "control/registry.h"
#include "store/store.h"

struct state {
	struct store *store; /* borrowed */
	json_t *root;
	bool ok;	 /* the last save succeeded */
	bool unsaved;	 /* something acts that is not stored yet */
	char error[512]; /* of the last failure */
};

/*
 * Loads. The policy gets the stored split key and seed; when there are none, its own are stored. -errno with
 * `why` filled.
 */
int state_init(struct state *state, struct store *store, struct policy *policy, struct buf *why);
void state_fini(struct state *state);

/* The route's record (borrowed), NULL when there is none. */
json_t *state_record(const struct state *state, const char *id);
json_t *state_records(const struct state *state); /* all, by id; borrowed */
void state_forget(struct state *state, const char *id);
/* A route made, replaced or deleted by REST: config NULL = deleted. Not saved yet; -ENOMEM. */
int state_override(struct state *state, const char *id, const struct route_config *config,
		   const char *file_print);
/* The file has the word again. Not saved yet. */
void state_drop_override(struct state *state, const char *id);

/*
 * Stores `migration` as the route's. With `keep` the record stays (and is tried again, see state_retry) even
 * when storing it failed; without, it is as if nothing had happened. 0 or -errno with `why`.
 */
int state_save_migration(struct state *state, const struct route *route, const struct migration *migration,
			 bool keep, struct buf *why);
/* Stores everything as it is now. */
int state_save(struct state *state, struct buf *why);
/* Tries again when something is unsaved. */
void state_retry(struct state *state);

/*
 * Reads the migration of a record. False when there is none, or when the file's own weight is not the one of
 * then: the file wins.
 */
bool state_read_migration(const json_t *record, uint32_t file_weight_bp, struct migration *out);
/* The weight the file had when the record was written. */
uint32_t state_file_weight(const json_t *record);

#endif

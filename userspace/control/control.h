/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: the thread that owns everything but requests: routes, weights, migrations, state, events.
 *
 * It has a ring of its own; the admin server runs on it too, so nothing here needs a lock. What blocks for
 * long (webhooks, comparison) has threads of its own. Whoever changes something says who and why; it ends in
 * the audit log.
 */
#ifndef PHOENIX_CONTROL_CONTROL_H
#define PHOENIX_CONTROL_CONTROL_H

#include "control/engine.h"
#include "control/evidence_file.h"
#include "dataplane/dataplane.h"
#include "control/fleet.h"
#include "control/handover.h"
#include "control/share.h"
#include "io/ring.h"

#define AUDIT_MAX	 500
#define AUDIT_DENIED_MAX 200

/* What the data path does for control; the gateway in the daemon, a fake one in tests. */
struct data_path {
	void *context;
	int (*publish)(void *context, const struct gateway_route *routes, size_t count,
		       void (*release)(void *owner), void *owner, struct buf *why);
	void (*route_stats)(void *context, uint32_t slot, struct gateway_route_stats *out);
	/* The slot has another route from now on; may be NULL. */
	void (*route_reset)(void *context, uint32_t slot);
};

struct pipeline;

/* What is known about the kill switch (killswitch.h). */
struct kill_note {
	bool on; /* as last told */
	uint64_t since_wall_ns;
	char by[WHO_SIZE], reason[REASON_SIZE];
};

/* What else is read anew with the configuration: the tokens of the admin interface. */
struct reload_hook {
	void *context;
	/* Reads; with `why` and -errno the reload is refused. May be called again before `take`. */
	int (*read)(void *context, struct buf *why);
	void (*take)(void *context); /* what was read acts from now on */
};

/*
 * Who follows the status with many routes gets only those that changed since a look of theirs (view_status).
 * Looks are numbered from the wall clock on, so that a number of a daemon before this one is an old look.
 */
struct looks {
	uint64_t last;	   /* number of the last one */
	uint64_t whole;	   /* whoever has an older one is told everything */
	uint64_t removals; /* registry.removals then */
};

struct control {
	struct ring ring;
	bool ring_ready;
	struct config *config; /* as the file said; its routes live in the registry */
	char *config_path;
	struct policy policy;
	struct store *store;
	struct state state;
	struct registry registry;
	struct facts *facts;
	struct events events;
	struct notify *notify;
	struct engine engine;
	struct fleet fleet;
	struct pipeline *pipeline;
	struct gateway *gateway; /* NULL in tests */
	struct dataplane *plane; /* NULL without the NIC path */
	struct data_path path;
	struct journal audit;
	struct audit_denied {
		struct journal journal;
		uint64_t minute_ns;
		unsigned stored;   /* in this minute */
		uint64_t left_out; /* of the ledger, since the last one that is in it */
	} audit_denied;
	struct kill_note kill_note;
	/* What routes that are no more had counted, for sums over all routes. */
	struct {
		uint64_t outcomes[EXCHANGE_OUTCOME_COUNT], not_comparable[FACTS_REASON_COUNT];
	} retired;
	uint8_t redact_key[SIPHASH_KEY_SIZE];
	char instance[96];
	struct moment started;
	uint64_t loaded_wall_ns;
	bool reload_ok;
	char *reload_error; /* NULL when the last reload went well */
	struct reload_hook reload_hook;
	bool published;

	struct timer tick;
	uint32_t sample_slot; /* where the sampler goes on */
	uint64_t sample_ns;   /* when the present round over the slots began */
	uint32_t series_count;
	uint64_t rate_requests, rate_ns;
	double rps;
	struct looks looks;
	char *status_told;	/* what sd_notify was told last */
	uint64_t alive_told_ns; /* when the watchdog last got its sign of life */
	bool stall_told;	/* a worker hangs, and that was said */

	int signal_fd;
	struct handover handover;
	struct share share;
	struct evidence_file evidence;
	bool stopping;
};

struct control_options {
	struct config *config; /* taken, also on failure */
	const char *config_path;
	const char *warnings;		 /* lines of the loaded file, logged; may be NULL */
	struct inheritance *inheritance; /* from the daemon before; borrowed; NULL = none */
};

/*
 * Opens the store, starts the gateway with the routes of file and state, and everything that moves
 * migrations. The calling thread becomes the control thread; SIGTERM, SIGINT and SIGHUP are blocked here and
 * taken by the loop. On failure `why` says what to do. 0 or -errno.
 */
int control_create(const struct control_options *options, struct control **out, struct buf *why);
/* Turns the ring until a signal (or control_stop) ends it. 0 or -errno. */
int control_loop(struct control *control);
void control_stop(struct control *control);
/* Tells the service manager that it serves, and how it goes. */
void control_ready(const struct control *control);
/* The sentence of the route that needs attention most. */
void control_headline(const struct control *control, struct buf *out);
/* Drains the gateway, then frees all. NULL-safe. */
void control_destroy(struct control *control);

/* The parts without gateway, ring and signals, for tests; `path` is copied. Same cleaning up. */
int control_create_parts(const struct control_options *options, const struct data_path *path,
			 struct control **out, struct buf *why);

/* --- routes.c ------------------------------------------------------------------------------------------- */

/* What a change of the set of routes did; lists of ids, and sentences. */
struct route_report {
	json_t *changed, *added, *removed, *weights_from_file, *warnings;
};
/*
 * Makes the routes those of `file` (taken on success: its routes move) plus what REST made, as the state has
 * it. Everything or nothing: -errno with `why`.
 */
int routes_load(struct control *control, struct config *file, struct route_report *report, struct buf *why);
void route_report_fini(struct route_report *report);

/*
 * REST: creates (-EEXIST when the id is taken) or replaces a route. `config` is taken on success. -EINVAL,
 * -ENOSPC, or -errno of the store, with `why`.
 */
int control_route_put(struct control *control, struct route_config *config, bool replace, const char *who,
		      struct route **out, struct buf *why);
/* These definitions (keys of the object) were changed in the store by another gateway: they act here. */
void control_routes_follow(struct control *control, json_t *ids);
/* share.c: the definition that a record of the store holds; NULL with every error in `why`. */
struct route_config *share_definition(struct control *control, const char *id, const json_t *record,
				      struct buf *why);
int control_route_delete(struct control *control, struct route *route, const char *who, struct buf *why);

/* --- learnt.c ------------------------------------------------------------------------------------------- */

/* Tells of places newly found where legacy disagrees with itself, and ignores them where the route's policy
 * says so (compare.noise: apply). Once a second. */
void control_noise(struct control *control);

/* --- reload.c ------------------------------------------------------------------------------------------- */

/*
 * Reads the configuration file again. 0 and *report (a new reference, as POST /admin/config/reload answers),
 * or -errno with the error lines in `why` and nothing changed. Says it loudly either way.
 */
int control_reload(struct control *control, const char *who, json_t **report, struct buf *why);

/* --- audit ---------------------------------------------------------------------------------------------- */

struct audit_entry {
	const char *who, *role, *peer, *method, *path, *reason;
	int status;
};
/* Writes it down: ledger, log and journal. audit.c */
void control_audit(struct control *control, const struct audit_entry *entry);
/* One of an earlier process; borrowed. */
void control_audit_load(struct control *control, json_t *record);

#endif

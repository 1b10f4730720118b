/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline: from generated code to a finished migration, by itself (POST /admin/migrations).
 *
 *   verify ─▶ deploy ─▶ healthy ─▶ mirror ─▶ migrate ─▶ complete
 *      └─────────┴─────────┴─────────┴─────────┴──▶ undo ─▶ rolled_back
 *
 * A rollout is one spec on its way. Its stages are one table (pipeline_stages.c): what is done on entering,
 * when it is left, how long it may take. What blocks is done by jobs on threads of their own; the control
 * thread only looks at them, with every tick. Where a rollout stands is written down before the next stage
 * begins and every stage can be done again, so a daemon that was killed goes on where it was. Whatever goes
 * wrong leads to `undo`: the route is rolled back, the new service ended, the former one put back; legacy is
 * never touched.
 *
 *   DIRECTORY/ID/spec.json        as it was given          rollout.json   where it stands
 *               log.txt           what was said            cases/         failing examples, for the next spec
 *               scenario.json     what phoenix-traffic sends
 *   DIRECTORY/deploy/             the code, unless deploy.directory says otherwise
 */
#ifndef PHOENIX_CONTROL_PIPELINE_H
#define PHOENIX_CONTROL_PIPELINE_H

#include "control/control.h"
#include "pipeline/spec.h"

#define PIPELINE_ROLLOUTS_MAX	256
#define PIPELINE_ACTIVE_MAX	8 /* between verify and complete */
#define PIPELINE_LINES_MAX	400
#define PIPELINE_BRIEF_OVER_MAX 20
#define PIPELINE_FOREIGN_MAX	512 /* shown of those that other gateways run */

struct pipeline;

/* Reads back what a former daemon wrote down, and goes on. 0 or -errno with `why`. */
int pipeline_create(struct control *control, struct pipeline **out, struct buf *why);
/* Ends the jobs; the deployed services stay. NULL-safe. */
void pipeline_destroy(struct pipeline *pipeline);
/* `let_go`: a new daemon takes over: the jobs end, then the folder is its own. */
void pipeline_tick(struct pipeline *pipeline, struct moment now, bool let_go);

/*
 * Begins with a spec (taken on success), or begins again, from verify, with the new one when the last attempt
 * is over. `deploy_only`: it ends when the service is healthy. -EBUSY while one is under way, here or on
 * another gateway, or its service answers users, -EEXIST for a conflict with another route or port, -ENOSPC
 * when there are too many, -EAGAIN while a shared store is not reachable, -errno; with `why`.
 */
int pipeline_submit(struct pipeline *pipeline, struct spec *spec, bool deploy_only, const char *who,
		    struct buf *why);
/* The route's rollback is over and its rollout too: begins again with the same code. -ENOENT: no rollout;
 * -EBUSY: it is another gateway's. */
int pipeline_retry(struct pipeline *pipeline, const char *id, const char *who, struct buf *why);
/*
 * Stops what is under way, undoes it and forgets the rollout; a route that it made goes too. -ENOENT; -EBUSY
 * when its service answers users, or it is another gateway's, with `why`; of a gateway that is not heard of
 * only the record goes.
 */
int pipeline_delete(struct pipeline *pipeline, const char *id, const char *who, struct buf *why);

/* With those that other gateways run (pipeline_share.c). All take NULL for "there is no pipeline" (tests).
 * New references; NULL when there is none (or no memory). `since`: only log lines with a greater number. */
json_t *pipeline_view(struct pipeline *pipeline, const char *id, uint64_t since);
json_t *pipeline_view_all(struct pipeline *pipeline);
/* All that are under way and the last PIPELINE_BRIEF_OVER_MAX of the others, in a few words each. */
json_t *pipeline_view_brief(struct pipeline *pipeline);

#endif

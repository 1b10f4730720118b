/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile: the client's count held against the gateway's.
 *
 * A load generator that did nothing, or talked to somebody else, must not look like a clean run. So the
 * client finds each request's route with the gateway's own routing table, counts for each route what it gave
 * to a connection and what was answered, and asks the gateway what it counted of marked requests
 * (X-Phoenix-Synthetic) in the same time. Both must be equal, exactly, by route and by class of answer;
 * requests that no route takes must be among those the gateway refused. Two clients
 * that mark requests of one route at a time disturb each other.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_RECONCILE_H
#define PHOENIX_TOOLS_TRAFFIC_RECONCILE_H

#include "ctl/exits.h"
#include "load.h"

#include <jansson.h>

struct reconcile;

/*
 * Reads routes and counters from the daemon at `admin` (as phoenixctl's --admin). CTL_DONE, or another exit
 * status with the reason in `why`.
 */
int reconcile_open(const char *admin, const char *token, struct reconcile **out, struct buf *why);
/* NULL-safe. */
void reconcile_close(struct reconcile *reconcile);
/* For struct load_options. */
struct load_observer *reconcile_observer(struct reconcile *reconcile);
/*
 * Compares, once the last answer is in; waits a few seconds for the gateway's counters to settle. CTL_DONE
 * when all are equal; otherwise why, with both numbers, a line each. `subjects` of a difference are in
 * reconcile_json().
 */
int reconcile_finish(struct reconcile *reconcile, struct buf *why);
/* {"equal":, "routes": [{"id":, "sent":, "counted":, "answered": {"2xx": …}, "counted_answers": {…}}],
 * "unrouted":
 * {"sent":, "counted":}}; after reconcile_finish(). New reference. */
json_t *reconcile_json(const struct reconcile *reconcile);

#endif

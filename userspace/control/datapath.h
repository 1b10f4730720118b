/* SPDX-License-Identifier: Apache-2.0 */
/*
 * datapath: the two paths of a request as one: the gateway's workers, and, where interfaces are configured,
 * the NIC path. What the rest of control reads are sums over both; what it writes goes to both.
 */
#ifndef PHOENIX_CONTROL_DATAPATH_H
#define PHOENIX_CONTROL_DATAPATH_H

#include "control/control.h"

/*
 * Opens the NIC path when the configuration wants it. With xdp.mode "auto" a failure is logged and the daemon
 * serves alone; otherwise it is an error with `why`. Afterwards control->plane may still be NULL.
 */
int data_path_open(struct control *control, struct buf *why);
/* Policy memory: the NIC path's maps, or ordinary memory. */
int data_path_policy(struct control *control);
/* The gateway runs: attaches the NIC path beside it and makes both control->path. */
int data_path_start(struct control *control, struct buf *why);
/* After the first publication: what no route uses any more is given back. */
void data_path_settle(struct control *control);
void data_path_close(struct control *control);

/* Sums of both paths, and the NIC path's part of them. */
void data_path_stats(struct control *control, struct gateway_stats *out);
void data_path_fast_stats(struct control *control, uint32_t slot, struct gateway_route_stats *out);
/* Each path's own counters: none is a difference, so none ever goes back. */
void data_path_split_stats(struct control *control, uint32_t slot, struct gateway_route_stats *daemon,
			   struct gateway_route_stats *fast);
/* "xdp" while the fast path takes requests, else "daemon". */
const char *data_path_word(struct control *control);
/* The part "xdp" of GET /admin/datapath. */
json_t *data_path_json(struct control *control);
/* Requests by route, side and path. */
json_t *data_path_routes_json(struct control *control);

#endif

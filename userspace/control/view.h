/* SPDX-License-Identifier: Apache-2.0 */
/* view: what GET requests answer, as JSON. Reading changes nothing. All return new references, or NULL. */
#ifndef PHOENIX_CONTROL_VIEW_H
#define PHOENIX_CONTROL_VIEW_H

#include "control/control.h"

/*
 * As text, appended; `failed` when out of memory. `since`: the number of an earlier look, or 0; with many
 * routes only those that changed after it are told ("partial": true). Returns this look's number ("cursor").
 */
uint64_t view_status(struct control *control, uint64_t since, struct buf *out);
void view_routes(struct control *control, struct buf *out);
/* with_config: "config" too, as the file would have it. */
json_t *view_route(struct control *control, struct route *route, bool with_config);
json_t *view_weight(struct control *control, struct route *route);
json_t *view_differences(struct control *control, struct route *route);
json_t *view_samples(struct control *control, struct route *route);
json_t *view_decisions(struct control *control, struct route *route, size_t limit);
json_t *view_series(struct control *control, struct route *route, size_t limit);
json_t *view_events(struct control *control, uint64_t since, size_t limit);
/* "" and 0 take everything. */
struct audit_filter {
	char who[80], path[256], since[40], status[8];
	size_t limit; /* the newest of those that fit */
};
json_t *view_audit(struct control *control, const struct audit_filter *filter);
json_t *view_data_path(struct control *control);
/* What would happen to this request: route, next side, where it would go; "why" when it would go nowhere. */
json_t *view_trace(struct control *control, struct slice method, struct slice url);
json_t *view_config(struct control *control);
/* The route's entity tag with its quotes. */
#define ETAG_SIZE 48
void view_etag(const struct route *route, char out[ETAG_SIZE]);

/* The verbs possible now, as an array of words. */
json_t *view_verbs(struct control *control, struct route *route);

/* The text of GET /metrics (Prometheus text format 0.0.4). metrics.c */
void metrics_text(struct control *control, struct buf *out);

#endif

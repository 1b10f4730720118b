/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources: what a traffic plan can be made from.
 *
 * Each takes text that somebody else wrote. It returns 0, -ENOMEM, or -EINVAL with lines "FILE:LINE:COL:
 * error: …" in `errors` (a JSON pointer is in the sentence where it helps). A source that holds nothing to
 * send is an error too; single records that cannot be used are left out and counted (plan.h).
 */
#ifndef PHOENIX_TRAFFICGEN_SOURCES_H
#define PHOENIX_TRAFFICGEN_SOURCES_H

#include "config.h"
#include "trafficgen/plan.h"

#define SOURCE_FILE_BYTES_MAX (64u << 20) /* of a document that is read whole */
#define SOURCE_LINE_BYTES_MAX 65536u	  /* of an access log */
#define SOURCE_DEPTH_MAX      100

/* OpenAPI 3.0 or 3.1, JSON or YAML. */
int plan_from_openapi(struct plan *plan, const char *file, struct slice text, struct buf *errors);
/* HTTP Archive 1.2, as browsers and proxies write it. */
int plan_from_har(struct plan *plan, const char *file, struct slice text, struct buf *errors);
/*
 * An access log, line by line (it may be longer than memory): the combined or common format of Apache and
 * nginx, or JSON lines as Phoenix writes them: {"at": RFC 3339, "method", "target", "status", …}.
 */
struct log_source;
struct log_source *log_source_create(struct plan *plan, const char *file); /* NULL when out of memory */
int log_source_line(struct log_source *source, struct slice line);
/* Frees the source. */
int log_source_finish(struct log_source *source, struct buf *errors);
/* Samples of the daemon: {"samples": [{"method", "target", "request", "request_headers", …}]}, or the
 * examples of GET /admin/routes/{id}/diffs. */
int plan_from_samples(struct plan *plan, const json_t *answer, struct buf *errors);
/* A route's own definition: its path, with numbers for its parameters. `config` as in GET /admin/routes/{id}.
 */
int plan_from_route(struct plan *plan, const json_t *config, struct buf *errors);

#endif

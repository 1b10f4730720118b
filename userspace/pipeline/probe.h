/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: asks a service that no user sees yet: is it healthy, and does it answer known requests as it should?
 *
 * Runs in a job (job.h); every wait ends with it. Answers are read up to a limit, redirects are not followed.
 */
#ifndef PHOENIX_PIPELINE_PROBE_H
#define PHOENIX_PIPELINE_PROBE_H

#include "pipeline/deploy.h"

#define PROBE_BODY_BYTES_MAX (4u << 20)
#define PROBE_TIMEOUT_MS     10000

/* Does anybody listen on 127.0.0.1:port? */
bool probe_port_is_taken(uint16_t port);
/* A port of 127.0.0.1 that is free now; 0 when there is none. */
uint16_t probe_free_port(void);

/*
 * Waits until the service on 127.0.0.1:port (or on `other`, when that is not 0) is healthy: 0 and *found;
 * -ECHILD when it ended instead, -ETIMEDOUT when it did not become so within the spec's deadline.healthy_ms,
 * with `why`; -ECANCELED. Its last lines go to the log.
 */
int probe_health(struct deployment *d, struct job *job, const json_t *release, bool trial, uint16_t port,
		 uint16_t other, uint16_t *found, struct buf *why);
/* Is it healthy now? One question. */
bool probe_is_healthy(const struct spec *spec, struct job *job, uint16_t port);

/*
 * The contract replay: each case of the spec is asked of the service on `port` and its answer compared, by
 * the route's compare rules, with the given one, or with that of legacy where none is given (safe methods
 * only). 0, or -EPROTO with the first differences in `why`.
 */
int probe_cases(struct deployment *d, struct job *job, bool next, uint16_t port, struct buf *why);

#endif

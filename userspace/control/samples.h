/* SPDX-License-Identifier: Apache-2.0 */
/*
 * samples: a few of a route's real requests, kept to make traffic of the same kind from.
 *
 * A fair choice of what came (reservoir sampling), with a bias to the last thousands once there were many, so
 * that what is kept is today's traffic. Redacted before it is stored, as all examples are. Marked requests
 * are left out: traffic must not be made from traffic that was made.
 */
#ifndef PHOENIX_CONTROL_SAMPLES_H
#define PHOENIX_CONTROL_SAMPLES_H

#include "http/exchange.h"

#include <jansson.h>

#define SAMPLES_MAX	  64	      /* of one route */
#define SAMPLES_MEMORY	  64	      /* times SAMPLES_MAX requests back is where the fair choice ends */
#define SAMPLES_BYTES_MAX (32u << 20) /* of all routes */

/* Zero-initialised is empty and valid. */
struct sample_set {
	json_t *items[SAMPLES_MAX];
	size_t bytes[SAMPLES_MAX];
	unsigned count;
	uint64_t seen;
};

/* Counts a request. Where its sample belongs, or -1 when it is not wanted. */

int sample_set_place(struct sample_set *set, const struct exchange *exchange);
/* Takes it over, unless that would grow *total over SAMPLES_BYTES_MAX; `place` is from sample_set_place(). */
void sample_set_keep(struct sample_set *set, int place, json_t *sample, size_t bytes, uint64_t *total);
/* {"seen": N, "samples": […]}. New reference, NULL when out of memory. */
json_t *sample_set_to_json(const struct sample_set *set);
/* Frees the samples; *total loses what they took. */
void sample_set_fini(struct sample_set *set, uint64_t *total);

#endif

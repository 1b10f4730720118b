/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_internal: what the readers of a scenario's parts share. All return 0 or -errno, after having said
 * why. */
#ifndef PHOENIX_TOOLS_TRAFFIC_SCENARIO_INTERNAL_H
#define PHOENIX_TOOLS_TRAFFIC_SCENARIO_INTERNAL_H

#include "scenario.h"

/* Prints "FILE: error: …"; -EINVAL. */
int scenario_error(const struct scenario *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* -EINVAL with the sentence in `why`, which is freed; other errors go through. */
int scenario_explain(const struct scenario *s, const char *where, int err, struct buf *why);
/* The keys of an object must be among `allowed` (a list with a NULL at its end). */
int scenario_check_keys(const struct scenario *s, const json_t *object, const char *where,
			const char *const *allowed);

/* --- scenario_values.c; NULL: not given --- */

/* Needs it no escaping, in a path, a field and a JSON string alike? */
bool scenario_value_is_plain(const char *value);
int scenario_read_variables(struct scenario *s, json_t *object);
int scenario_read_load(struct scenario *s, json_t *load);
int scenario_read_thresholds(struct scenario *s, json_t *list);

#endif

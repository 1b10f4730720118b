/* SPDX-License-Identifier: Apache-2.0 */
/*
 * k6: the same scenario as a script for k6 (https://k6.io): arrival rates, stages, variables, checks,
 * thresholds.
 *
 * What the scenario holds stands in the script as data (JSON is JavaScript); nothing of it becomes code.
 */
#ifndef PHOENIX_TRAFFICGEN_K6_H
#define PHOENIX_TRAFFICGEN_K6_H

#include "base/buf.h"

#include <jansson.h>

/*
 * `scenario` is one that phoenix-traffic takes. What k6 cannot say (a threshold on unsent requests as a
 * share) is named in `notes`, a line each. False when it is no scenario (`notes` says why) or memory ran out.
 */
bool k6_write(const json_t *scenario, struct buf *out, struct buf *notes);

#endif

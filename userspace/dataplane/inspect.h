/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect: the NIC path seen and taken down by its pins alone, with a daemon or without: for phoenixctl.
 * Needs root, and the network namespace that the interfaces are in.
 */
#ifndef PHOENIX_DATAPLANE_INSPECT_H
#define PHOENIX_DATAPLANE_INSPECT_H

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define INSPECT_PIN_DIR "/sys/fs/bpf/phoenix"

/*
 * What is attached, and how it is. New reference in *out; -ENOENT when nothing is pinned there, -EPERM, or
 * -errno, each with `why`.
 */
int inspect_status(const char *pin_dir, json_t **out, struct buf *why);
/* Routes, upstreams and counters as the maps have them. The same errors. */
int inspect_maps(const char *pin_dir, json_t **out, struct buf *why);
/*
 * Reads the kill switch, after setting it to *set (NULL: only reads). It needs nothing but this one map:
 * whatever else is broken, this works. The same errors.
 */
int inspect_kill_switch(const char *pin_dir, const bool *set, bool *out, struct buf *why);
/*
 * Takes the fast path down: no new connections; those there go to the daemon at their next request, for at
 * most drain_ms; idle ones get a FIN; then the programs come off the devices, what attaching changed is
 * undone, and the pins are removed. `say` gets a line for each step. 0 only when every device says that it is
 * gone.
 */
int inspect_detach(const char *pin_dir, uint32_t drain_ms, void (*say)(void *context, const char *line),
		   void *context, struct buf *why);

#endif

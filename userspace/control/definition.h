/* SPDX-License-Identifier: Apache-2.0 */
/*
 * definition: what a route is, immutable and shared: its configuration and the comparison plan made of it.
 *
 * The gateway's snapshots, the comparer and the registry each hold a reference; whoever lets go last frees.
 */
#ifndef PHOENIX_CONTROL_DEFINITION_H
#define PHOENIX_CONTROL_DEFINITION_H

#include "base/siphash.h"
#include "config.h"
#include "judge/compare.h"

#include <stdatomic.h>

#define PRINT_SIZE 17

struct definition {
	_Atomic unsigned references;
	struct route_config *config;
	struct compare_plan *plan;
	bool from_api;		/* made or replaced by REST; the file may say something else */
	char print[PRINT_SIZE]; /* fingerprint of everything but the weight */
};

/*
 * Takes `config` on success only. `key` is the process's redaction key. *out has one reference. -EINVAL with
 * a sentence in `why` (a pointer the comparer refuses), or -ENOMEM.
 */
int definition_create(struct route_config *config, bool from_api, const uint8_t key[SIPHASH_KEY_SIZE],
		      struct definition **out, struct buf *why);
struct definition *definition_get(struct definition *definition);
void definition_put(struct definition *definition); /* NULL-safe; any thread */
/* The fingerprint of a configuration, weight apart; "" when out of memory. */
void route_config_print(const struct route_config *config, char out[PRINT_SIZE]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* definition: see definition.h. */
#include "control/definition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The fingerprint is compared with those in the state file: its key is fixed. */
static const uint8_t print_key[SIPHASH_KEY_SIZE] = "phoenix-print-2";

void route_config_print(const struct route_config *config, char out[PRINT_SIZE])
{
	out[0] = '\0';
	struct buf bytes = {0};
	route_config_bytes(config, &bytes);
	if (!bytes.failed)
		snprintf(out, PRINT_SIZE, "%016" PRIx64, siphash24(print_key, bytes.data, bytes.len));
	buf_fini(&bytes);
}

static struct compare_strings strings_of(const struct string_list *list)
{
	return (struct compare_strings){list->items, list->count};
}

int definition_create(struct route_config *config, bool from_api, const uint8_t key[SIPHASH_KEY_SIZE],
		      struct definition **out, struct buf *why)
{
	struct compare_options options = {
		.ignore = strings_of(&config->compare.ignore),
		.headers = strings_of(&config->compare.headers),
		.unordered = strings_of(&config->compare.unordered),
		.redact = strings_of(&config->compare.redact),
		.float_tolerance = config->compare.float_tolerance,
	};
	memcpy(options.key, key, sizeof(options.key));
	struct definition *definition = calloc(1, sizeof(*definition));
	if (!definition)
		return -ENOMEM;
	definition->plan = compare_plan_create(&options, why);
	if (!definition->plan) {
		free(definition);
		return -EINVAL;
	}
	definition->references = 1;
	definition->config = config;
	definition->from_api = from_api;
	route_config_print(config, definition->print);
	*out = definition;
	return 0;
}

struct definition *definition_get(struct definition *definition)
{
	atomic_fetch_add_explicit(&definition->references, 1, memory_order_relaxed);
	return definition;
}

void definition_put(struct definition *definition)
{
	if (!definition || atomic_fetch_sub_explicit(&definition->references, 1, memory_order_acq_rel) != 1)
		return;
	compare_plan_destroy(definition->plan);
	route_config_destroy(definition->config);
	free(definition);
}

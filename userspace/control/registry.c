/* SPDX-License-Identifier: Apache-2.0 */
/* registry: see registry.h. The table of ids is twice as large as there can be routes. */
#include "control/registry.h"

#include "control/series.h"

#include <errno.h>
#include <stdlib.h>

#define TABLE_SIZE (2 * PHX_ROUTE_SLOTS)

static const uint8_t table_key[SIPHASH_KEY_SIZE] = "phoenix-routes";

static uint32_t table_start(struct slice id)
{
	return (uint32_t)siphash24(table_key, id.ptr, id.len) % TABLE_SIZE;
}

int registry_init(struct registry *registry)
{
	memset(registry, 0, sizeof(*registry));
	list_init(&registry->routes);
	registry->table = calloc(TABLE_SIZE, sizeof(*registry->table));
	return registry->table ? 0 : -ENOMEM;
}

void registry_fini(struct registry *registry)
{
	if (!registry->table)
		return;
	while (!list_empty(&registry->routes))
		registry_remove(registry, container_of(registry->routes.next, struct route, link));
	free(registry->table);
	registry->table = NULL;
}

struct route *registry_find(const struct registry *registry, struct slice id)
{
	for (uint32_t i = table_start(id); registry->table[i]; i = (i + 1) % TABLE_SIZE) {
		struct route *route = registry->by_slot[registry->table[i] - 1];
		if (slice_equal(slice_str(route_config_of(route)->id), id))
			return route;
	}
	return NULL;
}

static void table_insert(struct registry *registry, const struct route *route)
{
	uint32_t i = table_start(slice_str(route_config_of(route)->id));
	while (registry->table[i])
		i = (i + 1) % TABLE_SIZE;
	registry->table[i] = route->slot + 1;
}

/* Takes an entry out; those behind it that would not be found over the hole move up (Knuth 6.4 R). */
static void table_remove(struct registry *registry, const struct route *route)
{
	uint32_t hole = table_start(slice_str(route_config_of(route)->id));
	while (registry->table[hole] != route->slot + 1)
		hole = (hole + 1) % TABLE_SIZE;
	registry->table[hole] = 0;
	for (uint32_t i = (hole + 1) % TABLE_SIZE; registry->table[i]; i = (i + 1) % TABLE_SIZE) {
		const struct route *other = registry->by_slot[registry->table[i] - 1];
		uint32_t start = table_start(slice_str(route_config_of(other)->id));
		bool reachable = hole <= i ? hole < start && start <= i : hole < start || start <= i;
		if (!reachable) {
			registry->table[hole] = registry->table[i];
			registry->table[i] = 0;
			hole = i;
		}
	}
}

int registry_add(struct registry *registry, struct definition *definition, struct route **out)
{
	if (registry_find(registry, slice_str(definition->config->id)))
		return -EEXIST;
	if (registry->count == PHX_ROUTE_SLOTS)
		return -ENOSPC;
	struct route *route = calloc(1, sizeof(*route));
	if (!route)
		return -ENOMEM;
	uint32_t slot = registry->next_free;
	while (registry->by_slot[slot])
		slot = (slot + 1) % PHX_ROUTE_SLOTS;
	registry->next_free = (slot + 1) % PHX_ROUTE_SLOTS;
	route->slot = slot;
	route->generation = ++registry->generations[slot];
	route->definition = definition_get(definition);
	list_init(&route->watch.active);
	journal_init(&route->ledger, LEDGER_MAX);
	registry->by_slot[slot] = route;
	registry->count++;
	table_insert(registry, route);
	list_push_back(&registry->routes, &route->link);
	*out = route;
	return 0;
}

void registry_remove(struct registry *registry, struct route *route)
{
	table_remove(registry, route);
	registry->by_slot[route->slot] = NULL;
	registry->count--;
	list_remove(&route->link);
	list_remove(&route->watch.active);
	journal_fini(&route->ledger);
	series_destroy(route->series);
	buf_fini(&route->text.text);
	definition_put(route->definition);
	free(route);
}

void registry_redefine(struct registry *registry, struct route *route, struct definition *definition)
{
	struct definition *old = route->definition;
	route->definition = definition_get(definition);
	route->generation = ++registry->generations[route->slot];
	definition_put(old);
}

void snapshot_owner_release(void *argument)
{
	struct snapshot_owner *owner = argument;
	if (!owner)
		return;
	for (size_t i = 0; i < owner->count; i++)
		definition_put(owner->definitions[i]);
	free(owner->definitions);
	free(owner->routes);
	free(owner);
}

struct snapshot_owner *snapshot_owner_create(size_t max)
{
	struct snapshot_owner *owner = calloc(1, sizeof(*owner));
	if (!owner)
		return NULL;
	owner->routes = calloc(max + 1, sizeof(*owner->routes));
	owner->definitions = calloc(max + 1, sizeof(struct definition *));
	if (!owner->routes || !owner->definitions) {
		snapshot_owner_release(owner);
		return NULL;
	}
	return owner;
}

void snapshot_owner_add(struct snapshot_owner *owner, struct definition *definition, uint32_t slot,
			uint32_t generation)
{
	owner->definitions[owner->count] = definition_get(definition);
	owner->routes[owner->count++] = (struct gateway_route){definition->config, slot, generation};
}

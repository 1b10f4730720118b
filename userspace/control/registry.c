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

static struct slice name_id(const struct phx_name *name)
{
	return slice_of(name->id, strnlen(name->id, sizeof(name->id)));
}

int registry_remember(struct registry *registry, struct phx_name *names)
{
	registry->remembered = calloc(TABLE_SIZE, sizeof(*registry->remembered));
	if (!registry->remembered)
		return -ENOMEM;
	registry->names = names;
	for (uint32_t slot = 0; slot < PHX_ROUTE_SLOTS; slot++) {
		registry->generations[slot] = names[slot].generation;
		if (!names[slot].id[0])
			continue;
		uint32_t i = table_start(name_id(&names[slot]));
		while (registry->remembered[i])
			i = (i + 1) % TABLE_SIZE;
		registry->remembered[i] = slot + 1;
	}
	return 0;
}

/* The slot that the id had; PHX_SLOT_NONE when it had none. */
static uint32_t remembered_slot(const struct registry *registry, struct slice id)
{
	if (!registry->names)
		return PHX_SLOT_NONE;
	for (uint32_t i = table_start(id); registry->remembered[i]; i = (i + 1) % TABLE_SIZE) {
		uint32_t slot = registry->remembered[i] - 1;
		if (!registry->by_slot[slot] && slice_equal(name_id(&registry->names[slot]), id))
			return slot;
	}
	return PHX_SLOT_NONE;
}

/* One that nobody has; rather one that nobody had, for the data path may still be using those. */
static uint32_t free_slot(struct registry *registry)
{
	uint32_t slot = registry->next_free, fallback = PHX_SLOT_NONE;
	for (uint32_t n = 0; n < PHX_ROUTE_SLOTS; n++, slot = (slot + 1) % PHX_ROUTE_SLOTS) {
		if (registry->by_slot[slot])
			continue;
		if (!registry->names || !registry->names[slot].id[0])
			break;
		if (fallback == PHX_SLOT_NONE)
			fallback = slot;
	}
	if (registry->by_slot[slot] || (registry->names && registry->names[slot].id[0]))
		slot = fallback;
	registry->next_free = (slot + 1) % PHX_ROUTE_SLOTS;
	return slot;
}

static void name_slot(struct registry *registry, const struct route *route)
{
	struct phx_name *name = registry->names ? &registry->names[route->slot] : NULL;
	struct slice id = slice_str(route_config_of(route)->id);
	if (!name)
		return;
	if (!slice_equal(name_id(name), id)) {
		memset(name->id, 0, sizeof(name->id));
		memcpy(name->id, id.ptr, id.len < sizeof(name->id) ? id.len : sizeof(name->id));
	}
	name->generation = route->generation;
}

void registry_fini(struct registry *registry)
{
	registry->names = NULL; /* the slots are still used when this process has ended */
	free(registry->remembered);
	registry->remembered = NULL;
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
	uint32_t slot = remembered_slot(registry, slice_str(definition->config->id));
	route->new_in_slot = slot == PHX_SLOT_NONE;
	if (slot == PHX_SLOT_NONE)
		slot = free_slot(registry);
	route->slot = slot;
	route->generation = ++registry->generations[slot];
	route->definition = definition_get(definition);
	list_init(&route->watch.active);
	journal_init(&route->ledger, LEDGER_MAX);
	registry->by_slot[slot] = route;
	registry->count++;
	table_insert(registry, route);
	list_push_back(&registry->routes, &route->link);
	name_slot(registry, route);
	*out = route;
	return 0;
}

void registry_remove(struct registry *registry, struct route *route)
{
	table_remove(registry, route);
	registry->by_slot[route->slot] = NULL;
	if (registry->names)
		memset(registry->names[route->slot].id, 0, sizeof(registry->names[route->slot].id));
	registry->count--;
	registry->removals++;
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
	name_slot(registry, route);
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

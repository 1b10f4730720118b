/* SPDX-License-Identifier: Apache-2.0 */
/* Routes by id and by slot: stable slots, fresh generations, and a table of ids that survives removals. */
#include "control/registry.h"
#include "unit.h"

#include <errno.h>

static const uint8_t key[SIPHASH_KEY_SIZE];

static struct definition *define(const char *id, unsigned port)
{
	char text[512];
	snprintf(text, sizeof(text),
		 "{\"id\":\"%s\",\"path\":\"/%s\",\"legacy_url\":\"http://127.0.0.1:1\","
		 "\"modern_url\":\"http://127.0.0.1:%u\"}",
		 id, id, port);
	struct route_config *config;
	struct definition *definition;
	struct buf why = {0};
	if (route_config_parse("test", slice_str(text), &config, &why) ||
	    definition_create(config, false, key, &definition, &why)) {
		fprintf(stderr, "%s\n", buf_cstr(&why));
		exit(1);
	}
	buf_fini(&why);
	return definition;
}

static struct route *add(struct registry *registry, const char *id)
{
	struct definition *definition = define(id, 2);
	struct route *route = NULL;
	CHECK_INT(registry_add(registry, definition, &route), 0);
	definition_put(definition);
	return route;
}

TEST(slots_are_stable_and_generations_fresh)
{
	static struct registry registry;
	CHECK_INT(registry_init(&registry), 0);
	struct route *a = add(&registry, "a"), *b = add(&registry, "b");
	CHECK(a->slot != b->slot);
	CHECK(registry_find(&registry, SLICE("a")) == a);
	CHECK(registry_find(&registry, SLICE("c")) == NULL);
	struct definition *again = define("a", 3);
	struct route *other = NULL;
	CHECK_INT(registry_add(&registry, again, &other), -EEXIST);
	CHECK(other == NULL);
	uint32_t slot = a->slot, generation = a->generation;
	registry_redefine(&registry, a, again);
	definition_put(again);
	CHECK_INT(a->slot, slot);
	CHECK_INT(a->generation, generation + 1);
	registry_remove(&registry, a);
	CHECK(registry_find(&registry, SLICE("a")) == NULL);
	CHECK(registry_find(&registry, SLICE("b")) == b);
	/* Whoever gets the slot next is not mistaken for the one before. */
	for (unsigned i = 0; i < 3; i++) {
		registry.next_free = slot;
		struct route *next = add(&registry, "next");
		CHECK_INT(next->slot, slot);
		CHECK_INT(next->generation, generation + 2 + i);
		registry_remove(&registry, next);
	}
	CHECK_INT(registry.count, 1);
	registry_fini(&registry);
}

TEST(thousands_come_and_go)
{
	static struct registry registry;
	CHECK_INT(registry_init(&registry), 0);
	enum { COUNT = 4000 };
	char id[16];
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(id, sizeof(id), "r%u", i);
		add(&registry, id);
	}
	/* Every third one goes: the others must still be found over the holes. */
	for (unsigned i = 0; i < COUNT; i += 3) {
		snprintf(id, sizeof(id), "r%u", i);
		registry_remove(&registry, registry_find(&registry, slice_str(id)));
	}
	unsigned wrong = 0;
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(id, sizeof(id), "r%u", i);
		struct route *route = registry_find(&registry, slice_str(id));
		wrong += (route != NULL) != (i % 3 != 0);
		wrong += route && (registry.by_slot[route->slot] != route ||
				   strcmp(route_config_of(route)->id, id) != 0);
	}
	CHECK_INT(wrong, 0);
	unsigned listed = 0;
	registry_each(&registry, route) listed += route != NULL;
	CHECK_INT(listed, registry.count);
	registry_fini(&registry);
}

TEST(full_is_refused)
{
	static struct registry registry;
	CHECK_INT(registry_init(&registry), 0);
	struct definition *definition = define("one-too-many", 2);
	registry.count = PHX_ROUTE_SLOTS;
	struct route *route = NULL;
	CHECK_INT(registry_add(&registry, definition, &route), -ENOSPC);
	CHECK(route == NULL);
	registry.count = 0;
	definition_put(definition);
	registry_fini(&registry);
}

TEST(print_ignores_the_weight_alone)
{
	struct definition *a = define("a", 2), *b = define("a", 2), *c = define("a", 3);
	b->config->weight_bp = 5000;
	char print[PRINT_SIZE];
	route_config_print(b->config, print);
	CHECK_STR(print, a->print);
	CHECK(strcmp(a->print, c->print) != 0);
	CHECK_INT(strlen(print), 16);
	definition_put(a);
	definition_put(b);
	definition_put(c);
	definition_put(NULL);
}

/* What the NIC path's maps keep over a restart: ids get their slots and the next generation, others stay
 * away. */
TEST(slots_are_remembered)
{
	static struct phx_name names[PHX_ROUTE_SLOTS];
	static struct registry first, second;
	memset(names, 0, sizeof(names));
	CHECK_INT(registry_init(&first), 0);
	CHECK_INT(registry_remember(&first, names), 0);
	struct route *a = add(&first, "a"), *b = add(&first, "b"), *c = add(&first, "c");
	CHECK(a->new_in_slot && b->new_in_slot && c->new_in_slot);
	uint32_t slot_b = b->slot, slot_c = c->slot, generation_c = c->generation;
	CHECK_STR(names[slot_b].id, "b");
	registry_remove(&first, a);
	registry_fini(&first); /* the process ends: what is in use stays named */
	CHECK_STR(names[slot_b].id, "b");
	CHECK_STR(names[slot_c].id, "c");

	CHECK_INT(registry_init(&second), 0);
	CHECK_INT(registry_remember(&second, names), 0);
	struct route *x = add(&second, "x");
	CHECK(x->slot != slot_b && x->slot != slot_c && x->new_in_slot);
	c = add(&second, "c");
	CHECK_INT(c->slot, slot_c);
	CHECK(!c->new_in_slot);
	CHECK_INT(c->generation, generation_c + 1);
	CHECK_INT(names[slot_c].generation, generation_c + 1);
	registry_remove(&second, c);
	CHECK_STR(names[slot_c].id, "");
	CHECK_STR(names[slot_b].id, "b"); /* nobody has asked for it yet */
	registry_fini(&second);
}

/* When every slot had a name, those of routes that are gone are used after all. */
TEST(remembered_slots_run_out)
{
	static struct phx_name names[PHX_ROUTE_SLOTS];
	static struct registry registry;
	for (uint32_t i = 0; i < PHX_ROUTE_SLOTS; i++)
		snprintf(names[i].id, sizeof(names[i].id), "old%u", i);
	CHECK_INT(registry_init(&registry), 0);
	CHECK_INT(registry_remember(&registry, names), 0);
	struct route *x = add(&registry, "x"), *old = add(&registry, "old77");
	CHECK_INT(old->slot, 77);
	CHECK(x->slot != 77 && x->new_in_slot);
	CHECK_STR(names[x->slot].id, "x");
	registry_fini(&registry);
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_check: what only several values together can tell. See config_schema.h.
 *
 * Runs also after other errors, on what could be read: a field that was bad is NULL or zero here and is
 * passed over. Positions come from the nodes, which still stand.
 */
#include "config_schema.h"
#include "config_value.h"

#include <phoenix/abi.h>

#include <stdlib.h>

/* The position of a member, or of the whole when it was left out. */
static struct mark mark_of(const struct node *map, const char *key)
{
	const struct node *node = node_find(map, key);
	return node ? node->at : map ? map->at : (struct mark){1, 1};
}

static struct mark mark_within(const struct node *map, const char *section, const char *key)
{
	const struct node *inner = node_find(map, section);
	return inner ? mark_of(inner, key) : mark_of(map, key);
}

/* --- one route --- */

/* The unsafe methods of a mask as "POST, PUT"; in words for all of them. */
static void append_unsafe(struct buf *out, const struct route_config *route)
{
	const char *separator = "";
	if (route->method_mask == ~0u) {
		buf_append_str(out, "POST, PUT, PATCH, DELETE and the like");
		return;
	}
	for (size_t i = 0; i < route->methods.count; i++) {
		uint32_t bit;
		if (method_parse(slice_str(route->methods.items[i]), &bit) || (bit & PHX_METHODS_SAFE))
			continue;
		buf_printf(out, "%s%s", separator, route->methods.items[i]);
		separator = ", ";
	}
}

void route_check(struct report *report, const struct node *map, const struct where *where,
		 const struct route_config *route)
{
	const struct arbiter_config *arbiter = &route->arbiter;
	struct path_text path = where_text(where);
	const char *dot = where->up ? "." : "", *prefix = path.text;
	if (route->mirror.unsafe_methods && (route->method_mask & ~PHX_METHODS_SAFE)) {
		struct buf methods = {0};
		append_unsafe(&methods, route);
		report_warning(
			report, mark_within(map, "mirror", "unsafe_methods"),
			"%s%smirror.unsafe_methods is true: this route's %s will be sent to both services",
			prefix, dot, buf_cstr(&methods));
		buf_fini(&methods);
	}
	if (config_url_equal(&route->legacy, &route->modern))
		report_warning(
			report, mark_of(map, "modern_url"),
			"%s%smodern_url is the same service as legacy_url (%s): there is nothing to migrate",
			prefix, dot, route->legacy.text);
	if (arbiter->rollback_below_bp > arbiter->promote_above_bp && arbiter->promote_above_bp)
		report_error(report, mark_within(map, "arbiter", "rollback_below"),
			     "%s%sarbiter.rollback_below is %.10g, must not be above promote_above (%.10g): "
			     "what lies "
			     "between would do both",
			     prefix, dot, (double)arbiter->rollback_below_bp / CONFIG_WEIGHT_ONE,
			     (double)arbiter->promote_above_bp / CONFIG_WEIGHT_ONE);
	if (arbiter->promote_above_bp == CONFIG_WEIGHT_ONE)
		report_warning(report, mark_within(map, "arbiter", "promote_above"),
			       "%s%sarbiter.promote_above is 1: consistency is never above 1, so this route "
			       "will not "
			       "be promoted",
			       prefix, dot);
}

/* --- routes against each other --- */

struct entry {
	const struct route_config *route;
	const struct node *node;
	size_t index;
};

/* Compares patterns with every {name} taken as {}. */
static int compare_shapes(const char *a, const char *b)
{
	for (;; a++, b++) {
		if (a[0] == '{' && b[0] == '{') {
			a = strchr(a, '}');
			b = strchr(b, '}');
		}
		if (*a != *b)
			return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
		if (!*a)
			return 0;
	}
}

static int compare_targets(const struct route_config *a, const struct route_config *b)
{
	int host = strcmp(a->host ? a->host : "", b->host ? b->host : "");
	return host ? host : compare_shapes(a->path, b->path);
}

static int by_target(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	int target = compare_targets(a->route, b->route);
	return target ? target : a->index < b->index ? -1 : 1;
}

static int by_id(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	int id = strcmp(a->route->id, b->route->id);
	return id ? id : a->index < b->index ? -1 : 1;
}

/* A route that names its methods goes before one with "*", so these two never compete. */
static bool share_methods(const struct route_config *a, const struct route_config *b)
{
	return (a->method_mask == ~0u) == (b->method_mask == ~0u) && (a->method_mask & b->method_mask);
}

bool route_config_conflicts(const struct route_config *a, const struct route_config *b)
{
	return share_methods(a, b) && compare_targets(a, b) == 0;
}

static void check_ids(struct report *report, struct entry *entries, size_t count)
{
	qsort(entries, count, sizeof(*entries), by_id);
	size_t first = 0;
	for (size_t i = 1; i < count; i++) {
		const struct entry *at = &entries[i];
		if (strcmp(entries[first].route->id, at->route->id) != 0) {
			first = i;
			continue;
		}
		report_error(report, mark_of(at->node, "id"),
			     "routes[%zu].id %s is already the id of routes[%zu] (line %u)", at->index,
			     quote(slice_str(at->route->id)).text, entries[first].index,
			     entries[first].route->line);
	}
}

/* The file decides by its order here, never silently: the second of two equals is an error. */
static void check_targets(struct report *report, struct entry *entries, size_t count)
{
	qsort(entries, count, sizeof(*entries), by_target);
	size_t first = 0;
	for (size_t i = 1; i < count; i++) {
		if (compare_targets(entries[first].route, entries[i].route) != 0)
			first = i;
		for (size_t j = first; j < i; j++) {
			const struct entry *a = &entries[j], *b = &entries[i];
			if (!share_methods(a->route, b->route))
				continue;
			report_error(report, mark_of(b->node, "path"),
				     "routes[%zu].path %s matches the same requests as routes[%zu] (line "
				     "%u); give "
				     "them different methods, hosts or paths",
				     b->index, quote(slice_str(b->route->path)).text, a->index,
				     a->route->line);
			break;
		}
	}
}

static void check_upstream(struct report *report, const struct config *config, const struct entry *entry,
			   const char *key, const struct config_url *url)
{
	for (size_t i = 0; i < config->listen_count; i++) {
		if (!config_url_is_listen(url, &config->listen[i]))
			continue;
		report_error(report, mark_of(entry->node, key),
			     "routes[%zu].%s %s is this gateway's own address "
			     "(listen %s): requests would go round for ever",
			     entry->index, key, quote(slice_str(url->text)).text,
			     quote(slice_str(config->listen[i].text)).text);
		return;
	}
}

static void check_routes(struct report *report, const struct node *map, const struct config *config)
{
	const struct node *list = node_find(map, "routes");
	const struct node *node = list ? list->first : NULL;
	struct where root = {0}, routes = {.up = &root, .key = "routes"};
	struct entry *entries = calloc(config->route_count + 1, sizeof(*entries));
	struct entry *named = calloc(config->route_count + 1, sizeof(*named));
	size_t count = 0, named_count = 0;
	if (!entries || !named) {
		report->no_memory = true;
		goto done;
	}
	for (size_t i = 0; i < config->route_count; i++, node = node ? node->next : NULL) {
		struct entry entry = {.route = config->routes[i], .node = node, .index = i};
		struct where here = {.up = &routes, .index = i};
		route_check(report, node, &here, entry.route);
		check_upstream(report, config, &entry, "legacy_url", &entry.route->legacy);
		check_upstream(report, config, &entry, "modern_url", &entry.route->modern);
		if (entry.route->path)
			entries[count++] = entry;
		if (entry.route->id)
			named[named_count++] = entry;
	}
	check_ids(report, named, named_count);
	check_targets(report, entries, count);
done:
	free(entries);
	free(named);
}

/* --- the rest --- */

static bool same_listen(const struct config_listen *a, const struct config_listen *b)
{
	if (a->unix_path && b->unix_path)
		return strcmp(a->unix_path, b->unix_path) == 0;
	return a->host && b->host && a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void check_listens(struct report *report, const struct node *map, const struct config *config)
{
	const struct node *list = node_find(map, "listen");
	const struct node *item = list ? list->first : NULL;
	for (size_t i = 0; i < config->listen_count; i++, item = item ? item->next : NULL) {
		struct mark at = item ? item->at : map->at;
		const struct config_listen *listen = &config->listen[i];
		for (size_t j = 0; j < i; j++) {
			if (!same_listen(listen, &config->listen[j]))
				continue;
			report_error(report, at, "listen[%zu] %s is already listen[%zu]", i,
				     quote(slice_str(listen->text)).text, j);
			break;
		}
		if (same_listen(listen, &config->admin.listen))
			report_error(report, at,
				     "listen[%zu] %s is also admin.listen; the admin API needs an "
				     "address of its own",
				     i, quote(slice_str(listen->text)).text);
	}
}

static void check_admin(struct report *report, const struct node *map, const struct config *config)
{
	const struct config_listen *listen = &config->admin.listen;
	/* A token_file that was given and is bad has its own error. */
	if (listen->text && !config_listen_is_local(listen) && !config->admin.token_file &&
	    !(node_find(node_find(map, "admin"), "token_file") &&
	      node_find(node_find(map, "admin"), "token_file")->kind != NODE_NULL))
		report_error(report, mark_within(map, "admin", "listen"),
			     "admin.listen %s can be reached from other machines and needs admin.token_file; "
			     "or listen "
			     "on 127.0.0.1",
			     quote(slice_str(listen->text)).text);
}

static void check_state(struct report *report, const struct node *map, const struct config *config)
{
	const struct node *state = node_find(map, "state");
	const struct node *store = node_find(state, "store"), *url = node_find(state, "url");
	bool has_url = url && url->kind != NODE_NULL;
	/* An unknown store left the field at its first word: nothing follows from that. */
	if (store && (store->kind != NODE_STRING ||
		      (config->state.kind == STORE_FILE && !slice_equal(store->text, SLICE("file")))))
		return;
	bool sentinels = config->state.sentinels.count > 0;
	if (config->state.kind == STORE_REDIS && !has_url && !sentinels)
		report_error(report, store->at,
			     "state.store \"redis\" needs state.url, as in "
			     "\"redis://127.0.0.1:6379/0\"");
	if (config->state.kind == STORE_REDIS && sentinels && !config->state.master &&
	    !node_find(state, "master"))
		report_error(report, mark_within(map, "state", "sentinels"),
			     "state.sentinels needs state.master, the name that they know the server by");
	if (config->state.kind == STORE_REDIS && !sentinels && config->state.master)
		report_error(report, mark_within(map, "state", "master"),
			     "state.master is for state.sentinels, of which there are none");
	if (config->state.kind == STORE_REDIS)
		return;
	const struct state_config *c = &config->state;
	/* A default that stands there says nothing: `phoenixctl config show` writes all of them. */
	const struct {
		const char *key;
		bool given;
	} only_redis[] = {
		{"url", c->url != NULL},
		{"password_file", c->password_file != NULL},
		{"prefix", c->prefix && strcmp(c->prefix, "phoenix:") != 0},
		{"sentinels", c->sentinels.count > 0},
		{"master", c->master != NULL},
		{"timeout_ms", c->timeout_ms != 250},
		{"refresh_ms", c->refresh_ms != 2000},
	};
	for (unsigned i = 0; i < sizeof(only_redis) / sizeof(only_redis[0]); i++) {
		const struct node *node = node_find(state, only_redis[i].key);
		if (node && only_redis[i].given)
			report_error(report, node->at,
				     "state.%s is only for the store \"redis\"; the store is \"%s\"",
				     only_redis[i].key, c->kind == STORE_FILE ? "file" : "memory");
	}
}

void config_check(struct report *report, const struct node *map, const struct config *config)
{
	check_listens(report, map, config);
	check_admin(report, map, config);
	check_state(report, map, config);
	check_routes(report, map, config);
}

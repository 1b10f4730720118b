/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: from a file to a struct config and back. See config.h. The way of a text:
 *
 *   config_json.c, config_yaml.c   text -> tree of nodes with positions (config_tree.c)
 *   config_read.c                  nodes -> fields, by the table in config_schema.c; single values are
 *                                  understood by config_value.c and config_address.c
 *   config_check.c                 what only several values together can tell
 *   config_report.c                all errors, in file order
 *   config_fields.c                fields -> JSON, copies, freeing, by the same table
 *
 * Defaults go the same way: the table's default texts are one JSON object, read once into a tree; a key that
 * is left out takes the node from there. So a default obeys the rules that hold for the file.
 */
#include "config.h"

#include "config_schema.h"
#include "config_value.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The table's defaults as a tree. Their report has nothing to report but want of memory. */
struct defaults {
	struct report report;
	struct tree config, route;
};

int config_read_defaults(struct tree *tree, const struct section_spec *section, const char *more)
{
	struct buf text = {0};
	section_defaults(section, &text);
	if (more[0] && text.len) {
		text.len--; /* the brace */
		buf_printf(&text, "%s%s}", text.len > 1 ? "," : "", more);
	}
	int err = text.failed ? -ENOMEM : config_json_read(tree, buf_slice(&text));
	buf_fini(&text);
	return err;
}

static int defaults_init(struct defaults *defaults)
{
	*defaults = (struct defaults){.report = {.file = "defaults"}};
	tree_init(&defaults->config, &defaults->report);
	tree_init(&defaults->route, &defaults->report);
	int err = config_read_defaults(&defaults->config, &config_section, "");
	return err ? err : config_read_defaults(&defaults->route, &route_section, "");
}

static void defaults_fini(struct defaults *defaults)
{
	struct buf nothing = {0};
	tree_fini(&defaults->config);
	tree_fini(&defaults->route);
	report_finish(&defaults->report, &nothing);
	buf_fini(&nothing);
}

static bool ends_with(const char *name, const char *end)
{
	size_t name_len = strlen(name), end_len = strlen(end);
	return name_len > end_len && strcasecmp(name + name_len - end_len, end) == 0;
}

int config_read_tree(const char *name, struct slice text, struct tree *tree)
{
	struct report *report = tree->report;
	struct mark start = {1, 1};
	bool yaml = ends_with(name, ".yaml") || ends_with(name, ".yml");
	if (text.len > TREE_FILE_BYTES_MAX) {
		report_error(report, start, "the text is %zu bytes long, at most %u are possible", text.len,
			     TREE_FILE_BYTES_MAX);
		return -EINVAL;
	}
	int err = text.len == 0 ? 0 : yaml ? config_yaml_read(tree, text) : config_json_read(tree, text);
	if (err)
		return err;
	if (!tree->root) {
		/* Also what a full disk leaves behind, so it must not pass as "all defaults, no routes". */
		report_error(report, start, "the file is empty; for all defaults write {}");
		return -EINVAL;
	}
	if (tree->root->kind != NODE_MAP) {
		report_error(report, tree->root->at, "the file is %s, must be an object",
			     node_kind_name(tree->root->kind));
		return -EINVAL;
	}
	return 0;
}

static struct config *config_create(const char *name)
{
	struct config *config = calloc(1, sizeof(*config));
	if (config)
		config->file = strdup(name);
	if (config && !config->file) {
		free(config);
		config = NULL;
	}
	return config;
}

int config_parse(const char *name, struct slice text, struct config **out, struct buf *errors)
{
	struct report report = {.file = name};
	struct defaults defaults;
	struct tree tree;
	struct where root = {0};
	tree_init(&tree, &report);
	struct config *config = config_create(name);
	report.no_memory = defaults_init(&defaults) != 0 || !config;
	if (!report.no_memory && config_read_tree(name, text, &tree) == 0) {
		struct config_reader reader = {.report = &report, .route_defaults = defaults.route.root};
		section_read(&reader, &config_section, tree.root, defaults.config.root, &root, config);
		config_check(&report, tree.root, config);
	}
	tree_fini(&tree);
	defaults_fini(&defaults);
	int err = report_finish(&report, errors);
	if (err)
		config_destroy(config);
	else
		*out = config;
	return err;
}

int route_config_parse(const char *name, struct slice text, struct route_config **out, struct buf *errors)
{
	struct report report = {.file = name};
	struct defaults defaults;
	struct tree tree;
	struct where root = {0};
	tree_init(&tree, &report);
	struct route_config *route = calloc(1, sizeof(*route));
	report.no_memory = defaults_init(&defaults) != 0 || !route;
	/* A route by REST or from a store is always JSON, whatever it is called. */
	if (!report.no_memory && config_read_tree("", text, &tree) == 0) {
		struct config_reader reader = {.report = &report};
		section_read(&reader, &route_section, tree.root, defaults.route.root, &root, route);
		route_settle(route);
		route_check(&report, tree.root, &root, route);
	}
	tree_fini(&tree);
	defaults_fini(&defaults);
	int err = report_finish(&report, errors);
	if (err)
		route_config_destroy(route);
	else
		*out = route;
	return err;
}

/* Reads at most one byte more than the limit, so that config_parse() can tell. */
static int read_file(const char *path, struct buf *text)
{
	struct stat info;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	int err = fstat(fd, &info) ? -errno : S_ISDIR(info.st_mode) ? -EISDIR : 0;
	/* One size for all reads: a file may grow while it is read, and a pipe has no size. */
	while (!err && text->len <= TREE_FILE_BYTES_MAX) {
		if (!buf_reserve(text, 65536)) {
			err = -ENOMEM;
			break;
		}
		ssize_t n = read(fd, text->data + text->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : 0;
			break;
		}
		text->len += (size_t)n;
	}
	close(fd);
	return err;
}

int config_load(const char *path, struct config **out, struct buf *errors)
{
	struct buf text = {0};
	int err = read_file(path, &text);
	if (err)
		buf_printf(errors, "%s: error: cannot be read: %s\n", path, strerror(-err));
	else
		err = config_parse(path, buf_slice(&text), out, errors);
	buf_fini(&text);
	return err;
}

struct config *config_default(void)
{
	struct config *config = NULL;
	struct buf errors = {0};
	config_parse("defaults", SLICE("{}"), &config, &errors);
	buf_fini(&errors);
	return config;
}

void config_destroy(struct config *config)
{
	if (!config)
		return;
	section_fini(&config_section, config);
	free(config->file);
	free(config);
}

void route_config_destroy(struct route_config *route)
{
	if (!route)
		return;
	section_fini(&route_section, route);
	free(route);
}

struct route_config *route_config_copy(const struct route_config *route)
{
	struct route_config *copy = calloc(1, sizeof(*copy));
	if (!copy)
		return NULL;
	copy->line = route->line;
	copy->col = route->col;
	if (!section_copy(&route_section, route, copy)) {
		route_config_destroy(copy);
		return NULL;
	}
	return copy;
}

bool config_is_own_address(const struct config *config, const struct config_url *url)
{
	for (size_t i = 0; i < config->listen_count; i++) {
		if (config_url_is_listen(url, &config->listen[i]))
			return true;
	}
	return false;
}

json_t *config_to_json(const struct config *config)
{
	return section_dump(&config_section, config);
}

json_t *route_config_to_json(const struct route_config *route)
{
	return section_dump(&route_section, route);
}

/* --- what is not shown ---------------------------------------------------------------------------------- */

/* Without user and password, and without the path when that may be the secret. NULL when out of memory. */
static char *url_mask(const char *url, bool path_too)
{
	struct buf out = {0};
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	size_t len = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', len), *rest = host + len;
	buf_append(&out, url, (size_t)(host - url));
	if (at) {
		buf_append_str(&out, "***");
		len -= (size_t)(at - host);
		host = at;
	}
	buf_append(&out, host, len);
	buf_append_str(&out, path_too && rest[0] && strcmp(rest, "/") != 0 ? "/***" : rest);
	char *text = out.failed ? NULL : strdup(buf_cstr(&out));
	buf_fini(&out);
	return text;
}

static json_t *masked(const json_t *url, bool path_too)
{
	char *text = json_is_string(url) ? url_mask(json_string_value(url), path_too) : NULL;
	json_t *json = text ? json_string(text) : json_null();
	free(text);
	return json;
}

void route_json_mask(json_t *route)
{
	json_t *notify = json_object_get(json_object_get(route, "arbiter"), "notify");
	for (size_t i = 0; i < json_array_size(notify); i++)
		json_array_set_new(notify, i, masked(json_array_get(notify, i), true));
}

void config_json_mask(json_t *config)
{
	json_t *state = json_object_get(config, "state"), *routes = json_object_get(config, "routes"), *route;
	size_t i;
	if (json_is_string(json_object_get(state, "url")))
		json_object_set_new(state, "url", masked(json_object_get(state, "url"), false));
	json_array_foreach(routes, i, route) route_json_mask(route);
}

void route_config_unmask(struct route_config *route, const struct route_config *old)
{
	struct string_list *notify = &route->arbiter.notify;
	const struct string_list *known = &old->arbiter.notify;
	for (size_t i = 0; i < notify->count; i++) {
		for (size_t k = 0; k < known->count && strstr(notify->items[i], "***"); k++) {
			char *text = url_mask(known->items[k], true);
			char *whole =
				text && strcmp(text, notify->items[i]) == 0 ? strdup(known->items[k]) : NULL;
			free(text);
			if (!whole)
				continue;
			free(notify->items[i]);
			notify->items[i] = whole;
		}
	}
}

void route_config_bytes(const struct route_config *route, struct buf *out)
{
	section_text(&route_section, route, "weight", out);
}

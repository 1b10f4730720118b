/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spec, JSON or YAML by its first byte: refused with lines that say where, or what was taken is taken again
 * and the same, its route is one of the configuration's, and no name in it leads anywhere.
 */
#include "fuzz_config.h"

#include "pipeline/spec.h"

static struct spec *parse(const char *name, struct slice text)
{
	struct spec *spec = NULL;
	struct buf errors = {0};
	char *copy = fuzz_copy(text.ptr, text.len);
	int err = spec_parse(name, slice_of(copy, text.len), NULL, &spec, &errors);
	FUZZ_CHECK((err == 0) == (spec != NULL));
	fuzz_check_report(&errors, err != 0);
	free(copy);
	buf_fini(&errors);
	return spec;
}

/* Written apart from spec.c's own: no piece of the path may be "..", none empty, none Phoenix's. */
static bool leads_nowhere(const char *path, bool absolute)
{
	if ((path[0] == '/') != absolute || !path[0] || path[strlen(path) - 1] == '/')
		return false;
	char padded[SPEC_PATH_BYTES_MAX + 4];
	snprintf(padded, sizeof(padded), "%s%s/", absolute ? "" : "/", path);
	return !strstr(padded, "/../") && !strstr(padded, "/./") && !strstr(padded, "//") &&
	       !strstr(padded, "/.phoenix") && !strpbrk(padded, "\n\r\t\\");
}

static void check_names(const struct spec *spec)
{
	const char *name, *field;
	json_t *value, *item;
	size_t i;
	FUZZ_CHECK(!strchr(spec->id, '/') && spec->id[0] != '.' && strlen(spec->id) <= 64);
	FUZZ_CHECK(spec->service.port >= 1 && spec->service.port <= 65535);
	FUZZ_CHECK(!spec->service.files != !spec->service.directory);
	json_object_foreach((json_t *)spec->service.files, name, value)
		FUZZ_CHECK(leads_nowhere(name, false) && json_is_string(value));
	if (spec->service.directory)
		FUZZ_CHECK(leads_nowhere(spec->service.directory, true));
	if (spec->deploy.directory)
		FUZZ_CHECK(leads_nowhere(spec->deploy.directory, true));
	FUZZ_CHECK(spec->deploy.project[0] != '-');
	json_object_foreach(spec->service.environment, name, value)
		FUZZ_CHECK(!strchr(name, '=') && json_is_string(value) && strcmp(name, "PORT") != 0);
	json_array_foreach(spec->verify, i, item)
	{
		if (json_is_string(item)) {
			FUZZ_CHECK(leads_nowhere(json_string_value(item), json_string_value(item)[0] == '/'));
			continue;
		}
		const json_t *request = json_object_get(item, "request");
		FUZZ_CHECK(json_string_value(json_object_get(request, "path"))[0] == '/');
		json_object_foreach(json_object_get(request, "headers"), field, value)
			FUZZ_CHECK(!strpbrk(json_string_value(value), "\r\n") && !strpbrk(field, "\r\n: "));
	}
}

FUZZ_TARGET(spec)
{
	bool json = size && data[0] == '{';
	struct spec *spec = parse(json ? "fuzz.json" : "fuzz.yaml", slice_of((const char *)data, size));
	if (!spec)
		return;
	check_names(spec);
	FUZZ_CHECK(strcmp(spec->route->id, spec->id) == 0 && spec->route->weight_bp == 0);
	FUZZ_CHECK(spec->route->modern.port == spec->service.port);
	fuzz_check_route(spec->route);
	char *text = json_dumps(spec->document, JSON_REAL_PRECISION(17));
	struct spec *again = parse("fuzz.json", slice_str(text));
	FUZZ_CHECK(again && json_equal(again->document, spec->document));
	json_t *route = route_config_to_json(spec->route), *route_again = route_config_to_json(again->route);
	FUZZ_CHECK(json_equal(route, route_again));
	json_decref(route);
	json_decref(route_again);
	free(text);
	spec_destroy(again);
	spec_destroy(spec);
}

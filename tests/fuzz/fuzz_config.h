/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_config: what the targets for JSON and YAML configurations share. */
#ifndef PHOENIX_TESTS_FUZZ_CONFIG_H
#define PHOENIX_TESTS_FUZZ_CONFIG_H

#include "fuzz.h"

#include "base/buf.h"
#include "config.h"

/* Every line says where and what: "NAME:LINE:COL: error: …" (or warning). */
static inline void fuzz_check_report(const struct buf *errors, bool failed)
{
	struct slice rest = buf_slice(errors), line;
	unsigned lines = 0;
	bool error = false;
	FUZZ_CHECK(!errors->failed);
	while (rest.len && slice_split(&rest, '\n', &line)) {
		if (!line.len)
			continue;
		lines++;
		error |= memmem(line.ptr, line.len, "error: ", 7) != NULL;
		FUZZ_CHECK(slice_starts(line, SLICE("fuzz")));
		FUZZ_CHECK(!memchr(line.ptr, 0, line.len) && !memchr(line.ptr, '\r', line.len));
	}
	FUZZ_CHECK(error == failed && lines <= 202);
}

static inline struct config *fuzz_read_config(const char *name, struct slice text, struct buf *errors)
{
	struct config *config = NULL;
	char *copy = fuzz_copy(text.ptr, text.len);
	int err = config_parse(name, slice_of(copy, text.len), &config, errors);
	FUZZ_CHECK((err == 0) == (config != NULL));
	fuzz_check_report(errors, err != 0);
	free(copy);
	return config;
}

static inline json_t *fuzz_dump(const struct config *config, char **text)
{
	json_t *json = config_to_json(config);
	*text = json_dumps(json, JSON_REAL_PRECISION(15));
	FUZZ_CHECK(json && *text);
	return json;
}

/* A route on its own: what it says reads back as the same, and a copy says the same. */
static inline void fuzz_check_route(const struct route_config *route)
{
	json_t *json = route_config_to_json(route);
	char *text = json_dumps(json, JSON_REAL_PRECISION(15));
	struct route_config *again = NULL, *copy = route_config_copy(route);
	struct buf errors = {0};
	FUZZ_CHECK(json && text && copy);
	FUZZ_CHECK(route_config_parse("fuzz", slice_str(text), &again, &errors) == 0 && again);
	FUZZ_CHECK(route_config_conflicts(route, again) && route_config_conflicts(copy, route));
	json_t *json_again = route_config_to_json(again), *json_copy = route_config_to_json(copy);
	FUZZ_CHECK(json_equal(json, json_again) && json_equal(json, json_copy));
	json_decref(json_again);
	json_decref(json_copy);
	json_decref(json);
	route_config_destroy(again);
	route_config_destroy(copy);
	buf_fini(&errors);
	free(text);
}

/* A configuration that was taken, said in JSON, is taken again and says the same. */
static inline void fuzz_config_text(const char *name, const uint8_t *data, size_t size)
{
	struct buf errors = {0};
	struct config *config = fuzz_read_config(name, slice_of((const char *)data, size), &errors);
	if (config) {
		char *text, *text_again;
		json_t *json = fuzz_dump(config, &text);
		buf_reset(&errors);
		struct config *again = fuzz_read_config("fuzz.json", slice_str(text), &errors);
		FUZZ_CHECK(again);
		json_t *json_again = fuzz_dump(again, &text_again);
		FUZZ_CHECK(json_equal(json, json_again));
		for (size_t i = 0; i < config->route_count && i < 4; i++)
			fuzz_check_route(config->routes[i]);
		json_decref(json);
		json_decref(json_again);
		config_destroy(again);
		free(text);
		free(text_again);
	}
	config_destroy(config);
	buf_fini(&errors);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config without memory: every allocation fails once, and each time there is a clean -ENOMEM and no leak.
 *
 * The program has its own malloc and friends in front of those of the C library or of the sanitizer, which
 * they call; the sanitizer's leak check at the end is a part of the test.
 */
#include "unit.h"

#include "config.h"

#include <errno.h>
#include <stdbool.h>

static bool counting;
static unsigned long allocations, failing; /* the number of the one that fails; 0 = none */

static bool fails(void)
{
	return counting && ++allocations == failing;
}

/* The sanitizer's own, where there is one; it also serves calls from before its start. */
extern void *__interceptor_malloc(size_t size) __attribute__((weak));
extern void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
extern void *__interceptor_realloc(void *old, size_t size) __attribute__((weak));
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	if (fails())
		return NULL;
	return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	if (fails())
		return NULL;
	return __interceptor_calloc ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	if (fails())
		return NULL;
	return __interceptor_realloc ? __interceptor_realloc(old, size) : __libc_realloc(old, size);
}

char *strndup(const char *text, size_t max)
{
	size_t len = strnlen(text, max);
	char *copy = malloc(len + 1);
	if (copy) {
		memcpy(copy, text, len);
		copy[len] = 0;
	}
	return copy;
}

char *strdup(const char *text)
{
	return strndup(text, strlen(text));
}

/* Loads the text with one allocation after another failing; the number of them. */
static unsigned long try_all(const char *name, const char *text, int wanted)
{
	for (unsigned long n = 1;; n++) {
		struct config *config = NULL;
		struct buf errors = {0};
		allocations = 0;
		failing = n;
		counting = true;
		int err = config_parse(name, slice_str(text), &config, &errors);
		counting = false;
		bool none_failed = allocations < n;
		/* Only a message's text may be lost to want of memory, never a part of a configuration. */
		CHECK_MSG(err == (none_failed ? wanted : -ENOMEM) || (err == wanted && wanted),
			  "%s: %lu: %d: %s", name, n, err, buf_cstr(&errors));
		CHECK_MSG((err == 0) == (config != NULL), "%s: %lu", name, n);
		config_destroy(config);
		buf_fini(&errors);
		if (none_failed)
			return n;
		if (n > 100000)
			exit(2);
	}
}

static char *read_file(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "r");
	size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	if (!file || !len)
		exit(2);
	fclose(file);
	text[len] = 0;
	return text;
}

TEST(good_files_without_memory)
{
	CHECK(try_all("c.json", read_file("tests/config/good/full.json"), 0) > 50);
	CHECK(try_all("c.yaml", read_file("tests/config/good/full.yaml"), 0) > 50);
}

TEST(bad_files_without_memory)
{
	CHECK(try_all("c.json", read_file("tests/config/bad/everything.json"), -EINVAL) > 50);
	CHECK(try_all("c.yaml", read_file("tests/config/bad/everything.yaml"), -EINVAL) > 50);
	CHECK(try_all("c.json", read_file("tests/config/bad/cut.json"), -EINVAL) > 5);
}

TEST(default_copy_and_dump_without_memory)
{
	struct config *full = NULL;
	struct buf errors = {0};
	CHECK_INT(config_load("tests/config/good/full.json", &full, &errors), 0);
	for (unsigned long n = 1, done = 0; !done; n++) {
		allocations = 0;
		failing = n;
		counting = true;
		struct route_config *copy = route_config_copy(full->routes[0]);
		json_t *json = config_to_json(full);
		struct config *empty = config_default();
		counting = false;
		done = allocations < n;
		CHECK(done ? copy && json && empty : !copy + !json + !empty >= 0);
		if (json)
			CHECK_INT(json_object_size(json), 11);
		route_config_destroy(copy);
		json_decref(json);
		config_destroy(empty);
		CHECK(n < 100000);
	}
	config_destroy(full);
	buf_fini(&errors);
}

UNIT_MAIN

/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_support: a fresh directory for each test, and ledgers of numbered records. */
#ifndef PHOENIX_TESTS_STORE_SUPPORT_H
#define PHOENIX_TESTS_STORE_SUPPORT_H

#include "unit.h"

#include "store/store.h"

#include <unistd.h>

/* Removed with all it holds. */
static char directory[256], state_path[300];
static struct buf why;

static void begin(void)
{
	const char *parent = getenv("TMPDIR");
	snprintf(directory, sizeof(directory), "%s/phoenix-store-XXXXXX", parent ? parent : "/tmp");
	if (!mkdtemp(directory))
		abort();
	snprintf(state_path, sizeof(state_path), "%s/state.json", directory);
}

static void end(void)
{
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	CHECK_INT(system(command), 0);
	buf_fini(&why);
}

static int append_number(struct store *store, const char *name, int n)
{
	json_t *record = json_pack("{s:i}", "n", n);
	buf_reset(&why);
	int err = store_append(store, name, record, &why);
	json_decref(record);
	return err;
}

/* The last `max` records are first, first + 1, …, last. */
static void check_tail(struct store *store, const char *name, size_t max, int first, int last, size_t bad)
{
	json_t *records = NULL;
	size_t unreadable = 99;
	buf_reset(&why);
	CHECK_MSG(store_read_tail(store, name, max, &records, &unreadable, &why) == 0, "%s", buf_cstr(&why));
	CHECK_INT(json_array_size(records), last - first + 1);
	CHECK_INT(unreadable, bad);
	for (size_t i = 0; i < json_array_size(records); i++)
		CHECK_INT(json_integer_value(json_object_get(json_array_get(records, i), "n")),
			  first + (int)i);
	json_decref(records);
}

#endif

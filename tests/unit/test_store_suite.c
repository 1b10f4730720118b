/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_suite: what every place to store things in has to keep, asked of all of them.
 *
 * A row of `kinds` says how one is opened. Each test runs over all rows; what only a file can do is in
 * test_store.c.
 */
#include "test_store_support.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct kind {
	const char *name;
	enum store_kind kind;
	bool keeps;  /* what was stored is there when it is opened again */
	bool shared; /* and others may lose it: a record that is missing is no record that was deleted */
};
static const struct kind kinds[] = {{"file", STORE_FILE, true, false},
				    {"memory", STORE_MEMORY, false, false},
				    {"redis", STORE_REDIS, true, true}};

/* --- a real Redis, on a socket in the test's directory --- */

static pid_t server;
static char url[400];

static void start_server(void)
{
	snprintf(url, sizeof(url), "unix://%s/redis.sock", directory);
	server = fork();
	if (server == 0) {
		if (chdir(directory) || !freopen("/dev/null", "w", stdout))
			_exit(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save",
		       "", (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000 && access(url + strlen("unix://"), F_OK); i++)
		usleep(10000);
	CHECK_MSG(access(url + strlen("unix://"), F_OK) == 0, "redis-server does not start (group test of "
							      "tools/packages.txt)");
}

static void stop_server(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

static struct store *open_kind(const struct kind *kind)
{
	struct state_config config = {.kind = kind->kind,
				      .path = state_path,
				      .url = url,
				      .prefix = (char *)"phoenix:",
				      .timeout_ms = 5000,
				      .refresh_ms = 1000};
	struct store *store = NULL;
	CHECK_MSG(store_open(&config, "test:1", &store, &why) == 0, "%s: %s", kind->name, buf_cstr(&why));
	return store;
}

#define EACH_KIND(test)                                                                                      \
	TEST(test)                                                                                           \
	{                                                                                                    \
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {                              \
			begin();                                                                             \
			if (kinds[k].kind == STORE_REDIS)                                                    \
				start_server();                                                              \
			each_##test(&kinds[k]);                                                              \
			if (kinds[k].kind == STORE_REDIS)                                                    \
				stop_server();                                                               \
			end();                                                                               \
		}                                                                                            \
	}

static int put(struct store *store, enum store_section section, const char *id, json_t *value,
	       uint64_t expected, uint64_t *epoch, uint64_t fence)
{
	struct store_write write = {.section = section, .id = id, .value = value, .expected = expected};
	buf_reset(&why);
	int err = store_write(store, &write, 1, fence, &why);
	if (epoch)
		*epoch = write.epoch;
	CHECK(err != -ESTALE || write.stale);
	store_writes_fini(&write, 1);
	json_decref(value);
	return err;
}

static json_t *number(int n)
{
	return json_pack("{s:i}", "weight_bp", n);
}

/* The record as loaded: its number, -1 when there is none; *epoch may be NULL. */
static int look(struct store *store, enum store_section section, const char *id, uint64_t *epoch)
{
	struct store_records records = {0};
	int value = -1;
	buf_reset(&why);
	CHECK_MSG(store_load(store, &records, &why) == 0, "%s", buf_cstr(&why));
	for (size_t i = 0; i < records.count; i++) {
		struct store_record *record = &records.items[i];
		if (record->section != section || strcmp(record->id, id) != 0)
			continue;
		value = (int)json_integer_value(json_object_get(record->value, "weight_bp"));
		if (epoch)
			*epoch = record->epoch;
	}
	store_records_fini(&records);
	return value;
}

static void each_records_are_kept(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	uint64_t first, second, seen = 0;
	CHECK_INT(put(store, STORE_ROUTES, "a", number(1), 0, NULL, 0), -EPERM); /* not loaded yet */
	CHECK_INT(look(store, STORE_ROUTES, "a", NULL), -1);
	CHECK_INT(store_epoch(store), 0);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(1), 0, &first, 0), 0);
	CHECK_INT(put(store, STORE_ROUTES, "b", number(2), 0, &second, 0), 0);
	CHECK(first > 0 && second > first);
	CHECK(store_epoch(store) == second);
	/* The same id in another section is another record. */
	CHECK_INT(put(store, STORE_DEFINITIONS, "a", number(3), 0, NULL, 0), 0);
	CHECK_INT(look(store, STORE_ROUTES, "a", &seen), 1);
	CHECK(seen == first);
	CHECK_INT(look(store, STORE_DEFINITIONS, "a", NULL), 3);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(4), first, &seen, 0), 0);
	CHECK(seen > second);
	if (kind->keeps) {
		store_close(store);
		store = open_kind(kind);
	}
	CHECK_INT(look(store, STORE_ROUTES, "a", &first), 4);
	CHECK(first == seen);
	CHECK_INT(look(store, STORE_ROUTES, "b", NULL), 2);
	store_close(store);
}
EACH_KIND(records_are_kept)

static void each_loser_is_told(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	uint64_t first, second;
	look(store, STORE_ROUTES, "a", NULL);
	if (!kind->shared)
		CHECK_INT(put(store, STORE_ROUTES, "a", number(1), 7, NULL, 0), -ESTALE);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(1), 0, &first, 0), 0);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(2), first, &second, 0), 0);
	struct store_write late = {.section = STORE_ROUTES, .id = "a", .value = number(3), .expected = first};
	buf_reset(&why);
	CHECK_INT(store_write(store, &late, 1, 0, &why), -ESTALE);
	CHECK(late.stale && late.epoch == second);
	CHECK_INT(json_integer_value(json_object_get(late.there, "weight_bp")), 2);
	CHECK_MSG(strstr(buf_cstr(&why), "routes/a was changed meanwhile") != NULL, "%s", buf_cstr(&why));
	store_writes_fini(&late, 1);
	json_decref((json_t *)late.value);
	CHECK_INT(look(store, STORE_ROUTES, "a", NULL), 2);
	/* Made anew by somebody who thinks that it is not there. */
	CHECK_INT(put(store, STORE_ROUTES, "a", number(3), 0, NULL, 0), -ESTALE);
	store_close(store);
}
EACH_KIND(loser_is_told)

static void each_all_or_none(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	uint64_t epoch;
	look(store, STORE_ROUTES, "a", NULL);
	CHECK_INT(put(store, STORE_ROUTES, "b", number(1), 0, &epoch, 0), 0);
	json_t *value = number(5);
	struct store_write writes[3] = {
		{.section = STORE_ROUTES, .id = "a", .value = value},
		{.section = STORE_ROUTES, .id = "b", .value = value, .expected = epoch + 1},
		{.section = STORE_DEFINITIONS, .id = "c", .value = value},
	};
	CHECK_INT(store_write(store, writes, 3, 0, &why), -ESTALE);
	CHECK(!writes[0].stale && writes[1].stale && !writes[2].stale);
	CHECK(writes[1].epoch == epoch);
	store_writes_fini(writes, 3);
	CHECK_INT(look(store, STORE_ROUTES, "a", NULL), -1);
	CHECK_INT(look(store, STORE_ROUTES, "b", NULL), 1);
	writes[1].expected = epoch;
	CHECK_INT(store_write(store, writes, 3, 0, &why), 0);
	CHECK_INT(look(store, STORE_ROUTES, "a", NULL), 5);
	CHECK_INT(look(store, STORE_ROUTES, "b", NULL), 5);
	CHECK_INT(look(store, STORE_DEFINITIONS, "c", NULL), 5);
	/* Nothing is a write, too. */
	CHECK_INT(store_write(store, writes, 0, 0, &why), 0);
	json_decref(value);
	store_close(store);
}
EACH_KIND(all_or_none)

static void each_deleted_is_gone(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	uint64_t epoch, later;
	look(store, STORE_ROUTES, "a", NULL);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(1), 0, &epoch, 0), 0);
	CHECK_INT(put(store, STORE_ROUTES, "a", NULL, epoch + 1, NULL, 0), -ESTALE);
	CHECK_INT(put(store, STORE_ROUTES, "a", NULL, epoch, NULL, 0), 0);
	CHECK_INT(look(store, STORE_ROUTES, "a", NULL), -1);
	/* Who had seen the old one is told that it is gone; a new one is younger than both. */
	CHECK_INT(put(store, STORE_ROUTES, "a", number(2), epoch, NULL, 0), -ESTALE);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(2), 0, &later, 0), 0);
	CHECK(later > epoch);
	CHECK_INT(look(store, STORE_ROUTES, "a", NULL), 2);
	store_close(store);
}
EACH_KIND(deleted_is_gone)

static void each_old_fence_is_refused(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	uint64_t epoch;
	look(store, STORE_ROUTES, "a", NULL);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(1), 0, &epoch, 5), 0);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(2), epoch, NULL, 4), -ENOLCK);
	CHECK_MSG(strstr(buf_cstr(&why), "another gateway leads") != NULL, "%s", buf_cstr(&why));
	CHECK_INT(look(store, STORE_ROUTES, "a", NULL), 1);
	/* The fence is asked first: who does not lead any more need not know what there is. */
	CHECK_INT(put(store, STORE_ROUTES, "a", number(2), epoch + 9, NULL, 4), -ENOLCK);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(2), epoch, &epoch, 5), 0);
	/* A person needs no lease. */
	CHECK_INT(put(store, STORE_ROUTES, "a", number(3), epoch, &epoch, 0), 0);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(4), epoch, &epoch, 6), 0);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(5), epoch, NULL, 5), -ENOLCK);
	if (kind->keeps) {
		store_close(store);
		store = open_kind(kind);
		CHECK_INT(look(store, STORE_ROUTES, "a", NULL), 4);
		CHECK_INT(put(store, STORE_ROUTES, "a", number(5), epoch, NULL, 5), -ENOLCK);
	}
	store_close(store);
}
EACH_KIND(old_fence_is_refused)

/* All that JSON can hold: fractions, unicode, a NUL character, deep and empty things; and texts that look
 * like something else. */
static void each_values_come_back(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	struct store_records records = {0};
	look(store, STORE_ROUTES, "a", NULL);
	json_t *value = json_pack("{s:f, s:f, s:s, s:s%, s:I, s:n, s:[b, {}, []], s:s, s:s, s:s, s:s, s:{}}",
				  "weight", 0.1, "small", 1e-300, "text", "\xc3\xa9 \"\\ \n", "nul", "a\0b",
				  (size_t)3, "big", (json_int_t)INT64_MAX, "none", "list", 1, "digits", "123",
				  "word", "true", "quoted", "\"x\"", "empty", "", "object");
	struct store_write write = {.section = STORE_DEFINITIONS, .id = "A.b_c-9", .value = value};
	CHECK_INT(store_write(store, &write, 1, 0, &why), 0);
	if (kind->keeps) {
		store_close(store);
		store = open_kind(kind);
	}
	CHECK_INT(store_load(store, &records, &why), 0);
	CHECK_INT(records.count, 1);
	if (records.count == 1) {
		char *text = json_dumps(records.items[0].value, JSON_COMPACT);
		CHECK_MSG(json_equal(records.items[0].value, value), "%s: %s", kind->name, text);
		free(text);
	}
	store_records_fini(&records);
	json_decref(value);
	store_close(store);
}
EACH_KIND(values_come_back)

static void each_store_has_its_own_copy(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	json_t *value = number(1);
	struct store_write write = {.section = STORE_ROUTES, .id = "a", .value = value};
	look(store, STORE_ROUTES, "a", NULL);
	CHECK_INT(store_write(store, &write, 1, 0, &why), 0);
	json_object_set_new(value, "weight_bp", json_integer(2));
	CHECK_INT(put(store, STORE_ROUTES, "b", number(3), 0, NULL, 0), 0);
	CHECK_INT(look(store, STORE_ROUTES, "a", NULL), 1);
	json_decref(value);
	store_close(store);
}
EACH_KIND(store_has_its_own_copy)

static void each_wrong_arguments_are_refused(const struct kind *kind)
{
	static const char *const ids[] = {
		"",    "a/b",	   "a b",
		"a:b", "\xc3\xa9", "12345678901234567890123456789012345678901234567890123456789012345"};
	struct store *store = open_kind(kind);
	look(store, STORE_ROUTES, "a", NULL);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		CHECK_INT(put(store, STORE_ROUTES, ids[i], number(1), 0, NULL, 0), -EINVAL);
	CHECK_INT(put(store, STORE_ROUTES, "a", json_array(), 0, NULL, 0), -EINVAL);
	CHECK_INT(put(store, STORE_SECTION_COUNT, "a", number(1), 0, NULL, 0), -EINVAL);
	json_t *list = json_array();
	CHECK_INT(store_append(store, "decisions", list, &why), -EINVAL);
	json_decref(list);
	store_close(store);
	store_close(NULL);
}
EACH_KIND(wrong_arguments_are_refused)

static void each_ledgers_are_kept(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	look(store, STORE_ROUTES, "a", NULL);
	check_tail(store, "decisions", 10, 0, -1, 0);
	for (int i = 0; i < 25; i++)
		CHECK_INT(append_number(store, "decisions", i), 0);
	check_tail(store, "decisions", 10, 15, 24, 0);
	check_tail(store, "decisions", 100, 0, 24, 0);
	check_tail(store, "audit", 100, 0, -1, 0);
	CHECK_INT(append_number(store, "../x", 1), -EINVAL);
	CHECK_INT(append_number(store, "", 1), -EINVAL);
	for (int i = 1; i < STORE_LEDGERS_MAX; i++)
		CHECK_INT(append_number(store, (char[]){'l', (char)('a' + i), 0}, i), 0);
	CHECK_INT(append_number(store, "onemore", 1), -ENOSPC);
	store_close(store);
}
EACH_KIND(ledgers_are_kept)

static void each_yields_and_regains(const struct kind *kind)
{
	struct store *store = open_kind(kind);
	look(store, STORE_ROUTES, "a", NULL);
	uint64_t epoch;
	CHECK_INT(put(store, STORE_ROUTES, "a", number(1), 0, &epoch, 0), 0);
	store_yield(store);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(2), epoch, NULL, 0), -EROFS);
	CHECK_INT(append_number(store, "audit", 2), -EROFS);
	CHECK_INT(store_regain(store, &why), 0);
	CHECK_INT(put(store, STORE_ROUTES, "a", number(2), epoch, NULL, 0), 0);
	store_close(store);
}
EACH_KIND(yields_and_regains)

UNIT_MAIN

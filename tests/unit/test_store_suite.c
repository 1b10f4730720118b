/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_suite: what every place to store things in has to keep, asked of all of them.
 *
 * A row of `kinds` says how one is opened. Each test runs over all rows; what only a file can do is in
 * test_store.c.
 */
#include "test_store_support.h"

#include "store/redis.h"

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

/* --- decisions of several gateways --- */

static char other[320];

static struct store *open_gateway(const char *path)
{
	struct state_config config = {.kind = STORE_REDIS,
				      .path = (char *)path,
				      .url = url,
				      .prefix = (char *)"phoenix:",
				      .timeout_ms = 5000,
				      .refresh_ms = 100};
	struct store_records records = {0};
	struct store *store = NULL;
	buf_reset(&why);
	CHECK_MSG(store_open(&config, path, &store, &why) == 0, "%s", buf_cstr(&why));
	CHECK_MSG(store_load(store, &records, &why) == 0, "%s", buf_cstr(&why));
	store_records_fini(&records);
	return store;
}

static json_t *decision(int n)
{
	char id[32];
	snprintf(id, sizeof(id), "test:1-0/%d", n);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:i, s:i, s:{}}", "id", id,
			 "on", "test:1", "route", "r", "action", "promote", "by", "arbiter", "reason", "",
			 "at", "2026-01-02T03:04:05.678Z", "weight_old", 0.1, "weight_new", 0.2, "epoch", n,
			 "step", n, "n", n, "mismatches", 0, "evidence");
}

static void decide(struct store *store, int n)
{
	json_t *record = decision(n);
	buf_reset(&why);
	CHECK_MSG(store_append(store, "decisions", record, &why) == 0, "%s", buf_cstr(&why));
	json_decref(record);
}

/* Takes changes until `decided` decisions and `refused` entries that are none have come, no one else's twice.
 */
static void expect_news(struct store *store, size_t decided, size_t refused)
{
	size_t seen = 0, bad = 0;
	for (int i = 0; i < 2000 && (seen < decided || bad < refused); i++) {
		struct store_changes changes = {0};
		usleep(5000);
		store_changes(store, &changes);
		for (size_t c = 0; c < changes.count; c++) {
			seen += changes.items[c].news == STORE_DECIDED;
			bad += changes.items[c].news == STORE_NO_DECISION;
		}
		store_changes_fini(&changes);
	}
	CHECK_INT(seen, decided);
	CHECK_INT(bad, refused);
}

/* The file has the decisions `first` to `last`, each once, in this order. */
static void check_decided(struct store *store, int first, int last)
{
	check_tail(store, "decisions", 5000, first, last, 0);
}

static void order_redis(const char *words)
{
	redisContext *link = redisConnectUnix(url + strlen("unix://"));
	redisReply *reply = link ? redisCommand(link, words) : NULL;
	CHECK(reply && reply->type != REDIS_REPLY_ERROR);
	freeReplyObject(reply);
	if (link)
		redisFree(link);
}

/* Two gateways, a new server. */
static void begin_two(struct store **a, struct store **b)
{
	begin();
	start_server();
	snprintf(other, sizeof(other), "%s/other.json", directory);
	*a = open_gateway(state_path);
	*b = open_gateway(other);
}

TEST(decisions_are_told_once)
{
	struct store *a, *b;
	begin_two(&a, &b);
	for (int n = 1; n <= 3; n++)
		decide(a, n);
	expect_news(b, 3, 0);
	decide(b, 4);
	expect_news(a, 1, 0);
	check_decided(a, 1, 4);
	check_decided(b, 1, 4);
	/* More than one call takes, while one is not there. */
	store_close(b);
	for (int n = 5; n <= 150; n++)
		decide(a, n);
	b = open_gateway(other);
	expect_news(b, 146, 0);
	check_decided(b, 1, 150);
	/* Redis dies with all it has: what is decided meanwhile comes later, nothing comes again. */
	stop_server();
	decide(a, 151);
	start_server();
	expect_news(b, 1, 0);
	decide(b, 152);
	expect_news(a, 1, 0);
	check_decided(a, 1, 152);
	check_decided(b, 1, 152);
	store_close(a);
	store_close(b);
	stop_server();
	end();
}

TEST(no_decision_is_refused)
{
	struct store *a, *b;
	begin_two(&a, &b);
	order_redis("XADD phoenix:decisions * record nonsense");
	order_redis("XADD phoenix:decisions * a b");
	order_redis("XADD phoenix:decisions * record {} a b");
	order_redis("EVAL redis.call('XADD','phoenix:decisions','*','record',string.rep('x',9000000)) 0");
	expect_news(b, 0, 4);
	decide(a, 1);
	expect_news(b, 1, 0);
	/* No stream at all: no decision comes, the store works. */
	order_redis("DEL phoenix:decisions");
	order_redis("SET phoenix:decisions rubbish");
	decide(a, 2);
	CHECK_INT(put(a, STORE_ROUTES, "r", number(1), 0, NULL, 0), 0);
	order_redis("DEL phoenix:decisions");
	expect_news(b, 1, 0);
	/* Begun anew, its entries older than the last that was read. */
	order_redis("DEL phoenix:decisions");
	order_redis("XADD phoenix:decisions 5-0 record nonsense");
	expect_news(b, 0, 1);
	check_decided(b, 1, 2);
	store_close(a);
	store_close(b);
	stop_server();
	end();
}

TEST(too_many_decisions_are_counted)
{
	struct store_health health;
	begin();
	start_server();
	struct store *a = open_gateway(state_path);
	decide(a, 0);
	stop_server();
	for (int n = 1; n <= REDIS_DECISIONS_OWN + 5; n++)
		decide(a, n);
	store_health(a, &health);
	CHECK(health.decisions_dropped >= 5 && health.decisions_dropped <= 6);
	store_close(a);
	end();
}

static void check_parse(json_t *record, const char *complaint)
{
	char *text = json_dumps(record, JSON_ENCODE_ANY);
	buf_reset(&why);
	json_t *read = redis_decision_parse(slice_str(text), &why);
	CHECK_MSG((read == NULL) == (complaint != NULL), "%s: %s", text, buf_cstr(&why));
	CHECK_MSG(!complaint || strstr(buf_cstr(&why), complaint), "%s: %s", text, buf_cstr(&why));
	json_decref(read);
	json_decref(record);
	free(text);
}

TEST(decisions_are_read)
{
	static const char *const members[] = {"id",	"on", "route",	    "action",	  "by",
					      "reason", "at", "weight_old", "weight_new", "epoch",
					      "step",	"n",  "mismatches", "evidence"};
	check_parse(decision(1), NULL);
	check_parse(json_array(), "no JSON object");
	check_parse(json_null(), "no JSON object");
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
		json_t *record = decision(1);
		json_object_del(record, members[i]);
		check_parse(record, members[i]);
		record = decision(1);
		json_object_set_new(record, members[i], json_array());
		check_parse(record, members[i]);
	}
	static const struct {
		const char *member, *json;
	} wrong[] = {{"weight_old", "1.5"}, {"weight_new", "-0.1"},  {"epoch", "-1"},
		     {"n", "1.5"},	    {"at", "\"yesterday\""}, {"at", "\"2026-13-02T03:04:05Z\""},
		     {"id", "\"\""},	    {"id", "\"a\\u0000b\""}};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		json_t *record = decision(1);
		json_object_set_new(record, wrong[i].member,
				    json_loads(wrong[i].json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
		check_parse(record, wrong[i].member);
	}
	check_parse(json_pack("{s:o}", "id", json_stringn(directory, 0)), "id");
	buf_fini(&why);
}

UNIT_MAIN

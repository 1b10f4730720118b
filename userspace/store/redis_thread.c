/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_thread: the store's own thread (redis.h).
 *
 * It has three connections made: one to read with, one that listens to the channel, and one for the control
 * thread to write with. Announcements are for speed: the announced record is read at once. The truth is the
 * full read, every state.refresh_ms: it finds what was changed by hand, what is gone, and that Redis is. When
 * anything is wrong with a connection all three are made anew, and everything is read and told again.
 *
 * What is handed over is only what differs from what was read before; the control thread decides what it
 * means.
 */
#include "store/redis.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 1000
#define KEYS_MAX       65536 /* records in Redis */
#define PROBE_MS       "60000"

void redis_wake(int fd)
{
	uint64_t one = 1;
	if (write(fd, &one, sizeof(one)) < 0)
		return; /* full: it is readable already */
}

uint64_t redis_deadline(const struct redis_store *redis)
{
	return clock_now_ns() + redis->config.timeout_ms * NS_PER_MS;
}

/* --- telling the control thread --------------------------------------------------------------------------
 */

void redis_tell(struct redis_store *redis, struct store_change change)
{
	pthread_mutex_lock(&redis->lock);
	if (store_changes_add(&redis->changes, change))
		log_error("state", "no memory for a change in Redis");
	pthread_mutex_unlock(&redis->lock);
	redis_wake(redis->changes_fd);
}

void redis_note_down(struct redis_store *redis, const char *sentence)
{
	struct store_health *health = &redis->health;
	bool first = health->reachable || !health->since_wall_ns;
	snprintf(health->sentence, sizeof(health->sentence), "%s", sentence);
	if (!first)
		return;
	health->reachable = false;
	health->since_wall_ns = clock_wall_ns();
	health->failures++;
	store_changes_add(&redis->changes,
			  (struct store_change){.news = STORE_DOWN, .text = strdup(sentence)});
	redis_wake(redis->changes_fd);
}

static void tell_item(struct redis_store *redis, const struct redis_item *item)
{
	struct store_change change = {.section = item->section, .epoch = item->epoch};
	memcpy(change.id, item->id, sizeof(change.id));
	switch (item->kind) {
	case ITEM_NONE:
		change.news = STORE_GONE;
		break;
	case ITEM_RECORD:
	case ITEM_DELETED:
		change.news = STORE_CHANGED;
		change.value = json_incref(item->value);
		break;
	case ITEM_BAD:
		change.news = STORE_REFUSED;
		change.text = strdup(item->complaint);
		break;
	}
	redis_tell(redis, change);
}

/* --- reading ---------------------------------------------------------------------------------------------
 */

static void key_of(const struct redis_item *item, char out[STORE_ID_MAX + 32])
{
	struct buf key = {0};
	redis_key("", item->section, item->id, &key);
	snprintf(out, STORE_ID_MAX + 32, "%s", buf_cstr(&key));
	buf_fini(&key);
}

/* The records of these keys, which have no prefix. */
static int read_keys(const struct redis_store *redis, redisContext *link, struct redis_item *items,
		     size_t count, struct buf *why)
{
	struct redis_words words = {0};
	struct buf key = {0};
	redisReply *reply = NULL;
	redis_script_begin(&words, REDIS_READ, count);
	for (size_t i = 0; i < count; i++) {
		buf_reset(&key);
		redis_key(redis->config.prefix, items[i].section, items[i].id, &key);
		redis_words_add(&words, key.data, key.len);
	}
	redis_words_number(&words, STORE_RECORD_BYTES_MAX);
	int err = redis_script_run(link, REDIS_READ, &words, redis_deadline(redis), &reply);
	if (!err && (reply->type != REDIS_REPLY_ARRAY || reply->elements != count))
		err = -EACCES;
	if (err)
		redis_complain(link, err == -EACCES ? 0 : err, reply, why);
	for (size_t i = 0; !err && i < count; i++)
		redis_item_read(reply->element[i], &items[i]);
	freeReplyObject(reply);
	redis_words_fini(&words);
	buf_fini(&key);
	return err;
}

struct scan {
	const struct redis_store *redis;
	redisContext *link;
	int (*each)(void *context, const struct redis_item *item);
	void *context;
	struct redis_item items[REDIS_BATCH];
	size_t count, total;
};

static int scan_flush(struct scan *scan, struct buf *why)
{
	int err = scan->count ? read_keys(scan->redis, scan->link, scan->items, scan->count, why) : 0;
	for (size_t i = 0; !err && i < scan->count; i++) {
		err = scan->items[i].kind == ITEM_NONE ? 0 : scan->each(scan->context, &scan->items[i]);
		redis_item_fini(&scan->items[i]);
	}
	scan->count = 0;
	return err;
}

static int scan_key(struct scan *scan, struct slice key, struct buf *why)
{
	struct redis_item *item = &scan->items[scan->count];
	bool bad_id;
	*item = (struct redis_item){0};
	size_t prefix_len = strlen(scan->redis->config.prefix);
	if (key.len <= prefix_len || !redis_key_parse(slice_of(key.ptr + prefix_len, key.len - prefix_len),
						      &item->section, item->id, &bad_id))
		return 0; /* somebody else's */
	if (++scan->total > KEYS_MAX) {
		buf_printf(why, "more than %d keys begin with %s", KEYS_MAX, scan->redis->config.prefix);
		return -E2BIG;
	}
	return ++scan->count == REDIS_BATCH ? scan_flush(scan, why) : 0;
}

/* One SCAN; the cursor becomes the next one, "0" at the end. */
static int scan_some(struct scan *scan, char cursor[24], struct buf *why)
{
	char pattern[80];
	snprintf(pattern, sizeof(pattern), "%s*", scan->redis->config.prefix);
	const char *words[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"};
	redisReply *reply = NULL;
	int err = redis_call(scan->link, redis_deadline(scan->redis), 6, words, NULL, &reply);
	if (err || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || !reply->element[0]->str ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY) {
		redis_complain(scan->link, err, reply, why);
		freeReplyObject(reply);
		return err ? err : -EACCES;
	}
	snprintf(cursor, 24, "%s", reply->element[0]->str);
	const redisReply *keys = reply->element[1];
	for (size_t i = 0; !err && i < keys->elements; i++)
		err = scan_key(scan, slice_of(keys->element[i]->str, keys->element[i]->len), why);
	freeReplyObject(reply);
	return err;
}

int redis_read_all(const struct redis_store *redis, redisContext *link,
		   int (*each)(void *context, const struct redis_item *item), void *context, struct buf *why)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	char cursor[24] = "0";
	if (!scan)
		return -ENOMEM;
	*scan = (struct scan){.redis = redis, .link = link, .each = each, .context = context};
	int err;
	do {
		err = scan_some(scan, cursor, why);
	} while (!err && strcmp(cursor, "0") != 0);
	if (!err)
		err = scan_flush(scan, why);
	free(scan);
	return err;
}

/* What a full read finds, against what was there before. */
struct round {
	struct redis_store *redis;
	json_t *next;
};

static int on_item(void *context, const struct redis_item *item)
{
	struct round *round = context;
	char key[STORE_ID_MAX + 32];
	key_of(item, key);
	if (json_object_get(round->next, key))
		return 0; /* SCAN may tell a key twice */
	json_int_t digest = (json_int_t)(item->digest >> 1);
	json_t *before = json_object_get(round->redis->seen, key);
	if (!before || json_integer_value(before) != digest)
		tell_item(round->redis, item);
	return json_object_set_new(round->next, key, json_integer(digest)) ? -ENOMEM : 0;
}

static int read_round(struct redis_store *redis, struct buf *why)
{
	struct round round = {redis, json_object()};
	int err = redis_read_all(redis, redis->reader, on_item, &round, why);
	const char *key;
	json_t *digest;
	json_object_foreach(redis->seen, key, digest)
	{
		struct redis_item item = {0};
		bool bad_id;
		if (!err && !json_object_get(round.next, key) &&
		    redis_key_parse(slice_str(key), &item.section, item.id, &bad_id))
			tell_item(redis, &item);
	}
	if (err) {
		json_decref(round.next);
	} else {
		json_decref(redis->seen);
		redis->seen = round.next;
		redis->next_read_ns = clock_now_ns() + redis->config.refresh_ms * NS_PER_MS;
	}
	return err;
}

/* The announced records: `keys` is an object whose keys they are. */
static int read_announced(struct redis_store *redis, json_t *keys, struct buf *why)
{
	struct redis_item items[REDIS_BATCH];
	size_t count = 0, left = json_object_size(keys);
	const char *key;
	json_t *flag;
	int err = 0;
	json_object_foreach(keys, key, flag)
	{
		bool bad_id;
		items[count] = (struct redis_item){0};
		left--;
		if (redis_key_parse(slice_str(key), &items[count].section, items[count].id, &bad_id))
			count++;
		if (err || count == 0 || (count < REDIS_BATCH && left))
			continue;
		err = read_keys(redis, redis->reader, items, count, why);
		for (size_t i = 0; !err && i < count; i++) {
			char name[STORE_ID_MAX + 32];
			key_of(&items[i], name);
			json_t *before = json_object_get(redis->seen, name);
			json_int_t digest = (json_int_t)(items[i].digest >> 1);
			if (items[i].kind != ITEM_NONE && (!before || json_integer_value(before) != digest)) {
				tell_item(redis, &items[i]);
				json_object_set_new(redis->seen, name, json_integer(digest));
			}
			redis_item_fini(&items[i]);
		}
		count = 0;
	}
	return err;
}

/* --- listening -------------------------------------------------------------------------------------------
 */

/* Takes what has come on the channel. */
static int listen_some(struct redis_store *redis, struct buf *why)
{
	json_t *keys = json_object();
	int err = redisBufferRead(redis->listener) == REDIS_OK ? 0 : -EPIPE;
	while (!err) {
		void *any = NULL;
		if (redisGetReplyFromReader(redis->listener, &any) != REDIS_OK) {
			err = -EPROTO;
			break;
		}
		redisReply *reply = any;
		if (!reply)
			break;
		/* A key without prefix; anybody may publish anything. */
		if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 && reply->element[2]->str &&
		    reply->element[2]->len < STORE_ID_MAX + 32 && json_object_size(keys) < KEYS_MAX)
			json_object_set_new(keys, reply->element[2]->str, json_true());
		if (json_object_get(keys, "decisions"))
			redis->decisions.look = true;
		freeReplyObject(reply);
	}
	if (err)
		redis_complain(redis->listener, err, NULL, why);
	else if (json_object_size(keys))
		err = read_announced(redis, keys, why);
	json_decref(keys);
	return err;
}

static int subscribe(struct redis_store *redis, struct buf *why)
{
	char channel[80];
	snprintf(channel, sizeof(channel), "%schanges", redis->config.prefix);
	const char *words[] = {"SUBSCRIBE", channel};
	redisReply *reply = NULL;
	int err = redis_call(redis->listener, redis_deadline(redis), 2, words, NULL, &reply);
	if (err || reply->type != REDIS_REPLY_ARRAY) {
		redis_complain(redis->listener, err, reply, why);
		err = err ? err : -EACCES;
	}
	freeReplyObject(reply);
	return err;
}

/* --- up and down -----------------------------------------------------------------------------------------
 */

static void hang_up(struct redis_store *redis)
{
	if (redis->reader)
		redisFree(redis->reader);
	if (redis->listener)
		redisFree(redis->listener);
	redis->reader = redis->listener = NULL;
	pthread_mutex_lock(&redis->lock);
	if (redis->writer)
		redisFree(redis->writer);
	redis->writer = NULL;
	redis->generation++;
	pthread_mutex_unlock(&redis->lock);
}

/* Does it take a write? A full or read-only server answers all questions and is of no use. */
static int probe(struct redis_store *redis, struct buf *why)
{
	char key[80];
	snprintf(key, sizeof(key), "%sprobe", redis->config.prefix);
	const char *words[] = {"SET", key, redis->name, "PX", PROBE_MS};
	redisReply *reply = NULL;
	int err = redis_call(redis->reader, redis_deadline(redis), 5, words, NULL, &reply);
	if (err || reply->type != REDIS_REPLY_STATUS) {
		redis_complain(redis->reader, err, reply, why);
		err = err ? err : -EACCES;
	}
	freeReplyObject(reply);
	return err;
}

/* How far its clock is ahead of ours, for deadlines that it can check. */
static int read_clock(struct redis_store *redis, struct buf *why)
{
	const char *words[] = {"TIME"};
	redisReply *reply = NULL;
	int err = redis_call(redis->reader, redis_deadline(redis), 1, words, NULL, &reply);
	if (!err && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->str &&
	    reply->element[1]->str) {
		int64_t there = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
				strtoll(reply->element[1]->str, NULL, 10) / 1000;
		pthread_mutex_lock(&redis->lock);
		redis->clock_ms = there - (int64_t)(clock_wall_ns() / NS_PER_MS);
		pthread_mutex_unlock(&redis->lock);
	} else {
		redis_complain(redis->reader, err, reply, why);
		err = err ? err : -EACCES;
	}
	freeReplyObject(reply);
	return err;
}

static void note_up(struct redis_store *redis, redisContext *writer)
{
	struct buf address = {0};
	redis_address(writer, &address);
	pthread_mutex_lock(&redis->lock);
	struct store_health *health = &redis->health;
	health->reachable = true;
	health->since_wall_ns = clock_wall_ns();
	health->reconnects++;
	health->sentence[0] = '\0';
	snprintf(health->address, sizeof(health->address), "%s", buf_cstr(&address));
	redis->writer = writer;
	redis->broken = false;
	store_changes_add(&redis->changes,
			  (struct store_change){.news = STORE_UP, .text = strdup(buf_cstr(&address))});
	pthread_mutex_unlock(&redis->lock);
	redis_wake(redis->changes_fd);
	redis->backoff_ms = 0;
	buf_fini(&address);
}

static int bring_up(struct redis_store *redis, struct buf *why)
{
	redisContext *writer = NULL;
	int err = redis_connect(&redis->target, true, redis_deadline(redis), &redis->reader, why);
	if (!err)
		err = probe(redis, why);
	if (!err)
		err = read_clock(redis, why);
	if (!err)
		err = redis_connect(&redis->target, false, redis_deadline(redis), &redis->listener, why);
	if (!err)
		err = subscribe(redis, why);
	if (!err)
		err = redis_connect(&redis->target, true, redis_deadline(redis), &writer, why);
	if (!err) {
		redis_tell(redis, (struct store_change){.news = STORE_SYNC});
		json_object_clear(redis->seen);
		redis_decisions_connected(redis);
		err = read_round(redis, why);
	}
	if (!err)
		note_up(redis, writer);
	else if (writer)
		redisFree(writer);
	return err;
}

/* --- what others want done -------------------------------------------------------------------------------
 */

static bool is_broken(int err)
{
	return err == -EPIPE || err == -ETIMEDOUT || err == -EPROTO || err == -EMSGSIZE;
}

static int run_jobs(struct redis_store *redis, bool up)
{
	int broken = 0;
	for (;;) {
		pthread_mutex_lock(&redis->lock);
		struct list *link = list_pop(&redis->jobs);
		pthread_mutex_unlock(&redis->lock);
		if (!link)
			return broken;
		struct redis_job *job = container_of(link, struct redis_job, link);
		job->err = up && !broken ? job->run(job, redis->reader, redis_deadline(redis)) : -ENOTCONN;
		if (is_broken(job->err))
			broken = job->err;
		pthread_mutex_lock(&redis->lock);
		list_push_back(&redis->jobs_done, &job->link);
		pthread_mutex_unlock(&redis->lock);
		redis_wake(redis->changes_fd);
	}
}

/* Some of what is to be written back. */
static int restore_some(struct redis_store *redis, const struct store_record *records, size_t count,
			struct buf *why)
{
	struct redis_words words = {0}, fields = {0};
	struct buf text = {0};
	redisReply *reply = NULL;
	redis_script_begin(&words, REDIS_RESTORE, count + 1);
	buf_printf(&text, "%sversion", redis->config.prefix);
	redis_words_add(&words, text.data, text.len);
	for (size_t i = 0; i < count; i++) {
		buf_reset(&text);
		redis_key(redis->config.prefix, records[i].section, records[i].id, &text);
		redis_words_add(&words, text.data, text.len);
	}
	buf_reset(&text);
	buf_printf(&text, "%schanges", redis->config.prefix);
	redis_words_add(&words, text.data, text.len);
	redis_words_number(&words, strlen(redis->config.prefix));
	for (size_t i = 0; i < count; i++) {
		redis_words_number(&words, records[i].epoch);
		size_t n = redis_fields_add(&fields, records[i].value);
		redis_words_number(&words, n);
		for (int f = 0; f < fields.count; f++)
			redis_words_add(&words, fields.words[f], fields.lens[f]);
		words.failed |= fields.failed;
		redis_words_fini(&fields);
	}
	int err = redis_script_run(redis->reader, REDIS_RESTORE, &words, redis_deadline(redis), &reply);
	if (!err && reply->type == REDIS_REPLY_INTEGER) {
		pthread_mutex_lock(&redis->lock);
		redis->health.lost += (uint64_t)reply->integer;
		pthread_mutex_unlock(&redis->lock);
	} else if (!err || is_broken(err)) {
		redis_complain(redis->reader, err, reply, why);
		err = err ? err : -EACCES;
	}
	freeReplyObject(reply);
	redis_words_fini(&words);
	buf_fini(&text);
	return err;
}

static int restore(struct redis_store *redis, struct buf *why)
{
	pthread_mutex_lock(&redis->lock);
	struct store_records list = redis->restore;
	redis->restore = (struct store_records){0};
	pthread_mutex_unlock(&redis->lock);
	int err = 0;
	for (size_t i = 0; !err && i < list.count; i += REDIS_BATCH)
		err = restore_some(redis, &list.items[i],
				   list.count - i < REDIS_BATCH ? list.count - i : REDIS_BATCH, why);
	store_records_fini(&list);
	return err;
}

/* --- the loop --------------------------------------------------------------------------------------------
 */

static void pause_for(struct redis_store *redis, uint64_t ms)
{
	struct pollfd fds[] = {{.fd = redis->wake_fd, .events = POLLIN},
			       {.fd = redis->listener ? redis->listener->fd : -1, .events = POLLIN}};
	uint64_t count;
	poll(fds, 2, (int)ms);
	if (fds[0].revents && read(redis->wake_fd, &count, sizeof(count)) < 0)
		return;
}

static bool asked(struct redis_store *redis, const bool *what)
{
	pthread_mutex_lock(&redis->lock);
	bool yes = *what;
	pthread_mutex_unlock(&redis->lock);
	return yes;
}

/* One turn with connections that work. */
static int turn(struct redis_store *redis, struct buf *why)
{
	uint64_t now_ns = clock_now_ns();
	pause_for(redis, redis->next_read_ns > now_ns ? (redis->next_read_ns - now_ns) / NS_PER_MS + 1 : 0);
	if (asked(redis, &redis->stop))
		return 0;
	if (asked(redis, &redis->broken))
		return -EPIPE;
	int err = listen_some(redis, why);
	if (!err && (err = run_jobs(redis, true)))
		redis_complain(redis->reader, err, NULL, why);
	if (!err)
		err = restore(redis, why);
	if (!err)
		err = redis_decisions_turn(redis, why);
	if (!err && clock_now_ns() >= redis->next_read_ns) {
		redis->decisions.look = true;
		redis_wake(redis->wake_fd);
		err = probe(redis, why);
		if (!err)
			err = read_round(redis, why);
	}
	return err;
}

static void *run(void *context)
{
	struct redis_store *redis = context;
	struct buf why = {0};
	bool up = false;
	while (!asked(redis, &redis->stop)) {
		buf_reset(&why);
		int err = up ? turn(redis, &why) : bring_up(redis, &why);
		if (!err) {
			up = true;
			continue;
		}
		up = false;
		hang_up(redis);
		pthread_mutex_lock(&redis->lock);
		/* When the control thread noticed first, its sentence says why. */
		if (why.len)
			redis_note_down(redis, buf_cstr(&why));
		redis->broken = false;
		pthread_mutex_unlock(&redis->lock);
		run_jobs(redis, false);
		if (why.len) {
			redis->backoff_ms = redis->backoff_ms ? 2 * redis->backoff_ms : BACKOFF_MIN_MS;
			if (redis->backoff_ms > BACKOFF_MAX_MS)
				redis->backoff_ms = BACKOFF_MAX_MS;
			pause_for(redis, redis->backoff_ms);
		}
	}
	/* What was decided last, for the others. */
	if (up && !redis->decisions.look)
		redis_decisions_turn(redis, &why);
	hang_up(redis);
	run_jobs(redis, false);
	buf_fini(&why);
	return NULL;
}

int redis_thread_start(struct redis_store *redis)
{
	int err = pthread_create(&redis->thread, NULL, run, redis);
	redis->running = err == 0;
	return -err;
}

void redis_thread_stop(struct redis_store *redis)
{
	if (!redis->running)
		return;
	pthread_mutex_lock(&redis->lock);
	redis->stop = true;
	pthread_mutex_unlock(&redis->lock);
	redis_wake(redis->wake_fd);
	pthread_join(redis->thread, NULL);
	redis->running = false;
}

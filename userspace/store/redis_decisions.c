/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_decisions: what one gateway decided, known to all (redis.h).
 *
 * The ledger "decisions" of this gateway is a file as ever. Each record that has an "id" is also appended to
 * the stream PREFIX + "decisions" in Redis, by the store's thread, and each record that others put there is
 * handed to the control thread and goes into this gateway's file as well: once, whatever Redis or a
 * connection did meanwhile, for the ids in the file say what is there already.
 *
 * The thread reads before it appends. With a new connection it reads the stream from its beginning and so
 * learns which of its own records Redis has; those that it has not (Redis was down, or lost them) are
 * appended then. The last OWN_MAX of this process are kept for that.
 */
#include "store/redis.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEDGER	     "decisions"
#define STREAM_MAX   "1000"
#define READ_MAX     "64" /* entries in one call */
#define READ_COUNT   64
#define ADD_MAX	     16	  /* in one call */
#define IDS_MAX	     8192 /* known at once; then those of the file's end are */
#define FILE_TAIL    4000
#define PENDING_MAX  4096 /* changes that wait for the control thread; more wait in Redis */
#define RECORD_FLAGS (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

/* --- one record ------------------------------------------------------------------------------------------
 */

static bool is_word(const json_t *record, const char *member, size_t max)
{
	const json_t *text = json_object_get(record, member);
	size_t len = json_string_length(text);
	return json_is_string(text) && len >= 1 && len <= max && strlen(json_string_value(text)) == len;
}

static bool is_ratio(const json_t *record, const char *member)
{
	const json_t *number = json_object_get(record, member);
	double value = json_number_value(number);
	return json_is_number(number) && value >= 0 && value <= 1;
}

static bool is_count(const json_t *record, const char *member)
{
	const json_t *number = json_object_get(record, member);
	return json_is_integer(number) && json_integer_value(number) >= 0;
}

static bool is_moment(const json_t *record, const char *member)
{
	struct tm when;
	return is_word(record, member, 40) &&
	       strptime(json_string_value(json_object_get(record, member)), "%Y-%m-%dT%H:%M:%S", &when);
}

static const char *wrong_member(const json_t *record)
{
	static const struct {
		const char *name;
		size_t max;
	} words[] = {{"id", REDIS_DECISION_ID_MAX},
		     {"on", 128},
		     {"route", STORE_ID_MAX},
		     {"action", 32},
		     {"by", 1024}};
	static const char *const counts[] = {"epoch", "step", "n", "mismatches"};
	static const char *const ratios[] = {"weight_old", "weight_new"};
	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (!is_word(record, words[i].name, words[i].max))
			return words[i].name;
	}
	for (unsigned i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		if (!is_count(record, counts[i]))
			return counts[i];
	}
	for (unsigned i = 0; i < sizeof(ratios) / sizeof(*ratios); i++) {
		if (!is_ratio(record, ratios[i]))
			return ratios[i];
	}
	if (!json_is_string(json_object_get(record, "reason")))
		return "reason";
	if (!json_is_object(json_object_get(record, "evidence")))
		return "evidence";
	return is_moment(record, "at") ? NULL : "at";
}

json_t *redis_decision_parse(struct slice text, struct buf *why)
{
	json_error_t error;
	if (text.len > REDIS_DECISION_BYTES_MAX) {
		buf_printf(why, "it is larger than %d bytes", REDIS_DECISION_BYTES_MAX);
		return NULL;
	}
	json_t *record = json_loadb(text.ptr ? text.ptr : "", text.len, RECORD_FLAGS, &error);
	const char *wrong = json_is_object(record) ? wrong_member(record) : NULL;
	if (!json_is_object(record))
		buf_printf(why, "it is no JSON object");
	else if (wrong)
		buf_printf(why, "its \"%s\" is missing or wrong", wrong);
	else
		return record;
	json_decref(record);
	return NULL;
}

static const char *id_of(const json_t *record)
{
	return json_string_value(json_object_get(record, "id"));
}

/* --- on the control thread -------------------------------------------------------------------------------
 */

int redis_decisions_known(struct redis_store *redis, struct buf *why)
{
	json_t *records = NULL, *record;
	size_t i;
	int err = store_read_tail(redis->local, LEDGER, FILE_TAIL, &records, NULL, why);
	if (err)
		return err;
	json_object_clear(redis->decisions.ids);
	json_array_foreach(records, i, record)
	{
		if (id_of(record))
			json_object_set_new(redis->decisions.ids, id_of(record), json_true());
	}
	json_decref(records);
	return 0;
}

/* Under the lock. */
static void forget_own(struct redis_store *redis, size_t index)
{
	struct redis_decisions *d = &redis->decisions;
	free(d->own[index].text);
	d->own_count--;
	memmove(&d->own[index], &d->own[index + 1], (d->own_count - index) * sizeof(d->own[0]));
}

void redis_decisions_share(struct redis_store *redis, const json_t *record)
{
	struct redis_decisions *d = &redis->decisions;
	const char *id = id_of(record);
	if (!id || strlen(id) > REDIS_DECISION_ID_MAX)
		return;
	json_object_set_new(d->ids, id, json_true());
	char *text = json_dumps(record, JSON_COMPACT);
	bool fits = text && strlen(text) <= REDIS_DECISION_BYTES_MAX;
	pthread_mutex_lock(&redis->lock);
	if (fits && d->own_count == REDIS_DECISIONS_OWN) {
		redis->health.decisions_dropped += !d->own[0].there;
		forget_own(redis, 0);
	}
	if (fits) {
		struct redis_own *own = &d->own[d->own_count++];
		*own = (struct redis_own){.text = text};
		snprintf(own->id, sizeof(own->id), "%s", id);
	} else {
		redis->health.decisions_dropped++;
	}
	pthread_mutex_unlock(&redis->lock);
	if (!fits)
		free(text);
	redis_wake(redis->wake_fd);
}

/* Known already, or else from now on. */
static bool is_known(struct redis_store *redis, const char *id)
{
	json_t *ids = redis->decisions.ids;
	bool known = json_object_get(ids, id) != NULL;
	json_object_set_new(ids, id, json_true());
	return known;
}

void redis_decisions_take(struct redis_store *redis, struct store_changes *changes)
{
	struct buf why = {0};
	size_t kept = 0;
	/* Another process has the file, and reads the stream itself. */
	if (redis->store.yielded)
		return;
	if (json_object_size(redis->decisions.ids) >= IDS_MAX && redis_decisions_known(redis, &why))
		log_warn("state", "%s", buf_cstr(&why));
	json_t *news = json_array();
	for (size_t i = 0; i < changes->count; i++) {
		struct store_change *change = &changes->items[i];
		if (change->news == STORE_DECIDED && is_known(redis, id_of(change->value))) {
			json_decref(change->value);
			continue;
		}
		if (change->news == STORE_DECIDED)
			json_array_append(news, change->value);
		changes->items[kept++] = *change;
	}
	changes->count = kept;
	buf_reset(&why);
	if (json_array_size(news) && store_file_append_all(redis->local, LEDGER, news, &why))
		log_warn("state", "decisions of other gateways are not written down here: %s",
			 buf_cstr(&why));
	buf_fini(&why);
	json_decref(news);
}

/* --- on the store's thread -------------------------------------------------------------------------------
 */

static void key_of(const struct redis_store *redis, struct redis_words *words)
{
	struct buf key = {0};
	buf_printf(&key, "%s" LEDGER, redis->config.prefix);
	redis_words_add(words, key.data, key.len);
	buf_fini(&key);
}

/* A connection that broke is trouble; what Redis refuses (another type by hand, no right) is said, and tried
 * again with the next full read: weights do not depend on it. */
static int complain(struct redis_store *redis, int err, const redisReply *reply, const char *what,
		    struct buf *why)
{
	struct buf text = {0};
	redis_complain(redis->reader, err, reply, err ? why : &text);
	if (!err)
		log_warn("state", "decisions are not %s: %s", what, buf_cstr(&text));
	buf_fini(&text);
	redis->decisions.again_ns = redis->next_read_ns;
	return err;
}

static void mark_own(struct redis_store *redis, const char *id)
{
	struct redis_decisions *d = &redis->decisions;
	pthread_mutex_lock(&redis->lock);
	for (size_t i = 0; i < d->own_count; i++) {
		if (strcmp(d->own[i].id, id) == 0)
			d->own[i].there = true;
	}
	pthread_mutex_unlock(&redis->lock);
}

/* One entry: its id and, unless it is too large, its fields. */
static json_t *read_entry(const redisReply *entry, struct buf *why)
{
	const redisReply *fields = entry->elements == 2 ? entry->element[1] : NULL;
	if (!fields || fields->type != REDIS_REPLY_ARRAY) {
		buf_append_str(why, "it is too large");
		return NULL;
	}
	for (size_t i = 0; i + 1 < fields->elements; i += 2) {
		const redisReply *name = fields->element[i], *value = fields->element[i + 1];
		if (name->str && strcmp(name->str, "record") == 0 && value->str)
			return redis_decision_parse(slice_of(value->str, value->len), why);
	}
	buf_append_str(why, "it has no field \"record\"");
	return NULL;
}

static void refuse_entry(struct redis_store *redis, const char *at, const char *complaint)
{
	struct buf text = {0};
	buf_printf(&text, "%s" LEDGER " %s: %s", redis->config.prefix, at, complaint);
	redis_tell(redis, (struct store_change){.news = STORE_NO_DECISION, .text = strdup(buf_cstr(&text))});
	buf_fini(&text);
}

static void take_entry(struct redis_store *redis, const redisReply *entry)
{
	struct buf why = {0};
	if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 1 || !entry->element[0]->str)
		return;
	const char *at = entry->element[0]->str;
	snprintf(redis->decisions.position, sizeof(redis->decisions.position), "%s", at);
	json_t *record = read_entry(entry, &why);
	if (record) {
		mark_own(redis, id_of(record));
		redis_tell(redis, (struct store_change){.news = STORE_DECIDED, .value = record});
	} else {
		refuse_entry(redis, at, buf_cstr(&why));
	}
	buf_fini(&why);
}

static bool is_crowded(struct redis_store *redis)
{
	pthread_mutex_lock(&redis->lock);
	bool yes = redis->changes.count >= PENDING_MAX;
	pthread_mutex_unlock(&redis->lock);
	return yes;
}

/* The next entries. *more: there may be others. */
static int read_some(struct redis_store *redis, bool *more, struct buf *why)
{
	struct redis_decisions *d = &redis->decisions;
	struct redis_words words = {0};
	redisReply *reply = NULL;
	*more = false;
	redis_script_begin(&words, REDIS_DECIDED, 1);
	key_of(redis, &words);
	redis_words_str(&words, d->position);
	redis_words_str(&words, READ_MAX);
	redis_words_number(&words, REDIS_DECISION_BYTES_MAX + 1024);
	int err = redis_script_run(redis->reader, REDIS_DECIDED, &words, redis_deadline(redis), &reply);
	if (err || reply->type != REDIS_REPLY_ARRAY) {
		err = complain(redis, err, reply, "read", why);
	} else if (reply->elements == 1 && reply->element[0]->type == REDIS_REPLY_STRING) {
		/* The stream ends before our place in it: it was made anew. */
		snprintf(d->position, sizeof(d->position), "0-0");
		*more = true;
	} else {
		for (size_t i = 0; i < reply->elements; i++)
			take_entry(redis, reply->element[i]);
		*more = reply->elements >= READ_COUNT;
	}
	freeReplyObject(reply);
	redis_words_fini(&words);
	return err;
}

/* Up to ADD_MAX of ours that Redis has not, in their order. *more: there are others. */
static size_t copy_own(struct redis_store *redis, struct redis_own out[ADD_MAX], bool *more)
{
	struct redis_decisions *d = &redis->decisions;
	size_t count = 0;
	*more = false;
	pthread_mutex_lock(&redis->lock);
	for (size_t i = 0; i < d->own_count && !*more; i++) {
		if (d->own[i].there)
			continue;
		*more = count == ADD_MAX;
		if (*more)
			break;
		out[count] = d->own[i];
		out[count].text = strdup(d->own[i].text);
		count += out[count].text != NULL;
	}
	pthread_mutex_unlock(&redis->lock);
	return count;
}

static int add_some(struct redis_store *redis, bool *more, struct buf *why)
{
	struct redis_own own[ADD_MAX];
	struct redis_words words = {0};
	struct buf channel = {0};
	redisReply *reply = NULL;
	size_t count = copy_own(redis, own, more);
	if (count == 0)
		return 0;
	redis_script_begin(&words, REDIS_DECIDE, 1);
	key_of(redis, &words);
	redis_words_str(&words, STREAM_MAX);
	buf_printf(&channel, "%schanges", redis->config.prefix);
	redis_words_add(&words, channel.data, channel.len);
	for (size_t i = 0; i < count; i++)
		redis_words_str(&words, own[i].text);
	int err = redis_script_run(redis->reader, REDIS_DECIDE, &words, redis_deadline(redis), &reply);
	if (err || reply->type == REDIS_REPLY_ERROR) {
		*more = false;
		err = complain(redis, err, reply, "told to the other gateways yet", why);
	} else {
		for (size_t i = 0; i < count; i++)
			mark_own(redis, own[i].id);
	}
	for (size_t i = 0; i < count; i++)
		free(own[i].text);
	freeReplyObject(reply);
	redis_words_fini(&words);
	buf_fini(&channel);
	return err;
}

void redis_decisions_connected(struct redis_store *redis)
{
	struct redis_decisions *d = &redis->decisions;
	snprintf(d->position, sizeof(d->position), "0-0");
	d->look = true;
	d->again_ns = 0;
	pthread_mutex_lock(&redis->lock);
	for (size_t i = 0; i < d->own_count; i++)
		d->own[i].there = false;
	pthread_mutex_unlock(&redis->lock);
}

int redis_decisions_turn(struct redis_store *redis, struct buf *why)
{
	struct redis_decisions *d = &redis->decisions;
	bool more = false;
	int err = 0;
	if (clock_now_ns() < d->again_ns)
		return 0;
	if (d->look && is_crowded(redis))
		return 0;
	if (d->look) {
		err = read_some(redis, &more, why);
		d->look = err || more || d->again_ns > clock_now_ns();
	}
	if (!err && !d->look)
		err = add_some(redis, &more, why);
	if (!err && more)
		redis_wake(redis->wake_fd);
	return err;
}

void redis_decisions_fini(struct redis_store *redis)
{
	while (redis->decisions.own_count)
		forget_own(redis, redis->decisions.own_count - 1);
	json_decref(redis->decisions.ids);
}

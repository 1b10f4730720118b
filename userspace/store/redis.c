/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis: the store that several gateways share (store.h, redis.h; README.md tells the whole story).
 *
 * The control thread writes with a connection of its own that the store's thread made: a write is one script,
 * waited for until state.timeout_ms. The first that fails takes the connection away, so the next one fails at
 * once, until the thread has another one. Ledgers, and a copy of what was known last, are in a file beside:
 * a gateway that starts while Redis is down goes on from there.
 */
#include "store/redis.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define START_TRIES    4 /* connections tried at the start */
#define START_PAUSE_US 250000
#define START_WAIT_NS  (2 * NS_PER_SEC)
#define SAVE_NS	       NS_PER_SEC /* the copy is written at most this often */

static struct redis_store *cast(const struct store *store)
{
	return (struct redis_store *)store;
}

/* --- loading ---------------------------------------------------------------------------------------------
 */

struct loading {
	struct store_records *records;
	json_t *known; /* keys that SCAN told already */
	uint64_t epoch;
};

static int on_item(void *context, const struct redis_item *item)
{
	struct loading *loading = context;
	struct buf key = {0};
	redis_key("", item->section, item->id, &key);
	bool again = json_object_get(loading->known, buf_cstr(&key)) != NULL;
	json_object_set_new(loading->known, buf_cstr(&key), json_true());
	if (item->epoch > loading->epoch)
		loading->epoch = item->epoch;
	if (item->kind == ITEM_BAD)
		log_error("state", "redis: %s was refused: it %s", buf_cstr(&key), item->complaint);
	buf_fini(&key);
	/* What nobody who counts wrote is told by the thread, like everything that comes later. */
	if (again || item->kind != ITEM_RECORD || !item->epoch)
		return 0;
	return store_records_add(loading->records, item->section, item->id, json_incref(item->value),
				 item->epoch);
}

static int load_from_redis(struct redis_store *redis, struct store_records *out, uint64_t *epoch,
			   struct buf *why)
{
	redisContext *link = NULL;
	int err = -ENOTCONN;
	for (int i = 0; err && i < START_TRIES; i++) {
		if (i)
			usleep(START_PAUSE_US);
		buf_reset(why);
		err = redis_connect(&redis->target, false,
				    clock_now_ns() + redis->config.timeout_ms * NS_PER_MS, &link, why);
		if (err == -EACCES || err == -EINVAL)
			break;
	}
	if (err)
		return err;
	struct loading loading = {out, json_object(), 0};
	err = redis_read_all(redis, link, on_item, &loading, why);
	json_decref(loading.known);
	redisFree(link);
	if (err)
		store_records_fini(out);
	else
		*epoch = loading.epoch;
	return err;
}

/* What this gateway knew last: when Redis cannot be read, or has nothing at all. */
static int load_local(struct redis_store *redis, int reason, struct store_records *out, uint64_t *epoch,
		      struct buf *why)
{
	struct buf complaint = {0};
	int err = store_load(redis->local, out, &complaint);
	if (!err && reason && out->count == 0)
		err = reason; /* nothing is known: to serve with weights that nobody chose would be worse */
	if (err && reason)
		buf_printf(why,
			   "; and %s has nothing that was known before. Start Redis, or correct state.url",
			   redis->config.path);
	else if (err)
		buf_append_slice(why, buf_slice(&complaint));
	else if (reason)
		log_error("state", "%s; going on with what was known last (%s, %zu records)", buf_cstr(why),
			  redis->config.path, out->count);
	else if (out->count)
		log_warn("state",
			 "Redis has no records; those known last are written to it (%s, %zu records)",
			 redis->config.path, out->count);
	if (!err) {
		*epoch = store_epoch(redis->local);
		buf_reset(why);
	}
	buf_fini(&complaint);
	return err;
}

/* Until the thread has its connections, or knows that it cannot: who loads will want to write. */
static void wait_for_thread(struct redis_store *redis)
{
	uint64_t until_ns = clock_now_ns() + START_WAIT_NS;
	bool waits = true;
	while (waits && clock_now_ns() < until_ns) {
		usleep(1000);
		pthread_mutex_lock(&redis->lock);
		waits = !redis->writer && !redis->health.since_wall_ns;
		pthread_mutex_unlock(&redis->lock);
	}
}

static int redis_load(struct store *store, struct store_records *out, uint64_t *epoch, struct buf *why)
{
	struct redis_store *redis = cast(store);
	struct store_records records = {0};
	uint64_t highest = 0;
	int err = load_from_redis(redis, &records, &highest, why);
	if (err && !redis->running) {
		pthread_mutex_lock(&redis->lock);
		redis_note_down(redis, buf_cstr(why));
		pthread_mutex_unlock(&redis->lock);
	}
	if ((err || records.count == 0) && !redis->running)
		err = load_local(redis, err, &records, &highest, why);
	if (!err && !redis->running) {
		for (size_t i = 0; i < records.count; i++)
			tree_set(redis->tree, records.items[i].section, records.items[i].id,
				 records.items[i].value, records.items[i].epoch);
		redis->tree_dirty = true;
		store->epoch = highest;
		err = redis_thread_start(redis);
		if (!err)
			wait_for_thread(redis);
	}
	if (err) {
		store_records_fini(&records);
		return err;
	}
	*out = records;
	*epoch = highest > store->epoch ? highest : store->epoch;
	return 0;
}

/* --- writing ---------------------------------------------------------------------------------------------
 */

/* The connection, for as long as one write takes; NULL with a sentence when there is none. */
static redisContext *take_writer(struct redis_store *redis, uint64_t *generation, struct buf *why)
{
	pthread_mutex_lock(&redis->lock);
	redisContext *link = redis->writer;
	redis->writer = NULL;
	*generation = redis->generation;
	if (!link)
		buf_printf(why, "state store unreachable: %s",
			   redis->health.sentence[0] ? redis->health.sentence : "not connected yet");
	pthread_mutex_unlock(&redis->lock);
	return link;
}

/* Gives it back; with a sentence, it is of no use any more, and neither is what the thread has. */
static void put_writer(struct redis_store *redis, redisContext *link, uint64_t generation,
		       const char *trouble)
{
	pthread_mutex_lock(&redis->lock);
	if (!trouble && generation == redis->generation && !redis->writer) {
		redis->writer = link;
		link = NULL;
	}
	if (trouble && generation == redis->generation) {
		redis_note_down(redis, trouble);
		redis->broken = true;
		redis_wake(redis->wake_fd);
	}
	pthread_mutex_unlock(&redis->lock);
	if (link)
		redisFree(link);
}

static int build(struct redis_store *redis, const struct store_write *writes, size_t count, uint64_t fence,
		 struct redis_words *words, struct buf *why)
{
	struct redis_words fields = {0};
	struct buf text = {0};
	int err = 0;
	redis_script_begin(words, REDIS_WRITE, count + 2);
	static const char *const fixed[] = {"version", "fence"};
	for (unsigned i = 0; i < 2; i++) {
		buf_reset(&text);
		buf_printf(&text, "%s%s", redis->config.prefix, fixed[i]);
		redis_words_add(words, text.data, text.len);
	}
	for (size_t i = 0; i < count; i++) {
		buf_reset(&text);
		redis_key(redis->config.prefix, writes[i].section, writes[i].id, &text);
		redis_words_add(words, text.data, text.len);
	}
	pthread_mutex_lock(&redis->lock);
	int64_t clock_ms = redis->clock_ms;
	pthread_mutex_unlock(&redis->lock);
	redis_words_number(words, fence);
	redis_words_number(words, (uint64_t)((int64_t)(clock_wall_ns() / NS_PER_MS) + clock_ms) +
					  redis->config.timeout_ms);
	redis_words_number(words, redis->store.epoch);
	buf_reset(&text);
	buf_printf(&text, "%schanges", redis->config.prefix);
	redis_words_add(words, text.data, text.len);
	redis_words_number(words, strlen(redis->config.prefix));
	redis_words_number(words, REDIS_TOMB_MS);
	for (size_t i = 0; !err && i < count; i++) {
		size_t bytes = 0;
		redis_words_number(words, writes[i].expected);
		if (!writes[i].value) {
			redis_words_str(words, "-1");
			continue;
		}
		size_t n = redis_fields_add(&fields, writes[i].value);
		redis_words_number(words, n);
		for (int f = 0; f < fields.count; f++) {
			redis_words_add(words, fields.words[f], fields.lens[f]);
			bytes += fields.lens[f];
		}
		if (fields.failed || words->failed)
			err = -ENOMEM;
		else if (bytes > STORE_RECORD_BYTES_MAX / 2)
			err = -E2BIG;
		redis_words_fini(&fields);
	}
	if (err)
		buf_printf(why, err == -E2BIG ? "a record is larger than %u bytes" : "out of memory",
			   STORE_RECORD_BYTES_MAX / 2);
	buf_fini(&text);
	return err;
}

static void read_stale(const redisReply *list, struct store_write *writes, size_t count)
{
	for (size_t i = 0; i < list->elements; i++) {
		const redisReply *entry = list->element[i];
		if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 || !entry->element[0]->str)
			continue;
		size_t index = strtoul(entry->element[0]->str, NULL, 10);
		const redisReply *flat = entry->element[1];
		struct redis_item item = {0};
		if (index >= count || flat->type != REDIS_REPLY_ARRAY)
			continue;
		item.section = writes[index].section;
		redis_item_from_hash(flat->element, flat->elements, &item);
		writes[index].stale = true;
		writes[index].epoch = item.epoch;
		writes[index].there = item.value;
	}
}

/* What the script said. */
static int read_answer(const redisReply *reply, struct store_write *writes, size_t count, uint64_t *epoch,
		       struct buf *why)
{
	const char *word = reply->type == REDIS_REPLY_ARRAY && reply->elements && reply->element[0]->str
				   ? reply->element[0]->str
				   : "";
	const redisReply *second =
		reply->type == REDIS_REPLY_ARRAY && reply->elements > 1 ? reply->element[1] : NULL;
	if (strcmp(word, "OK") == 0 && second && second->str) {
		*epoch = strtoull(second->str, NULL, 10);
		for (size_t i = 0; i < count; i++)
			writes[i].epoch = writes[i].value ? *epoch : 0;
		return 0;
	}
	if (strcmp(word, "STALE") == 0 && second && second->type == REDIS_REPLY_ARRAY) {
		read_stale(second, writes, count);
		stale_complain(writes, count, why);
		return -ESTALE;
	}
	if (strcmp(word, "FENCE") == 0 && second && second->str) {
		buf_printf(why, "refused: this gateway's lease is over, another gateway leads (fence %s)",
			   second->str);
		return -ENOLCK;
	}
	if (strcmp(word, "LATE") == 0) {
		buf_append_str(why,
			       "state store unreachable: Redis took the write too late, it was not applied");
		return -EAGAIN;
	}
	return -EPROTO;
}

static void note_request(struct redis_store *redis, uint64_t began_ns, int err)
{
	uint64_t took_ns = clock_now_ns() - began_ns;
	pthread_mutex_lock(&redis->lock);
	struct store_health *health = &redis->health;
	health->requests++;
	health->latency_ns += took_ns;
	health->last_ns = took_ns;
	if (took_ns > health->worst_ns)
		health->worst_ns = took_ns;
	if (err == -ESTALE)
		health->conflicts++;
	pthread_mutex_unlock(&redis->lock);
}

static int redis_write(struct store *store, struct store_write *writes, size_t count, uint64_t fence,
		       uint64_t *epoch, struct buf *why)
{
	struct redis_store *redis = cast(store);
	struct redis_words words = {0};
	struct buf trouble = {0};
	redisReply *reply = NULL;
	uint64_t generation, began_ns = clock_now_ns(), version = 0;
	if (count == 0)
		return 0;
	redisContext *link = take_writer(redis, &generation, why);
	if (!link)
		return -ENOTCONN;
	int err = build(redis, writes, count, fence, &words, why);
	if (err) {
		put_writer(redis, link, generation, NULL);
		redis_words_fini(&words);
		return err;
	}
	err = redis_script_run(link, REDIS_WRITE, &words, began_ns + redis->config.timeout_ms * NS_PER_MS,
			       &reply);
	if (!err)
		err = read_answer(reply, writes, count, &version, why);
	if (err && err != -ESTALE && err != -ENOLCK && err != -EAGAIN) {
		redis_complain(link, err == -EPROTO && reply ? 0 : err, reply, &trouble);
		buf_printf(why, "state store unreachable: %s", buf_cstr(&trouble));
	}
	put_writer(redis, link, generation, trouble.len ? buf_cstr(&trouble) : NULL);
	note_request(redis, began_ns, err);
	for (size_t i = 0; !err && i < count; i++)
		tree_set(redis->tree, writes[i].section, writes[i].id, writes[i].value, version);
	if (!err) {
		redis->tree_dirty = true;
		*epoch = version;
	}
	freeReplyObject(reply);
	redis_words_fini(&words);
	buf_fini(&trouble);
	return err == 0 || err == -ESTALE || err == -ENOLCK ? err : -ENOTCONN;
}

static void redis_restore(struct store *store, enum store_section section, const char *id,
			  const json_t *value, uint64_t epoch)
{
	struct redis_store *redis = cast(store);
	pthread_mutex_lock(&redis->lock);
	/* The thread must not share a value with this one. */
	store_records_add(&redis->restore, section, id, json_deep_copy(value), epoch);
	pthread_mutex_unlock(&redis->lock);
	redis_wake(redis->wake_fd);
}

/* --- what comes from the thread --------------------------------------------------------------------------
 */

static int redis_changes_fd(const struct store *store)
{
	return cast(store)->changes_fd;
}

static void redis_changes(struct store *store, struct store_changes *out)
{
	struct redis_store *redis = cast(store);
	struct list done;
	uint64_t count;
	list_init(&done);
	if (read(redis->changes_fd, &count, sizeof(count)) < 0)
		count = 0;
	pthread_mutex_lock(&redis->lock);
	*out = redis->changes;
	redis->changes = (struct store_changes){0};
	for (struct list *link; (link = list_pop(&redis->jobs_done));) {
		list_push_back(&done, link);
		redis->job_count--;
	}
	pthread_mutex_unlock(&redis->lock);
	redis_decisions_take(redis, out);
	for (size_t i = 0; i < out->count; i++) {
		const struct store_change *change = &out->items[i];
		if (change->news != STORE_CHANGED || !change->epoch)
			continue;
		tree_set(redis->tree, change->section, change->id, change->value, change->epoch);
		redis->tree_dirty = true;
		if (change->epoch > store->epoch)
			store->epoch = change->epoch;
	}
	for (struct list *link; (link = list_pop(&done));) {
		struct redis_job *job = container_of(link, struct redis_job, link);
		job->done(job, job->err);
	}
}

void redis_submit(struct redis_store *redis, struct redis_job *job)
{
	pthread_mutex_lock(&redis->lock);
	bool refused = !redis->running || redis->job_count >= REDIS_JOBS_MAX;
	job->err = -ENOTCONN;
	redis->job_count++;
	list_push_back(refused ? &redis->jobs_done : &redis->jobs, &job->link);
	pthread_mutex_unlock(&redis->lock);
	redis_wake(refused ? redis->changes_fd : redis->wake_fd);
}

const char *redis_prefix(const struct redis_store *redis)
{
	return redis->config.prefix;
}

static void redis_place(const struct store *store, enum store_section section, const char *id,
			struct buf *out)
{
	redis_key(cast(store)->config.prefix, section, id, out);
}

static void redis_health(struct store *store, struct store_health *out)
{
	struct redis_store *redis = cast(store);
	pthread_mutex_lock(&redis->lock);
	*out = redis->health;
	pthread_mutex_unlock(&redis->lock);
	out->shared = true;
}

/* The copy of what is known, for a start without Redis. */
static void redis_tick(struct store *store)
{
	struct redis_store *redis = cast(store);
	uint64_t now_ns = clock_now_ns();
	if (!redis->tree_dirty || now_ns - redis->tree_saved_ns < SAVE_NS)
		return;
	struct buf why = {0};
	redis->tree_saved_ns = now_ns;
	if (store_file_replace(redis->local, redis->tree, store->epoch, &why))
		log_warn("state", "what is known is not remembered here: %s", buf_cstr(&why));
	else
		redis->tree_dirty = false;
	buf_fini(&why);
}

/* --- ledgers, opening, closing ---------------------------------------------------------------------------
 */

static int redis_append(struct store *store, const char *name, const json_t *record, struct buf *why)
{
	struct redis_store *redis = cast(store);
	int err = store_append(redis->local, name, record, why);
	/* Also when the disk is full: the others have one. */
	if (strcmp(name, "decisions") == 0)
		redis_decisions_share(redis, record);
	return err;
}

static int redis_read_tail(struct store *store, const char *name, size_t max, json_t **records,
			   size_t *unreadable, struct buf *why)
{
	return store_read_tail(cast(store)->local, name, max, records, unreadable, why);
}

static void redis_yield(struct store *store)
{
	struct redis_store *redis = cast(store);
	redis->tree_saved_ns = 0;
	redis_tick(store);
	store_yield(redis->local);
}

static int redis_regain(struct store *store, struct buf *why)
{
	int err = store_regain(cast(store)->local, why);
	return err ? err : redis_decisions_known(cast(store), why);
}

/* The configuration may be read anew while the store lives: it has texts of its own. */
static int copy_config(struct redis_store *redis, const struct state_config *from)
{
	struct state_config *to = &redis->config;
	char **const copies[] = {&to->path, &to->url, &to->password_file, &to->prefix, &to->master};
	char *const texts[] = {from->path, from->url, from->password_file, from->prefix, from->master};
	size_t count = from->sentinels.count;
	*to = (struct state_config){
		.kind = from->kind, .timeout_ms = from->timeout_ms, .refresh_ms = from->refresh_ms};
	for (unsigned i = 0; i < 5; i++) {
		if (texts[i] && !(*copies[i] = strdup(texts[i])))
			return -ENOMEM;
	}
	to->sentinels.items = calloc(count + 1, sizeof(char *));
	for (size_t i = 0; to->sentinels.items && i < count; i++) {
		to->sentinels.items[i] = strdup(from->sentinels.items[i]);
		to->sentinels.count += to->sentinels.items[i] != NULL;
	}
	return to->sentinels.count == count ? 0 : -ENOMEM;
}

static void free_config(struct state_config *config)
{
	free(config->path);
	if (config->url)
		explicit_bzero(config->url, strlen(config->url));
	free(config->url);
	free(config->password_file);
	free(config->prefix);
	free(config->master);
	for (size_t i = 0; i < config->sentinels.count; i++)
		free(config->sentinels.items[i]);
	free(config->sentinels.items);
}

static void redis_close(struct store *store)
{
	struct redis_store *redis = cast(store);
	struct store_changes left;
	redis_thread_stop(redis);
	if (redis->changes_fd >= 0)
		redis_changes(store, &left), store_changes_fini(&left);
	if (redis->local && redis->tree) {
		redis->tree_saved_ns = 0;
		redis_tick(store);
	}
	store_close(redis->local);
	json_decref(redis->tree);
	json_decref(redis->seen);
	redis_decisions_fini(redis);
	store_records_fini(&redis->restore);
	redis_target_fini(&redis->target);
	free_config(&redis->config);
	if (redis->wake_fd >= 0)
		close(redis->wake_fd);
	if (redis->changes_fd >= 0)
		close(redis->changes_fd);
	pthread_mutex_destroy(&redis->lock);
	free(redis);
}

static const struct store_ops redis_ops = {
	.load = redis_load,
	.write = redis_write,
	.append = redis_append,
	.read_tail = redis_read_tail,
	.yield = redis_yield,
	.regain = redis_regain,
	.close = redis_close,
	.changes_fd = redis_changes_fd,
	.changes = redis_changes,
	.restore = redis_restore,
	.tick = redis_tick,
	.place = redis_place,
	.health = redis_health,
};

struct redis_store *redis_of(struct store *store)
{
	return store && store->ops == &redis_ops ? cast(store) : NULL;
}

int store_redis_open(const struct state_config *config, const char *instance, struct store **out,
		     struct buf *why)
{
	struct redis_store *redis = calloc(1, sizeof(*redis));
	if (!redis)
		return -ENOMEM;
	redis->store.ops = &redis_ops;
	snprintf(redis->name, sizeof(redis->name), "phoenix-%s", instance);
	for (char *c = redis->name; *c; c++)
		*c = *c <= ' ' || *c > '~' ? '-' : *c;
	pthread_mutex_init(&redis->lock, NULL);
	list_init(&redis->jobs);
	list_init(&redis->jobs_done);
	redis->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	redis->changes_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	redis->tree = tree_create();
	redis->seen = json_object();
	redis->decisions.ids = json_object();
	int err = copy_config(redis, config);
	if (!err && (redis->wake_fd < 0 || redis->changes_fd < 0 || !redis->tree || !redis->seen ||
		     !redis->decisions.ids))
		err = -ENOMEM;
	if (!err)
		err = redis_target_init(&redis->target, &redis->config, redis->name, why);
	if (!err)
		err = store_file_open(config->path, &redis->local, why);
	if (!err)
		err = redis_decisions_known(redis, why);
	if (err)
		redis_close(&redis->store);
	else
		*out = &redis->store;
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet_turn: one turn of the fleet's thread. The keys, below state.prefix:
 *
 *	lease		who leads (a member's name); with a time to live
 *	fence		the last fence that was given out
 *	members		hash: name -> "WHEN NUMBER ABOUT": Redis's clock in ms when last seen, publications so
 *far facts:NAME	hash: route -> text, all that this member has seen recent:NAME	"NUMBER\nROUTE
 *TEXT\n...": its last publication
 *
 * One turn is one script that renews or takes the lease, says that we are here, and lists the others (the
 *"beat"); then what is to be published; then, for the holder, what the others published: the text in
 *recent:NAME when its number is the next one, all of facts:NAME when it is not. So a lost or repeated reading
 *changes nothing.
 */
#include "store/fleet_internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>

#define FIELDS_AT_ONCE 512
#define PRUNE_NS       (60 * NS_PER_SEC)

/* KEYS: lease, fence, members, facts:NAME. ARGV: name, ms of a lease, about, publications, highest fence
 * known, wanted. */
static const char beat_script[] =
	"local t = redis.call('TIME')\n"
	"local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))\n"
	"redis.call('HSET', KEYS[3], ARGV[1], now .. ' ' .. ARGV[4] .. ' ' .. ARGV[3])\n"
	"local fence = tonumber(redis.call('GET', KEYS[2]) or '0') or 0\n"
	"if fence < tonumber(ARGV[5]) then fence = tonumber(ARGV[5]) redis.call('SET', KEYS[2], "
	"string.format('%.0f', fence)) end\n"
	"local holder = redis.call('GET', KEYS[1])\n"
	"local got = 0\n"
	"if holder == ARGV[1] then\n"
	"  if ARGV[6] == '1' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) got = 1\n"
	"  else redis.call('DEL', KEYS[1]) holder = false end\n"
	"elseif not holder and ARGV[6] == '1' then\n"
	"  redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])\n"
	"  fence = redis.call('INCR', KEYS[2]) holder = ARGV[1] got = 2\n"
	"end\n"
	"return {got, fence, holder or '', redis.call('PTTL', KEYS[1]), now, redis.call('HGETALL', KEYS[3]), "
	"redis.call('EXISTS', KEYS[4])}\n";

/* --- talking -------------------------------------------------------------------------------------------- */

struct words {
	const char *word[2 * FIELDS_AT_ONCE + 8];
	size_t len[2 * FIELDS_AT_ONCE + 8];
	int count;
};

static void word(struct words *words, struct slice text)
{
	words->word[words->count] = text.ptr;
	words->len[words->count++] = text.len;
}

/* Sends one command. The answer, or NULL when the connection is broken or Redis refused; `why` says it. */
static redisReply *ask(struct fleet_link *link, struct words *words, struct buf *why)
{
	redisReply *reply = NULL;
	link->commands++;
	int err = redis_call(link->redis, clock_now_ns() + link->timeout_ms * NS_PER_MS, words->count,
			     words->word, words->len, &reply);
	if (!err && reply->type != REDIS_REPLY_ERROR)
		return reply;
	redis_complain(link->redis, err, reply, why);
	link->refused = !err;
	freeReplyObject(reply);
	return NULL;
}

/* PREFIX + word + name; for `keep` calls of use. */
static struct slice key_of(const struct fleet_link *link, struct buf *out, const char *what, const char *name)
{
	buf_reset(out);
	buf_printf(out, "%s%s%s", link->prefix, what, name);
	return buf_slice(out);
}

static struct slice text_of(const redisReply *reply)
{
	bool is_text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
	return is_text ? slice_of(reply->str, reply->len) : SLICE("");
}

static uint64_t number_of(const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_INTEGER)
		return reply->integer > 0 ? (uint64_t)reply->integer : 0;
	struct slice text = text_of(reply);
	char digits[24] = "";
	memcpy(digits, text.ptr, text.len < sizeof(digits) ? text.len : 0);
	return strtoull(digits, NULL, 10);
}

/* Names of members come from Redis, where anybody may have written. */
bool fleet_is_member_name(struct slice name)
{
	if (name.len == 0 || name.len >= FLEET_NAME_SIZE)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      strchr("._:-", c)))
			return false;
	}
	return true;
}

/* --- the beat ------------------------------------------------------------------------------------------- */

static struct fleet_peer *find_peer(struct fleet_link *link, struct slice name)
{
	for (size_t i = 0; i < link->peer_count; i++) {
		if (slice_equal(name, slice_str(link->peers[i].name)))
			return &link->peers[i];
	}
	if (link->peer_count == FLEET_MEMBERS_MAX)
		return NULL;
	struct fleet_peer *peer = &link->peers[link->peer_count++];
	memset(peer, 0, sizeof(*peer));
	memcpy(peer->name, name.ptr, name.len);
	peer->have = UINT64_MAX;
	return peer;
}

/* "WHEN NUMBER ABOUT" */
static void take_peer(struct fleet_link *link, struct slice name, struct slice value)
{
	char text[256];
	unsigned long long seen, number;
	int at = 0;
	if (!fleet_is_member_name(name) || value.len >= sizeof(text))
		return;
	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	if (sscanf(text, "%20llu %20llu %n", &seen, &number, &at) != 2 || !at || seen > INT64_MAX ||
	    number > INT64_MAX)
		return;
	struct fleet_peer *peer = find_peer(link, name);
	if (!peer)
		return;
	peer->seen_ms = seen;
	/* A number that fell: Redis came back without what it had. */
	if (peer->have != UINT64_MAX && number < peer->have)
		peer->have = UINT64_MAX;
	peer->number = number;
	snprintf(peer->about, sizeof(peer->about), "%.*s", (int)(value.len - (size_t)at), text + at);
}

/* Those that Redis no longer has. */
static void drop_peers(struct fleet_link *link, const redisReply *list)
{
	for (size_t i = 0; i < link->peer_count;) {
		bool there = false;
		for (size_t k = 0; k + 1 < list->elements && !there; k += 2)
			there = slice_equal(text_of(list->element[k]), slice_str(link->peers[i].name));
		if (there)
			i++;
		else
			link->peers[i] = link->peers[--link->peer_count];
	}
}

/* Under the mutex: what the beat's answer says. asked_ns: when it was sent. */
static void take_beat(struct fleet_link *link, const redisReply *reply, uint64_t asked_ns)
{
	struct fleet_lease *lease = &link->lease;
	bool holds = number_of(reply->element[0]) > 0;
	uint64_t fence = number_of(reply->element[1]);
	struct slice leader = text_of(reply->element[2]);
	link->known_fence = fence > link->known_fence ? fence : link->known_fence;
	link->now_ms = number_of(reply->element[4]);
	link->answered_ns = lease->answered_ns = clock_now_ns();
	lease->reachable = lease->known = true;
	lease->error[0] = '\0';
	lease->leader[0] = '\0';
	if (fleet_is_member_name(leader))
		snprintf(lease->leader, sizeof(lease->leader), "%.*s", SLICE_ARG(leader));
	lease->left_ms = number_of(reply->element[3]);
	if (holds && (!link->leads || fence != lease->fence)) {
		/* The others' reports first; then it counts. */
		link->reads_all = true;
		lease->fence = 0;
	}
	if (!holds)
		lease->fence = 0;
	link->leads = holds;
	/* The nominal end, taken before Redis was asked, and a tenth less: clocks run at different speeds. */
	lease->until_ns = holds ? asked_ns + link->lease_ms * NS_PER_MS / 10 * 9 : 0;
	lease->takeovers += number_of(reply->element[0]) == 2;
	if (link->number && number_of(reply->element[6]) == 0) {
		lease->losses++;
		link->number = 0;
	}
	const redisReply *list = reply->element[5];
	for (size_t i = 0; i + 1 < list->elements; i += 2)
		take_peer(link, text_of(list->element[i]), text_of(list->element[i + 1]));
	drop_peers(link, list);
}

static bool is_beat(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ARRAY && reply->elements == 7 &&
	       reply->element[5]->type == REDIS_REPLY_ARRAY;
}

bool fleet_beat(struct fleet_link *link, struct buf *why)
{
	struct buf keys[4] = {0};
	char ms[16], number[24], fence[24];
	pthread_mutex_lock(&link->mutex);
	bool want = link->want;
	pthread_mutex_unlock(&link->mutex);
	snprintf(ms, sizeof(ms), "%" PRIu32, link->lease_ms);
	snprintf(number, sizeof(number), "%" PRIu64, link->number);
	snprintf(fence, sizeof(fence), "%" PRIu64, link->known_fence);
	struct words words = {0};
	word(&words, SLICE("EVAL"));
	word(&words, slice_str(beat_script));
	word(&words, SLICE("4"));
	word(&words, key_of(link, &keys[0], "lease", ""));
	word(&words, key_of(link, &keys[1], "fence", ""));
	word(&words, key_of(link, &keys[2], "members", ""));
	word(&words, key_of(link, &keys[3], "facts:", link->instance));
	word(&words, slice_str(link->instance));
	word(&words, slice_str(ms));
	word(&words, slice_str(link->about));
	word(&words, slice_str(number));
	word(&words, slice_str(fence));
	word(&words, want ? SLICE("1") : SLICE("0"));
	uint64_t asked_ns = clock_now_ns();
	redisReply *reply = ask(link, &words, why);
	bool fine = reply && is_beat(reply);
	if (reply && !fine)
		buf_append_str(why, "Redis gave an answer of another form");
	if (fine) {
		pthread_mutex_lock(&link->mutex);
		take_beat(link, reply, asked_ns);
		pthread_mutex_unlock(&link->mutex);
	}
	if (reply)
		freeReplyObject(reply);
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		buf_fini(&keys[i]);
	link->beat_ns = asked_ns;
	return fine;
}

/* --- publishing ----------------------------------------------------------------------------------------- */

static bool put_fields(struct fleet_link *link, struct words *words, struct buf *why)
{
	redisReply *reply = ask(link, words, why);
	words->count = 2;
	if (!reply)
		return false;
	freeReplyObject(reply);
	return true;
}

static bool keep_facts(struct fleet_link *link, struct buf *why)
{
	struct buf key = {0};
	struct words words = {0};
	char seconds[16];
	snprintf(seconds, sizeof(seconds), "%d", FLEET_KEEP_S);
	word(&words, SLICE("EXPIRE"));
	word(&words, key_of(link, &key, "facts:", link->instance));
	word(&words, slice_str(seconds));
	bool fine = put_fields(link, &words, why);
	buf_fini(&key);
	return fine;
}

/* What is in `batch` to facts:NAME and, as one text, to recent:NAME. */
static bool send_batch(struct fleet_link *link, json_t *batch, struct buf *why)
{
	struct buf facts = {0}, recent = {0}, text = {0};
	struct words words = {0};
	const char *route;
	json_t *value;
	bool fine = true;
	word(&words, SLICE("HSET"));
	word(&words, key_of(link, &facts, "facts:", link->instance));
	buf_printf(&text, "%" PRIu64 "\n", link->number + 1);
	json_object_foreach(batch, route, value)
	{
		word(&words, slice_str(route));
		word(&words, slice_of(json_string_value(value), json_string_length(value)));
		buf_printf(&text, "%s %s\n", route, json_string_value(value));
		if (words.count >= 2 * FIELDS_AT_ONCE && !(fine = put_fields(link, &words, why)))
			break;
	}
	if (fine && words.count > 2)
		fine = put_fields(link, &words, why);
	fine = fine && keep_facts(link, why);
	if (fine) {
		words.count = 0;
		word(&words, SLICE("SET"));
		word(&words, key_of(link, &recent, "recent:", link->instance));
		word(&words, buf_slice(&text));
		word(&words, SLICE("EX"));
		word(&words, SLICE("60"));
		fine = put_fields(link, &words, why);
	}
	link->number += fine;
	buf_fini(&facts);
	buf_fini(&recent);
	buf_fini(&text);
	return fine;
}

static bool publish(struct fleet_link *link, struct buf *why)
{
	pthread_mutex_lock(&link->mutex);
	json_t *batch = json_object_size(link->pending) ? link->pending : NULL;
	if (batch)
		link->pending = json_object();
	pthread_mutex_unlock(&link->mutex);
	if (!batch)
		return true;
	bool fine = send_batch(link, batch, why);
	if (!fine) {
		/* What came meanwhile is newer. */
		pthread_mutex_lock(&link->mutex);
		json_object_update(batch, link->pending);
		json_decref(link->pending);
		link->pending = json_incref(batch);
		pthread_mutex_unlock(&link->mutex);
	}
	json_decref(batch);
	return fine;
}

/* --- reading, for the holder ---------------------------------------------------------------------------- */

/* Under no mutex; false when there is no room: control is behind, and everything will be read again. */
static bool queue_report(struct fleet_link *link, const char *member, struct slice route, struct slice text)
{
	if (route.len == 0 || text.len > FLEET_REPORT_BYTES_MAX || memchr(route.ptr, '\t', route.len) ||
	    memchr(route.ptr, '\n', route.len) || memchr(text.ptr, '\n', text.len))
		return true; /* nothing of ours */
	pthread_mutex_lock(&link->mutex);
	bool room = link->queue.len < FLEET_QUEUE_BYTES_MAX;
	if (room)
		buf_printf(&link->queue, "%s\t%.*s\t%.*s\n", member, SLICE_ARG(route), SLICE_ARG(text));
	room = room && !link->queue.failed;
	pthread_mutex_unlock(&link->mutex);
	return room;
}

static bool read_all(struct fleet_link *link, struct fleet_peer *peer, struct buf *why)
{
	struct buf key = {0};
	struct words words = {0};
	word(&words, SLICE("HGETALL"));
	word(&words, key_of(link, &key, "facts:", peer->name));
	uint64_t number = peer->number;
	redisReply *reply = ask(link, &words, why);
	buf_fini(&key);
	if (!reply && link->refused) {
		/* Somebody put something else there: this member has said nothing. */
		peer->have = number;
		buf_reset(why);
		return true;
	}
	if (!reply)
		return false;
	bool room = true;
	for (size_t i = 0; room && i + 1 < reply->elements; i += 2)
		room = queue_report(link, peer->name, text_of(reply->element[i]),
				    text_of(reply->element[i + 1]));
	freeReplyObject(reply);
	if (room)
		peer->have = number;
	return true;
}

/* The last publication alone, when that is all that is missing. */
static bool read_recent(struct fleet_link *link, struct fleet_peer *peer, struct buf *why)
{
	struct buf key = {0};
	struct words words = {0};
	word(&words, SLICE("GET"));
	word(&words, key_of(link, &key, "recent:", peer->name));
	redisReply *reply = ask(link, &words, why);
	buf_fini(&key);
	if (!reply && link->refused)
		return read_all(link, peer, why);
	if (!reply)
		return false;
	struct slice rest = text_of(reply), line, route;
	bool room = true, next = slice_split(&rest, '\n', &line) && line.len < 24 &&
				 strtoull(line.ptr, NULL, 10) == peer->have + 1;
	while (next && room && slice_split(&rest, '\n', &line)) {
		if (line.len && slice_split(&line, ' ', &route))
			room = queue_report(link, peer->name, route, line);
	}
	if (next && room)
		peer->have++;
	freeReplyObject(reply);
	return next || read_all(link, peer, why);
}

static bool read_peers(struct fleet_link *link, struct buf *why)
{
	if (link->reads_all) {
		pthread_mutex_lock(&link->mutex);
		buf_reset(&link->queue);
		link->again = true;
		pthread_mutex_unlock(&link->mutex);
		for (size_t i = 0; i < link->peer_count; i++)
			link->peers[i].have = UINT64_MAX;
		link->reads_all = false;
	}
	bool fine = true;
	for (size_t i = 0; fine && i < link->peer_count; i++) {
		struct fleet_peer *peer = &link->peers[i];
		if (strcmp(peer->name, link->instance) == 0 || peer->have == peer->number)
			continue;
		fine = peer->have != UINT64_MAX && peer->number == peer->have + 1
			       ? read_recent(link, peer, why)
			       : read_all(link, peer, why);
		/* Much to read: the lease must not run out meanwhile. */
		if (fine && clock_now_ns() > link->beat_ns + link->lease_ms * NS_PER_MS / 3)
			fine = fleet_beat(link, why);
	}
	bool all = true;
	for (size_t i = 0; i < link->peer_count; i++)
		all = all &&
		      (link->peers[i].have != UINT64_MAX || strcmp(link->peers[i].name, link->instance) == 0);
	pthread_mutex_lock(&link->mutex);
	if (fine && all && link->leads)
		link->lease.fence = link->known_fence;
	else if (!fine)
		link->reads_all = true;
	pthread_mutex_unlock(&link->mutex);
	return fine;
}

/* Once a minute: what we have published is kept on, members that ended long ago go (their facts have gone).
 */
static bool prune(struct fleet_link *link, struct buf *why)
{
	uint64_t now_ns = clock_now_ns();
	if (now_ns < link->prune_ns)
		return true;
	link->prune_ns = now_ns + PRUNE_NS;
	if (!keep_facts(link, why))
		return false;
	for (size_t i = 0; link->leads && i < link->peer_count; i++) {
		const struct fleet_peer *peer = &link->peers[i];
		if (link->now_ms < peer->seen_ms + FLEET_KEEP_S * UINT64_C(1000))
			continue;
		struct buf key = {0};
		struct words words = {0};
		word(&words, SLICE("HDEL"));
		word(&words, key_of(link, &key, "members", ""));
		word(&words, slice_str(peer->name));
		bool fine = put_fields(link, &words, why);
		buf_fini(&key);
		if (!fine)
			return false;
	}
	return true;
}

bool fleet_turn(struct fleet_link *link, struct buf *why)
{
	return fleet_beat(link, why) && publish(link, why) && (!link->leads || read_peers(link, why)) &&
	       prune(link, why);
}

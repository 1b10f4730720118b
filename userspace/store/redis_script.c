/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_script: what has to be one step for Redis (redis.h). A script is sent by its digest (EVALSHA); a
 *server that does not know it, because it is new or was restarted, gets the text once (NOSCRIPT, then EVAL).
 *
 * What a key holds decides what a write does to it:
 *	hash with "version"   a record: its version is compared with the expected one
 *	hash with "deleted"   was deleted; its version says when; counts as none
 *	string, no version    written by hand: counts as version 0
 *	another type, nothing no record of anybody's: is written over, what the gateways know is the truth
 */
#include "store/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* KEYS: records. ARGV[1]: bytes that one may take. For each: its type, then the content. */
static const char read_text[] =
	"local out = {}\n"
	"for i, key in ipairs(KEYS) do\n"
	"  local kind = redis.call('TYPE', key).ok\n"
	"  if kind == 'none' then out[i] = {'none'}\n"
	"  elseif kind == 'hash' and redis.call('HLEN', key) > 128 then out[i] = {'fields'}\n"
	"  elseif kind ~= 'hash' and kind ~= 'string' then out[i] = {'type', kind}\n"
	"  elseif redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0') > tonumber(ARGV[1]) then\n"
	"    out[i] = {'large'}\n"
	"  elseif kind == 'hash' then out[i] = {'hash', redis.call('HGETALL', key)}\n"
	"  else out[i] = {'string', redis.call('GET', key)} end\n"
	"end\n"
	"return out\n";

/*
 * KEYS: counter, fence, records. ARGV: fence, deadline (ms of Redis' clock; 0: none), highest version known,
 * channel, bytes of the prefix, ms that a deletion is remembered; then for each record the expected version,
 * the number of fields (-1: delete) and the fields. A write that waited too long in a hung server is not
 * applied: whoever ordered it was told that it failed.
 */
static const char write_text[] =
	"local fence = tonumber(ARGV[1])\n"
	"local seen = tonumber(redis.call('GET', KEYS[2]) or '0') or 0\n"
	"if fence > 0 and fence < seen then return {'FENCE', tostring(seen)} end\n"
	"local clock = redis.call('TIME')\n"
	"local late = tonumber(ARGV[2])\n"
	"if late > 0 and clock[1] * 1000 + clock[2] / 1000 > late then return {'LATE'} end\n"
	"local at, stale = 7, {}\n"
	"for i = 3, #KEYS do\n"
	"  local kind = redis.call('TYPE', KEYS[i]).ok\n"
	"  local expected = tonumber(ARGV[at])\n"
	"  if kind == 'hash' then\n"
	"    local found = redis.call('HMGET', KEYS[i], 'version', 'deleted')\n"
	"    local version = tonumber(found[1] or '0') or 0\n"
	"    if version ~= expected and not (found[2] and expected == 0) then\n"
	"      stale[#stale + 1] = {tostring(i - 3), redis.call('HGETALL', KEYS[i])}\n"
	"    end\n"
	"  elseif kind == 'string' and expected ~= 0 then\n"
	"    stale[#stale + 1] = {tostring(i - 3), {'config', redis.call('GET', KEYS[i])}}\n"
	"  end\n"
	"  at = at + 2 + 2 * math.max(tonumber(ARGV[at + 1]), 0)\n"
	"end\n"
	"if #stale > 0 then return {'STALE', stale} end\n"
	"local known = tonumber(redis.call('GET', KEYS[1]) or '0') or 0\n"
	"local version = string.format('%.0f', math.max(known, tonumber(ARGV[3])) + 1)\n"
	"redis.call('SET', KEYS[1], version)\n"
	"if fence > seen then redis.call('SET', KEYS[2], ARGV[1]) end\n"
	"at = 7\n"
	"for i = 3, #KEYS do\n"
	"  local fields = tonumber(ARGV[at + 1])\n"
	"  redis.call('DEL', KEYS[i])\n"
	"  if fields < 0 then\n"
	"    redis.call('HSET', KEYS[i], 'deleted', '1', 'version', version)\n"
	"    redis.call('PEXPIRE', KEYS[i], ARGV[6])\n"
	"  else\n"
	"    redis.call('HSET', KEYS[i], 'version', version, unpack(ARGV, at + 2, at + 1 + 2 * fields))\n"
	"  end\n"
	"  redis.call('PUBLISH', ARGV[4], string.sub(KEYS[i], tonumber(ARGV[5]) + 1))\n"
	"  at = at + 2 + 2 * math.max(fields, 0)\n"
	"end\n"
	"return {'OK', version}\n";

/* KEYS: counter, records. ARGV: channel, bytes of the prefix; then for each record its version, the number of
 * fields and the fields. What is younger there stays. Returns how many were written back. */
static const char restore_text[] =
	"local at, count = 3, 0\n"
	"local highest = tonumber(redis.call('GET', KEYS[1]) or '0') or 0\n"
	"for i = 2, #KEYS do\n"
	"  local version, fields = tonumber(ARGV[at]), tonumber(ARGV[at + 1])\n"
	"  local kind = redis.call('TYPE', KEYS[i]).ok\n"
	"  local there = -1\n"
	"  if kind == 'hash' then there = tonumber(redis.call('HGET', KEYS[i], 'version') or '0') or 0 end\n"
	"  if there < version then\n"
	"    redis.call('DEL', KEYS[i])\n"
	"    redis.call('HSET', KEYS[i], 'version', ARGV[at], unpack(ARGV, at + 2, at + 1 + 2 * fields))\n"
	"    redis.call('PUBLISH', ARGV[1], string.sub(KEYS[i], tonumber(ARGV[2]) + 1))\n"
	"    count = count + 1\n"
	"  end\n"
	"  highest = math.max(highest, version)\n"
	"  at = at + 2 + 2 * fields\n"
	"end\n"
	"redis.call('SET', KEYS[1], string.format('%.0f', highest))\n"
	"return count\n";

/* KEYS: stream. ARGV: entries that it keeps, channel, records. */
static const char decide_text[] =
	"for i = 3, #ARGV do\n"
	"  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'record', ARGV[i])\n"
	"end\n"
	"redis.call('PUBLISH', ARGV[2], 'decisions')\n"
	"return #ARGV - 2\n";

/* KEYS: stream. ARGV: place in it, entries at most, bytes of one. Each with its id, and its fields unless
 * they are too large; a string when the stream does not go as far as the place. */
static const char decided_text[] =
	"if redis.call('EXISTS', KEYS[1]) == 0 then return {} end\n"
	"local found = redis.call('XREAD', 'COUNT', ARGV[2], 'STREAMS', KEYS[1], ARGV[1])\n"
	"if not found then\n"
	"  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1')\n"
	"  if #last > 0 and last[1][1] ~= ARGV[1] then return {'again'} end\n"
	"  return {}\n"
	"end\n"
	"local out = {}\n"
	"for i, entry in ipairs(found[1][2]) do\n"
	"  local bytes = 0\n"
	"  for _, word in ipairs(entry[2]) do bytes = bytes + #word end\n"
	"  if bytes > tonumber(ARGV[3]) or #entry[2] > 32 then out[i] = {entry[1]} else out[i] = entry end\n"
	"end\n"
	"return out\n";

static const char *const texts[] = {
	[REDIS_READ] = read_text,     [REDIS_WRITE] = write_text,     [REDIS_RESTORE] = restore_text,
	[REDIS_DECIDE] = decide_text, [REDIS_DECIDED] = decided_text,
};

/* Digests as the server told them; the same for all servers. Written once, under the lock. */
static char digests[REDIS_SCRIPT_COUNT][41];
static pthread_mutex_t digests_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- words -----------------------------------------------------------------------------------------------
 */

static void add(struct redis_words *words, const char *word, size_t len, char *owned)
{
	if (words->count == words->max) {
		int max = words->max ? 2 * words->max : 64;
		const char **list = realloc(words->words, (size_t)max * sizeof(*list));
		if (list)
			words->words = list;
		size_t *lens = realloc(words->lens, (size_t)max * sizeof(*lens));
		if (lens)
			words->lens = lens;
		char **all = realloc(words->owned, (size_t)max * sizeof(*all));
		if (all)
			words->owned = all;
		if (!list || !lens || !all) {
			words->failed = true;
			free(owned);
			return;
		}
		words->max = max;
	}
	words->words[words->count] = word;
	words->lens[words->count] = len;
	words->owned[words->count++] = owned;
}

void redis_words_add(struct redis_words *words, const char *text, size_t len)
{
	char *copy = malloc(len + 1);
	if (!copy) {
		words->failed = true;
		return;
	}
	memcpy(copy, text, len);
	add(words, copy, len, copy);
}

void redis_words_str(struct redis_words *words, const char *text)
{
	redis_words_add(words, text, strlen(text));
}

void redis_words_number(struct redis_words *words, uint64_t number)
{
	char text[24];
	redis_words_add(words, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, number));
}

void redis_words_fini(struct redis_words *words)
{
	for (int i = 0; i < words->count; i++)
		free(words->owned[i]);
	free(words->words);
	free(words->lens);
	free(words->owned);
	*words = (struct redis_words){0};
}

/* --- running ---------------------------------------------------------------------------------------------
 */

void redis_script_begin(struct redis_words *words, enum redis_script script, size_t keys)
{
	/* Which of the two commands it is, is decided when it runs. */
	add(words, "EVAL", 4, NULL);
	add(words, texts[script], strlen(texts[script]), NULL);
	redis_words_number(words, keys);
}

static bool digest_of(enum redis_script script, char out[41])
{
	pthread_mutex_lock(&digests_lock);
	memcpy(out, digests[script], 41);
	pthread_mutex_unlock(&digests_lock);
	return out[0] != '\0';
}

/* Asks the server to keep the script, and what its digest is. */
static int load(redisContext *link, enum redis_script script, uint64_t deadline_ns, char out[41])
{
	const char *words[] = {"SCRIPT", "LOAD", texts[script]};
	redisReply *reply = NULL;
	int err = redis_call(link, deadline_ns, 3, words, NULL, &reply);
	out[0] = '\0';
	if (!err && reply->type == REDIS_REPLY_STRING && reply->len == 40) {
		memcpy(out, reply->str, 41);
		pthread_mutex_lock(&digests_lock);
		memcpy(digests[script], out, 41);
		pthread_mutex_unlock(&digests_lock);
	}
	freeReplyObject(reply);
	return err;
}

int redis_script_run(redisContext *link, enum redis_script script, struct redis_words *words,
		     uint64_t deadline_ns, redisReply **out)
{
	char digest[41];
	int err = words->failed ? -ENOMEM : 0;
	if (!err && !digest_of(script, digest))
		err = load(link, script, deadline_ns, digest);
	if (err)
		return err;
	redisReply *reply = NULL;
	if (digest[0]) {
		words->words[0] = "EVALSHA";
		words->lens[0] = 7;
		words->words[1] = digest;
		words->lens[1] = 40;
		err = redis_call(link, deadline_ns, words->count, words->words, words->lens, &reply);
		words->words[0] = "EVAL";
		words->lens[0] = 4;
		words->words[1] = texts[script];
		words->lens[1] = strlen(texts[script]);
		if (err || reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "NOSCRIPT", 8) != 0) {
			*out = reply;
			return err;
		}
		freeReplyObject(reply);
	}
	return redis_call(link, deadline_ns, words->count, words->words, words->lens, out);
}

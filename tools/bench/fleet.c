/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet: gateways that are not there: each publishes what it has seen of its routes as a real one does
 * (userspace/store/fleet.c), once a second, so that one leader can be measured under the facts of a large
 *fleet.
 *
 *	fleet PORT PREFIX GATEWAYS ROUTES CHANGED SECONDS LEADER
 *
 * Each second each gateway publishes CHANGED of the ROUTES routes ("r0", "r1", …), in turn. All counters grow
 *by one, so that afterwards anybody can tell what the sum has to be. Step and build of each route are those
 *that LEADER (a member's name) published. Prints one line of JSON.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "control/tally.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT_ONCE 512

struct simulation {
	redisContext *redis;
	const char *prefix;
	unsigned gateways, routes, changed, seconds;
	struct tally_report *model; /* of each route: step and build */
	uint64_t *number;	    /* publications of each gateway */
	uint64_t *samples;	    /* of each gateway and route */
	unsigned *next;		    /* which route each gateway begins with */
	uint64_t commands, reports, bytes;
};

static void fail(const char *what)
{
	fprintf(stderr, "fleet: %s\n", what);
	exit(1);
}

static void append(struct simulation *s, int argc, const char **argv, const size_t *lens)
{
	if (redisAppendCommandArgv(s->redis, argc, argv, lens) != REDIS_OK)
		fail("out of memory");
	s->commands++;
	for (int i = 0; i < argc; i++)
		s->bytes += lens[i];
}

static void drain(struct simulation *s, unsigned count)
{
	for (; count; count--) {
		redisReply *reply = NULL;
		if (redisGetReply(s->redis, (void **)&reply) != REDIS_OK || reply->type == REDIS_REPLY_ERROR)
			fail(reply ? reply->str : s->redis->errstr);
		freeReplyObject(reply);
	}
}

/* One publication: HSET facts (in parts), SET recent, HSET members. */
static void publish(struct simulation *s, unsigned gateway)
{
	static struct buf texts[AT_ONCE];
	static char names[AT_ONCE][16];
	const char *argv[2 * AT_ONCE + 2];
	size_t lens[2 * AT_ONCE + 2];
	char facts[96], key[96], member[32], value[96];
	struct buf recent = {0};
	unsigned sent = 0, fields = 0;
	snprintf(member, sizeof(member), "simulated:%u", gateway);
	snprintf(facts, sizeof(facts), "%sfacts:%s", s->prefix, member);
	buf_printf(&recent, "%" PRIu64 "\n", ++s->number[gateway]);
	for (unsigned i = 0; i < s->changed; i++) {
		unsigned route = (s->next[gateway] + i) % s->routes;
		uint64_t n = ++s->samples[(size_t)gateway * s->routes + route];
		struct tally_report report = {
			.number = s->number[gateway],
			.step = s->model[route].step,
			.build = s->model[route].build,
			.counts = {.samples = n,
				   .build_samples = n,
				   .legacy_requests = n,
				   .shapes = 5,
				   .top_shape = n / 2},
		};
		snprintf(names[fields], sizeof(names[fields]), "r%u", route);
		buf_reset(&texts[fields]);
		tally_report_write(&report, &texts[fields]);
		buf_printf(&recent, "%s %s\n", names[fields], buf_cstr(&texts[fields]));
		if (++fields < AT_ONCE && i + 1 < s->changed)
			continue;
		argv[0] = "HSET", lens[0] = 4, argv[1] = facts, lens[1] = strlen(facts);
		for (unsigned f = 0; f < fields; f++) {
			argv[2 + 2 * f] = names[f], lens[2 + 2 * f] = strlen(names[f]);
			argv[3 + 2 * f] = texts[f].data, lens[3 + 2 * f] = texts[f].len;
		}
		append(s, (int)(2 + 2 * fields), argv, lens);
		sent++;
		s->reports += fields;
		fields = 0;
	}
	s->next[gateway] = (s->next[gateway] + s->changed) % s->routes;
	snprintf(key, sizeof(key), "%srecent:%s", s->prefix, member);
	argv[0] = "SET", lens[0] = 3, argv[1] = key, lens[1] = strlen(key), argv[2] = recent.data,
	lens[2] = recent.len;
	append(s, 3, argv, lens);
	snprintf(key, sizeof(key), "%smembers", s->prefix);
	snprintf(value, sizeof(value), "%" PRIu64 " %" PRIu64 " 0.1.0 simulated", clock_wall_ns() / NS_PER_MS,
		 s->number[gateway]);
	argv[0] = "HSET", lens[0] = 4, argv[1] = key, lens[1] = strlen(key);
	argv[2] = member, lens[2] = strlen(member), argv[3] = value, lens[3] = strlen(value);
	append(s, 4, argv, lens);
	drain(s, sent + 2);
	buf_fini(&recent);
}

static void read_model(struct simulation *s, const char *leader)
{
	redisReply *reply = redisCommand(s->redis, "HGETALL %sfacts:%s", s->prefix, leader);
	unsigned found = 0;
	if (!reply || reply->type != REDIS_REPLY_ARRAY)
		fail("the leader has published nothing");
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		unsigned route;
		const redisReply *text = reply->element[i + 1];
		if (sscanf(reply->element[i]->str, "r%u", &route) == 1 && route < s->routes)
			found += tally_report_read(slice_of(text->str, text->len), &s->model[route]) == 0;
	}
	freeReplyObject(reply);
	if (found != s->routes)
		fail("the leader has not published all routes");
}

int main(int argc, char **argv)
{
	if (argc != 8)
		fail("usage: fleet PORT PREFIX GATEWAYS ROUTES CHANGED SECONDS LEADER");
	struct simulation s = {
		.redis = redisConnect("127.0.0.1", atoi(argv[1])),
		.prefix = argv[2],
		.gateways = (unsigned)atoi(argv[3]),
		.routes = (unsigned)atoi(argv[4]),
		.changed = (unsigned)atoi(argv[5]),
		.seconds = (unsigned)atoi(argv[6]),
	};
	if (!s.redis || s.redis->err)
		fail(s.redis ? s.redis->errstr : "out of memory");
	s.number = calloc(s.gateways, sizeof(*s.number));
	s.next = calloc(s.gateways, sizeof(*s.next));
	s.samples = calloc((size_t)s.gateways * s.routes, sizeof(*s.samples));
	s.model = calloc(s.routes, sizeof(*s.model));
	if (!s.number || !s.next || !s.samples || !s.model || s.changed > s.routes)
		fail("these numbers are too large");
	read_model(&s, argv[7]);
	uint64_t begun_ns = clock_now_ns(), late = 0;
	for (unsigned second = 0; second < s.seconds; second++) {
		/* Spread over the second, as machines that know nothing of each other are. */
		for (unsigned gateway = 0; gateway < s.gateways; gateway++) {
			uint64_t due_ns = begun_ns + second * NS_PER_SEC + gateway * NS_PER_SEC / s.gateways;
			uint64_t now_ns = clock_now_ns();
			if (now_ns < due_ns)
				usleep((useconds_t)((due_ns - now_ns) / 1000));
			else
				late += now_ns > due_ns + NS_PER_SEC;
			publish(&s, gateway);
		}
	}
	printf("{\"seconds\": %.2f, \"seconds_whole\": %u, \"commands\": %" PRIu64 ", \"reports\": %" PRIu64
	       ", \"bytes\": %" PRIu64 ", \"late\": %" PRIu64 "}\n",
	       (double)(clock_now_ns() - begun_ns) / 1e9, s.seconds, s.commands, s.reports, s.bytes, late);
	redisFree(s.redis);
	return 0;
}

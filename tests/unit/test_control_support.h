/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_control_support: a control without gateway and ring, over a data path that the test plays: it says
 * what was served, hands over exchanges, and lets time pass.
 */
#ifndef PHOENIX_TESTS_CONTROL_SUPPORT_H
#define PHOENIX_TESTS_CONTROL_SUPPORT_H

#include "control/control.h"
#include "control/value.h"
#include "control/view.h"
#include "store/backend.h"
#include "unit.h"

#include <errno.h>
#include <unistd.h>

struct fake {
	struct control *control;
	struct gateway_route_stats stats[64]; /* by slot */
	struct moment now;
	struct exchange_budget budget;
	int publish_error;
	unsigned published;
	void (*release)(void *owner);
	void *owner; /* of the last publication */
};

static int fake_publish(void *context, const struct gateway_route *routes, size_t count,
			void (*release)(void *owner), void *owner, struct buf *why)
{
	struct fake *fake = context;
	if (fake->publish_error) {
		buf_append_str(why, "the test refuses");
		return fake->publish_error;
	}
	if (fake->release)
		fake->release(fake->owner);
	fake->release = release;
	fake->owner = owner;
	fake->published = (unsigned)count;
	return 0;
}

static void fake_route_stats(void *context, uint32_t slot, struct gateway_route_stats *out)
{
	struct fake *fake = context;
	*out = fake->stats[slot % 64];
}

static inline struct config *fake_config(const char *text)
{
	struct config *config = NULL;
	struct buf errors = {0};
	if (config_parse("test.json", slice_str(text), &config, &errors))
		fprintf(stderr, "%s\n", buf_cstr(&errors));
	buf_fini(&errors);
	return config;
}

/* Starts from a configuration text, or exits: nothing can be tested without. */
static inline void fake_start(struct fake *fake, const char *text)
{
	memset(fake, 0, sizeof(*fake));
	fake->budget.max_bytes = 64 << 20;
	struct control_options options = {.config = fake_config(text), .config_path = "test.json"};
	struct data_path path = {.context = fake, .publish = fake_publish, .route_stats = fake_route_stats};
	struct buf why = {0};
	if (!options.config || control_create_parts(&options, &path, &fake->control, &why)) {
		fprintf(stderr, "no control: %s\n", buf_cstr(&why));
		exit(1);
	}
	buf_fini(&why);
	fake->now = moment_now();
}

static inline void fake_stop(struct fake *fake)
{
	control_destroy(fake->control);
	if (fake->release)
		fake->release(fake->owner);
}

static inline struct route *fake_route(struct fake *fake, const char *id)
{
	return registry_find(&fake->control->registry, slice_str(id));
}

/* One sampled exchange of the route's present step: both sides answered with these bodies. */
static inline struct exchange *fake_exchange(struct fake *fake, const struct route *route, enum phx_side side,
					     const char *legacy, const char *modern)
{
	struct exchange *e = exchange_create(&fake->budget, 1 << 20);
	if (!e)
		exit(1);
	e->slot = route->slot;
	e->generation = route->generation;
	e->step = policy_step(&fake->control->policy, route->slot);
	e->side = side;
	e->outcome = EXCHANGE_COMPARABLE;
	e->method = PHX_METHOD_GET;
	e->wall_ns = fake->now.wall_ns;
	buf_append_str(&e->method_name, "GET");
	buf_append_str(&e->target, "/x?y=1");
	snprintf(e->request_id, sizeof(e->request_id), "request-1");
	struct exchange_message *l = exchange_response(e, PHX_LEGACY), *m = exchange_response(e, PHX_MODERN);
	l->status = m->status = 200;
	exchange_add_field(e, &e->request, SLICE("Authorization"), SLICE("Bearer very-secret"));
	exchange_add_field(e, l, SLICE("Content-Type"), SLICE("application/json"));
	exchange_add_field(e, m, SLICE("Content-Type"), SLICE("application/json"));
	exchange_add_body(e, l, slice_str(legacy));
	exchange_add_body(e, m, slice_str(modern));
	return e;
}

static inline void fake_submit(struct fake *fake, struct exchange *exchange)
{
	struct exchange_sink *sink = facts_sink(fake->control->facts);
	sink->submit(sink, exchange);
}

/* `good` equal and `bad` differing samples, counted before it returns. */
static inline void fake_samples(struct fake *fake, const struct route *route, unsigned good, unsigned bad)
{
	for (unsigned i = 0; i < good; i++) {
		fake_submit(fake, fake_exchange(fake, route, PHX_LEGACY, "{\"v\":1}", "{\"v\":1.0}"));
		if (i % 1000 == 999) /* never so many at once that the queue sheds some */
			facts_settle(fake->control->facts);
	}
	for (unsigned i = 0; i < bad; i++)
		fake_submit(fake, fake_exchange(fake, route, PHX_LEGACY, "{\"v\":1}", "{\"v\":2}"));
	facts_settle(fake->control->facts);
}

/* Requests of the present step, as the gateway would count them. */
static inline void fake_served(struct fake *fake, const struct route *route, uint64_t legacy, uint64_t modern)
{
	struct gateway_route_stats *stats = &fake->stats[route->slot];
	uint32_t step = policy_step(&fake->control->policy, route->slot);
	if (stats->step != step)
		stats->step_requests[0] = stats->step_requests[1] = 0;
	stats->step = step;
	stats->step_requests[PHX_LEGACY] += legacy;
	stats->step_requests[PHX_MODERN] += modern;
	stats->side[PHX_LEGACY].requests += legacy;
	stats->side[PHX_MODERN].requests += modern;
}

/* Time passes; the engine looks. */
static inline void fake_tick(struct fake *fake, uint64_t ms)
{
	fake->now.ns += ms * NS_PER_MS;
	fake->now.wall_ns += ms * NS_PER_MS;
	engine_tick(&fake->control->engine, fake->now);
}

/* A static copy: good until the fourth call after this one. */
static inline const char *fake_headline(struct fake *fake, const char *id)
{
	static char texts[4][512];
	static unsigned next;
	char *text = texts[next++ % 4];
	struct buf out = {0};
	engine_headline(&fake->control->engine, fake_route(fake, id), &out);
	snprintf(text, 512, "%s", buf_cstr(&out));
	buf_fini(&out);
	return text;
}

static inline const char *fake_state(struct fake *fake, const char *id)
{
	return migration_state_word(engine_state(&fake->control->engine, fake_route(fake, id)));
}

static inline int fake_verb(struct fake *fake, const char *id, enum verb verb)
{
	struct buf why = {0};
	int err = engine_verb(&fake->control->engine, fake_route(fake, id), verb, "uid 0", "a test",
			      fake->now, &why);
	buf_fini(&why);
	return err;
}

static inline int fake_weight(struct fake *fake, const char *id, uint32_t weight_bp)
{
	struct buf why = {0};
	int err = engine_set_weight(&fake->control->engine, fake_route(fake, id), weight_bp, "uid 0",
				    "a test", fake->now, &why);
	buf_fini(&why);
	return err;
}

/* Is there an event whose message has this text? */
static inline bool fake_event(struct fake *fake, const char *text)
{
	const struct journal *journal = &fake->control->events.journal;
	for (size_t i = 0; i < journal->count; i++) {
		if (strstr(json_get_str(journal_at(journal, i), "message"), text))
			return true;
	}
	return false;
}

/* The newest record of the ledger; NULL when there is none. */
static inline const json_t *fake_decision(struct fake *fake, const char *id)
{
	const struct journal *ledger = &fake_route(fake, id)->ledger;
	return ledger->count ? journal_at(ledger, ledger->count - 1) : NULL;
}

#define FAKE_URLS "\"legacy_url\":\"http://127.0.0.1:9001\",\"modern_url\":\"http://127.0.0.1:9002\""

#endif

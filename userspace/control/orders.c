/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders: what people tell a migration to do (engine.h: engine_verb, engine_set_weight).
 *
 * An order is checked against the table of states (machine.h), turned into the next migration, and applied
 * like a decision of the arbiter, with the evidence of the moment in the ledger.
 */
#include "control/engine.h"
#include "control/engine_internal.h"

#include <errno.h>

#define ORDER_TRIES 5 /* against other gateways */

/* "possible now: resume, rollback" */
static int refuse(const struct engine *engine, const struct route *route, const char *what, struct buf *why)
{
	struct buf headline = {0};
	engine_headline(engine, route, &headline);
	buf_printf(why, "%s is not possible while the route says \"%s\"; possible now:", what,
		   buf_cstr(&headline));
	const char *comma = " ";
	for (unsigned verb = 0; verb < VERB_COUNT; verb++) {
		if (engine_allows(engine, route, (enum verb)verb)) {
			buf_printf(why, "%s%s", comma, verb_word((enum verb)verb));
			comma = ", ";
		}
	}
	buf_fini(&headline);
	return -EPERM;
}

static void begin_again(struct migration *next, const struct route_config *config, struct moment now)
{
	next->latched = false;
	next->paused = false;
	next->rollback_verified = false;
	next->rollback_wall_ns = 0;
	next->started = config->arbiter.enabled;
	/* Something was mended: what the former code answered is no evidence about this one. */
	next->build_wall_ns = now.wall_ns;
	migration_next_step(next, now);
}

static void order_pause(struct migration *next, const char *who, const char *reason, struct moment now)
{
	next->paused = true;
	next->pause_of_arbiter = false;
	next->pause_wall_ns = now.wall_ns;
	text_copy(next->pause_by, WHO_SIZE, slice_str(who));
	text_copy(next->pause_reason, REASON_SIZE, slice_str(reason));
}

static void order_promote(struct migration *next, const struct route_config *config, struct moment now)
{
	uint32_t step_bp = config->arbiter.step_bp, left_bp = PHX_WEIGHT_ONE - next->weight_bp;
	migration_set_weight(next, next->weight_bp + (step_bp < left_bp ? step_bp : left_bp), now);
}

/* Fills in what the verb does. */
static void order_fill(struct move *move, const struct route_config *config, enum verb verb, const char *text,
		       struct moment now)
{
	struct migration *next = &move->next;
	move->event = "state";
	switch (verb) {
	case VERB_START:
		next->started = true;
		migration_next_step(next, now);
		break;
	case VERB_PAUSE:
		order_pause(next, move->by, move->reason, now);
		move->hook = "paused";
		break;
	case VERB_RESUME:
		next->paused = false;
		/* The arbiter paused on bad evidence: with the same evidence it would at once pause again. */
		if (next->pause_of_arbiter)
			migration_next_step(next, now);
		next->pause_of_arbiter = false;
		break;
	case VERB_PROMOTE:
		order_promote(next, config, now);
		move->event = "weight";
		break;
	case VERB_ROLLBACK:
		migration_latch(next, text, now);
		move->event = "rollback";
		move->level = EVENT_ALERT;
		move->hook = "rollback";
		break;
	case VERB_RETRY:
		begin_again(next, config, now);
		break;
	case VERB_COUNT:
		break;
	}
}

/* One try. */
static int give_order(struct engine *engine, struct route *route, enum verb verb, const char *who,
		      const char *reason, struct moment now, struct buf *why)
{
	if (!engine_allows(engine, route, verb)) {
		if (verb == VERB_START && machine_allows(engine_state(engine, route), verb))
			buf_append_str(why, "the arbiter is off for this route (arbiter.enabled); ");
		return refuse(engine, route, verb_word(verb), why);
	}
	struct buf text = {0};
	buf_printf(&text, "by %s%s%s", who, reason[0] ? ": " : "", reason);
	struct move move = {
		.action = verb_word(verb),
		.by = who,
		.reason = verb == VERB_ROLLBACK ? buf_cstr(&text) : reason,
		.next = route->migration,
		.level = EVENT_INFO,
		.order = ORDER_PERSON,
	};
	struct evidence evidence;
	engine_gather(engine, route, now, &evidence);
	bool again = verb == VERB_ROLLBACK && route->migration.latched;
	if (!again)
		order_fill(&move, route_config_of(route), verb, buf_cstr(&text), now);
	int err = again ? 0 : engine_apply(engine, route, &move, &evidence, now, why);
	if (!err && !again && verb == VERB_ROLLBACK)
		route->rollbacks_manual++;
	buf_fini(&text);
	return err;
}

int engine_verb(struct engine *engine, struct route *route, enum verb verb, const char *who,
		const char *reason, struct moment now, struct buf *why)
{
	int err = give_order(engine, route, verb, who, reason, now, why);
	/* Another gateway was faster. What the verb says still makes sense after whatever that was, as long
	 * as the state allows it; but one step more on top of another one is not what was ordered. */
	for (int i = 0; i < ORDER_TRIES && err == -ESTALE && verb != VERB_PROMOTE; i++) {
		buf_reset(why);
		err = give_order(engine, route, verb, who, reason, now, why);
	}
	/* Something was mended: what the former code answered is no evidence about this one. */
	if (!err && verb == VERB_RETRY)
		facts_new_build(engine->facts, route->slot);
	/* Who goes on after an alarm has seen it: the watch begins anew. */
	if (!err && verb == VERB_RESUME)
		facts_watch_reset(engine->facts, route->slot);
	if (!err)
		engine_activate(engine, route, now.ns);
	return err;
}

int engine_set_weight(struct engine *engine, struct route *route, uint32_t weight_bp, const char *who,
		      const char *reason, struct moment now, struct buf *why)
{
	if (route->migration.latched && weight_bp > 0)
		return refuse(engine, route, "a weight above 0", why);
	struct evidence evidence;
	engine_gather(engine, route, now, &evidence);
	struct move move = {
		.action = "manual",
		.by = who,
		.reason = reason,
		.next = route->migration,
		.level = EVENT_INFO,
		.event = "weight",
		.order = ORDER_PERSON,
	};
	const struct route_config *config = route_config_of(route);
	/* The same weight again is no new step: the evidence stays. */
	if (weight_bp != route->migration.weight_bp)
		migration_set_weight(&move.next, weight_bp, now);
	else
		move.next.epoch++;
	/* Under an arbiter a weight by hand begins the migration, where there can be evidence to go on with.
	 */
	if (config->arbiter.enabled && config->mirror.sample_bp && !move.next.latched)
		move.next.started = true;
	int err = engine_apply(engine, route, &move, &evidence, now, why);
	if (!err)
		engine_activate(engine, route, now.ns);
	return err;
}

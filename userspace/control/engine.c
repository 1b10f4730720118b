/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine: see engine.h.
 *
 * A look at a route is: gather, decide, act, remember. Routes that may have changed are linked in `active`;
 * a route leaves the list when only new evidence could change it, and the comparer's list of slots with new
 * evidence brings it back, so ten thousand quiet routes cost nothing.
 */
#include "control/engine.h"

#include "base/log.h"
#include "control/engine_internal.h"
#include "control/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define DIRTY_AT_ONCE	 256
#define TOP_POINTERS	 5
#define DECISION_ID_SIZE 128 /* a member's name and a number */

struct moment moment_now(void)
{
	return (struct moment){clock_now_ns(), clock_wall_ns()};
}

void engine_init(struct engine *engine)
{
	list_init(&engine->active);
}

/* --- act ------------------------------------------------------------------------------------------------ */

static void tell_hooks(struct engine *engine, const struct route *route, const struct move *move,
		       const char *headline, uint32_t old_bp, struct moment now)
{
	const struct string_list *hooks = &route_config_of(route)->arbiter.notify;
	if (!move->hook || hooks->count == 0 || !engine->notify)
		return;
	json_t *json = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "event", move->hook, "route",
				 route_config_of(route)->id, "headline", json_text(slice_str(headline)),
				 "reason", json_text(slice_str(move->reason)), "old", json_ratio(old_bp),
				 "new", json_ratio(route->migration.weight_bp), "at", json_time(now.wall_ns));
	char *text = json ? json_dumps(json, JSON_WIRE) : NULL;
	for (size_t i = 0; text && i < hooks->count; i++)
		notify_send(engine->notify, hooks->items[i], text);
	free(text);
	json_decref(json);
}

/* `top` is taken. */
static void write_ledger(struct engine *engine, struct route *route, const struct move *move,
			 const struct evidence *evidence, uint32_t old_bp, json_t *top, struct moment now)
{
	bool held = strcmp(move->action, "hold") == 0;
	char id[DECISION_ID_SIZE] = "";
	if (!held && engine->member && engine->member[0])
		snprintf(id, sizeof(id), "%s/%" PRIu64, engine->member, ++engine->decided);
	struct ledger_entry entry = {
		.id = id,
		.on = engine->instance,
		.action = move->action,
		.route = route_config_of(route)->id,
		.by = move->by,
		.reason = move->reason,
		.weight_old_bp = old_bp,
		.weight_new_bp = move->next.weight_bp,
		.epoch = move->next.epoch,
		.step = evidence->view.step,
		.wall_ns = now.wall_ns,
		.counts = &evidence->view.now,
		.policy = &evidence->policy,
		.facts = &evidence->facts,
		.decision = evidence->decided ? &evidence->decision : NULL,
		.top = top,
	};
	json_t *record = ledger_record(&entry);
	/* Holds repeat at every turn of the evidence: they are kept in memory only. */
	if (record && engine->store && !held) {
		struct buf why = {0};
		if (store_append(engine->store, "decisions", record, &why))
			log_warn("ledger", "%s", buf_cstr(&why));
		buf_fini(&why);
	}
	journal_add(&route->ledger, record);
}

static void say(struct engine *engine, struct route *route, const struct move *move, uint32_t old_bp,
		struct moment now)
{
	struct buf headline = {0}, message = {0};
	engine_headline(engine, route, &headline);
	if (move->level == EVENT_INFO && old_bp != move->next.weight_bp) {
		append_percent(&message, old_bp);
		buf_append_str(&message, " -> ");
		append_percent(&message, move->next.weight_bp);
		buf_append_str(&message, ": ");
	}
	buf_append_str(&message, buf_cstr(&headline));
	if (move->reason[0])
		buf_printf(&message, ": %s", move->reason);
	json_t *data =
		json_pack("{s:s, s:o, s:o, s:o, s:I, s:o, s:o, s:s}", "action", move->action, "by",
			  json_text(slice_str(move->by)), "weight_old", json_ratio(old_bp), "weight_new",
			  json_ratio(move->next.weight_bp), "epoch", (json_int_t)move->next.epoch, "headline",
			  json_text(buf_slice(&headline)), "reason", json_text(slice_str(move->reason)),
			  "state", migration_state_word(engine_state(engine, route)));
	events_emit(engine->events, move->level, move->event, route_config_of(route)->id, data, "%s",
		    buf_cstr(&message));
	tell_hooks(engine, route, move, buf_cstr(&headline), old_bp, now);
	buf_fini(&headline);
	buf_fini(&message);
}

void engine_begin_step(struct engine *engine, struct route *route, struct moment now)
{
	struct route_watch *watch = &route->watch;
	watch->step_since_ns = now.ns;
	watch->progress_ns = now.ns;
	watch->samples = 0;
	watch->holding = false;
	watch->recorded = false;
	watch->seen = false;
	watch->reason[0] = '\0';
	memset(watch->served, 0, sizeof(watch->served));
	watch->verify = route->migration.latched;
	watch->verify_warned = false;
	watch->verify_modern = 0;
	struct gateway_route_stats stats;
	engine->route_stats(engine->context, route->slot, &stats);
	watch->memory_before = stats.outcome[EXCHANGE_MEMORY];
	/* An in-flight request may end with the old weight: counted from now on. */
	if (watch->verify && stats.step == route->migration.step)
		watch->verify_modern = stats.step_requests[PHX_MODERN];
	uint32_t interval_ms = route_config_of(route)->arbiter.interval_ms;
	watch->verify_ns = now.ns + (interval_ms < 200 ? 200 : interval_ms) * NS_PER_MS;
	engine_activate(engine, route, now.ns + interval_ms * NS_PER_MS);
}

int engine_apply(struct engine *engine, struct route *route, const struct move *move,
		 const struct evidence *evidence, struct moment now, struct buf *why)
{
	uint32_t old_bp = route->migration.weight_bp, old_step = route->migration.step;
	struct migration next = move->next;
	next.changed_wall_ns = now.wall_ns;
	text_copy(next.changed_by, sizeof(next.changed_by), slice_str(move->by));
	text_copy(next.changed_reason, sizeof(next.changed_reason), slice_str(move->reason));
	/* Before the change: with the step its differences end. */
	json_t *top = facts_top(engine->facts, route->slot, TOP_POINTERS);
	bool unsaved;
	int err = traffic_change(&engine->traffic, route, &next, move->order, &unsaved, why);
	if (err) {
		json_decref(top);
		if (err == -ESTALE)
			engine_follow(engine, route, now);
		return err;
	}
	write_ledger(engine, route, move, evidence, old_bp, top, now);
	if (next.step != old_step)
		engine_begin_step(engine, route, now);
	say(engine, route, move, old_bp, now);
	if (unsaved)
		events_emit(engine->events, EVENT_ALERT, "alert", route_config_of(route)->id, NULL,
			    "acts, but is not stored and would be lost by a restart: %s",
			    engine->state->error);
	return 0;
}

void engine_activate(struct engine *engine, struct route *route, uint64_t due_ns)
{
	if (list_empty(&route->watch.active)) {
		list_push_back(&engine->active, &route->watch.active);
		route->watch.next_ns = due_ns;
	} else if (due_ns < route->watch.next_ns) {
		route->watch.next_ns = due_ns;
	}
}

void engine_adopt(struct engine *engine, struct route *route, struct moment now)
{
	const struct route_config *config = route_config_of(route);
	struct migration *m = &route->migration;
	if (!config->arbiter.enabled)
		m->started = false;
	else if (starts_by_itself(config) && !m->latched)
		m->started = true;
	engine_begin_step(engine, route, now);
	route->watch.verify = m->latched && !m->rollback_verified;
	route->revision++;
}

/* --- decide --------------------------------------------------------------------------------------------- */

static void execute_rollback(struct engine *engine, struct route *route, struct evidence *evidence,
			     const char *reason, struct moment now)
{
	struct move move = {
		.action = "rollback",
		/* Without Redis no lease can be asked for: caution needs none. */
		.order = engine->role == ENGINE_CUT ? ORDER_PERSON : ORDER_ARBITER,
		.by = "arbiter",
		.reason = reason,
		.next = route->migration,
		.level = EVENT_ALERT,
		.event = "rollback",
		.hook = "rollback",
	};
	if (route_config_of(route)->arbiter.on_failure == ON_FAILURE_PAUSE) {
		move.action = "pause";
		move.event = "alert";
		move.hook = "paused";
		move.next.paused = true;
		move.next.pause_of_arbiter = true;
		move.next.pause_wall_ns = now.wall_ns;
		text_copy(move.next.pause_by, WHO_SIZE, SLICE("arbiter"));
		text_copy(move.next.pause_reason, REASON_SIZE, slice_str(reason));
	} else {
		migration_latch(&move.next, reason, now);
		if (evidence->decision.reason == ARBITER_REASON_REGRESSION)
			route->rollbacks_regression++;
		else
			route->rollbacks_arbiter++;
	}
	struct buf why = {0};
	if (engine_apply(engine, route, &move, evidence, now, &why))
		log_error("engine", "%s: rollback: %s", route_config_of(route)->id, buf_cstr(&why));
	buf_fini(&why);
}

/* More weight, or complete. When it cannot be stored it does not happen: that is a reason to hold. */
static void execute_advance(struct engine *engine, struct route *route, struct evidence *evidence,
			    const char *reason, struct moment now)
{
	bool finish = evidence->decision.action == ARBITER_FINISH;
	struct move move = {
		.action = finish ? "complete" : "promote",
		.by = "arbiter",
		.reason = reason,
		.next = route->migration,
		.level = EVENT_INFO,
		.event = finish ? "state" : "weight",
		.hook = finish ? "complete" : NULL,
	};
	if (finish) {
		move.next.complete = true;
	} else {
		migration_set_weight(&move.next, evidence->decision.new_weight_bp, now);
		move.next.promoted = true;
	}
	struct buf why = {0};
	int err = engine_apply(engine, route, &move, evidence, now, &why);
	if (err == -ESTALE || err == -ENOLCK) {
		/* What another gateway or a person did counts; the evidence is looked at again. */
		log_info("engine", "%s: no promotion: %s", route_config_of(route)->id, buf_cstr(&why));
	} else if (!err) {
		if (finish)
			facts_watch_reset(engine->facts, route->slot);
	} else {
		struct buf text = {0};
		buf_printf(&text, "the state cannot be stored: %s", buf_cstr(&why));
		if (!route->watch.holding)
			events_emit(engine->events, EVENT_ALERT, "alert", route_config_of(route)->id, NULL,
				    "a promotion waits: %s", buf_cstr(&text));
		route->watch.holding = true;
		text_copy(route->watch.reason, REASON_SIZE, buf_slice(&text));
		buf_fini(&text);
	}
	buf_fini(&why);
}

static bool reason_is_stop(enum arbiter_reason reason)
{
	return reason == ARBITER_REASON_NOT_CONSISTENT_ENOUGH || reason == ARBITER_REASON_NOT_SET ||
	       reason == ARBITER_REASON_SPLIT_WRONG || reason == ARBITER_REASON_SYNTHETIC ||
	       reason == ARBITER_REASON_FEW_SHAPES || reason == ARBITER_REASON_SHAPE_SHARE;
}

static bool reason_is_silent(enum arbiter_reason reason)
{
	return reason == ARBITER_REASON_DISABLED || reason == ARBITER_REASON_NOT_STARTED ||
	       reason == ARBITER_REASON_PAUSED || reason == ARBITER_REASON_LATCHED ||
	       reason == ARBITER_REASON_WATCHING;
}

/* Remembers why nothing happened, and tells when that became another reason or another state. */
static void remember_hold(struct engine *engine, struct route *route, struct evidence *evidence,
			  const char *reason, struct moment now)
{
	struct route_watch *watch = &route->watch;
	const struct route_config *config = route_config_of(route);
	enum arbiter_reason kind = evidence->decision.reason;
	if (evidence->view.now.samples != watch->samples) {
		watch->samples = evidence->view.now.samples;
		watch->progress_ns = now.ns;
	}
	uint64_t stall_ms = 5 * (uint64_t)config->arbiter.interval_ms;
	if (stall_ms < ENGINE_STALL_MS)
		stall_ms = ENGINE_STALL_MS;
	bool stalled = now.ns - watch->progress_ns >= stall_ms * NS_PER_MS && route->migration.weight_bp > 0;
	bool holding = !reason_is_silent(kind) && (reason_is_stop(kind) || stalled);
	bool was = watch->holding;
	watch->holding = holding;
	struct buf text = {0};
	if (holding && !reason_is_stop(kind))
		buf_printf(&text, "%s: ", why_no_samples(config) ? why_no_samples(config) : "no new samples");
	buf_append_str(&text, reason);
	text_copy(watch->reason, REASON_SIZE, slice_str(buf_cstr(&text)));
	buf_fini(&text);
	if (reason_is_silent(kind))
		return;
	bool nothing_yet = evidence->view.now.samples == 0 && !holding;
	if (!nothing_yet && (!watch->recorded || watch->reason_kind != kind || holding != was)) {
		struct move move = {
			.action = "hold", .by = "arbiter", .reason = watch->reason, .next = route->migration};
		write_ledger(engine, route, &move, evidence, route->migration.weight_bp,
			     facts_top(engine->facts, route->slot, TOP_POINTERS), now);
		if (holding && !was) {
			move.level = EVENT_WARN;
			move.event = "state";
			struct buf headline = {0};
			engine_headline(engine, route, &headline);
			events_emit(engine->events, EVENT_WARN, "state", config->id,
				    json_pack("{s:s, s:o}", "state", "holding", "reason",
					      json_text(slice_str(watch->reason))),
				    "%s", buf_cstr(&headline));
			buf_fini(&headline);
		}
	}
	watch->recorded |= !nothing_yet;
	watch->reason_kind = kind;
}

static void verify_rollback(struct engine *engine, struct route *route, const struct evidence *evidence,
			    struct moment now)
{
	struct route_watch *watch = &route->watch;
	const char *id = route_config_of(route)->id;
	uint32_t set_bp = traffic_set_bp(&engine->traffic, route);
	bool current = evidence->stats.step == route->migration.step;
	uint64_t modern = current ? evidence->stats.step_requests[PHX_MODERN] : 0;
	uint32_t window_ms = route_config_of(route)->arbiter.interval_ms;
	window_ms = window_ms < 200 ? 200 : window_ms;
	if (set_bp == 0 && modern == watch->verify_modern) {
		watch->verify = false;
		struct migration next = route->migration;
		next.rollback_verified = true;
		bool unsaved;
		struct buf why = {0};
		if (traffic_change(&engine->traffic, route, &next, ORDER_PERSON, &unsaved, &why) == -ESTALE)
			engine_follow(engine, route, now);
		buf_fini(&why);
		events_emit(engine->events, EVENT_INFO, "rollback", id, json_pack("{s:b}", "verified", 1),
			    "rollback verified: weight 0%% read back, no request served by modern in %u ms",
			    window_ms);
		return;
	}
	if (!watch->verify_warned)
		events_emit(engine->events, EVENT_ALERT, "alert", id, NULL,
			    "rollback not verified: the data path has %u of 10000, modern served %" PRIu64
			    " requests in the last %u ms; looking again",
			    set_bp, modern - watch->verify_modern, window_ms);
	watch->verify_warned = true;
	watch->verify_modern = modern;
	watch->verify_ns = now.ns + window_ms * NS_PER_MS;
}

/* Nobody judges here, but "complete" is a fact: all was wanted, set and seen. */
static void finish_by_hand(struct engine *engine, struct route *route, struct evidence *evidence,
			   struct moment now)
{
	struct move move = {
		.action = "complete",
		.by = "arbiter",
		.reason = "100% was set by hand, and was seen",
		.next = route->migration,
		.level = EVENT_INFO,
		.event = "state",
		.hook = "complete",
	};
	move.next.complete = true;
	struct buf why = {0};
	if (engine_apply(engine, route, &move, evidence, now, &why))
		log_error("engine", "%s: %s", route_config_of(route)->id, buf_cstr(&why));
	buf_fini(&why);
}

static void look(struct engine *engine, struct route *route, struct moment now)
{
	struct evidence evidence;
	engine_gather(engine, route, now, &evidence);
	/* Its service is just being exchanged, or another gateway decides: nothing is decided about it here.
	 */
	if (engine->role == ENGINE_FOLLOWS) {
		route->watch.holding = false;
		text_copy(route->watch.reason, REASON_SIZE, SLICE("the gateway that leads decides"));
		return;
	}
	if (route->deploying)
		return;
	evidence.decision = arbiter_decide(&evidence.policy, &evidence.facts);
	evidence.decided = true;
	if (route->watch.verify && now.ns >= route->watch.verify_ns)
		verify_rollback(engine, route, &evidence, now);

	struct buf reason = {0};
	arbiter_explain(&evidence.policy, &evidence.facts, &evidence.decision, &reason);
	if (evidence.decision.reason == ARBITER_REASON_REGRESSION)
		buf_printf(&reason, " (%" PRIu64 " of %" PRIu64 " samples matched)",
			   evidence.facts.samples - evidence.facts.mismatches, evidence.facts.samples);
	bool more = evidence.decision.action == ARBITER_PROMOTE || evidence.decision.action == ARBITER_FINISH;
	if (engine->role == ENGINE_CUT && more) {
		route->watch.holding = true;
		text_copy(route->watch.reason, REASON_SIZE,
			  SLICE("Redis is not reachable: nothing is promoted"));
		buf_fini(&reason);
		return;
	}
	switch (evidence.decision.action) {
	case ARBITER_HOLD:
		remember_hold(engine, route, &evidence, buf_cstr(&reason), now);
		if (engine->role == ENGINE_DECIDES && !route->migration.started && !route->migration.paused &&
		    !route->migration.complete && route->migration.weight_bp == PHX_WEIGHT_ONE &&
		    (evidence.facts.flags & ARBITER_WEIGHT_SET) &&
		    (evidence.facts.flags & ARBITER_WEIGHT_SEEN))
			finish_by_hand(engine, route, &evidence, now);
		break;
	case ARBITER_ROLLBACK:
		execute_rollback(engine, route, &evidence, buf_cstr(&reason), now);
		break;
	case ARBITER_PROMOTE:
	case ARBITER_FINISH:
		execute_advance(engine, route, &evidence, buf_cstr(&reason), now);
		break;
	}
	buf_fini(&reason);
}

/* Can something change without new evidence? */
static bool wants_another_look(const struct route *route)
{
	const struct migration *m = &route->migration;
	if (route->watch.verify)
		return true;
	if (m->latched || m->paused || m->complete || m->weight_bp == 0)
		return false;
	return m->started || m->weight_bp == PHX_WEIGHT_ONE;
}

void engine_tick(struct engine *engine, struct moment now)
{
	uint32_t slots[DIRTY_AT_ONCE];
	size_t count;
	do {
		count = facts_take_dirty(engine->facts, slots, DIRTY_AT_ONCE);
		for (size_t i = 0; i < count; i++) {
			struct route *route = engine->registry->by_slot[slots[i]];
			if (!route)
				continue;
			route->watch.unpublished = true;
			engine_activate(engine, route, route->watch.next_ns);
		}
	} while (count == DIRTY_AT_ONCE);

	struct list *link = engine->active.next;
	while (link != &engine->active) {
		struct route *route = container_of(link, struct route, watch.active);
		link = link->next;
		if (now.ns < route->watch.next_ns)
			continue;
		list_remove(&route->watch.active);
		route->watch.next_ns = now.ns + route_config_of(route)->arbiter.interval_ms * NS_PER_MS;
		look(engine, route, now);
		/* A change of step may have linked it already, to be looked at later. */
		if (wants_another_look(route))
			engine_activate(engine, route, route->watch.next_ns);
	}
}

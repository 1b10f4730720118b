/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: see control.h: how the parts come up, turn, and go down.
 *
 * One tick drives everything slow: the engine, then a share of the slots for the sampler, so that every slot
 * is visited about once a second whatever their number, then once a second what people are told. Going down:
 * first nothing is compared any more (exchanges hold memory of the gateway), then the gateway drains, then
 * the rest.
 */
#include "control/control.h"

#include "base/log.h"
#include "control/datapath.h"
#include "control/killswitch.h"
#include "control/pipeline.h"
#include "control/sdnotify.h"
#include "control/series.h"
#include "control/value.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TICK_MS	       20
#define STOP_MARGIN_MS 10000 /* beyond limits.drain_ms */
#define HISTORY_MAX    2000  /* decisions read back at the start, of all routes */

static int parts_init(struct control *control, const struct control_options *options, struct buf *why)
{
	control->started = moment_now();
	control->loaded_wall_ns = control->started.wall_ns;
	control->reload_ok = true;
	control->config_path = strdup(options->config_path ? options->config_path : "");
	events_init(&control->events, control->started.wall_ns);
	journal_init(&control->audit, AUDIT_MAX);
	journal_init(&control->audit_denied.journal, AUDIT_DENIED_MAX);
	engine_init(&control->engine);
	char host[65] = "";
	gethostname(host, sizeof(host) - 1);
	snprintf(control->instance, sizeof(control->instance), "%s:%d", host, (int)getpid());
	if (!control->config_path)
		return -ENOMEM;
	if (getrandom(control->redact_key, sizeof(control->redact_key), 0) != sizeof(control->redact_key))
		return -EIO;
	int err = data_path_policy(control);
	if (!err)
		err = registry_init(&control->registry);
	if (!err && control->plane)
		err = registry_remember(&control->registry, dataplane_names(control->plane));
	if (!err)
		err = store_open(&control->config->state, control->instance, &control->store, why);
	if (!err)
		err = state_init(&control->state, control->store, control->instance,
				 control->config->state.kind == STORE_REDIS, &control->policy, why);
	if (!err)
		err = facts_create(&control->policy, &control->facts);
	if (!err)
		err = notify_create(&control->notify);
	if (err)
		return err;
	struct engine *engine = &control->engine;
	engine->registry = &control->registry;
	engine->traffic = (struct traffic){&control->policy, &control->state};
	engine->state = &control->state;
	engine->facts = control->facts;
	engine->events = &control->events;
	engine->notify = control->notify;
	engine->store = control->store;
	engine->trouble = control->share.trouble;
	control->share.redefined = json_object();
	engine->instance = control->instance;
	engine->member = control->fleet.member;
	engine->others = fleet_others;
	engine->others_context = control;
	return 0;
}

static void use_path(struct control *control)
{
	control->engine.route_stats = control->path.route_stats;
	control->engine.context = control->path.context;
}

/* What earlier processes wrote down: people ask for it after a restart as well. */
static void load_history(struct control *control)
{
	struct buf why = {0};
	json_t *records = NULL, *record;
	size_t i;
	if (store_read_tail(control->store, "audit", AUDIT_MAX, &records, NULL, &why) == 0) {
		json_array_foreach(records, i, record) control_audit_load(control, record);
		json_decref(records);
	}
	if (store_read_tail(control->store, "decisions", HISTORY_MAX, &records, NULL, &why) == 0) {
		json_array_foreach(records, i, record)
		{
			struct slice id = slice_str(json_get_str(record, "route"));
			struct route *route = registry_find(&control->registry, id);
			if (route)
				journal_add(&route->ledger, json_incref(record));
		}
		json_decref(records);
	}
	if (why.len)
		log_warn("control", "%s", buf_cstr(&why));
	buf_fini(&why);
}

static int load_routes(struct control *control, struct buf *why)
{
	struct route_report report;
	int err = routes_load(control, control->config, &report, why);
	if (err)
		return err;
	route_report_fini(&report);
	kill_switch_restore(control);
	evidence_restore(control);
	data_path_settle(control);
	load_history(control);
	return 0;
}

int control_create_parts(const struct control_options *options, const struct data_path *path,
			 struct control **out, struct buf *why)
{
	struct control *control = calloc(1, sizeof(*control));
	if (!control) {
		config_destroy(options->config);
		return -ENOMEM;
	}
	control->config = options->config;
	control->signal_fd = -1;
	handover_init(&control->handover);
	int err = parts_init(control, options, why);
	if (!err) {
		control->path = *path;
		use_path(control);
		err = load_routes(control, why);
	}
	if (err) {
		control_destroy(control);
		return err;
	}
	*out = control;
	return 0;
}

/* --- the ticking -----------------------------------------------------------------------------------------
 */

/* A side went down or came back since the last look: an event for each. */
static void tell_health(struct control *control, struct route *route)
{
	static const struct {
		uint32_t bit;
		const char *side;
	} sides[] = {{PHX_ROUTE_LEGACY_DOWN, "legacy"}, {PHX_ROUTE_MODERN_DOWN, "modern"}};
	const struct route_config *config = route_config_of(route);
	uint32_t down = __atomic_load_n(&control->policy.slots[route->slot].flags, __ATOMIC_RELAXED) &
			(PHX_ROUTE_LEGACY_DOWN | PHX_ROUTE_MODERN_DOWN);
	for (unsigned i = 0; i < 2; i++) {
		if (!((down ^ route->down_told) & sides[i].bit))
			continue;
		bool is_down = down & sides[i].bit;
		const char *url = i == PHX_MODERN ? config->modern.text : config->legacy.text;
		const char *then = !is_down		     ? ""
				   : i == PHX_LEGACY	     ? "; nothing stands in for it"
				   : config->health.failover ? "; legacy serves its requests"
							     : "; health.failover is off";
		events_emit(&control->events, is_down ? EVENT_ALERT : EVENT_INFO, "health", config->id,
			    json_pack("{s:s, s:b}", "side", sides[i].side, "down", is_down),
			    "%s: %s (%s) is %s%s", config->id, sides[i].side, url,
			    is_down ? "down" : "up again", then);
	}
	route->down_told = down;
}

/* One route's figures for charts; the memory for them is made when it first serves. */
static void sample_route(struct control *control, struct route *route, struct moment now)
{
	struct gateway_route_stats stats;
	control->path.route_stats(control->path.context, route->slot, &stats);
	if (!route->series) {
		if (stats.side[0].requests + stats.side[1].requests == 0)
			return;
		route->series = series_create(control->series_count < SERIES_ROUTES_MAX);
		if (!route->series)
			return;
		control->series_count++;
		/* The counters of the NIC path outlive a daemon: what they had at its start came at no rate.
		 */
		if (now.ns < control->started.ns + 2 * SERIES_INTERVAL_MS * NS_PER_MS) {
			series_begin(route->series, &stats, now.ns);
			return;
		}
	}
	struct facts_view view;
	facts_read(control->facts, route->slot, &view);
	series_add(route->series, &stats, now.ns, now.wall_ns, route->migration.weight_bp, view.now.samples,
		   view.now.mismatches);
}

/* As many slots as have become due since the last tick. */
static void sample(struct control *control, struct moment now)
{
	uint64_t round_ns = SERIES_INTERVAL_MS * NS_PER_MS;
	uint64_t passed_ns = now.ns - control->sample_ns;
	uint32_t until =
		passed_ns >= round_ns ? PHX_ROUTE_SLOTS : (uint32_t)(PHX_ROUTE_SLOTS * passed_ns / round_ns);
	for (; control->sample_slot < until; control->sample_slot++) {
		struct route *route = control->registry.by_slot[control->sample_slot];
		if (route)
			sample_route(control, route, now);
	}
	if (until == PHX_ROUTE_SLOTS) {
		control->sample_slot = 0;
		control->sample_ns = now.ns;
	}
}

void control_ready(const struct control *control)
{
	struct buf ready = {0};
	buf_append_str(&ready, "READY=1\nSTATUS=");
	control_headline(control, &ready);
	sdnotify(buf_cstr(&ready));
	buf_fini(&ready);
}

static void tell_manager(struct control *control)
{
	struct buf text = {0};
	buf_append_str(&text, "STATUS=");
	control_headline(control, &text);
	if (!control->status_told || strcmp(control->status_told, buf_cstr(&text)) != 0) {
		free(control->status_told);
		control->status_told = strdup(buf_cstr(&text));
		sdnotify(buf_cstr(&text));
	}
	buf_fini(&text);
}

/* The manager's watchdog: this thread turns, and so does every worker. Otherwise silence, which ends in a
 * restart. */
static void tell_alive(struct control *control, uint64_t now_ns)
{
	unsigned worker = 0;
	uint64_t interval_ns = sdnotify_interval_ns();
	if (!interval_ns || now_ns < control->alive_told_ns + interval_ns)
		return;
	uint64_t stalled_ns = control->gateway ? gateway_stalled_ns(control->gateway, now_ns, &worker) : 0;
	bool stalled = stalled_ns > sdnotify_patience_ns();
	if (stalled && !control->stall_told)
		log_error("control",
			  "worker %u has not turned for %.1f s (limit %.1f s): the watchdog gets no sign of "
			  "life, so "
			  "the service manager will restart this daemon",
			  worker, (double)stalled_ns / 1e9, (double)sdnotify_patience_ns() / 1e9);
	if (!stalled && control->stall_told)
		log_info("control", "all workers turn again");
	control->stall_told = stalled;
	if (stalled)
		return;
	control->alive_told_ns = now_ns;
	sdnotify("WATCHDOG=1");
}

static void every_second(struct control *control, struct moment now)
{
	if (control->gateway) {
		struct gateway_stats stats;
		data_path_stats(control, &stats);
		if (control->rate_ns)
			control->rps = (double)(stats.requests - control->rate_requests) * 1e9 /
				       (double)(now.ns - control->rate_ns);
		control->rate_requests = stats.requests;
	}
	control->rate_ns = now.ns;
	registry_each(&control->registry, route) tell_health(control, route);
	kill_switch_watch(control);
	share_tick(control);
	state_retry(&control->state);
	control_noise(control);
	evidence_tick(control, now.ns);
	log_flush();
	tell_manager(control);
}

/* --- signals ---------------------------------------------------------------------------------------------
 */

/* Looked at with every tick: a signal may wait 20 ms. */
static void take_signals(struct control *control)
{
	struct signalfd_siginfo info;
	while (read(control->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			json_t *report = NULL;
			struct buf why = {0};
			control_reload(control, "SIGHUP", &report, &why);
			json_decref(report);
			buf_fini(&why);
		} else if (info.ssi_signo == SIGUSR1) {
			log_info("control", "SIGUSR1: log files are opened anew");
			gateway_reopen_log(control->gateway);
		} else {
			log_info("control", "%s: draining, then stopping",
				 info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
			control->stopping = true;
		}
	}
}

static void on_tick(struct timer *timer)
{
	struct control *control = container_of(timer, struct control, tick);
	take_signals(control);
	struct moment now = moment_now();
	if (control->plane)
		dataplane_alive(control->plane, now.ns);
	handover_tick(control);
	share_take(control);
	fleet_tick(control, now);
	if (!handover_is_frozen(&control->handover))
		engine_tick(&control->engine, now);
	pipeline_tick(control->pipeline, now, handover_is_frozen(&control->handover));
	sample(control, now);
	if (now.ns >= control->rate_ns + NS_PER_SEC)
		every_second(control, now);
	tell_alive(control, now.ns);
	timer_set(&control->ring.timers, timer, now.ns + TICK_MS * NS_PER_MS);
}

static int signals_init(struct control *control)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	/* Before any thread is made: they all inherit the mask. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	control->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return control->signal_fd < 0 ? -errno : 0;
}

/* --- up and down -----------------------------------------------------------------------------------------
 */

/* For gateway_options.inherit. */
static int inherit(void *inheritance)
{
	return inheritance_claim(inheritance, HANDOVER_REQUESTS);
}

static int start(struct control *control, const struct control_options *options, struct buf *why)
{
	int err = signals_init(control);
	if (!err)
		err = data_path_open(control, why);
	if (!err)
		err = parts_init(control, options, why);
	if (err)
		return err;
	struct ring_options ring_options = {.entries = 256, .buffers_max = 256, .large_buffers_max = 0};
	err = ring_init(&control->ring, &ring_options);
	if (err) {
		buf_printf(why,
			   "io_uring: %s; Phoenix needs kernel 6.1 or newer with io_uring allowed "
			   "(sysctl kernel.io_uring_disabled)",
			   strerror(-err));
		return err;
	}
	control->ring_ready = true;
	struct gateway_options gateway_options = {
		.config = control->config,
		.policy = &control->policy,
		.sink = facts_sink(control->facts),
		.inherit = inherit,
		.inherit_context = options->inheritance,
	};
	err = gateway_start(&gateway_options, &control->gateway, why);
	if (err)
		return err;
	err = data_path_start(control, why);
	use_path(control);
	if (!err)
		err = load_routes(control, why);
	if (!err)
		err = pipeline_create(control, &control->pipeline, why);
	if (!err)
		err = fleet_join(control, why);
	return err ? err : handover_open(control, options->inheritance, why);
}

int control_create(const struct control_options *options, struct control **out, struct buf *why)
{
	struct slice rest = slice_str(options->warnings), line;
	while (slice_split(&rest, '\n', &line)) {
		if (line.len)
			log_warn("config", "%.*s", SLICE_ARG(line));
	}
	struct control *control = calloc(1, sizeof(*control));
	if (!control) {
		config_destroy(options->config);
		return -ENOMEM;
	}
	control->config = options->config;
	control->signal_fd = -1;
	handover_init(&control->handover);
	int err = start(control, options, why);
	if (err) {
		if (why->len == 0)
			buf_append_str(why, strerror(-err));
		control_destroy(control);
		return err;
	}
	timer_init(&control->tick, on_tick);
	*out = control;
	return 0;
}

/* What is under way is answered first: the manager's patience has to last as long as ours. */
static void tell_stopping(const struct control *control)
{
	char text[160];
	if (control->handover.state == HANDOVER_DONE)
		return; /* the manager's main process is the next daemon */
	snprintf(text, sizeof(text),
		 "STOPPING=1\nSTATUS=Stopping: requests under way are answered\nEXTEND_TIMEOUT_USEC=%" PRIu64,
		 (control->config->limits.drain_ms + STOP_MARGIN_MS) * UINT64_C(1000));
	sdnotify(text);
}

int control_loop(struct control *control)
{
	if (control->plane && dataplane_run(control->plane))
		log_error("dataplane", "no thread for the fast path's upkeep: samples are not read");
	control->evidence.active = true;
	timer_set(&control->ring.timers, &control->tick, clock_now_ns() + TICK_MS * NS_PER_MS);
	control_ready(control);
	share_start(control);
	events_emit(&control->events, EVENT_INFO, "config", NULL, NULL, "started: %zu routes from %s",
		    control->registry.count, control->config_path);
	int err = 0;
	while (!control->stopping && !err)
		err = ring_turn(&control->ring, NS_PER_SEC);
	timer_cancel(&control->ring.timers, &control->tick);
	tell_stopping(control);
	if (err)
		log_error("control", "io_uring: %s", strerror(-err));
	return err;
}

void control_stop(struct control *control)
{
	control->stopping = true;
}

void control_destroy(struct control *control)
{
	if (!control)
		return;
	control->stopping = true;
	pipeline_destroy(control->pipeline);
	fleet_leave(&control->fleet);
	facts_stop(control->facts);
	evidence_save(control);
	dataplane_stop(control->plane);
	const struct limits_config *limits = &control->config->limits;
	bool handed_over = control->handover.state == HANDOVER_DONE;
	handover_fini(&control->handover);
	if (control->gateway)
		gateway_stop(control->gateway, handed_over ? limits->upgrade_drain_ms : limits->drain_ms,
			     handed_over);
	if (control->signal_fd >= 0)
		close(control->signal_fd);
	notify_destroy(control->notify, 1000);
	facts_destroy(control->facts);
	state_retry(&control->state);
	if (control->ring_ready)
		share_stop(control);
	json_decref(control->share.redefined);
	if (control->ring_ready)
		ring_fini(&control->ring);
	registry_fini(&control->registry);
	state_fini(&control->state);
	store_close(control->store);
	policy_fini(&control->policy);
	data_path_close(control);
	events_fini(&control->events);
	journal_fini(&control->audit);
	journal_fini(&control->audit_denied.journal);
	config_destroy(control->config);
	free(control->config_path);
	free(control->reload_error);
	free(control->status_told);
	free(control);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fleet: see fleet.h. */
#include "control/fleet.h"

#include "base/log.h"
#include "control/control.h"
#include "control/exposition.h"
#include "control/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define PUBLISH_MS 200

static const struct {
	const char *word, *help;
} roles[] = {
#define X(name, word, help) {word, help},
	FLEET_ROLES(X)
#undef X
};

const char *fleet_role_word(enum fleet_role role)
{
	return roles[role].word;
}

/* --- up and down ---------------------------------------------------------------------------------------- */

/* "host:pid-RANDOM": a process that is started again is another member, also where every pid is 1. */
static int name_member(struct fleet *fleet)
{
	char host[48] = "";
	uint32_t random;
	gethostname(host, sizeof(host) - 1);
	for (char *c = host; *c; c++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
			*c = '-';
	}
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(fleet->member, sizeof(fleet->member), "%s:%d-%08" PRIx32, host, (int)getpid(), random);
	return 0;
}

static void set_role(struct control *control, enum fleet_role role)
{
	control->fleet.role = role;
	control->engine.role = role == FLEET_FOLLOWS ? ENGINE_FOLLOWS
			       : role == FLEET_CUT   ? ENGINE_CUT
						     : ENGINE_DECIDES;
}

int fleet_join(struct control *control, struct buf *why)
{
	struct fleet *fleet = &control->fleet;
	int err = name_member(fleet);
	if (err || control->config->state.kind != STORE_REDIS)
		return err;
	set_role(control, FLEET_FOLLOWS);
	fleet->joined_ns = clock_now_ns();
	fleet->losses = UINT64_MAX; /* nothing was said yet */
	err = tally_create(&fleet->tally);
	if (err)
		return err;
	char about[200];
	const char *listen = control->gateway ? gateway_listen_text(control->gateway, 0) : NULL;
	snprintf(about, sizeof(about), "%s %s", PHOENIX_VERSION, listen ? listen : "-");
	struct fleet_link_options options = {control->store, control->config->state.lease_ms, fleet->member,
					     about};
	return fleet_link_open(&options, &fleet->link, why);
}

void fleet_leave(struct fleet *fleet)
{
	fleet_link_close(fleet->link);
	fleet->link = NULL;
	tally_destroy(fleet->tally);
	fleet->tally = NULL;
}

/* --- who decides ---------------------------------------------------------------------------------------- */

static enum fleet_role role_of(const struct fleet *fleet, uint64_t lease_ms, uint64_t now_ns)
{
	const struct fleet_lease *lease = &fleet->lease;
	if (lease->fence && now_ns < lease->until_ns)
		return FLEET_LEADS;
	/* One answer that is missing is no partition: the time of a lease is given to it. */
	uint64_t since_ns = lease->answered_ns ? lease->answered_ns : fleet->joined_ns;
	bool lately = now_ns < since_ns + lease_ms * NS_PER_MS;
	return lease->reachable || lately ? FLEET_FOLLOWS : FLEET_CUT;
}

static void begin_to_lead(struct control *control, struct moment now)
{
	/* Whatever was under way is looked at: the former leader may have died before it acted. */
	registry_each(&control->registry, route) engine_activate(&control->engine, route, now.ns);
}

static void change_role(struct control *control, enum fleet_role role, struct moment now)
{
	struct fleet *fleet = &control->fleet;
	enum fleet_role old = fleet->role;
	set_role(control, role);
	registry_each(&control->registry, route) route->revision++;
	if (role == FLEET_LEADS) {
		events_emit(&control->events, EVENT_INFO, "fleet", NULL,
			    json_pack("{s:s, s:s, s:I}", "role", fleet_role_word(role), "leader",
				      fleet->member, "fence", (json_int_t)fleet->lease.fence),
			    "this gateway leads now (fence %" PRIu64 "): its arbiter decides for the fleet",
			    fleet->lease.fence);
		begin_to_lead(control, now);
	} else if (role == FLEET_CUT) {
		events_emit(&control->events, EVENT_ALERT, "fleet", NULL,
			    json_pack("{s:s}", "role", fleet_role_word(role)),
			    "cut off: Redis does not answer (%s): weights stay, nothing is promoted, a "
			    "rollback is decided "
			    "here alone",
			    fleet->lease.error);
		begin_to_lead(control, now);
	} else if (old == FLEET_LEADS) {
		events_emit(&control->events, EVENT_WARN, "fleet", NULL,
			    json_pack("{s:s}", "role", fleet_role_word(role)),
			    "this gateway does not lead any more");
	}
}

/* Who leads changed, as followers see it. */
static void tell_leader(struct control *control)
{
	struct fleet *fleet = &control->fleet;
	const char *leader = fleet->lease.leader;
	if (!fleet->lease.known || !leader[0] || strcmp(leader, fleet->leader_told) == 0)
		return;
	if (strcmp(leader, fleet->member) != 0)
		events_emit(&control->events, EVENT_INFO, "fleet", NULL,
			    json_pack("{s:s, s:s, s:s}", "role", fleet_role_word(fleet->role), "leader",
				      leader, "before", fleet->leader_told),
			    "gateway %s leads now%s%s", leader,
			    fleet->leader_told[0] ? ", before it was " : "", fleet->leader_told);
	memcpy(fleet->leader_told, leader, sizeof(fleet->leader_told));
}

/* --- what is seen --------------------------------------------------------------------------------------- */

/* The same on every gateway that judges the same code by the same rules; a build that comes later has another
 * one. */
static uint64_t build_of(const struct route *route)
{
	uint64_t hash = 0xcbf29ce484222325ULL ^ route->migration.build_wall_ns;
	for (const char *c = route->definition->print; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3ULL;
	return hash;
}

static void read_counts(struct control *control, const struct route *route, struct tally_counts *out)
{
	struct facts_view view;
	struct gateway_route_stats stats;
	facts_read(control->facts, route->slot, &view);
	control->path.route_stats(control->path.context, route->slot, &stats);
	tally_from_view(out, &view, view.step == route->migration.step);
	if (stats.step == route->migration.step) {
		out->legacy_requests = stats.step_requests[PHX_LEGACY];
		out->modern_requests = stats.step_requests[PHX_MODERN];
	}
}

static void publish_route(struct control *control, struct route *route)
{
	struct fleet *fleet = &control->fleet;
	struct tally_report report = {.step = route->migration.step, .build = build_of(route)};
	read_counts(control, route, &report.counts);
	/* Said already? The number is left out of this. */
	uint64_t sum = report.step ^ report.build;
	const uint64_t *numbers = (const uint64_t *)&report.counts;
	for (size_t i = 0; i < sizeof(report.counts) / sizeof(*numbers); i++)
		sum = (sum ^ numbers[i]) * 0x100000001b3ULL;
	route->watch.unpublished = false;
	if (sum == route->watch.published)
		return;
	report.number = ++fleet->number;
	struct buf text = {0};
	tally_report_write(&report, &text);
	if (!text.failed &&
	    fleet_link_publish(fleet->link, slice_str(route_config_of(route)->id), buf_slice(&text)) == 0)
		route->watch.published = sum;
	buf_fini(&text);
}

static void publish(struct control *control, struct moment now)
{
	struct fleet *fleet = &control->fleet;
	if (now.ns < fleet->publish_ns)
		return;
	fleet->publish_ns = now.ns + PUBLISH_MS * NS_PER_MS;
	bool all = fleet->losses != fleet->lease.losses;
	fleet->losses = fleet->lease.losses;
	registry_each(&control->registry, route)
	{
		const struct migration *m = &route->migration;
		if (all)
			route->watch.published = 0;
		/* Requests without samples are evidence as well, about the split, above 0 %. */
		if (all || route->watch.unpublished || (m->weight_bp && !m->latched))
			publish_route(control, route);
	}
}

static void on_report(void *context, struct slice member, struct slice route, struct slice text)
{
	struct control *control = context;
	struct tally_report report;
	if (tally_report_read(text, &report) || !registry_find(&control->registry, route))
		return;
	int news = tally_take(control->fleet.tally, member, route, &report);
	if (news < 0)
		log_debug("fleet", "a report of %.*s is not taken: %s", SLICE_ARG(member), strerror(-news));
	if (news > 0) {
		control->fleet.reports++;
		struct route *of = registry_find(&control->registry, route);
		engine_activate(&control->engine, of, of->watch.next_ns);
	}
}

static void take_in(struct control *control)
{
	struct fleet *fleet = &control->fleet;
	if (fleet_link_again(fleet->link))
		tally_clear(fleet->tally);
	fleet_link_take(fleet->link, on_report, control);
}

void fleet_tick(struct control *control, struct moment now)
{
	struct fleet *fleet = &control->fleet;
	if (!fleet->link)
		return;
	fleet_link_want(fleet->link, !handover_is_frozen(&control->handover));
	fleet_link_lease(fleet->link, &fleet->lease);
	take_in(control);
	enum fleet_role role = role_of(fleet, control->config->state.lease_ms, now.ns);
	if (fleet->lease.fence)
		control->state.fence = fleet->lease.fence;
	if (role != fleet->role)
		change_role(control, role, now);
	tell_leader(control);
	publish(control, now);
}

void fleet_others(void *context, const struct route *route, struct tally_counts *out)
{
	struct control *control = context;
	struct fleet *fleet = &control->fleet;
	memset(out, 0, sizeof(*out));
	if (fleet->role == FLEET_LEADS)
		tally_sum(fleet->tally, slice_str(route_config_of(route)->id), fleet->member,
			  route->migration.step, build_of(route), out, NULL);
}

/* --- how it is shown ------------------------------------------------------------------------------------ */

json_t *fleet_json(struct control *control)
{
	struct fleet *fleet = &control->fleet;
	const struct fleet_lease *lease = &fleet->lease;
	if (!fleet->link)
		return json_pack("{s:s, s:s, s:[]}", "role", fleet_role_word(fleet->role), "member",
				 fleet->member, "members");
	uint64_t now_ns = clock_now_ns();
	uint64_t since_ms = lease->answered_ns ? (now_ns - lease->answered_ns) / NS_PER_MS : 0;
	json_t *members = fleet_link_members(fleet->link), *member;
	size_t i;
	uint32_t lease_ms = control->config->state.lease_ms;
	json_array_foreach(members, i, member)
	{
		const char *id = json_get_str(member, "id");
		json_object_set_new(member, "leads", json_boolean(strcmp(id, lease->leader) == 0));
		json_object_set_new(member, "self", json_boolean(strcmp(id, fleet->member) == 0));
		json_object_set_new(member, "alive",
				    json_boolean(json_get_u64(member, "age_ms") < 2 * lease_ms));
	}
	return json_pack(
		"{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:b, s:o, s:o, s:I, s:I, s:o}", "role",
		fleet_role_word(fleet->role), "about", roles[fleet->role].help, "member", fleet->member,
		"leader", json_text_or_null(lease->leader), "fence", (json_int_t)lease->fence, "lease_ms",
		(json_int_t)lease_ms, "lease_left_ms",
		(json_int_t)(lease->left_ms > since_ms ? lease->left_ms - since_ms : 0), "redis_up",
		lease->reachable, "redis_error", json_text_or_null(lease->error), "redis_answered_ms",
		lease->answered_ns ? json_integer((json_int_t)since_ms) : json_null(), "takeovers",
		(json_int_t)lease->takeovers, "reports", (json_int_t)fleet->reports, "members", members);
}

void fleet_metrics(struct control *control, struct exposition *e)
{
	struct fleet *fleet = &control->fleet;
	for (unsigned role = 0; role < FLEET_ROLE_COUNT; role++) {
		char label[40];
		snprintf(label, sizeof(label), "role=\"%s\"", roles[role].word);
		expose(e, METRIC_FLEET_ROLE, "", label, fleet->role == (enum fleet_role)role);
	}
	if (!fleet->link)
		return;
	json_t *members = fleet_link_members(fleet->link), *member;
	size_t i;
	uint64_t alive = 0;
	json_array_foreach(members, i, member) alive +=
		json_get_u64(member, "age_ms") < 2 * control->config->state.lease_ms;
	json_decref(members);
	expose(e, METRIC_FLEET_MEMBERS, "", "", alive);
	expose(e, METRIC_FLEET_TAKEOVERS, "", "", fleet->lease.takeovers);
	expose(e, METRIC_FLEET_REPORTS, "", "", fleet->reports);
	expose(e, METRIC_FLEET_COMMANDS, "", "", fleet_link_commands(fleet->link));
}

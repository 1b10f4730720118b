/* SPDX-License-Identifier: Apache-2.0 */
/* inspect: see inspect.h. */
#include "dataplane/inspect.h"

#include "base/clock.h"
#include "dataplane/netlink.h"
#include "dataplane/packet.h"
#include "dataplane/sweep.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define POLL_MS	   20
#define CLOSING_MS 500 /* for the answers to our FINs */

static int open_maps(const char *pin_dir, struct plane_maps *maps, struct buf *why)
{
	int err = plane_maps_open(pin_dir, maps);
	if (err == -ENOENT)
		buf_printf(why, "no fast path is loaded in %s", pin_dir);
	else if (err == -EPERM || err == -EACCES)
		buf_printf(why, "%s: not permitted: reading BPF maps needs root", pin_dir);
	else if (err)
		buf_printf(why, "%s: %s", pin_dir, strerror(-err));
	if (!err && maps->config->abi != PHX_ABI) {
		buf_printf(why, "%s is of ABI %u, this program is of ABI %u: use the version that loaded it",
			   pin_dir, maps->config->abi, PHX_ABI);
		plane_maps_close(maps);
		err = -EPROTO;
	}
	return err == -EACCES ? -EPERM : err;
}

static const char *mode_word(uint32_t mode)
{
	static const char *const words[] = {"off", "run", "drain"};
	return mode < 3 ? words[mode] : "unknown";
}

static const char *dead_then_word(uint32_t then)
{
	static const char *const words[] = {
		[PHX_DEAD_CONTINUE] = "continue", [PHX_DEAD_FREEZE] = "freeze", [PHX_DEAD_LEGACY] = "legacy"};
	return then < sizeof(words) / sizeof(words[0]) ? words[then] : "unknown";
}

/* Flows with a client, and of these the ones with a request under way. */
static uint32_t count_flows(const struct plane_maps *maps, uint32_t *active, uint32_t *open)
{
	uint32_t used = 0;
	*active = *open = 0;
	for (uint32_t i = 0; i < maps->config->port_count; i++) {
		const struct phx_flow *flow = &maps->flows[i];
		if (flow->state == PHX_FLOW_FREE)
			continue;
		used++;
		*open += flow->state == PHX_FLOW_OPEN;
		*active += flow->state == PHX_FLOW_OPEN && (flow->flags & PHX_FLOW_ACTIVE);
	}
	return used;
}

static json_t *config_json(const struct plane_maps *maps)
{
	const struct phx_config *config = maps->config;
	uint64_t now_ns = clock_now_ns();
	uint32_t active, open, used = count_flows(maps, &active, &open);
	uint64_t age_ns = now_ns > config->heartbeat_ns ? now_ns - config->heartbeat_ns : 0;
	json_t *dead_man =
		json_pack("{s:I, s:s, s:b}", "after_ms", (json_int_t)(config->dead_after_ns / NS_PER_MS),
			  "then", dead_then_word(config->dead_then), "acts",
			  config->dead_after_ns && age_ns > config->dead_after_ns);
	return json_pack("{s:o, s:b, s:i, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:I}", "dead_man", dead_man,
			 "kill_switch", maps->kill->to_legacy != 0, "abi", (int)config->abi, "state",
			 mode_word(config->mode), "table", (int)config->table, "boot", (int)config->boot,
			 "port_first", (int)config->port_first, "port_count", (int)config->port_count,
			 "flows", (int)used, "flows_active", (int)active, "heartbeat_age_ms",
			 (json_int_t)(age_ns / NS_PER_MS));
}

static json_t *interfaces_json(const struct plane_maps *maps)
{
	json_t *list = json_array();
	struct phx_interface what;
	uint32_t ifindex, before;
	for (int err = plane_interface_next(maps, NULL, &ifindex, &what); !err;
	     before = ifindex, err = plane_interface_next(maps, &before, &ifindex, &what)) {
		struct dataplane_interface interface = {.ifindex = ifindex};
		snprintf(interface.name, sizeof(interface.name), "%.15s", what.name);
		plane_interface_ask(maps, &interface);
		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:b, s:i, s:s}", "name",
						      interface.name, "ifindex", (int)ifindex, "mode",
						      dataplane_mode_word(interface.mode), "dispatcher",
						      interface.dispatcher, "mtu", (int)interface.mtu,
						      "error", interface.error));
	}
	return list;
}

int inspect_status(const char *pin_dir, json_t **out, struct buf *why)
{
	struct plane_maps maps;
	int err = open_maps(pin_dir, &maps, why);
	if (err)
		return err;
	*out = config_json(&maps);
	json_object_set_new(*out, "pin_dir", json_string(pin_dir));
	json_object_set_new(*out, "interfaces", interfaces_json(&maps));
	plane_maps_close(&maps);
	return 0;
}

/* --- the kill switch ------------------------------------------------------------------------------------ */

int inspect_kill_switch(const char *pin_dir, const bool *set, bool *out, struct buf *why)
{
	char path[256];
	struct phx_kill value = {.to_legacy = set && *set};
	__u32 zero = 0;
	snprintf(path, sizeof(path), "%s/%s", pin_dir, plane_map_names[PLANE_MAP_kill]);
	int fd = bpf_obj_get(path), err = fd < 0 ? -errno : 0;
	if (!err && set && bpf_map_update_elem(fd, &zero, &value, BPF_ANY))
		err = -errno;
	if (!err && bpf_map_lookup_elem(fd, &zero, &value))
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err == -ENOENT)
		buf_printf(why, "no fast path is loaded in %s", pin_dir);
	else if (err)
		buf_printf(why, "%s: %s", path, strerror(-err));
	if (!err)
		*out = value.to_legacy != 0;
	return err == -EACCES ? -EPERM : err;
}

/* --- maps ----------------------------------------------------------------------------------------------- */

static void append_if(json_t *list, bool yes, const char *word)
{
	if (yes)
		json_array_append_new(list, json_string(word));
}

static json_t *route_json(const struct plane_maps *maps, uint32_t slot)
{
	static const char *const by[] = {"request", "client_ip", "header", "cookie"};
	const struct phx_policy *policy = &maps->policy[slot];
	const struct phx_name *name = &maps->names[slot];
	const struct phx_route_stats *stats = &maps->route_stats[slot];
	char id[sizeof(name->id) + 1];
	snprintf(id, sizeof(id), "%.*s", (int)sizeof(name->id), name->id);
	json_t *flags = json_array();
	append_if(flags, policy->flags & PHX_ROUTE_ACTIVE, "ACTIVE");
	append_if(flags, policy->flags & PHX_ROUTE_MIRROR_UNSAFE, "MIRROR_UNSAFE");
	append_if(flags, policy->flags & PHX_ROUTE_LEGACY_DOWN, "LEGACY_DOWN");
	append_if(flags, policy->flags & PHX_ROUTE_MODERN_DOWN, "MODERN_DOWN");
	return json_pack("{s:i, s:s, s:i, s:i, s:i, s:s, s:o, s:i, s:i, s:I, s:I, s:I}", "slot", (int)slot,
			 "id", id, "generation", (int)name->generation, "weight_bp", (int)policy->weight_bp,
			 "sample_bp", (int)policy->sample_bp, "split_by",
			 policy->split_by < 4u ? by[policy->split_by] : "unknown", "flags", flags, "step",
			 (int)policy->step, "epoch", (int)policy->epoch, "legacy_requests",
			 (json_int_t)stats->side[PHX_LEGACY].requests, "modern_requests",
			 (json_int_t)stats->side[PHX_MODERN].requests, "sampled", (json_int_t)stats->sampled);
}

static void addr_text(const struct phx_addr *addr, char *out, size_t size)
{
	if (phx_addr_is_v4(addr))
		inet_ntop(AF_INET, &addr->word[3], out, (socklen_t)size);
	else
		inet_ntop(AF_INET6, addr, out, (socklen_t)size);
}

static json_t *upstream_json(const struct phx_upstream *upstream, uint32_t index)
{
	char addr[INET6_ADDRSTRLEN], source[INET6_ADDRSTRLEN];
	addr_text(&upstream->addr, addr, sizeof(addr));
	addr_text(&upstream->source, source, sizeof(source));
	json_t *flags = json_array();
	append_if(flags, upstream->flags & PHX_UPSTREAM_KNOWN, "KNOWN");
	append_if(flags, upstream->flags & PHX_UPSTREAM_UNFIT, "UNFIT");
	return json_pack("{s:i, s:s, s:i, s:s, s:o, s:i, s:i}", "index", (int)index, "address", addr, "port",
			 (int)upstream->port, "source", source, "flags", flags, "generation",
			 (int)upstream->generation, "mss", (int)upstream->mss);
}

static json_t *counts_json(const struct phx_counters *counters, unsigned count, const char *(*word)(unsigned),
			   uint64_t (*read)(const struct phx_counters *, unsigned))
{
	json_t *json = json_object();
	for (unsigned i = 0; i < count; i++)
		json_object_set_new(json, word(i), json_integer((json_int_t)read(counters, i)));
	return json;
}

int inspect_maps(const char *pin_dir, json_t **out, struct buf *why)
{
	struct plane_maps maps;
	struct phx_counters counters;
	int err = open_maps(pin_dir, &maps, why);
	if (err)
		return err;
	json_t *routes = json_array(), *upstreams = json_array();
	for (uint32_t slot = 0; slot < PHX_ROUTE_SLOTS; slot++) {
		if (maps.names[slot].id[0])
			json_array_append_new(routes, route_json(&maps, slot));
	}
	for (uint32_t i = 0; i < PHX_UPSTREAMS; i++) {
		if (maps.upstreams[i].name)
			json_array_append_new(upstreams, upstream_json(&maps.upstreams[i], i));
	}
	plane_counters(&maps, &counters);
	*out = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "config", config_json(&maps), "routes", routes,
		"upstreams", upstreams, "verdicts",
		counts_json(&counters, PHX_VERDICT_COUNT, dataplane_verdict_word, dataplane_verdict_count),
		"reasons",
		counts_json(&counters, PHX_REASON_COUNT, dataplane_reason_word, dataplane_reason_count),
		"ring_dropped", (json_int_t)counters.ring_dropped, "flows_opened",
		(json_int_t)counters.flows_opened, "flows_closed", (json_int_t)counters.flows_closed);
	plane_maps_close(&maps);
	return *out ? 0 : -ENOMEM;
}

/* --- detach --------------------------------------------------------------------------------------------- */

struct talk {
	void (*say)(void *context, const char *line);
	void *context;
};

static void say(const struct talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct talk *talk, const char *format, ...)
{
	char line[256];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	talk->say(talk->context, line);
}

/* Until no request is under way on the fast path and its connections have gone to the daemon. */
static void drain(const struct plane_maps *maps, uint32_t drain_ms, const struct talk *talk)
{
	uint32_t active, open;
	uint64_t until_ns = clock_now_ns() + drain_ms * NS_PER_MS, quiet_ns = 0;
	__atomic_store_n((uint32_t *)&maps->config->mode, PHX_MODE_DRAIN, __ATOMIC_RELEASE);
	for (;;) {
		count_flows(maps, &active, &open);
		uint64_t now_ns = clock_now_ns();
		/* Idle clients may stay idle: they get a FIN. Busy ones leave by themselves within a moment.
		 */
		quiet_ns = active ? 0 : quiet_ns ? quiet_ns : now_ns;
		if (!open || (quiet_ns && now_ns - quiet_ns > CLOSING_MS * NS_PER_MS) || now_ns > until_ns)
			break;
		usleep(POLL_MS * 1000);
	}
	say(talk, "drained: %u connections left, %u of them with a request under way", open, active);
}

/* A FIN to every client that is idle, and a little time for its answer. */
static void close_idle(const struct plane_maps *maps)
{
	struct sweep sweep = {
		.maps = maps,
		.limits = {UINT64_MAX, UINT64_MAX, true},
		.packets = packet_open(),
	};
	sweep_run(&sweep, maps->config->port_count, clock_now_ns());
	for (unsigned waited = 0; sweep.closed && waited < CLOSING_MS; waited += POLL_MS) {
		uint32_t active, open;
		if (count_flows(maps, &active, &open) == 0)
			break;
		usleep(POLL_MS * 1000);
	}
	if (sweep.packets >= 0)
		close(sweep.packets);
}

static int detach_all(const char *pin_dir, const struct plane_maps *maps, const struct talk *talk,
		      struct buf *why)
{
	struct {
		uint32_t ifindex;
		struct phx_interface what;
	} found[PLANE_INTERFACES_MAX];
	size_t count = 0;
	uint32_t before = 0;
	int err = 0;
	while (count < PLANE_INTERFACES_MAX &&
	       plane_interface_next(maps, count ? &before : NULL, &found[count].ifindex,
				    &found[count].what) == 0)
		before = found[count++].ifindex;
	for (size_t i = 0; i < count; i++) {
		int failed = plane_detach_interface(pin_dir, maps, found[i].ifindex, &found[i].what, why);
		if (!failed)
			say(talk, "%s: detached; the device has no program of Phoenix", found[i].what.name);
		err = err ? err : failed;
	}
	return err;
}

int inspect_detach(const char *pin_dir, uint32_t drain_ms, void (*say_line)(void *context, const char *line),
		   void *context, struct buf *why)
{
	struct plane_maps maps;
	struct talk talk = {say_line, context};
	int err = open_maps(pin_dir, &maps, why);
	if (err)
		return err;
	drain(&maps, drain_ms, &talk);
	close_idle(&maps);
	err = detach_all(pin_dir, &maps, &talk, why);
	if (!err) {
		__atomic_store_n((uint32_t *)&maps.config->mode, PHX_MODE_OFF, __ATOMIC_RELEASE);
		plane_remove_pins(pin_dir);
		if (access(pin_dir, F_OK) == 0)
			say(&talk, "%s stays: it holds pins of others", pin_dir);
	}
	plane_maps_close(&maps);
	return err;
}

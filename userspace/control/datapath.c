/* SPDX-License-Identifier: Apache-2.0 */
/* datapath: see datapath.h. */
#include "control/datapath.h"

#include "base/log.h"
#include "control/value.h"

#include <stdlib.h>
#include <unistd.h>

/* --- up and down ---------------------------------------------------------------------------------------- */

int data_path_open(struct control *control, struct buf *why)
{
	const struct config *config = control->config;
	char pin[300];
	if (config->xdp.mode == XDP_MODE_OFF || config->xdp.interfaces.count == 0) {
		snprintf(pin, sizeof(pin), "%s/phx_config", config->xdp.pin_dir);
		if (access(pin, F_OK) == 0)
			log_warn("dataplane",
				 "a fast path is loaded in %s, and this configuration has none; \"phoenixctl "
				 "xdp "
				 "detach\" removes it",
				 config->xdp.pin_dir);
		return 0;
	}
	int err = dataplane_open(config, &control->plane, why);
	/* Ports that overlap are a mistake in the configuration, whatever the mode. */
	if (!err || err == -EINVAL || config->xdp.mode != XDP_MODE_AUTO)
		return err;
	log_error("dataplane", "%s; xdp.mode is \"auto\": the daemon serves alone", buf_cstr(why));
	buf_reset(why);
	return 0;
}

int data_path_policy(struct control *control)
{
	if (!control->plane)
		return policy_init_memory(&control->policy);
	dataplane_policy(control->plane, &control->policy);
	/* Who is down is to be found out anew: nobody would say of an upstream that it is up again. */
	for (uint32_t slot = 0; slot < PHX_ROUTE_SLOTS; slot++)
		__atomic_fetch_and(&control->policy.slots[slot].flags,
				   ~(uint32_t)(PHX_ROUTE_LEGACY_DOWN | PHX_ROUTE_MODERN_DOWN),
				   __ATOMIC_RELAXED);
	return 0;
}

static int publish(void *context, const struct gateway_route *routes, size_t count,
		   void (*release)(void *owner), void *owner, struct buf *why)
{
	struct control *control = context;
	struct dataplane_route *fast = NULL;
	if (control->plane) {
		fast = calloc(count + 1, sizeof(*fast));
		if (!fast)
			return -ENOMEM;
		for (size_t i = 0; i < count; i++)
			fast[i] = (struct dataplane_route){routes[i].config, routes[i].slot,
							   routes[i].generation};
	}
	/* The gateway first: it takes over whatever the fast path does not want. */
	int err = gateway_publish(control->gateway, routes, count, release, owner, why);
	if (!err && control->plane)
		dataplane_publish(control->plane, fast, count);
	free(fast);
	return err;
}

static void add_counters(uint64_t *to, const void *from, size_t n)
{
	const uint64_t *counters = from;
	for (size_t i = 0; i < n; i++)
		to[i] += __atomic_load_n(&counters[i], __ATOMIC_RELAXED);
}

_Static_assert(PHX_LATENCY_BUCKETS == GATEWAY_LATENCY_BUCKETS, "both paths count latencies alike");

static void add_side(struct gateway_route_stats *out, enum phx_side side, const struct phx_side_stats *from)
{
	struct gateway_side_stats *to = &out->side[side];
	add_counters(&to->requests, &from->requests, 1);
	add_counters(&to->synthetic, &from->synthetic, 1);
	add_counters(to->status, from->status, 6);
	add_counters(to->synthetic_status, from->synthetic_status, 6);
	add_counters(&to->latency_ns_sum, &from->latency_ns_sum, 1);
	add_counters(to->latency, from->latency, GATEWAY_LATENCY_BUCKETS);
	add_counters(&to->request_bytes, &from->request_bytes, 1);
	add_counters(&to->response_bytes, &from->response_bytes, 1);
	add_counters(&out->errors[GATEWAY_ERROR_UPSTREAM_CUT], &from->cut, 1);
	add_counters(&out->errors[GATEWAY_ERROR_UPSTREAM_INVALID], &from->invalid, 1);
}

static void add_fast(struct control *control, uint32_t slot, struct gateway_route_stats *out)
{
	if (!control->plane)
		return;
	const struct phx_route_stats *fast = dataplane_route_stats(control->plane, slot);
	for (unsigned side = 0; side < 2; side++)
		add_side(out, (enum phx_side)side, &fast->side[side]);
	add_counters(&out->sampled, &fast->sampled, 1);
	/* Nobody was served since the step began: these are the last step's. */
	if (__atomic_load_n(&fast->step, __ATOMIC_ACQUIRE) == out->step)
		add_counters(out->step_requests, fast->step_requests, 2);
}

static void route_stats(void *context, uint32_t slot, struct gateway_route_stats *out)
{
	struct control *control = context;
	gateway_route_stats(control->gateway, slot, out);
	add_fast(control, slot, out);
}

static void route_reset(void *context, uint32_t slot)
{
	struct control *control = context;
	if (control->plane)
		dataplane_route_reset(control->plane, slot);
}

static void captured(void *context, struct exchange *exchange)
{
	struct control *control = context;
	gateway_captured(control->gateway, exchange);
}

int data_path_start(struct control *control, struct buf *why)
{
	control->path = (struct data_path){control, publish, route_stats, route_reset};
	if (!control->plane)
		return 0;
	const char *listen[64];
	struct dataplane_start start = {
		.policy = &control->policy,
		.listen = listen,
		.budget = gateway_budget(control->gateway),
		.captured = captured,
		.context = control,
	};
	while (start.listen_count < 64 &&
	       (listen[start.listen_count] = gateway_listen_text(control->gateway, start.listen_count)))
		start.listen_count++;
	return dataplane_start(control->plane, &start, why);
}

void data_path_settle(struct control *control)
{
	if (!control->plane)
		return;
	struct phx_name *names = dataplane_names(control->plane);
	for (uint32_t slot = 0; slot < PHX_ROUTE_SLOTS; slot++) {
		if (!names[slot].id[0] || control->registry.by_slot[slot])
			continue;
		traffic_unmount(&control->engine.traffic, slot);
		memset(names[slot].id, 0, sizeof(names[slot].id));
	}
}

void data_path_close(struct control *control)
{
	dataplane_close(control->plane);
	control->plane = NULL;
}

/* --- numbers -------------------------------------------------------------------------------------------- */

void data_path_fast_stats(struct control *control, uint32_t slot, struct gateway_route_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->step = policy_step(&control->policy, slot);
	add_fast(control, slot, out);
}

void data_path_split_stats(struct control *control, uint32_t slot, struct gateway_route_stats *daemon,
			   struct gateway_route_stats *fast)
{
	data_path_fast_stats(control, slot, fast);
	if (control->gateway)
		gateway_route_stats(control->gateway, slot, daemon);
	else
		control->path.route_stats(control->path.context, slot, daemon);
}

void data_path_stats(struct control *control, struct gateway_stats *out)
{
	memset(out, 0, sizeof(*out));
	if (control->gateway)
		gateway_stats(control->gateway, out);
	if (!control->plane)
		return;
	registry_each(&control->registry, route)
	{
		const struct phx_route_stats *fast = dataplane_route_stats(control->plane, route->slot);
		for (unsigned side = 0; side < 2; side++)
			add_counters(&out->requests, &fast->side[side].requests, 1);
	}
}

static bool is_attached(const struct dataplane_info *info)
{
	for (size_t i = 0; i < info->interface_count; i++) {
		if (info->interfaces[i].mode != DATAPLANE_OFF)
			return true;
	}
	return false;
}

const char *data_path_word(struct control *control)
{
	return control->plane && dataplane_serves(control->plane) ? "xdp" : "daemon";
}

static json_t *interface_json(const struct dataplane_interface *interface)
{
	return json_pack("{s:s, s:i, s:s, s:b, s:b, s:i, s:o}", "name", interface->name, "ifindex",
			 (int)interface->ifindex, "mode", dataplane_mode_word(interface->mode), "dispatcher",
			 interface->dispatcher, "adopted", interface->adopted, "mtu", (int)interface->mtu,
			 "error", json_text_or_null(interface->error));
}

static json_t *counts_json(const struct phx_counters *counters, unsigned count, const char *(*word)(unsigned),
			   uint64_t (*read)(const struct phx_counters *, unsigned))
{
	json_t *json = json_object();
	for (unsigned i = 0; json && i < count; i++)
		json_object_set_new(json, word(i), json_integer((json_int_t)read(counters, i)));
	return json;
}

/* The mode that the interfaces have; the words of the configuration when they differ. */
static const char *mode_of(const struct control *control, const struct dataplane_info *info)
{
	static const char *const words[] = {"auto", "native", "generic", "off"};
	if (!is_attached(info))
		return "off";
	for (size_t i = 1; i < info->interface_count; i++) {
		if (info->interfaces[i].mode != info->interfaces[0].mode)
			return words[control->config->xdp.mode];
	}
	return dataplane_mode_word(info->interfaces[0].mode);
}

json_t *data_path_json(struct control *control)
{
	static const char *const modes[] = {"off", "run", "drain"};
	struct dataplane_info info;
	struct phx_counters counters;
	if (!control->plane)
		return json_pack("{s:s, s:[]}", "mode", "off", "interfaces");

	dataplane_info(control->plane, &info);
	dataplane_counters(control->plane, &counters);
	json_t *interfaces = json_array();
	for (size_t i = 0; i < info.interface_count; i++)
		json_array_append_new(interfaces, interface_json(&info.interfaces[i]));
	json_t *verdicts =
		counts_json(&counters, PHX_VERDICT_COUNT, dataplane_verdict_word, dataplane_verdict_count);
	json_t *reasons =
		counts_json(&counters, PHX_REASON_COUNT, dataplane_reason_word, dataplane_reason_count);
	json_t *flows = json_pack("{s:i, s:I, s:I, s:i}", "in_use", (int)info.flows, "opened",
				  (json_int_t)counters.flows_opened, "closed",
				  (json_int_t)counters.flows_closed, "max", (int)info.port_count);
	json_t *upstreams =
		json_pack("{s:i, s:i}", "named", (int)info.upstreams, "known", (int)info.upstreams_known);
	json_t *samples =
		json_pack("{s:I, s:I}", "whole", (json_int_t)info.captured, "lost", (json_int_t)info.lost);
	json_t *swept = json_pack("{s:I, s:I, s:I}", "idle_closed", (json_int_t)info.closed, "stuck_aborted",
				  (json_int_t)info.aborted, "ports_freed", (json_int_t)info.freed);
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:i, s:i, s:b, s:o, s:o, s:o, s:o, s:I, s:I}",
			 "mode", mode_of(control, &info), "interfaces", interfaces, "samples", samples,
			 "swept", swept, "state", (unsigned)info.mode < 3 ? modes[info.mode] : "unknown",
			 "pin_dir", info.pin_dir, "table", (int)info.table, "boot", (int)info.boot, "adopted",
			 info.adopted, "flows", flows, "upstreams", upstreams, "verdicts", verdicts,
			 "reasons", reasons, "ring_dropped", (json_int_t)counters.ring_dropped,
			 "forced_legacy", (json_int_t)counters.forced_legacy);
}

static json_t *by_path(const struct gateway_route_stats *daemon, const struct gateway_route_stats *fast,
		       enum phx_side side)
{
	return json_pack("{s:I, s:I}", "xdp", (json_int_t)fast->side[side].requests, "daemon",
			 (json_int_t)daemon->side[side].requests);
}

json_t *data_path_routes_json(struct control *control)
{
	json_t *list = json_array();
	registry_each(&control->registry, route)
	{
		struct gateway_route_stats daemon, fast;
		data_path_split_stats(control, route->slot, &daemon, &fast);
		json_array_append_new(list, json_pack("{s:s, s:i, s:o, s:o}", "id",
						      route_config_of(route)->id, "slot", (int)route->slot,
						      "legacy", by_path(&daemon, &fast, PHX_LEGACY), "modern",
						      by_path(&daemon, &fast, PHX_MODERN)));
	}
	return list;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dataplane: how the parts come up and go away again (dataplane.h), and the thread that keeps the programs
 * supplied with what time changes: the sign of life, the cookie keys, flows that ended silently, samples.
 */
#include "dataplane/plane.h"

#include "base/clock.h"
#include "base/log.h"
#include "config_value.h"
#include "dataplane/packet.h"
#include "dataplane/sweep.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define POLL_US	   4000	 /* between two looks at the ring, while records come */
#define IDLE_US	   20000 /* while none do: the ring holds many times what comes meanwhile */
#define TICK_NS	   (250 * NS_PER_MS)
#define SWEEP_PART 4 /* of the flows each tick: all of them once a second */

/* --- settings ------------------------------------------------------------------------------------------- */

static void settings_fini(struct plane_settings *settings)
{
	for (size_t i = 0; settings->names && i < settings->name_count; i++)
		free(settings->names[i]);
	free(settings->names);
	free(settings->pin_dir);
	memset(settings, 0, sizeof(*settings));
}

static const enum phx_dead_man dead_then[] = {
	[DEAD_MAN_CONTINUE] = PHX_DEAD_CONTINUE,
	[DEAD_MAN_FREEZE] = PHX_DEAD_FREEZE,
	[DEAD_MAN_LEGACY] = PHX_DEAD_LEGACY,
};

static int settings_init(struct plane_settings *settings, const struct config *config)
{
	size_t count = config->xdp.interfaces.count;
	count = count < PLANE_INTERFACES_MAX ? count : PLANE_INTERFACES_MAX;
	*settings = (struct plane_settings){
		.pin_dir = strdup(config->xdp.pin_dir),
		.mode = config->xdp.mode,
		.attach = config->xdp.attach,
		.idle_ns = config->limits.idle_timeout_ms * NS_PER_MS,
		.upstream_ns = config->limits.upstream_timeout_ms * NS_PER_MS,
		.body_max_bytes = config->limits.body_bytes,
		.head_bytes = config->limits.head_bytes,
		.fields_max = config->limits.fields,
		.dead_after_ns = config->xdp.dead_man.after_ms * NS_PER_MS,
		.dead_then = dead_then[config->xdp.dead_man.then],
		.names = calloc(count + 1, sizeof(char *)),
	};
	bool failed =
		!settings->pin_dir || !settings->names ||
		port_range_parse(slice_str(config->xdp.ports), &settings->port_first, &settings->port_last);
	for (; !failed && settings->name_count < count; settings->name_count++) {
		settings->names[settings->name_count] =
			strdup(config->xdp.interfaces.items[settings->name_count]);
		failed = !settings->names[settings->name_count];
	}
	if (!failed)
		return 0;
	settings_fini(settings);
	return -ENOMEM;
}

/* The kernel must not give the same ports to connections of its own. */
static int check_ports(const struct plane_settings *settings, const struct config *config, struct buf *why)
{
	static const char path[] = "/proc/sys/net/ipv4/ip_local_port_range";
	unsigned low = 0, high = 0;
	FILE *file = fopen(path, "re");
	bool read = file && fscanf(file, "%u %u", &low, &high) == 2;
	if (file)
		fclose(file);
	if (read && settings->port_first <= high && low <= settings->port_last) {
		buf_printf(
			why,
			"xdp.ports %u-%u overlaps net.ipv4.ip_local_port_range (%u-%u), from which the "
			"kernel takes "
			"ports for its own connections; choose another range in xdp.ports, or set the sysctl",
			settings->port_first, settings->port_last, low, high);
		return -EINVAL;
	}
	for (size_t i = 0; i < config->listen_count; i++) {
		uint16_t port = config->listen[i].port;
		if (port >= settings->port_first && port <= settings->port_last) {
			buf_printf(why,
				   "xdp.ports %u-%u contains the port of listen %s; choose another range",
				   settings->port_first, settings->port_last, config->listen[i].text);
			return -EINVAL;
		}
	}
	return 0;
}

/* --- opening -------------------------------------------------------------------------------------------- */

/* The table in force stays; what a daemon that died on the way wrote of the next one goes. */
static void find_table(struct dataplane *plane)
{
	struct phx_shape_table *shapes = malloc(sizeof(*shapes));
	plane->table = plane->maps.config->table;
	for (__u32 i = 0; shapes && !plane->maps.config->table && i < 2; i++) {
		if (bpf_map_lookup_elem(plane->maps.fd[PLANE_MAP_shapes], &i, shapes) == 0 &&
		    shapes->table > plane->table)
			plane->table = shapes->table;
	}
	free(shapes);
	plane_table_prune(plane);
}

static void dataplane_free(struct dataplane *plane)
{
	capture_destroy(plane->capture);
	if (plane->owner_fd >= 0)
		close(plane->owner_fd);
	if (plane->sweep && plane->sweep->packets >= 0)
		close(plane->sweep->packets);
	free(plane->sweep);
	free(plane->sample_bytes);
	plane_upstreams_destroy(plane->upstreams);
	plane_maps_close(&plane->maps);
	plane_unload(&plane->programs);
	for (size_t i = 0; i < plane->listen_count; i++)
		free(plane->listen[i]);
	settings_fini(&plane->settings);
	pthread_mutex_destroy(&plane->mutex);
	pthread_cond_destroy(&plane->wake);
	free(plane);
}

int dataplane_open(const struct config *config, struct dataplane **out, struct buf *why)
{
	struct dataplane *plane = calloc(1, sizeof(*plane));
	if (!plane)
		return -ENOMEM;
	plane->owner_fd = -1;
	pthread_mutex_init(&plane->mutex, NULL);
	pthread_cond_init(&plane->wake, NULL);
	int err = settings_init(&plane->settings, config);
	plane->sample_bytes = calloc(PHX_ROUTE_SLOTS, sizeof(*plane->sample_bytes));
	if (!err && !plane->sample_bytes)
		err = -ENOMEM;
	if (!err)
		err = check_ports(&plane->settings, config, why);
	if (!err)
		err = plane_pin_dir(plane->settings.pin_dir, why);
	if (!err) {
		const struct plane_settings *s = &plane->settings;
		struct plane_load load = {s->pin_dir, s->port_first, s->port_last};
		err = plane_load(&load, &plane->programs, &plane->adopted, why);
	}
	if (!err) {
		plane->owner_fd = open(plane->settings.pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = plane->owner_fd < 0 ? -errno : 0;
	}
	if (!err)
		err = plane_maps_open(plane->settings.pin_dir, &plane->maps);
	if (!err)
		err = plane_upstreams_create(plane, &plane->upstreams);
	if (err) {
		if (why->len == 0)
			buf_printf(why, "the fast path cannot be set up: %s", strerror(-err));
		dataplane_free(plane);
		return err;
	}
	find_table(plane);
	log_info("dataplane", "%s in %s",
		 plane->adopted ? "maps of an earlier daemon adopted" : "new maps made",
		 plane->settings.pin_dir);
	*out = plane;
	return 0;
}

static void release_nothing(struct policy *policy)
{
}

void dataplane_policy(struct dataplane *plane, struct policy *policy)
{
	const struct phx_config *config = plane->maps.config;
	*policy = (struct policy){
		.slots = plane->maps.policy,
		.cursors = plane->maps.cursors,
		.kill_switch = plane->maps.kill,
		.seed = config->split_seed,
		.release = release_nothing, /* the maps are the dataplane's */
	};
	memcpy(policy->key, config->split_key, sizeof(policy->key));
}

struct phx_name *dataplane_names(struct dataplane *plane)
{
	return plane->maps.names;
}

/* --- the tick ------------------------------------------------------------------------------------------- */

/* Of the two cookie keys one reigns; the other is made new, long before its turn. */
static void rotate_keys(struct dataplane *plane, uint64_t now_ns, uint32_t *reigned)
{
	uint32_t reigns = (uint32_t)(now_ns >> PHX_CLOCK_SHIFT >> PHX_KEY_SHIFT);
	/* Cookies of the last epochs are still checked with the former key. */
	uint32_t into = (uint32_t)(now_ns >> PHX_CLOCK_SHIFT) & ((1u << PHX_KEY_SHIFT) - 1);
	uint64_t fresh[2];
	if (reigns == *reigned || into < 2 * PHX_COOKIE_EPOCHS)
		return;
	if (getrandom(fresh, sizeof(fresh), 0) == sizeof(fresh)) {
		memcpy(plane->maps.config->cookie[(reigns & 1) ^ 1], fresh, sizeof(fresh));
		*reigned = reigns;
	}
}

static int on_record(void *context, void *bytes, size_t len)
{
	struct dataplane *plane = context;
	capture_record(plane->capture, bytes, len, clock_now_ns());
	return 0;
}

/* The sweeper cut an exchange: its END record, as the program would have written it. */
static void on_aborted(void *context, const struct phx_flow *flow)
{
	struct dataplane *plane = context;
	struct phx_record end = {
		.kind = PHX_RECORD_END,
		.slot = flow->slot % PHX_ROUTE_SLOTS,
		.exchange = flow->exchange,
		.generation = flow->generation,
		.step = flow->step,
		.side = flow->side & 1,
		.method = flow->method,
		.begun_ns = flow->begun_ns,
		.end = PHX_END_TIMEOUT,
		.request_len = flow->request_end - flow->request_start,
		.synthetic = (flow->flags & PHX_FLOW_SYNTHETIC) != 0,
	};
	/* A modern side that failed is evidence whether it was to be sampled or not. */
	if ((flow->flags & PHX_FLOW_SAMPLED) || end.side == PHX_MODERN)
		capture_cut(plane->capture, &end, clock_now_ns());
}

/* A daemon that takes over from another waits here for that one's last look: a ring has one reader. */
static bool become_owner(struct dataplane *plane, struct ring_buffer **ring)
{
	if (flock(plane->owner_fd, LOCK_EX | LOCK_NB))
		return false;
	*ring = ring_buffer__new(plane->maps.fd[PLANE_MAP_ring], on_record, plane, NULL);
	if (!*ring)
		log_error("dataplane",
			  "the ring of samples cannot be read: %s; the fast path's requests are not compared",
			  strerror(errno));
	atomic_store(&plane->owner, true);
	return true;
}

/* Samples are looked for by the clock and not by wake-ups, which cost the programs more than the samples. */
static void *tick_main(void *argument)
{
	struct dataplane *plane = argument;
	/* After a restart the key out of reign may be older than it looks: it is renewed once more. */
	uint32_t reigned = UINT32_MAX;
	uint64_t tick_ns = 0;
	pthread_setname_np(pthread_self(), "phx-plane");
	struct ring_buffer *ring = NULL;
	while (!atomic_load(&plane->stop)) {
		if (!atomic_load(&plane->owner) && !become_owner(plane, &ring)) {
			usleep(POLL_US);
			continue;
		}
		int taken = ring ? ring_buffer__consume(ring) : 0;
		uint64_t now_ns = clock_now_ns();
		if (now_ns >= tick_ns + TICK_NS) {
			tick_ns = now_ns;
			/* Of the thread that decides: this one may live on while that one hangs. */
			__atomic_store_n(&plane->maps.config->heartbeat_ns,
					 atomic_load_explicit(&plane->alive_ns, memory_order_relaxed),
					 __ATOMIC_RELEASE);
			rotate_keys(plane, now_ns, &reigned);
			sweep_run(plane->sweep, plane->maps.config->port_count / SWEEP_PART + 1, now_ns);
			capture_age(plane->capture, now_ns);
		}
		usleep(taken > 0 ? POLL_US : IDLE_US);
	}
	ring_buffer__free(ring);
	return NULL;
}

/* --- starting and closing ------------------------------------------------------------------------------- */

static uint64_t sample_bytes(void *context, uint32_t slot)
{
	const struct dataplane *plane = context;
	return atomic_load_explicit(&plane->sample_bytes[slot], memory_order_relaxed);
}

static void on_captured(void *context, struct exchange *exchange)
{
	const struct dataplane *plane = context;
	plane->captured(plane->captured_context, exchange);
}

static int capture_init(struct dataplane *plane, const struct dataplane_start *start)
{
	plane->captured = start->captured;
	plane->captured_context = start->context;
	struct capture_options options = {
		.budget = start->budget,
		.head_bytes = plane->settings.head_bytes,
		.body_max_bytes = sample_bytes,
		.captured = on_captured,
		.context = plane,
	};
	return capture_create(&options, &plane->capture);
}

static int sweep_init(struct dataplane *plane)
{
	const struct plane_settings *s = &plane->settings;
	struct sweep *sweep = plane->sweep = calloc(1, sizeof(*sweep));
	if (!sweep)
		return -ENOMEM;
	sweep->maps = &plane->maps;
	sweep->limits = (struct sweep_limits){s->idle_ns, s->upstream_ns, false};
	sweep->aborted_exchange = on_aborted;
	sweep->context = plane;
	sweep->packets = packet_open();
	if (sweep->packets < 0)
		log_warn("dataplane", "no packet socket: %s; idle connections end without a FIN",
			 strerror(-sweep->packets));
	uint32_t recovered = sweep_recover(&plane->maps);
	if (recovered)
		log_warn("dataplane", "%u flows were locked by a daemon that was killed", recovered);
	return 0;
}

/* What the programs did while nobody was there, by what the last daemon had told them. */
static void tell_dead_man(const struct phx_config *config)
{
	static const char *const did[] = {
		[PHX_DEAD_CONTINUE] = "the fast path went on as it was",
		[PHX_DEAD_FREEZE] = "weights were frozen and nothing was sampled",
		[PHX_DEAD_LEGACY] = "every request went to legacy",
	};
	uint64_t now_ns = clock_now_ns();
	if (config->dead_after_ns && config->dead_then < sizeof(did) / sizeof(did[0]) &&
	    now_ns > config->heartbeat_ns + config->dead_after_ns)
		log_warn("dataplane", "no daemon for %.1f s (xdp.dead_man.after_ms %u): %s; it is over",
			 (double)(now_ns - config->heartbeat_ns) / 1e9,
			 (unsigned)(config->dead_after_ns / NS_PER_MS), did[config->dead_then]);
}

void dataplane_alive(struct dataplane *plane, uint64_t now_ns)
{
	atomic_store_explicit(&plane->alive_ns, now_ns, memory_order_relaxed);
}

int dataplane_start(struct dataplane *plane, const struct dataplane_start *start, struct buf *why)
{
	struct phx_config *config = plane->maps.config;
	int err = capture_init(plane, start);
	if (!err)
		err = sweep_init(plane);
	if (err)
		return err;
	for (size_t i = 0; i < start->listen_count && plane->listen_count < 64; i++) {
		char *copy = strdup(start->listen[i]);
		if (!copy)
			return -ENOMEM;
		plane->listen[plane->listen_count++] = copy;
	}
	config->split_seed = start->policy->seed;
	memcpy(config->split_key, start->policy->key, sizeof(config->split_key));
	config->body_max_bytes = plane->settings.body_max_bytes;
	config->head_max_bytes = plane->settings.head_bytes;
	config->fields_max = plane->settings.fields_max;
	config->boot++;
	if (plane->adopted)
		tell_dead_man(config);
	dataplane_alive(plane, clock_now_ns());
	__atomic_store_n(&config->heartbeat_ns, atomic_load(&plane->alive_ns), __ATOMIC_RELEASE);
	config->dead_then = plane->settings.dead_then;
	__atomic_store_n(&config->dead_after_ns, plane->settings.dead_after_ns, __ATOMIC_RELEASE);
	if (plane->maps.kill->to_legacy)
		log_warn("dataplane", "the kill switch is on: every request goes to legacy until "
				      "\"phoenixctl kill-switch --off\"");
	err = plane_attach(plane, why);
	if (err)
		return err;
	plane_neighbours_refresh(plane);
	__atomic_store_n((uint32_t *)&config->mode, PHX_MODE_RUN, __ATOMIC_RELEASE);
	return 0;
}

int dataplane_run(struct dataplane *plane)
{
	plane->ran = true;
	int err = pthread_create(&plane->tick_thread, NULL, tick_main, plane);
	plane->tick_runs = !err;
	if (!err)
		err = pthread_create(&plane->neighbour_thread, NULL, plane_neighbours_main, plane);
	plane->neighbour_runs = plane->tick_runs && !err;
	return -err;
}

void dataplane_stop(struct dataplane *plane)
{
	if (!plane)
		return;
	pthread_mutex_lock(&plane->mutex);
	atomic_store(&plane->stop, true);
	pthread_cond_broadcast(&plane->wake);
	pthread_mutex_unlock(&plane->mutex);
	if (plane->tick_runs)
		pthread_join(plane->tick_thread, NULL);
	if (plane->neighbour_runs)
		pthread_join(plane->neighbour_thread, NULL);
	plane->tick_runs = plane->neighbour_runs = false;
	capture_destroy(plane->capture);
	plane->capture = NULL;
	if (plane->owner_fd >= 0)
		close(plane->owner_fd);
	plane->owner_fd = -1;
	atomic_store(&plane->owner, false);
}

/* A first start that failed after attaching: nothing stays that has nobody to hand requests to. */
static void undo_start(struct dataplane *plane)
{
	struct buf why = {0};
	for (size_t i = 0; i < plane->interface_count; i++) {
		struct phx_interface what;
		uint32_t ifindex = plane->interfaces[i].ifindex;
		if (ifindex &&
		    bpf_map_lookup_elem(plane->maps.fd[PLANE_MAP_interfaces], &ifindex, &what) == 0 &&
		    plane_detach_interface(plane->settings.pin_dir, &plane->maps, ifindex, &what, &why))
			log_error("dataplane", "%s", buf_cstr(&why));
	}
	buf_fini(&why);
	plane_remove_pins(plane->settings.pin_dir);
}

void dataplane_close(struct dataplane *plane)
{
	if (!plane)
		return;
	dataplane_stop(plane);
	if (!plane->ran && !plane->adopted)
		undo_start(plane);
	dataplane_free(plane);
}

bool dataplane_serves(struct dataplane *plane)
{
	const struct phx_config *config = plane->maps.config;
	return atomic_load(&plane->attached) && config->table && config->mode == PHX_MODE_RUN;
}

void dataplane_info(struct dataplane *plane, struct dataplane_info *info)
{
	const struct phx_config *config = plane->maps.config;
	*info = (struct dataplane_info){
		.pin_dir = plane->settings.pin_dir,
		.mode = config->mode,
		.table = config->table,
		.boot = config->boot,
		.port_first = config->port_first,
		.port_count = config->port_count,
		.adopted = plane->adopted,
		.interface_count = plane->interface_count,
		.interfaces = plane->interfaces,
	};
	if (plane->capture) {
		struct capture_stats stats;
		capture_stats(plane->capture, &stats);
		info->captured = stats.whole;
		info->lost = stats.lost + stats.memory;
	}
	if (plane->sweep) {
		info->closed = plane->sweep->closed;
		info->aborted = plane->sweep->aborted;
		info->freed = plane->sweep->freed;
	}
	for (uint32_t i = 0; i < config->port_count; i++)
		info->flows += plane->maps.flows[i].state != PHX_FLOW_FREE;
	for (uint32_t i = 0; i < PHX_UPSTREAMS; i++) {
		info->upstreams += plane->maps.upstreams[i].name != 0;
		info->upstreams_known += (plane->maps.upstreams[i].flags & PHX_UPSTREAM_KNOWN) != 0;
	}
	for (size_t i = 0; i < plane->interface_count; i++)
		plane_interface_ask(&plane->maps, &plane->interfaces[i]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sweep: see sweep.h. */
#include "dataplane/sweep.h"

#include "base/clock.h"
#include "dataplane/packet.h"

#include <bpf/bpf.h>

#define LOCK_FREE    0u
#define LOCK_DAEMON  2u /* the programs take 1 */
#define SPINS	     10000
#define CLOSING_NS   (10 * NS_PER_SEC) /* how long a FIN is repeated */
#define FIN_TRIES    8 /* a client that acknowledges and does not close keeps its port no longer */
#define FIN_AGAIN_NS NS_PER_SEC
#define OUR_WINDOW   64240u

static uint64_t quiet_ns(const struct phx_flow *flow, uint64_t now_ns)
{
	uint64_t seen_ns = __atomic_load_n(&flow->seen_ns, __ATOMIC_RELAXED);
	return now_ns > seen_ns ? now_ns - seen_ns : 0;
}

/* A request that nobody has answered a byte of waits for as long as the daemon would wait; an answer under
 * way may pause for longer (an event stream). */
static uint64_t patience_ns(const struct phx_flow *flow, const struct sweep_limits *limits)
{
	if (!(flow->flags & PHX_FLOW_ANSWERED))
		return limits->upstream_ns;
	return limits->idle_ns > limits->upstream_ns ? limits->idle_ns : limits->upstream_ns;
}

enum sweep_action sweep_decide(const struct phx_flow *flow, const struct sweep_limits *limits,
			       uint64_t now_ns)
{
	uint64_t quiet = quiet_ns(flow, now_ns);
	switch (flow->state) {
	case PHX_FLOW_FREE:
		return SWEEP_KEEP;
	case PHX_FLOW_OPEN:
		if (flow->flags & PHX_FLOW_ACTIVE)
			return quiet > patience_ns(flow, limits) ? SWEEP_ABORT : SWEEP_KEEP;
		return quiet > limits->idle_ns || limits->closing ? SWEEP_CLOSE : SWEEP_KEEP;
	case PHX_FLOW_HANDED:
		/* The kernel has it, or its client never came back. */
		return quiet > limits->idle_ns ? SWEEP_FREE : SWEEP_KEEP;
	case PHX_FLOW_CLOSING:
		if (quiet > CLOSING_NS || flow->retries >= FIN_TRIES)
			return SWEEP_FREE;
		return quiet > FIN_AGAIN_NS ? SWEEP_AGAIN : SWEEP_KEEP;
	}
	return SWEEP_KEEP;
}

/* --- acting --------------------------------------------------------------------------------------------- */

static bool lock(struct phx_flow *flow)
{
	for (unsigned i = 0; i < SPINS; i++) {
		__u32 expected = LOCK_FREE;
		if (__atomic_compare_exchange_n(&flow->lock, &expected, LOCK_DAEMON, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
	}
	return false;
}

static void unlock(struct phx_flow *flow)
{
	__atomic_store_n(&flow->lock, LOCK_FREE, __ATOMIC_RELEASE);
}

/* Once: under the lock, and only from another state. The state first: what is killed on the way loses a port,
 * and never gives one out twice. */
static void free_flow(struct sweep *sweep, struct phx_flow *flow, uint32_t index)
{
	bool active = (flow->flags & PHX_FLOW_ACTIVE) != 0;
	flow->state = PHX_FLOW_FREE;
	flow->flags = 0;
	for (unsigned i = 0; i < PHX_LEGS; i++) {
		if (flow->leg[i].state == PHX_LEG_SYN_SENT || (active && i == flow->active))
			flow->leg[i].state = PHX_LEG_NONE;
	}
	bpf_map_delete_elem(sweep->maps->fd[PLANE_MAP_ports], &flow->key);
	bpf_map_update_elem(sweep->maps->fd[PLANE_MAP_free], NULL, &index, BPF_ANY);
	sweep->freed++;
}

/* What is to be sent once the flow is unlocked: an answer may come before the sending returns, on this CPU,
 * and its program would wait for the lock in vain. */
struct outbox {
	struct packet packet[2];
	unsigned count;
};

static void put_fin(struct outbox *outbox, const struct phx_flow *flow, uint32_t seq)
{
	struct packet *packet = &outbox->packet[outbox->count++];
	packet_to_client(packet, flow);
	packet->seq = seq;
	packet->flags = PACKET_FIN | PACKET_ACK;
	packet->window = (uint16_t)(flow->scaled ? OUR_WINDOW >> PHX_WINDOW_SCALE : OUR_WINDOW);
}

static void close_client(struct sweep *sweep, struct outbox *outbox, struct phx_flow *flow, uint64_t now_ns)
{
	put_fin(outbox, flow, flow->sent);
	flow->fin_seq = flow->sent++;
	flow->seen_ns = now_ns;
	flow->retries = 0;
	flow->state = PHX_FLOW_CLOSING;
	sweep->closed++;
}

/* The counters as the programs keep them when an exchange ends badly. */
static void count_cut(const struct plane_maps *maps, const struct phx_flow *flow)
{
	struct phx_side_stats *side = &maps->route_stats[flow->slot % PHX_ROUTE_SLOTS].side[flow->side & 1];
	if (!(flow->flags & PHX_FLOW_COUNTED))
		return;
	__atomic_add_fetch(&side->cut, 1, __ATOMIC_RELAXED);
	if (flow->status == 0)
		__atomic_add_fetch(&side->status[0], 1, __ATOMIC_RELAXED);
	if (flow->status == 0 && (flow->flags & PHX_FLOW_SYNTHETIC))
		__atomic_add_fetch(&side->synthetic_status[0], 1, __ATOMIC_RELAXED);
}

static void abort_flow(struct sweep *sweep, struct outbox *outbox, struct phx_flow *flow, uint32_t index)
{
	const struct phx_leg *leg = &flow->leg[flow->active % PHX_LEGS];
	struct packet *packet = &outbox->packet[outbox->count++];
	packet_to_client(packet, flow);
	packet->flags = PACKET_RST | PACKET_ACK;
	if (leg->state != PHX_LEG_NONE && leg->fib_ns) {
		packet = &outbox->packet[outbox->count++];
		packet_to_leg(packet, leg, (uint16_t)(sweep->maps->config->port_first + index));
		packet->flags = PACKET_RST | PACKET_ACK;
	}
	count_cut(sweep->maps, flow);
	if (sweep->aborted_exchange)
		sweep->aborted_exchange(sweep->context, flow);
	free_flow(sweep, flow, index);
	sweep->aborted++;
}

static void sweep_flow(struct sweep *sweep, uint32_t index, uint64_t now_ns)
{
	struct phx_flow *flow = &sweep->maps->flows[index];
	struct outbox outbox = {.count = 0};
	if (sweep_decide(flow, &sweep->limits, now_ns) == SWEEP_KEEP)
		return;
	if (!lock(flow)) {
		sweep->skipped++;
		return;
	}
	switch (sweep_decide(flow, &sweep->limits, now_ns)) {
	case SWEEP_KEEP:
		break;
	case SWEEP_CLOSE:
		close_client(sweep, &outbox, flow, now_ns);
		break;
	case SWEEP_AGAIN:
		put_fin(&outbox, flow, flow->fin_seq);
		flow->retries++;
		break;
	case SWEEP_ABORT:
		abort_flow(sweep, &outbox, flow, index);
		break;
	case SWEEP_FREE:
		free_flow(sweep, flow, index);
		break;
	}
	unlock(flow);
	for (unsigned i = 0; i < outbox.count && sweep->packets >= 0; i++)
		packet_send(sweep->packets, &outbox.packet[i]);
}

void sweep_run(struct sweep *sweep, uint32_t count, uint64_t now_ns)
{
	uint32_t ports = sweep->maps->config->port_count;
	for (uint32_t i = 0; i < count && i < ports; i++) {
		sweep->next = sweep->next + 1 < ports ? sweep->next + 1 : 0;
		sweep_flow(sweep, sweep->next, now_ns);
	}
}

uint32_t sweep_recover(const struct plane_maps *maps)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < maps->config->port_count; i++) {
		if (__atomic_load_n(&maps->flows[i].lock, __ATOMIC_RELAXED) != LOCK_DAEMON)
			continue;
		unlock(&maps->flows[i]);
		found++;
	}
	return found;
}

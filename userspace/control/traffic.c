/* SPDX-License-Identifier: Apache-2.0 */
/*
 * traffic: see traffic.h. The weight is written before the step, and the data path reads them the other way
 * round: a request that counts for the new step was surely split by the new weight. One that falls between
 * the two counts for the old step, which is over.
 */
#include "control/traffic.h"

#include <errno.h>

static void act(struct traffic *traffic, uint32_t slot, const struct migration *next)
{
	struct phx_policy *policy = &traffic->policy->slots[slot];
	__atomic_store_n(&policy->weight_bp, next->weight_bp, __ATOMIC_RELEASE);
	__atomic_store_n(&policy->step, next->step, __ATOMIC_RELEASE);
	__atomic_store_n(&policy->epoch, next->epoch, __ATOMIC_RELEASE);
}

void traffic_mount(struct traffic *traffic, const struct route *route)
{
	const struct route_config *config = route_config_of(route);
	struct phx_policy *policy = &traffic->policy->slots[route->slot];
	uint32_t flags = PHX_ROUTE_ACTIVE | (config->mirror.unsafe_methods ? PHX_ROUTE_MIRROR_UNSAFE : 0);
	static const enum phx_split_by split_by[] = {
		[SPLIT_BY_REQUEST] = PHX_SPLIT_REQUEST,
		[SPLIT_BY_CLIENT_IP] = PHX_SPLIT_CLIENT_IP,
		[SPLIT_BY_HEADER] = PHX_SPLIT_HEADER,
		[SPLIT_BY_COOKIE] = PHX_SPLIT_COOKIE,
	};
	__atomic_store_n(&policy->split_by, split_by[config->split_by], __ATOMIC_RELAXED);
	__atomic_store_n(&policy->sample_bp, config->mirror.sample_bp, __ATOMIC_RELAXED);
	act(traffic, route->slot, &route->migration);
	/* The bits that say which side is down are the gateway's and change at any time. */
	__atomic_fetch_and(&policy->flags, flags | PHX_ROUTE_LEGACY_DOWN | PHX_ROUTE_MODERN_DOWN,
			   __ATOMIC_RELAXED);
	__atomic_fetch_or(&policy->flags, flags, __ATOMIC_RELEASE);
}

void traffic_unmount(struct traffic *traffic, uint32_t slot)
{
	struct phx_policy *policy = &traffic->policy->slots[slot];
	__atomic_store_n(&policy->flags, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&policy->weight_bp, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&policy->sample_bp, 0, __ATOMIC_RELEASE);
}

void traffic_follow(struct traffic *traffic, struct route *route, const struct migration *next)
{
	act(traffic, route->slot, next);
	route->migration = *next;
	route->revision++;
}

int traffic_change(struct traffic *traffic, struct route *route, const struct migration *next,
		   enum traffic_order order, bool *unsaved, struct buf *why)
{
	struct state *state = traffic->state;
	*unsaved = false;
	bool more = next->weight_bp > traffic_set_bp(traffic, route);
	if (!more)
		act(traffic, route->slot, next);
	enum state_keep keep = !more ? KEEP_ALWAYS : order == ORDER_PERSON ? KEEP_UNREACHABLE : KEEP_NEVER;
	int err = state_save_migration(state, route, next, order == ORDER_ARBITER ? state->fence : 0, keep,
				       why);
	bool acts = !err || keep == KEEP_ALWAYS || (keep == KEEP_UNREACHABLE && err == -ENOTCONN);
	if (err == -ESTALE || err == -ENOLCK || !acts) {
		act(traffic, route->slot, &route->migration);
		return err;
	}
	*unsaved = err != 0;
	traffic_follow(traffic, route, next);
	return 0;
}

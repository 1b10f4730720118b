/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy: the table that decides where requests go, as both paths see it (include/phoenix/abi.h).
 *
 * Readers (workers, later the BPF programs) take one relaxed load a field, with no lock. The one writer is
 * control/traffic; `bpftool` may be another when the memory is a BPF map, which is why a weight is always
 * read back and never remembered.
 */
#ifndef PHOENIX_BASE_POLICY_H
#define PHOENIX_BASE_POLICY_H

#include <phoenix/abi.h>
#include <phoenix/split.h>

#include <stdint.h>

struct policy {
	struct phx_policy *slots;   /* PHX_ROUTE_SLOTS entries */
	struct phx_cursor *cursors; /* PHX_ROUTE_SLOTS entries */
	struct phx_kill *kill_switch;
	uint64_t seed;	 /* of the split and sample sequences */
	uint8_t key[16]; /* of keyed splits: kept in the state, so users stay where they are */
	void (*release)(struct policy *policy);
};

/* In ordinary (zeroed) memory: without privileges or with xdp.mode off. 0 or -ENOMEM. */
int policy_init_memory(struct policy *policy);
void policy_fini(struct policy *policy);

/* Everything to legacy, no copy to modern? */
static inline int policy_is_killed(const struct policy *policy)
{
	return __atomic_load_n(&policy->kill_switch->to_legacy, __ATOMIC_RELAXED) != 0;
}

/* What acts: 0 under the kill switch. */
static inline uint32_t policy_weight_bp(const struct policy *policy, uint32_t slot)
{
	return policy_is_killed(policy) ? 0
					: __atomic_load_n(&policy->slots[slot].weight_bp, __ATOMIC_RELAXED);
}

static inline uint32_t policy_step(const struct policy *policy, uint32_t slot)
{
	return __atomic_load_n(&policy->slots[slot].step, __ATOMIC_RELAXED);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* policy: see policy.h. Anonymous pages: 2 MiB of address space, touched only where routes are. */
#include "base/policy.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define SLOTS_BYTES   (sizeof(struct phx_policy) * PHX_ROUTE_SLOTS + sizeof(struct phx_kill))
#define CURSORS_BYTES (sizeof(struct phx_cursor) * PHX_ROUTE_SLOTS)

static void release_memory(struct policy *policy)
{
	munmap(policy->slots, SLOTS_BYTES);
	munmap(policy->cursors, CURSORS_BYTES);
}

int policy_init_memory(struct policy *policy)
{
	void *slots = mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (slots == MAP_FAILED)
		return -ENOMEM;
	void *cursors = mmap(NULL, CURSORS_BYTES, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (cursors == MAP_FAILED) {
		munmap(slots, SLOTS_BYTES);
		return -ENOMEM;
	}
	memset(policy, 0, sizeof(*policy));
	policy->slots = slots;
	policy->cursors = cursors;
	policy->kill_switch = (struct phx_kill *)(policy->slots + PHX_ROUTE_SLOTS);
	policy->release = release_memory;
	if (getrandom(&policy->seed, sizeof(policy->seed), 0) != sizeof(policy->seed) ||
	    getrandom(policy->key, sizeof(policy->key), 0) != sizeof(policy->key)) {
		policy_fini(policy);
		return -EIO;
	}
	return 0;
}

void policy_fini(struct policy *policy)
{
	if (policy && policy->release)
		policy->release(policy);
	if (policy)
		memset(policy, 0, sizeof(*policy));
}

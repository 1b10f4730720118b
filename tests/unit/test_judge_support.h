/* SPDX-License-Identifier: Apache-2.0 */
/* What the judge's unit tests share: inputs that end at an unreadable page, and a small random source. */
#ifndef PHOENIX_TESTS_JUDGE_SUPPORT_H
#define PHOENIX_TESTS_JUDGE_SUPPORT_H

#include "base/slice.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Memory whose last byte is followed by a page that nobody may read: an over-read faults. */
struct guard {
	char *map;
	size_t map_bytes, room;
};

static inline struct guard guard_make(size_t room)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct guard g = {.room = (room + page - 1) / page * page};
	g.map_bytes = g.room + page;
	g.map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g.map == MAP_FAILED || mprotect(g.map + g.room, page, PROT_NONE) != 0)
		abort();
	return g;
}

/* A copy of `s` that ends at the unreadable page. Replaces the last copy. */
static inline struct slice guard_copy(struct guard *g, struct slice s)
{
	if (s.len > g->room)
		abort();
	char *to = g->map + g->room - s.len;
	if (s.len)
		memcpy(to, s.ptr, s.len);
	return slice_of(to, s.len);
}

static inline void guard_free(struct guard *g)
{
	munmap(g->map, g->map_bytes);
}

/* xorshift64*: the same numbers on every machine. */
static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
	return (uint32_t)((random_next(state) >> 32) * limit >> 32);
}

#endif

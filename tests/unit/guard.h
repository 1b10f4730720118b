/* SPDX-License-Identifier: Apache-2.0 */
/* guard: bytes that end exactly where an unreadable page begins, so that an over-read faults. */
#ifndef PHOENIX_TESTS_GUARD_H
#define PHOENIX_TESTS_GUARD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD_PAGE 4096u

/* A copy of data[0..len), writable; guard_free() with the same length. */
static inline char *guard_copy(const void *data, size_t len)
{
	size_t pages = (len + GUARD_PAGE - 1) / GUARD_PAGE + 1;
	char *base =
		mmap(NULL, pages * GUARD_PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (base == MAP_FAILED)
		abort();
	if (mprotect(base + (pages - 1) * GUARD_PAGE, GUARD_PAGE, PROT_NONE))
		abort();
	char *copy = base + (pages - 1) * GUARD_PAGE - len;
	if (len)
		memcpy(copy, data, len);
	return copy;
}

static inline void guard_free(char *copy, size_t len)
{
	size_t pages = (len + GUARD_PAGE - 1) / GUARD_PAGE + 1;
	munmap(copy + len - (pages - 1) * GUARD_PAGE, pages * GUARD_PAGE);
}

#endif

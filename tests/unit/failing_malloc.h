/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failing_malloc: the Nth allocation fails.
 *
 * The program that includes this has its own malloc and friends in front of those of the C library or of the
 * sanitizer, which they call. Only what happens between failing_start() and failing_stop() is counted.
 */
#ifndef PHOENIX_TESTS_FAILING_MALLOC_H
#define PHOENIX_TESTS_FAILING_MALLOC_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool failing_counts;
static unsigned long failing_seen, failing_number;

static inline void failing_start(unsigned long number)
{
	failing_seen = 0;
	failing_number = number;
	failing_counts = true;
}

/* Did the allocation happen that was to fail? */
static inline bool failing_stop(void)
{
	failing_counts = false;
	return failing_seen >= failing_number;
}

static bool failing_now(void)
{
	return failing_counts && ++failing_seen == failing_number;
}

/* The sanitizer's own, where there is one; it also serves calls from before its start. */
extern void *__interceptor_malloc(size_t size) __attribute__((weak));
extern void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
extern void *__interceptor_realloc(void *old, size_t size) __attribute__((weak));
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	if (failing_now())
		return NULL;
	return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	if (failing_now())
		return NULL;
	return __interceptor_calloc ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	if (failing_now())
		return NULL;
	return __interceptor_realloc ? __interceptor_realloc(old, size) : __libc_realloc(old, size);
}

char *strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = malloc(size);
	return copy ? memcpy(copy, text, size) : NULL;
}

#endif

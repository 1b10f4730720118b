/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: what the fuzz targets share.
 *
 * A target is one file fuzz_NAME.c with FUZZ_TARGET(NAME) { ... }: a function of bytes that must hold
 * whatever the bytes are. It is linked twice: with libfuzzer.c into a fuzzer of its own (`make fuzz`), and
 * all of them together with tests/unit/test_fuzz.c, which replays the corpora (`make check`).
 *
 * Inputs are what the parser under test would read, without a header for the fuzzer's sake, so that seeds can
 * be written by hand and a crash can be read. Choices that a target has to make (where to cut, which options)
 * are drawn from a hash of the input: the same input makes the same choices. Inputs with several parts are
 * divided by the byte RS (0x1e).
 */
#ifndef PHOENIX_TESTS_FUZZ_H
#define PHOENIX_TESTS_FUZZ_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_PART 0x1e

struct fuzz_target {
	const char *name;
	void (*run)(const uint8_t *data, size_t size);
	struct fuzz_target *next;
};

/* Both live in the program that runs the targets. */
extern struct fuzz_target *fuzz_first;
extern unsigned long fuzz_checks;

#define FUZZ_TARGET(id)                                                                                      \
	static void fuzz_##id(const uint8_t *data, size_t size);                                             \
	static struct fuzz_target target_##id = {#id, fuzz_##id, NULL};                                      \
	__attribute__((constructor)) static void fuzz_register_##id(void)                                    \
	{                                                                                                    \
		target_##id.next = fuzz_first;                                                               \
		fuzz_first = &target_##id;                                                                   \
	}                                                                                                    \
	static void fuzz_##id(const uint8_t *data, size_t size)

/* What must hold. Ends the program: the fuzzer keeps the input, the replay names the file. */
#define FUZZ_CHECK(condition)                                                                                \
	do {                                                                                                 \
		fuzz_checks++;                                                                               \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

/* Numbers that depend on the input alone (FNV-1a, then splitmix64). */
static inline uint64_t fuzz_seed(const uint8_t *data, size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static inline uint64_t fuzz_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* A copy in a block of exactly that size: reading one byte more is an error that the sanitizer sees. */
static inline char *fuzz_copy(const void *data, size_t size)
{
	char *copy = malloc(size ? size : 1);
	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	return copy;
}

/* The next part of the input, up to the next RS; empty when there is none. */
static inline struct slice fuzz_part(struct slice *rest)
{
	const char *end = rest->len ? memchr(rest->ptr, FUZZ_PART, rest->len) : NULL;
	struct slice part = slice_of(rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len);
	size_t used = end ? part.len + 1 : part.len;
	*rest = slice_of(rest->ptr + used, rest->len - used);
	return part;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge: how fast bodies are compared.
 *
 *     judge LEGACY MODERN SECONDS     files of one JSON document a line; the n-th lines are a pair
 *
 * Compares the pairs over and over and prints one JSON line: pairs and bytes (both bodies) a CPU second, how
 * many of the pairs match, and what memory can do at best: bytes a second of memcmp over two blocks that no
 * cache holds.
 */
#include "judge/compare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define BLOCK_BYTES (64u << 20)
#define LINES_MAX   100000

struct bodies {
	char *text;
	struct slice lines[LINES_MAX];
	size_t count, bytes;
};

static int load(struct bodies *bodies, const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END))
		return -errno;
	long size = ftell(file);
	rewind(file);
	bodies->text = malloc((size_t)size + 1);
	if (!bodies->text || fread(bodies->text, 1, (size_t)size, file) != (size_t)size)
		return -EIO;
	fclose(file);
	bodies->bytes = (size_t)size;
	for (char *at = bodies->text, *end = at + size; at < end && bodies->count < LINES_MAX;) {
		char *line_end = memchr(at, '\n', (size_t)(end - at));
		if (!line_end)
			line_end = end;
		bodies->lines[bodies->count++] = slice_of(at, (size_t)(line_end - at));
		at = line_end + 1;
	}
	return 0;
}

/* What this thread has computed: what else the machine does is not in it. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double memory_bytes_per_s(void)
{
	char *a = malloc(BLOCK_BYTES), *b = malloc(BLOCK_BYTES);
	if (!a || !b)
		return 0;
	memset(a, 1, BLOCK_BYTES);
	memset(b, 1, BLOCK_BYTES);
	uint64_t best = UINT64_MAX;
	for (unsigned i = 0; i < 5; i++) {
		uint64_t begin = cpu_ns();
		if (memcmp(a, b, BLOCK_BYTES) != 0)
			return 0;
		uint64_t ns = cpu_ns() - begin;
		best = ns < best ? ns : best;
	}
	free(a);
	free(b);
	return 2.0 * BLOCK_BYTES * 1e9 / (double)best;
}

int main(int argc, char **argv)
{
	static struct bodies legacy, modern;
	if (argc != 4) {
		fprintf(stderr, "Usage: judge LEGACY MODERN SECONDS\n");
		return 2;
	}
	int err = load(&legacy, argv[1]);
	if (!err)
		err = load(&modern, argv[2]);
	if (err || !legacy.count || legacy.count != modern.count) {
		fprintf(stderr, "judge: the files cannot be read or have not the same number of lines\n");
		return 1;
	}
	struct compare_options options = {0};
	struct buf why = {.max = 4096};
	if (getrandom(options.key, sizeof(options.key), 0) != sizeof(options.key))
		return 1;
	struct compare_plan *plan = compare_plan_create(&options, &why);
	struct compare_scratch *scratch = compare_scratch_create();
	if (!plan || !scratch) {
		fprintf(stderr, "judge: out of memory\n");
		return 1;
	}
	struct compare_result result;
	compare_result_init(&result);
	uint64_t pairs = 0, matches = 0, begin = cpu_ns(), ns = 0;
	while (ns < (uint64_t)(atof(argv[3]) * 1e9)) {
		for (size_t i = 0; i < legacy.count; i++) {
			struct compare_message a = {.status = 200, .body = legacy.lines[i]},
					       b = {.status = 200, .body = modern.lines[i]};
			compare_messages(plan, scratch, &a, &b, &result);
			matches += result.verdict == COMPARE_MATCH;
		}
		pairs += legacy.count;
		ns = cpu_ns() - begin;
	}
	double seconds = (double)ns / 1e9,
	       bytes = (double)pairs / (double)legacy.count * (double)(legacy.bytes + modern.bytes);
	printf("{\"pairs\":%llu,\"matches\":%llu,\"pairs_per_s\":%.1f,\"bytes_per_s\":%.0f,"
	       "\"memory_bytes_per_s\":%.0f}\n",
	       (unsigned long long)pairs, (unsigned long long)matches, (double)pairs / seconds,
	       bytes / seconds, memory_bytes_per_s());
	compare_result_fini(&result);
	compare_scratch_destroy(scratch);
	compare_plan_destroy(plan);
	buf_fini(&why);
	free(legacy.text);
	free(modern.text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unit: the test harness of the units. A test program is a list of TEST(name) { ... } and UNIT_MAIN.
 *
 * CHECK* report file, line and both values, and let the test go on; a test fails when any of its checks
 * did. A test without a single check fails too: it cannot have tested anything. The last line is
 * "N passed, N failed".
 */
#ifndef PHOENIX_TESTS_UNIT_H
#define PHOENIX_TESTS_UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit_test {
	const char *name;
	void (*run)(void);
	struct unit_test *next;
};

static struct unit_test *unit_first, **unit_tail = &unit_first;
static unsigned long unit_checks, unit_failures;

#define TEST(id)                                                                                             \
	static void test_##id(void);                                                                         \
	static struct unit_test unit_##id = {#id, test_##id, NULL};                                          \
	__attribute__((constructor)) static void unit_register_##id(void)                                    \
	{                                                                                                    \
		*unit_tail = &unit_##id;                                                                     \
		unit_tail = &unit_##id.next;                                                                 \
	}                                                                                                    \
	static void test_##id(void)

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		unit_checks++;                                                                               \
		if (!(condition)) {                                                                          \
			unit_failures++;                                                                     \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);            \
		}                                                                                            \
	} while (0)

/* Like CHECK, and prints a printf-style explanation when it fails (which row of a table it was). */
#define CHECK_MSG(condition, ...)                                                                            \
	do {                                                                                                 \
		unit_checks++;                                                                               \
		if (!(condition)) {                                                                          \
			unit_failures++;                                                                     \
			fprintf(stderr, "%s:%d: not true: %s: ", __FILE__, __LINE__, #condition);            \
			fprintf(stderr, __VA_ARGS__);                                                        \
			fputc('\n', stderr);                                                                 \
		}                                                                                            \
	} while (0)

#define CHECK_INT(got, want)                                                                                 \
	do {                                                                                                 \
		long long unit_got = (long long)(got), unit_want = (long long)(want);                        \
		unit_checks++;                                                                               \
		if (unit_got != unit_want) {                                                                 \
			unit_failures++;                                                                     \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, unit_got, \
				unit_want);                                                                  \
		}                                                                                            \
	} while (0)

#define CHECK_STR(got, want)                                                                                 \
	do {                                                                                                 \
		const char *unit_got = (got), *unit_want = (want);                                           \
		unit_checks++;                                                                               \
		if (!unit_got || strcmp(unit_got, unit_want) != 0) {                                         \
			unit_failures++;                                                                     \
			fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #got,       \
				unit_got ? unit_got : "(null)", unit_want);                                  \
		}                                                                                            \
	} while (0)

#define UNIT_MAIN                                                                                            \
	int main(void)                                                                                       \
	{                                                                                                    \
		unsigned passed = 0, failed = 0;                                                             \
		for (struct unit_test *t = unit_first; t; t = t->next) {                                     \
			unsigned long checks = unit_checks, failures = unit_failures;                        \
			t->run();                                                                            \
			int ok = unit_failures == failures && unit_checks > checks;                          \
			printf("%s %s (%lu checks)\n", ok ? "ok" : "FAIL", t->name, unit_checks - checks);   \
			ok ? passed++ : failed++;                                                            \
		}                                                                                            \
		printf("%u passed, %u failed\n", passed, failed);                                            \
		return failed != 0;                                                                          \
	}

#endif

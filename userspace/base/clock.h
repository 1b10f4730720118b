/* SPDX-License-Identifier: Apache-2.0 */
/* clock: the two times there are. Pure code takes `now` as an argument; only the edges call these. */
#ifndef PHOENIX_BASE_CLOCK_H
#define PHOENIX_BASE_CLOCK_H

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define NS_PER_MS	   UINT64_C(1000000)
#define NS_PER_SEC	   UINT64_C(1000000000)
#define CLOCK_RFC3339_SIZE 32

/* CLOCK_MONOTONIC, for intervals and deadlines. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* CLOCK_REALTIME, for what people read. */
static inline uint64_t clock_wall_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Writes wall_ns as "2026-01-31T12:00:00.123Z" (RFC 3339, UTC, milliseconds). */
static inline void clock_rfc3339(uint64_t wall_ns, char out[CLOCK_RFC3339_SIZE])
{
	time_t sec = (time_t)(wall_ns / NS_PER_SEC);
	struct tm tm;
	gmtime_r(&sec, &tm);
	size_t n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%03uZ", (unsigned)(wall_ns % NS_PER_SEC / NS_PER_MS));
}

#endif

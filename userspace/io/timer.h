/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timer: deadlines by the ten thousand, a hashed wheel (Varghese & Lauck 1987, scheme 6).
 *
 * A timer is embedded in its owner. Moving a deadline further away, which a busy connection does on every
 * request, is one store: the timer stays in its old slot and is looked at again when that slot comes by.
 * Resolution is one tick (TIMER_TICK_NS); a timer never fires early.
 */
#ifndef PHOENIX_IO_TIMER_H
#define PHOENIX_IO_TIMER_H

#include "base/list.h"

#include <stdint.h>

#define TIMER_TICK_NS UINT64_C(16777216) /* 2^24 ns, about 16.8 ms */
#define TIMER_SLOTS   1024

struct timer {
	struct list link;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = not set */
	uint64_t slot_ns;     /* when its slot comes by: at most the deadline's own */
	void (*expired)(struct timer *timer);
};

struct timer_wheel {
	struct list slots[TIMER_SLOTS];
	uint64_t used[TIMER_SLOTS / 64]; /* bit set: the slot may hold timers; cleared when found empty */
	uint64_t tick;			 /* the last tick that was worked off */
	uint32_t count;			 /* timers linked */
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ns);
/* Once, before anything else; `expired` may set the timer again. */
void timer_init(struct timer *timer, void (*expired)(struct timer *timer));
/* Sets or moves the deadline. */
void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ns);
/* Harmless when not set. */
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);
static inline bool timer_is_set(const struct timer *timer)
{
	return timer->deadline_ns != 0;
}
/* Calls `expired` of all that are due. */
void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_ns);
/* When to call timer_wheel_run next: a time, or UINT64_MAX when no timer is linked. */
uint64_t timer_wheel_next_ns(struct timer_wheel *wheel);

#endif

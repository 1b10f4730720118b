/* SPDX-License-Identifier: Apache-2.0 */
/* timer: see timer.h. Deadlines beyond one turn of the wheel wait in the slot a full turn away and are
 * linked anew from there. */
#include "io/timer.h"

#include <string.h>

static uint64_t tick_of(uint64_t ns)
{
	return ns / TIMER_TICK_NS;
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ns)
{
	for (unsigned i = 0; i < TIMER_SLOTS; i++)
		list_init(&wheel->slots[i]);
	memset(wheel->used, 0, sizeof(wheel->used));
	wheel->tick = tick_of(now_ns);
	wheel->count = 0;
}

void timer_init(struct timer *timer, void (*expired)(struct timer *timer))
{
	list_init(&timer->link);
	timer->deadline_ns = 0;
	timer->slot_ns = 0;
	timer->expired = expired;
}

/* The slot is that of the tick after the deadline's, so that it never fires early. */
static void timer_link(struct timer_wheel *wheel, struct timer *timer)
{
	uint64_t tick = tick_of(timer->deadline_ns) + 1;
	if (tick <= wheel->tick)
		tick = wheel->tick + 1;
	if (tick > wheel->tick + TIMER_SLOTS - 1)
		tick = wheel->tick + TIMER_SLOTS - 1;
	timer->slot_ns = tick * TIMER_TICK_NS;
	list_push_back(&wheel->slots[tick % TIMER_SLOTS], &timer->link);
	wheel->used[tick % TIMER_SLOTS / 64] |= UINT64_C(1) << (tick % 64);
	wheel->count++;
}

void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ns)
{
	timer->deadline_ns = deadline_ns ? deadline_ns : 1;
	if (!list_empty(&timer->link)) {
		if (timer->slot_ns <= timer->deadline_ns)
			return;
		list_remove(&timer->link);
		wheel->count--;
	}
	timer_link(wheel, timer);
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
	timer->deadline_ns = 0;
	if (list_empty(&timer->link))
		return;
	list_remove(&timer->link);
	wheel->count--;
}

void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_ns)
{
	uint64_t now_tick = tick_of(now_ns);
	/* After a long sleep one turn visits every slot. */
	if (now_tick > wheel->tick + TIMER_SLOTS)
		wheel->tick = now_tick - TIMER_SLOTS;
	while (wheel->tick < now_tick) {
		wheel->tick++;
		struct list due;
		struct list *slot = &wheel->slots[wheel->tick % TIMER_SLOTS];
		if (list_empty(slot))
			continue;
		/* Detached as a whole: what callbacks add to this slot belongs to its next turn. */
		due = *slot;
		due.next->prev = &due;
		due.prev->next = &due;
		list_init(slot);
		struct list *link;
		while ((link = list_pop(&due))) {
			struct timer *timer = container_of(link, struct timer, link);
			wheel->count--;
			if (timer->deadline_ns > now_ns) {
				timer_link(wheel, timer);
			} else {
				timer->deadline_ns = 0;
				timer->expired(timer);
			}
		}
	}
}

uint64_t timer_wheel_next_ns(struct timer_wheel *wheel)
{
	if (wheel->count == 0)
		return UINT64_MAX;
	for (uint64_t tick = wheel->tick + 1; tick < wheel->tick + TIMER_SLOTS;) {
		uint64_t *word = &wheel->used[tick % TIMER_SLOTS / 64], bits = *word >> (tick % 64);
		if (!bits) {
			tick += 64 - tick % 64;
			continue;
		}
		tick += (unsigned)__builtin_ctzll(bits);
		if (!list_empty(&wheel->slots[tick % TIMER_SLOTS]))
			return tick * TIMER_TICK_NS;
		*word &= ~(UINT64_C(1) << (tick % 64));
		tick++;
	}
	return (wheel->tick + TIMER_SLOTS) * TIMER_TICK_NS;
}

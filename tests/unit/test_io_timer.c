/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel: never early, never lost, cheap to move. */
#include "io/timer.h"
#include "unit.h"

static unsigned fired;
static uint64_t now_ns;

struct probe {
	struct timer timer;
	uint64_t wanted_ns, fired_ns;
};

static void on_probe(struct timer *timer)
{
	struct probe *probe = container_of(timer, struct probe, timer);
	probe->fired_ns = now_ns;
	fired++;
}

#define TICKS(n) ((n)*TIMER_TICK_NS)

TEST(timers_fire_on_time_near_and_far)
{
	enum { COUNT = 2000 };
	static struct probe probes[COUNT];
	static struct timer_wheel wheel;
	uint64_t start = 12345678901, last = 0;
	now_ns = start;
	fired = 0;
	timer_wheel_init(&wheel, now_ns);
	for (int i = 0; i < COUNT; i++) {
		timer_init(&probes[i].timer, on_probe);
		probes[i].wanted_ns =
			start + (uint64_t)i * i * 40000; /* up to 160 s: several turns of the wheel */
		last = probes[i].wanted_ns;
		timer_set(&wheel, &probes[i].timer, probes[i].wanted_ns);
	}
	while (now_ns < last + TICKS(3)) {
		uint64_t next = timer_wheel_next_ns(&wheel);
		now_ns = next != UINT64_MAX && next > now_ns ? next : now_ns + TICKS(1);
		timer_wheel_run(&wheel, now_ns);
	}
	CHECK_INT(fired, COUNT);
	for (int i = 0; i < COUNT; i++) {
		CHECK_MSG(probes[i].fired_ns >= probes[i].wanted_ns, "timer %d fired early", i);
		CHECK_MSG(probes[i].fired_ns <= probes[i].wanted_ns + TICKS(2), "timer %d fired late", i);
	}
	CHECK(timer_wheel_next_ns(&wheel) == UINT64_MAX);
}

TEST(a_deadline_that_moves_on_does_not_fire)
{
	static struct timer_wheel wheel;
	struct probe probe;
	now_ns = TICKS(100);
	fired = 0;
	timer_wheel_init(&wheel, now_ns);
	timer_init(&probe.timer, on_probe);
	for (int i = 0; i < 500; i++) {
		timer_set(&wheel, &probe.timer, now_ns + TICKS(5));
		now_ns += TICKS(1);
		timer_wheel_run(&wheel, now_ns);
	}
	CHECK_INT(fired, 0);
	now_ns += TICKS(7);
	timer_wheel_run(&wheel, now_ns);
	CHECK_INT(fired, 1);
}

TEST(a_deadline_may_come_nearer)
{
	static struct timer_wheel wheel;
	struct probe probe;
	now_ns = TICKS(10);
	fired = 0;
	timer_wheel_init(&wheel, now_ns);
	timer_init(&probe.timer, on_probe);
	timer_set(&wheel, &probe.timer, now_ns + TICKS(900));
	timer_set(&wheel, &probe.timer, now_ns + TICKS(2));
	now_ns += TICKS(4);
	timer_wheel_run(&wheel, now_ns);
	CHECK_INT(fired, 1);
}

TEST(cancelled_is_cancelled)
{
	static struct timer_wheel wheel;
	struct probe a, b;
	now_ns = TICKS(10);
	fired = 0;
	timer_wheel_init(&wheel, now_ns);
	timer_init(&a.timer, on_probe);
	timer_init(&b.timer, on_probe);
	timer_set(&wheel, &a.timer, now_ns + TICKS(1));
	timer_set(&wheel, &b.timer, now_ns + TICKS(1));
	timer_cancel(&wheel, &a.timer);
	timer_cancel(&wheel, &a.timer);
	now_ns += TICKS(2000);
	timer_wheel_run(&wheel, now_ns);
	CHECK_INT(fired, 1);
	CHECK(!timer_is_set(&a.timer) && !timer_is_set(&b.timer));
}

UNIT_MAIN

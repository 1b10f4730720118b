/* SPDX-License-Identifier: Apache-2.0 */
/* control/sdnotify: what the manager's variables mean, and that no child inherits them. */
#include "control/sdnotify.h"

#include "base/clock.h"
#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

#define PID 77

static const struct {
	const char *what;
	bool socket;
	const char *usec, *pid;
	uint64_t interval_ns, patience_ns;
} rows[] = {
	{"nobody listens", false, "30000000", "77", 0, 10 * NS_PER_SEC},
	{"no interval: every 5 s", true, NULL, NULL, 5 * NS_PER_SEC, 10 * NS_PER_SEC},
	{"30 s", true, "30000000", "77", 10 * NS_PER_SEC, 15 * NS_PER_SEC},
	{"30 s, for whoever it is", true, "30000000", NULL, 10 * NS_PER_SEC, 15 * NS_PER_SEC},
	{"for another process", true, "30000000", "78", 5 * NS_PER_SEC, 10 * NS_PER_SEC},
	{"shorter than idle workers turn", true, "300000", "77", 100 * NS_PER_MS, 3 * NS_PER_SEC},
	{"zero", true, "0", "77", 5 * NS_PER_SEC, 10 * NS_PER_SEC},
	{"empty", true, "", "77", 5 * NS_PER_SEC, 10 * NS_PER_SEC},
	{"negative", true, "-1", "77", 5 * NS_PER_SEC, 10 * NS_PER_SEC},
	{"junk behind", true, "30s", "77", 5 * NS_PER_SEC, 10 * NS_PER_SEC},
	{"too large for nanoseconds", true, "18446744073709551615", "77", 5 * NS_PER_SEC, 10 * NS_PER_SEC},
};

TEST(watchdog)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sdnotify_watchdog got =
			sdnotify_watchdog(rows[i].socket, rows[i].usec, rows[i].pid, PID);
		if (got.interval_ns != rows[i].interval_ns || got.patience_ns != rows[i].patience_ns)
			fprintf(stderr, "%s:\n", rows[i].what);
		CHECK_INT(got.interval_ns, rows[i].interval_ns);
		CHECK_INT(got.patience_ns, rows[i].patience_ns);
	}
}

TEST(environment_is_taken)
{
	setenv("NOTIFY_SOCKET", "@nobody-listens-here", 1);
	setenv("WATCHDOG_USEC", "6000000", 1);
	unsetenv("WATCHDOG_PID");
	sdnotify_init();
	CHECK(!getenv("NOTIFY_SOCKET") && !getenv("WATCHDOG_USEC") && !getenv("WATCHDOG_PID"));
	CHECK_INT(sdnotify_interval_ns(), 2 * NS_PER_SEC);
	CHECK_INT(sdnotify_patience_ns(), 3 * NS_PER_SEC);
	sdnotify("READY=1"); /* to nobody: no error, no signal */
	sdnotify_init();
	CHECK_INT(sdnotify_interval_ns(), 0);
	setenv("NOTIFY_SOCKET", "relative", 1);
	sdnotify_init();
	CHECK_INT(sdnotify_interval_ns(), 0);
}

UNIT_MAIN

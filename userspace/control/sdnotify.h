/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sdnotify: tells the service manager how it goes (sd_notify(3)), when it asked to be told.
 *
 * The watchdog is a promise that requests are answered, so it is given by the control thread, and only while
 * every worker turns: a worker that hangs makes the manager end and restart the daemon, and meanwhile the NIC
 * path goes on by itself. A daemon that took over was not started by the manager and was told no interval: it
 * reports all the same, often enough for any interval of 10 s or more.
 */
#ifndef PHOENIX_CONTROL_SDNOTIFY_H
#define PHOENIX_CONTROL_SDNOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID and takes them out of the environment: what the
 * pipeline starts is not to talk to the manager in our name. Before any thread is made.
 */
void sdnotify_init(void);
/* One datagram: "READY=1\nSTATUS=…". Nothing when nobody asked, or when it fails. */
void sdnotify(const char *state);

/* "RELOADING=1" with the time that Type=notify-reload asks for, and what ends it. */
void sdnotify_reloading(void);

/* How often a sign of life is due; 0 when nobody waits for one. */
uint64_t sdnotify_interval_ns(void);
/* A worker that has not turned for so long hangs; an idle one turns every second. */
uint64_t sdnotify_patience_ns(void);

/* For tests: what sdnotify_init() made of these values (NULL: not set) in a process with this pid. */
struct sdnotify_watchdog {
	uint64_t interval_ns, patience_ns;
};
struct sdnotify_watchdog sdnotify_watchdog(bool socket, const char *usec, const char *pid, long self);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify: tells webhooks what happened, from a thread of its own: names that do not resolve and servers that
 * do not answer delay nobody.
 *
 * POST with a JSON body, http or https. Anything but a 2xx is tried again with growing pauses; after
 * NOTIFY_TRIES it is given up and logged. The queue is bounded; what does not fit is dropped and counted.
 */
#ifndef PHOENIX_CONTROL_NOTIFY_H
#define PHOENIX_CONTROL_NOTIFY_H

#include <stddef.h>
#include <stdint.h>

#define NOTIFY_QUEUE_MAX  256
#define NOTIFY_TRIES	  5
#define NOTIFY_TIMEOUT_MS 5000
#define NOTIFY_PAUSE_MS	  500 /* before the second try; doubles */

struct notify;

struct notify_stats {
	uint64_t sent, failed, dropped;
};

/* 0 or -errno. */
int notify_create(struct notify **out);
/* Gives what is queued at most wait_ms to be sent (one try each), then stops. NULL-safe. */
void notify_destroy(struct notify *notify, uint32_t wait_ms);
/* Both texts are copied. NULL notify: nothing happens. */
void notify_send(struct notify *notify, const char *url, const char *json);
void notify_stats(struct notify *notify, struct notify_stats *out);

#endif

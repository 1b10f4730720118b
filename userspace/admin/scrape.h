/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrape: answers to GET /metrics, made a slice at a time on the control thread.
 *
 * One text is made at once; whoever asks meanwhile gets the same. What slow clients are still reading is
 * limited (SCRAPE_BYTES_MAX): then the next one is refused, for ten thousand routes are fifty megabytes.
 */
#ifndef PHOENIX_ADMIN_SCRAPE_H
#define PHOENIX_ADMIN_SCRAPE_H

#include "base/clock.h"
#include "base/list.h"
#include "control/metrics.h"
#include "io/timer.h"

#define SCRAPE_SLICE_NS	 (8 * NS_PER_MS) /* of about 17 ms, the timers' resolution */
#define SCRAPE_BYTES_MAX (64u << 20)

struct connection;

/* A finished text and those that are being sent from it. */
struct scrape_text {
	struct scrape *scrape;
	unsigned references;
	struct buf text;
};

struct scrape {
	struct control *control;
	struct metrics_job job;
	bool running;
	struct list waiting; /* struct connection.scrape_link */
	struct timer timer;
	size_t bytes; /* of all texts that are alive */
};

void scrape_init(struct scrape *scrape, struct control *control);
void scrape_fini(struct scrape *scrape);
/* The connection asked for the metrics; it is answered now or a little later. */
void scrape_start(struct scrape *scrape, struct connection *connection);
/* The connection waits no longer, and sends no more. Harmless when it did neither. */
void scrape_stop(struct connection *connection);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load: sends a scenario's requests over many connections and keeps the figures.
 *
 * Open loop: request k is due when the schedule says, whether the server keeps up or not, and its latency
 * counts from that moment. A server that stalls for a second therefore shows up in every request that was due
 * in that second; a closed loop would have waited politely and reported one slow answer ("coordinated
 * omission"). Requests that found no free connection before the end are reported as unsent, not forgotten.
 * Beside it stands the service time, from when the request was really given to a connection.
 *
 * Closed loop: every connection sends its next request when it has its answer; the two times are then the
 * same.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_LOAD_H
#define PHOENIX_TOOLS_TRAFFIC_LOAD_H

#include "histogram.h"
#include "scenario.h"

#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>

#define LOAD_EXAMPLES_MAX 8
#define LOAD_EXAMPLE_SIZE 320
#define LOAD_DETAILED_MAX 256 /* requests that have a histogram of their own */

/* How a request can end without an answer: X(NAME, word, help). */
#define LOAD_ERRORS(X)                                                                                       \
	X(CONNECT, "connect", "the target could not be connected to")                                        \
	X(SEND, "send", "sending failed half way")                                                           \
	X(CLOSED, "closed", "the target closed before its answer was complete")                              \
	X(INVALID, "invalid", "the answer is not valid HTTP")                                                \
	X(TIMEOUT, "timeout", "no complete answer within --timeout")                                         \
	X(LOCAL, "local", "this machine had no socket or memory left")

enum load_error {
#define X(name, word, help) LOAD_ERROR_##name,
	LOAD_ERRORS(X)
#undef X
		LOAD_ERROR_COUNT,
};
extern const char *const load_error_words[];

/* Who wants to know of every request. */
struct load_observer {
	/* `bytes` go to a connected socket now. What is returned comes back with the answer. */
	uint32_t (*sent)(struct load_observer *observer, struct slice bytes);
	/* The answer to it came whole. */
	void (*answered)(struct load_observer *observer, uint32_t mark, unsigned status);
};

struct load_figures;

struct load_options {
	struct sockaddr_storage address;
	socklen_t address_len;
	bool closed;		  /* closed loop */
	struct schedule schedule; /* open loop */
	uint64_t total;		  /* requests in all; 0 = as many as the schedule or the time hold */
	double duration_s;	  /* closed loop: sending ends after this; 0 = after `total` */
	uint64_t timeout_ns;	  /* for one request, from its intended moment of sending */
	uint32_t connections;
	bool one_request; /* a new connection for each request */
	uint64_t seed;
	struct load_observer *observer; /* NULL = nobody */
	/* Set by signal handlers: 1 = stop sending and wait a little for answers, 2 = end now. */
	const volatile sig_atomic_t *stop;
	/* Called every progress_ns when not NULL. */
	void (*progress)(const struct load_figures *figures);
	uint64_t progress_ns;
};

/* Of one of the scenario's requests. */
struct load_share {
	uint64_t sent, answered, failed;
	struct histogram *latency; /* NULL beyond LOAD_DETAILED_MAX requests */
};

/* planned = sent + unsent; sent = answered + errors + unfinished. */
struct load_figures {
	uint64_t planned; /* that the schedule wanted up to the end */
	uint64_t sent;	  /* given to a connection, be it one that then failed to open */
	uint64_t answered;
	uint64_t unexpected; /* answered, but not as the scenario expects */
	uint64_t errors[LOAD_ERROR_COUNT];
	uint64_t unfinished; /* cut off by the end of the run */
	uint64_t status[CHECK_STATUS_MAX];
	uint64_t connects;
	uint64_t elapsed_ns;
	struct histogram latency;  /* from the intended moment */
	struct histogram service;  /* from the real one */
	struct load_share *shares; /* by the scenario's requests */
	size_t share_count;
	char examples[LOAD_EXAMPLES_MAX][LOAD_EXAMPLE_SIZE]; /* of failed requests, the first of the run */
	unsigned example_count;
};

/* 0 or -ENOMEM. */
int load_figures_init(struct load_figures *figures, const struct scenario *scenario);
void load_figures_fini(struct load_figures *figures);
/* Returns 0 when the run came to its end (however the requests went), -errno when it could not be done. The
 * figures are filled in while it runs, so `progress` may look at them. */
int load_run(const struct load_options *options, const struct scenario *scenario,
	     struct load_figures *figures);
/* Requests without an answer. */
uint64_t load_errors(const struct load_figures *figures);
/* Requests that failed: errors and unexpected answers. */
uint64_t load_failed(const struct load_figures *figures);

#endif

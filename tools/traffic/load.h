/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load: sends a scenario's requests on a fixed schedule and keeps the figures.
 *
 * Open loop: request k is due at start + k / rate, whether the server keeps up or not, and its latency counts
 * from that moment. A server that stalls for a second therefore shows up in every request that was due in
 * that second; a closed loop would have waited politely and reported one slow answer. Requests that found no
 * free connection before the end are reported as unsent, not forgotten.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_LOAD_H
#define PHOENIX_TOOLS_TRAFFIC_LOAD_H

#include "scenario.h"

#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>

#define LOAD_CONNECTIONS_MAX 4096u

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

/* Log-linear: 64 buckets an octave, so a percentile is exact to 1.6 %. Index by nanoseconds / 1024. */
#define LOAD_LATENCY_BUCKETS (64 * 32)

struct load_figures;

struct load_options {
	struct sockaddr_storage address;
	socklen_t address_len;
	double rate;	      /* requests a second */
	uint64_t total;	      /* requests in all */
	uint64_t duration_ns; /* sending ends after this even when requests are left; 0 = when all are sent */
	uint64_t timeout_ns;  /* for one request, from its intended moment of sending */
	uint32_t connections;
	uint64_t seed;
	/* Set by signal handlers: 1 = stop sending and wait a little for answers, 2 = end now. */
	const volatile sig_atomic_t *stop;
	/* Called every half second or so when not NULL. */
	void (*progress)(const struct load_figures *figures);
};

struct load_figures {
	uint64_t planned; /* that the schedule wanted up to the end */
	uint64_t sent;	  /* handed to a connection */
	uint64_t answered;
	uint64_t unexpected; /* answered with a status that the scenario does not expect */
	uint64_t errors[LOAD_ERROR_COUNT];
	uint64_t unfinished; /* cut off by the end of the run */
	uint64_t status[SCENARIO_STATUS_MAX];
	uint64_t connects;
	uint64_t latency[LOAD_LATENCY_BUCKETS];
	uint64_t latency_ns_max;
	uint64_t latency_ns_sum;
	uint64_t elapsed_ns;
};

/* Returns 0 when the run came to its end (however the requests went), -errno when it could not be done. The
 * figures are filled in while it runs, so `progress` may look at them. */
int load_run(const struct load_options *options, const struct scenario *scenario,
	     struct load_figures *figures);
/* Requests that failed: errors and unexpected answers. */
uint64_t load_failed(const struct load_figures *figures);
/* The latency that `share` of the answers stayed under, in ms; 0 without answers. */
double load_percentile_ms(const struct load_figures *figures, double share);

#endif

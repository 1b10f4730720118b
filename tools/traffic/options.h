/* SPDX-License-Identifier: Apache-2.0 */
/* options: the command line of phoenix-traffic. One table gives the reading and --help. */
#ifndef PHOENIX_TOOLS_TRAFFIC_OPTIONS_H
#define PHOENIX_TOOLS_TRAFFIC_OPTIONS_H

#include "option.h"
#include "scenario.h"

#define TRAFFIC_HEADERS_MAX 64

enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SCENARIO = 3, EXIT_THRESHOLD = 20 };

/* X(status, meaning): also those of phoenixctl that a --reconcile can end with. */
#define TRAFFIC_EXITS(X)                                                                                     \
	X(EXIT_DONE, "done")                                                                                 \
	X(EXIT_FAILED,                                                                                       \
	  "failed: nothing sent, nothing answered as expected, or the gateway counted otherwise")            \
	X(EXIT_USAGE, "the command line is wrong")                                                           \
	X(EXIT_SCENARIO, "bad scenario")                                                                     \
	X(4, "the daemon of --reconcile is not reachable")                                                   \
	X(6, "the daemon of --reconcile does not permit it")                                                 \
	X(EXIT_THRESHOLD, "a threshold was crossed")

#define TRAFFIC_USAGE                                                                                        \
	"usage: phoenix-traffic run SCENARIO.json [options]\n"                                               \
	"       phoenix-traffic generate ...   the same as phoenixctl traffic generate ...\n"                \
	"       phoenix-traffic version\n\n"

/* X(NAME, word, letter, value or NULL, help) */
#define TRAFFIC_OPTIONS(X)                                                                                   \
	X(URL, "url", 0, "URL", "the gateway: http://host[:port][/base] (default http://127.0.0.1:8080)")    \
	X(RATE, "rate", 0, "N", "requests a second, on a fixed schedule (default: the scenario's, or 200)")  \
	X(DURATION, "duration", 0, "TIME", "500ms, 30s, 5m, 1h (default: the scenario's, or 30s)")           \
	X(STAGES, "stages", 0, "LIST",                                                                       \
	  "instead of both: RATE:TIME or FROM-TO:TIME, with commas (10-200:30s,200:1m)")                     \
	X(REQUESTS, "requests", 0, "N", "send at most this many")                                            \
	X(CLOSED, "closed", 0, NULL, "closed loop: each connection sends again when it has its answer")      \
	X(CONNECTIONS, "connections", 0, "N", "at most 32768 (default: the scenario's, or 16)")              \
	X(ONE_REQUEST, "connection-per-request", 0, NULL, "a new connection for each request")               \
	X(TIMEOUT, "timeout", 0, "TIME", "for one request, from the moment it was due (default 10s)")        \
	X(HEADER, "header", 0, "FIELD",                                                                      \
	  "\"Name: value\" (or @FILE with lines of these) for every request; repeat it")                     \
	X(THRESHOLD, "threshold", 0, "LIMIT",                                                                \
	  "p99<200ms, failed<1%, ... beside the scenario's own; repeat it")                                  \
	X(RECONCILE, "reconcile", 0, "ADMIN",                                                                \
	  "compare with what the gateway counted: unix:/path or http://host:port")                           \
	X(TOKEN_FILE, "token-file", 0, "FILE", "token of the admin interface (or PHOENIX_TOKEN)")            \
	X(SEED, "seed", 0, "N", "the same seed sends the same requests (default: another one each time)")    \
	X(UNMARKED, "unmarked", 0, NULL, "do not mark the requests with X-Phoenix-Synthetic: 1")             \
	X(SYNTHETIC, "synthetic", 0, NULL, "mark them (the default)")                                        \
	X(OUTPUT, "output", 'o', "table|json", "how to report (default table)")                              \
	X(OUT, "out", 0, "FILE", "write the report as JSON to FILE too")                                     \
	X(PROGRESS, "progress", 0, "SECONDS",                                                                \
	  "a line every so often on stderr; 0 = none (default 10, terminal 0.5)")                            \
	X(TARGET, "target", 0, "URL", "the same as --url")                                                   \
	X(HELP, "help", 'h', NULL, "this text")

enum traffic_option {
#define X(name, word, letter, value, help) TRAFFIC_##name,
	TRAFFIC_OPTIONS(X)
#undef X
		TRAFFIC_OPTION_COUNT,
};
extern const struct option_row traffic_options[TRAFFIC_OPTION_COUNT];

struct options {
	const char *file;
	const char *url;
	double rate;	   /* 0 = not given */
	double duration_s; /* 0 = not given */
	const char *stages;
	uint64_t requests; /* 0 = not given */
	uint64_t connections;
	bool closed, one_request;
	double timeout_s;
	uint64_t seed;
	bool unmarked;
	bool json;
	const char *out;
	const char *admin, *token_file;
	double progress_s; /* < 0 = not given */
	const char *headers[TRAFFIC_HEADERS_MAX];
	size_t header_count;
	struct threshold thresholds[THRESHOLDS_MAX];
	size_t threshold_count;
};

/*
 * Fills in what was given; the rest stays as it is. -1 = go on and run o->file; otherwise the exit code: it
 * was help, the version, or wrong, and was said.
 */
int options_read(int argc, char **argv, struct options *o);
/* "--name is "value", but must be wanted" on stderr; EXIT_USAGE. */
int options_bad(const char *name, const char *value, const char *wanted);

#endif

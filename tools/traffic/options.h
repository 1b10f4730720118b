/* SPDX-License-Identifier: Apache-2.0 */
/* options: the command line of phoenix-traffic. One table gives the reading and --help. */
#ifndef PHOENIX_TOOLS_TRAFFIC_OPTIONS_H
#define PHOENIX_TOOLS_TRAFFIC_OPTIONS_H

#include "scenario.h"

#define TRAFFIC_HEADERS_MAX 64

enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SCENARIO = 3, EXIT_THRESHOLD = 20 };

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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario: what phoenix-traffic sends and how, read from a JSON file.
 *
 *   {"name": "...", "comment": "...",
 *    "load":       {"rate": 50, "duration": "30s"}
 *                | {"stages": [{"from": 10, "to": 200, "duration": "30s"}, {"rate": 200, "duration": "1m"}]}
 *                | {"mode": "closed", "duration": "30s"}          and "connections": 16, "keep_alive": true
 *    "variables":  {"account": ["1001", "1002"], "amount": {"from": 1, "to": 999},
 *                   "order": [{"user": "7", "id": "3"}, {"user": "9", "id": "4"}]},
 *    "requests":   [{"name": "...", "method": "POST", "path": "/accounts/${account}",
 *                    "headers": {"Name": "value"}, "body": any JSON or a string, "weight": 3, "expect":
 * 201}], "thresholds": ["failed<1%", "p99<500ms"]}
 *
 * Places to fill in (template.h) work in path, header values and body; "expect" is in check.h, thresholds are
 * in threshold.h. Everything but "requests" may be left out. Any unknown key is an error.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_SCENARIO_H
#define PHOENIX_TOOLS_TRAFFIC_SCENARIO_H

#include "check.h"
#include "config.h"
#include "schedule.h"
#include "template.h"
#include "threshold.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SCENARIO_FILE_BYTES_MAX	 (64u << 20)
#define SCENARIO_REQUESTS_MAX	 4096
#define SCENARIO_VARIABLES_MAX	 4096
#define SCENARIO_CONNECTIONS_MAX 32768u
#define SCENARIO_FIELDS_MAX	 128

struct scenario_request {
	const char *name;	   /* as given, or "METHOD path"; owned by the scenario */
	struct text_template head; /* request line and fields, without Content-Length and the empty line */
	struct text_template body;
	bool has_body;
	bool is_head;
	double weight_end; /* cumulative */
	struct checks checks;
};

/* 0 and no stages: not said. */
struct scenario_load {
	bool closed;
	bool one_request; /* a connection for each request */
	struct schedule schedule;
	double duration_s; /* closed mode */
	uint32_t connections;
};

struct scenario {
	json_t *document; /* owns the names that are borrowed here */
	const char *file;
	const char *name;
	struct scenario_load load;
	struct variable *variables;
	size_t variable_count;
	struct scenario_request *requests;
	size_t request_count;
	struct threshold thresholds[THRESHOLDS_MAX];
	size_t threshold_count;
};

struct scenario_options {
	const struct config_url *target;
	bool synthetic;		    /* every request carries X-Phoenix-Synthetic: 1 */
	const char *const *headers; /* "Name: value" for every request, in place of the request's own */
	size_t header_count;
};

/*
 * Reads `file` (borrowed). On failure prints what is wrong as "FILE: error: WHERE: …" and returns -errno;
 * scenario_fini() is due either way.
 */
int scenario_read(struct scenario *s, const char *file, const struct scenario_options *options);
void scenario_fini(struct scenario *s);
/* "Connection: close" in every request: for load.one_request. 0 or -ENOMEM. */
int scenario_close_connections(struct scenario *s);
/*
 * Writes request k (from 0) into `out`, which is `failed` when it did not fit, and returns which of the
 * scenario's requests it is. `body` is scratch. The same seed and k give the same bytes.
 */
const struct scenario_request *scenario_compose(const struct scenario *s, uint64_t seed, uint64_t k,
						struct buf *body, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario: what phoenix-traffic sends, read from a JSON file.
 *
 *   {"name": "...",
 *    "requests":   [{"method": "POST", "path": "/accounts/${account}", "headers": {"Name": "value"},
 *                    "body": any JSON or a string, "weight": 3, "expect": 201}],
 *    "variables":  {"account": ["1001", "1002"], "amount": {"from": 1, "to": 999}},
 *    "thresholds": {"error_rate": 0.01, "p99_ms": 500}}
 *
 * ${account} is a value drawn for each request, the same wherever it stands in that request; ${seq} is the
 * request's number, from 1; ${uuid} is a new UUID. They work in path, header values and body. In a JSON body
 * the string "${amount:number}" becomes the bare value, without quotes. Any other text between braces, and
 * any unknown key, is an error.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_SCENARIO_H
#define PHOENIX_TOOLS_TRAFFIC_SCENARIO_H

#include "base/buf.h"
#include "config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SCENARIO_STATUS_MAX 600

/* Figures that can be limited, all "at most"; error_rate and unsent_rate are shares of 1. */
#define SCENARIO_LIMITS(X)                                                                                   \
	X(ERROR_RATE, "error_rate")                                                                          \
	X(UNSENT_RATE, "unsent_rate")                                                                        \
	X(P50, "p50_ms")                                                                                     \
	X(P90, "p90_ms")                                                                                     \
	X(P99, "p99_ms")                                                                                     \
	X(MAX, "max_ms")

enum scenario_limit {
#define X(name, key) SCENARIO_LIMIT_##name,
	SCENARIO_LIMITS(X)
#undef X
		SCENARIO_LIMIT_COUNT,
};
extern const char *const scenario_limit_keys[];

struct variable {
	const char *name;
	char **values; /* NULL: the whole numbers first, first + 1, … */
	size_t count;
	json_int_t first;
};

enum piece_kind { PIECE_TEXT, PIECE_SEQ, PIECE_UUID, PIECE_VARIABLE };

/* A request's bytes are pieces: text as it is, and places to fill in. */
struct piece {
	enum piece_kind kind;
	char *text;
	size_t len;
	size_t variable; /* index */
};

struct text_template {
	struct piece *pieces;
	size_t count;
};

struct scenario_request {
	struct text_template head; /* request line and fields, without Content-Length and the empty line */
	struct text_template body;
	bool has_body;
	bool is_head;
	double weight_end; /* cumulative */
	bool expected[SCENARIO_STATUS_MAX];
};

struct scenario {
	json_t *document; /* owns the names that are borrowed here */
	const char *file;
	const char *name;
	struct variable *variables;
	size_t variable_count;
	struct scenario_request *requests;
	size_t request_count;
	double limits[SCENARIO_LIMIT_COUNT]; /* NAN = none */
};

/*
 * Reads `file` (borrowed) for sending to `target`. `synthetic`: every request carries X-Phoenix-Synthetic: 1.
 * On failure prints what is wrong as "FILE: error: …" and returns -errno; scenario_fini() is due either way.
 */
int scenario_read(struct scenario *s, const char *file, const struct config_url *target, bool synthetic);
void scenario_fini(struct scenario *s);
/*
 * Writes request k (from 0) into `out`, which is `failed` when it did not fit, and returns which of the
 * scenario's requests it is. `body` is scratch. The same seed and k give the same bytes.
 */
const struct scenario_request *scenario_compose(const struct scenario *s, uint64_t seed, uint64_t k,
						struct buf *body, struct buf *out);

#endif

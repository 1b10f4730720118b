/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: a traffic scenario in the making, whatever it is made from, and its readable JSON.
 *
 * The sources (route, log, OpenAPI, HAR, samples) add requests; what they cannot use they leave out and count
 * by reason: a scenario never quietly covers less than it seems to. The format is that of
 * tools/traffic/scenario.h. Pure: bytes in, bytes out. Nothing of a source is believed: what would not be one
 * well-formed request is left out.
 */
#ifndef PHOENIX_TRAFFICGEN_PLAN_H
#define PHOENIX_TRAFFICGEN_PLAN_H

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define PLAN_REQUESTS_DEFAULT 100
#define PLAN_REQUESTS_MAX     4096
#define PLAN_TARGET_BYTES_MAX 4096u
#define PLAN_BODY_BYTES_MAX   (1u << 20)
#define PLAN_FIELDS_MAX	      64
#define PLAN_RATE_MAX	      100000

/* X(NAME, word, what "left out: N …" says) */
#define PLAN_OMISSIONS(X)                                                                                    \
	X(UNSAFE, "unsafe", "with a method that may change data (--unsafe takes them in)")                   \
	X(TARGET, "target", "whose target is not a plain path")                                              \
	X(METHOD, "method", "whose method is no word, or CONNECT or TRACE")                                  \
	X(BINARY, "binary", "whose body is not text")                                                        \
	X(CUT, "cut", "that were recorded only in part (cut short, or not as text)")                         \
	X(REDACTED, "redacted", "with a redacted value in target or body")                                   \
	X(BIG, "big", "with a target or body over the limit")                                                \
	X(FAILED, "failed", "that were answered with a 5xx status")                                          \
	X(HOST, "host", "to another host")                                                                   \
	X(ROUTE, "route", "that the route does not match")                                                   \
	X(OURS, "ours", "of Phoenix's own making (synthetic or shadow)")                                     \
	X(RARE, "rare", "of rarer kinds (--limit sets how many are kept)")                                   \
	X(MEMORY, "memory", "after the memory limit for different kinds was reached")                        \
	X(LINE, "line", "on lines that are not understood")

enum plan_omission {
#define X(name, word, help) PLAN_OMIT_##name,
	PLAN_OMISSIONS(X)
#undef X
		PLAN_OMISSION_COUNT,
};

const char *plan_omission_word(enum plan_omission omission); /* "unsafe", for programs */

struct plan_options {
	bool unsafe;		 /* also methods that are not safe (RFC 9110 9.2.1) */
	const char *host;	 /* HAR: only this host; NULL = the one most asked */
	size_t requests_max;	 /* kinds of requests; 0 = PLAN_REQUESTS_DEFAULT */
	double rate, duration_s; /* 0 = the source's, or 20 a second for 30 s */
	/* Is it one that the scenario is for? NULL = all. `target` is path and query. */
	bool (*matches)(const void *context, struct slice method, struct slice target);
	const void *context;
};

struct plan {
	struct plan_options options;
	json_t *variables, *requests;
	uint64_t taken; /* of the source's records */
	uint64_t omitted[PLAN_OMISSION_COUNT];
	char omitted_first[PLAN_OMISSION_COUNT]
			  [80]; /* where the first of each is: "line 12", "/paths/~1x/get" */
	double recorded_rate;	/* 0 = not known */
	struct buf notes;	/* lines for the user */
	bool failed;		/* out of memory on the way */
};

/* One request as it goes into the scenario. Strings are borrowed. */
struct plan_request {
	const char *name; /* NULL = none */
	const char *method;
	const char *path;  /* with places to fill in; what is no place was escaped by plan_escape() */
	json_t *headers;   /* taken over; NULL = none */
	struct slice body; /* ptr NULL = none; JSON where it can be, else text; escaped */
	bool body_is_json;
	double weight;
	json_t *expect; /* taken over; NULL = none */
};

void plan_init(struct plan *plan, const struct plan_options *options);
void plan_fini(struct plan *plan);
/* False when out of memory or full (then it is counted as RARE). */
bool plan_add(struct plan *plan, struct plan_request *request);
/* A value for ${name}: taken over. Returns the name it got ("account_id_2" when taken), owned by the plan. */
const char *plan_variable(struct plan *plan, const char *name, json_t *values);
/* Counts `count` records as left out; `where` is kept of the first. */
void plan_omit(struct plan *plan, enum plan_omission why, uint64_t count, const char *where);
void plan_note(struct plan *plan, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Checks that every source shares. True = may be used; false = it was counted as left out. */
bool plan_takes(struct plan *plan, struct slice method, struct slice target, const char *where);
/* Appends text in which "${" stands for itself. */
void plan_escape(struct buf *out, struct slice text);
/* Is it UTF-8 without NUL, as a JSON string must be? */
bool plan_text_is_unicode(struct slice text);
/* Is it a field that may be sent as it is: a token, and text of one line (RFC 9110 5.1, 5.5)? */
bool plan_field_is_plain(struct slice name, struct slice value);
/* "2026-01-31T12:00:00.123Z" (RFC 3339) -> milliseconds since 1970; 0 when it is something else, or NULL. */
uint64_t plan_time(const char *text);
/* Letters, digits and _ of it, for a variable; never empty. */
void plan_identifier(struct buf *out, struct slice text);

/*
 * The scenario as JSON text, a request a paragraph. `name` and `comment` stand at its top. False when there
 * is no request or no memory.
 */
bool plan_write(struct plan *plan, const char *name, const char *comment, struct buf *out);
/* The same as a JSON value; new reference, NULL likewise. */
json_t *plan_document(struct plan *plan, const char *name, const char *comment);
/* A scenario (any, not only a plan's) as readable JSON text. */
void plan_write_document(const json_t *scenario, struct buf *out);
/* What was left out and noted, a line each, for stderr. */
void plan_report(const struct plan *plan, struct buf *out);

#endif

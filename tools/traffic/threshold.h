/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threshold: what a run must keep to, as people write it: "p99<200ms", "failed<1%", "rate>=95".
 *
 * METRIC OP VALUE; OP is <, <=, > or >=. A figure that was not measured (no answer at all) keeps no
 * threshold.
 */
#ifndef PHOENIX_TOOLS_TRAFFIC_THRESHOLD_H
#define PHOENIX_TOOLS_TRAFFIC_THRESHOLD_H

#include "base/buf.h"

#define THRESHOLDS_MAX 32

/* X(NAME, word, unit, help). Percentiles (p50, p99, p99.9) are of the kind PERCENTILE. */
#define THRESHOLD_METRICS(X)                                                                                 \
	X(PERCENTILE, "pNN", UNIT_TIME, "latency that NN % of the answers stayed within")                    \
	X(MIN, "min", UNIT_TIME, "least latency")                                                            \
	X(MEAN, "mean", UNIT_TIME, "mean latency")                                                           \
	X(MAX, "max", UNIT_TIME, "greatest latency")                                                         \
	X(FAILED, "failed", UNIT_SHARE, "share of sent requests without an answer, or not the expected one") \
	X(ERRORS, "errors", UNIT_SHARE, "share of sent requests without an answer")                          \
	X(UNEXPECTED, "unexpected", UNIT_SHARE, "share of sent requests with an unexpected answer")          \
	X(UNSENT, "unsent", UNIT_SHARE, "share of planned requests that no connection was free for")         \
	X(RATE, "rate", UNIT_RATE, "answers a second")

enum threshold_unit { UNIT_TIME, UNIT_SHARE, UNIT_RATE };
enum threshold_metric {
#define X(name, word, unit, help) THRESHOLD_##name,
	THRESHOLD_METRICS(X)
#undef X
		THRESHOLD_METRIC_COUNT,
};

struct threshold {
	char text[48]; /* as written */
	enum threshold_metric metric;
	double share; /* of a percentile: 0.99 */
	bool above;   /* > or >= */
	bool equal;   /* <= or >= */
	double limit; /* ms, a share of 1, or a second */
	double value; /* what was measured; NAN = nothing */
};

/* 0, or -EINVAL with a sentence in `why`. */
int threshold_parse(struct slice text, struct threshold *out, struct buf *why);
enum threshold_unit threshold_unit(const struct threshold *t);
/* Does `value` keep to it? */
bool threshold_kept(const struct threshold *t);
/* "212.40ms", "3.1%", "95/s"; "nothing" for NAN. */
void threshold_format(const struct threshold *t, double value, struct buf *out);
/* For --help: one line a metric. */
void threshold_help(struct buf *out);

#endif

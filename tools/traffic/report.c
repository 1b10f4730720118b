/* SPDX-License-Identifier: Apache-2.0 */
/* report: see report.h. */
#include "report.h"

#include "base/clock.h"
#include "ctl/format.h"

#include <inttypes.h>
#include <math.h>

static const struct {
	const char *key;
	double share;
} percentiles[] = {{"p50", 0.5}, {"p75", 0.75}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999}};
#define PERCENTILES (sizeof(percentiles) / sizeof(percentiles[0]))

static double ms(double ns)
{
	return ns / (double)NS_PER_MS;
}

static double seconds_of(const struct load_figures *f)
{
	return (double)f->elapsed_ns / (double)NS_PER_SEC;
}

static double answer_rate(const struct load_figures *f)
{
	return f->elapsed_ns ? (double)f->answered / seconds_of(f) : 0;
}

/* --- thresholds ------------------------------------------------------------------------------------------
 */

/* NAN when nothing was measured. */
static double measured(const struct load_figures *f, const struct threshold *t)
{
	double sent = f->sent ? (double)f->sent : (double)NAN,
	       planned = f->planned ? (double)f->planned : (double)NAN;
	const struct histogram *h = &f->latency;
	switch (t->metric) {
	case THRESHOLD_PERCENTILE:
		return h->count ? ms((double)histogram_percentile_ns(h, t->share)) : (double)NAN;
	case THRESHOLD_MIN:
		return h->count ? ms((double)h->min_ns) : (double)NAN;
	case THRESHOLD_MEAN:
		return h->count ? ms(histogram_mean_ns(h)) : (double)NAN;
	case THRESHOLD_MAX:
		return h->count ? ms((double)h->max_ns) : (double)NAN;
	case THRESHOLD_FAILED:
		return (double)load_failed(f) / sent;
	case THRESHOLD_ERRORS:
		return (double)load_errors(f) / sent;
	case THRESHOLD_UNEXPECTED:
		return (double)f->unexpected / sent;
	case THRESHOLD_UNSENT:
		return (double)(f->planned - f->sent) / planned;
	default:
		return answer_rate(f);
	}
}

size_t report_judge(struct report_subject *subject)
{
	size_t crossed = 0;
	for (size_t i = 0; i < subject->threshold_count; i++) {
		subject->thresholds[i].value = measured(subject->figures, &subject->thresholds[i]);
		crossed += !threshold_kept(&subject->thresholds[i]);
	}
	return crossed;
}

/* --- for people ------------------------------------------------------------------------------------------
 */

static void print_latency(const char *name, const struct histogram *h, FILE *to)
{
	fprintf(to, "%-11s", name);
	for (size_t i = 0; i < PERCENTILES; i++)
		fprintf(to, " %s %.2f ms ", percentiles[i].key,
			ms((double)histogram_percentile_ns(h, percentiles[i].share)));
	fprintf(to, " max %.2f ms  mean %.2f ms\n", ms((double)h->max_ns), ms(histogram_mean_ns(h)));
}

static void print_shares(const struct report_subject *subject, FILE *to)
{
	const struct load_figures *f = subject->figures;
	struct style style = style_of(to);
	struct table table = {0};
	struct buf out = {0};
	static const char *const titles[] = {"REQUEST", "SENT", "ANSWERED", "FAILED", "p50 ms", "p99 ms"};
	if (f->share_count < 2 || f->share_count > LOAD_DETAILED_MAX)
		return;
	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		table_column(&table, titles[i], i > 0);
	for (size_t i = 0; i < f->share_count; i++) {
		const struct load_share *share = &f->shares[i];
		table_cell(&table, TINT_NONE, "%.60s", subject->scenario->requests[i].name);
		table_cell(&table, TINT_NONE, "%" PRIu64, share->sent);
		table_cell(&table, TINT_NONE, "%" PRIu64, share->answered);
		table_cell(&table, share->failed ? TINT_RED : TINT_NONE, "%" PRIu64, share->failed);
		table_cell(&table, TINT_NONE, "%.2f",
			   ms((double)histogram_percentile_ns(share->latency, 0.5)));
		table_cell(&table, TINT_NONE, "%.2f",
			   ms((double)histogram_percentile_ns(share->latency, 0.99)));
	}
	table_render(&table, &style, &out);
	fprintf(to, "\n%s", buf_cstr(&out));
	table_fini(&table);
	buf_fini(&out);
}

static void print_failures(const struct load_figures *f, FILE *to)
{
	fprintf(to, "failed      %" PRIu64 "\n", load_failed(f));
	if (f->unexpected)
		fprintf(to, "  unexpected answers  %" PRIu64 "\n", f->unexpected);
	for (size_t i = 0; i < LOAD_ERROR_COUNT; i++) {
		if (f->errors[i])
			fprintf(to, "  %-18s  %" PRIu64 "\n", load_error_words[i], f->errors[i]);
	}
	for (unsigned i = 0; i < f->example_count; i++) {
		struct buf clean = {0};
		format_clean(&clean, f->examples[i]);
		fprintf(to, "  e.g. %s\n", buf_cstr(&clean));
		buf_fini(&clean);
	}
}

static void print_thresholds(const struct report_subject *subject, FILE *to)
{
	for (size_t i = 0; i < subject->threshold_count; i++) {
		const struct threshold *t = &subject->thresholds[i];
		struct buf value = {0};
		threshold_format(t, t->value, &value);
		fprintf(to, "threshold   %s: %s, measured %s\n", t->text,
			threshold_kept(t) ? "kept" : "crossed", buf_cstr(&value));
		buf_fini(&value);
	}
}

void report_table(const struct report_subject *subject, FILE *to)
{
	const struct load_figures *f = subject->figures;
	double seconds = seconds_of(f);
	fprintf(to, "scenario    %s\n", subject->scenario->name);
	fprintf(to, "sent        %" PRIu64 " in %.1f s (%.1f/s) over %" PRIu64 " connections%s\n", f->sent,
		seconds, seconds > 0 ? (double)f->sent / seconds : 0, f->connects,
		subject->synthetic ? ", marked synthetic" : "");
	fprintf(to, "answered    %" PRIu64 "\n", f->answered);
	for (int status = 0; status < CHECK_STATUS_MAX; status++) {
		if (f->status[status])
			fprintf(to, "  %d       %" PRIu64 "\n", status, f->status[status]);
	}
	print_failures(f, to);
	if (f->planned > f->sent)
		fprintf(to, "unsent      %" PRIu64 ": all connections were busy when they were due\n",
			f->planned - f->sent);
	if (f->unfinished)
		fprintf(to, "unfinished  %" PRIu64 ": without an answer when the run ended\n", f->unfinished);
	print_latency("latency", &f->latency, to);
	if (!subject->options->closed)
		print_latency("service", &f->service, to);
	print_thresholds(subject, to);
	if (subject->reconcile) {
		json_t *json = reconcile_json(subject->reconcile);
		fprintf(to, "reconciled  %s\n",
			json_is_true(json_object_get(json, "equal"))
				? "the gateway counted the same, route by route"
				: "NO: the gateway counted otherwise");
		json_decref(json);
	}
	print_shares(subject, to);
}

double report_done(const struct load_options *options, const struct load_figures *f)
{
	uint64_t requests = options->total;
	double seconds = options->closed ? options->duration_s : schedule_duration_s(&options->schedule);
	double by_time = seconds > 0 ? seconds_of(f) / seconds : 0;
	double by_count = requests ? (double)f->sent / (double)requests : 0;
	double done = by_time > by_count ? by_time : by_count; /* what ends it first */
	return done < 1 ? done : 1;
}

void report_progress(const struct load_figures *f, struct buf *out)
{
	static uint64_t answered_before, elapsed_before_ns;
	double seconds = (double)(f->elapsed_ns - elapsed_before_ns) / (double)NS_PER_SEC;
	double rate = seconds > 0 ? (double)(f->answered - answered_before) / seconds : 0;
	buf_printf(out,
		   "%4.0f s  %" PRIu64 " sent  %" PRIu64 " answered (%.0f/s)  %" PRIu64
		   " failed  p99 %.1f ms",
		   seconds_of(f), f->sent, f->answered, rate, load_failed(f),
		   ms((double)histogram_percentile_ns(&f->latency, 0.99)));
	answered_before = f->answered;
	elapsed_before_ns = f->elapsed_ns;
}

/* --- for programs ----------------------------------------------------------------------------------------
 */

/* Six decimals: more of a figure in ms means nothing. */
static json_t *rounded(double value)
{
	return isfinite(value) ? json_real(round(value * 1e6) / 1e6) : json_null();
}

static json_t *latency_json(const struct histogram *h)
{
	json_t *json = json_object();
	if (!h->count)
		return json;
	json_object_set_new(json, "min", rounded(ms((double)h->min_ns)));
	for (size_t i = 0; i < PERCENTILES; i++)
		json_object_set_new(json, percentiles[i].key,
				    rounded(ms((double)histogram_percentile_ns(h, percentiles[i].share))));
	json_object_set_new(json, "max", rounded(ms((double)h->max_ns)));
	json_object_set_new(json, "mean", rounded(ms(histogram_mean_ns(h))));
	return json;
}

static json_t *thresholds_json(const struct report_subject *subject)
{
	json_t *list = json_array();
	for (size_t i = 0; i < subject->threshold_count; i++) {
		const struct threshold *t = &subject->thresholds[i];
		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:b}", "threshold", t->text, "limit",
						      rounded(t->limit), "value", rounded(t->value),
						      "crossed", !threshold_kept(t)));
	}
	return list;
}

static json_t *shares_json(const struct report_subject *subject)
{
	json_t *list = json_array();
	for (size_t i = 0; i < subject->figures->share_count; i++) {
		const struct load_share *share = &subject->figures->shares[i];
		json_t *json = json_pack("{s:s, s:I, s:I, s:I}", "name", subject->scenario->requests[i].name,
					 "sent", (json_int_t)share->sent, "answered",
					 (json_int_t)share->answered, "failed", (json_int_t)share->failed);
		if (json && share->latency)
			json_object_set_new(json, "latency_ms", latency_json(share->latency));
		json_array_append_new(list, json);
	}
	return list;
}

static json_t *failures_json(const struct load_figures *f)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < f->example_count; i++) {
		struct buf clean = {0};
		format_clean(&clean, f->examples[i]);
		json_array_append_new(list, json_string(buf_cstr(&clean)));
		buf_fini(&clean);
	}
	return list;
}

json_t *report_json(const struct report_subject *subject)
{
	const struct load_figures *f = subject->figures;
	json_t *statuses = json_object(), *errors = json_object();
	for (int status = 0; status < CHECK_STATUS_MAX; status++) {
		char key[16];
		snprintf(key, sizeof(key), "%d", status);
		if (f->status[status])
			json_object_set_new(statuses, key, json_integer((json_int_t)f->status[status]));
	}
	for (size_t i = 0; i < LOAD_ERROR_COUNT; i++)
		json_object_set_new(errors, load_error_words[i], json_integer((json_int_t)f->errors[i]));
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:b, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
		subject->scenario->name, "target", subject->target, "mode",
		subject->options->closed ? "closed" : "open", "synthetic", subject->synthetic, "duration_s",
		rounded(seconds_of(f)), "seed", (json_int_t)(subject->options->seed & INT64_MAX),
		"connections", (json_int_t)f->connects, "rate", rounded(answer_rate(f)), "planned",
		(json_int_t)f->planned, "sent", (json_int_t)f->sent, "answered", (json_int_t)f->answered,
		"failed", (json_int_t)load_failed(f), "unexpected", (json_int_t)f->unexpected, "unsent",
		(json_int_t)(f->planned - f->sent), "unfinished", (json_int_t)f->unfinished);
	if (!json)
		return NULL;
	json_object_set_new(json, "status", statuses);
	json_object_set_new(json, "errors", errors);
	json_object_set_new(json, "failures", failures_json(f));
	json_object_set_new(json, "latency_ms", latency_json(&f->latency));
	json_object_set_new(json, "service_ms", latency_json(&f->service));
	json_object_set_new(json, "thresholds", thresholds_json(subject));
	json_object_set_new(json, "requests", shares_json(subject));
	if (subject->reconcile)
		json_object_set_new(json, "reconciliation", reconcile_json(subject->reconcile));
	return json;
}

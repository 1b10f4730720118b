/* SPDX-License-Identifier: Apache-2.0 */
/* threshold: see threshold.h. */
#include "threshold.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *word;
	enum threshold_unit unit;
	const char *help;
} metrics[] = {
#define X(name, word, unit, help) {word, unit, help},
	THRESHOLD_METRICS(X)
#undef X
};

/* A decimal number at the front of `text`; false when there is none. */
static bool take_number(struct slice *text, double *number)
{
	char copy[32], *end;
	size_t len = text->len < sizeof(copy) - 1 ? text->len : sizeof(copy) - 1;
	if (!len || text->ptr[0] < '0' || text->ptr[0] > '9')
		return false;
	memcpy(copy, text->ptr, len);
	copy[len] = '\0';
	copy[strspn(copy, "0123456789.")] = '\0'; /* no exponents, no hexadecimal */
	*number = strtod(copy, &end);
	*text = slice_of(text->ptr + (end - copy), text->len - (size_t)(end - copy));
	return !*end;
}

static bool take_metric(struct slice word, struct threshold *t)
{
	struct slice digits = slice_of(word.ptr + 1, word.len ? word.len - 1 : 0);
	if (word.len > 1 && word.ptr[0] == 'p' && take_number(&digits, &t->share)) {
		t->metric = THRESHOLD_PERCENTILE;
		t->share /= 100;
		return digits.len == 0 && t->share > 0 && t->share <= 1;
	}
	for (unsigned i = THRESHOLD_PERCENTILE + 1; i < THRESHOLD_METRIC_COUNT; i++) {
		if (slice_equal(word, slice_str(metrics[i].word))) {
			t->metric = (enum threshold_metric)i;
			return true;
		}
	}
	return false;
}

static bool take_limit(struct slice text, struct threshold *t)
{
	static const struct {
		const char *word;
		enum threshold_unit unit;
		double factor;
	} units[] = {{"us", UNIT_TIME, 0.001}, {"ms", UNIT_TIME, 1}, {"s", UNIT_TIME, 1000},
		     {"%", UNIT_SHARE, 0.01},  {"", UNIT_SHARE, 1},  {"", UNIT_RATE, 1},
		     {"/s", UNIT_RATE, 1}};
	if (!take_number(&text, &t->limit))
		return false;
	text = slice_trim(text);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].unit == metrics[t->metric].unit && slice_equal(text, slice_str(units[i].word))) {
			t->limit *= units[i].factor;
			return units[i].unit != UNIT_SHARE || t->limit <= 1;
		}
	}
	return false;
}

int threshold_parse(struct slice text, struct threshold *out, struct buf *why)
{
	struct threshold t = {.value = NAN};
	size_t at = 0;
	text = slice_trim(text);
	while (at < text.len && text.ptr[at] != '<' && text.ptr[at] != '>')
		at++;
	size_t after = at + 1;
	t.above = at < text.len && text.ptr[at] == '>';
	t.equal = after < text.len && text.ptr[after] == '=';
	after += t.equal;
	if (after < text.len && text.len < sizeof(t.text) &&
	    take_metric(slice_trim(slice_of(text.ptr, at)), &t) &&
	    take_limit(slice_trim(slice_of(text.ptr + after, text.len - after)), &t)) {
		memcpy(t.text, text.ptr, text.len);
		*out = t;
		return 0;
	}
	buf_append_str(why, "threshold ");
	buf_append_json(why, text.len > 64 ? slice_of(text.ptr, 64) : text);
	buf_append_str(why,
		       " is not understood: write METRIC<LIMIT, such as p99<200ms, failed<1%, unsent<=0, "
		       "rate>95; metrics are pNN");
	for (unsigned i = THRESHOLD_PERCENTILE + 1; i < THRESHOLD_METRIC_COUNT; i++)
		buf_printf(why, ", %s", metrics[i].word);
	return -EINVAL;
}

enum threshold_unit threshold_unit(const struct threshold *t)
{
	return metrics[t->metric].unit;
}

bool threshold_kept(const struct threshold *t)
{
	if (isnan(t->value))
		return false;
	if (t->value == t->limit)
		return t->equal;
	return t->above ? t->value > t->limit : t->value < t->limit;
}

void threshold_format(const struct threshold *t, double value, struct buf *out)
{
	if (isnan(value))
		buf_append_str(out, "nothing");
	else if (threshold_unit(t) == UNIT_TIME)
		buf_printf(out, "%.4gms", value);
	else if (threshold_unit(t) == UNIT_SHARE)
		buf_printf(out, "%.4g%%", value * 100);
	else
		buf_printf(out, "%.4g/s", value);
}

void threshold_help(struct buf *out)
{
	for (unsigned i = 0; i < THRESHOLD_METRIC_COUNT; i++)
		buf_printf(out, "    %-12s %s\n", metrics[i].word, metrics[i].help);
}

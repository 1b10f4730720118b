/* SPDX-License-Identifier: Apache-2.0 */
/* figure: see figure.h. */
#include "ctl/figure.h"

#include "ctl/format.h"

static struct figure figure_of(struct buf *out)
{
	struct figure figure;
	snprintf(figure.text, sizeof(figure.text), "%s", buf_cstr(out));
	buf_fini(out);
	return figure;
}

struct figure figure_percent(double ratio)
{
	struct buf out = {0};
	format_percent(&out, ratio);
	return figure_of(&out);
}

struct figure figure_count(uint64_t number)
{
	struct buf out = {0};
	format_count(&out, number);
	return figure_of(&out);
}

struct figure figure_latency(double latency_ms)
{
	struct buf out = {0};
	format_latency(&out, latency_ms);
	return figure_of(&out);
}

struct figure figure_span(uint64_t span_ms)
{
	struct buf out = {0};
	format_span(&out, span_ms);
	return figure_of(&out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figure: one figure as text for a printf: figure_percent(0.3).text. The struct is a temporary that lives
 * until the end of the full expression (C11 6.2.4).
 */
#ifndef PHOENIX_CTL_FIGURE_H
#define PHOENIX_CTL_FIGURE_H

#include <stdint.h>

struct figure {
	char text[40];
};

/* As format_percent(), format_count(), format_latency() and format_span() write them. */
struct figure figure_percent(double ratio);
struct figure figure_count(uint64_t number);
struct figure figure_latency(double latency_ms);
struct figure figure_span(uint64_t span_ms);

#endif

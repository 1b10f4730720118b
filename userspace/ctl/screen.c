/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen: see screen.h. The words of a state come from the daemon and are printed as they are; what is added
 * here is only order, colour and the figures beside them.
 */
#include "ctl/screen.h"
#include "ctl/field.h"

#include <inttypes.h>

#define BAR_COLUMNS   20
#define LABEL_COLUMNS 15
#define IGNORES_SHOWN 5
#define BLOCKS_MAX    3 /* routes shown as blocks where a table is too wide */

/* One figure as text for a printf: a temporary that lives until the end of the full expression (C11 6.2.4).
 */
struct figure {
	char text[40];
};

static struct figure figure_of(struct buf *out)
{
	struct figure figure;
	snprintf(figure.text, sizeof(figure.text), "%s", buf_cstr(out));
	buf_fini(out);
	return figure;
}

static struct figure percent(double ratio)
{
	struct buf out = {0};
	format_percent(&out, ratio);
	return figure_of(&out);
}

static struct figure count(uint64_t number)
{
	struct buf out = {0};
	format_count(&out, number);
	return figure_of(&out);
}

static struct figure latency(double latency_ms)
{
	struct buf out = {0};
	format_latency(&out, latency_ms);
	return figure_of(&out);
}

static struct figure span(uint64_t span_ms)
{
	struct buf out = {0};
	format_span(&out, span_ms);
	return figure_of(&out);
}

void screen_consistency(const json_t *consistency, struct buf *out)
{
	uint64_t samples = field_count(consistency, "samples");
	if (samples == 0) {
		buf_append_str(out, "- (0 samples)");
		return;
	}
	buf_printf(out, "%s (%s of %s)", percent(field_number(consistency, "ratio")).text,
		   count(field_count(consistency, "matches")).text, count(samples).text);
}

/* "p99 2.10 ms, errors 0%" or "down". */
static void side_text(const json_t *side, struct buf *out)
{
	if (field_true(side, "down"))
		buf_append_str(out, "down, ");
	buf_printf(out, "%s, %s", latency(field_number(side, "p99_ms")).text,
		   percent(field_number(side, "error_rate")).text);
}

static enum tint side_tint(const json_t *side)
{
	return field_true(side, "down") || field_number(side, "error_rate") > 0 ? TINT_RED : TINT_NONE;
}

/* Green only when the evidence would do: a perfect ratio of three samples says nothing yet. */
static enum tint consistency_tint(const json_t *consistency)
{
	double ratio = field_number(consistency, "ratio");
	if (!isfinite(ratio))
		return TINT_NONE;
	if (ratio < field_number(consistency, "limit_rollback"))
		return TINT_RED;
	if (ratio <= field_number(consistency, "limit_promote"))
		return TINT_YELLOW;
	bool enough = field_count(consistency, "samples") > field_count(consistency, "min_samples");
	return enough ? TINT_GREEN : TINT_NONE;
}

/* What a table has depends on the room: a pipe takes all, a narrow terminal the figures that matter most. */
enum table_form { FORM_ALL, FORM_BARS, FORM_NARROW };

static void side_cell(struct table *table, const json_t *side)
{
	struct buf text = {0};
	side_text(side, &text);
	table_cell(table, side_tint(side), "%s", buf_cstr(&text));
	buf_fini(&text);
}

static void route_row(const json_t *route, const struct style *style, enum table_form form,
		      struct table *table)
{
	const char *state = field_text(route, "state", "?");
	double wanted = field_number(route, "weight.wanted"), set = field_number(route, "weight.set");
	struct buf bar = {0}, consistency = {0};

	format_bar(&bar, set, BAR_COLUMNS, style->unicode);
	screen_consistency(field(route, "consistency"), &consistency);
	table_cell(table, TINT_BOLD, "%s", field_text(route, "id", "?"));
	table_cell(table, tint_of_state(state), "%s",
		   form == FORM_NARROW ? state : field_text(route, "headline", state));
	if (form == FORM_BARS)
		table_cell(table, tint_of_state(state), "%s", buf_cstr(&bar));
	table_cell(table, TINT_NONE, "%s", percent(wanted).text);
	table_cell(table, set != wanted ? TINT_YELLOW : TINT_NONE, "%s", percent(set).text);
	table_cell(table, TINT_NONE, "%s", percent(field_number(route, "weight.seen")).text);
	table_cell(table, consistency_tint(field(route, "consistency")), "%s", buf_cstr(&consistency));
	if (form != FORM_NARROW) {
		side_cell(table, field(route, "sides.legacy"));
		side_cell(table, field(route, "sides.modern"));
	}
	table_cell(table, TINT_NONE, "%s", field_text(route, "detail", ""));
	buf_fini(&bar);
	buf_fini(&consistency);
}

static void route_table(const json_t *routes, const struct style *style, enum table_form form,
			struct table *table)
{
	json_t *route;
	size_t i;

	table_column(table, "ROUTE", false);
	table_column(table, "STATE", false);
	if (form == FORM_BARS)
		table_column(table, "WEIGHT", false);
	table_column(table, "WANTED", true);
	table_column(table, "SET", true);
	table_column(table, "SEEN", true);
	table_column(table, "CONSISTENCY", false);
	if (form != FORM_NARROW) {
		table_column(table, "LEGACY p99, errors", false);
		table_column(table, "MODERN p99, errors", false);
	}
	table_column(table, "NEXT", false);
	json_array_foreach(routes, i, route) route_row(route, style, form, table);
}

static void label(struct buf *out, const struct style *style, const char *name)
{
	struct figure padded;
	snprintf(padded.text, sizeof(padded.text), "  %-*s", LABEL_COLUMNS - 2, name);
	tint_printf(out, style->colour, TINT_DIM, "%s", padded.text);
}

static void line_of(struct buf *out, const struct style *style, const char *name, enum tint tint,
		    const char *text)
{
	label(out, style, name);
	tint_begin(out, style->colour, tint);
	format_clean(out, text);
	tint_end(out, style->colour, tint);
	buf_append_char(out, '\n');
}

static void screen_weight(const json_t *route, const struct style *style, bool brief, struct buf *out)
{
	const json_t *weight = field(route, "weight");
	double set = field_number(weight, "set");

	label(out, style, "weight");
	if (style->terminal) {
		tint_begin(out, style->colour, tint_of_state(field_text(route, "state", "")));
		format_bar(out, set, BAR_COLUMNS, style->unicode);
		tint_end(out, style->colour, tint_of_state(field_text(route, "state", "")));
		buf_append_str(out, "  ");
	}
	buf_printf(out, "wanted %s, set %s, seen %s", percent(field_number(weight, "wanted")).text,
		   percent(set).text, percent(field_number(weight, "seen")).text);
	buf_printf(out, " of %s requests\n", count(field_count(weight, "seen_requests")).text);
	/* The arbiter's own steps are what a migration is; only what somebody set is worth a warning. */
	if (field_true(weight, "drift") && strcmp(field_text(weight, "changed_by", ""), "arbiter") != 0) {
		struct figure file = percent(field_number(weight, "file"));
		struct buf text = {0};
		buf_printf(&text, "drift: the file says %s; the weight set at run time counts", file.text);
		line_of(out, style, "", TINT_YELLOW, buf_cstr(&text));
		buf_fini(&text);
	}
	if (!brief && field_text(weight, "changed_by", NULL)) {
		struct buf text = {0};
		buf_printf(&text, "set by %s", field_text(weight, "changed_by", ""));
		if (field_text(weight, "changed_at", NULL))
			buf_printf(&text, " at %s", field_text(weight, "changed_at", ""));
		if (*field_text(weight, "reason", ""))
			buf_printf(&text, ": %s", field_text(weight, "reason", ""));
		line_of(out, style, "", TINT_NONE, buf_cstr(&text));
		buf_fini(&text);
	}
}

/* How sure the consistency is: figures that are shown under both policies. */
static void screen_certainty(const json_t *consistency, const struct style *style, struct buf *out)
{
	double lower = field_number(consistency, "wilson_lower"), llr = field_number(consistency, "llr");
	double build = field_number(consistency, "build.wilson_lower");
	struct buf text = {0};

	if (isfinite(lower) && isfinite(llr)) {
		buf_printf(&text, "%s (95%% sure); likelihood %.2f of %.2f", percent(lower).text, llr,
			   field_number(consistency, "llr_bound"));
		if (isfinite(build))
			buf_printf(&text, "; this build %s in %s", percent(build).text,
				   count(field_count(consistency, "build.samples")).text);
		if (isfinite(field_number(consistency, "build.needs")))
			buf_printf(&text, ", the next step needs %s",
				   percent(field_number(consistency, "build.needs")).text);
		line_of(out, style, "at least", TINT_NONE, buf_cstr(&text));
		buf_reset(&text);
		uint64_t shapes = field_count(consistency, "shapes.distinct");
		buf_printf(&text, "%s request shape%s, the most frequent has %s", count(shapes).text,
			   shapes == 1 ? "" : "s",
			   percent(field_number(consistency, "shapes.top_share")).text);
		if (field_count(consistency, "synthetic"))
			buf_printf(&text, "; %s of the samples are synthetic",
				   count(field_count(consistency, "synthetic")).text);
		line_of(out, style, "", TINT_NONE, buf_cstr(&text));
	}
	buf_reset(&text);
	if (field_true(consistency, "watch.on")) {
		buf_printf(&text, "%.2f, alarm at %g", field_number(consistency, "watch.cusum"),
			   field_number(consistency, "watch.alarm"));
		line_of(out, style, "watch", TINT_NONE, buf_cstr(&text));
	}
	buf_fini(&text);
}

/* Where legacy disagrees with itself. */
static void screen_noise(const json_t *noise, const struct style *style, struct buf *out)
{
	json_t *proposed = field(noise, "proposed"), *item;
	struct buf text = {0};
	size_t i;

	if (field_count(noise, "differing") == 0)
		return;
	buf_printf(&text, "legacy differs from itself in %s of %s answers",
		   count(field_count(noise, "differing")).text, count(field_count(noise, "samples")).text);
	json_array_foreach(proposed, i, item)
	{
		if (i == IGNORES_SHOWN)
			buf_printf(&text, " and %zu more", json_array_size(proposed) - i);
		else if (i < IGNORES_SHOWN)
			buf_printf(&text, "%s%s",
				   i ? ", " : "; proposed to ignore: ", json_string_value(item) ?: "?");
	}
	line_of(out, style, "", TINT_YELLOW, buf_cstr(&text));
	buf_fini(&text);
}

/* Ignored pointers and samples that could not be compared stand beside the consistency, always. */
static void screen_evidence(const json_t *route, const struct style *style, struct buf *out)
{
	const json_t *consistency = field(route, "consistency");
	json_t *ignored = field(consistency, "ignored_pointers"), *item;
	json_t *uncompared = field(consistency, "not_comparable");
	struct buf text = {0};
	const char *reason;
	size_t i;

	screen_consistency(consistency, &text);
	if (isfinite(field_number(consistency, "limit_promote")))
		buf_printf(&text, "; promotes above %s, rolls back below %s",
			   percent(field_number(consistency, "limit_promote")).text,
			   percent(field_number(consistency, "limit_rollback")).text);
	line_of(out, style, "consistency", consistency_tint(consistency), buf_cstr(&text));
	screen_certainty(consistency, style, out);
	screen_noise(field(consistency, "noise"), style, out);
	buf_reset(&text);
	json_array_foreach(ignored, i, item)
	{
		if (i == IGNORES_SHOWN)
			buf_printf(&text, " and %zu more", json_array_size(ignored) - i);
		else if (i < IGNORES_SHOWN)
			buf_printf(&text, "%s%s", i ? ", " : "ignoring ", json_string_value(item) ?: "?");
	}
	if (text.len)
		line_of(out, style, "", TINT_NONE, buf_cstr(&text));
	buf_reset(&text);
	json_object_foreach(uncompared, reason, item)
	{
		if (json_number_value(item) > 0)
			buf_printf(&text, "%s%s %s", text.len ? ", " : "not comparable: ",
				   count((uint64_t)json_number_value(item)).text, reason);
	}
	if (text.len)
		line_of(out, style, "", TINT_YELLOW, buf_cstr(&text));
	buf_fini(&text);
}

static void screen_side(const json_t *route, const char *side_name, const struct style *style,
			struct buf *out)
{
	char path[32], url[32];
	struct buf text = {0};

	snprintf(path, sizeof(path), "sides.%s", side_name);
	snprintf(url, sizeof(url), "%s_url", side_name);
	const json_t *side = field(route, path);
	buf_printf(&text, "p99 %s, p50 %s, ", latency(field_number(side, "p99_ms")).text,
		   latency(field_number(side, "p50_ms")).text);
	buf_printf(&text, "errors %s (%s of %s)", percent(field_number(side, "error_rate")).text,
		   count(field_count(side, "errors")).text, count(field_count(side, "requests")).text);
	buf_printf(&text, "  %s%s", field_true(side, "down") ? "DOWN " : "", field_text(route, url, ""));
	line_of(out, style, side_name, side_tint(side), buf_cstr(&text));
	buf_fini(&text);
}

/* Step, policy, badges and what can be done: only in the long form. */
static void screen_more(const json_t *route, const struct style *style, struct buf *out)
{
	json_t *item;
	size_t i;
	struct buf text = {0};

	buf_printf(&text, "%s%s, step %" PRIu64 " for %s", field_text(route, "arbiter.policy", "?"),
		   field(route, "arbiter.enabled") && !field_true(route, "arbiter.enabled") ? " (disabled)"
											    : "",
		   field_count(route, "step.number"), span(field_count(route, "step.age_ms")).text);
	line_of(out, style, "arbiter", TINT_NONE, buf_cstr(&text));
	buf_reset(&text);
	json_array_foreach(field(route, "badges"), i, item)
		buf_printf(&text, "%s%s", i ? ", " : "", json_string_value(item) ?: "?");
	if (text.len)
		line_of(out, style, "note", TINT_YELLOW, buf_cstr(&text));
	buf_reset(&text);
	json_array_foreach(field(route, "verbs"), i, item)
		buf_printf(&text, "%s%s", i ? ", " : "", json_string_value(item) ?: "?");
	if (text.len)
		line_of(out, style, "possible", TINT_NONE, buf_cstr(&text));
	buf_fini(&text);
}

void screen_route(const json_t *route, const struct style *style, bool brief, struct buf *out)
{
	const char *state = field_text(route, "state", "?");
	json_t *item;
	size_t i;

	tint_begin(out, style->colour, TINT_BOLD);
	format_clean(out, field_text(route, "id", "?"));
	tint_end(out, style->colour, TINT_BOLD);
	buf_append_str(out, "  ");
	json_array_foreach(field(route, "methods"), i, item)
	{
		buf_append_str(out, i ? "," : "");
		format_clean(out, json_string_value(item) ?: "?");
	}
	buf_append_char(out, ' ');
	format_clean(out, field_text(route, "host", ""));
	format_clean(out, field_text(route, "path", ""));
	buf_append_str(out, "\n  ");
	tint_begin(out, style->colour, tint_of_state(state));
	format_clean(out, field_text(route, "headline", state));
	tint_end(out, style->colour, tint_of_state(state));
	buf_append_char(out, '\n');
	if (*field_text(route, "detail", "")) {
		buf_append_str(out, "  ");
		format_clean(out, field_text(route, "detail", ""));
		buf_append_char(out, '\n');
	}
	screen_weight(route, style, brief, out);
	screen_evidence(route, style, out);
	screen_side(route, "legacy", style, out);
	screen_side(route, "modern", style, out);
	if (!brief)
		screen_more(route, style, out);
}

/* What is wrong with the daemon itself, a line each. */
static void screen_troubles(const json_t *status, const struct style *style, struct buf *out)
{
	struct buf text = {0};
	if (json_is_false(field(status, "config.last_reload_successful"))) {
		buf_printf(&text, "the last reload failed, the old configuration runs on: %s",
			   field_text(status, "config.last_reload_error", "see the log"));
		line_of(out, style, "config", TINT_RED, buf_cstr(&text));
		buf_reset(&text);
	}
	if (json_is_false(field(status, "store.ok"))) {
		buf_printf(&text, "the %s store does not work: %s", field_text(status, "store.kind", "?"),
			   field_text(status, "store.error", "see the log"));
		line_of(out, style, "store", TINT_RED, buf_cstr(&text));
	}
	buf_fini(&text);
}

void screen_status(const json_t *status, const struct style *style, struct buf *out)
{
	json_t *routes = field(status, "routes"), *route;
	struct table table = {0};
	size_t i;

	tint_begin(out, style->colour, TINT_BOLD);
	format_clean(out, field_text(status, "headline", "?"));
	tint_end(out, style->colour, TINT_BOLD);
	buf_append_char(out, '\n');
	screen_troubles(status, style, out);
	if (style->terminal) {
		struct buf text = {0};
		buf_printf(&text, "phoenixd %s, up %s, %" PRIu64 " workers, ",
			   field_text(status, "version", "?"), span(field_count(status, "uptime_ms")).text,
			   field_count(status, "workers"));
		buf_printf(&text, "%s requests", count(field_count(status, "totals.requests")).text);
		if (isfinite(field_number(status, "totals.rps")))
			buf_printf(&text, ", %.1f/s", field_number(status, "totals.rps"));
		if (strcmp(field_text(status, "path", ""), "xdp") == 0)
			buf_append_str(&text, ", NIC path on");
		tint_begin(out, style->colour, TINT_DIM);
		format_clean(out, buf_cstr(&text));
		tint_end(out, style->colour, TINT_DIM);
		buf_append_str(out, "\n\n");
		buf_fini(&text);
	}
	if (json_array_size(routes) == 0) {
		buf_append_str(out, "no routes\n");
		return;
	}
	route_table(routes, style, style->terminal ? FORM_BARS : FORM_ALL, &table);
	if (style->width && table_width(&table) > style->width) {
		table_fini(&table);
		if (json_array_size(routes) <= BLOCKS_MAX) {
			json_array_foreach(routes, i, route)
			{
				buf_append_str(out, i ? "\n" : "");
				screen_route(route, style, true, out);
			}
			return;
		}
		route_table(routes, style, FORM_NARROW, &table);
	}
	table_render(&table, style, out);
	table_fini(&table);
}

void screen_line(const json_t *route, struct buf *out)
{
	struct buf text = {0};
	const char *detail = field_text(route, "detail", "");

	buf_printf(&text, "%s: %s; wanted %s, ", field_text(route, "id", "?"),
		   field_text(route, "headline", "?"), percent(field_number(route, "weight.wanted")).text);
	buf_printf(&text, "set %s, seen %s; consistency ", percent(field_number(route, "weight.set")).text,
		   percent(field_number(route, "weight.seen")).text);
	screen_consistency(field(route, "consistency"), &text);
	if (*detail)
		buf_printf(&text, "; %s", detail);
	format_clean(out, buf_cstr(&text));
	buf_fini(&text);
}

void screen_key(const json_t *route, struct buf *out)
{
	const char *headline = field_text(route, "headline", "?");

	buf_printf(out, "%s|%.4f|%.4f|", field_text(route, "state", "?"),
		   field_number(route, "weight.wanted"), field_number(route, "weight.set"));
	/* "Holding at 30%: 12 of 100 samples seen" counts up with each sample: figures say nothing new. */
	for (const char *p = headline; *p; p++)
		if (*p < '0' || *p > '9')
			buf_append_char(out, *p);
}

void screen_cut(struct slice text, size_t width, size_t height, struct buf *out)
{
	size_t rows = 0, used = 0, lines = 0;
	bool coloured = false;

	for (size_t i = 0; i < text.len; i++)
		lines += text.ptr[i] == '\n';
	size_t hidden = lines > height && height ? lines - (height - 1) : 0;
	if (hidden)
		height--;
	for (size_t i = 0; i < text.len && rows < height; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c == '\n') {
			buf_append_str(out, coloured ? "\033[0m\n" : "\n");
			coloured = false;
			used = 0;
			rows++;
		} else if (c == '\033') {
			size_t start = i;
			while (i + 1 < text.len && text.ptr[i] != 'm')
				i++;
			buf_append(out, text.ptr + start, i + 1 - start);
			coloured = start + 2 < text.len && text.ptr[start + 2] != '0';
		} else {
			used += (c & 0xc0) != 0x80;
			if (used <= width)
				buf_append_char(out, (char)c);
		}
	}
	if (hidden)
		buf_printf(out, "(%zu more lines)\n", hidden);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* screen_route: one route as a block of lines, each with its name in front. */
#include "ctl/screen_internal.h"

#define IGNORES_SHOWN  5
#define BAR_WINDOW_MIN 60 /* columns */

static void screen_weight(const json_t *route, const struct style *style, bool brief, struct buf *out)
{
	const json_t *weight = field(route, "weight");
	double set = field_number(weight, "set");

	tint_printf(out, style->colour, TINT_DIM, "  %-*s", LABEL_COLUMNS - 2, "weight");
	bool bar = style->terminal && style->width >= BAR_WINDOW_MIN;
	if (bar) {
		tint_begin(out, style->colour, tint_of_state(field_text(route, "state", "")));
		format_bar(out, set, BAR_COLUMNS, style->unicode);
		tint_end(out, style->colour, tint_of_state(field_text(route, "state", "")));
		buf_append_str(out, "  ");
	}
	struct buf figures = {0};
	buf_printf(&figures, "wanted %s, set %s, seen %s",
		   figure_percent(field_number(weight, "wanted")).text, figure_percent(set).text,
		   figure_percent(field_number(weight, "seen")).text);
	buf_printf(&figures, " of %s requests", figure_count(field_count(weight, "seen_requests")).text);
	/* The bar has its own columns in front. */
	screen_text(out, style, LABEL_COLUMNS + (bar ? BAR_COLUMNS + 2 : 0), TINT_NONE, buf_cstr(&figures));
	buf_fini(&figures);
	/* The arbiter's own steps are what a migration is; only what somebody set is worth a warning. */
	if (field_true(weight, "drift") && strcmp(field_text(weight, "changed_by", ""), "arbiter") != 0) {
		struct figure file = figure_percent(field_number(weight, "file"));
		struct buf text = {0};
		buf_printf(&text, "drift: the file says %s; the weight set at run time counts", file.text);
		screen_named(out, style, "", TINT_YELLOW, buf_cstr(&text));
		buf_fini(&text);
	}
	if (!brief && field_text(weight, "changed_by", NULL)) {
		struct buf text = {0};
		buf_printf(&text, "set by %s", field_text(weight, "changed_by", ""));
		if (field_text(weight, "changed_at", NULL))
			buf_printf(&text, " at %s", field_text(weight, "changed_at", ""));
		if (*field_text(weight, "reason", ""))
			buf_printf(&text, ": %s", field_text(weight, "reason", ""));
		screen_named(out, style, "", TINT_NONE, buf_cstr(&text));
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
		buf_printf(&text, "%s (95%% sure); likelihood %.2f of %.2f", figure_percent(lower).text, llr,
			   field_number(consistency, "llr_bound"));
		if (isfinite(build))
			buf_printf(&text, "; this build %s in %s", figure_percent(build).text,
				   figure_count(field_count(consistency, "build.samples")).text);
		if (isfinite(field_number(consistency, "build.needs")))
			buf_printf(&text, ", the next step needs %s",
				   figure_percent(field_number(consistency, "build.needs")).text);
		screen_named(out, style, "at least", TINT_NONE, buf_cstr(&text));
		buf_reset(&text);
		uint64_t shapes = field_count(consistency, "shapes.distinct");
		buf_printf(&text, "%s request shape%s, the most frequent has %s", figure_count(shapes).text,
			   shapes == 1 ? "" : "s",
			   figure_percent(field_number(consistency, "shapes.top_share")).text);
		if (field_count(consistency, "synthetic"))
			buf_printf(&text, "; %s of the samples are synthetic",
				   figure_count(field_count(consistency, "synthetic")).text);
		screen_named(out, style, "", TINT_NONE, buf_cstr(&text));
	}
	buf_reset(&text);
	if (field_true(consistency, "watch.on")) {
		buf_printf(&text, "%.2f, alarm at %g", field_number(consistency, "watch.cusum"),
			   field_number(consistency, "watch.alarm"));
		screen_named(out, style, "watch", TINT_NONE, buf_cstr(&text));
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
		   figure_count(field_count(noise, "differing")).text,
		   figure_count(field_count(noise, "samples")).text);
	json_array_foreach(proposed, i, item)
	{
		if (i == IGNORES_SHOWN)
			buf_printf(&text, " and %zu more", json_array_size(proposed) - i);
		else if (i < IGNORES_SHOWN)
			buf_printf(&text, "%s%s",
				   i ? ", " : "; proposed to ignore: ", json_string_value(item) ?: "?");
	}
	screen_named(out, style, "", TINT_YELLOW, buf_cstr(&text));
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
			   figure_percent(field_number(consistency, "limit_promote")).text,
			   figure_percent(field_number(consistency, "limit_rollback")).text);
	screen_named(out, style, "consistency", consistency_tint(consistency), buf_cstr(&text));
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
		screen_named(out, style, "", TINT_NONE, buf_cstr(&text));
	buf_reset(&text);
	json_object_foreach(uncompared, reason, item)
	{
		if (json_number_value(item) > 0)
			buf_printf(&text, "%s%s %s", text.len ? ", " : "not comparable: ",
				   figure_count((uint64_t)json_number_value(item)).text, reason);
	}
	if (text.len)
		screen_named(out, style, "", TINT_YELLOW, buf_cstr(&text));
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
	buf_printf(&text, "p99 %s, p50 %s, ", figure_latency(field_number(side, "p99_ms")).text,
		   figure_latency(field_number(side, "p50_ms")).text);
	buf_printf(&text, "errors %s (%s of %s)", figure_percent(field_number(side, "error_rate")).text,
		   figure_count(field_count(side, "errors")).text,
		   figure_count(field_count(side, "requests")).text);
	buf_printf(&text, "  %s%s", field_true(side, "down") ? "DOWN " : "", field_text(route, url, ""));
	screen_named(out, style, side_name, side_tint(side), buf_cstr(&text));
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
		   field_count(route, "step.number"), figure_span(field_count(route, "step.age_ms")).text);
	screen_named(out, style, "arbiter", TINT_NONE, buf_cstr(&text));
	buf_reset(&text);
	json_array_foreach(field(route, "badges"), i, item)
		buf_printf(&text, "%s%s", i ? ", " : "", json_string_value(item) ?: "?");
	if (text.len)
		screen_named(out, style, "note", TINT_YELLOW, buf_cstr(&text));
	buf_reset(&text);
	json_array_foreach(field(route, "verbs"), i, item)
		buf_printf(&text, "%s%s", i ? ", " : "", json_string_value(item) ?: "?");
	if (text.len)
		screen_named(out, style, "possible", TINT_NONE, buf_cstr(&text));
	buf_fini(&text);
}

void screen_route(const json_t *route, const struct style *style, bool brief, struct buf *out)
{
	const char *state = field_text(route, "state", "?");
	json_t *item;
	size_t i;

	struct buf what = {0};

	tint_begin(out, style->colour, TINT_BOLD);
	format_clean(out, field_text(route, "id", "?"));
	tint_end(out, style->colour, TINT_BOLD);
	json_array_foreach(field(route, "methods"), i, item)
		buf_printf(&what, "%s%s", i ? "," : "", json_string_value(item) ?: "?");
	buf_printf(&what, " %s%s", field_text(route, "host", ""), field_text(route, "path", ""));
	size_t at = format_columns(field_text(route, "id", "?"), strlen(field_text(route, "id", "?")));
	if (style->width && at + 3 + format_columns(buf_cstr(&what), what.len) > style->width)
		buf_append_str(out, "\n");
	else
		buf_append_str(out, "  ");
	screen_text(out, style, 2, TINT_NONE, buf_cstr(&what));
	buf_fini(&what);
	screen_text(out, style, 2, tint_of_state(state), field_text(route, "headline", state));
	if (*field_text(route, "detail", ""))
		screen_text(out, style, 2, TINT_NONE, field_text(route, "detail", ""));
	screen_weight(route, style, brief, out);
	screen_evidence(route, style, out);
	screen_side(route, "legacy", style, out);
	screen_side(route, "modern", style, out);
	if (!brief)
		screen_more(route, style, out);
}

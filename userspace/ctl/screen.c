/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen: see screen.h. The words of a state come from the daemon and are printed as they are; what is added
 * here is only order, colour and the figures beside them.
 */
#include "ctl/screen_internal.h"

#include "option.h"

#define UNWRAPPED  1000000 /* columns of a pipe */
#define BLOCKS_MAX 3	   /* routes shown as blocks where a table is too wide */

void screen_consistency(const json_t *consistency, struct buf *out)
{
	uint64_t samples = field_count(consistency, "samples");
	if (samples == 0) {
		buf_append_str(out, "- (0 samples)");
		return;
	}
	buf_printf(out, "%s (%s of %s)", figure_percent(field_number(consistency, "ratio")).text,
		   figure_count(field_count(consistency, "matches")).text, figure_count(samples).text);
}

/* "p99 2.10 ms, errors 0%" or "down". */
static void side_text(const json_t *side, struct buf *out)
{
	if (field_true(side, "down"))
		buf_append_str(out, "down, ");
	buf_printf(out, "%s, %s", figure_latency(field_number(side, "p99_ms")).text,
		   figure_percent(field_number(side, "error_rate")).text);
}

enum tint side_tint(const json_t *side)
{
	return field_true(side, "down") || field_number(side, "error_rate") > 0 ? TINT_RED : TINT_NONE;
}

enum tint consistency_tint(const json_t *consistency)
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

void screen_text(struct buf *out, const struct style *style, size_t indent, enum tint tint, const char *text)
{
	struct buf clean = {0};

	format_clean(&clean, text);
	buf_printf(out, "%*s", (int)(out->len && out->data[out->len - 1] != '\n' ? 0 : indent), "");
	tint_begin(out, style->colour, tint);
	option_wrap(out, buf_cstr(&clean), indent, indent, style->width ? style->width : UNWRAPPED);
	out->len--; /* the colour ends before the line does */
	tint_end(out, style->colour, tint);
	buf_append_char(out, '\n');
	buf_fini(&clean);
}

void screen_named(struct buf *out, const struct style *style, const char *name, enum tint tint,
		  const char *text)
{
	tint_printf(out, style->colour, TINT_DIM, "  %-*s", LABEL_COLUMNS - 2, name);
	screen_text(out, style, LABEL_COLUMNS, tint, text);
}

/* What a table has depends on the room: a pipe takes all, a narrow terminal the figures that matter most. */
enum table_form { FORM_ALL, FORM_BARS, FORM_NARROW };

/* How the routes are to be shown; `selected` is the id that has the mark, NULL = nothing is to be chosen. */
struct showing {
	const struct style *style;
	enum table_form form;
	const char *selected;
};

static const char *mark_of(const struct style *style, const char *selected, const json_t *route)
{
	if (strcmp(field_text(route, "id", "?"), selected) != 0)
		return " ";
	return style->unicode ? "▸" : ">";
}

static void side_cell(struct table *table, const json_t *side)
{
	struct buf text = {0};
	side_text(side, &text);
	table_cell(table, side_tint(side), "%s", buf_cstr(&text));
	buf_fini(&text);
}

static void route_row(const json_t *route, const struct showing *showing, struct table *table)
{
	const char *state = field_text(route, "state", "?");
	double wanted = field_number(route, "weight.wanted"), set = field_number(route, "weight.set");
	struct buf bar = {0}, consistency = {0};

	format_bar(&bar, set, BAR_COLUMNS, showing->style->unicode);
	screen_consistency(field(route, "consistency"), &consistency);
	if (showing->selected)
		table_cell(table, TINT_BOLD, "%s", mark_of(showing->style, showing->selected, route));
	table_cell(table, TINT_BOLD, "%s", field_text(route, "id", "?"));
	table_cell(table, tint_of_state(state), "%s",
		   showing->form == FORM_NARROW ? state : field_text(route, "headline", state));
	if (showing->form == FORM_BARS)
		table_cell(table, tint_of_state(state), "%s", buf_cstr(&bar));
	table_cell(table, TINT_NONE, "%s", figure_percent(wanted).text);
	table_cell(table, set != wanted ? TINT_YELLOW : TINT_NONE, "%s", figure_percent(set).text);
	table_cell(table, TINT_NONE, "%s", figure_percent(field_number(route, "weight.seen")).text);
	table_cell(table, consistency_tint(field(route, "consistency")), "%s", buf_cstr(&consistency));
	if (showing->form != FORM_NARROW) {
		side_cell(table, field(route, "sides.legacy"));
		side_cell(table, field(route, "sides.modern"));
	}
	table_cell(table, TINT_NONE, "%s", field_text(route, "detail", ""));
	buf_fini(&bar);
	buf_fini(&consistency);
}

static void route_table(const json_t *routes, const struct showing *showing, struct table *table)
{
	json_t *route;
	size_t i;

	if (showing->selected)
		table_column(table, "", false);
	table_column(table, "ROUTE", false);
	table_column(table, "STATE", false);
	if (showing->form == FORM_BARS)
		table_column(table, "WEIGHT", false);
	table_column(table, "WANTED", true);
	table_column(table, "SET", true);
	table_column(table, "SEEN", true);
	table_column(table, "CONSISTENCY", false);
	if (showing->form != FORM_NARROW) {
		table_column(table, "LEGACY p99, errors", false);
		table_column(table, "MODERN p99, errors", false);
	}
	table_column(table, "NEXT", false);
	if (!showing->selected) /* where one looks on and on, a row stays a row */
		table->spill = table->columns - 1;
	json_array_foreach(routes, i, route) route_row(route, showing, table);
}

/* What is wrong with the daemon itself, a line each. */
/* Who decides, where several gateways share their state. */
static void screen_fleet(const json_t *status, const struct style *style, struct buf *out)
{
	const char *role = field_text(status, "fleet.role", "alone");
	const json_t *members = field(status, "fleet.members"), *member;
	struct buf text = {0};
	size_t i, alive = 0;
	if (strcmp(role, "alone") == 0)
		return;
	json_array_foreach(members, i, member) alive += field_true(member, "alive");
	if (strcmp(role, "cut_off") == 0)
		buf_printf(&text,
			   "cut off, Redis does not answer (%s): nothing is promoted, rollbacks are decided "
			   "here",
			   field_text(status, "fleet.redis_error", "?"));
	else
		buf_printf(&text, "%zu gateways; this one %s%s%s", alive, role,
			   strcmp(role, "follows") == 0 ? " " : "",
			   strcmp(role, "follows") == 0 ? field_text(status, "fleet.leader", "nobody yet")
							: "");
	screen_named(out, style, "fleet", strcmp(role, "cut_off") == 0 ? TINT_RED : TINT_NONE,
		     buf_cstr(&text));
	buf_fini(&text);
}

static void screen_troubles(const json_t *status, const struct style *style, struct buf *out)
{
	struct buf text = {0};
	if (json_is_false(field(status, "config.last_reload_successful"))) {
		buf_printf(&text, "the last reload failed, the old configuration runs on: %s",
			   field_text(status, "config.last_reload_error", "see the log"));
		screen_named(out, style, "config", TINT_RED, buf_cstr(&text));
		buf_reset(&text);
	}
	if (json_is_false(field(status, "store.ok"))) {
		buf_printf(&text, "the %s store does not work: %s", field_text(status, "store.kind", "?"),
			   field_text(status, "store.error", "see the log"));
		screen_named(out, style, "store", TINT_RED, buf_cstr(&text));
		buf_reset(&text);
	}
	screen_fleet(status, style, out);
	buf_fini(&text);
}

/* What is being verified or deployed has no route yet, or one that does not tell: a line each. */
static void screen_migrations(const json_t *status, const struct style *style, struct buf *out)
{
	json_t *migration;
	size_t i;
	json_array_foreach(field(status, "migrations"), i, migration)
	{
		const char *stage = field_text(migration, "stage", "");
		struct buf text = {0};
		if (field_true(migration, "over") || strcmp(stage, "mirror") == 0 ||
		    strcmp(stage, "migrate") == 0 || strcmp(stage, "complete") == 0)
			continue; /* from there on the route says it */
		buf_printf(&text, "%s: %s", field_text(migration, "id", "?"),
			   field_text(migration, "headline", "?"));
		if (*field_text(migration, "last_line", ""))
			buf_printf(&text, ": %s", field_text(migration, "last_line", ""));
		screen_named(out, style, "migration", TINT_CYAN, buf_cstr(&text));
		buf_fini(&text);
	}
}

/* The daemon in one line, for people at a terminal. */
static void screen_daemon(const json_t *status, const struct style *style, struct buf *out)
{
	struct buf text = {0};
	buf_printf(&text, "phoenixd %s, up %s, %" PRIu64 " workers, ", field_text(status, "version", "?"),
		   figure_span(field_count(status, "uptime_ms")).text, field_count(status, "workers"));
	buf_printf(&text, "%s requests", figure_count(field_count(status, "totals.requests")).text);
	if (isfinite(field_number(status, "totals.rps")))
		buf_printf(&text, ", %.1f/s", field_number(status, "totals.rps"));
	if (strcmp(field_text(status, "path", ""), "xdp") == 0)
		buf_append_str(&text, ", NIC path on");
	screen_text(out, style, 0, TINT_DIM, buf_cstr(&text));
	buf_append_char(out, '\n');
	buf_fini(&text);
}

/* False, and nothing added, where they would not fit a window that is looked at again and again. */
static bool screen_blocks(const json_t *routes, const struct showing *showing, struct buf *out)
{
	size_t before = out->len, lines = 0, i;
	json_t *route;
	json_array_foreach(routes, i, route)
	{
		buf_append_str(out, i ? "\n" : "");
		if (showing->selected)
			buf_printf(out, "%s ", mark_of(showing->style, showing->selected, route));
		screen_route(route, showing->style, true, out);
	}
	for (size_t at = 0; at < out->len; at++)
		lines += out->data[at] == '\n';
	if (!showing->selected || lines < showing->style->height)
		return true;
	out->len = before;
	return false;
}

void screen_status(const json_t *status, const struct style *style, const char *selected, struct buf *out)
{
	struct showing showing = {style, style->terminal ? FORM_BARS : FORM_ALL, selected};
	json_t *routes = field(status, "routes");
	struct table table = {0};

	screen_text(out, style, 0, TINT_BOLD, field_text(status, "headline", "?"));
	screen_troubles(status, style, out);
	screen_migrations(status, style, out);
	if (style->terminal)
		screen_daemon(status, style, out);
	if (json_array_size(routes) == 0) {
		buf_append_str(out, "no routes\n");
		return;
	}
	route_table(routes, &showing, &table);
	if (style->width && table_width(&table) > style->width) {
		table_fini(&table);
		if (json_array_size(routes) <= BLOCKS_MAX && screen_blocks(routes, &showing, out))
			return;
		showing.form = FORM_NARROW;
		route_table(routes, &showing, &table);
	}
	table_render(&table, style, out);
	table_fini(&table);
}

void screen_line(const json_t *route, struct buf *out)
{
	struct buf text = {0};
	const char *detail = field_text(route, "detail", "");

	buf_printf(&text, "%s: %s; wanted %s, ", field_text(route, "id", "?"),
		   field_text(route, "headline", "?"),
		   figure_percent(field_number(route, "weight.wanted")).text);
	buf_printf(&text, "set %s, seen %s; consistency ",
		   figure_percent(field_number(route, "weight.set")).text,
		   figure_percent(field_number(route, "weight.seen")).text);
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

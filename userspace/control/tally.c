/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally: see tally.h. Members have numbers; a route has its entries in the order in which members spoke of
 * it. A route is found by hash (open addressing, grown at three quarters); sums are made when asked for,
 * which is seldom beside publications and can then not drift from what they are made of.
 */
#include "control/tally.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define FORMAT	 1
#define NUMBERS	 (sizeof(struct tally_counts) / sizeof(uint64_t))
#define ROUTE_ID 64

_Static_assert(NUMBERS * sizeof(uint64_t) == sizeof(struct tally_counts),
	       "counts are numbers and nothing else");

struct entry {
	uint32_t member;
	struct tally_report report;
};

struct route_tally {
	char id[ROUTE_ID + 1]; /* "" = free place */
	uint32_t count, max;
	struct entry *entries;
};

struct tally {
	char (*members)[TALLY_MEMBER_SIZE];
	uint32_t member_count;
	struct route_tally *routes; /* by hash */
	uint32_t places, used;	    /* a power of two */
	size_t entry_bytes;
};

/* --- as it travels -------------------------------------------------------------------------------------- */

void tally_report_write(const struct tally_report *report, struct buf *out)
{
	const uint64_t *numbers = (const uint64_t *)&report->counts;
	buf_printf(out, "%d %" PRIu64 " %" PRIu32 " %" PRIu64, FORMAT, report->number, report->step,
		   report->build);
	for (unsigned i = 0; i < NUMBERS; i++)
		buf_printf(out, " %" PRIu64, numbers[i]);
}

/* The next number, and the blank behind it if there is one. */
static bool take_number(struct slice *rest, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	size_t i = 0;
	while (i < rest->len && rest->ptr[i] >= '0' && rest->ptr[i] <= '9') {
		unsigned digit = (unsigned)(rest->ptr[i++] - '0');
		if (value > (max - digit) / 10)
			return false;
		value = 10 * value + digit;
	}
	if (i == 0 || (i < rest->len && rest->ptr[i] != ' '))
		return false;
	i += i < rest->len;
	*rest = slice_of(rest->ptr + i, rest->len - i);
	*out = value;
	return true;
}

int tally_report_read(struct slice text, struct tally_report *out)
{
	struct tally_report report;
	uint64_t format, step, *numbers = (uint64_t *)&report.counts;
	if (!take_number(&text, UINT32_MAX, &format))
		return -EBADMSG;
	if (format != FORMAT)
		return -EPROTO;
	bool fine = take_number(&text, UINT64_MAX, &report.number) && take_number(&text, UINT32_MAX, &step) &&
		    take_number(&text, UINT64_MAX, &report.build);
	for (unsigned i = 0; fine && i < NUMBERS; i++)
		fine = take_number(&text, INT64_MAX, &numbers[i]);
	if (!fine || text.len)
		return -EBADMSG;
	report.step = (uint32_t)step;
	*out = report;
	return 0;
}

/* --- members and routes --------------------------------------------------------------------------------- */

int tally_create(struct tally **out)
{
	struct tally *tally = calloc(1, sizeof(*tally));
	if (tally)
		tally->members = calloc(TALLY_MEMBERS_MAX, sizeof(*tally->members));
	if (!tally || !tally->members) {
		free(tally);
		return -ENOMEM;
	}
	*out = tally;
	return 0;
}

void tally_clear(struct tally *tally)
{
	for (uint32_t i = 0; i < tally->places; i++)
		free(tally->routes[i].entries);
	free(tally->routes);
	tally->routes = NULL;
	tally->places = tally->used = 0;
	tally->member_count = 0;
	tally->entry_bytes = 0;
}

void tally_destroy(struct tally *tally)
{
	if (!tally)
		return;
	tally_clear(tally);
	free(tally->members);
	free(tally);
}

static bool is_name(struct slice text, const char *name)
{
	return slice_equal(text, slice_str(name));
}

/* The member's number; member_count when there is none. */
static uint32_t find_member(const struct tally *tally, struct slice name)
{
	uint32_t i = 0;
	while (i < tally->member_count && !is_name(name, tally->members[i]))
		i++;
	return i;
}

static int get_member(struct tally *tally, struct slice name, uint32_t *out)
{
	uint32_t i = find_member(tally, name);
	if (i == tally->member_count) {
		if (i == TALLY_MEMBERS_MAX || name.len == 0 || name.len >= TALLY_MEMBER_SIZE)
			return -ENOSPC;
		memcpy(tally->members[i], name.ptr, name.len);
		tally->members[i][name.len] = '\0';
		tally->member_count++;
	}
	*out = i;
	return 0;
}

static uint64_t hash_id(struct slice id)
{
	uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a; ids come from our own configuration */
	for (size_t i = 0; i < id.len; i++)
		hash = (hash ^ (unsigned char)id.ptr[i]) * 0x100000001b3ULL;
	return hash ^ hash >> 32;
}

/* The route's place, or the free one where it would be. The table has free places. */
static struct route_tally *place_of(const struct tally *tally, struct slice id)
{
	uint32_t mask = tally->places - 1, i = (uint32_t)hash_id(id) & mask;
	while (tally->routes[i].id[0] && !is_name(id, tally->routes[i].id))
		i = (i + 1) & mask;
	return &tally->routes[i];
}

static int grow(struct tally *tally)
{
	struct tally larger = {.places = tally->places ? 2 * tally->places : 64};
	larger.routes = calloc(larger.places, sizeof(*larger.routes));
	if (!larger.routes)
		return -ENOMEM;
	for (uint32_t i = 0; i < tally->places; i++) {
		if (tally->routes[i].id[0])
			*place_of(&larger, slice_str(tally->routes[i].id)) = tally->routes[i];
	}
	free(tally->routes);
	tally->routes = larger.routes;
	tally->places = larger.places;
	return 0;
}

static int get_route(struct tally *tally, struct slice id, struct route_tally **out)
{
	if (id.len == 0 || id.len > ROUTE_ID)
		return -EINVAL;
	if (4 * tally->used >= 3 * tally->places && grow(tally))
		return -ENOMEM;
	struct route_tally *route = place_of(tally, id);
	if (!route->id[0]) {
		memcpy(route->id, id.ptr, id.len);
		tally->used++;
	}
	*out = route;
	return 0;
}

static const struct route_tally *find_route(const struct tally *tally, struct slice id)
{
	const struct route_tally *route =
		tally->places && id.len && id.len <= ROUTE_ID ? place_of(tally, id) : NULL;
	return route && route->id[0] ? route : NULL;
}

/* --- taking and adding up ------------------------------------------------------------------------------- */

static int add_entry(struct tally *tally, struct route_tally *route, uint32_t member, struct entry **out)
{
	if (route->count == route->max) {
		uint32_t max = route->max ? 2 * route->max : 2;
		struct entry *more = realloc(route->entries, max * sizeof(*more));
		if (!more)
			return -ENOMEM;
		tally->entry_bytes += (max - route->max) * sizeof(*more);
		route->entries = more;
		route->max = max;
	}
	*out = &route->entries[route->count++];
	(*out)->member = member;
	(*out)->report.number = 0;
	return 0;
}

int tally_take(struct tally *tally, struct slice member, struct slice route,
	       const struct tally_report *report)
{
	uint32_t number = 0;
	struct route_tally *of = NULL;
	int err = get_member(tally, member, &number);
	if (!err)
		err = get_route(tally, route, &of);
	if (err)
		return err;
	struct entry *entry = of->entries;
	while (entry < of->entries + of->count && entry->member != number)
		entry++;
	bool is_new = entry == of->entries + of->count;
	if (is_new)
		err = add_entry(tally, of, number, &entry);
	if (err)
		return err;
	if (!is_new && report->number <= entry->report.number)
		return 0;
	entry->report = *report;
	return 1;
}

void tally_add(struct tally_counts *into, const struct tally_counts *from)
{
	uint64_t *to = (uint64_t *)into;
	const uint64_t *numbers = (const uint64_t *)from;
	struct tally_counts before = *into;
	for (unsigned i = 0; i < NUMBERS; i++)
		to[i] += numbers[i];
	/* How varied it is cannot be added up: the same shapes and keys are seen everywhere. */
	into->shapes = before.shapes > from->shapes ? before.shapes : from->shapes;
	bool more_keys = from->legacy_keys + from->modern_keys > before.legacy_keys + before.modern_keys;
	into->legacy_keys = more_keys ? from->legacy_keys : before.legacy_keys;
	into->modern_keys = more_keys ? from->modern_keys : before.modern_keys;
	into->watch_millionths = before.watch_millionths > from->watch_millionths ? before.watch_millionths
										  : from->watch_millionths;
}

void tally_add_to_view(struct facts_view *view, const struct tally_counts *others)
{
	view->now.samples += others->samples;
	view->now.mismatches += others->mismatches;
	view->now.synthetic += others->synthetic;
	view->now.synthetic_mismatches += others->synthetic_mismatches;
	view->now.errors += others->errors;
	for (unsigned i = 0; i < FACTS_REASON_COUNT; i++)
		view->now.not_comparable[i] += others->not_comparable[i];
	view->build_samples += others->build_samples;
	view->build_mismatches += others->build_mismatches;
	view->build_synthetic += others->build_synthetic;
	view->build_synthetic_mismatches += others->build_synthetic_mismatches;
	view->shapes = view->shapes > others->shapes ? view->shapes : others->shapes;
	view->top_shape += others->top_shape;
	if (others->legacy_keys + others->modern_keys > view->keys[PHX_LEGACY] + view->keys[PHX_MODERN]) {
		view->keys[PHX_LEGACY] = others->legacy_keys;
		view->keys[PHX_MODERN] = others->modern_keys;
	}
	double watch = (double)others->watch_millionths / 1e6;
	view->watch = view->watch > watch ? view->watch : watch;
}

void tally_from_view(struct tally_counts *out, const struct facts_view *view, bool current)
{
	*out = (struct tally_counts){
		.build_samples = view->build_samples,
		.build_mismatches = view->build_mismatches,
		.build_synthetic = view->build_synthetic,
		.build_synthetic_mismatches = view->build_synthetic_mismatches,
		.watch_millionths = (uint64_t)(view->watch * 1e6),
	};
	if (!current)
		return;
	out->samples = view->now.samples;
	out->mismatches = view->now.mismatches;
	out->synthetic = view->now.synthetic;
	out->synthetic_mismatches = view->now.synthetic_mismatches;
	out->errors = view->now.errors;
	out->shapes = view->shapes;
	out->top_shape = view->top_shape;
	out->legacy_keys = view->keys[PHX_LEGACY];
	out->modern_keys = view->keys[PHX_MODERN];
	memcpy(out->not_comparable, view->now.not_comparable, sizeof(out->not_comparable));
}

/* What of a report belongs to this step and this build. False: nothing. */
static bool relevant(const struct tally_report *report, uint32_t step, uint64_t build,
		     struct tally_counts *out)
{
	if (report->build != build)
		return false;
	*out = report->counts;
	if (report->step != step) {
#define X(name) out->name = 0;
		TALLY_STEP(X)
		TALLY_VARIETY(X)
#undef X
		memset(out->not_comparable, 0, sizeof(out->not_comparable));
	}
	return true;
}

void tally_sum(const struct tally *tally, struct slice route, const char *except, uint32_t step,
	       uint64_t build, struct tally_counts *out, unsigned *members)
{
	struct tally_counts sum = {0}, part;
	unsigned count = 0;
	const struct route_tally *of = find_route(tally, route);
	uint32_t not_this = except ? find_member(tally, slice_str(except)) : UINT32_MAX;
	for (uint32_t i = 0; of && i < of->count; i++) {
		const struct entry *entry = &of->entries[i];
		if (entry->member == not_this || !relevant(&entry->report, step, build, &part))
			continue;
		tally_add(&sum, &part);
		count++;
	}
	*out = sum;
	if (members)
		*members = count;
}

void tally_forget(struct tally *tally, struct slice route)
{
	struct route_tally *of = (struct route_tally *)find_route(tally, route);
	if (!of)
		return;
	/* The place stays taken, empty: those behind it are found through it. */
	tally->entry_bytes -= of->max * sizeof(*of->entries);
	free(of->entries);
	of->entries = NULL;
	of->count = of->max = 0;
}

size_t tally_bytes(const struct tally *tally)
{
	return sizeof(*tally) + TALLY_MEMBERS_MAX * sizeof(*tally->members) +
	       tally->places * sizeof(*tally->routes) + tally->entry_bytes;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare_match: which member of one object belongs to which of the other, and arrays as multisets.
 *
 * Members: services mostly write them in the same order, so names are first taken off both objects as long as
 * they agree. Small objects are then matched by looking at all pairs, large ones through a hash table; both
 * notice a name that stands twice in one object. Slots of the table carry a generation, so it is never
 * cleared.
 *
 * Multisets: every element gets a hash of its meaning (member order, number notation, escapes and ignored
 * places do not enter it); both lists are sorted by it; equal hashes are verified by comparing. With a
 * tolerance, numbers cannot enter the hash: then plain numbers are matched in sorted order (which finds the
 * largest matching, since "within t" pairs of sorted lists never need to cross), anything else by trying,
 * within the walk's bound of work. What stays unmatched is paired in order of position, so that a report says
 * which part of an element differs instead of showing two whole elements.
 *
 * The hash is keyed and never leaves the process, so hostile bodies cannot aim at collisions; and should many
 * fall together nevertheless, the steps are counted as work.
 */
#include "judge/compare_internal.h"

#include <stdlib.h>

#define SMALL_OBJECT 8

__extension__ typedef unsigned __int128 wide;

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	wide product = (wide)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load64(const char *p)
{
	uint64_t x;
	memcpy(&x, p, sizeof(x));
	return x;
}

/* Up to 7 bytes as a number. */
static inline uint64_t load_tail(const char *p, size_t len)
{
	uint64_t x = 0;
	for (size_t i = 0; i < len; i++)
		x = x << 8 | (uint8_t)p[i];
	return x;
}

/* The first eight bytes, fewer when the string is shorter; `readable` bytes may be touched. */
static inline uint64_t load_short(const char *p, size_t len, size_t readable)
{
	if (len >= 8)
		return load64(p);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	if (readable >= 8)
		return load64(p) & ((UINT64_C(1) << (8 * len)) - 1);
#endif
	uint64_t x = 0;
	memcpy(&x, p, len);
	return x;
}

/* A keyed hash by folded multiplication: fast, and good enough for tables that nobody can look into. */
static uint64_t hash_bytes(const struct compare_plan *plan, struct slice s)
{
	uint64_t h = plan->seed[0] ^ s.len;
	const char *p = s.ptr;
	size_t left = s.len;
	for (; left > 16; left -= 16, p += 16)
		h = fold(load64(p) ^ plan->seed[1], load64(p + 8) ^ h);
	uint64_t a = 0, b;
	if (left >= 8) {
		a = load64(p);
		b = load64(p + left - 8);
	} else {
		b = load_tail(p, left);
	}
	h = fold(a ^ plan->seed[1], b ^ h);
	return fold(h ^ UINT64_C(0x9e3779b97f4a7c15), plan->seed[1] | 1);
}

static inline uint64_t hash_mix(const struct compare_plan *plan, uint64_t a, uint64_t b)
{
	return fold(a ^ plan->seed[0], b ^ plan->seed[1]) + a;
}

static inline bool names_equal(const struct side *sa, uint32_t a, const struct side *sb, uint32_t b)
{
	const struct json_token *ta = token_at(sa, a), *tb = token_at(sb, b);
	return json_string_equal(json_token_text(sa->text, ta), ta->escaped, json_token_text(sb->text, tb),
				 tb->escaped);
}

/* The same bytes: enough to know that they are equal. */
static inline bool names_same(const struct side *sa, uint32_t a, const struct side *sb, uint32_t b)
{
	return slice_equal(json_token_text(sa->text, token_at(sa, a)),
			   json_token_text(sb->text, token_at(sb, b)));
}

static inline uint32_t next_name(const struct side *side, uint32_t name)
{
	return token_at(side, name + 1)->next;
}

static bool reserve_pairs(struct walk *w, size_t extra)
{
	struct compare_scratch *s = w->scratch;
	if (s->pair_cap - s->pair_count >= extra)
		return true;
	size_t cap = 2 * s->pair_cap + extra + 64;
	uint32_t *pairs = realloc(s->pairs, cap * sizeof(*pairs));
	if (!pairs) {
		walk_fail(w, COMPARE_REASON_NO_MEMORY);
		return false;
	}
	s->pairs = pairs;
	s->pair_cap = cap;
	return true;
}

static inline void push_pair(struct walk *w, uint32_t name)
{
	w->scratch->pairs[w->scratch->pair_count++] = name;
}

/* The names of a small object, each with its first eight bytes and its length to tell most apart at once. */
struct names {
	const struct side *side;
	uint32_t count;
	bool escaped; /* one has escapes: its bytes say nothing */
	uint32_t tokens[SMALL_OBJECT];
	uint64_t prints[SMALL_OBJECT];
};

static void names_collect(struct names *names, const struct side *side, uint32_t object)
{
	uint32_t name = object + 1;
	names->side = side;
	names->count = token_at(side, object)->count;
	names->escaped = false;
	for (uint32_t i = 0; i < names->count; i++, name = next_name(side, name)) {
		const struct json_token *t = token_at(side, name);
		size_t len = t->end - t->start;
		const char *p = side->text.ptr + t->start;
		uint64_t print = load_short(p, len, side->text.len - t->start);
		names->tokens[i] = name;
		names->prints[i] = print * UINT64_C(0x9e3779b97f4a7c15) + len;
		names->escaped |= t->escaped;
	}
}

static inline bool names_match(const struct names *a, uint32_t i, const struct names *b, uint32_t j,
			       bool prints)
{
	if (prints && a->prints[i] != b->prints[j])
		return false;
	return names_equal(a->side, a->tokens[i], b->side, b->tokens[j]);
}

static bool has_duplicate(const struct names *names)
{
	for (uint32_t i = 1; i < names->count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (names_match(names, i, names, j, !names->escaped))
				return true;
		}
	}
	return false;
}

static bool match_small(struct walk *w, uint32_t a, uint32_t b)
{
	struct names legacy = {0}, modern = {0};
	uint32_t taken = 0, matches = 0;
	names_collect(&legacy, w->legacy, a);
	names_collect(&modern, w->modern, b);
	bool prints = !legacy.escaped && !modern.escaped;

	for (uint32_t i = 0; i < legacy.count; i++) {
		uint32_t found = NO_TOKEN;
		for (uint32_t k = 0, j = i < modern.count ? i : 0; k < modern.count; k++) {
			if (!(taken & 1u << j) && names_match(&legacy, i, &modern, j, prints)) {
				taken |= 1u << j;
				matches++;
				found = modern.tokens[j];
				break;
			}
			j = j + 1 < modern.count ? j + 1 : 0;
		}
		push_pair(w, found);
	}
	/* When every name found its own partner, names that are unique here are unique there. */
	if (has_duplicate(&legacy) || (matches < modern.count && has_duplicate(&modern))) {
		w->duplicate = true;
		return false;
	}
	for (uint32_t j = 0; j < modern.count && matches < modern.count; j++) {
		if (!(taken & 1u << j))
			push_pair(w, modern.tokens[j]);
	}
	return true;
}

/* The table of one object's names: a part of the scratch's slots. */
struct table {
	struct slot *slots;
	uint32_t mask;
	uint32_t generation;
};

/* Room for `count` names at half load. */
static bool table_make(struct walk *w, uint64_t count, struct table *table)
{
	struct compare_scratch *s = w->scratch;
	uint32_t cap = 64;
	while (cap < 2 * count)
		cap *= 2;
	if (cap > s->slot_cap) {
		struct slot *slots = calloc(cap, sizeof(*slots));
		if (!slots) {
			walk_fail(w, COMPARE_REASON_NO_MEMORY);
			return false;
		}
		free(s->slots);
		s->slots = slots;
		s->slot_cap = cap;
		s->generation = 0;
	}
	if (++s->generation == 0) {
		memset(s->slots, 0, s->slot_cap * sizeof(*s->slots));
		s->generation = 1;
	}
	*table = (struct table){s->slots, cap - 1, s->generation};
	return true;
}

/* The slot that holds this name, or the free one where it belongs (its generation is an older one). */
static struct slot *table_find(struct walk *w, const struct table *table, const struct side *side,
			       uint32_t name, uint32_t *hash)
{
	*hash = (uint32_t)(hash_bytes(w->plan, token_string(w->scratch, side, name)) >> 32);
	uint32_t at = *hash & table->mask, steps = 1;
	for (;; at = (at + 1) & table->mask, steps++) {
		struct slot *slot = &table->slots[at];
		if (slot->generation != table->generation ||
		    (slot->hash == *hash && names_equal(slot->side, slot->token, side, name))) {
			w->work += steps / 8;
			return slot;
		}
	}
}

/* Puts a new name in; false when it stands there already. */
static bool table_insert(struct walk *w, const struct table *table, const struct side *side, uint32_t name,
			 bool matched)
{
	uint32_t hash;
	struct slot *slot = table_find(w, table, side, name, &hash);
	if (slot->generation == table->generation) {
		w->duplicate = true;
		return false;
	}
	*slot = (struct slot){table->generation, hash, name, matched, side};
	return true;
}

/* Finds a legacy name in the table; *found is the modern one or NO_TOKEN. False: it stands twice. */
static bool table_match(struct walk *w, const struct table *table, uint32_t name, uint32_t *found)
{
	uint32_t hash;
	struct slot *slot = table_find(w, table, w->legacy, name, &hash);
	if (slot->generation != table->generation) {
		*slot = (struct slot){table->generation, hash, name, true, w->legacy};
		*found = NO_TOKEN;
		return true;
	}
	if (slot->matched) {
		w->duplicate = true;
		return false;
	}
	slot->matched = true;
	*found = slot->token;
	return true;
}

static bool match_large(struct walk *w, uint32_t a, uint32_t b)
{
	uint32_t legacy_count = token_at(w->legacy, a)->count, modern_count = token_at(w->modern, b)->count;
	uint32_t x = a + 1, y = b + 1, i = 0, matches;
	struct table table;
	if (!table_make(w, (uint64_t)legacy_count + modern_count, &table))
		return false;

	/* As long as both have the same order, a name is only looked up to see that it is new. */
	for (; i < legacy_count && i < modern_count && names_same(w->legacy, x, w->modern, y); i++) {
		if (!table_insert(w, &table, w->modern, y, true))
			return false;
		push_pair(w, y);
		x = next_name(w->legacy, x);
		y = next_name(w->modern, y);
	}
	matches = i;
	uint32_t rest = y;
	for (uint32_t j = i; j < modern_count; j++, y = next_name(w->modern, y)) {
		if (!table_insert(w, &table, w->modern, y, false))
			return false;
	}
	for (; i < legacy_count; i++, x = next_name(w->legacy, x)) {
		uint32_t found;
		if (!walk_work(w, 1) || !table_match(w, &table, x, &found))
			return false;
		push_pair(w, found);
		matches += found != NO_TOKEN;
	}
	for (y = rest; matches < modern_count; y = next_name(w->modern, y)) {
		uint32_t hash;
		if (!table_find(w, &table, w->modern, y, &hash)->matched) {
			push_pair(w, y);
			matches++;
		}
	}
	return true;
}

bool match_members(struct walk *w, uint32_t a, uint32_t b)
{
	uint32_t legacy = token_at(w->legacy, a)->count, modern = token_at(w->modern, b)->count;
	if (!reserve_pairs(w, (size_t)legacy + modern))
		return false;
	if (legacy <= SMALL_OBJECT && modern <= SMALL_OBJECT)
		return match_small(w, a, b);
	return match_large(w, a, b);
}

static uint64_t hash_number(struct walk *w, struct slice text)
{
	struct buf *normal = &w->scratch->name;
	buf_reset(normal);
	if (!buf_reserve(normal, text.len + 24))
		return 0;
	size_t len = number_normal(text, normal->data);
	return hash_bytes(w->plan, slice_of(normal->data, len));
}

/* The hash of a value's meaning. `exact`: numbers by their value; otherwise all numbers are alike. */
static uint64_t hash_value(struct walk *w, const struct side *side, uint32_t token, struct pointer_state at,
			   bool exact)
{
	const struct json_token *t = token_at(side, token);
	uint64_t h = (uint64_t)t->type + 1;
	if (!walk_work(w, 1))
		return 0;
	if (t->type == JSON_TOKEN_STRING)
		return hash_mix(w->plan, hash_bytes(w->plan, token_string(w->scratch, side, token)), h);
	if (t->type == JSON_TOKEN_NUMBER)
		return exact ? hash_mix(w->plan, hash_number(w, json_token_text(side->text, t)), h) : h;
	if (t->type != JSON_TOKEN_ARRAY && t->type != JSON_TOKEN_OBJECT)
		return h;

	bool object = t->type == JSON_TOKEN_OBJECT, unordered = at.flags & RULE_UNORDERED;
	uint32_t child = token + 1;
	for (uint32_t i = 0; i < t->count; i++) {
		struct pointer_state state;
		uint64_t place = unordered ? 0 : i;
		if (object) {
			state = enter_member(w->plan, w->scratch, side, at, child);
			place = hash_bytes(w->plan, token_string(w->scratch, side, child));
			child++;
		} else {
			state = pointer_element(w->plan->pointers, &w->scratch->pointers, at, i);
		}
		/* Sums, so that members and unordered elements may come in any order. */
		if (!(state.flags & RULE_IGNORE))
			h += hash_mix(w->plan, hash_value(w, side, child, state, exact), place);
		pointer_leave(&w->scratch->pointers, state);
		child = token_at(side, child)->next;
	}
	return hash_mix(w->plan, h, t->type);
}

bool same_elements(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at)
{
	/* As an unordered array an element's place does not matter; the sums say the rest. */
	at.flags |= RULE_UNORDERED;
	return hash_value(w, w->legacy, a, at, true) == hash_value(w, w->modern, b, at, true) &&
	       !walk_stopped(w);
}

static int element_by_hash(const void *x, const void *y)
{
	const struct element *a = x, *b = y;
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

/* Matched ones last. */
static int element_by_index(const void *x, const void *y)
{
	const struct element *a = x, *b = y;
	if ((a->token == NO_TOKEN) != (b->token == NO_TOKEN))
		return a->token == NO_TOKEN ? 1 : -1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static int element_by_number(const void *x, const void *y, void *context)
{
	const struct element *a = x, *b = y;
	const struct side *side = context;
	return number_order(json_token_text(side->text, token_at(side, a->token)),
			    json_token_text(side->text, token_at(side, b->token)));
}

/* Pushes the elements of an array that are not ignored, sorted by hash. Returns how many. */
static uint32_t collect_elements(struct walk *w, const struct side *side, uint32_t array,
				 struct pointer_state at)
{
	struct compare_scratch *s = w->scratch;
	uint32_t count = token_at(side, array)->count, token = array + 1;
	size_t base = s->element_count;
	bool exact = number_tolerance_is_zero(&w->plan->tolerance);
	if (s->element_cap - base < count) {
		size_t cap = 2 * s->element_cap + count;
		struct element *elements = realloc(s->elements, cap * sizeof(*elements));
		if (!elements) {
			walk_fail(w, COMPARE_REASON_NO_MEMORY);
			return 0;
		}
		s->elements = elements;
		s->element_cap = cap;
	}
	for (uint32_t i = 0; i < count && !walk_stopped(w); i++, token = token_at(side, token)->next) {
		struct pointer_state state = pointer_element(w->plan->pointers, &s->pointers, at, i);
		if (!(state.flags & RULE_IGNORE)) {
			uint64_t hash = hash_value(w, side, token, state, exact);
			s->elements[s->element_count++] = (struct element){hash, token, i};
		}
		pointer_leave(&s->pointers, state);
	}
	uint32_t taken = (uint32_t)(s->element_count - base);
	if (taken)
		qsort(s->elements + base, taken, sizeof(*s->elements), element_by_hash);
	return taken;
}

/* A range of elements; by offset, since the stack may move while something is compared. */
struct range {
	size_t from, to;
};

static void match_numbers(struct walk *w, struct range a, struct range b)
{
	struct element *e = w->scratch->elements;
	qsort_r(e + a.from, a.to - a.from, sizeof(*e), element_by_number, (void *)(uintptr_t)w->legacy);
	qsort_r(e + b.from, b.to - b.from, sizeof(*e), element_by_number, (void *)(uintptr_t)w->modern);
	while (a.from < a.to && b.from < b.to) {
		struct element *x = &e[a.from], *y = &e[b.from];
		struct slice tx = json_token_text(w->legacy->text, token_at(w->legacy, x->token));
		struct slice ty = json_token_text(w->modern->text, token_at(w->modern, y->token));
		if (number_within(tx, ty, &w->plan->tolerance)) {
			x->token = y->token = NO_TOKEN;
			a.from++;
			b.from++;
		} else if (number_order(tx, ty) < 0) {
			a.from++;
		} else {
			b.from++;
		}
	}
}

/* Elements with the same hash: matches those that are equal. */
static void match_bucket(struct walk *w, struct range a, struct range b, struct pointer_state at)
{
	struct compare_scratch *s = w->scratch;
	const struct json_token *t = token_at(w->legacy, s->elements[a.from].token);
	if (t->type == JSON_TOKEN_NUMBER && !number_tolerance_is_zero(&w->plan->tolerance)) {
		match_numbers(w, a, b);
		return;
	}
	size_t count = b.to - b.from, left = count;
	for (size_t i = a.from; i < a.to && left && !walk_stopped(w); i++) {
		uint32_t x = s->elements[i].token;
		struct pointer_state state =
			pointer_element(w->plan->pointers, &s->pointers, at, s->elements[i].index);
		/* Equal elements in equal order meet at once. */
		for (size_t k = 0; k < count && !walk_stopped(w); k++) {
			size_t j = b.from + (i - a.from + k) % count;
			uint32_t y = s->elements[j].token;
			if (y == NO_TOKEN) {
				walk_work(w, 1);
				continue;
			}
			if (!walk_differs(w, x, y, state, 0) && !walk_stopped(w)) {
				s->elements[i].token = s->elements[j].token = NO_TOKEN;
				left--;
				break;
			}
		}
		pointer_leave(&s->pointers, state);
	}
}

static size_t bucket_end(const struct element *elements, size_t from, size_t to)
{
	size_t end = from + 1;
	while (end < to && elements[end].hash == elements[from].hash)
		end++;
	return end;
}

static void match_elements(struct walk *w, struct range a, struct range b, struct pointer_state at)
{
	struct compare_scratch *s = w->scratch;
	while (a.from < a.to && b.from < b.to && !walk_stopped(w)) {
		uint64_t x = s->elements[a.from].hash, y = s->elements[b.from].hash;
		if (x == y) {
			struct range bucket_a = {a.from, bucket_end(s->elements, a.from, a.to)};
			struct range bucket_b = {b.from, bucket_end(s->elements, b.from, b.to)};
			match_bucket(w, bucket_a, bucket_b, at);
			a.from = bucket_a.to;
			b.from = bucket_b.to;
		} else if (x < y) {
			a.from++;
		} else {
			b.from++;
		}
	}
}

/* Reports what found no partner. */
static void report_unmatched(struct walk *w, struct range a, struct range b, struct pointer_state at,
			     uint32_t rules)
{
	struct compare_scratch *s = w->scratch;
	for (size_t i = 0; !walk_stopped(w); i++) {
		struct element x = {.token = NO_TOKEN}, y = {.token = NO_TOKEN};
		if (a.from + i < a.to)
			x = s->elements[a.from + i];
		if (b.from + i < b.to)
			y = s->elements[b.from + i];
		if (x.token == NO_TOKEN && y.token == NO_TOKEN)
			return;
		uint32_t index = x.token != NO_TOKEN ? x.index : y.index;
		struct pointer_state state = pointer_element(w->plan->pointers, &s->pointers, at, index);
		w->path[w->depth++] = (struct step){.index = index, .element = true};
		if (x.token == NO_TOKEN)
			report_json(w, COMPARE_KIND_ADDED, NO_TOKEN, y.token, state, rules | state.flags);
		else if (y.token == NO_TOKEN)
			report_json(w, COMPARE_KIND_MISSING, x.token, NO_TOKEN, state, rules | state.flags);
		else
			walk_value(w, x.token, y.token, state, rules);
		w->depth--;
		pointer_leave(&s->pointers, state);
	}
}

void walk_unordered(struct walk *w, uint32_t a, uint32_t b, struct pointer_state at, uint32_t rules)
{
	struct compare_scratch *s = w->scratch;
	size_t base = s->element_count;
	struct range ra = {base, base}, rb;
	ra.to += collect_elements(w, w->legacy, a, at);
	rb = (struct range){ra.to, ra.to};
	rb.to += collect_elements(w, w->modern, b, at);
	if (!walk_stopped(w)) {
		match_elements(w, ra, rb, at);
		if (ra.to > ra.from)
			qsort(s->elements + ra.from, ra.to - ra.from, sizeof(*s->elements), element_by_index);
		if (rb.to > rb.from)
			qsort(s->elements + rb.from, rb.to - rb.from, sizeof(*s->elements), element_by_index);
		report_unmatched(w, ra, rb, at, rules);
	}
	s->element_count = base;
}

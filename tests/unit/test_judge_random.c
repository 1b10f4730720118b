/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The comparer against an obviously correct one: random documents, written down in random ways (member order,
 * space, escapes, number notation), changed a little, compared under random rules. The slow comparer works on
 * the trees the texts were made from and looks at all pairs.
 */
#include "judge/compare.h"
#include "judge/redact.h"

#include "test_judge_support.h"
#include "unit.h"

#define CHILDREN_MAX 24

struct tree {
	enum { NUL, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT } type;
	long number; /* thousandths; of a string, which one */
	unsigned count;
	unsigned names[CHILDREN_MAX];
	struct tree *children[CHILDREN_MAX];
};

static uint64_t seed = 20260131;

static struct tree *tree_make(unsigned depth)
{
	struct tree *t = calloc(1, sizeof(*t));
	unsigned kind = random_below(&seed, depth ? 10 : 5);
	t->type = kind < 1   ? NUL
		  : kind < 2 ? BOOLEAN
		  : kind < 4 ? NUMBER
		  : kind < 5 ? STRING
		  : kind < 7 ? ARRAY
			     : OBJECT;
	t->number = t->type == BOOLEAN ? random_below(&seed, 2) : random_below(&seed, 4);
	if (t->type == NUMBER && random_below(&seed, 4) == 0)
		t->number = (long)random_below(&seed, 200000) - 100000;
	if (t->type != ARRAY && t->type != OBJECT)
		return t;
	t->count = random_below(&seed, random_below(&seed, 8) ? 5 : CHILDREN_MAX);
	unsigned name = 0;
	for (unsigned i = 0; i < t->count; i++) {
		name += 1 + random_below(&seed, 2);
		t->names[i] = name;
		t->children[i] = tree_make(depth - 1);
	}
	return t;
}

static void tree_free(struct tree *t)
{
	for (unsigned i = 0; i < t->count; i++)
		tree_free(t->children[i]);
	free(t);
}

static struct tree *tree_copy(const struct tree *t)
{
	struct tree *copy = malloc(sizeof(*copy));
	*copy = *t;
	for (unsigned i = 0; i < t->count; i++)
		copy->children[i] = tree_copy(t->children[i]);
	return copy;
}

/* Changes something somewhere; may by chance change nothing. */
static void tree_mutate(struct tree *t)
{
	while (t->count && random_below(&seed, 3))
		t = t->children[random_below(&seed, t->count)];
	if (t->type != ARRAY && t->type != OBJECT) {
		if (random_below(&seed, 4) == 0)
			t->type = random_below(&seed, 4);
		else
			t->number ^= 1;
		if (t->type == BOOLEAN)
			t->number &= 1;
		else if (t->type == STRING)
			t->number &= 3;
		return;
	}
	if (t->count == 0) {
		t->type = t->type == ARRAY ? OBJECT : ARRAY;
		return;
	}
	unsigned i = random_below(&seed, t->count), j = random_below(&seed, t->count);
	struct tree *x = t->children[i];
	switch (random_below(&seed, 4)) {
	case 0: /* drop the last one */
		tree_free(t->children[--t->count]);
		break;
	case 1: /* exchange two values */
		t->children[i] = t->children[j];
		t->children[j] = x;
		break;
	case 2: /* another copy */
		if (t->count < CHILDREN_MAX) {
			t->names[t->count] = t->names[t->count - 1] + 1;
			t->children[t->count++] = tree_copy(x);
		}
		break;
	default: /* rename the last one */
		t->names[t->count - 1]++;
	}
}

static void write_space(struct buf *out)
{
	static const char *const spaces[] = {"", "", "", "", " ", "\n", "\t ", "  \r\n"};
	buf_append_str(out, spaces[random_below(&seed, 8)]);
}

static void write_string(struct buf *out, const char *text)
{
	buf_append_char(out, '"');
	for (; *text; text++) {
		if (random_below(&seed, 8) == 0)
			buf_printf(out, random_below(&seed, 2) ? "\\u%04x" : "\\u%04X", *text);
		else
			buf_append_char(out, *text);
	}
	buf_append_char(out, '"');
}

static void write_number(struct buf *out, long v)
{
	const char *sign = v < 0 ? "-" : "";
	long u = labs(v);
	switch (random_below(&seed, 5)) {
	case 0:
		buf_printf(out, "%s%lde-3", sign, u);
		break;
	case 1:
		buf_printf(out, "%s%ld.%03ld00", sign, u / 1000, u % 1000);
		break;
	case 2:
		buf_printf(out, "%s0.%07ldE+4", sign, u);
		break;
	default:
		if (u % 1000)
			buf_printf(out, "%s%ld.%03ld", sign, u / 1000, u % 1000);
		else
			buf_printf(out, "%s%ld", sign, u / 1000);
	}
}

static void tree_write(const struct tree *t, struct buf *out)
{
	static const char *const strings[] = {"", "x", "abcdefghij", "1"};
	unsigned order[CHILDREN_MAX];
	char name[16];
	switch (t->type) {
	case NUL:
		buf_append_str(out, "null");
		return;
	case BOOLEAN:
		buf_append_str(out, t->number ? "true" : "false");
		return;
	case NUMBER:
		write_number(out, t->number);
		return;
	case STRING:
		write_string(out, strings[t->number & 3]);
		return;
	case ARRAY:
	case OBJECT:
		break;
	}
	bool shuffle = t->type == OBJECT && random_below(&seed, 2);
	for (unsigned i = 0; i < t->count; i++) {
		unsigned j = shuffle ? random_below(&seed, i + 1) : i;
		order[i] = order[j];
		order[j] = i;
	}
	buf_append_char(out, t->type == ARRAY ? '[' : '{');
	for (unsigned i = 0; i < t->count; i++) {
		if (i)
			buf_append_char(out, ',');
		write_space(out);
		if (t->type == OBJECT) {
			snprintf(name, sizeof(name), "n%u", t->names[order[i]]);
			write_string(out, name);
			write_space(out);
			buf_append_char(out, ':');
			write_space(out);
		}
		tree_write(t->children[order[i]], out);
		write_space(out);
	}
	buf_append_char(out, t->type == ARRAY ? ']' : '}');
}

/* ---- the slow comparer ---- */

#define ANY   0 /* "*" */
#define INDEX 1000

struct place {
	unsigned segments[8];
	unsigned depth;
};

static struct place ignored[3], unordered[3];
static unsigned ignored_count, unordered_count;

static bool is_listed(const struct place *list, unsigned count, const struct place *at)
{
	for (unsigned i = 0; i < count; i++) {
		bool match = list[i].depth == at->depth;
		for (unsigned k = 0; match && k < at->depth; k++)
			match = list[i].segments[k] == ANY || list[i].segments[k] == at->segments[k];
		if (match)
			return true;
	}
	return false;
}

static struct place below(const struct place *at, unsigned segment)
{
	struct place p = *at;
	p.segments[p.depth++] = segment;
	return p;
}

static bool slow_equal(const struct tree *a, const struct tree *b, struct place at);

static bool slow_arrays(const struct tree *a, const struct tree *b, struct place at)
{
	struct place element = below(&at, INDEX);
	if (is_listed(ignored, ignored_count, &element))
		return true;
	if (a->count != b->count)
		return false;
	if (!is_listed(unordered, unordered_count, &at)) {
		for (unsigned i = 0; i < a->count; i++) {
			if (!slow_equal(a->children[i], b->children[i], element))
				return false;
		}
		return true;
	}
	/* Without a tolerance equality is transitive: any partner is as good as another. */
	bool taken[CHILDREN_MAX] = {false};
	for (unsigned i = 0; i < a->count; i++) {
		unsigned j = 0;
		while (j < b->count && (taken[j] || !slow_equal(a->children[i], b->children[j], element)))
			j++;
		if (j == b->count)
			return false;
		taken[j] = true;
	}
	return true;
}

static bool slow_objects(const struct tree *a, const struct tree *b, struct place at)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < a->count; i++) {
			struct place member = below(&at, a->names[i]);
			unsigned j = 0;
			if (is_listed(ignored, ignored_count, &member))
				continue;
			while (j < b->count && b->names[j] != a->names[i])
				j++;
			if (j == b->count || !slow_equal(a->children[i], b->children[j], member))
				return false;
		}
		const struct tree *other = a;
		a = b;
		b = other;
	}
	return true;
}

static bool slow_equal(const struct tree *a, const struct tree *b, struct place at)
{
	if (is_listed(ignored, ignored_count, &at))
		return true;
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case NUL:
		return true;
	case BOOLEAN:
	case NUMBER:
		return a->number == b->number;
	case STRING:
		return (a->number & 3) == (b->number & 3);
	case ARRAY:
		return slow_arrays(a, b, at);
	case OBJECT:
		break;
	}
	return slow_objects(a, b, at);
}

static unsigned place_make(struct place *list, char texts[3][64], char *items[3], unsigned depth_min)
{
	unsigned count = random_below(&seed, 4);
	for (unsigned i = 0; i < count; i++) {
		list[i] = (struct place){.depth = depth_min + random_below(&seed, 3)};
		texts[i][0] = 0;
		for (unsigned k = 0; k < list[i].depth; k++) {
			list[i].segments[k] = random_below(&seed, 2) ? ANY : 1 + random_below(&seed, 4);
			if (list[i].segments[k] == ANY)
				strcat(texts[i], "/*");
			else
				sprintf(texts[i] + strlen(texts[i]), "/n%u", list[i].segments[k]);
		}
		items[i] = texts[i];
	}
	return count;
}

TEST(random_documents)
{
	struct guard ga = guard_make(1 << 20), gb = guard_make(1 << 20);
	struct compare_scratch *scratch = compare_scratch_create();
	struct compare_result result = {0};
	struct buf a = {0}, b = {0}, why = {0};
	unsigned long wrong = 0, equal = 0, equal_in_other_bytes = 0, rounds = 30000;
	for (unsigned long i = 0; i < rounds && wrong < 5; i++) {
		char texts[2][3][64], *items[2][3];
		struct tree *x = tree_make(4), *y = tree_copy(x);
		for (unsigned k = random_below(&seed, 4); k > 0; k--)
			tree_mutate(y);
		ignored_count = place_make(ignored, texts[0], items[0], 1);
		unordered_count = place_make(unordered, texts[1], items[1], 0);
		struct compare_options options = {.ignore = {items[0], ignored_count},
						  .unordered = {items[1], unordered_count},
						  .key = "fedcba9876543210"};
		struct compare_plan *plan = compare_plan_create(&options, &why);
		buf_reset(&a);
		buf_reset(&b);
		tree_write(x, &a);
		tree_write(y, &b);
		struct header_field type = {SLICE("content-type"), SLICE("application/json")};
		struct compare_message ma = {200, &type, 1, guard_copy(&ga, buf_slice(&a)), false};
		struct compare_message mb = {200, &type, 1, guard_copy(&gb, buf_slice(&b)), false};
		compare_messages(plan, scratch, &ma, &mb, &result);
		bool want = slow_equal(x, y, (struct place){.depth = 0});
		bool good = result.verdict == (want ? COMPARE_MATCH : COMPARE_MISMATCH);
		/* A mismatch names at least one place, and never the bytes: these are JSON. */
		for (uint32_t k = 0; k < result.kept; k++)
			good &= result.differences[k].kind != COMPARE_KIND_BYTES;
		if (!good) {
			wrong++;
			CHECK_MSG(false, "%s, not %s:\n%.*s\n%.*s\nignore %s %s, unordered %s %s",
				  compare_verdict_word(result.verdict), want ? "match" : "mismatch",
				  SLICE_ARG(buf_slice(&a)), SLICE_ARG(buf_slice(&b)),
				  ignored_count ? texts[0][0] : "-", ignored_count > 1 ? texts[0][1] : "-",
				  unordered_count ? texts[1][0] : "-",
				  unordered_count > 1 ? texts[1][1] : "-");
		}
		equal += want;
		equal_in_other_bytes += want && !slice_equal(buf_slice(&a), buf_slice(&b));
		compare_plan_destroy(plan);
		tree_free(x);
		tree_free(y);
	}
	CHECK_INT(wrong, 0);
	/* The test is only worth something when both answers are frequent. */
	CHECK(equal > rounds / 10 && equal < rounds - rounds / 10);
	CHECK(equal_in_other_bytes > rounds / 20);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&why);
	compare_result_fini(&result);
	compare_scratch_destroy(scratch);
	guard_free(&ga);
	guard_free(&gb);
}

/* Texts with some bytes exchanged, cut or doubled: whatever they are now, nothing is read that is not there,
 * and a result fits together. */
TEST(damaged_documents)
{
	static const char bytes[] = "\"\\{}[]:,0123456789eE+-.u/* \n\xc3\xa4\xff\xed\xa0ntf";
	struct guard ga = guard_make(1 << 20), gb = guard_make(1 << 20);
	struct compare_scratch *scratch = compare_scratch_create();
	struct compare_result result = {0};
	char *places[] = {"/*/n2", "/n1/*", ""};
	struct compare_options options = {.ignore = {places, 1},
					  .unordered = {places + 2, 1},
					  .redact = {places + 1, 1},
					  .float_tolerance = 0.5};
	struct buf a = {0}, b = {0}, shown = {0};
	struct compare_plan *plan = compare_plan_create(&options, &shown);
	unsigned long wrong = 0, verdicts[3] = {0};
	for (unsigned i = 0; i < 20000; i++) {
		struct tree *x = tree_make(3);
		buf_reset(&a);
		buf_reset(&b);
		buf_reset(&shown);
		tree_write(x, &a);
		tree_write(x, &b);
		tree_free(x);
		for (unsigned k = random_below(&seed, 3); k > 0; k--)
			b.data[random_below(&seed, (uint32_t)b.len)] =
				bytes[random_below(&seed, sizeof(bytes) - 1)];
		if (random_below(&seed, 8) == 0)
			b.len = random_below(&seed, (uint32_t)b.len);
		struct compare_message ma = {200, NULL, 0, guard_copy(&ga, buf_slice(&a)), false};
		struct compare_message mb = {200, NULL, 0, guard_copy(&gb, buf_slice(&b)), false};
		compare_messages(plan, scratch, &ma, &mb, &result);
		wrong += (result.verdict == COMPARE_MISMATCH) != (result.different > 0);
		wrong += result.kept > result.different + result.ignored;
		verdicts[result.verdict]++;
		redact_body(plan, scratch, mb.body, 64, &shown);
		wrong += shown.len > 64;
	}
	CHECK_INT(wrong, 0);
	CHECK(verdicts[COMPARE_MATCH] > 1000 && verdicts[COMPARE_MISMATCH] > 1000);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&shown);
	compare_plan_destroy(plan);
	compare_result_fini(&result);
	compare_scratch_destroy(scratch);
	guard_free(&ga);
	guard_free(&gb);
}

/* ---- documents made to hurt; the alarm would end a quadratic comparison ---- */

static enum compare_verdict verdict_of(const struct compare_options *options, struct buf *a, struct buf *b,
				       struct compare_result *result)
{
	static const struct header_field type = {{"content-type", 12}, {"application/json", 16}};
	struct buf why = {0};
	struct compare_plan *plan = compare_plan_create(options, &why);
	struct compare_scratch *scratch = compare_scratch_create();
	struct compare_message ma = {200, &type, 1, buf_slice(a), false},
			       mb = {200, &type, 1, buf_slice(b), false};
	compare_messages(plan, scratch, &ma, &mb, result);
	compare_plan_destroy(plan);
	compare_scratch_destroy(scratch);
	buf_reset(a);
	buf_reset(b);
	return result->verdict;
}

#define MANY 100000

TEST(huge_documents)
{
	struct compare_result result = {0};
	struct buf a = {0}, b = {0};
	char *root[] = {""}, *star[] = {"/*/x"};
	struct compare_options plain = {.key = "k"}, any_order = {.key = "k", .unordered = {root, 1}};
	struct compare_options near = any_order, ignoring = {.key = "k", .ignore = {star, 1}};
	near.float_tolerance = 0.5;
	alarm(120);

	for (unsigned i = 0; i < MANY; i++) {
		buf_printf(&a, "%c\"member%u\":%u", i ? ',' : '{', i, i);
		buf_printf(&b, "%c\"member%u\":%u", i ? ',' : '{', MANY - 1 - i, MANY - 1 - i);
	}
	buf_append_char(&a, '}');
	buf_append_char(&b, '}');
	CHECK_INT(verdict_of(&plain, &a, &b, &result), COMPARE_MATCH);

	for (unsigned i = 0; i < MANY; i++) {
		buf_printf(&a, "%c\"member%u\":{\"x\":%u}", i ? ',' : '{', i, i);
		buf_printf(&b, "%c\"other%u\":{\"x\":%u}", i ? ',' : '{', i, i);
	}
	buf_append_char(&a, '}');
	buf_append_char(&b, '}');
	CHECK_INT(verdict_of(&ignoring, &a, &b, &result), COMPARE_MISMATCH);
	CHECK_INT(result.different, 2 * MANY);

	/* All elements reversed; all alike; twice as many of one kind; numbers and objects within a
	 * tolerance. */
	for (unsigned i = 0; i < MANY; i++) {
		buf_printf(&a, "%c{\"id\":%u}", i ? ',' : '[', i);
		buf_printf(&b, "%c{\"id\":%u.0}", i ? ',' : '[', MANY - 1 - i);
	}
	buf_append_char(&a, ']');
	buf_append_char(&b, ']');
	CHECK_INT(verdict_of(&any_order, &a, &b, &result), COMPARE_MATCH);
	for (unsigned i = 0; i < MANY; i++) {
		buf_printf(&a, "%c[1]", i ? ',' : '[');
		buf_printf(&b, "%c[1.0]", i ? ',' : '[');
	}
	buf_append_char(&a, ']');
	buf_append_char(&b, ']');
	CHECK_INT(verdict_of(&any_order, &a, &b, &result), COMPARE_MATCH);
	for (unsigned i = 0; i < MANY; i++) {
		buf_printf(&a, "%c[1]", i ? ',' : '[');
		if (i % 2)
			buf_printf(&b, "%c[1.0]", i > 1 ? ',' : '[');
	}
	buf_append_char(&a, ']');
	buf_append_char(&b, ']');
	CHECK_INT(verdict_of(&any_order, &a, &b, &result), COMPARE_MISMATCH);
	CHECK_INT(result.different, MANY / 2);
	for (unsigned i = 0; i < MANY; i++) {
		buf_printf(&a, "%c%u", i ? ',' : '[', i);
		buf_printf(&b, "%c%u.4", i ? ',' : '[', MANY - 1 - i);
	}
	buf_append_char(&a, ']');
	buf_append_char(&b, ']');
	CHECK_INT(verdict_of(&near, &a, &b, &result), COMPARE_MATCH);
	/* Objects that only numbers tell apart cannot be sorted under a tolerance: too costly, not wrong. */
	for (unsigned i = 0; i < MANY; i++) {
		buf_printf(&a, "%c{\"id\":%u}", i ? ',' : '[', i);
		buf_printf(&b, "%c{\"id\":%u.4}", i ? ',' : '[', (i * 7919u + 13) % MANY);
	}
	buf_append_char(&a, ']');
	buf_append_char(&b, ']');
	CHECK_INT(verdict_of(&near, &a, &b, &result), COMPARE_NOT_COMPARABLE);
	CHECK_INT(result.reason, COMPARE_REASON_TOO_COMPLEX);

	/* Deep and wide, different at the very end, with elements in another order at every level. */
	for (unsigned i = 0; i < 120; i++) {
		buf_append_str(&a, "[1,2,");
		buf_append_str(&b, "[2,1,");
	}
	buf_append_str(&a, "3");
	buf_append_str(&b, "3");
	for (unsigned i = 0; i < 120; i++) {
		buf_append_str(&a, "]");
		buf_append_str(&b, "]");
	}
	CHECK_INT(verdict_of(&plain, &a, &b, &result), COMPARE_MISMATCH);
	/* Deeper than the tokenizer goes: no verdict, rather than a comparison of bytes. */
	for (unsigned i = 0; i < 200; i++) {
		buf_append_str(&a, "[");
		buf_append_str(&b, "[ ");
	}
	for (unsigned i = 0; i < 200; i++) {
		buf_append_str(&a, "]");
		buf_append_str(&b, "]");
	}
	CHECK_INT(verdict_of(&plain, &a, &b, &result), COMPARE_NOT_COMPARABLE);
	alarm(0);
	buf_fini(&a);
	buf_fini(&b);
	compare_result_fini(&result);
}

UNIT_MAIN

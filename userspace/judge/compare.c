/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare: see compare.h. Here: the plan, status and header fields, content codings, which way bodies are
 * compared, and the comparison of bytes. The walk through JSON is in compare_json.c.
 *
 * The cheap answer comes first: bodies that are the same bytes under the same coding are equal, and only when
 * they are not is anything decoded or parsed.
 */
#include "judge/compare.h"

#include "judge/compare_internal.h"
#include "judge/redact.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DECODED_BYTES_DEFAULT (16u << 20)
#define PARAMETERS_MAX	      16
#define EXCERPT_BEFORE	      16 /* bytes shown before the first one that differs */
#define EXCERPT_BYTES	      96

/* ---- words ---- */

const char *compare_verdict_word(enum compare_verdict verdict)
{
	static const char *const words[] = {
#define X(name, word, help) word,
		COMPARE_VERDICTS(X)
#undef X
	};
	return (unsigned)verdict < sizeof(words) / sizeof(words[0]) ? words[verdict] : "?";
}

static const char *const reasons[][2] = {
#define X(name, word, help) {word, help},
	COMPARE_REASONS(X)
#undef X
};

const char *compare_reason_word(enum compare_reason reason)
{
	return (unsigned)reason < sizeof(reasons) / sizeof(reasons[0]) ? reasons[reason][0] : "?";
}

const char *compare_reason_help(enum compare_reason reason)
{
	return (unsigned)reason < sizeof(reasons) / sizeof(reasons[0]) ? reasons[reason][1] : "?";
}

const char *compare_kind_word(enum compare_kind kind)
{
	static const char *const words[] = {
#define X(name, word, help) word,
		COMPARE_KINDS(X)
#undef X
	};
	return (unsigned)kind < COMPARE_KIND_COUNT ? words[kind] : "?";
}

/* ---- plan and scratch ---- */

static bool plan_add_pointers(struct compare_plan *plan, struct compare_strings list, const char *name,
			      uint32_t flags, struct buf *why)
{
	for (size_t i = 0; i < list.count; i++) {
		const char *reason = NULL;
		if (pointer_set_add(plan->pointers, slice_str(list.items[i]), flags, &reason) == 0)
			continue;
		buf_printf(why, "compare.%s[%zu] \"%s\": %s", name, i, list.items[i], reason);
		return false;
	}
	return true;
}

static bool plan_add_headers(struct compare_plan *plan, struct compare_strings list, struct buf *why)
{
	if (list.count > COMPARE_HEADERS_MAX) {
		buf_printf(why, "compare.headers has %zu names; at most %d are possible", list.count,
			   COMPARE_HEADERS_MAX);
		return false;
	}
	plan->headers = calloc(list.count + 1, sizeof(*plan->headers));
	for (size_t i = 0; plan->headers && i < list.count; i++) {
		char *name = strdup(list.items[i]);
		if (!name)
			break;
		for (char *c = name; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		plan->headers[plan->header_count++] = slice_str(name);
	}
	if (plan->headers && plan->header_count == list.count)
		return true;
	buf_append_str(why, "out of memory");
	return false;
}

struct compare_plan *compare_plan_create(const struct compare_options *options, struct buf *why)
{
	struct compare_plan *plan = calloc(1, sizeof(*plan));
	if (plan)
		plan->pointers = pointer_set_create();
	if (!plan || !plan->pointers) {
		buf_append_str(why, "out of memory");
		goto fail;
	}
	if (!plan_add_pointers(plan, options->ignore, "ignore", RULE_IGNORE, why) ||
	    !plan_add_pointers(plan, options->unordered, "unordered", RULE_UNORDERED, why) ||
	    !plan_add_pointers(plan, options->redact, "redact", RULE_REDACT, why) ||
	    !plan_add_headers(plan, options->headers, why))
		goto fail;
	number_tolerance_set(&plan->tolerance, options->float_tolerance);
	plan->decoded_bytes_max =
		options->decoded_bytes_max ? options->decoded_bytes_max : DECODED_BYTES_DEFAULT;
	memcpy(plan->key, options->key, sizeof(plan->key));
	plan->seed[0] = siphash24(plan->key, "table 0", 7);
	plan->seed[1] = siphash24(plan->key, "table 1", 7);
	return plan;
fail:
	compare_plan_destroy(plan);
	return NULL;
}

void compare_plan_destroy(struct compare_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->header_count; i++)
		free((char *)(uintptr_t)plan->headers[i].ptr);
	free(plan->headers);
	pointer_set_destroy(plan->pointers);
	free(plan);
}

const uint8_t *compare_plan_key(const struct compare_plan *plan)
{
	return plan->key;
}

struct compare_scratch *compare_scratch_create(void)
{
	return calloc(1, sizeof(struct compare_scratch));
}

static void side_fini(struct side *side)
{
	json_tokens_fini(&side->tokens);
	buf_fini(&side->decoded);
}

void compare_scratch_destroy(struct compare_scratch *scratch)
{
	if (!scratch)
		return;
	side_fini(&scratch->legacy);
	side_fini(&scratch->modern);
	json_tokens_fini(&scratch->shown);
	pointer_stack_fini(&scratch->pointers);
	inflater_destroy(scratch->inflater);
	free(scratch->slots);
	free(scratch->pairs);
	free(scratch->elements);
	buf_fini(&scratch->name);
	buf_fini(&scratch->where);
	buf_fini(&scratch->value);
	buf_fini(&scratch->header_legacy);
	buf_fini(&scratch->header_modern);
	free(scratch);
}

/* ---- header fields ---- */

bool compare_join_header(const struct compare_message *message, struct slice name, struct buf *out)
{
	bool found = false;
	for (size_t i = 0; i < message->field_count; i++) {
		if (!slice_equal_nocase(message->fields[i].name, name))
			continue;
		if (found)
			buf_append_str(out, ", ");
		buf_append_slice(out, slice_trim(message->fields[i].value));
		found = true;
	}
	return found;
}

/* The first value of a field, trimmed; ptr is NULL when there is none. */
static struct slice first_header(const struct compare_message *message, struct slice name)
{
	for (size_t i = 0; i < message->field_count; i++) {
		struct slice value = message->fields[i].value;
		if (slice_equal_nocase(message->fields[i].name, name))
			return value.ptr ? slice_trim(value) : SLICE("");
	}
	return slice_of(NULL, 0);
}

/* Takes everything up to the next ';' that is not inside quotes. */
static bool next_parameter(struct slice *rest, struct slice *item)
{
	bool quoted = false;
	size_t i = 0;
	if (!rest->ptr)
		return false;
	for (; i < rest->len && (quoted || rest->ptr[i] != ';'); i++) {
		if (rest->ptr[i] == '"')
			quoted = !quoted;
		else if (quoted && rest->ptr[i] == '\\' && i + 1 < rest->len)
			i++;
	}
	*item = slice_trim(slice_of(rest->ptr, i));
	*rest = i < rest->len ? slice_of(rest->ptr + i + 1, rest->len - i - 1) : slice_of(NULL, 0);
	return true;
}

/* A media type taken apart (RFC 9110 8.3.1). */
struct media_type {
	struct slice type;
	struct header_field parameters[PARAMETERS_MAX];
	size_t count;
};

/* False when it is too long or odd to be taken apart. */
static bool media_type_parse(struct slice text, struct media_type *media)
{
	struct slice item;
	media->count = 0;
	if (!next_parameter(&text, &media->type) || media->type.len == 0)
		return false;
	while (next_parameter(&text, &item)) {
		if (item.len == 0)
			continue;
		const char *equals = memchr(item.ptr, '=', item.len);
		if (!equals || media->count == PARAMETERS_MAX)
			return false;
		struct header_field *f = &media->parameters[media->count++];
		f->name = slice_of(item.ptr, (size_t)(equals - item.ptr));
		f->value = slice_of(equals + 1, item.len - f->name.len - 1);
		/* "utf-8" and utf-8 are the same; a quoted pair inside is left to exact comparison. */
		if (f->value.len >= 2 && f->value.ptr[0] == '"' && f->value.ptr[f->value.len - 1] == '"' &&
		    !memchr(f->value.ptr, '\\', f->value.len))
			f->value = slice_of(f->value.ptr + 1, f->value.len - 2);
	}
	return true;
}

/* Names are case-insensitive, and so is the value of charset (RFC 9110 8.3.2). */
static bool parameter_equal(const struct header_field *a, const struct header_field *b)
{
	if (!slice_equal_nocase(a->name, b->name))
		return false;
	if (slice_equal_nocase(a->name, SLICE("charset")))
		return slice_equal_nocase(a->value, b->value);
	return slice_equal(a->value, b->value);
}

static bool media_types_equal(struct slice a, struct slice b)
{
	struct media_type ma, mb;
	if (slice_equal(a, b))
		return true;
	if (!media_type_parse(a, &ma) || !media_type_parse(b, &mb))
		return false;
	if (!slice_equal_nocase(ma.type, mb.type) || ma.count != mb.count)
		return false;
	for (size_t i = 0; i < ma.count; i++) {
		size_t j = 0;
		while (j < mb.count && !parameter_equal(&ma.parameters[i], &mb.parameters[j]))
			j++;
		if (j == mb.count)
			return false;
		/* Each one has one partner. */
		mb.parameters[j] = mb.parameters[--mb.count];
	}
	return true;
}

/* application/json, text/json, or anything +json (RFC 6839 3.1). */
static bool is_json_type(struct slice content_type)
{
	struct slice type, suffix = SLICE("+json");
	if (!next_parameter(&content_type, &type))
		return false;
	if (slice_equal_nocase(type, SLICE("application/json")) ||
	    slice_equal_nocase(type, SLICE("text/json")))
		return true;
	return type.len > suffix.len &&
	       slice_equal_nocase(slice_of(type.ptr + type.len - suffix.len, suffix.len), suffix);
}

static enum compare_reason compare_header(const struct compare_plan *plan, struct compare_scratch *scratch,
					  struct slice name, const struct compare_message *legacy,
					  const struct compare_message *modern, struct compare_result *result)
{
	struct buf *a = &scratch->header_legacy, *b = &scratch->header_modern;
	struct slice none = {"", 0};
	char where[COMPARE_POINTER_MAX];
	buf_reset(a);
	buf_reset(b);
	bool has_a = compare_join_header(legacy, name, a), has_b = compare_join_header(modern, name, b);
	/* What could not be copied whole must not look like a difference. */
	if (a->failed || b->failed)
		return COMPARE_REASON_NO_MEMORY;
	if (!has_a && !has_b)
		return COMPARE_REASON_NONE;
	if (has_a && has_b) {
		if (slice_equal(buf_slice(a), buf_slice(b)))
			return COMPARE_REASON_NONE;
		if (slice_equal(name, SLICE("content-type")) && media_types_equal(buf_slice(a), buf_slice(b)))
			return COMPARE_REASON_NONE;
	}
	int len = snprintf(where, sizeof(where), "header:%.*s", SLICE_ARG(name));
	size_t where_len = (size_t)len < sizeof(where) ? (size_t)len : sizeof(where) - 1;
	enum compare_kind kind = !has_b	  ? COMPARE_KIND_MISSING
				 : !has_a ? COMPARE_KIND_ADDED
					  : COMPARE_KIND_HEADER;
	struct buf *shown = &scratch->value, *other = &scratch->where;
	buf_reset(shown);
	buf_reset(other);
	if (has_a)
		redact_header_value(name, buf_slice(a), plan->key, shown);
	if (has_b)
		redact_header_value(name, buf_slice(b), plan->key, other);
	report_text(result, kind, slice_of(where, where_len), has_a ? buf_slice(shown) : none,
		    has_b ? buf_slice(other) : none);
	return COMPARE_REASON_NONE;
}

/* ---- bodies ---- */

/* One side's description in a report about bytes. */
static void describe_bytes(const struct compare_plan *plan, struct slice body, size_t offset, struct buf *out)
{
	buf_reset(out);
	if (body.len == 0) {
		buf_append_str(out, "empty");
		return;
	}
	/* Where a secret lies in a body that is not JSON nobody can tell. */
	if (pointer_set_flags(plan->pointers) & RULE_REDACT) {
		redact_value(body, plan->key, out);
		buf_printf(out, " (%zu bytes)", body.len);
		return;
	}
	if (offset >= body.len) {
		buf_printf(out, "ends after %zu bytes", body.len);
		return;
	}
	/* Start at a character's first byte, so that the excerpt is not shown as bytes without need. */
	size_t from = offset > EXCERPT_BEFORE ? offset - EXCERPT_BEFORE : 0;
	while (from > 0 && from < offset && ((unsigned char)body.ptr[from] & 0xc0) == 0x80)
		from++;
	size_t len = body.len - from;
	buf_printf(out, "byte %zu of %zu: ", offset, body.len);
	append_shown(out, slice_of(body.ptr + from, len), EXCERPT_BYTES);
}

static size_t first_difference(struct slice a, struct slice b)
{
	size_t common = a.len < b.len ? a.len : b.len, i = 0;
	while (common - i >= 64 && memcmp(a.ptr + i, b.ptr + i, 64) == 0)
		i += 64;
	while (i < common && a.ptr[i] == b.ptr[i])
		i++;
	return i;
}

static void compare_bytes(const struct compare_plan *plan, struct compare_scratch *scratch,
			  enum compare_kind kind, struct slice a, struct slice b,
			  struct compare_result *result)
{
	if (slice_equal(a, b))
		return;
	size_t offset = first_difference(a, b);
	describe_bytes(plan, a, offset, &scratch->where);
	describe_bytes(plan, b, offset, &scratch->value);
	report_text(result, kind, SLICE("body"), buf_slice(&scratch->where), buf_slice(&scratch->value));
}

/* Could this body be JSON, going by the message? */
static bool may_be_json(const struct compare_message *message, struct slice body)
{
	struct slice type = first_header(message, SLICE("content-type"));
	if (body.len == 0)
		return false;
	if (type.len)
		return is_json_type(type);
	size_t i = 0;
	while (i < body.len && strchr(" \t\r\n", body.ptr[i]) && body.ptr[i])
		i++;
	return i < body.len && (body.ptr[i] == '{' || body.ptr[i] == '[');
}

/* Tokenizes one side: 1 yes, 0 not JSON, -1 cannot tell (*reason is set). */
static int side_parse(struct side *side, enum compare_reason *reason)
{
	int error = json_tokenize(side->text, NULL, &side->tokens, NULL);
	if (error == -E2BIG)
		*reason = COMPARE_REASON_TOO_COMPLEX;
	else if (error == -ENOMEM)
		*reason = COMPARE_REASON_NO_MEMORY;
	return error == 0 ? 1 : error == -EINVAL ? 0 : -1;
}

static enum compare_reason compare_decoded(const struct compare_plan *plan, struct compare_scratch *scratch,
					   const struct compare_message *legacy,
					   const struct compare_message *modern,
					   struct compare_result *result)
{
	struct side *a = &scratch->legacy, *b = &scratch->modern;
	enum compare_reason reason = COMPARE_REASON_NONE;
	if (slice_equal(a->text, b->text))
		return reason;
	if (may_be_json(legacy, a->text) && may_be_json(modern, b->text)) {
		int is_a = side_parse(a, &reason), is_b = is_a ? side_parse(b, &reason) : 0;
		if (is_a && is_b && (is_a < 0 || is_b < 0))
			return reason;
		if (is_a && is_b) {
			struct walk w = {
				.plan = plan, .scratch = scratch, .result = result, .legacy = a, .modern = b};
			if (walk_documents(&w))
				return w.failure;
		}
	}
	compare_bytes(plan, scratch, COMPARE_KIND_BYTES, a->text, b->text, result);
	return COMPARE_REASON_NONE;
}

static enum content_coding message_coding(const struct compare_message *message, struct buf *value)
{
	buf_reset(value);
	compare_join_header(message, SLICE("content-encoding"), value);
	return coding_parse(buf_slice(value));
}

/* Undoes the coding into side->text. 0, -EBADMSG, -EFBIG or -ENOMEM. */
static int side_decode(const struct compare_plan *plan, struct compare_scratch *scratch, struct slice body,
		       enum content_coding coding, struct side *side)
{
	side->text = body;
	if (coding == CODING_IDENTITY)
		return 0;
	if (!scratch->inflater)
		scratch->inflater = inflater_create();
	if (!scratch->inflater)
		return -ENOMEM;
	int error = inflater_decode(scratch->inflater, coding, body, plan->decoded_bytes_max, &side->decoded);
	if (error == 0)
		side->text = buf_slice(&side->decoded);
	return error;
}

/* Only one side decodes: that is a difference whatever is inside. */
static void report_encoding(const struct compare_message *legacy, int legacy_error,
			    const struct compare_message *modern, int modern_error,
			    struct compare_result *result)
{
	const struct compare_message *messages[2] = {legacy, modern};
	int errors[2] = {legacy_error, modern_error};
	char texts[2][64];
	for (unsigned i = 0; i < 2; i++)
		snprintf(texts[i], sizeof(texts[i]), "%zu bytes, %s", messages[i]->body.len,
			 errors[i] ? "damaged content coding" : "well-formed");
	report_text(result, COMPARE_KIND_ENCODING, SLICE("body"), slice_str(texts[0]), slice_str(texts[1]));
}

static enum compare_reason compare_bodies(const struct compare_plan *plan, struct compare_scratch *scratch,
					  const struct compare_message *legacy,
					  const struct compare_message *modern, struct compare_result *result)
{
	enum content_coding ca = message_coding(legacy, &scratch->header_legacy);
	enum content_coding cb = message_coding(modern, &scratch->header_modern);
	if (scratch->header_legacy.failed || scratch->header_modern.failed)
		return COMPARE_REASON_NO_MEMORY;
	bool same_coding =
		ca != CODING_UNKNOWN
			? ca == cb
			: cb == CODING_UNKNOWN && slice_equal_nocase(buf_slice(&scratch->header_legacy),
								     buf_slice(&scratch->header_modern));
	/* An empty body is empty under every coding. */
	if ((same_coding || legacy->body.len == 0) && slice_equal(legacy->body, modern->body))
		return COMPARE_REASON_NONE;
	if (ca == CODING_UNKNOWN || cb == CODING_UNKNOWN) {
		if (!same_coding)
			return COMPARE_REASON_UNKNOWN_ENCODING;
		compare_bytes(plan, scratch, COMPARE_KIND_BYTES, legacy->body, modern->body, result);
		return COMPARE_REASON_NONE;
	}
	int ea = side_decode(plan, scratch, legacy->body, ca, &scratch->legacy);
	int eb = side_decode(plan, scratch, modern->body, cb, &scratch->modern);
	if (ea == -ENOMEM || eb == -ENOMEM)
		return COMPARE_REASON_NO_MEMORY;
	if (ea == -EFBIG || eb == -EFBIG)
		return COMPARE_REASON_OVER_CAP;
	if (ea == 0 && eb == 0)
		return compare_decoded(plan, scratch, legacy, modern, result);
	if (ea && eb)
		compare_bytes(plan, scratch, COMPARE_KIND_BYTES, legacy->body, modern->body, result);
	else
		report_encoding(legacy, ea, modern, eb, result);
	return COMPARE_REASON_NONE;
}

void compare_messages(const struct compare_plan *plan, struct compare_scratch *scratch,
		      const struct compare_message *legacy, const struct compare_message *modern,
		      struct compare_result *result)
{
	enum compare_reason reason = COMPARE_REASON_NONE;
	result->different = result->ignored = result->kept = 0;
	buf_reset(&result->text);

	if (legacy->status != modern->status) {
		char texts[2][16];
		snprintf(texts[0], sizeof(texts[0]), "%d", legacy->status);
		snprintf(texts[1], sizeof(texts[1]), "%d", modern->status);
		report_text(result, COMPARE_KIND_STATUS, SLICE("status"), slice_str(texts[0]),
			    slice_str(texts[1]));
	}
	for (size_t i = 0; i < plan->header_count && !reason; i++)
		reason = compare_header(plan, scratch, plan->headers[i], legacy, modern, result);
	if (!reason && !legacy->is_head && !modern->is_head)
		reason = compare_bodies(plan, scratch, legacy, modern, result);

	/* What was found stands, even if the search could not be finished. */
	if (result->different)
		reason = COMPARE_REASON_NONE;
	result->reason = reason;
	if (result->different)
		result->verdict = COMPARE_MISMATCH;
	else
		result->verdict = reason == COMPARE_REASON_NONE ? COMPARE_MATCH : COMPARE_NOT_COMPARABLE;
}

struct slice compare_decode_body(const struct compare_plan *plan, struct compare_scratch *scratch,
				 const struct compare_message *message, struct buf *out)
{
	enum content_coding coding = message_coding(message, &scratch->header_legacy);
	if (coding == CODING_IDENTITY || coding == CODING_UNKNOWN || message->body.len == 0)
		return message->body;
	if (!scratch->inflater)
		scratch->inflater = inflater_create();
	if (!scratch->inflater ||
	    inflater_decode(scratch->inflater, coding, message->body, plan->decoded_bytes_max, out))
		return message->body;
	return buf_slice(out);
}

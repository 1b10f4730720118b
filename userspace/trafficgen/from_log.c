/* SPDX-License-Identifier: Apache-2.0 */
/*
 * from_log: access logs (sources.h).
 *
 * Combined: HOST IDENT USER [28/Nov/2026:03:39:37 +0000] "GET /path HTTP/1.1" 200 123 "referer" "agent";
 * something may stand before and after, as many formats have it. Inside quotes Apache and nginx escape with a
 * backslash.
 */
#include "trafficgen/collect.h"
#include "trafficgen/sources.h"

#include "judge/json.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct log_source {
	struct plan *plan;
	struct collection *collection;
	const char *file;
	uint64_t lines, understood;
	struct buf text;   /* of an unescaped request, or of decoded JSON strings */
	struct buf joined; /* path and query that came apart */
	struct json_tokens tokens;
};

struct log_source *log_source_create(struct plan *plan, const char *file)
{
	struct log_source *source = calloc(1, sizeof(*source));
	if (!source)
		return NULL;
	source->plan = plan;
	source->file = file;
	source->collection = collection_create(plan);
	if (!source->collection) {
		free(source);
		return NULL;
	}
	return source;
}

/* --- combined --------------------------------------------------------------------------------------------
 */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* What is between `*rest` and the next plain quote, unescaped into `out`; false when there is none. */
static bool take_quoted(struct slice *rest, struct buf *out)
{
	for (size_t i = 0; i < rest->len; i++) {
		char c = rest->ptr[i];
		if (c == '"') {
			*rest = slice_of(rest->ptr + i + 1, rest->len - i - 1);
			return true;
		}
		if (c == '\\' && i + 3 < rest->len && rest->ptr[i + 1] == 'x' && hex(rest->ptr[i + 2]) >= 0 &&
		    hex(rest->ptr[i + 3]) >= 0) {
			c = (char)(hex(rest->ptr[i + 2]) << 4 | hex(rest->ptr[i + 3]));
			i += 3;
		} else if (c == '\\' && i + 1 < rest->len) {
			c = rest->ptr[++i];
		}
		buf_append_char(out, c);
	}
	return false;
}

/* "28/Nov/2026:03:39:37 +0000" -> milliseconds; 0 when it is something else. */
static uint64_t time_of(struct slice text)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char copy[40], month[4], sign;
	struct tm tm = {0};
	int zone;
	if (text.len >= sizeof(copy))
		return 0;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (sscanf(copy, "%2d/%3s/%4d:%2d:%2d:%2d %c%4d", &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour,
		   &tm.tm_min, &tm.tm_sec, &sign, &zone) != 8)
		return 0;
	const char *found = strstr(months, month);
	if (!found || strlen(month) != 3 || (found - months) % 3)
		return 0;
	tm.tm_mon = (int)(found - months) / 3;
	tm.tm_year -= 1900;
	int offset_s = (zone / 100 * 60 + zone % 100) * 60;
	int64_t seconds = (int64_t)timegm(&tm) - (sign == '-' ? -offset_s : offset_s);
	return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

/* METHOD SP target SP HTTP/x; without the last it is HTTP/0.9, which nobody speaks. */
static bool split_request(struct slice request, struct record *record)
{
	const char *first = request.len ? memchr(request.ptr, ' ', request.len) : NULL;
	const char *last = first ? memrchr(request.ptr, ' ', request.len) : NULL;
	if (!last || last == first)
		return false;
	record->method = slice_of(request.ptr, (size_t)(first - request.ptr));
	record->target = slice_of(first + 1, (size_t)(last - first) - 1);
	return slice_starts(slice_of(last + 1, request.len - (size_t)(last - request.ptr) - 1),
			    SLICE("HTTP/"));
}

static bool parse_combined(struct log_source *source, struct slice line, struct record *record)
{
	const char *open = memchr(line.ptr, '[', line.len), *close = NULL, *quote = NULL;
	if (open)
		close = memchr(open, ']', line.len - (size_t)(open - line.ptr));
	if (close)
		quote = memchr(close, '"', line.len - (size_t)(close - line.ptr));
	if (!quote)
		return false;
	struct slice rest = slice_of(quote + 1, line.len - (size_t)(quote + 1 - line.ptr));
	buf_reset(&source->text);
	if (!take_quoted(&rest, &source->text) || rest.len < 4 || rest.ptr[0] != ' ')
		return false;
	for (int i = 1; i < 4; i++) {
		if (rest.ptr[i] < '0' || rest.ptr[i] > '9')
			return false;
		record->status = record->status * 10 + (rest.ptr[i] - '0');
	}
	record->wall_ms = time_of(slice_of(open + 1, (size_t)(close - open) - 1));
	return split_request(buf_slice(&source->text), record) && (rest.len == 4 || rest.ptr[4] == ' ');
}

/* --- JSON lines ------------------------------------------------------------------------------------------
 */

/* The decoded text of a string token; it stays in source->text at the offset that is returned. */
static size_t decode(struct log_source *source, struct slice line, const struct json_token *token)
{
	size_t at = source->text.len;
	if (token->type == JSON_TOKEN_STRING)
		json_string_decode(json_token_text(line, token), &source->text);
	buf_append_char(&source->text, '\0');
	return at;
}

/* Offsets into source->text, which may move while it grows; 0 is an empty text. */
struct json_line {
	size_t method, target, query, at;
	int status;
	bool ours;
};

static void read_member(struct log_source *source, struct slice line, struct slice name,
			const struct json_token *value, struct json_line *out)
{
	struct slice text = json_token_text(line, value);
	if (slice_equal(name, SLICE("method")))
		out->method = decode(source, line, value);
	else if (slice_equal(name, SLICE("target")) || (slice_equal(name, SLICE("path")) && !out->target) ||
		 (slice_equal(name, SLICE("uri")) && !out->target))
		out->target = decode(source, line, value);
	else if (slice_equal(name, SLICE("query")))
		out->query = decode(source, line, value);
	else if (slice_equal(name, SLICE("at")) || slice_equal(name, SLICE("time")))
		out->at = decode(source, line, value);
	else if (slice_equal(name, SLICE("status")) && text.len == 3 && value->type == JSON_TOKEN_NUMBER)
		out->status = atoi(text.ptr);
	else if ((slice_equal(name, SLICE("synthetic")) || slice_equal(name, SLICE("shadow"))) &&
		 value->type == JSON_TOKEN_TRUE)
		out->ours = true;
}

static bool parse_json(struct log_source *source, struct slice line, struct record *record, bool *ours)
{
	static const struct json_limits limits = {.depth = 16, .tokens = 1000};
	struct json_line found = {0};
	if (json_tokenize(line, &limits, &source->tokens, NULL) ||
	    source->tokens.items[0].type != JSON_TOKEN_OBJECT)
		return false;
	buf_reset(&source->text);
	buf_append_char(&source->text, '\0');
	const struct json_token *items = source->tokens.items;
	uint32_t i = 1;
	for (uint32_t n = 0; n < items[0].count; n++, i = items[i + 1].next)
		read_member(source, line, json_token_text(line, &items[i]), &items[i + 1], &found);
	if (!found.method || !found.target || !found.status || source->text.failed)
		return false;
	const char *text = buf_cstr(&source->text);
	record->wall_ms = plan_time(text + found.at);
	record->status = found.status;
	*ours = found.ours;
	record->method = slice_str(text + found.method);
	record->target = slice_str(text + found.target);
	if (text[found.query]) {
		buf_reset(&source->joined);
		buf_printf(&source->joined, "%s%s%s", text + found.target,
			   text[found.query] == '?' ? "" : "?", text + found.query);
		record->target = buf_slice(&source->joined);
	}
	return !source->joined.failed;
}

/* --- lines -----------------------------------------------------------------------------------------------
 */

int log_source_line(struct log_source *source, struct slice line)
{
	char where[80];
	struct record record = {.where = where};
	bool ours = false, good;
	source->lines++;
	line = slice_trim(line);
	while (line.len && (line.ptr[line.len - 1] == '\r' || line.ptr[line.len - 1] == '\n'))
		line.len--;
	if (!line.len)
		return 0;
	snprintf(where, sizeof(where), "line %llu", (unsigned long long)source->lines);
	good = line.len <= SOURCE_LINE_BYTES_MAX;
	if (good)
		good = line.ptr[0] == '{' ? parse_json(source, line, &record, &ours)
					  : parse_combined(source, line, &record);
	if (!good || record.status < 100 || record.status > 599) {
		plan_omit(source->plan, PLAN_OMIT_LINE, 1, where);
		return 0;
	}
	source->understood++;
	if (ours) {
		plan_omit(source->plan, PLAN_OMIT_OURS, 1, where);
		return 0;
	}
	return collection_add(source->collection, &record);
}

int log_source_finish(struct log_source *source, struct buf *errors)
{
	struct plan *plan = source->plan;
	int err = collection_finish(source->collection);
	if (!err && !source->understood) {
		buf_printf(errors,
			   "%s:1: error: none of %llu lines is one of an access log: wanted the combined "
			   "format (HOST - - "
			   "[28/Nov/2026:03:39:37 +0000] \"GET /path HTTP/1.1\" 200 …) or JSON lines with "
			   "method, target "
			   "and status\n",
			   source->file, (unsigned long long)source->lines);
		err = -EINVAL;
	}
	if (!err && plan->recorded_rate > 0)
		plan_note(plan, "recorded: %llu requests at %.4g a second", (unsigned long long)plan->taken,
			  plan->recorded_rate);
	buf_fini(&source->text);
	buf_fini(&source->joined);
	json_tokens_fini(&source->tokens);
	free(source);
	return err;
}

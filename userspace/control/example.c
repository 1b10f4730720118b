/* SPDX-License-Identifier: Apache-2.0 */
/* example: see example.h. */
#include "control/example.h"

#include "control/value.h"
#include "judge/redact.h"

/* What one example is made with. */
struct maker {
	const struct compare_plan *plan;
	struct compare_scratch *scratch;
	bool complete; /* so far everything is shown as it was sent */
};

static json_t *body_text(struct maker *maker, const struct exchange_message *message, size_t max_bytes)
{
	struct compare_message view = {
		.status = message->status,
		.fields = message->fields,
		.field_count = message->field_count,
		.body = buf_slice(&message->body),
	};
	struct buf decoded = {0}, out = {0};
	struct slice body = compare_decode_body(maker->plan, maker->scratch, &view, &decoded);
	redact_body(maker->plan, maker->scratch, body, max_bytes, &out);
	maker->complete &= !out.failed && slice_equal(buf_slice(&out), body);
	json_t *text = json_text(slice_of(buf_cstr(&out), out.len));
	buf_fini(&decoded);
	buf_fini(&out);
	return text;
}

static json_t *header_fields(struct maker *maker, const struct exchange_message *message)
{
	json_t *json = json_object();
	struct buf name = {0}, value = {0};
	maker->complete &= message->field_count <= EXAMPLE_FIELDS_MAX;
	for (size_t i = 0; json && i < message->field_count && i < EXAMPLE_FIELDS_MAX; i++) {
		const struct header_field *field = &message->fields[i];
		buf_reset(&name);
		buf_reset(&value);
		for (size_t c = 0; c < field->name.len; c++) {
			char letter = field->name.ptr[c];
			buf_append_char(&name, letter >= 'A' && letter <= 'Z' ? (char)(letter + 32) : letter);
		}
		redact_header_value(field->name, field->value, compare_plan_key(maker->plan), &value);
		maker->complete &= value.len <= 256 && slice_equal(buf_slice(&value), field->value);
		if (value.len > 256)
			value.len = 256;
		json_object_set_new(json, buf_cstr(&name), json_text(slice_of(buf_cstr(&value), value.len)));
	}
	buf_fini(&name);
	buf_fini(&value);
	return json;
}

struct slice example_side_word(struct exchange *exchange, enum phx_side side)
{
	if (exchange_response(exchange, side)->status > 0)
		return SLICE("answered");
	return slice_str(exchange_outcome_word(exchange->outcome));
}

static json_t *status_or_null(int status)
{
	return status > 0 ? json_integer(status) : json_null();
}

size_t example_size(const struct exchange *exchange)
{
	return exchange->target.len + exchange->request.body.len + exchange->served.body.len +
	       exchange->shadow.body.len;
}

json_t *example_make(const struct compare_plan *plan, struct compare_scratch *scratch,
		     struct exchange *exchange, const struct compare_difference *difference,
		     enum example_purpose purpose, size_t *bytes)
{
	const struct exchange_message *legacy = exchange_response(exchange, PHX_LEGACY);
	const struct exchange_message *modern = exchange_response(exchange, PHX_MODERN);
	struct slice method = slice_of(buf_cstr(&exchange->method_name), exchange->method_name.len);
	struct slice target = slice_of(buf_cstr(&exchange->target), exchange->target.len);
	struct maker maker = {plan, scratch, target.len <= 1024};
	size_t request_max = purpose == EXAMPLE_CASE ? EXAMPLE_CASE_BYTES_MAX : EXAMPLE_REQUEST_BYTES_MAX;
	size_t body_max = purpose == EXAMPLE_CASE ? EXAMPLE_CASE_BYTES_MAX : EXAMPLE_BODY_BYTES_MAX;
	if (target.len > 1024)
		target.len = 1024;
	json_t *json = json_pack(
		"{s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "request_id",
		json_text(slice_str(exchange->request_id)), "at", json_time(exchange->wall_ns), "side",
		exchange->side == PHX_MODERN ? "modern" : "legacy", "synthetic", exchange->synthetic,
		"method", json_text(method), "target", json_text(target), "pointer",
		json_text(difference->pointer), "legacy", json_text(difference->legacy), "modern",
		json_text(difference->modern), "legacy_status", status_or_null(legacy->status),
		"modern_status", status_or_null(modern->status), "request",
		body_text(&maker, &exchange->request, request_max), "legacy_body",
		body_text(&maker, legacy, body_max), "modern_body", body_text(&maker, modern, body_max),
		"request_headers", header_fields(&maker, &exchange->request));
	if (!json)
		return NULL;
	if (purpose == EXAMPLE_CASE) {
		bool request_complete = maker.complete;
		json_object_set_new(json, "legacy_headers", header_fields(&maker, legacy));
		json_object_set_new(json, "modern_headers", header_fields(&maker, modern));
		/* A redacted Set-Cookie in an answer does not keep the request from being asked again. */
		maker.complete = request_complete;
	}
	json_object_set_new(json, "complete", json_boolean(maker.complete));
	/* Roughly: the texts, and as much again for jansson's own objects. */
	size_t size = 4096;
	const char *key;
	json_t *value;
	json_object_foreach(json, key, value) size += json_string_length(value);
	*bytes = size;
	return json;
}

json_t *example_make_request(const struct compare_plan *plan, struct compare_scratch *scratch,
			     struct exchange *exchange, size_t *bytes)
{
	const struct exchange_message *served = exchange_response(exchange, exchange->side);
	struct slice method = slice_of(buf_cstr(&exchange->method_name), exchange->method_name.len);
	struct slice target = slice_of(buf_cstr(&exchange->target), exchange->target.len);
	struct maker maker = {plan, scratch, target.len <= 1024};
	if (target.len > 1024)
		target.len = 1024;
	json_t *body = body_text(&maker, &exchange->request, EXAMPLE_CASE_BYTES_MAX);
	bool complete = maker.complete; /* a redacted Cookie is not sent again anyway */
	json_t *json = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "at", json_time(exchange->wall_ns),
				 "method", json_text(method), "target", json_text(target), "status",
				 status_or_null(served->status), "request", body, "request_headers",
				 header_fields(&maker, &exchange->request), "complete", complete);
	*bytes = 2048 + target.len + json_string_length(json_object_get(json, "request"));
	return json;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* example: see example.h. */
#include "control/example.h"

#include "control/value.h"
#include "judge/redact.h"

static json_t *body_text(const struct compare_plan *plan, struct compare_scratch *scratch,
			 const struct exchange_message *message, size_t max_bytes)
{
	struct compare_message view = {
		.status = message->status,
		.fields = message->fields,
		.field_count = message->field_count,
		.body = buf_slice(&message->body),
	};
	struct buf decoded = {0}, out = {0};
	redact_body(plan, scratch, compare_decode_body(plan, scratch, &view, &decoded), max_bytes, &out);
	json_t *text = json_text(slice_of(buf_cstr(&out), out.len));
	buf_fini(&decoded);
	buf_fini(&out);
	return text;
}

static json_t *header_fields(const struct compare_plan *plan, const struct exchange_message *message)
{
	json_t *json = json_object();
	struct buf name = {0}, value = {0};
	for (size_t i = 0; json && i < message->field_count && i < EXAMPLE_FIELDS_MAX; i++) {
		const struct header_field *field = &message->fields[i];
		buf_reset(&name);
		buf_reset(&value);
		for (size_t c = 0; c < field->name.len; c++) {
			char letter = field->name.ptr[c];
			buf_append_char(&name, letter >= 'A' && letter <= 'Z' ? (char)(letter + 32) : letter);
		}
		redact_header_value(field->name, field->value, compare_plan_key(plan), &value);
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

json_t *example_make(const struct compare_plan *plan, struct compare_scratch *scratch,
		     struct exchange *exchange, const struct compare_difference *difference, size_t *bytes)
{
	const struct exchange_message *legacy = exchange_response(exchange, PHX_LEGACY);
	const struct exchange_message *modern = exchange_response(exchange, PHX_MODERN);
	struct slice method = slice_of(buf_cstr(&exchange->method_name), exchange->method_name.len);
	struct slice target = slice_of(buf_cstr(&exchange->target), exchange->target.len);
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
		body_text(plan, scratch, &exchange->request, EXAMPLE_REQUEST_BYTES_MAX), "legacy_body",
		body_text(plan, scratch, legacy, EXAMPLE_BODY_BYTES_MAX), "modern_body",
		body_text(plan, scratch, modern, EXAMPLE_BODY_BYTES_MAX), "request_headers",
		header_fields(plan, &exchange->request));
	if (!json)
		return NULL;
	/* Roughly: the texts, and as much again for jansson's own objects. */
	size_t size = 4096;
	const char *key;
	json_t *value;
	json_object_foreach(json, key, value) size += json_string_length(value);
	*bytes = size;
	return json;
}

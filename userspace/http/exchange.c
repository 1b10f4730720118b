/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange: see exchange.h. Fields are stored as offsets while the head may still move and are turned into
 * slices each time it did.
 */
#include "http/exchange.h"

#include <stdlib.h>

static const char *const outcome_words[] = {
#define X(name, word, help) word,
	EXCHANGE_OUTCOMES(X)
#undef X
};

const char *exchange_outcome_word(enum exchange_outcome outcome)
{
	return (unsigned)outcome < EXCHANGE_OUTCOME_COUNT ? outcome_words[outcome] : "unknown";
}

static bool charge(struct exchange *exchange, uint64_t bytes)
{
	struct exchange_budget *budget = exchange->budget;
	if (atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed) + bytes >
	    budget->max_bytes) {
		atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
		exchange->outcome = EXCHANGE_MEMORY;
		return false;
	}
	exchange->charged_bytes += bytes;
	return true;
}

struct exchange *exchange_create(struct exchange_budget *budget, uint64_t body_max_bytes)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	if (!exchange)
		return NULL;
	exchange->budget = budget;
	exchange->body_max_bytes = body_max_bytes;
	if (!charge(exchange, sizeof(*exchange))) {
		free(exchange);
		return NULL;
	}
	return exchange;
}

static void message_fini(struct exchange_message *message)
{
	buf_fini(&message->head);
	buf_fini(&message->body);
	free(message->fields);
}

void exchange_destroy(struct exchange *exchange)
{
	if (!exchange)
		return;
	atomic_fetch_sub_explicit(&exchange->budget->used_bytes, exchange->charged_bytes,
				  memory_order_relaxed);
	message_fini(&exchange->request);
	message_fini(&exchange->served);
	message_fini(&exchange->shadow);
	message_fini(&exchange->control);
	buf_fini(&exchange->method_name);
	buf_fini(&exchange->target);
	free(exchange);
}

void exchange_message_reset(struct exchange_message *message)
{
	message->status = 0;
	message->field_count = 0;
	buf_reset(&message->head);
	buf_reset(&message->body);
}

/* Makes room in `buf` and charges what it grew by. */
static bool grow(struct exchange *exchange, struct buf *buf, size_t extra)
{
	size_t before = buf->cap;
	if (!buf_reserve(buf, extra)) {
		exchange->outcome = EXCHANGE_MEMORY;
		return false;
	}
	return buf->cap == before || charge(exchange, buf->cap - before);
}

bool exchange_add_field(struct exchange *exchange, struct exchange_message *message, struct slice name,
			struct slice value)
{
	if (message->field_count == message->field_max) {
		size_t max = message->field_max ? message->field_max * 2 : 16;
		if (!charge(exchange, (max - message->field_max) * sizeof(*message->fields)))
			return false;
		struct header_field *fields = realloc(message->fields, max * sizeof(*fields));
		if (!fields) {
			exchange->outcome = EXCHANGE_MEMORY;
			return false;
		}
		message->fields = fields;
		message->field_max = max;
	}
	char *before = message->head.data;
	bool grown = grow(exchange, &message->head, name.len + value.len);
	if (message->head.data != before) {
		/* The head moved: its fields lie back to back, so they are found again in order. */
		char *at = message->head.data;
		for (size_t i = 0; i < message->field_count; i++) {
			struct header_field *field = &message->fields[i];
			field->name.ptr = at;
			at += field->name.len;
			field->value.ptr = at;
			at += field->value.len;
		}
	}
	if (!grown)
		return false;
	char *at = message->head.data + message->head.len;
	buf_append_slice(&message->head, name);
	buf_append_slice(&message->head, value);
	message->fields[message->field_count++] =
		(struct header_field){slice_of(at, name.len), slice_of(at + name.len, value.len)};
	return true;
}

/* A field that the other side must see (or that a comparison may look at) ends up in the exchange; those
 * that frame the message or belong to one hop do not. */
static bool is_recorded(const struct http_field *field)
{
	switch (field->id) {
	case PHX_FIELD_CONTENT_LENGTH:
	case PHX_FIELD_TRANSFER_ENCODING:
	case PHX_FIELD_CONNECTION:
	case PHX_FIELD_UPGRADE:
	case PHX_FIELD_TE:
	case PHX_FIELD_TRAILER:
	case PHX_FIELD_EXPECT:
	case PHX_FIELD_KEEP_ALIVE:
	case PHX_FIELD_PROXY_CONNECTION:
	case PHX_FIELD_PROXY_AUTHENTICATE:
	case PHX_FIELD_PROXY_AUTHORIZATION:
		return false;
	default:
		return !field->nominated;
	}
}

bool exchange_add_fields(struct exchange *exchange, struct exchange_message *message,
			 const struct http_head *head, const char *bytes)
{
	for (uint16_t i = 0; i < head->field_count; i++) {
		const struct http_field *field = &head->fields[i];
		if (is_recorded(field) &&
		    !exchange_add_field(exchange, message, http_field_name(field, bytes),
					http_field_value(field, bytes)))
			return false;
	}
	return true;
}

bool exchange_add_body(struct exchange *exchange, struct exchange_message *message, struct slice bytes)
{
	if (message->body.len + bytes.len > exchange->body_max_bytes) {
		exchange->outcome = EXCHANGE_BODY_OVER_CAP;
		return false;
	}
	if (!grow(exchange, &message->body, bytes.len))
		return false;
	buf_append_slice(&message->body, bytes);
	return true;
}

struct slice exchange_field(const struct exchange_message *message, struct slice name)
{
	for (size_t i = 0; i < message->field_count; i++) {
		if (slice_equal_nocase(message->fields[i].name, name))
			return message->fields[i].value;
	}
	return (struct slice){NULL, 0};
}

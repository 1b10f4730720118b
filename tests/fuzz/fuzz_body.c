/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunked body: however it is cut, the same content comes out, the same bytes are used, and the same is
 * said about what is wrong. Its trailer fields survive being written anew. A body of a given length likewise.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "gateway/forward.h"
#include "http/body.h"

struct outcome {
	enum http_body_result result;
	size_t consumed;
	struct buf content;
	struct http_body body;
};

/* Reads all of data in pieces of 1..step bytes (exactly step when `random` is NULL). */
static void read_in_pieces(struct outcome *out, const uint8_t *data, size_t size, enum http_body_kind kind,
			   uint64_t length, size_t step, uint64_t *random)
{
	*out = (struct outcome){.result = HTTP_BODY_MORE};
	http_body_init(&out->body, kind, length);
	while (out->consumed < size && out->result == HTTP_BODY_MORE) {
		size_t n = random ? 1 + (size_t)(fuzz_random(random) % step) : step, consumed, produced;
		if (n > size - out->consumed)
			n = size - out->consumed;
		char *piece = fuzz_copy(data + out->consumed, n);
		out->result = http_body_read(&out->body, piece, n, &consumed, &produced);
		FUZZ_CHECK(produced <= consumed && consumed <= n);
		FUZZ_CHECK(out->result != HTTP_BODY_MORE || consumed == n);
		buf_append(&out->content, piece, produced);
		out->consumed += consumed;
		free(piece);
		FUZZ_CHECK(out->body.total_bytes == out->content.len);
		FUZZ_CHECK((out->result == HTTP_BODY_END) == http_body_complete(&out->body));
	}
}

static void outcome_fini(struct outcome *out)
{
	http_body_fini(&out->body);
	buf_fini(&out->content);
}

static void outcomes_are_equal(const struct outcome *a, const struct outcome *b)
{
	FUZZ_CHECK(a->result == b->result);
	FUZZ_CHECK(a->consumed == b->consumed);
	FUZZ_CHECK(slice_equal(buf_slice(&a->content), buf_slice(&b->content)));
	FUZZ_CHECK(!a->body.why == !b->body.why);
	FUZZ_CHECK(!a->body.why || strcmp(a->body.why, b->body.why) == 0);
	FUZZ_CHECK(!a->body.trailer == !b->body.trailer);
	if (!a->body.trailer)
		return;
	FUZZ_CHECK(a->body.trailer->len == b->body.trailer->len);
	FUZZ_CHECK(memcmp(a->body.trailer->bytes, b->body.trailer->bytes, a->body.trailer->len) == 0);
	FUZZ_CHECK(a->body.trailer->head.field_count == b->body.trailer->head.field_count);
}

/* The trailer section as it goes on is a trailer section with the same fields. */
static void check_trailer(const struct http_trailer *trailer)
{
	char out[HTTP_TRAILER_BYTES_MAX * 2];
	size_t len = forward_trailer_write(trailer, out, sizeof(out));
	FUZZ_CHECK(len);
	char *bytes = fuzz_copy(out, len);
	struct http_head copy;
	http_head_init(&copy, PHX_HEAD_TRAILER, HTTP_TRAILER_FIELDS_MAX);
	FUZZ_CHECK(http_head_parse(&copy, bytes, len) == HTTP_PARSE_DONE && copy.scan.pos == len);
	FUZZ_CHECK(copy.field_count == trailer->head.field_count);
	for (uint16_t i = 0; i < copy.field_count; i++) {
		const struct http_field *field = &trailer->head.fields[i];
		FUZZ_CHECK(field->id == PHX_FIELD_OTHER);
		FUZZ_CHECK(slice_equal(http_field_name(&copy.fields[i], bytes),
				       http_field_name(field, trailer->bytes)));
		FUZZ_CHECK(slice_equal(http_field_value(&copy.fields[i], bytes),
				       http_field_value(field, trailer->bytes)));
	}
	free(bytes);
}

static void check(const uint8_t *data, size_t size, enum http_body_kind kind, uint64_t length)
{
	uint64_t random = fuzz_seed(data, size);
	struct outcome whole, pieces;
	size_t consumed = 1, produced = 1;
	read_in_pieces(&whole, data, size, kind, length, size ? size : 1, NULL);
	read_in_pieces(&pieces, data, size, kind, length, 1, NULL);
	outcomes_are_equal(&whole, &pieces);
	outcome_fini(&pieces);
	for (size_t step = 3; step < 100; step *= 4) {
		read_in_pieces(&pieces, data, size, kind, length, step, &random);
		outcomes_are_equal(&whole, &pieces);
		outcome_fini(&pieces);
	}
	if (whole.result == HTTP_BODY_END) {
		FUZZ_CHECK(http_body_ends_at_eof(&whole.body));
		FUZZ_CHECK(http_body_read(&whole.body, NULL, 0, &consumed, &produced) == HTTP_BODY_END);
		FUZZ_CHECK(consumed == 0 && produced == 0);
		if (whole.body.trailer)
			check_trailer(whole.body.trailer);
	} else if (whole.result == HTTP_BODY_REFUSED) {
		FUZZ_CHECK(whole.body.why && !http_body_ends_at_eof(&whole.body));
	}
	outcome_fini(&whole);
}

FUZZ_TARGET(body)
{
	check(data, size, HTTP_BODY_CHUNKED, 0);
	check(data, size, HTTP_BODY_LENGTH, 1 + fuzz_seed(data, size) % (2 * size + 1));
}

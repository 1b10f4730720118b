/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A response head: cut in two anywhere, or read byte by byte by the bare scanner, it is the same head; and
 * what goes to the client parses again to the same answer, framed as Phoenix decided.
 */
#include "fuzz_head.h"

#include "gateway/forward.h"

static void check_fields(const struct http_head *head, const char *bytes, const struct http_head *copy,
			 const char *copy_bytes)
{
	uint16_t k = 0;
	for (uint16_t i = 0; i < copy->field_count; i++)
		FUZZ_CHECK(!fuzz_is_never_written(http_field_name(&copy->fields[i], copy_bytes)));
	for (uint16_t i = 0; i <= head->field_count; i++) {
		while (k < copy->field_count &&
		       fuzz_is_hop_by_hop(http_field_name(&copy->fields[k], copy_bytes)))
			k++;
		if (i == head->field_count)
			break;
		struct slice name = http_field_name(&head->fields[i], bytes);
		if (fuzz_is_hop_by_hop(name) || fuzz_is_nominated(head, bytes, name))
			continue;
		FUZZ_CHECK(k < copy->field_count);
		FUZZ_CHECK(slice_equal(name, http_field_name(&copy->fields[k], copy_bytes)));
		FUZZ_CHECK(slice_equal(http_field_value(&head->fields[i], bytes),
				       http_field_value(&copy->fields[k], copy_bytes)));
		k++;
	}
	FUZZ_CHECK(k == copy->field_count);
}

static struct slice reason_of(const struct http_head *head, const char *bytes)
{
	uint32_t len = head->scan.line_len;
	return len > 13 ? slice_of(bytes + 13, len - 13) : SLICE("");
}

static void check_copy(const struct forward_response *response, const char *out, size_t len)
{
	const struct http_head *head = response->head;
	char *bytes = fuzz_copy(out, len);
	struct http_head copy;
	http_head_init(&copy, PHX_HEAD_RESPONSE, HTTP_FIELDS_MAX);
	enum http_parse_result result = http_head_parse(&copy, bytes, len);
	if (result == HTTP_PARSE_TOO_MANY) {
		FUZZ_CHECK(head->field_count > HTTP_FIELDS_MAX - 4);
		free(bytes);
		return;
	}
	FUZZ_CHECK(result == HTTP_PARSE_DONE && copy.scan.pos == len && copy.scan.minor == 1);
	FUZZ_CHECK(copy.scan.status == head->scan.status);
	FUZZ_CHECK(slice_equal(reason_of(&copy, bytes), reason_of(head, response->bytes)));
	uint32_t flags = copy.scan.flags;
	bool length = response->kind == HTTP_BODY_LENGTH || response->announce_length;
	bool chunked = response->kind == HTTP_BODY_CHUNKED;
	FUZZ_CHECK(!(flags & PHX_HEAD_CHUNKED) == !chunked);
	FUZZ_CHECK(!(flags & PHX_HEAD_HAS_LENGTH) == (chunked || !length));
	FUZZ_CHECK(!(flags & PHX_HEAD_HAS_LENGTH) || copy.scan.content_length == response->length);
	FUZZ_CHECK(!(flags & PHX_HEAD_CLOSE) == !response->close);
	FUZZ_CHECK(!(flags & PHX_HEAD_NOMINATES));
	check_fields(head, response->bytes, &copy, bytes);
	free(bytes);
}

FUZZ_TARGET(response)
{
	uint64_t random = fuzz_seed(data, size);
	char *bytes = fuzz_copy(data, size);
	struct http_head head;
	if (fuzz_head_every_way(&head, PHX_HEAD_RESPONSE, bytes, size, &random) != HTTP_PARSE_DONE) {
		free(bytes);
		return;
	}
	FUZZ_CHECK(head.scan.status >= 100 && head.scan.status <= 599);
	uint64_t choice = fuzz_random(&random);
	struct http_body body;
	http_body_of_response(&body, &head, choice & 1);
	bool has_length = head.scan.flags & PHX_HEAD_HAS_LENGTH;
	FUZZ_CHECK(body.kind != HTTP_BODY_LENGTH ||
		   (has_length && body.remaining == head.scan.content_length));
	struct forward_response response = {
		.head = &head,
		.bytes = bytes,
		.kind = body.kind == HTTP_BODY_CLOSE && (choice & 2) ? HTTP_BODY_CHUNKED : body.kind,
		.length = head.scan.content_length,
		.announce_length = body.kind == HTTP_BODY_NONE && has_length,
		.close = choice & 4,
		.keep_alive_1_0 = choice & 8,
	};
	size_t cap = 2 * (size_t)head.scan.pos + 256;
	char *out = malloc(cap), *tight;
	size_t len = forward_response_write(&response, out, cap);
	FUZZ_CHECK(len);
	check_copy(&response, out, len);
	tight = malloc(len);
	FUZZ_CHECK(forward_response_write(&response, tight, (size_t)(fuzz_random(&random) % len)) == 0);
	FUZZ_CHECK(forward_response_write(&response, tight, len) == len && memcmp(tight, out, len) == 0);
	free(tight);
	free(out);
	free(bytes);
}

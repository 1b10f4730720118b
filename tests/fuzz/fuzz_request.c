/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request head: cut in two anywhere, or read byte by byte by the bare scanner, it is the same head; and
 * what is forwarded of it parses again to the same request.
 */
#include "fuzz_head.h"

#include "gateway/forward.h"

static const char base_paths[3][8] = {"", "/v1", "/a/b"};

/* What Phoenix writes itself, whatever the client said. */
static bool is_written_here(struct slice name)
{
	static const char *const names[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
					    "x-request-id",    "x-phoenix-shadow",  "host"};
	return fuzz_name_is_one_of(name, names, sizeof(names) / sizeof(names[0]));
}

static void check_fields(const struct http_head *head, const char *bytes, const struct http_head *copy,
			 const char *copy_bytes)
{
	uint16_t k = 0;
	for (uint16_t i = 0; i < copy->field_count; i++)
		FUZZ_CHECK(!fuzz_is_never_written(http_field_name(&copy->fields[i], copy_bytes)));
	for (uint16_t i = 0; i <= head->field_count; i++) {
		/* The copy's next field that came from the client. */
		while (k < copy->field_count &&
		       (fuzz_is_hop_by_hop(http_field_name(&copy->fields[k], copy_bytes)) ||
			is_written_here(http_field_name(&copy->fields[k], copy_bytes))))
			k++;
		if (i == head->field_count)
			break;
		const struct http_field *field = &head->fields[i];
		struct slice name = http_field_name(field, bytes);
		if (fuzz_is_hop_by_hop(name) || is_written_here(name) || fuzz_is_nominated(head, bytes, name))
			continue;
		FUZZ_CHECK(k < copy->field_count);
		FUZZ_CHECK(slice_equal(name, http_field_name(&copy->fields[k], copy_bytes)));
		FUZZ_CHECK(slice_equal(http_field_value(field, bytes),
				       http_field_value(&copy->fields[k], copy_bytes)));
		k++;
	}
	FUZZ_CHECK(k == copy->field_count);
}

static unsigned count_of(const struct http_head *head, enum phx_field id)
{
	unsigned count = 0;
	for (uint16_t i = 0; i < head->field_count; i++)
		count += head->fields[i].id == id;
	return count;
}

/* The target that must arrive. */
static size_t expected_target(const struct forward_request *request, char *out)
{
	const struct http_target *target = request->target;
	bool asterisk = slice_equal(target->path, SLICE("*"));
	memcpy(out, request->base_path.ptr, request->base_path.len);
	size_t len = request->base_path.len;
	if (target->path_query.ptr[0] == '?')
		out[len++] = '/';
	if (asterisk && len)
		return len;
	memcpy(out + len, target->path_query.ptr, target->path_query.len);
	return len + target->path_query.len;
}

static void check_copy(const struct forward_request *request, const char *out, size_t len)
{
	const struct http_head *head = request->head;
	const uint32_t framing = PHX_HEAD_HAS_LENGTH | PHX_HEAD_CHUNKED;
	char *bytes = fuzz_copy(out, len);
	struct http_head copy;
	struct http_target target;
	http_head_init(&copy, 0, HTTP_FIELDS_MAX);
	enum http_parse_result result = http_head_parse(&copy, bytes, len);
	if (result == HTTP_PARSE_TOO_MANY) { /* Phoenix's own fields came on top of the most there may be */
		FUZZ_CHECK(head->field_count > HTTP_FIELDS_MAX - 8);
		free(bytes);
		return;
	}
	FUZZ_CHECK(result == HTTP_PARSE_DONE && copy.scan.pos == len && copy.scan.minor == 1);
	FUZZ_CHECK(slice_equal(http_head_method(&copy, bytes), http_head_method(head, request->bytes)));
	FUZZ_CHECK(copy.scan.method == head->scan.method);
	char *want = malloc(head->scan.target_len + 16);
	size_t want_len = expected_target(request, want);
	FUZZ_CHECK(slice_equal(http_head_target(&copy, bytes), slice_of(want, want_len)));
	free(want);
	FUZZ_CHECK(http_target_parse(&copy, bytes, &target) == 0 && target.authority.len == 0);
	FUZZ_CHECK((copy.scan.flags & framing) == (head->scan.flags & framing));
	FUZZ_CHECK(!(head->scan.flags & PHX_HEAD_HAS_LENGTH) ||
		   copy.scan.content_length == head->scan.content_length);
	const struct http_field *host = http_head_find(&copy, PHX_FIELD_HOST);
	const struct http_field *own = http_head_find(head, PHX_FIELD_HOST);
	struct slice host_want = request->target->authority.len ? request->target->authority
				 : own				? http_field_value(own, request->bytes)
								: request->authority;
	FUZZ_CHECK(host && slice_equal(http_field_value(host, bytes), host_want));
	FUZZ_CHECK(count_of(&copy, PHX_FIELD_X_FORWARDED_FOR) == 1);
	FUZZ_CHECK(count_of(&copy, PHX_FIELD_X_FORWARDED_HOST) == 1);
	FUZZ_CHECK(count_of(&copy, PHX_FIELD_X_FORWARDED_PROTO) == 1);
	FUZZ_CHECK(count_of(&copy, PHX_FIELD_X_REQUEST_ID) == 1);
	FUZZ_CHECK(count_of(&copy, PHX_FIELD_X_PHOENIX_SHADOW) == 0);
	FUZZ_CHECK(count_of(&copy, PHX_FIELD_CONNECTION) == request->upgrade);
	FUZZ_CHECK(count_of(&copy, PHX_FIELD_UPGRADE) == request->upgrade);
	FUZZ_CHECK(!(copy.scan.flags & (PHX_HEAD_NOMINATES | PHX_HEAD_CLOSE | PHX_HEAD_KEEP_ALIVE)));
	check_fields(head, request->bytes, &copy, bytes);
	free(bytes);
}

FUZZ_TARGET(request)
{
	uint64_t random = fuzz_seed(data, size);
	char *bytes = fuzz_copy(data, size);
	struct http_head head;
	struct http_target target;
	enum http_parse_result result = fuzz_head_every_way(&head, 0, bytes, size, &random);
	if (result != HTTP_PARSE_DONE || http_target_parse(&head, bytes, &target))
		goto out;
	FUZZ_CHECK(target.path.len && target.path_query.len);
	FUZZ_CHECK(target.path.ptr[0] == '/' || slice_equal(target.path, SLICE("*")));
	struct forward_request request = {
		.head = &head,
		.bytes = bytes,
		.target = &target,
		.base_path = slice_str(base_paths[fuzz_random(&random) % 3]),
		.client_ip = SLICE("192.0.2.1"),
		.authority = SLICE("upstream:81"),
		.request_id = "0123456789abcdef",
		.upgrade = forward_upgrades(&head, bytes),
	};
	size_t cap = 3 * (size_t)head.scan.pos + FORWARD_EXTRA_BYTES;
	char *copy = malloc(cap);
	struct slice id;
	size_t len = forward_request_write(&request, copy, cap, &id);
	FUZZ_CHECK(len && len <= cap && id.len && id.len <= 63);
	check_copy(&request, copy, len);
	/* Into a place that is too small nothing goes, and into one that fits exactly all. */
	char *tight = malloc(len);
	size_t less = (size_t)(fuzz_random(&random) % len);
	FUZZ_CHECK(forward_request_write(&request, tight, less, &id) == 0);
	FUZZ_CHECK(forward_request_write(&request, tight, len, &id) == len && memcmp(tight, copy, len) == 0);
	free(tight);
	free(copy);
out:
	free(bytes);
}

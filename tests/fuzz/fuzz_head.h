/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_head: what the targets for request heads and response heads share. */
#ifndef PHOENIX_TESTS_FUZZ_HEAD_H
#define PHOENIX_TESTS_FUZZ_HEAD_H

#include "fuzz.h"

#include "http/parse.h"

static inline bool fuzz_name_is_one_of(struct slice name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (slice_equal_nocase(name, slice_str(names[i])))
			return true;
	}
	return false;
}

/* Fields that end at this hop or speak about its framing (RFC 9110 7.6.1, 11.7; RFC 9112 6), read from the
 * standard and not from the code under test. "Close" is a reserved name: no such field exists (RFC
 * 9110 18.4). */
static inline bool fuzz_is_hop_by_hop(struct slice name)
{
	static const char *const names[] = {"connection",
					    "keep-alive",
					    "proxy-connection",
					    "te",
					    "transfer-encoding",
					    "upgrade",
					    "close",
					    "content-length",
					    "proxy-authenticate",
					    "proxy-authorization"};
	return fuzz_name_is_one_of(name, names, sizeof(names) / sizeof(names[0]));
}

/* Of these, what no message that Phoenix writes has, whatever it has to say itself. */
static inline bool fuzz_is_never_written(struct slice name)
{
	static const char *const names[] = {"te", "keep-alive", "proxy-connection", "proxy-authenticate",
					    "proxy-authorization"};
	return fuzz_name_is_one_of(name, names, sizeof(names) / sizeof(names[0]));
}

/* Is the field named by a Connection field? */
static inline bool fuzz_is_nominated(const struct http_head *head, const char *bytes, struct slice name)
{
	for (uint16_t i = 0; i < head->field_count; i++) {
		if (!slice_equal_nocase(http_field_name(&head->fields[i], bytes), SLICE("connection")))
			continue;
		struct slice rest = http_field_value(&head->fields[i], bytes), option;
		while (slice_split(&rest, ',', &option)) {
			if (option.len && slice_equal_nocase(option, name))
				return true;
		}
	}
	return false;
}

static inline void fuzz_heads_are_equal(const struct http_head *a, const struct http_head *b)
{
	FUZZ_CHECK(memcmp(&a->scan, &b->scan, sizeof(a->scan)) == 0);
	FUZZ_CHECK(a->field_count == b->field_count);
	for (uint16_t i = 0; i < a->field_count; i++) {
		const struct http_field *x = &a->fields[i], *y = &b->fields[i];
		FUZZ_CHECK(x->name_off == y->name_off && x->name_len == y->name_len);
		FUZZ_CHECK(x->value_off == y->value_off && x->value_len == y->value_len);
		FUZZ_CHECK(x->id == y->id && x->nominated == y->nominated);
	}
}

/* In two pieces: the first alone, then all of it, at another address. */
static inline void fuzz_head_cut(const struct http_head *whole, enum http_parse_result want, uint32_t flags,
				 const char *bytes, size_t size, size_t cut)
{
	struct http_head head;
	http_head_init(&head, flags, HTTP_FIELDS_MAX);
	char *piece = fuzz_copy(bytes, cut);
	enum http_parse_result result = http_head_parse(&head, piece, cut);
	free(piece);
	if (result == HTTP_PARSE_MORE)
		result = http_head_parse(&head, bytes, size);
	FUZZ_CHECK(result == want);
	fuzz_heads_are_equal(whole, &head);
}

/* The scanner alone, byte by byte, without the skipping that http_head_parse does. */
static inline void fuzz_head_scan(const struct http_head *whole, enum http_parse_result want, uint32_t flags,
				  const char *bytes, size_t size)
{
	struct phx_head scan;
	phx_head_init(&scan, flags);
	int result = PHX_HEAD_MORE;
	unsigned fields = 0;
	while (scan.pos < size && (result == PHX_HEAD_MORE || result == PHX_HEAD_FIELD)) {
		result = phx_head_step(&scan, (uint8_t)bytes[scan.pos]);
		if (result == PHX_HEAD_FIELD && (fields++ == HTTP_FIELDS_MAX || scan.name_len > UINT16_MAX))
			break;
	}
	if (want == HTTP_PARSE_TOO_MANY)
		FUZZ_CHECK(result == PHX_HEAD_FIELD);
	else if (want == HTTP_PARSE_MORE)
		FUZZ_CHECK(result == PHX_HEAD_MORE || result == PHX_HEAD_FIELD);
	else
		FUZZ_CHECK(result == (want == HTTP_PARSE_DONE ? PHX_HEAD_DONE : PHX_HEAD_REFUSED));
	FUZZ_CHECK(memcmp(&scan, &whole->scan, sizeof(scan)) == 0);
}

/* Parses bytes[0..size), an exact block, in every way; all must agree. The head is the caller's to use. */
static inline enum http_parse_result fuzz_head_every_way(struct http_head *head, uint32_t flags,
							 const char *bytes, size_t size, uint64_t *random)
{
	http_head_init(head, flags, HTTP_FIELDS_MAX);
	enum http_parse_result result = http_head_parse(head, bytes, size);
	for (unsigned i = 0; i < 3; i++)
		fuzz_head_cut(head, result, flags, bytes, size, (size_t)(fuzz_random(random) % (size + 1)));
	fuzz_head_scan(head, result, flags, bytes, size);
	FUZZ_CHECK(head->scan.pos <= size && head->field_count <= HTTP_FIELDS_MAX);
	if (result == HTTP_PARSE_REFUSED || result == HTTP_PARSE_TOO_MANY) {
		FUZZ_CHECK(http_refusal_status(head, result) >= 400);
		FUZZ_CHECK(http_refusal_help(head, result)[0] != 0);
	} else {
		FUZZ_CHECK(head->scan.error == PHX_HEAD_ERROR_NONE);
	}
	if (result != HTTP_PARSE_DONE)
		return result;
	for (uint16_t i = 0; i < head->field_count; i++) {
		struct slice name = http_field_name(&head->fields[i], bytes);
		FUZZ_CHECK(name.len && name.ptr + name.len <= bytes + head->scan.pos);
		FUZZ_CHECK(head->fields[i].nominated == fuzz_is_nominated(head, bytes, name) ||
			   fuzz_is_hop_by_hop(name));
		FUZZ_CHECK(http_head_find_name(head, bytes, name) <= &head->fields[i]);
		struct slice value = http_field_value(&head->fields[i], bytes);
		FUZZ_CHECK(value.len == slice_trim(value).len);
		FUZZ_CHECK(!memchr(value.ptr, '\r', value.len) && !memchr(value.ptr, '\n', value.len) &&
			   !memchr(value.ptr, 0, value.len));
	}
	return result;
}

#endif

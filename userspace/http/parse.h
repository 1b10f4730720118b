/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse: a message head as a list of fields, on top of the scanner that both paths share (phoenix/head.h).
 *
 * The scanner decides what is valid and what it means; this file only keeps where the fields are, and hurries
 * over bytes that no decision depends on (eight at a time). Nothing is copied: offsets count from the head's
 * first byte, so the caller may move the bytes between two calls.
 */
#ifndef PHOENIX_HTTP_PARSE_H
#define PHOENIX_HTTP_PARSE_H

#include "base/slice.h"

#include <phoenix/head.h>

#define HTTP_FIELDS_MAX 256

struct http_field {
	uint32_t name_off;
	uint32_t value_off;
	uint32_t value_len;
	uint16_t name_len;
	uint8_t id;	   /* enum phx_field */
	uint8_t nominated; /* named by a Connection field: not passed on */
};

struct http_head {
	struct phx_head scan;
	uint16_t field_count;
	uint16_t field_limit; /* more field lines than this are refused */
	struct http_field fields[HTTP_FIELDS_MAX];
};

enum http_parse_result {
	HTTP_PARSE_MORE,     /* valid so far: call again with more bytes */
	HTTP_PARSE_DONE,     /* head->scan.pos is the head's length */
	HTTP_PARSE_REFUSED,  /* see head->scan.error */
	HTTP_PARSE_TOO_MANY, /* more than field_limit field lines */
};

/* flags: 0 for a request, PHX_HEAD_RESPONSE, PHX_HEAD_TRAILER. field_limit <= HTTP_FIELDS_MAX. */
void http_head_init(struct http_head *head, uint32_t flags, uint16_t field_limit);
/*
 * Goes on where it stopped. base[0..len) are the head's bytes from its first one; what was there in an
 * earlier call must still be there, perhaps at another address. Bytes after the head are not looked at.
 */
enum http_parse_result http_head_parse(struct http_head *head, const char *base, size_t len);

static inline struct slice http_field_name(const struct http_field *field, const char *base)
{
	return slice_of(base + field->name_off, field->name_len);
}
static inline struct slice http_field_value(const struct http_field *field, const char *base)
{
	return slice_of(base + field->value_off, field->value_len);
}
/* The first field with this id, or NULL. */
const struct http_field *http_head_find(const struct http_head *head, enum phx_field id);
/* The first field of this name (case-insensitive), or NULL. */
const struct http_field *http_head_find_name(const struct http_head *head, const char *base,
					     struct slice name);
/* Method as sent (its bytes lie before the target). */
static inline struct slice http_head_method(const struct http_head *head, const char *base)
{
	uint32_t start = head->scan.flags & PHX_HEAD_BLANK_FIRST ? 2 : 0;
	return slice_of(base + start, head->scan.target_off - 1 - start);
}
static inline struct slice http_head_target(const struct http_head *head, const char *base)
{
	return slice_of(base + head->scan.target_off, head->scan.target_len);
}

/*
 * The request target taken apart (RFC 9112 3.2). Origin-form and "OPTIONS *" leave authority empty; for
 * absolute-form (http only) it is the authority and path_query what follows ("/" when nothing does, "*" for
 * an OPTIONS without a path).
 */
struct http_target {
	struct slice authority;
	struct slice path; /* without the query; begins with "/", or is "*" */
	struct slice
		path_query; /* path with "?query"; only "?query" for "http://host?query", whose path is "/" */
};
/* 0, or an enum phx_head_error. CONNECT and its authority-form are refused here (TARGET_FORM). */
int http_target_parse(const struct http_head *head, const char *base, struct http_target *out);

/* What to tell a client about a refused head. */
int http_refusal_status(const struct http_head *head, enum http_parse_result result);
const char *http_refusal_help(const struct http_head *head, enum http_parse_result result);
/* "OK" for 200 …; "Unknown" for others (RFC 9110 15). */
const char *http_reason(int status);

#endif

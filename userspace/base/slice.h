/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slice: a borrowed run of bytes, {ptr, len}, never NUL-terminated by promise.
 *
 * Everything that looks at input takes slices: the bytes stay where they arrived and nobody copies them
 * to look at them. A slice owns nothing; whoever made the bytes says how long they live.
 */
#ifndef PHOENIX_BASE_SLICE_H
#define PHOENIX_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct slice {
	const char *ptr;
	size_t len;
};

/* A header field of a message, both halves borrowed. */
struct header_field {
	struct slice name;
	struct slice value;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
/* For printf("%.*s", SLICE_ARG(s)). */
#define SLICE_ARG(s) (int)(s).len, (s).ptr

static inline struct slice slice_of(const char *ptr, size_t len)
{
	return (struct slice){ptr, len};
}

static inline struct slice slice_str(const char *str)
{
	return (struct slice){str, str ? strlen(str) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case-insensitive equality (field names, RFC 9110 5.1). */
static inline bool slice_equal_nocase(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

/* Removes spaces and tabs at both ends (OWS, RFC 9110 5.6.3). */
static inline struct slice slice_trim(struct slice s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s.ptr++, s.len--;
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/*
 * Takes the next element of a separated list off `*rest` into `*item`, trimmed; empty elements are returned
 * too. Returns false at the end.
 */
static inline bool slice_split(struct slice *rest, char sep, struct slice *item)
{
	if (!rest->ptr)
		return false;
	const char *end = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
	if (end) {
		*item = slice_trim(slice_of(rest->ptr, (size_t)(end - rest->ptr)));
		rest->len -= (size_t)(end - rest->ptr) + 1;
		rest->ptr = end + 1;
	} else {
		*item = slice_trim(*rest);
		*rest = (struct slice){NULL, 0};
	}
	return true;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* buf: see buf.h. Growth doubles, so a buffer of n bytes was copied O(n) times in all. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_fini(struct buf *b)
{
	if (!b)
		return;
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
	b->failed = false;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

bool buf_reserve(struct buf *b, size_t extra)
{
	if (b->failed)
		return false;
	/* One byte more than asked for: buf_cstr() always has room for its NUL. */
	if (extra > SIZE_MAX / 4 || b->len > SIZE_MAX / 4 || (b->max && b->len + extra > b->max)) {
		b->failed = true;
		return false;
	}
	if (b->len + extra + 1 <= b->cap)
		return true;
	size_t cap = b->cap ? b->cap : 64;
	while (cap < b->len + extra + 1)
		cap *= 2;
	char *data = realloc(b->data, cap);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
	if (len == 0 || !buf_reserve(b, len))
		return;
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

void buf_append_slice(struct buf *b, struct slice s)
{
	buf_append(b, s.ptr, s.len);
}

void buf_append_str(struct buf *b, const char *str)
{
	buf_append(b, str, strlen(str));
}

void buf_append_char(struct buf *b, char c)
{
	buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int need = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (need < 0)
		b->failed = true;
	else if (buf_reserve(b, (size_t)need)) {
		vsnprintf(b->data + b->len, (size_t)need + 1, format, again);
		b->len += (size_t)need;
	}
	va_end(again);
}

/* Length of the valid UTF-8 sequence at s (RFC 3629 4), 0 when there is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return n >= 2 && (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef) {
		if (n < 3 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if (n < 4 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

void buf_append_json(struct buf *b, struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	buf_append_char(b, '"');
	for (size_t i = 0; i < s.len;) {
		size_t n = utf8_length(p + i, s.len - i);
		if (n == 0) {
			buf_append(b, "\xef\xbf\xbd", 3);
			i++;
			continue;
		}
		if (p[i] == '"' || p[i] == '\\') {
			buf_append_char(b, '\\');
			buf_append_char(b, (char)p[i]);
		} else if (p[i] == '\n') {
			buf_append_str(b, "\\n");
		} else if (p[i] < 0x20 || p[i] == 0x7f) {
			buf_printf(b, "\\u%04x", p[i]);
		} else {
			buf_append(b, p + i, n);
		}
		i += n;
	}
	buf_append_char(b, '"');
}

const char *buf_cstr(struct buf *b)
{
	if (!b->data)
		return "";
	b->data[b->len] = 0;
	return b->data;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json: see json.h.
 *
 * One pass, no recursion, one allocation for many texts. An open container keeps its parent's index in its
 * own `next`, which is not known yet anyway, so the token array is the parser's stack as well.
 *
 * Most bytes of a body lie in strings, so those are scanned eight at a time: a word without quote, backslash,
 * control character and high bit is skipped whole. Nothing reads behind the end of the text.
 */
#include "judge/json.h"

#include "base/hex.h"
#include "judge/utf8.h"

#include <errno.h>
#include <stdlib.h>

#define NO_PARENT     UINT32_MAX
#define EVERY_BYTE(x) (UINT64_C(0x0101010101010101) * (x))

enum byte_class { SPACE = 1, DIGIT = 2, PLAIN = 4 };

/* PLAIN: may stand in a string as it is and needs no further look. */
static const uint8_t classes[256] = {
	[0x09] = SPACE,
	[0x0a] = SPACE,
	[0x0d] = SPACE,
	[0x20] = SPACE | PLAIN,
	[0x21] = PLAIN,
	[0x23 ... 0x2f] = PLAIN,
	[0x30 ... 0x39] = PLAIN | DIGIT,
	[0x3a ... 0x5b] = PLAIN,
	[0x5d ... 0x7f] = PLAIN,
};

struct parser {
	const uint8_t *begin, *end;
	struct json_tokens *tokens;
	uint32_t parent; /* innermost open container */
	uint32_t depth;
	uint32_t depth_max, tokens_max;
	struct json_error error;
};

/* Notes the first error and returns NULL, the position of a parser that has failed. */
static const uint8_t *fail_at(struct parser *ps, const uint8_t *p, const char *reason)
{
	ps->error = (struct json_error){(size_t)(p - ps->begin), reason, false};
	return NULL;
}

static const uint8_t *fail_limit(struct parser *ps, const uint8_t *p, const char *reason)
{
	ps->error = (struct json_error){(size_t)(p - ps->begin), reason, true};
	return NULL;
}

static inline const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (classes[*p] & SPACE))
		p++;
	return p;
}

static __attribute__((noinline)) bool grow(struct parser *ps, const uint8_t *p)
{
	struct json_tokens *tokens = ps->tokens;
	if (tokens->count >= ps->tokens_max) {
		fail_limit(ps, p, "too many values");
		return false;
	}
	uint32_t cap = tokens->cap ? tokens->cap * 2 : 256;
	struct json_token *items = realloc(tokens->items, (size_t)cap * sizeof(*items));
	if (!items) {
		fail_limit(ps, p, "out of memory");
		return false;
	}
	tokens->items = items;
	tokens->cap = cap;
	return true;
}

/* A new token at the end of the array; NULL when there is no room (and the error is noted). */
static inline struct json_token *push(struct parser *ps, const uint8_t *p, enum json_token_type type)
{
	struct json_tokens *tokens = ps->tokens;
	if (__builtin_expect(tokens->count >= tokens->cap || tokens->count >= ps->tokens_max, 0) &&
	    !grow(ps, p))
		return NULL;
	uint32_t index = tokens->count++;
	struct json_token *token = &tokens->items[index];
	*token = (struct json_token){.start = (uint32_t)(p - ps->begin), .next = index + 1, .type = type};
	return token;
}

/* Skips bytes that need no look inside a string; stops at the first that does, or at the end. */
static inline const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	while (end - p >= 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		uint64_t quote = w ^ EVERY_BYTE('"'), backslash = w ^ EVERY_BYTE('\\');
		/* High bit of each byte that is zero, below 0x20, or has its high bit set. A borrow can only
		 * add false hits above a true one, and the lowest hit is what counts. */
		uint64_t hit = ((quote - EVERY_BYTE(1)) & ~quote) |
			       ((backslash - EVERY_BYTE(1)) & ~backslash) | ((w - EVERY_BYTE(0x20)) & ~w) | w;
		hit &= EVERY_BYTE(0x80);
		if (hit)
			return p + (__builtin_ctzll(hit) >> 3);
		p += 8;
	}
#endif
	while (p < end && (classes[*p] & PLAIN))
		p++;
	return p;
}

/* p is at a backslash; returns what is behind the escape. */
static const uint8_t *scan_escape(struct parser *ps, const uint8_t *p)
{
	const uint8_t *end = ps->end;
	if (end - p < 2)
		return fail_at(ps, end, "the text ends inside a string");
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return p + 2;
	case 'u':
		for (unsigned i = 2; i < 6; i++) {
			if (p + i >= end)
				return fail_at(ps, end, "the text ends inside a string");
			if (hex_digit(p[i]) < 0)
				return fail_at(ps, p + i, "\\u needs four hexadecimal digits");
		}
		return p + 6;
	default:
		return fail_at(ps, p, "unknown escape in a string");
	}
}

/* p is at the opening quote; makes the token and returns what is behind the closing one. */
static inline const uint8_t *scan_string(struct parser *ps, const uint8_t *p)
{
	const uint8_t *end = ps->end;
	struct json_token *token = push(ps, ++p, JSON_TOKEN_STRING);
	if (!token)
		return NULL;
	for (;;) {
		p = skip_plain(p, end);
		if (p >= end)
			return fail_at(ps, end, "the text ends inside a string");
		if (*p == '"') {
			token->end = (uint32_t)(p - ps->begin);
			return p + 1;
		}
		if (*p == '\\') {
			token->escaped = 1;
			p = scan_escape(ps, p);
			if (!p)
				return NULL;
		} else if (*p >= 0x80) {
			do {
				unsigned n = utf8_sequence(p, end);
				if (n == 0)
					return fail_at(ps, p, "not well-formed UTF-8");
				p += n;
			} while (p < end && *p >= 0x80);
		} else {
			return fail_at(ps, p, "control character in a string; write it as an escape");
		}
	}
}

static inline const uint8_t *skip_digits(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (classes[*p] & DIGIT))
		p++;
	return p;
}

/* p is at '-' or a digit (RFC 8259 6). */
static inline const uint8_t *scan_number(struct parser *ps, const uint8_t *p)
{
	const uint8_t *end = ps->end;
	struct json_token *token = push(ps, p, JSON_TOKEN_NUMBER);
	if (!token)
		return NULL;
	if (*p == '-')
		p++;
	if (p >= end || !(classes[*p] & DIGIT))
		return fail_at(ps, p, "expected a digit");
	if (*p == '0') {
		p++;
		if (p < end && (classes[*p] & DIGIT))
			return fail_at(ps, p - 1, "a number must not start with 0");
	} else {
		p = skip_digits(p, end);
	}
	if (p < end && *p == '.') {
		p++;
		if (p >= end || !(classes[*p] & DIGIT))
			return fail_at(ps, p, "expected a digit after the decimal point");
		p = skip_digits(p, end);
	}
	if (p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if (p >= end || !(classes[*p] & DIGIT))
			return fail_at(ps, p, "expected a digit in the exponent");
		p = skip_digits(p, end);
	}
	token->end = (uint32_t)(p - ps->begin);
	return p;
}

static const uint8_t *scan_word(struct parser *ps, const uint8_t *p, struct slice word,
				enum json_token_type type)
{
	if ((size_t)(ps->end - p) < word.len || memcmp(p, word.ptr, word.len) != 0)
		return fail_at(ps, p, "expected true, false or null");
	struct json_token *token = push(ps, p, type);
	if (!token)
		return NULL;
	token->end = token->start + (uint32_t)word.len;
	return p + word.len;
}

/* A value that is not a container; p is before the end. */
static inline const uint8_t *scan_scalar(struct parser *ps, const uint8_t *p)
{
	if (*p == '"')
		return scan_string(ps, p);
	if (*p == '-' || (classes[*p] & DIGIT))
		return scan_number(ps, p);
	if (*p == 't')
		return scan_word(ps, p, SLICE("true"), JSON_TOKEN_TRUE);
	if (*p == 'f')
		return scan_word(ps, p, SLICE("false"), JSON_TOKEN_FALSE);
	if (*p == 'n')
		return scan_word(ps, p, SLICE("null"), JSON_TOKEN_NULL);
	if (*p == 0xef && ps->end - p >= 3 && p[1] == 0xbb && p[2] == 0xbf)
		return fail_at(ps, p, "byte order mark");
	return fail_at(ps, p, "expected a value");
}

static inline const uint8_t *open_container(struct parser *ps, const uint8_t *p)
{
	if (ps->depth >= ps->depth_max)
		return fail_limit(ps, p, "nested too deeply");
	struct json_token *token = push(ps, p, *p == '{' ? JSON_TOKEN_OBJECT : JSON_TOKEN_ARRAY);
	if (!token)
		return NULL;
	token->next = ps->parent;
	ps->parent = ps->tokens->count - 1;
	ps->depth++;
	return p + 1;
}

/* p is behind the bracket that closes the innermost container. */
static inline void close_container(struct parser *ps, const uint8_t *p)
{
	struct json_token *token = &ps->tokens->items[ps->parent];
	ps->parent = token->next;
	token->next = ps->tokens->count;
	token->end = (uint32_t)(p - ps->begin);
	ps->depth--;
}

/* A member's name and the colon; returns what is behind the colon. */
static inline const uint8_t *scan_name(struct parser *ps, const uint8_t *p)
{
	p = skip_space(p, ps->end);
	if (p >= ps->end)
		return fail_at(ps, ps->end, "the text ends inside an object");
	if (*p != '"')
		return fail_at(ps, p,
			       *p == '}' ? "no comma is allowed before }"
					 : "expected a member name in quotes");
	p = scan_string(ps, p);
	if (!p)
		return NULL;
	p = skip_space(p, ps->end);
	if (p >= ps->end || *p != ':')
		return fail_at(ps, p, "expected ':' after a member name");
	return p + 1;
}

/*
 * p is behind a value: counts it, closes what ends here, and moves to where the next value starts. Returns
 * NULL on an error; *done when the outermost value is complete.
 */
static inline const uint8_t *after_value(struct parser *ps, const uint8_t *p, bool *done)
{
	for (;;) {
		if (ps->parent == NO_PARENT) {
			*done = true;
			return p;
		}
		struct json_token *parent = &ps->tokens->items[ps->parent];
		bool object = parent->type == JSON_TOKEN_OBJECT;
		parent->count++;
		p = skip_space(p, ps->end);
		if (p >= ps->end)
			return fail_at(ps, ps->end,
				       object ? "the text ends inside an object"
					      : "the text ends inside an array");
		if (*p == ',')
			return object ? scan_name(ps, p + 1) : p + 1;
		if (*p != (object ? '}' : ']'))
			return fail_at(ps, p, object ? "expected ',' or '}'" : "expected ',' or ']'");
		close_container(ps, ++p);
	}
}

static const uint8_t *parse_document(struct parser *ps, const uint8_t *p)
{
	bool done = false;
	while (!done) {
		p = skip_space(p, ps->end);
		if (p >= ps->end)
			return fail_at(ps, ps->end,
				       ps->parent == NO_PARENT ? "expected a value, found nothing"
							       : "the text ends before a value");
		if (*p == '{' || *p == '[') {
			char closing = *p == '{' ? '}' : ']';
			p = open_container(ps, p);
			if (!p)
				return NULL;
			p = skip_space(p, ps->end);
			if (p < ps->end && *p == closing)
				close_container(ps, ++p);
			else if (closing == ']')
				continue;
			else if ((p = scan_name(ps, p)))
				continue;
		} else {
			p = scan_scalar(ps, p);
		}
		if (p)
			p = after_value(ps, p, &done);
		if (!p)
			return NULL;
	}
	p = skip_space(p, ps->end);
	return p < ps->end ? fail_at(ps, p, "more text after the value") : p;
}

int json_tokenize(struct slice text, const struct json_limits *limits, struct json_tokens *tokens,
		  struct json_error *error)
{
	static const uint8_t nothing[1];
	struct parser ps = {
		.begin = text.len ? (const uint8_t *)text.ptr : nothing,
		.tokens = tokens,
		.parent = NO_PARENT,
		.depth_max = limits && limits->depth ? limits->depth : JSON_DEPTH_DEFAULT,
		.tokens_max = limits && limits->tokens ? limits->tokens : JSON_TOKENS_MAX,
	};
	if (ps.tokens_max > JSON_TOKENS_MAX)
		ps.tokens_max = JSON_TOKENS_MAX;
	ps.end = ps.begin + text.len;
	tokens->count = 0;

	const uint8_t *p;
	if (text.len >= JSON_TEXT_MAX)
		p = fail_limit(&ps, ps.begin, "longer than 4 GiB");
	else
		p = parse_document(&ps, ps.begin);
	if (p)
		return 0;
	tokens->count = 0;
	if (error)
		*error = ps.error;
	if (!ps.error.limit)
		return -EINVAL;
	return strcmp(ps.error.reason, "out of memory") == 0 ? -ENOMEM : -E2BIG;
}

void json_tokens_fini(struct json_tokens *tokens)
{
	if (!tokens)
		return;
	free(tokens->items);
	*tokens = (struct json_tokens){0};
}

const char *json_type_word(unsigned type)
{
	static const char *const words[] = {
#define X(name, word) [JSON_TOKEN_##name] = word,
		JSON_TOKEN_TYPES(X)
#undef X
	};
	return type < sizeof(words) / sizeof(words[0]) ? words[type] : "?";
}

void json_locate(struct slice text, size_t offset, unsigned *line, unsigned *column)
{
	unsigned lines = 1;
	size_t start = 0;
	if (offset > text.len)
		offset = text.len;
	for (size_t i = 0; i < offset; i++) {
		if (text.ptr[i] == '\n') {
			lines++;
			start = i + 1;
		}
	}
	*line = lines;
	*column = (unsigned)(offset - start) + 1;
}

static uint32_t hex4(const uint8_t *p)
{
	uint32_t x = 0;
	for (unsigned i = 0; i < 4; i++)
		x = x << 4 | (uint32_t)hex_digit(p[i]);
	return x;
}

/* The character that the escape at *p stands for; moves *p behind it. Surrogate pairs are joined. */
static uint32_t decode_escape(const uint8_t **p, const uint8_t *end)
{
	const uint8_t *s = *p;
	*p = s + 2;
	switch (s[1]) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'u':
		break;
	default:
		return s[1];
	}
	uint32_t unit = hex4(s + 2);
	*p = s + 6;
	if ((unit & 0xfc00) == 0xd800 && end - s >= 12 && s[6] == '\\' && s[7] == 'u') {
		uint32_t low = hex4(s + 8);
		if ((low & 0xfc00) == 0xdc00) {
			*p = s + 12;
			return 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
		}
	}
	return unit;
}

/* Writes c as (generalised) UTF-8 and returns the length. */
static unsigned utf8_encode(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

bool json_string_decode(struct slice raw, struct buf *out)
{
	const uint8_t *p = (const uint8_t *)raw.ptr, *end = p;
	bool unicode = true;
	if (raw.len)
		end = p + raw.len;
	while (p < end) {
		const uint8_t *escape = memchr(p, '\\', (size_t)(end - p));
		buf_append(out, p, (size_t)((escape ? escape : end) - p));
		if (!escape)
			break;
		p = escape;
		uint8_t bytes[4];
		uint32_t c = decode_escape(&p, end);
		unicode &= c < 0xd800 || c > 0xdfff;
		buf_append(out, bytes, utf8_encode(c, bytes));
	}
	return unicode;
}

/* A string read as the bytes of its decoded form. */
struct decoder {
	const uint8_t *p, *end;
	uint8_t bytes[4];
	unsigned len, at; /* of an escape that was decoded into `bytes` */
};

/* The next byte, -1 at the end. */
static inline int decoder_next(struct decoder *d)
{
	if (d->at < d->len)
		return d->bytes[d->at++];
	if (d->p >= d->end)
		return -1;
	if (*d->p != '\\')
		return *d->p++;
	d->len = utf8_encode(decode_escape(&d->p, d->end), d->bytes);
	d->at = 1;
	return d->bytes[0];
}

bool json_string_equal(struct slice a, bool a_escaped, struct slice b, bool b_escaped)
{
	if (!a_escaped && !b_escaped)
		return slice_equal(a, b);
	struct decoder da = {.p = (const uint8_t *)a.ptr}, db = {.p = (const uint8_t *)b.ptr};
	da.end = a.len ? da.p + a.len : da.p;
	db.end = b.len ? db.p + b.len : db.p;
	for (;;) {
		int x = decoder_next(&da), y = decoder_next(&db);
		if (x != y)
			return false;
		if (x < 0)
			return true;
	}
}

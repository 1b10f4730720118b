/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * head: the strict scanner of HTTP/1.x message heads (RFC 9112 2.1-5), one byte a step.
 *
 * The BPF programs and the daemon compile this same source, so the two paths cannot disagree about where a
 * head ends or what it says. A step looks at one byte and at its own small state, never back at the message:
 * that is what the verifier can prove, and it lets a head arrive in any number of pieces.
 *
 * Strict means: whatever two parsers could read in two ways is refused. CRLF only; one space between the
 * parts of the first line; no folding, no space before the colon, no control bytes; one Host; one
 * Content-Length of digits or one "chunked", never both.
 *
 * What it finds out is in struct phx_head: offsets of the current field while it runs, and, at the end, all
 * that framing and routing need. Field names and list tokens are gathered, lower case, into three 64-bit
 * words, so recognising one is a few comparisons and cannot collide as a hash could. The store of the field
 * list is the caller's: a step that ends a field line returns PHX_HEAD_FIELD.
 */
#ifndef PHOENIX_HEAD_H
#define PHOENIX_HEAD_H

#include <phoenix/abi.h>

/* Why a head is refused: X(NAME, status of the answer when a client sent it, help). */
#define PHX_HEAD_ERRORS(X)                                                                                   \
	X(NONE, 0, "valid so far")                                                                           \
	X(METHOD, 400, "the method is not a token (RFC 9110 9.1)")                                           \
	X(TARGET, 400, "the request target has a byte that no URI may have (RFC 3986 2)")                    \
	X(TARGET_FORM, 400, "the request target is in no form that its method allows (RFC 9112 3.2)")        \
	X(VERSION, 400, "the first line does not name an HTTP version where it must (RFC 9112 2.3)")         \
	X(VERSION_UNSUPPORTED, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here")                            \
	X(STATUS, 400, "the status is not three digits from 100 to 599 (RFC 9110 15)")                       \
	X(REASON, 400, "the reason phrase has a control byte (RFC 9112 4)")                                  \
	X(LINE_END, 400, "a line does not end in CR LF (RFC 9112 2.2)")                                      \
	X(FOLDED, 400, "a field line is folded or begins with a space (RFC 9112 5.2)")                       \
	X(FIELD_NAME, 400, "a field name is empty or has a byte that is no token (RFC 9112 5.1)")            \
	X(FIELD_VALUE, 400, "a field value has a control byte (RFC 9110 5.5)")                               \
	X(LENGTH, 400, "Content-Length is not a plain number of at most 18 digits (RFC 9110 8.6)")           \
	X(LENGTH_TWICE, 400, "Content-Length is there twice (RFC 9112 6.3)")                                 \
	X(LENGTH_AND_CODING, 400, "Content-Length and Transfer-Encoding are both there (RFC 9112 6.3)")      \
	X(CODING, 501, "the transfer coding is not \"chunked\" (RFC 9112 6.1)")                              \
	X(CODING_TWICE, 400, "Transfer-Encoding is there twice or lists two codings (RFC 9112 6.1)")         \
	X(CODING_IN_1_0, 400, "Transfer-Encoding in an HTTP/1.0 message (RFC 9112 6.1)")                     \
	X(CONNECTION, 400, "Connection has something that is no token (RFC 9110 7.6.1)")                     \
	X(HOST_MISSING, 400, "Host is missing (RFC 9112 3.2)")                                               \
	X(HOST_TWICE, 400, "Host is there twice (RFC 9112 3.2)")                                             \
	X(HOST, 400, "Host is not a host with an optional port (RFC 9110 7.2)")                              \
	X(EXPECT, 417, "Expect asks for something other than 100-continue (RFC 9110 10.1.1)")

enum phx_head_error {
#define X(name, status, help) PHX_HEAD_ERROR_##name,
	PHX_HEAD_ERRORS(X)
#undef X
		PHX_HEAD_ERROR_COUNT,
};

/* Fields that mean something to Phoenix. At most 24 bytes a name. */
#define PHX_FIELDS(X)                                                                                        \
	X(HOST, "host")                                                                                      \
	X(CONTENT_LENGTH, "content-length")                                                                  \
	X(TRANSFER_ENCODING, "transfer-encoding")                                                            \
	X(CONNECTION, "connection")                                                                          \
	X(CLOSE, "close")                                                                                    \
	X(EXPECT, "expect")                                                                                  \
	X(UPGRADE, "upgrade")                                                                                \
	X(TE, "te")                                                                                          \
	X(TRAILER, "trailer")                                                                                \
	X(KEEP_ALIVE, "keep-alive")                                                                          \
	X(PROXY_CONNECTION, "proxy-connection")                                                              \
	X(PROXY_AUTHENTICATE, "proxy-authenticate")                                                          \
	X(PROXY_AUTHORIZATION, "proxy-authorization")                                                        \
	X(COOKIE, "cookie")                                                                                  \
	X(X_FORWARDED_FOR, "x-forwarded-for")                                                                \
	X(X_FORWARDED_PROTO, "x-forwarded-proto")                                                            \
	X(X_FORWARDED_HOST, "x-forwarded-host")                                                              \
	X(X_REQUEST_ID, "x-request-id")                                                                      \
	X(X_PHOENIX_SHADOW, "x-phoenix-shadow")                                                              \
	X(X_PHOENIX_SYNTHETIC, "x-phoenix-synthetic")

enum phx_field {
	PHX_FIELD_OTHER,
#define X(name, text) PHX_FIELD_##name,
	PHX_FIELDS(X)
#undef X
		PHX_FIELD_COUNT,
};

enum phx_head_flag {
	PHX_HEAD_HAS_LENGTH = 1 << 0,
	PHX_HEAD_CHUNKED = 1 << 1,
	PHX_HEAD_HAS_HOST = 1 << 2,
	PHX_HEAD_CLOSE = 1 << 3,      /* Connection: close */
	PHX_HEAD_KEEP_ALIVE = 1 << 4, /* Connection: keep-alive */
	PHX_HEAD_UPGRADE = 1 << 5,    /* Connection: upgrade */
	PHX_HEAD_NOMINATES = 1 << 6,  /* Connection names other fields, which then must not be passed on */
	PHX_HEAD_CONTINUE = 1 << 7,   /* Expect: 100-continue */
	PHX_HEAD_HAS_UPGRADE = 1 << 8,
	PHX_HEAD_SYNTHETIC = 1 << 9,
	PHX_HEAD_SHADOW = 1 << 10,
	PHX_HEAD_BLANK_FIRST = 1 << 11, /* an empty line came before the request line (RFC 9112 2.2) */
	PHX_HEAD_RESPONSE = 1 << 12,
	PHX_HEAD_TRAILER = 1 << 13, /* this is a trailer section: fields only */
};

enum phx_head_result {
	PHX_HEAD_MORE = 0,
	PHX_HEAD_FIELD =
		1, /* a field line is complete: name_*, value_*, field are valid until the next step */
	PHX_HEAD_DONE = 2, /* the byte was the last of the head */
	PHX_HEAD_REFUSED = 3,
};

enum phx_head_state {
	PHX_AT_START = 0,
	PHX_AT_BLANK_LF,
	PHX_AT_METHOD,
	PHX_AT_TARGET,
	PHX_AT_VERSION,
	PHX_AT_STATUS,
	PHX_AT_REASON,
	PHX_AT_LINE_LF,
	PHX_AT_FIELD_START,
	PHX_AT_NAME,
	PHX_AT_OWS,
	PHX_AT_VALUE,
	PHX_AT_VALUE_LF,
	PHX_AT_END_LF,
	PHX_AT_DONE,
	PHX_AT_REFUSED,
};

#define PHX_NAME_WORDS 3
#define PHX_NAME_BYTES (PHX_NAME_WORDS * 8)

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

/* All offsets count from the head's first byte. */
struct phx_head {
	__u64 word[PHX_NAME_WORDS]; /* method, field name or list token being gathered */
	__u64 content_length;	    /* valid with PHX_HEAD_HAS_LENGTH */
	__u32 pos;		    /* bytes consumed */
	__u32 flags;		    /* enum phx_head_flag */
	__u32 target_off, target_len;
	__u32 path_len; /* of the target, without "?" and what follows */
	__u32 name_off, name_len;
	__u32 value_off, value_len;
	__u32 token_len; /* bytes gathered in word, or more when they did not fit */
	__u32 line_len;	 /* first line, without CR LF */
	__u16 status;	 /* responses */
	__u16 fields;	 /* field lines so far */
	__u8 state;	 /* enum phx_head_state */
	__u8 field;	 /* enum phx_field of the current field */
	__u8 method;	 /* enum phx_method */
	__u8 minor;	 /* HTTP/1.minor */
	__u8 error;	 /* enum phx_head_error */
	__u8 aux;	 /* progress inside version, status, Host, Content-Length */
	__u8 token_gap;	 /* a space was seen inside or after a token */
	__u8 zero;
};

#pragma GCC diagnostic pop

/* Classes of bytes; see phx_byte_is(). */
#define PHX_TCHAR  1 /* RFC 9110 5.6.2 */
#define PHX_URI	   2 /* in a request target: printable ASCII without " # < > and \ */
#define PHX_TEXT   4 /* in a field value: HTAB, SP, VCHAR, obs-text */
#define PHX_HOSTCH 8 /* in Host outside brackets: unreserved, sub-delims without ",", "%" */

/* Each class as a map of 256 bits in four words. Built from the grammar by tests/unit/test_http_head.c, which
 * checks every byte of them. The class is a constant wherever this is called, so the words are immediates. */
static inline int phx_byte_is(unsigned class, __u8 c)
{
	__u64 low = class == PHX_TCHAR	? 0x03ff6cfa00000000ULL
		    : class == PHX_URI	? 0xaffffff200000000ULL
		    : class == PHX_TEXT ? 0xffffffff00000200ULL
					: 0x2bff6ff200000000ULL;
	__u64 high = class == PHX_TCHAR	 ? 0x57ffffffc7fffffeULL
		     : class == PHX_URI	 ? 0x7fffffffefffffffULL
		     : class == PHX_TEXT ? 0x7fffffffffffffffULL
					 : 0x47fffffe87fffffeULL;
	if (c & 0x80)
		return class == PHX_TEXT;
	return ((c & 0x40 ? high : low) >> (c & 63)) & 1;
}

/* The i-th word of a literal, as phx_gather() builds it. */
#define PHX_LIT_BYTE(s, i)                                                                                   \
	((i) < sizeof(s) - 1 ? (__u64)(__u8)(s)[(i) < sizeof(s) ? (i) : 0] << (8 * ((i)&7)) : 0)
#define PHX_LIT_WORD(s, w)                                                                                   \
	(PHX_LIT_BYTE(s, (w)*8) | PHX_LIT_BYTE(s, (w)*8 + 1) | PHX_LIT_BYTE(s, (w)*8 + 2) |                  \
	 PHX_LIT_BYTE(s, (w)*8 + 3) | PHX_LIT_BYTE(s, (w)*8 + 4) | PHX_LIT_BYTE(s, (w)*8 + 5) |              \
	 PHX_LIT_BYTE(s, (w)*8 + 6) | PHX_LIT_BYTE(s, (w)*8 + 7))
#define PHX_GATHERED(h, s)                                                                                   \
	((h)->token_len == sizeof(s) - 1 && (h)->word[0] == PHX_LIT_WORD(s, 0) &&                            \
	 (h)->word[1] == PHX_LIT_WORD(s, 1) && (h)->word[2] == PHX_LIT_WORD(s, 2))

static inline void phx_gather_reset(struct phx_head *h)
{
	h->word[0] = h->word[1] = h->word[2] = 0;
	h->token_len = 0;
	h->token_gap = 0;
}

static inline void phx_gather(struct phx_head *h, __u8 c)
{
	__u32 n = h->token_len++;
	if (n < PHX_NAME_BYTES)
		h->word[n >> 3] |= (__u64)c << (8 * (n & 7));
}

static inline __u8 phx_lower(__u8 c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static inline int phx_refuse(struct phx_head *h, enum phx_head_error error)
{
	h->state = PHX_AT_REFUSED;
	h->error = (__u8)error;
	return PHX_HEAD_REFUSED;
}

static inline __u8 phx_head_method(const struct phx_head *h)
{
#define X(name)                                                                                              \
	if (PHX_GATHERED(h, #name))                                                                          \
		return PHX_METHOD_##name;
	PHX_METHODS(X)
#undef X
	return PHX_METHOD_OTHER;
}

static inline __u8 phx_head_field(const struct phx_head *h)
{
	if (h->token_len > 19)
		return PHX_FIELD_OTHER;
#define X(name, text)                                                                                        \
	if (PHX_GATHERED(h, text))                                                                           \
		return PHX_FIELD_##name;
	PHX_FIELDS(X)
#undef X
	return PHX_FIELD_OTHER;
}

/* An element of a list field is complete (or empty, which lists may have: RFC 9110 5.6.1). */
static inline int phx_head_token(struct phx_head *h)
{
	if (h->token_len) {
		if (h->field == PHX_FIELD_CONNECTION) {
			if (PHX_GATHERED(h, "close"))
				h->flags |= PHX_HEAD_CLOSE;
			else if (PHX_GATHERED(h, "keep-alive"))
				h->flags |= PHX_HEAD_KEEP_ALIVE;
			else if (PHX_GATHERED(h, "upgrade"))
				h->flags |= PHX_HEAD_UPGRADE;
			else
				h->flags |= PHX_HEAD_NOMINATES;
		} else if (h->field == PHX_FIELD_TRANSFER_ENCODING) {
			if (h->flags & PHX_HEAD_CHUNKED)
				return PHX_HEAD_ERROR_CODING_TWICE;
			if (!PHX_GATHERED(h, "chunked"))
				return PHX_HEAD_ERROR_CODING;
			h->flags |= PHX_HEAD_CHUNKED;
		} else if (h->field == PHX_FIELD_EXPECT) {
			if (!PHX_GATHERED(h, "100-continue"))
				return PHX_HEAD_ERROR_EXPECT;
			h->flags |= PHX_HEAD_CONTINUE;
		}
	}
	phx_gather_reset(h);
	return PHX_HEAD_ERROR_NONE;
}

/* Progress through Host: host [ ":" port ], the host perhaps an IPv6 literal in brackets. */
enum phx_host_state {
	PHX_HOST_EMPTY,
	PHX_HOST_NAME,
	PHX_HOST_CODE1, /* after "%": two hexadecimal digits must come */
	PHX_HOST_CODE2,
	PHX_HOST_V6,	   /* after "[" or a group's digits */
	PHX_HOST_V6_COLON, /* after a colon: a group, or a second colon, must come */
	PHX_HOST_V6_GAP,   /* after "::": a group may come */
	PHX_HOST_V6_DOT,   /* after a dot of an IPv4 address: a number must come */
	PHX_HOST_V6_END,
	PHX_HOST_PORT,
};

static inline int phx_is_hex(__u8 c)
{
	return (c >= '0' && c <= '9') || (phx_lower(c) >= 'a' && phx_lower(c) <= 'f');
}

/* What is gathered nowhere while Host is read counts the parts of an IPv6 literal. */
#define PHX_V6_GROUPS(h) ((h)->word[0])	  /* groups that are complete */
#define PHX_V6_DIGITS(h) ((h)->token_len) /* of the present group, or number of an IPv4 address */
#define PHX_HOST_NUMBER(h)                                                                                   \
	((h)->word[1])		 /* the port; the present group read as decimal, 256 or more: no byte */
#define PHX_V6_GAP     (1u << 0) /* in word[2]: "::" was there */
#define PHX_V6_DOTS(h) ((h)->word[2] >> 1)

/* The present part is a number from 0 to 255 without needless zeros (RFC 3986 3.2.2, dec-octet). */
static inline int phx_v6_is_byte(const struct phx_head *h)
{
	__u64 value = PHX_HOST_NUMBER(h);
	return value < 256 && PHX_V6_DIGITS(h) == 1u + (value > 9) + (value > 99);
}

/* The "]": are there eight groups, or fewer and a "::"? An IPv4 address at the end is two of them. */
static inline int phx_v6_whole(const struct phx_head *h)
{
	__u64 groups = PHX_V6_GROUPS(h), dots = PHX_V6_DOTS(h);
	if (h->aux == PHX_HOST_V6_COLON || h->aux == PHX_HOST_V6_DOT)
		return 0;
	if (dots && (dots != 3 || !phx_v6_is_byte(h)))
		return 0;
	groups += dots ? 2 : PHX_V6_DIGITS(h) != 0;
	return h->word[2] & PHX_V6_GAP ? groups <= 7 : groups == 8;
}

/* One byte of an IPv6 address (RFC 3986 3.2.2). */
static inline int phx_v6_byte(struct phx_head *h, __u8 c)
{
	if (phx_is_hex(c)) {
		/* Behind a colon that nothing came before, only a second one may come. */
		if ((h->aux == PHX_HOST_V6_COLON && !PHX_V6_GROUPS(h)) || PHX_V6_DIGITS(h) == 4)
			return PHX_HEAD_ERROR_HOST;
		PHX_V6_DIGITS(h)++;
		PHX_HOST_NUMBER(h) = c <= '9' ? PHX_HOST_NUMBER(h) * 10 + (c - '0') : 256;
		h->aux = PHX_HOST_V6;
		return 0;
	}
	if (c == ']') {
		int whole = phx_v6_whole(h);
		PHX_HOST_NUMBER(h) = 0;
		h->aux = PHX_HOST_V6_END;
		return whole ? 0 : PHX_HEAD_ERROR_HOST;
	}
	if (c == '.') {
		if (!phx_v6_is_byte(h) || PHX_V6_DOTS(h) == 3)
			return PHX_HEAD_ERROR_HOST;
		h->word[2] += 2;
		h->aux = PHX_HOST_V6_DOT;
	} else if (c == ':' && h->aux == PHX_HOST_V6) {
		if (PHX_V6_DOTS(h) || PHX_V6_GROUPS(h) > 7)
			return PHX_HEAD_ERROR_HOST;
		PHX_V6_GROUPS(h) += PHX_V6_DIGITS(h) != 0;
		h->aux = PHX_HOST_V6_COLON;
	} else if (c == ':' && h->aux == PHX_HOST_V6_COLON && !(h->word[2] & PHX_V6_GAP)) {
		h->word[2] |= PHX_V6_GAP;
		h->aux = PHX_HOST_V6_GAP;
	} else {
		return PHX_HEAD_ERROR_HOST;
	}
	PHX_V6_DIGITS(h) = 0;
	PHX_HOST_NUMBER(h) = 0;
	return 0;
}

static inline int phx_host_byte(struct phx_head *h, __u8 c)
{
	if (c == ' ' || c == '\t') {
		h->token_gap = 1;
		return 0;
	}
	if (h->token_gap)
		return PHX_HEAD_ERROR_HOST;
	switch (h->aux) {
	case PHX_HOST_EMPTY:
		if (c == '[') {
			h->aux = PHX_HOST_V6;
			return 0;
		}
		if (c == ':')
			return PHX_HEAD_ERROR_HOST;
		/* fall through */
	case PHX_HOST_NAME:
		h->aux = c == ':' ? PHX_HOST_PORT : c == '%' ? PHX_HOST_CODE1 : PHX_HOST_NAME;
		return c == ':' || phx_byte_is(PHX_HOSTCH, c) ? 0 : PHX_HEAD_ERROR_HOST;
	case PHX_HOST_CODE1:
		h->aux = PHX_HOST_CODE2;
		return phx_is_hex(c) ? 0 : PHX_HEAD_ERROR_HOST;
	case PHX_HOST_CODE2:
		h->aux = PHX_HOST_NAME;
		return phx_is_hex(c) ? 0 : PHX_HEAD_ERROR_HOST;
	case PHX_HOST_V6:
	case PHX_HOST_V6_COLON:
	case PHX_HOST_V6_GAP:
	case PHX_HOST_V6_DOT:
		return phx_v6_byte(h, c);
	case PHX_HOST_V6_END:
		h->aux = PHX_HOST_PORT;
		return c == ':' ? 0 : PHX_HEAD_ERROR_HOST;
	default: /* PHX_HOST_PORT: any number of digits is the grammar's, but no port is over 65535 */
		if (c < '0' || c > '9')
			return PHX_HEAD_ERROR_HOST;
		PHX_HOST_NUMBER(h) = PHX_HOST_NUMBER(h) * 10 + (c - '0');
		return PHX_HOST_NUMBER(h) <= 65535 ? 0 : PHX_HEAD_ERROR_HOST;
	}
}

/* A field name is complete: what may its value mean? */
static inline int phx_head_named(struct phx_head *h)
{
	h->field = phx_head_field(h);
	h->aux = 0;
	if (h->field == PHX_FIELD_HOST) {
		if (h->flags & PHX_HEAD_HAS_HOST)
			return PHX_HEAD_ERROR_HOST_TWICE;
		h->flags |= PHX_HEAD_HAS_HOST;
	} else if (h->field == PHX_FIELD_CONTENT_LENGTH) {
		if (h->flags & PHX_HEAD_HAS_LENGTH)
			return PHX_HEAD_ERROR_LENGTH_TWICE;
		h->flags |= PHX_HEAD_HAS_LENGTH;
		h->content_length = 0;
	} else if (h->field == PHX_FIELD_TRANSFER_ENCODING) {
		if (h->flags & PHX_HEAD_CHUNKED)
			return PHX_HEAD_ERROR_CODING_TWICE;
	} else if (h->field == PHX_FIELD_UPGRADE) {
		h->flags |= PHX_HEAD_HAS_UPGRADE;
	} else if (h->field == PHX_FIELD_X_PHOENIX_SHADOW) {
		h->flags |= PHX_HEAD_SHADOW;
	} else if (h->field == PHX_FIELD_X_PHOENIX_SYNTHETIC) {
		h->flags |= PHX_HEAD_SYNTHETIC;
	}
	phx_gather_reset(h);
	return PHX_HEAD_ERROR_NONE;
}

/* Does the value of this field need each of its bytes looked at? If not, a caller may skip ahead. */
static inline int phx_field_is_read(__u8 field)
{
	return field == PHX_FIELD_HOST || field == PHX_FIELD_CONTENT_LENGTH ||
	       field == PHX_FIELD_TRANSFER_ENCODING || field == PHX_FIELD_CONNECTION ||
	       field == PHX_FIELD_EXPECT;
}

static inline int phx_value_byte(struct phx_head *h, __u8 c)
{
	switch (h->field) {
	case PHX_FIELD_HOST:
		return phx_host_byte(h, c);
	case PHX_FIELD_CONTENT_LENGTH:
		if (c == ' ' || c == '\t') {
			h->token_gap = 1;
			return 0;
		}
		if (c < '0' || c > '9' || h->token_gap || h->aux == 18)
			return PHX_HEAD_ERROR_LENGTH;
		h->aux++;
		h->content_length = h->content_length * 10 + (c - '0');
		return 0;
	case PHX_FIELD_TRANSFER_ENCODING:
	case PHX_FIELD_CONNECTION:
	case PHX_FIELD_EXPECT:
		if (c == ',')
			return phx_head_token(h);
		if (c == ' ' || c == '\t') {
			h->token_gap = h->token_len != 0;
			return 0;
		}
		if (h->token_gap || (h->field == PHX_FIELD_CONNECTION && !phx_byte_is(PHX_TCHAR, c)))
			return h->field == PHX_FIELD_CONNECTION ? PHX_HEAD_ERROR_CONNECTION
			       : h->field == PHX_FIELD_EXPECT	? PHX_HEAD_ERROR_EXPECT
								: PHX_HEAD_ERROR_CODING;
		phx_gather(h, phx_lower(c));
		return 0;
	default:
		return 0;
	}
}

/* A field value is complete (its CR was read). */
static inline int phx_head_valued(struct phx_head *h)
{
	switch (h->field) {
	case PHX_FIELD_HOST:
		return h->aux == PHX_HOST_NAME || h->aux == PHX_HOST_V6_END || h->aux == PHX_HOST_PORT
			       ? 0
			       : PHX_HEAD_ERROR_HOST;
	case PHX_FIELD_CONTENT_LENGTH:
		return h->aux == 0 ? PHX_HEAD_ERROR_LENGTH : 0;
	case PHX_FIELD_TRANSFER_ENCODING: {
		int error = phx_head_token(h);
		if (error)
			return error;
		return h->flags & PHX_HEAD_CHUNKED ? 0 : PHX_HEAD_ERROR_CODING;
	}
	case PHX_FIELD_CONNECTION:
	case PHX_FIELD_EXPECT:
		return phx_head_token(h);
	default:
		return 0;
	}
}

/* The empty line was read: does the whole make sense? */
static inline int phx_head_whole(const struct phx_head *h)
{
	if (h->flags & PHX_HEAD_TRAILER)
		return 0;
	if ((h->flags & PHX_HEAD_CHUNKED) && (h->flags & PHX_HEAD_HAS_LENGTH))
		return PHX_HEAD_ERROR_LENGTH_AND_CODING;
	if ((h->flags & PHX_HEAD_CHUNKED) && h->minor == 0)
		return PHX_HEAD_ERROR_CODING_IN_1_0;
	if (!(h->flags & (PHX_HEAD_RESPONSE | PHX_HEAD_HAS_HOST)) && h->minor == 1)
		return PHX_HEAD_ERROR_HOST_MISSING;
	return 0;
}

/* Sets a zeroed head up for a request (flags 0), a response (PHX_HEAD_RESPONSE) or a trailer section
 * (PHX_HEAD_TRAILER). */
static inline void phx_head_init(struct phx_head *h, __u32 flags)
{
	__builtin_memset(h, 0, sizeof(*h));
	h->flags = flags;
	if (flags & PHX_HEAD_RESPONSE)
		h->state = PHX_AT_VERSION;
	else if (flags & PHX_HEAD_TRAILER)
		h->state = PHX_AT_FIELD_START;
	h->minor = 1;
}

/* "HTTP/1.1" or "HTTP/1.0", byte number h->aux. Returns an error, or 0 with aux moved on. */
static inline int phx_version_byte(struct phx_head *h, __u8 c)
{
	__u8 at = h->aux++;
	if (at < 5)
		return c == (__u8)(0x2f50545448ULL >> (8 * at)) ? 0 : PHX_HEAD_ERROR_VERSION; /* "HTTP/" */
	if (at == 6)
		return c == '.' ? 0 : PHX_HEAD_ERROR_VERSION;
	if (c < '0' || c > '9')
		return PHX_HEAD_ERROR_VERSION;
	if (at == 5)
		return c == '1' ? 0 : PHX_HEAD_ERROR_VERSION_UNSUPPORTED;
	h->minor = c - '0';
	return h->minor <= 1 ? 0 : PHX_HEAD_ERROR_VERSION_UNSUPPORTED;
}

/* The first line of a request. */
static inline int phx_request_line_step(struct phx_head *h, __u8 c, __u32 at)
{
	int error;
	switch (h->state) {
	case PHX_AT_START:
		if (c == '\r' && at == 0) {
			h->flags |= PHX_HEAD_BLANK_FIRST;
			h->state = PHX_AT_BLANK_LF;
			return PHX_HEAD_MORE;
		}
		if (!phx_byte_is(PHX_TCHAR, c))
			return phx_refuse(h, PHX_HEAD_ERROR_METHOD);
		h->state = PHX_AT_METHOD;
		phx_gather(h, c);
		return PHX_HEAD_MORE;
	case PHX_AT_BLANK_LF:
		if (c != '\n')
			return phx_refuse(h, PHX_HEAD_ERROR_LINE_END);
		h->state = PHX_AT_START;
		return PHX_HEAD_MORE;
	case PHX_AT_METHOD:
		if (c == ' ') {
			h->method = phx_head_method(h);
			h->target_off = at + 1;
			h->state = PHX_AT_TARGET;
			h->aux = 0;
			return PHX_HEAD_MORE;
		}
		if (!phx_byte_is(PHX_TCHAR, c))
			return phx_refuse(h, PHX_HEAD_ERROR_METHOD);
		phx_gather(h, c);
		return PHX_HEAD_MORE;
	case PHX_AT_TARGET:
		if (c == ' ') {
			h->target_len = at - h->target_off;
			if (h->target_len == 0)
				return phx_refuse(h, PHX_HEAD_ERROR_TARGET);
			if (!h->aux)
				h->path_len = h->target_len;
			h->aux = 0;
			h->state = PHX_AT_VERSION;
			return PHX_HEAD_MORE;
		}
		if (!phx_byte_is(PHX_URI, c))
			return phx_refuse(h, c == '\r' || c == '\n' ? PHX_HEAD_ERROR_VERSION
								    : PHX_HEAD_ERROR_TARGET);
		if (c == '?' && !h->aux) {
			h->path_len = at - h->target_off;
			h->aux = 1;
		}
		return PHX_HEAD_MORE;
	default: /* PHX_AT_VERSION */
		if (h->aux == 8) {
			if (c != '\r')
				return phx_refuse(h, PHX_HEAD_ERROR_LINE_END);
			h->line_len = at;
			h->state = PHX_AT_LINE_LF;
			return PHX_HEAD_MORE;
		}
		error = phx_version_byte(h, c);
		return error ? phx_refuse(h, (enum phx_head_error)error) : PHX_HEAD_MORE;
	}
}

/* The first line of a response. A status without a space after it is taken: it has one meaning only. */
static inline int phx_status_line_step(struct phx_head *h, __u8 c, __u32 at)
{
	int error;
	switch (h->state) {
	case PHX_AT_VERSION:
		if (h->aux < 8) {
			error = phx_version_byte(h, c);
			return error ? phx_refuse(h, (enum phx_head_error)error) : PHX_HEAD_MORE;
		}
		if (c != ' ')
			return phx_refuse(h, PHX_HEAD_ERROR_VERSION);
		h->aux = 0;
		h->state = PHX_AT_STATUS;
		return PHX_HEAD_MORE;
	case PHX_AT_STATUS:
		if (h->aux == 3) {
			if (h->status < 100 || h->status > 599 || (c != ' ' && c != '\r'))
				return phx_refuse(h, PHX_HEAD_ERROR_STATUS);
			h->line_len = at;
			h->state = c == ' ' ? PHX_AT_REASON : PHX_AT_LINE_LF;
			return PHX_HEAD_MORE;
		}
		if (c < '0' || c > '9')
			return phx_refuse(h, PHX_HEAD_ERROR_STATUS);
		h->aux++;
		h->status = (__u16)(h->status * 10 + (c - '0'));
		return PHX_HEAD_MORE;
	default: /* PHX_AT_REASON */
		if (c == '\r') {
			h->line_len = at;
			h->state = PHX_AT_LINE_LF;
			return PHX_HEAD_MORE;
		}
		return phx_byte_is(PHX_TEXT, c) ? PHX_HEAD_MORE : phx_refuse(h, PHX_HEAD_ERROR_REASON);
	}
}

/* Takes the next byte. After DONE or REFUSED no more bytes may be given. */
static inline int phx_head_step(struct phx_head *h, __u8 c)
{
	__u32 at = h->pos++;
	int error;
	switch (h->state) {
	case PHX_AT_LINE_LF:
		if (c != '\n')
			return phx_refuse(h, PHX_HEAD_ERROR_LINE_END);
		h->state = PHX_AT_FIELD_START;
		return PHX_HEAD_MORE;
	case PHX_AT_FIELD_START:
		if (c == '\r') {
			h->state = PHX_AT_END_LF;
			return PHX_HEAD_MORE;
		}
		if (c == ' ' || c == '\t')
			return phx_refuse(h, PHX_HEAD_ERROR_FOLDED);
		if (!phx_byte_is(PHX_TCHAR, c))
			return phx_refuse(h, c == '\n' ? PHX_HEAD_ERROR_LINE_END : PHX_HEAD_ERROR_FIELD_NAME);
		phx_gather_reset(h);
		h->name_off = at;
		h->state = PHX_AT_NAME;
		phx_gather(h, phx_lower(c));
		return PHX_HEAD_MORE;
	case PHX_AT_NAME:
		if (c == ':') {
			h->name_len = at - h->name_off;
			error = phx_head_named(h);
			if (error)
				return phx_refuse(h, (enum phx_head_error)error);
			h->value_off = at + 1;
			h->value_len = 0;
			h->state = PHX_AT_OWS;
			return PHX_HEAD_MORE;
		}
		if (!phx_byte_is(PHX_TCHAR, c))
			return phx_refuse(h, PHX_HEAD_ERROR_FIELD_NAME);
		phx_gather(h, phx_lower(c));
		return PHX_HEAD_MORE;
	case PHX_AT_OWS:
		if (c == ' ' || c == '\t')
			return PHX_HEAD_MORE;
		h->value_off = at;
		h->state = PHX_AT_VALUE;
		/* fall through */
	case PHX_AT_VALUE:
		if (c == '\r') {
			error = phx_head_valued(h);
			if (error)
				return phx_refuse(h, (enum phx_head_error)error);
			h->state = PHX_AT_VALUE_LF;
			return PHX_HEAD_MORE;
		}
		if (!phx_byte_is(PHX_TEXT, c))
			return phx_refuse(h,
					  c == '\n' ? PHX_HEAD_ERROR_LINE_END : PHX_HEAD_ERROR_FIELD_VALUE);
		if (c != ' ' && c != '\t')
			h->value_len = at + 1 - h->value_off;
		error = phx_value_byte(h, c);
		return error ? phx_refuse(h, (enum phx_head_error)error) : PHX_HEAD_MORE;
	case PHX_AT_VALUE_LF:
		if (c != '\n')
			return phx_refuse(h, PHX_HEAD_ERROR_LINE_END);
		h->fields++;
		h->state = PHX_AT_FIELD_START;
		return PHX_HEAD_FIELD;
	case PHX_AT_END_LF:
		if (c != '\n')
			return phx_refuse(h, PHX_HEAD_ERROR_LINE_END);
		error = phx_head_whole(h);
		if (error)
			return phx_refuse(h, (enum phx_head_error)error);
		h->state = PHX_AT_DONE;
		return PHX_HEAD_DONE;
	default:
		return h->flags & PHX_HEAD_RESPONSE ? phx_status_line_step(h, c, at)
						    : phx_request_line_step(h, c, at);
	}
}

/* Does the connection stay open after this message, as far as its head says (RFC 9112 9.3)? */
static inline int phx_head_persists(const struct phx_head *h)
{
	if (h->flags & PHX_HEAD_CLOSE)
		return 0;
	return h->minor == 1 || (h->flags & PHX_HEAD_KEEP_ALIVE);
}

#endif

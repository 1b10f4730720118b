/* SPDX-License-Identifier: Apache-2.0 */
/* body: see body.h. The chunk scanner is a small machine over bytes; content is moved in bulk. */
#include "http/body.h"

#include "base/hex.h"

#include <stdlib.h>

enum chunk_state {
	CHUNK_SIZE,	 /* in the hexadecimal size */
	CHUNK_BWS,	 /* white space after it or after a value: only ";" may follow */
	CHUNK_EXT_START, /* after ";": a name must come */
	CHUNK_EXT_NAME,
	CHUNK_EXT_NAME_BWS, /* white space after it: "=" or ";" must follow */
	CHUNK_VALUE_START,  /* after "=": a token or a quoted string must come */
	CHUNK_VALUE,
	CHUNK_QUOTED, /* inside a quoted value */
	CHUNK_ESCAPED,
	CHUNK_EXT_END, /* after a quoted value */
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	CHUNK_TRAILER,
	CHUNK_END_LF, /* no trailer: the usual end */
	CHUNK_DONE,
};

void http_body_init(struct http_body *body, enum http_body_kind kind, uint64_t length)
{
	*body = (struct http_body){.kind = kind};
	if (kind == HTTP_BODY_LENGTH) {
		body->remaining = length;
		if (length == 0)
			body->kind = HTTP_BODY_NONE;
	}
}

void http_body_fini(struct http_body *body)
{
	free(body->trailer);
	body->trailer = NULL;
}

static enum http_body_result refuse(struct http_body *body, const char *why)
{
	body->why = why;
	return HTTP_BODY_REFUSED;
}

/* Fields that would change framing, routing, identity or the meaning of the content if a trailer could say
 * them after the fact (RFC 9110 6.5.1): all that Phoenix knows by number, and these. */
static bool trailer_forbidden(const struct http_field *field, const char *bytes)
{
	static const char *const names[] = {"authorization", "set-cookie",	 "forwarded",
					    "content-type",  "content-encoding", "content-range",
					    "cache-control"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_equal_nocase(http_field_name(field, bytes), slice_str(names[i])))
			return true;
	}
	return field->id != PHX_FIELD_OTHER;
}

/* One byte of the trailer section. */
static enum http_body_result trailer_byte(struct http_body *body, char c)
{
	if (!body->trailer) {
		body->trailer = malloc(sizeof(*body->trailer));
		if (!body->trailer) {
			body->no_memory = true;
			return refuse(body, "no memory for a trailer section");
		}
		body->trailer->len = 0;
		http_head_init(&body->trailer->head, PHX_HEAD_TRAILER, HTTP_TRAILER_FIELDS_MAX);
	}
	struct http_trailer *trailer = body->trailer;
	if (trailer->len == sizeof(trailer->bytes))
		return refuse(body, "the trailer section is longer than 4096 bytes");
	trailer->bytes[trailer->len++] = c;
	switch (http_head_parse(&trailer->head, trailer->bytes, trailer->len)) {
	case HTTP_PARSE_MORE:
		return HTTP_BODY_MORE;
	case HTTP_PARSE_DONE:
		break;
	default:
		return refuse(body, "the trailer section is not valid (RFC 9112 7.1.2)");
	}
	for (uint16_t i = 0; i < trailer->head.field_count; i++) {
		if (trailer_forbidden(&trailer->head.fields[i], trailer->bytes))
			return refuse(body,
				      "a trailer has a field that may only be in a head (RFC 9110 6.5.1)");
	}
	body->state = CHUNK_DONE;
	return HTTP_BODY_END;
}

/* The byte ends a name, a value or white space behind them: what comes next? */
static enum http_body_result extension_next(struct http_body *body, unsigned char c, const char *why)
{
	bool name = body->state == CHUNK_EXT_NAME || body->state == CHUNK_EXT_NAME_BWS;
	bool blank = body->state == CHUNK_BWS || body->state == CHUNK_EXT_NAME_BWS;
	if (c == ';')
		body->state = CHUNK_EXT_START;
	else if (c == '=' && name)
		body->state = CHUNK_VALUE_START;
	else if (c == ' ' || c == '\t')
		body->state = name ? CHUNK_EXT_NAME_BWS : CHUNK_BWS;
	else if (c == '\r' && !blank)
		body->state = CHUNK_SIZE_LF;
	else
		return refuse(body, why);
	return HTTP_BODY_MORE;
}

/* One byte of *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) (RFC 9112 7.1.1). */
static enum http_body_result extension_byte(struct http_body *body, unsigned char c)
{
	bool space = c == ' ' || c == '\t', token = phx_byte_is(PHX_TCHAR, c);
	switch (body->state) {
	case CHUNK_EXT_START:
		if (token)
			body->state = CHUNK_EXT_NAME;
		return token || space ? HTTP_BODY_MORE
				      : refuse(body, "a chunk extension has no name (RFC 9112 7.1.1)");
	case CHUNK_VALUE_START:
		if (c == '"' || token)
			body->state = c == '"' ? CHUNK_QUOTED : CHUNK_VALUE;
		return c == '"' || token || space
			       ? HTTP_BODY_MORE
			       : refuse(body, "a chunk extension has \"=\" and no value (RFC 9112 7.1.1)");
	case CHUNK_QUOTED:
		if (c == '"')
			body->state = CHUNK_EXT_END;
		else if (c == '\\')
			body->state = CHUNK_ESCAPED;
		else if (!phx_byte_is(PHX_TEXT, c))
			return refuse(body, "a chunk extension has a control byte (RFC 9112 7.1.1)");
		return HTTP_BODY_MORE;
	case CHUNK_ESCAPED:
		body->state = CHUNK_QUOTED;
		return phx_byte_is(PHX_TEXT, c)
			       ? HTTP_BODY_MORE
			       : refuse(body, "a chunk extension has a control byte (RFC 9112 7.1.1)");
	case CHUNK_EXT_NAME:
	case CHUNK_VALUE:
		if (token)
			return HTTP_BODY_MORE;
		return extension_next(body, c, "a chunk extension is not valid (RFC 9112 7.1.1)");
	case CHUNK_BWS:
		return extension_next(body, c, "white space after a chunk size (RFC 9112 7.1)");
	default: /* CHUNK_EXT_NAME_BWS, CHUNK_EXT_END */
		return extension_next(body, c, "a chunk extension is not valid (RFC 9112 7.1.1)");
	}
}

/* One byte of a chunk-size line, data end, or trailer. */
static enum http_body_result chunk_byte(struct http_body *body, unsigned char c)
{
	if (body->state < CHUNK_SIZE_LF && ++body->line_bytes > HTTP_CHUNK_LINE_MAX)
		return refuse(body, "a chunk-size line is longer than 1024 bytes");
	switch (body->state) {
	case CHUNK_SIZE: {
		int digit = hex_digit(c);
		if (digit >= 0) {
			if (body->digits++ == 15)
				return refuse(body, "a chunk size has more than 15 digits");
			body->remaining = body->remaining * 16 + (unsigned)digit;
			return HTTP_BODY_MORE;
		}
		if (body->digits == 0)
			return refuse(body, "a chunk size is not a hexadecimal number (RFC 9112 7.1)");
		if (c == '\r')
			body->state = CHUNK_SIZE_LF;
		else if (c == ';')
			body->state = CHUNK_EXT_START;
		else if (c == ' ' || c == '\t')
			body->state = CHUNK_BWS;
		else
			return refuse(body, "a chunk size is not a hexadecimal number (RFC 9112 7.1)");
		return HTTP_BODY_MORE;
	}
	case CHUNK_SIZE_LF:
		if (c != '\n')
			return refuse(body, "a chunk-size line does not end in CR LF (RFC 9112 7.1)");
		/* 20 bytes a line and as much again as its content are fair; the rest adds up. */
		body->excess_bytes += body->line_bytes;
		uint64_t fair_bytes = 20 + body->remaining;
		body->excess_bytes =
			body->excess_bytes > fair_bytes ? body->excess_bytes - (uint32_t)fair_bytes : 0;
		if (body->excess_bytes > HTTP_CHUNK_EXCESS_MAX)
			return refuse(body, "chunk extensions take more than 16384 bytes beyond the content");
		body->state = body->remaining ? CHUNK_DATA : CHUNK_TRAILER;
		return HTTP_BODY_MORE;
	case CHUNK_DATA_CR:
		body->state = CHUNK_DATA_LF;
		return c == '\r' ? HTTP_BODY_MORE
				 : refuse(body, "chunk data is longer than its size said (RFC 9112 7.1)");
	case CHUNK_DATA_LF:
		body->state = CHUNK_SIZE;
		body->digits = 0;
		body->line_bytes = 0;
		return c == '\n' ? HTTP_BODY_MORE
				 : refuse(body, "chunk data does not end in CR LF (RFC 9112 7.1)");
	case CHUNK_END_LF:
		if (c != '\n')
			return refuse(body, "the last chunk does not end in CR LF (RFC 9112 7.1)");
		body->state = CHUNK_DONE;
		return HTTP_BODY_END;
	case CHUNK_TRAILER:
		if (c == '\r' && !body->trailer) {
			body->state = CHUNK_END_LF;
			return HTTP_BODY_MORE;
		}
		return trailer_byte(body, (char)c);
	default:
		return extension_byte(body, c);
	}
}

static enum http_body_result chunked_read(struct http_body *body, char *data, size_t len, size_t *consumed,
					  size_t *produced)
{
	size_t in = 0, out = 0;
	enum http_body_result result = HTTP_BODY_MORE;
	while (in < len && result == HTTP_BODY_MORE) {
		if (body->state == CHUNK_DATA) {
			size_t n = len - in < body->remaining ? len - in : (size_t)body->remaining;
			if (out != in)
				memmove(data + out, data + in, n);
			in += n;
			out += n;
			body->remaining -= n;
			if (body->remaining == 0)
				body->state = CHUNK_DATA_CR;
		} else {
			result = chunk_byte(body, (unsigned char)data[in++]);
		}
	}
	body->total_bytes += out;
	*consumed = in;
	*produced = out;
	return result;
}

enum http_body_result http_body_read(struct http_body *body, char *data, size_t len, size_t *consumed,
				     size_t *produced)
{
	size_t n = len;
	switch (body->kind) {
	case HTTP_BODY_CHUNKED:
		if (body->state == CHUNK_DONE) {
			*consumed = *produced = 0;
			return HTTP_BODY_END;
		}
		return chunked_read(body, data, len, consumed, produced);
	case HTTP_BODY_LENGTH:
		if (n > body->remaining)
			n = (size_t)body->remaining;
		body->remaining -= n;
		break;
	case HTTP_BODY_NONE:
		n = 0;
		break;
	case HTTP_BODY_CLOSE:
		break;
	}
	body->total_bytes += n;
	*consumed = *produced = n;
	return http_body_complete(body) ? HTTP_BODY_END : HTTP_BODY_MORE;
}

bool http_body_complete(const struct http_body *body)
{
	switch (body->kind) {
	case HTTP_BODY_NONE:
		return true;
	case HTTP_BODY_LENGTH:
		return body->remaining == 0;
	case HTTP_BODY_CHUNKED:
		return body->state == CHUNK_DONE;
	default:
		return false;
	}
}

bool http_body_ends_at_eof(const struct http_body *body)
{
	return body->kind == HTTP_BODY_CLOSE || http_body_complete(body);
}

void http_body_of_request(struct http_body *body, const struct http_head *head)
{
	if (head->scan.flags & PHX_HEAD_CHUNKED)
		http_body_init(body, HTTP_BODY_CHUNKED, 0);
	else if (head->scan.flags & PHX_HEAD_HAS_LENGTH)
		http_body_init(body, HTTP_BODY_LENGTH, head->scan.content_length);
	else
		http_body_init(body, HTTP_BODY_NONE, 0);
}

void http_body_of_response(struct http_body *body, const struct http_head *head, bool head_request)
{
	unsigned status = head->scan.status;
	if (head_request || status < 200 || status == 204 || status == 304)
		http_body_init(body, HTTP_BODY_NONE, 0);
	else if (head->scan.flags & (PHX_HEAD_CHUNKED | PHX_HEAD_HAS_LENGTH))
		http_body_of_request(body, head);
	else
		http_body_init(body, HTTP_BODY_CLOSE, 0);
}

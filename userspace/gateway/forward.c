/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward: see forward.h. Field lines that already have the form "Name: value CR LF" lie behind one another
 * in the input, so a run of them is one memcpy.
 */
#include "gateway/forward.h"

#include <stdio.h>

struct writer {
	char *at;
	char *end; /* NULL after the first thing that did not fit */
};

static void put(struct writer *w, const char *data, size_t len)
{
	if (!w->end || (size_t)(w->end - w->at) < len) {
		w->end = NULL;
		return;
	}
	memcpy(w->at, data, len);
	w->at += len;
}

#define PUT_LITERAL(w, text) put(w, text, sizeof(text) - 1)

static void put_slice(struct writer *w, struct slice s)
{
	put(w, s.ptr, s.len);
}

static void put_number(struct writer *w, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	put(w, digits + at, sizeof(digits) - at);
}

static size_t finish(const struct writer *w, const char *out)
{
	return w->end ? (size_t)(w->at - out) : 0;
}

/* Fields that end at this hop, and those that Phoenix writes itself. */
static bool dropped_always(uint8_t id)
{
	switch (id) {
	case PHX_FIELD_CONTENT_LENGTH:
	case PHX_FIELD_TRANSFER_ENCODING:
	case PHX_FIELD_CONNECTION:
	case PHX_FIELD_CLOSE: /* reserved, because it would be what "Connection: close" names (RFC 9110 18.4)
			       */
	case PHX_FIELD_UPGRADE:
	case PHX_FIELD_TE:
	case PHX_FIELD_KEEP_ALIVE:
	case PHX_FIELD_PROXY_CONNECTION:
	case PHX_FIELD_PROXY_AUTHENTICATE:
	case PHX_FIELD_PROXY_AUTHORIZATION:
		return true;
	default:
		return false;
	}
}

static bool dropped_from_request(uint8_t id)
{
	return dropped_always(id) || id == PHX_FIELD_X_FORWARDED_FOR || id == PHX_FIELD_X_FORWARDED_PROTO ||
	       id == PHX_FIELD_X_FORWARDED_HOST || id == PHX_FIELD_X_REQUEST_ID ||
	       id == PHX_FIELD_X_PHOENIX_SHADOW;
}

/* Is the line in the input exactly "Name: value CR LF"? */
static bool is_canonical(const struct http_field *field, const char *bytes)
{
	uint32_t colon = field->name_off + field->name_len;
	return field->value_off == colon + 2 && bytes[colon + 1] == ' ' &&
	       bytes[field->value_off + field->value_len] == '\r';
}

static void put_field(struct writer *w, struct slice name, struct slice value)
{
	put_slice(w, name);
	PUT_LITERAL(w, ": ");
	put_slice(w, value);
	PUT_LITERAL(w, "\r\n");
}

static void put_fields(struct writer *w, const struct http_head *head, const char *bytes,
		       bool (*drop)(uint8_t id), bool drop_host)
{
	uint32_t run_start = 0, run_end = 0;
	for (uint16_t i = 0; i < head->field_count; i++) {
		const struct http_field *field = &head->fields[i];
		if (field->nominated || drop(field->id) || (drop_host && field->id == PHX_FIELD_HOST))
			continue;
		uint32_t end = field->value_off + field->value_len + 2;
		if (is_canonical(field, bytes)) {
			if (field->name_off != run_end) {
				put(w, bytes + run_start, run_end - run_start);
				run_start = field->name_off;
			}
			run_end = end;
			continue;
		}
		put(w, bytes + run_start, run_end - run_start);
		run_start = run_end = 0;
		put_field(w, http_field_name(field, bytes), http_field_value(field, bytes));
	}
	put(w, bytes + run_start, run_end - run_start);
}

/* A client's request id is kept when it is short and plain. */
static bool request_id_usable(struct slice id)
{
	if (id.len == 0 || id.len > 63)
		return false;
	for (size_t i = 0; i < id.len; i++) {
		if (!phx_byte_is(PHX_TCHAR, (uint8_t)id.ptr[i]) && !strchr(":/=@", id.ptr[i]))
			return false;
	}
	return true;
}

static bool is_http2(struct slice protocol)
{
	return protocol.len >= 2 && strncasecmp(protocol.ptr, "h2", 2) == 0;
}

bool forward_upgrades(const struct http_head *head, const char *bytes)
{
	const struct http_field *upgrade = http_head_find(head, PHX_FIELD_UPGRADE);
	struct slice rest = upgrade ? http_field_value(upgrade, bytes) : (struct slice){NULL, 0}, protocol;
	while (slice_split(&rest, ',', &protocol)) {
		if (protocol.len && !is_http2(protocol))
			return true;
	}
	return false;
}

/* "Connection: Upgrade" and the protocols but for HTTP/2. */
static void put_upgrade(struct writer *w, const struct http_head *head, const char *bytes, bool close)
{
	const struct http_field *upgrade = http_head_find(head, PHX_FIELD_UPGRADE);
	struct slice rest = upgrade ? http_field_value(upgrade, bytes) : (struct slice){NULL, 0}, protocol;
	const char *before = "Upgrade: ";
	if (close)
		PUT_LITERAL(w, "Connection: close, Upgrade\r\n");
	else
		PUT_LITERAL(w, "Connection: Upgrade\r\n");
	while (slice_split(&rest, ',', &protocol)) {
		if (!protocol.len || is_http2(protocol))
			continue;
		put(w, before, strlen(before));
		put_slice(w, protocol);
		before = ", ";
	}
	if (before[0] == ',')
		PUT_LITERAL(w, "\r\n");
}

static void put_forwarded(struct writer *w, const struct forward_request *request, struct slice host)
{
	const struct http_head *head = request->head;
	PUT_LITERAL(w, "X-Forwarded-For: ");
	for (uint16_t i = 0; i < head->field_count; i++) {
		const struct http_field *field = &head->fields[i];
		if (field->id == PHX_FIELD_X_FORWARDED_FOR && !field->nominated && field->value_len) {
			put_slice(w, http_field_value(field, request->bytes));
			PUT_LITERAL(w, ", ");
		}
	}
	put_slice(w, request->client_ip);
	PUT_LITERAL(w, "\r\nX-Forwarded-Proto: http\r\n");
	put_field(w, SLICE("X-Forwarded-Host"), host);
}

size_t forward_request_write(const struct forward_request *request, char *out, size_t cap,
			     struct slice *request_id)
{
	const struct http_head *head = request->head;
	const struct http_target *target = request->target;
	struct writer w = {out, out + cap};
	put_slice(&w, http_head_method(head, request->bytes));
	PUT_LITERAL(&w, " ");
	/* "OPTIONS *" asks about the server as a whole; with a base path it is about that path. */
	bool asterisk = target->path.len == 1 && target->path.ptr[0] == '*';
	put_slice(&w, request->base_path);
	if (target->path_query.ptr[0] == '?')
		PUT_LITERAL(&w, "/");
	if (!asterisk || !request->base_path.len)
		put_slice(&w, target->path_query);
	PUT_LITERAL(&w, " HTTP/1.1\r\n");

	const struct http_field *host_field = http_head_find(head, PHX_FIELD_HOST);
	struct slice host = target->authority.len ? target->authority
			    : host_field	  ? http_field_value(host_field, request->bytes)
						  : request->authority;
	/* An absolute-form target overrides Host (RFC 9112 3.2.2); an HTTP/1.0 client may have sent none. */
	bool write_host = target->authority.len || !host_field || host_field->nominated;
	if (write_host)
		put_field(&w, SLICE("Host"), host);
	put_fields(&w, head, request->bytes, dropped_from_request, write_host);
	put_forwarded(&w, request, host);

	const struct http_field *id_field = http_head_find(head, PHX_FIELD_X_REQUEST_ID);
	struct slice id = id_field ? http_field_value(id_field, request->bytes) : (struct slice){"", 0};
	if (!request_id_usable(id))
		id = slice_str(request->request_id);
	PUT_LITERAL(&w, "X-Request-Id: ");
	*request_id = slice_of(w.at, id.len);
	put_slice(&w, id);
	PUT_LITERAL(&w, "\r\n");

	if (head->scan.flags & PHX_HEAD_CHUNKED) {
		PUT_LITERAL(&w, "Transfer-Encoding: chunked\r\n");
	} else if (head->scan.flags & PHX_HEAD_HAS_LENGTH) {
		PUT_LITERAL(&w, "Content-Length: ");
		put_number(&w, head->scan.content_length);
		PUT_LITERAL(&w, "\r\n");
	}
	if (request->upgrade)
		put_upgrade(&w, head, request->bytes, false);
	PUT_LITERAL(&w, "\r\n");
	return finish(&w, out);
}

size_t forward_response_write(const struct forward_response *response, char *out, size_t cap)
{
	const struct http_head *head = response->head;
	struct writer w = {out, out + cap};
	PUT_LITERAL(&w, "HTTP/1.1 ");
	put(&w, response->bytes + 9, 3);
	PUT_LITERAL(&w, " ");
	if (head->scan.line_len > 13)
		put(&w, response->bytes + 13, head->scan.line_len - 13);
	PUT_LITERAL(&w, "\r\n");
	put_fields(&w, head, response->bytes, dropped_always, false);
	if (response->kind == HTTP_BODY_CHUNKED) {
		PUT_LITERAL(&w, "Transfer-Encoding: chunked\r\n");
	} else if (response->kind == HTTP_BODY_LENGTH || response->announce_length) {
		PUT_LITERAL(&w, "Content-Length: ");
		put_number(&w, response->length);
		PUT_LITERAL(&w, "\r\n");
	}
	if (response->upgrade && http_head_find(head, PHX_FIELD_UPGRADE)) {
		put_upgrade(&w, head, response->bytes, response->close && head->scan.status != 101);
	} else if (response->close) {
		PUT_LITERAL(&w, "Connection: close\r\n");
	} else if (response->keep_alive_1_0) {
		PUT_LITERAL(&w, "Connection: keep-alive\r\n");
	}
	PUT_LITERAL(&w, "\r\n");
	return finish(&w, out);
}

size_t forward_trailer_write(const struct http_trailer *trailer, char *out, size_t cap)
{
	struct writer w = {out, out + cap};
	put_fields(&w, &trailer->head, trailer->bytes, dropped_always, false);
	PUT_LITERAL(&w, "\r\n");
	return finish(&w, out);
}

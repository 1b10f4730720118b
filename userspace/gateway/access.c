/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access: see access.h.
 *
 * The line is written by hand into memory on the stack: this runs once a request on the worker's thread. The
 * order of the members is fixed: "target" stands before "path", for readers that take either for the URL.
 */
#include "gateway/access.h"

#include "base/clock.h"
#include "gateway/transaction.h"

#include <arpa/inet.h>
#include <stdlib.h>

struct text {
	char *at;
	const char *end;
};

static void put(struct text *t, const char *bytes, size_t len)
{
	if ((size_t)(t->end - t->at) < len)
		len = (size_t)(t->end - t->at);
	memcpy(t->at, bytes, len);
	t->at += len;
}

#define PUT(t, literal) put(t, literal, sizeof(literal) - 1)

static void put_str(struct text *t, const char *string)
{
	put(t, string, strlen(string));
}

static void put_number(struct text *t, uint64_t value)
{
	char digits[20];
	unsigned at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	put(t, digits + at, sizeof(digits) - at);
}

/* Nanoseconds as milliseconds with three decimals. */
static void put_ms(struct text *t, uint64_t ns)
{
	uint64_t us = ns / 1000;
	char rest[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10), (char)('0' + us % 10)};
	put_number(t, us / 1000);
	put(t, rest, sizeof(rest));
}

/* A JSON string. Bytes over 126 become \u00XX, their Latin-1 character: no byte of a client's breaks a line
 * or the encoding. */
static void put_string(struct text *t, struct slice s)
{
	static const char hex[] = "0123456789abcdef";
	PUT(t, "\"");
	size_t plain = 0;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c >= ' ' && c <= '~' && c != '"' && c != '\\')
			continue;
		char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
		put(t, s.ptr + plain, i - plain);
		put(t, escape, sizeof(escape));
		plain = i + 1;
	}
	if (plain < s.len)
		put(t, s.ptr + plain, s.len - plain);
	PUT(t, "\"");
}

/* RFC 3339 with milliseconds; the part down to the second is kept from the line before. */
static void put_time(struct text *t, uint64_t wall_ns)
{
	static _Thread_local uint64_t second;
	static _Thread_local char text[CLOCK_RFC3339_SIZE];
	if (wall_ns / NS_PER_SEC != second) {
		clock_rfc3339(wall_ns, text);
		second = wall_ns / NS_PER_SEC;
	}
	unsigned ms = (unsigned)(wall_ns / NS_PER_MS % 1000);
	char rest[5] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'};
	put(t, text, 19);
	put(t, rest, sizeof(rest));
}

/* As much of the address as the configuration allows: a network is 24 or 48 bits. */
static void put_client(struct text *t, enum access_client client, const uint8_t *address, unsigned len)
{
	uint8_t shown[16];
	char text[INET6_ADDRSTRLEN];
	if (client == ACCESS_CLIENT_NONE || !len) {
		PUT(t, "null");
		return;
	}
	memcpy(shown, address, len);
	if (client == ACCESS_CLIENT_NETWORK && len == 4)
		shown[3] = 0;
	else if (client == ACCESS_CLIENT_NETWORK)
		memset(shown + 6, 0, 10);
	inet_ntop(len == 4 ? AF_INET : AF_INET6, shown, text, sizeof(text));
	PUT(t, "\"");
	put_str(t, text);
	PUT(t, "\"");
}

static void put_target(struct text *t, const struct access_log_config *config, struct slice target)
{
	const char *mark = target.len && !config->query ? memchr(target.ptr, '?', target.len) : NULL;
	if (mark)
		target.len = (size_t)(mark - target.ptr);
	if (target.len > ACCESS_TARGET_MAX) {
		/* Not called "target": nobody shall take it for one that can be asked again. */
		PUT(t, ",\"target_cut\":");
		target.len = ACCESS_TARGET_MAX / 8;
	} else {
		PUT(t, ",\"target\":");
	}
	if (target.len)
		put_string(t, target);
	else
		PUT(t, "null");
}

size_t access_line(const struct access_log_config *config, const struct access_entry *e, char *out)
{
	struct text t = {out, out + ACCESS_LINE_MAX - 2};
	PUT(&t, "{\"at\":\"");
	put_time(&t, e->wall_ns);
	PUT(&t, "\",\"method\":");
	if (e->method.len)
		put_string(&t, e->method);
	else
		PUT(&t, "null");
	put_target(&t, config, e->target);
	PUT(&t, ",\"status\":");
	put_number(&t, e->status);
	if (e->route) {
		PUT(&t, ",\"route\":\"");
		put_str(&t, e->route);
		put_str(&t, e->side == PHX_MODERN ? "\",\"side\":\"modern\"" : "\",\"side\":\"legacy\"");
	} else {
		PUT(&t, ",\"route\":null,\"side\":null");
	}
	put_str(&t, e->path ? ",\"path\":\"xdp\"" : ",\"path\":\"daemon\"");
	PUT(&t, ",\"request_bytes\":");
	put_number(&t, e->request_bytes);
	PUT(&t, ",\"bytes\":");
	put_number(&t, e->response_bytes);
	PUT(&t, ",\"first_byte_ms\":");
	if (e->first_byte_ns)
		put_ms(&t, e->first_byte_ns);
	else
		PUT(&t, "null");
	PUT(&t, ",\"duration_ms\":");
	put_ms(&t, e->duration_ns);
	PUT(&t, ",\"client\":");
	put_client(&t, config->client, e->address, e->address_len);
	if (e->request_id && e->request_id[0]) {
		PUT(&t, ",\"request_id\":");
		put_string(&t, slice_str(e->request_id));
	}
	if (e->error) {
		PUT(&t, ",\"error\":\"");
		put_str(&t, e->error);
		PUT(&t, "\"");
	}
	put_str(&t, e->synthetic ? ",\"synthetic\":true" : ",\"synthetic\":false");
	put_str(&t, e->shadow ? ",\"shadow\":true" : ",\"shadow\":false");
	/* There is always room for the end. */
	t.end = out + ACCESS_LINE_MAX;
	PUT(&t, "}\n");
	return (size_t)(t.at - out);
}

/* --- from a request ------------------------------------------------------------------------------------- */

void access_note(struct transaction *t, struct slice target)
{
	if (!t->worker->access)
		return;
	/* One that will only be told in part need not be kept whole. */
	size_t len = target.len <= ACCESS_TARGET_MAX ? target.len : ACCESS_TARGET_MAX + 1;
	char *copy = len <= sizeof(t->target_short) ? t->target_short : (t->target_long = malloc(len));
	if (!copy)
		return;
	memcpy(copy, target.ptr, len);
	t->target_len = (uint16_t)len;
}

void access_transaction(struct transaction *t, unsigned status)
{
	struct access_ring *ring = t->worker->access;
	if (!ring)
		return;
	uint64_t now_ns = t->worker->ring.now_ns;
	uint64_t duration_ns = t->begun_ns ? now_ns - t->begun_ns : 0;
	bool took = t->stats != NULL; /* a side was asked */
	struct access_entry entry = {
		.wall_ns = clock_wall_ns() - duration_ns,
		.method = slice_str(t->method_text),
		.target = slice_of(t->target_long ? t->target_long : t->target_short, t->target_len),
		.status = status,
		.route = t->route ? t->route->config->id : NULL,
		.side = t->side,
		.request_bytes = took ? t->request_body.total_bytes : 0,
		.response_bytes = t->status ? t->response_body.total_bytes : 0,
		.first_byte_ns = t->first_byte_ns ? t->first_byte_ns - t->begun_ns : 0,
		.duration_ns = duration_ns,
		.address = t->down->address,
		.address_len = t->down->address_len,
		.request_id = t->request_id,
		.error = t->error ? gateway_error_word((enum gateway_error)t->error) : NULL,
		.synthetic = t->synthetic,
		.shadow = t->request.scan.flags & PHX_HEAD_SHADOW,
	};
	char line[ACCESS_LINE_MAX];
	size_t len = access_line(access_log_config(t->worker->gateway->access_log), &entry, line);
	access_ring_put(ring, line, len, entry.path);
}

void access_captured(struct worker *worker, const char *route, const struct exchange *exchange)
{
	if (!worker->access || !exchange->served.status)
		return;
	struct access_entry entry = {
		.wall_ns = exchange->wall_ns,
		.method = buf_slice(&exchange->method_name),
		.target = buf_slice(&exchange->target),
		.status = (unsigned)exchange->served.status,
		.route = route,
		.side = exchange->side,
		.path = 1,
		.request_bytes = exchange->request.body.len,
		.response_bytes = exchange->served.body.len,
		.duration_ns = exchange->served_ns,
		.request_id = exchange->request_id,
		.synthetic = exchange->synthetic,
	};
	char line[ACCESS_LINE_MAX];
	size_t len = access_line(access_log_config(worker->gateway->access_log), &entry, line);
	access_ring_put(worker->access, line, len, entry.path);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_address: URLs of upstreams and addresses to listen on. See config_value.h.
 *
 * What is accepted here is resolved, connected to and written into requests later, so the grammar is the
 * narrow one: no user information, no query, no second way to write the same thing.
 */
#include "config_value.h"

#include "config_report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#define HOST_BYTES_MAX 253 /* RFC 1035 2.3.4, as text */

static bool is_ipv4(const char *host)
{
	struct in_addr address;
	return inet_pton(AF_INET, host, &address) == 1;
}

static bool is_ipv6(const char *host)
{
	struct in6_addr address;
	return inet_pton(AF_INET6, host, &address) == 1;
}

/* A name of letters, digits, "-" and "_", or a dotted IPv4 address. NULL when fine, else the complaint. */
static const char *name_complaint(struct slice host)
{
	size_t label = 0;
	bool numeric = true;
	if (host.len == 0)
		return "has no host name";
	if (host.len > HOST_BYTES_MAX)
		return "has a host name of more than 253 characters";
	for (size_t i = 0; i <= host.len; i++) {
		char c = i < host.len ? host.ptr[i] : '.';
		if (c == '.') {
			if (label == 0 || label > 63 || host.ptr[i - 1] == '-' || host.ptr[i - label] == '-')
				return "has no valid host name";
			label = 0;
			continue;
		}
		bool letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
		if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return "has no valid host name";
		numeric = numeric && !letter && c != '-' && c != '_';
		label++;
	}
	char copy[HOST_BYTES_MAX + 1];
	memcpy(copy, host.ptr, host.len);
	copy[host.len] = 0;
	if (numeric && !is_ipv4(copy))
		return "has no valid IPv4 address";
	return NULL;
}

/* "host", "host:port", "[v6]" or "[v6]:port" in pieces; `port` is empty with has_port false. */
struct authority {
	struct slice host, port;
	bool has_port, bracketed;
};

/* NULL when fine, else the complaint. Says nothing about the port's text. */
static const char *authority_split(struct slice text, struct authority *out)
{
	struct authority a = {0};
	struct slice rest;
	if (text.len && text.ptr[0] == '[') {
		const char *end = memchr(text.ptr, ']', text.len);
		char copy[INET6_ADDRSTRLEN];
		if (!end)
			return "has a \"[\" without \"]\"";
		a.host = slice_of(text.ptr + 1, (size_t)(end - text.ptr) - 1);
		a.bracketed = true;
		if (a.host.len >= sizeof(copy))
			return "has no valid IPv6 address in the brackets";
		memcpy(copy, a.host.ptr, a.host.len);
		copy[a.host.len] = 0;
		if (!is_ipv6(copy))
			return "has no valid IPv6 address in the brackets";
		rest = slice_of(end + 1, text.len - a.host.len - 2);
		if (rest.len && rest.ptr[0] != ':')
			return "has something other than \":port\" after \"]\"";
	} else {
		const char *colon = text.len ? memchr(text.ptr, ':', text.len) : NULL;
		size_t host_len = colon ? (size_t)(colon - text.ptr) : text.len;
		a.host = slice_of(text.ptr, host_len);
		rest = slice_of(text.ptr + host_len, text.len - host_len);
		if (rest.len && memchr(rest.ptr + 1, ':', rest.len - 1))
			return "has an IPv6 address without brackets; write it as in \"[::1]:8080\"";
	}
	a.has_port = rest.len != 0;
	if (a.has_port)
		a.port = slice_of(rest.ptr + 1, rest.len - 1);
	*out = a;
	return NULL;
}

static bool port_parse(struct slice text, uint16_t *port)
{
	uint64_t value;
	if (whole_number_parse(text, 65535, &value) || value == 0)
		return false;
	*port = (uint16_t)value;
	return true;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* The base path is joined before every request's path, so it must be as clean as one. */
static const char *base_complaint(struct slice base)
{
	for (size_t i = 0; i < base.len; i++) {
		char c = base.ptr[i];
		bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
		if (c == '%' && (base.len - i < 3 || !is_hex(base.ptr[i + 1]) || !is_hex(base.ptr[i + 2])))
			return "has a \"%\" that is not followed by two hex digits";
		if (!alnum && !(c && strchr("-._~!$&'()*+,;=:@/%", c)))
			return "has a character in its path that must be percent-encoded";
	}
	for (const char *at = base.ptr, *end = base.ptr + base.len; at < end;) {
		const char *stop = memchr(at + 1, '/', (size_t)(end - at) - 1);
		size_t len = (size_t)((stop ? stop : end) - at) - 1;
		if (len == 0 && stop)
			return "has an empty segment (\"//\") in its path";
		if ((len == 1 && at[1] == '.') || (len == 2 && at[1] == '.' && at[2] == '.'))
			return "has the segment \".\" or \"..\" in its path";
		at = stop ? stop : end;
	}
	return NULL;
}

static const char *scheme_complaint(struct slice text)
{
	if (text.len >= 8 && slice_equal_nocase(slice_of(text.ptr, 8), SLICE("https://")))
		return "asks for https, but TLS to upstreams is not supported; use http:// (for a TLS-only "
		       "service put a TLS proxy beside it)";
	return "must start with \"http://\"";
}

static const char *url_split(struct slice text, struct authority *authority, uint16_t *port,
			     struct slice *base)
{
	if (text.len < 7 || !slice_equal_nocase(slice_of(text.ptr, 7), SLICE("http://")))
		return scheme_complaint(text);
	if (text.len > URL_BYTES_MAX)
		return "is longer than 2048 bytes";
	if (memchr(text.ptr, '?', text.len))
		return "has a query; only http://host[:port][/base] is possible";
	if (memchr(text.ptr, '#', text.len))
		return "has a fragment; only http://host[:port][/base] is possible";
	struct slice rest = slice_of(text.ptr + 7, text.len - 7);
	const char *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
	size_t authority_len = slash ? (size_t)(slash - rest.ptr) : rest.len;
	if (authority_len && memchr(rest.ptr, '@', authority_len))
		return "has user information before \"@\"; only http://host[:port][/base] is possible";
	const char *complaint = authority_split(slice_of(rest.ptr, authority_len), authority);
	if (!complaint && !authority->bracketed)
		complaint = name_complaint(authority->host);
	if (complaint)
		return complaint;
	*port = 80;
	if (authority->has_port && !port_parse(authority->port, port))
		return "has a port that is no number from 1 to 65535";
	*base = slice_of(rest.ptr + authority_len, rest.len - authority_len);
	while (base->len && base->ptr[base->len - 1] == '/' &&
	       (base->len < 2 || base->ptr[base->len - 2] != '/'))
		base->len--;
	return base_complaint(*base);
}

static char *lower_copy(struct slice text)
{
	char *copy = strndup(text.len ? text.ptr : "", text.len);
	for (char *c = copy; c && *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c;
	return copy;
}

int config_url_parse(struct slice text, struct config_url *url, struct buf *why)
{
	struct authority authority;
	struct slice base;
	uint16_t port;
	const char *complaint = url_split(text, &authority, &port, &base);
	if (complaint) {
		buf_append_str(why, complaint);
		return -EINVAL;
	}
	struct config_url made = {
		.text = strndup(text.ptr, text.len),
		.host = lower_copy(authority.host),
		.port = port,
		.base_path = strndup(base.len ? base.ptr : "", base.len),
	};
	if (!made.text || !made.host || !made.base_path) {
		config_url_fini(&made);
		return -ENOMEM;
	}
	*url = made;
	return 0;
}

void config_url_fini(struct config_url *url)
{
	free(url->text);
	free(url->host);
	free(url->base_path);
	*url = (struct config_url){0};
}

static const char *listen_split(struct slice text, struct authority *authority, uint16_t *port)
{
	if (text.len && memchr(text.ptr, '/', text.len))
		return "must be \"address:port\", \"[v6]:port\" or \"unix:/path\"";
	const char *complaint = authority_split(text, authority);
	if (complaint)
		return complaint;
	char copy[HOST_BYTES_MAX + 1];
	if (authority->host.len >= sizeof(copy))
		return "must be \"address:port\", \"[v6]:port\" or \"unix:/path\"";
	memcpy(copy, authority->host.ptr, authority->host.len);
	copy[authority->host.len] = 0;
	if (authority->host.len == 0 || strcmp(copy, "*") == 0)
		return "needs an address before the port; write \"0.0.0.0:PORT\" or \"[::]:PORT\" for all of "
		       "this "
		       "machine's addresses";
	if (!authority->bracketed && !is_ipv4(copy))
		return "must be an IP address and a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\", or "
		       "\"unix:/path\"";
	if (!authority->has_port)
		return "has no port; write it as in \"127.0.0.1:8080\"";
	if (!port_parse(authority->port, port))
		return "has a port that is no number from 1 to 65535";
	return NULL;
}

int config_listen_parse(struct slice text, struct config_listen *listen, struct buf *why)
{
	struct config_listen made = {0};
	bool local = slice_starts(text, SLICE("unix:"));
	if (local) {
		struct slice path = slice_of(text.ptr + 5, text.len - 5);
		if (!socket_path_check(path, why))
			return -EINVAL;
		made.unix_path = strndup(path.ptr, path.len);
	} else {
		struct authority authority;
		const char *complaint = listen_split(text, &authority, &made.port);
		if (complaint) {
			buf_append_str(why, complaint);
			return -EINVAL;
		}
		made.host = lower_copy(authority.host);
	}
	made.text = strndup(text.ptr, text.len);
	if (!made.text || (local ? !made.unix_path : !made.host)) {
		config_listen_fini(&made);
		return -ENOMEM;
	}
	*listen = made;
	return 0;
}

void config_listen_fini(struct config_listen *listen)
{
	free(listen->text);
	free(listen->host);
	free(listen->unix_path);
	*listen = (struct config_listen){0};
}

/* An address as 16 bytes, IPv4 as its mapped form (RFC 4291 2.5.5.2), so that the two compare. */
static bool address_of(const char *host, struct in6_addr *out)
{
	struct in_addr v4;
	if (inet_pton(AF_INET6, host, out) == 1)
		return true;
	if (inet_pton(AF_INET, host, &v4) != 1)
		return false;
	*out = (struct in6_addr){0};
	out->s6_addr[10] = out->s6_addr[11] = 0xff;
	memcpy(out->s6_addr + 12, &v4, 4);
	return true;
}

static bool is_loopback(const struct in6_addr *address)
{
	return IN6_IS_ADDR_LOOPBACK(address) ||
	       (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127);
}

/* 0.0.0.0, ::ffff:0.0.0.0 and ::: connecting there arrives at this machine. */
static bool is_any(const struct in6_addr *address)
{
	static const uint8_t zero[4];
	return IN6_IS_ADDR_UNSPECIFIED(address) ||
	       (IN6_IS_ADDR_V4MAPPED(address) && memcmp(address->s6_addr + 12, zero, 4) == 0);
}

bool config_listen_is_local(const struct config_listen *listen)
{
	struct in6_addr address;
	return listen->unix_path ||
	       (listen->host && address_of(listen->host, &address) && is_loopback(&address));
}

bool config_url_is_listen(const struct config_url *url, const struct config_listen *listen)
{
	struct in6_addr own, there;
	if (!url->host || !listen->host || url->port != listen->port || !address_of(listen->host, &own))
		return false;
	bool named = strcmp(url->host, "localhost") == 0;
	if (!named && !address_of(url->host, &there))
		return false;
	bool here = named || is_loopback(&there) || is_any(&there);
	if (is_any(&own))
		return here || IN6_ARE_ADDR_EQUAL(&own, &there);
	if (named || is_any(&there))
		return is_loopback(&own);
	return IN6_ARE_ADDR_EQUAL(&own, &there);
}

bool config_url_equal(const struct config_url *a, const struct config_url *b)
{
	return a->host && b->host && a->port == b->port && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->base_path, b->base_path) == 0;
}

bool host_check(struct slice text, struct buf *why)
{
	struct authority authority;
	const char *complaint = authority_split(text, &authority);
	if (!complaint && authority.has_port)
		complaint = "must be given without a port";
	if (!complaint && !authority.bracketed && text.len && memchr(text.ptr, '*', text.len))
		complaint = "has a wildcard; hosts are matched whole, leave \"host\" out for any host";
	if (!complaint && !authority.bracketed)
		complaint = name_complaint(authority.host);
	if (complaint)
		buf_append_str(why, complaint);
	return !complaint;
}

/* One entry of admin.allowed_hosts: a Host field's value, so a port may follow. */
bool host_port_check(struct slice text, struct buf *why)
{
	struct authority authority;
	uint16_t port;
	const char *complaint = authority_split(text, &authority);
	if (!complaint && authority.has_port && !port_parse(authority.port, &port))
		complaint = "has a port that is no number from 1 to 65535";
	if (!complaint && !authority.bracketed)
		complaint = name_complaint(authority.host);
	if (complaint)
		buf_append_str(why, complaint);
	return !complaint;
}

bool webhook_check(struct slice text, struct buf *why)
{
	size_t scheme = slice_starts(text, SLICE("http://"))	? 7
			: slice_starts(text, SLICE("https://")) ? 8
								: 0;
	bool fine = scheme && text.len > scheme && text.ptr[scheme] != '/' && text.len <= URL_BYTES_MAX;
	for (size_t i = 0; fine && i < text.len; i++)
		fine = text.ptr[i] > ' ' && text.ptr[i] < 0x7f;
	if (!fine)
		buf_append_str(why, "is no URL that starts with \"http://\" or \"https://\"");
	return fine;
}

bool redis_url_check(struct slice text, struct buf *why)
{
	const char *complaint = redis_url_parse(text, NULL);
	if (complaint)
		buf_append_str(why, complaint);
	return !complaint;
}

bool redis_host_check(struct slice text, const char **complaint, struct slice *host, uint16_t *port)
{
	struct authority authority;
	*complaint = authority_split(text, &authority);
	if (!*complaint && !authority.bracketed)
		*complaint = name_complaint(authority.host);
	if (!*complaint && authority.has_port && !port_parse(authority.port, port))
		*complaint = "has a port that is no number from 1 to 65535";
	*host = authority.host;
	return !*complaint;
}

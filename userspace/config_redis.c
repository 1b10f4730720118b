/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_redis: the URL of a Redis (config.h: redis_url_parse), and the texts of the store's keys.
 *
 * Nothing here quotes the URL: it may hold a password.
 */
#include "config_value.h"

#include "base/hex.h"

#include <stdlib.h>

#define URL_BYTES_MAX	 2048
#define PREFIX_BYTES_MAX 64
#define DATABASE_MAX	 65535
#define LIKE		 "\"redis://127.0.0.1:6379/0\" or \"unix:///run/redis/redis.sock?db=0\""

static const char no_memory[] = "could not be taken: out of memory";

void redis_url_fini(struct redis_url *url)
{
	free(url->host);
	free(url->path);
	free(url->user);
	free(url->password);
	*url = (struct redis_url){0};
}

/* The byte at *i, which goes on behind it, with %XX decoded; -1 for one that is not possible, NUL included.
 */
static int next_byte(struct slice text, size_t *i)
{
	int c = (unsigned char)text.ptr[(*i)++];
	if (c == '%') {
		int high = *i + 1 < text.len ? hex_digit(text.ptr[*i]) : -1;
		int low = *i + 1 < text.len ? hex_digit(text.ptr[*i + 1]) : -1;
		if (high < 0 || low < 0)
			return -1;
		c = high << 4 | low;
		*i += 2;
	}
	return c ? c : -1;
}

/* A copy with %XX decoded into *out; without `out` it is only looked at. NULL, the complaint when it is not
 * possible, or no_memory. */
static const char *decode(struct slice text, const char *complaint, char **out)
{
	for (size_t i = 0; i < text.len;) {
		if (next_byte(text, &i) < 0)
			return complaint;
	}
	if (!out)
		return NULL;
	char *to = *out = malloc(text.len + 1);
	if (!to)
		return no_memory;
	for (size_t i = 0; i < text.len;)
		*to++ = (char)next_byte(text, &i);
	*to = '\0';
	return NULL;
}

/* "user:password", "user" or ":password". */
static const char *read_user(struct slice text, struct redis_url *url)
{
	const char *colon = text.len ? memchr(text.ptr, ':', text.len) : NULL, *complaint = NULL;
	size_t user_len = colon ? (size_t)(colon - text.ptr) : text.len;
	if (user_len)
		complaint = decode(slice_of(text.ptr, user_len),
				   "has a \"%\" without two hexadecimal digits in its user",
				   url ? &url->user : NULL);
	if (!complaint && colon)
		complaint = decode(slice_of(colon + 1, text.len - user_len - 1),
				   "has a \"%\" without two hexadecimal digits in its password",
				   url ? &url->password : NULL);
	if (!complaint && user_len && !colon)
		return "has a user without a password; write user:password@, or :password@ for the default "
		       "user";
	return complaint;
}

static const char *read_database(struct slice text, struct redis_url *url)
{
	uint64_t number = 0;
	if (text.len && whole_number_parse(text, DATABASE_MAX, &number))
		return "has a database that is no number, as in " LIKE;
	if (url)
		url->database = (uint16_t)number;
	return NULL;
}

static const char *read_socket(struct slice rest, struct redis_url *url)
{
	const char *query = rest.len ? memchr(rest.ptr, '?', rest.len) : NULL;
	struct slice path = slice_of(rest.ptr, query ? (size_t)(query - rest.ptr) : rest.len);
	if (path.len < 2 || path.ptr[0] != '/')
		return "has no path of a socket, as in \"unix:///run/redis/redis.sock?db=0\"";
	if (path.len > 107) /* sockaddr_un, with its NUL */
		return "has a socket's path of more than 107 bytes";
	const char *complaint = decode(path, "has a \"%\" without two hexadecimal digits in its path",
				       url ? &url->path : NULL);
	if (complaint || !query)
		return complaint;
	struct slice text = slice_of(query + 1, rest.len - path.len - 1);
	if (!slice_starts(text, SLICE("db=")))
		return "has something other than \"?db=number\" after the socket's path";
	return read_database(slice_of(text.ptr + 3, text.len - 3), url);
}

static const char *read_server(struct slice rest, struct redis_url *url)
{
	const char *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL, *complaint;
	size_t len = slash ? (size_t)(slash - rest.ptr) : rest.len;
	struct slice host;
	uint16_t port = 6379;
	if (!redis_host_check(slice_of(rest.ptr, len), &complaint, &host, &port))
		return complaint;
	if (url)
		url->port = port;
	complaint = decode(host, "has no valid host name", url ? &url->host : NULL);
	return complaint ? complaint
	       : !slash	 ? NULL
			 : read_database(slice_of(slash + 1, rest.len - len - 1), url);
}

const char *redis_url_parse(struct slice text, struct redis_url *out)
{
	static const struct {
		const char *scheme;
		bool socket;
	} schemes[] = {{"redis://", false}, {"unix://", true}, {"redis+unix://", true}};
	struct redis_url made = {0}, *url = out ? &made : NULL;
	if (slice_starts(text, SLICE("rediss://")))
		return "asks for TLS, which is not supported; use redis://";
	for (unsigned i = 0; i < 3; i++) {
		struct slice scheme = slice_str(schemes[i].scheme);
		if (!slice_starts(text, scheme) || text.len > URL_BYTES_MAX)
			continue;
		struct slice rest = slice_of(text.ptr + scheme.len, text.len - scheme.len);
		const char *at = rest.len ? memrchr(rest.ptr, '@', rest.len) : NULL, *complaint = NULL;
		if (at) {
			complaint = read_user(slice_of(rest.ptr, (size_t)(at - rest.ptr)), url);
			rest = slice_of(at + 1, rest.len - (size_t)(at + 1 - rest.ptr));
		}
		if (!complaint)
			complaint = schemes[i].socket ? read_socket(rest, url) : read_server(rest, url);
		if (complaint)
			redis_url_fini(&made);
		else if (out)
			*out = made;
		return complaint;
	}
	return "must be as in " LIKE;
}

bool redis_prefix_check(struct slice text, struct buf *why)
{
	bool fine = text.len >= 1 && text.len <= PREFIX_BYTES_MAX;
	for (size_t i = 0; fine && i < text.len; i++) {
		char c = text.ptr[i];
		fine = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == ':' ||
		       c == '.' || c == '_' || c == '-';
	}
	if (!fine)
		buf_printf(
			why,
			"must be 1 to %d letters, digits, \":\", \".\", \"_\" or \"-\", as in \"phoenix:\"",
			PREFIX_BYTES_MAX);
	return fine;
}

bool redis_master_check(struct slice text, struct buf *why)
{
	bool fine = text.len >= 1 && text.len <= 64;
	for (size_t i = 0; fine && i < text.len; i++)
		fine = text.ptr[i] > ' ' && text.ptr[i] < 0x7f;
	if (!fine)
		buf_append_str(why, "is no name of a master, as in \"mymaster\"");
	return fine;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* config_value: see config_value.h. Here: numbers, words, path patterns; addresses are in config_address.c.
 */
#include "config_value.h"

#include "config_report.h"
#include "judge/pointer.h"

#include <phoenix/abi.h>
#include <phoenix/head.h>

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* Longer than any text of digits in a file, so that a clamped exponent never meets them half-way. */
#define EXPONENT_MAX 1000000000L

/* --- numbers --- */

/* A decimal number as its significant digits (no zero at either end) times 10^-scale. */
struct decimal {
	const char *first, *last; /* of the significant digits; the point may lie between them */
	long count;
	long scale;
	bool negative, zero;
};

static struct decimal decimal_of(struct slice text)
{
	struct decimal d = {.zero = true};
	long digits = 0, before_point = -1, first_digit = 0, last_digit = 0;
	size_t i = text.len && text.ptr[0] == '-';
	d.negative = i == 1;
	for (; i < text.len && (text.ptr[i] | 0x20) != 'e'; i++) {
		char c = text.ptr[i];
		if (c == '.') {
			before_point = digits;
			continue;
		}
		digits++;
		if (c == '0')
			continue;
		if (d.zero) {
			d.first = text.ptr + i;
			first_digit = digits;
		}
		d.last = text.ptr + i;
		last_digit = digits;
		d.zero = false;
	}
	d.count = last_digit - first_digit + 1;
	d.scale = last_digit - (before_point < 0 ? digits : before_point);
	if (i < text.len) {
		bool minus = text.ptr[i + 1] == '-';
		long exponent = 0;
		for (i += minus || text.ptr[i + 1] == '+' ? 2 : 1; i < text.len; i++) {
			if (exponent < EXPONENT_MAX)
				exponent = exponent * 10 + (text.ptr[i] - '0');
		}
		d.scale += minus ? exponent : -exponent;
	}
	return d;
}

/* Is it the double nearest to a whole number of basis points, written with more digits than needed? */
static bool is_printed_double(const char *text, uint32_t *bp)
{
	double value = strtod(text, NULL);
	uint32_t nearest = (uint32_t)(value * CONFIG_WEIGHT_ONE + 0.5);
	if (nearest > CONFIG_WEIGHT_ONE || (double)nearest / CONFIG_WEIGHT_ONE != value)
		return false;
	*bp = nearest;
	return true;
}

enum fraction_error fraction_parse(struct slice text, uint32_t *bp)
{
	struct decimal d = decimal_of(text);
	if (d.zero && !d.negative) {
		*bp = 0;
		return FRACTION_OK;
	}
	/* d.count - d.scale is the number of digits before the point. */
	if (d.negative || d.count - d.scale > 1)
		return FRACTION_RANGE;
	if (d.scale > 4) {
		if (d.count - d.scale == 1)
			return FRACTION_RANGE;
		char copy[64];
		if (text.len >= sizeof(copy))
			return FRACTION_DECIMALS;
		memcpy(copy, text.ptr, text.len);
		copy[text.len] = 0;
		return d.count >= 15 && is_printed_double(copy, bp) ? FRACTION_OK : FRACTION_DECIMALS;
	}
	uint32_t value = 0;
	for (const char *c = d.first; c <= d.last; c++) {
		if (*c != '.')
			value = value * 10 + (uint32_t)(*c - '0');
	}
	for (long scale = d.scale; scale < 4; scale++)
		value *= 10;
	if (value > CONFIG_WEIGHT_ONE)
		return FRACTION_RANGE;
	*bp = value;
	return FRACTION_OK;
}

int whole_number_parse(struct slice text, uint64_t max, uint64_t *value)
{
	uint64_t n = 0;
	size_t i = text.len && text.ptr[0] == '-';
	bool over = i == 1;
	if (i == text.len)
		return -EINVAL;
	for (; i < text.len; i++) {
		char c = text.ptr[i];
		if (c < '0' || c > '9')
			return -EINVAL;
		unsigned digit = (unsigned)(c - '0');
		over = over || n > (UINT64_MAX - digit) / 10;
		n = over ? 0 : n * 10 + digit;
	}
	if (over || n > max)
		return -ERANGE;
	*value = n;
	return 0;
}

/* --- words --- */

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_token(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (!is_alnum(c) && !(c && strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return text.len != 0;
}

static const struct {
	const char *word;
	uint32_t bit;
} methods[] = {
#define X(name) {#name, PHX_METHOD_BIT(PHX_METHOD_##name)},
	PHX_METHODS(X)
#undef X
};

/* CONNECT is left out by its own position in the list: X-macro lists cannot skip, a table can. */
const char *const config_method_words[] = {
	"GET",	 "HEAD", "POST", "PUT",	 "DELETE", "PATCH",  "OPTIONS", "TRACE", "PROPFIND", "PROPPATCH",
	"MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH",	"PURGE", "QUERY",    NULL,
};
_Static_assert(sizeof(config_method_words) / sizeof(char *) == PHX_METHOD_OTHER,
	       "every method but CONNECT, and the NULL");

int method_parse(struct slice text, uint32_t *bit)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (slice_equal(text, slice_str(methods[i].word))) {
			*bit = methods[i].bit;
			return 0;
		}
	}
	return -ENOENT;
}

int split_by_parse(struct slice text, enum split_by *by, char **name, struct buf *why)
{
	static const char *const words[] = {"request", "client_ip", "header:", "cookie:", NULL};
	if (slice_equal(text, SLICE("request")) || slice_equal(text, SLICE("client_ip"))) {
		*by = text.ptr[0] == 'r' ? SPLIT_BY_REQUEST : SPLIT_BY_CLIENT_IP;
		*name = NULL;
		return 0;
	}
	bool header = slice_starts(text, SLICE("header:"));
	if (!header && !slice_starts(text, SLICE("cookie:"))) {
		const char *near = report_suggest(text, words);
		buf_append_str(why, "must be \"request\", \"client_ip\", \"header:NAME\" or \"cookie:NAME\"");
		if (near)
			buf_printf(why, "; did you mean \"%s%s\"?", near,
				   near[strlen(near) - 1] == ':' ? "NAME" : "");
		return -EINVAL;
	}
	struct slice rest = slice_of(text.ptr + 7, text.len - 7);
	if (!is_token(rest)) {
		buf_printf(why,
			   "must name a %s after the colon, made of letters, digits and !#$%%&'*+-.^_`|~",
			   header ? "header" : "cookie");
		return -EINVAL;
	}
	char *copy = strndup(rest.ptr, rest.len);
	if (!copy)
		return -ENOMEM;
	*by = header ? SPLIT_BY_HEADER : SPLIT_BY_COOKIE;
	*name = copy;
	return 0;
}

bool route_id_check(struct slice text, struct buf *why)
{
	bool fine = text.len >= 1 && text.len <= 64;
	for (size_t i = 0; fine && i < text.len; i++)
		fine = is_alnum(text.ptr[i]) || strchr("._-", text.ptr[i]);
	/* An id is a segment of the admin API's paths, where these two would vanish. */
	fine = fine && !slice_equal(text, SLICE(".")) && !slice_equal(text, SLICE(".."));
	if (!fine)
		buf_append_str(why, "must be 1 to 64 letters, digits, \".\", \"_\" or \"-\"");
	return fine;
}

bool field_name_check(struct slice text, struct buf *why)
{
	if (is_token(text) && text.len <= 256)
		return true;
	buf_append_str(why, "is no header name; use letters, digits and !#$%&'*+-.^_`|~");
	return false;
}

bool interface_check(struct slice text, struct buf *why)
{
	bool fine = text.len >= 1 && text.len <= 15 && !slice_equal(text, SLICE(".")) &&
		    !slice_equal(text, SLICE(".."));
	for (size_t i = 0; fine && i < text.len; i++)
		fine = text.ptr[i] > ' ' && text.ptr[i] < 0x7f && text.ptr[i] != '/' && text.ptr[i] != ':';
	if (!fine)
		buf_append_str(why, "is no network interface name (1 to 15 characters, as in \"ip link\")");
	return fine;
}

int port_range_parse(struct slice text, uint16_t *first, uint16_t *last)
{
	struct slice rest = text, from, to;
	uint64_t low, high;
	if (!slice_split(&rest, '-', &from) || !slice_split(&rest, '-', &to) || rest.ptr)
		return -EINVAL;
	if (!from.len || !to.len || whole_number_parse(from, UINT16_MAX, &low) ||
	    whole_number_parse(to, UINT16_MAX, &high) || low == 0 || high < low + PORT_RANGE_MIN - 1)
		return -EINVAL;
	*first = (uint16_t)low;
	*last = (uint16_t)high;
	return 0;
}

bool port_range_check(struct slice text, struct buf *why)
{
	uint16_t first, last;
	if (port_range_parse(text, &first, &last) == 0)
		return true;
	buf_printf(why, "must be FIRST-LAST, two ports from 1 to 65535 with at least %d between them",
		   PORT_RANGE_MIN);
	return false;
}

/* The bpf file system keeps names with a dot to itself. */
bool pin_dir_check(struct slice text, struct buf *why)
{
	if (text.len && (text.ptr[0] != '/' || memchr(text.ptr, '.', text.len)))
		buf_append_str(why, "must be an absolute path without dots, such as \"/sys/fs/bpf/phoenix\"");
	else if (text.len > 200)
		buf_printf(why, "is %zu bytes long, at most 200 are possible", text.len);
	else
		return file_path_check(text, why);
	return false;
}

bool file_path_check(struct slice text, struct buf *why)
{
	if (text.len == 0)
		buf_append_str(why, "is empty");
	else if (text.len > 4000)
		buf_printf(why, "is %zu bytes long, at most 4000 are possible", text.len);
	else if (text.ptr[text.len - 1] == '/')
		buf_append_str(why, "names a directory, a file is needed");
	else
		return true;
	return false;
}

bool socket_path_check(struct slice text, struct buf *why)
{
	/* sun_path of unix(7) with its NUL. */
	if (text.len == 0 || text.ptr[0] != '/')
		buf_append_str(why, "must be an absolute path, as in \"/run/phoenix/admin.sock\"");
	else if (text.len > 107)
		buf_printf(why, "is %zu bytes long, a Unix socket's path has at most 107", text.len);
	else
		return file_path_check(text, why);
	return false;
}

/* --- path patterns --- */

/* RFC 3986 3.3: what a path segment holds, "%" apart. */
static bool is_path_char(char c)
{
	return is_alnum(c) || (c && strchr("-._~!$&'()*+,;=:@", c));
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* "." and "..", also when percent-encoded: servers resolve them, so a pattern with them never matches. */
static bool is_dot_segment(struct slice segment)
{
	size_t dots = 0;
	for (size_t i = 0; i < segment.len; dots++) {
		if (segment.ptr[i] == '.')
			i++;
		else if (segment.len - i >= 3 && segment.ptr[i] == '%' && segment.ptr[i + 1] == '2' &&
			 (segment.ptr[i + 2] | 0x20) == 'e')
			i += 3;
		else
			return false;
	}
	return dots == 1 || dots == 2;
}

static bool segment_text_check(struct slice segment, struct buf *why)
{
	for (size_t i = 0; i < segment.len; i++) {
		char c = segment.ptr[i];
		if (c == '%') {
			if (segment.len - i < 3 || !is_hex(segment.ptr[i + 1]) ||
			    !is_hex(segment.ptr[i + 2])) {
				buf_append_str(why, "has a \"%\" that is not followed by two hex digits");
				return false;
			}
		} else if (c == '{' || c == '}') {
			buf_append_str(
				why, "must have \"{name}\" as a whole segment, as in \"/users/{id}/orders\"");
			return false;
		} else if (c == '*') {
			buf_append_str(why,
				       "must have \"*\" as the whole last segment only, as in \"/api/*\"; "
				       "for a literal star write \"%2A\"");
			return false;
		} else if ((unsigned char)c >= 0x80) {
			buf_append_str(why, "has a character outside ASCII, which must be written "
					    "percent-encoded, as clients send it");
			return false;
		} else if (!is_path_char(c)) {
			buf_printf(why,
				   "has the character %s, which must be written percent-encoded (\"%%%02X\")",
				   quote(slice_of(&segment.ptr[i], 1)).text, (unsigned char)c);
			return false;
		}
	}
	if (is_dot_segment(segment)) {
		buf_append_str(why, "has the segment \".\" or \"..\", which no request that arrives has");
		return false;
	}
	return true;
}

static bool parameter_check(struct slice segment, const struct slice *seen, size_t seen_count,
			    struct buf *why)
{
	struct slice name = slice_of(segment.ptr + 1, segment.len - 2);
	bool fine = name.len >= 1 && name.len <= 64;
	for (size_t i = 0; fine && i < name.len; i++)
		fine = is_alnum(name.ptr[i]) || name.ptr[i] == '_' || name.ptr[i] == '-';
	if (!fine) {
		buf_printf(why,
			   "has the parameter %s, whose name must be 1 to 64 letters, digits, \"_\" or \"-\"",
			   quote(segment).text);
		return false;
	}
	for (size_t i = 0; i < seen_count; i++) {
		if (slice_equal(seen[i], segment)) {
			buf_printf(why, "has the parameter %s twice", quote(segment).text);
			return false;
		}
	}
	return true;
}

bool path_pattern_check(struct slice text, struct buf *why)
{
	struct slice parameters[PATH_SEGMENTS_MAX];
	size_t count = 0, parameter_count = 0;
	if (text.len == 0 || text.ptr[0] != '/') {
		buf_append_str(why, "must start with \"/\"");
		return false;
	}
	if (text.len > PATH_BYTES_MAX) {
		buf_printf(why, "is %zu bytes long, at most %d are possible", text.len, PATH_BYTES_MAX);
		return false;
	}
	if (memchr(text.ptr, '?', text.len) || memchr(text.ptr, '#', text.len)) {
		buf_append_str(why, "must have no \"?\" and no \"#\": routes match the path alone");
		return false;
	}
	for (const char *at = text.ptr + 1, *end = text.ptr + text.len; at <= end;) {
		const char *stop = memchr(at, '/', (size_t)(end - at));
		struct slice segment = slice_of(at, (size_t)((stop ? stop : end) - at));
		at = (stop ? stop : end) + 1;
		if (segment.len == 0 && stop) {
			buf_append_str(why, "has an empty segment (\"//\")");
			return false;
		}
		if (++count > PATH_SEGMENTS_MAX) {
			buf_printf(why, "has more than %d segments", PATH_SEGMENTS_MAX);
			return false;
		}
		if (!stop && slice_equal(segment, SLICE("*")))
			continue;
		if (segment.len >= 2 && segment.ptr[0] == '{' && segment.ptr[segment.len - 1] == '}') {
			if (!parameter_check(segment, parameters, parameter_count, why))
				return false;
			parameters[parameter_count++] = segment;
		} else if (!segment_text_check(segment, why)) {
			return false;
		}
	}
	return true;
}

bool pointer_text_check(struct slice text, struct buf *why)
{
	const char *complaint = NULL;
	if (pointer_check(text, &complaint) == 0)
		return true;
	buf_printf(why, "is refused: %s", complaint);
	return false;
}

bool health_path_check(struct slice text, struct buf *why)
{
	if (text.len == 0 || text.ptr[0] != '/') {
		buf_append_str(why, "must start with \"/\"");
		return false;
	}
	if (text.len > PATH_BYTES_MAX) {
		buf_printf(why, "is %zu bytes long, at most %d are possible", text.len, PATH_BYTES_MAX);
		return false;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (!phx_byte_is(PHX_URI, (uint8_t)text.ptr[i])) {
			buf_append_str(why, "has a byte that no request target may have (RFC 3986 2)");
			return false;
		}
	}
	return true;
}

/* As useradd and groupadd take them. */
static bool is_account_name(struct slice text)
{
	bool good = text.len >= 1 && text.len <= 32 &&
		    (text.ptr[0] == '_' || islower((unsigned char)text.ptr[0]));
	for (size_t i = 0; good && i < text.len; i++)
		good = islower((unsigned char)text.ptr[i]) || isdigit((unsigned char)text.ptr[i]) ||
		       strchr("_-", text.ptr[i]);
	return good;
}

bool user_check(struct slice text, struct buf *why)
{
	bool good = is_account_name(text);
	if (!good)
		buf_append_str(why, "is no user name: small letters, digits, \"_\" and \"-\", at most 32");
	return good;
}

bool group_check(struct slice text, struct buf *why)
{
	bool good = is_account_name(text);
	if (!good)
		buf_append_str(why, "is no group name: small letters, digits, \"_\" and \"-\", at most 32");
	return good;
}

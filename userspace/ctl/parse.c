/* SPDX-License-Identifier: Apache-2.0 */
/* parse: see parse.h. Digits are read one by one, so that no rounding and no locale takes part. */
#include "ctl/parse.h"
#include "config_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define TOKEN_MAX 4096

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int bad_weight(const char *text, struct buf *why)
{
	buf_printf(
		why,
		"weight %s is not a number: write a fraction from 0 to 1 (0.35) or a percentage from 0%% to "
		"100%% (35%%)",
		quote(slice_str(text)).text);
	return -EINVAL;
}

/* The limits, with the value as typed: a weight of 35 is nearly always meant as 35%. */
static int weight_over(const char *text, bool percent, uint32_t whole, struct buf *why)
{
	if (percent)
		buf_printf(why, "weight %s is over the limit of 100%%", text);
	else if (whole <= 100)
		buf_printf(why, "weight %s is over the limit of 1 (100%%); did you mean %s%%?", text, text);
	else
		buf_printf(why, "weight %s is over the limit of 1 (100%%)", text);
	return -EINVAL;
}

int parse_weight(const char *text, uint32_t *weight_bp, struct buf *why)
{
	size_t len = strlen(text);
	bool percent = len > 0 && text[len - 1] == '%';
	bool negative = text[0] == '-';
	const char *p = text + negative, *end = text + len - percent;
	uint32_t unit = percent ? 100 : 10000; /* basis points in 1 of what is typed */
	uint32_t whole = 0, bp;
	bool digits = false, too_fine = false;

	if (len > 64)
		return bad_weight(text, why);
	for (; p < end && is_digit(*p); p++, digits = true)
		whole = whole > 1000 ? whole : whole * 10 + (uint32_t)(*p - '0');
	bp = whole * unit;
	if (p < end && *p == '.') {
		uint32_t place = unit;
		for (p++; p < end && is_digit(*p); p++, digits = true) {
			place /= 10;
			bp += place * (uint32_t)(*p - '0');
			too_fine = too_fine || (place == 0 && *p != '0');
		}
	}
	if (!digits || p != end)
		return bad_weight(text, why);
	if (negative && (bp > 0 || too_fine)) {
		buf_printf(why, "weight %s is below the limit of 0", text);
		return -EINVAL;
	}
	if (bp > 10000 || (bp == 10000 && too_fine))
		return weight_over(text, percent, whole, why);
	if (too_fine) {
		buf_printf(why, "weight %s is finer than the smallest step of 0.0001 (0.01%%)", text);
		return -EINVAL;
	}
	*weight_bp = bp;
	return 0;
}

static const struct {
	const char *name;
	uint64_t ms;
} duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
#define DURATION_UNITS (sizeof(duration_units) / sizeof(duration_units[0]))

static int bad_duration(const char *text, struct buf *why)
{
	buf_printf(why,
		   "duration %s is not understood: write a number with a unit: 500ms, 90s, 30m, 1h30m, 2d",
		   quote(slice_str(text)).text);
	return -EINVAL;
}

int parse_duration(const char *text, uint64_t *duration_ms, struct buf *why)
{
	uint64_t total = 0;
	size_t next_unit = 0; /* units come in falling order, each once */
	const char *p = text;

	if (!*p)
		return bad_duration(text, why);
	while (*p) {
		uint64_t number = 0;
		const char *start = p;
		for (; is_digit(*p); p++)
			number = number > PARSE_DURATION_MAX_MS ? number : number * 10 + (uint64_t)(*p - '0');
		if (p == start)
			return bad_duration(text, why);
		size_t letters = strspn(p, "dhms");
		size_t unit = next_unit;
		if (letters == 0 && start == text && !*p) { /* a bare number: seconds */
			unit = 3;
		} else {
			while (unit < DURATION_UNITS && (strlen(duration_units[unit].name) != letters ||
							 strncmp(duration_units[unit].name, p, letters) != 0))
				unit++;
		}
		if (unit == DURATION_UNITS)
			return bad_duration(text, why);
		if (number > PARSE_DURATION_MAX_MS / duration_units[unit].ms)
			total = PARSE_DURATION_MAX_MS + 1;
		else
			total += number * duration_units[unit].ms;
		if (total > PARSE_DURATION_MAX_MS) {
			buf_printf(why, "duration %s is over the limit of 366d", quote(slice_str(text)).text);
			return -EINVAL;
		}
		next_unit = unit + 1;
		p += letters;
	}
	*duration_ms = total;
	return 0;
}

int parse_count(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *count,
		struct buf *why)
{
	uint64_t value = 0;
	bool ok = *text != '\0';

	for (const char *p = text; *p && ok; p++) {
		ok = is_digit(*p) && value <= (UINT64_MAX - 9) / 10;
		value = ok ? value * 10 + (uint64_t)(*p - '0') : value;
	}
	if (!ok || value < min || value > max) {
		buf_printf(why, "%s %s is not a whole number from %" PRIu64 " to %" PRIu64, name,
			   quote(slice_str(text)).text, min, max);
		return -EINVAL;
	}
	*count = value;
	return 0;
}

static int bad_address(const char *text, struct buf *why)
{
	buf_printf(why,
		   "admin address %s is not understood: write unix:/run/phoenix/admin.sock or "
		   "http://127.0.0.1:9900",
		   quote(slice_str(text)).text);
	return -EINVAL;
}

static int parse_socket_path(const char *text, const char *path, struct admin_address *address,
			     struct buf *why)
{
	size_t len = strlen(path);
	if (len == 0)
		return bad_address(text, why);
	if (len > PARSE_SOCKET_MAX) {
		buf_printf(why,
			   "admin address: the path of the socket has %zu bytes, the system's limit is %d",
			   len, PARSE_SOCKET_MAX);
		return -EINVAL;
	}
	memset(address, 0, sizeof(*address));
	memcpy(address->socket_path, path, len);
	strcpy(address->base_url, "http://localhost");
	return 0;
}

int parse_admin_address(const char *text, struct admin_address *address, struct buf *why)
{
	if (strncmp(text, "unix:", 5) == 0)
		return parse_socket_path(text, text + 5, address, why);
	if (text[0] == '/')
		return parse_socket_path(text, text, address, why);

	const char *scheme = "http://", *rest = text;
	if (strncmp(text, "http://", 7) == 0) {
		rest = text + 7;
	} else if (strncmp(text, "https://", 8) == 0) {
		scheme = "https://";
		rest = text + 8;
	} else if (!strchr(text, ':')) {
		return bad_address(text, why); /* a bare word is more likely a slip than a host */
	}
	size_t len = strlen(rest);
	if (len && rest[len - 1] == '/')
		len--;
	/* An authority and nothing else: no path, no user, nothing that a URL parser would read otherwise. */
	for (size_t i = 0; i < len; i++)
		if (rest[i] <= ' ' || rest[i] >= 127 || strchr("/?#@\\\"<>", rest[i]))
			return bad_address(text, why);
	if (len == 0 || len > 256)
		return bad_address(text, why);
	memset(address, 0, sizeof(*address));
	snprintf(address->base_url, sizeof(address->base_url), "%s%.*s", scheme, (int)len, rest);
	return 0;
}

int parse_token(struct slice text, struct buf *token, struct buf *why)
{
	while (text.len && memchr(" \t\r\n", text.ptr[0], 4))
		text.ptr++, text.len--;
	while (text.len && memchr(" \t\r\n", text.ptr[text.len - 1], 4))
		text.len--;
	if (text.len == 0 || text.len > TOKEN_MAX) {
		buf_printf(why, "the token has %zu bytes, it must have 1 to %d", text.len, TOKEN_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] >= 127) {
			buf_printf(why, "byte %zu of the token is not a visible ASCII character", i + 1);
			return -EINVAL;
		}
	buf_append_slice(token, text);
	return token->failed ? -ENOMEM : 0;
}

int parse_pointer(const char *text, struct buf *why)
{
	bool ok = text[0] == '\0' || text[0] == '/';
	for (const char *p = text; *p && ok; p++)
		ok = *p != '~' || p[1] == '0' || p[1] == '1';
	if (!ok) {
		buf_printf(
			why,
			"pointer %s is not an RFC 6901 pointer: write /meta/generated_at or /data/*/fee (a "
			"slash before each name, ~1 for a slash in a name, ~0 for a tilde)",
			quote(slice_str(text)).text);
		return -EINVAL;
	}
	return 0;
}

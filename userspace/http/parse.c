/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse: see parse.h. The clever part is skip_plain(): where bytes are ordinary, the scanner is brought to
 * the state that phx_head_step() would reach byte by byte, eight of them at a time; ordinary field lines are
 * taken whole by take_line(). What is not ordinary, and every refusal, goes through phx_head_step(). That
 * both ways agree is what tests/unit/test_http_head.c and the fuzzers check: they give the same heads in
 * pieces of one byte, where nothing can be skipped.
 */
#include "http/parse.h"

#include <phoenix/swar.h>

#include <endian.h>
#include <string.h>

/* Exact in every byte: those in first..last, both below 0x80. */
static uint64_t between(uint64_t word, unsigned char first, unsigned char last)
{
	uint64_t low = word & ~PHX_HIGHS;
	return (low + PHX_ONES * (0x80u - first)) & ~(low + PHX_ONES * (0x7fu - last)) & ~word & PHX_HIGHS;
}

/* Exact in every byte: those that ordinary field names consist of, in small letters. */
static uint64_t name_bytes(uint64_t word)
{
	return between(word, 'a', 'z') | between(word, '-', '-') | between(word, '0', '9') |
	       between(word, '_', '_');
}

/* How many of the eight bytes come before the first marked one. */
static unsigned before_first(uint64_t mask)
{
	return mask ? (unsigned)__builtin_ctzll(mask) / 8 : 8;
}

static uint64_t load8(const char *at)
{
	uint64_t word;
	memcpy(&word, at, 8);
	return le64toh(word);
}

/* To the end of a field name, with the words that phx_gather() would have built from it byte by byte. */
static void skip_name(struct phx_head *scan, const char *base, size_t len)
{
	uint32_t end = scan->pos;
	while (end < len && phx_byte_is(PHX_TCHAR, (uint8_t)base[end]))
		end++;
	uint32_t n = end - scan->name_off;
	if (scan->name_off + PHX_NAME_BYTES > len) {
		while (scan->pos < end)
			phx_gather(scan, phx_lower((uint8_t)base[scan->pos++]));
		return;
	}
	for (uint32_t i = 0; i < PHX_NAME_WORDS; i++) {
		uint64_t word = phx_lower_all(load8(base + scan->name_off + 8 * i));
		scan->word[i] = n >= 8 * i + 8 ? word
				: n > 8 * i    ? word & (~UINT64_C(0) >> (64 - 8 * (n - 8 * i)))
					       : 0;
	}
	scan->token_len = n;
	scan->pos = end;
}

/* Through a value that nobody reads, to its CR or whatever is not plain text. */
static void skip_value(struct phx_head *scan, const char *base, size_t len)
{
	unsigned n = 8;
	while (n == 8 && len - scan->pos >= 8) {
		n = before_first(phx_outside(load8(base + scan->pos), ' '));
		/* Spaces count as part of the value when something follows them; the scanner sees to the
		 * rest. */
		unsigned text = n;
		while (text && base[scan->pos + text - 1] == ' ')
			text--;
		if (text)
			scan->value_len = scan->pos + text - scan->value_off;
		scan->pos += n;
	}
}

/* Through the target's path, to its "?", its end or a byte that it may not have. */
static void skip_path(struct phx_head *scan, const char *base, size_t len)
{
	unsigned n = 8;
	while (n == 8 && len - scan->pos >= 8) {
		uint64_t word = load8(base + scan->pos);
		n = before_first(phx_outside(word, '!') | phx_equal_to(word, '?') | phx_equal_to(word, '#') |
				 phx_equal_to(word, '"') | phx_equal_to(word, '<') | phx_equal_to(word, '>') |
				 phx_equal_to(word, '\\'));
		scan->pos += n;
	}
}

/* The same where fewer than eight bytes may be left: zeros stand for what is not there. */
static uint64_t load_rest(const char *base, uint32_t at, size_t len)
{
	size_t left = len - at;
	if (left >= 8)
		return load8(base + at);
	return left && len >= 8 ? load8(base + len - 8) >> (64 - 8 * left) : 0;
}

/* A method of up to seven capitals and the space behind it. */
static void skip_method(struct phx_head *scan, const char *base, size_t len)
{
	if (scan->pos != 0 || len < 8)
		return;
	uint64_t word = load8(base);
	unsigned n = before_first(~between(word, 'A', 'Z') & PHX_HIGHS);
	if (n == 0 || n == 8 || base[n] != ' ')
		return;
	scan->word[0] = word & (~UINT64_C(0) >> (64 - 8 * n));
	scan->token_len = n;
	scan->method = phx_head_method(scan);
	scan->target_off = n + 1;
	scan->state = PHX_AT_TARGET;
	scan->pos = n + 1;
}

static void skip_version(struct phx_head *scan, const char *base, size_t len)
{
	if (scan->aux != 0 || len - scan->pos < 8 || memcmp(base + scan->pos, "HTTP/1.1", 8) != 0)
		return;
	scan->minor = 1;
	scan->aux = 8;
	scan->pos += 8;
}

/* Through text in which only its CR, or what may not be there, matters. */
static void skip_reason(struct phx_head *scan, const char *base, size_t len)
{
	unsigned n = 8;
	while (n == 8 && len - scan->pos >= 8) {
		n = before_first(phx_outside(load8(base + scan->pos), ' '));
		scan->pos += n;
	}
}

static void skip_plain(struct phx_head *scan, const char *base, size_t len)
{
	switch (scan->state) {
	case PHX_AT_START:
		skip_method(scan, base, len);
		break;
	case PHX_AT_TARGET:
		skip_path(scan, base, len);
		break;
	case PHX_AT_VERSION:
		skip_version(scan, base, len);
		break;
	case PHX_AT_REASON:
		skip_reason(scan, base, len);
		break;
	case PHX_AT_NAME:
		skip_name(scan, base, len);
		break;
	case PHX_AT_VALUE:
		if (!phx_field_is_read(scan->field))
			skip_value(scan, base, len);
		break;
	default:
		break;
	}
}

/* An ordinary field name at `at`, of letters, digits, "-" and "_", with its colon: fills the words that
 * phx_gather() would have built. Returns its length, 0 when it is not ordinary or not all here. */
static uint32_t read_name(struct phx_head *scan, const char *base, uint32_t at, size_t len)
{
	uint32_t n = 0;
	uint64_t words[PHX_NAME_WORDS] = {0};
	for (uint32_t i = 0; i < PHX_NAME_WORDS && n == 8 * i; i++) {
		uint64_t low = phx_lower_all(load_rest(base, at + n, len));
		unsigned more = before_first(~name_bytes(low) & PHX_HIGHS);
		if (more)
			words[i] = low & (~UINT64_C(0) >> (64 - 8 * more));
		n += more;
	}
	if (n == 0 || at + n >= len || base[at + n] != ':')
		return 0;
	memcpy(scan->word, words, sizeof(words));
	scan->token_len = n;
	return n;
}

/* The end of an ordinary value that begins at `at`: its CR, with the LF behind it. 0 when there is none. */
static uint32_t find_value_end(const char *base, uint32_t at, size_t len)
{
	uint32_t end = at;
	unsigned n = 8;
	while (n == 8) {
		n = before_first(phx_outside(load_rest(base, end, len), ' '));
		end += n;
	}
	if (len - end < 2 || base[end] != '\r' || base[end + 1] != '\n')
		return 0;
	/* White space around the value is the scanner's business. */
	return end > at && (base[at] == ' ' || base[end - 1] == ' ') ? 0 : end;
}

/* The value of a field that is read. Refuses where phx_head_step() would. */
static bool read_value(struct phx_head *scan, const char *base, uint32_t end)
{
	while (scan->pos < end) {
		char c = base[scan->pos++];
		if (c != ' ')
			scan->value_len = scan->pos - scan->value_off;
		int error = phx_value_byte(scan, (uint8_t)c);
		if (error)
			return phx_refuse(scan, (enum phx_head_error)error), false;
	}
	return true;
}

/*
 * "Name: value CR LF" with nothing unusual about it: what some dozens of steps would do, at once. Returns
 * PHX_HEAD_FIELD or PHX_HEAD_REFUSED as the last of those steps, or PHX_HEAD_MORE when it is left to them;
 * then nothing has changed.
 */
static int take_line(struct phx_head *scan, const char *base, size_t len)
{
	uint32_t name_off = scan->pos, name_len = read_name(scan, base, name_off, len);
	if (!name_len)
		return PHX_HEAD_MORE;
	uint32_t value_off = name_off + name_len + 1;
	value_off += value_off < len && base[value_off] == ' ';
	uint32_t end = find_value_end(base, value_off, len);
	if (!end)
		return PHX_HEAD_MORE;
	scan->name_off = name_off;
	scan->name_len = name_len;
	scan->pos = name_off + name_len + 1;
	int error = phx_head_named(scan);
	if (error)
		return phx_refuse(scan, (enum phx_head_error)error);
	scan->value_off = value_off;
	scan->value_len = 0;
	scan->pos = value_off;
	if (phx_field_is_read(scan->field)) {
		if (!read_value(scan, base, end))
			return PHX_HEAD_REFUSED;
		scan->pos = end + 1;
		error = phx_head_valued(scan);
		if (error)
			return phx_refuse(scan, (enum phx_head_error)error);
	} else {
		scan->value_len = end - value_off;
	}
	scan->pos = end + 2;
	scan->fields++;
	return PHX_HEAD_FIELD;
}

void http_head_init(struct http_head *head, uint32_t flags, uint16_t field_limit)
{
	phx_head_init(&head->scan, flags);
	head->field_count = 0;
	head->field_limit = field_limit < HTTP_FIELDS_MAX ? field_limit : HTTP_FIELDS_MAX;
}

/* Marks the fields that Connection names (RFC 9110 7.6.1). */
static void nominate(struct http_head *head, const char *base)
{
	for (uint16_t i = 0; i < head->field_count; i++) {
		if (head->fields[i].id != PHX_FIELD_CONNECTION)
			continue;
		struct slice rest = http_field_value(&head->fields[i], base), name;
		while (slice_split(&rest, ',', &name)) {
			for (uint16_t k = 0; k < head->field_count && name.len; k++) {
				if (slice_equal_nocase(http_field_name(&head->fields[k], base), name))
					head->fields[k].nominated = 1;
			}
		}
	}
}

enum http_parse_result http_head_parse(struct http_head *head, const char *base, size_t len)
{
	struct phx_head *scan = &head->scan;
	while (scan->pos < len) {
		int result = PHX_HEAD_MORE;
		if (scan->state == PHX_AT_FIELD_START)
			result = take_line(scan, base, len);
		else
			skip_plain(scan, base, len);
		if (scan->pos == len && result == PHX_HEAD_MORE)
			break;
		if (result == PHX_HEAD_MORE)
			result = phx_head_step(scan, (uint8_t)base[scan->pos]);
		switch (result) {
		case PHX_HEAD_MORE:
			break;
		case PHX_HEAD_FIELD:
			if (head->field_count == head->field_limit || scan->name_len > UINT16_MAX)
				return HTTP_PARSE_TOO_MANY;
			head->fields[head->field_count++] = (struct http_field){
				.name_off = scan->name_off,
				.name_len = (uint16_t)scan->name_len,
				.value_off = scan->value_off,
				.value_len = scan->value_len,
				.id = scan->field,
			};
			break;
		case PHX_HEAD_DONE:
			if (scan->flags & PHX_HEAD_NOMINATES)
				nominate(head, base);
			return HTTP_PARSE_DONE;
		default:
			return HTTP_PARSE_REFUSED;
		}
	}
	return HTTP_PARSE_MORE;
}

const struct http_field *http_head_find(const struct http_head *head, enum phx_field id)
{
	for (uint16_t i = 0; i < head->field_count; i++) {
		if (head->fields[i].id == id)
			return &head->fields[i];
	}
	return NULL;
}

const struct http_field *http_head_find_name(const struct http_head *head, const char *base,
					     struct slice name)
{
	for (uint16_t i = 0; i < head->field_count; i++) {
		if (slice_equal_nocase(http_field_name(&head->fields[i], base), name))
			return &head->fields[i];
	}
	return NULL;
}

/* Runs the scanner's own Host check over an authority. */
static bool authority_valid(struct slice authority)
{
	struct phx_head scan;
	phx_head_init(&scan, 0);
	scan.field = PHX_FIELD_HOST;
	for (size_t i = 0; i < authority.len; i++) {
		if (phx_host_byte(&scan, (uint8_t)authority.ptr[i]))
			return false;
	}
	return !phx_head_valued(&scan);
}

int http_target_parse(const struct http_head *head, const char *base, struct http_target *out)
{
	struct slice target = http_head_target(head, base);
	struct http_target t = {.path_query = target, .path = slice_of(target.ptr, head->scan.path_len)};
	if (head->scan.method == PHX_METHOD_CONNECT)
		return PHX_HEAD_ERROR_TARGET_FORM;
	if (target.ptr[0] == '/') {
		*out = t;
		return 0;
	}
	if (target.len == 1 && target.ptr[0] == '*') {
		if (head->scan.method != PHX_METHOD_OPTIONS)
			return PHX_HEAD_ERROR_TARGET_FORM;
		*out = t;
		return 0;
	}
	if (target.len < 8 || strncasecmp(target.ptr, "http://", 7) != 0)
		return PHX_HEAD_ERROR_TARGET_FORM;
	struct slice rest = slice_of(target.ptr + 7, target.len - 7);
	size_t n = 0;
	while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?')
		n++;
	t.authority = slice_of(rest.ptr, n);
	if (!authority_valid(t.authority))
		return PHX_HEAD_ERROR_TARGET_FORM;
	if (n < rest.len && rest.ptr[n] == '?') {
		t.path = SLICE("/");
		t.path_query = slice_of(rest.ptr + n, rest.len - n);
	} else if (n == rest.len) {
		t.path = t.path_query = head->scan.method == PHX_METHOD_OPTIONS ? SLICE("*") : SLICE("/");
	} else {
		t.path_query = slice_of(rest.ptr + n, rest.len - n);
		t.path = slice_of(rest.ptr + n, head->scan.path_len - 7 - n);
	}
	*out = t;
	return 0;
}

static const struct {
	int status;
	const char *help;
} refusals[] = {
#define X(name, status, help) {status, help},
	PHX_HEAD_ERRORS(X)
#undef X
};

int http_refusal_status(const struct http_head *head, enum http_parse_result result)
{
	return result == HTTP_PARSE_TOO_MANY ? 431 : refusals[head->scan.error].status;
}

const char *http_refusal_help(const struct http_head *head, enum http_parse_result result)
{
	return result == HTTP_PARSE_TOO_MANY ? "more header fields than limits.fields allows"
					     : refusals[head->scan.error].help;
}

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{100, "Continue"},
	{101, "Switching Protocols"},
	{103, "Early Hints"},
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{206, "Partial Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{304, "Not Modified"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{412, "Precondition Failed"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{417, "Expectation Failed"},
	{421, "Misdirected Request"},
	{422, "Unprocessable Content"},
	{428, "Precondition Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
	{507, "Insufficient Storage"},
	{508, "Loop Detected"},
};

const char *http_reason(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Unknown";
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our parser against a second reading of the grammar (test_http_reading.h): hundreds of thousands of heads,
 * made of good and odd parts and then changed a little, and every byte in every place of some. Both must
 * agree about what is a head, where it ends and what it says, but for the deviations that have a name; and
 * each of those must have been seen.
 *
 * A disagreement is printed with the head. PHX_GRAMMAR_HEADS=N makes N heads of each kind instead of the
 * default, PHX_GRAMMAR_SEED=N other ones.
 */
#include "http/body.h"
#include "http/parse.h"

#include "test_http_reading.h"
#include "test_judge_support.h"
#include "unit.h"

#define HEADS_DEFAULT	  150000
#define HEAD_BYTES_MAX	  480
#define DISAGREEMENTS_MAX 10

static uint64_t seed;
static unsigned disagreements;
static unsigned long deviations_seen[READING_DEVIATION_COUNT], verdicts_seen[3];

static uint32_t any(uint32_t limit)
{
	return random_below(&seed, limit);
}

static bool one_in(uint32_t n)
{
	return any(n) == 0;
}

static void print_head(struct slice text)
{
	fputs("    \"", stderr);
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c == '\r')
			fputs("\\r", stderr);
		else if (c == '\n')
			fputs("\\n", stderr);
		else if (c == '"' || c == '\\')
			fprintf(stderr, "\\%c", c);
		else if (c < ' ' || c > '~')
			fprintf(stderr, "\\%03o", c);
		else
			fputc(c, stderr);
	}
	fputs("\"\n", stderr);
}

static void disagree(const char *what, const struct reading *r, struct slice text)
{
	static const char *const verdicts[] = {"incomplete", "invalid", "valid"};
	unit_failures++;
	if (disagreements++ >= DISAGREEMENTS_MAX)
		return;
	fprintf(stderr, "the readings disagree: %s; by the standard %s", what, verdicts[r->verdict]);
	for (unsigned i = 0; i < READING_DEVIATION_COUNT; i++) {
		if (r->deviations >> i & 1)
			fprintf(stderr, ", %s", reading_deviations[i].name);
	}
	fputc('\n', stderr);
	print_head(text);
}

/* Both took it: do they understand the same? Returns what not, or NULL. */
static const char *difference(const struct reading *r, const struct http_head *head, const char *base)
{
	const struct phx_head *scan = &head->scan;
	if (scan->pos != r->length)
		return "the length";
	if (scan->minor != r->minor)
		return "the version";
	if (r->response && scan->status != r->status)
		return "the status";
	if (head->field_count != r->field_count)
		return "the number of fields";
	for (unsigned i = 0; i < r->field_count; i++) {
		if (!slice_equal(http_field_name(&head->fields[i], base), r->fields[i].name) ||
		    !slice_equal(http_field_value(&head->fields[i], base), r->fields[i].value))
			return "a field";
		if (!head->fields[i].nominated && reading_lists(r, "connection", r->fields[i].name) &&
		    head->fields[i].id != PHX_FIELD_CLOSE && !reading_is(r->fields[i].name, "keep-alive") &&
		    !reading_is(r->fields[i].name, "upgrade"))
			return "what Connection names";
		if (head->fields[i].nominated && !reading_lists(r, "connection", r->fields[i].name))
			return "what Connection does not name";
	}
	if (!r->response) {
		struct http_target target;
		if (!slice_equal(http_head_method(head, base), r->method) ||
		    !slice_equal(http_head_target(head, base), r->target))
			return "the request line";
		if (http_target_parse(head, base, &target))
			return "the target's form";
		if (!slice_equal(target.authority, r->authority) || !slice_equal(target.path, r->path))
			return "the target's parts";
		size_t path = target.path_query.ptr[0] == '?' ? 0 : target.path.len;
		if (!slice_equal(slice_of(target.path_query.ptr + path, target.path_query.len - path),
				 r->query))
			return "the query";
	}
	static const enum http_body_kind kinds[] = {HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED,
						    HTTP_BODY_CLOSE};
	struct http_body body;
	if (r->response)
		http_body_of_response(&body, head, false);
	else
		http_body_of_request(&body, head);
	if (body.kind != kinds[r->framing])
		return "the framing";
	if (body.kind == HTTP_BODY_LENGTH && body.remaining != r->content_length)
		return "the body's length";
	if (!r->response && !(scan->flags & PHX_HEAD_CONTINUE) == r->continues)
		return "the expectation";
	return !phx_head_persists(scan) == r->persists ? "the connection's end" : NULL;
}

static void compare(struct slice text, bool response)
{
	static struct http_head head;
	struct reading r;
	unit_checks++;
	reading_read(&r, text, response);
	verdicts_seen[r.verdict]++;
	for (unsigned i = 0; r.verdict == READING_VALID && i < READING_DEVIATION_COUNT; i++)
		deviations_seen[i] += r.deviations >> i & 1;
	http_head_init(&head, response ? PHX_HEAD_RESPONSE : 0, HTTP_FIELDS_MAX);
	size_t cut = any((uint32_t)text.len + 1);
	enum http_parse_result result = http_head_parse(&head, text.ptr, cut);
	if (result == HTTP_PARSE_MORE)
		result = http_head_parse(&head, text.ptr, text.len);
	bool taken = result == HTTP_PARSE_DONE;
	struct http_target target;
	if (taken && !response && http_target_parse(&head, text.ptr, &target))
		taken = false;
	if (taken != reading_is_taken(&r)) {
		disagree(taken ? "we take it" : "we do not take it", &r, text);
	} else if (result == HTTP_PARSE_MORE && r.verdict != READING_INCOMPLETE) {
		disagree("we wait for more", &r, text);
	} else if (taken) {
		const char *what = difference(&r, &head, text.ptr);
		if (what)
			disagree(what, &r, text);
	}
}

/* --- heads made of parts -------------------------------------------------------------------------------- */

static const char *const methods[] = {"GET",	 "GET",	   "POST", "OPTIONS",		"OPTIONS", "HEAD",
				      "CONNECT", "DELETE", "get",  "M!#$%&'*+-.^_`|~0", "G(T",	   ""};
static const char *const targets[] = {"/",
				      "/",
				      "/a/b;c=d?e=f&g=/?",
				      "/%41%7e",
				      "/%4",
				      "/%zz",
				      "/{a}|^`[]",
				      "*",
				      "*",
				      "**",
				      "http://h/a?b",
				      "HTTP://h:80",
				      "http://h?q",
				      "http://h/?",
				      "http://",
				      "http:///a",
				      "http://u@h/",
				      "http://[::1]:8/x",
				      "http://[v1.a]/",
				      "http://h,i/",
				      "https://h/",
				      "urn:a:b",
				      "h:443",
				      "h",
				      "a/b",
				      "//h/a",
				      "/a//b/../c",
				      "/a b",
				      "/#x",
				      "/\\",
				      "/<>",
				      "/\"",
				      "/\x7f",
				      "/\xc3\xa4",
				      "",
				      "http://[1::2::3]/",
				      "http://h:8a/",
				      "http://%41/",
				      "http://%4/",
				      "?a",
				      "/a?b?c",
				      "http://h:/a",
				      "http:/a",
				      "http:a",
				      "/'()*,;=:@!$&~-._+"};
static const char *const versions[] = {"HTTP/1.1", "HTTP/1.1", "HTTP/1.1",  "HTTP/1.1", "HTTP/1.0",
				       "HTTP/1.0", "HTTP/1.2", "HTTP/2.0",  "HTTP/0.9", "HTTP/11.1",
				       "http/1.1", "HTTP/1.",  "HTTP/1.1 ", "HTTP 1.1"};
static const char *const hosts[] = {"h",
				    "h",
				    "h:80",
				    "a.example:",
				    "[::1]",
				    "[::1]:80",
				    "[1:2:3:4:5:6:7:8]",
				    "[1:2:3:4:5:6:7::]",
				    "[::]",
				    "[1::8]",
				    "[::ffff:1.2.3.4]",
				    "[1:2:3:4:5:6:1.2.3.4]",
				    "[1:2:3:4:5:6:7:8:9]",
				    "[1:2]",
				    "h:65535",
				    "h:65536",
				    "[::1]:00080",
				    "h:99999999999999999999999",
				    "[::1]:70000",
				    "[12345::]",
				    "[::1",
				    "[]",
				    "[v1.a:b]",
				    "[vx.a]",
				    "1.2.3.4",
				    "256.1.1.1:8",
				    "",
				    ":",
				    ":80",
				    "h,i",
				    "a%2db",
				    "a%2",
				    "a%2x",
				    "a%:8",
				    "a b",
				    "a:8x",
				    "a:8:9",
				    "u@h",
				    "a/b",
				    "a_b~!$&'()*+;=-",
				    "h\x80",
				    "[::1]x",
				    "[::1%25e]",
				    "[.]",
				    "[:1.2]"};
static const char *const lengths[] = {"0",
				      "5",
				      "5",
				      "007",
				      "999999999999999999",
				      "1000000000000000000",
				      "0000000000000000000005",
				      "",
				      "-1",
				      "+1",
				      "1 1",
				      "1,1",
				      "5, 5",
				      "5,6",
				      "0x5",
				      "5a",
				      "1.0",
				      "\"5\""};
static const char *const codings[] = {"chunked",
				      "chunked",
				      "Chunked",
				      "CHUNKED ",
				      ", chunked,,",
				      "chunked, chunked",
				      "gzip",
				      "gzip, chunked",
				      "chunked, gzip",
				      "identity",
				      "chunked;a=b",
				      "x;a=\"b,c\"",
				      "",
				      ",",
				      "chunked a",
				      "\"chunked\"",
				      "xchunked",
				      "chunkedx",
				      "chunked;",
				      "(a)"};
static const char *const connections[] = {"close",
					  "Close",
					  "keep-alive",
					  "upgrade",
					  "x-a",
					  "x-a, close",
					  "close,keep-alive",
					  "",
					  ",",
					  ",,x-b ,",
					  "host",
					  "te, x-b",
					  "a b",
					  "\"a\"",
					  "a;b",
					  "Content-Length",
					  "x-a\t,\tupgrade",
					  "connection"};
static const char *const expects[] = {"100-continue",
				      "100-Continue",
				      "100-continue, 100-continue",
				      ",100-continue",
				      "",
				      "200-ok",
				      "100-continue;a",
				      "a=b;c=d",
				      "a=\"b\";",
				      "100-continue x",
				      "(x)"};
static const char *const others[] = {
	"",	 "b",	"b c", "\tb \t c\t", "\x80\xff", "b\x01",
	"b\x7f", "(c)", "\"",  ":",	     "b:c",	 "00000000000000000000000000000000000000000000"};
static const char *const names[] = {"x-a",  "X-B",     "Accept",     "User-Agent", "Cookie",
				    "TE",   "Upgrade", "Keep-Alive", "Trailer",	   "X-Forwarded-For",
				    "a b",  "",	       "(x)",	     "x\x80",	   "!#$%&'*+-.^_`|~09",
				    "Close"};
static const char *const statuses[] = {"200", "200", "204", "304",  "100", "101", "599",
				       "600", "099", "20",  "2000", "2x0", "",	  "999"};
static const char *const reasons[] = {" OK", " OK", " ", "", " \x80\t", " a\x01", "  ", "x", " Not Found"};

#define PICK(list) list[any(sizeof(list) / sizeof(list[0]))]

static void add(char *out, const char *text)
{
	size_t have = strlen(out), len = strlen(text);
	if (have + len < HEAD_BYTES_MAX)
		memcpy(out + have, text, len + 1);
}

static void add_field(char *out, const char *name, const char *value)
{
	static const char *const gaps[] = {"", " ", " ", " ", " ", "\t ", "  "};
	static const char *const ends[] = {"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", " \r\n", "\t\r\n"};
	add(out, name);
	add(out, one_in(200) ? " :" : ":");
	add(out, PICK(gaps));
	add(out, value);
	add(out, one_in(200) ? "\n" : one_in(200) ? "\r\n " : PICK(ends));
}

/* Mostly the first ones of a list, which are good: else nearly no head would be. */
#define PICK_GOOD(list, good) (one_in(3) ? PICK(list) : list[any(good)])

static void make_head(char *out, bool response)
{
	out[0] = 0;
	if (response) {
		add(out, PICK_GOOD(versions, 5));
		add(out, one_in(50) ? "  " : " ");
		add(out, PICK_GOOD(statuses, 7));
		add(out, PICK_GOOD(reasons, 4));
	} else {
		if (one_in(20))
			add(out, one_in(3) ? "\r\n\r\n" : "\r\n");
		add(out, PICK_GOOD(methods, 6));
		add(out, one_in(50) ? "  " : " ");
		add(out, PICK_GOOD(targets, 4));
		add(out, one_in(50) ? "\t" : " ");
		add(out, PICK_GOOD(versions, 5));
	}
	add(out, one_in(100) ? "\n" : "\r\n");
	if (!response && !one_in(10))
		add_field(out, one_in(2) ? "Host" : "hOST", PICK_GOOD(hosts, 12));
	for (uint32_t left = any(4); left; left--) {
		switch (any(8)) {
		case 0:
			add_field(out, "Content-Length", PICK_GOOD(lengths, 5));
			break;
		case 1:
			add_field(out, "Transfer-Encoding", PICK_GOOD(codings, 5));
			break;
		case 2:
			add_field(out, "Connection", PICK_GOOD(connections, 12));
			break;
		case 3:
			add_field(out, "Expect", PICK_GOOD(expects, 5));
			break;
		case 4:
			if (one_in(4))
				add_field(out, "host", PICK(hosts));
			break;
		default:
			add_field(out, PICK_GOOD(names, 10), PICK_GOOD(others, 5));
		}
	}
	add(out, one_in(100) ? "\n" : "\r\n");
	if (one_in(4))
		add(out, "body");
}

/* Up to three small changes: another byte, one more, one less, a piece doubled, the rest gone. */
static size_t mutate(char *text, size_t len)
{
	static const char odd[] = "\r\n \t:,;\"\\/?#%[]@*.0aZ-+_(){}\x80\xff\x7f\x01";
	for (uint32_t left = any(4); left && len > 1; left--) {
		uint32_t at = any((uint32_t)len), span = 1 + any(8);
		char c = one_in(8) ? (char)any(256) : odd[any(sizeof(odd))];
		switch (any(6)) {
		case 0:
		case 1:
			text[at] = c;
			break;
		case 2:
			if (len < HEAD_BYTES_MAX) {
				memmove(text + at + 1, text + at, len - at);
				text[at] = c;
				len++;
			}
			break;
		case 3:
			memmove(text + at, text + at + 1, len - at - 1);
			len--;
			break;
		case 4:
			if (span <= len - at && len + span <= HEAD_BYTES_MAX) {
				memmove(text + at + span, text + at, len - at);
				len += span;
			}
			break;
		default:
			if (one_in(4))
				len = at;
		}
	}
	return len;
}

static void many_heads(bool response)
{
	char text[HEAD_BYTES_MAX + 1];
	const char *count = getenv("PHX_GRAMMAR_HEADS"), *start = getenv("PHX_GRAMMAR_SEED");
	unsigned long heads = count ? strtoul(count, NULL, 10) : HEADS_DEFAULT;
	seed = start ? strtoull(start, NULL, 10) * 2 + 1 : 20260131;
	for (unsigned long i = 0; i < heads; i++) {
		make_head(text, response);
		size_t len = strlen(text);
		if (!one_in(3))
			len = mutate(text, len);
		compare(slice_of(text, len), response);
	}
}

TEST(request_heads)
{
	many_heads(false);
}

TEST(response_heads)
{
	many_heads(true);
}

/* Every byte in every place, one place after the other. */
static const struct {
	const char *text;
	bool response;
} whole[] = {
	{"GET /a?b HTTP/1.1\r\nHost: h:1\r\nA: b\r\n\r\n", false},
	{"\r\nP http://h:1/?q HTTP/1.0\r\nHost:[::1]\r\nContent-Length: 12\r\n\r\n", false},
	{"OPTIONS * HTTP/1.1\r\nHost: a%41\r\nTransfer-Encoding: ,chunked\r\nConnection: x, close\r\nX: "
	 "y\r\n\r\n",
	 false},
	{"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nhost:1.2.3.4:\t\r\nA:\r\n\r\n", false},
	/* long enough for what is skipped eight bytes at a time */
	{"GET /abcdefghijklmnopqrstuvwxyz?abcdefghijklmnopq HTTP/1.1\r\nHost: h\r\n"
	 "X-Name-Of-More-Than-24-Bytes: a value of more than 24 bytes  \r\n\r\n",
	 false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive, b\r\nB: \r\n\r\n", true},
	{"HTTP/1.0 404 \r\nA: b c\r\n\r\n", true},
	{"HTTP/1.1 304\r\nTransfer-Encoding: chunked\r\n\r\n", true},
};

TEST(every_byte_in_every_place)
{
	char text[HEAD_BYTES_MAX];
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		size_t len = strlen(whole[i].text);
		compare(slice_of(whole[i].text, len), whole[i].response);
		for (size_t at = 0; at < len; at++) {
			/* cut here, without this byte, with each other byte, with each byte more */
			compare(slice_of(whole[i].text, at), whole[i].response);
			memcpy(text, whole[i].text, at);
			memcpy(text + at, whole[i].text + at + 1, len - at - 1);
			compare(slice_of(text, len - 1), whole[i].response);
			memcpy(text + at + 1, whole[i].text + at + 1, len - at - 1);
			for (unsigned c = 0; c < 256; c++) {
				text[at] = (char)c;
				compare(slice_of(text, len), whole[i].response);
			}
			memcpy(text + at + 1, whole[i].text + at, len - at);
			for (unsigned c = 0; c < 256; c++) {
				text[at] = (char)c;
				compare(slice_of(text, len + 1), whole[i].response);
			}
		}
	}
}

/* IPv6 literals: parts behind one another that are good more often than not, and small changes. */
TEST(ipv6_literals)
{
	static const char *const parts[] = {
		"1",	 "a:", "0db8:",	    "::",	":",	  "1.2.3.4",  "255.255.255.0",
		"12345", ".",  "256.0.0.1", "01.2.3.4", "f:f:f:", "1.2.3.4.5"};
	char text[HEAD_BYTES_MAX + 1];
	unsigned long valid_before = verdicts_seen[READING_VALID];
	seed = 20260133;
	for (unsigned i = 0; i < 200000; i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: [");
		size_t start = strlen(text);
		for (uint32_t left = any(9); left; left--)
			add(text, one_in(3) ? PICK(parts) : one_in(8) ? "::" : "2:");
		if (!one_in(3))
			add(text, one_in(2) ? "3" : "1.2.3.4");
		size_t len = strlen(text);
		if (one_in(2) && len > start)
			len = start + mutate(text + start, len - start);
		text[len] = 0;
		if (strlen(text) != len)
			continue;
		add(text, one_in(10) ? "" : one_in(3) ? "]:8\r\n\r\n" : "]\r\n\r\n");
		compare(slice_str(text), false);
	}
	unsigned long valid = verdicts_seen[READING_VALID] - valid_before;
	CHECK_MSG(valid >= 5000, "only %lu literals were good", valid);
}

/* --- chunk lines ---------------------------------------------------------------------------------------- */

static unsigned long lines_seen[2];

static void compare_chunk_line(struct slice line)
{
	char text[HEAD_BYTES_MAX + 8];
	struct http_body body;
	size_t consumed, produced;
	unsigned digits = 0;
	while (digits < line.len && phx_is_hex((uint8_t)line.ptr[digits]))
		digits++;
	memcpy(text, line.ptr, line.len);
	memcpy(text + line.len, "\r\n", 2);
	bool standard = abnf_matches(rules.chunk_line, line);
	http_body_init(&body, HTTP_BODY_CHUNKED, 0);
	bool taken = http_body_read(&body, text, line.len + 2, &consumed, &produced) == HTTP_BODY_MORE;
	unit_checks++;
	lines_seen[standard]++;
	/* The one deviation: at most 15 digits. */
	if (taken != (standard && digits <= 15)) {
		unit_failures++;
		if (disagreements++ < DISAGREEMENTS_MAX) {
			fprintf(stderr, "the readings disagree: we %s this chunk line\n",
				taken ? "take" : "do not take");
			print_head(line);
		}
	} else if (taken) {
		uint64_t size = strtoull(text, NULL, 16);
		CHECK_MSG(body.remaining == size, "%llu, not %llu", (unsigned long long)body.remaining,
			  (unsigned long long)size);
	}
	http_body_fini(&body);
}

TEST(chunk_lines)
{
	static const char *const sizes[] = {
		"1", "a", "0", "00fF", "fffffffffffffff", "0123456789abcdef", "g", "", "-1", "0x1", " 1"};
	static const char *const extensions[] = {"",	     "",	 ";a",
						 ";a=b",     " ; a = b", ";a=\"b;\\\"\"",
						 ";a=\"",    ";",	 " ",
						 ";;",	     ";a b",	 ";a=",
						 ";=b",	     ";a\"b\"",	 ";\ta\t=\t\"\x80\t\"\t;c",
						 ";a=b;c=d", ";a=\"\\",	 ";(a)",
						 "\v;a"};
	char text[HEAD_BYTES_MAX + 1];
	seed = 20260132;
	for (unsigned i = 0; i < 100000; i++) {
		text[0] = 0;
		add(text, PICK_GOOD(sizes, 4));
		for (uint32_t left = any(3); left; left--)
			add(text, PICK(extensions));
		size_t len = strlen(text);
		if (len && one_in(2))
			len = mutate(text, len);
		/* A line is what ends before CR LF; what follows is the next one's affair. */
		if (!memchr(text, '\r', len) && !memchr(text, '\n', len))
			compare_chunk_line(slice_of(text, len));
	}
	CHECK(lines_seen[0] >= 20000 && lines_seen[1] >= 20000);
}

TEST(all_was_seen)
{
	for (unsigned i = 0; i < READING_DEVIATION_COUNT; i++)
		CHECK_MSG(deviations_seen[i] >= 20, "only %lu heads with %s: %s", deviations_seen[i],
			  reading_deviations[i].name, reading_deviations[i].what);
	for (unsigned i = 0; i < 3; i++)
		CHECK_MSG(verdicts_seen[i] >= 1000, "only %lu of verdict %u", verdicts_seen[i], i);
	printf("# %lu valid, %lu invalid, %lu incomplete heads\n", verdicts_seen[READING_VALID],
	       verdicts_seen[READING_INVALID], verdicts_seen[READING_INCOMPLETE]);
}

UNIT_MAIN

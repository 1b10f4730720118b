/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_reading: a second reading of HTTP/1.x heads, from the text of RFC 9112, 9110 and 3986 and not
 * from our parser. The grammar below is the standards' own, rule by rule; a head is cut into lines, each line
 * is held against its rule, and what no grammar says (how often, together with what) follows in plain C.
 *
 * Where Phoenix is stricter than the standard, or takes what the standard does not describe, that is a named
 * deviation; the test demands that our parser differs from this reading exactly there.
 */
#ifndef PHOENIX_TESTS_HTTP_READING_H
#define PHOENIX_TESTS_HTTP_READING_H

#include "test_http_abnf.h"

#define READING_FIELDS_MAX 64

static const char http_grammar[] =
	/* RFC 5234 B.1 */
	"ALPHA = %x41-5A / %x61-7A\n"
	"DIGIT = %x30-39\n"
	"HEXDIG = DIGIT / \"A\" / \"B\" / \"C\" / \"D\" / \"E\" / \"F\"\n"
	"DQUOTE = %x22\n"
	"HTAB = %x09\n"
	"SP = %x20\n"
	"VCHAR = %x21-7E\n"
	/* RFC 9110 5.5, 5.6 */
	"obs-text = %x80-FF\n"
	"tchar = \"!\" / \"#\" / \"$\" / \"%\" / \"&\" / \"'\" / \"*\" / \"+\" / \"-\" / \".\" / \"^\" / "
	"\"_\" / \"`\" / \"|\" / \"~\" / DIGIT / ALPHA\n"
	"token = 1*tchar\n"
	"OWS = *( SP / HTAB )\n"
	"BWS = OWS\n"
	"quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE\n"
	"qdtext = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text\n"
	"quoted-pair = %x5C ( HTAB / SP / VCHAR / obs-text )\n"
	"parameters = *( OWS \";\" OWS [ parameter ] )\n"
	"parameter = token \"=\" ( token / quoted-string )\n"
	"field-name = token\n"
	"field-value = *field-content\n"
	"field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]\n"
	"field-vchar = VCHAR / obs-text\n"
	/* RFC 9112 2.3, 3, 4, 5 */
	"HTTP-version = HTTP-name \"/\" DIGIT \".\" DIGIT\n"
	"HTTP-name = %s\"HTTP\"\n"
	"request-line = method SP request-target SP HTTP-version\n"
	"method = token\n"
	"request-target = origin-form / absolute-form / authority-form / asterisk-form\n"
	"origin-form = absolute-path [ \"?\" query ]\n"
	"absolute-form = absolute-URI\n"
	"authority-form = uri-host \":\" port\n"
	"asterisk-form = \"*\"\n"
	"status-line = HTTP-version SP status-code SP [ reason-phrase ]\n"
	"status-code = 3DIGIT\n"
	"reason-phrase = 1*( HTAB / SP / VCHAR / obs-text )\n"
	"field-line = field-name \":\" OWS field-value OWS\n"
	/* RFC 9110 4.1, RFC 3986 A */
	"absolute-path = 1*( \"/\" segment )\n"
	"uri-host = host\n"
	"absolute-URI = scheme \":\" hier-part [ \"?\" query ]\n"
	"scheme = ALPHA *( ALPHA / DIGIT / \"+\" / \"-\" / \".\" )\n"
	"hier-part = \"//\" authority path-abempty / path-absolute / path-rootless / path-empty\n"
	"authority = [ userinfo \"@\" ] host [ \":\" port ]\n"
	"userinfo = *( unreserved / pct-encoded / sub-delims / \":\" )\n"
	"host = IP-literal / IPv4address / reg-name\n"
	"port = *DIGIT\n"
	"IP-literal = \"[\" ( IPv6address / IPvFuture ) \"]\"\n"
	"IPvFuture = \"v\" 1*HEXDIG \".\" 1*( unreserved / sub-delims / \":\" )\n"
	"IPv6address = 6( h16 \":\" ) ls32 / \"::\" 5( h16 \":\" ) ls32 / [ h16 ] \"::\" 4( h16 \":\" ) ls32 "
	"/ "
	"[ *1( h16 \":\" ) h16 ] \"::\" 3( h16 \":\" ) ls32 / [ *2( h16 \":\" ) h16 ] \"::\" 2( h16 \":\" ) "
	"ls32 / "
	"[ *3( h16 \":\" ) h16 ] \"::\" h16 \":\" ls32 / [ *4( h16 \":\" ) h16 ] \"::\" ls32 / "
	"[ *5( h16 \":\" ) h16 ] \"::\" h16 / [ *6( h16 \":\" ) h16 ] \"::\"\n"
	"h16 = 1*4HEXDIG\n"
	"ls32 = h16 \":\" h16 / IPv4address\n"
	"IPv4address = dec-octet \".\" dec-octet \".\" dec-octet \".\" dec-octet\n"
	"dec-octet = DIGIT / %x31-39 DIGIT / \"1\" 2DIGIT / \"2\" %x30-34 DIGIT / \"25\" %x30-35\n"
	"reg-name = *( unreserved / pct-encoded / sub-delims )\n"
	"path-abempty = *( \"/\" segment )\n"
	"path-absolute = \"/\" [ segment-nz *( \"/\" segment ) ]\n"
	"path-rootless = segment-nz *( \"/\" segment )\n"
	"path-empty = \"\"\n"
	"segment = *pchar\n"
	"segment-nz = 1*pchar\n"
	"pchar = unreserved / pct-encoded / sub-delims / \":\" / \"@\"\n"
	"query = *( pchar / \"/\" / \"?\" )\n"
	"pct-encoded = \"%\" HEXDIG HEXDIG\n"
	"unreserved = ALPHA / DIGIT / \"-\" / \".\" / \"_\" / \"~\"\n"
	"sub-delims = \"!\" / \"$\" / \"&\" / \"'\" / \"(\" / \")\" / \"*\" / \"+\" / \",\" / \";\" / \"=\"\n"
	/* RFC 9110 7.2, 7.6.1, 8.6, 10.1.1 and RFC 9112 6.1; lists as a recipient must read them (5.6.1.2) */
	"Host-field = uri-host [ \":\" port ]\n"
	"Content-Length = 1*DIGIT\n"
	"Connection = [ token ] *( OWS \",\" OWS [ token ] )\n"
	"Transfer-Encoding = [ transfer-coding ] *( OWS \",\" OWS [ transfer-coding ] )\n"
	"transfer-coding = token *( OWS \";\" OWS transfer-parameter )\n"
	"transfer-parameter = token BWS \"=\" BWS ( token / quoted-string )\n"
	"Expect = [ expectation ] *( OWS \",\" OWS [ expectation ] )\n"
	"expectation = token [ \"=\" ( token / quoted-string ) parameters ]\n"
	/* RFC 9112 7.1 */
	"chunk-line = chunk-size [ chunk-ext ]\n"
	"chunk-size = 1*HEXDIG\n"
	"chunk-ext = *( BWS \";\" BWS token [ BWS \"=\" BWS ( token / quoted-string ) ] )\n"
	/* Not the standards': what else Phoenix takes. README, "What Phoenix refuses", says which bytes a
	 * target may not have. */
	"our-byte = %x21 / %x24-3B / %x3D / %x3F-5B / %x5D-7E\n"
	"our-origin-form = \"/\" *our-byte\n"
	"our-absolute-form = \"http://\" 1*our-byte\n";

/* X(NAME, taken, "what") */
#define READING_DEVIATIONS(X)                                                                                \
	X(TARGET_BYTES, true, "targets as browsers send them: [ ] ^ ` { | } and % without two digits")       \
	X(NO_STATUS_SPACE, true, "a status line without the space behind the status")                        \
	X(VERSION, false, "versions other than HTTP/1.1 and HTTP/1.0: 505")                                  \
	X(CONNECT, false, "CONNECT: nobody here opens tunnels")                                              \
	X(ABSOLUTE, false, "absolute-form of another scheme, with user information or without a host")       \
	X(HOST_EMPTY, false, "an empty Host")                                                                \
	X(HOST_PORT, false,                                                                                  \
	  "a port over 65535: nobody listens there, and who cuts it to 16 bits goes elsewhere")              \
	X(HOST_COMMA, false, "a comma in Host: it would be two hosts to who joins fields")                   \
	X(HOST_FUTURE, false, "IPvFuture literals: there is no such address")                                \
	X(STATUS_RANGE, false, "status codes under 100 and over 599")                                        \
	X(LENGTH_TWICE, false, "Content-Length twice or as a list, with equal values")                       \
	X(LENGTH_LONG, false, "Content-Length of more than 18 digits")                                       \
	X(CODING, false, "transfer codings other than one \"chunked\": 501")                                 \
	X(CODING_TWICE, false, "Transfer-Encoding in two fields")                                            \
	X(BOTH_FRAMINGS, false, "Content-Length beside Transfer-Encoding")                                   \
	X(EXPECT, false, "expectations other than 100-continue: 417")                                        \
	X(REQUEST_FIELDS, false, "responses with a Host or an Expect that a request could not have")

enum reading_deviation {
#define X(name, taken, what) READING_##name,
	READING_DEVIATIONS(X)
#undef X
		READING_DEVIATION_COUNT,
};

static const struct {
	bool taken;
	const char *name, *what;
} reading_deviations[] = {
#define X(name, taken, what) {taken, #name, what},
	READING_DEVIATIONS(X)
#undef X
};

enum reading_verdict { READING_INCOMPLETE, READING_INVALID, READING_VALID };

enum reading_framing { READING_NO_BODY, READING_LENGTH, READING_CHUNKED, READING_UNTIL_CLOSE };

struct reading {
	bool response;
	enum reading_verdict verdict;
	uint32_t deviations; /* bits */
	size_t length;
	struct slice method, target, authority, path, query; /* query with its "?" */
	unsigned minor, status;
	struct {
		struct slice name, value;
	} fields[READING_FIELDS_MAX];
	unsigned field_count;
	enum reading_framing framing;
	unsigned long long content_length;
	bool persists, continues;
};

#define READING_RULES(X)                                                                                     \
	X(request_line, "request-line")                                                                      \
	X(status_line, "status-line")                                                                        \
	X(field_line, "field-line")                                                                          \
	X(origin_form, "origin-form")                                                                        \
	X(absolute_form, "absolute-form")                                                                    \
	X(host, "Host-field")                                                                                \
	X(content_length, "Content-Length")                                                                  \
	X(connection, "Connection")                                                                          \
	X(transfer_encoding, "Transfer-Encoding")                                                            \
	X(expect, "Expect")                                                                                  \
	X(future, "IP-literal")                                                                              \
	X(chunk_line, "chunk-line")                                                                          \
	X(our_origin_form, "our-origin-form")                                                                \
	X(our_absolute_form, "our-absolute-form")

static struct {
#define X(name, rule) struct abnf_matcher *name;
	READING_RULES(X)
#undef X
} rules;

__attribute__((constructor)) static void reading_prepare(void)
{
	static struct abnf abnf;
	abnf_read(&abnf, http_grammar);
#define X(name, rule) rules.name = abnf_matcher_create(&abnf, rule);
	READING_RULES(X)
#undef X
}

__attribute__((destructor)) static void reading_forget(void)
{
#define X(name, rule) free(rules.name);
	READING_RULES(X)
#undef X
}

static inline void reading_deviates(struct reading *r, enum reading_deviation deviation)
{
	r->deviations |= UINT32_C(1) << deviation;
}

static inline bool reading_is(struct slice s, const char *word)
{
	return slice_equal_nocase(s, slice_str(word));
}

/* The line at the beginning of `rest`, without its CR LF; false when its end is not there. */
static inline bool reading_line(struct slice *rest, struct slice *line)
{
	const char *end = rest->len ? memmem(rest->ptr, rest->len, "\r\n", 2) : NULL;
	if (!end)
		return false;
	*line = slice_of(rest->ptr, (size_t)(end - rest->ptr));
	*rest = slice_of(end + 2, rest->len - line->len - 2);
	return true;
}

/* --- host and target ------------------------------------------------------------------------------------ */

/* Host, or the authority of an http URI. */
static inline bool reading_host(struct reading *r, struct slice value)
{
	bool literal = value.len && value.ptr[0] == '[';
	if (!abnf_matches(rules.host, value))
		return false;
	if (value.len == 0 || value.ptr[0] == ':')
		reading_deviates(r, READING_HOST_EMPTY);
	const char *colon = value.len ? memrchr(value.ptr, ':', value.len) : NULL;
	size_t port_len = colon ? (size_t)(value.ptr + value.len - colon) - 1 : 0;
	char port[32] = "";
	if (port_len && !memchr(colon, ']', port_len + 1)) {
		while (port_len > 1 && colon[1] == '0')
			colon++, port_len--;
		memcpy(port, colon + 1, port_len < 20 ? port_len : 20);
		if (port_len >= 20 || strtoull(port, NULL, 10) > 65535)
			reading_deviates(r, READING_HOST_PORT);
	}
	if (literal && (value.ptr[1] == 'v' || value.ptr[1] == 'V'))
		reading_deviates(r, READING_HOST_FUTURE);
	else if (value.len && memchr(value.ptr, ',', value.len))
		reading_deviates(r, READING_HOST_COMMA);
	return true;
}

static inline void reading_split_query(struct reading *r, struct slice text)
{
	const char *mark = text.len ? memchr(text.ptr, '?', text.len) : NULL;
	size_t len = mark ? (size_t)(mark - text.ptr) : text.len;
	r->path = slice_of(text.ptr, len);
	r->query = slice_of(text.ptr + len, text.len - len);
}

static inline bool reading_absolute(struct reading *r)
{
	struct slice rest = slice_of(r->target.ptr + 7, r->target.len - 7);
	size_t n = 0;
	while (n < rest.len && !strchr("/?", rest.ptr[n]))
		n++;
	r->authority = slice_of(rest.ptr, n);
	reading_split_query(r, slice_of(rest.ptr + n, rest.len - n));
	if (r->path.len == 0)
		r->path = slice_equal(r->method, SLICE("OPTIONS")) && r->query.len == 0 ? SLICE("*")
											: SLICE("/");
	return reading_host(r, r->authority);
}

/* RFC 9112 3.2: which form may it be with this method? */
static inline bool reading_target(struct reading *r)
{
	bool http = r->target.len > 7 && strncasecmp(r->target.ptr, "http://", 7) == 0;
	if (slice_equal(r->method, SLICE("CONNECT"))) {
		reading_deviates(r, READING_CONNECT);
		return true;
	}
	if (slice_equal(r->target, SLICE("*"))) {
		r->path = r->target;
		return slice_equal(r->method, SLICE("OPTIONS"));
	}
	if (abnf_matches(rules.our_origin_form, r->target)) {
		if (!abnf_matches(rules.origin_form, r->target))
			reading_deviates(r, READING_TARGET_BYTES);
		reading_split_query(r, r->target);
		return true;
	}
	bool absolute = abnf_matches(rules.absolute_form, r->target);
	if (http && abnf_matches(rules.our_absolute_form, r->target)) {
		/* User information and a missing host are the grammar's, but no server may take them
		 * (RFC 9110 4.2.1, 4.2.4). */
		if (reading_absolute(r)) {
			if (!absolute)
				reading_deviates(r, READING_TARGET_BYTES);
			return true;
		}
	}
	if (absolute)
		reading_deviates(r, READING_ABSOLUTE);
	return absolute;
}

/* --- first lines ---------------------------------------------------------------------------------------- */

static inline bool reading_version(struct reading *r, struct slice version)
{
	if (version.ptr[5] != '1' || version.ptr[7] > '1')
		reading_deviates(r, READING_VERSION);
	r->minor = (unsigned)(version.ptr[7] - '0');
	return true;
}

static inline bool reading_request_line(struct reading *r, struct slice line)
{
	const char *first = memchr(line.ptr, ' ', line.len), *last = memrchr(line.ptr, ' ', line.len);
	if (!first || first == last)
		return false;
	r->method = slice_of(line.ptr, (size_t)(first - line.ptr));
	r->target = slice_of(first + 1, (size_t)(last - first) - 1);
	if (!abnf_matches(rules.request_line, line)) {
		/* Then only because of the target's bytes: with another one it must be a request line. */
		char other[512];
		int n = snprintf(other, sizeof(other), "%.*s /%.*s", SLICE_ARG(r->method),
				 (int)(line.ptr + line.len - last), last);
		if (n >= (int)sizeof(other) || memchr(line.ptr, 0, line.len) ||
		    !abnf_matches(rules.request_line, slice_of(other, (size_t)n)))
			return false;
		if (!abnf_matches(rules.our_origin_form, r->target) &&
		    !abnf_matches(rules.our_absolute_form, r->target))
			return false;
	}
	return reading_version(r, slice_of(last + 1, 8)) && reading_target(r);
}

static inline bool reading_status_line(struct reading *r, struct slice line)
{
	char spaced[512];
	if (!abnf_matches(rules.status_line, line)) {
		if (line.len != 12)
			return false;
		memcpy(spaced, line.ptr, line.len);
		spaced[line.len] = ' ';
		if (!abnf_matches(rules.status_line, slice_of(spaced, line.len + 1)))
			return false;
		reading_deviates(r, READING_NO_STATUS_SPACE);
	}
	for (unsigned i = 9; i < 12; i++)
		r->status = r->status * 10 + (unsigned)(line.ptr[i] - '0');
	if (r->status < 100 || r->status > 599)
		reading_deviates(r, READING_STATUS_RANGE);
	return reading_version(r, line);
}

/* --- what fields mean ----------------------------------------------------------------------------------- */

/* Is `word` an element of one of the fields called `name`? */
static inline bool reading_lists(const struct reading *r, const char *name, struct slice word)
{
	for (unsigned i = 0; i < r->field_count; i++) {
		struct slice rest = r->fields[i].value, element;
		if (!reading_is(r->fields[i].name, name))
			continue;
		while (slice_split(&rest, ',', &element)) {
			if (slice_equal_nocase(element, word))
				return true;
		}
	}
	return false;
}

static inline unsigned reading_count(const struct reading *r, const char *name)
{
	unsigned count = 0;
	for (unsigned i = 0; i < r->field_count; i++)
		count += reading_is(r->fields[i].name, name);
	return count;
}

/* Elements that are not empty and not `word`; quotes are no matter, they make an element another one. */
static inline unsigned reading_others(struct slice list, const char *word)
{
	unsigned others = 0;
	struct slice element;
	while (slice_split(&list, ',', &element))
		others += element.len && !reading_is(element, word);
	return others;
}

static inline bool reading_length(struct reading *r, struct slice value)
{
	struct slice rest = value, first = {0}, element;
	bool list = value.len && memchr(value.ptr, ',', value.len);
	while (slice_split(&rest, ',', &element)) {
		if (!abnf_matches(rules.content_length, element))
			return false;
		if (first.ptr && !slice_equal(first, element))
			return false;
		first = element;
	}
	if (list)
		reading_deviates(r, READING_LENGTH_TWICE);
	if (first.len > 18)
		reading_deviates(r, READING_LENGTH_LONG);
	else
		for (size_t i = r->content_length = 0; i < first.len; i++)
			r->content_length = r->content_length * 10 + (unsigned)(first.ptr[i] - '0');
	return true;
}

static inline bool reading_field(struct reading *r, struct slice name, struct slice value)
{
	if (reading_is(name, "connection"))
		return abnf_matches(rules.connection, value);
	if (reading_is(name, "content-length")) {
		unsigned long long before = r->content_length;
		if (!reading_length(r, value))
			return false;
		if (reading_count(r, "content-length") < 2)
			return true;
		reading_deviates(r, READING_LENGTH_TWICE);
		return before == r->content_length;
	}
	if (reading_is(name, "transfer-encoding")) {
		if (!abnf_matches(rules.transfer_encoding, value))
			return false;
		if (reading_count(r, "transfer-encoding") > 1)
			reading_deviates(r, READING_CODING_TWICE);
		else if (reading_others(value, "chunked") ||
			 !reading_lists(r, "transfer-encoding", SLICE("chunked")))
			reading_deviates(r, READING_CODING);
		return true;
	}
	if (r->response) {
		struct reading as_request = {0};
		bool host = reading_is(name, "host"), expect = reading_is(name, "expect");
		if ((host && (reading_count(r, "host") > 1 || !reading_host(&as_request, value) ||
			      as_request.deviations)) ||
		    (expect && reading_others(value, "100-continue")))
			reading_deviates(r, READING_REQUEST_FIELDS);
		return true;
	}
	if (reading_is(name, "host"))
		return reading_count(r, "host") == 1 && reading_host(r, value);
	if (reading_is(name, "expect")) {
		if (!abnf_matches(rules.expect, value))
			return false;
		if (reading_others(value, "100-continue"))
			reading_deviates(r, READING_EXPECT);
		r->continues |= reading_lists(r, "expect", SLICE("100-continue"));
	}
	return true;
}

/* How often "chunked" is said, all fields together. */
static inline unsigned reading_chunked(const struct reading *r)
{
	unsigned count = 0;
	for (unsigned i = 0; i < r->field_count; i++) {
		struct slice rest = r->fields[i].value, element;
		while (reading_is(r->fields[i].name, "transfer-encoding") &&
		       slice_split(&rest, ',', &element))
			count += reading_is(element, "chunked");
	}
	return count;
}

/* RFC 9112 6.3, 9.3. */
static inline bool reading_whole(struct reading *r)
{
	bool coding = reading_count(r, "transfer-encoding"), length = reading_count(r, "content-length");
	if (!r->response && r->minor == 1 && !reading_count(r, "host"))
		return false;
	if (coding && (r->minor == 0 || reading_chunked(r) > 1))
		return false;
	if (coding && length)
		reading_deviates(r, READING_BOTH_FRAMINGS);
	bool bodyless = r->response && (r->status < 200 || r->status == 204 || r->status == 304);
	r->framing = bodyless			   ? READING_NO_BODY
		     : coding			   ? READING_CHUNKED
		     : length && r->content_length ? READING_LENGTH
		     : length || !r->response	   ? READING_NO_BODY
						   : READING_UNTIL_CLOSE;
	r->persists = !reading_lists(r, "connection", SLICE("close")) &&
		      (r->minor == 1 || reading_lists(r, "connection", SLICE("keep-alive")));
	return true;
}

/* Reads a head. Slices point into the text. */
static inline void reading_read(struct reading *r, struct slice text, bool response)
{
	struct slice rest = text, line;
	*r = (struct reading){.response = response};
	/* RFC 9112 2.2: one empty line before a request is passed over. */
	if (!response && slice_starts(rest, SLICE("\r\n")))
		rest = slice_of(rest.ptr + 2, rest.len - 2);
	if (!reading_line(&rest, &line))
		return;
	bool valid = response ? reading_status_line(r, line) : reading_request_line(r, line);
	while (reading_line(&rest, &line)) {
		if (line.len == 0) {
			r->length = (size_t)(rest.ptr - text.ptr);
			r->verdict = valid && reading_whole(r) ? READING_VALID : READING_INVALID;
			return;
		}
		if (r->field_count == READING_FIELDS_MAX || !abnf_matches(rules.field_line, line)) {
			valid = false;
			continue;
		}
		const char *colon = memchr(line.ptr, ':', line.len);
		struct slice name = slice_of(line.ptr, (size_t)(colon - line.ptr));
		struct slice value = slice_trim(slice_of(colon + 1, line.len - name.len - 1));
		r->fields[r->field_count].name = name;
		r->fields[r->field_count++].value = value;
		valid &= reading_field(r, name, value);
	}
}

/* Should Phoenix take it, the deviations considered? */
static inline bool reading_is_taken(const struct reading *r)
{
	if (r->verdict != READING_VALID)
		return false;
	for (unsigned i = 0; i < READING_DEVIATION_COUNT; i++) {
		if ((r->deviations >> i & 1) && !reading_deviations[i].taken)
			return false;
	}
	return true;
}

#endif

# SPDX-License-Identifier: Apache-2.0
"""
bad_requests: what a client must not be able to say, and the odd things that it may.

Each row is one request, as bytes. REFUSED rows get one of the named statuses, a closed connection, and not
one byte of them (or of the valid request that follows in the same segment) reaches the upstream; where the
fault is in the body, the upstream may have seen the head, but never a complete message. ODD rows are valid:
what arrives at the upstream is compared field by field. EITHER rows are left open by the RFCs: refused, or
passed on meaning the same thing.

Every row is sent in one segment and a second time byte by byte. The columns `rfc` name the rule.
With haproxy or nginx as the subject the table shows where those two are laxer (tests/README.md).
"""
import time
from collections import namedtuple

from lib.case import Bench, check, equal, subjects, table
from lib.net import Client, Cut, chunks, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix", "haproxy", "nginx")

Row = namedtuple("Row", "name raw want rfc body")
Odd = namedtuple("Odd", "name raw target fields content rfc method")
AFTER = b"GET /after HTTP/1.1\r\nHost: test\r\n\r\n"
REFUSED, ODD, EITHER = [], [], []


def bad(name, raw, want=(400,), rfc="", body=False):
    REFUSED.append(Row(name, raw, set(want), rfc, body))


def head(line=b"GET / HTTP/1.1", *fields, host=True):
    out = line + b"\r\n" + (b"Host: test\r\n" if host else b"")
    return out + b"".join(f + b"\r\n" for f in fields) + b"\r\n"


def odd(name, raw, target="/", fields=(), content=b"", rfc="", method=None):
    ODD.append(Odd(name, raw, target, list(fields), content, rfc, method or raw.split(b" ")[0].strip().decode()))


def either(name, raw, rfc=""):
    EITHER.append(Row(name, raw, {400, 414, 421, 431, 501, 505, 404}, rfc, False))


def names(byte):
    return f"{byte:02x}"


# --- RFC 9112 3: the request line -------------------------------------------------------------------------
for name, line in [
    ("no-version", b"GET /"), ("no-target", b"GET HTTP/1.1"), ("no-target-two-spaces", b"GET  HTTP/1.1"),
    ("only-method", b"GET"), ("no-method", b" / HTTP/1.1"), ("leading-space", b" GET / HTTP/1.1"),
    ("leading-tab", b"\tGET / HTTP/1.1"), ("two-spaces-before-target", b"GET  / HTTP/1.1"),
    ("two-spaces-before-version", b"GET /  HTTP/1.1"), ("trailing-space", b"GET / HTTP/1.1 "),
    ("tab-before-target", b"GET\t/ HTTP/1.1"), ("tab-before-version", b"GET /\tHTTP/1.1"),
    ("trailing-tab", b"GET / HTTP/1.1\t"), ("space-in-target", b"GET /a b HTTP/1.1"),
    ("four-words", b"GET / x HTTP/1.1"), ("trailing-word", b"GET / HTTP/1.1 x"),
    ("vt-separator", b"GET\x0b/\x0bHTTP/1.1"), ("ff-separator", b"GET\x0c/\x0cHTTP/1.1"),
    ("nbsp-separator", b"GET\xa0/\xa0HTTP/1.1"), ("cr-separator", b"GET\r/\rHTTP/1.1"),
    ("two-requests-in-one-line", b"GET / HTTP/1.1 GET / HTTP/1.1"), ("nul-first", b"\x00GET / HTTP/1.1"),
]:
    bad(f"line-{name}", head(line), (400, 505), "9112 3")
for name, version in [
    ("lower-case", b"http/1.1"), ("mixed-case", b"Http/1.1"), ("https", b"HTTPS/1.1"), ("no-slash", b"HTTP1.1"),
    ("no-minor", b"HTTP/1"), ("no-minor-dot", b"HTTP/1."), ("no-major", b"HTTP/.1"), ("empty", b"HTTP/"),
    ("two-digit-minor", b"HTTP/1.10"), ("zero-padded-minor", b"HTTP/1.01"), ("zero-padded-major", b"HTTP/01.1"),
    ("two-digit-major", b"HTTP/11.1"), ("three-parts", b"HTTP/1.1.1"), ("comma", b"HTTP/1,1"), ("sign", b"HTTP/+1.1"),
    ("minus", b"HTTP/-1.1"), ("letter", b"HTTP/1.x"), ("junk-after", b"HTTP/1.1x"), ("space-inside", b"HTTP/ 1.1"),
    ("space-after-dot", b"HTTP/1. 1"), ("nul-after", b"HTTP/1.1\x00"), ("hex", b"HTTP/0x1.1"),
    ("other-protocol", b"ICY/1.1"), ("rtsp", b"RTSP/1.0"), ("sip", b"SIP/2.0"), ("arabic-digit", b"HTTP/\xd9\xa1.1"),
]:
    bad(f"version-{name}", head(b"GET / " + version), (400, 505), "9112 2.3")
for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/0.0"):
    bad(f"version-{version.decode()[5:]}", head(b"GET / " + version), (505, 400), "9110 15.6.6")
either("version-1.2", head(b"GET / HTTP/1.2"), "9110 2.5: a higher minor version is understood as ours")
either("version-1.9", head(b"GET / HTTP/1.9"), "9110 2.5")
bad("http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505), "9113 3.4")
bad("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 40 + b"\r\n\r\n", (400,), "9112 3")
bad("ssh-banner", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", (400,), "9112 3")
bad("proxy-protocol-v1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + head(), (400, 505), "9112 3")
bad("a-response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (400, 505), "9112 3")

# --- RFC 9110 9.1, 5.6.2: the method is a token -----------------------------------------------------------
for byte in b'"(),/:;<=>?@[\\]{}':
    bad(f"method-with-{names(byte)}", head(b"GE" + bytes([byte]) + b"T / HTTP/1.1"), (400, 501), "9110 9.1")
for byte in (0, 1, 8, 0x0b, 0x1f, 0x7f, 0x80, 0xc3, 0xff):
    bad(f"method-with-{names(byte)}", head(b"GE" + bytes([byte]) + b"T / HTTP/1.1"), (400, 501), "9110 9.1")
bad("method-endless", b"A" * 40000, (400, 414, 431, 501), "9112 3")

# --- RFC 9112 3.2: the target -----------------------------------------------------------------------------
for byte in list(range(1, 0x20)) + [0, 0x7f]:
    if byte not in (0x0a,):
        bad(f"target-with-{names(byte)}", head(b"GET /a" + bytes([byte]) + b"b HTTP/1.1"), (400,), "9112 3.2, 3986 2")
for byte in b'"<>\\^`{|}':
    either(f"target-with-{names(byte)}", head(b"GET /a" + bytes([byte]) + b"b HTTP/1.1"), "3986 2: not a URI character")
for byte in (0x80, 0xc3, 0xff):
    either(f"target-with-{names(byte)}", head(b"GET /a" + bytes([byte]) + b"b HTTP/1.1"), "3986 2")
either("target-percent-cut", head(b"GET /a% HTTP/1.1"), "3986 2.1")
either("target-percent-odd", head(b"GET /a%zz HTTP/1.1"), "3986 2.1")
either("target-percent-nul", head(b"GET /a%00b HTTP/1.1"), "3986 2.1")
for name, target in [
    ("fragment", b"/a#b"), ("no-slash", b"a"), ("dot", b"."), ("only-query", b"?x=1"), ("asterisk-get", b"*"),
    ("asterisk-more", b"*/a"), ("scheme-alone", b"http:"), ("scheme-one-slash", b"http:/a"),
    ("scheme-empty-host", b"http:///a"), ("scheme-no-host", b"http://"), ("scheme-port-alone", b"http://:80/"),
    ("userinfo", b"http://user@test/"), ("userinfo-password", b"http://a:b@test/"), ("port-letters", b"http://test:abc/"),
    ("port-negative", b"http://test:-1/"), ("host-space", b"http://te%st /"),
    ("backslash-host", b"http:\\\\test\\"), ("v6-unclosed", b"http://[::1/"), ("v6-junk", b"http://[zz]/"),
    ("absolute-fragment", b"http://test/a#b"), ("ftp", b"ftp://test/"), ("no-scheme", b"://test/"),
    ("mailto", b"mailto:a@b"), ("javascript", b"javascript:alert(1)"), ("authority-get", b"test:80"),
    ("nul-target", b"\x00"),
]:
    bad(f"target-{name}", head(b"GET " + target + b" HTTP/1.1"), (400, 404, 421), "9112 3.2")
bad("target-asterisk-post", head(b"POST * HTTP/1.1", b"Content-Length: 0"), (400, 404), "9112 3.2.4")
bad("target-options-word", head(b"OPTIONS test HTTP/1.1"), (400,), "9112 3.2")
for name, line in [("authority", b"CONNECT test:443 HTTP/1.1"), ("path", b"CONNECT / HTTP/1.1"),
                   ("no-port", b"CONNECT test HTTP/1.1"), ("absolute", b"CONNECT http://test/ HTTP/1.1")]:
    bad(f"connect-{name}", head(line), (400, 403, 404, 405, 501), "9110 9.3.6")
bad("target-too-long", head(b"GET /" + b"a" * 40000 + b" HTTP/1.1"), (414, 431, 400), "9112 3")
either("target-https", head(b"GET https://test/ HTTP/1.1"), "9110 7.4: not our scheme")

# --- RFC 9112 2.2: line ends ------------------------------------------------------------------------------
bad("lf-everywhere", b"GET / HTTP/1.1\nHost: test\n\n", (400,), "9112 2.2")
bad("lf-request-line", b"GET / HTTP/1.1\nHost: test\r\n\r\n", (400,), "9112 2.2")
bad("lf-after-host", b"GET / HTTP/1.1\r\nHost: test\n\r\n", (400,), "9112 2.2")
bad("lf-field", b"GET / HTTP/1.1\r\nHost: test\r\nA: b\nC: d\r\n\r\n", (400,), "9112 2.2")
bad("lf-at-the-end", b"GET / HTTP/1.1\r\nHost: test\r\n\n", (400,), "9112 2.2")
bad("lf-first", b"\nGET / HTTP/1.1\r\nHost: test\r\n\r\n", (400,), "9112 2.2")
bad("cr-request-line", b"GET / HTTP/1.1\rHost: test\r\n\r\n", (400,), "9112 2.2")
bad("cr-everywhere", b"GET / HTTP/1.1\rHost: test\r\r" + b"\r\n\r\n", (400,), "9112 2.2")
bad("cr-in-value", head(b"GET / HTTP/1.1", b"A: b\rc"), (400,), "9112 2.2")
bad("cr-ends-value", b"GET / HTTP/1.1\r\nHost: test\r\nA: b\r\r\n\r\n", (400,), "9112 2.2")
bad("cr-smuggles-field", head(b"GET / HTTP/1.1", b"A: b\rTransfer-Encoding: chunked"), (400,), "9112 2.2")
bad("cr-first", b"\rGET / HTTP/1.1\r\nHost: test\r\n\r\n", (400,), "9112 2.2")
bad("cr-cr-lf", b"GET / HTTP/1.1\r\r\nHost: test\r\n\r\n", (400,), "9112 2.2")
bad("lf-cr", b"GET / HTTP/1.1\n\rHost: test\n\r\n\r", (400,), "9112 2.2")
bad("crlf-cr", b"GET / HTTP/1.1\r\nHost: test\r\n\rX: y\r\n\r\n", (400,), "9112 2.2")
bad("space-line-first", b" \r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n", (400,), "9112 2.2")
either("many-empty-lines-first", b"\r\n" * 50 + head(), "9112 2.2: at least one is ignored")

# --- RFC 9112 3.2, 9110 7.2: Host -------------------------------------------------------------------------
bad("host-missing", head(host=False), (400,), "9112 3.2")
bad("host-missing-absolute", head(b"GET http://test/ HTTP/1.1", host=False), (400,), "9112 3.2")
bad("host-missing-options", head(b"OPTIONS * HTTP/1.1", host=False), (400,), "9112 3.2")
bad("host-twice-equal", head(b"GET / HTTP/1.1", b"Host: test"), (400,), "9112 3.2")
bad("host-twice-different", head(b"GET / HTTP/1.1", b"Host: evil"), (400,), "9112 3.2")
bad("host-twice-case", head(b"GET / HTTP/1.1", b"hOST: test"), (400,), "9112 3.2")
bad("host-twice-1.0", head(b"GET / HTTP/1.0", b"Host: evil"), (400,), "9112 3.2")
bad("host-space-before-colon", head(b"GET / HTTP/1.1", b"Host : test", host=False), (400,), "9112 5.1")
for name, value in [
    ("space", b"te st"), ("slash", b"test/x"), ("at", b"user@test"), ("question", b"test?x"), ("fragment", b"test#x"),
    ("backslash", b"test\\x"), ("scheme", b"http://test"), ("comma", b"test,evil"), ("list", b"test, evil"),
    ("port-letters", b"test:80a"),
    ("port-negative", b"test:-80"), ("port-sign", b"test:+80"), ("two-ports", b"test:80:80"), ("v6-bare", b"::1"),
    ("v6-unclosed", b"[::1"), ("v6-junk-after", b"[::1]x"), ("v6-junk", b"[zz]"), ("v6-empty", b"[]"),
    ("v6-two-groups", b"[1:2]"), ("v6-nine-groups", b"[1:2:3:4:5:6:7:8:9]"), ("v6-two-gaps", b"[1::2::3]"),
    ("v6-three-colons", b"[1:::2]"), ("v6-long-group", b"[12345::]"), ("v6-ends-colon", b"[1:2:3:4:5:6:7:]"),
    ("v6-one-colon", b"[:1:2:3:4:5:6:7]"), ("v6-v4-long", b"[::1.2.3.4.5]"), ("v6-v4-zeros", b"[::01.2.3.4]"),
    ("v6-v4-large", b"[::256.1.1.1]"), ("v6-v4-alone", b"[1.2.3.4]"), ("v6-v4-first", b"[1.2.3.4::]"), ("v6-dot", b"[.]"),
    ("v6-zone", b"[fe80::1%25eth0]"), ("v6-future", b"[v1.a]"), ("port-large", b"test:65536"),
    ("port-huge", b"test:99999999999999999999"), ("port-wraps", b"test:4294967376"), ("v6-port-large", b"[::1]:65536"),
    ("quotes", b'"test"'), ("angle", b"<test>"), ("nul", b"te\x00st"), ("tab", b"te\tst"), ("del", b"te\x7fst"),
    ("high", b"t\xc3\xa9st"), ("caret", b"te^st"), ("brace", b"te{st}"), ("pipe", b"a|b"), ("percent-cut", b"te%2"),
    ("percent-odd", b"te%zzst"), ("colon-alone", b":"), ("port-alone", b":80"),
]:
    bad(f"host-{name}", head(b"GET / HTTP/1.1", b"Host: " + value, host=False), (400,), "9112 3.2, 3986 3.2")
either("target-port-too-large", head(b"GET http://test:99999/ HTTP/1.1"), "3986 3.2.3")
either("host-empty", head(b"GET / HTTP/1.1", b"Host:", host=False), "9112 3.2, 9110 4.2.1")
either("host-empty-port", head(b"GET / HTTP/1.1", b"Host: test:", host=False), "3986 3.2.3")
either("host-port-0", head(b"GET / HTTP/1.1", b"Host: test:0", host=False), "3986 3.2.3")

# --- RFC 9112 5, 9110 5: fields ---------------------------------------------------------------------------
for byte in b'"(),/;<=>?@[\\]{} \t':
    bad(f"name-with-{names(byte)}", head(b"GET / HTTP/1.1", b"X" + bytes([byte]) + b"Y: z"), (400,), "9110 5.1")
for byte in list(range(0, 9)) + list(range(0x0b, 0x0d)) + list(range(0x0e, 0x20)) + [0x7f, 0x80, 0xa0, 0xc3, 0xff]:
    bad(f"name-with-{names(byte)}", head(b"GET / HTTP/1.1", b"X" + bytes([byte]) + b"Y: z"), (400,), "9110 5.1")
for byte in list(range(0, 9)) + [0x0b, 0x0c] + list(range(0x0e, 0x20)) + [0x7f]:
    bad(f"value-with-{names(byte)}", head(b"GET / HTTP/1.1", b"X: y" + bytes([byte]) + b"z"), (400,), "9110 5.5")
    if byte in (0, 1, 0x0b, 0x0c, 0x7f):
        bad(f"value-begins-{names(byte)}", head(b"GET / HTTP/1.1", b"X:" + bytes([byte]) + b"z"), (400,), "9110 5.5")
        bad(f"value-ends-{names(byte)}", head(b"GET / HTTP/1.1", b"X: z" + bytes([byte])), (400,), "9110 5.5")
bad("field-no-colon", head(b"GET / HTTP/1.1", b"NoColon"), (400,), "9112 5")
bad("field-empty-name", head(b"GET / HTTP/1.1", b": value"), (400,), "9112 5")
bad("field-only-colon", head(b"GET / HTTP/1.1", b":"), (400,), "9112 5")
bad("field-space-before-colon", head(b"GET / HTTP/1.1", b"X : y"), (400,), "9112 5.1")
bad("field-tab-before-colon", head(b"GET / HTTP/1.1", b"X\t: y"), (400,), "9112 5.1")
bad("field-space-first", head(b"GET / HTTP/1.1", b" X: y", host=False), (400,), "9112 2.2")
bad("field-request-line-again", head(b"GET / HTTP/1.1", b"GET / HTTP/1.1"), (400,), "9112 5")
bad("fold-space", head(b"GET / HTTP/1.1", b"X: y\r\n z"), (400,), "9112 5.2")
bad("fold-tab", head(b"GET / HTTP/1.1", b"X: y\r\n\tz"), (400,), "9112 5.2")
bad("fold-empty", head(b"GET / HTTP/1.1", b"X: y\r\n "), (400,), "9112 5.2")
bad("fold-host", b"GET / HTTP/1.1\r\nHost:\r\n test\r\n\r\n", (400,), "9112 5.2")
bad("fold-after-request-line", b"GET / HTTP/1.1\r\n Host: test\r\n\r\n", (400,), "9112 2.2")
bad("fold-length", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length:\r\n 5\r\n\r\nhello", (400,), "9112 5.2")
bad("fold-te", b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", (400, 501), "9112 5.2")
bad("fold-te-value", b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n ,identity\r\n\r\n0\r\n\r\n",
    (400, 501), "9112 5.2")
bad("fields-too-large", head(b"GET / HTTP/1.1", b"X: " + b"a" * 40000), (431, 400), "6585 5")
bad("fields-too-many", head(b"GET / HTTP/1.1", *[b"X%d: y" % i for i in range(4000)]), (431, 400), "6585 5")
bad("name-too-large", head(b"GET / HTTP/1.1", b"X" * 40000 + b": y"), (431, 400), "6585 5")

# --- RFC 9112 6.3, 9110 8.6: Content-Length ---------------------------------------------------------------
for name, value in [
    ("negative", b"-1"), ("plus", b"+5"), ("hex", b"0x5"), ("float", b"5.0"), ("exponent", b"5e0"), ("empty", b""),
    ("blank", b"   "), ("word", b"five"), ("semicolon", b"5;"), ("parameter", b"5; a=b"), ("space-inside", b"5 5"),
    ("tab-inside", b"5\t5"), ("comma", b"5,"), ("list-equal", b"5, 5"), ("list-equal-tight", b"5,5"),
    ("list-different", b"5, 6"), ("list-empty-first", b",5"), ("quoted", b'"5"'), ("2-64", b"18446744073709551616"),
    ("2-64-plus-5", b"18446744073709551621"), ("2-63", b"9223372036854775808"), ("30-digits", b"9" * 30),
    ("2-32-in-hex", b"FFFFFFFF"), ("letter-after", b"5x"), ("letter-before", b"x5"), ("nul-after", b"5\x00"),
    ("vt-before", b"\x0b5"), ("nbsp", b"\xa05"), ("arabic", b"\xd9\xa5"), ("underscore", b"1_0"), ("minus-zero", b"-0"),
    ("two-dots", b"5..5"), ("bool", b"true"),
]:
    bad(f"length-{name}", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: " + value + b"\r\n\r\nhello",
        (400, 413) if name == "2-63" else (400,), "9112 6.3")
for name, first, second in [("twice-equal", b"5", b"5"), ("twice-different", b"5", b"6"), ("zero-and-5", b"0", b"5"),
                            ("5-and-zero", b"5", b"0"), ("junk-second", b"5", b"x"), ("empty-second", b"5", b"")]:
    bad(f"length-{name}", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: " + first + b"\r\nContent-Length: " +
        second + b"\r\n\r\nhello", (400,), "9112 6.3")
bad("length-twice-case", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\ncontent-LENGTH: 6\r\n\r\nhello",
    (400,), "9112 6.3")
bad("length-twice-apart", b"POST / HTTP/1.1\r\nContent-Length: 5\r\nHost: test\r\nA: b\r\nContent-Length: 6\r\n\r\nhello",
    (400,), "9112 6.3")
bad("length-get-negative", head(b"GET / HTTP/1.1", b"Content-Length: -5"), (400,), "9112 6.3")
bad("length-space-before-colon", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length : 5\r\n\r\nhello", (400,), "9112 5.1")
either("length-zero-padded", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0005\r\n\r\nhello", "9110 8.6: 1*DIGIT")
either("length-zero-padded-long", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: " + b"0" * 30 + b"5\r\n\r\nhello",
       "9110 8.6")

# --- RFC 9112 6.1: Transfer-Encoding ----------------------------------------------------------------------
TE = b"POST / HTTP/1.1\r\nHost: test\r\n%s\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
for name, value in [
    ("identity", b"identity"), ("gzip", b"gzip"), ("gzip-chunked", b"gzip, chunked"), ("chunked-gzip", b"chunked, gzip"),
    ("chunked-twice", b"chunked, chunked"), ("chunked-identity", b"chunked, identity"),
    ("identity-chunked", b"identity, chunked"), ("unknown", b"xchunked"), ("unknown-2", b"chunkedx"),
    ("unknown-3", b"chunk"), ("parameter", b"chunked;q=1"), ("parameter-2", b"chunked; a=b"), ("quoted", b'"chunked"'),
    ("single-quoted", b"'chunked'"), ("space-inside", b"chun ked"), ("tab-inside", b"chunked\tx"), ("empty", b""),
    ("comma", b","), ("vt", b"\x0bchunked"), ("ff", b"\x0cchunked"), ("vt-after", b"chunked\x0b"),
    ("nul-after", b"chunked\x00"), ("cr-after", b"chunked\r"), ("nbsp", b"\xa0chunked"), ("colon", b": chunked"),
    ("word", b"foo"), ("deflate", b"deflate"), ("slash", b"chunked/1"), ("semicolon", b"chunked;"),
]:
    bad(f"te-{name}", TE % (b"Transfer-Encoding: " + value), (400, 501), "9112 6.1")
for name, fields in [
    ("and-length", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
    ("and-length-after", b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
    ("and-length-zero", b"Content-Length: 0\r\nTransfer-Encoding: chunked"),
    ("and-length-right", b"Content-Length: 15\r\nTransfer-Encoding: chunked"),
    ("and-length-apart", b"Content-Length: 5\r\nA: b\r\nTransfer-Encoding: chunked"),
    ("and-length-case", b"content-length: 5\r\ntransfer-encoding: CHUNKED"),
    ("identity-and-length", b"Transfer-Encoding: identity\r\nContent-Length: 5"),
    ("unknown-and-length", b"Transfer-Encoding: foo\r\nContent-Length: 5"),
    ("two-fields", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ("two-fields-identity", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
    ("two-fields-identity-after", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    ("two-fields-unknown", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow"),
    ("space-before-colon", b"Transfer-Encoding : chunked"), ("tab-before-colon", b"Transfer-Encoding\t: chunked"),
    ("space-before-name", b"A: b\r\n Transfer-Encoding: chunked"),
    ("space-before-colon-length", b"Content-Length: 5\r\nTransfer-Encoding : chunked"),
    ("nul-name", b"Content-Length: 5\r\nTransfer-Encoding\x00: chunked"),
    ("named-by-connection", b"Connection: Transfer-Encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
]:
    bad(f"te-{name}", TE % fields, (400, 501), "9112 6.1, 6.3")
bad("te-1.0", b"POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", (400, 501),
    "9112 6.1")
bad("te-1.0-keep-alive", b"POST / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n", (400, 501), "9112 6.1")
bad("te-1.0-and-length", b"POST / HTTP/1.0\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n", (400, 501), "9112 6.1")
either("te-comma-after", TE % b"Transfer-Encoding: chunked,", "9110 5.6.1: empty elements")
either("te-comma-before", TE % b"Transfer-Encoding: , chunked", "9110 5.6.1")

# --- RFC 9112 7.1: chunks ---------------------------------------------------------------------------------
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
for name, raw in [
    ("size-empty", b"\r\nhello\r\n0\r\n\r\n"), ("size-letter", b"g\r\nhello\r\n0\r\n\r\n"),
    ("size-negative", b"-5\r\nhello\r\n0\r\n\r\n"), ("size-plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("size-0x", b"0x5\r\nhello\r\n0\r\n\r\n"), ("size-space-before", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("size-space-after", b"5 \r\nhello\r\n0\r\n\r\n"), ("size-tab-after", b"5\t\r\nhello\r\n0\r\n\r\n"),
    ("size-comma", b"5,5\r\nhello\r\n0\r\n\r\n"), ("size-dot", b"5.\r\nhello\r\n0\r\n\r\n"),
    ("size-2-64-minus-1", b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
    ("size-2-64", b"10000000000000000\r\nhello\r\n0\r\n\r\n"), ("size-2-64-plus-5", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("size-2-63", b"8000000000000000\r\nhello\r\n0\r\n\r\n"), ("size-40-digits", b"5" * 40 + b"\r\nhello\r\n0\r\n\r\n"),
    ("size-lf", b"5\nhello\r\n0\r\n\r\n"), ("size-cr", b"5\rhello\r\n0\r\n\r\n"), ("size-cr-cr-lf", b"5\r\r\nhello\r\n0\r\n\r\n"),
    ("size-nul", b"5\x00\r\nhello\r\n0\r\n\r\n"), ("size-high", b"\xb5\r\nhello\r\n0\r\n\r\n"),
    ("size-underscore", b"0_5\r\nhello\r\n0\r\n\r\n"), ("size-quoted", b"\"5\"\r\nhello\r\n0\r\n\r\n"),
    ("size-endless", b"0" * 40000), ("data-too-long", b"5\r\nhelloX\r\n0\r\n\r\n"), ("data-too-short", b"6\r\nhello\r\n0\r\n\r\n"),
    ("data-lf", b"5\r\nhello\n0\r\n\r\n"), ("data-cr", b"5\r\nhello\r0\r\n\r\n"), ("data-no-crlf", b"5\r\nhello0\r\n\r\n"),
    ("data-lf-cr", b"5\r\nhello\n\r0\r\n\r\n"), ("data-two-crlf", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("data-space", b"5\r\nhello \r\n0\r\n\r\n"),
    ("ext-empty", b"5;\r\nhello\r\n0\r\n\r\n"), ("ext-no-value", b"5;a=\r\nhello\r\n0\r\n\r\n"),
    ("ext-no-name", b"5;=b\r\nhello\r\n0\r\n\r\n"), ("ext-two-words", b"5;a b\r\nhello\r\n0\r\n\r\n"),
    ("ext-two-values", b"5;a=b=c\r\nhello\r\n0\r\n\r\n"), ("ext-behind-quote", b'5;a="b"c\r\nhello\r\n0\r\n\r\n'),
    ("ext-quote-open", b'5;a="b\r\nhello\r\n0\r\n\r\n'), ("ext-space-last", b"5;a \r\nhello\r\n0\r\n\r\n"),
    ("ext-two-semicolons", b"5;;a\r\nhello\r\n0\r\n\r\n"), ("ext-quoted-name", b'5;"a"\r\nhello\r\n0\r\n\r\n'),
    ("ext-nul", b"5;a=\x00\r\nhello\r\n0\r\n\r\n"), ("ext-lf", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("ext-cr", b"5;a\rb\r\nhello\r\n0\r\n\r\n"), ("ext-control", b"5;a=\x01\r\nhello\r\n0\r\n\r\n"),
    ("ext-endless", b"5;" + b"a" * 40000 + b"\r\nhello\r\n0\r\n\r\n"), ("ext-ends-lf", b"5;a\nhello\r\n0\r\n\r\n"),
    ("ext-many", b"".join(b"1;%s\r\nx\r\n" % (b"e" * 200) for _ in range(300)) + b"0\r\n\r\n"),
    ("last-letter", b"5\r\nhello\r\n0x\r\n\r\n"), ("last-lf", b"5\r\nhello\r\n0\n\r\n"), ("last-lf-lf", b"5\r\nhello\r\n0\n\n"),
    ("end-lf", b"5\r\nhello\r\n0\r\n\n"), ("end-junk", b"5\r\nhello\r\n0\r\nxx\r\n\r\n"),
    ("end-next-request", b"5\r\nhello\r\n0\r\n"), ("end-minus", b"5\r\nhello\r\n-0\r\n\r\n"),
    ("trailer-no-colon", b"5\r\nhello\r\n0\r\nNoColon\r\n\r\n"), ("trailer-empty-name", b"5\r\nhello\r\n0\r\n: x\r\n\r\n"),
    ("trailer-space-colon", b"5\r\nhello\r\n0\r\nA : x\r\n\r\n"), ("trailer-fold", b"5\r\nhello\r\n0\r\nA: x\r\n y\r\n\r\n"),
    ("trailer-fold-first", b"5\r\nhello\r\n0\r\n A: x\r\n\r\n"), ("trailer-nul", b"5\r\nhello\r\n0\r\nA: \x00\r\n\r\n"),
    ("trailer-lf", b"5\r\nhello\r\n0\r\nA: x\n\r\n"), ("trailer-lf-end", b"5\r\nhello\r\n0\r\nA: x\r\n\n"),
    ("trailer-cr", b"5\r\nhello\r\n0\r\nA: x\ry\r\n\r\n"), ("trailer-name-high", b"5\r\nhello\r\n0\r\n\xc3\xa9: x\r\n\r\n"),
    ("trailer-too-large", b"5\r\nhello\r\n0\r\nA: " + b"x" * 40000 + b"\r\n\r\n"),
    ("trailer-too-many", b"5\r\nhello\r\n0\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(4000)) + b"\r\n"),
    ("trailer-control", b"5\r\nhello\r\n0\r\nA: x\x01y\r\n\r\n"),
]:
    bad(f"chunk-{name}", CHUNKED + raw, (400, 413, 431), "9112 7.1", body=True)
either("chunk-size-zeros", CHUNKED + b"0" * 30 + b"5\r\nhello\r\n0\r\n\r\n", "9112 7.1: 1*HEXDIG")

# --- valid, though odd ------------------------------------------------------------------------------------
odd("plain", head())
odd("method-token-characters", head(b"!#$%&'*+-.^_`|~09Az / HTTP/1.1"), rfc="9110 5.6.2")
odd("method-lower-case", head(b"get / HTTP/1.1"), rfc="9110 9.1: case-sensitive, so another method")
odd("method-one-letter", head(b"M / HTTP/1.1"))
odd("method-long", head(b"A" * 64 + b" / HTTP/1.1"))
odd("target-all-characters", head(b"GET /-._~!$&'()*+,;=:@%41/?-._~!$&'()*+,;=:@/?%42 HTTP/1.1"),
    "/-._~!$&'()*+,;=:@%41/?-._~!$&'()*+,;=:@/?%42", rfc="3986 3.3, 3.4")
odd("target-double-slash", head(b"GET //a//b HTTP/1.1"), "//a//b")
odd("target-dots", head(b"GET /a/../b/./c HTTP/1.1"), "/a/../b/./c")
odd("target-encoded-slash", head(b"GET /a%2fb HTTP/1.1"), "/a%2fb")
odd("target-query-only-mark", head(b"GET /? HTTP/1.1"), "/?")
odd("target-two-marks", head(b"GET /a?b?c HTTP/1.1"), "/a?b?c")
odd("target-url-in-query", head(b"GET /a?u=http://x/y HTTP/1.1"), "/a?u=http://x/y")
odd("target-colon-first", head(b"GET /:a HTTP/1.1"), "/:a")
odd("target-8000-bytes", head(b"GET /" + b"a" * 7999 + b" HTTP/1.1"), "/" + "a" * 7999, rfc="9112 3: at least 8000")
odd("host-with-port", head(b"GET / HTTP/1.1", b"Host: test:8080", host=False), fields=[("Host", "test:8080")])
odd("host-v4", head(b"GET / HTTP/1.1", b"Host: 127.0.0.1:80", host=False), fields=[("Host", "127.0.0.1:80")])
odd("host-v6", head(b"GET / HTTP/1.1", b"Host: [::1]:8080", host=False), fields=[("Host", "[::1]:8080")])
for n, address in enumerate(b"[::] [1::] [1:2:3:4:5:6:7:8] [1:2:3:4:5:6:7::]:80 [::ffff:1.2.3.4] [1:2:3:4:5:6:1.2.3.4] [ABcd::ef]:65535".split()):
    odd(f"host-v6-{n}", head(b"GET / HTTP/1.1", b"Host: " + address, host=False), fields=[("Host", address.decode())])
odd("host-underscore", head(b"GET / HTTP/1.1", b"Host: my_host", host=False), fields=[("Host", "my_host")])
odd("host-trailing-dot", head(b"GET / HTTP/1.1", b"Host: test.", host=False), fields=[("Host", "test.")])
odd("host-case", head(b"GET / HTTP/1.1", b"hOsT: TeSt", host=False), fields=[("Host", "TeSt")])
odd("host-late", head(b"GET / HTTP/1.1", b"A: b", b"Host: test", host=False), fields=[("A", "b"), ("Host", "test")])
odd("name-token-characters", head(b"GET / HTTP/1.1", b"!#$%&'*+-.^_`|~09Az: v"),
    fields=[("!#$%&'*+-.^_`|~09Az", "v")], rfc="9110 5.1")
odd("value-empty", head(b"GET / HTTP/1.1", b"X:"), fields=[("X", "")])
odd("value-blank", head(b"GET / HTTP/1.1", b"X: \t "), fields=[("X", "")], rfc="9112 5.1")
odd("value-no-space", head(b"GET / HTTP/1.1", b"X:y"), fields=[("X", "y")])
odd("value-spaces-around", head(b"GET / HTTP/1.1", b"X: \t y \t "), fields=[("X", "y")], rfc="9112 5.1")
odd("value-tab-inside", head(b"GET / HTTP/1.1", b"X: a\tb"), fields=[("X", "a\tb")], rfc="9110 5.5")
odd("value-spaces-inside", head(b"GET / HTTP/1.1", b"X: a   b"), fields=[("X", "a   b")])
odd("value-high-bytes", head(b"GET / HTTP/1.1", b"X: \xc3\xa9\xff\x80"), fields=[("X", "\xc3\xa9\xff\x80")], rfc="9110 5.5")
odd("value-colon", head(b"GET / HTTP/1.1", b"X: a:b"), fields=[("X", "a:b")])
odd("value-all-printable", head(b"GET / HTTP/1.1", b"X: " + bytes(range(0x21, 0x7f))),
    fields=[("X", bytes(range(0x21, 0x7f)).decode())])
odd("same-name-twice", head(b"GET / HTTP/1.1", b"X: 1", b"X: 2"), fields=[("X", "1"), ("X", "2")])
odd("value-looks-like-field", head(b"GET / HTTP/1.1", b"X: Content-Length: 5"), fields=[("X", "Content-Length: 5")])
odd("length-zero", head(b"POST / HTTP/1.1", b"Content-Length: 0"))
odd("length-spaces", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: \t 5 \t\r\n\r\nhello", content=b"hello")
odd("length-case", b"POST / HTTP/1.1\r\nHost: test\r\ncONTENT-lENGTH: 5\r\n\r\nhello", content=b"hello")
odd("get-with-body", b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", content=b"hello", rfc="9110 9.3.1")
odd("delete-with-chunks", b"DELETE / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"hello"),
    content=b"hello")
odd("options-with-body", b"OPTIONS / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi", content=b"hi")
odd("body-looks-like-request", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 27\r\n\r\nGET /x HTTP/1.1\r\nHost: t\r\n\r\n"[:92],
    content=b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n"[:27])
odd("body-binary", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 256\r\n\r\n" + bytes(range(256)),
    content=bytes(range(256)))
odd("te-case", TE % b"transfer-ENCODING: ChUnKeD", content=b"hello", rfc="9112 7: case-insensitive")
odd("te-spaces", TE % b"Transfer-Encoding: \t chunked \t", content=b"hello")
odd("chunk-upper", CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", content=b"0123456789")
odd("chunk-lower", CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n", content=b"0123456789")
odd("chunk-zero-padded", CHUNKED + b"0005\r\nhello\r\n0\r\n\r\n", content=b"hello")
odd("chunk-last-zeros", CHUNKED + b"5\r\nhello\r\n000\r\n\r\n", content=b"hello", rfc="9112 7.1: 1*\"0\"")
odd("chunk-extension", CHUNKED + b"5;name=value;b=\"c d\";e\r\nhello\r\n0;x\r\n\r\n", content=b"hello", rfc="9112 7.1.1")
odd("chunk-extension-spaces", CHUNKED + b"5 ; a\t= b ;c\r\nhello\r\n0\r\n\r\n", content=b"hello", rfc="9112 7.1.1: BWS")
odd("chunk-extension-quoted-semicolon", CHUNKED + b"5;a=\";\\\"\"\r\nhello\r\n0\r\n\r\n", content=b"hello", rfc="9112 7.1.1")
odd("chunk-one-byte-each", CHUNKED + chunks(*[b"hello"[i:i + 1] for i in range(5)]), content=b"hello")
odd("chunk-empty-body", CHUNKED + b"0\r\n\r\n")
odd("chunk-data-with-crlf", CHUNKED + b"9\r\n\r\n0\r\n\r\nab\r\n0\r\n\r\n", content=b"\r\n0\r\n\r\nab")
odd("chunk-trailers", CHUNKED + b"5\r\nhello\r\n0\r\nX-T: v\r\n\r\n", content=b"hello", rfc="9112 7.1.2")
odd("connection-close", head(b"GET / HTTP/1.1", b"Connection: close"))
odd("connection-keep-alive", head(b"GET / HTTP/1.1", b"Connection: keep-alive"))
odd("connection-odd-list", head(b"GET / HTTP/1.1", b"Connection: ,,keep-alive ,, "), rfc="9110 5.6.1")
odd("http-1.0", head(b"GET / HTTP/1.0"))
odd("http-1.0-with-body", b"POST / HTTP/1.0\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", content=b"hello")
odd("one-empty-line-first", b"\r\n" + head(), method="GET", rfc="9112 2.2")
odd("cookie-list", head(b"GET / HTTP/1.1", b"Cookie: a=b; c=d", b"Cookie: e=f"), fields=[("Cookie", "a=b; c=d"), ("Cookie", "e=f")])
odd("range", head(b"GET / HTTP/1.1", b"Range: bytes=0-5,7-"), fields=[("Range", "bytes=0-5,7-")])
odd("upgrade-insecure", head(b"GET / HTTP/1.1", b"Upgrade-Insecure-Requests: 1"), fields=[("Upgrade-Insecure-Requests", "1")])


def setup():
    env = Bench()
    env.up = env.own(Upstream(lambda ex: response(200, ex.read_body())))
    env.gw = env.own(Gateway([route(legacy=env.up.url)], sanitized=True))
    env.body_up = env.own(Upstream(lambda ex: response(200, ex.read_body())))
    env.body_gw = env.own(Gateway([route(legacy=env.body_up.url)], sanitized=True))
    return env


def exchange_bytes(gateway, raw, bytewise):
    client = Client(gateway.address, timeout_s=8)
    if bytewise:
        step = max(1, len(raw) // 400)
        client.send_tolerant(*[raw[i:i + step] for i in range(0, len(raw), step)])
    else:
        client.send_tolerant(raw)
    return client


def refused(env, row, bytewise):
    """Rows whose fault is in the body have an upstream of their own: heads may reach it, at any time."""
    gateway, upstream = (env.body_gw, env.body_up) if row.body else (env.gw, env.up)
    try:
        with exchange_bytes(gateway, row.raw + AFTER, bytewise) as client:
            try:
                answer = client.response("CONNECT" if row.raw.startswith(b"CONNECT") else "GET")
            except (Cut, ConnectionResetError, BrokenPipeError) as cut:
                raise AssertionError(f"no answer, only an end: {cut}") from None
            check(answer.status in row.want, f"status {answer.status}, not one of {sorted(row.want)} (RFC {row.rfc})",
                  answer)
            check(0 < len(answer.body) < 2000, "a refusal says why, briefly", answer.body)
            check(client.ended(1), "the connection stays open, or more follows the refusal")
        if row.body:
            equal([(e.method, e.target, e.body[:60]) for e in upstream.seen if e.read], [], "complete messages at the upstream")
        else:
            equal([(e.method, e.target) for e in upstream.seen], [], "requests at the upstream")
            equal(upstream.raw_bytes, 0, "bytes at the upstream; those of a test before this one, if they came late")
    except AssertionError:
        time.sleep(0.2)  # let what is still on its way arrive, or the next row would be blamed
        upstream.forget()
        raise


def accepted(env, row, bytewise):
    env.up.forget()
    with exchange_bytes(env.gw, row.raw, bytewise) as client:
        answer = client.response("GET")
        equal((answer.status, answer.body), (200, row.content), f"answer (RFC {row.rfc})")
    equal(len(env.up.seen), 1, "requests at the upstream")
    ex = env.up.last()
    equal((ex.method, ex.target, ex.body), (row.method, row.target, row.content), "what arrived")
    wanted = {n.lower() for n, _ in row.fields}
    equal([(n.lower(), v) for n, v in ex.request.fields if n.lower() in wanted],
          [(n.lower(), v) for n, v in row.fields], "fields")
    equal(len(ex.all("host")), 1, "Host fields")
    env.up.forget()


@table(REFUSED)
def test_refused(env, row):
    refused(env, row, False)


@table(REFUSED)
def test_refused_in_bytes(env, row):
    refused(env, row, True)


@table(ODD)
def test_odd(env, row):
    accepted(env, row, False)


@table(ODD)
def test_odd_in_bytes(env, row):
    accepted(env, row, True)


@subjects("phoenix")
@table(EITHER)
def test_either(env, row):
    """Refused, or understood in exactly one way: then what goes on is the same request, well formed."""
    env.up.forget()
    with exchange_bytes(env.gw, row.raw, False) as client:
        answer = client.response("GET")
        if answer.status == 200:
            equal(len(env.up.seen), 1, "requests at the upstream")
            check(env.up.last().read, "not whole at the upstream")
            body = b"hello" if b"hello" in row.raw else b""
            equal(answer.body, body)
            target = row.raw.lstrip(b"\r\n").split(b" ")[1].decode("latin-1")
            if target.startswith("/"):
                equal(env.up.last().target, target)
        else:
            check(answer.status in row.want, f"status {answer.status} (RFC {row.rfc})")
            # a well-formed request for somebody else (404, 421) may leave the connection as it is
            check(answer.status in (404, 421) or client.ended(1), "the connection stays open after a refusal")
            equal(env.up.raw_bytes if b"chunked" not in row.raw else 0, 0, "bytes at the upstream")
    env.up.forget()


@subjects("phoenix")
@table([("in-request-line", b"GET /ha"), ("after-request-line", b"GET / HTTP/1.1\r\n"), ("in-name", b"GET / HTTP/1.1\r\nHo"),
        ("in-value", b"GET / HTTP/1.1\r\nHost: te"), ("before-last-lf", b"GET / HTTP/1.1\r\nHost: test\r\n\r")])
def test_head_cut(env, row):
    """A client that goes away in the head: nothing reaches the upstream, nothing is left behind."""
    env.up.forget()
    with Client(env.gw.address) as client:
        client.send(row[1])
        client.half_close()
        rest = client.reader.rest()
        check(rest == b"" or rest.startswith(b"HTTP/1.1 4"), rest)
    equal(env.up.raw_bytes, 0, "bytes at the upstream")


@subjects("phoenix")
@table([("length", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello"),
        ("chunk-data", CHUNKED + b"a\r\nhello"), ("chunk-size", CHUNKED + b"5\r\nhello\r\n1"),
        ("chunk-end", CHUNKED + b"5\r\nhello\r\n0\r\n"), ("trailer", CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n")])
def test_body_cut(env, row):
    """A client that goes away in the body: the upstream sees a cut message, never a complete one."""
    env.up.forget()
    with Client(env.gw.address) as client:
        client.send(row[1])
        client.half_close()
        rest = client.reader.rest()
        check(rest == b"" or rest.startswith(b"HTTP/1.1 4"), rest)
    wait_for("the upstream's connection ending", lambda: all(e.cut or e.read for e in env.up.seen))
    for ex in env.up.seen:
        check(not ex.read, "the upstream got a complete message", ex.body)


def test_no_refused_body_was_completed_later(env):
    wait_for("the end of every connection", lambda: all(e.cut or e.read or not e.open for e in env.body_up.seen))
    if env.gw.subject == "phoenix":
        equal([(e.method, e.target, e.body[:60]) for e in env.body_up.seen if e.read], [], "complete messages")


def test_still_well(env):
    """After all of this an ordinary request is answered."""
    env.up.forget()
    equal(env.gw.ask("POST", "/", body=b"fine").body, b"fine")

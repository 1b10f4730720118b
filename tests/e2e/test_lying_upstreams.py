# SPDX-License-Identifier: Apache-2.0
"""
lying_upstreams: what an upstream must not be able to make a client believe.

Each row is what the upstream sends as its answer, and how it goes on (CLOSE, RESET, or STAY open). A lie in
the head is a 502 (or 504 when the upstream just stays); where the head was good and the body lies, the client
sees a message that is visibly cut. Never a complete-looking one, and never does the next request, which the
gateway may send on another or the same connection, get a byte of it.

TRUTH rows are odd but right and must arrive. Each row runs against a 1.1 client; those with bodies also
against a 1.0 client, to which a cut can only be shown by a reset.
"""
from collections import namedtuple

from lib.case import Bench, check, equal, subjects, table
from lib.net import Client, Cut, Malformed, response
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix", "haproxy", "nginx")
CLOSE, RESET, STAY = "close", "reset", "stay"
Lie = namedtuple("Lie", "name raw then rfc")
Truth = namedtuple("Truth", "name raw then status content rfc")
HEAD_LIES, BODY_LIES, TRUTHS, AFTERS = [], [], [], []
OK = b"HTTP/1.1 200 OK\r\n"


def lie(name, raw, then=CLOSE, rfc=""):
    HEAD_LIES.append(Lie(name, raw, then, rfc))


def body(name, raw, then=CLOSE, rfc=""):
    BODY_LIES.append(Lie(name, raw, then, rfc))


def truth(name, raw, then=STAY, status=200, content=b"hello", rfc=""):
    TRUTHS.append(Truth(name, raw, then, status, content, rfc))


# --- RFC 9112 4: the status line --------------------------------------------------------------------------
for name, line in [
    ("empty", b""), ("no-status", b"HTTP/1.1"), ("no-status-space", b"HTTP/1.1 "), ("two-digits", b"HTTP/1.1 20 OK"),
    ("four-digits", b"HTTP/1.1 2000 OK"), ("five-digits", b"HTTP/1.1 20000 OK"), ("one-digit", b"HTTP/1.1 2 OK"),
    ("letters", b"HTTP/1.1 abc OK"), ("hex", b"HTTP/1.1 0x200 OK"), ("negative", b"HTTP/1.1 -200 OK"),
    ("plus", b"HTTP/1.1 +200 OK"), ("000", b"HTTP/1.1 000 OK"), ("099", b"HTTP/1.1 099 OK"),
    ("letter-after", b"HTTP/1.1 200x OK"), ("two-spaces", b"HTTP/1.1  200 OK"), ("tab", b"HTTP/1.1\t200 OK"),
    ("leading-space", b" HTTP/1.1 200 OK"), ("lower-case", b"http/1.1 200 OK"), ("version-2", b"HTTP/2.0 200 OK"),
    ("version-0.9", b"HTTP/0.9 200 OK"), ("version-1.10", b"HTTP/1.10 200 OK"), ("version-junk", b"HTTP/1.x 200 OK"),
    ("version-missing", b"200 OK"), ("other-protocol", b"ICY 200 OK"), ("ssh", b"SSH-2.0-OpenSSH_9.2"),
    ("smtp", b"220 mail ESMTP"), ("nul-in-reason", b"HTTP/1.1 200 O\x00K"), ("control-in-reason", b"HTTP/1.1 200 O\x01K"),
    ("cr-in-reason", b"HTTP/1.1 200 O\rK"), ("nul-in-status", b"HTTP/1.1 2\x000 OK"), ("dot", b"HTTP/1.1 200.1 OK"),
    ("comma", b"HTTP/1,1 200 OK"), ("html", b"<html><body>hello</body></html>"), ("a-request", b"GET / HTTP/1.1"),
]:
    lie(f"line-{name}", line + b"\r\nContent-Length: 5\r\n\r\nhello", rfc="9112 4")
lie("line-lf", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello", rfc="9112 2.2")
lie("line-endless", b"HTTP/1.1 200 " + b"a" * 200000, rfc="9112 4")
lie("binary", bytes(range(256)) * 4, rfc="9112 4")

# --- fields -----------------------------------------------------------------------------------------------
for name, field in [
    ("no-colon", b"NoColon"), ("empty-name", b": x"), ("space-before-colon", b"X : y"), ("tab-before-colon", b"X\t: y"),
    ("space-in-name", b"X Y: z"), ("nul-in-name", b"X\x00Y: z"), ("high-in-name", b"X\xc3\xa9: z"), ("slash-in-name", b"X/Y: z"),
    ("nul-in-value", b"X: y\x00z"), ("control-in-value", b"X: y\x01z"), ("del-in-value", b"X: y\x7fz"),
    ("cr-in-value", b"X: y\rz"), ("cr-smuggles", b"X: y\rSet-Cookie: a=b"), ("fold", b"X: y\r\n z"), ("fold-tab", b"X: y\r\n\tz"),
    ("space-first", b" X: y"), ("endless-value", b"X: " + b"a" * 300000), ("endless-name", b"X" * 300000 + b": y"),
]:
    lie(f"field-{name}", OK + b"Content-Length: 5\r\n" + field + b"\r\n\r\nhello", rfc="9112 5")
lie("field-first-folded", OK + b" Content-Length: 5\r\n\r\nhello", rfc="9112 2.2")
lie("field-lf", OK + b"Content-Length: 5\nX: y\r\n\r\nhello", rfc="9112 2.2")
lie("head-ends-lf", OK + b"Content-Length: 5\r\n\nhello", rfc="9112 2.2")
lie("head-all-lf", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", rfc="9112 2.2")
lie("fields-too-many", OK + b"".join(b"X%d: y\r\n" % i for i in range(20000)) + b"Content-Length: 5\r\n\r\nhello")
lie("head-cut-line", b"HTTP/1.1 200", rfc="9112 8")
lie("head-cut-after-line", OK, rfc="9112 8")
lie("head-cut-field", OK + b"Content-Len", rfc="9112 8")
lie("head-cut-before-end", OK + b"Content-Length: 5\r\n", rfc="9112 8")
lie("head-cut-last-lf", OK + b"Content-Length: 5\r\n\r", rfc="9112 8")
lie("head-cut-reset", OK + b"Content-Le", RESET, rfc="9112 8")
lie("nothing", b"", rfc="9112 8")
lie("nothing-reset", b"", RESET, rfc="9112 8")
lie("head-stays", OK + b"Content-Le", STAY)
lie("nothing-stays", b"", STAY)
lie("only-crlf", b"\r\n\r\n\r\n", rfc="9112 4")

# --- RFC 9112 6.3: lengths --------------------------------------------------------------------------------
for name, value in [
    ("negative", b"-5"), ("plus", b"+5"), ("hex", b"0x5"), ("float", b"5.0"), ("word", b"five"), ("empty", b""),
    ("space-inside", b"5 5"), ("list-different", b"5, 6"), ("list-trailing", b"5,"), ("semicolon", b"5;"),
    ("quoted", b'"5"'), ("2-64", b"18446744073709551616"), ("2-64-plus-5", b"18446744073709551621"), ("30-digits", b"9" * 30),
    ("letter-after", b"5x"), ("nul", b"5\x00"), ("vt", b"\x0b5"), ("nbsp", b"5\xa0"), ("exponent", b"5e0"),
]:
    lie(f"length-{name}", OK + b"Content-Length: " + value + b"\r\n\r\nhello", rfc="9112 6.3")
for name, first, second in [("twice-different", b"5", b"6"), ("twice-zero", b"0", b"5"), ("twice-junk", b"5", b"x"),
                            ("twice-smaller", b"5", b"4"), ("twice-empty", b"5", b"")]:
    lie(f"length-{name}", OK + b"Content-Length: " + first + b"\r\nContent-Length: " + second + b"\r\n\r\nhello",
        rfc="9112 6.3")
lie("length-twice-case", OK + b"Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello", rfc="9112 6.3")
lie("length-space-before-colon", OK + b"Content-Length : 5\r\n\r\nhello", rfc="9112 5.1")
lie("te-and-length", OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n", STAY, "9112 6.3")
lie("te-and-length-first", OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", STAY,
    "9112 6.3")
for name, value in [("unknown", b"cow"), ("identity", b"identity"), ("gzip", b"gzip"), ("chunked-twice", b"chunked, chunked"),
                    ("chunked-gzip", b"chunked, gzip"), ("gzip-chunked", b"gzip, chunked"), ("parameter", b"chunked;a=b"),
                    ("vt", b"\x0bchunked"), ("quoted", b'"chunked"'), ("empty", b""), ("nul", b"chunked\x00")]:
    lie(f"te-{name}", OK + b"Transfer-Encoding: " + value + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n", rfc="9112 6.1")
lie("te-two-fields", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    rfc="9112 6.1")
lie("te-space-before-colon", OK + b"Transfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", rfc="9112 5.1")
lie("te-in-1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", rfc="9112 6.1")

# --- interim responses ------------------------------------------------------------------------------------
lie("interim-then-nothing", b"HTTP/1.1 100 Continue\r\n\r\n", rfc="9110 15.2")
lie("interim-with-length", b"HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\nhello" + response(200, b"x"), rfc="9112 6.3")
lie("interim-with-te", b"HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + response(200, b"x"),
    rfc="9112 6.1")
lie("interim-flood", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 20000 + response(200, b"x"))
lie("interim-bad-line", b"HTTP/1.1 1O0 Continue\r\n\r\n" + response(200, b"x"), rfc="9112 4")
lie("interim-101-unasked", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    rfc="9110 15.2.2")
lie("status-199-only", b"HTTP/1.1 199 Odd\r\n\r\n", rfc="9110 15.2")

# --- bodies -----------------------------------------------------------------------------------------------
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
body("length-cut", OK + b"Content-Length: 10\r\n\r\nhello", rfc="9112 8")
body("length-cut-empty", OK + b"Content-Length: 10\r\n\r\n", rfc="9112 8")
body("length-cut-reset", OK + b"Content-Length: 10\r\n\r\nhello", RESET, "9112 8")
body("length-cut-at-last", OK + b"Content-Length: 6\r\n\r\nhello", rfc="9112 8")
body("length-2-63", OK + b"Content-Length: 9223372036854775807\r\n\r\nhello", rfc="9112 8")
body("length-1.0-cut", b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nhello", rfc="9112 8")
body("length-stays", OK + b"Content-Length: 10\r\n\r\nhello", STAY)
body("large-cut", OK + b"Content-Length: 300000\r\n\r\n" + b"x" * 200000, rfc="9112 8")
body("large-cut-reset", OK + b"Content-Length: 300000\r\n\r\n" + b"x" * 200000, RESET, "9112 8")
for name, raw in [
    ("no-size", b""), ("cut-size", b"5"), ("cut-size-cr", b"5\r"), ("cut-data", b"5\r\nhel"), ("cut-data-end", b"5\r\nhello"),
    ("cut-after-chunk", b"5\r\nhello\r\n"), ("cut-last", b"5\r\nhello\r\n0"), ("cut-last-crlf", b"5\r\nhello\r\n0\r\n"),
    ("cut-trailer", b"5\r\nhello\r\n0\r\nA: b\r\n"), ("size-letter", b"g\r\nhello\r\n0\r\n\r\n"), ("size-empty", b"\r\nhello\r\n0\r\n\r\n"),
    ("size-negative", b"-5\r\nhello\r\n0\r\n\r\n"), ("size-plus", b"+5\r\nhello\r\n0\r\n\r\n"), ("size-0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("size-space-before", b" 5\r\nhello\r\n0\r\n\r\n"), ("size-2-64", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("size-2-64-minus-1", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), ("size-lf", b"5\nhello\r\n0\r\n\r\n"),
    ("size-cr", b"5\rhello\r\n0\r\n\r\n"), ("size-nul", b"5\x00\r\nhello\r\n0\r\n\r\n"), ("size-junk", b"5 x\r\nhello\r\n0\r\n\r\n"),
    ("data-too-long", b"5\r\nhelloX\r\n0\r\n\r\n"), ("data-too-short", b"9\r\nhello\r\n0\r\n\r\n"), ("data-lf", b"5\r\nhello\n0\r\n\r\n"),
    ("data-no-end", b"5\r\nhello0\r\n\r\n"), ("ext-nul", b"5;\x00\r\nhello\r\n0\r\n\r\n"), ("ext-lf", b"5;a\nhello\r\n0\r\n\r\n"),
    ("ext-endless", b"5;" + b"a" * 300000 + b"\r\nhello\r\n0\r\n\r\n"), ("size-endless", b"0" * 300000),
    ("trailer-no-colon", b"5\r\nhello\r\n0\r\nNo\r\n\r\n"), ("trailer-nul", b"5\r\nhello\r\n0\r\nA: \x00\r\n\r\n"),
    ("trailer-fold", b"5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n"), ("trailer-lf", b"5\r\nhello\r\n0\r\nA: b\n\r\n"),
    ("trailer-endless", b"5\r\nhello\r\n0\r\nA: " + b"x" * 300000 + b"\r\n\r\n"), ("end-lf", b"5\r\nhello\r\n0\r\n\n"),
    ("last-letter", b"5\r\nhello\r\n0x\r\n\r\n"), ("not-chunked", b"hello"),
]:
    body(f"chunk-{name}", CHUNKED + raw, rfc="9112 7.1")
body("chunk-cut-reset", CHUNKED + b"5\r\nhello\r\n", RESET, "9112 8")
body("chunk-stays", CHUNKED + b"5\r\nhello\r\n", STAY)
body("chunk-large-then-junk", CHUNKED + b"30d40\r\n" + b"x" * 200000 + b"\r\njunk\r\n", rfc="9112 7.1")

# --- what follows a complete answer -----------------------------------------------------------------------
for name, raw in [
    ("response", response(200, b"hello") + response(200, b"poison")),
    ("response-after-204", b"HTTP/1.1 204 No\r\n\r\n" + response(200, b"poison")),
    ("response-after-304", b"HTTP/1.1 304 No\r\n\r\n" + response(200, b"poison")),
    ("body-after-204", b"HTTP/1.1 204 No\r\nContent-Length: 6\r\n\r\npoison"),
    ("body-after-304", b"HTTP/1.1 304 No\r\nContent-Length: 6\r\n\r\npoison"),
    ("bytes", response(200, b"hello") + b"poison"), ("one-byte", response(200, b"hello") + b"X"),
    ("crlf", response(200, b"hello") + b"\r\n"),
    ("after-chunks", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + response(200, b"poison")),
    ("bytes-after-chunks", CHUNKED + b"5\r\nhello\r\n0\r\n\r\npoison"),
    ("interim", response(200, b"hello") + b"HTTP/1.1 100 Continue\r\n\r\n"),
    ("408", response(200, b"hello") + response(408, b"poison", {"Connection": "close"})),
]:
    AFTERS.append((name, raw))

# --- odd, but right ---------------------------------------------------------------------------------------
truth("plain", response(200, b"hello"))
truth("no-reason", b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello")
truth("odd-reason", b"HTTP/1.1 200 \xc3\xa4h\t!\r\nContent-Length: 5\r\n\r\nhello")
truth("status-299", response(299, b"hello"), status=299)
truth("status-599", response(599, b"hello"), status=599)
truth("no-length", OK + b"\r\nhello", CLOSE)
truth("1.0-no-length", b"HTTP/1.0 200 OK\r\n\r\nhello", CLOSE)
truth("1.0-length", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", CLOSE)
truth("empty", OK + b"Content-Length: 0\r\n\r\n", content=b"")
truth("chunked-extension", CHUNKED + b"5;a=\"b;\\\"\"\r\nhello\r\n0;x=y\r\n\r\n")
truth("chunked-zeros", CHUNKED + b"00005\r\nhello\r\n000\r\n\r\n")
truth("chunked-upper", CHUNKED + b"A\r\nhellohello\r\n0\r\n\r\n", content=b"hellohello")
truth("te-case", OK + b"transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
truth("value-high", OK + b"X: \xff\xfe\r\nContent-Length: 5\r\n\r\nhello")
truth("value-empty", OK + b"X:\r\nContent-Length: 5\r\n\r\nhello")
truth("connection-close", response(200, b"hello", {"Connection": "close"}), CLOSE)
truth("connection-close-stays", response(200, b"hello", {"Connection": "close"}), STAY)
truth("many-fields", response(200, b"hello", [(f"X-{i}", "y") for i in range(50)]))
truth("length-spaces", OK + b"Content-Length: \t5 \r\n\r\nhello")
truth("interim-hints", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(200, b"hello"))
truth("304-with-length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", status=304, content=b"")


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    env.row = None

    def handler(ex):
        if ex.target != "/lie":
            return response(200, b"clean:" + ex.target.encode())
        ex.read_body()
        row = env.row
        try:
            ex.send(row[1])
        except OSError:
            pass  # the gateway had enough
        if row[2] == CLOSE:
            ex.close()
        elif row[2] == RESET:
            import time
            time.sleep(0.02)
            ex.reset()
        return None
    env.up.handler = handler
    env.gw = env.own(Gateway([route(legacy=env.up.url)], sanitized=True,
                             limits={"upstream_timeout_ms": 1000, "idle_timeout_ms": 5000}))
    return env


def lie_to(env, row, minor):
    """What a client makes of the row: a Message, or None when it saw that something was cut."""
    env.up.forget()
    env.row = row
    with Client(env.gw.address) as client:
        client.request("GET", "/lie", minor=minor)
        try:
            return client.response(), client
        except Cut as cut:
            if minor == 0 and not cut.reset and b"\r\n\r\n" in cut.partial:
                raise
            return None, client


def next_is_clean(env):
    for i in range(2):
        answer = env.gw.ask("GET", f"/next{i}")
        equal((answer.status, answer.body), (200, b"clean:/next%d" % i), "the next request's answer")


def not_believed(env, row, minor, statuses=(502, 504)):
    try:
        answer, _client = lie_to(env, row, minor)
    except Malformed as error:
        raise AssertionError(f"passed on as it was: {error} (RFC {row.rfc})") from None
    if answer is not None:
        check(answer.status in statuses, f"looks complete with status {answer.status} (RFC {row.rfc})", answer)
        check(b"hello" not in answer.body, "a part of the lie is in the error's body", answer.body)
        check(0 < len(answer.body) < 2000, "a 502 says why, briefly", answer.body)
    next_is_clean(env)


@table(HEAD_LIES)
def test_head(env, row):
    not_believed(env, row, 1)


@table(BODY_LIES)
def test_body(env, row):
    not_believed(env, row, 1)


@subjects("phoenix")
@table(BODY_LIES)
def test_body_to_1_0(env, row):
    """An HTTP/1.0 client sees a body's end as the connection's end: only a reset, or a Content-Length that is
    not reached, says "cut"."""
    not_believed(env, row, 0)


@subjects("phoenix")
@table([r for r in HEAD_LIES if r.name.split("-")[0] in ("length", "te")])
def test_head_in_bytes(env, row):
    pieces = [row.raw[i:i + 1] for i in range(len(row.raw))]

    before = env.up.handler

    def handler(ex):
        if ex.target != "/lie":
            return before(ex)
        try:
            ex.send(*pieces)
        except OSError:
            pass
        if row.then == CLOSE:
            ex.close()
        return None
    env.up.handler = handler
    try:
        not_believed(env, row, 1)
    finally:
        env.up.handler = before


@table(AFTERS)
def test_after_the_end(env, row):
    """Bytes after a complete answer: the answer itself may stand, what follows never reaches anybody."""
    env.up.forget()
    env.row = (row[0], row[1], STAY, "9112 9.3")
    with Client(env.gw.address) as client:
        try:
            answer = client.ask("GET", "/lie")
            check(b"poison" not in answer.body, "bytes after the end were passed on", answer)
            if (answer.get("connection") or "").lower() != "close":
                follow = client.ask("GET", "/same")
                equal((follow.status, follow.body), (200, b"clean:/same"), "the next answer on this connection")
        except (Cut, BrokenPipeError, ConnectionResetError):
            pass
    next_is_clean(env)


@subjects("phoenix")
@table([("get", "GET"), ("head", "HEAD")])
def test_head_response_with_body(env, row):
    """RFC 9110 9.3.2: an answer to HEAD has no body; one that comes anyway is bytes after the end."""
    env.row = ("x", response(200, b"poison"), STAY, "")
    with Client(env.gw.address) as client:
        answer = client.ask(row[1], "/lie")
        equal(answer.status, 200)
        if row[1] == "HEAD":
            try:
                equal(client.ask("GET", "/same").body, b"clean:/same")
            except (Cut, BrokenPipeError, ConnectionResetError):
                pass
    next_is_clean(env)


@table(TRUTHS)
def test_truth(env, row):
    env.row = row
    with Client(env.gw.address) as client:
        answer = client.ask("GET", "/lie")
        equal((answer.status, answer.body), (row.status, row.content))
    next_is_clean(env)


@table([600, 799, 999])
def test_status_above_599(env, row):
    """RFC 9110 15: not a valid status; passed as it is or refused, but not turned into something else."""
    env.row = ("x", response(row, b"hello"), STAY)
    with Client(env.gw.address) as client:
        answer = client.ask("GET", "/lie")
        check(answer.status in (row, 502), answer)


@table([t for t in TRUTHS if t.status == 200])
def test_truth_to_1_0(env, row):
    env.row = row
    with Client(env.gw.address) as client:
        answer = client.ask("GET", "/lie", minor=0)
        equal((answer.status, answer.body), (row.status, row.content))
    next_is_clean(env)

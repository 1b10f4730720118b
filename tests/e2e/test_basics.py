# SPDX-License-Identifier: Apache-2.0
"""
basics: one request, one answer, in every form that RFC 9110 and RFC 9112 know, through one catch-all route to
an upstream that records what it got and says exactly what it is told.

haproxy and nginx can stand in as the subject; where they are known to differ, the test says so.
"""
import hashlib
import time

from lib.case import Bench, check, equal, subjects, table
from lib.net import Client, Cut, chunks, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix", "haproxy", "nginx")
OURS = subjects("phoenix")


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    env.gw = env.own(Gateway([route(legacy=env.up.url)], sanitized=True))
    return env


def use(env, handler=None):
    env.up.forget()
    env.up.handler = handler or (lambda ex: response(200, b"hello", {"Content-Type": "text/plain"}))
    return Client(env.gw.address)


def test_get(env):
    with use(env) as c:
        r = c.ask("GET", "/a/b?x=1&y=%20")
        equal((r.status, r.body), (200, b"hello"))
        equal(env.up.last().target, "/a/b?x=1&y=%20", "target")
        equal(env.up.last().method, "GET")
        equal(env.up.last().all("host"), ["test"], "Host, untouched")


@table(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "REPORT", "QUERY", "PURGE", "X-ODD"])
def test_method_without_body(env, row):
    with use(env) as c:
        r = c.ask(row, "/m")
        equal(r.status, 200)
        equal(env.up.last().method, row)
        equal(env.up.last().body, b"")
        # RFC 9110 8.6: a method that expects content may say Content-Length: 0; it must not become a body
        check(env.up.last().get("content-length") in (None, "0"))
        check(env.up.last().get("transfer-encoding") is None)


@table(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "X-ODD"])
def test_method_with_body(env, row):
    with use(env) as c:
        equal(c.ask(row, "/m", body=b"some bytes").status, 200)
        equal((env.up.last().method, env.up.last().body), (row, b"some bytes"))
        equal(c.ask(row, "/n", {"Transfer-Encoding": "chunked"}, chunks(b"so", b"me")).status, 200)
        equal(env.up.last().body, b"some")


def test_head_has_length_and_no_body(env):
    with use(env, lambda ex: response(200, b"", length=False)[:-2] + b"Content-Length: 12345\r\n\r\n") as c:
        r = c.ask("HEAD", "/h")
        equal((r.status, r.get("content-length")), (200, "12345"))
        equal(c.ask("HEAD", "/h2").status, 200, "the next answer on this connection")
        equal([e.target for e in env.up.seen], ["/h", "/h2"])


def test_head_chunked_has_no_body(env):
    with use(env, lambda ex: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") as c:
        equal(c.ask("HEAD", "/h").status, 200)
        equal(c.ask("HEAD", "/h2").status, 200)


def test_head_without_length(env):
    with use(env, lambda ex: b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n") as c:
        r = c.ask("HEAD", "/h")
        equal((r.status, r.get("x-a")), (200, "b"))
        equal(c.ask("HEAD", "/h2").status, 200)


@table([("204", b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
        ("304", b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        ("304-with-length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"x\"\r\n\r\n")])
def test_no_body_status(env, row):
    with use(env, lambda ex: row[1]) as c:
        for i in range(3):
            r = c.ask("GET", f"/{i}")
            equal((r.status, r.body), (int(row[0][:3]), b""))
    if env.gw.subject == "phoenix":
        equal(len({e.connection for e in env.up.seen}), 1, "upstream connections used")


@table([200, 201, 206, 299, 300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 416, 418, 422, 429, 451, 499,
        500, 501, 502, 503, 504, 599])
def test_status_is_passed(env, row):
    with use(env, lambda ex: response(row, b"why", {"X-Why": "because"}, reason="Some Reason")) as c:
        r = c.ask("GET", "/")
        equal((r.status, r.body, r.get("x-why")), (row, b"why", "because"))
        equal(c.ask("GET", "/again").status, row)


def test_empty_reason(env):
    with use(env, lambda ex: b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok") as c:
        equal(c.ask().body, b"ok")


def test_response_chunked(env):
    with use(env, lambda ex: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
             chunks(b"a" * 10, b"b" * 5000, b"c")) as c:
        for _ in range(3):
            r = c.ask()
            equal(r.body, b"a" * 10 + b"b" * 5000 + b"c")
            equal(r.framing, "chunked")


def test_response_chunked_in_pieces(env):
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"hello", b"world!", trailers=[("X-T", "v")])

    def handler(ex):
        ex.send(*[body[i:i + 1] for i in range(len(body))], pause_s=0.0005)
    with use(env, handler) as c:
        equal(c.ask().body, b"helloworld!")


def test_response_chunk_extensions(env):
    """RFC 9112 7.1.1: a recipient ignores unknown extensions."""
    with use(env, lambda ex: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
             b"5;name=value\r\nhello\r\n0;last\r\n\r\n") as c:
        equal(c.ask().body, b"hello")


@OURS
def test_response_trailers(env):
    with use(env, lambda ex: b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" +
             chunks(b"data", trailers=[("X-Sum", "17"), ("X-Other", "a b")])) as c:
        r = c.ask("GET", "/", {"TE": "trailers"})
        equal(r.body, b"data")
        equal(r.trailers, [("X-Sum", "17"), ("X-Other", "a b")], "trailers")


@OURS
def test_request_trailers(env):
    with use(env) as c:
        r = c.ask("POST", "/", {"Transfer-Encoding": "chunked", "Trailer": "X-Sum"},
                  chunks(b"data", b"more", trailers=[("X-Sum", "17")]))
        equal(r.status, 200)
        equal(env.up.last().body, b"datamore")
        equal(env.up.last().request.trailers, [("X-Sum", "17")], "trailers at the upstream")


@OURS
@table([("content-length", "Content-Length: 5"), ("transfer-encoding", "Transfer-Encoding: chunked"),
        ("host", "Host: evil"), ("connection", "Connection: close"), ("authorization", "Authorization: x"),
        ("x-forwarded-for", "X-Forwarded-For: 6.6.6.6")])
def test_forbidden_trailer_never_arrives(env, row):
    """RFC 9110 6.5.1: fields for framing, routing and authentication do not belong in trailers."""
    with use(env) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\n" +
               row[1].encode() + b"\r\n\r\n")
        r = c.response()
        check(r.status in (200, 400), f"status {r.status}")
        for ex in env.up.seen:
            check(not any(n.lower() == row[0] for n, _ in ex.request.trailers), "it arrived", ex.request.trailers)


def test_request_chunked(env):
    with use(env) as c:
        for _ in range(2):
            r = c.ask("POST", "/", {"Transfer-Encoding": "chunked"}, chunks(b"x" * 3000, b"y", b"z" * 70000))
            equal(r.status, 200)
            equal(env.up.last().body, b"x" * 3000 + b"y" + b"z" * 70000)


def test_request_chunked_in_bytes(env):
    with use(env) as c:
        raw = b"POST /p HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"hello", b"world")
        c.send(*[raw[i:i + 1] for i in range(len(raw))], pause_s=0.0005)
        equal(c.response().status, 200)
        equal(env.up.last().body, b"helloworld")


# --- Expect and interim responses -------------------------------------------------------------------------

def test_expect_upstream_answers_100(env):
    def handler(ex):
        if ex.get("expect"):
            ex.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return response(200, ex.read_body())
    with use(env, handler) as c:
        c.send(b"POST /e HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        r = c.reader.response_head()
        equal(r.status, 100)
        c.send(b"12345")
        equal(c.response().body, b"12345")
        equal(c.ask("GET", "/next").status, 200)


@OURS
def test_expect_upstream_never_answers_100(env):
    """A client that does not wait (RFC 9110 10.1.1 allows it): the body goes through without any 100."""
    with use(env, lambda ex: response(200, ex.read_body())) as c:
        c.send(b"POST /e HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        wait_for("the head at the upstream", lambda: env.up.seen)
        equal(env.up.last().get("expect"), "100-continue")
        c.send(b"12345")
        r = c.response()
        equal((r.status, r.body), (200, b"12345"))


def test_expect_with_body_at_once(env):
    with use(env, lambda ex: response(200, ex.read_body())) as c:
        r = c.ask("POST", "/e", {"Expect": "100-continue"}, b"12345")
        equal((r.status, r.body), (200, b"12345"))


@OURS
def test_expect_final_417(env):
    """The upstream refuses before the body: the client gets the 417 and no 100, and nobody hangs."""
    def handler(ex):
        ex.send(response(417, b"no", {"Connection": "close"}))
        ex.close()
    with use(env, handler) as c:
        c.send(b"POST /e HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        r = c.response()
        equal((r.status, r.interim), (417, []))


@OURS
def test_expect_final_200_without_body_keeps_framing(env):
    """A final answer instead of a 100; the client may still send the body, which must not become a request."""
    def handler(ex):
        ex.send(response(403, b"no"))
        try:
            ex.read_body()
        except Exception:
            pass
    with use(env, handler) as c:
        c.send(b"POST /e HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 38\r\n\r\n")
        equal(c.response().status, 403)
        c.send_tolerant(b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"[:38])
        c.ended(1)
        check(not any(e.target == "/smuggled" for e in env.up.seen), "a body was taken for a request")


def test_expect_other_is_passed_or_417(env):
    with use(env) as c:
        r = c.ask("GET", "/", {"Expect": "something-else"})
        check(r.status in (200, 417), f"status {r.status}")


@subjects("phoenix", "haproxy")
def test_early_hints_to_1_1(env):
    with use(env, lambda ex: b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" +
             response(200, b"x")) as c:
        r = c.ask()
        equal((r.status, r.body), (200, b"x"))
        equal([i.status for i in r.interim], [103])
        equal(r.interim[0].get("link"), "</a.css>; rel=preload")


@OURS
def test_no_interim_to_1_0(env):
    """RFC 9110 15.2: a server must not send a 1xx response to an HTTP/1.0 client."""
    with use(env, lambda ex: b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + response(200, b"x")) as c:
        r = c.ask(minor=0)
        equal((r.status, r.body, r.interim), (200, b"x", []))


@OURS
def test_several_interim(env):
    with use(env, lambda ex: b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
             b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\n" +
             response(200, b"x")) as c:
        r = c.ask()
        equal((r.status, r.body), (200, b"x"))
        check([i.status for i in r.interim][-2:] == [103, 103], r.interim)
        equal(c.ask("GET", "/2").status, 200)


# --- HTTP/1.0 ---------------------------------------------------------------------------------------------

def test_1_0_closes(env):
    with use(env) as c:
        r = c.ask(minor=0)
        equal((r.status, r.body), (200, b"hello"))
        check(c.ended(), "an HTTP/1.0 connection without keep-alive is closed")


@OURS
def test_1_0_keep_alive(env):
    with use(env) as c:
        for i in range(3):
            r = c.ask("GET", f"/{i}", {"Connection": "keep-alive"}, minor=0)
            equal(r.status, 200)
            equal((r.get("connection") or "").lower(), "keep-alive", "Connection in the answer")


@subjects("phoenix", "nginx")
def test_1_0_client_gets_no_chunks(env):
    with use(env, lambda ex: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"abc", b"def")) as c:
        r = c.ask(minor=0)
        equal((r.framing, r.body), (None, b"abcdef"))
        check(r.get("transfer-encoding") is None)
        check(c.ended())


@OURS
def test_1_0_keep_alive_with_unknown_length_closes(env):
    """Without chunks the end of the body can only be the end of the connection."""
    with use(env, lambda ex: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"abc", b"def")) as c:
        r = c.ask("GET", "/", {"Connection": "keep-alive"}, minor=0)
        equal((r.framing, r.body), (None, b"abcdef"))
        check((r.get("connection") or "").lower() != "keep-alive", "it promises to stay open")


@OURS
def test_1_0_without_host(env):
    """RFC 9112 3.2: only HTTP/1.1 requires Host."""
    with use(env) as c:
        r = c.ask(minor=0, host=None)
        equal(r.status, 200)
        check(len(env.up.last().all("host")) == 1, "what goes on is HTTP/1.1 and needs one Host",
              env.up.last().head)


@subjects("phoenix", "nginx")
def test_upstream_speaks_1_1(env):
    with use(env) as c:
        c.ask(minor=0)
        equal(env.up.last().request.minor, 1, "minor version towards the upstream")


def test_1_0_upstream_until_close(env):
    """A body that ends with the connection becomes one with a visible end."""
    def handler(ex):
        ex.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"until ", b"close", pause_s=0.01)
        ex.close()
    with use(env, handler) as c:
        r = c.ask()
        equal((r.status, r.body), (200, b"until close"))
        if r.framing is not None:
            equal(c.ask("GET", "/2").body, b"until close")


@OURS
def test_until_close_is_reframed(env):
    def handler(ex):
        ex.send(b"HTTP/1.1 200 OK\r\n\r\nuntil close")
        ex.close()
    with use(env, handler) as c:
        equal(c.ask().framing, "chunked")
        equal(c.ask("GET", "/2").body, b"until close")


@OURS
def test_until_close_reset_is_visible(env):
    """RFC 9112 8: a body until close that ends with a reset is incomplete, and must look so."""
    def handler(ex):
        ex.send(b"HTTP/1.1 200 OK\r\n\r\npart of it")
        time.sleep(0.05)
        ex.reset()
    with use(env, handler) as c:
        try:
            r = c.ask()
        except Cut:
            return
        raise AssertionError(f"looks complete: {r}")


def test_1_0_upstream_keep_alive(env):
    with use(env, lambda ex: b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok") as c:
        for _ in range(3):
            equal(c.ask().body, b"ok")


# --- pipelining and segmentation --------------------------------------------------------------------------

def test_pipelined(env):
    with use(env, lambda ex: response(200, ex.target.encode())) as c:
        c.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % i for i in range(20)))
        for i in range(20):
            equal(c.response().body, b"/%d" % i)


def test_pipelined_mixed(env):
    with use(env, lambda ex: response(200, ex.method.encode() + b" " + ex.target.encode() + b" " + ex.read_body())) as c:
        c.send(b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"
               b"GET /b HTTP/1.1\r\nHost: t\r\n\r\n"
               b"POST /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"xy", b"z") +
               b"DELETE /d HTTP/1.1\r\nHost: t\r\n\r\n")
        equal([c.response().body for _ in range(4)], [b"POST /a abc", b"GET /b ", b"POST /c xyz", b"DELETE /d "])


def test_pipelined_bytewise(env):
    with use(env, lambda ex: response(200, ex.target.encode())) as c:
        raw = b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % i for i in range(5))
        c.send(*[raw[i:i + 1] for i in range(len(raw))], pause_s=0.0003)
        equal([c.response().body for _ in range(5)], [b"/%d" % i for i in range(5)])


@subjects("phoenix", "haproxy")
def test_pipelined_then_half_close(env):
    """A client may end its side after the last request and still wants the answers."""
    def handler(ex):
        time.sleep(0.05)
        return response(200, ex.target.encode())
    with use(env, handler) as c:
        c.send(b"GET /1 HTTP/1.1\r\nHost: t\r\n\r\nGET /2 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        c.half_close()
        equal([c.response().body for _ in range(2)], [b"/1", b"/2"])
        check(c.ended())


@OURS
def test_pipelined_close_stops(env):
    """RFC 9112 9.6: after "close" nothing more is read from this connection."""
    with use(env, lambda ex: response(200, ex.target.encode())) as c:
        c.send(b"GET /1 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: t\r\n\r\n")
        r = c.response()
        equal((r.body, (r.get("connection") or "").lower()), (b"/1", "close"))
        check(c.ended())
        equal([e.target for e in env.up.seen], ["/1"])


def test_pipelined_after_post_with_slow_upstream(env):
    def handler(ex):
        time.sleep(0.02)
        return response(200, hashlib.sha1(ex.read_body()).hexdigest())
    body = b"q" * 100000
    with use(env, handler) as c:
        one = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n" + body
        c.send(one * 3)
        for _ in range(3):
            equal(c.response().body.decode(), hashlib.sha1(body).hexdigest())


@table([1, 2, 3, 7, 16, 100])
def test_response_in_segments(env, row):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\nX-A: b\r\n\r\nabcdefghijklmnopqrstuvwxyz"

    def handler(ex):
        ex.send(*[raw[i:i + row] for i in range(0, len(raw), row)], pause_s=0.001)
    with use(env, handler) as c:
        for _ in range(2):
            r = c.ask()
            equal((r.body, r.get("x-a")), (b"abcdefghijklmnopqrstuvwxyz", "b"))


def test_leading_empty_line(env):
    """RFC 9112 2.2: a server should ignore at least one empty line before the request line."""
    with use(env) as c:
        c.send(b"\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n")
        equal(c.response().status, 200)


# --- Upgrade ----------------------------------------------------------------------------------------------

WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
             "Sec-WebSocket-Version": "13"}
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


def tunnel(ex):
    """Answers 101 and then everything reversed, line by line, until the end."""
    ex.send(SWITCH)
    while True:
        line = ex.reader.until(b"\n", 1 << 20, "tunnel line")
        ex.sock.sendall(line[:-1][::-1] + b"\n")


@subjects("phoenix", "haproxy")
def test_upgrade_websocket(env):
    with use(env, tunnel) as c:
        r = c.ask("GET", "/ws", WEBSOCKET)
        equal((r.status, (r.get("upgrade") or "").lower()), (101, "websocket"))
        check("upgrade" in (r.get("connection") or "").lower(), r.fields)
        check("upgrade" in (env.up.last().get("connection") or "").lower())
        equal(env.up.last().get("upgrade"), "websocket")
        for i in range(50):
            c.send(b"message %d\x00\xff\n" % i)
            equal(c.reader.until(b"\n", 100, "echo"), (b"message %d\x00\xff" % i)[::-1] + b"\n")


@subjects("phoenix", "haproxy")
def test_upgrade_bytes_with_the_head(env):
    """Both sides may put tunnel bytes into the segment of their head."""
    def handler(ex):
        ex.send(SWITCH + b"first\n")
        ex.sock.sendall(ex.reader.until(b"\n", 100, "line"))
        ex.close()
    with use(env, handler) as c:
        head = "".join(f"{n}: {v}\r\n" for n, v in WEBSOCKET.items())
        c.send(f"GET /ws HTTP/1.1\r\nHost: t\r\n{head}\r\nearly\n")
        equal(c.response().status, 101)
        equal(c.reader.rest(), b"first\nearly\n")


@subjects("phoenix", "haproxy")
def test_upgrade_megabytes(env):
    def handler(ex):
        ex.send(SWITCH)
        total = 0
        while total < 4 << 20:
            data = ex.sock.recv(65536)
            total += len(data)
            ex.sock.sendall(data)
        ex.close()
    data = bytes(range(256)) * (4 << 12)
    with use(env, handler) as c:
        equal(c.ask("GET", "/ws", WEBSOCKET).status, 101)
        import threading
        sender = threading.Thread(target=c.sock.sendall, args=(data,), daemon=True)
        sender.start()
        got = c.reader.exactly(len(data), "tunnel bytes")
        sender.join(10)
        check(got == data, "the bytes of the tunnel")


@OURS
def test_upgrade_half_close(env):
    """The client ends its direction; what the server still has to say arrives."""
    def handler(ex):
        ex.send(SWITCH)
        got = ex.reader.rest()
        time.sleep(0.05)
        ex.send(b"got " + got)
        ex.close()
    with use(env, handler) as c:
        equal(c.ask("GET", "/ws", WEBSOCKET).status, 101)
        c.send(b"bye")
        c.half_close()
        equal(c.reader.rest(), b"got bye")


@OURS
def test_upgrade_half_close_of_the_server(env):
    got = []

    def handler(ex):
        ex.send(SWITCH + b"last words")
        ex.half_close()
        got.append(ex.reader.rest())
        ex.close()
    with use(env, handler) as c:
        equal(c.ask("GET", "/ws", WEBSOCKET).status, 101)
        equal(c.reader.rest(), b"last words")
        c.send(b"still talking")
        c.half_close()
        wait_for("the upstream's end", lambda: got)
        equal(got, [b"still talking"])


def test_upgrade_refused_goes_on(env):
    with use(env, lambda ex: response(200, b"no websocket here")) as c:
        equal(c.ask("GET", "/ws", WEBSOCKET).status, 200)
        equal(c.ask("GET", "/2").status, 200)


@OURS
def test_upgrade_426_is_passed(env):
    with use(env, lambda ex: response(426, b"", {"Upgrade": "websocket", "Connection": "upgrade"})) as c:
        r = c.ask("GET", "/ws")
        equal((r.status, r.get("upgrade")), (426, "websocket"), "RFC 9110 15.5.22")


@OURS
@table([("h2c", "h2c"), ("list", "websocket, h2c"), ("case", "H2C"), ("h2c-first", "h2c, websocket")])
def test_upgrade_h2c_is_not_passed(env, row):
    with use(env) as c:
        r = c.ask("GET", "/", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": row[1],
                               "HTTP2-Settings": "AAMAAABkAAQAAP__"})
        check(r.status in (200, 400), r)
        for ex in env.up.seen:
            check("h2c" not in (ex.get("upgrade") or "").lower(), "h2c was passed on", ex.head)
            check(ex.get("http2-settings") is None, "HTTP2-Settings was passed on", ex.head)


@OURS
def test_upgrade_without_connection_is_not_passed(env):
    """RFC 9110 7.8: Upgrade without the connection option is no upgrade."""
    with use(env) as c:
        r = c.ask("GET", "/", {"Upgrade": "websocket"})
        equal(r.status, 200)
        equal(env.up.last().get("upgrade"), None)


@OURS
def test_upgrade_from_1_0_is_ignored(env):
    """RFC 9110 7.8: a server must ignore Upgrade in an HTTP/1.0 request."""
    with use(env) as c:
        r = c.ask("GET", "/", WEBSOCKET, minor=0)
        equal(r.status, 200)
        equal(env.up.last().get("upgrade"), None)


@OURS
def test_unasked_101_is_502(env):
    with use(env, lambda ex: SWITCH) as c:
        equal(c.ask("GET", "/").status, 502)


# --- target forms -----------------------------------------------------------------------------------------

@OURS
def test_absolute_form(env):
    """RFC 9112 3.2.2: a server must accept it, and the target's authority replaces Host."""
    with use(env) as c:
        equal(c.ask("GET", "http://other.example:8080/p?q=1", host="test").status, 200)
        equal(env.up.last().target, "/p?q=1")
        equal(env.up.last().all("host"), ["other.example:8080"])


@OURS
def test_absolute_form_without_path(env):
    with use(env) as c:
        equal(c.ask("GET", "http://other.example").status, 200)
        equal(env.up.last().target, "/")
        equal(c.ask("GET", "http://other.example?x=1").status, 200)
        equal(env.up.last().target, "/?x=1")


@OURS
def test_options_asterisk(env):
    with use(env) as c:
        r = c.ask("OPTIONS", "*")
        check(r.status in (200, 204, 404), r)
        for ex in env.up.seen:
            equal(ex.target, "*")


@OURS
def test_connect_is_refused(env):
    with use(env) as c:
        c.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        r = c.response()
        check(r.status in (400, 403, 404, 405, 501), r)
        equal(env.up.seen, [])


@OURS
def test_trace_is_not_answered_with_secrets(env):
    with use(env) as c:
        r = c.ask("TRACE", "/", {"Cookie": "secret"})
        check(r.status in (200, 405, 501), r)


# --- fields -----------------------------------------------------------------------------------------------

HOP = [("Connection", "close, X-Named"), ("X-Named", "gone"), ("Keep-Alive", "timeout=5"),
       ("Proxy-Connection", "keep-alive"), ("TE", "gzip"), ("X-Kept", "here")]


@OURS
def test_hop_by_hop_request(env):
    with use(env) as c:
        equal(c.ask("GET", "/", HOP).status, 200)
        names = [n.lower() for n, _ in env.up.last().request.fields]
        for name in ("x-named", "keep-alive", "proxy-connection", "te"):
            check(name not in names, f"{name} was passed on", env.up.last().head)
        check("x-kept" in names)
        check("close" not in (env.up.last().get("connection") or "").lower(), "the client's close is not ours")


@OURS
def test_hop_by_hop_response(env):
    with use(env, lambda ex: response(200, b"x", [("Connection", "X-Named"), ("X-Named", "gone"),
                                                  ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close"),
                                                  ("X-Kept", "here")])) as c:
        r = c.ask()
        names = [n.lower() for n, _ in r.fields]
        for name in ("x-named", "keep-alive", "proxy-connection"):
            check(name not in names, f"{name} was passed on", r.head)
        check("x-kept" in names)


@OURS
@table([("case", [("Connection", "x-NAMED"), ("X-Named", "1")], ["x-named"]),
        ("list", [("Connection", "a , b,c"), ("A", "1"), ("B", "2"), ("C", "3")], ["a", "b", "c"]),
        ("two-fields", [("Connection", "a"), ("A", "1"), ("Connection", "b"), ("B", "2")], ["a", "b"]),
        ("before", [("A", "1"), ("Connection", "a")], ["a"]),
        ("empty-elements", [("Connection", ",, a,,"), ("A", "1")], ["a"]),
        ("close", [("Connection", "close"), ("Close", "1")], ["close"]),
        ("close-unnamed", [("Close", "1")], ["close"]),
        ("twice", [("Connection", "a"), ("A", "1"), ("A", "2")], ["a"])])
def test_named_by_connection(env, row):
    with use(env, lambda ex: response(200, b"x", row[1] + [("Z", "z")])) as c:
        r = c.ask("GET", "/", row[1] + [("Z", "z")])
        equal(r.status, 200)
        for side, fields in (("request", env.up.last().request.fields), ("response", r.fields)):
            names = [n.lower() for n, _ in fields]
            for name in row[2]:
                check(name not in names, f"{name} was passed on in the {side}", fields)
            check("z" in names, f"the {side} lost a field")


@OURS
@table([("host", "Host"), ("content-length", "Content-Length"), ("x-request-id", "X-Request-Id"),
        ("x-forwarded-for", "X-Forwarded-For"), ("authorization", "Authorization"), ("cookie", "Cookie")])
def test_connection_cannot_remove_what_matters(env, row):
    """Whatever Connection names, the message that goes on is well framed and keeps its forwarding fields."""
    with use(env) as c:
        r = c.ask("POST", "/", [("Connection", row[1])], body=b"12345")
        check(r.status in (200, 400), r)
        if r.status == 200:
            equal(env.up.last().body, b"12345")
            equal(env.up.last().all("host"), ["test"])
            check(env.up.last().get("x-forwarded-for") is not None)
            check(env.up.last().get("x-request-id") is not None)


@OURS
def test_forwarded_for_is_created(env):
    with use(env) as c:
        c.ask()
        ex = env.up.last()
        equal(ex.all("x-forwarded-for"), ["127.0.0.1"])
        equal(ex.all("x-forwarded-proto"), ["http"])
        equal(ex.all("x-forwarded-host"), ["test"])


@OURS
def test_forwarded_for_is_appended(env):
    with use(env) as c:
        c.ask("GET", "/", [("X-Forwarded-For", "1.2.3.4, 5.6.7.8"), ("X-Forwarded-For", "9.9.9.9")])
        values = ", ".join(env.up.last().all("x-forwarded-for"))
        equal([v.strip() for v in values.split(",")], ["1.2.3.4", "5.6.7.8", "9.9.9.9", "127.0.0.1"])


@OURS
def test_forwarded_proto_and_host_have_one_value(env):
    """The nearest proxy knows; whether a given value is kept or replaced, there is one."""
    with use(env) as c:
        c.ask("GET", "/", {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "outer.example"})
        ex = env.up.last()
        equal((len(ex.all("x-forwarded-proto")), len(ex.all("x-forwarded-host"))), (1, 1))


@OURS
def test_request_id_is_created(env):
    with use(env) as c:
        for _ in range(50):
            c.ask()
        ids = [e.get("x-request-id") for e in env.up.seen]
        check(all(i and 8 <= len(i) <= 128 for i in ids), ids[:3])
        equal(len(set(ids)), 50, "different ids")


@OURS
def test_request_id_is_kept(env):
    with use(env) as c:
        c.ask("GET", "/", {"X-Request-Id": "my-id-17"})
        equal(env.up.last().all("x-request-id"), ["my-id-17"])


@subjects("phoenix")
def test_duplicate_fields_keep_order(env):
    fields = [("X-B", "1"), ("X-A", "2"), ("x-b", "3"), ("Accept", "a/b"), ("X-B", ""), ("Accept", "c/d")]
    with use(env, lambda ex: response(200, b"x", fields + [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")])) as c:
        r = c.ask("GET", "/", fields)
        for side, got in (("request", env.up.last().request.fields), ("response", r.fields)):
            equal([(n.lower(), v) for n, v in got if n.lower() in ("x-a", "x-b", "accept")],
                  [(n.lower(), v) for n, v in fields], f"fields of the {side}")
        equal(r.all("set-cookie"), ["a=1", "b=2; Path=/"])


def test_field_values_are_untouched(env):
    fields = [("X-Utf8", "gr\u00fc\u00df"), ("X-Tab", "a\tb"), ("X-Quotes", '"a, b"; c="d\\""'), ("X-Empty", ""),
              ("X-Colon", "a:b:c"), ("X-Long", "v" * 3000)]
    with use(env, lambda ex: response(200, b"x", fields)) as c:
        r = c.ask("GET", "/", fields)
        for name, value in fields:
            equal(env.up.last().get(name), value, f"{name} at the upstream")
            equal(r.get(name), value, f"{name} at the client")


@subjects("phoenix", "haproxy")
def test_targets_are_untouched(env):
    """No decoding, no normalising of what goes on: two readings of a path are a hole."""
    for target in ("/%2e%2e/a", "/a%2Fb", "/a//b", "/a/./b", "/?", "/a?b?c", "/a;x=1", "/%00", "/~!$&'()*+,;=:@",
                   "/a/../b", "/%C3%BC", "/a?x=http://y/z"):
        with use(env) as c:
            r = c.ask("GET", target)
            equal(r.status, 200, f"status for {target}")
            equal(env.up.last().target, target, "target at the upstream")


@OURS
def test_date_is_not_doubled(env):
    with use(env, lambda ex: response(200, b"x", {"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "Server": "mine"})) as c:
        r = c.ask()
        equal(r.all("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"])
        equal(r.all("server"), ["mine"])


@OURS
def test_te_trailers_is_kept_hop_by_hop(env):
    """TE: trailers may be sent on only with `Connection: TE` (RFC 9110 10.1.4)."""
    with use(env) as c:
        c.ask("GET", "/", {"TE": "trailers", "Connection": "TE"})
        ex = env.up.last()
        if ex.get("te") is not None:
            equal(ex.get("te"), "trailers")
            check("te" in (ex.get("connection") or "").lower())


@OURS
def test_max_head_passes(env):
    """A head just under the limit of 16 KiB goes through whole."""
    with use(env) as c:
        equal(c.ask("GET", "/", {"X-Big": "b" * 15000}).status, 200)
        equal(len(env.up.last().get("x-big")), 15000)


@OURS
def test_many_fields_pass(env):
    with use(env) as c:
        equal(c.ask("GET", "/", [(f"X-{i}", str(i)) for i in range(60)]).status, 200)
        equal(env.up.last().get("x-59"), "59")

# SPDX-License-Identifier: Apache-2.0
"""
nic mixed: everything that is not a plain keep-alive request, in the middle of plain keep-alive requests on the same
connection. Whoever serves it, the client must see what the daemon alone would have answered: beside the gateway under
test runs a second daemon without the NIC path, and each conversation is held with both.
"""
import random
import re
import threading
import time

from lib import nic
from lib.case import Bench, check, equal, table, timeout
from lib.lab import Lab, LabGateway, sites
from lib.net import Client, Cut, Malformed, chunks
from lib.nic import Count, gateway, odd, site_routes
from lib.process import route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
PLAIN = b"GET /users/200 HTTP/1.1\r\nHost: lab\r\nX-Number: %d\r\n\r\n"


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4, rto_min_ms=20))
    env.sites = sites(env.lab)
    env.odd = []
    for space, name in (("up2", "odd-legacy"), ("up3", "odd-modern")):
        with env.lab.inside(space):
            env.odd.append(env.own(Upstream(odd, host=env.lab.links[space].address, port=8080)))
        env.odd[-1].name = name
    routes = site_routes(env.sites, (0.0, 0.0)) + [
        route("odd", "/odd/*", legacy=env.odd[0].url, modern=env.odd[1].url),
        route("only-post", "/post/*", method="POST", legacy=env.odd[0].url, modern=env.odd[1].url),
        route("by-header", "/keyed/*", legacy=env.sites["users", "legacy"].url, modern=env.sites["users", "modern"].url,
              split={"by": "header:X-User"}, weight=1.0),  # (two daemons have two hash keys)
        route("hosted", "/users/*", host="other.example", legacy=env.sites["orders", "legacy"].url,
              modern=env.sites["orders", "modern"].url)]
    limits = {"upstream_timeout_ms": 5000, "header_timeout_ms": 3000}
    env.gw = env.own(gateway(env.lab, routes, workers=1, limits=limits))
    # The measure: the same daemon on another address and port of the same namespace, without the NIC path.
    env.plain = LabGateway(env.lab, routes, mode="off", start=False, workers=1, limits=limits)
    env.plain.config["listen"] = ["198.18.0.1:81"]
    env.plain.address = ("198.18.0.1", 81)
    env.plain.start()
    env.own(env.plain)
    return env


def connect(env, address):
    with env.lab.inside("client"):
        return Client(address, timeout_s=8)


HOP = {"date", "connection", "keep-alive", "server", "x-request-id"}


def seen(message):
    """What of an answer must be the same whoever carries it: status, fields (but for the hop's), body."""
    fields = sorted((n.lower(), v) for n, v in message.fields if n.lower() not in HOP and
                    not (n.lower() in ("content-length", "transfer-encoding")))
    if message.status >= 400 and message.get("content-type", "").startswith("application/problem+json"):
        return (message.status, "the gateway's own", re.sub(rb'"(request_id|instance)":"[^"]*"', b"", message.body)[:40])
    return (message.status, fields, message.body, [i.status for i in message.interim])


def talk(env, address, pieces, answers, method="GET", pause_s=0.0, around=True, farewells=None):
    """
    A plain request, then these bytes, then a plain request; what came back, or how it ended. `farewells` gets, for
    each answer, whether it said that the connection ends with it.
    """
    out = []

    def heard(message):
        out.append(seen(message))
        if farewells is not None:
            farewells.append("close" in message.get("connection", "").lower())
    client = connect(env, address)
    try:
        if around:
            client.send(PLAIN % 1)
            heard(client.response())
        client.send_tolerant(*pieces, pause_s=pause_s)
        for i in range(answers):
            heard(client.response(method if i == 0 else "GET"))
        if around:
            if client.send_tolerant(PLAIN % 2):
                heard(client.response())
    except Cut as cut:
        out.append("cut" if cut.partial else "closed")
    except Malformed as error:
        out.append(f"malformed: {error}")
    except TimeoutError:
        out.append("silence")
    except OSError as error:
        out.append("closed")
    finally:
        client.close()
    return out


def same(env, pieces, answers=1, method="GET", pause_s=0.0, around=True, status=None):
    got = talk(env, env.gw.address, pieces, answers, method, pause_s, around)
    want = talk(env, env.plain.address, pieces, answers, method, pause_s, around)
    if status:
        equal(want[1][0], status, "the daemon's own answer")
    equal(got, want, "the conversation")
    check(not any(isinstance(x, str) and x.startswith(("malformed", "silence")) for x in got), "and it is sound", got)
    return got


LONG = b"".join(b"X-Filler-%d: %s\r\n" % (i, b"f" * 90) for i in range(14))       # 1.4 KB: more than a segment
LONGER = b"".join(b"X-Filler-%d: %s\r\n" % (i, b"f" * 90) for i in range(100))    # 10 KB
H = b" HTTP/1.1\r\nHost: lab\r\n"

REQUESTS = [
    ("get", b"GET /users/1000" + H + b"\r\n", 200),
    ("head", b"HEAD /users/1000" + H + b"\r\n", 200),
    ("query", b"GET /users/1000?a=b&c=%20d" + H + b"\r\n", 200),
    ("unknown-route", b"GET /nowhere" + H + b"\r\n", 404),
    ("method-without-route", b"GET /post/x" + H + b"\r\n", 404),
    ("other-host", b"GET /users/200 HTTP/1.1\r\nHost: other.example\r\n\r\n", None),
    ("not-found-upstream", b"GET /users/nothing" + H + b"\r\n", 404),
    ("post-small", b"POST /odd/echo" + H + b"Content-Length: 5\r\n\r\nhello", 200),
    ("post-empty", b"POST /odd/echo" + H + b"Content-Length: 0\r\n\r\n", 200),
    ("post-one-segment-and-more", b"POST /odd/echo" + H + b"Content-Length: 5000\r\n\r\n" + b"p" * 5000, 200),
    ("post-300k", b"POST /odd/sum" + H + b"Content-Length: 300000\r\n\r\n" + b"p" * 300000, 200),
    ("put", b"PUT /odd/echo" + H + b"Content-Length: 3\r\n\r\nput", 200),
    ("delete", b"DELETE /odd/plain" + H + b"\r\n", 200),
    ("unusual-method", b"BREW /odd/plain" + H + b"\r\n", 200),
    ("chunked-request", b"POST /odd/echo" + H + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(b"chunked ", b"body"), 200),
    ("expect", b"POST /odd/echo" + H + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 200),
    ("connection-close", b"GET /users/200" + H + b"Connection: close\r\n\r\n", 200),
    ("http-1.0", b"GET /users/200 HTTP/1.0\r\nHost: lab\r\n\r\n", 200),
    ("http-1.0-keep-alive", b"GET /users/200 HTTP/1.0\r\nHost: lab\r\nConnection: keep-alive\r\n\r\n", 200),
    ("connection-keep-alive", b"GET /users/200" + H + b"Connection: keep-alive\r\n\r\n", 200),
    ("connection-names-field", b"GET /users/200" + H + b"Connection: X-Gone\r\nX-Gone: 1\r\n\r\n", 200),
    ("te", b"GET /users/200" + H + b"TE: trailers\r\nConnection: TE\r\n\r\n", 200),
    ("upgrade-ignored", b"GET /users/200" + H + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", None),
    ("absolute-form", b"GET http://lab/users/200" + H + b"\r\n", 200),
    ("options-star", b"OPTIONS *" + H + b"\r\n", None),
    ("long-head", b"GET /users/200" + H + LONG + b"\r\n", 200),
    ("longer-head", b"GET /users/200" + H + LONGER + b"\r\n", 200),
    ("too-long-head", b"GET /users/200" + H + LONGER * 2 + b"\r\n", 431),
    ("long-target", b"GET /users/nothing?" + b"q" * 3000 + H + b"\r\n", 404),
    ("keyed-by-header", b"GET /keyed/x" + H + b"X-User: 17\r\n\r\n", None),
    ("keyed-without-header", b"GET /keyed/x" + H + b"\r\n", None),
    ("bare-lf", b"GET /users/200 HTTP/1.1\nHost: lab\n\n", 400),
    ("no-host", b"GET /users/200 HTTP/1.1\r\n\r\n", 400),
    ("two-hosts", b"GET /users/200" + H + b"Host: lab\r\n\r\n", 400),
    ("two-lengths", b"POST /odd/echo" + H + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("length-and-chunked", b"POST /odd/echo" + H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("folded", b"GET /users/200" + H + b"X-A: a\r\n b\r\n\r\n", 400),
    ("space-before-colon", b"GET /users/200" + H + b"X-A : a\r\n\r\n", 400),
    ("nul", b"GET /users/200" + H + b"X-A: a\0b\r\n\r\n", 400),
    ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("leading-crlf", b"\r\nGET /users/200" + H + b"\r\n", None),
    ("version-2", b"GET /users/200 HTTP/2.0\r\nHost: lab\r\n\r\n", 505),
    ("lower-case-version", b"GET /users/200 http/1.1\r\nHost: lab\r\n\r\n", 400),
    ("negative-length", b"POST /odd/echo" + H + b"Content-Length: -5\r\n\r\nhello", 400),
    ("gzip-answer-chunked", b"GET /users/20000" + H + b"Accept-Encoding: gzip\r\n\r\n", 200),
    ("range", b"GET /users/20000" + H + b"Range: bytes=100-199\r\n\r\n", 206),
    ("not-modified", b"GET /odd/304" + H + b"If-None-Match: \"x\"\r\n\r\n", 304),
    ("trailing-crlf", b"GET /users/200" + H + b"\r\n\r\n", None),
]


@table(REQUESTS)
def test_request(env, row):
    _name, data, status = row
    same(env, [data], method=data.split(b" ")[0].decode("latin-1"), status=status)


@table(REQUESTS)
def test_first_request(env, row):
    """The same as the first request of its connection."""
    _name, data, _status = row
    same(env, [data], method=data.split(b" ")[0].decode("latin-1"), around=False)


@table([r for r in REQUESTS if len(r[1]) < 2000])
def test_request_in_two_segments(env, row):
    """Cut in the middle, with time between, so that it arrives as two segments."""
    _name, data, _status = row
    cut = min(len(data) // 2, 40)
    same(env, [data[:cut], data[cut:]], method=data.split(b" ")[0].decode("latin-1"), pause_s=0.01)


@table([("two", 2), ("ten", 10), ("fifty", 50)])
def test_pipelined(env, row):
    """Several requests in one go are answered in order, each for itself."""
    _name, n = row
    pieces = b"".join(b"GET /%s/%d" % ([b"users", b"orders"][i % 2], [200, 1000, 2000][i % 3]) + H + b"X-Number: %d\r\n\r\n" % i
                      for i in range(n))
    got = same(env, [pieces], answers=n)
    equal([dict(m[1]).get("x-number") for m in got[1:-1]], [str(i) for i in range(n)], "the order of the answers")


def test_pipelined_one_by_one(env):
    """The next request is sent before the last one's answer, in a segment of its own."""
    pieces = [b"GET /odd/slow" + H + b"X-Number: 0\r\n\r\n"] + [
        b"GET /users/%d" % size + H + b"X-Number: %d\r\n\r\n" % i for i, size in enumerate((200, 2000, 1000), 1)]
    got = same(env, pieces, answers=4, pause_s=0.02)
    equal([dict(m[1]).get("x-number") for m in got[1:-1]], ["0", "1", "2", "3"], "the order of the answers")


ANSWERS = ["plain", "chunked", "chunked-slowly", "head", "204", "304", "empty", "until-close", "says-close", "closes", "early",
           "reset", "reset-in-body", "fin-in-body", "fin-in-chunk", "interim", "hints", "slow", "pieces", "large/1000000",
           "junk", "junk-later", "lies"]
# For these the NIC path and the daemon may differ in how the end looks, never in what came before it.
ENDS = {"reset", "reset-in-body", "fin-in-body", "fin-in-chunk", "closes", "junk", "junk-later", "lies", "says-close", "until-close"}


@table([(a,) for a in ANSWERS])
def test_answer(env, row):
    """An upstream's odd answers, between plain requests."""
    kind = row[0]
    data = b"GET /odd/" + kind.encode() + H + b"X-Number: 7\r\n\r\n"
    got, want = None, None
    for g in (env.gw, env.plain):
        got, want = want, talk(env, g.address, [data], 1)
        if kind == "junk-later":
            time.sleep(0.2)  # it is there now, and must have closed the idle connection that it came on
    if kind not in ENDS:
        equal(got, want, "the conversation")
        return
    equal(got[0], want[0], "the plain request before")
    # Either both have a whole answer, and then the same one, or neither has one.
    whole_got, whole_want = (isinstance(x[1], tuple) and x[1][0] < 500 for x in (got, want))
    equal(whole_got, whole_want, f"an answer, {got[1]!r} against {want[1]!r}")
    if whole_got:
        equal(got[1], want[1], "the answer")
    check("evil" not in repr(got), "junk behind an answer reached the client", got)
    check(not any(str(x).startswith(("malformed", "silence")) for x in got), "and it is sound", got)


@table([("early", 3000), ("early", 200000), ("early-close", 200000), ("interim", 3000), ("sum", 200000)])
def test_answer_to_upload(env, row):
    """Answers that come before the body was read: nothing of the body may leak into the next request."""
    kind, size = row
    data = b"POST /odd/" + kind.encode() + H + b"X-Number: 7\r\nContent-Length: %d\r\n\r\n" % size + b"u" * size
    for sink in env.odd:
        sink.forget()
    said = [], []
    got, want = (talk(env, g.address, [data], 1, method="POST", farewells=f) for g, f in zip((env.gw, env.plain), said))
    equal(got[0], want[0], "the plain request before")
    if kind == "early":
        # How much of the body was read when the answer came is a matter of moments. Where it was not all of it,
        # the daemon ends the connection with this answer (it cannot be trusted to be in step), and says so in it.
        equal(got[1], want[1], "the early answer")
        for talked, farewells in zip((got, want), said):
            if farewells[1]:
                equal(talked[2:], ["closed"], "what follows a farewell")
            else:
                equal([(x[0], x[2]) for x in talked[2:]], [(200, talked[0][2])], "the plain request after")
    elif kind != "early-close":
        equal(got, want, "the conversation")
    for sink in env.odd:
        equal([str(r) for r in sink.refused if not isinstance(r, Cut)], [], "what the upstream took for no HTTP")


@timeout(90)
def test_everything_at_once(env):
    """Sixteen connections send a random mix; every answer has the number of its request and nothing hangs."""
    for name in ("users", "orders"):
        env.gw.admin.set_weight(name, 0.5)
    env.gw.admin.set_weight("odd", 0.5)
    count = Count(env.gw)
    failed, done = [], [0] * 16
    kinds = ["plain", "chunked", "204", "304", "empty", "hints", "pieces"]

    def one(client, rng, number):
        pick = rng.randrange(10)
        numbered = f"X-Number: {number}\r\n"
        if pick < 6:
            name, size = rng.choice(["users", "orders"]), rng.choice([0, 200, 1448, 2000, 20000])
            client.send(f"GET /{name}/{size} HTTP/1.1\r\nHost: lab\r\n{numbered}\r\n")
            answer = client.response()
            upstream = answer.get("x-upstream")
            check(upstream in (f"{name}-legacy", f"{name}-modern"), "route", answer)
            equal(answer.body, nic.content_of(upstream, size), "body")
        elif pick < 7:
            client.send(f"GET /odd/{rng.choice(kinds)} HTTP/1.1\r\nHost: lab\r\n{numbered}\r\n")
            answer = client.response()
        elif pick < 8:
            body = bytes([65 + number % 26]) * rng.choice([1, 100, 3000, 40000])
            client.send(f"POST /odd/echo HTTP/1.1\r\nHost: lab\r\n{numbered}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = client.response()
            equal(answer.body, body, "echo")
        elif pick < 9:
            client.send(f"POST /odd/echo HTTP/1.1\r\nHost: lab\r\n{numbered}Transfer-Encoding: chunked\r\n\r\n".encode() +
                        chunks(b"a" * 50, b"b" * 2000))
            answer = client.response()
            equal(answer.body, b"a" * 50 + b"b" * 2000, "echo of chunks")
        else:
            client.send(f"HEAD /users/1000 HTTP/1.1\r\nHost: lab\r\n{numbered}{'X-Long: ' + 'l' * 1500 + chr(13) + chr(10)}\r\n")
            answer = client.response("HEAD")
        equal(answer.get("x-number"), str(number), "the number of the answer")

    def work(index):
        rng = random.Random(index)
        client = None
        try:
            for i in range(120):
                client = client or connect(env, env.gw.address)
                one(client, rng, index * 1000 + i)
                done[index] += 1
                if rng.random() < 0.05:
                    rng.choice([client.close, client.reset])()
                    client = None
        except Exception as error:
            failed.append(f"connection {index}, request {done[index]}: {error!r}")
    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(80)
    equal(failed, [])
    equal(sum(done), 16 * 120, "requests that were answered")
    moved = count.moved()
    check(sum(moved.values()) == 16 * 120, "the gateway counted as much", moved)
    if nic.NIC:
        check(count.of("xdp") > 200 and count.of("daemon") > 200, "both paths had their part", moved)

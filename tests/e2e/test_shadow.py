# SPDX-License-Identifier: Apache-2.0
"""
shadow: what the other side is asked, what that costs the client (nothing), and what comparison says.

Legacy and modern are scripted; each row of MATCHES sends one request through a route whose every exchange is
sampled and waits until the route's evidence has grown by exactly one.
"""
import gzip
import json
import threading
import time

from lib.case import Bench, check, equal, subjects, table, timeout
from lib.net import Client, ask, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
JSON = {"Content-Type": "application/json"}
SECRET = "s3cr3t-0123456789"


def js(value, fields=None, status=200):
    body = value if isinstance(value, (bytes, str)) else json.dumps(value)
    return response(status, body, dict(JSON, **(fields or {})))


def setup():
    env = Bench()
    env.legacy, env.modern = env.own(Upstream()), env.own(Upstream())
    both = {"legacy": env.legacy.url, "modern": env.modern.url, "sample": 1.0}
    env.gw = env.own(Gateway([
        route("plain", "/plain/*", **both),
        route("ignore", "/ignore/*", compare={"ignore": ["/meta/generated_at", "/items/*/id", "/a~1b/c~0d"]}, **both),
        route("tolerance", "/tolerance/*", compare={"float_tolerance": 0.01}, **both),
        route("unordered", "/unordered/*", compare={"unordered": ["/tags"]}, **both),
        route("headers", "/headers/*", compare={"headers": ["content-type", "x-version", "set-cookie"]}, **both),
        route("modern-first", "/modern-first/*", weight=1.0, **both),
        route("unsafe", "/unsafe/*", mirror={"unsafe_methods": True}, **both),
        route("small-cap", "/small-cap/*", mirror={"max_body_bytes": 1000, "unsafe_methods": True}, **both),
        route("quick", "/quick/*", mirror={"timeout_ms": 300}, **both),
        route("half", "/half/*", **dict(both, sample=0.5)),
        route("never", "/never/*", **dict(both, sample=0)),
        route("secret", "/secret/*", compare={"headers": ["set-cookie", "x-secret"], "redact": ["/token", "/list/*/pin"]}, **both),
        route("stall", "/stall/*", mirror={"timeout_ms": 2000}, **both),
    ], sanitized=True))
    env.admin = env.gw.admin
    return env


def use(env, legacy=None, modern=None):
    for up, handler in ((env.legacy, legacy), (env.modern, modern)):
        up.forget()
        up.handler = handler or (lambda ex: js({"a": 1}))


def evidence(env, name):
    """(samples, matches, mismatches, {reason: not comparable}) of the route."""
    c = env.admin.json(f"/admin/routes/{name}")["consistency"]
    return (c["samples"], c["matches"], c["mismatches"], c["not_comparable"])


def grown(env, name, before, by=1):
    """Waits until the evidence has grown by so many exchanges and returns the difference."""
    def total(e):
        return e[0] + sum(e[3].values())
    wait_for(f"{by} more samples of {name}", lambda: total(evidence(env, name)) >= total(before) + by)
    time.sleep(0.05)  # and not by more
    after = evidence(env, name)
    equal(total(after), total(before) + by, "exchanges counted")
    reasons = {k: v - before[3].get(k, 0) for k, v in after[3].items() if v - before[3].get(k, 0)}
    return after[1] - before[1], after[2] - before[2], reasons


def shadow_of(up, timeout_s=5):
    wait_for("the shadow request", lambda: up.seen, timeout_s)
    return up.seen[0]


# --- what is asked ----------------------------------------------------------------------------------------

@table([("legacy-served", "plain", "legacy", "modern"), ("modern-served", "modern-first", "modern", "legacy")])
def test_the_other_side_is_asked_too(env, row):
    _name, name, served, other = row
    use(env, lambda ex: js({"side": 1}, {"X-Side": "legacy"}), lambda ex: js({"side": 1}, {"X-Side": "modern"}))
    before = evidence(env, name)
    r = ask(env.gw.address, "GET", f"/{name}/x?q=1", {"Host": "public.example", "X-Custom": "c", "Accept": "a/b"})
    equal((r.status, r.get("x-side")), (200, served))
    first, second = getattr(env, served), getattr(env, other)
    shadow = shadow_of(second)
    primary = first.last()
    equal((shadow.method, shadow.target, shadow.get("host"), shadow.get("x-custom"), shadow.get("accept")),
          ("GET", f"/{name}/x?q=1", "public.example", "c", "a/b"))
    equal(shadow.get("x-phoenix-shadow"), "1")
    equal(primary.get("x-phoenix-shadow"), None, "X-Phoenix-Shadow at the served side")
    check(primary.get("x-request-id"))
    equal(shadow.get("x-request-id"), primary.get("x-request-id"), "the same request id on both copies")
    equal(grown(env, name, before), (1, 0, {}))
    equal((len(first.seen), len(second.seen)), (1, 1), "requests at the two sides")


def test_client_sees_no_trace_of_the_shadow(env):
    use(env, lambda ex: js({"a": 1}), lambda ex: js({"a": 2}, {"X-Evil": "1", "Set-Cookie": "b=c"}, 500))
    before = evidence(env, "plain")
    r = ask(env.gw.address, "GET", "/plain/x")
    equal((r.status, r.json()), (200, {"a": 1}))
    check(r.get("x-evil") is None and r.get("set-cookie") is None)
    equal(grown(env, "plain", before), (0, 1, {}))


@table(["HEAD", "OPTIONS", "PROPFIND", "REPORT"])
def test_safe_methods_are_mirrored(env, row):
    use(env, lambda ex: response(200, b""), lambda ex: response(200, b""))
    before = evidence(env, "plain")
    ask(env.gw.address, row, "/plain/x")
    equal(shadow_of(env.modern).method, row)
    equal(grown(env, "plain", before), (1, 0, {}))


@table(["POST", "PUT", "PATCH", "DELETE", "X-OTHER"])
def test_unsafe_methods_are_not_mirrored(env, row):
    use(env)
    before = evidence(env, "plain")
    equal(ask(env.gw.address, row, "/plain/x", body=b"transfer").status, 200)
    equal(ask(env.gw.address, "GET", "/plain/marker").status, 200)
    shadow = shadow_of(env.modern)
    equal((shadow.method, shadow.target), ("GET", "/plain/marker"), "the first shadow request")
    equal(grown(env, "plain", before)[:2], (1, 0))
    equal(len(env.modern.seen), 1)


@table(["POST", "PUT", "PATCH", "DELETE"])
def test_unsafe_methods_on_request(env, row):
    use(env)
    before = evidence(env, "unsafe")
    equal(ask(env.gw.address, row, "/unsafe/x", {"Idempotency-Key": "k1", "Content-Type": "text/x"}, b"transfer").status, 200)
    shadow = shadow_of(env.modern)
    equal((shadow.method, shadow.body, shadow.get("idempotency-key"), shadow.get("content-type")),
          (row, b"transfer", "k1", "text/x"))
    equal(grown(env, "unsafe", before), (1, 0, {}))


def test_unsafe_mirroring_has_a_badge(env):
    badges = env.admin.route("unsafe").get("badges")
    check(any("unsafe" in b for b in badges or []), badges)


def test_chunked_request_is_mirrored_whole(env):
    use(env)
    before = evidence(env, "unsafe")
    ask(env.gw.address, "POST", "/unsafe/x", {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    wait_for("the shadow's body", lambda: env.modern.seen and env.modern.seen[0].read)
    equal(env.modern.seen[0].body, b"abcdefg")
    equal(grown(env, "unsafe", before), (1, 0, {}))


def test_loop_guard(env):
    """A request that is itself a shadow makes no further one."""
    use(env)
    before = evidence(env, "plain")
    equal(ask(env.gw.address, "GET", "/plain/loop", {"X-Phoenix-Shadow": "1"}).status, 200)
    ask(env.gw.address, "GET", "/plain/marker")
    equal(shadow_of(env.modern).target, "/plain/marker")
    equal(grown(env, "plain", before)[:2], (1, 0))


def test_sample_share(env):
    use(env)
    with Client(env.gw.address) as c:
        for _ in range(200):
            c.ask("GET", "/half/x")
    wait_for("about half", lambda: len(env.modern.seen) >= 99)
    time.sleep(0.1)
    check(abs(len(env.modern.seen) - 100) <= 1, f"{len(env.modern.seen)} of 200 at sample 0.5")


def test_sample_0_asks_nobody(env):
    use(env)
    with Client(env.gw.address) as c:
        for _ in range(20):
            c.ask("GET", "/never/x")
    before = evidence(env, "plain")
    ask(env.gw.address, "GET", "/plain/marker")
    equal(shadow_of(env.modern).target, "/plain/marker")
    equal(grown(env, "plain", before), (1, 0, {}))


# --- what comparison says ---------------------------------------------------------------------------------

def both(legacy, modern):
    return legacy, modern


MATCHES = [
    # name, route, legacy's answer, modern's answer, match?
    ("equal", "plain", js({"a": 1}), js({"a": 1}), True),
    ("key-order", "plain", js('{"a":1,"b":[1,2]}'), js('{ "b" : [1, 2],\n "a": 1 }'), True),
    ("value", "plain", js({"a": 1}), js({"a": 2}), False),
    ("missing", "plain", js({"a": 1, "b": 2}), js({"a": 1}), False),
    ("more", "plain", js({"a": 1}), js({"a": 1, "b": 2}), False),
    ("null-is-not-missing", "plain", js({"a": None}), js({}), False),
    ("type", "plain", js({"a": 1}), js({"a": "1"}), False),
    ("bool-is-not-number", "plain", js({"a": 1}), js({"a": True}), False),
    ("array-order", "plain", js([1, 2, 3]), js([3, 2, 1]), False),
    ("array-length", "plain", js([1, 2]), js([1, 2, 3]), False),
    ("escapes", "plain", js('{"a":"\\u00e9\\/"}'), js('{"a":"\u00e9/"}'), True),
    ("number-form", "plain", js('{"a":1.0}'), js('{"a":1}'), True),
    ("number-exponent", "plain", js('{"a":100}'), js('{"a":1e2}'), True),
    ("number-20-digits", "plain", js('{"a":12345678901234567890}'), js('{"a":12345678901234567891}'), False),
    ("number-20-digits-equal", "plain", js('{"a":12345678901234567890}'), js('{"a":12345678901234567890}'), True),
    ("number-long-fraction", "plain", js('{"a":0.10000000000000000001}'), js('{"a":0.1}'), False),
    ("number-huge", "plain", js('{"a":1e400}'), js('{"a":1e401}'), False),
    ("nul-in-string", "plain", js('{"a":"x\\u0000y"}'), js('{"a":"x\\u0000z"}'), False),
    ("deep", "plain", js('{"a":' * 50 + "1" + "}" * 50), js('{"a":' * 50 + "2" + "}" * 50), False),
    ("status", "plain", js({"a": 1}), js({"a": 1}, status=201), False),
    ("both-404", "plain", js({"e": 1}, status=404), js({"e": 1}, status=404), True),
    ("modern-500", "plain", js({"a": 1}), js({"a": 1}, status=500), False),
    ("text-equal", "plain", response(200, b"abc", {"Content-Type": "text/plain"}),
     response(200, b"abc", {"Content-Type": "text/plain"}), True),
    ("text-differs", "plain", response(200, b"abc", {"Content-Type": "text/plain"}),
     response(200, b"abd", {"Content-Type": "text/plain"}), False),
    ("binary", "plain", response(200, bytes(range(256)), {"Content-Type": "image/png"}),
     response(200, bytes(range(256)), {"Content-Type": "image/png"}), True),
    ("empty", "plain", response(200, b""), response(200, b""), True),
    ("204-both", "plain", b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n", True),
    ("body-against-none", "plain", js({"a": 1}), response(200, b"", JSON), False),
    ("broken-json-equal", "plain", js('{"a":'), js('{"a":'), True),
    ("broken-json-differs", "plain", js('{"a":'), js('{"a":1}'), False),
    ("problem-json", "plain", response(400, b'{"a":1,"b":2}', {"Content-Type": "application/problem+json"}),
     response(400, b'{"b":2,"a":1}', {"Content-Type": "application/problem+json"}), True),
    ("date-does-not-matter", "plain", js({"a": 1}, {"Date": "x", "Server": "a"}), js({"a": 1}, {"Date": "y", "Server": "b"}), True),
    ("framing-does-not-matter", "plain", js({"a": 1}),
     b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n5\r\n\": 1}\r\n0\r\n\r\n", True),
    ("gzip-one-side", "plain", js({"a": 1}), response(200, gzip.compress(b'{"a": 1}'), dict(JSON, **{"Content-Encoding": "gzip"})), True),
    ("gzip-both-differ", "plain", response(200, gzip.compress(b'{"a":1}'), dict(JSON, **{"Content-Encoding": "gzip"})),
     response(200, gzip.compress(b'{"a":2}'), dict(JSON, **{"Content-Encoding": "gzip"})), False),
    ("gzip-other-level", "plain", response(200, gzip.compress(b'{"a":1}' + b" " * 500, 1), dict(JSON, **{"Content-Encoding": "gzip"})),
     response(200, gzip.compress(b'{"a":1}' + b" " * 500, 9), dict(JSON, **{"Content-Encoding": "gzip"})), True),
    ("ignored", "ignore", js({"meta": {"generated_at": 1}, "a": 1}), js({"meta": {"generated_at": 2}, "a": 1}), True),
    ("ignored-star", "ignore", js({"items": [{"id": 1, "v": 1}, {"id": 2, "v": 2}]}), js({"items": [{"id": 8, "v": 1}, {"id": 9, "v": 2}]}), True),
    ("not-ignored", "ignore", js({"items": [{"id": 1, "v": 1}]}), js({"items": [{"id": 1, "v": 2}]}), False),
    ("ignored-escapes", "ignore", js({"a/b": {"c~d": 1}}), js({"a/b": {"c~d": 2}}), True),
    ("ignored-neighbour", "ignore", js({"meta": {"generated_at": 1, "x": 1}}), js({"meta": {"generated_at": 2, "x": 2}}), False),
    ("ignored-missing", "ignore", js({"meta": {"generated_at": 1}}), js({"meta": {}}), True),
    ("tolerated", "tolerance", js({"a": 1.000}), js({"a": 1.009}), True),
    ("not-tolerated", "tolerance", js({"a": 1.000}), js({"a": 1.011}), False),
    ("unordered", "unordered", js({"tags": [1, 2, 2]}), js({"tags": [2, 1, 2]}), True),
    ("unordered-multiset", "unordered", js({"tags": [1, 2, 2]}), js({"tags": [1, 1, 2]}), False),
    ("unordered-elsewhere", "unordered", js({"x": [1, 2]}), js({"x": [2, 1]}), False),
    ("header-listed", "headers", js({"a": 1}, {"X-Version": "1"}), js({"a": 1}, {"X-Version": "2"}), False),
    ("header-equal", "headers", js({"a": 1}, {"X-Version": "1"}), js({"a": 1}, {"x-version": "1"}), True),
    ("header-missing", "headers", js({"a": 1}, {"X-Version": "1"}), js({"a": 1}), False),
    ("header-unlisted", "headers", js({"a": 1}, {"X-Else": "1"}), js({"a": 1}, {"X-Else": "2"}), True),
    ("content-type-listed", "headers", js({"a": 1}), response(200, b'{"a": 1}', {"Content-Type": "text/plain"}), False),
]


@table(MATCHES)
def test_compare(env, row):
    _name, name, legacy, modern, match = row
    use(env, lambda ex: legacy, lambda ex: modern)
    before = evidence(env, name)
    ask(env.gw.address, "GET", f"/{name}/{row[0]}")
    equal(grown(env, name, before), (int(match), int(not match), {}), "matches, mismatches, not comparable")


def test_compare_large_bodies(env):
    """Under the cap of 1 MiB: every byte counts."""
    big = {"list": [{"n": i, "text": "x" * 50} for i in range(10000)]}
    other = json.loads(json.dumps(big))
    other["list"][9999]["n"] = -1
    use(env, lambda ex: js(big), lambda ex: js(big if ex.target.endswith("same") else other))
    before = evidence(env, "plain")
    ask(env.gw.address, "GET", "/plain/same")
    equal(grown(env, "plain", before), (1, 0, {}))
    before = evidence(env, "plain")
    ask(env.gw.address, "GET", "/plain/other")
    equal(grown(env, "plain", before), (0, 1, {}))


# --- what cannot be compared ------------------------------------------------------------------------------

@table([("response-length", "x" * 2000, "GET", None), ("response-modern-only", "m", "GET", None), ("request", "y", "POST", b"z" * 2000)])
def test_body_over_cap_is_counted(env, row):
    def side(which):
        def handler(ex):
            ex.read_body()
            long = row[0] == "response-length" or (row[0] == "response-modern-only" and which == "modern")
            return response(200, b"x" * (2000 if long else 10))
        return handler
    use(env, side("legacy"), side("modern"))
    before = evidence(env, "small-cap")
    equal(ask(env.gw.address, row[2], "/small-cap/x", body=row[3]).status, 200)
    equal(grown(env, "small-cap", before), (0, 0, {"body_over_cap": 1}))


def test_body_over_cap_passes_whole(env):
    """The cap is the sample's, not the client's."""
    use(env, lambda ex: response(200, b"L" * 5_000_000))
    before = evidence(env, "small-cap")
    r = ask(env.gw.address, "GET", "/small-cap/x")
    equal((r.status, len(r.body)), (200, 5_000_000))
    equal(grown(env, "small-cap", before), (0, 0, {"body_over_cap": 1}))


@table([("timeout", lambda ex: ex.wait_gone(3) and None), ("closed", lambda ex: ex.close()), ("reset", lambda ex: ex.reset()),
        ("broken", lambda ex: b"garbage\r\n\r\n"), ("cut", lambda ex: (ex.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"), ex.close())[1])])
def test_failed_shadow_is_a_mismatch(env, row):
    """The served side was fine, the shadow was not: that is a difference."""
    use(env, lambda ex: js({"a": 1}), row[1])
    before = evidence(env, "quick")
    started = time.monotonic()
    equal(ask(env.gw.address, "GET", "/quick/x").status, 200)
    check(time.monotonic() - started < 0.25 or row[0] != "timeout" or env.gw.sanitized, "the client waited for the shadow")
    equal(grown(env, "quick", before), (0, 1, {}))


def test_dead_modern_is_a_mismatch_and_harms_nobody(env):
    dead = Upstream()
    dead.stop()
    gw = Gateway([route(legacy=env.legacy.url, modern=dead.url, sample=1.0)])
    try:
        use(env)
        for _ in range(20):
            equal(gw.ask().status, 200)
        wait_for("the evidence", lambda: gw.admin.route("all")["consistency"]["samples"] >= 20)
        equal(gw.admin.route("all")["consistency"]["mismatches"], 20)
    finally:
        gw.stop()


def test_dead_legacy_is_not_evidence(env):
    """Nothing was served, so there is nothing to compare with."""
    use(env, lambda ex: ex.close())
    before = evidence(env, "plain")
    equal(ask(env.gw.address, "GET", "/plain/x").status, 502)
    wait_for("the exchange being counted", lambda: evidence(env, "plain") != before)
    equal(evidence(env, "plain")[1], before[1], "matches")


def test_upgrade_is_not_comparable(env):
    def handler(ex):
        ex.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbye")
        ex.close()
    use(env, handler, handler)
    before = evidence(env, "plain")
    with Client(env.gw.address) as c:
        equal(c.ask("GET", "/plain/ws", {"Connection": "Upgrade", "Upgrade": "x"}).status, 101)
        equal(c.reader.rest(), b"bye")
    use(env)
    ask(env.gw.address, "GET", "/plain/marker")
    wait_for("the marker being counted", lambda: evidence(env, "plain")[1] == before[1] + 1)
    time.sleep(0.1)
    equal(evidence(env, "plain")[:3], (before[0] + 1, before[1] + 1, before[2]), "samples, matches, mismatches")


def test_client_gone_is_not_a_mismatch(env):
    def slow(ex):
        time.sleep(0.3)
        return js({"a": 1})
    use(env, slow)
    before = evidence(env, "plain")
    client = Client(env.gw.address)
    client.request("GET", "/plain/x")
    wait_for("the request", lambda: env.legacy.seen)
    client.reset()
    ask(env.gw.address, "GET", "/plain/marker")
    equal(grown(env, "plain", before, 2), (1, 0, {"client_gone": 1}))


# --- the primary never waits ------------------------------------------------------------------------------

@timeout(60)
@table(["stalled", "refusing-to-read", "trickling"])
def test_stalled_shadow_leaves_the_primary_alone(env, row):
    """200 requests over 8 connections while each shadow stalls for 2 s: the slowest primary answer stays below
    1 s, and in the middle the time is what it is without any shadow, within a wide margin."""
    release = threading.Event()

    def stalled(ex):
        if row == "trickling":
            ex.send(b"HTTP/1.1 200 OK\r\n")
        release.wait(2.5)
        ex.open = False
        ex.close()

    def measure(path):
        times = []

        def work():
            with Client(env.gw.address) as c:
                for _ in range(25):
                    started = time.monotonic()
                    equal(c.ask("GET", path).status, 200)
                    times.append(time.monotonic() - started)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(30)
        equal(len(times), 200)
        return sorted(times)
    use(env)
    plain = measure("/never/x")
    use(env, modern=stalled)
    before = evidence(env, "stall")
    with_shadow = measure("/stall/x")
    check(with_shadow[-1] < 1.0, f"the slowest of 200 took {with_shadow[-1]:.2f} s")
    check(with_shadow[100] < 5 * plain[100] + 0.05, f"median {with_shadow[100] * 1e3:.1f} ms, without {plain[100] * 1e3:.1f} ms")
    # all of them end up counted: timed out (a mismatch) or shed, never a match
    wait_for("every exchange being counted", lambda: evidence(env, "stall")[0] + sum(evidence(env, "stall")[3].values()) >=
             before[0] + sum(before[3].values()) + 200, 15)
    release.set()
    equal(evidence(env, "stall")[1], before[1], "matches")


def test_memory_of_stalled_shadows_is_bounded(env):
    """Large bodies held by stalled shadows: limits.sample_memory_bytes holds, samples are shed and counted."""
    release = threading.Event()
    gw = Gateway([route(legacy=env.legacy.url, modern=env.modern.url, sample=1.0,
                        mirror={"timeout_ms": 4000, "max_body_bytes": 4 << 20})],
                 limits={"sample_memory_bytes": 16 << 20})
    try:
        use(env, lambda ex: response(200, b"x" * (1 << 20)), lambda ex: release.wait(4) and None)
        gw.ask()
        base_kb = gw.memory_kb()
        with Client(gw.address) as c:
            for _ in range(120):
                equal(len(c.ask().body), 1 << 20)
        grown_kb = gw.memory_kb() - base_kb
        check(grown_kb < 48 * 1024 or gw.sanitized, f"grew by {grown_kb} KB for 120 MB of samples")
        release.set()
        wait_for("shed samples being counted", lambda: sum(gw.admin.route("all")["consistency"]["not_comparable"].values()) > 0)
    finally:
        release.set()
        gw.stop()


@timeout(60)
@table([1, 2, 3])
def test_end_with_comparisons_queued(env, row):
    """SIGTERM while the comparer is far behind: what is queued is dropped, not compared with freed memory."""
    one = json.dumps({f"k{i}": i for i in range(40000)})
    other = json.dumps({f"k{i}": i for i in reversed(range(40000))})
    use(env, lambda ex: js(one), lambda ex: js(other))
    gw = Gateway([route(legacy=env.legacy.url, modern=env.modern.url, sample=1.0)], sanitized=True)
    try:
        clients = [Client(gw.address) for _ in range(8)]
        for _ in range(6):
            for c in clients:
                c.request("GET", "/")
            for c in clients:
                equal(c.response().status, 200)
        for c in clients:
            c.close()
    finally:
        gw.stop()


# --- what is shown ----------------------------------------------------------------------------------------

def test_differences_are_grouped(env):
    use(env, lambda ex: js({"items": [{"fee": 1, "v": 1}, {"fee": 2, "v": 1}]}),
        lambda ex: js({"items": [{"fee": 9, "v": 1}, {"fee": 8, "v": 1}]}))
    before = evidence(env, "plain")
    for i in range(5):
        ask(env.gw.address, "GET", f"/plain/group{i}")
    equal(grown(env, "plain", before, 5)[:2], (0, 5))
    doc = env.admin.json("/admin/routes/plain/diffs")
    groups = [g for g in doc["groups"] if "fee" in g["pointer"]]
    equal([g["pointer"] for g in groups], ["/items/*/fee"], "one group for all elements of the array")
    check(groups[0]["count"] >= 5, groups[0])
    example = groups[0]["examples"][0]
    check(example["request_id"] and example["method"] == "GET" and "/plain/group" in example["target"], example)
    check("1" in json.dumps(example["legacy"]) or "2" in json.dumps(example["legacy"]), example)


def test_ignore_by_rest(env):
    use(env, lambda ex: js({"x": {"t": 1}}), lambda ex: js({"x": {"t": 2}}))
    before = evidence(env, "tolerance")
    ask(env.gw.address, "GET", "/tolerance/a")
    equal(grown(env, "tolerance", before), (0, 1, {}))
    dry = env.admin.ok("PUT", "/admin/routes/tolerance/ignore?dry_run=true", {"ignore": ["/x/t"]}).json()
    check(dry["dry_run"] is True and dry["would_change"]["mismatches_silenced"] >= 1, dry)
    before = evidence(env, "tolerance")
    ask(env.gw.address, "GET", "/tolerance/b")
    equal(grown(env, "tolerance", before)[1], 1, "a dry run changes nothing")
    env.admin.ok("PUT", "/admin/routes/tolerance/ignore", {"ignore": ["/x/t"]})

    def now_ignored():
        start = evidence(env, "tolerance")
        ask(env.gw.address, "GET", "/tolerance/c")
        return grown(env, "tolerance", start)[:2] == (1, 0)
    wait_for("the pointer being ignored", now_ignored, 5)
    check("/x/t" in env.admin.route("tolerance")["consistency"]["ignored_pointers"], "active ignores stand beside the figure")


@table([("not-a-pointer", ["x"]), ("not-a-list", "/x"), ("bad-escape", ["/a~2"]), ("number", [1])])
def test_bad_ignore(env, row):
    reply = env.admin.request("PUT", "/admin/routes/plain/ignore", {"ignore": row[1]})
    check(reply.status in (400, 422), reply)


def test_secrets_are_nowhere(env):
    """Authorization, Cookie, Set-Cookie, X-Api-Key and the configured pointers are never stored in clear, while
    that they differ stays visible."""
    use(env, lambda ex: js({"token": SECRET + "-a", "list": [{"pin": SECRET + "-p"}], "v": 1}, {"Set-Cookie": f"sid={SECRET}-c"}),
        lambda ex: js({"token": SECRET + "-b", "list": [{"pin": SECRET + "-q"}], "v": 2}, {"Set-Cookie": f"sid={SECRET}-d"}))
    before = evidence(env, "secret")
    ask(env.gw.address, "GET", "/secret/x", {"Authorization": f"Bearer {SECRET}", "Cookie": f"sid={SECRET}", "X-Api-Key": SECRET,
                                             "Proxy-Authorization": f"Basic {SECRET}"})
    equal(grown(env, "secret", before), (0, 1, {}))
    doc = env.admin.json("/admin/routes/secret/diffs")
    check(any(g["pointer"] == "/token" for g in doc["groups"]), "the difference is shown", doc)
    for path in ("/admin/routes/secret/diffs", "/admin/routes/secret", "/admin/status", "/admin/events", "/admin/audit",
                 "/admin/routes/secret/decisions", "/metrics"):
        check(SECRET not in env.admin.get(path).body.decode(), f"a secret is in {path}")
    check(SECRET not in env.gw.log(), "a secret is in the log")


def test_shadow_numbers_stay_apart(env):
    """Shadow requests are no requests: live metrics do not count them."""
    use(env)
    m = env.admin
    before = (m.metric("phoenix_requests_total", route="plain") or 0, m.metric("phoenix_shadow_requests_total") or 0)
    evidence_before = evidence(env, "plain")
    for _ in range(10):
        ask(env.gw.address, "GET", "/plain/x")
    grown(env, "plain", evidence_before, 10)
    equal(m.metric("phoenix_requests_total", route="plain"), before[0] + 10)
    check(m.metric("phoenix_shadow_requests_total") >= before[1] + 10)
    check(m.metric("phoenix_compare_total", route="plain") >= 10)


@subjects("phoenix")
def test_evidence_does_not_dry_up(env):
    """At full weight modern serves and legacy is asked: consistency is measured all the same."""
    use(env, lambda ex: js({"a": 1}), lambda ex: js({"a": 2}))
    before = evidence(env, "modern-first")
    r = ask(env.gw.address, "GET", "/modern-first/x")
    equal(r.json(), {"a": 2})
    equal(grown(env, "modern-first", before), (0, 1, {}))

# SPDX-License-Identifier: Apache-2.0
"""
health: what clients notice when a service refuses, dies, hangs or comes back: as little as can be.

A request for modern that modern cannot have seen goes to legacy, whatever its method; one that it may have seen
only when asking twice is safe. A service that does not answer so many requests in a row is ejected for a while,
one that fails its checks stays away until it passes them. Both are one bit, shown everywhere, and what went wrong
stays evidence against modern.
"""
import socket
import time

from lib.case import Bench, check, equal, table
from lib.net import Client, chunks, free_port, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
NO_EJECT = {"eject_after": 0}


def dead():
    return f"http://127.0.0.1:{free_port()}"


def closes(ex):
    """Reads a request and leaves without a word."""
    ex.read_body()
    ex.close()


def setup():
    env = Bench()
    env.legacy, env.modern = env.own(Upstream()), env.own(Upstream())
    env.checked = {name: env.own(Upstream(lambda ex, name=name: answer(env, name, ex))) for name in ("legacy", "modern")}
    env.well = {"legacy": True, "modern": True}
    env.legacy.handler = lambda ex: answer(env, "legacy", ex)
    env.modern.handler = lambda ex: answer(env, "modern", ex)
    env.nowhere = dead()
    one = {"weight": 1.0}
    env.gw = env.own(Gateway([
        route("refused", "/refused/*", legacy=env.legacy.url + "/old/base", modern=env.nowhere, health=NO_EJECT, **one),
        route("based", "/based/*", legacy=env.legacy.url, modern=env.nowhere + "/new/base", health=NO_EJECT, **one),
        route("named", "/named/*", legacy=env.legacy.url, modern="http://no-such-host.invalid:80", health=NO_EJECT, **one),
        route("strict", "/strict/*", legacy=env.legacy.url, modern=env.nowhere, health={"failover": False, "eject_after": 0},
              **one),
        route("closing", "/closing/*", legacy=env.legacy.url, modern=env.modern.url, health=NO_EJECT, **one),
        route("both", "/both/*", legacy=env.nowhere, modern=env.nowhere, health=NO_EJECT, **one),
        route("evidence", "/evidence/*", legacy=env.legacy.url, modern=env.nowhere, sample=1.0, health=NO_EJECT, **one),
        route("eject", "/eject/*", legacy=env.legacy.url, modern=env.modern.url, sample=1.0,
              health={"eject_after": 3, "eject_ms": 1500}, **one),
        route("old", "/old/*", legacy=env.nowhere, modern=env.modern.url, health={"eject_after": 2, "eject_ms": 60000}),
        route("checked", "/checked/*", legacy=env.checked["legacy"].url, modern=env.checked["modern"].url + "/base",
              health={"path": "/healthz?deep=1", "interval_ms": 50, "timeout_ms": 400, "fall": 2, "rise": 2,
                      "eject_after": 0}, **one),
    ], sanitized=True, workers=2, limits={"upstream_timeout_ms": 5000}))
    env.admin = env.gw.admin
    return env


def answer(env, name, ex):
    if ex.target.endswith("/healthz?deep=1"):
        return response(200 if env.well[name] else 503, b"")
    if ex.target.startswith("/closing") and name == "modern":
        return closes(ex)
    if name == "modern" and not env.well["modern"]:
        return closes(ex)
    return response(200, b"%s %s %s" % (name.encode(), ex.target.encode(), ex.read_body()))


def metric(env, name, id, **labels):
    return env.admin.metric("phoenix_" + name, route=id, **labels) or 0


# --- failover of one request ------------------------------------------------------------------------------

@table([("get", "GET", None, {}), ("head", "HEAD", None, {}), ("post", "POST", b"x" * 1000, {}),
        ("chunks", "POST", chunks(b"a" * 700, b"b" * 300), {"Transfer-Encoding": "chunked"}),
        ("large", "PUT", b"y" * 300_000, {}), ("query", "GET", None, {})])
def test_refused_goes_to_legacy(env, row):
    """Modern does not accept: no client notices, the request arrives whole, with legacy's base path and not modern's."""
    _, method, body, fields = row
    env.legacy.forget()
    before = metric(env, "failovers_total", "refused"), metric(env, "failovers_total", "based")
    for id, base in (("refused", "/old/base"), ("based", "")):
        r = env.gw.ask(method, f"/{id}/x?q=1", fields, body)
        equal(r.status, 200)
        want = b"a" * 700 + b"b" * 300 if fields else body or b""
        seen = env.legacy.last()
        equal((seen.method, seen.target, seen.body), (method, f"{base}/{id}/x?q=1", want), "what legacy got")
        equal(len(seen.all("host")), 1)
    equal(len(env.legacy.seen), 2, "requests at legacy")
    equal((metric(env, "failovers_total", "refused"), metric(env, "failovers_total", "based")),
          (before[0] + 1, before[1] + 1), "failovers counted")


def test_failover_keeps_the_connection(env):
    """Pipelined behind it, the next ones are answered in their order."""
    with Client(env.gw.address) as c:
        for i in range(5):
            c.send(f"GET /refused/{i} HTTP/1.1\r\nHost: t\r\n\r\n")
        equal([c.response().body for _ in range(5)], [f"legacy /old/base/refused/{i} ".encode() for i in range(5)])


def test_name_that_does_not_resolve(env):
    equal(env.gw.ask("POST", "/named/x", body=b"b").body, b"legacy /named/x b")


def test_without_failover_it_is_502(env):
    r = env.gw.ask("GET", "/strict/x")
    equal((r.status, r.json()["error"]), (502, "upstream_connect"))


def test_both_refused_is_502(env):
    r = env.gw.ask("GET", "/both/x")
    equal((r.status, r.json()["error"], r.json()["side"]), (502, "upstream_connect", "legacy"))


def test_old_client_without_host(env):
    """HTTP/1.0 without Host: what was written for modern names modern, so nobody else may get it."""
    with Client(env.gw.address) as c:
        c.send("GET /refused/x HTTP/1.0\r\n\r\n")
        equal(c.response().status, 502)


def test_dot_segments_do_not_climb_out_of_legacys_base(env):
    with Client(env.gw.address) as c:
        c.send("GET /refused/../x HTTP/1.1\r\nHost: t\r\n\r\n")
        check(c.response().status in (400, 404, 502))
    equal([e.target for e in env.legacy.seen if ".." in e.target], [])


@table([("get", "GET", True), ("head", "HEAD", True), ("post", "POST", False), ("put", "PUT", False), ("delete", "DELETE", False)])
def test_closed_before_an_answer(env, row):
    """Modern had the request: only what changes nothing is asked of legacy as well."""
    _, method, safe = row
    env.legacy.forget()
    r = env.gw.ask(method, "/closing/x", body=None if safe else b"b")
    if safe:
        equal(r.status, 200)
        equal(len(env.legacy.seen), 1)
    else:
        equal((r.status, r.json()["error"]), (502, "upstream_closed"))
        equal(len(env.legacy.seen), 0, "requests at legacy")


def test_failover_is_evidence(env):
    """Clients saw nothing, the arbiter must: each is a mismatch."""
    before = metric(env, "compare_total", "evidence", result="mismatch")
    for _ in range(10):
        equal(env.gw.ask("POST", "/evidence/x", body=b"b").status, 200)
    wait_for("ten mismatches", lambda: metric(env, "compare_total", "evidence", result="mismatch") == before + 10)
    weight = env.admin.weight("evidence")
    equal(weight["set"], 1.0)


# --- ejection -----------------------------------------------------------------------------------------------

def up(env, id, side):
    return metric(env, "upstream_up", id, backend=side)


def test_ejection_and_return(env):
    """Three unanswered requests in a row: modern is left alone, shown as down, tried again, and back."""
    env.well["modern"] = False
    try:
        equal([env.gw.ask("POST", "/eject/x", body=b"b").status for _ in range(3)], [502] * 3)
        equal(up(env, "eject", "modern"), 0)
        env.modern.forget()
        equal([env.gw.ask("POST", "/eject/x", body=b"b").status for _ in range(5)], [200] * 5)
        equal([e.target for e in env.modern.seen if e.method == "POST"], [], "live requests at an ejected service")
        item = env.admin.route("eject")
        equal((item["sides"]["modern"]["down"], item["sides"]["legacy"]["down"]), (True, False))
        equal(item["sides"]["modern"]["ejections"], 1)
        check("modern down" in item["badges"], item["badges"])
        wait_for("the event", lambda: [e for e in env.admin.items("/admin/events", "events") if e["type"] == "health"
                                       and e["route"] == "eject" and e["data"] == {"side": "modern", "down": True}])
        # Let in again for one request, which fails: out again at once.
        wait_for("another try", lambda: up(env, "eject", "modern") == 1)
        equal(env.gw.ask("POST", "/eject/x", body=b"b").status, 502)
        equal(up(env, "eject", "modern"), 0)
    finally:
        env.well["modern"] = True
    wait_for("modern being asked again", lambda: env.gw.ask("GET", "/eject/x").body.startswith(b"modern"))
    equal(up(env, "eject", "modern"), 1)
    for _ in range(2):
        equal(env.gw.ask("GET", "/eject/x").body, b"modern /eject/x ")
    equal(env.admin.route("eject")["sides"]["modern"]["down"], False)
    wait_for("the event of its return", lambda: [e for e in env.admin.items("/admin/events", "events") if
             e["type"] == "health" and e["route"] == "eject" and e["data"] == {"side": "modern", "down": False}])


def test_ejected_requests_are_evidence(env):
    """What cannot be mirrored counts against modern while modern is away; what can is judged by its copy."""
    env.well["modern"] = False
    try:
        while up(env, "eject", "modern"):
            env.gw.ask("POST", "/eject/x", body=b"b")
        before = metric(env, "compare_total", "eject", result="mismatch")
        for _ in range(3):
            equal(env.gw.ask("POST", "/eject/x", body=b"b").body, b"legacy /eject/x b")
        wait_for("three mismatches", lambda: metric(env, "compare_total", "eject", result="mismatch") >= before + 3)
    finally:
        env.well["modern"] = True
    wait_for("modern being asked again", lambda: env.gw.ask("GET", "/eject/x").body.startswith(b"modern"))


def test_legacy_has_no_substitute(env):
    """Down or not, legacy's requests are never modern's: a weight of 0 is none."""
    env.modern.forget()
    for _ in range(4):
        equal(env.gw.ask("GET", "/old/x").status, 502)
    equal(up(env, "old", "legacy"), 0)
    equal([e.target for e in env.modern.seen if e.target.startswith("/old")], [])


# --- active checks ------------------------------------------------------------------------------------------

def test_checks(env):
    """Modern fails its checks: legacy serves, before any client was disappointed; it passes them: modern serves."""
    wait_for("checks", lambda: metric(env, "health_checks_total", "checked", backend="modern", result="good") > 1)
    equal(env.gw.ask("GET", "/checked/x").body, b"modern /base/checked/x ")
    check([e for e in env.checked["modern"].seen if e.target == "/base/healthz?deep=1"], "no check below the base path")
    check([e for e in env.checked["legacy"].seen if e.target == "/healthz?deep=1"], "no check of legacy")
    env.well["modern"] = False
    try:
        wait_for("modern being down", lambda: up(env, "checked", "modern") == 0)
        for _ in range(3):
            equal(env.gw.ask("POST", "/checked/x", body=b"b").body, b"legacy /checked/x b")
        equal(up(env, "checked", "legacy"), 1)
    finally:
        env.well["modern"] = True
    wait_for("modern being up", lambda: up(env, "checked", "modern") == 1)
    equal(env.gw.ask("GET", "/checked/x").body, b"modern /base/checked/x ")


def test_checks_outlive_a_reload(env):
    """A reload forgets neither that modern is down nor to look at it again."""
    env.well["modern"] = False
    try:
        wait_for("modern being down", lambda: up(env, "checked", "modern") == 0)
        for _ in range(5):
            env.admin.ok("POST", "/admin/config/reload")
            equal(up(env, "checked", "modern"), 0)
            equal(env.gw.ask("GET", "/checked/x").body, b"legacy /checked/x ")
    finally:
        env.well["modern"] = True
    wait_for("modern being up", lambda: up(env, "checked", "modern") == 1)


@table([("hangs", lambda s: None), ("junk", lambda s: s.sendall(b"junk\r\n\r\n")), ("closes", lambda s: s.close()),
        ("status", lambda s: s.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")),
        ("half", lambda s: s.sendall(b"HTTP/1.1 200 OK\r\n")),
        ("endless", lambda s: s.sendall(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000)),
        ("interim-only", lambda s: s.sendall(b"HTTP/1.1 103 Early\r\n\r\n"))])
def test_check_that_is_no_answer(env, row):
    """Whatever a check gets that is not a good answer in time is a failed one, and the next one still comes."""
    kept = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)
    gw = Gateway([route("r", legacy=env.legacy.url, modern=f"http://127.0.0.1:{listener.getsockname()[1]}", weight=1.0,
                        health={"path": "/h", "interval_ms": 50, "timeout_ms": 400, "fall": 2, "eject_after": 0})],
                 sanitized=True, workers=1)
    try:
        for _ in range(3):
            sock, _ = listener.accept()
            sock.recv(4096)
            kept.append(sock)
            try:
                row[1](sock)
            except OSError:
                pass
        # On a busy machine legacy may be too late for its checks, too, and nothing stands in for that one.
        wait_for("modern being down, and only modern", lambda: [
            gw.admin.metric("phoenix_upstream_up", backend=b) for b in ("modern", "legacy")] == [0, 1])
        equal(gw.ask("GET", "/x").body, b"legacy /x ")
    finally:
        for sock in kept:
            sock.close()
        listener.close()
        gw.stop()


def test_drain_during_checks(env):
    """A daemon that is told to go does not wait for a check that hangs."""
    listener = socket.create_server(("127.0.0.1", 0))
    gw = Gateway([route("r", legacy=env.legacy.url, modern=f"http://127.0.0.1:{listener.getsockname()[1]}",
                        health={"path": "/h", "interval_ms": 50, "timeout_ms": 60000})], sanitized=True, workers=2)
    try:
        listener.accept()
        started = time.monotonic()
        gw.stop()
        check(time.monotonic() - started < 14, "the drain waited for a check")
    finally:
        listener.close()


# --- deadlines ----------------------------------------------------------------------------------------------

def test_first_byte_has_a_limit_of_its_own(env):
    """Silence after the request is 504 upstream_first_byte; an answer that is slow once it began is not."""
    silent = Upstream(lambda ex: time.sleep(1.0) if ex.target == "/silent" else
                      ex.send(b"HTTP/1.1 200 OK\r\nContent-Le") and ex.read_body() and None or
                      (time.sleep(0.8), b"ngth: 2\r\n\r\nok")[1])
    gw = Gateway([route("r", legacy=silent.url)], sanitized=True, workers=1,
                 limits={"first_byte_timeout_ms": 300, "upstream_timeout_ms": 5000})
    try:
        r = gw.ask("GET", "/silent")
        equal((r.status, r.json()["error"]), (504, "upstream_first_byte"))
        equal(gw.ask("GET", "/slow").body, b"ok")
        equal(gw.admin.metric("phoenix_upstream_errors_total", kind="upstream_first_byte"), 1)
    finally:
        gw.stop()
        silent.stop()

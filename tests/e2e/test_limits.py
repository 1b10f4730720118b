# SPDX-License-Identifier: Apache-2.0
"""
limits: how slow a client may be, and how many connections one address may have.

The window in which a client's pace is measured is limits.idle_timeout_ms, here half a second, so that what takes a
minute in production takes a moment in the test; limits.min_rate_bytes is 2,000 bytes a second.
"""
import socket
import time

from lib.case import Bench, check, equal, table
from lib.net import Client, Cut, ask, free_port, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
BIG = b"0123456789abcdef" * 65536  # 1 MiB


def answer(ex):
    if ex.target == "/big":
        return response(200, BIG)
    if ex.target == "/huge":  # more than all socket buffers between here and there
        return response(200, BIG * 32)
    return response(200, str(len(ex.read_body())).encode())


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    env.up.handler = answer
    env.gw = env.own(Gateway([route(legacy=env.up.url)], sanitized=True, workers=2,
                             limits={"idle_timeout_ms": 500, "min_rate_bytes": 2000, "upstream_timeout_ms": 5000}))
    env.few = env.own(Gateway([route(legacy=env.up.url)], sanitized=True, workers=2,
                              limits={"connections_per_address": 3}))
    return env


def dribble(client, total, piece, pause_s):
    """Sends a body of `total` bytes slowly; returns how many went out before the other side had enough."""
    sent = 0
    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % total)
    while sent < total:
        client.sock.settimeout(0.001)
        try:
            if client.sock.recv(1, socket.MSG_PEEK):
                break  # an answer before the end
        except (BlockingIOError, TimeoutError):
            pass
        except OSError:
            break
        client.send_tolerant(b"x" * piece)
        sent += piece
        time.sleep(pause_s)
    client.sock.settimeout(10)
    return sent


def test_dribbled_body_is_408(env):
    """20 bytes a second: never idle for long, always too slow."""
    with Client(env.gw.address) as c:
        sent = dribble(c, 400, 1, 0.05)
        r = c.response()
        equal(r.status, 408)
        equal(r.json()["error"], "body_slow")
        check(sent < 60, f"{sent} bytes were waited for")
        check(c.ended(), "the connection stays open")


def test_stopped_body_is_408(env):
    with Client(env.gw.address) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc")
        r = c.response()
        equal((r.status, r.json()["error"]), (408, "body_timeout"))


def test_body_fast_enough_takes_as_long_as_it_needs(env):
    """10,000 bytes a second for two seconds, four windows long."""
    with Client(env.gw.address) as c:
        equal(dribble(c, 20000, 500, 0.05), 20000)
        r = c.response()
        equal((r.status, r.body), (200, b"20000"))


def test_slow_upstream_is_not_held_against_the_client(env):
    """The client waits for the upstream, which takes its time for longer than a window."""
    before = env.up.handler
    try:
        def handler(ex):
            ex.read_body()
            time.sleep(1.5)
            return response(200, b"late")
        env.up.handler = handler
        with Client(env.gw.address) as c:
            r = c.ask("POST", "/", body=b"x" * 5000)
            equal((r.status, r.body), (200, b"late"))
    finally:
        env.up.handler = before


def slow_read(client, piece, pause_s, limit_s):
    """Reads until the end or the limit; returns the bytes and whether the connection was cut."""
    got, until = 0, time.monotonic() + limit_s
    while time.monotonic() < until:
        try:
            data = client.sock.recv(piece)
        except OSError:
            return got, True
        if not data:
            return got, True
        got += len(data)
        time.sleep(pause_s)
    return got, False


def test_reader_that_stops_is_cut(env):
    with Client(env.gw.address, receive_buffer=4096) as c:
        c.request("GET", "/huge")
        time.sleep(2.5)
        got, cut = slow_read(c, 1 << 20, 0, 10)
        check(cut and got < len(BIG) * 32, f"{got} bytes, cut: {cut}")
    wait_for("the connection is gone", lambda: env.gw.admin.json("/admin/status")["totals"]["connections_active"] == 0)


def test_reader_fast_enough_gets_it_all(env):
    """Half a megabyte a second over two seconds, in small sips: many windows, and progress in each."""
    with Client(env.gw.address, receive_buffer=16384) as c:
        c.request("GET", "/big")
        got, cut = slow_read(c, 16384, 0.03, 1.9)
        check(not cut, f"cut after {got} bytes")
        rest, _ = b"", None
        while got < len(BIG):
            rest = c.sock.recv(65536)
            check(rest, f"ended after {got} bytes")
            got += len(rest)


def test_fourth_connection_of_an_address_is_refused(env):
    clients = [Client(env.few.address) for _ in range(3)]
    try:
        for c in clients:
            equal(c.ask("GET", "/").status, 200)
        with Client(env.few.address) as c:
            r = c.response()
            equal((r.status, r.json()["error"]), (503, "address_limit"))
        with Client(env.few.address, source="127.0.0.9") as c:
            equal(c.ask("GET", "/").status, 200, "another address")
        for c in clients:
            equal(c.ask("GET", "/").status, 200, "the three go on")
    finally:
        for c in clients:
            c.close()

    def free_again():
        try:
            with Client(env.few.address) as c:
                return c.ask("GET", "/").status == 200
        except (Cut, OSError):
            return False
    wait_for("a place is free again", free_again)


# --- places and memory: each limit has an answer and a counter of its own ---------------------------------------

def refused(gateway, kind):
    return gateway.admin.metric("phoenix_refused_requests_total", kind=kind)


def small(env, **limits):
    return Gateway([route(legacy=env.up.url)], sanitized=True, workers=2, limits=limits)


def test_connections_per_listener(env):
    """Full at one address, free at the other."""
    other = free_port()
    gw = Gateway([route(legacy=env.up.url)], sanitized=True, workers=2, limits={"connections_per_listener": 3}, start=False)
    gw.config["listen"].append(f"127.0.0.1:{other}")
    gw.start()
    try:
        held = [Client(gw.address) for _ in range(3)]
        for c in held:
            equal(c.ask("GET", "/").status, 200)
        with Client(gw.address) as c:
            r = c.response()
            equal((r.status, r.json()["error"]), (503, "listener_limit"))
            check("connections_per_listener" in r.json()["detail"], r.json())
        equal(refused(gw, "listener_limit"), 1)
        with Client(("127.0.0.1", other)) as c:
            equal(c.ask("GET", "/").status, 200)
        held.pop().close()
        wait_for("a free place", lambda: ask(gw.address, "GET", "/").status == 200)
        for c in held:
            equal(c.ask("GET", "/").status, 200)
            c.close()
    finally:
        gw.stop()


def test_pipeline_depth(env):
    """Three in one go are answered, the fourth is told why not, and what came behind it is not read."""
    gw = small(env, pipeline=3)
    env.up.forget()
    try:
        with Client(gw.address) as c:
            c.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % i for i in range(6)))
            equal([c.response().status for _ in range(3)], [200] * 3)
            r = c.response()
            equal((r.status, r.json()["error"]), (429, "pipeline_limit"))
            check(c.ended(), "the connection stays open")
        equal(len(env.up.seen), 3, "requests at the upstream")
        equal(refused(gw, "pipeline_limit"), 1)
        with Client(gw.address) as c:
            for i in range(10):
                equal(c.ask("GET", f"/{i}").status, 200, "one after the other there is no limit")
    finally:
        gw.stop()


def test_memory_limit(env):
    """The smallest share: eight connections a worker; more are told, none of the others is hurt."""
    gw = small(env, memory_bytes=1)
    held = []
    try:
        told = 0
        for _ in range(40):
            c = Client(gw.address)
            c.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            r = c.response()
            if r.status == 200:
                held.append(c)
                continue
            equal((r.status, r.json()["error"]), (503, "memory_limit"))
            told += 1
            c.close()
        check(8 <= len(held) <= 16, f"{len(held)} connections at once")
        equal(refused(gw, "memory_limit"), told)
        for c in held:
            equal(c.ask("GET", "/big").body, BIG)
            c.close()
        held = []
        wait_for("a free place", lambda: ask(gw.address, "GET", "/").status == 200)
    finally:
        for c in held:
            c.close()
        gw.stop()


@table([("line_too_long", 414, lambda: b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("head_too_large", 431, lambda: b"GET / HTTP/1.1\r\nHost: t\r\nA: " + b"a" * 20000 + b"\r\n\r\n"),
        ("too_many_fields", 431, lambda: b"GET / HTTP/1.1\r\nHost: t\r\n" + b"A: b\r\n" * 200 + b"\r\n")])
def test_heads_have_counters_of_their_own(env, row):
    word, status, raw = row
    before = refused(env.gw, word)
    with Client(env.gw.address) as c:
        c.send_tolerant(raw())
        r = c.response()
        equal((r.status, r.json()["error"]), (status, word))
    equal(refused(env.gw, word), before + 1)

# SPDX-License-Identifier: Apache-2.0
"""
limits: how slow a client may be, and how many connections one address may have.

The window in which a client's pace is measured is limits.idle_timeout_ms, here half a second, so that what takes a
minute in production takes a moment in the test; limits.min_rate_bytes is 2,000 bytes a second.
"""
import socket
import time

from lib.case import Bench, check, equal
from lib.net import Client, Cut, response, wait_for
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

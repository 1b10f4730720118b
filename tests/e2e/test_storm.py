# SPDX-License-Identifier: Apache-2.0
"""
storm: everything at once. Clients that echo, pipeline, dribble, break the grammar, half-close, reset in every
phase, while upstreams answer early, late, in pieces, cut or not at all, and every exchange is mirrored. The
daemon is the one with sanitizers.

What must hold: every complete answer is the answer to just this request (each carries its own number), what
is cut looks cut, and afterwards descriptors and connections are back to what they were.
"""
import os
import random
import threading
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, Cut, Malformed, ask, chunks, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix", "haproxy", "nginx")
THREADS = 24
SECONDS = 6


def behave(rng, ex):
    """What the upstream does, told by the request's target: /KIND/NUMBER."""
    kind, number = ex.target.strip("/").split("/")[:2]
    body = (number + ":").encode() * rng.choice([1, 10, 1000, 20000])
    framed = b"HTTP/1.1 200 OK\r\nX-Number: %s\r\nContent-Length: %d\r\n\r\n" % (number.encode(), len(body))
    chunked = b"HTTP/1.1 200 OK\r\nX-Number: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % number.encode()
    if kind == "echo":
        got = ex.read_body()
        return b"HTTP/1.1 200 OK\r\nX-Number: %s\r\nContent-Length: %d\r\n\r\n" % (number.encode(), len(got)) + got
    if kind == "length":
        return framed + body
    if kind == "chunked":
        n = rng.randrange(1, 5000)
        return chunked + chunks(*[body[i:i + n] for i in range(0, len(body), n)])
    if kind == "pieces":
        raw = framed + body[:2000]
        raw = raw.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % len(body[:2000]))
        n = rng.randrange(1, 900)
        ex.read_body()
        ex.send(*[raw[i:i + n] for i in range(0, len(raw), n)], pause_s=0.0005)
    elif kind == "early":
        ex.send(framed + body)
        ex.read_body()
    elif kind == "interim":
        return b"HTTP/1.1 103 Early Hints\r\n\r\n" * rng.randrange(1, 4) + framed + body
    elif kind == "cut":
        ex.send((framed + body)[:rng.randrange(1, len(framed) + len(body))])
        ex.close()
    elif kind == "cut-chunks":
        ex.send(chunked + b"%x\r\n" % len(body) + body)
        rng.choice([ex.close, ex.reset])()
    elif kind == "silent":
        ex.wait_gone(rng.random() * 0.8)
        ex.close()
    elif kind == "reset":
        ex.reset()
    elif kind == "until-close":
        ex.read_body()
        ex.send(b"HTTP/1.1 200 OK\r\nX-Number: %s\r\n\r\n" % number.encode() + body)
        ex.close()
    else:
        return response(200, body, {"X-Number": number})
    return None


KINDS = ["echo", "echo", "length", "chunked", "pieces", "early", "interim", "cut", "cut-chunks", "silent", "reset", "until-close"]


def setup():
    env = Bench()
    rng = random.Random(1)
    env.up = env.own(Upstream(lambda ex: behave(rng, ex)))
    env.other = env.own(Upstream(lambda ex: behave(rng, ex)))
    env.gw = env.own(Gateway([route(legacy=env.up.url, modern=env.other.url, sample=1.0, weight=0.5,
                                    mirror={"unsafe_methods": True, "timeout_ms": 400})],
                             sanitized=True, limits={"upstream_timeout_ms": 600, "header_timeout_ms": 1500, "idle_timeout_ms": 3000}))
    return env


class Stranger(AssertionError):
    pass


def one_client(env, rng, until, faults, counts):
    number = 0
    me = rng.randrange(1 << 30)
    while time.monotonic() < until:
        try:
            client = Client(env.gw.address, timeout_s=8, receive_buffer=rng.choice([None, 4096, 65536]))
        except OSError:
            continue
        try:
            for _ in range(rng.randrange(1, 12)):
                number += 1
                name = f"{me}x{number}"
                kind = rng.choice(KINDS)
                body = os.urandom(rng.choice([0, 1, 100, 5000, 60000])) if kind in ("echo", "early", "pieces") else None
                head = f"{'POST' if body is not None else 'GET'} /{kind}/{name} HTTP/1.1\r\nHost: t\r\n"
                if body is None:
                    raw = (head + "\r\n").encode()
                elif rng.random() < 0.5:
                    raw = (head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body
                else:
                    raw = (head + "Transfer-Encoding: chunked\r\n\r\n").encode() + (chunks(body) if body else b"0\r\n\r\n")
                dice = rng.random()
                if dice < 0.06:  # goes away in the middle of the request
                    client.send(raw[:rng.randrange(1, len(raw))])
                    rng.choice([client.reset, client.close])()
                    counts["aborted"] += 1
                    break
                if dice < 0.10:  # breaks the grammar
                    at = rng.randrange(len(head))
                    client.send_tolerant(raw[:at] + bytes([rng.choice([0, 1, 10, 13, 32, 127])]) + raw[at:])
                    client.sock.settimeout(2)
                    rest = client.reader.rest(100000)
                    check(b"x%d:" % (number + 1) not in rest, "an answer to nobody's request")
                    counts["broken"] += 1
                    break
                if dice < 0.25:
                    n = rng.randrange(1, 200) if len(raw) < 2000 else 20000
                    client.send(*[raw[i:i + n] for i in range(0, len(raw), n)])
                else:
                    client.send(raw)
                if dice > 0.95:  # goes away before or in the answer
                    if dice > 0.97:
                        client.sock.recv(10)
                    rng.choice([client.reset, client.close])()
                    counts["left"] += 1
                    break
                answer = client.response()
                if answer.status == 200:
                    if answer.get("x-number") != name:
                        raise Stranger(f"asked for {name}, got the answer to {answer.get('x-number')}")
                    if kind == "echo" and answer.body != body:
                        raise Stranger(f"{name}: {len(answer.body)} bytes came back for {len(body)}, and not the same")
                    if kind not in ("echo",) and answer.body.replace((name + ":").encode(), b"") != b"" and kind != "pieces":
                        raise Stranger(f"{name}: bytes of something else in the body")
                    check(kind not in ("cut-chunks", "silent", "reset"), f"{kind} looks complete", answer)
                    counts["answered"] += 1
                else:
                    check(answer.status in (400, 408, 502, 503, 504), answer)
                    counts[str(answer.status)] = counts.get(str(answer.status), 0) + 1
                if (answer.get("connection") or "").lower() == "close":
                    break
        except (Cut, OSError):
            counts["cut"] += 1
        except (Stranger, Malformed, AssertionError) as fault:
            faults.append(fault)
            return
        finally:
            client.close()


@timeout(60)
@table([1, 2])
def test_storm(env, row):
    ask(env.gw.address, "GET", "/length/0")
    until = time.monotonic() + SECONDS
    faults = []
    counts = {"answered": 0, "cut": 0, "aborted": 0, "broken": 0, "left": 0}
    threads = [threading.Thread(target=one_client, args=(env, random.Random(row * 1000 + i), until, faults, counts), daemon=True)
               for i in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(SECONDS + 20)
    check(env.gw.alive(), "the daemon is gone", env.gw.log()[-3000:])
    equal([str(f) for f in faults[:5]], [])
    check(counts["answered"] > 200, counts)


@timeout(40)
def test_all_is_as_before(env):
    equal(ask(env.gw.address, "GET", "/length/7").get("x-number"), "7")
    env.up.close_idle()
    env.other.close_idle()
    # listeners, rings, the pool's few connections; nothing of the thousands that came and went
    wait_for("descriptors coming back", lambda: env.gw.descriptors() < 80, 15)
    for upstream in (env.up, env.other):
        equal(upstream.refused, [], "what reached the upstream and is no HTTP")

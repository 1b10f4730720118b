# SPDX-License-Identifier: Apache-2.0
"""
connections: what lives longer than one request. Upstream pools (reuse, stale connections, limits), retries
only where they are safe, clients that go away, upstreams that answer early, time limits, many at once.
"""
import socket
import threading
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, Cut, ask, chunks, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    # POOL small, timeouts short: one gateway for the limits, one (workers: 1, so that a pool is one pool) for
    # everything else
    env.gw = env.own(Gateway([route(legacy=env.up.url)], sanitized=True, workers=1,
                             limits={"upstream_timeout_ms": 3000, "idle_timeout_ms": 60000}))
    env.short = env.own(Gateway([route(legacy=env.up.url)], sanitized=True, workers=1,
                                limits={"header_timeout_ms": 400, "idle_timeout_ms": 600, "upstream_timeout_ms": 500,
                                        "upstream_connections": 2, "body_bytes": 1000}))
    return env


def use(env, handler=None):
    env.up.close_idle()
    wait_for("no connection left", lambda: not env.up.live)
    env.up.forget()
    env.up.accepted = 0
    env.up.handler = handler or (lambda ex: response(200, b"hello"))


def test_upstream_connection_is_reused(env):
    use(env)
    for i in range(50):
        equal(env.gw.ask("GET", f"/{i}").status, 200)
    equal(env.up.accepted, 1, "upstream connections for 50 requests on 50 client connections")


def test_upstream_connection_is_reused_after_bodies(env):
    use(env, lambda ex: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
        (b"" if ex.method == "HEAD" else chunks(ex.read_body() or b"-")))
    for i in range(10):
        equal(env.gw.ask("POST", "/", body=b"x" * (i * 1000 + 1)).body, b"x" * (i * 1000 + 1))
        equal(env.gw.ask("HEAD", "/").status, 200)
    equal(env.up.accepted, 1, "upstream connections")


def test_close_of_the_upstream_is_heard(env):
    use(env, lambda ex: response(200, b"x", {"Connection": "close"}))
    for _ in range(5):
        equal(env.gw.ask().body, b"x")
    equal(env.up.accepted, 5, "upstream connections")


def test_concurrent_requests_use_several(env):
    use(env, lambda ex: (time.sleep(0.2), response(200, b"x"))[1])
    results = []
    threads = [threading.Thread(target=lambda: results.append(env.gw.ask().status)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(10)
    equal(results, [200] * 8)
    check(2 <= env.up.accepted <= 8, f"{env.up.accepted} upstream connections")


def test_stale_connection_does_not_fail(env):
    """The upstream closes an idle connection; the next request, any method, must not notice."""
    use(env)
    for method in ("GET", "POST", "PUT", "POST", "DELETE"):
        equal(env.gw.ask().status, 200)
        env.up.close_idle()
        wait_for("the connection's end", lambda: not env.up.live)
        time.sleep(0.05)  # the FIN is on its way to the gateway: what a client would meet
        equal(env.gw.ask(method, "/after", body=b"x" if method != "GET" else None).status, 200, f"{method} after a close")


def test_stale_connection_race_is_retried_if_idempotent(env):
    """The upstream closes just when the request arrives: RFC 9112 9.3.1 allows to retry what is idempotent."""
    first = []

    def handler(ex):
        if ex.number > 1:
            ex.close()  # the second request on a connection never gets an answer
            return None
        first.append(ex.target)
        return response(200, b"fine")
    use(env, handler)
    equal(env.gw.ask("GET", "/1").status, 200)
    equal(env.gw.ask("GET", "/2").body, b"fine")
    equal(first, ["/1", "/2"])


def test_post_is_never_sent_twice(env):
    """Not idempotent and seen by the server: a 502, and one copy at the upstream."""
    def handler(ex):
        if ex.target == "/post":
            ex.read_body()
            ex.close()
            return None
        return response(200, b"fine")
    use(env, handler)
    equal(env.gw.ask().status, 200)
    equal(env.gw.ask("POST", "/post", body=b"transfer").status, 502)
    equal(len([e for e in env.up.seen if e.target == "/post"]), 1, "copies of the POST")


def test_fresh_connection_is_not_retried_for_ever(env):
    """An upstream that always closes without an answer: few tries, then 502."""
    def handler(ex):
        ex.close()
    use(env, handler)
    equal(env.gw.ask().status, 502)
    check(len(env.up.seen) <= 3, f"{len(env.up.seen)} tries")


def test_no_retry_after_a_part_of_the_answer(env):
    def handler(ex):
        ex.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        ex.close()
    use(env, handler)
    try:
        r = env.gw.ask()
        check(r.status == 502, "looks complete", r)
    except Cut:
        pass
    equal(len(env.up.seen), 1, "tries")


def test_client_abort_frees_the_upstream(env):
    """The client goes away while the upstream thinks: the upstream's connection is given up."""
    gone = []

    def handler(ex):
        gone.append(ex.wait_gone(8))
        ex.open = False
    use(env, handler)
    client = Client(env.gw.address)
    client.request("GET", "/slow")
    wait_for("the request at the upstream", lambda: env.up.seen)
    client.reset()
    wait_for("the upstream's connection ending", lambda: gone)
    equal(gone, [True])
    use(env)
    equal(env.gw.ask().status, 200)


def test_client_abort_in_response_body(env):
    gone = []

    def handler(ex):
        try:
            ex.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(400):
                ex.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                time.sleep(0.01)
        except OSError:
            gone.append(True)
            raise
    use(env, handler)
    client = Client(env.gw.address)
    client.request("GET", "/stream")
    client.reader.response_head()
    client.reset()
    wait_for("the upstream noticing", lambda: gone)


def test_client_abort_in_request_body(env):
    use(env, lambda ex: response(200, ex.read_body()))
    client = Client(env.gw.address)
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
    wait_for("the head at the upstream", lambda: env.up.seen)
    client.reset()
    wait_for("the upstream seeing a cut body", lambda: env.up.last().cut)
    check(not env.up.last().read)


def test_early_answer_closes(env):
    """An answer while the body is still coming: the client gets it at once; the rest of the body is not taken
    for a request."""
    def handler(ex):
        ex.send(response(413, b"too much", {"Connection": "close"}))
        ex.half_close()
        ex.wait_gone(5)
        ex.open = False
    use(env, handler)
    with Client(env.gw.address) as c:
        c.send(b"POST /big HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        r = c.response()
        equal((r.status, r.body), (413, b"too much"))
        c.send_tolerant(b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n")
        c.ended(2)
    check(not any(e.target == "/smuggled" for e in env.up.seen), "body bytes became a request")


def test_early_answer_then_the_whole_body(env):
    """The upstream answers first and reads the body all the same; the connection may go on."""
    def handler(ex):
        if ex.method == "POST":
            ex.send(response(200, b"early"))
            ex.read_body()
            return None
        return response(200, b"next")
    use(env, handler)
    with Client(env.gw.address) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345")
        r = c.response()
        equal((r.status, r.body), (200, b"early"))
        if c.send_tolerant(b"67890GET /next HTTP/1.1\r\nHost: t\r\n\r\n") and (r.get("connection") or "") != "close":
            try:
                equal(c.response().body, b"next")
            except (Cut, ConnectionResetError):
                pass  # closing after an early answer is allowed as well


def test_slow_upstream_in_time(env):
    use(env, lambda ex: (time.sleep(1.2), response(200, b"late"))[1])
    equal(env.gw.ask().body, b"late")


def test_client_keep_alive_thousand(env):
    use(env)
    with Client(env.gw.address) as c:
        for i in range(1000):
            equal(c.ask("GET", f"/{i}").status, 200)


def test_many_clients_at_once(env):
    """300 open connections, each with requests of its own, answers never mixed up."""
    use(env, lambda ex: response(200, ex.target.encode() + ex.read_body()))
    clients = [Client(env.gw.address) for _ in range(300)]
    try:
        for turn in range(3):
            for i, c in enumerate(clients):
                c.request("POST", f"/{turn}/{i}", body=b"-%d" % i)
            for i, c in enumerate(clients):
                equal(c.response().body, b"/%d/%d-%d" % (turn, i, i))
    finally:
        for c in clients:
            c.close()


def test_descriptors_come_back(env):
    """Sockets are closed after every kind of end."""
    use(env)
    env.gw.ask()
    before = env.gw.descriptors()
    for i in range(60):
        c = Client(env.gw.address)
        if i % 4 == 0:
            c.reset()
        elif i % 4 == 1:
            c.send(b"GET / HT")
            c.close()
        elif i % 4 == 2:
            c.ask()
            c.close()
        else:
            c.send(b"bad\r\n\r\n")
            c.reader.rest()
            c.close()
    wait_for("the descriptors coming back", lambda: env.gw.descriptors() <= before + 3)


def test_request_after_long_pipeline_of_aborts(env):
    """Clients that pipeline and go away at once leave the gateway well."""
    use(env, lambda ex: (time.sleep(0.005), response(200, b"x"))[1])
    for _ in range(30):
        c = Client(env.gw.address)
        c.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n" * 10)
        c.reset()
    equal(env.gw.ask().status, 200)


# --- limits -----------------------------------------------------------------------------------------------

def says(answer, status, *words):
    equal(answer.status, status, "status")
    text = answer.body.decode().lower()
    check(0 < len(text) < 2000, "an error says what happened, briefly", text)
    check(any(w in text for w in words), f"the body says which ({'/'.join(words)})", text)


def test_silent_upstream_is_504(env):
    use(env, lambda ex: ex.wait_gone(5) and None)
    started = time.monotonic()
    with Client(env.short.address) as c:
        says(c.ask(), 504, "timeout", "timed out", "time", "504")
    check(0.4 <= time.monotonic() - started < 4, f"after {time.monotonic() - started:.1f} s instead of 0.5")


def test_504_after_a_trickle_of_head(env):
    """Bytes of a head that never ends do not keep the request alive for ever."""
    def handler(ex):
        try:
            ex.send(b"HTTP/1.1 200 OK\r\n")
            for i in range(100):
                ex.send(b"X")
                time.sleep(0.1)
        except OSError:
            pass
        ex.close()
    use(env, handler)
    started = time.monotonic()
    with Client(env.short.address) as c:
        r = c.ask()
        check(r.status in (502, 504), r)
    check(time.monotonic() - started < 6, "the head's time is not bounded")


def test_stalled_response_body_is_cut(env):
    def handler(ex):
        ex.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        ex.wait_gone(6)
        ex.open = False
    use(env, handler)
    with Client(env.short.address) as c:
        c.request()
        try:
            r = c.response()
        except Cut:
            return
        raise AssertionError(f"looks complete: {r}")


def test_pool_empty_is_503(env):
    """limits.upstream_connections: 2. The third at once is refused with a 503, not queued for ever; or it is
    served once a connection is free, if the gateway queues within its time limit."""
    release = threading.Event()

    def handler(ex):
        release.wait(5)
        return response(200, b"x")
    use(env, handler)
    clients = [Client(env.short.address) for _ in range(3)]
    try:
        clients[0].request("GET", "/0")
        clients[1].request("GET", "/1")
        wait_for("two at the upstream", lambda: len(env.up.seen) == 2, 3)
        started = time.monotonic()
        r = clients[2].ask("GET", "/2")
        says(r, 503, "pool", "connections", "busy", "capacity", "limit")
        check(time.monotonic() - started < 2)
        equal(len(env.up.live), 2, "upstream connections")
    finally:
        release.set()
        for c in clients:
            c.close()
    use(env)
    wait_for("the pool being free again", lambda: env.short.ask().status == 200)


def test_dead_upstream_is_502(env):
    gone = Upstream()
    gw = Gateway([route(legacy=gone.url)])
    try:
        equal(gw.ask().status, 200)
        gone.stop()
        with Client(gw.address) as c:
            for _ in range(3):
                says(c.ask(), 502, "connect", "refused", "upstream")
        again = Upstream(port=gone.port)
        wait_for("the upstream being used again", lambda: gw.ask().status == 200)
        again.stop()
    finally:
        gw.stop()


def test_connect_timeout_is_504(env):
    """A listener whose queue is full never answers the SYN."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(full.getsockname())
        fillers.append(s)
    gw = Gateway([route(legacy=f"http://127.0.0.1:{full.getsockname()[1]}")],
                 limits={"connect_timeout_ms": 500, "upstream_timeout_ms": 1500})
    try:
        started = time.monotonic()
        r = gw.ask()
        check(r.status in (502, 504), r)
        check(time.monotonic() - started < 5)
    finally:
        for s in fillers:
            s.close()
        full.close()
        gw.stop()


def test_header_timeout_is_408(env):
    use(env)
    with Client(env.short.address) as c:
        c.send(b"GET / HTTP/1.1\r\nHo")
        started = time.monotonic()
        r = c.response()
        says(r, 408, "head", "time", "408")
        check(0.3 <= time.monotonic() - started < 3, f"after {time.monotonic() - started:.2f} s")
        check(c.ended())


def test_header_timeout_is_not_extended_by_trickle(env):
    use(env)
    with Client(env.short.address) as c:
        started = time.monotonic()
        for i in range(60):
            if not c.send_tolerant(b"G" if i == 0 else b"x"):
                break
            time.sleep(0.05)
            if time.monotonic() - started > 2.5:
                break
            c.sock.settimeout(0.001)
            try:
                if c.reader.fill():
                    break
            except TimeoutError:
                pass
            finally:
                c.sock.settimeout(5)
        check(time.monotonic() - started < 2.5, "a byte now and then keeps a head open for ever")
    equal(env.up.seen, [])


def test_idle_timeout_closes(env):
    use(env)
    with Client(env.short.address) as c:
        equal(c.ask().status, 200)
        started = time.monotonic()
        check(c.ended(5), "an idle connection stays open")
        check(0.3 <= time.monotonic() - started < 4, f"after {time.monotonic() - started:.2f} s instead of 0.6")


def test_silent_client_is_closed(env):
    with Client(env.short.address) as c:
        rest = c.reader.rest()
        check(rest == b"" or rest.startswith(b"HTTP/1.1 408"), rest)


def test_stalled_request_body_ends(env):
    use(env, lambda ex: response(200, ex.read_body()))
    with Client(env.short.address) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhello")
        rest = c.reader.rest()
        check(rest == b"" or rest.split(b" ")[1] in (b"408", b"504", b"400"), rest[:200])
    wait_for("the upstream seeing the cut", lambda: not env.up.seen or env.up.last().cut)


@table([("length", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, True),
        ("length-head-only", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999\r\n\r\n", True),
        ("chunked", b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"x" * 600, b"x" * 600), False),
        ("chunk-size", b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nFFFFF\r\n" + b"x" * 1500, False)])
def test_body_over_limit_is_413(env, row):
    use(env, lambda ex: response(200, ex.read_body()))
    with Client(env.short.address) as c:
        c.send(row[1])
        r = c.response()
        says(r, 413, "body", "1000", "large")
        check(c.ended())
    if row[2]:
        equal(env.up.seen, [], "a refused length reached the upstream")
    check(not any(e.read for e in env.up.seen), "complete at the upstream")


def test_body_at_limit_passes(env):
    use(env, lambda ex: response(200, ex.read_body()))
    equal(env.short.ask("POST", "/", body=b"x" * 1000).status, 200)
    equal(env.short.ask("POST", "/", {"Transfer-Encoding": "chunked"}, chunks(b"x" * 500, b"y" * 500)).status, 200)


def test_head_over_limit_is_431(env):
    use(env)
    with Client(env.gw.address) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 17000 + b"\r\n\r\n")
        says(c.response(), 431, "head", "16384", "large")
        check(c.ended())
    equal(env.up.seen, [])


def test_target_over_limit_is_414(env):
    use(env)
    with Client(env.gw.address) as c:
        c.send(b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\nHost: t\r\n\r\n")
        says(c.response(), 414, "target", "uri", "16384", "long")
        check(c.ended())
    equal(env.up.seen, [])


def test_refusals_are_counted(env):
    """Each kind of error has a counter that somebody can alert on."""
    metrics = env.short.admin.metrics()
    check(any(n.startswith("phoenix_upstream_errors_total") and v > 0 for n, v in metrics.items()), list(metrics)[:50])


@timeout(90)
def test_slow_clients_do_not_hurt_others(env):
    """200 clients dribble their heads; an ordinary request is answered promptly all the same."""
    use(env)
    slow = []
    try:
        for _ in range(200):
            c = Client(env.gw.address)
            c.send(b"GET / HTTP/1.1\r\nHost: t\r\nX: ")
            slow.append(c)
        worst = 0
        for _ in range(50):
            started = time.monotonic()
            equal(ask(env.gw.address).status, 200)
            worst = max(worst, time.monotonic() - started)
        check(worst < 1.0, f"an innocent request took {worst:.2f} s")
    finally:
        for c in slow:
            c.close()

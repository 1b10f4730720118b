# SPDX-License-Identifier: Apache-2.0
"""
faults: what the daemon does when the machine gives it less than it asks for.

tests/faults/inject.c is built here and preloaded into the daemon; a table that both map says which calls fail.
While they fail a small mixed workload runs, and what must hold is always the same: the daemon lives, an answer
that arrives is the answer to just this request, everything else is refused or visibly cut, and once the fault
is over fifty requests in a row succeed and no connection, sample or descriptor is left behind.

The second half needs no injection: real descriptors run out, thousands of clients are slow, upstreams stop and
vanish, and SIGTERM comes when it comes.

PHX_LONG=1 takes every step where the ordinary run takes a few, and more clients; it also holds how long things took
against limits, which only an idle machine can keep. The ordinary run asks what became of every request, never when.
"""
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, Cut, Malformed, chunks, wait_for
from lib.process import Skip, Gateway, Nginx, need, route, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
LONG = os.environ.get("PHX_LONG") == "1"
HERE = os.path.dirname(os.path.abspath(__file__))

# --- the table of faults: the same order as in inject.c -----------------------------------------------------

KINDS = ["memory", "mmap", "socket", "setsockopt", "getpeername", "eventfd", "thread", "open", "fsync", "rename",
         "file_write", "setrlimit", "enter", "accept", "connect", "recv", "no_buffers", "send", "read", "short_recv", "short_send"]
OFF, ONCE, EVERY, FROM, SHARE, UNTIL = range(6)
ALL, WORKERS, OTHERS = range(3)
ROW = struct.Struct("8I")
EINTR, EIO, EAGAIN, ENOMEM, EBUSY, EMFILE, ENOSPC = 4, 5, 11, 12, 16, 24, 28
ECONNRESET, ENOBUFS, EADDRNOTAVAIL, ENOTCONN, ECANCELED = 104, 105, 99, 107, 125


class Faults:
    """The table, as the test sees it."""

    def __init__(self):
        import mmap
        self.directory = scratch()
        self.library = os.path.join(self.directory, "inject.so")
        self.path = os.path.join(self.directory, "table")
        with open(self.path, "wb") as file:
            file.write(bytes(ROW.size * len(KINDS)))
        with open(self.path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), ROW.size * len(KINDS))
        subprocess.run([need("cc"), "-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer", "-shared", "-fPIC", "-o", self.library,
                        os.path.join(HERE, "..", "faults", "inject.c"), "-ldl"], check=True)

    def environment(self):
        return {"LD_PRELOAD": self.library, "PHX_FAULTS": self.path,
                "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1:verify_asan_link_order=0:"
                                "allocator_may_return_null=1"}

    def arm(self, kind, mode, n, error, threads=ALL, seed=1, min_bytes=0):
        at = KINDS.index(kind) * ROW.size
        self.memory[at:at + ROW.size] = ROW.pack(OFF, n, error, threads, seed, min_bytes, 0, 0)
        self.memory[at:at + 4] = struct.pack("I", mode)

    def disarm(self):
        for i in range(len(KINDS)):
            self.memory[i * ROW.size:i * ROW.size + 4] = struct.pack("I", OFF)

    def counts(self, kind):
        """(calls, failures) since it was armed."""
        return ROW.unpack_from(self.memory, KINDS.index(kind) * ROW.size)[6:8]

    def stop(self):
        self.disarm()


# --- the workload -------------------------------------------------------------------------------------------

BIG = 100_000


def body_of(number, size):
    unit = f"{number};".encode()
    return (unit * (size // len(unit) + 1))[:size]


def behave(ex):
    """/small/N and /mirror/N answer a little, /big/N 100 KB, /chunks/N in chunks, /echo/N what was sent; every
    body is made of N."""
    kind, number = ex.target.strip("/").split("/")[:2]
    if kind == "echo":
        body = ex.read_body()
    else:
        body = body_of(number, BIG if kind in ("big", "chunks") else 60)
    head = f"HTTP/1.1 200 OK\r\nX-Number: {number}\r\n".encode()
    if kind == "chunks":
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(*[body[i:i + 7001] for i in range(0, BIG, 7001)],
                                                                    trailers=[("X-Sum", number)])
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Wrong(AssertionError):
    pass


class Load:
    """One client after the other, or several at once; counts what became of each request."""

    def __init__(self, gateway, seed=0):
        self.gateway = gateway
        self.rng = random.Random(seed)
        self.lock = threading.Lock()
        self.counts = {}
        self.faults = []
        self.number = seed * 1_000_000
        self.over = False

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def next_number(self):
        with self.lock:
            self.number += 1
            return self.number

    def one(self, client, kind, statuses=(500, 502, 503, 504)):
        """One request; True when the connection may go on."""
        number = self.next_number()
        body = want = None
        if kind == "echo":
            body = want = body_of(number, 3000)
            client.request("POST", f"/echo/{number}", body=body)
        elif kind == "echo-chunks":
            want = body_of(number, 40_000)
            client.request("POST", f"/echo/{number}", {"Transfer-Encoding": "chunked"},
                           chunks(*[want[i:i + 9001] for i in range(0, len(want), 9001)], trailers=[("X-End", "1")]))
        else:
            want = body_of(number, BIG if kind in ("big", "chunks") else 60)
            client.request("GET", f"/{kind}/{number}")
        answer = client.response()
        if answer.status == 200:
            if answer.get("x-number") != str(number) or answer.body != want:
                raise Wrong(f"{kind} {number}: got the answer to {answer.get('x-number')}, {len(answer.body)} bytes "
                            f"of {len(want)}")
            self.count("ok")
        else:
            if answer.status not in statuses:
                raise Wrong(f"{kind} {number}: {answer!r}")
            json.loads(answer.body)
            self.count(answer.status)
        return (answer.get("connection") or "").lower() != "close"

    def mixed(self, rounds=1, kinds=("small", "echo", "echo-chunks", "big", "chunks", "mirror", "small"), **more):
        """Each kind once a round, over connections that are kept while they last."""
        client = None
        try:
            for _ in range(rounds):
                for kind in kinds:
                    if self.over:
                        return
                    try:
                        if client is None:
                            client = Client(self.gateway.address, timeout_s=8)
                        if not self.one(client, kind, **more):
                            client.close()
                            client = None
                    except TimeoutError:
                        raise Wrong(f"{kind}: no answer and no end in 8 s") from None
                    except (Cut, OSError):
                        self.count("cut")
                        if client:
                            client.close()
                        client = None
        except (Wrong, Malformed, AssertionError, ValueError) as fault:
            with self.lock:
                self.faults.append(fault)
        finally:
            if client:
                client.close()

    def together(self, threads, rounds=1, **more):
        crowd = [threading.Thread(target=self.mixed, args=(rounds,), kwargs=more, daemon=True) for _ in range(threads)]
        for t in crowd:
            t.start()
        for t in crowd:
            t.join(40)
        check(not any(t.is_alive() for t in crowd), "a client still waits", self.counts)

    def verdict(self):
        equal([str(f) for f in self.faults[:3]], [], "what went wrong for clients")


def gauges(gateway):
    """What must go back to zero: client connections, shadows, upstream connections that serve somebody."""
    metrics = gateway.admin.metrics()
    out = {name: metrics["phoenix_" + name] for name in ("connections_active", "shadow_requests_active")}
    for upstream in gateway.admin.json("/admin/datapath")["upstreams"]:
        out[f"connections busy at {upstream['port']}"] = upstream["active"]
    return out


def quiet(gateway, timeout_s=15):
    wait_for("no connection in use", lambda: not any(gauges(gateway).values()), timeout_s, 0.05)


def healthy(gateway, requests=50):
    """All is as if nothing had happened."""
    check(gateway.alive(), "the daemon is gone", gateway.log()[-4000:])
    load = Load(gateway, 900)
    load.mixed(requests // 5 + 1, ("small", "echo", "big", "echo-chunks", "chunks"))
    load.verdict()
    equal(set(load.counts), {"ok"}, f"what became of the requests after the fault: {load.counts}; keys")


def weights(gateway, stop, counts):
    """Somebody at the wheel meanwhile; any answer is good but none may be nonsense."""
    n = 0
    while not stop.is_set():
        n += 1
        try:
            reply = gateway.admin.request("POST", "/admin/routes/mirror/weight", {"weight": (n % 2) * 0.5, "reason": "f"},
                                          timeout_s=5)
            json.loads(reply.body)
            counts.append(reply.status)
            gateway.admin.request("GET", "/admin/status", timeout_s=5)
        except (OSError, ValueError, __import__("http.client").client.HTTPException):
            counts.append(0)
        time.sleep(0.01)


def faulty_gateway(env, sanitized=True, start=True, **config):
    config.setdefault("limits", {})
    config["limits"] = {"upstream_timeout_ms": 5000, "idle_timeout_ms": 8000, **config["limits"]}
    gateway = Gateway([route("mirror", "/mirror/*", legacy=env.up.url, modern=env.other.url, sample=1.0,
                             mirror={"timeout_ms": 2000}),
                       route("rest", "/*", legacy=env.up.url, modern=env.other.url, weight=0.3, sample=0.2,
                             mirror={"unsafe_methods": True, "timeout_ms": 2000})],
                      sanitized=sanitized, start=False, workers=2, **config)
    gateway.env.update(env.faults.environment())
    if start:
        gateway.start()
    return env.own(gateway)


def setup():
    env = Bench()
    env.faults = env.own(Faults())
    env.up = env.own(Upstream(behave))
    env.other = env.own(Upstream(behave))
    env.gw = faulty_gateway(env)
    return env


def under_fault(env, kind, mode, n, error, clients=2, rounds=1, steer=True, **more):
    """The workload while a fault is armed. Returns the counts."""
    load = Load(env.gw, n)
    stop, replies = threading.Event(), []
    env.faults.arm(kind, mode, n, error, **more)
    driver = threading.Thread(target=weights, args=(env.gw, stop, replies), daemon=True)
    if steer:
        driver.start()
    try:
        load.together(clients, rounds)
    finally:
        stop.set()
        if steer:
            driver.join(20)
        env.faults.disarm()
    check(env.gw.alive(), f"the daemon died of {kind} {mode} {n}", env.gw.log()[-6000:])
    load.verdict()
    return load.counts


# --- injected faults ----------------------------------------------------------------------------------------

def test_without_faults(env):
    counts = under_fault(env, "memory", OFF, 1, ENOMEM)
    equal(set(counts), {"ok"}, "what became of the requests")
    healthy(env.gw)


STEPS = range(1, 400) if LONG else [*range(1, 60), *range(60, 200, 3)]


@timeout(600 if LONG else 60)
@table([("workers", WORKERS), ("control", OTHERS)])
def test_nth_allocation_fails(env, row):
    """Each allocation of the workload fails once, the N-th for N = 1, 2, …"""
    fired = 0
    for n in STEPS:
        under_fault(env, "memory", ONCE, n, ENOMEM, clients=1, threads=row[1], steer=row[1] == OTHERS)
        fired += env.faults.counts("memory")[1]
    check(fired >= 20, f"only {fired} allocations failed")
    healthy(env.gw)
    quiet(env.gw)


# What fails, how often, with what. The shares are one in n, by chance that is the same in every run.
ROWS = [
    ("memory-workers", "memory", dict(mode=SHARE, n=6, error=ENOMEM, threads=WORKERS)),
    ("memory-workers-all", "memory", dict(mode=FROM, n=1, error=ENOMEM, threads=WORKERS)),
    ("memory-control", "memory", dict(mode=SHARE, n=20, error=ENOMEM, threads=OTHERS)),
    ("memory-control-all", "memory", dict(mode=FROM, n=1, error=ENOMEM, threads=OTHERS)),
    ("large-memory", "memory", dict(mode=EVERY, n=1, error=ENOMEM, threads=ALL, min_bytes=8192)),
    ("mmap", "mmap", dict(mode=EVERY, n=2, error=ENOMEM)),
    ("socket", "socket", dict(mode=EVERY, n=2, error=EMFILE)),
    ("socket-all", "socket", dict(mode=FROM, n=1, error=EMFILE)),
    ("setsockopt", "setsockopt", dict(mode=EVERY, n=2, error=ENOBUFS)),
    ("getpeername", "getpeername", dict(mode=EVERY, n=2, error=ENOTCONN)),
    ("enter-again", "enter", dict(mode=SHARE, n=3, error=EAGAIN)),
    ("enter-busy", "enter", dict(mode=SHARE, n=3, error=EBUSY)),
    ("enter-interrupted", "enter", dict(mode=SHARE, n=3, error=EINTR)),
    ("enter-memory", "enter", dict(mode=SHARE, n=10, error=ENOMEM, threads=WORKERS)),
    ("connect-memory", "connect", dict(mode=EVERY, n=2, error=ENOMEM)),
    ("connect-ports", "connect", dict(mode=EVERY, n=2, error=EADDRNOTAVAIL)),
    ("recv-reset", "recv", dict(mode=SHARE, n=15, error=ECONNRESET)),
    ("recv-memory", "recv", dict(mode=SHARE, n=15, error=ENOMEM)),
    ("recv-interrupted", "recv", dict(mode=SHARE, n=3, error=EINTR)),
    ("recv-again", "recv", dict(mode=SHARE, n=3, error=EAGAIN)),
    ("no-buffers", "no_buffers", dict(mode=SHARE, n=2, error=ENOBUFS)),
    ("send-memory", "send", dict(mode=SHARE, n=15, error=ENOMEM)),
    ("send-interrupted", "send", dict(mode=SHARE, n=3, error=EINTR)),
    ("short-recv", "short_recv", dict(mode=FROM, n=1, error=61)),
    ("short-send", "short_send", dict(mode=FROM, n=1, error=17)),
]
# Faults that nobody may notice: every request still gets its answer.
UNSEEN = ("mmap", "setsockopt", "getpeername", "enter-again", "enter-busy", "enter-interrupted", "recv-interrupted", "recv-again", "no-buffers", "send-interrupted", "short-recv",
          "short-send", "memory-control", "memory-control-all")


@timeout(60)
@table(ROWS)
def test_fault(env, row):
    name, kind, how = row
    env.up.close_idle()
    env.other.close_idle()
    counts = under_fault(env, kind, clients=4, rounds=6 if LONG else 2, **how)
    calls, failed = env.faults.counts(kind)
    check(failed or kind == "mmap", f"{name}: none of {calls} calls failed")
    if name in UNSEEN:
        equal(set(counts), {"ok"}, f"{name}: what became of the requests, {counts}")
    healthy(env.gw)
    quiet(env.gw)


# --- what a fault must not be taken for ----------------------------------------------------------------------

def mismatches(gateway, name):
    """(evidence against modern, requests counted as failed by an upstream) of a route that modern serves."""
    return (gateway.admin.metric("phoenix_compare_total", route=name, result="mismatch") or 0,
            gateway.admin.metric("phoenix_upstream_errors_total", kind="upstream_cut"))


def early(ex):
    """Answers at once, goes on answering while it reads: what a streaming service does."""
    ex.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")
    ex.read_body()
    return b"0\r\n\r\n"


@timeout(20)
@table([("broken", b"zz\r\n"), ("stopped", b""), ("slow-trailer", b"0\r\nX-Late: ")])
def test_client_cannot_make_modern_look_bad(env, row):
    """Modern has begun its answer when the client breaks, or stops, its own request."""
    modern = Upstream(early)
    gateway = Gateway([route("s", "/*", legacy=env.up.url, modern=modern.url, weight=1, sample=1.0,
                             mirror={"unsafe_methods": True}, arbiter={"min_samples": 1000000})], workers=1,
                      sanitized=True, limits={"idle_timeout_ms": 700, "upstream_timeout_ms": 3000})
    try:
        before = mismatches(gateway, "s")
        for _ in range(2):
            with Client(gateway.address) as client:
                client.send(b"POST /s/1 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                client.reader.response_head()
                client.send(row[1])
                client.reader.rest()
        time.sleep(0.3)  # evidence, if there were any, would be there by now
        equal(mismatches(gateway, "s"), before, "mismatches and upstream errors")
    finally:
        modern.stop()
        gateway.stop()


@timeout(40)
def test_answer_is_over_though_the_request_is_not_taken(env):
    """The upstream answers, never takes the end of the request, and resets: the client's next request is not kept
    waiting for it. Which sizes leave just the last piece on its way depends on the system's buffers."""
    def careless(ex):
        if ex.method == "GET":
            return behave(ex)
        ex.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        time.sleep(0.15)
        return ex.reset()
    up = Upstream(careless, receive_buffer=4096)
    gateway = Gateway([route(legacy=up.url)], workers=1, limits={"upstream_timeout_ms": 9000})
    late = []
    try:
        for size in range(2_500_000, 3_100_000, 9_000):
            with Client(gateway.address, timeout_s=10) as client:
                client.send(b"POST /x/1 HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
                sender = threading.Thread(target=client.send_tolerant, args=(b"x" * size,), daemon=True)
                sender.start()
                equal(client.response().body, b"ok")
                begun = time.monotonic()
                try:
                    sender.join(10)
                    equal(client.ask("GET", "/small/1").status, 200)
                except (Cut, OSError):
                    pass
                if time.monotonic() - begun > (2 if LONG else 8):  # upstream_timeout_ms is 9 s
                    late.append((size, round(time.monotonic() - begun, 1)))
                    break
        equal(late, [], "bytes of the body, and seconds until the next request was over")
        quiet(gateway, 3)
        gateway.stop()
    finally:
        up.stop()
        if gateway.alive():
            gateway.kill()


# --- starting with less ---------------------------------------------------------------------------------------

@timeout(60)
@table([("memory", ENOMEM), ("mmap", ENOMEM), ("socket", EMFILE), ("setsockopt", ENOBUFS), ("eventfd", EMFILE),
        ("thread", EAGAIN), ("open", EIO)])
def test_start_fails_cleanly(env, row):
    """The N-th call fails while the daemon starts: it runs, or it ends with a line that says why; it never dies."""
    kind, error = row
    steps = {"memory": range(1, 1200, 1 if LONG else 53)}.get(kind, range(1, 8))
    for n in steps:
        gateway = faulty_gateway_unowned(env, leaks=kind != "memory")
        env.faults.arm(kind, ONCE, n, error)
        gateway.start(wait=False)
        try:
            deadline = time.monotonic() + 10
            ready = False
            while gateway.alive() and not ready and time.monotonic() < deadline:
                try:
                    ready = gateway.admin.get("/readyz").status == 200
                except OSError:
                    time.sleep(0.02)
            if not gateway.alive():
                status, text = gateway.child.returncode, gateway.log()
                check(status in (1, 3), f"{kind} {n}: exit {status}", text[-3000:])
                check(re.search("error|cannot|memory", text), f"{kind} {n}: no word of why", text)
                check("Sanitizer" not in text and "runtime error" not in text, f"{kind} {n}", text[-4000:])
                gateway.end()
                gateway.remove()
                continue
            check(ready, f"{kind} {n}: neither ready nor ended", gateway.log()[-3000:])
            env.faults.disarm()
            load = Load(gateway, n)
            load.mixed(1, ("small", "echo"))
            load.verdict()
            gateway.stop()
        finally:
            env.faults.disarm()
            if gateway.alive():
                gateway.kill()


def faulty_gateway_unowned(env, leaks=True):
    gateway = Gateway([route("rest", "/*", legacy=env.up.url)], sanitized=True, start=False, workers=2)
    gateway.env.update(env.faults.environment())
    # libcrypto, which libcurl starts, forgets some bytes when it finds no memory
    gateway.env["ASAN_OPTIONS"] = gateway.env["ASAN_OPTIONS"].replace("detect_leaks=1", f"detect_leaks={int(leaks)}")
    return gateway


@timeout(30)
@table([("accept", EMFILE), ("accept", 103), ("read", EINTR)])
def test_first_operations_fail(env, row):
    """The listeners' accepts and the inbox reads that are armed at the start fail ten times."""
    gateway = faulty_gateway_unowned(env)
    env.faults.arm(row[0], UNTIL, 10, row[1], threads=WORKERS)
    try:
        gateway.start()
        for _ in range(6):
            gateway.admin.ok("POST", "/admin/config/reload", {"reason": "the inbox is used"})
        # ask() again and again: half of the listeners may be waiting to try again
        wait_for("answers", lambda: gateway.ask("GET", "/small/1").status == 200, 10)
        env.faults.disarm()
        healthy(gateway)
        check(env.faults.counts(row[0])[1] > 0, "nothing failed")
        gateway.stop()
    finally:
        env.faults.disarm()
        if gateway.alive():
            gateway.kill()


@timeout(60)
@table([("open", ENOSPC), ("open", EMFILE), ("fsync", EIO), ("rename", EIO), ("file_write", ENOSPC)])
def test_state_cannot_be_stored(env, row):
    """Less weight still acts, more is refused; it is said that it is not stored, and stored it is when the disk is
    well again."""
    kind, error = row
    env.gw.admin.set_weight("rest", 0.5)
    env.faults.arm(kind, FROM, 1, error)
    try:
        for weight in (0.25, 0.75):
            reply = env.gw.admin.request("POST", "/admin/routes/rest/weight", {"weight": weight, "reason": "full disk"})
            json.loads(reply.body)
            check((reply.status == 200) == (weight < 0.5), reply)
        equal(env.gw.admin.weight("rest")["set"], 0.25, "the weight")
        check(env.faults.counts(kind)[1] > 0, "nothing failed")
        wait_for("store_ok 0", lambda: env.gw.admin.metric("phoenix_store_ok") == 0)
        load = Load(env.gw, 5)
        load.mixed()
        load.verdict()
        equal(set(load.counts), {"ok"}, "what became of the requests")
    finally:
        env.faults.disarm()
    wait_for("store_ok 1", lambda: env.gw.admin.metric("phoenix_store_ok") == 1)
    with open(env.gw.state_path) as file:
        equal(json.load(file)["state"]["records"]["routes"]["rest"]["record"]["weight_bp"], 2500, "the weight in the file")
    env.gw.admin.set_weight("rest", 0.3)


# --- real resources -------------------------------------------------------------------------------------------

def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


FILES = 150


@timeout(60)
def test_descriptors_run_out(env):
    """limits.connections is far above RLIMIT_NOFILE, and more clients come than there are descriptors."""
    gateway = Gateway([route("rest", "/*", legacy=env.up.url)], start=False, workers=2, limits={"connections": 1000})
    gateway.env.update(env.faults.environment())
    gateway.args = [need("prlimit"), f"--nofile={FILES}:{FILES}", *gateway.args]
    env.faults.arm("setrlimit", FROM, 1, 1)  # root could help itself
    gateway.start()
    env.faults.disarm()
    crowd = []
    try:
        first = Client(gateway.address)
        equal(first.ask("GET", "/small/1").status, 200)
        env.up.close_idle()
        for _ in range(FILES * 2):
            crowd.append(Client(gateway.address))
        wait_for("the last descriptor", lambda: gateway.descriptors() >= FILES - 2)
        log_before, cpu_before, begun = len(gateway.log()), cpu_s(gateway.pid), time.monotonic()
        slowest, statuses = 0.0, set()
        while time.monotonic() - begun < 2.5:
            asked = time.monotonic()
            statuses.add(first.ask("GET", "/small/2").status)
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.05)
        cpu = (cpu_s(gateway.pid) - cpu_before) / (time.monotonic() - begun)
        lines = gateway.log()[log_before:].count("\n")
        print(f"descriptors out: CPU {cpu * 100:.1f} %, {lines} log lines, slowest {slowest * 1000:.1f} ms, {statuses}")
        check(statuses <= {200, 502, 503}, statuses)
        check(not LONG or slowest < 1, f"an answer took {slowest:.2f} s")
        check(not LONG or cpu < 0.2, f"{cpu * 100:.0f} % of a core for nothing")
        check(lines < 60, f"{lines} lines in the log in {time.monotonic() - begun:.1f} s", gateway.log()[-600:])
        check("LimitNOFILE" in gateway.log(), "nobody was told")
        for client in crowd:
            client.close()
        wait_for("descriptors coming back", lambda: gateway.descriptors() < 60)
        wait_for("the first answer", lambda: first.ask("GET", "/small/3").status == 200, 3)
        healthy(gateway)
        first.close()
        quiet(gateway)
        gateway.stop()
    finally:
        for client in crowd:
            client.close()
        if gateway.alive():
            gateway.kill()


# --- slow clients ---------------------------------------------------------------------------------------------

SLOW = 4000 if LONG else 900
SLOW_S = 10 if LONG else 5


class Slow:
    """A client that takes or gives one byte a second, driven by one thread for all of them."""

    def __init__(self, address, number):
        self.gone = False
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect(address)
        # What a reader leaves unread fills the system's socket buffers, some megabytes each: 150 stay clear of
        # net.ipv4.tcp_mem, beyond which everybody on the machine is slow.
        self.kind = ("reader" if number < 600 else "head", "head", "body", "chunk")[number % 4]
        head = f"X-Slow: {number}\r\nHost: t\r\n"
        first, self.drip = {
            "reader": (f"GET /file HTTP/1.1\r\n{head}\r\n", ""),
            "head": (f"GET /small/1 HTTP/1.1\r\n{head}X-Drip: ", "x"),
            "body": (f"POST /echo/1 HTTP/1.1\r\n{head}Content-Length: 100000\r\n\r\n", "x"),
            "chunk": (f"POST /echo/1 HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        }[self.kind]
        self.sock.sendall(first.encode())
        self.sock.setblocking(False)

    def step(self):
        try:
            if self.drip:
                self.sock.send(self.drip.encode())
            else:
                self.sock.recv(1)
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True


# In a process of its own: this one is busy being slow. Prints how long each request took, in seconds.
INNOCENT = """
import json, sys, time
from lib.net import Client
times, end = [], time.monotonic() + float(sys.argv[2])
with Client(("127.0.0.1", int(sys.argv[1]))) as client:
    while time.monotonic() < end:
        begun, n = time.monotonic(), len(times)
        answer = client.ask("GET", f"/quick?n={n}")
        times.append(time.monotonic() - begun)
        assert answer.status == 200 and answer.body == f"{n};{n}".encode(), answer
        time.sleep(0.002)
print(json.dumps(times))
"""


@timeout(120)
def test_slow_clients(env):
    """Hundreds of clients, a byte a second each, reading a long file or sending heads and bodies; the innocent feel
    nothing, and memory is bounded by what each of them may hold."""
    files = Nginx("""server { listen 127.0.0.1:{port0} backlog=4096; location / { root {dir}; }
        location /quick { return 200 "$arg_n;$arg_n"; } }""")
    with open(os.path.join(files.directory, "file"), "wb") as file:
        file.write(os.urandom(4 << 20))
    os.chmod(os.path.join(files.directory, "file"), 0o644)
    files.start()
    gateway = Gateway([route("file", "/file", legacy=files.url()), route("quick", "/quick", legacy=files.url()),
                       route("rest", "/*", legacy=env.up.url)], workers=2,
                      limits={"header_timeout_ms": 60000})
    crowd = []
    try:
        healthy(gateway)
        rss_before, files_before = gateway.memory_kb(), gateway.descriptors()
        for i in range(SLOW):
            crowd.append(Slow(gateway.address, i))
        innocents = subprocess.Popen([sys.executable, "-c", INNOCENT, str(gateway.port), str(SLOW_S)],
                                     cwd=os.path.join(HERE, ".."), stdout=subprocess.PIPE, text=True)
        end = time.monotonic() + SLOW_S
        while time.monotonic() < end:
            second = time.monotonic() + 1
            for slow in crowd:
                slow.step()
            time.sleep(max(0.0, second - time.monotonic()))
        times = json.loads(innocents.communicate(timeout=20)[0])
        equal(innocents.returncode, 0, "exit status of the innocent client")
        rss = gateway.memory_kb()
        times.sort()
        print(f"{SLOW} slow clients: {len(times)} innocent requests, p50 {times[len(times) // 2] * 1e3:.2f} ms, "
              f"p99 {times[len(times) * 99 // 100] * 1e3:.2f} ms, worst {times[-1] * 1e3:.1f} ms; RSS {rss_before >> 10} -> "
              f"{rss >> 10} MiB ({(rss - rss_before) / SLOW:.0f} KiB each), descriptors {gateway.descriptors()}, "
              f"cut off {sum(slow.gone for slow in crowd)}")
        # with thousands it is the test's own upstream that cannot follow
        check(LONG or not any(slow.gone for slow in crowd), "slow is not a reason to be cut off yet")
        check(len(times) > (100 if LONG else 0), f"only {len(times)} innocent requests in {SLOW_S} s")
        check(not LONG or times[-1] < 2, f"an innocent request took {times[-1]:.2f} s")
        # 2 workers have 256 large buffers each; beside them a head block, a piece and a transaction a client
        check(rss - rss_before < (64 << 10) + SLOW * 100, f"RSS grew by {rss - rss_before} KiB for {SLOW} clients")
        for slow in crowd:
            slow.sock.close()
        env.up.close_idle()
        wait_for("descriptors coming back", lambda: gateway.descriptors() < files_before + 40, 15)
        quiet(gateway)
        healthy(gateway)
        gateway.stop()
    finally:
        for slow in crowd:
            slow.sock.close()
        files.end()
        files.remove()
        if gateway.alive():
            gateway.kill()


# --- upstreams that stop and vanish -----------------------------------------------------------------------------

@timeout(60)
def test_upstream_stops_and_vanishes(env):
    """SIGSTOP, SIGCONT, SIGKILL and a new start of the only upstream, under load; clients reset at random."""
    server = Nginx("""server { listen 127.0.0.1:{port0}; location / {
        add_header X-Number $arg_n; return 200 "$arg_n;$arg_n;$arg_n"; } }""").start()
    gateway = Gateway([route("all", "/*", legacy=server.url(), modern=server.url(), sample=0.5, weight=0.5,
                             mirror={"timeout_ms": 300})], sanitized=True, workers=2,
                      limits={"upstream_timeout_ms": 500, "connect_timeout_ms": 500})
    counts, faults, done = {}, [], threading.Event()
    lock = threading.Lock()

    def client_main(seed):
        rng = random.Random(seed)
        n = seed * 1000000
        while not done.is_set():
            try:
                with Client(gateway.address, timeout_s=8) as client:
                    while not done.is_set():
                        n += 1
                        client.request("GET", f"/x?n={n}")
                        if rng.random() < 0.05:
                            client.reset()
                            break
                        answer = client.response()
                        what = answer.status
                        if what == 200 and answer.body != f"{n};{n};{n}".encode():
                            faults.append(f"{n}: {answer!r}")
                        elif what not in (200, 502, 503, 504):
                            faults.append(f"{n}: {answer!r}")
                        with lock:
                            counts[what] = counts.get(what, 0) + 1
                        if (answer.get("connection") or "").lower() == "close":
                            break
            except TimeoutError:
                faults.append(f"{n}: no answer and no end in 8 s")
            except (Cut, OSError):
                with lock:
                    counts["cut"] = counts.get("cut", 0) + 1
            except (Malformed, AssertionError) as fault:
                faults.append(str(fault))
    crowd = [threading.Thread(target=client_main, args=(i + 1,), daemon=True) for i in range(12)]
    try:
        for thread in crowd:
            thread.start()
        for _ in range(8 if LONG else 2):
            time.sleep(0.3)
            server.signal(signal.SIGSTOP)
            time.sleep(0.8)
            server.signal(signal.SIGCONT)
            time.sleep(0.3)
            server.kill()
            time.sleep(0.3)
            server.start()
        before = counts.get(200, 0)
        time.sleep(0.5)
        check(counts.get(200, 0) > before, "no answers after the upstream came back", counts)
        done.set()
        for thread in crowd:
            thread.join(10)
            check(not thread.is_alive(), "a client still waits", counts)
        print(f"upstream stopped and killed: {counts}")
        equal(faults[:3], [], "what went wrong for clients")
        check(counts.get(200, 0) > 100 and (counts.get(502, 0) or counts.get(504, 0)), counts)
        for n in range(50):
            equal(gateway.ask("GET", f"/x?n={n}").body, f"{n};{n};{n}".encode())
        quiet(gateway)
        gateway.stop()
    finally:
        done.set()
        server.signal(signal.SIGCONT)
        server.end()
        server.remove()
        if gateway.alive():
            gateway.kill()


# --- SIGTERM ----------------------------------------------------------------------------------------------------

def trickle(ex):
    """/trickle goes on for longer than a drain lasts; all else as usual."""
    if not ex.target.startswith("/trickle"):
        return behave(ex)
    ex.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i in range(200):
        ex.send(b"5\r\npiece\r\n")
        time.sleep(0.05)
    return b"0\r\n\r\n"


@timeout(120)
@table([(f"seed-{seed}", seed) for seed in range(1, 41 if LONG else 4)])
def test_sigterm_under_load(env, row):
    """It ends with 0 in the time it has, and no answer that was cut looks whole."""
    rng = random.Random(row[1])
    up = Upstream(trickle)
    gateway = Gateway([route("trickle", "/trickle", legacy=up.url),
                       route("rest", "/*", legacy=up.url, modern=env.other.url, weight=0.3, sample=0.5,
                             mirror={"unsafe_methods": True, "timeout_ms": 1000})], sanitized=True, workers=2)
    load = Load(gateway, row[1])
    crowd = [threading.Thread(target=load.mixed, args=(10000,), daemon=True) for _ in range(8)]
    idle, old, whole = [], None, []
    try:
        for _ in range(300):  # more than the ring offers buffers for
            client = Client(gateway.address)
            client.request("GET", "/small/1")
            idle.append(client)
        if row[1] == 1 or row[1] % 8 == 0:
            # RFC 9112 9.3: to a client of HTTP/1.0 a FIN is the end of the message
            old = Client(gateway.address, timeout_s=12)
            old.request("GET", "/trickle", minor=0)
            equal(old.reader.response_head().status, 200)

            def read_old():
                try:
                    while old.reader.fill():
                        pass
                    whole.append(len(old.reader.buffer))
                except OSError:
                    pass
            reader = threading.Thread(target=read_old, daemon=True)
            reader.start()
        for thread in crowd:
            thread.start()
        time.sleep(rng.random() * 0.4)
        for client in idle:  # all speak at once, and the news of it is behind the order to stop
            client.send_tolerant(b"GET /small/2 HTTP/1.1\r\nHost: t\r\n\r\n")
        begun = time.monotonic()
        gateway.signal(signal.SIGTERM)
        gateway.child.wait(12)
        took = time.monotonic() - begun
        load.over = True
        for thread in crowd:
            thread.join(10)
            check(not thread.is_alive(), "a client still waits")
        text = gateway.log()
        equal(gateway.child.returncode, 0, f"exit status after {took:.1f} s\n{text[-4000:]}\n")
        check(not LONG or took < 5 + 3, f"took {took:.1f} s")
        check("Sanitizer" not in text and "runtime error" not in text, text[-4000:])
        if old:
            reader.join(3)
            equal(whole, [], "bytes of a cut answer that ended with FIN")
        load.verdict()
    finally:
        load.over = True
        for client in idle:
            client.close()
        up.stop()
        if gateway.alive():
            gateway.kill()

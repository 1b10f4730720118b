# SPDX-License-Identifier: Apache-2.0
"""
takeover: a new daemon takes the place of the old one (`phoenixd --takeover`), and nobody notices.

Clients that keep their connections, clients that make a new one for every request, requests that are half sent or
half answered at that moment: each gets its answer, and only its own. A takeover that fails changes nothing.
"""
import os
import re
import signal
import socket
import subprocess
import threading
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, Cut, free_port, response, wait_for
from lib.process import SANITIZER, Gateway, built, route, run, wrk
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)


class Chain:
    """A gateway whose process changes: each takeover makes another one the present."""

    def __init__(self, env, sanitized=False, **config):
        config.setdefault("workers", 2)
        self.gw = Gateway(config.pop("routes", None) or [route(legacy=env.up.url, modern=env.other.url)], sanitized=sanitized,
                          **config)
        self.old = []
        self.pid = self.gw.pid
        self.said = ""

    def take_over(self, good=True, wait_old=True, program=None):
        """Starts the next daemon on the same file. True when it serves."""
        with open(self.gw.log_path, "ab") as log:
            done = subprocess.run([program or self.gw.args[0], "--config", self.gw.config_path, "--takeover"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, timeout=50, text=True,
                                  env=dict(os.environ, **self.gw.env), cwd=self.gw.directory)
        self.said = done.stdout
        if not good:
            check(done.returncode != 0, "the takeover that could not be succeeded")
            return
        equal(done.returncode, 0, "exit status of --takeover; log:\n" + self.gw.log()[-3000:] + "\nexit status")
        self.old.append(self.pid)
        self.pid = int(re.search(r"pid (\d+) serves", done.stdout)[1])
        if wait_old:
            self.wait_old()

    def wait_old(self, timeout_s=20):
        def gone():
            if self.gw.child.poll() is None:
                return False
            return not any(alive(pid) for pid in self.old)
        wait_for("the old daemon's end", gone, timeout_s)
        equal(self.gw.child.returncode, 0, "exit status of the first daemon")

    def stop(self):
        if self.pid == self.gw.pid:
            self.gw.stop()
            return
        os.kill(self.pid, signal.SIGTERM)
        wait_for("the last daemon's end", lambda: not alive(self.pid), 20)
        text = self.gw.log()
        check(not SANITIZER.search(text), text[-6000:])
        self.gw.child.poll()
        self.gw.end()
        self.gw.remove()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def setup():
    env = Bench()
    env.up, env.other = env.own(Upstream()), env.own(Upstream(body=b"modern"))
    env.up.handler = lambda ex: response(200, ex.target.encode() + ex.read_body())
    return env


@timeout(120)
@table([("kept", {}), ("one-each", {"header": "Connection: close"})])
def test_under_load(env, row):
    """Five takeovers while wrk runs: no failed request."""
    chain = Chain(env)
    try:
        load = wrk(chain.gw.address, 8, connections=32, threads=2, path="/load", **row[1])
        wait_for("load", lambda: len(env.up.seen) > 200)
        env.up.forget()
        for _ in range(5):
            chain.take_over(wait_old=False)
            time.sleep(0.3)
        result = load.finish()
        equal(result["errors"], 0, result["text"])
        check(result["requests"] > 200, result["text"])
        chain.wait_old()
        equal(chain.gw.ask("GET", "/after").body, b"/after")
    finally:
        chain.stop()


def test_evidence_is_handed_on(env):
    """What was counted until then counts once, and goes on; a takeover that fails costs and doubles nothing."""
    both = {"legacy": env.up.url, "modern": env.up.url, "sample": 1.0}
    chain = Chain(env, routes=[route(arbiter={"min_samples": 1000000, "rollback_min_samples": 1000000}, **both)])

    def samples():
        return chain.gw.admin.route("all")["consistency"]["samples"]

    def ask(count):
        before = samples()
        with Client(chain.gw.address) as c:
            for _ in range(count):
                equal(c.ask("GET", "/x").status, 200)
        wait_for("samples", lambda: samples() >= before + count)
        equal(samples(), before + count)
    try:
        ask(20)
        chain.take_over()
        equal(samples(), 20)
        ask(10)
        good = dict(chain.gw.config)
        chain.gw.config["listen"] = good["listen"] + ["192.0.2.1:9"]
        chain.gw.write_config()
        chain.take_over(good=False)
        chain.gw.config = good
        chain.gw.write_config()
        equal(samples(), 30)
        ask(5)
        chain.take_over()
        equal(samples(), 35)
    finally:
        chain.stop()


def test_requests_under_way(env):
    """Half a request sent, half an answer read, and a connection that waits in the listener's queue."""
    go = threading.Event()

    def slow(ex):
        if ex.target == "/slow":
            ex.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
            go.wait(20)
            return b"67890"
        return response(200, ex.target.encode() + ex.read_body())
    before, env.up.handler = env.up.handler, slow
    chain = Chain(env, sanitized=True)
    try:
        with Client(chain.gw.address) as answered, Client(chain.gw.address) as sending, Client(chain.gw.address) as idle, \
                Client(chain.gw.address) as silent:
            equal(idle.ask("GET", "/1").status, 200)
            answered.request("GET", "/slow")
            wait_for("half an answer", lambda: answered.reader.fill() and b"12345" in answered.reader.buffer)
            sending.send("POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabcde")
            wait_for("half a request", lambda: any(e.target == "/up" for e in env.up.seen))
            chain.take_over(wait_old=False)
            # each connection of the old daemon gets what it is owed, and learns that this was the last
            sending.send("fghij")
            r = sending.response()
            equal((r.body, (r.get("connection") or "").lower()), (b"/upabcdefghij", "close"))
            r = idle.ask("GET", "/2")
            equal((r.body, (r.get("connection") or "").lower()), (b"/2", "close"))
            r = silent.ask("GET", "/3")
            equal((r.body, (r.get("connection") or "").lower()), (b"/3", "close"))
            equal(chain.gw.ask("GET", "/new").body, b"/new")
            check(chain.gw.child.poll() is None, "the old daemon ended before its last answer")
            go.set()
            equal(answered.response().body, b"1234567890")
        chain.wait_old()
        with Client(chain.gw.address) as c:
            equal([c.ask("GET", f"/{i}").get("connection") for i in range(3)], [None] * 3)
    finally:
        go.set()
        env.up.handler = before
        chain.stop()


def test_state_and_admin_go_on(env):
    """Weights, the admin interface on both of its sockets, and the next takeover are the new one's."""
    chain = Chain(env, sanitized=True)
    try:
        chain.gw.admin.set_weight("all", 0.25)
        for i in range(3):
            chain.take_over()
            equal(chain.gw.admin.weight("all")["set"], 0.25)
            equal(chain.gw.admin_unix.weight("all")["wanted"], 0.25)
        chain.gw.admin.set_weight("all", 1.0)
        equal(chain.gw.ask("GET", "/x").body, b"modern")
        chain.take_over()
        equal(chain.gw.ask("GET", "/x").body, b"modern")
        check(os.path.exists(chain.gw.socket_path), "the old daemon removed the new one's socket")
    finally:
        chain.stop()


@table([("fewer-workers", 4, 1), ("more-workers", 1, 4)])
def test_other_number_of_workers(env, row):
    """However many sockets there are and will be, every connection finds somebody who accepts it."""
    chain = Chain(env, sanitized=True, workers=row[1])
    try:
        for workers in (row[2], row[1], row[2]):
            chain.gw.config["workers"] = workers
            chain.gw.write_config()
            chain.take_over()
            for i in range(40):
                equal(chain.gw.ask("GET", f"/{i}").body, f"/{i}".encode())
            equal(chain.gw.admin.json("/admin/datapath")["workers"], workers)
    finally:
        chain.stop()


def test_unix_socket_and_changed_addresses(env):
    """A Unix socket is handed over as well; an address that is new is opened, one that is gone is closed."""
    path = os.path.join(os.path.dirname(env.own(Scratch()).path), "http.sock")
    chain = Chain(env, sanitized=True, listen=[f"unix:{path}"])
    more = free_port()
    chain.gw.config["listen"] = [f"unix:{path}", f"127.0.0.1:{more}"]
    chain.gw.write_config()

    def over_unix(target):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(path)
            s.sendall(f"GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while piece := s.recv(4096):
                data += piece
            return data.split(b"\r\n\r\n", 1)[1]
    try:
        equal(over_unix("/u1"), b"/u1")
        chain.take_over()
        equal([over_unix(f"/{i}") for i in range(8)], [f"/{i}".encode() for i in range(8)])
        with Client(("127.0.0.1", more)) as c:
            equal(c.ask("GET", "/tcp").body, b"/tcp")
        chain.gw.config["listen"] = [f"unix:{path}"]
        chain.gw.write_config()
        chain.take_over()
        equal(over_unix("/u2"), b"/u2")
        try:
            socket.create_connection(("127.0.0.1", more), 1).close()
            check(False, "an address that is no longer configured still accepts")
        except OSError:
            pass
    finally:
        chain.stop()
    check(not os.path.exists(path), "the socket was left behind")


class Scratch:
    def __init__(self):
        from lib.process import scratch
        self.path = os.path.join(scratch(), "x")

    def stop(self):
        pass


# --- takeovers that fail --------------------------------------------------------------------------------------

def receive_all(s):
    """What the old daemon sends: descriptors."""
    held = []
    while True:
        text, fds, _, _ = socket.recv_fds(s, 4096, 64)
        held += fds
        if text == b"THAT IS ALL":
            return held
        check(text.startswith(b"SOCKETS "), f"the old daemon said {text!r}")


def goes_on(chain, env):
    check(chain.gw.alive(), "the old daemon is gone")
    equal(chain.gw.ask("GET", "/x").status, 200)
    chain.gw.admin.set_weight("all", 0.5)
    equal(chain.gw.admin.weight("all")["set"], 0.5)
    chain.gw.admin.set_weight("all", 0)


@timeout(90)
def test_new_daemon_that_fails(env):
    """A bad file, an address that is taken, a program that dies on the way: the old daemon goes on, wholly."""
    chain = Chain(env, sanitized=True)
    good = dict(chain.gw.config)
    taken = socket.create_server(("127.0.0.1", 0))
    try:
        chain.gw.config["listen"] = [good["listen"][0], f"127.0.0.1:{taken.getsockname()[1]}"]
        chain.gw.write_config()
        chain.take_over(good=False)
        wait_for("the state being taken back", lambda: "nothing has changed" in chain.gw.log())
        chain.gw.config.update(good)
        goes_on(chain, env)
        with open(chain.gw.config_path, "w") as file:
            file.write("{")
        chain.take_over(good=False)
        chain.gw.write_config()
        goes_on(chain, env)
        chain.take_over()
        equal(chain.gw.ask("GET", "/x").status, 200)
    finally:
        taken.close()
        chain.stop()


@table([("nothing", []), ("junk", [b"junk"]), ("long", [b"x" * 100000]), ("half", [b"TAKEOVER 1"]),
        ("twice", [b"TAKEOVER 1", b"TAKEOVER 1"]), ("wrong-order", [b"SERVING"])])
def test_somebody_who_talks_nonsense(env, row):
    """Whoever asks and does not go on as agreed gets nothing for good, and decisions go on afterwards."""
    chain = Chain(env, sanitized=True)
    try:
        path = chain.gw.socket_path + ".takeover"
        equal(os.stat(path).st_mode & 0o777, 0o600, "mode of the socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(5)
            s.connect(path)
            for i, piece in enumerate(row[1]):
                s.send(piece)
                if i == 0 and piece.startswith(b"TAKEOVER"):
                    for fd in receive_all(s):
                        os.close(fd)
        goes = lambda: chain.gw.admin.request("POST", "/admin/routes/all/weight", {"weight": 0.5, "reason": "t"}).status == 200
        wait_for("changes being possible again", goes, 15)
        goes_on(chain, env)
        chain.take_over()
        equal(chain.gw.ask("GET", "/x").status, 200)
    finally:
        chain.stop()


def test_nobody_to_take_over_from(env):
    chain = Chain(env)
    chain.gw.end()
    try:
        status, out, err = run(built("phoenixd"), "--takeover", "--config", chain.gw.config_path)
        equal(status, 1)
        check("start without --takeover" in err, err)
    finally:
        chain.gw.remove()


def test_frozen_daemon_changes_nothing(env):
    """Between the sockets and the new daemon's word, writes are refused with 503 and requests are served."""
    chain = Chain(env, sanitized=True)
    try:
        kept = __import__("http.client").client.HTTPConnection("127.0.0.1", chain.gw.admin_port, timeout=10)
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(5)
            s.connect(chain.gw.socket_path + ".takeover")
            s.send(b"TAKEOVER 1")
            held = receive_all(s)
            check(len(held) >= 2 + 1 + 2, f"{len(held)} sockets: two of admin, this one, one a worker")
            kept.request("POST", "/admin/routes/all/weight", b'{"weight": 0.5}', {"Content-Type": "application/json"})
            answer = kept.getresponse()
            answer.read()
            equal(answer.status, 503)
            equal(chain.gw.ask("GET", "/x").status, 200)
            for fd in held:
                os.close(fd)
        kept.close()
        wait_for("the state being taken back", lambda: "nothing has changed" in chain.gw.log())
        wait_for("the admin interface", lambda: chain.gw.admin.get("/healthz").status == 200)
        goes_on(chain, env)
    finally:
        chain.stop()

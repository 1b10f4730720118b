# SPDX-License-Identifier: Apache-2.0
"""
access_log: a line for each request, whatever it looked like; what a rotation, a full disk, a pipe without a
reader and the journal make of it; and traffic made from it.
"""
import json
import os
import signal
import socket
import stat
import sys

from lib.case import Bench, check, equal, table
from lib.net import Client, ask, free_port, wait_for
from lib.process import Gateway, built, route, run, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
MEMBERS = ["at", "method", "target", "status", "route", "side", "path", "request_bytes", "bytes", "first_byte_ms", "duration_ms", "client",
           "request_id", "error", "synthetic", "shadow"]


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    env.gw, env.path = logging(env, workers=1)
    env.own(env.gw)
    return env


def logging(env, path=None, sanitized=True, workers=0, **config):
    """A gateway with an access log in a directory of its own, and the log's path."""
    path = path or os.path.join(scratch(), "access.log")
    gw = Gateway([route("r", "/r/*", legacy=env.up.url, weight=0.5), route("dead", "/dead", legacy=f"http://127.0.0.1:{free_port()}")],
                 sanitized=sanitized, workers=workers, access_log={"path": path, **config})
    return gw, path


def read(path):
    with open(path) as file:
        return file.read()


def lines(path, text=None):
    """Every line is a JSON object with known members, in their order."""
    out = []
    for line in (text if text is not None else read(path)).splitlines():
        doc = json.loads(line)
        equal([m for m in MEMBERS if m in doc], list(doc), "members and their order")
        out.append(doc)
    return out


def wait_lines(path, count):
    wait_for(f"{count} lines in the access log", lambda: os.path.exists(path) and read(path).count("\n") >= count)
    out = lines(path)
    equal(len(out), count, "lines")
    return out


def only(env, path=None):
    """Empties the log, as an operator would: moves it away and lets it be opened anew."""
    os.replace(env.path, env.path + ".old")
    env.gw.signal(signal.SIGUSR1)
    wait_for("the log being opened anew", lambda: os.path.exists(env.path))


def test_what_a_line_says(env):
    only(env)
    got = ask(env.gw.address, "POST", "/r/a?x=1&y=%22", {"X-Request-Id": "id-7", "X-Phoenix-Synthetic": "1"}, b"12345")
    equal(got.status, 200)
    ask(env.gw.address, "GET", "/r/b", {"X-Phoenix-Shadow": "1"})
    one, two = wait_lines(env.path, 2)
    equal({k: one[k] for k in ("method", "target", "status", "route", "path", "request_bytes", "client", "request_id", "synthetic", "shadow")},
          {"method": "POST", "target": "/r/a?x=1&y=%22", "status": 200, "route": "r", "path": "daemon", "request_bytes": 5,
           "client": "127.0.0.1", "request_id": "id-7", "synthetic": True, "shadow": False})
    equal(one["bytes"], len(got.body))
    check(0 < one["first_byte_ms"] <= one["duration_ms"], one)
    check("error" not in one)
    equal({one["side"], two["side"]}, {"legacy", "modern"}, "at a weight of a half two requests are one each")
    equal((two["synthetic"], two["shadow"]), (False, True))
    check(one["at"] <= two["at"] and one["at"].endswith("Z") and len(one["at"]) == 24, one["at"])


BAD = [("no-route", b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", 404, "no_route", "/none"),
       ("dead-upstream", b"GET /dead HTTP/1.1\r\nHost: x\r\n\r\n", 502, "upstream_connect", "/dead"),
       ("no-host", b"GET /r/x HTTP/1.1\r\n\r\n", 400, "bad_request", None),
       ("quote-and-newlines", b'GET /r/"\\\x01{"at" HTTP/1.1\r\nHost: x\r\n\r\n', 400, "bad_request", None),
       ("high-bytes", b"GET /r/\xff\xfe\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request", None),
       ("not-http", b"\x16\x03\x01\x00\xa5\r\n\r\n", 400, "bad_request", None),
       ("connect", b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", 501, "bad_request", None),
       ("long-head", b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "line_too_long", None)]


@table(BAD)
def test_what_went_wrong_is_a_line_too(env, row):
    _, raw, status, error, target = row
    only(env)
    with Client(env.gw.address) as c:
        c.send_tolerant(raw)
        try:
            equal(c.response().status, status)
        except (ConnectionResetError, BrokenPipeError):
            pass
    (line,) = wait_lines(env.path, 1)
    equal((line["status"], line["error"], line["target"]), (status, error, target))


def test_hostile_names_stay_in_their_line(env):
    """A request id is the client's own text."""
    only(env)
    for i, text in enumerate(['"}\\u0000{"', "a\tb", "<script>", "\x7f", "\u00e9"]):
        try:
            ask(env.gw.address, "GET", f"/r/{i}", {"X-Request-Id": text.encode("latin-1").decode("latin-1")})
        except (UnicodeEncodeError, ConnectionResetError):
            ask(env.gw.address, "GET", f"/r/{i}")
    equal(len(wait_lines(env.path, 5)), 5)


def test_long_targets_are_told_in_part(env):
    only(env)
    equal(ask(env.gw.address, "GET", "/r/" + "a" * 8000).status, 200)
    equal(ask(env.gw.address, "GET", "/r/" + "a" * 9000).status, 200)
    wait_for("two lines", lambda: read(env.path).count("\n") == 2)
    one, two = (json.loads(line) for line in read(env.path).splitlines())
    equal(len(one["target"]), 8003)
    check("target" not in two and two["target_cut"].startswith("/r/aaa"), two)


@table([("network", {"client": "network"}, "127.0.0.0"), ("none", {"client": "none"}, None)])
def test_less_of_the_client(env, row):
    gw, path = logging(env, query=False, **row[1])
    try:
        ask(gw.address, "GET", "/r/x?secret=hunter2")
        (line,) = wait_lines(path, 1)
        equal((line["client"], line["target"]), (row[2], "/r/x"))
        check("hunter2" not in read(path))
        equal(stat.S_IMODE(os.stat(path).st_mode) & 0o007, 0, "not for everybody")
    finally:
        gw.stop()


def test_every_request_once(env):
    """Many connections, several workers, a reopening on the way: what was served is what was written."""
    gw, path = logging(env, sanitized=False)
    try:
        for i in range(400):
            ask(gw.address, "GET", f"/r/{i}")
            if i == 200:
                os.replace(path, path + ".1")
                gw.signal(signal.SIGUSR1)
        wait_for("all lines", lambda: sum(read(p).count("\n") for p in (path, path + ".1") if os.path.exists(p)) == 400)
        targets = [line["target"] for p in (path + ".1", path) for line in lines(p)]
        equal(sorted(targets), sorted(f"/r/{i}" for i in range(400)))
        equal(gw.admin.metric("phoenix_access_log_lines_total", path="daemon"), 400)
        equal(gw.admin.metric("phoenix_access_log_dropped_total"), 0)
        equal(gw.admin.metric("phoenix_requests_total"), 400)
    finally:
        gw.stop()


def test_the_size_has_a_limit(env):
    gw, path = logging(env, max_bytes=4000, workers=1)  # lines of several workers are in order only within each
    try:
        for i in range(60):
            ask(gw.address, "GET", f"/r/{i}")
            if i % 10 == 9:
                wait_for("the lines so far", lambda: gw.admin.metric("phoenix_access_log_lines_total", path="daemon") == i + 1)
                newest = f"/r/{i}"
                wait_for("the newest of them in the file", lambda: os.path.exists(path) and newest in read(path))
        check(os.path.getsize(path) <= 4000 and os.path.getsize(path + ".1") <= 4000)
        targets = [line["target"] for p in (path + ".1", path) for line in lines(p)]
        equal(targets, [f"/r/{i}" for i in range(60 - len(targets), 60)], "the newest, without a hole")
        equal(gw.admin.metric("phoenix_access_log_dropped_total"), 0)
    finally:
        gw.stop()


def test_a_full_disk_is_told_once(env):
    gw, _ = logging(env, path="/dev/full")
    try:
        for i in range(30):
            equal(ask(gw.address, "GET", f"/r/{i}").status, 200, "requests do not suffer")
        wait_for("the losses being counted", lambda: gw.admin.metric("phoenix_access_log_dropped_total", reason="write") == 30)
        equal(gw.log().count("No space left on device"), 1, "said once")
    finally:
        gw.stop()


def test_a_pipe_without_a_reader(env):
    path = os.path.join(scratch(), "pipe")
    os.mkfifo(path, 0o600)
    gw, _ = logging(env, path=path)
    try:
        target = "/r/" + "a" * 4000
        while gw.admin.metric("phoenix_access_log_dropped_total", reason="write") == 0:
            equal(ask(gw.address, "GET", target).status, 200)
        # A reader comes: what was cut is one broken line, what follows is whole.
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        text = b""
        while b"/r/after" not in text:
            ask(gw.address, "GET", "/r/after")
            try:
                text += os.read(reader, 1 << 20)
            except BlockingIOError:
                pass
        os.close(reader)
        broken = 0
        for line in text.decode().splitlines():
            try:
                json.loads(line)
            except ValueError:
                broken += 1
        check(broken <= 2, "at most the cut line, and the one that is being read", broken)
        check("is written again" in gw.log(), gw.log()[-2000:])
    finally:
        gw.stop()


def test_stderr(env):
    gw, _ = logging(env, path="stderr")
    try:
        ask(gw.address, "GET", "/r/x")
        wait_for("the line", lambda: '"target":"/r/x"' in gw.log())
        (line,) = [n for n in gw.log().splitlines() if n.startswith("{")]
        equal(json.loads(line)["status"], 200)
    finally:
        gw.stop()


JOURNAL = """
import os, signal, socket, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
os.makedirs("/run/systemd/journal")
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
journal.settimeout(0.1)
child = subprocess.Popen(sys.argv[2:])
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
with open(sys.argv[1], "ab", buffering=0) as out:
    while child.poll() is None:
        try:
            out.write(journal.recv(65536) + b"\\0")
        except TimeoutError:
            pass
sys.exit(child.returncode)
"""


def test_journal(env):
    """The native protocol, to a journal of the test's own in a mount namespace of its own."""
    received = os.path.join(scratch(), "received")
    gw = Gateway([route("r", "/r/*", legacy=env.up.url)], start=False, access_log={"path": "journal"})
    gw.args = ["unshare", "-m", sys.executable, "-c", JOURNAL, received, *gw.args]
    gw.start()
    try:
        ask(gw.address, "GET", "/r/x")
        wait_for("the datagram", lambda: b"MESSAGE" in open(received, "rb").read())
        fields = dict(f.split("=", 1) for f in open(received).read().split("\0")[0].splitlines())
        equal((fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"]), ("6", "phoenix-access"))
        equal(json.loads(fields["MESSAGE"])["target"], "/r/x")
    finally:
        gw.stop()


def test_a_target_that_cannot_be_opened(env):
    gw = Gateway([route(legacy=env.up.url)], start=False, access_log={"path": "/nonexistent/access.log"})
    gw.start(wait=False)
    wait_for("the daemon ending", lambda: not gw.alive())
    check("access_log.path /nonexistent/access.log: No such file" in gw.log(), gw.log())
    gw.remove()


def test_traffic_from_it(env):
    """Served, written down, made into a scenario, run: the synthetic requests are not taken for real ones."""
    gw, path = logging(env)
    try:
        for i in range(12):
            ask(gw.address, "GET", f"/r/{i}?page={i % 3}")
        ask(gw.address, "GET", "/r/marked", {"X-Phoenix-Synthetic": "1"})
        wait_lines(path, 13)
        scenario = os.path.join(gw.directory, "scenario.json")
        status, out, err = run(built("phoenixctl"), "traffic", "generate", "--from", "access-log", path, "--out", scenario)
        equal(status, 0, err)
        text = open(scenario).read()
        check("/r/" in text and "marked" not in text, text[:2000])
        status, out, err = run(built("phoenix-traffic"), "run", scenario, "--url", f"http://127.0.0.1:{gw.port}",
                               "--reconcile", f"http://127.0.0.1:{gw.admin_port}", "--requests", "20", "--rate", "100")
        equal(status, 0, out + err)
        wait_for("the lines of the run", lambda: sum(n["synthetic"] for n in lines(path)) >= 21)
        check(all(n["status"] == 200 and n["target"].startswith("/r/") for n in lines(path)))
    finally:
        gw.stop()

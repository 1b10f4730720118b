# SPDX-License-Identifier: Apache-2.0
"""
service: what phoenixd tells the service manager (sd_notify(3)), heard by a manager of the test's own: a datagram socket
under the name of $NOTIFY_SOCKET. Ready, the words of the state, signs of life, reloading, the main process's number
after a takeover, stopping. And what it stops telling: no sign of life while a worker hangs.
"""
import os
import re
import signal
import socket
import subprocess
import threading
import time

from lib.case import Bench, check, equal, timeout
from lib.net import wait_for
from lib.process import Gateway, Skip, route, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
WATCHDOG_S = 3  # interval 1 s, patience 3 s: the least that there is


class Manager:
    """Collects what arrives: [(when, {name: value})]."""

    def __init__(self):
        self.path = os.path.join(scratch(), "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except OSError:
                return
            self.heard.append((time.monotonic(), dict(line.split("=", 1) for line in text.split("\n"))))

    def all(self, name, since=0):
        return [message[name] for _, message in self.heard[since:] if name in message]

    def wait(self, name, value=None, since=0, timeout_s=15):
        wait_for(f"{name}={value or '…'}", lambda: [v for v in self.all(name, since) if value in (None, v)], timeout_s)
        return self.all(name, since)

    def stop(self):
        self.socket.close()


def gateway(env, **config):
    gw = Gateway([route(legacy=env.up.url, modern=env.up.url, weight=0)], start=False, **config)
    env.manager = Manager()
    gw.env = dict(gw.env, NOTIFY_SOCKET=env.manager.path, WATCHDOG_USEC=str(WATCHDOG_S * 1000000))
    return gw.start()


def setup():
    env = Bench()
    env.up = env.own(Upstream(body=b"here"))
    return env


def test_life(env):
    """From the start to the end, in this order, and nothing that a manager does not know."""
    gw = gateway(env, sanitized=True, workers=2)
    manager = env.manager
    try:
        equal(manager.wait("READY"), ["1"])
        first = manager.heard[0][1]
        equal(first, {"READY": "1", "STATUS": "Not Started: 100% on Legacy"}, "the first message")
        before = len(manager.heard)
        gw.admin.ok("POST", "/admin/routes/all/weight", {"weight": 0.3, "reason": "a test"})
        wanted = gw.admin.json("/admin/status")["headline"]
        check("30%" in wanted, wanted)
        manager.wait("STATUS", wanted, before)
        manager.wait("WATCHDOG", "1")
        gw.signal(signal.SIGTERM)
        equal(gw.child.wait(15), 0)
        last = [m for _, m in manager.heard if "STOPPING" in m]
        equal(len(last), 1, "messages about the end")
        check(int(last[0]["EXTEND_TIMEOUT_USEC"]) >= 5000 * 1000, "less than limits.drain_ms", last)
        known = {"READY", "STATUS", "WATCHDOG", "RELOADING", "MONOTONIC_USEC", "STOPPING", "EXTEND_TIMEOUT_USEC"}
        equal({name for _, m in manager.heard for name in m} - known, set(), "names that nobody knows")
    finally:
        gw.end()
        gw.remove()
        manager.stop()


def test_reload(env):
    """RELOADING with a time of CLOCK_MONOTONIC not before the request, then READY: for a good file and a bad one."""
    gw = env.own(gateway(env, sanitized=True))
    manager = env.manager
    manager.wait("READY")
    for text, good in ((None, True), ("{", False), (None, True)):
        if text:
            with open(gw.config_path, "w") as file:
                file.write(text)
        else:
            gw.write_config()
        before, asked = len(manager.heard), time.clock_gettime(time.CLOCK_MONOTONIC)
        gw.signal(signal.SIGHUP)
        manager.wait("READY", "1", before)
        words = [next(iter(m)) for _, m in manager.heard[before:] if "RELOADING" in m or "READY" in m]
        equal(words, ["RELOADING", "READY"], "the order")
        told = int(manager.all("MONOTONIC_USEC", before)[0])
        check(int(asked * 1e6) <= told <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6, "the time of the reload", asked, told)
        equal(gw.admin.metric("phoenix_config_last_reload_successful"), int(good))
        equal(gw.ask("GET", "/").body, b"here")


@timeout(60)
def test_watchdog_is_silent_while_a_worker_hangs(env):
    """One of two workers is stopped as a hang would stop it; the other and the control thread go on, and yet no sign
    of life. It goes on: signs of life again."""
    gw = env.own(gateway(env, workers=2))
    manager = env.manager
    manager.wait("WATCHDOG")
    threads = {}
    for task in os.listdir(f"/proc/{gw.pid}/task"):
        with open(f"/proc/{gw.pid}/task/{task}/comm") as file:
            threads[file.read().strip()] = int(task)
    freezer = Freezer(gw.pid, threads["phx-worker-1"])
    try:
        wait_for("the daemon noticing", lambda: "has not turned for" in gw.log(), 15)
        line = next(line for line in gw.log().splitlines() if "has not turned for" in line)
        check(re.search(r"worker 1 has not turned for \d+\.\d s \(limit 3\.0 s\)", line), line)
        before = len(manager.heard)
        equal(gw.admin.get("/healthz").status, 200, "the control thread goes on")
        time.sleep(1.5)  # more than an interval: time for a sign of life that must not come
        equal(manager.all("WATCHDOG", before), [], "signs of life while a worker hangs")
    finally:
        freezer.thaw()
    manager.wait("WATCHDOG", "1", before)
    wait_for("the end of it being said", lambda: "all workers turn again" in gw.log())


class Freezer:
    """One thread stands still: ptrace stops it alone, which no signal does."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, pid, thread):
        import ctypes
        self.libc, self.thread = ctypes.CDLL(None, use_errno=True), thread
        self.libc.ptrace.argtypes = [ctypes.c_long] * 4
        if self.libc.ptrace(self.SEIZE, thread, 0, 0):
            raise Skip(f"ptrace: {os.strerror(ctypes.get_errno())}")
        self.libc.ptrace(self.INTERRUPT, thread, 0, 0)
        os.waitpid(thread, 0x40000000)  # __WALL

    def thaw(self):
        self.libc.ptrace(self.DETACH, self.thread, 0, 0)


def test_takeover_names_the_new_main_process(env):
    """MAINPID from the old one, then READY and signs of life from the new one, which the manager did not start."""
    gw = gateway(env)
    manager = env.manager
    new = None
    try:
        manager.wait("READY")
        before = len(manager.heard)
        environment = {k: v for k, v in dict(os.environ, **gw.env).items() if k != "WATCHDOG_USEC"}
        with open(gw.log_path, "ab") as log:
            done = subprocess.run([gw.args[0], "--config", gw.config_path, "--takeover"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=log, text=True, env=environment, timeout=40)
        equal(done.returncode, 0, gw.log()[-2000:])
        new = int(re.search(r"pid (\d+) serves", done.stdout)[1])
        equal(manager.wait("MAINPID", str(new), before), [str(new)])
        manager.wait("READY", "1", before)
        order = [name for _, m in manager.heard[before:] for name in m if name in ("MAINPID", "READY")]
        equal(order, ["MAINPID", "READY"])
        equal(gw.child.wait(20), 0)
        equal(manager.all("STOPPING"), [], "the service does not stop")
        at = len(manager.heard)
        manager.wait("WATCHDOG", "1", at, timeout_s=15)
    finally:
        if new:
            os.kill(new, signal.SIGTERM)
            manager.wait("STOPPING", "1")
            wait_for("the new daemon's end", lambda: not os.path.exists(f"/proc/{new}") or "Z" in
                     open(f"/proc/{new}/stat").read().rsplit(")", 1)[1].split()[0])
        gw.end()
        gw.remove()
        manager.stop()

# SPDX-License-Identifier: Apache-2.0
"""
terminal: phoenixctl on a terminal, as a person sees it: what fits, what is coloured, what the keys do, and that nothing
hostile reaches it.
"""
import http.server
import json
import os
import re
import signal
import threading

from lib.case import Bench, check, equal, table, timeout
from lib.net import ask, response, wait_for
from lib.pipeline import Rig
from lib.process import Gateway, built, route, run
from lib.terminal import Terminal
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
EVIL = "x\x1b[31mred\x1b]0;title\x07\x9b2J\u009b2J\u202eback\u200b\r\n\x7f"


def setup():
    env = Bench()
    env.up = env.own(Upstream(lambda ex: response(200, b'{"v": 1}', {"Content-Type": "application/json"})))
    env.gw = env.own(Gateway([route(f"route-{i:02d}-with-a-long-name", f"/r{i}/and/a/long/path/*", legacy=env.up.url,
                                    modern=env.up.url + "/modern", sample=1.0, arbiter={"min_samples": 100000}) for i in range(2)]))
    env.many = env.own(Gateway([route(f"r{i:02d}", f"/r{i}", legacy=env.up.url) for i in range(60)]))
    env.admin = env.gw.admin
    return env


def terminal(bench, *args, gw=None, **more):
    return Terminal([built("phoenixctl"), "--admin", f"unix:{(gw or bench.gw).socket_path}", *args], **more)


READS = [("status",), ("status", "route-00-with-a-long-name"), ("route", "ls"), ("weight", "get", "route-00-with-a-long-name"),
         ("decisions", "route-00-with-a-long-name"), ("diff", "ls", "route-00-with-a-long-name"), ("migration", "ls"), ("doctor",)]


@table(READS)
def test_fits_80_columns(env, row):
    """No line is wider than the window, on a narrow terminal and on one without UTF-8."""
    env.admin.ok("POST", "/admin/routes/route-00-with-a-long-name/weight", {"weight": 0.5, "reason": "a long reason " * 12})
    for columns, locale in ((80, "C.UTF-8"), (80, "C"), (132, "C.UTF-8"), (40, "C")):
        if columns < 80 and row[0] not in ("status", "route", "decisions"):
            continue
        with terminal(env, *row, columns=columns, rows=200, env={"LC_ALL": locale}) as t:
            t.end(20)
            for line in t.raw.decode().replace("\r\n", "\n").split("\n"):
                plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
                check("\x1b" not in plain, "only colours", line)
                check(len(plain) <= columns, f"{len(plain)} of {columns} columns", plain)
                check(locale != "C" or plain.isascii(), "ASCII only", plain)
            check(t.is_clean() == "", t.is_clean())


@table([("NO_COLOR", {"NO_COLOR": "1"}, False), ("dumb", {"TERM": "dumb"}, False), ("usual", {}, True)])
def test_colour(env, row):
    with terminal(env, "status", env=row[1]) as t:
        equal(t.end(), 0)
        equal(b"\x1b[" in t.raw, row[2], "colour")
    if row[0] == "dumb":
        with terminal(env, "status", "--watch", env=row[1]) as t:
            t.shows("route-00")
            check(b"\x1b" not in t.raw, "nothing is drawn in place", t.raw)


def test_watch_follows_the_window_and_leaves_it_clean(env):
    with terminal(env, "status", "--watch", columns=100, rows=30) as t:
        t.shows("route-00-with-a-long-name", "q quit", "r roll back", "p pause")
        check(b"\x1b[?1049h" in t.raw, "a screen of its own")
        t.resize(60, 12)
        wait_for("the footer at the new bottom", lambda: "q quit" in t.text().split("\n")[-1] and len(t.text().split("\n")) <= 12)
        t.resize(120, 40)
        wait_for("the footer at the new bottom", lambda: t.text().split("\n")[-1].startswith("q quit") and len(t.text().split("\n")) == 40)
        t.key("q")
        equal(t.end(), 0)
        equal(t.is_clean(), "")


@table([("Ctrl-C", "\x03"), ("SIGTERM", signal.SIGTERM)])
def test_watch_ends_cleanly_by(env, row):
    with terminal(env, "status", "--watch") as t:
        t.shows("q quit")
        t.key(row[1]) if isinstance(row[1], str) else os.kill(t.pid, row[1])
        equal(t.end(), 0)
        equal(t.is_clean(), "")


def test_stopped_and_continued(env):
    """Ctrl-Z: the shell gets its terminal; fg takes it again."""
    with terminal(env, "status", "--watch") as t:
        t.shows("q quit")
        t.key("\x1a")
        wait_for("it being stopped", lambda: (t.read(), os.waitpid(t.pid, os.WNOHANG | os.WUNTRACED)[0])[1] == t.pid)
        t.read()
        equal(t.is_clean(), "")
        os.kill(t.pid, signal.SIGCONT)
        before = len(t.raw)
        wait_for("a new frame", lambda: (t.read(), b"\x1b[?1049h" in t.raw[before:])[1])
        t.key("q")
        equal(t.end(), 0)
        equal(t.is_clean(), "")


@timeout(90)
def test_keys_pause_and_roll_back(env):
    name = "route-01-with-a-long-name"
    env.admin.ok("POST", f"/admin/routes/{name}/weight", {"weight": 0.4})
    with terminal(env, "status", "--watch", columns=160, rows=40) as t:
        t.shows("▸ route-00")
        t.key("\x1b[B")
        t.shows(f"▸ {name}")
        t.key("\x1b[B")  # there is no further one
        t.key("p")
        t.shows("Paused at 40% by")
        equal(env.admin.route(name)["state"], "paused")
        t.key("j")
        t.shows("p go on")
        t.key("p")
        wait_for("it going on", lambda: env.admin.route(name)["state"] != "paused")
        t.key("r")
        t.shows(f"Roll {name} back", "y = yes")
        t.key("n")
        t.shows("q quit")
        equal(env.admin.weight(name)["set"], 0.4)
        t.key("r")
        t.shows("y = yes")
        t.key("y")
        t.shows("Rollback triggered")
        equal(env.admin.weight(name)["set"], 0.0)
        entries = [e for e in env.admin.json("/admin/audit")["entries"] if "rollback" in e["path"]]
        check(entries and entries[-1]["reason"] == "by key in status --watch" or entries[0]["reason"] == "by key in status --watch", entries)
        t.key("q")
        equal(t.end(), 0)
    env.admin.ok("POST", f"/admin/routes/{name}/retry")


def test_what_cannot_be_done_is_said(env):
    with terminal(env, "status", "--watch", columns=160, rows=40) as t:
        t.shows("▸ route-00")
        env.admin.ok("POST", "/admin/routes/route-00-with-a-long-name/rollback")
        t.shows("Rollback triggered")
        t.key("p")
        t.shows("pause route-00-with-a-long-name:", "possible now")
        t.key("q")
        equal(t.end(), 0)
    env.admin.ok("POST", "/admin/routes/route-00-with-a-long-name/retry")


def test_more_routes_than_lines(env):
    with terminal(env, "status", "--watch", gw=env.many, rows=20) as t:
        t.shows("▸  r00", "routes 1 to ")
        for _ in range(30):
            t.key("j")
        text = t.shows("▸  r30")
        check(len(text.split("\n")) <= 20 and "q quit" in text, text)
        t.key("q")
        equal(t.end(), 0)


def test_daemon_goes_and_comes(env):
    gw = Gateway([route("only", "/only", legacy=env.up.url)])
    try:
        with terminal(env, "status", "--watch", gw=gw) as t:
            t.shows("only")
            gw.end()
            t.shows("daemon not reachable; this is from")
            gw.restart()
            wait_for("it being back", lambda: "not reachable" not in t.text())
            t.key("q")
            equal(t.end(), 0)
    finally:
        gw.end()
        gw.remove()


def test_wait_for_on_a_terminal(env):
    name = "route-01-with-a-long-name"
    with terminal(env, "status", name, "--watch", "--wait-for", "paused", "--timeout", "20s", rows=40) as t:
        t.shows("waiting for: paused")
        env.admin.ok("POST", f"/admin/routes/{name}/pause", {"reason": "lunch"})
        equal(t.end(), 0)
        check("Paused at" in t.raw.split(b"\x1b[?1049l")[-1].decode(), "the end is on the usual screen", t.raw[-300:])
    env.admin.ok("POST", f"/admin/routes/{name}/resume")


@timeout(90)
def test_migrate_shows_how_far_it_is(env):
    rig = Rig(sanitized=False)
    try:
        path = os.path.join(rig.gw.directory, "spec.json")
        with open(path, "w") as file:
            json.dump(rig.spec("bar"), file)
        with terminal(env, "migrate", path, gw=rig.gw, rows=60) as t:
            equal(t.end(40), 0)
            check("█".encode() in t.raw and b"\r\x1b[K" in t.raw, "a bar that goes away", t.raw[:400])
            text = t.text()
            check("bar: Migration Complete" in text and "░" not in text, text)
            equal(t.is_clean(), "")
        code, out, err = run(built("phoenixctl"), "--admin", f"unix:{rig.gw.socket_path}", "migration", "show", "bar", "-f")
        equal(code, 0, err)
        check("█" not in out + err and "bar: Migration Complete" in out, "no bar in a pipe", out, err)
        with open(path, "w") as file:
            json.dump(rig.spec("again", fault="wrong", verify=[]), file)
        ctl = [built("phoenixctl"), "--admin", f"unix:{rig.gw.socket_path}"]
        equal(run(*ctl, "migrate", path)[0], 10)
        code, out, err = run(*ctl, "migration", "retry", "again", "--detach", "-o", "json")
        check(code == 0, code, out, err)
        equal(json.loads(out)["id"], "again")
        code, out, err = run(*ctl, "migration", "show", "again", "-f")
        check(code == 10 and "Rollback triggered" in out, "anew, to the same end", code, out, err)
        with open(path, "w") as file:
            json.dump(rig.spec("early", fault="wrong", verify=[{"request": {"path": "/early/1"}}]), file)
        equal(run(*ctl, "migrate", path)[0], 10)
        code, out, err = run(*ctl, "migration", "retry", "early")
        check(code == 5 and "migrate FILE" in err, "says how to begin anew", code, err)
        code, out, err = run(*ctl, "migration", "retry", "agian")
        check(code == 2 and 'did you mean "again"?' in err, code, err)
        code, out, err = run(*ctl, "migration", "rm", "again", "-o", "json")
        equal(code, 0, err)
        json.loads(out)
    finally:
        rig.stop()


class Liar(http.server.BaseHTTPRequestHandler):
    """A daemon that answers everything with texts that would take a terminal over."""
    protocol_version = "HTTP/1.1"
    ROUTE = {"id": EVIL, "state": EVIL, "headline": EVIL, "detail": EVIL, "methods": [EVIL], "host": EVIL, "path": EVIL,
             "legacy_url": EVIL, "modern_url": EVIL, "source": EVIL, "badges": [EVIL], "verbs": [EVIL], "arbiter": {"policy": EVIL},
             "weight": {"wanted": 0.1, "set": 0.1, "seen": 0.1, "changed_by": EVIL, "reason": EVIL, "drift": True, "file": 0},
             "consistency": {"samples": 5, "matches": 4, "ratio": 0.8, "ignored_pointers": [EVIL], "not_comparable": {EVIL: 3},
                             "noise": {"differing": 1, "samples": 2, "proposed": [EVIL], "places": [{"count": 1, "kind": EVIL, "pointer": EVIL}]}},
             "config": {"compare": {"ignore": [EVIL]}}}
    PROBLEM = {"title": EVIL, "detail": EVIL, "errors": [EVIL], "possible": [EVIL]}
    ANSWERS = {
        "/admin/status": {"headline": EVIL, "version": EVIL, "routes": [ROUTE] * 5, "store": {"ok": False, "error": EVIL, "kind": EVIL},
                          "config": {"last_reload_successful": False, "last_reload_error": EVIL}, "path": EVIL},
        "/admin/routes": {"routes": [ROUTE]},
        "/admin/events": {"events": [{"at": EVIL, "level": EVIL, "type": EVIL, "route": EVIL, "message": EVIL}]},
        "/admin/migrations": {"migrations": [{"id": EVIL, "headline": EVIL, "stage": EVIL, "detail": EVIL, "state": EVIL, "kind": EVIL}]},
        "/admin/config": {"file": EVIL, "listen": [EVIL]}, "/admin/trace": {"route": EVIL, "path": EVIL, "why": EVIL, "xdp": {"reason": EVIL, "help": EVIL}},
        "decisions": {"decisions": [{"at": EVIL, "action": EVIL, "by": EVIL, "reason": EVIL}]},
        "diffs": {"samples": 5, "noise": ROUTE["consistency"]["noise"],
                  "groups": [{"key": EVIL, "kind": EVIL, "pointer": EVIL, "count": 3, "last_at": EVIL,
                              "examples": [{"at": EVIL, "method": EVIL, "target": EVIL, "request_id": EVIL, "side": EVIL, "legacy": EVIL, "modern": EVIL,
                                            "request": EVIL, "legacy_body": EVIL, "modern_body": EVIL, "pointer": EVIL}]}]},
        "m": {"headline": EVIL, "detail": EVIL, "stages": [{"stage": EVIL, "status": EVIL}], "log": [{"stage": EVIL, "text": EVIL, "number": 1}],
              "cases": [{"file": EVIL}], "over": True},
    }

    def do_GET(self):
        path = self.path.split("?")[0]
        found = self.ANSWERS.get(path) or self.ANSWERS.get(path.split("/")[-1])
        body = json.dumps(found or (self.ROUTE if path.endswith("/good") else self.PROBLEM)).encode()
        self.send_response(200 if found or path.endswith("/good") else 409)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        pass


@timeout(120)
def test_nothing_hostile_reaches_the_terminal(env):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    commands = [("status",), ("status", "good"), ("route", "ls"), ("weight", "get", EVIL), ("pause", EVIL), ("decisions", "x"), ("diff", "ls", "x"), ("diff", "show", "x"),
                ("diff", "show", "x", EVIL), ("diff", "ignore", "good"), ("events",), ("migration", "ls"), ("migration", "show", "m"), ("trace", "GET", EVIL),
                ("config", "show"), ("config", "diff"), ("config", "reload"), (EVIL,), ("--" + EVIL,), ("config", "check", "/" + EVIL), ("weight", "set", "x", EVIL),
                ("traffic", "generate", "--from", "har", EVIL), ("decisions", "replay", "./" + EVIL), ("version",), ("route", "rm", EVIL), ("migration", "rm", EVIL)]
    try:
        for command in commands:
            for form in ((), ("-o", "json")):
                words = [w.replace("\x9b", "\u009b") for w in command]
                done = Terminal([built("phoenixctl"), "--admin", address, *words, *form], columns=200, rows=300, env={"NO_COLOR": "1"})
                with done as t:
                    t.end(20)
                    text = t.raw.replace(b"\r\n", b"\n").decode("utf-8")
                    bad = [c for c in text if ord(c) < 32 and c != "\n" or 0x7f <= ord(c) < 0xa0 or c == "\u202e"]
                    check(not bad and text.strip(), f"{command} {form}: {bad[:3]}", text[:600])
    finally:
        server.shutdown()

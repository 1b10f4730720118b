# SPDX-License-Identifier: Apache-2.0
"""
ctl: phoenixctl as scripts use it: exit statuses, data on stdout, talk on stderr, JSON that is JSON.
"""
import json
import os
import shutil
import signal
import subprocess
import threading

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, ask, response, wait_for
from lib.process import Gateway, built, route, run, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
QUICK = {"min_samples": 20, "step": 0.5, "interval_ms": 100}


def good(ex):
    return response(200, b'{"v": 1}', {"Content-Type": "application/json"})


def wrong(ex):
    return response(200, b'{"v": 2}', {"Content-Type": "application/json"})


def setup():
    env = Bench()
    env.legacy, env.modern = env.own(Upstream(good)), env.own(Upstream(good))
    both = {"legacy": env.legacy.url, "modern": env.modern.url, "sample": 1.0}
    env.gw = env.own(Gateway([route("plain", "/plain", **both), route("go", "/go", arbiter=QUICK, **both),
                              route("fail", "/fail", arbiter=QUICK, **both),
                              route("idle", "/idle", arbiter=dict(QUICK, min_samples=100000), **both)]))
    env.admin = env.gw.admin
    return env


def ctl(env, *args, unix=True, expect=0, timeout_s=30, **more):
    address = f"unix:{env.gw.socket_path}" if unix else f"http://127.0.0.1:{env.gw.admin_port}"
    status, out, err = run(built("phoenixctl", sanitized=True), "--admin", address, *args, timeout_s=timeout_s,
                           env=dict(os.environ, NO_COLOR="1"), **more)
    check(status == expect, f"phoenixctl {' '.join(args)}: exit {status}, not {expect}", out, err)
    return out, err


class Traffic:
    def __init__(self, env, path):
        self.on, self.env, self.path = True, env, path
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        with Client(self.env.gw.address) as c:
            while self.on:
                c.ask("GET", self.path)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.on = False
        self.thread.join(10)


def begin(env, name):
    if env.admin.route(name)["state"] == "idle":
        env.admin.ok("POST", f"/admin/routes/{name}/start")


@table([True, False])
def test_status(env, row):
    out, _ = ctl(env, "status", unix=row)
    check("plain" in out and "go" in out and "Legacy" in out or "Mirroring" in out, out)
    check("\x1b" not in out, "no escape codes in a pipe")
    out, _ = ctl(env, "status", "plain", unix=row)
    check("plain" in out and "Not Started: 100% on Legacy" in out, out)


@table([("status",), ("status", "plain"), ("route", "ls"), ("weight", "get", "plain"), ("decisions", "plain"), ("diff", "ls", "plain"),
        ("diff", "show", "plain"), ("diff", "ignore", "plain"), ("trace", "GET", "/plain"), ("events",), ("migration", "ls"), ("config", "show"),
        ("config", "diff"), ("config", "schema"), ("config", "check", "{config}"), ("doctor",), ("version",), ("xdp", "status")])
def test_every_read_has_json(env, row):
    """One JSON text on stdout, and nothing else."""
    words = [w.replace("{config}", env.gw.config_path) for w in row]
    local = row[0] == "config" and row[1] in ("schema", "check")
    status, out, err = run(built("phoenixctl", sanitized=True), *([] if local else ["--admin", f"unix:{env.gw.socket_path}"]), *words, "-o", "json")
    check(status == 0 or row == ("doctor",) and status == 1, status, out, err)
    json.loads(out)


def test_not_permitted_is_6(env):
    """Another user at the socket; no token, and a wrong one, at an address that asks for one."""
    address = f"unix:{env.gw.socket_path}"
    program = shutil.copy(built("phoenixctl"), os.path.join(scratch(), "phoenixctl"))
    for path in (os.path.dirname(env.gw.socket_path), os.path.dirname(program)):
        os.chmod(path, 0o711)
        os.chmod(os.path.dirname(path), os.stat(os.path.dirname(path)).st_mode | 0o011)
    status, out, err = run(program, "--admin", address, "status", user="nobody", group="nogroup", extra_groups=[])
    equal((status, out), (6, ""), err)
    check("run as root or as a member of the socket's group" in err, err)
    token = os.path.join(env.gw.directory, "token")
    with open(token, "w") as file:
        file.write("right-right-right-right\n")
    os.chmod(token, 0o600)
    gw = Gateway(env.gw.routes, start=False)
    gw.config["admin"]["token_file"] = token
    gw.start()
    try:
        tcp = f"http://127.0.0.1:{gw.admin_port}"
        status, out, err = run(built("phoenixctl"), "--admin", tcp, "status", env={"PATH": os.environ["PATH"]})
        equal((status, out), (6, ""), err)
        check("--token-file or PHOENIX_TOKEN" in err, err)
        equal(run(built("phoenixctl"), "--admin", tcp, "status", env={"PATH": os.environ["PATH"], "PHOENIX_TOKEN": "wrong"})[0], 6)
        status, out, err = run(built("phoenixctl"), "--admin", tcp, "--token-file", token, "status")
        equal(status, 0, err)
        check("right-right" not in out + err, "the token is nowhere")
    finally:
        gw.end()
        gw.remove()


@timeout(60)
def test_events_are_followed_over_a_restart(env):
    """None twice, none lost that the daemon still knows, in their order."""
    gw = Gateway([route("one", "/one", legacy=env.legacy.url, modern=env.modern.url)])
    path = os.path.join(gw.directory, "events")
    with open(path, "w") as out:
        child = subprocess.Popen([built("phoenixctl", sanitized=True), "--admin", f"unix:{gw.socket_path}", "events", "-f", "-o", "json"],
                                 stdout=out, stderr=subprocess.PIPE, text=True)

    def seen():
        with open(path) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def weights():
        return [e["message"] for e in seen() if e["type"] == "weight"]
    try:
        for weight in (0.1, 0.2):
            gw.admin.set_weight("one", weight)
        wait_for("the changes", lambda: len(weights()) >= 2)
        gw.end()
        gw.restart()
        for weight in (0.3, 0.4):
            gw.admin.set_weight("one", weight)
        wait_for("the changes after the restart", lambda: len(weights()) >= 4, 20)
        check(["20%" in weights()[1], "30%" in weights()[2], "40%" in weights()[3]] == [True] * 3, weights())
        ids = [e["id"] for e in seen()]
        equal(len(ids), len(set(ids)), f"events once each: {ids}")
        child.send_signal(signal.SIGINT)
        equal(child.wait(10), 0)
        err = child.stderr.read()
        check("daemon not reachable, retrying" in err and "daemon reachable again" in err, err)
    finally:
        child.kill()
        child.wait()
        gw.end()
        gw.remove()


def test_weight(env):
    ctl(env, "weight", "set", "plain", "0.35", "--reason", "by hand")
    equal(env.admin.weight("plain")["set"], 0.35)
    out, _ = ctl(env, "weight", "get", "plain")
    check("35" in out, out)
    doc = json.loads(ctl(env, "weight", "get", "plain", "-o", "json")[0])
    equal((doc["wanted"], doc["set"]), (0.35, 0.35))
    check(any(e.get("reason") == "by hand" for e in env.admin.json("/admin/audit")["entries"]))
    ctl(env, "weight", "set", "plain", "0")
    equal(env.admin.weight("plain")["set"], 0.0)


def test_weight_percent(env):
    ctl(env, "weight", "set", "plain", "25%")
    equal(env.admin.weight("plain")["set"], 0.25)
    ctl(env, "weight", "set", "plain", "0")


@table([("no-command", ()), ("unknown-command", ("explode",)), ("unknown-option", ("status", "--explode")), ("no-route", ("weight", "get")),
        ("too-many", ("pause", "a", "b")), ("no-weight", ("weight", "set", "plain")), ("bad-weight", ("weight", "set", "plain", "much")),
        ("bad-state", ("status", "--wait-for", "heaven")), ("bad-timeout", ("status", "--wait-for", "complete", "--timeout", "soon")),
        ("bad-output", ("status", "-o", "xml"))])
def test_usage_is_2(env, row):
    out, err = ctl(env, *row[1], expect=2)
    check(err.strip() and not out.strip(), "the complaint is on stderr", out, err)


def test_misspelt_command_is_corrected(env):
    _, err = ctl(env, "statsu", expect=2)
    check('did you mean "status"?' in err or "did you mean" in err, err)


@table(["unix", "http", "nonsense-socket"])
def test_unreachable_is_4(env, row):
    address = {"unix": "unix:/nonexistent/admin.sock", "http": "http://127.0.0.1:1", "nonsense-socket": f"unix:{env.gw.config_path}"}[row]
    status, out, err = run(built("phoenixctl"), "--admin", address, "status")
    equal(status, 4, out + err)
    check(err.strip() and not out.strip(), out, err)


def test_environment_names_the_daemon(env):
    status, out, err = run(built("phoenixctl"), "status", env=dict(os.environ, PHOENIX_ADMIN=f"unix:{env.gw.socket_path}"))
    equal(status, 0, out + err)


def test_unknown_route_is_a_usage_error(env):
    _, err = ctl(env, "weight", "get", "nope", expect=2)
    check("nope" in err, err)


def test_conflict_is_5(env):
    begin(env, "idle")
    ctl(env, "pause", "idle", "--reason", "lunch")
    out, err = ctl(env, "pause", "idle", expect=5)
    check("resume" in err, "says what is possible", err)
    ctl(env, "resume", "idle")
    ctl(env, "rollback", "idle")
    equal(env.admin.route("idle")["state"], "rolled_back")
    ctl(env, "retry", "idle")
    ctl(env, "promote", "idle")
    equal(env.admin.weight("idle")["set"], 0.5)


@timeout(60)
def test_wait_for_complete(env):
    env.modern.handler = good
    begin(env, "go")
    with Traffic(env, "/go"):
        out, _ = ctl(env, "status", "go", "--wait-for", "complete", "--timeout", "30s")
    equal(env.admin.route("go")["state"], "complete")
    ctl(env, "status", "go", "--wait-for", "complete", "--timeout", "1s")  # already there


@timeout(60)
def test_wait_for_and_rolled_back_is_10(env):
    env.modern.handler = wrong
    begin(env, "fail")
    with Traffic(env, "/fail"):
        out, err = ctl(env, "status", "fail", "--wait-for", "complete", "--timeout", "30s", expect=10)
    check("Rollback triggered" in out + err, out, err)
    ctl(env, "status", "fail", "--wait-for", "rolled-back", "--timeout", "5s")


def test_wait_for_times_out_with_12(env):
    ctl(env, "status", "plain", "--wait-for", "complete", "--timeout", "1s", expect=12)


def test_diff(env):
    env.modern.handler = wrong
    ask(env.gw.address, "GET", "/plain")
    wait_for("the difference", lambda: env.admin.json("/admin/routes/plain/diffs")["groups"])
    out, _ = ctl(env, "diff", "ls", "plain")
    check("/v" in out, out)
    doc = json.loads(ctl(env, "diff", "ls", "plain", "-o", "json")[0])
    check("/v" in json.dumps(doc))
    ctl(env, "diff", "ignore", "plain", "/v")
    check("/v" in env.admin.route("plain")["consistency"]["ignored_pointers"])
    env.modern.handler = good


def test_route_add_and_rm(env):
    ctl(env, "route", "add", "--id", "made", "--path", "/made", "--legacy-url", env.legacy.url, "--modern-url", env.modern.url)
    equal(ask(env.gw.address, "GET", "/made").status, 200)
    check("made" in ctl(env, "route", "ls")[0])
    ctl(env, "route", "rm", "made")
    equal(ask(env.gw.address, "GET", "/made").status, 404)


def test_config_check(env):
    status, out, err = run(built("phoenixctl"), "config", "check", env.gw.config_path)
    equal(status, 0, out + err)
    bad = os.path.join(env.gw.directory, "bad.json")
    with open(bad, "w") as file:
        file.write('{"routes": [{"wieght": 1}]}')
    status, out, err = run(built("phoenixctl"), "config", "check", bad)  # needs no daemon
    equal(status, 3, out + err)
    check('did you mean "weight"?' in out + err, out, err)


def test_config_reload(env):
    ctl(env, "config", "reload")


def test_version_and_help(env):
    out, _ = ctl(env, "version")
    check(any(c.isdigit() for c in out), out)
    out, _ = ctl(env, "--help")
    for verb in ("status", "weight", "rollback", "diff"):
        check(verb in out, out)


def test_watch_ends_in_a_closed_pipe(env):
    """`phoenixctl status --watch | head -1` ends."""
    command = f"{built('phoenixctl')} --admin unix:{env.gw.socket_path} status --watch | head -1"
    child = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    turns = iter(range(1, 10000))

    def ended():
        env.admin.set_weight("plain", next(turns) / 10000)  # what it would print next, and cannot
        return child.poll() is not None
    wait_for("the pipe's end being noticed", ended, 20, 0.1)
    line = child.communicate(timeout=5)[0]
    check(line.strip(), "one line")
    env.admin.set_weight("plain", 0)


def test_full_disk_is_an_error(env):
    """What cannot be printed is a failure, not a success."""
    if not os.path.exists("/dev/full"):
        return
    with open("/dev/full", "w") as full:
        done = subprocess.run([built("phoenixctl"), "--admin", f"unix:{env.gw.socket_path}", "status"], stdout=full, stderr=subprocess.DEVNULL)
    check(done.returncode != 0, "exit 0 although nothing could be printed")

# SPDX-License-Identifier: Apache-2.0
"""
pipeline_bad: specs and services that are wrong in every way we know. Each ends in a clear state with a message
that says what happened, with no process and no code left in place, and legacy asked for nothing but answers.
"""
import json
import os
import socket
import subprocess
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import wait_for
from lib.pipeline import Rig, SERVICE, answer_of, log_of, merge
from lib.process import Skip, built, run

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.rig = env.own(Rig())
    return env


def intact(env, id, rig=None):
    """Nothing of it is left, and legacy serves."""
    rig = rig or env.rig
    rig.no_process(id)
    check(not os.path.exists(os.path.join(rig.work, "deploy", id)), f"{id}: code was left in place")
    check(not os.path.exists(os.path.join(rig.work, "deploy", f".{id}.next")), f"{id}: code was left beside its place")
    for e in rig.legacy.seen:
        equal(e.method, "GET", "what legacy was asked")
    if rig.admin.request("GET", f"/admin/routes/{id}").status == 200:
        weight = rig.admin.weight(id)
        equal((weight["wanted"], weight["set"]), (0.0, 0.0), f"{id}: weight")
        equal(rig.gw.ask("GET", f"/{id}/1").status, 200, f"{id}: legacy's answer")


def files(text, name="server.py"):
    return {"service": {"source": {"files": {name: text}}}}


# name, what is different, exit of phoenixctl, words of the message
REFUSED = [
    ("parent", files("x", "../escape.py"), 'leads outside the service\'s directory'),
    ("parent-inside", files("x", "a/../../escape.py"), "leads outside"),
    ("absolute", files("x", "/etc/cron.d/escape"), "is absolute"),
    ("own-name", files("x", ".phoenix.json"), "Phoenix's own"),
    ("empty-piece", files("x", "a//b.py"), "empty piece"),
    ("newline", files("x", "a\nb.py"), "control characters"),
    ("no-files", {"service": {"source": {"files": {}}}}, "1 to 512 files"),
    ("many-files", {"service": {"source": {"files": {f"f{i}.py": "x" for i in range(600)}}}}, "1 to 512 files"),
    ("not-text", {"service": {"source": {"files": {"a.py": 7}}}}, "must be the file's text"),
    ("both-sources", {"service": {"source": {"files": {"a.py": "x"}, "directory": "/tmp"}}}, "must be {"),
    ("no-directory", {"service": {"source": {"directory": "/nowhere/at/all"}}}, "No such file"),
    ("bad-id", {"id": "../../etc"}, "must be 1 to 64 of letters"),
    ("long-id", {"id": "a" * 65}, "must be 1 to 64"),
    ("bad-service-name", {"deploy": {"service": "x; rm -rf /"}}, "must be 1 to 63"),
    ("bad-project", {"deploy": {"project": "-f"}}, "must be 1 to 63"),
    ("bad-image", {"service": {"image": "--privileged"}}, "no image name"),
    ("bad-user", {"deploy": {"user": "-x"}}, "no user name"),
    ("bad-variable", {"service": {"environment": {"LD_PRELOAD": "/tmp/x.so"}}}, "no name for a variable"),
    ("bad-health", {"service": {"health": "http://169.254.169.254/"}}, 'begins with "/"'),
    ("bad-port", {"service": {"port": 70000}}, "1 to 65535"),
    ("other-modern", {"route": {"modern_url": "http://10.0.0.1:80"}}, "not where the service is deployed"),
    ("weight", {"route": {"weight": 0.5}}, "begins at 0"),
    ("typo", {"polcy": {}}, 'did you mean "policy"?'),
    ("policy-typo", {"policy": {"min_sampels": 3}}, 'did you mean "min_samples"?'),
    ("policy-twice", {"route": {"arbiter": {"step": 0.1}}}, "duplicate key"),
    ("bad-case", {"verify": [{"request": {"path": "no-slash"}}]}, "verify: request"),
    ("case-outside", {"verify": ["../../etc/passwd"]}, "leads outside"),
    ("two-scenarios", {"traffic": {"generate": ["route"]}}, "give one"),
    ("generate-out", {"traffic": {"scenario": None, "generate": ["--out=/etc/passwd"]}}, "no argument of a generator"),
    ("generate-file", {"traffic": {"scenario": None, "generate": ["--from", "har", "/etc/shadow"]}}, "no argument of a generator"),
    ("generate-up", {"traffic": {"scenario": None, "generate": ["--from", "har", "../x"]}}, "no argument of a generator"),
]


@table(REFUSED)
def test_refused_before_anything_is_done(env, row):
    name, more, words = row
    rig = env.rig
    spec = rig.spec("refused-" + name)
    merge(spec, more)
    code, out, err = rig.migrate(spec)
    equal(code, 3, f"exit\n{out}{err}")
    check(words in err, f"the message has {words!r}", err)
    check(": error: " in err and ".json:" in err, "with its place", err)
    reply = rig.admin.post("/admin/migrations", spec)
    if name != "no-directory":  # the daemon finds that out in verify
        equal(reply.status, 422, reply)
        check(any(words in line for line in reply.json()["errors"]), reply)
        equal([m["id"] for m in rig.admin.json("/admin/migrations")["migrations"] if m["id"].startswith("refused")],
              ["refused-no-directory"] if rig.known("refused-no-directory") else [], "begun")


def test_legacys_port_and_own_address(env):
    rig = env.rig
    spec = rig.spec("refused")
    spec["service"]["port"] = rig.legacy.port
    code, out, err = rig.migrate(spec)
    equal(code, 3, err)
    check("legacy service's own port" in err, err)
    spec = rig.spec("refused", route={"legacy_url": f"http://127.0.0.1:{rig.gw.port}"})
    code, out, err = rig.migrate(spec)
    equal(code, 5, err)
    check("gateway's own address" in err, err)


def ends_badly(env, spec, stage, words, rig=None, timeout_s=55):
    rig = rig or env.rig
    began = len(rig.legacy.seen)
    code, out, err = rig.migrate(spec, timeout_s=timeout_s)
    equal(code, 10, f"exit\n{out}{err}")
    item = rig.get(spec["id"])
    equal((item["state"], item["headline"], item["over"]), ("rolled_back", "Rollback triggered", True))
    equal(item["failed_in"], stage, f"the stage that failed ({item['reason']})")
    for word in words:
        check(word in item["reason"], f"the reason has {word!r}", item["reason"])
    check("Rollback triggered" in out, out)
    alerts = [e for e in rig.admin.json("/admin/events")["events"]
              if e["level"] == "alert" and e["route"] == spec["id"] and e["type"] == "migration"]
    check(alerts and item["reason"] in alerts[-1]["message"], "an alert with the reason", alerts[-1:])
    intact(env, spec["id"], rig)
    return item


# id, fault or None, changes, stage, words
ENDINGS = [
    ("never-healthy", "unhealthy", {"deadline": {"healthy_ms": 1500}}, "verify",
     ["not healthy after 1500 ms", "/healthz", "answered 503"]),
    ("no-start", "no-start", {}, "verify", ["ended by itself with status 1 instead of becoming healthy"]),
    ("deaf", None, {"deadline": {"healthy_ms": 1000}, "service": {"command": ["sleep", "1000"]}}, "verify",
     ["not healthy after 1000 ms", "the port in $PORT"]),
    ("no-program", None, {"service": {"command": ["no-such-program-here"]}}, "verify", ["there is no such program"]),
    ("bad-build", None, {"service": {"source": {"files": {"a.c": "int main(void) { return x; }"}}, "language": "c"}}, "verify",
     ["the build failed: cc ended with status 1", "undeclared"]),
    ("slow-build", None, {"service": {"build": ["sleep", "1000"]}, "deadline": {"verify_ms": 1000}}, "verify",
     ["sleep was ended: the stage's time is over"]),
    ("no-language", None, {"service": {"source": {"files": {"a.txt": "x"}}, "language": "auto", "command": []}}, "verify",
     ["no known language"]),
    ("which-file", None, {"service": {"source": {"files": {"a.py": "x", "b.py": "y"}}, "command": []}}, "verify", ["service.entry"]),
    ("bad-contract", "wrong", {}, "verify", ["contract replay failed", "/v (value): expected 1, got 2", "(1 of 1 cases failed)"]),
    ("no-case", None, {"verify": ["cases/none.json"]}, "verify", ["cases/none.json"]),
    ("unsafe-case", None, {"verify": [{"request": {"method": "POST", "path": "/x", "body": {}}}]}, "verify",
     ["needs a safe method"]),
    ("crash", "crash", {"verify": []}, "mirror", ["ended by itself with status 7"]),
    ("wrong", "wrong", {"verify": []}, "mirror", ["consistency 0.0% < 95% (0 of"]),
    ("slow", "slow", {"verify": [], "service": {"environment": {"SLOW": "0.5"}}, "route": {"mirror": {"timeout_ms": 200}},
                      "traffic": {"rate": 40}}, "mirror", ["consistency", "< 95%"]),
    ("bad-scenario", None, {"traffic": {"scenario": {"requests": "none"}}}, "mirror",
     ["the traffic client ended with status 3", "the scenario is wrong"]),
    ("no-traffic", None, {"traffic": {"rate": 0}, "deadline": {"mirror_ms": 1500}}, "mirror",
     ["its time of 1500 ms is over", "0 of 20 samples seen"]),
]


@timeout(60)
@table(ENDINGS)
def test_ends_with(env, row):
    id, fault, more, stage, words = row
    spec = env.rig.spec(id, fault, **more)
    item = ends_badly(env, spec, stage, words)
    if id in ("wrong", "slow"):
        check(item["cases"], "failing examples")
    if id == "no-start":
        check(any("no database" in line["text"] for line in item["log"]), "the service's last lines", item["log"])


@timeout(60)
def test_right_for_95_percent(env):
    """One answer in twenty is wrong: never complete, and said why. At 95 % sharp nobody rolls back: its time ends it."""
    spec = env.rig.spec("sometimes", "sometimes", verify=[], deadline={"mirror_ms": 6000, "migrate_ms": 6000})
    code, out, err = env.rig.migrate(spec, timeout_s=55)
    equal(code, 10, f"exit\n{out}{err}")
    item = env.rig.get("sometimes")
    check("consistency" in item["reason"], item["reason"])
    check(item["cases"], "failing examples")
    check("100% Traffic Shifted" not in out, out)
    intact(env, "sometimes")


@timeout(60)
def test_right_and_slow_by_the_traffics_threshold(env):
    """Answers in time for the comparison, but users would feel it: the scenario's own limit ends it."""
    spec = env.rig.spec("felt", "slow", verify=[])
    spec["service"]["environment"]["SLOW"] = "0.15"
    spec["policy"]["step"] = 0.5
    spec["traffic"] = {"scenario": {"requests": [{"path": "/felt/1"}], "thresholds": ["p99<100ms"]}, "rate": 60,
                       "round_ms": 1500, "connections": 16}
    ends_badly(env, spec, "migrate", ["a threshold was crossed"])


@timeout(60)
def test_link_that_leads_out(env):
    rig = env.rig
    folder = os.path.join(rig.gw.directory, "linked")
    os.makedirs(folder)
    with open(os.path.join(folder, "server.py"), "w") as file:
        file.write(SERVICE)
    for target in ("/etc/passwd", "../phoenix.json", "nowhere"):
        link = os.path.join(folder, "config")
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(target, link)
        spec = rig.spec("linked", service={"source": {"directory": folder}})
        ends_badly(env, spec, "verify", ["config is a link that leads outside the source"])
    os.unlink(link)
    os.mkfifo(link)
    ends_badly(env, rig.spec("linked", service={"source": {"directory": folder}}), "verify", ["neither a file nor a folder"])
    os.unlink(link)
    with open(os.path.join(folder, "huge"), "wb") as file:
        file.truncate(17 << 20)
    ends_badly(env, rig.spec("linked", service={"source": {"directory": folder}}), "verify", ["huge: the source is too large"])


@timeout(60)
def test_port_already_taken(env):
    rig = env.rig
    spec = rig.spec("taken")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", spec["service"]["port"]))
        other.listen(1)
        ends_badly(env, spec, "verify", [f"port {spec['service']['port']} of 127.0.0.1 is already taken"])


@timeout(60)
def test_a_folder_that_is_not_ours(env):
    rig = env.rig
    folder = os.path.join(rig.work, "deploy", "foreign")
    os.makedirs(folder)
    with open(os.path.join(folder, "precious"), "w") as file:
        file.write("mine")
    code, out, err = rig.migrate(rig.spec("foreign"))
    equal(code, 10, f"exit\n{out}{err}")
    check("was not made by Phoenix: it is left alone" in out, out)
    equal(os.listdir(folder), ["precious"])


# Answers as SERVICE does; asked for /…/fill it first writes the file system full that its code lies on.
FILLS = SERVICE.replace("        body = json", """        if self.path.endswith("/fill"):
            with open("fill", "wb", buffering=0) as file:
                try:
                    while file.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
        body = json""")


@timeout(90)
def test_disk_gets_full_before_the_deploy_stage(env):
    """Release 1 runs. The contract replay of release 2 fills the disk, so that its pid file cannot be written: no process
    of it is left, its code goes, and release 1 runs again, in the room that this gave back."""
    folder = os.path.join(env.rig.gw.directory, "tight")
    os.makedirs(folder)
    if run("mount", "-t", "tmpfs", "-o", "size=512k", "phoenix-test", folder)[0]:
        raise Skip("a file system cannot be mounted here (no right to)")
    rig = None
    try:
        rig = Rig(pipeline={"directory": folder})
        spec = rig.spec("tight", traffic={"scenario": None, "rate": 0}, verify=[{"request": {"path": "/tight/1"}}])
        code, out, err = rig.ctl("deploy", rig.write(spec))
        equal(code, 0, f"exit\n{out}{err}")
        rig.one_process("tight")
        spec["service"]["source"]["files"]["server.py"] = FILLS
        spec["verify"] = [{"request": {"path": "/tight/fill"}}]
        code, out, err = rig.migrate(spec)
        equal(code, 10, f"exit\n{out}{err}")
        item = rig.get("tight")
        equal((item["stage"], item["state"], item["failed_in"]), ("rolled_back", "rolled_back", "deploy"), log_of(item))
        check("service-2.pid cannot be written: the disk is full" in item["reason"], item["reason"])
        check("release 1 runs again" in log_of(item), log_of(item))
        equal(answer_of(spec, "/tight/2"), {"path": "/tight/2", "v": 1})
        rig.one_process("tight")
        check(not os.path.exists(os.path.join(folder, "deploy", ".tight.next")), "what filled the disk is gone")
        check(not os.path.exists(os.path.join(folder, "deploy", "tight", "fill")), "release 1 is in place")
        for e in rig.requests_of_users():  # the replay's own
            check(e.method == "GET" and e.target in ("/tight/1", "/tight/fill"), f"legacy was asked {e.method} {e.target}")
        # There is room again: the next attempt ends well.
        spec["service"]["source"]["files"]["server.py"] = SERVICE
        spec["traffic"] = {"scenario": {"requests": [{"path": "/tight/1"}]}, "rate": 300, "round_ms": 400, "connections": 4}
        code, out, err = rig.migrate(spec)
        equal(code, 0, f"exit\n{out}{err}")
    finally:
        if rig:
            rig.stop()
        run("umount", "-l", folder)  # a service that was just killed may still be in it


@timeout(60)
def test_full_disk(env):
    """The pipeline's folder on a file system of 256 KiB: said, undone, and legacy goes on."""
    folder = os.path.join(env.rig.gw.directory, "small")
    os.makedirs(folder)
    if run("mount", "-t", "tmpfs", "-o", "size=256k", "phoenix-test", folder)[0]:
        raise Skip("a file system cannot be mounted here (no right to)")
    rig = None
    try:
        rig = Rig(pipeline={"directory": folder})
        source = os.path.join(rig.gw.directory, "source")
        os.makedirs(source)
        with open(os.path.join(source, "fill.bin"), "wb") as file:
            file.write(b"x" * 400000)
        spec = rig.spec("full", service={"source": {"directory": source}})
        ends_badly(env, spec, "verify", ["cannot copy fill.bin: the disk is full"], rig)
        with open(os.path.join(folder, "filler"), "wb") as file:
            try:
                file.write(b"x" * 300000)
                file.flush()
            except OSError:
                pass
        reply = rig.admin.post("/admin/migrations", rig.spec("full2"))
        check(reply.status in (503, 507), reply)
        check("the disk is full" in reply.json()["detail"], reply)
        check(not rig.known("full2"), "it was not begun")
        equal(rig.gw.ask("GET", "/full2/1").status, 404)
    finally:
        if rig:
            rig.stop()
        run("umount", "-l", folder)  # a service that was just killed may still be in it

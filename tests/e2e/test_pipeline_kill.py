# SPDX-License-Identifier: Apache-2.0
"""
pipeline_kill: the daemon is killed (SIGKILL) in every stage of a migration. The next one goes on where it was, or
undoes; exactly one service runs at the end (or none), and legacy answers all the time.
"""
import json
import os
import re
import signal
import subprocess
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import ask, wait_for
from lib.pipeline import Rig, SERVICE, answer_of, log_of

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.rig = env.own(Rig())
    return env


def rewrite_stage(rig, id, stage):
    """As if the kill had come just before this step was written down."""
    path = os.path.join(rig.work, id, "rollout.json")
    with open(path) as file:
        text = json.load(file)
    text["stage"] = stage
    with open(path, "w") as file:
        json.dump(text, file)


# name, slow start (s), stage in which it is killed, stage that is on disk afterwards
KILLS = [
    ("verify", 1.0, "verify", None),
    ("verify-late", 0, "deploy,healthy", "verify"),      # all of verify was done, nothing was written down
    ("deploy", 1.0, "healthy", "deploy"),                # the release is in place and runs
    ("healthy", 1.0, "healthy", None),
    ("mirror-early", 1.0, "mirror", "healthy"),          # the route was registered already
    ("mirror", 0, "mirror", None),
    ("migrate", 0, "migrate", None),
    ("migrate-early", 0, "migrate", "mirror"),
    ("complete", 0, "complete", None),
    ("complete-early", 0, "complete", "migrate"),
]


@timeout(60)
@table(KILLS)
def test_killed_in(env, row):
    name, slow, stages, rewrite = row
    rig = env.rig
    id = name
    spec = rig.spec(id, service={"environment": {"SLOW_START": str(slow)}})
    if "mirror" in stages or "migrate" in stages:
        spec["policy"] = {"min_samples": 150, "step": 0.5, "interval_ms": 100}
    rig.submit(spec)
    rig.wait_stage(id, *stages.split(","), every_s=0.002)
    rig.gw.kill()
    if rewrite:
        rewrite_stage(rig, id, rewrite)
    equal(ask(("127.0.0.1", rig.legacy.port), "GET", "/x").status, 200, "legacy while the daemon is dead")
    rig.gw.restart()
    item = rig.wait_over(id)
    equal((item["stage"], item["state"]), ("complete", "complete"), f"the end\n{log_of(item)}")
    check("the daemon was started again" in log_of(item) or stages == "complete", log_of(item))
    equal(rig.admin.weight(id)["set"], 1.0)
    rig.one_process(id)
    equal(rig.gw.ask("GET", f"/{id}/1").json()["v"], 1)
    equal(os.path.exists(os.path.join(rig.work, "deploy", f".{id}.next")), False, "what was prepared is gone")


@timeout(60)
def test_killed_in_undo(env):
    """The former release comes back, and only that."""
    rig = env.rig
    spec = rig.spec("undo")
    equal(rig.ctl("deploy", rig.write(spec), "--timeout", "50s")[0], 0)
    # One that takes its time to end: undo lasts.
    spec["service"]["source"]["files"]["server.py"] = \
        "import signal, time\nsignal.signal(signal.SIGTERM, lambda *a: (time.sleep(2), __import__('os')._exit(0)))\n" + SERVICE
    spec["service"]["environment"] = {"FAULT": "wrong"}
    spec["verify"] = []
    rig.submit(spec)
    rig.wait_stage("undo", "undo", every_s=0.002)
    time.sleep(0.2)
    rig.gw.kill()
    rig.gw.restart()
    item = rig.wait_over("undo")
    equal((item["stage"], item["failed_in"]), ("rolled_back", "mirror"))
    check("consistency" in item["reason"], item["reason"])
    rig.one_process("undo")
    equal(answer_of(spec, "/undo/1")["v"], 1, "the former release answers")
    equal(rig.admin.weight("undo")["set"], 0.0)


@timeout(60)
def test_killed_together_with_the_service(env):
    """As when the machine loses power: what was under way is started again, once."""
    rig = env.rig
    spec = rig.spec("power", policy={"min_samples": 150, "step": 0.5, "interval_ms": 100})
    rig.submit(spec)
    rig.wait_stage("power", "migrate", every_s=0.002)
    rig.gw.kill()
    for pid in rig.processes("power"):
        os.kill(pid, signal.SIGKILL)
    rig.gw.restart()
    item = rig.wait_over("power")
    check(item["stage"] in ("complete", "rolled_back"), item)
    check("the service is started again" in log_of(item), log_of(item))
    if item["stage"] == "complete":
        rig.one_process("power")
    else:  # answers that were missing before it was up are mismatches, and counted so
        check("consistency" in item["reason"], item["reason"])
        rig.no_process("power")


@timeout(60)
def test_killed_by_the_dozen(env):
    """At moments that nobody chose."""
    rig = env.rig
    spec = rig.spec("dozen", service={"environment": {"SLOW_START": "0.2"}},
                    policy={"min_samples": 60, "step": 0.25, "interval_ms": 100})
    rig.submit(spec)
    for i in range(12):
        time.sleep(0.05 + 0.17 * (i % 5))
        rig.gw.kill()
        rig.gw.restart()
    item = rig.wait_over("dozen")
    equal(item["stage"], "complete", log_of(item))
    rig.one_process("dozen")
    equal(rig.gw.ask("GET", "/dozen/1").status, 200)


@timeout(40)
def test_damaged_record(env):
    """A record that cannot be read is told and left alone; the others go on."""
    rig = env.rig
    rig.submit(rig.spec("hurt", policy={"min_samples": 1000000}))
    rig.wait_stage("hurt", "mirror")
    rig.gw.kill()
    path = os.path.join(rig.work, "hurt", "rollout.json")
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text[:len(text) // 2])
    rig.gw.restart()
    check(not rig.known("hurt"), "it is not taken up")
    check("cannot be taken up" in rig.gw.log(), rig.gw.log()[-2000:])
    check(os.path.exists(path), "the record is left alone")
    rig.gw.kill()
    with open(path, "w") as file:
        file.write(text)
    rig.gw.restart()
    rig.wait_stage("hurt", "mirror")
    equal(rig.admin.request("DELETE", "/admin/migrations/hurt").status, 202)
    wait_for("it being forgotten", lambda: not rig.known("hurt"), 20)


@timeout(60)
@table([("verify", 1.5), ("migrate", 0)])
def test_taken_over_by_a_new_daemon_in(env, row):
    """`phoenixd --takeover` in the middle: the old one's jobs end, the new one goes on, one service runs."""
    stage, slow = row
    rig = Rig()
    pid = None
    try:
        spec = rig.spec("handed", service={"environment": {"SLOW_START": str(slow)}},
                        policy={"min_samples": 100, "step": 0.5, "interval_ms": 100})
        rig.submit(spec)
        rig.wait_stage("handed", stage, every_s=0.002)
        with open(rig.gw.log_path, "ab") as log:
            done = subprocess.run([rig.gw.args[0], "--config", rig.gw.config_path, "--takeover"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=log, timeout=30, text=True, cwd=rig.gw.directory)
        equal(done.returncode, 0, rig.gw.log()[-3000:])
        pid = int(re.search(r"pid (\d+) serves", done.stdout)[1])
        wait_for("the old daemon's end", lambda: rig.gw.child.poll() is not None, 20)
        wait_for("the new one's pipeline", lambda: rig.known("handed"), 10)
        item = rig.wait_over("handed")
        equal((item["stage"], item["state"]), ("complete", "complete"), log_of(item))
        check("the daemon was started again: going on with" in log_of(item), log_of(item))
        rig.one_process("handed")
        equal(rig.gw.ask("GET", "/handed/1").json()["v"], 1)
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)
            wait_for("its end", lambda: not os.path.exists(f"/proc/{pid}") or
                     " Z " in open(f"/proc/{pid}/stat").read(), 20)
        rig.gw.end()
        rig.end_services()
        rig.legacy.stop()

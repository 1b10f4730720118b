# SPDX-License-Identifier: Apache-2.0
"""
pipeline: specs to finished migrations, with the deployer of plain processes: the way through, what is written
down, the repair loop, orders on the way, and the deployed service's own life.
"""
import json
import os
import pwd
import re
import shutil
import signal
import tempfile
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import ask, free_port, wait_for
from lib.pipeline import Rig, SERVICE, answer_of, log_of, stages_of
from lib.process import Skip

SUBJECTS = ("phoenix",)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def setup():
    env = Bench()
    env.rig = env.own(Rig())
    return env


@timeout(60)
def test_one_command_to_the_end(env):
    rig = env.rig
    spec = rig.spec("whole", verify=[
        {"request": {"path": "/whole/1"}},
        {"request": {"method": "GET", "path": "/whole/2", "headers": {"Accept": "application/json"}},
         "response": {"status": 200, "headers": {"content-type": "application/json"}, "body": {"v": 1.0, "path": "/whole/2"}}},
    ])
    del spec["traffic"]["scenario"]  # made of the cases then
    del spec["service"]["command"]   # and this by the language
    code, out, err = rig.migrate(spec)
    equal(code, 0, f"exit\n{out}{err}")
    check("whole: Migration Complete" in out, out)
    check("2 of 2 cases answered equally" in out, out)
    check("whole: Deploying Modern: " in out, out)
    check(re.search(r"traffic: \d+ sent, \d+ answered", out), out)
    item = rig.get("whole")
    equal((item["state"], item["headline"], item["stage"], item["over"]),
          ("complete", "Migration Complete", "complete", True))
    equal(set(stages_of(item).values()), {"done"})
    rig.one_process("whole")
    brief = [m for m in rig.admin.json("/admin/status")["migrations"] if m["id"] == "whole"]
    equal([(m["stage"], m["headline"], m["over"], m["error"], m["last_line"]) for m in brief],
          [("complete", "Migration Complete", True, None, "Migration Complete")], "in the status")
    equal(brief[0]["log_number"], item["log"][-1]["number"])
    route = rig.admin.route("whole")
    equal((route["weight"]["wanted"], route["weight"]["set"]), (1.0, 1.0))
    check(route["synthetic"]["requests"] > 60, route["synthetic"])
    rig.legacy.forget()
    reply = rig.gw.ask("GET", "/whole/9")
    equal((reply.status, reply.json()), (200, {"v": 1, "path": "/whole/9"}))
    equal(rig.requests_of_users(), [], "requests of users at legacy after completion")


def test_stages_are_events_with_their_log(env):
    rig = env.rig
    if not rig.known("whole"):
        rig.migrate(rig.spec("whole"))
    events = [e for e in rig.admin.json("/admin/events")["events"] if e["type"] == "migration" and e["route"] == "whole"]
    done = [e["data"]["stage"] for e in events if e["data"]["status"] == "done"]
    equal(done, ["verify", "deploy", "healthy", "mirror", "migrate", "complete"])
    verify = [e for e in events if e["data"]["stage"] == "verify" and e["data"]["status"] == "done"][0]
    check(any("cases answered equally" in line for line in verify["data"]["log"]), verify)
    check(verify["data"]["took_ms"] > 0, verify)
    with open(os.path.join(rig.work, "whole", "log.txt")) as log:
        check("cases answered equally" in log.read(), "log.txt")
    entries = rig.admin.items("/admin/audit", "entries")
    check(any(e["path"] == "/admin/migrations" and e["method"] == "POST" for e in entries), "the audit log has the order")


@timeout(60)
def test_yaml_with_a_directory(env):
    """A YAML spec beside the code, with relative paths."""
    rig = env.rig
    folder = os.path.join(rig.gw.directory, "yaml")
    os.makedirs(os.path.join(folder, "code", "inner"))
    with open(os.path.join(folder, "code", "app.py"), "w") as file:
        file.write(SERVICE)
    with open(os.path.join(folder, "code", "inner", "data.txt"), "w") as file:
        file.write("x")
    os.symlink("inner/data.txt", os.path.join(folder, "code", "link"))  # stays inside: allowed
    with open(os.path.join(folder, "spec.yaml"), "w") as file:
        file.write(f"""
id: yaml
route:
  path: /yaml/*
  method: GET
  legacy_url: {rig.legacy.url}
service:
  source: {{directory: code}}
  port: {free_port()}
  health: /healthz
verify:
  - request: {{path: /yaml/1}}
deploy: {{kind: process, directory: deployed}}
traffic: {{rate: 300, round_ms: 400}}
policy: {{min_samples: 20, step: 0.5, interval_ms: 100}}
""")
    code, out, err = rig.ctl("migrate", os.path.join(folder, "spec.yaml"), "--timeout", "50s")
    equal(code, 0, f"exit\n{out}{err}")
    check(os.path.isfile(os.path.join(folder, "deployed", "yaml", "app.py")), "the code is where the spec says")
    equal(os.readlink(os.path.join(folder, "deployed", "yaml", "link")), "inner/data.txt")


@timeout(60)
def test_traffic_made_from_the_sources_openapi(env):
    rig = env.rig
    spec = rig.spec("made")
    spec["service"]["source"]["files"]["api.json"] = json.dumps({
        "openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": {"/made/{id}": {
            "get": {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                    "responses": {"200": {"description": "ok"}}}}}})
    spec["traffic"] = {"generate": ["--from", "openapi", "api.json"], "rate": 300, "round_ms": 400}
    code, out, err = rig.migrate(spec)
    equal(code, 0, f"exit\n{out}{err}")
    with open(os.path.join(rig.work, "made", "scenario.json")) as file:
        check(any("/made/" in r["path"] for r in json.load(file)["requests"]), "the scenario's requests")


@timeout(60)
def test_a_service_as_another_user(env):
    """deploy.user: built and run as nobody, by a daemon with its filter of system calls on; not by one that is nobody itself."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    deploy = {"user": "nobody"}
    directory = tempfile.mkdtemp(dir="/tmp")  # whose folders others may enter
    os.chmod(directory, 0o755)
    closed = os.path.join(directory, "closed")
    os.mkdir(closed, 0o700)
    for name in ("python3", "touch"):
        with open(os.path.join(closed, name), "w") as file:
            file.write("#!/bin/sh\nexit 9\n")
        os.chmod(os.path.join(closed, name), 0o755)
    rig = Rig(sanitized=False, seccomp=True, pipeline={"directory": f"{directory}/work"},
              environment={"PATH": f"{closed}:{os.environ['PATH']}"})
    try:
        # By names: the daemon's PATH leads to its user's own folders first, which nobody may not enter.
        spec = rig.spec("other", deploy=deploy, service={"command": ["python3", "server.py"], "build": ["touch", "built"]})
        code, out, err = rig.migrate(spec)
        equal(code, 0, f"exit\n{out}{err}")
        for pid in rig.processes("other"):
            equal(os.stat(f"/proc/{pid}").st_uid, pwd.getpwnam("nobody").pw_uid, "the process's user")
            with open(f"/proc/{pid}/status") as file:
                status = file.read()
            check(re.search(r"NoNewPrivs:\s1", status) and re.search(r"CapEff:\s0+\n", status), status)
        equal(os.stat(f"{rig.work}/deploy/other/built").st_uid, pwd.getpwnam("nobody").pw_uid, "the built file's owner")
        code, out, err = rig.migrate(rig.spec("no-such", deploy={"user": "no-such-user-here"}))
        equal(code, 10, f"exit\n{out}{err}")
        check("there is no user no-such-user-here" in out, out)
    finally:
        rig.stop()
        shutil.rmtree(directory)
    os.mkdir(directory)
    os.chown(directory, pwd.getpwnam("nobody").pw_uid, -1)
    rig = Rig(sanitized=False, seccomp=True, user="nobody", pipeline={"directory": f"{directory}/work"},
              state={"store": "file", "path": f"{directory}/state.json"})
    try:
        for folder in (tempfile.gettempdir(), rig.gw.directory):
            os.chmod(folder, 0o755)  # the traffic client is nobody too, and asks the admin socket there
        python = {"command": ["/usr/bin/python3", "server.py"]}
        code, out, err = rig.migrate(rig.spec("dropped", service=python))
        equal(code, 0, f"exit\n{out}{err}")
        equal({os.stat(f"/proc/{pid}").st_uid for pid in rig.processes("dropped")}, {pwd.getpwnam("nobody").pw_uid})
        code, out, err = rig.migrate(rig.spec("daemon", service=python, deploy={"user": "daemon"}))
        equal(code, 10, f"exit\n{out}{err}")
        check("only root can start a service as daemon" in out, out)
    finally:
        rig.stop()
        shutil.rmtree(directory, ignore_errors=True)


@timeout(90)
@table([("counts-agree", {}, None, None), ("counts-differ", {"K6_LIES": "3"}, "mirror", "do not agree"),
        ("not-installed", None, "verify", 'traffic.runner is "k6", and k6 is not installed')])
def test_traffic_by_k6(env, row):
    """The scenario as k6's script, run by a stand-in that runs the script (lib/k6.js): its count must be the gateway's."""
    name, variables, failed_in, words = row
    if not shutil.which("node"):
        raise Skip("node is not installed")
    folder = os.path.join(env.rig.gw.directory, "bin")
    os.makedirs(folder, exist_ok=True)
    if variables is not None and not os.path.lexists(f"{folder}/k6"):
        os.symlink(os.path.join(ROOT, "tests", "lib", "k6.js"), f"{folder}/k6")
    rig = Rig(environment=dict(variables or {}, PATH=f"{folder}:{os.environ['PATH']}"))
    try:
        if variables is None and os.path.lexists(f"{folder}/k6"):
            os.unlink(f"{folder}/k6")
        if variables is None and shutil.which("k6"):
            raise Skip("k6 is installed here")
        spec = rig.spec("by-k6", traffic={"runner": "k6", "rate": 60, "round_ms": 600},
                        policy={"min_samples": 10 if variables == {} else 100000})
        code, out, err = rig.migrate(spec)
        item = rig.get("by-k6")
        equal(code, 10 if failed_in else 0, f"exit\n{out}{err}")
        if failed_in:
            equal(item["failed_in"], failed_in)
            check(words in item["reason"], item["reason"])
        else:
            rounds = re.findall(r"k6 sent (\d+), the gateway counted (\d+)", out)
            check(rounds and all(a == b != "0" for a, b in rounds), out)
            equal(rig.admin.route("by-k6")["synthetic"]["requests"], sum(int(a) for a, b in rounds))
    finally:
        rig.stop()


@timeout(90)
def test_repair_loop(env):
    """Rolled back with the smallest failing example; as a case it stops the same code, and lets the repaired one by."""
    rig = env.rig
    spec = rig.spec("repair", "sometimes-not", verify=[])
    spec["service"]["source"]["files"]["server.py"] = SERVICE.replace('"v": value', '"v": value if "3" not in self.path else 9')
    spec["traffic"]["scenario"] = {"variables": {"id": ["1", "2", "333", "3"]}, "requests": [{"path": "/repair/${id}"}]}
    code, out, err = rig.migrate(spec)
    equal(code, 10, f"exit\n{out}{err}")
    item = rig.get("repair")
    equal((item["state"], item["headline"], item["failed_in"]), ("rolled_back", "Rollback triggered", "mirror"))
    check(re.search(r"consistency [\d.]+% < 95% \(\d+ of \d+\)", item["reason"]), item["reason"])
    case = item["cases"][0]
    equal(case["case"]["request"]["path"], "/repair/3", "the smallest failing example")
    equal(case["case"]["why"]["pointer"], "/v")
    equal(case["case"]["response"]["body"], {"path": "/repair/3", "v": 1})
    check(case["file"] in out, "the command names it", out)
    rig.no_process("repair")
    equal(rig.admin.weight("repair")["set"], 0.0)

    spec["verify"] = [case["file"]]
    code, out, err = rig.migrate(spec)
    equal(code, 10, f"exit\n{out}{err}")
    item = rig.get("repair")
    equal((item["failed_in"], item["attempt"]), ("verify", 2))
    check("attempt 2, begun" in out and "attempt 1, begun" not in out, "the log of this attempt alone", out)
    check("contract replay failed" in item["reason"] and "/v (value): expected 1, got 9" in item["reason"], item["reason"])

    spec["service"]["source"]["files"]["server.py"] = SERVICE
    code, out, err = rig.migrate(spec)
    equal(code, 0, f"exit\n{out}{err}")
    equal(rig.get("repair")["attempt"], 3)
    equal(rig.admin.route("repair")["state"], "complete")


@timeout(60)
def test_former_release_comes_back(env):
    """Release 2 is wrong: after its rollback release 1 runs again, with its own code."""
    rig = env.rig
    spec = rig.spec("former")
    code, out, err = rig.ctl("deploy", rig.write(spec), "--timeout", "50s")
    equal(code, 0, f"exit\n{out}{err}")
    item = rig.get("former")
    equal((item["state"], item["headline"], item["stage"]), ("idle", "Not Started: 100% on Legacy", "deployed"))
    first = rig.processes("former")
    equal(len(first), 1, "processes")
    spec["service"]["environment"] = {"FAULT": "wrong"}
    spec["verify"] = []
    code, out, err = rig.migrate(spec)
    equal(code, 10, f"exit\n{out}{err}")
    check("release 1 runs again" in log_of(rig.get("former")), log_of(rig.get("former")))
    rig.one_process("former")
    equal(answer_of(spec, "/former/1")["v"], 1, "the former one's answer")


@timeout(60)
def test_retry_of_the_route_begins_at_verify(env):
    rig = env.rig
    spec = rig.spec("again", "wrong", verify=[], service={"environment": {"SLOW_START": "0.7"}})
    equal(rig.migrate(spec)[0], 10)
    reply = rig.admin.post("/admin/routes/again/retry", {"reason": "a test"})
    equal(reply.status, 200, reply)
    item = rig.get("again")
    equal((item["attempt"], item["over"]), (2, False))
    equal(rig.admin.route("again")["state"], "deploying", "not the last attempt's end, for who waits for this one's")
    item = rig.wait_over("again")
    equal((item["attempt"], item["stage"]), (2, "rolled_back"))


@timeout(60)
def test_conflicts(env):
    rig = env.rig
    spec = rig.spec("busy", service={"environment": {"SLOW_START": "5"}})
    rig.submit(spec)
    reply = rig.admin.post("/admin/migrations", spec)
    equal(reply.status, 409, reply)
    check("under way" in reply.json()["detail"], reply)
    other = rig.spec("other")
    other["service"]["port"] = spec["service"]["port"]
    reply = rig.admin.post("/admin/migrations", other)
    equal(reply.status, 409, reply)
    check("port" in reply.json()["detail"], reply)
    other = rig.spec("same-path", route={"path": "/whole/*"})
    if rig.known("whole"):
        reply = rig.admin.post("/admin/migrations", other)
        equal(reply.status, 409, reply)
        check("matches the same requests" in reply.json()["detail"], reply)
        equal(rig.admin.request("DELETE", "/admin/migrations/whole").status, 409, "its service answers users")
        reply = rig.admin.post("/admin/migrations", rig.spec("whole"))
        equal(reply.status, 409, reply)
        check("roll it back first" in reply.json()["detail"], reply)
    reply = rig.admin.request("DELETE", "/admin/migrations/busy")
    check(reply.status in (202, 204), reply)
    wait_for("it being forgotten", lambda: not rig.known("busy"), 20)
    rig.no_process("busy")
    check(not os.path.exists(os.path.join(rig.work, "busy")), "its folder is gone")
    equal(rig.admin.request("GET", "/admin/routes/busy").status, 404)
    equal(rig.admin.request("DELETE", "/admin/migrations/busy").status, 404)


@timeout(60)
def test_delete_puts_a_replaced_route_back(env):
    rig = env.rig
    old = {"id": "mine", "method": "GET", "path": "/mine/*", "legacy_url": rig.legacy.url,
           "modern_url": rig.legacy.url + "/old", "mirror": {"sample": 0}, "arbiter": {"enabled": False}}
    equal(rig.admin.post("/admin/routes", old).status, 201)
    rig.submit(rig.spec("mine", policy={"min_samples": 1000000}))
    rig.wait_stage("mine", "mirror")
    check(rig.admin.json("/admin/routes/mine")["config"]["modern_url"] != old["modern_url"], "replaced")
    equal(rig.admin.request("DELETE", "/admin/migrations/mine").status, 202)
    wait_for("it being forgotten", lambda: not rig.known("mine"), 20)
    equal(rig.admin.json("/admin/routes/mine")["config"]["modern_url"], old["modern_url"])
    rig.no_process("mine")


@timeout(60)
def test_the_service_outlives_the_daemon_and_is_kept_up(env):
    rig = env.rig
    spec = rig.spec("kept")
    equal(rig.migrate(spec)[0], 0)
    pids = rig.processes("kept")
    equal(len(pids), 1)
    rig.gw.end(10)
    equal(rig.processes("kept"), pids, "after SIGTERM of the daemon")
    equal(ask(("127.0.0.1", spec["service"]["port"]), "GET", "/kept/1").status, 200)
    rig.gw.restart()
    equal(rig.get("kept")["stage"], "complete")
    time.sleep(1)
    equal(rig.processes("kept"), pids, "adopted, not doubled")
    os.kill(pids[0], signal.SIGKILL)
    wait_for("another process", lambda: (p := rig.processes("kept")) and p != pids, 20)
    wait_for("answers", lambda: rig.gw.ask("GET", "/kept/1").status == 200, 10)
    check("was killed by signal 9" in log_of(rig.get("kept")) or "is not running" in log_of(rig.get("kept")),
          log_of(rig.get("kept")))


def test_deploying_is_the_routes_headline(env):
    """While the service of an existing route is deployed, the route says so, and nothing is decided."""
    rig = env.rig
    old = {"id": "shown", "method": "GET", "path": "/shown/*", "legacy_url": rig.legacy.url,
           "modern_url": rig.legacy.url, "arbiter": {"interval_ms": 50, "min_samples": 1}}
    equal(rig.admin.post("/admin/routes", old).status, 201)
    rig.submit(rig.spec("shown", service={"environment": {"SLOW_START": "1.5"}}))
    rig.wait_stage("shown", "verify")
    route = rig.admin.route("shown")
    equal((route["state"], route["headline"]), ("deploying", "Deploying Modern: verifying the code"))
    for _ in range(30):
        equal(rig.gw.ask("GET", "/shown/1").status, 200)
    time.sleep(0.3)
    equal(rig.admin.weight("shown")["wanted"], 0.0, "decided meanwhile")
    equal(rig.wait_over("shown")["stage"], "complete")


def test_readme_example(env):
    """The spec in README is one that is accepted, and migrates."""
    rig = env.rig
    with open(os.path.join(ROOT, "README.md")) as file:
        text = file.read()
    section = text[text.index("## The pipeline"):]
    block = re.search(r"```json\n(.*?)```", section, re.S)[1]
    spec = json.loads(block)
    spec["route"]["legacy_url"] = rig.legacy.url
    spec["service"]["port"] = free_port()
    spec["service"]["source"] = {"files": {"server.py": SERVICE}}
    spec["verify"] = [{"request": {"path": "/users/1"}}]
    spec["deploy"] = {"kind": "process"}
    spec["policy"].update({"min_samples": 20, "interval_ms": 100, "step": 0.5})
    spec["traffic"].update({"round_ms": 400, "rate": 300})
    code, out, err = rig.migrate(spec)
    equal(code, 0, f"exit\n{out}{err}")

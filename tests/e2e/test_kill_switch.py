# SPDX-License-Identifier: Apache-2.0
"""
kill switch: everything to legacy at once and back, by a daemon that serves alone. (With the NIC path: nic_dead_man.)
"""
import json
import time

from lib.case import Bench, check, equal
from lib.net import response, wait_for
from lib.process import Gateway, built, route, run
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)


def answer(name):
    return lambda ex: response(200, b'{"a":1}', {"X-Upstream": name, "Content-Type": "application/json"})


def setup():
    env = Bench()
    env.legacy, env.modern = env.own(Upstream(answer("legacy"))), env.own(Upstream(answer("modern")))
    urls = {"legacy": env.legacy.url, "modern": env.modern.url}
    env.gw = env.own(Gateway([
        route("whole", "/whole/*", weight=1.0, **urls),
        route("half", "/half/*", weight=0.5, sample=1.0, **urls),
        route("user", "/user/*", weight=0.5, split={"by": "header:x-user"}, **urls),
        route("climbs", "/climbs/*", sample=1.0, arbiter={"interval_ms": 50, "min_samples": 5, "step": 0.5}, **urls),
    ], sanitized=True))
    env.admin = env.gw.admin
    return env


def ctl(env, *args):
    return run(built("phoenixctl"), "--admin", env.gw.socket_path, *args)


def served(env, path, n=20, **more):
    names = [env.gw.ask("GET", path, **more).get("x-upstream") for _ in range(n)]
    return names.count("legacy"), names.count("modern")


def events(env):
    return [e["message"] for e in env.admin.items("/admin/events", "events")]


def test_on_and_off(env):
    equal(served(env, "/whole/1"), (0, 20))
    status, out, err = ctl(env, "kill-switch", "--reason", "fire in the datacentre")
    equal((status, out), (0, "kill switch on: every request goes to legacy, nothing is mirrored\n"
                             "daemon: 4 routes, the highest weight in force is 0%\n"), err)
    copies = len([e for e in env.modern.seen if e.get("x-phoenix-shadow")])
    for path in ("/whole/1", "/half/1", "/user/1", "/climbs/1"):
        equal(served(env, path), (20, 0), path)
    equal(len([e for e in env.modern.seen if e.get("x-phoenix-shadow")]), copies, "copies that modern got")
    item = env.admin.route("whole")
    equal((item["state"], item["headline"]), ("holding", "Holding at 100%: the kill switch is on"))
    equal(env.admin.json("/admin/status")["headline"], "Kill Switch: 100% on Legacy")
    equal(env.admin.metric("phoenix_kill_switch"), 1)
    check(any("kill switch on by" in m and "fire in the datacentre" in m for m in events(env)), events(env))
    audit = env.admin.items("/admin/audit", "entries")
    check(any(e["path"] == "/admin/kill-switch" and e["reason"] == "fire in the datacentre" for e in audit), audit)
    status, out, err = ctl(env, "-o", "json", "kill-switch", "--off")
    equal((status, json.loads(out)["daemon"]["on"], json.loads(out)["map"]), (0, False, None), err)
    equal(served(env, "/whole/1"), (0, 20))
    equal(served(env, "/half/1"), (10, 10))
    equal(env.admin.metric("phoenix_kill_switch"), 0)


def test_a_restart_does_not_end_it(env):
    env.admin.ok("POST", "/admin/kill-switch", {"on": True, "reason": "fire"})
    env.gw.kill()
    env.gw.restart()
    equal(served(env, "/whole/1"), (20, 0))
    equal(env.admin.json("/admin/kill-switch")["on"], True)
    env.admin.ok("POST", "/admin/kill-switch", {"on": False})
    env.gw.end(15)
    env.gw.restart()
    equal(served(env, "/whole/1"), (0, 20))


def test_nothing_is_promoted_meanwhile(env):
    env.admin.ok("POST", "/admin/kill-switch", {"on": True})
    before = env.admin.weight("climbs")
    for _ in range(30):
        env.gw.ask("GET", "/climbs/1")
    time.sleep(0.4)
    after = env.admin.weight("climbs")
    equal((after["wanted"], after["set"]), (before["wanted"], 0.0))
    env.admin.ok("POST", "/admin/kill-switch", {"on": False})

    def climbs():
        env.gw.ask("GET", "/climbs/1")
        return env.admin.weight("climbs")["set"] == 1.0
    wait_for("it goes on climbing", climbs, 20, 0.01)


def test_refusals(env):
    for body in ({}, {"on": "yes"}, {"on": None}, {"on": True, "off": True}):
        equal(env.admin.post("/admin/kill-switch", body).status, 422, body)
    equal(env.admin.json("/admin/kill-switch")["on"], False)


def test_nobody_there(env):
    status, out, err = run(built("phoenixctl"), "--admin", "unix:/nonexistent.sock", "kill-switch", "/sys/fs/bpf/phx-none")
    equal((status, out), (4, ""), err)
    check("nothing was changed" in err and "no fast path is loaded in /sys/fs/bpf/phx-none" in err, err)

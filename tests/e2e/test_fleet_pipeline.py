# SPDX-License-Identifier: Apache-2.0
"""
fleet pipeline: a service that one gateway deployed is migrated by the fleet, also when that gateway dies on the way.
What belongs to its machine (the stages, taking the service down) goes on when it is back. The others know of it.
"""
import os

from lib.case import Bench, check, equal, timeout
from lib.fleet import Clients, LEASE_MS
from lib.net import wait_for
from lib.pipeline import Rig, SERVICE
from lib.process import scratch
from lib.redis import Redis

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.redis = env.own(Redis())
    folder = scratch()

    def shared(name):
        return {"store": "redis", "url": env.redis.url, "lease_ms": LEASE_MS, "path": os.path.join(folder, name)}
    env.rig = env.own(Rig(sanitized=False, state=shared("a.json"), pipeline={"directory": os.path.join(folder, "pipeline")}))
    env.second = env.own(Rig(sanitized=False, state=shared("b.json"), pipeline={"directory": os.path.join(folder, "pipeline-b")}))
    env.other = env.second.gw
    return env


def member(gw):
    return gw.admin.json("/admin/status")["fleet"]["member"]


def seen(gw, id):
    """The migration in the list, in the status and in full; all three say the same of its gateway."""
    whole = gw.admin.json(f"/admin/migrations/{id}")
    for items in gw.admin.json("/admin/migrations")["migrations"], gw.admin.json("/admin/status")["migrations"]:
        equal([m["gateway"] for m in items if m["id"] == id], [whole["gateway"]], f"{id} in the list")
    return whole


def wait_gone(env, id):
    return wait_for("the other says that its gateway is gone",
                    lambda: "is not heard of since" in seen(env.other, id)["detail"] and seen(env.other, id), 15, 0.1)


def refused(reply, *words):
    equal(reply.status, 409, f"{reply}")
    for word in words:
        check(word in reply.body.decode(), f"{word!r} is not said", reply.body)


def begin(env, id, **more):
    """A migration under way, which the other gateway serves as well."""
    spec = env.rig.spec(id, policy={"min_samples": 60, "step": 0.25, "interval_ms": 100}, **more)
    env.rig.submit(spec)
    env.rig.wait_stage(id, "migrate")
    wait_for("the route on the other gateway", lambda: env.other.admin.request("GET", f"/admin/routes/{id}").status == 200, 10)
    return spec


@timeout(90)
def test_goes_on_without_the_gateway_that_deployed(env):
    spec = begin(env, "goeson")
    wait_for("a step", lambda: env.rig.admin.weight("goeson")["set"] > 0, 20)
    name = member(env.rig.gw)
    equal(seen(env.rig.gw, "goeson")["gateway"], name, "who runs it, as it says itself")
    item = wait_for("its stage on the other", lambda: seen(env.other, "goeson")["stage"] == "migrate" and seen(env.other, "goeson"), 5)
    equal((item["gateway"], item["gateway_gone"], item["over"], item["port"]), (name, False, False, spec["service"]["port"]), item)
    check(name in item["log"][0]["text"], item["log"])
    refused(env.other.admin.post("/admin/migrations", spec), name, "goeson")
    refused(env.other.admin.post("/admin/migrations", {**spec, "id": "twin"}), name, "goeson", "the same requests")
    refused(env.other.admin.request("DELETE", "/admin/migrations/goeson"), name, "ask that one")
    env.rig.gw.kill()
    clients = Clients([env.other], "/goeson/1", rate=100, body=None)
    wait_for("the whole weight, by the other", lambda: env.other.admin.weight("goeson")["set"] == 1.0, 40)
    wait_for("complete", lambda: env.other.admin.route("goeson")["state"] == "complete", 20)
    clients.finish()
    env.rig.one_process("goeson")
    item = wait_gone(env, "goeson")
    equal((item["gateway"], item["gateway_gone"], item["headline"]), (name, True, "Migration Complete"), item)
    check(f"the route goes on under gateway {member(env.other)}" in item["detail"] and "migration rm goeson" in item["detail"], item)
    env.rig.gw.restart()
    item = env.rig.wait_over("goeson")
    equal((item["stage"], item["state"]), ("complete", "complete"), item["log"][-5:])
    item = wait_for("the record is its own again", lambda: seen(env.other, "goeson")["over"] and seen(env.other, "goeson"), 5)
    equal((item["gateway"], item["stage"], item["gateway_gone"]), (member(env.rig.gw), "complete", False), item)
    equal(env.rig.admin.post("/admin/routes/goeson/rollback", {"reason": "the end of the test"}).status, 200, "rollback")
    equal(env.rig.admin.request("DELETE", "/admin/migrations/goeson").status, 202, "DELETE where it runs")
    wait_for("it is gone everywhere", lambda: not env.rig.known("goeson") and not env.second.known("goeson"), 15, 0.05)
    env.rig.no_process("goeson")


@timeout(90)
def test_is_rolled_back_without_it(env):
    """The other gateway rolls back at once; the service is taken down when the one that deployed it is back."""
    begin(env, "goesback", service={"source": {"files": {"server.py": SERVICE.replace(
        'FAULT == "wrong"', 'os.path.exists(os.environ["WRONG"])')}}, "environment": {"WRONG": os.path.join(env.rig.work, "wrong")}})
    wait_for("a step", lambda: env.rig.admin.weight("goesback")["set"] > 0, 20)
    env.rig.gw.kill()
    with open(os.path.join(env.rig.work, "wrong"), "w"):
        pass
    clients = Clients([env.other], "/goesback/1", rate=100, body=None)
    wait_for("a rollback by the other", lambda: env.other.admin.route("goesback")["state"] == "rolled_back", 40)
    clients.finish()
    env.rig.one_process("goesback")
    env.rig.gw.restart()
    item = env.rig.wait_over("goesback")
    equal((item["stage"], env.rig.admin.weight("goesback")["set"]), ("rolled_back", 0.0), item["log"][-5:])
    check("consistency" in item["reason"], item["reason"])
    env.rig.no_process("goesback")
    wait_for("the other knows", lambda: seen(env.other, "goesback")["stage"] == "rolled_back", 5)
    refused(env.other.admin.post("/admin/routes/goesback/retry", {"reason": "again"}), member(env.rig.gw), "ask that one")


@timeout(90)
def test_is_begun_anew_elsewhere(env):
    """Killed in verify, given up, and begun on the other: the one that comes back gives way and takes down what it had."""
    spec = env.rig.spec("moves", service={"environment": {"SLOW_START": "30"}})
    env.rig.submit(spec)
    name = member(env.rig.gw)
    item = wait_for("it is known on the other", lambda: env.second.known("moves") and seen(env.other, "moves"), 5)
    equal((item["gateway"], item["stage"], item["detail"]), (name, "verify", f"on gateway {name}"), item)
    wait_for("the trial runs", lambda: env.rig.processes("moves"), 10)
    env.rig.gw.kill()
    refused(env.other.admin.post("/admin/migrations", spec), name)
    wait_gone(env, "moves")
    refused(env.other.admin.post("/admin/migrations", spec), name, "phoenixctl migration rm moves")
    equal(env.other.admin.request("DELETE", "/admin/migrations/moves").status, 204, "a record of one that is gone")
    env.second.submit(env.second.spec("moves"))
    env.rig.gw.restart()
    env.rig.no_process("moves")
    item = wait_for("the one that came back shows the other's", lambda: env.rig.known("moves") and (
        lambda m: m["gateway"] == member(env.other) and m)(env.rig.get("moves")), 10)
    equal(item["gateway_gone"], False, item)
    check(not os.path.exists(os.path.join(env.rig.work, "moves")), "its folder is still there")
    item = env.second.wait_over("moves")
    equal((item["stage"], env.second.admin.weight("moves")["set"]), ("complete", 1.0), item["log"][-5:])
    wait_for("complete, as the first says", lambda: env.rig.get("moves")["headline"] == "Migration Complete", 10)
    env.second.one_process("moves")

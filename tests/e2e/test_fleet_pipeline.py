# SPDX-License-Identifier: Apache-2.0
"""
fleet pipeline: a service that one gateway deployed is migrated by the fleet, also when that gateway dies on the way.
What belongs to its machine (the stages, taking the service down) goes on when it is back.
"""
import os

from lib.case import Bench, check, equal, timeout
from lib.fleet import Clients, LEASE_MS
from lib.net import wait_for
from lib.pipeline import Rig, SERVICE
from lib.process import Gateway, scratch
from lib.redis import Redis

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.redis = env.own(Redis())
    folder = scratch()

    def shared(name):
        return {"store": "redis", "url": env.redis.url, "lease_ms": LEASE_MS, "path": os.path.join(folder, name)}
    env.rig = env.own(Rig(sanitized=False, state=shared("a.json"), pipeline={"directory": os.path.join(folder, "pipeline")}))
    env.other = env.own(Gateway([], state=shared("b.json")))
    return env


def begin(env, id, **more):
    """A migration under way, which the other gateway serves as well."""
    spec = env.rig.spec(id, policy={"min_samples": 60, "step": 0.25, "interval_ms": 100}, **more)
    env.rig.submit(spec)
    env.rig.wait_stage(id, "migrate")
    wait_for("the route on the other gateway", lambda: env.other.admin.request("GET", f"/admin/routes/{id}").status == 200, 10)
    return spec


@timeout(90)
def test_goes_on_without_the_gateway_that_deployed(env):
    begin(env, "goeson")
    wait_for("a step", lambda: env.rig.admin.weight("goeson")["set"] > 0, 20)
    env.rig.gw.kill()
    clients = Clients([env.other], "/goeson/1", rate=100, body=None)
    wait_for("the whole weight, by the other", lambda: env.other.admin.weight("goeson")["set"] == 1.0, 40)
    wait_for("complete", lambda: env.other.admin.route("goeson")["state"] == "complete", 20)
    clients.finish()
    env.rig.one_process("goeson")
    env.rig.gw.restart()
    item = env.rig.wait_over("goeson")
    equal((item["stage"], item["state"]), ("complete", "complete"), item["log"][-5:])


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

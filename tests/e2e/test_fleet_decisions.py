# SPDX-License-Identifier: Apache-2.0
"""
fleet decisions: what one gateway decided is in the list and in the file of each, once, with who it was; whoever dies.
"""
import glob
import json
import os

from lib.case import Bench, check, equal, timeout
from lib.fleet import Clients, Fleet, services
from lib.net import wait_for
from lib.process import built, route, run

SUBJECTS = ("phoenix",)
ARBITER = {"policy": "literal", "min_samples": 20, "step": 0.1, "interval_ms": 50}


def setup():
    env = Bench()
    env.nginx = env.own(services().start())
    return env


def fleet(env, **arbiter):
    made = Fleet([route("r", "/r", legacy=env.nginx.url(0), modern=env.nginx.url(1), sample=1.0,
                        arbiter={**ARBITER, **arbiter}, health={"failover": False})], size=2)
    env.own(made)
    made.leader()
    return made


def instance(gw):
    return gw.admin.request("GET", "/admin/status").json()["instance"]


def listed(gw):
    """What the gateway tells of the route; holds are each gateway's own."""
    return [d for d in gw.admin.items("/admin/routes/r/decisions?limit=1000", "decisions") if d["action"] != "hold"]


def written(gw):
    """What its ledger has."""
    paths = glob.glob(os.path.join(gw.directory, "*decisions.jsonl"))
    equal(len(paths), 1, gw.directory)
    with open(paths[0]) as file:
        return [json.loads(line) for line in file]


def ids(decisions):
    return [d["id"] for d in decisions]


def wait_same(gateways, count):
    """All list and have written the same decisions, `count` of them, each once."""
    def same():
        lists = [sorted(ids(read(gw))) for gw in gateways for read in (listed, written)]
        return len(lists[0]) == count and all(other == lists[0] for other in lists)
    try:
        wait_for(f"{count} decisions everywhere", same, 15)
    except AssertionError as error:
        raise AssertionError(f"{error}; {[(ids(listed(gw)), ids(written(gw))) for gw in gateways]}") from None


def order(gw, weight, reason):
    gw.admin.set_weight("r", weight, reason)


@timeout(60)
def test_leader_killed(env):
    """The new leader's list goes on where the old one's ended, and the old one learns the rest when it is back."""
    f = fleet(env)
    old, new = f.leader(), f.followers()[0]
    names = [instance(old), instance(new)]
    clients = Clients(f.gateways, "/r")
    wait_for("decisions of the leader at the follower", lambda: len(listed(new)) >= 3, 20, 0.01)
    equal({d["on"] for d in listed(new)}, {names[0]})
    clients.killing(old)
    old.kill()
    f.leader(other_than=(old,))
    wait_for("complete", lambda: new.admin.route("r")["state"] == "complete", 30)
    clients.finish()
    old.restart()
    moves = listed(new)
    wait_same(f.gateways, len(moves))
    promotions = [d for d in moves if d["action"] == "promote"]
    equal([round(d["weight_new"] * 10) for d in promotions], list(range(1, 11)))
    equal([d["weight_old"] for d in promotions[1:]], [d["weight_new"] for d in promotions[:-1]])
    equal(sorted({d["on"] for d in promotions}), sorted(names))
    for gw in f.gateways:
        path = glob.glob(os.path.join(gw.directory, "*decisions.jsonl"))[0]
        status, out, err = run(built("phoenixctl"), "decisions", "replay", path)
        equal(status, 0, err)
        check("decided again and the same" in out, out)
        status, out, err = run(built("phoenixctl"), "--admin", gw.socket_path, "decisions", "r")
        equal(status, 0, err)
        check(all(name in out for name in names), out)
    f.stop()


@timeout(60)
def test_redis_killed(env):
    """What is decided while Redis is down is told when it is back, also when it lost everything; nothing twice."""
    f = fleet(env, enabled=False)
    one, two = f.gateways
    order(one, 0.1, "first")
    order(two, 0.2, "second")
    wait_same(f.gateways, 2)
    f.redis.kill()
    wait_for("cut off", lambda: all(f.view(gw)["role"] == "cut_off" for gw in f.gateways), 15)
    order(one, 0.3, "alone")
    equal(len(listed(two)), 2)
    f.redis.restart()
    wait_same(f.gateways, 3)
    f.redis.restart_empty()
    wait_for("a leader", f.leaders, 15)
    order(two, 0.4, "fourth")
    wait_same(f.gateways, 4)
    equal(sorted(d["reason"] for d in listed(one)), ["alone", "first", "fourth", "second"])
    wait_for("all of it in Redis again", lambda: f.redis.cli("XLEN", "phoenix:decisions") == 4, 15)
    two.kill()
    two.restart()
    wait_same(f.gateways, 4)
    f.stop()


@timeout(60)
def test_what_else_is_in_the_stream(env):
    """Entries that no gateway wrote are refused and counted, another type is no harm."""
    f = fleet(env, enabled=False)
    one, two = f.gateways
    key = "phoenix:decisions"
    order(one, 0.1, "first")
    wait_same(f.gateways, 1)
    good = written(one)[0]
    refused = two.admin.request("GET", "/admin/status").json()["store"]["refused_records"]
    rubbish = ["", "[]", "{}", "\x00", "{" * 3000, json.dumps({**good, "id": "x", "weight_new": 7}),
               json.dumps({**good, "id": "x", "at": "never"}), "x" * 200000]
    for text in rubbish:
        f.redis.cli("XADD", key, "*", "record", text)
    f.redis.cli("XADD", key, "*", *(str(i) for i in range(100)))
    f.redis.cli("XADD", key, "*", "record", json.dumps(good))  # known already
    wait_for("all refused", lambda: two.admin.request("GET", "/admin/status").json()["store"]["refused_records"]
             == refused + len(rubbish) + 1, 15)
    events = [e["message"] for e in two.admin.items("/admin/events", "events")]
    check(any("phoenix:decisions" in m and "was refused" in m for m in events), events[-5:])
    order(two, 0.2, "second")
    wait_same(f.gateways, 2)
    f.redis.cli("SET", key, "rubbish")
    order(one, 0.3, "third")
    f.wait_weight("r", 0.3)
    f.redis.cli("DEL", key)
    wait_same(f.gateways, 3)
    f.stop()

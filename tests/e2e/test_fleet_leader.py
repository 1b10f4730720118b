# SPDX-License-Identifier: Apache-2.0
"""
fleet leader: three gateways, one Redis, one leader. Under load the leader, Redis, or both are killed, hung, started
again. No request to a living gateway fails, no weight goes backwards, no step is taken twice, the migration ends.
"""
import signal
import time

from lib.case import Bench, check, equal, timeout
from lib.fleet import Clients, Fleet, Watch, services
from lib.net import response, wait_for
from lib.process import built, route, run
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
STEP = 0.1
ARBITER = {"policy": "literal", "min_samples": 40, "step": STEP, "interval_ms": 50}


def setup():
    env = Bench()
    env.nginx = env.own(services().start())
    env.count = 0
    return env


def fleet(env, arbiter=None, **more):
    """Three gateways and a route of its own for each test."""
    urls = {"legacy": env.nginx.url(0), "modern": env.nginx.url(1), **more}
    made = Fleet([route("r", "/r", sample=1.0, arbiter={**ARBITER, **(arbiter or {})}, health={"failover": False}, **urls)])
    env.own(made)
    made.leader()
    return made


def wait_beyond(f, weight, timeout_s=30):
    wait_for(f"a weight of {weight} somewhere", lambda: max(f.weights("r")) >= weight, timeout_s, 0.01)


def finish(f, clients, watch):
    """The migration ends, everywhere."""
    f.wait_weight("r", 1.0)
    wait_for("complete everywhere", lambda: all(gw.admin.route("r")["state"] == "complete" for gw in f.alive()), 20)
    clients.finish()
    watch.finish()
    promotions = f.check_steps("r", STEP)
    equal(len(promotions), 10, f"promotions {promotions}")
    f.stop()


@timeout(90)
def test_one_leads_and_the_sum_counts(env):
    """No gateway alone has the samples of a step."""
    f = fleet(env, {"min_samples": 90})
    watch, clients = Watch(f, "r"), Clients(f.gateways, "/r", each=1, rate=60)
    equal(len(f.leaders()), 1)
    follower = f.followers()[0]
    wait_for("three members that live", lambda: [m["alive"] for m in f.view(follower)["members"]] == [True] * 3, 15)
    view = f.view(follower)
    equal((view["role"], view["redis_up"], sum(m["leads"] for m in view["members"])), ("follows", True, 1), view)

    def told():
        status, out, err = run(built("phoenixctl"), "--admin", follower.socket_path, "status")
        return status == 0 and "3 gateways; this one follows" in out
    wait_for("phoenixctl status", told, 15)
    finish(f, clients, watch)
    for decision in f.decisions("r"):
        if decision["action"] == "promote":
            check(decision["n"] > 90, "samples of a promotion", decision)


@timeout(90)
def test_leader_killed(env):
    f = fleet(env)
    watch, clients = Watch(f, "r"), Clients(f.gateways, "/r")
    wait_beyond(f, 0.3)
    old = f.leader()
    clients.killing(old)
    old.kill()
    began = time.monotonic()
    new = f.leader(other_than=(old,))
    took = time.monotonic() - began
    check(took < 3 * f.lease_s + 5, f"the takeover took {took:.1f} s")  # the exact bound: test_takeover_time
    events = [e["message"] for e in new.admin.items("/admin/events", "events")]
    check(any("this gateway leads now" in m for m in events), events[-5:])
    finish(f, clients, watch)


@timeout(90)
def test_redis_killed(env):
    f = fleet(env)
    watch, clients = Watch(f, "r"), Clients(f.gateways, "/r")
    wait_beyond(f, 0.3)
    f.redis.kill()
    wait_for("cut off", lambda: all(f.view(gw)["role"] == "cut_off" for gw in f.gateways), 15)
    held = f.weights("r")
    time.sleep(1)
    equal(f.weights("r"), held, "weights without Redis")
    equal(len(set(held)), 1, f"weights {held}")
    view = f.view(f.gateways[0])
    check(not view["redis_up"] and view["redis_error"], view)
    f.redis.restart()
    finish(f, clients, watch)


@timeout(90)
def test_redis_comes_back_empty(env):
    f = fleet(env)
    watch, clients = Watch(f, "r"), Clients(f.gateways, "/r")
    wait_beyond(f, 0.3)
    f.redis.restart_empty()
    finish(f, clients, watch)


@timeout(90)
def test_leader_and_redis_killed(env):
    f = fleet(env)
    watch, clients = Watch(f, "r"), Clients(f.gateways, "/r")
    wait_beyond(f, 0.3)
    old = f.leader()
    clients.killing(old)
    f.redis.kill()
    old.kill()
    time.sleep(1)
    f.redis.restart()
    wait_beyond(f, 0.6)
    old.restart()
    clients.back(old)
    finish(f, clients, watch)


@timeout(90)
def test_leader_hangs_and_wakes(env):
    """SIGSTOP for longer than its lease: another leads. Awake again, the old one cannot write with its old fence."""
    f = fleet(env)
    watch, clients = Watch(f, "r"), Clients(f.gateways, "/r")
    wait_beyond(f, 0.3)
    for _ in range(2):
        old = f.leader()
        clients.killing(old)
        old.signal(signal.SIGSTOP)
        try:
            new = f.leader(other_than=(old,))
        finally:
            old.signal(signal.SIGCONT)
        wait_for("the old one follows", lambda: f.view(old)["role"] == "follows", 10)
        clients.back(old)
        equal(f.view(new)["role"], "leads")
    finish(f, clients, watch)


@timeout(90)
def test_a_person_beats_the_arbiter(env):
    """Weights set by hand on any gateway, while the arbiter climbs: what was said last is where it goes on."""
    f = fleet(env, {"min_samples": 15})
    clients = Clients(f.gateways, "/r", rate=60)
    for i in range(12):
        gw = f.gateways[i % 3]
        said = gw.admin.set_weight("r", 0.05, f"order {i}")
        check(said["wanted"] in (0.05,) or said["wanted"] > 0.05, said)
        time.sleep(0.25)
    f.wait_weight("r", 1.0)
    clients.finish()
    moves = f.decisions("r")
    at = 0
    for move in moves:
        if move["action"] == "promote":
            equal(move["weight_old"], at, f"{[(d['action'], d['weight_old'], d['weight_new'], d['epoch']) for d in moves]}")
        if move["action"] in ("promote", "manual"):
            at = move["weight_new"]
    equal(sum(d["action"] == "manual" for d in moves), 12)
    f.stop()


@timeout(90)
def test_cut_off_rolls_back_by_itself(env):
    """Redis hangs and modern goes bad: each gateway rolls back on its own evidence, and all agree afterwards."""
    bad = [False]
    modern = env.own(Upstream(lambda ex: response(200, b'{"v":2}' if bad[0] else b'{"v":1}',
                                                  {"X-Upstream": "modern", "Content-Type": "application/json"})))
    f = fleet(env, {"min_samples": 1000000, "rollback_min_samples": 20}, modern=modern.url)
    f.gateways[0].admin.set_weight("r", 0.5)
    f.wait_weight("r", 0.5)
    f.redis.freeze()
    wait_for("cut off", lambda: all(f.view(gw)["role"] == "cut_off" for gw in f.gateways), 15)
    bad[0] = True

    def rolled_back(gw):
        for _ in range(10):
            gw.ask("GET", "/r")
        return gw.admin.route("r")["state"] == "rolled_back"
    for gw in f.gateways[:2]:
        wait_for(f"a rollback of {gw.port}", lambda: rolled_back(gw), 20, 0.01)
    equal(f.gateways[2].admin.weight("r")["set"], 0.5, "the one without traffic has no evidence")
    f.redis.thaw()
    f.wait_weight("r", 0.0)
    wait_for("latched everywhere", lambda: all(gw.admin.route("r")["state"] == "rolled_back" for gw in f.gateways), 15)
    f.stop()


@timeout(90)
def test_what_else_is_in_redis(env):
    """Members, facts and publications that no gateway wrote: nobody stumbles, nothing of it counts."""
    f = fleet(env)
    now = int(time.time() * 1000)
    for name, value in (("a b", f"{now} 1 x"), ("x" * 300, f"{now} 1 x"), ("\r\n", f"{now} 1 x"), ("words", "one two three"),
                        ("short", "1"), ("long", f"{now} 1 " + "y" * 5000), ("future", f"{10 * now} 18446744073709551615 x")):
        f.redis.cli("HSET", "phoenix:members", name, value)
    for name in ("string", "list", "junk", "claims"):
        f.redis.cli("HSET", "phoenix:members", name, f"{now} 3 0.1.0 nowhere")
    f.redis.cli("SET", "phoenix:facts:string", "x")
    f.redis.cli("RPUSH", "phoenix:recent:list", "x")
    f.redis.cli("HSET", "phoenix:facts:junk", "r", "not a number", "r\tx", "1 1 1 1", "nobody", "1 " * 400, "r2", "9" * 5000)
    f.redis.cli("HSET", "phoenix:facts:claims", "r", "1 1 1 1 " + " ".join(["1000000"] * 60))  # of a build that is not ours
    watch, clients = Watch(f, "r"), Clients(f.gateways, "/r")
    old = f.leader()
    clients.killing(old)
    old.kill()
    finish(f, clients, watch)
    for decision in f.decisions("r"):
        check(decision["n"] < 1000000, decision)

# SPDX-License-Identifier: Apache-2.0
"""
redis_store: several gateways, one Redis. A weight set on one acts on all, a late write is told who was faster, routes
live in Redis and are edited there, and nothing that happens to Redis takes a route or a weight away.
"""
import json
import statistics
import threading
import time

from lib.case import Bench, check, equal
from lib.net import wait_for
from lib.process import Gateway, Nginx, route
from lib.redis import Redis

SUBJECTS = ("phoenix",)
SIDES = """
server { listen 127.0.0.1:{port0}; location / { return 200 "legacy"; } }
server { listen 127.0.0.1:{port1}; location / { return 200 "modern"; } }
"""


def gateway(env, redis, routes=None, **state):
    """One gateway of the fleet; its own state.path holds what it knew last."""
    gw = Gateway(routes if routes is not None else [route("r", "/r", legacy=env.sides.url(0), modern=env.sides.url(1))],
                 start=False, workers=1)
    gw.config["state"] = {"store": "redis", "url": redis.url, "path": gw.state_path, "refresh_ms": 500, **state}
    return gw.start()


def setup():
    env = Bench()
    env.sides = env.own(Nginx(SIDES, ports=2).start())
    env.redis = env.own(Redis())
    env.gws = [env.own(gateway(env, env.redis)) for _ in range(3)]
    return env


def weights(env, id="r"):
    return [gw.admin.weight(id)["set"] for gw in env.gws]


def settled(env, want, id="r"):
    wait_for(f"weight {want} on all", lambda: weights(env, id) == [want] * len(env.gws))


def events(gw):
    return [event["message"] for event in gw.admin.json("/admin/events")["events"]]


def has_event(gw, *texts):
    return any(all(text in event for text in texts) for event in events(gw))


def test_weight_acts_on_all(env):
    """Set on one, effective on all: what a change takes, as a client sees it. Not asserted, printed."""
    took = []
    for i in range(20):
        weight = round(0.01 + i / 100, 4)
        began = time.monotonic()
        env.gws[i % 3].admin.set_weight("r", weight)
        while weights(env) != [weight] * 3:
            pass
        took.append((time.monotonic() - began) * 1000)
    print(f"# a weight on all of 3 gateways: median {statistics.median(took):.1f} ms, max {max(took):.1f} ms of {len(took)}")
    env.gws[1].admin.set_weight("r", 1.0)
    settled(env, 1.0)
    for gw in env.gws:
        equal({gw.ask("GET", "/r").body for _ in range(20)}, {b"modern"})
    told = env.gws[0].admin.weight("r")
    equal(told["changed_by"], env.gws[1].admin.weight("r")["changed_by"])


def test_rollback_acts_on_all(env):
    env.gws[0].admin.set_weight("r", 0.5)
    settled(env, 0.5)
    env.gws[2].admin.ok("POST", "/admin/routes/r/rollback", {"reason": "a test"})
    settled(env, 0.0)
    for gw in env.gws:
        equal(gw.admin.route("r")["headline"], "Rollback triggered")
        equal({gw.ask("GET", "/r").body for _ in range(20)}, {b"legacy"})
    env.gws[1].admin.ok("POST", "/admin/routes/r/retry", {"reason": "a test"})
    wait_for("retried on all", lambda: all(gw.admin.route("r")["state"] != "rolled_back" for gw in env.gws))


def test_thousand_concurrent_changes(env):
    """From eight clients over three gateways: in the end all are equal, every change that was confirmed counted
    once, and every other one was told so."""
    settled(env, env.gws[0].admin.weight("r")["set"])
    before = env.gws[0].admin.weight("r")["epoch"]
    answers, lock = [], threading.Lock()

    def client(n):
        for i in range(125):
            gw = env.gws[(n + i) % 3]
            reply = gw.admin.post("/admin/routes/r/weight", {"weight": (n * 125 + i) / 10000, "reason": f"client {n}"})
            with lock:
                answers.append((reply.status, reply.json()))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(len(answers), 1000)
    equal({status for status, _ in answers} - {200, 409}, set(), "what became of the changes")
    good = [answer for status, answer in answers if status == 200]
    for status, answer in answers:
        if status == 409:
            check("changed meanwhile by" in answer["detail"] and "on gateway" in answer["detail"], answer)
    wait_for("all equal", lambda: len({(w["set"], w["epoch"]) for w in (gw.admin.weight("r") for gw in env.gws)}) == 1)
    equal(env.gws[0].admin.weight("r")["epoch"] - before, len(good), "confirmed changes and epochs")
    epochs = sorted(answer["epoch"] for answer in good)
    equal(epochs, list(range(before + 1, before + 1 + len(good))), "each confirmed change had an epoch of its own")
    stored = env.redis.hash("phoenix:weight:r")
    equal(int(stored["weight_bp"]) / 10000, env.gws[0].admin.weight("r")["set"])
    print(f"# 1000 concurrent changes: {len(good)} confirmed, {1000 - len(good)} told that another was faster")


def test_if_match_names_the_other(env):
    gw = env.gws[0]
    etag = gw.admin.get("/admin/routes/r").get("etag")
    env.gws[1].admin.set_weight("r", 0.11)
    settled(env, 0.11)
    reply = gw.admin.post("/admin/routes/r/weight", {"weight": 0.9}, fields={"If-Match": etag})
    equal(reply.status, 412)
    check("weight now 11%" in reply.json()["detail"], reply.json())


def test_weight_by_hand(env):
    """HSET in Redis is an order like one by REST; nonsense is refused, told, and changes nothing."""
    env.gws[0].admin.set_weight("r", 0.2)
    settled(env, 0.2)
    env.redis.cli("HSET", "phoenix:weight:r", "weight_bp", "3500")
    settled(env, 0.35)
    wait_for("it became a change of its own", lambda: "redis (by hand)" in env.redis.hash("phoenix:weight:r")["changed"])
    env.redis.cli("HSET", "phoenix:weight:r", "weight_bp", "lots")
    wait_for("the refusal", lambda: all(has_event(gw, "phoenix:weight:r", "refused", "\"lots\" is no whole number")
                                        for gw in env.gws))
    equal(weights(env), [0.35] * 3)
    env.gws[2].admin.set_weight("r", 0.3)
    settled(env, 0.3)


def test_route_lives_in_redis(env):
    """Made on one gateway, served by all; edited by hand; bad text is refused with its place; deleted on another."""
    more = route("more", "/more", legacy=env.sides.url(0), modern=env.sides.url(1), weight=1.0)
    env.gws[0].admin.ok("POST", "/admin/routes", more)
    for gw in env.gws:
        wait_for("the route", lambda: gw.ask("GET", "/more").body == b"modern")
    more["path"] = "/other"
    env.redis.cli("HSET", "phoenix:route:more", "config", json.dumps(more))
    for gw in env.gws:
        wait_for("the other path", lambda: gw.ask("GET", "/other").body == b"modern")
    env.redis.cli("HSET", "phoenix:route:more", "config", json.dumps({**more, "wieght": 1}))
    for gw in env.gws:
        wait_for("the refusal", lambda: has_event(gw, "phoenix:route:more", "refused", "did you mean \"weight\"?"))
        equal(gw.ask("GET", "/other").body, b"modern", "the last good stays")
    env.redis.cli("SET", "phoenix:route:hand", json.dumps({**more, "id": "hand", "path": "/hand"}))
    for gw in env.gws:
        wait_for("the route by SET", lambda: gw.ask("GET", "/hand").body == b"modern")
    for id in ("more", "hand"):
        env.gws[2].admin.ok("DELETE", f"/admin/routes/{id}")
        for gw in env.gws:
            wait_for("the deletion", lambda: gw.admin.get(f"/admin/routes/{id}").status == 404)
    equal(env.gws[0].ask("GET", "/hand").status, 404)


def test_wrong_type_and_giant_values(env):
    """What is no record is refused and told; what the gateways know stays, and is written back when it is written."""
    env.gws[0].admin.set_weight("r", 0.4)
    settled(env, 0.4)
    env.redis.cli("DEL", "phoenix:weight:r")
    env.redis.cli("LPUSH", "phoenix:weight:r", "x")
    for gw in env.gws:
        wait_for("a list is refused", lambda: has_event(gw, "phoenix:weight:r", "it is a list; it must be a hash"))
    env.redis.cli("SET", "phoenix:route:giant", "x" * (3 << 20))
    for gw in env.gws:
        wait_for("a giant is refused", lambda: has_event(gw, "phoenix:route:giant", "larger than"))
    env.redis.cli("DEL", "phoenix:route:giant")
    equal(weights(env), [0.4] * 3)
    env.gws[1].admin.set_weight("r", 0.45)
    settled(env, 0.45)
    env.redis.cli("SET", "phoenix:somebody", "else")
    env.redis.cli("PUBLISH", "phoenix:changes", "nonsense")
    env.redis.cli("PUBLISH", "phoenix:changes", "weight:nobody")
    env.gws[0].admin.set_weight("r", 0.46)
    settled(env, 0.46)


def test_secrets_are_nowhere(env):
    """The password is in no log, no page, no configuration that is shown."""
    redis = env.own(Redis(password="very-secret-word"))
    gw = env.own(gateway(env, redis))
    shown = [gw.admin.get(path).body for path in ("/admin/config", "/admin/status", "/metrics", "/admin/events")]
    redis.kill()
    wait_for("down", lambda: gw.admin.json("/admin/status")["store"]["reachable"] is False)
    shown += [gw.admin.get(path).body for path in ("/admin/status", "/readyz", "/admin/events")]
    check(all(b"very-secret-word" not in text for text in shown), "the password is shown")
    check("very-secret-word" not in gw.log(), "the password is in the log")

# SPDX-License-Identifier: Apache-2.0
"""
redis_failures: Redis is slow, hung, killed, empty, full, read-only, refuses the password, fails over. In each case the
data path loses nothing, promotions hold and say why, what people order acts here at once and is stored afterwards, and
the admin API answers.
"""
import os
import threading
import time

from lib.case import Bench, check, equal, table
from lib.net import Client, wait_for
from lib.process import Gateway, Nginx, route
from lib.redis import Redis, Sentinel

SUBJECTS = ("phoenix",)
SIDES = """
server { listen 127.0.0.1:{port0}; location / { return 200 "legacy"; } location /a { return 200 "same"; } }
server { listen 127.0.0.1:{port1}; location / { return 200 "modern"; } location /a { return 200 "same"; } }
"""


def setup():
    env = Bench()
    env.sides = env.own(Nginx(SIDES, ports=2).start())
    return env


def routes(env):
    legacy, modern = env.sides.url(0), env.sides.url(1)
    return [route("r", "/r", legacy=legacy, modern=modern),
            route("a", "/a", legacy=legacy, modern=modern, weight=0.1, sample=1,
                  arbiter={"interval_ms": 100, "min_samples": 20})]


def gateway(env, url, **state):
    gw = Gateway(routes(env), start=False, workers=1)
    gw.config["state"] = {"store": "redis", "url": url, "path": gw.state_path, "refresh_ms": 200, **state}
    return gw.start()


def store(gw):
    return gw.admin.json("/admin/status")["store"]


def reachable(gw):
    return store(gw)["reachable"]


def down(*gws):
    for gw in gws:
        wait_for("the store being unreachable", lambda: not reachable(gw))


def up(*gws):
    for gw in gws:
        wait_for("the store being reachable", lambda: reachable(gw))


def events(gw):
    return [event["message"] for event in gw.admin.json("/admin/events")["events"]]


def has_event(gw, *texts):
    return any(all(text in event for text in texts) for event in events(gw))


class Traffic:
    """Requests without a pause while something happens; every one must be answered."""

    def __init__(self, *gws):
        self.counts, self.bad, self.stop = {}, [], False
        self.threads = [threading.Thread(target=self._run, args=(gw,)) for gw in gws]

    def _run(self, gw):
        client = Client(gw.address)
        while not self.stop:
            try:
                answer = client.ask("GET", "/a")
                if answer.status != 200:
                    self.bad.append(answer.status)
                self.counts[gw.port] = self.counts.get(gw.port, 0) + 1
            except (OSError, AssertionError) as error:
                self.bad.append(repr(error))
                return
            time.sleep(0.002)
        client.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.stop = True
        for thread in self.threads:
            thread.join()
        if not exc[0]:
            equal(self.bad, [], "requests that failed")
            check(all(n > 10 for n in self.counts.values()), self.counts)


def holds_and_obeys(gw, mark):
    """While the store is away: it says so everywhere, holds, and does what people order."""
    route_a = gw.admin.route("a")
    equal(route_a["headline"], f"Holding at {route_a['weight']['wanted'] * 100:g}%: state store unreachable")
    reply = gw.admin.get("/readyz")
    equal((reply.status, reply.json()["store"]), (200, "state store unreachable"))
    equal(gw.admin.metric("phoenix_redis_up"), 0)
    before = gw.admin.weight("a")["wanted"]
    told = gw.admin.set_weight("r", mark)
    equal((told["set"], gw.admin.metric("phoenix_store_unsaved")), (mark, 1))
    equal(gw.admin.weight("a")["wanted"], before, "a promotion without a store")


@table([("killed", lambda redis: redis.kill(), lambda redis: redis.restart(), "refused"),
        ("hung", lambda redis: redis.freeze(), lambda redis: redis.thaw(), "in time"),
        ("empty", lambda redis: redis.kill(), lambda redis: redis.restart_empty(), "refused"),
        ("full", lambda redis: (redis.cli("CONFIG", "SET", "maxmemory", "1")),
         lambda redis: redis.cli("CONFIG", "SET", "maxmemory", "0"), "it is full (maxmemory)"),
        ("read-only", lambda redis: redis.cli("REPLICAOF", "127.0.0.1", "1"),
         lambda redis: redis.cli("REPLICAOF", "NO", "ONE"), "read-only replica"),
        ("no-disk", lambda redis: redis.cli("CONFIG", "SET", "min-replicas-to-write", "1"),
         lambda redis: redis.cli("CONFIG", "SET", "min-replicas-to-write", "0"), "too few replicas"),
        ])
def test_away_and_back(env, row):
    """A manual weight and a rollback act while Redis is away and are on every gateway afterwards."""
    _name, away, back, reason = row
    redis = Redis()
    one, two = gateway(env, redis.url), gateway(env, redis.url)
    one.admin.ok("POST", "/admin/routes", route("made", "/made", legacy=env.sides.url(0), modern=env.sides.url(1), weight=1.0))
    wait_for("the route on both", lambda: two.ask("GET", "/made").body == b"modern")
    with Traffic(one, two):
        away(redis)
        down(one, two)
        wait_for(f"the reason: {reason}", lambda: reason in store(one)["error"])
        holds_and_obeys(one, 0.25)
        two.admin.ok("POST", "/admin/routes/a/rollback", {"reason": "redis is away"})
        equal(two.admin.weight("a")["set"], 0.0)
        check(one.admin.weight("a")["set"] > 0, "the other one cannot know")
        back(redis)
        up(one, two)
        wait_for("both have the weight", lambda: [gw.admin.weight("r")["set"] for gw in (one, two)] == [0.25] * 2)
        wait_for("both are rolled back", lambda: [gw.admin.route("a")["state"] for gw in (one, two)] == ["rolled_back"] * 2)
    for gw in (one, two):
        equal(gw.ask("GET", "/made").body, b"modern", "a route that only Redis had")
        wait_for("all stored", lambda: gw.admin.metric("phoenix_store_unsaved") == 0)
        equal(gw.admin.metric("phoenix_redis_up"), 1)
    wait_for("Redis has it", lambda: redis.hash("phoenix:weight:r").get("weight_bp") == "2500")
    if row[0] == "empty":
        wait_for("the loss is told", lambda: has_event(one, "had lost") or has_event(two, "had lost"))
        check("phoenix:route:made" in redis.keys(), redis.keys())
    for gw in (one, two):
        gw.stop()
    redis.stop()


def test_admin_answers_while_hung(env):
    """Each answer within a second is the promise; here it is measured and printed, and none may fail."""
    redis = Redis()
    gw = gateway(env, redis.url)
    took = []
    with redis.hold():
        for i in range(10):
            for call in (lambda: gw.admin.set_weight("r", 0.3 + i / 100), lambda: gw.admin.json("/admin/status"),
                         lambda: gw.admin.get("/metrics")):
                began = time.monotonic()
                call()
                took.append(time.monotonic() - began)
    print(f"# slowest answer with a hung Redis: {max(took) * 1000:.0f} ms of {len(took)}")
    up(gw)
    wait_for("stored", lambda: redis.hash("phoenix:weight:r").get("weight_bp") == "3900")
    gw.stop()
    redis.stop()


def test_late_write_is_not_applied(env):
    """A promotion that was told to have failed must not come true when the hung server wakes up."""
    redis = Redis()
    one, two = gateway(env, redis.url, refresh_ms=3600000), gateway(env, redis.url)
    made = route("late", "/late", legacy=env.sides.url(0), modern=env.sides.url(1))
    with redis.hold():
        reply = one.admin.request("POST", "/admin/routes", made)
        equal(reply.status, 503)
        check("nothing" in reply.json()["detail"] or "unreachable" in reply.json()["detail"], reply)
        time.sleep(0.4)
    up(one, two)
    check("phoenix:route:late" not in redis.keys(), redis.keys())
    equal(two.ask("GET", "/late").status, 404)
    for gw in (one, two):
        gw.stop()
    redis.stop()


def test_newer_weight_beats_the_kept_one(env):
    """What was set here while Redis was away for this gateway only does not overwrite what the others did after."""
    redis = Redis()
    one, two = gateway(env, redis.url, timeout_ms=50), gateway(env, redis.url)
    wait_for("both there", lambda: reachable(one) and reachable(two))
    redis.freeze()
    one.admin.set_weight("r", 0.6)
    equal(one.admin.metric("phoenix_store_unsaved"), 1)
    redis.thaw()
    # Whichever comes first is stored; a loser is told, and both end with the same.
    reply = two.admin.post("/admin/routes/r/weight", {"weight": 0.2})
    check(reply.status in (200, 409), reply)
    up(one, two)
    wait_for("equal", lambda: len({(w["set"], w["epoch"]) for w in (gw.admin.weight("r") for gw in (one, two))}) == 1
             and one.admin.metric("phoenix_store_unsaved") == 0)
    if one.admin.weight("r")["set"] == 0.2 and reply.status == 200 and two.admin.weight("r")["epoch"] == 2:
        wait_for("superseded is told", lambda: has_event(one, "superseded"))
    for gw in (one, two):
        gw.stop()
    redis.stop()


def test_restart_without_redis(env):
    """A gateway that starts while Redis is down goes on with what it knew last; one that knows nothing refuses."""
    redis = Redis()
    gw = gateway(env, redis.url)
    gw.admin.set_weight("r", 0.7)
    gw.admin.ok("POST", "/admin/routes", route("made", "/made", legacy=env.sides.url(0), modern=env.sides.url(1), weight=1.0))
    time.sleep(1.2)  # what is known is written down once a second
    redis.kill()
    gw.kill()
    gw.restart()
    equal(gw.admin.weight("r")["set"], 0.7)
    equal(gw.ask("GET", "/made").body, b"modern")
    check(not reachable(gw), store(gw))
    redis.restart_empty()
    up(gw)
    wait_for("Redis has it again", lambda: redis.hash("phoenix:weight:r").get("weight_bp") == "7000")
    gw.stop()
    redis.kill()
    other = Gateway(routes(env), start=False, workers=1)
    other.config["state"] = {"store": "redis", "url": redis.url, "path": other.state_path}
    Gateway.start(other, wait=False)
    wait_for("its end", lambda: not other.alive())
    check(other.child.returncode not in (0, None) and "Start Redis" in other.log(), other.log()[-1500:])
    redis.remove()


def test_password(env):
    """Wrong: refused at the start, in words. From a file, and over a Unix socket: works."""
    redis = Redis(password="right%one", unix=True)
    good = gateway(env, redis.url.replace("right%one", "right%25one"))
    good.admin.set_weight("r", 0.3)
    good.stop()
    secret = Gateway(routes(env), start=False, workers=1)
    path = secret.directory + "/password"
    with open(path, "w") as file:
        file.write("right%one\n")
    secret.config["state"] = {"store": "redis", "url": f"unix://{redis.socket_path}", "path": secret.state_path, "password_file": path}
    secret.start()
    equal(secret.admin.weight("r")["set"], 0.3)
    secret.end()
    with open(path, "w") as file:
        file.write("wrong one\n")
    os.unlink(secret.state_path)
    Gateway.start(secret, wait=False)
    wait_for("its end", lambda: not secret.alive())
    check(secret.child.returncode not in (0, None) and "does not take this user and password" in secret.log(), secret.log()[-1500:])
    check("wrong one" not in secret.log(), "the password is in the log")
    secret.remove()
    redis.stop()


def test_sentinel_failover(env):
    """The master dies under load: the sentinel names another one, and nothing is lost."""
    master = Redis()
    replica = Redis(replica_of=master)
    sentinel = Sentinel(master)
    wait_for("the replica in step", lambda: sentinel.replicas() == 1)
    gw = Gateway(routes(env), start=False, workers=1)
    gw.config["state"] = {"store": "redis", "sentinels": [f"127.0.0.1:{sentinel.port}"], "master": sentinel.name,
                          "path": gw.state_path, "refresh_ms": 200}
    gw.start()
    with Traffic(gw):
        gw.admin.set_weight("r", 0.4)
        master.kill()
        down(gw)
        gw.admin.set_weight("r", 0.45)
        sentinel.wait_failover(master)
        up(gw)
        equal(store(gw)["address"], f"127.0.0.1:{replica.port}")
        wait_for("stored there", lambda: replica.hash("phoenix:weight:r").get("weight_bp") == "4500")
    gw.stop()
    sentinel.stop()
    replica.stop()
    master.remove()

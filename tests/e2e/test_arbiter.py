# SPDX-License-Identifier: Apache-2.0
"""
arbiter: whole migrations, from "Not Started" to "Migration Complete" or "Rollback triggered", with the words
and the arithmetic of the contract. Intervals are short; the thresholds are the real ones where it says so.
"""
import json
import re
import threading
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, ask, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
QUICK = {"policy": "literal", "min_samples": 20, "step": 0.25, "interval_ms": 100, "rollback_min_samples": 20}


def good(ex):
    return response(200, b'{"v": 1}', {"Content-Type": "application/json"})


def wrong(ex):
    return response(200, b'{"v": 2}', {"Content-Type": "application/json"})


def setup():
    env = Bench()
    env.legacy, env.modern, env.hook = env.own(Upstream(good)), env.own(Upstream(good)), env.own(Upstream(
        lambda ex: (ex.read_body(), response(204, b"", length=False))[1]))
    names = ["complete", "rollback", "verbs", "pausing", "exact", "exact-wrong", "still", "after", "late", "shadow-dead", "seen"]
    routes = []
    for name in names:
        arbiter = dict(QUICK)
        if name.startswith("exact"):
            arbiter = {"interval_ms": 100}  # the defaults: > 0.99 of > 100 samples, steps of 0.10
        if name == "pausing":
            arbiter["on_failure"] = "pause"
        if name in ("rollback", "pausing"):
            arbiter["notify"] = [env.hook.url + f"/hook/{name}"]
        if name == "verbs":
            arbiter["min_samples"] = 1000000
        routes.append(route(name, f"/{name}", legacy=env.legacy.url, modern=env.modern.url, sample=1.0, arbiter=arbiter))
    env.gw = env.own(Gateway(routes, sanitized=True))
    env.admin = env.gw.admin
    return env


def use(env, modern=good):
    env.legacy.handler, env.modern.handler = good, modern
    env.legacy.forget()
    env.modern.forget()


def begin(env, name):
    """A migration that the file enables may have begun by itself; otherwise it is started."""
    if env.admin.route(name)["state"] == "idle":
        env.admin.ok("POST", f"/admin/routes/{name}/start", {"reason": "a test"})
    return env.admin.wait_state(name, "mirroring", "holding", "migrating")


class Traffic:
    """Requests on one connection until stop(); every answer must be 200."""

    def __init__(self, env, path, pause_s=0.0):
        self.env, self.path, self.pause_s = env, path, pause_s
        self.on, self.failed, self.count = True, None, 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            with Client(self.env.gw.address) as c:
                while self.on:
                    equal(c.ask("GET", self.path).status, 200)
                    self.count += 1
                    if self.pause_s:
                        time.sleep(self.pause_s)
        except Exception as error:
            self.failed = error

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.on = False
        self.thread.join(10)
        if exc[0] is None and self.failed:
            raise AssertionError(f"a request failed during the migration: {self.failed!r}")


@timeout(60)
def test_to_completion(env):
    use(env)
    begin(env, "complete")
    headlines = []
    with Traffic(env, "/complete"):
        def look():
            r = env.admin.route("complete")
            if not headlines or headlines[-1] != r["headline"]:
                headlines.append(r["headline"])
            return r["state"] == "complete"
        wait_for("completion", look, 30, 0.01)
        r = env.admin.route("complete")
        equal(r["headline"], "Migration Complete")
        equal((r["weight"]["wanted"], r["weight"]["set"]), (1.0, 1.0))
        env.legacy.forget()
        wait_for("more requests", lambda: len(env.modern.seen) > 50 and env.legacy.seen)
    primaries = [e for e in env.legacy.seen[5:] if e.get("x-phoenix-shadow") is None]
    equal(primaries, [], "requests served by legacy after completion")
    for line in headlines:
        check(re.fullmatch(r"Not Started: 100% on Legacy|Mirroring: 0% Traffic Shifted|Migration Complete|"
                           r"Migration in Progress: (25|50|75|100)% Traffic Shifted|Holding at \d+%: .+", line), line)
    decisions = env.admin.json("/admin/routes/complete/decisions")["decisions"]
    steps = [(d["weight_old"], d["weight_new"]) for d in decisions if d["weight_new"] != d["weight_old"]]
    equal(steps, [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)], "the ledger's steps")
    for d in decisions:
        if d["action"] == "promote":
            check(d["n"] > 20 and 100 * (d["n"] - d["mismatches"]) > 99 * d["n"], d)
            equal(d["by"], "arbiter")
    check(decisions[-1]["action"] in ("complete", "promote"), decisions[-1])


@timeout(60)
def test_rollback(env):
    """A modern service that is wrong from 25 % on: back to 0, with the evidence in the contract's words."""
    use(env)
    env.hook.forget()
    begin(env, "rollback")
    with Traffic(env, "/rollback"):
        wait_for("the first step", lambda: env.admin.weight("rollback")["wanted"] >= 0.25, 20)
        env.modern.handler = wrong
        r = env.admin.wait_state("rollback", "rolled_back", timeout_s=20)
        equal(r["headline"], "Rollback triggered")
        equal((r["weight"]["wanted"], r["weight"]["set"]), (0.0, 0.0))
        reason = r["rollback"]["reason"]
        match = re.fullmatch(r"consistency (\d+(?:\.\d+)?)% < 95% \((\d+) of (\d+)\)", reason)
        check(match, f"the contract's words: {reason!r}")
        k, n = int(match[2]), int(match[3])
        check(n >= 20 and 100 * k < 95 * n, f"the arithmetic: {reason}")
        check(abs(float(match[1]) - 100 * k / n) <= 0.06, f"the percentage: {reason}")
        # verified: legacy serves everything now
        time.sleep(0.1)
        env.modern.forget()
        with Client(env.gw.address) as c:
            for _ in range(50):
                c.ask("GET", "/rollback")
        equal([e for e in env.modern.seen if e.get("x-phoenix-shadow") is None], [], "served by modern after the rollback")
        wait_for("the rollback being verified", lambda: env.admin.route("rollback")["rollback"]["verified"] is True)
        # latched, however good it is again
        env.modern.handler = good
        env.modern.forget()
        wait_for("plenty of good samples", lambda: len(env.modern.seen) > 150)
        equal(env.admin.route("rollback")["state"], "rolled_back", "latched until retry")
        equal(env.admin.weight("rollback")["wanted"], 0.0)
        # told to those who asked for it
        wait_for("the webhook", lambda: any(e.read for e in env.hook.seen))
        call = env.hook.seen[0]
        equal((call.method, call.target), ("POST", "/hook/rollback"))
        check(call.get("content-type", "").startswith("application/json"))
        text = json.dumps(json.loads(call.body))
        check("Rollback triggered" in text and reason in text and '"rollback"' in text, text)
        check("Rollback triggered" in env.gw.log(), "the log has the alert")
        events = env.admin.json("/admin/events")["events"]
        check(any(e["route"] == "rollback" and "Rollback triggered" in e["message"] and e["level"] == "alert" for e in events))
        # and after a retry it goes on
        env.admin.ok("POST", "/admin/routes/rollback/retry", {"reason": "fixed"})
        env.admin.wait_state("rollback", "complete", timeout_s=30)
    decision = next(d for d in env.admin.json("/admin/routes/rollback/decisions")["decisions"] if d["action"] == "rollback")
    equal((decision["n"], decision["n"] - decision["mismatches"], decision["weight_new"]), (n, k, 0.0))
    check(decision["top_pointers"][0]["pointer"] == "/v", decision)
    check((env.admin.metric("phoenix_rollbacks_total") or 0) >= 1)


@timeout(40)
def test_exact_boundary_of_promotion(env):
    """n > 100: after 100 equal samples nothing moves, the 101st moves it by one step of 0.10."""
    use(env)
    begin(env, "exact")
    with Client(env.gw.address) as c:
        for _ in range(100):
            c.ask("GET", "/exact")
        wait_for("100 samples", lambda: env.admin.route("exact")["consistency"]["samples"] == 100)
        time.sleep(0.5)  # five intervals of the arbiter
        r = env.admin.route("exact")
        equal((r["weight"]["wanted"], r["consistency"]["samples"]), (0.0, 100))
        check("100 of 101 samples" in json.dumps(r) or "100 of 100 samples" in json.dumps(r), "says what it waits for", r)
        c.ask("GET", "/exact")
        wait_for("the step", lambda: env.admin.weight("exact")["wanted"] == 0.1, 5)
        r = env.admin.route("exact")
        equal(r["consistency"]["samples"], 0, "samples count afresh at each step")
        equal(r["headline"] if r["state"] == "migrating" else "Migration in Progress: 10% Traffic Shifted",
              "Migration in Progress: 10% Traffic Shifted")


@timeout(40)
def test_exact_boundary_of_rollback(env):
    """2 of 101 wrong is 98.0 %: neither > 99 % nor < 95 %, so it holds. More wrong ones until below 95 %."""
    answers = {"wrong": 0}

    def modern(ex):
        if answers["wrong"] > 0:
            answers["wrong"] -= 1
            return wrong(ex)
        return good(ex)
    use(env, modern)
    # the two wrong ones must not come first: 18 of 20 would be 90 %
    begin(env, "exact-wrong")
    with Client(env.gw.address) as c:
        def send(n, bad):
            for i in range(n):
                answers["wrong"] = 1 if i < bad else 0
                before = env.admin.route("exact-wrong")["consistency"]["samples"]
                c.ask("GET", "/exact-wrong")
                wait_for("the sample", lambda: env.admin.route("exact-wrong")["consistency"]["samples"] > before)
        for _ in range(60):
            c.ask("GET", "/exact-wrong")
        wait_for("60", lambda: env.admin.route("exact-wrong")["consistency"]["samples"] == 60)
        send(2, 2)
        for _ in range(39):
            c.ask("GET", "/exact-wrong")
        wait_for("101", lambda: env.admin.route("exact-wrong")["consistency"]["samples"] == 101)
        time.sleep(0.5)
        r = env.admin.route("exact-wrong")
        equal((r["weight"]["wanted"], r["consistency"]["mismatches"]), (0.0, 2))
        check(r["state"] in ("holding", "mirroring"), r["state"])
        # 99 of 104 is 95.19 %: still no rollback; 99 of 105 is 94.29 %
        send(3, 3)
        time.sleep(0.5)
        check(env.admin.route("exact-wrong")["state"] != "rolled_back", "99 of 104 is not below 95 %")
        answers["wrong"] = 1
        c.ask("GET", "/exact-wrong")  # the rollback begins a new count at once
        r = env.admin.wait_state("exact-wrong", "rolled_back", timeout_s=5)
        equal(r["rollback"]["reason"], "consistency 94.3% < 95% (99 of 105)")


def test_no_traffic_holds(env):
    use(env)
    begin(env, "still")
    with Client(env.gw.address) as c:
        for _ in range(12):
            c.ask("GET", "/still")
    wait_for("12 samples", lambda: env.admin.route("still")["consistency"]["samples"] == 12)
    time.sleep(1.0)  # ten intervals without a request
    r = env.admin.route("still")
    equal(r["weight"]["wanted"], 0.0)
    check(r["state"] in ("mirroring", "holding"), r["state"])
    check(re.search(r"12 of 2[01] samples", json.dumps(r)), "says how many it has seen", r)


@timeout(40)
def test_dead_shadow_is_no_match(env):
    use(env, lambda ex: ex.close())
    begin(env, "shadow-dead")
    with Traffic(env, "/shadow-dead"):
        r = env.admin.wait_state("shadow-dead", "rolled_back", timeout_s=15)
    equal(r["weight"]["wanted"], 0.0)


@timeout(40)
def test_on_failure_pause(env):
    """on_failure: pause keeps the weight and stops."""
    use(env)
    env.hook.forget()
    begin(env, "pausing")
    with Traffic(env, "/pausing"):
        wait_for("the first step", lambda: env.admin.weight("pausing")["wanted"] >= 0.25, 20)
        env.modern.handler = wrong
        r = env.admin.wait_state("pausing", "paused", timeout_s=20)
        check(re.fullmatch(r"Paused at \d+% by .*", r["headline"]), r["headline"])
        check(r["weight"]["wanted"] > 0)
        wait_for("the webhook", lambda: any(e.read for e in env.hook.seen))


def test_verbs(env):
    """Each verb in the states it is for; elsewhere a 409 that lists what is possible."""
    use(env)
    begin(env, "verbs")

    def post(verb, body=None):
        return env.admin.post(f"/admin/routes/verbs/{verb}", {"reason": "because"} if body is None else body)
    for _ in range(3):
        reply = post("promote")
        equal(reply.status, 200, reply)
    equal(env.admin.weight("verbs")["set"], 0.75)
    equal(post("pause").status, 200)
    r = env.admin.route("verbs")
    equal(r["state"], "paused")
    check(re.fullmatch(r"Paused at 75% by \S.*", r["headline"]), r["headline"])
    check(r["paused"]["reason"] == "because" and r["paused"]["since"], r["paused"])
    for verb in ("pause", "start", "retry"):
        reply = post(verb)
        equal(reply.status, 409, verb)
        equal(reply.get("content-type").split(";")[0], "application/problem+json")
        check(set(reply.json()["possible"]) >= {"resume", "rollback"} and verb not in reply.json()["possible"], reply)
    equal(sorted(reply.json()["possible"]), sorted(r["verbs"]), "the same list as in the status")
    equal(post("resume").status, 200)
    check(env.admin.route("verbs")["state"] in ("migrating", "holding"))
    equal(post("rollback", {}).status, 200, "the reason is optional")
    r = env.admin.route("verbs")
    equal((r["state"], r["headline"], r["weight"]["set"]), ("rolled_back", "Rollback triggered", 0.0))
    for verb in ("promote", "resume", "start", "pause"):
        equal(post(verb).status, 409, verb)
    equal(post("retry").status, 200)
    check(env.admin.route("verbs")["state"] in ("mirroring", "holding"))
    equal(env.admin.post("/admin/routes/verbs/explode", {}).status, 404)
    equal(env.admin.post("/admin/routes/nope/pause", {}).status, 404)
    actions = [d["action"] for d in env.admin.json("/admin/routes/verbs/decisions")["decisions"]]
    for action in ("pause", "resume", "rollback", "retry"):
        check(action in actions, f"{action} is in the ledger", actions)
    audit = env.admin.json("/admin/audit")["entries"]
    check(any("verbs/pause" in a["path"] and a["status"] == 200 and a["reason"] == "because" and a["who"] for a in audit), audit[-5:])


@timeout(40)
def test_rollback_after_completion(env):
    use(env)
    begin(env, "after")
    with Traffic(env, "/after"):
        env.admin.wait_state("after", "complete", timeout_s=30)
        started = time.monotonic()
        env.admin.ok("POST", "/admin/routes/after/rollback", {"reason": "changed my mind"})
        check(time.monotonic() - started < 1.0)
        r = env.admin.route("after")
        equal((r["state"], r["weight"]["set"]), ("rolled_back", 0.0))
    equal(ask(env.gw.address, "GET", "/after").status, 200)


@timeout(60)
def test_crash_in_the_middle_goes_on(env):
    """kill -9 at 50 %: the migration continues from there, and a rolled back one stays so."""
    gw = Gateway([route("a", "/a", legacy=env.legacy.url, modern=env.modern.url, sample=1.0, arbiter=QUICK),
                  route("b", "/b", legacy=env.legacy.url, modern=env.modern.url, sample=1.0, arbiter=QUICK)])
    try:
        use(env)

        class Env:
            pass
        mine = Env()
        mine.gw, mine.admin = gw, gw.admin
        begin(mine, "a")
        begin(mine, "b")
        gw.admin.ok("POST", "/admin/routes/b/rollback", {"reason": "no"})
        with Traffic(mine, "/a") as traffic:
            wait_for("half way", lambda: gw.admin.weight("a")["wanted"] >= 0.5, 20)
            traffic.on = False
        weight = gw.admin.weight("a")["wanted"]
        gw.kill()
        gw.restart()
        check(gw.admin.weight("a")["wanted"] >= weight, "the weight after the crash")
        equal(gw.admin.route("b")["state"], "rolled_back")
        with Traffic(mine, "/a"):
            gw.admin.wait_state("a", "complete", timeout_s=30)
        ledger = gw.admin.json("/admin/routes/a/decisions")["decisions"]
        check(ledger, "the ledger survives or goes on")
    finally:
        gw.stop()


@timeout(40)
def test_changes_are_seen_by_events(env):
    """An SSE listener sees the weight change, with ids that only grow."""
    from lib.admin import Events
    use(env)
    begin(env, "seen")
    events = Events(("127.0.0.1", env.gw.admin_port))
    try:
        with Traffic(env, "/seen"):
            ids, got = [], []
            while not any(e.get("event") == "weight" and '"seen"' in e["data"] for e in got):
                event = events.next()
                if "id" in event:
                    ids.append(int(event["id"]))
                    got.append(event)
        equal(ids, sorted(set(ids)), "ids grow")
    finally:
        events.close()

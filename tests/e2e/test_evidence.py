# SPDX-License-Identifier: Apache-2.0
"""
evidence: what the samples are worth. Legacy asked twice to learn its noise, marked requests told apart from
real ones, shapes of requests counted, and a ledger that is decided again from the file it was written to.
"""
import itertools
import json
import os
import subprocess

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, ask, response, wait_for
from lib.process import Gateway, built, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
JSON = {"Content-Type": "application/json"}
QUICK = {"min_samples": 20, "step": 0.5, "interval_ms": 50, "rollback_min_samples": 20}
counter = itertools.count()


def good(ex):
    return response(200, b'{"v": 1}', JSON)


def noisy(ex):
    """A clock that never stands still, beside something that is right."""
    return response(200, json.dumps({"v": 1, "meta": {"at": next(counter)}, "list": [{"id": next(counter)}]}), JSON)


def setup():
    env = Bench()
    env.legacy, env.modern = env.own(Upstream(good)), env.own(Upstream(good))
    both = {"legacy": env.legacy.url, "modern": env.modern.url, "sample": 1.0}
    off = {"enabled": True, "min_samples": 1000000, "rollback_min_samples": 1000000, "interval_ms": 50}
    env.gw = env.own(Gateway([
        route("twice", "/twice", mirror={"control": 1.0}, arbiter=off, **both),
        route("never", "/never", mirror={"control": 0}, arbiter=off, **both),
        route("some", "/some", mirror={"control": 0.1}, arbiter=off, **both),
        route("unsafe", "/unsafe", mirror={"control": 1.0, "unsafe_methods": True}, arbiter=off, **both),
        route("modern", "/modern", mirror={"control": 1.0}, arbiter=dict(off, watch_alarm=0), weight=1.0, **both),
        route("noisy", "/noisy", mirror={"control": 1.0}, arbiter=off, **both),
        route("apply", "/apply", mirror={"control": 1.0}, compare={"noise": "apply"}, arbiter=off, **both),
        route("marked", "/marked", arbiter=dict(QUICK, synthetic_max_weight=0.5), **both),
        route("shapes", "/shapes", arbiter=dict(QUICK, min_shapes=2), **both),
        route("absent", "/absent", arbiter=QUICK, **both),
        route("goes", "/goes", arbiter=dict(QUICK, min_success=0), **both),
        route("broken", "/broken", arbiter=QUICK, **both),
        route("keyed", "/keyed", split={"by": "header:X-User"}, weight=0.5, arbiter=off, **both),
        route("ledger", "/ledger", arbiter=dict(QUICK), **both),
    ], sanitized=True))
    env.admin = env.gw.admin
    return env


def use(env, legacy=good, modern=good):
    env.legacy.handler, env.modern.handler = legacy, modern
    env.legacy.forget()
    env.modern.forget()


def send(env, path, count, fields=None, method="GET"):
    with Client(env.gw.address) as c:
        for _ in range(count):
            equal(c.ask(method, path, fields or {}).status, 200)


def consistency(env, name):
    return env.admin.route(name)["consistency"]


def wait_samples(env, name, count):
    wait_for(f"{count} samples of {name}", lambda: consistency(env, name)["samples"] >= count)
    equal(consistency(env, name)["samples"], count, "samples")


def shadows(upstream):
    return [e for e in upstream.seen if e.get("x-phoenix-shadow") == "1"]


# --- legacy asked twice -------------------------------------------------------------------------------------

@table([("twice", 10, 10, 10), ("never", 10, 0, 10), ("unsafe", 10, 0, 10)])
def test_control_arm(env, row):
    """(route, requests, second questions to legacy, shadows at modern)"""
    name, count, again, mirrored = row
    use(env)
    send(env, f"/{name}", count, method="POST" if name == "unsafe" else "GET")
    wait_samples(env, name, count)
    equal((len(shadows(env.legacy)), len(shadows(env.modern))), (again, mirrored), "asked")
    noise = consistency(env, name)["noise"]
    equal((noise["samples"], noise["differing"], noise["proposed"]), (again, 0, []))
    equal(consistency(env, name)["mismatches"], 0)


def test_control_share(env):
    """A tenth of the samples: every stratum of ten holds exactly one."""
    use(env)
    send(env, "/some", 100)
    wait_samples(env, "some", 100)
    equal(consistency(env, "some")["noise"]["samples"], 10)
    equal(len(shadows(env.legacy)), 10)


def test_control_arm_at_full_weight(env):
    """Modern serves; its shadow at legacy and the second question make the pair."""
    use(env, noisy, good)
    send(env, "/modern", 5)
    wait_samples(env, "modern", 5)
    equal((len(shadows(env.legacy)), len(env.modern.seen)), (10, 5))
    noise = consistency(env, "modern")["noise"]
    equal((noise["samples"], noise["differing"]), (5, 5))


@table([("dead", lambda ex: ex.close()), ("broken", lambda ex: ex.send(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"))])
def test_a_failed_second_answer_costs_nothing(env, row):
    """The sample was complete before: it counts as it is."""
    use(env)
    before = consistency(env, "twice")
    env.legacy.handler = lambda ex: good(ex) if ex.get("x-phoenix-shadow") is None else row[1](ex)
    send(env, "/twice", 5)
    wait_for("five more", lambda: consistency(env, "twice")["samples"] >= before["samples"] + 5)
    after = consistency(env, "twice")
    equal((after["samples"] - before["samples"], after["mismatches"]), (5, 0))
    equal(after["noise"]["samples"], before["noise"]["samples"], "pairs of answers")


def test_noise_is_proposed_then_ignored_by_hand(env):
    use(env, noisy, noisy)
    send(env, "/noisy", 10)
    wait_samples(env, "noisy", 10)
    c = consistency(env, "noisy")
    equal(c["mismatches"], 10, "proposals mask nothing")
    equal(sorted(c["noise"]["proposed"]), ["/list/*/id", "/meta/at"])
    diffs = env.admin.json("/admin/routes/noisy/diffs")
    equal(sorted(p["pointer"] for p in diffs["noise"]["places"] if p["proposed"]), ["/list/*/id", "/meta/at"])
    wait_for("being told", lambda: any(e["route"] == "noisy" and "disagrees with itself" in e["message"]
                                       for e in env.admin.json("/admin/events")["events"]), 5)
    out = ctl(env, "diff", "ls", "noisy")
    check("/meta/at" in out.stdout and "diff ignore noisy --proposed" in out.stdout + out.stderr, out)
    equal(ctl(env, "diff", "ignore", "noisy", "--proposed").returncode, 0)
    equal(sorted(env.admin.json("/admin/routes/noisy")["config"]["compare"]["ignore"]), ["/list/*/id", "/meta/at"])
    send(env, "/noisy", 10)
    wait_samples(env, "noisy", 10)
    c = consistency(env, "noisy")
    equal((c["mismatches"], c["noise"]["proposed"]), (0, []))
    equal(sorted(c["ignored_pointers"]), ["/list/*/id", "/meta/at"], "what is ignored stands beside it")
    check(all(g["ignored"] for g in env.admin.json("/admin/routes/noisy/diffs")["groups"]))


@timeout(30)
def test_noise_is_ignored_by_policy(env):
    use(env, noisy, noisy)
    send(env, "/apply", 25)
    wait_for("the rule", lambda: sorted(env.admin.json("/admin/routes/apply")["config"]["compare"]["ignore"])
             == ["/list/*/id", "/meta/at"], 10)
    send(env, "/apply", 10)
    wait_for("samples", lambda: consistency(env, "apply")["samples"] >= 10)
    equal(consistency(env, "apply")["mismatches"], 0)
    check(any("ignored from now on" in e["message"] for e in env.admin.json("/admin/events")["events"]))


# --- what the samples are -----------------------------------------------------------------------------------

@timeout(30)
def test_synthetic_evidence_is_capped(env):
    use(env)
    send(env, "/marked", 30, {"X-Phoenix-Synthetic": "1"})
    wait_for("50 %", lambda: env.admin.weight("marked")["wanted"] == 0.5)
    send(env, "/marked", 200, {"X-Phoenix-Synthetic": "1"})
    r = env.admin.wait_state("marked", "holding")
    equal(r["weight"]["wanted"], 0.5)
    check("needs enough evidence from real traffic: 0 of" in r["headline"], r["headline"])
    send(env, "/marked", 21)
    wait_for("100 %", lambda: env.admin.weight("marked")["wanted"] == 1.0)


@timeout(30)
def test_one_shape_is_not_enough(env):
    use(env)
    send(env, "/shapes", 100)
    r = env.admin.wait_state("shapes", "holding")
    check("1 of 2 distinct request shapes seen" in r["headline"], r["headline"])
    equal(r["consistency"]["shapes"]["distinct"], 1)
    send(env, "/shapes?page=1", 1)
    wait_for("the step", lambda: env.admin.weight("shapes")["wanted"] == 0.5)
    equal(env.admin.route("shapes")["consistency"]["shapes"]["distinct"], 0, "shapes count afresh at each step")


def answer(status):
    return lambda ex: response(status, b'{"error": "x"}', JSON)


def ask_often(env, path, count, status):
    with Client(env.gw.address) as c:
        for _ in range(count):
            equal(c.ask("GET", path).status, status)


@timeout(30)
def test_errors_alone_promote_nothing(env):
    """All 404 on both sides agree perfectly, and show nothing; one success is enough, or a policy that asks for none."""
    use(env, answer(404), answer(404))
    ask_often(env, "/absent", 60, 404)
    wait_samples(env, "absent", 60)
    wait_for("the reason", lambda: "0 of 1 successful samples seen: 60 of 60 were answered with an error" in
             env.admin.route("absent")["headline"] + env.admin.route("absent")["detail"])
    c = consistency(env, "absent")
    equal((c["matches"], c["successes"], c["min_success"]), (60, 0, 1))
    equal(env.admin.weight("absent")["wanted"], 0.0)
    use(env)
    send(env, "/absent", 1)
    wait_for("a step", lambda: env.admin.weight("absent")["wanted"] == 0.5)
    use(env, answer(410), answer(410))
    ask_often(env, "/goes", 25, 410)
    wait_for("a step", lambda: env.admin.weight("goes")["wanted"] == 0.5)


@timeout(30)
def test_when_both_fail_nothing_is_known(env):
    """A 5xx of both is neither a match nor a mismatch, equal or not; a 5xx of one side is a mismatch."""
    use(env, answer(503), answer(503))
    ask_often(env, "/broken", 30, 503)
    use(env, answer(500), answer(503))
    ask_often(env, "/broken", 10, 500)
    wait_for("the count", lambda: consistency(env, "broken")["not_comparable"].get("both_failed") == 40)
    equal((consistency(env, "broken")["samples"], env.admin.weight("broken")["wanted"]), (0, 0.0))
    use(env, good, answer(500))
    send(env, "/broken", 3)
    wait_for("mismatches", lambda: consistency(env, "broken")["mismatches"] == 3)
    use(env, answer(500), good)
    ask_often(env, "/broken", 3, 500)
    wait_for("mismatches", lambda: consistency(env, "broken")["mismatches"] == 6)


def test_keyed_split_counts_keys(env):
    use(env)
    with Client(env.gw.address) as c:
        for i in range(60):
            for _ in range(1 + i % 3):
                c.ask("GET", "/keyed", {"X-User": f"user-{i}"})
    wait_samples(env, "keyed", 120)
    split = consistency(env, "keyed")["split"]
    equal((split["of"], split["legacy"] + split["modern"]), ("keys", 60))
    check(10 < split["modern"] < 50 and split["chi_square"] < 25, split)


# --- the ledger decides again -------------------------------------------------------------------------------

def ctl(env, *words):
    return subprocess.run([built("phoenixctl"), *words, "--admin", "unix:" + env.gw.socket_path],
                          capture_output=True, text=True, timeout=20, env={**os.environ, "NO_COLOR": "1"})


def offline(*words):
    return subprocess.run([built("phoenixctl"), *words], capture_output=True, text=True, timeout=20,
                          env={"PATH": os.environ["PATH"], "NO_COLOR": "1", "PHOENIX_ADMIN": "unix:/nonexistent"})


@timeout(40)
def test_replay(env):
    use(env)
    send(env, "/ledger", 21)
    wait_for("50 %", lambda: env.admin.weight("ledger")["wanted"] == 0.5)
    env.admin.ok("POST", "/admin/routes/ledger/pause", {"reason": "a person"})
    env.admin.ok("POST", "/admin/routes/ledger/resume", {})
    env.modern.handler = lambda ex: response(200, b'{"v": 2}', JSON)
    send(env, "/ledger", 40)
    env.admin.wait_state("ledger", "rolled_back")
    # of a route, asked of the daemon
    out = ctl(env, "decisions", "replay", "ledger")
    equal(out.returncode, 0, out)
    check("the same" in out.stdout + out.stderr, out)
    # of a file, with no daemon in reach: the ledger itself, and what `decisions -o json` prints
    ledger = env.gw.state_path.replace(".json", ".decisions.jsonl")
    out = offline("decisions", "replay", ledger)
    equal(out.returncode, 0, out)
    printed = ctl(env, "decisions", "ledger", "-o", "json").stdout
    path = os.path.join(os.path.dirname(ledger), "printed.json")
    with open(path, "w") as f:
        f.write(printed)
    out = offline("decisions", "replay", path, "-o", "json")
    equal(out.returncode, 0, out)
    counts = json.loads(out.stdout)
    check(counts["same"] >= 2 and counts["by_people"] == 2 and counts["different"] is None, counts)
    # one figure changed: the first that differs is named
    lines = open(ledger).read().splitlines()
    changed = next(i for i, line in enumerate(lines) if '"action":"rollback"' in line and '"route":"ledger"' in line)
    record = json.loads(lines[changed])
    record["evidence"]["facts"]["mismatches"] -= 20
    lines[changed] = json.dumps(record)
    forged = os.path.join(os.path.dirname(ledger), "forged.jsonl")
    with open(forged, "w") as f:
        f.write("\n".join(lines) + "\n")
    out = offline("decisions", "replay", forged)
    equal(out.returncode, 1, out)
    check(f"decision {changed + 1} differs" in out.stderr and "ledger" in out.stderr and "rollback" in out.stderr and record["at"] in out.stderr, out)
    for bad, status in ((b"", 1), (b"{\n", 1), (b"\xff\xfe{}\n", 1), (b'{"decisions": 7}', 1), (b"[1]", 1)):
        with open(forged, "wb") as f:
            f.write(bad)
        out = offline("decisions", "replay", forged)
        equal(out.returncode, status, (bad, out))
    equal(offline("decisions", "replay").returncode, 2)

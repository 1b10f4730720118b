# SPDX-License-Identifier: Apache-2.0
"""
restart_evidence: what was counted survives a restart and kill -9. Exactly after a clean stop, never more than was
counted after a crash, and never as evidence about something else; alone and in a fleet.
"""
import json
import os

from lib.case import Bench, check, equal, timeout
from lib.fleet import Fleet
from lib.net import Client, response, wait_for
from lib.process import Gateway, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
JSON = {"Content-Type": "application/json"}
NEVER = {"policy": "bounded", "min_samples": 1000000, "rollback_min_samples": 1000000, "interval_ms": 50}


def setup():
    env = Bench()
    env.value = {"modern": 1}
    env.legacy = env.own(Upstream(lambda ex: response(200, b'{"v": 1}', JSON)))
    env.modern = env.own(Upstream(lambda ex: response(200, json.dumps({"v": env.value["modern"]}), JSON)))
    return env


def start(env, arbiter, **more):
    return Gateway([route("r", "/r", legacy=env.legacy.url, modern=env.modern.url, sample=1.0, arbiter=arbiter, **more)],
                   sanitized=True)


def counts(gw):
    c = gw.admin.route("r")["consistency"]
    return c["samples"], c["mismatches"], c["build"]["samples"], c["build"]["mismatches"]


def send(env, gw, good, bad=0):
    """Counted when it returns."""
    before = counts(gw)
    for value, count in ((1, good), (2, bad)):
        env.value["modern"] = value
        so_far = counts(gw)[0]
        with Client(gw.address) as c:
            for _ in range(count):
                equal(c.ask("GET", "/r").status, 200)
        wait_for("the samples", lambda: counts(gw)[0] >= so_far + count)
    want = tuple(b + n for b, n in zip(before, (good + bad, bad, good + bad, bad)))
    equal(counts(gw), want)


def written(gw, samples, mismatches):
    """The file's line about the route: id, format, number, step, what it is about, samples, mismatches, ..."""
    try:
        with open(gw.state_path + ".evidence") as file:
            lines = [line.split() for line in file]
    except FileNotFoundError:
        return False
    return [words[5:7] for words in lines if words[0] == "r"] == [[str(samples), str(mismatches)]]


@timeout(60)
def test_clean_stop_and_crash(env):
    gw = start(env, NEVER)
    try:
        send(env, gw, 30, 4)
        gw.end()
        gw.restart()
        equal(counts(gw), (34, 4, 34, 4), "after a clean stop")
        send(env, gw, 10, 1)
        wait_for("the file", lambda: written(gw, 45, 5), 20)
        send(env, gw, 7)
        gw.kill()
        gw.restart()
        got = counts(gw)
        check(got in ((45, 5, 45, 5), (52, 5, 52, 5)), f"after kill -9: {got}")
        gw.kill()
        gw.restart()
        equal(counts(gw), got, "after another one, with nothing new")
        gw.admin.set_weight("r", 0.3)
        gw.kill()
        gw.restart()
        equal(counts(gw)[:2], (0, 0), "another step")
        send(env, gw, 5)
        gw.end()
        with open(gw.state_path + ".evidence", "r+") as file:
            text = file.read()
            at = text.index(" 5 0 ")
            file.seek(at)
            file.write(" 9 0 ")
        gw.restart()
        equal(counts(gw)[:2], (0, 0), "a file that somebody changed")
        check(any("is damaged" in e["message"] for e in gw.admin.json("/admin/events")["events"]), "it is told")
    finally:
        gw.stop()


@timeout(60)
def test_promotes_with_what_was_counted_before(env):
    """A step needs 40 samples: 30 before the restart and 11 after it."""
    gw = start(env, {"min_samples": 40, "step": 0.5, "interval_ms": 50})
    try:
        send(env, gw, 30)
        gw.end()
        gw.restart()
        equal(gw.admin.weight("r")["wanted"], 0.0)
        env.value["modern"] = 1
        with Client(gw.address) as c:
            for _ in range(11):
                c.ask("GET", "/r")
        wait_for("the step", lambda: gw.admin.weight("r")["wanted"] == 0.5, 10)
    finally:
        gw.stop()


@timeout(60)
def test_watch_alarms_after_a_restart(env):
    """Three mismatches before it, two after it: 5 × 1.61 ≥ 8."""
    gw = start(env, {"interval_ms": 50}, weight=1.0)
    try:
        equal(gw.admin.route("r")["state"], "complete")
        send(env, gw, 0, 3)
        gw.end()
        gw.restart()
        watch = gw.admin.route("r")["consistency"]["watch"]["cusum"]
        check(4.8 < watch < 4.83, watch)
        equal(gw.admin.route("r")["state"], "complete")
        with Client(gw.address) as c:
            for _ in range(2):
                c.ask("GET", "/r")
        r = gw.admin.wait_state("r", "rolled_back", timeout_s=10)
        check("regression after completion" in json.dumps(r), r)
    finally:
        gw.stop()


@timeout(90)
def test_a_fleet_counts_once(env):
    """A follower that is started again: what it counted goes on counting in Redis, and is not said again."""
    f = Fleet([route("r", "/r", legacy=env.legacy.url, modern=env.modern.url, sample=1.0, arbiter=NEVER)], size=2)
    try:
        leader, follower = f.leader(), f.followers()[0]
        env.value["modern"] = 1

        def ask(gw, count):
            with Client(gw.address) as c:
                for _ in range(count):
                    equal(c.ask("GET", "/r").status, 200)

        def sum_is(samples):
            wait_for(f"{samples} samples", lambda: counts(leader)[0] >= samples, 15)
            equal(counts(leader), (samples, 0, samples, 0))
        ask(leader, 10)
        ask(follower, 20)
        sum_is(30)
        for end in (follower.end, follower.kill):
            before = counts(leader)[0]
            wait_for("the file", lambda: os.path.exists(follower.state_path + ".evidence"), 10)
            end()
            follower.restart()
            ask(follower, 5)
            sum_is(before + 5)
    finally:
        f.stop()

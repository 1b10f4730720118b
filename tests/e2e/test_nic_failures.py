# SPDX-License-Identifier: Apache-2.0
"""
nic failures: upstreams that die and come back, daemons that are killed, the program taken off the device, all under
load. What may happen: a 502 for the side that is dead, a broken connection where somebody's kernel lost its state.
What may not: a wrong byte, another side's or route's answer, a request that hangs.
"""
import os
import signal
import time

from lib import nic
from lib.case import Bench, check, equal, timeout
from lib.lab import Checker, Lab, sites
from lib.net import Client, Cut, wait_for
from lib.nic import Count, gateway, right, share, site_routes
from lib.process import Skip, built

SUBJECTS = ("phoenix",)
HEALTH = {"eject_ms": 1000}


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4, rto_min_ms=20))
    env.sites = sites(env.lab)
    env.gw = env.own(gateway(env.lab, site_routes(env.sites, (0.5, 0.5), health=HEALTH), workers=2))
    return env


def load(env, seconds, **more):
    return Checker(env.lab, env.gw.address, env.sites, sizes=(200, 2000, 20000), seconds=seconds, connections=24, **more)


def steady(env, requests=2000):
    """After every disaster: no error, no broken connection, the split exact, on the path under test."""
    for name in ("users", "orders"):
        env.gw.admin.set_weight(name, 0.5)
    wait_for("both sides up again", lambda: not any(
        side["down"] for name in ("users", "orders") for side in env.gw.admin.route(name)["sides"].values()), 15)
    count = Count(env.gw)
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=requests, connections=24).finish(), requests)
    share(report, "users", 0.5)
    count.agrees(report, at_least=0.95)


def answers(report):
    return {side: sum(sides[side] for sides in report["sides"].values()) for side in ("legacy", "modern")}


@timeout(90)
def test_upstream_killed_and_back(env):
    """users-modern is killed under load and started again. Its requests get 502 meanwhile (or fail over by the
    daemon's rules); the other route and the other side do not notice."""
    victim = env.sites["users", "modern"]
    running = load(env, 6, go_on=True, errors=True)
    time.sleep(1)
    victim.kill()
    time.sleep(2)
    victim.start()
    report = right(running.finish())
    check(report["answers"] > 1000, "the others went on", report)
    check(report["broken"] <= 48, "at most what was under way towards the dead one broke", report)
    steady(env)


@timeout(90)
def test_upstream_unreachable(env):
    """The link goes away without a word (no RST): nothing may hang longer than the daemon's time limits."""
    victim = env.lab.links["up3"]
    running = load(env, 5, go_on=True, errors=True, hang_ms=40000)
    time.sleep(1)
    victim.down()
    time.sleep(2)
    victim.up()
    report = right(running.finish())
    check(report["answers"] > 1000, "the others went on", report)
    steady(env)


@timeout(90)
def test_daemon_killed_and_restarted(env):
    """kill -9 under load. What the NIC path serves does not notice; the next daemon adopts it."""
    env.gw.admin.set_weight("users", 0.25)
    running = load(env, 6, go_on=True, errors=True)
    time.sleep(1)
    before = Count(env.gw).start
    env.gw.kill()
    time.sleep(1.5)
    env.gw.restart()
    time.sleep(0.5)
    env.gw.admin.set_weight("orders", 1.0)
    report = right(running.finish())
    check(report["answers"] > 1000, "it went on", report)
    if nic.NIC:
        equal((report["broken"], report["errors"]), (0, 0), "connections that noticed")
        after = Count(env.gw).start
        for name, n in before.items():
            if name[2] == "xdp":
                check(after.get(name, 0) >= n, "the counters went on, too", before, after)
    equal(env.gw.admin.weight("users")["set"], 0.25, "the weight after the restart")
    steady(env)


@timeout(90)
def test_daemon_dead_for_long(env):
    """Without a daemon the NIC path serves new connections as well, by the weights of the moment."""
    if not nic.NIC:
        raise Skip("without the NIC path nobody serves")
    for name in ("users", "orders"):
        env.gw.admin.set_weight(name, 0.0)
    env.gw.kill()
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=3000, per_connection=20).finish(), 3000)
    equal(answers(report), {"legacy": 3000, "modern": 0})
    env.gw.restart()
    steady(env)


@timeout(90)
def test_daemon_stopped_and_started(env):
    """An orderly restart under load: not one request fails."""
    running = load(env, 5, go_on=True, errors=True)
    time.sleep(1)
    equal(env.gw.end(15), 0, "exit status")
    env.gw.restart()
    report = right(running.finish())
    check(report["answers"] > 1000, "it went on", report)
    if nic.NIC:
        equal((report["broken"], report["errors"]), (0, 0), "requests that noticed")
    steady(env)


@timeout(90)
def test_program_detached_under_load(env):
    """phoenixctl xdp detach: the device says that it is gone; clients break or not, come again, and the daemon
    serves them. Not a byte is wrong."""
    if not nic.NIC:
        raise Skip("nothing to detach with xdp.mode off")
    running = load(env, 5, go_on=True, errors=True)
    time.sleep(1)
    env.lab.run("gateway", built("phoenixctl"), "--admin", env.gw.socket_path, "xdp", "detach")
    for link in env.lab.links.values():
        check("xdp" not in env.lab.gateway.interface(link.gateway_device), f"{link.gateway_device} still has a program")
    count = Count(env.gw)
    report = right(running.finish())
    check(report["answers"] > 1000, "it went on", report)
    check(count.of("daemon") > 500, "the daemon took over", count.moved())
    env.gw.end(15)
    env.gw.restart()
    steady(env)


@timeout(90)
def test_reload_under_load(env):
    """SIGHUP under load: routes are swapped without a failed request."""
    running = load(env, 4)
    for i in range(10):
        time.sleep(0.2)
        env.gw.config["routes"] = site_routes(env.sites, (0.5, 0.5), health=HEALTH, compare={"headers": [f"x-{i}"]})
        env.gw.write_config()
        env.gw.signal(signal.SIGHUP)
    right(running.finish())
    steady(env)

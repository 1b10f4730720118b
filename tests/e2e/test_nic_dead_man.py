# SPDX-License-Identifier: Apache-2.0
"""
nic dead man: a gateway whose daemon is dead (SIGKILL) or hangs (SIGSTOP), and the switch that sends everything to
legacy whoever is alive. The clients' every answer is checked byte by byte meanwhile.
"""
import json
import os
import re
import signal
import time

from lib import nic
from lib.case import Bench, check, equal, timeout
from lib.lab import Checker, Lab, bpftool, sites
from lib.net import wait_for
from lib.nic import gateway, pinned, right, share, site_routes
from lib.process import Skip, built

SUBJECTS = ("phoenix",)
AFTER_MS = 1000
README = os.path.join(os.path.dirname(__file__), "..", "..", "bpf", "README.md")


def setup():
    if not nic.NIC:
        raise Skip("without the NIC path nobody serves when the daemon is dead")
    env = Bench()
    env.lab = env.own(Lab(upstreams=4, rto_min_ms=20))
    env.sites = sites(env.lab)
    env.gw = env.own(gateway(env.lab, site_routes(env.sites, (1.0, 0.5), sample=0.5)))
    return env


def configure(env, then):
    """The gateway, alive, with this dead-man and both weights as they were."""
    dead_man = {"after_ms": AFTER_MS, "then": then}
    if env.gw.config["xdp"].get("dead_man") != dead_man or not env.gw.alive():
        env.gw.end(15)
        env.gw.config["xdp"]["dead_man"] = dead_man
        env.gw.start()
    for name, weight in (("users", 1.0), ("orders", 0.5)):
        env.gw.admin.set_weight(name, weight)


def ctl(env, *args):
    return env.lab.run("gateway", built("phoenixctl"), "--admin", env.gw.socket_path, *args)


def xdp_status(env):
    return json.loads(ctl(env, "-o", "json", "xdp", "status", env.gw.pin_dir))


def wait_dead(env):
    wait_for("the dead-man", lambda: xdp_status(env)["dead_man"]["acts"], 10)


def ask(env, requests=240):
    """The report of so many requests, none of them wrong."""
    return right(Checker(env.lab, env.gw.address, env.sites, requests=requests, connections=12, per_connection=30).finish(),
                 requests)


def modern(report, name):
    return report["sides"][name]["modern"]


def all_legacy(env):
    report = ask(env)
    equal((modern(report, "users"), modern(report, "orders")), (0, 0), "requests that modern served")


def as_weighted(env):
    report = ask(env)
    equal(report["sides"]["users"]["legacy"], 0, "requests of users that legacy served at 100 %")
    share(report, "orders", 0.5)


def sampled(env):
    """How many exchanges the program has taken for samples; with the daemon dead, too."""
    routes = json.loads(ctl(env, "-o", "json", "maps", env.gw.pin_dir))["routes"]
    return sum(route["sampled"] for route in routes)


@timeout(90)
def test_legacy_when_the_daemon_is_killed(env):
    configure(env, "legacy")
    as_weighted(env)
    env.gw.kill()
    wait_dead(env)
    before = sampled(env)
    all_legacy(env)
    equal(sampled(env), before, "samples of a gateway that nobody reads")
    env.gw.restart()
    check(re.search(r"no daemon for [0-9.]+ s .*every request went to legacy", env.gw.log()), "the log tells", env.gw.log()[-1500:])
    check(env.gw.admin.json("/admin/datapath")["xdp"]["forced_legacy"] > 0, "they are counted")
    as_weighted(env)


@timeout(90)
def test_a_daemon_that_hangs_is_dead(env):
    configure(env, "legacy")
    env.gw.signal(signal.SIGSTOP)
    try:
        wait_dead(env)
        all_legacy(env)
    finally:
        env.gw.signal(signal.SIGCONT)
    wait_for("the heartbeat", lambda: not xdp_status(env)["dead_man"]["acts"], 10)
    as_weighted(env)


@timeout(90)
def test_continues_when_the_daemon_is_killed(env):
    configure(env, "continue")
    env.gw.kill()
    wait_dead(env)
    before = sampled(env)
    as_weighted(env)
    check(sampled(env) > before, "samples wait for the next daemon")
    env.gw.restart()


@timeout(90)
def test_frozen_when_the_daemon_is_killed(env):
    configure(env, "freeze")
    before = sampled(env)
    as_weighted(env)
    check(sampled(env) > before, "it samples while the daemon lives")
    env.gw.kill()
    wait_dead(env)
    before = sampled(env)
    as_weighted(env)
    equal(sampled(env), before, "samples of a gateway that nobody reads")
    env.gw.restart()
    as_weighted(env)


@timeout(90)
def test_kill_switch_with_the_daemon_dead(env):
    """It outlives the restart, and the new daemon says so."""
    configure(env, "freeze")
    env.gw.kill()
    as_weighted(env)
    out = ctl(env, "kill-switch", env.gw.pin_dir)
    check("kill switch on" in out and "read back from" in out and "the daemon was not told" in out, out)
    all_legacy(env)
    env.gw.restart()
    all_legacy(env)
    status = env.gw.admin.json("/admin/status")
    equal((status["kill_switch"]["on"], status["headline"]), (True, "Kill Switch: 100% on Legacy"))
    item = env.gw.admin.weight("users")
    equal((item["wanted"], item["set"]), (1.0, 0.0))
    out = ctl(env, "kill-switch", "--off", env.gw.pin_dir)
    check("kill switch off" in out and "daemon: 2 routes, the highest weight in force is 100%" in out, out)
    as_weighted(env)


@timeout(90)
def test_kill_switch_with_a_daemon_that_hangs(env):
    configure(env, "freeze")
    env.gw.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        out = ctl(env, "kill-switch", env.gw.pin_dir)
        check("kill switch on" in out, out, time.monotonic() - began)
        all_legacy(env)
    finally:
        env.gw.signal(signal.SIGCONT)
    ctl(env, "kill-switch", "--off", env.gw.pin_dir)
    as_weighted(env)


@timeout(90)
def test_the_documented_line_of_bpftool(env):
    """Literally as bpf/README.md has it, but for the folder."""
    configure(env, "freeze")
    with open(README) as file:
        line = re.search(r"^bpftool (map update pinned /sys/fs/bpf/phoenix/phx_kill .*)$", file.read(), re.M)[1]
    words = line.replace("/sys/fs/bpf/phoenix/", env.gw.pin_dir + "/").split()
    bpftool(*words, parse=False)
    all_legacy(env)
    wait_for("the event", lambda: any("kill switch on" in event["message"] for event in env.gw.admin.items("/admin/events", "events")))
    at = words.index("value")
    bpftool(*words[:at + 1], *["0"] * len(words[at + 1:]), parse=False)
    equal(bpftool("map", "lookup", "pinned", pinned(env.gw, "phx_kill"), "key", "0", "0", "0", "0")["formatted"]["value"]["to_legacy"], 0)
    as_weighted(env)


@timeout(90)
def test_both_paths_obey(env):
    """What the daemon serves is legacy's as well: a connection per request is the daemon's."""
    configure(env, "freeze")
    ctl(env, "kill-switch", "--reason", "fire", env.gw.pin_dir)
    count = nic.Count(env.gw, settled=True)
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=200, connections=4, close=True).finish(), 200)
    equal((modern(report, "users"), modern(report, "orders")), (0, 0), "requests that modern served")
    wait_for("the daemon's count", lambda: count.of("daemon") == 200, 5)
    audit = env.gw.admin.items("/admin/audit", "entries")
    check(any(e["path"] == "/admin/kill-switch" and e["reason"] == "fire" for e in audit), audit[-3:])
    ctl(env, "kill-switch", "--off", env.gw.pin_dir)
    as_weighted(env)

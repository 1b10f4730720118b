# SPDX-License-Identifier: Apache-2.0
"""
nic steady: the main job. Keep-alive requests over two routes and four upstreams: every byte compared, every request
counted by the path that served it, the split exact, and a new weight, from wherever it comes, obeyed by the next
request on connections that are open already.
"""
import json
import threading

from lib import nic
from lib.case import Bench, check, equal, table, timeout
from lib.lab import ROUTES, Checker, Lab, sites
from lib.net import Client, wait_for
from lib.nic import Count, gateway, right, share, site_routes
from lib.process import Skip, built

SUBJECTS = ("phoenix",)
REQUESTS = 100000


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4))
    env.sites = sites(env.lab)
    env.gw = env.own(gateway(env.lab, site_routes(env.sites), workers=2))
    return env


def weights(env, **by_route):
    for name in ROUTES:
        env.gw.admin.set_weight(name, by_route.get(name, 0.0))


@timeout(150)
def test_a_hundred_thousand_requests(env):
    """Two routes, four upstreams, one to three segments an answer, 48 connections."""
    weights(env, users=0.3, orders=0.7)
    count = Count(env.gw)
    report = right(Checker(env.lab, env.gw.address, env.sites, sizes=(200, 13, 1000, 2000, 0), requests=REQUESTS,
                           connections=48).finish(150), REQUESTS)
    equal(report["connections"], 48, "connections that the client needed")
    share(report, "users", 0.3)
    share(report, "orders", 0.7)
    count.agrees(report)


@timeout(90)
def test_large_answers(env):
    weights(env, users=0.5, orders=0.25)
    count = Count(env.gw)
    report = right(Checker(env.lab, env.gw.address, env.sites, sizes=(102400, 20000, 1448, 1460), requests=4000,
                           connections=16).finish(), 4000)
    share(report, "users", 0.5)
    share(report, "orders", 0.25)
    count.agrees(report)


def test_many_short_connections(env):
    """Three requests a connection: gateway ports are used again and again, and no leg answers to the wrong client."""
    weights(env, users=0.5, orders=0.5)
    count = Count(env.gw)
    report = right(Checker(env.lab, env.gw.address, env.sites, sizes=(200, 2000), requests=6000, connections=32,
                           per_connection=3).finish(), 6000)
    check(report["connections"] >= 2000, "connections", report)
    share(report, "users", 0.5)
    count.agrees(report)


@table([0.0, 0.01, 0.25, 0.5, 0.99, 1.0])
def test_share_of_windows(env, row):
    """Any 100 in a row hold 100·w ± 1; at 0 and 1 not one goes astray."""
    env.gw.admin.set_weight("users", row)
    count = Count(env.gw)
    with env.lab.inside("client"):
        clients = [Client(env.gw.address) for _ in range(5)]
    got = []
    for i in range(500):
        answer = clients[i % 5].ask("GET", "/users/200", {"X-Number": str(i)})
        equal(answer.get("x-number"), str(i))
        got.append(answer.get("x-upstream") == "users-modern")
    for c in clients:
        c.close()
    for start in range(0, 400, 50):
        n = sum(got[start:start + 100])
        check(abs(n - 100 * row) <= 1, f"requests {start} to {start + 99}: {n} of 100 at weight {row}")
    if row in (0.0, 1.0):
        equal(sum(got), 500 * int(row), "0 and 1 are absolute")
    check(count.of(nic.PATH, "users") >= 495, "the path under test served them", count.moved())


def _obeys(env, change):
    with env.lab.inside("client"):
        clients = [Client(env.gw.address) for _ in range(16)]
    count = Count(env.gw)
    asked = 0
    for weight, want in ((1.0, "users-modern"), (0.0, "users-legacy")) * 10:
        change(weight)
        for c in clients:
            asked += 1
            answer = c.ask("GET", "/users/200", {"X-Number": str(asked)})
            equal((answer.get("x-upstream"), answer.get("x-number")), (want, str(asked)), f"after weight {weight}")
    for c in clients:
        c.close()
    check(count.of(nic.PATH, "users") >= 0.99 * asked, "the path under test served them", count.moved())


def test_next_request_obeys_rest(env):
    """On open connections, at once after the answer of the POST; wanted and set are what was asked for."""
    def change(weight):
        answer = env.gw.admin.set_weight("users", weight)
        equal((answer["wanted"], answer["set"]), (weight, weight))
    _obeys(env, change)


def test_next_request_obeys_bpftool(env):
    if not nic.NIC:
        raise Skip("no maps with xdp.mode off")
    _obeys(env, lambda weight: nic.set_weight_by_bpftool(env.gw, "users", int(weight * 10000)))
    nic.set_weight_by_bpftool(env.gw, "users", 2500)
    wait_for("the daemon to see it", lambda: env.gw.admin.weight("users")["set"] == 0.25, 5)


@timeout(90)
def test_weights_change_under_load(env):
    """Somebody moves both weights all the time while every byte is compared; afterwards the shares obey again."""
    weights(env, users=0.5, orders=0.5)
    load = Checker(env.lab, env.gw.address, env.sites, sizes=(200, 2000, 20000), requests=20000, connections=32)
    stop = threading.Event()

    def mover():
        step = 0
        while not stop.wait(0.01):
            step += 1
            env.gw.admin.set_weight(ROUTES[step % 2], (step * 37 % 101) / 100)
    thread = threading.Thread(target=mover)
    thread.start()
    try:
        report = load.finish()
    finally:
        stop.set()
        thread.join()
    right(report, 20000)
    weights(env, users=1.0, orders=0.0)
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=2000).finish(), 2000)
    equal((report["sides"]["users"]["legacy"], report["sides"]["orders"]["modern"]), (0, 0), "answers of the wrong side")


def test_bpftool_and_metrics_agree(env):
    """bpftool prints names and words, and the same numbers as /metrics, about the same traffic."""
    if not nic.NIC:
        raise Skip("no maps with xdp.mode off")
    weights(env, users=0.3, orders=0.7)
    count = Count(env.gw)
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=2000).finish(), 2000)
    count.agrees(report)
    slot = nic.slot_of(env.gw, "users")
    total = {"legacy": 0, "modern": 0}
    for name, value in env.gw.admin.metrics().items():
        if name.startswith("phoenix_requests_total") and 'route="users"' in name and 'path="xdp"' in name:
            total["modern" if 'backend="modern"' in name else "legacy"] += int(value)
    dumped = nic.bpftool("map", "lookup", "pinned", nic.pinned(env.gw, "phx_route_stats"), "key",
                         *slot.to_bytes(4, "little"))["formatted"]["value"]["side"]
    equal({"legacy": dumped[0]["requests"], "modern": dumped[1]["requests"]}, total, "bpftool against /metrics")
    policy = nic.bpftool("map", "lookup", "pinned", nic.pinned(env.gw, "phx_policy"), "key",
                         *slot.to_bytes(4, "little"))["formatted"]["value"]
    equal(policy["weight_bp"], 3000, "weight_bp in bpftool's words")
    counters = nic.bpftool("map", "dump", "pinned", nic.pinned(env.gw, "phx_counters"))[0]["formatted"]["values"]
    by_cpu = {}
    for cpu in counters:
        for name, value in cpu["value"]["verdict"].items():
            by_cpu[name.lower()] = by_cpu.get(name.lower(), 0) + value
    told = {name.lower(): n for name, n in nic.verdicts(env.gw).items()}
    maps = json.loads(env.lab.run("gateway", built("phoenixctl"), "maps", env.gw.pin_dir, "-o", "json"))
    route, = [r for r in maps["routes"] if r["slot"] == slot]
    equal((route["weight_bp"], route["legacy_requests"], route["modern_requests"]), (3000, total["legacy"], total["modern"]),
          "phoenixctl maps against bpftool and /metrics")
    for name in ("request", "response"):
        equal(by_cpu[name], told[name], f"verdict {name}: bpftool against /metrics")
        equal(maps["verdicts"][name], told[name], f"verdict {name}: phoenixctl maps against /metrics")


def test_connection_close_is_the_daemons(env):
    """The last test: the sockets that the daemon leaves in TIME_WAIT make connections from the same ports the kernel's."""
    weights(env, users=0.5, orders=0.5)
    count = Count(env.gw)
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=2000, connections=16, close=True).finish(), 2000)
    share(report, "users", 0.5)
    equal(count.of("daemon"), 2000, "requests that the daemon served")

# SPDX-License-Identifier: Apache-2.0
"""
nic sampling: exchanges that the NIC path served reach the judge whole, and the judge says the same about them as about
those that the daemon served. Two gateways get the same traffic: one under test, one without the NIC path.
"""
import json
import os

from lib import nic
from lib.case import Bench, check, equal, table, timeout
from lib.lab import Lab, LabGateway, sites
from lib.net import Client, wait_for
from lib.nic import Count, gateway
from lib.process import route, scratch

SUBJECTS = ("phoenix",)


def files(side):
    """What the route "mix" serves: the same from both sides, or not."""
    return {
        "mix/same": b'{"id": 1, "name": "one"}',
        "mix/order.json": b'{"a": 1, "b": 2}' if side == "legacy" else b'{"b": 2, "a": 1}',
        "mix/differs": b'{"id": 1, "name": "%s"}' % side.encode(),
        "mix/large": b'{"list": [' + b"1234567890, " * 9000 + b"0]}",
        "mix/over": b"x" * 300000,
        "mix/later": b'{"list": [' + b"1234567890, " * 3000 + (b"1]}" if side == "legacy" else b"2]}"),
        **({"mix/missing": b"{}"} if side == "legacy" else {}),
    }


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4, rto_min_ms=20))
    env.sites = sites(env.lab, files=files)
    legacy, modern = env.sites["users", "legacy"].url, env.sites["users", "modern"].url
    routes = [route("mix", "/mix/*", legacy=legacy, modern=modern, weight=0.5, sample=1.0, mirror={"max_body_bytes": 200000}),
              route("some", "/some/*", legacy=legacy, modern=modern, weight=0.5, sample=0.1),
              route("none", "/users/*", legacy=legacy, modern=modern, weight=0.5)]
    env.access = os.path.join(scratch(), "access.log")
    env.gw = env.own(gateway(env.lab, routes, workers=1, access_log={"path": env.access}))
    env.plain = LabGateway(env.lab, routes, mode="off", start=False, workers=1)
    env.plain.config["listen"] = ["198.18.0.1:81"]
    env.plain.address = ("198.18.0.1", 81)
    env.plain.start()
    env.own(env.plain)
    return env


def verdict(gw, name="mix"):
    metrics = gw.admin.metrics()
    return {result: int(metrics[f'phoenix_compare_total{{route="{name}",result="{result}"}}'])
            for result in ("match", "mismatch", "not_comparable")}


def reasons(gw):
    return {key.split('"')[1]: int(value) for key, value in gw.admin.metrics().items()
            if key.startswith("phoenix_not_comparable_total{")}


def ask_all(env, gw, target, n, method="GET", connections=4, fields=()):
    with env.lab.inside("client"):
        clients = [Client(gw.address) for _ in range(connections)]
    for i in range(n):
        clients[i % connections].ask(method, target, fields)
    for client in clients:
        client.close()


@table([("same", 200, 200, 0, 0), ("order.json", 100, 100, 0, 0), ("differs", 100, 0, 100, 0), ("large", 60, 60, 0, 0),
        ("later", 60, 0, 60, 0), ("over", 20, 0, 0, 20), ("missing", 60, 0, 60, 0)])
@timeout(90)
def test_verdicts_equal_those_of_the_daemon(env, row):
    """Every exchange of a row is sampled; how many matched, differed or could not be compared is known beforehand."""
    name, n, match, mismatch, not_comparable = row
    for gw in (env.gw, env.plain):
        before, count = verdict(gw), Count(gw)
        ask_all(env, gw, f"/mix/{name}", n)
        got = {}

        def all_there():
            got.update({k: v - before[k] for k, v in verdict(gw).items()})
            return sum(got.values()) >= n
        wait_for(f"all {n} samples", all_there, 15)
        equal(got, {"match": match, "mismatch": mismatch, "not_comparable": not_comparable},
              f"verdicts of the {'gateway under test' if gw is env.gw else 'daemon alone'} ({reasons(gw)})")
        if gw is env.gw:
            check(count.of(nic.PATH, "mix") >= 0.95 * n, "the path under test served them", count.moved())


def test_what_is_not_sampled(env):
    """Unsafe methods and a share of 0."""
    before = {name: verdict(env.gw, name) for name in ("mix", "none")}
    ask_all(env, env.gw, "/mix/same", 50, method="POST")
    ask_all(env, env.gw, "/users/200", 50)
    ask_all(env, env.gw, "/mix/same", 10)  # a sentinel: when these are through, so are the others
    wait_for("the sentinel", lambda: verdict(env.gw)["match"] == before["mix"]["match"] + 10, 10)
    after = {name: verdict(env.gw, name) for name in ("mix", "none")}
    equal(after["none"], before["none"])
    equal(sum(after["mix"].values()), sum(before["mix"].values()) + 10)


def test_a_share_is_sampled(env):
    before = verdict(env.gw, "some")
    ask_all(env, env.gw, "/some/thing", 1000)
    wait_for("100 of 1000", lambda: sum(verdict(env.gw, "some").values()) - sum(before.values()) >= 100, 10)
    equal(sum(verdict(env.gw, "some").values()) - sum(before.values()), 100, "samples of 1000 requests at 10 %")


@timeout(90)
def test_over_a_bad_network(env):
    """Lost and doubled packets make a sample whole or "not comparable", never a verdict about bytes nobody sent."""
    nic.bad_network(env.lab, loss=0.02, duplicate=0.02, hold=0.02, seed=41)
    before = verdict(env.gw)
    ask_all(env, env.gw, "/mix/large", 150, connections=8)
    ask_all(env, env.gw, "/mix/same", 500, connections=8)
    env.lab.impair()
    wait_for("650 samples", lambda: sum(verdict(env.gw).values()) - sum(before.values()) >= 650, 15)
    got = {k: v - before[k] for k, v in verdict(env.gw).items()}
    equal(got["mismatch"], 0, f"mismatches between two equal answers ({got}, {reasons(env.gw)})")
    equal(sum(got.values()), 650, "samples")
    check(got["match"] >= 500, "most were whole", got, reasons(env.gw))


def test_access_log(env):
    """Sampled requests of the NIC path are written down, those of a route without samples are not; both are counted."""
    lines = lambda path: sum(json.loads(n)["path"] == path for n in open(env.access))
    before = lines("xdp")
    ask_all(env, env.gw, "/mix/same", 40)
    ask_all(env, env.gw, "/users/1", 40)
    wait_for("forty lines of the NIC path", lambda: lines("xdp") - before == 40)
    line = json.loads(open(env.access).readlines()[-1])
    equal((line["method"], line["target"], line["status"], line["route"], line["path"], line["client"]),
          ("GET", "/mix/same", 200, "mix", "xdp", None))
    check(line["side"] in ("legacy", "modern") and line["duration_ms"] > 0 and line["bytes"] > 0, line)
    equal(env.gw.admin.metric("phoenix_access_log_lines_total", path="xdp"), lines("xdp"))
    check(env.gw.admin.metric("phoenix_requests_total", path="xdp") >= lines("xdp") + 40, "the difference is what is not written")

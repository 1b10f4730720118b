# SPDX-License-Identifier: Apache-2.0
"""
nic loss: the same on a network that loses, doubles and reorders packets on every link in both directions. Nothing may be
corrupt, nothing misrouted, nothing hung, and no connection broken.
"""
from lib.case import Bench, check, equal, table, timeout
from lib.lab import ROUTES, Checker, Lab, sites
from lib.nic import Count, bad_network, gateway, right, share, site_routes

SUBJECTS = ("phoenix",)
# share of packets lost, doubled, held back (each) · requests · connections
NETWORKS = [
    ("one-per-cent", 0.01, 10000, 48),
    ("five-per-cent", 0.05, 3000, 48),
]


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4, rto_min_ms=20))
    env.sites = sites(env.lab)
    env.gw = env.own(gateway(env.lab, site_routes(env.sites, (0.5, 0.5)), workers=2))
    return env


def bad(env, part, seed):
    bad_network(env.lab, loss=part, duplicate=part, hold=part, seed=seed)
    return env.lab.impaired()


def was_bad(env, before, at_least):
    did = {name: n - before[name] for name, n in env.lab.impaired().items()}
    env.lab.impair()
    check(min(did["dropped"], did["duplicated"], did["held"]) >= at_least, "the network was bad", did)


def finish(env, count, report, total, at_least):
    right(report, total)
    equal(report["broken"], 0, "broken connections")
    count.agrees(report, at_least=at_least, exact=False)


@table(NETWORKS)
@timeout(150)
def test_keep_alive(env, row):
    _name, part, requests, connections = row
    before = bad(env, part, 11)
    count = Count(env.gw)
    report = Checker(env.lab, env.gw.address, env.sites, sizes=(200, 13, 2000, 0, 20000), requests=requests,
                     connections=connections, hang_ms=30000).finish(150)
    was_bad(env, before, 50)
    finish(env, count, report, requests, 0.5)
    for name in ROUTES:
        # A request whose packet was lost is dealt again by some rules, never to a side that its weight forbids.
        share(report, name, 0.5, slack=0.05 * requests)


@table(NETWORKS)
@timeout(150)
def test_short_connections(env, row):
    """Handshakes, first requests and ends under loss: where stale segments meet new flows on the same port."""
    _name, part, requests, connections = row
    requests //= 4
    before = bad(env, part, 12)
    count = Count(env.gw)
    report = Checker(env.lab, env.gw.address, env.sites, sizes=(200, 2000), requests=requests, per_connection=5,
                     connections=connections, hang_ms=30000).finish(150)
    was_bad(env, before, 20)
    finish(env, count, report, requests, 0.3)


@table([("modern", 1.0), ("legacy", 0.0)])
@timeout(120)
def test_absolute_weights_hold(env, row):
    """At 0 and 1 not one request in a bad network goes to the side that the weight forbids."""
    side, weight = row
    for name in ROUTES:
        env.gw.admin.set_weight(name, weight)
    before = bad(env, 0.03, 13)
    report = right(Checker(env.lab, env.gw.address, env.sites, sizes=(200, 2000), requests=2000, connections=32,
                           per_connection=40, hang_ms=30000).finish(), 2000)
    was_bad(env, before, 20)
    for name in ROUTES:
        equal(report["sides"][name]["modern" if side == "legacy" else "legacy"], 0, f"{name}: the other side's answers")


@timeout(120)
def test_large_answers(env):
    for name in ROUTES:
        env.gw.admin.set_weight(name, 0.5)
    before = bad(env, 0.01, 14)
    count = Count(env.gw)
    report = Checker(env.lab, env.gw.address, env.sites, sizes=(102400,), requests=400, connections=16,
                     hang_ms=30000).finish()
    was_bad(env, before, 20)
    finish(env, count, report, 400, 0.5)


def test_afterwards_all_is_well(env):
    """A network that is good again leaves nothing behind: the split is exact, everything on its path."""
    for name, weight in zip(ROUTES, (0.3, 0.7)):
        env.gw.admin.set_weight(name, weight)
    count = Count(env.gw)
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=4000, connections=32).finish(), 4000)
    share(report, "users", 0.3)
    share(report, "orders", 0.7)
    count.agrees(report)

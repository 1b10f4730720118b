# SPDX-License-Identifier: Apache-2.0
"""
nic links: the other networks: IPv6, a tagged VLAN, several queues and CPUs, small and large MTUs, neighbours that have to be
asked for, routes with another next hop. Each row builds a lab of its own.
"""
from lib import nic
from lib.case import Bench, check, equal, table, timeout
from lib.lab import Checker, Lab, sites
from lib.net import Client
from lib.nic import Count, gateway, right, share, site_routes
from lib.process import Skip

SUBJECTS = ("phoenix",)
REQUESTS = 6000


def setup():
    return Bench()


class Small:
    """A lab, its sites and a gateway, for one test."""

    def __init__(self, six=False, **more):
        self.lab = Lab(upstreams=4, **more)
        self.sites = sites(self.lab)
        self.gw = gateway(self.lab, site_routes(self.sites, (0.5, 0.5), six=six), workers=2)
        self.address = self.gw.address6 if six else self.gw.address

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _frames):
        try:
            if kind is None:
                self.gw.stop()
            else:
                self.gw.end(5)
        finally:
            self.lab.stop()

    def check(self, requests=REQUESTS, connections=32, at_least=0.99, **more):
        count = Count(self.gw)
        report = right(Checker(self.lab, self.address, self.sites, sizes=(200, 2000, 13, 20000), requests=requests,
                               connections=connections, **more).finish(), requests)
        for name in ("users", "orders"):
            share(report, name, 0.5)
        count.agrees(report, at_least=at_least)
        return report


@table([("ipv4", {}), ("ipv6", {"six": True}), ("four-queues", {"queues": 4}), ("four-queues-ipv6", {"queues": 4, "six": True}),
        ("mtu-1280", {"mtu": 1280}), ("mtu-576", {"mtu": 576}), ("mtu-3000", {"mtu": 3000})])
@timeout(90)
def test_network(env, row):
    with Small(**row[1]) as small:
        small.check()
        small.check(requests=1500, per_connection=3)


@timeout(90)
def test_several_queues_over_a_bad_network(env):
    """Both directions of a flow on whichever CPU they come, with packets lost, doubled and late."""
    with Small(queues=4, rto_min_ms=20) as small:
        nic.bad_network(small.lab, loss=0.02, duplicate=0.02, hold=0.02, seed=31)
        count = Count(small.gw)
        report = right(Checker(small.lab, small.address, small.sites, sizes=(200, 2000, 20000), requests=3000, connections=48,
                               hang_ms=30000).finish(), 3000)
        check(count.of(nic.PATH) >= 0.5 * report["answers"], "the path under test served them", count.moved())


@timeout(90)
def test_ipv6_over_a_bad_network(env):
    with Small(six=True, rto_min_ms=20) as small:
        nic.bad_network(small.lab, loss=0.02, duplicate=0.02, hold=0.02, seed=32)
        right(Checker(small.lab, small.address, small.sites, sizes=(200, 2000), requests=2000, connections=32,
                      hang_ms=30000).finish(), 2000)


@table([("ipv4", False), ("ipv6", True)])
@timeout(60)
def test_vlan(env, row):
    """The client's link is tagged; the gateway has no VLAN device (this kernel cannot), so only the NIC path can serve it."""
    if not nic.NIC:
        raise Skip("the kernel has no 8021q module")
    with Small(six=row[1]) as small:
        small.lab.links["client"].impair(vlan=42)
        small.check(requests=3000)


@timeout(60)
def test_neighbours_that_must_be_asked_for(env):
    """No entry is there at first: the daemon's packets resolve it, and the NIC path takes over."""
    with Small(fixed_neighbours=False) as small:
        report = right(Checker(small.lab, small.address, small.sites, requests=2000, connections=16).finish(), 2000)
        equal(report["answers"], 2000)
        small.check(requests=2000, at_least=0.9)


@timeout(60)
def test_neighbour_changes_its_address(env):
    """The next hop's link-layer address changes under open connections (a failover, a new card)."""
    with Small() as small:
        with small.lab.inside("client"):
            client = Client(small.address)
        for i in range(20):
            equal(client.ask("GET", "/users/200", {"X-Number": str(i)}).get("x-number"), str(i))
        link = small.lab.links["up0"]
        link.mac = "02:e0:00:00:77:01"
        link.endpoint.ip(f"link set {link.device} address {link.mac}")
        link.fixed_neighbours()
        for i in range(20, 60):
            equal(client.ask("GET", "/users/200", {"X-Number": str(i)}).get("x-number"), str(i))
        client.close()
        small.check(requests=1000)


@timeout(60)
def test_upstream_behind_a_router(env):
    """An upstream that is not on a link of the gateway: the way there is a route with a next hop."""
    with Small() as small:
        small.lab.gateway.ip("route add 198.19.0.7/32 via 198.18.1.2")
        small.lab.spaces["up0"].ip("address add 198.19.0.7/32 dev lo")
        small.gw.config["routes"][0]["legacy_url"] = "http://198.19.0.7:80"
        small.gw.end(10)
        small.gw.start()
        small.check(requests=2000)


@timeout(60)
def test_client_with_a_small_mtu(env):
    """What the client's SYN says about its segments reaches the upstream."""
    with Small() as small:
        small.lab.client.ip("link set eth0 mtu 900")
        small.check(requests=800)

# SPDX-License-Identifier: Apache-2.0
"""
fleet ecmp: three gateways behind one address (lib/ecmp.py). The network takes a gateway out and puts it back, under
load: flows move to a gateway that never saw them. They are reset; nobody gets a wrong byte.
"""
import socket
import time

from lib.case import Bench, check, equal, table, timeout
from lib.ecmp import VIP, EcmpGateway, EcmpLab
from lib.lab import Checker
from lib.net import Client, wait_for
from lib.nic import right, site_routes
from lib.redis import Redis

SUBJECTS = ("phoenix",)
PATHS = [("daemon", False), ("nic", True)]


def setup():
    env = Bench()
    env.redis = env.own(Redis(unix=True))
    env.lab = env.own(EcmpLab())
    env.sites = env.lab.sites((200, 2000))
    env.gateways = {}
    for name, xdp in PATHS:
        prefix = {"prefix": f"{name}:"}
        made = [EcmpGateway(env.lab, i, site_routes(env.sites, (0.5, 0.5)), env.redis, xdp) for i in range(3)]
        for gw in made:
            gw.config["state"].update(prefix)
        env.gateways[name] = made
    return env


class Running:
    """The three gateways of one path, for the time of a test."""

    def __init__(self, env, name):
        self.gateways = env.gateways[name]
        env.lab.share(0, 1, 2)

    def __enter__(self):
        for gw in self.gateways:
            gw.start()
        return self.gateways

    def __exit__(self, *exc):
        failed = [gw.number for gw in self.gateways if gw.alive() and gw.end(15) != 0]
        for gw in self.gateways:
            gw.detach()
        if exc[0] is None:
            equal(failed, [], "gateways that did not end well")


def served_by(gateways, xdp):
    return [gw.requests().get("xdp" if xdp else "daemon", 0) for gw in gateways]


def flows_that_move(env):
    """Each gateway is taken out in turn, with an idle connection on it that then asks again."""
    for victim in range(3):
        env.lab.share(victim)
        client = Client((VIP, 80))
        for _ in range(3):
            equal(client.ask("GET", "/users/200").status, 200)
        env.lab.share(*[i for i in range(3) if i != victim])
        try:
            client.request("GET", "/users/200")
            got = client.sock.recv(100)
        except (ConnectionResetError, BrokenPipeError):
            got = b""
        except socket.timeout:
            got = b"nothing in time"
        equal(got, b"", "what a flow gets from a gateway that never saw it")
        client.close()
        with Client((VIP, 80)) as again:
            equal(again.ask("GET", "/users/200").status, 200)


def come_and_go(env, gateways, xdp):
    """Under load: one is withdrawn, then killed and withdrawn, then all are back."""
    running = Checker(env.lab, (VIP, 80), env.sites, sizes=(200, 2000), seconds=5, connections=24, per_connection=40,
                      go_on=True, errors=True)
    time.sleep(1)
    gateways[0].admin.set_weight("users", 0.25)
    env.lab.share(1, 2)
    time.sleep(0.7)
    gateways[0].kill()
    env.lab.share(2)
    time.sleep(0.7)
    gateways[0].restart()
    env.lab.share(0, 1, 2)
    report = right(running.finish())
    check(report["answers"] > 500, "it went on", report)
    served = served_by(gateways, xdp)
    check(all(n > 50 for n in served), f"every gateway served: {served}")
    wait_for("one weight", lambda: [gw.admin.weight("users")["set"] for gw in gateways] == [0.25] * 3, 10)


@timeout(120)
@table(PATHS)
def test_gateways_come_and_go(env, row):
    """Not one wrong byte; what breaks is what moved; and one truth: the weight that one gateway is told acts on all."""
    name, xdp = row
    with Running(env, name) as gateways:
        with env.lab.inside("client"):
            flows_that_move(env)
        env.lab.share(0, 1, 2)
        come_and_go(env, gateways, xdp)

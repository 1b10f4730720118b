# SPDX-License-Identifier: Apache-2.0
"""
nic control arm: of a sample that the NIC path captured, legacy is asked a second time like of any other
(mirror.control), and the place where it disagrees with itself is proposed as noise.
"""
import itertools
import json

from lib import nic
from lib.case import Bench, check, equal, timeout
from lib.lab import Lab
from lib.net import Client, response, wait_for
from lib.nic import Count, gateway
from lib.process import route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
JSON = {"Content-Type": "application/json"}
counter = itertools.count()


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=2))
    env.sides = []
    for i, body in enumerate((lambda: {"v": 1, "at": next(counter)}, lambda: {"v": 1, "at": "m"})):
        space = f"up{i}"
        with env.lab.inside(space):
            env.sides.append(env.own(Upstream(lambda ex, body=body: response(200, json.dumps(body()), JSON),
                                              host=env.lab.links[space].address, port=8080)))
    off = {"enabled": True, "min_samples": 1000000, "rollback_min_samples": 1000000}
    env.gw = env.own(gateway(env.lab, [route("noisy", "/noisy/*", legacy=env.sides[0].url, modern=env.sides[1].url, weight=0.5,
                                             sample=1.0, mirror={"control": 1.0}, arbiter=off)], workers=1))
    return env


@timeout(60)
def test_noise_of_what_the_nic_path_served(env):
    count, n = Count(env.gw), 60
    with env.lab.inside("client"):
        client = Client(env.gw.address)
    for _ in range(n):
        equal(client.ask("GET", "/noisy/x").status, 200)
    client.close()
    wait_for("the samples", lambda: env.gw.admin.route("noisy")["consistency"]["samples"] >= n, 20)
    c = env.gw.admin.route("noisy")["consistency"]
    check(count.of(nic.PATH, "noisy") >= 0.9 * n, "the path under test served them", count.moved())
    equal((c["samples"], c["mismatches"]), (n, n), "a proposal masks nothing")
    equal((c["noise"]["samples"], c["noise"]["differing"], c["noise"]["proposed"]), (n, n, ["/at"]))

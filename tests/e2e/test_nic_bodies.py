# SPDX-License-Identifier: Apache-2.0
"""
nic bodies: long downloads and uploads by checksum, on a good network and on one that loses, doubles and reorders; curl
as a client that nobody here wrote.
"""
import hashlib
import json
import os
import threading

from lib import nic
from lib.case import Bench, check, equal, table, timeout
from lib.lab import ROUTES, Lab, content, sites
from lib.net import Client, Pattern
from lib.nic import Count, gateway, odd, site_routes
from lib.process import need, route, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
TEN_MB = 10 << 20
NETWORKS = [("good", 0.0), ("one-per-cent", 0.01)]


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4, rto_min_ms=20))
    env.sites = sites(env.lab, sizes=(200, TEN_MB))
    env.sinks = []
    for space, name in (("up0", "sink-legacy"), ("up1", "sink-modern")):
        with env.lab.inside(space):
            env.sinks.append(env.own(Upstream(odd, host=env.lab.links[space].address, port=8080)))
        env.sinks[-1].name = name
    env.gw = env.own(gateway(env.lab, site_routes(env.sites, (0.5, 0.5)) + [
        route("odd", "/odd/*", legacy=env.sinks[0].url, modern=env.sinks[1].url, weight=0.5)], workers=2))
    return env


def network(env, part):
    nic.bad_network(env.lab, loss=part, duplicate=part, hold=part, seed=21)


def connect(env, six=False):
    with env.lab.inside("client"):
        return Client(env.gw.address6 if six else env.gw.address, timeout_s=60)


@table([(name + "-" + str(n), part, n) for name, part in NETWORKS for n in (1, 4)])
@timeout(120)
def test_downloads(env, row):
    """10 MB from each side, `n` at a time, small requests on the same connections before and after."""
    _name, part, n = row
    network(env, part)
    count = Count(env.gw)
    sums = {side: hashlib.sha256(content("users", side, TEN_MB)).hexdigest() for side in ("legacy", "modern")}
    failed = []

    def work(number):
        try:
            client = connect(env)
            for i, size in enumerate((200, TEN_MB, 200, TEN_MB, 200)):
                digest = hashlib.sha256()
                answer = client.ask("GET", f"/users/{size}", {"X-Number": f"{number}-{i}"}, sink=digest.update)
                side = answer.get("x-upstream").removeprefix("users-")
                equal(answer.get("x-number"), f"{number}-{i}")
                equal(digest.hexdigest(), sums[side] if size == TEN_MB else
                      hashlib.sha256(content("users", side, size)).hexdigest(), f"checksum of {size} bytes from {side}")
            client.close()
        except Exception as error:
            failed.append(f"{number}: {error!r}")
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(100)
    equal(failed, [])
    check(not any(t.is_alive() for t in threads), "a download hangs")
    check(count.of(nic.PATH, "users") >= 5 * n * (1 if not part else 0.5), "the path under test served them", count.moved())


@table([(name + "-" + size, part, int(size)) for name, part in NETWORKS for size in ("1", "1000", "5000", "300000", str(TEN_MB))])
@timeout(120)
def test_uploads(env, row):
    """Bodies up to 10 MB arrive whole and once, whoever carries them; the connection goes on."""
    _name, part, size = row
    network(env, part)
    pattern = Pattern(size)
    want = hashlib.sha256(b"".join(pattern.pieces())).hexdigest()
    client = connect(env)
    for i in range(2):
        equal(client.ask("GET", "/odd/plain", {"X-Number": f"a{i}"}).get("x-number"), f"a{i}")
        client.send(f"POST /odd/sum HTTP/1.1\r\nHost: lab\r\nX-Number: b{i}\r\nContent-Length: {size}\r\n\r\n".encode())
        for piece in pattern.pieces():
            client.send(piece)
        answer = client.response()
        equal((answer.status, answer.get("x-number"), answer.json()), (200, f"b{i}", {"bytes": size, "sha256": want}))
    client.close()
    for sink in env.sinks:
        equal(([str(r) for r in sink.refused], [repr(e) for e in sink.errors]), ([], []), "what the upstream took for no HTTP")


@table(NETWORKS)
@timeout(120)
def test_curl(env, row):
    """curl downloads and uploads on one connection: one of each to either side."""
    _name, part = row
    network(env, part)
    folder = scratch()
    upload = os.path.join(folder, "upload")
    with open(upload, "wb") as file:
        for piece in Pattern(TEN_MB).pieces():
            file.write(piece)
    with open(upload, "rb") as file:
        want = hashlib.sha256(file.read()).hexdigest()
    base = f"http://{env.gw.address[0]}:{env.gw.address[1]}"
    args = ["-sS", "--fail", "--max-time", "90"]
    for i in range(2):
        args += ["-o", os.path.join(folder, f"down{i}"), "-D", os.path.join(folder, f"head{i}"), f"{base}/users/{TEN_MB}", "--next",
                 "-sS", "--fail", "-H", "Expect:", "--data-binary", f"@{upload}", "-o", os.path.join(folder, f"up{i}"),
                 f"{base}/odd/sum", "--next"]
    args += ["-sS", "--fail", "-o", os.path.join(folder, "last"), f"{base}/users/200"]
    env.lab.run("client", need("curl"), *args)
    for i in range(2):
        with open(os.path.join(folder, f"head{i}")) as file:
            side = "modern" if "users-modern" in file.read() else "legacy"
        with open(os.path.join(folder, f"down{i}"), "rb") as file:
            check(file.read() == content("users", side, TEN_MB), f"curl got other bytes from {side}")
        with open(os.path.join(folder, f"up{i}")) as file:
            equal(json.load(file), {"bytes": TEN_MB, "sha256": want})


def test_ipv6(env):
    network(env, 0.0)
    client = connect(env, six=True)
    digest = hashlib.sha256()
    answer = client.ask("GET", f"/users/{TEN_MB}", sink=digest.update)
    side = answer.get("x-upstream").removeprefix("users-")
    equal(digest.hexdigest(), hashlib.sha256(content("users", side, TEN_MB)).hexdigest())
    client.close()

# SPDX-License-Identifier: Apache-2.0
"""
nic attach: how the fast path gets onto devices, what it leaves there when the daemon ends, how the next daemon takes
it over, and how it comes off again. Always asked of the device and of the maps, never only of the daemon.
"""
import contextlib
import json
import os
import pwd
import re
import signal
import struct
import subprocess

from lib.case import Bench, check, equal, table, timeout
from lib.lab import Lab, LabGateway, bpftool, sites
from lib.net import Client, wait_for
from lib.nic import site_routes
from lib.process import built, need

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4))
    env.sites = sites(env.lab)
    return env


@contextlib.contextmanager
def gateway(env, mode="native", start=True, **more):
    routes = [r for r in site_routes(env.sites, (0.5, 0.5)) if r["id"] == "users"]
    gw = LabGateway(env.lab, more.pop("routes", routes), mode=mode, start=start, workers=1, **more)
    try:
        yield gw
    finally:
        if gw.alive():
            gw.end(10)
        if os.path.exists(os.path.join(gw.pin_dir, "phx_config")):
            phoenixctl(env, gw, "xdp", "detach", gw.pin_dir)
        gw.remove()


def phoenixctl(env, gw, *args, status=0):
    with env.lab.inside("gateway"):
        done = subprocess.run([built("phoenixctl"), "--admin", gw.socket_path, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=30)
    equal(done.returncode, status, f"exit status of {args}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def devices(env):
    """{device: "xdp", "xdpgeneric" or None} as ip(8) says."""
    found = {}
    for link in env.lab.links.values():
        text = env.lab.gateway.run("ip", "link", "show", "dev", link.gateway_device)
        words = text.split()
        found[link.gateway_device] = next((w for w in ("xdpgeneric", "xdp") if w in words), None)
    return found


def datapath(gw):
    return gw.admin.json("/admin/datapath")


def value_of(gw, name, slot):
    """One entry of an array, with names, as bpftool prints it."""
    return bpftool("map", "lookup", "pinned", os.path.join(gw.pin_dir, name), "key", *struct.pack("=I", slot))["formatted"]["value"]


def served(gw):
    """{path: requests} of the route."""
    item = datapath(gw)["routes"][0]
    return {path: item["legacy"][path] + item["modern"][path] for path in ("xdp", "daemon")}


def ask(env, gw, n=20, client=None):
    with env.lab.inside("client"):
        client = client or Client(gw.address)
    for _ in range(n):
        equal(client.ask("GET", "/users/200").status, 200)
    return client


@table([("native", "xdp"), ("generic", "xdpgeneric"), ("auto", "xdp")])
def test_modes(env, row):
    mode, word = row
    with gateway(env, mode) as gw:
        equal(set(devices(env).values()), {word}, "what the devices have")
        info = datapath(gw)
        equal(info["path"], "xdp")
        equal({i["mode"] for i in info["xdp"]["interfaces"]}, {"generic" if mode == "generic" else "native"})
        equal({i["dispatcher"] for i in info["xdp"]["interfaces"]}, {False})
        metrics = gw.admin.metrics()
        actual = "generic" if mode == "generic" else "native"
        equal(metrics[f'phoenix_xdp_attached{{interface="eth0",mode="{actual}"}}'], 1)
        ask(env, gw).close()
        equal(served(gw)["xdp"] + served(gw)["daemon"], 20)
        if mode != "generic":
            equal(served(gw), {"xdp": 20, "daemon": 0})


def test_what_stays_and_who_adopts_it(env):
    """Killed and started again: the same maps, links, slots and counters; a connection lives through it."""
    with gateway(env) as gw:
        client = ask(env, gw)
        before = datapath(gw)
        program = bpftool("map", "show", "pinned", os.path.join(gw.pin_dir, "phx_flows"))["id"]
        gw.kill()
        equal(set(devices(env).values()), {"xdp"}, "without a daemon")
        ask(env, gw, client=client)
        gw.restart()
        after = datapath(gw)
        check(after["xdp"]["adopted"] and all(i["adopted"] for i in after["xdp"]["interfaces"]), "adopted", after["xdp"])
        equal(after["xdp"]["boot"], before["xdp"]["boot"] + 1)
        equal(after["xdp"]["table"], before["xdp"]["table"] + 1)
        equal([r["slot"] for r in after["routes"]], [r["slot"] for r in before["routes"]])
        equal(bpftool("map", "show", "pinned", os.path.join(gw.pin_dir, "phx_flows"))["id"], program, "the same map")
        ask(env, gw, client=client).close()
        equal(served(gw), {"xdp": 60, "daemon": 0})


def test_a_route_keeps_its_slot_among_others(env):
    """The file has other routes around it at the next start: the data path ran on with the old slots meanwhile."""
    routes = site_routes(env.sites, (0.5, 0.5))
    with gateway(env, routes=routes) as gw:
        before = {r["id"]: r["slot"] for r in datapath(gw)["routes"]}
        gw.end(10)
        gw.config["routes"] = [dict(routes[0], id="new", path="/new/*"), routes[1]]
        gw.start()
        after = {r["id"]: r["slot"] for r in datapath(gw)["routes"]}
        equal(after["orders"], before["orders"])
        check(after["new"] not in before.values(), "a new route does not get a slot in use", before, after)
        for name, slot in after.items():
            equal(value_of(gw, "phx_names", slot)["id"], name, f"the name of slot {slot}")
        equal(value_of(gw, "phx_names", before["users"])["id"], "", "the name of a slot that is not used any more")


def test_the_last_word_is_the_files(env):
    """Interfaces that are not configured any more are taken off; other ports need other maps, said loudly."""
    with gateway(env) as gw:
        gw.end(10)
        gw.config["xdp"]["interfaces"] = ["eth0", "eth1"]
        gw.start()
        equal(devices(env), {"eth0": "xdp", "eth1": "xdp", "eth2": None, "eth3": None, "eth4": None})
        gw.end(10)
        gw.config["xdp"]["ports"] = "20000-20063"
        gw.start()
        check("cannot be adopted" in gw.log(), "said loudly", gw.log()[-2000:])
        equal(datapath(gw)["xdp"]["flows"]["max"], 64)
        ask(env, gw).close()


def test_detach(env):
    """With the daemon, then without: the devices have nothing, and all is as it was before."""
    def state():
        return [env.lab.gateway.run("tc", "qdisc", "show", "dev", "eth1").split()[1],
                env.lab.gateway.run("cat", "/proc/sys/net/ipv6/conf/eth1/forwarding").strip()]
    was = state()
    with gateway(env) as gw:
        client = ask(env, gw)
        phoenixctl(env, gw, "xdp", "detach")
        equal(set(devices(env).values()), {None})
        equal(state(), was, "qdisc and forwarding")
        check(not os.path.exists(gw.pin_dir), "pins are gone")
        wait_for("the daemon knows", lambda: datapath(gw)["path"] == "daemon", 5)
        equal(client.sock.recv(1), b"", "an idle client got a FIN")
        ask(env, gw, 5).close()
        equal(served(gw), {"xdp": 20, "daemon": 5})
        check("no fast path is loaded" in phoenixctl(env, gw, "xdp", "status"), "status says so")
        phoenixctl(env, gw, "xdp", "detach", gw.pin_dir, status=1)
        gw.end(10)
        gw.start()
        equal(set(devices(env).values()), {"xdp"})
        one = phoenixctl(env, gw, "xdp", "status", "eth1")
        check("eth1" in one and "eth0" not in one, "one interface alone", one)
        check('did you mean "eth1"' in phoenixctl(env, gw, "xdp", "status", "eht1", status=2), "a slip")
        gw.kill()
        check("native" in phoenixctl(env, gw, "xdp", "status", gw.pin_dir), "status without a daemon")
        phoenixctl(env, gw, "xdp", "detach", gw.pin_dir)
        equal(set(devices(env).values()), {None})
        equal(state(), was)


def test_by_libxdp(env):
    """By libxdp's dispatcher where it loads, else without; said either way, and it serves."""
    with gateway(env, interfaces=["eth0", "eth1", "eth2"], xdp={"attach": "libxdp"}) as gw:
        info = datapath(gw)["xdp"]["interfaces"]
        equal({i["mode"] for i in info}, {"native"})
        by_dispatcher = {i["dispatcher"] for i in info}
        check(len(by_dispatcher) == 1, "the same on every device", info)
        if by_dispatcher == {False}:
            check("libxdp's dispatcher does not load here" in gw.log(), "says so", gw.log()[-1000:])
        ask(env, gw).close()
        equal(served(gw), {"xdp": 20, "daemon": 0})


@table([("native", False), ("auto", True)])
def test_another_program_is_there(env, row):
    """A stranger's XDP program is never thrown out: native fails, auto leaves the device to the daemon."""
    mode, starts = row
    env.lab.gateway.run("ip", "link", "set", "dev", "eth2", "xdp", "pinned", env.lab.pinned("lab_pass"))
    try:
        with gateway(env, mode, start=False) as gw:
            gw.start(wait=starts)
            if starts:
                off = [i for i in datapath(gw)["xdp"]["interfaces"] if i["mode"] == "off"]
                equal([i["name"] for i in off], ["eth2"])
                check("another XDP program" in off[0]["error"], off[0]["error"])
                equal(devices(env)["eth0"], "xdp")
            else:
                equal(gw.child.wait(10), 1, "exit status")
                check("another XDP program" in gw.log(), "says why", gw.log()[-1000:])
        text = env.lab.gateway.run("ip", "link", "show", "dev", "eth2")
        check("lab_pass" in env.lab.gateway.run("ip", "-d", "link", "show", "dev", "eth2"), "the stranger is there", text)
    finally:
        env.lab.gateway.run("ip", "link", "set", "dev", "eth2", "xdp", "off")


@table([("ports that the kernel uses", {"ports": "32000-40000"}, "ip_local_port_range"),
        ("the port it listens on", {"ports": "64-128"}, "contains the port of listen"),
        ("no bpf file system", {"pin_dir": "/tmp/phoenix-pins"}, "not on a bpf file system"),
        ("no such interface", {"interfaces": ["eth0", "eth77"]}, "no such interface"),
        ("a user that does not exist", {}, "there is no such user")])
def test_refused(env, row):
    _name, xdp, says = row
    with gateway(env, start=False, xdp=xdp) as gw:
        if not xdp:
            gw.config["user"] = "no-such-user"
        gw.start(wait=False)
        equal(gw.child.wait(10), 1, "exit status")
        check(says in gw.log(), f"says {says}", gw.log()[-1000:])
        equal(set(devices(env).values()), {None}, "nothing is attached")
        check(not os.path.exists(os.path.join(gw.pin_dir, "phx_config")), "nothing is pinned")


def test_one_truth(env):
    """bpftool, phoenixctl maps and /metrics say the same."""
    with gateway(env) as gw:
        ask(env, gw, 50).close()
        wait_for("all flows closed", lambda: datapath(gw)["xdp"]["flows"]["in_use"] == 0, 5)
        stats, policy = value_of(gw, "phx_route_stats", 0), value_of(gw, "phx_policy", 0)
        counters = bpftool("map", "dump", "pinned", os.path.join(gw.pin_dir, "phx_counters"))[0]["formatted"]["values"]
        maps = json.loads(phoenixctl(env, gw, "maps", "-o", "json"))
        metrics = gw.admin.metrics()
        equal(maps["routes"][0]["weight_bp"], policy["weight_bp"])
        for side, name in enumerate(("legacy", "modern")):
            n = stats["side"][side]["requests"]
            equal(maps["routes"][0][f"{name}_requests"], n)
            equal(metrics[f'phoenix_requests_total{{route="users",backend="{name}",path="xdp",code="2xx"}}'], n)
        equal(sum(side["requests"] for side in stats["side"]), 50)
        checked = subprocess.run([need("promtool"), "check", "metrics"], input=gw.admin.get("/metrics").body,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        equal((checked.returncode, checked.stdout), (0, b""), "promtool check metrics")
        for name, count in maps["verdicts"].items():
            if name == "other":
                continue  # ARP and IPv6 neighbour discovery go on
            equal(sum(cpu["value"]["verdict"][name.upper()] for cpu in counters), count, f"verdict {name}")
            equal(metrics[f'phoenix_xdp_verdicts_total{{verdict="{name}"}}'], count, f"verdict {name}")


def test_trace_asks_the_program(env):
    with gateway(env) as gw:
        for url in ("/users/7", "http://198.18.0.1/users/7", "http://198.18.0.1/users/7?a=b"):
            answer = json.loads(phoenixctl(env, gw, "trace", "GET", url, "-o", "json"))
            equal((answer["route"], answer["path"], answer["xdp"]["reason"], answer["xdp"]["route"]),
                  ("users", "xdp", "none", "users"), url)
        answer = json.loads(phoenixctl(env, gw, "trace", "GET", "/nowhere", "-o", "json"))
        equal((answer["route"], answer["path"], answer["xdp"]["reason"]), (None, "daemon", "no_route"))
        bpftool("map", "update", "pinned", os.path.join(gw.pin_dir, "phx_policy"), "key", 0, 0, 0, 0, "value",
                *([0x10, 0x27, 0, 0] + [0] * 8 + [1, 0, 0, 0] + [0] * 48), parse=False)
        answer = json.loads(phoenixctl(env, gw, "trace", "GET", "/users/7", "-o", "json"))
        equal((answer["xdp"]["weight_bp"], answer["xdp"]["side"]), (10000, "modern"), "after bpftool map update")
        equal(served(gw), {"xdp": 0, "daemon": 0}, "a trace is not a request")


@timeout(60)
def test_silent_clients_are_closed(env):
    """An idle client gets a FIN after limits.idle_timeout_ms; its port is free again; the next request is served."""
    with gateway(env, limits={"idle_timeout_ms": 500}) as gw:
        client = ask(env, gw)
        equal(client.sock.recv(1), b"", "FIN")
        client.close()
        wait_for("the port is free", lambda: datapath(gw)["xdp"]["flows"]["in_use"] == 0, 10)
        equal(datapath(gw)["xdp"]["swept"]["idle_closed"], 1)
        ask(env, gw).close()
        equal(served(gw), {"xdp": 40, "daemon": 0})


def test_as_another_user(env):
    """Once started the daemon is nobody, with the capabilities of its upkeep: upstreams, samples and idle clients are
    looked after all the same, weights act, a trace is answered."""
    routes = [dict(r, mirror={"sample": 1.0}) for r in site_routes(env.sites, (0.5, 0.5)) if r["id"] == "users"]
    with gateway(env, routes=routes, user="nobody", state={"store": "memory"}, limits={"idle_timeout_ms": 1500}) as gw:
        nobody = pwd.getpwnam("nobody").pw_uid
        for task in os.listdir(f"/proc/{gw.pid}/task"):
            with open(f"/proc/{gw.pid}/task/{task}/status") as status:
                fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
            equal(set(fields["Uid"].split()), {str(nobody)}, "uid")
            if fields["Name"].strip() in ("phx-plane", "phx-neighbours"):
                equal(int(fields["CapEff"], 16), 1 << 12 | 1 << 38 | 1 << 39, "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF")
        client = ask(env, gw)
        wait_for("20 samples", lambda: gw.admin.metrics()['phoenix_compare_total{route="users",result="mismatch"}'] == 20, 10)
        gw.admin.set_weight("users", 0.0)
        ask(env, gw, client=client)
        equal(client.sock.recv(1), b"", "FIN to an idle client")
        client.close()
        info = datapath(gw)
        equal({i["mode"] for i in info["xdp"]["interfaces"]}, {"native"}, "as asked of the devices by nobody")
        equal(info["path"], "xdp")
        equal(served(gw), {"xdp": 40, "daemon": 0})
        equal(json.loads(phoenixctl(env, gw, "trace", "GET", "/users/7", "-o", "json"))["path"], "xdp")


def test_takeover(env):
    """`phoenixd --takeover`: connections on the fast path do not notice, and every sample is read, once."""
    routes = [dict(r, mirror={"sample": 1.0}) for r in site_routes(env.sites, (0.5, 0.5)) if r["id"] == "users"]
    with gateway(env, routes=routes) as gw:
        client = ask(env, gw)
        with env.lab.inside("gateway"), open(gw.log_path, "ab") as log:
            done = subprocess.run([gw.args[0], "--config", gw.config_path, "--takeover"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=log, timeout=50, text=True)
        equal(done.returncode, 0, gw.log()[-2000:])
        pid = int(re.search(r"pid (\d+) serves", done.stdout)[1])
        try:
            ask(env, gw, client=client)
            equal(gw.child.wait(20), 0, "the old daemon's exit status")
            ask(env, gw, client=client).close()
            wait_for("40 samples of the new daemon", lambda: gw.admin.metrics()[
                'phoenix_compare_total{route="users",result="mismatch"}'] >= 20, 10)
            wait_for("its threads own the upkeep", lambda: datapath(gw)["xdp"]["samples"]["whole"] >= 20, 10)
            equal(datapath(gw)["xdp"]["samples"]["lost"], 0, "samples lost")
            equal(served(gw), {"xdp": 60, "daemon": 0})
        finally:
            os.kill(pid, signal.SIGTERM)
            wait_for("its end", lambda: not os.path.exists(f"/proc/{pid}") or "Z" in open(f"/proc/{pid}/stat").read(), 15)

# SPDX-License-Identifier: Apache-2.0
"""
ecmp: three gateways behind one address, as an ECMP route of the network shares it out.

                        ┌─ 198.18.0.1  gw0 ─ 198.18.10.1 ─┐
    client              │                                 │  up: 198.18.100.1, nginx on one
    198.18.50.1 ── ECMP ┼─ 198.18.1.1  gw1 ─ 198.18.11.1 ─┼─     port for each route and side
                        │                                 │
                        └─ 198.18.2.1  gw2 ─ 198.18.12.1 ─┘
    each gateway has 198.18.200.1 on its loopback and listens there; the client's route to it has three next hops

What a namespace is, what its ends need for XDP, and how it goes away: lab.py. The gateways reach Redis by its Unix
socket: files are the same in every namespace.
"""
import contextlib
import os
import shutil
import types

from .admin import Admin
from .lab import BPFFS, PIN_PREFIX, ROUTES, Link, Namespace, Site, bpftool, mount_bpffs, sweep
from .process import Gateway, Skip, built, need

VIP = "198.18.200.1"
SIDES = ("legacy", "modern")


class EcmpLab:
    _count = 0

    def __init__(self, gateways=3):
        if os.geteuid():
            raise Skip("network namespaces need root")
        mount_bpffs()
        sweep()
        EcmpLab._count += 1
        self.pins = os.path.join(BPFFS, f"{PIN_PREFIX}{os.getpid()}-ecmp{EcmpLab._count}")
        os.mkdir(self.pins)
        self.size = gateways
        bpftool("prog", "loadall", built("tests/lossy.bpf.o", mode=os.R_OK), os.path.join(self.pins, "lab"), parse=False)
        self.spaces = {name: Namespace(name) for name in ["client", "up"] + [f"gw{i}" for i in range(gateways)]}
        self.links = {"up": types.SimpleNamespace(address="198.18.100.1", address6="::1")}
        self.processes = []
        for space in self.spaces.values():
            space.ip("link set lo up")
            space.sysctl("net.ipv4.conf.all.rp_filter", 0)
            space.sysctl("net.ipv4.conf.default.rp_filter", 0)
        self.spaces["client"].ip("address add 198.18.50.1/32 dev lo")
        self.spaces["client"].sysctl("net.ipv4.fib_multipath_hash_policy", 1)  # by ports, too
        self.spaces["up"].ip("address add 198.18.100.1/32 dev lo")
        for i in range(gateways):
            self._gateway(i)
        self.share(*range(gateways))

    def _pair(self, gateway, device, endpoint, endpoint_device, net):
        """A veth pair: the gateway is .1, the endpoint .2; the endpoint as XDP on veth wants it."""
        gateway.ip(f"link add {device} mtu 1500 type veth peer name {endpoint_device} mtu 1500 netns {endpoint.path}")
        for space, name, end in ((gateway, device, 1), (endpoint, endpoint_device, 2)):
            space.ip(f"address add 198.18.{net}.{end}/24 dev {name}", f"link set {name} up")
            Link.queue(space, name)
            macs = space.interface(name)["address"]
            other = (endpoint, endpoint_device, 1) if space is gateway else (gateway, device, 2)
            other[0].ip(f"neighbour replace 198.18.{net}.{end} lladdr {macs} dev {other[1]} nud permanent")
        Link.offloads_off(endpoint, endpoint_device)
        endpoint.run(need("ip"), "link", "set", "dev", endpoint_device, "xdp", "pinned", os.path.join(self.pins, "lab", "lab_pass"))

    def _gateway(self, i):
        space = self.spaces[f"gw{i}"]
        self._pair(space, "eth0", self.spaces["client"], f"eth{i}", i)
        self._pair(space, "eth1", self.spaces["up"], f"eth{i}", 10 + i)
        space.ip(f"address add {VIP}/32 dev lo", f"route add 198.18.50.1/32 via 198.18.{i}.2",
                 f"route add 198.18.100.0/24 via 198.18.{10 + i}.2")

    def share(self, *gateways):
        """From now on the network sends the address's packets to these."""
        hops = " ".join(f"nexthop via 198.18.{i}.1 dev eth{i}" for i in gateways)
        self.spaces["client"].ip(f"route replace {VIP}/32 src 198.18.50.1 {hops}")

    def inside(self, name):
        return self.spaces[name].inside()

    def sites(self, sizes):
        out = {}
        for n, (route, side) in enumerate((r, s) for r in ROUTES for s in SIDES):
            out[route, side] = Site(self, "up", route, side, sizes, port=8000 + n).start()
            self.processes.append(out[route, side])
        return out

    def stop(self):
        for process in reversed(self.processes):
            process.end(5)
            process.remove()
        for space in self.spaces.values():
            space.close()
        shutil.rmtree(self.pins, ignore_errors=True)


class EcmpGateway(Gateway):
    """phoenixd number i of the fleet, with the NIC path or without."""

    def __init__(self, lab, i, routes, redis, xdp=False, **config):
        self.lab, self.number = lab, i
        self.pin_dir = os.path.join(lab.pins, f"gw{i}")
        settings = {"mode": "native", "interfaces": ["eth0", "eth1"], "pin_dir": self.pin_dir} if xdp else {"mode": "off"}
        super().__init__(routes, start=False, listen=[f"{VIP}:80"], xdp=settings, **config)
        self.config["admin"] = {"listen": None, "socket": self.socket_path}
        self.config["state"] = {"store": "redis", "url": redis.url, "path": self.state_path, "lease_ms": 1000}
        self.address = (VIP, 80)
        self.admin = Admin(self.socket_path)

    def start(self, wait=True):
        with self.lab.inside(f"gw{self.number}"):
            return super().start(wait)

    def restart(self):
        with self.lab.inside(f"gw{self.number}"):
            super().restart()

    def detach(self):
        """Its programs would go on without it."""
        if self.config["xdp"]["mode"] != "off":
            self.lab.spaces[f"gw{self.number}"].run(built("phoenixctl"), "xdp", "detach", self.pin_dir)

    def requests(self):
        """{path: requests served}"""
        out = {}
        for key, value in self.admin.metrics().items():
            if key.startswith("phoenix_requests_total{"):
                with contextlib.suppress(IndexError):
                    path = key.split('path="')[1].split('"')[0]
                    out[path] = out.get(path, 0) + int(value)
        return out

# SPDX-License-Identifier: Apache-2.0
"""
lab: a small network on one machine, for the NIC path and its tests.

                    ┌──────────────── gateway ────────────────┐           ┌─ up0: 198.18.1.2 ─┐
   ┌─ client ─┐     │                                   eth1 ─┼── link ───┼─ eth0   nginx :80 │
   │     eth0 ┼─────┼─ eth0       phoenixd, XDP               │           └───────────────────┘
   │198.18.0.2│     │  198.18.0.1:80                    eth2 ─┼── link ───── up1: 198.18.2.2
   │     eth1 ┼──┐  │                                   eth3 ─┼── link ───── up2: 198.18.3.2
   └──────────┘  │  │                                   eth4 ─┼── link ───── up3: 198.18.4.2
                 │  └─────────────────────────────────────────┘
                 └────── (direct=True: 198.18.99.1 to up0's eth1, 198.18.99.2: the measure of all things)

Link n has 198.18.n.0/24 and fd00:18:n::/64; the gateway is .1 and ::1, the endpoint .2 and ::2. Nobody forwards.

A namespace has no name: it lives as long as the descriptor of the process that made it and the programs that
run in it. So there is nothing to remove, also when a test is killed; only what the gateway pins in bpffs
stays, under a folder that carries the owner's pid, and the next lab removes those of the dead. To look in:
`nsenter --net=/proc/PID/fd/N` with the numbers that `lab.where()` prints. (`ip netns exec` would hide bpffs.)

`with lab.inside("client"):` moves the calling thread: sockets made and programs started there belong to that
namespace, threads started there stay in it. Net, Upstream and Process need to know nothing.

The endpoints are set up so that XDP on veth works as on a NIC: an XDP_PASS program (a veth device without one
drops what its peer's XDP program sent) and no offloads (a packet with half a checksum cannot be rewritten).
Programs and `hold` are tests/bpf/lossy.bpf.c and tests/lab/hold.c: `Link.impair()` makes a bad network.
"""
import atexit
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import threading

from .admin import Admin
from .net import wait_for
from .process import Gateway, Process, Skip, built, need, nginx_config, scratch

CLONE_NEWNET = 0x40000000
BPFFS = "/sys/fs/bpf"
PIN_PREFIX = "phoenix-lab-"
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


class Namespace:
    """An anonymous network namespace."""

    def __init__(self, name):
        self.name = name
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            if _libc.unshare(CLONE_NEWNET):
                error = ctypes.get_errno()
                if error == 1:
                    raise Skip("network namespaces need root")
                raise OSError(error, f"unshare: {os.strerror(error)}")
            self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            _setns(here)
        finally:
            os.close(here)

    @contextlib.contextmanager
    def inside(self):
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _setns(self.descriptor)
            yield self
        finally:
            _setns(here)
            os.close(here)

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def run(self, *args, check=True, text=None):
        with self.inside():
            done = subprocess.run([str(a) for a in args], input=text, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=60)
        if check and done.returncode:
            raise RuntimeError(f"in {self.name}: {' '.join(map(str, args))}: exit {done.returncode}\n"
                               f"{text or ''}{done.stdout[-2000:]}")
        return done.stdout

    def ip(self, *lines):
        """Several commands of ip(8) in one process."""
        return self.run(need("ip"), "-batch", "-", text="\n".join(lines) + "\n")

    def sysctl(self, name, value):
        with self.inside(), open("/proc/sys/" + name.replace(".", "/"), "w") as file:
            file.write(str(value))

    def interface(self, name="eth0"):
        return json.loads(self.run(need("ip"), "-j", "link", "show", "dev", name))[0]

    def close(self):
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def mount_bpffs():
    with open("/proc/self/mounts") as mounts:
        if any(line.split()[1] == BPFFS for line in mounts):
            return
    done = subprocess.run(["mount", "-t", "bpf", "bpf", BPFFS], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Skip(f"bpffs cannot be mounted: {done.stderr.strip()}")


def sweep():
    """Removes what labs of dead processes have pinned."""
    for name in os.listdir(BPFFS):
        owner = re.match(re.escape(PIN_PREFIX) + r"(\d+)-", name)
        if owner and not os.path.exists(f"/proc/{owner[1]}"):
            shutil.rmtree(os.path.join(BPFFS, name), ignore_errors=True)


def bpftool(*args, parse=True):
    done = subprocess.run([need("bpftool"), "-j", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"bpftool {' '.join(map(str, args))}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout) if parse and done.stdout.strip() else None


def program_maps(program_id):
    """{map name: id} of a loaded program."""
    return {bpftool("map", "show", "id", i)["name"]: i for i in bpftool("prog", "show", "id", program_id)["map_ids"]}


class Link:
    """One veth pair between the gateway and an endpoint, seen from the endpoint."""

    def __init__(self, lab, number, endpoint, device, gateway_device):
        self.lab = lab
        self.number = number
        self.endpoint = endpoint
        self.device = device
        self.gateway_device = gateway_device
        self.gateway_address, self.address = f"198.18.{number}.1", f"198.18.{number}.2"
        self.gateway_address6, self.address6 = f"fd00:18:{number}::1", f"fd00:18:{number}::2"
        self.gateway_mac, self.mac = f"02:9a:00:00:00:{number:02x}", f"02:e0:00:00:00:{number:02x}"
        self.maps = None
        self.holder = None
        self.settings = {}

    def create(self, queues, mtu):
        queued = f"numtxqueues {queues} numrxqueues {queues}"
        self.lab.gateway.ip(f"link add {self.gateway_device} address {self.gateway_mac} {queued} mtu {mtu} type veth "
                            f"peer name {self.device} address {self.mac} {queued} mtu {mtu} netns {self.endpoint.path}")
        for space, device, end in ((self.lab.gateway, self.gateway_device, 1), (self.endpoint, self.device, 2)):
            space.ip(f"address add 198.18.{self.number}.{end}/24 dev {device}", f"link set {device} up",
                     *[f"address add fd00:18:{self.number}::{end}/64 dev {device} nodad" for _ in self.lab.six])
        for space, device in ((self.lab.gateway, self.gateway_device), (self.endpoint, self.device)):
            self.queue(space, device)
        self.offloads_off(self.endpoint, self.device)
        self.endpoint.run(need("ip"), "link", "set", "dev", self.device, "xdp", "pinned", self.lab.pinned("lab_pass"))

    @staticmethod
    def queue(space, device):
        """A queue, as a network card has: without one a burst that veth's ring does not hold is lost."""
        space.run(need("tc"), "qdisc", "replace", "dev", device, "root", "pfifo", "limit", "10000")

    @staticmethod
    def offloads_off(space, device):
        space.run(need("ethtool"), "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off", "txvlan", "off")

    def fixed_neighbours(self):
        """Static neighbour entries at both ends, as a switch port with a fixed address would have."""
        for space, device, number, mac in ((self.lab.gateway, self.gateway_device, 2, self.mac),
                                           (self.endpoint, self.device, 1, self.gateway_mac)):
            space.ip(*[f"neighbour replace {address}{number} lladdr {mac} dev {device} nud permanent"
                       for address in [f"198.18.{self.number}."] + [f"fd00:18:{self.number}::" for _ in self.lab.six]])

    def impair(self, loss=0.0, duplicate=0.0, hold=0.0, seed=1, hold_ms=(0.2, 4.0), vlan=0, directions=("egress", "ingress")):
        """From now on this link loses, duplicates and reorders these shares of the TCP packets; and carries
        this VLAN tag. Called again it changes the shares; counters go on."""
        if self.maps is None:
            self._prepare()
        if (duplicate or hold) and self.holder is None:
            with self.endpoint.inside():
                self.holder = Process([built("tests/hold"), "hold1", str(int(hold_ms[0] * 1000)),
                                       str(int(hold_ms[1] * 1000)), str(seed)]).start()
        for index, name in enumerate(("egress", "ingress")):
            on = name in directions
            parts = [int(share * 100000 + 0.5) if on else 0 for share in (loss, duplicate, hold)]
            value = struct.pack("=QIIIIII", seed * 4 + index, *parts, self.index, self.hold_index, vlan)
            bpftool("map", "update", "id", self.maps["link"], "key", *struct.pack("=I", index),
                    "value", *value, parse=False)
        self.settings = {"loss": loss, "duplicate": duplicate, "hold": hold}
        return self

    def _prepare(self):
        self.endpoint.ip("link add hold0 type veth peer name hold1", "link set hold0 up", "link set hold1 up")
        for device in ("hold0", "hold1"):
            self.offloads_off(self.endpoint, device)
        for device in ("hold0", "hold1"):
            self.endpoint.sysctl(f"net.ipv6.conf.{device}.disable_ipv6", 1)
        self.index = self.endpoint.interface(self.device)["ifindex"]
        self.hold_index = self.endpoint.interface("hold0")["ifindex"]
        # Whole frames with whole checksums must cross the hold, also those that the gateway's kernel sends.
        self.offloads_off(self.lab.gateway, self.gateway_device)
        folder = os.path.join(self.lab.pins, f"lossy{self.number}")
        bpftool("prog", "loadall", built("tests/lossy.bpf.o", mode=os.R_OK), folder, parse=False)
        try:
            tc = need("tc")
            for device in (self.device, "hold0"):
                self.endpoint.run(tc, "qdisc", "add", "dev", device, "clsact")
            for device, hook, program in ((self.device, "egress", "lossy_egress"), (self.device, "ingress", "lossy_ingress"),
                                          ("hold0", "ingress", "lossy_return")):
                self.endpoint.run(tc, "filter", "add", "dev", device, hook, "bpf", "direct-action", "object-pinned",
                                  os.path.join(folder, program))
            self.maps = program_maps(bpftool("prog", "show", "pinned", os.path.join(folder, "lossy_egress"))["id"])
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # the filters hold the programs

    def done(self):
        """What was done to packets so far: {'egress': {'packets': …, 'dropped': …, …}, 'ingress': …}."""
        entries = bpftool("map", "dump", "id", self.maps["done"])
        return {("egress", "ingress")[e["formatted"]["key"]]: e["formatted"]["value"] for e in entries}

    def down(self):
        self.endpoint.ip(f"link set {self.device} down")

    def up(self):
        self.endpoint.ip(f"link set {self.device} up")
        self.fixed_neighbours()


class Lab:
    """client, gateway and upstreams. Lab(upstreams=4).inside("client"), .links["up0"], …"""

    _count = 0

    def __init__(self, upstreams=4, queues=1, mtu=1500, fixed_neighbours=True, direct=False, rto_min_ms=None):
        if os.geteuid():
            raise Skip("network namespaces need root")
        mount_bpffs()
        sweep()
        Lab._count += 1
        self.pins = os.path.join(BPFFS, f"{PIN_PREFIX}{os.getpid()}-{Lab._count}")
        os.mkdir(self.pins)
        atexit.register(self._remove_pins)
        self.processes = []
        bpftool("prog", "loadall", built("tests/lossy.bpf.o", mode=os.R_OK), os.path.join(self.pins, "lab"), parse=False)
        names = ["client", "gateway"] + [f"up{i}" for i in range(upstreams)]
        self.spaces = {name: Namespace(name) for name in names}
        self.gateway, self.client = self.spaces["gateway"], self.spaces["client"]
        for space in self.spaces.values():
            space.ip("link set lo up")
            if rto_min_ms:  # an impaired network at the speed of a test: TCP's floor is 200 ms otherwise
                space.sysctl("net.ipv4.tcp_rto_min_us", rto_min_ms * 1000)
                with contextlib.suppress(FileNotFoundError):  # Linux 6.15: no backing off beyond a second
                    space.sysctl("net.ipv4.tcp_rto_max_ms", 1000)
        self.six = [6] if mtu >= 1280 else []  # RFC 8200 5: IPv6 does not run over less
        self.links = {}
        for number, name in enumerate(["client"] + names[2:]):
            link = self.links[name] = Link(self, number, self.spaces[name], "eth0", f"eth{number}")
            link.create(queues, mtu)
            if fixed_neighbours:
                link.fixed_neighbours()
        if direct:
            self._direct(queues, mtu)
        for name in names:
            if name != "gateway":
                self.spaces[name].ip(f"route add 198.18.0.0/15 via {self.links[name].gateway_address}",
                                     *[f"route add fd00:18::/32 via {self.links[name].gateway_address6}" for _ in self.six])

    def _direct(self, queues, mtu):
        queued = f"numtxqueues {queues} numrxqueues {queues}"
        client, up = self.client, self.spaces["up0"]
        client.ip(f"link add eth1 {queued} mtu {mtu} type veth peer name eth1 {queued} mtu {mtu} netns {up.path}")
        for space, end in ((client, 1), (up, 2)):
            space.ip(f"address add 198.18.99.{end}/24 dev eth1", "link set eth1 up")
            Link.queue(space, "eth1")
            Link.offloads_off(space, "eth1")
            space.run(need("ip"), "link", "set", "dev", "eth1", "xdp", "pinned", self.pinned("lab_pass"))

    def pinned(self, program):
        return os.path.join(self.pins, "lab", program)

    def inside(self, name):
        return self.spaces[name].inside()

    def run(self, name, *args, **more):
        return self.spaces[name].run(*args, **more)

    def start(self, name, process):
        """Starts a Process in a namespace; it ends with the lab."""
        with self.inside(name):
            process.start()
        self.processes.append(process)
        return process

    def where(self):
        return "\n".join(f"nsenter --net={space.path}   # {name}" for name, space in self.spaces.items())

    def impair(self, **shares):
        """The same on every link, each with a seed of its own."""
        seed = shares.pop("seed", 1)
        for link in self.links.values():
            link.impair(seed=seed * 100 + link.number, **shares)

    def impaired(self):
        """The sum of what was done over all links and directions."""
        total = {}
        for link in self.links.values():
            for counts in link.done().values():
                for name, value in counts.items():
                    total[name] = total.get(name, 0) + value
        return total

    def _remove_pins(self):
        shutil.rmtree(self.pins, ignore_errors=True)

    def stop(self):
        """Ends the programs; the namespaces go with the last of them."""
        for process in reversed(self.processes):
            if not isinstance(process, Gateway):
                process.end(5)
                process.remove()
        for link in self.links.values():
            if link.holder:
                link.holder.child.kill()
                link.holder.end(5)
        for space in self.spaces.values():
            space.close()
        self._remove_pins()


class LabGateway(Gateway):
    """phoenixd in the lab's gateway namespace, on port 80 of its client link. mode: xdp.mode."""

    def __init__(self, lab, routes, mode="off", interfaces=None, sanitized=False, start=True, xdp=None, **config):
        self.lab = lab
        link = lab.links["client"]
        self.pin_dir = os.path.join(lab.pins, "gateway")
        settings = {"mode": mode}
        if mode != "off":
            settings["interfaces"] = interfaces or [l.gateway_device for l in lab.links.values()]
            settings["pin_dir"] = self.pin_dir
        settings.update(xdp or {})
        listen = [f"{link.gateway_address}:80"] + [f"[{link.gateway_address6}]:80" for _ in lab.six]
        super().__init__(routes, sanitized=sanitized, start=False, listen=listen, xdp=settings, **config)
        self.config["admin"] = {"listen": None, "socket": self.socket_path}
        self.address, self.address6 = (link.gateway_address, 80), (link.gateway_address6, 80)
        self.admin = Admin(self.socket_path)
        if start:
            self.start()

    def start(self, wait=True):
        with self.lab.inside("gateway"):
            return super().start(wait)

    def restart(self):
        with self.lab.inside("gateway"):
            super().restart()


ROUTES = ("users", "orders")
SIZES = (0, 1, 13, 200, 1000, 1448, 1460, 2000, 4096, 20000, 102400)


def content(route, side, size):
    """The file of this size that this side of this route serves: text that says at each place where one is."""
    unit = f"{route}-{side}-{size}:"
    lines = b"".join(b"%s%08d\n" % (unit.encode(), i) for i in range(size // (len(unit) + 9) + 1))
    return lines[:size]


class Site(Process):
    """nginx in an upstream's namespace: /ROUTE/SIZE of one side, each answer with X-Upstream: ROUTE-SIDE and
    X-Number as in the request. `files` are others: {path below the root: bytes}."""

    def __init__(self, lab, space, route, side, sizes=SIZES, files=None, port=80):
        self.lab, self.space, self.route, self.side, self.port = lab, space, route, side, port
        self.address, self.address6 = lab.links[space].address, lab.links[space].address6
        directory = scratch()
        os.chmod(directory, 0o755)
        self.root = os.path.join(directory, "www")
        os.makedirs(os.path.join(self.root, route))
        for size in sizes:
            with open(self.file(size), "wb") as file:
                file.write(content(route, side, size))
        for name, data in (files or {}).items():
            os.makedirs(os.path.dirname(os.path.join(self.root, name)), exist_ok=True)
            with open(os.path.join(self.root, name), "wb") as file:
                file.write(data)
        config = os.path.join(directory, "nginx.conf")
        with open(config, "w") as file:
            file.write(nginx_config(directory, f"""
  default_type text/plain; types {{ application/json json; }} open_file_cache max=100; sendfile on; gzip_types text/plain; client_max_body_size 0;
  server {{
    listen 0.0.0.0:{port} backlog=4096; listen [::]:{port} backlog=4096;
    root {self.root};
    add_header X-Upstream {route}-{side} always; add_header X-Number $http_x_number always;
    location /empty/ {{ return 204; }}
    location /gz/ {{ rewrite ^/gz/(.*) /{route}/$1 break; gzip on; gzip_min_length 1; gzip_http_version 1.1; }}
    location = /stub {{ stub_status; }}
  }}"""))
        super().__init__([need("nginx"), "-c", config, "-e", os.path.join(directory, "nginx.error")], directory)

    def file(self, size):
        return os.path.join(self.root, self.route, str(size))

    url = property(lambda self: f"http://{self.address}:{self.port}")
    url6 = property(lambda self: f"http://[{self.address6}]:{self.port}")

    def start(self):
        with self.lab.inside(self.space):
            super().start()
            self.wait_ready()
        return self

    def wait_ready(self):
        import socket

        def there():
            if not self.alive():
                raise AssertionError(f"nginx ended:\n{self.log()[-2000:]}")
            with self.lab.inside(self.space), contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
        wait_for(f"nginx in {self.space}", there)


def sites(lab, sizes=SIZES, files=None):
    """Two routes with two sides each on up0 to up3: {("users", "legacy"): Site, …}. files(side): see Site."""
    out = {}
    for i, (route, side) in enumerate((r, s) for r in ROUTES for s in ("legacy", "modern")):
        site = Site(lab, f"up{i}", route, side, sizes, files and files(side))
        out[route, side] = site.start()
        lab.processes.append(site)
    return out


class Checker:
    """tests/lab/checker in the client's namespace: keep-alive connections whose every answer is compared byte by
    byte with what the route and the side that it names have to say."""

    def __init__(self, lab, address, all_sites, sizes=(200,), routes=ROUTES, connections=16, requests=None,
                 seconds=None, per_connection=0, hang_ms=20000, go_on=False, errors=False, close=False, space="client"):
        plan = os.path.join(scratch(), "plan")
        with open(plan, "w") as file:
            for route in routes:
                for size in sizes:
                    file.write(f"{route} /{route}/{size} {all_sites[route, 'legacy'].file(size)} "
                               f"{all_sites[route, 'modern'].file(size)}\n")
        args = [built("tests/checker"), "-c", connections, "-m", per_connection, "-t", hang_ms]
        args += ["-n", requests] if requests else ["-d", seconds]
        args += ["-r"] if go_on else []
        args += ["-e"] if errors else []
        args += ["-k"] if close else []
        with lab.inside(space):
            self.child = subprocess.Popen([str(a) for a in args + [address[0], address[1], plan]],
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.report = None
        self.lock = threading.Lock()

    def stop(self):
        self.child.send_signal(signal.SIGINT)
        return self.finish()

    def finish(self, timeout_s=120):
        """The report: answers, sides {route: {legacy, modern}}, broken, and failures (a list of sentences)."""
        if self.report is None:
            try:
                out, err = self.child.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                self.child.kill()
                out, err = self.child.communicate()
                raise AssertionError(f"the client did not end in {timeout_s} s\n{out[-500:]}{err[-500:]}") from None
            if self.child.returncode not in (0, 1):
                raise AssertionError(f"checker: exit {self.child.returncode}: {out[-500:]}{err[-1000:]}")
            self.report = json.loads(out)
        return self.report

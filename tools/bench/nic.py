# SPDX-License-Identifier: Apache-2.0
"""
nic: the NIC path beside the proxies, over links instead of loopback.

Two labs (tests/lib/lab.py), alike but for the XDP programs, so that nobody pays for what others have attached:

    client ── link ── gateway ── link ── origin          direct: client ── link ── origin

"load" is client and origin in one thread, each end in its own namespace, on the load's core. All that a gateway
does happens on the gateway's core, as in a machine of its own: its processes are pinned to it, and its devices
receive in kernel threads that are pinned to it (threaded NAPI), XDP programs included. So gateway_cpu_us is the
nanoseconds that the scheduler gave to those threads and processes, softirq included, by request. Two figures
check it: machine_cpu_us, the whole machine's busy time (/proc/stat) less that of a direct slice beside it, and
bpf_us, the programs' own run_time_ns in one slice more (counting that costs time, so it is a slice apart).

A slice counts only when client, origin and the path's own counter agree.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import time

import loopback
from subjects import Subjects, wait_port

TESTS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "tests")
sys.path.insert(0, TESTS)
SUBJECTS = ["direct", "haproxy", "nginx", "daemon", "xdp"]
ORIGIN_PORT = 8080
PORTS = {"haproxy": 81, "nginx": 82, "daemon": 83, "xdp": 80}
SOURCES = 40  # addresses of the client, so that it does not run out of ports
# name: (bytes, connections, a connection per request, share that is sampled)
CASES = {
    "nic-keepalive-200B": (200, 64, False, 0),
    "nic-keepalive-4KB": (4096, 64, False, 0),
    "nic-keepalive-100KB": (102400, 64, False, 0),
    "nic-keepalive-200B-sample-1": (200, 64, False, 0.01),
    "nic-keepalive-200B-sample-10": (200, 64, False, 0.1),
    "nic-keepalive-200B-sample-100": (200, 64, False, 1.0),
    # Last: what closed connections leave in TIME_WAIT is the kernel's, and so would be some of the next case's.
    "nic-close-200B": (200, 64, True, 0),
}


def kernel_threads(name):
    """{pid: comm} of the kernel's threads whose name begins like this."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/comm", encoding="utf-8") as f:
                    comm = f.read().strip()
            except OSError:
                continue
            if comm.startswith(name):
                found[int(entry)] = comm
    return found


def thread_us(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/schedstat", encoding="utf-8") as f:
            total += int(f.read().split()[0])
    return total / 1e3


def machine_us():
    """Busy time of all CPUs since boot: everything but idle and waiting for disks."""
    with open("/proc/stat", encoding="utf-8") as f:
        words = [int(word) for word in f.readline().split()[1:9]]
    return (sum(words) - words[3] - words[4]) * 1e6 / os.sysconf("SC_CLK_TCK")


class NicSubjects(Subjects):
    """The subjects of one lab. With `xdp` the only one is phoenixd with the programs attached."""

    host, origin = "198.18.0.1", "198.18.1.2"

    def __init__(self, build, xdp):
        super().__init__(build)
        from lib.lab import Lab
        self.xdp = xdp
        self.napi = {}
        self.lab = Lab(upstreams=1, direct=not xdp)
        client = self.lab.client
        client.ip(*[f"address add 198.18.0.{10 + i}/24 dev eth0" for i in range(SOURCES)])
        if not xdp:
            client.ip(*[f"address add 198.18.99.{10 + i}/24 dev eth1" for i in range(SOURCES)])
        for name, space in self.lab.spaces.items():
            # The gateway's ports below that are the NIC path's.
            space.sysctl("net.ipv4.ip_local_port_range", "32768 65535" if name == "gateway" else "1024 65535")
            space.sysctl("net.ipv4.tcp_tw_reuse", 1)
        self.thread("gateway", ["eth0", "eth1"], self.gateway_core)
        self.thread("client", ["eth0"] if xdp else ["eth0", "eth1"], self.other_cores)
        self.thread("up0", ["eth0"] if xdp else ["eth0", "eth1"], self.other_cores)

    def thread(self, space, devices, cores):
        """Lets these devices receive in threads of their own on these cores. veth has NAPI only with GRO or XDP."""
        before = set(kernel_threads("napi/"))
        for device in devices:
            self.lab.run(space, "ethtool", "-K", device, "gro", "on")
        script = "mount -t sysfs none /sys; " + "; ".join(f"echo 1 > /sys/class/net/{d}/threaded" for d in devices)
        self.lab.run(space, "unshare", "-m", "sh", "-ec", script)
        threads = set(kernel_threads("napi/")) - before
        if len(threads) < len(devices):
            sys.exit(f"bench: {space}: {len(threads)} receiving threads for {len(devices)} devices")
        self.place(threads, cores)
        self.napi[space] = threads

    @staticmethod
    def place(threads, cores):
        """On these cores, and before any process there, as interrupts are: or veth's rings run over."""
        for pid in threads:
            os.sched_setaffinity(pid, cores)
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))

    def start(self, name, command, port, cores, **pipes):
        where = "client" if name == "direct" else "gateway"
        with self.lab.inside(where):
            process = subprocess.Popen(command, start_new_session=True,
                                       preexec_fn=lambda: os.sched_setaffinity(0, cores),
                                       **(pipes or {"stdout": subprocess.DEVNULL}))
        self.processes[name], self.ports[name] = process, port
        with self.lab.inside("up0" if name == "direct" else "gateway"):
            wait_port(port, process, name, self.origin if name == "direct" else self.host)

    def start_all(self, names):
        self.start("direct", [os.path.join(self.build, "bench", "load"), str(ORIGIN_PORT), "0.0.0.0",
                              self.lab.spaces["up0"].path, self.lab.client.path], ORIGIN_PORT, self.other_cores,
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()
        for name in names:
            if name == "haproxy":
                self.start_haproxy(PORTS[name], ORIGIN_PORT)
            elif name == "nginx":
                self.start_nginx(PORTS[name], ORIGIN_PORT)
            elif name == "daemon":
                self.start_daemon(name, self.build, PORTS[name], ORIGIN_PORT)
            elif name == "xdp":
                self.start_daemon(name, self.build, PORTS[name], ORIGIN_PORT, xdp={
                    "mode": "native", "interfaces": ["eth0", "eth1"], "pin_dir": os.path.join(self.lab.pins, "gateway")})
                # A native program makes the devices' threads anew.
                self.napi["gateway"] = self.gateway_threads()

    def gateway_threads(self):
        others = set().union(*(pids for space, pids in self.napi.items() if space != "gateway"))
        mine = set(kernel_threads("napi/")) - others - self.foreign
        self.place(mine, self.gateway_core)
        return mine

    foreign = set()  # receiving threads that were there before any lab, or belong to the other one

    def way(self, name):
        return " 198.18.99.2 198.18.99.10 %d" % SOURCES if name == "direct" else f" {self.host} 198.18.0.10 {SOURCES}"

    def cpu_us(self, name):
        return super().cpu_us(name) + (0 if name == "direct" else thread_us(self.napi["gateway"]))

    def sample(self, share):
        """The share of exchanges to compare, by way of the configuration file and a reload."""
        for name in self.admin:
            with open(self.path(f"{name}.json"), encoding="utf-8") as f:
                config = json.load(f)
            config["routes"][0]["mirror"]["sample"] = share
            self.write(f"{name}.json", json.dumps(config))
            self.ask(name, "POST", "/admin/config/reload")

    def stop(self):
        super().stop()
        self.lab.stop()

    def bpf_us(self):
        """Sum of run_time_ns of the programs phx_*, in microseconds."""
        shown = json.loads(subprocess.run(["bpftool", "-j", "prog", "show"], check=True, capture_output=True, text=True).stdout)
        return sum(p.get("run_time_ns", 0) for p in shown if p.get("name", "").startswith("phx_")) / 1e3


def measure(subjects, name, case, milliseconds):
    body_bytes, connections, close, sample = CASES[case]
    subjects.tell(f"run {subjects.ports[name]} {body_bytes} {connections} {int(close)} {milliseconds}{subjects.way(name)}")
    paths = subjects.by_path(name)
    cpu, machine = subjects.cpu_us(name), machine_us()
    result = subjects.tell("go")
    cpu, machine = subjects.cpu_us(name) - cpu, machine_us() - machine
    requests = result["requests"]
    if not requests:
        sys.exit(f"bench: {case} {name}: no request in {milliseconds} ms")
    if result["served"] != requests and not (sample and result["served"] > requests):
        sys.exit(f"bench: {case} {name}: the clients counted {requests} answers, the origin {result['served']} requests")
    if paths is not None:
        moved = subjects.paths_since(name, paths, requests)
        path = "xdp" if name == "xdp" and not close else "daemon"
        if sum(moved.values()) != requests or moved.get(path, 0) < 0.99 * requests:
            sys.exit(f"bench: {case} {name}: the clients counted {requests} answers, the paths {moved}")
    return {"rps": requests / result["seconds"], "p50_us": result["p50_us"], "p99_us": result["p99_us"],
            "gateway_cpu_us": 0.0 if name == "direct" else cpu / requests, "machine_us": machine / requests}


def bpf_slice(subjects, case, milliseconds):
    """BPF time by request, with the kernel's statistics on for one slice."""
    path = "/proc/sys/kernel/bpf_stats_enabled"
    with open(path, encoding="utf-8") as f:
        old = f.read()
    try:
        with open(path, "w", encoding="utf-8") as f:
            f.write("1")
        body_bytes, connections, close, _sample = CASES[case]
        subjects.tell(f"run {subjects.ports['xdp']} {body_bytes} {connections} {int(close)} {milliseconds}{subjects.way('xdp')}")
        before = subjects.bpf_us()
        result = subjects.tell("go")
        return (subjects.bpf_us() - before) / result["requests"]
    finally:
        with open(path, "w", encoding="utf-8") as f:
            f.write(old)


def run_case(labs, names, case, arguments):
    if CASES[case][3]:
        names = [name for name in names if name in ("direct", "daemon", "xdp")]  # those that can
    rounds = {name: [] for name in names}
    for subjects in labs.values():
        subjects.sample(CASES[case][3])
    for index in range(arguments.rounds):
        for name in names if index % 2 == 0 else names[::-1]:
            rounds[name].append(measure(labs[name], name, case, arguments.milliseconds))
    bpf = bpf_slice(labs["xdp"], case, arguments.milliseconds) if "xdp" in names else None
    direct = rounds["direct"]
    entries = []
    for name in names:
        entry = {"case": case, "subject": name}
        for key in ("rps", "p50_us", "p99_us", "gateway_cpu_us"):
            entry[key] = round(statistics.median(r[key] for r in rounds[name]), 2)
        entry["machine_cpu_us"] = round(statistics.median(r["machine_us"] - d["machine_us"] for r, d in zip(rounds[name], direct)), 2)
        of_direct = [r["rps"] / d["rps"] for r, d in zip(rounds[name], direct)]
        entry["rps_ratio_to_direct"] = round(statistics.median(of_direct), 3)
        ratio = ""
        if name not in ("direct", names[-1]):
            ratios = [r["gateway_cpu_us"] / o["gateway_cpu_us"] for r, o in zip(rounds[name], rounds[names[-1]]) if o["gateway_cpu_us"]]
            ratio = loopback.spread(ratios) if ratios else ""
            entry[f"cpu_ratio_to_{names[-1]}"] = round(statistics.median(ratios), 3) if ratios else None
        if name == "xdp":
            entry["bpf_us"] = round(bpf, 2)
        print(f"{case:30} {name:8} {entry['rps']:8.0f} {entry['p50_us']:7.0f} {entry['p99_us']:7.0f} {entry['gateway_cpu_us']:8.2f} "
              f"{entry['machine_cpu_us']:8.2f} {entry.get('bpf_us', ''):>6} {loopback.spread(of_direct):>18}  {ratio}", flush=True)
        entries.append(entry)
    return entries


def run(arguments):
    cases = [case for case in CASES if re.search(arguments.case, case)]
    names = [name for name in SUBJECTS if name == "direct" or re.search(arguments.subject, name)]
    if not cases or not arguments.nic:
        return []
    if os.geteuid():
        print("nic: network namespaces need root: not measured", flush=True)
        return []
    os.environ["PHX_TEST_BUILD"] = arguments.build
    plain = NicSubjects(arguments.build, xdp=False)
    labs = {name: plain for name in names}
    try:
        plain.start_all([n for n in names if n not in ("direct", "xdp")])
        if "xdp" in names:
            NicSubjects.foreign = set(kernel_threads("napi/"))
            labs["xdp"] = NicSubjects(arguments.build, xdp=True)
            labs["xdp"].start_all(["xdp"])
        print(f"{'case':30} {'subject':8} {'req/s':>8} {'p50 us':>7} {'p99 us':>7} {'cpu us':>8} {'machine':>8} {'bpf us':>6} "
              f"{'req/s, direct = 1':>18}  cpu, {names[-1]} = 1")
        return [entry for case in cases for entry in run_case(labs, names, case, arguments)]
    finally:
        for subjects in set(labs.values()):
            subjects.stop()

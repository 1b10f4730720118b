# SPDX-License-Identifier: Apache-2.0
"""
subjects: what is measured, started side by side: each a process group of its own, pinned to the gateways' core.

"direct" is the load program itself, which is client and origin in one; "relay" copies bytes and parses
nothing. CPU time is that of all threads of all processes of a subject, from the scheduler's nanoseconds; on
loopback the packets' softirq work is done in the sender's system call and so is in it.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"  # where Debian puts nginx and haproxy


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, name, host="127.0.0.1"):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"bench: {name} ended with status {process.returncode} at start; see its output above")
        try:
            socket.create_connection((host, port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"bench: {name} does not listen on port {port} after 10 s")


class Subjects:
    """Processes by name, listening on `host` and asking the origin on `origin`. `extra`: other builds of phoenixd
    to measure beside this one, as {name: build folder}."""

    host = origin = "127.0.0.1"

    def __init__(self, build, extra=None):
        self.build = build
        self.extra = extra or {}
        self.folder = tempfile.mkdtemp(prefix="phoenix-bench-")
        os.chmod(self.folder, 0o755)  # nginx's worker is another user
        self.processes, self.ports, self.admin = {}, {}, {}
        cores = sorted(os.sched_getaffinity(0))
        # Gateways share the first core; load generator and origin have the others, or share the rest.
        self.gateway_core = {cores[0]}
        self.other_cores = set(cores[1:]) or {cores[0]}

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def start(self, name, command, port, cores, **pipes):
        process = subprocess.Popen(command, start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, cores),
                                   **(pipes or {"stdout": subprocess.DEVNULL}))
        self.processes[name], self.ports[name] = process, port
        wait_port(port, process, name, self.host)

    def way(self, name):
        """What the load program needs to know besides the port."""
        return ""

    def start_nginx(self, port, up):
        text = (f"daemon off; worker_processes 1; pid {self.path('ng')}.pid;\n"
                "error_log stderr crit; events { worker_connections 15000; }\n"
                "http { access_log off; keepalive_requests 100000000; " +
                " ".join(f"{kind}_temp_path {self.path(kind)};"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")) +
                f"\nupstream u {{ server {self.origin}:{up}; keepalive 1100; keepalive_requests 100000000; }}\n"
                f"server {{ listen {self.host}:{port} backlog=4096; location / {{ proxy_pass http://u; "
                "proxy_http_version 1.1; proxy_set_header Connection ''; } } }")
        self.start("nginx", ["nginx", "-p", self.folder, "-c", self.write("nginx.conf", text)], port,
                   self.gateway_core)

    def start_haproxy(self, port, up):
        text = ("global\n  nbthread 1\n  no strict-limits\n  maxconn 10100\ndefaults\n  mode http\n  timeout connect 5s\n"
                f"  timeout client 60s\n  timeout server 60s\nfrontend f\n  bind {self.host}:{port} backlog 4096\n"
                f"  default_backend b\nbackend b\n  http-reuse always\n  server s {self.origin}:{up}\n")
        self.start("haproxy", ["haproxy", "-q", "-f", self.write("haproxy.cfg", text)], port, self.gateway_core)

    def start_daemon(self, name, build, port, up, **more):
        self.admin[name] = self.path(f"{name}.sock")
        config = {"listen": [f"{self.host}:{port}"], "workers": 1, "state": {"store": "memory"},
                  "admin": {"listen": None, "socket": self.admin[name]},
                  "limits": {"connections": 12000, "upstream_connections": 4000},
                  "routes": [{"id": "all", "method": "*", "path": "/*", "legacy_url": f"http://{self.origin}:{up}",
                              "modern_url": f"http://{self.origin}:{up}", "mirror": {"sample": 0.0},
                              "arbiter": {"enabled": False}}], **more}
        self.start(name, [os.path.join(build, "phoenixd"), "--log-level", "error", "--config",
                          self.write(f"{name}.json", json.dumps(config))], port, self.gateway_core)

    def start_all(self, names):
        """Starts the named ones, and the load program, which is always there."""
        up = free_port()
        self.start("direct", [os.path.join(self.build, "bench", "load"), str(up)], up, self.other_cores,
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()
        for name in names:
            port = free_port()
            if name == "haproxy":
                self.start_haproxy(port, up)
            elif name == "nginx":
                self.start_nginx(port, up)
            elif name == "relay":
                self.start(name, [os.path.join(self.build, "bench", "relay"), str(port), str(up)], port,
                           self.gateway_core)
            elif name != "direct":
                self.start_daemon(name, self.extra.get(name, self.build), port, up)

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- the load program ---

    def tell(self, line):
        load = self.processes["direct"]
        load.stdin.write(line + "\n")
        load.stdin.flush()
        return self.answer()

    def answer(self):
        line = self.processes["direct"].stdout.readline()
        if not line:
            sys.exit("bench: the load program ended: what it saw (above) is no measurement of the right answers")
        return json.loads(line)

    # --- what the kernel and the daemon say ---

    def pids(self, name):
        session, found = self.processes[name].pid, []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.getsid(int(entry)) == session:
                    found.append(entry)
            except OSError:
                continue
        return found

    def cpu_us(self, name):
        total = 0
        for pid in self.pids(name):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as f:
                    total += int(f.read().split()[0])
        return total / 1e3

    def resident_bytes(self, name):
        total = 0
        for pid in self.pids(name):
            with open(f"/proc/{pid}/status", encoding="utf-8") as f:
                total += int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024
        return total

    def ask(self, name, method, path):
        """What a daemon's admin interface answers."""
        with socket.socket(socket.AF_UNIX) as s:
            for _ in range(100):  # at start the port is there before this socket
                if s.connect_ex(self.admin[name]) == 0:
                    break
                time.sleep(0.05)
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                      "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".encode())
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    def by_path(self, name):
        """{path: requests} that the daemon says it has served, or None for the others."""
        if name not in self.admin:
            return None
        text, total = self.ask(name, "GET", "/metrics"), {}
        for path, value in re.findall(r'^phoenix_requests_total\{.*path="(\w+)".*\} ([\d.e+]+)', text, re.M):
            total[path] = total.get(path, 0) + round(float(value))
        if not total:
            sys.exit(f"bench: {name}: no phoenix_requests_total in {text[:200]!r}")
        return total

    def paths_since(self, name, before, expected):
        """The daemon counts a request when the kernel tells that its answer was sent: the client may be faster."""
        for _ in range(40):
            moved = {path: n - before.get(path, 0) for path, n in self.by_path(name).items()}
            if sum(moved.values()) >= expected:
                break
            time.sleep(0.05)
        return moved


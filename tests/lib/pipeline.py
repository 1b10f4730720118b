# SPDX-License-Identifier: Apache-2.0
"""
pipeline: a gateway whose pipeline deploys real services, and what a test asks about them.

A deployed process outlives its gateway, as it should; `Rig.stop()` ends what is left of the rig's own, which it
knows by the mark in their environment (PHOENIX_RELEASE=FOLDER…), whatever the test did.
"""
import json
import os
import signal
import sys

from .case import check, equal
from .net import ask, free_port, response, wait_for
from .process import Gateway, built, run
from .upstream import Upstream

# A service in Python: FAULT decides how it misbehaves; every request is counted.
SERVICE = '''
import http.server, json, os, sys, time
FAULT, COUNT = os.environ.get("FAULT", ""), [0]
time.sleep(float(os.environ.get("SLOW_START", "0")))
if FAULT == "no-start":
    sys.exit("this service cannot start: no database")
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        status, value = 200, 1
        if self.path == "/healthz":
            status = 503 if FAULT == "unhealthy" else 200
        else:
            COUNT[0] += 1
            if FAULT == "crash" and COUNT[0] > 10:
                os._exit(7)
            if FAULT == "slow":
                time.sleep(float(os.environ["SLOW"]))
            if FAULT == "wrong" or FAULT == "sometimes" and COUNT[0] % 20 == 0:
                value = 2
        body = json.dumps({"v": value, "path": self.path}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''


def legacy_answer(ex):
    body = json.dumps({"path": ex.target, "v": 1}).encode()
    return response(200, body, {"Content-Type": "application/json"})


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and key not in ("files", "source", "scenario"):
            merge(into[key], value)
        else:
            into[key] = value
    return into


class Rig:
    def __init__(self, sanitized=True, environment=None, **config):
        self.legacy = Upstream(legacy_answer)
        self.gw = Gateway([], sanitized=sanitized, environment=environment, **config)
        self.admin = self.gw.admin
        self.work = config.get("pipeline", {}).get("directory") or os.path.join(self.gw.directory, "pipeline")
        self.count = 0

    def spec(self, id, fault=None, **more):
        """A quick migration of GET /ID/*; `more` goes into it, key by key."""
        spec = {
            "id": id,
            "route": {"method": "GET", "path": f"/{id}/*", "legacy_url": self.legacy.url, "mirror": {"timeout_ms": 2000}},
            "service": {"source": {"files": {"server.py": SERVICE}}, "language": "python", "port": free_port(),
                        "health": "/healthz", "command": [sys.executable, "server.py"], "environment": {"FAULT": fault} if fault else {}},
            "verify": [{"request": {"path": f"/{id}/1"}}],
            "deploy": {"kind": "process"},
            "traffic": {"scenario": {"requests": [{"path": f"/{id}/1"}]}, "rate": 300, "round_ms": 400, "connections": 4},
            "policy": {"min_samples": 20, "step": 0.5, "interval_ms": 100},
        }
        return merge(spec, more)

    def write(self, spec, name="spec.json"):
        path = os.path.join(self.gw.directory, f"{self.count}-{name}")
        self.count += 1
        with open(path, "w") as file:
            file.write(spec if isinstance(spec, str) else json.dumps(spec, indent=1))
        return path

    def ctl(self, *args, timeout_s=60):
        return run(built("phoenixctl"), "--admin", self.gw.socket_path, *args, timeout_s=timeout_s)

    def migrate(self, spec, *args, timeout_s=60):
        """phoenixctl migrate to the end: (exit, stdout, stderr)."""
        return self.ctl("migrate", self.write(spec), "--timeout", f"{timeout_s - 5}s", *args, timeout_s=timeout_s)

    def submit(self, spec, query=""):
        reply = self.admin.post("/admin/migrations" + query, spec)
        equal(reply.status, 202, f"POST /admin/migrations: {reply}")
        return reply.json()

    def get(self, id):
        return self.admin.json(f"/admin/migrations/{id}")

    def known(self, id):
        return self.admin.request("GET", f"/admin/migrations/{id}").status == 200

    def wait_stage(self, id, *stages, timeout_s=40, every_s=0.01):
        def look():
            try:
                item = self.get(id)
            except OSError:
                return None
            return item if item["stage"] in stages else None
        try:
            return wait_for(f"{id} in {' or '.join(stages)}", look, timeout_s, every_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.get(id), indent=1)[-3000:]}") from None

    def wait_over(self, id, timeout_s=50):
        def look():
            item = self.get(id)
            return item if item["over"] else None
        try:
            return wait_for(f"the end of {id}", look, timeout_s, 0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.get(id), indent=1)[-3000:]}") from None

    def processes(self, id=""):
        """Pids of the services that this rig's pipeline started, trials too."""
        mark = f"PHOENIX_RELEASE={self.work}/{id}{':' if id else ''}".encode()
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/environ", "rb") as file:
                        if any(item.startswith(mark) for item in file.read().split(b"\0")):
                            found.append(int(name))
                except OSError:
                    pass
        return found

    def tell_processes(self, id=""):
        """Their pids, parents, states and marks, for a message."""
        lines = []
        for pid in self.processes(id):
            try:
                with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/environ") as env, open(f"/proc/{pid}/cmdline") as cmd:
                    mark = [e for e in env.read().split("\0") if e.startswith("PHOENIX_RELEASE")]
                    lines.append(f"{stat.read().split()[:4]} {cmd.read()!r} {mark}")
            except OSError as error:
                lines.append(f"{pid}: {error}")
        return "\n".join(lines)

    def one_process(self, id):
        """Exactly one, once what is ending has ended."""
        try:
            wait_for(f"exactly one process of {id}", lambda: len(self.processes(id)) == 1, 10)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tell_processes(id)}") from None

    def no_process(self, id=""):
        wait_for(f"no process of {id}", lambda: not self.processes(id), 10)

    def requests_of_users(self):
        """What legacy was asked in earnest: no copies."""
        return [e for e in self.legacy.seen if e.get("x-phoenix-shadow") is None]

    def alive(self):
        return self.gw.alive()

    def end_services(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def stop(self):
        try:
            self.gw.stop()
        finally:
            self.end_services()
            self.legacy.stop()


def stages_of(item):
    return {s["stage"]: s["status"] for s in item["stages"]}


def log_of(item):
    return "\n".join(line["text"] for line in item["log"])


def answer_of(spec, path):
    """What the deployed service answers, once it listens."""
    def look():
        try:
            return ask(("127.0.0.1", spec["service"]["port"]), "GET", path).json()
        except OSError:
            return None
    return wait_for(f"an answer of {spec['id']}", look, 10)

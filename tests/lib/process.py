# SPDX-License-Identifier: Apache-2.0
"""
process: the programs that tests start, and how they end.

Every program is a child in the process group of the module that started it; it is ended by its own pid, and
the runner ends what is left of the group. `Gateway` is the proxy under test: phoenixd, or, to see what the
tests themselves are worth, haproxy or nginx as a plain proxy to one upstream (PHX_TEST_SUBJECT).
"""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from .admin import Admin
from .net import ask, free_port, wait_for

SUBJECT = os.environ.get("PHX_TEST_SUBJECT", "phoenix")
BUILD = os.environ.get("PHX_TEST_BUILD", "build")
ASAN_BUILD = os.environ.get("PHX_TEST_ASAN_BUILD", "build/asan")
SANITIZER = re.compile(r"(ERROR: (Address|Leak)Sanitizer|runtime error:|AddressSanitizer:DEADLYSIGNAL)")
_running = []


class Skip(Exception):
    """What a test needs is not here; the text says what."""


def need(program):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Skip(f"{program} is not installed")
    return path


def built(name, sanitized=False, mode=os.X_OK):
    """The path of a program (or, with os.R_OK, of another file) that the Makefile makes."""
    folders = [ASAN_BUILD, BUILD] if sanitized else [BUILD]
    for folder in folders:
        path = os.path.join(folder, name)
        if os.access(path, mode):
            return os.path.abspath(path)
    raise FileNotFoundError(f"{name} is not built in {' or '.join(folders)}")  # ours: a failure, not a skip


def scratch():
    return tempfile.mkdtemp(prefix="phx-")


class Process:
    def __init__(self, args, directory=None, env=None):
        self.directory = directory or scratch()
        self.log_path = os.path.join(self.directory, os.path.basename(args[0]) + ".log")
        self.args = args
        self.env = env
        self.child = None

    def start(self):
        environment = dict(os.environ, **(self.env or {}))
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          cwd=self.directory, env=environment)
        _running.append(self)
        return self

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def signal(self, number):
        if self.alive():
            self.child.send_signal(number)

    def end(self, timeout_s=10):
        """SIGTERM, then SIGKILL; the exit status, or None when it had to be killed."""
        status = None
        if self.child is not None:
            self.signal(signal.SIGTERM)
            try:
                status = self.child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self in _running:
            _running.remove(self)
        return status

    def kill(self):
        """SIGKILL, as a crash would."""
        self.child.kill()
        self.child.wait()
        if self in _running:
            _running.remove(self)

    def memory_kb(self, field="VmRSS"):
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise RuntimeError(f"no {field} for {self.pid}")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def end_all():
    for process in list(_running):
        process.end(3)


def route(id="all", path="/*", legacy=None, modern=None, method="*", sample=0, arbiter=None, **more):
    """A route of the configuration: no mirroring and no arbiter unless asked for."""
    out = {
        "id": id, "method": method, "path": path,
        "legacy_url": legacy, "modern_url": modern or legacy, "weight": more.pop("weight", 0),
        "mirror": {"sample": sample, "control": 0, **more.pop("mirror", {})},  # legacy is never asked twice by surprise
        "arbiter": {"enabled": True, **arbiter} if arbiter is not None else {"enabled": False},
    }
    out.update(more)
    return out


class Gateway(Process):
    """The proxy under test. `routes` are route() dictionaries; everything else goes into the file as it is."""

    def __init__(self, routes, sanitized=False, yaml=None, start=True, subject=None, environment=None, **config):
        self.subject = subject or SUBJECT
        directory = scratch()
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.admin_port = free_port()
        self.socket_path = os.path.join(directory, "admin.sock")
        self.config_path = os.path.join(directory, "phoenix.json")
        self.state_path = os.path.join(directory, "state.json")
        self.log_shown = False
        self.routes = routes
        self.config = {
            "listen": [f"127.0.0.1:{self.port}"],
            "admin": {"listen": f"127.0.0.1:{self.admin_port}", "socket": self.socket_path},
            "state": {"store": "file", "path": self.state_path},
            "xdp": {"mode": "off"},
            "routes": routes,
        }
        if sanitized:
            self.config["seccomp"] = False  # the leak check at the end traces its own process
        self.config.update(config)
        args = {"phoenix": self._phoenix, "haproxy": self._haproxy, "nginx": self._nginx}[self.subject](
            directory, sanitized)
        super().__init__(args, directory, {"ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1",
                                           "UBSAN_OPTIONS": "print_stacktrace=1", **(environment or {})})
        self.admin = Admin(("127.0.0.1", self.admin_port))
        self.admin_unix = Admin(self.socket_path)
        if start:
            self.start()

    @property
    def sanitized(self):
        return "/asan/" in self.args[0] or "asan" in os.path.dirname(self.args[0])

    def _phoenix(self, directory, sanitized):
        return [built("phoenixd", sanitized), "--config", self.config_path]

    def _only_upstream(self):
        return re.sub(r"^http://([^/]*).*", r"\1", self.routes[0]["legacy_url"])

    def _haproxy(self, directory, sanitized):
        path = os.path.join(directory, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(f"""global
  maxconn 2000
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout http-request 10s
  timeout server 30s
frontend f
  bind 127.0.0.1:{self.port}
  option forwardfor
  default_backend b
backend b
  server s {self._only_upstream()}
""")
        return [need("haproxy"), "-f", path, "-db"]

    def _nginx(self, directory, sanitized):
        path = os.path.join(directory, "nginx.conf")
        with open(path, "w") as file:
            file.write(nginx_config(directory, f"""
  upstream u {{ server {self._only_upstream()}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{self.port};
    client_max_body_size 0;
    location / {{
      proxy_pass http://u; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off;
      proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}"""))
        return [need("nginx"), "-c", path, "-e", os.path.join(directory, "nginx.error")]

    def write_config(self):
        temporary = self.config_path + ".new"
        with open(temporary, "w") as file:
            json.dump(self.config, file, indent=2)
        os.replace(temporary, self.config_path)

    def start(self, wait=True):
        self.write_config()
        super().start()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout_s=20):
        def ready():
            if not self.alive():
                raise AssertionError(f"{self.args[0]} ended with {self.child.returncode} instead of starting:\n"
                                     f"{self.log()[-3000:]}")
            try:
                if self.subject == "phoenix":
                    return self.admin.get("/readyz").status == 200
                with __import__("socket").create_connection(self.address, 1):
                    return True
            except OSError:
                return False
        try:
            wait_for("the gateway being ready", ready, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None

    def ask(self, method="GET", target="/", fields=(), body=None, **more):
        return ask(self.address, method, target, fields, body, **more)

    def restart(self):
        """After kill() or end(): the same configuration file, untouched."""
        super().start()
        self.wait_ready()

    def stop(self):
        """Ends it as an operator would and looks at how it went."""
        if not self.alive():
            text = self.log()
            raise AssertionError(f"{self.args[0]} was not running any more: exit status "
                                 f"{self.child.returncode}\n{text[-6000:]}")
        status = self.end(15)
        text = self.log()
        found = SANITIZER.search(text)
        if found:
            raise AssertionError("sanitizer report:\n" + text[found.start():found.start() + 6000])
        if self.subject == "phoenix" and status != 0:
            raise AssertionError(f"SIGTERM: {'had to be killed' if status is None else f'exit {status}'}\n"
                                 f"{text[-3000:]}")
        self.remove()


def nginx_config(directory, servers, workers=1):
    return f"""daemon off; master_process {"on" if workers > 1 else "off"}; worker_processes {workers};
pid {directory}/nginx.pid; error_log {directory}/nginx.error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; keepalive_timeout 600s; large_client_header_buffers 4 32k;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
{servers}
}}
"""


class Nginx(Process):
    """nginx with these server blocks; {port0}, {port1}, … in the text are filled in."""

    def __init__(self, servers, ports=1):
        directory = scratch()
        self.ports = [free_port() for _ in range(ports)]
        for i, port in enumerate(self.ports):
            servers = servers.replace("{port%d}" % i, str(port))
        servers = servers.replace("{dir}", directory)
        self.port = self.ports[0]
        path = os.path.join(directory, "nginx.conf")
        with open(path, "w") as file:
            file.write(nginx_config(directory, servers))
        os.chmod(directory, 0o755)
        super().__init__([need("nginx"), "-c", path, "-e", os.path.join(directory, "nginx.error")], directory)

    def url(self, i=0):
        return f"http://127.0.0.1:{self.ports[i]}"

    def start(self):
        super().start()
        for port in self.ports:
            wait_for_port(port, self)
        return self


class Haproxy(Process):
    """haproxy in front of another server."""

    def __init__(self, backend_port):
        directory = scratch()
        self.port = free_port()
        path = os.path.join(directory, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(f"""defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{self.port}
  default_backend b
backend b
  server s 127.0.0.1:{backend_port}
""")
        super().__init__([need("haproxy"), "-f", path, "-db"], directory)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        super().start()
        wait_for_port(self.port, self)
        return self


def wait_for_port(port, process=None, timeout_s=10):
    import socket

    def there():
        if process is not None and not process.alive():
            raise AssertionError(f"{process.args[0]} ended:\n{process.log()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False
    wait_for(f"port {port}", there, timeout_s)


def run(*args, timeout_s=30, **more):
    """A program to its end: (exit status, stdout, stderr)."""
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout_s, text=True, **more)
    return done.returncode, done.stdout, done.stderr


def wrk(address, seconds, connections=16, threads=1, path="/", script=None, header=None):
    """Starts wrk; call .finish() for {'requests': n, 'errors': n, 'text': …}. Every error counts: socket
    errors and answers other than 2xx."""
    args = [need("wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "--latency"]
    if script:
        args += ["-s", script]
    if header:
        args += ["-H", header]
    child = subprocess.Popen(args + [f"http://{address[0]}:{address[1]}{path}"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)

    def finish():
        text = child.communicate(timeout=seconds + 20)[0]
        requests = int(re.search(r"(\d+) requests in", text)[1])
        errors = 0
        socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        if socket_errors:
            errors += sum(int(n) for n in socket_errors.groups())
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        if wrong:
            errors += int(wrong[1])
        return {"requests": requests, "errors": errors, "text": text}
    child.finish = finish
    return child

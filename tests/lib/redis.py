# SPDX-License-Identifier: Apache-2.0
"""
redis: real redis-server and redis-sentinel programs, on free ports of loopback or on a Unix socket.

A server is started as a child of the test's module like every other program (process.py), keeps its data in its own
scratch directory, and ends with the module whatever the test did. What a fleet has to live through is one call each:

    kill()     SIGKILL              start()   again, with what it had saved      restart_empty()  again, with nothing
    freeze()   SIGSTOP: hung        thaw()    SIGCONT                            hold()           frozen within `with`

`cli()` speaks the protocol over a socket of its own; it needs no library and answers what Redis says:
str, int, None, a list, or raises RedisError.
"""
import contextlib
import os
import signal
import socket

from .net import free_port, wait_for
from .process import Process, need, scratch


class RedisError(Exception):
    """An answer that begins with "-"."""


class Connection:
    """One connection to a Redis: command(*words) -> answer. Pub/sub messages come from read()."""

    def __init__(self, address, password=None, timeout_s=10):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family)
        self.sock.settimeout(timeout_s)
        self.sock.connect(address)
        self.buffer = b""
        if password:
            self.command("AUTH", password)

    def send(self, *words):
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.sock.sendall(b"".join(out))

    def command(self, *words):
        self.send(*words)
        return self.read()

    def _more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError("Redis closed the connection")
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            while len(self.buffer) < size + 2:
                self._more()
            text, self.buffer = self.buffer[:size], self.buffer[size + 2:]
            return text.decode("utf-8", "replace")
        if kind == b"*":
            return None if int(rest) < 0 else [self.read() for _ in range(int(rest))]
        raise RedisError(f"unreadable answer {line!r}")

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Redis(Process):
    """redis-server. unix=True: on a socket file only. password: requirepass. Everything else becomes a line of its
    configuration, underscores as dashes: Redis(maxmemory="2mb", maxmemory_policy="noeviction"). appendonly=True
    (the default) keeps every write over kill()."""

    def __init__(self, unix=False, password=None, appendonly=True, replica_of=None, start=True, **settings):
        directory = scratch()
        self.password = password
        self.port = 0 if unix else free_port()
        self.socket_path = os.path.join(directory, "redis.sock") if unix else None
        self.address = self.socket_path or ("127.0.0.1", self.port)
        self.settings = {"bind": "127.0.0.1", "port": self.port, "dir": directory, "save": '""',
                         "appendonly": "yes" if appendonly else "no", "appendfsync": "no", "loglevel": "notice",
                         "protected-mode": "no"}
        if unix:
            self.settings["unixsocket"] = self.socket_path
        if password:
            self.settings.update({"requirepass": password, "masterauth": password})
        if replica_of:
            self.settings["replicaof"] = f"127.0.0.1 {replica_of.port}"
        self.settings.update({name.replace("_", "-"): value for name, value in settings.items()})
        self.config_path = os.path.join(directory, "redis.conf")
        self.frozen = False
        super().__init__([need("redis-server"), self.config_path], directory)
        if start:
            self.start()

    @property
    def url(self):
        """As `state.url` has it."""
        user = f":{self.password}@" if self.password else ""
        if self.socket_path:
            return f"unix://{user}{self.socket_path}"
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def start(self, wait=True):
        with open(self.config_path, "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in self.settings.items())
        super().start()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout_s=10):
        def ready():
            if not self.alive():
                raise AssertionError(f"redis-server ended with {self.child.returncode}:\n{self.log()[-2000:]}")
            try:
                return self.cli("PING") == "PONG"
            except (OSError, RedisError):
                return False
        wait_for("redis-server", ready, timeout_s)

    def connect(self, timeout_s=10):
        return Connection(self.address, self.password, timeout_s)

    def cli(self, *words, timeout_s=10):
        with self.connect(timeout_s) as link:
            return link.command(*words)

    def keys(self, pattern="*"):
        return sorted(self.cli("KEYS", pattern))

    def hash(self, key):
        flat = self.cli("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))

    def commands(self):
        """How many commands it has served so far, by name."""
        out = {}
        for line in self.cli("INFO", "commandstats").splitlines():
            if line.startswith("cmdstat_"):
                name, rest = line[len("cmdstat_"):].split(":", 1)
                out[name] = int(dict(item.split("=") for item in rest.split(","))["calls"])
        return out

    def freeze(self):
        """Hung: the kernel still takes connections and bytes, and nobody answers."""
        self.signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self):
        self.signal(signal.SIGCONT)
        self.frozen = False

    @contextlib.contextmanager
    def hold(self):
        self.freeze()
        try:
            yield self
        finally:
            self.thaw()

    def kill(self):
        self.frozen = False
        super().kill()

    def restart(self):
        self.start()

    def empty(self):
        """Nothing of the data is left on disk. Only while it does not run."""
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            if name.startswith("appendonly") or name.endswith((".rdb", ".aof")):
                if os.path.isdir(path):
                    for part in os.listdir(path):
                        os.unlink(os.path.join(path, part))
                    os.rmdir(path)
                else:
                    os.unlink(path)

    def restart_empty(self):
        """As a Redis without persistence comes back."""
        if self.alive():
            self.kill()
        self.empty()
        self.start()

    def end(self, timeout_s=10):
        if self.frozen:
            self.thaw()
        return super().end(timeout_s)

    def stop(self):
        self.end(5)
        self.remove()


class Sentinel(Process):
    """redis-sentinel that watches one master under a name. Its own state lives in its configuration file."""

    def __init__(self, master, name="phoenix", quorum=1, down_after_ms=500, failover_timeout_ms=2000, start=True):
        directory = scratch()
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.name = name
        self.config_path = os.path.join(directory, "sentinel.conf")
        with open(self.config_path, "w") as file:
            file.write(f"""port {self.port}
bind 127.0.0.1
dir {directory}
protected-mode no
sentinel monitor {name} 127.0.0.1 {master.port} {quorum}
sentinel down-after-milliseconds {name} {down_after_ms}
sentinel failover-timeout {name} {failover_timeout_ms}
sentinel parallel-syncs {name} 1
""" + (f"sentinel auth-pass {name} {master.password}\n" if master.password else ""))
        super().__init__([need("redis-sentinel"), self.config_path], directory)
        if start:
            self.start()

    def start(self):
        super().start()
        wait_for("redis-sentinel", self._there)
        return self

    def _there(self):
        if not self.alive():
            raise AssertionError(f"redis-sentinel ended:\n{self.log()[-2000:]}")
        try:
            return self.cli("PING") == "PONG"
        except (OSError, RedisError):
            return False

    def cli(self, *words):
        with Connection(self.address) as link:
            return link.command(*words)

    def master_port(self):
        answer = self.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return int(answer[1]) if answer else None

    def replicas(self):
        """How many replicas the sentinel knows to be in step."""
        flat = self.cli("SENTINEL", "REPLICAS", self.name)
        entries = [dict(zip(entry[::2], entry[1::2])) for entry in flat]
        return sum(entry.get("master-link-status") == "ok" for entry in entries)

    def wait_failover(self, former, timeout_s=30):
        """Until another server is the master and takes writes; its port."""
        def look():
            port = self.master_port()
            if not port or port == former.port:
                return None
            try:
                with Connection(("127.0.0.1", port), former.password) as link:
                    return port if link.command("ROLE")[0] == "master" else None
            except (OSError, RedisError):
                return None
        return wait_for("a new master", look, timeout_s, 0.05)

    def stop(self):
        self.end(5)
        self.remove()

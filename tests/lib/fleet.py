# SPDX-License-Identifier: Apache-2.0
"""
fleet: several gateways that share one Redis, clients that ask all of them all the time, and an eye on what none of
them may do: fail a request, move a weight backwards without a rollback, take a step twice.

    clients ──▶ gateway 0 ─┐            ┌─▶ legacy (nginx)
            ──▶ gateway 1 ─┼── Redis    └─▶ modern (nginx)
            ──▶ gateway 2 ─┘
"""
import glob
import json
import os
import threading
import time

from .case import check, equal
from .net import Client, Cut, wait_for
from .process import Gateway, Nginx
from .redis import Redis

LEASE_MS = 1000


def services():
    """Legacy on url(0) and modern on url(1), who say the same and who they are."""
    block = "".join("""
  server {{ listen 127.0.0.1:{{port{i}}} backlog=1024;
    location / {{ default_type application/json; add_header X-Upstream {name}; return 200 '{{"v":1}}'; }} }}"""
                    .format(i=i, name=name) for i, name in enumerate(("legacy", "modern")))
    return Nginx(block, ports=2)


class Fleet:
    """`routes` is the configuration of every gateway. stop() is orderly for those that still run."""

    def __init__(self, routes, size=3, redis=None, lease_ms=LEASE_MS, sanitized=False, state=None, **config):
        self.redis = redis or Redis()
        self.gateways = []
        for _ in range(size):
            gw = Gateway(routes, sanitized=sanitized, start=False, **config)
            gw.config["state"] = {"store": "redis", "url": self.redis.url, "path": gw.state_path, "lease_ms": lease_ms,
                                  **(state or {})}
            self.gateways.append(gw)
        self.lease_s = lease_ms / 1000
        for gw in self.gateways:
            gw.start()

    def alive(self):
        return [gw for gw in self.gateways if gw.alive()]

    @staticmethod
    def view(gw):
        reply = gw.admin.request("GET", "/admin/status", timeout_s=5)
        equal(reply.status, 200, "GET /admin/status")
        return reply.json()["fleet"]

    def leaders(self, other_than=()):
        out = []
        for gw in self.alive():
            try:
                if gw not in other_than and self.view(gw)["role"] == "leads":
                    out.append(gw)
            except OSError:  # just killed
                pass
        return out

    def leader(self, timeout_s=15, other_than=()):
        """The gateway that leads; waits for one. Those of other_than are not even asked: they may hang."""
        try:
            return wait_for("a leader", lambda: self.leaders(other_than), timeout_s)[0]
        except AssertionError as error:
            raise AssertionError(f"{error}; " + "; ".join(f"{gw.port}: {self.view(gw)}" for gw in self.alive()
                                                          if gw not in other_than)) from None

    def followers(self):
        leader = self.leader()
        return [gw for gw in self.alive() if gw is not leader]

    def weights(self, name):
        return [gw.admin.weight(name)["set"] for gw in self.alive()]

    def wait_weight(self, name, weight, timeout_s=40):
        try:
            wait_for(f"{name} at {weight} everywhere", lambda: all(w == weight for w in self.weights(name)), timeout_s, 0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; " + json.dumps([gw.admin.route(name) for gw in self.alive()])[:3000]) from None

    def decisions(self, name):
        """What all gateways wrote down about the route, the dead ones too, by epoch; each decision once."""
        out = {}
        for gw in self.gateways:
            for path in sorted(glob.glob(os.path.join(gw.directory, "*decisions*.jsonl*"))):
                with open(path) as file:
                    for line in file:
                        try:
                            record = json.loads(line)
                        except ValueError:
                            continue  # cut by a kill
                        if record["route"] == name:
                            out[record["id"]] = record
        return sorted(out.values(), key=lambda record: (record["epoch"], record["step"], record["at"]))

    def check_steps(self, name, step=None, whole=True):
        """Each promotion was decided once, from the weight where the one before had ended."""
        moves = [d for d in self.decisions(name) if d["action"] in ("promote", "rollback", "manual", "retry")]
        promotions = [(d["weight_old"], d["weight_new"]) for d in moves if d["action"] == "promote"]
        equal(len(set(promotions)), len(promotions), f"a step was taken twice: {promotions}")
        at = None
        for move in moves:
            if at is not None:
                equal(move["weight_old"], at, f"a decision began elsewhere than the one before ended: "
                                              f"{[(d['action'], d['weight_old'], d['weight_new'], d['epoch']) for d in moves]}")
            at = move["weight_new"]
            if step and move["action"] == "promote":
                check(abs(move["weight_new"] - move["weight_old"] - step) < 1e-9, "a double step", move)
        if whole:
            equal(at, 1.0, "where the last decision ended")
        return promotions

    def stop(self):
        failed = []
        for gw in reversed(self.gateways):
            try:
                if gw.alive():
                    gw.stop()
                else:
                    gw.remove()
            except AssertionError as error:
                failed.append(str(error))
        self.redis.stop()
        if failed:
            raise AssertionError("\n".join(failed))


class Clients:
    """Keep-alive clients of every gateway: `each` connections to each, `rate` requests a second on each."""

    def __init__(self, gateways, path, each=2, rate=120, body=b'{"v":1}'):
        self.path, self.rate, self.body = path, rate, body
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.counts = {gw: {"legacy": 0, "modern": 0} for gw in gateways}
        self.failures = []  # (gateway, when, what)
        self.killed = set()  # whose connections may break
        self.threads = [threading.Thread(target=self._run, args=(gw,), daemon=True) for gw in gateways for _ in range(each)]
        for thread in self.threads:
            thread.start()

    def killing(self, gw):
        """From now on errors of this gateway are its death, not a failure."""
        self.killed.add(gw)

    def back(self, gw):
        self.killed.discard(gw)

    def _run(self, gw):
        client, due = None, time.monotonic()
        while not self.stopping.is_set():
            due = max(due + 1 / self.rate, time.monotonic() - 0.2)
            time.sleep(max(0, due - time.monotonic()))
            try:
                if client is None:
                    client = Client(gw.address)
                answer = client.ask("GET", self.path)
                if answer.status != 200 or self.body not in (None, answer.body):
                    raise AssertionError(f"{answer}")
                with self.lock:
                    side = answer.get("x-upstream", "unknown")
                    self.counts[gw][side] = self.counts[gw].get(side, 0) + 1
            except (OSError, Cut, AssertionError) as error:
                if client:
                    client.close()
                client = None
                if gw not in self.killed:
                    self.failures.append((gw.port, time.monotonic(), repr(error)))
                time.sleep(0.05)
        if client:
            client.close()

    def finish(self):
        """No request failed but those to a gateway that was dead. {gateway: {side: n}}"""
        self.stopping.set()
        for thread in self.threads:
            thread.join(15)
        equal(self.failures[:5], [], f"{len(self.failures)} failed requests")
        return self.counts


class Watch:
    """Looks at the weight of a route on every gateway all the time: it only grows, but for a rollback."""

    def __init__(self, fleet, name):
        self.fleet, self.name = fleet, name
        self.seen = {gw: [] for gw in fleet.gateways}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.is_set():
            for gw in self.fleet.gateways:
                try:
                    item = gw.admin.request("GET", f"/admin/routes/{self.name}/weight", timeout_s=0.5).json()
                except (OSError, ValueError):
                    continue
                if not self.seen[gw] or self.seen[gw][-1] != item["set"]:
                    self.seen[gw].append(item["set"])
            time.sleep(0.02)

    def finish(self):
        self.stopping.set()
        self.thread.join(10)
        for gw, weights in self.seen.items():
            equal(weights, sorted(weights), f"the weights of gateway {gw.port} in their order")
        return self.seen

# SPDX-License-Identifier: Apache-2.0
"""
bank: a short migration of the demo services, with real HTTP traffic, right and with each fault.
"""
import json
import threading
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, Cut, free_port, wait_for
from lib.process import Gateway, Process, built, route, wait_for_port
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
ARBITER = {"min_samples": 30, "step": 0.25, "interval_ms": 100}


def setup():
    env = Bench()
    env.services = []
    env.port = {}
    for name, program, fault in [("legacy", "bank-legacy", None), ("modern", "bank-modern", None)] + [
            (f, "bank-modern", f) for f in ("wrong-value", "wrong-status", "slow", "crash")]:
        env.port[name] = free_port()
        args = [built(f"demo/{program}"), "--listen", f"127.0.0.1:{env.port[name]}"]
        if fault:
            args += ["--fault", fault]
        service = env.own(Process(args).start())
        wait_for_port(env.port[name], service)
    return env


def gateway(env, modern):
    both = {"legacy": f"http://127.0.0.1:{env.port['legacy']}", "modern": f"http://127.0.0.1:{env.port[modern]}", "sample": 1.0,
            "compare": {"ignore": ["/meta", "/transfer_id"]}, "arbiter": ARBITER}
    return Gateway([route("transfer", "/transfer-funds", method="POST", mirror={"unsafe_methods": True, "timeout_ms": 500}, **both),
                    route("accounts", "/accounts/*", method="GET", mirror={"timeout_ms": 500}, **both)])


class Customers:
    """Transfers and look-ups until stop."""

    def __init__(self, gw):
        self.gw, self.on, self.answers = gw, True, []
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(3)]

    def _run(self, number):
        turn = 0
        while self.on:
            try:
                with Client(self.gw.address, timeout_s=8) as c:
                    while self.on:
                        turn += 1
                        body = json.dumps({"from": str(1001 + turn % 40), "to": str(1051 + (turn * number) % 40), "amount": 10 + turn % 7,
                                           "currency": "EUR", "reference": f"r{turn}"}).encode()
                        r = c.ask("POST", "/transfer-funds", {"Content-Type": "application/json",
                                                              "Idempotency-Key": f"{number}-{turn}"}, body)
                        self.answers.append(r.status)
                        r = c.ask("GET", f"/accounts/{1001 + turn % 100}")
                        self.answers.append(r.status)
            except (Cut, OSError):
                self.answers.append(0)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.on = False
        for t in self.threads:
            t.join(10)


def begin(gw):
    for name in ("transfer", "accounts"):
        if gw.admin.route(name)["state"] == "idle":
            gw.admin.ok("POST", f"/admin/routes/{name}/start")


@timeout(90)
def test_migration(env):
    gw = gateway(env, "modern")
    try:
        begin(gw)
        with Customers(gw) as customers:
            for name in ("transfer", "accounts"):
                r = gw.admin.wait_state(name, "complete", timeout_s=40)
                equal((r["headline"], r["weight"]["set"]), ("Migration Complete", 1.0))
        equal(gw.admin.json("/admin/status")["headline"], "Migration Complete")
        check(len(customers.answers) > 200)
        equal([s for s in customers.answers if s not in (200, 201)], [], "customers saw nothing but success")
        equal(gw.admin.route("transfer")["consistency"]["mismatches"], 0)
    finally:
        gw.stop()


@timeout(90)
@table(["wrong-value", "wrong-status", "slow"])
def test_fault_is_rolled_back(env, row):
    gw = gateway(env, row)
    try:
        begin(gw)
        with Customers(gw):
            wait_for("a rollback", lambda: any(gw.admin.route(n)["state"] == "rolled_back" for n in ("transfer", "accounts")), 40, 0.1)
        rolled = [n for n in ("transfer", "accounts") if gw.admin.route(n)["state"] == "rolled_back"]
        for name in rolled:
            r = gw.admin.route(name)
            equal((r["headline"], r["weight"]["wanted"], r["weight"]["set"]), ("Rollback triggered", 0.0, 0.0))
            check("< 95%" in r["rollback"]["reason"], r["rollback"])
        equal(gw.admin.json("/admin/status")["headline"], "Rollback triggered")
    finally:
        gw.stop()

# SPDX-License-Identifier: Apache-2.0
"""
oracles: the same odd requests to Phoenix, haproxy and nginx, each before an upstream that reads strictly.

The requests are those of bad_requests and their mutants: bytes changed, doubled, left out, pieces of two requests
joined. What must hold for Phoenix whatever it is sent: the upstream gets well-formed requests or nothing, as many as
were answered from there, and a request that both others refuse is not taken. Where the others take more is counted and
printed: that is what the strictness costs and buys.

PHX_ORACLE_REQUESTS=N tries N mutants, PHX_ORACLE_SEED=N others.
"""
import os
import random

from lib.case import Bench, check, equal, timeout
from lib.net import Client, Cut, Malformed, response
from lib.process import Gateway, need, route, wait_for_port
from lib.upstream import Upstream

from .test_bad_requests import AFTER, ODD, REFUSED

SUBJECTS = ("phoenix",)
REQUESTS = int(os.environ.get("PHX_ORACLE_REQUESTS", "400"))
SEED = int(os.environ.get("PHX_ORACLE_SEED", "20260205"))
ORACLES = ("haproxy", "nginx")


class Side:
    """A proxy and the upstream behind it."""

    def __init__(self, env, subject):
        self.up = env.own(Upstream(lambda ex: response(200, b"up")))
        self.gw = env.own(Gateway([route(legacy=self.up.url)], subject=subject, sanitized=subject == "phoenix", workers=1,
                                  start=False))
        self.gw.start(wait=subject == "phoenix")
        if subject != "phoenix":
            wait_for_port(self.gw.port, self.gw)
            self.up.forget()

    def ask(self, raw, patience_s):
        """(the first answer's status or None, requests that the upstream saw, what it could not read)"""
        self.up.forget()
        status = None
        with Client(self.gw.address, timeout_s=patience_s) as client:
            client.send_tolerant(raw)
            try:
                status = client.response("HEAD" if raw.lstrip(b"\r\n").startswith(b"HEAD ") else "GET").status
            except (Cut, Malformed, OSError, TimeoutError):
                pass
        return status, len(self.up.seen), list(self.up.refused)


def setup():
    for program in ORACLES:
        need(program)
    env = Bench()
    env.sides = {subject: Side(env, subject) for subject in ("phoenix",) + ORACLES}
    return env


def mutants(rng):
    """Endless; never so long that a proxy answers before all was sent."""
    good, bad = ([row.raw for row in rows if len(row.raw) < 500] for rows in (ODD, REFUSED))
    seeds = good + bad
    odd = b"\r\n\t :,;=\"\\/?#%[]@*.0aZ-+_\x00\x80\xff\x7f\x0b"
    while True:
        raw = bytearray(rng.choice(good if rng.randrange(3) else bad))
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(raw) + 1)
            what = rng.randrange(5)
            if what == 0:
                raw[at:at] = bytes([rng.choice(odd)])
            elif what == 1:
                del raw[at:at + 1]
            elif what == 2 and at < len(raw):
                raw[at] = rng.choice(odd)
            elif what == 3:
                raw[at:at] = raw[at:at + rng.randrange(1, 20)]
            else:
                other = rng.choice(seeds)
                raw[at:] = other[rng.randrange(len(other)):]
        yield bytes(raw)


@timeout(300 if REQUESTS > 400 else 120)
def test_mutants(env):
    rng = random.Random(SEED)
    verdicts = {}
    alone, source = [], mutants(rng)
    for _ in range(REQUESTS):
        raw = next(source)
        results = {"phoenix": env.sides["phoenix"].ask(raw + AFTER, 3)}
        # Patience where it matters: is there nobody else who takes this?
        patience_s = 5 if results["phoenix"][0] in range(200, 400) else 0.3
        for name in ORACLES:
            results[name] = env.sides[name].ask(raw + AFTER, patience_s)
        status, seen, unread = results["phoenix"]
        equal(unread, [], f"what the upstream behind Phoenix could not read, of {raw!r}")
        taken = {name: result[0] is not None and result[0] < 400 for name, result in results.items()}
        verdicts[tuple(taken.values())] = verdicts.get(tuple(taken.values()), 0) + 1
        check(seen or not taken["phoenix"], f"answered {status}, and the upstream saw nothing, of {raw!r}")
        if taken["phoenix"] and not any(taken[name] for name in ORACLES):
            alone.append(raw)
    print("taken by (phoenix, haproxy, nginx): " + ", ".join(f"{k}: {n}" for k, n in sorted(verdicts.items())))
    equal(alone, [], "requests that Phoenix alone takes")
    check(sum(verdicts.values()) == REQUESTS and verdicts.get((True, True, True), 0) > REQUESTS // 20,
          f"hardly any request was good: {verdicts}")

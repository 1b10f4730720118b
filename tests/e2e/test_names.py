# SPDX-License-Identifier: Apache-2.0
"""
names: host names in upstream URLs are looked up, and looked up again. The daemon runs in a mount namespace of its
own (unshare), in which /etc/hosts is a file of this test.
"""
import os
import shutil
import time

from lib.case import Bench, check, equal, timeout
from lib.net import Client, response, wait_for
from lib.process import Gateway, Skip, route, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
NAME = "service.phoenix.test"


def write_hosts(env, address):
    # In place: the file is mounted, and a new one beside it would not be seen.
    with open(env.hosts, "w", encoding="ascii") as f:
        f.write("127.0.0.1 localhost\n" + (f"{address} {NAME}\n" if address else ""))


def setup():
    if os.geteuid() != 0 or not shutil.which("unshare"):
        raise Skip("needs root and unshare, for a mount namespace")
    env = Bench()
    env.old = env.own(Upstream(lambda ex: response(200, b"old"), host="127.0.0.2"))
    env.new = env.own(Upstream(lambda ex: response(200, b"new"), host="127.0.0.3", port=env.old.port))
    env.hosts = os.path.join(scratch(), "hosts")
    write_hosts(env, "127.0.0.2")
    env.gw = Gateway([route(legacy=f"http://{NAME}:{env.old.port}")], sanitized=True, workers=1, start=False)
    env.gw.args = ["unshare", "-m", "sh", "-c", f'mount --bind {env.hosts} /etc/hosts && exec "$@"', "sh", *env.gw.args]
    env.own(env.gw)
    env.gw.start()
    return env


def body(env):
    r = env.gw.ask()
    return r.status, r.body


@timeout(60)
def test_a_name_that_moves_is_followed(env):
    """Within the ten seconds of a lookup, although the connection to the old address is warm and the old server is
    still there."""
    equal(body(env), (200, b"old"))
    write_hosts(env, "127.0.0.3")
    with Client(env.gw.address) as c:
        wait_for("the new address", lambda: c.ask().body == b"new", timeout_s=25)
        for _ in range(20):
            equal(c.ask().body, b"new")
    env.old.close_idle()


@timeout(60)
def test_a_name_that_vanishes_keeps_its_last_address(env):
    write_hosts(env, None)
    until = time.monotonic() + 12
    while time.monotonic() < until:
        equal(body(env), (200, b"new"))
        time.sleep(0.25)


@timeout(60)
def test_a_dead_address_is_looked_up_soon(env):
    """A failed connection asks for a lookup at once; nobody waits for the next round of ten seconds."""
    env.new.stop()
    write_hosts(env, "127.0.0.2")
    started = time.monotonic()
    wait_for("the old address", lambda: body(env) == (200, b"old"), timeout_s=9, every_s=0.2)
    check(time.monotonic() - started < 9)

# SPDX-License-Identifier: Apache-2.0
"""
sandbox: what the running daemon has given up. tests/unit/test_sandbox.c tries the filter from inside.
"""
import os
import pwd

from lib.case import Bench, check, equal
from lib.net import response, wait_for
from lib.process import Gateway, Skip, route, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.up = env.own(Upstream(lambda ex: response(200, ex.read_body())))
    return env


def threads(gateway):
    """(uids, seccomp, no_new_privs) of each thread."""
    for task in os.listdir(f"/proc/{gateway.pid}/task"):
        with open(f"/proc/{gateway.pid}/task/{task}/status") as status:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        yield fields["Uid"].split(), fields["Seccomp"].strip(), fields["NoNewPrivs"].strip(), fields["CapEff"].strip()


def test_filter_is_on_by_default(env):
    gw = Gateway([route(legacy=env.up.url, sample=1.0)], workers=2)
    try:
        equal({(s, n) for _, s, n, _ in threads(gw)}, {("2", "1")}, "seccomp and no_new_privs of all threads")
        equal(gw.ask("POST", "/x", body=b"abc").body, b"abc")
        gw.admin.set_weight("all", 0.5)
        gw.admin.ok("POST", "/admin/config/reload")
    finally:
        gw.stop()


def test_filter_can_be_off(env):
    gw = Gateway([route(legacy=env.up.url)], seccomp=False)
    try:
        equal({s for _, s, _, _ in threads(gw)}, {"0"})
    finally:
        gw.stop()


def test_another_user(env):
    """As nobody: requests, decisions, a reload, a restart and the end, without a right that only root has."""
    if os.geteuid() != 0:
        raise Skip("only root can become another user")
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    directory = scratch()
    os.chmod(directory, 0o755)
    os.chmod(os.path.dirname(directory), 0o711)
    gw = Gateway([route(legacy=env.up.url, sample=1.0)], workers=2, user="nobody", start=False,
                 state={"store": "file", "path": os.path.join(directory, "phoenix", "state.json")})
    os.chmod(gw.directory, 0o755)
    gw.start()
    try:
        for uids, seccomp, _, capabilities in threads(gw):
            equal((set(uids), seccomp, int(capabilities, 16)), ({nobody}, "2", 0), "uid, seccomp, capabilities")
        equal(gw.ask("POST", "/x", body=b"abc").body, b"abc")
        gw.admin.set_weight("all", 0.5)
        check("cannot" not in gw.log(), gw.log())
        gw.admin.ok("POST", "/admin/config/reload")
        equal(gw.end(), 0)
        gw.restart()
        equal(gw.admin.weight("all")["set"], 0.5)
        equal(gw.admin_unix.weight("all")["set"], 0.5)
    finally:
        gw.stop()


def test_user_that_does_not_exist(env):
    gw = Gateway([route(legacy=env.up.url)], user="no-such-user", start=False)
    gw.start(wait=False)
    wait_for("the daemon's refusal", lambda: not gw.alive())
    equal(gw.child.returncode, 1)
    check("adduser --system" in gw.log(), gw.log())
    gw.end()
    gw.remove()


def test_state_that_the_user_cannot_write(env):
    """Said at the start, not at the first change."""
    if os.geteuid() != 0:
        raise Skip("only root can become another user")
    directory = scratch()
    with open(os.path.join(directory, "somebody-elses"), "w"):
        pass
    gw = Gateway([route(legacy=env.up.url)], user="nobody", start=False,
                 state={"store": "file", "path": os.path.join(directory, "state.json")})
    gw.start(wait=False)
    wait_for("the daemon's refusal", lambda: not gw.alive())
    equal(gw.child.returncode, 1)
    check("may not write to" in gw.log(), gw.log())
    gw.end()
    gw.remove()

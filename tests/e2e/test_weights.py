# SPDX-License-Identifier: Apache-2.0
"""
weights: the split is exact, effective on the next request, kept over crashes, and changed without a failed
request. wanted, set and seen are three numbers.
"""
import json
import os
import re
import signal
import threading
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, ask, response, wait_for
from lib.process import Gateway, Nginx, built, route, run, wrk
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
SIDES = """
server { listen 127.0.0.1:{port0}; location / { return 200 "legacy"; } }
server { listen 127.0.0.1:{port1}; location / { return 200 "modern"; } }
"""


def routes(env):
    legacy, modern = env.sides.url(0), env.sides.url(1)
    return [
        route("r", "/r", legacy=legacy, modern=modern),
        route("load", "/load", legacy=legacy, modern=modern),
        route("ip", "/ip", legacy=legacy, modern=modern, split={"by": "client_ip"}),
        route("header", "/header", legacy=legacy, modern=modern, split={"by": "header:X-User"}),
        route("cookie", "/cookie", legacy=legacy, modern=modern, split={"by": "cookie:session"}),
    ]


def setup():
    env = Bench()
    env.sides = env.own(Nginx(SIDES, ports=2).start())
    env.gw = env.own(Gateway(routes(env), workers=2))
    env.admin = env.gw.admin
    return env


def sides(env, path, n, client=None):
    """n requests on one connection: the list of sides."""
    c = client or Client(env.gw.address)
    out = [c.ask("GET", path).body.decode() for _ in range(n)]
    if not client:
        c.close()
    return out


@table([0.0, 0.01, 0.1, 0.25, 0.3, 0.5, 0.7, 0.99, 1.0])
def test_share_of_windows(env, row):
    """Any 100 consecutive requests hold 100·w ± 1, on connections of both workers."""
    env.admin.set_weight("r", row)
    clients = [Client(env.gw.address) for _ in range(7)]
    got = [clients[i % 7].ask("GET", "/r").body == b"modern" for i in range(700)]
    for c in clients:
        c.close()
    for start in range(0, 600, 50):
        n = sum(got[start:start + 100])
        check(abs(n - 100 * row) <= 1, f"requests {start} to {start + 99}: {n} of 100 at weight {row}")
    if row in (0.0, 1.0):
        equal(sum(got), 700 * int(row), "0 and 1 are absolute")


def test_share_with_concurrent_connections(env):
    """Ten clients at once, both workers: 1,000 requests at 0.3 are 300 ± a few that were under way."""
    env.admin.set_weight("r", 0.3)
    out = []
    lock = threading.Lock()

    def work():
        mine = sides(env, "/r", 100)
        with lock:
            out.extend(mine)
    threads = [threading.Thread(target=work) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    equal(len(out), 1000)
    check(abs(out.count("modern") - 300) <= 1, f"{out.count('modern')} of 1000 at 0.3")


def test_repeating_client_is_not_caught_in_the_pattern(env):
    """A client that asks for two things in turn gets both from both sides."""
    env.admin.set_weight("r", 0.5)
    got = sides(env, "/r", 400)
    even, odd = got[0::2].count("modern"), got[1::2].count("modern")
    check(min(even, odd) > 40, f"modern served {even} even and {odd} odd requests")


def test_next_request_obeys(env):
    """On open keep-alive connections, on every worker, at once after the answer of the POST."""
    clients = [Client(env.gw.address) for _ in range(16)]
    for weight, want in ((1.0, b"modern"), (0.0, b"legacy")) * 10:
        answer = env.admin.set_weight("r", weight)
        equal((answer["wanted"], answer["set"]), (weight, weight))
        for c in clients:
            equal(c.ask("GET", "/r").body, want, f"after weight {weight}")
    for c in clients:
        c.close()


def test_answer_has_wanted_set_seen(env):
    first = env.admin.set_weight("r", 0.35, "because")
    for key in ("wanted", "set", "seen"):
        check(key in first, f"{key} is missing", first)
    equal((first["wanted"], first["set"]), (0.35, 0.35))
    sides(env, "/r", 400)
    wait_for("seen to follow", lambda: abs((env.admin.weight("r")["seen"] or 0) - 0.35) <= 0.02)
    got = env.admin.weight("r")
    equal((got["wanted"], got["set"]), (0.35, 0.35))


def test_put_is_like_post(env):
    reply = env.admin.request("PUT", "/admin/routes/r/weight", {"weight": 0.2, "reason": "put"})
    equal((reply.status, reply.json()["set"]), (200, 0.2))


@table([("above", {"weight": 1.1}), ("below", {"weight": -0.1}), ("percent", {"weight": 35}), ("text", {"weight": "0.3"}),
        ("null", {"weight": None}), ("missing", {}), ("list", [0.3]), ("bool", {"weight": True}), ("finer", {"weight": 0.33333}),
        ("unknown-key", {"weight": 0.3, "wieght": 0.4}), ("huge", {"weight": 1e300}), ("number", 0.3)])
def test_bad_weight(env, row):
    env.admin.set_weight("r", 0.4)
    reply = env.admin.post("/admin/routes/r/weight", row[1])
    if row[0] == "finer" and reply.status == 200:
        equal(reply.json()["set"], 0.3333, "rounded to basis points")
        return
    check(reply.status in (400, 422), reply)
    equal(reply.get("content-type").split(";")[0], "application/problem+json")
    problem = reply.json()
    equal(problem["status"], reply.status)
    check(problem.get("title") and problem.get("detail"), problem)
    if row[0] in ("above", "below", "percent"):
        text = problem["detail"] + json.dumps(problem.get("errors", ""))
        check(str(row[1]["weight"]) in text, "the value is named", text)
        check("1" in text.replace(str(row[1]["weight"]), ""), "the limit is named", text)
    equal(env.admin.weight("r")["wanted"], 0.4, "the weight after a refused one")


@table([("not-json", b"{weight: 0.3}"), ("empty", b""), ("cut", b'{"weight": 0.'), ("two", b'{"weight": 0.3}{"weight": 0.4}'),
        ("duplicate", b'{"weight": 0.3, "weight": 0.4}'), ("nan", b'{"weight": NaN}')])
def test_bad_weight_text(env, row):
    reply = env.admin.request("POST", "/admin/routes/r/weight", row[1])
    check(reply.status in (400, 422), reply)
    equal(reply.get("content-type").split(";")[0], "application/problem+json")


def test_unknown_route_is_404(env):
    reply = env.admin.post("/admin/routes/nope/weight", {"weight": 0.3})
    equal((reply.status, reply.get("content-type").split(";")[0]), (404, "application/problem+json"))


@timeout(90)
def test_change_under_load(env):
    """0 -> 0.3 -> 1.0 -> 0 while wrk runs: no failed request, and the shares of each phase are exact."""
    env.admin.set_weight("load", 0)
    load = wrk(env.gw.address, 8, connections=32, threads=2, path="/load")

    def counts():
        """Both of one moment: between two questions a busy machine serves many."""
        served = {"legacy": 0, "modern": 0}
        for name, value in env.admin.metrics().items():
            side = re.match(r'phoenix_requests_total\{route="load",backend="(\w+)"', name)
            if side:
                served[side[1]] += value
        return served["legacy"], served["modern"]
    wait_for("load", lambda: counts()[0] > 500)
    equal(counts()[1], 0, "modern requests at 0")
    for weight in (0.3, 1.0, 0.0):
        answer = env.admin.set_weight("load", weight)
        equal(answer["set"], weight)
        time.sleep(0.2)  # what was under way at the change ends on its old side
        before = counts()
        wait_for("requests in this phase", lambda: sum(counts()) > sum(before) + 2000, 20)
        after = counts()
        n, modern = sum(after) - sum(before), after[1] - before[1]
        slack = 2 + 64 if 0 < weight < 1 else 0  # counted at the end of a request: 32 connections are under way
        check(abs(modern - n * weight) <= slack, f"{modern} of {n:.0f} at {weight}")
    result = load.finish()
    equal(result["errors"], 0, result["text"])


@timeout(90)
def test_hundred_changes_under_load(env):
    load = wrk(env.gw.address, 5, connections=16, path="/load")
    for i in range(100):
        weight = (i * 37 % 101) / 100
        equal(env.admin.set_weight("load", weight)["set"], weight)
    result = load.finish()
    equal(result["errors"], 0, result["text"])
    env.admin.set_weight("load", 0)


def test_sum_of_counts_is_the_sum_of_requests(env):
    """Exactly 1,000 requests at 0.3, all finished: the counters say 300 ± 1 modern."""
    env.admin.set_weight("r", 0.3)
    m = env.admin
    before = (m.metric("phoenix_requests_total", route="r", backend="legacy") or 0,
              m.metric("phoenix_requests_total", route="r", backend="modern") or 0)
    sides(env, "/r", 1000)
    wait_for("the counters", lambda: (m.metric("phoenix_requests_total", route="r") or 0) == sum(before) + 1000)
    modern = m.metric("phoenix_requests_total", route="r", backend="modern") - before[1]
    check(abs(modern - 300) <= 1, modern)


# --- keyed splits -----------------------------------------------------------------------------------------

def keyed(env, name, key):
    if name == "ip":
        with Client(env.gw.address, source=key) as c:
            return c.ask("GET", "/ip").body.decode()
    fields = {"X-User": key} if name == "header" else {"Cookie": f"a=b; session={key}; c=d"}
    return ask(env.gw.address, "GET", f"/{name}", fields).body.decode()


@table(["ip", "header", "cookie"])
def test_keyed_split_is_stable_and_monotone(env, row):
    keys = [f"127.0.{i // 250}.{i % 250 + 2}" for i in range(400)] if row == "ip" else [f"user-{i}" for i in range(400)]
    env.admin.set_weight(row, 0)
    check(all(keyed(env, row, k) == "legacy" for k in keys[:50]), "weight 0")
    before = set()
    for weight in (0.1, 0.3, 0.5, 0.9):
        env.admin.set_weight(row, weight)
        modern = {k for k in keys if keyed(env, row, k) == "modern"}
        check(before <= modern, f"{len(before - modern)} keys flipped back at {weight}")
        share = len(modern) / len(keys)
        check(abs(share - weight) < 0.12, f"{share:.2f} of the keys at weight {weight}")
        before = modern
        again = {k for k in keys[:100] if keyed(env, row, k) == "modern"}
        equal(again, modern & set(keys[:100]), "the same keys on the same side")
    env.admin.set_weight(row, 1.0)
    check(all(keyed(env, row, k) == "modern" for k in keys[:50]), "weight 1")
    env.admin.set_weight(row, 0.5)
    back = {k for k in keys if keyed(env, row, k) == "modern"}
    check(back <= before, "lowering takes away, and adds nobody")


@table(["header", "cookie"])
def test_missing_key_has_a_side(env, row):
    """Without the header or cookie the request is served all the same, and 0 and 1 stay absolute."""
    for weight, want in ((0.0, {b"legacy"}), (1.0, {b"modern"}), (0.5, {b"legacy", b"modern"})):
        env.admin.set_weight(row, weight)
        for _ in range(10):
            check(ask(env.gw.address, "GET", f"/{row}").body in want, f"weight {weight}")


@table([("first", "session=K; a=b"), ("last", "a=b; session=K"), ("no-space", "a=b;session=K;c=d"), ("alone", "session=K")])
def test_cookie_is_found_anywhere(env, row):
    env.admin.set_weight("cookie", 0.5)
    for i in range(20):
        want = keyed(env, "cookie", f"k{i}")
        got = ask(env.gw.address, "GET", "/cookie", {"Cookie": row[1].replace("K", f"k{i}")}).body.decode()
        equal(got, want, f"cookie {row[1]}")


def test_cookie_name_is_whole(env):
    """`xsession=…` is another cookie, and two Cookie fields are one list."""
    env.admin.set_weight("cookie", 0.5)
    for i in range(20):
        want = keyed(env, "cookie", f"k{i}")
        got = ask(env.gw.address, "GET", "/cookie", [("Cookie", "xsession=other"), ("Cookie", f"session=k{i}")]).body.decode()
        equal(got, want)


# --- kept -------------------------------------------------------------------------------------------------

def fresh(env, **more):
    return Gateway([route("r", "/r", legacy=env.sides.url(0), modern=env.sides.url(1), **more)])


def share(gw, n=200):
    with Client(gw.address) as c:
        return sum(c.ask("GET", "/r").body == b"modern" for _ in range(n)) / n


def test_kill_and_restart_keeps_the_weight(env):
    gw = fresh(env)
    try:
        gw.admin.set_weight("r", 0.35)
        gw.kill()
        gw.restart()
        got = gw.admin.weight("r")
        equal((got["wanted"], got["set"]), (0.35, 0.35))
        check(abs(share(gw) - 0.35) <= 0.01)
        route_now = gw.admin.route("r")
        equal(route_now["weight"]["drift"], True, "drift from the file is shown")
    finally:
        gw.stop()


@timeout(90)
def test_kill_at_any_moment_keeps_a_whole_state(env):
    """kill -9 right after the answer of each change: what was answered is there."""
    gw = fresh(env)
    try:
        for i in range(8):
            weight = (i * 13 % 97 + 1) / 100
            gw.admin.set_weight("r", weight)
            gw.kill()
            gw.restart()
            equal(gw.admin.weight("r")["wanted"], weight, f"round {i}")
    finally:
        gw.stop()


def test_changed_file_value_wins(env):
    gw = fresh(env, weight=0.1)
    try:
        equal(gw.admin.weight("r")["wanted"], 0.1)
        gw.admin.set_weight("r", 0.6)
        gw.kill()
        gw.restart()
        equal(gw.admin.weight("r")["wanted"], 0.6, "run time owns the weight")
        gw.kill()
        gw.config["routes"][0]["weight"] = 0.2
        gw.start()
        equal(gw.admin.weight("r")["wanted"], 0.2, "a changed file value wins")
        # and is reported
        log = gw.log()
        check("0.2" in log or "20%" in log, "the log says that the file won", log[-2000:])
    finally:
        gw.stop()


def test_file_value_reload(env):
    gw = fresh(env, weight=0.1)
    try:
        gw.admin.set_weight("r", 0.6)
        gw.admin.ok("POST", "/admin/config/reload")
        equal(gw.admin.weight("r")["wanted"], 0.6, "a reload of the same file")
        gw.config["routes"][0]["weight"] = 0.2
        gw.write_config()
        reply = gw.admin.ok("POST", "/admin/config/reload")
        equal(gw.admin.weight("r")["wanted"], 0.2, "a changed file value wins")
        check("r" in json.dumps(reply.json().get("weights_from_file")), reply)
    finally:
        gw.stop()


def newer(text):
    state = json.loads(text)
    return json.dumps({**state, "format": state["format"] + 1}).encode()


def edited(text):
    """A weight that nobody set: the checksum is the file's own."""
    return text.replace(b'"weight_bp":6000', b'"weight_bp":9000')


@table([("cut", lambda s: s[:len(s) // 2], "is cut or damaged"), ("last-byte-cut", lambda s: s[:-2], "is cut or damaged"),
        ("garbage", lambda s: b"\x00\xff" * 100, "is cut or damaged"), ("emptied", lambda s: b"", "is empty"),
        ("wrong-type", lambda s: b"[1, 2, 3]", "is no Phoenix state"),
        ("other-json", lambda s: b'{"hello": "world"}', "is no Phoenix state"),
        ("edited", edited, "is damaged or was edited"), ("newer", newer, "was written by a newer version")])
def test_bad_state_file_is_refused(env, row):
    """Not taken for "no weights", and never read by half: the daemon does not start, says what is wrong with which
    file and what to do, and leaves the file as it was."""
    _name, spoil, complaint = row
    gw = fresh(env, weight=0.1)
    try:
        gw.admin.set_weight("r", 0.6)
        gw.end()
        with open(gw.state_path, "rb") as file:
            good = file.read()
        check(spoil(good) != good, "nothing was spoilt")
        with open(gw.state_path, "wb") as file:
            file.write(spoil(good))
        Gateway.start(gw, wait=False)
        wait_for("its end", lambda: not gw.alive())
        equal(gw.child.returncode, 1, gw.log()[-2000:])
        log = gw.log()
        check(gw.state_path in log and complaint in log and "nothing of it was used" in log, log[-2000:])
        check("started:" not in log.split("SIGTERM")[-1], log[-2000:])
        with open(gw.state_path, "rb") as file:
            equal(file.read(), spoil(good), "the file was left as it was")
        with open(gw.state_path, "wb") as file:
            file.write(good)
        gw.restart()
        equal(gw.admin.weight("r")["set"], 0.6, "with the file put back")
    finally:
        gw.end()
        gw.remove()


def _ready(gw):
    try:
        return gw.admin.get("/readyz").status == 200
    except OSError:
        return False


def test_memory_store_forgets(env):
    gw = Gateway([route("r", "/r", legacy=env.sides.url(0), modern=env.sides.url(1), weight=0.2)],
                 state={"store": "memory"})
    try:
        gw.admin.set_weight("r", 0.7)
        gw.kill()
        gw.restart()
        equal(gw.admin.weight("r")["wanted"], 0.2)
    finally:
        gw.stop()


def test_unwritable_state_says_so(env):
    """A weight that cannot be kept is not answered with a plain success."""
    gw = Gateway([route("r", "/r", legacy=env.sides.url(0), modern=env.sides.url(1))],
                 state={"store": "file", "path": "/proc/phoenix/state.json"}, start=False)
    try:
        Gateway.start(gw, wait=False)
        wait_for("ready or ended", lambda: not gw.alive() or _ready(gw))
        if gw.alive():
            reply = gw.admin.post("/admin/routes/r/weight", {"weight": 0.5})
            text = reply.body.decode() + json.dumps(gw.admin.json("/admin/status")["store"])
            check(reply.status >= 500 or '"ok": false' in text or '"ok":false' in text, reply)
        else:
            check("/proc/phoenix" in gw.log(), gw.log()[-2000:])
    finally:
        gw.end()
        gw.remove()


def test_state_file_is_private_and_whole(env):
    """Atomic rename: no temporary file is left, the mode keeps others out."""
    gw = fresh(env)
    try:
        for i in range(20):
            gw.admin.set_weight("r", i / 20)
        left = sorted(f for f in os.listdir(gw.directory) if f.startswith("state") and not f.endswith((".jsonl", ".lock")))
        # (The evidence is written when it changes, perhaps now.)
        equal([name for name in left if not name.startswith("state.json.evidence")], ["state.json"])
        with open(gw.state_path) as file:
            json.load(file)
        for name in {"state.json", "state.json.evidence"} & set(left):
            mode = os.stat(os.path.join(gw.directory, name)).st_mode
            check(mode & 0o022 == 0, f"{name} is nobody else's to write", oct(mode))
    finally:
        gw.stop()


def test_check_needs_no_daemon(env):
    gw = fresh(env)
    try:
        status, out, err = run(built("phoenixd"), "--check", "--config", gw.config_path)
        equal(status, 0, out + err)
    finally:
        gw.stop()

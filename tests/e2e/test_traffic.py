# SPDX-License-Identifier: Apache-2.0
"""
traffic: scenarios are made from what there is, and sent; what the client says it did is what the gateway counted.

    phoenix-traffic ──▶ gateway ──▶ nginx (or a scripted upstream)
    phoenixctl traffic generate: route, samples, access log, OpenAPI, HAR ──▶ scenario ──▶ phoenixctl traffic run
"""
import json
import os
import random
import shutil
import signal
import subprocess
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import ask, free_port, response, wait_for
from lib.process import Gateway, Nginx, Skip, built, route, run, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
JSON = {"Content-Type": "application/json"}


def answer(ex):
    if ex.target.startswith("/status/"):
        return response(int(ex.target[8:11]), b"{}", JSON)
    return response(200, json.dumps({"target": ex.target, "n": 7}).encode(), JSON)


def setup():
    env = Bench()
    env.upstream = env.own(Upstream(answer))
    env.nginx = env.own(Nginx("""server { listen 127.0.0.1:{port0}; default_type application/json;
        location / { return 200 '{"n": 7}'; } location /missing { return 404; } }""").start())
    url = env.upstream.url
    env.gw = env.own(Gateway([route("users", "/users/{id}", url, method="GET", sample=1.0),
                              route("orders", "/users/{id}/orders", url, method=["GET", "POST"], sample=1.0,
                                    mirror={"unsafe_methods": True}),
                              route("statuses", "/status/*", url), route("fast", "/fast/*", env.nginx.url()),
                              route("down", "/down", "http://127.0.0.1:9"), route("hosted", "/h", url, host="h.example")]))
    env.folder = scratch()
    env.own(Folder(env.folder))
    return env


class Folder:
    def __init__(self, path):
        self.path = path

    def end(self, _timeout_s):
        shutil.rmtree(self.path, ignore_errors=True)

    def remove(self):
        pass


def scenario(env, requests, **more):
    path = os.path.join(env.folder, f"s{random.randrange(10 ** 9)}.json")
    with open(path, "w") as file:
        json.dump({"name": "test", "requests": requests, **more}, file)
    return path


def traffic(env, path, *args, url=None, expect=0, reconcile=True):
    """phoenix-traffic's report as JSON, and what it said on stderr."""
    words = [built("phoenix-traffic", sanitized=True), "run", path, "-o", "json", "--url",
             url or f"http://127.0.0.1:{env.gw.port}", *map(str, args)]
    if reconcile and not url:
        words += ["--reconcile", f"unix:{env.gw.socket_path}"]
    status, out, err = run(*words, timeout_s=50)
    check(status == expect, f"exit {status}, not {expect}", out[-1500:], err)
    report = json.loads(out)
    errors = sum(report["errors"].values())
    equal(report["planned"], report["sent"] + report["unsent"], "planned")
    equal(report["sent"], report["answered"] + errors + report["unfinished"], "sent")
    equal(report["answered"], sum(report["status"].values()), "answers by status")
    equal(report["sent"], sum(r["sent"] for r in report["requests"]), "sent by request")
    return report, err


def ctl(env, *args, expect=0):
    status, out, err = run(built("phoenixctl", sanitized=True), "--admin", f"unix:{env.gw.socket_path}", *args,
                           timeout_s=50, env=dict(os.environ, NO_COLOR="1"))
    check(status == expect, f"phoenixctl {' '.join(args)}: exit {status}, not {expect}", out[-1500:], err)
    return out, err


def counted(env, route_id):
    return env.gw.admin.json(f"/admin/routes/{route_id}")["synthetic"]


# --- the client and the gateway count the same ------------------------------------------------------------

def test_counts_agree_by_route_and_class(env):
    path = scenario(env, [{"path": "/users/${id}", "weight": 3}, {"path": "/status/404", "expect": 404},
                          {"path": "/nowhere", "expect": 404},
                          {"path": "/down", "expect": 502}, {"method": "HEAD", "path": "/status/204"}],
                    variables={"id": {"from": 1, "to": 50}})
    before = counted(env, "users")
    report, _ = traffic(env, path, "--requests", 600, "--rate", 2000)
    both = report["reconciliation"]
    check(both["equal"], both)
    equal(report["sent"], 600, "sent")
    equal(sum(r["sent"] for r in both["routes"]) + both["unrouted"]["sent"], 600, "over all routes")
    equal(both["unrouted"]["sent"], both["unrouted"]["counted"], "without a route")
    equal({r["id"] for r in both["routes"]}, {"users", "statuses", "down"}, "routes")
    mine = next(r for r in both["routes"] if r["id"] == "users")
    after = counted(env, "users")
    equal(after["requests"] - before["requests"], mine["sent"], "the gateway's own number")
    equal(after["answers"]["2xx"] - before["answers"]["2xx"], mine["answered"]["2xx"], "answers")


def test_somebody_else_marking_requests_fails_the_run(env):
    path = scenario(env, [{"path": "/users/1"}])
    words = [built("phoenix-traffic"), "run", path, "--url", f"http://127.0.0.1:{env.gw.port}", "--requests", "60",
             "--rate", "60", "--reconcile", f"http://127.0.0.1:{env.gw.admin_port}", "-o", "json"]
    before = counted(env, "users")["requests"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for("the run has begun", lambda: counted(env, "users")["requests"] > before)
    equal(env.gw.ask("GET", "/users/2", {"X-Phoenix-Synthetic": "1"}).status, 200, "status")
    out, err = child.communicate(timeout=40)
    equal(child.returncode, 1, "exit status")
    check("route users: the client sent 60, the gateway counted 61; answered 2xx: 60, counted 61" in err, err)
    check(not json.loads(out)["reconciliation"]["equal"], out)


def test_two_clients_on_two_routes_do_not_disturb_each_other(env):
    words = [built("phoenix-traffic"), "run", None, "--url", f"http://127.0.0.1:{env.gw.port}", "--requests", "100", "--rate",
             "100", "--reconcile", f"unix:{env.gw.socket_path}"]
    children = []
    for requests in ([{"path": "/users/1"}], [{"path": "/fast/1"}, {"path": "/nowhere", "expect": 404}]):
        words[2] = scenario(env, requests)
        children.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    for child in children:
        _, err = child.communicate(timeout=40)
        equal(child.returncode, 0, f"exit status {err}")


def test_unmarked_requests_are_not_counted_as_synthetic(env):
    before = counted(env, "users")
    traffic(env, scenario(env, [{"path": "/users/1"}]), "--requests", 20, "--rate", 500, "--unmarked", reconcile=False)
    equal(counted(env, "users"), before, "synthetic counts")


def test_a_gateway_that_restarts_is_noticed(env):
    gw = Gateway([route("all", "/*", env.upstream.url)])
    try:
        path = scenario(env, [{"path": "/a"}])
        child = subprocess.Popen([built("phoenix-traffic"), "run", path, "--url", f"http://127.0.0.1:{gw.port}",
                                  "--rate", "50", "--duration", "3s", "--reconcile", f"unix:{gw.socket_path}"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for("the run has begun", lambda: gw.admin.json("/admin/routes/all")["synthetic"]["requests"] > 0)
        gw.kill()
        gw.restart()
        _, err = child.communicate(timeout=40)
        equal(child.returncode, 1, "exit status")
        check("the gateway was restarted during the run" in err, err)
    finally:
        gw.stop()


def test_a_daemon_that_is_not_there_is_4(env):
    path = scenario(env, [{"path": "/users/1"}])
    status, _, err = run(built("phoenix-traffic"), "run", path, "--reconcile", f"http://127.0.0.1:{free_port()}")
    equal(status, 4, "exit status")
    check("not reachable" in err, err)


# --- verdicts ---------------------------------------------------------------------------------------------

def test_nothing_answered_fails(env):
    report, err = traffic(env, scenario(env, [{"path": "/"}]), "--requests", 5, "--rate", 100,
                          url=f"http://127.0.0.1:{free_port()}", expect=1)
    equal(report["errors"]["connect"], 5, "connect errors")
    check("not one of 5 requests was answered as expected" in err, err)


def test_thresholds(env):
    path = scenario(env, [{"path": "/fast/a"}], thresholds=["failed<1%"])
    report, _ = traffic(env, path, "--requests", 50, "--rate", 500, "--threshold", "p99<60s")
    equal([t["crossed"] for t in report["thresholds"]], [False, False], "crossed")
    report, err = traffic(env, path, "--requests", 50, "--rate", 500, "--threshold", "p50<1us", expect=20)
    equal([t["crossed"] for t in report["thresholds"]], [False, True], "crossed")
    check("threshold crossed: p50<1us" in err, err)
    path = scenario(env, [{"path": "/fast/a", "weight": 9}, {"path": "/fast/b", "expect": 201}], thresholds=["failed<1%"])
    report, _ = traffic(env, path, "--requests", 100, "--rate", 1000, expect=20)
    check(report["unexpected"] > 0 and report["failed"] == report["unexpected"], report)


def test_answers_are_checked(env):
    right = {"status": "2xx", "headers": {"content-type": "application/json*"}, "json": {"/n": 7}}
    report, _ = traffic(env, scenario(env, [{"path": "/users/1", "expect": right}]), "--requests", 20, "--rate", 500)
    equal(report["failed"], 0, "failed")
    wrong = {"json": {"/n": 8}}
    report, _ = traffic(env, scenario(env, [{"path": "/users/1"}, {"name": "seven", "path": "/users/2", "expect": wrong}]),
                        "--requests", 40, "--rate", 1000)
    check(report["failures"][0] == "seven: json /n: wanted 8, got \"7\"", report["failures"])
    equal(report["failed"], next(r["sent"] for r in report["requests"] if r["name"] == "seven"), "failed")


@table([("not-json", "{", 3), ("no-requests", "{}", 3), ("typo", '{"requests": [{"path": "/", "wieght": 1}]}', 3)])
def test_bad_scenarios_are_3(env, row):
    path = os.path.join(env.folder, "bad.json")
    with open(path, "w") as file:
        file.write(row[1])
    status, _, err = run(built("phoenix-traffic", sanitized=True), "run", path)
    equal(status, row[2], "exit status")
    check(path in err and "error:" in err, err)


@table([("unknown", ["--nope"]), ("rate", ["--rate", "0"]), ("stages", ["--stages", "1:x"]), ("header", ["--header", "a"]),
        ("threshold", ["--threshold", "p99"]), ("url", ["--url", "ftp://x"]), ("both", ["--stages", "1:1s", "--rate", "1"]),
        ("unmarked", ["--unmarked", "--reconcile", "unix:/x"])])
def test_bad_command_lines_are_2(env, row):
    status, out, err = run(built("phoenix-traffic", sanitized=True), "run", scenario(env, [{"path": "/"}]), *row[1])
    equal(status, 2, "exit status")
    check(err and not out, out, err)


def test_fields_from_the_command_line_and_from_a_file(env):
    path = os.path.join(env.folder, "fields")
    with open(path, "w") as file:
        file.write("Authorization: Bearer s3cret\r\n\nX-B: 2\n")
    made = scenario(env, [{"path": "/users/77", "headers": {"X-A": "scenario", "X-B": "scenario"}}])
    traffic(env, made, "--requests", 3, "--rate", 100, "--header", "X-A: 1", "--header", "@" + path)
    last = [ex for ex in env.upstream.seen if ex.target == "/users/77"][-1]
    equal((last.all("X-A"), last.all("X-B"), last.get("Authorization")), (["1"], ["2"], "Bearer s3cret"), "fields")


# --- how it sends -----------------------------------------------------------------------------------------

def test_stages_are_kept(env):
    path = scenario(env, [{"path": "/fast/a"}])
    report, _ = traffic(env, path, "--stages", "0-200:1s,100:500ms")
    equal(report["planned"], 150, "planned")
    equal(report["answered"], 150, "answered")


def test_closed_loop_and_a_connection_for_each(env):
    path = scenario(env, [{"path": "/fast/a"}])
    report, _ = traffic(env, path, "--closed", "--requests", 500, "--connections", 4)
    equal((report["mode"], report["answered"]), ("closed", 500), "answered")
    check(report["connections"] <= 4, report["connections"])
    report, _ = traffic(env, path, "--closed", "--requests", 300, "--connections", 4, "--connection-per-request")
    equal((report["answered"], report["connections"]), (300, 300), "answered and connections")


def test_many_connections(env):
    path = scenario(env, [{"path": "/slow"}])
    arrived = []

    def slow(ex):  # nobody is answered before all have asked
        arrived.append(1)
        wait_for("everybody", lambda: len(arrived) >= 300, 30)
        return response(200, b"x")
    upstream = Upstream(slow)
    try:
        report, _ = traffic(env, path, "--closed", "--requests", 300, "--connections", 300, "--timeout", "40s", url=upstream.url)
        equal((report["answered"], report["connections"]), (300, 300), "answered over as many connections")
    finally:
        upstream.stop()


def test_a_signal_ends_the_run_with_its_report(env):
    path = scenario(env, [{"path": "/fast/a"}])
    child = subprocess.Popen([built("phoenix-traffic"), "run", path, "--url", env.nginx.url(), "--rate", "100",
                              "--duration", "1h", "--progress", "0.1", "-o", "json"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = child.stderr.readline()
    child.send_signal(signal.SIGTERM)
    out, rest = child.communicate(timeout=30)
    equal(child.returncode, 0, "exit status")
    report = json.loads(out)
    check(0 < report["sent"] == report["answered"] and report["unfinished"] == 0, out)
    check("sent" in line and "\r" not in line + rest and "\033" not in line + rest, line + rest)


@timeout(90)
def test_a_stall_is_seen_by_everybody_who_was_due(env):
    """Coordinated omission: while the server sleeps, an open loop goes on counting who waits; a closed one stops
    asking and hides it. The asserts are lower bounds and orders, which a slow machine cannot break."""
    server = Nginx("server { listen 127.0.0.1:{port0}; location / { return 200 'x'; } }").start()
    reports = {}
    try:
        path = scenario(env, [{"path": "/"}])
        for mode, more in (("open", ["--rate", "200", "--duration", "3s"]), ("closed", ["--closed", "--duration", "3s"])):
            child = subprocess.Popen([built("phoenix-traffic"), "run", path, "--url", server.url(), "--connections", "8",
                                      "--timeout", "40s", "--progress", "0.2", "-o", "json", *more],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            child.stderr.readline()  # it runs
            server.signal(signal.SIGSTOP)
            time.sleep(1)  # the stall itself
            server.signal(signal.SIGCONT)
            out, _ = child.communicate(timeout=60)
            equal(child.returncode, 0, f"{mode}: exit status")
            reports[mode] = json.loads(out)
    finally:
        server.signal(signal.SIGCONT)
        server.end()
        server.remove()
    opened, closed = reports["open"], reports["closed"]
    equal(opened["planned"], 600, "planned, stall or not")
    # 200 were due in the second; those of its first half waited for half of it or more: 100 of 600.
    check(opened["latency_ms"]["p90"] >= 500, opened["latency_ms"])
    check(opened["service_ms"]["p50"] <= opened["latency_ms"]["p90"], opened)
    check(opened["latency_ms"]["max"] >= 900 and closed["latency_ms"]["max"] >= 900, opened, closed)
    # The closed loop had eight requests in the stall, of thousands.
    check(closed["answered"] > 800, closed["answered"])
    check(closed["latency_ms"]["p99"] < opened["latency_ms"]["p90"], closed["latency_ms"], opened["latency_ms"])


# --- scenarios made from what there is ---------------------------------------------------------------------

def log_line(rng):
    kind = rng.randrange(4)
    if kind == 0:
        target, status = f"/users/{rng.randrange(1, 500)}?fields=a%2Cb&page={rng.randrange(5)}", 200
    elif kind == 1:
        target, status = f"/users/{rng.choice(['ann', 'bob', 'cy', 'dan', 'eve', 'fay', 'gus', 'hal', 'ivy', 'joe'])}/orders", 200
    elif kind == 2:
        status = rng.choice([200, 404, 410, 500])
        target = f"/status/{status}"
    else:
        target, status = f"/elsewhere/{rng.randrange(9)}${{x}}", 404
    return f'10.0.0.1 - - [28/Nov/2026:03:39:{rng.randrange(60):02} +0000] "GET {target} HTTP/1.1" {status} 5 "-" "x"'


@table([(f"seed-{seed}", seed) for seed in range(5)])
def test_what_is_made_from_a_log_is_counted_alike(env, row):
    """The property: log -> scenario -> run, and the gateway's counts by route are the client's."""
    rng = random.Random(row[1])
    log, path = os.path.join(env.folder, "access.log"), os.path.join(env.folder, "made.json")
    with open(log, "w") as file:
        file.write("\n".join(log_line(rng) for _ in range(400)))
    out, _ = ctl(env, "traffic", "generate", "--from", "access-log", log, "--out", path, "-o", "json")
    summary = json.loads(out)
    equal(summary["taken"] + sum(summary["left_out"].values()), 400, "every line is accounted for")
    out, _ = ctl(env, "traffic", "run", path, "--requests", "400", "--rate", "2000", "-o", "json")
    report = json.loads(out)
    check(report["reconciliation"]["equal"], report["reconciliation"])
    equal(report["failed"], 0, f"failed {report['failures']}")
    check({r["id"] for r in report["reconciliation"]["routes"]} >= {"users", "orders", "statuses"}, report["reconciliation"])
    check(report["reconciliation"]["unrouted"]["sent"] > 0, report["reconciliation"])


def test_samples_hold_no_secrets_and_make_traffic(env):
    for i in range(30):
        env.gw.ask("GET", f"/users/{i}", {"Cookie": "session=topsecret", "Authorization": "Bearer topsecret", "X-Tenant": "t1"})
        env.gw.ask("POST", f"/users/{i}/orders", {"Content-Type": "application/json", "X-Api-Key": "topsecret"},
                   json.dumps({"item": i % 2, "note": "${seq}"}).encode())
    wait_for("the samples", lambda: len(env.gw.admin.json("/admin/routes/orders/samples")["samples"]) >= 30)
    wait_for("the samples", lambda: len(env.gw.admin.json("/admin/routes/users/samples")["samples"]) >= 30)
    path = os.path.join(env.folder, "samples.json")
    for route_id, more in (("users", []), ("orders", ["--unsafe"])):
        ctl(env, "traffic", "generate", "--from", "samples", "--route", route_id, "--out", path, *more)
        with open(path) as file:
            text = file.read()
        check("topsecret" not in text and "redacted" not in text, text)
        seen = len(env.upstream.seen)
        out, _ = ctl(env, "traffic", "run", path, "--requests", "50", "--rate", "1000", "-o", "json")
        report = json.loads(out)
        equal([r["id"] for r in report["reconciliation"]["routes"]], [route_id], "routes")
        equal(report["failed"], 0, f"failed {report['failures']}")
    bodies = {ex.body for ex in env.upstream.seen[seen:] if ex.method == "POST" and ex.get("X-Phoenix-Synthetic")}
    equal({json.loads(b)["note"] for b in bodies}, {"${seq}"}, "a body's own ${")
    before = env.gw.admin.json("/admin/routes/users/samples")["seen"]
    ctl(env, "traffic", "generate", "--from", "samples", "--route", "orders", expect=1)  # only POST, and no --unsafe
    traffic(env, scenario(env, [{"path": "/users/1"}]), "--requests", 5, "--rate", 100)
    equal(env.gw.ask("GET", "/users/1").status, 200, "status")
    wait_for("the last sample", lambda: env.gw.admin.json("/admin/routes/users/samples")["seen"] > before)
    equal(env.gw.admin.json("/admin/routes/users/samples")["seen"], before + 1, "made traffic is not sampled")


def test_from_a_route(env):
    out, _ = ctl(env, "traffic", "generate", "--from", "route", "--route", "users")
    equal(json.loads(out)["requests"][0]["path"], "/users/${id}", "path")
    path = os.path.join(env.folder, "route.json")
    ctl(env, "traffic", "generate", "--from", "route", "--route", "hosted", "--out", path)
    out, _ = ctl(env, "traffic", "run", path, "--requests", "10", "--rate", "200", "-o", "json")
    equal(json.loads(out)["reconciliation"]["routes"][0]["id"], "hosted", "the route with a host")


def test_a_route_filters_a_document(env):
    document = {"openapi": "3.0.0", "paths": {"/users/{id}": {"get": {"parameters": [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}], "responses": {"200": {}}}},
        "/other": {"get": {"responses": {"200": {}}}}}}
    path = os.path.join(env.folder, "api.json")
    with open(path, "w") as file:
        json.dump(document, file)
    out, err = ctl(env, "traffic", "generate", "--from", "openapi", path, "--route", "users")
    equal([r["name"] for r in json.loads(out)["requests"]], ["GET /users/{id}"], "requests")
    check("left out: 1 that the route does not match" in err, err)


@table([("no-source", ["--from", "nowhere"], 2), ("no-file", ["--from", "har"], 2), ("no-route", ["--from", "samples"], 2),
        ("missing-file", ["--from", "har", "/nonexistent.har"], 2), ("export", ["--from", "har", "x", "--export", "jmeter"], 2),
        ("unknown-route", ["--from", "route", "--route", "nope"], 2), ("rate", ["--from", "har", "x", "--rate", "-1"], 2)])
def test_generate_says_what_is_wrong(env, row):
    out, err = ctl(env, "traffic", "generate", *row[1], expect=row[2])
    check(err and not out, out, err)


@table([("openapi", '{"openapi": "3.0.0",\n "paths": 1}', ":2:11: error:"), ("har", '{"log":', ":1:8: error: not JSON"),
        ("access-log", "what?\n", ":1: error: none of 1 lines"), ("scenario", "{", ":1:")])
def test_bad_sources_are_3_with_their_place(env, row):
    path = os.path.join(env.folder, "bad-source")
    with open(path, "w") as file:
        file.write(row[1])
    _, err = ctl(env, "traffic", "generate", "--from", row[0], path, expect=3)
    check(err.startswith(path + row[2]), err)


FAKE_K6 = """#!/bin/sh
# Sends $COUNT marked requests and says it were $SAID; ends with $STATUS.
for word; do case $word in --summary-export=*) summary=${word#*=};; TARGET=*) target=${word#*=};; *.js) script=$word;; esac; done
grep -q "const requests" "$script" || exit 7
i=0; while [ $i -lt $COUNT ]; do curl -s -o /dev/null -H 'X-Phoenix-Synthetic: 1' "$target/fast/a"; i=$((i + 1)); done
echo "{\\"metrics\\": {\\"http_reqs\\": {\\"count\\": $SAID}}}" >"$summary"
exit $STATUS
"""


@table([("agrees", 5, 5, 0, 0), ("crossed", 5, 5, 99, 20), ("differs", 5, 6, 0, 1), ("sent-nothing", 0, 0, 0, 1), ("broken", 0, 0, 107, 1)])
def test_k6_is_run_and_counted(env, row):
    _, count, said, status, expect = row
    folder = os.path.join(env.folder, "bin")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "k6"), "w") as file:
        file.write(FAKE_K6)
    os.chmod(os.path.join(folder, "k6"), 0o755)
    environment = dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}", COUNT=str(count), SAID=str(said), STATUS=str(status))
    got, out, err = run(built("phoenixctl", sanitized=True), "--admin", f"unix:{env.gw.socket_path}", "traffic", "run",
                        scenario(env, [{"path": "/fast/a"}]), "--with", "k6", "-o", "json", env=environment)
    equal(got, expect, f"exit status {out} {err}")
    if row[0] in ("agrees", "crossed", "differs"):
        result = json.loads(out)
        equal((result["sent"], result["counted"], result["equal"]), (said, count, said == count), "counts")


def test_k6_that_is_not_installed(env):
    folder = os.path.join(env.folder, "empty")
    os.makedirs(folder, exist_ok=True)
    status, out, err = run(built("phoenixctl", sanitized=True), "--admin", f"unix:{env.gw.socket_path}", "traffic", "run",
                           scenario(env, [{"path": "/fast/a"}]), "--with", "k6", env=dict(os.environ, PATH=folder))
    equal(status, 1, "exit status")
    check("k6 is not installed" in err and not out, out, err)


K6_STUBS = """
const sent = [];
const http = { request: (method, url, body, params) => { sent.push({ method, url, body, headers: params.headers });
  return { status: 200, headers: { 'Content-Type': 'application/json' }, json: () => ({ n: 7 }) }; }, expectedStatuses: () => 0 };
let good = 0, iteration = 0;
const check = (answer, checks) => { for (const f of Object.values(checks)) good += f(answer) ? 1 : 0; };
const exec = { scenario: { get iterationInTest() { return iteration++; } } };
const __ENV = { TARGET: 'http://t:1/' };
"""


def test_the_k6_script_sends_the_same(env):
    """Run with k6's modules replaced by recorders: the same kinds, values and fields as phoenix-traffic sends."""
    node = shutil.which("node")
    if not node:
        raise Skip("node is not installed")
    source = scenario(env, [{"method": "POST", "path": "/users/${o.u}/orders?x=${o.i}", "headers": {"X-N": "$${a}${seq}"},
                             "body": {"n": "${n:number}", "s": "${o.u}"}, "expect": {"status": "2xx", "json": {"/n": 7}}}],
                      variables={"o": [{"u": "a", "i": 1}, {"u": "b", "i": 2}], "n": {"from": 5, "to": 6}})
    script = os.path.join(env.folder, "k6.mjs")
    ctl(env, "traffic", "generate", "--from", "scenario", source, "--export", "k6", "--out", script)
    with open(script) as file:
        text = file.read()
    lines = [line for line in text.split("\n") if not line.startswith("import ")]
    text = K6_STUBS + "\n".join(lines).replace("export default function ()", "function iterate()").replace("export const", "const")
    with open(script, "w") as file:
        file.write(text + "\nfor (let i = 0; i < 40; i++) iterate();\nconsole.log(JSON.stringify({ sent, good, options }));\n")
    status, out, err = run(node, script)
    equal(status, 0, f"node's exit status {err}")
    result = json.loads(out)
    equal(result["good"], 40, "good answers")
    for i, request in enumerate(result["sent"]):
        body = json.loads(request["body"])
        user, number = body["s"], {"a": 1, "b": 2}[body["s"]]
        equal(request["url"], f"http://t:1/users/{user}/orders?x={number}", "URL")
        check(body["n"] in (5, 6), body)
        equal(request["headers"]["X-N"], "${a}%d" % (i + 1), "header")
        equal(request["headers"]["X-Phoenix-Synthetic"], "1", "mark")
        equal(request["headers"]["Content-Type"], "application/json", "type")
    equal({json.loads(r["body"])["s"] for r in result["sent"]}, {"a", "b"}, "rows")

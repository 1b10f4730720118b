# SPDX-License-Identifier: Apache-2.0
"""
admin: the REST interface's manners: problem+json, preconditions, media types, who may ask, events, metrics,
health and the page.
"""
import json
import os
import re
import socket
import stat

from lib.admin import Events
from lib.case import Bench, check, equal, table
from lib.net import Client, ask, wait_for
from lib.process import Gateway, route, run
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    env.gw = env.own(Gateway([route("r", "/r/*", legacy=env.up.url), route("s", "/s", legacy=env.up.url)], sanitized=True))
    env.admin, env.unix = env.gw.admin, env.gw.admin_unix
    return env


def problem(reply, *statuses):
    check(reply.status in statuses, f"status {reply.status}, not one of {statuses}", reply)
    equal(reply.get("content-type").split(";")[0], "application/problem+json")
    doc = reply.json()
    equal(doc["status"], reply.status)
    check(doc.get("title") and doc.get("type"), doc)
    return doc


READS = ["/admin/status", "/admin/routes", "/admin/routes/r", "/admin/routes/r/weight", "/admin/routes/r/diffs",
         "/admin/routes/r/decisions", "/admin/routes/r/series", "/admin/events", "/admin/datapath", "/admin/config", "/admin/audit"]


@table(READS)
def test_get_is_json(env, row):
    reply = env.admin.get(row)
    equal(reply.status, 200, reply)
    equal(reply.get("content-type").split(";")[0], "application/json")
    equal(reply.json(), json.loads(reply.body))
    check("no-store" in (reply.get("cache-control") or "no-store"))


@table(READS + ["/healthz", "/readyz", "/metrics", "/"])
def test_get_over_the_unix_socket(env, row):
    equal(env.unix.get(row).status, 200)


@table(READS)
def test_head_is_like_get(env, row):
    with Client(("127.0.0.1", env.gw.admin_port)) as c:
        r = c.ask("HEAD", row, host="localhost")
        equal((r.status, r.body), (200, b""))
        equal(c.ask("GET", "/healthz", host="localhost").status, 200, "the next request on the connection")


def test_get_never_changes_state(env):
    before = (env.admin.weight("r"), env.admin.json("/admin/config"), env.admin.json("/admin/routes/r")["etag"])
    for path in READS + ["/admin/routes/r/weight?weight=0.9", "/admin/routes/r/start", "/admin/routes/r/promote", "/admin/config/reload",
                         "/admin/routes/r/rollback", "/admin/routes/r/ignore"]:
        reply = env.admin.get(path)
        check(reply.status in (200, 404, 405), path, reply)
    after = (env.admin.weight("r"), env.admin.json("/admin/config"), env.admin.json("/admin/routes/r")["etag"])
    equal(after, before)


@table([("POST", "/admin/status"), ("DELETE", "/admin/status"), ("PUT", "/admin/routes"), ("GET", "/admin/config/reload"),
        ("PATCH", "/admin/routes/r"), ("DELETE", "/admin/routes/r/weight"), ("GET", "/admin/routes/r/pause"), ("POST", "/metrics"),
        ("BREW", "/admin/status")])
def test_wrong_method_is_405(env, row):
    reply = env.admin.request(*row)
    problem(reply, 405, 501)
    if reply.status == 405:
        check(reply.get("allow"), "Allow names what is possible (RFC 9110 15.5.6)")


@table(["/admin", "/admin/nope", "/admin/routes/nope", "/admin/routes/nope/weight", "/admin/routes/r/nope", "/admin/routes/%2e%2e",
        "/nope", "/../etc/passwd", "/admin/routes/r/weight/x"])
def test_unknown_is_404(env, row):
    problem(env.admin.get(row), 404, 400)


# --- writes -----------------------------------------------------------------------------------------------

@table([("none", None), ("text", "text/plain"), ("form", "application/x-www-form-urlencoded"), ("multipart", "multipart/form-data; boundary=x"),
        ("almost", "application/jsonx"), ("empty", "")])
def test_content_type_is_required(env, row):
    """A browser's form must not be able to change anything."""
    before = env.admin.weight("r")["wanted"]
    fields = {"Content-Type": row[1]}
    reply = env.admin.request("POST", "/admin/routes/r/weight", b'{"weight": 0.77}', fields)
    problem(reply, 415)
    equal(env.admin.weight("r")["wanted"], before)


@table(["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"])
def test_content_type_forms(env, row):
    equal(env.admin.request("POST", "/admin/routes/r/weight", b'{"weight": 0.1}', {"Content-Type": row}).status, 200)


@table([("foreign", "http://evil.example"), ("null", "null"), ("port", "http://127.0.0.1:1"), ("https", "https://localhost"),
        ("suffix", "http://localhost.evil.example")])
def test_foreign_origin_is_403(env, row):
    before = env.admin.weight("r")["wanted"]
    reply = env.admin.request("POST", "/admin/routes/r/weight", {"weight": 0.78}, {"Origin": row[1]})
    problem(reply, 403)
    equal(env.admin.weight("r")["wanted"], before)


def test_own_origin_is_fine(env):
    for host in (f"127.0.0.1:{env.gw.admin_port}", f"localhost:{env.gw.admin_port}"):
        reply = env.admin.request("POST", "/admin/routes/r/weight", {"weight": 0.2}, {"Host": host, "Origin": f"http://{host}"})
        equal(reply.status, 200, reply)


@table(["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "169.254.169.254", "a b"])
def test_foreign_host_is_403(env, row):
    """DNS rebinding: a name that points here is not a name of ours."""
    for method, path in (("GET", "/admin/status"), ("POST", "/admin/routes/r/pause"), ("GET", "/")):
        with Client(("127.0.0.1", env.gw.admin_port)) as c:
            c.send(f"{method} {path} HTTP/1.1\r\nHost: {row}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}")
            check(c.response().status in (400, 403, 421), f"{method} {path}")


def test_known_hosts_are_fine(env):
    for host in ("localhost", f"localhost:{env.gw.admin_port}", "127.0.0.1", f"127.0.0.1:{env.gw.admin_port}"):
        equal(ask(("127.0.0.1", env.gw.admin_port), "GET", "/admin/status", {"Host": host}).status, 200, host)


def test_etag(env):
    got = env.admin.get("/admin/routes/s")
    etag = got.get("etag")
    check(re.fullmatch(r'"[^"]+"', etag or ""), "a strong ETag", etag)
    equal(env.admin.get("/admin/routes/s").get("etag"), etag, "it is stable")
    equal(env.admin.request("GET", "/admin/routes/s", fields={"If-None-Match": etag}).status in (200, 304), True)
    config = got.json()["config"]
    config["mirror"]["timeout_ms"] = 1234
    reply = env.admin.request("PUT", "/admin/routes/s", config, {"If-Match": '"nonsense"'})
    doc = problem(reply, 412)
    check(doc.get("detail"), "names who changed what", doc)
    reply = env.admin.request("PUT", "/admin/routes/s", config, {"If-Match": etag})
    equal(reply.status, 200, reply)
    check(env.admin.get("/admin/routes/s").get("etag") != etag, "a change changes it")
    equal(env.admin.json("/admin/routes/s")["config"]["mirror"]["timeout_ms"], 1234)
    problem(env.admin.request("PUT", "/admin/routes/s", config, {"If-Match": etag}), 412)
    problem(env.admin.request("DELETE", "/admin/routes/s", None, {"If-Match": etag}), 412)


@table([("not-json", b"{nope"), ("array", b"[]"), ("deep", b"[" * 100000), ("huge", b'{"id": "' + b"x" * 5_000_000 + b'"}'),
        ("binary", bytes(range(256))), ("unknown-key", b'{"id": "q", "path": "/q", "colour": "red"}'),
        ("bad-utf8", b'{"id": "\xff"}')])
def test_bad_body(env, row):
    problem(env.admin.request("POST", "/admin/routes", row[1]), 400, 413, 422)
    equal(env.admin.get("/healthz").status, 200)


@table([("no-host", b"GET /admin/status HTTP/1.1\r\n\r\n"), ("two-lengths", b"POST /admin/routes HTTP/1.1\r\nHost: localhost\r\n"
         b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), ("te-and-length", b"POST /admin/routes HTTP/1.1\r\nHost: localhost\r\n"
         b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), ("garbage", b"\x16\x03\x01\x00\xa5\r\n\r\n"),
        ("long-head", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")])
def test_bad_http(env, row):
    with Client(("127.0.0.1", env.gw.admin_port)) as c:
        c.send_tolerant(row[1])
        try:
            r = c.response()
            check(400 <= r.status < 500, r)
        except (ConnectionResetError, BrokenPipeError):
            pass
    equal(env.admin.get("/healthz").status, 200)


def test_head_in_pieces_and_keep_alive(env):
    with Client(("127.0.0.1", env.gw.admin_port)) as c:
        for _ in range(3):
            raw = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            c.send(*[raw[i:i + 1] for i in range(len(raw))], pause_s=0.0003)
            equal(c.response().status, 200)
        c.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        equal([c.response().status for _ in range(3)], [200, 200, 200])


def test_stalled_admin_clients_do_not_block(env):
    """Clients that send half a request or do not read keep nobody else waiting."""
    stalled = []
    try:
        for i in range(20):
            c = Client(("127.0.0.1", env.gw.admin_port), receive_buffer=4096)
            c.send(b"GET /admin/status HTTP/1.1\r\nHost: loc" if i % 2 else b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
            stalled.append(c)
        for _ in range(5):
            equal(env.admin.request("GET", "/healthz", timeout_s=3).status, 200)
        equal(ask(env.gw.address, "GET", "/r/x").status, 200)
    finally:
        for c in stalled:
            c.close()


# --- who may ask ------------------------------------------------------------------------------------------

def test_socket_is_private(env):
    mode = os.stat(env.gw.socket_path).st_mode
    check(stat.S_ISSOCK(mode))
    check(mode & 0o007 == 0, f"others may connect: {oct(mode)}")


def test_unix_writes_are_audited_with_the_uid(env):
    env.unix.ok("POST", "/admin/routes/r/weight", {"weight": 0.15, "reason": "over the socket"})
    entries = env.admin.json("/admin/audit")["entries"]
    entry = next(e for e in entries if e.get("reason") == "over the socket")
    check(str(os.getuid()) in entry["who"], entry)
    equal((entry["method"], entry["path"], entry["status"]), ("POST", "/admin/routes/r/weight", 200))


def test_refused_writes_are_audited(env):
    env.admin.post("/admin/routes/r/weight", {"weight": 7, "reason": "too much"})
    check(any(e["status"] in (400, 422) for e in env.admin.json("/admin/audit")["entries"]))


def test_non_loopback_without_token_does_not_start(env):
    gw = Gateway([route(legacy=env.up.url)], start=False, admin={"listen": "0.0.0.0:9"})
    gw.config["admin"] = {"listen": f"0.0.0.0:{gw.admin_port}", "socket": gw.socket_path}
    gw.start(wait=False)
    try:
        wait_for("the daemon ending", lambda: not gw.alive(), 10)
        check(gw.child.returncode not in (0, None) and gw.child.returncode > 0, gw.child.returncode)
        check("token" in gw.log(), "says what is missing", gw.log()[-1500:])
    finally:
        gw.end()
        gw.remove()


def test_token(env):
    gw = Gateway([route("r", legacy=env.up.url)], start=False)
    token = os.path.join(gw.directory, "token")
    with open(token, "w") as file:
        file.write("open-sesame\n")
    os.chmod(token, 0o600)
    gw.config["admin"]["token_file"] = token
    gw.start(wait=False)
    try:
        def healthy():
            try:
                return gw.admin.get("/healthz").status == 200
            except OSError:
                return False
        wait_for("health without a token", healthy)
        problem(gw.admin.get("/admin/status"), 401)
        check(gw.admin.get("/admin/status").get("www-authenticate"), "WWW-Authenticate (RFC 9110 11.6.1)")
        problem(gw.admin.get("/admin/status", Authorization="Bearer wrong"), 401, 403)
        equal(gw.admin.get("/admin/status", Authorization="Bearer open-sesame").status, 200)
        problem(gw.admin.post("/admin/routes/r/weight", {"weight": 0.5}), 401)
        equal(gw.admin.request("POST", "/admin/routes/r/weight", {"weight": 0.5}, {"Authorization": "Bearer open-sesame"}).status, 200)
        check("open-sesame" not in gw.log())
    finally:
        gw.stop()


# --- events -----------------------------------------------------------------------------------------------

def test_events_stream(env):
    events = Events(("127.0.0.1", env.gw.admin_port))
    try:
        equal(events.head.status, 200)
        equal(events.head.get("content-type").split(";")[0], "text/event-stream")
        equal(events.head.get("x-accel-buffering"), "no")
        env.admin.set_weight("r", 0.41, "for the stream")
        while True:
            event = events.next()
            if event.get("event") == "weight" and "0.41" in event["data"]:
                break
        first = int(event["id"])
        json.loads(event["data"])
    finally:
        events.close()
    env.admin.set_weight("r", 0.42)
    env.admin.set_weight("r", 0.43)
    again = Events(("127.0.0.1", env.gw.admin_port), last_id=first)
    try:
        missed = [e for e in (again.next() for _ in range(6)) if e.get("event") == "weight"][:2]
        check("0.42" in missed[0]["data"] and "0.43" in missed[1]["data"], "what was missed comes first", missed)
        check(int(missed[0]["id"]) > first)
    finally:
        again.close()


def test_events_status(env):
    """The page's live view: `event: status` with the whole of GET /admin/status."""
    events = Events(("127.0.0.1", env.gw.admin_port))
    try:
        while True:
            event = events.next()
            if event.get("event") == "status":
                break
        doc = json.loads(event["data"])
        equal({r["id"] for r in doc["routes"]} >= {"r"}, True)
        check("headline" in doc)
    finally:
        events.close()


@table(["abc", "-1", "999999999999", "1e3", ""])
def test_odd_last_event_id(env, row):
    events = Events(("127.0.0.1", env.gw.admin_port), last_id=row)
    try:
        check(events.head.status in (200, 400), events.head)
    finally:
        events.close()
    equal(env.admin.get("/healthz").status, 200)


def test_hundred_listeners_come_and_go(env):
    for _ in range(2):
        listeners = []
        for _ in range(50):
            try:
                listeners.append(Events(("127.0.0.1", env.gw.admin_port)))
            except OSError:
                break
        for listener in listeners:
            listener.client.reset()
    env.admin.set_weight("r", 0.3)
    equal(env.admin.get("/healthz").status, 200)


# --- what machines and people read ------------------------------------------------------------------------

def test_status_has_all_the_first_page_needs(env):
    doc = env.admin.json("/admin/status")
    check(doc["headline"] and doc["version"], doc)
    item = env.admin.route("r")
    for key in ("state", "headline", "weight", "consistency", "verbs", "sides"):
        check(key in item, f"{key} is missing", item)
    for key in ("wanted", "set", "seen"):
        check(key in item["weight"], f"weight.{key} is missing", item["weight"])


def test_idle_words(env):
    gw = Gateway([route(legacy=env.up.url)])
    try:
        r = gw.admin.route("all")
        equal((r["state"], r["headline"]), ("idle", "Not Started: 100% on Legacy"))
        equal(gw.admin.json("/admin/status")["headline"], "Not Started: 100% on Legacy")
    finally:
        gw.stop()


def test_health(env):
    for path in ("/healthz", "/readyz"):
        equal(env.admin.get(path).status, 200)


def test_metrics_format(env):
    ask(env.gw.address, "GET", "/r/x")
    reply = env.admin.get("/metrics")
    equal(reply.status, 200)
    check(reply.get("content-type").startswith("text/plain"), reply.get("content-type"))
    text = reply.body.decode()
    check(text.endswith("\n"))
    declared, sampled = {}, set()
    for line in text.splitlines():
        match = re.fullmatch(r"# TYPE (phoenix_[a-z_]+) (counter|gauge|histogram|summary)", line)
        if match:
            check(match[1] not in declared, f"{match[1]} is declared twice")
            declared[match[1]] = match[2]
        elif not line.startswith("#"):
            match = re.fullmatch(r'(phoenix_[a-z0-9_]+)(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? [-+0-9.eEINFNa]+', line)
            check(match, f"not a sample: {line!r}")
            sampled.add(re.sub(r"_(bucket|sum|count)$", "", match[1]) if re.sub(r"_(bucket|sum|count)$", "", match[1]) in declared else match[1])
    equal(sorted(sampled - set(declared)), [], "samples without a TYPE")
    for name in ("phoenix_requests_total", "phoenix_weight_wanted_ratio", "phoenix_weight_set_ratio", "phoenix_migration_state",
                 "phoenix_build_info", "phoenix_config_last_reload_successful", "phoenix_request_duration_seconds"):
        check(name in declared, f"{name} is missing", sorted(declared))
    for name, kind in declared.items():
        equal(name.endswith("_total"), kind == "counter", f"{name} is a {kind}")
    check("/r/x" not in text, "a path is in a label")


def test_page(env):
    reply = env.admin.get("/")
    equal(reply.status, 200)
    check(reply.get("content-type").startswith("text/html"), reply.get("content-type"))
    text = reply.body.decode()
    check("<html" in text.lower() and "phoenix" in text.lower())
    check("http://" not in re.sub(r"http://(www\.w3\.org|127\.0\.0\.1|localhost)", "", text) and "https://" not in text, "it loads nothing from elsewhere")
    check(reply.get("content-security-policy"), "Content-Security-Policy")
    for path in set(re.findall(r'(?:src|href)="(/?[A-Za-z0-9._/-]+\.(?:js|css|svg|png|ico))"', text)):
        part = env.admin.get(path if path.startswith("/") else "/" + path)
        equal(part.status, 200, path)


def test_openapi(env):
    reply = env.admin.get("/openapi.json")
    equal(reply.status, 200)
    doc = reply.json()
    check(doc.get("openapi", "").startswith("3."), doc.get("openapi"))
    paths = set(doc["paths"])
    check("/admin/status" in paths and any("weight" in p for p in paths), paths)


def test_admin_paths_on_the_gateway_port_are_traffic(env):
    """The data port knows no admin: /admin/status there is just a request without a route."""
    equal(ask(env.gw.address, "GET", "/admin/status").status, 404)


def test_unix_socket_of_a_dead_daemon_is_replaced(env):
    gw = Gateway([route(legacy=env.up.url)])
    try:
        gw.kill()
        check(os.path.exists(gw.socket_path))
        gw.restart()
        equal(gw.admin_unix.get("/healthz").status, 200)
    finally:
        gw.stop()


def test_second_daemon_on_the_same_socket_is_refused(env):
    second = Gateway([route(legacy=env.up.url)], start=False)
    second.config["admin"]["socket"] = env.gw.socket_path
    second.start(wait=False)
    try:
        wait_for("the second daemon ending", lambda: not second.alive(), 10)
        check(second.child.returncode != 0)
        equal(env.unix.get("/healthz").status, 200, "the first one keeps its socket")
    finally:
        second.end()
        second.remove()


def test_taken_port_is_named(env):
    second = Gateway([route(legacy=env.up.url)], start=False)
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen(1)
    port = taken.getsockname()[1]
    second.config["listen"] = [f"127.0.0.1:{port}"]
    second.start(wait=False)
    try:
        wait_for("the daemon ending", lambda: not second.alive(), 10)
        check(second.child.returncode > 0, second.child.returncode)
        check(str(port) in second.log(), "names the address", second.log()[-1500:])
    finally:
        taken.close()
        second.end()
        second.remove()

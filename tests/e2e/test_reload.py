# SPDX-License-Identifier: Apache-2.0
"""
reload: a new file takes effect while requests flow and none fails; a bad file changes nothing and is loud;
`phoenixd --check` says the same without a daemon.
"""
import json
import os
import signal
import time

from lib.case import Bench, check, equal, table, timeout
from lib.net import Client, ask, response, wait_for
from lib.process import Gateway, Nginx, built, route, run, wrk
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.up = env.own(Upstream(lambda ex: response(200, ex.target)))
    env.fast = env.own(Nginx('server { listen 127.0.0.1:{port0}; location / { return 200 "fine"; } }').start())
    env.gw = env.own(Gateway([route("a", "/a", legacy=env.up.url), route("load", "/load", legacy=env.fast.url())]))
    return env


def add_route(env, name):
    env.gw.config["routes"] = [r for r in env.gw.config["routes"] if r["id"] != name] + [route(name, f"/{name}", legacy=env.up.url)]
    env.gw.write_config()


def test_post(env):
    equal(ask(env.gw.address, "GET", "/new").status, 404)
    add_route(env, "new")
    reply = env.gw.admin.ok("POST", "/admin/config/reload").json()
    equal(reply["routes_added"], ["new"])
    equal(ask(env.gw.address, "GET", "/new").status, 200)
    env.gw.config["routes"] = [r for r in env.gw.config["routes"] if r["id"] != "new"]
    env.gw.write_config()
    reply = env.gw.admin.ok("POST", "/admin/config/reload").json()
    equal(reply["routes_removed"], ["new"])
    equal(ask(env.gw.address, "GET", "/new").status, 404)


def test_sighup(env):
    add_route(env, "hup")
    env.gw.signal(signal.SIGHUP)
    wait_for("the new route", lambda: ask(env.gw.address, "GET", "/hup").status == 200)
    equal(env.gw.admin.metric("phoenix_config_last_reload_successful"), 1)


@table(["post", "sighup"])
def test_bad_file_changes_nothing(env, row):
    with open(env.gw.config_path) as file:
        good = file.read()
    before = env.gw.admin.json("/admin/config")
    with open(env.gw.config_path, "w") as file:
        file.write(good.replace('"weight"', '"wieght"', 1).replace('"/a"', '17', 1))
    try:
        if row == "post":
            reply = env.gw.admin.post("/admin/config/reload")
            equal((reply.status, reply.get("content-type").split(";")[0]), (422, "application/problem+json"))
            errors = reply.json()["errors"]
            check(len(errors) >= 2, "every error of the file in one run", errors)
            check(any('did you mean "weight"?' in e for e in errors), errors)
            check(all(e.startswith(env.gw.config_path + ":") for e in errors if "error:" in e), errors)
        else:
            env.gw.signal(signal.SIGHUP)
        wait_for("the failure being shown", lambda: env.gw.admin.metric("phoenix_config_last_reload_successful") == 0)
        check(env.gw.admin.json("/admin/status")["config"]["last_reload_successful"] is False)
        check('did you mean "weight"?' in env.gw.log(), "the log is loud")
        equal(env.gw.admin.json("/admin/config"), before, "nothing changed")
        equal(ask(env.gw.address, "GET", "/a").status, 200)
    finally:
        with open(env.gw.config_path, "w") as file:
            file.write(good)
        env.gw.admin.ok("POST", "/admin/config/reload")
    equal(env.gw.admin.metric("phoenix_config_last_reload_successful"), 1)


def test_missing_file_changes_nothing(env):
    os.rename(env.gw.config_path, env.gw.config_path + ".away")
    try:
        reply = env.gw.admin.post("/admin/config/reload")
        check(reply.status >= 400, reply)
        equal(ask(env.gw.address, "GET", "/a").status, 200)
    finally:
        os.rename(env.gw.config_path + ".away", env.gw.config_path)
    env.gw.admin.ok("POST", "/admin/config/reload")


@timeout(60)
def test_fifty_reloads_under_load(env):
    """Good and bad files in turn, by signal and by POST, while wrk runs: no failed request."""
    load = wrk(env.gw.address, 6, connections=16, path="/load")
    deadline = time.monotonic() + 5
    count = 0
    while time.monotonic() < deadline and count < 50:
        if count % 5 == 4:
            with open(env.gw.config_path, "w") as file:
                file.write('{"routes": [')
            equal(env.gw.admin.post("/admin/config/reload").status, 422)
        elif count % 2:
            add_route(env, f"extra{count}")
            env.gw.signal(signal.SIGHUP)
        else:
            add_route(env, f"extra{count}")
            env.gw.admin.ok("POST", "/admin/config/reload")
        count += 1
    result = load.finish()
    equal(result["errors"], 0, result["text"])
    check(count >= 10 and result["requests"] > 100, (count, result))
    env.gw.write_config()
    env.gw.admin.ok("POST", "/admin/config/reload")


def test_request_under_way_ends_on_its_route(env):
    """A request that began before its route was removed gets its answer."""
    def slow(ex):
        time.sleep(0.6)
        return response(200, b"late")
    handler, env.up.handler = env.up.handler, slow
    add_route(env, "going")
    env.gw.admin.ok("POST", "/admin/config/reload")
    try:
        env.up.forget()
        with Client(env.gw.address) as c:
            c.request("GET", "/going")
            wait_for("the request at the upstream", lambda: env.up.seen)
            env.gw.config["routes"] = [r for r in env.gw.config["routes"] if r["id"] != "going"]
            env.gw.write_config()
            env.gw.admin.ok("POST", "/admin/config/reload")
            equal(c.response().body, b"late")
            equal(c.ask("GET", "/going").status, 404)
    finally:
        env.up.handler = handler


def test_changed_upstream_takes_effect(env):
    other = Upstream(lambda ex: response(200, b"other"))
    try:
        add_route(env, "move")
        env.gw.admin.ok("POST", "/admin/config/reload")
        with Client(env.gw.address) as c:
            equal(c.ask("GET", "/move").body, b"/move")
            for r in env.gw.config["routes"]:
                if r["id"] == "move":
                    r["legacy_url"] = r["modern_url"] = other.url
            env.gw.write_config()
            env.gw.admin.ok("POST", "/admin/config/reload")
            equal(c.ask("GET", "/move").body, b"other")
    finally:
        other.stop()


# --- graceful end -----------------------------------------------------------------------------------------

def test_sigterm_drains(env):
    """A request under way is answered, new connections are not taken, the daemon ends with 0."""
    up = Upstream(lambda ex: (time.sleep(0.8), response(200, b"done"))[1])
    gw = Gateway([route(legacy=up.url)])
    try:
        with Client(gw.address) as c:
            c.request()
            wait_for("the request at the upstream", lambda: up.seen)
            gw.signal(signal.SIGTERM)
            r = c.response()
            equal((r.status, r.body), (200, b"done"))
        equal(gw.child.wait(10), 0)
    finally:
        gw.end()
        gw.remove()
        up.stop()


# --- phoenixd --check and files ---------------------------------------------------------------------------

def check_file(env, name, text):
    path = os.path.join(env.gw.directory, name)
    with open(path, "w") as file:
        file.write(text)
    status, out, err = run(built("phoenixd"), "--check", "--config", path)
    return status, (out + err).replace(path, "FILE")


GOOD = {"routes": [{"id": "a", "path": "/a", "legacy_url": "http://127.0.0.1:1", "modern_url": "http://127.0.0.1:2"}]}


def with_route(**more):
    doc = json.loads(json.dumps(GOOD))
    for key, value in more.items():
        if value is None:
            doc["routes"][0].pop(key)
        else:
            doc["routes"][0][key] = value
    return json.dumps(doc, indent=1)


@table([("json", "c.json", json.dumps(GOOD)), ("empty-object", "c.json", "{}"),
        ("yaml", "c.yaml", "routes:\n  - id: a\n    path: /a\n    legacy_url: http://127.0.0.1:1\n    modern_url: http://127.0.0.1:2\n"),
        ("yml", "c.yml", "routes: []\n"), ("weight", "c.json", with_route(weight=0.25)), ("param", "c.json", with_route(path="/a/{id}/b"))])
def test_check_good(env, row):
    status, text = check_file(env, row[1], row[2])
    equal(status, 0, text)


@table([("unknown-key", with_route(wieght=0.3), 'did you mean "weight"?'), ("wrong-type", with_route(weight="0.3"), "weight"),
        ("weight-high", with_route(weight=1.5), "1.5"), ("weight-fine", with_route(weight=0.33333), "weight"),
        ("no-url", with_route(legacy_url=None), "legacy_url"), ("bad-url", with_route(legacy_url="ftp://x"), "ftp"),
        ("bad-path", with_route(path="a"), "path"), ("bad-method", with_route(method="GE T"), "method"),
        ("bad-pointer", with_route(compare={"ignore": ["x"]}), "ignore"), ("bad-split", with_route(split={"by": "moon"}), "moon"),
        ("bad-id", with_route(id="a b"), "id"), ("cut", '{"routes": [', "error"), ("empty", "", "error"), ("trailing", "{} x", "error"),
        ("duplicate-key", '{"workers": 1, "workers": 2}', "workers"),
        ("duplicate-id", json.dumps({"routes": [GOOD["routes"][0], dict(GOOD["routes"][0], path="/b")]}), '"a"'),
        ("bad-listen", '{"listen": ["nonsense"]}', "nonsense"), ("negative-limit", '{"limits": {"head_bytes": -1}}', "head_bytes")])
def test_check_bad(env, row):
    status, text = check_file(env, "bad.json", row[1])
    equal(status, 3, text)
    check("FILE:" in text and "error" in text and row[2] in text, "FILE:LINE:COL: error: … names it", text)


def test_check_reports_all_errors_with_positions(env):
    status, text = check_file(env, "many.json", '{\n  "workers": "two",\n  "lisen": [],\n  "limits": {"head_bytes": true}\n}\n')
    equal(status, 3)
    for place in ("FILE:2:", "FILE:3:", "FILE:4:"):
        check(place in text, f"{place} is missing", text)


def test_yaml_and_json_mean_the_same(env):
    gw = Gateway([route("a", "/a", legacy=env.up.url)])
    try:
        as_json = gw.admin.json("/admin/config")
        gw.end()
        yaml = os.path.join(gw.directory, "phoenix.yaml")
        with open(yaml, "w") as file:
            file.write(f"""
listen: ["127.0.0.1:{gw.port}"]
admin: {{listen: "127.0.0.1:{gw.admin_port}", socket: "{gw.socket_path}"}}
state:
  store: file
  path: {gw.state_path}
xdp:
  mode: "off"
routes:
  - id: a   # a comment
    path: /a
    method: "*"
    legacy_url: {env.up.url}
    modern_url: {env.up.url}
    weight: 0
    mirror: {{sample: 0, control: 0}}
    arbiter: {{enabled: false}}
""")
        gw.args = [gw.args[0], "--config", yaml]
        gw.restart()
        as_yaml = gw.admin.json("/admin/config")
        as_json.pop("file", None), as_yaml.pop("file", None)
        equal(as_yaml, as_json)
        equal(ask(gw.address, "GET", "/a").status, 200)
    finally:
        gw.stop()


def test_start_with_a_bad_file_is_3(env):
    gw = Gateway([route("a b", "nope", legacy=env.up.url)], start=False)
    gw.start(wait=False)
    wait_for("the daemon ending", lambda: not gw.alive())
    equal(gw.child.returncode, 3)
    check("error:" in gw.log())
    gw.end()
    gw.remove()


@table([("no-arguments", []), ("unknown", ["--explode"]), ("no-value", ["--config"])])
def test_usage(env, row):
    if row[0] == "no-arguments" and os.path.exists("/etc/phoenix/phoenix.json"):
        return
    status, out, err = run(built("phoenixd"), *row[1], timeout_s=10)
    check(status != 0 and (out + err).strip(), (status, out, err))
    if row[0] != "no-arguments":
        equal(status, 2)


def test_help_and_version(env):
    for option in ("--help", "--version"):
        status, out, _err = run(built("phoenixd"), option)
        equal(status, 0)
        check("phoenixd" in out, out)

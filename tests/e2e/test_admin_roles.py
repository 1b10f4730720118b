# SPDX-License-Identifier: Apache-2.0
"""
admin_roles: who may do what: peers of the Unix socket by their uid and group, tokens by their roles, read again
without a restart, guessed only slowly; all of it in the audit log, and no secret anywhere.
"""
import hashlib
import http.client
import json
import os
import signal

from lib.case import Bench, check, equal, table
from lib.net import Client, ask, response, wait_for
from lib.process import Gateway, need, route, run
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
TOKENS = {"viewer": "look-only-please", "operator": "operate-with-care", "admin": "all-is-allowed-here"}


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    env.gw = env.own(guarded(env))
    return env


def write_tokens(gw, lines, mode=0o600):
    path = os.path.join(gw.directory, "tokens")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    os.chmod(path, mode)
    return path


def guarded(env, lines=None, start=True, **config):
    gw = Gateway([route("r", "/r/*", legacy=env.up.url)], sanitized=True, start=False, **config)
    hashed = hashlib.sha256(TOKENS["operator"].encode()).hexdigest()
    gw.config["admin"]["token_file"] = write_tokens(gw, lines or [f"grafana:viewer:{TOKENS['viewer']}", f"ci:operator:sha256:{hashed}",
                                                                  f"root:admin:{TOKENS['admin']}"])
    gw.tcp, gw.admin = gw.admin, gw.admin_unix
    return gw.start() if start else gw


def as_role(gw, role, method, path, body=None):
    return gw.tcp.request(method, path, body, {"Authorization": f"Bearer {TOKENS.get(role, role)}"})


@table([("viewer", "GET", "/admin/config", None, 200), ("viewer", "POST", "/admin/routes/r/weight", {"weight": 0.1}, 403),
        ("viewer", "GET", "/metrics", None, 200), ("operator", "POST", "/admin/routes/r/weight", {"weight": 0.2}, 200),
        ("operator", "POST", "/admin/config/reload", {}, 200), ("operator", "POST", "/admin/migrations", {}, 403),
        ("operator", "DELETE", "/admin/routes/r", None, 403), ("admin", "POST", "/admin/migrations", {}, 422),
        ("admin", "DELETE", "/admin/routes/none", None, 404)])
def test_tokens_have_roles(env, row):
    role, method, path, body, status = row
    reply = as_role(env.gw, role, method, path, body)
    equal(reply.status, status, reply)
    if status == 403:
        doc = reply.json()
        equal(doc["role"], role)
        check(doc["needs"] in doc["detail"] and doc["needs"] in reply.get("www-authenticate"), doc, reply.fields)


@table(["viewer", "operator", "admin"])
def test_the_status_tells_who_asks(env, row):
    you = as_role(env.gw, row, "GET", "/admin/status").json()["you"]
    equal(you, {"name": {"viewer": "token grafana", "operator": "token ci", "admin": "token root"}[row], "role": row})


def test_the_socket_is_its_owners(env):
    equal(env.gw.admin.json("/admin/status")["you"], {"name": f"uid {os.getuid()}", "role": "admin"})
    equal(os.stat(env.gw.socket_path).st_mode & 0o777, 0o600)


def as_nobody(gw, groups, method, path, body="{}"):
    """(exit status of curl, the answer's status and body), asked by another user in these groups."""
    status, out, _ = run(need("setpriv"), "--reuid=nobody", "--regid=nogroup", *([f"--groups={groups}"] if groups else ["--clear-groups"]),
                         need("curl"), "-s", "--unix-socket", gw.socket_path, "-X", method, "-H", "Content-Type: application/json",
                         *(["-d", body] if method != "GET" else []), "-w", "\n%{http_code}", f"http://localhost{path}")
    body, _, code = out.rpartition("\n")
    return status, int(code or 0), body


def test_a_group_of_operators(env):
    gw = Gateway([route("r", "/r/*", legacy=env.up.url)], sanitized=True, start=False)
    gw.config["admin"]["socket_group"] = "games"  # any group that nobody is in
    os.chmod(gw.directory, 0o711)
    os.chmod(os.path.dirname(gw.directory), os.stat(os.path.dirname(gw.directory)).st_mode | 0o011)
    gw.start()
    try:
        mode = os.stat(gw.socket_path)
        equal(mode.st_mode & 0o777, 0o660)
        status, code, body = as_nobody(gw, "games", "GET", "/admin/status")
        equal((status, code), (0, 200), body)
        equal(json.loads(body)["you"]["role"], "operator")
        equal(as_nobody(gw, "games", "POST", "/admin/routes/r/weight", '{"weight": 0.5, "reason": "game"}')[1], 200)
        status, code, body = as_nobody(gw, "games", "DELETE", "/admin/routes/r")
        equal((code, json.loads(body)["needs"]), (403, "admin"))
        check(as_nobody(gw, "", "GET", "/admin/status")[0] != 0, "the socket's mode keeps others away")
        os.chmod(gw.socket_path, 0o666)  # and where it does not, the uid does
        status, code, body = as_nobody(gw, "", "GET", "/admin/status")
        equal((status, code), (0, 403))
        check("admin.socket_group (games)" in json.loads(body)["detail"], body)
        equal(as_nobody(gw, "", "GET", "/healthz")[1], 200)
        entries = gw.admin.json("/admin/audit")["entries"]
        who = [(e["who"], e["role"], e["status"]) for e in entries]
        nobody = who[0][0]
        equal(who, [(nobody, "operator", 200), (nobody, "operator", 403), (nobody, "none", 403)])
    finally:
        gw.stop()


def test_an_unknown_group_is_named(env):
    gw = Gateway([route(legacy=env.up.url)], start=False)
    gw.config["admin"]["socket_group"] = "no-such-group"
    gw.start(wait=False)
    wait_for("the daemon ending", lambda: not gw.alive())
    check("addgroup --system no-such-group" in gw.log(), gw.log()[-1500:])
    gw.remove()


@table([("world", 0o644), ("group", 0o640)])
def test_an_open_token_file_does_not_start(env, row):
    gw = guarded(env, start=False)
    os.chmod(gw.config["admin"]["token_file"], row[1])
    gw.start(wait=False)
    wait_for("the daemon ending", lambda: not gw.alive())
    check(gw.child.returncode and "chmod 600" in gw.log(), gw.log()[-1500:])
    gw.remove()


def test_tokens_are_read_again(env):
    gw = guarded(env)
    try:
        stream = Client(("127.0.0.1", gw.admin_port))
        stream.send("GET /admin/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                    f"Authorization: Bearer {TOKENS['viewer']}\r\n\r\n")
        equal(stream.reader.response_head().status, 200)
        write_tokens(gw, ["new:viewer:a-new-token-for-you", f"root:admin:{TOKENS['admin']}"])
        gw.signal(signal.SIGHUP)
        wait_for("the new token", lambda: as_role(gw, "a-new-token-for-you", "GET", "/admin/status").status == 200)
        equal(as_role(gw, "viewer", "GET", "/admin/status").status, 401)
        while stream.reader.fill():  # the old token's stream ends
            pass
        stream.close()
        # A file with an error changes nothing, and is loud.
        write_tokens(gw, ["new:veiwer:a-new-token-for-you"])
        reply = as_role(gw, "admin", "POST", "/admin/config/reload", {})
        equal(reply.status, 422)
        check("did you mean" in json.dumps(reply.json()) and "a-new-token" not in json.dumps(reply.json()), reply.json())
        equal(as_role(gw, "a-new-token-for-you", "GET", "/admin/status").status, 200)
        equal(gw.admin.metric("phoenix_config_last_reload_successful"), 0)
    finally:
        gw.stop()


def test_guessing_is_slow(env):
    gw = guarded(env)
    try:
        replies = [as_role(gw, f"guess-number-{i}", "GET", "/admin/status") for i in range(15)]
        equal([r.status for r in replies], [401] * 10 + [429] * 5)
        check(1 <= int(replies[-1].get("retry-after")) <= 6, replies[-1].fields)
        equal(as_role(gw, "admin", "GET", "/admin/status").status, 429, "the right one has to wait as well")
        equal(gw.tcp.get("/healthz").status, 200)
        elsewhere = http.client.HTTPConnection("127.0.0.1", gw.admin_port, timeout=10, source_address=("127.0.0.9", 0))
        elsewhere.request("GET", "/admin/status", headers={"Authorization": f"Bearer {TOKENS['admin']}"})
        equal(elsewhere.getresponse().status, 200, "others do not")
        elsewhere.close()
        entries = gw.admin.json("/admin/audit?status=401")["entries"]
        equal(len(entries), 10, "those that were looked at are written down")
        equal({(e["who"], e["role"], e["path"]) for e in entries}, {("127.0.0.1", "none", "/admin/status")})
    finally:
        gw.stop()


def test_the_audit_log(env):
    gw = guarded(env)
    try:
        as_role(gw, "operator", "POST", "/admin/routes/r/weight", {"weight": 0.25, "reason": "friday"})
        as_role(gw, "viewer", "POST", "/admin/routes/r/weight", {"weight": 0.5})
        as_role(gw, "not-a-token-at-all", "GET", "/admin/config")
        gw.admin.post("/admin/routes/r/weight", {"weight": 9})
        all_of_it = gw.admin.json("/admin/audit")["entries"]
        equal([(e["who"], e["status"], e["reason"]) for e in all_of_it],
              [("token ci", 200, "friday"), ("token grafana", 403, None), ("127.0.0.1", 401, None), (f"uid {os.getuid()}", 422, None)])
        for query, wanted in (("who=token%20ci", [200]), ("status=4xx", [403, 401, 422]), ("status=401", [401]), ("path=/admin/routes", [200, 403, 422]),
                              ("limit=2", [401, 422]), (f"since={all_of_it[2]['at']}", [401, 422]), ("who=nobody", []), ("limit=1&status=200", [200])):
            equal([e["status"] for e in gw.admin.json(f"/admin/audit?{query}")["entries"]], wanted, query)
        gw.kill()
        gw.restart()
        equal(gw.admin.json("/admin/audit")["entries"], all_of_it, "it outlives the daemon")
    finally:
        gw.stop()


def test_strangers_do_not_fill_the_disk(env):
    gw = guarded(env)
    try:
        for i in range(60):
            gw.tcp.post("/admin/routes/r/weight", {"weight": 0.1})  # 401: no token at all
        ledger = [n for n in os.listdir(gw.directory) if "audit" in n]
        text = "".join(open(os.path.join(gw.directory, n)).read() for n in ledger)
        check(1 <= text.count('"status":401') <= 30, "at most thirty a minute", text.count('"status":401'))
        equal(len(gw.admin.json("/admin/audit")["entries"]), 60)
    finally:
        gw.stop()


SECRETS = {"token": "tOken-never-shown", "hashed": "hAshed-never-shown", "wrong": "wRong-token-tried", "redis": "rEdis-password", "hook": "hOok-credential",
           "authorization": "aUthorization-value", "cookie": "cOokie-value", "set-cookie": "sEt-cookie-value", "key": "x-aPi-key-value"}


def test_no_secret_anywhere(env):
    cookie = [("Content-Type", "application/json"), ("Set-Cookie", f"id={SECRETS['set-cookie']}")]
    legacy = Upstream(lambda ex: response(200, b'{"a": 1}', cookie))
    modern = Upstream(lambda ex: response(200, b'{"a": 2}', cookie))
    try:
        gw = guarded(env, [f"a:admin:{SECRETS['token']}", "b:viewer:sha256:" + hashlib.sha256(SECRETS["hashed"].encode()).hexdigest()], start=False)
        gw.config["routes"] = [route("r", "/r/*", legacy=legacy.url, modern=modern.url, sample=1.0, compare={"headers": ["set-cookie", "authorization"]},
                                     arbiter={"notify": [f"http://user:{SECRETS['hook']}@127.0.0.1:9/hook"], "min_samples": 1000})]
        gw.config["access_log"] = {"path": os.path.join(gw.directory, "access.log")}
        gw.start()
        fields = {"Authorization": f"Bearer {SECRETS['authorization']}", "Cookie": f"id={SECRETS['cookie']}", "X-Api-Key": SECRETS["key"]}
        for i in range(10):
            ask(gw.address, "GET", f"/r/{i}", fields)
        wait_for("samples", lambda: gw.admin.route("r")["consistency"]["samples"] >= 5)
        gw.tcp.get("/admin/status", Authorization=f"Bearer {SECRETS['wrong']}")
        gw.tcp.get("/admin/status", Authorization=f"Basic {SECRETS['wrong']}")
        gw.tcp.request("GET", "/admin/status", None, {"Authorization": f"Bearer {SECRETS['hashed']}"})
        gw.admin.request("PUT", "/admin/routes/r/ignore", {"ignore": [1]})
        gw.admin.request("POST", "/admin/config/reload", {})
        gw.admin.request("POST", "/admin/routes/r/rollback", {"reason": "a test"})
        # What was shown can be sent back: the webhook is still the whole one.
        shown = gw.admin.json("/admin/routes/r")["config"]
        equal(shown["arbiter"]["notify"], ["http://***@127.0.0.1:9/***"])
        shown["mirror"]["timeout_ms"] = 1500
        equal(gw.admin.request("PUT", "/admin/routes/r", shown).status, 200)
        wait_for("the state file", lambda: SECRETS["hook"] in open(gw.state_path).read())
        said = {}
        document = gw.admin.json("/openapi.json")
        for path, operations in document["paths"].items():
            if "get" in operations:
                said[path] = gw.admin.get(path.replace("{id}", "r")).body
        for path in ("/", "/openapi.json"):
            said[path] = gw.admin.get(path).body
        # A configuration with errors quotes what it complains about, but not these.
        broken = dict(gw.config, state={"store": "redis", "url": f"redis//:{SECRETS['redis']}@x"})
        broken["routes"][0]["arbiter"]["notify"] = [f"ftp://user:{SECRETS['hook']}@x"]
        with open(gw.config_path, "w") as file:
            json.dump(broken, file)
        said["reload of a bad file"] = gw.admin.request("POST", "/admin/config/reload", {}).body
        said["config"] = gw.admin.get("/admin/config").body
        said["log"] = gw.log().encode()
        for folder, _, names in os.walk(gw.directory):
            for name in names:
                path = os.path.join(folder, name)
                # The state file holds routes made by REST, and is not for others.
                if name == "state.json":
                    equal(os.stat(path).st_mode & 0o007, 0, "mode of the state file")
                elif name not in ("phoenix.json", "tokens") and os.path.isfile(path):
                    said[path] = open(path, "rb").read()
        check(len(said) > 20 and any("state" in n for n in said) and any("access" in n for n in said), sorted(said))
        found = [(where, what) for where, text in said.items() for what, secret in SECRETS.items() if secret.encode() in text]
        equal(found, [])
        gw.stop()
    finally:
        legacy.stop()
        modern.stop()

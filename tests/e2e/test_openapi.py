# SPDX-License-Identifier: Apache-2.0
"""
openapi: every operation of /openapi.json is called, in earnest and wrongly, and each answer is held against the
document: its status is named there, its content type too, and its body is valid by a real JSON Schema validator.
"""
import json

from lib.case import Bench, check, equal
from lib.process import Skip
from lib.upstream import Upstream

from .test_admin_roles import TOKENS, as_role, guarded

SUBJECTS = ("phoenix",)
ROUTE = {"path": "/n", "legacy_url": "http://127.0.0.1:9001", "modern_url": "http://127.0.0.1:9002"}
BODIES = {("POST", "/admin/routes"): dict(ROUTE, id="n"), ("PUT", "/admin/routes/{id}"): dict(ROUTE, path="/r/*"),
          ("POST", "/admin/routes/{id}/weight"): {"weight": 0.1}, ("PUT", "/admin/routes/{id}/weight"): {"weight": 0.2},
          ("PUT", "/admin/routes/{id}/ignore"): {"ignore": ["/a"]}, ("POST", "/admin/kill-switch"): {"on": False}}


def setup():
    env = Bench()
    try:
        import jsonschema
    except ImportError:
        raise Skip("python3-jsonschema is not installed") from None
    env.validator = jsonschema.Draft202012Validator
    env.up = env.own(Upstream())
    env.gw = env.own(guarded(env))
    env.document = env.gw.admin.json("/openapi.json")
    env.operations = [(method.upper(), path, operation) for path, item in env.document["paths"].items() for method, operation in item.items()]
    return env


def hold(env, operation, reply, what):
    """The answer is one that the operation's part of the document describes."""
    described = operation["responses"].get(str(reply.status))
    check(described, f"{what}: {reply.status} is not in the document", sorted(operation["responses"]), reply)
    content = described.get("content")
    if not content:
        equal(reply.body, b"", what)
        return
    kind = reply.get("content-type")
    check(kind in content or kind.split(";")[0] in content, f"{what}: content type {kind}", list(content))
    schema = content.get(kind) or content[kind.split(";")[0]]
    value = reply.json() if "json" in kind else reply.body.decode()
    whole = dict(schema["schema"], components=env.document["components"])
    errors = [f"{list(e.path)}: {e.message}" for e in env.validator(whole).iter_errors(value)]
    equal(errors, [], what)
    if reply.status >= 400:
        equal(value["status"], reply.status, what)


def test_the_document_is_one(env):
    equal(env.document["openapi"], "3.1.0")
    for method, path, operation in env.operations:
        what = f"{method} {path}"
        check(operation["summary"] and any(s.startswith("2") for s in operation["responses"]), what)
        equal("{id}" in path, any(p["name"] == "id" and p["in"] == "path" for p in operation["parameters"]), what)
        equal(operation.get("security") == [], "x-role" not in operation, what)
        check(method == "GET" or operation["x-role"] in ("operator", "admin"), what)
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                env.validator.check_schema(content["schema"])


def test_every_operation_answers_as_described(env):
    last = [o for o in env.operations if o[0] == "DELETE"]
    for method, path, operation in [o for o in env.operations if o[0] != "DELETE"] + last:
        target = path.replace("{id}", "r")
        body = BODIES.get((method, path), {}) if method in ("POST", "PUT") else None
        reply = as_role(env.gw, "admin", method, target, body)
        hold(env, operation, reply, f"{method} {path}")
        if "migrations" not in path and "samples" not in path:
            check(reply.status < 300 or reply.status in (409, 422), f"{method} {path}", reply)
        if path == "/admin/routes/{id}" and method == "DELETE":
            as_role(env.gw, "admin", "POST", "/admin/routes", dict(ROUTE, id="r", path="/r/*"))


def test_every_operation_refuses_as_described(env):
    for method, path, operation in env.operations:
        what, target = f"{method} {path}", path.replace("{id}", "r")
        body = BODIES.get((method, path), {}) if method in ("POST", "PUT") else None
        hold(env, operation, env.gw.tcp.request(method, target, body, {"Host": "evil.example"}), what + ", another Host")
        if "x-role" in operation:
            reply = env.gw.tcp.request(method, target, body)
            equal(reply.status, 401, what)
            hold(env, operation, reply, what + ", no token")
            if operation["x-role"] != "viewer":
                reply = as_role(env.gw, "viewer", method, target, body)
                equal((reply.status, reply.json()["needs"]), (403, operation["x-role"]), what)
                hold(env, operation, reply, what + ", a viewer")
        if "{id}" in path and (method, path) != ("PUT", "/admin/routes/{id}"):  # which would create it
            reply = as_role(env.gw, "admin", method, path.replace("{id}", "none"), body)
            equal(reply.status, 404, what)
            hold(env, operation, reply, what + ", an unknown id")
        if method in ("POST", "PUT"):
            admin = {"Authorization": f"Bearer {TOKENS['admin']}"}
            for status, text, fields in ((415, b"{}", {"Content-Type": "text/plain"}), (400, b"{nope", {}), (413, b'"' + b"x" * 1100000 + b'"', {})):
                reply = env.gw.tcp.request(method, target, text, {**admin, **fields})
                check(reply.status in (status, 422) or (path == "/admin/routes/{id}" and method == "PUT"), what, status, reply)
                hold(env, operation, reply, f"{what}, {status}")
        # The method that is not there is refused for the path, with what is.
        reply = as_role(env.gw, "admin", "PATCH", target, {})
        equal((reply.status, reply.json()["status"]), (405, 405), what)
        check(method in reply.get("allow"), what, reply.fields)


def test_conflicts_and_preconditions(env):
    find = {(m, p): o for m, p, o in env.operations}
    stale = {"Authorization": f"Bearer {TOKENS['admin']}", "If-Match": '"nonsense"'}
    for method, path, body in (("POST", "/admin/routes/{id}/weight", {"weight": 0.3}), ("PUT", "/admin/routes/{id}", dict(ROUTE, path="/r/*")),
                               ("DELETE", "/admin/routes/{id}", None), ("PUT", "/admin/routes/{id}/ignore", {"ignore": []})):
        reply = env.gw.tcp.request(method, path.replace("{id}", "r"), body, stale)
        equal(reply.status, 412, f"{method} {path}")
        hold(env, find[method, path], reply, f"{method} {path}, stale")
    reply = as_role(env.gw, "admin", "POST", "/admin/routes/r/resume", {})
    equal(reply.status, 409)
    check(isinstance(reply.json()["possible"], list))
    hold(env, find["POST", "/admin/routes/{id}/resume"], reply, "resume of what was not paused")


def test_too_many_wrong_tokens(env):
    operation = env.document["paths"]["/admin/config"]["get"]
    for i in range(12):
        reply = as_role(env.gw, f"wrong-token-{i}", "GET", "/admin/config")
        hold(env, operation, reply, "a wrong token")
    equal(reply.status, 429)

# SPDX-License-Identifier: Apache-2.0
"""
routes: which route a request belongs to (host, method, path; the most specific one wins), ten thousand of
them, and routes that come and go by REST.
"""
import statistics
import time

from lib.case import Bench, check, equal, table
from lib.net import Client, ask, response
from lib.process import Gateway, built, route, run
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)

# (id, host, methods, path): every route sends to a base path of its own name, which the upstream reports
ROUTES = [
    ("exact", None, "*", "/api/users"),
    ("exact-slash", None, "*", "/api/users/"),
    ("get-only", None, "GET", "/api/items"),
    ("post-only", None, "POST", "/api/items"),
    ("rest-of-items", None, "*", "/api/items"),
    ("put-patch", None, ["PUT", "PATCH"], "/api/two"),
    ("param", None, "*", "/api/users/{id}"),
    ("param-deep", None, "*", "/api/users/{id}/orders"),
    ("param-two", None, "*", "/api/users/{id}/orders/{order}"),
    ("exact-over-param", None, "*", "/api/users/me"),
    ("prefix", None, "*", "/api/*"),
    ("prefix-longer", None, "*", "/api/deep/*"),
    ("prefix-below", None, "*", "/api/deep/er/*"),
    ("host-exact", "a.example", "*", "/api/users"),
    ("host-prefix", "a.example", "*", "/*"),
    ("host-other", "b.example", "GET", "/api/users"),
    ("only", None, "*", "/only/exact"),
]
CASES = [
    ("GET", "t", "/api/users", "exact"), ("POST", "t", "/api/users?x=1", "exact"), ("GET", "t", "/api/users/", "exact-slash"),
    ("GET", "t", "/api/items", "get-only"), ("POST", "t", "/api/items", "post-only"), ("DELETE", "t", "/api/items", "rest-of-items"),
    ("PUT", "t", "/api/two", "put-patch"), ("PATCH", "t", "/api/two", "put-patch"), ("GET", "t", "/api/two", "prefix"),
    ("GET", "t", "/api/users/17", "param"), ("GET", "t", "/api/users/a%2Fb", "param"), ("GET", "t", "/api/users/17/orders", "param-deep"),
    ("GET", "t", "/api/users/17/orders/4", "param-two"), ("GET", "t", "/api/users/me", "exact-over-param"),
    ("GET", "t", "/api/users/me/orders", "param-deep"), ("GET", "t", "/api/users/17/other", "prefix"),
    ("GET", "t", "/api/", "prefix"), ("GET", "t", "/api/x/y/z", "prefix"), ("GET", "t", "/api/deep/x", "prefix-longer"),
    ("GET", "t", "/api/deep/er/x", "prefix-below"), ("GET", "t", "/api/deep/er", "prefix-longer"),
    ("GET", "t", "/api/deeper", "prefix"), ("GET", "a.example", "/api/users", "host-exact"),
    ("GET", "A.EXAMPLE:8080", "/api/users", "host-exact"), ("GET", "a.example", "/zzz", "host-prefix"),
    ("GET", "b.example", "/api/users", "host-other"), ("POST", "b.example", "/api/users", "exact"),
    ("GET", "c.example", "/api/users", "exact"), ("GET", "t", "/only/exact", "only"), ("GET", "t", "/only/exact?q", "only"),
    ("GET", "t", "/", None), ("GET", "t", "/ap", None), ("GET", "t", "/only", None), ("GET", "t", "/only/exact/", None),
    ("GET", "t", "/only/exactly", None), ("GET", "t", "/API/users", None), ("GET", "b.example", "/only/exact", "only"),
    ("HEAD", "t", "/api/users", "exact"), ("X-OTHER", "t", "/api/users", "exact"), ("get", "t", "/api/items", "rest-of-items"),
]


def setup():
    env = Bench()
    env.up = env.own(Upstream(lambda ex: response(200, ex.target if ex.method != "HEAD" else b"",
                                                  {"X-Target": ex.target})))
    routes = []
    for name, host, method, path in ROUTES:
        more = {"host": host} if host else {}
        routes.append(route(name, path, legacy=f"{env.up.url}/{name}", method=method, **more))
    env.gw = env.own(Gateway(routes, sanitized=True))
    return env


@table([(f"{m}-{h}-{p}", m, h, p, w) for m, h, p, w in CASES])
def test_wins(env, row):
    _name, method, host, path, want = row
    env.up.forget()
    r = ask(env.gw.address, method, path, {"Host": host})
    if want is None:
        equal(r.status, 404)
        check(method == "HEAD" or 0 < len(r.body) < 2000, "the 404 says what it is")
        equal(env.up.seen, [])
        return
    equal(r.status, 200)
    equal(r.get("x-target"), f"/{want}{path}", "target at the upstream")


def test_404_keeps_the_connection(env):
    with Client(env.gw.address) as c:
        equal(c.ask("GET", "/nowhere").status, 404)
        equal(c.ask("POST", "/nowhere", body=b"12345").status, 404)
        if (c.ask("GET", "/nowhere").get("connection") or "") != "close":
            equal(c.ask("GET", "/only/exact").status, 200)


def test_order_in_the_file_does_not_matter(env):
    routes = list(reversed(env.gw.routes))
    gw = Gateway(routes)
    try:
        for method, host, path, want in CASES:
            r = ask(gw.address, method, path, {"Host": host})
            equal(r.get("x-target"), f"/{want}{path}" if want else None, f"target of {method} {host}{path}")
    finally:
        gw.stop()


def test_ten_thousand_routes(env):
    """Found without a linear search: the last one answers as quickly as with a single route."""
    few = Gateway([route("r0", "/r/0", legacy=env.up.url)])
    routes = [route(f"r{i}", f"/r/{i}", legacy=env.up.url) for i in range(8000)]
    routes += [route(f"p{i}", f"/p{i}/*", legacy=env.up.url) for i in range(1000)]
    routes += [route(f"q{i}", f"/q{i}/{{id}}/x", legacy=env.up.url) for i in range(1000)]
    many = Gateway(routes)

    def median_us(gw, paths):
        times = []
        with Client(gw.address) as c:
            for i in range(400):
                started = time.perf_counter()
                equal(c.ask("GET", paths[i % len(paths)]).status, 200)
                times.append(time.perf_counter() - started)
        return statistics.median(times) * 1e6
    try:
        one = median_us(few, ["/r/0"])
        all_of_them = median_us(many, [f"/r/{i}" for i in range(0, 8000, 97)] + [f"/p{i}/a" for i in range(0, 1000, 97)] +
                                [f"/q{i}/5/x" for i in range(0, 1000, 97)])
        check(all_of_them < 3 * one + 300, f"median {all_of_them:.0f} us with 10,000 routes, {one:.0f} us with one")
        equal(many.ask("GET", "/r/8000").status, 404)
        equal(len(many.admin.items("/admin/routes", "routes")), 10000)
        # and the daemon itself does not pay for them all the time
        equal(many.admin.set_weight("p999", 1.0)["set"], 1.0)
    finally:
        few.stop()
        many.stop()


def test_route_by_rest(env):
    admin = env.gw.admin
    new = route("extra", "/extra/*", legacy=env.up.url + "/made")
    equal(ask(env.gw.address, "GET", "/extra/a").status, 404)
    reply = admin.post("/admin/routes", new)
    check(reply.status in (200, 201), reply)
    equal(ask(env.gw.address, "GET", "/extra/a").get("x-target"), "/made/extra/a")
    got = admin.request("GET", "/admin/routes/extra")
    check(got.get("etag"), "ETag", got)
    changed = dict(new, legacy_url=env.up.url + "/changed", modern_url=env.up.url + "/changed")
    reply = admin.request("PUT", "/admin/routes/extra", changed, {"If-Match": got.get("etag")})
    equal(reply.status, 200, reply)
    equal(ask(env.gw.address, "GET", "/extra/a").get("x-target"), "/changed/extra/a")
    reply = admin.request("PUT", "/admin/routes/extra", new, {"If-Match": got.get("etag")})
    equal(reply.status, 412, "a second writer with the old ETag")
    reply = admin.post("/admin/routes", new)
    equal(reply.status, 409, "an id that exists")
    # it survives a crash
    env.gw.kill()
    env.gw.restart()
    equal(ask(env.gw.address, "GET", "/extra/a").get("x-target"), "/changed/extra/a")
    reply = admin.request("DELETE", "/admin/routes/extra")
    check(reply.status in (200, 204), reply)
    equal(ask(env.gw.address, "GET", "/extra/a").status, 404)
    equal(admin.get("/admin/routes/extra").status, 404)


def test_route_by_rest_with_errors(env):
    reply = env.gw.admin.post("/admin/routes", {"id": "x y", "path": "nope", "wieght": 2})
    check(reply.status in (400, 422), reply)
    equal(reply.get("content-type").split(";")[0], "application/problem+json")
    text = reply.body.decode()
    check("weight" in text and "did you mean" in text, "names the error and the cure", text)


def test_route_add_and_remove_under_load(env):
    """Snapshots are swapped while requests flow: none fails."""
    from lib.process import wrk
    load = wrk(env.gw.address, 3, path="/only/exact")
    for i in range(25):
        reply = env.gw.admin.post("/admin/routes", route(f"n{i}", f"/n{i}", legacy=env.up.url))
        check(reply.status in (200, 201), reply)
        equal(ask(env.gw.address, "GET", f"/n{i}").status, 200)
        env.gw.admin.ok("DELETE", f"/admin/routes/n{i}")
        equal(ask(env.gw.address, "GET", f"/n{i}").status, 404)
    result = load.finish()
    equal(result["errors"], 0, result["text"])
    check(result["requests"] > 100)


def test_two_equal_routes_are_an_error(env):
    gw = Gateway([route("one", "/same", legacy=env.up.url), route("two", "/same", legacy=env.up.url)], start=False)
    gw.write_config()
    status, out, err = run(built("phoenixd"), "--check", "--config", gw.config_path)
    equal(status, 3)
    check("same" in out + err or "two" in out + err, out, err)
    gw.remove()

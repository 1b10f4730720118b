# SPDX-License-Identifier: Apache-2.0
"""
real_upstreams: nginx and haproxy as the servers behind the gateway, curl as a client, hostnames and base
paths in the URLs.
"""
import gzip
import os

from lib.case import Bench, check, equal, table
from lib.net import Client, ask
from lib.process import Gateway, Haproxy, Nginx, need, route, run
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
SERVER = """
server {
  listen 127.0.0.1:{port0};
  root {dir};
  location = /echo { default_type text/plain;
    return 200 "$request_method|$request_uri|$http_host|$http_x_forwarded_for|$http_x_forwarded_proto|$http_x_custom"; }
  location = /created { return 201 "made"; }
  location = /empty { return 204; }
  location = /moved { return 301 /elsewhere; }
  location = /fail { return 500; }
  location = /id { return 200 "$http_x_request_id"; }
  location /files/ { alias {dir}/; gzip on; gzip_min_length 1; gzip_types *; }
  location /v1/ { default_type text/plain; return 200 "v1:$request_uri"; }
  location /limit { client_max_body_size 1k; proxy_pass http://127.0.0.1:{port1}; }
  location /upload { client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;
    proxy_pass http://127.0.0.1:{port1}; }
}
server { listen 127.0.0.1:{port1}; client_max_body_size 0; location / { return 200 "inner"; } }
"""


def setup():
    env = Bench()
    env.nginx = env.own(Nginx(SERVER, ports=2))
    with open(os.path.join(env.nginx.directory, "file.txt"), "w") as file:
        file.write("line\n" * 10000)
    env.nginx.start()
    env.haproxy = env.own(Haproxy(env.nginx.port).start())
    port = env.nginx.port
    env.gw = env.own(Gateway([
        route("nginx", "/n/*", legacy=env.nginx.url()),
        route("joined", "/users", legacy=env.nginx.url() + "/v1"),
        route("joined-prefix", "/under/*", legacy=env.nginx.url() + "/v1/deep"),
        route("joined-slash", "/slash/*", legacy=env.nginx.url() + "/v1/"),
        route("name", "/by-name/*", legacy=f"http://localhost:{port}/v1"),
        route("name-echo", host="by-name.test", path="/*", legacy=f"http://localhost:{port}"),
        route("through-haproxy", host="ha.test", path="/*", legacy=env.haproxy.url),
        route("all", "/*", legacy=env.nginx.url()),
    ], sanitized=True))
    return env


@table(["test", "ha.test", "by-name.test"])
def test_echo(env, row):
    with Client(env.gw.address) as c:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            r = c.ask(method, "/echo?q=a%20b&c", {"Host": row, "X-Custom": "c"})
            parts = r.body.decode().split("|")
            equal((r.status, parts[0], parts[1], parts[2]), (200, method, "/echo?q=a%20b&c", row))
            check(parts[3].startswith("127.0.0.1"), parts)
            equal((parts[4], parts[5]), ("http", "c"))


@table([("/created", 201, b"made"), ("/empty", 204, b""), ("/moved", 301, None), ("/fail", 500, None), ("/nothing", 404, None)])
def test_status(env, row):
    for host in ("test", "ha.test"):
        r = ask(env.gw.address, "GET", row[0], {"Host": host})
        equal(r.status, row[1])
        if row[2] is not None:
            equal(r.body, row[2])


def test_redirect_is_not_rewritten(env):
    r = ask(env.gw.address, "GET", "/moved", {"Host": "public.example:8443"})
    check(r.get("location").startswith("http://public.example"), r.get("location"))


@table(["test", "ha.test"])
def test_file(env, row):
    with Client(env.gw.address) as c:
        r = c.ask("GET", "/file.txt", {"Host": row})
        equal((r.status, len(r.body)), (200, 50000))
        etag = r.get("etag")
        equal(c.ask("HEAD", "/file.txt", {"Host": row}).get("content-length"), "50000")
        r = c.ask("GET", "/file.txt", {"Host": row, "If-None-Match": etag})
        equal((r.status, r.body), (304, b""))
        r = c.ask("GET", "/file.txt", {"Host": row, "Range": "bytes=5-9"})
        equal((r.status, r.body), (206, b"line\n"))
        r = c.ask("GET", "/file.txt", {"Host": row, "Range": "bytes=0-1,10-11"})
        equal(r.status, 206)
        check("multipart/byteranges" in r.get("content-type"))
        r = c.ask("GET", "/files/file.txt", {"Host": row, "Accept-Encoding": "gzip"})
        equal((r.status, r.get("content-encoding"), r.framing), (200, "gzip", "chunked"))
        equal(len(gzip.decompress(r.body)), 50000)


@table([("exact", "/users?x=1", b"v1:/v1/users?x=1"), ("exact-plain", "/users", b"v1:/v1/users"),
        ("prefix", "/under/a/b?c=d", b"v1:/v1/deep/under/a/b?c=d"), ("slash", "/slash/a", b"v1:/v1/slash/a"),
        ("localhost", "/by-name/x", b"v1:/v1/by-name/x"), ("encoded", "/under/a%2Fb//c", b"v1:/v1/deep/under/a%2Fb//c")])
def test_base_path(env, row):
    r = ask(env.gw.address, "GET", row[1])
    equal((r.status, r.body), (200, row[2]))


def test_request_id_reaches_the_service(env):
    equal(ask(env.gw.address, "GET", "/id", {"X-Request-Id": "abc-1"}).body, b"abc-1")
    check(len(ask(env.gw.address, "GET", "/id").body) >= 8)


def test_upload(env):
    for host in ("test", "ha.test"):
        r = ask(env.gw.address, "POST", "/upload", {"Host": host}, b"x" * 2_000_000)
        equal((r.status, r.body), (200, b"inner"))


def test_nginx_refuses_a_large_body(env):
    """413 while the client still sends: the answer arrives."""
    with Client(env.gw.address) as c:
        c.send(b"POST /limit HTTP/1.1\r\nHost: t\r\nContent-Length: 5000000\r\n\r\n")
        c.send_tolerant(b"x" * 100000)
        equal(c.response().status, 413)


def test_curl(env):
    curl = need("curl")
    base = f"http://127.0.0.1:{env.gw.port}"
    status, out, _ = run(curl, "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{num_connects}\n",
                         f"{base}/file.txt", f"{base}/file.txt", "-o", "/dev/null")
    equal(status, 0)
    equal([line.split()[:2] for line in out.splitlines()], [["200", "50000"], ["200", "50000"]])
    equal([line.split()[2] for line in out.splitlines()], ["1", "0"], "the second request reuses the connection")
    status, out, _ = run(curl, "-sS", "--http1.0", f"{base}/file.txt")
    equal((status, len(out)), (0, 50000))
    status, out, _ = run(curl, "-sS", "-X", "POST", "-d", "@" + os.path.join(env.nginx.directory, "file.txt"),
                         "-H", "Expect: 100-continue", "--expect100-timeout", "1", f"{base}/upload")
    equal((status, out), (0, "inner"))
    status, out, _ = run(curl, "-sS", "-T", os.path.join(env.nginx.directory, "file.txt"), "-H",
                         "Transfer-Encoding: chunked", f"{base}/upload")
    equal((status, out), (0, "inner"))
    status, out, _ = run(curl, "-sS", "--compressed", f"{base}/files/file.txt")
    equal((status, len(out)), (0, 50000))


def test_curl_http2_falls_back(env):
    """curl --http2 asks with Upgrade: h2c; the answer comes in HTTP/1.1."""
    status, out, err = run(need("curl"), "-sS", "--http2", f"http://127.0.0.1:{env.gw.port}/created")
    equal((status, out), (0, "made"), err)


def test_ipv6_upstream(env):
    try:
        up = Upstream(host="::1")
    except OSError:
        from lib.process import Skip
        raise Skip("no IPv6 loopback here") from None
    gw = Gateway([route(legacy=up.url)])
    try:
        equal(gw.ask().body, b"hello")
    finally:
        gw.stop()
        up.stop()


def test_name_without_address_is_502_and_others_live(env):
    gw = Gateway([route("lost", "/lost", legacy="http://no-such-host.invalid:80"), route(legacy=env.nginx.url())])
    try:
        r = gw.ask("GET", "/lost")
        check(r.status in (502, 503, 504), r)
        check(0 < len(r.body) < 2000)
        equal(gw.ask("GET", "/created").status, 201)
    finally:
        gw.stop()

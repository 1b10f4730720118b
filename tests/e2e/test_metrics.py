# SPDX-License-Identifier: Apache-2.0
"""
metrics: what a real Prometheus makes of /metrics: all that the contract names is there, counters never go
back, the values are those of the admin API, and ten thousand routes hold nobody up.
"""
import json
import os
import re
import socket
import subprocess
import urllib.parse
import urllib.request

from lib.case import Bench, check, equal, table, timeout
from lib.net import ask, free_port, wait_for
from lib.process import Gateway, Process, need, route, scratch, wrk
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)

# Names and labels are fixed: people have dashboards and alerts on them.
CONTRACT = {
    "phoenix_requests_total": {"route", "backend", "path", "code"},
    "phoenix_request_duration_seconds": {"route", "backend", "path"},
    "phoenix_upstream_errors_total": {"kind"},
    "phoenix_shadow_requests_total": {"result"},
    "phoenix_compare_total": {"route", "result"},
    "phoenix_weight_wanted_ratio": {"route"},
    "phoenix_weight_set_ratio": {"route"},
    "phoenix_migration_state": {"route", "state"},
    "phoenix_rollbacks_total": {"route", "reason"},
    "phoenix_ring_dropped_total": set(),
    "phoenix_config_last_reload_successful": set(),
    "phoenix_build_info": {"version"},
}
# Without a NIC path, or another store, there is nothing to say but what it would be.
DECLARED = {"phoenix_xdp_attached": "gauge", "phoenix_xdp_verdicts_total": "counter", "phoenix_redis_up": "gauge"}


class Prometheus(Process):
    """A real one, scraping `targets` every half a second; see its log in self.log()."""

    def __init__(self, targets, token=None, rules=None):
        directory = scratch()
        self.port = free_port()
        config = {"global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
                  "scrape_configs": [{"job_name": "phoenix", "static_configs": [{"targets": targets}]}]}
        if token:
            config["scrape_configs"][0]["authorization"] = {"credentials": token}
        if rules:
            config["rule_files"] = rules
        path = os.path.join(directory, "prometheus.yml")
        with open(path, "w") as file:
            json.dump(config, file)  # JSON is YAML
        super().__init__([need("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={directory}/data",
                          f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"], directory)

    def api(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(query)
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]

    def start(self):
        super().start()

        def ready():
            check(self.alive(), "prometheus ended", self.log()[-2000:])
            try:
                return any(t["health"] == "up" for t in self.api("targets")["activeTargets"])
            except OSError:
                return False
        wait_for("a first scrape by prometheus", ready, 30)
        return self

    def value(self, query):
        """The value of a query with one result; None when there is none."""
        result = self.api("query", query=query)["result"]
        check(len(result) <= 1, "one result", query, result)
        return float(result[0]["value"][1]) if result else None

    def stop(self):
        self.end(15)
        self.remove()


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    env.gw = env.own(Gateway([route("r", "/r/*", legacy=env.up.url, weight=0.5), route("s", "/s", legacy=env.up.url, sample=1.0)],
                             sanitized=True))
    env.admin = env.gw.admin
    return env


def parsed(text):
    """({name: type}, {series: value})"""
    declared, series = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            declared[name] = kind
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            check(name not in series, "a series stands there twice", line)
            series[name] = float(value)
    return declared, series


def labels_of(series):
    return {n: v for n, v in re.findall(r'([a-z_]+)="([^"]*)"', series)}


def base_of(series, declared):
    name = series.split("{", 1)[0]
    short = re.sub(r"_(bucket|sum|count)$", "", name)
    return short if declared.get(short) == "histogram" else name


def test_the_contract(env):
    for target in ("/r/1", "/r/2", "/s", "/none"):
        ask(env.gw.address, "GET", target)
    wait_for("the four requests being counted", lambda: env.admin.metric("phoenix_requests_total") == 3)
    declared, series = parsed(env.admin.get("/metrics").body.decode())
    for name, labels in CONTRACT.items():
        mine = [s for s in series if base_of(s, declared) == name]
        check(mine, f"{name} is missing")
        for one in mine:
            equal(set(labels_of(one)) - {"le"}, labels, f"labels of {one}")
    for name, kind in DECLARED.items():
        equal(declared.get(name), kind, name)
    values = {n: {labels_of(s)[n] for s in series if n in labels_of(s) and "route=" in s} for n in ("route", "backend", "path")}
    equal(values, {"route": {"r", "s"}, "backend": {"legacy", "modern"}, "path": {"daemon"}})
    for name, kind in declared.items():
        check(not re.search(r"_(ms|us|ns|kb|mb|percent)(_total)?$", name), "base units", name)
        equal(name.endswith("_total"), kind == "counter", f"{name} is a {kind}")


def test_histogram_adds_up(env):
    for i in range(20):
        ask(env.gw.address, "GET", f"/r/{i}")
    wait_for("the requests being counted", lambda: env.admin.metric("phoenix_requests_total", route="r") >= 20)
    declared, series = parsed(env.admin.get("/metrics").body.decode())
    for side in ("legacy", "modern"):
        mine = {s: v for s, v in series.items() if 'route="r"' in s and f'backend="{side}"' in s}
        buckets = sorted((float(labels_of(s)["le"].replace("+Inf", "inf")), v) for s, v in mine.items() if "_bucket" in s)
        counts = [v for _, v in buckets]
        equal(counts, sorted(counts), "buckets are cumulative")
        total = next(v for s, v in mine.items() if s.startswith("phoenix_request_duration_seconds_count"))
        equal(counts[-1], total)
        equal(total, sum(v for s, v in mine.items() if s.startswith("phoenix_requests_total")))
        check(next(v for s, v in mine.items() if s.startswith("phoenix_request_duration_seconds_sum")) > 0)


@timeout(90)
def test_prometheus_reads_what_the_admin_api_says(env):
    """With a token, as it would be in earnest."""
    gw = Gateway([route("a", "/a/*", legacy=env.up.url, weight=0.3), route("b", "/b", legacy=env.up.url, weight=1)], start=False)
    tokens = os.path.join(gw.directory, "tokens")
    with open(tokens, "w") as file:
        file.write("prometheus:viewer:look-at-the-metrics\n")
    os.chmod(tokens, 0o600)
    gw.config["admin"]["token_file"] = tokens
    gw.admin = gw.admin_unix  # the test itself asks over the socket
    gw.start()
    prometheus = Prometheus([f"127.0.0.1:{gw.admin_port}"], "look-at-the-metrics")
    try:
        prometheus.start()
        for i in range(200):
            equal(ask(gw.address, "GET", f"/a/{i}").status, 200)
        for _ in range(5):
            equal(ask(gw.address, "GET", "/b").status, 200)
        wait_for("prometheus having seen the last request",
                 lambda: prometheus.value('sum(phoenix_requests_total{route="b"})') == 5
                 and prometheus.value('sum(phoenix_requests_total{route="a"})') == 200, 20)
        for item in gw.admin.json("/admin/status")["routes"]:
            for side in ("legacy", "modern"):
                selector = f'{{route="{item["id"]}",backend="{side}"}}'
                equal(prometheus.value(f"sum(phoenix_requests_total{selector})"), item["sides"][side]["requests"], selector)
            equal(prometheus.value(f'phoenix_weight_wanted_ratio{{route="{item["id"]}"}}'), item["weight"]["wanted"])
            equal(prometheus.value(f'phoenix_weight_set_ratio{{route="{item["id"]}"}}'), item["weight"]["set"])
            equal(prometheus.value(f'phoenix_migration_state{{route="{item["id"]}",state="{item["state"]}"}}'), 1)
            equal(prometheus.value(f'sum(phoenix_migration_state{{route="{item["id"]}"}})'), 1)
        median = prometheus.value('histogram_quantile(0.5, sum by (le) (phoenix_request_duration_seconds_bucket{route="a"}))')
        check(0 < median < 10, "a median from the buckets", median)
        equal(prometheus.value("phoenix_config_last_reload_successful"), 1)
        metadata = prometheus.api("metadata", metric="phoenix_requests_total")["phoenix_requests_total"]
        equal(metadata[0]["type"], "counter")
        equal(prometheus.value("scrape_samples_scraped"), len(parsed(gw.admin.get("/metrics").body.decode())[1]))
    finally:
        prometheus.stop()
        gw.stop()


def counters(gw):
    declared, series = parsed(gw.admin.get("/metrics").body.decode())
    return {s: v for s, v in series.items() if declared[base_of(s, declared)] in ("counter", "histogram")}


def test_counters_never_go_back(env):
    """Scraped all the time while requests, shadows, reloads and deletions of routes go on; a restart begins at zero."""
    gw = Gateway([route(n, f"/{n}", legacy=env.up.url, weight=0.5, sample=0.2) for n in "abc"], workers=2)
    try:
        loads = [wrk(gw.address, 2, connections=8, path=f"/{n}") for n in "ab"]
        gone, scrapes, before = 0, 0, counters(gw)
        while any(load.poll() is None for load in loads):
            now = counters(gw)
            for series, value in before.items():
                check(now.get(series, 0 if gone and 'route="b"' in series else value) >= value or (gone and 'route="b"' in series),
                      f"{series} went back from {value} to {now.get(series)}")
            before = now
            scrapes += 1
            if scrapes % 10 == 5:
                gw.admin.ok("POST", "/admin/config/reload")
            if scrapes == 12:
                gw.admin.ok("DELETE", "/admin/routes/b")
                gone = True
        for load in loads:
            load.finish()
        check(scrapes > 12, "too few scrapes to say anything", scrapes)
        check(sum(v for s, v in before.items() if s.startswith("phoenix_requests_total")) > 100)
        gw.kill()
        gw.restart()
        after = counters(gw)
        for series, value in after.items():
            if series.startswith(("phoenix_requests_total", "phoenix_request_duration", "phoenix_compare", "phoenix_shadow")):
                equal(value, 0, series)
    finally:
        gw.stop()


def start_scrape(gw, receive_buffer=None):
    link = socket.socket()
    link.settimeout(30)
    if receive_buffer:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    link.connect(("127.0.0.1", gw.admin_port))
    link.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return link


def read_all(link):
    data = b""
    while piece := link.recv(1 << 20):
        data += piece
    return data


@timeout(120)
def test_ten_thousand_routes(env):
    """A scrape is made in slices: who asks for something small meanwhile is answered first."""
    gw = Gateway([route(f"r{i}", f"/r{i}/*", legacy=env.up.url) for i in range(10000)], workers=1, state={"store": "memory"}, start=False)
    gw.start(wait=False)
    links = []
    try:
        gw.wait_ready(60)
        links = [start_scrape(gw) for _ in range(2)]
        answered = 0
        while not select_readable(links):
            equal(gw.admin.get("/healthz").status, 200)
            answered += 1
        check(answered >= 3, "the control thread did other things meanwhile", answered)
        texts = [read_all(link) for link in links]
        for text in texts:
            check(text.startswith(b"HTTP/1.1 200 "), text[:200])
            equal(text.count(b"phoenix_weight_wanted_ratio{"), 10000)
        equal(texts[0].split(b"\r\n\r\n", 1)[1], texts[1].split(b"\r\n\r\n", 1)[1], "both were given one text")
        # Clients that do not read cost a bounded number of bytes, whatever their number.
        refused = None
        for _ in range(12):
            links.append(start_scrape(gw, 4096))
            begin = links[-1].recv(300)
            if begin.startswith(b"HTTP/1.1 503 "):
                refused = begin
                break
        check(refused and b"Retry-After: " in refused, "one of them is refused", refused)
        for link in links:
            link.close()
        wait_for("room for another one", lambda: gw.admin.get("/metrics").status == 200, 30)
        before = gw.admin.get("/admin/status").json()["config"]["loaded_at"]
        reply = gw.admin.request("POST", "/admin/config/reload", {}, timeout_s=60)
        equal((reply.status, reply.json()["changed"]), (200, []))
        check(gw.admin.get("/admin/status").json()["config"]["loaded_at"] > before)
    finally:
        for link in links:
            link.close()
        gw.stop()


def select_readable(links):
    import select
    return select.select(links, [], [], 0)[0]


@table(["HEAD", "GET"])
def test_scrape_and_the_next_request(env, row):
    from lib.net import Client
    with Client(("127.0.0.1", env.gw.admin_port)) as c:
        r = c.ask(row, "/metrics", host="localhost")
        equal(r.status, 200)
        equal(r.body == b"", row == "HEAD")
        equal(c.ask("GET", "/healthz", host="localhost").status, 200)


def test_scrapers_that_leave(env):
    for _ in range(20):
        start_scrape(env.gw).close()
    equal(env.admin.get("/metrics").status, 200)


def test_promtool(env):
    done = subprocess.run([need("promtool"), "check", "metrics"], input=env.admin.get("/metrics").body, capture_output=True)
    equal((done.returncode, done.stdout + done.stderr), (0, b""), "promtool check metrics")

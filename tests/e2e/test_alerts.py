# SPDX-License-Identifier: Apache-2.0
"""
alerts: the dashboard and the alert rules speak of what /metrics has: every metric, label and label value in
them is one of a real gateway's; the rules are tried out by promtool; and one alert fires in a real Prometheus.
"""
import json
import os
import re

from lib.case import Bench, check, equal, timeout
from lib.net import ask, wait_for
from lib.process import Gateway, need, route, run
from lib.upstream import Upstream

from .test_metrics import Prometheus, labels_of, parsed

SUBJECTS = ("phoenix",)
ROOT = os.environ.get("PHX_TEST_ROOT", ".")
RULES = os.path.join(ROOT, "tools/prometheus/alerts.yml")
RULE_TESTS = os.path.join(ROOT, "tools/prometheus/alerts.test.yml")
DASHBOARD = os.path.join(ROOT, "tools/grafana/phoenix.json")
# Values that a gateway without a NIC path or another store has no series for.
ELSEWHERE = {"phoenix_xdp_attached": {"interface", "mode"}, "phoenix_xdp_handovers_total": {"reason"}, "phoenix_redis_up": set()}
ADDED = {"instance", "job", "le", "alertname", "alertstate"}  # by Prometheus itself


def setup():
    env = Bench()
    env.up = env.own(Upstream())
    env.gw = env.own(Gateway([route("r", "/r/*", legacy=env.up.url, weight=0.5, sample=1.0)]))
    for i in range(20):
        ask(env.gw.address, "GET", f"/r/{i}")
    wait_for("a comparison", lambda: env.gw.admin.metric("phoenix_compare_total", result="match") > 5)
    env.declared, series = parsed(env.gw.admin.get("/metrics").body.decode())
    env.labels = {}  # name -> {label -> values}
    for one in series:
        mine = env.labels.setdefault(one.split("{")[0], {})
        for label, value in labels_of(one).items():
            mine.setdefault(label, set()).add(value)
    for name, labels in ELSEWHERE.items():
        check(name in env.declared, name)
        env.labels[name] = {label: None for label in labels}
    return env


def rules():
    """[(alert, expression)] of the rule file, read by promtool's own eyes elsewhere."""
    text = open(RULES).read()
    out = []
    for block in re.split(r"\n\s+- alert: ", text)[1:]:
        name = block.split("\n")[0].strip()
        expression = re.search(r"\n\s+expr: (\|\n(?:\s{10,}.*\n)+|.*\n)", block)[1]
        out.append((name, expression.lstrip("|").strip(), block))
    return out


def expressions():
    out = [(name, expression) for name, expression, _ in rules()]
    doc = json.load(open(DASHBOARD))
    for panel in doc["panels"]:
        out += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    out += [(a["name"], a["expr"]) for a in doc["annotations"]["list"]]
    out += [(v["name"], v["query"]["query"]) for v in doc["templating"]["list"] if v["type"] == "query"]
    return out


def test_every_metric_and_label_is_real(env):
    looked_at = 0
    for where, expression in expressions():
        names = set(re.findall(r"\bphoenix_[a-z0-9_]+", expression))
        check(names or "up{" in expression, "no metric at all", where, expression)
        for name, selector in re.findall(r"\b(phoenix_[a-z0-9_]+)(\{[^}]*\})?", expression):
            check(name in env.labels, f"{where}: there is no {name}", sorted(env.labels))
            for label, operator, value in re.findall(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"', selector):
                check(label in env.labels[name], f"{where}: {name} has no label {label}", sorted(env.labels[name]))
                values = env.labels[name][label]
                if label in ("route", "interface") or values is None or name in ("phoenix_requests_total",) and label == "code":
                    continue
                for one in value.split("|") if operator == "=~" else [value]:
                    check(one in values, f"{where}: {name} has no {label}={one}", values)
            looked_at += 1
        grouped = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"\b(?:by|on) \(([^)]*)\)", expression))))
        known = {label for name in names for label in env.labels[name]}
        equal(sorted(grouped - known - ADDED), [], f"{where}: grouped by labels that are not there")
    check(looked_at > 40, "too few to be all", looked_at)


def test_code_words(env):
    """none|5xx in the expressions are words of the code, which this gateway had no reason to use."""
    gw = Gateway([route("dead", "/", legacy="http://127.0.0.1:1")])
    try:
        ask(gw.address, "GET", "/")
        wait_for("the failure being counted", lambda: gw.admin.metric("phoenix_requests_total", code="none"))
    finally:
        gw.stop()


def test_legends_are_labels(env):
    doc = json.load(open(DASHBOARD))
    for panel in doc["panels"]:
        for target in panel.get("targets", []):
            used = set(re.findall(r"\{\{([a-z_]+)\}\}", target["legendFormat"]))
            names = re.findall(r"\bphoenix_[a-z0-9_]+", target["expr"])
            kept = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            known = set(re.findall(r"[a-z_]+", kept[0])) if kept else {label for n in names for label in env.labels[n]}
            equal(sorted(used - known - ADDED), [], panel["title"])


def test_dashboard_is_one(env):
    doc = json.load(open(DASHBOARD))
    ids = [p["id"] for p in doc["panels"]]
    equal(len(ids), len(set(ids)), "ids of panels")
    taken = set()
    for panel in doc["panels"]:
        if panel["type"] == "row":
            continue
        check(panel["description"] and panel["targets"] and panel["title"], panel["title"])
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        check(not cells & taken and place["x"] + place["w"] <= 24, "panels lie upon each other", panel["title"])
        taken |= cells


def test_every_alert_says_what_to_do(env):
    for name, _, block in rules():
        for key in ("summary", "description", "runbook"):
            match = re.search(rf"\n\s+{key}: (.+)", block)
            check(match and len(match[1]) > 20, f"{name} has no {key}")
        check(re.search(r"severity: (info|warning|critical)", block), name)


def test_promtool_on_the_rules(env):
    status, out, err = run(need("promtool"), "check", "rules", RULES)
    equal(status, 0, out + err)
    status, out, err = run(need("promtool"), "test", "rules", RULE_TESTS)
    equal(status, 0, out + err)


def test_every_alert_is_tried_both_ways(env):
    tried = re.findall(r'alertname="(\w+)".*?value: (\d+)', open(RULE_TESTS).read(), re.S)
    equal(sorted(tried), sorted((name, n) for name, _, _ in rules() for n in "01"))


@timeout(90)
def test_an_alert_fires_in_earnest(env):
    prometheus = Prometheus([f"127.0.0.1:{env.gw.admin_port}"], rules=[os.path.abspath(RULES)])
    try:
        prometheus.start()
        equal(prometheus.value('count(ALERTS{alertstate="firing"}) or vector(0)'), 0)
        env.gw.admin.ok("POST", "/admin/routes/r/rollback", {"reason": "a test"})
        wait_for("the alert", lambda: prometheus.value('count(ALERTS{alertname="PhoenixRolledBack",alertstate="firing",route="r"})') == 1, 30)
        firing = [a for a in prometheus.api("alerts")["alerts"] if a["state"] == "firing"]
        equal([a["annotations"]["summary"] for a in firing], ["r: Rollback triggered"])
        check("phoenixctl retry r" in firing[0]["annotations"]["runbook"])
    finally:
        prometheus.stop()

# SPDX-License-Identifier: Apache-2.0
"""
readme: the table "What Phoenix refuses, and why" says what the tests show, no more and no less.

PROOFS has one entry a row of the table, in its order: the status, how the row begins, and what shows it, either
rows of bad_requests (a regular expression over their names; they are sent here and the status is compared) or the
names of tests elsewhere. A row without an entry, an entry without a row, a malformed request that no row explains, a
limit or an answer of the daemon that the table does not name: each is a failure.
"""
import importlib
import os
import re

from lib.case import Bench, check, equal, table, tests_of
from lib.net import response
from lib.process import Gateway, route
from lib.upstream import Upstream

from .test_bad_requests import AFTER, REFUSED, exchange_bytes

SUBJECTS = ("phoenix",)
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

PROOFS = [
    (400, "a request line that is not", r"line-|version-|http2|tls|ssh|proxy|a-response|method-with"),
    (400, "a target with control bytes", r"target-with|target-nul|target-(absolute-)?fragment|target-backslash|target-host-space"),
    (400, "a target in a form", r"target-(?!with)"),
    (400, "bare CR, bare LF, NUL", r"lf-|cr-|crlf-|.*-(nul|lf|cr)|value-.*00|name-with-00|line-cr|target-with-(00|0d)"),
    (400, "folded field lines", r"fold-|space-|field-|host-space-before-colon|(te|length)-.*(space|tab)-before|name-with-(20|09)"),
    (400, "field names that are no token", r"name-with|value-|field-(empty|only|no)|te-(nul-name|ff|vt)"),
    (400, "`Host` missing", r"host-|fold-host"),
    (400, "`Content-Length` doubled", r"length-"),
    (400, "`Content-Length` beside", r"te-(and-length|.*-and-length|two-fields|1\.0|chunked-twice|nul|cr|vt|named|space-before|empty|comma|chunked-(gzip|identity))|fold-te"),
    (400, "chunk sizes", r"chunk-"),
    (400, "`.` and `..`", ["readme/base_path_cannot_be_left"]),
    (404, "no route", ["routes/404_keeps_the_connection"]),
    (408, "a head that does not arrive", ["connections/header_timeout_is_408", "limits/stopped_body_is_408"]),
    (408, "a body slower", ["limits/dribbled_body_is_408", "limits/reader_that_stops_is_cut"]),
    (413, "a body over", ["connections/body_over_limit_is_413"]),
    (414, "a request line over", r"method-endless|target-too-long"),
    (431, "a head over", r"fields-too-large|name-too-large"),
    (431, "more fields", r"fields-too-many"),
    (429, "more than `limits.pipeline`", ["limits/pipeline_depth"]),
    (417, "an `Expect`", ["readme/other_expectations"]),
    (501, "a transfer coding", r"te-|fold-te"),
    (501, "`CONNECT`", r"connect-"),
    (502, "the upstream is dead", ["lying_upstreams/head", "connections/dead_upstream_is_502", "connections/stalled_response_body_is_cut"]),
    (503, "a connection over", ["limits/connections_per_listener", "limits/memory_limit", "limits/fourth_connection_of_an_address"]),
    (503, "`limits.upstream_connections`", ["connections/pool_empty_is_503"]),
    (504, "the upstream does not connect", ["health/first_byte_has_a_limit_of_its_own", "connections/connect_timeout_is_504", "connections/silent_upstream_is_504"]),
    (505, "a version other", r"version-([0-9]|zero-padded-major|hex)|http2"),
]


def setup():
    env = Bench()
    env.up = env.own(Upstream(lambda ex: response(200, ex.read_body())))
    env.gw = env.own(Gateway([route(legacy=env.up.url), route("based", "/based/*", legacy=env.up.url + "/base")], workers=1))
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read().split("## What Phoenix refuses, and why\n", 1)[1].split("\n## ", 1)[0]
    env.rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in text.splitlines()
                if re.match(r"\| \d", line)]
    env.text = text
    env.tests = []
    for name in sorted(os.listdir(os.path.dirname(os.path.abspath(__file__)))):
        if name.startswith("test_"):
            module = importlib.import_module(f"{__package__}.{name[:-3]}")
            env.tests += [f"{name[5:-3]}/{test}" for test, _, _ in tests_of(module)]
    return env


def test_one_entry_a_row(env):
    equal([(int(status), what.startswith(begin)) for (status, what, _), (_, begin, _) in zip(env.rows, PROOFS)],
          [(status, True) for status, _, _ in PROOFS], "status, and whether the row begins as its entry says")
    equal(len(env.rows), len(PROOFS), "rows of the table")
    for _, what, rule in env.rows:
        check(re.search(r"RFC \d{4} \d", rule), f"no section of an RFC: {what}")


@table([(begin.strip("`").replace(" ", "-"), proof) for _, begin, proof in PROOFS if isinstance(proof, list)])
def test_named_tests_exist(env, row):
    for pattern in row[1]:
        check(any(re.match(pattern, name) for name in env.tests), f"no test is called {pattern}")


@table([("plain", b"/based/../x"), ("coded", b"/based/%2e%2E/x"), ("one-dot", b"/based/./x"), ("at-the-end", b"/based/..")])
def test_base_path_cannot_be_left(env, row):
    env.up.forget()
    with exchange_bytes(env.gw, b"GET " + row[1] + b" HTTP/1.1\r\nHost: t\r\n\r\n", False) as client:
        equal(client.response("GET").status, 400)
    equal(env.up.raw_bytes, 0, "bytes at the upstream")


@table([("other", b"something-else"), ("and-more", b"100-continue, x"), ("parameter", b"100-continue;a=b")])
def test_other_expectations(env, row):
    with exchange_bytes(env.gw, b"GET / HTTP/1.1\r\nHost: t\r\nExpect: " + row[1] + b"\r\n\r\n", False) as client:
        equal(client.response("GET").status, 417)


@table(REFUSED)
def test_every_refusal_is_explained(env, row):
    """The status that the daemon gives is the one of a row whose tests these are."""
    wanted = {status for status, _, proof in PROOFS if isinstance(proof, str) and re.match(proof, row.name)}
    check(wanted, f"no row of README explains {row.name}")
    with exchange_bytes(env.gw, row.raw + AFTER, False) as client:
        status = client.response("GET").status
    check(status in wanted, f"{status}, and README says {sorted(wanted)}")


def test_every_row_has_its_requests(env):
    for status, begin, proof in PROOFS:
        if isinstance(proof, str):
            check(any(re.match(proof, row.name) for row in REFUSED), f"no malformed request shows: {begin}")


def test_every_answer_of_the_daemon_is_in_the_table(env):
    with open(os.path.join(ROOT, "userspace/gateway/gateway.h")) as file:
        macro = re.search(r"#define GATEWAY_ERRORS\(X\)(.*?)\n\nenum", file.read(), re.S)[1]
    with open(os.path.join(ROOT, "include/phoenix/head.h")) as file:
        heads = re.search(r"#define PHX_HEAD_ERRORS\(X\)(.*?)\n\nenum", file.read(), re.S)[1]
    answers = {int(n) for n in re.findall(r'X\(\w+, "\w+", (\d+),', macro)} | {int(n) for n in re.findall(r"X\(\w+, (\d+),", heads)}
    equal(answers - {0}, {int(status) for status, _, _ in env.rows}, "statuses in the code; in README")
    for limit in sorted(set(re.findall(r"limits\.\w+", macro))):
        check(limit in env.text, f"{limit} refuses and is not in the table")

# SPDX-License-Identifier: Apache-2.0
"""
typos: a slip in every place where a person can type, and what is answered: what was typed, the nearest right word, and
where to read on. A wrong command line is exit 2 and prints nothing on stdout; a wrong file is 3.

The places here are chosen by hand; the unit tests of the command line misspell every command, option and word once.
"""
import json
import os
import re

from lib.case import Bench, check, equal, table
from lib.net import response
from lib.process import Gateway, built, route, run, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.up = env.own(Upstream(lambda ex: response(200, b"{}")))
    env.gw = env.own(Gateway([route("users", "/users", legacy=env.up.url), route("orders", "/orders", legacy=env.up.url)]))
    env.folder = scratch()
    for name, text in (("phoenix.json", {"routes": []}), ("spec.json", {}), ("users.har", {}), ("scenario.json", {"requests": [{"path": "/"}]})):
        with open(os.path.join(env.folder, name), "w") as file:
            json.dump(text, file)
    return env


def typed(env, program, *words, expect=2):
    """stderr of a slip."""
    where = ["--admin", f"unix:{env.gw.socket_path}"] if program == "phoenixctl" and env else []
    status, out, err = run(built(program), *words, *where, cwd=env.folder, env=dict(os.environ, NO_COLOR="1"))
    if status == 2 and "does not take the option --admin" in err:
        status, out, err = run(built(program), *words, cwd=env.folder, env=dict(os.environ, NO_COLOR="1"))
    equal((status, out), (expect, ""), f"{program} {' '.join(words)}: exit status and stdout; stderr: {err}")
    check(len(err.strip().splitlines()) <= 4 and all(len(line) < 400 for line in err.splitlines()), "a few lines", err)
    return err


@table([("command", "stauts", "status"), ("command-long", "rolback users", "rollback"), ("second-word", "route lss", "ls"), ("second-word-far", "diff zzzzz", "one of ls, show, ignore"),
        ("no-second-word", "weight", "one of get, set"), ("option", "status --wacth", "--watch"), ("option-with-value", "status --out=json", None),
        ("option-of-another", "pause users --watch", "does not take the option --watch"), ("letter", "status -x", "unknown option"), ("format", "status -o jsn", "json"),
        ("state-word", "status --wait-for compelte", "complete"), ("state-word-of-the-api", "status --wait-for rolledback", "rolled-back"),
        ("duration", "status --wait-for complete --timeout 30min", "30m"), ("duration-empty", "status --wait-for complete --timeout soon", "90s"),
        ("timeout-alone", "status --timeout 3s", "--timeout needs --wait-for or --watch"), ("route", "status uesrs", "users"), ("route-of-a-verb", "pause oders", "orders"), ("route-of-weight", "weight set user 10%", "users"),
        ("route-of-diff", "diff ls usres", "users"), ("route-of-diff-show", "diff show usres", "users"), ("route-of-ignore", "diff ignore usres /a", "users"),
        ("route-of-decisions", "decisions usesr", "users"), ("route-of-rm", "route rm oders", "orders"),
        ("route-of-replay", "decisions replay usesr", "users"), ("route-of-an-option", "traffic generate --from route --route usres", "users"), ("migration", "migration show user", "phoenixctl migration ls"),
        ("weight", "weight set users 35", "35%"), ("weight-word", "weight set users much", "0.35"), ("weight-below", "weight set users -1", "below the limit of 0"),
        ("pointer", "diff ignore users a/b", "/meta/generated_at"), ("method", "trace GTE /users", "GET"), ("url", "trace GET users", "/users"),
        ("group", "diff show users 7", "phoenixctl diff ls users"), ("number", "events -n ten", "whole number from 1"), ("number-zero", "decisions users -n 0", "from 1"),
        ("source", "traffic generate --from opanapi x", "openapi"), ("source-none", "traffic generate", "route, samples, access-log"), ("client", "traffic run scenario.json --with k66", "k6"), ("export", "traffic generate --from scenario scenario.json --export k7", "k6"),
        ("rate", "traffic generate --from har users.har --rate fast", "number above 0"), ("file-of-har", "traffic generate --from har user.har", "users.har"), ("file-of-replay", "decisions replay ./scenrio.json", "scenario.json"),
        ("shell", "completion bsh", "bash"), ("help", "help roolback", "rollback"), ("help-second", "help route lss", "ls"), ("argument-missing", "pause", "ROUTE is missing: phoenixctl pause ROUTE"),
        ("argument-too-many", "pause users orders", "one argument too many"), ("token-file", "status --token-file scenaro.json", "scenario.json"),
        ("given-twice", "events -n 5 -n 6", "given twice"), ("value-missing", "status --wait-for", "--wait-for complete|")])
def test_phoenixctl(env, row):
    err = typed(env, "phoenixctl", *row[1].split()) if row[0] != "value-missing" else typed_last(env, row[1].split())
    if row[2]:
        check(row[2] in err, f"does not say {row[2]!r}", err)
    if row[2] and re.fullmatch(r"[a-z0-9.-]+", row[2]) and row[0] not in ("duration", "duration-empty", "weight-word", "url"):
        check(f'did you mean "{row[2]}"?' in err, err)


def test_address(env):
    for address in ("unix", "unix:", "http:/127.0.0.1:9900", "127.0.0.1", "http://user@host:1", "http://a:1/admin"):
        status, out, err = run(built("phoenixctl"), "status", "--admin", address)
        equal((status, out), (2, ""), err)
        check("unix:/run/phoenix/admin.sock or http://127.0.0.1:9900" in err, err)


def typed_last(env, words):
    """An option at the very end, where its value is missing."""
    status, out, err = run(built("phoenixctl"), "--admin", f"unix:{env.gw.socket_path}", *words)
    equal((status, out), (2, ""), err)
    return err


@table([("option", "phoenixd", "--confg x", "--config"), ("word", "phoenixd", "phoenix.json", "--config"), ("level", "phoenixd", "--log-level wran", "warn"), ("format", "phoenixd", "--log-format jsno", "json"),
        ("command", "phoenix-traffic", "rnu scenario.json", "run"), ("option", "phoenix-traffic", "run scenario.json --raet 5", "--rate"), ("output", "phoenix-traffic", "run scenario.json -o tabel", "table"),
        ("nothing", "phoenix-traffic", "", "phoenix-traffic run SCENARIO.json"), ("number", "phoenix-traffic", "run scenario.json --rate x", "number above 0"),
        ("threshold", "phoenix-traffic", "run scenario.json --threshold faild<1%", "failed"), ("too-many", "phoenix-traffic", "run scenario.json b", "one argument too many")])
def test_other_programs(env, row):
    err = typed(env, row[1], *row[2].split())
    check(row[3] in err, err)
    if row[0] in ("option", "level", "format", "command", "output"):
        check(f'did you mean "{row[3]}"?' in err, err)


@table([("configuration", "phoenixctl", ["config", "check"], {"routse": []}, 'did you mean "routes"?'), ("configuration-name", "phoenixctl", ["config", "check"], "phenix.json", 'did you mean "phoenix.json"?'),
        ("configuration-word", "phoenixctl", ["config", "check"], {"xdp": {"mode": "natve"}}, 'did you mean "native"?'), ("daemon", "phoenixd", ["--check", "--config"], {"routse": []}, 'did you mean "routes"?'),
        ("spec", "phoenixctl", ["migrate"], {"id": "x", "servce": {}}, 'did you mean "service"?'), ("spec-name", "phoenixctl", ["migrate"], "sepc.json", 'did you mean "spec.json"?'),
        ("scenario", "phoenix-traffic", ["run"], {"requets": []}, 'did you mean "requests"?'), ("route-file", "phoenixctl", ["route", "add"], {"id": "a", "pth": "/"}, 'did you mean "path"?')])
def test_files(env, row):
    name = row[3] if isinstance(row[3], str) else "typo.json"
    if not isinstance(row[3], str):
        with open(os.path.join(env.folder, name), "w") as file:
            json.dump(row[3], file)
    err = typed(env, row[1], *row[2], name, expect=3)
    check(row[4] in err, err)
    check(isinstance(row[3], str) or row[0] == "scenario" or re.search(r"^\S*typo.json:\d+:\d+: error: ", err, re.M), "FILE:LINE:COL", err)

# SPDX-License-Identifier: Apache-2.0
"""
readme_commands: the commands that README.md shows do what it says, on a host of their own.

Every block that a reader could type is a ```console block: lines that begin with "$ " are commands, what follows is what they print. They are
run in their order as root under a systemd of their own (lib/machine.py), with a client on eth0 and the two services behind eth1 and eth2. In
what is expected, a number stands for any number, `…` for anything within a line, and a line ` …` for any lines. A block may be left out only
with a comment before it, <!-- not run: WHY -->. <!-- clients: N requests --> lets clients come first. A ```json block that names a file is
written to /etc/phoenix.

PHX_README_RECORD=FILE writes what the commands printed, to be pasted.
"""
import json
import os
import re

from lib.case import Bench, check, equal, timeout
from lib.lab import Lab
from lib.machine import Machine
from lib.net import ask, response, wait_for
from lib.process import BUILD
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FENCE = re.compile(r"(?m)^```(\S*)(?: (\S+))?\n(.*?)^```$", re.S)
COMMENT = re.compile(r"<!-- ([a-z ]+): ([^<>]*) -->\s*\Z")


def blocks():
    """(language, name, text, {comment: value}, line) of each fenced block of README.md."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    for block in FENCE.finditer(text):
        before, notes = text[:block.start()], {}
        while note := COMMENT.search(before):
            notes[note[1]] = note[2]
            before = before[:note.start()]
        yield block[1], block[2], block[3], notes, text.count("\n", 0, block.start()) + 1


def commands(text):
    """(command, [expected line]) of a console block; a command goes on after a backslash."""
    out = []
    for line in text.splitlines():
        if line.startswith("$ "):
            out.append([line[2:], []])
        elif out and not out[-1][1] and out[-1][0].endswith("\\"):
            out[-1][0] = out[-1][0][:-1] + line.strip()
        else:
            check(out, f"a console block begins with a command: {line!r}")
            out[-1][1].append(line)
    return out


def pattern(expected):
    """A regular expression of the lines that are expected."""
    out = ""
    for line in expected:
        if line.strip() == "…":
            out += r"(?:.*\n)*?"
            continue
        words = []
        for word in line.split():
            pieces = re.split(r"(\d+(?:\.\d+)?|…)", word)
            words.append("".join(".*" if p == "…" else r"\d+(?:\.\d+)?" if re.fullmatch(r"\d+(?:\.\d+)?", p) else re.escape(p)
                                 for p in pieces))
        out += r"[ \t]*" + r"[ \t]+".join(words) + r"[ \t]*\n"
    return re.compile(out)


def setup():
    env = Bench()
    env.blocks = list(blocks())
    return env


def test_every_block_is_run_or_says_why_not(env):
    """Nothing that looks like a shell stands in another kind of block."""
    for language, _, text, notes, line in env.blocks:
        check(set(notes) <= {"not run", "clients"}, f"README.md:{line}: an unknown comment", notes)
        if language == "console":
            check(commands(text), f"README.md:{line}: no command")
            check(len(notes.get("not run", "long enough")) > 8, f"README.md:{line}: no reason")
        else:
            shell = re.findall(r"(?m)^(?:\$ |# )?(?:make|phoenixd|phoenixctl|curl|bpftool|systemctl|apt) .*", text)
            check(language in ("json", "yaml") or not shell or "not run" in notes,
                  f"README.md:{line}: commands in a block that no test runs and that does not say why", shell)
    run = [c for language, _, text, notes, _ in env.blocks if language == "console" and "not run" not in notes for c in commands(text)]
    check(len(run) >= 25, f"only {len(run)} commands are run")


def test_patterns(_env):
    """What matches and what does not."""
    def fits(expected, got):
        return bool(pattern(expected.splitlines()).fullmatch(got))
    check(fits("a 12.5% of 7", "a   3% of 999\n"))
    check(not fits("a 12", "b 12\n"))
    check(fits("x\n …\ny", "x\n1\n2\ny\n") and fits("x\n …\ny", "x\ny\n"))
    check(not fits("x\ny", "x\nz\ny\n"))
    check(fits("by … now", "by somebody now\n") and not fits("by … now", "by somebody then\n"))


def matches(host):
    text = host.run("curl", "-s", "http://127.0.0.1:9900/metrics")
    return int(re.search(r'^phoenix_compare_total\{route="users",result="match"\} (\d+)', text, re.M)[1])


@timeout(300)
def test_commands(env):
    lab = env.own(Lab(upstreams=2))
    for i, name in enumerate(("legacy", "modern")):
        body = b'{"id": 7, "name": "Ada"}'
        with lab.inside(f"up{i}"):
            env.own(Upstream(lambda ex: response(200, body, [("Content-Type", "application/json")]),
                             host="0.0.0.0", port=80))
    with lab.inside("gateway"):
        host = Machine(ROOT, os.path.abspath(BUILD))
    recorded, failures, came = {}, [], 0
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "O": os.path.relpath(os.path.abspath(BUILD), ROOT), "LC_ALL": "C.UTF-8",
                   "HOME": "/root", "COLUMNS": "120"}
    try:
        for language, name, text, notes, line in env.blocks:
            if "clients" in notes:
                n = int(notes["clients"].split()[0])
                came += n
                with lab.inside("client"):
                    for i in range(n):
                        equal(ask(("198.18.0.1", 80), "GET", f"/api/users/{i}").status, 200)
                wait_for("the samples being compared", lambda: matches(host) >= came, 20)
                wait_for("the arbiter having looked", lambda: "samples seen" in host.run("phoenixctl", "status", "users"), 20)
            if language == "json" and name:
                host.write(f"/etc/phoenix/{name}", text)
            if language != "console" or "not run" in notes:
                continue
            for command, expected in commands(text):
                got = host.run("bash", "-c", f"cd {ROOT} && {command}", check=False, env=environment)
                got = got if got.endswith("\n") or not got else got + "\n"
                recorded[command] = got
                if not pattern(expected).fullmatch(got):
                    failures.append(f"README.md:{line}: $ {command}\n  README says:\n" + "\n".join(f"    {e}" for e in expected) +
                                    "\n  it prints:\n" + "\n".join(f"    {g}" for g in got.splitlines()[:40]))
        if os.environ.get("PHX_README_RECORD"):
            with open(os.environ["PHX_README_RECORD"], "w") as file:
                json.dump(recorded, file, indent=1)
        check(not failures, "\n".join(failures) + "\n" + (host.journal("phoenixd")[-1500:] if failures else ""))
    finally:
        host.run("phoenixctl", "xdp", "detach", check=False)
        host.stop()

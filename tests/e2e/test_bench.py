# SPDX-License-Identifier: Apache-2.0
"""
bench: the benchmark runs, agrees with the daemon's counters, and writes what it promises. How fast anything is,
nobody asks here.
"""
import json
import os
import shutil
import subprocess

from lib.case import Bench, check, equal, timeout
from lib.process import BUILD, Skip, scratch

SUBJECTS = ("phoenix",)
PROGRAM = os.path.join(os.path.dirname(__file__), "../../tools/bench/run")


def setup():
    for program in ("haproxy", "nginx", "jq"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin"):
            raise Skip(f"needs {program}")
    return Bench()


def measure(case):
    path = os.path.join(scratch(), "bench.json")
    done = subprocess.run([PROGRAM, "--build", BUILD, "--quick", "--case", case, "--output", path],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    equal(done.returncode, 0, done.stdout)
    with open(path, encoding="utf-8") as f:
        return json.load(f)


@timeout(90)
def test_gateways_are_measured_side_by_side(env):
    found = measure("^(keepalive-4KB|close-200B|idle-1000)$")
    check(found["machine"]["kernel"] and found["machine"]["cores"] >= 1, found["machine"])
    for case in ("keepalive-4KB", "close-200B"):
        runs = [entry for entry in found["runs"] if entry["case"] == case]
        equal({entry["subject"] for entry in runs}, {"direct", "relay", "haproxy", "nginx", "daemon"})
        for entry in runs:
            check(entry["rps"] > 0 and 0 < entry["p50_us"] <= entry["p99_us"], entry)
            check((entry["gateway_cpu_us"] > 0) == (entry["subject"] != "direct"), entry)
    idle = [entry for entry in found["runs"] if entry["case"] == "idle-1000"]
    equal({entry["subject"] for entry in idle}, {"haproxy", "nginx", "daemon"})


@timeout(90)
def test_the_judge_agrees_with_jq_and_python(env):
    runs = measure("^judge-(reordered|different)$")["runs"]
    equal({entry["subject"] for entry in runs}, {"daemon", "python", "jq", "memory"})
    check(all(entry["bytes_per_s"] > 0 for entry in runs), runs)


@timeout(90)
def test_gateways_over_links(env):
    if os.geteuid():
        raise Skip("network namespaces need root")
    runs = measure("^nic-keepalive-4KB$")["runs"]
    check({entry["subject"] for entry in runs} >= {"direct", "haproxy", "nginx", "daemon"}, runs)
    for entry in runs:
        check(entry["rps"] > 0 and 0 < entry["p50_us"] <= entry["p99_us"], entry)
        check((entry["gateway_cpu_us"] > 0) == (entry["subject"] != "direct"), entry)

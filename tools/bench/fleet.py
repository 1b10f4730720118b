#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
fleet: one leader under the facts of a large fleet that is not there (fleet.c).

    tools/bench/fleet.py [--build build] [--gateways 100] [--routes 10000] [--changed 100,1000] [--seconds 10]

A real redis-server, a real phoenixd with so many routes, which leads, and simulated gateways that publish what they
have seen of CHANGED routes each, every second. Prints for each: the leader's CPU (of one core) and memory, Redis's CPU,
memory and commands a second, how much travels, and how long after the last publication the leader had it all. Ends
with 1 when the leader's sum is not what was published.
"""
import argparse
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.dont_write_bytecode = True
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(redis, leader, gateways, routes, changed, seconds, build):
    from lib.net import wait_for
    member = leader.admin.json("/admin/status")["fleet"]["member"]
    wait_for("the leader's own facts", lambda: redis.cli("HLEN", f"phoenix:facts:{member}") == routes, 120, 0.2)
    redis.cli("CONFIG", "RESETSTAT")
    reports = leader.admin.metric("phoenix_fleet_reports_total")
    before = cpu_s(leader.pid), cpu_s(redis.pid), time.monotonic()
    done = subprocess.run([os.path.join(build, "bench", "fleet"), str(redis.port), "phoenix:", str(gateways), str(routes),
                           str(changed), str(seconds), member], stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout)
    took = time.monotonic() - before[2]
    used = cpu_s(leader.pid) - before[0], cpu_s(redis.pid) - before[1]
    commands = sum(redis.commands().values())
    # The routes are published in turn: as often r0 was, by each.
    want = gateways * sum(second * changed % routes == 0 for second in range(said["seconds_whole"]))
    began = time.monotonic()

    def complete():
        samples = leader.admin.json("/admin/routes/r0")["consistency"]["samples"]
        return samples == want
    try:
        wait_for("all facts with the leader", complete, 60, 0.02)
        lag = time.monotonic() - began
    except AssertionError:
        lag = None
    info = redis.cli("INFO", "memory")
    redis_mb = int([line for line in info.splitlines() if line.startswith("used_memory:")][0].split(":")[1]) / 1e6
    return {"gateways": gateways, "routes": routes, "changed": changed, "reports_s": said["reports"] / took,
            "leader_cpu": used[0] / took, "redis_cpu": used[1] / took, "leader_mb": leader.memory_kb() / 1e3,
            "redis_mb": redis_mb, "redis_commands_s": commands / took, "mb_s": said["bytes"] / took / 1e6,
            "late": said["late"], "taken": leader.admin.metric("phoenix_fleet_reports_total") - reports,
            "whole": lag is not None, "lag_s": lag}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--gateways", type=int, default=100)
    parser.add_argument("--routes", type=int, default=10000)
    parser.add_argument("--changed", default="100,1000", help="routes that each publishes every second")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["PHX_TEST_BUILD"] = arguments.build
    from lib.fleet import Fleet
    from lib.process import end_all, route
    routes = [route(f"r{i}", f"/r{i}", legacy="http://127.0.0.1:9", modern="http://127.0.0.1:10", sample=1.0,
                    arbiter={"min_samples": 1000000}) for i in range(arguments.routes)]
    results = []
    try:
        for changed in [int(n) for n in arguments.changed.split(",")]:
            fleet = Fleet(routes, size=1, lease_ms=3000)
            leader = fleet.leader(60)
            results.append(measure(fleet.redis, leader, arguments.gateways, arguments.routes, changed, arguments.seconds,
                                   arguments.build))
            if not arguments.json:
                r = results[-1]
                print(f"{r['gateways']} gateways, {r['changed']} of {r['routes']} routes a second each: "
                      f"{r['reports_s']:.0f} reports/s, {r['mb_s']:.1f} MB/s; leader {100 * r['leader_cpu']:.0f}% CPU "
                      f"({1e6 * r['leader_cpu'] / r['reports_s']:.1f} µs a report), "
                      f"{r['leader_mb']:.0f} MB; redis {100 * r['redis_cpu']:.0f}% CPU, {r['redis_mb']:.0f} MB, "
                      f"{r['redis_commands_s']:.0f} commands/s; the leader had it all "
                      + (f"{r['lag_s']:.1f} s after the last" if r["whole"] else "NEVER"), flush=True)
            fleet.stop()
    finally:
        end_all()
    if arguments.json:
        print(json.dumps(results))
    return 0 if all(r["whole"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())

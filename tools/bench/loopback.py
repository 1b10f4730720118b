# SPDX-License-Identifier: Apache-2.0
"""
loopback: gateways side by side on one core, the same load before them and the same origin behind them.

All subjects are alive at once and short slices alternate between them, so that what disturbs one disturbs all.
A ratio is that of neighbouring slices, and the median of the ratios is what counts. A slice is a measurement
only when client, origin and (for Phoenix) the daemon's own counter agree to the request.
"""
import statistics
import sys

SUBJECTS = ["direct", "relay", "haproxy", "nginx", "daemon"]
SIZES = {"200B": 200, "4KB": 4096, "100KB": 102400, "10MB": 10 << 20}
# name: (bytes of the body, connections, a connection per request)
CASES = {}
for size_name, size_bytes in SIZES.items():
    CASES[f"keepalive-{size_name}"] = (size_bytes, 64, False)
for size_name in ("200B", "4KB", "100KB"):
    CASES[f"keepalive-{size_name}-c1024"] = (SIZES[size_name], 1024, False)
for size_name in ("200B", "4KB", "100KB"):
    CASES[f"close-{size_name}"] = (SIZES[size_name], 64, True)
CASES["close-200B-c1024"] = (200, 1024, True)


def measure(subjects, name, case, milliseconds):
    body_bytes, connections, close = CASES[case]
    before = subjects.by_path(name)
    subjects.tell(f"run {subjects.ports[name]} {body_bytes} {connections} {int(close)} {milliseconds}{subjects.way(name)}")
    if before is not None:
        subjects.paths_since(name, before, connections)  # the warm-up, to its last request
    counted, cpu = subjects.by_path(name), subjects.cpu_us(name)
    result = subjects.tell("go")
    cpu = subjects.cpu_us(name) - cpu
    if result["served"] != result["requests"]:
        sys.exit(f"bench: {case} {name}: the clients counted {result['requests']} answers, the origin "
                 f"{result['served']} requests: something else answered, or asked twice")
    moved = None if counted is None else sum(subjects.paths_since(name, counted, result["requests"]).values())
    if moved not in (None, result["requests"]):
        sys.exit(f"bench: {case} {name}: the clients counted {result['requests']} answers, phoenix_requests_total "
                 f"moved by {moved}")
    if not result["requests"]:
        sys.exit(f"bench: {case} {name}: no request in {milliseconds} ms")
    return {"rps": result["requests"] / result["seconds"], "p50_us": result["p50_us"], "p99_us": result["p99_us"],
            "gateway_cpu_us": 0.0 if name == "direct" else cpu / result["requests"]}


def spread(values):
    """Median, and the middle half of the values."""
    values = sorted(values)
    return f"{statistics.median(values):.2f} [{values[len(values) // 4]:.2f}-{values[(3 * len(values) - 1) // 4]:.2f}]"


def run_case(subjects, names, case, arguments):
    rounds = {name: [] for name in names}
    for index in range(arguments.rounds):
        for name in names if index % 2 == 0 else names[::-1]:
            rounds[name].append(measure(subjects, name, case, arguments.milliseconds))
    entries = []
    for name in names:
        entry = {"case": case, "subject": name}
        for key in ("rps", "p50_us", "p99_us", "gateway_cpu_us"):
            entry[key] = round(statistics.median(r[key] for r in rounds[name]), 2)
        ratios = [theirs["gateway_cpu_us"] / ours["gateway_cpu_us"]
                  for theirs, ours in zip(rounds[name], rounds["daemon"]) if ours["gateway_cpu_us"]]
        ratio = "" if name == "direct" or not ratios else spread(ratios)
        if ratio:
            entry["cpu_ratio_to_daemon"] = round(statistics.median(ratios), 3)
        print(f"{case:21} {name:8} {entry['rps']:9.0f} {entry['p50_us']:8.0f} {entry['p99_us']:8.0f} "
              f"{entry['gateway_cpu_us']:9.2f}  {ratio}", flush=True)
        entries.append(entry)
    return entries


def run(subjects, names, cases, arguments):
    print(f"{'case':21} {'subject':8} {'req/s':>9} {'p50 us':>8} {'p99 us':>8} {'cpu us':>9}  cpu, daemon = 1")
    return [entry for case in cases for entry in run_case(subjects, names, case, arguments)]


def run_idle(subjects, names, count):
    """Process memory of idle keep-alive connections, each of which has had one answer."""
    entries = []
    for name in names:
        if name in ("direct", "relay"):  # the relay needs two descriptors a client, and nobody installs it
            continue
        before = subjects.resident_bytes(name)
        subjects.tell(f"run {subjects.ports[name]} 200 {count} 0 0")
        each = (subjects.resident_bytes(name) - before) / count
        subjects.tell("go")
        entries.append({"case": f"idle-{count}", "subject": name, "bytes": round(each)})
        print(f"{entries[-1]['case']:21} {name:8} {entries[-1]['bytes']:9} bytes of process memory a connection",
              flush=True)
    return entries

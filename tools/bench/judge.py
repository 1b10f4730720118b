# SPDX-License-Identifier: Apache-2.0
"""
judge: the comparison beside what else one could install: `jq -S` and diff, and Python's json.

Bodies are made here, from a fixed seed: orders with customers, lines and texts. "equal" are the same bytes,
"reordered" has the members of every object in another order, "different" one other value in each document.
Throughput counts the bytes of both bodies by CPU second, so that what else the machine does is not in it. All three must come to the same verdicts, or nothing is reported.
"""
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

CASES = ["judge-equal", "judge-reordered", "judge-different"]
DOCUMENTS = 300
WORDS = ("lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et "
         "dolore magna aliqua Zürich naïve façade").split()


def document(dice):
    def text(words):
        return " ".join(dice.choice(WORDS) for _ in range(words))
    return {"id": dice.randrange(10**12), "status": dice.choice(["open", "paid", "shipped"]),
            "created_at": f"2024-0{dice.randrange(1, 10)}-1{dice.randrange(10)}T12:{dice.randrange(10, 60)}:00Z",
            "customer": {"id": dice.randrange(10**9), "name": text(2), "email": f"{text(1)}@example.org",
                         "address": {"street": text(3), "city": text(1), "zip": str(dice.randrange(10000, 99999))}},
            "lines": [{"sku": f"SKU-{dice.randrange(10**6)}", "title": text(6), "quantity": dice.randrange(1, 9),
                       "price": round(dice.random() * 100, 2), "tags": [text(1) for _ in range(3)],
                       "gift": dice.random() < 0.1, "note": None if dice.random() < 0.5 else text(12)}
                      for _ in range(dice.randrange(5, 60))],
            "total": round(dice.random() * 1000, 2), "comment": text(40)}


def reordered(dice, value):
    if isinstance(value, dict):
        items = list(value.items())
        dice.shuffle(items)
        return {name: reordered(dice, inner) for name, inner in items}
    return [reordered(dice, inner) for inner in value] if isinstance(value, list) else value


def make(folder, case):
    dice = random.Random(case)
    legacy = [document(dice) for _ in range(DOCUMENTS)]
    if case == "judge-reordered":
        modern = [reordered(dice, one) for one in legacy]
    elif case == "judge-different":
        modern = [dict(one, comment=one["comment"] + "!") for one in legacy]
    else:
        modern = legacy
    paths = []
    for name, documents in (("legacy", legacy), ("modern", modern)):
        paths.append(os.path.join(folder, name))
        with open(paths[-1], "w", encoding="utf-8") as f:
            f.writelines(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in documents)
    return paths


def with_phoenix(build, paths, seconds):
    output = subprocess.run([os.path.join(build, "bench", "judge"), *paths, str(seconds)], check=True,
                            capture_output=True, text=True).stdout
    return json.loads(output)


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def with_jq(folder, paths):
    """CPU seconds and matches; jq's own start is not counted: it is measured on no input and taken off."""
    begin = children_seconds()
    subprocess.run(["jq", "-cS", "."], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    start = children_seconds() - begin
    sorted_paths = [os.path.join(folder, name) for name in ("a", "b")]
    begin = children_seconds()
    for path, out in zip(paths, sorted_paths):
        with open(out, "wb") as f:
            subprocess.run(["jq", "-cS", ".", path], check=True, stdout=f)
    diff = subprocess.run(["diff", *sorted_paths], stdout=subprocess.PIPE, check=False)
    return children_seconds() - begin - 2 * start, DOCUMENTS - diff.stdout.count(b"\n> ")


def with_python(paths):
    lines = []
    for path in paths:
        with open(path, "rb") as f:
            lines.append(f.read().splitlines())
    begin = time.process_time()
    matches = sum(json.loads(a) == json.loads(b) for a, b in zip(*lines))
    return time.process_time() - begin, matches


def run_case(build, case, rounds):
    with tempfile.TemporaryDirectory(prefix="phoenix-judge-") as folder:
        paths = make(folder, case)
        size = sum(os.path.getsize(path) for path in paths)
        found = {"daemon": [], "python": [], "jq": [], "memory": []}
        for _ in range(rounds):
            ours = with_phoenix(build, paths, 0.5)
            seconds_python, matches_python = with_python(paths)
            seconds_jq, matches_jq = with_jq(folder, paths)
            expected = 0 if case == "judge-different" else DOCUMENTS
            matches = (ours["matches"] * DOCUMENTS // ours["pairs"], matches_python, matches_jq)
            if matches != (expected,) * 3:
                sys.exit(f"bench: {case}: phoenix, python and jq found {matches} matches, not {expected}")
            found["daemon"].append(ours["bytes_per_s"])
            found["memory"].append(ours["memory_bytes_per_s"])
            found["python"].append(size / seconds_python)
            found["jq"].append(size / seconds_jq)
    entries = []
    for subject, values in found.items():
        rate = statistics.median(values)
        entries.append({"case": case, "subject": subject, "bytes_per_s": round(rate),
                        "pairs_per_s": round(rate / size * DOCUMENTS, 1)})
        print(f"{case:21} {subject:8} {rate / 1e6:9.1f} MB/s {entries[-1]['pairs_per_s']:11.0f} pairs/s", flush=True)
    return entries


def run(build, cases, rounds):
    return [entry for case in cases for entry in run_case(build, case, rounds)]

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
coverage: which lines and branches of the parsers and the judge the unit tests and the fuzz corpora reach.

    tests/coverage.py [--build DIR] [--list] [--no-run]

Builds everything with gcc's --coverage into DIR (build/coverage), runs the unit programs (test_fuzz replays the
corpora) and prints lines and branches per file. Below stands every line and branch of these files that was not
reached, with its reason from tests/uncovered.txt. Exit status 1 when a folder has less than 96 % of its lines,
when something unreached has no reason, or when a test failed.

A branch is gcc's: each way out of each condition of a line; of an inline function all copies count together.
"""
import argparse
import glob
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
FOLDERS = {"userspace/http": 96, "userspace/judge": 96, "include/phoenix": 96}
LIMIT_S = 600


def build(options):
    command = ["make", "-s", "--no-print-directory", f"-j{os.cpu_count() or 1}", f"O={options.build}", "CC=gcc",
               "CFLAGS=-O0 -g --coverage -fprofile-update=atomic", "LDFLAGS=--coverage", "unit"]
    subprocess.run(command, cwd=ROOT, check=True)
    for name in glob.glob(os.path.join(options.build, "obj", "**", "*.gcda"), recursive=True):
        os.unlink(name)


def run_tests(options):
    """Runs all unit programs; returns the names of those that failed."""
    failed = []
    for path in sorted(glob.glob(os.path.join(options.build, "tests", "test_*"))):
        with tempfile.TemporaryDirectory(prefix="phx-unit-") as directory:
            try:
                done = subprocess.run([path], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False,
                                      env=dict(os.environ, TMPDIR=directory))
                status, said = done.returncode, done.stdout
            except subprocess.TimeoutExpired as error:
                status, said = f"more than {LIMIT_S} s", error.stdout or b""
        if status:
            failed.append(os.path.basename(path))
            print(f"{os.path.basename(path)}: {status}\n{said.decode(errors='replace')[-2000:]}")
    return failed


def counts(options):
    """{file: {line: [times, {(function, number): times}]}} of all objects together."""
    files = {}
    objects = glob.glob(os.path.join(options.build, "obj", "**", "*.gcda"), recursive=True)
    with tempfile.TemporaryDirectory(prefix="phx-gcov-") as directory:
        for number, name in enumerate(sorted(objects)):
            place = os.path.join(directory, str(number))
            os.mkdir(place)
            subprocess.run(["gcov", "--json-format", "--branch-probabilities", os.path.abspath(name)], cwd=place,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            for result in glob.glob(os.path.join(place, "*.gcov.json.gz")):
                with gzip.open(result) as stream:
                    add_counts(files, json.load(stream))
    return files


def add_counts(files, data):
    for file in data["files"]:
        name = os.path.relpath(os.path.join(ROOT, file["file"]), ROOT)
        if not name.startswith(tuple(f + "/" for f in FOLDERS)):
            continue
        lines = files.setdefault(name, {})
        for line in file["lines"]:
            entry = lines.setdefault(line["line_number"], [0, {}])
            entry[0] += line["count"]
            for number, branch in enumerate(line["branches"]):
                key = (line.get("function_name"), number)
                entry[1][key] = entry[1].get(key, 0) + branch["count"]


def reasons():
    """[(file, pattern of the source line, reason)] of tests/uncovered.txt."""
    found = []
    with open(os.path.join(TESTS, "uncovered.txt"), encoding="utf-8") as stream:
        for line in stream:
            if line.strip() and not line.startswith("#"):
                file, pattern, reason = (part.strip() for part in line.split(" | ", 2))
                found.append((re.compile(file), re.compile(pattern), reason, []))
    return found


def explain(table, file, text):
    for file_pattern, pattern, reason, used in table:
        if file_pattern.fullmatch(file) and pattern.search(text):
            used.append(1)
            return reason
    return None


def share(part, whole):
    return f"{part:5} of {whole:5} {100 * part / whole if whole else 100:6.2f} %"


def report(files, table, everything):
    """Prints the tables; returns what is wrong."""
    wrong, unreached = [], []
    totals = {folder: [0, 0, 0, 0] for folder in FOLDERS}
    print(f"{'':34} {'lines':>23} {'branches':>23}")
    for name in sorted(files):
        with open(os.path.join(ROOT, name), encoding="utf-8") as stream:
            source = stream.read().splitlines()
        total = [0, 0, 0, 0]
        for number, (times, branches) in sorted(files[name].items()):
            text = source[number - 1].strip()
            total[0] += times > 0
            total[1] += 1
            taken = sum(count > 0 for count in branches.values())
            total[2] += taken
            total[3] += len(branches)
            if not times or taken < len(branches):
                what = "never" if not times else f"{taken} of {len(branches)} branches"
                unreached.append((name, number, what, text, explain(table, name, text)))
        folder = next(f for f in FOLDERS if name.startswith(f + "/"))
        totals[folder] = [a + b for a, b in zip(totals[folder], total)]
        print(f"{name:34} {share(*total[:2])} {share(*total[2:])}")
    for folder, total in totals.items():
        print(f"{folder:34} {share(*total[:2])} {share(*total[2:])}  in all")
        if 100 * total[0] < FOLDERS[folder] * total[1]:
            wrong.append(f"{folder}: fewer than {FOLDERS[folder]} % of the lines")
    print("\nnot reached:")
    for name, number, what, text, reason in unreached:
        if everything or not reason:
            print(f"{name}:{number}: {what}: {text}\n    {reason or 'NO REASON IN tests/uncovered.txt'}")
        if not reason:
            wrong.append(f"{name}:{number}: {what}, and no reason given")
    explained = sum(1 for entry in unreached if entry[4])
    print(f"{len(unreached)} lines in whole or in part, {explained} of them explained (--list shows them)")
    for _file, pattern, reason, used in table:
        if not used:
            print(f"tests/uncovered.txt: not needed any more: {pattern.pattern} | {reason}")
    return wrong


def main():
    parser = argparse.ArgumentParser(prog="tests/coverage.py", description="line and branch coverage")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "coverage"), help="where to build")
    parser.add_argument("--list", action="store_true", help="also show what is unreached for a known reason")
    parser.add_argument("--no-run", action="store_true", help="only report on the last run")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    failed = []
    if not options.no_run:
        build(options)
        failed = run_tests(options)
    wrong = [f"{name} failed" for name in failed] + report(counts(options), reasons(), options.list)
    for line in wrong[:20]:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""
case: how a module says what its tests are, and how they are run in the module's own process.

A module has functions `test_*(env)`. `setup()` returns env (a `Bench`: an object whose attributes are the
module's servers; everything given to `bench.own()` is stopped afterwards, and a gateway that does not stop
cleanly or leaves a sanitizer report is a failed test of its own). `@table(rows)` makes one counted test of
each row; a row's first item is its name. `SUBJECTS` names the subjects a module makes sense for.
"""
import importlib
import json
import os
import re
import signal
import sys
import time
import traceback

from . import process

TEST_TIMEOUT_S = 60


class TimedOut(BaseException):
    pass


class Bench:
    def __init__(self):
        self.owned = []

    def own(self, thing):
        self.owned.append(thing)
        return thing


def table(rows):
    def mark(function):
        function.rows = rows
        return function
    return mark


def timeout(seconds):
    def mark(function):
        function.timeout_s = seconds
        return function
    return mark


def subjects(*names):
    def mark(function):
        function.subjects = names
        return function
    return mark


def check(condition, message="", *details):
    """An assertion that also holds under python -O."""
    if not condition:
        raise AssertionError(str(message) + "".join(f"\n    {d!r}" for d in details))


def equal(got, want, what="value"):
    if got != want:
        raise AssertionError(f"{what} is {got!r}, not {want!r}")


def tests_of(module):
    """(name, function, row or None) in the order of the file."""
    functions = [f for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    functions.sort(key=lambda f: f.__code__.co_firstlineno)
    for function in functions:
        name = function.__name__[len("test_"):]
        rows = getattr(function, "rows", None)
        if rows is None:
            yield name, function, None
        else:
            for label, row in zip(_labels(function.__name__, rows), rows):
                yield f"{name}/{label}", function, row


def _labels(name, rows):
    """A row is called after its first item; where that is not enough, after all its words."""
    first = [str(r[0] if isinstance(r, tuple) else getattr(r, "name", r)) for r in rows]
    if len(set(first)) < len(first):
        first = ["-".join(str(i) for i in r if isinstance(i, (str, int))) for r in rows]
    labels = [re.sub(r"[^A-Za-z0-9.+=:_-]+", "-", label) for label in first]
    if len(set(labels)) < len(labels):
        twice = sorted(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{name}: two rows are called {twice[0]!r}")
    return labels


def _report(stream, **line):
    stream.write(json.dumps(line) + "\n")
    stream.flush()


def _alarm(_signal, _frame):
    raise TimedOut()


def _run(function, env, row, seconds):
    signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        function(env) if row is None else function(env, row)
        return "ok", ""
    except process.Skip as skip:
        return "skip", str(skip)
    except TimedOut:
        return "fail", f"longer than {seconds:g} s, at:\n" + traceback.format_exc(limit=-4)
    except Exception as error:
        frames = "".join(traceback.format_tb(error.__traceback__)[-3:])
        return "fail", f"{type(error).__name__}: {error}\n{frames}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _logs(env):
    """The last lines of what our own daemons said."""
    out = ""
    for thing in getattr(env, "owned", []):
        if isinstance(thing, process.Gateway) and not thing.log_shown:
            lines = thing.log().splitlines()[-12:]
            if lines:
                out += f"log of {thing.args[0]}:\n  " + "\n  ".join(line[:300] for line in lines) + "\n"
            if not thing.alive():
                out += f"it is not running: exit status {thing.child.returncode if thing.child else None}\n"
                thing.log_shown = True
    return out


def list_module(name, stream):
    module = importlib.import_module(name)
    for label, _function, _row in tests_of(module):
        _report(stream, test=label)


def run_module(name, wanted, stream):
    """Runs the tests of one module whose full name matches; one JSON line a test."""
    short = name.split(".")[-1].removeprefix("test_")
    module = importlib.import_module(name)
    tests = [(label, f, r) for label, f, r in tests_of(module) if wanted(f"e2e/{short}/{label}")]
    if not tests:
        return
    supported = getattr(module, "SUBJECTS", ("phoenix",))
    env = None
    started = time.monotonic()
    try:
        if process.SUBJECT not in supported:
            raise process.Skip(f"not a test for {process.SUBJECT}")
        problem = ("ok", "")

        def prepare(_):
            nonlocal env
            env = module.setup() if hasattr(module, "setup") else Bench()
        problem = _run(prepare, None, None, 60)
        if problem[0] != "ok":
            raise RuntimeError(problem[1]) if problem[0] == "fail" else process.Skip(problem[1])
    except process.Skip as skip:
        for label, _f, _r in tests:
            _report(stream, test=label, result="skip", detail=str(skip), seconds=0)
        process.end_all()
        return
    except Exception as error:
        for i, (label, _f, _r) in enumerate(tests):
            detail = f"setup failed: {error}" if i == 0 else "setup failed (see the first test of the module)"
            _report(stream, test=label, result="fail", detail=detail, seconds=0)
        process.end_all()
        return
    for label, function, row in tests:
        _report(stream, begin=label)
        if process.SUBJECT not in getattr(function, "subjects", supported):
            _report(stream, test=label, result="skip", detail=f"not a test for {process.SUBJECT}", seconds=0)
            continue
        started = time.monotonic()
        result, detail = _run(function, env, row, getattr(function, "timeout_s", TEST_TIMEOUT_S))
        if result == "fail":
            detail += _logs(env)
        _report(stream, test=label, result=result, detail=detail, seconds=time.monotonic() - started)
    _report(stream, begin="ends_cleanly")
    started = time.monotonic()
    details = []
    for thing in reversed(env.owned if isinstance(env, Bench) else []):
        result, detail = _run(lambda _: thing.stop() if hasattr(thing, "stop") else (thing.end(5), thing.remove()),
                              None, None, 30)
        if result != "ok":
            details.append(detail)
    process.end_all()
    if any(isinstance(t, process.Gateway) for t in (env.owned if isinstance(env, Bench) else [])):
        _report(stream, test="ends_cleanly", result="fail" if details else "ok", detail="\n".join(details),
                seconds=time.monotonic() - started)


def main(arguments):
    """python3 -m lib.case list|run MODULE [REGEX]: results go to the descriptor PHX_TEST_RESULTS_FD."""
    descriptor = int(os.environ.get("PHX_TEST_RESULTS_FD", "1"))
    if descriptor > 2:
        os.set_inheritable(descriptor, False)  # a daemon that holds it would look like a running module
    stream = os.fdopen(descriptor, "w")
    verb, name = arguments[:2]
    if verb == "list":
        list_module(name, stream)
    else:
        pattern = re.compile(arguments[2]) if len(arguments) > 2 and arguments[2] else None
        run_module(name, lambda full: not pattern or pattern.search(full), stream)
    sys.stdout.flush()
    stream.flush()
    os._exit(0)  # threads of upstreams may still wait for something


if __name__ == "__main__":
    from lib import case  # not this copy, which is called __main__: modules import lib.case
    case.main(sys.argv[1:])

# SPDX-License-Identifier: Apache-2.0
"""
manual: the manual pages are good roff by two judges, and say all that --help and the schema say.

The pages and --help come from the same tables; here they are held against each other by what a reader sees.
"""
import json
import os
import re
import subprocess

from lib.case import Bench, check, equal, table
from lib.process import built, need, run, scratch

SUBJECTS = ("phoenix",)
PAGES = ["phoenixctl.1", "phoenix-traffic.1", "phoenixd.8", "phoenix.json.5", "phoenix-migration.json.5"]


def page(name):
    return built(f"man/{name}", mode=os.R_OK)


def shown(name, width=1000):
    """The page as a reader sees it, one paragraph a line, so that nothing is cut at a line's end."""
    done = subprocess.run([need("man"), "-P", "cat", "-l", page(name)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": str(width), "MAN_KEEP_FORMATTING": ""})
    equal((done.returncode, done.stderr), (0, ""))
    return re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)


def setup():
    return Bench()


@table(PAGES)
def test_lint(env, name):
    status, out, err = run(need("mandoc"), "-Tlint", page(name))
    equal((status, out, err), (0, "", ""))


@table(PAGES)
def test_groff_has_no_complaint(env, name):
    done = subprocess.run([need("man"), "--warnings", "-l", "-Tutf8", "-Z", page(name)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
    equal((done.returncode, done.stderr), (0, ""))


@table(PAGES)
def test_apropos_finds_it(env, name):
    """What mandb puts into its index."""
    status, out, err = run(need("lexgrog"), page(name))
    equal(status, 0, out + err)
    check(re.search(r'"%s - [^"]+"' % re.escape(name.rsplit(".", 1)[0]), out), out)


@table([("phoenixctl", "phoenixctl.1"), ("phoenix-traffic", "phoenix-traffic.1"), ("phoenixd", "phoenixd.8")])
def test_options_of_help_are_in_the_page(env, row):
    status, help_text, err = run(built(row[0]), "--help")
    equal(status, 0, err)
    text = shown(row[1])
    words = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", help_text))
    if row[0] == "phoenixctl":
        for command in re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?= [A-Z\[]|  |$)", help_text.split("commands:")[1].split("options of")[0], re.M):
            check(re.search(r"^ +%s( [\[A-Z]| +[a-z]|$)" % command, text, re.M), f"{command} is not in the page")
            _s, own, _e = run(built(row[0]), "help", *command.split())
            words |= set(re.findall(r"^ +(?:-., )?(--[a-z][a-z-]+)", own, re.M))
    check(len(words) > 5, words)
    for word in words:
        check(re.search(r"^ +(-., )?%s( |$)" % re.escape(word), text, re.M), f"{word} is not in the page")
    for number in re.findall(r"^ +(\d+) +\S", help_text.split("xit status:")[1], re.M):
        check(re.search(r"^ +%s +\S" % number, text.split("EXIT STATUS")[1], re.M), f"exit status {number} is not in the page")


def keys_of(schema, path=""):
    """(path, default or None) of every key that is no section of its own."""
    for name, value in schema.get("properties", {}).items():
        below = value.get("items", {}) if value.get("type") == "array" and "properties" in value.get("items", {}) else value
        if "properties" in below:
            yield from keys_of(below, f"{path}{name}{'[]' if below is not value else ''}.")
        else:
            yield path + name, value


def test_every_key_of_the_schema_is_in_the_page(env):
    status, out, err = run(built("phoenixctl"), "config", "schema")
    equal(status, 0, err)
    text = re.sub(r"\s+", " ", shown("phoenix.json.5"))
    keys = list(keys_of(json.loads(out)))
    check(len(keys) > 70, len(keys))
    for name, value in keys:
        at = re.search(r"(?<= )%s (?P<rest>.*)" % re.escape(name), text)
        check(at and at["rest"].startswith(value["description"]), f"{name} is not explained", at and at["rest"][:200])
        rest = at["rest"].split("Value:", 1)[1][:400]
        if "default" in value:
            stated = re.search(r"Default: (\S+)", rest)[1]
            equal(json.loads(stated) if stated[0] not in "{" else {}, value["default"] if value["default"] != {} else {}, f"default of {name}")
        else:
            check("It is required." in rest, name, rest)


def test_example_is_a_good_configuration(env):
    with open(page("phoenix.json.5"), encoding="utf-8") as file:
        example = file.read().split(".EX\n", 1)[1].split(".EE", 1)[0].replace("\\-", "-").replace("\\e", "\\")
    path = os.path.join(scratch(), "phoenix.json")
    with open(path, "w") as file:
        file.write(example)
    status, out, err = run(built("phoenixctl"), "config", "check", path)
    equal(status, 0, out + err)

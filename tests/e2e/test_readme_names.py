# SPDX-License-Identifier: Apache-2.0
"""
readme_names: what the README files name is there: files, make targets, commands and their options, configuration keys, metrics, pins.

Names are read from `code spans` and code blocks of every README.md in the tree and held against the tree itself, --help of the three programs,
`make help`, the JSON Schema of the configuration and of a migration's spec, and the daemon's own source (metrics: some are only there with Redis or the NIC path). And each folder has
a README.md of a page.
"""
import json
import os
import re

from lib.case import Bench, check, equal
from lib.process import built, run

SUBJECTS = ("phoenix",)
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PAGE_LINES = 80
LONGER = {"bpf/README.md": 110}  # the whole story of the data plane, to which README.md sends its readers
AREAS = ("bpf", "include", "userspace", "tools", "tests", "vagrant")


def tracked():
    """Files of the project; without git (a tarball), all that look like it."""
    status, out, _ = run("git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-co", "--exclude-standard")
    if status == 0:
        return sorted(name for name in set(out.splitlines()) if os.path.isfile(os.path.join(ROOT, name)))
    return sorted(os.path.relpath(os.path.join(where, name), ROOT) for where, folders, names in os.walk(ROOT)
                  if not re.search(r"/(build|\.git|node_modules)(/|$)", where) for name in names)


def setup():
    env = Bench()
    env.files = tracked()
    env.folders = {os.path.dirname(f) for f in env.files}
    for folder in list(env.folders):
        while folder := os.path.dirname(folder):
            env.folders.add(folder)
    env.readmes = {}
    for name in env.files:
        if os.path.basename(name) == "README.md":
            with open(os.path.join(ROOT, name), encoding="utf-8") as file:
                env.readmes[name] = file.read()
    env.help = {program: run(built(program), "--help")[1] for program in ("phoenixd", "phoenixctl", "phoenix-traffic")}
    commands = re.findall(r"(?m)^  ([a-z][a-z-]*(?: [a-z-]+)?)(?: |$)", env.help["phoenixctl"].split("\ncommands:\n")[1].split("\n\n")[0])
    env.commands = {}
    for command in sorted(set(commands)):
        env.commands[command] = run(built("phoenixctl"), "help", *command.split())[1]
    env.sources = ""
    for name in env.files:
        if re.match(r"(userspace|include|bpf|tools)/.*\.[ch]$", name):
            with open(os.path.join(ROOT, name), encoding="utf-8") as file:
                env.sources += file.read()
    env.words = set(re.findall(r"\w+", env.sources))
    return env


def code(text):
    """Code spans, and the lines of code blocks."""
    for fence in re.finditer(r"(?ms)^ *```[^\n]*\n(.*?)^ *```", text):
        yield from fence[1].splitlines()
    for span in re.finditer(r"`([^`\n]+)`", re.sub(r"(?ms)^ *```.*?^ *```", "", text)):
        yield span[1]


def complain(problems):
    check(not problems, f"{len(problems)} names that there are none of:\n  " + "\n  ".join(sorted(set(problems))))


def test_files(env):
    """Paths from the top, links, and names with an ending that lie below the folder of their README."""
    problems = []
    for readme, text in env.readmes.items():
        here = os.path.dirname(readme)
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not os.path.exists(os.path.join(ROOT, here, link)):
                problems.append(f"{readme}: link {link}")
        for span in code(text):
            for path in re.findall(rf"(?<![\w/.-])((?:{'|'.join(AREAS)})/[\w./-]*\w)(?![\w*{{]|\*|/\*)", span):
                if re.search(r"\b(NAME|FOLDER|FILE)\b", path):
                    continue  # stands for any
                if path not in env.folders and not any(f == path or f.startswith(path) for f in env.files):
                    problems.append(f"{readme}: {path}")
    complain(problems)


def test_make_targets(env):
    targets = set(re.findall(r"(?m)^  make (\S+)", run("make", "-s", "-C", ROOT, "help")[1]))
    check({"demo", "check", "deb"} <= targets, "make help lists its targets", targets)
    complain([f"{readme}: make {target}" for readme, text in env.readmes.items() for span in code(text)
              for target in re.findall(r"(?:^|\$ |sudo |&& )make (?:-\w+ )*([a-z]+)\b", span) if target not in targets])


def test_commands_and_options(env):
    problems = []
    for readme, text in env.readmes.items():
        for span in code(text):
            for line in re.findall(r"(?:^|[$#;|`(]|&& |sudo |'c?d? ?)\s*((?:phoenixctl|phoenixd|phoenix-traffic)(?: [^;|)&#]*)?)", span):
                words = line.split()
                program, rest = words[0], words[1:]
                told = env.help[program]
                if program == "phoenixctl" and rest and re.fullmatch(r"[a-z][a-z|-]*", rest[0]):
                    names = rest[0].split("|")
                    if len(rest) > 1 and f"{rest[0]} {rest[1].split('|')[0]}" in env.commands:
                        names = [f"{rest[0]} {second}" for second in rest[1].split("|")]
                    for name in names:
                        if name not in env.commands and not any(c.startswith(name + " ") for c in env.commands) and name != "help":
                            problems.append(f"{readme}: phoenixctl {name}")
                        told += env.commands.get(name, "") + "".join(h for c, h in env.commands.items() if c.startswith(name + " "))
                if program == "phoenix-traffic" or rest[:2] == ["traffic", "run"]:
                    told += run(built("phoenix-traffic"), "run", "--help")[1]
                for option in re.findall(r"(?<!\S)(--[a-z][a-z0-9-]*)", line):
                    if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told):
                        problems.append(f"{readme}: {program} {' '.join(rest[:2])}: {option}")
    complain(problems)


def test_configuration_keys(env):
    """"section.key" in code spans, from the top or from a route."""
    schema = json.loads(run(built("phoenixctl"), "config", "schema")[1])

    def keys(node, prefix=""):
        node = node.get("items", node) if node.get("type") == "array" else node
        for name, value in node.get("properties", {}).items():
            yield prefix + name
            yield from keys(value, prefix + name + ".")
    known = set(keys(schema)) | {name.removeprefix("routes.") for name in keys(schema)}
    sections = {name.split(".")[0] for name in known if "." in name}
    spec = {"deploy.kind", "deploy.user", "deploy.network", "traffic.generate", "service.port", "service.source", "deadline.healthy_ms", "deadline.mirror_ms",
            "traffic.runner"}
    complain([f"{readme}: {name}" for readme, text in env.readmes.items() for span in code(text)
              for name in re.findall(r"^([a-z_]+(?:\.[a-z_]+)+)(?=$|[:=, ])", span)
              if name.split(".")[0] in sections | {"deploy", "deadline"} and name not in known and name not in spec and
              not re.search(r"\.(c|h|jsonl?|evidence|yaml|py|md|sh|js|mjs|html|css|conf|service)$", name)])
    for name in spec:
        check(f'"{name.split(".")[1]}"' in env.sources, f"{name} is no key of a spec")


def test_metrics_and_pins(env):
    """Names that begin with phoenix_ or phx_."""
    problems = []
    for readme, text in env.readmes.items():
        for span in code(text):
            for name in re.findall(r"(?<![\w/-])(phx_[a-z0-9_]+|phoenix_[a-z0-9_]+)", span):
                if not name.endswith("_") and not {name, name.removeprefix("phoenix_")} & env.words:
                    problems.append(f"{readme}: {name}")
    complain(problems)


def test_each_folder_has_a_page(env):
    """A README.md of at most a page in each folder of sources, and in the top-level ones."""
    wanted = {f for f in env.folders if re.fullmatch(r"(bpf|include|userspace|tools|tests|vagrant)(/[\w.-]+)?", f)}
    missing = sorted(f for f in wanted if f"{f}/README.md" not in env.readmes)
    equal(missing, [], "folders without a README.md")
    long = [f"{name}: {text.count(chr(10))} lines" for name, text in env.readmes.items()
            if "/" in name and text.count("\n") > LONGER.get(name, PAGE_LINES)]
    equal(long, [], f"longer than {PAGE_LINES} lines")


def test_readme_has_its_order(env):
    """What a reader looks for is where he looks for it."""
    text = env.readmes["README.md"]
    equal(re.findall(r"(?m)^## (.*)", re.sub(r"(?ms)^```.*?^```", "", text)),
          ["The two commands", "Life of a request", "The map of the house", "Operating guide", "Security model", "Limits", "Measured",
           "Glossary", "License"])
    first = text.split("\n\n")[1]
    equal(len(re.findall(r"\.(?:\s|$)", first)), 1, "sentences before the picture")
    check(text.split("\n\n")[2].startswith("```\n"), "the picture comes next")

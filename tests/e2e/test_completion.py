# SPDX-License-Identifier: Apache-2.0
"""
completion: the scripts of phoenixctl in the shells that they are for, ids from a daemon that runs and from one that does not.
"""
import http.server
import json
import os
import socket
import subprocess
import threading

from lib.case import Bench, check, equal, table
from lib.net import response
from lib.process import Gateway, built, need, route, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)


def setup():
    env = Bench()
    env.up = env.own(Upstream(lambda ex: response(200, b"{}")))
    env.gw = env.own(Gateway([route(name, f"/{name}", legacy=env.up.url) for name in ("users", "user-orders", "cart")]))
    env.folder = scratch()
    for name in ("one.json", "two words.json"):
        with open(os.path.join(env.folder, name), "w") as file:
            file.write("{}")
    os.mkdir(os.path.join(env.folder, "sub"))
    env.programs = os.path.dirname(built("phoenixctl"))
    return env


def shell(env, args, script, admin=None):
    done = subprocess.run(args + ["-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, cwd=env.folder,
                          env={"PATH": env.programs + ":" + os.environ["PATH"], "HOME": env.folder,
                               "PHOENIX_ADMIN": admin or f"unix:{env.gw.socket_path}"})
    equal((done.returncode, done.stderr), (0, ""), "exit status and stderr")
    return [line for line in done.stdout.splitlines() if line]


def bash(env, *words, admin=None):
    """What bash offers for the last of the words, taken apart as bash does it."""
    quoted = " ".join("'%s'" % w for w in words)
    return shell(env, [need("bash"), "--norc"],
                 f"source <(phoenixctl completion bash); COMP_WORDS=(phoenixctl {quoted}); COMP_CWORD={len(words)}; "
                 '_phoenixctl && printf "%s\\n" "${COMPREPLY[@]}"', admin)


@table([("commands", ("ro",), ["route", "rollback"]), ("second-word", ("route", ""), ["ls", "add", "rm"]),
        ("routes", ("pause", "us"), ["users", "user-orders"]), ("routes-after-an-option", ("--reason", "lunch", "pause", "c"), ["cart"]),
        ("one-route-only", ("pause", "users", ""), []), ("option", ("status", "--wait"), ["--wait-for"]),
        ("state-words", ("status", "--wait-for", "ro"), ["rolled-back"]), ("state-words-behind-equal", ("status", "--wait-for", "=", "ro"), ["rolled-back"]),
        ("just-behind-equal", ("status", "--output", "="), ["table", "json"]), ("format", ("route", "ls", "-o", ""), ["table", "json"]),
        ("route-of-an-option", ("traffic", "generate", "--route", "ca"), ["cart"]), ("files", ("config", "check", "o"), ["one.json"]),
        ("files-with-spaces", ("migrate", "t"), ["two words.json"]), ("folders", ("maps", ""), ["sub"]), ("shells", ("completion", "f"), ["fish"]),
        ("behind-the-admin-option", ("--admin", "unix", ":", "{socket}", "weight", "get", "c"), ["cart"]),
        ("admin-with-equal", ("--admin", "=", "unix", ":", "{socket}", "weight", "get", "c"), ["cart"]),
        ("nothing", ("explode", ""), []), ("help", ("help", "weight", ""), ["get", "set"]), ("methods", ("trace", "PO"), ["POST"])])
def test_bash(env, row):
    words = [w.replace("{socket}", env.gw.socket_path) for w in row[1]]
    wrong = "unix:/nonexistent" if "{socket}" in row[1] else None  # the line says better which daemon it is
    equal(sorted(bash(env, *words, admin=wrong)), sorted(row[2]))


@table([("gone", "unix:/nonexistent"), ("refused", "http://127.0.0.1:1"), ("nonsense", "nonsense"), ("silent", None)])
def test_bash_without_a_daemon_is_silent(env, row):
    listener = socket.create_server(("127.0.0.1", 0))  # accepts in the kernel, never answers
    address = row[1] or f"http://127.0.0.1:{listener.getsockname()[1]}"
    equal(bash(env, "pause", "", admin=address), [])
    listener.close()


def test_fish(env):
    fish = need("fish")
    offered = shell(env, [fish, "--no-config"], 'phoenixctl completion fish | source; complete -C "phoenixctl pause us"')
    equal(sorted(line.split("\t")[0] for line in offered), ["user-orders", "users"])
    check("Not Started: 100% on Legacy" in offered[0], "each with how it stands", offered)
    offered = shell(env, [fish, "--no-config"], 'phoenixctl completion fish | source; complete -C "phoenixctl status --wait-for ro"')
    equal(offered, ["rolled-back"])


def test_zsh(env):
    """The functions of zsh's own that offer words need its line editor; here they print what they are given."""
    script = ('compdef() { }; source <(phoenixctl completion zsh); _describe() { print -rl -- "${(@P)3}" }; _files() { print -r -- FILES }; '
              'words=(phoenixctl %s); CURRENT=$#words; _phoenixctl')
    equal(sorted(line.split(":")[0] for line in shell(env, [need("zsh"), "-f"], script % "pause us")), ["user-orders", "users"])
    equal(shell(env, [need("zsh"), "-f"], script % "config check ''"), ["FILES"])
    script_text = subprocess.run([built("phoenixctl"), "completion", "zsh"], capture_output=True, text=True).stdout
    equal(script_text.splitlines()[0], "#compdef phoenixctl")


def test_ids_that_a_shell_would_read_are_not_offered(env):
    """A daemon that lies: what it says about ids must not run in the shell of who presses Tab."""
    names = ["good", "$(touch pwned)", "`id`", "a b", "x;y", "'q'", "esc\x1b[31m", "a\nb", "-rf", ""]

    class Liar(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = {"routes": [{"id": n, "headline": "\x1b]0;owned\x07"} for n in names]}
            if self.path == "/admin/datapath":
                answer = {"xdp": {"interfaces": [{"name": n, "mode": "native"} for n in ("eth0", "$(id)", "enp1s0")]}}
            if self.path == "/admin/migrations":
                answer = {"migrations": [{"id": "users"}, {"id": "orders", "headline": "Migration Complete"}]}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    equal(bash(env, "pause", "", admin=address), ["good"])
    equal(bash(env, "xdp", "status", "e", admin=address), ["eth0", "enp1s0"])
    equal(bash(env, "migration", "show", "", admin=address), ["users", "orders"])
    raw = subprocess.run([built("phoenixctl"), "__complete", "--", "--admin", address, "pause", ""], capture_output=True).stdout
    check(b"\x1b" not in raw and b"\x07" not in raw, raw)
    server.shutdown()
    check(not os.path.exists(os.path.join(env.folder, "pwned")))

# SPDX-License-Identifier: Apache-2.0
"""
packaging: what `make install`, the unit and the Debian package put on a host, and that it can be taken off again.

Installing goes into a folder (DESTDIR), where the programs are run; the package into a dpkg root of its own. The unit is read by
systemd-analyze, and then run by a real systemd (lib/machine.py) with all its restrictions, as the gateway of the lab's network:
the fast path attaches there and serves, a reload swaps routes, a replaced program takes over, and all under the user "phoenix".
"""
import glob
import json
import os
import re
import shutil
import subprocess

from lib.case import Bench, check, equal, table, timeout
from lib.lab import Lab, sites
from lib.machine import Machine
from lib.net import wait_for
from lib.process import BUILD, Skip, built, need, run, scratch

SUBJECTS = ("phoenix",)
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
EXPOSURE_MAX = 4.0
PROGRAMS = ("sbin/phoenixd", "bin/phoenixctl", "bin/phoenix-traffic")


def setup():
    env = Bench()
    env.build = os.path.abspath(BUILD)
    return env


def make(env, target, **variables):
    """make TARGET on what is built already."""
    done = subprocess.run(["make", "-s", "--no-print-directory", target, f"O={os.path.relpath(env.build, ROOT)}",
                           *[f"{k}={v}" for k, v in variables.items()]], cwd=ROOT, text=True, timeout=240,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    equal(done.returncode, 0, f"make {target}:\n{done.stdout[-3000:]}\nexit status")
    return done.stdout


def files(folder):
    return sorted(os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names)


@timeout(300)
def test_install_and_uninstall(env):
    """Everything at its place, the programs run from there, and nothing is left."""
    root = scratch()
    make(env, "install", DESTDIR=root, PREFIX="/usr")
    there = files(root)
    for name in [f"usr/{p}" for p in PROGRAMS] + [
            "etc/phoenix/phoenix.json", "usr/lib/systemd/system/phoenixd.service", "usr/lib/phoenix/reload",
            "etc/logrotate.d/phoenix", "usr/lib/sysusers.d/phoenix.conf", "usr/lib/tmpfiles.d/phoenix.conf", "usr/share/man/man1/phoenixctl.1",
            "usr/share/man/man5/phoenix.json.5", "usr/share/man/man8/phoenixd.8", "usr/share/doc/phoenix/README.md",
            "usr/share/bash-completion/completions/phoenixctl"]:
        check(name in there, f"{name} is not installed", there)
    for name in PROGRAMS:
        status, out, err = run(os.path.join(root, "usr", name), "--help")
        check(status == 0 and "usage:" in out.lower(), f"{name}: exit {status}", out, err)
    for sample in ["etc/phoenix/phoenix.json"] + [f for f in there if "/examples/" in f]:
        status, out, err = run(os.path.join(root, "usr/sbin/phoenixd"), "--check", "--config", os.path.join(root, sample))
        equal((status, "error" in err), (0, False), f"{sample}: {err}")
    equal(run("bash", "-n", os.path.join(root, "usr/share/bash-completion/completions/phoenixctl"))[0], 0)
    text = open(os.path.join(root, "usr/lib/systemd/system/phoenixd.service")).read()
    check("dir@" not in text and "/usr/sbin/phoenixd" in text, "places that were not filled in", re.findall(r".*dir@.*", text))
    make(env, "install", DESTDIR=root, PREFIX="/usr")
    make(env, "uninstall", DESTDIR=root, PREFIX="/usr")
    equal(os.listdir(root), [], "what is left")
    # a configuration that somebody wrote stays
    make(env, "install", DESTDIR=root)
    mine = os.path.join(root, "etc/phoenix/phoenix.json")
    with open(mine, "a") as file:
        file.write("\n")
    make(env, "install", DESTDIR=root)
    said = make(env, "uninstall", DESTDIR=root)
    check("was changed and stays" in said, said)
    equal(files(root), ["etc/phoenix/phoenix.json"])
    shutil.rmtree(root)


SAMPLES = sorted(os.path.basename(p) for p in glob.glob(os.path.join(ROOT, "tools/config/*")) if not p.endswith(".md"))


@table([(name,) for name in SAMPLES])
def test_sample(env, row):
    """Every sample is good, without a warning."""
    status, out, err = run(built("phoenixd"), "--check", "--config", os.path.join(ROOT, "tools/config", row[0]))
    equal((status, err), (0, ""), out)


def test_full_sample_names_every_key(_env):
    """As `phoenixctl config schema` has them."""
    schema = json.loads(run(built("phoenixctl"), "config", "schema")[1])
    with open(os.path.join(ROOT, "tools/config/full.yaml")) as file:
        lines = file.read().splitlines()
    there, path = set(), []
    for line in lines:
        key = re.match(r"( *)(- )?([a-z_]+):", line)
        if key:
            depth = len(key[1]) + len(key[2] or "")
            path = [p for p in path if p[0] < depth] + [(depth, key[3])]
            there.add(".".join(name for _, name in path))

    def keys(node, prefix=""):
        node = node.get("items", node) if node.get("type") == "array" else node
        for name, value in node.get("properties", {}).items():
            yield prefix + name
            yield from keys(value, prefix + name + ".")
    wanted = set(keys(schema))
    check(len(wanted) > 80, "the schema was not understood", sorted(wanted))
    equal((sorted(wanted - there), sorted(there - wanted)), ([], []), "keys that are missing in full.yaml; that there are none of")


def unit_in(env, folder):
    """The unit as it is installed, with programs that are there."""
    subprocess.run(["make", "-s", "install", f"O={os.path.relpath(env.build, ROOT)}", f"PREFIX={folder}/usr"], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL, env=dict(os.environ, SYSCONFDIR=f"{folder}/etc"), timeout=240)
    return f"{folder}/usr/lib/systemd/system/phoenixd.service"


def test_unit_is_verified(env):
    folder = scratch()
    unit = unit_in(env, folder)
    done = subprocess.run([need("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ, SYSTEMD_LOG_LEVEL="warning"))
    ours = [line for line in done.stdout.splitlines() if "phoenix" in line]
    equal((done.returncode, ours), (0, []), done.stdout)
    shutil.rmtree(folder)


def test_exposure(env):
    """At most 4.0 of 10, and README tells the figure as it is."""
    folder = scratch()
    unit = unit_in(env, folder)
    out = subprocess.run([need("systemd-analyze"), "security", "--offline=yes", f"--threshold={int(EXPOSURE_MAX * 10)}", "--no-pager",
                          unit], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    figure = re.search(r"Overall exposure level for phoenixd.service: (\d+\.\d+)", out.stdout)
    check(figure and float(figure[1]) <= EXPOSURE_MAX, f"limit {EXPOSURE_MAX}", out.stdout[-300:])
    equal(out.returncode, 0)
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        told = re.search(r"`systemd-analyze security` rates (?:it|the unit) (\d+\.\d+)", file.read())
    if told:
        equal(told[1], figure[1], "the exposure that README tells; measured")
    shutil.rmtree(folder)


def package_of(env):
    """Built once."""
    if not hasattr(env, "package"):
        env.package = os.path.join(ROOT, make(env, "deb").strip().splitlines()[-1])
    return env.package


@timeout(300)
def test_debian_package_holds_what_it_should(env):
    package = package_of(env)
    listing = run("dpkg-deb", "-c", package)[1]
    for name in ("./usr/sbin/phoenixd", "./usr/bin/phoenixctl", "./lib/systemd/system/phoenixd.service", "./etc/phoenix/phoenix.json",
                 "./usr/share/man/man8/phoenixd.8.gz", "./usr/share/doc/phoenix-gateway/copyright"):
        check(re.search(rf" root/root .* {re.escape(name)}$", listing, re.M), f"{name} is not in the package, or not root's", listing)
    fields = run("dpkg-deb", "-f", package)[1]
    for library in ("libc6", "liburing2", "libjansson4", "libyaml-0-2", "libxdp1", "libbpf1", "zlib1g"):
        check(re.search(rf"^Depends: .*\b{library} ?[(,]", fields, re.M) or f" {library}," in fields, f"no dependency on {library}", fields)
    equal(run("dpkg-deb", "-I", package, "conffiles")[1].split(), ["/etc/logrotate.d/phoenix", "/etc/phoenix/phoenix.json"])


@timeout(300)
def test_lintian_has_nothing_to_say(env):
    """Neither an error nor a warning."""
    package = package_of(env)
    said = subprocess.run([need("lintian"), package], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=240).stdout
    equal([line for line in said.splitlines() if line.startswith(("E:", "W:"))], [], "lintian")


@timeout(300)
def test_debian_package_comes_and_goes(env):
    """Installed and purged in a dpkg root of its own: the user and the folders are there, and nothing is left."""
    if os.geteuid():
        raise Skip("dpkg in a root of its own needs root")
    package, root = package_of(env), scratch()
    for name in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"):
        os.makedirs(os.path.join(root, name))
    for name in ("etc/passwd", "etc/group", "var/lib/dpkg/status"):
        with open(os.path.join(root, name), "w") as file:
            file.write("root:x:0:0::/root:/bin/sh\n" if name == "etc/passwd" else "root:x:0:\nadm:x:4:\n" if name == "etc/group" else "")
    before = files(root)
    dpkg = ["dpkg", f"--root={root}", "--force-script-chrootless", "--force-depends", f"--log={root}/var/log/dpkg.log"]
    status, out, err = run(*dpkg, "-i", package)
    equal(status, 0, out + err)
    check(os.path.isdir(os.path.join(root, "var/lib/phoenix")), "no state directory")
    with open(os.path.join(root, "etc/passwd")) as file:
        check("phoenix:" in file.read(), "no user")
    status, out, err = run(*dpkg, "--purge", "phoenix-gateway")
    equal(status, 0, out + err)
    left = [f for f in files(root) if f not in before and "/dpkg" not in f and not re.match(r"etc/(passwd|group|shadow|gshadow|\.pwd)", f)]
    equal(left, [], "what purging leaves")
    check(not os.path.exists(os.path.join(root, "var/lib/phoenix")), "the state directory is left")
    shutil.rmtree(root)


# --- under systemd ------------------------------------------------------------------------------------------------

CONFIG = """{"listen": ["0.0.0.0:80"], "workers": 2, "limits": {"upgrade_drain_ms": 3000},
 "admin": {"listen": "127.0.0.1:9900", "socket": "/run/phoenix/admin.sock", "socket_group": "phoenix"},
 "xdp": {"interfaces": %s, "mode": "native", "pin_dir": "/sys/fs/bpf/phoenix"},
 "routes": [{"id": "users", "path": "/users/*", "legacy_url": "%s", "modern_url": "%s", "weight": %s,
             "mirror": {"sample": 0}, "arbiter": {"enabled": false}}]}
"""


@timeout(180)
def test_under_systemd(env):
    """Start, ready, sandbox, fast path, reload, bad reload, upgrade, stop: as an operator does it."""
    lab = env.own(Lab())
    both = {side: site for (name, side), site in sites(lab, sizes=(200,)).items() if name == "users"}
    names = [f"eth{i}" for i in range(3)]
    with lab.inside("gateway"):
        host = Machine(ROOT, env.build)
    try:
        host.run("sh", "-c", f"cd {ROOT} && O={os.path.relpath(env.build, ROOT)} PREFIX=/usr tools/install.sh install")
        host.run("systemd-sysusers", "phoenix.conf")
        host.run("systemd-tmpfiles", "--create", "phoenix.conf")

        def configure(weight, text=CONFIG):
            host.write("/etc/phoenix/phoenix.json", text % (str(names).replace("'", '"'), both["legacy"].url, both["modern"].url, weight))
        configure(0)
        host.run("systemctl", "daemon-reload")
        try:
            host.run("systemctl", "start", "phoenixd")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{host.journal('phoenixd')[-3000:]}") from None
        equal(host.show("phoenixd", "ActiveState"), "active", host.journal("phoenixd"))
        main = host.show("phoenixd", "MainPID")
        status = host.run("cat", f"/proc/{main}/status")
        user = host.run("id", "-u", "phoenix").strip()
        equal(re.search(r"^Uid:\s+(.*)$", status, re.M)[1].split(), [user] * 4, "the user it runs as")
        equal((re.search(r"^NoNewPrivs:\s+(\d)", status, re.M)[1], re.search(r"^Seccomp:\s+(\d)", status, re.M)[1]), ("1", "2"))
        held = int(re.search(r"^CapPrm:\s+(\w+)", status, re.M)[1], 16)
        equal(held, 1 << 12 | 1 << 38 | 1 << 39, "capabilities that are left: NET_ADMIN, PERFMON, BPF")
        log = host.journal("phoenixd")
        equal(len(re.findall(r"attached in native mode", log)), 3, log)
        check("Operation not permitted" not in log and "cannot" not in log, "the sandbox refuses something", log)

        def ask(n, want):
            """n requests of one client; the fast path serves them."""
            args = [need("curl"), "-sS", "--fail", "-D", "-"]
            for _ in range(n):
                args += ["-o", "/dev/null", f"http://{lab.links['client'].gateway_address}/users/200"]
            equal(re.findall(r"(?mi)^x-upstream: users-(\w+)", lab.run("client", *args)), [want] * n, "who answered")
        ask(20, "legacy")
        metrics = host.run("curl", "-sS", "http://127.0.0.1:9900/metrics")
        equal(re.search(r'^phoenix_requests_total\{route="users",backend="legacy",path="xdp",code="2xx"\} (\d+)', metrics, re.M)[1], "20")
        # a reload: the same process, other weights
        configure(1)
        host.run("systemctl", "reload", "phoenixd")
        equal(host.show("phoenixd", "MainPID"), main, "the main process after a reload")
        wait_for("the new weight", lambda: "100%" in host.run("phoenixctl", "weight", "get", "users"))
        ask(20, "modern")
        configure(0.5, CONFIG.replace('"routes"', '"rotes"'))
        said = host.run("sh", "-c", "systemctl reload phoenixd; echo exit $?", check=False)
        check("exit 1" in said, "a bad file reloads", said)
        check('did you mean "routes"' in host.journal("phoenixd"), host.journal("phoenixd")[-600:])
        equal(host.show("phoenixd", "ActiveState"), "active")
        # an upgrade: another file at the program's place takes over, and systemd follows it
        configure(1)
        host.run("sh", "-c", "cp /usr/sbin/phoenixd /usr/sbin/phoenixd.new && mv /usr/sbin/phoenixd.new /usr/sbin/phoenixd")
        host.run("systemctl", "reload", "phoenixd")
        new = host.show("phoenixd", "MainPID")
        check(new not in (main, "0"), "no takeover", host.journal("phoenixd")[-2000:])
        ask(20, "modern")
        try:
            wait_for("the old daemon's end", lambda: "gone" in host.run("sh", "-c", f"test -e /proc/{main} || echo gone"), 20)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{host.run('cat', f'/proc/{main}/status')}{host.journal('phoenixd')[-3000:]}") from None
        equal(host.show("phoenixd", "ActiveState"), "active", host.journal("phoenixd")[-2000:])
        wait_for("the status in systemd's list", lambda: host.show("phoenixd", "StatusText") in host.run("phoenixctl", "status"))
        host.run("systemctl", "stop", "phoenixd")
        equal((host.show("phoenixd", "ActiveState"), host.show("phoenixd", "Result")), ("inactive", "success"))
        host.run("phoenixctl", "xdp", "detach")
        equal(host.run("ls", "/sys/fs/bpf").split(), ["maps.debug", "progs.debug"], "what is left in bpffs")
    finally:
        host.stop()

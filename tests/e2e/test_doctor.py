# SPDX-License-Identifier: Apache-2.0
"""
doctor: each failure that phoenixctl doctor looks for, produced for real: in namespaces of its own, by limits and rights of
its own process, with its own files and ports. Nothing is pretended, and nothing outside is changed.

Not produced: a clock that stands wrong (there is one for the whole machine; what is said about it is compared with the
kernel's word), LRO and rx-gro-hw (no virtual device here has them).
"""
import ctypes
import json
import os
import socket
import struct
import subprocess
import threading

from lib.case import Bench, check, equal, table
from lib.net import free_port, response, wait_for
from lib.process import Gateway, built, need, route, run, scratch
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
WORDS = {"ok", "warn", "fail", "skipped"}


def setup():
    env = Bench()
    env.up, env.modern = env.own(Upstream(lambda ex: response(200, b"{}"))), env.own(Upstream(lambda ex: response(200, b"{}")))
    env.folder = scratch()
    os.chmod(env.folder, 0o755)
    return env


def config(env, name="phoenix.json", routes=None, **more):
    path = os.path.join(env.folder, name)
    text = {"listen": [f"127.0.0.1:{free_port()}"], "admin": {"listen": None, "socket": os.path.join(env.folder, "admin.sock")},
            "state": {"path": os.path.join(env.folder, "state.json")}, "routes": [route("one", "/one", legacy=env.up.url, modern=env.modern.url)] if routes is None else routes}
    for key, value in more.items():
        text[key] = {**text[key], **value} if isinstance(value, dict) and key in text else value
    with open(path, "w") as file:
        json.dump(text, file)
    os.chmod(path, 0o644)
    return path


def doctor(env, path, prefix=(), admin="unix:/nonexistent", **more):
    """Findings of the checks: {name: [(verdict, text, fix)]}."""
    args = [*prefix, built("phoenixctl"), "--admin", admin, "doctor", "-o", "json", *([path] if path else [])]
    done = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40, **more)
    findings = json.loads(done.stdout)
    by_check = {}
    for f in findings:
        check(f["verdict"] in WORDS and f["finding"], f)
        check(f["verdict"] not in ("warn", "fail") or f["fix"], "every finding says what to do", f)
        by_check.setdefault(f["check"], []).append((f["verdict"], f["finding"], f["fix"]))
    equal(done.returncode, 1 if any(f["verdict"] == "fail" for f in findings) else 0, "exit status")
    return by_check


def expect(found, name, verdict, *words):
    got = found.get(name, [])
    check(any(v == verdict and all(w in text for w in words) for v, text, _fix in got), f"{name}: no {verdict} with {words}", got)


def in_mounts(commands):
    """A prefix that runs what follows behind mounts of its own."""
    return [need("unshare"), "-m", "--propagation", "private", "sh", "-ec", commands + '\nexec "$@"', "sh"]


def in_net(commands):
    return [need("unshare"), "-n", "sh", "-ec", commands + '\nexec "$@"', "sh"]


XDP = {"xdp": {"interfaces": ["pv0"], "mode": "auto"}}
VETH = "ip link add pv0 type veth peer name pv1; ip link set pv0 up; ip link set pv1 up; "


@table([("kernel", [["setarch", "--uname-2.6"], "kernel", "fail", "older than the 6.1"]),
        ("open-files", [["prlimit", "--nofile=100:100"], "open files", "fail", "may open 100 files"]),
        ("open-files-few", [["prlimit", "--nofile=5000:5000"], "open files", "warn", "enough for about 2500 clients"]),
        ("memory-lock", [["prlimit", "--memlock=65536:65536"], "memory lock", "warn", "may lock 64 KiB"])])
def test_process(env, row):
    prefix, name, verdict, word = row[1]
    expect(doctor(env, config(env), [need(prefix[0]), *prefix[1:]]), name, verdict, word)


def test_io_uring_refused(env):
    """As a container's seccomp profile does it: io_uring_setup() gives EPERM."""
    def filtered():
        code = b"".join(struct.pack("HBBI", *i) for i in ((0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)))
        memory = ctypes.create_string_buffer(code)
        program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(memory))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
            os._exit(77)
    expect(doctor(env, config(env), preexec_fn=filtered), "io_uring", "fail", "refused: Operation not permitted")


@table([("fast-path", "-net_admin,-bpf,-perfmon,-sys_admin", XDP, ["CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON"]),
        ("low-port", "-net_bind_service", {"listen": ["127.0.0.1:80"]}, ["CAP_NET_BIND_SERVICE"])])
def test_capabilities(env, row):
    found = doctor(env, config(env, **row[2]), [need("setpriv"), "--bounding-set", row[1]])
    for name in row[3]:
        expect(found, "capabilities", "fail", name)
    expect(doctor(env, config(env, **row[2])), "capabilities", "ok")


def test_clock_as_the_kernel_says(env):
    timex = ctypes.create_string_buffer(256)
    state = ctypes.CDLL(None).adjtimex(timex)
    expect(doctor(env, config(env)), "clock", "warn" if state == 5 or struct.unpack_from("i", timex, 40)[0] & 0x40 else "ok")


@table([("no-btf", "mount -t tmpfs none /sys/kernel/btf", "BTF", "fail", "has no BTF"),
        ("no-kfunc", "mount -t tmpfs none /sys/kernel/btf; printf 'a\\0bpf_sk_assign\\0' > /sys/kernel/btf/vmlinux", "BTF", "fail", "bpf_sk_assign_tcp_reqsk"),
        ("no-bpffs", "mount -t tmpfs none /sys/fs/bpf", "bpffs", "warn", "not a bpf file system"),
        ("no-docker-daemon", "mount -t tmpfs none /run; mount -t tmpfs none /usr/local/bin; printf '' > /usr/local/bin/docker-compose; "
                             "chmod 755 /usr/local/bin/docker-compose", "docker", "warn", "does not answer")])
def test_behind_mounts(env, row):
    build = os.path.dirname(built("phoenixctl"))
    check(not build.startswith(("/usr/local/bin", "/run")), "the program itself is not hidden")
    expect(doctor(env, config(env, **XDP), in_mounts(row[1])), *row[2:])


@table([("none", [], "skipped", "not installed"), ("without-compose", ["docker"], "warn", "docker-compose is not"), ("both", ["docker", "docker-compose"], None, "docker")])
def test_docker(env, row):
    folder = scratch()
    for name in row[1]:
        with open(os.path.join(folder, name), "w") as file:
            file.write("#!/bin/sh\n")
        os.chmod(file.name, 0o755)
    # the plugin of docker is looked for in its own places, which are hidden here
    hide = "for d in /usr/libexec/docker /usr/lib/docker /usr/local/lib/docker; do [ ! -d $d ] || mount -t tmpfs none $d; done"
    found = doctor(env, config(env), in_mounts(hide + f"\nexport PATH={folder}"))
    check(any((row[2] in (None, v)) and row[3] in text for v, text, _f in found["docker"]), found["docker"])


def test_ports(env):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expect(doctor(env, config(env, listen=[f"127.0.0.1:{port}"])), "ports", "fail", f"127.0.0.1:{port} is taken")
    expect(doctor(env, config(env, listen=[f"127.0.0.1:{free_port()}"])), "ports", "ok", "is free")
    expect(doctor(env, config(env, listen=["203.0.113.7:8080"])), "ports", "fail", "cannot be used")


def test_configuration(env):
    path = config(env)
    with open(path, "a") as file:
        file.write("}")
    expect(doctor(env, path), "config", "fail", "is not valid")
    expect(doctor(env, os.path.join(env.folder, "none.json")), "config", "fail", "No such file")
    expect(doctor(env, config(env)), "config", "ok")


def test_permissions(env):
    expect(doctor(env, config(env)), "permissions", "ok")
    expect(doctor(env, config(env, state={"path": "/nonexistent/state.json"})), "permissions", "fail", "state.path", "folder is not there")
    expect(doctor(env, config(env, admin={"socket": "/nonexistent/admin.sock"})), "permissions", "fail", "admin.socket")
    expect(doctor(env, config(env, user="nobody")), "permissions", "fail", "nobody may not write")
    expect(doctor(env, config(env, user="no_such_user")), "permissions", "fail", "there is no user no_such_user")
    token = os.path.join(env.folder, "tokens")
    with open(token, "w") as file:
        file.write("secret\n")
    os.chmod(token, 0o644)
    found = doctor(env, config(env, admin={"token_file": token}))
    expect(found, "permissions", "fail", "others may read the tokens")
    check(any(fix == f"chmod o= {token}" for _v, _t, fix in found["permissions"]), found["permissions"])
    os.chmod(token, 0o640)
    expect(doctor(env, config(env, admin={"token_file": token})), "permissions", "ok")
    path = config(env)
    os.chmod(path, 0o666)
    expect(doctor(env, path), "permissions", "fail", "others may change")


def test_socket(env):
    path = os.path.join(env.folder, "left.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    expect(doctor(env, config(env, admin={"socket": path})), "socket", "warn", "left over")
    plain = os.path.join(env.folder, "plain")
    with open(plain, "w"):
        pass
    expect(doctor(env, config(env, admin={"socket": plain})), "socket", "fail", "is no socket")
    with socket.socket(socket.AF_UNIX) as wide:
        wide.bind(os.path.join(env.folder, "wide.sock"))
        wide.listen()
        os.chmod(os.path.join(env.folder, "wide.sock"), 0o666)
        expect(doctor(env, config(env, admin={"socket": os.path.join(env.folder, "wide.sock")})), "socket", "fail", "everybody")


def test_upstreams_without_a_daemon(env):
    port = free_port()
    found = doctor(env, config(env, routes=[route("one", "/one", legacy=env.up.url, modern=f"http://127.0.0.1:{port}")]))
    expect(found, "upstreams", "fail", f"127.0.0.1:{port} of route one", "Connection refused")
    equal(len(found["upstreams"]), 1, "only the one that is down")
    expect(doctor(env, config(env)), "upstreams", "ok")


def test_redis(env):
    def state(port):
        return config(env, state={"store": "redis", "url": f"redis://:secret@127.0.0.1:{port}/0", "path": os.path.join(env.folder, "s.json")})
    found = doctor(env, state(free_port()))
    expect(found, "redis", "fail", "Connection refused")
    check("secret" not in json.dumps(found), "the password is nowhere")
    for reply, verdict, word in ((b"+PONG\r\n", "ok", "answers"), (b"-NOAUTH Authentication required.\r\n", "ok", "password"),
                                 (b"HTTP/1.1 400 Bad Request\r\n\r\n", "fail", "not Redis"), (b"", "fail", "closed the connection")):
        server = socket.create_server(("127.0.0.1", 0))

        def answer():
            peer, _ = server.accept()
            if peer.recv(100) == b"PING\r\n":
                peer.sendall(reply)
            peer.close()
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        expect(doctor(env, state(server.getsockname()[1])), "redis", verdict, word)
        thread.join(5)
        server.close()


@table([("missing", "true", "auto", "fail", "there is no interface pv0"), ("good", VETH + "sysctl -qw net.ipv4.conf.pv0.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.pv0.rp_filter=0", "native", "ok", "pv0 (veth), MTU 1500"),
        ("down", "ip link add pv0 type veth peer name pv1", "auto", "fail", "pv0 is down"), ("mtu", VETH + "ip link set pv0 mtu 9000", "auto", "warn", "MTU of 9000"),
        ("forwarding", VETH + "sysctl -qw net.ipv4.conf.pv0.forwarding=0", "auto", "warn", "forwarding is 0"),
        ("rp-filter", VETH + "sysctl -qw net.ipv4.conf.pv0.rp_filter=1", "auto", "warn", "strict reverse path filter on pv0"),
        ("no-native-xdp", "ip link set lo name pv0; ip link set pv0 up", "native", "fail", "has no XDP of its own: xdp.mode native fails"),
        ("generic-then", "ip link set lo name pv0; ip link set pv0 up", "auto", "warn", "generic, slower mode")])
def test_interface(env, row):
    path = config(env, xdp={"interfaces": ["pv0"], "mode": row[2]})
    expect(doctor(env, path, in_net(row[1])), "interface", *row[3:])


def test_interfaces_of_different_mtu(env):
    path = config(env, xdp={"interfaces": ["pv0", "pv1"], "mode": "auto"})
    expect(doctor(env, path, in_net(VETH + "ip link set pv1 mtu 1400")), "interface", "warn", "pv0 has an MTU of 1500 and pv1 of 1400")


def test_syncookies(env):
    expect(doctor(env, config(env, **XDP), in_net(VETH + "sysctl -qw net.ipv4.tcp_syncookies=0")), "syncookies", "warn", "is 0")


def test_with_a_daemon(env):
    """What only the daemon can tell: a service that is down, a store that cannot write, a migration without samples."""
    dead = free_port()
    folder = os.path.join(scratch(), "state")
    os.mkdir(folder)
    gw = Gateway([route("quiet", "/quiet", legacy=env.up.url, modern=f"http://127.0.0.1:{dead}", sample=1.0, weight=1.0,
                        arbiter={"min_samples": 100, "enabled": True}, health={"eject_after": 2, "failover": False})],
                 state={"store": "file", "path": os.path.join(folder, "state.json")})
    try:
        found = doctor(env, None, admin=f"unix:{gw.socket_path}")
        expect(found, "daemon", "ok", "answers")
        expect(found, "ports", "ok", "answers")
        expect(found, "store", "ok", "file")
        gw.admin.ok("POST", "/admin/routes/quiet/rollback")
        gw.admin.ok("POST", "/admin/routes/quiet/retry")
        gw.admin.ok("POST", "/admin/routes/quiet/weight", {"weight": 0.5})
        expect(doctor(env, None, admin=f"unix:{gw.socket_path}"), "samples", "warn", "route quiet is", "no sample came")
        for _ in range(8):
            gw.ask("GET", "/quiet")
        wait_for("it being down", lambda: any(u["down"] for u in gw.admin.json("/admin/datapath")["upstreams"]))
        expect(doctor(env, None, admin=f"unix:{gw.socket_path}"), "upstreams", "fail", f"127.0.0.1:{dead} is down")
        os.mkdir(os.path.join(folder, "state.json.tmp"))  # in the way of the next write
        gw.admin.request("POST", "/admin/routes/quiet/weight", {"weight": 0.4})
        wait_for("the store saying so", lambda: gw.admin.json("/admin/status")["store"]["ok"] is False)
        expect(doctor(env, None, admin=f"unix:{gw.socket_path}"), "store", "fail", "does not work")
        gw.end()
        expect(doctor(env, gw.config_path, admin=f"unix:{gw.socket_path}"), "daemon", "fail", "not reachable")
    finally:
        gw.end()
        gw.remove()


def test_words_for_people(env):
    """The same as a table: a line each, a fix under what needs one, and how many failed."""
    status, out, err = run(built("phoenixctl"), "--admin", "unix:/nonexistent", "doctor", config(env))
    equal(status, 1)
    check("FAIL    daemon" in out and "fix: start it" in out and "1 check failed" in err, out, err)

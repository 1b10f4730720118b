# SPDX-License-Identifier: Apache-2.0
"""
lab: is the laboratory itself right? What the bad network does is measured from outside, frame by frame, with
numbered frames and packet sockets at both ends; the client that compares every byte is given servers that lie; and
the daemon path runs through it all as a first user.
"""
import os
import socket
import struct
import subprocess
import sys
import time

from lib.case import Bench, check, equal, table, timeout
from lib.lab import ROUTES, SIZES, Checker, Lab, LabGateway, content, sites
from lib.net import Client, response
from lib.process import Process, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix",)
FRAMES = 10000


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4, rto_min_ms=20))
    env.sites = sites(env.lab)
    env.gw = env.own(LabGateway(env.lab, [
        route(name, f"/{name}/*", legacy=env.sites[name, "legacy"].url, modern=env.sites[name, "modern"].url, weight=0.3)
        for name in ROUTES]))
    return env


def packet_socket(space, device, receive_mb=64):
    with space.inside():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        s.setsockopt(socket.SOL_SOCKET, 33, receive_mb << 20)  # SO_RCVBUFFORCE
        s.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
        s.bind((device, 0))
    return s


def numbered(link, number, from_endpoint):
    """A frame with an IPv4 header that says TCP, and a number where the ports would be."""
    macs = [bytes.fromhex(m.replace(":", "")) for m in (link.gateway_mac, link.mac)]
    if not from_endpoint:
        macs.reverse()
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 60, 0, 0, 64, 6, 0, b"\xc6\x12\x00\x09", b"\xc6\x12\x00\x08")
    return macs[0] + macs[1] + b"\x08\x00" + header + b"NUMBERED" + struct.pack(">I", number) + bytes(28)


def cross(env, name, from_endpoint, count=FRAMES):
    """Sends numbered frames over a link in small bursts; the numbers in the order in which they arrived."""
    link = env.lab.links[name]
    ends = [(link.endpoint, link.device), (link.lab.gateway, link.gateway_device)]
    if not from_endpoint:
        ends.reverse()
    sender, receiver = packet_socket(*ends[0]), packet_socket(*ends[1])
    receiver.settimeout(0.3)
    for number in range(count):
        sender.send(numbered(link, number, from_endpoint))
        if number % 50 == 49:
            time.sleep(0.002)
    got = []
    try:
        while True:
            frame = receiver.recv(2048)
            at = frame.find(b"NUMBERED")
            if at > 0:
                got.append(struct.unpack(">I", frame[at + 8:at + 12])[0])
    except TimeoutError:
        pass
    sender.close()
    receiver.close()
    return got


def measure(got, count):
    highest, late = -1, 0
    for number in got:
        late += number < highest
        highest = max(highest, number)
    return {"lost": count - len(set(got)), "doubled": len(got) - len(set(got)), "late": late}


def deltas(after, before):
    return {name: after[name] - before[name] for name in after}


@table([("nothing", 0, 0, 0), ("one-per-cent", 0.01, 0, 0), ("five-per-cent", 0.05, 0, 0), ("duplicates", 0, 0.05, 0),
        ("reordering", 0, 0, 0.05), ("everything", 0.02, 0.03, 0.04)])
def test_a_bad_network_is_as_bad_as_it_says(env, row):
    """Lost, doubled and late frames as counted by whoever is at the other end, in both directions."""
    _name, loss, duplicate, hold = row
    link = env.lab.links["up3"]
    link.impair(loss=loss, duplicate=duplicate, hold=hold, seed=7)
    for from_endpoint in (True, False):
        direction = "egress" if from_endpoint else "ingress"
        before = link.done()[direction]
        if from_endpoint:
            got = cross(env, "up3", True)
        else:
            # What the ingress program does is visible behind it: an endpoint counts in its own program, so
            # frames towards the endpoint are judged by the counters and by what `hold` sends on.
            got = None
            cross(env, "up3", False)
        did = deltas(link.done()[direction], before)
        equal(did["packets"], FRAMES, f"{direction}: frames that the program saw")
        for what, share in (("dropped", loss), ("duplicated", duplicate), ("held", hold)):
            want = share * FRAMES
            check(abs(did[what] - want) <= 5 * max(1, want) ** 0.5, f"{direction}: {did[what]} {what}, {want:g} wanted")
        if got is not None:
            seen = measure(got, FRAMES)
            equal(seen["lost"], did["dropped"], "lost frames, seen from the other end")
            equal(seen["doubled"], did["duplicated"], "doubled frames, seen from the other end")
            check(seen["late"] >= 0.9 * did["held"], "held frames were overtaken", seen, did)
            check(hold or duplicate or not seen["late"], "frames came late that nobody held", seen)
    link.impair()


def test_another_seed_loses_other_frames(env):
    link = env.lab.links["up2"]
    runs = []
    for seed in (3, 4):
        link.impair(loss=0.05, seed=seed)
        got = set(cross(env, "up2", True, 2000))
        runs.append({n for n in range(2000) if n not in got})
    check(runs[0] and runs[1] and runs[0] != runs[1], "both lose, but not the same", runs)
    link.impair()


def test_vlan_tags_are_on_the_wire(env):
    """The gateway's side sees 802.1Q frames with that tag; untagged again at the endpoint."""
    link = env.lab.links["up3"]
    link.impair(vlan=42)
    receiver = packet_socket(link.lab.gateway, link.gateway_device)
    receiver.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the kernel takes the tag off the frame and says it here
    receiver.settimeout(5)
    sender = packet_socket(link.endpoint, link.device)
    sender.send(numbered(link, 1, True))
    while True:
        frame, ancillary, _flags, _address = receiver.recvmsg(2048, 512)
        if b"NUMBERED" in frame:
            break
    tags = [struct.unpack("=IIIHHHH", data[:20])[5] for level, kind, data in ancillary if (level, kind) == (263, 8)]
    equal(tags, [42], "tag of the frame")
    sender.close()
    receiver.close()
    link.impair(vlan=0)


LIES = [
    ("wrong-byte", lambda number, body: (number, body[:50] + b"?" + body[51:], b"", "users-legacy"), "byte 50 of the body"),
    ("wrong-number", lambda number, body: (number + 1, body, b"", "users-legacy"), "the answer to request number"),
    ("wrong-upstream", lambda number, body: (number, body, b"", "orders-legacy"), "answered by orders-legacy"),
    ("other-side's-body", lambda number, body: (number, content("users", "modern", 200), b"", "users-legacy"), "byte"),
    ("short", lambda number, body: (number, body[:-1], b"", "users-legacy"), "Content-Length 199 instead of 200"),
    ("junk-after", lambda number, body: (number, body, b"junk", "users-legacy"), "after the end"),
]


@table(LIES)
def test_the_client_finds_lies(env, row):
    """A server that lies in one answer of fifty is found."""
    _name, lie, found = row
    body = content("users", "legacy", 200)

    def handler(ex):
        number = int(ex.get("x-number"))
        number_told, told, more, upstream = lie(number, body) if ex.number % 50 == 0 else (number, body, b"", "users-legacy")
        return response(200, told, {"X-Number": number_told, "X-Upstream": upstream}, reason="OK") + more
    with env.lab.inside("gateway"):
        liar = Upstream(handler, host="198.18.0.1", port=81)
    try:
        report = Checker(env.lab, ("198.18.0.1", 81), env.sites, routes=("users",), connections=2, requests=300).finish()
    finally:
        liar.stop()
    check(report["failures"] >= 2, "lies found", report)
    check(found in report["failed"][0], "what it says", report)


def test_the_client_finds_what_hangs(env):
    with env.lab.inside("gateway"):
        silent = Upstream(lambda ex: ex.wait_gone(10) and None, host="198.18.0.1", port=82)
    try:
        report = Checker(env.lab, ("198.18.0.1", 82), env.sites, connections=1, requests=1, hang_ms=300).finish()
    except AssertionError as error:
        raise AssertionError(f"it hung itself: {error}") from None
    finally:
        silent.stop()
    check(report["failures"] and "no answer for 300 ms" in report["failed"][0], "a hung request is said", report)


def test_daemon_through_the_lab(env):
    """Every size, both routes, four upstreams, IPv4 and IPv6: no byte wrong, the split exact."""
    for address in (env.gw.address, env.gw.address6):
        report = Checker(env.lab, address, env.sites, sizes=SIZES, requests=3000).finish()
        equal((report["failed"], report["answers"]), ([], 3000))
    for name in ROUTES:
        report = Checker(env.lab, env.gw.address, env.sites, routes=(name,), requests=2000).finish()
        equal((report["failed"], report["answers"]), ([], 2000))
        modern = report["sides"][name]["modern"]
        check(abs(modern - 600) <= 2, f"{modern} of 2000 at 0.3")


@timeout(120)
def test_daemon_over_a_bad_network(env):
    env.lab.impair(loss=0.01, duplicate=0.02, hold=0.03, seed=5)
    before = env.lab.impaired()
    report = Checker(env.lab, env.gw.address, env.sites, sizes=SIZES, requests=3000, connections=32).finish()
    did = deltas(env.lab.impaired(), before)
    env.lab.impair()
    equal((report["failed"], report["answers"]), ([], 3000))
    check(min(did["dropped"], did["duplicated"], did["held"]) > 50, "the network was bad", did)


def test_nothing_is_left_when_the_owner_is_killed(env):
    """A process with a lab of its own is killed: its namespaces end with it, its pins with the next lab."""
    script = ("import sys, time; sys.path.insert(0, sys.argv[1])\nfrom lib.lab import Lab\n"
              "lab = Lab(upstreams=1); print(lab.pins, *[s.path for s in lab.spaces.values()], flush=True); time.sleep(60)")
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    child = subprocess.Popen([sys.executable, "-c", script, tests], stdout=subprocess.PIPE, text=True)
    pins, *paths = child.stdout.readline().split()
    check(os.path.isdir(pins), "it pinned something", pins)
    inodes = {os.stat(p).st_ino for p in paths}
    child.kill()
    child.wait()
    alive = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                alive.add(os.stat(f"/proc/{entry}/ns/net").st_ino)
            except OSError:
                continue
    check(not inodes & alive, "somebody still lives in its namespaces")
    Lab(upstreams=1).stop()
    check(not os.path.exists(pins), "the pins of a dead owner are still there", pins)

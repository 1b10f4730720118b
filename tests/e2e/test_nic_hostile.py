# SPDX-License-Identifier: Apache-2.0
"""
nic hostile: packets that nobody should send: floods, forged SYNs, resets and data on live connections, wrong cookies, wrong
checksums, broken headers, a full flow table, a client that never ends. The live connection beside them must go on.
"""
import random
import socket
import struct
import threading
import time

from lib import nic
from lib.case import Bench, check, equal, table, timeout
from lib.lab import Checker, Lab, sites
from lib.net import Client, wait_for
from lib.nic import Count, gateway, right, site_routes
from lib.process import Skip

SUBJECTS = ("phoenix",)
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def setup():
    env = Bench()
    env.lab = env.own(Lab(upstreams=4))
    env.sites = sites(env.lab)
    env.gw = env.own(gateway(env.lab, site_routes(env.sites, (0.5, 0.5)), workers=2))
    return env


def ones(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packet(link, sport, dport, seq, ack, flags, data=b"", options=b"", source=None, window=64000, bad_checksum=False, ttl=64,
           total=None, offset=None, frame_more=b"", fragment=0):
    """An Ethernet frame from the client's link to the gateway with this TCP segment."""
    src, dst = socket.inet_aton(source or link.address), socket.inet_aton(link.gateway_address)
    offset = 5 + len(options) // 4 if offset is None else offset
    tcp = struct.pack(">HHIIBBHHH", sport, dport, seq & 0xffffffff, ack & 0xffffffff, offset << 4, flags, window, 0, 0) + options + data
    check_sum = ones(src + dst + struct.pack(">BBH", 0, 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack(">H", check_sum ^ (0x5555 if bad_checksum else 0)) + tcp[18:]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp) if total is None else total, 1, fragment, ttl, 6, 0) + src + dst
    head = head[:10] + struct.pack(">H", ones(head)) + head[12:]
    mac = [bytes.fromhex(m.replace(":", "")) for m in (link.gateway_mac, link.mac)]
    return mac[0] + mac[1] + b"\x08\x00" + head + tcp + frame_more


class Raw:
    """A packet socket on the client's device: sends frames, and hears what the gateway sends."""

    def __init__(self, env):
        self.link = env.lab.links["client"]
        with env.lab.inside("client"):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # all: before tc drops it
            self.sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
            self.sock.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
            self.sock.bind(("eth0", 0))

    def send(self, *args, **more):
        self.sock.send(packet(self.link, *args, **more))

    def hear(self, port, timeout_s=2.0, want=lambda t: True):
        """The next TCP segment to this port (None: to any) that `want` takes: {seq, ack, flags, data}, or None."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                frame = self.sock.recv(4096)
            except TimeoutError:
                return None
            at = 14 + (frame[14] & 15) * 4
            if frame[12:14] != b"\x08\x00" or frame[23] != 6 or len(frame) < at + 20:
                continue
            _sport, dport, seq, ack, offset, flags, window = struct.unpack(">HHIIBBH", frame[at:at + 16])
            total = struct.unpack(">H", frame[16:18])[0]
            segment = {"seq": seq, "ack": ack, "flags": flags, "window": window,
                       "data": frame[at + (offset >> 4) * 4:14 + total]}
            if port in (None, dport) and want(segment):
                return segment

    def close(self):
        self.sock.close()


def live(env):
    """An open connection that has had an answer, with where it stands: (client, port, next seq, next ack)."""
    with env.lab.inside("client"):
        client = Client(env.gw.address)
        listener = Raw(env)
    port = client.sock.getsockname()[1]
    client.send("GET /users/200 HTTP/1.1\r\nHost: lab\r\nX-Number: 1\r\n\r\n")
    equal(client.response().get("x-number"), "1")
    heard = None
    while segment := listener.hear(port, 0.01, lambda t: t["data"]):
        heard = segment
    listener.close()
    check(heard, "the answer was heard on the wire")
    return client, port, heard["ack"], (heard["seq"] + len(heard["data"])) & 0xffffffff


def goes_on(client, first=2, n=10):
    for i in range(first, first + n):
        equal(client.ask("GET", "/users/200", {"X-Number": str(i)}).get("x-number"), str(i), "the answer after an attack")


ATTACKS = [
    ("syn", lambda raw, port, seq, ack: raw.send(port, 80, seq + 77777, 0, SYN)),
    ("syn-same-seq", lambda raw, port, seq, ack: raw.send(port, 80, seq, 0, SYN)),
    ("syn-in-window", lambda raw, port, seq, ack: raw.send(port, 80, seq + 10, 0, SYN)),
    ("syn-with-data", lambda raw, port, seq, ack: raw.send(port, 80, seq + 9999, 0, SYN, b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n")),
    ("rst-blind", lambda raw, port, seq, ack: raw.send(port, 80, seq + 0x40000000, 0, RST)),
    ("rst-in-window", lambda raw, port, seq, ack: raw.send(port, 80, seq + 100, 0, RST)),
    ("rst-ack-old", lambda raw, port, seq, ack: raw.send(port, 80, seq - 5000, ack, RST | ACK)),
    ("fin-blind", lambda raw, port, seq, ack: raw.send(port, 80, seq + 0x30000000, ack, FIN | ACK)),
    ("data-blind", lambda raw, port, seq, ack: raw.send(port, 80, seq + 0x20000000, ack, ACK | PSH,
                                                        b"GET /users/13 HTTP/1.1\r\nHost: evil\r\n\r\n")),
    ("data-old", lambda raw, port, seq, ack: raw.send(port, 80, seq - 50, ack, ACK | PSH, b"x" * 50)),
    ("data-wrong-ack", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack + 0x30000000, ACK | PSH,
                                                            b"GET /users/13 HTTP/1.1\r\nHost: evil\r\n\r\n")),
    ("bad-checksum", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK | PSH,
                                                          b"GET /users/13 HTTP/1.1\r\nHost: evil\r\n\r\n", bad_checksum=True)),
    ("ack-far-ahead", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack + 100000, ACK)),
    ("no-flags", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, 0)),
    ("all-flags", lambda raw, port, seq, ack: raw.send(port, 80, seq + 5, ack, FIN | SYN | RST | PSH | ACK | URG)),
    ("short-header", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK, offset=4)),
    ("long-header", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK, offset=15)),
    ("total-too-long", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK, total=1400)),
    ("total-too-short", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK, total=30)),
    ("broken-options", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK, options=b"\x05\xff\x08\x00")),
    ("zero-length-option", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK, options=b"\x05\x00\x05\x00")),
    ("padding-behind", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK, frame_more=b"GET / HTTP/1.1\r\n\r\n")),
    ("fragment", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK | PSH, b"x" * 64, fragment=0x2000)),
    ("ttl-1", lambda raw, port, seq, ack: raw.send(port, 80, seq, ack, ACK, ttl=1)),
]


@table(ATTACKS)
def test_forged_packet_on_a_live_connection(env, row):
    """RFC 5961: whoever does not know where the connection stands can neither end it nor put words into it."""
    client, port, seq, ack = live(env)
    raw = Raw(env)
    for _ in range(3):
        row[1](raw, port, seq, ack)
    time.sleep(0.02)
    raw.close()
    goes_on(client)
    client.close()


def test_forged_packets_while_a_request_is_out(env):
    """The same between request and answer."""
    for name, attack in ATTACKS:
        if name in ("data-old", "ttl-1"):
            continue
        client, port, seq, ack = live(env)
        raw = Raw(env)
        request = b"GET /users/2000 HTTP/1.1\r\nHost: lab\r\nX-Number: 2\r\n\r\n"
        client.send(request)
        attack(raw, port, seq + len(request), ack)
        equal(client.response().get("x-number"), "2", f"the answer under {name}")
        raw.close()
        goes_on(client, 3, 3)
        client.close()


@timeout(60)
def test_syn_flood(env):
    """40,000 SYNs from forged addresses keep no state on the NIC path; who comes then is served."""
    with env.lab.inside("client"):
        before = Client(env.gw.address)
    goes_on(before, 1)
    raw = Raw(env)
    rng = random.Random(5)
    for i in range(40000):
        raw.send(rng.randrange(1024, 65535), 80, rng.randrange(1 << 32), 0, SYN, source=f"198.18.0.{rng.randrange(10, 250)}")
    raw.close()
    goes_on(before, 100)
    before.close()
    count = Count(env.gw)
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=1000, connections=32, per_connection=5).finish(), 1000)
    count.agrees(report)


@table([("ack", ACK, b""), ("data", ACK | PSH, b"GET /users/200 HTTP/1.1\r\nHost: lab\r\n\r\n"), ("fin", FIN | ACK, b""),
        ("syn-ack", SYN | ACK, b"")])
def test_packets_without_a_connection(env, row):
    """Wrong cookies: a reset (RFC 9293 3.10.7.1) or nothing, never an answer."""
    _name, flags, data = row
    raw = Raw(env)
    rng = random.Random(6)
    for _ in range(500):
        raw.send(rng.randrange(20000, 60000), 80, rng.randrange(1 << 32), rng.randrange(1 << 32), flags, data)
    heard = raw.hear(None, 0.3, lambda t: t["data"])
    check(not heard, "a packet with a made-up cookie got an answer", heard)
    raw.close()
    with env.lab.inside("client"):
        client = Client(env.gw.address)
    goes_on(client, 1)
    client.close()


def test_handshake_by_hand(env):
    """A client that is nobody's kernel: window of one segment, no options; a request; FIN."""
    raw = Raw(env)
    rng = random.Random(7)
    # The kernel of the client's namespace would reset what it does not know.
    source = "198.18.0.77"
    env.lab.gateway.ip(f"neighbour replace {source} lladdr {env.lab.links['client'].mac} dev eth0 nud permanent")
    for options, window in ((b"", 1000), (b"\x02\x04\x02\x18", 64000), (b"\x01\x03\x03\x0e\x02\x04\x05\xb4", 500)):
        port, seq = rng.randrange(20000, 60000), rng.randrange(1 << 32)
        raw.send(port, 80, seq, 0, SYN, options=options, source=source)
        answer = raw.hear(port, want=lambda t: t["flags"] & SYN)
        check(answer and answer["ack"] == (seq + 1) & 0xffffffff, "SYN-ACK", answer)
        ack = answer["seq"] + 1
        raw.send(port, 80, seq + 1, ack, ACK, source=source, window=window)
        request = b"GET /users/200 HTTP/1.1\r\nHost: lab\r\nX-Number: 9\r\n\r\n"
        raw.send(port, 80, seq + 1, ack, ACK | PSH, request, source=source, window=window)
        got = b""
        while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < 200:
            piece = raw.hear(port, want=lambda t: t["data"])
            check(piece, "an answer", got)
            if piece["seq"] == ack & 0xffffffff:
                got += piece["data"]
                ack += len(piece["data"])
            raw.send(port, 80, seq + 1 + len(request), ack, ACK, source=source, window=window)
        check(got.startswith(b"HTTP/1.1 200 OK\r\n") and b"X-Number: 9" in got.replace(b"x-number", b"X-Number"), "the answer", got)
        raw.send(port, 80, seq + 1 + len(request), ack, FIN | ACK, source=source, window=window)
        end = raw.hear(port, want=lambda t: t["flags"] & (FIN | RST))
        check(end, "an end that is answered")
        raw.send(port, 80, seq + 2 + len(request), ack + 1, ACK, source=source, window=window)
    raw.close()


def icmp_too_big(link, port, seq, mtu):
    """RFC 1191: a router between gateway and client says that a packet to the client's port did not fit."""
    quoted = struct.pack(">BBHHHBBH", 0x45, 0, 1500, 1, 0x4000, 63, 6, 0) + socket.inet_aton(link.gateway_address) + \
        socket.inet_aton(link.address)
    quoted = quoted[:10] + struct.pack(">H", ones(quoted)) + quoted[12:] + struct.pack(">HHI", 80, port, seq)
    icmp = struct.pack(">BBHHH", 3, 4, 0, 0, mtu) + quoted
    icmp = icmp[:2] + struct.pack(">H", ones(icmp)) + icmp[4:]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0) + socket.inet_aton("198.18.0.99") + \
        socket.inet_aton(link.gateway_address)
    head = head[:10] + struct.pack(">H", ones(head)) + head[12:]
    mac = [bytes.fromhex(m.replace(":", "")) for m in (link.gateway_mac, link.mac)]
    return mac[0] + mac[1] + b"\x08\x00" + head + icmp


def test_path_mtu(env):
    """A router's word that frames to a client are too big makes that client the daemon's, whose kernel knows path MTUs, and
    nobody else's segments smaller. One about bytes that were never sent (forged) changes nothing."""
    for forged in (True, False):
        client, port, _seq, ack = live(env)
        raw = Raw(env)
        raw.sock.send(icmp_too_big(raw.link, port, (ack + (0x40000000 if forged else 0)) & 0xffffffff, 900))
        raw.close()
        time.sleep(0.05)
        count = Count(env.gw)
        path = "daemon" if not forged or not nic.NIC else "xdp"
        client.send(b"GET /users/20000 HTTP/1.1\r\nHost: lab\r\nX-Number: 2\r\n\r\n")
        equal(client.response().get("x-number"), "2")
        client.close()
        again = live(env)[0]
        again.close()
        wait_for(f"two requests by {path}", lambda: count.of(path) == 2, 5)
    if nic.NIC:
        nic.forget_narrow(env.gw)


@timeout(90)
def test_more_connections_than_flows(env):
    """Idle connections over and over: those that find no flow are the daemon's, and all are answered."""
    with env.lab.inside("client"):
        clients = [Client(env.gw.address) for _ in range(1500)]
    count = Count(env.gw)
    for round_ in range(2):
        for i, client in enumerate(clients):
            number = str(round_ * 10000 + i)
            equal(client.ask("GET", "/users/200", {"X-Number": number}).get("x-number"), number)
    for client in clients:
        client.close()
    equal(sum(count.moved().values()), 3000, "requests counted")


@timeout(90)
def test_full_flow_table(env):
    """With room for 64 flows, 200 connections are all served: the rest by the daemon, and counted."""
    if not nic.NIC:
        raise Skip("no flow table with xdp.mode off")
    lab = Lab(upstreams=4)
    try:
        all_sites = sites(lab)
        gw = gateway(lab, site_routes(all_sites, (0.5, 0.5)), xdp={"ports": "20000-20063"})
        count = Count(gw)
        with lab.inside("client"):
            clients = [Client(gw.address) for _ in range(200)]
        for round_ in range(3):
            for i, client in enumerate(clients):
                number = str(round_ * 1000 + i)
                equal(client.ask("GET", "/users/200", {"X-Number": number}).get("x-number"), number)
        for client in clients:
            client.close()
        check(0 < count.of("xdp") <= 3 * 64 and count.of("daemon") >= 3 * 136, "64 flows, the rest by the daemon", count.moved())
        wait_for("flows to be free again", lambda: not right(
            Checker(lab, gw.address, all_sites, requests=500, connections=16).finish(), 500)["broken"], 10)
        gw.stop()
    finally:
        lab.stop()


def test_clients_that_vanish(env):
    """Connections whose clients are gone without a word, resets and half-closes in every phase; then all is well."""
    rng = random.Random(8)
    for i in range(300):
        with env.lab.inside("client"):
            client = Client(env.gw.address)
        phase = i % 6
        if phase >= 1:
            client.send(b"GET /users/20000 HTTP/1.1\r\nHost: lab\r\nX-Number: 1\r\n\r\n"[:None if phase > 1 else 20])
        if phase == 3:
            client.half_close()
            equal(client.response().get("x-number"), "1", "the answer to a client that has closed its side")
        if phase == 4:
            client.sock.recv(100)
        if phase == 5:
            client.response()
        rng.choice([client.close, client.reset])()
    count = Count(env.gw, settled=True)
    report = right(Checker(env.lab, env.gw.address, env.sites, requests=2000, connections=32, per_connection=10).finish(), 2000)
    count.agrees(report)

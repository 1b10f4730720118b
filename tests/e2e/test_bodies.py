# SPDX-License-Identifier: Apache-2.0
"""
bodies: large ones in both directions, with checksums, slow readers and writers, and the daemon's memory
watched all the while: nothing is ever wholly buffered.
"""
import threading
import time

from lib.case import Bench, check, equal, subjects, table, timeout
from lib.net import Checksum, Client, Pattern, ask, wait_for
from lib.process import Gateway, Nginx, route
from lib.upstream import Upstream

SUBJECTS = ("phoenix", "haproxy", "nginx")
MB = 1 << 20
BIG = 100 * MB
GROWTH_KB = 24 * 1024  # what the daemon may grow by, however large the body is


def setup():
    env = Bench()
    env.up = env.own(Upstream(receive_buffer=1 << 16))
    env.gw = env.own(Gateway([route(legacy=env.up.url)], limits={"upstream_timeout_ms": 20000}))
    ask(env.gw.address)
    env.base_kb = env.gw.memory_kb()
    return env


class Watch:
    """Samples the daemon's resident memory while something runs."""

    def __init__(self, env):
        self.env = env
        self.most_kb = 0
        self.on = True
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while self.on:
            try:
                self.most_kb = max(self.most_kb, self.env.gw.memory_kb())
            except (OSError, RuntimeError):
                return
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.on = False
        self.thread.join(1)
        if exc[0] is None and self.env.gw.subject == "phoenix" and not self.env.gw.sanitized:
            grown = self.most_kb - self.env.base_kb
            check(grown < GROWTH_KB, f"the daemon grew by {grown} KB, more than {GROWTH_KB} KB")


def send_pattern(sock, pattern, chunked):
    for piece in pattern.pieces():
        if chunked:
            sock.sendall(b"%x\r\n" % len(piece))
            sock.sendall(piece)
            sock.sendall(b"\r\n")
        else:
            sock.sendall(piece)
    if chunked:
        sock.sendall(b"0\r\n\r\n")


@timeout(90)
@table(["length", "chunked", "until-close"])
def test_download_100_mb(env, row):
    pattern = Pattern(BIG)

    def handler(ex):
        framing = {"length": b"Content-Length: %d\r\n" % BIG, "chunked": b"Transfer-Encoding: chunked\r\n",
                   "until-close": b"Connection: close\r\n"}[row]
        ex.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        send_pattern(ex.sock, pattern, row == "chunked")
        if row == "until-close":
            ex.close()
    env.up.handler = handler
    sink = Checksum()
    with Watch(env):
        answer = ask(env.gw.address, "GET", "/big", sink=sink, timeout_s=30)
    equal(answer.status, 200)
    equal((sink.total, sink.crc), (BIG, pattern.checksum()), "length and checksum")


@timeout(90)
@table(["length", "chunked"])
def test_upload_100_mb(env, row):
    pattern = Pattern(BIG)

    def handler(ex):
        sink = Checksum()
        ex.read_body(sink)
        return (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Total: %d\r\nX-Sum: %d\r\n\r\n" % (sink.total, sink.crc))
    env.up.handler = handler
    with Watch(env), Client(env.gw.address, timeout_s=30) as c:
        framing = f"Content-Length: {BIG}" if row == "length" else "Transfer-Encoding: chunked"
        c.send(f"POST /up HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n")
        send_pattern(c.sock, pattern, row == "chunked")
        answer = c.response()
    equal((answer.status, answer.get("x-total"), answer.get("x-sum")), (200, str(BIG), str(pattern.checksum())))


@timeout(60)
@table(["length", "chunked"])
def test_echo_both_directions_at_once(env, row):
    """The upstream sends back what it reads while it reads: both directions stream at the same time."""
    total = 20 * MB
    pattern = Pattern(total)

    def handler(ex):
        ex.send(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: %d\r\n\r\n" % total if row == "length" else
                                          b"Transfer-Encoding: chunked\r\n\r\n"))
        put = ex.sock.sendall if row == "length" else lambda d: ex.sock.sendall(b"%x\r\n" % len(d) + d + b"\r\n")
        ex.read_body(put)
        if row == "chunked":
            ex.send(b"0\r\n\r\n")
    env.up.handler = handler
    sink = Checksum()
    with Watch(env), Client(env.gw.address, timeout_s=30) as c:
        framing = f"Content-Length: {total}" if row == "length" else "Transfer-Encoding: chunked"
        c.send(f"POST /echo HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n")
        sender = threading.Thread(target=send_pattern, args=(c.sock, pattern, row == "chunked"), daemon=True)
        sender.start()
        answer = c.response(sink=sink)
        sender.join(10)
    equal(answer.status, 200)
    equal((sink.total, sink.crc), (total, pattern.checksum()))


@table([0, 1, 2, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 131071, 131072, 131073, 1000000])
def test_sizes_around_buffers(env, row):
    def handler(ex):
        body = ex.read_body()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    env.up.handler = handler
    body = bytes(i * 7 & 0xff for i in range(row)) if row < 70000 else Pattern.BLOCK * (row // 65536) + b"z" * (row % 65536)
    with Client(env.gw.address) as c:
        check(c.ask("POST", "/", body=body).body == body, "Content-Length")
        raw = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 30000]), body[i:i + 30000]) for i in range(0, len(body), 30000))
        check(c.ask("POST", "/", {"Transfer-Encoding": "chunked"}, raw + b"0\r\n\r\n").body == body, "chunked")


@subjects("phoenix")
@timeout(60)
def test_slow_reader_holds_the_upstream_back(env):
    """A client that does not read: the upstream's writes stall, the daemon's memory does not grow."""
    sent = [0]
    done = threading.Event()

    def handler(ex):
        ex.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        ex.sock.settimeout(20)
        try:
            for piece in Pattern(BIG).pieces():
                ex.sock.sendall(piece)
                sent[0] += len(piece)
        except OSError:
            pass
        done.set()
        ex.close()
    env.up.handler = handler
    with Watch(env):
        client = Client(env.gw.address, receive_buffer=1 << 16)
        client.request("GET", "/big")
        client.reader.response_head()
        wait_for("the stream to flow", lambda: sent[0] > 0)
        last = -1
        while sent[0] != last:  # until nothing moves any more
            last = sent[0]
            time.sleep(0.4)
        check(sent[0] < 40 * MB, f"{sent[0]} bytes were taken from the upstream for a client that reads nothing")
        check(not done.is_set())
        # and it goes on when the client reads again
        before = sent[0]
        for _ in range(60):
            client.reader.fill()
            client.reader.take(len(client.reader.buffer))
        wait_for("the stream to go on", lambda: sent[0] > before)
        client.reset()
        wait_for("the upstream to notice", done.is_set)


@subjects("phoenix")
@timeout(60)
def test_upstream_that_does_not_read_holds_the_client_back(env):
    release = threading.Event()

    def handler(ex):
        release.wait(20)
        sink = Checksum()
        ex.read_body(sink)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Sum: %d\r\n\r\n" % sink.crc
    env.up.handler = handler
    total = 60 * MB
    pattern = Pattern(total)
    sent = [0]
    with Watch(env), Client(env.gw.address, timeout_s=30) as c:
        c.send(f"POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: {total}\r\n\r\n")

        def push():
            for piece in pattern.pieces():
                c.sock.sendall(piece)
                sent[0] += len(piece)
        sender = threading.Thread(target=push, daemon=True)
        sender.start()
        wait_for("the stream to flow", lambda: sent[0] > 0)
        last = -1
        while sent[0] != last:
            last = sent[0]
            time.sleep(0.4)
        check(sent[0] < 40 * MB, f"{sent[0]} bytes were taken from the client for an upstream that reads nothing")
        release.set()
        answer = c.response()
        sender.join(10)
        equal((answer.status, answer.get("x-sum")), (200, str(pattern.checksum())))


@subjects("phoenix")
@timeout(60)
def test_many_slow_readers(env):
    """A hundred of them: memory stays within what a hundred connections' buffers are, others are served."""
    total = 4 * MB

    def handler(ex):
        if ex.target == "/fine":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
        ex.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        try:
            send_pattern(ex.sock, Pattern(total), False)
        except OSError:
            pass
        ex.close()
    env.up.handler = handler
    clients = []
    try:
        for _ in range(100):
            c = Client(env.gw.address, receive_buffer=1 << 14)
            c.request("GET", "/big")
            clients.append(c)
        for c in clients:
            c.reader.response_head()
        for _ in range(20):
            equal(ask(env.gw.address, "GET", "/fine").body, b"fine")
        if not env.gw.sanitized:
            grown = env.gw.memory_kb() - env.base_kb
            check(grown < 64 * 1024, f"100 slow readers cost {grown} KB")
    finally:
        for c in clients:
            c.reset()


@timeout(60)
def test_nginx_file_100_mb(env):
    """The same through a real server: sendfile on one side, our checksum on the other."""
    server = Nginx("server { listen 127.0.0.1:{port0}; root {dir}; sendfile on; }")
    pattern = Pattern(BIG)
    import os
    with open(os.path.join(server.directory, "big"), "wb") as file:
        for piece in pattern.pieces():
            file.write(piece)
    server.start()
    gw = Gateway([route(legacy=server.url())])
    try:
        sink = Checksum()
        answer = ask(gw.address, "GET", "/big", sink=sink, timeout_s=30)
        equal((answer.status, sink.total, sink.crc), (200, BIG, pattern.checksum()))
        sink = Checksum()
        answer = ask(gw.address, "GET", "/big", {"Range": "bytes=1000000-1999999"}, sink=sink)
        equal((answer.status, sink.total), (206, 1000000))
    finally:
        gw.stop()
        server.end()
        server.remove()

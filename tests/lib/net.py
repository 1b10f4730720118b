# SPDX-License-Identifier: Apache-2.0
"""
net: raw HTTP/1.1 over sockets, for both ends of the proxy under test.

The point is to say exactly which bytes travel and to read strictly what comes back: `Reader` frames messages
by RFC 9112 section 6 and raises `Malformed` for anything that two readers could understand differently, and
`Cut` for a message that ends early. http.client and friends repair too much to be of use here.
"""
import os
import random
import re
import socket
import struct
import time
import zlib

TIMEOUT_S = 10.0
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)\r\n")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*"
                        rb"[\x21-\x7e\x80-\xff])?)?)[ \t]*\r\n")
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n")


class Malformed(AssertionError):
    """The peer broke RFC 9112."""


class Cut(Exception):
    """The message ended before its framing says it does. `reset` tells a RST from a FIN."""

    def __init__(self, what, partial=b"", reset=False):
        super().__init__(f"{what} ({len(partial)} bytes so far{', reset' if reset else ''})")
        self.partial = partial
        self.reset = reset


_used_ports = set()


def free_port():
    """A free loopback port below the ephemeral range, so that no client socket can take it meanwhile.
    Each worker of the runner has its own thousand (PHX_TEST_SLOT)."""
    base = 12000 + 2000 * (int(os.environ.get("PHX_TEST_SLOT", "0")) % 9)
    for _ in range(4000):
        port = base + random.randrange(2000)
        if port in _used_ports:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _used_ports.add(port)
        return port
    raise RuntimeError("no free port between %d and %d" % (base, base + 2000))


def wait_for(what, condition, timeout_s=TIMEOUT_S, every_s=0.02):
    """Polls until condition() is true and returns its value; fails with the last value otherwise."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain for: {what} (last: {value!r})")
        time.sleep(every_s)


class Message:
    """A request or a response. Names of fields are kept as sent, in order."""

    def __init__(self):
        self.head = b""
        self.method = self.target = None
        self.status = self.reason = None
        self.minor = 1
        self.fields = []
        self.body = b""
        self.trailers = []
        self.interim = []
        self.framing = None
        self.body_raw = b""

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def json(self):
        import json
        return json.loads(self.body)

    def __repr__(self):
        start = self.status if self.status is not None else f"{self.method} {self.target}"
        return f"<{start} {self.fields} body={self.body[:200]!r}>"


def parse_fields(block):
    fields, at = [], 0
    while at < len(block):
        match = FIELD_LINE.match(block, at)
        if not match:
            raise Malformed(f"bad field line at {block[at:at + 80]!r}")
        fields.append((match[1].decode(), match[2].decode("latin-1")))
        at = match.end()
    return fields


class Reader:
    """Reads messages from a socket, strictly."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.eof = False

    def fill(self):
        """One recv; False at the end of the stream."""
        if self.eof:
            return False
        data = self.sock.recv(262144)
        if not data:
            self.eof = True
            return False
        self.buffer += data
        return True

    def take(self, n):
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def until(self, mark, limit, what):
        start = 0
        while True:
            at = self.buffer.find(mark, start)
            if at >= 0:
                return self.take(at + len(mark))
            start = max(0, len(self.buffer) - len(mark) + 1)
            if len(self.buffer) > limit:
                raise Malformed(f"{what} longer than {limit} bytes")
            try:
                more = self.fill()
            except ConnectionResetError:
                raise Cut(what, bytes(self.buffer), reset=True) from None
            if not more:
                raise Cut(what, bytes(self.buffer))

    def exactly(self, n, what, sink=None):
        """n bytes, given to sink(data) in pieces when there is one."""
        if sink is None:
            while len(self.buffer) < n:
                try:
                    more = self.fill()
                except ConnectionResetError:
                    raise Cut(what, bytes(self.buffer), reset=True) from None
                if not more:
                    raise Cut(what, bytes(self.buffer))
            return self.take(n)
        while n:
            if not self.buffer:
                try:
                    more = self.fill()
                except ConnectionResetError:
                    raise Cut(what, reset=True) from None
                if not more:
                    raise Cut(what)
            piece = self.take(min(n, len(self.buffer)))
            n -= len(piece)
            sink(piece)
        return b""

    def head(self, limit=1 << 20):
        head = self.until(b"\r\n", limit, "start line")
        while not head.endswith(b"\r\n\r\n"):
            head += self.until(b"\r\n", limit, "head")
        return head

    def chunked(self, message, sink=None):
        body = []
        raw = []
        put = sink or body.append
        while True:
            line = self.until(b"\r\n", 4096, "chunk size")
            raw.append(line)
            match = re.fullmatch(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[^\r\n]*)?)\r\n", line)
            if not match:
                raise Malformed(f"bad chunk size {line!r}")
            size = int(match[1], 16)
            if size == 0:
                break
            data = self.exactly(size, "chunk data", sink)
            if not sink:
                put(data)
                raw.append(data)
            if self.exactly(2, "chunk end") != b"\r\n":
                raise Malformed("chunk data not followed by CRLF")
            raw.append(b"\r\n")
        block = b""
        while True:
            line = self.until(b"\r\n", 65536, "trailer section")
            raw.append(line)
            if line == b"\r\n":
                break
            block += line
        message.trailers = parse_fields(block)
        message.body = b"".join(body)
        message.body_raw = b"".join(raw)

    def framing(self, message):
        """Checks the framing fields and returns "chunked", a length, or None (no length given)."""
        lengths, codings = message.all("content-length"), message.all("transfer-encoding")
        if lengths and codings:
            raise Malformed("both Content-Length and Transfer-Encoding")
        if len(lengths) > 1:
            raise Malformed(f"several Content-Length fields: {lengths}")
        if codings:
            if [c.lower() for c in codings] != ["chunked"]:
                raise Malformed(f"Transfer-Encoding {codings}")
            if message.minor == 0:
                raise Malformed("Transfer-Encoding in HTTP/1.0")
            return "chunked"
        if lengths:
            if not re.fullmatch(r"[0-9]{1,19}", lengths[0]):
                raise Malformed(f"Content-Length {lengths[0]!r}")
            return int(lengths[0])
        return None

    def request_head(self):
        message = Message()
        message.head = self.head()
        match = REQUEST_LINE.match(message.head)
        if not match:
            raise Malformed(f"bad request line {message.head[:120]!r}")
        message.method, message.target = match[1].decode(), match[2].decode("latin-1")
        message.minor = int(match[3])
        message.fields = parse_fields(message.head[match.end():-2])
        message.framing = self.framing(message)
        return message

    def request_body(self, message, sink=None):
        if message.framing == "chunked":
            self.chunked(message, sink)
        elif message.framing:
            message.body = self.exactly(message.framing, "body", sink)
            message.body_raw = message.body
        return message

    def response_head(self):
        message = Message()
        message.head = self.head()
        match = STATUS_LINE.match(message.head)
        if not match:
            raise Malformed(f"bad status line {message.head[:120]!r}")
        message.minor, message.status = int(match[1]), int(match[2])
        message.reason = match[3].decode("latin-1")
        message.fields = parse_fields(message.head[match.end():-2])
        message.framing = self.framing(message)
        return message

    def response(self, method="GET", sink=None):
        """A final response with its interim ones in .interim. A body that is ended by the connection's end
        leaves framing None; whether that was a FIN is asserted by reading it."""
        interim = []
        while True:
            message = self.response_head()
            if message.status >= 200 or message.status == 101:
                break
            if message.framing is not None:
                raise Malformed(f"{message.status} with a framing field")
            interim.append(message)
        message.interim = interim
        if method == "HEAD" or message.status in (101, 204, 304):
            if message.status in (101, 204) and message.framing is not None:
                raise Malformed(f"{message.status} with a framing field")
            return message
        if message.framing == "chunked":
            self.chunked(message, sink)
        elif message.framing is not None:
            message.body = self.exactly(message.framing, "body", sink)
        else:
            pieces = []
            put = sink or pieces.append
            while True:
                if self.buffer:
                    put(self.take(len(self.buffer)))
                try:
                    if not self.fill():
                        break
                except ConnectionResetError:
                    raise Cut("body until close", b"".join(pieces), reset=True) from None
            message.body = b"".join(pieces)
        return message

    def rest(self, limit=1 << 24):
        """Everything until the end of the stream; a reset counts as an end."""
        try:
            while len(self.buffer) < limit and self.fill():
                pass
        except ConnectionResetError:
            self.eof = True
        return self.take(len(self.buffer))


class Client:
    """A client connection that sends just the bytes it is told to."""

    def __init__(self, address, timeout_s=TIMEOUT_S, receive_buffer=None, source=None):
        family = socket.AF_UNIX if isinstance(address, str) else (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.sock = socket.socket(family)
        self.sock.settimeout(timeout_s)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, *pieces, pause_s=0.0):
        """Each piece is a send of its own (TCP_NODELAY: a segment of its own, where it fits)."""
        for i, piece in enumerate(pieces):
            if i and pause_s:
                time.sleep(pause_s)
            self.sock.sendall(piece if isinstance(piece, (bytes, bytearray, memoryview)) else piece.encode())
        return self

    def send_tolerant(self, *pieces, pause_s=0.0):
        """The same; False when the peer has closed meanwhile (which a refusal may well do)."""
        try:
            self.send(*pieces, pause_s=pause_s)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def request(self, method="GET", target="/", fields=(), body=None, minor=1, host="test"):
        lines = [f"{method} {target} HTTP/1.{minor}"]
        fields = list(fields.items()) if isinstance(fields, dict) else list(fields)
        if host is not None and not any(n.lower() == "host" for n, _ in fields):
            lines.append(f"Host: {host}")
        lines += [f"{n}: {v}" for n, v in fields]
        framed = any(n.lower() in ("content-length", "transfer-encoding") for n, _ in fields)
        if body is not None and not framed:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))
        return self

    def ask(self, method="GET", target="/", fields=(), body=None, minor=1, host="test", sink=None):
        self.request(method, target, fields, body, minor, host)
        return self.response(method, sink)

    def response(self, method="GET", sink=None):
        return self.reader.response(method, sink)

    def ended(self, timeout_s=TIMEOUT_S):
        """True when the peer closes within the time without another byte."""
        if self.reader.buffer:
            return False
        self.sock.settimeout(timeout_s)
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def ask(address, method="GET", target="/", fields=(), body=None, **more):
    """One request on a connection of its own."""
    with Client(address, timeout_s=more.pop("timeout_s", TIMEOUT_S)) as client:
        return client.ask(method, target, fields, body, **more)


def chunks(*pieces, trailers=()):
    """A chunked body of these pieces."""
    out = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces)
    return out + b"0\r\n" + b"".join(b"%s: %s\r\n" % (n.encode(), v.encode()) for n, v in trailers) + b"\r\n"


def response(status=200, body=b"", fields=(), reason="Fine", minor=1, length=True):
    """The bytes of a response with a Content-Length."""
    if isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.{minor} {status} {reason}"]
    lines += [f"{n}: {v}" for n, v in (fields.items() if isinstance(fields, dict) else fields)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class Pattern:
    """A stream of n pseudo-random bytes and its checksum, without holding it: 100 MB cost nothing."""

    BLOCK = random.Random(7).randbytes(1 << 16)

    def __init__(self, total):
        self.total = total

    def pieces(self, size=1 << 16):
        left, i = self.total, 0
        while left:
            n = min(left, size)
            start = (i * 257) % 1024
            piece = (self.BLOCK + self.BLOCK[:1024])[start:start + n] if n <= 1 << 16 else None
            if piece is None or len(piece) < n:
                piece = (self.BLOCK * (n // len(self.BLOCK) + 2))[start:start + n]
            yield piece
            left -= n
            i += 1

    def checksum(self, size=1 << 16):
        crc = 0
        for piece in self.pieces(size):
            crc = zlib.crc32(piece, crc)
        return crc


class Checksum:
    """A sink that counts and sums."""

    def __init__(self, pause=None):
        self.crc = 0
        self.total = 0
        self.pause = pause

    def __call__(self, data):
        self.crc = zlib.crc32(data, self.crc)
        self.total += len(data)
        if self.pause:
            self.pause(self)

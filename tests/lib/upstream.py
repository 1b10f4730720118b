# SPDX-License-Identifier: Apache-2.0
"""
upstream: a server that does exactly what a test says, also when that is wrong.

A handler gets an `Exchange`: the request's head is read (and kept as raw bytes), everything else, reading the
body, answering, waiting, closing, resetting, is the handler's to do. What it leaves undone is done for it:
a handler that returns bytes sends them, a body that nobody read is read. One thread a connection.

`Upstream.raw_bytes` counts every byte that arrived: "nothing reached the upstream" is a fact, not a guess.
"""
import socket
import struct
import threading
import time

from .net import Cut, Malformed, Reader, free_port, response


class Exchange:
    def __init__(self, upstream, sock, reader, message, connection, number):
        self.upstream = upstream
        self.sock = sock
        self.reader = reader
        self.request = message
        self.connection = connection  # which connection, from 1
        self.number = number          # which request on it, from 1
        self.read = False             # the body was read whole
        self.cut = None               # what went wrong while reading it
        self.open = True
        self.at = time.monotonic()

    method = property(lambda self: self.request.method)
    target = property(lambda self: self.request.target)
    head = property(lambda self: self.request.head)
    body = property(lambda self: self.request.body)

    def get(self, name, default=None):
        return self.request.get(name, default)

    def all(self, name):
        return self.request.all(name)

    def read_body(self, sink=None):
        if not self.read:
            try:
                self.reader.request_body(self.request, sink)
            except (Cut, OSError, Malformed) as error:
                self.cut = error
                self.open = False
                raise
            self.read = True
        return self.request.body

    def send(self, *pieces, pause_s=0.0):
        for i, piece in enumerate(pieces):
            if i and pause_s:
                time.sleep(pause_s)
            self.sock.sendall(piece)
        return self

    def close(self):
        self.open = False
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.open = False
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_gone(self, timeout_s=10.0):
        """True when the other end closes (or resets) within the time."""
        self.sock.settimeout(timeout_s)
        try:
            while self.sock.recv(65536):
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True


class _Counting:
    """Counts what a socket delivers."""

    def __init__(self, sock, upstream):
        self.sock = sock
        self.upstream = upstream

    def recv(self, n):
        data = self.sock.recv(n)
        with self.upstream.lock:
            self.upstream.raw_bytes += len(data)
        return data


class Upstream:
    """handler(exchange) -> bytes or None. The default answers 200 with `body`."""

    def __init__(self, handler=None, body=b"hello", host="127.0.0.1", receive_buffer=None, port=None):
        self.handler = handler or (lambda ex: response(200, body))
        self.host = host
        self.lock = threading.Lock()
        self.seen = []           # every exchange, in order of its head's arrival
        self.refused = []        # Malformed: what reached us and is no HTTP
        self.errors = []         # exceptions of handlers
        self.raw_bytes = 0
        self.accepted = 0
        self.live = set()
        self.stopping = False
        self.port = port or free_port()
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((host, self.port))
        self.listener.listen(512)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def forget(self):
        with self.lock:
            self.seen, self.refused, self.errors, self.raw_bytes, self.accepted = [], [], [], 0, len(self.live)

    def last(self):
        return self.seen[-1]

    def close_idle(self):
        """Closes every connection, as a server does whose keep-alive time is over."""
        with self.lock:
            live = list(self.live)
        for sock in live:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.stopping = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.close_idle()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.accepted += 1
                self.live.add(sock)
                number = self.accepted
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, connection):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(_Counting(sock, self))
        number = 0
        try:
            while not self.stopping:
                try:
                    message = reader.request_head()
                except Malformed as error:
                    with self.lock:
                        self.refused.append(error)
                    break
                except Cut as cut:
                    if cut.partial:
                        with self.lock:
                            self.refused.append(cut)
                    break
                number += 1
                exchange = Exchange(self, sock, reader, message, connection, number)
                with self.lock:
                    self.seen.append(exchange)
                answer = self.handler(exchange)
                if not exchange.open:
                    break
                exchange.read_body()
                if answer is not None:
                    sock.sendall(answer)
                if (exchange.get("connection") or "").lower() == "close":
                    break
        except (Cut, OSError):
            pass
        except Exception as error:  # a bug of the test or a breach of the protocol: shown by the test
            with self.lock:
                self.errors.append(error)
        finally:
            with self.lock:
                self.live.discard(sock)
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            sock.close()

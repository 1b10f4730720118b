# SPDX-License-Identifier: Apache-2.0
"""
admin: the REST interface as a test sees it, over TCP or over the Unix socket.

`route()` gives one flat view of a route's state wherever a figure stands in the answers.
"""
import http.client
import json
import socket

from .net import Client, wait_for


class Reply:
    def __init__(self, status, fields, body):
        self.status = status
        self.fields = fields
        self.body = body

    def get(self, name, default=None):
        for n, v in self.fields:
            if n.lower() == name.lower():
                return v
        return default

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.get('content-type')} {self.body[:600]!r}>"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Admin:
    def __init__(self, address):
        self.address = address  # (host, port) or the path of a socket

    def request(self, method, path, body=None, fields=None, timeout_s=15):
        if isinstance(self.address, str):
            link = _UnixConnection(self.address, timeout_s)
        else:
            link = http.client.HTTPConnection(*self.address, timeout=timeout_s)
        fields = dict(fields or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        if method not in ("GET", "HEAD") and not any(n.lower() == "content-type" for n in fields):
            fields["Content-Type"] = "application/json"
        fields = {n: v for n, v in fields.items() if v is not None}
        try:
            link.request(method, path, body, fields)
            answer = link.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())
        finally:
            link.close()

    def get(self, path, **fields):
        return self.request("GET", path, None, fields)

    def json(self, path):
        reply = self.request("GET", path)
        assert reply.status == 200, f"GET {path}: {reply}"
        return reply.json()

    def post(self, path, body=None, **more):
        return self.request("POST", path, {} if body is None else body, **more)

    def ok(self, method, path, body=None, **more):
        reply = self.request(method, path, {} if body is None and method != "DELETE" else body, **more)
        assert 200 <= reply.status < 300, f"{method} {path}: {reply}"
        return reply

    def set_weight(self, route, weight, reason="a test"):
        reply = self.ok("POST", f"/admin/routes/{route}/weight", {"weight": weight, "reason": reason})
        return reply.json()

    def weight(self, route):
        return self.json(f"/admin/routes/{route}/weight")

    def items(self, path, name):
        """A list, whether it comes bare or under its name."""
        doc = self.json(path)
        if isinstance(doc, list):
            return doc
        if name in doc:
            return doc[name]
        lists = [v for v in doc.values() if isinstance(v, list)]
        assert lists, f"GET {path}: no list in {doc}"
        return lists[0]

    def route(self, route):
        for item in self.items("/admin/status", "routes"):
            if item.get("id") == route:
                return item
        raise AssertionError(f"no route {route!r} in /admin/status")

    def wait_state(self, route, *states, timeout_s=20):
        def look():
            item = self.route(route)
            return item if item.get("state") in states else None
        try:
            return wait_for(f"route {route} {' or '.join(states)}", look, timeout_s, 0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.route(route)}") from None

    def metrics(self):
        """{'name{labels}': value}"""
        reply = self.request("GET", "/metrics")
        assert reply.status == 200, reply
        out = {}
        for line in reply.body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                out[name] = float(value)
        return out

    def metric(self, name, **labels):
        """The sum of the samples of this name that carry these labels."""
        total, found = 0.0, False
        for key, value in self.metrics().items():
            base = key.split("{", 1)[0]
            if base == name and all(f'{n}="{v}"' in key for n, v in labels.items()):
                total += value
                found = True
        return total if found else None


class Events:
    """An SSE stream: next() gives {'id':…, 'event':…, 'data':…}."""

    def __init__(self, address, last_id=None, path="/admin/events"):
        self.client = Client(address, timeout_s=15)
        more = f"Last-Event-ID: {last_id}\r\n" if last_id is not None else ""
        self.client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{more}\r\n")
        self.head = self.client.reader.response_head()
        self.text = b""

    def _more(self):
        reader = self.client.reader
        if self.head.framing == "chunked":
            size = int(reader.until(b"\r\n", 1024, "chunk size").split(b";")[0], 16)
            if size == 0:
                return False
            self.text += reader.exactly(size, "chunk")
            reader.exactly(2, "chunk end")
            return True
        if not reader.buffer and not reader.fill():
            return False
        self.text += reader.take(len(reader.buffer))
        return True

    def next(self):
        while True:
            self.text = self.text.replace(b"\r\n", b"\n")
            while b"\n\n" in self.text:
                block, self.text = self.text.split(b"\n\n", 1)
                event = {}
                for line in block.decode().split("\n"):
                    if line and not line.startswith(":"):
                        name, _, value = line.partition(":")
                        value = value[1:] if value.startswith(" ") else value
                        event[name] = event[name] + "\n" + value if name in event else value
                if "data" in event:
                    return event
            if not self._more():
                raise AssertionError("the event stream ended")

    def close(self):
        self.client.close()

# SPDX-License-Identifier: Apache-2.0
"""
nic: what the tests of the NIC path share: the mode under test, the counters, and the odd upstream.

PHX_TEST_XDP says what `xdp.mode` the gateway gets: native (the default: veth can), generic, auto, or off: then the same
tests run over the daemon alone, and show which of their demands are not the NIC path's own. With generic, tests on a
bad network are skipped: the kernel does not show generic XDP what tc redirected before, and that is how the lab's
duplicates and held packets come (Linux do_xdp_generic(): skb_is_redirected()).

A client's count means nothing by itself (a local listener once answered a benchmark): `Count` compares it with
what the gateway says each path served, route by route and side by side.
"""
import hashlib
import json
import os
import re
import struct
import time

from .case import check, equal
from .lab import ROUTES, LabGateway, bpftool, content
from .net import chunks, response, wait_for
from .process import Skip, route

MODE = os.environ.get("PHX_TEST_XDP", "native")
NIC = MODE != "off"
PATH = "xdp" if NIC else "daemon"


def gateway(lab, routes, **config):
    return LabGateway(lab, routes, mode=config.pop("mode", MODE), **config)


def bad_network(lab, **shares):
    """lab.impair(), where it can be had."""
    if MODE == "generic" and any(shares.get(name) for name in ("duplicate", "hold")):
        raise Skip("generic XDP does not see packets that tc redirected")
    lab.impair(**shares)


def site_routes(sites, weights=(0.3, 0.7), six=False, **more):
    """The two routes over the four sites of lab.sites()."""
    url = "url6" if six else "url"
    return [route(name, f"/{name}/*", legacy=getattr(sites[name, "legacy"], url), modern=getattr(sites[name, "modern"], url),
                  weight=weight, **more) for name, weight in zip(ROUTES, weights)]


class Count:
    """phoenix_requests_total from a moment on, by (route, side) and path. settled: that moment is when the counters
    have not moved for a while, because requests of clients that went away may still be counted."""

    def __init__(self, gw, settled=False):
        self.gw = gw
        self.start = self._read()
        while settled:
            time.sleep(0.3)
            before, self.start = self.start, self._read()
            settled = before != self.start

    def _read(self):
        out = {}
        for key, value in self.gw.admin.metrics().items():
            if key.startswith("phoenix_requests_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', key))
                name = (labels["route"], labels["backend"], labels["path"])
                out[name] = out.get(name, 0) + int(value)
        return out

    def moved(self):
        now = self._read()
        return {name: n - self.start.get(name, 0) for name, n in now.items()}

    def of(self, path, route=None):
        return sum(n for (r, _side, p), n in self.moved().items() if p == path and route in (None, r))

    def agrees(self, report, at_least=0.99, exact=True):
        """The gateway counted what the client counted, and (in a NIC mode) the NIC path served nearly all of it."""
        want = {(r, side): n for r, sides in report["sides"].items() for side, n in sides.items() if n}

        def counted():
            out = {}
            for (r, side, _path), n in self.moved().items():
                if n:
                    out[r, side] = out.get((r, side), 0) + n
            return out
        try:
            if exact:
                wait_for("the gateway's count", lambda: counted() == want, 5)
            else:
                wait_for("the gateway's count", lambda: all(counted().get(k, 0) >= n for k, n in want.items()), 5)
        except AssertionError:
            raise AssertionError(f"the client counted {want}, the gateway {counted()}; by path {self.moved()}") from None
        total = sum(want.values())
        check(self.of(PATH) >= at_least * total, f"{PATH} served {self.of(PATH)} of {total}", self.moved(),
              {name: n for name, n in self.gw.admin.json("/admin/datapath")["xdp"]["reasons"].items() if n} if NIC else "")


def right(report, answers=None):
    """Not one wrong byte, nothing hung, nothing broken."""
    equal((report["failures"], report["failed"]), (0, []), "failures of the client")
    if answers is not None:
        equal(report["answers"], answers, "answers")
    return report


def share(report, name, weight, slack=2):
    """The low-discrepancy bound: n requests at weight w hold n·w ± 1 for modern, ± 1 for each CPU that deals."""
    sides = report["sides"][name]
    total = sides["legacy"] + sides["modern"]
    off = sides["modern"] - total * weight
    check(abs(off) <= slack, f"{name}: modern answered {sides['modern']} of {total} at {weight}: off by {off:.1f}")


def pinned(gw, name):
    return os.path.join(gw.pin_dir, name)


def slot_of(gw, name):
    """The route's slot in the maps."""
    for item in gw.admin.json("/admin/datapath").get("routes", []):
        if item.get("id") == name:
            return item["slot"]
    raise AssertionError(f"no slot of {name} in /admin/datapath: {gw.admin.json('/admin/datapath')}")


def set_weight_by_bpftool(gw, name, basis_points):
    """What an operator would type: bpftool map update pinned …/phx_policy key … value …."""
    slot = slot_of(gw, name)
    key = [str(b) for b in struct.pack("=I", slot)]
    value = bpftool("map", "lookup", "pinned", pinned(gw, "phx_policy"), "key", *key)["value"]
    value = [int(v, 16) for v in value]
    value[:4] = struct.pack("=I", basis_points)
    bpftool("map", "update", "pinned", pinned(gw, "phx_policy"), "key", *key, "value", *value, parse=False)


def forget_narrow(gw):
    """Clients whose path was said to be narrow are the fast path's again."""
    for entry in bpftool("map", "dump", "pinned", pinned(gw, "phx_narrow")) or []:
        bpftool("map", "delete", "pinned", pinned(gw, "phx_narrow"), "key", *entry["key"], parse=False)


def verdicts(gw):
    """{name: count} over all CPUs, as /metrics tells."""
    out = {}
    for key, value in gw.admin.metrics().items():
        found = re.fullmatch(r'phoenix_xdp_verdicts_total\{verdict="([^"]*)"\}', key)
        if found:
            out[found[1]] = int(value)
    return out


# --- an upstream that does odd things, told by the target -------------------------------------------------

BODY = bytes(range(33, 127)) * 11  # 1034 bytes


def odd(ex):
    """/odd/KIND[/…]: see the kinds below. The answer's X-Number is the request's."""
    kind = ex.target.split("?")[0].split("/")[2]
    number = {"X-Number": ex.get("x-number", "none"), "X-Upstream": ex.upstream.name}

    def head(status="200 OK", **fields):
        fields = {**number, **{n.replace("_", "-"): v for n, v in fields.items()}}
        return (f"HTTP/1.1 {status}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items()) + "\r\n").encode()
    if kind == "plain":
        return response(200, BODY, number, reason="OK")
    if kind == "echo":
        return response(200, ex.read_body(), number, reason="OK")
    if kind == "sum":  # the body's length and checksum, without holding it
        digest, total = hashlib.sha256(), [0]

        def sink(data):
            digest.update(data)
            total[0] += len(data)
        if ex.request.framing is not None:
            ex.reader.request_body(ex.request, sink)
        ex.read = True
        return response(200, json.dumps({"bytes": total[0], "sha256": digest.hexdigest()}).encode(), number, reason="OK")
    if kind == "chunked":
        ex.read_body()
        return head(Transfer_Encoding="chunked") + chunks(BODY[:7], BODY[7:600], BODY[600:])
    if kind == "chunked-slowly":
        ex.read_body()
        whole = head(Transfer_Encoding="chunked") + chunks(BODY[:7], BODY[7:600], BODY[600:], trailers=[("X-Sum", "1")])
        ex.send(*[whole[i:i + 97] for i in range(0, len(whole), 97)], pause_s=0.001)
    elif kind == "head":
        ex.read_body()
        return head(Content_Length=len(BODY)) + (b"" if ex.method == "HEAD" else BODY)
    elif kind == "204":
        ex.read_body()
        return head("204 No Content")
    elif kind == "304":
        ex.read_body()
        return head("304 Not Modified", ETag='"x"', Content_Length=len(BODY))
    elif kind == "empty":
        ex.read_body()
        return head(Content_Length=0)
    elif kind == "until-close":
        ex.read_body()
        ex.send(head() + BODY)
        ex.close()
    elif kind == "says-close":
        ex.read_body()
        ex.send(head(Content_Length=len(BODY), Connection="close") + BODY)
        ex.close()
    elif kind == "closes":  # without a word
        ex.read_body()
        ex.send(head(Content_Length=len(BODY)) + BODY)
        ex.close()
    elif kind == "early":  # answers before it has read the body, and reads it afterwards
        ex.send(head(Content_Length=len(BODY)) + BODY)
        ex.read_body()
    elif kind == "early-close":  # answers and closes without reading the body
        ex.send(head("413 Too Much", Content_Length=4, Connection="close") + b"much")
        time.sleep(0.05)
        ex.close()
    elif kind == "reset":
        ex.read_body()
        ex.reset()
    elif kind == "reset-in-body":
        ex.read_body()
        ex.send(head(Content_Length=len(BODY)) + BODY[:500])
        time.sleep(0.02)
        ex.reset()
    elif kind == "fin-in-body":
        ex.read_body()
        ex.send(head(Content_Length=len(BODY)) + BODY[:500])
        ex.close()
    elif kind == "fin-in-chunk":
        ex.read_body()
        ex.send(head(Transfer_Encoding="chunked") + b"100\r\nabc")
        ex.close()
    elif kind == "junk":
        ex.read_body()
        ex.send(head(Content_Length=len(BODY)) + BODY + b"HTTP/1.1 200 OK\r\nX-Injected: yes\r\nContent-Length: 4\r\n\r\nevil")
    elif kind == "junk-later":
        ex.read_body()
        ex.send(head(Content_Length=len(BODY)) + BODY, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", pause_s=0.05)
    elif kind == "interim":
        ex.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        ex.read_body()
        return response(200, ex.body, number, reason="OK")
    elif kind == "hints":
        ex.read_body()
        return b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + head(Content_Length=len(BODY)) + BODY
    elif kind == "slow":
        ex.read_body()
        time.sleep(0.4)
        return response(200, BODY, number, reason="OK")
    elif kind == "pieces":
        ex.read_body()
        whole = head(Content_Length=len(BODY)) + BODY
        ex.send(*[whole[i:i + 61] for i in range(0, len(whole), 61)], pause_s=0.0005)
    elif kind == "large":
        ex.read_body()
        size = int(ex.target.split("/")[3])
        ex.send(head(Content_Length=size))
        sent = 0
        while sent < size:
            piece = BODY[:min(len(BODY), size - sent)]
            ex.send(piece)
            sent += len(piece)
    elif kind == "lies":
        ex.read_body()
        return head(Content_Length="5, 6") + b"hello"
    else:
        return response(404, b"what?", number, reason="Not Found")
    return None


def content_of(upstream, size):
    """The body of /ROUTE/SIZE as the upstream ROUTE-SIDE has it."""
    name, side = upstream.split("-")
    return content(name, side, size)

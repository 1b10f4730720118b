# SPDX-License-Identifier: Apache-2.0
"""
terminal: a program on a pseudo-terminal with a terminal emulator (pyte) behind it: what a person would see.

pyte does not know the alternate screen; `raw` has every byte for those who ask about it.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from .net import wait_for
from .process import Skip

try:
    import pyte
except ImportError:
    pyte = None


class Terminal:
    def __init__(self, args, columns=80, rows=24, env=None, cwd=None):
        if pyte is None:
            raise Skip("python3-pyte is not installed")
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.status = None
        self.master, slave = pty.openpty()
        self._size(columns, rows)
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})}
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2):
                os.dup2(slave, fd)
            if cwd:
                os.chdir(cwd)
            os.execvpe(args[0], args, {k: v for k, v in environment.items() if v is not None})
        self.modes = termios.tcgetattr(slave)
        self.slave = slave  # kept open, so that the modes can be looked at after the program's end

    def _size(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        self._size(columns, rows)  # the kernel sends SIGWINCH
        self.screen.resize(rows, columns)

    def key(self, text):
        os.write(self.master, text.encode())

    def read(self, wait_s=0.02):
        while select.select([self.master], [], [], wait_s)[0]:
            data = os.read(self.master, 65536)
            self.raw += data
            self.stream.feed(data)
            wait_s = 0

    def text(self):
        self.read()
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def shows(self, *words, timeout_s=15):
        """Waits until all the words are on the screen; returns its text."""
        wait_for(f"{words} on the screen", lambda: all(w in self.text() for w in words), timeout_s)
        return self.text()

    def end(self, timeout_s=10):
        """The exit status, once it ended by itself."""
        deadline = time.monotonic() + timeout_s
        while self.status is None and time.monotonic() < deadline:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        self.read()
        if self.status is None:
            raise AssertionError("it does not end; on the screen:\n" + self.text())
        return self.status

    def is_clean(self):
        """Everything that was switched is switched back: modes of the line, alternate screen, cursor, wrapping, colour."""
        modes = termios.tcgetattr(self.slave)
        if modes[:4] != self.modes[:4]:
            return f"the line's modes changed: {modes[:4]} were {self.modes[:4]}"
        for name, on, off in (("alternate screen", b"\x1b[?1049h", b"\x1b[?1049l"), ("cursor", b"\x1b[?25l", b"\x1b[?25h"),
                              ("wrapping", b"\x1b[?7l", b"\x1b[?7h")):
            if self.raw.rfind(on) > self.raw.rfind(off):
                return f"{name} is not given back"
        coloured = [m for m in self.raw.split(b"\x1b[")[1:] if m[:6].split(b"m")[0].replace(b";", b"").isdigit() and b"m" in m[:8]]
        return "colour is left on" if coloured and not coloured[-1].startswith(b"0m") else ""

    def stop(self):
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        for fd in (self.master, self.slave):
            try:
                os.close(fd)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

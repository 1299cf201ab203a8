"""A terminal of its own for a program, as people have one: what it writes is read, and keys are typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

#: How long anything here may take before the test has failed (seconds).
PATIENCE = 60.0

#: A program that takes the terminal for its own, so that Ctrl-C reaches it, and becomes gossipreg.
_IN_CONTROL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "gossipreg", *sys.argv[1:]])
"""


@attrs.define
class Terminal:
    """A terminal with a program in it: what it wrote, and what is typed."""

    process: subprocess.Popen[bytes]
    ours: int
    theirs: int
    written: str = ""

    def until(self, pattern: str) -> str:
        """Read on until this has been written; what was, since the last time."""
        while not (found := re.search(pattern, self.written, re.DOTALL)):
            ready, _, _ = select.select([self.ours], [], [], PATIENCE)
            assert ready, f"{pattern!r} was not written: {self.written!r}"
            self.written += os.read(self.ours, 65_536).decode()
        before, self.written = self.written[: found.end()], self.written[found.end() :]
        return before

    def type(self, text: bytes) -> None:
        os.write(self.ours, text)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def hang_up(self) -> None:
        """Close its window."""
        os.close(self.theirs)
        os.close(self.ours)

    def modes(self) -> object:
        return termios.tcgetattr(self.theirs)


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    """Run a command line in a terminal of 80 columns and 24 lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_CONTROL, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    try:
        yield Terminal(process, ours, theirs)
    finally:
        process.kill()
        process.wait()
        for each in (ours, theirs):
            with suppress(OSError):  # it has hung up
                os.close(each)

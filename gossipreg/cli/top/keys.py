"""Single keys from a terminal, whose settings are restored afterwards."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keyboard() -> Iterator[int | None]:
    """Standard input, from which keys can be read at once and without an echo; None if it is no terminal.

    Ctrl-C works as usual. Ctrl-Z is disabled: it would leave the shell with the screen as it is.
    """
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    now = termios.tcgetattr(descriptor)
    now[6][termios.VSUSP] = os.fpathconf(descriptor, "PC_VDISABLE").to_bytes(1, "big")
    termios.tcsetattr(descriptor, termios.TCSANOW, now)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

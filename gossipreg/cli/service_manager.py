"""Service manager: what a command that runs for long tells systemd, by its notification protocol (sd_notify(3)).

A datagram to the socket that ``NOTIFY_SOCKET`` names says that the service is ready, reads its files again, or stops.
Where the unit has ``WatchdogSec``, the event loop itself says that it lives: a loop that is stuck says nothing, and the
manager restarts the service. Without a manager all of this does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self

import attrs

from gossipreg.failures import reason_of

_log = logging.getLogger(__name__)

#: Share of ``WatchdogSec`` after which the loop says again that it lives; sd_watchdog_enabled(3) recommends half.
_SHARE: Final = 0.5


@attrs.define(eq=False, repr=False)
class ServiceManager:
    """The manager that started this process; without ``address`` there is none.

    ``address``: of its datagram socket, as the kernel takes it. ``watchdog``: the longest silence before the manager
    restarts the service (seconds); None: it does not watch.
    """

    address: str | None = None
    watchdog: float | None = None
    _is_warned: bool = attrs.field(init=False, default=False)

    @classmethod
    def of(cls, environ: Mapping[str, str], process: int, *, is_successor: bool = False) -> Self:
        """The manager that ``environ`` tells of; ``process`` is this one's id.

        Variables for a watchdog of another process do not concern this one, except where ``is_successor``: it was
        started by that process to take its place. A value that cannot be used counts as none, with a warning.
        """
        named = environ.get("NOTIFY_SOCKET", "")
        if not named:
            return cls()
        if named[0] not in "/@" or len(named) == 1:
            _log.warning("NOTIFY_SOCKET=%s is not used: it is neither a path nor an abstract socket (@NAME)", named)
            return cls()
        address = "\0" + named[1:] if named[0] == "@" else named
        watched = is_successor or environ.get("WATCHDOG_PID", str(process)) == str(process)
        return cls(address, _seconds(environ.get("WATCHDOG_USEC", "")) if watched else None)

    def ready(self, status: str) -> None:
        """Report that the service can be used; ``status`` is a line for ``systemctl status``."""
        self._send("READY=1", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """Report that the service has begun to stop."""
        self._send("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        """Report that the service lives, within the time that the watchdog allows."""
        self._send("WATCHDOG=1")

    def succeeded_by(self, process: int) -> None:
        """Report that ``process`` is the service from now on."""
        self._send(f"MAINPID={process}")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report that files are read again, and afterwards, whatever came of it, that the service can be used.

        The steady clock's time tells systemd 253 or later which reload this is, where the unit's type is
        ``notify-reload``.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._send("READY=1")

    async def keep_informed(self) -> None:
        """Report from the event loop that it runs, as often as the watchdog needs, until cancelled."""
        if self.watchdog is None:
            return
        import trio  # the only part that needs a loop

        while True:
            self.alive()
            await trio.sleep(self.watchdog * _SHARE)

    def _send(self, *lines: str) -> None:
        """Send assignments in one datagram, as each is one state of the service; a failure is logged once."""
        if self.address is None:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a manager that reads nothing must not stop the event loop
                sender.sendto(os.fsencode(message), self.address)
        except (OSError, ValueError) as error:
            if not self._is_warned:
                _log.warning("the service manager at NOTIFY_SOCKET cannot be told %s: %s", lines[0], reason_of(error))
            self._is_warned = True


def _seconds(text: str) -> float | None:
    """The time in ``WATCHDOG_USEC`` (microseconds); None if there is none."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        _log.warning("WATCHDOG_USEC=%s is not used: it is not a number of microseconds", text)
        return None
    return int(text) / 1e6

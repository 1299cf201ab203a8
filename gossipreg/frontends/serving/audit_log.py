"""Audit log: a line of JSON in a file for each change that a client of the HTTP listener makes or is refused.

The line is written before the client has its answer. Where that fails, the change has been made all the same: the log
says so once, and a counter how often.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import attrs
import trio

from gossipreg.counters import Count
from gossipreg.errors import ConfigError

log = logging.getLogger(__name__)

#: Whatever it holds is for operators alone.
_MODE: Final = 0o600


@attrs.frozen
class Caller:
    """The client whose request this task answers."""

    address: str = ""  # HOST:PORT; empty for one at a socket file
    request: str = ""  # the request's id, as in the access log
    token: str | None = None  # the name of its token


#: The client whose request this task answers.
caller: Final[ContextVar[Caller]] = ContextVar("caller", default=Caller())  # noqa: B039 - it is frozen


@attrs.define(eq=False, repr=False)
class AuditLog:
    """The file of one listener. Without a path nothing is written."""

    path: Path | None = None
    counters: Counter[str] = attrs.field(factory=Counter)  # of the listener that it belongs to
    _file: int | None = attrs.field(init=False, default=None)
    _is_failing: bool = attrs.field(init=False, default=False)
    _turn: trio.Lock = attrs.field(init=False, factory=trio.Lock)

    def open(self) -> None:
        """Open the file, which is created with access for its owner alone; again after it was moved away.

        Raises ``ConfigError``; what was open then stays so.
        """
        if self.path is None:
            return
        try:
            opened = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise ConfigError(f"audit_log: {self.path} cannot be written: {error.strerror}") from None
        before, self._file = self._file, opened
        if before is not None:
            os.close(before)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def write(self, action: str, outcome: str, **about: object) -> None:
        """Write one line: who does what, and how it ended: ``done``, ``refused``, or the code of an error."""
        if self._file is None:
            return
        who = caller.get()
        said = {
            "at": _at(time.time()),
            "from": who.address or None,
            "token": who.token,
            "request": who.request,
            "action": action,
            **about,
            "outcome": outcome,
        }
        line = json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
        with trio.CancelScope(shield=True):  # what was done is written down, though its client may be gone
            async with self._turn:
                try:
                    await trio.to_thread.run_sync(self._append, line)
                except OSError as error:
                    self.counters[Count.AUDIT_LINES_LOST] += 1
                    if not self._is_failing:
                        log.error("the audit log %s is not written, so changes go unrecorded: %s", self.path, error)  # noqa: TRY400
                    self._is_failing = True
                else:
                    self._is_failing = False

    def _append(self, line: bytes) -> None:
        assert self._file is not None, "it was opened"
        written = os.write(self._file, line)
        if written < len(line):
            raise OSError(f"only {written} of {len(line)} bytes were written")


def _at(now: float) -> str:
    """A time as RFC 3339 writes it, in UTC, with milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03}Z"

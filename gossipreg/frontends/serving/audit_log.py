"""Audit log: a line of JSON in a file for each change that a client of the HTTP listener makes or is refused.

The line is written before the client has its answer. Where that fails, the change has been made all the same: the log
says so once, and a counter how often.
"""

from __future__ import annotations

import json
import logging
import math
import os
import stat
import time
from collections import Counter, deque
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import attrs
import trio

from gossipreg.counters import Count
from gossipreg.errors import ConfigError
from gossipreg.text import shortened
from gossipreg.values import frozen

log = logging.getLogger(__name__)

#: Whatever it holds is for operators alone.
_MODE: Final = 0o600

#: How long a change waits for its line (seconds). It is made by then: its client need not wait for a disk that hangs.
_PATIENCE: Final = 2.0

#: Refused requests that are written in so many seconds: a client without a token can make any number of them.
_REFUSED_MAX: Final = 100
_REFUSED_SECONDS: Final = 10.0

#: How many different things that were given without a token are remembered, so that a repetition is no further line.
_GIVEN_MAX: Final = 1024
_GIVEN_SECONDS: Final = 10.0

#: Characters of a text in a line, and entries of a list.
_TEXT_CHARS: Final = 160
_LISTED_MAX: Final = 64


@frozen
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
    _thread: trio.CapacityLimiter = attrs.field(init=False, factory=lambda: trio.CapacityLimiter(1))
    _refused: deque[float] = attrs.field(init=False, factory=deque)  # when the latest refusals were written
    _left_out: int = attrs.field(init=False, default=0)  # refusals since the last one that was written
    _given: dict[str, float] = attrs.field(init=False, factory=dict)  # when each was written, the oldest first
    _repeated: int = attrs.field(init=False, default=0)  # what was given again since the last one that was written

    def open(self) -> None:
        """Open the file, which is created with access for its owner alone; again after it was moved away.

        Raises ``ConfigError``; what was open then stays so.
        """
        if self.path is None:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            opened = os.open(self.path, flags, _MODE)
        except OSError as error:
            raise ConfigError(f"audit_log: {self.path} cannot be written: {error.strerror}") from None
        try:
            found = os.fstat(opened)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise ConfigError(f"audit_log: {self.path} is no file of this user's: name another one")
            os.fchmod(opened, _MODE)
            if self._file is None:
                self._file, opened = opened, -1
            else:
                os.dup2(opened, self._file, inheritable=False)  # a line that is being written goes to either
        finally:
            if opened >= 0:
                os.close(opened)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def refused(self, action: str, outcome: str = "refused", **about: object) -> None:
        """Write that a request was refused; of many in a short time, how many were left out."""
        if self._file is None:
            return
        now = trio.current_time()
        while self._refused and now - self._refused[0] >= _REFUSED_SECONDS:
            self._refused.popleft()
        if len(self._refused) >= _REFUSED_MAX:
            self._left_out += 1
            return
        self._refused.append(now)
        left_out, self._left_out = self._left_out, 0
        await self.write(action, outcome, **about, **({"left_out": left_out} if left_out else {}))

    async def given(self, action: str, what: str, **about: object) -> None:
        """Write that a client without a token was given ``what``; if it is given again soon, only how often."""
        if self._file is None:
            return
        now = trio.current_time()
        while self._given and (
            len(self._given) >= _GIVEN_MAX or now - next(iter(self._given.values())) >= _GIVEN_SECONDS
        ):
            del self._given[next(iter(self._given))]
        if what in self._given:
            self._repeated += 1
            return
        self._given[what] = now
        repeated, self._repeated = self._repeated, 0
        await self.write(action, "done", **about, **({"left_out": repeated} if repeated else {}))

    async def write(self, action: str, outcome: str, **about: object) -> None:
        """Write one line: who does what, and how it ended: ``done``, ``refused``, or the code of an error.

        Returns after `_PATIENCE` at the latest: a disk that hangs does not stop what is done.
        """
        if self._file is None:
            return
        who = caller.get()
        said = {
            "at": _at(time.time()),
            "from": who.address or None,
            "token": who.token,
            "request": who.request,
            "action": action,
            **{key: _shortened(value) for key, value in about.items()},
            "outcome": outcome,
        }
        line = json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
        why: object = "it takes too long"
        # Written down, though its client may be gone.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _PATIENCE):
            async with self._turn:
                try:
                    await trio.to_thread.run_sync(self._append, line, abandon_on_cancel=True, limiter=self._thread)
                except OSError as error:
                    why = error
                else:
                    self._is_failing = False
                    return
        self.counters[Count.AUDIT_LINES_LOST] += 1
        if not self._is_failing:
            log.error("the audit log %s is not written, so changes go unrecorded: %s", self.path, why)
        self._is_failing = True

    def _append(self, line: bytes) -> None:
        if self._file is None:
            raise OSError("it was closed")
        written = os.write(self._file, line)
        if written < len(line):
            raise OSError(f"only {written} of {len(line)} bytes were written")


def _shortened(value: object) -> object:
    """``value`` as a line holds it: what a client sent is of any size, and of any kind."""
    if isinstance(value, str):
        return shortened(value, _TEXT_CHARS)
    if isinstance(value, list | tuple):
        return [_shortened(each) for each in value[:_LISTED_MAX]]
    if isinstance(value, dict):
        return {shortened(str(key), _TEXT_CHARS): _shortened(each) for key, each in list(value.items())[:_LISTED_MAX]}
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return shortened(repr(value), _TEXT_CHARS)


def _at(now: float) -> str:
    """A time as RFC 3339 writes it, in UTC, with milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03}Z"

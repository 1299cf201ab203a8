"""Answer pacing: whole states are told to newcomers one after the other, with pauses in which the node does all else.

A newcomer's comparison is answered with every entry of the state. At ten thousand members that takes a tenth of a
second, and the answer waits in memory until it has been sent. So if many join by one seed at once, their comparisons
wait in line, and are answered at a pace that leaves the node half of its time. Small answers do not wait. Of several
sources the one that was answered longest ago has its turn, so that one with many streams keeps no other waiting.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from gossipreg.hosts import source_of
from gossipreg.model import Address
from gossipreg.values import frozen

#: Entries from which on an answer has its turn: to tell so many takes some 20 ms.
LARGE_ENTRIES: Final = 2048

#: The pause after an answer, for each of its entries (seconds): about twice what it takes to pack and to send one.
ENTRY_SECONDS: Final = 5e-6

#: The largest frame that waits (bytes). A comparison takes 2 KiB; what is longer is no newcomer's.
WAITING_FRAME_BYTES_MAX: Final = 4096


@frozen
class WaitingFrame:
    """A frame on a peer's stream that is handled later."""

    stream: int
    frame: bytes
    source: Address
    is_proven: bool = False  # whether it was verified that its member has made it: its number counts once


@attrs.define(eq=False, repr=False)
class AnswerPacing:
    """The comparisons that wait to be answered, at most one for each open stream."""

    _waiting: list[WaitingFrame] = attrs.field(factory=list)  # the first come first
    _answered: dict[str, int] = attrs.field(factory=dict)  # sources of waiting frames -> the number of their last turn
    _turns: int = 0
    _next_at: float = -math.inf  # when the next large answer may be made (seconds)

    @property
    def deadline(self) -> float:
        """When `due` gives a frame (seconds); infinite if none waits."""
        return self._next_at if self._waiting else math.inf

    def admits(self, entries: int, now: float) -> bool:
        """Whether an answer of so many entries may be made now: it is small, or has its turn."""
        return entries < LARGE_ENTRIES or (not self._waiting and now >= self._next_at)

    def spend(self, entries: int, now: float) -> None:
        """An answer of so many entries is made."""
        if entries >= LARGE_ENTRIES:
            self._next_at = now + entries * ENTRY_SECONDS

    def is_waiting(self, stream: int) -> bool:
        """Whether a frame of ``stream`` waits: the peer's turn is over until it is answered."""
        return any(each.stream == stream for each in self._waiting)

    def wait(self, frame: WaitingFrame) -> None:
        """Have ``frame`` handled when `due` gives it."""
        self._waiting.append(frame)

    def forget(self, stream: int) -> None:
        """The stream is closed."""
        self._waiting = [each for each in self._waiting if each.stream != stream]

    def due(self, now: float) -> WaitingFrame | None:
        """The next frame, if its turn has come; it waits no longer."""
        if not self._waiting or now < self._next_at:
            return None
        turns = [self._answered.get(source_of(each.source.host), 0) for each in self._waiting]
        frame = self._waiting.pop(turns.index(min(turns)))
        waiting = {source_of(each.source.host) for each in self._waiting}
        self._answered = {source: turn for source, turn in self._answered.items() if source in waiting}
        self._turns += 1
        self._answered[source_of(frame.source.host)] = self._turns
        return frame

"""Answer pacing: long answers on streams are made one at a time, with pauses in which the node does its other work.

A newcomer's comparison is answered with every entry of the state. At ten thousand members that takes a tenth of a
second, and the answer waits in memory until it has been sent. So if many nodes join by one seed at once, their
questions queue, and are answered at a pace that leaves the seed half of its time. The same holds for every other answer
made of entries, such as the listing of a bucket. Small answers do not wait unless those on one stream add up to a large
one. Sources take turns, each with all its streams, so a source waits for one answer to each other source at most.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import attrs

from gossipreg.hosts import source_of
from gossipreg.model import Address
from gossipreg.values import frozen

#: An answer of so many entries, or more, waits for its turn: to send them takes some 20 ms.
LARGE_ENTRIES: Final = 2048

#: The pause after an answer, for each of its entries (seconds): about twice what it takes to pack and to send one.
ENTRY_SECONDS: Final = 5e-6

#: The first frame of a stream may wait up to this size, however much waits already (bytes). A comparison of one
#: partition takes 2 KiB; that of a border takes two, and the heads of up to 63 further cells.
WAITING_FRAME_BYTES_MAX: Final = 16_384

#: How much may wait beside those first frames: of one stream, and in all (bytes). Listings of 100,000 entries take
#: 900 KB.
WAITING_STREAM_BYTES_MAX: Final = 2 * 1024 * 1024
WAITING_BYTES_MAX: Final = 16 * 1024 * 1024

#: A frame counts as at least so many bytes, which bounds the number of small ones.
_FRAME_COST_MIN: Final = 1024


@frozen
class WaitingFrame:
    """A frame on a peer's stream that is handled later."""

    stream: int
    frame: bytes
    source: Address
    is_proven: bool = False  # whether its proof was verified: the number in a proof counts once only
    is_last: bool = False  # whether it ends with `End`: the peer sends no more until it is answered

    @property
    def cost(self) -> int:
        """How many of the bytes that may wait it takes."""
        return max(len(self.frame), _FRAME_COST_MIN)


@attrs.define(eq=False, repr=False)
class AnswerPacing:
    """The frames that wait to be answered: of each open stream, the first whose answer had to wait and all after it."""

    _frames: dict[int, deque[WaitingFrame]] = attrs.field(factory=dict)  # by stream, the first come first
    _line: dict[str, dict[int, None]] = attrs.field(factory=dict)  # sources, the next first -> their streams, likewise
    _bytes: int = 0  # cost of all that waits
    _next_at: float = -math.inf  # when the next large answer may be made (seconds)

    @property
    def deadline(self) -> float:
        """When `due` gives a frame (seconds); infinite if none waits."""
        return self._next_at if self._line else math.inf

    def admits(self, entries: int, now: float) -> bool:
        """Whether an answer of so many entries may be made now: it is small, or has its turn."""
        return entries < LARGE_ENTRIES or (not self._line and now >= self._next_at)

    def spend(self, entries: int, now: float) -> int:
        """An answer of so many entries was made: a pause follows if it is large.

        Returns the entries for which none does: they count with those of the next answer on that stream.
        """
        if entries < LARGE_ENTRIES:
            return entries
        self._next_at = max(self._next_at, now) + entries * ENTRY_SECONDS
        return 0

    def is_waiting(self, stream: int) -> bool:
        """Whether a frame of ``stream`` waits, so that later ones have to as well."""
        return stream in self._frames

    def wait(self, frame: WaitingFrame) -> bool:
        """Have ``frame`` handled when `due` gives it.

        Returns False if it may not wait: the peer had ended its turn, or there is no room.
        """
        before = self._frames.get(frame.stream)
        if before is not None and before[-1].is_last:
            return False
        if before is not None or len(frame.frame) > WAITING_FRAME_BYTES_MAX:
            of_stream = sum(each.cost for each in before or ())
            if of_stream + frame.cost > WAITING_STREAM_BYTES_MAX or self._bytes + frame.cost > WAITING_BYTES_MAX:
                return False
        if before is None:
            before = self._frames[frame.stream] = deque()
            self._line.setdefault(source_of(frame.source.host), {})[frame.stream] = None
        before.append(frame)
        self._bytes += frame.cost
        return True

    def forget(self, stream: int) -> None:
        """The stream is closed."""
        for source, streams in self._line.items():
            if stream in streams:
                self._bytes -= sum(each.cost for each in self._frames.pop(stream))
                del streams[stream]
                if not streams:
                    del self._line[source]
                return

    def due(self, now: float) -> WaitingFrame | None:
        """The next frame, if its turn has come; it waits no longer. Its source goes to the end of the line."""
        if not self._line or now < self._next_at:
            return None
        source = next(iter(self._line))
        streams = self._line.pop(source)
        stream = next(iter(streams))
        waiting = self._frames[stream]
        frame = waiting.popleft()
        self._bytes -= frame.cost
        if not waiting:
            del self._frames[stream], streams[stream]
        if streams:
            self._line[source] = streams
        return frame

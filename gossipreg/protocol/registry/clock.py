"""The hybrid logical clock: orders what nodes write although their clocks differ.

After Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014): a stamp is at least the wall clock's milliseconds and
greater than every stamp received before. So a write that follows another causally is later on every node, and
independent writes are in the order of the wall clocks, as well as these agree.
"""

from __future__ import annotations

import attrs

from gossipreg import limits

#: How far ahead of our own wall clock a stamp may be (milliseconds: a day). A write beyond it could not be undone, not
#: even by writing again.
AHEAD_MAX = 86_400_000

_COUNTER_MAX = 2**16 - 1

#: Latest wall clock that is sent to others (ms since the epoch: the year 73,000): stamps ahead of it can be written.
_MS_MAX = 2**51


@attrs.frozen(order=True)
class Stamp:
    """When something was written: milliseconds since the epoch, a counter within them, and the member that wrote it."""

    ms: int
    counter: int
    writer: str


@attrs.define(eq=False, repr=False)
class Clock:
    """The hybrid clock of one node. ``offset`` is what makes the node's steady clock a wall clock (milliseconds)."""

    writer: str
    offset: float
    _latest: tuple[int, int] = (0, 0)
    may_hold_future_stamps: bool = False  # it was set back, or a stored stamp was too far in the future

    @classmethod
    def started(cls, writer: str, epoch: int, now: float) -> Clock:
        """The clock of a node to which ``now`` (seconds, steady) is the millisecond ``epoch`` since the epoch."""
        return cls(writer, epoch - now * 1000)

    def set(self, ms: float, now: float) -> None:
        """At ``now`` the wall clock shows ``ms`` since the epoch: it was set, or the steady one stood still."""
        self.offset = ms - now * 1000

    def note_future_stamps(self) -> None:
        """This node may hold a stamp that others would refuse, as too far in the future."""
        self.may_hold_future_stamps = True

    def forget_future_stamps(self) -> None:
        """Each such stamp was replaced."""
        self.may_hold_future_stamps = False

    def wall(self, now: float) -> int:
        """Milliseconds since the epoch; within what can be written, whatever the clock shows."""
        return max(0, min(int(now * 1000 + self.offset), _MS_MAX))

    def latest_generation(self, now: float) -> int:
        """The latest generation that a node can have booted in (ms since the epoch), clocks being far off."""
        return max(self.wall(now), limits.CLOCK_MS_LEAST) + limits.GENERATION_AHEAD_MAX

    def highest_term(self, now: float) -> int:
        """The highest term that a peer may state now. It grows faster than any user can raise one."""
        return limits.TERM_GIVEN_MAX + self.wall(now)

    def is_too_far(self, ms: int, now: float) -> bool:
        """Whether a stamp of the millisecond ``ms`` is too far in the future to be accepted."""
        return ms > self.wall(now) + AHEAD_MAX

    def stamp(self, now: float) -> Stamp:
        """A stamp greater than all that were made or received here, except those that are `is_too_far` by now."""
        ms, counter = self._latest
        if self.wall(now) > ms or self.is_too_far(
            ms, now
        ):  # the wall clock was set back: no node would take the latter
            self._latest = (self.wall(now), 0)
        else:
            self._latest = (ms, counter + 1) if counter < _COUNTER_MAX else (ms + 1, 0)
        return Stamp(*self._latest, self.writer)

    def observe(self, stamp: Stamp, now: float) -> bool:
        """Merge a peer's stamp; False, and nothing merged, for one too far in the future."""
        if self.is_too_far(stamp.ms, now):
            return False
        self._latest = max(self._latest, (stamp.ms, stamp.counter))
        return True

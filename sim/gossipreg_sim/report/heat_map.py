"""Heat map: what each observer believed of each subject at each time, as keyframes and changes between them.

Time is in whole microseconds here: the page shows nothing finer, and they pack shorter.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final

import attrs

from gossipreg.model import Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg_sim.report import packing
from gossipreg_sim.report.recording import Belief, Life, Recording


class Cell(enum.IntEnum):
    """What one observer believes of one subject, held against the truth."""

    UNKNOWN = 0  # has not heard of it, or has forgotten it
    ALIVE = 1
    SUSPECT = 2
    FAILED = 3
    LEFT = 4
    STALE = 5  # believes alive a life that is over
    DOWN = 6  # the observer itself does not run

    @property
    def is_present(self) -> bool:
        """Whether the observer counts the subject among the members that take part."""
        return self in (Cell.ALIVE, Cell.SUSPECT, Cell.STALE)


_OF_STATUS: Final = {
    Status.ALIVE: Cell.ALIVE,
    Status.SUSPECT: Cell.SUSPECT,
    Status.FAILED: Cell.FAILED,
    Status.LEFT: Cell.LEFT,
}

#: Changes between two keyframes: what a page applies, at the most, to show another moment.
CHANGES_PER_KEYFRAME: Final = 4096


@attrs.frozen
class Change:
    """From ``at`` (µs) on a cell shows ``state``; cell ``observer * nodes + subject``."""

    at: int
    cell: int
    state: Cell


@attrs.frozen
class HeatMap:
    """All changes of all cells of a map that begins with nobody running."""

    names: tuple[str, ...]
    changes: tuple[Change, ...] = attrs.field(repr=False)

    @property
    def _blank(self) -> bytearray:
        return bytearray([Cell.DOWN]) * len(self.names) ** 2

    def at(self, moment: int) -> bytes:
        """The cells at ``moment`` (µs)."""
        cells = self._blank
        for change in self.changes[: bisect_right(self.changes, moment, key=lambda change: change.at)]:
            cells[change.cell] = change.state
        return bytes(cells)

    def packed(self) -> dict[str, str]:
        """Columns for the page: `at`, `cell` and `state` of the changes, and the `keyframes` one after the other.

        Keyframe number k is the map before change number k x `CHANGES_PER_KEYFRAME`.
        """
        cells = self._blank
        keyframes = bytearray()
        for number, change in enumerate(self.changes):
            if number % self.spacing == 0:
                keyframes += cells
            cells[change.cell] = change.state
        return {
            "at": packing.compressed(packing.rising([change.at for change in self.changes])),
            "cell": packing.compressed(packing.varints(change.cell for change in self.changes)),
            "state": packing.compressed(bytes(change.state for change in self.changes)),
            "keyframes": packing.compressed(bytes(keyframes)),
        }

    @property
    def spacing(self) -> int:
        """Changes between two keyframes. In a large map a keyframe is as dear as a quarter of its cells."""
        return max(CHANGES_PER_KEYFRAME, len(self.names) ** 2 // 4)


@attrs.define
class _Map:
    """The map while it is being drawn."""

    names: list[str]
    place: dict[str, int] = attrs.field(init=False)
    cells: bytearray = attrs.field(init=False)
    lives: dict[str, Life] = attrs.field(factory=dict)  # of those that run
    held: dict[str, dict[str, MemberUpdate]] = attrs.field(factory=dict)  # by observer and subject

    def __attrs_post_init__(self) -> None:
        self.place = {name: place for place, name in enumerate(self.names)}
        self.cells = bytearray([Cell.DOWN]) * len(self.names) ** 2

    def shown(self, observer: str, subject: str) -> Cell:
        """What the cell should show now."""
        if observer not in self.lives:
            return Cell.DOWN
        update = self.held[observer].get(subject)
        if update is None:
            return Cell.UNKNOWN
        life = self.lives.get(subject)
        is_over = life is None or life.left is not None or update.generation < life.generation
        return Cell.STALE if update.status is Status.ALIVE and is_over else _OF_STATUS[update.status]

    def redraw(self, at: int, observers: Sequence[str], subjects: Sequence[str]) -> Iterator[Change]:
        """What changes among these cells."""
        for observer in observers:
            for subject in subjects:
                cell = self.place[observer] * len(self.names) + self.place[subject]
                state = self.shown(observer, subject)
                if self.cells[cell] != state:
                    self.cells[cell] = state
                    yield Change(at, cell, state)

    def turn(self, life: Life, what: str, at: int) -> Iterator[Change]:
        """A life begins, says goodbye, or ends."""
        name = life.node
        if what == "born":
            self.lives[name] = attrs.evolve(life, left=None)
            self.held[name] = {}
        elif what == "left":
            self.lives[name] = life
        else:
            del self.lives[name]
        yield from self.redraw(at, [name], self.names)
        yield from self.redraw(at, self.names, [name])

    def believe(self, belief: Belief, at: int) -> Iterator[Change]:
        """An observer changes its mind."""
        held = self.held[belief.observer]
        if belief.after is None:
            held.pop(belief.subject, None)
        else:
            held[belief.subject] = belief.after
        return self.redraw(at, [belief.observer], [belief.subject])


#: At the same instant an old life ends before a new one begins, and it has begun before it believes anything.
_TURNS: Final = ("died", "born", "belief", "left")


def heat_map_of(recording: Recording) -> HeatMap:
    """The heat map of a run."""
    drawn = _Map(recording.scenario.node_names)
    turns = (
        (at, _TURNS.index(what), life)
        for life in recording.lives
        for what, at in (("born", life.born), ("left", life.left), ("died", life.died))
        if at is not None
    )
    beliefs = ((belief.at, _TURNS.index("belief"), belief) for belief in recording.beliefs)
    changes: list[Change] = []
    for at, turn, what in sorted(chain(turns, beliefs), key=itemgetter(0, 1)):
        if isinstance(what, Belief):
            changes += drawn.believe(what, at // 1000)
        elif isinstance(what, Life):
            changes += drawn.turn(what, _TURNS[turn], at // 1000)
    return HeatMap(tuple(drawn.names), tuple(changes))

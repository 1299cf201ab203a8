"""Heat map: each observer's belief about each subject over time, as keyframes and the changes between them.

Times are integer microseconds: the page shows nothing finer, and small integers pack well.
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
from gossipreg_sim.report.recording import Belief, NodeRun, Recording


class Cell(enum.IntEnum):
    """An observer's belief about a subject, compared with the truth."""

    UNKNOWN = 0  # the observer does not know the subject, or has forgotten it
    ALIVE = 1
    SUSPECT = 2
    FAILED = 3
    LEFT = 4
    STALE = 5  # believes that an ended run is alive
    DOWN = 6  # the observer itself is down

    @property
    def is_present(self) -> bool:
        """Whether the observer counts the subject as a present member."""
        return self in (Cell.ALIVE, Cell.SUSPECT, Cell.STALE)


_OF_STATUS: Final = {
    Status.ALIVE: Cell.ALIVE,
    Status.SUSPECT: Cell.SUSPECT,
    Status.FAILED: Cell.FAILED,
    Status.LEFT: Cell.LEFT,
}

#: Changes between two keyframes: the most that a page applies to show another moment.
CHANGES_PER_KEYFRAME: Final = 4096


@attrs.frozen
class Change:
    """From ``at`` (µs) on, the cell ``observer * nodes + subject`` shows ``state``."""

    at: int
    cell: int
    state: Cell


@attrs.frozen
class HeatMap:
    """All changes of all cells; in the initial map every node is down."""

    names: tuple[str, ...]
    changes: tuple[Change, ...] = attrs.field(repr=False)

    @property
    def _blank(self) -> bytearray:
        return bytearray([Cell.DOWN]) * len(self.names) ** 2

    def at(self, moment: int) -> bytes:
        """Return the cells at ``moment`` (µs)."""
        cells = self._blank
        for change in self.changes[: bisect_right(self.changes, moment, key=lambda change: change.at)]:
            cells[change.cell] = change.state
        return bytes(cells)

    def packed(self) -> dict[str, str]:
        """Return columns for the page: `at`, `cell` and `state` of the changes, and the concatenated `keyframes`.

        Keyframe number k is the map before change number k x `spacing`.
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
        """Changes between two keyframes; more in a large map, in which a keyframe costs a quarter of its cells."""
        return max(CHANGES_PER_KEYFRAME, len(self.names) ** 2 // 4)


@attrs.define
class _Map:
    """The map under construction."""

    names: list[str]
    place: dict[str, int] = attrs.field(init=False)
    cells: bytearray = attrs.field(init=False)
    node_runs: dict[str, NodeRun] = attrs.field(factory=dict)  # of the running nodes
    held: dict[str, dict[str, MemberUpdate]] = attrs.field(factory=dict)  # by observer and subject

    def __attrs_post_init__(self) -> None:
        self.place = {name: place for place, name in enumerate(self.names)}
        self.cells = bytearray([Cell.DOWN]) * len(self.names) ** 2

    def shown(self, observer: str, subject: str) -> Cell:
        """Return what the cell should show now."""
        if observer not in self.node_runs:
            return Cell.DOWN
        update = self.held[observer].get(subject)
        if update is None:
            return Cell.UNKNOWN
        run = self.node_runs.get(subject)
        is_over = run is None or run.left is not None or update.generation < run.generation
        return Cell.STALE if update.status is Status.ALIVE and is_over else _OF_STATUS[update.status]

    def redraw(self, at: int, observers: Sequence[str], subjects: Sequence[str]) -> Iterator[Change]:
        """Yield the changes among these cells."""
        for observer in observers:
            for subject in subjects:
                cell = self.place[observer] * len(self.names) + self.place[subject]
                state = self.shown(observer, subject)
                if self.cells[cell] != state:
                    self.cells[cell] = state
                    yield Change(at, cell, state)

    def turn(self, run: NodeRun, what: str, at: int) -> Iterator[Change]:
        """Apply the start, the leave or the end of a node's run."""
        name = run.node
        if what == "born":
            self.node_runs[name] = attrs.evolve(run, left=None)
            self.held[name] = {}
        elif what == "left":
            self.node_runs[name] = run
        else:
            del self.node_runs[name]
        yield from self.redraw(at, [name], self.names)
        yield from self.redraw(at, self.names, [name])

    def believe(self, belief: Belief, at: int) -> Iterator[Change]:
        """Apply an observer's change of belief."""
        held = self.held[belief.observer]
        if belief.after is None:
            held.pop(belief.subject, None)
        else:
            held[belief.subject] = belief.after
        return self.redraw(at, [belief.observer], [belief.subject])


#: Order at the same instant: an old run ends, a new run starts, then beliefs change.
_TURNS: Final = ("died", "born", "belief", "left")


def heat_map_of(recording: Recording) -> HeatMap:
    """Return the heat map of a run."""
    drawn = _Map(recording.scenario.node_names)
    turns = (
        (at, _TURNS.index(what), run)
        for run in recording.node_runs
        for what, at in (("born", run.born), ("left", run.left), ("died", run.died))
        if at is not None
    )
    beliefs = ((belief.at, _TURNS.index("belief"), belief) for belief in recording.beliefs)
    changes: list[Change] = []
    for at, turn, what in sorted(chain(turns, beliefs), key=itemgetter(0, 1)):
        if isinstance(what, Belief):
            changes += drawn.believe(what, at // 1000)
        elif isinstance(what, NodeRun):
            changes += drawn.turn(what, _TURNS[turn], at // 1000)
    return HeatMap(tuple(drawn.names), tuple(changes))

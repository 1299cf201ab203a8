"""Figures of a run over time: correct beliefs, cluster sizes as seen by nodes, traffic, local health."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import Final

import attrs

from gossipreg_sim.report.heat_map import Cell, HeatMap
from gossipreg_sim.report.recording import NodeRun, Recording

#: Maximum samples in one curve: more than the pixels of a screen cannot be seen.
_SAMPLES: Final = 1200

#: The shortest interval between two samples (µs).
_STEP: Final = 50_000

_SECOND: Final = 1_000_000


@attrs.frozen
class Curves:
    """Figures sampled every ``step`` µs from 0 on; traffic and sizes every second."""

    step: int
    right: tuple[float, ...]  # % of the (live observer, other node) pairs with a correct belief
    agreeing: tuple[float, ...]  # % of the live nodes that share the most common fingerprint
    health: tuple[float, ...]  # the mean local health score of the live nodes
    health_worst: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]  # by second and node: members that it counts as present; 0 while down
    messages: tuple[int, ...]  # packets and frames sent in each second
    lost: tuple[int, ...]  # of these, lost
    bytes: tuple[int, ...]


@attrs.define
class _Tally:
    """The count of correct cells of the heat map, updated with each change."""

    nodes: int
    cells: bytearray = attrs.field(init=False)
    runs: list[bool] = attrs.field(init=False)
    right: list[int] = attrs.field(init=False)  # by observer

    def __attrs_post_init__(self) -> None:
        self.cells = bytearray([Cell.DOWN]) * self.nodes**2
        self.runs = [False] * self.nodes
        self.right = [0] * self.nodes

    def _is_right(self, observer: int, subject: int) -> bool:
        state = self.cells[observer * self.nodes + subject]
        if observer == subject or state == Cell.DOWN:
            return False
        return (state == Cell.ALIVE) if self.runs[subject] else state in (Cell.FAILED, Cell.LEFT, Cell.UNKNOWN)

    def change(self, cell: int, state: Cell) -> None:
        observer, subject = divmod(cell, self.nodes)
        self.right[observer] -= self._is_right(observer, subject)
        self.cells[cell] = state
        self.right[observer] += self._is_right(observer, subject)

    def run(self, node: int, *, runs: bool) -> None:
        for observer in range(self.nodes):
            self.right[observer] -= self._is_right(observer, node)
        self.runs[node] = runs
        for observer in range(self.nodes):
            self.right[observer] += self._is_right(observer, node)

    @property
    def live(self) -> list[int]:
        return [node for node, runs in enumerate(self.runs) if runs]

    def percent(self) -> float:
        live = self.live
        pairs = len(live) * (self.nodes - 1)
        return 100.0 * sum(self.right[node] for node in live) / pairs if pairs else 100.0

    def sizes(self) -> tuple[int, ...]:
        present = bytes(int(state in _PRESENT) for state in range(256))
        rows = self.cells.translate(present)
        return tuple(sum(rows[node * self.nodes : (node + 1) * self.nodes]) for node in range(self.nodes))


_PRESENT: Final = tuple(state for state in Cell if state.is_present)


def curves_of(recording: Recording, heat: HeatMap) -> Curves:
    """Return all curves of a run."""
    end = recording.end // 1000
    step = max(_STEP, -(-end // _SAMPLES // _STEP) * _STEP)
    right, sizes = _agreement(recording, heat, step, end)
    agreeing, health, worst = _gauges(recording, step, end)
    seconds = range(end // _SECOND + 1)
    sent = Counter(passage.sent // 1_000_000_000 for passage in recording.passages)
    lost = Counter(passage.sent // 1_000_000_000 for passage in recording.passages if passage.culprit)
    size: Counter[int] = Counter()
    for passage in recording.passages:
        size[passage.sent // 1_000_000_000] += len(passage.data)
    return Curves(
        step,
        tuple(right),
        tuple(agreeing),
        tuple(health),
        tuple(worst),
        tuple(sizes),
        tuple(sent[second] for second in seconds),
        tuple(lost[second] for second in seconds),
        tuple(size[second] for second in seconds),
    )


def _running(node_runs: tuple[NodeRun, ...], place: dict[str, int]) -> list[tuple[int, int, bool]]:
    """Return when (µs) each node starts or stops."""
    turns = []
    for run in node_runs:
        turns.append((run.born // 1000, place[run.node], True))
        over = run.died if run.left is None else run.left
        if over is not None:
            turns.append((over // 1000, place[run.node], False))
    return sorted(turns)


def _agreement(recording: Recording, heat: HeatMap, step: int, end: int) -> tuple[list[float], list[tuple[int, ...]]]:
    place = {name: number for number, name in enumerate(heat.names)}
    tally = _Tally(len(heat.names))
    turns = iter([*_running(recording.node_runs, place), (end + 1, 0, False)])
    changes = iter(heat.changes)
    turn, change = next(turns), next(changes, None)
    right: list[float] = []
    sizes: list[tuple[int, ...]] = []
    for at in range(0, end + 1, step):
        while turn[0] <= at:
            tally.run(turn[1], runs=turn[2])
            turn = next(turns)
        while change is not None and change.at <= at:
            tally.change(change.cell, change.state)
            change = next(changes, None)
        right.append(round(tally.percent(), 2))
        if at % _SECOND < step and len(sizes) <= at // _SECOND:
            sizes.append(tally.sizes())
    return right, sizes


def _gauges(recording: Recording, step: int, end: int) -> tuple[list[float], list[float], list[int]]:
    """Return the share of equal fingerprints, the mean and the worst local health."""
    place = {name: number for number, name in enumerate(recording.scenario.node_names)}
    turns = _running(recording.node_runs, place)
    readings = list(recording.readings)
    live: dict[str, bool] = {}
    shown: dict[str, tuple[int, int]] = {}
    agreeing, mean, worst = [], [], []
    turn = reading = 0
    for at in range(0, end + 1, step):
        while turn < len(turns) and turns[turn][0] <= at:
            live[recording.scenario.node_names[turns[turn][1]]] = turns[turn][2]
            turn += 1
        while reading < len(readings) and readings[reading].at // 1000 <= at:
            read = readings[reading]
            shown[read.node] = (read.health, read.fingerprint)
            reading += 1
        now = [shown[node] for node, runs in live.items() if runs and node in shown]
        common = Counter(fingerprint for _, fingerprint in now).most_common(1)
        agreeing.append(round(100.0 * common[0][1] / len(now), 2) if common else 100.0)
        mean.append(round(sum(health for health, _ in now) / len(now), 2) if now else 0.0)
        worst.append(max((health for health, _ in now), default=0))
    return agreeing, mean, worst


def worst_moment(curves: Curves, since: int) -> int:
    """Return the last sample time (µs), from ``since`` (µs) on, at which the fewest beliefs were correct."""
    samples = range(min(since // curves.step, len(curves.right) - 1), len(curves.right))
    return curves.step * min(samples, key=lambda sample: (curves.right[sample], -sample))


def sides_of(heat: HeatMap, moment: int) -> list[list[str]]:
    """Return groups of nodes that, at ``moment`` (µs), count each other as present; single nodes come last."""
    cells, count = heat.at(moment), len(heat.names)
    group = list(range(count))

    def root(node: int) -> int:
        while group[node] != node:
            node = group[node]
        return node

    for one in range(count):
        for other in range(one):
            if all(Cell(cells[cell]).is_present for cell in (one * count + other, other * count + one)):
                group[root(one)] = root(other)
    named = sorted((root(node), node) for node in range(count))
    sides = [[heat.names[node] for _, node in members] for _, members in groupby(named, key=lambda pair: pair[0])]
    groups = [side for side in sides if len(side) > 1]
    lonely = [name for side in sides if len(side) == 1 for name in side]
    return [*sorted(groups, key=lambda side: heat.names.index(side[0])), *([lonely] if lonely else [])]

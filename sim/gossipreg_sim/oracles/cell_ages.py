"""Oracles of cut borders: the stated age of another cell is not too low, and a cut is one change of belief."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import attrs

from gossipreg.protocol.cells.cells import STALE_SECONDS
from gossipreg.protocol.outputs import CellChanged, Output
from gossipreg_sim.cluster import PacketTrace
from gossipreg_sim.fault_timing import end_of
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND

#: How often a node's ages are looked at (ns).
_GAP = SECOND // 2

#: How much later than due a node may find a cell stale (seconds): it looks once a second.
_LATE = 1.5

#: How much younger an age may look (seconds): clocks are read in milliseconds.
_ROUNDING = 0.01


@attrs.define
class CellAges(Oracle):
    """A node states no lower age of another cell than the time since anything of that cell arrived in its own.

    And what is older than the limit is shown as stale.
    """

    law: ClassVar[str] = "the stated age of another cell is no less than the time since it was last heard"

    _arrived: dict[tuple[str, str], int] = attrs.field(factory=dict)  # (from cell, to cell) -> ns
    _looked: dict[Process, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.cluster.packet_taps.append(self._crossed)

    @property
    def _is_measured(self) -> bool:
        """Whether all clocks are right, and no fault delays a node's work."""
        clocks = any(fault.kind.startswith("clock") for fault in self.context.scenario.faults)
        return self.context.is_punctual and not clocks

    def _crossed(self, trace: PacketTrace) -> None:
        scenario = self.context.scenario
        ends = scenario.cell_of(trace.sender), scenario.cell_of(trace.receiver)
        if ends[0] != ends[1] and trace.arrivals and trace.data:
            self._arrived[ends] = max(self._arrived.get(ends, 0), *trace.arrivals)

    def after(self, process: Process) -> None:
        """Compare the ages that a node states with what has arrived."""
        now = self.cluster.world.now
        cells = process.engine.state.cells
        if cells is None or now - self._looked.get(process, -_GAP) < _GAP:
            return
        self._looked[process] = now
        wall = process.engine.state.clock.wall(process.now)
        for cell in cells.others:
            age = cells.age(cell, process.now, wall)
            if age is None:
                continue
            least = (now - self._arrived.get((cell, cells.own), 0)) / SECOND
            if self._is_measured:
                self.check(
                    process, age >= least - _ROUNDING, f"states an age of {age:.2f} s of {cell}, not {least:.2f} s"
                )
                is_late = age > STALE_SECONDS + _LATE and cell not in cells.stale
                self.check(process, not is_late, f"shows what is {age:.2f} s old of {cell} as fresh")


@attrs.define
class SplitCost(Oracle):
    """A node reports a cut border once, and its heal once, however many members are behind it."""

    law: ClassVar[str] = "a cut border is one change of belief of each node"
    wants: ClassVar[tuple[type[Any], ...]] = (CellChanged,)

    _cuts: Counter[tuple[Process, str]] = attrs.field(factory=Counter)

    def see(self, process: Process, output: Output) -> None:
        """Count the reports that a cell cannot be reached."""
        assert isinstance(output, CellChanged), "the oracle receives only what it wants"
        self._cuts[process, output.cell] += not output.reachable

    def finish(self) -> None:
        """Compare the reports with the faults that can have caused them."""
        scenario = self.context.scenario
        if any(fault.off for fault in scenario.faults) or not scenario.faults:
            self.not_applicable("no fault, or one that comes and goes")
            return
        # A fault that ends may have lasted long enough by itself, and two that overlap in parts may cut twice.
        most = 1 + sum(1 for fault in scenario.faults if end_of(fault, scenario) < float("inf"))
        for (process, cell), cuts in self._cuts.items():
            self.check(process, cuts <= most, f"reports {cuts} times that {cell} cannot be reached, not {most}")
        self.checks += 1

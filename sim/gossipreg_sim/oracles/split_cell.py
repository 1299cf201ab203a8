"""Oracle of a cell that is split within: other cells hold its members as present, whichever part of it they are in."""

from __future__ import annotations

from typing import ClassVar

import attrs

from gossipreg.model import Status
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.suspicion_times import suspicion_time
from gossipreg_sim.process import Process
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.world import SECOND

#: How often a node is looked at (ns).
_GAP = SECOND // 2

#: How long another cell may hold a living member as failed once each part has relays of its own (seconds): one of each
#: crosses to it every 2.5 s at the most, and what they bring has to reach the accused, come back, and be told to the
#: whole cell.
_REFUTED_MAX = 8.0


@attrs.define
class SplitCell(Oracle):
    """A member that one part of its cell has declared failed refutes that in all cells that the other part reaches."""

    law: ClassVar[str] = "other cells hold no member of a split cell as failed for long"

    _since: dict[tuple[Process, str, int], int] = attrs.field(factory=dict)  # observer, member, generation -> ns
    _looked: dict[Process, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        scenario = self.context.scenario
        if not scenario.faults or not all(_is_within_a_cell(fault, scenario) for fault in scenario.faults):
            self.not_applicable("there are other faults than splits within a cell")

    def after(self, process: Process) -> None:
        """Compare what a node holds of other cells with the processes that run."""
        now = self.cluster.world.now
        cells = process.engine.state.cells
        if not self.is_applicable or cells is None or now - self._looked.get(process, -_GAP) < _GAP:
            return
        self._looked[process] = now
        for update in cells.remote:
            running = self.cluster.running(update.name)
            key = process, update.name, update.generation
            is_wrong = running is not None and running.engine.identity.generation == update.generation
            if update.status is not Status.FAILED or not is_wrong:
                self._since.pop(key, None)
                continue
            held = (now - self._since.setdefault(key, now)) / SECOND
            self.check(
                process, held < self._held_max, f"has held {update.name}, which runs, as failed for {held:.1f} s"
            )

    @property
    def _held_max(self) -> float:
        """How long that may be (seconds): a part elects relays of its own when it has declared the others failed."""
        scenario = self.context.scenario
        return _REFUTED_MAX + suspicion_time(scenario.settings, scenario.nodes, 0)


def _is_within_a_cell(fault: Fault, scenario: Scenario) -> bool:
    names = (*fault.nodes, *fault.to)
    are_nodes = bool(fault.to) and set(names) <= set(scenario.node_names)
    return fault.kind == "cut" and are_nodes and len({scenario.cell_of(name) for name in names}) == 1

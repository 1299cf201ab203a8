"""Oracle 6: all nodes believe a restarted node alive, with its disk or without."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from gossipreg.model import Status
from gossipreg.protocol.outputs import Output, SeekSeeds
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process


@attrs.define
class Restarts(Oracle):
    """When all agree, every restarted node is alive for all nodes, in its current run."""

    law: ClassVar[str] = "a restarted node is alive for all nodes at the end, in its new run"
    wants: ClassVar[tuple[type[Any], ...]] = (SeekSeeds,)

    _first: dict[str, Process] = attrs.field(factory=dict)  # by name, the first run seen

    def see(self, process: Process, output: Output) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Note running nodes: every node that may restart has seeds, and contacts them at once."""
        self._first.setdefault(process.name, process)

    def finish(self) -> None:
        """Compare what all nodes believe of the restarted ones with their current runs."""
        back = [p for p in self._core() if self._first.get(p.name, p) is not p]
        if not back:
            self.not_applicable("no node restarted")
        elif self.context.healed_in is None:
            self.not_applicable("the nodes did not come to agree")
        elif len(self._core()) == 1 and not back[0].engine.identity.announced:
            self.not_applicable("the restarted node is alone and waits for a seed")
        else:
            for restarted in back:
                for process in self._core():
                    if process.engine.identity.cell == restarted.engine.identity.cell:
                        self._compare(process, restarted)

    def _core(self) -> list[Process]:
        return [p for p in self.cluster.alive if p.name not in self.context.outside and not p.engine.identity.left]

    def _compare(self, process: Process, restarted: Process) -> None:
        held = process.engine.members.get(restarted.name)
        generation = restarted.engine.identity.generation
        holds = held is not None and held.status is Status.ALIVE and held.generation == generation
        said = "nothing" if held is None else f"{held.status} in generation {held.generation}"
        self.check(process, holds, f"believes {said} of {restarted.name}, which is back in generation {generation}")

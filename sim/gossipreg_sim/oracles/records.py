"""Oracles 2, 3 and 9 for records: only the owner makes them, and a removed record stays removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs

from gossipreg.protocol.outputs import InstancesChanged, Output
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.table import Table
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process

#: (owner, generation)
_Life = tuple[str, int]


@attrs.define
class RecordOracle(Oracle):
    """An oracle that is shown the records which a node came to hold and those that it let go."""

    wants: ClassVar[tuple[type[Any], ...]] = (InstancesChanged,)

    def see(self, process: Process, output: Output) -> None:
        """Find the records behind the services that look different."""
        assert isinstance(output, InstancesChanged), "nothing else is wanted"
        came, went = self.context.record_tracker.compare(process, output)
        self.moved(process, came, went)

    def moved(self, process: Process, came: Sequence[Record], went: Sequence[Record]) -> None:
        """``process`` holds ``came`` from now on, and ``went`` no longer; a later version of what is held only came."""


@attrs.define
class SingleWriter(RecordOracle):
    """Each record held anywhere is one that its owner issued, at a version that it issued, with the very same bytes."""

    law: ClassVar[str] = "each record held anywhere is one that its owner issued"

    _issued: dict[_Life, dict[tuple[str, int], int]] = attrs.field(factory=dict)  # (id, version) -> digest
    _noted: dict[Process, tuple[Table, int]] = attrs.field(factory=dict)  # owner -> table and version noted last

    def after(self, process: Process) -> None:
        """Note what the owner has issued."""
        table = process.engine.state.registry.table(process.name)
        if table is None:
            return
        noted = self._noted.get(process)
        if noted is not None and noted[0] is table and noted[1] == table.compacted_below:
            return
        self._noted[process] = (table, table.compacted_below)
        issued = self._issued.setdefault((process.name, table.generation), {})
        for record in table:
            issued.setdefault((record.id, record.version), record.digest)

    def moved(self, process: Process, came: Sequence[Record], went: Sequence[Record]) -> None:  # noqa: ARG002
        """Compare what came with what was issued."""
        for record in came:
            if record.owner == process.name:
                continue
            self.checks += 1
            issued = self._issued.get((record.owner, record.generation), {})
            if issued.get((record.id, record.version)) != record.digest:
                said = f"{record.id} of {record.owner} at version {record.version}"
                self.wrong(process.name, f"holds {said}, which its owner never issued")


@attrs.define
class NoResurrection(RecordOracle):
    """Once a node has seen a version of an instance go, it never shows that version or an older one again.

    And when all agree, nobody holds anything of a live owner that the owner itself has removed.
    """

    law: ClassVar[str] = "a removed record stays removed"

    _gone: dict[tuple[Process, str, int, str], int] = attrs.field(factory=dict)

    def moved(self, process: Process, came: Sequence[Record], went: Sequence[Record]) -> None:
        """Note what went, and compare what came with what went before."""
        for record in came:
            self.checks += 1
            gone = self._gone.get((process, record.owner, record.generation, record.id), 0)
            if record.version <= gone:
                said = f"{record.id} of {record.owner} at version {record.version}"
                self.wrong(process.name, f"shows {said}: gone at {gone}")
        for record in went:
            table = process.engine.state.registry.table(record.owner)
            if table is not None and table.generation == record.generation and table.get(record.id) is None:
                key = (process, record.owner, record.generation, record.id)
                self._gone[key] = max(record.version, self._gone.get(key, 0))

    def finish(self) -> None:
        """Compare what everybody holds at the end with what the owners offer."""
        if self.context.healed_in is None:
            return
        alive = [process for process in self.cluster.alive if process.name not in self.context.outside]
        own = {p.name: p.engine.state.registry.table(p.name) for p in alive}
        for process in alive:
            for table in process.engine.state.registry.owners:
                offered = own.get(table.owner)
                if offered is None:
                    continue
                for record in table:
                    current = offered.get(record.id)
                    holds = current is not None and current.version == record.version
                    self.check(process, holds, f"still holds {record.id} of {record.owner}, which is gone")

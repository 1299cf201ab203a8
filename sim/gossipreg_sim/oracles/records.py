"""Oracles 2, 3 and 9 for records: only the owner issues them, and a removed record stays removed."""

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
_Run = tuple[str, int]

#: (observer, owner, generation, id)
_Key = tuple[Process, str, int, str]


def _is_owner_known(process: Process, record: Record) -> bool:
    """Whether ``process`` holds the run of a member that made ``record``, without which it shows no record."""
    owner = process.engine.state.owner_of(record)
    return owner is not None and owner.generation == record.generation


@attrs.define
class RecordOracle(Oracle):
    """Base of oracles that check the records which a node gains and loses."""

    wants: ClassVar[tuple[type[Any], ...]] = (InstancesChanged,)

    def see(self, process: Process, output: Output) -> None:
        """Find the records behind the changed services."""
        assert isinstance(output, InstancesChanged), "the oracle receives only what it wants"
        came, went = self.context.record_tracker.compare(process, output)
        self.moved(process, came, went)

    def moved(self, process: Process, came: Sequence[Record], went: Sequence[Record]) -> None:
        """``process`` gained ``came`` and lost ``went``; a later version of a record appears in ``came`` only."""


@attrs.define
class SingleWriter(RecordOracle):
    """Each record on any node was issued by its owner, at that version and with the same bytes."""

    law: ClassVar[str] = "each record on any node was issued by its owner"

    _issued: dict[_Run, dict[tuple[str, int], int]] = attrs.field(factory=dict)  # (id, version) -> digest
    _noted: dict[Process, tuple[Table, int]] = attrs.field(factory=dict)  # owner -> table and version noted last

    def after(self, process: Process) -> None:
        """Note the records that the owner has issued."""
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

    def moved(self, process: Process, came: Sequence[Record], went: Sequence[Record]) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Compare gained records with issued ones."""
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
    """After a node has lost a version of an instance, it never shows that version or an older one again.

    A node that holds records without their owner (`ClusterState.take`) shows none of them. It forgets with an owner
    what that has removed, and may hold such a record again until it learns of the owner. A table that was dropped as a
    whole, since nothing in it was verified, comes again as another one: that is no removal either.

    And when all agree, no node holds a record of a live owner that the owner itself has removed.
    """

    law: ClassVar[str] = "a removed record stays removed"

    _gone: dict[_Key, int] = attrs.field(factory=dict)
    _returned: dict[_Key, Record] = attrs.field(factory=dict)  # held again, and not shown so far
    _tables: dict[_Key, Table | None] = attrs.field(factory=dict)  # in which a record was found

    def see(self, process: Process, output: Output) -> None:
        """Find the records behind the changed services, and those held again that are shown now."""
        super().see(process, output)
        for key, record in [each for each in self._returned.items() if each[0][0] is process]:
            table = process.engine.state.registry.table(record.owner)
            if table is None or table.get(record.id) is not record:
                del self._returned[key]
            elif _is_owner_known(process, record):
                del self._returned[key]
                said = f"{record.id} of {record.owner} at version {record.version}"
                self.wrong(process.name, f"shows {said}: lost at version {self._gone[key]}")

    def moved(self, process: Process, came: Sequence[Record], went: Sequence[Record]) -> None:
        """Note lost records, and gained ones that were lost before."""
        for record in came:
            self.checks += 1
            key = (process, record.owner, record.generation, record.id)
            self._tables[key] = process.engine.state.registry.table(record.owner)
            if record.version <= self._gone.get(key, 0):
                self._returned[key] = record
        for record in went:
            table = process.engine.state.registry.table(record.owner)
            key = (process, record.owner, record.generation, record.id)
            is_removed = table is not None and table is self._tables.get(key) and table.get(record.id) is None
            if is_removed and _is_owner_known(process, record):
                self._gone[key] = max(record.version, self._gone.get(key, 0))

    def finish(self) -> None:
        """Compare what all nodes hold at the end with what the owners offer."""
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
                    self.check(process, holds, f"still holds {record.id} of {record.owner}, which is removed")

"""Knows oracles 2, 3 and 9: nobody but the owner makes records, and what was removed stays removed."""

from __future__ import annotations

from typing import ClassVar

import attrs

from gossipreg.protocol.outputs import InstancesChanged, Output
from sim.oracles.oracle import Oracle
from sim.process import Process

#: (owner, generation)
_Life = tuple[str, int]


@attrs.define
class SingleWriter(Oracle):
    """Each record held anywhere is one that its owner issued, at a version that it issued, with the very same bytes."""

    law: ClassVar[str] = "each record held anywhere is one that its owner issued"

    _issued: dict[_Life, dict[tuple[str, int], int]] = attrs.field(factory=dict)  # (id, version) -> digest

    def after(self, process: Process) -> None:
        """Note what the owner has issued."""
        table = process.engine.knowledge.registry.table(process.name)
        if table is None:
            return
        issued = self._issued.setdefault((process.name, table.generation), {})
        if (("", table.head.version)) in issued:
            return
        issued["", table.head.version] = 0
        for record in table:
            issued.setdefault((record.id, record.version), record.digest)

    def see(self, process: Process, output: Output) -> None:
        """Compare the records behind a service that looks different with what was issued."""
        if not isinstance(output, InstancesChanged):
            return
        for service in output.services:
            for record in process.engine.knowledge.registry.offers(service).values():
                if record.owner == process.name:
                    continue
                issued = self._issued.get((record.owner, record.generation), {})
                digest = issued.get((record.id, record.version))
                said = f"{record.id} of {record.owner} at version {record.version}"
                self.check(process, digest == record.digest, f"holds {said}, which its owner never issued")


@attrs.define
class NoResurrection(Oracle):
    """Once a node has seen a version of an instance go, it never shows that version or an older one again."""

    law: ClassVar[str] = "what was removed stays removed"

    _held: dict[tuple[Process, str], dict[tuple[str, int, str], int]] = attrs.field(factory=dict)
    _gone: dict[tuple[Process, str, int, str], int] = attrs.field(factory=dict)

    def see(self, process: Process, output: Output) -> None:
        """Compare what the node holds of a service now with what it held before."""
        if not isinstance(output, InstancesChanged):
            return
        registry = process.engine.knowledge.registry
        for service in output.services:
            now = {(r.owner, r.generation, r.id): r.version for r in registry.offers(service).values()}
            for key, version in now.items():
                gone = self._gone.get((process, *key), 0)
                self.check(process, version > gone, f"shows {key[2]} of {key[0]} at version {version}: gone at {gone}")
            for key, version in self._held.get((process, service), {}).items():
                table = registry.table(key[0])
                if key not in now and table is not None and table.generation == key[1]:
                    self._gone[process, *key] = version
            self._held[process, service] = now

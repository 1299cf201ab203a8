"""Record tracker: the records that a node gained and lost in one step."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from gossipreg.protocol.outputs import InstancesChanged
from gossipreg.protocol.registry.records import Record
from gossipreg_sim.process import Process

_Offers = dict[tuple[str, str], Record]  # by (id, owner)


@attrs.define
class RecordTracker:
    """What each node held of each service at its last change. Computed once per output, for all oracles."""

    _held: dict[tuple[Process, str], _Offers] = attrs.field(factory=dict)
    _last: InstancesChanged | None = None
    _came: list[Record] = attrs.field(factory=list)
    _went: list[Record] = attrs.field(factory=list)

    def compare(self, process: Process, output: InstancesChanged) -> tuple[Sequence[Record], Sequence[Record]]:
        """Return the records gained and lost; versions of a record are compared by identity, which is cheap."""
        if output is not self._last:
            self._last = output
            self._came, self._went = [], []
            registry = process.engine.state.registry
            for service in output.services:
                held = self._held.get((process, service), {})
                found = {key: registry.record_of(service, key) for key in registry.keys_of(service)}
                records = {key: record for key, record in found.items() if record is not None}
                self._came += [record for key, record in records.items() if held.get(key) is not record]
                self._went += [record for key, record in held.items() if key not in records]
                self._held[process, service] = records
        return self._came, self._went

"""Oracle 7: nothing grows beyond its declared limit."""
# ruff: noqa: SLF001 -- oracles see the private state of nodes

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from gossipreg import limits
from gossipreg.protocol.outputs import OpenStream, Output, SendFrame, Transmit
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process


@attrs.define
class Bounds(Oracle):
    """Datagrams, frames, queues and tables stay within `gossipreg.limits`."""

    law: ClassVar[str] = "packets, frames, queues and tables stay within their limits"
    wants: ClassVar[tuple[type[Any], ...]] = (Transmit, SendFrame, OpenStream)

    def see(self, process: Process, output: Output) -> None:
        """Measure what is sent."""
        self.checks += 1
        if isinstance(output, Transmit):
            size = len(output.data) + process.codec.overhead
            if size > limits.PACKET_BYTES_MAX:
                self.wrong(process.name, f"sends a packet of {size} bytes")
        elif isinstance(output, SendFrame | OpenStream) and len(output.frame) > limits.FRAME_BYTES_MAX:
            self.wrong(process.name, f"sends a frame of {len(output.frame)} bytes")

    def after(self, process: Process) -> None:
        """Measure queues and tables."""
        self.checks += 1
        state = process.engine.state
        if len(state.broadcasts._items) > limits.BROADCAST_QUEUE_MAX:
            self.wrong(process.name, f"queues {len(state.broadcasts)} broadcasts")
        if len(state.members._updates) > limits.MEMBERS_MAX:
            self.wrong(process.name, f"remembers {len(state.members)} members")

    def finish(self) -> None:
        """Measure the records of each owner."""
        for process in self.cluster.alive:
            for table in process.engine.state.registry.owners:
                kept = len(table) + len(table._tombstones)
                self.check(process, kept <= limits.RECORDS_PER_OWNER_MAX, f"keeps {kept} records of {table.owner}")

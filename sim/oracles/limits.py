"""Knows oracle 7: nothing grows beyond its declared bound."""

from __future__ import annotations

from typing import ClassVar

import attrs

from gossipreg import limits
from gossipreg.protocol.outputs import OpenStream, Output, SendFrame, Transmit
from sim.oracles.oracle import Oracle
from sim.process import Process


@attrs.define
class Bounds(Oracle):
    """Datagrams, frames and queues stay within `gossipreg.limits`."""

    law: ClassVar[str] = "packets, frames and queues stay within their bounds"

    def see(self, process: Process, output: Output) -> None:
        """Measure what is sent."""
        match output:
            case Transmit():
                size = len(output.data) + process.seal.overhead
                self.check(process, size <= limits.PACKET_BYTES_MAX, f"sends a packet of {size} bytes")
            case SendFrame() | OpenStream():
                size = len(output.frame)
                self.check(process, size <= limits.FRAME_BYTES_MAX, f"sends a frame of {size} bytes")

    def after(self, process: Process) -> None:
        """Measure what is kept."""
        knowledge = process.engine.knowledge
        self.check(process, len(knowledge.mill) <= limits.RUMOR_QUEUE_MAX, f"queues {len(knowledge.mill)} rumors")
        self.check(process, len(knowledge.members) <= limits.MEMBERS_MAX, "remembers too many members")

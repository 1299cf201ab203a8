"""Oracles 20 and 21: records spread over streams where packets are lost; a node with a wrong clock is not admitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

import attrs

from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg.protocol.registry.records import Record
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.records import RecordOracle
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND, ns

#: Upper limit of the time from the first lost packet until the nodes know which paths pass only streams: a node probes
#: all others within as many periods (seconds, and seconds per node).
_DETECTION: Final = 4.0
_DETECTION_PER_NODE: Final = 1.0

#: Time for a record to reach the next node over streams, and for each doubling of the nodes that hold it (seconds). A
#: node compares states with the node it probes, once a second; the stream is tried half a second after the ping.
_FIRST_STEP: Final = 4.0
_STEP: Final = 2.0


@attrs.define
class StreamFallback(RecordOracle):
    """While some links lose all packets but pass streams, and no other fault holds, records spread within seconds.

    Only instances that were never offered before, and are not withdrawn meanwhile, are followed.
    """

    law: ClassVar[str] = "where packets are lost but streams pass, records reach all nodes within seconds"

    _born: dict[tuple[str, int, str], tuple[int, int]] = attrs.field(factory=dict)  # created (ns), nodes without it
    _offered: dict[tuple[str, int, str], None] = attrs.field(factory=dict)  # all that were ever offered

    @staticmethod
    def known_after(nodes: int) -> float:
        """Return when, after the first lost packet, ``nodes`` nodes know which paths pass only streams (seconds)."""
        return _DETECTION + _DETECTION_PER_NODE * nodes

    @staticmethod
    def bound_among(nodes: int) -> float:
        """Return the time within which a record reaches all of ``nodes`` nodes (seconds)."""
        return _FIRST_STEP + _STEP * math.ceil(math.log2(max(2, nodes)))

    @property
    def bound(self) -> float:
        """The time within which a record reaches all nodes (seconds)."""
        return self.bound_among(self.context.scenario.nodes)

    def moved(self, process: Process, came: Sequence[Record], went: Sequence[Record]) -> None:
        """Note new records, and the nodes that gained each."""
        now = self.cluster.world.now
        for record in came:
            key = (record.owner, record.generation, record.id)
            if record.owner == process.name:
                begins, ends = self._span
                # A record that is offered again changes nothing on a node that missed its removal.
                if begins <= now < ends - ns(self.bound) and record.version > 0 and key not in self._offered:
                    self._born[key] = (now, len(self.cluster.alive) - 1)
                self._offered[key] = None
            elif (born := self._born.get(key)) is not None:
                since, lacking = born
                self._born[key] = (since, lacking - 1)
                if lacking == 1:
                    del self._born[key]
                    took = (now - since) / SECOND
                    self.check(process, took <= self.bound, f"{record.id} took {took:.3f} s, over {self.bound:g} s")
        for record in went:
            self._born.pop((record.owner, record.generation, record.id), None)

    @property
    def _span(self) -> tuple[int, int]:
        """Return the start and end of the time in which records are followed (ns)."""
        faults = self.context.scenario.faults
        if not faults or any(fault.kind != "udp-only-loss" or fault.probability < 1 for fault in faults):
            return 0, 0
        begins = max(fault.at for fault in faults) + self.known_after(self.context.scenario.nodes)
        ends = min(fault.at + fault.lasts if fault.lasts else self.context.scenario.duration for fault in faults)
        return self.context.faults_at + ns(begins), self.context.faults_at + ns(ends)

    def finish(self) -> None:
        """Look for records that never reached all nodes."""
        for (owner, _, id_), (since, lacking) in self._born.items():
            if self.cluster.world.now - since > ns(self.bound):
                self.wrong(owner, f"{id_}, offered at {since / SECOND:.3f} s, is still missing at {lacking} nodes")
        if not self.checks:
            self.not_applicable("no record was offered while only packets were lost")


@attrs.define
class HalfOpenJoins(Oracle):
    """A node of a sealed cluster whose clock is wrong from its first start is not believed present by other nodes.

    Checked where some clocks are wrong by one amount, beyond the tolerance, and all others are right, and no impostor
    is there: one that holds the key can pass on what such a node has signed.
    """

    law: ClassVar[str] = "a node with a wrong clock is not admitted until the clock is right"

    _watched: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        scenario = self.context.scenario
        clocks = [fault for fault in scenario.faults if fault.kind.startswith("clock")]
        skews = {fault.seconds for fault in clocks if fault.kind == "clock-skew-at-start"}
        is_clear = len(skews) == 1 and all(fault.kind == "clock-skew-at-start" for fault in clocks)
        has_impostor = any(fault.kind == "impostor" for fault in scenario.faults)
        self._watched = scenario.sealed and is_clear and not has_impostor and abs(skews.pop()) > CLOCK_SKEW_MAX + 5

    def after(self, process: Process) -> None:
        """Check which members a node with a right clock believes present."""
        if not self._watched or process.clock.skew:
            return
        for name in process.engine.members.present:
            other = self.cluster.processes.get(name)
            if other is not None and other.clock.skew:
                self.wrong(process.name, f"believes {name} present although its clock is {other.clock.skew:g} s off")
        self.checks += 1

    def finish(self) -> None:
        """Note if no clock was off from the start."""
        if not self.checks:
            self.not_applicable("no clock of a sealed cluster was off from the start, by one amount")

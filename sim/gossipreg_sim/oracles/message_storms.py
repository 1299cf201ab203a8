"""Oracle 8: gossip about a change ends, and so does everything else that the change causes."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, Final

import attrs

from gossipreg.counters import Count
from gossipreg.model import Status
from gossipreg.protocol.dissemination.deliveries import ADOPTED_TRIES, SENDS_MAX
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.ring import tree_fanout
from gossipreg.protocol.outputs import InstancesChanged, MemberChanged, Output, PoliciesChanged, Transmit
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import is_inline
from gossipreg.protocol.wire.messages import pack
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.world import ns

#: Minimum time for which one update is followed (ns): all its transmissions and the piggybacked ones of some periods.
_FOLLOWED: Final = ns(5.0)


def sends_budget(settings: EngineSettings, members: int = 1) -> int:
    """Return how often a node may send one update: to the members of each round, and piggybacked on probes and acks.

    Down a tree of ``members`` a child has several tries where receipts are asked for, and its children may be adopted.
    """
    fanout = settings.gossip_fanout
    first = fanout
    if settings.gossip_tree:
        children = tree_fanout(members, fanout)
        first = children
        if settings.gossip_receipts:
            first = children * SENDS_MAX + children * children * ADOPTED_TRIES
    return first + (settings.gossip_transmissions - 1) * fanout + settings.piggyback_transmissions


def events_cap(scenario: Scenario) -> int:
    """Return the number of events in one second beyond which the run counts as self-sustaining.

    A thousand per node (three times the most seen in heals and storms), and fifty for each item that may be new to a
    node in that second: about twenty packets to it, twenty from it, and the timers between.
    """
    changes = scenario.workload.rate + scenario.nodes * (1 + scenario.workload.instances)
    return scenario.nodes * int(1_000 + 50 * changes)


@attrs.define
class _Followed:
    """One followed update, by its bytes, and how often each node has sent it."""

    data: bytes = b""
    since: int = -_FOLLOWED
    sends: Counter[Process] = attrs.field(factory=Counter)
    corrected: dict[Process, int] = attrs.field(factory=dict)  # corrections that each node had sent before

    def may_change(self, now: int) -> bool:
        """Whether the current update was followed for long enough."""
        return now - self.since >= _FOLLOWED

    def change(self, data: bytes, now: int) -> None:
        """Follow another update."""
        self.data, self.since = data, now
        self.sends.clear()
        self.corrected.clear()


@attrs.define
class MessageStorm(Oracle):
    """No node sends one update more often than its transmission limit and piggybacking allow.

    Counting all updates would require decoding all packets. So one member update, one record and one policy at a time
    are followed from their creation, and found in packets by their bytes. Any other endless run is stopped by the limit
    on events (`World.run`) and counts as a storm, too.
    """

    law: ClassVar[str] = "a node sends an update no more often than its transmission limit and piggybacking allow"
    wants: ClassVar[tuple[type[Any], ...]] = (Transmit, MemberChanged, InstancesChanged, PoliciesChanged)

    _claim: _Followed = attrs.field(factory=_Followed)
    _record: _Followed = attrs.field(factory=_Followed)
    _policy: _Followed = attrs.field(factory=_Followed)

    def see(self, process: Process, output: Output) -> None:
        """Search sent packets for the followed updates; choose the next ones when they are created."""
        if type(output) is Transmit:
            data = output.data
            if self._claim.data and self._claim.data in data:
                self._count(process, self._claim)
            if self._record.data and self._record.data in data:
                self._count(process, self._record)
            if self._policy.data and self._policy.data in data:
                self._count(process, self._policy)
        elif type(output) is MemberChanged:
            if output.after is None:  # for a node that forgot the member, old updates are new again
                self._claim, self._record = _Followed(), _Followed()
            elif self._claim.may_change(self.cluster.world.now):
                self._follow_claim(process, output.after)
        elif type(output) is InstancesChanged and self._record.may_change(self.cluster.world.now):
            came, _ = self.context.record_tracker.compare(process, output)
            for record in came[-1:]:
                self._follow_record(process, record)
        elif type(output) is PoliciesChanged and self._policy.may_change(self.cluster.world.now):
            self._follow_policy(process, output)

    def _follow_claim(self, process: Process, claim: MemberUpdate) -> None:
        # Accusations are also sent to the accused, on another budget; so only members' own announcements are followed.
        if claim.name == process.name and claim.status is Status.ALIVE:
            self._claim.change(pack(claim), self.cluster.world.now)

    def _follow_record(self, process: Process, record: Record) -> None:
        # Records offered before the node owned its name are spread again once it does.
        if record.owner == process.name and is_inline(record) and process.engine.identity.announced:
            self._record.change(pack(record), self.cluster.world.now)

    def _follow_policy(self, process: Process, changed: PoliciesChanged) -> None:
        version = process.engine.state.policies.get(changed.keys[-1])
        if version is not None and version.writer == process.name:
            self._policy.change(pack(version), self.cluster.world.now)

    def _count(self, process: Process, followed: _Followed) -> None:
        self.checks += 1
        followed.sends[process] += 1
        # A peer whose accusation shows that it missed a refutation is corrected, at most twice a second. One that
        # requests records is answered.
        counters = process.engine.counters
        corrections = counters[Count.CORRECTIONS] + counters[Count.REQUESTS_ANSWERED]
        answered = corrections - followed.corrected.setdefault(process, corrections)
        budget = sends_budget(process.engine.settings, process.engine.members.present_count) + answered
        if followed.sends[process] == budget + 1:
            self.wrong(process.name, f"sends one update more than {budget} times")

    def stopped(self, events: int) -> None:
        """Report a run that was stopped as a storm."""
        self.checks += 1
        self.wrong("", f"more than {events:,} events in a second: the run would not have ended")

"""Oracle 14: a change reaches the last node about as fast as an epidemic with these settings can."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import InstancesChanged, Output, PoliciesChanged
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import is_inline
from gossipreg_sim.oracles.records import RecordOracle
from gossipreg_sim.oracles.statistics import percentile
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND, ns

#: Records needed for a meaningful 99th percentile.
_NEEDED: Final = 20

#: Time for a record to reach all nodes, by a sync session if need be (ns); records created later are not measured.
_PATIENCE: Final = ns(3.0)

#: Step of the curve (seconds), and its end.
_STEP: Final = 0.0005
_GIVEN_UP: Final = 10.0

#: Nodes needed with packet loss, so that a mean-field curve is meaningful.
_MANY: Final = 8

#: Standard deviations of the latency that the curve includes.
_TAIL: Final = 4.0


def epidemic(settings: EngineSettings, nodes: int, loss: float, one_way: float) -> float:
    """Return when 99 of 100 updates have reached the last of ``nodes`` (seconds); infinity if gossip alone does not.

    The mean field: a node that learns an update sends it to `gossip_fanout` random nodes after the gap of each round;
    each packet is lost with probability ``loss``, or takes ``one_way`` seconds. Piggybacking on probes is left out.
    """
    rounds = min(settings.gossip_transmissions, 3 + math.ceil(math.log2(max(2, nodes))))
    offset = settings.gossip_coalesce + one_way
    offsets = []
    for number in range(rounds):
        offsets.append(max(1, round(offset / _STEP)))
        offset += settings.gossip_gap * settings.gossip_growth**number
    uninformed = nodes - 1.0
    learned = [1.0]
    while uninformed > 0.01:
        step = len(learned)
        if step * _STEP > _GIVEN_UP:
            return math.inf
        senders = sum(learned[step - offset] for offset in offsets if offset <= step)
        received = senders * settings.gossip_fanout * (1 - loss) / (nodes - 1)
        learned.append(uninformed * (1 - math.exp(-received)))
        uninformed -= learned[-1]
    return len(learned) * _STEP


@attrs.define
class DisseminationTime(RecordOracle):
    """While the only fault is random loss, 99 of 100 records and policies reach all nodes within twice that time.

    Only records of instances that were never offered before are followed. Others need not change a view on arrival: a
    node that missed a change of an instance, and receives the change back, has nothing new to show.
    """

    law: ClassVar[str] = "99 of 100 records reach all nodes within twice the analytic time"
    wants: ClassVar[tuple[type[Any], ...]] = (InstancesChanged, PoliciesChanged)

    _born: dict[Hashable, tuple[int, int]] = attrs.field(factory=dict)  # creation (ns), number of nodes without it
    _offered: dict[tuple[str, int, str], None] = attrs.field(factory=dict)  # instances, by owner, run and id
    _times: list[float] = attrs.field(factory=list)  # seconds

    def see(self, process: Process, output: Output) -> None:
        """Look for policies, too."""
        if not isinstance(output, PoliciesChanged):
            super().see(process, output)
            return
        for key in output.keys:
            version = process.engine.state.policies.get(key)
            if version is not None:
                self._note(version.digest, is_born=version.writer == process.name, counts=True)

    def moved(self, process: Process, came: Sequence[Record], went: Sequence[Record]) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Note new records, and the nodes that gained each."""
        for record in came:
            key = (record.owner, record.generation, record.id, record.version)
            is_born = record.owner == process.name
            is_first = is_born and key[:3] not in self._offered
            if is_born:
                self._offered[key[:3]] = None
            self._note(key, is_born=is_born, counts=is_first and is_inline(record))

    def _note(self, key: Hashable, *, is_born: bool, counts: bool) -> None:
        """Count one more node that has it."""
        now = self.cluster.world.now
        if is_born:
            if counts and self.context.settled_from <= now < self.context.fair_until - _PATIENCE:
                self._born[key] = (now, len(self.cluster.alive) - 1)
        elif (born := self._born.get(key)) is not None:
            since, lacking = born
            self._born[key] = (since, lacking - 1)
            if lacking == 1:
                del self._born[key]
                self._times.append((now - since) / SECOND)

    def finish(self) -> None:
        """Compare the 99th percentile with the curve."""
        scenario = self.context.scenario
        if len(self._times) < _NEEDED:
            self.not_applicable(f"{len(self._times)} records were created and spread undisturbed, {_NEEDED} are needed")
            return
        if self.context.loss and scenario.nodes < _MANY:
            self.not_applicable(f"with packet loss the curve needs {_MANY} nodes or more")
            return
        one_way = scenario.wiring.slowest(_TAIL)
        expected = 2 * epidemic(scenario.settings, scenario.nodes, self.context.loss, one_way)
        if self.context.loss and scenario.settings.gossip_tree:
            expected += 2 * scenario.settings.gossip_tree_gap  # random gossip fills missed subtrees
        if math.isinf(expected):
            self.not_applicable("gossip alone does not reach all nodes at such a loss")
            return
        slowest = percentile(self._times, 0.99)
        self.checks += len(self._times)
        self.note = f"measured {1000 * slowest:.0f} ms for {len(self._times):,} records, bound {1000 * expected:.0f} ms"
        late = sum(each > expected for each in self._times)
        # Of few records one is a hundredth, and where packets are lost it may be unlucky.
        if slowest > expected and (late > 1 or not self.context.loss):
            self.wrong("", f"a hundredth of the records took {slowest:.3f} s or more, over {expected:.3f} s")

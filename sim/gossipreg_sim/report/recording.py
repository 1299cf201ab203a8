"""Full recording of a run: every belief, every packet, each node's lifetime and its readings.

Runs are recorded only when somebody wants to look at them: attach `Recorder.attach` to `gossipreg_sim.runner.run`.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import attrs

from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg.protocol.wire.messages import Message
from gossipreg.protocol.wire.reader import unpack
from gossipreg_sim.cluster import Cluster, PacketTrace
from gossipreg_sim.process import Process
from gossipreg_sim.runner import Outcome, run_scenario
from gossipreg_sim.scenario import Scenario


@attrs.frozen
class Belief:
    """At ``at`` (ns) ``observer`` came to believe ``after`` of ``subject``; None: nothing any more."""

    at: int
    observer: str
    subject: str
    before: MemberUpdate | None
    after: MemberUpdate | None


@attrs.frozen
class Life:
    """One life of one node: from when to when (ns, None: to the end of the run), and whether it said goodbye."""

    node: str
    generation: int  # at its start
    born: int
    died: int | None = None
    left: int | None = None


@attrs.frozen
class Reading:
    """From ``at`` (ns) on a node's gauges showed this."""

    at: int
    node: str
    health: int  # 0 is well
    fingerprint: int


@lru_cache(maxsize=65_536)
def messages_of(data: bytes) -> tuple[Message, ...]:
    """What a packet or frame says; nothing for the beginning or end of a stream."""
    return tuple(unpack(data)[1]) if data else ()


@attrs.define
class Recorder:
    """Notes what a cluster does while it does it."""

    cluster: Cluster
    beliefs: list[Belief] = attrs.field(factory=list)
    passages: list[PacketTrace] = attrs.field(factory=list)
    lives: list[Life] = attrs.field(factory=list)
    readings: list[Reading] = attrs.field(factory=list)
    _last: dict[Process, int] = attrs.field(factory=dict)  # its place in `lives`
    _shown: dict[str, tuple[int, int]] = attrs.field(factory=dict)  # health and fingerprint of each node

    @classmethod
    def attach(cls, cluster: Cluster) -> Recorder:
        """Record everything that happens in ``cluster`` from now on."""
        recorder = cls(cluster)
        cluster.observers.append(recorder.see)
        cluster.touched.append(recorder.after)
        cluster.carried.append(recorder.passages.append)
        cluster.ended.append(recorder.end)
        return recorder

    def see(self, process: Process, output: Output) -> None:
        """A node's engine returned ``output``."""
        self._note_life(process)
        if isinstance(output, MemberChanged):
            known = output.after or output.before
            assert known is not None, "a change is of something"
            now = self.cluster.world.now
            self.beliefs.append(Belief(now, process.name, known.name, output.before, output.after))

    def after(self, process: Process) -> None:
        """A node has done a step."""
        self._note_life(process)
        now, name = self.cluster.world.now, process.name
        shown = (process.engine.local_health, process.engine.fingerprint)
        if self._shown.get(name) != shown:
            self._shown[name] = shown
            self.readings.append(Reading(now, name, *shown))

    def end(self, process: Process) -> None:
        """A process died."""
        self._note_life(process)
        place = self._last[process]
        self.lives[place] = attrs.evolve(self.lives[place], died=self.cluster.world.now)

    def _note_life(self, process: Process) -> None:
        place = self._last.get(process)
        if place is None:
            self._last[process] = len(self.lives)
            self.lives.append(Life(process.name, process.engine.identity.generation, self.cluster.world.now))
        elif process.engine.identity.left and self.lives[place].left is None:
            self.lives[place] = attrs.evolve(self.lives[place], left=self.cluster.world.now)


@attrs.frozen
class Recording:
    """A run and all that it did, in the order in which it happened."""

    outcome: Outcome
    beliefs: tuple[Belief, ...] = attrs.field(repr=False)
    passages: tuple[PacketTrace, ...] = attrs.field(repr=False)
    lives: tuple[Life, ...] = attrs.field(repr=False)
    readings: tuple[Reading, ...] = attrs.field(repr=False)

    @property
    def scenario(self) -> Scenario:
        """What was run."""
        return self.outcome.scenario

    @cached_property
    def end(self) -> int:
        """When the run ended (ns)."""
        return round(self.outcome.seconds * 1_000_000_000)

    @cached_property
    def believed_by(self) -> dict[str, list[Belief]]:
        """The beliefs of each observer."""
        by: dict[str, list[Belief]] = {name: [] for name in self.scenario.node_names}
        for belief in self.beliefs:
            by[belief.observer].append(belief)
        return by

    def believes(self, observer: str, subject: str, at: int) -> Belief | None:
        """The belief that ``observer``, in the life that it has at ``at`` (ns), holds of ``subject``."""
        life = self.life(observer, at)
        since = at + 1 if life is None else life.born
        held = [b for b in self.believed_by[observer] if b.subject == subject and since <= b.at <= at]
        return held[-1] if held else None

    def life(self, node: str, at: int) -> Life | None:
        """The life that ``node`` has at ``at`` (ns)."""
        lives = [life for life in self.lives if life.node == node and life.born <= at]
        return None if not lives or (lives[-1].died is not None and lives[-1].died <= at) else lives[-1]


def record(scenario: Scenario, seed: int) -> Recording:
    """Run ``scenario`` with the random numbers of ``seed``, and note everything."""
    recorders: list[Recorder] = []
    outcome = run_scenario(scenario, seed, attach=lambda cluster: recorders.append(Recorder.attach(cluster)))
    [recorder] = recorders
    return Recording(
        outcome,
        tuple(recorder.beliefs),
        tuple(recorder.passages),
        tuple(recorder.lives),
        tuple(recorder.readings),
    )

"""Full recording of a run: every belief, every packet, the lifetime and the gauges of each node.

Recording costs time and memory, so a run is recorded only when `Recorder.attach` is passed to `run_scenario`.
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
    """At ``at`` (ns), ``observer`` changed its belief about ``subject`` from ``before`` to ``after``; None: unknown."""

    at: int
    observer: str
    subject: str
    before: MemberUpdate | None
    after: MemberUpdate | None


@attrs.frozen
class NodeRun:
    """One run of one node: its start and end (ns; None: the end of the simulation), and whether it left gracefully."""

    node: str
    generation: int  # the generation at its start
    born: int
    died: int | None = None
    left: int | None = None


@attrs.frozen
class Reading:
    """The gauges of a node from ``at`` (ns) on."""

    at: int
    node: str
    health: int  # local health; 0 is healthy
    fingerprint: int


@lru_cache(maxsize=65_536)
def messages_of(data: bytes) -> tuple[Message, ...]:
    """Return the messages in a packet or frame; none for the beginning or end of a stream."""
    return tuple(unpack(data)[1]) if data else ()


@attrs.define
class Recorder:
    """Records the events of a cluster as they happen."""

    cluster: Cluster
    beliefs: list[Belief] = attrs.field(factory=list)
    passages: list[PacketTrace] = attrs.field(factory=list)
    node_runs: list[NodeRun] = attrs.field(factory=list)
    readings: list[Reading] = attrs.field(factory=list)
    _last: dict[Process, int] = attrs.field(factory=dict)  # index into `node_runs`
    _shown: dict[str, tuple[int, int]] = attrs.field(factory=dict)  # health and fingerprint of each node

    @classmethod
    def attach(cls, cluster: Cluster) -> Recorder:
        """Record everything that happens in ``cluster`` from now on."""
        recorder = cls(cluster)
        cluster.observers.append(recorder.see)
        cluster.touched.append(recorder.after)
        cluster.packet_taps.append(recorder.passages.append)
        cluster.exit_taps.append(recorder.end)
        return recorder

    def see(self, process: Process, output: Output) -> None:
        """Record that a node's engine returned ``output``."""
        self._note_run(process)
        if isinstance(output, MemberChanged):
            known = output.after or output.before
            assert known is not None, "a change has a state before or after it"
            now = self.cluster.world.now
            self.beliefs.append(Belief(now, process.name, known.name, output.before, output.after))

    def after(self, process: Process) -> None:
        """Record the gauges of a node after a step."""
        self._note_run(process)
        now, name = self.cluster.world.now, process.name
        shown = (process.engine.local_health, process.engine.fingerprint)
        if self._shown.get(name) != shown:
            self._shown[name] = shown
            self.readings.append(Reading(now, name, *shown))

    def end(self, process: Process) -> None:
        """Record the death of a process."""
        self._note_run(process)
        place = self._last[process]
        self.node_runs[place] = attrs.evolve(self.node_runs[place], died=self.cluster.world.now)

    def _note_run(self, process: Process) -> None:
        place = self._last.get(process)
        if place is None:
            self._last[process] = len(self.node_runs)
            self.node_runs.append(NodeRun(process.name, process.engine.identity.generation, self.cluster.world.now))
        elif process.engine.identity.left and self.node_runs[place].left is None:
            self.node_runs[place] = attrs.evolve(self.node_runs[place], left=self.cluster.world.now)


@attrs.frozen
class Recording:
    """A run and all its events, in chronological order."""

    outcome: Outcome
    beliefs: tuple[Belief, ...] = attrs.field(repr=False)
    passages: tuple[PacketTrace, ...] = attrs.field(repr=False)
    node_runs: tuple[NodeRun, ...] = attrs.field(repr=False)
    readings: tuple[Reading, ...] = attrs.field(repr=False)

    @property
    def scenario(self) -> Scenario:
        """The scenario that was run."""
        return self.outcome.scenario

    @cached_property
    def end(self) -> int:
        """The time at which the run ended (ns)."""
        return round(self.outcome.seconds * 1_000_000_000)

    @cached_property
    def believed_by(self) -> dict[str, list[Belief]]:
        """The beliefs of each observer."""
        by: dict[str, list[Belief]] = {name: [] for name in self.scenario.node_names}
        for belief in self.beliefs:
            by[belief.observer].append(belief)
        return by

    def believes(self, observer: str, subject: str, at: int) -> Belief | None:
        """Return the belief about ``subject`` that ``observer``, in its current run, holds at ``at`` (ns)."""
        run = self.node_run(observer, at)
        since = at + 1 if run is None else run.born
        held = [b for b in self.believed_by[observer] if b.subject == subject and since <= b.at <= at]
        return held[-1] if held else None

    def node_run(self, node: str, at: int) -> NodeRun | None:
        """Return the run of ``node`` at ``at`` (ns)."""
        runs = [run for run in self.node_runs if run.node == node and run.born <= at]
        return None if not runs or (runs[-1].died is not None and runs[-1].died <= at) else runs[-1]


def record(scenario: Scenario, seed: int) -> Recording:
    """Run ``scenario`` with the random streams of ``seed``, and record every event."""
    recorders: list[Recorder] = []
    outcome = run_scenario(scenario, seed, attach=lambda cluster: recorders.append(Recorder.attach(cluster)))
    [recorder] = recorders
    return Recording(
        outcome,
        tuple(recorder.beliefs),
        tuple(recorder.passages),
        tuple(recorder.node_runs),
        tuple(recorder.readings),
    )

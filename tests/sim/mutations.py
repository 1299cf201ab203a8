"""Planted mistakes that such a protocol may have, one at a time, to see whether the simulator finds them.

Each is what somebody might really write: a comparison off by its equals sign, a case forgotten, a number not raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Instance, Status
from gossipreg.protocol.anti_entropy.fingerprint import Entry, Fingerprint
from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.inbound import Inbound
from gossipreg.protocol.joining import Joining
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.flap_damping import FlapDamping
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import Nack, Ping, Prober, Say
from gossipreg.protocol.membership.ring import Ring
from gossipreg.protocol.membership.suspicion import Suspicion
from gossipreg.protocol.membership_handler import MembershipHandler
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.table import Freshness, Table
from gossipreg.protocol.registry.terms import TermRegister, Terms
from gossipreg.protocol.state import ClusterState
from gossipreg_sim.fault import Fault
from gossipreg_sim.scenario import Scenario, Workload

#: Quick to suspect, to fail and to mend, so that a run of some seconds shows everything.
_HASTY = EngineSettings(
    suspicion_alpha=1.0,
    suspicion_beta=3.0,
    local_health_max=1,
    reconnect_interval=2.0,
    stream_patience=2.0,
)

#: Packets that are lost, late and doubled, services that come and go, and a split that is long enough for freshnesss.
TANGLE = Scenario(
    name="tangle",
    title="A split on a bad network while services come and go, and a restart",
    nodes=5,
    seeds=2,
    warmup=4.0,
    duration=11.0,
    quiet=12.0,
    workload=Workload(churn=8.0),
    settings=_HASTY,
    faults=(
        Fault(kind="loss", probability=0.1),
        Fault(kind="reorder", probability=0.2, spread=1.5),
        Fault(kind="duplicate", probability=0.2, spread=1.0),
        Fault(kind="cut", nodes=("n0", "n1"), at=0.5, lasts=7.0),
        Fault(kind="restart", nodes=("n3",), at=9.0, seconds=1.0),
    ),
    sometimes=("suspect", "failed", "revived", "crash"),
)

#: Nothing but a split that is long enough for freshnesss, while services come and go.
SPLIT = Scenario(
    name="split",
    title="Two and two hear nothing of each other",
    nodes=4,
    warmup=4.0,
    duration=10.0,
    quiet=11.0,
    workload=Workload(churn=2.0),
    settings=_HASTY,
    faults=(Fault(kind="cut", nodes=("n0", "n1")),),
    sometimes=("failed", "revived"),
)

#: A death, and nothing else.
DEATH = Scenario(
    name="death",
    title="A host falls silent for good, and one says goodbye",
    nodes=5,
    warmup=8.0,
    duration=12.0,
    quiet=20.0,
    settings=attrs.evolve(_HASTY, remember_departed=30.0),
    faults=(
        Fault(kind="crash-host", nodes=("n4",), permanent=True),
        Fault(kind="leave", nodes=("n3",), at=2.0, permanent=True),
    ),
    sometimes=("suspect", "failed", "left"),
)

#: A death that one side of a split takes for a departure, and the other for a failure.
GOODBYE = Scenario(
    name="goodbye",
    title="One says goodbye behind a split that is longer than a short memory",
    nodes=4,
    warmup=4.0,
    duration=16.0,
    quiet=20.0,
    settings=attrs.evolve(_HASTY, remember_departed=40.0),
    faults=(
        Fault(kind="cut", nodes=("n0", "n1")),
        Fault(kind="leave", nodes=("n3",), at=5.0, permanent=True),
    ),
    sometimes=("failed", "left", "revived"),
)

#: Two of many that hear nothing now and then.
FLAPPING = Scenario(
    name="flapping",
    title="What reaches two members is lost now and then",
    nodes=12,
    warmup=4.0,
    duration=40.0,
    quiet=20.0,
    settings=attrs.evolve(_HASTY, damping_base=8.0, damping_max=16.0),
    faults=(Fault(kind="flip-flop", to=("last:2",), both_ways=False, off=8.0, on=4.0),),
    sometimes=("failed", "revived", "returns_put_off"),
)


#: Policies that both sides of a split set, and one whose clock is ahead since its restart.
WORDS = Scenario(
    name="words",
    title="Everybody sets the same policies and claims to be the primary, in a split and with a clock that is ahead",
    nodes=5,
    seeds=2,
    warmup=4.0,
    duration=10.0,
    quiet=12.0,
    workload=Workload(churn=1.0, policies=3.0, primaries=2.0),
    settings=_HASTY,
    faults=(
        Fault(kind="clock-skew", nodes=("n4",), seconds=20.0),
        Fault(kind="restart", nodes=("n4",), at=0.2, seconds=1.0, disk=True),
        Fault(kind="cut", nodes=("n0", "n1"), at=2.0),
        Fault(kind="cut", nodes=("n3",), at=3.0),
        Fault(kind="restart", nodes=("n0",), at=7.5, seconds=0.5, disk=True),
        Fault(kind="restart", nodes=("n3",), at=8.5, seconds=1.0, disk=True),
    ),
    sometimes=("policy", "policy removed", "primary", "fenced", "failed", "revived", "crash"),
)

#: Primaries that are claimed, given up and withdrawn while nodes leave and are restarted, most without their disks.
SUCCESSION = Scenario(
    name="succession",
    title="Primaries come and go with their instances, with nodes that leave and with restarts that forget",
    nodes=5,
    seeds=2,
    warmup=4.0,
    duration=14.0,
    quiet=12.0,
    workload=Workload(primaries=3.0),
    settings=_HASTY,
    faults=(
        Fault(kind="leave", nodes=("n4",), at=2.0, lasts=4.0),
        Fault(kind="restart", nodes=("n1", "n2", "n3"), at=4.0, seconds=0.6, every=1.5),
        Fault(kind="restart", nodes=("n0", "n1"), at=9.5, seconds=0.6, every=1.5, disk=True),
        Fault(kind="crash", nodes=("n4",), at=12.0, lasts=1.0),
    ),
    sometimes=("primary", "fenced", "left", "crash", "start"),
)

#: The same while all clocks agree, so that two say something at the very same time.
AT_ONCE = attrs.evolve(WORDS, name="at-once", faults=WORDS.faults[2:])

#: Policies that nobody has but who set them, and their disks.
ALONE = Scenario(
    name="alone",
    title="Nobody hears anybody, and those who have set policies restart with their disks",
    nodes=4,
    seeds=2,
    warmup=3.0,
    duration=8.0,
    quiet=12.0,
    workload=Workload(policies=1.5),
    settings=_HASTY,
    faults=(
        Fault(kind="cut"),
        Fault(kind="restart", nodes=("n1", "n2", "n3"), at=7.0, seconds=0.5, disk=True),
    ),
    sometimes=("policy", "crash"),
)

#: Much news in calm, told at random only after half a second: until then it is the tree that tells.
NEWS = Scenario(
    name="news",
    title="Services come and go in calm",
    nodes=24,
    seeds=2,
    warmup=4.0,
    duration=12.0,
    quiet=12.0,
    workload=Workload(churn=8.0),
    settings=attrs.evolve(_HASTY, gossip_tree_gap=0.5),
)

#: Two of eight are cut off, and back, again and again: long enough each time to fail and to be failed.
FEW = Scenario(
    name="few",
    title="Two of eight are cut off three times",
    nodes=8,
    seeds=2,
    warmup=4.0,
    duration=60.0,
    quiet=20.0,
    settings=_HASTY,
    faults=tuple(Fault(kind="cut", nodes=("n6", "n7"), at=20.0 * turn, lasts=8.0) for turn in range(3)),
    sometimes=("failed", "revived"),
)

#: One hears all others and is not heard, again and again, because its own kernel refuses to send.
MUTE = attrs.evolve(
    FEW,
    name="mute",
    title="The kernel of one of six refuses its output three times",
    nodes=6,
    faults=tuple(Fault(kind="output-rejected", nodes=("n4",), at=20.0 * turn, lasts=10.0) for turn in range(3)),
    sometimes=("failed", "revived"),
)

#: No packet passes between two nodes and the others, while services come and go.
STREAMS = Scenario(
    name="streams",
    title="All packets to and from two nodes are lost, and streams pass",
    nodes=6,
    seeds=2,
    warmup=4.0,
    duration=40.0,
    quiet=20.0,
    workload=Workload(churn=1.0),
    settings=_HASTY,
    faults=(Fault(kind="udp-only-loss", nodes=("n4", "n5"), probability=1.0),),
    sometimes=("udp-only-loss begins",),
)

#: Clocks that are off from the start, in a sealed cluster.
CLOCKS = Scenario(
    name="clocks",
    title="Two of five start with a clock that is 90 s ahead",
    nodes=5,
    seeds=2,
    warmup=4.0,
    duration=12.0,
    quiet=20.0,
    sealed=True,
    settings=_HASTY,
    faults=(Fault(kind="clock-skew-at-start", nodes=("n3", "n4"), seconds=90.0),),
    sometimes=("clock", "streams_clock_skew"),
)

#: Records that get around, and nothing else.
CALM = Scenario(
    name="calm",
    title="Three nodes offer a service each",
    nodes=3,
    warmup=2.0,
    duration=2.0,
    quiet=8.0,
    settings=_HASTY,
    sometimes=("service",),
)

#: Hosts that die in turn, so many that the mean time until their first probe says something.
DEATHS = Scenario(
    name="deaths",
    title="Of twelve hosts four are silent for a while, and then four others",
    nodes=12,
    seeds=2,
    warmup=6.0,
    duration=98.0,
    quiet=20.0,
    faults=tuple(
        Fault(
            kind="crash-host", nodes=tuple(f"n{(4 * turn + one) % 12}" for one in range(4)), at=14.0 * turn, lasts=12.0
        )
        for turn in range(7)
    ),
    sometimes=("failed", "crash-host"),
)

#: Packets that are lost at random, and nothing else.
LOSSES = Scenario(
    name="losses",
    title="Three packets in ten are lost",
    nodes=8,
    seeds=2,
    warmup=4.0,
    duration=30.0,
    quiet=20.0,
    faults=(Fault(kind="loss", probability=0.3),),
    sometimes=("loss begins",),
)


@attrs.frozen
class Mutation:
    """One planted mistake, the run that shows it, and by what it must show within so many seeds.

    The seeds are tried from ``first`` on, and then those before it: the first is one that showed it when this was
    written, so that most mistakes cost one run.
    """

    name: str
    plant: Callable[[pytest.MonkeyPatch], None] = attrs.field(repr=False)
    shown_by: Scenario = attrs.field(repr=False)
    caught_by: tuple[str, ...]  # any of these oracles; "raised" for an assertion of the protocol's own
    seeds: int = 3
    first: int = 0

    @property
    def tries(self) -> tuple[int, ...]:
        """The seeds, in the order in which they are tried."""
        return (*range(self.first, self.seeds), *range(self.first))


MUTATIONS: list[Mutation] = []


def _mutation(shown_by: Scenario, *caught_by: str, seeds: int = 3, first: int = 0) -> Callable[[Any], Any]:
    def keep(plant: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
        MUTATIONS.append(Mutation(plant.__name__, plant, shown_by, caught_by, seeds, first))
        return plant

    return keep


# Who is here


@_mutation(DEATH, "MemberClaims")
def an_accuser_raises_the_incarnation_of_the_accused(patch: pytest.MonkeyPatch) -> None:
    def graver(self: MemberUpdate, status: Status, accuser: int = 0, **_: bool) -> MemberUpdate:
        return attrs.evolve(self, status=status, accuser=accuser, incarnation=self.incarnation + 1)

    patch.setattr(MemberUpdate, "graver", graver)


@_mutation(DEATH, "SuspicionTimes")
def a_suspicion_never_expires(patch: pytest.MonkeyPatch) -> None:
    def set_deadline(self: Suspicion) -> None:
        self.deadline = self.due = float("inf")

    patch.setattr(Suspicion, "_set_deadline", set_deadline)


@_mutation(SPLIT, "SuspicionTimes")
def a_confirmation_is_taken_for_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Suspicion, "is_proven", property(lambda self: self.confirmations > 0))


@_mutation(DEATH, "SuspicionTimes")
def a_suspicion_takes_half_its_time(patch: pytest.MonkeyPatch) -> None:
    honest = Suspicion.timeout.fget  # type: ignore[attr-defined]
    patch.setattr(Suspicion, "timeout", property(lambda self: honest(self) / 2))


@_mutation(TANGLE, "AnsweredAccusations")
def the_accused_answers_without_a_higher_incarnation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Identity, "refute", lambda *_: None)


@_mutation(FLAPPING, "DampedReturns")
def who_keeps_being_failed_waits_half_its_time(patch: pytest.MonkeyPatch) -> None:
    honest = FlapDamping.wait
    patch.setattr(FlapDamping, "wait", lambda self, now: honest(self, now) / 2)


@_mutation(FLAPPING, "DampedReturns", seeds=6)
def who_waits_to_come_back_still_refutes_suspicions(patch: pytest.MonkeyPatch) -> None:
    honest = FlapDamping.admit_refutation

    def admit_refutation(self: FlapDamping, accusation: MemberUpdate, now: float, *, own_fault: bool) -> bool:
        return accusation.status is Status.SUSPECT or honest(self, accusation, now, own_fault=own_fault)

    patch.setattr(FlapDamping, "admit_refutation", admit_refutation)


@_mutation(SPLIT, "Healing")
def nobody_tries_to_reach_the_failed_or_the_seeds_again(patch: pytest.MonkeyPatch) -> None:
    honest = Joining.handle_timeout

    def handle_timeout(self: Joining, now: float) -> None:
        if not self.identity.announced:
            honest(self, now)
        self.deadline = max(self.deadline, now + 1.0)

    patch.setattr(Joining, "handle_timeout", handle_timeout)


@_mutation(TANGLE, "Healing", "Restarts")
def a_later_life_is_no_better_than_a_past_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemberUpdate, "supersedes", lambda self, other: self.rank[1:3] > other.rank[1:3])


@_mutation(DEATH, "Healing", "Completeness")
def a_nack_counts_as_an_ack(patch: pytest.MonkeyPatch) -> None:
    def nacked(self: Prober, nack: Nack) -> None:
        probe = self._probes.get(nack.seq)
        if probe is not None:
            probe.acked = True

    patch.setattr(Prober, "nacked", nacked)


@_mutation(DEATH, "MessageStorm")
def what_is_known_already_is_news_and_told_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemberUpdate, "supersedes", lambda self, other: self.rank >= other.rank)


@_mutation(DEATH, "MessageStorm")
def everything_is_news(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemberUpdate, "supersedes", lambda *_: True)


@_mutation(DEATH, "Completeness")
def who_is_probed_next_is_drawn_at_random(patch: pytest.MonkeyPatch) -> None:
    def next_target(self: Members) -> MemberUpdate | None:
        return self._updates[self.rng.choice(self._present)] if self._present else None

    patch.setattr(Members, "next_target", next_target)


@_mutation(GOODBYE, "MonotonicBeliefs")
def who_left_is_forgotten_before_those_who_failed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gossipreg.protocol.membership.members._LEFT_LONGER", 0.05)


@_mutation(DEATH, "TombstoneRetention")
def the_departed_are_forgotten_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Members, "forget", _forget_early)


def _forget_early(self: Members, now: float) -> list[MemberUpdate]:
    gone = [name for name, since in self._since.items() if now - since > 1.0]
    forgotten = [self._updates.pop(name) for name in gone]
    for update in forgotten:
        self._names.pop(update.run_id, None)
        self._failed.pop(update.name, None)
        del self._since[update.name]
    return forgotten


@_mutation(FEW, "StayInLookups")
def every_failure_is_held_against_the_failed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LocalMember, "_is_own_fault", lambda *_: True)


@_mutation(MUTE, "StayInLookups")
def a_rejection_by_its_own_kernel_is_held_against_the_host(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LocalMember, "_is_own_fault", lambda *_: True)


@_mutation(DEATHS, "FirstProbe")
def who_was_heard_a_moment_ago_is_not_probed(patch: pytest.MonkeyPatch) -> None:
    honest, heard, handle_timeout = Members.next_target, Detector.heard, Prober.handle_timeout
    last: dict[tuple[Members, int], float] = {}  # when each observer heard each life; under 0, what time it is there

    def hear(self: Detector, life: int, now: float) -> None:
        last[self.members, life] = now
        heard(self, life, now)

    def woken(self: Prober, fingerprint: int, now: float) -> Any:
        last[self.members, 0] = now
        return handle_timeout(self, fingerprint, now)

    def next_target(self: Members) -> MemberUpdate | None:
        for _ in self.present:
            target = honest(self)
            if target is not None and last.get((self, 0), 0.0) - last.get((self, target.run_id), -6.0) > 6.0:
                return target
        return None

    patch.setattr(Detector, "heard", hear)
    patch.setattr(Prober, "handle_timeout", woken)
    patch.setattr(Members, "next_target", next_target)


@_mutation(LOSSES, "FalsePositives")
def no_other_is_asked_and_no_stream_is_tried(patch: pytest.MonkeyPatch) -> None:
    def ask_nobody(self: Prober, probe: Any, found: list[Any], now: float) -> None:
        probe.is_indirect = True

    patch.setattr(Prober, "_ask_others", ask_nobody)


# Who is let in, and what passes


@_mutation(STREAMS, "StreamFallback")
def a_fingerprint_that_comes_over_a_stream_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    honest = Inbound._compare

    def compare(self: Inbound, theirs: int, context: Any, now: float) -> None:
        if context.stream is None:
            honest(self, theirs, context, now)

    patch.setattr(Inbound, "_compare", compare)


@_mutation(CLOCKS, "HalfOpenJoins")
def clocks_of_newcomers_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClockWatch, "is_refused", lambda *_: False)


# What they offer


@_mutation(CALM, "SingleWriter")
def what_is_heard_is_packed_anew_and_a_little_different(patch: pytest.MonkeyPatch) -> None:
    honest = ClusterState.take

    def take(self: ClusterState, record: Record, now: float, **how: Any) -> bool:
        if record.payload is not None:
            record = attrs.evolve(record, payload=pack_instance(attrs.evolve(record.instance, zone="elsewhere")))
        return honest(self, record, now, **how)

    patch.setattr(ClusterState, "take", take)


@_mutation(TANGLE, "NoResurrection", seeds=6, first=5)
def a_removal_is_not_remembered(patch: pytest.MonkeyPatch) -> None:
    honest = Table.classify

    def classify(self: Table, id: str, version: int) -> Freshness:
        self._tombstones.pop(id, None)
        return honest(self, id, version)

    patch.setattr(Table, "classify", classify)


@_mutation(TANGLE, "NoResurrection")
def the_floor_is_ignored(patch: pytest.MonkeyPatch) -> None:
    honest = Table.classify

    def classify(self: Table, id: str, version: int) -> Freshness:
        floor, self.compacted_below = self.compacted_below, 0
        freshness = honest(self, id, version)
        self.compacted_below = floor
        return freshness

    patch.setattr(Table, "classify", classify)


@_mutation(TANGLE, "MessageStorm", "NoResurrection", "raised")
def every_record_is_news(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Table, "classify", lambda *_: Freshness.NEW)


@_mutation(TANGLE, "Healing", "NoResurrection")
def a_removed_record_is_still_shown(patch: pytest.MonkeyPatch) -> None:
    honest = Registry._index

    def index(self: Registry, *, came: Iterable[Record], went: Iterable[Record]) -> None:
        honest(self, came=tuple(came), went=tuple(went) if came else ())

    patch.setattr(Registry, "_index", index)


@_mutation(SPLIT, "Healing", "raised")
def the_fingerprint_keeps_what_was_removed(patch: pytest.MonkeyPatch) -> None:
    honest = Fingerprint.replace

    def replace(self: Fingerprint, before: Entry | None, after: Entry | None) -> None:
        if after is not None:
            honest(self, before, after)

    patch.setattr(Fingerprint, "replace", replace)


@_mutation(DEATH, "MessageStorm", "IdleLoad")
def a_rumor_has_rounds_without_end(patch: pytest.MonkeyPatch) -> None:
    honest = BroadcastQueue._transmitted

    def transmitted(self: BroadcastQueue, item: Any, members: int, now: float) -> None:
        item.transmissions = min(item.transmissions, 3)
        honest(self, item, members, now)

    patch.setattr(BroadcastQueue, "_transmitted", transmitted)


@_mutation(NEWS, "DisseminationTime")
def the_last_below_each_in_the_tree_is_told_nothing(patch: pytest.MonkeyPatch) -> None:
    def below(self: Ring, name: str, root: str, fanout: int) -> list[str]:
        rank = self._rank(name, root)
        children = range(fanout * rank + 1, min(fanout * rank + fanout, len(self)))
        return [self._at(child, root) for child in children]

    patch.setattr(Ring, "below", below)


@_mutation(NEWS, "DisseminationTime", seeds=6)
def the_tree_has_a_wrong_root_and_an_echo_counts_twice(patch: pytest.MonkeyPatch) -> None:
    def below(self: Ring, name: str, root: str, fanout: int) -> list[str]:
        rank = self._rank(name, root)
        children = range(fanout * rank + 1, min(fanout * rank + fanout + 1, len(self)))
        return [self._at(child, name) for child in children]

    honest = BroadcastQueue.note_duplicate

    def note_duplicate(self: BroadcastQueue, topic: Any, about: Any, members: int, now: float) -> None:
        honest(self, topic, about, members, now)
        honest(self, topic, about, members, now)

    patch.setattr(Ring, "below", below)
    patch.setattr(BroadcastQueue, "note_duplicate", note_duplicate)


@_mutation(NEWS, "Bounds")
def a_full_queue_of_rumors_drops_nothing(patch: pytest.MonkeyPatch) -> None:
    honest = BroadcastQueue.enqueue

    def enqueue(self: BroadcastQueue, *what: Any, **how: Any) -> None:
        most, limits.BROADCAST_QUEUE_MAX = limits.BROADCAST_QUEUE_MAX, 1 << 30  # type: ignore[misc]
        honest(self, *what, **how)
        limits.BROADCAST_QUEUE_MAX = most  # type: ignore[misc]

    patch.setattr(limits, "BROADCAST_QUEUE_MAX", 8)  # so that a run of some seconds fills it
    patch.setattr(BroadcastQueue, "enqueue", enqueue)


@_mutation(DEATH, "IdleLoad")
def each_ping_is_sent_twice(patch: pytest.MonkeyPatch) -> None:
    honest = MembershipHandler._say

    def say(self: MembershipHandler, finding: Say, now: float) -> None:
        honest(self, finding, now)
        if isinstance(finding.message, Ping):
            honest(self, finding, now)

    patch.setattr(MembershipHandler, "_say", say)


# What is to be done about it


@_mutation(AT_ONCE, "Healing", seeds=6)
def of_two_words_said_at_once_none_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PolicyVersion, "rank", property(lambda self: (self.ms, self.counter, "", 0)))


@_mutation(AT_ONCE, "LastWriterWins")
def a_removal_is_forgotten_at_once(patch: pytest.MonkeyPatch) -> None:
    honest = ClusterState._apply_policy

    def apply_policy(self: ClusterState, word: PolicyVersion, now: float) -> tuple[str, ...]:
        held = self.policies.get(word.key)
        if word.payload is not None or held is None:
            return honest(self, word, now)
        self.policies._drop(held)
        self.fingerprint.replace(held, None)
        return (word.key,)

    patch.setattr(ClusterState, "_apply_policy", apply_policy)


@_mutation(WORDS, "LastWriterWins", "raised")
def the_clock_is_not_advanced_by_what_is_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clock, "observe", lambda *_: True)


@_mutation(AT_ONCE, "raised")
def the_clock_only_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clock, "wall", lambda *_: 0)


@_mutation(ALONE, "LastWriterWins")
def policies_on_disk_are_not_recalled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "recall", lambda *_, **__: [])


@_mutation(AT_ONCE, "LastWriterWins", seeds=6)
def policies_do_not_count_in_the_fingerprint(patch: pytest.MonkeyPatch) -> None:
    honest = Fingerprint.replace

    def replace(self: Fingerprint, before: Entry | None, after: Entry | None) -> None:
        if not isinstance(before, PolicyVersion) and not isinstance(after, PolicyVersion):
            honest(self, before, after)

    patch.setattr(Fingerprint, "replace", replace)


@_mutation(WORDS, "Primaries")
def every_claim_to_be_the_primary_is_believed(patch: pytest.MonkeyPatch) -> None:
    def unfenced(instances: tuple[Instance, ...], *_: object, **__: object) -> tuple[Instance, ...]:
        return instances

    patch.setattr("gossipreg.protocol.registry.view.fenced", unfenced)


@_mutation(WORDS, "Primaries")
def terms_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gossipreg.protocol.registry.roles._rank", lambda claim, _deprioritized: (claim.owner, claim.id))


@_mutation(WORDS, "Primaries", seeds=6, first=2)
def who_can_serve_goes_before_a_higher_term(patch: pytest.MonkeyPatch) -> None:
    def rank(claim: Instance, _deprioritized: object) -> tuple[bool, int, str, str]:
        return not claim.health.can_serve, -claim.term, claim.owner, claim.id

    patch.setattr("gossipreg.protocol.registry.roles._rank", rank)


@_mutation(SUCCESSION, "Primaries")
def a_term_is_forgotten_with_the_instance_that_stated_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Terms, "claimed", lambda *_: 0)


@_mutation(SUCCESSION, "Primaries")
def of_two_registers_the_one_heard_last_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TermRegister, "merged", lambda _self, other: other)


@_mutation(SUCCESSION, "Primaries")
def the_register_is_raised_by_own_instances_only_and_never_told(patch: pytest.MonkeyPatch) -> None:
    honest = ClusterState.raise_term

    def raise_term(self: ClusterState, record: Record, now: float, **how: Any) -> None:
        if record.owner == self.members.own_name:
            honest(self, record, now, **{**how, "spread": False})

    patch.setattr(ClusterState, "raise_term", raise_term)
    patch.setattr(ClusterState, "handle_term_register", lambda *_, **__: False)

"""Mutations of membership: failure detection, suspicion, flap damping and member state."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.joining import Joining
from gossipreg.protocol.local_member import LocalMember
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.flap_damping import FlapDamping
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import Nack, Prober
from gossipreg.protocol.membership.suspicion import Suspicion
from tests.sim.mutations.mutation import mutation
from tests.sim.mutations.scenarios import (
    BAD_NETWORK,
    DEATH,
    DEATHS,
    FLAPPING,
    LEAVE,
    LOSSES,
    MINORITY,
    OUTPUT_REJECTED,
    SPLIT,
)


@mutation(DEATH, "MemberClaims")
def an_accuser_raises_the_incarnation_of_the_accused(patch: pytest.MonkeyPatch) -> None:
    def graver(self: MemberUpdate, status: Status, accuser: int = 0, **_: bool) -> MemberUpdate:
        return attrs.evolve(self, status=status, accuser=accuser, incarnation=self.incarnation + 1)

    patch.setattr(MemberUpdate, "graver", graver)


@mutation(DEATH, "SuspicionTimes")
def a_suspicion_never_expires(patch: pytest.MonkeyPatch) -> None:
    def set_deadline(self: Suspicion) -> None:
        self.deadline = self.due = float("inf")

    patch.setattr(Suspicion, "_set_deadline", set_deadline)


@mutation(SPLIT, "SuspicionTimes")
def a_confirmation_is_taken_for_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Suspicion, "is_proven", property(lambda self: self.confirmations > 0))


@mutation(DEATH, "SuspicionTimes")
def a_suspicion_takes_half_its_time(patch: pytest.MonkeyPatch) -> None:
    original = Suspicion.timeout.fget  # type: ignore[attr-defined]
    patch.setattr(Suspicion, "timeout", property(lambda self: original(self) / 2))


@mutation(BAD_NETWORK, "AnsweredAccusations")
def the_accused_answers_without_a_higher_incarnation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Identity, "refute", lambda *_: None)


@mutation(FLAPPING, "DampedReturns")
def a_repeatedly_failed_member_waits_half_its_time(patch: pytest.MonkeyPatch) -> None:
    original = FlapDamping.wait
    patch.setattr(FlapDamping, "wait", lambda self, now: original(self, now) / 2)


@mutation(FLAPPING, "DampedReturns", seeds=6)
def a_waiting_member_still_refutes_suspicions(patch: pytest.MonkeyPatch) -> None:
    original = FlapDamping.admit_refutation

    def admit_refutation(self: FlapDamping, accusation: MemberUpdate, now: float, *, own_fault: bool) -> bool:
        return accusation.status is Status.SUSPECT or original(self, accusation, now, own_fault=own_fault)

    patch.setattr(FlapDamping, "admit_refutation", admit_refutation)


@mutation(SPLIT, "Healing")
def failed_members_and_seeds_are_never_contacted_again(patch: pytest.MonkeyPatch) -> None:
    original = Joining.handle_timeout

    def handle_timeout(self: Joining, now: float) -> None:
        if not self.identity.announced:
            original(self, now)
        self.deadline = max(self.deadline, now + 1.0)

    patch.setattr(Joining, "handle_timeout", handle_timeout)


@mutation(BAD_NETWORK, "Healing", "Restarts")
def a_later_run_does_not_supersede_an_earlier_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemberUpdate, "supersedes", lambda self, other: self.rank[1:3] > other.rank[1:3])


@mutation(DEATH, "Healing", "Completeness")
def a_nack_counts_as_an_ack(patch: pytest.MonkeyPatch) -> None:
    def handle_nack(self: Prober, nack: Nack) -> None:
        probe = self._probes.get(nack.seq)
        if probe is not None:
            probe.acked = True

    patch.setattr(Prober, "handle_nack", handle_nack)


@mutation(DEATH, "MessageStorm")
def a_known_update_counts_as_new_and_is_gossiped_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemberUpdate, "supersedes", lambda self, other: self.rank >= other.rank)


@mutation(DEATH, "MessageStorm")
def every_update_counts_as_new(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemberUpdate, "supersedes", lambda *_: True)


@mutation(DEATH, "Completeness")
def the_next_probe_target_is_random(patch: pytest.MonkeyPatch) -> None:
    def next_target(self: Members) -> MemberUpdate | None:
        return self._updates[self.rng.choice(self._present)] if self._present else None

    patch.setattr(Members, "next_target", next_target)


@mutation(LEAVE, "MonotonicBeliefs")
def members_that_left_are_forgotten_before_failed_ones(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gossipreg.protocol.membership.members._LEFT_LONGER", 0.05)


@mutation(DEATH, "TombstoneRetention")
def departed_members_are_forgotten_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Members, "forget", _forget_early)


def _forget_early(self: Members, now: float) -> list[MemberUpdate]:
    gone = [name for name, since in self._since.items() if now - since > 1.0]
    forgotten = [self._updates.pop(name) for name in gone]
    for update in forgotten:
        self._names.pop(update.run_id, None)
        self._failed.pop(update.name, None)
        del self._since[update.name]
    return forgotten


@mutation(MINORITY, "StayInLookups")
def every_failure_counts_as_the_members_own_fault(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LocalMember, "_is_own_fault", lambda *_: True)


@mutation(OUTPUT_REJECTED, "StayInLookups")
def a_rejection_by_the_local_kernel_counts_as_the_members_own_fault(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LocalMember, "_is_own_fault", lambda *_: True)


@mutation(DEATHS, "FirstProbe")
def recently_received_members_are_not_probed(patch: pytest.MonkeyPatch) -> None:
    original, heard, handle_timeout = Members.next_target, Detector.message_received, Prober.handle_timeout
    last: dict[tuple[Members, int], float] = {}  # observer, run -> last receipt; 0: the present time

    def hear(self: Detector, run: int, now: float) -> None:
        last[self.members, run] = now
        heard(self, run, now)

    def woken(self: Prober, fingerprint: int, now: float) -> Any:
        last[self.members, 0] = now
        return handle_timeout(self, fingerprint, now)

    def next_target(self: Members) -> MemberUpdate | None:
        for _ in self.present:
            target = original(self)
            if target is not None and last.get((self, 0), 0.0) - last.get((self, target.run_id), -6.0) > 6.0:
                return target
        return None

    patch.setattr(Detector, "message_received", hear)
    patch.setattr(Prober, "handle_timeout", woken)
    patch.setattr(Members, "next_target", next_target)


@mutation(LOSSES, "FalsePositives", seeds=4, first=3)
def there_are_no_indirect_pings_and_no_stream_probes(patch: pytest.MonkeyPatch) -> None:
    def skip_helpers(self: Prober, probe: Any, found: list[Any], now: float) -> None:
        probe.is_indirect = True

    patch.setattr(Prober, "_probe_indirectly", skip_helpers)

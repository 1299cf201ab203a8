"""Mutations of policies: versions, the hybrid logical clock and the disk."""

from __future__ import annotations

import pytest

from gossipreg.protocol.anti_entropy.fingerprint import Entry, Fingerprint
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.policy_state import PolicyState
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.policy_version import PolicyVersion
from tests.sim.mutations.mutation import mutation
from tests.sim.mutations.scenarios import ISOLATED, POLICIES, SAME_TIME


@mutation(SAME_TIME, "Healing", seeds=6)
def concurrent_policy_versions_have_equal_rank(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PolicyVersion, "rank", property(lambda self: (self.ms, self.counter, "", 0)))


@mutation(SAME_TIME, "LastWriterWins")
def a_policy_removal_is_forgotten_at_once(patch: pytest.MonkeyPatch) -> None:
    original = PolicyState._apply

    def apply(self: PolicyState, version: PolicyVersion, now: float) -> tuple[str, ...]:
        held = self.versions.get(version.key)
        if version.payload is not None or held is None:
            return original(self, version, now)
        self.versions._drop(held)
        self.count(held, None)
        return (version.key,)

    patch.setattr(PolicyState, "_apply", apply)


@mutation(POLICIES, "LastWriterWins", "raised")
def received_stamps_do_not_advance_the_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clock, "observe", lambda *_: True)


@mutation(SAME_TIME, "raised")
def the_clock_has_no_wall_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clock, "wall", lambda *_: 0)


@mutation(ISOLATED, "LastWriterWins")
def policies_on_disk_are_not_recalled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "recall", lambda *_, **__: [])


@mutation(SAME_TIME, "LastWriterWins", seeds=6)
def policies_are_missing_in_the_fingerprint(patch: pytest.MonkeyPatch) -> None:
    original = Fingerprint.replace

    def replace(self: Fingerprint, before: Entry | None, after: Entry | None) -> None:
        if not isinstance(before, PolicyVersion) and not isinstance(after, PolicyVersion):
            original(self, before, after)

    patch.setattr(Fingerprint, "replace", replace)

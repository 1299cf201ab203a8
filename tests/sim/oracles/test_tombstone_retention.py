"""Forgetting a member too early is reported; a scenario with too short a retention time is flagged."""

from __future__ import annotations

import attrs

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import MemberChanged
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.tombstone_retention import TombstoneRetention
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched

SHORT = EngineSettings(remember_departed=4.0, reconnect_interval=2.0, suspicion_alpha=0.4, suspicion_beta=2.0)


def test_forgetting_a_member_too_early_is_reported() -> None:
    made, memory = watched(TombstoneRetention, settings=SHORT)
    n0, n1 = made.processes["n0"], made.processes["n1"]
    failed = n1.engine.identity.own_update().graver(Status.FAILED)
    memory.see(n0, MemberChanged(None, failed))
    run_for(made, 3)
    memory.see(n0, MemberChanged(failed, None))
    assert texts(memory) == []
    left = attrs.evolve(failed, status=Status.LEFT)
    memory.see(n1, MemberChanged(failed, left))
    memory.see(n0, MemberChanged(left, None))
    assert texts(memory) == ["forgot n1 after 0.0 s, not 4.2 s"]


def test_a_split_longer_than_the_retention_time_is_flagged() -> None:
    _made, memory = watched(TombstoneRetention, Fault(kind="cut", nodes=("n0",)), settings=SHORT)
    memory.finish()
    assert memory.note.startswith("flagged: remember_departed 4 s is less than partition and heal bound")


def test_without_a_forgotten_member_the_oracle_does_not_apply() -> None:
    _made, memory = watched(TombstoneRetention)
    memory.finish()
    assert memory.note == "not applicable here: no member was forgotten"

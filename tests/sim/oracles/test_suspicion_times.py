"""A failure declared too early, and a suspicion that lasts too long, are reported."""

from __future__ import annotations

import pytest

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.suspicion import Suspicion
from gossipreg.protocol.outputs import MemberChanged
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.suspicion_times import SuspicionTimes, suspicion_time
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched

HASTY = EngineSettings(suspicion_alpha=1.0, suspicion_beta=2.0)


def after_a_death(seconds: float = 12.0) -> tuple[Cluster, SuspicionTimes]:
    """Return the oracle ``seconds`` after a host fell silent."""
    made, times = watched(SuspicionTimes, nodes=5, settings=HASTY)
    made.crash("n4", host=True)
    run_for(made, seconds)
    times.finish()
    return made, times


def test_the_formula_is_the_papers() -> None:
    settings = EngineSettings(suspicion_alpha=5.0, suspicion_beta=6.0)
    times = [suspicion_time(settings, 100, confirmations) for confirmations in range(4)]
    assert times == pytest.approx([60.0, 35.0, 20.376, 10.0], abs=0.001)
    assert suspicion_time(settings, 100, 0, refused=True) == 10.0
    assert suspicion_time(settings, 2, 0) == 30.0


def test_a_suspicion_of_the_right_length_passes() -> None:
    _made, times = after_a_death()
    assert times.checks > 0
    assert texts(times) == []


def test_a_failure_declared_too_early_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Suspicion, "timeout", property(lambda _: 0.5))
    _made, times = after_a_death()
    assert "before" in texts(times)[0]


def test_a_failure_that_a_node_had_declared_itself_and_is_told_again_is_no_declaration() -> None:
    made, times = watched(SuspicionTimes, nodes=5, settings=HASTY)
    n0 = made.processes["n0"]
    checks = times.checks
    held = n0.engine.members.get("n4")
    assert held is not None
    n0.engine.membership_handler._believe(held.graver(Status.SUSPECT), n0.now, spread=False)
    failure = held.graver(Status.FAILED, n0.engine.identity.run_id)
    n0.engine.detector.failure_received(failure)
    times.see(n0, MemberChanged(held, n0.engine.members.get("n4")))
    times.see(n0, MemberChanged(n0.engine.members.get("n4"), failure))
    assert times.checks == checks
    assert texts(times) == []


def test_a_suspicion_that_never_ends_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Suspicion, "timeout", property(lambda _: 1e9))
    _made, times = after_a_death()
    assert texts(times)[0].startswith("suspects n4 for")


def test_without_a_declared_failure_the_oracle_does_not_apply() -> None:
    _made, times = watched(SuspicionTimes)
    times.finish()
    assert times.note == "not applicable here: no suspicion reached its timeout"

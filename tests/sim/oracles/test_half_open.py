"""The oracles of half-open networks and clocks apply to such runs, and report violations."""

from __future__ import annotations

import pytest

from gossipreg.protocol.clock_watch import ClockWatch
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg_sim.fault import Fault
from gossipreg_sim.runner import Outcome, run_scenario
from gossipreg_sim.scenario import Scenario, Workload

LOST = Scenario(
    title="Packets lost",
    nodes=3,
    warmup=3,
    duration=24,
    workload=Workload(churn=2.0),
    faults=(Fault(kind="udp-only-loss", probability=1.0),),
)
OFF = Scenario(
    title="A clock off",
    nodes=3,
    warmup=3,
    duration=6,
    sealed=True,
    faults=(Fault(kind="clock-skew-at-start", seconds=90, nodes="n2"),),
)


def broken(outcome: Outcome) -> set[str]:
    return {violation.oracle for violation in outcome.violations}


def test_records_spread_over_streams_within_seconds() -> None:
    outcome = run_scenario(LOST, 1)
    assert outcome.is_good
    assert outcome.checks["StreamFallback"] > 3


def test_ignoring_a_fingerprint_from_a_stream_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerStreams, "met", lambda *_, **__: None)
    monkeypatch.setattr(PeerStreams, "open_comparison", lambda *_, **__: None)
    assert "StreamFallback" in broken(run_scenario(LOST, 1))


def test_a_node_with_a_wrong_clock_joins_only_after_the_heal() -> None:
    outcome = run_scenario(OFF, 1)
    assert outcome.is_good
    assert outcome.checks["HalfOpenJoins"] > 0
    assert outcome.marks["streams_clock_skew"] > 0


def test_admitting_a_node_with_a_wrong_clock_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClockWatch, "is_refused", lambda *_: False)
    assert "HalfOpenJoins" in broken(run_scenario(OFF, 1))


def test_the_oracles_do_not_apply_to_other_runs() -> None:
    outcome = run_scenario(Scenario(title="Calm", nodes=2, warmup=2, duration=2), 1)
    assert outcome.checks["StreamFallback"] == outcome.checks["HalfOpenJoins"] == 0

"""The oracles of half-open networks and clocks: they judge what they are for, and see what is wrong."""

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


def test_over_streams_news_arrives_in_seconds() -> None:
    outcome = run_scenario(LOST, 1)
    assert outcome.is_good
    assert outcome.checks["StreamFallback"] > 3


def test_it_is_seen_when_a_fingerprint_over_a_stream_opens_no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerStreams, "_is_time", lambda *_: False)
    monkeypatch.setattr(PeerStreams, "open_comparison", lambda *_: None)
    assert "StreamFallback" in broken(run_scenario(LOST, 1))


def test_a_node_whose_clock_is_off_stays_out_and_comes_in_at_the_heal() -> None:
    outcome = run_scenario(OFF, 1)
    assert outcome.is_good
    assert outcome.checks["HalfOpenJoins"] > 0
    assert outcome.marks["streams_clock_skew"] > 0


def test_it_is_seen_when_such_a_node_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClockWatch, "is_refused", lambda *_: False)
    assert "HalfOpenJoins" in broken(run_scenario(OFF, 1))


def test_other_plays_give_no_occasion() -> None:
    outcome = run_scenario(Scenario(title="Calm", nodes=2, warmup=2, duration=2), 1)
    assert outcome.checks["StreamFallback"] == outcome.checks["HalfOpenJoins"] == 0

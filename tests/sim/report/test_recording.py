"""The recording of a run."""

from __future__ import annotations

from collections import Counter

from gossipreg_sim.report.recording import Recording, messages_of
from gossipreg_sim.runner import run_scenario
from tests.sim.report.conftest import STORMY


def test_recording_does_not_change_a_run(stormy: Recording) -> None:
    assert run_scenario(STORMY, 3).digest == stormy.outcome.digest


def test_every_packet_is_recorded_with_its_fate(stormy: Recording) -> None:
    packets = [passage for passage in stormy.passages if not passage.on_stream]
    assert len(packets) == stormy.outcome.packets
    assert Counter(passage.culprit for passage in packets).keys() == {"", "fault cut-1", "fault loss-1"}
    assert all(bool(passage.arrivals) != bool(passage.culprit) for passage in stormy.passages)
    assert all(messages_of(passage.data) for passage in packets)


def test_no_packet_crosses_a_cut(stormy: Recording) -> None:
    side = ("n0", "n1")
    cut = [p for p in stormy.passages if 3e9 <= p.sent < 10e9 and (p.sender in side) != (p.receiver in side)]
    assert cut
    assert not any(passage.arrivals for passage in cut if not passage.on_stream)


def test_every_change_of_belief_in_the_trace_is_recorded(stormy: Recording) -> None:
    traced = [
        (step.at, step.node, step.about)
        for step in stormy.outcome.trace.steps
        if step.what in ("alive", "suspect", "failed", "left", "forgotten")
    ]
    assert [(b.at, b.observer, b.subject) for b in stormy.beliefs] == traced


def test_node_runs_start_and_end_at_the_times_of_the_faults(stormy: Recording) -> None:
    [first, second] = [run for run in stormy.node_runs if run.node == "n2"]
    assert (first.born, first.died) == (0, 5_000_000_000)
    assert (second.born // 1000, second.died) == (8_000_000, None)
    [gone] = [run for run in stormy.node_runs if run.node == "n3"]
    assert gone.left == 9_000_000_000
    assert gone.died == 10_000_000_000
    assert stormy.node_run("n2", 6_000_000_000) is None
    assert stormy.node_run("n2", 9_000_000_000) == second

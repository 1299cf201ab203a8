"""Faults affect the right nodes, begin on time, and end by the heal."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import KINDS, Fault
from gossipreg_sim.faults import chosen
from gossipreg_sim.marks import known_marks
from gossipreg_sim.rng import Rng
from gossipreg_sim.runner import Outcome, run_scenario
from tests.sim.making import scenario


def marks_at(outcome: Outcome, what: str) -> list[float]:
    """Return the times of a mark, in seconds after the faults start to count."""
    return [step.at / 1e9 - outcome.scenario.warmup for step in outcome.trace.steps if step.what == what]


@pytest.mark.parametrize(
    ("selectors", "names"),
    [
        (("*",), ["n0", "n1", "n2", "n3", "n4", "n5"]),
        (("n3", "n1", "n3"), ["n3", "n1"]),
        (("first:2", "last:1"), ["n0", "n1", "n5"]),
        (("zone:zone-1",), ["n1", "n3", "n5"]),
        (("last:99",), ["n0", "n1", "n2", "n3", "n4", "n5"]),
    ],
)
def test_selectors_name_nodes(selectors: tuple[str, ...], names: list[str]) -> None:
    assert chosen(selectors, scenario(nodes=6, zones=2), Rng.of("any")) == names


def test_random_nodes_come_from_the_rng() -> None:
    generated = {tuple(chosen(("random:2",), scenario(nodes=6), Rng.of("any", seed))) for seed in range(50)}
    assert all(len(set(names)) == 2 for names in generated)
    assert len(generated) > 10


def test_a_condition_ends_on_time_and_at_the_latest_with_the_heal() -> None:
    outcome = run_scenario(scenario(Fault(kind="cut", at=1, lasts=2), Fault(kind="cut", at=4, lasts=99)), 1)
    assert marks_at(outcome, "cut begins") == [1, 4]
    assert marks_at(outcome, "cut ends") == [3, 8]


def test_a_crashed_node_is_back_by_the_heal() -> None:
    faults = [
        Fault(kind="churn", every=1, seconds=99, nodes=("last:2",)),
        Fault(kind="crash", nodes=("n0",), at=1, lasts=99),
    ]
    outcome = run_scenario(scenario(*faults), 1)
    assert outcome.is_good
    assert marks_at(outcome, "start") == [8, 8, 8]


def test_nodes_restart_one_after_the_other() -> None:
    outcome = run_scenario(scenario(Fault(kind="restart", every=2, seconds=1, nodes=("first:3",))), 1)
    assert outcome.is_good
    assert marks_at(outcome, "crash") == [0, 2, 4]
    assert marks_at(outcome, "start") == [1, 3, 5]


def test_a_node_is_down_until_the_last_fault_that_keeps_it_down_has_ended() -> None:
    faults = [
        Fault(kind="crash", at=1, lasts=5, nodes=("n2",)),
        Fault(kind="crash-host", at=2, lasts=1, nodes=("n2",)),
        Fault(kind="restart", at=3, seconds=1, nodes=("n2",)),
    ]
    outcome = run_scenario(scenario(*faults), 1)
    assert outcome.is_good
    assert marks_at(outcome, "start") == [6]


def test_a_permanently_dead_node_is_not_started_by_another_fault() -> None:
    faults = [Fault(kind="leave", nodes=("n3",)), Fault(kind="restart", at=3, seconds=1, every=1, nodes=("n1", "n3"))]
    outcome = run_scenario(scenario(*faults), 1)
    assert outcome.is_good
    assert marks_at(outcome, "start") == [4]


def test_pauses_alternate_until_the_heal() -> None:
    outcome = run_scenario(scenario(Fault(kind="freeze", off=2, on=1, nodes=("n1",))), 1)
    assert marks_at(outcome, "freeze") == [0, 3, 6]
    assert marks_at(outcome, "unfreeze") == [2, 5, 8]


def test_a_node_that_must_restart_while_it_is_leaving_restarts() -> None:
    outcome = run_scenario(scenario(Fault(kind="leave", nodes=("n3",), at=1, lasts=0.5)), 1)
    assert outcome.is_good
    assert outcome.marks["leave"] == outcome.marks["start"] == 1


def test_a_leaving_node_is_not_suspected() -> None:
    outcome = run_scenario(scenario(Fault(kind="leave", nodes=("n3",), at=1)), 1)
    assert outcome.is_good
    assert outcome.marks["left"] == 4
    assert "suspect" not in outcome.marks


def test_a_host_that_rejects_its_own_output_reaches_no_peer_and_declares_no_failure() -> None:
    fault = Fault(kind="output-rejected", nodes=("n2",), at=1, lasts=8)
    outcome = run_scenario(scenario(fault, nodes=5, duration=14), 1)
    assert outcome.is_good
    assert marks_at(outcome, "output-rejected") == [1]
    assert outcome.marks["packets_unsent"] > 10
    seen = {(step.node, step.about) for step in outcome.trace.steps if step.what == "failed"}
    assert seen == {(name, "n2") for name in ("n0", "n1", "n3", "n4")}, "it declares no failure itself"


def test_a_swizzle_restores_all_links() -> None:
    outcome = run_scenario(scenario(Fault(kind="swizzle", every=3), nodes=6, duration=10), 1)
    assert outcome.is_good
    assert outcome.marks["suspect"]


_EXAMPLES = {
    "probability": 0.3,
    "off": 1.0,
    "on": 1.0,
    "every": 2.0,
    "seconds": 0.3,
    "drift": 0.02,
    "rate": 20_000.0,
    "size": 1000,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "sealed"])
def test_a_small_cluster_survives_every_kind_of_fault(kind: str, sealed: bool) -> None:
    keys: dict[str, Any] = {key: _EXAMPLES[key] for key in KINDS[kind].needs}
    fault = Fault(kind=kind, nodes=("last:2",), lasts=0 if kind == "restart" else 4, **keys)
    outcome = run_scenario(scenario(fault, sealed=sealed, settings=EngineSettings(suspicion_alpha=2.0)), 3)
    assert outcome.is_good, (outcome.violations[:3], outcome.heals)
    assert outcome.marks.keys() <= {*known_marks(KINDS)}, "every mark may be required in `sometimes`"


def test_a_link_fault_with_packets_to_unknown_addresses_is_harmless() -> None:
    faults = [Fault(kind="replay", every=0.1), Fault(kind="bit-flips", probability=0.3), Fault(kind="forge", every=0.1)]
    assert run_scenario(scenario(*faults, Fault(kind="restart", nodes=("n3",), port=8001, seconds=1)), 2).is_good

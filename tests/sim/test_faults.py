"""Faults affect the right nodes, begin on time, and end by the heal."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.fault import KINDS, Fault
from gossipreg_sim.faults import chosen
from gossipreg_sim.marks import known_marks
from gossipreg_sim.rng import Rng
from gossipreg_sim.runner import Outcome, run_scenario
from gossipreg_sim.world import ns
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
    "certificate": "other",
    "identity": "prefer",
}

#: Kinds of fault that a cluster without identity cannot have.
_OF_IDENTITY = ("impostor", "revoke")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "sealed"])
def test_a_small_cluster_survives_every_kind_of_fault(kind: str, sealed: bool) -> None:
    keys: dict[str, Any] = {key: _EXAMPLES[key] for key in KINDS[kind].needs}
    fault = Fault(kind=kind, nodes=("last:2",), lasts=0 if kind in ("restart", "upgrade") else 4, **keys)
    identity = "require" if kind in _OF_IDENTITY else "off"
    is_sealed = sealed or kind == "rotate"  # in clear there is no key
    settings = EngineSettings(suspicion_alpha=2.0)
    outcome = run_scenario(scenario(fault, sealed=is_sealed, identity=identity, settings=settings), 3)
    assert outcome.is_good, (outcome.violations[:3], outcome.heals)
    assert outcome.marks.keys() <= {*known_marks(KINDS)}, "every mark may be required in `sometimes`"


def test_a_link_fault_with_packets_to_unknown_addresses_is_harmless() -> None:
    faults = [Fault(kind="replay", every=0.1), Fault(kind="bit-flips", probability=0.3), Fault(kind="forge", every=0.1)]
    assert run_scenario(scenario(*faults, Fault(kind="restart", nodes=("n3",), port=8001, seconds=1)), 2).is_good


def test_an_impostor_sends_from_its_beginning_to_its_end() -> None:
    fault = Fault(kind="impostor", certificate="none", every=0.5, at=1, lasts=2)
    outcome = run_scenario(scenario(fault, identity="require"), 1)
    assert outcome.is_good
    assert marks_at(outcome, "impostor") == [1, 1.5, 2, 2.5]


def test_a_revoked_node_is_outside_and_one_with_another_certificate_is_back() -> None:
    faults = (Fault(kind="revoke", nodes=("n3",), at=1), Fault(kind="revoke", nodes=("n2",), at=1, lasts=2))
    outcome = run_scenario(scenario(*faults, identity="require"), 1)
    assert outcome.is_good
    forgotten = {(step.node, step.about) for step in outcome.trace.steps if step.what == "forgotten"}
    assert forgotten >= {("n0", "n2"), ("n0", "n3"), ("n1", "n2"), ("n1", "n3")}
    assert marks_at(outcome, "start") == [3]


def test_an_upgrade_restarts_nodes_with_another_mode() -> None:
    fault = Fault(kind="upgrade", identity="prefer", seconds=0.5, every=2, nodes=("n0", "n2"))
    proofs: dict[str, bool] = {}

    def look(cluster: Cluster) -> None:
        cluster.world.at(ns(10), lambda: proofs.update(signing(cluster)))

    outcome = run_scenario(scenario(fault), 1, attach=look)
    assert outcome.is_good
    assert marks_at(outcome, "start") == [0.5, 2.5]
    assert proofs == {"n0": True, "n1": False, "n2": True, "n3": False}


def signing(cluster: Cluster) -> dict[str, bool]:
    """By name, whether the other nodes hold the proof of what a node states of itself."""
    held = [each for process in cluster.alive for each in process.engine.members.snapshot()]
    names = cluster.processes
    return {name: all(each.proof for each in held if each.name == name) for name in names}


def test_a_rotation_changes_the_key_of_all_nodes() -> None:
    keys: list[tuple[bytes, ...]] = []

    def look(cluster: Cluster) -> None:
        for at in (3, 5, 10):
            cluster.world.at(ns(at), lambda: keys.extend(ring.keys for ring in cluster._keyrings.values()))

    fault = Fault(kind="rotate", seconds=5, at=1, nodes=("n1",))
    outcome = run_scenario(scenario(fault, sealed=True), 1, attach=look)
    assert outcome.is_good
    assert marks_at(outcome, "key added") == [1]
    assert marks_at(outcome, "key given up") == [6]
    [(old,)] = {*keys[:4]}
    assert all(len(ring) == 2 and ring[0] == old for ring in keys[4:8]), "added, and not used yet"
    assert {len(ring) for ring in keys[8:]} == {1}
    assert old not in {key for ring in keys[8:] for key in ring}

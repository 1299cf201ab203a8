"""Scenarios that make no sense are refused before a run, with the fault, the key and the reason."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.scenario import Scenario, ScenarioError
from gossipreg_sim.scenario_checks import sensible

HEAL = "and the heal comes at duration = 20"


def made(*faults: Fault, **parts: Any) -> Scenario:
    return Scenario(**{"title": "A test", "nodes": 9, "duration": 20.0, **parts}, faults=faults)


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ([Fault(kind="cut", at=20)], "cut-1: at: 20 is not before the heal, at duration = 20"),
        ([Fault(kind="cut", lasts=1e-12)], "cut-1: lasts: 1e-12 is shorter than a nanosecond"),
        ([Fault(kind="cut", nodes=[])], "cut-1: nodes: it names no node"),
        ([Fault(kind="cut", nodes="n1", to=[])], "cut-1: to: it names no node"),
        ([Fault(kind="cut", nodes="n1", to="n1")], "cut-1: to: there is no link from a node to itself"),
        (
            [Fault(kind="loss", probability=1, nodes="last:1", to="n8")],
            "loss-1: to: there is no link from a node to itself",
        ),
        (
            [Fault(kind="cut", nodes="n1", lasts=3, permanent=True)],
            "cut-1: lasts: 3 contradicts permanent = true: leave out one of the two",
        ),
        (
            [Fault(kind="crash", nodes="n1", disk=True)],
            "crash-1: disk: the node does not come back: set lasts, or leave out disk",
        ),
        (
            [Fault(kind="freeze", nodes="n1", on=2)],
            "freeze-1: on: the pause has no end without off: set off, too",
        ),
        (
            [Fault(kind="replay", every=1, seconds=30)],
            "replay-1: seconds: no packet is 30 s old before the heal, at duration = 20",
        ),
        (
            [Fault(kind="restart", every=10, seconds=2)],
            "restart-1: 9 nodes, one every 10 s, back after 2 s: starting at = 0 this takes until 82 s, " + HEAL,
        ),
        (
            [Fault(kind="restart", at=15, seconds=8)],
            "restart-1: 9 nodes at once, back after 8 s: starting at = 15 this takes until 23 s, " + HEAL,
        ),
        (
            [Fault(kind="restart", at=19, seconds=2, nodes="n1")],
            "restart-1: a node, back after 2 s: starting at = 19 this takes until 21 s, " + HEAL,
        ),
        (
            [Fault(kind="restart", seconds=2, lasts=5)],
            "restart-1: lasts: a restart ends when its last node is back: leave it out",
        ),
        (
            [
                Fault(kind="clock-skew", seconds=9, nodes="n1"),
                Fault(kind="clock-skew", seconds=-9, at=3, nodes="first:3"),
            ],
            "clock-skew-2: nodes: clock-skew-1 affects n1 at the same time",
        ),
        (
            [Fault(kind="slow", seconds=9, at=3, lasts=4), Fault(kind="slow", seconds=1, lasts=3.5, nodes="n4")],
            "slow-2: nodes: slow-1 affects n4 at the same time",
        ),
        (
            [Fault(kind="crash", nodes="last:2"), Fault(kind="freeze", at=3, nodes="n8")],
            "freeze-1: nodes: at 3 s crash-1 has left no such node alive",
        ),
        (
            [Fault(kind="cut", at=3, nodes="n1", to="n8"), Fault(kind="leave", nodes="n8")],
            "leave-1: nodes: at 3 s leave-1 has left no such node alive",
        ),
        (
            [Fault(kind="leave"), Fault(kind="cut", at=3, nodes="random:2")],
            "cut-1: nodes: at 3 s leave-1 has left no such node alive",
        ),
        (
            [Fault(kind="impostor", every=1, certificate="none")],
            'impostor-1: kind: an impostor is believed unless all nodes ask for identity: set identity = "require"',
        ),
        (
            [Fault(kind="revoke", nodes="n1")],
            'revoke-1: kind: without identity there is no certificate to revoke: set identity = "require"',
        ),
        (
            [Fault(kind="rotate", seconds=3)],
            "rotate-1: kind: in clear there is no key to rotate: set sealed = true",
        ),
        (
            [Fault(kind="upgrade", seconds=1, identity="off")],
            "upgrade-1: identity: a member that has signed is not believed unsigned: choose prefer or require",
        ),
        (
            [
                Fault(kind="upgrade", seconds=1, identity="prefer", nodes="n1"),
                Fault(kind="upgrade", seconds=1, identity="require", at=5),
            ],
            "upgrade-2: identity: nodes that do not sign are refused: upgrade all to prefer in a fault above",
        ),
        (
            [Fault(kind="upgrade", seconds=1, identity="prefer", lasts=4)],
            "upgrade-1: lasts: an upgrade ends when its last node is back: leave it out",
        ),
    ],
    ids=lambda value: "+".join(fault.kind for fault in value) if isinstance(value, list) else "",
)
def test_a_fault_without_effect_or_in_contradiction_to_another_is_refused(faults: list[Fault], sentence: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        made(*faults)
    assert str(refused.value) == f"fault {sentence}"


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(kind="restart", every=2, seconds=4)],
        [Fault(kind="restart", at=18, seconds=2)],
        [Fault(kind="cut", lasts=99)],
        [Fault(kind="cut", nodes="random:1", to="random:1")],
        [Fault(kind="crash", nodes="n1", lasts=3, disk=True)],
        [Fault(kind="clock-skew", seconds=9, lasts=3), Fault(kind="clock-skew", seconds=-9, at=3)],
        [Fault(kind="clock-skew", seconds=9, nodes="n1"), Fault(kind="clock-skew", seconds=-9, nodes="n2")],
        [Fault(kind="freeze", nodes="random:2", off=1), Fault(kind="freeze", nodes="n2", off=1)],
        [Fault(kind="cut"), Fault(kind="cut", nodes="n1")],
        [Fault(kind="crash", nodes="n8"), Fault(kind="freeze", at=3, nodes=("n7", "n8"))],
        [Fault(kind="crash", nodes="n8", lasts=9), Fault(kind="freeze", at=3, nodes="n8")],
        [Fault(kind="crash", nodes="n8", at=5), Fault(kind="freeze", at=3, nodes="n8")],
        [Fault(kind="crash", nodes="first:8"), Fault(kind="cut", at=3, nodes="random:2")],
    ],
    ids=lambda value: "+".join(fault.kind for fault in value),
)
def test_a_sensible_combination_is_accepted(faults: list[Fault]) -> None:
    assert len(made(*faults).faults) == len(faults)


def test_staggered_starts_must_end_before_the_heal() -> None:
    with pytest.raises(ScenarioError) as refused:
        made(together=False, stagger=5.0, warmup=10.0)
    assert str(refused.value) == "stagger: the last node would start at 40 s, and the heal comes at 30 s"
    made(together=False, stagger=3.0, warmup=10.0)


def test_sensible_keeps_each_fault_that_is_consistent_with_those_before() -> None:
    skews = [Fault(kind="clock-skew", seconds=number, nodes="n1") for number in (1, 2)]
    late = Fault(kind="cut", at=99)
    assert sensible([*skews, late], made()) == (skews[0],)


def test_an_impostor_excludes_nodes_that_do_not_require_identity_and_a_key_is_rotated_once() -> None:
    impostor = Fault(kind="impostor", every=1, certificate="none")
    back = Fault(kind="upgrade", seconds=1, identity="prefer", nodes="n1")
    with pytest.raises(ScenarioError, match="an impostor is believed unless all nodes ask for identity"):
        made(impostor, back, identity="require")
    rotate = Fault(kind="rotate", seconds=1)
    with pytest.raises(ScenarioError, match="rotate-1 rotates the key already"):
        made(rotate, rotate, sealed=True)


def test_an_unknown_certificate_or_mode_is_refused_with_those_there_are() -> None:
    with pytest.raises(ScenarioError, match="certificate 'revokd': did you mean 'revoked'"):
        made(Fault(kind="impostor", every=1, certificate="revokd"), identity="require")
    with pytest.raises(ScenarioError, match="identity 'requir': did you mean 'require'"):
        made(identity="requir")

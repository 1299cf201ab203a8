"""Which nodes a permanent fault exempts from agreement."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gossipreg.protocol.membership.peer_clocks import CLOCK_SKEW_MAX
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.conditions import Cut, Links
from gossipreg_sim.fault import Fault
from gossipreg_sim.faults import chosen, links_of
from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario import Wiring
from gossipreg_sim.scenario_checks import problem
from gossipreg_sim.separation import BURST_MAX, LOSS_MAX, separated_nodes, separates
from gossipreg_sim.world import World, ns
from tests.sim.making import scenario
from tests.sim.simulator_page import PAGE


@pytest.mark.parametrize(
    ("fault", "apart"),
    [
        (Fault(kind="cut", nodes=("n1",), permanent=True), ("n1",)),
        (Fault(kind="cut", nodes=("n1",)), ()),
        (Fault(kind="cut", nodes=("first:3",), to=("last:1",), permanent=True), ("n3",)),
        (Fault(kind="cut", to=("n3",), permanent=True), ("n3",)),
        (Fault(kind="loss", probability=0.9, to=("n3",), both_ways=False, permanent=True), ("n3",)),
        (Fault(kind="loss", probability=0.9, nodes=("first:3",), to=("n2", "n3"), permanent=True), ("n2", "n3")),
        (Fault(kind="loss", probability=0.9, permanent=True), ()),
        (Fault(kind="clock-skew", seconds=3600.0, nodes=("n1",), permanent=True), ("n1",)),
        (Fault(kind="crash", nodes=("n1",), permanent=True), ()),
    ],
)
def test_a_permanent_fault_separates_its_smaller_side_unless_it_affects_all(
    fault: Fault, apart: tuple[str, ...]
) -> None:
    assert separated_nodes(scenario(fault), World(1)) == apart


def strong(kind: str) -> dict[str, Any]:
    return {"flip-flop": {"off": 5.0, "on": 5.0}, "loss": {"probability": 0.9}}.get(kind, {})


selectors = st.lists(
    st.sampled_from(["*", "n0", "n1", "n2", "n3", "first:2", "last:3", "random:2"]), min_size=1, max_size=2
)


@given(st.sampled_from(["cut", "flip-flop", "loss"]), selectors, selectors, st.booleans())
def test_between_two_nodes_of_the_core_no_link_has_a_fault_that_separates(
    kind: str, nodes: list[str], to: list[str], both_ways: bool
) -> None:
    fault = Fault(kind=kind, nodes=nodes, to=to, both_ways=both_ways, permanent=True, name="it", **strong(kind))
    assume(not problem(fault, [], scenario()))
    run = scenario(fault)
    rng = World(1).rng("fault it")
    links = links_of(fault, chosen(fault.nodes, run, rng), chosen(fault.to, run, rng))
    apart = separated_nodes(run, World(1))
    core = [name for name in run.node_names if name not in apart]
    affects_all = {*links.senders} == {*links.receivers} == {*run.node_names}
    assert affects_all or not any(links.covers(one, other) for one, other in permutations(core, 2))


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        ({"kind": "loss", "probability": 0.3}, {"probability": 0.31}),
        ({"kind": "bit-flips", "probability": 0.3}, {"probability": 0.31}),
        ({"kind": "bursts", "probability": 0.1, "spread": 0.25}, {"spread": 0.2}),
        ({"kind": "bursts", "probability": 0.1, "spread": 0.25}, {"probability": 0.2}),
        ({"kind": "bursts", "probability": 0.1, "spread": 0.25}, {"spread": 0.0}),
        ({"kind": "delay", "seconds": 0.2, "spread": 0.0}, {"seconds": 0.3}),
        ({"kind": "delay", "seconds": 0.1, "spread": 0.05}, {"spread": 0.1}),
        ({"kind": "reorder", "probability": 1.0, "spread": 0.2}, {"spread": 0.3}),
        ({"kind": "narrow", "rate": 6_000.0, "buffer": 6_000}, {"rate": 5_000.0}),
        ({"kind": "narrow", "rate": 6_000.0, "buffer": 6_000}, {"buffer": 5_000}),
        ({"kind": "clock-skew", "seconds": -25.0}, {"seconds": -26.0}),
        ({"kind": "clock-drift", "drift": -0.2}, {"drift": -0.5}),
    ],
)
def test_a_weak_fault_does_not_separate_and_a_stronger_one_does(weak: dict[str, Any], strong: dict[str, Any]) -> None:
    fault: dict[str, Any] = {"nodes": ("n1",), "permanent": True}
    assert not separates(Fault(**weak, **fault), scenario())
    assert separates(Fault(**(weak | strong), **fault), scenario())


def test_duplicates_never_separate_and_a_slow_network_leaves_less_room_for_a_delay() -> None:
    assert not separates(Fault(kind="duplicate", probability=1.0, spread=5.0, permanent=True), scenario())
    late = Fault(kind="delay", seconds=0.2, spread=0.0, permanent=True)
    assert not separates(late, scenario())
    assert separates(late, scenario(wiring=Wiring(seconds=0.1)))


def test_what_ends_separates_no_node_for_good() -> None:
    assert not separates(Fault(kind="cut", nodes=("n1",)), scenario())


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "loss", "probability": 0.3},
        {"kind": "bursts", "probability": 0.1, "spread": 0.25},
        {"kind": "delay", "seconds": 0.2, "spread": 0.0},
        {"kind": "narrow", "rate": 6_000.0, "buffer": 6_000},
        {"kind": "clock-skew", "seconds": -25.0},
    ],
)
def test_all_agree_in_spite_of_a_weak_permanent_fault(fault: dict[str, Any]) -> None:
    outcome = run_scenario(scenario(Fault(**fault, nodes=("n1",), permanent=True), quiet=60.0, sealed=True), 1)
    assert outcome.is_good, (outcome.violations, outcome.healed_in)


def test_a_node_with_a_weak_permanent_fault_that_does_not_agree_is_a_violation() -> None:
    def attach(cluster: Cluster) -> None:
        cluster.world.at(ns(5.0), lambda: cluster.network.begin("planted", Cut(Links(("n1",), ("n0", "n2", "n3")))))

    weak = Fault(kind="loss", probability=0.1, nodes=("n1",), permanent=True)
    outcome = run_scenario(scenario(weak, quiet=5.0), 1, attach=attach)
    assert outcome.healed_in is None
    assert not outcome.is_good


def test_the_page_has_the_limits() -> None:
    text = " ".join(PAGE.read_text().split())
    assert f"a loss of at most {LOSS_MAX:.0%}".replace("%", " %") in text
    assert f"in bursts of at most {['', 'one', 'two', 'three', 'four'][BURST_MAX]} packets" in text
    assert f"a wall clock that is wrong by at most {CLOCK_SKEW_MAX:g} s" in text

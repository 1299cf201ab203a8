"""The phases of a run, and the times without faults."""

from __future__ import annotations

import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.run_context import RunContext
from gossipreg_sim.world import ns
from tests.sim.making import scenario


def test_calm_ends_with_the_first_fault_and_fair_time_with_the_first_that_is_no_loss() -> None:
    context = RunContext(scenario(Fault(kind="loss", probability=0.1, at=1.0), Fault(kind="cut", at=4.0)))
    assert context.faults_at == ns(3.0)
    assert context.heal_at == ns(11.0)
    assert context.settled_from == ns(3.0)
    assert context.undisturbed_until == ns(4.0)
    assert context.fair_until == ns(7.0)
    assert RunContext(scenario()).undisturbed_until > ns(1e9)
    assert RunContext(scenario(together=False, stagger=0.5)).settled_from == ns(5.0)


def test_losses_add_up() -> None:
    losses = (Fault(kind="loss", probability=0.5), Fault(kind="loss", probability=0.2), Fault(kind="cut"))
    assert RunContext(scenario(*losses)).loss == pytest.approx(0.6)


def test_the_longest_separation_is_the_longest_cut() -> None:
    assert RunContext(scenario()).longest_separation == 0.0
    assert RunContext(scenario(Fault(kind="cut", at=2.0))).longest_separation == 6.0
    assert (
        RunContext(scenario(Fault(kind="cut", lasts=3.0), Fault(kind="flip-flop", off=4.0, on=1.0))).longest_separation
        == 4.0
    )


def test_a_permanent_death_is_no_separation() -> None:
    assert RunContext(scenario(Fault(kind="crash-host", nodes=("n3",)))).longest_separation == 0.0
    assert RunContext(scenario(Fault(kind="crash-host", nodes=("n3",), lasts=2.0))).longest_separation == 2.0


def test_a_process_that_is_stopped_is_not_punctual() -> None:
    assert RunContext(scenario(Fault(kind="loss", probability=0.1))).is_punctual
    assert not RunContext(scenario(Fault(kind="freeze"))).is_punctual

"""The public names of `gossipreg_sim`, and the examples in its documentation."""

from __future__ import annotations

import doctest
import importlib
from types import ModuleType

import attrs
import pytest

import gossipreg_sim
import gossipreg_sim.scenario
from gossipreg_sim import Cluster, Fault, Outcome, Scenario, World, load, ns, run_scenario


@pytest.mark.parametrize("module", [gossipreg_sim, gossipreg_sim.scenario], ids=lambda module: module.__name__)
def test_the_examples_are_correct(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 3
    assert results.failed == 0


def test_exactly_the_public_names_are_available() -> None:
    assert all(getattr(gossipreg_sim, name) is not None for name in gossipreg_sim.__all__)
    with pytest.raises(AttributeError, match=r"^module 'gossipreg_sim' has no attribute 'Senario'$"):
        gossipreg_sim.Senario  # noqa: B018


def test_a_scenario_runs_from_a_seed() -> None:
    made = Scenario(title="Short", nodes=3, warmup=2, duration=2, faults=[Fault(kind="freeze", nodes="n1", off=1)])
    outcome = run_scenario(made, 3)
    assert isinstance(outcome, Outcome)
    assert (outcome.scenario, outcome.seed, outcome.is_good) == (made, 3, True)
    assert run_scenario(made, 3).digest == outcome.digest != run_scenario(made, 4).digest


def test_the_name_of_a_scenario_does_not_affect_its_run() -> None:
    made = Scenario(title="Short", nodes=3, warmup=2, duration=2, faults=[Fault(kind="bit-flips", probability=0.2)])
    assert (
        run_scenario(made, 1).digest
        == run_scenario(attrs.evolve(made, name="a name that is too long for a cluster" * 9), 1).digest
    )


def test_a_shipped_scenario_is_loaded_by_its_name() -> None:
    assert load("split-brain").name == "split-brain"


def test_the_runner_is_still_importable_as_a_module() -> None:
    assert isinstance(importlib.import_module("gossipreg_sim.runner"), ModuleType)
    assert isinstance(gossipreg_sim.runner, ModuleType)


def test_a_cluster_can_be_driven_by_hand() -> None:
    cluster = Cluster(World(seed=2))
    cluster.start("a")
    cluster.start("b", seeds=["a"])
    cluster.world.run(until=ns(1.0))
    assert len({process.engine.fingerprint for process in cluster.alive}) == 1

"""Dissemination slower than an epidemic's is reported."""

from __future__ import annotations

import math

import attrs
import pytest

from gossipreg.policy import Split
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles import dissemination_time
from gossipreg_sim.oracles.dissemination_time import DisseminationTime, epidemic
from tests.sim.making import run_for
from tests.sim.oracles.watching import offer, texts, watched


def test_the_curve_grows_with_cluster_size_loss_and_latency() -> None:
    settings = EngineSettings()
    usual = epidemic(settings, 64, 0.0, 0.0005)
    assert 0.01 < usual < 0.1
    assert epidemic(settings, 1_000, 0.0, 0.0005) > usual
    assert epidemic(settings, 64, 0.3, 0.0005) > usual
    assert epidemic(settings, 64, 0.0, 0.05) > usual
    assert math.isinf(epidemic(settings, 64, 0.95, 0.0005))


def oracle_after(slowest: float, loss: float = 0.0, number: int = 1) -> DisseminationTime:
    """Return the oracle after 40 records of which some, one by default, took ``slowest`` seconds."""
    faults = [Fault(kind="loss", probability=loss)] if loss else []
    _made, oracle = watched(DisseminationTime, *faults)
    oracle._times[:] = [0.005] * (40 - number) + [slowest] * number
    oracle.finish()
    return oracle


def test_slow_dissemination_is_reported() -> None:
    assert texts(oracle_after(0.02)) == []
    assert oracle_after(0.02).note.startswith("measured 20 ms for 40 records, bound ")
    assert texts(oracle_after(0.9))[0].startswith("a hundredth of the records took 0.900 s or more")


def test_of_few_records_one_may_be_unlucky_where_packets_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dissemination_time, "_MANY", 1)
    assert texts(oracle_after(5.0, loss=0.1)) == []
    assert len(texts(oracle_after(5.0, loss=0.1, number=2))) == 1


@pytest.mark.parametrize("number", [1, 5])
def test_a_record_is_timed_from_its_creation_to_the_last_node(number: int) -> None:
    made, oracle = watched(DisseminationTime, warmup=60.0)
    run_for(made, 2)
    for place in range(number):
        made.register("n0", offer(f"x{place}"))
    run_for(made, 1)
    assert len(oracle._times) == 2 + number
    assert all(0 < time < 0.1 for time in oracle._times)


def test_a_policy_is_timed_as_well() -> None:
    made, oracle = watched(DisseminationTime, warmup=60.0)
    run_for(made, 2)
    made.set_policy("n0", Split("s", {"v1": 1}))
    run_for(made, 1)
    assert len(oracle._times) == 2 + 1
    assert 0 < oracle._times[-1] < 0.1


def test_an_instance_offered_again_is_not_timed() -> None:
    made, oracle = watched(DisseminationTime, warmup=60.0)
    run_for(made, 2)
    for weight in (2, 1):
        made.register("n1", attrs.evolve(offer("a"), weight=weight))
        run_for(made, 1)
    assert len(oracle._times) == 2


def test_with_few_records_or_too_much_loss_the_oracle_does_not_apply() -> None:
    _made, oracle = watched(DisseminationTime)
    oracle.finish()
    assert oracle.note == "not applicable here: 2 records were created and spread undisturbed, 20 are needed"
    assert oracle_after(9.0, 0.97).note == "not applicable here: with packet loss the curve needs 8 nodes or more"

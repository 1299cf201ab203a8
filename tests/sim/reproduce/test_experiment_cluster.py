"""Members that know each other from the start, and their counted failures and traffic."""

from __future__ import annotations

import pytest

from gossipreg.model import Status
from gossipreg_sim.conditions import Cut, Links
from gossipreg_sim.reproduce.experiment_cluster import ExperimentCluster
from gossipreg_sim.reproduce.profiles import LIFEGUARD, OURS, SWIM


def test_all_members_know_each_other_from_the_start() -> None:
    for profile in (SWIM, OURS):
        experiment = ExperimentCluster.of(profile, 8, 1)
        for process in experiment.cluster.alive:
            assert sorted(update.name for update in process.engine.members) == sorted(experiment.names)
        assert len({process.engine.fingerprint for process in experiment.cluster.alive}) == 1
        assert experiment.failures == []


def test_an_idle_member_sends_two_packets_per_period() -> None:
    experiment = ExperimentCluster.of(SWIM, 8, 1, quiet=10.0)
    before = experiment.packets
    experiment.run_for(20.0)
    assert 1.9 <= (experiment.packets - before) / 8 / 20 <= 2.1


def test_a_crash_is_one_failure_per_observer() -> None:
    experiment = ExperimentCluster.of(SWIM, 8, 1)
    experiment.cluster.crash("n3", host=True)
    experiment.run_for(15.0)
    assert {failure.subject for failure in experiment.failures} == {"n3"}
    assert sorted(failure.observer for failure in experiment.failures) == [
        n for n in sorted(experiment.names) if n != "n3"
    ]


def test_a_member_that_returned_can_fail_again() -> None:
    experiment = ExperimentCluster.of(LIFEGUARD, 5, 1)
    experiment.cluster.network.begin("cut", Cut(Links(experiment.names, ["n0"])))
    experiment.run_for(40.0)
    once = [f for f in experiment.failures if f.observer == "n1" and f.subject == "n0"]
    experiment.cluster.network.end("cut")
    experiment.run_for(60.0)
    back = experiment.process("n1").engine.members.get("n0")
    assert back is not None
    assert back.status is Status.ALIVE
    experiment.cluster.crash("n0", host=True)
    experiment.run_for(40.0)
    twice = [f for f in experiment.failures if f.observer == "n1" and f.subject == "n0"]
    assert (len(once), len(twice)) == (1, 2)


@pytest.mark.slow
def test_equal_seeds_give_equal_runs() -> None:
    def run(seed: int) -> tuple[int, int, int]:
        experiment = ExperimentCluster.of(LIFEGUARD, 8, seed)
        experiment.cluster.crash("n0", host=True)
        experiment.run_for(15.0)
        return experiment.packets, experiment.bytes, experiment.failures[-1].at

    assert run(1) == run(1) != run(2)

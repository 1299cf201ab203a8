"""The behaviour of a member during a block, and at its end."""

from __future__ import annotations

from gossipreg.model import Status
from gossipreg_sim.reproduce.block import HANDLING, Block
from gossipreg_sim.reproduce.experiment_cluster import ExperimentCluster
from gossipreg_sim.reproduce.profiles import OURS, SWIM


def believed(experiment: ExperimentCluster, observer: str, subject: str) -> Status:
    update = experiment.process(observer).engine.members.get(subject)
    assert update is not None
    return update.status


def suspects(experiment: ExperimentCluster, observer: str) -> list[str]:
    return [
        name for name in experiment.names if name != observer and believed(experiment, observer, name) is Status.SUSPECT
    ]


def test_a_blocked_member_neither_sends_nor_reads() -> None:
    experiment = ExperimentCluster.of(SWIM, 6, 1)
    read = experiment.process("n0").engine.counters["packets_received"]
    sent: list[str] = []
    experiment.cluster.packet_taps.append(lambda passage: sent.append(passage.sender))
    Block(experiment, ["n0"]).hold(8.0)
    assert experiment.process("n1").engine.counters["packets_received"] > 0
    assert sent
    during = sent[: len(sent) - sent[::-1].index("n1")]
    assert "n0" not in during
    experiment.run_for(0.05)
    assert experiment.process("n0").engine.counters["packets_received"] > read, "the backlog is read at the end"


def test_one_probe_starts_during_a_block_and_fails_at_its_end() -> None:
    experiment = ExperimentCluster.of(SWIM, 6, 1)
    Block(experiment, ["n0"]).hold(8.0)
    assert experiment.process("n0").engine.counters["probes_missed"] == 1
    assert len(suspects(experiment, "n0")) == 1


def test_a_member_that_reads_before_its_timers_fire_suspects_no_peer() -> None:
    experiment = ExperimentCluster.of(OURS, 6, 1)
    Block(experiment, ["n0"]).hold(3.0)
    experiment.run_for(0.05)
    assert suspects(experiment, "n0") == []


def test_suspicions_time_out_during_a_block() -> None:
    experiment = ExperimentCluster.of(SWIM, 6, 1)
    block = Block(experiment, ["n0"])
    block.hold(8.0)
    [accused] = suspects(experiment, "n0")
    block.hold(12.0)  # immediately, so that no refutation can be received
    [failed] = [failure for failure in experiment.failures if failure.observer == "n0"]
    assert failed.subject == accused
    assert 10.0 + 5.0 <= experiment.seconds(failed.at) < 10.0 + 5.1


def test_a_refutation_between_two_blocks_is_received() -> None:
    experiment = ExperimentCluster.of(SWIM, 6, 1)
    block = Block(experiment, ["n0"])
    block.hold(8.0)
    assert suspects(experiment, "n0")
    experiment.run_for(4.0)
    assert suspects(experiment, "n0") == []
    block.hold(12.0)
    assert all(failure.subject == "n0" for failure in experiment.failures if failure.observer != "n0")


def test_the_backlog_may_outlast_the_time_between_blocks() -> None:
    experiment = ExperimentCluster.of(SWIM, 6, 1)
    block = Block(experiment, ["n0"])
    counters = experiment.process("n0").engine.counters
    block.hold(8.0)
    before = counters["packets_received"]
    experiment.run_for(3.5 * HANDLING)
    assert counters["packets_received"] == before + 3
    block.hold(1.0)
    assert counters["packets_received"] == before + 3


def test_cycles_continue_until_the_minimum_duration() -> None:
    experiment = ExperimentCluster.of(SWIM, 4, 1)
    start = experiment.world.now
    Block(experiment, ["n0", "n1"]).cycle(2.0, 1.0, 8.0)
    assert experiment.seconds(experiment.world.now - start) == 9.0
    assert not any(experiment.process(name).frozen for name in experiment.names)

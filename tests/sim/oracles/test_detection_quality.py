"""Accusations that packet loss does not explain are reported; so are the metrics of a failure detector."""

from __future__ import annotations

import pytest

from gossipreg.model import Status
from gossipreg.protocol.outputs import MemberChanged
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.detection_quality import DetectionQuality, FalsePositives, miss_rate
from gossipreg_sim.scenario import Wiring
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched


def after_probes(probes: int, suspected: int, loss: float) -> FalsePositives:
    """Return the oracle after so many probes and accusations at this loss."""
    made, positives = watched(FalsePositives, Fault(kind="loss", probability=loss), nodes=5)
    run_for(made, 3)
    positives._probes, positives._suspected = probes, suspected
    positives.finish()
    return positives


def test_miss_rates_follow_from_packet_loss() -> None:
    assert miss_rate(0.0, 3) == 0.0
    assert miss_rate(1.0, 0) == 1.0
    assert miss_rate(0.1, 0) == pytest.approx(0.19)
    assert miss_rate(0.1, 3) == pytest.approx(0.19 * 0.3439**3)


def test_accusations_that_loss_explains_pass() -> None:
    assert texts(after_probes(1_000, 8, 0.1)) == []
    assert after_probes(1_000, 8, 0.1).note == "measured 8 suspected, 0 failed in 1,000 probes, bound 0.77%"


def test_more_accusations_than_loss_explains_are_reported() -> None:
    assert texts(after_probes(1_000, 90, 0.1))[0].endswith("of the probes had a healthy member suspected, over 0.773%")


def test_without_loss_a_single_accusation_is_reported() -> None:
    made, positives = watched(FalsePositives, warmup=60.0)
    run_for(made, 3)
    n0, n1 = made.processes["n0"], made.processes["n1"].engine.identity
    positives.see(n0, MemberChanged(None, n1.own_update().graver(Status.SUSPECT, n0.engine.identity.run_id)))
    positives.finish()
    assert len(texts(positives)) == 1


def test_times_with_other_faults_do_not_count() -> None:
    _made, positives = watched(FalsePositives, Fault(kind="cut", nodes=("n0",)), warmup=1.0)
    positives.finish()
    assert positives.note == "not applicable here: no probe ran under random loss alone"
    made, positives = watched(FalsePositives, warmup=60.0, wiring=Wiring(seconds=0.6))
    run_for(made, 5)
    positives.finish()
    assert positives.note == "not applicable here: an ack may be late although no packet is lost"


def test_detection_and_mistakes_are_reported() -> None:
    made, quality = watched(DetectionQuality)
    quality.finish()
    assert quality.note == "not applicable here: no member was declared failed"
    n0, n1 = made.processes["n0"], made.processes["n1"].engine.identity
    failed = n1.own_update().graver(Status.FAILED)
    for _ in range(2):
        quality.see(n0, MemberChanged(None, failed))
        run_for(made, 2)
        quality.see(n0, MemberChanged(failed, n1.own_update()))
        run_for(made, 1)
    made.crash("n1")
    run_for(made, 4)
    quality._first.clear()
    quality._last.clear()
    quality.see(n0, MemberChanged(n1.own_update(), failed))
    run_for(made, 1)
    quality.see(made.processes["n2"], MemberChanged(None, failed))  # a new node learns of it, which is no detection
    quality.see(made.processes["n2"], MemberChanged(n1.own_update(), failed))
    quality.finish()
    expected = (
        "measured detection 4.000 s first, 5.000 s last (1 deaths); 2 mistakes lasting 2.00 s, again after 3.00 s"
    )
    assert quality.note == expected

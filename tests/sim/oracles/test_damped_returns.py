"""A node that keeps failing by its own fault must wait long enough from when it learned of it."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.flap_damping import FlapDamping
from gossipreg.protocol.outputs import MemberChanged
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.messages import pack
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.damped_returns import DampedReturns, suppression
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched

#: Settings with short waits from the first return on.
QUICK = EngineSettings(damping_base=4.0, damping_max=8.0)


def fail(made: Cluster, status: Status = Status.FAILED) -> None:
    """Make n0 tell n1, which has poor local health, and no other node, that it is believed to have failed."""
    n0, n1 = made.processes["n0"], made.processes["n1"]
    n1.engine.detector.health.worse(8)
    n0.engine.outbox.send(
        n1.engine.identity.own_update().destination, pack(n1.engine.identity.own_update().graver(status))
    )
    n0.act(n0.engine.outbox.take())
    run_for(made, 0.01)


def test_the_wait_doubles_up_to_a_limit() -> None:
    assert [suppression(QUICK, returns) for returns in range(5)] == [0.0, 4.0, 8.0, 8.0, 8.0]


def test_a_node_that_waits_long_enough_passes() -> None:
    made, returns = watched(DampedReturns, settings=QUICK)
    for _ in range(3):
        fail(made)
        run_for(made, 9.0)
    assert returns.checks == 2
    assert texts(returns) == []


def test_a_failure_learned_over_a_stream_counts_from_then_on() -> None:
    made, returns = watched(DampedReturns, settings=QUICK)
    fail(made)
    n0, n1 = made.processes["n0"], made.processes["n1"]
    n1.engine.detector.health.worse(8)
    own = n1.engine.identity.own_update()
    n0.engine.streams.open(Purpose.PROBE, own.destination, [own.graver(Status.FAILED), End()])
    n0.act(n0.engine.outbox.take())
    run_for(made, 1.0)
    fail(made)
    run_for(made, 9.0)
    assert returns.checks == 1
    assert texts(returns) == []


def test_a_node_that_rejoins_too_soon_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made, returns = watched(DampedReturns, settings=QUICK)
    monkeypatch.setattr(FlapDamping, "wait", lambda self, now: 1.0 if self._returns else 0.0)
    fail(made)
    fail(made)
    run_for(made, 2.0)
    assert texts(returns) == ["rejoined 1.000 s after it was accused, not 4 s"]


def test_superseding_a_failure_before_learning_of_it_counts_as_a_return() -> None:
    made, returns = watched(DampedReturns, settings=QUICK)
    n0, n1 = made.processes["n0"], made.processes["n1"]
    result = pack(n1.engine.identity.own_update().graver(Status.FAILED))
    fail(made, Status.SUSPECT)
    n0.engine.outbox.send(n1.engine.identity.own_update().destination, result)
    n0.act(n0.engine.outbox.take())
    run_for(made, 0.01)
    assert returns.checks == 0
    fail(made)
    run_for(made, 9.0)
    assert returns.checks == 1
    assert texts(returns) == []


def test_without_a_second_return_the_oracle_does_not_apply() -> None:
    made, returns = watched(DampedReturns)
    fail(made)
    returns.finish()
    assert returns.note == "not applicable here: no member returned twice"


def test_a_healthy_node_need_not_wait() -> None:
    made, returns = watched(DampedReturns, settings=QUICK)
    n0, n1 = made.processes["n0"], made.processes["n1"]
    for _ in range(3):
        n0.engine.outbox.send(
            n1.engine.identity.own_update().destination, pack(n1.engine.identity.own_update().graver(Status.FAILED))
        )
        n0.act(n0.engine.outbox.take())
        run_for(made, 0.01)
    assert n1.engine.identity.incarnation == 3
    assert returns.checks == 0


@pytest.mark.parametrize("slow", [("n1",), ("n0", "n1")])
def test_a_node_that_keeps_refuting_suspicions_and_failing_is_reported_by_observers(slow: tuple[str, ...]) -> None:
    """A node with a backlog learns of the suspicion first; its peers see returns, whatever it has received.

    A slow observer sees them late, so it is not heard.
    """
    made, returns = watched(DampedReturns, Fault(kind="slow", nodes=slow, seconds=0.1), settings=QUICK)
    n0, n1 = made.processes["n0"], made.processes["n1"]
    for seconds in (1.0, 2.0, 0.5, 0.2):
        run_for(made, seconds)
        before = n1.engine.identity.own_update()
        n1.engine.identity.incarnation += 1
        back = n1.engine.identity.own_update()
        returns.see(n0, MemberChanged(before.graver(Status.FAILED), back))
    assert texts(returns) == (["sees n1 return 4 times in 2.7 s"] if slow == ("n1",) else [])
    run_for(made, 4.0)
    returns.see(n0, MemberChanged(back.graver(Status.FAILED), attrs.evolve(back, incarnation=back.incarnation + 1)))
    returns.see(n0, MemberChanged(back, back.graver(Status.SUSPECT)))
    returns.see(n0, MemberChanged(None, back))
    assert len(texts(returns)) == (slow == ("n1",))

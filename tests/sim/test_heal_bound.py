"""The heal bound: a sum of terms, each of which grows with the settings that it is made of."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import Fault
from gossipreg_sim.heal_bound import TERMS, heal_bound, lasting_delay, longest_damping
from gossipreg_sim.scenario import Scenario, Wiring
from tests.sim.making import cluster, scenario


def settings(**changed: Any) -> Scenario:
    return scenario(settings=EngineSettings(**changed))


@pytest.mark.parametrize(
    ("place", "longer"),
    [
        (0, settings(reconnect_interval=60.0)),
        (0, settings(join_retry_max=60.0)),
        (1, scenario(nodes=100)),
        (1, settings(local_health_max=20)),
        (2, settings(reconcile_settle=9.0)),
        (2, settings(reconcile_gap=9.0)),
        (3, settings(stream_patience=9.0)),
        (4, settings(gossip_transmissions=12)),
        (5, scenario(wiring=Wiring(seconds=0.1))),
        (5, scenario(Fault(kind="delay", nodes="n1", seconds=0.1, permanent=True))),
        (6, scenario(cells=2)),
        (7, scenario(Fault(kind="crash", nodes="n1", permanent=True))),
    ],
)
def test_each_term_grows_with_what_it_is_made_of_and_the_bound_with_it(place: int, longer: Scenario) -> None:
    usual = scenario()
    assert [TERMS.index(term) for term in TERMS if term.seconds(longer) > term.seconds(usual)] == [place]
    assert heal_bound(longer) > heal_bound(usual)


def test_the_bound_is_the_sum_of_the_terms() -> None:
    dead = scenario(Fault(kind="crash", nodes="n1", permanent=True))
    assert heal_bound(dead) == sum(term.seconds(dead) for term in TERMS)
    assert heal_bound(dead) == pytest.approx(heal_bound(scenario()) + 19.0)


def test_a_node_that_comes_back_need_not_be_detected() -> None:
    assert heal_bound(scenario(Fault(kind="crash", lasts=1.0))) == heal_bound(scenario())


def test_only_what_is_permanent_delays_for_good() -> None:
    held_back: dict[str, Any] = {"probability": 1.0, "spread": 0.2, "permanent": True}
    assert lasting_delay(Fault(kind="delay", seconds=0.1, spread=0.05)) == 0.0
    assert lasting_delay(Fault(kind="delay", seconds=0.1, spread=0.05, permanent=True)) == pytest.approx(0.2)
    assert lasting_delay(Fault(kind="reorder", **held_back)) == pytest.approx(0.2)
    assert lasting_delay(Fault(kind="duplicate", **held_back)) == 0.0


def test_a_member_that_waits_by_flap_damping_adds_what_is_left_of_its_wait() -> None:
    made = cluster()
    assert longest_damping(made.alive) == 0.0
    damping = made.processes["n1"].engine.local_member.damping
    damping.unanswered = made.processes["n1"].engine.identity.own_update()
    damping.suppress_until = made.processes["n1"].now + 7.0
    assert longest_damping(made.alive) == pytest.approx(7.0)

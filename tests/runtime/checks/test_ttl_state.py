"""A ttl check keeps its state over a restart: no better, and for no longer."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from gossipreg.check import Check
from gossipreg.model import Health
from gossipreg.protocol.registry.checks import CheckState, Finding
from gossipreg.runtime.checks.ttl_state import TtlState, UnusableTtlState, pack, unpack

NOW = 1_000.0  # on the steady clock before the restart
EPOCH = 1_700_000_000.0  # what the wall clock shows then, less the steady one
BORN = 50.0  # on the steady clock after it
CHECK = Check(ttl=10)


def beaten(check: Check = CHECK, health: Health = Health.PASSING, note: str = "") -> TtlState:
    """A check that a heartbeat has just come for."""
    state = CheckState.begin(check, NOW - 7)
    state.record(Finding(health, note), NOW)
    assert check.ttl is not None
    return TtlState(state, NOW + check.ttl, note)


def again(stood: TtlState, *, away: float, check: Check | None = None) -> TtlState:
    """The same after a restart; from the last heartbeat to then the wall clock went on by ``away`` seconds."""
    body = pack([stood], EPOCH)
    checks = [stood.state.check if check is None else check, Check(tcp="127.0.0.1:1")]
    offset = EPOCH + NOW + away - BORN
    [found] = unpack(body, checks, BORN, offset).values()
    return found


@pytest.mark.parametrize("away", [0.0, 0.5, 9.0])
def test_it_is_passing_until_its_old_deadline_with_the_time_away_counted(away: float) -> None:
    found = again(beaten(), away=away)
    assert (found.state.health, found.state.reason, found.state.is_new) == (Health.PASSING, "", False)
    assert found.beats_until == pytest.approx(BORN + 10 - away)
    assert found.state.since == pytest.approx(BORN - away)


@pytest.mark.parametrize("health", [Health.WARNING, Health.CRITICAL])
def test_it_stays_as_it_was_said_to_be_with_what_was_said(health: Health) -> None:
    found = again(beaten(health=health, note="disk full"), away=3.0)
    assert (found.state.health, found.state.reason, found.output) == (health, "disk full", "disk full")


@pytest.mark.parametrize("back", [1.0, 3600.0, 1e9])
def test_a_clock_that_was_set_back_gives_no_more_than_one_ttl(back: float) -> None:
    found = again(beaten(), away=-back)
    assert found.state.health is Health.PASSING
    assert found.beats_until == BORN + 10
    assert found.state.since == BORN


@pytest.mark.parametrize("away", [10.0, 11.0, 1e9])
def test_one_whose_heartbeat_was_missed_meanwhile_is_critical_since_then(away: float) -> None:
    found = again(beaten(), away=away)
    assert (found.state.health, found.state.reason) == (Health.CRITICAL, "no heartbeat for 10 s")
    assert found.output == "no heartbeat for 10 s"
    assert found.state.since == pytest.approx(BORN - (away - 10))
    assert found.beats_until == BORN + 10


@pytest.mark.parametrize(("away", "health"), [(10.0, Health.PASSING), (19.9, Health.PASSING), (20.0, Health.CRITICAL)])
def test_as_many_heartbeats_count_as_missed_as_were(away: float, health: Health) -> None:
    found = again(beaten(Check(ttl=10, failures=2)), away=away)
    assert found.state.health is health


def test_one_that_never_heard_of_its_service_still_has_not() -> None:
    fresh = TtlState(CheckState.begin(CHECK, NOW), NOW + 10)
    found = again(fresh, away=1.0)
    assert (found.state.is_new, found.state.reason) == (True, "not checked yet")


@pytest.mark.parametrize("away", [1.0, 22.0, 24.0, 1e6])
def test_no_instance_is_deregistered_before_there_was_time_for_a_heartbeat(away: float) -> None:
    found = again(beaten(Check(ttl=10, deregister_after=30), Health.CRITICAL, "no"), away=away)
    assert found.state.expires == pytest.approx(BORN + max(10, 30 - 7 - away))


def test_what_is_checked_in_another_way_now_begins_anew() -> None:
    body = pack([beaten()], EPOCH)
    assert unpack(body, [Check(ttl=11)], BORN, EPOCH) == {}
    assert unpack(body, [Check(name="ttl", tcp="127.0.0.1:1")], BORN, EPOCH) == {}
    assert unpack(body, [], BORN, EPOCH) == {}


KEPT = msgpack.unpackb(pack([beaten()], EPOCH))


@pytest.mark.parametrize(
    "said",
    [
        7,
        [],
        {"ttl": 3},
        {"ttl": {}},
        *(
            {"ttl": KEPT["ttl"] | {field: value}}
            for field, value in (
                ("ttl", "10"),
                ("health", "maintenance"),
                ("health", "splendid"),
                ("health", []),
                ("reason", 3),
                ("output", None),
                ("since", "now"),
                ("since", float("nan")),
                ("beats_until", float("inf")),
                ("beats_until", True),
            )
        ),
    ],
)
def test_what_cannot_be_read_is_told(said: Any) -> None:
    with pytest.raises(UnusableTtlState):
        unpack(msgpack.packb(said), [CHECK], BORN, EPOCH)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\xa3ttl"])
def test_neither_can_what_is_cut(body: bytes) -> None:
    with pytest.raises(UnusableTtlState):
        unpack(body, [CHECK], BORN, EPOCH)

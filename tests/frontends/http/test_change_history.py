"""The history of changes: what has changed lately, and since when what is not well has been so."""

from __future__ import annotations

import attrs
import httpx
import pytest
import trio

from gossipreg.events import CheckEvent, Event, InstanceEvent, MemberEvent, NodeEvent, RoleEvent, Snapshot
from gossipreg.frontends.http.change_history import ChangeHistory, render
from gossipreg.frontends.serving import limits
from gossipreg.model import Health, Instance, Status
from tests.frontends.fake_node import FakeNode, member

WELL = Instance(id="a", service="orders", host="10.0.0.1", port=80, owner="alpha")
SICK = attrs.evolve(WELL, health=Health.CRITICAL, reason="http: 500")


@attrs.define
class Kept:
    """A history on a clock of its own."""

    now: float = 1000.0
    history: ChangeHistory = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.history = ChangeHistory(lambda: self.now)

    def at(self, now: float, *events: Event) -> None:
        self.now = now
        self.history.keep(events)

    def told(self, service: str | None = None) -> list[tuple[float, str]]:
        return [(each.at, each.fields["event"]) for each in self.history.changes(service)]


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_what_is_there_at_first_is_no_change_but_counts_from_then(kept: Kept) -> None:
    kept.at(1000.0, Snapshot((member("beta", 1, Status.FAILED), member("gamma", 1)), (WELL, SICK)))
    assert kept.told() == []
    assert kept.history.began == kept.history.complete_from == 1000.0
    assert kept.history.since() == {
        "members": {"beta": 1000.0},
        "instances": [{"service": "orders", "owner": "alpha", "id": "a", "at": 1000.0}],
    }


def test_a_state_counts_from_when_it_was_first_seen_and_ends_with_the_next(kept: Kept) -> None:
    kept.at(1.0, MemberEvent("suspect", member("beta", 1, Status.SUSPECT)), InstanceEvent("changed", SICK, WELL))
    kept.at(2.0, InstanceEvent("changed", attrs.evolve(SICK, weight=5), SICK))
    kept.at(3.0, MemberEvent("failed", member("beta", 1, Status.FAILED)))
    assert kept.history.since()["members"] == {"beta": 3.0}
    assert [each["at"] for each in kept.history.since()["instances"]] == [1.0]
    kept.at(4.0, MemberEvent("alive", member("beta", 1)), InstanceEvent("changed", WELL, SICK))
    assert kept.history.since() == {"members": {}, "instances": []}
    kept.at(5.0, InstanceEvent("changed", SICK, WELL), InstanceEvent("removed", SICK))
    assert kept.history.since("orders")["instances"] == []


def test_a_change_of_an_instance_says_what_it_was_and_is(kept: Kept) -> None:
    kept.at(1.0, InstanceEvent("changed", SICK, WELL))
    [change] = kept.history.changes()
    assert render(change) == {
        "at": 1.0,
        "event": "instance-changed",
        "service": "orders",
        "owner": "alpha",
        "id": "a",
        "health": "critical",
        "reason": "http: 500",
        "was": {"health": "passing"},
        "is": {"health": "critical"},
    }


def test_each_kind_of_event_is_kept_and_those_of_a_service_are_told_alone(kept: Kept) -> None:
    kept.at(1.0, InstanceEvent("added", WELL), CheckEvent("flapping", "a", "orders", "http", Health.CRITICAL))
    kept.at(2.0, RoleEvent("contested", "pg", None, (WELL,)), NodeEvent("isolated", "alpha", 0.5))
    kept.at(3.0, MemberEvent("left", member("beta", 1, Status.LEFT)))
    every = ["instance-added", "check-flapping", "role-contested", "node-isolated", "member-left"]
    assert [name for _, name in kept.told()] == every
    assert [name for _, name in kept.told("orders")] == every[:2]
    assert [name for _, name in kept.told("pg")] == ["role-contested"]


def test_changes_are_forgotten_after_an_hour_and_beyond_the_limit(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.at(0.0, Snapshot((), ()))
    kept.at(1.0, InstanceEvent("added", WELL))
    kept.now = 1.0 + limits.CHANGES_SECONDS
    assert len(kept.told()) == 1
    kept.now += 1.0
    assert kept.told() == []
    assert kept.history.complete_from == 1.0
    monkeypatch.setattr(limits, "CHANGES_MAX", 2)
    for number in range(5):
        kept.at(kept.now + 1, InstanceEvent("changed", attrs.evolve(WELL, weight=number), WELL))
    assert len(kept.told()) == 2


async def test_a_listener_keeps_what_changes_at_its_node(fake: FakeNode, client: httpx.AsyncClient) -> None:
    before = (await client.get("/api/v1/changes")).json()
    assert before["changes"] == []
    assert before["began"] == before["complete_from"] <= before["now"]
    fake.hold(SICK)
    fake.hold(attrs.evolve(WELL, service="pg", id="b"))
    await trio.testing.wait_all_tasks_blocked()
    every = (await client.get("/api/v1/changes")).json()
    assert [(each["event"], each["service"]) for each in every["changes"]] == [
        ("instance-added", "orders"),
        ("instance-added", "pg"),
    ]
    [since] = (await client.get("/api/v1/changes?service=orders")).json()["since"]["instances"]
    assert since["id"] == "a"
    assert (await client.get("/api/v1/changes?service=pg")).json()["since"]["instances"] == []


async def test_stated_weights_and_events_of_all_instances_are_given_on_request(
    fake: FakeNode, client: httpx.AsyncClient
) -> None:
    fake.hold(SICK)
    plain = (await client.get("/api/v1/services/orders?all")).json()["instances"]
    stated = (await client.get("/api/v1/services/orders?all&stated")).json()["instances"]
    assert stated == [each | {"stated_weight": 1} for each in plain]
    answer = await client.get("/api/v1/events?all&panic=0.5")
    assert (answer.status_code, answer.json()["error"]) == (400, "panic: has no meaning with all: give one of the two")

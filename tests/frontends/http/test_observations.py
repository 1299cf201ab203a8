"""What the members believe of each other: told where it differs, and asked of them once for all clients."""

from __future__ import annotations

import json
from typing import Any

import httpx

from gossipreg.frontends.http.observations import ObservationCache
from gossipreg.frontends.serving import limits
from gossipreg.model import Status
from gossipreg.observations import LinkState, MemberObservation, ObserverReport
from tests.frontends.fake_node import FakeNode


def sees(
    name: str,
    status: Status = Status.ALIVE,
    link: LinkState = LinkState.DIRECT,
    trip: float | None = None,
    unanswered: int = 0,
) -> Any:
    return MemberObservation(name, status, link, trip, unanswered)


def report(name: str, *observed: MemberObservation, zone: str = "north", **fields: Any) -> ObserverReport:
    return ObserverReport(name, zone, version="1.0", observed=observed, **fields)


async def told(client: httpx.AsyncClient) -> Any:
    answer = await client.get("/api/v1/observations")
    assert answer.status_code == 200
    return answer.json()


async def test_only_differences_are_told(fake: FakeNode, client: httpx.AsyncClient) -> None:
    fake.reports = (
        report("alpha", sees("beta"), sees("delta", Status.FAILED), sees("gamma", unanswered=1)),
        report(
            "beta",
            sees("alpha"),
            sees("delta", Status.FAILED),
            sees("gamma", link=LinkState.OUTGOING_LOST, unanswered=2),
        ),
        report("gamma", sees("alpha", Status.SUSPECT), sees("beta"), sees("delta"), sees("other"), problems=("full",)),
    )
    answer = await told(client)
    assert (answer["observer"], answer["asked"], answer["answered"]) == ("alpha", 3, 3)
    assert answer["differences"] == [
        {"observer": "alpha", "member": "gamma", "status": "alive", "link": "direct", "unanswered": 1},
        {"observer": "beta", "member": "gamma", "status": "alive", "link": "outgoing_lost", "unanswered": 2},
        {"observer": "gamma", "member": "alpha", "status": "suspect", "link": "direct", "unanswered": 0},
        {"observer": "gamma", "member": "delta", "status": "alive", "link": "direct", "unanswered": 0},
        {"observer": "gamma", "member": "other", "status": "alive", "link": "direct", "unanswered": 0},
    ]
    assert answer["observers"][2] == {
        "name": "gamma",
        "zone": "north",
        "failure": "",
        "silent": False,
        "version": "1.0",
        "problems": ["full"],
    }


async def test_a_member_that_an_observer_does_not_know_is_a_difference(
    fake: FakeNode, client: httpx.AsyncClient
) -> None:
    fake.reports = (report("alpha", sees("beta"), sees("gamma")), report("beta", sees("alpha")))
    assert (await told(client))["differences"] == [
        {"observer": "beta", "member": "gamma", "status": "unknown", "link": "direct", "unanswered": 0}
    ]


async def test_a_member_without_an_answer_differs_in_nothing(fake: FakeNode, client: httpx.AsyncClient) -> None:
    fake.reports = (
        report("alpha", sees("beta")),
        ObserverReport("beta", "south", "it does not answer", is_silent=True),
    )
    answer = await told(client)
    assert (answer["asked"], answer["answered"], answer["differences"]) == (2, 1, [])
    assert answer["observers"][1]["failure"] == "it does not answer"
    assert [each["silent"] for each in answer["observers"]] == [False, True]


async def test_round_trips_are_told_by_zone(fake: FakeNode, client: httpx.AsyncClient) -> None:
    fake.reports = (
        report("alpha", sees("beta", trip=0.010), sees("gamma", trip=0.001), sees("gone", Status.FAILED, trip=9.0)),
        report("beta", sees("alpha", trip=0.020), sees("gamma", trip=0.030), zone="south"),
        report("gamma", sees("beta"), sees("alpha", trip=0.003)),
    )
    answer = await told(client)
    assert answer["zones"] == [
        {"from": "north", "to": "north", "median": 0.002, "worst": 0.003, "links": 2},
        {"from": "north", "to": "south", "median": 0.01, "worst": 0.01, "links": 1},
        {"from": "south", "to": "north", "median": 0.025, "worst": 0.03, "links": 2},
    ]
    assert answer["round_trips"][1] == {"observer": "beta", "members": {"alpha": 0.02, "gamma": 0.03}}


async def test_of_many_observers_single_round_trips_are_left_out(fake: FakeNode, client: httpx.AsyncClient) -> None:
    names = [f"m{number}" for number in range(limits.OBSERVED_TRIPS_MAX)]
    fake.reports = (report("alpha", *(sees(name, trip=0.1) for name in names)), *map(report, names))
    answer = await told(client)
    assert answer["round_trips"] == []
    assert answer["zones"][0]["links"] == limits.OBSERVED_TRIPS_MAX


async def test_members_are_asked_once_for_all_clients_of_a_moment() -> None:
    fake, now = FakeNode(), [100.0]
    cache = ObservationCache(fake, lambda: now[0])
    per_member = limits.OBSERVATIONS_KEPT_PER_MEMBER
    for members, kept in ((1, limits.OBSERVATIONS_KEPT_MIN), (9, 9 * per_member), (99, limits.OBSERVATIONS_KEPT_MAX)):
        now[0] += 60
        asked = fake.observed
        fake.reports = tuple(report(f"m{number}") for number in range(members))
        first = await cache.body()
        now[0] += kept - 0.1
        assert await cache.body() is first
        assert fake.observed == asked + 1
        now[0] += 0.2
        assert json.loads(await cache.body())["observer"] == "m0"
        assert fake.observed == asked + 2

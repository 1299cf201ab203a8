"""What calls would get: picks are drawn as choosers draw them, and what gets none is told with its reason."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gossipreg.frontends.serving import limits
from gossipreg.model import Instance
from tests.frontends.fake_node import FakeNode


async def picks(client: httpx.AsyncClient, query: str = "") -> Any:
    answer = await client.get(f"/api/v1/picks/orders{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def drawn(told: Any) -> dict[str, int]:
    return {each["id"]: each["picks"] for each in told["chosen"]}


def reasons(told: Any) -> dict[str, int]:
    return {each["reason"]: each["instances"] for each in told["left_out"]}


async def test_a_hundred_picks_follow_the_weights(fake: FakeNode, client: httpx.AsyncClient) -> None:
    await fake.register("orders", port=80, id="heavy", weight=3)
    await fake.register("orders", port=81, id="light", weight=1)
    told = await picks(client, "?strategy=round-robin")
    assert drawn(told) == {"heavy": 75, "light": 25}
    assert [each["share"] for each in told["chosen"]] == [0.75, 0.25]
    assert (await picks(client))["picks"] == 100
    assert drawn(await picks(client, "?count=4&strategy=round-robin")) == {"heavy": 3, "light": 1}


async def test_those_that_get_no_call_are_counted_by_reason(fake: FakeNode, client: httpx.AsyncClient) -> None:
    await fake.register("orders", port=80, id="well", zone="south", tags=["v1"])
    fake.fail_checks(await fake.register("orders", port=81, id="sick"))
    await fake.register("orders", port=0, id="worker")
    await fake.register("orders", port=82, id="drained", weight=0, zone="south", tags=["v1"])
    await fake.register("orders", port=83, id="far", zone="west", tags=["v1"])
    await fake.register("orders", port=84, id="other", tags=["v2"], zone="south")
    told = await picks(client, "?caller_zone=south&tag=v1")
    assert drawn(told) == {"well": 100}
    assert reasons(told) == {
        "critical": 1,
        "no port": 1,
        "drained: weight 0": 1,
        "in another zone": 1,
        "another tag or role": 1,
    }
    told = await picks(client, "?count=1&strategy=round-robin&tag=v1")
    assert reasons(told)["not drawn this time"] == 1


async def test_where_the_callers_zone_has_none_the_zone_that_answers_soonest_is_near(
    fake: FakeNode, client: httpx.AsyncClient
) -> None:
    """Only callers of the agent's own zone are as near to the others as the agent is."""
    fake.round_trips = {"beta": 0.050, "gamma": 0.002}
    for owner, zone in (("beta", "east"), ("gamma", "west")):
        fake.hold(Instance(id=f"o-{owner}", service="orders", host="10.0.0.1", port=80, owner=owner, zone=zone))
    assert drawn(await picks(client, "?caller_zone=north")) == {"o-gamma": 100}  # the agent's own
    assert drawn(await picks(client, "?caller_zone=south")).keys() == {"o-beta", "o-gamma"}


async def test_when_all_are_drained_they_are_called_all_the_same(fake: FakeNode, client: httpx.AsyncClient) -> None:
    await fake.register("orders", port=80, id="a", weight=0)
    await fake.register("orders", port=81, id="b", weight=0)
    told = await picks(client, "?strategy=round-robin")
    assert drawn(told) == {"a": 50, "b": 50}
    assert [each["share"] for each in told["chosen"]] == [0.5, 0.5]


async def test_of_an_unknown_service_nothing_is_picked(client: httpx.AsyncClient) -> None:
    told = await picks(client)
    assert (told["picks"], told["chosen"], told["left_out"]) == (0, [], [])


@pytest.mark.parametrize(
    "query",
    ["strategy=best", "count=0", f"count={limits.PICKS_MAX + 1}", "count=-1", "count=x", "count=1e2", "caller_zone="],
)
async def test_what_cannot_be_drawn_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/api/v1/picks/orders?{query}")).status_code == 400
    assert (await client.get(f"/api/v1/picks/orders?count={limits.PICKS_MAX}")).status_code == 200

"""What must not hold up the following of a region: large, busy and slow services, new names, isolated agents."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gossipreg import limits
from gossipreg.errors import RegionUnavailable
from gossipreg.frontends.http.follow import FollowRequest
from gossipreg.frontends.serving.response import HttpError
from gossipreg.model import Instance
from gossipreg.runtime.regions.follower import (
    ISOLATED_SECONDS,
    LOG_SECONDS,
    PATIENCE_SECONDS,
    SLOWEST_BYTES_PER_SECOND,
    TRANSFER_SECONDS_MAX,
)
from gossipreg.runtime.regions.remote_answer import UnusableAnswer, read_answer
from gossipreg.runtime.regions.remote_region import WAIT_SECONDS, RemoteRegion
from tests.frontends.fake_node import FakeNode
from tests.runtime.regions.far_cluster import FAR, FarAgent, FarCluster, orders
from tests.runtime.regions.test_answers import document


def of(service: str, number: int, **more: Any) -> Instance:
    return orders(number, id=f"{service}{number}", service=service, **more)


async def test_a_large_service_that_changes_all_the_time_does_not_keep_others_from_being_told(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REGION_ANSWER_BYTES_SOFT", 400)
    agent = FarAgent()
    async with FarCluster.of(agent).followed() as regions:
        for name in ("a", "z"):
            agent.node.hold(of(name, 1))
        for name in ("a", "z"):
            await regions.fetch(name, FAR)

        async def change_without_end() -> None:
            number = 0
            while True:
                number += 1
                agent.node.hold(of("a", 1, meta={"x": "x" * 1000, "n": str(number)}))
                await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change_without_end)
            await trio.sleep(5)
            agent.node.hold(of("z", 2))
            await trio.sleep(5)
            assert [each.id for each in regions.service("z", FAR).healthy] == ["z1", "z2"]
            await trio.sleep(20)
            assert regions.service("z", FAR).age < WAIT_SECONDS + 1
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("limit", "value", "what"),
    [
        ("REGION_SERVICE_INSTANCES_MAX", 3, "3 instances"),
        ("REGION_SERVICE_BYTES_MAX", 900, "900 bytes"),
        ("REGION_ANSWER_BRACKETS_MAX", 22, "11 brackets"),
    ],
)
async def test_a_service_that_is_too_large_is_named_and_the_others_are_followed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, what: str
) -> None:
    agent = FarAgent()
    agent.node.hold(orders(1))
    for number in range(4):
        agent.node.hold(of("big", number))
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch("orders", FAR)
        assert len((await regions.fetch("big", FAR)).healthy) == 4
        monkeypatch.setattr(limits, limit, value)
        agent.node.hold(of("big", 5))
        await trio.sleep(5)
        with pytest.raises(RegionUnavailable, match=f"big in the region 'eu' has more than {what}"):
            regions.service("big", FAR)
        assert not regions.service("orders", FAR).stale
        for number in (1, 2, 3, 5):
            agent.node.drop(of("big", number))
        await trio.sleep(2)
        assert [each.id for each in regions.service("big", FAR).healthy] == ["big0"]
        (info,) = regions.infos()
        assert info.instances == 2


@pytest.mark.parametrize("beyond", ["", "x" * 65, 3, ["a"]])
async def test_what_a_service_has_too_much_of_is_a_short_text(beyond: object) -> None:
    table: Any = json.loads(document())
    table["services"]["orders"] = {"index": 1, "beyond": beyond}
    with pytest.raises(UnusableAnswer):
        await read_answer(json.dumps(table).encode(), FAR, frozenset({"orders"}))


@pytest.mark.parametrize(("share", "arrives"), [(1.0, True), (0.5, False)])
async def test_a_long_answer_is_waited_for_while_it_comes_fast_enough(
    autojump_clock: MockClock, share: float, arrives: bool
) -> None:
    agent = FarAgent(parts=int(4 * PATIENCE_SECONDS), part_bytes=int(share * SLOWEST_BYTES_PER_SECOND))
    agent.node.hold(orders(1))
    async with FarCluster.of(agent).followed() as regions:
        await trio.sleep(10 * PATIENCE_SECONDS)
        with pytest.raises(RegionUnavailable):
            regions.service("orders", FAR)
        await trio.sleep(10 * PATIENCE_SECONDS)
        if not arrives:
            with pytest.raises(RegionUnavailable, match="silent, or slow"):
                regions.service("orders", FAR)
            return
        found = regions.service("orders", FAR)
        assert found.age >= 4 * PATIENCE_SECONDS, "it was so when the answer began to come, at the latest"


async def test_no_answer_is_waited_for_without_end(autojump_clock: MockClock) -> None:
    endless = FarAgent(parts=10_000, part_bytes=100 * SLOWEST_BYTES_PER_SECOND)
    async with FarCluster.of(endless).followed() as regions:
        await trio.sleep(TRANSFER_SECONDS_MAX + 4 * PATIENCE_SECONDS)
        assert len(endless.asked) > 1
        with pytest.raises(RegionUnavailable, match="silent, or slow"):
            regions.service("orders", FAR)


async def test_a_new_name_makes_the_agent_tell_nothing_again(autojump_clock: MockClock) -> None:
    """The request that is held is given up for it, with its connection; what was told before is still known."""
    told: list[list[str]] = []

    def note(body: bytes) -> bytes:
        told.append(sorted(json.loads(body)["services"]))
        return body

    agent = FarAgent(garble=note)
    names = [f"s{number}" for number in range(10)]
    for name in names:
        agent.node.hold(of(name, 1))
    async with FarCluster.of(agent).followed() as regions:
        for name in names:
            await regions.fetch(name, FAR)
            await trio.sleep(1)
    assert [each for each in told if each] == [[name] for name in names]


async def test_another_run_of_an_agent_tells_all_again(autojump_clock: MockClock) -> None:
    """Its indexes may be those of the run before."""
    agent = FarAgent()
    agent.node.hold(orders(1))
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch("orders", FAR)
        fresh = FakeNode(region=FAR, name="far-1", generation=agent.node.generation + 1)
        fresh.hold(orders(2))
        fresh._changes["orders"] = agent.node._changes["orders"]
        assert fresh.index("orders") == agent.node.index("orders")
        agent.replace(fresh)
        await trio.sleep(2 * WAIT_SECONDS)
        assert [each.id for each in regions.service("orders", FAR).healthy] == ["o2"]


@pytest.mark.parametrize("run", ["", None, "x" * (limits.RUN_CHARS_MAX + 1)])
async def test_what_tells_a_run_from_others_is_a_short_text(run: object) -> None:
    with pytest.raises(UnusableAnswer, match="its run"):
        await read_answer(json.dumps({**json.loads(document()), "run": run}).encode(), FAR, frozenset({"orders"}))


def test_a_run_that_is_asked_about_is_a_short_text() -> None:
    asked = {"region": "us", "directory": "", "services": {}, "wait": 0, "run": "x" * limits.RUN_CHARS_MAX}
    assert FollowRequest.read(json.dumps(asked).encode()).run == asked["run"]
    for run in ("x" * (limits.RUN_CHARS_MAX + 1), 7):
        with pytest.raises(HttpError, match="run: "):
            FollowRequest.read(json.dumps({**asked, "run": run}).encode())


async def test_an_agent_that_takes_the_indexes_of_another_run_for_its_own_is_not_believed() -> None:
    region = RemoteRegion(FarCluster.of(FarAgent()).federation, {}, 0)  # type: ignore[arg-type]  # nothing is counted
    region.follow("orders", 0.0)
    first = region.request()
    names: dict[str, list[str]] = {"orders": [], "web": []}
    region.apply(await read_answer(document(services=names), FAR, frozenset({"orders"})), first, 0.0, 1.0)
    request = region.request()
    assert (request.run, request.services) == ("beta/1", {"orders": 1})
    other: Any = {**json.loads(document()), "run": "gamma/1", "services": {}}
    answer = await read_answer(json.dumps(other).encode(), FAR, frozenset({"orders"}))
    with pytest.raises(UnusableAnswer, match="does not tell orders"):
        region.apply(answer, request, 1.0, 2.0)
    region.follow("web", 2.0)
    request = region.request()
    web = {"web": {"index": 9, "healthy": [], "others": [], "members": {}}}
    part: Any = {**other, "services": web, "left_off": ["orders"]}
    region.apply(await read_answer(json.dumps(part).encode(), FAR, frozenset(request.services)), request, 2.0, 3.0)
    asked = region.request()
    assert (asked.run, asked.services, asked.wait) == ("gamma/1", {"orders": 0, "web": 9}, 0.0)


def test_indexes_of_another_run_are_none() -> None:
    asked = FollowRequest("us", "", {"orders": 5}, 4.0, "beta/1")
    assert asked.told_by("beta/1").services == {"orders": 5}
    assert asked.told_by("beta/2").services == {"orders": 0}


async def test_an_agent_that_hears_no_member_is_left_for_one_that_does(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lonely, well = FarAgent(), FarAgent(is_down=True)
    lonely.node.hold(orders(1))
    lonely.node.isolated = True
    well.node.hold(orders(2))
    silent = attrs.evolve(lonely.node.info(), silence=25.0)
    monkeypatch.setattr(FakeNode, "info", lambda _: silent)
    async with FarCluster.of(lonely, well).followed() as regions:
        with pytest.raises(RegionUnavailable):
            regions.service("orders", FAR)
        await trio.sleep(5)
        assert [each.id for each in regions.service("orders", FAR).healthy] == ["o1"]
        well.is_down = False
        await trio.sleep(ISOLATED_SECONDS + 20)
        found = regions.service("orders", FAR)
        assert [each.id for each in found.healthy] == ["o2"]
        assert not found.stale


async def test_agents_that_fail_and_answer_in_turn_fill_no_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    agents = [FarAgent(), FarAgent()]
    for agent in agents:
        agent.garble = lambda body, agent=agent: body if len(agent.asked) % 2 else b"junk"  # type: ignore[misc]
    with caplog.at_level(logging.INFO, "gossipreg.runtime.regions.follower"):
        async with FarCluster.of(*agents).followed():
            await trio.sleep(3 * LOG_SECONDS)
    assert sum(len(agent.asked) for agent in agents) > 20
    levels = Counter(each.levelno for each in caplog.records)
    assert set(levels) == {logging.INFO, logging.WARNING}
    assert max(levels.values()) <= 2 * 3


async def test_no_name_is_denied_that_a_list_of_services_has_no_room_for(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REGION_NAMES_MAX", 3)
    agent = FarAgent()
    for name in "abcd":
        agent.node.hold(of(name, 1))
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch_directory(FAR)
        assert [each.id for each in (await regions.fetch("d", FAR)).healthy] == ["d1"]
        agent.node.drop(of("c", 1))
        await trio.sleep(1)
        assert sorted(regions.directory(FAR).services) == ["a", "b", "d"]
        assert (await regions.fetch("x", FAR)).healthy == ()
        agent.node.hold(of("c", 1))
        await trio.sleep(1)
        assert not regions._follower(FAR).region._has_all_names

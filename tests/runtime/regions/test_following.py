"""Following a region: what is known of it, and how old, while agents and networks come and go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.errors import RegionUnavailable, UnknownRegion
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.scopes import Grant, Scope
from gossipreg.model import Health, Instance
from gossipreg.regional import RegionInfo
from gossipreg.runtime.regions import remote_region
from gossipreg.runtime.regions.regions import _TOUCH_SECONDS, Regions
from gossipreg.runtime.regions.remote_region import INTEREST_SECONDS, STALE_SECONDS, WAIT_SECONDS
from tests.frontends.fake_node import FakeNode
from tests.runtime.regions.far_cluster import FAR, FarAgent, FarCluster, orders

#: Time in which what is fresh has been confirmed: a request that was held, and the way.
FRESH = WAIT_SECONDS + 1.0


def ids(regions: Regions, service: str = "orders") -> list[str]:
    return [each.id for each in regions.service(service, FAR).healthy]


def info(regions: Regions) -> RegionInfo:
    (found,) = regions.infos()
    return found


def counter(regions: Regions, count: Count) -> int:
    (follower,) = regions._followers.values()
    return follower.counters[count]


async def test_a_service_is_known_a_few_round_trips_after_it_was_asked_for(autojump_clock: MockClock) -> None:
    agent = FarAgent()
    agent.node.hold(orders(1))
    agent.node.hold(orders(2, health=Health.CRITICAL))
    async with FarCluster.of(agent).followed() as regions:
        with pytest.raises(RegionUnavailable, match="nothing is known of orders in the region 'eu'"):
            regions.service("orders", FAR)
        began = trio.current_time()
        found = await regions.fetch("orders", FAR)
        assert trio.current_time() - began < 0.5
        assert [each.id for each in found.healthy] == ["o1"]
        assert [(each.id, each.region) for each in found.instances] == [("o1", FAR), ("o2", FAR)]
        assert not found.stale
        assert found.age <= 0.1
        assert (info(regions).connected, info(regions).followed, info(regions).services) == (True, 1, 1)
        assert info(regions).round_trip == pytest.approx(0.08, abs=0.02)


async def test_a_region_that_is_not_followed_is_unknown(autojump_clock: MockClock) -> None:
    async with FarCluster.of(FarAgent()).followed() as regions:
        for ask in (regions.service, regions.index):
            with pytest.raises(UnknownRegion, match="no region 'asia' is known here: this node is in 'us' and follows"):
                ask("orders", "asia")


async def test_a_change_arrives_within_moments_and_wakes_those_that_wait(autojump_clock: MockClock) -> None:
    agent = FarAgent()
    agent.node.hold(orders(1))
    async with FarCluster.of(agent).followed() as regions:
        found = await regions.fetch("orders", FAR)
        agent.node.hold(orders(2))
        began = trio.current_time()
        await regions.wait_changed("orders", FAR, found.index)
        assert trio.current_time() - began < 0.5
        assert ids(regions) == ["o1", "o2"]
        index = regions.index("orders", FAR)
        assert index > found.index
        agent.node.hold(Instance(id="b", service="billing", host="h", port=1, owner="beta"))
        await trio.sleep(2 * FRESH)
        assert regions.index("orders", FAR) == index, "another service has changed"


async def test_what_is_fresh_is_confirmed_all_the_time_and_no_age_is_understated(autojump_clock: MockClock) -> None:
    agent = FarAgent()
    agent.node.hold(orders(1))
    async with FarCluster.of(agent).followed() as regions:
        index = (await regions.fetch("orders", FAR)).index
        for _ in range(100):
            await trio.sleep(0.31)
            found = regions.service("orders", FAR)
            assert found.age <= FRESH
            assert not found.stale
            assert found.index == index
    # An instance that goes is still returned for a while: never with an age below the time for which it has been gone.
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch("orders", FAR)
        await trio.sleep(1.7)
        gone_at = trio.current_time()
        agent.is_cut = True
        agent.node.drop(orders(1))
        while (now := trio.current_time()) < gone_at + 60:
            found = regions.service("orders", FAR)
            assert len(found.healthy) == 1
            assert found.age >= now - gone_at
            await trio.sleep(0.7)


async def test_a_cut_region_keeps_its_instances_marked_stale_with_their_age_and_heals(
    autojump_clock: MockClock,
) -> None:
    agents = [FarAgent(), FarAgent()]
    for agent in agents:
        agent.node.hold(orders(1))
    async with FarCluster.of(*agents).followed() as regions:
        first = await regions.fetch("orders", FAR)
        for agent in agents:
            agent.is_cut = True
        began = trio.current_time()
        await regions.wait_changed("orders", FAR, first.index)
        assert STALE_SECONDS - FRESH <= trio.current_time() - began <= STALE_SECONDS + 1
        await trio.sleep(180)
        found = regions.service("orders", FAR)
        assert found.stale
        assert found.age >= trio.current_time() - began
        assert [(each.id, each.stale) for each in found.healthy] == [("o1", True)]
        assert not info(regions).connected
        assert info(regions).stale
        assert "10.1.0." in info(regions).problem
        for agent in agents:
            agent.is_cut = False
            agent.node.hold(orders(2))
        healed = trio.current_time()
        await regions.wait_changed("orders", FAR, found.index)
        assert trio.current_time() - healed < 30
        found = regions.service("orders", FAR)
        assert [(each.id, each.stale) for each in found.healthy] == [("o1", False), ("o2", False)]


async def test_when_the_agent_fails_another_is_asked_and_nothing_changes(autojump_clock: MockClock) -> None:
    agents = [FarAgent() for _ in range(3)]
    for agent in agents:
        agent.node.hold(orders(1))
    async with FarCluster.of(*agents).followed() as regions:
        index = (await regions.fetch("orders", FAR)).index
        for _ in range(2):
            (used,) = [each for each in agents if each.connections]
            used.is_down = True
            used.is_cut = True
            await trio.sleep(20)
        assert regions.index("orders", FAR) in range(index, index + 5)
        found = regions.service("orders", FAR)
        assert ids(regions) == ["o1"]
        assert not found.stale
        assert found.age <= FRESH
        assert counter(regions, Count.REGION_FAILURES) >= 2


async def test_agents_that_are_replaced_all_at_once_lose_nothing(autojump_clock: MockClock) -> None:
    """New ones with other names and indexes of their own; one has not joined its cluster yet."""
    old = FarAgent()
    old.node.hold(orders(1))
    cluster = FarCluster.of(old, FarAgent(FakeNode(name="new", region=FAR, joined=False)))
    new = cluster.agents["http://10.1.0.2:8500"]
    async with cluster.followed() as regions:
        await regions.fetch("orders", FAR)
        old.is_down = True
        await trio.sleep(5)
        assert ids(regions) == ["o1"], "an agent that has not joined does not say that there are none"
        new.node.hold(orders(1))
        new.node.hold(orders(3, owner="new"))
        new.node.joined = True
        await trio.sleep(10)
        assert ids(regions) == ["o1", "o3"]
        assert not regions.service("orders", FAR).stale


async def test_an_agent_that_hears_no_member_is_asked_only_if_no_other_answers_and_its_age_counts(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lonely, well = FarAgent(), FarAgent()
    lonely.node.hold(orders(1))
    lonely.node.isolated = True
    well.node.hold(orders(2))
    silent = attrs.evolve(lonely.node.info(), silence=25.0)
    monkeypatch.setattr(FakeNode, "info", lambda _: silent)
    async with FarCluster.of(lonely, well).followed() as regions:
        await regions.fetch("orders", FAR, 20)
        await trio.sleep(10)
        assert ids(regions) == ["o2"]
        well.is_down = True
        await trio.sleep(40)
        found = regions.service("orders", FAR)
        assert [each.id for each in found.healthy] == ["o1"]
        assert found.stale
        assert found.age >= 25


async def test_that_there_is_no_such_service_is_said_while_that_is_fresh_only(autojump_clock: MockClock) -> None:
    agent = FarAgent()
    agent.node.hold(orders(1))
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch_directory(FAR)
        found = await regions.fetch("nothing", FAR)
        assert not found.exists
        assert not found.stale
        assert found.age <= FRESH
        asked = len(agent.asked)
        for number in range(5000):
            assert not regions.service(f"nothing-{number}", FAR).exists
        await trio.sleep(1)
        assert len(agent.asked) <= asked + 1
        assert info(regions).followed == 0, "names that do not exist cost nothing"
        agent.node.hold(Instance(id="n", service="nothing", host="h", port=1, owner="beta"))
        await regions.wait_changed("nothing", FAR, found.index)
        assert [each.id for each in (await regions.fetch("nothing", FAR)).healthy] == ["n"]
        agent.is_cut = True
        await trio.sleep(30)
        with pytest.raises(RegionUnavailable):
            regions.service("unheard-of", FAR)
        assert ids(regions, "nothing") == ["n"]


@pytest.fixture
def interest(monkeypatch: pytest.MonkeyPatch) -> float:
    """How long a service is followed that nothing asks for: a tenth of what it is otherwise, as are touches."""
    assert _TOUCH_SECONDS < INTEREST_SECONDS
    monkeypatch.setattr(remote_region, "INTEREST_SECONDS", INTEREST_SECONDS / 10)
    monkeypatch.setattr("gossipreg.runtime.regions.regions._TOUCH_SECONDS", _TOUCH_SECONDS / 10)
    return INTEREST_SECONDS / 10


async def test_what_nothing_asks_for_any_more_is_not_followed(autojump_clock: MockClock, interest: float) -> None:
    agent = FarAgent()
    agent.node.hold(orders(1))
    async with FarCluster.of(agent).followed() as regions:
        index = (await regions.fetch("orders", FAR)).index
        await trio.sleep(interest - 5)
        assert info(regions).followed == 1
        assert ids(regions) == ["o1"]
        await trio.sleep(interest + 10)
        assert info(regions).followed == 0
        assert agent.asked[-1].services == {}
        assert (await regions.fetch("orders", FAR)).index > index


async def test_what_a_task_waits_for_stays_followed(autojump_clock: MockClock, interest: float) -> None:
    agent = FarAgent()
    agent.node.hold(orders(1))
    async with FarCluster.of(agent).followed() as regions:
        index = (await regions.fetch("orders", FAR)).index
        with trio.move_on_after(2 * interest) as waited:
            await regions.wait_changed("orders", FAR, index)
        assert waited.cancelled_caught, "it was not given up meanwhile, which would have changed its index"


async def test_only_what_is_imported_exists(autojump_clock: MockClock) -> None:
    agent = FarAgent()
    for service in ("orders", "web-a", "secret"):
        agent.node.hold(Instance(id=service, service=service, host="h", port=1, owner="beta"))
    async with FarCluster.of(agent, imports=("orders", "web-*")).followed() as regions:
        assert list((await regions.fetch_directory(FAR)).services) == ["orders", "web-a"]
        assert ids(regions, "secret") == []
        assert [each.id for each in (await regions.fetch("web-a", FAR)).healthy] == ["web-a"]
        assert all("secret" not in each.services for each in agent.asked)


async def test_only_what_the_token_exports_is_told(autojump_clock: MockClock) -> None:
    token = "a-token-of-sixteen"
    known = Token.of("us", hashlib.sha256(token.encode()).digest(), [Grant(Scope.FEDERATE, "web-*")])
    agent = FarAgent(access=Access((known,)), token=token)
    for service in ("orders", "web-a"):
        agent.node.hold(Instance(id=service, service=service, host="h", port=1, owner="beta"))
    async with FarCluster.of(agent).followed() as regions:
        assert list((await regions.fetch_directory(FAR)).services) == ["web-a"]
        assert ids(regions, "orders") == []
    answer = json.loads(await agent.serve(remote_region.RemoteRequest({"orders": 0, "web-a": 0}, "", 0.0)))
    assert (answer["services"]["orders"]["healthy"], len(answer["services"]["web-a"]["healthy"])) == ([], 1)
    agent.token = None
    async with FarCluster.of(agent).followed() as regions:
        with pytest.raises(RegionUnavailable, match="asks for a token"):
            await regions.fetch("web-a", FAR, 5)


async def test_a_long_answer_is_told_in_parts(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGION_ANSWER_BYTES_SOFT", 400)
    agent = FarAgent()
    names = [f"s{number}" for number in range(12)]
    for name in names:
        agent.node.hold(Instance(id=name, service=name, host="h", port=1, owner="beta"))
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch_directory(FAR)
        for name in names:
            with pytest.raises(RegionUnavailable):
                regions.service(name, FAR)
        await trio.sleep(3)
        assert [ids(regions, name) for name in names] == [[name] for name in names]
        assert len(agent.asked) > 6


async def test_there_is_a_limit_to_services_and_instances(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REGION_SERVICES_MAX", 3)
    monkeypatch.setattr(limits, "REGION_INSTANCES_MAX", 5)
    agent = FarAgent()
    for name in "abcd":
        agent.node.hold(Instance(id=name, service=name, host="h", port=1, owner="beta"))
    async with FarCluster.of(agent).followed() as regions:
        for name in "abc":
            await regions.fetch(name, FAR)
        with pytest.raises(RegionUnavailable):
            await regions.fetch("d", FAR)
        assert counter(regions, Count.REGION_SERVICES_REFUSED) > 0
        await trio.sleep(70)
        regions.service("b", FAR)
        regions.service("c", FAR)
        assert [each.id for each in (await regions.fetch("d", FAR)).healthy] == ["d"], "a was asked for long ago"
        for number in range(4):
            agent.node.hold(Instance(id=f"b{number}", service="b", host="h", port=1, owner="beta"))
        await trio.sleep(2)
        with pytest.raises(RegionUnavailable, match="have more than 5 instances"):
            regions.service("b", FAR)
        assert counter(regions, Count.REGION_ANSWERS_OVER_LIMIT) > 0
        assert ids(regions, "c") == ["c"]


def changed(path: str, value: object) -> Callable[[bytes], bytes]:
    """An answer in which the value at a path is another one."""

    def garble(body: bytes) -> bytes:
        document: Any = json.loads(body)
        *above, last = (int(each) if each.isdigit() else each for each in path.split("/"))
        place = document
        for key in above:
            place = place[key] if place else place
        if place:
            place[last] = value
        return json.dumps(document).encode()

    return garble


_INSTANCE = "services/orders/healthy/0"


@pytest.mark.parametrize(
    "garble",
    [
        lambda _: b"",
        lambda _: b"[" * 100_000,
        lambda _: b"null",
        lambda body: body[:-1],
        changed("region", "asia"),
        changed("node", "a b"),
        changed("services", []),
        changed("services/orders", None),
        changed("services/others", {"index": 1, "healthy": [], "others": [], "members": {}}),
        changed("services/orders/index", -1),
        changed("services/orders/index", 1.5),
        changed("services/orders/healthy", {}),
        changed(_INSTANCE, None),
        changed(f"{_INSTANCE}/service", "billing"),
        changed(f"{_INSTANCE}/port", 65_536),
        changed(f"{_INSTANCE}/port", True),
        changed(f"{_INSTANCE}/host", "a b"),
        changed(f"{_INSTANCE}/host", None),
        changed(f"{_INSTANCE}/id", "x" * 5000),
        changed(f"{_INSTANCE}/owner", "../x"),
        changed(f"{_INSTANCE}/tags", ["x"] * 1000),
        changed(f"{_INSTANCE}/meta", {"a": 1}),
        changed(f"{_INSTANCE}/weight", -1),
        changed(f"{_INSTANCE}/health", "fine"),
        changed(f"{_INSTANCE}/reason", "x" * 1000),
        changed(f"{_INSTANCE}/zone", "a/b"),
        changed(f"{_INSTANCE}/stale", "no"),
        changed(f"{_INSTANCE}/role", ["x"]),
        changed("services/orders/members/beta/address", "nowhere"),
        changed("services/orders/members/beta/zone", 1),
        changed("left_off", None),
        changed("waited", -1),
        changed("waited", "1"),
        changed("age", 1e400),
        changed("directory/digest", ""),
        changed("directory/services", {"a b": []}),
        changed("directory/services/orders", [1]),
        lambda body: json.dumps({**json.loads(body), "left_off": ["orders"]}).encode(),
        lambda body: json.dumps({**json.loads(body), "services": {}}).encode(),
        lambda body: json.dumps({**json.loads(body), "directory": None}).encode(),
    ],
)
async def test_junk_is_counted_another_agent_is_asked_and_nothing_of_it_is_kept(
    autojump_clock: MockClock, garble: Callable[[bytes], bytes]
) -> None:
    """At first nothing is known, so that every request is about everything."""
    bad, good = FarAgent(), FarAgent()
    for agent in (bad, good):
        agent.node.see("joined", attrs.evolve(agent.node.members()[0], name="beta"))
        agent.node.hold(orders(1))
    first = garble

    def only_if_asked(body: bytes) -> bytes:
        return first(body) if bad.asked[-1].services or b'"directory":null' not in body else body

    bad.garble = only_if_asked
    good.is_down = True
    async with FarCluster.of(bad, good).followed() as regions:
        with pytest.raises(RegionUnavailable):
            await regions.fetch("orders", FAR, 60)
        with pytest.raises(RegionUnavailable):
            await regions.fetch("orders", FAR, 60)
        assert counter(regions, Count.REGION_JUNK) > 0
        good.is_down = False
        await trio.sleep(30)
        assert ids(regions) == ["o1"]
        assert not regions.service("orders", FAR).stale


async def test_an_agent_that_is_slow_is_waited_for_and_one_that_is_too_slow_is_left(autojump_clock: MockClock) -> None:
    slow, quick = FarAgent(latency=1.5), FarAgent()
    slow.node.hold(orders(1))
    quick.node.hold(orders(2))
    quick.is_down = True
    async with FarCluster.of(slow, quick).followed() as regions:
        found = await regions.fetch("orders", FAR, 30)
        await trio.sleep(20)
        found = regions.service("orders", FAR)
        assert not found.stale
        assert found.age <= WAIT_SECONDS + 2 * 3.0
        slow.latency = 8.0
        quick.is_down = False
        await trio.sleep(60)
        assert ids(regions) == ["o2"]


async def test_fenced_primaries_and_unhealthy_instances_are_told_as_they_stand(autojump_clock: MockClock) -> None:
    agent = FarAgent()
    agent.node.hold(orders(1, role="primary", term=3))
    agent.node.hold(orders(2, role="fenced", term=2))
    agent.node.hold(orders(3, health=Health.MAINTENANCE, reason="moving", weight=7, tags=("a",), meta={"k": "v"}))
    agent.node.hold(orders(4, port=0, zone="north"))
    async with FarCluster.of(agent).followed() as regions:
        found = await regions.fetch("orders", FAR)
        there = agent.node.lookup("orders", healthy=False)
        assert found.instances == tuple(attrs.evolve(each, region=FAR) for each in there)
        assert [each.id for each in found.healthy] == ["o1", "o2", "o4"]


async def test_nearest_is_the_region_with_the_shortest_round_trip(autojump_clock: MockClock) -> None:
    agent = FarAgent()
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch_directory(FAR)
        assert regions.in_order(["nearest"]) == (FAR,)
        assert regions.in_order([FAR, "us", "nearest", FAR]) == (FAR, "us")
        with pytest.raises(UnknownRegion):
            regions.in_order(["asia"])

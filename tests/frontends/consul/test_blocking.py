"""Queries that wait for their answer to change."""

from __future__ import annotations

import time

import attrs
import pytest
import trio

from gossipreg.frontends.consul import query_cache
from gossipreg.frontends.consul.query_cache import FOREIGN_WAIT_SECONDS, CachedQuery, QueryCache
from gossipreg.frontends.serving import time_slices
from gossipreg.frontends.serving.response import encode
from gossipreg.frontends.serving.settling import SETTLE_SECONDS
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import Instance, Status
from gossipreg.node_info import NodeInfo
from tests.frontends.consul.client import Client, Said
from tests.frontends.fake_node import FakeNode, member

WEB = Instance(id="web-1", service="web", host="10.0.0.1", port=80, tags=("v2",), owner="alpha")
DB = Instance(id="db-1", service="db", host="10.0.0.2", port=5432, owner="alpha")


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    node.hold(WEB)
    node.hold(DB)
    return node


@pytest.fixture(autouse=True)
def _quick_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No piece of work takes time: where it does, the answer waits for the next slice, and the tests would see none."""
    monkeypatch.setattr(time_slices, "perf_counter", lambda: 0.0)


@pytest.fixture
def client(node: FakeNode) -> Client:
    return Client(node)


class Waiter:
    """Asks in the background."""

    def __init__(self, client: Client, path: str, nursery: trio.Nursery) -> None:
        self.said: Said | None = None
        self._client, self._path = client, path
        nursery.start_soon(self._run)

    def is_answered(self) -> bool:
        return self.said is not None

    async def _run(self) -> None:
        self.said = await self._client.ask("GET", self._path)


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


PATHS = ["health/service/web", "catalog/service/web", "catalog/services", "health/state/any", "health/checks/web"]


@pytest.mark.parametrize("path", PATHS)
async def test_an_index_of_zero_or_an_old_one_is_answered_at_once(client: Client, path: str) -> None:
    with trio.fail_after(60):
        index = (await client.ask("GET", f"{path}?index=0&wait=525s")).index
        assert (await client.ask("GET", f"{path}?index={index - 1}&wait=525s")).index == index
        assert (await client.ask("GET", f"{path}?index={index + 1}&wait=525s")).index == index


@pytest.mark.parametrize("path", PATHS)
async def test_a_query_waits_until_its_own_result_changes(
    node: FakeNode, client: Client, path: str, nursery: trio.Nursery
) -> None:
    index = (await client.ask("GET", path)).index
    waiter = Waiter(client, f"{path}?index={index}", nursery)
    await settled()
    node.hold(attrs.evolve(WEB, tags=("v2", "v3")))
    await settled()
    assert waiter.said is not None
    assert waiter.said.index > index
    assert "v3" in waiter.said.text


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("health/service/web", attrs.evolve(DB, tags=("new",))),
        ("health/service/web?tag=v2", attrs.evolve(WEB, id="web-2", tags=("v1",))),
        ("health/service/web?filter=Service.ID==web-1", attrs.evolve(WEB, id="web-2")),
        ("catalog/services", attrs.evolve(DB, weight=7)),
        ("health/state/critical", attrs.evolve(DB, tags=("new",))),
        ("health/service/missing", attrs.evolve(DB, tags=("new",))),
    ],
)
async def test_what_a_query_does_not_show_does_not_wake_it(
    node: FakeNode, client: Client, path: str, changed: Instance, nursery: trio.Nursery
) -> None:
    index = (await client.ask("GET", path)).index
    waiter = Waiter(client, f"{path}{'&' if '?' in path else '?'}index={index}", nursery)
    await settled()
    node.hold(changed)
    await settled()
    assert waiter.said is None
    assert (await client.ask("GET", path)).index == index
    nursery.cancel_scope.cancel()


async def test_the_first_instance_of_a_service_wakes_it_and_the_last_one_that_goes(
    node: FakeNode, client: Client, nursery: trio.Nursery
) -> None:
    index = (await client.ask("GET", "health/service/new")).index
    waiter = Waiter(client, f"health/service/new?index={index}", nursery)
    await settled()
    new = Instance(id="new-1", service="new", host="10.0.0.1", port=80, owner="alpha")
    node.hold(new)
    await settled()
    assert waiter.said is not None
    waiter = Waiter(client, f"health/service/new?index={waiter.said.index}", nursery)
    await settled()
    node.drop(new)
    await settled()
    assert waiter.said is not None
    assert waiter.said.json == []


async def test_after_the_time_the_whole_state_comes_with_the_same_index(client: Client, autojump_clock: object) -> None:
    before = await client.ask("GET", "health/service/web")
    started = trio.current_time()
    said = await client.ask("GET", f"health/service/web?index={before.index}&wait=1m30s")
    assert said == before
    assert 90 <= trio.current_time() - started <= 90 * (1 + 1 / 16) + 0.001


@pytest.mark.parametrize(("query", "seconds"), [("", 300), ("&wait=0s", 300), ("&wait=2h", 600)])
async def test_five_minutes_are_waited_unless_told_and_never_more_than_ten(
    client: Client, query: str, seconds: float, autojump_clock: object
) -> None:
    index = (await client.ask("GET", "catalog/services")).index
    started = trio.current_time()
    await client.ask("GET", f"catalog/services?index={index}{query}")
    assert seconds <= trio.current_time() - started <= seconds * (1 + 1 / 16) + 0.001


@pytest.mark.parametrize("query", ["index=-1", "index=abc", "index=1&wait=soon"])
async def test_an_index_or_a_time_that_is_none_is_refused(client: Client, query: str) -> None:
    assert (await client.ask("GET", f"health/service/web?{query}")).status == 400


async def test_a_blocked_reader_is_told_when_the_node_closes(
    node: FakeNode, client: Client, nursery: trio.Nursery
) -> None:
    index = (await client.ask("GET", "health/service/web")).index
    waiter = Waiter(client, f"health/service/web?index={index}", nursery)
    await settled()
    node.close()
    await settled()
    assert waiter.said is not None
    assert waiter.said.status == 503


async def test_a_thousand_that_wait_share_one_serialisation(
    node: FakeNode, client: Client, nursery: trio.Nursery
) -> None:
    index = (await client.ask("GET", "health/service/web")).index
    waiters = [Waiter(client, f"health/service/web?index={index}&wait=60s", nursery) for _ in range(1000)]
    await settled()
    before = node.lookups
    node.hold(attrs.evolve(WEB, weight=5))
    await settled()
    assert all(waiter.said is not None and waiter.said.index > index for waiter in waiters)
    assert len({id(waiter.said.body) for waiter in waiters if waiter.said is not None}) == 1
    assert node.lookups - before == 3  # one for all instances, one for those that lookups return, one for nodes


async def test_an_answer_that_takes_long_to_make_is_not_made_for_every_change(
    node: FakeNode, autojump_clock: object, nursery: trio.Nursery
) -> None:
    made: list[float] = []

    async def make(slicer: TimeSlicer) -> bytes:
        made.append(trio.current_time())
        slicer.worked = 0.01
        return encode(len(made))

    query_cache, asked = QueryCache(node, 0), CachedQuery("web", "web", make)
    first = await query_cache.read(asked)
    nursery.start_soon(query_cache.changed, asked, first.index, 60)
    await settled()
    for weight in range(100):
        node.hold(attrs.evolve(WEB, weight=weight))
        await settled()
    await trio.sleep(1)
    assert len(made) == 2


async def test_an_index_that_is_kept_no_more_does_not_fall(node: FakeNode) -> None:
    query_cache = QueryCache(node, 1_700_000_000_000)

    async def make(_: TimeSlicer) -> bytes:
        return b"x" * 5_000_000

    asked = CachedQuery("web", "web", make)
    first = await query_cache.read(asked)
    for number in range(3):
        await query_cache.read(CachedQuery("web", number, make))
    node.hold(attrs.evolve(WEB, weight=5))
    assert (await query_cache.read(asked)).index > first.index


class YoungNode(FakeNode):
    """It has just been started."""

    def info(self) -> NodeInfo:
        return attrs.evolve(super().info(), generation=int(1000 * time.time()))


async def test_a_node_that_was_just_started_answers_when_it_knows_what_there_is(autojump_clock: object) -> None:
    node = YoungNode()
    node.see("joined", member("beta", 7941))
    started = trio.current_time()
    assert (await Client(node).ask("GET", "catalog/services")).status == 200
    assert SETTLE_SECONDS - 1 < trio.current_time() - started <= SETTLE_SECONDS


async def test_one_that_is_alone_answers_soon(autojump_clock: object) -> None:
    started = trio.current_time()
    assert (await Client(YoungNode()).ask("GET", "catalog/services")).status == 200
    assert trio.current_time() - started <= SETTLE_SECONDS / 10


async def test_when_the_node_raises_its_indexes_those_of_answers_that_stay_the_same_rise_too() -> None:
    """An earlier life of the node gave out higher ones: what is kept from before that was known must not be lower."""

    @attrs.define(eq=False)
    class Raised(FakeNode):
        floor: int = 0

        def index(self, service: str | None = None, region: str | None = None) -> int:
            return self.floor + super().index(service, region)

    node = Raised()
    node.hold(WEB)
    client = Client(node)
    paths = ["health/service/web", "catalog/services", "health/service/missing"]
    for path in paths:
        await client.ask("GET", path)
    node.floor = 1_000
    for path in paths:
        assert (await client.ask("GET", path)).index >> 10 > 1_000
    node.hold(DB)
    assert (await client.ask("GET", "health/service/web")).index >> 10 == 1_001, "it has not changed since"


def agents(count: int) -> list[Client]:
    """Agents that see the same, and count for themselves."""
    nodes = [FakeNode(name="alpha") for _ in range(count)]
    for number, node in enumerate(nodes):
        for _ in range(number + 1):
            node.hold(DB)
        for _ in range(3 * number + 1):
            node.hold(WEB)
    return [Client(node) for node in nodes]


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_asks_one_agent_after_the_other_waits(path: str, autojump_clock: object) -> None:
    clients, index, answers = agents(3), 0, 0
    with trio.move_on_after(60):
        while True:
            for client in clients:
                index = (await client.ask("GET", f"{path}?index={index}&wait=60s")).index
                answers += 1
    assert answers <= 1 + 60 / FOREIGN_WAIT_SECONDS


async def test_such_a_client_is_told_of_a_change_at_once(autojump_clock: object, nursery: trio.Nursery) -> None:
    first, second = agents(2)
    index = (await first.ask("GET", "health/service/web")).index
    waiter = Waiter(second, f"health/service/web?index={index}", nursery)
    await settled()
    assert not waiter.is_answered()
    assert isinstance(second.node, FakeNode)
    second.node.hold(attrs.evolve(WEB, tags=("v3",)))
    await settled()
    assert waiter.is_answered()
    started = trio.current_time()
    assert "v3" in (await second.ask("GET", f"health/service/web?index={index}")).text
    assert trio.current_time() == started


async def test_a_change_to_an_answer_with_the_same_digest_is_told_at_once(
    node: FakeNode, autojump_clock: object, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in a thousand has: of our own index only the same one is known, so the wait is not its full length."""
    monkeypatch.setattr(query_cache, "_digest", lambda _: 7)
    client = Client(node)
    index = (await client.ask("GET", "health/service/web")).index
    waiter = Waiter(client, f"health/service/web?index={index}&wait=10m", nursery)
    await settled()
    node.hold(attrs.evolve(WEB, tags=("v3",)))
    await settled()
    assert waiter.is_answered()


async def test_an_index_is_exact_in_clients_that_read_it_as_a_double() -> None:
    @attrs.define(eq=False)
    class Late(FakeNode):
        def index(self, service: str | None = None, region: str | None = None) -> int:
            return 4_398_046_511_103  # ms since the epoch, in 2109

    index = (await Client(Late()).ask("GET", "catalog/services")).index
    assert int(float(index)) == index < 2**53


async def test_a_suspicion_that_changes_no_answer_wakes_nothing(
    client: Client, node: FakeNode, nursery: trio.Nursery
) -> None:
    node.see("joined", member("beta", 7941))
    paths = ["health/service/web?passing", "health/state/passing", "health/node/beta", "catalog/nodes"]
    waiters = []
    for path in paths:
        index = (await client.ask("GET", path)).index
        waiters.append(Waiter(client, f"{path}{'&' if '?' in path else '?'}index={index}", nursery))
    await settled()
    node.see("suspect", member("beta", 7941, Status.SUSPECT))
    await settled()
    assert [each.said for each in waiters] == [None] * len(paths)
    nursery.cancel_scope.cancel()

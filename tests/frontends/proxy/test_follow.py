"""An agent is followed through everything that becomes of it; a node of our own as long as it lives."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import h11
import pytest
import trio
import trio.testing

from gossipreg import AgentUnreachable, Config, open_node
from gossipreg.errors import GossipregError
from gossipreg.events import Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.http.events import KEEP_ALIVE
from gossipreg.frontends.proxy import Forward, follow_agent, follow_node, limits
from gossipreg.frontends.proxy.agent import AgentEvents, _event
from gossipreg.frontends.proxy.follow import FollowRule, ResumedStream, _next
from gossipreg.frontends.proxy.instance_table import InstanceTable
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Address, Instance, SocketFile, Status
from tests.frontends.fake_node import FakeNode, member
from tests.frontends.proxy.conftest import until
from tests.frontends.proxy.making import added, instance, removed, snapshot
from tests.runtime.nodes import config


async def open_agent(nursery: trio.Nursery, node: FakeNode, port: int = 0) -> Address:
    bound: Address = await nursery.start(partial(serve_http, node, Address("127.0.0.1", port), leave=lambda: None))
    return bound


@pytest.fixture
async def agent() -> AsyncIterator[tuple[FakeNode, Address]]:
    async with trio.open_nursery() as nursery:
        node = FakeNode()
        yield node, await open_agent(nursery, node)
        nursery.cancel_scope.cancel()


async def test_everything_that_an_agent_tells_is_understood(agent: tuple[FakeNode, Address]) -> None:
    node, address = agent
    first = await node.register("orders", port=1, tags=["v2"], meta={"a": "ü"}, weight=7, role="primary")
    with trio.fail_after(60):
        async with await AgentEvents.open(address, "orders") as events:
            assert await events.next() == [Snapshot((member("alpha", 7940),), (first,))]
            second = await node.register("orders", port=2)
            await node.register("users", port=3)
            assert await events.next() == [added(second)]
            node.see("suspect", member("beta", 7941, Status.SUSPECT))
            [told] = await events.next()
            assert (told.kind, told.member) == ("suspect", member("beta", 7941, Status.SUSPECT))  # type: ignore[union-attr]
            node.fail_checks(second)
            [told] = await events.next()
            node.close()
            with pytest.raises(AgentUnreachable, match="broke off"):
                await events.next()


async def test_an_agent_is_asked_to_fail_over_by_what_has_the_tag_and_the_role(
    agent: tuple[FakeNode, Address], nursery: trio.Nursery
) -> None:
    node, address = agent
    here = await node.register("orders", port=1, tags=["v1"])
    there = Instance(id="o", service="orders", host="10.1.0.1", port=80, owner="beta", region="eu", tags=("v2",))
    node.hold_elsewhere("eu", "orders", there)
    for rule, found in (
        (FollowRule(failover=("eu",)), here),
        (FollowRule(failover=("eu",), failover_threshold=0.5, tag="v2"), there),
    ):
        table = InstanceTable()
        with trio.fail_after(60):
            await nursery.start(partial(follow_agent, address, "orders", table.apply, rule=rule))
        assert table.instances == (found,)
    with pytest.raises(AgentUnreachable, match="does not know a region of failover 'asia,eu'"):
        await follow_agent(address, "orders", lambda _: None, rule=FollowRule(failover=("asia", "eu")))


def test_ports_that_fail_over_follow_by_a_rule_of_their_own() -> None:
    plain = Forward(listen="127.0.0.1:0", service="orders", panic_threshold=0.5, tag="a", role="primary")
    assert FollowRule.of(plain) == FollowRule(panic=0.5)
    failing = attrs.evolve(plain, panic_threshold=0.0, failover=("eu", "nearest"), failover_threshold=0.25)
    assert FollowRule.of(failing) == FollowRule(0.0, ("eu", "nearest"), 0.25, "a", "primary")
    assert FollowRule.of(failing).query == {
        "failover": "eu,nearest",
        "failover_threshold": "0.25",
        "tag": "a",
        "role": "primary",
    }
    assert FollowRule.of(plain).query == {"panic": "0.5"}


async def test_an_agent_with_tokens_is_followed_at_its_socket_file(nursery: trio.Nursery, tmp_path: Path) -> None:
    node, token = (
        FakeNode(),
        Token("proxy", hashlib.sha256(b"a-token-that-is-secret").digest(), frozenset({Scope.READ})),
    )
    access = Access((token,))
    file = await nursery.start(partial(serve_http, node, SocketFile(tmp_path / "s"), leave=lambda: None, access=access))
    table = InstanceTable()
    follow = partial(follow_agent, file, "orders", table.apply)
    with pytest.raises(AgentUnreachable, match=r"wants a token that is for read: put it in GOSSIPREG_TOKEN"):
        await follow()
    await nursery.start(partial(follow, token="a-token-that-is-secret"))
    orders = await node.register("orders", port=1)
    await until(lambda: table.instances == (orders,))


async def test_an_agent_that_is_not_there_is_named_with_a_remedy(agent: tuple[FakeNode, Address]) -> None:
    with pytest.raises(AgentUnreachable, match=r"no agent answers at 127\.0\.0\.1:1: start one"):
        await follow_agent(Address("127.0.0.1", 1), "orders", lambda _: None)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 103 Early\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"\x00" * 100,
    ],
)
async def test_what_is_no_agent_is_said_to_be_none(nursery: trio.Nursery, answer: bytes) -> None:
    async def say(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    listeners = await nursery.start(partial(trio.serve_tcp, say, 0, host="127.0.0.1"))
    address = Address(*listeners[0].socket.getsockname())
    with pytest.raises(AgentUnreachable):
        await follow_agent(address, "orders", lambda _: None)


@pytest.mark.parametrize(
    "block",
    [
        *(b"event: snapshot\ndata: 7", b"event: instance-added\ndata: {}", b"nonsense"),
        b"event: snapshot\ndata: " + b"[" * 100_000,
        b'event: snapshot\ndata: {"members": [["name"]], "instances": []}',
        b'event: instance-added\ndata: {"id":"o","service":"s","host":"h","port":70000,"owner":"a","health":"passing"}',
    ],
)
async def test_an_event_that_cannot_be_read_ends_the_stream(nursery: trio.Nursery, block: bytes) -> None:
    async def say(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        await stream.send_all(head + block + b"\n\n")
        await stream.receive_some()

    listeners = await nursery.start(partial(trio.serve_tcp, say, 0, host="127.0.0.1"))
    with pytest.raises(AgentUnreachable, match="it sent what cannot be read"):
        await follow_agent(Address(*listeners[0].socket.getsockname()), "orders", lambda _: None)


def told(**changed: object) -> bytes:
    """An event about an instance, as an agent tells it, but for what is ``changed``."""
    row: dict[str, object] = {"id": "o", "service": "orders", "host": "10.0.0.1", "port": 80, "owner": "alpha"}
    return json.dumps({**row, "health": "passing", "role": "fenced", "tags": ["a"], **changed}).encode()


def told_member(**changed: object) -> bytes:
    row = {"name": "a", "address": "10.0.0.1:1", "status": "alive", "generation": 1, "incarnation": 0, "zone": ""}
    return json.dumps({**row, **changed}).encode()


def test_what_an_agent_tells_is_checked_before_it_is_believed() -> None:
    """The proxy opens connections to what it is told, and shows it: nothing is told that no node could hold."""
    event = _event("instance-added", told())
    assert isinstance(event, InstanceEvent)
    assert (event.instance.role, event.instance.address) == ("fenced", Address("10.0.0.1", 80))
    assert isinstance(_event("member-joined", told_member()), MemberEvent)
    instances: tuple[dict[str, Any], ...] = (
        *({"port": port} for port in (-1, 65_536, "80", True, None, 1.5)),
        *({"host": host} for host in ("", "a b", "10.0.0.1\n", "0.0.0.0", 7, None)),
        *({"id": "\x1b[31m"}, {"service": "../x"}, {"owner": "a b"}, {"owner": 3}, {"role": "a b"}, {"term": -1}),
        *({"weight": -1}, {"weight": "1"}, {"weight": 10**9}, {"tags": 7}, {"tags": [7]}, {"meta": {"a": 1}}),
        *({"health": "fine"}, {"health": None}, {"stale": "no"}, {"zone": 4}, {"region": "a b"}, {"reason": 4}),
    )
    for changed in instances:
        with pytest.raises((ValueError, TypeError, GossipregError)):
            _event("instance-added", told(**changed))
    members: tuple[dict[str, Any], ...] = (
        *({"name": "a b"}, {"name": 4}, {"address": 4}, {"address": "nowhere"}, {"status": 4}, {"status": "odd"}),
        *({"generation": "1"}, {"incarnation": True}, {"zone": 4}, {"draining": "no"}),
    )
    for changed in members:
        with pytest.raises((ValueError, TypeError, KeyError, GossipregError)):
            _event("member-joined", told_member(**changed))


async def test_while_the_agent_is_away_what_it_told_last_stands(nursery: trio.Nursery) -> None:
    table, node = InstanceTable(), FakeNode()
    orders = await node.register("orders", port=1)
    async with trio.open_nursery() as life:
        address = await open_agent(life, node)
        await nursery.start(partial(follow_agent, address, "orders", table.apply))
        assert table.instances == (orders,)
        life.cancel_scope.cancel()
    heir = FakeNode()
    other = await heir.register("orders", port=2)
    assert table.instances == (orders,)
    await open_agent(nursery, heir, address.port)
    await until(lambda: other in table.instances)
    assert set(table.instances) == {orders, other}, "an agent that has just begun may not know it yet"


def resumed(*before: Instance) -> tuple[InstanceTable, ResumedStream]:
    seen = InstanceTable()
    seen.apply([snapshot(*before)])
    return seen, ResumedStream(seen)


def apply(pair: tuple[InstanceTable, ResumedStream], events: Sequence[Event], now: float = 0.0) -> tuple[Instance, ...]:
    seen, made = pair
    seen.apply(made.apply(events, now))
    return seen.instances


def test_what_a_returned_agent_does_not_know_after_its_time_is_gone() -> None:
    pair = resumed(instance("a"), instance("b"))
    assert set(apply(pair, [snapshot(instance("b"))], 5.0)) == {instance("a"), instance("b")}
    assert pair[1].deadline == 5.0 + limits.AGENT_SETTLE_SECONDS
    assert pair[1].expire_missing() == [removed(instance("a"))]
    assert pair[1].deadline == math.inf
    assert pair[1].expire_missing() == []


def test_what_a_returned_agent_learns_or_takes_back_is_believed() -> None:
    pair = resumed(instance("a"), instance("b"))
    apply(pair, [snapshot()])
    assert apply(pair, [added(instance("a", weight=9)), removed(instance("b"))]) == (instance("a", weight=9),)
    assert pair[1].expire_missing() == []


def test_a_returned_agent_that_knows_everything_is_believed_at_once() -> None:
    pair = resumed(instance("a"))
    assert apply(pair, [snapshot(instance("a"))]) == (instance("a"),)
    assert pair[1].deadline == math.inf


async def test_a_node_of_our_own_is_followed(nursery: trio.Nursery) -> None:
    async with open_node(Config(name="a", bind="127.0.0.1:0")) as node:
        first = await node.register("orders", port=1)
        table = InstanceTable()
        with trio.fail_after(60):
            await nursery.start(partial(follow_node, node, "orders", table.apply))
        assert table.instances == (first,)
        second = await node.register("orders", port=2)
        await until(lambda: table.instances == (first, second))


async def test_what_was_lost_at_once_is_told_to_followers_with_a_threshold(nursery: trio.Nursery) -> None:
    async with AsyncExitStack() as stack:
        ann = await stack.enter_async_context(open_node(config("ann")))
        bob = await stack.enter_async_context(open_node(config("bob", ann)))
        for port, node in enumerate((ann, bob), 1):
            await node.register("orders", port=port)
        await ann.wait_for("orders", at_least=2)
        agent = await nursery.start(partial(serve_http, ann, Address("127.0.0.1", 0), leave=lambda: None))
        plain, panicking, asking = InstanceTable(), InstanceTable(), InstanceTable()
        await nursery.start(partial(follow_node, ann, "orders", plain.apply))
        await nursery.start(partial(follow_node, ann, "orders", panicking.apply, rule=FollowRule(panic=0.6)))
        await nursery.start(partial(follow_agent, agent, "orders", asking.apply, rule=FollowRule(panic=0.6)))
        bob._lifecycle.context.close()
        await until(lambda: len(plain.instances) == 1)
        for table in (panicking, asking):
            await until(lambda table=table: [each.stale for each in table.instances] == [False, True])  # type: ignore[misc]
        nursery.cancel_scope.cancel()


async def test_an_agent_that_dies_without_a_word_is_missed(
    agent: tuple[FakeNode, Address], nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AGENT_SILENCE_SECONDS", 0.1)
    _, address = agent
    snapshots = 0

    def count(events: Sequence[Event]) -> None:
        nonlocal snapshots
        snapshots += sum(isinstance(event, Snapshot) for event in events)

    await nursery.start(partial(follow_agent, address, "orders", count))
    await until(lambda: snapshots == 2)


async def test_a_service_may_have_any_name(agent: tuple[FakeNode, Address]) -> None:
    async with await AgentEvents.open(agent[1], "a b&c") as events:
        assert await events.next() == [Snapshot((member("alpha", 7940),), ())]


async def _talk(stream: trio.abc.Stream, *pauses_and_parts: tuple[float, bytes]) -> None:
    """Answer a request for events with these parts, each after a pause (seconds)."""
    await stream.receive_some(65_536)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for pause, part in pauses_and_parts:
        await trio.sleep(pause)
        await stream.send_all(b"%x\r\n%b\r\n" % (len(part), part))
    await trio.sleep_forever()


async def test_an_agent_that_sends_keep_alives_is_not_silent_and_one_that_sends_nothing_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    told = b'event: snapshot\ndata: {"members": [], "instances": []}\n\n'
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_talk, theirs, *[(15.0, KEEP_ALIVE)] * 6, (15.0, told)))
        events = AgentEvents(Address("127.0.0.1", 1), ours, h11.Connection(h11.CLIENT))
        await events._ask("orders", None, {})
        begun = trio.current_time()
        assert await _next(events, ResumedStream(InstanceTable())) == [Snapshot((), ())]
        assert trio.current_time() - begun == pytest.approx(7 * 15.0)
        with pytest.raises(AgentUnreachable, match="is silent"):
            await _next(events, ResumedStream(InstanceTable()))
        assert trio.current_time() - begun == pytest.approx(7 * 15.0 + limits.AGENT_SILENCE_SECONDS)
        nursery.cancel_scope.cancel()

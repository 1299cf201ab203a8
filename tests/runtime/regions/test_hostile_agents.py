"""Agents of another region that mean harm: they cause no endless work, and get no token that is for another."""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from gossipreg import limits
from gossipreg.errors import RegionUnavailable
from gossipreg.federation import AgentPlace, Federation
from gossipreg.model import Health
from gossipreg.runtime.regions import agent_connection
from gossipreg.runtime.regions.agent_connection import AgentConnection, AgentFailed
from gossipreg.runtime.regions.follower import BURST, PACE_SECONDS, PATIENCE_SECONDS
from gossipreg.runtime.regions.remote_answer import UnusableAnswer, read_answer
from gossipreg.runtime.regions.remote_region import RemoteRequest
from tests.certificates import certificate
from tests.runtime.nodes import PATIENCE
from tests.runtime.regions.far_cluster import FAR, FarAgent, FarCluster, orders
from tests.runtime.regions.test_answers import answered, document, row
from tests.runtime.regions.test_following import ids

TOKEN = "a-token-of-sixteen-or-more"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_ELSEWHERE = b"HTTP/1.1 307 No\r\nLocation: http://10.9.9.9/\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, b"it sends more than 8 interim answers"),
        (_CHUNKED + b"1\r\nx\r\n" * 33, b"its answer comes in more than 32 pieces"),
        (_CHUNKED + (b"1;" + b"e" * 15_000 + b"\r\nx\r\n") * 3, b"its answer is mostly frames of chunks"),
        (_CHUNKED + b"1;" + b"e" * 20_000, b"it does not speak HTTP/1.1: "),
        (_CHUNKED + b"0\r\n" + b"a: b\r\n" * 4000, b"it does not speak HTTP/1.1: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"it does not speak HTTP/1.1: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n", b"it sends more than one answer"),
        (_ELSEWHERE, b"it answers 307"),
        (b"HTTP/1.1 101 No\r\nUpgrade: x\r\n\r\n", b"it does not speak HTTP/1.1: "),
    ],
)
async def test_an_answer_causes_no_endless_work_and_leads_nowhere(
    said: bytes, why: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_connection, "_PIECES_MAX", 32)
    monkeypatch.setattr(limits, "REGION_ANSWER_BYTES_MAX", 10_000)
    assert (await answered(said)).startswith(why)


async def test_as_many_interim_answers_and_pieces_as_may_come_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_connection, "_PIECES_MAX", 32)
    interim = b"HTTP/1.1 103 Early\r\n\r\n" * 8
    assert await answered(interim + _CHUNKED + b"1\r\nx\r\n" * 32 + b"0\r\n\r\n") == b"x" * 32


async def test_lists_and_objects_without_end_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    body = document(row(1))
    monkeypatch.setattr(limits, "REGION_ANSWER_BRACKETS_MAX", body.count(b"[") + body.count(b"{"))
    assert (await read_answer(body, FAR, frozenset({"orders"}))).services
    with pytest.raises(UnusableAnswer, match="lists and objects"):
        await read_answer(body.replace(b'"term": 0', b'"term": []'), FAR, frozenset({"orders"}))


@pytest.mark.parametrize("field", ["age", "waited"])
@pytest.mark.parametrize("value", [-0.001, -math.inf, math.inf, math.nan, 10**400, limits.AGE_MAX * 2, True, None, "1"])
async def test_no_age_is_in_the_future_or_no_number(field: str, value: object) -> None:
    body = json.dumps({**json.loads(document(row(1))), field: value}).encode()
    with pytest.raises(UnusableAnswer):
        await read_answer(body, FAR, frozenset({"orders"}))


async def test_an_answer_that_drips_is_given_up(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes soon after the one before, so that no pause is long."""
    ended: list[float] = []

    async def drip(stream: trio.abc.Stream) -> None:
        try:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                await stream.send_all(b"x")
                await trio.sleep(0.1)
        except trio.BrokenResourceError:
            ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:

        async def connect(*_: object) -> AgentConnection:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(drip, theirs)
            await trio.lowlevel.checkpoint()
            return AgentConnection(ours, "h:1", None, "us")

        monkeypatch.setattr(FarCluster, "connect", connect)
        async with FarCluster.of(FarAgent()).followed() as regions:
            with pytest.raises(RegionUnavailable, match="silent"):
                await regions.fetch("orders", FAR, 2 * PATIENCE_SECONDS)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert ended
    assert ended[0] <= PATIENCE_SECONDS + 1


def _at_index(indexes: Callable[[int], int]) -> Callable[[bytes], bytes]:
    """Answers in which each service has an index that the number of the answer gives."""
    number = 0

    def garble(body: bytes) -> bytes:
        nonlocal number
        number += 1
        table: Any = json.loads(body)
        for told in table["services"].values():
            told["index"] = indexes(number)
        return json.dumps(table).encode()

    return garble


@pytest.mark.parametrize("indexes", [lambda _: 0, lambda number: 10**6 - number], ids=["zero", "falling"])
async def test_an_agent_that_answers_at_once_for_ever_is_asked_at_a_pace(
    autojump_clock: MockClock, indexes: Callable[[int], int]
) -> None:
    """No index that it gives makes the follower ask without a pause, or the follower's own index fall."""
    agent = FarAgent(latency=0.001, garble=_at_index(indexes))
    agent.node.hold(orders(1))
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch("orders", FAR)
        before = regions.index("orders", FAR)
        await trio.sleep(20)
        assert len(agent.asked) <= BURST + 21 / PACE_SECONDS
        agent.node.hold(orders(2))
        await trio.sleep(10)
        assert ids(regions) == ["o1", "o2"]
        assert regions.index("orders", FAR) > before


async def test_agents_that_answer_once_and_break_are_asked_at_a_pace(autojump_clock: MockClock) -> None:
    """An answer ends the growing pauses, and where there are several agents, none follows the first failure."""

    def once(agent: FarAgent) -> Callable[[bytes], bytes]:
        return lambda body: body if len(agent.asked) % 2 else b"junk"

    agents = [FarAgent(latency=0.001) for _ in range(8)]
    for agent in agents:
        agent.garble = once(agent)
        agent.node.hold(orders(1))
    async with FarCluster.of(*agents).followed() as regions:
        for _ in range(20):
            await trio.sleep(1)
            for number, agent in enumerate(agents):
                agent.node.hold(orders(number, service=f"s{trio.current_time():.0f}"))
        assert sum(len(agent.asked) for agent in agents) <= BURST + 21 / PACE_SECONDS
        assert regions.directory(FAR).services


async def test_a_large_answer_counts_as_several(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGION_ANSWER_BYTES_SOFT", 100)
    agent = FarAgent(latency=0.001, garble=_at_index(lambda _: 0))
    agent.node.hold(orders(1, meta={"a": "x" * 1000}))
    async with FarCluster.of(agent).followed() as regions:
        await regions.fetch("orders", FAR)
        await trio.sleep(60)
    assert len(agent.asked) <= (BURST + 61 / PACE_SECONDS) / 10


async def test_no_more_text_is_held_than_a_region_may_have(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REGION_CHARS_MAX", 1000)
    agent = FarAgent()
    agent.node.hold(orders(1, meta={"m": "x" * 499}, health=Health.CRITICAL))
    agent.node.hold(orders(2, service="web", tags=("t" * 100,), meta={"m": "x" * 399}))
    async with FarCluster.of(agent).followed() as regions:
        for service in ("orders", "web"):
            await regions.fetch(service, FAR)
        agent.node.hold(orders(2, service="web", tags=("t" * 100,), meta={"m": "x" * 400}))
        await trio.sleep(5)
        with pytest.raises(RegionUnavailable, match="have more than 1000 characters of tags and meta"):
            regions.service("web", FAR)
        assert [each.id for each in regions.service("orders", FAR).instances] == ["o1"]


@asynccontextmanager
async def https(name: str, directory: Path) -> AsyncIterator[tuple[AgentPlace, Path, bytearray]]:
    """A server at 127.0.0.1 with a certificate of ``name``, the certificate, and what the server is sent."""
    pem, private = certificate(name, directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    heard = bytearray()

    async def hear(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            heard.extend(await stream.receive_some())
            await stream.send_all(_ELSEWHERE)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_ssl_over_tcp, hear, 0, context, host="127.0.0.1"))
        port = listener.transport_listener.socket.getsockname()[1]
        yield AgentPlace.parse(f"https://127.0.0.1:{port}"), pem, heard
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("name", "why"), [("127.0.0.1", "it answers 307"), ("10.9.9.9", "IP address mismatch")])
async def test_the_token_is_shown_to_no_host_but_the_one_that_is_named(name: str, why: str, tmp_path: Path) -> None:
    """A certificate that is trusted, but of another host, is not this agent's."""
    with trio.fail_after(PATIENCE):
        async with https(name, tmp_path) as (place, pem, heard):
            federation = Federation(region=FAR, agents=(str(place),), token=TOKEN, ca_file=pem)

            async def ask() -> None:
                connection = await AgentConnection.open(federation, place, "us")
                try:
                    await connection.ask(RemoteRequest({}, "", 0.0), lambda _: None)
                finally:
                    await connection.aclose()

            with pytest.raises(AgentFailed, match=why):
                await ask()
            assert (TOKEN.encode() in heard) == (name == "127.0.0.1")

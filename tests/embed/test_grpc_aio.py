"""Channels of ``grpc.aio`` to services, over real connections: what differs from those for threads."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import grpc
import grpc.aio
import pytest

from gossipreg.embed.chooser import Chooser
from gossipreg.embed.grpc_aio import AsyncServiceChannel, NoInstanceForCall
from tests.certificates import certificate
from tests.embed.naming import SERVICE, NamingServer, naming
from tests.embed.offering import FakeRegistry, offer

PATIENCE = 60.0


@attrs.frozen
class Client:
    """A channel, its chooser, and short ways to ask."""

    channel: AsyncServiceChannel
    chooser: Chooser

    async def ask(self, **options: Any) -> str:
        answer: bytes = await self.channel.unary_unary(f"/{SERVICE}/One")(b"", **({"timeout": PATIENCE} | options))
        return answer.decode()

    async def connected(self, *names: str) -> None:
        """Wait until just these are connected."""

        def check() -> bool:
            found = self.channel._subchannels.refresh()
            return set(names) == {
                each.instance.id for each in found if each.connection.state is grpc.ChannelConnectivity.READY
            }

        await eventually(check)

    async def is_idle(self) -> None:
        await eventually(lambda: self.chooser._under_way == {})


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not check():  # noqa: ASYNC110 - what is waited for happens in gRPC
            await asyncio.sleep(0.01)


@attrs.define
class Orders:
    """A service of two servers."""

    one: NamingServer
    two: NamingServer
    registry: FakeRegistry

    def offers(self, **weights: int) -> None:
        """Offer those servers, with those weights."""
        servers = {each.name: each for each in (self.one, self.two)}
        self.registry.instances = tuple(
            offer(name, host="127.0.0.1", port=servers[name].port, weight=weight) for name, weight in weights.items()
        )

    def run(self, program: Callable[[Client], Awaitable[None]], **options: Any) -> None:
        """Run a program with a channel under asyncio; nothing is in progress when it has ended."""
        chooser = Chooser(self.registry, strategy="round-robin", rng=Random(1))

        async def main() -> None:
            async with AsyncServiceChannel(chooser, "orders", **options) as channel:
                await program(Client(channel, chooser))

        asyncio.run(main())
        assert chooser._under_way == {}


@pytest.fixture
def orders() -> Iterator[Orders]:
    with naming("one") as one, naming("two") as two:
        orders = Orders(one, two, FakeRegistry())
        orders.offers(one=1, two=1)
        yield orders


def test_calls_are_spread_by_weight_once_all_are_connected(orders: Orders) -> None:
    async def program(client: Client) -> None:
        await client.connected("one", "two")
        assert Counter([await client.ask(metadata=(("x-one", "1"),)) for _ in range(40)]) == {"one": 30, "two": 10}

    orders.offers(one=3, two=1)
    orders.run(program)
    assert {each["x-one"] for each in orders.one.asked} == {"1"}


def test_an_instance_that_cannot_be_reached_gets_no_call_once_another_is_connected(orders: Orders) -> None:
    async def program(client: Client) -> None:
        await client.channel.channel_ready()
        assert {await client.ask() for _ in range(6)} == {"two"}

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    orders.registry.instances = (offer("gone", host="127.0.0.1", port=port), orders.registry.instances[1])
    orders.run(program)


def test_an_instance_that_dies_is_left_alone(orders: Orders) -> None:
    async def program(client: Client) -> None:
        await client.connected("one", "two")
        await asyncio.to_thread(orders.one.stop)
        await client.connected("two")
        assert [await client.ask() for _ in range(6)] == ["two"] * 6

    orders.run(program)


def test_a_drained_instance_gets_no_new_call_but_ends_those_that_it_has(orders: Orders) -> None:
    async def program(client: Client) -> None:
        await client.connected("one", "two")
        orders.one.seconds = orders.two.seconds = 0.2
        calls = [client.channel.unary_unary(f"/{SERVICE}/One")(b"", timeout=PATIENCE) for _ in range(2)]
        orders.offers(one=0, two=1)
        assert {await client.ask() for _ in range(2)} == {"two"}
        orders.offers(two=1)
        assert await client.ask() == "two"
        assert {await each for each in calls} == {b"one", b"two"}
        await client.is_idle()

    orders.run(program)


def test_all_kinds_of_methods_are_called_and_their_ends_are_recorded(orders: Orders) -> None:
    async def requests() -> AsyncIterator[bytes]:
        for each in (b"a", b"b"):
            yield each

    async def program(client: Client) -> None:
        await client.connected("one")
        channel = client.channel
        client.chooser.report_failure(orders.registry.instances[0])
        many = channel.unary_stream(f"/{SERVICE}/Many")(b"2", timeout=PATIENCE)
        assert [each async for each in many] == [b"one"] * 2
        assert await channel.stream_unary(f"/{SERVICE}/Joined")(requests(), timeout=PATIENCE) == b"a+b=one"
        answers = channel.stream_stream(f"/{SERVICE}/Each")(requests(), timeout=PATIENCE)
        assert [each async for each in answers] == [b"a=one", b"b=one"]
        await eventually(lambda: client.chooser._failures == {})
        stream = channel.unary_stream(f"/{SERVICE}/Many")(b"9", timeout=PATIENCE)
        assert await stream.read() == b"one"
        stream.cancel()
        await client.is_idle()
        assert client.chooser._failures == {}

    orders.offers(one=1)
    orders.run(program)


def test_a_call_that_another_might_serve_is_a_failure_and_its_instance_rests(orders: Orders) -> None:
    async def program(client: Client) -> None:
        await client.connected("one", "two")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.ask()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await eventually(lambda: list(client.chooser._failures) == [("", "one", "one")])
        assert {await client.ask() for _ in range(4)} == {"two"}

    orders.one.code = grpc.StatusCode.UNAVAILABLE
    orders.run(program)


def test_without_an_instance_a_call_is_refused_as_grpc_refuses_it(orders: Orders) -> None:
    async def program(client: Client) -> None:
        with pytest.raises(NoInstanceForCall, match="no instance of 'orders'") as refused:
            await client.ask()
        assert isinstance(refused.value, grpc.aio.AioRpcError)
        assert client.channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE
        orders.offers(one=1)
        await client.channel.channel_ready()
        assert await client.ask() == "one"

    orders.offers()
    orders.run(program)


def test_interceptors_are_given_to_the_channel(orders: Orders) -> None:
    class Count(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        seen = 0

        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            self.seen += 1
            return await continuation(details, request)

    async def program(client: Client) -> None:
        await client.channel.channel_ready()
        assert await client.ask() in ("one", "two")

    count = Count()
    orders.run(program, interceptors=[count])
    assert count.seen == 1


def test_a_certificate_is_checked_against_the_services_name(tmp_path: Path) -> None:
    async def main(registry: FakeRegistry) -> None:
        async with AsyncServiceChannel(registry, "shop", credentials=trust) as shop:
            await shop.channel_ready()
            assert await shop.unary_unary(f"/{SERVICE}/One")(b"", timeout=PATIENCE) == b"shop"
        async with AsyncServiceChannel(registry, "bank", credentials=trust) as bank:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await bank.unary_unary(f"/{SERVICE}/One")(b"", timeout=PATIENCE)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

    files = certificate("shop", tmp_path)
    trust = grpc.ssl_channel_credentials(files[0].read_bytes())
    with naming("shop", certificate=files) as server:
        at = {"host": "127.0.0.1", "port": server.port}
        asyncio.run(main(FakeRegistry((offer("a", service="shop", **at), offer("b", service="bank", **at)))))
    assert len(server.asked) == 1
